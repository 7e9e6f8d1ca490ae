"""What to do to pictures before a model with given weights sees them."""

from __future__ import annotations

from typing import Any

from pytorchlike import Tensor, nn

from . import functional as F
from .functional import InterpolationMode

__all__ = ["ImageClassification", "ObjectDetection", "SemanticSegmentation"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageClassification(nn.Module):
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


class SemanticSegmentation(nn.Module):
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
