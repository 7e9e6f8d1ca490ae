"""Runs of operations that come again and again in graphs that never do: compiled as one kernel each.

Trees, sentences of other lengths, loops that end when the data says so: their traces differ at every step, but they
are made of the same cells.  A trace that is executed operation by operation is therefore cut where heavy operations
begin; a piece whose structure is met again and again is compiled whole, forward and reverse.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import evaluators
from .lengths import Kind
from .meta import INTERIOR, LEAF
from .op import Wide, _apply_vjp, differentiated
from .piles import zeros
from .rolled import Loop, roll_heavy
from .schedule import Schedule, walk
from .stored import Settled
from .trie import Call, Input, Reverse

#: A piece is compiled when it has been met that often: that takes as long as hundreds of its executions one by one.
MET = 100
#: A result that is used more often than that is a hub: what is taken from it is no part of a cell.
HUB = 6
#: No piece is longer, so that different ends do not make different pieces of long ones.
LONGEST = 32

_met: dict[tuple, int] = {}


class Region:
    """Consecutive calls of a trace.

    args: slots from outside, in order of use;  outs: slots that are needed outside;  key: its structure.
    wrt: positions of the differentiable ones among ``args``;  tracked: whether the tape goes through it.
    sums: positions of leaves among those: each region adds to what those behind it have found.
    """

    __slots__ = ("calls", "args", "wides", "outs", "key", "wrt", "tracked", "place", "metas", "out_metas",
                 "wrt_slots", "sums")  # fmt: skip

    def __init__(self, calls: list[Call], needed: set[int]) -> None:
        self.calls = calls
        local: dict[int, int] = {}
        args: list[int] = []
        metas: list[Any] = []
        wides: list[Wide] = []
        parts: list[tuple] = []
        outs: list[int] = []
        out_metas: list[Any] = []
        tracked = False
        for c in calls:
            rel = []
            k = 0
            for i in c.ins:
                if type(i) is int:
                    n = local.get(i)
                    if n is None:
                        n = local[i] = len(local)
                        args.append(i)
                        metas.append(c.metas[k])
                    rel.append(n)
                    k += 1
                elif type(i) is Wide:
                    wides.append(i)
            for s, m in zip(c.out_slots, c.outs, strict=True):
                local[s] = len(local)
                if s in needed:
                    outs.append(s)
                    out_metas.append(m)
            tracked = tracked or c.tracked
            parts.append((c.kernel, tuple(rel)))
        self.args, self.metas, self.wides, self.outs, self.out_metas = tuple(args), metas, wides, outs, out_metas
        self.place = calls[0].place
        self.wrt = tuple([k for k, m in enumerate(metas) if m.grad]) if tracked else ()
        self.wrt_slots = tuple([args[k] for k in self.wrt])
        self.sums = tuple([n for n, k in enumerate(self.wrt) if metas[k].grad == LEAF])
        self.tracked = bool(self.wrt)
        self.key = (tuple(parts), tuple(metas), tuple([local[s] for s in outs]), self.place)

    def evaluate(self, arrays: tuple, numbers: tuple) -> tuple:
        """The outs, evaluated inside a trace of JAX's."""
        slots = dict(zip(self.args, arrays, strict=True))
        rest = iter(numbers)
        how = Settled()
        for c in self.calls:
            if c.op.alias:
                slots[c.first] = c.stopped(slots[c.slots[0]])
                continue
            taken = tuple(
                slots[i] if type(i) is int else next(rest) for i in c.ins if type(i) is int or type(i) is Wide
            )
            outs, _ = how.forward(c, taken)
            slots.update(zip(c.out_slots, [c.stopped(o) for o in outs], strict=True))
        return tuple(slots[s] for s in self.outs)

    def pull(self, arrays: tuple, numbers: tuple, given: tuple, before: tuple, present: tuple) -> tuple:
        """Gradients by the differentiable args, in PyTorch's complex convention; by leaves, added to ``before``."""
        def closed(*moving: Any) -> tuple:
            full = list(arrays)
            for k, x in zip(self.wrt, moving, strict=True):
                full[k] = x
            return self.evaluate(tuple(full), numbers), None

        _, back, _ = differentiated(closed, [arrays[k] for k in self.wrt])
        layout = (tuple((m.shape, m.dtype) for m in self.out_metas), present)
        found = list(_apply_vjp(back, given, layout))
        for n, b in zip(self.sums, before, strict=True):
            found[n] = b + found[n]
        return tuple(found)

    def nothing(self, n: int) -> np.ndarray:
        """In place of what was found before of the ``n``-th of the differentiable args."""
        m = self.metas[self.wrt[n]]
        return zeros(m.shape, m.dtype)


