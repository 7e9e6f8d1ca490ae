"""``torch.TypedStorage`` and ``torch.FloatStorage`` and its kin: a tensor's memory as a vector of elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.errors import warn_once
from . import dtype as d
from ._register import function
from ._tensor import Tensor, from_numpy, tensor
from .device import as_device, device
from .untyped import UntypedStorage

__all__ = ["TYPED", "TypedStorage", "flat_of"]


def flat_of(storage: Any, dtype: d.dtype) -> Tensor:
    """The memory of a storage as a vector of ``dtype`` that shares it.

    Raises RuntimeError if the storage belongs to a tensor of another dtype of another size: such views are copies.
    """
    if isinstance(storage, TypedStorage):
        return storage._flat if storage.dtype is dtype else storage._flat.view(dtype)
    root = storage._root
    if isinstance(root, np.ndarray):
        if not root.flags.writeable:
            storage._root = root = np.array(root)
        return from_numpy(root.view(dtype.numpy))
    flat = root.detach()._in_order().view(-1)
    return flat if flat.dtype is dtype else flat.view(dtype)


class TypedStorage:
    """The memory that a tensor and its views share, as a vector of elements of one dtype.

    ``TypedStorage(n, dtype=…)`` is one of n zeros, ``TypedStorage([…], dtype=…)`` one with these elements,
    ``TypedStorage(wrap_storage=untyped, dtype=…)`` one over the memory of an UntypedStorage. Writes are seen by the
    tensors of the storage, outside autograd. ``dtype`` is the default float dtype unless given.
    """

    __slots__ = ("_flat", "__weakref__")

    _flat: Tensor
    is_sparse = False

    def __init__(
        self, *args: Any, wrap_storage: UntypedStorage | None = None, dtype: d.dtype | None = None, device: Any = None
    ) -> None:
        kind = dtype or d.get_default_dtype()
        if wrap_storage is not None:
            if args:
                raise RuntimeError("No positional arguments should be given when using 'wrap_storage'")
            if not isinstance(wrap_storage, UntypedStorage):
                raise TypeError(f"wrap_storage must be UntypedStorage, but got {type(wrap_storage).__name__}")
            if dtype is None:
                raise RuntimeError("Argument 'dtype' must be specified when 'wrap_storage' is given")
            self._flat = flat_of(wrap_storage, kind)
            return
        if len(args) > 1:
            raise RuntimeError(f"TypedStorage takes one positional argument, a size or a sequence, got {len(args)}")
        given = args[0] if args else 0
        if isinstance(given, int):
            made = tensor(np.zeros(given, kind.numpy))
        else:
            made = tensor(given, dtype=kind)
            if made.dim() != 1:
                raise TypeError(f"a storage is made of a flat sequence of numbers, got one of shape {list(made.shape)}")
        self._flat = made.to(as_device(device)) if device is not None else made

    @classmethod
    def _of(cls, flat: Tensor) -> TypedStorage:
        self = object.__new__(TypedStorage)
        self._flat = flat
        return self

    @property
    def dtype(self) -> d.dtype:
        """The type of the elements."""
        return self._flat.dtype

    @property
    def device(self) -> device:
        """Where the memory is."""
        return self._flat.device

    @property
    def is_cuda(self) -> bool:
        """Whether the memory is on a GPU."""
        return self._flat.is_cuda

    def untyped(self) -> UntypedStorage:
        """The memory as bytes."""
        return self._flat.untyped_storage()

    _untyped_storage = property(untyped)

    def size(self) -> int:
        """Number of elements."""
        return self._flat.numel()

    def __len__(self) -> int:
        return self._flat.numel()

    def nbytes(self) -> int:
        """Number of bytes."""
        return self._flat.nbytes

    def element_size(self) -> int:
        """Bytes of one element."""
        return self._flat.itemsize

    def data_ptr(self) -> int:
        """Address of the first element."""
        return self._flat.data_ptr()

    def get_device(self) -> int:
        """Index of the device; -1 on the CPU."""
        return self._flat.get_device()

    def tolist(self) -> list:
        """The elements as Python numbers."""
        return self._flat.tolist()

    def __iter__(self) -> Any:
        return iter(self.tolist())

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        if not isinstance(index, int):
            raise RuntimeError(f"can't index a {type(self).__name__} with {type(index).__name__}")
        return self._flat[self._checked(index)].item()

    def _checked(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} out of range for storage of size {len(self)}")
        return index

    def __setitem__(self, index: int | slice, value: Any) -> None:
        if not isinstance(index, (int, slice)):
            raise RuntimeError(f"can't index a {type(self).__name__} with {type(index).__name__}")
        self._flat[index if isinstance(index, slice) else self._checked(index)] = (
            value._flat if isinstance(value, TypedStorage) else value
        )

    def fill_(self, value: Any) -> TypedStorage:
        """Set every element."""
        self._flat.fill_(value)
        return self

    def copy_(self, source: TypedStorage, non_blocking: bool | None = None) -> TypedStorage:
        """Take over the elements of another storage of the same size, converted."""
        if len(source) != len(self):
            raise RuntimeError(f"size mismatch: a storage of {len(self)} elements cannot copy one of {len(source)}")
        self._flat.copy_(source._flat)
        return self

    def resize_(self, size: int) -> TypedStorage:
        """Refused unless the size stays: ``Tensor.resize_`` gives a tensor another storage."""
        if size != len(self):
            raise RuntimeError(f"Trying to resize storage that is not resizable (from {len(self)} to {size} elements)")
        return self

    def resizable(self) -> bool:
        """False, see :meth:`resize_`."""
        return False

    def is_pinned(self, device: Any = None) -> bool:
        """False: transfers need no pinned memory."""
        return False

    def pin_memory(self, device: Any = None) -> TypedStorage:
        """The storage itself: transfers need no pinned memory."""
        return self

    def is_shared(self) -> bool:
        """Whether the memory is shared with other processes, see ``Tensor.share_memory_``."""
        return self._flat.is_shared()

    def share_memory_(self) -> TypedStorage:
        """As ``Tensor.share_memory_``; the storage itself."""
        self._flat.share_memory_()
        return self

    def clone(self) -> TypedStorage:
        """A copy."""
        return TypedStorage._of(self._flat.clone())

    def to(self, *, device: Any, non_blocking: bool = False) -> TypedStorage:
        """A copy on another device, or the storage itself if it is there."""
        moved = self._flat.to(as_device(device))
        return self if moved is self._flat else TypedStorage._of(moved)

    def cpu(self) -> TypedStorage:
        """The storage on the CPU."""
        return self.to(device="cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> TypedStorage:
        """The storage on a GPU."""
        return self.to(device="cuda" if device is None else f"cuda:{device}" if isinstance(device, int) else device)

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """Name of the storage's class, or the storage converted to a storage class or its name."""
        if dtype is None:
            return f"torch{'.cuda' if self.is_cuda else ''}.{_NAMES.get(self.dtype, 'TypedStorage')}"
        found = TYPED.get(dtype.rsplit(".", 1)[-1]) if isinstance(dtype, str) else dtype
        if not isinstance(found, _Typed):
            raise ValueError(f"not a storage class: {dtype!r}")
        return self._converted(found.dtype)

    def pickle_storage_type(self) -> str:
        """The name of the class that checkpoints use for this dtype."""
        if self.dtype not in _NAMES:
            raise KeyError(f"no storage class stands for {self.dtype}; use untyped()")
        return _NAMES[self.dtype]

    def _converted(self, dtype: d.dtype) -> TypedStorage:
        moved = self._flat.to(dtype=dtype)
        return self if moved is self._flat else TypedStorage._of(moved)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TypedStorage):
            return NotImplemented
        return self.dtype is other.dtype and self.untyped() == other.untyped()

    def __hash__(self) -> int:
        return hash(self.untyped())

    def __copy__(self) -> TypedStorage:
        return self.clone()

    def __deepcopy__(self, memo: dict) -> TypedStorage:
        if id(self) not in memo:
            memo[id(self)] = self.clone()
        return memo[id(self)]

    def __reduce__(self) -> tuple:
        return TypedStorage._of, (self._flat.clone(),)

    def __repr__(self) -> str:
        told = f"[torch.storage.TypedStorage(dtype={self.dtype}, device={self.device}) of size {len(self)}]"
        return told if self.device.type == "meta" else "\n".join([*(f" {x}" for x in self.tolist()), told])

    @classmethod
    def from_buffer(
        cls, buffer: Any, byte_order: str = "native", count: int = -1, offset: int = 0, *, dtype: d.dtype | None = None
    ) -> TypedStorage:
        """A storage with a copy of the elements in an object with Python's buffer protocol.

        byte_order: 'native', 'little' or 'big'.   count: elements to take, all if negative.   offset: bytes to skip.
        """
        kind = (dtype or _dtype_of(cls)).numpy
        orders = {"native": "=", "little": "<", "big": ">"}
        if byte_order not in orders:
            raise ValueError(f"invalid byte_order '{byte_order}' (expected 'native', 'little' or 'big')")
        found = np.frombuffer(buffer, np.uint8, offset=offset)
        n = len(found) // kind.itemsize if count < 0 else count
        if n * kind.itemsize > len(found):
            raise ValueError(
                f"buffer has only {len(found)} bytes after offset {offset}, but {n} elements were asked for"
            )
        elements = found[: n * kind.itemsize].view(kind)
        if not np.dtype(f"{orders[byte_order]}u2").isnative:
            width = kind.itemsize // (2 if kind.kind == "c" else 1)
            elements = elements.view(f"u{width}").byteswap().view(kind)
        return TypedStorage._of(tensor(np.array(elements)))

    @classmethod
    def from_file(cls, filename: str, shared: bool = False, size: int = 0, *, dtype: d.dtype | None = None) -> Any:
        """A storage over a file's memory map, as ``torch.from_file``."""
        from .functions_settings import from_file

        return TypedStorage._of(from_file(filename, shared, size, dtype=dtype or _dtype_of(cls)))


