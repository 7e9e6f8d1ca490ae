"""Segmentation: FCN (Long et al. 2014, arXiv:1411.4038), DeepLab V3 (Chen et al. 2017, arXiv:1706.05587), LR-ASPP."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ...transforms._presets import SemanticSegmentation
from .. import mobilenetv3, resnet
from .._api import builder, weights_enum
from .._utils import IntermediateLayerGetter
from ..detection.backbone_utils import stages_of_mobilenet

__all__ = ["FCN", "LRASPP", "DeepLabV3"]


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


_SimpleSegmentationModel = _Segmentation  # torchvision's name


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


class ASPPConv(nn.Sequential):
    """A 3 x 3 convolution of some dilation."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__(*_conv(in_channels, out_channels, 3, dilation))


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
        parts += [ASPPConv(in_channels, out_channels, rate) for rate in atrous_rates]
        self.convs = nn.ModuleList([*parts, ASPPPooling(in_channels, out_channels)])
        self.project = nn.Sequential(*_conv(len(self.convs) * out_channels, out_channels), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(torch.cat([conv(x) for conv in self.convs], 1))


class DeepLabHead(nn.Sequential):
    """ASPP, a 3 x 3 and a 1 x 1 convolution."""

    def __init__(self, in_channels: int, num_classes: int, atrous_rates: tuple[int, ...] = (12, 24, 36)) -> None:
        super().__init__(ASPP(in_channels, [*atrous_rates]), *_conv(256, 256, 3), nn.Conv2d(256, num_classes, 1))


class LRASPPHead(nn.Module):
    """A map of high resolution and one of many channels, which is weighted by its own mean."""

    def __init__(self, low_channels: int, high_channels: int, num_classes: int, inter_channels: int) -> None:
        super().__init__()
        self.cbr = nn.Sequential(*_conv(high_channels, inter_channels))
        self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(high_channels, inter_channels, 1, bias=False),
                                   nn.Sigmoid())  # fmt: skip
        self.low_classifier = nn.Conv2d(low_channels, num_classes, 1)
        self.high_classifier = nn.Conv2d(inter_channels, num_classes, 1)

    def forward(self, input: dict[str, Tensor]) -> Tensor:
        low, high = input["low"], input["high"]
        x = self.cbr(high) * self.scale(high)
        x = F.interpolate(x, size=low.shape[-2:], mode="bilinear", align_corners=False)
        return self.low_classifier(low) + self.high_classifier(x)


class LRASPP(nn.Module):
    """Howard et al. 2019, arXiv:1905.02244, section 6.4. The backbone returns maps "low" and "high"."""

    def __init__(self, backbone: nn.Module, low_channels: int, high_channels: int, num_classes: int,
                 inter_channels: int = 128) -> None:  # fmt: skip
        super().__init__()
        self.backbone = backbone
        self.classifier = LRASPPHead(low_channels, high_channels, num_classes, inter_channels)

    def forward(self, input: Tensor) -> dict[str, Tensor]:
        scores = self.classifier(self.backbone(input))
        return OrderedDict(out=F.interpolate(scores, size=input.shape[-2:], mode="bilinear", align_corners=False))


def _mobilenet(weights_backbone: Any, names: tuple[str, str]) -> tuple[nn.Module, int, int]:
    """MobileNet V3's maps of an eighth of the size and of the last layer, and how many channels they have."""
    features = mobilenetv3.mobilenet_v3_large(weights=weights_backbone, dilated=True).features
    stages = stages_of_mobilenet(features)
    early, late = stages[-4], stages[-1]
    body = IntermediateLayerGetter(features, {str(late): names[1], **({str(early): names[0]} if names[0] else {})})
    return body, features[early].out_channels, features[late].out_channels


def _lraspp(num_classes: int | None = None, weights_backbone: Any = "IMAGENET1K_V1", **kwargs: Any) -> LRASPP:
    body, low, high = _mobilenet(weights_backbone, ("low", "high"))
    return LRASPP(body, low, high, 21 if num_classes is None else num_classes, **kwargs)


def _deeplab_mobile(num_classes: int | None = None, aux_loss: bool | None = None,
                    weights_backbone: Any = "IMAGENET1K_V1") -> DeepLabV3:  # fmt: skip
    body, early, late = _mobilenet(weights_backbone, ("aux" if aux_loss else "", "out"))
    classes = 21 if num_classes is None else num_classes
    return DeepLabV3(body, DeepLabHead(late, classes), FCNHead(early, classes) if aux_loss else None)


def _whole(kwargs: dict[str, Any]) -> None:
    """The published weights have the auxiliary classifier, and a backbone of their own."""
    if kwargs.setdefault("aux_loss", True) is not True:
        raise ValueError(f"The parameter 'aux_loss' expected value True but got {kwargs['aux_loss']} instead.")
    kwargs["weights_backbone"] = None


def _enter(name: str, title: str, make: Any, file: str, before: Any) -> None:
    enum = weights_enum(f"{title}_Weights", __name__, {"COCO_WITH_VOC_LABELS_V1": f"{name}{file}.pth"},
                        classes="voc", preset=partial(SemanticSegmentation, resize_size=520))  # fmt: skip
    globals()[enum.__name__] = enum
    globals()[name] = builder(name, __name__ + "." + name, enum, make, title, before=before)
    __all__.extend([enum.__name__, name])


def _define(name: str, title: str, kind: Any, head: Any, depth: str, file: str) -> None:
    def make(num_classes: int | None = None, aux_loss: bool | None = None, weights_backbone: Any = "IMAGENET1K_V1",
             **kw: Any) -> nn.Module:  # fmt: skip
        body = getattr(resnet, depth)(
            weights=weights_backbone, replace_stride_with_dilation=[False, True, True], **kw
        )
        layers = {"layer4": "out", **({"layer3": "aux"} if aux_loss else {})}
        classes = 21 if num_classes is None else num_classes
        aux = FCNHead(1024, classes) if aux_loss else None
        return kind(IntermediateLayerGetter(body, layers), head(2048, classes), aux)

    _enter(name, title, make, f"_coco-{file}", _whole)


_define("fcn_resnet50", "FCN_ResNet50", FCN, FCNHead, "resnet50", "1167a1af")
_define("fcn_resnet101", "FCN_ResNet101", FCN, FCNHead, "resnet101", "7ecb50ca")
_define("deeplabv3_resnet50", "DeepLabV3_ResNet50", DeepLabV3, DeepLabHead, "resnet50", "cd0a2569")
_define("deeplabv3_resnet101", "DeepLabV3_ResNet101", DeepLabV3, DeepLabHead, "resnet101", "586e9e4e")
_enter("deeplabv3_mobilenet_v3_large", "DeepLabV3_MobileNet_V3_Large", _deeplab_mobile, "-fc3c493d", _whole)
_enter("lraspp_mobilenet_v3_large", "LRASPP_MobileNet_V3_Large", _lraspp, "-d234d4ea",
       lambda kwargs: kwargs.update(weights_backbone=None))