def divide(schedule: Schedule, graph: Any) -> list | None:
    """The steps of a schedule in regions, single calls and reverse passes; None where cutting would be wrong."""
    pieces: list[Any] = []
    run: list[Call] | None = None
    steps = roll_heavy(schedule.steps, schedule.wanted, schedule.taped)
    for e in steps:
        if type(e) is Loop:
            pass
        elif type(e) is Reverse:
            for s, _ in e.outs:
                if type(graph.producer[s]) is not Input and graph.metas[s].grad == INTERIOR:
                    return None  # a cotangent inside a piece is asked for
        elif not (e.op.walk is not None or e.op.leaf or e.op.inplace or e.checks or isinstance(e.place, str)):
            if run is None or run[0].place != e.place:
                run = []
                pieces.append(run)
            run.append(e)
            continue
        pieces.append(e)
        run = None
    consumers: dict[int, list] = {}
    for e in steps:
        for s in e.slots if type(e) is not Reverse else (*e.slots, *e.roots):
            consumers.setdefault(s, []).append(e)
    wanted = set(schedule.wanted)
    cut: list[Any] = []
    for p in pieces:
        if type(p) is list:
            cut.extend(_cells(p, consumers, wanted))
        else:
            cut.append(p)
    where: dict[int, int] = {}
    needed = wanted
    for k, p in enumerate(cut):
        for e in p if type(p) is list else (p,):
            for s in e.slots if type(e) is not Reverse else (*e.slots, *e.roots):
                if where.get(s) != k:
                    needed.add(s)
            for s in e.out_slots:
                where[s] = k
    return Pieces(
        [Region(p, needed) if type(p) is list and len(p) > 1 else p[0] if type(p) is list else p for p in cut],
        set(schedule.wanted),
    )


class Pieces(list):
    """Pieces of a schedule, in order.

    drops: per piece, the slots that nothing needs after it.  last: by call, the last piece that goes back through it.
    kinds: of loops.
    """

    def __init__(self, pieces: list, wanted: set[int]) -> None:
        super().__init__(pieces)
        self.last: dict[Call, int] = {}
        self.kinds: dict[Loop, Kind] = {}
        keep, drops = set(wanted), []
        for k in range(len(pieces) - 1, -1, -1):
            p = pieces[k]
            if type(p) is Reverse:
                for call in p.plan:
                    self.last.setdefault(call, k)
            used: set[int] = set()
            for e in _calls(p):
                used.update(e.slots)
                used.update(e.out_slots)
            drops.append(tuple(used - keep))
            keep |= used
        drops.reverse()
        self.drops = drops


def _calls(piece: Any) -> Any:
    kind = type(piece)
    return piece.calls if kind is Region else piece.all_calls if kind is Loop else (piece,)


def _cells(run: list[Call], consumers: dict[int, list], wanted: set[int]) -> list[list[Call]]:
    """Cut a run into cells, in an order in which they can be executed.

    A cell is a heavy call with what comes after it until the next.  What only prepares one later cell (concatenations
    of other cells' results, zeros) goes to the head of that one, and pieces of a widely used result (rows of a table
    of words) stand alone, so that equal cells look equal whatever their surroundings.
    """
    cell: dict[Call, int] = {}
    producer: dict[int, int] = {}
    joins: set[Call] = set()
    count = 0
    for c in run:
        sources = {producer[s] for s in c.slots if s in producer}
        sources.discard(0)
        if c.op.heavy or any(s in producer and len(consumers[s]) > HUB for s in c.slots):
            count += 1
            at = count
        else:
            at = max(sources, default=0)
            if len(sources) != 1:
                joins.add(c)
        cell[c] = at
        for s in c.out_slots:
            producer[s] = at
    for c in reversed(run):
        if c not in joins:
            continue
        target = None
        for s in c.out_slots:
            if s in wanted:
                target = -1
                break
            for e in consumers.get(s, ()):
                at = cell.get(e, -1)
                target = at if target is None or target == at else -1
        if target is not None and target > cell[c]:
            cell[c] = target
    cells: dict[int, list[Call]] = {}
    for c in run:
        cells.setdefault(cell[c], []).append(c)
    out = []
    for at in sorted(cells):
        calls = cells[at]
        out.extend(calls[i : i + LONGEST] for i in range(0, len(calls), LONGEST))
    return out


