"""The Tensor: a mutable handle of immutable values, over a recording engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Value, concrete, fixed, local
from ..engine.errors import called_by_user, warn, warn_once
from ..engine.meta import SHAPE_ONLY
from ..engine.policy import found
from ..ops._sizes import wrap_dim
from . import interop
from ._conversions import LOSES_IMAGINARY, Convertible, _move
from ._conversions import _rebuild as _rebuild  # where pickles of before look for it
from ._operators import _LazyMethods
from ._reading import Readable
from ._taped import Taped
from ._values import _as_leaf, _device_of, _devices, _leaf_of, _plain, host_value, transfer
from ._views import Placed
from .device import device, place_for
from .dtype import dtype as torch_dtype
from .dtype import from_numpy_dtype
from .size import Size
from .storage import Alias, Storage
from .untyped import UntypedStorage


class Tensor(Placed, Taped, Readable, Convertible, metaclass=_LazyMethods):
    """A multi-dimensional array of one dtype on one device, with PyTorch's interface.

    ``Tensor(data)`` makes a float32 tensor of nested numbers, ``Tensor(2, 3)`` an uninitialised one of that shape;
    ``tensor(...)`` is the usual way.
    """

    __slots__ = ("__dict__", "__weakref__")

    _spread: Any = None  # how it is divided among processes, see distributed/tensor
    __array_priority__ = 1000

    def __new__(cls, *args: Any, device: Any = None) -> Tensor:
        from .dtype import get_default_dtype

        if len(args) == 1 and isinstance(args[0], Tensor):
            return cls._make_subclass(cls, args[0].detach(), False)
        made = made_of_old(args, get_default_dtype(), device)
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
        leaf = _leaf_of(t) if require_grad else None
        t._alias = Alias(alias.storage, alias.chain, leaf, True, len(alias.chain), alias.writes)
        value = data._get()
        t._value = _as_leaf(value, leaf) if leaf is not None else _plain(value)
        return t

    @staticmethod
    def _make_wrapper_subclass(cls: type, size: Any, *args: Any, **kwargs: Any) -> Any:
        """A ``cls`` without data, see `tensor/wrapped.py`; the class must have a ``__torch_dispatch__``."""
        from .wrapped import make_wrapper

        return make_wrapper(cls, size, *args, **kwargs)

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
        if not shape:
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
        return shape[wrap_dim(dim, len(shape))]

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
        if src._value.meta.dtype.kind == "c" and self._value.meta.dtype.kind not in "cb":
            warn_once(LOSES_IMAGINARY)
        place = self._value.meta.place
        if src._value.meta.place != place:
            src = _move(src, place)
        return self._copy_from_(src)

    def __dir__(self) -> list[str]:
        """All methods, also those that are made when they are first used: completion at a prompt asks for them."""
        return sorted({*dir(type(self)), *self.__dict__})

    @property
    def __cuda_array_interface__(self) -> Any:
        """Nothing, so that who looks for it (numba, CuPy) takes the tensor otherwise."""
        raise AttributeError("__cuda_array_interface__: use DLPack (torch.utils.dlpack) to exchange GPU arrays")

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Tensor:
        return tensor(array)

    def __format__(self, spec: str) -> str:
        if self._value.meta.ndim == 0 and not self.is_meta and type(self) is Tensor:
            return self.item().__format__(spec)
        return object.__format__(self, spec)

    def new_tensor(self, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        """``data`` as a tensor with this one's dtype and device unless told otherwise."""
        dtype, device = dtype or self.dtype, device or self.device
        if isinstance(data, Tensor):
            return _copied("tensor.new_tensor", data, dtype, device, requires_grad)
        return tensor(data, dtype=dtype, device=device, requires_grad=requires_grad)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Compute ``func(*args, **kwargs)``; tensors among the results become of this class, see `torch.overrides`."""
        from .asking import by_default

        return by_default(cls, func, types, args, kwargs)

    @staticmethod
    def __torch_dispatch__(func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """What a class does that has no ``__torch_dispatch__`` of its own: call the operator."""
        return func(*args, **(kwargs or {}))


# ---- creation --------------------------------------------------------------------------------------------------


def made_of_old(args: tuple, dtype: torch_dtype, device: Any = None) -> Tensor:
    """What the constructors of old (``Tensor``, ``FloatTensor``, ``x.new``) make of other things than one tensor.

    args: nothing, sizes (also one integer of NumPy, or an array of one without dims), a Size: uninitialised; else one
        sequence or array of data, or a storage, whose memory is shared.
    Raises: TypeError for a number that is no integer.
    """
    from .functions import empty

    if len(args) == 1:
        given = args[0]
        if isinstance(given, Size):
            return empty(given, dtype=dtype, device=device)
        if isinstance(given, np.ndarray | np.generic) and given.shape == () and given.dtype.kind in "iu":
            given = int(given)
        elif given is None or isinstance(given, bool | float | complex | np.generic):
            raise TypeError(
                f"new(): data must be a sequence (got {type(given).__name__}); torch.tensor makes a tensor of a number"
            )
        if not isinstance(given, int):
            if isinstance(given, list | tuple | np.ndarray):
                return tensor(given, dtype=dtype, device=device)
            from .typed_storage import TypedStorage, flat_of
            from .untyped import UntypedStorage

            if not isinstance(given, TypedStorage | UntypedStorage):
                return tensor(given, dtype=dtype, device=device)
            if isinstance(given, TypedStorage) and given.dtype is not dtype:
                raise RuntimeError(f"Expected a Storage of type {dtype} or an UntypedStorage, but got {given.dtype}")
            return flat_of(given, dtype).detach()  # over its memory
        args = (given,)
    return empty(args or (0,), dtype=dtype, device=device)


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A tensor with a copy of ``data``: a number, nested sequences, a NumPy array, a JAX array or a Tensor.

    dtype: inferred if None (int64 for ints, the default float dtype for floats).
    """
    if isinstance(data, Tensor):
        return _copied("torch.tensor", data, dtype, device, requires_grad)
    if type(data).__module__.startswith("jax"):
        made = from_jax(data).to(device=device, dtype=dtype)
        return made.requires_grad_(True) if requires_grad else made
    from .dtype import as_dtype

    kind = None if dtype is None else (dtype.numpy if type(dtype) is torch_dtype else as_dtype(dtype).numpy)
    constant = local.trace.replayed and interop.of_numbers(data)
    return host_tensor(interop.host_copy(data, kind), device, requires_grad, constant=constant)


