"""Host memory as XLA wants it: at multiples of 64 bytes, where it takes arrays as they are instead of copying them."""

from __future__ import annotations

from collections.abc import Sequence

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
