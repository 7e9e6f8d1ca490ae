"""Forward passes over the tape: tangents carried from values to what was computed of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .grad import Leaf, Watch, _plain, add, step_info
from .meta import INTERIOR, Value, make_value
from .op import ARRAY, Lifted, Op, Wide
from .segment import Freed, Segment
from .trace import _VECTORS, Trace, concrete, local, record
from .trie import Call, Input


def push(sources: list[Value], tangents: list[Value], outs: list[Value]) -> list[Value | None]:
    """Jacobian-vector products: tangents of ``outs`` when ``sources`` have ``tangents`` (None where there is none).

    Goes along the same tape as reverse passes do (so gradients must have been on, and ``sources`` have required them
    when ``outs`` were computed), through the pending trace, those that enclose it, and what was executed before.  The
    steps are recorded as operations that can be differentiated again.
    """
    return _Forward(sources, tangents).run(outs)


class _Forward:
    def __init__(self, sources: list[Value], tangents: list[Value]) -> None:
        self.trace = local.trace
        #: by region, tangents by slot; and values of other regions by slot
        self.known: dict[Any, dict[int, Value]] = {}
        self.leaves: dict[Leaf, Value] = {}
        for v, t in zip(sources, tangents, strict=True):
            where, slot = self.point(v)
            if type(where) is Leaf:
                self.leaves[where] = t if where not in self.leaves else add(self.leaves[where], t)
            elif where is not None:
                known = self.known.setdefault(where, {})
                known[slot] = t if slot not in known else add(known[slot], t)

    def point(self, v: Value) -> tuple[Any, int]:
        """Where a value is on the tape: (region, slot), (leaf, 0), or (None, 0)."""
        at, node = v.trace, v.node
        if type(node) is Leaf:
            return node, 0
        if at is not None and v.data is None and (at is self.trace or (self.trace.nested and self.trace.encloses(at))):
            return at, v.slot
        if type(node) is tuple:
            return node
        if type(node) is Freed:
            raise RuntimeError(
                "the graph between the inputs and outputs of a forward-mode derivative was given up by a backward "
                "pass; use retain_graph=True there"
            )
        return None, 0

    def run(self, outs: list[Value]) -> list[Value | None]:
        points = [self.point(v) for v in outs]
        plan = self._plan(points)
        for where, calls, inputs in reversed(plan):
            env = dict(self.known.get(where, {}))
            for slot, value in inputs:
                t = self._tangent(self.point(value))
                if t is not None and slot not in env:
                    env[slot] = t
            self.known[where] = env
            self._carry(where, calls, env)
        return [self._tangent(p) for p in points]

    def _tangent(self, point: tuple[Any, int]) -> Value | None:
        where, slot = point
        if type(where) is Leaf:
            return self.leaves.get(where)
        return None if where is None else self.known.get(where, {}).get(slot)

    def _order(self, where: Any) -> tuple[int, int]:
        """Regions that rest on others come later."""
        if type(where) is Segment:
            return 0, where.number
        depth = 1
        while where.nested:
            where, depth = where.outer, depth + 1
        return depth, 0

    def _plan(self, points: list[tuple[Any, int]]) -> list[tuple[Any, list[Call], list[tuple[int, Value]]]]:
        """What lies behind ``points``, newest region first: (region, its calls in order, slots from other regions)."""
        todo: dict[Any, set[int]] = {}
        for where, slot in points:
            if where is not None and type(where) is not Leaf:
                todo.setdefault(where, set()).add(slot)
        plan = []
        while todo:
            where = max(todo, key=self._order)
            reach = todo.pop(where)
            pending = isinstance(where, Trace)
            graph = where.state.graph() if pending else where.graph
            stop = self.known.get(where, {})
            calls: list[Call] = []
            inputs: list[tuple[int, Value]] = []
            for e in reversed(graph.entries):
                if type(e) is Call and e.tracked and not reach.isdisjoint(e.out_slots):
                    if all(s in stop for s in e.out_slots if s in reach):
                        continue
                    calls.append(e)
                    reach.update(e.wrt_slots)
            for s in reach:
                source = graph.producer[s]
                if s in stop or (type(source) is Call and source.tracked):
                    continue
                value = where.values[s] if pending else where.inputs.get(s)
                if value is None and s in getattr(where, "leaves", ()):
                    value = make_value(graph.metas[s], None, where.leaves[s])
                if value is None or (value.trace is where and type(source) is Input):
                    continue
                if value.trace is where and type(value.node) is not Leaf:
                    continue
                inputs.append((s, value))
                at, slot = self.point(value)
                if at is not None and type(at) is not Leaf and at is not where:
                    todo.setdefault(at, set()).add(slot)
            calls.reverse()
            plan.append((where, calls, inputs))
        return plan

    def _carry(self, where: Any, calls: list[Call], env: dict[int, Value]) -> None:
        given = self.known.get(where, {})
        for call in calls:
            moving = tuple([s in env for s in call.wrt_slots])
            if not any(moving):
                continue
            watch = where.watched.get(call.first)
            if type(watch) is Watch and watch.handle is not None and watch.forward is None:
                raise NotImplementedError(
                    f"forward-mode derivatives do not go through {call.op.name}; use reverse mode"
                )
            if type(watch) is Watch and watch.forward is not None:
                got = watch.forward([env.get(s) for s in call.wrt_slots])
                found = dict(zip(call.out_slots, got, strict=True))
            elif call.op.alias:
                found = {call.first: env[call.wrt_slots[0]]}
            else:
                found = self._step(where, call, moving, env)
            for s, t in found.items():
                if t is not None and s not in given:
                    env[s] = t

    def _step(self, where: Any, call: Call, moving: tuple[bool, ...], env: dict[int, Value]) -> dict[int, Value]:
        """Record the jvp of one call."""
        args: list[Any] = []
        numbers: list[Any] = []
        pending = isinstance(where, Trace)
        k = 0
        for i in call.ins:
            if type(i) is int:
                args.append(where.values[i] if pending else self._saved(where, call, i, k))
                k += 1
            elif type(i) is Wide:
                source = getattr(where if pending else where.numbers, _VECTORS[i.type])
                numbers.append(_plain(i.type, source[i.index]))
        wrt = tuple([p for p, m in zip(call.wrt, moving, strict=True) if m])
        present = tuple([m.grad == INTERIOR for m in call.outs])
        op = _jvp_op(call.kernel, wrt, present, step_info(call, where is self.trace))
        tangents = [env[s] for s, m in zip(call.wrt_slots, moving, strict=True) if m]
        got = record(op, (), (*args, *tangents), tuple(numbers))
        got = got if type(got) is tuple else (got,)
        return dict(zip([s for s, p in zip(call.out_slots, present, strict=True) if p], got, strict=True))

    @staticmethod
    def _saved(where: Segment, call: Call, slot: int, k: int) -> Value:
        """An argument of an executed call; one that no derivative needs may be gone."""
        found = where.entered(slot)
        if found is not None:
            return found
        meta = where.graph.metas[slot]
        if slot not in where.saved:
            m = call.metas[k]
            return concrete(np.zeros(m.shape, m.dtype), m.place)
        return make_value(meta, where.array(slot), (where, slot) if meta.grad == INTERIOR else where.leaves.get(slot))


def _jvp_op(kernel: Any, wrt: tuple[int, ...], present: tuple[bool, ...], info: Any) -> Op:
    """The jvp of one call by its arrays ``wrt`` as an operation: primals, tangents -> tangents of the results."""
    key = ("jvp", kernel, wrt, present, info is not None)
    found = kernel.op.vjps.get(key)
    if found is not None:
        return found
    order = [item is ARRAY for item in kernel.pattern if item is ARRAY or (type(item) is tuple and item[0] is Lifted)]
    n = sum(order)

    def forward(static: Any, args: tuple) -> tuple:
        import jax

        lifted = iter([a.array if type(a) is Lifted else a for a in args[n + len(wrt) :]])
        plain = iter(args[:n])
        full = [next(plain) if is_array else next(lifted) for is_array in order]

        def moved(*moving: Any) -> tuple:
            arrays = list(full)
            for i, x in zip(wrt, moving, strict=True):
                arrays[i] = x
            return kernel.forward(tuple(arrays))[0]

        _, tangents = jax.jvp(moved, tuple(full[i] for i in wrt), tuple(args[n : n + len(wrt)]))
        return tuple(t for t, p in zip(tangents, present, strict=True) if p)

    while len(kernel.op.vjps) > 256:
        kernel.op.vjps.pop(next(iter(kernel.op.vjps)))
    kernel.op.vjps[key] = found = Op(kernel.op.name + " forward", forward, info=info)
    return found


def behind(value: Value) -> list[Any]:
    """What the tape leads to from a value: leaves, and None for something outside of a nested recording."""
    walker = _Forward([], [])
    todo = [walker.point(value)]
    found: dict[Any, None] = {}
    seen: set[tuple] = set()
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        where, slot = at
        if type(where) is Leaf:
            found[where] = None
        elif where is not None:
            todo.extend(_sources(walker, where, slot, found))
    return list(found)


def _sources(walker: _Forward, where: Any, slot: int, found: dict[Any, None]) -> list[tuple[Any, int]]:
    """Where the way back from a slot leaves its region."""
    pending = isinstance(where, Trace)
    graph = where.state.graph() if pending else where.graph
    key = ("behind", slot)
    ends = graph.cache.get(key)
    if ends is None:
        reach = {slot}
        for e in reversed(graph.entries):
            if type(e) is Call and e.tracked and not reach.isdisjoint(e.out_slots):
                reach.update(e.wrt_slots)
        ends = graph.cache[key] = tuple(
            s for s in reach
            if graph.metas[s].grad and not (type(graph.producer[s]) is Call and graph.producer[s].tracked)
        )  # fmt: skip
    points = []
    for s in ends:
        value = where.values[s] if pending else where.inputs.get(s)
        if value is None:
            found[where.leaves.get(s)] = None
        elif value.trace is where and type(value.node) is not Leaf:
            found[None] = None
        else:
            points.append(walker.point(value))
    return points


__all__ = ["behind", "push"]
