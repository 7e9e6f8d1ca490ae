"""Transposing, indexing, joining and resizing sparse tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops._sizes import wrap_dim
from ..tensor import Tensor
from ..tensor import dtype as d
from ..tensor import functions as T
from ..tensor._register import function
from ..tensor.composed import refusal
from . import _create
from ._pattern import Coo, on_device, small
from ._tensor import BLOCKED, SparseTensor, handles

_TURNED = {d.sparse_csr: d.sparse_csc, d.sparse_csc: d.sparse_csr, d.sparse_bsr: d.sparse_bsc,
           d.sparse_bsc: d.sparse_bsr}  # fmt: skip


def _coo_only(name: str, t: SparseTensor) -> Coo:
    if t._form is not d.sparse_coo:
        raise NotImplementedError(refusal(name, t._kind))
    return t._pattern  # type: ignore[return-value]


@handles("transpose", "swapaxes", "swapdims")
def transpose(input: SparseTensor, dim0: int = 0, dim1: int = 1, **named: int) -> SparseTensor:
    """Two dimensions exchanged: both sparse, or both dense.  A CSR tensor becomes a CSC one, and so on."""
    if named:
        dim0, dim1 = named.values()
    a, b = input._dim(dim0), input._dim(dim1)
    if a == b:
        return input
    if input._form is not d.sparse_coo:
        return _turned(input, a, b)
    m = input.sparse_dim()
    if a >= m or b >= m:
        raise RuntimeError(f"sparse transpose: transposed dimensions must be sparse Got sparse_dim: {m}, d0: {a}, d1: "
                           f"{b}")
    order = list(range(input.dim()))
    order[a], order[b] = b, a
    return permute(input, order)


def _turned(t: SparseTensor, a: int, b: int) -> SparseTensor:
    p: Any = t._pattern
    lead = len(p.batch)
    if {a, b} != {lead, lead + 1}:
        raise RuntimeError(f"transpose: of a tensor of layout {t._form} only the two sparse dimensions can be "
                           f"exchanged, "
                           f"got {a} and {b}")  # fmt: skip
    size = list(t._size)
    size[a], size[b] = size[b], size[a]
    values = t._carrier.transpose(lead + 1, lead + 2) if t._form in BLOCKED else t._carrier
    pattern = p.__dict__.get("_turned")
    if pattern is None:
        pattern = p._turned = p.turned()
        pattern._turned = p
    return SparseTensor._make(pattern, values, tuple(size), _TURNED[t._form])


@handles("t")
def t(input: SparseTensor) -> SparseTensor:
    """The transposed matrix."""
    if input.dim() > 2 or input.dense_dim():
        raise RuntimeError(f"t() expects a tensor with <= 2 sparse and 0 dense dimensions, but got "
                           f"{input.sparse_dim()} "
                           f"sparse and {input.dense_dim()} dense dimensions")  # fmt: skip
    return transpose(input, 0, 1) if input.dim() == 2 else input


handles("T")(lambda input: permute(input, list(range(input.dim()))[::-1]))
handles("mT")(lambda input: transpose(input, -2, -1))
handles("adjoint", "mH")(lambda input: _conj(transpose(input, -2, -1)))
handles("H")(lambda input: _conj(t(input)))


def _conj(x: SparseTensor) -> SparseTensor:
    return x._with(T.conj(x._carrier).resolve_conj())


@handles("permute")
def permute(input: SparseTensor, dims: Any) -> SparseTensor:
    """Dimensions in another order; sparse ones stay among themselves, as do dense ones."""
    n = input.dim()
    if len(dims) != n:
        raise RuntimeError(f"permute(sparse_coo): number of dimensions in the tensor input does not match the length "
                           f"of "
                           f"the desired ordering of dimensions i.e. input.dim() = {n} is not equal to len(dims) = "
                           f"{len(dims)}")  # fmt: skip
    order = [input._dim(k) for k in dims]
    if len(set(order)) != n:
        raise RuntimeError("permute(sparse_coo): duplicate dims are not allowed.")
    if input._form is not d.sparse_coo:
        if n == 2:
            return input if order == [0, 1] else _turned(input, 0, 1)
        raise NotImplementedError(refusal("permute", input._kind))
    p = _coo_only("permute", input)
    m = len(p.size)
    if any((k < m) != (at < m) for at, k in enumerate(order)):
        raise RuntimeError("permute(sparse_coo): transpositions between sparse and dense dimensions are not "
                           "allowed.Only "
                           "transpositions within sparse and dense dimensions are supported.")  # fmt: skip
    if order == list(range(n)):
        return input
    sparse = tuple(order[:m])
    cached = p.__dict__.setdefault("_permuted", {})
    pattern = cached.get(sparse)
    if pattern is None:
        if sparse == tuple(range(m)):
            pattern = p
        else:
            rows = on_device(p.host[list(sparse)], p.indices) if p.known else p.indices[list(sparse)]
            pattern = Coo(rows, tuple(p.size[k] for k in sparse))
        cached[sparse] = pattern
    values = input._carrier.permute(0, *[k - m + 1 for k in order[m:]]) if n > m else input._carrier
    return SparseTensor._make(pattern, values, tuple(input._size[k] for k in order))


@handles("unsqueeze")
def unsqueeze(input: SparseTensor, dim: int) -> SparseTensor:
    """A dimension of size 1 more: a sparse one if ``dim`` is at most sparse_dim, else a dense one."""
    p = _coo_only("unsqueeze", input)
    dim = wrap_dim(dim, input.dim() + 1)
    m = len(p.size)
    size = (*input._size[:dim], 1, *input._size[dim:])
    if dim > m:
        return SparseTensor._make(p, input._carrier.unsqueeze(dim - m + 1), size)
    zeros = np.zeros((1, p.nnz), np.int64)
    host = p.host
    pattern = Coo(on_device(np.concatenate([host[:dim], zeros, host[dim:]]), p.indices), size[: m + 1], p.coalesced)
    return SparseTensor._make(pattern, input._carrier, size)


@handles("squeeze")
def squeeze(input: SparseTensor, dim: Any = None) -> SparseTensor:
    """Without the dimensions of size 1 (among ``dim``)."""
    p = _coo_only("squeeze", input)
    m = len(p.size)
    dims = range(input.dim()) if dim is None else dim if isinstance(dim, (list, tuple)) else (dim,)
    given = [input._dim(k) for k in dims]
    gone = [k for k in given if input._size[k] == 1]
    if not gone:
        return input
    keep = [k for k in range(m) if k not in gone]
    pattern = Coo(on_device(p.host[keep], p.indices), tuple(p.size[k] for k in keep), p.coalesced)
    values = input._carrier
    for k in sorted((k for k in gone if k >= m), reverse=True):
        values = values.squeeze(k - m + 1)
    return SparseTensor._make(pattern, values, tuple(n for k, n in enumerate(input._size) if k not in gone))


def _chosen(input: SparseTensor, places: np.ndarray, host: np.ndarray, size: tuple[int, ...],
            coalesced: bool) -> SparseTensor:  # fmt: skip
    """Some of the elements, at other coordinates."""
    p = _coo_only("index", input)
    pattern = Coo(on_device(host, p.indices), size[: host.shape[0]], coalesced)
    return SparseTensor._make(pattern, input._carrier.index_select(0, on_device(small(places, p.nnz), p.indices)), size)


@handles("select")
def select(input: SparseTensor, dim: int, index: int) -> Tensor:
    """One index of a dimension; dense once no sparse dimension is left.  Of compressed tensors the result is COO."""
    dim = input._dim(dim) if input.dim() else _no_dim("select")
    n = input._size[dim]
    index = int(index)
    if not -n <= index < n:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(input._size)} at dimension "
                         f"{dim}")
    index %= n
    if input._form is not d.sparse_coo:
        return _select_compressed(input, dim, index)
    p = _coo_only("select", input)
    m = len(p.size)
    size = (*input._size[:dim], *input._size[dim + 1 :])
    if dim >= m:
        return SparseTensor._make(p, input._carrier.select(dim - m + 1, index), size)
    places = np.nonzero(p.host[dim] == index)[0]
    host = np.delete(p.host, dim, axis=0)[:, places]
    made = _chosen(input, places, host, size, p.coalesced)
    return made if m > 1 else made._carrier.sum(0).to(input.dtype)


def _select_compressed(t: SparseTensor, dim: int, index: int) -> Tensor:
    p: Any = t._pattern
    lead = len(p.batch)
    if dim < lead:
        from ._pattern import Compressed

        pattern = Compressed(p.starts.select(dim, index), p.plain.select(dim, index), p.rows, p.shape)
        size = (*t._size[:dim], *t._size[dim + 1 :])
        return SparseTensor._make(pattern, t._carrier.select(dim, index), size, t._form)
    if t._form in BLOCKED:
        raise RuntimeError(f"select(): of a tensor of layout {t._form} only batch dimensions can be selected from; use "
                           ".to_sparse() or .to_dense()")  # fmt: skip
    return select(t.to_sparse(), dim, index)


def _no_dim(name: str) -> Any:
    raise IndexError(f"{name}() cannot be applied to a 0-dim tensor.")


@handles("index_select")
def index_select(input: SparseTensor, dim: int, index: Tensor) -> SparseTensor:
    """The given indices of a dimension; reads the index."""
    p = _coo_only("index_select", input)
    dim = input._dim(dim)
    m = len(p.size)
    wanted = index.detach()._host().reshape(-1)
    n = input._size[dim]
    bad = wanted[(wanted < -n) | (wanted >= n)]
    if bad.size:
        raise IndexError(f"index_select(): index contains {bad[0]} that is out of range for tensor of size "
                         f"{list(input._size)} at dimension {dim}")  # fmt: skip
    wanted = wanted % max(n, 1)
    size = (*input._size[:dim], len(wanted), *input._size[dim + 1 :])
    if dim >= m:
        return SparseTensor._make(p, input._carrier.index_select(dim - m + 1, index), size)
    order = np.argsort(wanted, kind="stable")
    first = np.searchsorted(wanted[order], p.host[dim], side="left")
    counts = np.searchsorted(wanted[order], p.host[dim], side="right") - first
    places = np.repeat(np.arange(p.nnz), counts)
    within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    host = p.host[:, places].copy()
    host[dim] = order[first[places] + within]
    made = _chosen(input, places, host, size, False)
    if p.coalesced:  # distinct elements stay distinct: only their order may have been lost
        q = made._pattern
        rank = np.argsort(q.flat, kind="stable")  # type: ignore[union-attr]
        made = _chosen(input, places[rank], host[:, rank], size, True)
    return made


@handles("narrow")
def narrow(input: SparseTensor, dim: int, start: Any, length: int) -> SparseTensor:
    """A range of a dimension (PyTorch has this as ``narrow_copy`` only)."""
    dim = input._dim(dim)
    n, start = input._size[dim], int(start)
    start = start + n if start < 0 else start
    if not 0 <= start <= n or length < 0 or start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return index_select(input, dim, T.arange(start, start + length))


SparseTensor.narrow = SparseTensor.narrow_copy = narrow  # type: ignore[attr-defined]
SparseTensor.select = select  # type: ignore[attr-defined]


@handles("unbind")
def unbind(input: SparseTensor, dim: int = 0) -> tuple:
    """Each index of a dimension."""
    return tuple(select(input, dim, i) for i in range(input.size(dim)))


SparseTensor.unbind = unbind  # type: ignore[attr-defined]


def getitem(t: SparseTensor, index: Any) -> Tensor:
    """``t[index]`` with integers, ``None``, ``...`` and full slices (and, unlike in PyTorch, other slices)."""
    items = index if isinstance(index, tuple) else (index,)
    used = sum(i is not None and i is not Ellipsis for i in items)
    out: Any = t
    dim = 0
    for i in items:
        if i is Ellipsis:
            dim += t.dim() - used
        elif i is None:
            out = out.unsqueeze(dim)
            dim += 1
        elif isinstance(i, slice):
            if i != slice(None):
                whole = range(out.shape[dim])[i]
                out = out.index_select(dim, T.tensor(list(whole), dtype=d.int64))
            dim += 1
        elif isinstance(i, (int, np.integer)) and not isinstance(i, bool):
            out = out.select(dim, int(i))
        elif isinstance(i, Tensor) and not isinstance(i, SparseTensor) and i.dim() == 0 and i.dtype is not d.bool_:
            out = out.select(dim, int(i))
        else:
            raise NotImplementedError(f"indexing a tensor of layout {t._kind} with {type(i).__name__} is not there; "
                                      f"use "
                                      "index_select, or .to_dense()")  # fmt: skip
    return out


# ---- joining -------------------------------------------------------------------------------------------------------


@handles("cat", "concat", "concatenate")
def cat(tensors: Any, dim: int = 0) -> SparseTensor:
    """COO tensors joined along a sparse or dense dimension."""
    for k, x in enumerate(tensors):
        if not isinstance(x, SparseTensor):
            raise RuntimeError(f"Concatenating sparse tensors, but a dense tensor was found at position {k}.")
    first = tensors[0]
    parts = [_coo_only("cat", x) for x in tensors]
    dim = first._dim(dim)
    m = len(parts[0].size)
    for k, x in enumerate(tensors):
        if x.sparse_dim() != m or x.dim() != first.dim():
            raise RuntimeError("All tensors must have the same number of sparse and dense dimensions: "
                               f"{m}, {first.dense_dim()}, but tensor at position {k} has {x.sparse_dim()}, "
                               f"{x.dense_dim()}.")  # fmt: skip
        if any(a != b for j, (a, b) in enumerate(zip(x._size, first._size, strict=True)) if j != dim):
            raise RuntimeError(f"All tensors must have the same shape: {list(first._size)} (except in the "
                               f"concatenating "
                               f"dimension), but found shape: {list(x._size)} at position {k}.")  # fmt: skip
    total = sum(x._size[dim] for x in tensors)
    size = (*first._size[:dim], total, *first._size[dim + 1 :])
    kind = first.dtype
    for x in tensors[1:]:
        kind = d.promote_types(kind, x.dtype)
    at, hosts, values = 0, [], []
    for x, p in zip(tensors, parts, strict=True):
        v = x._carrier.to(kind)
        host = p.host
        if dim < m:
            host = host.copy()
            host[dim] += at
        else:
            pad = [0, 0] * (first.dim() - 1 - dim) + [at, total - at - x._size[dim]]
            v = _padded(v, pad)
        at += x._size[dim]
        hosts.append(host)
        values.append(v)
    pattern = Coo(on_device(np.concatenate(hosts, axis=1), parts[0].indices), size[:m])
    return SparseTensor._make(pattern, T.cat(values), size)


def _padded(v: Tensor, pad: list[int]) -> Tensor:
    return T.constant_pad_nd(v, pad, 0)


@handles("stack")
def stack(tensors: Any, dim: int = 0) -> SparseTensor:
    """COO tensors joined along a new dimension."""
    for k, x in enumerate(tensors):
        if not isinstance(x, SparseTensor):
            raise RuntimeError(f"Concatenating sparse tensors, but a dense tensor was found at position {k}.")
        if x._size != tensors[0]._size:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got {list(tensors[0]._size)} at "
                               f"entry 0 "
                               f"and {list(x._size)} at entry {k}")  # fmt: skip
    return cat([unsqueeze(x, dim) for x in tensors], dim)


handles("hstack")(lambda tensors: cat(tensors, 0 if tensors[0].dim() == 1 else 1))
handles("vstack", "row_stack")(lambda tensors: cat(tensors, 0))


# ---- in place ------------------------------------------------------------------------------------------------------


def _in_place(operation: Any) -> Any:
    def method(self: SparseTensor, *args: Any) -> SparseTensor:
        return self._become(operation(self, *args), operation.__name__ + "_")

    method.__doc__ = f"``{operation.__name__}`` in place."
    return method


for _operation in (transpose, t, unsqueeze, squeeze):
    setattr(SparseTensor, _operation.__name__ + "_", _in_place(_operation))


def _resized(t: SparseTensor, size: Any, sparse_dim: int, dense_dim: int, clear: bool) -> SparseTensor:
    name = "sparse_resize_and_clear_" if clear else "sparse_resize_"
    p = _coo_only(name, t)
    size = tuple(size)
    if len(size) != sparse_dim + dense_dim:
        raise RuntimeError(f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(size)}, "
                           f"sparse_dim "
                           f"= {sparse_dim}, dense_dim = {dense_dim}")  # fmt: skip
    if clear or not p.nnz:
        made = _create._empty_coo(size, sparse_dim, size[sparse_dim:], t.dtype, t.device)
    else:
        for what, old, new in (("sparse", t.sparse_dim(), sparse_dim), ("dense", t.dense_dim(), dense_dim)):
            if old != new:
                raise RuntimeError(f"changing the number of {what} dimensions (from {old} to {new}) on a non-empty "
                                   f"sparse "
                                   "tensor is not supported. Make a new one, or use "
                                   "sparse_resize_and_clear_.")  # fmt: skip
        if any(a > b for a, b in zip(t._size, size, strict=True)):
            raise RuntimeError(f"shrinking the size of sparse dimensions (from {list(t._size)} to {list(size)}) on a "
                               "non-empty sparse tensor is not supported. Make a new one, or use "
                               "sparse_resize_and_clear_.")  # fmt: skip
        values = t._carrier
        if size[sparse_dim:] != t._size[sparse_dim:]:
            grown = zip(t._size[:sparse_dim - 1:-1], size[:sparse_dim - 1:-1], strict=True)
            values = _padded(values, [x for a, b in grown for x in (0, b - a)])
        # flat places depend on the size, the order of coordinates does not
        made = SparseTensor._make(p.with_size(size[:sparse_dim]), values, size)
    t._take_structure(made)
    t._carrier = made._carrier
    return t


def sparse_resize_(self: SparseTensor, size: Any, sparse_dim: int, dense_dim: int) -> SparseTensor:
    """Enlarge a COO tensor in place, keeping its elements."""
    return _resized(self, size, sparse_dim, dense_dim, False)


def sparse_resize_and_clear_(self: SparseTensor, size: Any, sparse_dim: int, dense_dim: int) -> SparseTensor:
    """Give a COO tensor another size in place, without elements."""
    return _resized(self, size, sparse_dim, dense_dim, True)


@handles("resize_as_")
def resize_as_sparse_(self: SparseTensor, the_template: SparseTensor) -> SparseTensor:
    """Give a COO tensor the size of another one, in place."""
    if not isinstance(the_template, SparseTensor):
        raise RuntimeError("resize_as_sparse_: the template must be a sparse tensor")
    return _resized(self, the_template._size, the_template.sparse_dim(), the_template.dense_dim(), False)


SparseTensor.sparse_resize_ = sparse_resize_  # type: ignore[attr-defined]
SparseTensor.sparse_resize_and_clear_ = sparse_resize_and_clear_  # type: ignore[attr-defined]
SparseTensor.resize_as_sparse_ = SparseTensor.resize_as_ = resize_as_sparse_  # type: ignore[attr-defined]


def _refused(name: str) -> None:
    def method(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{name}: only sparse tensors have it, and this one is dense")

    method.__name__, method.__doc__ = name, "Of sparse tensors only."
    function(namespace="torch" if name == "resize_as_sparse_" else None, method=True)(method)


for _name in ("sparse_resize_", "sparse_resize_and_clear_", "resize_as_sparse_"):
    _refused(_name)


@handles("is_same_size")
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape."""
    return tuple(input.shape) == tuple(other.shape)


SparseTensor.is_same_size = is_same_size  # type: ignore[attr-defined]
