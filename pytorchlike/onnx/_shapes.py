"""Shapes, joining and cutting, indexing, and tensors made from numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..export._sizes import Size, has_size
from ._builder import Builder, V
from ._table import Args, lowers, positions_of, refuse, scatter_flat


@lowers("view", "reshape", "flatten", "unflatten", "ravel")
def _reshape(b: Builder, a: Args) -> V:
    return b.reshape(a.input, a.out.shape)


@lowers("unsqueeze", "squeeze")
def _unsqueeze(b: Builder, a: Args) -> V:
    return b.reshape(a.input, a.out.shape)


def _swapped(rank: int, i: int, j: int) -> list[int]:
    perm = list(range(rank))
    if rank:
        perm[i % rank], perm[j % rank] = perm[j % rank], perm[i % rank]
    return perm


@lowers("transpose")
def _transpose(b: Builder, a: Args) -> V:
    return b.transpose(a.input, _swapped(a.input.rank, a.dim0, a.dim1))


@lowers("swapaxes")
def _swapaxes(b: Builder, a: Args) -> V:
    return b.transpose(a.input, _swapped(a.input.rank, a.axis0, a.axis1))


@lowers("swapdims")
def _swapdims(b: Builder, a: Args) -> V:
    return b.transpose(a.input, _swapped(a.input.rank, a.dim0, a.dim1))


@lowers("t", "T", "H")
def _reversed(b: Builder, a: Args) -> V:
    return b.transpose(a.input, list(range(a.input.rank))[::-1])


@lowers("mT", "mH", "adjoint")
def _matrix_transposed(b: Builder, a: Args) -> V:
    return b.transpose(a.input, _swapped(a.input.rank, -1, -2))


@lowers("permute")
def _permute(b: Builder, a: Args) -> V:
    return b.transpose(a.input, a.dims)


@lowers("movedim")
def _movedim(b: Builder, a: Args) -> V:
    rank = a.input.rank
    source = [d % rank for d in (a.source if isinstance(a.source, tuple) else (a.source,))]
    target = [d % rank for d in (a.destination if isinstance(a.destination, tuple) else (a.destination,))]
    perm: list[int] = [-1] * rank
    for s, t in zip(source, target, strict=True):
        perm[t] = s
    rest = iter(d for d in range(rank) if d not in source)
    return b.transpose(a.input, [next(rest) if p < 0 else p for p in perm])


@lowers("expand", "broadcast_to")
def _expand(b: Builder, a: Args) -> V:
    return b.expand(a.input, a.out.shape)


@lowers("repeat", "tile")
def _repeat(b: Builder, a: Args) -> V:
    times = list(a.repeats if hasattr(a, "repeats") else a.dims)
    x = a.input
    times = [1] * (x.rank - len(times)) + times
    if len(times) > x.rank:
        x = b.reshape(x, (*(1,) * (len(times) - x.rank), *x.shape))  # type: ignore[misc]
    return b.op("Tile", x, b.ints(times))


@lowers("_repeat_interleave_int")
def _repeat_interleave(b: Builder, a: Args) -> V:
    x, dim = a.input, a.dim
    if dim is None:
        total: Any = 1
        for n in x.shape:
            total = n * total
        x, dim = b.reshape(x, (total,)), 0
    dim %= x.rank
    spread = b.expand(b.unsqueeze(x, dim + 1), (*x.shape[: dim + 1], a.repeats, *x.shape[dim + 1 :]))
    return b.reshape(spread, a.out.shape)


@lowers("flip")
def _flip(b: Builder, a: Args) -> V:
    return _flipped(b, a.input, [d % a.input.rank for d in a.dims])


@lowers("fliplr")
def _fliplr(b: Builder, a: Args) -> V:
    return _flipped(b, a.input, [1])


@lowers("flipud")
def _flipud(b: Builder, a: Args) -> V:
    return _flipped(b, a.input, [0])


def _flipped(b: Builder, x: V, dims: Sequence[int]) -> V:
    n = len(dims)
    return b.slice(x, [-1] * n, [np.iinfo(np.int64).min + 1] * n, list(dims), [-1] * n) if n else x


@lowers("roll")
def _roll(b: Builder, a: Args) -> V:
    shifts = a.shifts if isinstance(a.shifts, tuple) else (a.shifts,)
    dims = a.dims if isinstance(a.dims, tuple) else () if a.dims is None else (a.dims,)
    x = a.input
    if not dims:
        total: Any = 1
        for n in x.shape:
            total = n * total
        return b.reshape(_rolled(b, b.reshape(x, (total,)), shifts[0], 0, total), x.shape)
    for shift, dim in zip(shifts, dims, strict=True):
        x = _rolled(b, x, shift, dim % len(a.out.shape), a.out.shape[dim])
    return x


def _rolled(b: Builder, x: V, shift: Any, dim: int, n: Any) -> V:
    if isinstance(n, int) and isinstance(shift, int):
        shift = shift % n if n else 0
        if not shift:
            return x
    far = np.iinfo(np.int64).max
    back = -shift  # a slice from -shift is what moves to the front
    return b.concat([b.slice(x, [back], [far], [dim]), b.slice(x, [0], [back], [dim])], dim)


@lowers("tril", "triu")
def _triangle(b: Builder, a: Args) -> V:
    upper = int(a.step.entry.name == "triu")
    if a.input.dtype == np.bool_:
        found = b.op("Trilu", b.cast(a.input, np.int64), np.int64(a.diagonal), upper=upper)
        return b.cast(found, np.bool_)
    return b.op("Trilu", a.input, b.number(a.diagonal, np.int64), upper=upper)


def _common(b: Builder, a: Args) -> list[V]:
    return [b.cast(t, a.out.dtype) for t in a.tensors]


@lowers("cat")
def _cat(b: Builder, a: Args) -> V:
    parts = [t for t in _common(b, a) if t.shape != (0,) or len(a.out.shape) == 1]
    return b.concat(parts, a.dim)


@lowers("stack")
def _stack(b: Builder, a: Args) -> V:
    dim = a.dim % len(a.out.shape)
    return b.concat([b.unsqueeze(t, dim) for t in _common(b, a)], dim)


@lowers("hstack")
def _hstack(b: Builder, a: Args) -> V:
    return b.concat(_common(b, a), 0 if len(a.out.shape) == 1 else 1)


@lowers("vstack")
def _vstack(b: Builder, a: Args) -> V:
    return b.concat([b.unsqueeze(t, 0) if t.rank == 1 else t for t in _common(b, a)], 0)


@lowers("_split")
def _split(b: Builder, a: Args) -> Any:
    if len(a.sizes) == 1:
        return a.input
    return b.op("Split", a.input, b.ints(a.sizes), outputs=len(a.sizes), axis=a.dim)


@lowers("_unbind")
def _unbind(b: Builder, a: Args) -> Any:
    axis = a.dim % a.input.rank
    n = a.input.shape[axis]
    parts = [a.input] if n == 1 else b.op("Split", a.input, b.ints([1] * n), outputs=n, axis=axis)
    return [b.squeeze(part, axis) for part in parts]


@lowers("diagonal")
def _diagonal(b: Builder, a: Args) -> V:
    rank = a.input.rank
    x = b.transpose(a.input, [*(d for d in range(rank) if d not in (a.dim1 % rank, a.dim2 % rank)), a.dim1, a.dim2])
    rows, columns = x.shape[-2:]  # type: ignore[index]
    steps = b.range(a.out.shape[-1])
    down, right = max(-a.offset, 0), max(a.offset, 0)
    at = b.op("Add", b.op("Mul", b.binary("Add", steps, down), b.reshape(b.size(columns), ())),
              b.binary("Add", steps, right))  # fmt: skip
    flat = b.reshape(x, (*x.shape[:-2], rows * columns))  # type: ignore[index]
    return b.op("Gather", flat, at, axis=flat.rank - 1)


# ---- basic indexing --------------------------------------------------------------------------------------------------


def _taken(b: Builder, x: V, starts: Sequence[Any], spec: tuple) -> V:
    begin, end, axes, steps, gone, new = [], [], [], [], [], []
    k = axis = 0
    for entry in spec:
        if entry is None:
            new.append(axis - len(gone) + len(new))
            continue
        if entry != ":":
            start, (length, step) = starts[k], (1, 1) if entry == "i" else entry
            k += 1
            whole = not has_size(start) and start == 0 and step == 1 and length == x.shape[axis]  # type: ignore[index]
            if not whole:
                begin.append(start)
                end.append((length - 1) * step + 1 + start if length != 0 else start)
                axes.append(axis)
                steps.append(step)
            if entry == "i":
                gone.append(axis)
        axis += 1
    if axes:
        x = b.slice(x, begin, end, axes, None if all(s == 1 for s in steps) else steps)
    if gone:
        x = b.squeeze(x, *gone)
    return b.unsqueeze(x, *new) if new else x


@lowers("_getitem")
def _getitem(b: Builder, a: Args) -> V:
    return _taken(b, a.input, a.starts, a.spec)


@lowers("_setitem")
def _setitem(b: Builder, a: Args) -> V:
    return scatter_flat(b, a.input, _taken(b, positions_of(b, a.input), a.starts, a.spec), a.src, None)


# ---- advanced indexing -----------------------------------------------------------------------------------------------


def _indexed(b: Builder, x: V, indices: Sequence[V], spec: tuple) -> V:
    indices = list(indices)
    kinds = list(spec)
    axes = [d for d, kind in enumerate(kinds) if kind]
    for k in reversed(range(len(axes))):  # those without dims are taken first, as Python ints would be
        if kinds[axes[k]] == 2:
            shape = x.shape[: axes[k]] + x.shape[axes[k] + 1 :]  # type: ignore[index]
            x = b.op("Gather", x, b.cast(indices[k], np.int64), axis=axes[k], shape=shape)
            del kinds[axes[k]], indices[k]
            axes = [d for d, kind in enumerate(kinds) if kind]
    if not axes:
        return x
    if len(axes) == 1:
        return b.op("Gather", x, b.cast(indices[0], np.int64), axis=axes[0])
    rank = x.rank
    kept = [d for d in range(rank) if d not in axes]
    joint = max(i.rank for i in indices)
    front = b.transpose(x, [*axes, *kept])
    shapes = [b.shape_of(i) for i in indices]
    total = b.op("Max", *[b.concat([b.constant([1] * (joint - i.rank)), s], 0) if i.rank < joint else s
                          for i, s in zip(indices, shapes, strict=True)])  # fmt: skip
    full = [b.unsqueeze(V(b.op("Expand", b.cast(i, np.int64), total).name, np.int64, (0,) * joint), joint)
            for i in indices]  # fmt: skip
    found = b.op("GatherND", front, b.op("Concat", *full, axis=joint))
    adjacent = axes[-1] - axes[0] + 1 == len(axes)
    at = axes[0] if adjacent else 0
    if not at:
        return found
    order = [*range(joint, joint + at), *range(joint), *range(joint + at, joint + len(kept))]
    return b.op("Transpose", found, perm=order)


@lowers("_index")
def _index(b: Builder, a: Args) -> V:
    return _indexed(b, a.input, a.indices, a.spec)


@lowers("_index_put")
def _index_put(b: Builder, a: Args) -> V:
    at = _indexed(b, positions_of(b, a.input), a.indices, a.spec)
    return scatter_flat(b, a.input, at, a.values, "add" if a.accumulate else None)


@lowers("_masked_put")
def _masked_put(b: Builder, a: Args) -> V:
    if isinstance(a.values, V) and a.values.rank:
        raise refuse(b, a.step, "how many values a mask takes depends on the data; use torch.where with values of the "
                     "whole shape")  # fmt: skip
    after = a.input.rank - a.mask.rank - a.at
    mask = b.reshape(a.mask, (*a.mask.shape, *(1,) * after))
    return b.op("Where", mask, b.tensor(a.values, a.input.dtype), a.input, dtype=a.input.dtype)


@lowers("index_select")
def _index_select(b: Builder, a: Args) -> V:
    return b.op("Gather", a.input, a.index if a.index.rank else b.reshape(a.index, (1,)), axis=a.dim)


@lowers("take")
def _take(b: Builder, a: Args) -> V:
    return b.op("Gather", b.op("Reshape", a.input, [-1]), a.index, axis=0)


@lowers("gather")
def _gather(b: Builder, a: Args) -> V:
    if a.input.rank == 0:
        return b.expand(a.input, a.out.shape)
    return b.op("GatherElements", a.input, b.cast(a.index, np.int64), axis=a.dim)


@lowers("take_along_dim")
def _take_along_dim(b: Builder, a: Args) -> V:
    if a.dim is None:
        flat = b.op("Reshape", a.input, [-1])
        return b.op("Gather", flat, b.op("Reshape", a.indices, [-1]), axis=0)
    dim = a.dim % a.input.rank
    shape = list(a.out.shape)
    shape[dim] = a.input.shape[dim]
    return b.op("GatherElements", b.expand(a.input, shape), b.expand(a.indices, a.out.shape), axis=dim)


_REDUCTIONS = {"sum": "add", "add": "add", "prod": "mul", "multiply": "mul", "amax": "max", "amin": "min", None: None}


def _source(b: Builder, a: Args, src: Any) -> V:
    """What is scattered, in the shape of the index."""
    if not isinstance(src, V) or src.rank == 0:
        return b.expand(b.tensor(src, a.input.dtype), a.index.shape)
    src = b.cast(src, a.input.dtype)
    if src.shape == a.index.shape:
        return src
    rank = src.rank
    return b.slice(src, [0] * rank, list(a.index.shape), list(range(rank)))


@lowers("scatter")
def _scatter(b: Builder, a: Args) -> V:
    src = a.src if a.src is not None else a.value
    return b.op("ScatterElements", a.input, b.cast(a.index, np.int64), _source(b, a, src), axis=a.dim,
                reduction=_REDUCTIONS[a.reduce])  # fmt: skip


@lowers("scatter_add")
def _scatter_add(b: Builder, a: Args) -> V:
    return b.op("ScatterElements", a.input, b.cast(a.index, np.int64), _source(b, a, a.src), axis=a.dim,
                reduction="add")  # fmt: skip


@lowers("scatter_reduce")
def _scatter_reduce(b: Builder, a: Args) -> V:
    if a.reduce not in _REDUCTIONS or not a.include_self:
        raise refuse(b, a.step, f"reduce={a.reduce!r} with include_self={a.include_self} has no ONNX operator")
    return b.op("ScatterElements", a.input, b.cast(a.index, np.int64), _source(b, a, a.src), axis=a.dim,
                reduction=_REDUCTIONS[a.reduce])  # fmt: skip


def _rows(b: Builder, a: Args) -> tuple[V, int]:
    """An index of rows spread over the rows' elements."""
    dim = a.dim % a.input.rank
    shape = [1] * a.input.rank
    shape[dim] = a.index.shape[0] if a.index.rank else 1
    full = list(a.input.shape)
    full[dim] = shape[dim]
    return b.expand(b.reshape(b.cast(a.index, np.int64), shape), full), dim


