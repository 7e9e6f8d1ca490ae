"""SSD: Liu et al. 2016, arXiv:1512.02325; SSDlite: Sandler et al. 2018, arXiv:1801.04381.

Pictures, targets and results are those of Faster R-CNN; pictures are resized to one size.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import partial
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ...ops.misc import Conv2dNormActivation
from .. import mobilenetv3, vgg
from ._boxes import BoxCoder, Matcher, iou, to_device
from ._single_stage import SingleStageDetector, normal_init, objects
from .backbone_utils import freeze_first, stages_of_mobilenet, trainable_layers_of
from .faster_rcnn import detector
from .rpn import flattened
from .transform import GeneralizedRCNNTransform

__all__ = ["SSD", "SSD300_VGG16_Weights", "SSDLite320_MobileNet_V3_Large_Weights", "ssd300_vgg16",
           "ssdlite320_mobilenet_v3_large"]  # fmt: skip


class DefaultBoxGenerator(nn.Module):
    """Boxes about each place of feature maps, of sizes relative to the picture.

    aspect_ratios: of each map, beside 1; each also upside down.   scales: of each map, and one more; evenly between
    min_ratio and max_ratio if None.   steps: pixels between places; as the maps tell if None.
    """

    def __init__(
        self, aspect_ratios: list[list[int]], min_ratio: float = 0.15, max_ratio: float = 0.9,
        scales: list[float] | None = None, steps: list[int] | None = None, clip: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if steps is not None and len(aspect_ratios) != len(steps):
            raise ValueError("aspect_ratios and steps should have the same length")
        self.aspect_ratios, self.steps, self.clip = aspect_ratios, steps, clip
        n = len(aspect_ratios)
        if scales is None:
            scales = [min_ratio + (max_ratio - min_ratio) * k / max(n - 1, 1) for k in range(n)]
            scales = [*scales, 1.0] if n > 1 else [min_ratio, max_ratio]
        self.scales = scales
        self.sizes = [self._sizes(k) for k in range(n)]

    def _sizes(self, k: int) -> np.ndarray:
        here, between = self.scales[k], math.sqrt(self.scales[k] * self.scales[k + 1])
        found = [[here, here], [between, between]]
        for ratio in self.aspect_ratios[k]:
            w, h = here * math.sqrt(ratio), here / math.sqrt(ratio)
            found += [[w, h], [h, w]]
        sizes = np.array(found, np.float32)
        return np.clip(sizes, 0, 1) if self.clip else sizes

    def num_anchors_per_location(self) -> list[int]:
        """For each map."""
        return [2 + 2 * len(r) for r in self.aspect_ratios]

    def forward(self, images: Any, maps: list[Tensor]) -> list[np.ndarray]:
        height, width = images.tensors.shape[-2:]
        parts = []
        for k, m in enumerate(maps):
            rows, cols = m.shape[-2:]
            fy, fx = (rows, cols) if self.steps is None else (height / self.steps[k], width / self.steps[k])
            y, x = np.meshgrid((np.arange(rows, dtype=np.float32) + 0.5) / np.float32(fy),
                               (np.arange(cols, dtype=np.float32) + 0.5) / np.float32(fx), indexing="ij")  # fmt: skip
            middle = np.stack([x.ravel(), y.ravel()], 1)[:, None]
            half = self.sizes[k][None] / 2
            both = np.concatenate(np.broadcast_arrays(middle - half, middle + half), 2)
            parts.append(both.reshape(-1, 4))
        every = np.concatenate(parts) * np.array([width, height] * 2, np.float32)
        return [every for _ in images.image_sizes]


class SSDScoringHead(nn.Module):
    """One layer for each map; (N, anchors, num_columns)."""

    def __init__(self, module_list: nn.ModuleList, num_columns: int) -> None:
        super().__init__()
        self.module_list, self.num_columns = module_list, num_columns

    def forward(self, x: list[Tensor]) -> Tensor:
        return flattened([layer(m) for layer, m in zip(self.module_list, x, strict=True)], self.num_columns)


def _full(channels: list[int], anchors: list[int], width: int) -> nn.ModuleList:
    """A convolution of each map, to ``width`` numbers for each box."""
    layers = nn.ModuleList()
    for c, a in zip(channels, anchors, strict=True):
        layer = nn.Conv2d(c, a * width, 3, padding=1)
        _xavier_init(layer)
        layers.append(layer)
    return layers


def _separable(channels: list[int], anchors: list[int], width: int, norm_layer: Any) -> nn.ModuleList:
    """The same with convolutions of single channels."""
    layers = nn.ModuleList()
    for c, a in zip(channels, anchors, strict=True):
        apart = Conv2dNormActivation(c, c, groups=c, norm_layer=norm_layer, activation_layer=nn.ReLU6)
        layers.append(nn.Sequential(apart, nn.Conv2d(c, a * width, 1)))
    normal_init(layers, 0.03)
    return layers


def _xavier_init(conv: nn.Module) -> None:
    """Convolutions by Xavier's rule, biases 0."""
    for layer in conv.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class SSDClassificationHead(SSDScoringHead):
    """Logits of the classes (0 is the background) for each box."""

    def __init__(self, in_channels: list[int], num_anchors: list[int], num_classes: int) -> None:
        super().__init__(_full(in_channels, num_anchors, num_classes), num_classes)


