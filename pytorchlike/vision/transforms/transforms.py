"""The transforms as modules. Each draws what is random for one picture (``_draw``) and applies it (``_applied``).

Random numbers are NumPy's, seeded by the library's generator: ``torch.manual_seed`` repeats them, and each worker of a
DataLoader has its own. They do not equal torchvision's.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor, nn

from .._host import order, random
from . import functional as F
from .functional import InterpolationMode

__all__ = [
    "CenterCrop", "ColorJitter", "Compose", "ConvertImageDtype", "ElasticTransform", "FiveCrop", "GaussianBlur",
    "Grayscale", "InterpolationMode", "Lambda", "LinearTransformation", "Normalize", "PILToTensor", "Pad",
    "RandomAdjustSharpness", "RandomAffine", "RandomApply", "RandomAutocontrast", "RandomChoice", "RandomCrop",
    "RandomEqualize", "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip", "RandomInvert", "RandomOrder",
    "RandomPerspective", "RandomPosterize", "RandomResizedCrop", "RandomRotation", "RandomSolarize",
    "RandomVerticalFlip", "Resize", "TenCrop", "ToPILImage", "ToTensor",
]  # fmt: skip


class Transform(nn.Module):
    """A transform of one picture, a Pillow picture or a tensor (..., C, H, W)."""

    #: The functions that do it.
    F: Any = F

    def forward(self, img: Any) -> Any:
        return self._applied(img, self._draw(img))

    def _draw(self, img: Any) -> Any:
        """What is random about it, for this picture."""
        return None

    def _applied(self, img: Any, drawn: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not say what it does")


def _name(mode: InterpolationMode) -> str:
    return f"interpolation={mode.value}"


def _size(size: Any, name: str = "size") -> tuple[int, int]:
    if isinstance(size, numbers.Number):
        return int(size), int(size)  # type: ignore[call-overload]
    if not isinstance(size, Sequence):
        raise TypeError(f"{name} should be an int or a sequence, got {type(size)}")
    if len(size) not in (1, 2):
        raise ValueError(f"Please provide only two dimensions (h, w) for {name}.")
    return int(size[0]), int(size[-1])


def _between(value: Any, name: str, center: float = 0.0, low: float = -math.inf) -> list[float]:
    """``[center - value, center + value]`` of a number, a pair as it is."""
    if isinstance(value, numbers.Number):
        if value < 0:  # type: ignore[operator]
            raise ValueError(f"If {name} is a single number, it must be positive.")
        return [max(center - float(value), low), center + float(value)]  # type: ignore[arg-type]
    if not isinstance(value, Sequence):
        raise TypeError(f"{name} should be a single number or a sequence of two.")
    if len(value) not in (2, 4):
        raise ValueError(f"{name} should be a sequence of length 2.")
    return [float(v) for v in value]


def _uniform(rng: Any, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for t in self.transforms:
            img = t(img)
        return img

    def __repr__(self) -> str:
        lines = "".join(f"\n    {t}" for t in self.transforms)
        return f"{type(self).__name__}({lines}\n)"


class ToTensor:
    """A Pillow picture or an array (H, W, C) as a tensor (C, H, W); uint8 becomes float32 in [0, 1]."""

    def __call__(self, pic: Any) -> Tensor:
        return F.to_tensor(pic)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class PILToTensor:
    """A Pillow picture as a tensor (C, H, W) of its own type."""

    def __call__(self, pic: Any) -> Tensor:
        return F.pil_to_tensor(pic)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ToPILImage:
    """A tensor (C, H, W) or an array (H, W, C) as a Pillow picture."""

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def __call__(self, pic: Any) -> Any:
        return F.to_pil_image(pic, self.mode)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.mode is None else f'mode={self.mode}'})"


class ConvertImageDtype(Transform):
    """Another type, values scaled to its range."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self.F.convert_image_dtype(img, self.dtype)


