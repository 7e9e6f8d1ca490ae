"""Data sets whose boxes and masks are made into tv_tensors, for ``transforms.v2``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any

import pytorchlike as torch

from .annotated import CocoCaptions, CocoDetection, VOCDetection, VOCSegmentation
from .cifar import CIFAR10
from .folder import DatasetFolder
from .imagenet import Imagenette
from .mnist import MNIST
from .named import GTSRB, Caltech101, Caltech256, CelebA, OxfordIIITPet
from .vision import VisionDataset

__all__ = ["wrap_dataset_for_transforms_v2"]

_VOC = """__background__ aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor""".split()


def wrap_dataset_for_transforms_v2(dataset: VisionDataset, target_keys: Any = None) -> Any:
    """The data set with targets that ``transforms.v2`` takes, of a class that is also the data set's own.

    Masks become Masks and boxes BoundingBoxes (xyxy); annotations of several objects become one dict of lists with
    "boxes" and "labels" (and "masks", by pycocotools). What is classified stays as it is.
    target_keys: which entries of such dicts, "all", or None for boxes, labels and the picture's number.
    Raises: TypeError for data sets that are not known here.
    """
    known = target_keys is None or target_keys == "all"
    if not known and not (isinstance(target_keys, Collection) and all(isinstance(k, str) for k in target_keys)):
        raise ValueError(
            "`target_keys` can be None, 'all', or a collection of strings denoting the keys to be returned, but got "
            f"{target_keys}"
        )
    if not isinstance(dataset, VisionDataset):
        raise TypeError(
            "This wrapper is meant for subclasses of `torchvision.datasets.VisionDataset`, but got a "
            f"'{type(dataset).__name__}' instead."
        )
    return type(f"Wrapped{type(dataset).__name__}", (_Wrapped, type(dataset)), {})(dataset, target_keys)


class _Wrapped:
    """Items of ``dataset`` before its transforms, converted, and then transformed."""

    def __init__(self, dataset: Any, target_keys: Any) -> None:
        rule = next((_RULES[c] for c in type(dataset).__mro__ if c in _RULES), None)
        if rule is None:
            raise TypeError(f"No wrapper exists for dataset class {type(dataset).__name__}.")
        self._dataset, self._target_keys = dataset, target_keys
        self._converted = rule(dataset, target_keys)
        for name in ("transform", "target_transform", "transforms"):
            setattr(self, name, getattr(dataset, name))
            setattr(dataset, name, None)

    def __getattr__(self, name: str) -> Any:
        if name == "_dataset":  # while it is being copied
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def __getitem__(self, index: int) -> Any:
        sample = self._converted(index, self._dataset[index])
        return sample if self.transforms is None else self.transforms(*sample)

    def __len__(self) -> int:
        return len(self._dataset)

    def __reduce__(self) -> tuple:
        dataset = copy.copy(self._dataset)
        for name in ("transform", "target_transform", "transforms"):
            setattr(dataset, name, getattr(self, name))
        return wrap_dataset_for_transforms_v2, (dataset, self._target_keys)


def _chosen(keys: Any, available: set[str], default: set[str]) -> set[str]:
    chosen = default if keys is None else available if keys == "all" else set(keys)
    if chosen - available:
        raise ValueError(f"Target keys {sorted(chosen - available)} are not available")
    return chosen


def _side_by_side(entries: list[dict]) -> dict[str, list]:
    """{key: values} of dicts."""
    return {k: [e[k] for e in entries if k in e] for e in entries[::-1] for k in e}


def _boxes(values: Any, form: str, image: Any) -> Any:
    from ..transforms.v2 import functional as F
    from ..tv_tensors import BoundingBoxes, BoundingBoxFormat

    boxes = BoundingBoxes(values, format=BoundingBoxFormat[form], canvas_size=tuple(F.get_size(image)))
    return boxes if form == "XYXY" else F.convert_bounding_box_format(boxes, new_format=BoundingBoxFormat.XYXY)


def _mask(picture: Any) -> Any:
    from ..tv_tensors import Mask

    return Mask(picture)


def _as_it_is(dataset: Any, keys: Any) -> Callable:
    return lambda index, sample: sample


def _segmented(dataset: Any, keys: Any) -> Callable:
    return lambda index, sample: (sample[0], _mask(sample[1]))


def _caltech(dataset: Any, keys: Any) -> Callable:
    if "annotation" in dataset.target_type:
        raise RuntimeError(
            "Caltech101 dataset with `target_type=['annotation', ...]` is not supported by this wrapper."
        )
    return _as_it_is(dataset, keys)


def _by_type(types: Any, rules: dict[str, Callable], image: Any, target: Any) -> Any:
    """Each part of the target by its type; one part alone is no tuple."""
    parts = target if isinstance(target, (tuple, list)) else [target]
    made = tuple(rules[t](image, part) if t in rules else part for t, part in zip(types, parts, strict=False))
    return made[0] if len(made) == 1 else made


def _celeba(dataset: Any, keys: Any) -> Callable:
    if any(t in dataset.target_type for t in ("attr", "landmarks")):
        raise RuntimeError(
            "`CelebA` dataset with `target_type=['attr', 'landmarks', ...]` is not supported by this wrapper."
        )
    rules = {"bbox": lambda image, target: _boxes(target, "XYWH", image)}
    return lambda index, sample: (sample[0], _by_type(dataset.target_type, rules, *sample))


def _pets(dataset: Any, keys: Any) -> Callable:
    rules = {"segmentation": lambda image, target: _mask(target)}

    def converted(index: int, sample: tuple) -> tuple:
        return sample[0], None if sample[1] is None else _by_type(dataset._target_types, rules, *sample)

    return converted


def _coco(dataset: Any, keys: Any) -> Callable:
    native = {"segmentation", "area", "iscrowd", "image_id", "bbox", "category_id"}
    chosen = _chosen(keys, native | {"boxes", "masks", "labels"}, {"image_id", "boxes", "labels"})

    def converted(index: int, sample: tuple) -> tuple:
        image, entries = sample
        target: dict[str, Any] = {"image_id": dataset.ids[index]}
        if not entries:
            return image, target
        if "image_id" not in chosen:
            target = {}
        listed = _side_by_side(entries)
        if "boxes" in chosen:
            target["boxes"] = _boxes(listed["bbox"], "XYWH", image)
        if "masks" in chosen:
            target["masks"] = _mask(torch.stack([_drawn(s, image) for s in listed["segmentation"]]))
        if "labels" in chosen:
            target["labels"] = torch.tensor(listed["category_id"])
        return image, target | {k: listed[k] for k in chosen - {"image_id", "boxes", "masks", "labels"}}

    return converted


def _drawn(segmentation: Any, image: Any) -> Any:
    """COCO's outlines, or runs of pixels, as a mask."""
    from pycocotools import mask

    size = (image.height, image.width)
    if isinstance(segmentation, list):
        segmentation = mask.merge(mask.frPyObjects(segmentation, *size))
    elif not isinstance(segmentation["counts"], str):
        segmentation = mask.frPyObjects(segmentation, *size)
    return torch.from_numpy(mask.decode(segmentation))


def _voc(dataset: Any, keys: Any) -> Callable:
    chosen = _chosen(keys, {"annotation", "boxes", "labels"}, {"boxes", "labels"})

    def converted(index: int, sample: tuple) -> tuple:
        image, target = sample
        listed = _side_by_side(target["annotation"]["object"])
        if "annotation" not in chosen:
            target = {}
        if "boxes" in chosen:
            corners = [[int(box[k]) for k in ("xmin", "ymin", "xmax", "ymax")] for box in listed["bndbox"]]
            target["boxes"] = _boxes(corners, "XYXY", image)
        if "labels" in chosen:
            target["labels"] = torch.tensor([_VOC.index(name) for name in listed["name"]])
        return image, target

    return converted


_RULES: dict[type, Callable] = {
    **dict.fromkeys((Caltech256, CIFAR10, MNIST, GTSRB, DatasetFolder, Imagenette, CocoCaptions), _as_it_is),
    VOCSegmentation: _segmented, Caltech101: _caltech, CelebA: _celeba, OxfordIIITPet: _pets, CocoDetection: _coco,
    VOCDetection: _voc,
}  # fmt: skip
