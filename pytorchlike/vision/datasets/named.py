"""Further published data sets: pictures in files of their own, with lists of their classes."""

from __future__ import annotations

import bz2
import csv
import functools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import pytorchlike as torch

from .._host import pillow
from .folder import ImageFolder, default_loader, make_dataset
from .utils import (
    check_integrity,
    download_and_extract_archive,
    download_url,
    extract_archive,
    load_matlab,
    verify_str_arg,
)
from .vision import VisionDataset

__all__ = [
    "DTD", "GTSRB", "SUN397", "USPS", "Caltech101", "Caltech256", "CelebA", "Country211", "EuroSAT", "FGVCAircraft",
    "Flowers102", "Food101", "Omniglot", "OxfordIIITPet", "RenderedSST2", "StanfordCars",
]  # fmt: skip


def _opened(path: str, mode: str | None = None) -> Any:
    """The picture in a file, in ``mode`` or as it is."""
    with open(path, "rb") as file:
        img = pillow().open(file)
        img.load()
    return img if mode is None else img.convert(mode)


class _Listed(VisionDataset):
    """Pictures ``_image_files`` with labels ``_labels``. Items: (Pillow picture, int)."""

    classes: Sequence[str]
    loader: Callable[[str], Any] = staticmethod(default_loader)
    _image_files: list[str]
    _labels: list[int]

    def _prepared(self, download: bool, folder: str) -> str:
        """The directory of the data below ``root``, downloaded if asked. RuntimeError if it is not there."""
        path = os.path.join(self.root, folder)  # type: ignore[arg-type]
        if download and not os.path.isdir(path):
            self._download()
        if not os.path.isdir(path):
            raise RuntimeError(f"Dataset not found at {path}. You can use download=True to download it")
        return path

    def _download(self) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not say where it is downloaded from")

    def _classes(self, names: Sequence[str]) -> None:
        self.classes = names
        self.class_to_idx = {name: i for i, name in enumerate(names)}

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._transformed(self.loader(self._image_files[index]), self._labels[index])

    def __len__(self) -> int:
        return len(self._image_files)


class Food101(_Listed):
    """Dishes of 101 kinds (Bossard et al. 2014); split: "train" or "test"."""

    def __init__(
        self, root: str | os.PathLike, split: str = "train", transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False, loader: Callable = default_loader,
    ) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self._split, self.loader = verify_str_arg(split, "split", ("train", "test")), loader
        base = self._prepared(download, "food-101")
        with open(os.path.join(base, "meta", f"{split}.json")) as file:
            listed = json.load(file)
        self._classes(sorted(listed))
        pairs = [(name, self.class_to_idx[kind]) for kind, names in listed.items() for name in names]
        self._image_files = [os.path.join(base, "images", *f"{name}.jpg".split("/")) for name, _ in pairs]
        self._labels = [label for _, label in pairs]

    def _download(self) -> None:
        url = "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz"
        download_and_extract_archive(url, self.root, md5="85eeb15f3717b99a5da872d97d918f87")  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        return f"split={self._split}"


class SUN397(_Listed):
    """Places of 397 kinds (Xiao et al. 2010)."""

    def __init__(
        self, root: str | os.PathLike, transform: Callable | None = None, target_transform: Callable | None = None,
        download: bool = False, loader: Callable = default_loader,
    ) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.loader = loader
        base = self._prepared(download, "SUN397")
        with open(os.path.join(base, "ClassName.txt")) as file:
            self._classes([line[3:].strip() for line in file])  # "/a/abbey"
        found = [
            (os.path.join(folder, name), os.path.relpath(folder, base).replace(os.sep, "/").partition("/")[2])
            for folder, _, names in os.walk(base) for name in names if name.startswith("sun_") and name.endswith(".jpg")
        ]  # fmt: skip
        self._image_files = [path for path, _ in found]
        self._labels = [self.class_to_idx[kind] for _, kind in found]

    def _download(self) -> None:
        url = "http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz"
        download_and_extract_archive(url, self.root, md5="8ca2778205c41d23104230ba66911c7a")  # type: ignore[arg-type]


