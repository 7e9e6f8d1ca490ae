"""The formats that PyTorch wrote before 1.6: a sequence of pickles with the storages behind them, and tar files (0.1).

Both put the object's pickle before (or beside) the data it refers to, so the pickle is skimmed first for the storages
it mentions, their places in the file are worked out and compared with its size, and only then is anything built.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numpy as np

from ..tensor.interop import aligned_empty
from ..tensor.untyped import UntypedStorage
from . import _rebuild
from ._reading import Source
from ._rebuild import LoadedStorage, Placement
from ._settings import MAGIC_NUMBER, PROTOCOL_VERSION
from ._unpickle import Allowed, Skimmer, Truncated, Unpickler

__all__ = ["load", "skim"]

_WINDOW = 1 << 20


def _plain_only(module: str, name: str) -> Allowed:
    found = _rebuild.find_storage(module, name) or _TENSORS.get((module, name))
    if found is None:
        raise UnpicklingError(f"{module}.{name} does not belong in the head of a checkpoint")
    return Allowed(found)


def _no_persistent(pid: Any) -> Any:
    raise UnpicklingError("unsupported persistent id encountered")


class _Head:
    """The pickles at the beginning of a file, read through a window that grows when one reaches beyond it."""

    def __init__(self, source: Source) -> None:
        self.source, self.at = source, 0
        self.data = source.read(0, min(_WINDOW, source.size))

    def step(self, make: Callable[[bytes, int], Unpickler]) -> tuple[Any, Unpickler]:
        """What the next pickle gives, and its interpreter; the position is then behind it."""
        while True:
            runner = make(self.data, self.at)
            try:
                result = runner.load()
            except Truncated as error:
                if len(self.data) >= self.source.size:
                    raise EOFError(f"Ran out of input: {self.source.name} ends within a pickle ({error})") from error
                self.data = self.source.read(0, min(4 * len(self.data), self.source.size))
                continue
            except UnpicklingError as error:
                raise UnpicklingError(f"{self.source.name} is not a checkpoint, or is damaged: {error}") from error
            self.at = runner.at
            return result, runner

    def plain(self) -> Any:
        return self.step(lambda data, at: Unpickler(data, at, find=_plain_only, persistent_load=_no_persistent))[0]

    def skim(self) -> Skimmer:
        runner = self.step(lambda data, at: Skimmer(data, at, find=_rebuild.find_storage))[1]
        assert isinstance(runner, Skimmer)
        return runner


def _begin(source: Source) -> tuple[_Head, bool]:
    """The file behind its greeting, and whether it is little-endian."""
    head = _Head(source)
    if head.plain() != MAGIC_NUMBER:
        raise RuntimeError(f"Invalid magic number; corrupt file? ({source.name})")
    version = head.plain()
    if version != PROTOCOL_VERSION:
        raise RuntimeError(f"Invalid protocol version: {version} ({source.name})")
    info = head.plain()
    return head, not isinstance(info, dict) or info.get("little_endian", info.get(b"little_endian", True)) is not False


def skim(source: Source) -> Skimmer:
    """Read over the object's pickle in a file of either old format, for the names in it."""
    if _is_tar(source):
        data = _tar_members(source)["pickle"]
        skimmer = Skimmer(source.read(*data))
        skimmer.load()
        return skimmer
    return _begin(source)[0].skim()


