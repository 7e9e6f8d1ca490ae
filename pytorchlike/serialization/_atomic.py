"""Replace a file as a whole: its path holds the old bytes or the new ones, whatever happens while writing."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import stat
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed anyhow
    fcntl = None  # type: ignore[assignment]

__all__ = ["replacing"]

_STREAM = 64 << 20  # bytes between two times that the disk is told to write


@contextlib.contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """An unbuffered binary file whose content replaces ``path`` when the block ends without an exception.

    The bytes go to a temporary file in the same directory, reach the disk, and only then take the name; an existing
    target lends its permissions, and a symbolic link stays one. If the block raises, the temporary file is removed and
    the old file is untouched. What a killed process left behind is removed by the next save of the same path. Pipes and
    devices are written to directly, as there is nothing to replace.

    Raises RuntimeError if the directory does not exist, IsADirectoryError if ``path`` is one, and OSError (with the
    errno of the failure) if the file cannot be written, for example because the disk is full.
    """
    target = os.path.realpath(path)
    directory, name = os.path.split(target)
    if not os.path.isdir(directory):
        raise RuntimeError(f"Parent directory {directory} does not exist.")
    old = os.stat(target) if os.path.exists(target) else None
    if old is not None and stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(21, "cannot save over a directory", path)
    if old is not None and not stat.S_ISREG(old.st_mode):
        with open(target, "wb", buffering=0) as file:
            yield file
        return
    prefix = f".pytorchlike-save-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}-"
    with _explained(path):
        _remove_stale(directory, prefix)
        file, temporary = _create(directory, prefix)
    try:
        with file:
            with _explained(path):
                yield file
                file.settle()
                if old is not None:
                    _like(file.fileno(), old)
                os.fsync(file.fileno())
                if fcntl is not None:
                    os.replace(temporary, target)
        if fcntl is None:
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_directory(directory)


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Let errors of the operating system say which save failed, and that the old file is as it was."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        reason = f"{os.strerror(error.errno)} while saving; what was at the path before is unchanged"
        raise OSError(error.errno, reason, path) from error


class _Streaming(io.FileIO):
    """An unbuffered file whose bytes go to the disk while further ones are being written, so that syncing is short."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "wb")
        self._since = 0
        self._thread: ThreadPoolExecutor | None = None
        self._sync: Future | None = None

    def write(self, data: Any, /) -> int | None:
        done = super().write(data)
        self._since += done or 0
        if self._since >= _STREAM and (self._sync is None or self._sync.done()):
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "pytorchlike-sync")
            if self._sync is not None:
                self._sync.result()  # the system reports a failure only once
            self._since = 0
            self._sync = self._thread.submit(getattr(os, "fdatasync", os.fsync), self.fileno())
        return done

    def settle(self) -> None:
        """Wait for what is on its way. Raises OSError where it did not arrive."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
            self._sync.result()  # type: ignore[union-attr]

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()
        super().close()


def _create(directory: str, prefix: str) -> tuple[_Streaming, str]:
    """A new locked file; the lock tells others that its writer lives."""
    while True:
        temporary = os.path.join(directory, f"{prefix}{secrets.token_hex(6)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        file = _Streaming(os.open(temporary, flags, 0o666))
        if fcntl is None:
            return file, temporary
        # A file system without locks leaves the file unlocked; nobody else can lock it there either.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file, temporary
        file.close()  # taken for a stale one in the instant before it was locked


def _remove_stale(directory: str, prefix: str) -> None:
    """Remove temporary files of this target whose writers are gone."""
    with os.scandir(directory) as entries:
        found = [entry.path for entry in entries if entry.name.startswith(prefix)]
    for stale in found:
        with contextlib.suppress(OSError):  # being written right now, or removed by another process meanwhile
            with open(stale, "rb") as file:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(stale)


def _like(fd: int, old: os.stat_result) -> None:
    """Permissions, and owner where allowed, of the file that is replaced."""
    if not hasattr(os, "fchown"):
        return
    now = os.fstat(fd)
    if (now.st_uid, now.st_gid) != (old.st_uid, old.st_gid):
        with contextlib.suppress(PermissionError):
            os.fchown(fd, old.st_uid, old.st_gid)
    os.fchmod(fd, stat.S_IMODE(old.st_mode))


def _sync_directory(directory: str) -> None:
    if os.name != "posix":
        return
    fd = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot sync directories; the rename is done all the same
            os.fsync(fd)
    finally:
        os.close(fd)
