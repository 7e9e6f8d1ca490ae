"""What of a trace must be evaluated, and the evaluation itself, shared by all executors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .kept import Kept
from .meta import SHAPE_ONLY
from .op import Lifted, Wide
from .rolled import Loop, plan_of, pull_back, run
from .trie import Call, Graph, Input, Reverse


class Schedule:
    """The part of a trace that some slots rest on.

    steps: calls and reverse passes in order.  taped: calls whose vjp a later reverse pass of the same trace applies.
    inputs: slots of the inputs that are used.  drops: per step, the slots not needed after it.
    """

    __slots__ = ("steps", "taped", "inputs", "drops", "wanted")

    def __init__(self, graph: Graph, wanted: Iterable[int], checks: bool = True) -> None:
        self.wanted = tuple(wanted)
        needed = set(self.wanted)
        taped: set[Call] = set()
        steps: list = []
        inputs: list[int] = []
        for e in reversed(graph.entries):
            kind = type(e)
            if kind is Call:
                if e.place == SHAPE_ONLY:
                    continue
                if e in taped or not needed.isdisjoint(e.out_slots) or (checks and e.checks):
                    steps.append(e)
                    needed.update(e.slots)
            elif kind is Reverse:
                if not needed.isdisjoint(e.out_slots):
                    steps.append(e)
                    needed.update(e.slots)
                    needed.update(e.roots)
                    taped.update(e.plan)
            elif kind is Input and e.first in needed and e.meta.place != SHAPE_ONLY:
                inputs.append(e.first)
        steps.reverse()
        inputs.reverse()
        self.steps, self.taped, self.inputs = tuple(steps), taped, tuple(inputs)
        self.drops = self._drops()

    def _drops(self) -> tuple[tuple[int, ...], ...]:
        keep, out = set(self.wanted), []
        for e in reversed(self.steps):
            used: set[int] = set(e.slots)
            if type(e) is Reverse:
                used.update(e.roots)
                for call in e.plan:
                    used.update(call.slots)
            used.update(e.out_slots)
            out.append(tuple(s for s in used if s not in keep))
            keep |= used
        out.reverse()
        return tuple(out)


class Numbers:
    """The run-time numbers of a trace: three vectors (NumPy, JAX, tracers, or sequences) to take entries from."""

    __slots__ = ("ints", "floats", "complexes")

    def __init__(self, ints: Any, floats: Any, complexes: Any) -> None:
        self.ints, self.floats, self.complexes = ints, floats, complexes

    def at(self, wide: Wide) -> tuple[Any, int]:
        """The vector that a number is in, and its place there."""
        if wide.type is float:
            return self.floats, wide.index
        return self.complexes if wide.type is complex else self.ints, wide.index

    def __getitem__(self, wide: Wide) -> Any:
        vector, k = self.at(wide)
        return vector[k]

    def several(self, wides: list[Wide]) -> Any:
        """Numbers of one kind as a vector: one operation, however many they are."""
        vector, places = self.at(wides[0])[0], np.array([self.at(w)[1] for w in wides])
        if type(vector) in (tuple, list):  # those of a recording are arguments of its own
            import jax.numpy as jnp

            vector = jnp.stack([jnp.asarray(n) for n in vector])
        return vector[places]


def arrays_of(call: Call, env: dict[int, Any], numbers: Numbers) -> tuple:
    """The arrays that the call's kernel takes."""
    return tuple([env[i] if type(i) is int else numbers[i] for i in call.ins if type(i) is int or type(i) is Wide])


class Evaluator:
    """How single calls are evaluated.  Subclasses: inside a trace of JAX, or one compiled kernel after the other."""

    @property
    def inside(self) -> Evaluator:
        """The evaluator for the rounds of a loop."""
        return self

    def plain(self, array: Any) -> Any:
        """A result as others know it, where the evaluator has its own way to hold it."""
        return array

    def forward(self, call: Call, arrays: tuple) -> tuple[tuple, tuple]:
        raise NotImplementedError

    def same(self, call: Call, array: Any) -> Any:
        """The result of an alias."""
        return array

    def forward_taped(self, call: Call, arrays: tuple) -> tuple[tuple, tuple, Any]:
        raise NotImplementedError

    def pull(self, call: Call, tape: Any, cotangents: tuple) -> tuple:
        raise NotImplementedError

    def add(self, a: Any, b: Any) -> Any:
        raise NotImplementedError

    def ones(self, meta: Any) -> Any:
        raise NotImplementedError

    def tape_of(self, call: Call, arrays: tuple) -> Any:
        """The tape of a call that ran in an earlier trace: made again from what it took."""
        raise NotImplementedError