def load(source: Source, placement: Placement, run: Callable[..., Any]) -> Any:
    """The object in a file of either old format. ``run(data, persistent_load, start)`` interprets its pickle."""
    if _is_tar(source):
        return _load_tar(source, placement, run)
    head, little = _begin(source)
    start = head.at
    skimmer = head.skim()
    kinds = _storages_in(skimmer)
    keys = head.plain()
    if not isinstance(keys, list) or not all(isinstance(key, (str, bytes)) for key in keys):
        raise UnpicklingError(f"{source.name}: the list of its storages is damaged")
    places: dict[str, tuple[int, int]] = {}
    at = head.at
    order = "<" if little else ">"
    for key in map(_text, keys):
        kind = kinds.get(key)
        raw = source.read(at, 8)
        if len(raw) < 8:
            raise EOFError(f"{source.name}: unexpected end of file before storage {key}")
        if kind is None or key in places:
            raise UnpicklingError(f"{source.name}: storage {key} is listed but not used, or listed twice")
        size = struct.unpack(f"{order}q", raw)[0] * kind.dtype.itemsize
        if size < 0 or size > source.size - at - 8:
            raise EOFError(f"{source.name}: unexpected end of file: storage {key} of {size} bytes at byte {at + 8}")
        places[key] = at + 8, size
        at += 8 + size
    storages: dict[Any, LoadedStorage] = {}

    def persistent_load(pid: Any) -> Any:
        from ._load import storage_id

        if isinstance(pid, tuple) and len(pid) == 4 and _text(pid[0]) == "module":
            return pid[1]  # a class, saved with its source code, which is of no use here
        kind, key, location, count = storage_id(pid, extra=1)
        found = storages.get(key)
        if found is None:
            if key not in places:
                raise UnpicklingError(f"storage {key} is not in the file")
            found = storages[key] = _read(source, places[key], kind.dtype, key, location, placement, little)
        if count * kind.dtype.itemsize > found.length:
            raise UnpicklingError(f"storage {key} has {found.length} bytes, too few for {count} of {kind.name}")
        view = pid[5] if len(pid) > 5 else None
        return _rebuild.given(found if view is None else _slice(storages, found, kind.dtype, view), kind)

    result = run(head.data, persistent_load, start)
    source.file.seek(source.start + at)  # where the next object may follow
    return result


def _storages_in(skimmer: Skimmer) -> dict[str, _rebuild.StorageType]:
    """The types of all storages that the object's pickle mentions."""
    kinds: dict[str, _rebuild.StorageType] = {}
    for pid in skimmer.persistent_ids:
        if isinstance(pid, tuple) and len(pid) >= 3 and _text(pid[0]) == "storage":
            kind, key = pid[1], _text(pid[2])
            if isinstance(kind, _rebuild.StorageType) and isinstance(key, str):
                kinds.setdefault(key, kind)
    return kinds


def _text(value: Any) -> Any:
    return value.decode("latin1") if isinstance(value, bytes) else value


def _read(
    source: Source, place: tuple[int, int], dtype: np.dtype, key: str, location: str, placement: Placement, little: bool
) -> LoadedStorage:
    at, size = place
    where = None if placement.wants_bytes else placement.of(location)
    if where is not None and where.type == "meta":
        return LoadedStorage(key, dtype, None, size, where, False)
    data = aligned_empty((size,), np.dtype(np.uint8))
    source.read_into(at, memoryview(data))
    if where is None:
        data, where = placement.ask(UntypedStorage(data), location)
    if where.type == "meta":
        return LoadedStorage(key, dtype, None, size, where, False)
    return LoadedStorage(key, dtype, data, size, where, little != (sys.byteorder == "little"))


def _slice(storages: dict[Any, LoadedStorage], root: LoadedStorage, dtype: np.dtype, view: Any) -> LoadedStorage:
    """A part of a storage under its own key, as versions before 0.4.1 could write; it becomes a copy."""
    ok = isinstance(view, tuple) and len(view) == 3 and all(type(n) is int and 0 <= n < 2**60 for n in view[1:])
    if not ok or (view[1] + view[2]) * dtype.itemsize > root.length:
        raise UnpicklingError(f"storage {root.key}: a part of it, {_rebuild._short(view)}, lies outside")
    key = ("part", _text(view[0]))
    found = storages.get(key)
    if found is None:
        start, size = view[1] * dtype.itemsize, view[2] * dtype.itemsize
        meta = root.device.type == "meta"
        data = None if meta else root._bytes()[start : start + size].copy()
        found = storages[key] = LoadedStorage(str(view[0]), dtype, data, size, root.device, root.swap)
    return found


# -- tar files ------------------------------------------------------------------------------------------------------

_TENSORS = {
    ("torch", kind.name.removesuffix("Storage") + "Tensor"): kind
    for kind in _rebuild.STORAGES.values()
    if "Untyped" not in kind.name
}


def _is_tar(source: Source) -> bool:
    return source.read(257, 5) == b"ustar"


