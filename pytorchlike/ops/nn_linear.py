"""Affine maps and table look-ups: linear, bilinear, embedding, embedding_bag, one_hot."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..engine import check
from ._dtypes import c_name, type_name
from ._numeric import widened
from ._product import by_rows
from ._shapes import affine, looked_up
from ._table import Array, op, within


def _dims(shape) -> str:
    return "x".join(str(n) for n in shape)


@op(namespace="nn.functional", out=False, heavy=True, shapes=affine)
def linear(input: Array, weight: Array, bias: Array | None = None):
    """Affine map of the last axis: ``input @ weight.T + bias``.

    Shapes: input (*, in), weight (out, in) or (in,), bias (out,) or () -> (*, out) or (*,).
    Raises: RuntimeError when sizes or dtypes disagree.
    """
    if input.ndim < 1 or weight.ndim < 1:
        raise RuntimeError(
            f"both arguments to linear need to be at least 1D, but they are {input.ndim}D and {weight.ndim}D"
        )
    if weight.ndim > 2:
        raise RuntimeError(f"linear: weight must have 1 or 2 dimensions, but it has {weight.ndim}: {weight.shape}")
    if input.dtype != weight.dtype:
        if bias is None:
            raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {c_name(input.dtype)} != "
                               f"{c_name(weight.dtype)} (linear: input and weight)")  # fmt: skip
        raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {type_name(input.dtype)} and "
                           f"{type_name(weight.dtype)} (linear: input and weight)")  # fmt: skip
    batch, features = input.shape[:-1], input.shape[-1]
    if weight.shape[-1] != features:
        rows = math.prod(batch)
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{features} and {_dims(weight.shape[::-1])}) (linear: "
            f"input {list(input.shape)} ends in {features}, weight {list(weight.shape)} expects {weight.shape[-1]})"
        )
    if bias is not None:
        if weight.ndim == 1 and input.ndim == 2:
            raise RuntimeError("linear: mat2 must be a matrix, got 1-D tensor: a bias beside rows takes a 2-D weight")
        if weight.ndim == 1 and bias.ndim != 0:
            raise RuntimeError(f"linear: a 1-D weight takes a 0-D bias, but the bias has shape {list(bias.shape)}")
        if weight.ndim == 2 and (bias.ndim > 1 or (bias.ndim == 1 and bias.shape[0] not in (1, weight.shape[0]))):
            raise RuntimeError(
                f"linear: bias of shape {list(bias.shape)} does not fit weight of shape {list(weight.shape)}: "
                f"expected [{weight.shape[0]}]"
            )
    # Rows flattened: one 2-D product is about twice as quick on CPU as a batched one, forward and backward.
    flat = input.reshape(-1, features) if input.ndim != 2 else input
    out = by_rows(flat, weight) if weight.ndim == 2 else flat @ weight
    if bias is not None:
        # The bias's gradient is a sum over rows, which XLA forms in the dtype of the addition.
        out = (widened(out) + widened(bias)).astype(out.dtype)
    return out.reshape(*batch, *weight.shape[:-1])


@op(namespace="nn.functional", out=False, heavy=True)
def bilinear(input1: Array, input2: Array, weight: Array, bias: Array | None = None):
    """Bilinear form ``out[..., o] = sum_ij input1[..., i] * weight[o, i, j] * input2[..., j] + bias[o]``.

    Shapes: input1 (*, in1), input2 (*, in2), weight (out, in1, in2), bias (out,) -> (*, out).
    Raises: RuntimeError when sizes disagree.
    """
    if input1.ndim != input2.ndim:
        raise RuntimeError(f"bilinear(): input dimensions do not match: got {input1.ndim} and {input2.ndim}")
    for axis, (n, m) in enumerate(zip(input1.shape[:-1], input2.shape[:-1], strict=True)):
        if n != m:
            raise RuntimeError(f"bilinear(): input batch dimensions do not match at dim {axis}: got {n} and {m}")
    if weight.ndim != 3:
        raise RuntimeError(f"bilinear(): weight must have 3 dimensions, but it has shape {list(weight.shape)}")
    for name, x, n in (("input1", input1, weight.shape[1]), ("input2", input2, weight.shape[2])):
        if x.shape[-1] != n:
            raise RuntimeError(
                f"bilinear(): {name} size does not match weight size: got {x.shape[-1]} but expected {n}"
            )
    told = {"input1": input1, "input2": input2, "weight": weight, **({} if bias is None else {"bias": bias})}
    if len({x.dtype for x in told.values()}) > 1:
        given = ", ".join(f"{name}: {c_name(x.dtype)}" for name, x in told.items())
        raise RuntimeError(f"All tensors must have the same dtype, got {given}")
    outs, ins1, ins2 = weight.shape
    if bias is not None and bias.shape != (outs,):
        got = bias.shape[0] if bias.ndim else 0
        raise RuntimeError(f"bilinear(): bias size does not match weight size: got {got} but expected {outs}")
    batch = input1.shape[:-1]
    x, y = input1.reshape(-1, ins1), input2.reshape(-1, ins2)
    half = (x @ weight.transpose(1, 0, 2).reshape(ins1, outs * ins2)).reshape(-1, outs, ins2)
    out = (half * y[:, None, :]).sum(-1)
    if bias is not None:
        out = out + bias
    return out.reshape(*batch, outs)


def _require_indices(name: str, indices, operand: str = "indices") -> None:
    if indices.dtype not in (jnp.int32, jnp.int64):
        raise RuntimeError(
            f"Expected tensor for argument #1 '{operand}' to have one of the following scalar types: Long, Int; "
            f"but got torch.{type_name(indices.dtype)}Tensor instead (while checking arguments for {name})"
        )


def _padding_row(padding_idx: int | None, rows: int) -> int | None:
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise AssertionError(f"Padding_idx must be within num_embeddings: got {padding_idx} with {rows} embeddings")
    return padding_idx % rows


def _clipped(indices, rows: int):
    """Indices made safe, and narrow: 64-bit gathers cost more."""
    return jnp.clip(indices, 0, max(rows - 1, 0)).astype(jnp.int32)


@partial(jax.custom_jvp, nondiff_argnums=())
def _by_frequency(rows, weights):
    return rows


@_by_frequency.defjvp
def _by_frequency_jvp(primals, tangents):
    rows, weights = primals
    return rows, tangents[0] * weights


def _inverse_counts(indices, rows: int, dtype):
    counts = jnp.zeros((rows,), jnp.int32).at[indices].add(1)
    return (1 / counts[indices].astype(dtype))[..., None]


def _embedding_precheck(bound: dict) -> None:
    indices, shape = bound.get("input"), bound.get("weight.shape")
    if indices is None or shape is None or not indices.size or len(shape) != 2:
        return
    if within(indices, shape[0]):
        return
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= shape[0]:
        bad = low if low < 0 else high
        raise IndexError(f"index out of range in self: embedding got index {bad}, but weight has {shape[0]} rows")


@op(namespace="nn.functional", out=False, precheck=_embedding_precheck, shapes=looked_up)
def embedding(
    input: Array,
    weight: Array,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
):
    """Rows of a table: ``weight[input]``.

    Shapes: input (*) of int32 or int64, weight (rows, features) -> (*, features).
    padding_idx: its row receives no gradient.  scale_grad_by_freq: a row's gradient is divided by its count in input.
    sparse: the gradient is a dense array with the same values either way.
    max_norm: renormalises weight itself, which a pure function cannot: call ``_embedding_renorm`` first.
    Raises: IndexError for an index outside [0, rows), RuntimeError for wrong dtypes, AssertionError for padding_idx.
    """
    _require_indices("embedding", input)
    if weight.ndim != 2:
        raise RuntimeError(f"'weight' must be 2-D: embedding got weight of shape {list(weight.shape)}")
    if max_norm is not None:
        raise NotImplementedError("embedding: max_norm changes weight in place; renormalise the weight first")
    rows = weight.shape[0]
    padding = _padding_row(padding_idx, rows)
    if input.size and not rows:
        raise IndexError(f"index out of range in self: embedding of {input.size} indices in a weight with 0 rows")
    check(jnp.all((input >= 0) & (input < rows)), IndexError, "index out of range in self: embedding index")
    index = _clipped(input, rows)
    if not input.size:
        return jnp.zeros((*input.shape, weight.shape[1]), weight.dtype)
    out = jnp.take(weight, index, axis=0, mode="clip")
    if scale_grad_by_freq:
        out = _by_frequency(out, _inverse_counts(index, rows, weight.dtype))
    if padding is not None:
        out = jnp.where((index == padding)[..., None], lax.stop_gradient(out), out)
    return out


@op(namespace=None, out=False, differentiable=False)
def _embedding_renorm(weight: Array, indices: Array, max_norm: float, norm_type: float = 2.0):
    """weight with the rows named by indices scaled down to a norm of at most max_norm."""
    _require_indices("embedding_renorm", indices)
    index = _clipped(indices.reshape(-1), weight.shape[0])
    chosen = jnp.zeros((weight.shape[0],), bool).at[index].set(True)
    size = jnp.abs(weight.astype(jnp.promote_types(weight.dtype, jnp.float32)))
    if norm_type == math.inf:
        norms = size.max(1, initial=0)
    elif norm_type == 0:
        norms = (size != 0).sum(1).astype(size.dtype)
    else:
        norms = (size**norm_type).sum(1) ** (1 / norm_type)
    # 1e-7 as in PyTorch, which keeps a second call from scaling again by rounding.
    scale = jnp.where(chosen & (norms > max_norm), max_norm / (norms + 1e-7), 1)
    return weight * scale[:, None].astype(weight.dtype)


def _embedding_bag_precheck(bound: dict) -> None:
    indices, shape, offsets = bound.get("input"), bound.get("weight.shape"), bound.get("offsets")
    if offsets is not None and offsets.size and offsets.ndim == 1:
        if offsets[0] != 0:
            raise RuntimeError(
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. "
                f"However, got {int(offsets[0])}"
            )
        length = bound["input.shape"][0] if bound.get("input.shape") else None
        if length is not None and offsets[-1] > length:
            raise RuntimeError(
                f"offsets[-1] can not be greater than input's length {length} but got offsets[-1] of {int(offsets[-1])}"
            )
    if indices is None or shape is None or not indices.size:
        return
    flat = indices.reshape(-1)
    bad = np.flatnonzero((flat < 0) | (flat >= shape[0]))
    if bad.size:
        raise RuntimeError(
            f"Index {int(bad[0])} of input takes value {int(flat[bad[0]])} which is not in the valid "
            f"range [0, {shape[0]})"
        )


@op(namespace="nn.functional", out=False, precheck=_embedding_bag_precheck)
def embedding_bag(
    input: Array,
    weight: Array,
    offsets: Array | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Array | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
):
    """Sum, mean or maximum of bags of rows of a table.

    Shapes: input (bags, length), or (total,) with offsets (bags,) where each bag starts; weight (rows, features)
    -> (bags, features).  include_last_offset: offsets also holds the end of the last bag.
    per_sample_weights: factors of the shape of input, for mode "sum" only.  padding_idx: entries left out of the bags.
    An empty bag gives zeros.  sparse and max_norm: see embedding.
    Raises: ValueError for a wrong mode or shapes, RuntimeError for indices or offsets out of range.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"mode has to be one of sum, mean or max: embedding_bag got {mode!r}")
    if input.ndim not in (1, 2):
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    if input.ndim == 2 and offsets is not None:
        raise ValueError(
            "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length sequences"
        )
    if input.ndim == 1 and (offsets is None or offsets.ndim != 1):
        got = "None" if offsets is None else f"shape {list(offsets.shape)}"
        raise ValueError(f"offsets has to be a 1D Tensor but got {got}")
    if weight.ndim != 2:
        raise RuntimeError(f"embedding_bag: weight has to be 2-D, but it has shape {list(weight.shape)}")
    _require_indices("embedding_bag", input)
    if offsets is not None:
        _require_indices("embedding_bag", offsets, "offsets")
    if per_sample_weights is not None:
        if mode != "sum":
            raise NotImplementedError(
                f"embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
                f"(got mode='{mode}')."
            )
        if per_sample_weights.shape != input.shape:
            raise ValueError(
                f"embedding_bag: If per_sample_weights ({list(per_sample_weights.shape)}) is not "
                f"None, then it must have the same shape as the input ({list(input.shape)})"
            )
        if per_sample_weights.dtype != weight.dtype:
            raise RuntimeError(
                f"embedding_bag: weight is {weight.dtype} but per_sample_weights is {per_sample_weights.dtype}"
            )
    if max_norm is not None:
        raise NotImplementedError("embedding_bag: max_norm changes weight in place; renormalise the weight first")
    if mode == "max" and (scale_grad_by_freq or sparse):
        what = "scaling the gradient by the frequency" if scale_grad_by_freq else "sparse weights"
        raise ValueError(f"max mode does not support {what}")
    rows, features = weight.shape
    padding = _padding_row(padding_idx, rows)
    check(
        jnp.all((input >= 0) & (input < rows)),
        RuntimeError,
        f"embedding_bag: an index of input is not in the valid range [0, {rows})",
    )
    total = input.size
    if input.ndim == 2:
        bags = input.shape[0]
        segment = None
    else:
        bags = offsets.shape[0] - (1 if include_last_offset else 0)
        if bags < 0:
            raise RuntimeError("embedding_bag: include_last_offset needs offsets with at least one entry")
        ends = offsets[1:] if include_last_offset else jnp.append(offsets[1:], total)
        if offsets.shape[0]:
            ok = (offsets[0] == 0) & (offsets[-1] <= total)
            check(ok, RuntimeError, f"embedding_bag: offsets must start at 0 and not exceed input's length {total}")
        # Which bag an entry is in: the number of bags that have ended at or before it.
        segment = jnp.searchsorted(ends, jnp.arange(total, dtype=ends.dtype), side="right").astype(jnp.int32)
    if not total or not bags:
        return jnp.zeros((bags, features), weight.dtype) + 0 * weight.sum()
    index = _clipped(input, rows)
    x = jnp.take(weight, index, axis=0, mode="clip")
    if scale_grad_by_freq:
        x = _by_frequency(x, _inverse_counts(index, rows, weight.dtype))
    keep = jnp.ones(index.shape, bool) if padding is None else index != padding
    if mode == "max":
        return _bag_max(x, keep, segment, bags)
    if padding is not None:
        x = jnp.where(keep[..., None], x, 0)
    if per_sample_weights is not None:
        x = x * per_sample_weights[..., None]
    if segment is None:
        out, count = x.sum(1), keep.sum(1)
    else:
        out = jax.ops.segment_sum(x, segment, bags)
        count = jax.ops.segment_sum(keep.astype(jnp.int32), segment, bags)
    if mode == "mean":
        out = out / jnp.maximum(count, 1).astype(x.dtype)[:, None]
    return out


