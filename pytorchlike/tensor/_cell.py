"""The mutable cell that a tensor is: how its value is found, replaced and read."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import Leaf, Value, concrete, flush, local, read, record
from ..engine import host as at_once
from ..engine.errors import warn
from ..engine.meta import INTERIOR, LEAF, NO_GRAD, SHAPE_ONLY
from ..engine.nested import home_of
from . import interop
from ._addresses import lies_with
from ._values import _CAST, _as_leaf, _note_write, _on_tape, _plain, _straightened
from .device import place_for
from .storage import Alias, Storage, through, through_array, write_through

#: Bytes of an array that stays on the host once it has been read there.
SEEN = 4096
#: Bytes of one that stays there once some of its elements have been read.
_GONE_THROUGH = 1 << 16

if TYPE_CHECKING:
    from ._tensor import Tensor


_OVERLAP = (
    "unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please "
    "clone() the tensor before performing the operation."
)


class Moved(TypeError):
    """The pending work was executed while an operation was being recorded, which must begin again."""


def part_of_tensor(part: type) -> type:
    """Decorator of a class of methods: they are known as Tensor's, in errors and in pickles."""
    for found in vars(part).values():
        for fn in (found, *(getattr(found, each, None) for each in ("fget", "fset", "fdel", "__func__"))):
            if type(fn) is FunctionType:
                fn.__module__, fn.__qualname__ = f"{__package__}._tensor", f"Tensor.{fn.__name__}"
    return part


