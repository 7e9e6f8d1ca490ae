"""Data sets of text: iterables over local files, which are fetched and unpacked if they can be."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlparse

from ...utils.data import IterableDataset, get_worker_info

__all__ = ["CACHE", "Source", "TextDataset", "dataset"]

#: Where files are kept unless a call says otherwise.
CACHE = os.path.join(os.path.expanduser(os.environ.get("TORCH_HOME", "~/.cache/torch")), "text")


class TextDataset(IterableDataset):
    """Items made anew in each pass; the workers of a loader share them out.

    ``map``, ``filter``, ``batch``, ``shuffle``, ``rows2columnar`` give another, as those of torchtext's data pipes;
    ``sharding_filter`` and ``set_shuffle`` are accepted, since the former is always done.
    """

    def __init__(self, make: Callable[[], Iterable], shards: bool = True) -> None:
        self._make, self._shards = make, shards

    def __iter__(self) -> Iterator:
        items = iter(self._make())
        worker = get_worker_info() if self._shards else None
        return items if worker is None else itertools.islice(items, worker.id, None, worker.num_workers)

    def _then(self, change: Callable[[Iterable], Iterable]) -> TextDataset:
        return TextDataset(_Then(self, change), shards=False)

    def map(self, fn: Callable, input_col: int | None = None) -> TextDataset:
        """Each item changed by ``fn``, or its part ``input_col``."""
        if input_col is None:
            return self._then(lambda items: (fn(x) for x in items))
        return self._then(
            lambda items: (tuple(fn(v) if i == input_col else v for i, v in enumerate(x)) for x in items)
        )  # fmt: skip

    def filter(self, filter_fn: Callable[[Any], bool]) -> TextDataset:
        """The items for which ``filter_fn`` is true."""
        return self._then(lambda items: (x for x in items if filter_fn(x)))

    def batch(self, batch_size: int, drop_last: bool = False) -> TextDataset:
        """Lists of ``batch_size`` items; the last may be shorter unless it is dropped."""

        def batches(items: Iterable) -> Iterator[list]:
            for rows in _batched(items, batch_size):
                if len(rows) == batch_size or not drop_last:
                    yield list(rows)

        return self._then(batches)

    def rows2columnar(self, column_names: list[str]) -> TextDataset:
        """Batches as dicts of lists."""
        return self._then(lambda items: ({n: [r[i] for r in b] for i, n in enumerate(column_names)} for b in items))

    def shuffle(self, *, buffer_size: int = 10000) -> TextDataset:
        """In an order drawn by Python's ``random``, within a buffer."""

        def shuffled(items: Iterable) -> Iterator:
            rows: list = []
            for x in items:
                if len(rows) < buffer_size:
                    rows.append(x)
                    continue
                i = random.randrange(buffer_size)
                rows[i], x = x, rows[i]
                yield x
            random.shuffle(rows)
            yield from rows

        return self._then(shuffled)

    def sharding_filter(self) -> TextDataset:
        """This data set: workers share it out anyway."""
        return self

    def set_shuffle(self, shuffle: bool) -> TextDataset:
        """This data set, or a shuffled one."""
        return self.shuffle() if shuffle else self


class _Then:
    def __init__(self, source: Iterable, change: Callable[[Iterable], Iterable]) -> None:
        self.source, self.change = source, change

    def __call__(self) -> Iterable:
        return self.change(self.source)


def _batched(items: Iterable, size: int) -> Iterator[tuple]:
    it = iter(items)
    while rows := tuple(itertools.islice(it, size)):
        yield rows


@dataclass(frozen=True)
class Files:
    """Where a data set's files are: the file of each split, relative to its folder, and what they come out of.

    archives: URL, and the name to keep it under, for each split or ("") for all.
    hashes: by the same keys, the SHA-256 that what is downloaded must have, where a program has said one.
    """

    name: str
    splits: dict[str, str]
    archives: dict[str, tuple[str, str]] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)

    def folders(self, root: str) -> list[str]:
        base = os.path.expanduser(root)
        return [os.path.join(base, "datasets", self.name), os.path.join(base, self.name), base]

    def path(self, root: str, split: str, wanted: str | None = None) -> str:
        """The file of a split, found below ``root`` or fetched; RuntimeError that says where it should be otherwise."""
        file = self.splits[split] if wanted is None else wanted
        folders = self.folders(root)
        for folder in folders:
            if os.path.exists(os.path.join(folder, file)):
                return os.path.join(folder, file)
        url, archive = self.archives.get(split, self.archives.get("", ("", "")))
        unpacked = archive != file
        for folder in folders:
            if unpacked and archive and os.path.isfile(os.path.join(folder, archive)):
                return self._unpacked(folder, archive, file)
        if not url:
            raise RuntimeError(
                f"{self.name}: there is no {file} in {', '.join(folders)}"
                + (f", and no {archive} to unpack; it cannot be downloaded by a program" if archive else "")
            )
        from ...vision.datasets.utils import download_url

        download_url(url, folders[0], archive)
        self._check(os.path.join(folders[0], archive), self.hashes.get(split, self.hashes.get("")))
        return self._unpacked(folders[0], archive, file) if unpacked else os.path.join(folders[0], file)

    def _check(self, path: str, wanted: str | None) -> None:
        if wanted is None:
            return
        with open(path, "rb") as file:
            got = hashlib.file_digest(file, "sha256").hexdigest()
        if got != wanted:
            os.remove(path)
            raise RuntimeError(f"{self.name}: the file at {path} has the hash {got}, expected {wanted}; it was removed")

    def _unpacked(self, folder: str, archive: str, file: str) -> str:
        from ...vision.datasets.utils import extract_archive

        source = os.path.join(folder, archive)
        if archive.endswith(".gz") and not archive.endswith(".tar.gz"):
            target: str | None = None
        else:
            target = folder
        extract_archive(source, target)
        found = os.path.join(folder, file)
        if not os.path.exists(found):
            raise RuntimeError(f"{self.name}: {source} has no {file}")
        return found


