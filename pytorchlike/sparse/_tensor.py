"""The sparse tensor: values (a recorded tensor) at the places of a pattern."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops._table import TABLE as _TABLE  # noqa: F401  (the kernels are entered into it)
from ..tensor import Tensor
from ..tensor import dtype as d
from ..tensor import functions as T
from ..tensor._wrap import form
from ..tensor.composed import Composed, refusal
from ..tensor.size import Size
from . import _kernels as K
from . import _printing
from ._pattern import Compressed, Coo, on_device

#: Names of PyTorch's layouts in its messages.
SPOKEN = {
    d.strided: "Strided", d.sparse_coo: "Sparse", d.sparse_csr: "SparseCsr", d.sparse_csc: "SparseCsc",
    d.sparse_bsr: "SparseBsr", d.sparse_bsc: "SparseBsc", d.jagged: "Jagged",
}  # fmt: skip
BLOCKED = (d.sparse_bsr, d.sparse_bsc)
COMPRESSED = (d.sparse_csr, d.sparse_csc, *BLOCKED)
BY_ROWS = (d.sparse_csr, d.sparse_bsr)


def expected(name: str, what: str, got: Any) -> RuntimeError:
    """The error for a tensor of another layout than the one that a method is for."""
    return RuntimeError(f"{name} expected {what} tensor layout but got {SPOKEN.get(got, got)}")


class SparseTensor(Composed):
    """A tensor of which only some elements are stored; see the module's text.

    COO: values (nnz, *dense) at coordinates (sparse_dim, nnz).  CSR and CSC: values (*batch, nnz, *dense).  BSR and
    BSC: values (*batch, nnz, block height, block width, *dense).  Made by ``torch.sparse_coo_tensor`` and its kin, or
    by ``Tensor.to_sparse``.
    """

    _pattern: Coo | Compressed
    _form: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> SparseTensor:
        raise TypeError("make sparse tensors with torch.sparse_coo_tensor, sparse_csr_tensor, ... or Tensor.to_sparse")

    @staticmethod
    def _make(pattern: Coo | Compressed, values: Tensor, size: tuple[int, ...], form: Any = d.sparse_coo) -> Any:
        t = object.__new__(SparseTensor)
        t._pattern, t._carrier, t._size, t._form = pattern, values, tuple(size), form
        return t

    # ---- what Composed asks for --------------------------------------------------------------------------------

    def _with(self, carrier: Tensor) -> SparseTensor:
        return SparseTensor._make(self._pattern, carrier, self._size, self._form)

    def _moved(self, where: Any) -> SparseTensor:
        return SparseTensor._make(self._pattern.moved(where), self._carrier, self._size, self._form)

    def _same_structure(self, other: SparseTensor) -> bool:
        return self._form is other._form and self._size == other._size and self._pattern.same(other._pattern)

    def _take_structure(self, other: SparseTensor) -> None:
        self._pattern, self._size, self._form = other._pattern, other._size, other._form

    def _flatten(self) -> tuple[tuple, Any]:
        p = self._pattern
        parts = (p.indices,) if isinstance(p, Coo) else (p.starts, p.plain)
        told = (p.size, p.coalesced) if isinstance(p, Coo) else (p.rows, p.shape)
        return (self._carrier, *parts), (self._size, self._form, told)

    @classmethod
    def _unflatten(cls, told: Any, children: Any) -> SparseTensor:
        size, form, rest = told
        values, *parts = children
        pattern: Any = object.__new__(Coo if len(parts) == 1 else Compressed)
        if all(isinstance(c, Tensor) for c in children):
            pattern = Coo(parts[0], *rest) if len(parts) == 1 else Compressed(*parts, *rest)
        elif len(parts) == 1:  # JAX passes other things through trees of this shape
            pattern.indices, (pattern.size, pattern.coalesced) = parts[0], rest
        else:
            (pattern.starts, pattern.plain), (pattern.rows, pattern.shape) = parts, rest
        return SparseTensor._make(pattern, values, size, form)

    def _grad_of(self, grad: Any) -> Tensor:
        """A given gradient of this tensor as one of its values."""
        if grad.shape != self.shape:
            raise RuntimeError(f"Mismatch in shape: grad_output has a shape of {grad.shape} and output has a shape of "
                               f"{self.shape}.")  # fmt: skip
        if isinstance(grad, SparseTensor):
            if self._same_structure(grad):
                return grad._carrier
            grad = grad.to_dense()
        return self._taken_from(grad)

    # ---- what it is --------------------------------------------------------------------------------------------

    @property
    def layout(self) -> Any:
        """One of ``torch.sparse_coo``, ``sparse_csr``, ``sparse_csc``, ``sparse_bsr``, ``sparse_bsc``."""
        return self._form

    is_sparse = property(lambda self: self._form is d.sparse_coo)
    is_sparse_csr = property(lambda self: self._form is d.sparse_csr)

    @property
    def _coo(self) -> Coo:
        """The pattern by coordinates (of blocks, in blocked layouts)."""
        return self._pattern if isinstance(self._pattern, Coo) else self._pattern.coo

    @property
    def _blocksize(self) -> tuple[int, int] | None:
        if self._form not in BLOCKED:
            return None
        at = len(self._pattern.batch) + 1  # type: ignore[union-attr]
        h, w = self._carrier.shape[at : at + 2]
        return h, w

    def sparse_dim(self) -> int:
        """Number of sparse dimensions."""
        return len(self._pattern.size) if isinstance(self._pattern, Coo) else 2

    def dense_dim(self) -> int:
        """Number of dense dimensions: those that each stored element has."""
        if isinstance(self._pattern, Coo):
            return self._carrier.dim() - 1
        return len(self._size) - 2 - len(self._pattern.batch)

    def _nnz(self) -> int:
        return self._pattern.nnz

    def is_coalesced(self) -> bool:
        """Whether the coordinates are ascending and each there once."""
        if not isinstance(self._pattern, Coo):
            raise expected("is_coalesced", "sparse coordinate", self._form)
        return self._pattern.coalesced

    def coalesce(self) -> SparseTensor:
        """The same tensor with ascending coordinates, each once: values at the same place are added (COO only).

        The tensor itself if it is coalesced already.  The number of different places is needed, so the indices are read
        if they are not known on the host.
        """
        p = self._pattern
        if not isinstance(p, Coo):
            raise expected("coalesce", "sparse coordinate", self._form)
        if p.coalesced:
            return self
        if p.nnz < 2 and not p.coalesced:
            return SparseTensor._make(Coo(p.indices, p.size, True), self._carrier, self._size)
        pattern, ids, _ = p.merged
        return SparseTensor._make(pattern, form(K.sum_into)(self._carrier, ids, pattern.nnz), self._size)

    def _coalesced_(self, coalesced: bool) -> SparseTensor:
        """Declare the coordinates to be coalesced or not, in place."""
        if not isinstance(self._pattern, Coo):
            raise expected("_coalesced_", "sparse coordinate", self._form)
        self._pattern = Coo(self._pattern.indices, self._pattern.size, bool(coalesced))
        return self

    def _part(self, name: str) -> None:
        p = self._pattern
        if not isinstance(p, Coo):
            raise expected(name, "sparse coordinate", self._form)
        if not p.coalesced:
            raise RuntimeError(f"Cannot get {name} on an uncoalesced tensor, please call .coalesce() first")

    def indices(self) -> Tensor:
        """The coordinates (sparse_dim, nnz) of a coalesced COO tensor."""
        self._part("indices")
        return self._pattern.indices.detach()  # type: ignore[union-attr]

    def values(self) -> Tensor:
        """The stored values; gradients flow through them.  A COO tensor must be coalesced."""
        if isinstance(self._pattern, Coo):
            self._part("values")
        return _through(self._carrier)

    def _indices(self) -> Tensor:
        if not isinstance(self._pattern, Coo):
            raise NotImplementedError(refusal("_indices", self._kind))
        return self._pattern.indices.detach()

    def _values(self) -> Tensor:
        if not isinstance(self._pattern, Coo):
            raise NotImplementedError(refusal("_values", self._kind))
        return self._carrier.detach()

    def _index(self, name: str, rows: bool, plain: bool) -> Tensor:
        p = self._pattern
        if not isinstance(p, Compressed) or p.rows != rows:
            raise expected(name, f"sparse {'row' if rows else 'column'} compressed", self._form)
        return (p.plain if plain else p.starts).detach()

    def crow_indices(self) -> Tensor:
        """Where the rows begin, and the end: (*batch, rows + 1).  CSR and BSR."""
        return self._index("crow_indices", True, False)

    def col_indices(self) -> Tensor:
        """The column of each element: (*batch, nnz).  CSR and BSR."""
        return self._index("col_indices", True, True)

    def ccol_indices(self) -> Tensor:
        """Where the columns begin, and the end: (*batch, columns + 1).  CSC and BSC."""
        return self._index("ccol_indices", False, False)

    def row_indices(self) -> Tensor:
        """The row of each element: (*batch, nnz).  CSC and BSC."""
        return self._index("row_indices", False, True)

    def stride(self, dim: int | None = None) -> Any:
        """Zeros for COO.

        Raises:  RuntimeError for the other layouts, which have none.
        """
        if not isinstance(self._pattern, Coo):
            raise RuntimeError(f"Sparse {self._name()} tensors do not have strides")
        return (0,) * self.dim() if dim is None else 0

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """False for COO.

        Raises:  RuntimeError for the other layouts.
        """
        if not isinstance(self._pattern, Coo):
            raise RuntimeError(f"Sparse {self._name()} tensors do not have is_contiguous")
        return False

    def contiguous(self, memory_format: Any = None) -> Any:
        raise RuntimeError("unsupported memory format option Contiguous: sparse tensors have no order in memory")

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """Name of the tensor's type, ``torch.sparse.FloatTensor``, or the tensor converted: see ``Tensor.type``."""
        if dtype is None:
            return self._flat_values().detach().type().replace("torch.", "torch.sparse.", 1)
        return self.to(dtype=self._flat_values().detach()[:0].type(dtype).dtype)

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """Not possible.

        Raises:  TypeError.
        """
        raise TypeError(f"can't convert {SPOKEN[self._form]} layout tensor to numpy. Use Tensor.to_dense() first.")

    def _name(self) -> str:
        return SPOKEN[self._form].removeprefix("Sparse").upper() or "COO"

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return _printing.describe(self)

    def __getitem__(self, index: Any) -> Any:
        from ._shape import getitem

        return getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError("Cannot assign to a sparse tensor")

    def __reduce_ex__(self, protocol: Any) -> tuple:
        p = self._pattern
        parts = (p.indices,) if isinstance(p, Coo) else (p.starts, p.plain)
        coalesced = p.coalesced if isinstance(p, Coo) else None
        return _rebuild, (self._form, parts, self._carrier.detach(), self._size, coalesced, self.requires_grad)

    def _saved(self) -> tuple[str, tuple]:
        """As PyTorch's checkpoints have it: the function that rebuilds the tensor, and its arguments."""
        p = self._pattern
        size = Size(self._size)
        values = self._carrier.detach()
        if isinstance(p, Coo):
            data: tuple = (p.indices, values, size, p.coalesced)
        else:
            data = (p.starts, p.plain, values, size)
        return "torch._utils._rebuild_sparse_tensor", (self._form, data)

    # ---- values in and out -------------------------------------------------------------------------------------

    def _flat_values(self) -> Tensor:
        """The values by coordinates: batch dimensions and nnz in one."""
        p = self._pattern
        return self._carrier if isinstance(p, Coo) or not p.batch else self._carrier.flatten(0, len(p.batch))

    def _taken_from(self, dense: Tensor) -> Tensor:
        """The elements of a dense tensor of this shape at the places of the pattern, in the form of the values."""
        p = self._pattern
        lead = len(self._coo.size) if not isinstance(p, Coo) else 0
        if self._form in BLOCKED:
            dense = _in_blocks(dense, lead, self._blocksize)
        found = form(K.take)(dense, self._coo.indices)
        return found if isinstance(p, Coo) or not p.batch else found.unflatten(0, (*p.batch, p.nnz))

    def to_dense(self, dtype: Any = None, *, masked_grad: bool = True) -> Tensor:
        """The dense tensor; what is stored at the same place is added.  Gradients flow back to the values.

        NotImplementedError for ``masked_grad=False``, since there are no gradients where nothing is stored.
        """
        if masked_grad is False:
            raise NotImplementedError("to_dense(masked_grad=False): gradients of a sparse tensor are those of its "
                                      "values; make the dense tensor first and the sparse one of that")
        coo = self._coo
        values = self._flat_values()
        out = form(K.to_dense)(values, coo.indices, coo.size)
        if self._form in BLOCKED:
            lead = len(coo.size)
            out = out.transpose(lead - 1, lead).flatten(lead - 2, lead - 1).flatten(lead - 1, lead)
        return out if dtype is None else out.to(dtype)

    _to_dense = to_dense


