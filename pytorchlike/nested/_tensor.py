"""The nested tensor: a batch of tensors of different sizes in one buffer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from ..tensor import dtype as d
from ..tensor import functions as T
from ..tensor.composed import Composed
from ..tensor.size import Size
from ._ragged import NestedInt, Ragged, roomy


class NestedTensor(Composed):
    """Components of which one dimension differs in size; see the module's text.

    The values are a tensor without the batch dimension in which the ragged dimension holds all components, one after
    the other: logical shape (B, *a, ragged, *b), values (*a, rows, *b).  The buffer may have more rows than the
    components need (copies of a real row), so that batches of nearly the same size run the same program.
    """

    _ragged: Ragged
    _at: int  #: the ragged dimension of the logical shape
    _form: Any  #: torch.jagged or torch.strided

    def __new__(cls, *args: Any, **kwargs: Any) -> NestedTensor:
        raise TypeError("make nested tensors with torch.nested.nested_tensor, as_nested_tensor or "
                        "nested_tensor_from_jagged")  # fmt: skip

    @staticmethod
    def _make(values: Tensor, ragged: Ragged, at: int = 1, form: Any = d.jagged) -> Any:
        t = object.__new__(NestedTensor)
        shape = tuple(values.shape)
        t._carrier, t._ragged, t._at, t._form = values, ragged, at, form
        t._size = (ragged.batch, *shape[: at - 1], ragged.symbol, *shape[at:])
        return t

    # ---- what Composed asks for --------------------------------------------------------------------------------

    def _with(self, carrier: Tensor) -> NestedTensor:
        return NestedTensor._make(carrier, self._ragged, self._at, self._form)

    def _moved(self, where: Any) -> NestedTensor:
        return NestedTensor._make(self._carrier, self._ragged.moved(where), self._at, self._form)

    def _same_structure(self, other: NestedTensor) -> bool:
        return self._at == other._at and self._form is other._form and self._ragged.aligned(other._ragged)

    def _take_structure(self, other: NestedTensor) -> None:
        self._ragged, self._at, self._form, self._size = other._ragged, other._at, other._form, other._size

    def _flatten(self) -> tuple[tuple, Any]:
        r = self._ragged
        return (self._carrier,), (_Told(r), self._at, self._form)

    @classmethod
    def _unflatten(cls, told: Any, children: Any) -> NestedTensor:
        (values,) = children
        if isinstance(values, Tensor):
            return NestedTensor._make(values, told[0].ragged, told[1], told[2])
        t = object.__new__(NestedTensor)  # JAX passes other things through trees of this shape
        t._carrier, t._ragged, t._at, t._form, t._size = values, told[0].ragged, told[1], told[2], ()
        return t

    def _grad_of(self, grad: Any) -> Tensor:
        if not isinstance(grad, NestedTensor) or grad._at != self._at or not grad._ragged.same(self._ragged):
            raise RuntimeError("Mismatch in shape: the gradient of a nested tensor must be nested, with the same "
                               "offsets")
        return self._aligned_with(grad)

    @property
    def _kind(self) -> str:
        return "torch.jagged" if self._form is d.jagged else "nested torch.strided"

    # ---- what it is --------------------------------------------------------------------------------------------

    is_nested = True

    @property
    def layout(self) -> Any:
        """``torch.jagged`` or ``torch.strided``."""
        return self._form

    @property
    def shape(self) -> Size:
        """The size of each dimension; that of the ragged one is a symbol."""
        if self._form is not d.jagged:
            raise RuntimeError("a nested tensor of layout torch.strided has no shape: use size(dim), or "
                               "layout=torch.jagged")
        return tuple.__new__(Size, self._size)

    def size(self, dim: int | None = None) -> Any:
        """The size of one dimension.

        Raises:  RuntimeError for the ragged one, in the strided layout (jagged: a symbol).
        """
        if dim is None:
            return self.shape
        found = self._size[self._dim(dim)]
        if isinstance(found, NestedInt) and self._form is not d.jagged:
            raise RuntimeError(f"Given dimension {dim} is irregular and does not have a size.")
        return found

    def numel(self) -> int:
        """Number of elements of all components."""
        n = int(self._ragged.lengths.sum())
        for k, s in enumerate(self._carrier.shape):
            n *= 1 if k == self._at - 1 else s
        return n

    def __len__(self) -> int:
        return self._ragged.batch

    @property
    def _ragged_idx(self) -> int:
        return self._at

    def offsets(self) -> Tensor:
        """Where the components begin, and the end (batch + 1,).  Jagged layout."""
        self._jagged("offsets")
        return self._ragged.offsets

    def lengths(self) -> Tensor | None:
        """The lengths that were given apart from the offsets, else None.  Jagged layout."""
        self._jagged("lengths")
        return self._ragged.given_lengths

    def _jagged(self, name: str) -> None:
        if self._form is not d.jagged:
            raise AttributeError(f"'Tensor' object has no attribute '{name}': only nested tensors of layout "
                                 f"torch.jagged have")

    def _trimmed(self) -> Tensor:
        """The values without the rows that belong to no component at the end of the buffer."""
        r = self._ragged
        end = int((r.starts + r.lengths).max()) if r.batch else 0
        end = max(end, r.capacity if r.given_lengths is not None else 0)
        return self._carrier if end == r.capacity else self._carrier.narrow(self._at - 1, 0, end)

    def _exact(self) -> Tensor:
        """The values of the components, one after the other, and nothing else."""
        r = self._ragged
        if r.dense:
            return self._carrier
        if (r.starts == np.cumsum(r.lengths) - r.lengths).all():
            return self._carrier.narrow(self._at - 1, 0, int(r.lengths.sum()))
        return self._carrier.index_select(self._at - 1, r.rows)

    def values(self) -> Tensor:
        """The values of all components; gradients flow through them.  Strided layout: as a vector."""
        if self._form is not d.jagged:
            return self._exact().movedim(self._at - 1, 0).reshape(-1) if self._at == 1 else T.cat(
                [c.reshape(-1) for c in self.unbind()])  # fmt: skip
        return self._trimmed().view_as(self._trimmed()) if self.requires_grad else self._trimmed().detach()

    _values = values

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the components follow each other, with the ragged dimension the first after the batch."""
        return self._at == 1 and self._ragged.given_lengths is None

    def contiguous(self, memory_format: Any = None) -> NestedTensor:
        """The tensor itself if it is contiguous, else without holes."""
        if self.is_contiguous():
            return self
        if self._at != 1:
            return self
        packed = self._ragged.with_capacity(int(self._ragged.lengths.sum()))
        return NestedTensor._make(self._exact(), packed, 1, self._form)

    def stride(self, dim: int | None = None) -> Any:
        raise RuntimeError("nested tensors have no strides: look at their values")

    def unbind(self, dim: int = 0) -> tuple:
        """The components."""
        if self._dim(dim) != 0:
            raise RuntimeError(f"unbind(): only supported for dim=0 of nested tensors, got {dim}")
        r = self._ragged
        return tuple(
            self._carrier.narrow(self._at - 1, int(s), int(n)) for s, n in zip(r.starts, r.lengths, strict=True)
        )

    def to_padded_tensor(self, padding: float, output_size: Any = None) -> Tensor:
        """A dense tensor with the components, padded at their ends to ``output_size`` (by default, the longest)."""
        out = _padded(self, self._ragged.longest, padding)
        if output_size is None:
            return out
        wanted = tuple(output_size)
        if len(wanted) != out.dim() or any(a < b for a, b in zip(wanted, out.shape, strict=True)):
            raise RuntimeError(f"to_padded_tensor: output_size {list(wanted)} must be at least the padded size "
                               f"{list(out.shape)} in every dimension")  # fmt: skip
        pad = [x for a, b in zip(reversed(wanted), reversed(out.shape), strict=True) for x in (0, a - b)]
        return T.constant_pad_nd(out, pad, padding)

    def to_dense(self, dtype: Any = None, *, masked_grad: bool = True) -> Tensor:
        """Not possible: the components differ in size.

        Raises:  RuntimeError.
        """
        raise RuntimeError("to_dense: the components of a nested tensor differ in size; use to_padded_tensor(padding)")

    def item(self) -> Any:
        """The value of a tensor with one element."""
        if self.numel() != 1:
            raise RuntimeError(f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
        return self._exact().item()

    def __bool__(self) -> bool:
        if self.numel() != 1:
            many = "no values" if self.numel() == 0 else "more than one value"
            raise RuntimeError(f"Boolean value of Tensor with {many} is ambiguous")
        return bool(self._exact())

    def numpy(self, *, force: bool = False) -> np.ndarray:
        raise RuntimeError("numpy: nested tensors are no one array; use .values(), .unbind() or .to_padded_tensor()")

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        if self._form is not d.jagged:
            parts = [repr(c) for c in self.unbind()]
            body = ",\n".join("  " + p.replace("\n", "\n  ") for p in parts)
            return f"nested_tensor([\n{body}\n])"
        told = f"size={tuple(self._size)}, offsets={self._ragged.offsets}, contiguous={self.is_contiguous()}"
        fn = self.grad_fn if self.requires_grad else None
        if fn is not None:
            told += f", grad_fn=<{fn.name()}>"
        elif self.requires_grad:
            told += ", requires_grad=True"
        return f"NestedTensor({told})"

    def __getitem__(self, index: Any) -> Any:
        from ._shape import getitem

        return getitem(self, index)

    def __reduce_ex__(self, protocol: Any) -> tuple:
        values = self._exact().detach()
        return _rebuild, (values, self._ragged.lengths.tolist(), self._at, self._form, self.requires_grad)

    # ---- rows --------------------------------------------------------------------------------------------------

    def _aligned_with(self, other: NestedTensor) -> Tensor:
        """The values of ``other``, a tensor of the same lengths, in the rows of this one."""
        if self._ragged.aligned(other._ragged):
            return other._carrier
        r = self._ragged
        places = r._table("from exact", lambda: _places_in_exact(r))
        return other._exact().index_select(other._at - 1, places)

    def _rows_first(self) -> Tensor:
        """The values with the ragged dimension first."""
        return self._carrier if self._at == 1 else self._carrier.movedim(self._at - 1, 0)


class _Told:
    """A structure as static data of a pytree: equal if the components lie at the same places."""

    def __init__(self, ragged: Ragged) -> None:
        self.ragged = ragged

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Told) and self.ragged.aligned(other.ragged)

    def __hash__(self) -> int:
        return hash((self.ragged.capacity, self.ragged.lengths.tobytes()))


