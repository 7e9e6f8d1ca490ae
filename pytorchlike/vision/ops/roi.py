"""Regions of interest of feature maps (N, C, H, W); boxes (K, 5): picture, x1, y1, x2, y2, or a list of (L, 4)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor, nn

__all__ = ["MultiScaleRoIAlign", "PSRoIAlign", "PSRoIPool", "RoIAlign", "RoIPool", "ps_roi_align", "ps_roi_pool",
           "roi_align", "roi_pool"]  # fmt: skip


def _regions(boxes: Any) -> Tensor:
    if isinstance(boxes, (list, tuple)):
        for b in boxes:
            if b.ndim != 2 or b.shape[1] != 4:
                raise ValueError(
                    f"The shape of the tensor in the boxes list is not correct as (L, 4): {tuple(b.shape)}"
                )
        return torch.cat([torch.cat([torch.full_like(b[:, :1], i), b], 1) for i, b in enumerate(boxes)])
    if boxes.ndim != 2 or boxes.shape[1] != 5:
        raise ValueError(f"The boxes tensor shape is not correct as Tensor[K, 5]: {tuple(boxes.shape)}")
    return boxes


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _axis(start: Tensor, length: Tensor, cells: int, samples: Tensor | int, most: int, size: Any) -> tuple[Any, ...]:
    """Where the samples of each cell lie along an axis: two neighbouring pixels and their weights, (K, cells * most).

    samples: per cell, one number or (K,), at most ``most``; their weights add up to 1 where the map has pixels.
    """
    k = torch.arange(cells * most, device=start.device)
    cell, i = (k // most).to(start.dtype), (k % most).to(start.dtype)
    if isinstance(samples, Tensor):
        samples = samples[:, None]
    place = start[:, None] + (length[:, None] / cells) * (cell + (i + 0.5) / samples)
    inside = (place >= -1.0) & (place <= size) & (i < samples)
    place = torch.minimum(place.clamp(min=0), (size - 1) * torch.ones_like(place))
    low = place.floor()
    part = place - low
    low = low.long()
    high = torch.minimum(low + 1, (size - 1) * torch.ones_like(low))
    share = inside / samples
    return low, high, (1 - part) * share, part * share


def _sample(
    rows: Tensor, first: Tensor, height: Any, width: Any, boxes: Tensor, output_size: tuple[int, int],
    sampling_ratio: int, aligned: bool,
) -> Tensor:  # fmt: skip
    """Boxes (K, 4), in pixels of their map, sampled from maps laid out as rows of pixels (R, C): (K, C, h, w).

    first: the row of each box's map (K,).   height, width: of the map, one number or (K, 1).
    """
    ph, pw = output_size
    x1, y1, x2, y2 = (boxes - (0.5 if aligned else 0.0)).unbind(1)
    w, h = x2 - x1, y2 - y1
    if not aligned:
        w, h = w.clamp(min=1.0), h.clamp(min=1.0)
    most = [sampling_ratio] * 2
    counts: list[Any] = [sampling_ratio] * 2
    if sampling_ratio <= 0:
        # as many samples as a cell has pixels, which depends on the values; few different programs come of it
        counts = [(side / n).ceil().clamp(min=1) for side, n in ((h, ph), (w, pw))]
        most = [1 << (max(int(c.max()), 1) - 1).bit_length() if len(c) else 1 for c in counts]
    (up, down, *vertical), (left, right, *horizontal) = (
        _axis(y1, h, ph, counts[0], most[0], height), _axis(x1, w, pw, counts[1], most[1], width)
    )  # fmt: skip
    out: Any = 0
    for y, wy in zip((up, down), vertical, strict=True):
        for x, wx in zip((left, right), horizontal, strict=True):
            index = (first[:, None] + y * width)[:, :, None] + x[:, None, :]
            out = out + rows[index] * (wy[:, :, None] * wx[:, None, :])[..., None]
    return out.reshape(-1, ph, most[0], pw, most[1], rows.shape[1]).sum((2, 4)).permute(0, 3, 1, 2)


def _pixels(input: Tensor) -> Tensor:
    """A map (N, C, H, W) as rows (N * H * W, C)."""
    return input.permute(0, 2, 3, 1).reshape(-1, input.shape[1])


def roi_align(
    input: Tensor, boxes: Any, output_size: Any, spatial_scale: float = 1.0, sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:  # fmt: skip
    """(N, C, H, W) and K boxes -> (K, C, h, w): means of bilinear samples (He et al. 2017, arXiv:1703.06870).

    spatial_scale: from the boxes' coordinates to the map's.   aligned: pixels' centres lie at halves.
    sampling_ratio: samples per cell along each axis; if not positive, as many as the cell has pixels, for which the
    largest box is read.
    """
    rois = _regions(boxes).to(input.dtype)
    h, w = input.shape[-2:]
    return _sample(_pixels(input), rois[:, 0].long() * (h * w), h, w, rois[:, 1:] * spatial_scale, _pair(output_size),
                   sampling_ratio, aligned)  # fmt: skip


def ps_roi_align(
    input: Tensor, boxes: Any, output_size: Any, spatial_scale: float = 1.0, sampling_ratio: int = -1
) -> Tensor:
    """(N, C * h * w, H, W) and K boxes -> (K, C, h, w): each cell has channels of its own (Light-Head R-CNN)."""
    ph, pw = _pair(output_size)
    if input.shape[1] % (ph * pw):
        raise RuntimeError(f"input channels must be a multiple of {ph} * {pw}, got {input.shape[1]}")
    every = roi_align(input, boxes, (ph, pw), spatial_scale, sampling_ratio, True)
    cells = torch.arange(ph * pw, device=input.device)
    every = every.reshape(every.shape[0], -1, ph * pw, ph * pw)[:, :, cells, cells]
    return every.reshape(*every.shape[:2], ph, pw)


def ps_roi_pool(input: Tensor, boxes: Any, output_size: Any, spatial_scale: float = 1.0) -> Tensor:
    """(N, C * h * w, H, W) and K boxes -> (K, C, h, w): means over cells of whole pixels, each with its own channels.

    Empty cells are 0. The last row and column of pixels count for no cell, as in torchvision (Dai et al. 2016, R-FCN).
    """
    (ph, pw), rois = _pair(output_size), _regions(boxes).to(input.dtype)
    if input.shape[1] % (ph * pw):
        raise RuntimeError(f"input channels must be a multiple of {ph} * {pw}, got {input.shape[1]}")
    x1, y1, x2, y2 = (torch.floor(rois[:, i] * spatial_scale + 0.5) for i in range(1, 5))

    def axis(start: Tensor, end: Tensor, cells: int, size: int) -> Tensor:
        step = ((end - start).clamp(min=1.0) / cells)[:, None]
        i = torch.arange(cells, device=input.device, dtype=input.dtype)
        low = (torch.floor(i * step) + start[:, None]).clamp(0, size - 1)
        top = (torch.ceil((i + 1) * step) + start[:, None]).clamp(0, size - 1)
        n = torch.arange(size, device=input.device, dtype=input.dtype)
        return ((n >= low[..., None]) & (n < top[..., None])).to(input.dtype)

    rows, cols = axis(y1, y2, ph, input.shape[2]), axis(x1, x2, pw, input.shape[3])
    chosen = input[rois[:, 0].long()].unflatten(1, (-1, ph, pw))
    count = rows.sum(-1)[:, :, None] * cols.sum(-1)[:, None]
    return torch.einsum("kcpqhw,kph,kqw->kcpq", chosen, rows, cols) / count.clamp(min=1.0)[:, None]


def roi_pool(input: Tensor, boxes: Any, output_size: Any, spatial_scale: float = 1.0) -> Tensor:
    """(N, C, H, W) and K boxes -> (K, C, h, w): maxima over cells of whole pixels (Girshick 2015), 0 if empty."""
    (ph, pw), rois = _pair(output_size), _regions(boxes).to(input.dtype)
    x1, y1, x2, y2 = (torch.floor(rois[:, i] * spatial_scale + 0.5) for i in range(1, 5))

    def axis(start: Tensor, end: Tensor, cells: int, size: int) -> Tensor:
        step = ((end - start + 1).clamp(min=1.0) / cells)[:, None]
        i = torch.arange(cells, device=input.device, dtype=input.dtype)
        low = (torch.floor(i * step) + start[:, None]).clamp(0, size)
        top = (torch.ceil((i + 1) * step) + start[:, None]).clamp(0, size)
        n = torch.arange(size, device=input.device, dtype=input.dtype)
        return (n >= low[..., None]) & (n < top[..., None])

    rows, cols = axis(y1, y2, ph, input.shape[2]), axis(x1, x2, pw, input.shape[3])
    chosen = input[rois[:, 0].long()]
    least = float("-inf")
    by_row = torch.stack([chosen.masked_fill(~rows[:, p, None, :, None], least).amax(2) for p in range(ph)], 2)
    both = torch.stack([by_row.masked_fill(~cols[:, q, None, None, :], least).amax(3) for q in range(pw)], 3)
    return both.masked_fill(both == least, 0.0)


class RoIAlign(nn.Module):
    """``roi_align`` with settings."""

    def __init__(self, output_size: Any, spatial_scale: float, sampling_ratio: int, aligned: bool = False) -> None:
        super().__init__()
        self.output_size, self.spatial_scale = output_size, spatial_scale
        self.sampling_ratio, self.aligned = sampling_ratio, aligned

    def forward(self, input: Tensor, rois: Any) -> Tensor:
        return roi_align(input, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned)

    def extra_repr(self) -> str:
        return (f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
                f"sampling_ratio={self.sampling_ratio}, aligned={self.aligned}")  # fmt: skip


class RoIPool(nn.Module):
    """``roi_pool`` with settings."""

    def __init__(self, output_size: Any, spatial_scale: float) -> None:
        super().__init__()
        self.output_size, self.spatial_scale = output_size, spatial_scale

    def forward(self, input: Tensor, rois: Any) -> Tensor:
        return roi_pool(input, rois, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, spatial_scale={self.spatial_scale}"


class PSRoIAlign(nn.Module):
    """``ps_roi_align`` with settings."""

    def __init__(self, output_size: Any, spatial_scale: float, sampling_ratio: int) -> None:
        super().__init__()
        self.output_size, self.spatial_scale, self.sampling_ratio = output_size, spatial_scale, sampling_ratio

    def forward(self, input: Tensor, rois: Any) -> Tensor:
        return ps_roi_align(input, rois, self.output_size, self.spatial_scale, self.sampling_ratio)

    def extra_repr(self) -> str:
        return (f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
                f"sampling_ratio={self.sampling_ratio}")  # fmt: skip


class PSRoIPool(nn.Module):
    """``ps_roi_pool`` with settings."""

    def __init__(self, output_size: Any, spatial_scale: float) -> None:
        super().__init__()
        self.output_size, self.spatial_scale = output_size, spatial_scale

    def forward(self, input: Tensor, rois: Any) -> Tensor:
        return ps_roi_pool(input, rois, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, spatial_scale={self.spatial_scale}"


class MultiScaleRoIAlign(nn.Module):
    """``roi_align`` on the level of a feature pyramid that fits each box (Lin et al. 2017, eq. 1, arXiv:1612.03144).

    featmap_names: which of the maps.   canonical_scale, canonical_level: a box of this size belongs to this level.
    forward(x, boxes, image_shapes): {name: (N, C, H_i, W_i)}, N times (L, 4), sizes (height, width) of the pictures.
    All levels are one table of pixels, so that shapes do not depend on which box belongs where.
    """

    def __init__(
        self, featmap_names: list[str], output_size: Any, sampling_ratio: int, *, canonical_scale: int = 224,
        canonical_level: int = 4,
    ) -> None:  # fmt: skip
        super().__init__()
        self.featmap_names, self.output_size = featmap_names, _pair(output_size)
        self.sampling_ratio = sampling_ratio
        self.canonical_scale, self.canonical_level = canonical_scale, canonical_level

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        maps = [x[name] for name in self.featmap_names if name in x]
        largest = [max(s[i] for s in image_shapes) for i in (0, 1)]
        # pyramids halve the size: the nearest power of two
        steps = [round(math.log2(largest[0] / m.shape[-2])) for m in maps]
        rois = _regions(boxes).to(maps[0].dtype)
        xyxy, picture = rois[:, 1:], rois[:, 0].long()
        sides = (xyxy[:, 2:] - xyxy[:, :2]).prod(1).sqrt()
        level = torch.floor(self.canonical_level + torch.log2(sides / self.canonical_scale) + 1e-6)
        level = level.clamp(steps[0], steps[-1]).long() - steps[0]
        rows = torch.cat([_pixels(m) for m in maps])
        sizes = torch.tensor([[m.shape[-2], m.shape[-1]] for m in maps], device=rois.device)
        starts = torch.tensor([0, *np.cumsum([m.shape[0] * m.shape[-2] * m.shape[-1] for m in maps])[:-1].tolist()],
                              device=rois.device)  # fmt: skip
        scales = torch.tensor([2.0**-k for k in steps], device=rois.device, dtype=rois.dtype)
        size = sizes[level]
        first = starts[level] + picture * size.prod(1)
        return _sample(rows, first, size[:, :1], size[:, 1:], xyxy * scales[level][:, None], self.output_size,
                       self.sampling_ratio, False)  # fmt: skip

    def __repr__(self) -> str:
        return (f"{type(self).__name__}(featmap_names={self.featmap_names}, output_size={self.output_size}, "
                f"sampling_ratio={self.sampling_ratio})")  # fmt: skip
