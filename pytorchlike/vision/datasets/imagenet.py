"""ImageNet of the challenge of 2012 (Russakovsky et al. 2015), and ten of its classes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import pytorchlike as torch

from .folder import ImageFolder, default_loader, find_classes, make_dataset
from .utils import check_integrity, download_and_extract_archive, extract_archive, load_matlab, verify_str_arg
from .vision import VisionDataset

__all__ = ["ImageNet", "Imagenette"]

_META = "meta.bin"
# archive, MD5
_ARCHIVES = {
    "train": ("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e"),
    "val": ("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622"),
    "devkit": ("ILSVRC2012_devkit_t12.tar.gz", "fa75699e90414af021442c21a62c3abf"),
}


def _archive(root: str, part: str) -> str:
    """The archive, which the user has put into ``root``. RuntimeError if it is not there."""
    name, md5 = _ARCHIVES[part]
    path = os.path.join(root, name)
    if not check_integrity(path, md5):
        raise RuntimeError(
            f"The archive {name} is not present in the root directory or is corrupted. You need to download it "
            f"externally and place it in {root}."
        )
    return path


def _unpack_devkit(root: str) -> None:
    """``meta.bin``: ({WordNet's number: names}, WordNet's number of each picture for validation)."""
    path = _archive(root, "devkit")
    with tempfile.TemporaryDirectory() as place:
        extract_archive(path, place)
        data = os.path.join(place, "ILSVRC2012_devkit_t12", "data")
        synsets = load_matlab(os.path.join(data, "meta.mat"), squeeze_me=True)["synsets"]
        with open(os.path.join(data, "ILSVRC2012_validation_ground_truth.txt")) as file:
            truth = [int(line) for line in file]
    leaves = [entry for entry in synsets if entry[4] == 0]  # others have children
    numbers = {int(entry[0]): str(entry[1]) for entry in leaves}
    names = {str(entry[1]): tuple(str(entry[2]).split(", ")) for entry in leaves}
    torch.save((names, [numbers[i] for i in truth]), os.path.join(root, _META))


def _unpack_train(root: str, target: str) -> None:
    """An archive of archives, one for each class."""
    extract_archive(_archive(root, "train"), target)
    for name in os.listdir(target):
        path = os.path.join(target, name)
        extract_archive(path, os.path.splitext(path)[0], remove_finished=True)


def _unpack_val(root: str, target: str, kinds: list[str]) -> None:
    """Pictures side by side, which are sorted into directories of classes."""
    extract_archive(_archive(root, "val"), target)
    pictures = sorted(os.listdir(target))
    for kind in set(kinds):
        os.mkdir(os.path.join(target, kind))
    for kind, name in zip(kinds, pictures, strict=True):
        shutil.move(os.path.join(target, name), os.path.join(target, kind, name))


def _numbered(classes: list[tuple[str, ...]]) -> dict[str, int]:
    """The class of each name; a class has several."""
    return {name: i for i, several in enumerate(classes) for name in several}


class ImageNet(ImageFolder):
    """1000 kinds of things; split: "train" or "val".

    ``root`` holds the challenge's archives, which are unpacked at the first use, or what was unpacked before:
    ``train``, ``val``, and ``meta.bin``.
    classes: tuples of names.   wnids, wnid_to_idx: WordNet's numbers.
    """

    def __init__(self, root: str | os.PathLike, split: str = "train", **kwargs: Any) -> None:
        self.root = base = os.path.expanduser(root)
        self.split = verify_str_arg(split, "split", ("train", "val"))
        meta = os.path.join(base, _META)
        if not check_integrity(meta):
            _unpack_devkit(base)
        names, kinds = torch.load(meta, weights_only=True)
        if not os.path.isdir(self.split_folder):
            if split == "train":
                _unpack_train(base, self.split_folder)
            else:
                _unpack_val(base, self.split_folder, kinds)
        super().__init__(self.split_folder, **kwargs)
        self.root = base
        self.wnids, self.wnid_to_idx = self.classes, self.class_to_idx
        self.classes = [names[kind] for kind in self.wnids]
        self.class_to_idx = _numbered(self.classes)

    @property
    def split_folder(self) -> str:
        """The directory of the pictures."""
        return os.path.join(self.root, self.split)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        return f"Split: {self.split}"


class Imagenette(VisionDataset):
    """Ten kinds of ImageNet that are easily told apart; split: "train" or "val", size: "full", "320px" or "160px"."""

    _archives = {
        "full": ("imagenette2", "fe2fc210e6bb7c5664d602c3cd71e612"),
        "320px": ("imagenette2-320", "3df6f0d01a2c9592104656642f5e78a3"),
        "160px": ("imagenette2-160", "e793b78cc4c9e9a4ccc0c1155377a412"),
    }
    _names = {
        "n01440764": ("tench", "Tinca tinca"), "n02102040": ("English springer", "English springer spaniel"),
        "n02979186": ("cassette player",), "n03000684": ("chain saw", "chainsaw"),
        "n03028079": ("church", "church building"), "n03394916": ("French horn", "horn"),
        "n03417042": ("garbage truck", "dustcart"),
        "n03425413": ("gas pump", "gasoline pump", "petrol pump", "island dispenser"), "n03445777": ("golf ball",),
        "n03888257": ("parachute", "chute"),
    }  # fmt: skip

    def __init__(
        self, root: str | os.PathLike, split: str = "train", size: str = "full", download: bool = False,
        transform: Callable | None = None, target_transform: Callable | None = None, loader: Callable = default_loader,
    ) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self._split = verify_str_arg(split, "split", ("train", "val"))
        name, md5 = self._archives[verify_str_arg(size, "size", tuple(self._archives))]
        base = os.path.join(self.root, name)  # type: ignore[arg-type]
        if download and not os.path.isdir(base):
            url = f"https://s3.amazonaws.com/fast-ai-imageclas/{name}.tgz"
            download_and_extract_archive(url, self.root, md5=md5)  # type: ignore[arg-type]
        if not os.path.isdir(base):
            raise RuntimeError("Dataset not found. You can use download=True to download it.")
        folder = os.path.join(base, split)
        self.wnids, self.wnid_to_idx = find_classes(folder)
        self.classes = [self._names[kind] for kind in self.wnids]
        self.class_to_idx = _numbered(self.classes)
        self._samples, self.loader = make_dataset(folder, self.wnid_to_idx, extensions=".jpeg"), loader

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, label = self._samples[index]
        return self._transformed(self.loader(path), label)

    def __len__(self) -> int:
        return len(self._samples)
