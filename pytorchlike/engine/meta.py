"""What is known of a value without computing it, and the handle that stands for it."""

from __future__ import annotations

from typing import Any

import numpy as np

# Meta.grad: how a value takes part in differentiation.
NO_GRAD, LEAF, INTERIOR = 0, 1, 2

#: `Meta.place` of values that exist only inside a JAX transformation, and of shape-only ones.
TRACED, SHAPE_ONLY = "traced", "meta"

#: Elements of what NumPy computes when it is called, if all it takes is there: see ``host.Beside``.
FEW = 64


def is_spread(place: Any) -> bool:
    """Whether a place is several devices at once."""
    return len(getattr(place, "device_set", ())) > 1


class Meta:
    """Shape, dtype, place and differentiability of a value.  Interned: equal ones are the same object.

    place is a ``jax.Device``, a ``jax.sharding.Sharding``, or one of the two marks above.
    inference: the value was made where results may never become differentiable.   guarded: writes must be looked at.
    few: a few numbers on the CPU outside of the tape;  tiny: a few integers, see ``host.Beside``.
    """

    __slots__ = ("shape", "dtype", "place", "grad", "inference", "guarded", "ndim", "size", "few", "tiny", "_variants")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, place: Any, grad: int, inference: bool) -> None:
        self.shape, self.dtype, self.place, self.grad, self.inference = shape, dtype, place, grad, inference
        self.guarded = bool(grad) or inference
        self.ndim = len(shape)
        size = 1
        for n in shape:
            size *= n
        if size >> 63:  # XLA would end the process
            raise RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)}")
        self.size = size
        self.few = size <= FEW and not grad and getattr(place, "platform", None) == "cpu"
        self.tiny = self.few and dtype.kind in "biu"
        self._variants: list[Meta | None] = [None, None, None]

    def with_grad(self, grad: int) -> Meta:
        """The same with another differentiability."""
        if grad == self.grad:
            return self
        found = self._variants[grad]
        if found is None:
            found = self._variants[grad] = meta_of(self.shape, self.dtype, self.place, grad, self.inference)
        return found

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __reduce__(self) -> tuple:
        return meta_of, (self.shape, self.dtype, self.place, self.grad, self.inference)

    def __repr__(self) -> str:
        mark = ("", " leaf", " grad")[self.grad]
        return f"{self.dtype}{list(self.shape)}@{self.place}{mark}"


_interned: dict[tuple, Meta] = {}


def meta_of(
    shape: tuple[int, ...], dtype: np.dtype, place: Any, grad: int = NO_GRAD, inference: bool = False
) -> Meta:  # fmt: skip
    """The interned :class:`Meta`."""
    key = (shape, dtype, place, grad, inference)
    found = _interned.get(key)
    if found is None:
        if (
            len(_interned) > 200_000
        ):  # shapes without end: identities change, programs are compiled anew, nothing breaks
            _interned.clear()
        found = _interned.setdefault(key, Meta(tuple(map(int, shape)), np.dtype(dtype), place, grad, inference))
    return found


class Mode:
    """What changes the meaning of an operation without being an argument of it.  Interned like :class:`Meta`.

    grad: operations are differentiable; inference: results may never become so; autocast: dtype for operations on the
    lower-precision list, or None; default_float: dtype that integers turn into; precision: of float32 products, and of
    convolutions, on accelerators (JAX's names: "highest", "high", "default"); scoped: what gradients need of the
    operations is kept by a scope (see ``scope``), not with the trace; located: each line of the user's program records
    operations of its own, so that their locations are exact.
    plain: the same without the last two, which do not change what an operation computes.
    """

    __slots__ = ("grad", "inference", "autocast", "default_float", "precision", "scoped", "located", "plain", "_next")

    _fields = __slots__[:-2]

    def __init__(self, grad: bool, inference: bool, autocast: Any, default_float: np.dtype,
                 precision: tuple[str, str], scoped: bool, located: bool) -> None:  # fmt: skip
        self.grad, self.inference, self.autocast, self.default_float = grad, inference, autocast, default_float
        self.precision, self.scoped, self.located = precision, scoped, located
        self.plain = mode_of(grad, inference, autocast, default_float, precision) if scoped or located else self
        self._next: dict[tuple, Mode] = {}

    def replace(self, **changes: Any) -> Mode:
        """The mode with other fields."""
        key = tuple(changes.items())
        found = self._next.get(key)
        if found is None:
            fields = {name: getattr(self, name) for name in self._fields}
            fields.update(changes)
            found = self._next[key] = mode_of(**fields)
        return found

    def __repr__(self) -> str:
        return f"Mode({', '.join(f'{n}={getattr(self, n)}' for n in self._fields)})"


_modes: dict[tuple, Mode] = {}


def mode_of(
    grad: bool = True, inference: bool = False, autocast: Any = None, default_float: Any = np.dtype(np.float32),
    precision: tuple[str, str] = ("highest", "default"), scoped: bool = False, located: bool = False,
) -> Mode:  # fmt: skip
    key = (grad, inference, autocast, default_float, precision, scoped, located)
    found = _modes.get(key)
    return found if found is not None else _modes.setdefault(key, Mode(*key))


class Value:
    """Handle of an immutable value: pending in a trace, or concrete.

    trace, slot: where it is pending (trace is None once it is concrete).
    meta:  its :class:`Meta`.
    data:  the ``jax.Array``, or the ``numpy.ndarray`` of a host value; None while pending.
    copy:  set once a host value has been copied to its device.
    node:  for concrete differentiable values, how gradients go on from here: a ``Leaf``, or ``(Segment, slot)``.
    found: set where the size was found in data, and is another one each time, see ``policy.found``.

    Whether anybody still needs a pending value is read off the reference count of its handle.
    """

    __slots__ = ("trace", "slot", "meta", "data", "node", "copy", "found", "__weakref__")

    def __repr__(self) -> str:
        return f"Value({self.meta}, {'pending' if self.data is None else 'concrete'})"


def make_value(meta: Meta, data: Any = None, node: Any = None) -> Value:
    """A handle that is not pending in any trace (``Value()`` itself is on the hot path and sets nothing)."""
    v = Value()
    v.trace = None
    v.slot = 0
    v.meta = meta
    v.data = data
    v.node = node
    return v
