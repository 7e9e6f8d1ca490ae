"""From the names and storages in a checkpoint to tensors: what the unpicklers call."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numpy as np

from ..autograd.mode import no_grad
from ..tensor import Size, Tensor, host_tensor
from ..tensor import dtype as _dtypes
from ..tensor import functions as T
from ..tensor.device import available, device
from ..tensor.interop import aligned_empty
from ..tensor.typed_storage import TypedStorage
from ..tensor.untyped import UntypedStorage
from ._unpickle import Allowed, Unpickler

_MAX_DIMS = 64


class StorageType:
    """The class of a storage as checkpoints name it: ``torch.FloatStorage`` and its kin."""

    __slots__ = ("dtype", "name")

    def __init__(self, name: str, dtype: np.dtype) -> None:
        self.name, self.dtype = name, dtype

    def __repr__(self) -> str:
        return f"StorageType({self.name})"


_KINDS = {**_dtypes.OLD_TYPES, "Untyped": _dtypes.uint8, "_Untyped": _dtypes.uint8}

#: By their names in ``torch`` and ``torch.storage``.
STORAGES = {f"{name}Storage": StorageType(f"{name}Storage", kind.numpy) for name, kind in _KINDS.items()}

#: The storage class that PyTorch writes for a dtype; dtypes without one go through UntypedStorage.
STORAGE_NAMES = {kind.numpy: f"{name}Storage" for name, kind in _dtypes.OLD_TYPES.items()}


def find_storage(module: str, name: str) -> StorageType | None:
    """The storage class of that name, if it is one."""
    return STORAGES.get(name) if module in ("torch", "torch.storage", "torch.cuda") else None


# -- where storages go ----------------------------------------------------------------------------------------------


def check_device(where: str, file: str) -> device:
    """The device that a location tag means. Raises RuntimeError if this process does not have it."""
    try:
        found = device(where)
    except RuntimeError:
        found = None
    if found is None or (found.type not in ("cpu", "meta", "cuda", "tpu")):
        raise RuntimeError(
            f"don't know how to restore data location of a storage (tagged with {where}) in {file}; pass map_location, "
            "for example map_location='cpu'"
        )
    if found.type in ("cpu", "meta"):
        return device(found.type)
    found = found.canonical()
    try:
        found.jax()
    except RuntimeError as error:
        raise RuntimeError(
            f"Attempting to deserialize object on device '{where}' ({file}), which is not available here (available: "
            f"{', '.join(available())}). If you are running on a CPU-only machine, please use torch.load with "
            "map_location=torch.device('cpu') to map your storages to the CPU."
        ) from error
    return found


class Placement:
    """Applies ``map_location``: None, a device or its name, a dict from old to new tags, or a function."""

    def __init__(self, map_location: Any, file: str) -> None:
        if isinstance(map_location, bytes):
            map_location = map_location.decode()
        known = map_location is None or isinstance(map_location, (str, device, dict))
        if not known and not callable(map_location):
            raise TypeError(
                "map_location must be a device, its name, a dict of names or a function, not "
                f"{type(map_location).__name__}"
            )
        self.map, self.file = map_location, file
        self._known: dict[str, device] = {}

    @property
    def wants_bytes(self) -> bool:
        """Whether a function is to see each storage."""
        return callable(self.map)

    @property
    def wants_data(self) -> bool:
        """Whether the bytes of storages will be needed: not where some or all of them go to ``meta``."""
        return not isinstance(self.map, dict) and not (isinstance(self.map, (str, device)) and str(self.map) == "meta")

    def of(self, location: str) -> device:
        """The device for storages of this tag, as far as no function decides."""
        found = self._known.get(location)
        if found is None:
            target = location
            if isinstance(self.map, dict):
                target = self.map.get(location, location)
            elif isinstance(self.map, (str, device)):
                target = self.map
            found = self._known[location] = check_device(str(target), self.file)
        return found

    def ask(self, storage: UntypedStorage, location: str) -> tuple[np.ndarray, device]:
        """The bytes and device that a function answers; its None means the tag's own device."""
        answer = self.map(storage, location)
        if answer is None:
            return storage._bytes(), self.of(location)
        if not isinstance(answer, UntypedStorage):
            raise TypeError(f"map_location returned a {type(answer).__name__} instead of a storage or None")
        if answer.nbytes() != storage.nbytes():
            raise RuntimeError(f"map_location returned {answer.nbytes()} bytes for a storage of {storage.nbytes()}")
        return answer._bytes(), answer.device


