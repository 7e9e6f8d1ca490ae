"""Batches from a worker to the main process: arrays through shared memory, the rest as a pickle.

The memory has no name: it is a file descriptor that travels over the socket to the main process, so that nothing is
left behind however either process ends. A segment that the main process no longer uses goes back to its worker and is
used again, since fresh memory costs more than the copy into it.
"""

import io
import mmap
import os
import pickle
import tempfile
import weakref
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

import numpy as np

from ....tensor import Tensor
from ....tensor._tensor import host_tensor

_ALIGN = 64  # what XLA needs to use memory as it is
_INLINE = 8192  # bytes up to which a message carries everything itself
_PAGE = 1 << 16


def array_of(tensor: Tensor) -> np.ndarray:
    """The elements in host memory, without a copy where that is possible."""
    return tensor._look()


def _in_memory_order(array: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """The elements as bytes in the order in which they lie, if they lie close, and the order of the dims there."""
    order = tuple(sorted(range(array.ndim), key=lambda d: -abs(array.strides[d])))
    if not array.transpose(order).flags.c_contiguous:
        order = tuple(range(array.ndim))
    return np.ascontiguousarray(array.transpose(order)).reshape(-1).view(np.uint8), order


def _array(raw: np.ndarray, dtype: np.dtype, shape: tuple[int, ...], order: tuple[int, ...]) -> np.ndarray:
    return raw.view(dtype).reshape([shape[d] for d in order]).transpose(np.argsort(order))


def _tensor(raw: np.ndarray, dtype: np.dtype, shape: tuple[int, ...], order: tuple[int, ...], leaf: bool) -> Tensor:
    made = host_tensor(_array(raw, dtype, shape, order), "cpu")
    return made.requires_grad_(True) if leaf else made


class _Pickler(pickle.Pickler):
    """Leaves the elements of arrays and tensors out of the pickle."""

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is Tensor:
            array = array_of(obj)
            raw, order = _in_memory_order(array)  # bytes, since buffers know no bfloat16
            return _tensor, (raw, array.dtype, array.shape, order, obj.requires_grad)
        if kind is np.ndarray and not obj.dtype.hasobject and not (obj.flags.c_contiguous or obj.flags.f_contiguous):
            raw, order = _in_memory_order(obj)
            return _array, (raw, obj.dtype, obj.shape, order)
        return NotImplemented


def _create(size: int) -> int:
    """Descriptor of new memory. OSError where there is not enough, rather than a signal when it is used."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("pytorchlike-batch")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size)
        else:
            os.ftruncate(fd, size)
    except OSError:
        os.close(fd)
        raise
    return fd


class Sender:
    """The worker's end. Messages are ``(epoch, number, pickle, where, dropped)``, ``where`` being the arrays' bytes
    themselves, or ``(segment, bytes, spans)`` of memory whose descriptor follows when it is new.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.segments: dict[int, mmap.mmap] = {}
        self.unused: set[int] = set()
        self.made = 0

    def free(self, segments: list[int]) -> None:
        """Take back memory that the main process no longer uses."""
        self.unused.update(segments)

    def send(self, epoch: int, number: int, answer: Any) -> None:
        """Send the answer to a task."""
        file, buffers = io.BytesIO(), []
        _Pickler(file, 5, buffer_callback=buffers.append).dump(answer)
        parts = [memoryview(file.getbuffer()), *(b.raw() for b in buffers)]
        sizes = [part.nbytes for part in parts]
        if sum(sizes) <= _INLINE:
            head, *rest = map(bytes, parts)
            self.connection.send((epoch, number, head, rest, ()))
            return
        spans, end = [], 0
        for size in sizes:
            spans.append((end, end + size))
            end += -(-size // _ALIGN) * _ALIGN
        segment, fd, dropped = self._take(end)
        try:
            memory = np.frombuffer(self.segments[segment], np.uint8)
            for (a, b), part in zip(spans, parts, strict=True):
                memory[a:b] = np.frombuffer(part, np.uint8) if b > a else 0
            size = len(self.segments[segment])
            self.connection.send((epoch, number, None, (segment, size if fd is not None else 0, spans), dropped))
            if fd is not None:
                send_handle(self.connection, fd, os.getppid())
        finally:
            if fd is not None:
                os.close(fd)

    def _take(self, size: int) -> tuple[int, int | None, tuple[int, ...]]:
        """A segment of at least ``size`` bytes, its descriptor if it is new, and the segments given up for it."""
        fits = [s for s in self.unused if size <= len(self.segments[s]) <= 8 * size + _PAGE]
        if fits:
            best = min(fits, key=lambda s: len(self.segments[s]))
            self.unused.remove(best)
            return best, None, ()
        dropped = tuple(self.unused)  # all of an ill-fitting size
        for s in dropped:
            del self.segments[s]
        self.unused.clear()
        size = -(-(size + size // 8) // _PAGE) * _PAGE  # with room for somewhat larger ones
        fd = _create(size)
        try:
            self.segments[self.made] = mmap.mmap(fd, size)
        except OSError:
            os.close(fd)
            raise
        self.made += 1
        return self.made - 1, fd, dropped


class Receiver:
    """The main process's end."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.segments: dict[int, mmap.mmap] = {}
        self.freed: list[int] = []

    def take_freed(self) -> list[int]:
        """Segments that nothing here refers to any more."""
        out = []
        while self.freed:
            out.append(self.freed.pop())
        return out

    def receive(self, wanted: int) -> tuple[int, tuple[Any] | None]:
        """Number of the next answer, and the answer in a tuple; or None if it belongs to another epoch."""
        epoch, number, head, where, dropped = self.connection.recv()
        for segment in dropped:
            del self.segments[segment]
        if head is not None:
            return number, (pickle.loads(head, buffers=where),) if epoch == wanted else None
        segment, size, spans = where
        if size:
            fd = recv_handle(self.connection)
            try:
                self.segments[segment] = mmap.mmap(fd, size)
            finally:
                os.close(fd)
        if epoch != wanted:
            self.freed.append(segment)
            return number, None
        memory = np.frombuffer(self.segments[segment], np.uint8)
        # Every array made of it refers to this one, so its end is the end of the last of them.
        weakref.finalize(memory, self.freed.append, segment).atexit = False
        head, *buffers = [memory[a:b] for a, b in spans]
        return number, (pickle.loads(head, buffers=buffers),)
