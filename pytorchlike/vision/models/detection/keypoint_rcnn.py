"""Keypoint R-CNN: He et al. 2017, arXiv:1703.06870, section 5. As Faster R-CNN; targets and results have key points.

Targets: keypoints (N, K, 3): x, y, and 0 for points that cannot be seen. Results: keypoints, the third number 1, and
keypoints_scores (N, K).
"""

from __future__ import annotations

from typing import Any

from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ...ops.roi import MultiScaleRoIAlign
from .faster_rcnn import FasterRCNN, detector, init_convolutions, resnet50_pyramid

__all__ = ["KeypointRCNN", "KeypointRCNN_ResNet50_FPN_Weights", "keypointrcnn_resnet50_fpn"]


class KeypointRCNNHeads(nn.Sequential):
    """Convolutions."""

    def __init__(self, in_channels: int, layers: Any) -> None:
        blocks: list[nn.Module] = []
        for out in layers:
            blocks += [nn.Conv2d(in_channels, out, 3, padding=1), nn.ReLU(inplace=True)]
            in_channels = out
        super().__init__(*blocks)
        init_convolutions(self)


class KeypointRCNNPredictor(nn.Module):
    """Four times the size, and a map for each key point."""

    def __init__(self, in_channels: int, num_keypoints: int) -> None:
        super().__init__()
        self.kps_score_lowres = nn.ConvTranspose2d(in_channels, num_keypoints, 4, 2, 1)
        nn.init.kaiming_normal_(self.kps_score_lowres.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.kps_score_lowres.bias)
        self.up_scale, self.out_channels = 2, num_keypoints

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.kps_score_lowres(x), scale_factor=self.up_scale, mode="bilinear",
                             align_corners=False, recompute_scale_factor=False)  # fmt: skip


class KeypointRCNN(FasterRCNN):
    """keypoint_*: of the third head. Other parameters: FasterRCNN's."""

    def __init__(
        self, backbone: nn.Module, num_classes: int | None = None, min_size: Any = None,
        num_keypoints: int | None = None, keypoint_roi_pool: nn.Module | None = None,
        keypoint_head: nn.Module | None = None, keypoint_predictor: nn.Module | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        if (num_keypoints is None) == (keypoint_predictor is None) and num_keypoints is not None:
            raise ValueError("num_keypoints should be None when keypoint_predictor is specified")
        super().__init__(backbone, num_classes, min_size or (640, 672, 704, 736, 768, 800), **kwargs)
        channels: int = backbone.out_channels  # type: ignore[assignment]
        points = 17 if num_keypoints is None else num_keypoints
        self.roi_heads.keypoint_roi_pool = keypoint_roi_pool or MultiScaleRoIAlign(["0", "1", "2", "3"], 14, 2)
        self.roi_heads.keypoint_head = keypoint_head or KeypointRCNNHeads(channels, (512,) * 8)
        self.roi_heads.keypoint_predictor = keypoint_predictor or KeypointRCNNPredictor(512, points)

    def forward(self, images: list[Tensor], targets: Any = None) -> Any:
        if self.training and targets is not None and any("keypoints" not in t for t in targets):
            raise ValueError("every target should contain keypoints when in training mode")
        return super().forward(images, targets)


def _keypoint(
    num_classes: int, weights_backbone: Any = "IMAGENET1K_V1", trainable_backbone_layers: int | None = None,
    trained: bool = False, num_keypoints: int | None = None, **kwargs: Any,
) -> KeypointRCNN:  # fmt: skip
    backbone = resnet50_pyramid(False, trained, weights_backbone, trainable_backbone_layers)
    return KeypointRCNN(backbone, num_classes, num_keypoints=num_keypoints, **kwargs)


KeypointRCNN_ResNet50_FPN_Weights, keypointrcnn_resnet50_fpn = detector(
    "keypointrcnn_resnet50_fpn", "KeypointRCNN_ResNet50_FPN", _keypoint, "", {
        "COCO_LEGACY": "keypointrcnn_resnet50_fpn_coco-9f466800.pth",
        "COCO_V1": "keypointrcnn_resnet50_fpn_coco-fc266e95.pth",
    }, classes="coco_person")  # fmt: skip
