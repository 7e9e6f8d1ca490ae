"""``torch.fx._compatibility``: marks of how stable a function is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def compatibility(is_backward_compatible: bool) -> Callable[[T], T]:
    """A decorator that returns what it is given."""
    return lambda fn: fn
