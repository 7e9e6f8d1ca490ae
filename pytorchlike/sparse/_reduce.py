"""Reductions and softmax of sparse tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops._sizes import wrap_dims
from ..tensor import Tensor
from ..tensor import dtype as d
from ..tensor import functions as T
from ..tensor._wrap import form
from ..tensor.composed import refusal
from . import _kernels as K
from ._pattern import Coo, on_device, small
from ._tensor import SPOKEN, SparseTensor, expected, handles


def _dims(t: SparseTensor, dim: Any) -> list[int]:
    return list(wrap_dims(dim if isinstance(dim, (list, tuple)) else (dim,), t.dim()))


def _places(p: Coo, keep: tuple[int, ...]) -> tuple[Coo, Tensor]:
    """The pattern of some dimensions, and its element for each of ours."""
    cached = p.__dict__.setdefault("_kept", {})
    found = cached.get(keep)
    if found is None:
        size = tuple(p.size[k] for k in keep)
        part = Coo(on_device(p.host[list(keep)], p.indices), size)
        pattern, ids, _ = part.merged
        found = cached[keep] = (pattern, ids)
    return found


def sparse_sum(input: SparseTensor, dim: Any = None, dtype: Any = None) -> Tensor:
    """Sum over all dimensions (dense, 0-dim), or over some: sparse as long as a sparse dimension is left, else dense.

    Dtype:   that of the input unless told otherwise; whole numbers and booleans become int64.
    Raises:  IndexError for a dimension that is not there; RuntimeError for layouts other than COO.
    """
    if not isinstance(input, SparseTensor):
        raise NotImplementedError("sparse.sum: the tensor must be sparse; this one is dense (use torch.sum)")
    if input._form is not d.sparse_coo:
        raise expected("coalesce", "sparse coordinate", input._form)
    kind = dtype if dtype is not None else d.int64 if input.dtype.numpy.kind in "biu" else None
    values = input._carrier if kind is None else input._carrier.to(kind)
    if dim is None or (isinstance(dim, (list, tuple)) and not dim):
        return values.sum()
    dims = _dims(input, dim)
    p: Any = input._pattern
    m = len(p.size)
    inner = [k - m + 1 for k in dims if k >= m]
    if inner:
        values = values.sum(inner)
    keep = tuple(k for k in range(m) if k not in dims)
    size = tuple(n for k, n in enumerate(input._size) if k not in dims)
    if len(keep) == m:
        return SparseTensor._make(p, values, size)
    if not keep:
        return values.sum(0)
    pattern, ids = _places(p, keep)
    return SparseTensor._make(pattern, form(K.sum_into)(values, ids, pattern.nnz), size)


@handles("sum")
def sum_(input: SparseTensor, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """``torch.sum``."""
    kind = None if dtype is None else d.from_numpy_dtype(np.dtype(dtype)) if not isinstance(dtype, d.dtype) else dtype
    if dim is None or (isinstance(dim, (list, tuple)) and not dim):
        if keepdim:
            raise RuntimeError("sum: keepdim of a sparse tensor needs dim")
        values = input._carrier
        return values.sum() if kind is None else values.sum(dtype=kind)
    if input._form is d.sparse_coo:
        if keepdim:
            made = sparse_sum(input, dim, kind)
            for k in sorted(_dims(input, dim)):
                made = made.unsqueeze(k)
            return made
        return sparse_sum(input, dim, kind)
    if input._form is not d.sparse_csr:
        raise RuntimeError("Currently the only compressed sparse format supported for sum.dim_IntList is CSR, but got "
                           f"layout {SPOKEN[input._form]}")  # fmt: skip
    if not keepdim:
        raise RuntimeError("reduction operations on CSR tensors with keepdim=False is unsupported")
    made = sparse_sum(input.to_sparse(), dim, kind)
    for k in sorted(_dims(input, dim)):
        made = made.unsqueeze(k)
    return made.to_sparse_csr()


@handles("any")
def any_(input: SparseTensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether any stored value is not zero."""
    if dim is not None or input._form is not d.sparse_coo:
        raise NotImplementedError(refusal("any", input._kind))
    return input.coalesce()._carrier.any()


