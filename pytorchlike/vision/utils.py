"""Pictures for looking at: grids, files, boxes and masks (``torchvision.utils``)."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from ..tensor import Tensor
from ._host import pillow, tensor_of

__all__ = [
    "draw_bounding_boxes", "draw_keypoints", "draw_segmentation_masks", "flow_to_image", "make_grid", "save_image",
]  # fmt: skip


def _read(tensor: Any) -> np.ndarray:
    if isinstance(tensor, np.ndarray):
        return tensor
    return tensor.detach().cpu().numpy()


def _grid(tensor: Any, nrow: int, padding: int, normalize: bool, value_range: Any, scale_each: bool,
          pad_value: float) -> np.ndarray:  # fmt: skip
    if isinstance(tensor, Tensor):
        images = _read(tensor)
    elif isinstance(tensor, list) and tensor and all(isinstance(t, Tensor) for t in tensor):
        images = np.stack([_read(t) for t in tensor])
    else:
        raise TypeError(f"tensor or list of tensors expected, got {type(tensor)}")
    images = images[None] if images.ndim == 2 else images
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4:
        raise ValueError(f"expected pictures (N, C, H, W), got shape {images.shape}")
    if images.shape[1] == 1:
        images = np.repeat(images, 3, 1)
    if normalize:
        if value_range is not None and not isinstance(value_range, tuple):
            raise TypeError("value_range has to be a tuple (min, max) if specified. min and max are numbers")
        images = images.astype(images.dtype if images.dtype.kind == "f" else np.float32)
        for part in images if scale_each else images[None]:
            low, top = value_range if value_range is not None else (float(part.min()), float(part.max()))
            part[...] = (np.clip(part, low, top) - low) / max(top - low, 1e-5)
    n, c, h, w = images.shape
    if n == 1:
        return images[0]
    cols = min(nrow, n)
    rows = math.ceil(n / cols)
    out = np.full((c, rows * (h + padding) + padding, cols * (w + padding) + padding), pad_value, images.dtype)
    for i, image in enumerate(images):
        y, x = (i // cols) * (h + padding) + padding, (i % cols) * (w + padding) + padding
        out[:, y : y + h, x : x + w] = image
    return out


def make_grid(
    tensor: Tensor | list[Tensor], nrow: int = 8, padding: int = 2, normalize: bool = False,
    value_range: tuple[float, float] | None = None, scale_each: bool = False, pad_value: float = 0.0,
) -> Tensor:  # fmt: skip
    """Pictures (N, C, H, W), or a list of (C, H, W), side by side in one picture, ``nrow`` of them to a row.

    padding: pixels of ``pad_value`` between them.   normalize: shift and scale ``value_range`` (by default that of the
    pictures, of each one with ``scale_each``) to [0, 1].   One channel becomes three. The pictures are read.
    """
    return tensor_of(_grid(tensor, nrow, padding, normalize, value_range, scale_each, pad_value))


def save_image(
    tensor: Tensor | list[Tensor], fp: str | os.PathLike | BinaryIO, format: str | None = None, **kwargs: Any
) -> None:
    """Write a grid (``make_grid``, which gets ``kwargs``) of pictures in [0, 1] to a file."""
    options = {"nrow": 8, "padding": 2, "normalize": False, "value_range": None, "scale_each": False, "pad_value": 0.0}
    unknown = kwargs.keys() - options.keys()
    if unknown:
        raise TypeError(f"save_image() got an unexpected keyword argument {sorted(unknown)[0]!r}")
    grid = _grid(tensor, **{**options, **kwargs})  # type: ignore[arg-type]
    pixels = np.clip(grid.astype(np.float32) * 255 + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    pillow().fromarray(np.ascontiguousarray(pixels)).save(fp, format=format)


#: Multiples of these, modulo 255, are the colours of objects that are given none.
_STEPS = (2**25 - 1, 2**15 - 1, 2**21 - 1)


def _colours(colors: Any, count: int) -> list[tuple[int, int, int]]:
    """RGB of each object."""
    if colors is None:
        return [tuple(i * step % 255 for step in _STEPS) for i in range(count)]  # type: ignore[misc]
    if isinstance(colors, list):
        if len(colors) < count:
            raise ValueError(
                "Number of colors must be equal or larger than the number of objects, "
                f"but got {len(colors)} < {count}."
            )
        given = colors
    else:
        given = [colors] * count
    named = pillow("ImageColor").getrgb
    return [tuple(named(c)[:3]) if isinstance(c, str) else tuple(c) for c in given[:count]]  # type: ignore[misc]


def _check_picture(image: Any, channels: tuple[int, ...] = (3,)) -> None:
    """TypeError for what is no tensor, ValueError for what is no picture of so many channels, uint8 or floats."""
    if not isinstance(image, Tensor):
        raise TypeError(f"Tensor expected, got {type(image)}")
    if image.ndim != 3:
        raise ValueError("Pass individual images, not batches")
    if image.shape[0] not in channels:
        raise ValueError(f"Pass an image of {' or '.join(map(str, channels))} channels, got {image.shape[0]}")
    if image.dtype.numpy.kind != "f" and image.dtype.numpy != np.uint8:
        raise ValueError(f"The image dtype must be uint8 or float, got {image.dtype}")


def _canvas(image: Any, channels: tuple[int, ...] = (3,)) -> np.ndarray:
    """The picture as uint8 (H, W, 3)."""
    _check_picture(image, channels)
    array = _read(image)
    if array.dtype.kind == "f":
        array = (np.clip(array, 0, 1) * 255).astype(np.uint8)
    return np.repeat(array, 3 // array.shape[0], 0).transpose(1, 2, 0).copy()


def _as(pixels: np.ndarray, like: Tensor) -> Tensor:
    out = pixels.transpose(2, 0, 1)
    if like.dtype.is_floating_point:
        return tensor_of(out.astype(np.float32) / 255).to(like.dtype)
    return tensor_of(out)


def draw_bounding_boxes(
    image: Tensor, boxes: Tensor, labels: list[str] | None = None, colors: Any = None, fill: bool = False,
    width: int = 1, font: str | None = None, font_size: int | None = None, label_colors: Any = None,
    label_background_colors: Any = None, fill_labels: bool = False,
) -> Tensor:  # fmt: skip
    """The picture (C, H, W), uint8 or floats in [0, 1], with boxes (N, 4), x1 y1 x2 y2, and their labels.

    colors: one, or a list; names, "#rrggbb" or RGB.   fill_labels: labels stand on rectangles of
    ``label_background_colors``, by default of the colours of the boxes, and are black.
    Raises ValueError for a box whose x1 > x2 or y1 > y2.
    """
    pixels = _canvas(image, (1, 3))
    coordinates = _read(boxes).reshape(-1, 4).tolist()
    if any(x1 > x2 or y1 > y2 for x1, y1, x2, y2 in coordinates):
        raise ValueError("Boxes need to be in (xmin, ymin, xmax, ymax) format. Use torchvision.ops.box_convert to convert them")  # noqa: E501  # fmt: skip
    if labels is not None and len(labels) != len(coordinates):
        raise ValueError(f"The number of boxes ({len(coordinates)}) and labels ({len(labels)}) mismatch.")
    if not coordinates:
        warnings.warn("boxes doesn't contain any box. No box was drawn", stacklevel=2)
        return image
    shown = _colours(colors, len(coordinates))
    text = _colours(label_colors or "black", len(coordinates)) if label_colors or fill_labels else shown
    behind = _colours(label_background_colors, len(coordinates)) if label_background_colors else shown
    if font is None and font_size is not None:
        warnings.warn("Argument 'font_size' will be ignored since 'font' is not set.", stacklevel=2)
    drawing = pillow("ImageDraw")
    picture = pillow().fromarray(pixels)
    draw = drawing.Draw(picture, "RGBA") if fill else drawing.Draw(picture)
    fonts = pillow("ImageFont")
    letters = fonts.load_default() if font is None else fonts.truetype(font, font_size or 10)
    for i, (given, colour) in enumerate(zip(coordinates, shown, strict=True)):
        box = [int(v) for v in given]
        draw.rectangle(box, fill=(*colour, 100) if fill else None, width=width, outline=colour)
        if labels is not None and labels[i] is not None:
            corner = (box[0] + width + 1, box[1] + width + 1)
            if fill_labels:
                left, top, right, bottom = draw.textbbox(corner, labels[i], font=letters)
                draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=behind[i])
            draw.text(corner, labels[i], fill=text[i], font=letters)
    return _as(np.array(picture), image)


def draw_segmentation_masks(image: Tensor, masks: Tensor, alpha: float = 0.8, colors: Any = None) -> Tensor:
    """The picture (3, H, W) with masks (N, H, W), bool, with opacity ``alpha``; black where several are."""
    _check_picture(image)
    flags = _read(masks)
    flags = flags[None] if flags.ndim == 2 else flags
    if flags.dtype != np.bool_:
        raise ValueError("The masks must be of dtype bool. Got " + str(masks.dtype))
    if flags.shape[-2:] != tuple(image.shape[-2:]):
        raise ValueError("The image and the masks must have the same height and width")
    if not len(flags):
        warnings.warn("masks doesn't contain any mask. No mask was drawn", stacklevel=2)
        return image
    floating = image.dtype.is_floating_point
    pixels = _read(image).astype(np.float32)
    mixed = pixels.copy()
    for mask, colour in zip(flags, _colours(colors, len(flags)), strict=True):
        mixed[:, mask] = np.array(colour, np.float32)[:, None] / (255 if floating else 1)
    mixed[:, flags.sum(0) > 1] = 0
    out = pixels * np.float32(1 - alpha) + mixed * np.float32(alpha)
    return tensor_of(out).to(image.dtype) if floating else tensor_of(out.astype(np.uint8))


def draw_keypoints(
    image: Tensor, keypoints: Tensor, connectivity: Sequence[tuple[int, int]] | None = None, colors: Any = None,
    radius: int = 2, width: int = 3, visibility: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The picture (3, H, W) with points (N, K, 2), x and y; white lines join those that ``connectivity`` pairs.

    colors: one, of the points, which are not drawn without it.
    """
    points = _read(keypoints)
    if points.ndim != 3:
        raise ValueError("keypoints must be of shape (num_instances, K, 2)")
    points = points.astype(np.int64)
    seen = np.ones(points.shape[:2], bool) if visibility is None else _read(visibility).reshape(points.shape[:2]) > 0
    picture = pillow().fromarray(_canvas(image))
    draw = pillow("ImageDraw").Draw(picture)
    colour = None if colors is None else _colours(colors, 1)[0]
    for instance, visible in zip(points, seen, strict=True):
        for (x, y), shown in zip(instance.tolist(), visible, strict=True):
            if shown:
                draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour, width=0)
        for a, b in connectivity or ():
            if visible[a] and visible[b]:
                draw.line([tuple(instance[a].tolist()), tuple(instance[b].tolist())], width=width)
    return _as(np.array(picture), image)