class FGVCAircraft(_Listed):
    """Aircraft (Maji et al. 2013); split: "train", "val", "trainval" or "test".

    annotation_level: "variant" (100 kinds), "family" (70) or "manufacturer" (41).
    """

    _lists = {"variant": "variants.txt", "family": "families.txt", "manufacturer": "manufacturers.txt"}

    def __init__(
        self, root: str | os.PathLike, split: str = "trainval", annotation_level: str = "variant",
        transform: Callable | None = None, target_transform: Callable | None = None, download: bool = False,
        loader: Callable = default_loader,
    ) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self._split, self.loader = verify_str_arg(split, "split", ("train", "val", "trainval", "test")), loader
        self._annotation_level = verify_str_arg(annotation_level, "annotation_level", tuple(self._lists))
        data = os.path.join(self._prepared(download, "fgvc-aircraft-2013b"), "data")
        with open(os.path.join(data, self._lists[annotation_level])) as file:
            self._classes([line.strip() for line in file])
        with open(os.path.join(data, f"images_{annotation_level}_{split}.txt")) as file:
            rows = [line.strip().split(" ", 1) for line in file]
        self._image_files = [os.path.join(data, "images", f"{name}.jpg") for name, _ in rows]
        self._labels = [self.class_to_idx[kind] for _, kind in rows]

    def _download(self) -> None:
        url = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz"
        download_and_extract_archive(url, self.root)  # type: ignore[arg-type]


class StanfordCars(_Listed):
    """Cars of 196 models (Krause et al. 2013); split: "train" or "test". Needs SciPy; its archives are not online."""

    def __init__(
        self, root: str | os.PathLike, split: str = "train", transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False, loader: Callable = default_loader,
    ) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self._split, self.loader = verify_str_arg(split, "split", ("train", "test")), loader
        if download:
            raise ValueError("The original URL is broken so the StanfordCars dataset cannot be downloaded anymore.")
        base = os.path.join(self.root, "stanford_cars")  # type: ignore[arg-type]
        lists = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
        listed, folder = os.path.join(base, *lists[split].split("/")), os.path.join(base, f"cars_{split}")
        if not (os.path.isdir(os.path.join(base, "devkit")) and os.path.exists(listed) and os.path.isdir(folder)):
            raise RuntimeError("Dataset not found.")
        rows = np.atleast_1d(load_matlab(listed, squeeze_me=True)["annotations"])
        self._image_files = [os.path.join(folder, str(row["fname"])) for row in rows]
        self._labels = [int(row["class"]) - 1 for row in rows]
        names = load_matlab(os.path.join(base, "devkit", "cars_meta.mat"), squeeze_me=True)["class_names"]
        self._classes([str(name) for name in np.atleast_1d(names)])


class _Folders(ImageFolder, _Listed):
    """A directory for each class, in one below ``root``."""

    _place, _url, _md5 = "", "", ""

    def _found(
        self, root: str | os.PathLike, download: bool, transform: Callable | None, target_transform: Callable | None,
        loader: Callable, *below: str,
    ) -> None:  # fmt: skip
        self.root = base = os.path.expanduser(os.fspath(root))
        folder = os.path.join(self._prepared(download, self._place), *below)
        ImageFolder.__init__(self, folder, transform, target_transform, loader)
        self.root = base

    def _download(self) -> None:
        base = os.path.dirname(os.path.join(self.root, self._place))  # type: ignore[arg-type]
        os.makedirs(base, exist_ok=True)
        download_and_extract_archive(self._url, base, md5=self._md5)


class EuroSAT(_Folders):
    """Land seen by satellites, of 10 kinds (Helber et al. 2019)."""

    _place = os.path.join("eurosat", "2750")
    _url = ("https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/"
            "EuroSAT.zip")  # fmt: skip
    _md5 = "c8fa014336c82ac7804f0398fcb19387"

    def __init__(
        self, root: str | os.PathLike, transform: Callable | None = None, target_transform: Callable | None = None,
        download: bool = False, loader: Callable = default_loader,
    ) -> None:  # fmt: skip
        self._found(root, download, transform, target_transform, loader)


class Country211(_Folders):
    """Photographs of 211 countries (Radford et al. 2021); split: "train", "valid" or "test"."""

    _place, _md5 = "country211", "84988d7644798601126c29e9877aab6a"
    _url = "https://openaipublic.azureedge.net/clip/data/country211.tgz"

    def __init__(
        self, root: str | os.PathLike, split: str = "train", transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False, loader: Callable = default_loader,
    ) -> None:  # fmt: skip
        self._split = verify_str_arg(split, "split", ("train", "valid", "test"))
        self._found(root, download, transform, target_transform, loader, split)


