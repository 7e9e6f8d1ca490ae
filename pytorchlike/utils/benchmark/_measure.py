"""Measurements, and how they are told."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Measurement", "TaskSpec", "ordered_unique", "select_unit", "trim_sigfig", "unit_to_english"]

_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_ENGLISH = {"ns": "nanosecond", "us": "microsecond", "ms": "millisecond", "s": "second"}


@dataclass(frozen=True)
class TaskSpec:
    """What is timed: the statement, what comes before it, and its labels."""

    stmt: str
    setup: str
    global_setup: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """The labels, or the statement without any."""
        if self.label is not None:
            return self.label + (f": {self.sub_label}" if self.sub_label else "")
        return self.stmt if "\n" not in self.stmt else f"stmt:\n{self.stmt}"

    def summarize(self) -> str:
        """Labels, and what comes before."""
        lines = [self.title, self.description or "", f"setup: {self.setup}" if self.setup != "pass" else ""]
        return "\n".join(line for line in lines if line)


@dataclass(repr=False)
class Measurement:
    """Times of a statement: ``raw_times`` in seconds, each of ``number_per_run`` runs."""

    number_per_run: int
    raw_times: list[float]
    task_spec: TaskSpec
    metadata: dict[Any, Any] | None = field(default=None)

    @property
    def times(self) -> list[float]:
        """Seconds of one run, by measurement."""
        return [t / self.number_per_run for t in self.raw_times]

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return statistics.median(self.times)

    @property
    def mean(self) -> float:
        """The mean, in seconds."""
        return statistics.fmean(self.times)

    @property
    def iqr(self) -> float:
        """Between the quartiles, in seconds."""
        if len(self.times) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.times, n=4, method="inclusive")
        return high - low

    @property
    def significant_figures(self) -> int:
        """How many digits of the median mean something, from the spread of the times."""
        if len(self.times) < 2 or not self.iqr:
            return 3
        error = self.iqr / 1.35 / math.sqrt(len(self.times))
        return max(1, min(4, int(math.log10(self.median / error)) if error < self.median else 1))

    @property
    def has_warnings(self) -> bool:
        """Whether the times spread by more than a tenth."""
        return self.iqr > 0.1 * self.median

    @property
    def title(self) -> str:
        """The labels."""
        return self.task_spec.title

    @property
    def env(self) -> str:
        """The environment's label."""
        return self.task_spec.env or "Unspecified env"

    @property
    def as_row_name(self) -> str:
        """The name of its row in a table."""
        return self.task_spec.sub_label or self.task_spec.stmt or "[Unknown]"

    @staticmethod
    def merge(measurements: Iterable[Measurement]) -> list[Measurement]:
        """Measurements of the same task put together."""
        groups: dict[TaskSpec, list[Measurement]] = {}
        for each in measurements:
            groups.setdefault(each.task_spec, []).append(each)
        return [
            Measurement(1, [t for m in group for t in m.times], spec, group[0].metadata)
            for spec, group in groups.items()
        ]

    def __repr__(self) -> str:
        unit, scale = select_unit(self.median)
        shown = trim_sigfig(self.median / scale, self.significant_figures)
        runs = f"{len(self.raw_times)} measurement{'s' * (len(self.raw_times) > 1)}, {self.number_per_run} runs "
        lines = [
            f"<{__name__.rsplit('.', 1)[0]}.Measurement object at {hex(id(self))}>",
            self.task_spec.summarize(),
            f"  {'Median: ' if len(self.times) > 1 else ''}{shown:g} {unit}",
        ]
        if len(self.times) > 3:
            lines.append(f"  IQR:    {trim_sigfig(self.iqr / scale, 3):g} {unit}")
        lines.append(
            f"  {runs}per measurement, {self.task_spec.num_threads} thread{'s' * (self.task_spec.num_threads > 1)}"
        )
        if self.has_warnings:
            lines.append(f"  WARNING: the times spread by {self.iqr / self.median * 100:.0f}% of their median")
        return "\n".join(lines)


def select_unit(t: float) -> tuple[str, float]:
    """The unit in which a time is best told, and its length in seconds."""
    for unit in ("s", "ms", "us"):
        if t >= _UNITS[unit]:
            return unit, _UNITS[unit]
    return "ns", _UNITS["ns"]


def unit_to_english(u: str) -> str:
    """The unit's name."""
    return _ENGLISH[u]


def trim_sigfig(x: float, n: int) -> float:
    """``x`` rounded to ``n`` significant digits."""
    if x == 0:
        return 0.0
    return round(x, n - 1 - math.floor(math.log10(abs(x))))


def ordered_unique(elements: Iterable[Any]) -> list[Any]:
    """The elements without repetitions, in their order."""
    return list(dict.fromkeys(elements))
