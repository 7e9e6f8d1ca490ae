"""Checkpoints as directories of sharded safetensors files: not there. Making a reader or writer raises."""

from __future__ import annotations

from typing import Any, NoReturn

from ._storage import StorageReader, StorageWriter

__all__ = ["HuggingFaceStorageReader", "HuggingFaceStorageWriter"]


def _refuse(name: str) -> NoReturn:
    raise NotImplementedError(
        f"{name} is not there: use FileSystemReader and FileSystemWriter for sharded state, or safetensors.torch for "
        "one file of safetensors"
    )


class HuggingFaceStorageWriter(StorageWriter):
    """Raises NotImplementedError."""

    def __init__(self, path: str, *args: Any, **kwargs: Any) -> None:
        _refuse("HuggingFaceStorageWriter")


class HuggingFaceStorageReader(StorageReader):
    """Raises NotImplementedError."""

    def __init__(self, path: str, *args: Any, **kwargs: Any) -> None:
        _refuse("HuggingFaceStorageReader")