@handles("norm")
def norm(input: SparseTensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """Norm of all elements (COO)."""
    if input._form is not d.sparse_coo:
        raise NotImplementedError(refusal("norm", input._kind))
    if dim is not None and sorted(_dims(input, dim)) != list(range(input.dim())):
        raise RuntimeError("norm_sparse currently does not support 'dim' other than all dimensions")
    if keepdim:
        raise RuntimeError("norm_sparse currently does not support keepdim=True")
    values = input.coalesce()._carrier.reshape(-1)
    return T.norm(values, p if p not in ("fro", None) else 2, dtype=dtype)


def _softmax(name: str, input: Any, dim: int, dtype: Any, log: bool) -> SparseTensor:
    if not isinstance(input, SparseTensor):
        raise NotImplementedError(f"{name}: the tensor must be sparse; this one is dense (use torch.softmax)")
    if input._form is not d.sparse_coo:
        raise NotImplementedError(refusal(name, input._kind))
    axis = input._dim(dim)
    if dtype is None and not input.is_floating_point():
        raise NotImplementedError(f"{name}: not implemented for {input.dtype}; give dtype=")
    t = input.coalesce()
    values = t._carrier if dtype is None else t._carrier.to(dtype)
    p: Any = t._pattern
    m = len(p.size)
    if axis >= m:
        apply = T.log_softmax if log else T.softmax
        return t._with(apply(values, axis - m + 1))
    keep = tuple(k for k in range(m) if k != axis)
    if keep:
        pattern, ids = _places(p, keep)
        count = pattern.nnz
    else:
        ids, count = on_device(small(np.zeros(p.nnz, np.int64), 1), p.indices), 1
    return t._with(form(K.softmax)(values, ids, count, log))


def softmax(input: SparseTensor, dim: int, *, dtype: Any = None) -> SparseTensor:
    """Softmax of the stored elements along a dimension; elements that are not stored count as -inf."""
    return _softmax("sparse.softmax", input, dim, dtype, False)


def log_softmax(input: SparseTensor, dim: int, *, dtype: Any = None) -> SparseTensor:
    """Logarithm of :func:`softmax`."""
    return _softmax("sparse.log_softmax", input, dim, dtype, True)


def spdiags(diagonals: Tensor, offsets: Tensor, shape: tuple[int, int], layout: Any = None) -> SparseTensor:
    """A sparse matrix with the rows of ``diagonals`` on the diagonals ``offsets``.

    Element j of a row stands in column j.  layout: COO (default), CSR or CSC.
    Raises:  RuntimeError for offsets that are not different int64 numbers, one for each row.
    """
    allowed = (None, d.sparse_coo, d.sparse_csr, d.sparse_csc)
    if layout not in allowed:
        raise RuntimeError("Only output layouts (Sparse, SparseCsc, SparseCsr) are supported, got "
                           f"{SPOKEN.get(layout, layout)}")  # fmt: skip
    if len(shape) != 2:
        raise RuntimeError("Output shape must be 2d")
    if offsets.dtype is not d.int64:
        raise RuntimeError(f"Offset Tensor must have dtype Long but got {offsets.dtype}")
    diagonals = diagonals.unsqueeze(0) if diagonals.dim() == 1 else diagonals
    if diagonals.dim() != 2:
        raise RuntimeError("Diagonals must be vector or matrix")
    host = np.atleast_1d(offsets.detach()._host())
    if host.ndim != 1:
        raise RuntimeError("Offsets must be scalar or vector")
    if len(host) != diagonals.shape[0]:
        raise RuntimeError(f"Number of diagonals ({diagonals.shape[0]}) does not match the number of offsets "
                           f"({len(host)})")
    if len(np.unique(host)) != len(host):
        raise RuntimeError("Offset tensor contains duplicate values")
    n, m = shape
    rows, cols, places = [], [], []
    length = diagonals.shape[1]
    for k, off in enumerate(host.tolist()):
        first, last = max(off, 0), min(n + off, m, length)
        if off >= m or -off >= n:
            raise RuntimeError(f"spdiags: diagonal {off} lies outside a matrix of shape {[n, m]}")
        at = np.arange(first, max(first, last))
        rows.append(at - off)
        cols.append(at)
        places.append(k * length + at)
    indices = np.stack([np.concatenate(rows), np.concatenate(cols)]).astype(np.int64)
    values = diagonals.reshape(-1).index_select(0, on_device(np.concatenate(places), diagonals))
    made = SparseTensor._make(Coo(on_device(indices, diagonals), (n, m)), values, (n, m))
    return made if layout in (None, d.sparse_coo) else made.to_sparse(layout=layout)


__all__ = ["log_softmax", "softmax", "spdiags", "sparse_sum"]