class SSDRegressionHead(SSDScoringHead):
    """The code of each box."""

    def __init__(self, in_channels: list[int], num_anchors: list[int]) -> None:
        super().__init__(_full(in_channels, num_anchors, 4), 4)


class SSDLiteClassificationHead(SSDScoringHead):
    """Logits of the classes, by separable convolutions."""

    def __init__(self, in_channels: list[int], num_anchors: list[int], num_classes: int, norm_layer: Any) -> None:
        super().__init__(_separable(in_channels, num_anchors, num_classes, norm_layer), num_classes)


class SSDLiteRegressionHead(SSDScoringHead):
    """The code of each box, by separable convolutions."""

    def __init__(self, in_channels: list[int], num_anchors: list[int], norm_layer: Any) -> None:
        super().__init__(_separable(in_channels, num_anchors, 4, norm_layer), 4)


class SSDHead(nn.Module):
    """Logits of the classes and codes of the boxes."""

    def __init__(self, in_channels: list[int], num_anchors: list[int], num_classes: int) -> None:
        super().__init__()
        self.classification_head: nn.Module = SSDClassificationHead(in_channels, num_anchors, num_classes)
        self.regression_head: nn.Module = SSDRegressionHead(in_channels, num_anchors)

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        return {"bbox_regression": self.regression_head(x), "cls_logits": self.classification_head(x)}


class SSDLiteHead(SSDHead):
    """The same with separable convolutions."""

    def __init__(self, in_channels: list[int], num_anchors: list[int], num_classes: int, norm_layer: Any) -> None:
        nn.Module.__init__(self)
        self.classification_head = SSDLiteClassificationHead(in_channels, num_anchors, num_classes, norm_layer)
        self.regression_head = SSDLiteRegressionHead(in_channels, num_anchors, norm_layer)


