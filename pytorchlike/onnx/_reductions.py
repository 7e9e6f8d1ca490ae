"""Sums, extrema and other reductions; sorting; products of matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..export._sizes import Size
from ._builder import Builder, V
from ._table import Args, lowers, refuse


def axes_of(rank: int, dim: Any) -> list[int] | None:
    """The axes of a reduction, None for all."""
    if dim is None or dim == () or not rank:
        return None
    return sorted({d % rank for d in (dim if isinstance(dim, tuple) else (dim,))})


def _count(b: Builder, x: V, axes: list[int] | None, dtype: Any) -> V:
    """How many elements are reduced."""
    total: Any = 1
    for k, n in enumerate(x.shape):  # type: ignore[arg-type]
        if axes is None or k in axes:
            total = n * total
    return b.number(total, dtype)


def _plain(kind: str) -> Callable[[Builder, Args], V]:
    def rule(b: Builder, a: Args) -> V:
        x = b.cast(a.input, a.out.dtype)
        return b.reduce(kind, x, axes_of(x.rank, a.dim), a.keepdim)

    return rule


for _name, _kind in (("sum", "ReduceSum"), ("mean", "ReduceMean"), ("prod", "ReduceProd"), ("amax", "ReduceMax"),
                     ("amin", "ReduceMin")):
    lowers(_name)(_plain(_kind))


def _of_bools(kind: str) -> Callable[[Builder, Args], V]:
    def rule(b: Builder, a: Args) -> V:
        x = b.cast(b.cast(a.input, np.bool_), np.int32)
        return b.cast(b.reduce(kind, x, axes_of(x.rank, a.dim), a.keepdim), np.bool_)

    return rule


lowers("all")(_of_bools("ReduceMin"))
lowers("any")(_of_bools("ReduceMax"))


def _flat(b: Builder, x: V) -> V:
    return V(b.op("Reshape", x, [-1]).name, x.dtype, None)


def _position(kind: str) -> Callable[[Builder, Args], V]:
    def rule(b: Builder, a: Args) -> V:
        x = a.input if a.input.dtype != np.bool_ else b.cast(a.input, np.int32)
        if a.dim is None:
            found = b.op(kind, _flat(b, x), axis=0, keepdims=0, dtype=np.int64)
            return b.reshape(found, a.out.shape)
        if x.rank == 0:
            return b.number(0, np.int64)
        return b.op(kind, x, axis=a.dim, keepdims=int(a.keepdim), dtype=np.int64)

    return rule


lowers("argmax")(_position("ArgMax"))
lowers("argmin")(_position("ArgMin"))


def _extremum(word: str) -> Callable[[Builder, Args], Any]:
    def rule(b: Builder, a: Args) -> Any:
        x = a.input
        if x.dtype == np.bool_:
            x = b.cast(x, np.int32)
        if a.dim is None:
            return b.reduce(f"Reduce{word}", x, None, False)
        values = b.reduce(f"Reduce{word}", x, axes_of(x.rank, a.dim), a.keepdim)
        return values, b.op(f"Arg{word}", x, axis=a.dim, keepdims=int(a.keepdim), dtype=np.int64)

    return rule


lowers("max")(_extremum("Max"))
lowers("min")(_extremum("Min"))


@lowers("aminmax")
def _aminmax(b: Builder, a: Args) -> Any:
    axes = axes_of(a.input.rank, a.dim)
    return b.reduce("ReduceMin", a.input, axes, a.keepdim), b.reduce("ReduceMax", a.input, axes, a.keepdim)


def _moments(b: Builder, a: Args) -> tuple[V, V]:
    x = a.input
    axes = axes_of(x.rank, a.dim)
    correction = a.correction if a.correction is not None else float(a.unbiased)
    mean = b.reduce("ReduceMean", x, axes, True)
    apart = b.op("Sub", x, mean, shape=x.shape)
    squares = b.reduce("ReduceSum", b.op("Mul", apart, apart, shape=x.shape), axes, a.keepdim)
    count = b.binary("Sub", _count(b, x, axes, x.dtype), correction) if correction else _count(b, x, axes, x.dtype)
    return b.op("Div", squares, count), b.reduce("ReduceMean", x, axes, a.keepdim)


@lowers("var")
def _var(b: Builder, a: Args) -> V:
    return _moments(b, a)[0]


@lowers("std")
def _std(b: Builder, a: Args) -> V:
    return b.op("Sqrt", _moments(b, a)[0])


@lowers("var_mean")
def _var_mean(b: Builder, a: Args) -> Any:
    return _moments(b, a)


@lowers("std_mean")
def _std_mean(b: Builder, a: Args) -> Any:
    var, mean = _moments(b, a)
    return b.op("Sqrt", var), mean


@lowers("logsumexp")
def _logsumexp(b: Builder, a: Args) -> V:
    x = b.cast(a.input, a.out.dtype)
    return b.reduce("ReduceLogSumExp", x, axes_of(x.rank, a.dim), a.keepdim)


def norm_of(b: Builder, x: V, p: float, axes: Sequence[int] | None, keepdims: bool) -> V:
    """The vector norm of order ``p``."""
    if p in (1, 2):
        return b.reduce(f"ReduceL{int(p)}", x, axes, keepdims)
    absolute = b.unary("Abs", x)
    if math.isinf(p):
        return b.reduce("ReduceMax" if p > 0 else "ReduceMin", absolute, axes, keepdims)
    if p == 0:
        nonzero = b.op("Greater", absolute, b.number(0, x.dtype), dtype=np.bool_, shape=x.shape)
        return b.reduce("ReduceSum", b.cast(nonzero, x.dtype), axes, keepdims)
    return b.binary("Pow", b.reduce("ReduceSum", b.binary("Pow", absolute, p), axes, keepdims), 1 / p)


@lowers("norm")
def _norm(b: Builder, a: Args) -> V:
    if a.p == "nuc":
        raise refuse(b, a.step, "the nuclear norm has no ONNX operator; compute it outside of the exported model")
    x = b.cast(a.input, a.out.dtype)
    return norm_of(b, x, 2 if a.p in (None, "fro") else float(a.p), axes_of(x.rank, a.dim), a.keepdim)


@lowers("linalg.vector_norm")
def _vector_norm(b: Builder, a: Args) -> V:
    x = b.cast(a.x, a.out.dtype)
    return norm_of(b, x, float(a.ord), axes_of(x.rank, a.dim), a.keepdim)


@lowers("linalg.norm")
def _linalg_norm(b: Builder, a: Args) -> V:
    x = b.cast(a.A, a.out.dtype)
    axes = axes_of(x.rank, a.dim)
    if a.ord not in (None, "fro") and (2 if axes is None and x.rank == 2 else len(axes or (0,))) > 1:
        raise refuse(b, a.step, f"the matrix norm of order {a.ord!r} has no ONNX operator; use the Frobenius norm")
    return norm_of(b, x, 2 if a.ord in (None, "fro") else float(a.ord), axes, a.keepdim)


@lowers("count_nonzero")
def _count_nonzero(b: Builder, a: Args) -> V:
    x = b.cast(b.cast(a.input, np.bool_), np.int64)
    return b.reduce("ReduceSum", x, axes_of(x.rank, a.dim), False)


@lowers("normalize")
def _normalize(b: Builder, a: Args) -> V:
    norms = norm_of(b, a.input, float(a.p), axes_of(a.input.rank, a.dim), True)
    return b.op("Div", a.input, b.op("Max", norms, b.number(a.eps, a.input.dtype)))


@lowers("cosine_similarity")
def _cosine_similarity(b: Builder, a: Args) -> V:
    rank = max(a.x1.rank, a.x2.rank)
    x, y = (b.expand(v, _spread(a.x1.shape, a.x2.shape)) for v in (a.x1, a.x2))
    axes = [a.dim % rank]

    def unit(v: V) -> V:
        return b.op("Div", v, b.op("Max", norm_of(b, v, 2, axes, True), b.number(a.eps, v.dtype)))

    return b.reduce("ReduceSum", b.op("Mul", unit(x), unit(y)), axes, False)


def _spread(x: Sequence[Any], y: Sequence[Any]) -> tuple:
    """The shape that two shapes broadcast to."""
    rank = max(len(x), len(y))
    x, y = (1,) * (rank - len(x)) + tuple(x), (1,) * (rank - len(y)) + tuple(y)
    return tuple([n if isinstance(m, int) and m == 1 else m for m, n in zip(x, y, strict=True)])


@lowers("cumsum")
def _cumsum(b: Builder, a: Args) -> V:
    x = b.cast(a.input, a.out.dtype)
    return b.op("CumSum", x, np.int64(a.dim)) if x.rank else x


# ---- sorting ---------------------------------------------------------------------------------------------------------


def _ordered(b: Builder, x: V, k: Any, dim: int, largest: bool, ordered: bool = True) -> tuple[V, V]:
    dtype = x.dtype
    x = b.cast(x, np.int32) if dtype.kind == "b" or dtype in (np.int8, np.int16) else x
    values, at = b.op("TopK", x, b.ints((k,)), outputs=2, axis=dim, largest=int(largest), sorted=int(ordered))
    return b.cast(V(values.name, x.dtype, None), dtype), V(at.name, np.int64, None)


@lowers("topk")
def _topk(b: Builder, a: Args) -> Any:
    return _ordered(b, a.input, a.k, a.dim, a.largest, a.sorted)


@lowers("sort")
def _sort(b: Builder, a: Args) -> Any:
    return _ordered(b, a.input, a.out.shape[a.dim], a.dim, a.descending)


@lowers("argsort")
def _argsort(b: Builder, a: Args) -> V:
    return _ordered(b, a.input, a.out.shape[a.dim], a.dim, a.descending)[1]


@lowers("kthvalue")
def _kthvalue(b: Builder, a: Args) -> Any:
    values, at = _ordered(b, a.input, a.k, a.dim, False)
    last = b.constant(a.k - 1) if a.keepdim is False else b.constant([a.k - 1])
    return b.op("Gather", values, last, axis=a.dim), b.op("Gather", at, last, axis=a.dim)


@lowers("median")
def _median(b: Builder, a: Args) -> Any:
    x = a.input
    n = x.shape[a.dim] if a.dim is not None else None
    if n is None or isinstance(n, Size):
        raise refuse(b, a.step, "medians are written along one dimension of a fixed size; give dim")
    values, at = _ordered(b, x, (n + 1) // 2, a.dim, False)
    last = b.constant((n + 1) // 2 - 1) if a.keepdim is False else b.constant([(n + 1) // 2 - 1])
    return b.op("Gather", values, last, axis=a.dim), b.op("Gather", at, last, axis=a.dim)


# ---- products --------------------------------------------------------------------------------------------------------


@lowers("matmul")
def _matmul(b: Builder, a: Args) -> V:
    return b.op("MatMul", a.input, a.other)


@lowers("_rmatmul")
def _rmatmul(b: Builder, a: Args) -> V:
    return b.op("MatMul", a.other, a.input)


@lowers("mm", "bmm")
def _mm(b: Builder, a: Args) -> V:
    return b.op("MatMul", a.input, a.mat2)


@lowers("mv")
def _mv(b: Builder, a: Args) -> V:
    return b.op("MatMul", a.input, a.vec)


@lowers("dot")
def _dot(b: Builder, a: Args) -> V:
    return b.op("MatMul", a.input, a.tensor)


@lowers("outer")
def _outer(b: Builder, a: Args) -> V:
    return b.op("Mul", b.unsqueeze(a.input, 1), a.vec2)


@lowers("inner")
def _inner(b: Builder, a: Args) -> V:
    rank = a.other.rank
    return b.op("MatMul", a.input, b.transpose(a.other, [*range(1, rank), 0]) if rank == 2 else a.other)


def _plus(b: Builder, a: Args, product: V) -> V:
    product = product if a.alpha == 1 else b.binary("Mul", product, a.alpha)
    start = a.input if a.beta == 1 else b.binary("Mul", a.input, a.beta)
    return b.op("Add", start, product)


@lowers("addmm")
def _addmm(b: Builder, a: Args) -> V:
    return _plus(b, a, b.op("MatMul", a.mat1, a.mat2))


@lowers("addmv")
def _addmv(b: Builder, a: Args) -> V:
    return _plus(b, a, b.op("MatMul", a.mat, a.vec))


@lowers("baddbmm")
def _baddbmm(b: Builder, a: Args) -> V:
    return _plus(b, a, b.op("MatMul", a.batch1, a.batch2))


@lowers("addbmm")
def _addbmm(b: Builder, a: Args) -> V:
    return _plus(b, a, b.reduce("ReduceSum", b.op("MatMul", a.batch1, a.batch2), [0], False))


@lowers("einsum")
def _einsum(b: Builder, a: Args) -> V:
    return b.op("Einsum", *a.operands, equation=a.equation.replace(" ", ""))


@lowers("tensordot")
def _tensordot(b: Builder, a: Args) -> V:
    x, y = a.a, a.b
    dims = a.dims
    if isinstance(dims, int):
        dims = (tuple(range(x.rank - dims, x.rank)), tuple(range(dims)))
    letters = "abcdefghijklmnopqrstuvwxyz"
    left, right = list(letters[: x.rank]), list(letters[x.rank : x.rank + y.rank])
    for i, j in zip(*dims, strict=True):
        right[j % y.rank] = left[i % x.rank]
    kept = [c for c in left if c not in right] + [c for c in right if c not in left]
    return b.op("Einsum", x, y, equation=f"{''.join(left)},{''.join(right)}->{''.join(kept)}")


@lowers("linear")
def _linear(b: Builder, a: Args) -> V:
    if a.input.rank == 2 and a.weight.rank == 2:
        return b.op("Gemm", a.input, a.weight, a.bias, transB=1)
    if a.weight.rank == 1:
        found = b.op("MatMul", a.input, a.weight)
    else:
        found = b.op("MatMul", a.input, b.transpose(a.weight, (1, 0)))
    return found if a.bias is None else b.op("Add", found, a.bias)


@lowers("bilinear")
def _bilinear(b: Builder, a: Args) -> V:
    found = b.op("Einsum", a.input1, a.weight, a.input2, equation="...i,oij,...j->...o")
    return found if a.bias is None else b.op("Add", found, a.bias)