@part_of_tensor
class Cell:
    """What every tensor is: a value, which in-place operations replace, and perhaps a storage shared with others.

    The methods of tensors are spread over classes made of this one by subject; :class:`Tensor` joins them, and nothing
    else is made of them.
    """

    __slots__ = ("_value", "_alias", "_layout", "_writes", "_frozen")

    _value: Value
    _alias: Alias | None
    _of: Callable[[Value], Tensor]  # a plain tensor of a value

    @property
    def _bumps(self) -> int:
        """The number of writes, while no storage is shared. No entry of ``__dict__``, which is the user's."""
        try:
            return _writes_of(self)
        except AttributeError:
            return 0

    @_bumps.setter
    def _bumps(self, count: int) -> None:
        _set_writes(self, count)

    @property
    def _borrowed(self) -> bool:
        """Whether the user has the memory, too, so that it may change without being told."""
        return self._alias is not None and self._alias.storage.host is not None

    def _get(self) -> Value:
        return self._value if self._alias is None else self._fresh()

    def _fresh(self, trace: Any = None) -> Value:
        """The current value of a tensor that shares a storage.

        trace: the trace that the caller goes on recording in; Moved is raised if that had to be executed.
        """
        alias = self._alias
        if alias is None:
            return self._value
        storage = alias.storage
        if storage.lent:
            storage.reclaim()
        if storage.host is not None:
            if trace is not None and trace.at_once and alias.leaf is None and alias.of is None:
                return at_once.borrowed(self._value.meta, self._host_view())
            value = self._from_host()
            if trace is not None and local.trace is not trace:
                raise Moved
            return value
        if storage.late is not None and storage.late.over():
            _see_now(self)
            if trace is not None:
                raise Moved
            return self._fresh()
        if alias.seen != storage.version:
            with home_of(storage.value):
                taped = self._value.meta.grad == INTERIOR  # stays so, whichever mode it is read in
                if taped and alias.of is not None:
                    value = self._view_of_leaf(storage.value)
                elif taped and alias.chain:
                    value = _on_tape(through, storage.value, alias.chain)
                else:
                    value = through(storage.value, alias.chain)
                if alias.leaf is not None:
                    if value.node is not alias.leaf:
                        value = _as_leaf(value, alias.leaf)
                elif storage.apart is not None:
                    if alias.group is not storage.apart:
                        value = _plain(value)
                elif alias.detached and not (taped and alias.of is not None):
                    value = _plain(value)
            self._value = value
            alias.seen = storage.version
            if trace is not None and local.trace is not trace:
                raise Moved
        elif not alias.chain and storage.late is None and storage.mirror is None and sys.getrefcount(storage) == 3:
            self._bumps = storage.version - storage.quiet if alias.writes is None else alias.writes[0]
            self._alias = None
        return self._value

    def _view_of_leaf(self, base: Value) -> Value:
        """What a view of a leaf shows after a write that autograd has not seen: it is a view of that leaf still."""
        alias = self._alias
        leaf, depth = alias.of
        value = through(base, alias.chain[:depth])
        return _on_tape(through, value if value.node is leaf else _as_leaf(_plain(value), leaf), alias.chain[depth:])

    def _from_host(self) -> Value:
        """A snapshot of memory that the user may write to at any time."""
        alias = self._alias
        leaf, depth = alias.of if alias.of is not None and self._value.meta.grad else (alias.leaf, len(alias.chain))
        value = concrete(interop.aligned_copy(self._host_view(depth)), place_for("cpu"))
        if leaf is not None:
            value = _as_leaf(value, leaf)
        if depth < len(alias.chain):  # a view of a leaf: it is on the tape, whichever mode it is read in
            value = _on_tape(through, value, alias.chain[depth:])
        self._value = value
        return value

    def _host_view(self, depth: int | None = None) -> np.ndarray:
        """The part of the user's memory that the tensor shows, or that its chain's first ``depth`` steps do."""
        alias = self._alias
        host = alias.storage.host
        if depth is not None or alias.storage.lent:  # a loan ends when the array is gone, so that nobody keeps it
            return through_array(host, alias.chain[:depth])
        shown = alias.shown
        if shown is None or shown[0] is not host:
            shown = alias.shown = (host, through_array(host, alias.chain))
        return shown[1]

    def _shared(self) -> Alias:
        """The tensor's alias, made if it had its value to itself."""
        if self._alias is None:
            node = self._value.node
            self._alias = Alias(Storage(self._value), (), node if type(node) is Leaf else None)
            storage = self._alias.storage
            storage.version = self._alias.seen = self._bumps
            storage.owner = weakref.ref(self)
            lies_with(storage, self)
            try:
                storage.laid = _layout_of(self)
            except AttributeError:
                storage.laid = None
        return self._alias

    def _set(self, value: Value) -> None:
        """Replace the value: the tensor's own, or the part of the storage that it shows."""
        alias = self._alias
        if alias is None:
            _note_write(self, self._value)
            self._bumps += 1
            self._value = value
            return
        storage = alias.storage
        if storage.lent:
            storage.reclaim()
        if storage.host is not None:
            taped = value.meta.grad and alias.leaf is None and alias.of is None
            if taped:  # only values can be on the tape, so the memory is shared no longer
                storage.value = concrete(interop.aligned_copy(storage.host), place_for("cpu"))
            shown = self._host_view()
            if not shown.flags.writeable and storage.host.flags.writeable:
                raise RuntimeError(_OVERLAP)
            np.copyto(shown, np.asarray(read(value)), casting="unsafe")
            if not taped:
                self._count_write(alias)
                return
            if storage.common:  # other processes look at it still
                storage.mirror = storage.host
            storage.host, storage.lent = None, False
        elif storage.mirror is not None:
            np.copyto(through_array(storage.mirror, alias.chain), np.asarray(read(value)), casting="unsafe")
        old = held = storage.value
        own = storage.apart is not None and storage.apart is alias.group
        if storage.apart is not None and not own:
            old = _plain(old)
        # what is written behind the tape's back, through .data, without gradients or by an optimizer, leaves the
        # history as it is
        leaf = alias.leaf is not None and value.node is alias.leaf
        behind = old.meta.grad == INTERIOR and (
            leaf or alias.detached and alias.leaf is None and not own or not local.trace.mode.grad
        )
        of_leaf = old.meta.grad == LEAF and not leaf  # it remains that leaf's, whatever others write
        if alias.chain:
            base = write_through(
                _plain(old) if behind or of_leaf else old, alias.chain, _plain(value) if leaf or of_leaf else value
            )
        else:
            base = value
        if behind:
            base = _straightened(_plain(base), old)
        elif of_leaf:
            base = _as_leaf(_plain(base), old.node)
        # what others write leaves the history of a group that is on the tape for itself as it is, too
        others = storage.apart is not None and not own and base.meta.grad == NO_GRAD
        if others:
            base = _straightened(base, held)
        _note_write(storage, old)
        # a leaf over somebody else's storage is a leaf for itself only
        storage.value = _plain(base) if alias.leaf is not None and alias.detached and not behind else base
        # what a detached tensor computes into memory of others is on the tape for itself and its views only
        if not others:
            storage.apart = alias.group if base.meta.grad == INTERIOR and (own or old.meta.grad == NO_GRAD) else None
        self._count_write(alias)
        if alias.chain and base.meta.grad and not (leaf or of_leaf or others or behind and alias.detached):
            self._value = _on_tape(through, base, alias.chain) if behind else through(base, alias.chain)
        else:
            self._value = value
        alias.seen = storage.version

    def _set_base(self, base: Value) -> None:
        """Replace the value of the whole storage, which is not on the tape, or the tensor's own if it shares none."""
        alias = self._alias
        if alias is None:
            self._set(base)
            return
        storage = alias.storage
        _note_write(storage, storage.value)
        storage.value = base
        if storage.mirror is not None:
            np.copyto(storage.mirror, np.asarray(read(base)), casting="unsafe")
        self._count_write(alias)

    @staticmethod
    def _count_write(alias: Alias) -> None:
        alias.storage.version += 1
        if alias.writes is not None:
            alias.storage.quiet += 1
            alias.writes[0] += 1

    def _restore_value(self, old: Value) -> None:
        if type(self._value.node) is Leaf and old.meta.grad != LEAF:
            old = _as_leaf(old, self._value.node)
        self._value = old
        self._bumps += 1
        alias = self._alias
        if alias is not None and alias.storage.host is None and not alias.chain:  # shared since it was written to
            alias.storage._restore_value(old)

    def _share_value(self, other: Tensor) -> None:
        """Take over the value of another tensor (values are immutable, so this shares no storage)."""
        self._value = other._get()
        self._alias = None

    def _read(self) -> Any:
        """The array, executing what is pending."""
        return read(self._get())

    def _host(self) -> np.ndarray:
        """The array on the host; read-only if it is memory of JAX's."""
        value = self._get()
        if value.meta.place == SHAPE_ONLY:
            raise NotImplementedError("Cannot copy out of meta tensor; no data!")
        if value.data is None and self._alias is not None:
            del value  # nobody but the trace is to hold it
            seen = self._seen_in_base()
            if seen is not None:
                return seen
            value = self._value
        data = read(value)
        if type(data) is np.ndarray:
            return data
        import jax

        if isinstance(data, jax.core.Tracer):
            raise jax.errors.TracerArrayConversionError(data)
        with jax.enable_x64(True):
            array = np.asarray(data)
        if value.data is data and array.nbytes <= SEEN and not value.meta.grad and value.meta.place is place_for("cpu"):
            # what has been seen is known, as if it had come from the host: a token that was read is joined to the text
            # by NumPy, whichever way it was computed
            value.data = array
        return array

    def _seen_in_base(self) -> np.ndarray | None:
        """What a view shows of a base that has been computed, on the CPU: nothing is executed to look at its parts."""
        alias = self._alias
        base = alias.storage.value
        if base.data is None or not alias.chain or base.meta.place != place_for("cpu") or local.trace.nested:
            return None
        data = np.asarray(read(base))
        if base.meta.nbytes <= _GONE_THROUGH and not base.meta.grad and not local.trace.replayed:
            base.data = data  # its other elements will be looked at, too
        view = through_array(data, alias.chain)
        place = self._value.meta.place
        if view.nbytes <= SEEN and not self._value.meta.grad and alias.seen == alias.storage.version:
            view = np.array(view)
            self._value = concrete(view, place)
            local.trace.take_back()  # a loop over elements leaves nothing pending, and begins each round alike
        return view


