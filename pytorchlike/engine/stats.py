"""Counters of what the engine did, and a bounded log of compilations with their reasons."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Event(NamedTuple):
    """One compilation: what was compiled, for which user line, why, and how long it took."""

    kind: str  # "program" or "kernel"
    where: str
    why: str
    operations: int
    seconds: float


class Stats:
    """Counts since the start of the process (or the last :meth:`reset`)."""

    def __init__(self) -> None:
        self.log: deque[Event] = deque(maxlen=512)
        self.reset()

    def reset(self) -> None:
        self.compiles = 0  # whole programs compiled
        self.kernels = 0  # single operations compiled
        self.interpreted = 0  # single operations prepared for NumPy
        self.misses = 0  # recorded operations not found in the trie
        self.flushes = 0
        self.fused_runs = 0
        self.op_runs = 0
        self.log.clear()

    def as_dict(self) -> dict[str, int]:
        return {
            "compiles": self.compiles,
            "kernels": self.kernels,
            "interpreted": self.interpreted,
            "misses": self.misses,
            "flushes": self.flushes,
            "fused_runs": self.fused_runs,
            "op_runs": self.op_runs,
        }


stats = Stats()
