"""RetinaNet: Lin et al. 2017, arXiv:1708.02002; the second version with the findings of Zhang et al., arXiv:1912.02424.

Pictures, targets and results are those of Faster R-CNN; labels begin at 0 here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ...ops.losses import generalized_box_iou_loss
from ...ops.misc import Conv2dNormActivation, LastLevelP6P7, sigmoid_focal_loss
from ._boxes import AnchorGenerator, BoxCoder, Matcher, decode_tensor, to_device
from ._single_stage import SingleStageDetector, convolutions, normal_init, objects, prior_bias
from .faster_rcnn import detector, resnet50_pyramid
from .transform import GeneralizedRCNNTransform

__all__ = ["RetinaNet", "RetinaNet_ResNet50_FPN_V2_Weights", "RetinaNet_ResNet50_FPN_Weights",
           "retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2"]  # fmt: skip


def _tower(channels: int, norm_layer: Callable[..., nn.Module] | None) -> nn.Sequential:
    return nn.Sequential(*(Conv2dNormActivation(channels, channels, norm_layer=norm_layer) for _ in range(4)))


class RetinaNetClassificationHead(nn.Module):
    """Logits of the classes of each anchor."""

    def __init__(self, in_channels: int, num_anchors: int, num_classes: int, prior_probability: float = 0.01,
                 norm_layer: Callable[..., nn.Module] | None = None) -> None:  # fmt: skip
        super().__init__()
        self.conv = _tower(in_channels, norm_layer)
        self.cls_logits = nn.Conv2d(in_channels, num_anchors * num_classes, 3, padding=1)
        self.num_classes, self.num_anchors = num_classes, num_anchors
        normal_init(self)
        prior_bias(self.cls_logits, prior_probability)

    def forward(self, x: list[Tensor]) -> Tensor:
        return convolutions(self, x, (self.cls_logits, self.num_classes))[0]


class RetinaNetRegressionHead(nn.Module):
    """The code of each anchor's box. ``_loss_type``: "l1" or "giou"."""

    def __init__(self, in_channels: int, num_anchors: int, norm_layer: Callable[..., nn.Module] | None = None) -> None:
        super().__init__()
        self.conv = _tower(in_channels, norm_layer)
        self.bbox_reg = nn.Conv2d(in_channels, num_anchors * 4, 3, padding=1)
        self._loss_type = "l1"
        normal_init(self)

    def forward(self, x: list[Tensor]) -> Tensor:
        return convolutions(self, x, (self.bbox_reg, 4))[0]


class RetinaNetHead(nn.Module):
    """Both heads."""

    def __init__(self, in_channels: int, num_anchors: int, num_classes: int,
                 norm_layer: Callable[..., nn.Module] | None = None) -> None:  # fmt: skip
        super().__init__()
        self.classification_head = RetinaNetClassificationHead(in_channels, num_anchors, num_classes,
                                                               norm_layer=norm_layer)  # fmt: skip
        self.regression_head = RetinaNetRegressionHead(in_channels, num_anchors, norm_layer=norm_layer)

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        return {"cls_logits": self.classification_head(x), "bbox_regression": self.regression_head(x)}


