"""What to do to pictures before a model with given weights sees them."""

from __future__ import annotations

from typing import Any

from pytorchlike import Tensor, nn

from . import functional as F
from .functional import InterpolationMode

__all__ = ["ImageClassification", "ObjectDetection", "OpticalFlow", "SemanticSegmentation", "VideoClassification"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _Preset(nn.Module):
    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in ("crop_size", "resize_size", "mean", "std", "interpolation")
                 if hasattr(self, name)}  # fmt: skip
        lines = "".join(f"\n    {name}={value}" for name, value in shown.items())
        return f"{type(self).__name__}({lines}\n)" if shown else super().__repr__()


class ImageClassification(_Preset):
    """Resize the shorter edge, cut out the middle, scale to [0, 1] and normalize."""

    def __init__(
        self, *, crop_size: int, resize_size: int = 256, mean: tuple[float, ...] = _MEAN,
        std: tuple[float, ...] = _STD, interpolation: Any = InterpolationMode.BILINEAR, antialias: bool | None = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.crop_size, self.resize_size = [crop_size], [resize_size]
        self.mean, self.std, self.interpolation, self.antialias = [*mean], [*std], interpolation, antialias

    def forward(self, img: Any) -> Tensor:
        img = F.resize(img, self.resize_size, self.interpolation, antialias=self.antialias)
        img = F.center_crop(img, self.crop_size)
        img = img if isinstance(img, Tensor) else F.pil_to_tensor(img)
        return F.normalize(F.convert_image_dtype(img), self.mean, self.std)


class ObjectDetection(nn.Module):
    """Scale to [0, 1]; the models resize and normalize."""

    def forward(self, img: Any) -> Tensor:
        return F.convert_image_dtype(img if isinstance(img, Tensor) else F.pil_to_tensor(img))


class SemanticSegmentation(_Preset):
    """Resize the shorter edge, scale to [0, 1] and normalize."""

    def __init__(
        self, *, resize_size: int | None, mean: tuple[float, ...] = _MEAN, std: tuple[float, ...] = _STD,
        interpolation: Any = InterpolationMode.BILINEAR, antialias: bool | None = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.resize_size = None if resize_size is None else [resize_size]
        self.mean, self.std, self.interpolation, self.antialias = [*mean], [*std], interpolation, antialias

    def forward(self, img: Any) -> Tensor:
        if self.resize_size is not None:
            img = F.resize(img, self.resize_size, self.interpolation, antialias=self.antialias)
        img = img if isinstance(img, Tensor) else F.pil_to_tensor(img)
        return F.normalize(F.convert_image_dtype(img), self.mean, self.std)


class VideoClassification(_Preset):
    """Resize the frames, cut out the middle, scale to [0, 1], normalize: (..., T, C, H, W) -> (..., C, T, H, W)."""

    def __init__(
        self, *, crop_size: tuple[int, int], resize_size: tuple[int, int] | tuple[int],
        mean: tuple[float, ...] = (0.43216, 0.394666, 0.37645), std: tuple[float, ...] = (0.22803, 0.22145, 0.216989),
        interpolation: Any = InterpolationMode.BILINEAR,
    ) -> None:  # fmt: skip
        super().__init__()
        self.crop_size, self.resize_size = [*crop_size], [*resize_size]
        self.mean, self.std, self.interpolation = [*mean], [*std], interpolation

    def forward(self, vid: Tensor) -> Tensor:
        frames = vid if vid.ndim == 5 else vid[None]
        n, t = frames.shape[:2]
        flat = F.resize(frames.flatten(0, 1), self.resize_size, self.interpolation, antialias=False)
        flat = F.normalize(F.convert_image_dtype(F.center_crop(flat, self.crop_size)), self.mean, self.std)
        made = flat.reshape(n, t, *flat.shape[1:]).permute(0, 2, 1, 3, 4)
        return made if vid.ndim == 5 else made[0]


class OpticalFlow(nn.Module):
    """Two pictures, or batches of them, scaled to [-1, 1]."""

    def forward(self, img1: Any, img2: Any) -> tuple[Tensor, Tensor]:
        both = (img if isinstance(img, Tensor) else F.pil_to_tensor(img) for img in (img1, img2))
        first, second = (F.normalize(F.convert_image_dtype(img), [0.5] * 3, [0.5] * 3) for img in both)
        return first.contiguous(), second.contiguous()
