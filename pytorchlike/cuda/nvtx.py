"""``torch.cuda.nvtx``: named ranges, shown by JAX's profiler (and by Nsight, through XLA's own annotations)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["mark", "range", "range_end", "range_pop", "range_push", "range_start"]


class _Ranges(threading.local):
    def __init__(self) -> None:
        self.open: list[Any] = []


_ranges = _Ranges()
_started: dict[int, Any] = {}


def _annotation(msg: str) -> Any:
    import jax

    made = jax.profiler.TraceAnnotation(msg)
    made.__enter__()
    return made


def range_push(msg: str) -> int:
    """Open a named range; returns how many are open around it."""
    _ranges.open.append(_annotation(msg))
    return len(_ranges.open) - 1


def range_pop() -> int:
    """Close the innermost range; returns how many stay open, or -1 if none was."""
    if not _ranges.open:
        return -1
    _ranges.open.pop().__exit__(None, None, None)
    return len(_ranges.open)


def range_start(msg: str) -> int:
    """Open a range that may end anywhere; returns its handle."""
    made = _annotation(msg)
    _started[id(made)] = made
    return id(made)


def range_end(range_id: int) -> None:
    """Close the range of a handle."""
    _started.pop(range_id).__exit__(None, None, None)


def mark(msg: str) -> None:
    """A moment with a name."""
    _annotation(msg).__exit__(None, None, None)


@contextlib.contextmanager
def range(msg: str, *args: Any, **kwargs: Any) -> Iterator[None]:
    """A named range around a block, or a function as decorator; ``msg.format(*args, **kwargs)`` is its name."""
    range_push(msg.format(*args, **kwargs))
    try:
        yield
    finally:
        range_pop()
