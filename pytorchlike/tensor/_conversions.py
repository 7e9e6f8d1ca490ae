"""Tensors of other dtypes, at other devices, copied and pickled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import Value, concrete, local, make_value, own, record
from ..engine.errors import warn_once
from ..engine.meta import INTERIOR, LEAF, SHAPE_ONLY, meta_of
from . import interop
from ._cell import Cell, part_of_tensor
from ._values import SAME, _as_leaf, _kept_apart, _leaf_of, _made_now, _plain, host_value, told_by_handle, transfer
from .device import as_device, device, place_for
from .dtype import dtype as torch_dtype
from .storage import Alias, Storage

if TYPE_CHECKING:
    from ._tensor import Tensor

#: What is said of complex numbers that are cast to real ones.
LOSES_IMAGINARY = "Casting complex values to real discards the imaginary part (x.real says that it is meant)"


#: Entries of ``__dict__`` by which tensors keep their own state: gradients, hooks, how they are divided. The others
#: are the program's, whatever they are called, and go with copies.
OWN = frozenset(("_own_grad", "_hooks", "_watch", "_retains", "_spread"))

#: Elements of an array that NumPy holds, up to which it is cast at once.
_SHORT = 1 << 16


@part_of_tensor
class Convertible(Cell):
    """The part of :class:`~._tensor.Tensor` that makes tensors of the same numbers."""

    __slots__ = ()

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """Convert to a dtype and/or device: ``to(dtype)``, ``to(device)``, ``to(device, dtype)``, ``to(other)``.

        Returns the tensor itself when nothing changes and ``copy`` is False.  ``non_blocking`` is accepted: transfers
        never block; ``memory_format`` is accepted: XLA chooses the layout.
        """
        where, kind, copy = _parse_to(args, kwargs)
        out = self
        if where is not None and place_for(where) != self._value.meta.place:
            out = _move(out, place_for(where))
        if kind is not None and kind.numpy != out._value.meta.dtype:
            if out._value.meta.dtype.kind == "c" and kind.numpy.kind not in "cb":
                warn_once(LOSES_IMAGINARY)
            held = _cast_on_host(out, kind.numpy)
            out = out._to_dtype(kind) if held is None else held
        return out.clone() if copy and out is self else out

    #: What the other conversions take: PyTorch's do not ask a program's class for its own ``to`` either.
    _to = to

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """Name of the tensor's type, or the tensor converted to ``dtype``.

        dtype: a dtype, or a type of old or its name (``torch.LongTensor``, "torch.cuda.FloatTensor"), which also says
        whether the result is on the CPU or on a GPU.   Raises ValueError for another name.
        """
        if dtype is None:
            return f"{'torch.cuda.' if self.is_cuda else 'torch.'}{self.dtype._c10}Tensor"
        if isinstance(dtype, (str, type)):
            name = dtype if isinstance(dtype, str) else f"{dtype.__module__}.{dtype.__name__}"
            kind = _legacy_dtype(name)
            if name.endswith("Tensor"):
                on_gpu = ".cuda." in name
                return self._to(self.device if self.is_cuda and on_gpu else "cuda" if on_gpu else "cpu", kind)
            dtype = kind
        return self._to(dtype=dtype)

    def type_as(self, other: Tensor) -> Tensor:
        return self._to(other.device, other.dtype)

    def cpu(self, memory_format: Any = None) -> Tensor:
        """The tensor on the CPU."""
        return self._to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
        """The tensor on a GPU."""
        return self._to("cuda" if device is None else (f"cuda:{device}" if isinstance(device, int) else device))

    def clone(self, *, memory_format: Any = None) -> Tensor:
        """A copy with a storage of its own, through which gradients flow."""
        value = self._get()
        if value.data is not None and not value.meta.grad and not local.scopes and not local.trace.replayed:
            # values are immutable: sharing the array is a copy
            return self._of(own(make_value(_made_now(value.meta), value.data)))
        return self._of(record(SAME, (), (value,)))

    def _convert_static(self, kind: str) -> Tensor:
        from . import dtype as d

        return self._to(dtype=getattr(d, kind))

    # ---- copying and pickling ----------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict) -> Any:
        if id(self) in memo:
            return memo[id(self)]
        value = self._get()
        if value.meta.grad == INTERIOR:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the "
                "moment. "
                "If you were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm "
                "usage."
            )
        t = object.__new__(type(self))
        t._alias = None
        plain = _plain(value)
        alias = self._alias
        if value.meta.grad == LEAF:
            leaf = _leaf_of(t)
            t._value = _as_leaf(plain, leaf)
            if value.node.grad is not None:
                leaf.grad = value.node.grad.__deepcopy__(memo)
        else:
            t._value = plain if plain is not value or value.data is None else make_value(value.meta, value.data)
        if alias is not None:  # copies of tensors that share a storage share a storage
            storage = memo.get(id(alias.storage))
            if storage is None:
                host = alias.storage.host
                base = alias.storage.value
                if host is not None:
                    base = concrete(interop.aligned_copy(host), place_for("cpu"))
                memo[id(alias.storage)] = storage = Storage(_kept_apart(base))
                memo.setdefault(id(memo), []).append(alias.storage)  # alive as long as its id is a key
            leaf = t._value.node if value.meta.grad == LEAF else None
            t._alias = Alias(storage, alias.chain, leaf, True, alias.floor)
        memo[id(self)] = t
        for name, x in self.__dict__.items():
            if name == "_spread" or name not in OWN:
                import copy

                t.__dict__[name] = copy.deepcopy(x, memo)
        return t

    def __copy__(self) -> Any:
        t = self._make_subclass(type(self), self, self.requires_grad)
        t.__dict__.update(self._given())
        return t

    def _given(self) -> dict[str, Any]:
        """The attributes that the program gave the tensor."""
        return {k: v for k, v in self.__dict__.items() if k not in OWN}

    def __reduce_ex__(self, protocol: Any) -> tuple:
        from ._tensor import Tensor

        extra = self._given()
        meta = self._value.meta
        data = (meta.shape, meta.dtype) if meta.place == SHAPE_ONLY else np.array(self._host())
        kind = None if type(self) is Tensor else type(self)  # whose module has two names, see `_hook`
        return _rebuild, (kind, data, str(self.device), self.requires_grad, extra)


def _cast_on_host(t: Tensor, kind: np.dtype) -> Tensor | None:
    """A short array that NumPy holds, in another dtype; None for others, and where NumPy may give other numbers.

    A window or a filter bank that a model makes of an array in its first step, and keeps, would be a part of that step
    alone: the next one would be another program.
    """
    meta = t._value.meta
    if meta.size > _SHORT or meta.grad or told_by_handle():
        return None
    if meta.dtype.kind not in "biuf" or kind.kind not in "biuf" or not np.can_cast(meta.dtype, kind, "same_kind"):
        return None
    data = t._get().data
    if data.__class__ is not np.ndarray or meta.place != place_for("cpu"):
        return None
    with np.errstate(all="ignore"):
        return t._of(host_value(data.astype(kind, order="C")))


def _legacy_dtype(name: str) -> torch_dtype:
    from . import dtype as d

    last = name.rsplit(".", 1)[-1]
    if last == "Tensor":
        return d.get_default_dtype()
    short = last.removesuffix("Tensor")
    if short in d.OLD_TYPES:
        return d.OLD_TYPES[short]
    found = getattr(d, short, None)
    if isinstance(found, torch_dtype):
        return found
    raise ValueError(f"invalid type: '{name}'")


def _parse_to(args: tuple, kwargs: dict) -> tuple[Any, torch_dtype | None, bool]:
    kwargs = dict(kwargs)
    where, kind = kwargs.pop("device", None), kwargs.pop("dtype", None)
    copy = kwargs.pop("copy", False)
    kwargs.pop("non_blocking", None)
    kwargs.pop("memory_format", None)
    other = kwargs.pop("other", None)
    if kwargs:
        raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    flags = []
    for a in args:
        if isinstance(a, Cell):
            other = a
        elif isinstance(a, torch_dtype) or a in (float, int, bool, complex):
            kind = a
        elif isinstance(a, bool):
            flags.append(a)
        elif isinstance(a, (str, device, int)):
            where = a
        elif a is not None:
            raise TypeError(f"to() received an invalid argument of type {type(a).__name__}")
    if len(flags) > 1:
        copy = flags[1]
    if other is not None:
        where, kind = other.device, other.dtype
    if kind is not None and not isinstance(kind, torch_dtype):
        from .dtype import as_dtype

        kind = as_dtype(kind)
    return (as_device(where) if where is not None else None), kind, copy


def _move(t: Tensor, place: Any) -> Tensor:
    """The tensor at another place; gradients flow back."""
    value = t._get()
    if place == SHAPE_ONLY:
        return t._of(_shape_only(value.meta.shape, value.meta.dtype))
    if value.meta.place == SHAPE_ONLY:
        raise NotImplementedError("Cannot copy out of meta tensor; no data! Use torch.nn.Module.to_empty() instead")
    if value.meta.grad:
        from ..autograd.function import moved

        return moved(t, place)
    return t._of(transfer(value, place))


def _shape_only(shape: tuple[int, ...], kind: np.dtype) -> Value:
    from ..engine.execute import ShapeOnly

    meta = meta_of(shape, kind, SHAPE_ONLY)
    return make_value(meta, ShapeOnly(meta))


def _rebuild(cls: type | None, data: np.ndarray | tuple, where: str, requires_grad: bool, extra: dict) -> Any:
    """The pickled tensor; ``data`` is its elements, or shape and dtype where it has none."""
    from ._tensor import Tensor

    t = object.__new__(cls or Tensor)
    t._alias = None
    try:
        place = place_for(where)
    except RuntimeError:
        place = place_for("cpu")
    if isinstance(data, tuple):
        value = _shape_only(*data)
    else:
        value = concrete(interop.aligned_copy(data), place_for("cpu"))
        if place != value.meta.place:
            value = transfer(value, place)
    t._value = _as_leaf(value, _leaf_of(t)) if requires_grad else value
    t.__dict__.update(extra)
    return t