@lowers("index_add")
def _index_add(b: Builder, a: Args) -> V:
    at, dim = _rows(b, a)
    source = b.cast(a.source, a.input.dtype)
    source = source if a.alpha == 1 else b.binary("Mul", source, a.alpha)
    return b.op("ScatterElements", a.input, at, source, axis=dim, reduction="add")


@lowers("index_copy")
def _index_copy(b: Builder, a: Args) -> V:
    at, dim = _rows(b, a)
    return b.op("ScatterElements", a.input, at, b.cast(a.source, a.input.dtype), axis=dim)


@lowers("index_fill")
def _index_fill(b: Builder, a: Args) -> V:
    at, dim = _rows(b, a)
    return b.op("ScatterElements", a.input, at, b.expand(b.tensor(a.value, a.input.dtype), at.shape), axis=dim)


# ---- tensors from numbers --------------------------------------------------------------------------------------------


def filled(b: Builder, value: Any, shape: Sequence[Any], dtype: Any) -> V:
    """A tensor of one number."""
    return b.expand(b.number(value, dtype), tuple(shape))


def _constant_of(value: float) -> Callable[[Builder, Args], V]:
    return lambda b, a: filled(b, value, a.out.shape, a.out.dtype)


lowers("zeros", "empty", "zero")(_constant_of(0))
lowers("ones")(_constant_of(1))


