"""Composite functions that belong to no family of operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import asking
from ._register import function
from ._tensor import Tensor
from .dtype import bool_, memory_format


@function(method=False)
def is_tensor(obj: Any) -> bool:
    """Whether ``obj`` is a Tensor."""
    return isinstance(obj, Tensor)


@function
def numel(input: Tensor) -> int:
    """Number of elements."""
    return input.numel()


def _answer(fn: Callable[..., Any], input: Any) -> Any:
    """What an argument that is no tensor has to say about a function of one tensor; TypeError if nothing."""
    if not asking.wants(type(input)):
        raise TypeError(f"{fn.__name__}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    return asking.handle(fn, [input], (input,), {})


@function
def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating one."""
    return input.is_floating_point() if isinstance(input, Tensor) else _answer(is_floating_point, input)


@function
def is_complex(input: Tensor) -> bool:
    """Whether the dtype is a complex one."""
    return input.is_complex() if isinstance(input, Tensor) else _answer(is_complex, input)


@function(method=True)
def positive(input: Tensor) -> Tensor:
    """The tensor itself. RuntimeError for booleans."""
    if input.dtype is bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


@function(method=True)
def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself, or a copy of a view that shows its base conjugated."""
    return input.clone() if input._conjugated() else input


@function(method=True)
def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself, or a copy of a view that shows its base with other signs."""
    return input.clone() if input._conjugated() else input


@function(method=True)
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape and the same elements (False for NaNs)."""
    if input.shape != other.shape:
        return False
    return bool((input == other).all())


@function(method=True)
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all elements are close: |input - other| <= atol + rtol * |other|."""
    if input.dtype != other.dtype:
        raise RuntimeError(f"allclose: dtypes must match, but got {input.dtype} and {other.dtype}")
    return bool(input.isclose(other, rtol=rtol, atol=atol, equal_nan=equal_nan).all())


@function
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with a storage of its own, through which gradients flow; XLA chooses how it lies in memory."""
    if not isinstance(input, Tensor):  # refused, or asked by ``__torch_function__``
        from ..ops import lookup
        from ._wrap import form

        return form(lookup("clone"))(input)
    return input.clone(memory_format=memory_format)


@function(method=True)
def detach(input: Tensor) -> Tensor:
    """The same data cut off from the graph."""
    return input.detach()


@function
def is_nonzero(input: Tensor) -> bool:
    """Whether the one element of the tensor is not zero."""
    if input.numel() != 1:
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous" if input.numel() else
                           "Boolean value of Tensor with no values is ambiguous")  # fmt: skip
    return bool(input)


@function
def result_type(tensor1: Any, tensor2: Any) -> Any:
    """The dtype that an arithmetic operation on both would give."""
    from .dtype import from_numpy_dtype, python_number_dtype, result_type_of

    items = [
        (x._get().meta.dtype, x.dim(), False) if isinstance(x, Tensor)
        else (python_number_dtype(x.item() if isinstance(x, np.generic) else x), 0, True)
        for x in (tensor1, tensor2)
    ]  # fmt: skip
    return from_numpy_dtype(result_type_of(items))


@function
def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A 0-dim tensor of the default float dtype (or ``dtype``)."""
    from ._tensor import tensor
    from .dtype import get_default_dtype

    return tensor(s, dtype=dtype or get_default_dtype(), device=device, requires_grad=requires_grad)


# ------------------------------------------------------------------------------------------------------- histograms


