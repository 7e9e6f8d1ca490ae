"""Tensors in safetensors files, by way of the library's NumPy side (``pip install pytorchlike[safetensors]``)."""

from __future__ import annotations

import json
import os
import struct
from types import TracebackType
from typing import Any, Self

import ml_dtypes
import numpy as np

from ..serialization._atomic import replacing_path
from ..serialization._reading import Source, Threads, open_raw
from ..serialization._save import place_of
from ..tensor import Tensor, host_tensor
from ..tensor.device import device as _device
from ..tensor.dtype import from_numpy_dtype
from ..tensor.interop import aligned_copy, aligned_empty

__all__ = ["load", "load_file", "safe_open", "save", "save_file"]

#: Types that the library describes but its NumPy side cannot make.
_NARROW = {
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
}


def _library() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "safetensors files need the safetensors library: pip install pytorchlike[safetensors]"
        ) from error
    return safetensors


# -- writing --------------------------------------------------------------------------------------------------------


def save_file(tensors: dict[str, Tensor], filename: str | os.PathLike, metadata: dict[str, str] | None = None) -> None:
    """Write named tensors to a safetensors file, replacing it atomically as ``torch.save`` does.

    metadata: texts for the file's header. Strides are not kept: views are written contiguously.

    Raises ValueError if ``tensors`` is not a dict of tensors, RuntimeError if several of them share memory (the format
    cannot say so), and the library's SafetensorError for dtypes it does not have (complex128).
    """
    library = _library()
    arrays = _arrays(tensors)
    with replacing_path(os.fsdecode(filename)) as temporary:
        library.numpy.save_file(arrays, temporary, metadata=metadata)


