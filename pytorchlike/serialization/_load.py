"""``torch.load``: files of PyTorch's zip format and of its two older ones."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from pickle import UnpicklingError
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from ..tensor.device import device
from ..tensor.interop import aligned_empty
from ..tensor.untyped import UntypedStorage
from . import _legacy, _rebuild
from ._globals import SafeNames, find_class
from ._reading import Source, open_raw
from ._rebuild import LoadedStorage, LoadedTyped, Placement, given
from ._unpickle import Skimmer, Unpickler
from ._zip import ZipReader, is_zip

__all__ = ["MAP_LOCATION", "get_unsafe_globals_in_checkpoint", "load"]

#: What ``map_location`` may be.
MAP_LOCATION: TypeAlias = Callable[[UntypedStorage, str], UntypedStorage] | device | str | dict[str, str] | None


def load(
    f: str | os.PathLike | BinaryIO,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Load what ``save``, ours or PyTorch's, has written.

    f:             a path, or a file object with ``read``, ``seek`` and ``tell``, read from where it stands. A path that
                   ends in '.safetensors' is read as such.
    map_location:  where tensors go: None (the device they were saved from), a device or its name, a dict from saved to
                   new names, or a function of a storage and its saved name that returns the storage (moved with
                   ``.cpu()``, ``.cuda(i)``, ``.to(device)``) or None.
    weights_only:  True (the default without ``pickle_module``) builds tensors and plain data only and can execute
                   nothing; further classes are allowed by ``torch.serialization.add_safe_globals``. False runs pickle,
                   and with it whatever the file says: only for files you trust. The environment variable
                   TORCH_FORCE_WEIGHTS_ONLY_LOAD=1 decides for all calls, TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 for those
                   that do not say.
    mmap:          map the file instead of reading it: tensors take their memory from it, unread until they are used.
                   Only for paths. Checksums of tensor data are not compared then.
    pickle_module, pickle_load_args: for ``weights_only=False``: a module with an ``Unpickler``, and its arguments.
                   ``encoding`` is that of strings written by Python 2.

    Raises FileNotFoundError; EOFError for an empty file or one that ends within a pickle; UnpicklingError for names and
    instructions that are refused, and for layouts that do not fit their storage; RuntimeError for a damaged archive,
    data whose checksum is wrong, and devices that are not here; ValueError and RuntimeError for mmap of what cannot be
    mapped.
    """
    weights_only = _weights_only(weights_only, pickle_module)
    if weights_only and pickle_module is not None:
        raise RuntimeError(
            "Can not safely load weights when explicit pickle_module is specified; pass weights_only=False if you "
            "trust the file"
        )
    encoding = pickle_load_args.get("encoding", "utf-8")
    if weights_only and set(pickle_load_args) - {"encoding"}:
        warnings.warn("pickle_load_args only works if `weights_only=False`.", UserWarning, stacklevel=2)
    path = os.fsdecode(f) if isinstance(f, (str, bytes, os.PathLike)) else None
    if path is not None and path.endswith(".safetensors"):
        return _load_safetensors(path, map_location)
    with _opened(f, path) as file:
        source = Source(file, path if path is not None else f"<{type(f).__name__}>")
        if source.size == 0:
            raise EOFError(f"Ran out of input: {source.name} is empty")
        placement = Placement(map_location, source.name)
        if weights_only:
            names = SafeNames()

            def run(data: bytes, persistent_load: Callable[[Any], Any], start: int = 0) -> Any:
                unpickler = Unpickler(
                    data,
                    start,
                    find=names.find,
                    persistent_load=persistent_load,
                    trusts=names.trusts,
                    encoding=encoding,
                )
                try:
                    return unpickler.load()
                except UnpicklingError as error:
                    raise UnpicklingError(_advice(str(error), source.name)) from error.__cause__
                except EOFError as error:
                    raise EOFError(f"{source.name}: {error}") from error

        else:
            module = pickle if pickle_module is None else pickle_module
            arguments = {"encoding": "utf-8", **pickle_load_args}

            def run(data: bytes, persistent_load: Callable[[Any], Any], start: int = 0) -> Any:
                return _run_pickle(module, data, start, persistent_load, arguments)

        if is_zip(source):
            return _load_zip(source, path, placement, run, bool(mmap))
        if mmap:
            raise RuntimeError(
                f"mmap can only be used with files saved with `torch.save(_use_new_zipfile_serialization=True)`; "
                f"{source.name} is of the older format. Load it without mmap and save it again."
            )
        return _legacy.load(source, placement, run)