class RenderedSST2(_Folders):
    """Pictures of sentences, "negative" or "positive" (Radford et al. 2021); split: "train", "val" or "test"."""

    _place, _md5 = "rendered-sst2", "2384d08e9dcfa4bd55b324e610496ee5"
    _url = "https://openaipublic.azureedge.net/clip/data/rendered-sst2.tgz"

    def __init__(
        self, root: str | os.PathLike, split: str = "train", transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False, loader: Callable = default_loader,
    ) -> None:  # fmt: skip
        self._split = verify_str_arg(split, "split", ("train", "val", "test"))
        self._found(root, download, transform, target_transform, loader, "valid" if split == "val" else split)

    def extra_repr(self) -> str:
        return f"split={self._split}"


class Flowers102(_Listed):
    """British flowers of 102 kinds (Nilsback and Zisserman 2008); split: "train", "val" or "test". Needs SciPy."""

    _files = {"102flowers.tgz": "52808999861908f626f3c1f4e79d11fa",
              "imagelabels.mat": "e0620be6f572b9609742df49c70aed4d",
              "setid.mat": "a5357ecc9cb78c4bef273ce3793fc85c"}  # fmt: skip
    _sets = {"train": "trnid", "val": "valid", "test": "tstid"}

    def __init__(
        self, root: str | os.PathLike, split: str = "train", transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False, loader: Callable = default_loader,
    ) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self._split, self.loader = verify_str_arg(split, "split", tuple(self._sets)), loader
        base = self._prepared(download, "flowers-102")
        chosen = np.atleast_1d(load_matlab(os.path.join(base, "setid.mat"), squeeze_me=True)[self._sets[split]])
        labels = np.atleast_1d(load_matlab(os.path.join(base, "imagelabels.mat"), squeeze_me=True)["labels"])
        self._labels = [int(labels[i - 1]) - 1 for i in chosen]
        self._image_files = [os.path.join(base, "jpg", f"image_{i:05d}.jpg") for i in chosen]

    def _download(self) -> None:
        base = os.path.join(self.root, "flowers-102")  # type: ignore[arg-type]
        for name, md5 in self._files.items():
            url = f"https://www.robots.ox.ac.uk/~vgg/data/flowers/102/{name}"
            if name.endswith("tgz"):
                download_and_extract_archive(url, base, md5=md5)
            else:
                download_url(url, base, md5=md5)

    def extra_repr(self) -> str:
        return f"split={self._split}"


class DTD(_Listed):
    """Textures of 47 kinds (Cimpoi et al. 2014); split: "train", "val" or "test" of partition 1 to 10."""

    def __init__(
        self, root: str | os.PathLike, split: str = "train", partition: int = 1, transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False, loader: Callable = default_loader,
    ) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self._split, self.loader = verify_str_arg(split, "split", ("train", "val", "test")), loader
        if not isinstance(partition, int) or not 1 <= partition <= 10:
            raise ValueError(
                f"Parameter 'partition' should be an integer with `1 <= partition <= 10`, but got {partition} instead"
            )
        self._partition = partition
        base = self._prepared(download, os.path.join("dtd", "dtd"))
        with open(os.path.join(base, "labels", f"{split}{partition}.txt")) as file:
            listed = [line.strip().split("/") for line in file]
        self._classes(sorted({kind for kind, _ in listed}))
        self._image_files = [os.path.join(base, "images", kind, name) for kind, name in listed]
        self._labels = [self.class_to_idx[kind] for kind, _ in listed]

    def _download(self) -> None:
        url = "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz"
        folder = os.path.join(self.root, "dtd")  # type: ignore[arg-type]
        download_and_extract_archive(url, folder, md5="fff73e5086ae6bdbea199a49dfb8a4c1")

    def extra_repr(self) -> str:
        return f"split={self._split}, partition={self._partition}"