#: Asks for the slot without :meth:`Tensor.__getattr__` (AttributeError if it is not set).
_layout_of = Cell.__dict__["_layout"].__get__
#: The accumulator of a leaf that needs no gradients for now (AttributeError if there is none).
frozen_of = Cell.__dict__["_frozen"].__get__
_writes_of, _set_writes = Cell.__dict__["_writes"].__get__, Cell.__dict__["_writes"].__set__



def before_write(t: Tensor, value: Value, trace: Any) -> None:
    """Refuse in-place operations that PyTorch refuses."""
    if value.meta.inference and not trace.mode.inference:
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to get a "
            "normal tensor before doing inplace update. See https://github.com/pytorch/rfcs/pull/17 for more details."
        )
    if trace.mode.grad:
        if value.meta.grad == LEAF:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        alias = t._alias
        if alias is not None and alias.chain and (
            (alias.of is not None and value.meta.grad)
            or (not alias.detached and alias.storage.value.meta.grad == LEAF)
        ):
            raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    alias = t._alias
    if alias is not None:
        for step in alias.chain:
            if step.entry.op_put is None:
                raise RuntimeError(_OVERLAP)


def begin_write(t: Tensor, value: Value, trace: Any) -> None:
    """As :func:`before_write`; Moved is raised if something had to be executed first."""
    before_write(t, value, trace)
    alias = t._alias
    settled(t)
    if t._alias is not alias or local.trace is not trace:
        raise Moved


