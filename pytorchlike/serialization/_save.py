"""``torch.save``: objects to PyTorch's zip format, or to its older sequence of pickles."""

from __future__ import annotations

import functools
import io
import math
import os
import pickle
import struct
import sys
import warnings
from collections import OrderedDict
from types import CellType, FunctionType
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..tensor import Size, Tensor
from ..tensor import dtype as _dtypes
from ..tensor.asking import Asked
from ..tensor.device import device
from ..tensor.storage import through_array
from ..tensor.typed_storage import TypedStorage
from ..tensor.untyped import UntypedStorage
from . import _rebuild
from ._atomic import replacing
from ._globals import their_name
from ._settings import DEFAULT_PROTOCOL, MAGIC_NUMBER, PROTOCOL_VERSION
from ._zip import ALIGNMENT, ZipWriter

__all__ = ["save"]


def save(
    obj: object,
    f: str | os.PathLike | BinaryIO,
    pickle_module: Any = None,
    pickle_protocol: int = DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Save ``obj`` so that ``load``, ours or PyTorch's, brings it back.

    Tensors that share memory do so again after loading, and views keep their strides and offset. A path is replaced
    atomically: whatever happens (an exception, a full disk, a kill), it holds the whole old or the whole new file.

    obj:              tensors, Parameters, state_dicts, containers, anything that pickle takes.
    f:                a path, or an object with ``write``.
    pickle_module:    a module with a ``Pickler`` built on Python's, as dill and cloudpickle; by default pickle.
    pickle_protocol:  2 to 5. PyTorch's own ``weights_only`` loading reads 2.
    _use_new_zipfile_serialization: False writes the format that PyTorch used before 1.6.

    Raises AttributeError if ``f`` is neither path nor writable, RuntimeError if the directory does not exist or if
    tensors show the same memory as different dtypes, OSError if writing fails, PicklingError and TypeError for objects
    that cannot be pickled. Nothing is written before pickling has succeeded.
    """
    path = os.fsdecode(f) if isinstance(f, (str, bytes, os.PathLike)) else None
    if path is None and not callable(getattr(f, "write", None)):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")
    if pickle_protocol not in (2, 3, 4, 5):
        raise ValueError(f"pickle_protocol must be 2, 3, 4 or 5, got {pickle_protocol!r}")
    if _use_new_zipfile_serialization:
        data, storages = pickled(obj, pickle_module, pickle_protocol, legacy=False)

        def write(file: BinaryIO) -> None:
            _write_zip(file, _archive_name(path), data, storages)
    else:
        data, storages = pickled(obj, pickle_module, pickle_protocol, legacy=True)

        def write(file: BinaryIO) -> None:
            _write_legacy(file, data, storages, pickle_protocol)

    if path is None:
        write(f)
        if hasattr(f, "flush"):
            f.flush()
        return
    with replacing(path) as file:
        write(file)


def _archive_name(path: str | None) -> str:
    name = "" if path is None else os.path.basename(path).rsplit(".", 1)[0]
    plain = name.isascii() and name.isprintable() and not set(name) & set("\\/:") and name not in ("", ".", "..")
    return name if plain else "archive"


# -- where tensors lie ----------------------------------------------------------------------------------------------


class _Memory(NamedTuple):
    """A storage to be written: what identifies it, what holds its values, and how they are found there."""

    key: Any
    source: Any  # a Tensor or NumPy array
    order: tuple[int, ...] | None  # permutation to write in, or indices to leave out: see _lone
    dtype: np.dtype
    nbytes: int


class _Place(NamedTuple):
    memory: _Memory
    offset: int
    stride: tuple[int, ...]


def place_of(t: Tensor) -> _Place:
    """The storage of a tensor, and its offset and strides (in elements) there."""
    meta = t._get().meta
    alias = t._alias
    dtype = meta.dtype
    if alias is None:
        return _lone(t)
    storage = alias.storage
    if storage.host is not None:
        root_shape, root_dtype, source = storage.host.shape, storage.host.dtype, storage.host
    else:
        root = storage.value.meta
        root_shape, root_dtype, source = root.shape, root.dtype, Tensor._of(storage.value)
    memory = _Memory(storage, source, None, dtype, math.prod(root_shape) * root_dtype.itemsize)
    if not alias.chain:
        return _Place(memory, 0, _contiguous(meta.shape))
    # Views run on memory that is never touched: only addresses and strides are looked at. NumPy's types stand in
    # for those of ml_dtypes, on which some of its stride functions fail.
    stand_in = root_dtype if root_dtype.isbuiltin == 1 else np.dtype(f"u{root_dtype.itemsize}")
    dummy = np.empty(root_shape, stand_in)
    view = through_array(dummy, alias.chain)
    size = dtype.itemsize
    shown = (
        not any(step.entry.name == "conj" for step in alias.chain)  # which shows other values than the memory has
        and isinstance(view, np.ndarray)
        and view.dtype == (stand_in if root_dtype == dtype else dtype)
        and view.shape == meta.shape
    )
    if shown:
        start = view.__array_interface__["data"][0] - dummy.__array_interface__["data"][0]
        reach = start + sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True)) + size
        reach = reach if view.size else start
        inside = 0 <= start and reach <= dummy.nbytes and start % size == 0 and dummy.nbytes % size == 0
        if inside and all(s >= 0 and s % size == 0 for s in view.strides):
            return _Place(memory, start // size, tuple(s // size for s in view.strides))
    own = _Memory(t, t, None, dtype, meta.size * size)  # no view of that memory after all
    return _Place(own, 0, _contiguous(meta.shape))


def _lone(t: Tensor) -> _Place:
    """A tensor with a storage to itself. Strides from a view of something gone are kept if they leave no gaps."""
    shape, dtype = t._value.meta.shape, t._value.meta.dtype
    stride = tuple(t.stride()) if hasattr(t, "_layout") else _contiguous(shape)
    order: tuple[int, ...] | None = None
    if stride != _contiguous(shape) and 0 not in shape:
        small = tuple(1 if s == 0 else n for n, s in zip(shape, stride, strict=True))
        found = _rebuild._memory_order(small, stride)
        if found is None:
            stride = _contiguous(shape)
        else:
            order = tuple(found)
            shape = small
    return _Place(_Memory(t, t, order, dtype, math.prod(shape) * dtype.itemsize), 0, stride)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    out, step = [], 1
    for n in reversed(shape):
        out.append(step)
        step *= max(n, 1)
    return tuple(reversed(out))


def bytes_of(memory: _Memory) -> memoryview:
    """The bytes of a storage, on the host."""
    source = memory.source
    array = source if isinstance(source, np.ndarray) else source._host()
    if memory.order is not None:
        stride = source.stride()
        array = array[tuple(slice(0, 1) if s == 0 else slice(None) for s in stride)].transpose(memory.order)
    # The contiguity of NumPy's scalars-with-dtype is lost on memoryview: bytes have no such trouble.
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if data.nbytes != memory.nbytes:
        raise RuntimeError(f"a storage of {memory.nbytes} bytes has become one of {data.nbytes} while saving")
    return memoryview(data)


# -- pickling -------------------------------------------------------------------------------------------------------


class _Named:
    """Stands in a pickle for a global of PyTorch's."""

    __slots__ = ("module", "name")

    def __init__(self, full: str) -> None:
        self.module, self.name = full.rsplit(".", 1)

    def __call__(self, *args: Any) -> Any:
        """Not here; only the unpickler calls it. (The pickler insists on callables.)"""
        raise TypeError(f"{self.module}.{self.name} is only a name")


class _Stored:
    """Stands in a pickle for a storage."""

    __slots__ = ("pid",)

    def __init__(self, pid: tuple) -> None:
        self.pid = pid


class _Plain:
    """Stands in a pickle for the data of a Parameter or of a tensor with attributes."""

    __slots__ = ("requires_grad", "tensor")

    def __init__(self, tensor: Tensor, requires_grad: bool) -> None:
        self.tensor, self.requires_grad = tensor, requires_grad


def _named(full: str) -> _Named:
    found = _names.get(full)
    if found is None:
        found = _names[full] = _Named(full)
    return found


_names: dict[str, _Named] = {}


@functools.lru_cache(1024)
def _sizes(numbers: tuple[int, ...]) -> bytes:
    """A tuple of ints as a pickle of protocol 2 has it."""
    head, end = 2, 1  # bytes of a pickle around an object in it
    return pickle.MARK + b"".join(pickle.dumps(n, 2)[head:-end] for n in numbers) + pickle.TUPLE


#: Python's own table of how things are written. (dill puts functions of its own into that of ``pickle``.)
_DISPATCH = {
    kind: getattr(pickle._Pickler, f"save_{name}")
    for kind, name in (
        (type(None), "none"), (bool, "bool"), (int, "long"), (float, "float"), (str, "str"), (bytes, "bytes"),
        (bytearray, "bytearray"), (pickle.PickleBuffer, "picklebuffer"), (tuple, "tuple"), (list, "list"),
        (dict, "dict"), (set, "set"), (frozenset, "frozenset"), (type, "type"),
    )
}  # fmt: skip
_DISPATCH[FunctionType] = lambda pickler, fn: pickler.save_global(fn)  # which is not Python's, see below
_PLAIN = (str, int, bool, float, bytes, type(None), tuple, list, dict)
_DIRECT = {kind: _DISPATCH[kind] for kind in _PLAIN}


def _asked(fn: FunctionType) -> Asked | None:
    """What stands in front of a public function since it was handed out, see ``tensor.asking``."""
    public = getattr(sys.modules.get(fn.__module__), fn.__qualname__, None)
    return public if type(public) is Asked and public == fn else None


class _TorchPickler:
    """Mixed into a pure Python pickler: writes tensors and their kin as PyTorch's pickles have them."""

    storages: dict[str, _Memory]
    _keys: dict[int, str]
    _legacy: bool
    _direct: dict[type, Any]  # how objects of Python's own types are written, where no subclass has a say

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if self._direct:
            self.framer.commit_frame()  # type: ignore[attr-defined]
            known = self.memo.get(id(obj))  # type: ignore[attr-defined]
            if known is not None:
                self.write(self.get(known[0]))  # type: ignore[attr-defined]
                return
            write = self._direct.get(type(obj))
            if write is not None:
                write(self, obj)
                return
        super().save(obj, save_persistent_id)  # type: ignore[misc]

    def save_reduce(self, func: Any, args: Any, *more: Any, obj: Any = None, **named: Any) -> None:
        if not self._direct or more or named or not args or type(args[0]) is not _Stored:
            super().save_reduce(func, args, *more, obj=obj, **named)  # type: ignore[misc]
            return
        # A tensor. Nobody else refers to what is made for it only, so that needs no place in the memo.
        self.save(func)
        write = self.write  # type: ignore[attr-defined]
        write(pickle.MARK + pickle.MARK)
        tag, kind, key, *rest = args[0].pid
        self.save(tag)
        self.save(kind)
        write(pickle.BINUNICODE + struct.pack("<I", len(key)) + key.encode())
        for part in rest:
            self.save(part)
        write(pickle.TUPLE + pickle.BINPERSID)
        for part in args[1:]:
            if type(part) is OrderedDict and not part:
                self.save(OrderedDict)
                write(pickle.EMPTY_TUPLE + pickle.REDUCE)
            elif type(part) is tuple:
                write(_sizes(part))
            else:
                self.save(part)
        write(pickle.TUPLE + pickle.REDUCE)
        self.memoize(obj)  # type: ignore[attr-defined]

    def persistent_id(self, obj: Any) -> Any:
        if type(obj) is _Stored:
            return obj.pid
        if isinstance(obj, UntypedStorage):
            return self._storage_id(obj)
        if isinstance(obj, TypedStorage) and obj._flat._value.meta.dtype in _rebuild.STORAGE_NAMES:
            return None if obj._flat.is_meta else self._typed_id(obj._flat)
        return None

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if isinstance(obj, Tensor):
            return self._reduce_tensor(obj)
        if kind is _Plain:
            return self._reduce_plain(obj.tensor, obj.requires_grad)
        if kind is _Named:
            return obj.name
        if kind is _dtypes.dtype:
            return obj._name
        if kind is _dtypes.memory_format:
            return repr(obj).removeprefix("torch.")
        if kind is _dtypes.layout:
            return _named("torch.serialization._get_layout"), (repr(obj),)
        if kind is device:
            return _named("torch.device"), ((obj.type,) if obj.index is None else (obj.type, obj.index))
        if kind is Size:
            return _named("torch.Size"), (tuple(obj),)
        if kind is FunctionType and _asked(obj) is not None:
            return obj.__qualname__
        parent = getattr(super(), "reducer_override", None)
        return NotImplemented if parent is None else parent(obj)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        kind = type(obj)
        if kind is _Named:
            module, name = obj.module, obj.name
        elif kind is _dtypes.dtype or kind is _dtypes.memory_format:
            module = "torch"
        elif obj is Tensor or obj is Size or obj is device:
            module, name = "torch", obj.__name__
        elif kind is FunctionType and (public := _asked(obj)) is not None:
            module, name = their_name(obj, public=public) or (obj.__module__, obj.__qualname__)
        elif isinstance(obj, type) and issubclass(obj, Tensor) and obj.__module__ == "pytorchlike.nn.parameter":
            module, name = "torch.nn.parameter", obj.__name__
        elif (theirs := their_name(obj, name)) is not None:  # whole modules are PyTorch's there
            module, name = theirs
        else:
            super().save_global(obj, name)  # type: ignore[misc]
            return
        if self.proto >= 4:  # type: ignore[attr-defined]
            self.save(module)  # type: ignore[attr-defined]
            self.save(name)  # type: ignore[attr-defined]
            self.write(pickle.STACK_GLOBAL)  # type: ignore[attr-defined]
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())  # type: ignore[attr-defined]
        self.memoize(obj)  # type: ignore[attr-defined]

    # ---- tensors -----------------------------------------------------------------------------------------------

    def _reduce_tensor(self, t: Tensor) -> tuple:
        from ..nn.parameter import Parameter, is_lazy

        kind = type(t)
        if kind is not Tensor and kind is not Parameter:
            if is_lazy(t):
                return t.__reduce_ex__(2)
            if hasattr(kind, "_saved"):
                name, args = t._saved()
                return _named(name), args
            if kind.__reduce_ex__ not in (Tensor.__reduce_ex__, Parameter.__reduce_ex__):
                return t.__reduce_ex__(self.proto)  # type: ignore[attr-defined]
        state = {name: value for name, value in t.__dict__.items() if name not in _rebuild._OWN}
        requires_grad = t.requires_grad
        _warn_of_hooks(t)
        if kind is Parameter:
            args = (_Plain(t, False), requires_grad, OrderedDict())
            if state:
                return _named("torch._utils._rebuild_parameter_with_state"), (*args, state)
            return _named("torch._utils._rebuild_parameter"), args
        func, args = self._reduce_plain(t, requires_grad)
        if kind is Tensor and not state:
            return func, args
        return _named("torch._tensor._rebuild_from_type_v2"), (func, kind, args, state)

    def _reduce_plain(self, t: Tensor, requires_grad: bool) -> tuple:
        meta = t._get().meta
        dtype = _dtypes.from_numpy_dtype(meta.dtype)
        if t.is_meta:
            args = (dtype, tuple(meta.shape), tuple(t.stride()), requires_grad)
            return _named("torch._utils._rebuild_meta_tensor_no_storage"), args
        place = place_of(t)
        name = _rebuild.STORAGE_NAMES.get(meta.dtype)
        stored = _Stored(self._memory_id(place.memory, name, meta.dtype, t.device))
        layout = (stored, place.offset, tuple(meta.shape), place.stride, requires_grad, OrderedDict())
        if name:
            return _named("torch._utils._rebuild_tensor_v2"), layout
        return _named("torch._utils._rebuild_tensor_v3"), (*layout, dtype)

    def _memory_id(self, memory: _Memory, name: str | None, dtype: np.dtype, where: device) -> tuple:
        """What stands for memory of that dtype; ``name``: of the storage's class, if there is one for it."""
        count = memory.nbytes // (dtype.itemsize if name else 1)
        kind = _named(f"torch.{name}" if name else "torch.storage.UntypedStorage")
        pid = ("storage", kind, self._key(memory), sys.intern(str(where)), count)
        return (*pid, None) if self._legacy else pid

    def _typed_id(self, flat: Tensor) -> tuple:
        dtype = flat._value.meta.dtype
        return self._memory_id(place_of(flat).memory, _rebuild.STORAGE_NAMES[dtype], dtype, flat.device)

    def _storage_id(self, storage: UntypedStorage) -> tuple:
        root, nbytes = storage._root, storage.nbytes()
        byte = np.dtype(np.uint8)
        if isinstance(root, np.ndarray):
            memory = _Memory(storage, root, None, byte, nbytes)
        else:
            memory = place_of(root).memory._replace(dtype=byte)
        return self._memory_id(memory, None, byte, storage.device)

    def _key(self, memory: _Memory) -> str:
        key = self._keys.get(id(memory.key))
        if key is None:
            key = self._keys[id(memory.key)] = str(len(self._keys))
            self.storages[key] = memory
        elif self.storages[key].dtype != memory.dtype:
            first, second = self.storages[key].dtype, memory.dtype
            raise RuntimeError(
                "Cannot save multiple tensors or storages that view the same data as different types "
                f"({first} and {second}); save a clone() of one of them"
            )
        return key


