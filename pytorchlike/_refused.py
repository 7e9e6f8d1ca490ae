"""Classes whose names are known and that are not there."""

from __future__ import annotations

from typing import Any

__all__ = ["Refused"]


class Refused:
    """Making one raises NotImplementedError: the name of the class, and ``_instead``, which says why and what to do."""

    _instead = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kind = type(self)
        space = kind.__module__.replace(__package__, "torch", 1)
        raise NotImplementedError(f"{space}.{kind.__qualname__} is not there: {self._instead}")
