"""RegNet: Radosavovic et al. 2020, arXiv:2003.13678."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from pytorchlike import Tensor, nn

from ..ops.misc import Conv2dNormActivation, SqueezeExcitation
from ._api import builder, swag, weights_enum
from ._utils import _make_divisible

__all__ = ["RegNet"]


class ResBottleneckBlock(nn.Module):
    """1 x 1, grouped 3 x 3, squeeze and excitation, 1 x 1, beside a short cut."""

    def __init__(
        self, inputs: int, width: int, stride: int, norm: Callable[..., nn.Module], group_width: int, se: float | None
    ) -> None:
        super().__init__()
        self.proj = None
        if inputs != width or stride != 1:
            self.proj = Conv2dNormActivation(inputs, width, 1, stride, norm_layer=norm, activation_layer=None)
        layers: dict[str, nn.Module] = OrderedDict()
        layers["a"] = Conv2dNormActivation(inputs, width, 1, norm_layer=norm)
        layers["b"] = Conv2dNormActivation(width, width, 3, stride, groups=width // group_width, norm_layer=norm)
        if se:
            layers["se"] = SqueezeExcitation(width, round(se * inputs))
        layers["c"] = Conv2dNormActivation(width, width, 1, norm_layer=norm, activation_layer=None)
        self.f = nn.Sequential(layers)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation((x if self.proj is None else self.proj(x)) + self.f(x))


def stages(depth: int, w_0: int, w_a: float, w_m: float, group_width: int) -> list[tuple[int, int, int]]:
    """(width, depth, group width) of each stage: equation (2) to (4) of the paper."""
    if w_a < 0 or w_0 <= 0 or w_m <= 1 or w_0 % 8 != 0:
        raise ValueError("Invalid RegNet settings")
    widths = w_0 + np.arange(depth) * w_a
    powers = np.round(np.log(widths / w_0) / math.log(w_m))
    rounded = (np.round(w_0 * w_m**powers / 8) * 8).astype(int)
    found = []
    for width in dict.fromkeys(rounded.tolist()):
        group = min(group_width, width)
        found.append((_make_divisible(width, group), int((rounded == width).sum()), group))
    return found


class RegNet(nn.Module):
    """settings: depth, w_0, w_a, w_m, group width.   se: share of squeezed channels.

    Shapes: (N, 3, H, W) -> (N, num_classes).
    """

    def __init__(
        self, settings: tuple[int, int, float, float, int], se: float | None = None, num_classes: int = 1000,
        stem_width: int = 32, norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        self.stem = Conv2dNormActivation(3, stem_width, 3, 2, norm_layer=norm)
        channels, trunk = stem_width, OrderedDict()
        for i, (width, depth, group) in enumerate(stages(*settings), 1):
            trunk[f"block{i}"] = nn.Sequential(OrderedDict(
                (f"block{i}-{j}", ResBottleneckBlock(width if j else channels, width, 1 if j else 2, norm, group, se))
                for j in range(depth)
            ))  # fmt: skip
            channels = width
        self.trunk_output = nn.Sequential(trunk)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                fan_out = m.kernel_size[0] * m.kernel_size[1] * m.out_channels
                nn.init.normal_(m.weight, 0.0, math.sqrt(2.0 / fan_out))
        nn.init.normal_(self.fc.weight, 0.0, 0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.trunk_output(self.stem(x))).flatten(start_dim=1))


_KINDS: dict[str, tuple[tuple[int, int, float, float, int], tuple[str, ...]]] = {
    "y_400mf": ((16, 48, 27.89, 2.09, 8), ("c65dace8", "e6988f5f")),
    "y_800mf": ((14, 56, 38.84, 2.4, 16), ("1b27b58c", "58fc7688")),
    "y_1_6gf": ((27, 48, 20.71, 2.65, 24), ("b11a554e", "0d7bc02a")),
    "y_3_2gf": ((21, 80, 42.63, 2.66, 24), ("b5a9779c", "9180c971")),
    "y_8gf": ((17, 192, 76.82, 2.19, 56), ("d0d0e4a8", "dc2b1b54")),
    "y_16gf": ((18, 200, 106.23, 2.48, 112), ("9e6ed7dd", "3e4a00f9")),
    "y_32gf": ((20, 232, 115.89, 2.53, 232), ("4dee3f7a", "8db6d4b5")),
    "y_128gf": ((27, 456, 160.83, 2.52, 264), ()),
    "x_400mf": ((22, 24, 24.48, 2.54, 16), ("adf1edd5", "62229a5f")),
    "x_800mf": ((16, 56, 35.73, 2.28, 16), ("ad17e45c", "94a99ebd")),
    "x_1_6gf": ((18, 80, 34.01, 2.25, 24), ("e3633e7f", "a12f2b72")),
    "x_3_2gf": ((25, 88, 26.31, 2.25, 48), ("f342aeae", "7071aa85")),
    "x_8gf": ((23, 80, 49.56, 2.88, 120), ("03ceed89", "2b70d774")),
    "x_16gf": ((22, 216, 55.59, 2.1, 128), ("2007eb11", "ba3796d7")),
    "x_32gf": ((23, 320, 69.86, 2.0, 168), ("9d47f8d0", "6eb8fdc6")),
}


#: What the names of weights trained whole for 384 pixels, and with a linear head only, end in.
_SWAG = {"y_16gf": ("43afe44d", "f3ec0043"), "y_32gf": ("04fdfa75", "e1583746"), "y_128gf": ("c8ce3e52", "cbe8ce12")}


def _define(kind: str) -> None:
    settings, hashes = _KINDS[kind]
    name, title = f"regnet_{kind}", f"RegNet_{kind.upper()}_Weights"
    files: dict[str, Any] = {f"IMAGENET1K_V{i + 1}": f"{name}-{h}.pth" for i, h in enumerate(hashes)}
    best = f"IMAGENET1K_V{len(hashes)}" if hashes else "IMAGENET1K_SWAG_E2E_V1"
    if kind in _SWAG:
        files |= swag(name, 384, *_SWAG[kind])
    enum = weights_enum(title, __name__, files, default=best)
    se = 0.25 if kind.startswith("y") else None

    def make(**kw: Any) -> RegNet:
        kw.setdefault("norm_layer", lambda n: nn.BatchNorm2d(n, eps=1e-5, momentum=0.1))
        return RegNet(settings, se, **kw)

    globals()[title] = enum
    globals()[name] = builder(name, __name__, enum, make, f"RegNet {kind}")
    __all__.extend([title, name])


for _kind in _KINDS:
    _define(_kind)
