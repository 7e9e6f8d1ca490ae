"""MnasNet-B1: Tan et al. 2018, arXiv:1807.11626."""

from __future__ import annotations

from pytorchlike import Tensor, nn

from ._api import builder, weights_enum
from ._utils import _make_divisible

__all__ = ["MNASNet"]

_MOMENTUM = 1 - 0.9997


class _InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.apply_residual = inputs == outputs and stride == 1
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide, momentum=_MOMENTUM), nn.ReLU(inplace=True),
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
            nn.BatchNorm2d(wide, momentum=_MOMENTUM), nn.ReLU(inplace=True),
            nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs, momentum=_MOMENTUM),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + x if self.apply_residual else self.layers(x)


class MNASNet(nn.Module):
    """alpha: of the number of channels. Shapes: (N, 3, H, W) -> (N, num_classes)."""

    def __init__(self, alpha: float, num_classes: int = 1000, dropout: float = 0.2) -> None:
        super().__init__()
        if alpha <= 0.0:
            raise ValueError(f"alpha should be greater than 0.0 instead of {alpha}")
        self.alpha, self.num_classes = alpha, num_classes
        d = [_make_divisible(c * alpha, 8) for c in (32, 16, 24, 40, 80, 96, 192, 320)]
        norm = {"momentum": _MOMENTUM}
        layers: list[nn.Module] = [
            nn.Conv2d(3, d[0], 3, 2, 1, bias=False), nn.BatchNorm2d(d[0], **norm), nn.ReLU(inplace=True),
            nn.Conv2d(d[0], d[0], 3, 1, 1, groups=d[0], bias=False), nn.BatchNorm2d(d[0], **norm),
            nn.ReLU(inplace=True), nn.Conv2d(d[0], d[1], 1, bias=False), nn.BatchNorm2d(d[1], **norm),
        ]  # fmt: skip
        # kernel, stride, expansion, repetitions
        stacks = [(3, 2, 3, 3), (5, 2, 3, 3), (5, 2, 6, 3), (3, 1, 6, 2), (5, 2, 6, 4), (3, 1, 6, 1)]
        for (k, s, t, n), inputs, outputs in zip(stacks, d[1:], d[2:], strict=False):
            blocks = [_InvertedResidual(inputs if i == 0 else outputs, outputs, k, s if i == 0 else 1, t)
                      for i in range(n)]  # fmt: skip
            layers.append(nn.Sequential(*blocks))
        layers += [nn.Conv2d(d[7], 1280, 1, bias=False), nn.BatchNorm2d(1280, **norm), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout, inplace=True), nn.Linear(1280, num_classes))
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, nn.Linear):
                nn.init.kaiming_uniform_(m.weight, mode="fan_out", nonlinearity="sigmoid")
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.layers(x).mean([2, 3]))


def _define(name: str, alpha: float, file: str, resize: int = 256) -> None:
    enum = weights_enum(f"MNASNet{name[7:]}_Weights", __name__, {"IMAGENET1K_V1": file}, resize=resize)
    globals()[enum.__name__] = enum
    globals()[name] = builder(name, __name__, enum, lambda **kw: MNASNet(alpha, **kw), f"MNASNet, alpha {alpha}")
    __all__.extend([enum.__name__, name])


_define("mnasnet0_5", 0.5, "mnasnet0.5_top1_67.823-3ffadce67e.pth")
_define("mnasnet0_75", 0.75, "mnasnet0_75-7090bc5f.pth", 232)
_define("mnasnet1_0", 1.0, "mnasnet1.0_top1_73.512-f206786ef8.pth")
_define("mnasnet1_3", 1.3, "mnasnet1_3-a4c69d6f.pth", 232)
