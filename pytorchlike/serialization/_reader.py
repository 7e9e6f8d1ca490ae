"""``torch.PyTorchFileReader``: the records of a file of PyTorch's, one by one."""

from __future__ import annotations

import os
from typing import BinaryIO

from ._reading import Source, open_raw
from ._zip import ZipReader

__all__ = ["PyTorchFileReader"]


class PyTorchFileReader:
    """Reads records of what ``torch.save`` wrote, by their names below the archive's folder, such as 'data.pkl'.

    name_or_buffer: a path, or a file object with ``read``, ``seek`` and ``tell``. RuntimeError for another file, or
    for a record that is damaged or not there.
    """

    def __init__(self, name_or_buffer: str | os.PathLike[str] | BinaryIO) -> None:
        if isinstance(name_or_buffer, (str, os.PathLike)):
            file, name = open_raw(os.fspath(name_or_buffer)), os.fspath(name_or_buffer)
        else:
            file, name = name_or_buffer, getattr(name_or_buffer, "name", "the file")
        self._zip = ZipReader(Source(file, name))

    def get_record(self, name: str) -> bytes:
        """The bytes of a record."""
        return self._zip.read(name)

    def has_record(self, name: str) -> bool:
        """Whether there is a record of that name."""
        return name in self._zip

    def get_all_records(self) -> list[str]:
        """The names of all records."""
        return self._zip.names()

    def get_record_size(self, name: str) -> int:
        """The number of bytes of a record."""
        return self._zip.locate(name)[1]

    def get_record_offset(self, name: str) -> int:
        """Where a record's bytes begin in the file."""
        return self._zip.locate(name)[0]
