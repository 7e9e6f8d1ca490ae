"""Looking at what is recorded: calls come portion by portion, at the latest before they are executed."""

from __future__ import annotations

import threading
from typing import Any

from .trie import Call

_busy = threading.local()


class Scope:
    """Sees each call that this thread records between ``open`` and ``close``, after it was recorded.

    Subclasses implement ``portion``.  The calls come in portions: all since the last one, whenever the trace is about
    to be executed, a reverse pass begins, or somebody asks by :func:`settle`.
    """

    #: reverse passes must be made of recorded calls for it
    steps = False

    def __init__(self) -> None:
        self._trace: Any = None
        self._at = 1

    def open(self) -> None:
        from .trace import local

        settle()
        self._trace, self._at = local.trace, len(local.trace.values)
        local.scopes.append(self)

    def close(self) -> None:
        from .trace import local

        settle(upto=self)
        local.scopes.remove(self)

    def skip(self) -> None:
        """Do not look at what was recorded since the last portion."""
        from .trace import local

        self._trace, self._at = local.trace, len(local.trace.values)

    def settle(self, executing: bool) -> None:
        from .trace import local

        trace = local.trace
        start = self._at if self._trace is trace else 1
        self._trace, self._at = trace, len(trace.values)
        if self._at > start or executing:
            calls = [e for e in trace.state.graph().entries if type(e) is Call and e.first >= start]
            if calls or executing:
                self.portion(trace, calls, executing)

    def portion(self, trace: Any, calls: list[Call], executing: bool) -> None:
        """Take note of ``calls`` of the pending ``trace``; ``executing``: it is about to be executed."""
        raise NotImplementedError


def settling() -> bool:
    """Whether scopes are looking right now."""
    return getattr(_busy, "now", False)


def settle(executing: bool = False, upto: Scope | None = None) -> None:
    """Have the scopes of this thread look at what was recorded, the innermost first (up to ``upto``)."""
    from .trace import local

    if not local.scopes or settling():
        return
    _busy.now = True
    try:
        for scope in reversed(local.scopes):
            scope.settle(executing)
            if scope is upto:
                break
    finally:
        _busy.now = False


__all__ = ["Scope", "settle", "settling"]
