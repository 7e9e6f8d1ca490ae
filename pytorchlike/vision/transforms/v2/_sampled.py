"""Transforms whose size, place or order is random, and that exist for samples only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import pytorchlike as torch

from ... import tv_tensors
from ..._host import random
from . import functional as F
from ._base import Transform, checked_probability, get_bounding_boxes, is_picture, query_chw, query_size
from .functional import InterpolationMode, fill_of

__all__ = [
    "GaussianNoise", "JPEG", "RandomChannelPermutation", "RandomIoUCrop", "RandomPhotometricDistort", "RandomResize",
    "RandomShortestSize", "RandomZoomOut", "ScaleJitter", "UniformTemporalSubsample",
]  # fmt: skip

_BILINEAR = InterpolationMode.BILINEAR


class _Resizing(Transform):
    """A size, drawn once for the sample."""

    interpolation: Any
    antialias: bool | None

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.resize(inpt, params["size"], self.interpolation, params.get("max_size"), self.antialias)


class RandomResize(_Resizing):
    """The shorter edge resized to a random length in [min_size, max_size)."""

    def __init__(
        self, min_size: int, max_size: int, interpolation: Any = _BILINEAR, antialias: bool | None = True
    ) -> None:
        super().__init__()
        self.min_size, self.max_size = min_size, max_size
        self.interpolation, self.antialias = interpolation, antialias

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"size": [int(random().integers(self.min_size, self.max_size))]}


class RandomShortestSize(_Resizing):
    """The shorter edge resized to one of ``min_size``, the longer one at most ``max_size``."""

    def __init__(
        self, min_size: Any, max_size: int | None = None, interpolation: Any = _BILINEAR, antialias: bool | None = True
    ) -> None:
        super().__init__()
        self.min_size, self.max_size = [min_size] if isinstance(min_size, int) else [*min_size], max_size
        self.interpolation, self.antialias = interpolation, antialias

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        h, w = query_size(flat_inputs)
        ratio = self.min_size[int(random().integers(len(self.min_size)))] / min(h, w)
        if self.max_size is not None:
            ratio = min(ratio, self.max_size / max(h, w))
        return {"size": (int(h * ratio), int(w * ratio))}


class ScaleJitter(_Resizing):
    """Fitted into ``target_size`` (height, width), times a random factor of ``scale_range``."""

    def __init__(
        self, target_size: tuple[int, int], scale_range: tuple[float, float] = (0.1, 2.0),
        interpolation: Any = _BILINEAR, antialias: bool | None = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.target_size, self.scale_range = target_size, scale_range
        self.interpolation, self.antialias = interpolation, antialias

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        h, w = query_size(flat_inputs)
        scale = float(random().uniform(*self.scale_range))
        ratio = min(self.target_size[0] / h, self.target_size[1] / w) * scale
        return {"size": (int(h * ratio), int(w * ratio))}


class RandomZoomOut(Transform):
    """Put into a picture of ``fill`` that is larger by a factor from ``side_range``, with probability ``p``."""

    def __init__(self, fill: Any = 0, side_range: Sequence[float] = (1.0, 4.0), p: float = 0.5) -> None:
        super().__init__()
        if len(side_range) != 2:
            raise ValueError("side_range should be a sequence of length 2.")
        if side_range[0] < 1.0 or side_range[0] > side_range[1]:
            raise ValueError(f"Invalid side range provided {side_range}.")
        self.p, self.fill, self.side_range = checked_probability(p), fill, side_range

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        rng = random()
        if rng.random() >= self.p:
            return {}
        h, w = query_size(flat_inputs)
        ratio = float(rng.uniform(*self.side_range))
        ch, cw = int(h * ratio), int(w * ratio)
        left, top = int((cw - w) * rng.random()), int((ch - h) * rng.random())
        return {"padding": [left, top, cw - (left + w), ch - (top + h)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.pad(inpt, params["padding"], fill=fill_of(self.fill, inpt)) if params else inpt


class RandomIoUCrop(Transform):
    """A crop that overlaps at least one box by a random least IoU (Liu et al. 2016, arXiv:1512.02325).

    Boxes whose centre is outside lose their area; ``SanitizeBoundingBoxes`` drops them. Needs boxes and a picture.
    """

    def __init__(
        self, min_scale: float = 0.3, max_scale: float = 1.0, min_aspect_ratio: float = 0.5,
        max_aspect_ratio: float = 2.0, sampler_options: list[float] | None = None, trials: int = 40,
    ) -> None:  # fmt: skip
        super().__init__()
        self.min_scale, self.max_scale = min_scale, max_scale
        self.min_aspect_ratio, self.max_aspect_ratio = min_aspect_ratio, max_aspect_ratio
        self.options = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0] if sampler_options is None else sampler_options
        self.trials = trials

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        if not any(isinstance(x, tv_tensors.BoundingBoxes) for x in flat_inputs) or not any(
            is_picture(x) for x in flat_inputs
        ):
            raise TypeError("RandomIoUCrop() requires input sample to contain an image and a bounding box")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        h, w = query_size(flat_inputs)
        boxes = get_bounding_boxes(flat_inputs)
        corners = F._corners(F._array(tv_tensors.plain(boxes)).reshape(-1, 4), boxes.format)
        rng = random()
        while True:
            least = self.options[int(rng.integers(len(self.options)))]
            if least >= 1.0:  # the whole picture
                return {}
            for _ in range(self.trials):
                nw, nh = (int(n * rng.uniform(self.min_scale, self.max_scale)) for n in (w, h))
                if nh == 0 or not self.min_aspect_ratio <= nw / nh <= self.max_aspect_ratio:
                    continue
                left, top = int((w - nw) * rng.random()), int((h - nh) * rng.random())
                right, bottom = left + nw, top + nh
                if left == right or top == bottom:
                    continue
                cx, cy = (corners[:, 0] + corners[:, 2]) / 2, (corners[:, 1] + corners[:, 3]) / 2
                within = (left < cx) & (cx < right) & (top < cy) & (cy < bottom)
                if not within.any():
                    continue
                if _iou(corners[within], np.array([left, top, right, bottom])).max() < least:
                    continue
                return {"top": top, "left": left, "height": nh, "width": nw, "within": within}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not params:
            return inpt
        out = F.crop(inpt, params["top"], params["left"], params["height"], params["width"])
        if isinstance(out, tv_tensors.BoundingBoxes):
            raw = tv_tensors.plain(out)
            keep = torch.from_numpy(params["within"]).to(raw.device, raw.dtype)
            out = tv_tensors.wrap(raw * keep[:, None], like=out)
        return out


def _iou(boxes: np.ndarray, one: np.ndarray) -> np.ndarray:
    sides = np.clip(np.minimum(boxes[:, 2:], one[2:]) - np.maximum(boxes[:, :2], one[:2]), 0, None)
    both = sides.prod(1)
    return both / ((boxes[:, 2:] - boxes[:, :2]).prod(1) + (one[2:] - one[:2]).prod() - both)


class RandomPhotometricDistort(Transform):
    """Random brightness, contrast, saturation, hue and order of channels, each with probability ``p`` (SSD's)."""

    _transformed_types = (is_picture,)

    def __init__(
        self, brightness: tuple[float, float] = (0.875, 1.125), contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5), hue: tuple[float, float] = (-0.05, 0.05), p: float = 0.5,
    ) -> None:  # fmt: skip
        super().__init__()
        self.brightness, self.contrast, self.hue, self.saturation, self.p = brightness, contrast, hue, saturation, p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        rng = random()

        def factor(limits: tuple[float, float]) -> float | None:
            return float(rng.uniform(*limits)) if rng.random() < self.p else None

        channels = query_chw(flat_inputs)[0]
        return {
            "brightness": factor(self.brightness), "contrast": factor(self.contrast),
            "saturation": factor(self.saturation), "hue": factor(self.hue), "early": bool(rng.random() < 0.5),
            "order": rng.permutation(channels).tolist() if rng.random() < self.p else None,
        }  # fmt: skip

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        def contrasted(x: Any) -> Any:
            return x if params["contrast"] is None else F.adjust_contrast(x, params["contrast"])

        if params["brightness"] is not None:
            inpt = F.adjust_brightness(inpt, params["brightness"])
        if params["early"]:
            inpt = contrasted(inpt)
        if params["saturation"] is not None:
            inpt = F.adjust_saturation(inpt, params["saturation"])
        if params["hue"] is not None:
            inpt = F.adjust_hue(inpt, params["hue"])
        if not params["early"]:
            inpt = contrasted(inpt)
        return inpt if params["order"] is None else F.permute_channels(inpt, params["order"])


