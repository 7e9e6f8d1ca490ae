"""Transforms of Pillow pictures, by Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._host import pillow


def is_image(img: Any) -> bool:
    """Whether it is a Pillow picture; Pillow is not imported to find out."""
    import sys

    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(img, module.Image)


def channels(img: Any) -> int:
    return len(img.getbands())


def filling(fill: Any, img: Any, default: Any = 0) -> Any:
    """``fill`` as Pillow wants it: one number for one band, else as many as the bands."""
    if fill is None:
        fill = default
    bands = channels(img)
    whole = img.mode != "F"
    if isinstance(fill, (int, float)):
        fill = (fill,) * bands
    fill = tuple(int(v) if whole else float(v) for v in fill)
    if len(fill) == 1:
        fill = fill * bands
    if len(fill) != bands:
        raise ValueError(
            f"The number of elements in 'fill' does not match the number of channels of the image ({len(fill)} != "
            f"{bands})"
        )
    return fill[0] if bands == 1 else fill


def resize(img: Any, size: Sequence[int], resample: int) -> Any:
    return img.resize((size[1], size[0]), resample)


def pad(img: Any, left: int, right: int, top: int, bottom: int, fill: Any, mode: str) -> Any:
    image = pillow()
    if mode == "constant":
        out = image.new(img.mode, (img.width + left + right, img.height + top + bottom), filling(fill, img))
        if img.mode == "P":
            out.putpalette(img.getpalette())
        out.paste(img, (left, top))
        return out
    cut = [max(-n, 0) for n in (left, top, right, bottom)]
    if any(cut):
        img = img.crop((cut[0], cut[1], img.width - cut[2], img.height - cut[3]))
    left, right, top, bottom = (max(n, 0) for n in (left, right, top, bottom))
    array = np.asarray(img)
    widths = ((top, bottom), (left, right), *(((0, 0),) if array.ndim == 3 else ()))
    out = image.fromarray(np.pad(array, widths, mode=mode))  # type: ignore[call-overload]
    if img.mode == "P":
        out.putpalette(img.getpalette())
    return out


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    return img.crop((left, top, left + width, top + height))


def flip(img: Any, dim: int) -> Any:
    way = pillow().Transpose
    return img.transpose(way.FLIP_LEFT_RIGHT if dim == -1 else way.FLIP_TOP_BOTTOM)


def grayscale(img: Any, num_output_channels: int) -> Any:
    if num_output_channels not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")
    img = img.convert("L")
    return img if num_output_channels == 1 else pillow().merge("RGB", (img,) * 3)


def _enhance(kind: str, img: Any, factor: float) -> Any:
    return getattr(pillow("ImageEnhance"), kind)(img).enhance(factor)


def adjust_brightness(img: Any, factor: float) -> Any:
    return _enhance("Brightness", img, factor)


def adjust_contrast(img: Any, factor: float) -> Any:
    return _enhance("Contrast", img, factor)


def adjust_saturation(img: Any, factor: float) -> Any:
    return _enhance("Color", img, factor)


def adjust_sharpness(img: Any, factor: float) -> Any:
    return _enhance("Sharpness", img, factor)


def adjust_hue(img: Any, factor: float) -> Any:
    if img.mode in ("L", "1", "I", "F"):
        return img
    h, s, v = img.convert("HSV").split()
    turned = (np.asarray(h).astype(np.int16) + int(factor * 255)) % 256
    image = pillow()
    return image.merge("HSV", (image.fromarray(turned.astype(np.uint8)), s, v)).convert(img.mode)


def adjust_gamma(img: Any, gamma: float, gain: float) -> Any:
    table = [int((255 + 1 - 1e-3) * gain * (v / 255.0) ** gamma) for v in range(256)]
    return img.convert("RGB").point([min(v, 255) for v in table] * 3).convert(img.mode)


def invert(img: Any) -> Any:
    return pillow("ImageOps").invert(img)


def posterize(img: Any, bits: int) -> Any:
    return pillow("ImageOps").posterize(img, bits)


def solarize(img: Any, threshold: float) -> Any:
    return pillow("ImageOps").solarize(img, threshold)


def autocontrast(img: Any) -> Any:
    return pillow("ImageOps").autocontrast(img)


def equalize(img: Any) -> Any:
    return pillow("ImageOps").equalize(img)


def rotate(img: Any, angle: float, resample: int, expand: bool, center: Any, fill: Any) -> Any:
    return img.rotate(angle, resample, expand, center, fillcolor=filling(fill, img))


def affine(img: Any, matrix: Sequence[float], resample: int, fill: Any) -> Any:
    return img.transform(img.size, pillow().Transform.AFFINE, matrix, resample, fillcolor=filling(fill, img))


def perspective(img: Any, coefficients: Sequence[float], resample: int, fill: Any) -> Any:
    return img.transform(img.size, pillow().Transform.PERSPECTIVE, coefficients, resample, fillcolor=filling(fill, img))