def walk(
    plan: tuple[Call, ...],
    cotangents: dict[int, Any],
    wanted: frozenset[int],
    pull: Callable[[Call, tuple], tuple],
    add: Callable[[Any, Any], Any],
) -> dict[int, Any]:
    """Carry cotangents backwards through the calls of ``plan`` (last first); those of ``wanted`` slots stay."""
    for call in plan:
        given = tuple([cotangents.get(s) for s in call.out_slots])
        for s in call.out_slots:
            if s not in wanted:
                cotangents.pop(s, None)
        if all(c is None for c in given):
            continue
        if call.op.alias:
            grads = given
        else:
            grads = pull(call, given)
        for s, g in zip(call.wrt_slots, grads, strict=True):
            old = cotangents.get(s)
            cotangents[s] = g if old is None else add(old, g)
    return cotangents


def loops_of(steps: Iterable[Any]) -> dict[Call, Loop]:
    """For each call that is part of a loop, that loop."""
    return {call: e for e in steps if type(e) is Loop for call in e.all_calls}


def pull_of(tapes: dict[Any, Any], how: Evaluator, last: Callable[[Any], bool]) -> Callable[[Any, tuple], tuple]:
    """What :func:`walk` asks for gradients; tapes are dropped when nobody else will ask for them (``last``)."""

    def pull(call: Any, given: tuple) -> tuple:
        tape = tapes.pop(call) if last(call) else tapes[call]
        if type(call) is Loop:
            return pull_back(call, tape, tuple([how.plain(c) for c in given]))
        return how.pull(call, tape, given)

    return pull


def evaluate(
    schedule: Schedule, env: dict[int, Any], numbers: Numbers, how: Evaluator, drop: bool,
    tapes: dict[Any, Any] | None = None, kept: Kept | None = None, rows: dict | None = None,
) -> list:  # fmt: skip
    """Evaluate the steps over ``env`` (slot -> array, inputs filled in).  Returns the data checks: (flags, call).

    tapes: where to keep those of the ``taped`` calls that no step asks for.  kept: what a failed check leaves.
    rows: where to note which results are parts of loops' arrays, see ``rolled.run``.
    """
    tapes = {} if tapes is None else tapes
    checks: list = []
    loops = loops_of(schedule.steps)
    # a tape is kept for as long as a reverse pass may ask for it
    uses = Counter(call for e in schedule.steps if type(e) is Reverse for call in plan_of(e.plan, loops))
    for k, e in enumerate(schedule.steps):
        if type(e) is Call:
            if e.op.alias:
                env[e.first] = how.same(e, env[e.slots[0]])
                if kept is not None:
                    kept.alias(e)
            else:
                arrays = arrays_of(e, env, numbers)
                if e in schedule.taped and e.wrt:
                    outs, flags, tapes[e] = how.forward_taped(e, arrays)
                elif kept is not None and e.op.inplace:
                    outs, flags = kept.forward(how, e, arrays, checks)
                else:
                    outs, flags = how.forward(e, arrays)
                for s, o in zip(e.out_slots, outs, strict=True):
                    env[s] = o
                if flags:
                    checks.append((flags, e))
        elif type(e) is Loop:
            outs, flags, tapes[e] = run(e, {s: how.plain(env[s]) for s in e.slots}, numbers, how.inside, rows)
            env.update(zip(e.out_slots, outs, strict=True))
            checks.extend(flags)
        else:
            cotangents: dict[int, Any] = {}
            for root, seed in zip(e.roots, e.seeds, strict=True):
                c = how.ones(e.sources[root]) if seed is None else env[seed]
                old = cotangents.get(root)
                cotangents[root] = c if old is None else how.add(old, c)
            wanted = frozenset(s for s, _ in e.outs)
            plan = plan_of(e.plan, loops)
            for call in plan:
                uses[call] -= 1
            walk(plan, cotangents, wanted, pull_of(tapes, how, lambda call: not uses[call]), how.add)
            for s, (slot, _) in zip(e.out_slots, e.outs, strict=True):
                env[s] = cotangents[slot]
        if drop:
            for s in schedule.drops[k]:
                env.pop(s, None)
    return checks


__all__ = ["Evaluator", "Lifted", "Numbers", "Schedule", "arrays_of", "evaluate", "loops_of", "pull_of", "walk"]
