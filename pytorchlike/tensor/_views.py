"""How tensors lie in memory, and which of them share it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import local, make_value, own, record
from ..engine.meta import LEAF
from ..ops._sizes import wrap_dim
from ..ops._table import OpDef, lookup
from ._addresses import address
from ._cell import Cell, _layout_of, part_of_tensor
from ._values import SAME
from .storage import CONJUGATING, RESHAPING, Alias, Step, check_view, layout, strides_of, view_strides
from .untyped import UntypedStorage

if TYPE_CHECKING:
    from ._tensor import Tensor

#: `sys.getrefcount` of a tensor inside :func:`link` when nobody but the running expression refers to it.
_TEMPORARY = 3 if sys.version_info < (3, 14) else -1


@part_of_tensor
class Placed(Cell):
    """The part of :class:`~._tensor.Tensor` that tells strides, storages and bases of views."""

    __slots__ = ()

    def _strided(self) -> tuple[tuple[int, ...], int, bool] | None:
        """Strides, offset and contiguity of a view; None for a tensor with a contiguous storage of its own."""
        alias = self._alias
        if alias is not None:
            host = alias.storage.host
            if host is not None:
                view, size = self._host_view(), self.itemsize
                start = view.__array_interface__["data"][0] - host.__array_interface__["data"][0]
                return tuple(s // size for s in view.strides), start // size, bool(view.flags.c_contiguous)
            laid = alias.storage.laid
            if laid is not None:
                shape, chain, kind = laid
                return layout(shape, (*chain, *alias.chain), kind)
            if alias.chain:
                meta = alias.storage.value.meta
                return layout(meta.shape, alias.chain, meta.dtype)
        try:
            return layout(*_layout_of(self))
        except AttributeError:
            return None

    def _check_view(self, size: tuple[int, ...]) -> None:
        """What ``view`` asks of a tensor: that its memory can be seen with that shape."""
        told = self._strided()
        if told is not None and not told[2]:
            check_view(self._value.meta.shape, told[0], size)

    def _check_dtype_view(self, kind: np.dtype) -> None:
        """What ``view(dtype)`` asks of the memory where items are of another size; the body looks at the shape."""
        own, told = self._value.meta.dtype, self._strided()
        if own.itemsize == kind.itemsize or told is None or not self._value.meta.shape:
            return
        strides, offset, _ = told
        words = f"to view {self.dtype!r} as {kind} (different element sizes), but got"
        if strides[-1] != 1:
            raise RuntimeError(f"self.stride(-1) must be 1 {words} {strides[-1]}")
        ratio = kind.itemsize // own.itemsize
        if ratio > 1 and self._value.meta.shape[-1] % ratio == 0:
            if offset % ratio:
                raise RuntimeError(f"self.storage_offset() must be divisible by {ratio} {words} {offset}")
            for d, s in enumerate(strides[:-1]):
                if s % ratio:
                    raise RuntimeError(f"self.stride({d}) must be divisible by {ratio} {words} {s}")

    def _check_complex_view(self) -> None:
        """What ``view_as_complex`` asks of the memory: real and imaginary part side by side, in pairs."""
        told = self._strided()
        if told is None or not self._value.meta.shape or self._value.meta.shape[-1] != 2:
            return
        strides, offset, _ = told
        if strides[-1] != 1:
            raise RuntimeError(f"Tensor must have a last dimension with stride 1, got {strides[-1]}")
        if any(s % 2 for s in strides[:-1]):
            raise RuntimeError(f"Tensor must have a stride divisible by 2 for all but last dimension, got {strides}")
        if offset % 2:
            raise RuntimeError(f"Tensor must have a storage_offset divisible by 2, got {offset}")

    def stride(self, dim: int | None = None) -> Any:
        """Elements to skip to get to the next index of each dimension, as PyTorch would lay the tensor out."""
        told = self._strided()
        strides = strides_of(self._value.meta.shape) if told is None else told[0]
        if dim is None:
            return strides
        if not strides:
            raise IndexError(f"Dimension out of range (expected to be in range of [-1, 0], but got {dim})")
        return strides[wrap_dim(dim, len(strides))]

    def storage_offset(self) -> int:
        """Where in its storage the tensor begins, in elements."""
        alias = self._alias
        if alias is None or not alias.chain:
            return 0
        return self._strided()[1]

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in memory in the order of the indices."""
        if memory_format is not None and "channels_last" in repr(memory_format):
            shape, strides = self._value.meta.shape, self.stride()
            if len(shape) != (5 if "3d" in repr(memory_format) else 4):
                return False
            order = (1, *range(len(shape) - 1, 1, -1), 0)
            expect = 1
            for d in order:
                if shape[d] != 1 and strides[d] != expect:
                    return False
                expect *= shape[d]
            return True
        told = self._strided()
        return told is None or told[2]

    def contiguous(self, memory_format: Any = None) -> Tensor:
        """The tensor itself if it is contiguous, else a contiguous copy."""
        if self.is_contiguous(memory_format):
            return self
        value = self._get()
        if value.data is not None and not value.meta.grad and not local.scopes and not local.trace.replayed:
            return self._of(own(make_value(value.meta, value.data)))
        return self._of(record(SAME, (), (value,)))

    def data_ptr(self) -> int:
        """Address of the first element (of the host copy on accelerators); 0 for an empty tensor, and on 'meta'."""
        if self._value.meta.size == 0 or self.is_meta:
            return 0
        if self._alias is None:
            return address(self)
        return address(self) + self.storage_offset() * self.itemsize

    def untyped_storage(self) -> Any:
        """The storage as bytes."""
        return UntypedStorage(self)

    @property
    def _base(self) -> Tensor | None:
        alias = self._alias
        if alias is None or len(alias.chain) <= alias.floor:
            return None
        storage = alias.storage
        if not alias.detached:
            owner = storage.owner() if storage.owner is not None else None
            if owner is not None and owner._alias is not None and owner._alias.storage is storage:
                return owner
        base = self._of(storage.value)
        base._alias = Alias(storage, alias.chain[: alias.floor], None, alias.detached, alias.floor, alias.writes,
                            group=alias.group)  # fmt: skip
        base._alias.seen = -1
        base._fresh()
        return base

    def _spanning(self) -> Tensor:
        """A tensor of the whole storage, also of a view that was detached and so has no base to tell."""
        alias = self._alias
        if not alias.floor and (base := self._base) is not None:
            return base
        found = self._of(alias.storage.value)
        found._alias = Alias(alias.storage, (), None, alias.detached, 0, alias.writes, group=alias.group)
        found._alias.seen = -1
        found._fresh()
        return found

    def _is_view(self) -> bool:
        alias = self._alias
        return alias is not None and len(alias.chain) > alias.floor

    def _conjugated(self) -> bool:
        """Whether the tensor shows its storage with other signs."""
        alias = self._alias
        if type(alias) is not Alias or not alias.chain or alias.storage.value.meta.dtype.kind != "c":
            return False
        names = [step.entry.name for step in alias.chain]
        return "real" not in names and sum(n in CONJUGATING for n in names) % 2 == 1

    def _in_order(self) -> Tensor:
        """A view with the dims in the order in which they lie in memory; the tensor itself if they do."""
        told = self._strided()
        if told is None or told[2]:
            return self  # type: ignore[return-value]
        return self.permute(_order(told[0]))

    def _stored(self) -> tuple[Tensor, int]:
        """A contiguous tensor of this dtype over the memory that the tensor is a part of, and where that begins.

        Raises RuntimeError where there is none.
        """
        base, start, alias = self._base if self._is_view() else self, 0, self._alias
        if alias is not None and alias.leaf is not None:  # gradients go there, though it may be a part of other memory
            base = self
        elif alias is not None and alias.of is not None and base._get().node is not alias.of[0]:
            owner = alias.of[0].owner
            base = None if owner is None else owner()
            if base is None or base._alias is None or base._alias.storage is not alias.storage:
                raise RuntimeError("the leaf that this is a view of is gone, or has other memory now")
        alias = base._alias
        if alias is not None and alias.chain:  # it was given a part of other memory
            if base._value.meta.grad == LEAF:
                start = base.storage_offset() * base.itemsize // self.itemsize
            else:
                storage = alias.storage
                base = self._of(storage.value)
                base._alias = Alias(storage, (), None, alias.detached, 0, alias.writes, group=alias.group)
                base._alias.seen = -1
                base._fresh()
        if base._value.meta.grad != LEAF and (base._alias is None or not base._alias.chain):
            base = base._in_order()
        if not base.is_contiguous():
            raise RuntimeError(
                "the storage behind this view is not kept, since the tensor it was made from is gone, or gradients of "
                "a leaf that is not contiguous cannot come from it; call .contiguous() first, or keep that tensor"
            )
        if base.is_complex():
            turned = self._conjugated()
            if self.is_floating_point():
                if turned:
                    raise RuntimeError("the storage behind parts of a conjugated tensor is not kept with their signs")
                from .functions import view_as_real  # gradients go through it

                base = view_as_real(base)
            elif turned:
                base = base.conj()
        return (base if base.dtype is self.dtype else base.view(-1).view(self.dtype)), start

    @property
    def _cdata(self) -> int:
        """A number that no other tensor alive has."""
        return id(self)

    @property
    def _version(self) -> int:
        if self._value.meta.inference:
            raise RuntimeError("Inference tensors do not track version counter.")
        alias = self._alias
        if alias is None:
            return self._bumps
        return alias.storage.version - alias.storage.quiet if alias.writes is None else alias.writes[0]