class RandomChannelPermutation(Transform):
    """Channels in random order."""

    _transformed_types = (is_picture,)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"order": random().permutation(query_chw(flat_inputs)[0]).tolist()}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.permute_channels(inpt, params["order"])


class GaussianNoise(Transform):
    """Normal noise added; sigma in units of white; ``clip`` to the range of pictures."""

    _transformed_types = (is_picture,)

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True) -> None:
        super().__init__()
        self.mean, self.sigma, self.clip = mean, sigma, clip

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.gaussian_noise(inpt, self.mean, self.sigma, self.clip)


class JPEG(Transform):
    """Written and read as a JPEG of a random quality: (lowest, highest), or one number; 1 to 100."""

    _transformed_types = (is_picture,)

    def __init__(self, quality: Any) -> None:
        super().__init__()
        self.quality = [quality, quality] if isinstance(quality, int) else [*quality]
        if len(self.quality) != 2 or not 1 <= self.quality[0] <= self.quality[1] <= 100:
            raise ValueError(f"quality must be an integer from 1 to 100, or a pair of them, low <= high; got {quality}")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"quality": int(random().integers(self.quality[0], self.quality[1] + 1))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.jpeg(inpt, params["quality"])


class UniformTemporalSubsample(Transform):
    """``num_samples`` pictures of a video, evenly spread."""

    _transformed_types = (F.is_pure_tensor, tv_tensors.Video)

    def __init__(self, num_samples: int) -> None:
        super().__init__()
        self.num_samples = num_samples

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.uniform_temporal_subsample(inpt, self.num_samples)