def save(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes that ``save_file`` would write."""
    return _library().numpy.save(_arrays(tensors), metadata=metadata)


def _arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    if not isinstance(tensors, dict):
        raise ValueError(f"Expected a dict of [str, torch.Tensor] but received {type(tensors)}")
    spans: dict[int, list[tuple[int, int, str]]] = {}
    for name, t in tensors.items():
        if not isinstance(t, Tensor):
            raise ValueError(f"Key `{name}` is invalid, expected torch.Tensor but received {type(t)}")
        if t.numel() and not t.is_meta:
            place = place_of(t)
            last = sum((n - 1) * s for n, s in zip(t.shape, place.stride, strict=True))
            spans.setdefault(id(place.memory.key), []).append((place.offset, place.offset + last, name))
    shared = [names for parts in spans.values() if (names := _overlapping(sorted(parts)))]
    if shared:
        raise RuntimeError(
            "Some tensors share memory, this will lead to duplicate memory on disk and potential differences when "
            f"loading them again: {shared}. Save one of each group, or clone() the others; torch.save keeps sharing."
        )
    return {name: np.asarray(t._host(), order="C") for name, t in tensors.items()}


def _overlapping(parts: list[tuple[int, int, str]]) -> list[str]:
    """Names of the spans that overlap another one."""
    found: dict[str, None] = {}
    reach, holder = -1, ""
    for first, last, name in parts:
        if first <= reach:
            found[holder] = found[name] = None
        if last > reach:
            reach, holder = last, name
    return sorted(found)


# -- reading --------------------------------------------------------------------------------------------------------


def load_file(filename: str | os.PathLike, device: Any = "cpu") -> dict[str, Tensor]:
    """The tensors of a safetensors file by their names, on ``device``.

    Raises FileNotFoundError, and the library's SafetensorError if the file is damaged.
    """
    with safe_open(filename, device=device) as file, open_raw(file._path) as raw:
        source, threads, begun = Source(raw, file._path), Threads(), {}
        try:
            for name in file.keys():
                view = file._file.get_slice(name)
                array = aligned_empty(view.get_shape(), _np_dtype(view.get_dtype()))
                where = memoryview(array.reshape(-1).view(np.uint8))
                begun[name] = array, threads.read(source, file._where(name)[0], where, summed=False)
            found = {}
            for name, (array, wait) in begun.items():
                wait()
                found[name] = host_tensor(array, file._device)
            return found
        finally:
            threads.close()


def load(data: bytes) -> dict[str, Tensor]:
    """The tensors in the bytes of a safetensors file."""
    found = {}
    for name, entry in _library().deserialize(data):
        np_dtype = _np_dtype(entry["dtype"])
        found[name] = host_tensor(aligned_copy(np.frombuffer(entry["data"], np_dtype).reshape(entry["shape"])), "cpu")
    return found


def _np_dtype(name: str) -> np.dtype:
    if name in _NARROW:
        return _NARROW[name]
    if name == "BOOL":
        return np.dtype(np.bool_)
    kind, bits = name[:1].lower(), name[1:]
    if kind not in "fiuc" or not bits.isdigit():
        raise TypeError(f"safetensors type {name} has no dtype here")
    np_dtype = np.dtype(f"{kind}{int(bits) // 8}")
    return from_numpy_dtype(np_dtype).numpy


class safe_open:
    """A safetensors file whose tensors are read one at a time; a context manager.

    framework: 'pt'; accepted for the library's signature.   device: where the tensors go.
    """

    def __init__(self, filename: str | os.PathLike, framework: str = "pt", device: Any = "cpu") -> None:
        if framework not in ("pt", "torch", "pytorch"):
            raise ValueError(
                f"safe_open makes torch tensors, not those of framework {framework!r}; use safetensors itself"
            )
        self._path = os.fsdecode(filename)
        self._device = _device(device)
        self._file = _library().safe_open(self._path, framework="np")
        self._places: dict[str, tuple[int, int]] | None = None

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)

    def keys(self) -> list[str]:
        """Names of the tensors."""
        return list(self._file.keys())

    def metadata(self) -> dict[str, str] | None:
        """The texts in the header."""
        return self._file.metadata()

    def get_tensor(self, name: str) -> Tensor:
        """One tensor."""
        return self._made(self._array(name))

    def get_slice(self, name: str) -> _Slice:
        """A tensor of which only the part that is indexed is read."""
        return _Slice(self, name, self._file.get_slice(name))

    def _made(self, array: np.ndarray) -> Tensor:
        return host_tensor(aligned_copy(array), self._device)

    def _array(self, name: str) -> np.ndarray:
        view = self._file.get_slice(name)
        narrow = _NARROW.get(view.get_dtype())
        if narrow is None:
            return self._file.get_tensor(name)
        # The library has checked the header: every tensor lies within the file.
        first, last = self._where(name)
        data = np.memmap(self._path, np.uint8, "r", first, (last - first,)) if last > first else np.empty(0, np.uint8)
        return np.asarray(data).view(narrow).reshape(view.get_shape())

    def _where(self, name: str) -> tuple[int, int]:
        """Where in the file the bytes of a tensor are."""
        if self._places is None:
            with open(self._path, "rb") as file:
                (size,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(size))
            self._places = {
                key: (8 + size + entry["data_offsets"][0], 8 + size + entry["data_offsets"][1])
                for key, entry in header.items()
                if key != "__metadata__"
            }
        return self._places[name]


class _Slice:
    """Part of a tensor in a file, chosen by indexing."""

    def __init__(self, file: safe_open, name: str, view: Any) -> None:
        self._file, self._name, self._view = file, name, view

    def get_shape(self) -> list[int]:
        """Size of the whole tensor."""
        return self._view.get_shape()

    def get_dtype(self) -> str:
        """The library's name of its type, such as 'F32'."""
        return self._view.get_dtype()

    def __getitem__(self, index: Any) -> Tensor:
        if self._view.get_dtype() in _NARROW:
            return self._file._made(self._file._array(self._name)[index])
        return self._file._made(self._view[index])
