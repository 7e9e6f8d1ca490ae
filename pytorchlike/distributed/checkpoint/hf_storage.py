"""Checkpoints as directories of sharded safetensors files: not there. Making a reader or writer raises."""

from __future__ import annotations

from ..._refused import Refused
from ._storage import StorageReader, StorageWriter

__all__ = ["HuggingFaceStorageReader", "HuggingFaceStorageWriter"]


_INSTEAD = ("use FileSystemReader and FileSystemWriter for sharded state, or safetensors.torch for one file of "
            "safetensors")  # fmt: skip


class HuggingFaceStorageWriter(Refused, StorageWriter):
    """Raises NotImplementedError."""

    _instead = _INSTEAD


class HuggingFaceStorageReader(Refused, StorageReader):
    """Raises NotImplementedError."""

    _instead = _INSTEAD