def _dtype_of(cls: Any) -> d.dtype:
    return cls.dtype if isinstance(cls, _Typed) else d.get_default_dtype()


class _Typed(type):
    """Class of ``torch.FloatStorage`` and its kin: they make, and know, storages of one dtype."""

    dtype: d.dtype

    def __call__(cls, *args: Any, wrap_storage: UntypedStorage | None = None) -> TypedStorage:
        return TypedStorage(*args, wrap_storage=wrap_storage, dtype=cls.dtype)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, TypedStorage) and instance.dtype is cls.dtype


def _typed(name: str, kind: d.dtype) -> Any:
    told = f"``torch.TypedStorage(…, dtype={kind})``, under an old name."
    made = _Typed.__new__(_Typed, name, (), {"__module__": "torch", "__doc__": told, "dtype": kind})
    for each in ("from_buffer", "from_file"):
        setattr(made, each, classmethod(getattr(TypedStorage, each).__func__))
    return made


#: Storage classes of one dtype, by name.
TYPED: dict[str, Any] = {f"{kind}Storage": _typed(f"{kind}Storage", dtype) for kind, dtype in d.OLD_TYPES.items()}
_NAMES = {dtype: f"{kind}Storage" for kind, dtype in d.OLD_TYPES.items()}


def _conversions() -> None:
    names = {"double": d.float64, "float": d.float32, "half": d.float16, "bfloat16": d.bfloat16, "long": d.int64,
             "int": d.int32, "short": d.int16, "char": d.int8, "byte": d.uint8, "bool": d.bool_,
             "complex_double": d.complex128, "complex_float": d.complex64}  # fmt: skip
    for name, kind in names.items():

        def convert(self: Any, kind: d.dtype = kind) -> TypedStorage:
            return self._converted(kind)

        convert.__name__, convert.__doc__ = name, f"The elements as {kind}."
        setattr(TypedStorage, name, convert)


_conversions()


@function(namespace=None, method=True)
def storage(input: Tensor) -> TypedStorage:
    """The memory behind the tensor and its views, as a vector of its dtype."""
    warn_once(
        "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be the only storage "
        "class: use tensor.untyped_storage() instead of tensor.storage()"
    )
    base = input._base if input._is_view() else input
    flat = base.detach()._in_order().view(-1)
    return TypedStorage._of(flat if flat.dtype is input.dtype else flat.view(input.dtype))


@function(namespace=None, method=True)
def storage_type(input: Tensor) -> Any:
    """The storage class of the tensor's dtype."""
    return TYPED.get(_NAMES.get(input.dtype, ""), TypedStorage)
