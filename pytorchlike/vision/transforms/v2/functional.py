"""What the transforms do, to each kind of input in its way: pictures (Pillow's, tensors, ``Image``, ``Video``), masks,
boxes and points (``tv_tensors``).

Geometry moves all of them; masks are read at the nearest pixel. Colours are for pictures only (TypeError). ``move`` is
what becomes of points (K, 2), x and y. Results keep the kind of the input.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor

from ... import tv_tensors
from ..._host import array_of, random, tensor_of
from ...tv_tensors import BoundingBoxes, BoundingBoxFormat, KeyPoints, Mask, plain, wrap
from .. import _pil, _tensor
from .. import functional as V1
from ..functional import InterpolationMode, get_dimensions, pil_to_tensor, to_pil_image, to_tensor

__all__ = [
    "InterpolationMode", "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation",
    "adjust_sharpness", "affine", "autocontrast", "center_crop", "clamp_bounding_boxes", "clamp_keypoints",
    "convert_bounding_box_format", "convert_image_dtype", "crop", "elastic", "elastic_transform", "equalize", "erase",
    "five_crop", "gaussian_blur", "gaussian_noise", "get_dimensions", "get_image_num_channels", "get_image_size",
    "get_num_channels", "get_num_frames", "get_size", "grayscale_to_rgb", "hflip", "horizontal_flip", "invert",
    "is_pure_tensor", "jpeg", "normalize", "pad", "permute_channels", "perspective", "pil_to_tensor", "posterize",
    "register_kernel", "resize", "resized_crop", "rgb_to_grayscale", "rotate", "sanitize_bounding_boxes",
    "sanitize_keypoints", "solarize", "ten_crop", "to_dtype", "to_grayscale", "to_image", "to_pil_image", "to_tensor",
    "uniform_temporal_subsample", "vertical_flip", "vflip",
]  # fmt: skip

_NEAREST, _BILINEAR = InterpolationMode.NEAREST, InterpolationMode.BILINEAR
_kernels: dict[str, dict[type, Callable[..., Any]]] = {}


def _function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Registered kernels come first; ``fill`` may say one thing for each kind of input."""
    own = _kernels.setdefault(function.__name__, {})

    @functools.wraps(function)
    def call(inpt: Any, *args: Any, **kwargs: Any) -> Any:
        for cls in type(inpt).__mro__ if own else ():
            if cls in own:
                return own[cls](inpt, *args, **kwargs)
        return function(inpt, *args, **kwargs)

    return call


def register_kernel(functional: Callable[..., Any] | str, tv_tensor_cls: type) -> Callable[[Callable], Callable]:
    """A decorator: what a function of this module does to a kind of tensors. ValueError for unknown functions."""
    name = functional if isinstance(functional, str) else functional.__name__
    if name not in _kernels:
        raise ValueError(f"Could not find functional with name '{name}' in torchvision.transforms.v2.functional.")

    def add(kernel: Callable) -> Callable:
        _kernels[name][tv_tensor_cls] = kernel
        return kernel

    return add


def is_pure_tensor(inpt: Any) -> bool:
    """Whether it is a tensor of no kind."""
    return isinstance(inpt, Tensor) and not isinstance(inpt, tv_tensors.TVTensor)


def fill_of(fill: Any, inpt: Any) -> Any:
    """What to fill with, of one value for all or a dict by type, with "others"."""
    if not isinstance(fill, Mapping):
        return fill
    for cls in type(inpt).__mro__:
        if cls in fill:
            return fill[cls]
    return fill.get("others", 0)


def _is_picture(inpt: Any) -> bool:
    return not isinstance(inpt, (BoundingBoxes, KeyPoints, Mask))


def _picture(inpt: Any, change: Callable[[Any], Any]) -> Any:
    """Change a picture. TypeError for masks, boxes and points."""
    if not _is_picture(inpt):
        raise TypeError(f"this is for pictures and videos, not for {type(inpt).__name__}")
    return wrap(change(plain(inpt)), like=inpt)