def _load_safetensors(path: str, map_location: Any) -> dict[str, Any]:
    from ..utils.safetensors import load_file

    if map_location is not None and (isinstance(map_location, dict) or callable(map_location)):
        raise RuntimeError("Loading a safetensors file takes a device or its name as map_location, nothing else")
    return load_file(path, device="cpu" if map_location is None else map_location)


def _weights_only(asked: bool | None, pickle_module: Any) -> bool:
    """What the caller asked for, or the environment."""
    always, never = (
        os.environ.get(name, "").lower() in ("1", "y", "yes", "true")
        for name in ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    )
    if always and never:
        raise RuntimeError(
            "Only one of `TORCH_FORCE_WEIGHTS_ONLY_LOAD` or `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` should be set, but both "
            "were set."
        )
    if always:
        return True
    if asked is not None:
        return asked
    if never:
        warnings.warn(
            "torch.load runs pickle and what the file says, since TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set and "
            "weights_only was not passed", UserWarning, stacklevel=3)  # fmt: skip
        return False
    return pickle_module is None


def _advice(message: str, file: str) -> str:
    return (
        f"Weights only load failed for {file}: {message}\n"
        "If you trust the source of the file, either allow the named classes and functions as described above, or load "
        "it with `weights_only=False`, which can execute whatever the file says."
    )


@contextlib.contextmanager
def _opened(f: Any, path: str | None) -> Iterator[BinaryIO]:
    if path is not None:
        with open_raw(path) as file:
            yield file
        return
    for method in ("read", "seek", "tell"):
        if not callable(getattr(f, method, None)):
            raise AttributeError(
                f"'{type(f).__name__}' has no {method}. You can only torch.load from a file that is seekable. Please "
                "pre-load the data into a buffer like io.BytesIO and try to load from it instead."
            )
    yield f


def _run_pickle(module: Any, data: bytes, start: int, persistent_load: Callable[[Any], Any], arguments: dict) -> Any:
    import io

    class Trusting(module.Unpickler):
        def find_class(self, mod_name: str, name: str) -> Any:
            return find_class(mod_name, name, super().find_class)

        def persistent_load(self, pid: Any) -> Any:
            return persistent_load(pid)

    buffer = io.BytesIO(data)
    buffer.seek(start)
    return Trusting(buffer, **arguments).load()


def storage_id(pid: Any, extra: int = 0) -> tuple:
    """Type, key, location and length from the persistent id of a storage; ``extra`` more fields may follow."""
    if not isinstance(pid, tuple) or not pid or as_text(pid[0]) != "storage":
        raise UnpicklingError(f"Only persistent_load of storage is allowed, but got {_rebuild._short(pid)}")
    if not 5 <= len(pid) <= 5 + extra:
        raise UnpicklingError(f"the id of a storage has {len(pid)} fields instead of 5")
    kind, key, location, count = pid[1], as_text(pid[2]), as_text(pid[3]), pid[4]
    if not isinstance(kind, _rebuild.StorageType) or type(key) is not str or type(location) is not str:
        raise UnpicklingError(f"the id of a storage is not made of a storage type and names: {_rebuild._short(pid)}")
    if type(count) is not int or not 0 <= count < 2**60:
        raise UnpicklingError(f"storage {key}: its number of elements is {_rebuild._short(count)}")
    return kind, key, location, count


def as_text(value: Any) -> Any:
    """Names that Python 2 wrote may arrive as bytes."""
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


# -- the zip format -------------------------------------------------------------------------------------------------


