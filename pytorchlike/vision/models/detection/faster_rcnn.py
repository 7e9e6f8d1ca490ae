"""Faster R-CNN: Ren et al. 2015, arXiv:1506.01497; with feature pyramids: Lin et al. 2017, arXiv:1612.03144.

In training a model takes pictures (a list of (3, H, W), floats in [0, 1]) and targets (a list of dicts: boxes (N, 4),
x1 y1 x2 y2 in pixels; labels (N,), from 1 on) and returns a dict of losses; else dicts of boxes, scores, labels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ...ops.misc import Conv2dNormActivation, FrozenBatchNorm2d
from ...ops.roi import MultiScaleRoIAlign
from ...transforms._presets import ObjectDetection
from .. import resnet
from .._api import builder, weights_enum
from .._meta import class_names
from ._boxes import AnchorGenerator, host
from .backbone_utils import mobilenet_backbone, resnet_extractor, trainable_layers_of
from .roi_heads import RoIHeads
from .rpn import RegionProposalNetwork, RPNHead
from .transform import GeneralizedRCNNTransform

__all__ = ["FasterRCNN"]


def check_targets(targets: Any, sizes: list[Any]) -> None:
    """ValueError or TypeError for targets that cannot be trained on."""
    if targets is None:
        raise ValueError("targets should not be none when in training mode")
    for i, (target, _) in enumerate(zip(targets, sizes, strict=True)):
        boxes = target["boxes"]
        if not isinstance(boxes, Tensor):
            raise TypeError(f"Expected target boxes to be of type Tensor, got {type(boxes)}.")
        if boxes.ndim != 2 or boxes.shape[-1] != 4:
            raise ValueError(f"Expected target boxes to be a tensor of shape [N, 4], got {boxes.shape}.")
        values = host(boxes)
        bad = (values[:, 2:] <= values[:, :2]).any(1)
        if bad.any():
            raise ValueError("All bounding boxes should have positive height and width. Found invalid box "
                             f"{values[bad][0].tolist()} for target at index {i}.")  # fmt: skip


class GeneralizedRCNN(nn.Module):
    """A backbone, a network that proposes regions, and heads that look at them."""

    def __init__(self, backbone: nn.Module, rpn: nn.Module, roi_heads: nn.Module, transform: nn.Module) -> None:
        super().__init__()
        self.transform, self.backbone, self.rpn, self.roi_heads = transform, backbone, rpn, roi_heads

    def forward(self, images: list[Tensor], targets: Any = None) -> Any:
        if self.training:
            check_targets(targets, images)
        sizes = [tuple(image.shape[-2:]) for image in images]
        batch, targets = self.transform(images, targets)
        like = next(self.parameters())
        features = self.backbone(batch.tensors.to(like.device))
        if isinstance(features, Tensor):
            features = {"0": features}
        proposals, losses = self.rpn(batch, features, targets)
        found, more = self.roi_heads(features, proposals, batch.image_sizes, targets)
        if self.training:
            return {**more, **losses}
        return self.transform.postprocess(found, batch.image_sizes, sizes)


class TwoMLPHead(nn.Module):
    """Two linear layers with ReLU."""

    def __init__(self, in_channels: int, representation_size: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(in_channels, representation_size)
        self.fc7 = nn.Linear(representation_size, representation_size)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))


def init_convolutions(module: nn.Module) -> None:
    """The weights that convolutions of heads begin with."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class FastRCNNConvFCHead(nn.Sequential):
    """Convolutions, then linear layers."""

    def __init__(
        self, input_size: tuple[int, int, int], conv_layers: list[int], fc_layers: list[int],
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:  # fmt: skip
        channels, height, width = input_size
        blocks: list[nn.Module] = []
        for out in conv_layers:
            blocks.append(Conv2dNormActivation(channels, out, norm_layer=norm_layer))
            channels = out
        blocks.append(nn.Flatten())
        channels *= height * width
        for out in fc_layers:
            blocks += [nn.Linear(channels, out), nn.ReLU(inplace=True)]
            channels = out
        super().__init__(*blocks)
        init_convolutions(self)


class FastRCNNPredictor(nn.Module):
    """Logits of the classes (0 is the background), and the codes of a box for each."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(in_channels, num_classes)
        self.bbox_pred = nn.Linear(in_channels, num_classes * 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.flatten(1)
        return self.cls_score(x), self.bbox_pred(x)


class FasterRCNN(GeneralizedRCNN):
    """backbone: has ``out_channels``, and returns a map or a dict of maps.   num_classes: with the background.

    The other parameters have the defaults of the paper and of torchvision.
    Raises ValueError unless exactly one of num_classes and box_predictor is given.
    """

    def __init__(
        self, backbone: nn.Module, num_classes: int | None = None, min_size: Any = 800, max_size: int = 1333,
        image_mean: list[float] | None = None, image_std: list[float] | None = None,
        rpn_anchor_generator: nn.Module | None = None, rpn_head: nn.Module | None = None,
        rpn_pre_nms_top_n_train: int = 2000, rpn_pre_nms_top_n_test: int = 1000, rpn_post_nms_top_n_train: int = 2000,
        rpn_post_nms_top_n_test: int = 1000, rpn_nms_thresh: float = 0.7, rpn_fg_iou_thresh: float = 0.7,
        rpn_bg_iou_thresh: float = 0.3, rpn_batch_size_per_image: int = 256, rpn_positive_fraction: float = 0.5,
        rpn_score_thresh: float = 0.0, box_roi_pool: nn.Module | None = None, box_head: nn.Module | None = None,
        box_predictor: nn.Module | None = None, box_score_thresh: float = 0.05, box_nms_thresh: float = 0.5,
        box_detections_per_img: int = 100, box_fg_iou_thresh: float = 0.5, box_bg_iou_thresh: float = 0.5,
        box_batch_size_per_image: int = 512, box_positive_fraction: float = 0.25,
        bbox_reg_weights: tuple[float, float, float, float] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        if not hasattr(backbone, "out_channels"):
            raise ValueError("backbone should contain an attribute out_channels specifying the number of output "
                             "channels (assumed to be the same for all the levels)")  # fmt: skip
        if (num_classes is None) == (box_predictor is None):
            raise ValueError("num_classes should be None when box_predictor is specified, and the other way round")
        channels: int = backbone.out_channels  # type: ignore[assignment]
        anchors = rpn_anchor_generator or AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), (0.5, 1.0, 2.0))
        head = rpn_head or RPNHead(channels, anchors.num_anchors_per_location()[0])  # type: ignore[operator]
        rpn = RegionProposalNetwork(
            anchors, head, rpn_fg_iou_thresh, rpn_bg_iou_thresh, rpn_batch_size_per_image, rpn_positive_fraction,
            {"training": rpn_pre_nms_top_n_train, "testing": rpn_pre_nms_top_n_test},
            {"training": rpn_post_nms_top_n_train, "testing": rpn_post_nms_top_n_test}, rpn_nms_thresh,
            rpn_score_thresh,
        )  # fmt: skip
        pool = box_roi_pool or MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
        box_head = box_head or TwoMLPHead(channels * pool.output_size[0] ** 2, 1024)  # type: ignore[index]
        predictor = box_predictor or FastRCNNPredictor(1024, num_classes)  # type: ignore[arg-type]
        heads = RoIHeads(pool, box_head, predictor, box_fg_iou_thresh, box_bg_iou_thresh, box_batch_size_per_image,
                         box_positive_fraction, bbox_reg_weights, box_score_thresh, box_nms_thresh,
                         box_detections_per_img)  # fmt: skip
        transform = GeneralizedRCNNTransform(min_size, max_size, image_mean or [0.485, 0.456, 0.406],
                                             image_std or [0.229, 0.224, 0.225], **kwargs)  # fmt: skip
        super().__init__(backbone, rpn, heads, transform)


def resnet50_pyramid(
    second: bool, trained: bool, weights_backbone: Any, trainable: int | None, **pyramid: Any
) -> nn.Module:
    """ResNet-50 with a pyramid; the first version's norms are frozen if they have been trained."""
    trained = trained or weights_backbone is not None
    layers = trainable_layers_of(trained, trainable, 5, 3)
    norm = FrozenBatchNorm2d if trained and not second else nn.BatchNorm2d
    backbone = resnet.resnet50(weights=weights_backbone, **({} if second else {"norm_layer": norm}))
    return resnet_extractor(backbone, layers, **pyramid)


def detector(name: str, title: str, make: Callable[..., nn.Module], file: str, variants: dict[str, str] | None = None,
             exact_eps: bool = True, classes: str = "coco") -> tuple[Any, Any]:  # fmt: skip
    """Weights of COCO's classes (or others), and the function that makes the model."""
    files = {"COCO_V1": file} if variants is None else variants
    enum = weights_enum(f"{title}_Weights", make.__module__, files, classes=classes,
                        preset=ObjectDetection, default=[*files][-1])  # fmt: skip

    def whole(kwargs: dict[str, Any]) -> Callable[[nn.Module], None]:
        kwargs["weights_backbone"], kwargs["trained"] = None, True

        def after(model: nn.Module) -> None:
            for m in model.modules() if exact_eps else ():
                if isinstance(m, FrozenBatchNorm2d):  # these weights were trained without it
                    m.eps = 0.0

        return after

    made = partial(_made, make, len(class_names[classes]))
    return enum, builder(name, make.__module__, enum, made, title, before=whole)


def _made(make: Callable[..., nn.Module], classes: int, num_classes: int | None = None, **kwargs: Any) -> nn.Module:
    return make(classes if num_classes is None else num_classes, **kwargs)


def _faster(
    num_classes: int, weights_backbone: Any = "IMAGENET1K_V1", trainable_backbone_layers: int | None = None,
    trained: bool = False, **kwargs: Any,
) -> FasterRCNN:  # fmt: skip
    backbone = resnet50_pyramid(False, trained, weights_backbone, trainable_backbone_layers)
    return FasterRCNN(backbone, num_classes, **kwargs)


def second_heads() -> dict[str, nn.Module]:
    """The heads of the second version (Li et al. 2021, arXiv:2111.11429)."""
    head = FastRCNNConvFCHead((256, 7, 7), [256] * 4, [1024], nn.BatchNorm2d)
    return {"rpn_head": RPNHead(256, 3, 2), "box_head": head}


def _faster_v2(
    num_classes: int, weights_backbone: Any = None, trainable_backbone_layers: int | None = None,
    trained: bool = False, **kwargs: Any,
) -> FasterRCNN:  # fmt: skip
    backbone = resnet50_pyramid(True, trained, weights_backbone, trainable_backbone_layers, norm_layer=nn.BatchNorm2d)
    return FasterRCNN(backbone, num_classes, **{**second_heads(), **kwargs})


def _faster_mobile(
    defaults: dict[str, Any], num_classes: int, weights_backbone: Any = "IMAGENET1K_V1",
    trainable_backbone_layers: int | None = None, trained: bool = False, **kwargs: Any,
) -> FasterRCNN:  # fmt: skip
    trained = trained or weights_backbone is not None
    layers = trainable_layers_of(trained, trainable_backbone_layers, 6, 3)
    backbone = mobilenet_backbone(
        backbone_name="mobilenet_v3_large", weights=weights_backbone, fpn=True, trainable_layers=layers,
        norm_layer=FrozenBatchNorm2d if trained else nn.BatchNorm2d,
    )  # fmt: skip
    anchors = AnchorGenerator(((32, 64, 128, 256, 512),) * 3, ((0.5, 1.0, 2.0),) * 3)
    return FasterRCNN(backbone, num_classes, rpn_anchor_generator=anchors, **{**defaults, **kwargs})


_SMALL = {"min_size": 320, "max_size": 640, "rpn_pre_nms_top_n_test": 150, "rpn_post_nms_top_n_test": 150,
          "rpn_score_thresh": 0.05}  # fmt: skip


def _mobile(num_classes: int, **kwargs: Any) -> FasterRCNN:
    return _faster_mobile({"rpn_score_thresh": 0.05}, num_classes, **kwargs)


def _mobile_320(num_classes: int, **kwargs: Any) -> FasterRCNN:
    return _faster_mobile(_SMALL, num_classes, **kwargs)


FasterRCNN_ResNet50_FPN_Weights, fasterrcnn_resnet50_fpn = detector(
    "fasterrcnn_resnet50_fpn", "FasterRCNN_ResNet50_FPN", _faster, "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth")
FasterRCNN_ResNet50_FPN_V2_Weights, fasterrcnn_resnet50_fpn_v2 = detector(
    "fasterrcnn_resnet50_fpn_v2", "FasterRCNN_ResNet50_FPN_V2", _faster_v2,
    "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth")  # fmt: skip
FasterRCNN_MobileNet_V3_Large_FPN_Weights, fasterrcnn_mobilenet_v3_large_fpn = detector(
    "fasterrcnn_mobilenet_v3_large_fpn", "FasterRCNN_MobileNet_V3_Large_FPN", _mobile,
    "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth", exact_eps=False)  # fmt: skip
FasterRCNN_MobileNet_V3_Large_320_FPN_Weights, fasterrcnn_mobilenet_v3_large_320_fpn = detector(
    "fasterrcnn_mobilenet_v3_large_320_fpn", "FasterRCNN_MobileNet_V3_Large_320_FPN", _mobile_320,
    "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth", exact_eps=False)  # fmt: skip
__all__ += ["FasterRCNN_MobileNet_V3_Large_320_FPN_Weights", "FasterRCNN_MobileNet_V3_Large_FPN_Weights",
            "FasterRCNN_ResNet50_FPN_V2_Weights", "FasterRCNN_ResNet50_FPN_Weights",
            "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn",
            "fasterrcnn_resnet50_fpn_v2"]  # fmt: skip
