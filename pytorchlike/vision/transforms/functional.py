"""What the transforms do: functions of Pillow pictures and of tensors (..., C, H, W).

Pictures in, pictures out; Pillow pictures are handled by Pillow, tensors by ``_tensor``. Angles are in degrees, sizes
(height, width), points (x, y) in pixels. Errors: TypeError for what is neither, ValueError for values out of range.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor

from .._host import array_of, pillow, tensor_of
from . import _pil, _tensor

__all__ = [
    "InterpolationMode", "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation",
    "adjust_sharpness", "affine", "autocontrast", "center_crop", "convert_image_dtype", "crop", "elastic_transform",
    "equalize", "erase", "five_crop", "gaussian_blur", "get_dimensions", "get_image_num_channels", "get_image_size",
    "hflip", "invert", "normalize", "pad", "perspective", "pil_to_tensor", "posterize", "resize", "resized_crop",
    "rgb_to_grayscale", "rotate", "solarize", "ten_crop", "to_grayscale", "to_pil_image", "to_tensor", "vflip",
]  # fmt: skip


class InterpolationMode(Enum):
    """How to read between pixels; box, hamming and lanczos exist for Pillow pictures only."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


#: Pillow's numbers of them.
pil_modes_mapping = {
    InterpolationMode.NEAREST: 0,
    InterpolationMode.NEAREST_EXACT: 0,
    InterpolationMode.LANCZOS: 1,
    InterpolationMode.BILINEAR: 2,
    InterpolationMode.BICUBIC: 3,
    InterpolationMode.BOX: 4,
    InterpolationMode.HAMMING: 5,
}
_of_number = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


def as_mode(interpolation: Any, *allowed: InterpolationMode) -> InterpolationMode:
    """An InterpolationMode, also from Pillow's numbers."""
    if isinstance(interpolation, int) and not isinstance(interpolation, bool):
        interpolation = InterpolationMode(_of_number[interpolation])
    if not isinstance(interpolation, InterpolationMode):
        raise TypeError(
            "Argument interpolation should be a InterpolationMode or a corresponding Pillow integer constant, got "
            f"{interpolation!r}"
        )
    if allowed and interpolation not in allowed:
        raise ValueError(f"interpolation {interpolation.value!r} is not possible for tensors here")
    return interpolation


def kind(img: Any) -> Any:
    """The module that transforms a picture; TypeError if it is none."""
    if isinstance(img, Tensor):
        _tensor.check_image(img)
        return _tensor
    if not _pil.is_image(img):
        raise TypeError(f"Unexpected type {type(img)}: expected a PIL Image or a tensor (..., C, H, W)")
    return _pil


# -- sizes ----------------------------------------------------------------------------------------------------------


def get_dimensions(img: Any) -> list[int]:
    """[channels, height, width]; of boxes and points (``tv_tensors``), 1 and the size of their picture."""
    canvas = getattr(img, "canvas_size", None)
    if canvas is not None:
        return [1, *canvas]
    if kind(img) is _tensor:
        return [_tensor.channels(img), *img.shape[-2:]]
    return [_pil.channels(img), img.height, img.width]


def get_image_size(img: Any) -> list[int]:
    """[width, height]."""
    return get_dimensions(img)[:0:-1]


def get_image_num_channels(img: Any) -> int:
    """The number of channels."""
    return get_dimensions(img)[0]


# -- from and to tensors --------------------------------------------------------------------------------------------


def to_tensor(pic: Any) -> Tensor:
    """A Pillow picture or an array (H, W[, C]) as a tensor (C, H, W); uint8 becomes the default dtype in [0, 1].

    Raises TypeError for other objects, ValueError for arrays that are not 2- or 3-dimensional.
    """
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        array = pic[:, :, None] if pic.ndim == 2 else pic
    elif _pil.is_image(pic):
        array = _array(pic)
    else:
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    if array.dtype == np.uint8:
        dtype = torch.get_default_dtype()
        kind = np.float64 if dtype == torch.float64 else np.float32
        scaled = np.empty((array.shape[2], *array.shape[:2]), kind)
        np.divide(array.transpose(2, 0, 1), kind(255), out=scaled)
        return tensor_of(scaled).to(dtype)
    return tensor_of(np.array(array.transpose(2, 0, 1), order="C"))