def _warn_of_hooks(t: Tensor) -> None:
    hooks = t._hooks or getattr(t._value.node, "hooks", None)
    if hooks:
        warnings.warn(
            f"backward hook {next(iter(hooks.values()))!r} on tensor will not be serialized; register it again after "
            "loading",
            UserWarning,
            stacklevel=2,
        )


def _in_python(kind: Any, module: Any) -> type:
    """A class of picklers as one on Python's own pickler, which alone can write functions under PyTorch's names.

    cloudpickle's rests on the one in C: it is made again, class by class.
    """
    if isinstance(kind, type) and issubclass(kind, pickle._Pickler):
        return kind
    if not (isinstance(kind, type) and issubclass(kind, pickle.Pickler)):
        raise ValueError(
            f"pickle_module {module.__name__}: its Pickler is derived from neither pickle.Pickler nor pickle._Pickler, "
            "so tensors cannot be written under PyTorch's names; use pickle, dill or cloudpickle"
        )
    made: dict[type, type] = {pickle.Pickler: pickle._Pickler}
    for part in reversed(kind.__mro__):
        if part in made or not issubclass(part, pickle.Pickler):
            continue
        cell = CellType()
        # the pickler in C knows no table of that name, and Python's own means something else by it
        left_out = ("__dict__", "__weakref__", "__slots__", "dispatch")
        space = {name: _with_class(value, cell) for name, value in vars(part).items() if name not in left_out}
        made[part] = type(part)(part.__name__, tuple([made.get(b, b) for b in part.__bases__]), space)
        cell.cell_contents = made[part]
    return made[kind]


