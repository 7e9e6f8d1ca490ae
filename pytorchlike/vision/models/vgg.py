"""VGG: Simonyan & Zisserman 2014, arXiv:1409.1556."""

from __future__ import annotations

from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn

from ._api import builder, weights_enum
from ._utils import init_convs

__all__ = ["VGG"]


class VGG(nn.Module):
    """Convolutions (``features``), then three linear layers. Shapes: (N, 3, H, W) -> (N, num_classes)."""

    def __init__(
        self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(True), nn.Dropout(dropout),
            nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout(dropout), nn.Linear(4096, num_classes),
        )  # fmt: skip
        if init_weights:
            init_convs(self, linear_std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def make_layers(cfg: list[Any], batch_norm: bool = False) -> nn.Sequential:
    """3 x 3 convolutions of given widths; "M" is a pooling."""
    layers: list[nn.Module] = []
    channels = 3
    for v in cfg:
        if v == "M":
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers.append(nn.Conv2d(channels, v, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(v))
        layers.append(nn.ReLU(inplace=True))
        channels = v
    return nn.Sequential(*layers)


#: Convolutions per width 64, 128, 256, 512, 512.
_DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_HASHES = {
    "vgg11": "8a719046", "vgg13": "19584684", "vgg16": "397923af", "vgg19": "dcbb9e9d", "vgg11_bn": "6002323d",
    "vgg13_bn": "abd245e5", "vgg16_bn": "6c64b313", "vgg19_bn": "c79401a0",
}  # fmt: skip


def _define(depth: int, norm: bool) -> None:
    cfg: list[Any] = []
    for count, width in zip(_DEPTHS[depth], (64, 128, 256, 512, 512), strict=True):
        cfg += [width] * count + ["M"]
    name = f"vgg{depth}{'_bn' if norm else ''}"
    title = f"VGG{depth}{'_BN' if norm else ''}_Weights"
    files: dict[str, Any] = {"IMAGENET1K_V1": f"{name}-{_HASHES[name]}.pth"}
    if name == "vgg16":  # what SSD begins with: for pictures in [0, 255], without a classifier of use
        files["IMAGENET1K_FEATURES"] = (
            "vgg16_features-amdegroot-88682ab5.pth",
            {"mean": (0.48235, 0.45882, 0.40784), "std": (1 / 255, 1 / 255, 1 / 255)},
        )
    enum = weights_enum(title, __name__, files, default="IMAGENET1K_V1")
    if name == "vgg16":
        enum["IMAGENET1K_FEATURES"].meta.update(categories=None)
        del enum["IMAGENET1K_FEATURES"].meta["num_classes"]
    globals()[title] = enum
    globals()[name] = builder(name, __name__, enum, lambda **kw: VGG(make_layers(cfg, norm), **kw), name.upper(),
                              before=lambda kw: kw.update(init_weights=False))  # fmt: skip
    __all__.extend([title, name])


for _depth in _DEPTHS:
    for _norm in (False, True):
        _define(_depth, _norm)