def _geometry(
    inpt: Any, change: Callable[[Any, bool], Any], move: Callable[[np.ndarray, bool], np.ndarray],
    canvas: tuple[int, int] | None = None, clamp: bool = True,
) -> Any:  # fmt: skip
    """Change a picture or a mask (``change(tensor, is_mask)``), or move boxes or points (``move(points, are_pixels)``).

    canvas: the new size.   clamp: cut boxes to it.
    """
    if isinstance(inpt, BoundingBoxes):
        return _moved(inpt, lambda p: move(p, False), canvas or inpt.canvas_size, clamp)
    if isinstance(inpt, KeyPoints):
        points = plain(inpt)
        moved = move(_array(points).reshape(-1, 2), True).reshape(points.shape)
        return wrap(_like(moved, points), like=inpt, canvas_size=canvas or inpt.canvas_size)
    return wrap(change(plain(inpt), isinstance(inpt, Mask)), like=inpt)


def _array(tensor: Tensor) -> np.ndarray:
    found = array_of(tensor)
    return (tensor.detach().cpu().numpy() if found is None else found).astype(np.float64)


def _like(values: np.ndarray, tensor: Tensor) -> Tensor:
    """In the type and at the place of ``tensor``; cut, not rounded, to integers."""
    if not tensor.dtype.is_floating_point:
        values = np.trunc(np.round(values, 4))  # 2.9999999 means 3
    return tensor_of(values.astype(np.float64)).to(tensor.device, tensor.dtype)


def _corners(values: np.ndarray, old: BoundingBoxFormat) -> np.ndarray:
    a, b, c, d = values.T
    if old is BoundingBoxFormat.XYWH:
        c, d = a + c, b + d
    elif old is BoundingBoxFormat.CXCYWH:
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return np.stack([a, b, c, d], 1)


def _formatted(corners: np.ndarray, new: BoundingBoxFormat) -> np.ndarray:
    a, b, c, d = corners.T
    if new is BoundingBoxFormat.XYWH:
        c, d = c - a, d - b
    elif new is BoundingBoxFormat.CXCYWH:
        a, b, c, d = (a + c) / 2, (b + d) / 2, c - a, d - b
    return np.stack([a, b, c, d], 1)


def _moved(
    boxes: Any, move: Callable[[np.ndarray], np.ndarray], canvas: tuple[int, int], clamp: bool
) -> Any:
    """Boxes around where their corners go."""
    raw = plain(boxes)
    a, b, c, d = _corners(_array(raw).reshape(-1, 4), boxes.format).T
    points = move(np.stack([np.stack(p, 1) for p in ((a, b), (c, b), (c, d), (a, d))], 1).reshape(-1, 2))
    points = points.reshape(-1, 4, 2)
    out = np.concatenate([points.min(1), points.max(1)], 1)
    if clamp and boxes.clamping_mode is not None:
        out = _cut(out, canvas)
    return wrap(_like(_formatted(out, boxes.format), raw), like=boxes, canvas_size=canvas)