# ---- called by generated code ----------------------------------------------------------------------------------


def link(base: Tensor, view: Tensor, entry: OpDef, static: tuple, rest: tuple) -> None:
    """Make ``view`` share the storage of ``base``; ``rest`` are numbers as in a recording key."""
    alias = base._alias
    if alias is None:
        if sys.getrefcount(base) <= _TEMPORARY:
            # nobody can see the base any more: the view keeps its layout only
            try:
                shape, chain, kind = _layout_of(base)
            except AttributeError:
                shape, chain, kind = base._value.meta.shape, (), base._value.meta.dtype
            if not (chain and entry.name in RESHAPING and _copies(base, view)):
                step = Step(entry, static, tuple([_number(r) for r in rest]) if rest else ())
                view._layout = (shape, (*chain, step), kind)
            return
        alias = base._shared()
    if entry.name in RESHAPING and _copies(base, view):
        return
    view._alias = alias.beyond(Step(entry, static, tuple([_number(r) for r in rest]) if rest else ()))


def lie_alike(entry: OpDef, like: Tensor, result: Tensor, *metas: Any) -> None:
    """Have the dims of a result of ``entry`` lie in memory in the order of those of ``like``, if it says so of these.

    Nothing is moved: what PyTorch would tell of strides, and which views it would allow, goes by that.
    """
    told = like._strided()
    if told is None or told[2] or told[0][-1] != 1 or not entry.lies(*metas):
        return
    lie_in(_order(told[0]), result)