class SSD(SingleStageDetector):
    """backbone: returns maps.   anchor_generator: DefaultBoxGenerator.   size: (width, height) of what is looked at."""

    per_class, first_label = True, 1

    def __init__(
        self, backbone: nn.Module, anchor_generator: DefaultBoxGenerator, size: tuple[int, int], num_classes: int,
        image_mean: list[float] | None = None, image_std: list[float] | None = None, head: nn.Module | None = None,
        score_thresh: float = 0.01, nms_thresh: float = 0.45, detections_per_img: int = 200, iou_thresh: float = 0.5,
        topk_candidates: int = 400, positive_fraction: float = 0.25, **kwargs: Any,
    ) -> None:  # fmt: skip
        if head is None:
            channels = getattr(backbone, "out_channels", None) or retrieve_out_channels(backbone, size)
            head = SSDHead(channels, anchor_generator.num_anchors_per_location(), num_classes)
        transform = GeneralizedRCNNTransform(min(size), max(size), image_mean or [0.485, 0.456, 0.406],
                                             image_std or [0.229, 0.224, 0.225], size_divisible=1, fixed_size=size,
                                             **kwargs)  # fmt: skip
        super().__init__(backbone, head, anchor_generator, transform, score_thresh, nms_thresh, detections_per_img,
                         topk_candidates)  # fmt: skip
        self.box_coder, self.proposal_matcher = BoxCoder((10.0, 10.0, 5.0, 5.0)), Matcher(iou_thresh, iou_thresh)
        self.neg_to_pos_ratio = (1.0 - positive_fraction) / positive_fraction

    def scores(self, outputs: dict[str, Tensor]) -> np.ndarray:
        return F.softmax(outputs["cls_logits"].detach(), -1).cpu().numpy()[..., 1:]

    def losses(self, targets: Any, outputs: dict[str, Tensor], anchors: list[np.ndarray], counts: list[int]) -> Any:
        logits, codes = outputs["cls_logits"], outputs["bbox_regression"]
        shape = tuple(logits.shape[:2])
        label, goals = np.zeros(shape, np.int64), np.zeros((*shape, 4), np.float32)
        for i, (every, target) in enumerate(zip(anchors, targets, strict=True)):
            boxes, classes = objects(target)
            found = self.proposal_matcher(boxes, every)
            if len(boxes):
                found[iou(boxes, every).argmax(1)] = np.arange(len(boxes))  # each object has its best box
                yes = np.flatnonzero(found >= 0)
                label[i, yes] = classes[found[yes]]
                goals[i, yes] = self.box_coder.encode(boxes[found[yes]], every[yes])
        positive = label > 0
        number = max(float(positive.sum()), 1.0)
        label_, goals_, positive_ = (to_device(a, logits) for a in (label, goals, positive.astype(np.float32)))
        box = F.smooth_l1_loss(codes, goals_, reduction="none").sum(-1) * positive_
        cls = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), label_.reshape(-1), reduction="none").reshape(shape)
        # the negatives that are hardest, so many for each positive of the picture
        negative = torch.where(positive_ > 0, float("-inf"), cls.detach())
        rank = negative.argsort(1, descending=True).argsort(1)
        most = to_device((self.neg_to_pos_ratio * positive.sum(1, keepdims=True)).astype(np.int64), logits)
        counted = positive_ + (rank < most).to(positive_.dtype) * (1 - positive_)
        return {"bbox_regression": box.sum() / number, "classification": (cls * counted).sum() / number}


def retrieve_out_channels(model: nn.Module, size: tuple[int, int]) -> list[int]:
    """The channels of the maps that a backbone returns for pictures of ``size`` (width, height)."""
    training = model.training
    model.eval()
    with torch.no_grad():
        like = next(model.parameters())
        maps = model(torch.zeros(1, 3, size[1], size[0], device=like.device, dtype=like.dtype))
    model.train(training)
    return [m.shape[1] for m in ([maps] if isinstance(maps, Tensor) else maps.values())]


class SSDFeatureExtractorVGG(nn.Module):
    """VGG's convolutions up to the fourth pooling, and further ones; six maps."""

    out_channels = (512, 1024, 512, 256, 256, 256)

    def __init__(self, backbone: nn.Sequential) -> None:
        super().__init__()
        pools = [i for i, layer in enumerate(backbone) if isinstance(layer, nn.MaxPool2d)]
        backbone[pools[2]].ceil_mode = True
        self.scale_weight = nn.Parameter(torch.full((512,), 20.0))
        self.features = nn.Sequential(*backbone[: pools[3]])
        fc = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU(inplace=True),
                           nn.Conv2d(1024, 1024, 1), nn.ReLU(inplace=True))  # fmt: skip
        extra = [self._block(1024, 256, 512, 2, 1), self._block(512, 128, 256, 2, 1), self._block(256, 128, 256, 1, 0),
                 self._block(256, 128, 256, 1, 0)]  # fmt: skip
        for part in (*extra, fc):
            for layer in part.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.xavier_uniform_(layer.weight)
                    nn.init.zeros_(layer.bias)
        self.extra = nn.ModuleList([nn.Sequential(*backbone[pools[3] : -1], fc), *extra])

    @staticmethod
    def _block(inputs: int, inner: int, outputs: int, stride: int, padding: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, inner, 1), nn.ReLU(inplace=True),
                             nn.Conv2d(inner, outputs, 3, stride, padding), nn.ReLU(inplace=True))  # fmt: skip

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.features(x)
        maps = [self.scale_weight.view(1, -1, 1, 1) * F.normalize(x)]
        for block in self.extra:
            x = block(x)
            maps.append(x)
        return OrderedDict((str(i), m) for i, m in enumerate(maps))


