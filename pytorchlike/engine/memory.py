"""Host memory as XLA wants it: aligned, so that it takes arrays without a copy; and kept for the next run.  And when
Python looks for garbage."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import sys
import threading
from collections.abc import Callable, Sequence

import numpy as np

ALIGN = 64
#: Below this many bytes a second copy costs less than finding an aligned address.
ALIGN_FROM = 4096


def aligned_empty(shape: Sequence[int], np_dtype: np.dtype) -> np.ndarray:
    """A writable, C-contiguous, uninitialised array; from 4 KiB on it starts at a multiple of 64 bytes."""
    np_dtype = np.dtype(np_dtype)
    size = np_dtype.itemsize
    for n in shape:
        size *= n
    if size < ALIGN_FROM:
        return np.empty(shape, np_dtype)
    raw = np.empty(size + ALIGN, np.uint8)
    start = -raw.ctypes.data % ALIGN
    return raw[start : start + size].view(np_dtype).reshape(shape)


def aligned(array: np.ndarray) -> np.ndarray:
    """The array itself, or a copy if XLA would have to copy it at each use."""
    if array.nbytes < ALIGN_FROM or array.ctypes.data % ALIGN == 0:
        return array
    out = aligned_empty(array.shape, array.dtype)
    out[...] = array
    return out


@functools.cache
def keep_large_blocks() -> Callable[[int], int] | None:
    """Have the C library keep large blocks that are freed, up to an eighth of the machine's memory (2 GiB at most).

    XLA allocates what a program needs anew for each run.  glibc gives blocks above 32 MiB back to the system at once,
    so that the next run meets every page of them for the first time: the step of a small convolutional network took
    twice as long.  So it does with what threads other than the first have from heaps of their own, of 64 MiB each,
    however it is told to keep them: all take from the first one's.  That must be said before XLA has its threads.

    Not where the user has told the C library something else, or ``PYTORCHLIKE_MALLOC=system``.  Returns what gives back
    all that is free, or None where nothing was changed.
    """
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX")
    told = any(k in os.environ for k in names) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if not sys.platform.startswith("linux") or told or os.environ.get("PYTORCHLIKE_MALLOC", "").lower() == "system":
        return None
    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # another C library
        return None
    most = min(size // 8, 2**31 - 1)
    mmap_threshold, trim_threshold, arena_max = -3, -1, -8
    if not mallopt(mmap_threshold, most):
        return None
    mallopt(trim_threshold, most)
    mallopt(arena_max, 1)
    return trim


class Uncollected:
    """``with Uncollected():`` Python does not look for garbage meanwhile, in any thread.

    To trace and compile a program makes objects by the hundred thousand, of which hardly any are garbage, and Python
    goes through all that there are whenever a quarter more have come: a fifth of the time to the first step with a warm
    cache.  What somebody else has switched off stays off.  An interrupt on the way in or out loses nothing: the
    object's end is the end of the pause.
    """

    __slots__ = ()

    _lock = threading.RLock()
    _pausing: set[int] = set()
    _was_on = False

    def __enter__(self) -> None:
        cls = Uncollected
        with cls._lock:
            if not cls._pausing:
                cls._was_on = gc.isenabled()
            cls._pausing.add(id(self))
            gc.disable()

    def __exit__(self, *error: object) -> None:
        cls, me = Uncollected, id(self)
        with cls._lock:
            if me in cls._pausing:
                if len(cls._pausing) == 1 and cls._was_on:
                    gc.enable()
                cls._pausing.discard(me)

    __del__ = __exit__
