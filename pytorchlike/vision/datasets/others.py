"""SVHN, STL-10 and pictures made up."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ...tensor.random import Generator, default_generator
from .._host import pillow
from .utils import check_integrity, download_and_extract_archive, download_url, load_matlab, verify_str_arg
from .vision import VisionDataset

__all__ = ["STL10", "SVHN", "FakeData"]


class FakeData(VisionDataset):
    """Normal noise as pictures, with random classes; each item is the same whenever it is asked for.

    Items: (Pillow picture of ``image_size`` (C, H, W), int).
    """

    def __init__(
        self, size: int = 1000, image_size: tuple[int, int, int] = (3, 224, 224), num_classes: int = 10,
        transform: Callable | None = None, target_transform: Callable | None = None, random_offset: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(None, transform=transform, target_transform=target_transform)
        self.size, self.image_size, self.num_classes = size, tuple(image_size), num_classes
        self.random_offset = random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        from ..transforms.functional import to_pil_image

        if not 0 <= index < self.size:
            raise IndexError(f"{type(self).__name__} index out of range")
        seed = index + self.random_offset
        if default_generator.follows():  # torchvision's numbers
            source = Generator().manual_seed(seed)
            noise = source.draw(lambda twister: twister.normal(math.prod(self.image_size), np.float32, 0.0, 1.0))
            cls = int(source.draw(lambda twister: twister.integers(1, 0, self.num_classes))[0])
        else:
            rng = np.random.default_rng(seed)
            noise, cls = rng.standard_normal(self.image_size, np.float32), int(rng.integers(self.num_classes))
        # floats beyond [0, 1] wrap around, as in torchvision's pictures
        noise = noise.reshape(self.image_size).transpose(1, 2, 0)
        img = to_pil_image((noise * np.float32(255)).astype(np.int64).astype(np.uint8))
        return self._transformed(img, cls)

    def __len__(self) -> int:
        return self.size


class SVHN(VisionDataset):
    """House numbers, 32 by 32, RGB (Netzer et al. 2011); split: "train", "test" or "extra".

    data: uint8 (N, 3, 32, 32).   labels: int64 (N,); the digit 0 has label 0. The .mat files need SciPy.
    """

    _url = "http://ufldl.stanford.edu/housenumbers/"
    split_list = {
        "train": [_url + "train_32x32.mat", "train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"],
        "test": [_url + "test_32x32.mat", "test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"],
        "extra": [_url + "extra_32x32.mat", "extra_32x32.mat", "a93ce644f1a588dc4d68dda5feec44a7"],
    }

    def __init__(
        self, root: str | os.PathLike, split: str = "train", transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.split = verify_str_arg(split, "split", tuple(self.split_list))
        self.url, self.filename, self.file_md5 = self.split_list[split]
        path = os.path.join(self.root, self.filename)  # type: ignore[arg-type]
        if download:
            self.download()
        if not check_integrity(path, self.file_md5):
            raise RuntimeError(f"Dataset not found or corrupted at {path}. You can use download=True to download it")
        content = load_matlab(path)
        self.data = np.ascontiguousarray(content["X"].transpose(3, 2, 0, 1))
        self.labels = content["y"].astype(np.int64).reshape(-1) % 10

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        img = pillow().fromarray(np.ascontiguousarray(self.data[index].transpose(1, 2, 0)))
        return self._transformed(img, int(self.labels[index]))

    def __len__(self) -> int:
        return len(self.data)

    def download(self) -> None:
        """Download the file unless it is there."""
        download_url(self.url, self.root, self.filename, self.file_md5)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        return f"Split: {self.split}"


class STL10(VisionDataset):
    """Pictures of ten classes, 96 by 96, RGB (Coates et al. 2011), in the binary version of its files.

    split: "train", "test", "unlabeled" or "train+unlabeled" (label -1).   folds: 0 to 9, one of the folds to train on.
    data: uint8 (N, 3, 96, 96).   labels: int64 (N,). The MD5 of the archive is checked when it is downloaded.
    """

    base_folder = "stl10_binary"
    url = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
    filename = "stl10_binary.tar.gz"
    tgz_md5 = "91f7769df0f17e558f3565bffb0c7dfb"
    splits = ("train", "train+unlabeled", "unlabeled", "test")

    def __init__(
        self, root: str | os.PathLike, split: str = "train", folds: int | None = None,
        transform: Callable | None = None, target_transform: Callable | None = None, download: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.split = verify_str_arg(split, "split", self.splits)
        if folds is not None and (not isinstance(folds, int) or not 0 <= folds < 10):
            raise ValueError(f"Value for argument folds should be in the range [0, 10), but got {folds!r}.")
        self.folds = folds
        if download:
            self.download()
        data, labels = zip(*(self._load(part) for part in split.split("+")), strict=True)
        self.data, self.labels = np.concatenate(data), np.concatenate(labels)
        if folds is not None and "train" in split:
            with open(self._path("fold_indices.txt")) as file:
                chosen = np.array(file.read().splitlines()[folds].split(), np.int64)
            rest = np.arange(len(data[0]), len(self.data))
            keep = np.concatenate([chosen, rest])
            self.data, self.labels = self.data[keep], self.labels[keep]
        names = self._path("class_names.txt")
        self.classes = open(names).read().splitlines() if os.path.isfile(names) else None

    def _path(self, name: str) -> str:
        return os.path.join(self.root, self.base_folder, name)  # type: ignore[arg-type]

    def _load(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        path = self._path(f"{part}_X.bin")
        if not os.path.isfile(path):
            raise RuntimeError(f"Dataset not found at {path}. You can use download=True to download it")
        raw = np.fromfile(path, np.uint8)
        if raw.size % (3 * 96 * 96):
            raise RuntimeError(f"Dataset corrupted: {path} has {raw.size} bytes, no multiple of 3 x 96 x 96")
        images = raw.reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2)  # stored column by column
        if part == "unlabeled":
            return images, np.full(len(images), -1, np.int64)
        labels = np.fromfile(self._path(f"{part}_y.bin"), np.uint8).astype(np.int64) - 1
        if len(labels) != len(images):
            raise RuntimeError(
                f"Dataset corrupted: {path} has {len(images)} pictures, but there are {len(labels)} labels"
            )
        return images, labels

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        img = pillow().fromarray(np.ascontiguousarray(self.data[index].transpose(1, 2, 0)))
        return self._transformed(img, int(self.labels[index]))

    def __len__(self) -> int:
        return len(self.data)

    def download(self) -> None:
        """Download and unpack the archive unless the files are there."""
        if not os.path.isfile(self._path("train_X.bin")):
            download_and_extract_archive(self.url, self.root, filename=self.filename, md5=self.tgz_md5)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        return f"Split: {self.split}"