def lie_in(order: list[int], result: Tensor) -> None:
    """Have the dims of a tensor of its own lie in memory in that order, outermost first."""
    if order != sorted(order):
        shape, back = result._value.meta.shape, [order.index(d) for d in range(len(order))]
        step = Step(lookup("permute"), (tuple(back),), ())
        result._layout = (tuple([shape[d] for d in order]), (step,), result._value.meta.dtype)


def lying(like: Tensor) -> list[int] | None:
    """The order in memory of the dims of what PyTorch makes like a tensor; None if it is the usual one."""
    told = like._strided()
    return None if told is None or told[2] else order_of(told[0])


def order_of(strides: tuple[int, ...]) -> list[int] | None:
    """The dims as they lie in memory, outermost first; None if that is the usual order."""
    order = _order(strides)
    return None if order == sorted(order) else order


def _order(strides: tuple[int, ...]) -> list[int]:
    """The dims as they lie in memory, outermost first; those along which nothing advances stay where they are."""
    order: list[int] = []
    for d, stride in enumerate(strides):
        at = len(order)
        for k in reversed(range(len(order))):
            other = strides[order[k]]
            if stride and other and other >= stride:
                break
            if stride and other:
                at = k
        order.insert(at, d)
    return order


def _copies(base: Tensor, view: Tensor) -> bool:
    """Whether a reshaped tensor is a copy, since the strides do not allow a view."""
    told = base._strided()
    if told is None or told[2]:
        return False
    return view_strides(base._value.meta.shape, told[0], view._value.meta.shape) is None


def link_step(base: Tensor, view: Tensor, entry: OpDef, static: tuple, numbers: tuple) -> None:
    """As :func:`link`, with plain numbers."""
    alias = base._shared()
    if entry.name in RESHAPING and _copies(base, view):
        view._value = make_value(view._value.meta, np.array(view._value.data))
        return
    view._alias = alias.beyond(Step(entry, static, numbers))


def _number(item: Any) -> Any:
    """A number back from its form in a recording key."""
    if type(item) is not tuple:
        return item
    kind, value = item
    if type(value) is str:
        return value == "True" if kind is bool else kind(value)
    return value
