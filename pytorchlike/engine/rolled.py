"""Loops that Python unrolled, rolled up again.

A recurrence written as a Python loop – a cell called for each time step – is recorded step after step.  Compiled as it
stands, XLA takes minutes for a few hundred steps, and the result is slower than a loop.  So before a trace becomes a
program, runs of calls that repeat are found and become one ``lax.scan``: what a round takes of the round before is the
carry, what all rounds take alike is closed over, what each takes for itself is stacked.  Gradients are the scan's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .meta import LEAF, Meta
from .op import Wide, _apply_vjp, differentiated, kernel_for
from .trie import Call, Reverse

#: Fewer rounds are left as they are, unrolled they run more quickly; and fewer than that where there is a product in
#: them, which takes longer to compile several times.
ROUNDS, HEAVY_ROUNDS = 8, 5
#: Calls of a round, at most.
LONGEST = 256
#: What rounds take from outside, each for itself, is stacked if it is not more times as large as what a round makes:
#: the weights of equal layers, where they are frozen, would be copied in each pass.
LARGEST = 16
#: From this many on, arrays that come from outside are joined as they are and given their shape afterwards: with an
#: axis of its own for each, XLA compiles them in a time that grows with their square (480: seven seconds, so 0.2).
MANY = 64


class Rows(NamedTuple):
    """How the same result of all rounds lies in one array, side by side along an axis, or along a new one.

    Rounds are taken out and put together as their user joins them: slices of neighbours that are joined along the axis
    that they lie along are one slice to XLA, where it would compile hundreds (20 ms each).
    """

    axis: int
    new: bool

    @classmethod
    def of(cls, row: tuple[int, ...], joined: tuple[int, ...], n: int) -> Rows | None:
        """How ``n`` arrays of one shape have been joined; None if they have not been."""
        for axis in range(len(row) + 1):
            if joined == (*row[:axis], n, *row[axis:]):
                return cls(axis, True)
            if axis < len(row) and joined == (*row[:axis], n * row[axis], *row[axis + 1 :]):
                return cls(axis, False)
        return None

    def whole(self, stack: Any) -> Any:
        """What has rounds along its first axis, so that they lie side by side."""
        import jax.numpy as jnp

        found = jnp.moveaxis(stack, 0, self.axis)
        if self.new:
            return found
        shape = found.shape
        return found.reshape(*shape[: self.axis], shape[self.axis] * shape[self.axis + 1], *shape[self.axis + 2 :])

    def row(self, whole: Any, r: int, shape: tuple[int, ...]) -> Any:
        """What a round has made."""
        from jax import lax

        size = 1 if self.new else shape[self.axis]
        return lax.slice_in_dim(whole, r * size, (r + 1) * size, axis=self.axis).reshape(shape)

    def stack(self, found: dict[int, Any], rounds: int, shape: tuple[int, ...], dtype: Any) -> Any:
        """Arrays by round, zero where there is none, along a new first axis."""
        import jax.numpy as jnp
        from jax import lax

        size = 1 if self.new else shape[self.axis]
        pieces, r = [], 0
        while r < rounds:
            if r in found:
                r += 1
                row = found[r - 1]
                pieces.append(lax.expand_dims(row, (self.axis,)) if self.new else row)
                continue
            begin = r
            while r < rounds and r not in found:
                r += 1
            rest = shape[self.axis + (not self.new) :]
            pieces.append(jnp.zeros((*shape[: self.axis], (r - begin) * size, *rest), dtype))
        whole = lax.concatenate(pieces, self.axis) if len(pieces) > 1 else pieces[0]
        if not self.new:
            whole = whole.reshape(*shape[: self.axis], rounds, *shape[self.axis :])
        return jnp.moveaxis(whole, self.axis, 0)


#: Where nobody joins them.
APART = Rows(0, True)


class Row:
    """What a round has made, as a part of the array of all rounds: taken out when somebody wants it."""

    __slots__ = ("form", "r", "shape", "whole")

    def __init__(self, whole: Any, form: Rows, r: int, shape: tuple[int, ...]) -> None:
        self.whole, self.form, self.r, self.shape = whole, form, r, shape

    def array(self) -> np.ndarray:
        """In the memory of the whole, which nobody writes to."""
        form = self.form
        size = 1 if form.new else self.shape[form.axis]
        part = (*(slice(None),) * form.axis, slice(self.r * size, (self.r + 1) * size))
        return np.asarray(self.whole)[part].reshape(self.shape)


def _joined(call: Any, made: dict[int, tuple[int, int]], forms: dict[int, Rows]) -> None:
    """Note how a call joins what rounds have made."""
    if type(call) is not Call or not call.op.joins or len(call.slots) < HEAVY_ROUNDS or len(call.outs) != 1:
        return
    positions = {made[s][1] for s in call.slots if s in made}
    if len(positions) == 1 and len({m.shape for m in call.metas}) == 1:
        found = Rows.of(call.metas[0].shape, call.outs[0].shape, len(call.slots))
        if found is not None:
            forms.setdefault(positions.pop(), found)


def _stack(arrays: Sequence[Any]) -> Any:
    """Arrays of one shape that come from outside, along a new first axis."""
    import jax.numpy as jnp
    from jax import lax

    if len(arrays) < MANY or not arrays[0].ndim:
        return jnp.stack(arrays)
    return lax.concatenate([jnp.asarray(a) for a in arrays], 0).reshape(len(arrays), *arrays[0].shape)


class Loop:
    """A run of calls that repeats.

    calls: one round, with slots of their own.   rounds: how often.
    fixed: slots that all rounds take.   carry: (slot taken by the first round, position of the result that the next one
    takes).   each: for each array that rounds take for themselves, its slots.   numbers: the same for numbers.
    outs: slots of results that are needed outside, each (position among the round's results, round).
    forms: how results lie in one array, by position.   outside: for each of ``each``, whether it comes from outside.
    """

    __slots__ = ("calls", "rounds", "fixed", "carry", "each", "numbers", "outs", "out_slots", "out_metas", "wrt_slots",
                 "wrt", "results", "metas", "all_calls", "op", "slots", "kernel", "place", "location", "forms",
                 "outside")  # fmt: skip

    @property
    def heavy(self) -> bool:
        """Whether there is a product in its rounds."""
        return any(_heavy(c.op) for c in self.calls)


class _Opaque:
    """Stands for the operation of a loop where only its flags are asked for."""

    name, alias, inplace, leaf, walk, saves = "loop", False, 0, False, None, True


def _kind(call: Call, ways: bool = False) -> Any:
    """What calls have in common that may be rounds of one loop; None for those that must stand alone.

    ways: ways back through executed traces may be such rounds, unless they are differentiated themselves.
    """
    op = call.op
    if isinstance(call.place, str) or (op.walk is not None and (not ways or call.tracked)):
        return None
    if op.leaf and (op.alias or any(m.grad == LEAF for m in call.outs)):
        return None
    pattern = tuple(
        [int if type(i) is int else None if i is None else (i.type,) if type(i) is Wide else (i[0],) for i in call.ins]
    )
    # Gradients aside: the state that the first round takes has none where the others' has, which is no difference to a
    # loop, whose gradient is the scan's.
    shapes = tuple([(m.shape, m.dtype, m.inference) for m in (*call.metas, *call.outs)])
    return (op, call.static, call.mode, pattern, shapes, call.place)


def _heavy(op: Any) -> bool:
    """Whether there is a product in it."""
    return op.heavy or (op.walk is not None and any(c.op.heavy for c in op.info.plan))


def roll(steps: Sequence[Any], wanted: Iterable[int], taped: set[Call], ways: bool = False) -> tuple[Any, ...]:
    """The steps with repeated runs as loops.  ``wanted``: slots that must come out.   ways: see :func:`_kind`."""
    if len(steps) < 2 * HEAVY_ROUNDS:
        return tuple(steps)
    interior: set[int] = set()
    for e in steps:
        if type(e) is Reverse:
            interior.update(s for s, m in e.outs)
    ids: dict[Any, int] = {}
    kinds: list[int] = []
    for k, e in enumerate(steps):
        kind = _kind(e, ways) if type(e) is Call else None
        kinds.append(-1 - k if kind is None else ids.setdefault(kind, len(ids)))
    uses: dict[int, list[int]] = {}
    for k, e in enumerate(steps):
        for s in e.slots if type(e) is Call else (*e.slots, *e.roots):
            uses.setdefault(s, []).append(k)
    out: list[Any] = []
    at = 0
    wanted = set(wanted)
    made = {s for e in steps for s in e.out_slots}
    heavy = [type(e) is Call and _heavy(e.op) for e in steps]

    def enter(start: int, period: int, rounds: int) -> bool:
        nonlocal at
        loop = _loop(steps, start, period, rounds, uses, wanted, interior, taped)
        if loop is None:
            return False
        loop.outside = tuple([made.isdisjoint(column) for column in loop.each])
        out.extend(steps[at:start])
        out.append(loop)
        at = start + period * rounds
        return True

    for start, period, rounds in _repeats(kinds, heavy):
        _enter_parts(steps, start, period, rounds, heavy, enter)
    out.extend(steps[at:])
    return tuple(out)


def _enter_parts(
    steps: Sequence[Any], start: int, period: int, rounds: int, heavy: list[bool],
    enter: Callable[[int, int, int], bool],
) -> None:  # fmt: skip
    """``enter(start, period, rounds)`` the run, or, if it is no loop, those of its parts that are alike."""
    if enter(start, period, rounds):
        return
    least = _least(heavy, start, period)
    for first, n in _alike(steps, start, period, rounds):
        if least <= n < rounds:
            enter(start + first * period, period, n)


def recurs(entries: Iterable[Any]) -> bool:
    """Whether most products that were recorded are in rounds of loops, which are half of all at least."""
    calls = [e for e in entries if type(e) is Call]
    inside = [c for e in loops_in(calls) if e.heavy for c in e.all_calls]
    products = [sum([c.op.heavy for c in part]) for part in (inside, calls)]
    return 2 * len(inside) >= len(calls) and 4 * products[0] >= 3 * products[1]


def loops_in(calls: Sequence[Call]) -> list[Loop]:
    """The loops among calls of which nothing is needed outside but by others of them."""
    return [e for e in roll(calls, (), {c for c in calls if c.tracked}) if type(e) is Loop]


def roll_heavy(steps: Sequence[Any], wanted: Iterable[int], taped: set[Call]) -> tuple[Any, ...]:
    """As :func:`roll`, only loops with products in them, and without what rounds cut out of what all of them take.

    Those parts are taken for each round by itself: the kernel of the rest does not depend on how large the whole is.
    """
    wanted = set(wanted)
    rolled = roll(steps, wanted, taped)
    apart: list[Any] = []
    again = False
    for e in rolled:
        if type(e) is not Loop:
            apart.append(e)
            continue
        parts = _parts(e) if e.heavy else set()
        again = again or bool(parts)
        period = len(e.calls)
        apart.extend([c for k, c in enumerate(e.all_calls) if k % period in parts])
        apart.extend([c for k, c in enumerate(e.all_calls) if k % period not in parts])
    if again:
        rolled = roll(apart, wanted, taped)
    return tuple([s for e in rolled for s in (e.all_calls if type(e) is Loop and not e.heavy else (e,))])


def _parts(loop: Loop) -> set[int]:
    """Positions of calls of a round that take, by a number of the round's own, a part of what all rounds take."""
    fixed = len(loop.fixed)
    found: set[int] = set()
    for k, c in enumerate(loop.calls):
        numbers = any(type(i) is Wide for i in c.ins)
        if numbers and c.slots and max(c.slots) <= fixed and sum(m.size for m in c.outs) < max(m.size for m in c.metas):
            found.add(k)
    return found


def _alike(steps: Sequence[Any], start: int, period: int, rounds: int) -> list[tuple[int, int]]:
    """(first, number) of rounds that take their arrays from the same places, and for the same of which gradients are
    wanted: a loop that goes on with what it has made itself, where it had data before, is two loops."""
    made: dict[int, tuple[int, int]] = {}
    taken: list[list[Any]] = []
    for r in range(rounds):
        row = steps[start + r * period : start + (r + 1) * period]
        for q, call in enumerate(row):
            made.update((s, (r, q, k)) for k, s in enumerate(call.out_slots))
        places = [made.get(i) if type(i) is int else None for call in row for i in call.ins]
        taken.append([None if m is None else (r - m[0], *m[1:]) for m in places] + [call.wrt for call in row])
    found, first = [], 0
    for r in range(1, rounds + 1):
        # the first round of a loop may take from outside what the others take of the one before
        if r == rounds or (r > first + 1 and taken[r] != taken[r - 1]):
            found.append((first, r - first))
            first = r
    return found


def _repeats(kinds: list[int], heavy: list[bool]) -> list[tuple[int, int, int]]:
    """(start, period, rounds) of runs that repeat, in order and apart from each other; the longest are found first.

    heavy: which of the steps are products.
    """
    n = len(kinds)
    last: dict[int, int] = {}
    periods: dict[int, int] = {}
    for k, kind in enumerate(kinds):
        if kind >= 0:
            if kind in last and k - last[kind] <= LONGEST:
                periods[k - last[kind]] = periods.get(k - last[kind], 0) + 1
            last[kind] = k
    found: list[tuple[int, int, int]] = []
    for period in sorted(periods):
        if periods[period] < HEAVY_ROUNDS - 1:
            continue
        k = 0
        while k + period < n:
            run = 0
            while k + run + period < n and kinds[k + run] == kinds[k + run + period] >= 0:
                run += 1
            rounds = run // period + 1
            if rounds >= _least(heavy, k, period):
                found.append((k, period, rounds))
            k += run + 1
    # the more calls a loop replaces the better; of the same calls, rounds that are not several rounds
    found.sort(key=lambda f: (-(f[1] * f[2]), f[1]))
    taken: list[tuple[int, int, int]] = []
    for begin, period, rounds in found:
        for start, p, r in taken:  # what is left before or behind
            before, behind = (start - begin) // period, max(0, -(-(start + p * r - begin) // period))
            if before >= rounds or behind == 0:
                continue
            begin, rounds = max((begin, before), (begin + behind * period, rounds - behind), key=lambda part: part[1])
        if rounds >= _least(heavy, begin, period):
            taken.append((begin, period, rounds))
    return sorted(taken)


def _least(heavy: list[bool], start: int, period: int) -> int:
    """Rounds that are worth a loop."""
    return HEAVY_ROUNDS if any(heavy[start : start + period]) else ROUNDS


def _loop(steps: Sequence[Any], start: int, period: int, rounds: int, uses: dict[int, list[int]], wanted: set[int],
          interior: set[int], taped: set[Call]) -> Loop | None:  # fmt: skip
    """The loop made of these calls, or None if they do not depend on each other as rounds do."""
    grid: list[list[Call]] = [list(steps[start + r * period : start + (r + 1) * period]) for r in range(rounds)]
    if any(c.tracked != second.tracked for row in grid[2:] for c, second in zip(row, grid[1], strict=True)) or any(
        c.tracked and not second.tracked for c, second in zip(*grid[:2], strict=True)
    ):
        return None  # the second round, which stands for all, would stop gradients of others
    end = start + period * rounds
    made: dict[int, tuple[int, int]] = {}  # slot -> (round, position among the round's results)
    position = 0
    starts = []
    for c in grid[0]:
        starts.append(position)
        position += len(c.outs)
    for r, row in enumerate(grid):
        for c, base in zip(row, starts, strict=True):
            for k, s in enumerate(c.out_slots):
                made[s] = (r, base + k)
    if not interior.isdisjoint(made):
        return None  # somebody asks for a gradient inside
    loop = Loop()
    fixed: dict[int, int] = {}
    carry: dict[tuple[int, int], int] = {}
    each: dict[tuple[int, ...], int] = {}
    numbers: list[list[Any]] = []
    template: list[list[Any]] = []
    for q in range(period):
        row_ins = [grid[r][q].ins for r in range(rounds)]
        mine: list[Any] = []
        for p, i in enumerate(row_ins[0]):
            column = [ins[p] for ins in row_ins]
            if i is None:
                mine.append(None)
            elif type(i) is not int:
                values = [(c.type, c.index) if type(c) is Wide else ("is", c[0], repr(c[1])) for c in column]
                if len(set(values)) == 1 and type(i) is tuple:
                    mine.append(i)
                else:
                    mine.append(("number", i.type if type(i) is Wide else i[0], len(numbers)))
                    numbers.append(column)
            else:
                source = _source(column, made, fixed, carry, each)
                if source is None:
                    return None
                mine.append(source)
        template.append(mine)
    # one round as calls over slots of its own: fixed, carried, each, results
    n_fixed, n_carry = len(fixed), len(carry)
    offset = 1
    place_of = {"fixed": offset, "carry": offset + n_fixed, "each": offset + n_fixed + n_carry,
                "inside": offset + n_fixed + n_carry + len(each)}  # fmt: skip
    calls: list[Call] = []
    second = grid[1]
    for q, mine in enumerate(template):
        c = second[q]
        ins = tuple([
            None if i is None
            else place_of[i[0]] + i[1] if i[0] in place_of
            else Wide(i[1], i[2]) if i[0] == "number"
            else i
            for i in mine
        ])  # fmt: skip
        lifted = any(type(a) is Wide for a in ins)
        kernel = kernel_for(c.op, c.static, ins, c.mode, c.kernel.platform) if lifted else c.kernel
        calls.append(Call(c.op, c.static, ins, c.metas, place_of["inside"] + starts[q], c.outs, c.mode, c.location,
                          kernel, c.place, c.checks))  # fmt: skip
    loop.calls, loop.rounds = calls, rounds
    loop.fixed, loop.each = tuple(fixed), tuple(each)
    loop.carry = tuple(carry)
    loop.numbers = numbers
    loop.results = [m for c in second for m in c.outs]
    loop.all_calls = [c for row in grid for c in row]
    loop.op = _Opaque
    loop.place, loop.location = second[0].place, second[0].location
    needed = [s for s in made if s in wanted or any(k < start or k >= end for k in uses.get(s, ()))]
    loop.forms = {}
    for k in {k for s in needed for k in uses.get(s, ()) if k >= end}:
        _joined(steps[k], {s: made[s] for s in needed}, loop.forms)
    loop.outs = tuple([made[s][::-1] for s in needed])
    loop.out_slots = tuple(needed)
    producers = {s: m for row in grid for c in row for s, m in zip(c.out_slots, c.outs, strict=True)}
    loop.out_metas = tuple([producers[s] for s in needed])
    metas: dict[int, Meta] = {}
    for row in grid:
        for c in row:
            metas.update(zip(c.slots, c.metas, strict=True))
    if any(metas[column[0]].grad == LEAF for column in loop.each):
        return None  # equal layers: stacking their weights costs more than compiling them one by one
    taken = (*loop.fixed, *(s for s, _ in loop.carry), *(s for column in loop.each for s in column))
    loop.slots = taken
    tracked = any(c in taped for c in loop.all_calls)
    loop.wrt = tuple([k for k, s in enumerate(taken) if metas[s].grad]) if tracked else ()
    loop.wrt_slots = tuple([taken[k] for k in loop.wrt])
    for s, r in loop.carry:  # a scan carries what keeps its shape and dtype
        m, result = metas[s], loop.results[r]
        if m.shape != result.shape or m.dtype != result.dtype:
            return None
    return loop


def _source(column: list[int], made: dict[int, tuple[int, int]], fixed: dict, carry: dict, each: dict) -> Any:
    """Where the rounds take an array from: the same for all, the round itself, the one before, or one for each."""
    homes = [made.get(s) for s in column]
    if all(h is not None and h[0] == r for r, h in enumerate(homes)):
        positions = {h[1] for h in homes}
        return ("inside", positions.pop()) if len(positions) == 1 else None
    if len(set(column)) == 1 and homes[0] is None:
        return ("fixed", fixed.setdefault(column[0], len(fixed)))
    if homes[0] is None and all(h is not None and h[0] == r for r, h in enumerate(homes[1:])):
        positions = {h[1] for h in homes[1:]}
        if len(positions) != 1:
            return None
        return ("carry", carry.setdefault((column[0], positions.pop()), len(carry)))
    if all(h is None for h in homes):
        return ("each", each.setdefault(tuple(column), len(each)))
    return None


class Back:
    """The way back through a run of calls that repeats, over the arrays that an executed trace has left.

    Those are there for each call, so nothing of a round rests on another but the cotangents.
    calls: of one round.   bases: at which position among the round's results those of each call begin.
    rounds: how often.   taken: per call, what its kernel takes: ('array', slots by round), ('zeros', meta) where the
    gradient rests on no value, or ('number', numbers by round).
    ways: per call, where the cotangents of its arguments go: ('inside', position), ('carry', key), ('fixed', slot),
    ('each', slots by round); a carry's key is (slot that the first round takes, or None, position).
    made: slot -> (round, position).   metas: of the round's results.   sources: of slots outside that get cotangents.
    forms: how later calls join what rounds made, by position.
    """

    __slots__ = ("bases", "calls", "forms", "made", "metas", "rounds", "sources", "taken", "ways")

    def pull(self, env: dict[int, Any], numbers: dict, cotangents: dict[int, Any], how: Any) -> None:
        """Carry the cotangents of what the rounds made to what they took."""
        import jax.numpy as jnp
        from jax import lax

        def zeros(meta: Meta) -> Any:
            return jnp.zeros(meta.shape, meta.dtype)

        def plus(into: dict, key: Any, g: Any) -> None:
            into[key] = how.add(into[key], g) if key in into else g

        outer: dict[int, dict[int, Any]] = {}  # position -> round -> cotangent from outside
        for s, (r, p) in self.made.items():
            if s in cotangents:
                outer.setdefault(p, {})[r] = how.plain(cotangents.pop(s))
        if not outer:
            return
        given = {
            p: self.forms.get(p, APART).stack(found, self.rounds, self.metas[p].shape, self.metas[p].dtype)
            for p, found in outer.items()
        }
        stacks: dict[Any, Any] = {}
        for what, column in (t for taken in self.taken for t in taken):
            if what == "array" and len(set(column)) > 1 and column not in stacks:
                stacks[column] = _stack([env[s] for s in column])
            elif what == "number" and column not in stacks:
                stacks[column] = _stacked_numbers(column, numbers)
        ways = list(dict.fromkeys(w for one in self.ways for w in one if w[0] != "inside"))
        carry = [w for w in ways if w[0] == "carry"]
        fixed = [w for w in ways if w[0] == "fixed"]
        each = [w for w in ways if w[0] == "each"]

        def body(state: Any, xs: Any) -> Any:
            held, sums = state
            flowing: dict[int, Any] = dict(zip(given, xs[0], strict=True))
            arrays = dict(zip(stacks, xs[1], strict=True))
            for w, c in zip(carry, held, strict=True):
                plus(flowing, w[1][1], c)
            out: dict[Any, Any] = dict(zip(fixed, sums, strict=True))
            for c, base, taken, ways in reversed(list(zip(self.calls, self.bases, self.taken, self.ways, strict=True))):
                cots = tuple([flowing.pop(base + k, None) for k in range(len(c.outs))])
                if all(g is None for g in cots):
                    continue
                if c.op.alias:
                    grads = cots
                else:
                    args = [
                        zeros(what) if kind == "zeros" else arrays[what] if what in arrays else env[what[0]]
                        for kind, what in taken
                    ]
                    grads = how.inside.vjp(c, tuple(args), cots)
                for w, g in zip(ways, grads, strict=True):
                    plus(*((flowing, w[1]) if w[0] == "inside" else (out, w)), g)
            ends = [out[w] if w in out else zeros(self.metas[w[1][1]]) for w in carry]
            rows = [out[w] if w in out else zeros(self.sources[w[1][-1]]) for w in each]
            return (ends, [out[w] for w in fixed]), rows

        start = [zeros(self.metas[w[1][1]]) for w in carry], [zeros(self.sources[w[1]]) for w in fixed]
        xs = list(given.values()), list(stacks.values())
        (ends, sums), rows = lax.scan(body, start, xs, length=self.rounds, reverse=True)
        for (_, (s, _)), c in zip(carry, ends, strict=True):
            if s is not None:
                plus(cotangents, s, c)
        for (_, s), c in zip(fixed, sums, strict=True):
            plus(cotangents, s, c)
        for (_, column), row in zip(each, rows, strict=True):
            for r, s in enumerate(column):
                if s is not None:
                    plus(cotangents, s, row[r])


def roll_back(plan: tuple[Call, ...], outs: Iterable[int], needed: Any) -> tuple[Any, ...]:
    """The plan of a reverse pass over an executed trace, last first, with repeated runs as :class:`Back`.

    outs: slots whose cotangents must come out.   needed(call): slots whose values the gradient rests on.
    """
    if len(plan) < 2 * HEAVY_ROUNDS:
        return plan
    steps = plan[::-1]
    ids: dict[Any, int] = {}
    kinds = []
    for k, c in enumerate(steps):
        kind = _kind(c)
        kinds.append(-1 - k if kind is None else ids.setdefault(kind, len(ids)))
    found: list[Any] = []
    at = 0

    def enter(start: int, period: int, rounds: int) -> bool:
        nonlocal at
        grid = [steps[start + r * period : start + (r + 1) * period] for r in range(rounds)]
        back = _back(grid, set(outs), needed)
        if back is None:
            return False
        back.forms = {}
        for c in steps[start + period * rounds :]:
            _joined(c, back.made, back.forms)
        found.extend(steps[at:start])
        found.append(back)
        at = start + period * rounds
        return True

    heavy = [c.op.heavy for c in steps]
    for start, period, rounds in _repeats(kinds, heavy):
        _enter_parts(steps, start, period, rounds, heavy, enter)
    found.extend(steps[at:])
    return tuple(found[::-1])


def _back(grid: list[tuple[Call, ...]], outs: set[int], needed: Any) -> Back | None:
    """The way back through these rounds, or None if they do not depend on each other as rounds do."""
    first, second = grid[:2]
    made: dict[int, tuple[int, int]] = {}
    bases = []
    position = 0
    for c in second:
        bases.append(position)
        position += len(c.outs)
    for r, row in enumerate(grid):
        for c, base in zip(row, bases, strict=True):
            made.update((s, (r, base + k)) for k, s in enumerate(c.out_slots))
    if not outs.isdisjoint(made):
        return None  # somebody asks for a gradient inside
    for row in grid[2:]:
        if any(c.wrt != d.wrt for c, d in zip(row, second, strict=True)):
            return None
    if any(not set(c.wrt) <= set(d.wrt) for c, d in zip(first, second, strict=True)):
        return None
    most = LARGEST * max((prod(m.shape) for c in second for m in c.outs), default=0)
    back = Back()
    calls, taken, ways = [], [], []
    sources: dict[int, Meta] = {}
    for q, c in enumerate(second):
        rows = [row[q] for row in grid]
        used = set(needed(c))
        mine: list[Any] = []
        going: list[Any] = []
        ins: list[Any] = []
        k = 0
        for p, i in enumerate(c.ins):
            column = tuple([d.ins[p] for d in rows])
            if type(i) is int:
                metas = [d.metas[k] for d in rows]
                if i not in made and len(set(column)) > 1 and (
                    any(m.grad == LEAF for m in metas) or (i in used and prod(metas[1].shape) > most)
                ):
                    return None  # equal layers: stacking their weights costs more than compiling them one by one
                mine.append(("array", column) if i in used else ("zeros", c.metas[k]))
                if c.metas[k].grad:
                    way = _way(column, metas, made)
                    if way is None:
                        return None
                    going.append(way)
                    sources.update(zip(column, metas, strict=True))
                k += 1
            elif i is not None and (
                len({(d.type, d.index) if type(d) is Wide else ("is", d[0], repr(d[1])) for d in column}) > 1
                or type(i) is Wide
            ):
                mine.append(("number", column))
                i = Wide(i.type if type(i) is Wide else i[0], 0)
            ins.append(i)
        if any(type(a) is not type(b) for a, b in zip(ins, c.ins, strict=True)):
            kernel = kernel_for(c.op, c.static, tuple(ins), c.mode, c.kernel.platform)
            c = Call(c.op, c.static, tuple(ins), c.metas, c.first, c.outs, c.mode, c.location, kernel, c.place,
                     c.checks)  # fmt: skip
        calls.append(c)
        taken.append(tuple(mine))
        ways.append(tuple(going))
    back.calls, back.bases, back.rounds, back.taken, back.ways = calls, bases, len(grid), taken, ways
    back.made, back.sources = made, sources
    back.metas = [m for c in second for m in c.outs]
    for _, key in (w for one in ways for w in one if w[0] == "carry"):  # a scan carries what keeps its shape and dtype
        s, p = key
        if s is not None and (sources[s].shape, sources[s].dtype) != (back.metas[p].shape, back.metas[p].dtype):
            return None
    return back


def _way(column: tuple[int, ...], metas: list[Meta], made: dict[int, tuple[int, int]]) -> Any:
    """Where the rounds' cotangents of an argument go; None if that is not the same for all."""
    source = _source(list(column), made, {}, {}, {})
    if source is None:
        return None
    if source[0] == "inside":
        return source
    if source[0] == "fixed":
        return "fixed", column[0]
    before = column[0] if metas[0].grad else None  # what the first round takes may have none
    if source[0] == "carry":
        return "carry", (before, made[column[1]][1])
    return "each", (before, *column[1:])


def _stacked_numbers(column: tuple, numbers: dict) -> Any:
    """The numbers of all rounds as one vector: constants, and entries of ``numbers`` by type and index."""
    import jax.numpy as jnp

    from .trace import _lifted_dtype

    wide = next(c for c in column if type(c) is Wide) if any(type(c) is Wide for c in column) else None
    dtype = _lifted_dtype(column[0][0] if wide is None else wide.type)
    return jnp.stack([jnp.asarray(numbers[c.type, c.index] if type(c) is Wide else c[1], dtype) for c in column])


def run(loop: Loop, env: dict[int, Any], numbers: Any, how: Any, rows: dict | None = None) -> tuple[tuple, list, Any]:
    """(results, data checks, what takes cotangents of the results to gradients of ``loop.wrt_slots``).

    rows: where to note of which arrays results are parts: slot -> (array, form, round).
    """
    taken = [env[s] for s in loop.slots]
    pull = None
    if not loop.wrt:
        arrays, flags = _scan(loop, taken, numbers, how)
    else:

        def closed(*moving: Any) -> tuple:
            full = list(taken)
            for k, x in zip(loop.wrt, moving, strict=True):
                full[k] = x
            return _scan(loop, full, numbers, how)

        arrays, pull, flags = differentiated(closed, [taken[k] for k in loop.wrt])
    return _results(loop, arrays, rows), _by_call(loop, flags), pull


def _by_call(loop: Loop, flags: list) -> list:
    rest = iter(flags)
    found = [(tuple([next(rest) for _ in c.checks]), c) for c in loop.calls if not c.op.alias]
    return [(f, c) for f, c in found if f]


def _several(loop: Loop) -> tuple[list[int], list[int]]:
    """Positions of the results that are needed of several rounds, and of those that are needed of the last one only."""
    several = sorted({p for p, r in loop.outs if r != loop.rounds - 1})
    return several, sorted({p for p, _ in loop.outs}.difference(several))


def _results(loop: Loop, arrays: tuple, rows: dict | None) -> tuple:
    """What is needed outside, of what :func:`_scan` gives."""
    several, last = _several(loop)
    arrays = dict(zip([*several, *last], arrays, strict=True))
    for p in several:
        arrays[p] = loop.forms.get(p, APART).whole(arrays[p])
    if rows is not None:
        for s, (p, r) in zip(loop.out_slots, loop.outs, strict=True):
            if p in several:
                rows[s] = arrays[p], loop.forms.get(p, APART), r
    return tuple([
        arrays[p] if p in last else loop.forms.get(p, APART).row(arrays[p], r, loop.results[p].shape)
        for p, r in loop.outs
    ])  # fmt: skip


def pull_back(loop: Loop, pull: Any, cotangents: tuple) -> tuple:
    """Gradients by the loop's differentiable arguments, in PyTorch's complex convention."""
    several, last = _several(loop)
    found: dict[int, dict[int, Any]] = {}
    for (p, r), c in zip(loop.outs, cotangents, strict=True):
        if c is not None:
            found.setdefault(p, {})[r] = c
    given, shapes = [], []
    for p in [*several, *last]:
        m = loop.results[p]
        shapes.append(((loop.rounds, *m.shape) if p in several else m.shape, m.dtype))
        if p not in found:
            given.append(None)
        elif p in several:
            given.append(loop.forms.get(p, APART).stack(found[p], loop.rounds, m.shape, m.dtype))
        else:
            given.append(found[p][loop.rounds - 1])
    layout = (tuple(shapes), tuple([c is not None for c in given]))
    return _apply_vjp(pull, tuple([c for c in given if c is not None]), layout)


def plan_of(plan: tuple[Call, ...], loops: dict[Call, Loop]) -> tuple:
    """The plan of a reverse pass, with loops in the place of their calls."""
    if not loops:
        return plan
    return tuple(dict.fromkeys(loops.get(c, c) for c in plan))


def round_of(loop: Loop, fixed: Sequence[Any], held: Sequence[Any], arrays: Sequence[Any], scalars: Sequence[Any],
             how: Any) -> tuple[list, list]:  # fmt: skip
    """(results, data checks) of one round, by what all take, what it takes of the one before, and what for itself."""
    import jax.numpy as jnp

    env = dict(enumerate([*fixed, *held, *arrays], 1))
    begin = len(env) + 1
    ok = []
    for c in loop.calls:
        if c.op.alias:
            env[c.first] = c.stopped(env[c.slots[0]])
            continue
        args = tuple([
            env[i] if type(i) is int else scalars[i.index] for i in c.ins if type(i) is int or type(i) is Wide
        ])  # fmt: skip
        outs, found = how.forward(c, args)
        for s, o in zip(c.out_slots, outs, strict=True):
            env[s] = c.stopped(o)
        ok.extend([jnp.all(f) for f in found])
    return [env[begin + k] for k in range(len(loop.results))], ok


def _scan(loop: Loop, taken: list[Any], numbers: Any, how: Any) -> tuple[tuple, list]:
    """What several rounds are needed of, along a first axis, and what the last one is needed of; data checks."""
    import jax.numpy as jnp
    from jax import lax

    n_fixed, n_carry, n_each = len(loop.fixed), len(loop.carry), len(loop.each)
    fixed = taken[:n_fixed]
    first = taken[n_fixed : n_fixed + n_carry]
    columns = taken[n_fixed + n_carry :]
    each = []
    for k in range(n_each):
        column = columns[k * loop.rounds : (k + 1) * loop.rounds]
        each.append(_stack(column) if loop.outside[k] else jnp.stack(column))
    given = [_numbers(column, numbers) for column in loop.numbers]
    # results that are needed of the last round only are carried along, the others are stacked
    stacked, ends = _several(loop)
    carried = [p for _, p in loop.carry]
    last = [p for p in ends if p not in carried]
    blank = [jnp.zeros(loop.results[p].shape, loop.results[p].dtype) for p in last]

    def body(state: Any, xs: Any) -> Any:
        held, _ = state
        results, ok = round_of(loop, fixed, held, *xs, how)
        return ([results[p] for p in carried], [results[p] for p in last]), ([results[p] for p in stacked], ok)

    (held, rest), (ys, ok) = lax.scan(body, (first, blank), (each, given), length=loop.rounds)
    by_position = {**dict(zip(last, rest, strict=True)), **dict(zip(carried, held, strict=True))}
    return (*ys, *(by_position[p] for p in ends)), [jnp.all(f) for f in ok]


def _numbers(column: list[Any], numbers: Any) -> Any:
    """The run-time numbers, or constants, of all rounds as one vector."""
    import jax.numpy as jnp
    import numpy as np

    from .trace import _lifted_dtype

    wides = [c for c in column if type(c) is Wide]
    constants = [c[1] for c in column if type(c) is not Wide]
    dtype = _lifted_dtype(wides[0].type if wides else column[0][0])  # rounds have numbers of one kind
    if not wides:
        return jnp.asarray(np.array(constants, dtype))
    given = jnp.asarray(numbers.several(wides), dtype)
    if not constants:
        return given
    # the first rounds' numbers are constants still where they have become inputs from some round on: one operation
    # here as well, since one for each round took XLA ten seconds for a loop of 128
    places = iter(range(len(wides))), iter(range(len(wides), len(column)))
    order = np.array([next(places[type(c) is not Wide]) for c in column])
    return jnp.concatenate([given, jnp.asarray(np.array(constants, dtype))])[order]


__all__ = ["Back", "Loop", "loops_in", "plan_of", "pull_back", "recurs", "roll", "roll_back", "roll_heavy", "round_of",
           "run"]  # fmt: skip
