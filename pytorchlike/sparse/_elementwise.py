"""Elementwise operations: functions that keep zeros, sums, products with sparse and dense tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from ..tensor import dtype as d
from ..tensor import functions as T
from ..tensor._names import find
from ..tensor._wrap import form
from . import _create
from . import _kernels as K
from ._pattern import Coo, on_device, small
from ._tensor import SparseTensor, handles

#: Functions with f(0) = 0 (or False): applied to the stored values, of a COO tensor after coalescing.
_UNARY = (
    "abs", "asin", "asinh", "atan", "atanh", "ceil", "conj", "conj_physical", "deg2rad", "erf", "erfinv", "expm1",
    "floor", "frac", "isinf", "isnan", "isneginf", "isposinf", "log1p", "rad2deg", "relu", "sgn", "sign", "signbit",
    "sin", "sinh", "sqrt", "tan", "tanh", "trunc", "square", "nan_to_num", "angle", "fix", "absolute", "arcsin",
    "arcsinh", "arctan", "arctanh", "isreal", "real", "imag",
)  # fmt: skip
#: Linear ones, which need no coalescing.
_LINEAR = ("neg", "positive", "negative")
_COO_ONLY = frozenset(("square", "nan_to_num"))
_SPACES = ("torch", "nn.functional", "special", "")


def _operator(name: str) -> Any:
    for space in _SPACES:
        found = find(space, name)
        if found is not None:
            return found
    raise LookupError(name)


def _unary(name: str, linear: bool) -> None:
    apply = _operator(name)

    def handler(input: SparseTensor, **rest: Any) -> SparseTensor:
        if input._form is not d.sparse_coo and name in _COO_ONLY:
            raise RuntimeError(f"{name}: unsupported tensor layout: {input._form}")
        if not linear and input._form is d.sparse_coo:
            input = input.coalesce()
        return input._with(apply(input._carrier, **rest))

    entry = getattr(apply, "entry", None)
    handles(name, *([entry.name] if entry is not None else []))(handler)


for _name in (*_UNARY, *_LINEAR):
    if any(find(s, _name) is not None for s in _SPACES) and _name not in ("isreal",):
        _unary(_name, _name in _LINEAR)


@handles("round")
def _round(input: SparseTensor, **rest: Any) -> SparseTensor:
    input = input.coalesce() if input._form is d.sparse_coo else input
    return input._with(T.round(input._carrier, **rest))


@handles("_to_dtype")
def _to_dtype(input: SparseTensor, dtype: Any) -> SparseTensor:
    return input._with(form(_operator("_to_dtype").entry)(input._carrier, dtype))


@handles("pow")
def _pow(input: Any, exponent: Any) -> SparseTensor:
    if not isinstance(input, SparseTensor) or isinstance(exponent, Tensor):
        raise NotImplementedError("pow: of sparse tensors only powers with a number as exponent are there")
    if input._form is not d.sparse_coo:
        raise RuntimeError(f"pow: unsupported tensor layout: {input._form}")
    if exponent == 0:
        raise RuntimeError("pow: cannot raise to zeroth power on sparse tensor; it would make the result tensor dense")
    if not isinstance(exponent, complex) and exponent < 0:
        raise RuntimeError(f"pow: a negative power ({exponent}) of a sparse tensor has no zeros; use .to_dense()")
    input = input.coalesce()
    return input._with(input._carrier**exponent)


# ---- products ------------------------------------------------------------------------------------------------------


def _is_number(x: Any) -> bool:
    return not isinstance(x, Tensor) or (not isinstance(x, SparseTensor) and x.dim() == 0)


@handles("mul", "multiply")
def mul(input: Any, other: Any) -> SparseTensor:
    """Product with a number, a dense tensor (taken at the stored places) or a sparse one (the common places)."""
    if not isinstance(input, SparseTensor):
        input, other = other, input
    if _is_number(other):
        return input._with(input._carrier * other)
    if isinstance(other, SparseTensor):
        if other._form is not input._form:
            raise RuntimeError(f"mul: both tensors must have the same layout, got {input._form} and {other._form}")
        if other._size != input._size:
            if other.dim() == 0 or input.dim() == 0:
                raise NotImplementedError("mul: 0-dim sparse tensors are not broadcast")
            raise RuntimeError(f"mul: expected sizes of both sparse tensors to match, got {list(input._size)} and "
                               f"{list(other._size)}; they are not broadcast")  # fmt: skip
        return _intersection(input, other)
    size = T.broadcast_shapes(input._size, tuple(other.shape))
    if tuple(size) != input._size:
        raise NotImplementedError(f"mul: a sparse tensor of shape {list(input._size)} is not broadcast to "
                                  f"{list(size)}; "
                                  "only the dense one is")  # fmt: skip
    dense = other.expand(input._size)
    return input._with(input._carrier * input._taken_from(dense))


def _intersection(a: SparseTensor, b: SparseTensor) -> SparseTensor:
    """Products at the places that both have."""
    if a._form is d.sparse_coo:
        a, b = a.coalesce(), b.coalesce()
    if a._pattern.same(b._pattern):  # type: ignore[arg-type]
        return a._with(a._carrier * b._carrier)
    if a._form is not d.sparse_coo:
        return _by_coo(mul, a, b)
    p, q = a._pattern, b._pattern

    def common() -> tuple:
        flat, left, right = np.intersect1d(p.flat, q.flat, assume_unique=True, return_indices=True)
        pattern = Coo.of_flat(flat, p.size, p.indices)
        return pattern, on_device(small(left, p.nnz), p.indices), on_device(small(right, q.nnz), p.indices)

    pattern, left, right = p.plan("common", q, common)
    return SparseTensor._make(pattern, a._carrier.index_select(0, left) * b._carrier.index_select(0, right), a._size)


def _by_coo(operation: Any, a: SparseTensor, b: SparseTensor) -> SparseTensor:
    """An operation on compressed tensors by way of COO, in the layout of the first."""
    found = operation(a.to_sparse(), b.to_sparse())
    return found.to_sparse(layout=a._form, blocksize=a._blocksize)


@handles("div", "divide", "true_divide")
def div(input: Any, other: Any, rounding_mode: str | None = None) -> SparseTensor:
    """Quotient by a number or a 0-dim tensor."""
    if not isinstance(input, SparseTensor):
        raise NotImplementedError("div: a dense tensor divided by a sparse one is not sparse; use .to_dense()")
    if not _is_number(other):
        raise RuntimeError("Sparse division requires a scalar or zero-dim dense tensor divisor (got shape "
                           f"{list(other.shape)} for divisor)")  # fmt: skip
    if rounding_mode is not None and input._form is d.sparse_coo:
        input = input.coalesce()
    return input._with(T.div(input._carrier, other, rounding_mode=rounding_mode))


@handles("floor_divide")
def floor_divide(input: Any, other: Any) -> SparseTensor:
    """Quotient by a number or a 0-dim tensor, rounded down."""
    return div(input, other, rounding_mode="floor")


# ---- sums ----------------------------------------------------------------------------------------------------------


@handles("add")
def add(input: Any, other: Any, alpha: Any = 1) -> Tensor:
    """Sum of two sparse tensors of a layout (sparse), or of a dense and a sparse one (dense)."""
    if not isinstance(input, SparseTensor):
        if _is_number(input) and not isinstance(input, Tensor):
            return add(other, input)
        return _dense_plus(input, other, alpha)
    if not isinstance(other, SparseTensor):
        if input._form is d.sparse_coo or not isinstance(other, Tensor):
            raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
        if alpha != 1:
            other = other * alpha
        return _dense_plus(other, input, 1)
    if input._form is not other._form:
        raise RuntimeError(f"add: both tensors must have the same layout, got {input._form} and {other._form}")
    if input._size != other._size:
        raise RuntimeError(f"add: expected sizes of 'self' and 'other' to match, but {list(input._size)} != "
                           f"{list(other._size)}")  # fmt: skip
    if input._form is d.sparse_coo and input.dense_dim() != other.dense_dim():
        raise RuntimeError(f"add: expected 'self' and 'other' to have same number of sparse dims, but "
                           f"{input.sparse_dim()}"
                           f" != {other.sparse_dim()}")  # fmt: skip
    return _union(input, other, alpha)


def _dense_plus(dense: Tensor, sparse: SparseTensor, alpha: Any) -> Tensor:
    if tuple(dense.shape) != sparse._size:
        raise RuntimeError(f"add: expected 'self' and 'other' to have same size, but self has size {list(dense.shape)} "
                           f"while other has size {list(sparse._size)} (FYI: op2-sparse addition does not currently "
                           "support broadcasting)")  # fmt: skip
    return T.add(dense, sparse.to_dense(), alpha=alpha)


def _union(a: SparseTensor, b: SparseTensor, alpha: Any) -> SparseTensor:
    p, q = a._pattern, b._pattern
    if p is q or p.same(q):  # type: ignore[arg-type]
        return a._with(T.add(a._carrier, b._carrier, alpha=alpha))
    if not isinstance(p, Coo) or not isinstance(q, Coo):
        if a._blocksize != b._blocksize:
            raise RuntimeError(f"add: tensors of blocks of {a._blocksize} and {b._blocksize} do not add up")
        return _by_coo(lambda x, y: _union(x.coalesce(), y.coalesce(), alpha), a, b)
    scaled = b._carrier if alpha == 1 else b._carrier * alpha
    kind = T.result_type(a._carrier, scaled)
    values = T.cat([a._carrier.to(kind), scaled.to(kind)])
    if not (p.coalesced and q.coalesced):
        pattern = Coo(T.cat([p.indices, q.indices], 1), p.size)
        return SparseTensor._make(pattern, values, a._size)

    def union() -> tuple:
        flat, ids = np.unique(np.concatenate([p.flat, q.flat]), return_inverse=True)
        return Coo.of_flat(flat, p.size, p.indices), on_device(small(ids, len(flat)), p.indices)

    pattern, ids = p.plan("union", q, union)
    return SparseTensor._make(pattern, form(K.sum_into)(values, ids, pattern.nnz), a._size)


@handles("sub", "subtract")
def sub(input: Any, other: Any, alpha: Any = 1) -> Tensor:
    """Difference; see :func:`add`."""
    if isinstance(input, SparseTensor) and not isinstance(other, SparseTensor) and input._form is d.sparse_coo:
        raise RuntimeError("sub(sparse, dense) is not supported. Use sub(dense, sparse) instead.")
    return add(input, other, alpha=-alpha)


@handles("rsub")
def rsub(input: Any, other: Any, alpha: Any = 1) -> Tensor:
    """``other - alpha * input``."""
    return sub(other, input, alpha=alpha)


# ---- filling -------------------------------------------------------------------------------------------------------


@handles("zero", "zero_")
def zero(input: SparseTensor) -> SparseTensor:
    """Without elements."""
    return _create.empty_like(input)


SparseTensor.zero_ = lambda self: self._become(zero(self), "zero_")  # type: ignore[method-assign]


@handles("fill")
def fill(input: SparseTensor, value: Any) -> SparseTensor:
    """Every stored element of a compressed tensor set to a number."""
    if input._form is d.sparse_coo:
        raise NotImplementedError("fill_: a COO tensor has no place for the elements that are not stored")
    return input._with(T.full_like(input._carrier, value))


def _like(name: str, keeps: bool, coo: bool) -> Any:
    make = find("torch", name)

    def handler(input: SparseTensor, *args: Any, dtype: Any = None, layout: Any = None, device: Any = None,
                requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None,
                **rest: Any) -> Tensor:  # fmt: skip
        if layout is d.strided:
            return make(input._carrier.new_empty(input._size), *args, dtype=dtype, device=device,
                        requires_grad=requires_grad, **rest)  # fmt: skip
        if input._form is d.sparse_coo and not coo:
            raise NotImplementedError(f"{name}: not implemented for COO tensors, which store no zeros; "
                                      "layout=torch.strided gives a dense one")  # fmt: skip
        if keeps and input._form is not d.sparse_coo:
            made = input.detach()._with(make(input._carrier.detach(), *args, dtype=dtype, **rest))
        else:
            made = _create.empty_like(input, dtype=dtype)
        if device is not None:
            made = made.to(device)
        return made.requires_grad_(True) if requires_grad else made

    return handles(name)(handler)


for _name, _keeps, _coo in (("zeros_like", False, True), ("empty_like", True, True), ("ones_like", True, False),
                            ("full_like", True, False), ("rand_like", True, False), ("randn_like", True, False)):
    _like(_name, _keeps, _coo)  # fmt: skip
