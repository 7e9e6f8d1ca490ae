"""What detectors without proposals share: boxes are classified and moved where they stand."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytorchlike import Tensor, nn

from ._boxes import clip, host, keep_best, to_device
from .faster_rcnn import check_targets
from .rpn import flattened

__all__ = ["SingleStageDetector", "convolutions", "normal_init", "prior_bias"]


def normal_init(module: nn.Module, std: float = 0.01) -> None:
    """Convolutions normal about 0, biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def prior_bias(layer: nn.Module, probability: float) -> None:
    """A bias so that every class begins with this probability (Lin et al. 2017, arXiv:1708.02002, section 4.1)."""
    nn.init.constant_(layer.bias, -float(np.log((1 - probability) / probability)))  # type: ignore[arg-type]


def convolutions(head: nn.Module, maps: list[Tensor], *layers: tuple[nn.Module, int]) -> list[Tensor]:
    """``head.conv`` on each map, then layers of so many numbers per anchor: (N, anchors, numbers) of each layer."""
    mixed = [head.conv(m) for m in maps]  # type: ignore[operator]
    return [flattened([layer(m) for m in mixed], width) for layer, width in layers]


class SingleStageDetector(nn.Module):
    """A backbone, and a head that says of each anchor what it shows and how it is moved.

    A subclass has ``losses(targets, outputs, anchors, counts)``, ``scores(outputs)`` (host values (N, anchors,
    classes)), and ``box_coder``. ``per_class``: the best candidates are taken of each class, not of each map.
    """

    per_class = False
    first_label = 0

    def __init__(
        self, backbone: nn.Module, head: nn.Module, anchor_generator: nn.Module, transform: nn.Module,
        score_thresh: float, nms_thresh: float, detections_per_img: int, topk_candidates: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.backbone, self.head, self.anchor_generator, self.transform = backbone, head, anchor_generator, transform
        self.score_thresh, self.nms_thresh = score_thresh, nms_thresh
        self.detections_per_img, self.topk_candidates = detections_per_img, topk_candidates

    def forward(self, images: list[Tensor], targets: Any = None) -> Any:
        if self.training:
            check_targets(targets, images)
        sizes = [tuple(image.shape[-2:]) for image in images]
        batch, targets = self.transform(images, targets)
        found = self.backbone(batch.tensors.to(next(self.parameters()).device))
        maps = [found] if isinstance(found, Tensor) else list(found.values())
        outputs = self.head(maps)
        anchors = self.anchor_generator(batch, maps)
        per_place = self.anchor_generator.num_anchors_per_location()  # type: ignore[operator]
        counts = [m.shape[-2] * m.shape[-1] * a for m, a in zip(maps, per_place, strict=True)]
        if self.training:
            return self.losses(targets, outputs, anchors, counts)
        scores, codes = self.scores(outputs), host(outputs["bbox_regression"])
        results = [self._pick(s, c, a, size, counts, outputs["bbox_regression"])
                   for s, c, a, size in zip(scores, codes, anchors, batch.image_sizes, strict=True)]  # fmt: skip
        return self.transform.postprocess(results, batch.image_sizes, sizes)

    def losses(self, targets: Any, outputs: dict[str, Tensor], anchors: list[np.ndarray], counts: list[int]) -> Any:
        """Losses by name."""
        raise NotImplementedError

    def scores(self, outputs: dict[str, Tensor]) -> np.ndarray:
        """Probabilities of the classes that are looked for, on the host."""
        raise NotImplementedError

    def _pick(self, scores: np.ndarray, codes: np.ndarray, anchors: np.ndarray, size: Any, counts: list[int],
              like: Tensor) -> dict[str, Tensor]:  # fmt: skip
        classes = scores.shape[1]
        where, label = [], []
        if self.per_class:
            for k in range(classes):
                good = np.flatnonzero(scores[:, k] > self.score_thresh)
                best = good[np.argsort(-scores[good, k], kind="stable")[: self.topk_candidates]]
                where.append(best)
                label.append(np.full(len(best), k))
        else:
            start = 0
            for count in counts:
                flat = scores[start : start + count].reshape(-1)
                good = np.flatnonzero(flat > self.score_thresh)
                best = good[np.argsort(-flat[good], kind="stable")[: self.topk_candidates]]
                where.append(best // classes + start)
                label.append(best % classes)
                start += count
        at, kind = np.concatenate(where), np.concatenate(label)
        boxes = clip(self.box_coder.decode(codes[at], anchors[at]), size)  # type: ignore[union-attr, operator]
        values = scores[at, kind]
        kept = keep_best(boxes, values, kind, self.nms_thresh, self.detections_per_img)
        found = {"boxes": boxes[kept], "scores": values[kept], "labels": kind[kept].astype(np.int64) + self.first_label}
        return {name: to_device(a, like) for name, a in found.items()}


def objects(target: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and labels of a target, on the host."""
    return host(target["boxes"]).reshape(-1, 4).astype(np.float32), host(target["labels"]).reshape(-1)
