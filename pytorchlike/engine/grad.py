"""Reverse passes: recorded as one node over the pending trace, carried on through executed segments."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from . import errors
from .meta import INTERIOR, LEAF, NO_GRAD, Meta, Value, make_value
from .op import Op, Wide
from .segment import FREED, Segment, SegmentReverse
from .trace import Trace, _grow, concrete, local, record, set_mode
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
    """Something that a reverse pass must stop for at a slot.

    handle(cotangents: dict[slot, Value]) -> dict[slot, Value]: takes the cotangents of ``slots`` (absent: zero),
    returns those to go on with: for the same slots (a hook), or for others before them (a custom function).
    """

    __slots__ = ("slots", "handle", "consumes", "hooks")

    def __init__(self, slots: tuple[int, ...], handle: Any, consumes: bool) -> None:
        self.slots, self.handle, self.consumes = slots, handle, consumes
        self.hooks: dict[int, list[Any]] = {}

    def run(self, cotangents: dict[int, Value]) -> dict[Any, Value]:
        """What to go on with."""
        for slot, hooks in self.hooks.items():
            for hook in hooks:
                if slot in cotangents:
                    cotangents[slot] = hook({slot: cotangents[slot]})[slot]
        return self.handle(cotangents)


def watch(watched: dict[int, Watch], slot: int, handle: Any) -> None:
    """Have ``handle`` look at, and perhaps change, the cotangent of one slot; after those that came before it."""
    found = watched.get(slot)
    if found is None:
        found = watched[slot] = Watch((slot,), lambda cotangents: cotangents, False)
    found.hooks.setdefault(slot, []).append(handle)


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
    through: list[Any] | None = None,
) -> tuple[list[tuple[Leaf, Value]], list[Value | None]]:
    """Gradients of ``roots``, weighted by ``seeds`` (None: one).

    Returns (leaf, gradient) pairs if ``targets`` is None, and the gradients of ``targets`` (None where there is none).
    """
    trace = local.trace
    if targets is None and not create_graph and not trace.watched:
        slots = []
        for r in roots:
            if r.trace is not trace:
                break
            slots.append(r.slot)
        else:
            return _quick(trace, tuple(slots), seeds, retain_graph), []
    return _Pass(roots, seeds, targets, retain_graph, create_graph).run()


def _quick(trace: Trace, roots: tuple, seeds: list, retain: bool) -> list[tuple[Leaf, Value]]:
    """The common case: everything on the tape is pending, nobody wants to look in between."""
    out = _record_reverse(trace, roots, [s if s is None else trace.slot_of(s) for s in seeds], None, 0, (), retain)
    values = trace.values
    result, rest = [], []
    for slot, grad in out:
        node = values[slot].node
        if type(node) is Leaf:
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
    leads: set[int] | None = None
    if targets is not None:
        leads = set(targets)
        for e in graph.entries:
            if type(e) is Call and e.tracked and not leads.isdisjoint(e.wrt_slots):
                leads.update(e.out_slots)
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


_ADD = Op("add", lambda static, args: args[0] + args[1], saves=False)


def add(a: Value, b: Value) -> Value:
    """Recorded sum of two cotangents."""
    return record(_ADD, (), (a, b))


def _ones(meta: Meta) -> Value:
    return concrete(np.ones(meta.shape, meta.dtype), meta.place)


_running = threading.local()


def is_retaining() -> bool:
    """Inside a watch: whether the pass that runs it keeps the graph for another one."""
    return getattr(_running, "retain", True)


class _Pass:
    """A reverse pass in general: region after region (the pending trace, then segments), stage after stage."""

    def __init__(self, roots: list, seeds: list, targets: list | None, retain: bool, create: bool) -> None:
        self.retain, self.create = retain or create, create
        self.explicit_retain = retain
        self.targets = targets
        self.wanted: dict[tuple, Value | None] = {}
        self.regions: dict[Any, dict[int, Value]] = {}
        self.leaves: dict[Leaf, Value] = {}
        self.free: list[tuple[Segment, tuple]] = []
        self.trace = local.trace
        #: where the targets are on the tape
        self.points = [self.point(t) for t in targets or ()]
        self.wanted.update(dict.fromkeys(self.points))
        for r, s in zip(roots, seeds, strict=True):
            self.give(r, s if s is not None else _ones(r.meta))

    def point(self, v: Value) -> tuple:
        """Where a value is on the tape."""
        if v.trace is self.trace and v.data is None:
            node = v.node
            return (node, 0) if type(node) is Leaf else (self.trace, v.slot)
        node = v.node
        if type(node) is Leaf:
            return (node, 0)
        if type(node) is tuple:
            return node
        if node is FREED:
            raise RuntimeError(_AGAIN)
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
        set_mode(mode.replace(grad=self.create, autocast=None))
        outer = getattr(_running, "retain", True)
        _running.retain = self.retain
        try:
            if self.trace in self.regions:
                self.region(self.trace, self.regions.pop(self.trace))
            while self.regions:
                segment = max(self.regions, key=lambda s: s.number)
                self.region(segment, self.regions.pop(segment))
        finally:
            _running.retain = outer
            set_mode(mode)
        for segment, calls in self.free:
            segment.free(calls)
        if self.targets is None:
            return list(self.leaves.items()), []
        result = []
        for where in self.points:
            result.append(self.leaves.get(where[0]) if type(where[0]) is Leaf else self.wanted[where])
        return [], result

    def region(self, where: Any, cotangents: dict[int, Value]) -> None:
        """Go through the trace or a segment from its end, stopping for watches."""
        pending = where is self.trace
        graph: Graph = where.state.graph() if pending else where.graph
        watched = dict(where.watched)  # a trace that is executed by a hook forgets its own
        values = list(where.values) if pending else None
        freed = graph.freed if pending else where.freed
        inner = tuple(s for w, s in self.wanted if w is where)
        targets = self._targets_within(where, graph, values, inner)
        while cotangents:
            stops = [w for w in watched.values() if not set(w.slots).isdisjoint(self._reach(graph, cotangents))]
            stop = max((max(w.slots) for w in stops), default=0)
            first = {s: c for s, c in cotangents.items() if s > stop or self._after(graph, s, stop)}
            later = {s: c for s, c in cotangents.items() if s not in first}
            if first:
                plan, outs = plan_reverse(graph, freed, tuple(sorted(first)), targets, stop, inner)
                got = self.carry(where, graph, values, plan, outs, first, targets, stop, inner)
            else:
                got = {}
            for s, c in got.items():
                later[s] = c if s not in later else self.plus(later[s], c)
            for s in inner:
                if s in later and s > stop:
                    self._found(where, s, later[s])
            cotangents = {}
            for s, c in later.items():
                if type(graph.producer[s]) is Input or graph.metas[s].grad == LEAF:
                    self.give(self._value(where, values, s), c)
                elif s <= stop:
                    cotangents[s] = c
            for w in sorted(stops, key=lambda w: -max(w.slots)):
                if max(w.slots) != stop:
                    continue
                mine = {s: cotangents.pop(s) for s in w.slots if s in cotangents}
                if mine:
                    found = w.run(mine)
                    if local.trace is not self.trace:  # it read a value
                        where = self._go_on_after_execution(where, values)
                        if pending and where is not self.trace:
                            pending, values, graph, freed = False, None, where.graph, where.freed
                    for s, c in found.items():
                        source = graph.producer.get(s) if isinstance(s, int) else None
                        if isinstance(s, Value):
                            self.give(s, c) if not (s.trace is self.trace and pending) else self._join(
                                cotangents, s.slot, c)  # fmt: skip
                        elif source is not None:
                            self._join(cotangents, s, c)
                watched = {k: x for k, x in watched.items() if x is not w}
            for s in inner:
                if s in cotangents and s == stop:
                    self._found(where, s, cotangents[s])

    def _go_on_after_execution(self, where: Any, values: Any) -> Any:
        """The pending trace was executed by a hook: what it has left is the segment behind its values."""
        old, self.trace = self.trace, local.trace
        segment = where
        if where is old:
            made = (v.node for s, v in enumerate(values) if type(where.state.graph().producer.get(s)) is Call)
            segment = next((node[0] for node in made if type(node) is tuple), where)
        self.wanted = {((segment, k[1]) if k[0] is old else k): v for k, v in self.wanted.items()}
        self.points = [(segment, p[1]) if p[0] is old else p for p in self.points]
        return segment

    def _join(self, cotangents: dict, s: int, c: Value) -> None:
        cotangents[s] = c if s not in cotangents else self.plus(cotangents[s], c)

    def _found(self, where: Any, slot: int, c: Value) -> None:
        self.wanted[(where, slot)] = c

    @staticmethod
    def _after(graph: Graph, slot: int, stop: int) -> bool:
        source = graph.producer[slot]
        return type(source) is Call and source.first > stop

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
        for e in graph.entries:
            if type(e) is Input and e.meta.grad:
                if values is not None:
                    v = values[e.first]
                else:
                    v = where.inputs.get(e.first)
                if v is None:
                    continue
                node = v.node
                if type(node) is not Leaf or (node, 0) in self.wanted:
                    slots.add(e.first)
            elif type(e) is Call:
                for s, m in zip(e.out_slots, e.outs, strict=True):
                    if m.grad != LEAF:
                        continue
                    node = values[s].node if values is not None else where.leaves.get(s)
                    if (node, 0) in self.wanted:
                        slots.add(s)
        for w in where.watched.values():
            slots.update(w.slots)
        return tuple(sorted(slots))

    def carry(self, where: Any, graph: Graph, values: list | None, plan: tuple, outs: tuple, first: dict,
              targets: tuple | None, stop: int, keep: tuple) -> dict[int, Value]:  # fmt: skip
        """Cotangents ``first`` through ``plan``; what comes out, by slot."""
        if self.create:
            return self._recorded(where, values, plan, outs, dict(first))
        if values is not None:
            trace = self.trace
            roots = tuple(sorted(first))
            seeds = [trace.slot_of(first[r]) for r in roots]
            return dict(_record_reverse(trace, roots, seeds, targets, stop, keep, self.retain))
        if not self.retain:
            self.free.append((where, plan))
        roots = tuple(sorted(first))
        cache = graph.cache
        key = (plan, roots, outs)
        reverse = cache.get(key)
        if reverse is None:
            reverse = cache[key] = SegmentReverse(graph, plan, roots, outs)
        args = tuple(self._saved(where, s) for s in reverse.needs) + tuple(first[r] for r in roots)
        numbers = tuple(where.numbers[w] for w in reverse.wides)
        got = record(
            reverse.op, (), args, tuple(_plain(w.type, n) for w, n in zip(reverse.wides, numbers, strict=True))
        )
        return dict(zip(outs, got if type(got) is tuple else (got,), strict=True))

    def _saved(self, where: Segment, slot: int) -> Value:
        found = where.inputs.get(slot)
        if found is not None:
            return found
        meta = where.graph.metas[slot]
        return make_value(meta, where.saved[slot], (where, slot) if meta.grad == INTERIOR else where.leaves.get(slot))

    def _recorded(self, where: Any, values: list | None, plan: tuple, outs: tuple, cotangents: dict) -> dict:
        """The same, each step recorded as a differentiable operation (create_graph)."""
        trace = local.trace
        for call in plan:
            given = [cotangents.get(s) for s in call.out_slots]
            for s in call.out_slots:
                if s not in outs:
                    cotangents.pop(s, None)
            if all(c is None for c in given):
                continue
            if call.op.alias:
                grads: Any = given
            else:
                args: list[Any] = []
                numbers = []
                source = trace if values is not None else where.numbers
                for k, i in enumerate(call.ins):
                    if type(i) is int:
                        if values is not None:
                            args.append(values[i])
                        elif i in where.saved or i in where.inputs:
                            args.append(self._saved(where, i))
                        else:
                            m = call.metas[sum(type(x) is int for x in call.ins[:k])]
                            args.append(concrete(np.zeros(m.shape, m.dtype), m.place))
                    elif type(i) is Wide:
                        from .trace import _VECTORS

                        n = getattr(source, _VECTORS[i.type])[i.index]
                        numbers.append(_plain(i.type, n))
                op = _vjp_op(call.kernel, call.wrt, tuple(g is not None for g in given), call)
                grads = record(op, (), (*args, *[g for g in given if g is not None]), tuple(numbers))
                grads = grads if type(grads) is tuple else (grads,)
            for s, g in zip(call.wrt_slots, grads, strict=True):
                cotangents[s] = g if s not in cotangents else add(cotangents[s], g)
        return {s: cotangents[s] for s in outs if s in cotangents}


def _plain(kind: type, n: Any) -> Any:
    return kind(n) if kind is not bool else int(n)


def _vjp_op(kernel: Any, wrt: tuple, present: tuple, call: Call) -> Op:
    """The reverse of one call as an operation of its own; differentiable again."""
    from .op import ARRAY, Lifted

    key = (kernel, wrt, present)
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
        given = iter(cots)
        return kernel.vjp(full, wrt, tuple(next(given) if p else None for p in present))

    while len(kernel.op.vjps) > 256:
        kernel.op.vjps.pop(next(iter(kernel.op.vjps)))
    kernel.op.vjps[key] = found = Op(kernel.op.name + " backward", reverse)
    return found


__all__ = ["LEAF", "Leaf", "State", "Watch", "backward"]
