"""S3D: Xie et al. 2018, arXiv:1712.04851."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn

from ...ops.misc import Conv3dNormActivation
from ._common import define

__all__ = ["S3D"]


class TemporalSeparableConv(nn.Sequential):
    """A convolution of each frame, then one of time."""

    def __init__(self, in_planes: int, out_planes: int, kernel_size: int, stride: int, padding: int,
                 norm_layer: Callable[..., nn.Module]) -> None:  # fmt: skip
        k, s, p = kernel_size, stride, padding
        super().__init__(
            Conv3dNormActivation(in_planes, out_planes, (1, k, k), (1, s, s), (0, p, p), norm_layer=norm_layer),
            Conv3dNormActivation(out_planes, out_planes, (k, 1, 1), (s, 1, 1), (p, 0, 0), norm_layer=norm_layer),
        )  # fmt: skip


class SepInceptionBlock3D(nn.Module):
    """Four branches side by side; the widths of each."""

    def __init__(self, in_planes: int, b0: int, b1_mid: int, b1: int, b2_mid: int, b2: int, b3: int,
                 norm_layer: Callable[..., nn.Module]) -> None:  # fmt: skip
        super().__init__()
        one = partial(Conv3dNormActivation, in_planes, kernel_size=1, stride=1, norm_layer=norm_layer)
        self.branch0 = one(b0)
        self.branch1 = nn.Sequential(one(b1_mid), TemporalSeparableConv(b1_mid, b1, 3, 1, 1, norm_layer))
        self.branch2 = nn.Sequential(one(b2_mid), TemporalSeparableConv(b2_mid, b2, 3, 1, 1, norm_layer))
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, 1, 1), one(b3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)], 1)


class S3D(nn.Module):
    """Shapes: (N, 3, T, H, W), at least 14 frames of 193 pixels -> (N, num_classes)."""

    def __init__(self, num_classes: int = 400, dropout: float = 0.2,
                 norm_layer: Callable[..., nn.Module] | None = None) -> None:  # fmt: skip
        super().__init__()
        norm = norm_layer or partial(nn.BatchNorm3d, eps=0.001, momentum=0.001)
        block = partial(SepInceptionBlock3D, norm_layer=norm)

        def narrow() -> nn.Module:
            return nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))

        self.features = nn.Sequential(
            TemporalSeparableConv(3, 64, 7, 2, 3, norm), narrow(),
            Conv3dNormActivation(64, 64, 1, 1, norm_layer=norm),
            TemporalSeparableConv(64, 192, 3, 1, 1, norm), narrow(),
            block(192, 64, 96, 128, 16, 32, 32), block(256, 128, 128, 192, 32, 96, 64), nn.MaxPool3d(3, 2, 1),
            block(480, 192, 96, 208, 16, 48, 64), block(512, 160, 112, 224, 24, 64, 64),
            block(512, 128, 128, 256, 24, 64, 64), block(512, 112, 144, 288, 32, 64, 64),
            block(528, 256, 160, 320, 32, 128, 128), nn.MaxPool3d(2, 2),
            block(832, 256, 160, 320, 32, 128, 128), block(832, 384, 192, 384, 48, 128, 128),
        )  # fmt: skip
        self.avgpool = nn.AvgPool3d((2, 7, 7), 1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Conv3d(1024, num_classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x))).mean((2, 3, 4))


def _make(**kwargs: Any) -> S3D:
    return S3D(**kwargs)


define(globals(), "s3d", "S3D", _make, {"KINETICS400_V1": "s3d-d76dad2f.pth"}, crop_size=(224, 224),
       resize_size=(256, 256))  # fmt: skip
