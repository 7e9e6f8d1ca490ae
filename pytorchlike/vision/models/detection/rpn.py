"""Region proposal network: Ren et al. 2015, arXiv:1506.01497."""

from __future__ import annotations

from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ...ops.misc import Conv2dNormActivation
from ._boxes import AnchorGenerator, BoxCoder, Matcher, clip, host, keep_best, sample, to_device
from .transform import ImageList

# torchvision has the first two here, too
__all__ = ["AnchorGenerator", "ImageList", "RPNHead", "RegionProposalNetwork"]


class RPNHead(nn.Module):
    """For each map and anchor, a logit of being an object, and the code of its box."""

    def __init__(self, in_channels: int, num_anchors: int, conv_depth: int = 1) -> None:
        super().__init__()
        convs = [Conv2dNormActivation(in_channels, in_channels, 3, norm_layer=None) for _ in range(conv_depth)]
        self.conv = nn.Sequential(*convs)
        self.cls_logits = nn.Conv2d(in_channels, num_anchors, 1)
        self.bbox_pred = nn.Conv2d(in_channels, num_anchors * 4, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        mixed = [self.conv(m) for m in x]
        return [self.cls_logits(m) for m in mixed], [self.bbox_pred(m) for m in mixed]


def flattened(maps: list[Tensor], width: int) -> Tensor:
    """Maps (N, A * width, H, W) -> (N, all anchors, width), in the order of the anchors."""
    parts = []
    for m in maps:
        n, _, h, w = m.shape
        parts.append(m.reshape(n, -1, width, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, width))
    return torch.cat(parts, 1)


class RegionProposalNetwork(nn.Module):
    """Boxes that may hold objects; in training, also the losses of finding them."""

    def __init__(
        self, anchor_generator: nn.Module, head: nn.Module, fg_iou_thresh: float, bg_iou_thresh: float,
        batch_size_per_image: int, positive_fraction: float, pre_nms_top_n: dict[str, int],
        post_nms_top_n: dict[str, int], nms_thresh: float, score_thresh: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.anchor_generator, self.head = anchor_generator, head
        self.box_coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
        self.proposal_matcher = Matcher(fg_iou_thresh, bg_iou_thresh, keep_best=True)
        self.batch_size_per_image, self.positive_fraction = batch_size_per_image, positive_fraction
        self._pre_nms_top_n, self._post_nms_top_n = pre_nms_top_n, post_nms_top_n
        self.nms_thresh, self.score_thresh, self.min_size = nms_thresh, score_thresh, 1e-3

    def forward(self, images: Any, features: dict[str, Tensor], targets: Any = None) -> tuple[list[np.ndarray], dict]:
        maps = list(features.values())
        objectness, codes = self.head(maps)
        anchors = self.anchor_generator(images, maps)
        counts = [m.shape[-2] * m.shape[-1] * (o.shape[1]) for m, o in zip(maps, objectness, strict=True)]
        logits, codes = flattened(objectness, 1)[..., 0], flattened(codes, 4)
        losses = {}
        if self.training:
            if targets is None:
                raise ValueError("targets should not be None")
            losses = self._losses(logits, codes, anchors, targets)
        with torch.no_grad():
            proposals = self._proposals(host(logits), host(codes), anchors, images.image_sizes, counts)
        return proposals, losses

    def _losses(self, logits: Tensor, codes: Tensor, anchors: list[np.ndarray], targets: Any) -> dict[str, Tensor]:
        """Sampled anchors have weight 1, others 0, so that shapes are always the same."""
        shape = tuple(logits.shape)
        wanted, chosen, positive = (np.zeros(shape, np.float32) for _ in range(3))
        goals = np.zeros((*shape, 4), np.float32)
        for i, (every, target) in enumerate(zip(anchors, targets, strict=True)):
            boxes = host(target["boxes"]).reshape(-1, 4)
            found = self.proposal_matcher(boxes, every)
            labels = np.where(found >= 0, 1, np.where(found == -1, 0, -1))
            yes, no = sample(labels, self.batch_size_per_image, self.positive_fraction)
            wanted[i, yes], positive[i, yes], chosen[i, yes], chosen[i, no] = 1, 1, 1, 1
            if len(yes):
                goals[i, yes] = self.box_coder.encode(boxes[found[yes]], every[yes])
        number = max(float(chosen.sum()), 1.0)
        wanted, chosen, positive, goals = (to_device(a, logits) for a in (wanted, chosen, positive, goals))
        box = F.smooth_l1_loss(codes, goals, beta=1 / 9, reduction="none").sum(-1)
        cls = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return {"loss_objectness": (cls * chosen).sum() / number, "loss_rpn_box_reg": (box * positive).sum() / number}

    def _proposals(
        self, logits: np.ndarray, codes: np.ndarray, anchors: list[np.ndarray], sizes: list[Any], counts: list[int]
    ) -> list[np.ndarray]:
        mode = "training" if self.training else "testing"
        ends = np.cumsum(counts)
        found = []
        for scores, code, every, size in zip(logits, codes, anchors, sizes, strict=True):
            picks = []
            for end, count in zip(ends, counts, strict=True):
                order = np.argsort(-scores[end - count : end], kind="stable")[: self._pre_nms_top_n[mode]]
                picks.append(order + end - count)
            level = np.repeat(np.arange(len(picks)), [len(p) for p in picks])
            pick = np.concatenate(picks)
            boxes = clip(self.box_coder.decode(code[pick], every[pick]), size)
            probability = 0.5 * np.tanh(0.5 * scores[pick]) + 0.5  # a sigmoid that cannot overflow
            large = (boxes[:, 2:] - boxes[:, :2] >= self.min_size).all(1) & (probability >= self.score_thresh)
            boxes, probability, level = boxes[large], probability[large], level[large]
            kept = keep_best(boxes, probability, level, self.nms_thresh, self._post_nms_top_n[mode])
            found.append(boxes[kept])
        return found