def _array(pic: Any) -> np.ndarray:
    """The pixels of a Pillow picture, (H, W, C)."""
    if pic.mode == "1":
        array = np.asarray(pic.convert("L"))
    elif pic.mode.startswith("I;16"):
        array = np.asarray(pic).astype(np.int16 if pic.mode == "I;16" else np.uint16)
    elif pic.mode == "I":
        array = np.asarray(pic, np.int32)
    elif pic.mode == "F":
        array = np.asarray(pic, np.float32)
    else:
        array = np.asarray(pic)
    return array[:, :, None] if array.ndim == 2 else array


def pil_to_tensor(pic: Any) -> Tensor:
    """A Pillow picture as a tensor (C, H, W) of its own type. TypeError for other objects."""
    if not _pil.is_image(pic):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    array = np.asarray(pic)
    return tensor_of(np.array((array[:, :, None] if array.ndim == 2 else array).transpose(2, 0, 1), order="C"))


def convert_image_dtype(image: Tensor, dtype: torch.dtype = torch.float) -> Tensor:
    """The picture in another type, its values scaled to the range of that type.

    Raises RuntimeError for float32 to int32 or int64, which cannot hold all values, TypeError for no tensor.
    """
    if not isinstance(image, Tensor):
        raise TypeError("Input img should be Tensor Image")
    return _tensor.convert_dtype(image, dtype)


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A tensor (C, H, W) or (H, W), or an array (H, W[, C]), as a Pillow picture; floats in [0, 1] become uint8.

    mode: of the picture; by default as the type and the number of channels (1 to 4) say.
    Raises TypeError for other objects, ValueError for other shapes or a mode that does not fit.
    """
    if isinstance(pic, Tensor):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        if pic.ndim == 3 and pic.shape[0] > 4:
            raise ValueError(f"pic should not have > 4 channels. Got {pic.shape[0]} channels.")
        array = array_of(pic)
        array = pic.detach().cpu().numpy() if array is None else array
        if array.dtype.kind not in "biu" and mode != "F":
            array = (array.astype(np.float32) * np.float32(255)).astype(np.uint8)
        array = array[None] if array.ndim == 2 else array
        array = array.transpose(1, 2, 0)
    elif isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        array = pic[:, :, None] if pic.ndim == 2 else pic
        if array.shape[2] > 4:
            raise ValueError(f"pic should not have > 4 channels. Got {array.shape[2]} channels.")
    else:
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    count = array.shape[2]
    if count == 1:
        found = {"uint8": "L", "int16": "I;16", "uint16": "I;16", "int32": "I", "float32": "F"}.get(array.dtype.name)
        array = array[:, :, 0]
        if mode is not None and mode != found:
            raise ValueError(f"Incorrect mode ({mode}) supplied for input type {array.dtype}. Should be {found}")
        allowed: tuple[str | None, ...] = (found,)
    else:
        allowed = {2: ("LA",), 3: ("RGB", "YCbCr", "HSV"), 4: ("RGBA", "CMYK", "RGBX")}[count]
        if mode is not None and mode not in allowed:
            raise ValueError(f"Only modes {list(allowed)} are supported for {count}D inputs")
        found = mode or (allowed[0] if array.dtype == np.uint8 else None)
    if found is None:
        raise TypeError(f"Input type {array.dtype} is not supported")
    array = np.ascontiguousarray(array)
    image = pillow()
    if found == "I;16":
        return image.frombytes("I;16", array.shape[::-1], array.tobytes())
    if found in ("YCbCr", "HSV", "CMYK", "RGBX"):
        return image.frombytes(found, array.shape[1::-1], array.tobytes())
    return image.fromarray(array)


def normalize(tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> Tensor:
    """``(tensor - mean) / std``, channel by channel.

    Raises TypeError unless the tensor is floating, ValueError if it is not (..., C, H, W) or a deviation is 0.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(tensor)}")
    return _tensor.normalize(tensor, mean, std, inplace)


# -- geometry -------------------------------------------------------------------------------------------------------


