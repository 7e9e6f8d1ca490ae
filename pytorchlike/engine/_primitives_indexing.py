"""Gather and scatter by NumPy, see ``_primitives``.

Most take whole slices along one axis, or single elements: NumPy has quick ways for these.  The rest goes by arrays of
indices for all elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._primitives import Rule, _rule, _rules


def _slices_along(
    into: Sequence[int], hidden: Sequence[int], window: Sequence[int], kept: Sequence[int], batch: int, shape: tuple
) -> int | None:
    """The axis of which whole slices are taken or written, the ``batch`` dims of the indices in its place; or None.

    window: the slices' dims in what is taken or written;  kept: their sizes.
    """
    if len(into) != 1 or tuple(hidden) != tuple(into):
        return None
    d, rest = into[0], len(shape) - 1
    place = (*range(d), *range(d + batch, rest + batch))
    return d if tuple(window) == place and tuple(kept) == shape[:d] + shape[d + 1 :] else None


def _clipped(at: np.ndarray, n: int) -> np.ndarray:
    return np.minimum(np.maximum(at, 0), max(n - 1, 0))


def _flat(shape: tuple, indices: np.ndarray, into: Sequence[int], clips: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Places in the flat array, for indices of single elements; and which of these are inside, if not all."""
    at: Any = 0
    inside: Any = None
    for k, d in enumerate(into):
        i = indices[..., k]
        kept = _clipped(i, shape[d])
        if not clips and (kept != i).any():
            inside = kept == i if inside is None else inside & (kept == i)
        at = at + kept.astype(np.int64) * math.prod(shape[d + 1 :])
    return at, inside


def _windows(shape: tuple, indices: np.ndarray, into: Sequence[int], batching: tuple, sizes: Sequence[int],
             inner: Sequence[int], clips: bool) -> tuple[tuple, np.ndarray]:  # fmt: skip
    """Index arrays of the windows of a gather or scatter (batch dims first), and which windows lie inside."""
    batch = indices.shape[:-1]
    starts = np.zeros((*batch, len(shape)), np.int64)
    for k, d in enumerate(into):
        starts[..., d] = indices[..., k]
    for d, b in zip(*batching, strict=True):
        starts[..., d] = np.arange(batch[b]).reshape([-1 if k == b else 1 for k in range(len(batch))])
    top = np.array([n - s for n, s in zip(shape, sizes, strict=True)], np.int64)
    inside = ((starts >= 0) & (starts <= top)).all(-1)
    starts = np.clip(starts, 0, np.maximum(top, 0))
    if clips:
        inside = np.ones(batch, bool)
    out = []
    for d in range(len(shape)):
        start = starts[..., d].reshape((*batch, *(1,) * len(inner)))
        if d in inner:
            axis = inner.index(d)
            start = start + np.arange(sizes[d]).reshape([-1 if k == axis else 1 for k in range(len(inner))])
        out.append(start)
    return tuple(out), inside


@_rule("gather")
def _gather(params: dict, x: np.ndarray, indices: np.ndarray) -> Any:
    dn, sizes, clips = params["dimension_numbers"], params["slice_sizes"], "CLIP" in str(params["mode"])
    hidden = {*dn.collapsed_slice_dims, *dn.operand_batching_dims}
    inner = [d for d in range(x.ndim) if d not in hidden]
    into = dn.start_index_map
    if x.size and not dn.operand_batching_dims:  # what does not fit is left to the general way
        kept = [sizes[d] for d in inner]
        d = _slices_along(into, dn.collapsed_slice_dims, dn.offset_dims, kept, indices.ndim - 1, x.shape)
        if d is not None:
            at = indices[..., 0]
            if clips or (_clipped(at, x.shape[d]) == at).all():
                return np.take(x, at, d, mode="clip")
        elif len(into) == x.ndim and not inner:
            at, inside = _flat(x.shape, indices, into, clips)
            if inside is None:
                return np.take(x, at)
    batching = (dn.operand_batching_dims, dn.start_indices_batching_dims)
    where, inside = _windows(x.shape, indices, into, batching, sizes, inner, clips)
    if 0 in x.shape and indices.size:
        out = np.zeros(np.broadcast_shapes(*(w.shape for w in where)), x.dtype)
    else:
        out = x[where] if where else np.broadcast_to(x, inside.shape).copy()
    if not inside.all():
        fill = params["fill_value"]
        if fill is None:
            fill = np.nan if x.dtype.kind not in "biu" else np.iinfo(x.dtype).min if x.dtype.kind == "i" else (
                np.iinfo(x.dtype).max if x.dtype.kind == "u" else True)  # fmt: skip
        out = np.where(inside.reshape((*inside.shape, *(1,) * len(inner))), out, np.asarray(fill, x.dtype))
    n = inside.ndim
    return np.moveaxis(out, range(n, n + len(inner)), dn.offset_dims)


