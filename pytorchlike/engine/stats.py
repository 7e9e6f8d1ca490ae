"""Counters of what the engine did, a bounded log of compilations with their reasons, and who is told of all that."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from .errors import user_location


class Event(NamedTuple):
    """One compilation: what was compiled, for which user line, why then, and how long it took.

    cause: why it was not there already, see ``causes``.  ended: the user's line that had it executed.
    """

    kind: str  # "program" or "kernel"
    where: str
    why: str
    operations: int
    seconds: float
    cause: Any = None
    ended: tuple[str, int] = ("<unknown>", 0)


class Observer:
    """Is told what happens while it is among ``stats.observers``; does nothing with it."""

    def compiled(self, event: Event) -> None:
        """A program or a kernel was compiled."""

    def executed(self, reason: str, location: tuple[str, int], trace: Any) -> None:
        """A trace is about to be executed."""

    def read(self, location: tuple[str, int], pending: bool) -> None:
        """A value is about to be read; ``pending``: it has yet to be computed."""


class Stats:
    """Counts since the start of the process (or the last :meth:`reset`)."""

    def __init__(self) -> None:
        self.log: deque[Event] = deque(maxlen=512)
        #: why traces of different sizes could not share a program
        self.unlike: deque[str] = deque(maxlen=64)
        self.observers: list[Observer] = []
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
        self.unlike.clear()

    def compiled(self, event: Event) -> None:
        """Note a compilation, count it, and tell the observers."""
        if event.kind == "program":
            self.compiles += 1
            self.log.append(event)
        else:
            self.kernels += 1
        for observer in self.observers:
            observer.compiled(event)

    def executed(self, reason: str, trace: Any) -> None:
        """Tell the observers of an execution; called if there are any."""
        location = user_location()
        for observer in self.observers:
            observer.executed(reason, location, trace)

    def read(self, pending: bool) -> None:
        """Tell the observers that a value is read; called if there are any."""
        location = user_location()
        for observer in self.observers:
            observer.read(location, pending)

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