# -- storages and tensors -------------------------------------------------------------------------------------------


def swap_bytes(data: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The bytes of elements that were stored in the other byte order."""
    width = dtype.itemsize // (2 if dtype.kind == "c" else 1)
    return data if width == 1 else data.view(f"u{width}").byteswap().view(np.uint8)


class LoadedStorage(UntypedStorage):
    """A storage of a checkpoint: its bytes (or just their number, for ``meta``), and the tensors that show them."""

    __slots__ = ("base", "dtype", "key", "length", "swap")

    def __init__(
        self, key: str, dtype: np.dtype, data: np.ndarray | None, length: int, where: device, swap: bool
    ) -> None:
        super().__init__(np.empty(0, np.uint8) if data is None else data, where)
        self.key, self.dtype, self.length, self.swap = key, dtype, length, swap
        self.base: Tensor | None = None

    def nbytes(self) -> int:
        return self.length

    def tensor(self, dtype: np.dtype, offset: Any, size: Any, stride: Any) -> Tensor:
        """The tensor of that layout; all of one storage share it.

        Raises UnpicklingError if an element would lie outside the storage.
        """
        size, stride = self._checked(dtype, offset, size, stride)
        count = math.prod(size)
        order = _memory_order(size, stride) if offset == 0 and count * dtype.itemsize == self.length else None
        in_order = order is not None and order == list(range(len(size)))
        with no_grad():
            base = self.base
            if base is None:
                shape = (self.length // dtype.itemsize,) if order is None else tuple(size[d] for d in order)
                self.base = base = self._span(dtype, shape)
                if order is not None:
                    return base if in_order else base.permute(tuple(int(d) for d in np.argsort(order)))
            elif base._value.meta.dtype != dtype:
                return self._copied(dtype, offset, size, stride)
            base = base.detach()
            if in_order and base._value.meta.shape == size:
                return base
            once = tuple(n if s or n == 0 else 1 for n, s in zip(size, stride, strict=True))
            shown = T.as_strided(base, once, stride, offset)
            return shown if once == size else shown.expand(size)

    def _checked(self, dtype: np.dtype, offset: Any, size: Any, stride: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Size and stride as tuples, once every element is known to lie in the storage."""
        if not isinstance(size, (tuple, list)) or not isinstance(stride, (tuple, list)) or type(offset) is not int:
            raise UnpicklingError(f"storage {self.key}: size, stride and offset of a tensor are not tuples and an int")
        size, stride = tuple(size), tuple(stride)
        if len(size) != len(stride) or len(size) > _MAX_DIMS:
            raise UnpicklingError(
                f"storage {self.key}: a tensor of {len(size)} dims and {len(stride)} strides (at most {_MAX_DIMS})"
            )
        if any(type(n) is not int or not 0 <= n < 2**63 for n in (*size, *stride, offset)):
            raise UnpicklingError(
                f"storage {self.key}: size, stride and offset of a tensor must be ints in [0, 2**63), got "
                f"{_short(size)}, {_short(stride)}, {_short(offset)}"
            )
        if math.prod(n for n in size if n) >= 2**63:
            raise UnpicklingError(f"storage {self.key}: a tensor of size {_short(size)} is too large")
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) + 1
        if 0 in size:
            last = 0
        if last * dtype.itemsize > self.length:
            raise UnpicklingError(
                f"storage {self.key}: sizes {_short(size)}, strides {_short(stride)} and storage offset {offset} "
                f"require {last * dtype.itemsize} bytes, but the storage has {self.length}"
            )
        return size, stride

    def _elements(self, dtype: np.dtype) -> np.ndarray:
        """The bytes as elements of ``dtype``; as many as there are whole ones."""
        data = self._bytes()
        data = data[: self.length // dtype.itemsize * dtype.itemsize]
        if data.ctypes.data % dtype.itemsize:
            moved = aligned_empty((data.size,), np.dtype(np.uint8))
            moved[...] = data
            data = moved
        if self.swap:
            data = swap_bytes(data, dtype)
        if dtype.kind == "b" and data.size and data.max() > 1:
            data = (data != 0).view(np.uint8)  # any other byte is no valid bool to XLA
        return data.view(dtype)

    def _span(self, dtype: np.dtype, shape: tuple[int, ...]) -> Tensor:
        """The tensor that all others of this storage are views of."""
        if self.device.type == "meta":
            return meta_tensor(shape, dtype)
        data = self._elements(dtype) if self.length else np.empty(0, dtype)
        return host_tensor(data.reshape(shape), self.device)

    def _copied(self, dtype: np.dtype, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        """A tensor of its own, where tensors of two dtypes are stored in the same bytes."""
        if self.device.type == "meta":
            return meta_tensor(size, dtype)
        if math.prod(size) * dtype.itemsize > self.length:
            raise UnpicklingError(f"storage {self.key}: tensors of different dtypes overlap themselves in it")
        bits = self._elements(dtype)[offset:].view(f"V{dtype.itemsize}")  # NumPy cannot stride over ml_dtypes' types
        view = np.lib.stride_tricks.as_strided(bits, size, tuple(s * dtype.itemsize for s in stride))
        return host_tensor(view.copy().view(dtype), self.device)


def _memory_order(size: tuple[int, ...], stride: tuple[int, ...]) -> list[int] | None:
    """Dimensions from the outermost in memory to the innermost, if the elements lie there without gaps or overlap."""
    plain = list(range(len(size)))
    if 0 in size or _dense(size, stride, plain):
        return plain
    # The stride of a dimension of size 1 says nothing, so those go first.
    order = sorted(plain, key=lambda d: (size[d] != 1, -stride[d], d))
    return order if _dense(size, stride, order) else None


def _dense(size: tuple[int, ...], stride: tuple[int, ...], order: list[int]) -> bool:
    expected = 1
    for d in reversed(order):
        if size[d] != 1:
            if stride[d] != expected:
                return False
            expected *= size[d]
    return True


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"


def meta_tensor(size: tuple[int, ...], dtype: np.dtype) -> Tensor:
    """A tensor with a shape but no data."""
    return T.empty(size, dtype=_dtypes.from_numpy_dtype(dtype), device="meta")


# -- what the pickles call ------------------------------------------------------------------------------------------


def _need(ok: bool, function: str, expected: str) -> None:
    if not ok:
        raise UnpicklingError(f"{function}: expected {expected}")


def _finish(tensor: Tensor, requires_grad: Any, metadata: Any) -> Tensor:
    _need(type(requires_grad) is bool, "_rebuild_tensor", "a bool for requires_grad")
    if metadata:
        _need(type(metadata) is dict and set(metadata) <= {"conj", "neg"}, "_rebuild_tensor", "only conj and neg")
        with no_grad():
            # The bits that PyTorch sets instead of computing are carried out here.
            tensor = T.conj_physical(tensor) if metadata.get("conj") else tensor
            tensor = -tensor if metadata.get("neg") else tensor
    return tensor.requires_grad_(True) if requires_grad else tensor


class LoadedTyped(TypedStorage):
    """A storage of a checkpoint as its elements, for those who have saved one; tensors are made of what it wraps."""

    __slots__ = ("loaded",)

    def __init__(self, loaded: LoadedStorage) -> None:
        self.loaded = loaded

    @property
    def _flat(self) -> Tensor:  # type: ignore[override]
        loaded = self.loaded
        return loaded.tensor(loaded.dtype, 0, (loaded.length // loaded.dtype.itemsize,), (1,))


def given(loaded: LoadedStorage, kind: StorageType) -> LoadedStorage | LoadedTyped:
    """What stands in a pickle for a storage of that class."""
    return loaded if "Untyped" in kind.name else LoadedTyped(loaded)


def _storage(value: Any, function: str) -> LoadedStorage:
    value = getattr(value, "loaded", value)
    _need(isinstance(value, LoadedStorage), function, f"a storage, got {type(value).__name__}")
    return value


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    storage = _storage(storage, "_rebuild_tensor")
    return storage.tensor(storage.dtype, offset, size, stride)


def rebuild_tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
) -> Tensor:
    return _finish(rebuild_tensor(storage, offset, size, stride), requires_grad, metadata)


def rebuild_tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any, metadata: Any = None
) -> Tensor:
    storage = _storage(storage, "_rebuild_tensor_v3")
    _need(type(dtype) is _dtypes.dtype, "_rebuild_tensor_v3", "a dtype")
    return _finish(storage.tensor(dtype.numpy, offset, size, stride), requires_grad, metadata)


def rebuild_parameter(data: Any, requires_grad: Any, hooks: Any) -> Tensor:
    from ..nn.parameter import Parameter  # late: saving and loading tensors does not need nn

    _need(isinstance(data, Tensor) and type(requires_grad) is bool, "_rebuild_parameter", "a tensor and a bool")
    return Parameter(data, requires_grad)


def rebuild_parameter_with_state(data: Any, requires_grad: Any, hooks: Any, state: Any) -> Tensor:
    return set_state(rebuild_parameter(data, requires_grad, hooks), state)


def rebuild_meta_tensor(dtype: Any, size: Any, stride: Any, requires_grad: Any) -> Tensor:
    name = "_rebuild_meta_tensor_no_storage"
    _need(type(dtype) is _dtypes.dtype, name, "a dtype")
    unbounded = LoadedStorage("of a meta tensor", dtype.numpy, None, 2**63, device("meta"), False)
    size, _ = unbounded._checked(dtype.numpy, 0, size, stride)
    return _finish(meta_tensor(size, dtype.numpy), requires_grad, None)


def rebuild_device_tensor(data: Any, dtype: Any, where: Any, requires_grad: Any) -> Tensor:
    """Tensors of backends that PyTorch saves through the CPU (XLA); they stay there unless the place is ours."""
    name = "_rebuild_device_tensor_from_cpu_tensor"
    _need(isinstance(data, Tensor) and type(dtype) is _dtypes.dtype and type(where) is str, name, "a tensor, a dtype")
    moved = data.to(dtype=dtype)
    if where.split(":")[0] in ("cuda", "tpu"):
        moved = moved.to(check_device(where, "the checkpoint"))
    return _finish(moved.detach(), requires_grad, None)


def rebuild_sparse_tensor(layout: Any, data: Any) -> Tensor:
    """A sparse tensor; its indices are checked, as nothing else would keep them inside it."""
    name = "_rebuild_sparse_tensor"
    _need(type(layout) is _dtypes.layout and type(data) is tuple, name, "a layout and its parts")
    _need(3 <= len(data) <= 4, name, "3 or 4 parts")
    coo = layout is _dtypes.sparse_coo
    count = 2 if coo else 3
    _need(all(type(part) is Tensor for part in data[:count]), name, "tensors")
    _need(isinstance(data[count], (tuple, list)) and all(type(n) is int for n in data[count]), name, "a size")
    from ..sparse._create import sparse_compressed_tensor, sparse_coo_tensor  # late: few checkpoints need it

    if not coo:
        return sparse_compressed_tensor(*data, layout=layout, check_invariants=True)
    told = bool(data[3]) if len(data) == 4 else False
    return sparse_coo_tensor(*data[:3], is_coalesced=told, check_invariants=True)


def rebuild_nested_tensor(*args: Any) -> Tensor:
    """A nested tensor as this package saves it: values, lengths, the ragged dimension, layout, requires_grad."""
    name = "nested tensor"
    _need(len(args) == 5 and type(args[0]) is Tensor and type(args[1]) is list, name, "values and lengths")
    values, lengths, at, layout, requires_grad = args
    _need(all(type(n) is int and n >= 0 for n in lengths), name, "lengths that are not negative")
    _need(type(at) is int and 1 <= at <= values.dim(), name, "a dimension of the values")
    _need(sum(lengths) == values.shape[at - 1], name, "lengths that fit")
    _need(layout in (_dtypes.jagged, _dtypes.strided) and type(requires_grad) is bool, name, "a layout and a bool")
    from ..nested._tensor import _rebuild  # late: few checkpoints need it

    return _rebuild(values, lengths, at, layout, requires_grad)


def rebuild_from_type(func: Any, kind: Any, args: Any, state: Any) -> Tensor:
    """A tensor of a subclass, or with attributes."""
    _need(any(func is known for known in _REBUILDERS), "_rebuild_from_type_v2", "one of PyTorch's rebuild functions")
    _need(type(args) is tuple and isinstance(kind, type) and issubclass(kind, Tensor), "_rebuild_from_type_v2", "types")
    made = func(*args)
    if type(made) is not kind and kind is not Tensor:
        made = Tensor._make_subclass(kind, made.detach(), made.requires_grad)
    return set_state(made, state)


def set_state(tensor: Tensor, state: Any) -> Tensor:
    """Give a tensor the attributes it was saved with; those that would hide its own are refused."""
    slots = None
    if type(state) is tuple and len(state) == 2:
        state, slots = state
    for part in (state, slots):
        _need(part is None or isinstance(part, dict), "attributes of a tensor", "a dict")
        for name, value in (part or {}).items():
            _need(
                type(name) is str and not name.startswith("__") and not hasattr(Tensor, name) and name not in _OWN,
                "attributes of a tensor", f"names that tensors do not use themselves, got {_short(name)}",
            )  # fmt: skip
            tensor.__dict__[name] = value
    return tensor


#: Attributes by which tensors keep their own state.
_OWN = frozenset({"_value", "_alias", "_layout", "_bumps", "_frozen", "_own_grad", "_hooks", "_watch", "_retains",
                  "_name"})  # fmt: skip


def get_layout(name: Any) -> Any:
    found = getattr(_dtypes, name.removeprefix("torch."), None) if type(name) is str else None
    _need(isinstance(found, _dtypes.layout), "_get_layout", f"the name of a layout, got {_short(name)}")
    return found


def _encode(text: Any, encoding: Any = "utf-8", errors: Any = "strict") -> bytes:
    """``_codecs.encode``, by which protocol 2 writes bytes; other codecs than these few could unpack or transform."""
    _need(type(text) is str and encoding in ("latin1", "latin-1", "utf-8", "ascii"), "_codecs.encode", "latin1 text")
    _need(errors in ("strict", "surrogatepass"), "_codecs.encode", "strict errors")
    return text.encode(encoding, errors)


def _bytearray(data: Any = b"", encoding: Any = None) -> bytearray:
    if type(data) is str:
        return bytearray(_encode(data, encoding))
    _need(type(data) is bytes and encoding is None, "bytearray", "bytes")
    return bytearray(data)


def _complex(real: Any = 0.0, imag: Any = 0.0) -> complex:
    _need(type(real) in (int, float) and type(imag) in (int, float), "complex", "two numbers")
    return complex(real, imag)


def _guard(items: Any) -> Unpickler:
    """Bounds the hashing of items."""
    guard = Unpickler(b"", find=_refuse, persistent_load=_refuse)
    guard.hashing += 16 * len(items)
    return guard


def _set(items: Any = ()) -> set:
    _need(type(items) in (list, tuple), "set", "a list")
    made: set = set()
    _guard(items).add_items(made, list(items))
    return made


def _frozenset(items: Any = ()) -> frozenset:
    return frozenset(_set(items))


def _refuse(*args: Any) -> Any:
    raise UnpicklingError(f"refused: {_short(args)}")


def _ordered_dict(items: Any = ()) -> OrderedDict:
    _need(type(items) in (list, tuple), "OrderedDict", "a list of pairs")
    made: OrderedDict = OrderedDict()
    _need(all(type(pair) in (list, tuple) and len(pair) == 2 for pair in items), "OrderedDict", "a list of pairs")
    guard = _guard(items)
    for key, value in items:
        guard.check_key(key)
        made[key] = value
    return made


def _counter(counts: Any = None) -> Counter:
    _need(counts is None or type(counts) is dict, "Counter", "a dict")
    return Counter(counts)


def _size(dims: Any = ()) -> Size:
    _need(type(dims) in (tuple, list) and all(type(n) is int for n in dims), "torch.Size", "ints")
    return Size(dims)


def _device(kind: Any, index: Any = None) -> device:
    _need(type(kind) is str and (index is None or type(index) is int), "torch.device", "a name and an index")
    return device(kind) if index is None else device(kind, index)


def _make_parameter(data: Any = None, requires_grad: Any = True) -> Tensor:
    return rebuild_parameter(data, requires_grad, None)


_REBUILDERS = (
    rebuild_tensor, rebuild_tensor_v2, rebuild_tensor_v3, rebuild_parameter, rebuild_parameter_with_state,
    rebuild_meta_tensor, rebuild_device_tensor,
)  # fmt: skip


def torch_name(full: str) -> Allowed | None:
    """What a checkpoint means by a name of PyTorch's; None if it may not use it unless the user adds it."""
    table = _torch_names()
    found = table.get(full)
    if found is None and full == "torch.nn.parameter.Parameter":
        from ..nn.parameter import Parameter  # late: files of plain tensors do not need nn

        found = table[full] = Allowed(Parameter, _make_parameter)
    return found


def _torch_names() -> dict[str, Allowed]:
    global _table
    if _table is not None:
        return _table
    from ..tensor.random import _restore

    table = {f"torch.{name}": Allowed(value) for name, value in {**_dtypes._CANONICAL, **_dtypes._QUANTISED}.items()}
    for name in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d"):
        table[f"torch.{name}"] = Allowed(getattr(_dtypes, name))
    for name, kind in STORAGES.items():
        table[f"torch.{name}"] = table[f"torch.storage.{name}"] = table[f"torch.cuda.{name}"] = Allowed(kind)
    calls: dict[str, Callable[..., Any]] = {
        "torch._utils._rebuild_tensor": rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": rebuild_tensor_v2,
        "torch._utils._rebuild_tensor_v3": rebuild_tensor_v3,
        "torch._utils._rebuild_parameter": rebuild_parameter,
        "torch._utils._rebuild_parameter_with_state": rebuild_parameter_with_state,
        "torch._utils._rebuild_meta_tensor_no_storage": rebuild_meta_tensor,
        "torch._utils._rebuild_device_tensor_from_cpu_tensor": rebuild_device_tensor,
        "torch._utils._rebuild_sparse_tensor": rebuild_sparse_tensor,
        "pytorchlike.nested._tensor._rebuild": rebuild_nested_tensor,
        "torch._tensor._rebuild_from_type_v2": rebuild_from_type,
        "torch.serialization._get_layout": get_layout,
    }
    table.update({name: Allowed(func, func) for name, func in calls.items()})
    table.update({
        "torch.Tensor": Allowed(Tensor),
        "torch.Size": Allowed(Size, _size),
        "torch.device": Allowed(device, _device),
        "pytorchlike.tensor.random._restore": Allowed(_restore, _generator),
        "collections.OrderedDict": Allowed(OrderedDict, _ordered_dict),
        "collections.Counter": Allowed(Counter, _counter),
        "_codecs.encode": Allowed(_encode, _encode),
        "builtins.bytearray": Allowed(bytearray, _bytearray),
        "builtins.set": Allowed(set, _set),
        "builtins.frozenset": Allowed(frozenset, _frozenset),
        "builtins.complex": Allowed(complex, _complex),
    })  # fmt: skip
    _table = table
    return table


def _generator(place: Any, seed: Any, offset: Any) -> Any:
    from ..tensor.random import _restore

    _need(type(place) is device and type(seed) is int and type(offset) is int, "Generator", "device, seed and offset")
    _need(0 <= seed < 2**64 and 0 <= offset < 2**64, "Generator", "a seed and an offset in [0, 2**64)")
    return _restore(place, seed, offset)


_table: dict[str, Allowed] | None = None
