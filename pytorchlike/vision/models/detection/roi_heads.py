"""Classes, boxes and masks of proposed regions: Girshick 2015, arXiv:1504.08083; He et al. 2017, arXiv:1703.06870."""

from __future__ import annotations

from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ..._host import hosted
from ...ops.roi import roi_align
from ._boxes import BoxCoder, Matcher, clip, host, keep_best, sample, to_device
from ._keypoints import keypoints_of, places_in_boxes

__all__ = ["RoIHeads"]

_align_on_host = hosted(roi_align)


def _padded(boxes: list[np.ndarray], step: int) -> list[np.ndarray]:
    """Empty boxes added until each picture has the same multiple of ``step``: few shapes, so few programs."""
    number = -(-max(max(len(b) for b in boxes), 1) // step) * step
    return [np.concatenate([b, np.zeros((number - len(b), 4), np.float32)]).astype(np.float32) for b in boxes]


class RoIHeads(nn.Module):
    """box_*: of Fast R-CNN.   mask_*: of Mask R-CNN, or None.   keypoint_*: of Keypoint R-CNN, or None.

    forward(features, proposals, image_shapes, targets) -> (results for each picture, losses).
    """

    def __init__(
        self, box_roi_pool: nn.Module, box_head: nn.Module, box_predictor: nn.Module, fg_iou_thresh: float,
        bg_iou_thresh: float, batch_size_per_image: int, positive_fraction: float,
        bbox_reg_weights: tuple[float, float, float, float] | None, score_thresh: float, nms_thresh: float,
        detections_per_img: int, mask_roi_pool: nn.Module | None = None, mask_head: nn.Module | None = None,
        mask_predictor: nn.Module | None = None, keypoint_roi_pool: nn.Module | None = None,
        keypoint_head: nn.Module | None = None, keypoint_predictor: nn.Module | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.proposal_matcher = Matcher(fg_iou_thresh, bg_iou_thresh)
        self.batch_size_per_image, self.positive_fraction = batch_size_per_image, positive_fraction
        self.box_coder = BoxCoder(bbox_reg_weights or (10.0, 10.0, 5.0, 5.0))
        self.box_roi_pool, self.box_head, self.box_predictor = box_roi_pool, box_head, box_predictor
        self.score_thresh, self.nms_thresh, self.detections_per_img = score_thresh, nms_thresh, detections_per_img
        self.mask_roi_pool, self.mask_head, self.mask_predictor = mask_roi_pool, mask_head, mask_predictor
        self.keypoint_roi_pool, self.keypoint_head = keypoint_roi_pool, keypoint_head
        self.keypoint_predictor = keypoint_predictor

    def has_mask(self) -> bool:
        """Whether masks are found, too."""
        return None not in (self.mask_roi_pool, self.mask_head, self.mask_predictor)

    def has_keypoint(self) -> bool:
        """Whether key points are found, too."""
        return None not in (self.keypoint_roi_pool, self.keypoint_head, self.keypoint_predictor)

    def _found(self, features: dict, boxes: list[np.ndarray], shapes: list[Any]) -> tuple[Tensor, Tensor]:
        like = next(iter(features.values()))
        pooled = self.box_roi_pool(features, [to_device(b, like) for b in boxes], shapes)
        return self.box_predictor(self.box_head(pooled))

    def _masks(self, features: dict, boxes: list[np.ndarray], shapes: list[Any]) -> Tensor:
        like = next(iter(features.values()))
        pooled = self.mask_roi_pool(features, [to_device(b, like) for b in boxes], shapes)  # type: ignore[misc]
        return self.mask_predictor(self.mask_head(pooled))  # type: ignore[misc]

    def _keypoints(self, features: dict, boxes: list[np.ndarray], shapes: list[Any]) -> Tensor:
        like = next(iter(features.values()))
        pooled = self.keypoint_roi_pool(features, [to_device(b, like) for b in boxes], shapes)  # type: ignore[misc]
        return self.keypoint_predictor(self.keypoint_head(pooled))  # type: ignore[misc]

    def forward(
        self, features: dict[str, Tensor], proposals: list[np.ndarray], image_shapes: list[Any], targets: Any = None
    ) -> tuple[list[dict], dict[str, Tensor]]:
        if self.training:
            if targets is None:
                raise ValueError("targets should not be None")
            return [], self._losses(features, proposals, image_shapes, targets)
        padded = _padded(proposals, 128)
        logits, codes = self._found(features, padded, image_shapes)
        scores = host(F.softmax(logits, -1)).reshape(len(padded), -1, logits.shape[-1])
        values = host(codes).reshape(len(padded), -1, logits.shape[-1], 4)
        picked = [self._pick(s[: len(p)], c[: len(p)], p, size)
                  for s, c, p, size in zip(scores, values, proposals, image_shapes, strict=True)]  # fmt: skip
        results = [{"boxes": to_device(boxes, logits), "labels": to_device(kinds, logits),
                    "scores": to_device(sure, logits)} for boxes, sure, kinds in picked]  # fmt: skip
        if self.has_mask():
            boxes = _padded([p[0] for p in picked], 25)
            shown = self._masks(features, boxes, image_shapes)
            shown = host(shown.sigmoid()).reshape(len(boxes), -1, *shown.shape[1:])
            for result, (found, _, labels), mask in zip(results, picked, shown, strict=True):
                result["masks"] = to_device(mask[np.arange(len(found)), labels][:, None], logits)
        if self.has_keypoint():
            boxes = _padded([p[0] for p in picked], 25)
            maps = self._keypoints(features, boxes, image_shapes)
            maps = host(maps).reshape(len(boxes), -1, *maps.shape[1:])
            for result, (found, *_), its in zip(results, picked, maps, strict=True):
                points, values = keypoints_of(its[: len(found)], found)
                result["keypoints"], result["keypoints_scores"] = to_device(points, logits), to_device(values, logits)
        return results, {}

    def _pick(self, scores: np.ndarray, codes: np.ndarray, proposals: np.ndarray, size: Any) -> tuple[np.ndarray, ...]:
        boxes = clip(self.box_coder.decode(codes, proposals), size)[:, 1:]
        labels = np.broadcast_to(np.arange(1, scores.shape[1]), (len(scores), scores.shape[1] - 1))
        boxes, scores, labels = boxes.reshape(-1, 4), scores[:, 1:].reshape(-1), labels.reshape(-1)
        good = (scores > self.score_thresh) & (boxes[:, 2:] - boxes[:, :2] >= 1e-2).all(1)
        boxes, scores, labels = boxes[good], scores[good], labels[good]
        kept = keep_best(boxes, scores, labels, self.nms_thresh, self.detections_per_img)
        return boxes[kept], scores[kept], labels[kept].astype(np.int64)

    def _losses(
        self, features: dict, proposals: list[np.ndarray], shapes: list[Any], targets: Any
    ) -> dict[str, Tensor]:
        size = self.batch_size_per_image
        boxes, labels, goals, weights, owners = [], [], [], [], []
        for proposed, target in zip(proposals, targets, strict=True):
            objects, classes = host(target["boxes"]).reshape(-1, 4).astype(np.float32), host(target["labels"])
            every = np.concatenate([proposed, objects])
            found = self.proposal_matcher(objects, every)
            label = np.where(found >= 0, classes[np.maximum(found, 0)] if len(classes) else 0, 0)
            label[found == -2] = -1
            yes, no = sample(label, size, self.positive_fraction)
            pick = np.concatenate([yes, no])
            fill = size - len(pick)  # of weight 0, so that shapes are always the same
            code = np.zeros((size, 4), np.float32)
            if len(yes):
                code[: len(yes)] = self.box_coder.encode(objects[found[yes]], every[yes])
            boxes.append(np.concatenate([every[pick], np.zeros((fill, 4), np.float32)]))
            labels.append(np.concatenate([label[pick], np.zeros(fill, np.int64)]))
            goals.append(code)
            weights.append(np.concatenate([np.ones(len(pick), np.float32), np.zeros(fill, np.float32)]))
            owners.append(found[yes])
        logits, codes = self._found(features, boxes, shapes)
        label, goal, weight = (np.concatenate(a) for a in (labels, goals, weights))
        number = max(float(weight.sum()), 1.0)
        positive = to_device((label > 0).astype(np.float32), logits)
        classes = to_device(label.astype(np.int64), logits)
        cls = F.cross_entropy(logits, classes, reduction="none") * to_device(weight, logits)
        codes = codes.reshape(len(label), -1, 4)
        codes = torch.gather(codes, 1, classes[:, None, None].expand(len(label), 1, 4))[:, 0]
        box = F.smooth_l1_loss(codes, to_device(goal, logits), beta=1 / 9, reduction="none").sum(-1) * positive
        losses = {"loss_classifier": cls.sum() / number, "loss_box_reg": box.sum() / number}
        if self.has_mask():
            losses["loss_mask"] = self._mask_loss(features, boxes, labels, owners, shapes, targets)
        if self.has_keypoint():
            losses["loss_keypoint"] = self._keypoint_loss(features, boxes, owners, shapes, targets)
        return losses

    def _keypoint_loss(self, features: dict, boxes: list, owners: list, shapes: Any, targets: Any) -> Tensor:
        most = int(self.batch_size_per_image * self.positive_fraction)
        logits = self._keypoints(features, [b[:most] for b in boxes], shapes)
        side = logits.shape[-1]
        place = np.zeros((len(boxes), most, logits.shape[1]), np.int64)
        weight = np.zeros(place.shape, np.float32)
        for i, (box, owner, target) in enumerate(zip(boxes, owners, targets, strict=True)):
            if len(owner):
                place[i, : len(owner)], weight[i, : len(owner)] = places_in_boxes(
                    host(target["keypoints"])[owner], box[: len(owner)], side
                )
        flat = logits.reshape(-1, side * side)
        loss = F.cross_entropy(flat, to_device(place.reshape(-1), logits), reduction="none")
        return (loss * to_device(weight.reshape(-1), logits)).sum() / max(float(weight.sum()), 1.0)

    def _mask_loss(self, features: dict, boxes: list, labels: list, owners: list, shapes: Any, targets: Any) -> Tensor:
        most = int(self.batch_size_per_image * self.positive_fraction)
        logits = self._masks(features, [b[:most] for b in boxes], shapes)
        side = logits.shape[-1]
        wanted = np.zeros((len(boxes), most, side, side), np.float32)
        weight, label = np.zeros((len(boxes), most), np.float32), np.zeros((len(boxes), most), np.int64)
        for i, (box, owner, target) in enumerate(zip(boxes, owners, targets, strict=True)):
            n = len(owner)
            if not n:
                continue
            weight[i, :n], label[i, :n] = 1, labels[i][:n]
            rois = np.concatenate([owner[:, None], box[:n]], 1).astype(np.float32)
            masks = torch.from_numpy(host(target["masks"]).astype(np.float32)[:, None])
            wanted[i, :n] = _align_on_host(masks, torch.from_numpy(rois), side, 1.0, -1).numpy()[:, 0]
        chosen = to_device(label.reshape(-1), logits)[:, None, None, None].expand(label.size, 1, side, side)
        loss = F.binary_cross_entropy_with_logits(
            torch.gather(logits, 1, chosen)[:, 0], to_device(wanted.reshape(-1, side, side), logits), reduction="none"
        ).mean((1, 2))
        return (loss * to_device(weight.reshape(-1), logits)).sum() / max(float(weight.sum()), 1.0)
