"""Boxes on the host: anchors, their matching with objects, and the four numbers that move one box onto another.

Which boxes are chosen depends on values, and their number, too. That is decided here, in NumPy, so that what the device
computes has fixed shapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor, nn

from ..._host import random
from ...ops.boxes import batched_nms

__all__ = ["AnchorGenerator", "BoxCoder", "Matcher", "host", "iou", "keep_best", "sample", "to_device"]

#: The largest factor by which a box grows: of pictures of 1000 pixels from anchors of 16.
_MOST = math.log(1000.0 / 16)


def host(tensor: Any) -> np.ndarray:
    """The values of a tensor."""
    return tensor.detach().cpu().numpy() if isinstance(tensor, Tensor) else np.asarray(tensor)


def to_device(array: np.ndarray, like: Tensor) -> Tensor:
    """An array where ``like`` is."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(like.device)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, 4) and (M, 4) -> (N, M)."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    both = np.clip(sides, 0, None).prod(2)
    areas = [(t[:, 2:] - t[:, :2]).prod(1) for t in (a, b)]
    return both / np.maximum(areas[0][:, None] + areas[1][None] - both, 1e-12)


class BoxCoder:
    """Boxes relative to others: shifts of the centre and logarithms of the sizes, times ``weights``."""

    def __init__(self, weights: tuple[float, float, float, float]) -> None:
        self.weights = np.array(weights, np.float32)

    @staticmethod
    def _middles(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sizes = boxes[..., 2:] - boxes[..., :2]
        return boxes[..., :2] + 0.5 * sizes, sizes

    def encode(self, boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        """(N, 4) and (N, 4) -> (N, 4)."""
        (centre, size), (start, base) = self._middles(boxes), self._middles(anchors)
        base = np.maximum(base, 1e-6)
        return (np.concatenate([(centre - start) / base, np.log(np.maximum(size, 1e-6) / base)], 1)
                * self.weights).astype(np.float32)  # fmt: skip

    def decode(self, codes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        """(N, ..., 4) and (N, 4) -> (N, ..., 4)."""
        start, base = self._middles(anchors)
        lift = (slice(None), *[None] * (codes.ndim - 2))
        start, base, codes = start[lift], base[lift], codes / self.weights
        centre, size = codes[..., :2] * base + start, np.exp(np.minimum(codes[..., 2:], _MOST)) * base
        return np.concatenate([centre - 0.5 * size, centre + 0.5 * size], -1).astype(np.float32)


def decode_tensor(codes: Tensor, anchors: Tensor) -> Tensor:
    """``BoxCoder((1, 1, 1, 1)).decode`` on the device, with gradients: (..., 4) and (..., 4) -> (..., 4)."""
    base = anchors[..., 2:] - anchors[..., :2]
    centre = codes[..., :2] * base + anchors[..., :2] + 0.5 * base
    half = codes[..., 2:].clamp(max=_MOST).exp() * base * 0.5
    return torch.cat([centre - half, centre + half], -1)


class Matcher:
    """The object that each anchor belongs to: -1 for none (best IoU below ``low``), -2 for neither (below ``high``).

    keep_best: anchors that are the best of an object belong to their best object, whatever the IoU.
    """

    def __init__(self, high: float, low: float, keep_best: bool = False) -> None:
        self.high, self.low, self.keep_best = high, low, keep_best

    def __call__(self, objects: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        if not len(objects):
            return np.full(len(anchors), -1)
        quality = iou(objects, anchors)
        best, value = quality.argmax(0), quality.max(0)
        found = np.where(value < self.low, -1, np.where(value < self.high, -2, best))
        if self.keep_best:
            top = (quality == quality.max(1, keepdims=True)).any(0)
            found[top] = best[top]
        return found


def sample(labels: np.ndarray, size: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of positives (labels > 0), at most ``size * share``, and of negatives (0), which fill up to ``size``."""
    rng = random()
    positive, negative = np.flatnonzero(labels > 0), np.flatnonzero(labels == 0)
    positive = rng.permutation(positive)[: int(size * share)]
    return positive, rng.permutation(negative)[: size - len(positive)]


def keep_best(boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, threshold: float, most: int) -> np.ndarray:
    """Indices that remain of each group's non-maximum suppression, from the highest score down."""
    kept = batched_nms(*(torch.from_numpy(np.ascontiguousarray(a)) for a in (boxes, scores, groups)), threshold)
    return kept.numpy()[:most]


def clip(boxes: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Cut to a picture (height, width)."""
    return np.clip(boxes, 0, np.array([size[1], size[0]] * 2, boxes.dtype))


class AnchorGenerator(nn.Module):
    """Boxes of several sizes and ratios (height to width) about each place of feature maps.

    sizes, aspect_ratios: for each map.   forward(images, maps) -> an array (K, 4) for each picture.
    """

    def __init__(self, sizes: Any = ((128, 256, 512),), aspect_ratios: Any = ((0.5, 1.0, 2.0),)) -> None:
        super().__init__()
        self.sizes = sizes if isinstance(sizes[0], (list, tuple)) else tuple((s,) for s in sizes)
        ratios = aspect_ratios if isinstance(aspect_ratios[0], (list, tuple)) else (aspect_ratios,) * len(self.sizes)
        self.aspect_ratios = ratios
        self.cells = [self._about_origin(s, r) for s, r in zip(self.sizes, ratios, strict=True)]

    @staticmethod
    def _about_origin(sizes: Sequence[float], ratios: Sequence[float]) -> np.ndarray:
        root = np.sqrt(np.asarray(ratios, np.float32))
        half = np.stack([np.outer(1 / root, sizes).ravel(), np.outer(root, sizes).ravel()], 1) / 2
        return np.round(np.concatenate([-half, half], 1)).astype(np.float32)

    def num_anchors_per_location(self) -> list[int]:
        """For each map."""
        return [len(c) for c in self.cells]

    def forward(self, images: Any, maps: list[Tensor]) -> list[np.ndarray]:
        height, width = images.tensors.shape[-2:]
        if len(maps) != len(self.cells):
            raise ValueError(f"{len(self.cells)} sizes and ratios of anchors are given, but there are {len(maps)} maps")
        parts = []
        for cell, m in zip(self.cells, maps, strict=True):
            h, w = m.shape[-2:]
            x, y = np.meshgrid(np.arange(w) * (width // w), np.arange(h) * (height // h))
            at = np.stack([x, y, x, y], -1).reshape(-1, 1, 4)
            parts.append((at + cell[None]).reshape(-1, 4).astype(np.float32))
        every = np.concatenate(parts)
        return [every for _ in images.image_sizes]
