"""Boxes (..., 4): x1, y1, x2, y2 with x1 <= x2 and y1 <= y2 unless a format says otherwise."""

from __future__ import annotations

import math

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor

__all__ = [
    "batched_nms", "box_area", "box_convert", "box_iou", "clip_boxes_to_image", "complete_box_iou", "distance_box_iou",
    "generalized_box_iou", "masks_to_boxes", "nms", "remove_small_boxes",
]  # fmt: skip


def _floats(t: Tensor) -> Tensor:
    """In a type that areas do not overflow."""
    if t.dtype.is_floating_point:
        return t if t.dtype in (torch.float32, torch.float64) else t.float()
    return t if t.dtype in (torch.int32, torch.int64) else t.int()


def box_area(boxes: Tensor, fmt: str = "xyxy") -> Tensor:
    """(..., 4) -> (...): width times height of boxes of a format that box_convert knows."""
    b = _floats(_corners(boxes, fmt))
    return (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])


def _corners(boxes: Tensor, fmt: str) -> Tensor:
    return boxes if fmt == "xyxy" else box_convert(boxes, fmt, "xyxy")


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of intersection and union of each of (N, 4) with each of (M, 4)."""
    low = torch.maximum(a[..., :, None, :2], b[..., None, :, :2])
    top = torch.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    both = _floats(top - low).clamp(min=0).prod(-1)
    return both, box_area(a)[..., :, None] + box_area(b)[..., None, :] - both


def box_iou(boxes1: Tensor, boxes2: Tensor, fmt: str = "xyxy") -> Tensor:
    """(N, 4) and (M, 4) -> (N, M): intersection over union, of boxes of a format that box_convert knows."""
    both, either = _overlap(_corners(boxes1, fmt), _corners(boxes2, fmt))
    return both / either


def _hull(a: Tensor, b: Tensor) -> Tensor:
    """Width and height of the smallest box around each pair, (N, M, 2)."""
    low = torch.minimum(a[..., :, None, :2], b[..., None, :, :2])
    top = torch.maximum(a[..., :, None, 2:], b[..., None, :, 2:])
    return _floats(top - low).clamp(min=0)


def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU less the share of the hull that is in neither (Rezatofighi et al. 2019, arXiv:1902.09630); (N, M)."""
    both, either = _overlap(boxes1, boxes2)
    area = _hull(boxes1, boxes2).prod(-1)
    return both / either - (area - either) / area


def distance_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """IoU less squared distance of centres over squared diagonal of the hull (Zheng et al. 2020); (N, M)."""
    diagonal = (_hull(boxes1, boxes2) ** 2).sum(-1) + eps
    centre1, centre2 = ((b[..., :2] + b[..., 2:]) / 2 for b in (_floats(boxes1), _floats(boxes2)))
    apart = ((centre1[..., :, None, :] - centre2[..., None, :, :]) ** 2).sum(-1)
    return box_iou(boxes1, boxes2) - apart / diagonal


def complete_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """``distance_box_iou`` less a penalty for different ratios of width to height; (N, M)."""
    iou = box_iou(boxes1, boxes2)
    angle1, angle2 = (torch.atan((b[..., 2] - b[..., 0]) / (b[..., 3] - b[..., 1])) for b in (boxes1, boxes2))
    v = (4 / math.pi**2) * (angle1[..., :, None] - angle2[..., None, :]) ** 2
    with torch.no_grad():
        weight = v / (1 - iou + v + eps)
    return distance_box_iou(boxes1, boxes2, eps) - weight * v


def box_convert(boxes: Tensor, in_fmt: str, out_fmt: str) -> Tensor:
    """Between "xyxy", "xywh" (a corner and the size) and "cxcywh" (the centre and the size). ValueError for others."""
    known = ("xyxy", "xywh", "cxcywh")
    if in_fmt not in known or out_fmt not in known:
        raise ValueError(f"Unsupported Bounding Box Conversions for given in_fmt {in_fmt} and out_fmt {out_fmt}")
    if in_fmt == out_fmt:
        return boxes.clone()
    a, b, c, d = boxes.unbind(-1)
    if in_fmt == "xywh":
        a, b, c, d = a, b, a + c, b + d
    elif in_fmt == "cxcywh":
        a, b, c, d = a - 0.5 * c, b - 0.5 * d, a + 0.5 * c, b + 0.5 * d
    if out_fmt == "xywh":
        a, b, c, d = a, b, c - a, d - b
    elif out_fmt == "cxcywh":
        a, b, c, d = (a + c) / 2, (b + d) / 2, c - a, d - b
    return torch.stack([a, b, c, d], -1)


def clip_boxes_to_image(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes cut to a picture of ``size`` (height, width)."""
    height, width = size
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack([x, y], -1).reshape(boxes.shape)


def remove_small_boxes(boxes: Tensor, min_size: float) -> Tensor:
    """Indices of the boxes with both sides at least ``min_size``."""
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    return torch.where((w >= min_size) & (h >= min_size))[0]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes (N, 4) that remain, int64, from the highest score down: each removes those below it that
    overlap it by more than ``iou_threshold``.

    How many remain depends on the values, so they are read, and the search runs on the host.
    Raises RuntimeError unless boxes are (N, 4) and scores (N,).
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise RuntimeError(f"boxes should be a 2d tensor (N, 4), got shape {tuple(boxes.shape)}")
    if scores.ndim != 1 or scores.shape[0] != boxes.shape[0]:
        raise RuntimeError(
            "boxes and scores should have same number of elements in dimension 0, got "
            f"{boxes.shape[0]} and {tuple(scores.shape)}"
        )
    b = boxes.detach().cpu().float().numpy()
    order = np.argsort(-scores.detach().cpu().float().numpy(), kind="stable")
    area = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    kept = []
    with np.errstate(invalid="ignore", divide="ignore"):
        while order.size:
            i, order = order[0], order[1:]
            kept.append(i)
            sides = np.minimum(b[i, 2:], b[order, 2:]) - np.maximum(b[i, :2], b[order, :2])
            both = np.clip(sides, 0, None).prod(1)
            order = order[~(both / (area[i] + area[order] - both) > iou_threshold)]
    return torch.from_numpy(np.array(kept, np.int64)).to(boxes.device)


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """``nms`` within each category of ``idxs`` (N,)."""
    if boxes.numel() == 0:
        return torch.empty((0,), dtype=torch.int64, device=boxes.device)
    # categories moved so far apart that their boxes cannot overlap
    offsets = idxs.to(boxes) * (boxes.max() - boxes.min().clamp(max=0) + 1)
    return nms(boxes + offsets[:, None], scores, iou_threshold)


def masks_to_boxes(masks: Tensor) -> Tensor:
    """(N, H, W) -> (N, 4): the smallest box around what is not 0 in each mask, 0 where all is."""
    if masks.numel() == 0:
        return torch.zeros((0, 4), device=masks.device)
    rows, cols = (masks != 0).any(2), (masks != 0).any(1)
    h, w = masks.shape[-2:]
    ends = [cols.int().argmax(1), rows.int().argmax(1), w - 1 - cols.flip(1).int().argmax(1),
            h - 1 - rows.flip(1).int().argmax(1)]  # fmt: skip
    return torch.stack(ends, 1).float() * rows.any(1, keepdim=True)
