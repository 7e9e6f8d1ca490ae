"""A program that is called again without recording anything: of a trace that is one operation, all of it wanted.

A compiled training step is one, and so is an optimizer's update whose gradients have been computed before: where the
loss was read in between, say.  Recording the operation, looking its end up and giving out its results costs more than a
small program itself.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .config import config
from .errors import translated
from .evaluators import run_into
from .execute import _GIVEN, _counts, _input, early_checks, vectors
from .fused import Program
from .meta import Value, make_value
from .segment import Freed
from .stats import stats
from .trace import local
from .trie import State


def _picker(places: tuple[int, ...]) -> Callable[[list], tuple]:
    """A function that picks these of a list."""
    if len(places) > 1:
        return operator.itemgetter(*places)
    return lambda values: tuple([values[k] for k in places])


def _alone() -> int:
    """Reference count of a handle that one tensor, the list of values and what was picked of them hold."""
    tensor = [Value()]
    values = [*tensor]
    return _counts(_picker((0,))(values))[0]


_ALONE = _alone()
_data = operator.attrgetter("data")
_NONE = type(None)


class Shortcut:
    """The program of the trace that ends at ``state``.

    kept, given: which of the values it takes.   outs: which of the operation's results it gives.   copies: (result,
    value or result that it is).   copied: the values among those.   metas: of the results.   freed: those whose way
    back was given up.   keep, give: pick ``kept`` and ``given``.
    """

    __slots__ = ("state", "program", "part", "kept", "given", "outs", "copies", "copied", "metas", "freed", "keep",
                 "give")  # fmt: skip

    @staticmethod
    def of(state: State, n: int) -> Shortcut | None:
        """For a trace that took ``n`` values and was executed, by what it mostly called; None if that was anything else
        than a program that gives all its results."""
        programs = [e.program for e in (state.endings or {}).values() if e.program is not None]
        if not programs:
            return None
        program = programs[0] if len(programs) == 1 else max(programs, key=lambda p: p.uses)
        if program.shortcut is None:
            program.shortcut = Shortcut._made(state, n, program) or False
        return program.shortcut or None

    @staticmethod
    def _made(state: State, n: int, program: Program) -> Shortcut | None:
        if len(program.parts) != 1 or (program.tracked is not None and program.tracked[0]):
            return None
        (part,) = program.parts
        if part.takes or part.several or part.sized is not None:
            return None
        made = Shortcut()
        made.state, made.program, made.part = state, program, part
        made.metas = state.meta if type(state.meta) is tuple else (state.meta,)
        made.kept = tuple([s - 1 for s in part.kept])
        made.given = tuple([s - 1 for s in part.given])
        made.keep, made.give = _picker(made.kept), _picker(made.given)
        made.outs = tuple([s - 1 - n for s in part.outs])
        made.copies = tuple([(s - 1 - n, source - 1) for s, source in part.copies])
        made.copied = tuple([source for _, source in made.copies if source < n])
        made.freed = () if program.tracked is None else tuple([s - 1 - n for s in program.tracked[1]])
        whole = sorted([*made.outs, *(k for k, _ in made.copies)]) == list(range(len(made.metas)))
        if not whole or any(not 0 <= k < n for k in (*made.kept, *made.given)):
            return None
        return made

    def call(
        self, values: list[Value], numbers: tuple[list, list, list], give: Callable[[list[Value]], Any]
    ) -> tuple[Any] | None:
        """What ``give`` makes of the results for these values, see :meth:`run`."""
        return self.run(values, numbers, lambda outs: give(self._results(outs, values)))

    def run(
        self, values: list[Value], numbers: tuple[list, list, list], give: Callable[[list], Any],
        holders: dict[int, int] | None = None,
    ) -> tuple[Any] | None:  # fmt: skip
        """What ``give`` makes of the program's arrays for these values; None where the trace must be recorded and
        looked at as ever.

        ``give`` replaces by results whatever holds the values that the program is given; it may be called twice.
        ``holders``: by how many tensors that is done, where it is not one, by the place among ``values``.
        """
        trace = local.trace
        if len(trace.values) != 1 or trace.nested or local.evaluator is not None or stats.observers:
            return None  # something is pending, or somebody looks
        if config.tier not in ("auto", "fused"):
            return None
        gone = self.give(values)
        given = list(map(_data, gone))
        if given:
            counts = [*_counts(gone)]
            for k, n in (holders or {}).items():
                if k in self.given:
                    counts[self.given.index(k)] -= n - 1
            if max(counts) > _ALONE or max(_counts(given)) > _GIVEN:
                return None  # somebody else holds what would be overwritten, or it is given twice, or not there
        del gone
        kept = list(map(_data, self.keep(values)))
        kinds = set(map(type, kept))
        if _NONE in kinds or any(values[k].data is None for k in self.copied):
            return None
        if np.ndarray in kinds:
            kept = list(map(_input, self.keep(values)))
        found: list = []
        try:
            self._run(found, kept, given, numbers)
            result = give(found[0])
        except KeyboardInterrupt:
            if found:  # what was donated exists in the results only
                give(found[0])
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

    def _run(self, found: list, kept: list, given: list, numbers: tuple[list, list, list]) -> None:
        import jax

        try:
            with jax.enable_x64(True):
                run_into(found, self.part.run, (kept, given, *vectors(self.part, *numbers)))
        except BaseException as error:
            shown = translated(error)
            if shown is not error:
                raise shown from error
            raise


__all__ = ["Shortcut"]
