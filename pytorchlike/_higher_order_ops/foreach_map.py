"""``foreach_map``: a function of single tensors applied along lists of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def foreach_map(op: Callable[..., Any], *operands: Any, **kwargs: Any) -> tuple:
    """``op`` of the first entries of the lists among operands, of the second ones, and so on; other operands go to all.

    Raises:  RuntimeError if there is no list, or if their lengths differ.
    """
    lengths = {len(x) for x in operands if isinstance(x, (list, tuple))}
    if len(lengths) != 1:
        raise RuntimeError(f"foreach_map: lists of one length are needed, got lengths {sorted(lengths)}")
    (length,) = lengths
    columns = [x if isinstance(x, (list, tuple)) else [x] * length for x in operands]
    return tuple(op(*row, **kwargs) for row in zip(*columns, strict=True))
