"""The Tensor: a mutable handle of immutable values, over a recording engine."""

from __future__ import annotations

import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..engine import Leaf, Op, Value, concrete, fixed, local, make_value, own, peek, read, record, set_mode
from ..engine import host as at_once
from ..engine.grad import DETACH, watch
from ..engine.meta import INTERIOR, LEAF, NO_GRAD, SHAPE_ONLY, meta_of
from ..engine.nested import Unknown, home_of
from ..engine.segment import FREED
from ..engine.trace import platform_of
from ..ops._table import OpDef, cast_result
from . import interop, printing
from ._operators import _LazyMethods
from .device import as_device, device, from_jax_device, place_for
from .dtype import dtype as torch_dtype
from .dtype import from_numpy_dtype
from .size import Size
from .storage import (
    RESHAPING,
    Alias,
    Step,
    Storage,
    check_view,
    layout,
    strides_of,
    through,
    through_array,
    view_strides,
    write_through,
)
from .untyped import UntypedStorage

# Aliases known to the engine: the result is the argument itself.
AS_LEAF = Op("leaf", lambda static, args: args[0], alias=True, leaf=True, saves=False)
SAME = Op("alias", lambda static, args: args[0], alias=True, saves=False)

#: Elements up to which an array for a part of a tensor shares memory, for which the whole tensor has to be copied.
_LENT_WITH_ALL = 1 << 14


def _straight(static: Any, args: tuple) -> Any:
    import jax

    @jax.custom_jvp
    def replaced(new: Any, old: Any) -> Any:
        return new

    replaced.defjvp(lambda primals, tangents: (primals[0], tangents[1]))
    return replaced(args[0], args[1])


#: The new data of a tensor, written where gradients are off, with the history of the old.
STRAIGHT = Op("written without gradient", _straight, saves=False)

#: The package above this one, once it is needed.
_autograd: Any = None

#: `sys.getrefcount` of a tensor inside :func:`link` when nobody but the running expression refers to it.
_TEMPORARY = 3 if sys.version_info < (3, 14) else -1


class Moved(TypeError):
    """The pending work was executed while an operation was being recorded, which must begin again."""


class _Base:
    __slots__ = ("_value", "_alias", "_layout", "_writes")


#: Asks for the slot without :meth:`Tensor.__getattr__` (AttributeError if it is not set).
_layout_of = _Base.__dict__["_layout"].__get__
_writes_of, _set_writes = _Base.__dict__["_writes"].__get__, _Base.__dict__["_writes"].__set__