def flow_to_image(flow: Tensor) -> Tensor:
    """Pictures of optical flow: the colour tells the direction, its strength the length, relative to the longest.

    Shapes: float32 (N, 2, H, W) or (2, H, W) -> uint8 (N, 3, H, W) or (3, H, W).
    Raises ValueError for other shapes and dtypes.
    Source: the colour wheel of Baker et al. 2007, "A Database and Evaluation Methodology for Optical Flow".
    """
    if str(flow.dtype) != "torch.float32":
        raise ValueError(f"Flow should be of dtype torch.float, got {flow.dtype}.")
    if flow.ndim not in (3, 4) or flow.shape[-3] != 2:
        raise ValueError(f"Input flow should have shape (2, H, W) or (N, 2, H, W), got {tuple(flow.shape)}.")
    x, y = np.moveaxis(_read(flow), -3, 0)
    length = np.sqrt(x * x + y * y)
    longest = length.max() + np.finfo(np.float32).eps
    wheel = _wheel()
    place = (np.arctan2(-y / longest, -x / longest) / np.float32(np.pi) + 1) / 2 * (len(wheel) - 1)
    low = np.floor(place).astype(np.int64)
    share = (place - low)[..., None]
    colour = (1 - share) * wheel[low] + share * wheel[(low + 1) % len(wheel)]
    colour = 1 - (length / longest)[..., None] * (1 - colour)
    return tensor_of(np.moveaxis(np.floor(255 * colour).astype(np.uint8), -1, -3))


def _wheel() -> np.ndarray:
    """The 55 colours between red, yellow, green, cyan, blue, magenta and red, (55, 3), in [0, 1]."""
    corners = [(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)]
    parts = []
    for a, b, n in zip(corners, corners[1:], (15, 6, 4, 11, 13, 6), strict=False):
        ramp = np.floor(255 * np.arange(n) / n) / 255
        parts.append(np.array(a) + np.subtract(b, a) * ramp[:, None])
    return np.concatenate(parts).astype(np.float32)