@lowers("full")
def _full(b: Builder, a: Args) -> V:
    return filled(b, a.fill_value, a.out.shape, a.out.dtype)


@lowers("fill")
def _fill(b: Builder, a: Args) -> V:
    return b.expand(b.tensor(a.value, a.out.dtype), a.out.shape)


@lowers("_arange")
def _arange(b: Builder, a: Args) -> V:
    steps = b.range(a.length)
    wide = np.float64 if a.out.dtype.kind == "f" else np.int64
    if not isinstance(a.length, Size) and not has_size(a.start) and not has_size(a.step_):
        values = np.asarray(a.start, wide) + np.arange(a.length) * np.asarray(a.step_, wide)
        return b.constant(values.astype(a.out.dtype))
    found = b.cast(steps, wide)
    found = found if a.step_ == 1 else b.binary("Mul", found, a.step_)
    found = found if a.start == 0 else b.binary("Add", found, a.start)
    return b.cast(found, a.out.dtype)


@lowers("linspace")
def _linspace(b: Builder, a: Args) -> V:
    if not isinstance(a.steps, Size):
        return b.constant(np.linspace(a.start, a.end, a.steps).astype(a.out.dtype))
    steps = b.cast(b.range(a.steps), np.float64)
    last = b.number(a.steps - 1, np.float64)
    along = b.op("Mul", steps, b.op("Div", b.number(a.end - a.start, np.float64), last))
    return b.cast(b.binary("Add", along, a.start), a.out.dtype)


@lowers("eye")
def _eye(b: Builder, a: Args) -> V:
    rows, columns = a.out.shape
    same = b.op("Equal", b.unsqueeze(b.range(rows), 1), b.range(columns), dtype=np.bool_)
    return b.cast(same, a.out.dtype)


@lowers("rand", "randn")
def _random(b: Builder, a: Args) -> V:
    kind = "RandomUniformLike" if a.step.entry.name == "rand" else "RandomNormalLike"
    return b.op(kind, filled(b, 0, a.out.shape, a.out.dtype), dtype=a.out.dtype)


@lowers("_bernoulli")
def _bernoulli(b: Builder, a: Args) -> V:
    # ONNX's own definition of Bernoulli draws 1 - p
    drawn = b.op("RandomUniformLike", a.input, dtype=a.input.dtype)
    return b.cast(b.op("Less", drawn, a.input, dtype=np.bool_), a.out.dtype)


@lowers("one_hot")
def _one_hot(b: Builder, a: Args) -> V:
    return b.op("OneHot", a.tensor, b.ints((a.out.shape[-1],)), b.constant([0, 1]), axis=-1, dtype=np.int64)
