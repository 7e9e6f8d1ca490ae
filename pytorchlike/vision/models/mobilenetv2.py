"""MobileNet V2: Sandler et al. 2018, arXiv:1801.04381."""

from __future__ import annotations

from collections.abc import Callable

import pytorchlike as torch
from pytorchlike import Tensor, nn

from ..ops.misc import Conv2dNormActivation
from ._api import builder, weights_enum
from ._utils import _make_divisible, init_convs

__all__ = ["MobileNetV2", "MobileNet_V2_Weights", "mobilenet_v2"]


class InvertedResidual(nn.Module):
    """Wider by ``expand_ratio``, a depthwise convolution, and narrow again; a short cut where shapes agree."""

    def __init__(
        self, inp: int, oup: int, stride: int, expand_ratio: float,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride should be 1 or 2 instead of {stride}")
        norm, hidden = norm_layer or nn.BatchNorm2d, round(inp * expand_ratio)
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            layers.append(Conv2dNormActivation(inp, hidden, 1, norm_layer=norm, activation_layer=nn.ReLU6))
        layers += [
            Conv2dNormActivation(hidden, hidden, 3, stride, groups=hidden, norm_layer=norm, activation_layer=nn.ReLU6),
            nn.Conv2d(hidden, oup, 1, bias=False), norm(oup),
        ]  # fmt: skip
        self.conv = nn.Sequential(*layers)
        self.stride, self.out_channels, self._is_cn = stride, oup, stride > 1
        self.use_res_connect = stride == 1 and inp == oup

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """width_mult: of the number of channels. Shapes: (N, 3, H, W) -> (N, num_classes)."""

    def __init__(
        self, num_classes: int = 1000, width_mult: float = 1.0,
        inverted_residual_setting: list[list[int]] | None = None, round_nearest: int = 8,
        block: Callable[..., nn.Module] | None = None,
        norm_layer: Callable[..., nn.Module] | None = None, dropout: float = 0.2,
    ) -> None:  # fmt: skip
        super().__init__()
        block, norm = block or InvertedResidual, norm_layer or nn.BatchNorm2d
        settings = inverted_residual_setting or [  # expansion, channels, repetitions, stride
            [1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1],
        ]  # fmt: skip
        if not settings or len(settings[0]) != 4:
            raise ValueError(f"inverted_residual_setting should be non-empty or a 4-element list, got {settings}")
        channels = _make_divisible(32 * width_mult, round_nearest)
        self.last_channel = _make_divisible(1280 * max(1.0, width_mult), round_nearest)
        layers = [Conv2dNormActivation(3, channels, stride=2, norm_layer=norm, activation_layer=nn.ReLU6)]
        for t, c, n, s in settings:
            width = _make_divisible(c * width_mult, round_nearest)
            for i in range(n):
                layers.append(block(channels, width, s if i == 0 else 1, expand_ratio=t, norm_layer=norm))
                channels = width
        layers.append(Conv2dNormActivation(channels, self.last_channel, 1, norm_layer=norm, activation_layer=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes))
        init_convs(self, linear_std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


MobileNet_V2_Weights = weights_enum("MobileNet_V2_Weights", __name__, {
    "IMAGENET1K_V1": "mobilenet_v2-b0353104.pth", "IMAGENET1K_V2": "mobilenet_v2-7ebf99e0.pth",
})  # fmt: skip
mobilenet_v2 = builder("mobilenet_v2", __name__, MobileNet_V2_Weights, MobileNetV2, "MobileNet V2")
