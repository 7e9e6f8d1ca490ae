"""Losses of boxes (N, 4), x1 y1 x2 y2, against their targets (N, 4)."""

from __future__ import annotations

import math

import pytorchlike as torch
from pytorchlike import Tensor

from .boxes import _floats

__all__ = ["complete_box_iou_loss", "distance_box_iou_loss", "generalized_box_iou_loss"]


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(
            f"Invalid Value for arg 'reduction': '{reduction}'; supported are 'none', 'mean' and 'sum'"
        )
    if reduction == "none":
        return loss
    # no boxes: 0, not the mean of nothing
    return loss.sum() if reduction == "sum" or loss.numel() == 0 else loss.mean()


def _iou(a: Tensor, b: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """IoU, union, and the width and height of the hull."""
    sides = torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])
    both = sides.clamp(min=0).prod(1)
    either = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - both
    return both / (either + eps), either, torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])


def generalized_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """``1 - GIoU`` (Rezatofighi et al. 2019, arXiv:1902.09630)."""
    a, b = _floats(boxes1), _floats(boxes2)
    iou, either, hull = _iou(a, b, eps)
    area = hull.prod(1)
    return _reduced(1 - iou + (area - either) / (area + eps), reduction)


def _distance(a: Tensor, b: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    iou, _, hull = _iou(a, b, eps)
    apart = (((a[:, :2] + a[:, 2:]) - (b[:, :2] + b[:, 2:])) / 2).square().sum(1)
    return 1 - iou + apart / (hull.square().sum(1) + eps), iou


def distance_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """``1 - IoU`` plus the squared distance of the centres, relative to the hull (Zheng et al. 2020)."""
    return _reduced(_distance(_floats(boxes1), _floats(boxes2), eps)[0], reduction)


def complete_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """``distance_box_iou_loss`` plus a penalty for different ratios of width to height (Zheng et al. 2020)."""
    a, b = _floats(boxes1), _floats(boxes2)
    loss, iou = _distance(a, b, eps)
    angles = [torch.atan((t[:, 2] - t[:, 0]) / (t[:, 3] - t[:, 1])) for t in (a, b)]
    v = (4 / math.pi**2) * (angles[1] - angles[0]) ** 2
    with torch.no_grad():
        weight = v / (1 - iou + v + eps)
    return _reduced(loss + weight * v, reduction)
