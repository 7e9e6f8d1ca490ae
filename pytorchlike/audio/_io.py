"""Files of sound, read and written by SoundFile (libsndfile)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from pytorchlike import Tensor

from ..tensor import host_tensor

__all__ = ["AudioMetaData", "info", "load", "save"]

_PCM = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
#: libsndfile's names of encodings: torchaudio's, and the bits of a sample (0 where compressed).
_SUBTYPES = {
    "PCM_S8": ("PCM_S", 8), "PCM_U8": ("PCM_U", 8), "PCM_16": ("PCM_S", 16), "PCM_24": ("PCM_S", 24),
    "PCM_32": ("PCM_S", 32), "FLOAT": ("PCM_F", 32), "DOUBLE": ("PCM_F", 64), "ULAW": ("ULAW", 8),
    "ALAW": ("ALAW", 8), "VORBIS": ("VORBIS", 0), "OPUS": ("OPUS", 0), "GSM610": ("GSM", 0), "ALAC_16": ("ALAC", 16),
    "MPEG_LAYER_III": ("MP3", 0),
}  # fmt: skip
_BY_ENCODING = {(encoding, bits): subtype for subtype, (encoding, bits) in _SUBTYPES.items()}
_INTEGERS = {"PCM_U8": "uint8", "PCM_S8": "int16", "PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32"}
_OWN_TYPE = {"uint8": "PCM_U8", "int16": "PCM_16", "int32": "PCM_32", "float32": "FLOAT", "float64": "DOUBLE"}

Source = str | os.PathLike | BinaryIO


def soundfile() -> Any:
    """The module; ImportError naming the extra to install if it, or libsndfile, is missing."""
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise ImportError('files of sound need SoundFile: pip install "pytorchlike[audio]"') from error
    return soundfile


def _backend(name: str | None) -> None:
    if name not in (None, "soundfile"):
        raise RuntimeError(f"Couldn't find appropriate backend to handle {name!r}: there is 'soundfile' only")


def _path(uri: Source) -> Any:
    return os.path.expanduser(os.fspath(uri)) if isinstance(uri, (str, os.PathLike)) else uri


@dataclass
class AudioMetaData:
    """What :func:`info` tells; bits_per_sample is 0 for compressed formats."""

    sample_rate: int
    num_frames: int
    num_channels: int
    bits_per_sample: int
    encoding: str


def info(uri: Source, format: str | None = None, buffer_size: int = 4096, backend: str | None = None) -> AudioMetaData:
    """Rate, length, channels and encoding of a file, without its samples.

    format, buffer_size: no effect, libsndfile looks into the file.
    """
    _backend(backend)
    about = _opened(lambda: soundfile().info(_path(uri)), uri)
    encoding, bits = _SUBTYPES.get(about.subtype, ("UNKNOWN", 0))
    if about.format == "FLAC":
        encoding = "FLAC"
    return AudioMetaData(about.samplerate, about.frames, about.channels, bits, encoding)


def _opened(call: Any, uri: Source) -> Any:
    module = soundfile()
    try:
        return call()
    except module.LibsndfileError as error:
        if isinstance(uri, (str, os.PathLike)) and not os.path.exists(_path(uri)):
            raise FileNotFoundError(f"No such file: {os.fspath(uri)!r}") from error
        raise RuntimeError(f"{uri!r} cannot be read as sound: {error}") from error


def load(
    uri: Source, frame_offset: int = 0, num_frames: int = -1, normalize: bool = True, channels_first: bool = True,
    format: str | None = None, buffer_size: int = 4096, backend: str | None = None,
) -> tuple[Tensor, int]:  # fmt: skip
    """The samples of a file (a path, or a file object) and its rate.

    Shapes: (channel, time), or (time, channel) without ``channels_first``; from ``frame_offset`` on, at most
    ``num_frames`` frames, all if it is -1.   dtype: float32 in [-1, 1]; without ``normalize`` that of the file, for
    WAV of integers.
    format, buffer_size: no effect, libsndfile looks into the file.
    Raises FileNotFoundError, RuntimeError for files that libsndfile does not know, ImportError without SoundFile.
    """
    _backend(backend)
    module = soundfile()

    def read() -> tuple[np.ndarray, int]:
        with module.SoundFile(_path(uri), "r") as file:
            kind = "float32"
            if not normalize and file.format in ("WAV", "WAVEX") and file.subtype in _INTEGERS:
                kind = _INTEGERS[file.subtype]
            frames = file._prepare_read(frame_offset, None, num_frames)
            # libsndfile gives no 8-bit integers
            data = file.read(frames, "int16" if kind == "uint8" else kind, always_2d=True)
            if kind == "uint8":
                data = ((data >> 8) + 128).astype(np.uint8)
            return data, file.samplerate

    data, rate = _opened(read, uri)
    return host_tensor(np.ascontiguousarray(data.T if channels_first else data), "cpu"), rate


def _format_of(uri: Source, format: str | None) -> str:
    if format is not None:
        return format.lower()
    name = os.fspath(uri) if isinstance(uri, (str, os.PathLike)) else getattr(uri, "name", "")
    ending = os.path.splitext(str(name))[1][1:].lower()
    if not ending:
        raise RuntimeError("format is required when saving to a file-like object, or to a name without an ending")
    return {"oga": "ogg", "aif": "aiff"}.get(ending, ending)


def _subtype(kind: str, src: np.ndarray, encoding: str | None, bits: int | None) -> str | None:
    """libsndfile's encoding for a format; None: the format's own."""
    if kind in ("wav", "w64", "rf64", "aiff", "au", "sph", "nist"):
        if encoding is None and bits is None:
            own = _OWN_TYPE.get(src.dtype.name)
            if own is None:
                raise ValueError(f"Unsupported dtype for {kind}: {src.dtype}")
            return {"FLOAT": "PCM_16", "DOUBLE": "PCM_16"}.get(own, own) if kind in ("sph", "nist") else own
        if encoding is None:
            encoding = "PCM_U" if bits == 8 and kind == "wav" else "PCM_S"
        if bits is None:
            bits = {"PCM_S": 16, "PCM_U": 8, "PCM_F": 32, "ULAW": 8, "ALAW": 8}.get(encoding, 0)
        found = _BY_ENCODING.get((encoding, bits))
        if found is None:
            raise ValueError(f"{kind} does not support {encoding} encoding with {bits} bits.")
        return found
    if encoding not in (None, {"flac": "FLAC"}.get(kind)):
        raise ValueError(f"{kind} does not support encoding {encoding!r}")
    if kind == "flac":
        bits = 16 if bits is None else bits
        if bits not in (8, 16, 24):
            raise ValueError(f"flac does not support {bits} bits per sample; it has 8, 16 and 24")
        return "PCM_S8" if bits == 8 else f"PCM_{bits}"
    if bits is not None:
        raise ValueError(f"{kind} does not support bits_per_sample")
    return None


def save(
    uri: Source, src: Tensor, sample_rate: int, channels_first: bool = True, format: str | None = None,
    encoding: str | None = None, bits_per_sample: int | None = None, buffer_size: int = 4096,
    backend: str | None = None, compression: float | int | None = None,
) -> None:  # fmt: skip
    """Write samples (channel, time), or (time, channel) without ``channels_first``, to a path or file object.

    format: of the file, by its ending unless given.   encoding: "PCM_S", "PCM_U", "PCM_F", "ULAW" or "ALAW", for WAV
    and the like: as the dtype of ``src`` unless given.   compression: 0 (large) to 1 (small), for OGG, MP3 and FLAC.
    Raises ValueError for what a format does not have or ``src`` that is not 2-D.
    """
    _backend(backend)
    if src.ndim != 2:
        raise ValueError(f"Expected 2D Tensor, got {src.ndim}D.")
    module, kind = soundfile(), _format_of(uri, format)
    data = src.detach().cpu().numpy()
    data = data.T if channels_first else data
    subtype = _subtype(kind, data, encoding, bits_per_sample)
    if data.dtype == np.uint8:  # libsndfile takes 16 bits
        data = (data.astype(np.int16) - 128) << 8
    extra = {} if compression is None else {"compression_level": float(compression)}
    name = {"sph": "NIST"}.get(kind, kind.upper())
    module.write(_path(uri), data, sample_rate, subtype=subtype, format=name, **extra)
