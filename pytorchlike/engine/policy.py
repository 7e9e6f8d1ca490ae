"""Which tier serves a trace, one fused program or one kernel per operation; and whether a kernel is worth compiling."""

from __future__ import annotations

from typing import Any

from .config import config
from .trie import Call, Reverse, State

#: Fused programs compiled one after the other without any of them being used again.
_unused_in_a_row = 0

#: After that many programs that were never used again the structures are taken to be dynamic.
PATIENCE = 6
#: A trace seen that often is compiled whole even among dynamic ones.
HOT = 3


#: An operation is interpreted for new shapes when so many kernels of it exist already.
SHAPES = 4
#: Elements of an array above which XLA's threads and fusion are worth their compilation.
LARGE = 2_000_000
#: Nanoseconds that one interpretation may take.
SLOW = 20e6
#: Seconds spent on interpreting a kernel, after which it is compiled: about what that costs, so that the sum is never
#: much more than twice the better choice.
RENT = 0.05

_kernels: dict[Any, int] = {}


def interprets(kind: Any, place: Any, size: int) -> bool:
    """Whether a kernel met for the first time is left to NumPy.

    kind: what it is a kernel of, shapes and static arguments aside;  size: elements of its largest array.
    """
    if config.tier == "interpret":
        return getattr(place, "platform", None) == "cpu"
    if config.tier != "auto" or size > LARGE or getattr(place, "platform", None) != "cpu":
        return False
    count = _kernels[kind] = _kernels.get(kind, 0) + 1
    return count > SHAPES


def choose(state: State, reason: str) -> str:
    """'fused' or 'ops' for a trace without a program."""
    if config.tier in ("fused", "ops"):
        return config.tier
    if config.tier == "interpret":
        return "ops"
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