def _places_in_exact(r: Ragged) -> np.ndarray:
    out = np.zeros(r.capacity, np.int64)
    places, _ = r._places()
    out[places] = np.arange(len(places))
    return out


def _padded(t: NestedTensor, length: int, padding: float | None) -> Tensor:
    """(batch, *a, length, *b); None: whatever is there stays in the places that are not filled."""
    r = t._ragged
    rows = t._rows_first()
    if r.capacity == 0:
        rows = T.zeros((1, *rows.shape[1:]), dtype=rows.dtype, device=rows.device)
    out = rows.index_select(0, r.padded(length)).unflatten(0, (r.batch, length))
    if padding is not None:
        mask = r.mask(length).reshape(r.batch, length, *(1,) * (out.dim() - 2))
        out = T.where(mask, out, T.scalar_tensor(padding, dtype=out.dtype, device=out.device))
    return out if t._at == 1 else out.movedim(1, t._at)


def _from_padded(t: NestedTensor, dense: Tensor, at: int | None = None) -> NestedTensor:
    """The filled places of (batch, *a, length, *b) in the structure of ``t``."""
    at = t._at if at is None else at
    r = t._ragged
    rows = dense if at == 1 else dense.movedim(at, 1)
    length = rows.shape[1]
    rows = rows.flatten(0, 1).index_select(0, r.unpadded(length))
    return NestedTensor._make(rows if at == 1 else rows.movedim(0, at - 1), r, at, t._form)


def _room(t: NestedTensor) -> int:
    """A length to pad to inside an operation: few different ones."""
    return roomy(t._ragged.longest)


def _rebuild(values: Tensor, lengths: list[int], at: int, form: Any, requires_grad: bool) -> NestedTensor:
    made = NestedTensor._make(values, Ragged.of_lengths(lengths, values.device), at, form)
    return made.requires_grad_(requires_grad)


def handles(*names: str) -> Any:
    """Enter a function as the nested version of operators or composite functions of those names."""

    def enter(fn: Any) -> Any:
        for name in names:
            NestedTensor._handlers[name] = fn
        return fn

    return enter


__all__ = ["NestedTensor", "handles"]
