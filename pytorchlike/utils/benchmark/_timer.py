"""Timing a statement."""

from __future__ import annotations

import ast
import enum
import textwrap
import time
import timeit
from collections.abc import Callable
from typing import Any, NoReturn

from ...engine import flush
from ._measure import Measurement, TaskSpec

__all__ = ["Language", "Timer", "timer"]


def timer() -> float:
    """The time in seconds, once everything that was recorded or started is done."""
    from ..._streams import synchronize

    synchronize()
    return time.perf_counter()


def _ran(value: Any = None) -> None:
    """Execute what the statement has recorded, while its value is alive: what nobody asks for is not computed."""
    flush("a timed statement ends")


def _running(stmt: str) -> str:
    """The statement, followed by :func:`_ran` of its value."""
    tree = ast.parse(stmt)
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        called = ast.Call(ast.Name("_ran", ast.Load()), [tree.body[-1].value], [])
        tree.body[-1] = ast.Expr(called)
        return ast.unparse(ast.fix_missing_locations(tree))
    return f"{stmt}\n_ran()"


class Language(enum.Enum):
    """Languages of statements; only Python can be timed."""

    PYTHON = 0
    CPP = 1


class Timer:
    """Times a Python statement, as :class:`timeit.Timer`, with what it records executed and waited for.

    stmt, setup:      source texts (``setup`` runs before each measurement).   globals: the names that they see.
    label, sub_label, description, env: for tables.
    num_threads:      noted with the results; XLA's threads are as many as it has (see ``torch.set_num_threads``).

    A statement's first run compiles; :meth:`timeit` and the others run it a few times before they measure.
    """

    def __init__(
        self, stmt: str = "pass", setup: str = "pass", global_setup: str = "", timer: Callable[[], float] = timer,
        globals: dict[str, Any] | None = None, label: str | None = None, sub_label: str | None = None,
        description: str | None = None, env: str | None = None, num_threads: int = 1,
        language: Language | str = Language.PYTHON,
    ) -> None:  # fmt: skip
        if not isinstance(stmt, str):
            raise ValueError(f"Currently only a `str` stmt is supported, got {type(stmt).__name__}.")
        if language in (Language.CPP, "cpp", "c++", "C++") or global_setup:
            raise NotImplementedError(
                "benchmark.Timer: only Python can be timed, not C++ (and global_setup is for C++)"
            )
        stmt, setup = (textwrap.dedent(text).strip("\n") for text in (stmt, setup))
        self._globals = dict(globals or {})
        self._globals.setdefault("torch", __import__(__name__.partition(".")[0]))
        self._clock = timer
        self._globals["_ran"] = _ran
        self._timer = timeit.Timer(_running(stmt), setup, timer, self._globals)
        self._task_spec = TaskSpec(stmt, setup, "", label, sub_label, description, env, num_threads)

    def _time(self, number: int) -> float:
        return max(self._timer.timeit(number), 1e-9)

    def _measured(self, number: int, times: list[float]) -> Measurement:
        return Measurement(number, times, self._task_spec)

    def timeit(self, number: int = 1_000_000) -> Measurement:
        """One measurement of ``number`` runs, after some to warm up."""
        self._time(max(number // 100, 2))
        return self._measured(number, [self._time(number)])

    def repeat(self, repeat: int = -1, number: int = -1) -> NoReturn:
        """Refused, as in PyTorch: see :meth:`blocked_autorange`."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def autorange(self, callback: Callable[[int, float], NoReturn] | None = None) -> NoReturn:
        """Refused, as in PyTorch: see :meth:`blocked_autorange`."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def _number(self, min_run_time: float) -> int:
        """How many runs make up one measurement: so many that reading the clock does not count."""
        clock = min(self._overhead() for _ in range(5))
        self._time(2)
        number = 1
        while True:
            spent = self._time(number)
            if spent > min_run_time / 1000 and clock / spent <= 1e-4 or spent > min_run_time:
                return number
            number *= 10

    def _overhead(self) -> float:
        begin = time.perf_counter()
        self._clock()
        return time.perf_counter() - begin

    def blocked_autorange(self, callback: Any = None, min_run_time: float = 0.2) -> Measurement:
        """Measurements for at least ``min_run_time`` seconds, each of as many runs as make the clock not count."""
        number = self._number(min_run_time)
        times: list[float] = []
        while sum(times) < min_run_time or not times:
            times.append(self._time(number))
            if callback is not None:
                callback(number, times[-1])
        return self._measured(number, times)

    def adaptive_autorange(
        self, threshold: float = 0.1, *, min_run_time: float = 0.01, max_run_time: float = 10.0, callback: Any = None
    ) -> Measurement:
        """Measurements until the quartiles are within ``threshold`` of the median, or for ``max_run_time`` seconds."""
        number = self._number(min_run_time)
        times: list[float] = []
        while True:
            times.append(self._time(number))
            if callback is not None:
                callback(number, times[-1])
            found = self._measured(number, times)
            steady = len(times) > 3 and found.iqr / found.median < threshold
            if (steady and sum(times) >= min_run_time) or sum(times) >= max_run_time:
                return found

    def collect_callgrind(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: instructions are not counted."""
        raise NotImplementedError(
            "collect_callgrind: counting instructions under Valgrind says little of compiled programs"
        )