def resized(height: int, width: int, size: Any, max_size: int | None = None) -> tuple[int, int]:
    """The size a picture is resized to: ``size`` (h, w), or the length of the shorter edge."""
    if isinstance(size, numbers.Integral):
        size = [size]
    if size is None:
        if max_size is None:
            raise ValueError("max_size must be an integer when size is None.")
        short, long = min(height, width), max(height, width)
        low, top = int(max_size * short / long), max_size
    else:
        if len(size) not in (1, 2):
            raise ValueError(
                f"Size must be an int or a 1 or 2 element tuple/list, not a {len(size)} element tuple/list"
            )
        if len(size) == 2:
            if max_size is not None:
                raise ValueError(
                    "max_size should only be passed if size specifies the length of the smaller edge, i.e. size should "
                    "be an int or a sequence of length 1"
                )
            return int(size[0]), int(size[1])
        short, long = min(height, width), max(height, width)
        low, top = int(size[0]), int(size[0] * long / short)
        if max_size is not None:
            if max_size <= size[0]:
                raise ValueError(
                    f"max_size = {max_size} must be strictly greater than the requested size for the smaller edge "
                    f"size = {size}"
                )
            if top > max_size:
                low, top = int(max_size * low / top), max_size
    return (low, top) if height <= width else (top, low)


