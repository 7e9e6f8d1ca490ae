"""Key points (N, K, 3: x, y, visible) and maps of where in a box they are, on the host."""

from __future__ import annotations

import numpy as np

import pytorchlike as torch

from ...transforms import _tensor

__all__ = ["keypoints_of", "places_in_boxes"]


def places_in_boxes(points: np.ndarray, boxes: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, K, 3) and (N, 4) -> the places of a map of ``side`` squared, row by row, and whether they count: (N, K)."""
    start, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    at = np.floor((points[..., :2] - start) * (side / size)).astype(np.int64)
    at[points[..., :2] == boxes[:, None, 2:]] = side - 1  # on the far edge
    good = ((at >= 0) & (at < side)).all(-1) & (points[..., 2] > 0)
    return np.where(good, at[..., 1] * side + at[..., 0], 0), good.astype(np.float32)


def keypoints_of(maps: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maps (N, K, M, M) and boxes (N, 4) -> the points (N, K, 3) and their scores (N, K).

    Each map is enlarged to whole pixels of its box by bicubic interpolation; the point is where it is largest.
    """
    points = np.ones((len(maps), maps.shape[1], 3), np.float32)
    scores = np.zeros(points.shape[:2], np.float32)
    for i, (its, (x, y, right, bottom)) in enumerate(zip(maps, boxes, strict=True)):
        w, h = max(right - x, 1.0), max(bottom - y, 1.0)
        cols, rows = int(np.ceil(w)), int(np.ceil(h))
        large = _tensor.resize(torch.from_numpy(np.ascontiguousarray(its)), (rows, cols), "bicubic", False).numpy()
        best = large.reshape(len(its), -1).argmax(1)
        points[i, :, 0] = (best % cols + 0.5) * (w / cols) + x
        points[i, :, 1] = (best // cols + 0.5) * (h / rows) + y
        scores[i] = large.reshape(len(its), -1).max(1)
    return points, scores
