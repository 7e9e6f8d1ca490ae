"""What was recorded, executed, compiled and read in a block, with the causes and the user's lines."""

from __future__ import annotations

import html
import linecache
import time
from collections import Counter
from typing import Any, Self

from ..engine import flush, stats
from ..engine.causes import REMEDIES
from ..engine.errors import describe
from ..engine.stats import Event, Observer

#: What ends a step of a training loop.
_STEPS = ("an optimizer step ended", "a compiled step ended")
#: Lines of a table that are shown.
_SHOWN = 20
#: Characters of a cell of a printed one.
_WIDE = 100


class Report(Observer):
    """What the engine did in a block, as a table: ``with torch.compiler.report() as r: ...; print(r)``.

    steps:        optimizer steps.
    programs:     different traces that were executed.
    compilations: an ``Event`` for each program compiled (``seconds``, ``operations``, ``cause``, ``where``).
    kernels:      the same for single operations, compiled where traces are executed operation by operation.
    executions:   how often a trace was executed, by (reason, user's line).
    reads:        how often values were looked at, by user's line; each read waits for the device.
    cuts:         how many of these reads had the recording executed first, by line.
    seconds:      of the whole block;  compile_seconds: of these, spent on compiling.

    Everything that happens in the process meanwhile is counted, in other threads too.
    """

    def __init__(self) -> None:
        self.compilations: list[Event] = []
        self.kernels: list[Event] = []
        self.executions: Counter[tuple[str, tuple[str, int]]] = Counter()
        self.reads: Counter[tuple[str, int]] = Counter()
        self.cuts: Counter[tuple[str, int]] = Counter()
        self.seconds = 0.0
        self._states: set[int] = set()
        self._before: dict[str, int] = {}
        self._after: dict[str, int] | None = None
        self._begin: float | None = None

    # ---- the block ----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self in stats.observers:
            raise RuntimeError("torch.compiler.report: this report is being written already")
        flush("a report begins")
        stats.observers.append(self)
        if not self._before:
            self._before = stats.as_dict()
        self._begin = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            flush("the report ends")
        finally:
            stats.observers.remove(self)
            self.seconds += time.perf_counter() - (self._begin or 0.0)
            self._begin = None
            self._after = stats.as_dict()

    def compiled(self, event: Event) -> None:
        (self.compilations if event.kind == "program" else self.kernels).append(event)

    def executed(self, reason: str, location: tuple[str, int], trace: Any) -> None:
        if reason != "data was loaded":
            self.executions[reason, location] += 1
            self._states.add(id(trace.state))

    def read(self, location: tuple[str, int], pending: bool) -> None:
        self.reads[location] += 1
        self.cuts[location] += pending

    # ---- figures ------------------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        return sum(n for (reason, _), n in self.executions.items() if reason in _STEPS)

    @property
    def programs(self) -> int:
        return len(self._states)

    @property
    def compile_seconds(self) -> float:
        return sum(e.seconds for e in (*self.compilations, *self.kernels))

    def _count(self, name: str) -> int:
        now = self._after or stats.as_dict()
        return max(0, now[name] - self._before.get(name, 0))

    @property
    def op_runs(self) -> int:
        """Executions operation by operation."""
        return self._count("op_runs")

    # ---- as a table ---------------------------------------------------------------------------------------------

    def _head(self) -> list[str]:
        seconds = self.seconds if self._begin is None else time.perf_counter() - self._begin
        compiling = f"{self.compile_seconds:.2f} s of them compiling"
        lines = [f"{_many(self.steps, 'optimizer step')} in {seconds:.2f} s, {compiling}"]
        n = sum(self.executions.values())
        told = f"{_many(self.programs, 'different recording')}, executed {_times(n)}"
        apart = self.op_runs
        if apart:
            told += f", {_times(apart)} of them operation by operation"
        lines.append(told)
        kernels = f", {_many(len(self.kernels), 'kernel')} of single operations" if self.kernels else ""
        lines.append(f"{_many(len(self.compilations), 'program')}{kernels} compiled")
        return lines

    def _tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """(title, head, rows) of each table."""
        out = []
        if self.compilations:
            rows = [
                [f"{e.seconds:.2f}", str(e.operations), e.cause.kind, e.cause.text, _line(e.cause.location), e.why]
                for e in self.compilations
            ]
            head = ["seconds", "operations", "cause", "what changed", "line", "executed because"]
            out.append(("Programs compiled", head, rows))
        if self.kernels:
            groups: dict[tuple, list[Event]] = {}
            for e in self.kernels:
                groups.setdefault((e.cause.subject, e.cause.location), []).append(e)
            rows = [
                [f"{seconds:.2f}", str(len(found)), name, found[-1].cause.text.partition(" for ")[2], _line(at)]
                for seconds, (name, at), found in sorted(
                    ((sum(e.seconds for e in found), key, found) for key, found in groups.items()), reverse=True,
                    key=lambda g: g[0],
                )
            ]  # fmt: skip
            out.append(("Single operations compiled", ["seconds", "times", "operation", "last inputs", "line"], rows))
        rows = [[str(n), reason, _line(at)] for (reason, at), n in self.executions.most_common()]
        if rows:
            out.append(("What had the recording executed", ["times", "because", "line"], rows))
        steps = self.steps
        rows = [
            [str(n), f"{n / steps:.2g}" if steps else "", str(self.cuts[at]), _line(at)]
            for at, n in self.reads.most_common()
        ]
        if rows:
            out.append(("Values read", ["times", "per step", "of them executing", "line"], rows))
        return out

    def advice(self) -> list[str]:
        """What to do about causes that came again, most expensive first."""
        cost: Counter[tuple] = Counter()
        times: Counter[tuple] = Counter()
        for e in self.compilations:
            if e.cause.kind not in ("first", "number"):
                cost[e.cause.kind, e.cause.location] += e.seconds
                times[e.cause.kind, e.cause.location] += 1
        return [
            f"{_line(at)}: {kind}, {_many(times[kind, at], 'compilation')} in {seconds:.2f} s. {REMEDIES[kind]}"
            for (kind, at), seconds in cost.most_common(5) if times[kind, at] > 1
        ]  # fmt: skip

    def __str__(self) -> str:
        lines = self._head()
        for title, head, rows in self._tables():
            lines += ["", title, *_text([head, *rows[:_SHOWN]])]
            if len(rows) > _SHOWN:
                lines.append(f"  ... and {len(rows) - _SHOWN} more")
        for i, line in enumerate(self.advice()):
            lines += ["", "What to do"] if i == 0 else []
            lines.append(f"  {line}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [f"<div>{html.escape(line)}</div>" for line in self._head()]
        for title, head, rows in self._tables():
            told = "".join(f'<th style="text-align:left">{html.escape(h)}</th>' for h in head)
            body = "".join(
                "<tr>" + "".join(f'<td style="text-align:left">{_escape(c)}</td>' for c in row) + "</tr>"
                for row in rows[:_SHOWN]
            )
            more = f"<div>… and {len(rows) - _SHOWN} more</div>" if len(rows) > _SHOWN else ""
            parts.append(f'<div style="margin-top:6px"><b>{html.escape(title)}</b></div><table><tr>{told}</tr>{body}'
                         f"</table>{more}")  # fmt: skip
        parts += [f"<div>{_escape(line)}</div>" for line in self.advice()]
        return f'<div style="font-size:12px">{"".join(parts)}</div>'


class Explained(Report):
    """The report of a call of a captured function: also what was captured, and why it cannot be replayed."""

    def __init__(self, made: Any) -> None:
        super().__init__()
        self._made = made

    @property
    def graph_count(self) -> int:
        return sum(len(e) for e in self._made.entries.values())

    @property
    def break_reasons(self) -> list[str]:
        return [reason for reasons in self._made.refused.values() for reason in reasons]

    @property
    def graph_break_count(self) -> int:
        return len(self.break_reasons)

    @property
    def op_count(self) -> int:
        return sum(len(e.op.info.operations) if hasattr(e.op.info, "operations") else 1
                   for found in self._made.entries.values() for e in found)  # fmt: skip

    def _head(self) -> list[str]:
        told = [f"Captured: {'yes' if self.graph_count else 'no'}"]
        return told + [f"  not replayed, because {r}" for r in self.break_reasons] + super()._head()


def _many(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _line(location: tuple[str, int]) -> str:
    """A line of the program, short: file, number, and the beginning of its text."""
    file, number = location
    told = describe(location)
    if told == f"{file}:{number}":
        told = f"{file.replace(chr(92), '/').rpartition('/')[2]}:{number}"
    source = linecache.getline(file, number).strip()
    return f"{told}  {source if len(source) <= 50 else source[:47] + '...'}".rstrip()


def _escape(text: str) -> str:
    return html.escape(text).replace("  ", " &nbsp; ")


def _text(rows: list[list[str]]) -> list[str]:
    """Columns of a table; numbers to the right."""
    widths = [min(_WIDE, max(len(row[k]) for row in rows)) for k in range(len(rows[0]))]
    rows = [[c if len(c) <= _WIDE else c[: _WIDE - 3] + "..." for c in row] for row in rows]
    out = []
    for row in rows:
        cells = [c.rjust(w) if _is_number(rows[-1][k]) else c.ljust(w)
                 for k, (c, w) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        out.append(("  " + "  ".join(cells)).rstrip())
    return out


def _is_number(text: str) -> bool:
    return text.replace(".", "").replace("e+", "").isdigit()