def _in_blocks(dense: Tensor, lead: int, block: Any) -> Tensor:
    """(*batch, n, m, *rest) as (*batch, n / h, m / w, h, w, *rest)."""
    h, w = block
    size = tuple(dense.shape)
    n, m = size[lead - 2], size[lead - 1]
    split = dense.reshape((*size[: lead - 2], n // h, h, m // w, w, *size[lead:]))
    return split.transpose(lead - 1, lead)


def _through(t: Tensor) -> Tensor:
    """Another handle of a tensor: a view that gradients flow through, or, without gradients, the same storage."""
    return t.view_as(t) if t.requires_grad else t.detach()


def _rebuild(form: Any, parts: tuple, values: Tensor, size: tuple, coalesced: Any, requires_grad: bool) -> Any:
    if form is d.sparse_coo:
        pattern: Any = Coo(parts[0], size[: parts[0].shape[0]], coalesced)
    else:
        lead = parts[0].dim() - 1
        block = values.shape[lead + 1 : lead + 3] if form in BLOCKED else (1, 1)
        shape = (size[lead] // max(block[0], 1), size[lead + 1] // max(block[1], 1))
        pattern = Compressed(*parts, form in BY_ROWS, shape)
    return SparseTensor._make(pattern, values, size, form).requires_grad_(requires_grad)


def handles(*names: str) -> Any:
    """Enter a function as the sparse version of operators or composite functions of those names."""

    def enter(fn: Any) -> Any:
        for name in names:
            SparseTensor._handlers[name] = fn
        return fn

    return enter


def dense_zeros(size: tuple[int, ...], like: Any) -> Tensor:
    """Dense zeros of the dtype and device of ``like``."""
    return T.zeros(size, dtype=like.dtype, device=like.device)


__all__ = ["BLOCKED", "BY_ROWS", "COMPRESSED", "SPOKEN", "SparseTensor", "dense_zeros", "expected", "handles",
           "on_device"]  # fmt: skip
