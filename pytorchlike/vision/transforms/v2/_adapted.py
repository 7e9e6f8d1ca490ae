"""The transforms of pictures, for samples of all kinds: what ``transforms`` draws, applied to each input in its way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorchlike import nn

from ... import tv_tensors
from .. import _pil
from .. import autoaugment as A
from .. import transforms as V1
from . import functional as F
from ._base import Transform, checked_probability, is_picture

__all__ = [
    "AugMix", "AutoAugment", "CenterCrop", "ColorJitter", "ElasticTransform", "FiveCrop", "GaussianBlur", "Grayscale",
    "LinearTransformation", "Normalize", "Pad", "RandAugment", "RandomAdjustSharpness", "RandomAffine",
    "RandomAutocontrast", "RandomCrop", "RandomEqualize", "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip",
    "RandomInvert", "RandomPerspective", "RandomPosterize", "RandomResizedCrop", "RandomRotation", "RandomSolarize",
    "RandomVerticalFlip", "Resize", "TenCrop", "TrivialAugmentWide",
]  # fmt: skip


class _Adapted(Transform):
    F = F
    _unshown = ("policies",)
    __repr__ = nn.Module.__repr__  # not as in version 1, whose class comes later

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "p" in self.__dict__:
            checked_probability(self.p)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        pictures = [x for x in flat_inputs if is_picture(x)]
        if not flat_inputs:
            return {"drawn": None}
        return {"drawn": self._draw((pictures or flat_inputs)[0])}  # type: ignore[attr-defined]

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._applied(inpt, params["drawn"])  # type: ignore[attr-defined]


class _OfPictures(_Adapted):
    """Other kinds of input stay as they are."""

    _transformed_types = (is_picture,)


class Resize(_Adapted, V1.Resize):
    """Another size: (h, w), or an int for the shorter edge; None and ``max_size`` for the longer edge."""

    def __init__(
        self, size: Any, interpolation: Any = F.InterpolationMode.BILINEAR, max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:  # fmt: skip
        super().__init__(size, interpolation, max_size, antialias)
        if size is None and not isinstance(max_size, int):
            raise ValueError(f"max_size must be an integer when size is None, but got {max_size} instead.")
        self.size = None if size is None else [size] if isinstance(size, int) else [*size]


class CenterCrop(_Adapted, V1.CenterCrop):
    """The middle."""


class Pad(_Adapted, V1.Pad):
    """Borders: one width, (left/right, top/bottom), or (left, top, right, bottom). fill: also a dict by type."""

    def __init__(self, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> None:
        super().__init__(padding, 0 if fill is None or isinstance(fill, Mapping) else fill, padding_mode)
        self.fill = fill


class RandomCrop(_Adapted, V1.RandomCrop):
    """A rectangle of the given size somewhere in the (padded) picture."""

    def __init__(
        self, size: Any, padding: Any = None, pad_if_needed: bool = False, fill: Any = 0, padding_mode: str = "constant"
    ) -> None:
        super().__init__(size, padding, pad_if_needed, 0 if fill is None else fill, padding_mode)
        if padding is not None:  # left, top, right, bottom
            both = [padding] if isinstance(padding, int) else [*padding]
            self.padding = both if len(both) == 4 else [both[0], both[-1]] * 2


class RandomResizedCrop(_Adapted, V1.RandomResizedCrop):
    """A rectangle of random area and ratio, resized."""


class RandomHorizontalFlip(_Adapted, V1.RandomHorizontalFlip):
    """Left and right exchanged, with probability ``p``."""


class RandomVerticalFlip(_Adapted, V1.RandomVerticalFlip):
    """Top and bottom exchanged, with probability ``p``."""


class RandomRotation(_Adapted, V1.RandomRotation):
    """Turned by a random angle."""


class RandomAffine(_Adapted, V1.RandomAffine):
    """Random rotation, translation, scale and shear."""


class RandomPerspective(_Adapted, V1.RandomPerspective):
    """The corners moved inwards, with probability ``p``."""

    def __init__(self, distortion_scale: float = 0.5, *args: Any, **kwargs: Any) -> None:
        super().__init__(distortion_scale, *args, **kwargs)
        if not 0 <= distortion_scale <= 1:
            raise ValueError("Argument distortion_scale value should be between 0 and 1")


class ElasticTransform(_Adapted, V1.ElasticTransform):
    """Pixels displaced by smoothed noise."""


class FiveCrop(_OfPictures, V1.FiveCrop):
    """A tuple of the four corners and the middle."""


class TenCrop(_OfPictures, V1.TenCrop):
    """A tuple of the five crops of the picture and of its mirror image."""


class ColorJitter(_OfPictures, V1.ColorJitter):
    """Random brightness, contrast, saturation and hue."""


class Grayscale(_OfPictures, V1.Grayscale):
    """Grey, of 1 or 3 equal channels."""


class RandomGrayscale(_OfPictures, V1.RandomGrayscale):
    """Grey with probability ``p``."""


class RandomInvert(_OfPictures, V1.RandomInvert):
    """The negative, with probability ``p``."""


class RandomPosterize(_OfPictures, V1.RandomPosterize):
    """Fewer bits, with probability ``p``."""


class RandomSolarize(_OfPictures, V1.RandomSolarize):
    """The negative of the bright values, with probability ``p``."""


class RandomAutocontrast(_OfPictures, V1.RandomAutocontrast):
    """Channels stretched to the whole range, with probability ``p``."""


class RandomEqualize(_OfPictures, V1.RandomEqualize):
    """Histograms made flat, with probability ``p``."""


class RandomAdjustSharpness(_OfPictures, V1.RandomAdjustSharpness):
    """Another sharpness, with probability ``p``."""


class GaussianBlur(_OfPictures, V1.GaussianBlur):
    """Smoothed by a Gaussian."""


class Normalize(_OfPictures, V1.Normalize):
    """``(x - mean) / std``, channel by channel. TypeError for Pillow pictures."""

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        if any(_pil.is_image(x) for x in flat_inputs):
            raise TypeError("Normalize() does not support PIL images.")


class LinearTransformation(_OfPictures, V1.LinearTransformation):
    """``(x.flatten() - mean_vector) @ transformation_matrix``. TypeError for Pillow pictures."""

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        if any(_pil.is_image(x) for x in flat_inputs):
            raise TypeError("LinearTransformation does not work on PIL Images")

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return tv_tensors.wrap(self._applied(tv_tensors.plain(inpt), None), like=inpt)


class RandomErasing(_OfPictures, V1.RandomErasing):
    """A rectangle overwritten, with probability ``p``. TypeError for Pillow pictures."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self.value, (int, float)):
            self.value = [float(self.value)]

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        if any(_pil.is_image(x) for x in flat_inputs):
            raise TypeError("RandomErasing() does not support PIL images.")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        params = super().make_params(flat_inputs)
        drawn = params["drawn"]
        # no rectangle fitted: the picture would be replaced by itself
        return {"drawn": None} if drawn is not None and drawn[4] is flat_inputs[0] else params


class _OfOnePicture(_Adapted):
    """Policies need one picture; masks, boxes and points cannot follow them (TypeError)."""

    _transformed_types = (is_picture,)
    _lazy = True

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        for x in flat_inputs:
            if isinstance(x, (tv_tensors.BoundingBoxes, tv_tensors.KeyPoints, tv_tensors.Mask)):
                raise TypeError(f"Inputs of type {type(x).__name__} are not supported by {type(self).__name__}()")
        if sum(self._chosen(flat_inputs)) != 1:
            raise TypeError(f"{type(self).__name__} transforms one picture, found {sum(self._chosen(flat_inputs))}")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        done = self._augment(tv_tensors.plain(inpt), F.random())  # type: ignore[attr-defined]
        return tv_tensors.wrap(done, like=inpt)


class AutoAugment(_OfOnePicture, A.AutoAugment):
    """One pair of operations of a learned policy."""


class RandAugment(_OfOnePicture, A.RandAugment):
    """``num_ops`` random operations of one magnitude."""


class TrivialAugmentWide(_OfOnePicture, A.TrivialAugmentWide):
    """One random operation of random magnitude."""


class AugMix(_OfOnePicture, A.AugMix):
    """A mixture of several chains of operations with the picture itself."""