def resize(
    img: Any, size: Any, interpolation: Any = InterpolationMode.BILINEAR, max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:  # fmt: skip
    """The picture in another size: (h, w), or the shorter edge's, the ratio kept, the longer one at most ``max_size``.

    antialias: as Pillow always does (bilinear and bicubic only).
    """
    mode, (_, h, w) = as_mode(interpolation), get_dimensions(img)
    target = resized(h, w, size, max_size)
    if kind(img) is _pil:
        return img if target == (h, w) else _pil.resize(img, target, pil_modes_mapping[mode])
    if mode.value in ("box", "hamming", "lanczos"):
        raise ValueError(f"interpolation {mode.value!r} exists for Pillow pictures only, not for tensors")
    return _tensor.resize(img, target, mode.value, bool(antialias))


def _four(padding: Any) -> tuple[int, int, int, int]:
    """left, top, right, bottom."""
    if isinstance(padding, numbers.Number):
        padding = [padding]
    if not isinstance(padding, (tuple, list)):
        raise TypeError("Got inappropriate padding arg")
    if len(padding) not in (1, 2, 4):
        raise ValueError(
            f"Padding must be an int or a 1, 2, or 4 element tuple, not a {len(padding)} element tuple"
        )
    return tuple(int(p) for p in padding * (4 // len(padding)))  # type: ignore[return-value]


def pad(img: Any, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> Any:
    """Borders of given widths: one, [left/right, top/bottom] or [left, top, right, bottom].

    padding_mode: "constant" (``fill``), "edge", "reflect" (the edge once) or "symmetric" (the edge twice).
    """
    if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
        raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")
    left, top, right, bottom = _four(padding)
    return kind(img).pad(img, left, right, top, bottom, fill, padding_mode)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """A rectangle of the picture; what lies outside is 0."""
    return kind(img).crop(img, top, left, height, width)


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, numbers.Number):
        return int(size), int(size)  # type: ignore[call-overload]
    if len(size) == 1:
        return int(size[0]), int(size[0])
    if len(size) != 2:
        raise ValueError(f"Please provide only two dimensions (h, w) for size, got {size}")
    return int(size[0]), int(size[1])


def center_crop(img: Any, output_size: Any) -> Any:
    """The middle of the picture; smaller pictures are padded with 0."""
    (th, tw), (_, h, w) = _pair(output_size), get_dimensions(img)
    if tw > w or th > h:
        dx, dy = max(tw - w, 0), max(th - h, 0)
        img = pad(img, [dx // 2, dy // 2, (dx + 1) // 2, (dy + 1) // 2])
        _, h, w = get_dimensions(img)
        if (tw, th) == (w, h):
            return img
    return crop(img, round((h - th) / 2.0), round((w - tw) / 2.0), th, tw)


def resized_crop(
    img: Any, top: int, left: int, height: int, width: int, size: Any,
    interpolation: Any = InterpolationMode.BILINEAR, antialias: bool | None = True,
) -> Any:  # fmt: skip
    """A rectangle of the picture, resized."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def hflip(img: Any) -> Any:
    """Left and right exchanged."""
    return kind(img).flip(img, -1)


def vflip(img: Any) -> Any:
    """Top and bottom exchanged."""
    return kind(img).flip(img, -2)


def five_crop(img: Any, size: Any) -> tuple[Any, Any, Any, Any, Any]:
    """The corners (top left, top right, bottom left, bottom right) and the centre."""
    (th, tw), (_, h, w) = _pair(size), get_dimensions(img)
    if tw > w or th > h:
        raise ValueError(f"Requested crop size {size} is bigger than input size {(h, w)}")
    corners = [(0, 0), (0, w - tw), (h - th, 0), (h - th, w - tw)]
    return (*(crop(img, y, x, th, tw) for y, x in corners), center_crop(img, [th, tw]))  # type: ignore[return-value]


def ten_crop(img: Any, size: Any, vertical_flip: bool = False) -> tuple[Any, ...]:
    """The five crops of the picture and of its mirror image."""
    return (*five_crop(img, size), *five_crop(vflip(img) if vertical_flip else hflip(img), size))


def inverse_affine(
    center: Sequence[float], angle: float, translate: Sequence[float], scale: float, shear: Sequence[float]
) -> list[float]:
    """The first two rows of the inverse of: shear, scale and rotate about ``center``, then translate.

    The picture turns by ``angle`` clockwise on the screen, where y points down. The inverse tells where a pixel of the
    result comes from.
    """
    rot, sx, sy = (math.radians(v) for v in (angle, *shear))
    linear = scale * np.array([
        [math.cos(rot - sy) / math.cos(sy), -math.cos(rot - sy) * math.tan(sx) / math.cos(sy) - math.sin(rot)],
        [math.sin(rot - sy) / math.cos(sy), -math.sin(rot - sy) * math.tan(sx) / math.cos(sy) + math.cos(rot)],
    ])  # fmt: skip
    whole = np.eye(3)
    whole[:2, :2] = linear
    whole[:2, 2] = np.asarray(center) + np.asarray(translate) - linear @ np.asarray(center, np.float64)
    return np.linalg.inv(whole)[:2].ravel().tolist()


_GRID_MODES = (InterpolationMode.NEAREST, InterpolationMode.BILINEAR)


def rotate(
    img: Any, angle: float, interpolation: Any = InterpolationMode.NEAREST, expand: bool = False,
    center: Sequence[int] | None = None, fill: Any = None,
) -> Any:  # fmt: skip
    """The picture turned counter-clockwise by ``angle`` degrees about ``center`` (x, y), by default its middle.

    expand: the result is large enough to hold all of it (for a rotation about the middle).
    """
    if not isinstance(angle, numbers.Number):
        raise TypeError("Argument angle should be int or float")
    if center is not None and not isinstance(center, (list, tuple)):
        raise TypeError("Argument center should be a sequence")
    mode = as_mode(interpolation)
    if kind(img) is _pil:
        return _pil.rotate(img, angle, pil_modes_mapping[mode], expand, center, fill)
    as_mode(mode, *_GRID_MODES)
    h, w = img.shape[-2:]
    middle = [0.0, 0.0] if center is None else [center[0] - w / 2, center[1] - h / 2]
    matrix = inverse_affine(middle, -angle, [0.0, 0.0], 1.0, [0.0, 0.0])
    oh, ow = _expanded(matrix, h, w) if expand else (h, w)
    return _tensor.sample(img, _tensor.affine_grid(matrix, h, w, oh, ow), mode.value, fill)


def _expanded(matrix: Sequence[float], h: int, w: int) -> tuple[int, int]:
    """The size that holds a picture after the transformation whose inverse is given."""
    corners = np.array([[x * w / 2, y * h / 2, 1.0] for x in (-1, 1) for y in (-1, 1)])
    points = corners @ np.asarray(matrix).reshape(2, 3).T + [w / 2, h / 2]
    # a corner that misses a whole pixel by rounding errors does not need another pixel
    low, top = np.floor(np.round(points.min(0), 4)), np.ceil(np.round(points.max(0), 4))
    return int(top[1] - low[1]), int(top[0] - low[0])


def affine(
    img: Any, angle: float, translate: Sequence[float], scale: float, shear: Any,
    interpolation: Any = InterpolationMode.NEAREST, fill: Any = None, center: Sequence[int] | None = None,
) -> Any:  # fmt: skip
    """The picture sheared (degrees in x and y), scaled and turned clockwise about its middle, then moved (pixels)."""
    if not isinstance(angle, (int, float)):
        raise TypeError("Argument angle should be int or float")
    if not isinstance(translate, (list, tuple)):
        raise TypeError("Argument translate should be a sequence")
    if len(translate) != 2:
        raise ValueError("Argument translate should be a sequence of length 2")
    if scale <= 0.0:
        raise ValueError("Argument scale should be positive")
    if not isinstance(shear, (numbers.Number, list, tuple)):
        raise TypeError("Shear should be either a single value or a sequence of two values")
    shear = [shear, 0.0] if isinstance(shear, numbers.Number) else [*shear]
    if len(shear) == 1:
        shear = shear * 2
    if len(shear) != 2:
        raise ValueError(f"Shear should be a sequence containing two values. Got {shear}")
    mode, (_, h, w) = as_mode(interpolation), get_dimensions(img)
    if kind(img) is _pil:
        # Pillow counts from the corner of the first pixel
        matrix = inverse_affine([w * 0.5, h * 0.5] if center is None else center, angle, translate, scale, shear)
        return _pil.affine(img, matrix, pil_modes_mapping[mode], fill)
    as_mode(mode, *_GRID_MODES)
    middle = [0.0, 0.0] if center is None else [center[0] - w / 2, center[1] - h / 2]
    matrix = inverse_affine(middle, angle, translate, scale, shear)
    return _tensor.sample(img, _tensor.affine_grid(matrix, h, w, h, w), mode.value, fill)


def perspective_coefficients(startpoints: Sequence[Sequence[int]], endpoints: Sequence[Sequence[int]]) -> list[float]:
    """a to h of ((a x + b y + c) / (g x + h y + 1), (d x + e y + f) / (g x + h y + 1)), from ends back to starts."""
    rows, values = [], []
    for (x, y), (u, v) in zip(endpoints, startpoints, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    solved = np.linalg.lstsq(np.array(rows, np.float64), np.array(values, np.float64), rcond=None)[0]
    return solved.astype(np.float32).tolist()  # as torchvision rounds them: pixels at borders depend on it


def perspective(
    img: Any, startpoints: list[list[int]], endpoints: list[list[int]],
    interpolation: Any = InterpolationMode.BILINEAR, fill: Any = None,
) -> Any:  # fmt: skip
    """The picture with its four ``startpoints`` (x, y) moved to ``endpoints``."""
    coefficients = perspective_coefficients(startpoints, endpoints)
    mode = as_mode(interpolation)
    if kind(img) is _pil:
        return _pil.perspective(img, coefficients, pil_modes_mapping[mode], fill)
    as_mode(mode, *_GRID_MODES)
    return _tensor.sample(img, _tensor.perspective_grid(coefficients, *img.shape[-2:]), mode.value, fill)


def elastic_transform(
    img: Any, displacement: Tensor, interpolation: Any = InterpolationMode.BILINEAR, fill: Any = None
) -> Any:
    """The picture read at displaced places; displacement: (1, H, W, 2), x and y in halves of the picture."""
    if not isinstance(displacement, Tensor):
        raise TypeError("Argument displacement should be a Tensor")
    _, h, w = get_dimensions(img)
    if tuple(displacement.shape) != (1, h, w, 2):
        raise ValueError(f"Argument displacement shape should be {(1, h, w, 2)}, but given {displacement.shape}")
    mode = as_mode(interpolation, *_GRID_MODES)
    moved = displacement.detach().cpu().numpy()[0]
    if kind(img) is _pil:
        return to_pil_image(_tensor.elastic(pil_to_tensor(img), moved, mode.value, fill), img.mode)
    return _tensor.elastic(img, moved, mode.value, fill)


# -- colours --------------------------------------------------------------------------------------------------------


def _not_negative(name: str, value: float) -> None:
    if value < 0:
        raise ValueError(f"{name} ({value}) is not non-negative.")


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """0: black, 1: as it is, 2: twice as bright."""
    _not_negative("brightness_factor", brightness_factor)
    return kind(img).adjust_brightness(img, brightness_factor)


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """0: the mean grey, 1: as it is, 2: twice the contrast."""
    _not_negative("contrast_factor", contrast_factor)
    return kind(img).adjust_contrast(img, contrast_factor)


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """0: grey, 1: as it is, 2: twice the saturation."""
    _not_negative("saturation_factor", saturation_factor)
    return kind(img).adjust_saturation(img, saturation_factor)


def adjust_sharpness(img: Any, sharpness_factor: float) -> Any:
    """0: smoothed, 1: as it is, 2: twice as sharp."""
    _not_negative("sharpness_factor", sharpness_factor)
    return kind(img).adjust_sharpness(img, sharpness_factor)


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """Hues turned by ``hue_factor`` turns, in [-0.5, 0.5]."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    return kind(img).adjust_hue(img, hue_factor)


def adjust_gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    """``gain * value ** gamma``, of values in [0, 1]."""
    if gamma < 0:
        raise ValueError("Gamma should be a non-negative real number")
    return kind(img).adjust_gamma(img, gamma, gain)


def to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """A Pillow picture in grey, of 1 or 3 equal channels."""
    if not _pil.is_image(img):
        raise TypeError("Input should be PIL Image")
    return _pil.grayscale(img, num_output_channels)


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """The picture in grey (0.2989 R + 0.587 G + 0.114 B), of 1 or 3 equal channels."""
    return kind(img).grayscale(img, num_output_channels)


def invert(img: Any) -> Any:
    """The negative."""
    return kind(img).invert(img)


def posterize(img: Any, bits: int) -> Any:
    """Only the highest ``bits`` bits of each value (uint8)."""
    if not 0 <= bits <= 8:
        raise ValueError(f"The number if bits should be between 0 and 8. Got {bits}")
    return kind(img).posterize(img, bits)


def solarize(img: Any, threshold: float) -> Any:
    """The negative of all values from ``threshold`` on."""
    return kind(img).solarize(img, threshold)


def autocontrast(img: Any) -> Any:
    """Each channel stretched to the whole range."""
    return kind(img).autocontrast(img)


def equalize(img: Any) -> Any:
    """Each channel's histogram made flat (uint8)."""
    return kind(img).equalize(img)


def gaussian_blur(img: Any, kernel_size: Any, sigma: Any = None) -> Any:
    """The picture smoothed by a Gaussian of odd ``kernel_size`` (x, y) and deviations ``sigma`` (x, y) in pixels.

    sigma: by default ``0.3 * ((kernel_size - 1) / 2 - 1) + 0.8``.
    """
    sizes = [kernel_size] * 2 if isinstance(kernel_size, int) else [*kernel_size]
    if len(sizes) != 2:
        raise ValueError(f"If kernel_size is a sequence its length should be 2. Got {len(sizes)}")
    for k in sizes:
        if k % 2 == 0 or k < 0:
            raise ValueError(f"kernel_size should have odd and positive integers. Got {sizes}")
    if sigma is None:
        widths = [k * 0.15 + 0.35 for k in sizes]
    else:
        widths = [float(sigma)] * 2 if isinstance(sigma, (int, float)) else [float(s) for s in sigma]
        widths = widths * 2 if len(widths) == 1 else widths
    if len(widths) != 2:
        raise ValueError(f"If sigma is a sequence, its length should be 2. Got {len(widths)}")
    if min(widths) <= 0:
        raise ValueError(f"sigma should have positive values. Got {widths}")
    if kind(img) is _pil:
        return to_pil_image(_tensor.gaussian_blur(pil_to_tensor(img), sizes, widths), img.mode)
    return _tensor.gaussian_blur(img, sizes, widths)


def erase(img: Tensor, i: int, j: int, h: int, w: int, v: Tensor, inplace: bool = False) -> Tensor:
    """The tensor with its rectangle from (row i, column j), h by w, set to ``v``."""
    if not isinstance(img, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(img)}")
    return _tensor.erase(img, i, j, h, w, v, inplace)
