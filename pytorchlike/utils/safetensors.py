"""Tensors in safetensors files, by way of the library's NumPy side (``pip install pytorchlike[safetensors]``)."""

from __future__ import annotations

import json
import os
import struct
from types import TracebackType
from typing import Any, Self

import ml_dtypes
import numpy as np

from ..serialization._atomic import replacing
from ..serialization._save import place_of, write_all
from ..tensor import Tensor, host_tensor
from ..tensor.device import device as _device
from ..tensor.dtype import from_numpy_dtype
from ..tensor.interop import aligned_copy

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
    parts = _parts(tensors, metadata)
    with replacing(os.fsdecode(filename)) as file:
        for part in parts:
            write_all(file, part)


def save(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes that ``save_file`` would write."""
    return b"".join(_parts(tensors, metadata))


def _parts(tensors: dict[str, Tensor], metadata: dict[str, str] | None) -> list[Any]:
    """The file, piece by piece.

    The library begins the data at a multiple of 8 bytes. Here it is one of 64, and tensors of as many bytes come first,
    so that they can be used where the file is mapped.
    """
    library = _library()
    arrays = _arrays(tensors)
    for key, text in (metadata or {}).items():
        if type(key) is not str or type(text) is not str:
            raise TypeError(f"metadata of a safetensors file must be texts by their names, got {key!r}: {text!r}")
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    data, end = [], 0
    for name in sorted(arrays, key=lambda n: (arrays[n].nbytes % 64 != 0, -arrays[n].itemsize, n)):
        array = arrays[name]
        header[name] = {"dtype": _name_of(array.dtype, library), "shape": list(array.shape),
                        "data_offsets": [end, end + array.nbytes]}  # fmt: skip
        end += array.nbytes
        data.append(array.reshape(-1).view(np.uint8).data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return [struct.pack("<Q", len(text)) + text, *data]


def _name_of(np_dtype: np.dtype, library: Any) -> str:
    for name, narrow in _NARROW.items():
        if np_dtype == narrow:
            return name
    kind, bits = np_dtype.kind, 8 * np_dtype.itemsize
    if kind == "b":
        return "BOOL"
    if kind not in "iufc" or bits > 64:
        raise library.SafetensorError(f"safetensors files have no type for {np_dtype}")
    return f"{kind.upper()}{bits}"


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

    The file is mapped: on the CPU, tensors take their memory from it, unread until they are used, so it must not be
    written to meanwhile (to replace it, as ``save_file`` does, or to remove it is harmless). Raises FileNotFoundError,
    and the library's SafetensorError if the file is damaged.
    """
    with safe_open(filename, device=device) as file:
        return {name: host_tensor(file._mapped(name), file._device) for name in file.keys()}


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
        self._map: np.ndarray | None = None

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
        return self._mapped(name)

    def _mapped(self, name: str) -> np.ndarray:
        """A tensor's elements, not to be written to, in the mapped file."""
        if self._map is None:
            self._map = np.asarray(np.memmap(self._path, np.uint8, "r"))
            (size,) = struct.unpack("<Q", self._map[:8].tobytes())
            self._start, self._entries = 8 + size, json.loads(self._map[8 : 8 + size].tobytes())
        # The library has checked the header: every tensor lies within the file.
        entry = self._entries[name]
        first, last = entry["data_offsets"]
        np_dtype = _np_dtype(entry["dtype"])
        data = self._map[self._start + first : self._start + last]
        if data.ctypes.data % np_dtype.itemsize:
            data = aligned_copy(data)
        if np_dtype.kind == "b" and data.size and data.max() > 1:
            data = (data != 0).view(np.uint8)  # any other byte is no valid bool to XLA
        return data.view(np_dtype).reshape(entry["shape"])


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
