"""Regions of interest of feature maps (N, C, H, W); boxes (K, 5): picture, x1, y1, x2, y2, or a list of (L, 4)."""

from __future__ import annotations

from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn

__all__ = ["RoIAlign", "RoIPool", "roi_align", "roi_pool"]


def _regions(boxes: Any) -> Tensor:
    if isinstance(boxes, (list, tuple)):
        for b in boxes:
            if b.ndim != 2 or b.shape[1] != 4:
                raise ValueError(f"The shape of the tensor in the boxes list is not correct as (L, 4): {tuple(b.shape)}")
        return torch.cat([torch.cat([torch.full_like(b[:, :1], i), b], 1) for i, b in enumerate(boxes)])
    if boxes.ndim != 2 or boxes.shape[1] != 5:
        raise ValueError(f"The boxes tensor shape is not correct as Tensor[K, 5]: {tuple(boxes.shape)}")
    return boxes


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _weights(places: Tensor, size: int) -> Tensor:
    """(K, P, S) places along an axis -> (K, P, size): the mean over S of their linear interpolation weights."""
    inside = (places > -1.0) & (places < size)
    p = places.clamp(0, size - 1)[..., None]
    near = (1 - (p - torch.arange(size, device=places.device, dtype=places.dtype)).abs()).clamp(min=0)
    return (near * inside[..., None]).mean(2)


def roi_align(
    input: Tensor, boxes: Any, output_size: Any, spatial_scale: float = 1.0, sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:  # fmt: skip
    """(N, C, H, W) and K boxes -> (K, C, h, w): means of bilinear samples (He et al. 2017, arXiv:1703.06870).

    spatial_scale: from the boxes' coordinates to the map's.   sampling_ratio: samples per cell along each axis.
    aligned: pixels' centres lie at halves.
    Raises NotImplementedError for ``sampling_ratio <= 0``, where the number of samples depends on the boxes' values.
    """
    if sampling_ratio <= 0:
        raise NotImplementedError(
            "roi_align: with sampling_ratio <= 0 the number of samples depends on the values of the boxes, which programs "
            "of fixed shapes cannot have; pass sampling_ratio=2, as torchvision's detection models do"
        )
    (ph, pw), rois = _pair(output_size), _regions(boxes).to(input.dtype)
    x1, y1, x2, y2 = (rois[:, i] * spatial_scale - (0.5 if aligned else 0.0) for i in range(1, 5))
    w, h = x2 - x1, y2 - y1
    if not aligned:
        w, h = w.clamp(min=1.0), h.clamp(min=1.0)

    def axis(start: Tensor, length: Tensor, cells: int, size: int) -> Tensor:
        n = cells * sampling_ratio
        steps = (torch.arange(n, device=input.device, dtype=input.dtype) + 0.5) / n
        places = start[:, None] + length[:, None] * steps
        return _weights(places.reshape(-1, cells, sampling_ratio), size)

    rows, cols = axis(y1, h, ph, input.shape[2]), axis(x1, w, pw, input.shape[3])
    # interpolation along the axes is separable, and so is the mean over samples
    return torch.einsum("kph,kchw,kqw->kcpq", rows, input[rois[:, 0].long()], cols)


def roi_pool(input: Tensor, boxes: Any, output_size: Any, spatial_scale: float = 1.0) -> Tensor:
    """(N, C, H, W) and K boxes -> (K, C, h, w): maxima over cells of whole pixels (Girshick 2015); 0 for empty cells."""
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


class RoIPool(nn.Module):
    """``roi_pool`` with settings."""

    def __init__(self, output_size: Any, spatial_scale: float) -> None:
        super().__init__()
        self.output_size, self.spatial_scale = output_size, spatial_scale

    def forward(self, input: Tensor, rois: Any) -> Tensor:
        return roi_pool(input, rois, self.output_size, self.spatial_scale)
