"""Which tier serves a trace: one fused program, or one kernel per operation."""

from __future__ import annotations

from .config import config
from .trie import Call, Reverse, State

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
    if state.seen == 1 and _repetitive(state):
        return "ops"
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


def _repetitive(state: State) -> bool:
    """Whether a trace without a reverse pass is made of few different operations, as the filling of parameters is:
    compiling those is quicker than compiling all, and it is hardly ever run again."""
    kernels = set()
    calls = 0
    for e in state.entries():
        if type(e) is Reverse:
            return False
        if type(e) is Call:
            calls += 1
            kernels.add((e.kernel, e.metas))
    return calls >= 6 and 3 * len(kernels) <= calls
