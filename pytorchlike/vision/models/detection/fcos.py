"""FCOS: Tian et al. 2019, arXiv:1904.01355. One anchor for each place; how central it is in its object is learnt, too.

Pictures, targets and results are those of Faster R-CNN; labels begin at 0 here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ...ops.losses import generalized_box_iou_loss
from ...ops.misc import LastLevelP6P7, sigmoid_focal_loss
from ._boxes import AnchorGenerator, to_device
from ._single_stage import SingleStageDetector, convolutions, normal_init, objects, prior_bias
from .faster_rcnn import detector, resnet50_pyramid
from .rpn import flattened
from .transform import GeneralizedRCNNTransform

__all__ = ["FCOS", "FCOS_ResNet50_FPN_Weights", "fcos_resnet50_fpn"]


class BoxLinearCoder:
    """Distances from an anchor's centre to the four sides of a box, in units of the anchor's size."""

    def decode(self, codes: Any, anchors: Any) -> Any:
        """(..., 4) and (..., 4) -> (..., 4); arrays or tensors."""
        size = anchors[..., 2:] - anchors[..., :2]
        middle = (anchors[..., 2:] + anchors[..., :2]) / 2
        parts = [middle - codes[..., :2] * size, middle + codes[..., 2:] * size]
        return torch.cat(parts, -1) if isinstance(codes, Tensor) else np.concatenate(parts, -1)

    def encode(self, boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        """(N, 4) and (N, 4) -> (N, 4)."""
        size = anchors[..., 2:] - anchors[..., :2]
        middle = (anchors[..., 2:] + anchors[..., :2]) / 2
        return np.concatenate([(middle - boxes[..., :2]) / size, (boxes[..., 2:] - middle) / size], -1)


def _tower(channels: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(32, channels), nn.ReLU()]
    return nn.Sequential(*layers)


class FCOSClassificationHead(nn.Module):
    """Logits of the classes of each place."""

    def __init__(self, in_channels: int, num_anchors: int, num_classes: int, num_convs: int = 4,
                 prior_probability: float = 0.01) -> None:  # fmt: skip
        super().__init__()
        self.num_classes, self.num_anchors = num_classes, num_anchors
        self.conv = _tower(in_channels, num_convs)
        self.cls_logits = nn.Conv2d(in_channels, num_anchors * num_classes, 3, padding=1)
        normal_init(self)
        prior_bias(self.cls_logits, prior_probability)

    def forward(self, x: list[Tensor]) -> Tensor:
        return convolutions(self, x, (self.cls_logits, self.num_classes))[0]


class FCOSRegressionHead(nn.Module):
    """Distances to the sides, and how central the place is."""

    def __init__(self, in_channels: int, num_anchors: int, num_convs: int = 4) -> None:
        super().__init__()
        self.conv = _tower(in_channels, num_convs)
        self.bbox_reg = nn.Conv2d(in_channels, num_anchors * 4, 3, padding=1)
        self.bbox_ctrness = nn.Conv2d(in_channels, num_anchors, 3, padding=1)
        normal_init(self)

    def forward(self, x: list[Tensor]) -> tuple[Tensor, Tensor]:
        mixed = [self.conv(m) for m in x]
        return flattened([F.relu(self.bbox_reg(m)) for m in mixed], 4), flattened([self.bbox_ctrness(m) for m in mixed],
                                                                                  1)  # fmt: skip


class FCOSHead(nn.Module):
    """Both heads."""

    def __init__(self, in_channels: int, num_anchors: int, num_classes: int, num_convs: int = 4) -> None:
        super().__init__()
        self.box_coder = BoxLinearCoder()
        self.classification_head = FCOSClassificationHead(in_channels, num_anchors, num_classes, num_convs)
        self.regression_head = FCOSRegressionHead(in_channels, num_anchors, num_convs)

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        boxes, central = self.regression_head(x)
        return {"cls_logits": self.classification_head(x), "bbox_regression": boxes, "bbox_ctrness": central}


class FCOS(SingleStageDetector):
    """backbone: has ``out_channels``, and returns maps.   center_sampling_radius: in sizes of the anchor."""

    def __init__(
        self, backbone: nn.Module, num_classes: int, min_size: Any = 800, max_size: int = 1333,
        image_mean: list[float] | None = None, image_std: list[float] | None = None,
        anchor_generator: nn.Module | None = None, head: nn.Module | None = None,
        center_sampling_radius: float = 1.5, score_thresh: float = 0.2, nms_thresh: float = 0.6,
        detections_per_img: int = 100, topk_candidates: int = 1000, **kwargs: Any,
    ) -> None:  # fmt: skip
        if not hasattr(backbone, "out_channels"):
            raise ValueError("backbone should contain an attribute out_channels specifying the number of output "
                             "channels (assumed to be the same for all the levels)")  # fmt: skip
        anchors = anchor_generator or AnchorGenerator(((8,), (16,), (32,), (64,), (128,)), ((1.0,),) * 5)
        places = anchors.num_anchors_per_location()[0]  # type: ignore[operator]
        if places != 1:
            raise ValueError(f"anchor_generator.num_anchors_per_location()[0] should be 1 instead of {places}")
        head = head or FCOSHead(backbone.out_channels, places, num_classes)  # type: ignore[arg-type]
        transform = GeneralizedRCNNTransform(min_size, max_size, image_mean or [0.485, 0.456, 0.406],
                                             image_std or [0.229, 0.224, 0.225], **kwargs)  # fmt: skip
        super().__init__(backbone, head, anchors, transform, score_thresh, nms_thresh, detections_per_img,
                         topk_candidates)  # fmt: skip
        self.box_coder, self.center_sampling_radius = BoxLinearCoder(), center_sampling_radius

    def scores(self, outputs: dict[str, Tensor]) -> np.ndarray:
        found = outputs["cls_logits"].detach().sigmoid() * outputs["bbox_ctrness"].detach().sigmoid()
        return found.sqrt().cpu().numpy()

    def _match(self, boxes: np.ndarray, anchors: np.ndarray, counts: list[int]) -> np.ndarray:
        """The smallest object around each place that its map is made for; -1 for none."""
        if not len(boxes):
            return np.full(len(anchors), -1)
        middle, size = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2] - anchors[:, 0]
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        near = np.abs(middle[:, None] - centre[None]).max(2) < self.center_sampling_radius * size[:, None]
        sides = np.concatenate([middle[:, None] - boxes[None, :, :2], boxes[None, :, 2:] - middle[:, None]], 2)
        low, high = size * 4, size * 8
        low[: counts[0]], high[len(high) - counts[-1] :] = 0, np.inf
        far = sides.max(2)
        good = near & (sides.min(2) > 0) & (far > low[:, None]) & (far < high[:, None])
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        value = good * (1e8 - area[None])
        return np.where(value.max(1) < 1e-5, -1, value.argmax(1))

    def losses(self, targets: Any, outputs: dict[str, Tensor], anchors: list[np.ndarray], counts: list[int]) -> Any:
        logits, codes = outputs["cls_logits"], outputs["bbox_regression"]
        shape = tuple(logits.shape[:2])
        wanted, positive = np.zeros(tuple(logits.shape), np.float32), np.zeros(shape, np.float32)
        goals, central = np.zeros((*shape, 4), np.float32), np.zeros(shape, np.float32)
        for i, (every, target) in enumerate(zip(anchors, targets, strict=True)):
            boxes, labels = objects(target)
            found = self._match(boxes, every, counts)
            yes = np.flatnonzero(found >= 0)
            positive[i, yes] = 1
            if len(yes):
                wanted[i, yes, labels[found[yes]]] = 1
                goals[i, yes] = boxes[found[yes]]
                left, top, right, bottom = self.box_coder.encode(boxes[found[yes]], every[yes]).T
                across, along = np.stack([left, right]), np.stack([top, bottom])
                central[i, yes] = np.sqrt(across.min(0) / across.max(0) * (along.min(0) / along.max(0)))
        number = max(float(positive.sum()), 1.0)
        wanted_, positive_, goals_, central_ = (to_device(a, logits) for a in (wanted, positive, goals, central))
        moved = self.box_coder.decode(codes, to_device(np.stack(anchors), codes))
        safe = torch.where(positive_[..., None] > 0, goals_, moved.detach())
        box = generalized_box_iou_loss(moved.reshape(-1, 4), safe.reshape(-1, 4)).reshape(shape) * positive_
        middle = F.binary_cross_entropy_with_logits(outputs["bbox_ctrness"][..., 0], central_, reduction="none")
        return {"classification": sigmoid_focal_loss(logits, wanted_).sum() / number,
                "bbox_regression": box.sum() / number, "bbox_ctrness": (middle * positive_).sum() / number}  # fmt: skip


def _fcos(
    num_classes: int, weights_backbone: Any = "IMAGENET1K_V1", trainable_backbone_layers: int | None = None,
    trained: bool = False, **kwargs: Any,
) -> FCOS:  # fmt: skip
    backbone = resnet50_pyramid(False, trained, weights_backbone, trainable_backbone_layers,
                                returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))  # fmt: skip
    return FCOS(backbone, num_classes, **kwargs)


FCOS_ResNet50_FPN_Weights, fcos_resnet50_fpn = detector(
    "fcos_resnet50_fpn", "FCOS_ResNet50_FPN", _fcos, "fcos_resnet50_fpn_coco-99b0c9b7.pth")
