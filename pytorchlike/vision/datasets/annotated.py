"""Pictures with boxes, masks or sentences: Pascal VOC (Everingham et al. 2010) and COCO (Lin et al. 2014)."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any
from xml.etree import ElementTree

from .._host import pillow
from .utils import download_and_extract_archive, verify_str_arg
from .vision import VisionDataset

__all__ = ["CocoCaptions", "CocoDetection", "VOCDetection", "VOCSegmentation"]

# archive, MD5, where it unpacks to
_VOC = {
    "2012": ("voc2012/VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd", "VOCdevkit/VOC2012"),
    "2011": ("voc2011/VOCtrainval_25-May-2011.tar", "6c3384ef61512963050cb5d687e5bf1e", "TrainVal/VOCdevkit/VOC2011"),
    "2010": ("voc2010/VOCtrainval_03-May-2010.tar", "da459979d0c395079b5c75ee67908abb", "VOCdevkit/VOC2010"),
    "2009": ("voc2009/VOCtrainval_11-May-2009.tar", "a3e00b113cfcfebf17e343f59da3caa1", "VOCdevkit/VOC2009"),
    "2008": ("voc2008/VOCtrainval_14-Jul-2008.tar", "2629fa636546599198acfcfbfcf1904a", "VOCdevkit/VOC2008"),
    "2007": ("voc2007/VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64", "VOCdevkit/VOC2007"),
    "2007-test": ("voc2007/VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f", "VOCdevkit/VOC2007"),
}


class _VOCBase(VisionDataset):
    _splits, _targets, _ending = "", "", ""

    def __init__(
        self, root: str | os.PathLike, year: str = "2012", image_set: str = "train", download: bool = False,
        transform: Callable | None = None, target_transform: Callable | None = None, transforms: Callable | None = None,
    ) -> None:  # fmt: skip
        super().__init__(root, transforms, transform, target_transform)
        self.year = verify_str_arg(year, "year", [y for y in _VOC if "-" not in y])
        sets = ["train", "trainval", "val", *(["test"] if year == "2007" else [])]
        self.image_set = verify_str_arg(image_set, "image_set", sets)
        file, self.md5, folder = _VOC["2007-test" if (year, image_set) == ("2007", "test") else year]
        self.url = f"https://thor.robots.ox.ac.uk/pascal/VOC/{file}"
        base = os.path.join(self.root, *folder.split("/"))  # type: ignore[arg-type]
        if download:
            download_and_extract_archive(self.url, self.root, filename=os.path.basename(file), md5=self.md5)  # type: ignore[arg-type]
        if not os.path.isdir(base):
            raise RuntimeError(f"Dataset not found or corrupted at {base}. You can use download=True to download it")
        with open(os.path.join(base, "ImageSets", self._splits, image_set + ".txt")) as names:
            stems = [line.strip() for line in names]
        self.images = [os.path.join(base, "JPEGImages", stem + ".jpg") for stem in stems]
        self.targets = [os.path.join(base, self._targets, stem + self._ending) for stem in stems]

    def _target(self, path: str) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not say how targets are read")

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        img, target = pillow().open(self.images[index]).convert("RGB"), self._target(self.targets[index])
        return (img, target) if self.transforms is None else self.transforms(img, target)

    def __len__(self) -> int:
        return len(self.images)


class VOCSegmentation(_VOCBase):
    """Pictures, and masks of classes (Pillow pictures with a palette), of ``root/VOCdevkit``.

    year: "2007" to "2012".   image_set: "train", "val", "trainval", or "test" of 2007.
    """

    _splits, _targets, _ending = "Segmentation", "SegmentationClass", ".png"

    @property
    def masks(self) -> list[str]:
        """The files of masks."""
        return self.targets

    def _target(self, path: str) -> Any:
        with pillow().open(path) as mask:
            return mask.copy()


class VOCDetection(_VOCBase):
    """Pictures, and the trees of their XML files as dicts, of ``root/VOCdevkit``; see VOCSegmentation."""

    _splits, _targets, _ending = "Main", "Annotations", ".xml"

    @property
    def annotations(self) -> list[str]:
        """The XML files."""
        return self.targets

    def _target(self, path: str) -> Any:
        return self.parse_voc_xml(ElementTree.parse(path).getroot())

    @staticmethod
    def parse_voc_xml(node: ElementTree.Element) -> dict[str, Any]:
        """{tag: text, or a dict of the parts}; parts of one name are a list, and objects of a picture always."""
        parts = [*node]
        if not parts:
            return {node.tag: (node.text or "").strip()}
        found: dict[str, list[Any]] = defaultdict(list)
        for part in parts:
            for name, value in VOCDetection.parse_voc_xml(part).items():
                found[name].append(value)
        listed = {"object"} if node.tag == "annotation" else set()
        return {node.tag: {k: v if len(v) > 1 or k in listed else v[0] for k, v in found.items()}}


class CocoIndex:
    """The contents of a file of COCO's annotations, by number; the part of ``pycocotools.coco.COCO`` that reads."""

    def __init__(self, annotation_file: str | os.PathLike) -> None:
        with open(annotation_file) as file:
            self.dataset: dict[str, Any] = json.load(file)
        self.imgs: dict[int, dict] = {entry["id"]: entry for entry in self.dataset.get("images", [])}
        self.anns: dict[int, dict] = {entry["id"]: entry for entry in self.dataset.get("annotations", [])}
        self.cats: dict[int, dict] = {entry["id"]: entry for entry in self.dataset.get("categories", [])}
        self.imgToAnns: dict[int, list[dict]] = defaultdict(list)
        for entry in self.anns.values():
            self.imgToAnns[entry["image_id"]].append(entry)

    @staticmethod
    def _ids(ids: Any) -> Iterable[int]:
        return ids if isinstance(ids, (list, tuple, set)) else [ids]

    def getAnnIds(self, imgIds: Any) -> list[int]:
        """Numbers of the annotations of some pictures."""
        return [entry["id"] for i in self._ids(imgIds) for entry in self.imgToAnns.get(i, [])]

    def loadAnns(self, ids: Any) -> list[dict]:
        """Annotations."""
        return [self.anns[i] for i in self._ids(ids)]

    def loadImgs(self, ids: Any) -> list[dict]:
        """What is known of pictures."""
        return [self.imgs[i] for i in self._ids(ids)]

    def loadCats(self, ids: Any) -> list[dict]:
        """Categories."""
        return [self.cats[i] for i in self._ids(ids)]


