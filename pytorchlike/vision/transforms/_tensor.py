"""Transforms of tensors (..., C, H, W): values of floating types lie in [0, 1], those of integers in their range.

The same functions serve pictures in host memory (``hosted``: computed at once) and tensors that are being computed,
where they are recorded and differentiable like any operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor
from pytorchlike.nn import functional as F

from .._host import array_of, hosted, tensor_of


def highest(dtype: torch.dtype) -> float:
    """The value of white."""
    if dtype == torch.bool or dtype.is_floating_point:
        return 1
    return torch.iinfo(dtype).max


def check_image(img: Any) -> None:
    """TypeError unless it is a tensor (..., H, W)."""
    if not isinstance(img, Tensor) or img.ndim < 2:
        raise TypeError(f"Tensor is not a torch image: expected (..., H, W), got {getattr(img, 'shape', type(img))}")


def channels(img: Tensor) -> int:
    return 1 if img.ndim == 2 else img.shape[-3]


def check_channels(img: Tensor, permitted: Sequence[int]) -> None:
    if channels(img) not in permitted:
        raise TypeError(f"Input image tensor permitted channel values are {list(permitted)}, but found {channels(img)}")


def to_floats(img: Tensor) -> tuple[Tensor, torch.dtype]:
    """The picture in a floating type, and its own type."""
    return (img, img.dtype) if img.dtype.is_floating_point else (img.to(torch.float32), img.dtype)


def back(img: Tensor, dtype: torch.dtype) -> Tensor:
    """Floats as ``dtype`` again, rounded for integers."""
    if dtype.is_floating_point:
        return img.to(dtype)
    return img.round().clamp(torch.iinfo(dtype).min if dtype != torch.bool else 0, highest(dtype)).to(dtype)


def blend(a: Tensor, b: Tensor | float, ratio: float) -> Tensor:
    """``ratio * a + (1 - ratio) * b``, kept within the range of a's type and cut, not rounded, to it."""
    mixed = float(ratio) * a + (1.0 - float(ratio)) * b
    return mixed.clamp(0, highest(a.dtype)).to(a.dtype)


