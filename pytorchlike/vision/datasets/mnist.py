"""MNIST and what has its format (yann.lecun.com/exdb/mnist): idx files of bytes, plain or compressed by gzip."""

from __future__ import annotations

import gzip
import os
import urllib.error
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ...tensor import Tensor
from .._host import pillow, tensor_of
from .utils import check_integrity, download_and_extract_archive, download_url, extract_archive, verify_str_arg
from .vision import VisionDataset

__all__ = ["EMNIST", "KMNIST", "MNIST", "FashionMNIST"]

_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """The array in an idx file. ValueError if it is none, or cut off."""
    opener = gzip.open if os.fspath(path).endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            data = file.read()
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} is corrupted: {error}") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES:
        raise ValueError(f"{path} is no idx file: it begins with {data[:4]!r}")
    start = 4 + 4 * data[3]
    shape = tuple(np.frombuffer(data[4:start], ">u4").astype(int).tolist())
    dtype = np.dtype(_TYPES[data[2]])
    size = int(np.prod(shape)) * dtype.itemsize
    if len(shape) != data[3] or len(data) - start != size:
        raise ValueError(f"{path} is corrupted: {len(data) - start} bytes of data, but shape {shape} needs {size}")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def read_image_file(path: str) -> Tensor:
    """The pictures of an idx file, uint8 (N, H, W)."""
    array = read_idx(path)
    if array.dtype != np.uint8 or array.ndim != 3:
        raise ValueError(f"{path} holds {array.dtype} of shape {array.shape}, not pictures: uint8 (N, H, W)")
    return tensor_of(array)


def read_label_file(path: str) -> Tensor:
    """The labels of an idx file, int64 (N,)."""
    array = read_idx(path)
    if array.dtype != np.uint8 or array.ndim != 1:
        raise ValueError(f"{path} holds {array.dtype} of shape {array.shape}, not labels: uint8 (N,)")
    return tensor_of(array.astype(np.int64))


class MNIST(VisionDataset):
    """Handwritten digits, 28 by 28: 60 000 to train, 10 000 to test.

    root: files lie in ``root/MNIST/raw``.   data: uint8 (N, 28, 28).   targets: int64 (N,).
    Items: (Pillow picture "L", int). Raises RuntimeError if the files are missing and ``download`` is False.
    """

    mirrors = ["https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"]
    resources = [
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ]
    classes = ["0 - zero", "1 - one", "2 - two", "3 - three", "4 - four", "5 - five", "6 - six", "7 - seven",
               "8 - eight", "9 - nine"]  # fmt: skip

    def __init__(
        self, root: str | os.PathLike, train: bool = True, transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        if download:
            self.download()
        if not self._check_exists():
            raise RuntimeError(
                f"Dataset not found in {self.raw_folder}. You can use download=True to download it, or put "
                f"{', '.join(name for name, _ in self.resources)} there"
            )
        self.data, self.targets = self._load_data()
        if len(self.data) != len(self.targets):
            raise ValueError(f"{self.raw_folder} has {len(self.data)} pictures, but {len(self.targets)} labels")
        self._pixels = self.data._look()

    def _stems(self) -> tuple[str, str]:
        kind = "train" if self.train else "t10k"
        return f"{kind}-images-idx3-ubyte", f"{kind}-labels-idx1-ubyte"

    def _file(self, stem: str) -> str | None:
        """The plain or the compressed file."""
        for name in (stem, stem + ".gz"):
            path = os.path.join(self.raw_folder, name)
            if os.path.isfile(path):
                return path
        return None

    def _load_data(self) -> tuple[Tensor, Tensor]:
        images, labels = self._stems()
        return read_image_file(self._file(images)), read_label_file(self._file(labels))  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        data = self.data
        pixels = self._pixels if isinstance(index, int) else data._look()
        return self._transformed(pillow().fromarray(pixels[index]), int(self.targets[index]))

    def __len__(self) -> int:
        return len(self.data)

    @property
    def raw_folder(self) -> str:
        """Where the files lie."""
        return os.path.join(self.root, type(self).__name__, "raw")  # type: ignore[arg-type]

    @property
    def processed_folder(self) -> str:
        """Where older versions kept what they made of them."""
        return os.path.join(self.root, type(self).__name__, "processed")  # type: ignore[arg-type]

    @property
    def class_to_idx(self) -> dict[str, int]:
        """From names of classes to labels."""
        return {name: i for i, name in enumerate(self.classes)}

    def _check_exists(self) -> bool:
        return all(self._file(stem) is not None for stem in self._stems())

    def download(self) -> None:
        """Download the files unless they are there; the mirrors are tried one after the other."""
        if all(self._file(os.path.splitext(name)[0]) is not None for name, _ in self.resources):
            return
        for name, md5 in self.resources:
            for mirror in self.mirrors:
                try:
                    download_url(mirror + name, self.raw_folder, name, md5)
                    break
                except urllib.error.URLError:
                    if mirror == self.mirrors[-1]:
                        raise
            extract_archive(os.path.join(self.raw_folder, name))

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class FashionMNIST(MNIST):
    """Articles of clothing, in MNIST's format (Xiao et al. 2017, arXiv:1708.07747)."""

    mirrors = ["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"]
    resources = [
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ]
    classes = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
               "Ankle boot"]  # fmt: skip


class KMNIST(MNIST):
    """Japanese characters, in MNIST's format (Clanuwat et al. 2018, arXiv:1812.01718)."""

    mirrors = ["http://codh.rois.ac.jp/kmnist/dataset/kmnist/"]
    resources = [
        ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
        ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
        ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
        ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
    ]
    classes = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]


class EMNIST(MNIST):
    """Handwritten letters and digits, in MNIST's format (Cohen et al. 2017, arXiv:1702.05373).

    split: "byclass", "bymerge", "balanced", "letters", "digits" or "mnist". Pictures are stored transposed.
    """

    url = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
    md5 = "58c8d27c78d21e728a6bc7b3cc06412e"
    splits = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
    _digits = [*"0123456789"]
    _letters = [chr(c) for c in (*range(65, 91), *range(97, 123))]
    _merged = sorted({*_digits, *_letters} - {*"cijklmopsuvwxyz"})
    classes_split_dict = {
        "byclass": sorted([*_digits, *_letters]), "bymerge": _merged, "balanced": _merged,
        "letters": ["N/A", *map(chr, range(97, 123))], "digits": _digits, "mnist": _digits,
    }  # fmt: skip

    def __init__(self, root: str | os.PathLike, split: str, **kwargs: Any) -> None:
        self.split = verify_str_arg(split, "split", self.splits)
        self.classes = self.classes_split_dict[split]
        self.resources = [(f"emnist-{split}-{kind}-{what}.gz", "") for kind in ("train", "test")
                          for what in ("images-idx3-ubyte", "labels-idx1-ubyte")]  # fmt: skip
        super().__init__(root, **kwargs)

    def _stems(self) -> tuple[str, str]:
        start = f"emnist-{self.split}-{'train' if self.train else 'test'}"
        return f"{start}-images-idx3-ubyte", f"{start}-labels-idx1-ubyte"

    def download(self) -> None:
        """Download and unpack the archive of all splits unless this split is there."""
        if self._check_exists():
            return
        download_and_extract_archive(self.url, self.raw_folder, md5=self.md5)
        folder = os.path.join(self.raw_folder, "gzip")
        for name in os.listdir(folder):
            if name.endswith(".gz") and check_integrity(os.path.join(folder, name)):
                extract_archive(os.path.join(folder, name), self.raw_folder)
