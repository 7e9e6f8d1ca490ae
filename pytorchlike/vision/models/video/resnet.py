"""Residual networks of videos: Tran et al. 2018, arXiv:1711.11248."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pytorchlike import Tensor, nn

from ._common import define

__all__ = ["VideoResNet"]


class Conv3DSimple(nn.Conv3d):
    """A convolution of time and place."""

    def __init__(self, in_planes: int, out_planes: int, midplanes: int | None = None, stride: int = 1,
                 padding: int = 1) -> None:  # fmt: skip
        super().__init__(in_planes, out_planes, 3, stride, padding, bias=False)

    @staticmethod
    def get_downsample_stride(stride: int) -> tuple[int, int, int]:
        """Of the way around."""
        return stride, stride, stride


class Conv3DNoTemporal(nn.Conv3d):
    """A convolution of each frame."""

    def __init__(self, in_planes: int, out_planes: int, midplanes: int | None = None, stride: int = 1,
                 padding: int = 1) -> None:  # fmt: skip
        super().__init__(in_planes, out_planes, (1, 3, 3), (1, stride, stride), (0, padding, padding), bias=False)

    @staticmethod
    def get_downsample_stride(stride: int) -> tuple[int, int, int]:
        """Of the way around."""
        return 1, stride, stride


class Conv2Plus1D(nn.Sequential):
    """A convolution of each frame, then one of time."""

    def __init__(self, in_planes: int, out_planes: int, midplanes: int, stride: int = 1, padding: int = 1) -> None:
        super().__init__(
            nn.Conv3d(in_planes, midplanes, (1, 3, 3), (1, stride, stride), (0, padding, padding), bias=False),
            nn.BatchNorm3d(midplanes), nn.ReLU(inplace=True),
            nn.Conv3d(midplanes, out_planes, (3, 1, 1), (stride, 1, 1), (padding, 0, 0), bias=False),
        )  # fmt: skip

    get_downsample_stride = staticmethod(Conv3DSimple.get_downsample_stride)


def _midplanes(inplanes: int, planes: int) -> int:
    """As many parameters in two convolutions as in one of 3 x 3 x 3."""
    return inplanes * planes * 27 // (inplanes * 9 + 3 * planes)


class BasicBlock(nn.Module):
    """Two convolutions and a way around them."""

    expansion = 1

    def __init__(self, inplanes: int, planes: int, conv_builder: Callable[..., nn.Module], stride: int = 1,
                 downsample: nn.Module | None = None) -> None:  # fmt: skip
        super().__init__()
        inner = _midplanes(inplanes, planes)
        self.conv1 = nn.Sequential(conv_builder(inplanes, planes, inner, stride), nn.BatchNorm3d(planes),
                                   nn.ReLU(inplace=True))  # fmt: skip
        self.conv2 = nn.Sequential(conv_builder(planes, planes, inner), nn.BatchNorm3d(planes))
        self.relu = nn.ReLU(inplace=True)
        self.downsample, self.stride = downsample, stride

    def forward(self, x: Tensor) -> Tensor:
        around = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv2(self.conv1(x)) + around)


class Bottleneck(nn.Module):
    """A narrow convolution between two of size 1, and a way around them."""

    expansion = 4

    def __init__(self, inplanes: int, planes: int, conv_builder: Callable[..., nn.Module], stride: int = 1,
                 downsample: nn.Module | None = None) -> None:  # fmt: skip
        super().__init__()
        inner = _midplanes(inplanes, planes)
        self.conv1 = nn.Sequential(nn.Conv3d(inplanes, planes, 1, bias=False), nn.BatchNorm3d(planes),
                                   nn.ReLU(inplace=True))  # fmt: skip
        self.conv2 = nn.Sequential(conv_builder(planes, planes, inner, stride), nn.BatchNorm3d(planes),
                                   nn.ReLU(inplace=True))  # fmt: skip
        self.conv3 = nn.Sequential(nn.Conv3d(planes, planes * 4, 1, bias=False), nn.BatchNorm3d(planes * 4))
        self.relu = nn.ReLU(inplace=True)
        self.downsample, self.stride = downsample, stride

    def forward(self, x: Tensor) -> Tensor:
        around = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv3(self.conv2(self.conv1(x))) + around)


class BasicStem(nn.Sequential):
    """The first convolution."""

    def __init__(self) -> None:
        super().__init__(nn.Conv3d(3, 64, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False), nn.BatchNorm3d(64),
                         nn.ReLU(inplace=True))  # fmt: skip


class R2Plus1dStem(nn.Sequential):
    """The first convolution, of frames and of time apart."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv3d(3, 45, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False), nn.BatchNorm3d(45), nn.ReLU(inplace=True),
            nn.Conv3d(45, 64, (3, 1, 1), 1, (1, 0, 0), bias=False), nn.BatchNorm3d(64), nn.ReLU(inplace=True),
        )  # fmt: skip


class VideoResNet(nn.Module):
    """block: BasicBlock or Bottleneck.   conv_makers, layers: convolution and number of blocks of each stage."""

    def __init__(self, block: Any, conv_makers: Sequence[Any], layers: Sequence[int], stem: Callable[..., nn.Module],
                 num_classes: int = 400, zero_init_residual: bool = False) -> None:  # fmt: skip
        super().__init__()
        self.inplanes = 64
        self.stem = stem()
        for k, (conv, depth) in enumerate(zip(conv_makers, layers, strict=True)):
            setattr(self, f"layer{k + 1}", self._stage(block, conv, 64 * 2**k, depth, 1 if k == 0 else 2))
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv3d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, 0, 0.01)
                nn.init.zeros_(m.bias)
            elif isinstance(m, Bottleneck) and zero_init_residual:
                nn.init.zeros_(m.conv3[1].weight)

    def _stage(self, block: Any, conv: Any, planes: int, depth: int, stride: int) -> nn.Sequential:
        outputs, around = planes * block.expansion, None
        if stride != 1 or self.inplanes != outputs:
            step = conv.get_downsample_stride(stride)
            around = nn.Sequential(nn.Conv3d(self.inplanes, outputs, 1, step, bias=False), nn.BatchNorm3d(outputs))
        blocks = [block(self.inplanes, planes, conv, stride, around)]
        self.inplanes = outputs
        return nn.Sequential(*blocks, *(block(outputs, planes, conv) for _ in range(depth - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return self.fc(self.avgpool(x).flatten(1))


_KINDS = {
    "r3d_18": ("R3D_18", [Conv3DSimple] * 4, BasicStem, "b3b3357e"),
    "mc3_18": ("MC3_18", [Conv3DSimple] + [Conv3DNoTemporal] * 3, BasicStem, "a90a0ba3"),
    "r2plus1d_18": ("R2Plus1D_18", [Conv2Plus1D] * 4, R2Plus1dStem, "91a641e6"),
}


def _define(name: str, title: str, convs: list[Any], stem: Any, hash_: str) -> None:
    def make(**kwargs: Any) -> VideoResNet:
        return VideoResNet(BasicBlock, convs, (2, 2, 2, 2), stem, **kwargs)

    define(globals(), name, title, make, {"KINETICS400_V1": f"{name}-{hash_}.pth"}, crop_size=(112, 112),
           resize_size=(128, 171))  # fmt: skip


for _name, _told in _KINDS.items():
    _define(_name, *_told)
