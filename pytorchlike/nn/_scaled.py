"""Products of matrices that were divided by scales to fit into eight bits."""

from __future__ import annotations

import enum
from typing import Any

from ..tensor import Tensor
from ..tensor import dtype as d
from ..tensor._names import find

__all__ = ["ScalingType", "SwizzleType", "scaled_grouped_mm", "scaled_mm"]


class ScalingType(enum.IntEnum):
    """What one scale belongs to: the whole matrix, a row (a column of the right factor), or a block."""

    TensorWise = 0
    RowWise = 1
    BlockWise1x16 = 2
    BlockWise1x32 = 3
    BlockWise1x128 = 4
    BlockWise128x128 = 5


class SwizzleType(enum.IntEnum):
    """How scales lie in memory."""

    NO_SWIZZLE = 0
    SWIZZLE_32_4_4 = 1


def _one(name: str, x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        if len(x) != 1:
            raise NotImplementedError(f"{name}: one scale for each factor, got {len(x)}; multiply two-level scales "
                                      "with each other first")  # fmt: skip
        return x[0]
    return x


def _unscaled(name: str, x: Tensor, scale: Any, recipe: Any, swizzle: Any, left: bool) -> Tensor:
    """A factor in float32, times its scale."""
    scale, recipe, swizzle = _one(name, scale), ScalingType(_one(name, recipe)), _one(name, swizzle)
    if swizzle not in (None, SwizzleType.NO_SWIZZLE):
        raise NotImplementedError(f"{name}: swizzled scales are a layout of CUDA's kernels; give them unswizzled")
    x = x.to(d.float32)
    if recipe is ScalingType.TensorWise:
        if scale.numel() != 1:
            raise ValueError(f"{name}: TensorWise scaling takes one number, got a scale of {tuple(scale.shape)}")
        return x * scale.reshape(())
    if recipe is ScalingType.RowWise:
        kept, summed = (-2, -1) if left else (-1, -2)
        n = x.shape[kept]
        if scale.numel() != x.numel() // x.shape[summed]:
            raise ValueError(f"{name}: RowWise scaling takes {n} scales for a factor of {tuple(x.shape)}, got "
                             f"{tuple(scale.shape)}")  # fmt: skip
        return x * scale.reshape(*x.shape[:-2], n).unsqueeze(summed)
    if recipe is ScalingType.BlockWise1x16 or recipe is ScalingType.BlockWise1x32:
        raise NotImplementedError(f"{name}: {recipe.name} scales four-bit formats, which there are none of here; "
                                  "scale by row")  # fmt: skip
    rows, columns = (1 if recipe is ScalingType.BlockWise1x128 else 128), 128
    if not left:
        rows, columns = columns, rows
    wide = scale.repeat_interleave(rows, -2).repeat_interleave(columns, -1)
    if wide.shape != x.shape:
        raise ValueError(f"{name}: {recipe.name} scaling of {tuple(x.shape)} takes a scale for each block, got "
                         f"{tuple(scale.shape)}")  # fmt: skip
    return x * wide


def scaled_mm(
    mat_a: Tensor, mat_b: Tensor, scale_a: Any, scale_recipe_a: Any, scale_b: Any, scale_recipe_b: Any,
    swizzle_a: Any = None, swizzle_b: Any = None, bias: Tensor | None = None, output_dtype: Any = d.bfloat16,
    contraction_dim: Any = (), use_fast_accum: bool = False,
) -> Tensor:  # fmt: skip
    """``(mat_a * scale_a) @ (mat_b * scale_b) + bias``, summed in float32.

    Shapes:  mat_a (m, k), mat_b (k, n) -> (m, n). Scales by recipe: TensorWise one number; RowWise m, or n, numbers;
             BlockWise1x128 (m, k / 128), or (k / 128, n); BlockWise128x128 one for each block.
    Dtype:   output_dtype; float32 if None.   use_fast_accum: a hint for one kind of GPU, unused.
    Raises:  ValueError for scales of other sizes, NotImplementedError for the other recipes and swizzled scales.
    """
    if contraction_dim not in ((), []):
        raise NotImplementedError("scaled_mm: contraction_dim is not supported; transpose the factors")
    a = _unscaled("scaled_mm", mat_a, scale_a, scale_recipe_a, swizzle_a, True)
    b = _unscaled("scaled_mm", mat_b, scale_b, scale_recipe_b, swizzle_b, False)
    out = a @ b
    if bias is not None:
        out = out + bias
    return out if output_dtype is None else out.to(output_dtype)


def scaled_grouped_mm(
    mat_a: Tensor, mat_b: Tensor, scale_a: Any, scale_recipe_a: Any, scale_b: Any, scale_recipe_b: Any,
    swizzle_a: Any = None, swizzle_b: Any = None, bias: Tensor | None = None, offs: Tensor | None = None,
    output_dtype: Any = d.bfloat16, contraction_dim: Any = (), use_fast_accum: bool = False,
) -> Tensor:  # fmt: skip
    """``grouped_mm`` of factors that are multiplied by their scales first, see :func:`scaled_mm`.

    Shapes:  as of ``grouped_mm``: mat_a (m, k) and mat_b (g, k, n) with ``offs`` (g,), the ends of the groups of rows.
    """
    if contraction_dim not in ((), []):
        raise NotImplementedError("scaled_grouped_mm: contraction_dim is not supported; transpose the factors")
    a = _unscaled("scaled_grouped_mm", mat_a, scale_a, scale_recipe_a, swizzle_a, True)
    b = _unscaled("scaled_grouped_mm", mat_b, scale_b, scale_recipe_b, swizzle_b, False)
    out = find("nn.functional", "grouped_mm")(a, b, offs=offs)
    if bias is not None:
        out = out + bias
    return out if output_dtype is None else out.to(output_dtype)
