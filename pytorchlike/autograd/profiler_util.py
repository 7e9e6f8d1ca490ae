"""What a profile is made of: events, their averages, and tables of them."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "Interval"]


class DeviceType(enum.Enum):
    """Where something ran, with PyTorch's numbers."""

    CPU, CUDA, MKLDNN, OPENGL, OPENCL, IDEEP, HIP, FPGA, MAIA, XLA, Vulkan, Metal, XPU, MPS, Meta, HPU = range(16)


class Shown:
    """Times as text: ``cpu_time_str`` and the like."""

    def __getattr__(self, name: str) -> str:
        if name.endswith("_str") and name.removesuffix("_str") in _TIMES:
            return _time(getattr(self, name.removesuffix("_str")))
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


_TIMES = ("cpu_time", "cpu_time_total", "self_cpu_time_total", "device_time", "device_time_total",
          "self_device_time_total")  # fmt: skip


class Interval:
    """Start and end of an event, in microseconds."""

    def __init__(self, start: float, end: float) -> None:
        self.start, self.end = start, end

    def elapsed_us(self) -> float:
        """How long it took."""
        return self.end - self.start


class FunctionEvent(Shown):
    """One operation, or one range of the user's.

    key, name: what it is.   time_range.   thread: its number.   cpu_children: events within it.   on_device: whether it
    ran on an accelerator.   input_shapes, stack, flops, cpu_memory_usage: as far as they were asked for.   is_user: a
    range of the user's.
    """

    count = 1

    def __init__(self, name: str, start: float, end: float, *, thread: int = 0, on_device: bool = False,
                 input_shapes: list | None = None, stack: list[str] | None = None, flops: int = 0, nbytes: int = 0,
                 is_user: bool = False) -> None:  # fmt: skip
        self.name = self.key = name
        self.time_range = Interval(start, end)
        self.thread, self.on_device, self.is_user = thread, on_device, is_user
        self.input_shapes = input_shapes or []
        self.stack = stack or []
        self.flops, self._nbytes = flops, nbytes
        self.cpu_children: list[FunctionEvent] = []
        self.cpu_parent: FunctionEvent | None = None

    @property
    def cpu_time_total(self) -> float:
        """Microseconds from start to end, as the host saw them."""
        return self.time_range.elapsed_us()

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds without those of the events within."""
        return self.cpu_time_total - sum(child.cpu_time_total for child in self.cpu_children)

    @property
    def device_time_total(self) -> float:
        """Microseconds on accelerators, of this and what is within."""
        return self.self_device_time_total + sum(child.device_time_total for child in self.cpu_children)

    @property
    def self_device_time_total(self) -> float:
        """Microseconds on accelerators, of this alone."""
        return self.cpu_time_total if self.on_device else 0.0

    @property
    def cpu_memory_usage(self) -> int:
        """Bytes of results on the host, of this and what is within."""
        return self.self_cpu_memory_usage + sum(child.cpu_memory_usage for child in self.cpu_children)

    @property
    def self_cpu_memory_usage(self) -> int:
        """Bytes of results on the host, of this alone."""
        return 0 if self.on_device else self._nbytes

    @property
    def device_memory_usage(self) -> int:
        """Bytes of results on accelerators, of this and what is within."""
        return self.self_device_memory_usage + sum(child.device_memory_usage for child in self.cpu_children)

    @property
    def self_device_memory_usage(self) -> int:
        """Bytes of results on accelerators, of this alone."""
        return self._nbytes if self.on_device else 0

    @property
    def device_type(self) -> DeviceType:
        """Where it took place."""
        return DeviceType.CUDA if self.on_device else DeviceType.CPU

    cpu_time = cpu_time_total
    device_time = device_time_total
    cuda_time = cuda_time_total = device_time_total

    def __repr__(self) -> str:
        return (
            f"<FunctionEvent name={self.name} cpu_time={_time(self.cpu_time_total)} "
            f"self_cpu_time={_time(self.self_cpu_time_total)} thread={self.thread} input_shapes={self.input_shapes}>"
        )


_SUMS = (
    "cpu_time_total", "self_cpu_time_total", "device_time_total", "self_device_time_total", "cpu_memory_usage",
    "self_cpu_memory_usage", "device_memory_usage", "self_device_memory_usage", "flops",
)  # fmt: skip


class FunctionEventAvg(Shown):
    """Events of the same key taken together: ``count`` of them, sums of what they have, and means."""

    def __init__(self, key: str = "Total") -> None:
        self.key, self.count, self.is_user = key, 0, False
        self.input_shapes: list = []
        self.stack: list[str] = []
        self.device_type = DeviceType.CPU
        for name in _SUMS:
            setattr(self, name, 0)

    def add(self, event: Any) -> FunctionEventAvg:
        """Take one more event, or another average, into account."""
        if self.count == 0:
            self.input_shapes, self.stack, self.is_user = event.input_shapes, event.stack, event.is_user
            self.device_type = event.device_type
        self.count += event.count
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(event, name))
        return self

    @property
    def cpu_time(self) -> float:
        """Mean of the microseconds from start to end."""
        return self.cpu_time_total / max(self.count, 1)  # type: ignore[attr-defined]

    @property
    def device_time(self) -> float:
        """Mean of the microseconds on accelerators."""
        return self.device_time_total / max(self.count, 1)  # type: ignore[attr-defined]

    @property
    def cuda_time(self) -> float:
        """``device_time`` under its older name."""
        return self.device_time

    @property
    def cuda_time_total(self) -> float:
        """``device_time_total`` under its older name."""
        return self.device_time_total  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return (
            f"<FunctionEventAvg key={self.key} self_cpu_time={_time(self.self_cpu_time_total)} "  # type: ignore[attr-defined]
            f"cpu_time={_time(self.cpu_time)} count={self.count} input_shapes={self.input_shapes}>"
        )


class EventList(list):
    """Events, or averages of them."""

    def __init__(self, events: Iterable[Any] = (), profile_memory: bool = False, with_flops: bool = False,
                 on_device: bool = False) -> None:  # fmt: skip
        super().__init__(events)
        self._profile_memory, self._with_flops, self._on_device = profile_memory, with_flops, on_device

    @property
    def self_cpu_time_total(self) -> float:
        """Sum of the microseconds."""
        return sum(event.self_cpu_time_total for event in self)

    def _like(self, events: Iterable[Any]) -> EventList:
        return EventList(events, self._profile_memory, self._with_flops, self._on_device)

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> EventList:
        """Averages by name; also by shapes of the inputs, and by the innermost ``n`` lines of the stack, if asked."""
        found: dict[tuple, FunctionEventAvg] = {}
        for event in self:
            key: tuple = (event.key,)
            if group_by_input_shape:
                key += (str(event.input_shapes),)
            if group_by_stack_n > 0:
                key += tuple(event.stack[:group_by_stack_n])
            if key not in found:
                found[key] = FunctionEventAvg(event.key)
            found[key].add(event)
        for average in found.values():
            if not group_by_input_shape:
                average.input_shapes = []
            average.stack = average.stack[:group_by_stack_n]
        return self._like(found.values())

    def total_average(self) -> FunctionEventAvg:
        """All taken together."""
        total = FunctionEventAvg()
        for event in self:
            total.add(event)
        return total

    def table(self, sort_by: str | None = None, row_limit: int = 100, max_src_column_width: int = 75,
              max_name_column_width: int = 55, max_shapes_column_width: int = 80, header: str | None = None,
              top_level_events_only: bool = False) -> str:  # fmt: skip
        """The events as text, the largest ``sort_by`` first: an attribute such as 'cpu_time_total',
        'self_cpu_time_total', 'device_time_total', 'cpu_memory_usage', 'flops' or 'count'. ``row_limit`` -1: all.

        AttributeError for what events do not have.
        """
        events = [e for e in self if not top_level_events_only or getattr(e, "cpu_parent", None) is None]
        if sort_by is not None:
            name = sort_by.replace("cuda_", "device_") if "cuda" in sort_by else sort_by
            events.sort(key=lambda e: getattr(e, name), reverse=True)
        whole = sum(e.self_cpu_time_total for e in self)
        device = sum(e.self_device_time_total for e in self)
        columns = [
            ("Name", lambda e: _cut(e.key, max_name_column_width)),
            ("Self CPU %", lambda e: _share(e.self_cpu_time_total, whole)),
            ("Self CPU", lambda e: _time(e.self_cpu_time_total)),
            ("CPU total %", lambda e: _share(e.cpu_time_total, whole)),
            ("CPU total", lambda e: _time(e.cpu_time_total)),
            ("CPU time avg", lambda e: _time(e.cpu_time)),
        ]
        if self._on_device:
            columns += [
                ("Self device", lambda e: _time(e.self_device_time_total)),
                ("Self device %", lambda e: _share(e.self_device_time_total, device)),
                ("Device total", lambda e: _time(e.device_time_total)),
            ]
        if self._profile_memory:
            columns += [("CPU Mem", lambda e: _bytes(e.cpu_memory_usage)),
                        ("Self CPU Mem", lambda e: _bytes(e.self_cpu_memory_usage))]  # fmt: skip
        columns.append(("# of Calls", lambda e: str(e.count)))
        if any(e.input_shapes for e in events):
            columns.append(("Input Shapes", lambda e: _cut(str(e.input_shapes), max_shapes_column_width)))
        if any(e.stack for e in events):
            columns.append(("Source Location", lambda e: _cut(e.stack[0] if e.stack else "", max_src_column_width)))
        if self._with_flops:
            columns.append(("Total MFLOPs", lambda e: f"{e.flops / 1e6:.3f}" if e.flops else "--"))
        shown = events if row_limit < 0 else events[:row_limit]
        cells = [[text for text, _ in columns], *([show(e) for _, show in columns] for e in shown)]
        widths = [max(len(row[k]) for row in cells) for k in range(len(columns))]
        rule = "  ".join("-" * w for w in widths)
        lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
        text = [rule, lines[0], rule, *lines[1:], rule, f"Self CPU time total: {_time(whole)}"]
        if self._on_device:
            text.append(f"Self device time total: {_time(device)}")
        return "\n".join(([header] if header else []) + text) + "\n"

    def __str__(self) -> str:
        return self.table()

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for Chrome's about:tracing and for Perfetto."""
        import json

        with open(path, "w") as file:
            json.dump({"traceEvents": self.chrome_events()}, file)

    def chrome_events(self) -> list[dict[str, Any]]:
        """The events as Chrome's trace format has them."""
        import os

        return [
            {
                "name": e.name, "ph": "X", "ts": e.time_range.start, "dur": e.cpu_time_total, "pid": os.getpid(),
                "tid": e.thread, "cat": "user_annotation" if e.is_user else "kernel" if e.on_device else "cpu_op",
                "args": {k: v for k, v in (("Input Dims", e.input_shapes), ("Call stack", e.stack), ("FLOPs", e.flops))
                         if v},
            }
            for e in self
        ]  # fmt: skip

    def nest(self) -> EventList:
        """Find out which events lie within which others, by their times and threads."""
        by_thread: dict[int, list[FunctionEvent]] = defaultdict(list)
        for event in self:
            by_thread[event.thread].append(event)
        for events in by_thread.values():
            events.sort(key=lambda e: (e.time_range.start, -e.time_range.end))
            open_: list[FunctionEvent] = []
            for event in events:
                while open_ and open_[-1].time_range.end < event.time_range.end:
                    open_.pop()
                if open_:
                    event.cpu_parent = open_[-1]
                    open_[-1].cpu_children.append(event)
                open_.append(event)
        return self


def _time(us: float) -> str:
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    return f"{us / 1e3:.3f}ms" if us >= 1e3 else f"{us:.3f}us"


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.2f}%" if whole else "0.00%"


def _bytes(n: float) -> str:
    for unit in ("b", "Kb", "Mb"):
        if abs(n) < 1024:
            return f"{n:.0f} {unit}" if unit == "b" else f"{n:.2f} {unit}"
        n /= 1024
    return f"{n:.2f} Gb"


def _cut(text: str, width: int) -> str:
    return text if width < 0 or len(text) <= width else text[: width - 3] + "..."
