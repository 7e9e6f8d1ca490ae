"""Loops that Python unrolled, rolled up again.

A recurrence written as a Python loop – a cell called for each time step – is recorded step after step.  Compiled as it
stands, XLA takes minutes for a few hundred steps, and the result is slower than a loop.  So before a trace becomes a
program, runs of calls that repeat are found and become one ``lax.scan``: what a round takes of the round before is the
carry, what all rounds take alike is closed over, what each takes for itself is stacked.  Gradients are the scan's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

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


class Loop:
    """A run of calls that repeats.

    calls: one round, with slots of their own.   rounds: how often.
    fixed: slots that all rounds take.   carry: (slot taken by the first round, position of the result that the next one
    takes).   each: for each array that rounds take for themselves, its slots.   numbers: the same for numbers.
    outs: slots of results that are needed outside, each (position among the round's results, round).
    """

    __slots__ = ("calls", "rounds", "fixed", "carry", "each", "numbers", "outs", "out_slots", "out_metas", "wrt_slots",
                 "wrt", "results", "metas", "all_calls", "op", "slots", "kernel", "place", "location")  # fmt: skip


class _Opaque:
    """Stands for the operation of a loop where only its flags are asked for."""

    name, alias, inplace, leaf, walk, saves = "loop", False, 0, False, None, True


def _kind(call: Call) -> Any:
    """What calls have in common that may be rounds of one loop; None for those that must stand alone."""
    op = call.op
    if op.walk is not None or isinstance(call.place, str):
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


def roll(steps: Sequence[Any], wanted: Iterable[int], taped: set[Call]) -> tuple[Any, ...]:
    """The steps with repeated runs as loops.  ``wanted``: slots that must come out."""
    if len(steps) < 2 * HEAVY_ROUNDS:
        return tuple(steps)
    interior: set[int] = set()
    for e in steps:
        if type(e) is Reverse:
            interior.update(s for s, m in e.outs)
    ids: dict[Any, int] = {}
    kinds: list[int] = []
    for k, e in enumerate(steps):
        kind = _kind(e) if type(e) is Call else None
        kinds.append(-1 - k if kind is None else ids.setdefault(kind, len(ids)))
    uses: dict[int, list[int]] = {}
    for k, e in enumerate(steps):
        for s in e.slots if type(e) is Call else (*e.slots, *e.roots):
            uses.setdefault(s, []).append(k)
    out: list[Any] = []
    at = 0
    for start, period, rounds in _repeats(kinds, [type(e) is Call and e.op.heavy for e in steps]):
        loop = _loop(steps, start, period, rounds, uses, set(wanted), interior, taped)
        if loop is None:
            continue
        out.extend(steps[at:start])
        out.append(loop)
        at = start + period * rounds
    out.extend(steps[at:])
    return tuple(out)


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
            if rounds >= (HEAVY_ROUNDS if any(heavy[k : k + period]) else ROUNDS):
                found.append((k, period, rounds))
            k += run + 1
    # the more calls a loop replaces the better; of the same calls, rounds that are not several rounds
    found.sort(key=lambda f: (-(f[1] * f[2]), f[1]))
    taken: list[tuple[int, int, int]] = []
    for f in found:
        begin, end = f[0], f[0] + f[1] * f[2]
        if all(end <= t[0] or begin >= t[0] + t[1] * t[2] for t in taken):
            taken.append(f)
    return sorted(taken)


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
    """

    __slots__ = ("bases", "calls", "made", "metas", "rounds", "sources", "taken", "ways")

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
                outer.setdefault(p, {})[r] = cotangents.pop(s)
        if not outer:
            return
        given = {
            p: jnp.stack([found[r] if r in found else zeros(self.metas[p]) for r in range(self.rounds)])
            for p, found in outer.items()
        }
        stacks: dict[Any, Any] = {}
        for what, column in (t for taken in self.taken for t in taken):
            if what == "array" and len(set(column)) > 1 and column not in stacks:
                stacks[column] = jnp.stack([env[s] for s in column])
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
                    grads = how.vjp(c, tuple(args), cots)
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
    for start, period, rounds in _repeats(kinds, [c.op.heavy for c in steps]):
        grid = [steps[start + r * period : start + (r + 1) * period] for r in range(rounds)]
        back = _back(grid, set(outs), needed)
        if back is not None:
            found.extend(steps[at:start])
            found.append(back)
            at = start + period * rounds
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


def run(loop: Loop, env: dict[int, Any], numbers: Any, how: Any) -> tuple[tuple, list, Any]:
    """(results, data checks, what takes cotangents of the results to gradients of ``loop.wrt_slots``)."""
    taken = [env[s] for s in loop.slots]
    if not loop.wrt:
        outs, flags = _scan(loop, taken, numbers, how)
        return outs, _by_call(loop, flags), None

    def closed(*moving: Any) -> tuple:
        full = list(taken)
        for k, x in zip(loop.wrt, moving, strict=True):
            full[k] = x
        return _scan(loop, full, numbers, how)

    outs, pull, flags = differentiated(closed, [taken[k] for k in loop.wrt])
    return outs, _by_call(loop, flags), pull


def _by_call(loop: Loop, flags: list) -> list:
    rest = iter(flags)
    found = [(tuple([next(rest) for _ in c.checks]), c) for c in loop.calls if not c.op.alias]
    return [(f, c) for f, c in found if f]


def pull_back(loop: Loop, pull: Any, cotangents: tuple) -> tuple:
    """Gradients by the loop's differentiable arguments, in PyTorch's complex convention."""
    layout = (tuple((m.shape, m.dtype) for m in loop.out_metas), tuple(c is not None for c in cotangents))
    return _apply_vjp(pull, tuple(c for c in cotangents if c is not None), layout)


def plan_of(plan: tuple[Call, ...], loops: dict[Call, Loop]) -> tuple:
    """The plan of a reverse pass, with loops in the place of their calls."""
    if not loops:
        return plan
    return tuple(dict.fromkeys(loops.get(c, c) for c in plan))


def _scan(loop: Loop, taken: list[Any], numbers: Any, how: Any) -> tuple[tuple, list]:
    import jax.numpy as jnp
    from jax import lax

    n_fixed, n_carry, n_each = len(loop.fixed), len(loop.carry), len(loop.each)
    fixed = taken[:n_fixed]
    first = taken[n_fixed : n_fixed + n_carry]
    columns = taken[n_fixed + n_carry :]
    each = [jnp.stack(columns[k * loop.rounds : (k + 1) * loop.rounds]) for k in range(n_each)]
    given = [_numbers(column, numbers) for column in loop.numbers]
    # results that are needed of the last round only are carried along, the others are stacked
    stacked = sorted({p for p, r in loop.outs if r != loop.rounds - 1})
    carried = [p for _, p in loop.carry]
    last = sorted({p for p, r in loop.outs if r == loop.rounds - 1} - set(stacked) - set(carried))
    blank = [jnp.zeros(loop.results[p].shape, loop.results[p].dtype) for p in last]

    def body(state: Any, xs: Any) -> Any:
        held, _ = state
        arrays, scalars = xs
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
        results = [env[begin + k] for k in range(len(loop.results))]
        return ([results[p] for p in carried], [results[p] for p in last]), ([results[p] for p in stacked], ok)

    (held, ends), (ys, ok) = lax.scan(body, (first, blank), (each, given), length=loop.rounds)
    outs = []
    for p, r in loop.outs:
        if p in stacked:
            outs.append(ys[stacked.index(p)][r])
        elif p in carried:
            outs.append(held[carried.index(p)])
        else:
            outs.append(ends[last.index(p)])
    return tuple(outs), [jnp.all(f) for f in ok]


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


__all__ = ["Back", "Loop", "plan_of", "pull_back", "roll", "roll_back", "run"]
