"""Loops of any length as one kernel: for graphs that are executed operation by operation since they never come twice.

A sentence is as long as it is, so a recurrence over its words is recorded in another length each time.  Its rounds are
found (``rolled``), and a kernel with a run-time number of rounds, and room for more, goes through all of them: one
forward, one back, which computes each round again from what it took.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import evaluators
from .op import Wide, _apply_vjp, _is_smooth, differentiated
from .piles import pile
from .rolled import Loop, _several, round_of
from .stored import Settled
from .trie import Call

#: Rounds of a kind that are gone through one by one before a kernel is compiled: that takes as long.
MET = 200
#: Rounds of the first kernel; how many times as many the next one has; bytes from which they are close together.
ROOM, FURTHER, LARGE = 32, 4, 1 << 24

_met: dict[Any, int] = {}


def _room(rounds: int, nbytes: int) -> int:
    room = ROOM if ROOM * nbytes < LARGE else 1
    while room < rounds:
        room *= FURTHER if room * nbytes < LARGE else 2
    return room


class Kind:
    """What loops have in common that differ in their numbers of rounds.

    several, last: positions of results that several rounds are needed of, and the last one only.
    fixed, each: which of what all rounds take, and what each takes for itself, can have gradients;
    sums: the slots of the former.
    first: which states of the first round are;  held: positions of the round's results that the next one takes.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.several, self.last = _several(loop)
        self.held = [p for _, p in loop.carry]
        wrt = set(loop.wrt)
        n, m = len(loop.fixed), len(loop.fixed) + len(loop.carry)
        self.fixed = tuple([k for k in range(n) if k in wrt])
        self.sums = tuple([loop.fixed[k] for k in self.fixed])
        self.first = tuple([k for k in range(len(loop.carry)) if n + k in wrt])
        self.each = tuple([
            k for k in range(len(loop.each)) if any(m + k * loop.rounds + r in wrt for r in range(loop.rounds))
        ])  # fmt: skip
        self.kinds = tuple([type(c[0]) is Wide and c[0].type or c[0][0] for c in loop.numbers])
        calls = tuple([
            (c.kernel, tuple([(i.type, i.index) if type(i) is Wide else i if type(i) is int else None for i in c.ins]),
             c.metas, c.outs)
            for c in loop.calls
        ])  # fmt: skip
        self.key = (calls, n, tuple(self.held), len(loop.each), self.kinds, tuple(self.several), tuple(self.last),
                    self.fixed, self.each, bool(wrt))  # fmt: skip
        self.tracked = bool(wrt)
        #: positions of results at which gradients can arrive
        self.smooth = [p for p in sorted({*self.several, *self.last, *self.held}) if _is_smooth(loop.results[p].dtype)]
        sizes = {s: x.nbytes for c in loop.calls for s, x in zip(c.slots, c.metas, strict=True)}
        mine = sum(sizes.get(m + 1 + k, 0) for k in range(len(loop.each)))
        self.room = _room(loop.rounds, mine + sum(loop.results[p].nbytes for p in (*self.several, *self.held)))

    def worth(self) -> bool:
        """Whether so many rounds of the kind have been met by now, where the host is at hand; notes these."""
        if getattr(self.loop.place, "platform", None) != "cpu":
            return False
        met = _met[self.key] = _met.pop(self.key, 0) + self.loop.rounds
        while len(_met) > 1000:
            del _met[next(iter(_met))]
        return met > MET

    # -- forward -----------------------------------------------------------------------------------------------------

    def arguments(self, env: dict[int, Any], numbers: Any) -> tuple:
        """What a kernel takes: the number of rounds, what all take, the first state, and what each takes, stacked."""
        from .trace import _lifted_dtype

        loop, room = self.loop, self.room
        fixed = [env[s] for s in loop.fixed]
        first = [env[s] for s, _ in loop.carry]
        each = [pile([env[s] for s in column], room) for column in loop.each]
        scalars = [
            pile([numbers[c] if type(c) is Wide else c[1] for c in column], room, dtype=_lifted_dtype(kind))
            for column, kind in zip(loop.numbers, self.kinds, strict=True)
        ]
        return np.int32(loop.rounds), fixed, first, each, scalars

    def run(self, args: tuple) -> tuple[dict[int, Any], list]:
        """The results that are needed, by slot, and the data checks."""
        loop = self.loop
        kernel = self._kernel("forward", self.forward, args, "")
        ys, ends, ok = kernel(*args)
        found: dict[int, Any] = dict(zip(self.last, ends, strict=True))
        found.update((p, np.asarray(y)) for p, y in zip(self.several, ys, strict=True))
        several = set(self.several)
        outs = {s: found[p][r] if p in several else found[p]
                for s, (p, r) in zip(loop.out_slots, loop.outs, strict=True)}  # fmt: skip
        rest = iter(ok)
        checks = [(tuple([next(rest) for _ in c.checks]), c) for c in loop.calls if c.checks and not c.op.alias]
        return outs, checks

    def _kernel(self, what: Any, body: Any, args: tuple, name: str) -> Any:
        import jax

        def compile() -> Any:
            specs = jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a), a.dtype), args)
            return evaluators.compile_at(body, self.loop.place, specs)

        calls: tuple[Call, ...] = tuple(self.loop.calls)
        key = (self.key, what, self.room)
        return evaluators.quick(evaluators._cached(key, compile, evaluators._never, calls, name))

    def _blank(self, positions: list[int], *room: int) -> list:
        import jax.numpy as jnp

        return [jnp.zeros((*room, *m.shape), m.dtype) for m in (self.loop.results[p] for p in positions)]

    def forward(self, n: Any, fixed: list, first: list, each: list, scalars: list) -> tuple[list, list, list]:
        """Inside a trace of JAX's: what several rounds are needed of, what the last one is, and data checks."""
        import jax.numpy as jnp
        from jax import lax

        checks = sum(len(c.checks) for c in self.loop.calls if not c.op.alias)

        def step(r: Any, state: tuple) -> tuple:
            held, ys, _, ok = state
            results, found = self._round(r, fixed, held, each, scalars)
            ys = [lax.dynamic_update_index_in_dim(y, results[p], r, 0) for y, p in zip(ys, self.several, strict=True)]
            held, last = [results[p] for p in self.held], [results[p] for p in self.last]
            return held, ys, last, [a & b for a, b in zip(ok, found, strict=True)]

        state = list(first), self._blank(self.several, self.room), self._blank(self.last), [jnp.bool_(True)] * checks
        _, ys, last, ok = lax.fori_loop(0, n, step, state)
        return ys, last, ok

    def _round(self, r: Any, fixed: Any, held: Any, each: list, scalars: list, rows: Any = None) -> tuple[list, list]:
        rows = [_at(a, r) for a in each] if rows is None else rows
        return round_of(self.loop, fixed, held, rows, [_at(a, r) for a in scalars], Settled())

    # -- back --------------------------------------------------------------------------------------------------------

    def pull(self, args: tuple, given: dict[int, Any], before: dict[int, Any]) -> dict[int, Any]:
        """Gradients by slot, given those of results by slot; those by leaves added to ``before``, also by slot."""
        loop, room = self.loop, self.room
        ys: dict[int, np.ndarray] = {}
        ends: dict[int, Any] = {}
        several = set(self.several)
        for s, (p, r) in zip(loop.out_slots, loop.outs, strict=True):
            c = given.get(s)
            if c is None:
                continue
            if p in several:
                y = ys.get(p)
                if y is None:
                    m = loop.results[p]
                    y = ys[p] = np.zeros((room, *m.shape), m.dtype)
                y[r] = np.asarray(c)
            else:
                ends[p] = c
        sums = [before.get(s) for s in self.sums]
        sums = [np.zeros(np.shape(a), a.dtype) if b is None else b
                for b, a in zip(sums, [args[1][k] for k in self.fixed], strict=True)]  # fmt: skip
        where = (tuple(sorted(ys)), tuple(sorted(ends)))

        def body(*args: Any) -> tuple:
            return self.back(*args, where)

        full = (*args, [ys[p] for p in where[0]], [ends[p] for p in where[1]], sums)
        fixed, first, each = self._kernel(where, body, full, " backward")(*full)
        out = dict(zip(self.sums, fixed, strict=True))
        wrt = set(loop.wrt_slots)
        found = [(loop.carry[k][0], first[k]) for k in self.first]
        for k, rows in zip(self.each, each, strict=True):
            found.extend((s, row) for s, row in zip(loop.each[k], np.asarray(rows), strict=False) if s in wrt)
        how = evaluators.OpByOp()
        for s, g in found:  # the state of the first round may be among what others take
            out[s] = how.add(np.asarray(out[s]), np.asarray(g)) if s in out else g
        return out

    def back(self, n: Any, fixed: list, first: list, each: list, scalars: list, ys: list, ends: list, sums: list,
             where: tuple) -> tuple[list, list, list]:  # fmt: skip
        """Inside a trace of JAX's: gradients by what all rounds take, by the first state, and by what each takes."""
        import jax.numpy as jnp
        from jax import lax

        loop = self.loop
        ys_of, ends_of = dict(zip(where[0], ys, strict=True)), dict(zip(where[1], ends, strict=True))
        smooth = [k for k, p in enumerate(self.held) if p in self.smooth]

        def keep(r: Any, state: tuple) -> tuple:
            held, kept = state
            kept = [lax.dynamic_update_index_in_dim(a, h, r, 0) for a, h in zip(kept, held, strict=True)]
            results, _ = self._round(r, fixed, held, each, scalars)
            return [results[p] for p in self.held], kept

        # what each round took; the last one is computed below only
        start = list(first), self._blank(self.held, self.room)
        held, kept = lax.fori_loop(0, n - 1, keep, start)
        kept = [lax.dynamic_update_index_in_dim(a, h, n - 1, 0) for a, h in zip(kept, held, strict=True)]

        def step(k: Any, state: tuple) -> tuple:
            flowing, sums, rows = state
            r = n - 1 - k
            took = [_at(a, r) for a in kept]
            mine = [_at(a, r) for a in each]

            def closed(*moving: Any) -> tuple:
                rest = iter(moving)
                f, h, e = list(fixed), list(took), list(mine)
                for j in self.fixed:
                    f[j] = next(rest)
                for j in smooth:
                    h[j] = next(rest)
                for j in self.each:
                    e[j] = next(rest)
                results, _ = self._round(r, f, h, each, scalars, e)
                return tuple([results[p] for p in self.smooth]), None

            moving = [*[fixed[j] for j in self.fixed], *[took[j] for j in smooth], *[mine[j] for j in self.each]]
            _, back, _ = differentiated(closed, moving)
            given = []
            for p in self.smooth:
                m = loop.results[p]
                c = jnp.zeros(m.shape, m.dtype)
                for j, f in zip(smooth, flowing, strict=True):
                    if self.held[j] == p:
                        c = c + f
                if p in ys_of:
                    c = c + _at(ys_of[p], r)
                if p in ends_of:
                    c = c + jnp.where(k == 0, ends_of[p], jnp.zeros_like(ends_of[p]))
                given.append(c)
            shapes = tuple([(loop.results[p].shape, loop.results[p].dtype) for p in self.smooth])
            grads = _apply_vjp(back, tuple(given), (shapes, (True,) * len(given)))
            a, b = len(self.fixed), len(self.fixed) + len(smooth)
            sums = [s + g for s, g in zip(sums, grads[:a], strict=True)]
            rows = [lax.dynamic_update_index_in_dim(x, g, r, 0) for x, g in zip(rows, grads[b:], strict=True)]
            return list(grads[a:b]), sums, rows

        blank = self._blank([self.held[j] for j in smooth])
        rows = [jnp.zeros_like(each[j]) for j in self.each]
        flowing, sums, rows = lax.fori_loop(0, n, step, (blank, list(sums), rows))
        by_state: list[Any] = [None] * len(self.held)
        for j, f in zip(smooth, flowing, strict=True):
            by_state[j] = f
        return sums, by_state, rows


def _at(array: Any, r: Any) -> Any:
    """What round ``r`` takes of what is stacked."""
    from jax import lax

    return lax.dynamic_index_in_dim(array, r, 0, keepdims=False)


__all__ = ["Kind"]
