"""A program that is called again without recording anything: of a trace that is one operation, all of it wanted.

Recording the operation, looking its end up and giving out its results costs more than a small program itself.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from .config import config
from .errors import translated
from .evaluators import run_into
from .execute import _GIVEN, _counts, _input, early_checks, vectors
from .meta import Value, make_value
from .segment import Freed
from .stats import stats
from .trace import local
from .trie import State


def _held(values: list[Value], places: tuple[int, ...]) -> tuple[int, ...]:
    return _counts([values[k] for k in places])


def _alone() -> int:
    """Reference count, as :func:`_held` sees it, of a handle that one tensor and the list hold."""
    tensor = [Value()]
    return _held([*tensor], (0,))[0]


_ALONE = _alone()
_data = operator.attrgetter("data")


class Shortcut:
    """The program of the trace that ends at ``state``.

    kept, given: which of the values it takes.   outs: which of the operation's results it gives.   copies: (result,
    value or result that it is).   metas: of the results.   freed: those whose way back was given up.
    """

    __slots__ = ("state", "program", "part", "kept", "given", "outs", "copies", "metas", "freed")

    @staticmethod
    def of(state: State, n: int) -> Shortcut | None:
        """For a trace that took ``n`` values and was executed; None if it did anything else than call one program."""
        endings = list((state.endings or {}).values())
        program = endings[0].program if len(endings) == 1 else None
        if program is None or len(program.parts) != 1 or (program.tracked is not None and program.tracked[0]):
            return None
        (part,) = program.parts
        if part.takes or part.several or part.sized is not None:
            return None
        made = Shortcut()
        made.state, made.program, made.part = state, program, part
        made.metas = state.meta if type(state.meta) is tuple else (state.meta,)
        made.kept = tuple([s - 1 for s in part.kept])
        made.given = tuple([s - 1 for s in part.given])
        made.outs = tuple([s - 1 - n for s in part.outs])
        made.copies = tuple([(s - 1 - n, source - 1) for s, source in part.copies])
        made.freed = () if program.tracked is None else tuple([s - 1 - n for s in program.tracked[1]])
        whole = sorted([*made.outs, *(k for k, _ in made.copies)]) == list(range(len(made.metas)))
        if not whole or any(not 0 <= k < n for k in (*made.kept, *made.given)):
            return None
        return made

    def call(
        self, values: list[Value], numbers: tuple[list, list, list], give: Callable[[list[Value]], Any]
    ) -> tuple[Any] | None:
        """What ``give`` makes of the results for these values; None where the trace must be recorded and looked at as
        ever.

        ``give`` replaces by results whatever holds the values that the program is given; it may be called twice.
        """
        trace = local.trace
        if len(trace.values) != 1 or trace.nested or local.evaluator is not None or stats.observers:
            return None  # something is pending, or somebody looks
        if config.tier not in ("auto", "fused") or len(set(values)) < len(values):
            return None
        given = [values[k].data for k in self.given]
        if given and (max(_held(values, self.given)) > _ALONE or max(_counts(given)) > _GIVEN):
            return None  # somebody else holds what would be overwritten
        if any(a is None for a in map(_data, values)):
            return None
        found: list = []
        try:
            self._run(found, [values[k] for k in self.kept], given, numbers)
            result = give(self._results(found[0], values))
        except KeyboardInterrupt:
            if found:  # what was donated exists in the results only
                give(self._results(found[0], values))
            raise
        self.state.touch()
        self.program.uses += 1
        stats.flushes += 1
        stats.fused_runs += 1
        if self.part.checks:
            local.checks.append((found[0][-1], self.part.checks))
        del found
        if local.checks:
            early_checks()
        return (result,)

    def _results(self, outs: list, values: list[Value]) -> list[Value]:
        results: list[Any] = [None] * len(self.metas)
        metas = self.metas
        for k, a in zip(self.outs, outs, strict=False):
            results[k] = make_value(metas[k], a)
        for k, source in self.copies:
            of = values[source] if source < len(values) else results[source - len(values)]
            results[k] = make_value(metas[k], of.data)
        for k in self.freed:
            results[k].node = Freed(None)
        return results

    def _run(self, found: list, kept: list[Value], given: list, numbers: tuple[list, list, list]) -> None:
        import jax

        try:
            with jax.enable_x64(True):
                run_into(found, self.part.run, (list(map(_input, kept)), given, *vectors(self.part, *numbers)))
        except BaseException as error:
            shown = translated(error)
            if shown is not error:
                raise shown from error
            raise


__all__ = ["Shortcut"]
