"""What the data sets share: where their files are, and how one is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ... import Tensor
from ...utils.data import Dataset

__all__ = ["AudioDataset", "fetch"]


def fetch(url: str, root: str | os.PathLike, name: str | None = None) -> None:
    """Download an archive into ``root`` and unpack it there."""
    from ...vision.datasets.utils import download_and_extract_archive

    download_and_extract_archive(url, os.fspath(root), filename=name)


def load(path: str | os.PathLike, rate: int | None = None) -> Tensor:
    """The waveform of a file; ValueError if its rate is not the data set's."""
    from .._io import load as read

    waveform, found = read(path)
    if rate is not None and found != rate:
        raise ValueError(f"sample rate should be {rate}, but got {found} ({path})")
    return waveform


class AudioDataset(Dataset):
    """Items found by walking files; ``_walker`` names them."""

    _walker: list[Any]

    def __len__(self) -> int:
        return len(self._walker)

    def _require(self, path: str | os.PathLike, url: str | None = None) -> Path:
        found = Path(path)
        if not found.exists():
            from_where = f", which is published at {url}" if url else ""
            raise RuntimeError(
                f"The path {found} doesn't exist. Unpack {type(self).__name__}'s archive{from_where} there, or use "
                "`download=True` to download it where that is offered"
            )
        return found
