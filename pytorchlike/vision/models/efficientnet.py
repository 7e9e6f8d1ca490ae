"""EfficientNet (Tan & Le 2019, arXiv:1905.11946) and V2 (2021, arXiv:2104.00298)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn

from ..ops.misc import Conv2dNormActivation, SqueezeExcitation, StochasticDepth
from ._api import builder, weights_enum
from ._utils import _make_divisible, init_convs

__all__ = ["EfficientNet"]


class _Block(nn.Module):
    """expansion, kernel, stride, channels in and out; ``fused``: one convolution for the first two."""

    def __init__(self, row: Sequence[Any], drop: float, norm: Callable[..., nn.Module]) -> None:
        super().__init__()
        fused, t, k, s, inputs, outputs = row
        if not 1 <= s <= 2:
            raise ValueError("illegal stride value")
        self.use_res_connect = s == 1 and inputs == outputs
        wide = _make_divisible(inputs * t, 8)
        act = {"norm_layer": norm, "activation_layer": nn.SiLU}
        layers: list[nn.Module] = []
        if fused:
            layers.append(Conv2dNormActivation(inputs, wide if wide != inputs else outputs, k, s, **act))
        else:
            if wide != inputs:
                layers.append(Conv2dNormActivation(inputs, wide, 1, **act))
            layers.append(Conv2dNormActivation(wide, wide, k, s, groups=wide, **act))
            layers.append(SqueezeExcitation(wide, max(1, inputs // 4), activation=partial(nn.SiLU, inplace=True)))
        if not fused or wide != inputs:
            layers.append(Conv2dNormActivation(wide, outputs, 1, norm_layer=norm, activation_layer=None))
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = StochasticDepth(drop, "row")
        self.out_channels = outputs

    def forward(self, input: Tensor) -> Tensor:
        out = self.block(input)
        return self.stochastic_depth(out) + input if self.use_res_connect else out


class MBConv(_Block):
    """Wider, a depthwise convolution, squeeze and excitation, and narrow again."""


class FusedMBConv(_Block):
    """The same with one ordinary convolution in front."""


class EfficientNet(nn.Module):
    """stages: rows of (fused, expansion, kernel, stride, channels in, channels out, repetitions).

    Shapes: (N, 3, H, W) -> (N, num_classes).   stochastic_depth_prob: of the last block; it grows linearly.
    """

    def __init__(
        self, stages: Sequence[Sequence[Any]], dropout: float, stochastic_depth_prob: float = 0.2,
        num_classes: int = 1000, norm_layer: Callable[..., nn.Module] | None = None, last_channel: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if not stages:
            raise ValueError("The inverted_residual_setting should not be empty")
        norm = norm_layer or nn.BatchNorm2d
        act = {"norm_layer": norm, "activation_layer": nn.SiLU}
        layers: list[nn.Module] = [Conv2dNormActivation(3, stages[0][4], 3, 2, **act)]
        total, done = sum(row[6] for row in stages), 0
        for fused, t, k, s, inputs, outputs, n in stages:
            blocks = []
            for i in range(n):
                row = (fused, t, k, s if i == 0 else 1, inputs if i == 0 else outputs, outputs)
                blocks.append((FusedMBConv if fused else MBConv)(row, stochastic_depth_prob * done / total, norm))
                done += 1
            layers.append(nn.Sequential(*blocks))
        last_in = stages[-1][5]
        last = last_channel if last_channel is not None else 4 * last_in
        layers.append(Conv2dNormActivation(last_in, last, 1, **act))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout, inplace=True), nn.Linear(last, num_classes))
        init_convs(self)
        bound = 1.0 / math.sqrt(num_classes)
        nn.init.uniform_(self.classifier[1].weight, -bound, bound)
        nn.init.zeros_(self.classifier[1].bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


# fused, expansion, kernel, stride, in, out, repetitions
_B0 = [(0, 1, 3, 1, 32, 16, 1), (0, 6, 3, 2, 16, 24, 2), (0, 6, 5, 2, 24, 40, 2), (0, 6, 3, 2, 40, 80, 3),
       (0, 6, 5, 1, 80, 112, 3), (0, 6, 5, 2, 112, 192, 4), (0, 6, 3, 1, 192, 320, 1)]  # fmt: skip
_V2 = {
    "s": [(1, 1, 3, 1, 24, 24, 2), (1, 4, 3, 2, 24, 48, 4), (1, 4, 3, 2, 48, 64, 4), (0, 4, 3, 2, 64, 128, 6),
          (0, 6, 3, 1, 128, 160, 9), (0, 6, 3, 2, 160, 256, 15)],
    "m": [(1, 1, 3, 1, 24, 24, 3), (1, 4, 3, 2, 24, 48, 5), (1, 4, 3, 2, 48, 80, 5), (0, 4, 3, 2, 80, 160, 7),
          (0, 6, 3, 1, 160, 176, 14), (0, 6, 3, 2, 176, 304, 18), (0, 6, 3, 1, 304, 512, 5)],
    "l": [(1, 1, 3, 1, 32, 32, 4), (1, 4, 3, 2, 32, 64, 7), (1, 4, 3, 2, 64, 96, 7), (0, 4, 3, 2, 96, 192, 10),
          (0, 6, 3, 1, 192, 224, 19), (0, 6, 3, 2, 224, 384, 25), (0, 6, 3, 1, 384, 640, 7)],
}  # fmt: skip
#: Width, depth, dropout, crop, resize and the end of the file's name.
_B = {
    "b0": (1.0, 1.0, 0.2, 224, 256, "rwightman-7f5810bc"), "b1": (1.0, 1.1, 0.2, 240, 256, "rwightman-bac287d4"),
    "b2": (1.1, 1.2, 0.3, 288, 288, "rwightman-c35c1473"), "b3": (1.2, 1.4, 0.3, 300, 320, "rwightman-b3899882"),
    "b4": (1.4, 1.8, 0.4, 380, 384, "rwightman-23ab8bcd"), "b5": (1.6, 2.2, 0.4, 456, 456, "lukemelas-1a07897c"),
    "b6": (1.8, 2.6, 0.5, 528, 528, "lukemelas-24a108a5"), "b7": (2.0, 3.1, 0.5, 600, 600, "lukemelas-c5b4e57e"),
}  # fmt: skip
_V2_FILES = {"s": (0.2, 384, 384, "dd5fe13b"), "m": (0.3, 480, 480, "dc08266a"), "l": (0.4, 480, 480, "59c71312")}


def _scaled(width: float, depth: float) -> list[tuple]:
    return [(f, t, k, s, _make_divisible(i * width, 8), _make_divisible(o * width, 8), math.ceil(n * depth))
            for f, t, k, s, i, o, n in _B0]  # fmt: skip


def _define(kind: str, stages: list[tuple], fixed: dict[str, Any], file: str, crop: int, resize: int) -> None:
    name, title = f"efficientnet_{kind}", f"EfficientNet_{kind.upper()}_Weights"
    enum = weights_enum(title, __name__, {"IMAGENET1K_V1": file}, crop, resize)
    globals()[title] = enum
    globals()[name] = builder(name, __name__, enum, lambda **kw: EfficientNet(stages, **{**fixed, **kw}),
                              f"EfficientNet {kind}")  # fmt: skip
    __all__.extend([title, name])


for _kind, (_width, _depth, _dropout, _crop, _resize, _file) in _B.items():
    _fixed: dict[str, Any] = {"dropout": _dropout}
    if _kind in ("b5", "b6", "b7"):
        _fixed["norm_layer"] = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
    _define(_kind, _scaled(_width, _depth), _fixed, f"efficientnet_{_kind}_{_file}.pth", _crop, _resize)
for _kind, (_dropout, _crop, _resize, _file) in _V2_FILES.items():
    _fixed = {"dropout": _dropout, "norm_layer": partial(nn.BatchNorm2d, eps=1e-3), "last_channel": 1280}
    _define(f"v2_{_kind}", _V2[_kind], _fixed, f"efficientnet_v2_{_kind}-{_file}.pth", _crop, _resize)
