"""Tensor subclasses with a ``__torch_dispatch__``: instances without data, and gradients that are such instances.

An instance that ``Tensor._make_wrapper_subclass`` made has a shape, a dtype, a device and a place on the tape, but no
array: what it stands for is in attributes of its own. Its value is a placeholder that never reaches an operation:
``_alias`` is a mark, which takes every operation to :meth:`Dispatched._fresh`, where it is refused unless the class's
``__torch_dispatch__`` has taken the call before.

Reverse passes hand on Values. A gradient that is such a tensor travels as the key of an entry in ``carried``.
"""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import Value, make_value
from ..engine.meta import SHAPE_ONLY, Meta, meta_of
from ._tensor import Tensor
from .asking import disabled
from .device import place_for
from .dtype import get_default_dtype
from .storage import strides_of

__all__ = ["Dispatched", "NoData", "Wrapped", "carried", "carry", "instance_comes",
           "is_wrapped", "join", "make_wrapper", "tensor_of", "value_of", "with_value"]


class Wrapped:
    """The mark of a tensor without data: its strides, where it would begin, its layout."""

    chain: tuple = ()
    leaf = None

    def __init__(self, strides: tuple[int, ...], offset: int, layout: Any) -> None:
        self.strides, self.offset, self.layout = strides, offset, layout

    @property
    def storage(self) -> Any:
        """NotImplementedError: there is none."""
        raise NoData


def is_wrapped(t: Any) -> bool:
    """Whether a tensor is one without data."""
    return t._alias.__class__ is Wrapped


#: Gradients that stand for tensors without data.
carried: weakref.WeakKeyDictionary[Value, Tensor] = weakref.WeakKeyDictionary()


def carry(t: Tensor) -> Value:
    """A value by which a reverse pass can hand on a tensor of any kind."""
    if not is_wrapped(t):
        return t._get()
    value = make_value(t._value.meta.with_grad(0), t._value.data)
    carried[value] = t
    return value


def tensor_of(value: Value) -> Tensor:
    """The tensor that a value of a reverse pass is, or stands for."""
    found = carried.get(value) if carried else None
    return Tensor._of(value) if found is None else found


def value_of(t: Tensor) -> Value:
    """Where a tensor of any kind is on the tape."""
    alias = t._alias
    return t._value if alias is None or alias.__class__ is Wrapped else t._fresh()


class NoData(NotImplementedError):
    """A tensor without data came where an array is needed, on a way that its class is not asked about."""

    def __init__(self, cls: type | None = None) -> None:
        self.kind = "tensor of such a class" if cls is None else cls.__name__

    def __str__(self) -> str:
        from .composed import _called

        return (f"{_called(self.__traceback__)}: a {self.kind} has no data of its own, and this is not an operation "
                "that its __torch_dispatch__ is asked about; apply it to the tensors that it is made of")  # fmt: skip