def _bag_max(x, keep, segment, bags: int):
    """Maximum over each bag; the gradient goes to the first entry that attains it."""
    low = jnp.asarray(-jnp.inf, x.dtype)
    held = jnp.where(keep[..., None], lax.stop_gradient(x), low)
    if segment is None:
        pick = jnp.argmax(held, 1, keepdims=True)
        out = jnp.take_along_axis(x, pick, 1)[:, 0]
        return jnp.where(keep.any(1)[:, None], out, 0)
    total = x.shape[0]
    top = jax.ops.segment_max(held, segment, bags)
    match = (held == top[segment]) & keep[:, None]
    position = jnp.where(match, jnp.arange(total, dtype=jnp.int32)[:, None], total)
    first = jax.ops.segment_min(position, segment, bags)
    found = (first >= 0) & (first < total)
    out = jnp.take_along_axis(x, jnp.clip(first, 0, total - 1), 0)
    return jnp.where(found, out, 0)


def _one_hot_precheck(bound: dict) -> None:
    tensor, classes = bound.get("tensor"), bound.get("num_classes", -1)
    if tensor is None or not tensor.size:
        return
    if tensor.min() < 0:
        raise RuntimeError(f"Class values must be non-negative. one_hot got {int(tensor.min())}")
    if classes != -1 and tensor.max() >= classes:
        raise RuntimeError(
            f"Class values must be smaller than num_classes. one_hot got {int(tensor.max())} with {classes} classes"
        )


