"""``torch.monitor``: statistics over time windows, and events that handlers are told of."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np

__all__ = ["Aggregation", "COUNT", "Event", "EventHandlerHandle", "MAX", "MEAN", "MIN", "STAT_EVENT", "SUM", "Stat",
           "TensorboardEventHandler", "VALUE", "data_value_t", "log_event", "register_event_handler",
           "unregister_event_handler"]

#: The name of the events that :class:`Stat` logs.
STAT_EVENT = "torch.monitor.Stat"


class Aggregation(enum.Enum):
    """What a :class:`Stat` makes of the values of a window."""

    VALUE = 1
    MEAN = 2
    COUNT = 3
    SUM = 4
    MAX = 5
    MIN = 6


VALUE, MEAN, COUNT, SUM, MAX, MIN = Aggregation
_OF = {VALUE: lambda v: v[-1] if v else 0.0, MEAN: lambda v: sum(v) / len(v) if v else 0.0, COUNT: len,
       SUM: sum, MAX: lambda v: max(v, default=0.0), MIN: lambda v: min(v, default=0.0)}  # fmt: skip


class data_value_t:
    """What an event's data may be, for annotations: str, float, int or bool."""


class Event:
    """Something that happened: ``name``, ``timestamp`` and ``data``, a dict of strings and numbers."""

    def __init__(self, name: str, timestamp: datetime, data: dict[str, Any]) -> None:
        self.name, self.timestamp, self.data = name, timestamp, data

    def __repr__(self) -> str:
        return f"Event(name={self.name!r}, timestamp={self.timestamp}, data={self.data})"


class EventHandlerHandle:
    """What :func:`unregister_event_handler` takes."""

    def __init__(self, callback: Callable[[Event], Any]) -> None:
        self._callback = callback


_handlers: list[EventHandlerHandle] = []


def register_event_handler(callback: Callable[[Event], Any]) -> EventHandlerHandle:
    """Call ``callback(event)`` for each event that is logged."""
    made = EventHandlerHandle(callback)
    _handlers.append(made)
    return made


def unregister_event_handler(handler: EventHandlerHandle) -> None:
    """Do not call it any more."""
    if handler in _handlers:
        _handlers.remove(handler)


def log_event(event: Event) -> None:
    """Tell all handlers."""
    for handler in list(_handlers):
        handler._callback(event)


class Stat:
    """Values over time, told as an event by each window: ``{"name.mean": ...}`` for each of `aggregations`.

    window_size: how long a window is; the first value after its end has it logged.  max_samples: how many values a
    window takes at most, after which it is logged.
    """

    def __init__(self, name: str, aggregations: list[Aggregation], window_size: timedelta,
                 max_samples: int = 2**63 - 1) -> None:
        self.name = name
        self._kinds, self._window, self._most = list(aggregations), window_size.total_seconds(), max_samples
        self._values: list[float] = []
        self._begin = time.monotonic()
        self._lock = threading.Lock()

    def add(self, v: float) -> None:
        """Add a value."""
        with self._lock:
            self._log_if(time.monotonic() - self._begin >= self._window)
            self._values.append(float(v))
            self._log_if(len(self._values) >= self._most)

    def get(self) -> dict[Aggregation, float]:
        """The aggregations of the present window so far."""
        with self._lock:
            return {kind: float(_OF[kind](self._values)) for kind in self._kinds}

    @property
    def count(self) -> int:
        """The number of values in the present window."""
        return len(self._values)

    def _log_if(self, over: bool) -> None:
        if over:
            if self._values:
                data = {f"{self.name}.{k.name.lower()}": float(_OF[k](self._values)) for k in self._kinds}
                log_event(Event(STAT_EVENT, datetime.now(), data))
            self._values, self._begin = [], time.monotonic()


class TensorboardEventHandler:
    """A handler that writes the statistics to a ``SummaryWriter``."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def __call__(self, event: Event) -> None:
        if event.name == STAT_EVENT:
            for key, value in event.data.items():
                self._writer.add_scalar(key, np.float64(value), walltime=event.timestamp.timestamp())
