"""Matrix products with sparse operands."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from ..tensor import dtype as d
from ..tensor import functions as T
from ..tensor._register import function
from ..tensor._wrap import form
from . import _kernels as K
from ._pattern import Coo, on_device, small
from ._tensor import BLOCKED, SPOKEN, SparseTensor, handles

_REDUCTIONS = ("sum", "mean", "amax", "amin")


def _check(name: str, a: Any, b: Any) -> None:
    if a.dim() != 2 or b.dim() != 2:
        raise RuntimeError(f"{name}: matrices expected, got {a.dim()}D and {b.dim()}D tensors")
    for t in (a, b):
        if isinstance(t, SparseTensor) and t.dense_dim():
            raise RuntimeError(f"{name}: matrices expected, got a sparse tensor with {t.dense_dim()} dense dimensions")
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and "
                           f"{b.shape[0]}x{b.shape[1]})")  # fmt: skip
    if a.dtype is not b.dtype:
        raise RuntimeError(f"expected scalar type {a.dtype._c10} but found {b.dtype._c10}: {name} needs "
                           f"operands "
                           "of one dtype")  # fmt: skip


def _times_dense(a: SparseTensor, b: Tensor) -> Tensor:
    """Sparse times dense matrix; dense."""
    if a._form in BLOCKED:
        coo = a._coo
        return form(K.block_mm)(a._carrier, b, coo.indices[0], coo.indices[1], coo.size[0])
    coo = a._coo
    if coo.known and not b.is_meta and not _traced(b):
        return coo.matrix.times(a._carrier, b)
    return form(K.coo_mm)(a._carrier, b, coo.indices, a._size[0])


def _traced(t: Tensor) -> bool:
    from ..engine.meta import TRACED

    return t._value.meta.place == TRACED


def _times_sparse(a: SparseTensor, b: SparseTensor) -> SparseTensor:
    """Sparse times sparse matrix; COO, or CSR of compressed operands."""
    if (a._form is d.sparse_coo) != (b._form is d.sparse_coo) or a._form in BLOCKED or b._form in BLOCKED:
        raise RuntimeError(f"addmm: computation is not implemented for {SPOKEN[a._form]} @ {SPOKEN[b._form]}; convert "
                           "the operands to one layout, COO or CSR")  # fmt: skip
    compressed = a._form is not d.sparse_coo
    a, b = a.to_sparse().coalesce(), b.to_sparse().coalesce()
    p, q = a._pattern, b._pattern
    size = (a._size[0], b._size[1])
    pattern, left, right, ids = p.plan("product", q, lambda: _pairs(p, q, size))
    values = a._carrier.index_select(0, left) * b._carrier.index_select(0, right)
    made = SparseTensor._make(pattern, form(K.sum_into)(values, ids, pattern.nnz), size)
    return made.to_sparse_csr() if compressed else made


def _pairs(p: Coo, q: Coo, size: tuple[int, int]) -> tuple:
    """Which elements of two coalesced matrices meet in a product, and where in the result each pair goes."""
    left_cols, starts = p.host[1], np.concatenate([[0], np.cumsum(np.bincount(q.host[0], minlength=q.size[0]))])
    counts = (starts[1:] - starts[:-1])[left_cols]
    left = np.repeat(np.arange(p.nnz), counts)
    within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    right = starts[left_cols[left]] + within
    flat, ids = np.unique(p.host[0][left] * size[1] + q.host[1][right], return_inverse=True)
    pattern = Coo.of_flat(flat, size, p.indices)
    return (pattern, *[on_device(small(x, max(p.nnz, q.nnz, len(flat))), p.indices) for x in (left, right, ids)])


@handles("mm")
def mm(input: Any, mat2: Any) -> Tensor:
    """Matrix product; dense unless both operands are sparse."""
    _check("mm", input, mat2)
    if isinstance(input, SparseTensor):
        return _times_sparse(input, mat2) if isinstance(mat2, SparseTensor) else _times_dense(input, mat2)
    if mat2._form in BLOCKED:
        raise RuntimeError(f"addmm: computation is not implemented for Strided @ {SPOKEN[mat2._form]}; transpose the "
                           "product, or convert to CSR")  # fmt: skip
    return _times_dense(mat2.t(), input.t()).t()


@handles("mv")
def mv(input: SparseTensor, vec: Tensor) -> Tensor:
    """Matrix times vector; dense."""
    if input.dim() != 2 or vec.dim() != 1:
        raise RuntimeError(f"mv: expected a matrix and a vector, got {input.dim()}D and {vec.dim()}D tensors")
    if isinstance(vec, SparseTensor):
        raise NotImplementedError("mv: the vector must be dense")
    if input.shape[1] != vec.shape[0]:
        raise RuntimeError(f"mv: expected self.size(-1) == vec.size(-1), got {input.shape[1]} and {vec.shape[0]}")
    return mm(input, vec.unsqueeze(1)).squeeze(1)


@handles("matmul")
def matmul(input: Any, other: Any) -> Tensor:
    """Product of matrices, or of a matrix and a vector."""
    if input.dim() == 2 and other.dim() == 2:
        return mm(input, other)
    if input.dim() == 2 and other.dim() == 1:
        return mv(input, other)
    if input.dim() == 1 and other.dim() == 2 and not isinstance(input, SparseTensor):
        return mv(other.t(), input)
    if input.dim() == other.dim() == 3:
        return bmm(input, other)
    raise RuntimeError(f"matmul: of sparse tensors only products of matrices and vectors are there, and batches of "
                       f"matrices (expand is unsupported for Sparse tensors); got {input.dim()}D and {other.dim()}D "
                       "tensors")  # fmt: skip


handles("_rmatmul")(lambda input, other: matmul(other, input))


@handles("bmm")
def bmm(input: Any, mat2: Any) -> Tensor:
    """A batch of sparse matrices times one of dense ones; dense."""
    if not isinstance(input, SparseTensor) or isinstance(mat2, SparseTensor):
        raise NotImplementedError("bmm: only batches of sparse matrices times batches of dense ones are there")
    if input.dim() != 3 or mat2.dim() != 3 or input.dense_dim() or input._form in BLOCKED:
        raise RuntimeError(f"bmm: expected two batches of matrices without dense dimensions, got shapes "
                           f"{list(input.shape)} and {list(mat2.shape)}")  # fmt: skip
    if input.shape[0] != mat2.shape[0] or input.shape[2] != mat2.shape[1]:
        raise RuntimeError(f"bmm: batches of {list(input.shape)} and {list(mat2.shape)} cannot be multiplied")
    b, n, m = input._size
    coo = input._coo
    # one matrix with the batch's matrices on its diagonal
    indices = T.stack([coo.indices[0] * n + coo.indices[1], coo.indices[0] * m + coo.indices[2]])
    whole = form(K.coo_mm)(input._flat_values(), mat2.reshape(b * m, mat2.shape[2]), indices, b * n)
    return whole.reshape(b, n, mat2.shape[2])


@handles("addmm")
def addmm(input: Any, mat1: Any, mat2: Any, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * (mat1 @ mat2)``."""
    product = mm(mat1, mat2)
    product = product if alpha == 1 else product * alpha
    if isinstance(input, SparseTensor) and not isinstance(product, SparseTensor):
        raise RuntimeError("addmm: a sparse input takes the product of sparse matrices; use .to_dense()")
    if isinstance(product, SparseTensor) and not isinstance(input, SparseTensor):
        product = product.to_dense()
    return product + (input if beta == 1 else input * beta)