def _as_recorded(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A method of Tensor that asks for the place on the tape only: of a tensor without data, as of any other."""

    @functools.wraps(fn)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        mark = self._alias
        if mark.__class__ is not Wrapped:
            return fn(self, *args, **kwargs)
        self._alias = None
        try:
            return fn(self, *args, **kwargs)
        finally:
            self._alias = mark

    return run


def _property(name: str) -> property:
    plain = getattr(Tensor, name)
    parts = [None if f is None else _as_recorded(f) for f in (plain.fget, plain.fset, plain.fdel)]
    return property(*parts, plain.__doc__)


def traits(tensor: Tensor) -> list[str]:
    """What is printed of a tensor besides its elements: its dtype unless it is the default, and its gradient's way."""
    found = [] if tensor.dtype is get_default_dtype() else [f"dtype={tensor.dtype}"]
    if tensor.grad_fn is not None:
        found.append(f"grad_fn=<{type(tensor.grad_fn).__name__}>")
    elif tensor.requires_grad:
        found.append("requires_grad=True")
    return found


class Dispatched(Tensor):
    """What classes with a ``__torch_dispatch__`` have in the place of Tensor among their bases."""

    __slots__ = ()
    __torch_function__ = disabled  # type: ignore[assignment]  # nobody asks this class; see below

    requires_grad = _property("requires_grad")
    is_leaf = _property("is_leaf")
    grad = _property("grad")
    grad_fn = _property("grad_fn")
    _version = _property("_version")
    requires_grad_ = _as_recorded(Tensor.requires_grad_)
    retain_grad = _as_recorded(Tensor.retain_grad)
    register_hook = _as_recorded(Tensor.register_hook)
    register_post_accumulate_grad_hook = _as_recorded(Tensor.register_post_accumulate_grad_hook)
    _hook_table = _as_recorded(Tensor._hook_table)
    is_inference = _as_recorded(Tensor.is_inference)

    def _fresh(self, trace: Any = None) -> Value:
        if is_wrapped(self):
            raise NoData(type(self))
        return super()._fresh(trace)

    def _get(self) -> Value:
        return self._value if self._alias is None else self._fresh()

    @property
    def layout(self) -> Any:
        """The one that the tensor was made with."""
        mark = self._alias
        return mark.layout if mark.__class__ is Wrapped else Tensor.layout.fget(self)  # type: ignore[attr-defined]

    def stride(self, dim: int | None = None) -> Any:
        """The strides that the tensor was made with, or of one dimension."""
        mark = self._alias
        if mark.__class__ is not Wrapped:
            return super().stride(dim)
        return mark.strides if dim is None else mark.strides[dim]

    def storage_offset(self) -> int:
        """The offset that the tensor was made with."""
        mark = self._alias
        return mark.offset if mark.__class__ is Wrapped else super().storage_offset()

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the strides are those of a contiguous tensor."""
        mark = self._alias
        if mark.__class__ is not Wrapped:
            return super().is_contiguous(memory_format)
        return tuple(mark.strides) == strides_of(self._value.meta.shape)

    def data_ptr(self) -> int:
        """0: there is no data."""
        return 0 if is_wrapped(self) else super().data_ptr()

    @property
    def _base(self) -> Any:
        return None if is_wrapped(self) else Tensor._base.fget(self)  # type: ignore[attr-defined]

    def _is_view(self) -> bool:
        return not is_wrapped(self) and super()._is_view()

    @property
    def data(self) -> Any:
        """The same without the history; assigning to a tensor without data takes over attributes and shape."""
        return self.detach() if is_wrapped(self) else Tensor.data.fget(self)  # type: ignore[attr-defined]

    @data.setter
    def data(self, new: Any) -> None:
        if not is_wrapped(self):
            Tensor.data.fset(self, new)  # type: ignore[attr-defined]
            return
        if type(new) is not type(self):
            raise RuntimeError(f"{type(self).__name__}.data: only a {type(self).__name__} can be assigned, not "
                               f"{type(new).__name__}")  # fmt: skip
        needed, grad = self.requires_grad, self.grad
        self.__dict__.update(new.__dict__)
        self._value, self._alias = make_value(new._value.meta.with_grad(0), new._value.data), new._alias
        if needed:
            self.requires_grad_()
            self.grad = grad

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        if not is_wrapped(self) and tensor_contents is None:
            return super().__repr__()
        parts = ["..." if tensor_contents is None else tensor_contents]
        if tensor_contents is None:
            parts.append(f"size={tuple(self.shape)}")
        return f"{type(self).__name__}({', '.join([*parts, *traits(self)])})"

    def __deepcopy__(self, memo: dict) -> Any:
        if not is_wrapped(self):
            return super().__deepcopy__(memo)
        if id(self) in memo:
            return memo[id(self)]
        from ..autograd.mode import no_grad

        if not self.is_leaf:
            raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                               "protocol at the moment.")  # fmt: skip
        with no_grad():
            new = self.clone()
        if type(new) is not type(self):
            raise RuntimeError(f"The default implementation of __deepcopy__() for wrapper subclasses only works for "
                               f"subclass types that properly implement clone(), whose result was "
                               f"{type(new).__name__}.")  # fmt: skip
        new.requires_grad_(self.requires_grad)
        if self.grad is not None:
            new.grad = copy.deepcopy(self.grad, memo)
        for name, x in self.__dict__.items():
            if name not in new.__dict__:
                new.__dict__[name] = copy.deepcopy(x, memo)
        memo[id(self)] = new
        return new

    def __reduce_ex__(self, protocol: Any) -> tuple:
        if not is_wrapped(self):
            return super().__reduce_ex__(protocol)
        mark, meta = self._alias, self._value.meta
        told = (type(self), tuple(meta.shape), mark.strides, mark.offset, self.dtype, str(self.device),
                self.requires_grad)  # fmt: skip
        return _rebuild, (told, {**self.__dict__, **_slots(self)})


del Dispatched.__torch_function__


def join(cls: type) -> None:
    """Give a new class with a ``__torch_dispatch__`` what :class:`Dispatched` has."""
    if not issubclass(cls, Dispatched):
        bases = cls.__bases__
        cls.__bases__ = (
            tuple([Dispatched if b is Tensor else b for b in bases]) if Tensor in bases else (*bases, Dispatched)
        )


def instance_comes() -> None:
    """From now on calls are offered to the classes of their arguments."""
    from .._dispatch.offers import stay_armed

    stay_armed()


def _rebuild(told: tuple, state: dict[str, Any]) -> Any:
    cls, size, strides, offset, dtype, device, requires_grad = told
    t = make_wrapper(cls, size, strides, offset, dtype=dtype, device=device, requires_grad=requires_grad)
    for name, x in state.items():
        setattr(t, name, x)
    return t


def make_wrapper(
    cls: type, size: Any, strides: Any = None, storage_offset: int | None = None, memory_format: Any = None,
    dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
    dispatch_sizes_strides_policy: str | None = None, dispatch_device: bool = False, dispatch_layout: bool = False,
    _extra_dispatch_keys: Any = None, storage_size: Any = None,
) -> Any:  # fmt: skip
    """``Tensor._make_wrapper_subclass``: a tensor of a class, without data, that looks as told.

    dtype: the default one.   device: the CPU.   The class's own properties may tell other sizes, devices or layouts
    (``dispatch_…``); sizes of ``__torch_dispatch__`` are not asked for. Raises TypeError if the class has no
    ``__torch_dispatch__``, RuntimeError where a tensor of that dtype cannot require gradients.
    """
    if not issubclass(cls, Dispatched):
        raise TypeError(f"_make_wrapper_subclass: {cls.__name__} must define a __torch_dispatch__ of its own")
    from .dtype import as_dtype, strided

    kind = get_default_dtype() if dtype is None else as_dtype(dtype)
    if requires_grad and not (kind.is_floating_point or kind.is_complex):
        raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
    shape = tuple(int(n) for n in size)
    t = object.__new__(cls)
    meta = meta_of(shape, kind.numpy, place_for(device))
    t._value = make_value(meta, _nothing(meta))
    steps = strides_of(shape) if strides is None else tuple(strides)
    t._alias = Wrapped(steps, int(storage_offset or 0), strided if layout is None else layout)
    if requires_grad:
        t.requires_grad_()
    instance_comes()
    return t


def _nothing(meta: Meta) -> Any:
    """The data of a value that looks so, which takes no memory."""
    if meta.place == SHAPE_ONLY:
        from ..engine.execute import ShapeOnly

        return ShapeOnly(meta)
    return np.broadcast_to(np.zeros((), meta.dtype), meta.shape)


def with_value(t: Tensor, value: Value | None = None) -> Any:
    """A tensor without data like another one, at another place on the tape (None: off it)."""
    new = object.__new__(type(t))
    new.__dict__.update(t.__dict__)
    for name, x in _slots(t).items():
        setattr(new, name, x)
    new._value = make_value(t._value.meta.with_grad(0), t._value.data) if value is None else value
    new._alias = t._alias
    return new


def _slots(t: Tensor) -> dict[str, Any]:
    """What a class of the program keeps in slots of its own."""
    own = [c for c in type(t).__mro__ if c not in Dispatched.__mro__]
    told = [vars(c).get("__slots__", ()) for c in own]
    names = [s for n in told for s in ((n,) if isinstance(n, str) else n)]
    return {s: getattr(t, s) for s in names if not s.startswith("__") and hasattr(t, s)}

