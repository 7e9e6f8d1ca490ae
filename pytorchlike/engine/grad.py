"""Reverse passes: recorded as one node over the pending trace, carried on through executed segments."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from . import errors, together
from .config import config
from .debug import AT_ONCE, debug
from .meta import INTERIOR, LEAF, NO_GRAD, Meta, Value, make_value
from .op import Op, Wide
from .reach import looked_at
from .scope import settle
from .segment import Freed, Segment, SegmentReverse
from .trace import _VECTORS, Trace, _grow, concrete, flush, local, read, record, set_mode
from .trie import Call, Graph, Input, Reverse, State


class Leaf:
    """Where gradients end: the accumulator of one leaf.  The layer above keeps what it likes in ``grad``, ``hooks``."""

    __slots__ = ("grad", "hooks", "post_hooks", "owner", "__weakref__")

    def __init__(self) -> None:
        self.grad: Any = None
        self.hooks: Any = None
        self.post_hooks: Any = None
        self.owner: Any = None


class Watch:
    """Something that a reverse pass must stop for at the results of a call, or of several.

    handle(cotangents: dict[slot, Value]) -> dict[slot or Value, Value]: takes the cotangents of ``slots`` (absent:
    zero), returns those to go on with, before them.  None: the pass goes on through the tape by itself, as it does
    while the handle says that it is ``idle``.
    hooks: per slot, functions that look at the cotangent first: ``hook({slot: cotangent}) -> {slot: cotangent}``.
    before, after: of single calls, functions that look at all cotangents of the results, and of the arguments too.
    forward(tangents of the call's differentiable arguments) -> tangents of its results: for forward passes, or None
    where JAX knows.
    """

    __slots__ = ("slots", "handle", "hooks", "before", "after", "forward")

    def __init__(self, slots: tuple[int, ...], handle: Any) -> None:
        self.slots, self.handle = slots, handle
        self.hooks: dict[int, list[Any]] = {}
        self.before: list[Any] = []
        self.after: list[Any] = []
        self.forward: Any = None

    @property
    def stops(self) -> bool:
        """Whether a reverse pass has anything to do here."""
        return bool(self.takes or self.hooks or self.before or self.after)

    @property
    def takes(self) -> bool:
        """Whether the handle takes the cotangents."""
        return self.handle is not None and not getattr(self.handle, "idle", False)

    def arrive(self, cotangents: dict[int, Value]) -> dict[int, Value]:
        """The cotangents after those who look at them first."""
        for slot, hooks in self.hooks.items():
            for hook in hooks:
                if slot in cotangents:
                    cotangents[slot] = hook({slot: cotangents[slot]})[slot]
        return cotangents


def watch(watched: dict[int, Watch], slot: int, handle: Any) -> None:
    """Have ``handle`` look at, and perhaps change, the cotangent of one slot; after those that came before it."""
    found = watched.get(slot)
    if found is None:
        found = watched[slot] = Watch((slot,), None)
    found.hooks.setdefault(slot, []).append(handle)


def watch_all(watched: dict[int, Watch], slots: tuple[int, ...], handle: Any) -> Watch:
    """Have ``handle`` take the cotangents of ``slots``; hooks that are there already come first."""
    made = Watch(slots, handle)
    for slot in slots:
        found = watched.get(slot)
        if found is not None and found.handle is None:
            for s, hooks in found.hooks.items():
                made.hooks.setdefault(s, []).extend(h for h in hooks if h not in made.hooks.get(s, ()))
        watched[slot] = made
    return made


_AGAIN = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
    "freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
    "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors "
    "after calling backward."
)


def backward(
    roots: list[Value],
    seeds: list[Value | None],
    targets: list[Value] | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    batch: int | None = None,
) -> tuple[list[tuple[Leaf, Value]], list[Value | None]]:
    """Gradients of ``roots``, weighted by ``seeds`` (None: one).

    Returns (leaf, gradient) pairs if ``targets`` is None, and the gradients of ``targets`` (None where there is none).
    batch: the seeds, and so the gradients, have a leading dimension of that size: one pass for each.
    """
    if local.scopes:
        settle()
    if debug.eager:
        flush(AT_ONCE)
    trace = local.trace
    plain = targets is None and not create_graph and not trace.watched
    if plain and inspector is None and outside is None and not _stepwise():
        slots = []
        for r in roots:
            if r.trace is not trace:
                break
            slots.append(r.slot)
        else:
            return _quick(trace, tuple(slots), seeds, retain_graph), []
    return _Pass(roots, seeds, targets, retain_graph, create_graph, batch).run()


def _last(graph: Graph, at: Watch) -> int:
    """The slot behind which a pass must stop for a watch: a call is stepped through with all its results at once."""
    call = graph.producer[max(at.slots)]
    return call.out_slots[-1] if type(call) is Call else max(at.slots)


def _stepwise() -> bool:
    """Whether somebody must see the steps of a reverse pass as recorded calls."""
    return bool(local.scopes) and any(s.steps for s in local.scopes)


def place() -> Any:
    """Inside the handle of a watch: the pass, the trace or segment that it goes through, the values of a trace."""
    return getattr(_running, "place", None)


#: Looks at every single step of all reverse passes, or None: ``inspector(call, index, gradients)``, see ``anomaly``.
inspector: Any = None
#: Takes part in reverse passes, or None: ``watches(cotangents)``, whether it wants to see each step; ``pull(graph,
#: call, args, cotangents, source, plain)``, the gradients of a call, and ``add(a, b)``: None leaves it to the pass.
outside: Any = None


def _quick(trace: Trace, roots: tuple, seeds: list, retain: bool) -> list[tuple[Leaf, Value]]:
    """The common case: everything on the tape is pending, nobody wants to look in between.

    Leaves come out in the order in which a walk from the end meets them, the last layer's first: so their hooks run.
    """
    out = _record_reverse(trace, roots, [s if s is None else trace.slot_of(s) for s in seeds], None, 0, (), retain)
    values = trace.values
    result, rest = [], []
    for slot, grad in reversed(out):
        node = values[slot].node
        if node.__class__ is Leaf:
            result.append((node, grad))
        else:
            rest.append((values[slot], grad))
    if rest:
        more, _ = _Pass([v for v, _ in rest], [g for _, g in rest], None, retain, False).run()
        result.extend(more)
        result = _merge(result)
    return result


def _merge(pairs: list[tuple[Leaf, Value]]) -> list[tuple[Leaf, Value]]:
    out: dict[Leaf, Value] = {}
    for leaf, g in pairs:
        out[leaf] = g if leaf not in out else add(out[leaf], g)
    return list(out.items())


def _record_reverse(trace: Trace, roots: tuple, seeds: list, targets: tuple | None, stop: int, keep: tuple,
                    retain: bool) -> list[tuple[int, Value]]:  # fmt: skip
    """Record a :class:`Reverse` in the pending trace; (slot, cotangent) pairs come back."""
    key = (Reverse, roots, tuple(seeds), targets, stop, keep, retain)
    at = trace.state
    state = at.next.get(key)
    if state is None:
        graph = at.graph()
        plan, outs = plan_reverse(graph, graph.freed, roots, targets, stop, keep)
        metas = tuple((s, graph.metas[s].with_grad(NO_GRAD)) for s in outs)
        entry = Reverse(roots, tuple(seeds), plan, {r: graph.metas[r] for r in roots}, metas, at.n,
                        frozenset() if retain else frozenset(plan), errors.user_location())  # fmt: skip
        state = _grow(at, key, entry, tuple(m for _, m in metas), at.n + len(metas),
                      sum(m.nbytes for _, m in metas), at.place)  # fmt: skip
    values = trace.push(state)
    return [(s, v) for (s, _), v in zip(state.entry.outs, values, strict=True)]


def plan_reverse(graph: Graph, freed: set, roots: tuple, targets: tuple | None, stop: int,
                 keep: tuple) -> tuple[tuple, tuple]:  # fmt: skip
    """Calls to go through (last first) and the slots at which cotangents come out.

    Calls up to slot ``stop`` are left for later; ``targets``: only what leads there; ``keep``: report these too.
    """
    leads = None if targets is None else leading_to(graph, targets)
    reach = set(roots)
    plan: list[Call] = []
    asked = set(targets or ()) | set(keep)
    for e in reversed(graph.entries):
        if type(e) is not Call or e.first <= stop or not e.tracked or reach.isdisjoint(e.out_slots):
            continue
        if leads is not None and leads.isdisjoint(e.wrt_slots):
            continue
        if e in freed and e.op.saves:
            raise RuntimeError(_AGAIN)
        plan.append(e)
        reach.update(s for s in e.wrt_slots)
    done = set(plan)
    outs = []
    for s in sorted(reach):
        source = graph.producer[s]
        ends = type(source) is not Call or source not in done
        if s in asked or (ends and (leads is None or s in leads or stop)):
            if graph.metas[s].grad:
                outs.append(s)
    return tuple(plan), tuple(outs)


def leading_to(graph: Graph, targets: tuple) -> set[int]:
    """The slots from which a reverse pass gets to one of ``targets``."""
    leads = set(targets)
    for e in graph.entries:
        if type(e) is Call and e.tracked and not leads.isdisjoint(e.wrt_slots):
            leads.update(e.out_slots)
    return leads


#: The same value without its history.
DETACH = Op("detach", lambda static, args: args[0], differentiable=False, alias=True, saves=False)

_ADD = Op("add", lambda static, args: args[0] + args[1], saves=False)
_ROW = Op("row", lambda static, args: args[0][static], saves=False)


def _stack(static: Any, args: tuple) -> Any:
    import jax.numpy as jnp

    return jnp.stack(args)


_STACK = Op("stack", _stack, saves=False)


def add(a: Value, b: Value) -> Value:
    """Recorded sum of two cotangents."""
    if outside is not None:
        found = outside.add(a, b)
        if found is not None:
            return found
    return record(_ADD, (), (a, b))


def _ones(meta: Meta) -> Value:
    return concrete(np.ones(meta.shape, meta.dtype), meta.place)


_running = threading.local()


#: Pending traces come after all segments.
_PENDING = 1e18


def is_retaining() -> bool:
    """Inside a watch: whether the pass that runs it keeps the graph for another one."""
    return getattr(_running, "retain", True)


def current_pass() -> Any:
    """The pass that runs in this thread, the innermost one, or None."""
    return getattr(_running, "now", None)


def _left_behind(v: Value) -> tuple:
    """Where a value is on the tape whose graph another thread has recorded, and not executed."""
    trace = v.trace
    if trace.thread.is_alive() or trace.failed is not None:
        raise RuntimeError(
            "the graph behind a tensor that requires grad was recorded by another thread, where it is pending. Call "
            "backward() in that thread, or let it read a value of the graph, as loss.item() does, before it hands the "
            "tensor over; when the thread has ended, neither is necessary."
        )
    from . import execute

    execute.run(trace, "a graph that a thread has left behind")
    return v.node if type(v.node) is tuple else (v, 0)


class _Pass:
    """A reverse pass in general: region after region (the pending trace, then segments), stage after stage."""

    def __init__(self, roots: list, seeds: list, targets: list | None, retain: bool, create: bool,
                 batch: int | None = None) -> None:  # fmt: skip
        self.retain, self.create, self.batch = retain or create, create, batch
        self.targets = targets
        self.roots = roots
        self.wanted: dict[tuple, Value | None] = {}
        self.regions: dict[Any, dict[int, Value]] = {}
        self.leaves: dict[Leaf, Value] = {}
        self.free: list[tuple[Segment, tuple]] = []
        self.trace = local.trace
        #: whether it was looked at what may be gone through together
        self.laid_out = False
        #: of a segment, the slots from which a target is reached
        self.ways: dict[Segment, set[int]] = {}
        #: where the targets are on the tape
        self.points = [self.point(t) for t in targets or ()]
        self.wanted.update(dict.fromkeys(self.points))
        for r, s in zip(roots, seeds, strict=True):
            self.give(r, s if s is not None else _ones(r.meta))

    def point(self, v: Value) -> tuple:
        """Where a value is on the tape."""
        at = v.trace
        if at is not None and v.data is None and (at is self.trace or (self.trace.nested and self.trace.encloses(at))):
            node = v.node
            return (node, 0) if type(node) is Leaf else (at, v.slot)
        node = v.node
        if type(node) is Leaf:
            return (node, 0)
        if type(node) is tuple:
            return node
        if type(node) is Freed:
            raise RuntimeError(_AGAIN)
        if at is not None and at is not self.trace and not at.nested and v.meta.grad == INTERIOR:
            return _left_behind(v)
        return (v, 0)

    def give(self, v: Value, cotangent: Value) -> None:
        where, slot = self.point(v)
        if type(where) is Leaf:
            if self.targets is None or (where, 0) in self.wanted:
                old = self.leaves.get(where)
                self.leaves[where] = cotangent if old is None else self.plus(old, cotangent)
            return
        if isinstance(where, Value):
            return
        here = self.regions.setdefault(where, {})
        old = here.get(slot)
        here[slot] = cotangent if old is None else self.plus(old, cotangent)

    def plus(self, a: Value, b: Value) -> Value:
        return add(a, b)

    def run(self) -> tuple[list, list]:
        mode = local.trace.mode
        # a nested recording is differentiated from outside, whether or not its own tape goes on
        grad = self.create or (self.trace.nested and mode.grad)
        set_mode(mode.replace(grad=grad, autocast=None))
        outer = getattr(_running, "retain", True), getattr(_running, "now", None)
        _running.retain, _running.now = self.retain, self
        try:
            while self.regions:
                self.region(*self.newest())
            if inspector is not None:
                inspector(None, None, None)
        finally:
            _running.retain, _running.now = outer
            set_mode(mode)
        for segment, calls in self.free:
            segment.free(calls)
        if self.targets is None:
            return list(self.leaves.items()), []
        result = []
        for where in self.points:
            result.append(self.leaves.get(where[0]) if type(where[0]) is Leaf else self.wanted[where])
        return [], result

    def newest(self) -> tuple[Any, dict[int, Value]]:
        """The last region that cotangents have come to, and them."""
        where = max(self.regions, key=self.order)
        return where, self.regions.pop(where)

    def order(self, where: Any) -> float:
        """Regions rest on those of lower order only."""
        if not isinstance(where, Trace):
            return where.number
        depth = 0
        while where.nested:
            where, depth = where.outer, depth + 1
        return _PENDING + depth

    def region(self, where: Any, cotangents: dict[int, Value]) -> None:
        """Go through the trace or a segment from its end, stopping for watches."""
        if type(where) is Segment and self.targets is None and not (
            self.create or where.freed or where.watched or self.wanted or self.batch is not None
            or inspector is not None or _stepwise() or outside is not None and outside.watches(cotangents.values())
        ):  # fmt: skip
            if self.laid_out or not self._together(where, cotangents):
                self._segment(where, cotangents)
            return
        ran: set[Watch] = set()
        inner = tuple(s for w, s in self.wanted if w is where)
        n, values, targets, leads = 0, None, None, None
        while cotangents:
            pending = isinstance(where, Trace)  # this one, or one that encloses it
            graph: Graph = where.state.graph() if pending else where.graph
            if n != graph.n:  # a watch may have recorded more
                n, values = graph.n, list(where.values) if pending else None
                targets = self._targets_within(where, graph, values, inner)
                leads = None if targets is None or not where.watched else leading_to(graph, targets)
            freed = graph.freed if pending else where.freed
            watched = [w for w in dict.fromkeys(where.watched.values()) if w not in ran and w.stops
                       and (leads is None or not leads.isdisjoint(w.slots))]
            stop, at = 0, None
            if watched:
                reach = self._reach(graph, cotangents)
                stop, at = max(
                    ((_last(graph, w), w) for w in watched if not reach.isdisjoint(w.slots)),
                    key=lambda found: found[0], default=(0, None),
                )  # fmt: skip
            first = {s: c for s, c in cotangents.items() if s > stop}
            cotangents = {s: c for s, c in cotangents.items() if s <= stop}
            if first:
                plan, outs = plan_reverse(graph, freed, tuple(sorted(first)), targets, stop, inner)
                got = self.carry(where, graph, values, plan, outs, first, targets, stop, inner)
                for s, c in reversed(got.items()):
                    if s in inner and s > stop:
                        self.wanted[(where, s)] = c
                    if not self._ends(where, graph, values, s, c) and s <= stop:
                        self._join(cotangents, s, c)
            if at is None:
                return
            ran.add(at)
            mine = {s: cotangents.pop(s) for s in at.slots if s in cotangents}
            if not mine:
                continue
            try:
                found = self._stop(where, graph, values, at, mine, inner, leads)
            finally:
                _running.place = None  # it would keep the values in use
            if local.trace is not self.trace:  # it read a value
                where, n = self._go_on_after_execution(where, values), 0
            for s, c in found.items():
                if isinstance(s, int):
                    self._join(cotangents, s, c)
                    continue
                spot, slot = self.point(s)
                if spot is where:
                    self._join(cotangents, slot, c)
                else:
                    self.give(s, c)
            while any(self.order(r) > self.order(where) for r in self.regions):
                self.region(*self.newest())
                if local.trace is not self.trace:
                    where, n = self._go_on_after_execution(where, values), 0
            for s, c in self.regions.pop(where, {}).items():
                self._join(cotangents, s, c)

    def _together(self, where: Segment, cotangents: dict[int, Value]) -> bool:
        """Go through all segments that are left at once, where many of them are equal; whether they were."""
        self.laid_out = True
        trace = self.trace
        if trace.nested or trace.at_once or local.evaluator is not None or config.tier != "auto":
            return False
        if len(self.regions) < together.FEW and not where.graph.goes_on:
            return False
        regions = {where: cotangents, **self.regions}
        if any(type(r) is not Segment for r in regions):
            return False
        parts = together.layout(regions, self._whole, self.point)
        if parts is None or not together.worth(parts):
            return False
        flush("gradients of many executed pieces")
        self.trace = local.trace
        self.regions.clear()
        given = {s: {slot: read(v) for slot, v in found.items()} for s, found in regions.items()}
        for leaf, c in together.carry(parts, given).items():
            v = concrete(c, parts[0].reverse.plan[0].place)
            old = self.leaves.get(leaf)
            self.leaves[leaf] = v if old is None else self.plus(old, v)
        if not self.retain:
            plans: dict[Segment, list] = {}
            for p in parts:
                plans.setdefault(p.segment, []).extend(p.reverse.plan)
            self.free.extend((s, tuple(plan)) for s, plan in plans.items())
        return True

    def _whole(self, graph: Graph, roots: tuple) -> SegmentReverse:
        """The reverse pass over a segment that nobody wants to look into."""
        plan, outs = self._plan(graph, roots)
        return self._reverse_of(graph, plan, roots, outs)

    @staticmethod
    def _plan(graph: Graph, roots: tuple) -> tuple:
        found = graph.cache.get(roots)
        if found is None:
            found = graph.cache[roots] = plan_reverse(graph, set(), roots, None, 0, ())
        return found

    def _segment(self, where: Segment, cotangents: dict[int, Value]) -> None:
        """Go through a whole segment that nobody wants to look into, adding to what has come elsewhere before."""
        graph = where.graph
        roots = tuple(sorted(cotangents))
        plan, outs = self._plan(graph, roots)
        if not self.retain:
            self.free.append((where, plan))
        targets: list = []
        onto, before = [], []
        for k, s in enumerate(outs):
            v = where.inputs.get(s)
            spot, name = (where.leaves.get(s), 0) if v is None else self.point(v)
            if type(spot) is Leaf:
                into, name = self.leaves, spot
            elif type(spot) in (Segment, Trace):
                into = self.regions.setdefault(spot, {})
            else:
                into = {}
            old = into.get(name)
            if old is not None and not any(name == n and into is t for t, n in targets):
                onto.append(k)
                before.append(old)
            targets.append((into, name))
        for into, name in reversed(targets):
            if into is self.leaves:
                into.setdefault(name, None)  # the last first, as in ``_quick``
        reverse = self._reverse_of(graph, plan, roots, outs, tuple(onto))
        got = self._record_segment(where, reverse, cotangents, before)
        taken = set(onto)
        for k, ((into, name), c) in enumerate(zip(targets, got, strict=True)):
            old = None if k in taken else into.get(name)
            into[name] = c if old is None else self.plus(old, c)

    @staticmethod
    def _reverse_of(graph: Graph, plan: tuple, roots: tuple, outs: tuple, onto: tuple = ()) -> SegmentReverse:
        key = (plan, roots, outs, onto)
        found = graph.cache.get(key)
        if found is None:
            found = graph.cache[key] = SegmentReverse(graph, plan, roots, outs, onto)
        return found

    def _record_segment(self, where: Segment, reverse: SegmentReverse, first: dict[int, Value], more: list) -> tuple:
        """The cotangents that come out of a reverse pass over a segment, recorded as one operation."""
        args = (*[self._saved(where, s) for s in reverse.needs], *[first[r] for r in reverse.roots], *more)
        trace = local.trace
        slots = trace.slots
        new = [v for v in dict.fromkeys(args) if v.data is not None and v not in slots]
        if len(new) > 1:
            trace.enter_all(new)
        numbers = tuple([_plain(w.type, where.numbers[w]) for w in reverse.wides])
        got = record(reverse.op, (), args, numbers)
        return got if type(got) is tuple else (got,)

    def _ends(self, where: Any, graph: Graph, values: Any, s: int, c: Value) -> bool:
        """Whether a cotangent has arrived where this region begins; it is handed on then."""
        begins = type(graph.producer[s]) is Input
        if not begins and graph.metas[s].grad != LEAF:
            return False
        value = self._value(where, values, s)
        if value.trace is not where or not begins:  # not a nested one's parameter
            self.give(value, c)
        return True

    def _stop(self, where: Any, graph: Graph, values: Any, at: Watch, mine: dict, inner: tuple,
              leads: set[int] | None) -> dict:  # fmt: skip
        """What a watch makes of the cotangents that have come to it; ``leads``: only what goes on to these."""
        if inspector is not None:
            inspector(None, None, None)
        given = at.arrive(mine)
        for s in inner:
            if s in given:
                self.wanted[(where, s)] = given[s]
        if leads is not None and (at.takes or at.before or at.after):
            calls = [graph.producer[s] for s in at.slots]
            if all(type(c) is Call and leads.isdisjoint(c.wrt_slots) for c in calls):
                return {}
        for hook in at.before:  # they belong to the step, which is not taken for what is asked for here
            given = hook(given)
        _running.place = self, where, values
        if at.takes:
            if self.batch is None or getattr(at.handle, "batched", False):
                found = at.handle(given)
            else:
                found = self._rows(at.handle, given)
        elif at.after:
            call = graph.producer[at.slots[0]]
            found = self.through(where, values, call, given)
        else:
            return given
        for hook in at.after:
            found = hook(graph.producer[at.slots[0]], given, found)
        return found

    def _rows(self, handle: Any, given: dict[int, Value]) -> dict:
        """A handle knows nothing of batches: it takes one cotangent after the other."""
        rows = []
        for k in range(self.batch or 0):
            outer, _running.retain = _running.retain, _running.retain or k < (self.batch or 0) - 1
            try:
                rows.append(handle({s: record(_ROW, k, (c,)) for s, c in given.items()}))
            finally:
                _running.retain = outer
        keys = dict.fromkeys(key for row in rows for key in row)
        out = {}
        for key in keys:
            shape = next(row[key] for row in rows if key in row).meta
            zero = concrete(np.zeros(shape.shape, shape.dtype), shape.place)
            out[key] = record(_STACK, (), tuple(row.get(key, zero) for row in rows))
        return out

    def through(self, where: Any, values: list | None, call: Call, given: dict[int, Value],
                held: Any = None, leads: set[int] | None = None) -> dict[int, Value]:  # fmt: skip
        """Cotangents of a call's arguments, the step recorded.

        held: Values to use in place of the arguments;  leads: slots of arguments that are asked for, if not all are.
        """
        cotangents = [given.get(s) for s in call.out_slots]
        wrt, slots = call.wrt, call.wrt_slots
        if leads is not None and inspector is None and outside is None and not call.op.alias:
            wrt, slots = zip(*[(k, s) for k, s in zip(wrt, slots, strict=True) if s in leads], strict=True)
        if call.op.alias:
            grads: Any = cotangents
        else:
            source = where if values is not None else where.numbers
            args = self._arguments(where, values, call) if held is None else held
            here = where is local.trace

            def plain(args: list, cotangents: list) -> tuple:
                return pulled(call, wrt, args, cotangents, source, here, self.batch is not None)

            grads = None
            if outside is not None and self.batch is None:
                graph = where.state.graph() if values is not None else where.graph
                grads = outside.pull(graph, call, args, cotangents, source, plain)
            if grads is None:
                grads = plain(args, cotangents)
        out: dict[int, Value] = {}
        for s, g in zip(slots, grads, strict=True):
            self._join(out, s, g)
        if inspector is not None:
            inspector(call, tuple(k for k, m in enumerate(call.metas) if m.grad), grads)
        return out

    def _arguments(self, where: Any, values: list | None, call: Call) -> list[Value]:
        if values is not None:
            return [values[s] for s in call.slots]
        return [
            self._saved(where, s) if s in where.saved or where.entered(s) is not None
            else concrete(np.zeros(m.shape, m.dtype), m.place)  # a gradient that needs no forward values takes any
            for s, m in zip(call.slots, call.metas, strict=True)
        ]  # fmt: skip

    def _go_on_after_execution(self, where: Any, values: Any) -> Any:
        """The pending trace was executed by a hook: what it has left is the segment behind its values."""
        old, self.trace = self.trace, local.trace
        segment = where
        if where is old:
            made = (v.node for s, v in enumerate(values) if type(where.state.graph().producer.get(s)) is Call)
            segment = next((node[0] for node in made if type(node) is tuple), where)
            self.wanted = {((segment, k[1]) if k[0] is old else k): v for k, v in self.wanted.items()}
            self.ways.clear()
            self.points = [(segment, p[1]) if p[0] is old else p for p in self.points]
            if old in self.regions:
                self.regions[segment] = self.regions.pop(old)
        return segment

    def _join(self, cotangents: dict, s: int, c: Value) -> None:
        cotangents[s] = c if s not in cotangents else self.plus(cotangents[s], c)

    @staticmethod
    def _reach(graph: Graph, cotangents: dict) -> set[int]:
        reach = set(cotangents)
        for e in reversed(graph.entries):
            if type(e) is Call and e.tracked and not reach.isdisjoint(e.out_slots):
                reach.update(e.wrt_slots)
        return reach

    def _value(self, where: Any, values: list | None, slot: int) -> Value:
        if values is not None:
            return values[slot]
        found = where.inputs.get(slot)
        if found is None:
            found = make_value(where.graph.metas[slot], None, where.leaves.get(slot))
        return found

    def _targets_within(self, where: Any, graph: Graph, values: list | None, inner: tuple) -> tuple | None:
        """None, or the slots of this region that lead to a target (its own, or an input that may)."""
        if self.targets is None:
            return None
        slots = set(inner)
        if values is None:
            slots.update(s for s, node in where.behind() if graph.metas[s].grad and self._leads(node))
        for e in graph.entries:
            if type(e) is Input and e.meta.grad:
                if values is not None and values[e.first] is not None and self._leads(values[e.first].node):
                    slots.add(e.first)
            elif type(e) is Call:
                for s, m in zip(e.out_slots, e.outs, strict=True):
                    if m.grad != LEAF:
                        continue
                    node = values[s].node if values is not None else where.leaves.get(s)
                    if (node, 0) in self.wanted:
                        slots.add(s)
        return tuple(sorted(slots))

    def _leads(self, node: Any) -> bool:
        """Whether this pass gets from here to a target. What does not lead there is not gone through, nor freed."""
        if type(node) is Leaf:
            return (node, 0) in self.wanted
        if type(node) is not tuple or type(node[0]) is not Segment:
            return True
        if node[0] not in self.ways:
            below, todo = {node[0]}, [node[0]]
            while todo:
                for _, at in todo.pop().behind():
                    behind = at[0] if type(at) is tuple else None
                    if type(behind) is Segment and behind not in self.ways and behind not in below:
                        below.add(behind)
                        todo.append(behind)
            for segment in sorted(below, key=self.order):
                ends = {s for w, s in self.wanted if w is segment}
                ends.update(s for s, leaf in segment.leaves.items() if (leaf, 0) in self.wanted)
                ends.update(s for s, n in segment.behind() if self._leads(n))
                self.ways[segment] = leading_to(segment.graph, tuple(ends))
        return node[1] in self.ways[node[0]]

    def carry(self, where: Any, graph: Graph, values: list | None, plan: tuple, outs: tuple, first: dict,
              targets: tuple | None, stop: int, keep: tuple) -> dict[int, Value]:  # fmt: skip
        """Cotangents ``first`` through ``plan``; what comes out, by slot."""
        steps = self.create or self.batch is not None or inspector is not None or _stepwise()
        steps = steps or outside is not None and outside.watches(first.values())
        if steps or (values is not None and where is not self.trace):
            leads = None if targets is None else leading_to(graph, targets)
            got = self._recorded(where, values, plan, outs, dict(first), leads)
            if not self.retain:
                self._give_up(where, values, plan)
            return got
        if values is not None:
            trace = self.trace
            roots = tuple(sorted(first))
            seeds = [trace.slot_of(first[r]) for r in roots]
            return dict(_record_reverse(trace, roots, seeds, targets, stop, keep, self.retain))
        if not self.retain:
            self.free.append((where, plan))
        roots = tuple(sorted(first))
        reverse = self._reverse_of(graph, plan, roots, outs)
        return dict(zip(outs, self._record_segment(where, reverse, first, []), strict=True))

    def _saved(self, where: Segment, slot: int) -> Value:
        found = where.inputs.get(slot)
        if found is not None:
            return found
        meta = where.graph.metas[slot]
        return make_value(meta, where.array(slot), (where, slot) if meta.grad == INTERIOR else where.leaves.get(slot))

    def _give_up(self, where: Any, values: list | None, plan: tuple) -> None:
        """Free calls that recorded steps went through."""
        if values is None:
            self.free.append((where, plan))
            return
        trace = local.trace
        key = (Reverse, "freed", plan)
        state = trace.state.next.get(key)
        if state is None:
            at = trace.state
            entry = Reverse((), (), (), {}, (), at.n, frozenset(plan), errors.user_location())
            state = _grow(at, key, entry, (), at.n, 0, at.place)
        trace.push(state)

    def _recorded(self, where: Any, values: list | None, plan: tuple, outs: tuple, cotangents: dict,
                  leads: set[int] | None) -> dict:  # fmt: skip
        """The same, each step recorded as an operation of its own, which is differentiable again with create_graph."""
        for call in plan:
            given = {s: cotangents[s] for s in call.out_slots if s in cotangents}
            for s in call.out_slots:
                if s not in outs:
                    cotangents.pop(s, None)
            if not given:
                continue
            for s, g in self.through(where, values, call, given, leads=leads).items():
                self._join(cotangents, s, g)
        return {s: cotangents[s] for s in outs if s in cotangents}


def pulled(call: Call, wrt: tuple[int, ...], args: list[Value], cotangents: list[Value | None], source: Any, here: bool,
           batched: bool = False) -> tuple:  # fmt: skip
    """Gradients of a call by the arguments ``wrt``, at ``args``, recorded as one operation.

    source: has the run-time numbers;  here: the call is one of the trace that records;  batched: ``cotangents`` have a
    leading dimension more.
    """
    numbers = tuple(
        _plain(i.type, getattr(source, _VECTORS[i.type])[i.index]) for i in call.ins if type(i) is Wide
    )  # fmt: skip
    present = tuple([g is not None for g in cotangents])
    given = [g for g in cotangents if g is not None]
    op = _vjp_op(call.kernel, wrt, present, step_info(call, here), batched)
    if not call.op.saves:
        looks: tuple = (False,) * len(args)
    elif local.trace.mode.grad:
        metas = tuple([v.meta for v in (*args, *given)])
        looks = looked_at(call.kernel, op, (wrt, present, batched), metas, len(args), numbers)
    else:
        looks = (True,) * len(args)
    # no second derivative goes through what the result does not depend on
    args = [v if look or not v.meta.grad else record(DETACH, (), (v,)) for v, look in zip(args, looks, strict=True)]
    grads = record(op, (), (*args, *given), numbers)
    return grads if type(grads) is tuple else (grads,)


def _plain(kind: type, n: Any) -> Any:
    return kind(n) if kind is not bool else int(n)


def step_info(call: Call, here: bool) -> Any:
    """``Op.info`` of a derivative of a call: what it draws at random is what the call draws, if that is batched too."""
    from .nested import Seeds, seeds_of

    seeds = seeds_of(call) if here else ()
    if not seeds:
        return None
    wide = [k for k, i in enumerate(call.ins) if type(i) is Wide]
    return Seeds(tuple(wide.index(k) for k in seeds if k in wide), len(wide))


def _vjp_op(kernel: Any, wrt: tuple, present: tuple, info: Any, batched: bool = False) -> Op:
    """The reverse of one call as an operation of its own; differentiable again.  ``batched``: of many cotangents."""
    from .op import ARRAY, Lifted

    key = (kernel, wrt, present, info is not None, batched)
    found = kernel.op.vjps.get(key)
    if found is not None:
        return found
    order = [item is ARRAY for item in kernel.pattern if item is ARRAY or (type(item) is tuple and item[0] is Lifted)]
    n = sum(order)

    def reverse(static: Any, args: tuple) -> tuple:
        arrays, cots = args[:n], args[n : n + sum(present)]
        lifted = iter([a.array if type(a) is Lifted else a for a in args[n + sum(present) :]])
        plain = iter(arrays)
        full = tuple(next(plain) if is_array else next(lifted) for is_array in order)

        def pull(cots: tuple) -> tuple:
            given = iter(cots)
            return kernel.vjp(full, wrt, tuple(next(given) if p else None for p in present))

        if not batched:
            return pull(cots)
        import jax

        return jax.vmap(pull)(tuple(cots))

    while len(kernel.op.vjps) > 256:
        kernel.op.vjps.pop(next(iter(kernel.op.vjps)))
    kernel.op.vjps[key] = found = Op(kernel.op.name + " backward", reverse, info=info)
    return found


__all__ = ["LEAF", "Leaf", "State", "Watch", "backward", "current_pass", "is_retaining", "pulled", "step_info", "watch",
           "watch_all"]  # fmt: skip
