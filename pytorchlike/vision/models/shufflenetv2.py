"""ShuffleNet V2: Ma et al. 2018, arXiv:1807.11164."""

from __future__ import annotations

import pytorchlike as torch
from pytorchlike import Tensor, nn

from ._api import builder, weights_enum

__all__ = ["ShuffleNetV2"]


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """(N, groups * C, H, W): the channels of the groups in turns."""
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def _depthwise(channels: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)


class InvertedResidual(nn.Module):
    """Half of the channels stay as they are (or, with a stride, get a branch of their own)."""

    def __init__(self, inp: int, oup: int, stride: int) -> None:
        super().__init__()
        if not 1 <= stride <= 3:
            raise ValueError("illegal stride value")
        self.stride, half = stride, oup // 2
        if stride == 1 and inp != half << 1:
            raise ValueError(f"Invalid combination of stride {stride}, inp {inp} and oup {oup} values.")
        self.branch1 = nn.Sequential() if stride == 1 else nn.Sequential(
            _depthwise(inp, stride), nn.BatchNorm2d(inp), nn.Conv2d(inp, half, 1, bias=False), nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
        )  # fmt: skip
        self.branch2 = nn.Sequential(
            nn.Conv2d(inp if stride > 1 else half, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True),
            _depthwise(half, stride), nn.BatchNorm2d(half), nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, 1) if self.stride == 1 else (self.branch1(x), x)
        return channel_shuffle(torch.cat((kept, self.branch2(changed)), 1), 2)


class ShuffleNetV2(nn.Module):
    """stages_out_channels: of the first convolution, three stages and the last convolution."""

    def __init__(
        self, stages_repeats: list[int], stages_out_channels: list[int], num_classes: int = 1000,
        inverted_residual: type[nn.Module] = InvertedResidual,
    ) -> None:  # fmt: skip
        super().__init__()
        if len(stages_repeats) != 3 or len(stages_out_channels) != 5:
            raise ValueError("expected stages_repeats as list of 3 and stages_out_channels as list of 5 positive ints")
        first, *widths, last = stages_out_channels
        self._stage_out_channels = stages_out_channels
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU(inplace=True)
        )
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = first
        for name, repeats, width in zip(("stage2", "stage3", "stage4"), stages_repeats, widths, strict=True):
            blocks = [inverted_residual(channels, width, 2)]
            blocks += [inverted_residual(width, width, 1) for _ in range(repeats - 1)]
            setattr(self, name, nn.Sequential(*blocks))
            channels = width
        self.conv5 = nn.Sequential(
            nn.Conv2d(channels, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU(inplace=True)
        )
        self.fc = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(x)))))
        return self.fc(self.conv5(x).mean([2, 3]))


def _define(name: str, title: str, widths: list[int], file: str, resize: int = 256) -> None:
    enum = weights_enum(f"{title}_Weights", __name__, {"IMAGENET1K_V1": file}, resize=resize)
    globals()[enum.__name__] = enum
    globals()[name] = builder(name, __name__, enum, lambda **kw: ShuffleNetV2([4, 8, 4], widths, **kw), title)
    __all__.extend([enum.__name__, name])


_define("shufflenet_v2_x0_5", "ShuffleNet_V2_X0_5", [24, 48, 96, 192, 1024], "shufflenetv2_x0.5-f707e7126e.pth")
_define("shufflenet_v2_x1_0", "ShuffleNet_V2_X1_0", [24, 116, 232, 464, 1024], "shufflenetv2_x1-5666bf0f80.pth")
_define("shufflenet_v2_x1_5", "ShuffleNet_V2_X1_5", [24, 176, 352, 704, 1024], "shufflenetv2_x1_5-3c479a10.pth", 232)
_define("shufflenet_v2_x2_0", "ShuffleNet_V2_X2_0", [24, 244, 488, 976, 2048], "shufflenetv2_x2_0-8be3c8ee.pth", 232)
