"""Reading files by offset, large pieces and their checksums in several threads at once."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from ._crc import crc32, joined

__all__ = ["LARGE", "Source", "Threads", "open_raw"]

_CHUNK = 8 << 20
LARGE = 1 << 20  # bytes from which on other threads pay


class Source:
    """The bytes of a file from its present position on, read by offset.

    file:  a raw or buffered binary file, or any object with ``read``, ``seek`` and ``tell``.
    name:  what error messages call it.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name = file, name
        self.start = file.tell()
        file.seek(0, os.SEEK_END)
        self.size = max(file.tell() - self.start, 0)
        file.seek(self.start)
        self._fd = file.fileno() if isinstance(file, io.FileIO) and hasattr(os, "preadv") else None

    @property
    def parallel(self) -> bool:
        """Whether several threads may call ``read_into`` at the same time."""
        return self._fd is not None

    def read(self, offset: int, size: int) -> bytes:
        """At most ``size`` bytes from ``offset``, fewer only at the end of the file."""
        size = max(min(size, self.size - offset), 0)
        if self._fd is not None and size < _CHUNK:
            return os.pread(self._fd, size, self.start + offset)
        self.file.seek(self.start + offset)
        parts, got = [], 0
        while got < size:
            part = self.file.read(size - got)
            if not part:
                break
            parts.append(bytes(part))
            got += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` (of bytes) from ``offset``. Raises EOFError if the file has become too short for that."""
        if self._fd is None:
            self.file.seek(self.start + offset)
        readinto = getattr(self.file, "readinto", None)
        while view.nbytes:
            if self._fd is not None:
                got = os.preadv(self._fd, [view], self.start + offset)
            elif readinto is not None:
                got = readinto(view)
            else:
                part = self.file.read(min(view.nbytes, _CHUNK))
                got = len(part)
                view[:got] = part
            if not got:
                raise EOFError(f"{self.name}: unexpected end of file at byte {offset} of {self.size}")
            view, offset = view[got:], offset + got


class Threads:
    """Reads and sums large buffers in threads, piece by piece; small ones at once."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def read(self, source: Source, offset: int, view: memoryview) -> Callable[[], int]:
        """Begin to fill ``view`` from ``offset`` of the source. The answer waits for it and tells its CRC-32.

        EOFError there if the file has become too short. Until then the buffer's content is undefined.
        """

        def fill(piece: memoryview, start: int) -> int:
            return crc32(piece, lambda part, at: source.read_into(start + at, part))

        if not source.parallel:
            source.read_into(offset, view)
            return self.checksum(view)
        return self._in_pieces(fill, view, offset)

    def checksum(self, view: memoryview) -> Callable[[], int]:
        """Start on the CRC-32 of a buffer, which must not change before the answer is called for it."""
        return self._in_pieces(lambda piece, at: crc32(piece), view, 0)

    def _in_pieces(self, work: Callable[[memoryview, int], int], view: memoryview, offset: int) -> Callable[[], int]:
        size = view.nbytes
        if size < LARGE:
            crc = work(view, offset)
            return lambda: crc
        if self._pool is None:
            from ..tensor.functions_settings import get_num_threads  # here: reading a file by itself needs no JAX

            self._pool = ThreadPoolExecutor(min(get_num_threads(), 8), "pytorchlike-file")
        pieces = [
            (self._pool.submit(work, view[i : i + _CHUNK], offset + i), min(_CHUNK, size - i))
            for i in range(0, size, _CHUNK)
        ]
        return lambda: functools.reduce(lambda crc, piece: joined(crc, piece[0].result(), piece[1]), pieces, 0)

    def close(self) -> None:
        """Drop what has not begun and wait for the rest."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def open_raw(path: str) -> BinaryIO:
    """A path, opened for unbuffered reading: records are read straight to where they stay."""
    return open(path, "rb", buffering=0)
