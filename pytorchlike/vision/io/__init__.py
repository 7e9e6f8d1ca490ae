"""Files of pictures and tensors (``torchvision.io``), by Pillow."""

from __future__ import annotations

import io
import os
from enum import Enum
from typing import Any

import numpy as np

from ...tensor import Tensor
from .._host import pillow, tensor_of

__all__ = [
    "ImageReadMode", "decode_avif", "decode_gif", "decode_heic", "decode_image", "decode_jpeg", "decode_png",
    "decode_webp", "encode_jpeg", "encode_png", "read_file", "read_image", "write_file", "write_jpeg", "write_png",
]  # fmt: skip


class ImageReadMode(Enum):
    """What channels to read: as they are in the file, or converted."""

    UNCHANGED = 0
    GRAY = 1
    GRAY_ALPHA = 2
    RGB = 3
    RGB_ALPHA = 4


_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def read_file(path: str | os.PathLike) -> Tensor:
    """The bytes of a file, uint8 (N,)."""
    return tensor_of(np.fromfile(path, np.uint8))


def write_file(filename: str | os.PathLike, data: Tensor) -> None:
    """Write a tensor of bytes, uint8 (N,), to a file."""
    data.cpu().numpy().tofile(filename)


def _decode(source: Any, mode: Any, turn: bool) -> Tensor:
    image = pillow()
    try:
        picture = image.open(source)
        picture.load()
    except (image.UnidentifiedImageError, OSError, SyntaxError) as error:
        if isinstance(error, FileNotFoundError):
            raise RuntimeError(str(error)) from error
        raise RuntimeError(f"this is no picture that can be read: {error}") from error
    if turn:
        picture = pillow("ImageOps").exif_transpose(picture)
    if picture.format == "GIF":
        return _frames(picture)
    wanted = ImageReadMode[mode] if isinstance(mode, str) else mode
    if wanted is not ImageReadMode.UNCHANGED:
        picture = picture.convert(_MODES[wanted.value])
    elif picture.mode in ("P", "1", "CMYK"):
        picture = picture.convert("RGB" if picture.mode != "1" else "L")
    array = np.asarray(picture)
    if picture.mode.startswith("I"):
        array = array.astype(np.uint16)
    return tensor_of((array[:, :, None] if array.ndim == 2 else array).transpose(2, 0, 1))


def _frames(picture: Any) -> Tensor:
    """The RGB pictures of a GIF file, (N, 3, H, W), or (3, H, W) of one."""
    frames = []
    for i in range(getattr(picture, "n_frames", 1)):
        picture.seek(i)
        frames.append(np.asarray(picture.convert("RGB")).transpose(2, 0, 1))
    return tensor_of(frames[0] if len(frames) == 1 else np.stack(frames))


def read_image(
    path: str | os.PathLike, mode: ImageReadMode = ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False
) -> Tensor:
    """The picture in a file, uint8 (C, H, W). RuntimeError if it is none."""
    return _decode(os.fspath(path), mode, apply_exif_orientation)


def decode_image(
    input: Tensor, mode: ImageReadMode = ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False
) -> Tensor:
    """The picture in the bytes of a file, uint8 (C, H, W); a path will do.

    A GIF file is always read as RGB; of several pictures, it gives (N, C, H, W).  RuntimeError if it is none.
    """
    if not isinstance(input, Tensor):
        return read_image(input, mode, apply_exif_orientation)
    return _decode(io.BytesIO(input.cpu().numpy().tobytes()), mode, apply_exif_orientation)


decode_png = decode_jpeg = decode_image


def decode_gif(input: Tensor) -> Tensor:
    """The RGB pictures in the bytes of a GIF file, (N, 3, H, W), or (3, H, W) of one."""
    return decode_image(input)


def decode_webp(input: Tensor, mode: ImageReadMode = ImageReadMode.UNCHANGED) -> Tensor:
    """The picture in the bytes of a WebP file, uint8 (C, H, W)."""
    return decode_image(input, mode)


def decode_avif(input: Tensor, mode: ImageReadMode = ImageReadMode.UNCHANGED) -> Tensor:
    """The picture in the bytes of an AVIF file, uint8 (C, H, W); RuntimeError where Pillow was built without it."""
    return decode_image(input, mode)


def decode_heic(input: Tensor, mode: ImageReadMode = ImageReadMode.UNCHANGED) -> Tensor:
    """The picture in the bytes of a HEIC file, uint8 (C, H, W); RuntimeError unless Pillow has a plug-in for them."""
    return decode_image(input, mode)


def _encode(input: Tensor, **options: Any) -> bytes:
    if input.dtype.itemsize != 1 or input.ndim != 3 or input.shape[0] not in (1, 3):
        raise RuntimeError(f"expected a uint8 picture (1 or 3, H, W), got {input.dtype} {tuple(input.shape)}")
    array = input.cpu().numpy().transpose(1, 2, 0)
    buffer = io.BytesIO()
    pillow().fromarray(np.ascontiguousarray(array[:, :, 0] if array.shape[2] == 1 else array)).save(buffer, **options)
    return buffer.getvalue()


def encode_png(input: Tensor, compression_level: int = 6) -> Tensor:
    """A uint8 picture (C, H, W) as the bytes of a PNG file."""
    return tensor_of(np.frombuffer(_encode(input, format="png", compress_level=compression_level), np.uint8))


def encode_jpeg(input: Tensor, quality: int = 75) -> Tensor:
    """A uint8 picture (C, H, W) as the bytes of a JPEG file."""
    return tensor_of(np.frombuffer(_encode(input, format="jpeg", quality=quality), np.uint8))


def write_png(input: Tensor, filename: str | os.PathLike, compression_level: int = 6) -> None:
    """Write a uint8 picture (C, H, W) to a PNG file."""
    write_file(filename, encode_png(input, compression_level))


def write_jpeg(input: Tensor, filename: str | os.PathLike, quality: int = 75) -> None:
    """Write a uint8 picture (C, H, W) to a JPEG file."""
    write_file(filename, encode_jpeg(input, quality))
