"""EfficientNet (Tan & Le 2019, arXiv:1905.11946) and V2 (2021, arXiv:2104.00298)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn

from ..ops.misc import Conv2dNormActivation, SqueezeExcitation, StochasticDepth
from ._api import BICUBIC, builder, weights_enum
from ._utils import _make_divisible, init_convs

__all__ = ["EfficientNet", "FusedMBConvConfig", "MBConvConfig"]


@dataclass
class _Config:
    """One stage.  block: called with a config, the probability of being left out, and the kind of norm layer."""

    expand_ratio: float
    kernel: int
    stride: int
    input_channels: int
    out_channels: int
    num_layers: int
    block: Callable[..., nn.Module]

    @staticmethod
    def adjust_channels(channels: int, width_mult: float, min_value: int | None = None) -> int:
        """So many times the channels, to a multiple of eight."""
        return _make_divisible(channels * width_mult, 8, min_value)


class MBConvConfig(_Config):
    """A stage of MBConv blocks, its channels and repetitions multiplied by ``width_mult`` and ``depth_mult``."""

    def __init__(
        self, expand_ratio: float, kernel: int, stride: int, input_channels: int, out_channels: int, num_layers: int,
        width_mult: float = 1.0, depth_mult: float = 1.0, block: Callable[..., nn.Module] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            expand_ratio, kernel, stride, self.adjust_channels(input_channels, width_mult),
            self.adjust_channels(out_channels, width_mult), self.adjust_depth(num_layers, depth_mult), block or MBConv,
        )  # fmt: skip

    @staticmethod
    def adjust_depth(num_layers: int, depth_mult: float) -> int:
        """So many times the repetitions, rounded up."""
        return math.ceil(num_layers * depth_mult)


class FusedMBConvConfig(_Config):
    """A stage of FusedMBConv blocks."""

    def __init__(
        self, expand_ratio: float, kernel: int, stride: int, input_channels: int, out_channels: int, num_layers: int,
        block: Callable[..., nn.Module] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(expand_ratio, kernel, stride, input_channels, out_channels, num_layers, block or FusedMBConv)


class _Block(nn.Module):
    """What both kinds of block do around their convolutions."""

    def __init__(
        self, cnf: _Config, stochastic_depth_prob: float, norm_layer: Callable[..., nn.Module],
        se_layer: Callable[..., nn.Module] = SqueezeExcitation,
    ) -> None:  # fmt: skip
        super().__init__()
        if not 1 <= cnf.stride <= 2:
            raise ValueError("illegal stride value")
        inputs, outputs = cnf.input_channels, cnf.out_channels
        self.use_res_connect = cnf.stride == 1 and inputs == outputs
        wide = cnf.adjust_channels(inputs, cnf.expand_ratio)
        act = {"norm_layer": norm_layer, "activation_layer": nn.SiLU}
        layers = self._first(inputs, wide, outputs, cnf.kernel, cnf.stride, act, se_layer)
        if type(self)._narrows or wide != inputs:
            layers.append(Conv2dNormActivation(wide, outputs, 1, norm_layer=norm_layer, activation_layer=None))
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")
        self.out_channels = outputs

    def forward(self, input: Tensor) -> Tensor:
        out = self.block(input)
        return self.stochastic_depth(out) + input if self.use_res_connect else out


class MBConv(_Block):
    """Wider, a depthwise convolution, squeeze and excitation, and narrow again."""

    _narrows = True

    def _first(self, inputs: int, wide: int, outputs: int, k: int, s: int, act: dict, squeeze: Any) -> list[nn.Module]:
        layers: list[nn.Module] = []
        if wide != inputs:
            layers.append(Conv2dNormActivation(inputs, wide, 1, **act))
        layers.append(Conv2dNormActivation(wide, wide, k, s, groups=wide, **act))
        layers.append(squeeze(wide, max(1, inputs // 4), activation=partial(nn.SiLU, inplace=True)))
        return layers


class FusedMBConv(_Block):
    """The same with one ordinary convolution in front."""

    _narrows = False

    def _first(self, inputs: int, wide: int, outputs: int, k: int, s: int, act: dict, squeeze: Any) -> list[nn.Module]:
        return [Conv2dNormActivation(inputs, wide if wide != inputs else outputs, k, s, **act)]


class EfficientNet(nn.Module):
    """inverted_residual_setting: a config for each stage. stochastic_depth_prob: of the last block; it grows linearly.

    Shapes: (N, 3, H, W) -> (N, num_classes).   Raises ValueError without stages, TypeError for what is no config.
    """

    def __init__(
        self, inverted_residual_setting: Sequence[MBConvConfig | FusedMBConvConfig], dropout: float,
        stochastic_depth_prob: float = 0.2, num_classes: int = 1000,
        norm_layer: Callable[..., nn.Module] | None = None, last_channel: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        stages = inverted_residual_setting
        if not stages:
            raise ValueError("The inverted_residual_setting should not be empty")
        if not isinstance(stages, Sequence) or not all(isinstance(s, _Config) for s in stages):
            raise TypeError("The inverted_residual_setting should be List[MBConvConfig]")
        norm = norm_layer or nn.BatchNorm2d
        act = {"norm_layer": norm, "activation_layer": nn.SiLU}
        layers: list[nn.Module] = [Conv2dNormActivation(3, stages[0].input_channels, 3, 2, **act)]
        total, done = sum(s.num_layers for s in stages), 0
        for stage in stages:
            blocks = []
            for _ in range(stage.num_layers):
                cnf = copy.copy(stage)
                if blocks:
                    cnf.input_channels, cnf.stride = cnf.out_channels, 1
                blocks.append(cnf.block(cnf, stochastic_depth_prob * done / total, norm))
                done += 1
            layers.append(nn.Sequential(*blocks))
        last_in = stages[-1].out_channels
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


def _stages(rows: Sequence[tuple], width: float = 1.0, depth: float = 1.0) -> list[_Config]:
    return [FusedMBConvConfig(*row) if fused else MBConvConfig(*row, width, depth) for fused, *row in rows]


def _define(kind: str, stages: list[_Config], fixed: dict[str, Any], file: str, crop: int, resize: int) -> None:
    name, title = f"efficientnet_{kind}", f"EfficientNet_{kind.upper()}_Weights"
    own = {"mean": (0.5,) * 3, "std": (0.5,) * 3} if kind == "v2_l" else {}
    bilinear = kind in ("v2_s", "v2_m")
    files: dict[str, Any] = {"IMAGENET1K_V1": (file, own if bilinear else {**BICUBIC, **own})}
    if kind == "b1":
        files["IMAGENET1K_V2"] = ("efficientnet_b1-c27df63c.pth", {"resize_size": 255})
    enum = weights_enum(title, __name__, files, crop, resize)
    globals()[title] = enum
    globals()[name] = builder(name, __name__, enum, lambda **kw: EfficientNet(stages, **{**fixed, **kw}),
                              f"EfficientNet {kind}")  # fmt: skip
    __all__.extend([title, name])


for _kind, (_width, _depth, _dropout, _crop, _resize, _file) in _B.items():
    _fixed: dict[str, Any] = {"dropout": _dropout}
    if _kind in ("b5", "b6", "b7"):
        _fixed["norm_layer"] = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
    _define(_kind, _stages(_B0, _width, _depth), _fixed, f"efficientnet_{_kind}_{_file}.pth", _crop, _resize)
for _kind, (_dropout, _crop, _resize, _file) in _V2_FILES.items():
    _fixed = {"dropout": _dropout, "norm_layer": partial(nn.BatchNorm2d, eps=1e-3), "last_channel": 1280}
    _define(f"v2_{_kind}", _stages(_V2[_kind]), _fixed, f"efficientnet_v2_{_kind}-{_file}.pth", _crop, _resize)
