"""Mixtures of the pictures of a batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor
from pytorchlike.nn import functional as nnF
from pytorchlike.utils._pytree import tree_flatten, tree_unflatten

from ... import tv_tensors
from ..._host import random
from ._base import Getter, Transform, checked_getter, is_picture, labels_of

__all__ = ["CutMix", "MixUp"]


class _Mix(Transform):
    """Each picture of a batch (N, C, H, W) mixed with the one before it; labels (N,) become (N, num_classes).

    alpha: of the beta distribution that the share is drawn from.   num_classes: needed unless labels are probabilities
    already.   labels_getter: where the labels are (by default the second input, or what is called "label").
    """

    _unshown = ("labels_getter",)

    def __init__(
        self, *, alpha: float = 1.0, num_classes: int | None = None, labels_getter: Getter = "default"
    ) -> None:
        super().__init__()
        if not alpha > 0:
            raise ValueError(f"alpha is the concentration of a distribution, which must be positive, got {alpha}")
        self.alpha, self.num_classes, self.labels_getter = float(alpha), num_classes, checked_getter(labels_getter)

    def forward(self, *inputs: Any) -> Any:
        sample = inputs if len(inputs) > 1 else inputs[0]
        flat, spec = tree_flatten(sample)
        labels = labels_of(self.labels_getter, sample)
        if not isinstance(labels, Tensor):
            raise ValueError(f"The labels must be a tensor, but got {type(labels)} instead.")
        if labels.ndim not in (1, 2):
            raise ValueError(f"labels should be (N,) or (N, num_classes), got shape {tuple(labels.shape)}")
        if labels.ndim == 1 and self.num_classes is None:
            raise ValueError("num_classes must be passed if the labels are index-based")
        pictures = [x for x, change in zip(flat, self._chosen(flat), strict=True)
                    if change and x is not labels and is_picture(x)]  # fmt: skip
        for x in flat:
            if isinstance(x, (tv_tensors.BoundingBoxes, tv_tensors.Mask)):
                raise ValueError(f"{type(self).__name__} does not support {type(x).__name__} inputs.")
        for x in pictures:
            if not isinstance(x, Tensor):
                raise ValueError(f"{type(self).__name__}() does not support PIL images.")
            if x.ndim != (5 if isinstance(x, tv_tensors.Video) else 4):
                raise ValueError(f"Expected a batched input with 4 dims, but got {x.ndim} dimensions instead.")
            if len(x) != len(labels):
                raise ValueError(f"The batch size of the image or video does not match the batch size of the labels: "
                                 f"{len(x)} != {len(labels)}.")  # fmt: skip
        if not pictures:
            raise ValueError(f"{type(self).__name__} found no batch of pictures in the sample")
        draw = self._share(*pictures[0].shape[-2:])

        def change(x: Any) -> Any:
            if x is labels:
                return self._labels(x, draw[0])
            return self.mix(x, draw) if any(x is p for p in pictures) else x

        return tree_unflatten([change(x) for x in flat], spec)

    def _share(self, height: int, width: int) -> tuple[float, Any]:
        raise NotImplementedError(f"{type(self).__name__} does not say how it mixes")

    def mix(self, x: Any, draw: tuple[float, Any]) -> Any:
        """The pictures mixed."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it mixes")

    def _labels(self, labels: Tensor, share: float) -> Tensor:
        if labels.ndim == 1:
            labels = nnF.one_hot(labels, num_classes=self.num_classes)
        if not labels.dtype.is_floating_point:
            labels = labels.float()
        return labels.roll(1, 0) * (1.0 - share) + labels * share


class MixUp(_Mix):
    """Weighted means of two pictures (Zhang et al. 2018, arXiv:1710.09412)."""

    def _share(self, height: int, width: int) -> tuple[float, Any]:
        return float(random().beta(self.alpha, self.alpha)), None

    def mix(self, x: Any, draw: tuple[float, Any]) -> Any:
        """share * x + (1 - share) * the picture before."""
        raw = tv_tensors.plain(x)
        if not raw.dtype.is_floating_point:
            raise ValueError(f"MixUp needs floating pictures, got {raw.dtype}; ToDtype(torch.float32, scale=True)")
        return tv_tensors.wrap(raw.roll(1, 0) * (1.0 - draw[0]) + raw * draw[0], like=x)


class CutMix(_Mix):
    """A rectangle of one picture in another (Yun et al. 2019, arXiv:1905.04899)."""

    def _share(self, height: int, width: int) -> tuple[float, Any]:
        rng = random()
        half = 0.5 * math.sqrt(1.0 - float(rng.beta(self.alpha, self.alpha)))
        x, y = int(rng.integers(width)), int(rng.integers(height))
        dx, dy = int(half * width), int(half * height)
        inside = np.zeros((height, width), bool)
        inside[max(y - dy, 0) : min(y + dy, height), max(x - dx, 0) : min(x + dx, width)] = True
        return 1.0 - float(inside.mean()), inside

    def mix(self, x: Any, draw: tuple[float, Any]) -> Any:
        """The rectangle, a mask so that its place does not matter to compiled programs, from the picture before."""
        raw = tv_tensors.plain(x)
        inside = torch.from_numpy(draw[1]).to(raw.device)
        return tv_tensors.wrap(torch.where(inside, raw.roll(1, 0), raw), like=x)
