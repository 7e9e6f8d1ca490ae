"""From pictures of any size to one batch, and results back to the pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor, nn

from ..._host import random
from ...transforms import _tensor
from ._boxes import host, to_device

__all__ = ["GeneralizedRCNNTransform", "ImageList", "paste_masks_in_image"]


class ImageList:
    """tensors: (N, C, H, W), pictures padded to one size.   image_sizes: (height, width) of each before."""

    def __init__(self, tensors: Tensor, image_sizes: list[tuple[int, int]]) -> None:
        self.tensors, self.image_sizes = tensors, image_sizes

    def to(self, device: Any) -> ImageList:
        """On another device."""
        return ImageList(self.tensors.to(device), self.image_sizes)


class GeneralizedRCNNTransform(nn.Module):
    """Normalize, resize (the shorter edge to ``min_size``, the longer one at most ``max_size``), pad to a batch.

    fixed_size: (height, width) instead.   size_divisible: of the batch's height and width.
    Pictures in host memory are resized there, as every size would be a program of its own.
    """

    def __init__(
        self, min_size: Any, max_size: int, image_mean: list[float], image_std: list[float], size_divisible: int = 32,
        fixed_size: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.min_size = tuple(min_size) if isinstance(min_size, (list, tuple)) else (min_size,)
        self.max_size, self.image_mean, self.image_std = max_size, image_mean, image_std
        self.size_divisible, self.fixed_size = size_divisible, fixed_size

    def forward(self, images: list[Tensor], targets: Any = None) -> tuple[ImageList, Any]:
        done, about = [], None if targets is None else [dict(t) for t in targets]
        for i, image in enumerate(images):
            if image.ndim != 3:
                raise ValueError(f"images is expected to be a list of 3d tensors of shape [C, H, W], got {image.shape}")
            if not image.dtype.is_floating_point:
                raise TypeError(
                    f"Expected input images to be of floating type (in range [0, 1]), but found {image.dtype}"
                )
            old = tuple(image.shape[-2:])
            image = self.normalize(image)
            new = self._size(old)
            image = _tensor.resize(image, new, "bilinear", False)
            if about is not None:
                about[i] = self._target(about[i], old, new)
            done.append(image)
        return self.batch(done), about

    def normalize(self, image: Tensor) -> Tensor:
        """``(image - mean) / std``."""
        return _tensor.normalize(image, self.image_mean, self.image_std, False)

    def _size(self, size: Any) -> tuple[int, int]:
        if self.fixed_size is not None:
            return self.fixed_size[1], self.fixed_size[0]
        small = self.min_size[int(random().integers(len(self.min_size)))] if self.training else self.min_size[-1]
        scale = min(small / min(size), self.max_size / max(size))
        return math.floor(size[0] * scale), math.floor(size[1] * scale)

    @staticmethod
    def _target(target: dict[str, Any], old: Any, new: Any) -> dict[str, Any]:
        ratio = [new[1] / old[1], new[0] / old[0]]
        target["boxes"] = target["boxes"] * torch.tensor(ratio * 2, device=target["boxes"].device)
        if "masks" in target:
            target["masks"] = _tensor.resize(target["masks"], new, "nearest", False)
        if "keypoints" in target:
            target["keypoints"] = target["keypoints"] * torch.tensor([*ratio, 1.0], device=target["keypoints"].device)
        return target

    def batch(self, images: list[Tensor]) -> ImageList:
        """Padded with 0 at the right and below."""
        sizes = [tuple(i.shape[-2:]) for i in images]
        h, w = (math.ceil(max(s[k] for s in sizes) / self.size_divisible) * self.size_divisible for k in (0, 1))
        padded = [_tensor.pad(i, 0, w - s[1], 0, h - s[0], 0, "constant") for i, s in zip(images, sizes, strict=True)]
        return ImageList(torch.stack(padded), sizes)  # type: ignore[arg-type]

    def postprocess(self, result: list[dict], image_shapes: list[Any], original_image_sizes: list[Any]) -> list[dict]:
        """Boxes and masks in the pixels of the pictures given; results of training pass."""
        if self.training:
            return result
        for found, (h, w), (oh, ow) in zip(result, image_shapes, original_image_sizes, strict=True):
            boxes = host(found["boxes"]) * np.array([ow / w, oh / h] * 2, np.float32)
            found["boxes"] = to_device(boxes, found["boxes"])
            if "keypoints" in found:
                scale = np.array([ow / w, oh / h, 1], np.float32)
                found["keypoints"] = to_device(host(found["keypoints"]) * scale, found["keypoints"])
            if "masks" in found:
                found["masks"] = to_device(paste_masks_in_image(host(found["masks"]), boxes, (oh, ow)), found["masks"])
        return result


def paste_masks_in_image(masks: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Probabilities (N, 1, M, M) within boxes (N, 4) -> (N, 1, height, width)."""
    out = np.zeros((len(masks), 1, *size), np.float32)
    grow = (masks.shape[-1] + 2) / masks.shape[-1]
    for i, (mask, (x1, y1, x2, y2)) in enumerate(zip(masks[:, 0], boxes, strict=True)):
        mask = np.pad(mask, 1)  # so that edges fade
        cx, cy, hw, hh = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2 * grow, (y2 - y1) / 2 * grow
        left, top, right, bottom = (int(v) for v in (cx - hw, cy - hh, cx + hw, cy + hh))
        w, h = max(right - left + 1, 1), max(bottom - top + 1, 1)
        resized = _tensor.resize(torch.from_numpy(mask[None]), (h, w), "bilinear", False).numpy()[0]
        x0, y0, x3, y3 = max(left, 0), max(top, 0), min(right + 1, size[1]), min(bottom + 1, size[0])
        if x3 > x0 and y3 > y0:
            out[i, 0, y0:y3, x0:x3] = resized[y0 - top : y3 - top, x0 - left : x3 - left]
    return out