@handles("addmv")
def addmv(input: Any, mat: Any, vec: Any, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * (mat @ vec)``."""
    return T.add(input * beta, mv(mat, vec), alpha=alpha)


@handles("linear")
def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """``input @ weight.T + bias`` with a sparse input or weight."""
    if isinstance(weight, SparseTensor) and not isinstance(input, SparseTensor):
        lead = tuple(input.shape[:-1])
        flat = input.reshape(-1, input.shape[-1])
        if flat.shape[1] != weight.shape[1]:
            raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({flat.shape[0]}x{flat.shape[1]} and "
                               f"{weight.shape[1]}x{weight.shape[0]})")  # fmt: skip
        out = _times_dense(weight, flat.t()).t().reshape(*lead, weight.shape[0])
    else:
        out = mm(input, weight.t())
    return out if bias is None else out + bias


def sparse_mm(mat1: Any, mat2: Any, reduce: str | None = None) -> Tensor:
    """Product of matrices of which any may be sparse; dense unless both are.

    reduce:  how the products of a row of a CSR ``mat1`` with a column are combined: "sum", "mean", "amax" or "max",
             "amin" or "min".
    Raises:  RuntimeError for shapes that do not fit.
    """
    if reduce is not None:
        return _reduced(mat1, mat2, reduce)
    if not isinstance(mat1, SparseTensor) and not isinstance(mat2, SparseTensor):
        return T.mm(mat1, mat2)
    if mat1.dim() != 2 or mat2.dim() != 2:
        raise (IndexError if mat2.dim() == 1 else RuntimeError)(
            f"sparse.mm: matrices expected, got {mat1.dim()}D and {mat2.dim()}D tensors"
        )
    return mm(mat1, mat2)


def _reduced(a: Any, b: Any, reduce: str) -> Tensor:
    reduce = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    if reduce not in _REDUCTIONS:
        raise RuntimeError(f"sparse.mm: reduce must be one of {', '.join(_REDUCTIONS)}, got {reduce!r}")
    if not isinstance(a, SparseTensor) or a._form is not d.sparse_csr or isinstance(b, SparseTensor):
        got = SPOKEN[a._form] if isinstance(a, SparseTensor) else "Strided"
        raise RuntimeError(f"sparse_mm_reduce: expect self to be SparseCsr and a dense mat2, got {got}")
    _check("sparse.mm", a, b)
    if reduce == "sum":
        return _times_dense(a, b)
    coo = a._coo
    return form(K.reduce_mm)(a._carrier, b, coo.indices[0], coo.indices[1], a._size[0], reduce)


def sparse_addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * (mat1 @ mat2)`` with a sparse ``mat1``; gradients for all of them."""
    return addmm(input, mat1, mat2, beta=beta, alpha=alpha)


def sampled_addmm(input: SparseTensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1.0, alpha: Any = 1.0,
                  out: Any = None) -> SparseTensor:  # fmt: skip
    """``beta * input + alpha * (mat1 @ mat2)`` at the stored places of the CSR ``input`` only; CSR.

    Shapes:  input (*batch, n, m), mat1 (*batch, n, k), mat2 (*batch, k, m).
    """
    if not isinstance(input, SparseTensor) or input._form is not d.sparse_csr:
        kind = NotImplementedError if isinstance(input, SparseTensor) or isinstance(input, Tensor) else TypeError
        raise kind(f"sparse.sampled_addmm: input must be a CSR tensor, got {getattr(input, 'layout', type(input))}")
    for name, m in (("mat1", mat1), ("mat2", mat2)):
        if isinstance(m, SparseTensor):
            raise RuntimeError(f"sampled_addmm: Expected {name} to have strided layout, but got {m._form}")
        if m.dtype is not input.dtype:
            raise RuntimeError(f"sampled_addmm: Expected {name} to have the same dtype as self, but got {m.dtype} and "
                               f"{input.dtype}")  # fmt: skip
        if m.dim() < 2:
            raise RuntimeError(f"sampled_addmm: Expected {name} to be a matrix, got {m.dim()}-D tensor")
    if mat1.shape[-1] != mat2.shape[-2]:
        raise RuntimeError(f"sampled_addmm: mat1 and mat2 shapes cannot be multiplied "
                           f"({mat1.shape[-2]}x{mat1.shape[-1]} "
                           f"and {mat2.shape[-2]}x{mat2.shape[-1]})")  # fmt: skip
    if (*mat1.shape[:-1], mat2.shape[-1]) != input._size:
        raise RuntimeError(f"sampled_addmm: the product has shape {[*mat1.shape[:-1], mat2.shape[-1]]}, self "
                           f"{list(input._size)}")  # fmt: skip
    found = form(K.sampled)(mat1, mat2, input._coo.indices)
    p: Any = input._pattern
    found = found.unflatten(0, (*p.batch, p.nnz)) if p.batch else found
    values = found if alpha == 1 else found * alpha
    values = values if beta == 0 else input._carrier * beta + values
    made = input._with(values)
    return made if out is None else out._become(made, "sampled_addmm")


# ---- names of the torch namespace ----------------------------------------------------------------------------------


@function(aliases=("dsmm", "hsmm"))
def spmm(input: Any, mat2: Any) -> Tensor:
    """``torch.mm``."""
    return mm(input, mat2) if any(isinstance(t, SparseTensor) for t in (input, mat2)) else T.mm(input, mat2)


@function(method=True)
def smm(input: SparseTensor, mat2: Tensor) -> SparseTensor:
    """Product of a COO and a dense matrix, as a COO tensor with every element of the rows that are not empty."""
    return sspaddmm(_empty(input, (input.shape[0], mat2.shape[1])), input, mat2)


def _empty(like: SparseTensor, size: tuple[int, ...]) -> SparseTensor:
    from ._create import _empty_coo

    return _empty_coo(size, len(size), (), like.dtype, like.device)


def _rows_present(name: str, a: Any) -> Coo:
    if not isinstance(a, SparseTensor) or a._form is not d.sparse_coo:
        raise NotImplementedError(f"{name}: the first matrix must be a COO tensor")
    return a.coalesce()._pattern  # type: ignore[return-value]


@function
def hspmm(mat1: SparseTensor, mat2: Tensor) -> SparseTensor:
    """Product of a COO and a dense matrix, as a COO tensor of rows: one sparse, one dense dimension."""
    pattern = _rows_present("hspmm", mat1)
    product = mm(mat1, mat2)
    rows = np.unique(pattern.host[0])
    made = Coo(on_device(rows[None], pattern.indices), (mat1.shape[0],), True)
    return SparseTensor._make(made, form(K.take)(product, made.indices), (mat1.shape[0], mat2.shape[1]))


@function(method=True)
def sspaddmm(input: SparseTensor, mat1: SparseTensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> SparseTensor:
    """``beta * input + alpha * (mat1 @ mat2)`` for COO ``input`` and ``mat1``, a dense ``mat2``; COO."""
    pattern = _rows_present("sspaddmm", mat1)
    product = mm(mat1, mat2)
    rows = np.unique(pattern.host[0])
    k = mat2.shape[1]
    host = np.stack([np.repeat(rows, k), np.tile(np.arange(k), len(rows))])
    made = Coo(on_device(host, pattern.indices), (mat1.shape[0], k), True)
    if made.size != input._size:
        raise RuntimeError(f"sspaddmm: Argument #1: expected size {list(made.size)}, got {list(input._size)}")
    found = SparseTensor._make(made, form(K.take)(product, made.indices) * alpha, made.size)
    if not input._nnz():
        return found
    values = T.cat([input._carrier * beta, found._carrier])
    both = Coo(T.cat([input._pattern.indices, made.indices], 1), made.size)  # type: ignore[union-attr]
    return SparseTensor._make(both, values, made.size)


@function
def saddmm(input: Any, mat1: SparseTensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``torch.sparse.addmm``."""
    return addmm(input, mat1, mat2, beta=beta, alpha=alpha)


__all__ = ["mm", "sampled_addmm", "sparse_addmm", "sparse_mm"]