def _with_class(value: Any, cell: CellType) -> Any:
    """A method whose ``super()`` is that of another class; anything else as it is."""
    if isinstance(value, (classmethod, staticmethod)):
        return type(value)(_with_class(value.__func__, cell))
    if isinstance(value, property):
        return property(*[_with_class(f, cell) for f in (value.fget, value.fset, value.fdel)], value.__doc__)
    if not isinstance(value, FunctionType) or "__class__" not in value.__code__.co_freevars:
        return value
    names = value.__code__.co_freevars
    closure = tuple([cell if n == "__class__" else c for n, c in zip(names, value.__closure__ or (), strict=True)])
    made = FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, closure)
    made.__kwdefaults__ = value.__kwdefaults__
    return made


def pickled(obj: object, module: Any, protocol: int, legacy: bool) -> tuple[bytes, dict[str, _Memory]]:
    """The pickle of an object, and the storages it refers to by their keys, in the order of their first use."""
    base = pickle._Pickler if module is None or module is pickle else _in_python(module.Pickler, module)
    space: dict[str, Any] = {"_direct": _DIRECT if base is pickle._Pickler else {}}
    if base.dispatch is pickle._Pickler.dispatch:  # type: ignore[attr-defined]
        space["dispatch"] = _DISPATCH
    kind = type("Pickler", (_TorchPickler, base), space)
    buffer = io.BytesIO()
    pickler = kind(buffer, protocol=protocol)
    pickler.storages, pickler._keys, pickler._legacy = {}, {}, legacy
    pickler.dump(obj)
    return buffer.getvalue(), pickler.storages


