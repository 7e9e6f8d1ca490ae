"""The number of threads, for a block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ...tensor.functions_settings import get_num_threads, set_num_threads

__all__ = ["set_torch_threads"]


@contextlib.contextmanager
def set_torch_threads(n: int) -> Iterator[None]:
    """``torch.set_num_threads(n)`` within the block, which warns: XLA's threads are chosen when it starts."""
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)
