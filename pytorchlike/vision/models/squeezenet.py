"""SqueezeNet: Iandola et al. 2016, arXiv:1602.07360."""

from __future__ import annotations

import pytorchlike as torch
from pytorchlike import Tensor, nn

from ._api import builder, weights_enum

__all__ = ["SqueezeNet", "SqueezeNet1_0_Weights", "SqueezeNet1_1_Weights", "squeezenet1_0", "squeezenet1_1"]


class Fire(nn.Module):
    """Few channels, then 1 x 1 and 3 x 3 convolutions side by side."""

    def __init__(self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int) -> None:
        super().__init__()
        self.inplanes = inplanes
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        one, three = self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))
        return torch.cat([one, three], 1)


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


class SqueezeNet(nn.Module):
    """version: "1_0" or "1_1", which is quicker. Shapes: (N, 3, H, W) -> (N, num_classes)."""

    def __init__(self, version: str = "1_0", num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.num_classes = num_classes
        if version not in ("1_0", "1_1"):
            raise ValueError(f"Unsupported SqueezeNet version {version}: 1_0 or 1_1 expected")
        first = [nn.Conv2d(3, 96, 7, 2) if version == "1_0" else nn.Conv2d(3, 64, 3, 2), nn.ReLU(inplace=True), _pool()]
        fires, pools = [], {4, 8} if version == "1_0" else {3, 5}
        channels = first[0].out_channels  # type: ignore[union-attr]
        for i, width in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
            fires.append(Fire(channels, width, 4 * width, 4 * width))
            channels = 8 * width
            if i + 2 in pools:
                fires.append(_pool())
        self.features = nn.Sequential(*first, *fires)
        final = nn.Conv2d(512, num_classes, 1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), final, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.normal_(m.weight, 0.0, 0.01) if m is final else nn.init.kaiming_uniform_(m.weight)
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)


SqueezeNet1_0_Weights = weights_enum("SqueezeNet1_0_Weights", __name__, {"IMAGENET1K_V1": "squeezenet1_0-b66bff10.pth"})
SqueezeNet1_1_Weights = weights_enum("SqueezeNet1_1_Weights", __name__, {"IMAGENET1K_V1": "squeezenet1_1-b8a52dc0.pth"})
squeezenet1_0 = builder("squeezenet1_0", __name__, SqueezeNet1_0_Weights, lambda **kw: SqueezeNet("1_0", **kw),
                        "SqueezeNet 1.0")  # fmt: skip
squeezenet1_1 = builder("squeezenet1_1", __name__, SqueezeNet1_1_Weights, lambda **kw: SqueezeNet("1_1", **kw),
                        "SqueezeNet 1.1")  # fmt: skip