def _cut(corners: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    return np.clip(corners, 0, [canvas[1], canvas[0]] * 2)


# -- sizes and kinds ------------------------------------------------------------------------------------------------


def get_size(inpt: Any) -> list[int]:
    """[height, width] of a picture or mask, or of the picture that boxes and points belong to."""
    return get_dimensions(inpt)[1:]


def get_num_channels(inpt: Any) -> int:
    """The number of channels."""
    return get_dimensions(inpt)[0]


get_image_num_channels = get_num_channels


def get_image_size(inpt: Any) -> list[int]:
    """[width, height]."""
    return get_size(inpt)[::-1]


def get_num_frames(inpt: Any) -> int:
    """The number of pictures of a video."""
    return inpt.shape[-4]


def to_image(inpt: Any) -> Any:
    """A Pillow picture, an array (H, W[, C]) or a tensor (..., C, H, W) as ``tv_tensors.Image``, values unchanged."""
    if isinstance(inpt, np.ndarray):
        array = inpt[:, :, None] if inpt.ndim == 2 else inpt
        inpt = tensor_of(np.array(np.moveaxis(array, -1, -3), order="C"))
    elif not isinstance(inpt, Tensor) and not _pil.is_image(inpt):
        raise TypeError(f"Input can either be a pure Tensor, a numpy array, or a PIL image, but got {type(inpt)}.")
    return tv_tensors.Image(plain(inpt))


@_function
def to_dtype(inpt: Any, dtype: torch.dtype = torch.float, scale: bool = False) -> Any:
    """Another type; with ``scale``, values of pictures are scaled to its range."""
    if not isinstance(inpt, Tensor):
        raise TypeError(f"expected a tensor, got {type(inpt)}; to_image() makes one of a picture")
    if scale and _is_picture(inpt):
        return wrap(_tensor.convert_dtype(plain(inpt), dtype), like=inpt)
    return wrap(plain(inpt).to(dtype), like=inpt)


def convert_image_dtype(image: Any, dtype: torch.dtype = torch.float32) -> Any:
    """``to_dtype`` with ``scale``."""
    return to_dtype(image, dtype, scale=True)


# -- geometry -------------------------------------------------------------------------------------------------------


@_function
def horizontal_flip(inpt: Any) -> Any:
    """Left and right exchanged."""
    def move(p: np.ndarray, pixels: bool) -> np.ndarray:
        return np.stack([get_size(inpt)[1] - pixels - p[:, 0], p[:, 1]], 1)

    return _geometry(inpt, lambda x, _: V1.hflip(x), move, clamp=False)


@_function
def vertical_flip(inpt: Any) -> Any:
    """Top and bottom exchanged."""
    def move(p: np.ndarray, pixels: bool) -> np.ndarray:
        return np.stack([p[:, 0], get_size(inpt)[0] - pixels - p[:, 1]], 1)

    return _geometry(inpt, lambda x, _: V1.vflip(x), move, clamp=False)


hflip, vflip = horizontal_flip, vertical_flip


@_function
def resize(
    inpt: Any, size: Any, interpolation: Any = _BILINEAR, max_size: int | None = None, antialias: bool | None = True
) -> Any:
    """Another size: (h, w), or the shorter edge's; see ``transforms.functional.resize``."""
    h, w = get_size(inpt)
    th, tw = V1.resized(h, w, size, max_size)

    def change(x: Any, mask: bool) -> Any:
        exact = interpolation is InterpolationMode.NEAREST_EXACT
        return V1.resize(x, [th, tw], _NEAREST if mask and not exact else interpolation, antialias=antialias)

    return _geometry(inpt, change, lambda p, _: p * [tw / w, th / h], (th, tw), clamp=False)


@_function
def pad(inpt: Any, padding: Any, fill: Any = None, padding_mode: str = "constant") -> Any:
    """Borders: one width, [left/right, top/bottom] or [left, top, right, bottom]; boxes: for constant borders only."""
    left, top, right, bottom = V1._four([*padding] if isinstance(padding, (tuple, list)) else padding)
    h, w = get_size(inpt)
    value = fill_of(fill, inpt)
    if padding_mode != "constant" and isinstance(inpt, (BoundingBoxes, KeyPoints)):
        raise ValueError(f"Padding mode '{padding_mode}' is not supported with boxes or points.")

    def change(x: Any, mask: bool) -> Any:
        return V1.pad(x, padding, 0 if value is None else value, padding_mode)

    return _geometry(inpt, change, lambda p, _: p + [left, top], (h + top + bottom, w + left + right))


@_function
def crop(inpt: Any, top: int, left: int, height: int, width: int) -> Any:
    """A rectangle; what lies outside is 0."""
    return _geometry(
        inpt, lambda x, _: V1.crop(x, top, left, height, width), lambda p, _: p - [left, top], (height, width)
    )


@_function
def center_crop(inpt: Any, output_size: Any) -> Any:
    """The middle; smaller pictures are padded with 0."""
    (th, tw), (h, w) = V1._pair(output_size), get_size(inpt)

    def start(whole: int, part: int) -> int:
        return -((part - whole) // 2) if part > whole else round((whole - part) / 2.0)

    corner = [start(w, tw), start(h, th)]
    return _geometry(inpt, lambda x, _: V1.center_crop(x, output_size), lambda p, _: p - corner, (th, tw))


@_function
def resized_crop(
    inpt: Any, top: int, left: int, height: int, width: int, size: Any, interpolation: Any = _BILINEAR,
    antialias: bool | None = True,
) -> Any:  # fmt: skip
    """A rectangle, resized."""
    return resize(crop(inpt, top, left, height, width), size, interpolation, antialias=antialias)


def _affine_move(matrix: np.ndarray) -> Callable[[np.ndarray, bool], np.ndarray]:
    return lambda p, _: p @ matrix[:, :2].T + matrix[:, 2]


def _forward(center: Any, angle: float, translate: Any, scale: float, shear: Any, size: Sequence[int]) -> np.ndarray:
    middle = [size[1] * 0.5, size[0] * 0.5] if center is None else center
    inverse = np.eye(3)
    inverse[:2] = np.reshape(V1.inverse_affine(middle, angle, translate, scale, shear), (2, 3))
    return np.linalg.inv(inverse)[:2]


@_function
def affine(
    inpt: Any, angle: float, translate: Sequence[float], scale: float, shear: Any, interpolation: Any = _NEAREST,
    fill: Any = None, center: Sequence[float] | None = None,
) -> Any:  # fmt: skip
    """Sheared, scaled and turned clockwise about the middle, then moved; see ``transforms.functional.affine``."""
    both = [shear, 0.0] if isinstance(shear, (int, float)) else [*shear] * (2 if len(shear) == 1 else 1)

    def change(x: Any, mask: bool) -> Any:
        mode = _NEAREST if mask else interpolation
        return V1.affine(x, angle, [*translate], scale, both, mode, fill_of(fill, inpt), center)

    return _geometry(inpt, change, lambda p, pixels: _affine_move(
        _forward(center, angle, translate, scale, both, get_size(inpt)))(p, pixels))  # fmt: skip


@_function
def rotate(
    inpt: Any, angle: float, interpolation: Any = _NEAREST, expand: bool = False,
    center: Sequence[float] | None = None, fill: Any = None,
) -> Any:  # fmt: skip
    """Turned counter-clockwise about ``center``; see ``transforms.functional.rotate``."""
    h, w = get_size(inpt)
    canvas, matrix = (h, w), _forward(None if expand else center, -angle, [0.0, 0.0], 1.0, [0.0, 0.0], (h, w))
    if expand:
        canvas = V1._expanded(V1.inverse_affine([0.0, 0.0], -angle, [0.0, 0.0], 1.0, [0.0, 0.0]), h, w)
        corners = np.array([[0, 0, 1], [w, 0, 1], [0, h, 1], [w, h, 1]]) @ matrix.T
        matrix[:, 2] -= corners.min(0)

    def change(x: Any, mask: bool) -> Any:
        return V1.rotate(x, angle, _NEAREST if mask else interpolation, expand, center, fill_of(fill, inpt))

    return _geometry(inpt, change, _affine_move(matrix), canvas)


@_function
def perspective(
    inpt: Any, startpoints: Any, endpoints: Any, interpolation: Any = _BILINEAR, fill: Any = None
) -> Any:
    """Four points moved to others."""
    def change(x: Any, mask: bool) -> Any:
        return V1.perspective(x, startpoints, endpoints, _NEAREST if mask else interpolation, fill_of(fill, inpt))

    def move(p: np.ndarray, pixels: bool) -> np.ndarray:
        a, b, c, d, e, f, g, h = V1.perspective_coefficients(endpoints, startpoints)
        x, y = p.T
        depth = g * x + h * y + 1
        return np.stack([(a * x + b * y + c) / depth, (d * x + e * y + f) / depth], 1)

    return _geometry(inpt, change, move)


@_function
def elastic(inpt: Any, displacement: Tensor, interpolation: Any = _BILINEAR, fill: Any = None) -> Any:
    """Read at displaced places; boxes and points move the other way."""
    def change(x: Any, mask: bool) -> Any:
        return V1.elastic_transform(x, displacement, _NEAREST if mask else interpolation, fill_of(fill, inpt))

    def move(p: np.ndarray, pixels: bool) -> np.ndarray:
        h, w = get_size(inpt)
        at = np.ceil(p).astype(int)
        x, y = at[:, 0].clip(0, w - 1), at[:, 1].clip(0, h - 1)
        # pixel k has its centre at (2 k + 1) / n - 1 in halves of the picture
        return np.stack([x, y], 1) - _array(displacement)[0, y, x] * [w / 2, h / 2]

    return _geometry(inpt, change, move)


elastic_transform = elastic


def five_crop(inpt: Any, size: Any) -> tuple[Any, ...]:
    """The corners and the middle of a picture. TypeError for masks, boxes and points."""
    return tuple(wrap(x, like=inpt) for x in V1.five_crop(_picture(inpt, plain), size))


def ten_crop(inpt: Any, size: Any, vertical_flip: bool = False) -> tuple[Any, ...]:
    """The five crops of the picture and of its mirror image."""
    return tuple(wrap(x, like=inpt) for x in V1.ten_crop(_picture(inpt, plain), size, vertical_flip))


# -- colours: pictures only -----------------------------------------------------------------------------------------


def _of_pictures(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(inpt: Any, *args: Any, **kwargs: Any) -> Any:
        return _picture(inpt, lambda x: function(x, *args, **kwargs))

    return _function(functools.wraps(function)(call))


adjust_brightness, adjust_contrast = _of_pictures(V1.adjust_brightness), _of_pictures(V1.adjust_contrast)
adjust_saturation, adjust_sharpness = _of_pictures(V1.adjust_saturation), _of_pictures(V1.adjust_sharpness)
adjust_hue, adjust_gamma = _of_pictures(V1.adjust_hue), _of_pictures(V1.adjust_gamma)
invert, solarize, autocontrast = _of_pictures(V1.invert), _of_pictures(V1.solarize), _of_pictures(V1.autocontrast)
gaussian_blur, normalize = _of_pictures(V1.gaussian_blur), _of_pictures(V1.normalize)
rgb_to_grayscale = _of_pictures(V1.rgb_to_grayscale)
to_grayscale = rgb_to_grayscale


def _floating(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype.is_floating_point


@_function
def posterize(inpt: Any, bits: int) -> Any:
    """Only ``2 ** bits`` values of each channel."""
    def change(x: Any) -> Any:
        if not _floating(x):
            return V1.posterize(x, bits)
        return (x * 2**bits).floor().clamp(0, 2**bits - 1) / 2**bits

    return _picture(inpt, change)


@_function
def equalize(inpt: Any) -> Any:
    """Each channel's histogram of 256 values made flat."""
    def change(x: Any) -> Any:
        if not _floating(x):
            return V1.equalize(x)
        return _tensor.convert_dtype(V1.equalize(_tensor.convert_dtype(x, torch.uint8)), x.dtype)

    return _picture(inpt, change)


@_function
def erase(inpt: Any, i: int, j: int, h: int, w: int, v: Tensor, inplace: bool = False) -> Any:
    """The rectangle from (row i, column j), h by w, set to ``v``."""
    def change(x: Any) -> Any:
        if _pil.is_image(x):
            return to_pil_image(V1.erase(pil_to_tensor(x), i, j, h, w, v))
        return V1.erase(x, i, j, h, w, v, inplace)

    return _picture(inpt, change)


@_function
def grayscale_to_rgb(inpt: Any) -> Any:
    """Three equal channels from one; pictures of three stay as they are."""
    def change(x: Any) -> Any:
        if _pil.is_image(x):
            return x.convert("RGB")
        if x.shape[-3] not in (1, 3):
            raise TypeError(f"expected 1 or 3 channels, got {x.shape[-3]}")
        return x.expand(*x.shape[:-3], 3, *x.shape[-2:]).clone() if x.shape[-3] == 1 else x

    return _picture(inpt, change)


@_function
def permute_channels(inpt: Any, permutation: Sequence[int]) -> Any:
    """Channels in another order. ValueError unless there is one number per channel."""
    order = [int(i) for i in permutation]

    def change(x: Any) -> Any:
        if _pil.is_image(x):
            return to_pil_image(change(pil_to_tensor(x)))
        if sorted(order) != list(range(x.shape[-3])):
            raise ValueError(f"Length of permutation does not match number of channels: {order} of {x.shape[-3]}")
        return x[..., order, :, :]

    return _picture(inpt, change)


@_function
def gaussian_noise(inpt: Any, mean: float = 0.0, sigma: float = 0.1, clip: bool = True) -> Any:
    """A floating picture plus normal noise; sigma in units of white. ValueError for integers or a negative sigma."""
    def change(x: Any) -> Any:
        if not isinstance(x, Tensor):
            raise TypeError("gaussian_noise is for tensors, not for PIL pictures")
        if not x.dtype.is_floating_point and x.dtype != torch.uint8:
            raise ValueError(f"Input tensor is expected to be in uint8 or float dtype, got dtype={x.dtype}")
        if sigma < 0:
            raise ValueError(f"sigma shouldn't be negative. Got {sigma}")
        noise = tensor_of(random().normal(mean, sigma, tuple(x.shape)).astype(np.float32)).to(x.device)
        if x.dtype == torch.uint8:
            return (x + (noise * 255).round()).clamp(0, 255).to(torch.uint8)
        out = x + noise.to(x.dtype)
        return out.clamp(0, 1) if clip else out

    return _picture(inpt, change)


@_function
def jpeg(inpt: Any, quality: int) -> Any:
    """A picture (uint8) with the traces of a JPEG file of this quality, 1 to 100."""
    def change(x: Any) -> Any:
        from ... import io

        if _pil.is_image(x):
            return to_pil_image(change(pil_to_tensor(x)))
        if x.ndim > 3:
            parts = [change(p) for p in x.reshape(-1, *x.shape[-3:])]
            return torch.stack(parts).reshape(x.shape)
        return io.decode_jpeg(io.encode_jpeg(x, quality))

    return _picture(inpt, change)


@_function
def uniform_temporal_subsample(inpt: Any, num_samples: int) -> Any:
    """``num_samples`` pictures of a video (..., T, C, H, W), evenly spread from the first to the last."""
    if not isinstance(inpt, Tensor) or inpt.ndim < 4 or not _is_picture(inpt):
        raise TypeError(f"a video (..., T, C, H, W) is needed, got {type(inpt).__name__}")
    frames = np.linspace(0, inpt.shape[-4] - 1, num_samples).astype(np.int64).tolist()
    return wrap(plain(inpt)[..., frames, :, :, :], like=inpt)


# -- boxes and points -----------------------------------------------------------------------------------------------


def _known(inpt: Any, kind: type) -> bool:
    """Whether it is of that kind, or a plain tensor. TypeError for anything else."""
    if not isinstance(inpt, kind) and not is_pure_tensor(inpt):
        raise TypeError(f"expected a plain tensor or {kind.__name__}, but got {type(inpt)}")
    return isinstance(inpt, kind)


def convert_bounding_box_format(
    inpt: Tensor, old_format: Any = None, new_format: Any = None, inplace: bool = False
) -> Tensor:
    """Boxes in another format; ``old_format`` is for plain tensors, as BoundingBoxes know theirs (ValueError)."""
    if new_format is None:
        raise TypeError("convert_bounding_box_format() missing 1 required argument: 'new_format'")
    new = BoundingBoxFormat[new_format.upper()] if isinstance(new_format, str) else new_format
    if _known(inpt, BoundingBoxes):
        if old_format is not None:
            raise ValueError("For bounding box tv_tensor inputs, `old_format` must not be passed.")
        old = inpt.format
    elif old_format is None:
        raise ValueError("For pure tensor inputs, `old_format` has to be passed.")
    else:
        old = BoundingBoxFormat[old_format.upper()] if isinstance(old_format, str) else old_format
    for f in (old, new):
        if tv_tensors.is_rotated_bounding_format(f):
            raise NotImplementedError(f"rotated boxes ({f.name}) are not supported")
    raw = plain(inpt)
    out = raw if old is new else _like(
        _formatted(_corners(_array(raw).reshape(-1, 4), old), new).reshape(raw.shape), raw)  # fmt: skip
    if inplace:
        out = raw.copy_(out)
    return wrap(out, like=inpt, format=new) if isinstance(inpt, BoundingBoxes) else out


def clamp_bounding_boxes(
    inpt: Tensor, format: Any = None, canvas_size: Any = None, clamping_mode: Any = "auto"
) -> Tensor:
    """Boxes cut to their picture; ``format`` and ``canvas_size`` are for plain tensors, which need them."""
    known = _known(inpt, BoundingBoxes)
    if known != (format is None) or known != (canvas_size is None):
        raise ValueError(f"For {'bounding box tv_tensor' if known else 'pure tensor'} inputs, `format` and "
                         f"`canvas_size` {'must not' if known else 'have to'} be passed.")  # fmt: skip
    if clamping_mode is None or (clamping_mode == "auto" and known and inpt.clamping_mode is None):
        return inpt
    how = inpt.format if known else BoundingBoxFormat[format.upper()] if isinstance(format, str) else format
    size = inpt.canvas_size if known else tuple(canvas_size)
    raw = plain(inpt)
    cut = _formatted(_cut(_corners(_array(raw).reshape(-1, 4), how), size), how).reshape(raw.shape)
    return wrap(_like(cut, raw), like=inpt)


def clamp_keypoints(inpt: Tensor, canvas_size: Any = None) -> Tensor:
    """Points moved to the nearest pixel of their picture; ``canvas_size`` is for plain tensors."""
    if _known(inpt, KeyPoints) != (canvas_size is None):
        raise ValueError("canvas_size is for plain tensors, which need it; KeyPoints know theirs")
    h, w = inpt.canvas_size if canvas_size is None else canvas_size
    raw = plain(inpt)
    return wrap(_like(np.clip(_array(raw), 0, [w - 1, h - 1]), raw), like=inpt)


def sanitize_bounding_boxes(
    bounding_boxes: Tensor, format: Any = None, canvas_size: Any = None, min_size: float = 1.0, min_area: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The boxes that lie within the picture and are large enough, and which ones they are (N,), bool."""
    raw = plain(bounding_boxes)
    known = isinstance(bounding_boxes, BoundingBoxes)
    if not known and (format is None or canvas_size is None):
        raise ValueError("format and canvas_size cannot be None if bounding_boxes is a pure tensor.")
    how = bounding_boxes.format if known else BoundingBoxFormat[format.upper()] if isinstance(format, str) else format
    h, w = bounding_boxes.canvas_size if known else canvas_size
    corners = _corners(_array(raw).reshape(-1, 4), how)
    sides = corners[:, 2:] - corners[:, :2]
    good = (sides >= min_size).all(1) & (sides.prod(1) >= min_area) & (corners >= 0).all(1)
    good &= (corners[:, [0, 2]] <= w).all(1) & (corners[:, [1, 3]] <= h).all(1)
    valid = tensor_of(good).to(raw.device)
    return wrap(raw[tensor_of(np.flatnonzero(good)).to(raw.device)], like=bounding_boxes), valid



def sanitize_keypoints(key_points: Tensor, canvas_size: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
    """The points (N, ..., 2) that lie within the picture, all of an object's, and which ones they are (N,), bool."""
    raw = plain(key_points)
    known = isinstance(key_points, KeyPoints)
    if known and canvas_size is not None:
        raise ValueError(f"canvas_size must be None when key_points is a tv_tensors.KeyPoints, got {canvas_size}")
    if not known and canvas_size is None:
        raise ValueError("canvas_size cannot be None if key_points is a pure tensor.")
    h, w = key_points.canvas_size if known else canvas_size  # type: ignore[misc, attr-defined]
    at = _array(raw)
    good = ((at >= 0) & (at < np.array([w, h]))).all(tuple(range(1, at.ndim)))
    valid = tensor_of(good).to(raw.device)
    return wrap(raw[tensor_of(np.flatnonzero(good)).to(raw.device)], like=key_points), valid


def __getattr__(name: str) -> Any:
    """The functions for plain tensors of one kind: ``resize_image``, ``pad_video``, ``rotate_mask`` …"""
    base, _, kind = name.rpartition("_")
    if base not in __all__ or kind not in ("image", "video", "mask"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    function = globals()[base]
    if kind != "mask":
        return function
    return functools.wraps(function)(lambda inpt, *args, **kw: plain(function(tv_tensors.Mask(inpt), *args, **kw)))
