"""Policies of augmentation: AutoAugment (arXiv:1805.09501), RandAugment (1909.13719), TrivialAugment (2103.10158) and
AugMix (1912.02781)."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np

from pytorchlike import Tensor

from .._host import array_of, random, tensor_of
from . import functional as F
from .functional import InterpolationMode
from .transforms import Transform

__all__ = ["AugMix", "AutoAugment", "AutoAugmentPolicy", "RandAugment", "TrivialAugmentWide"]

#: Operations whose magnitude has a random sign.
_SIGNED = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness"}
_SIMPLE = {"AutoContrast": "autocontrast", "Equalize": "equalize", "Invert": "invert"}
_FACTOR = {
    "Brightness": "adjust_brightness", "Color": "adjust_saturation", "Contrast": "adjust_contrast",
    "Sharpness": "adjust_sharpness",
}  # fmt: skip


def apply_op(
    img: Any, name: str, magnitude: float, interpolation: InterpolationMode, fill: Any, functional: Any = F
) -> Any:
    """One named operation, by the functions of ``functional``: those of version 2 take floating pictures to all."""
    if name in _SIMPLE:
        return getattr(functional, _SIMPLE[name])(img)
    if name in _FACTOR:
        return getattr(functional, _FACTOR[name])(img, 1.0 + magnitude)
    if name == "Identity":
        return img
    if name == "Rotate":
        return F.rotate(img, magnitude, interpolation=interpolation, fill=fill)
    if name == "Posterize":
        return functional.posterize(img, int(magnitude))
    if name == "Solarize":
        return F.solarize(img, magnitude)
    sheared, moved = [0.0, 0.0], [0, 0]
    if name in ("ShearX", "ShearY"):
        # the papers' shears leave the top left corner where it is, and are slopes
        sheared[name == "ShearY"] = float(np.degrees(np.arctan(magnitude)))
        return F.affine(img, 0.0, moved, 1.0, sheared, interpolation, fill, center=[0, 0])
    if name in ("TranslateX", "TranslateY"):
        moved[name == "TranslateY"] = int(magnitude)
        return F.affine(img, 0.0, moved, 1.0, sheared, interpolation, fill)
    raise ValueError(f"The provided operator {name} is not recognized.")


class AutoAugmentPolicy(Enum):
    """The data set that a policy was found on."""

    IMAGENET = "imagenet"
    CIFAR10 = "cifar10"
    SVHN = "svhn"


# name, probability, magnitude (of 10); pairs, as in the papers' tables
_POLICIES = {
    AutoAugmentPolicy.IMAGENET: """
        Posterize .4 8 Rotate .6 9; Solarize .6 5 AutoContrast .6 -; Equalize .8 - Equalize .6 -;
        Posterize .6 7 Posterize .6 6; Equalize .4 - Solarize .2 4; Equalize .4 - Rotate .8 8;
        Solarize .6 3 Equalize .6 -; Posterize .8 5 Equalize 1 -; Rotate .2 3 Solarize .6 8;
        Equalize .6 - Posterize .4 6;
        Rotate .8 8 Color .4 0; Rotate .4 9 Equalize .6 -; Equalize 0 - Equalize .8 -; Invert .6 - Equalize 1 -;
        Color .6 4 Contrast 1 8; Rotate .8 8 Color 1 2; Color .8 8 Solarize .8 7; Sharpness .4 7 Invert .6 -;
        ShearX .6 5 Equalize 1 -; Color .4 0 Equalize .6 -; Equalize .4 - Solarize .2 4;
        Solarize .6 5 AutoContrast .6 -;
        Invert .6 - Equalize 1 -; Color .6 4 Contrast 1 8; Equalize .8 - Equalize .6 -""",
    AutoAugmentPolicy.CIFAR10: """
        Invert .1 - Contrast .2 6; Rotate .7 2 TranslateX .3 9; Sharpness .8 1 Sharpness .9 3;
        ShearY .5 8 TranslateY .7 9;
        AutoContrast .5 - Equalize .9 -; ShearY .2 7 Posterize .3 7; Color .4 3 Brightness .6 7;
        Sharpness .3 9 Brightness .7 9; Equalize .6 - Equalize .5 -; Contrast .6 7 Sharpness .6 5;
        Color .7 7 TranslateX .5 8; Equalize .3 - AutoContrast .4 -; TranslateY .4 3 Sharpness .2 6;
        Brightness .9 6 Color .2 8; Solarize .5 2 Invert 0 -; Equalize .2 - AutoContrast .6 -;
        Equalize .2 - Equalize .6 -;
        Color .9 9 Equalize .6 -; AutoContrast .8 - Solarize .2 8; Brightness .1 3 Color .7 0;
        Solarize .4 5 AutoContrast .9 -; TranslateY .9 9 TranslateY .7 9; AutoContrast .9 - Solarize .8 3;
        Equalize .8 - Invert .1 -; TranslateY .7 9 AutoContrast .9 -""",
    AutoAugmentPolicy.SVHN: """
        ShearX .9 4 Invert .2 -; ShearY .9 8 Invert .7 -; Equalize .6 - Solarize .6 6; Invert .9 - Equalize .6 -;
        Equalize .6 - Rotate .9 3; ShearX .9 4 AutoContrast .8 -; ShearY .9 8 Invert .4 -; ShearY .9 5 Solarize .2 6;
        Invert .9 - AutoContrast .8 -; Equalize .6 - Rotate .9 3; ShearX .9 4 Solarize .3 3; ShearY .8 8 Invert .7 -;
        Equalize .9 - TranslateY .6 6; Invert .9 - Equalize .6 -; Contrast .3 3 Rotate .8 4; Invert .8 - TranslateY 0 2;
        ShearY .7 6 Solarize .4 8; Invert .6 - Rotate .8 4; ShearY .3 7 TranslateX .9 3; ShearX .1 6 Invert .6 -;
        Solarize .7 2 TranslateY .6 7; ShearY .8 4 Invert .8 -; ShearX .7 9 TranslateY .8 3;
        ShearY .8 5 AutoContrast .7 -;
        ShearX .7 2 Invert .1 -""",
}


def _pairs(text: str) -> list[tuple[tuple[str, float, int | None], ...]]:
    pairs = []
    for line in text.split(";"):
        words = line.split()
        pairs.append(tuple(
            (words[i], float(words[i + 1]), None if words[i + 2] == "-" else int(words[i + 2])) for i in (0, 3)
        ))  # fmt: skip
    return pairs


class _Policy(Transform):
    #: What ``repr`` shows beside ``fill``.
    _shown: tuple[str, ...] = ()
    #: Whether chances and signs are drawn where they are needed, as transforms of version 2 do it.
    _lazy = False

    def __init__(self, interpolation: Any, fill: Any) -> None:
        super().__init__()
        self.interpolation, self.fill = F.as_mode(interpolation), fill

    def _one(self, img: Any, name: str, magnitude: Any, rng: Any, negative: Any = None) -> Any:
        value = 0.0 if magnitude is None else float(magnitude)
        if name in _SIGNED:
            if negative is None:
                negative = rng.random() <= 0.5 if self._lazy else rng.integers(2)
            value = -value if negative else value
        return apply_op(img, name, value, self.interpolation, self.fill, self.F)

    def forward(self, img: Any) -> Any:
        return self._augment(img, random())

    def _augment(self, img: Any, rng: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not say what it does")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)}' for n in (*self._shown, 'fill'))})"


def _moves(height: int, width: int, bins: int, slope: float, shift: Any, angle: float, factor: float) -> dict[str, Any]:
    """The magnitudes that all policies grade alike."""
    dx, dy = shift if isinstance(shift, tuple) else (shift * width, shift * height)
    space = {"ShearX": slope, "ShearY": slope, "TranslateX": dx, "TranslateY": dy, "Rotate": angle}
    space |= dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), factor)
    return {name: np.linspace(0.0, top, bins) for name, top in space.items()}


class AutoAugment(_Policy):
    """One pair of operations of a learned policy."""

    _shown = ("policy",)

    def __init__(
        self, policy: AutoAugmentPolicy = AutoAugmentPolicy.IMAGENET, interpolation: Any = InterpolationMode.NEAREST,
        fill: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(interpolation, fill)
        if policy not in _POLICIES:
            raise ValueError(f"The provided policy {policy} is not recognized.")
        self.policy = policy
        self.policies = _pairs(_POLICIES[policy])

    def _augment(self, img: Any, rng: Any) -> Any:
        _, h, w = F.get_dimensions(img)
        space = _moves(h, w, 10, 0.3, 150.0 / 331.0, 30.0, 0.9)
        space |= {"Posterize": 8 - np.round(np.arange(10) / (9 / 4)), "Solarize": np.linspace(255.0, 0.0, 10)}
        policy = self.policies[int(rng.integers(len(self.policies)))]
        early = [] if self._lazy else [rng.random() for _ in policy] + [rng.integers(2) for _ in policy]
        for k, (name, p, level) in enumerate(policy):
            if (early[k] if early else rng.random()) <= p:
                value = None if level is None else _scaled(img, name, space[name][level])
                img = self._one(img, name, value, rng, not early[k + len(policy)] if early else None)
        return img


def _scaled(img: Any, name: str, magnitude: float) -> float:
    """Thresholds of floating pictures are fractions."""
    if name == "Solarize" and isinstance(img, Tensor) and img.dtype.is_floating_point:
        return magnitude / 255.0
    return magnitude


class RandAugment(_Policy):
    """``num_ops`` random operations of one magnitude."""

    _shown = ("num_ops", "magnitude", "num_magnitude_bins", "interpolation")

    def __init__(
        self, num_ops: int = 2, magnitude: int = 9, num_magnitude_bins: int = 31,
        interpolation: Any = InterpolationMode.NEAREST, fill: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(interpolation, fill)
        self.num_ops, self.magnitude, self.num_magnitude_bins = num_ops, magnitude, num_magnitude_bins

    def _augment(self, img: Any, rng: Any) -> Any:
        _, h, w = F.get_dimensions(img)
        bins = self.num_magnitude_bins
        space = {"Identity": None, **_moves(h, w, bins, 0.3, 150.0 / 331.0, 30.0, 0.9)}
        space["Posterize"] = 8 - np.round(np.arange(bins) / ((bins - 1) / 4))
        space["Solarize"] = np.linspace(255.0, 0, bins)
        space |= {"AutoContrast": None, "Equalize": None}
        names = [*space]
        for _ in range(self.num_ops):
            name = names[int(rng.integers(len(names)))]
            levels = space[name]
            img = self._one(img, name, None if levels is None else _scaled(img, name, levels[self.magnitude]), rng)
        return img


class TrivialAugmentWide(_Policy):
    """One random operation of random magnitude."""

    _shown = ("num_magnitude_bins", "interpolation")

    def __init__(
        self, num_magnitude_bins: int = 31, interpolation: Any = InterpolationMode.NEAREST, fill: Any = None
    ) -> None:
        super().__init__(interpolation, fill)
        self.num_magnitude_bins = num_magnitude_bins

    def _augment(self, img: Any, rng: Any) -> Any:
        bins = self.num_magnitude_bins
        space = {"Identity": None, **_moves(0, 0, bins, 0.99, (32.0, 32.0), 135.0, 0.99)}
        space["Posterize"] = 8 - np.round(np.arange(bins) / ((bins - 1) / 6))
        space["Solarize"] = np.linspace(255.0, 0, bins)
        space |= {"AutoContrast": None, "Equalize": None}
        name = [*space][int(rng.integers(len(space)))]
        levels = space[name]
        level = None if levels is None else _scaled(img, name, levels[int(rng.integers(bins))])
        return self._one(img, name, level, rng)


class AugMix(_Policy):
    """A mixture of several chains of operations with the picture itself."""

    _shown = ("severity", "mixture_width", "chain_depth", "alpha", "all_ops", "interpolation")

    def __init__(
        self, severity: int = 3, mixture_width: int = 3, chain_depth: int = -1, alpha: float = 1.0,
        all_ops: bool = True, interpolation: Any = InterpolationMode.BILINEAR, fill: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(interpolation, fill)
        if not 1 <= severity <= 10:
            raise ValueError(f"The severity must be between [1, 10]. Got {severity} instead.")
        self.severity, self.mixture_width, self.chain_depth = severity, mixture_width, chain_depth
        self.alpha, self.all_ops = alpha, all_ops

    def _augment(self, img: Any, rng: Any) -> Any:
        _, h, w = F.get_dimensions(img)
        moves = _moves(h, w, 10, 0.3, (w / 3.0, h / 3.0), 30.0, 0.9)
        factors = {name: moves.pop(name) for name in _FACTOR}
        space = {**moves, "Posterize": 4 - np.round(np.arange(10) / (9 / 4)), "Solarize": np.linspace(255.0, 0.0, 10),
                 "AutoContrast": None, "Equalize": None, **(factors if self.all_ops else {})}  # fmt: skip
        names = [*space]
        own = rng.beta(self.alpha, self.alpha)
        weights = rng.dirichlet([self.alpha] * self.mixture_width) * own
        mixed = _floats(img) * (1.0 - own)
        for weight in weights:
            part = img
            depth = self.chain_depth if self.chain_depth > 0 else int(rng.integers(1, 4))
            for _ in range(depth):
                name = names[int(rng.integers(len(names)))]
                levels = space[name]
                level = None if levels is None else _scaled(img, name, levels[int(rng.integers(self.severity))])
                part = self._one(part, name, level, rng)
            mixed = mixed + _floats(part) * weight
        return _as(mixed, img)


def _floats(img: Any) -> np.ndarray:
    if isinstance(img, Tensor):
        array = array_of(img)
        return (img.detach().cpu().numpy() if array is None else array).astype(np.float32)
    return np.asarray(img, np.float32)


def _as(mixed: np.ndarray, img: Any) -> Any:
    """Values as a picture of the kind of ``img``."""
    if isinstance(img, Tensor):
        return tensor_of(mixed).to(img.device, img.dtype)
    return F.to_pil_image(mixed.astype(np.uint8), None if img.mode in ("L", "RGB") else img.mode)