class RetinaNet(SingleStageDetector):
    """backbone: has ``out_channels``, and returns maps.   num_classes: with the background as a class of its own."""

    def __init__(
        self, backbone: nn.Module, num_classes: int, min_size: Any = 800, max_size: int = 1333,
        image_mean: list[float] | None = None, image_std: list[float] | None = None,
        anchor_generator: nn.Module | None = None, head: nn.Module | None = None,
        proposal_matcher: Matcher | None = None, score_thresh: float = 0.05, nms_thresh: float = 0.5,
        detections_per_img: int = 300, fg_iou_thresh: float = 0.5, bg_iou_thresh: float = 0.4,
        topk_candidates: int = 1000, **kwargs: Any,
    ) -> None:  # fmt: skip
        if not hasattr(backbone, "out_channels"):
            raise ValueError("backbone should contain an attribute out_channels specifying the number of output "
                             "channels (assumed to be the same for all the levels)")  # fmt: skip
        anchors = anchor_generator or _anchors()
        head = head or RetinaNetHead(backbone.out_channels, anchors.num_anchors_per_location()[0], num_classes)  # type: ignore[arg-type, operator]
        transform = GeneralizedRCNNTransform(min_size, max_size, image_mean or [0.485, 0.456, 0.406],
                                             image_std or [0.229, 0.224, 0.225], **kwargs)  # fmt: skip
        super().__init__(backbone, head, anchors, transform, score_thresh, nms_thresh, detections_per_img,
                         topk_candidates)  # fmt: skip
        self.proposal_matcher = proposal_matcher or Matcher(fg_iou_thresh, bg_iou_thresh, keep_best=True)
        self.box_coder = BoxCoder((1.0, 1.0, 1.0, 1.0))

    def scores(self, outputs: dict[str, Tensor]) -> np.ndarray:
        return outputs["cls_logits"].detach().sigmoid().cpu().numpy()

    def losses(self, targets: Any, outputs: dict[str, Tensor], anchors: list[np.ndarray], counts: list[int]) -> Any:
        logits, codes = outputs["cls_logits"], outputs["bbox_regression"]
        shape = tuple(logits.shape[:2])
        wanted = np.zeros(tuple(logits.shape), np.float32)
        counted, positive = np.ones(shape, np.float32), np.zeros(shape, np.float32)
        goals = np.zeros((*shape, 4), np.float32)
        giou = self.head.regression_head._loss_type == "giou"  # type: ignore[union-attr]
        for i, (every, target) in enumerate(zip(anchors, targets, strict=True)):
            boxes, labels = objects(target)
            found = self.proposal_matcher(boxes, every)
            yes = np.flatnonzero(found >= 0)
            counted[i, found == -2] = 0
            # divided by the number of objects' anchors of each picture
            share = 1 / max(len(yes), 1) / len(anchors)
            counted[i] *= share
            positive[i, yes] = share
            if len(yes):
                wanted[i, yes, labels[found[yes]]] = 1
                goals[i] = every
                goals[i, yes] = boxes[found[yes]] if giou else self.box_coder.encode(boxes[found[yes]], every[yes])
        wanted_, counted_, positive_, goals_ = (to_device(a, logits) for a in (wanted, counted, positive, goals))
        focal = sigmoid_focal_loss(logits, wanted_).sum(-1) * counted_
        if giou:
            moved = decode_tensor(codes, to_device(np.stack(anchors), codes))
            safe = torch.where(positive_[..., None] > 0, goals_, moved.detach())
            box = generalized_box_iou_loss(moved.reshape(-1, 4), safe.reshape(-1, 4)).reshape(shape)
        else:
            box = F.l1_loss(codes, goals_, reduction="none").sum(-1)
        return {"classification": focal.sum(), "bbox_regression": (box * positive_).sum()}


def _anchors() -> AnchorGenerator:
    sizes = tuple((x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in (32, 64, 128, 256, 512))
    return AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)


def _retinanet(
    num_classes: int, weights_backbone: Any = "IMAGENET1K_V1", trainable_backbone_layers: int | None = None,
    trained: bool = False, **kwargs: Any,
) -> RetinaNet:  # fmt: skip
    backbone = resnet50_pyramid(False, trained, weights_backbone, trainable_backbone_layers,
                                returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))  # fmt: skip
    return RetinaNet(backbone, num_classes, **kwargs)


def _retinanet_v2(
    num_classes: int, weights_backbone: Any = None, trainable_backbone_layers: int | None = None,
    trained: bool = False, **kwargs: Any,
) -> RetinaNet:  # fmt: skip
    backbone = resnet50_pyramid(True, trained, weights_backbone, trainable_backbone_layers,
                                returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(2048, 256))  # fmt: skip
    anchors = _anchors()
    head = RetinaNetHead(256, anchors.num_anchors_per_location()[0], num_classes, partial(nn.GroupNorm, 32))
    head.regression_head._loss_type = "giou"
    return RetinaNet(backbone, num_classes, **{"anchor_generator": anchors, "head": head, **kwargs})


RetinaNet_ResNet50_FPN_Weights, retinanet_resnet50_fpn = detector(
    "retinanet_resnet50_fpn", "RetinaNet_ResNet50_FPN", _retinanet, "retinanet_resnet50_fpn_coco-eeacb38b.pth")
RetinaNet_ResNet50_FPN_V2_Weights, retinanet_resnet50_fpn_v2 = detector(
    "retinanet_resnet50_fpn_v2", "RetinaNet_ResNet50_FPN_V2", _retinanet_v2,
    "retinanet_resnet50_fpn_v2_coco-5905b1c5.pth")  # fmt: skip
