"""Which tier serves a trace: one fused program, or one kernel per operation."""

from __future__ import annotations

from .config import config
from .trie import State

#: Fused programs compiled one after the other without any of them being used again.
_unused_in_a_row = 0

#: After that many programs that were never used again the structures are taken to be dynamic.
PATIENCE = 6
#: A trace seen that often is compiled whole even among dynamic ones.
HOT = 3


def choose(state: State, reason: str) -> str:
    """'fused' or 'ops' for a trace without a program."""
    if config.tier in ("fused", "ops"):
        return config.tier
    state.seen += 1
    if _unused_in_a_row >= PATIENCE and state.seen < HOT:
        return "ops"
    return "fused"


def compiled() -> None:
    """Take note of a compilation."""
    global _unused_in_a_row
    _unused_in_a_row += 1


def used_again() -> None:
    """Take note that a compiled program served a second time."""
    global _unused_in_a_row
    _unused_in_a_row = 0