def evaluate(pieces: Pieces, schedule: Schedule, env: dict[int, Any], numbers: Any, how: Any) -> list:
    """As :func:`~.schedule.evaluate`, over pieces."""
    tapes: dict[Any, Any] = {}
    checks: list = []
    order: list = []
    for k, piece in enumerate(pieces):
        if k:
            for s in pieces.drops[k - 1]:
                env.pop(s, None)
        kind = type(piece)
        if kind is Region:
            arrays = tuple([env[s] for s in piece.args])
            count = _met.get(piece.key, 0)
            if count < MET:
                if len(_met) > 50_000:
                    _met.clear()
                _met[piece.key] = count + 1
                for e in piece.calls:
                    _single(e, schedule, env, numbers, how, tapes, checks, order)
                continue
            given = tuple([numbers[w] for w in piece.wides])
            outs = how.region(piece, arrays, given)
            for s, o in zip(piece.outs, outs, strict=True):
                env[s] = o
            if piece.tracked and schedule.taped:
                tapes[piece] = (arrays, given)
                order.append(piece)
        elif kind is Loop:
            loop = pieces.kinds.get(piece)
            if loop is None:
                loop = pieces.kinds[piece] = Kind(piece)
            if not loop.worth():
                for e in piece.all_calls:
                    _single(e, schedule, env, numbers, how, tapes, checks, order)
                continue
            args = loop.arguments(env, numbers)
            found, flags = loop.run(args)
            env.update(found)
            checks.extend(flags)
            if loop.tracked:
                tapes[piece] = (args, loop)
                order.append(piece)
        elif kind is Call:
            _single(piece, schedule, env, numbers, how, tapes, checks, order)
        else:
            cotangents: dict[int, Any] = {}
            for root, seed in zip(piece.roots, piece.seeds, strict=True):
                c = how.ones(piece.sources[root]) if seed is None else env[seed]
                old = cotangents.get(root)
                cotangents[root] = c if old is None else how.add(old, c)
            wanted = frozenset([s for s, _ in piece.outs])
            inside = set(piece.plan)
            plan = [p for p in reversed(order) if p in inside or not inside.isdisjoint(_calls(p))]
            _back(plan, cotangents, wanted, tapes, how)
            for p in plan:
                if all(pieces.last.get(c, 0) <= k for c in _calls(p)):
                    tapes.pop(p, None)
                    order.remove(p)
            for s, (slot, _) in zip(piece.out_slots, piece.outs, strict=True):
                env[s] = cotangents[slot]
    return checks


def _single(
    e: Call, schedule: Schedule, env: dict, numbers: Any, how: Any, tapes: dict, checks: list, order: list
) -> None:
    if e.op.alias:
        env[e.first] = env[e.slots[0]]
        if e in schedule.taped:
            order.append(e)
        return
    arrays = tuple([env[i] if type(i) is int else numbers[i] for i in e.ins if type(i) is int or type(i) is Wide])
    if e in schedule.taped and e.wrt:
        outs, flags, tapes[e] = how.forward_taped(e, arrays)
        order.append(e)
    else:
        outs, flags = how.forward(e, arrays)
    for s, o in zip(e.out_slots, outs, strict=True):
        env[s] = o
    if flags:
        checks.append((flags, e))


def _put(call: Call, cotangents: dict, wanted: frozenset, arrays: tuple, own: dict[int, np.ndarray]) -> None:
    """Add the cotangent of a part to that of the whole, in the memory of one array for all parts."""
    (out,), (s,), (meta,) = call.out_slots, call.slots, call.metas
    given = cotangents.get(out)
    if given is None:
        return
    if out not in wanted:
        del cotangents[out]
    whole = cotangents.get(s)
    if whole is None or own.get(s) is not whole:
        whole = np.zeros(meta.shape, meta.dtype) if whole is None else np.array(whole)
        cotangents[s] = own[s] = whole
    shown = evaluators.part_of(call, whole, arrays[1:])
    shown += np.asarray(given)


def _back(plan: list, cotangents: dict, wanted: frozenset, tapes: dict, how: Any) -> None:
    own: dict[int, np.ndarray] = {}
    for p in plan:
        if type(p) is Loop:
            given = _arrived(p.out_slots, cotangents, wanted)
            if given:
                args, loop = tapes[p]
                before = {s: c for s in loop.sums if (c := cotangents.pop(s, None)) is not None}
                _hand_on(loop.pull(args, given, before), cotangents, how)
            continue
        if type(p) is Call and p.shows:
            _put(p, cotangents, wanted, tapes[p], own)
            continue
        if type(p) is not Region:
            walk((p,), cotangents, wanted, lambda call, given: how.pull(call, tapes[call], given), how.add)
            continue
        given = _arrived(p.outs, cotangents, wanted)
        if not given:
            continue
        present = tuple([s in given for s in p.outs])
        arrays, numbers = tapes[p]
        slots = p.wrt_slots
        before = []
        for n in p.sums:
            found = cotangents.pop(slots[n], None)
            before.append(p.nothing(n) if found is None else found)
        grads = how.region_pull(p, arrays, numbers, tuple(given.values()), tuple(before), present)
        _hand_on(dict(zip(slots, grads, strict=True)), cotangents, how)


def _arrived(outs: Any, cotangents: dict, wanted: frozenset) -> dict[int, Any]:
    """The cotangents of a piece's results that there are, in order; those that nobody asks for are taken out."""
    return {s: c for s in outs if (c := cotangents.get(s) if s in wanted else cotangents.pop(s, None)) is not None}


def _hand_on(found: dict[int, Any], cotangents: dict, how: Any) -> None:
    """Add what a piece has found to what came before."""
    for s, g in found.items():
        old = cotangents.get(s)
        cotangents[s] = g if old is None else how.add(old, g)