class SSDLiteFeatureExtractorMobileNet(nn.Module):
    """MobileNet's layers up to the expansion of its last stage, the others, and four further blocks."""

    def __init__(self, backbone: nn.Sequential, c4_pos: int, norm_layer: Any) -> None:
        super().__init__()
        block = backbone[c4_pos].block
        self.features = nn.Sequential(nn.Sequential(*backbone[:c4_pos], block[0]),
                                      nn.Sequential(block[1:], *backbone[c4_pos + 1 :]))  # fmt: skip
        widths = (backbone[-1].out_channels, 512, 256, 256, 128)
        self.extra = nn.ModuleList([self._block(a, b, norm_layer) for a, b in zip(widths, widths[1:], strict=False)])
        normal_init(self.extra, 0.03)
        self.out_channels = [block[0].out_channels, *widths]

    @staticmethod
    def _block(inputs: int, outputs: int, norm: Any) -> nn.Sequential:
        conv, inner = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.ReLU6), outputs // 2
        return nn.Sequential(conv(inputs, inner, 1), conv(inner, inner, 3, 2, groups=inner), conv(inner, outputs, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = []
        for block in (*self.features, *self.extra):
            x = block(x)
            maps.append(x)
        return OrderedDict((str(i), m) for i, m in enumerate(maps))


def _ssd(
    num_classes: int, weights_backbone: Any = "IMAGENET1K_FEATURES", trainable_backbone_layers: int | None = None,
    trained: bool = False, **kwargs: Any,
) -> SSD:  # fmt: skip
    layers = trainable_layers_of(trained or weights_backbone is not None, trainable_backbone_layers, 5, 4)
    features = vgg.vgg16(weights=weights_backbone).features
    freeze_first(features, [0, *(i for i, m in enumerate(features) if isinstance(m, nn.MaxPool2d))][:-1], layers)
    boxes = DefaultBoxGenerator([[2], [2, 3], [2, 3], [2, 3], [2], [2]],
                                scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
                                steps=[8, 16, 32, 64, 100, 300])  # fmt: skip
    # the backbone's weights were trained on pictures of 0 to 255 from which a mean was taken
    usual = {"image_mean": [0.48235, 0.45882, 0.40784], "image_std": [1 / 255] * 3}
    return SSD(SSDFeatureExtractorVGG(features), boxes, (300, 300), num_classes, **{**usual, **kwargs})


def _ssdlite(
    num_classes: int, weights_backbone: Any = "IMAGENET1K_V1", trainable_backbone_layers: int | None = None,
    trained: bool = False, norm_layer: Any = None, **kwargs: Any,
) -> SSD:  # fmt: skip
    layers = trainable_layers_of(trained or weights_backbone is not None, trainable_backbone_layers, 6, 6)
    norm = norm_layer or partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    features = mobilenetv3.mobilenet_v3_large(
        weights=weights_backbone, norm_layer=norm, reduced_tail=weights_backbone is None
    ).features
    stages = stages_of_mobilenet(features)
    freeze_first(features, stages, layers)
    backbone = SSDLiteFeatureExtractorMobileNet(features, stages[-2], norm)
    boxes = DefaultBoxGenerator([[2, 3] for _ in range(6)], min_ratio=0.2, max_ratio=0.95)
    head = SSDLiteHead(backbone.out_channels, boxes.num_anchors_per_location(), num_classes, norm)
    usual = {"score_thresh": 0.001, "nms_thresh": 0.55, "detections_per_img": 300, "topk_candidates": 300,
             "image_mean": [0.5] * 3, "image_std": [0.5] * 3}  # fmt: skip
    return SSD(backbone, boxes, (320, 320), num_classes, head=head, **{**usual, **kwargs})


SSD300_VGG16_Weights, ssd300_vgg16 = detector(
    "ssd300_vgg16", "SSD300_VGG16", _ssd, "ssd300_vgg16_coco-b556d3b4.pth")
SSDLite320_MobileNet_V3_Large_Weights, ssdlite320_mobilenet_v3_large = detector(
    "ssdlite320_mobilenet_v3_large", "SSDLite320_MobileNet_V3_Large", _ssdlite,
    "ssdlite320_mobilenet_v3_large_coco-a79551df.pth")  # fmt: skip
