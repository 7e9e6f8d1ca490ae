"""An executed trace through which gradients still flow."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import policy
from .config import config
from .meta import LEAF
from .op import Lifted, Op, Wide, current_platform
from .rolled import Back, Row, roll_back
from .schedule import Numbers, walk
from .trie import Call, Graph, Input

_sequence = itertools.count(1)
#: Reverse passes as operations, by their structure.
_ops: OrderedDict[tuple, Op] = OrderedDict()
#: What stands for each structure, see ``SegmentReverse.kind``.
_kinds: dict[tuple, object] = {}


class Freed:
    """`Value.node` of results whose way back was given up by an earlier reverse pass.

    call: what made the result; None if a compiled function did.
    """

    __slots__ = ("call",)

    def __init__(self, call: Any) -> None:
        self.call = call


class Segment:
    """What is kept of an executed trace for reverse passes: its calls, and the arrays that their gradients need.

    saved: slot -> array of results, or Row;  inputs: slot -> Value that had entered;  leaves: slot -> Leaf created
    within.  number: later segments may rest on earlier ones only.  lost: of inputs that were given up, where they were
    on the tape (a reference to a leaf), since what led there is an error, not nothing.
    """

    __slots__ = ("graph", "plan", "saved", "inputs", "leaves", "numbers", "watched", "freed", "number", "lost")

    def __init__(self, graph: Graph, plan: tuple[Call, ...], saved: dict[int, Any], values: list, numbers: Numbers,
                 watched: dict[int, Any]) -> None:  # fmt: skip
        self.graph, self.plan, self.saved, self.numbers = graph, plan, saved, numbers
        self.inputs: dict[int, Any] = {}
        self.leaves: dict[int, Any] = {}
        self.lost: dict[int, Any] = {}
        for call in plan:
            for s in call.slots:
                source = graph.producer[s]
                if type(source) is Input:
                    self.inputs[s] = values[s]
                elif graph.metas[s].grad == LEAF:
                    self.leaves[s] = values[s].node
        self.watched = dict(watched)
        self.freed: set[Call] = set(graph.freed)
        self.number = next(_sequence)

    def entered(self, slot: int) -> Any:
        """The Value that had entered at a slot; None if its memory was given to a result, as that of a sum may be:
        no derivative looks at it.
        """
        found = self.inputs.get(slot)
        return None if found is None or getattr(found.data, "is_deleted", bool)() else found

    def array(self, slot: int) -> Any:
        """What is saved of a slot."""
        found = self.saved[slot]
        if type(found) is Row:
            found = self.saved[slot] = found.array()
        return found

    def free(self, calls: tuple[Call, ...]) -> None:
        """Give up what only these calls needed."""
        found = self.graph.cache.get((Segment, self.plan, calls)) if not self.freed else None
        if found is None:
            found = self._left(self.freed.union(calls))
            if not self.freed:
                self.graph.cache[Segment, self.plan, calls] = found
        self.freed.update(calls)
        saved, ways = found
        if not saved:
            self.saved.clear()
        for s in [s for s in self.saved if s not in saved]:
            del self.saved[s]
        for s in [s for s in self.inputs if s not in ways]:
            v = self.inputs.pop(s)
            if v.meta.grad:
                self.lost[s] = weakref.ref(v.node) if v.meta.grad == LEAF else v.node

    def _left(self, freed: set[Call]) -> tuple[set[int], set[int]]:
        """The slots whose arrays are kept, and those that lead on, when these calls have been given up."""
        saved: set[int] = set()
        ways: set[int] = set()
        for call in self.plan:
            if call not in freed:
                saved.update(call.slots)
                ways.update(call.slots)
            elif not call.op.saves or call.op.alias:  # may be gone through again, so the way must lead on
                saved.update(used_slots(call))
                ways.update(call.slots)
        return saved, ways

    def behind(self) -> Iterator[tuple[int, Any]]:
        """(slot, where that was on the tape) of all that entered."""
        for s, v in self.inputs.items():
            yield s, v.node
        for s, node in self.lost.items():
            if type(node) is not weakref.ref:
                yield s, node
            elif (leaf := node()) is not None:
                yield s, leaf


def saved_slots(graph: Graph, roots: tuple[int, ...]) -> tuple[tuple[Call, ...], tuple[int, ...]]:
    """Calls that gradients of ``roots`` go through, last first, and the slots whose arrays they need."""
    reach = set(roots)
    plan: list[Call] = []
    saved: dict[int, None] = {}
    for e in reversed(graph.entries):
        if type(e) is Call and e.tracked and not reach.isdisjoint(e.out_slots):
            plan.append(e)
            reach.update(e.wrt_slots)
            saved.update(dict.fromkeys(needed_slots(e)))
    return tuple(plan), tuple(saved)


def needed_slots(call: Call) -> tuple[int, ...]:
    """Slots whose values the gradient of a call rests on: all, or only indices and masks if it is linear."""
    return () if call.mode.scoped else used_slots(call)


def used_slots(call: Call) -> tuple[int, ...]:
    """As :func:`needed_slots`, also where a scope keeps them."""
    if call.op.alias:
        return ()
    if call.op.saves:
        return call.slots
    return tuple([s for s, m in zip(call.slots, call.metas, strict=True) if m.dtype.kind in "biu"])


def is_freed(graph: Graph, slot: int) -> bool:
    """Whether the way back from a slot leads through a call that an earlier reverse pass has given up."""
    reach = {slot}
    for e in reversed(graph.entries):
        if type(e) is Call and e.tracked and not reach.isdisjoint(e.out_slots):
            if e in graph.freed and e.op.saves:
                return True
            reach.update(e.wrt_slots)
    return False


class SegmentReverse:
    """A reverse pass over a segment, as an operation: saved arrays, numbers and cotangents in, cotangents out.

    metas: of the slots whose cotangents come out.  onto: positions among ``outs`` where more has come before, to which
    the cotangent is added: the last arguments.  met, spent: how often it was executed by itself, and in how many
    seconds call by call.  stacks: its programs for many equal ones, see ``together``; False if there can be none.
    """

    __slots__ = ("op", "plan", "needs", "wides", "roots", "outs", "metas", "onto", "met", "spent", "stacks",
                 "_kind")  # fmt: skip

    def __init__(self, graph: Graph, plan: tuple[Call, ...], roots: tuple[int, ...], outs: tuple[int, ...],
                 onto: tuple[int, ...] = ()) -> None:  # fmt: skip
        needs: dict[int, None] = {}
        wides: dict[tuple, Wide] = {}
        for call in plan:
            needs.update(dict.fromkeys(needed_slots(call)))
            for i in call.ins:
                if type(i) is Wide:
                    wides[(i.type, i.index)] = i
        self.plan, self.needs, self.wides = plan, tuple(needs), tuple(wides.values())
        self.roots, self.outs, self.onto = roots, outs, onto
        self.metas = tuple([graph.metas[s] for s in outs])
        self.met, self.spent = 0, 0.0
        self.stacks: Any = None
        key = None if policy.dividing else self._structure()
        found = _ops.get(key)
        if found is None:
            found = Op("backward", self._fused, walk=self.walk, info=self)
            if key is not None:
                _ops[key] = found
                while len(_ops) > config.max_kernels:
                    _ops.popitem(last=False)
        self.op = found
        self._kind: Any = None if key is None else found

    @property
    def kind(self) -> Any:
        """The same object for all that do the same."""
        if self._kind is None:
            key = self._structure()
            self._kind = _ops.get(key) or _kinds.setdefault(key, object())
            while len(_kinds) > config.max_kernels:
                _kinds.pop(next(iter(_kinds)))
        return self._kind

    def _structure(self) -> tuple:
        """What reverse passes have in common that are the same operation, whatever else their traces hold."""
        number: dict[Any, int] = {}

        def local(name: Any) -> int:
            return number.setdefault(name, len(number))

        calls = tuple([
            (c.kernel, c.metas, c.outs, tuple(map(local, c.out_slots)),
             tuple([local(i) if type(i) is int else local((i.type, i.index)) if type(i) is Wide else None
                    for i in c.ins]))
            for c in self.plan
        ])  # fmt: skip
        slots = [tuple(map(local, s)) for s in (self.needs, self.roots, self.outs)]
        return (
            calls, *slots, self.onto, self.metas,
            tuple([(w.type, local((w.type, w.index))) for w in self.wides]),
        )  # fmt: skip

    def _fused(self, static: Any, args: tuple) -> tuple:
        from .evaluators import Inline
        from .layout import ChannelsLast, pays_back

        last = current_platform() == "cpu" and pays_back(self.plan)
        how = ChannelsLast() if last else Inline()
        return self._walk(args, how, roll_back(self.plan, self.outs, needed_slots))

    def walk(self, args: tuple, how: Any) -> tuple:
        """The cotangents that come out, call by call."""
        return self._walk(args, how, self.plan)

    def _walk(self, args: tuple, how: Any, plan: tuple) -> tuple:
        n, m = len(self.needs), len(self.roots)
        more = n + m + len(self.onto)
        env = dict(zip(self.needs, args, strict=False))
        cotangents = dict(zip(self.roots, args[n : n + m], strict=True))
        lifted = {
            (w.type, w.index): a.array if type(a) is Lifted else a for w, a in zip(self.wides, args[more:], strict=True)
        }

        def pull(call: Call, given: tuple) -> tuple:
            arrays, k = [], 0
            for i in call.ins:
                if type(i) is int:
                    if i in env:
                        arrays.append(env[i])
                    else:  # a gradient that needs no forward values takes any
                        meta = call.metas[k]
                        arrays.append(np.zeros(meta.shape, meta.dtype))
                    k += 1
                elif type(i) is Wide:
                    arrays.append(lifted[i.type, i.index])
            return how.vjp(call, tuple(arrays), given)

        wanted = frozenset(self.outs)
        for e in plan:
            if type(e) is Back:
                e.pull(env, lifted, cotangents, how)
            else:
                walk((e,), cotangents, wanted, pull, how.add)
        found = [cotangents[s] for s in self.outs]
        for k, before in zip(self.onto, args[n + m : more], strict=True):
            found[k] = how.add(before, found[k])
        return tuple([how.plain(g) for g in found])
