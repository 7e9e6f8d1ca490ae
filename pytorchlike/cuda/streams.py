"""``torch.cuda.streams``: see ``_streams.py`` for what streams and events mean here."""

from __future__ import annotations

from typing import Any, NoReturn

from .. import _streams

__all__ = ["Event", "ExternalStream", "Stream"]


class Stream(_streams.Stream):
    """A stream of a GPU; RuntimeError without one."""

    _kind = "cuda"

    @classmethod
    def _event(cls) -> Event:
        return Event()


class ExternalStream(Stream):
    """Refused: XLA cannot be told to use a stream of somebody else's."""

    def __init__(self, stream_ptr: int, device: Any = None, **kwargs: Any) -> NoReturn:
        raise NotImplementedError("ExternalStream: XLA cannot be told to use a stream of somebody else's")


class Event(_streams.Event):
    """An event; ``Event(enable_timing=True)`` measures wall time."""

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False, external: bool = False
    ) -> None:
        super().__init__(None, enable_timing, blocking, interprocess, external)
