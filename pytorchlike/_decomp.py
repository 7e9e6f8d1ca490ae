"""``torch._decomp``: how PyTorch takes inner operators apart for graphs of them, which are not made here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["core_aten_decompositions", "decomposition_table", "get_decompositions"]

#: Operator -> function of simpler ones: empty, as JAX takes operators apart itself.
decomposition_table: dict[Any, Callable] = {}


def core_aten_decompositions() -> dict[Any, Callable]:
    """An empty table, to which libraries add their own for ``make_fx``."""
    return {}


def get_decompositions(aten_ops: Iterable[Any], type: str = "post_autograd") -> dict[Any, Callable]:
    """What there is of the table for these operators: nothing."""
    return {}