def _tar_members(source: Source) -> dict[str, tuple[int, int]]:
    """Offset and size of each member. Only names are looked at; nothing is extracted."""
    found: dict[str, tuple[int, int]] = {}
    at = 0
    while True:
        header = source.read(at, 512)
        if len(header) < 512 or not header.strip(b"\0"):
            break
        name = header[:100].split(b"\0")[0].decode("latin1").removeprefix("./")
        try:
            size = int(header[124:136].strip(b"\0 ") or b"0", 8)
        except ValueError:
            size = -1
        if size < 0 or size > source.size - at - 512:
            raise EOFError(f"{source.name}: member {name!r} of this tar file reaches beyond its end")
        if name in found:
            raise RuntimeError(f"{source.name}: member {name!r} occurs twice in this tar file")
        found[name] = at + 512, size
        at += 512 + -(-size // 512) * 512
    missing = [name for name in ("storages", "tensors", "pickle") if name not in found]
    if missing:
        raise RuntimeError(f"{source.name} is a tar file without {', '.join(missing)}: not one of PyTorch's")
    return found


class _Part(Source):
    """A member of a tar file as a source of its own."""

    def __init__(self, source: Source, at: int, size: int) -> None:
        self.file, self.name, self.start, self.size, self._fd = source.file, source.name, source.start + at, size, None


def _count(value: Any, source: Source) -> int:
    if type(value) is not int or not 0 <= value <= source.size:
        raise UnpicklingError(f"{source.name}: invalid number of entries {_rebuild._short(value)}")
    return value


def _load_tar(source: Source, placement: Placement, run: Callable[..., Any]) -> Any:
    members = _tar_members(source)
    objects: dict[Any, Any] = {}
    part = _Part(source, *members["storages"])
    head = _Head(part)
    for _ in range(_count(head.plain(), part)):
        entry = head.plain()
        if not isinstance(entry, tuple) or len(entry) != 3 or not isinstance(entry[2], _rebuild.StorageType):
            raise UnpicklingError(f"{source.name}: a storage's entry is damaged")
        key, location, kind = _key(entry[0]), _text(entry[1]), entry[2]
        raw = part.read(head.at, 8)
        size = struct.unpack("<q", raw)[0] * kind.dtype.itemsize if len(raw) == 8 else -1
        if size < 0 or size > part.size - head.at - 8:
            raise EOFError(f"{source.name}: unexpected end of file within storage {key}")
        objects[key] = _read(part, (head.at + 8, size), kind.dtype, str(key), str(location), placement, True)
        head.at += 8 + size
        if head.at > len(head.data):
            head.data = part.read(0, min(head.at + _WINDOW, part.size))
    for entry in head.plain() or ():
        if (
            not isinstance(entry, tuple)
            or len(entry) != 4
            or not isinstance(objects.get(_key(entry[1])), LoadedStorage)
        ):
            raise UnpicklingError(f"{source.name}: a part of a storage is damaged")
        root = objects[_key(entry[1])]
        objects[_key(entry[0])] = _slice({}, root, root.dtype, (str(entry[0]), entry[2], entry[3]))
    _tar_tensors(_Part(source, *members["tensors"]), objects)

    def persistent_load(pid: Any) -> Any:
        if isinstance(pid, tuple) and pid:
            return pid[0]  # a class, saved with its source code
        found = objects.get(_key(pid))
        if found is None:
            raise UnpicklingError(f"object {_rebuild._short(pid)} is not in the file")
        return found

    return run(source.read(*members["pickle"]), persistent_load)


def _key(value: Any) -> int:
    if isinstance(value, (str, bytes)) and len(value) < 30:
        value = int(value)
    if type(value) is not int:
        raise UnpicklingError(f"the key of a storage or tensor is {_rebuild._short(value)}, no number")
    return value


def _tar_tensors(part: Source, objects: dict[Any, Any]) -> None:
    head = _Head(part)
    for _ in range(_count(head.plain(), part)):
        entry = head.plain()
        if (
            not isinstance(entry, tuple)
            or len(entry) != 3
            or not isinstance(objects.get(_key(entry[1])), LoadedStorage)
        ):
            raise UnpicklingError(f"{part.name}: a tensor's entry is damaged")
        raw = part.read(head.at, 8)
        ndim = struct.unpack("<i4x", raw)[0] if len(raw) == 8 else -1
        body = part.read(head.at + 8, 16 * ndim + 8) if 0 <= ndim <= 64 else b""
        if not 0 <= ndim <= 64 or len(body) != 16 * ndim + 8:
            raise UnpicklingError(f"{part.name}: a tensor of {ndim} dimensions, or cut off")
        numbers = struct.unpack(f"<{2 * ndim + 1}q", body)
        storage = objects[_key(entry[1])]
        made = storage.tensor(storage.dtype, numbers[-1], numbers[:ndim], numbers[ndim : 2 * ndim])
        objects[_key(entry[0])] = made
        head.at += 16 + 16 * ndim