class _Addresses(MutableMapping):
    """The URL of each split, as one can read and change it."""

    def __init__(self, archives: dict[str, tuple[str, str]]) -> None:
        self._archives = archives

    def __getitem__(self, split: str) -> str:
        return self._archives[split][0]

    def __setitem__(self, split: str, url: str) -> None:
        self._archives[split] = (url, os.path.basename(urlparse(url).path))

    def __delitem__(self, split: str) -> None:
        del self._archives[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self._archives)

    def __len__(self) -> int:
        return len(self._archives)


class Source:
    """Where a data set comes from, as the module that torchtext has for it: a program may change it.

    URL: an address, or addresses by split.   MD5: likewise the hashes (SHA-256, in spite of the name) that were set.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    @property
    def URL(self) -> str | MutableMapping[str, str]:
        addresses = _Addresses(self._files.archives)
        return addresses[""] if "" in addresses else addresses

    @URL.setter
    def URL(self, value: Any) -> None:
        _Addresses(self._files.archives).update(value if hasattr(value, "items") else {"": value})

    @property
    def MD5(self) -> str | None | dict[str, str]:
        hashes = self._files.hashes
        return hashes.get("") if "" in self._files.archives else hashes

    @MD5.setter
    def MD5(self, value: Any) -> None:
        self._files.hashes.update(value if hasattr(value, "items") else {"": value})


def dataset(
    files: Files, read: Callable[..., Iterable], doc: str, default: tuple[str, ...] | None = None, **options: Any
) -> Callable[..., Any]:  # fmt: skip
    """The function of a data set: ``(root, split, **options)`` gives a TextDataset, or a tuple for several splits.

    read(path, split): the items of a file; with options it is called as read(files, root, split, **options).
    """
    splits = default or tuple(files.splits)

    def make(root: str = CACHE, split: str | tuple[str, ...] = splits, **given: Any) -> Any:
        unknown = set(given) - set(options)
        if unknown:
            raise TypeError(f"{files.name}() got an unexpected keyword argument '{unknown.pop()}'")
        chosen = (split,) if isinstance(split, str) else tuple(split)
        for each in chosen:
            if each not in splits:
                raise ValueError(f"Given selection {split!r} of splits is not supported for dataset {files.name}. "
                                 f"Please choose from {splits}.")  # fmt: skip
        made = [TextDataset(_Reader(files, read, root, each, {**options, **given})) for each in chosen]
        return made[0] if isinstance(split, str) else tuple(made)

    make.__name__ = make.__qualname__ = files.name
    make.__doc__ = f"{doc}\n\nsplit: {', '.join(splits)}; a tuple of them gives a tuple.   root: the files' folder."
    make.source = Source(files)  # type: ignore[attr-defined]
    make.splits = _ClassesSplits(files.name)  # type: ignore[attr-defined]
    return make


class _ClassesSplits:
    """``splits`` of the class of this name that torchtext 0.8 had."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> tuple:
        from ..legacy import datasets

        if self.name not in datasets.__all__:
            raise NotImplementedError(
                f"{self.name}.splits of torchtext 0.8 is not provided; use {self.name}(root, split)"
            )
        return getattr(datasets, self.name).splits(*args, **kwargs)


class _Reader:
    """What makes the items of a split; its files are looked for at once."""

    def __init__(self, files: Files, read: Callable, root: str, split: str, options: dict[str, Any]) -> None:
        self.read = read
        self.args: tuple = (files, os.fspath(root), split) if options else (files.path(os.fspath(root), split), split)
        self.options = options
        if options:
            read(*self.args, **options)

    def __call__(self) -> Iterable:
        return self.read(*self.args, **self.options)
