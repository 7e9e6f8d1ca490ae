"""Mask R-CNN: He et al. 2017, arXiv:1703.06870. As Faster R-CNN; targets and results have masks, too.

Targets: masks (N, H, W), 0 or 1. Results: masks (N, 1, H, W), probabilities.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytorchlike import Tensor, nn

from ...ops.misc import Conv2dNormActivation
from ...ops.roi import MultiScaleRoIAlign
from .faster_rcnn import FasterRCNN, detector, init_convolutions, resnet50_pyramid, second_heads

__all__ = ["MaskRCNN", "MaskRCNN_ResNet50_FPN_V2_Weights", "MaskRCNN_ResNet50_FPN_Weights", "maskrcnn_resnet50_fpn",
           "maskrcnn_resnet50_fpn_v2"]  # fmt: skip


class MaskRCNNHeads(nn.Sequential):
    """Convolutions."""

    def __init__(
        self, in_channels: int, layers: Any, dilation: int, norm_layer: Callable[..., nn.Module] | None = None
    ) -> None:
        blocks = []
        for out in layers:
            blocks.append(Conv2dNormActivation(in_channels, out, dilation=dilation, norm_layer=norm_layer))
            in_channels = out
        super().__init__(*blocks)
        init_convolutions(self)


class MaskRCNNPredictor(nn.Sequential):
    """Twice the size, and logits of a mask for each class."""

    def __init__(self, in_channels: int, dim_reduced: int, num_classes: int) -> None:
        super().__init__()
        self.conv5_mask = nn.ConvTranspose2d(in_channels, dim_reduced, 2, 2, 0)
        self.relu = nn.ReLU(inplace=True)
        self.mask_fcn_logits = nn.Conv2d(dim_reduced, num_classes, 1)
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu")


class MaskRCNN(FasterRCNN):
    """mask_*: of the third head. Other parameters: FasterRCNN's."""

    def __init__(
        self, backbone: nn.Module, num_classes: int | None = None, mask_roi_pool: nn.Module | None = None,
        mask_head: nn.Module | None = None, mask_predictor: nn.Module | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        if num_classes is not None and mask_predictor is not None:
            raise ValueError("num_classes should be None when mask_predictor is specified")
        super().__init__(backbone, num_classes, **kwargs)
        channels: int = backbone.out_channels  # type: ignore[assignment]
        self.roi_heads.mask_roi_pool = mask_roi_pool or MultiScaleRoIAlign(["0", "1", "2", "3"], 14, 2)
        self.roi_heads.mask_head = mask_head or MaskRCNNHeads(channels, (256,) * 4, 1)
        self.roi_heads.mask_predictor = mask_predictor or MaskRCNNPredictor(256, 256, num_classes)  # type: ignore[arg-type]

    def forward(self, images: list[Tensor], targets: Any = None) -> Any:
        if self.training and targets is not None and any("masks" not in t for t in targets):
            raise ValueError("every target should contain masks when in training mode")
        return super().forward(images, targets)


def _mask(
    num_classes: int, weights_backbone: Any = "IMAGENET1K_V1", trainable_backbone_layers: int | None = None,
    trained: bool = False, **kwargs: Any,
) -> MaskRCNN:  # fmt: skip
    backbone = resnet50_pyramid(False, trained, weights_backbone, trainable_backbone_layers)
    return MaskRCNN(backbone, num_classes, **kwargs)


def _mask_v2(
    num_classes: int, weights_backbone: Any = None, trainable_backbone_layers: int | None = None,
    trained: bool = False, **kwargs: Any,
) -> MaskRCNN:  # fmt: skip
    backbone = resnet50_pyramid(True, trained, weights_backbone, trainable_backbone_layers, norm_layer=nn.BatchNorm2d)
    heads = {**second_heads(), "mask_head": MaskRCNNHeads(256, [256] * 4, 1, nn.BatchNorm2d)}
    return MaskRCNN(backbone, num_classes, **{**heads, **kwargs})


MaskRCNN_ResNet50_FPN_Weights, maskrcnn_resnet50_fpn = detector(
    "maskrcnn_resnet50_fpn", "MaskRCNN_ResNet50_FPN", _mask, "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth")
MaskRCNN_ResNet50_FPN_V2_Weights, maskrcnn_resnet50_fpn_v2 = detector(
    "maskrcnn_resnet50_fpn_v2", "MaskRCNN_ResNet50_FPN_V2", _mask_v2, "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth")