class Normalize(Transform):
    """``(x - mean) / std``, channel by channel; for floating tensors."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        super().__init__()
        self.mean, self.std, self.inplace = mean, std, inplace

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self.F.normalize(img, self.mean, self.std, self.inplace)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mean={self.mean}, std={self.std})"


class Resize(Transform):
    """Another size: (h, w), or an int for the shorter edge."""

    def __init__(
        self, size: Any, interpolation: Any = InterpolationMode.BILINEAR, max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if size is not None and not isinstance(size, (int, Sequence)):
            raise TypeError(f"Size should be int or sequence. Got {type(size)}")
        if isinstance(size, Sequence) and len(size) not in (1, 2):
            raise ValueError("If size is a sequence, it should have 1 or 2 values")
        self.size, self.interpolation, self.max_size = size, F.as_mode(interpolation), max_size
        self.antialias = antialias

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self.F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)

    def __repr__(self) -> str:
        return (f"{type(self).__name__}(size={self.size}, {_name(self.interpolation)}, max_size={self.max_size}, "
                f"antialias={self.antialias})")  # fmt: skip


class CenterCrop(Transform):
    """The middle of the picture."""

    def __init__(self, size: Any) -> None:
        super().__init__()
        self.size = _size(size)

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self.F.center_crop(img, self.size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size})"


class Pad(Transform):
    """Borders: one width, (left/right, top/bottom), or (left, top, right, bottom)."""

    def __init__(self, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> None:
        super().__init__()
        if not isinstance(padding, (numbers.Number, tuple, list)):
            raise TypeError("Got inappropriate padding arg")
        if not isinstance(fill, (numbers.Number, tuple, list)):
            raise TypeError("Got inappropriate fill arg")
        if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
            raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")
        if isinstance(padding, Sequence) and len(padding) not in (1, 2, 4):
            raise ValueError(
                f"Padding must be an int or a 1, 2, or 4 element tuple, not a {len(padding)} element tuple"
            )
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self.F.pad(img, self.padding, self.fill, self.padding_mode)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(padding={self.padding}, fill={self.fill}, padding_mode={self.padding_mode})"


class RandomCrop(Transform):
    """A rectangle of the given size somewhere in the (padded) picture.

    Raises ValueError for pictures that are too small, unless ``pad_if_needed``.
    """

    def __init__(
        self, size: Any, padding: Any = None, pad_if_needed: bool = False, fill: Any = 0, padding_mode: str = "constant"
    ) -> None:
        super().__init__()
        self.size = _size(size)
        self.padding, self.pad_if_needed, self.fill, self.padding_mode = padding, pad_if_needed, fill, padding_mode

    @staticmethod
    def get_params(img: Any, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """top, left, height, width."""
        (_, h, w), (th, tw) = F.get_dimensions(img), output_size
        if h < th or w < tw:
            raise ValueError(f"Required crop size {(th, tw)} is larger than input image size {(h, w)}")
        if (h, w) == (th, tw):
            return 0, 0, h, w
        rng = random()
        return int(rng.integers(h - th + 1)), int(rng.integers(w - tw + 1)), th, tw

    def _padded(self, img: Any) -> Any:
        if self.padding is not None:
            img = self.F.pad(img, self.padding, self.fill, self.padding_mode)
        if self.pad_if_needed:
            _, h, w = self.F.get_dimensions(img)
            if w < self.size[1]:
                img = self.F.pad(img, [self.size[1] - w, 0], self.fill, self.padding_mode)
            if h < self.size[0]:
                img = self.F.pad(img, [0, self.size[0] - h], self.fill, self.padding_mode)
        return img

    def forward(self, img: Any) -> Any:
        img = self._padded(img)
        return self.F.crop(img, *self.get_params(img, self.size))

    def _draw(self, img: Any) -> Any:
        return self.get_params(self._padded(img), self.size)

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self.F.crop(self._padded(img), *drawn)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, padding={self.padding})"


class RandomResizedCrop(Transform):
    """A rectangle of random area and ratio, resized: the crop of the Inception papers."""

    def __init__(
        self, size: Any, scale: Sequence[float] = (0.08, 1.0), ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: Any = InterpolationMode.BILINEAR, antialias: bool | None = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.size = _size(size)
        if not isinstance(scale, Sequence):
            raise TypeError("Scale should be a sequence")
        if not isinstance(ratio, Sequence):
            raise TypeError("Ratio should be a sequence")
        self.scale, self.ratio, self.interpolation, self.antialias = scale, ratio, F.as_mode(interpolation), antialias

    @staticmethod
    def get_params(img: Any, scale: Sequence[float], ratio: Sequence[float]) -> tuple[int, int, int, int]:
        """top, left, height, width: ten tries of area uniform and ratio log-uniform, then the middle."""
        _, h, w = F.get_dimensions(img)
        rng = random()
        for _ in range(10):
            area = h * w * _uniform(rng, *scale)
            aspect = math.exp(_uniform(rng, math.log(ratio[0]), math.log(ratio[1])))
            cw, ch = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < cw <= w and 0 < ch <= h:
                return int(rng.integers(h - ch + 1)), int(rng.integers(w - cw + 1)), ch, cw
        ch, cw = h, w
        if w / h < min(ratio):
            ch = round(w / min(ratio))
        elif w / h > max(ratio):
            cw = round(h * max(ratio))
        return (h - ch) // 2, (w - cw) // 2, ch, cw

    def _draw(self, img: Any) -> Any:
        return self.get_params(img, self.scale, self.ratio)

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self.F.resized_crop(img, *drawn, self.size, self.interpolation, self.antialias)

    def __repr__(self) -> str:
        scale, ratio = (tuple(round(v, 4) for v in pair) for pair in (self.scale, self.ratio))
        return (f"{type(self).__name__}(size={self.size}, scale={scale}, ratio={ratio}, {_name(self.interpolation)}, "
                f"antialias={self.antialias})")  # fmt: skip


class _WithProbability(Transform):
    """Something that happens with probability ``p``."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def _draw(self, img: Any) -> Any:
        return random().random() < self.p

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self._change(img) if drawn else img

    def _change(self, img: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not say what it does")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomHorizontalFlip(_WithProbability):
    """Left and right exchanged, with probability ``p``."""

    def _change(self, img: Any) -> Any:
        return self.F.hflip(img)


class RandomVerticalFlip(_WithProbability):
    """Top and bottom exchanged, with probability ``p``."""

    def _change(self, img: Any) -> Any:
        return self.F.vflip(img)


class RandomInvert(_WithProbability):
    """The negative, with probability ``p``."""

    def _change(self, img: Any) -> Any:
        return self.F.invert(img)


class RandomAutocontrast(_WithProbability):
    """Channels stretched to the whole range, with probability ``p``."""

    def _change(self, img: Any) -> Any:
        return self.F.autocontrast(img)


class RandomEqualize(_WithProbability):
    """Histograms made flat, with probability ``p``."""

    def _change(self, img: Any) -> Any:
        return self.F.equalize(img)


class RandomPosterize(_WithProbability):
    """Fewer bits, with probability ``p``."""

    def __init__(self, bits: int, p: float = 0.5) -> None:
        super().__init__(p)
        self.bits = bits

    def _change(self, img: Any) -> Any:
        return self.F.posterize(img, self.bits)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(bits={self.bits},p={self.p})"


class RandomSolarize(_WithProbability):
    """The negative of the bright values, with probability ``p``."""

    def __init__(self, threshold: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.threshold = threshold

    def _change(self, img: Any) -> Any:
        return self.F.solarize(img, self.threshold)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(threshold={self.threshold},p={self.p})"


class RandomAdjustSharpness(_WithProbability):
    """Another sharpness, with probability ``p``."""

    def __init__(self, sharpness_factor: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.sharpness_factor = sharpness_factor

    def _change(self, img: Any) -> Any:
        return self.F.adjust_sharpness(img, self.sharpness_factor)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(sharpness_factor={self.sharpness_factor},p={self.p})"


class Grayscale(Transform):
    """Grey, of 1 or 3 equal channels."""

    def __init__(self, num_output_channels: int = 1) -> None:
        super().__init__()
        self.num_output_channels = num_output_channels

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self.F.rgb_to_grayscale(img, self.num_output_channels)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_output_channels={self.num_output_channels})"


class RandomGrayscale(_WithProbability):
    """Grey with probability ``p``, with as many channels as before."""

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def _change(self, img: Any) -> Any:
        return self.F.rgb_to_grayscale(img, self.F.get_image_num_channels(img))


class ColorJitter(Transform):
    """Random brightness, contrast, saturation (factors) and hue (turns), in random order.

    A number x means a factor from [max(0, 1 - x), 1 + x], and a hue from [-x, x]; a pair means that range.
    """

    def __init__(self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0) -> None:
        super().__init__()
        self.brightness = self._range(brightness, "brightness")
        self.contrast = self._range(contrast, "contrast")
        self.saturation = self._range(saturation, "saturation")
        self.hue = self._range(hue, "hue")

    @staticmethod
    def _range(value: Any, name: str) -> tuple[float, float] | None:
        middle, low, high = (0.0, -0.5, 0.5) if name == "hue" else (1.0, 0.0, math.inf)
        a, b = _between(value, name, middle, low if name != "hue" else -math.inf)
        if not low <= a <= b <= high:
            raise ValueError(f"{name} values should be between ({low}, {high}), but got {[a, b]}.")
        return None if a == b == middle else (a, b)

    @staticmethod
    def get_params(
        brightness: Any, contrast: Any, saturation: Any, hue: Any
    ) -> tuple[Tensor, float | None, float | None, float | None, float | None]:
        """The order of the four, and their factors."""
        rng = random()
        order = torch.from_numpy(rng.permutation(4))
        return order, *(None if r is None else _uniform(rng, *r) for r in (brightness, contrast, saturation, hue))  # type: ignore[return-value]

    def _draw(self, img: Any) -> Any:
        return self.get_params(self.brightness, self.contrast, self.saturation, self.hue)

    def _applied(self, img: Any, drawn: Any) -> Any:
        order, *factors = drawn
        steps = (self.F.adjust_brightness, self.F.adjust_contrast, self.F.adjust_saturation, self.F.adjust_hue)
        for i in order.numpy():
            if factors[i] is not None:
                img = steps[i](img, factors[i])
        return img

    def __repr__(self) -> str:
        return (f"{type(self).__name__}(brightness={self.brightness}, contrast={self.contrast}, "
                f"saturation={self.saturation}, hue={self.hue})")  # fmt: skip


class RandomRotation(Transform):
    """Turned by an angle from ``degrees``: (low, high), or from [-degrees, degrees]."""

    def __init__(
        self, degrees: Any, interpolation: Any = InterpolationMode.NEAREST, expand: bool = False, center: Any = None,
        fill: Any = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.degrees = _between(degrees, "degrees")
        self.interpolation = F.as_mode(interpolation)
        self.expand, self.center, self.fill = expand, center, 0 if fill is None else fill

    @staticmethod
    def get_params(degrees: Sequence[float]) -> float:
        """The angle."""
        return _uniform(random(), degrees[0], degrees[1])

    def _draw(self, img: Any) -> Any:
        return self.get_params(self.degrees)

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self.F.rotate(img, drawn, self.interpolation, self.expand, self.center, self.fill)

    def __repr__(self) -> str:
        middle = "" if self.center is None else f", center={self.center}"
        return (f"{type(self).__name__}(degrees={self.degrees}, {_name(self.interpolation)}, expand={self.expand}"
                f"{middle}, fill={self.fill})")  # fmt: skip


class RandomAffine(Transform):
    """Random rotation (degrees), translation (fractions of the size), scale and shear (degrees)."""

    def __init__(
        self, degrees: Any, translate: Sequence[float] | None = None, scale: Sequence[float] | None = None,
        shear: Any = None, interpolation: Any = InterpolationMode.NEAREST, fill: Any = 0, center: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.degrees = _between(degrees, "degrees")
        for value, name in ((translate, "translate"), (scale, "scale")):
            if value is not None and len(value) != 2:
                raise ValueError(f"{name} should be a sequence of length 2.")
        if translate is not None and not all(0.0 <= t <= 1.0 for t in translate):
            raise ValueError("translation values should be between 0 and 1")
        if scale is not None and not all(s > 0 for s in scale):
            raise ValueError("scale values should be positive")
        self.translate, self.scale = translate, scale
        self.shear = None if shear is None else _between(shear, "shear")
        self.interpolation = F.as_mode(interpolation)
        self.fill, self.center = 0 if fill is None else fill, center

    @staticmethod
    def get_params(
        degrees: Sequence[float], translate: Any, scale_ranges: Any, shears: Any, img_size: Sequence[int]
    ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:
        """angle, translation in pixels, scale, shear."""
        rng = random()
        angle = _uniform(rng, degrees[0], degrees[1])
        moved = (0, 0)
        if translate is not None:
            moved = tuple(round(_uniform(rng, -t * n, t * n)) for t, n in zip(translate, img_size, strict=True))
        scale = 1.0 if scale_ranges is None else _uniform(rng, *scale_ranges)
        sheared = (0.0, 0.0)
        if shears is not None:
            along_x = _uniform(rng, shears[0], shears[1])
            sheared = (along_x, _uniform(rng, shears[2], shears[3]) if len(shears) == 4 else 0.0)
        return angle, moved, scale, sheared  # type: ignore[return-value]

    def _draw(self, img: Any) -> Any:
        return self.get_params(self.degrees, self.translate, self.scale, self.shear, self.F.get_image_size(img))

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self.F.affine(img, *drawn, interpolation=self.interpolation, fill=self.fill, center=self.center)

    def __repr__(self) -> str:
        parts = [f"degrees={self.degrees}"]
        parts += [f"{n}={getattr(self, n)}" for n in ("translate", "scale", "shear") if getattr(self, n) is not None]
        parts += [] if self.interpolation is InterpolationMode.NEAREST else [_name(self.interpolation)]
        parts += [] if self.fill == 0 else [f"fill={self.fill}"]
        parts += [] if self.center is None else [f"center={self.center}"]
        return f"{type(self).__name__}({', '.join(parts)})"


class RandomPerspective(_WithProbability):
    """The corners moved inwards by up to ``distortion_scale`` halves of the size, with probability ``p``."""

    def __init__(
        self, distortion_scale: float = 0.5, p: float = 0.5, interpolation: Any = InterpolationMode.BILINEAR,
        fill: Any = 0,
    ) -> None:  # fmt: skip
        super().__init__(p)
        self.distortion_scale, self.interpolation = distortion_scale, F.as_mode(interpolation)
        self.fill = 0 if fill is None else fill

    @staticmethod
    def get_params(width: int, height: int, distortion_scale: float) -> tuple[list[list[int]], list[list[int]]]:
        """The corners (top left, top right, bottom right, bottom left), and where they go."""
        rng = random()
        dx, dy = int(distortion_scale * (width // 2)), int(distortion_scale * (height // 2))
        corners = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
        moved = []
        for x, y in corners:
            mx, my = int(rng.integers(dx + 1)), int(rng.integers(dy + 1))
            moved.append([mx if x == 0 else x - dx + mx, my if y == 0 else y - dy + my])
        return corners, moved

    def _draw(self, img: Any) -> Any:
        if not super()._draw(img):
            return None
        _, h, w = self.F.get_dimensions(img)
        return self.get_params(w, h, self.distortion_scale)

    def _applied(self, img: Any, drawn: Any) -> Any:
        return img if drawn is None else self.F.perspective(img, *drawn, self.interpolation, self.fill)


class ElasticTransform(Transform):
    """Pixels displaced by smoothed noise: ``alpha`` how far (pixels), ``sigma`` how smooth (pixels)."""

    def __init__(
        self, alpha: Any = 50.0, sigma: Any = 5.0, interpolation: Any = InterpolationMode.BILINEAR, fill: Any = 0
    ) -> None:
        super().__init__()
        self.alpha, self.sigma = self._pair(alpha, "alpha"), self._pair(sigma, "sigma")
        self.interpolation, self.fill = F.as_mode(interpolation), fill

    @staticmethod
    def _pair(value: Any, name: str) -> list[float]:
        if isinstance(value, (int, float)):
            return [float(value)] * 2
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{name} should be float or a sequence of floats. Got {type(value)}")
        if len(value) not in (1, 2):
            raise ValueError(f"If {name} is a sequence its length should be 2. Got {len(value)}")
        if not all(isinstance(v, float) for v in value):
            raise TypeError(f"{name} should be a sequence of floats. Got {value}")
        return [value[0], value[-1]]

    @staticmethod
    def get_params(alpha: Sequence[float], sigma: Sequence[float], size: Sequence[int]) -> Tensor:
        """The displacement, (1, H, W, 2)."""
        rng, parts = random(), []
        for a, s, n in zip(alpha, sigma, reversed(size), strict=True):  # x by the width, y by the height
            noise = torch.from_numpy(rng.uniform(-1, 1, (1, *size)).astype(np.float32))
            if s > 0:
                k = int(8 * s + 1) | 1
                noise = F.gaussian_blur(noise, [k, k], list(sigma))
            parts.append(noise.numpy()[0] * np.float32(a / n))
        return torch.from_numpy(np.stack(parts, -1)[None])

    def _draw(self, img: Any) -> Any:
        return self.get_params(self.alpha, self.sigma, self.F.get_dimensions(img)[1:])

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self.F.elastic_transform(img, drawn, self.interpolation, self.fill)

    def __repr__(self) -> str:
        fill = [float(v) for v in (self.fill if isinstance(self.fill, (tuple, list)) else [self.fill])]
        return (f"{type(self).__name__}(alpha={self.alpha}, sigma={self.sigma}, interpolation={self.interpolation}, "
                f"fill={fill})")  # fmt: skip


class RandomErasing(Transform):
    """A rectangle of a tensor overwritten, with probability ``p`` (Zhong et al. 2017, arXiv:1708.04896).

    scale, ratio: of the rectangle's area to the picture's, and of its height to its width.
    value: one number, one per channel, or "random" for normal noise.
    """

    def __init__(
        self, p: float = 0.5, scale: Sequence[float] = (0.02, 0.33), ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0, inplace: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if not isinstance(value, (numbers.Number, str, tuple, list)):
            raise TypeError("Argument value should be either a number or str or a sequence")
        if isinstance(value, str) and value != "random":
            raise ValueError("If value is str, it should be 'random'")
        if not isinstance(scale, Sequence):
            raise TypeError("Scale should be a sequence")
        if not isinstance(ratio, Sequence):
            raise TypeError("Ratio should be a sequence")
        if scale[0] < 0 or scale[1] > 1:
            raise ValueError("Scale should be between 0 and 1")
        if not 0 <= p <= 1:
            raise ValueError("Random erasing probability should be between 0 and 1")
        self.p, self.scale, self.ratio, self.value, self.inplace = p, scale, ratio, value, inplace

    @staticmethod
    def get_params(
        img: Tensor, scale: Sequence[float], ratio: Sequence[float], value: list[float] | None = None
    ) -> tuple[int, int, int, int, Tensor]:
        """row, column, height, width, and what to write; the whole picture itself if ten tries did not fit."""
        c, h, w = img.shape[-3:]
        rng = random()
        for _ in range(10):
            area = h * w * _uniform(rng, *scale)
            aspect = math.exp(_uniform(rng, math.log(ratio[0]), math.log(ratio[1])))
            eh, ew = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if not (eh < h and ew < w):
                continue
            if value is None:
                v = torch.from_numpy(rng.standard_normal((c, eh, ew)).astype(np.float32))
            else:
                v = torch.from_numpy(np.asarray(value, np.float32)[:, None, None])
            return int(rng.integers(h - eh + 1)), int(rng.integers(w - ew + 1)), eh, ew, v
        return 0, 0, h, w, img

    def _draw(self, img: Any) -> Any:
        if random().random() >= self.p:
            return None
        value = [self.value] if isinstance(self.value, numbers.Number) else self.value
        if value != "random" and len(value) not in (1, img.shape[-3]):  # type: ignore[arg-type]
            raise ValueError(
                "If value is a sequence, it should have either a single value or "
                f"{img.shape[-3]} (number of input channels)"
            )
        return self.get_params(img, self.scale, self.ratio, None if value == "random" else [*value])  # type: ignore[misc]

    def _applied(self, img: Any, drawn: Any) -> Any:
        return img if drawn is None else self.F.erase(img, *drawn, self.inplace)

    def __repr__(self) -> str:
        return (f"{type(self).__name__}(p={self.p}, scale={self.scale}, ratio={self.ratio}, value={self.value}, "
                f"inplace={self.inplace})")  # fmt: skip


class GaussianBlur(Transform):
    """Smoothed by a Gaussian whose deviation is drawn from ``sigma``: (low, high), or one number."""

    def __init__(self, kernel_size: Any, sigma: Any = (0.1, 2.0)) -> None:
        super().__init__()
        self.kernel_size = _size(kernel_size, "kernel_size")
        if any(k <= 0 or k % 2 == 0 for k in self.kernel_size):
            raise ValueError("Kernel size value should be an odd and positive number.")
        if not isinstance(sigma, (numbers.Number, Sequence)):
            raise TypeError("sigma should be a single number or a list/tuple with length 2.")
        if isinstance(sigma, str) or isinstance(sigma, Sequence) and len(sigma) != 2:
            raise ValueError("sigma should be a single number or a list/tuple with length 2.")
        self.sigma = (sigma, sigma) if isinstance(sigma, numbers.Number) else sigma
        if not 0.0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"sigma values should be positive and of the form (min, max). Got {self.sigma}")

    @staticmethod
    def get_params(sigma_min: float, sigma_max: float) -> float:
        """The deviation."""
        return _uniform(random(), sigma_min, sigma_max)

    def _draw(self, img: Any) -> Any:
        return self.get_params(*self.sigma)

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self.F.gaussian_blur(img, self.kernel_size, [drawn, drawn])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kernel_size={self.kernel_size}, sigma={self.sigma})"


class LinearTransformation(Transform):
    """``(x.flatten() - mean_vector) @ transformation_matrix``, for whitening."""

    def __init__(self, transformation_matrix: Tensor, mean_vector: Tensor) -> None:
        super().__init__()
        rows, cols = transformation_matrix.shape
        if rows != cols:
            raise ValueError(
                f"transformation_matrix should be square. Got {tuple(transformation_matrix.shape)} matrix."
            )
        if mean_vector.shape[0] != rows:
            raise ValueError(
                f"mean_vector should have the same length {mean_vector.shape[0]} as any one of the dimensions of the "
                f"transformation_matrix [{rows}, {cols}]"
            )
        self.transformation_matrix, self.mean_vector = transformation_matrix, mean_vector

    def _applied(self, img: Any, drawn: Any) -> Any:
        n = math.prod(img.shape[-3:])
        if n != self.transformation_matrix.shape[0]:
            raise ValueError(
                f"Input tensor and transformation matrix have incompatible shape: {tuple(img.shape)} has {n} elements, "
                f"the matrix {self.transformation_matrix.shape[0]} rows"
            )
        return ((img.reshape(-1, n) - self.mean_vector) @ self.transformation_matrix).reshape(img.shape)

    def __repr__(self) -> str:
        return (f"{type(self).__name__}(transformation_matrix={self.transformation_matrix.tolist()}, "
                f"mean_vector={self.mean_vector.tolist()})")  # fmt: skip


class FiveCrop(Transform):
    """A tuple of the four corners and the middle."""

    def __init__(self, size: Any) -> None:
        super().__init__()
        self.size = _size(size)

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self.F.five_crop(img, self.size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size})"


class TenCrop(Transform):
    """A tuple of the five crops of the picture and of its mirror image."""

    def __init__(self, size: Any, vertical_flip: bool = False) -> None:
        super().__init__()
        self.size, self.vertical_flip = _size(size), vertical_flip

    def _applied(self, img: Any, drawn: Any) -> Any:
        return self.F.ten_crop(img, self.size, self.vertical_flip)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, vertical_flip={self.vertical_flip})"


class Lambda:
    """A function as a transform."""

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class RandomApply(nn.Module):
    """All of the transforms with probability ``p``, or none."""

    def __init__(self, transforms: Any, p: float = 0.5) -> None:
        super().__init__()
        self.transforms, self.p = transforms, p

    def forward(self, img: Any) -> Any:
        if random().random() < self.p:
            for t in self.transforms:
                img = t(img)
        return img

    def __repr__(self) -> str:
        lines = "".join(f"\n    {t}" for t in self.transforms)
        return f"{type(self).__name__}(\n    p={self.p}{lines}\n)"


class RandomOrder:
    """All of the transforms, in random order."""

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        if not isinstance(transforms, Sequence):
            raise TypeError("Argument transforms should be a sequence")
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for i in order(len(self.transforms)):
            img = self.transforms[i](img)
        return img

    __repr__ = Compose.__repr__


class RandomChoice:
    """One of the transforms, chosen with probabilities ``p``."""

    def __init__(self, transforms: Sequence[Callable[..., Any]], p: Sequence[float] | None = None) -> None:
        if not isinstance(transforms, Sequence):
            raise TypeError("Argument transforms should be a sequence")
        if p is not None and len(p) != len(transforms):
            raise ValueError(f"Length of p doesn't match the number of transforms: {len(p)} != {len(transforms)}")
        self.transforms, self.p = transforms, p

    def __call__(self, *args: Any) -> Any:
        weights = None if self.p is None else np.asarray(self.p, np.float64) / sum(self.p)
        return self.transforms[int(random().choice(len(self.transforms), p=weights))](*args)

    def __repr__(self) -> str:
        return f"{Compose.__repr__(self)}(p={self.p})"  # type: ignore[arg-type]