@function(method=True)
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, … occurs in a vector of integers, or the sum of its ``weights``; at least minlength long.

    Reads ``input``.  int64; with weights float64 (float32 for float32 ones).  Raises RuntimeError for negative numbers.
    """
    if minlength < 0:
        raise RuntimeError(f"minlength should be >= 0, got {minlength}")
    if input.dtype.is_floating_point or input.dtype.is_complex or input.dtype is bool_:
        raise NotImplementedError(f'"bincount_cpu" not implemented for {input.dtype}')
    data = input._host()
    if data.ndim != 1 or data.size and data.min() < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError(
            f"weights should be 1-d and have the same length as input, but got {list(weights.shape)} for "
            f"{list(input.shape)}"
        )
    return input._bincount(weights, length=max(int(data.max()) + 1 if data.size else 0, minlength))


@function
def histogramdd(
    input: Tensor, bins: Any, *, range: Any = None, weight: Tensor | None = None, density: bool = False
) -> Any:  # fmt: skip
    """Counts (or summed ``weight``) of the points in the last dim of ``input`` in a grid of cells -> (hist, bin_edges).

    bins: one number, one per coordinate, or one vector of ascending edges per coordinate.
    range: (low, high) of each coordinate in a row; the data's own if None.   density: divide by total and volume.
    """
    from .functions import linspace, searchsorted

    if input.ndim < 2:
        raise RuntimeError("torch.histogramdd(): input tensor should have at least 2 dimensions")
    n = input.shape[-1]
    points = input.reshape(-1, n)
    bins = [bins] * n if isinstance(bins, int) else list(bins)
    if len(bins) != n:
        raise RuntimeError(f"torch.histogramdd(): expected {n} sequences of bin edges for a {n}-dimensional histogram, "
                           f"but got {len(bins)}")  # fmt: skip
    if range is not None and len(range) != 2 * n:
        raise RuntimeError(f"torch.histogramdd(): for a {n}-dimensional histogram range should have {2 * n} elements, "
                           f"but got {len(range)}")  # fmt: skip
    if weight is not None and weight.shape != input.shape[:-1]:
        raise RuntimeError(
            "torch.histogramdd(): if weight tensor is provided it should have the same shape as the input tensor "
            f"excluding its innermost dimension, but got input with shape {list(input.shape)} and weight with shape "
            f"{list(weight.shape)}"
        )
    edges, cell, inside, size = [], None, None, []
    for k, b in enumerate(bins):
        x = points[:, k].contiguous()
        if isinstance(b, Tensor):
            edge = b
        else:
            if b <= 0:
                raise RuntimeError(f"torch.histogramdd(): bins must be > 0, but got {b} for dimension {k}")
            if range is not None:
                low, high = float(range[2 * k]), float(range[2 * k + 1])
            elif len(points):
                low, high = float(x.min()), float(x.max())
            else:
                low, high = 0.0, 1.0
            if not low <= high or high - low == math.inf:
                raise RuntimeError(f"torch.histogramdd(): dimension {k}'s range [{low}, {high}] is not finite")
            if low == high:
                low, high = low - 0.5, high + 0.5
            edge = linspace(low, high, b + 1, dtype=input.dtype, device=input.device)
        edges.append(edge)
        m = edge.numel() - 1
        size.append(m)
        at = searchsorted(edge, x, right=True) - 1
        at = at.where(x != edge[-1], at.new_full((), m - 1))
        ok = (at >= 0) & (at < m)
        cell = at if cell is None else cell * m + at
        inside = ok if inside is None else inside & ok
    from ._general import returned

    total = math.prod(size)
    worth = points.new_ones(len(points)) if weight is None else weight.reshape(-1).to(dtype=input.dtype)
    hist = points.new_zeros(total + 1).index_add(0, cell.where(inside, cell.new_full((), total)), worth)
    hist = hist[:total].reshape(size)
    if density:
        hist = hist / hist.sum()
        for k, edge in enumerate(edges):
            hist = hist / edge.diff().reshape((-1,) + (1,) * (n - k - 1))
    return returned("histogramdd", ("hist", "bin_edges"))(hist, tuple(edges))


@function
def gradient(input: Tensor, *, spacing: Any = None, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """Derivative along each of ``dim`` (all if None) by central differences, as a tuple of tensors of input's shape.

    spacing: the step (1), one step per dim, or one vector of coordinates per dim.   edge_order: 1 or 2, the accuracy at
    the borders.   Raises RuntimeError for fewer than edge_order + 1 samples.
    """
    from ..ops import lookup
    from ._wrap import form

    if isinstance(spacing, (list, tuple)):
        dims = input.ndim if dim is None else 1 if isinstance(dim, int) else len(dim)
        if len(spacing) != dims:
            raise RuntimeError(
                "torch.gradient expected spacing to be unspecified, a scalar or a list with one step or tensor for "
                f"each of the {dims} dims, but got {len(spacing)}"
            )
    out = form(lookup("gradient"))(input, spacing=1 if spacing is None else spacing, dim=dim, edge_order=edge_order)
    return out if isinstance(out, tuple) else (out,)


@function
def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Coordinates in a tensor of ``shape`` of the elements that ``indices`` count, one int64 tensor per dim."""
    if not isinstance(indices, Tensor) or indices.dtype.is_floating_point or indices.dtype.is_complex:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {getattr(indices, 'dtype', type(indices))}")
    if not isinstance(shape, (int, list, tuple)):
        raise TypeError(f"expected 'shape' to be int or sequence of ints, but got {type(shape)}")
    sizes = [shape] if isinstance(shape, int) else list(shape)
    for n in sizes:
        if not isinstance(n, int):
            raise TypeError(f"expected 'shape' sequence to only contain ints, but got {type(n)}")
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {tuple(sizes)}")
    out, step = [], 1
    for n in reversed(sizes):
        out.append((indices // step) % n)
        step *= n
    return tuple(reversed(out))


@function
def empty_permuted(size: Any, physical_layout: Any, **kwargs: Any) -> Tensor:
    """An uninitialised tensor whose dims lie in memory in the order of ``physical_layout``."""
    from .functions import empty

    size, order = tuple(size), tuple(physical_layout)
    if len(size) != len(order):
        raise RuntimeError(f"Number of dimensions in size ({len(size)}) does not match number of dimensions in "
                           f"physical_layout ({len(order)})")  # fmt: skip
    if sorted(order) != list(range(len(size))):
        raise RuntimeError(f"Duplicate or invalid dim in physical_layout {list(order)} of a tensor of {len(size)} dims")
    made = empty([size[k] for k in order], **kwargs)
    back = [0] * len(order)
    for i, k in enumerate(order):
        back[k] = i
    return made.permute(back)


@function
def zero_(input: Tensor) -> Tensor:
    """Fill with 0, in place."""
    return input.zero_()


# ----------------------------------------------------------------------------------------------- small questions


@function(method=True)
def is_conj(input: Tensor) -> bool:
    """False: conjugates are computed, not kept as a mark on a view."""
    return False


@function(method=True)
def is_neg(input: Tensor) -> bool:
    """False: negatives are computed, not kept as a mark on a view."""
    return False


@function(method=True)
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether both have one shape."""
    return input.shape == other.shape


@function(method=True)
def is_distributed(input: Tensor) -> bool:
    """False: tensors are not spread over processes."""
    return False


@function
def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return input.is_signed()


@function
def is_inference(input: Tensor) -> bool:
    """Whether the tensor was made in inference mode."""
    return input.is_inference()


@function
def get_device(input: Tensor) -> int:
    """Index of the device; -1 on the CPU."""
    return input.get_device()


@function
def detach_(input: Tensor) -> Tensor:
    """Cut the tensor off from the graph that made it, in place."""
    return input.detach_()


@function(namespace=None, method=True, name="is_nonzero")
def _is_nonzero(input: Tensor) -> bool:
    """Whether the one element of the tensor is not zero."""
    return is_nonzero(input)


@function(namespace=None, method=True)
def dim_order(input: Tensor, *, ambiguity_check: Any = False) -> tuple[int, ...]:
    """The dims from the slowest to the fastest in memory.

    ambiguity_check: with True RuntimeError if several orders would do, because a dim has size 1 or two have the same
    stride; with a list of memory formats unless exactly one of them fits, or the order is plain.   TypeError else.
    """
    stride = input.stride()
    formats = ambiguity_check if isinstance(ambiguity_check, list) else []
    if not isinstance(ambiguity_check, (bool, list)) or not all(isinstance(f, memory_format) for f in formats):
        raise TypeError("The ambiguity_check argument must be a bool or a list of memory formats.")
    if ambiguity_check and (1 in input.shape or len(set(stride)) < input.ndim):
        if sum(input.is_contiguous(memory_format=f) for f in formats) != 1:
            raise RuntimeError("The tensor does not have unique dim order, or cannot map to exact one of the given "
                               f"memory formats: sizes {list(input.shape)}, strides {list(stride)}")
    return tuple(sorted(range(input.ndim), key=lambda k: -stride[k]))


@function(namespace=None, method=True)
def const_data_ptr(input: Tensor) -> int:
    """Address of the first element, not to be written to."""
    return input.data_ptr()


@function(namespace=None, method=True)
def as_subclass(input: Tensor, cls: type) -> Any:
    """The tensor as an instance of a subclass, sharing its storage and its history."""
    from .storage import Alias

    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise TypeError(f"as_subclass(): argument 'cls' must be a subclass of Tensor, not {cls!r}")
    made = object.__new__(cls)
    alias = input._shared()
    made._alias = Alias(alias.storage, alias.chain, alias.leaf, alias.detached, alias.floor, alias.writes,
                        alias.of, alias.group)
    made._value = input._get()
    return made


@function(namespace=None, method=True)
def to_dense(input: Tensor, dtype: Any = None, *, masked_grad: bool = True) -> Tensor:
    """The tensor itself, since it is dense; converted to ``dtype`` if given."""
    return input if dtype is None else input.to(dtype=dtype)


@function(namespace=None, method=True)
def new(input: Tensor, *args: Any, device: Any = None) -> Tensor:
    """A tensor of the dtype and device of ``input``: of the given data, or uninitialised of the given size."""
    from ._tensor import made_of_old

    where = device or input.device
    if len(args) == 1 and isinstance(args[0], Tensor):
        return args[0].to(where, input.dtype)
    return made_of_old(args, input.dtype, where)


# ------------------------------------------------------------------------------------------- writing, by the element


@function(namespace=None, method=True)
def apply_(input: Tensor, callable: Any) -> Tensor:
    """Replace each element by what a Python function makes of it, in place; reads the tensor, and is slow."""
    if input.requires_grad:
        raise RuntimeError("apply_(): can't be called on a tensor that requires grad; use it under no_grad on its data")
    if not input.is_cpu:
        raise TypeError("apply_ is only implemented on CPU tensors")
    return _written(input, [callable(x) for x in input.reshape(-1).tolist()])


@function(namespace=None, method=True)
def map_(input: Tensor, tensor: Tensor, callable: Any) -> Tensor:
    """Replace each element x by ``callable(x, y)`` with y of another tensor (broadcast), in place."""
    if input.requires_grad or tensor.requires_grad:
        raise RuntimeError("Can't call map_() on Variable that requires grad. Use var.detach().map_() instead.")
    other = tensor.expand(input.shape).reshape(-1).tolist()
    return _written(input, [callable(x, y) for x, y in zip(input.reshape(-1).tolist(), other, strict=True)])


@function(namespace=None, method=True)
def map2_(input: Tensor, x: Tensor, y: Tensor, callable: Any) -> Tensor:
    """Replace each element by ``callable(itself, x, y)`` with the elements of two other tensors, in place."""
    if input.requires_grad or x.requires_grad or y.requires_grad:
        raise RuntimeError("Can't call map2_() on Variable that requires grad. Use var.detach().map2_() instead.")
    sides = [t.expand(input.shape).reshape(-1).tolist() for t in (x, y)]
    return _written(input, [callable(*each) for each in zip(input.reshape(-1).tolist(), *sides, strict=True)])


def _written(input: Tensor, values: list) -> Tensor:
    from ._tensor import tensor

    return input.copy_(tensor(values, dtype=input.dtype, device=input.device).reshape(input.shape))


@function(namespace=None, method=True)
def fill_diagonal_(input: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Write a number on the main diagonal of a matrix, or of a tensor whose dims are all equal, in place.

    wrap: in a tall matrix the diagonal begins again after each square.
    """
    shape = input.shape
    if len(shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    from ._tensor import host_tensor

    rows, cols = shape[0], shape[1]
    if len(shape) > 2:
        index = (host_tensor(np.arange(rows), input.device, constant=True),) * len(shape)
    else:
        count = min(rows, cols)
        at = np.arange(rows * cols, step=cols + 1) if wrap else np.arange(count) * (cols + 1)
        at = at[(at // max(cols, 1)) < rows]
        index = tuple([host_tensor(i, input.device, constant=True) for i in (at // max(cols, 1), at % max(cols, 1))])
    input[index] = fill_value
    return input


# --------------------------------------------------------------- functions of nn.functional that torch has as well


def _functional(name: str) -> Any:
    from ._names import find

    return find("nn.functional", name)


@function
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input1 @ weight[k] @ input2 + bias[k]`` for each k: see ``nn.functional.bilinear``."""
    return _functional("bilinear")(input1, input2, weight, bias)


_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


@function(aliases=("grid_sampler_2d", "grid_sampler_3d"))
def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """``nn.functional.grid_sample`` with its modes as numbers, in the order in which they are told there."""
    mode, padding = _MODES[interpolation_mode], _PADDINGS[padding_mode]
    return _functional("grid_sample")(input, grid, mode, padding, align_corners)


@function
def affine_grid_generator(theta: Tensor, size: Any, align_corners: bool) -> Tensor:
    """``nn.functional.affine_grid``."""
    return _functional("affine_grid")(theta, tuple(size), align_corners)


# --------------------------------------------------------------------------------------- what a state dict may do


@function(namespace=None, method=True)
def module_load(input: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What ``Module.load_state_dict`` puts in place of the tensor: it with ``other`` copied into it, or ``other``."""
    return other.detach() if assign else input.copy_(other).detach()


@function(namespace=None, method=True)
def record_stream(input: Tensor, stream: Any) -> None:
    """Nothing needs to be told: the runtime frees an array only when every computation on it has ended."""
