"""MobileNet V3: Howard et al. 2019, arXiv:1905.02244."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn

from ..ops.misc import Conv2dNormActivation, SqueezeExcitation
from ._api import builder, weights_enum
from ._utils import _make_divisible, init_convs

__all__ = ["MobileNetV3", "MobileNet_V3_Large_Weights", "MobileNet_V3_Small_Weights", "mobilenet_v3_large",
           "mobilenet_v3_small"]  # fmt: skip


class InvertedResidualConfig:
    """One row of the paper's table."""

    def __init__(
        self, input_channels: int, kernel: int, expanded_channels: int, out_channels: int, use_se: bool,
        activation: str, stride: int, dilation: int, width_mult: float,
    ) -> None:  # fmt: skip
        self.input_channels = self.adjust_channels(input_channels, width_mult)
        self.kernel = kernel
        self.expanded_channels = self.adjust_channels(expanded_channels, width_mult)
        self.out_channels = self.adjust_channels(out_channels, width_mult)
        self.use_se, self.use_hs = use_se, activation == "HS"
        self.stride, self.dilation = stride, dilation

    @staticmethod
    def adjust_channels(channels: int, width_mult: float) -> int:
        """A multiple of 8."""
        return _make_divisible(channels * width_mult, 8)


class InvertedResidual(nn.Module):
    """Wider, a depthwise convolution, squeeze and excitation, and narrow again."""

    def __init__(self, cnf: InvertedResidualConfig, norm_layer: Callable[..., nn.Module], se_layer: Any = None) -> None:
        super().__init__()
        if not 1 <= cnf.stride <= 2:
            raise ValueError("illegal stride value")
        se_layer = se_layer or partial(SqueezeExcitation, scale_activation=nn.Hardsigmoid)
        self.use_res_connect = cnf.stride == 1 and cnf.input_channels == cnf.out_channels
        act = nn.Hardswish if cnf.use_hs else nn.ReLU
        wide = cnf.expanded_channels
        layers: list[nn.Module] = []
        if wide != cnf.input_channels:
            layers.append(
                Conv2dNormActivation(cnf.input_channels, wide, 1, norm_layer=norm_layer, activation_layer=act)
            )
        layers.append(Conv2dNormActivation(
            wide, wide, cnf.kernel, 1 if cnf.dilation > 1 else cnf.stride, dilation=cnf.dilation, groups=wide,
            norm_layer=norm_layer, activation_layer=act,
        ))  # fmt: skip
        if cnf.use_se:
            layers.append(se_layer(wide, _make_divisible(wide // 4, 8)))
        layers.append(Conv2dNormActivation(wide, cnf.out_channels, 1, norm_layer=norm_layer, activation_layer=None))
        self.block = nn.Sequential(*layers)
        self.out_channels, self._is_cn = cnf.out_channels, cnf.stride > 1

    def forward(self, input: Tensor) -> Tensor:
        return self.block(input) + input if self.use_res_connect else self.block(input)


class MobileNetV3(nn.Module):
    """Shapes: (N, 3, H, W) -> (N, num_classes)."""

    def __init__(
        self, inverted_residual_setting: list[InvertedResidualConfig], last_channel: int, num_classes: int = 1000,
        block: Callable[..., nn.Module] | None = None, norm_layer: Callable[..., nn.Module] | None = None,
        dropout: float = 0.2,
    ) -> None:  # fmt: skip
        super().__init__()
        block = block or InvertedResidual
        norm = norm_layer or partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
        both = {"norm_layer": norm, "activation_layer": nn.Hardswish}
        last = inverted_residual_setting[-1].out_channels
        self.features = nn.Sequential(
            Conv2dNormActivation(3, inverted_residual_setting[0].input_channels, 3, 2, **both),
            *(block(cnf, norm) for cnf in inverted_residual_setting),
            Conv2dNormActivation(last, 6 * last, 1, **both),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * last, last_channel), nn.Hardswish(inplace=True), nn.Dropout(dropout, inplace=True),
            nn.Linear(last_channel, num_classes),
        )  # fmt: skip
        init_convs(self, linear_std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


# kernel, expanded, out, squeeze, activation, stride; a * marks the part that may be dilated and reduced
_LARGE = """3 16 16 0 RE 1; 3 64 24 0 RE 2; 3 72 24 0 RE 1; 5 72 40 1 RE 2; 5 120 40 1 RE 1; 5 120 40 1 RE 1;
    3 240 80 0 HS 2; 3 200 80 0 HS 1; 3 184 80 0 HS 1; 3 184 80 0 HS 1; 3 480 112 1 HS 1; 3 672 112 1 HS 1;
    5 672 160 1 HS 2 *; 5 960 160 1 HS 1 *; 5 960 160 1 HS 1 *"""
_SMALL = """3 16 16 1 RE 2; 3 72 24 0 RE 2; 3 88 24 0 RE 1; 5 96 40 1 HS 2; 5 240 40 1 HS 1; 5 240 40 1 HS 1;
    5 120 48 1 HS 1; 5 144 48 1 HS 1; 5 288 96 1 HS 2 *; 5 576 96 1 HS 1 *; 5 576 96 1 HS 1 *"""


def _mobilenet_v3_conf(
    table: str, last: int, width_mult: float = 1.0, reduced_tail: bool = False, dilated: bool = False
) -> tuple[list[InvertedResidualConfig], int]:
    """The blocks and the width of the classifier."""
    divider, channels, blocks = 2 if reduced_tail else 1, 16, []
    for row in table.split(";"):
        kernel, wide, out, se, act, stride, *tail = row.split()
        narrow = divider if tail else 1
        first = len([b for b in blocks if getattr(b, "tail", False)]) == 0 and bool(tail)
        cnf = InvertedResidualConfig(
            channels, int(kernel), int(wide) // (narrow if tail and not first else 1), int(out) // narrow, se == "1",
            act, int(stride), 2 if dilated and tail else 1, width_mult,
        )  # fmt: skip
        cnf.tail = bool(tail)  # type: ignore[attr-defined]
        blocks.append(cnf)
        channels = int(out) // narrow
    return blocks, InvertedResidualConfig.adjust_channels(last // divider, width_mult)


def _builder(name: str, table: str, last: int, files: dict[str, str]) -> tuple[Any, Any]:
    title = "MobileNet_V3_" + name.rpartition("_")[2].capitalize()
    enum = weights_enum(f"{title}_Weights", __name__, files)

    def make(width_mult: float = 1.0, reduced_tail: bool = False, dilated: bool = False, **kw: Any) -> nn.Module:
        return MobileNetV3(*_mobilenet_v3_conf(table, last, width_mult, reduced_tail, dilated), **kw)

    return enum, builder(name, __name__, enum, make, title)


MobileNet_V3_Large_Weights, mobilenet_v3_large = _builder("mobilenet_v3_large", _LARGE, 1280, {
    "IMAGENET1K_V1": "mobilenet_v3_large-8738ca79.pth", "IMAGENET1K_V2": "mobilenet_v3_large-5c1a4163.pth",
})  # fmt: skip
MobileNet_V3_Small_Weights, mobilenet_v3_small = _builder("mobilenet_v3_small", _SMALL, 1024, {
    "IMAGENET1K_V1": "mobilenet_v3_small-047dcff4.pth",
})  # fmt: skip