class Tensor(_Base, metaclass=_LazyMethods):
    """A multi-dimensional array of one dtype on one device, with PyTorch's interface.

    ``Tensor(data)`` makes a float32 tensor of nested numbers, ``Tensor(2, 3)`` an uninitialised one of that shape;
    ``tensor(...)`` is the usual way.
    """

    __slots__ = ("__dict__", "__weakref__")

    _value: Value
    _alias: Alias | None
    _own_grad: Any = None  # .grad of a tensor that does not accumulate
    _spread: Any = None  # how it is divided among processes, see distributed/tensor
    _hooks: Any = None
    _watch: Any = None
    _name: str | None = None
    __array_priority__ = 1000

    def __new__(cls, *args: Any, device: Any = None) -> Tensor:
        from . import functions as T
        from .dtype import get_default_dtype

        if len(args) == 1 and isinstance(args[0], Tensor):
            return cls._make_subclass(cls, args[0].detach(), False)
        if len(args) == 1 and isinstance(args[0], Size):
            made = T.empty(tuple(args[0]), device=device)
        elif len(args) == 1 and not isinstance(args[0], int):
            made = tensor(args[0], dtype=get_default_dtype(), device=device)
        else:
            made = T.empty(args if args else (0,), device=device)
        return made if cls is Tensor else cls._make_subclass(cls, made, False)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Every tensor class is a JAX pytree of one leaf."""
        super().__init_subclass__(**kwargs)
        from . import register_pytree
        from .asking import new_class

        if cls.__torch_dispatch__ is not Tensor.__torch_dispatch__:
            from .wrapped import join

            join(cls)
        register_pytree(cls)
        new_class(cls)

    @staticmethod
    def _of(value: Value) -> Tensor:
        t = object.__new__(Tensor)
        t._value = value
        t._alias = None
        return t

    @staticmethod
    def _make_subclass(cls: type, data: Tensor, require_grad: bool = False) -> Any:
        """A ``cls`` that shares the storage of ``data``, detached; a leaf if gradients are required."""
        if require_grad and not data.dtype.is_floating_point and not data.dtype.is_complex:
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        if cls.__torch_dispatch__ is not Tensor.__torch_dispatch__:
            from .wrapped import instance_comes

            instance_comes()
        t = object.__new__(cls)
        alias = data._shared()
        leaf = Leaf() if require_grad else None
        t._alias = Alias(alias.storage, alias.chain, leaf, True, len(alias.chain), alias.writes)
        value = data._get()
        t._value = _as_leaf(value, leaf) if leaf is not None else _plain(value)
        return t

    @staticmethod
    def _make_wrapper_subclass(cls: type, size: Any, *args: Any, **kwargs: Any) -> Any:
        """A ``cls`` without data, see `tensor/wrapped.py`; the class must have a ``__torch_dispatch__``."""
        from .wrapped import make_wrapper

        return make_wrapper(cls, size, *args, **kwargs)

    # ---- values ------------------------------------------------------------------------------------------------

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
        if alias.seen != storage.version:
            with home_of(storage.value):
                taped = self._value.meta.grad == INTERIOR  # stays so, whichever mode it is read in
                value = (_on_tape(through, storage.value, alias.chain) if taped and alias.chain
                         else through(storage.value, alias.chain))
                if alias.leaf is not None:
                    if value.node is not alias.leaf:
                        value = _as_leaf(value, alias.leaf)
                elif alias.detached:
                    value = _plain(value)
            self._value = value
            alias.seen = storage.version
            if trace is not None and local.trace is not trace:
                raise Moved
        elif not alias.chain and sys.getrefcount(storage) == 3:
            self._bumps = storage.version - storage.quiet if alias.writes is None else alias.writes[0]
            self._alias = None
        return self._value

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
            np.copyto(self._host_view(), np.asarray(read(value)), casting="unsafe")
            if not taped:
                self._count_write(alias)
                return
            storage.host, storage.lent = None, False
        old = storage.value
        # what is written behind the tape's back, through .data, without gradients or by an optimizer, leaves the
        # history as it is
        leaf = alias.leaf is not None and value.node is alias.leaf
        behind = old.meta.grad == INTERIOR and (
            leaf or alias.detached and alias.leaf is None or not local.trace.mode.grad
        )
        if alias.chain:
            base = write_through(_plain(old) if behind else old, alias.chain, _plain(value) if leaf else value)
        else:
            base = value
        if behind:
            base = _straightened(_plain(base), old)
        _note_write(storage, old)
        # a leaf over somebody else's storage is a leaf for itself only
        storage.value = _plain(base) if alias.leaf is not None and alias.detached and not behind else base
        self._count_write(alias)
        if alias.chain and base.meta.grad and not leaf and not (behind and alias.detached):
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
            seen = self._seen_in_base()
            if seen is not None:
                return seen
        data = read(value)
        if type(data) is np.ndarray:
            return data
        import jax

        if isinstance(data, jax.core.Tracer):
            raise jax.errors.TracerArrayConversionError(data)
        with jax.enable_x64(True):
            return np.asarray(data)

    def _seen_in_base(self) -> np.ndarray | None:
        """What a view shows of a base that has been computed, on the CPU: nothing is executed to look at its parts."""
        alias = self._alias
        base = alias.storage.value
        if base.data is None or not alias.chain or base.meta.place != place_for("cpu") or local.trace.nested:
            return None
        view = through_array(np.asarray(read(base)), alias.chain)
        return view

    # ---- what it is --------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The size of each dimension."""
        return Size(self._value.meta.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        shape = self._value.meta.shape
        if dim is None:
            return Size(shape)
        n = len(shape)
        if not -n <= dim < n:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})" if n else
                "Dimension specified as " + str(dim) + " but tensor has no dimensions"
            )  # fmt: skip
        return shape[dim]

    @property
    def dtype(self) -> torch_dtype:
        """The data type."""
        return from_numpy_dtype(self._value.meta.dtype)

    @property
    def device(self) -> device:
        """Where the data is."""
        place = self._value.meta.place
        found = _devices.get(place)
        if found is None:
            found = _devices[place] = _device_of(place)
        return found

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._value.meta.ndim

    def dim(self) -> int:
        """Number of dimensions."""
        return self._value.meta.ndim

    ndimension = dim

    def numel(self) -> int:
        """Number of elements."""
        return self._value.meta.size

    nelement = numel

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._value.meta.dtype.itemsize

    def element_size(self) -> int:
        """Bytes of one element."""
        return self._value.meta.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._value.meta.nbytes

    @property
    def layout(self) -> Any:
        """Always ``torch.strided``."""
        from . import dtype as d

        return d.strided

    is_sparse = is_sparse_csr = is_quantized = is_nested = is_mkldnn = is_mps = is_xpu = is_vulkan = False

    @property
    def is_meta(self) -> bool:
        return self._value.meta.place == SHAPE_ONLY

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        return self.device.type == "cpu"

    def get_device(self) -> int:
        """Index of the device; -1 on the CPU."""
        d = self.device
        return -1 if d.type == "cpu" else d.index or 0

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        return self.dtype.is_complex

    def is_signed(self) -> bool:
        return self.dtype.is_signed

    def is_inference(self) -> bool:
        """Whether the tensor was made in :class:`inference_mode`: it can then never take part in a backward pass."""
        return self._value.meta.inference

    def is_pinned(self) -> bool:
        return False

    def pin_memory(self, device: Any = None) -> Tensor:
        """The tensor itself: XLA's transfers do not need pinned memory."""
        return self

    def to_mkldnn(self, dtype: Any = None) -> Tensor:
        """Refused: NotImplementedError."""
        return self._refuse("to_mkldnn", "XLA has no layout of that kind, and chooses layouts by itself")

    def qscheme(self) -> Any:
        """RuntimeError: see ``torch.quantize_per_tensor`` for tensors that have one."""
        return self._unquantized("qscheme")

    def int_repr(self) -> Tensor:
        """RuntimeError, as :meth:`qscheme`."""
        return self._unquantized("int_repr")

    def q_scale(self) -> float:
        """RuntimeError, as :meth:`qscheme`."""
        return self._unquantized("q_scale")

    def q_zero_point(self) -> int:
        """RuntimeError, as :meth:`qscheme`."""
        return self._unquantized("q_zero_point")

    def q_per_channel_scales(self) -> Tensor:
        """RuntimeError, as :meth:`qscheme`."""
        return self._unquantized("q_per_channel_scales")

    def q_per_channel_zero_points(self) -> Tensor:
        """RuntimeError, as :meth:`qscheme`."""
        return self._unquantized("q_per_channel_zero_points")

    def q_per_channel_axis(self) -> int:
        """RuntimeError, as :meth:`qscheme`."""
        return self._unquantized("q_per_channel_axis")

    def _unquantized(self, name: str) -> Any:
        raise RuntimeError(f"{name}: the tensor is of dtype {self.dtype} and not quantised; see "
                           "torch.quantize_per_tensor and torch.quantize_per_channel")

    def _refuse(self, name: str, why: str) -> Any:
        raise NotImplementedError(f"Tensor.{name}: {why}")

    def is_shared(self) -> bool:
        """Whether the memory is shared with other processes, by :meth:`share_memory_`."""
        from .shared import is_shared

        return is_shared(self)

    def share_memory_(self) -> Tensor:
        """Move the storage to memory that is shared with the processes that the tensor is sent to; the tensor itself.

        Each operation takes a snapshot of it, as of a NumPy array by ``from_numpy``, and in-place operations (an
        optimizer's, too) write to it at once. Raises NotImplementedError on accelerators.
        """
        from .shared import share

        share(self)
        return self

    def _strided(self) -> tuple[tuple[int, ...], int, bool] | None:
        """Strides, offset and contiguity of a view; None for a tensor with a contiguous storage of its own."""
        alias = self._alias
        if alias is not None:
            host = alias.storage.host
            if host is not None:
                view, size = self._host_view(), self.itemsize
                start = view.__array_interface__["data"][0] - host.__array_interface__["data"][0]
                return tuple(s // size for s in view.strides), start // size, bool(view.flags.c_contiguous)
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

    def stride(self, dim: int | None = None) -> Any:
        """Elements to skip to get to the next index of each dimension, as PyTorch would lay the tensor out."""
        told = self._strided()
        strides = strides_of(self._value.meta.shape) if told is None else told[0]
        if dim is None:
            return strides
        n = max(len(strides), 1)
        if not strides or not -n <= dim < n:
            raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
        return strides[dim]

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
        if value.data is not None and not value.meta.grad and not local.scopes:
            return Tensor._of(own(make_value(value.meta, value.data)))
        return Tensor._of(record(SAME, (), (value,)))

    def data_ptr(self) -> int:
        """Address of the first element (of the host copy on accelerators); 0 for an empty tensor."""
        if self._value.meta.size == 0:
            return 0
        alias = self._alias
        if alias is not None:
            base = np.asarray(read(alias.storage.value)) if alias.storage.host is None else alias.storage.host
            return base.__array_interface__["data"][0] + self.storage_offset() * self.itemsize
        return self._host().__array_interface__["data"][0]

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
        base = Tensor._of(storage.value)
        base._alias = Alias(storage, alias.chain[: alias.floor], None, alias.detached, alias.floor, alias.writes)
        base._alias.seen = -1
        base._fresh()
        return base

    def _is_view(self) -> bool:
        alias = self._alias
        return alias is not None and len(alias.chain) > alias.floor

    @property
    def _version(self) -> int:
        if self._value.meta.inference:
            raise RuntimeError("Inference tensors do not track version counter.")
        alias = self._alias
        if alias is None:
            return self._bumps
        return alias.storage.version - alias.storage.quiet if alias.writes is None else alias.writes[0]

    # ---- autograd ----------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether operations on the tensor are recorded for a backward pass."""
        if self._alias is not None:
            self._fresh()
        return self._value.meta.grad != NO_GRAD

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._get().meta.grad == INTERIOR:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables; for a computed one that does not require "
                "gradients use .detach(), to keep its gradient use .retain_grad()"
            )
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Start or stop recording operations on a leaf, in place."""
        value = self._get()
        now = value.meta.grad
        if requires_grad:
            if now:
                return self
            if value.meta.dtype.kind in "biu":
                raise RuntimeError("only Tensors of floating point dtype can require gradients")
            if value.meta.inference and not local.trace.mode.inference:
                raise RuntimeError(
                    "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."
                )
            leaf = Leaf()
            leaf.owner = weakref.ref(self)
            if self._alias is not None:
                self._alias.leaf = leaf
            leaf.grad, self._own_grad = self._own_grad, None
            self._value = _as_leaf(value, leaf)
            if self._alias is not None and not self._alias.chain:
                self._alias.storage.value = self._value
            return self
        if now == INTERIOR:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable "
                "in a "
                "subgraph that doesn't require differentiation use var_no_grad = var.detach()."
            )
        if now == LEAF:
            grad = value.node.grad
            self._value = _plain(value)
            self._own_grad = grad
            if self._alias is not None:
                self._alias.leaf = None
                if not self._alias.chain:
                    self._alias.storage.value = self._value
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was not computed from tensors that require gradients."""
        return self._get().meta.grad != INTERIOR

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward passes have accumulated, or None."""
        value = self._value if self._alias is None else self._fresh()
        node = value.node
        if type(node) is Leaf:
            return node.grad
        if value.meta.grad == INTERIOR and self._own_grad is None and self._watch is None:
            import warnings

            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute "
                "won't be "
                "populated during autograd.backward(). If you indeed want the .grad field to be populated for a "
                "non-leaf "
                "Tensor, use .retain_grad() on the non-leaf Tensor.",
                UserWarning,
                stacklevel=2,
            )
        return self._own_grad

    @grad.setter
    def grad(self, grad: Tensor | None) -> None:
        if grad is not None:
            if not isinstance(grad, Tensor):
                raise TypeError(
                    "assigned grad expected to be a Tensor or None but got grad of type "
                    f"{type(grad).__name__}"
                )
            if grad is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if tuple(grad.shape) != self._value.meta.shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: {list(grad.shape)} for a tensor of {list(self.shape)}"
                )
            if grad.dtype is not self.dtype:
                raise RuntimeError(
                    f"assigned grad has data of a different type: {grad.dtype} for a tensor of {self.dtype}"
                )
        node = self._get().node
        if type(node) is Leaf:
            node.grad = grad
            if grad is None and local.trace.nested:
                local.trace.clear(node)
        else:
            self._own_grad = grad

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    _grad = grad  # the name by which training in several processes hands gradients over

    @property
    def grad_fn(self) -> Any:
        """The node of the backward graph that made the tensor; None for a leaf."""
        if self._get().meta.grad != INTERIOR:
            return None
        from ..autograd.graph import node_of

        return node_of(self)

    @property
    def output_nr(self) -> int:
        return 0

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False,
        inputs: Any = None,
    ) -> None:  # fmt: skip
        """Accumulate d(self)/d(leaf), weighted by ``gradient``, into the ``.grad`` of every leaf (or of ``inputs``).

        Raises RuntimeError if the tensor does not require gradients, is not a scalar and no ``gradient`` is given, or
        if the graph was already given up by an earlier backward pass without ``retain_graph=True``.
        """
        global _autograd
        if _autograd is None:
            from .. import autograd as _autograd
        weights = None if gradient is None else (gradient,)
        _autograd.backward((self,), weights, retain_graph, create_graph, inputs=inputs)

    def detach(self) -> Tensor:
        """The same data, in the same storage, cut off from the graph."""
        value = self._get()
        t = object.__new__(Tensor)
        alias = self._shared()
        t._alias = Alias(alias.storage, alias.chain, None, True, len(alias.chain), alias.writes)
        t._value = _plain(value)
        return t

    def detach_(self) -> Tensor:
        """Cut the tensor off from the graph that made it; it becomes a leaf."""
        if self._is_view():
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._value = value = _plain(self._get())
        if self._alias is not None:
            self._alias.leaf = None
            if not self._alias.chain:
                self._alias.storage.value = value
        return self

    @property
    def data(self) -> Tensor:
        """The same data without the history, as :meth:`detach`; assigning replaces the tensor's data."""
        t = self.detach()
        t._alias.writes = [0]
        return t

    @data.setter
    def data(self, new: Tensor) -> None:
        if not isinstance(new, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(new).__name__}")
        node = self._get().node
        value = _plain(new._get())
        leaf = node if type(node) is Leaf else None
        alias = new._shared()
        self._alias = Alias(alias.storage, alias.chain, leaf, True, len(alias.chain), alias.writes)
        self._value = value if leaf is None else _as_leaf(value, leaf)

    def retain_grad(self) -> None:
        """Keep the gradient of a tensor that is not a leaf in its ``.grad`` after backward."""
        value = self._get()
        if not value.meta.grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if value.meta.grad == LEAF:
            return
        self._hook_table()
        self._retains = True

    @property
    def retains_grad(self) -> bool:
        return bool(self.__dict__.get("_retains", False))

    @property
    def grad_dtype(self) -> torch_dtype | None:
        """The dtype of the gradients of a leaf: its own; None if it requires none."""
        return self.dtype if self.requires_grad else None

    @property
    def name(self) -> str | None:
        """The name given in a graph; None."""
        return self._name

    @property
    def volatile(self) -> bool:
        """False: use ``torch.no_grad()``."""
        return False

    def reinforce(self, reward: Any) -> None:
        """Refused, as in PyTorch: see ``torch.distributions``."""
        raise RuntimeError("reinforce() was removed. Use torch.distributions instead: its log_prob")

    def register_hook(self, hook: Any) -> Any:
        """Call ``hook(grad)`` whenever the gradient of the tensor is there; what it returns, if not None, replaces it.

        Returns a handle with ``remove()``.
        """
        from ..utils.hooks import RemovableHandle

        value = self._get()
        if not value.meta.grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if value.meta.grad == LEAF:
            leaf = value.node
            if leaf.hooks is None:
                leaf.hooks = OrderedDict()
            table = leaf.hooks
        else:
            table = self._hook_table()
        handle = RemovableHandle(table)
        table[handle.id] = hook
        return handle

    def register_post_accumulate_grad_hook(self, hook: Any) -> Any:
        """Call ``hook(tensor)`` after a backward pass has accumulated into the ``.grad`` of this leaf."""
        from ..utils.hooks import RemovableHandle

        value = self._get()
        if value.meta.grad != LEAF:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        leaf = value.node
        leaf.owner = weakref.ref(self)
        if leaf.post_hooks is None:
            leaf.post_hooks = OrderedDict()
        handle = RemovableHandle(leaf.post_hooks)
        leaf.post_hooks[handle.id] = hook
        return handle

    def _hook_table(self) -> dict:
        """Hooks on the gradient of an interior tensor; a reverse pass stops here for them."""
        value = self._get()
        if self._hooks is not None and self._watch is value:
            return self._hooks
        self._hooks = table = OrderedDict()
        self._watch = value
        owner = weakref.ref(self)

        def handle(cotangents: dict[Any, Value]) -> dict[Any, Value]:
            from .wrapped import carry, tensor_of

            (slot, value), *_ = cotangents.items()
            grad = tensor_of(value)
            for hook in list(table.values()):
                new = hook(grad)
                if new is not None:
                    if not isinstance(new, Tensor):
                        raise TypeError(f"hook returned a {type(new).__name__}, expected a Tensor or None")
                    if new.shape != grad.shape:
                        raise RuntimeError(
                            f"hook '{getattr(hook, '__name__', hook)}' has changed the size of value: "
                            f"{list(grad.shape)} became {list(new.shape)}"
                        )
                    grad = new
            me = owner()
            if me is not None and me.__dict__.get("_retains"):
                me._own_grad = grad if me._own_grad is None else me._own_grad + grad
            return {slot: carry(grad)}

        if value.trace is not None:
            watch(value.trace.watched, value.slot, handle)
        elif type(value.node) is tuple:
            segment, slot = value.node
            watch(segment.watched, slot, handle)
        elif value.node is FREED:
            raise RuntimeError("cannot register a hook on a tensor whose graph was freed by a backward pass")
        return table

    # ---- reading -----------------------------------------------------------------------------------------------

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number."""
        if self.is_meta:
            raise RuntimeError("Tensor.item() cannot be called on meta tensors")
        if self._value.meta.size != 1:
            raise RuntimeError(
                f"a Tensor with {self._value.meta.size} elements cannot be converted to Scalar (shape "
                f"{list(self.shape)})"
            )
        return self._host().item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self._host().tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The data as a NumPy array that shares memory with the tensor: writes to either are seen by the other.

        As JAX's memory never changes, the array is a copy that the tensor looks at as long as the array exists.  A copy
        for itself is given of what the tape knows, whose values stay what they were, and of a part of a large tensor.
        A tensor made by ``from_numpy`` gives its own memory.
        Raises RuntimeError if the tensor requires gradients, TypeError if it is not on the CPU (unless ``force``).
        """
        self._check_numpy(force)
        alias = self._alias
        if alias is not None and alias.storage.host is not None:
            return self._host_view()
        data = self._host()
        value = self._value
        if value.meta.grad == INTERIOR or value.meta.place is not place_for("cpu"):
            return data.copy()
        storage = self._shared().storage
        base = storage.value
        if base.meta.grad == INTERIOR or base.meta.size > max(data.size, _LENT_WITH_ALL):
            return data.copy()
        storage.lend(np.array(read(base), order="C"))
        return self._host_view()

    def _check_numpy(self, force: bool) -> None:
        if self.requires_grad and not force:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self.device.type != "cpu" and not (force and self.device.type != "meta"):
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                "memory first."
            )

    def _look(self) -> np.ndarray:
        """The elements on the host, to be looked at only: without a copy on the CPU."""
        alias = self._alias
        return self._host() if alias is None or alias.storage.host is None else self._host_view()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if not copy and (dtype is None or np.dtype(dtype) == self._value.meta.dtype):
            return self.numpy()
        self._check_numpy(False)
        return self._look().astype(dtype or self._value.meta.dtype)

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Tensor:
        return tensor(array)

    def jax(self) -> Any:
        """The ``jax.Array`` behind the tensor (a tracer under a JAX transformation); no copy."""
        data = self._read()
        if type(data) is np.ndarray:
            import jax

            with jax.enable_x64(True):
                data = jax.device_put(data, self._value.meta.place)
            self._value.data = data
        return data

    def __jax_array__(self) -> Any:
        return self.jax()

    def __dlpack__(self, *, stream: Any = None, **kwargs: Any) -> Any:
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        return self.jax().__dlpack__(stream=stream, **kwargs)

    def __dlpack_device__(self) -> tuple:
        return self.jax().__dlpack_device__()

    def __bool__(self) -> bool:
        n = self._value.meta.size
        if n == 1:
            if self.is_meta:
                raise RuntimeError("the truth value of a meta tensor is not known, since it has no data")
            return bool(self._host().reshape(()))
        if n == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")

    def _one(self) -> Any:
        n = self._value.meta.size
        if n != 1:
            raise ValueError(
                f"only one element tensors can be converted to Python scalars, got one of shape {list(self.shape)}"
            )
        return self.item()

    def __int__(self) -> int:
        return int(self._one())

    def __float__(self) -> float:
        return float(self._one())

    def __complex__(self) -> complex:
        return complex(self._one())

    def __index__(self) -> int:
        if self._value.meta.dtype.kind not in "iub" or self._value.meta.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self) -> int:
        shape = self._value.meta.shape
        if not shape:
            raise TypeError("len() of a 0-d tensor")
        return shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._value.meta.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __reversed__(self) -> Tensor:
        return self.flip(0) if self._value.meta.shape else self

    def __delitem__(self, index: Any) -> None:
        raise TypeError("Tensor does not support deleting items")

    def __contains__(self, element: Any) -> bool:
        if isinstance(element, (Tensor, bool, int, float, complex)):
            return bool((self == element).any())
        raise RuntimeError(
            f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element).__name__}."
        )

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        value = self._get()
        return printing.describe(self, _peek_host(value, printing.edge_indices(value.meta.shape)))

    def __format__(self, spec: str) -> str:
        if self._value.meta.ndim == 0 and not self.is_meta and type(self) is Tensor:
            return self.item().__format__(spec)
        return object.__format__(self, spec)

    def _repr_html_(self) -> str:
        from .rich import html_of

        return html_of(self)

    # ---- conversion --------------------------------------------------------------------------------------------

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
            out = out._to_dtype(kind)
        return out.clone() if copy and out is self else out

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """Name of the tensor's type, or the tensor converted to ``dtype``.

        dtype: a dtype, or a type of old or its name (``torch.LongTensor``, "torch.cuda.FloatTensor"), which also says
        whether the result is on the CPU or on a GPU.   Raises ValueError for another name.
        """
        if dtype is None:
            names = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16",
                     "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool",
                     "complex64": "ComplexFloat", "complex128": "ComplexDouble"}  # fmt: skip
            space = "torch.cuda." if self.is_cuda else "torch."
            return space + names.get(self._value.meta.dtype.name, self._value.meta.dtype.name) + "Tensor"
        if isinstance(dtype, (str, type)):
            name = dtype if isinstance(dtype, str) else f"{dtype.__module__}.{dtype.__name__}"
            kind = _legacy_dtype(name)
            if name.endswith("Tensor"):
                on_gpu = ".cuda." in name
                return self.to(self.device if self.is_cuda and on_gpu else "cuda" if on_gpu else "cpu", kind)
            dtype = kind
        return self.to(dtype=dtype)

    def type_as(self, other: Tensor) -> Tensor:
        return self.to(other.device, other.dtype)

    def cpu(self, memory_format: Any = None) -> Tensor:
        """The tensor on the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
        """The tensor on a GPU."""
        return self.to("cuda" if device is None else (f"cuda:{device}" if isinstance(device, int) else device))

    def clone(self, *, memory_format: Any = None) -> Tensor:
        """A copy with a storage of its own, through which gradients flow."""
        value = self._get()
        if value.data is not None and not value.meta.grad and not local.scopes:
            # values are immutable: sharing the array is a copy
            return Tensor._of(own(make_value(_made_now(value.meta), value.data)))
        return Tensor._of(record(SAME, (), (value,)))

    def _convert_static(self, kind: str) -> Tensor:
        from . import dtype as d

        return self.to(dtype=getattr(d, kind))

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
            leaf = Leaf()
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
                memo[id(alias.storage)] = storage = Storage(_plain(base))
                memo.setdefault(id(memo), []).append(alias.storage)  # alive as long as its id is a key
            leaf = t._value.node if value.meta.grad == LEAF else None
            t._alias = Alias(storage, alias.chain, leaf, True, alias.floor)
        memo[id(self)] = t
        for name, x in self.__dict__.items():
            if name not in ("_own_grad", "_hooks", "_watch", "_retains"):
                import copy

                t.__dict__[name] = copy.deepcopy(x, memo)
        return t

    def __copy__(self) -> Any:
        return self._make_subclass(type(self), self, self.requires_grad)

    def __reduce_ex__(self, protocol: Any) -> tuple:
        extra = {k: v for k, v in self.__dict__.items() if not k.startswith("_")}
        data = np.array(self._host())
        return _rebuild, (type(self), data, str(self.device), self.requires_grad, extra)

    # ---- indexing ----------------------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        from .indexing import getitem

        return getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        from .indexing import setitem

        setitem(self, index, value)

    def copy_(self, src: Any, non_blocking: bool = False) -> Any:
        """Copy the elements of ``src``, broadcast and converted, into the tensor."""
        if not isinstance(src, Tensor):
            src = tensor(src, dtype=self.dtype)
        place = self._value.meta.place
        if src._value.meta.place != place:
            src = _move(src, place)
        return self._copy_from_(src)

    def __dir__(self) -> list[str]:
        return sorted(set(object.__dir__(self)))

    def __cuda_array_interface__(self) -> Any:
        raise AttributeError("__cuda_array_interface__: use DLPack (torch.utils.dlpack) to exchange GPU arrays")

    def new_tensor(self, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        """``data`` as a tensor with this one's dtype and device unless told otherwise."""
        return tensor(data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Compute ``func(*args, **kwargs)``; tensors among the results become of this class, see `torch.overrides`."""
        from .asking import by_default

        return by_default(cls, func, types, args, kwargs)

    @staticmethod
    def __torch_dispatch__(func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """What a class does that has no ``__torch_dispatch__`` of its own: call the operator."""
        return func(*args, **(kwargs or {}))


_devices: dict[Any, device] = {}


def _device_of(place: Any) -> device:
    if place == SHAPE_ONLY:
        return device("meta")
    if isinstance(place, str):
        return device("cpu")
    if hasattr(place, "device_set"):
        place = min(place.device_set, key=lambda d: d.id)
    return from_jax_device(place)


def _note_write(owner: Any, old: Value) -> None:
    """Have the pending trace remember what ``owner`` held before it is replaced, if need be, to undo a failure."""
    trace = local.trace
    if old.trace is not trace:
        slot = _slot_before(trace, old)
        if slot is not None:
            trace.journal.append((owner, slot))


def _slot_before(trace: Any, old: Value) -> int | None:
    """Slot of a value that is about to be replaced, if the trace must remember it to undo the write."""
    slot = trace.slots.get(old)
    if trace.nested:
        return None if old in trace.own else trace.add_input(old) if slot is None else slot
    return slot


def _made_now(meta: Any) -> Any:
    """The meta of a plain value that is made in the present mode of the same data."""
    inference = local.trace.mode.inference
    if meta.inference == inference:
        return meta
    return meta_of(meta.shape, meta.dtype, meta.place, meta.grad, inference)


def _plain(value: Value) -> Value:
    """The value without its history."""
    if not value.meta.grad and not local.scopes:  # a scope may tell it from the other by its identity
        return value
    if value.data is not None and value.trace is None:
        return make_value(value.meta.with_grad(NO_GRAD), value.data)
    return record(DETACH, (), (value,))


def _as_leaf(value: Value, leaf: Leaf) -> Value:
    """The value as that of a leaf."""
    if value.data is not None and value.trace is None:
        return make_value(value.meta.with_grad(LEAF), value.data, leaf)
    new = record(AS_LEAF, (), (value,))
    new.node = leaf
    return new


#: Bytes on an accelerator above which only what is shown of them is fetched.
_FETCHED = 1 << 24


def _peek_host(value: Value, edges: tuple | None = None) -> np.ndarray | None:
    """The array on the host, or only what ``edges`` says of a large one on an accelerator; None if there is no data."""
    if value.meta.place == SHAPE_ONLY:
        return None
    try:
        data = peek(value) if value.data is None else value.data
    except Unknown:
        return f"not known here, size={value.meta.shape}"  # type: ignore[return-value]
    import jax

    if isinstance(data, jax.core.Tracer):
        return data
    with jax.enable_x64(True):
        far = type(data) is not np.ndarray and data.nbytes > _FETCHED and platform_of(value.meta.place) != "cpu"
        for axis, index in enumerate(edges or ()) if far else ():
            data = data if index is None else jax.numpy.take(data, index, axis)
        return np.asarray(data)


def _legacy_dtype(name: str) -> torch_dtype:
    from . import dtype as d

    last = name.rsplit(".", 1)[-1]
    if last == "Tensor":
        return d.get_default_dtype()
    short = last.removesuffix("Tensor")
    table = {"Float": d.float32, "Double": d.float64, "Half": d.float16, "BFloat16": d.bfloat16, "Long": d.int64,
             "Int": d.int32, "Short": d.int16, "Char": d.int8, "Byte": d.uint8, "Bool": d.bool_}  # fmt: skip
    if short in table:
        return table[short]
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
        if isinstance(a, Tensor):
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


def _to_place(static: Any, args: tuple) -> Any:
    return args[0]


def _move(t: Tensor, place: Any) -> Tensor:
    """The tensor at another place; gradients flow back."""
    value = t._get()
    if place == SHAPE_ONLY:
        from ..engine.execute import ShapeOnly

        meta = meta_of(value.meta.shape, value.meta.dtype, SHAPE_ONLY)
        return Tensor._of(make_value(meta, ShapeOnly(meta)))
    if value.meta.place == SHAPE_ONLY:
        raise NotImplementedError("Cannot copy out of meta tensor; no data! Use torch.nn.Module.to_empty() instead")
    if value.meta.grad:
        from ..autograd.function import moved

        return moved(t, place)
    return Tensor._of(transfer(value, place))


#: Copies on their way to a device, and to which; by the values that they are copies of.
_under_way: weakref.WeakKeyDictionary[Value, tuple[Any, Any]] = weakref.WeakKeyDictionary()


def start_transfer(value: Value, place: Any) -> None:
    """Begin to copy a host value to a device, for the first :func:`transfer` of it there."""
    import jax

    if type(value.data) is np.ndarray and not value.meta.grad and value not in _under_way:
        with jax.enable_x64(True):
            _under_way[value] = place, jax.device_put(value.data, place)


def transfer(value: Value, place: Any) -> Value:
    """The data at another place, without history."""
    import jax

    if _under_way:
        found, copy = _under_way.pop(value, (None, None))
        if found is place:
            return concrete(copy, place)
    data = read(value)
    with jax.enable_x64(True):
        return concrete(jax.device_put(data, place), place)


def _rebuild(cls: type, data: np.ndarray, where: str, requires_grad: bool, extra: dict) -> Any:
    t = object.__new__(cls)
    t._alias = None
    try:
        place = place_for(where)
    except RuntimeError:
        place = place_for("cpu")
    value = concrete(interop.aligned_copy(data), place_for("cpu"))
    if place != value.meta.place:
        value = transfer(value, place)
    t._value = _as_leaf(value, Leaf()) if requires_grad else value
    t.__dict__.update(extra)
    return t


# ---- in-place and views: called by generated code --------------------------------------------------------------


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
                raise RuntimeError(
                    "unsupported operation: more than one element of the written-to tensor refers to a single memory "
                    "location. Please clone() the tensor before performing the operation."
                )


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


def _straightened(new: Value, old: Value) -> Value:
    """``new`` where ``old`` was on the tape: gradients flow on as if nothing had been written."""
    return _on_tape(record, STRAIGHT, (), (new, old))


def _on_tape(call: Callable[..., Value], *args: Any) -> Value:
    """``call(*args)`` recorded with gradients, whichever mode the caller is in."""
    mode = local.trace.mode
    if mode.grad:
        return call(*args)
    set_mode(mode.replace(grad=True))
    try:
        return call(*args)
    finally:
        set_mode(mode)


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


def write_out(out: Any, result: Tensor, name: str) -> Any:
    """Store a result in the tensor given as ``out=``."""
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if local.trace.mode.grad and (out.requires_grad or result.requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments "
            "requires grad."
        )
    value = result._get()
    if value.meta.shape != out._value.meta.shape:
        if out.numel():
            import warnings

            warnings.warn(
                f"An output with one or more elements was resized since it had shape {list(out.shape)}, which does "
                "not match "
                f"the required output shape {list(result.shape)}. Use an empty tensor (`.resize_(0)`) to avoid this.",
                UserWarning,
                stacklevel=3,
            )
        out._alias = None
        out._value = make_value(value.meta, None)
        out._value = value if value.meta.dtype == out.dtype.numpy else record(_CAST, out.dtype.numpy, (value,))
        return out
    if value.meta.dtype != out._value.meta.dtype:
        value = record(_CAST, out._value.meta.dtype, (value,))
    out._get()
    out._set(value)
    return out


_CAST = Op("cast", lambda static, args: cast_result("out", args[0], static), saves=False)


# ---- creation --------------------------------------------------------------------------------------------------


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A tensor with a copy of ``data``: a number, nested sequences, a NumPy array, a JAX array or a Tensor.

    dtype: inferred if None (int64 for ints, the default float dtype for floats).
    """
    if isinstance(data, Tensor):
        import warnings

        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        made = data.detach().clone()
        if dtype is not None or device is not None:
            made = made.to(device=device, dtype=dtype)
        return made.requires_grad_(True) if requires_grad else made
    if type(data).__module__.startswith("jax"):
        made = from_jax(data)
        return made.to(device=device, dtype=dtype)
    from .dtype import as_dtype

    kind = None if dtype is None else (dtype.numpy if type(dtype) is torch_dtype else as_dtype(dtype).numpy)
    made = host_tensor(interop.host_copy(data, kind), device, requires_grad)
    if local.trace.replayed and interop.of_numbers(data):
        fixed(made._value)
    return made


def host_tensor(array: np.ndarray, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor that owns a NumPy array nobody else writes to."""
    place = place_for(device)
    cpu = place_for("cpu")
    value = own(concrete(array, cpu))
    if local.trace.mode.inference:
        value.meta = _made_now(value.meta)
    if place != cpu:
        if place == SHAPE_ONLY:
            return _move(Tensor._of(value), place)
        value = transfer(value, place)
    t = Tensor._of(value)
    return t.requires_grad_(True) if requires_grad else t


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares memory with a NumPy array: writes to either are seen by the other.

    Operations take a snapshot of the memory each time, as JAX's own arrays cannot change.
    """
    interop.check_from_numpy(array)
    t = object.__new__(Tensor)
    meta = concrete(array, place_for("cpu"))
    t._value = meta
    t._alias = Alias(Storage(meta, host=array))
    return t


def from_jax(array: Any) -> Tensor:
    """A tensor over a ``jax.Array`` (or a tracer), without a copy."""
    import jax

    from ..engine.meta import TRACED

    if isinstance(array, jax.core.Tracer):
        return Tensor._of(concrete(array, TRACED))
    array = array if isinstance(array, jax.Array) else jax.numpy.asarray(array)
    devices = array.sharding.device_set
    place = next(iter(devices)) if len(devices) == 1 else array.sharding
    return Tensor._of(concrete(array, place))


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """``data`` as a tensor, sharing memory where that is possible; a storage as a vector of its bytes.

    The bytes of a private map of a file (``UntypedStorage.from_file``) are read when they are used. Writes to the
    tensor stay its own, so that it is an ordinary tensor, not one that looks at its memory each time.
    """
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype)
    if isinstance(data, UntypedStorage):
        if data._mapped:
            return Tensor._of(concrete(np.asarray(data._bytes()), place_for("cpu"))).to(device=device, dtype=dtype)
        data = data._bytes()
    if isinstance(data, np.ndarray) and data.ndim and not any(s < 0 for s in data.strides):
        try:
            made = from_numpy(data)
        except TypeError:
            made = tensor(data)
        return made.to(device=device, dtype=dtype)
    return tensor(data, dtype=dtype, device=device)