# -- writing --------------------------------------------------------------------------------------------------------


def _write_zip(file: BinaryIO, archive: str, data: bytes, storages: dict[str, _Memory]) -> None:
    with ZipWriter(file, archive) as writer:
        writer.add("data.pkl", data)
        # Says that the storages lie in the order of their numbers, aligned like this: readers may compute the offsets.
        writer.add(".format_version", b"1")
        writer.add(".storage_alignment", str(ALIGNMENT).encode())
        writer.add("byteorder", sys.byteorder.encode())
        for key, memory in storages.items():
            writer.add(f"data/{key}", bytes_of(memory))


def _write_legacy(file: BinaryIO, data: bytes, storages: dict[str, _Memory], protocol: int) -> None:
    info = {
        "protocol_version": PROTOCOL_VERSION,
        "little_endian": sys.byteorder == "little",
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    head = b"".join(pickle.dumps(part, protocol) for part in (MAGIC_NUMBER, PROTOCOL_VERSION, info))
    keys = sorted(storages)
    write_all(file, head + data + pickle.dumps(keys, protocol))
    for key in keys:
        memory = storages[key]
        width = memory.dtype.itemsize if memory.dtype in _rebuild.STORAGE_NAMES else 1
        write_all(file, struct.pack("=q", memory.nbytes // width))
        write_all(file, bytes_of(memory))


def write_all(file: BinaryIO, data: Any) -> None:
    """Write a buffer to a file whose ``write`` may write less than it is given."""
    view = memoryview(data)
    while view.nbytes:
        done = file.write(view)
        if done is None:
            return
        view = view[done:]
