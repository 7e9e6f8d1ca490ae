"""Arrays stacked on the host, for kernels that serve many of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np


def pile(arrays: Sequence[Any], rows: int, repeat: bool = False, dtype: Any = None) -> np.ndarray:
    """Arrays, or numbers of ``dtype``, one upon the other; what is left of the rows is zero, or repeats the first."""
    first = np.asarray(arrays[0])
    found = np.empty((rows, *first.shape), first.dtype if dtype is None else dtype)
    n = len(arrays)
    for k, a in enumerate(arrays):
        found[k] = a if type(a) is np.ndarray or dtype is not None else np.asarray(a)
    if n < rows:
        found[n:] = first if repeat else 0
    return found


@functools.lru_cache(256)
def zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The same array each time, which nobody writes to."""
    found = np.zeros(shape, dtype)
    found.flags.writeable = False
    return found