def _see_now(t: Any) -> None:
    from .indexing import see_now

    see_now(t)


def settled(t: Tensor) -> Tensor:
    """The tensor, of which the new value is to be made of the old one.

    What is pending has been executed if other processes write to its memory: what they write while that runs would
    be lost else.
    """
    alias = t._alias
    if alias is not None and alias.storage.late is not None:
        _see_now(t)
        alias = t._alias
    if t._borrowed and alias.storage.common:
        if any(v is not None and v.data is None for v in reversed(local.trace.values)):
            flush("memory of several processes is written to")
    return t


def after_write(t: Tensor, new: Value, trace: Any) -> None:
    """Store the result of an in-place operation."""
    old = t._value
    grad = new.meta.grad
    if grad == LEAF:
        new.node = old.node
    elif grad == NO_GRAD and old.meta.grad == INTERIOR:
        if not local.trace.mode.grad:
            new = _straightened(new, old)
    t._set(new)
    if t._watch is not None and t.retains_grad and t._value.meta.grad == INTERIOR:
        t._hook_table()  # the gradient that it keeps is that of the new value


def write_out(out: Any, result: Tensor, name: str) -> Any:
    """Store a result in the tensor given as ``out=``."""
    if not isinstance(out, Cell):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if local.trace.mode.grad and (out.requires_grad or result.requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments "
            "requires grad."
        )
    settled(out)
    value = result._get()
    if value.meta.shape != out._value.meta.shape:
        if out.numel():
            warn(
                f"An output with one or more elements was resized since it had shape {list(out.shape)}, which does "
                f"not match the required output shape {list(result.shape)}. Use an empty tensor (`.resize_(0)`) to "
                "avoid this."
            )
        dtype = out._value.meta.dtype
        out._alias = None
        out._value = value if value.meta.dtype == dtype else record(_CAST, dtype, (value,))
        return out
    if value.meta.dtype != out._value.meta.dtype:
        value = record(_CAST, out._value.meta.dtype, (value,))
    old = out._get()
    if old.meta.grad == LEAF:  # without gradients: it stays a leaf, and what it was computed from stays its history
        value = _as_leaf(_plain(value), old.node)
    elif old.meta.grad == INTERIOR:
        value = _straightened(_plain(value), old)
    out._set(value)
    return out