#: Elements from which on rows are added as a product with a sparse matrix, which takes longer to prepare.
_MANY = 20_000


def _combine(how: Any, flat: np.ndarray, at: np.ndarray, new: np.ndarray) -> None:
    """Put ``new`` at places of a flat array, or combine it with what is there."""
    if how is None:
        flat[at] = new
    else:
        how.at(flat, at.reshape(-1), new.reshape(-1))  # of one dim: many times quicker


def _rows(how: Any, x: np.ndarray, at: np.ndarray, new: np.ndarray, clips: bool) -> np.ndarray:
    """``x`` with ``new`` put to the rows ``at``, or combined with them."""
    kept = _clipped(at, len(x))
    if not clips and (kept != at).any():
        inside = kept == at
        kept, new = kept[inside], new[inside]
    out = np.array(x, order="C")
    if how is None:
        out[kept] = new
        return out
    n, width = len(kept), math.prod(x.shape[1:])
    if how is np.add and n * width >= _MANY and width >= 4 and x.dtype in (np.float32, np.float64):
        from scipy.sparse import csc_array

        sums = csc_array((np.ones(n, x.dtype), kept, np.arange(n + 1)), shape=(len(x), n)) @ new.reshape(n, width)
        out += sums.reshape(x.shape)
    else:
        _combine(how, out.reshape(-1), kept[:, None].astype(np.int64) * width + np.arange(width), new)
    return out


def _scatter(how: Callable[..., Any] | None) -> Rule:
    def rule(params: dict, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> Any:
        dn, clips = params["dimension_numbers"], "CLIP" in str(params["mode"])
        hidden = {*dn.inserted_window_dims, *dn.operand_batching_dims}
        inner = [d for d in range(x.ndim) if d not in hidden]
        into = dn.scatter_dims_to_operand_dims
        if x.size and not dn.operand_batching_dims:
            kept = [updates.shape[axis] for axis in dn.update_window_dims]
            d = _slices_along(into, dn.inserted_window_dims, dn.update_window_dims, kept, indices.ndim - 1, x.shape)
            if d == 0:
                return _rows(how, x, indices.reshape(-1), updates.reshape(-1, *x.shape[1:]), clips)
            if len(into) == x.ndim and not inner:
                at, inside = _flat(x.shape, indices, into, clips)
                out = np.array(x, order="C")
                _combine(how, out.reshape(-1), *((at, updates) if inside is None else (at[inside], updates[inside])))
                return out
        sizes = [1] * x.ndim
        for d, axis in zip(inner, dn.update_window_dims, strict=True):
            sizes[d] = updates.shape[axis]
        batching = (dn.operand_batching_dims, dn.scatter_indices_batching_dims)
        where, inside = _windows(x.shape, indices, into, batching, sizes, inner, clips)
        n = inside.ndim
        new = np.moveaxis(updates, dn.update_window_dims, range(n, n + len(inner)))
        out = np.array(x)
        if not where:
            return how(x, new) if how is not None else new
        where = np.broadcast_arrays(*where)
        at, new = tuple(w[inside] for w in where), new[inside]
        if how is None:
            out[at] = new
        else:
            how.at(out, at, new)  # type: ignore[attr-defined]
        return out

    return rule


for _name, _how in {"": None, "-add": np.add, "_add": np.add, "-sub": np.subtract, "_sub": np.subtract,
                    "-mul": np.multiply, "_mul": np.multiply, "-min": np.minimum, "_min": np.minimum,
                    "-max": np.maximum, "_max": np.maximum}.items():  # fmt: skip
    _rules["scatter" + _name] = _scatter(_how)
