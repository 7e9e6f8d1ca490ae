"""From one layout to another: methods of dense and sparse tensors.

The places of the elements are worked out on the host (reading what decides them, as ``nonzero`` does); the values are
gathered by recorded operations, so gradients flow back through every conversion.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tensor import Tensor
from ..tensor import dtype as d
from ..tensor._register import function
from ..tensor._wrap import form
from ..tensor.indexing import nonzero_places
from . import _kernels as K
from ._pattern import Compressed, Coo, on_device
from ._tensor import BLOCKED, BY_ROWS, SPOKEN, SparseTensor, expected


def _blocks(name: str, size: tuple[int, int], block: Any) -> tuple[int, int]:
    block = tuple(block) if isinstance(block, (list, tuple)) else (block, block)
    if len(block) != 2:
        raise RuntimeError(f"{name}: blocksize needs to be a tuple of size 2, but got {len(block)}")
    if block[0] < 1 or block[1] < 1 or size[0] % block[0] or size[1] % block[1]:
        raise RuntimeError(
            f"{name}: tensor sparse size ({size[0]},{size[1]}) must be divisible by given blocksize "
            f"({block[0]},{block[1]})"
        )
    return block  # type: ignore[return-value]


def _dense_coo(input: Tensor, m: int) -> SparseTensor:
    mask = input.detach()._host() != 0
    size = tuple(input.shape)
    mask = mask.any(axis=tuple(range(m, mask.ndim))) if mask.ndim > m else mask
    at = nonzero_places(mask) if m else ()
    rows = np.stack(at) if m else np.zeros((0, int(mask)), np.int64)
    pattern = Coo(on_device(rows.astype(np.int64), input), size[:m], True)
    return SparseTensor._make(pattern, form(K.take)(input, pattern.indices), size)


def _dense_compressed(input: Tensor, layout: Any, block: Any, dense_dim: int, name: str) -> SparseTensor:
    size = tuple(input.shape)
    lead = len(size) - 2 - dense_dim
    if lead < 0:
        raise IndexError(f"{name}: needs at least 2 dimensions that are not dense, got shape {list(size)} with "
                         f"dense_dim="
                         f"{dense_dim}")  # fmt: skip
    rows = layout in BY_ROWS
    h, w = block or (1, 1)
    mask = input.detach()._host() != 0
    mask = mask.any(axis=tuple(range(lead + 2, mask.ndim))) if dense_dim else mask
    shape = (size[lead] // h, size[lead + 1] // w)
    mask = mask.reshape((*size[:lead], shape[0], h, shape[1], w)).any(axis=(lead + 1, lead + 3))
    flat = mask.reshape((-1, *shape))
    if not rows:
        flat = flat.swapaxes(1, 2)
    counts = flat.sum((1, 2))
    if len(counts) and (counts != counts[0]).any():
        raise RuntimeError("Expect the same number of specified elements per batch.")
    starts = np.concatenate([np.zeros((len(flat), 1), np.int64), np.cumsum(flat.sum(2), axis=1)], axis=1)
    plain = nonzero_places(flat)[2].reshape((*size[:lead], int(counts[0]) if len(counts) else 0))
    pattern = Compressed(on_device(starts.reshape((*size[:lead], -1)), input), on_device(plain.astype(np.int64), input),
                         rows, shape)  # fmt: skip
    made = SparseTensor._make(pattern, input, size, layout)
    if block:  # only the shape of the values tells the size of blocks
        return SparseTensor._make(pattern, _take_blocks(made, input, block), size, layout)
    return SparseTensor._make(pattern, made._taken_from(input), size, layout)


def _take_blocks(t: SparseTensor, dense: Tensor, block: tuple[int, int]) -> Tensor:
    from ._tensor import _in_blocks

    p: Any = t._pattern
    found = form(K.take)(_in_blocks(dense, len(p.batch) + 2, block), p.coo.indices)
    return found.unflatten(0, (*p.batch, p.nnz)) if p.batch else found


def _ordered(values: Tensor, order: Tensor | None) -> Tensor:
    return values if order is None else values.index_select(0, order)


def _to_coo(t: SparseTensor) -> SparseTensor:
    """Compressed to COO, keeping every stored element."""
    coo, values = t._coo, t._flat_values()
    block = t._blocksize
    if block is None:
        return SparseTensor._make(coo, values, t._size)
    h, w = block
    lead = len(coo.size)
    host = coo.host
    i, j = np.divmod(np.arange(h * w), w)
    row = (host[-2][:, None] * h + i).reshape(-1)
    col = (host[-1][:, None] * w + j).reshape(-1)
    rest = np.repeat(host[: lead - 2], h * w, axis=1)
    pattern = Coo(on_device(np.concatenate([rest, row[None], col[None]]), values), t._size[:lead])
    return SparseTensor._make(pattern, values.flatten(0, 2), t._size)


def _to_compressed(t: SparseTensor, layout: Any, block: Any, name: str) -> SparseTensor:
    got = SPOKEN[t._form]
    if t._form is d.sparse_coo:
        if t.sparse_dim() != 2:
            raise RuntimeError(f"{name}: conversion from {got} to {SPOKEN[layout]} for input tensors with "
                               f"sparse_dim()!=2 "
                               "is not supported")  # fmt: skip
        t = t.coalesce()
    lead = len(t._coo.size) - 2
    size = t._size
    if t._form is layout and t._blocksize == block:
        return t
    if block is not None and t._form not in BLOCKED:
        if lead:
            raise RuntimeError(f"{name}: conversion of batches from {got} to {SPOKEN[layout]} is not supported")
        return _to_blocks(t, layout, block)
    if (t._form in BLOCKED) != (layout in BLOCKED):
        raise RuntimeError(f"{name}: expected SparseCsr or SparseCsc layout but got {got}")
    if t._form in BLOCKED and t._blocksize != block:
        raise RuntimeError(f"{name}: conversion from blocks of {t._blocksize} to blocks of {block} is not supported")
    if lead:
        return _turn_batches(t, layout)
    coo = t._coo
    kind = np.int64 if t._form is d.sparse_coo else t._pattern.plain.dtype.numpy  # type: ignore[union-attr]
    shape: Any = coo.size
    pattern, order = coo.plan(f"to {layout}", coo, lambda: Compressed.of_matrix(
        *coo.host, shape, layout in BY_ROWS, coo.indices, kind))  # fmt: skip
    return SparseTensor._make(pattern, _ordered(t._carrier, order), size, layout)


def _turn_batches(t: SparseTensor, layout: Any) -> SparseTensor:
    """Rows compressed to columns compressed, or back, for batches: each has as many elements as before."""
    p: Any = t._pattern
    coo = p.coo
    n, batch = p.nnz, math.prod(p.batch)
    host = coo.host.reshape((len(coo.size), batch, n))
    made, orders = [], []
    for b in range(batch):
        pattern, order = Compressed.of_matrix(host[-2, b], host[-1, b], p.shape, layout in BY_ROWS, p.plain,
                                              p.plain.dtype.numpy)  # fmt: skip
        made.append(pattern.host)
        orders.append((np.arange(n) if order is None else order._host()) + b * n)
    starts = np.stack([m[0] for m in made]).reshape((*p.batch, -1))
    plain = np.stack([m[1] for m in made]).reshape((*p.batch, n))
    pattern = Compressed(on_device(starts, p.plain), on_device(plain, p.plain), layout in BY_ROWS, p.shape)
    values = t._flat_values().index_select(0, on_device(np.concatenate(orders), p.plain))
    return SparseTensor._make(pattern, values.unflatten(0, (*p.batch, n)), t._size, layout)


def _to_blocks(t: SparseTensor, layout: Any, block: tuple[int, int]) -> SparseTensor:
    h, w = block
    rows, cols = t._coo.host
    n, m = t._size[0] // h, t._size[1] // w
    places, ids = np.unique(rows // h * m + cols // w, return_inverse=True)
    made, order = Compressed.of_matrix(places // max(m, 1), places % max(m, 1), (n, m), layout in BY_ROWS,
                                       t._coo.indices)  # fmt: skip
    cell = (ids * h + rows % h) * w + cols % w
    flat = form(K.sum_into)(t._flat_values(), on_device(cell, t._carrier), len(places) * h * w)
    values = _ordered(flat.unflatten(0, (len(places), h, w)), order)
    return SparseTensor._make(made, values, t._size, layout)


@function(namespace=None, method=True, aliases=("_to_sparse",))
def to_sparse(
    input: Tensor, sparse_dim: int | None = None, *, layout: Any = None, blocksize: Any = None,
    dense_dim: int | None = None,
) -> Tensor:  # fmt: skip
    """The tensor in a sparse ``layout`` (COO by default), with the elements that are not zero.

    sparse_dim:  of the COO tensor; the dimensions after it are dense.
    blocksize:   (height, width) for BSR and BSC.
    dense_dim:   trailing dense dimensions of a compressed tensor.
    Reads the tensor, since the number of elements decides shapes; gradients flow to the elements.
    """
    made = isinstance(input, SparseTensor)
    layout = d.sparse_coo if layout is None else layout
    name = f"{'sparse' if made else 'dense'}_to_sparse"
    got = SPOKEN[input.layout]
    if sparse_dim is not None and layout is not d.sparse_coo:
        raise RuntimeError(f"to_sparse: conversion to {SPOKEN[layout]} with sparse_dim argument is not supported")
    if layout is d.strided:
        return input.to_dense()
    if layout in BLOCKED and blocksize is None:
        if made and input.layout is layout:
            return input
        raise RuntimeError(f"{name}: conversion from {got} to {SPOKEN[layout]} without blocksize argument given is not "
                           "supported")  # fmt: skip
    if layout not in BLOCKED and blocksize is not None:
        raise RuntimeError(f"{name}: conversion from {got} to {SPOKEN[layout]} with blocksize argument given is not "
                           "supported")  # fmt: skip
    if layout is d.sparse_coo:
        if isinstance(input, SparseTensor):
            if sparse_dim is not None and sparse_dim != input.sparse_dim():
                raise RuntimeError(f"to_sparse: conversion from {got} to Sparse with sparse_dim argument "
                                   "!=self.sparse_dim() is not supported")  # fmt: skip
            return input if input._form is d.sparse_coo else _to_coo(input)
        n = input.dim()
        m = n if sparse_dim is None else sparse_dim
        if not 0 <= m <= n:
            raise RuntimeError(f"dense_to_sparse: sparse_dim argument must be in [0,{n}] range, but {m} is given")
        if m == 0 and n > 0:
            raise RuntimeError("dense_to_sparse: sparse_dim argument must be in >0 when self.dim()>0")
        return _dense_coo(input, m)
    name = f"{'sparse' if made else 'dense'}_to_sparse_{str(layout)[-3:]}"
    if isinstance(input, SparseTensor):
        if dense_dim is not None and dense_dim != input.dense_dim():
            raise RuntimeError(f"{name}: conversion from {got} with dense_dim={dense_dim} to a tensor with dense_dim="
                               f"{input.dense_dim()} is not supported")  # fmt: skip
        block = None
        if layout in BLOCKED:
            lead = 0 if isinstance(input._pattern, Coo) else len(input._pattern.batch)
            block = _blocks(name, input._size[lead : lead + 2], blocksize)  # type: ignore[arg-type]
        return _to_compressed(input, layout, block, name)
    dense_dim = dense_dim or 0
    block = None
    if layout in BLOCKED:
        at = input.dim() - dense_dim - 2
        block = _blocks(name, tuple(input.shape[at : at + 2]), blocksize)  # type: ignore[arg-type]
    return _dense_compressed(input, layout, block, dense_dim, name)


@function(namespace=None, method=True)
def to_sparse_coo(input: Tensor) -> Tensor:
    """The tensor in COO layout; see :func:`to_sparse`."""
    return to_sparse(input)


@function(namespace=None, method=True, aliases=("_to_sparse_csr",))
def to_sparse_csr(input: Tensor, dense_dim: int | None = None) -> Tensor:
    """The tensor in CSR layout; see :func:`to_sparse`."""
    return to_sparse(input, layout=d.sparse_csr, dense_dim=dense_dim)


@function(namespace=None, method=True, aliases=("_to_sparse_csc",))
def to_sparse_csc(input: Tensor, dense_dim: int | None = None) -> Tensor:
    """The tensor in CSC layout; see :func:`to_sparse`."""
    return to_sparse(input, layout=d.sparse_csc, dense_dim=dense_dim)


@function(namespace=None, method=True, aliases=("_to_sparse_bsr",))
def to_sparse_bsr(input: Tensor, blocksize: Any, dense_dim: int | None = None) -> Tensor:
    """The tensor in BSR layout; see :func:`to_sparse`."""
    return to_sparse(input, layout=d.sparse_bsr, blocksize=blocksize, dense_dim=dense_dim)


@function(namespace=None, method=True, aliases=("_to_sparse_bsc",))
def to_sparse_bsc(input: Tensor, blocksize: Any, dense_dim: int | None = None) -> Tensor:
    """The tensor in BSC layout; see :func:`to_sparse`."""
    return to_sparse(input, layout=d.sparse_bsc, blocksize=blocksize, dense_dim=dense_dim)


@function(namespace=None, method=True)
def sparse_mask(input: Tensor, mask: SparseTensor) -> SparseTensor:
    """The elements of ``input`` at the places of the sparse ``mask``, whose values do not count."""
    if not isinstance(mask, SparseTensor):
        raise NotImplementedError("sparse_mask: the mask must be a sparse tensor, got a dense one")
    if tuple(input.shape) != mask._size:
        raise RuntimeError(f"sparse_mask(): operands have incompatible sizes; self has size {list(input.shape)} but "
                           f"mask "
                           f"has size {list(mask._size)}")  # fmt: skip
    if isinstance(input, SparseTensor):
        if input._same_structure(mask):
            return mask._with(input._carrier)
        input = input.to_dense()
    return mask._with(mask._taken_from(input))


def _only_sparse(name: str, what: str) -> Any:
    """A method of sparse tensors only, for the class of all tensors."""

    def method(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        if isinstance(input, SparseTensor):
            return getattr(input, name)(*args, **kwargs)
        if name.startswith("_"):
            raise NotImplementedError(f"{name}: only sparse tensors have it, and this one is dense")
        raise expected(name, what, input.layout)

    method.__name__ = name
    method.__doc__ = f"Of {what or 'sparse'} tensors only."
    return function(namespace=None, method=True)(method)


for _name, _what in (
    ("coalesce", "sparse coordinate"), ("is_coalesced", "sparse coordinate"), ("indices", "sparse coordinate"),
    ("values", "sparse"), ("crow_indices", "sparse row compressed"), ("col_indices", "sparse row compressed"),
    ("ccol_indices", "sparse column compressed"), ("row_indices", "sparse column compressed"),
    ("_nnz", "sparse"), ("_indices", "sparse coordinate"), ("_values", "sparse coordinate"),
    ("_coalesced_", "sparse coordinate"),
):  # fmt: skip
    _only_sparse(_name, _what)


@function(namespace=None, method=True)
def sparse_dim(input: Tensor) -> int:
    """Number of sparse dimensions: 0 of a dense tensor."""
    return 0


@function(namespace=None, method=True)
def dense_dim(input: Tensor) -> int:
    """Number of dense dimensions: all of a dense tensor."""
    return input.dim()


__all__ = ["sparse_mask", "to_sparse", "to_sparse_bsc", "to_sparse_bsr", "to_sparse_coo",
           "to_sparse_csc", "to_sparse_csr"]  # fmt: skip