def _parse_one_hot(*args, **kwargs):
    """Without ``num_classes`` the largest class is read."""
    tensor = args[0] if args else kwargs.get("tensor", kwargs.get("input"))
    told = args[1] if len(args) > 1 else kwargs.get("num_classes", -1)
    if told != -1 or tensor is None or "int64" not in str(tensor.dtype):
        return None, args, kwargs
    if not tensor.numel():
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    return None, args[:1], {**kwargs, "num_classes": int(tensor.max()) + 1}


@op(namespace="nn.functional", out=False, differentiable=False, precheck=_one_hot_precheck, parse=_parse_one_hot)
def one_hot(tensor: Array, num_classes: int = -1):
    """Unit vectors: 1 at the given class, 0 elsewhere.

    Shapes: tensor (*) of int64 -> (*, num_classes) of int64.  num_classes = -1 means one more than the largest class,
    which is read.
    Raises: RuntimeError for another dtype or a class outside [0, num_classes).
    """
    if tensor.dtype != jnp.int64:
        raise RuntimeError(f"one_hot is only applicable to index tensor of type LongTensor. Got {tensor.dtype}")
    if num_classes == -1:
        raise RuntimeError("one_hot: the number of classes is not known while recording: pass num_classes")
    if num_classes <= 0:
        if tensor.size or num_classes < 0:
            raise RuntimeError(f"Class values must be smaller than num_classes. one_hot got num_classes={num_classes}")
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    check(jnp.all(tensor >= 0), RuntimeError, "Class values must be non-negative.")
    check(
        jnp.all(tensor < num_classes),
        RuntimeError,
        f"Class values must be smaller than num_classes. one_hot got {num_classes} classes",
    )
    return (tensor[..., None] == jnp.arange(num_classes, dtype=tensor.dtype)).astype(jnp.int64)
