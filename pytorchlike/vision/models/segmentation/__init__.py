"""Segmentation: FCN (Long et al. 2014, arXiv:1411.4038) and DeepLab V3 (Chen et al. 2017, arXiv:1706.05587)."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ...transforms._presets import SemanticSegmentation
from .. import resnet
from .._api import builder, weights_enum
from .._utils import IntermediateLayerGetter

__all__ = ["FCN", "DeepLabV3"]


class _Segmentation(nn.Module):
    """Shapes: (N, 3, H, W) -> {"out": (N, num_classes, H, W)}, and "aux" with an auxiliary classifier."""

    def __init__(self, backbone: nn.Module, classifier: nn.Module, aux_classifier: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone, self.classifier, self.aux_classifier = backbone, classifier, aux_classifier

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features, result = self.backbone(x), OrderedDict()
        for name, head in (("out", self.classifier), ("aux", self.aux_classifier)):
            if head is not None:
                scores = head(features[name])
                result[name] = F.interpolate(scores, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return result


class FCN(_Segmentation):
    """A backbone with convolutions as its head."""


class DeepLabV3(_Segmentation):
    """A backbone with convolutions of several dilations as its head."""


def _conv(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> list[nn.Module]:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]


class FCNHead(nn.Sequential):
    """A 3 x 3 and a 1 x 1 convolution."""

    def __init__(self, in_channels: int, channels: int) -> None:
        inner = in_channels // 4
        super().__init__(*_conv(in_channels, inner, 3), nn.Dropout(0.1), nn.Conv2d(inner, channels, 1))


class ASPPPooling(nn.Sequential):
    """The mean of the map, everywhere."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *_conv(in_channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(super().forward(x), size=x.shape[-2:], mode="bilinear", align_corners=False)


class ASPP(nn.Module):
    """Convolutions of several dilations side by side."""

    def __init__(self, in_channels: int, atrous_rates: list[int], out_channels: int = 256) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Sequential(*_conv(in_channels, out_channels))]
        parts += [nn.Sequential(*_conv(in_channels, out_channels, 3, rate)) for rate in atrous_rates]
        self.convs = nn.ModuleList([*parts, ASPPPooling(in_channels, out_channels)])
        self.project = nn.Sequential(*_conv(len(self.convs) * out_channels, out_channels), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(torch.cat([conv(x) for conv in self.convs], 1))


class DeepLabHead(nn.Sequential):
    """ASPP, a 3 x 3 and a 1 x 1 convolution."""

    def __init__(self, in_channels: int, num_classes: int, atrous_rates: tuple[int, ...] = (12, 24, 36)) -> None:
        super().__init__(ASPP(in_channels, [*atrous_rates]), *_conv(256, 256, 3), nn.Conv2d(256, num_classes, 1))


def _define(name: str, title: str, kind: Any, head: Any, depth: str, file: str) -> None:
    enum = weights_enum(f"{title}_Weights", __name__, {"COCO_WITH_VOC_LABELS_V1": f"{name}_coco-{file}.pth"},
                        num_classes=21, preset=partial(SemanticSegmentation, resize_size=520))  # fmt: skip

    def make(num_classes: int | None = None, aux_loss: bool | None = None, weights_backbone: Any = "IMAGENET1K_V1",
             **kw: Any) -> nn.Module:  # fmt: skip
        body = getattr(resnet, depth)(
            weights=weights_backbone, replace_stride_with_dilation=[False, True, True], **kw
        )
        layers = {"layer4": "out", **({"layer3": "aux"} if aux_loss else {})}
        classes = 21 if num_classes is None else num_classes
        aux = FCNHead(1024, classes) if aux_loss else None
        return kind(IntermediateLayerGetter(body, layers), head(2048, classes), aux)

    def whole(kwargs: dict[str, Any]) -> None:
        """The published weights have the auxiliary classifier, and a backbone of their own."""
        if kwargs.setdefault("aux_loss", True) is not True:
            raise ValueError(f"The parameter 'aux_loss' expected value True but got {kwargs['aux_loss']} instead.")
        kwargs["weights_backbone"] = None

    globals()[enum.__name__] = enum
    globals()[name] = builder(name, __name__ + "." + name, enum, make, title, before=whole)
    __all__.extend([enum.__name__, name])


_define("fcn_resnet50", "FCN_ResNet50", FCN, FCNHead, "resnet50", "1167a1af")
_define("fcn_resnet101", "FCN_ResNet101", FCN, FCNHead, "resnet101", "7ecb50ca")
_define("deeplabv3_resnet50", "DeepLabV3_ResNet50", DeepLabV3, DeepLabHead, "resnet50", "cd0a2569")
_define("deeplabv3_resnet101", "DeepLabV3_ResNet101", DeepLabV3, DeepLabHead, "resnet101", "586e9e4e")
