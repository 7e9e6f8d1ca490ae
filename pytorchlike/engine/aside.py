"""Values that are read in the middle of a step but do not rest on it: they are computed apart, and the step goes on.

``torch.arange(2, x.ndim).tolist()`` in a loss, ``mask.any()`` in a model, the rates of ``linspace`` in a constructor:
were what is pending executed for these, a step would be two programs, and the second one would take all that the first
has kept for the way back.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from . import contexts
from .meta import SHAPE_ONLY, is_spread
from .schedule import Schedule
from .trie import Call, Graph, Input

#: Calls that such a value rests on, and elements of the largest array among them, at most.
CALLS, SIZE = 8, 16_384
#: Entries that are pending at least; and between two readings in one place that are taken for two rounds of a loop.
PENDING = 16

_unknown = object()
#: Where loops whose rounds are executed one by one read a value.
_rounds: WeakSet[contexts.Context] = WeakSet()


def of(trace: Any, value: Any) -> Any:
    """The array of a pending value of ``trace``, computed apart; or None, if the trace is to be executed."""
    state = trace.state
    if state.depth < PENDING or trace.at_once:
        return None
    graph = state.graph()
    key = ("aside", value.slot)
    schedule = graph.cache.get(key, _unknown)
    if schedule is _unknown:
        schedule = graph.cache[key] = _little(graph, value.slot)
    if schedule is None or any(trace.values[s].data is None for s in schedule.inputs):
        return None
    at = contexts.here()
    if not at.model and _next_round(trace, at):
        return None
    from . import execute

    return execute.evaluate_apart(trace, value, schedule)


def _next_round(trace: Any, at: contexts.Context) -> bool:
    """Whether a loop of the user's comes to a reading: its rounds are executed one by one.  (A model's end.)"""
    if not trace.mode.grad:  # nothing else ends the rounds of an evaluation
        return True
    if trace.asides is None:
        trace.asides = {}
    depth = trace.state.depth
    if trace.asides.get(at, depth) + PENDING < depth:
        _rounds.add(at)
    trace.asides[at] = depth
    return at in _rounds


def _little(graph: Graph, slot: int) -> Schedule | None:
    """What a slot rests on, if that is little, without a weight among it; and if nothing that is pending can fail.

    Whatever is read, it tells of wrong data that came before.
    """
    if any(type(e) is Call and e.checks for e in graph.entries):
        return None
    found: set[int] = set()
    calls, waiting = 0, [slot]
    while waiting:
        s = waiting.pop()
        if s in found:
            continue
        found.add(s)
        meta, e = graph.metas[s], graph.producer[s]
        if meta.grad or meta.size > SIZE or meta.place == SHAPE_ONLY or is_spread(meta.place):
            return None
        if type(e) is Input:
            continue
        if type(e) is not Call or e.op.heavy or e.op.walk is not None or e.op.spliced is not None:
            return None
        calls += 1
        if calls > CALLS:
            return None
        waiting.extend(e.slots)
    return Schedule(graph, (slot,), checks=False)