def _load_zip(source: Source, path: str | None, placement: Placement, run: Callable[..., Any], mmap: bool) -> Any:
    if mmap and path is None:
        raise ValueError("f must be a file path in order to use the mmap argument")
    reader = ZipReader(source)
    try:
        if "constants.pkl" in reader:
            raise RuntimeError(
                f"{source.name} is a TorchScript archive (written by torch.jit.save), which load cannot run; save the "
                "state_dict with PyTorch and load that"
            )
        swap = _other_byte_order(reader)
        _check_version(reader)
        mapped = np.memmap(path, np.uint8, "r") if mmap and source.size else None
        storages: dict[str, LoadedStorage] = {}
        # Read while the pickle is being run; each record is complete and checked before anything can see it.
        ahead = _read_ahead(reader) if mapped is None and placement.wants_data else {}

        def persistent_load(pid: Any) -> LoadedStorage | LoadedTyped:
            kind, key, location, count = storage_id(pid)
            found = storages.get(key)
            if found is None:
                found = storages[key] = _read_storage(
                    reader, mapped, ahead, placement, kind, key, location, count, swap
                )
            elif count * kind.dtype.itemsize > found.length:
                raise UnpicklingError(f"storage {key} has {found.length} bytes, too few for {count} of {kind.name}")
            return given(found, kind)

        return run(reader.read("data.pkl"), persistent_load)
    finally:
        reader.close()


def _other_byte_order(reader: ZipReader) -> bool:
    """Whether the file was written on a machine of the other byte order; without a record of it, it is little."""
    order = reader.read("byteorder") if "byteorder" in reader else b"little"
    if order not in (b"little", b"big"):
        raise ValueError(f"Unknown endianness type: {order[:20]!r} (in {reader.source.name})")
    return order.decode() != sys.byteorder


def _check_version(reader: ZipReader) -> None:
    name = "version" if "version" in reader else ".data/version"
    if name not in reader:
        return
    text = reader.read(name)[:20]
    if not text.strip().isdigit() or not 1 <= int(text) <= 10:
        raise RuntimeError(
            f"PytorchStreamReader failed reading {reader.source.name}: its version {text!r} is not one of 1 to 10; it "
            "was written by a newer PyTorch or is damaged"
        )


_Begun = tuple[np.ndarray, Callable[[], None]]  # a buffer, and what waits until it is filled


def _begin(reader: ZipReader, name: str) -> _Begun:
    data = aligned_empty((reader.locate(name)[1],), np.dtype(np.uint8))
    return data, reader.start(name, memoryview(data))


def _read_ahead(reader: ZipReader) -> dict[str, _Begun]:
    if not reader.source.parallel:
        return {}
    return {name: _begin(reader, name) for name in reader.large("data/")}


def _read_storage(
    reader: ZipReader,
    mapped: np.ndarray | None,
    ahead: dict[str, _Begun],
    placement: Placement,
    kind: _rebuild.StorageType,
    key: str,
    location: str,
    count: int,
    swap: bool,
) -> LoadedStorage:
    name, width = f"data/{key}", kind.dtype.itemsize
    offset, size = reader.locate(name)
    wanted = count * width
    if not wanted <= size < wanted + max(width, 1):
        raise RuntimeError(
            f"PytorchStreamReader failed reading file {name}: the record has {size} bytes, but {count} elements of "
            f"{kind.name} need {wanted} (in {reader.source.name})"
        )
    where = None if placement.wants_bytes else placement.of(location)
    if where is not None and where.type == "meta":
        return LoadedStorage(key, kind.dtype, None, wanted, where, False)
    if mapped is not None:
        if offset + size > mapped.size:
            raise EOFError(f"{reader.source.name}: unexpected end of file within {name}")
        data = mapped[offset : offset + wanted].view(np.ndarray)
    else:
        data, wait = ahead.pop(name, None) or _begin(reader, name)
        wait()
        data = data[:wanted]
    if where is None:
        data, where = placement.ask(UntypedStorage(data), location)
        if where.type == "meta":
            return LoadedStorage(key, kind.dtype, None, wanted, where, False)
    return LoadedStorage(key, kind.dtype, data, wanted, where, swap)


# -- what a file would need -----------------------------------------------------------------------------------------


def get_unsafe_globals_in_checkpoint(f: str | os.PathLike | BinaryIO) -> list[str]:
    """Names in a file that ``load(f, weights_only=True)`` would refuse now, sorted. Nothing is built or called."""
    path = os.fsdecode(f) if isinstance(f, (str, bytes, os.PathLike)) else None
    names = SafeNames()
    with _opened(f, path) as file:
        source = Source(file, path if path is not None else f"<{type(f).__name__}>")
        if is_zip(source):
            reader = ZipReader(source)
            skimmer = Skimmer(reader.read("data.pkl"))
            skimmer.load()
        else:
            skimmer = _legacy.skim(source)
    return sorted(name for name in skimmer.globals if not names.allows(name))
