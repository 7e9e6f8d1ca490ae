"""Settings of reading and writing, and what programs ask of storages' locations."""

from __future__ import annotations

import contextlib
import enum
import mmap
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

from ..tensor.device import device
from ..tensor.typed_storage import TypedStorage
from ..tensor.untyped import UntypedStorage
from ._rebuild import STORAGE_NAMES, check_device

__all__ = [
    "DEFAULT_PROTOCOL", "MAGIC_NUMBER", "PROTOCOL_VERSION", "LoadEndianness", "SourceChangeWarning",
    "check_module_version_greater_or_equal", "default_byte_order",
    "default_restore_location", "get_crc32_options", "get_default_load_endianness", "get_default_mmap_options",
    "location_tag", "mkdtemp", "normalize_storage_type", "register_package", "set_crc32_options",
    "set_default_load_endianness", "set_default_mmap_options", "skip_data", "storage_to_tensor_type",
    "validate_cuda_device", "validate_hpu_device",
]  # fmt: skip

DEFAULT_PROTOCOL = 2
"""The pickle protocol of files, unless another is asked for."""
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
"""With the magic number the head of the layout from before PyTorch 1.6."""


class SourceChangeWarning(Warning):
    """The source of a pickled module has changed. Nothing here warns so: sources are not saved."""


class LoadEndianness(enum.Enum):
    """The byte order of files that do not say theirs."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


class _Settings:
    endianness: LoadEndianness | None = None
    crc32 = True


def get_default_load_endianness() -> LoadEndianness | None:
    """What was set; None stands for little-endian."""
    return _Settings.endianness


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """The byte order of files of ``torch.save`` that do not say theirs. TypeError for anything else."""
    if endianness is not None and not isinstance(endianness, LoadEndianness):
        raise TypeError("Invalid argument type in function set_default_load_endianness")
    _Settings.endianness = endianness


def default_byte_order() -> str:
    """That setting as ``sys.byteorder`` would say it."""
    import sys

    return {LoadEndianness.NATIVE: sys.byteorder, LoadEndianness.BIG: "big"}.get(_Settings.endianness, "little")


def get_crc32_options() -> bool:
    """What was set; True at first."""
    return _Settings.crc32


def set_crc32_options(compute_crc32: bool) -> None:
    """Kept for programs that ask. Checksums are always written: they cost little, and ``torch.load`` checks them."""
    _Settings.crc32 = bool(compute_crc32)


def get_default_mmap_options() -> int | None:
    """``mmap.MAP_PRIVATE``: ``torch.load(mmap=True)`` never writes to the file."""
    return getattr(mmap, "MAP_PRIVATE", None)


class set_default_mmap_options:
    """How ``torch.load(mmap=True)`` maps files, which is ``mmap.MAP_PRIVATE``.

    Also a context manager. ValueError for other flags than that and MAP_SHARED, NotImplementedError for MAP_SHARED.
    """

    def __init__(self, flags: int) -> None:
        if flags == getattr(mmap, "MAP_SHARED", None):
            raise NotImplementedError("torch.serialization: files are mapped privately; tensors that share memory with "
                                      "a file are made by torch.from_file(shared=True)")  # fmt: skip
        if flags != get_default_mmap_options():
            raise ValueError(f"Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or "
                             f"mmap.MAP_SHARED, but got {flags}")  # fmt: skip

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: Any) -> None:
        return None


@contextlib.contextmanager
def mkdtemp() -> Iterator[str]:
    """A directory that is gone afterwards."""
    path = tempfile.mkdtemp()
    try:
        yield path
    finally:
        shutil.rmtree(path)


def check_module_version_greater_or_equal(module: Any, req_version_tuple: tuple,
                                          error_if_malformed: bool = True) -> bool:
    """Whether ``module.__version__`` is at least this. RuntimeError for one that cannot be read, or a warning."""
    try:
        version = module.__version__.split(".")
        return tuple(type(r)(v) for r, v in zip(req_version_tuple, version, strict=False)) >= tuple(req_version_tuple)
    except Exception as error:
        told = f"'{module.__name__}' module version string is malformed '{module.__version__}' and cannot be compared "
        told += f"with tuple {req_version_tuple}"
        if error_if_malformed:
            raise RuntimeError(told) from error
        warnings.warn(f"{told}, but continuing assuming that requirement is met", stacklevel=2)
        return True


def location_tag(storage: TypedStorage | UntypedStorage) -> str:
    """How a file says where a storage was: 'cpu', 'cuda:0', 'meta' ..."""
    where = storage.device
    return where.type if where.type in ("cpu", "meta") else str(where.canonical())


def default_restore_location(storage: TypedStorage | UntypedStorage, location: str) -> TypedStorage | UntypedStorage:
    """The storage on the device that a tag means. RuntimeError if there is none such."""
    where = check_device(str(location), "the file")
    return storage if storage.device == where else storage.to(device=where)


def validate_cuda_device(location: str) -> int:
    """The index of a GPU from its tag. RuntimeError if it is not there."""
    return check_device(str(location), "the file").index or 0


def validate_hpu_device(location: str) -> NoReturn:
    """RuntimeError: there are no such devices."""
    raise RuntimeError(f"Attempting to deserialize object on {device(location)} but JAX has no HPU devices; use "
                       "torch.load with map_location=torch.device('cpu')")  # fmt: skip


def normalize_storage_type(storage_type: Any) -> Any:
    """The storage class of ``torch`` with the name of this one (which may be that of ``torch.cuda``)."""
    from .. import storage

    return getattr(storage, storage_type.__name__)


def storage_to_tensor_type(storage: TypedStorage) -> str:
    """The name of the tensors' type that a storage is for, such as 'torch.FloatTensor'."""
    return f"torch.{STORAGE_NAMES[storage.dtype.numpy].removesuffix('Storage')}Tensor"


def register_package(priority: int, tagger: Any, deserializer: Any) -> NoReturn:
    """NotImplementedError: devices are those that JAX has."""
    raise NotImplementedError("torch.serialization.register_package: devices are those that JAX has; torch.load takes "
                              "a function as map_location")  # fmt: skip


class skip_data:
    """Files without the data of their storages: NotImplementedError on entering."""

    def __init__(self, materialize_fake_tensors: bool = False) -> None:
        self.materialize_fake_tensors = materialize_fake_tensors

    def __enter__(self) -> NoReturn:
        raise NotImplementedError("torch.serialization.skip_data: files are written with their data; torch.load with "
                                  "map_location='meta' reads none")  # fmt: skip

    def __exit__(self, *error: Any) -> None:
        return None
