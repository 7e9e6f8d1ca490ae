"""Tables of measurements."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from ._measure import Measurement, ordered_unique, select_unit, trim_sigfig, unit_to_english

__all__ = ["Colorize", "Compare"]


class Colorize(enum.Enum):
    """What colours compare: nothing, the columns of a table, or each row by itself."""

    NONE = "none"
    COLUMNWISE = "columnwise"
    ROWWISE = "rowwise"


class Compare:
    """Measurements as tables: one per label, a row per sub-label and number of threads, a column per description."""

    def __init__(self, results: Iterable[Measurement]) -> None:
        self._results: list[Measurement] = []
        self._trim = self._highlight = False
        self._colorize = Colorize.NONE
        self.extend_results(results)

    def extend_results(self, results: Iterable[Measurement]) -> None:
        """Add measurements."""
        for each in results:
            if not isinstance(each, Measurement):
                raise ValueError(f"Expected an instance of `Measurement`, got {type(each)} instead.")
            self._results.append(each)

    def trim_significant_figures(self) -> None:
        """Show only digits that mean something."""
        self._trim = True

    def colorize(self, rowwise: bool = False) -> None:
        """Show in green what is quickest, in red what takes over twice as long, of each column or row."""
        self._colorize = Colorize.ROWWISE if rowwise else Colorize.COLUMNWISE

    def highlight_warnings(self) -> None:
        """Mark times that spread by more than a tenth with (!)."""
        self._highlight = True

    def print(self) -> None:
        """Print the tables."""
        print(str(self))

    def __str__(self) -> str:
        merged = Measurement.merge(self._results)
        labels = ordered_unique(m.task_spec.label for m in merged)
        return "\n".join(self._table([m for m in merged if m.task_spec.label == label]) for label in labels)

    def _table(self, group: list[Measurement]) -> str:
        columns = ordered_unique(m.task_spec.description for m in group)
        rows = ordered_unique((m.task_spec.num_threads, m.task_spec.env, m.as_row_name) for m in group)
        cells = {(r, m.task_spec.description): m for r in rows for m in group
                 if r == (m.task_spec.num_threads, m.task_spec.env, m.as_row_name)}  # fmt: skip
        unit, scale = select_unit(min(m.median for m in group))
        heads = ["", *(str(c or "") for c in columns)]
        names = [f"{name} ({threads} thr){f' [{env}]' if env else ''}" for threads, env, name in rows]
        text = [
            [name, *(self._cell(cells.get((r, c)), scale) for c in columns)]
            for name, r in zip(names, rows, strict=True)
        ]
        widths = [max(len(line[i]) for line in (heads, *text)) for i in range(len(heads))]
        out = [f"[{group[0].task_spec.label or ''}]".center(sum(widths) + 3 * len(widths), "-")]
        out.append(
            "  |  ".join(h.rjust(w) if i else h.ljust(w) for i, (h, w) in enumerate(zip(heads, widths, strict=True)))
        )
        for r, line in zip(rows, text, strict=True):
            shown = [c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
            for i, c in enumerate(columns):
                shown[i + 1] = self._coloured(shown[i + 1], r, c, cells, rows, columns)
            out.append("  |  ".join(shown))
        return "\n".join([*out, f"\nTimes are in {unit_to_english(unit)}s ({unit})."])

    def _cell(self, found: Measurement | None, scale: float) -> str:
        if found is None:
            return ""
        value = found.median / scale
        shown = f"{trim_sigfig(value, found.significant_figures):g}" if self._trim else f"{value:.1f}"
        return shown + (" (!)" if self._highlight and found.has_warnings else "")

    def _coloured(self, text: str, row: tuple, column: object, cells: dict, rows: list, columns: list) -> str:
        if self._colorize is Colorize.NONE or (row, column) not in cells:
            return text
        wise = self._colorize is Colorize.ROWWISE
        others = [(row, c) for c in columns] if wise else [(r, column) for r in rows]
        best = min(cells[k].median for k in others if k in cells)
        ratio = cells[row, column].median / best
        code = "92" if ratio < 1.05 else "91" if ratio > 2 else ""
        return f"\033[{code}m{text}\033[0m" if code else text
