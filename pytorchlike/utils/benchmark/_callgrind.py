"""What valgrind's callgrind counted, as data: for looking at, and comparing, results that were stored."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ._measure import TaskSpec

__all__ = ["CallgrindStats", "CopyIfCallgrind", "FunctionCount", "FunctionCounts"]


class FunctionCount(NamedTuple):
    """Instructions of one function."""

    count: int
    function: str


@dataclasses.dataclass(repr=False, eq=False, frozen=True)
class FunctionCounts:
    """Instructions by function, the most first; two can be added and subtracted.

    inclusive: whether what a function calls counts for it.
    """

    _data: tuple[FunctionCount, ...]
    inclusive: bool
    truncate_rows: bool = True
    _linewidth: int | None = None

    def __iter__(self) -> Iterator[FunctionCount]:
        yield from self._data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, item: Any) -> FunctionCount | FunctionCounts:
        found = self._data[item]
        return dataclasses.replace(self, _data=found) if isinstance(item, slice) else found

    def __repr__(self) -> str:
        rows = list(self._data)
        if self.truncate_rows and len(rows) > 18:
            rows = [*rows[:9], FunctionCount(0, "..."), *rows[-9:]]
        width = max((len(f"{c}") for c, _ in rows), default=0)
        limit = (self._linewidth or 80) - width - 4
        lines = [f"  {'...' if f == '...' else c:>{width}}  {f if len(f) <= limit else f[: limit - 3] + '...'}"
                 for c, f in rows]  # fmt: skip
        return "\n".join([object.__repr__(self), *lines, "", f"Total: {self.sum()}"])

    def __add__(self, other: FunctionCounts) -> FunctionCounts:
        return self._merge(other, lambda n: n)

    def __sub__(self, other: FunctionCounts) -> FunctionCounts:
        return self._merge(other, lambda n: -n)

    def __mul__(self, other: int | float) -> FunctionCounts:
        return self._from_dict({f: int(c * other) for c, f in self._data}, self.inclusive)

    def transform(self, map_fn: Callable[[str], str]) -> FunctionCounts:
        """The counts under other names; those that get the same one are added."""
        counts: dict[str, int] = defaultdict(int)
        for c, f in self._data:
            counts[map_fn(f)] += c
        return self._from_dict(counts, self.inclusive)

    def filter(self, filter_fn: Callable[[str], bool]) -> FunctionCounts:
        """Only the functions whose name is wanted."""
        return dataclasses.replace(self, _data=tuple(x for x in self._data if filter_fn(x.function)))

    def sum(self) -> int:
        """All instructions."""
        return sum(c for c, _ in self._data)

    def denoise(self) -> FunctionCounts:
        """Without what differs from run to run: the dictionary lookups of Python."""
        return self.filter(lambda f: not re.search(r"dictobject\.c:(lookdict_unicode|dict_lookup)", f))

    def _merge(self, other: FunctionCounts, sign: Callable[[int], int]) -> FunctionCounts:
        if self.inclusive != other.inclusive:
            raise AssertionError("Cannot merge inclusive and exclusive counts.")
        counts: dict[str, int] = defaultdict(int)
        for c, f in self._data:
            counts[f] += c
        for c, f in other._data:
            counts[f] += sign(c)
        return self._from_dict(counts, self.inclusive)

    @staticmethod
    def _from_dict(counts: dict[str, int], inclusive: bool) -> FunctionCounts:
        rows = sorted((FunctionCount(c, f) for f, c in counts.items() if c), reverse=True)
        return FunctionCounts(tuple(rows), inclusive=inclusive)


@dataclasses.dataclass(repr=False, eq=False, frozen=True)
class CallgrindStats:
    """One result of ``Timer.collect_callgrind``: of a statement, and of an empty one as the baseline."""

    task_spec: TaskSpec
    number_per_run: int
    built_with_debug_symbols: bool
    baseline_inclusive_stats: FunctionCounts
    baseline_exclusive_stats: FunctionCounts
    stmt_inclusive_stats: FunctionCounts
    stmt_exclusive_stats: FunctionCounts
    stmt_callgrind_out: str | None

    def __repr__(self) -> str:
        noisy, quiet = self.counts(denoise=False), self.counts(denoise=True)
        told = f"{noisy} instructions, {quiet} without Python's lookups ({self.number_per_run} runs)"
        return f"{object.__repr__(self)}\n{self.task_spec.title}\n  {told}"

    def stats(self, inclusive: bool = False) -> FunctionCounts:
        """Instructions by function."""
        return self.stmt_inclusive_stats if inclusive else self.stmt_exclusive_stats - self.baseline_exclusive_stats

    def counts(self, *, denoise: bool = False) -> int:
        """All instructions of the statement, those of the baseline taken off."""
        found = self.stmt_exclusive_stats
        return (found.denoise() if denoise else found).sum() - self.baseline_exclusive_stats.sum()

    def delta(self, other: CallgrindStats, inclusive: bool = False) -> FunctionCounts:
        """By how many instructions this result differs from another one."""
        return self.stats(inclusive=inclusive) - other.stats(inclusive=inclusive)

    def as_standardized(self) -> CallgrindStats:
        """The same with paths cut to what two machines share."""

        def cut(counts: FunctionCounts) -> FunctionCounts:
            return counts.transform(lambda f: re.sub(r"[^\s:]*/(?=[^/\s:]+:)", "", f))

        names = ("baseline_inclusive_stats", "baseline_exclusive_stats", "stmt_inclusive_stats", "stmt_exclusive_stats")
        return dataclasses.replace(self, **{n: cut(getattr(self, n)) for n in names})


class CopyIfCallgrind:
    """Marks a global of a ``Timer`` to be copied into callgrind's process.

    ``setup``: statements that the process needs before it can read the value.
    """

    def __init__(self, value: Any, *, setup: str | None = None) -> None:
        for kind in (int, float, complex, str, bytes, bool, type(None), list, tuple, dict, set):
            if isinstance(value, kind):
                raise ValueError(f"{type(value).__name__} is copied anyway and needs no CopyIfCallgrind")
        self._value, self._setup = value, setup

    @property
    def value(self) -> Any:
        """What is marked."""
        return self._value

    @property
    def setup(self) -> str | None:
        """The statements that come before."""
        return self._setup

    @staticmethod
    def unwrap_all(globals: dict[str, Any]) -> dict[str, Any]:
        """The globals without the marks."""
        return {k: v.value if isinstance(v, CopyIfCallgrind) else v for k, v in globals.items()}