class GTSRB(_Listed):
    """German traffic signs of 43 kinds (Stallkamp et al. 2012); split: "train" or "test"."""

    def __init__(
        self, root: str | os.PathLike, split: str = "train", transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self._split = verify_str_arg(split, "split", ("train", "test"))
        below = "Training" if split == "train" else os.path.join("Final_Test", "Images")
        folder = self._prepared(download, os.path.join("gtsrb", "GTSRB", below))
        if split == "train":
            pairs = make_dataset(folder, extensions=(".ppm",))
        else:
            with open(os.path.join(self.root, "gtsrb", "GT-final_test.csv")) as file:  # type: ignore[arg-type]
                rows = csv.DictReader(file, delimiter=";", skipinitialspace=True)
                pairs = [(os.path.join(folder, row["Filename"]), int(row["ClassId"])) for row in rows]
        self._image_files, self._labels = [path for path, _ in pairs], [label for _, label in pairs]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        img = _opened(self._image_files[index], "RGB")
        return self._transformed(img, self._labels[index])

    def _download(self) -> None:
        files = {"GTSRB-Training_fixed.zip": "513f3c79a4c5141765e10e952eaa2478"} if self._split == "train" else {
            "GTSRB_Final_Test_Images.zip": "c7e4e6327067d32654124b0fe9e82185",
            "GTSRB_Final_Test_GT.zip": "fe31e9c9270bbcd7b84b7f21a9d9d9e5"}  # fmt: skip
        for name, md5 in files.items():
            url = f"https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/{name}"
            download_and_extract_archive(url, os.path.join(self.root, "gtsrb"), md5=md5)  # type: ignore[arg-type]


class OxfordIIITPet(VisionDataset):
    """Cats and dogs of 37 breeds (Parkhi et al. 2012); split: "trainval" or "test".

    target_types: "category" (int), "binary-category" (0 cat, 1 dog), "segmentation" (a picture of 1 pet, 2 ground,
    3 border), or several, which give a tuple.
    """

    _archives = {"images": "5c4f3ee8e5d25df40f4fd59a7f44e54c", "annotations": "95a8c909bbe2e81eed6a22bccdf3f68f"}

    def __init__(
        self, root: str | os.PathLike, split: str = "trainval", target_types: str | Sequence[str] = "category",
        transforms: Callable | None = None, transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False, loader: Callable = default_loader,
    ) -> None:  # fmt: skip
        super().__init__(root, transforms, transform, target_transform)
        self._split, self.loader = verify_str_arg(split, "split", ("trainval", "test")), loader
        wanted = [target_types] if isinstance(target_types, str) else target_types
        known = ("category", "binary-category", "segmentation")
        self._target_types = [verify_str_arg(t, "target_types", known) for t in wanted]
        base = os.path.join(self.root, "oxford-iiit-pet")  # type: ignore[arg-type]
        there = [os.path.isdir(os.path.join(base, name)) for name in self._archives]
        if download and not all(there):
            for name, md5 in self._archives.items():
                url = f"https://www.robots.ox.ac.uk/~vgg/data/pets/data/{name}.tar.gz"
                download_and_extract_archive(url, base, md5=md5)
        elif not all(there):
            raise RuntimeError(f"Dataset not found at {base}. You can use download=True to download it")
        with open(os.path.join(base, "annotations", f"{split}.txt")) as file:
            rows = [line.split() for line in file]
        self._labels, self._bin_labels = [int(row[1]) - 1 for row in rows], [int(row[2]) - 1 for row in rows]
        breeds = {label: row[0].rsplit("_", 1)[0] for row, label in zip(rows, self._labels, strict=True)}
        self.classes = [" ".join(part.title() for part in breeds[label].split("_")) for label in sorted(breeds)]
        self.bin_classes = ["Cat", "Dog"]
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        self.bin_class_to_idx = {"Cat": 0, "Dog": 1}
        self._images = [os.path.join(base, "images", f"{row[0]}.jpg") for row in rows]
        self._segs = [os.path.join(base, "annotations", "trimaps", f"{row[0]}.png") for row in rows]

    def _target(self, kind: str, index: int) -> Any:
        if kind == "segmentation":
            return _opened(self._segs[index])
        return self._labels[index] if kind == "category" else self._bin_labels[index]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        img = self.loader(self._images[index])
        found = tuple(self._target(kind, index) for kind in self._target_types)
        target = None if not found else found[0] if len(found) == 1 else found
        return (img, target) if self.transforms is None else self.transforms(img, target)

    def __len__(self) -> int:
        return len(self._images)


class CelebA(VisionDataset):
    """Faces of celebrities (Liu et al. 2015), aligned; split: "train", "valid", "test" or "all".

    target_type: "attr" (int64 (40,), 0 or 1), "identity" (int64), "bbox" (x, y, width, height), "landmarks" (10,), or
    several, which give a tuple; none of them gives None. Google Drive, where the files are, cannot be downloaded from.
    """

    base_folder = "celeba"
    file_list = {"list_attr_celeba.txt": "75e246fa4810816ffd6ee81facbd244c",
                 "identity_CelebA.txt": "32bd1bd63d3c78cd57e08160ec5ed1e2",
                 "list_bbox_celeba.txt": "00566efa6fedff7a56946cd1c10f1c16",
                 "list_landmarks_align_celeba.txt": "cc24ecafdb5b50baae59b03474781f8c",
                 "list_eval_partition.txt": "d32c9cbf5e040fd4025c592c306e6668"}  # fmt: skip

    def __init__(
        self, root: str | os.PathLike, split: str = "train", target_type: str | list[str] = "attr",
        transform: Callable | None = None, target_transform: Callable | None = None, download: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.split = verify_str_arg(split.lower(), "split", ("train", "valid", "test", "all"))
        self.target_type = target_type if isinstance(target_type, list) else [target_type]
        if not self.target_type and target_transform is not None:
            raise RuntimeError("target_transform is specified but target_type is empty")
        self._base = os.path.join(self.root, self.base_folder)  # type: ignore[arg-type]
        if not self._check_integrity():
            if download:
                raise NotImplementedError(
                    "CelebA's files are on Google Drive, see http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html: put "
                    f"them into {self._base} and unpack img_align_celeba.zip there"
                )
            raise RuntimeError(f"Dataset not found or corrupted at {self._base}")
        names, part, _ = self._table("list_eval_partition.txt")
        number = {"train": 0, "valid": 1, "test": 2}.get(self.split)
        rows = slice(None) if number is None else np.flatnonzero(part[:, 0] == number)
        self.filename = list(np.array(names)[rows])
        tables = {"identity": "identity_CelebA.txt", "bbox": "list_bbox_celeba.txt",
                  "landmarks_align": "list_landmarks_align_celeba.txt", "attr": "list_attr_celeba.txt"}  # fmt: skip
        for key, file in tables.items():
            _, data, header = self._table(file, key != "identity")
            setattr(self, key, torch.from_numpy(((data + 1) // 2 if key == "attr" else data)[rows]))
        self.attr_names = header

    def _table(self, name: str, header: bool = False) -> tuple[list[str], np.ndarray, list[str]]:
        with open(os.path.join(self._base, name)) as file:
            lines = [line.split() for line in file.read().splitlines()]
        columns, rows = (lines[1], lines[2:]) if header else ([], lines)
        rows = [row for row in rows if row]
        return [row[0] for row in rows], np.array([row[1:] for row in rows], np.int64), columns

    def _check_integrity(self) -> bool:
        files = all(check_integrity(os.path.join(self._base, name), md5) for name, md5 in self.file_list.items())
        return files and os.path.isdir(os.path.join(self._base, "img_align_celeba"))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        img = _opened(os.path.join(self._base, "img_align_celeba", self.filename[index]))
        found = []
        for kind in self.target_type:
            if kind not in ("attr", "identity", "bbox", "landmarks"):
                raise ValueError(f'Target type "{kind}" is not recognized.')
            row = getattr(self, "landmarks_align" if kind == "landmarks" else kind)[index]
            found.append(row[0] if kind == "identity" else row)
        if self.transform is not None:
            img = self.transform(img)
        if not found:
            return img, None
        target = found[0] if len(found) == 1 else tuple(found)
        return img, target if self.target_transform is None else self.target_transform(target)

    def __len__(self) -> int:
        return len(self.attr)

    def extra_repr(self) -> str:
        return f"Target type: {self.target_type}\nSplit: {self.split}"


class _Caltech(_Listed):
    _folder, _pattern = "", ""
    _left_out: tuple[str, ...] = ()

    def __init__(
        self, root: str | os.PathLike, transform: Callable | None = None, target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(os.path.join(root, type(self).__name__.lower()), transform=transform,
                         target_transform=target_transform)  # fmt: skip
        base = self._prepared(download, self._folder)
        self.categories = [c for c in sorted(os.listdir(base)) if c not in self._left_out]
        self.index: list[int] = []
        self.y: list[int] = []
        self._image_files = []
        for label, kind in enumerate(self.categories):
            n = sum(name.endswith(".jpg") for name in os.listdir(os.path.join(base, kind)))
            self.index += range(1, n + 1)
            self.y += [label] * n
            names = [self._pattern.format(label + 1, i) for i in range(1, n + 1)]
            self._image_files += [os.path.join(base, kind, name) for name in names]
        self._labels = self.y

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._transformed(_opened(self._image_files[index]), self.y[index])


class Caltech101(_Caltech):
    """Things of 101 kinds (Fei-Fei et al. 2004). NotImplementedError for contours (target_type "annotation")."""

    _folder, _pattern, _left_out = "101_ObjectCategories", "image_{1:04d}.jpg", ("BACKGROUND_Google",)

    def __init__(
        self, root: str | os.PathLike, target_type: str | list[str] = "category", transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False,
    ) -> None:  # fmt: skip
        self.target_type = [target_type] if isinstance(target_type, str) else target_type
        for kind in self.target_type:
            verify_str_arg(kind, "target_type", ("category", "annotation"))
        if self.target_type != ["category"]:
            raise NotImplementedError(
                "contours of Caltech101 are not read: use target_type='category', and scipy.io.loadmat for their files"
            )
        super().__init__(root, transform, target_transform, download)

    def _download(self) -> None:
        url = "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip"
        download_and_extract_archive(url, self.root, md5="3138e1922a9193bfa496528edbbc45d0")  # type: ignore[arg-type]
        inner = os.path.join(self.root, "caltech-101", "101_ObjectCategories.tar.gz")  # type: ignore[arg-type]
        extract_archive(inner, self.root)


class Caltech256(_Caltech):
    """Things of 256 kinds (Griffin et al. 2007)."""

    _folder, _pattern = "256_ObjectCategories", "{0:03d}_{1:04d}.jpg"

    def _download(self) -> None:
        url = "https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar"
        download_and_extract_archive(url, self.root, md5="67b4f42ca05d46448c6bb8ecd2220f6d")  # type: ignore[arg-type]


class Omniglot(_Listed):
    """Characters of 50 alphabets (Lake et al. 2015), by 20 people each; background: the 30 alphabets to learn from."""

    folder = "omniglot-py"

    def __init__(
        self, root: str | os.PathLike, background: bool = True, transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False, loader: Callable | None = None,
    ) -> None:  # fmt: skip
        super().__init__(os.path.join(root, self.folder), transform=transform, target_transform=target_transform)
        self.background = background
        self.loader = loader or functools.partial(_opened, mode="L")
        self.target_folder = self._prepared(download, self._name())
        self._alphabets = sorted(os.listdir(self.target_folder))
        self._characters = [os.path.join(a, c) for a in self._alphabets
                            for c in sorted(os.listdir(os.path.join(self.target_folder, a)))]  # fmt: skip
        self._image_files, self._labels = [], []
        for label, character in enumerate(self._characters):
            base = os.path.join(self.target_folder, character)
            names = sorted(name for name in os.listdir(base) if name.endswith(".png"))
            self._image_files += [os.path.join(base, name) for name in names]
            self._labels += [label] * len(names)

    def _name(self) -> str:
        return "images_background" if self.background else "images_evaluation"

    def _download(self) -> None:
        md5 = "68d2efa1b9178cc56df9314c21c6e718" if self.background else "6b91aef0f799c5bb55b94e3f2daec811"
        url = f"https://raw.githubusercontent.com/brendenlake/omniglot/master/python/{self._name()}.zip"
        download_and_extract_archive(url, self.root, md5=md5)  # type: ignore[arg-type]


class USPS(VisionDataset):
    """Digits of letters, 16 by 16, grey (Hull 1994). data: uint8 (N, 16, 16).   targets: a list."""

    split_list = {
        "train": ["https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/usps.bz2", "usps.bz2",
                  "ec16c51db3855ca6c91edd34d0e9b197"],
        "test": ["https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/usps.t.bz2", "usps.t.bz2",
                 "8ea070ee2aca1ac39742fdd1ef5ed118"],
    }  # fmt: skip

    def __init__(
        self, root: str | os.PathLike, train: bool = True, transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        url, name, md5 = self.split_list["train" if train else "test"]
        path = os.path.join(self.root, name)  # type: ignore[arg-type]
        if download and not check_integrity(path, md5):
            download_url(url, self.root, name, md5=md5)  # type: ignore[arg-type]
        if not os.path.isfile(path):
            raise RuntimeError(f"Dataset not found at {path}. You can use download=True to download it")
        with bz2.open(path, "rt") as file:
            rows = [line.split() for line in file]
        pixels = np.array([[value.partition(":")[2] for value in row[1:]] for row in rows], np.float32)
        self.data = ((pixels.reshape(-1, 16, 16) + 1) / 2 * 255).astype(np.uint8)
        self.targets = [int(float(row[0])) - 1 for row in rows]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._transformed(pillow().fromarray(self.data[index]), self.targets[index])

    def __len__(self) -> int:
        return len(self.data)