@hosted
def convert_dtype(img: Tensor, dtype: torch.dtype) -> Tensor:
    old = img.dtype
    if old == dtype:
        return img
    if old.is_floating_point:
        if dtype.is_floating_point:
            return img.to(dtype)
        if (old == torch.float32 and dtype in (torch.int32, torch.int64)) or (
            old == torch.float64 and dtype == torch.int64
        ):
            raise RuntimeError(f"The cast from {old} to {dtype} cannot be performed safely.")
        # each of the integers gets an interval of the same width
        return (img * (highest(dtype) + 1.0 - 1e-3)).to(dtype)
    if dtype.is_floating_point:
        return img.to(dtype) / highest(old)
    a, b = int(highest(old)), int(highest(dtype))
    if a > b:
        return torch.div(img, (a + 1) // (b + 1), rounding_mode="floor").to(dtype)
    return img.to(dtype) * ((b + 1) // (a + 1))


def normalize(img: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool) -> Tensor:
    if not img.dtype.is_floating_point:
        raise TypeError(f"Input tensor should be a float tensor. Got {img.dtype}.")
    if img.ndim < 3:
        raise ValueError(
            f"Expected tensor to be a tensor image of size (..., C, H, W). Got tensor.size() = {tuple(img.shape)}"
        )
    array = array_of(img)
    if array is not None and not inplace and not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        m, s = np.asarray(mean, array.dtype), np.asarray(std, array.dtype)
        if (s == 0).any():
            raise ValueError(f"std evaluated to zero after conversion to {img.dtype}, leading to division by zero.")
        return tensor_of((array - m.reshape(-1, 1, 1)) / s.reshape(-1, 1, 1))
    m = torch.as_tensor(mean, dtype=img.dtype, device=img.device).reshape(-1, 1, 1)
    s = torch.as_tensor(std, dtype=img.dtype, device=img.device).reshape(-1, 1, 1)
    if not isinstance(std, Tensor) and 0 in np.asarray(std):
        raise ValueError(f"std evaluated to zero after conversion to {img.dtype}, leading to division by zero.")
    return img.sub_(m).div_(s) if inplace else (img - m) / s


@hosted
def resize(img: Tensor, size: Sequence[int], mode: str, antialias: bool) -> Tensor:
    if tuple(img.shape[-2:]) == tuple(size):
        return img
    x, dtype = (img, img.dtype) if mode.startswith("nearest") else to_floats(img)
    x = x.to(torch.uint8) if dtype == torch.bool else x
    shape = x.shape
    x = x.reshape(-1, *((1,) if img.ndim == 2 else ()), *shape[-3:])
    smooth = mode in ("bilinear", "bicubic")
    # more precise than float16 in between, as the weights of many pixels are summed
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    # masks: interpolation knows no wider integers
    x = x if x.is_floating_point() or x.dtype == torch.uint8 else x.double()
    x = F.interpolate(x, size=list(size), mode=mode, align_corners=False if smooth else None,
                      antialias=antialias and smooth)  # fmt: skip
    return back(x, dtype).reshape(*shape[:-2], *size)


@hosted
def pad(img: Tensor, left: int, right: int, top: int, bottom: int, fill: Any, mode: str) -> Tensor:
    if mode == "symmetric":
        rows, cols = (torch.from_numpy(np.pad(np.arange(n), p, mode="symmetric"))
                      for n, p in ((img.shape[-2], (top, bottom)), (img.shape[-1], (left, right))))  # fmt: skip
        return img[..., rows.to(img.device), :][..., cols.to(img.device)]
    if mode == "constant":
        if isinstance(fill, Sequence) and len(set(fill)) > 1:
            if len(fill) != channels(img):
                raise ValueError(f"fill should have one value per channel, {channels(img)}, but got {list(fill)}")
            return torch.stack([F.pad(img[..., c, :, :], (left, right, top, bottom), value=float(v))
                                for c, v in enumerate(fill)], -3)  # fmt: skip
        value = float(fill[0] if isinstance(fill, Sequence) else fill or 0)
        return F.pad(img, (left, right, top, bottom), mode="constant", value=value)
    if min(left, right, top, bottom) < 0:
        raise ValueError(f"negative padding needs padding_mode='constant', got {mode!r}")
    x, dtype = to_floats(img) if img.dtype != torch.int64 else (img.double(), img.dtype)
    lead = x.shape[:-2]
    x = F.pad(x.reshape(1, -1, *x.shape[-2:]), (left, right, top, bottom), mode="replicate" if mode == "edge" else mode)
    return x.reshape(*lead, *x.shape[-2:]).to(dtype)


@hosted
def crop(img: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    h, w = img.shape[-2:]
    cut = img[..., max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    if top >= 0 and left >= 0 and top + height <= h and left + width <= w:
        return cut
    return F.pad(cut, (min(max(-left, 0), width), min(max(left + width - max(w, left), 0), width),
                       min(max(-top, 0), height), min(max(top + height - max(h, top), 0), height)))  # fmt: skip


@hosted
def flip(img: Tensor, dim: int) -> Tensor:
    array = array_of(img)
    return tensor_of(np.flip(array, dim)) if array is not None else img.flip(dim)


@hosted
def grayscale(img: Tensor, num_output_channels: int) -> Tensor:
    check_channels(img, (1, 3))
    if num_output_channels not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")
    if channels(img) == 3:
        r, g, b = img.unbind(-3)
        # ITU-R BT.601 luma
        img = (0.2989 * r + 0.587 * g + 0.114 * b).to(img.dtype).unsqueeze(-3)
    return img.expand(*img.shape[:-3], num_output_channels, *img.shape[-2:]).clone()


@hosted
def adjust_brightness(img: Tensor, factor: float) -> Tensor:
    check_channels(img, (1, 3))
    return blend(img, 0.0, factor)


@hosted
def adjust_contrast(img: Tensor, factor: float) -> Tensor:
    check_channels(img, (1, 3))
    gray = grayscale(img, 1) if channels(img) == 3 else img
    mean = to_floats(gray)[0].mean((-3, -2, -1), keepdim=True)
    return blend(img, mean, factor)


@hosted
def adjust_saturation(img: Tensor, factor: float) -> Tensor:
    check_channels(img, (1, 3))
    return img if channels(img) == 1 else blend(img, grayscale(img, 1), factor)


@hosted
def adjust_hue(img: Tensor, factor: float) -> Tensor:
    check_channels(img, (1, 3))
    if channels(img) == 1:
        return img
    dtype = img.dtype
    hue, saturation, value = _rgb_to_hsv(convert_dtype(img, torch.float32)).unbind(-3)
    rgb = _hsv_to_rgb((hue + factor) % 1.0, saturation, value)
    return convert_dtype(rgb, dtype)


def _rgb_to_hsv(img: Tensor) -> Tensor:
    """Hue in turns, saturation and value (Smith 1978)."""
    r, g, b = img.unbind(-3)
    top, low = torch.maximum(torch.maximum(r, g), b), torch.minimum(torch.minimum(r, g), b)
    span = top - low
    gray = span == 0
    d = torch.where(gray, 1.0, span)
    sixth = torch.where(top == r, (g - b) / d, torch.where(top == g, 2.0 + (b - r) / d, 4.0 + (r - g) / d))
    hue = torch.where(gray, 0.0, (sixth / 6.0) % 1.0)
    return torch.stack([hue, torch.where(gray, 0.0, span / torch.where(gray, 1.0, top)), top], -3)


def _hsv_to_rgb(h: Tensor, s: Tensor, v: Tensor) -> Tensor:
    """Each of red, green and blue is a trapezoid of the hue, a third of a turn apart."""
    def part(n: int) -> Tensor:
        k = (n + h * 6.0) % 6.0
        return (v - v * s * torch.minimum(k, 4.0 - k).clamp(0, 1)).clamp(0, 1)

    return torch.stack([part(5), part(3), part(1)], -3)


@hosted
def adjust_gamma(img: Tensor, gamma: float, gain: float) -> Tensor:
    return convert_dtype((gain * convert_dtype(img, torch.float32) ** gamma).clamp(0, 1), img.dtype)


@hosted
def invert(img: Tensor) -> Tensor:
    return highest(img.dtype) - img


@hosted
def posterize(img: Tensor, bits: int) -> Tensor:
    if img.dtype != torch.uint8:
        raise TypeError(f"Only torch.uint8 image tensors are supported, but found {img.dtype}")
    return img & (256 - 2 ** (8 - bits))


@hosted
def solarize(img: Tensor, threshold: float) -> Tensor:
    if threshold > highest(img.dtype):
        raise TypeError("Threshold should be less than bound of img.")
    return torch.where(img >= threshold, highest(img.dtype) - img, img)


@hosted
def autocontrast(img: Tensor) -> Tensor:
    check_channels(img, (1, 3))
    bound = float(highest(img.dtype))
    x = to_floats(img)[0]
    low, top = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    flat = low == top
    scale = torch.where(flat, 1.0, torch.where(flat, 1.0, top - low).reciprocal() * bound)
    return ((x - torch.where(flat, 0.0, low)) * scale).clamp(0, bound).to(img.dtype)


def equalize(img: Tensor) -> Tensor:
    """Flatten the histogram of each channel (the algorithm of Pillow's ImageOps.equalize)."""
    check_channels(img, (1, 3))
    if img.dtype != torch.uint8:
        raise TypeError(f"Only torch.uint8 image tensors are supported, but found {img.dtype}")
    array = img.cpu().numpy()
    planes = array.reshape(-1, *array.shape[-2:])
    return tensor_of(np.stack([_equal(p) for p in planes]).reshape(array.shape)).to(img.device)


def _equal(plane: np.ndarray) -> np.ndarray:
    counts = np.bincount(plane.ravel(), minlength=256)
    step = int(counts[np.nonzero(counts)[0][:-1]].sum()) // 255
    if step == 0:
        return plane
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.clip((before + step // 2) // step, 0, 255).astype(np.uint8)[plane]


@hosted
def adjust_sharpness(img: Tensor, factor: float) -> Tensor:
    check_channels(img, (1, 3))
    if min(img.shape[-2:]) <= 2:
        return img
    kernel = torch.ones(3, 3, device=img.device)
    kernel[1, 1] = 5.0
    inner = _filter(img, kernel / 13.0)  # without padding: the border stays
    x = to_floats(img)[0]
    rows, cols = torch.arange(img.shape[-2], device=img.device), torch.arange(img.shape[-1], device=img.device)
    inside = (((rows > 0) & (rows < img.shape[-2] - 1))[:, None] & ((cols > 0) & (cols < img.shape[-1] - 1)))
    smooth = torch.where(inside, F.pad(back(inner, img.dtype).to(x.dtype), (1, 1, 1, 1)), x)
    return blend(img, smooth, factor)


def _filter(img: Tensor, kernel: Tensor) -> Tensor:
    x = to_floats(img)[0]
    out = F.conv2d(x.reshape(-1, 1, *x.shape[-2:]), kernel.to(x.dtype)[None, None])
    return out.reshape(*x.shape[:-2], *out.shape[-2:])


@hosted
def gaussian_blur(img: Tensor, kernel_size: Sequence[int], sigma: Sequence[float]) -> Tensor:
    (kx, ky), (sx, sy) = kernel_size, sigma
    row, col = (torch.from_numpy(_bell(k, s)).to(img.device) for k, s in ((kx, sx), (ky, sy)))
    x, dtype = to_floats(img)
    flat = x.reshape(1, -1, *x.shape[-2:])
    flat = F.pad(flat, (kx // 2, kx // 2, ky // 2, ky // 2), mode="reflect")
    return back(_filter(flat, col[:, None] * row[None, :]).reshape(x.shape), dtype)


def _bell(n: int, sigma: float) -> np.ndarray:
    x = np.arange(n) - (n - 1) / 2
    weights = np.exp(-0.5 * (x / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)


@hosted
def sample(img: Tensor, grid: np.ndarray, mode: str, fill: Any) -> Tensor:
    """The picture read at ``grid``, (H', W', 2) pairs x, y in [-1, 1]; ``fill`` where that lies outside."""
    x, dtype = to_floats(img)
    shape = x.shape
    x = x.reshape(-1, channels(img), *shape[-2:])
    places = torch.from_numpy(np.ascontiguousarray(grid, np.float32)).to(x.device, x.dtype)
    places = places.expand(x.shape[0], *grid.shape)
    if fill is not None:
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    x = F.grid_sample(x, places, mode=mode, padding_mode="zeros", align_corners=False)
    if fill is not None:
        x, mask = x[:, :-1], x[:, -1:]
        values = [float(v) for v in fill] if isinstance(fill, Sequence) else [float(fill)]
        if len(values) not in (1, x.shape[1]):
            raise ValueError(f"fill has {len(values)} values, but the picture {x.shape[1]} channels")
        colour = torch.tensor(values, dtype=x.dtype, device=x.device).reshape(1, -1, 1, 1)
        x = torch.where(mask < 0.5, colour, x) if mode == "nearest" else x * mask + (1.0 - mask) * colour
    return back(x, dtype).reshape(*shape[:-2], *grid.shape[:2])


def affine_grid(matrix: Sequence[float], height: int, width: int, out_height: int, out_width: int) -> np.ndarray:
    """Where the pixels of the result lie in the picture; ``matrix`` maps them in pixels from the centre."""
    xs = np.arange(out_width) - out_width / 2 + 0.5
    ys = np.arange(out_height) - out_height / 2 + 0.5
    theta = np.asarray(matrix, np.float64).reshape(2, 3)
    points = np.stack([*np.meshgrid(xs, ys), np.ones((out_height, out_width))], -1)
    return points @ theta.T / [width / 2, height / 2]


def perspective_grid(coefficients: Sequence[float], height: int, width: int) -> np.ndarray:
    """As above, for ``x' = (a x + b y + c) / (g x + h y + 1)`` and ``y' = (d x + e y + f) / (g x + h y + 1)``."""
    a, b, c, d, e, f, g, h = coefficients
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    below = g * x + h * y + 1.0
    return np.stack([(a * x + b * y + c) / below / (width / 2) - 1, (d * x + e * y + f) / below / (height / 2) - 1], -1)


@hosted
def elastic(img: Tensor, displacement: np.ndarray, mode: str, fill: Any) -> Tensor:
    height, width = img.shape[-2:]
    still = affine_grid((1, 0, 0, 0, 1, 0), height, width, height, width)
    return sample(img, still + displacement, mode, fill)


@hosted
def erase(img: Tensor, i: int, j: int, h: int, w: int, v: Tensor, inplace: bool) -> Tensor:
    out = img if inplace else img.clone()
    out[..., i : i + h, j : j + w] = v
    return out


