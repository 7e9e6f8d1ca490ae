"""Streams and events: XLA orders operations by their data, so a stream here is an identity and events are clocks."""

from __future__ import annotations

import time
from typing import Any

import jax

from .engine import flush
from .tensor.device import as_device, current_index, device, device_count

__all__ = ["Event", "Stream", "StreamContext", "current_stream", "synchronize"]


def synchronize(where: device | None = None) -> None:
    """Execute what is pending in this thread, and wait until every array (of one device) is there."""
    flush("synchronize")
    arrays = jax.live_arrays()
    if where is not None:
        wanted = where.jax()
        arrays = [a for a in arrays if wanted in a.sharding.device_set]
    jax.block_until_ready(arrays)


def _accelerator(given: Any) -> device:
    """A ``device=`` argument as a device of an accelerator; the current one if None."""
    if given is None:
        kind = next((k for k in ("cuda", "tpu") if device_count(k)), "cpu")
        return device(kind, current_index(kind)) if kind != "cpu" else device("cpu")
    return (device(given) if isinstance(given, int) else as_device(given)).canonical()


class Stream:
    """A queue of work on a device.

    Operations depend on each other by their data alone, whichever stream is current, so the results are those of
    correctly synchronised streams; waiting for a stream waits for the device. ``with stream:`` makes it the current
    one. ``device``: the accelerator here (or the CPU) if None.   ``priority``: XLA has none; 0 and negative numbers are
    taken as PyTorch takes them, as hints.
    """

    _kind: str | None = None
    _next_id = 1

    def __init__(self, device: Any = None, priority: int = 0, **kwargs: Any) -> None:
        if device is None and self._kind is not None:
            device = self._kind
        self.device = _accelerator(device)
        if self._kind is not None:
            self.device.jax()  # raises if it is not available
        self.priority = priority
        self.stream_id = kwargs.pop("stream_id", None)
        if kwargs:
            raise TypeError(f"Stream() got an unexpected keyword argument '{next(iter(kwargs))}'")
        if self.stream_id is None:
            self.stream_id = Stream._next_id
            Stream._next_id += 1

    @property
    def device_index(self) -> int:
        """Index of the device."""
        return self.device.index or 0

    @property
    def device_type(self) -> str:
        """Type of the device."""
        return self.device.type

    @property
    def cuda_stream(self) -> int:
        """Refused: XLA does not show its streams."""
        raise NotImplementedError("cuda_stream: XLA owns the GPU's streams and does not show their handles")

    def synchronize(self) -> None:
        """Wait until all work of the device is done."""
        synchronize(self.device)

    def query(self) -> bool:
        """Whether all work is done; waits for it, so that the answer is True."""
        self.synchronize()
        return True

    def wait_stream(self, stream: Stream) -> None:
        """Later operations come after those of another stream: they do, wherever they use its results."""

    def wait_event(self, event: Event) -> None:
        """Later operations come after an event: they do, wherever they use results from before it."""

    def record_event(self, event: Event | None = None) -> Event:
        """Record an event (a new one if None) and return it."""
        event = type(self)._event() if event is None else event
        event.record(self)
        return event

    @classmethod
    def _event(cls) -> Event:
        return Event()

    def __enter__(self) -> Stream:
        _current.setdefault(self.device, []).append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        _current[self.device].pop()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stream):
            return NotImplemented
        return (self.device, self.stream_id) == (other.device, other.stream_id)

    def __hash__(self) -> int:
        return hash((self.device, self.stream_id))

    def __repr__(self) -> str:
        return (
            f"torch.Stream device_type={self.device.type}, device_index={self.device_index}, stream_id={self.stream_id}"
        )


_current: dict[device, list[Stream]] = {}


def current_stream(where: Any = None, kind: type[Stream] = Stream) -> Stream:
    """The innermost stream of a device that is entered, else its default stream (of class ``kind``)."""
    at = _accelerator(where)
    entered = _current.get(at)
    return entered[-1] if entered else kind(at, stream_id=0)


class StreamContext:
    """``with torch.cuda.stream(s)``: makes ``s`` the current stream; None changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        if self.stream is not None:
            self.stream.__enter__()

    def __exit__(self, *error: Any) -> None:
        if self.stream is not None:
            self.stream.__exit__(*error)


class Event:
    """A point in the order of operations, to wait for or to measure time by.

    With ``enable_timing``, ``record`` executes what is pending and waits for it, then looks at the clock, so that
    ``start.elapsed_time(end)`` is the wall time, in milliseconds, of what was done in between (in PyTorch, the time
    on the device). ``blocking`` and ``interprocess`` are PyTorch's hints about how to wait and who may; the latter is
    refused.
    """

    def __init__(
        self, device: Any = None, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False,
        external: bool = False,
    ) -> None:  # fmt: skip
        if interprocess or external:
            raise NotImplementedError("Event: XLA's work cannot be waited for in another process or by CUDA code")
        self.device = None if device is None else _accelerator(device)
        self.enable_timing, self.blocking = enable_timing, blocking
        self._time: float | None = None
        self._recorded = False

    def record(self, stream: Stream | None = None) -> None:
        """Mark the present point."""
        if self.enable_timing:
            synchronize()
            self._time = time.perf_counter()
        self._recorded = True

    def wait(self, stream: Stream | None = None) -> None:
        """Later operations come after the event: they do, wherever they use results from before it."""

    def synchronize(self) -> None:
        """Wait until everything before the event is done."""
        if self._recorded:
            synchronize()

    def query(self) -> bool:
        """Whether everything before the event is done; waits for it, so that the answer is True."""
        self.synchronize()
        return True

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to a later one; ValueError unless both measure time and are recorded."""
        if not (self.enable_timing and end_event.enable_timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._time is None or end_event._time is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        return (end_event._time - self._time) * 1e3

    def __repr__(self) -> str:
        return f"torch.Event({'recorded' if self._recorded else 'not recorded'}, enable_timing={self.enable_timing})"
