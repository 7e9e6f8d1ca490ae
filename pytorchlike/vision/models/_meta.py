"""Names of the classes that published weights tell apart: ImageNet's, COCO's, Pascal VOC's, Kinetics'."""

from __future__ import annotations

from pathlib import Path

__all__ = ["class_names"]


def _read() -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for line in Path(__file__).with_name("classes.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            lists[line[2:]] = names = []
        else:
            names.append(line)
    return lists


#: By data set; a class's number is its place.
class_names = _read()

_IMAGENET_CATEGORIES = class_names["imagenet"]
_COCO_CATEGORIES = class_names["coco"]
_COCO_PERSON_CATEGORIES = class_names["coco_person"]
_COCO_PERSON_KEYPOINT_NAMES = class_names["coco_person_keypoints"]
_VOC_CATEGORIES = class_names["voc"]
_KINETICS400_CATEGORIES = class_names["kinetics400"]