def _copied(function: str, data: Tensor, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    """A copy of a tensor by ``function``, which is meant for other things, as the caller is told."""
    warn(
        "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
        f"sourceTensor.detach().clone().requires_grad_(True), rather than {function}(sourceTensor)."
    )
    made = data.detach().clone()
    if dtype is not None or device is not None:
        made = made.to(device=device, dtype=dtype)
    return made.requires_grad_(True) if requires_grad else made


def host_tensor(
    array: np.ndarray, device: Any = None, requires_grad: bool = False, constant: bool = False
) -> Tensor:
    """A tensor that owns a NumPy array nobody else writes to.

    constant: it depends on numbers in the code and sizes only, so that a captured call may keep it.
    """
    place = place_for(device)
    value = host_value(array)
    if place != value.meta.place:
        if place == SHAPE_ONLY:
            return _move(Tensor._of(value), place)
        value = transfer(value, place)
    if constant:
        fixed(value)
    t = Tensor._of(value)
    return t.requires_grad_(True) if requires_grad else t


def found_tensor(array: np.ndarray, device: Any = None) -> Tensor:
    """As :func:`host_tensor`, of an array whose size was read off data."""
    t = host_tensor(array, device)
    found(t._value, array.size)
    return t


_READ_ONLY = (
    "The given NumPy array is not writable, and PyTorch does not support non-writable tensors: do not write to this "
    "one, or make it of a copy (array.copy())."
)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares memory with a NumPy array: writes to either are seen by the other.

    Operations take a snapshot of the memory each time, as JAX's own arrays cannot change.
    """
    interop.check_from_numpy(array)
    if not array.flags.writeable and called_by_user():
        warn_once(_READ_ONLY)
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
        if not data.flags.writeable and called_by_user():
            warn_once(_READ_ONLY)
        try:
            made = from_numpy(data)
        except TypeError:
            made = tensor(data)
        return made.to(device=device, dtype=dtype)
    return tensor(data, dtype=dtype, device=device)