def _index(annotation_file: str | os.PathLike) -> Any:
    try:
        from pycocotools.coco import COCO
    except ImportError:
        return CocoIndex(annotation_file)
    return COCO(annotation_file)


class CocoDetection(VisionDataset):
    """Pictures of the directory ``root``, and the lists of their annotations (dicts) in the file ``annFile``.

    ids: the pictures' numbers, sorted.   coco: the annotations, as ``pycocotools`` holds them where it is installed, so
    that detections can be evaluated against them; otherwise a CocoIndex.
    """

    def __init__(
        self, root: str | os.PathLike, annFile: str, transform: Callable | None = None,
        target_transform: Callable | None = None, transforms: Callable | None = None,
    ) -> None:  # fmt: skip
        super().__init__(root, transforms, transform, target_transform)
        self.coco = _index(annFile)
        self.ids = sorted(self.coco.imgs)

    def _load_image(self, id: int) -> Any:
        path = os.path.join(self.root, self.coco.imgs[id]["file_name"])  # type: ignore[arg-type]
        return pillow().open(path).convert("RGB")

    def _load_target(self, id: int) -> list[Any]:
        return self.coco.loadAnns(self.coco.getAnnIds(id))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not isinstance(index, int):
            raise ValueError(f"Index must be of type integer, got {type(index)} instead.")
        img, target = self._load_image(self.ids[index]), self._load_target(self.ids[index])
        return (img, target) if self.transforms is None else self.transforms(img, target)

    def __len__(self) -> int:
        return len(self.ids)


class CocoCaptions(CocoDetection):
    """Pictures and the lists of their captions."""

    def _load_target(self, id: int) -> list[str]:
        return [entry["caption"] for entry in super()._load_target(id)]
