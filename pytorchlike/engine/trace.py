"""Recording: the pending trace of each thread, and the ways in which it comes to be executed."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import contexts, errors, foreseen, policy
from .config import config
from .memory import Uncollected
from .meta import (
    INTERIOR,
    LEAF,
    NO_GRAD,
    SHAPE_ONLY,
    TRACED,
    Meta,
    Mode,
    Value,
    is_spread,
    make_value,
    meta_of,
    mode_of,
)
from .op import Kernel, Op, Wide, drop_kernel, kernel_for
from .rolled import loops_in
from .scope import settle
from .stats import stats
from .trie import Call, Input, Reverse, State

_roots: dict[Any, State] = {}
_n_states = 0
_WIDE = object()
#: Calls of a round, at most, for which more may be pending without gradients.
SHORT = 16
#: How many times ``max_pending`` entries may be pending where they are rounds of loops.
_MOST = 8
_VECTORS = {bool: "ints", int: "ints", float: "floats", complex: "complexes"}
#: Makes the list of values of a trace that is executed after each operation, see ``debug``; or None.
watched_values: Any = None


class Trace:
    """What one thread has recorded and not yet executed.

    state: where we are in the trie.   values: by slot (slot 0 is unused).   slots: slot of each concrete input.
    ints, floats, complexes: Python numbers that are run-time inputs.
    journal: (owner, slot of its old value) of the in-place updates of what existed before, to undo a failure.
    watched: slots at which a reverse pass must stop (hooks, custom functions), see ``grad``.
    derived: number of slots when a function transformation first took a derivative, or 0.
    after: where in the user's program the trace before ended.
    room: how many times ``max_pending`` entries may be pending, see ``_recurs``.
    """

    __slots__ = ("state", "values", "slots", "ints", "floats", "complexes", "mode", "journal", "watched", "failed",
                 "running", "derived", "after", "room", "thread", "__weakref__")  # fmt: skip

    #: whether this is the recording of a function that becomes one operation of another trace, see ``nested``
    nested = False
    #: whether what is recorded is used again with other data, so that nothing may be computed at once, see ``capture``
    replayed = False
    #: whether calls are evaluated when they are made, see ``host``
    at_once = False

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.thread = threading.current_thread()
        self.state = _root(mode, self.nested)
        self.values: list[Any] = [None] if watched_values is None or self.nested else watched_values(self)
        self.slots: dict[Value, int] = {}
        self.ints: list[int] = []
        self.floats: list[float] = []
        self.complexes: list[complex] = []
        self.journal: list[tuple[Any, int]] = []
        self.watched: dict[int, Any] = {}
        self.derived = 0
        self.failed: BaseException | None = None
        self.after: contexts.Context | None = None
        self.room = 1

    # ---- inputs -----------------------------------------------------------------------------------------------

    def slot_of(self, value: Value) -> int:
        """Slot of a value in this trace, which it enters as an input if need be."""
        return value.slot if value.trace is self else self.slots.get(value) or self.add_input(value)

    def add_input(self, value: Value) -> int:
        if value.data is None:
            peek(value)
        return self.enter(value)

    def enter(self, value: Value) -> int:
        """Give a value a slot as an input."""
        meta = value.meta
        state = self.state.next.get(meta)
        if state is None:
            at = self.state
            place = spread(meta.place)
            place = place if at.place is None or at.place == place else _mixed(at.place, place)
            state = _grow(at, meta, Input(meta, at.n), meta, at.n + 1, 0, place)
        self.state = state
        n = len(self.values)
        self.values.append(value)
        self.slots[value] = n
        return n

    def enter_all(self, values: list[Value]) -> None:
        """Give several concrete values their slots in one step of the trie."""
        n = len(self.values)
        slots = dict(zip(values, range(n, n + len(values)), strict=True))
        if len(slots) < len(values):  # some occur more than once
            values = list(slots)
            slots = dict(zip(values, range(n, n + len(values)), strict=True))
        metas = tuple([v.meta for v in values])
        at = self.state
        state = at.next.get(metas)
        if state is None:
            place = at.place
            for p in dict.fromkeys([spread(m.place) for m in dict.fromkeys(metas)]):
                place = p if place is None or place == p else _mixed(place, p)
            inputs = tuple([Input(m, at.n + k) for k, m in enumerate(metas)])
            state = _grow(at, metas, inputs, (), at.n + len(metas), 0, place)
        self.state = state
        self.slots.update(slots)
        self.values += values

    def leave(self) -> None:
        """Take out the inputs that came last: what was to use them will not be recorded here."""
        state = self.state.before_inputs()
        if state.n < len(self.values) and type(self.values) is list:
            for value in self.values[state.n :]:
                del self.slots[value]
            del self.values[state.n :]
            self.state = state

    def take_back(self) -> None:
        """Take out the calls that came last if nobody holds their results: parts that were but looked at."""
        values = self.values
        if type(self) is not Trace or type(values) is not list or local.scopes or self.derived:
            return
        state = self.state.before_inputs()
        while state.n <= len(values) and self._unused(state.entry):
            state = state.parent.before_inputs()  # type: ignore[union-attr]
        for value in values[state.n :]:
            self.slots.pop(value, None)
        del values[state.n :]
        for vector, n in zip((self.ints, self.floats, self.complexes), state.counts, strict=True):
            del vector[n:]
        self.state = state

    def _unused(self, entry: Any) -> bool:
        """Whether an entry is a call that does nothing but give results, and nobody holds these."""
        if entry.__class__ is not Call or entry.tracked or entry.op.inplace or entry.checks:
            return False
        return not any(sys.getrefcount(self.values[slot]) > 2 for slot in entry.out_slots)

    def number(self, kind: type, value: Any) -> Wide:
        """Make a Python number a run-time input."""
        vector = getattr(self, _VECTORS[kind])
        vector.append(int(value) if kind is bool else value)
        return Wide(kind, len(vector) - 1)

    def number_of(self, wide: Wide) -> Any:
        """The present value of a run-time input."""
        return getattr(self, _VECTORS[wide.type])[wide.index]

    # ---- recording --------------------------------------------------------------------------------------------

    def miss(self, key: tuple, op: Op, static: Any, ins: tuple) -> tuple[Trace, State]:
        """The state after a call that :attr:`state` does not know under ``key``; errors of the call are raised here.

        The trace returned is another one if the pending work had to be executed first.
        """
        try:
            return self._miss(key, op, static, ins)
        except BaseException:
            # numbers that were noted for the call must not shift those of the next one
            for vector, n in zip((self.ints, self.floats, self.complexes), self.state.counts, strict=True):
                del vector[n:]
            raise

    def _miss(self, key: tuple, op: Op, static: Any, ins: tuple) -> tuple[Trace, State]:
        if self.state.cut and not policy.goes_on(self.state, op, static, ins):
            return _restart(self, op, static, ins)
        numbers = [k for k, i in enumerate(ins) if type(i) is tuple]
        asked, given = key, ins  # elsewhere the numbers are judged anew
        if numbers:
            key, ins = self._widen(key, op, static, ins, numbers)
            found = self.state.next.get(key)
            if type(found) is State:
                return self, found
        stats.misses += 1
        at = self.state
        if not self.nested and (at.nbytes >= config.max_pending_bytes
                                or at.depth >= self.room * config.max_pending and not self._recurs()):  # fmt: skip
            at.cut = True
            return _restart(self, op, static, given, "too many pending operations")
        values = self.values
        taken = [i for i in ins if type(i) is int]
        if op.alike is not None and len(ins) > 2 and ins.count(ins[0]) == len(ins) == len(taken):
            once = op.alike(static, values[ins[0]].meta)
            if once is not None:  # its reverse is one sum, where each argument would add a gradient to the others'
                (op, static), taken, ins = once, taken[:1], ins[:1]
        metas = tuple([values[i].meta for i in taken])
        if not op.inplace and not op.alias and not self.nested:
            made = [i for i, m in zip(taken, metas, strict=True) if m.grad == LEAF and values[i].trace is self]
            if made and self._begins(made):
                at.cut = True
                return _restart(self, op, static, given, "a new or updated leaf was used")
        context = None if policy.dividing else contexts.here()
        if context is not None and self.after is not None and not self.nested and self._turns(context):
            at.cut = True
            return _restart(self, op, static, given, "another iteration begins")
        n, mode = at.n, self.mode
        pattern = [
            ... if i.__class__ is int else i if i is None else i.type if i.__class__ is Wide
            else (i[0], i[1] or repr(i[1])) for i in ins
        ]  # fmt: skip
        kind = (op, static, mode, metas, *pattern)
        model = _models.get(kind)
        content = 0
        if policy.dividing and not self.nested:
            pending = any(values[i].trace is self for i in taken)
            content = policy.content(op, static, metas, model, errors.user_location())
            if policy.ends(at, op, content, pending) and not policy.goes_on(at, op, static, ins):
                at.cut = True
                return _restart(self, op, static, given, "graphs of this kind are executed piece by piece")
        if model is None:
            call = _models[kind] = self._first(op, static, ins, metas)
            while len(_models) > config.max_kernels:
                _models.popitem(last=False)
        else:
            call = model.again(ins, n, mode, errors.user_location())
        call.context = context
        outs, place = call.outs, call.place
        whole = place if at.place is None or at.place == place else _mixed(at.place, place)
        state = _grow(at, key, call, outs[0] if len(outs) == 1 else outs, n + len(outs),
                      sum(m.nbytes for m in outs), whole)  # fmt: skip
        state.content |= content
        state.counts = (len(self.ints), len(self.floats), len(self.complexes))
        if numbers and not any(type(ins[k]) is Wide for k in numbers):
            at.next[asked] = state
        return self, state

    def _recurs(self) -> bool:
        """Whether there is room for more, since most of what is pending is rounds of loops.

        A loop is compiled once, however many rounds it has. Were it executed here, what each call of each round has
        made would be a result of the program, for the reverse pass to come; without gradients, what is kept of rounds.
        """
        calls = [e for e in self.state.entries() if e.__class__ is Call]
        loops = loops_in(calls)
        taped = sum([c.tracked for c in calls])
        if 2 * taped < len(calls):  # rounds of many calls, as those of samplers, are long enough by themselves
            loops = [e for e in loops if len(e.calls) <= SHORT and e.heavy]
        if 4 * sum(len(e.all_calls) for e in loops) < 3 * len(calls):
            return False
        while self.room < _MOST and self.room * config.max_pending <= self.state.depth:
            self.room *= 2
        return self.state.depth < self.room * config.max_pending

    def _begins(self, leaves: list[int]) -> bool:
        """Whether a step begins where ``leaves``, slots of what this trace initialised or updated, are used.

        The step's program is the same the first time and every time only if what made the leaf is not part of it.
        A leaf that a step makes for itself (where a penalty takes its gradient, the states below a tree) is part of
        the step: something is on the tape already, and no reverse pass has come since.
        """
        taped = False
        for entry in self.state.entries():
            if entry.__class__ is Reverse:
                return True
            if entry.__class__ is Call:
                taped = taped or entry.tracked
                if entry.op.inplace and not entry.op.alias and any(i in entry.out_slots for i in leaves):
                    return True
        return not taped

    def _turns(self, now: contexts.Context) -> bool:
        """Whether the loop in which the trace began goes into its next round, after something was updated in place.

        A running mean of the weights, say: the program of a round is the same the first time and every time only if
        what the round before did last is not part of it.
        """
        if not contexts.turns(self.after, now):
            return False
        last = self.state.last_call
        if last is None or last.context is None or contexts.turns(self.after, last.context):
            return False
        return any(e.__class__ is Call and e.op.inplace and not e.op.alias for e in self.state.entries())

    def _first(self, op: Op, static: Any, ins: tuple, metas: tuple) -> Call:
        """The first call of its kind: what it gives is inferred."""
        place = place_of(op, static, metas)
        kernel = kernel_for(op, static, ins, self.mode, platform_of(place))
        try:
            outs = infer(kernel, metas, place, self.mode)
        except Exception:
            drop_kernel(kernel)
            raise
        if op.inplace:
            for old, new in zip(metas[: op.inplace], outs, strict=False):
                if old.shape != new.shape or old.dtype != new.dtype:
                    raise RuntimeError(
                        f"{op.name}: the result is {list(new.shape)} of {new.dtype}, which cannot replace "
                        f"{list(old.shape)} of {old.dtype} in place"
                    )
        return Call(op, static, ins, metas, self.state.n, outs, self.mode, errors.user_location(), kernel, place,
                    kernel.checks_of([m.shape for m in metas]))  # fmt: skip

    def _widen(self, key: tuple, op: Op, static: Any, ins: tuple, numbers: list[int]) -> tuple[tuple, tuple]:
        """Specialise numbers at first; those that differ at a second visit become run-time inputs for good."""
        kinds = tuple([ins[k][0] for k in numbers])
        shape = tuple([_WIDE if type(i) is tuple else i.type if type(i) is Wide else i for i in ins])
        general = (op, static, _WIDE, kinds, shape)
        following = self.state.next
        known = following.get(general)
        if known is not None and len(known[1]) == len(numbers):  # all of them: their values say nothing
            wide, rest = known[1], ()
        else:
            exact = tuple([(t, repr(v)) for t, v in [ins[k] for k in numbers]])
            if known is None:
                # the caller's own key becomes a short cut to the specialised state until that is given up
                sized = any(type(i) is int for i in ins)  # else the static part tells of sizes, which vary as well
                wide = _varied(op, static if sized else None, numbers, exact)
                if policy.moving:
                    where = errors.user_location()
                    wide |= {k for k in numbers if (op, k, where) in policy.moving}
                if op.varies is not None and not self.values[ins[0]].meta.grad and op.varies(static):
                    if not contexts.here().model:
                        wide = frozenset(numbers)
                elif op.scales and self._single(ins):
                    wide = frozenset(numbers)
                known = following[general] = [exact, wide, [key, (op, static, exact, shape)]]
                if not wide:
                    return (op, static, exact, shape), ins
            first, wide, short_cuts = known
            if exact != first:
                differ = {k for k, a, b in zip(numbers, exact, first, strict=True) if a != b}
                wide = known[1] = wide | differ
                policy.moves(op, differ, errors.user_location())
                for k in short_cuts:  # else programs would multiply with every place that varies
                    following.pop(k, None)
                short_cuts.clear()
            if not wide:
                return (op, static, exact, shape), ins
            rest = tuple([e for k, e in zip(numbers, exact, strict=True) if k not in wide])
        ins = list(ins)
        for k in numbers:
            if k in wide:
                kind, value = ins[k]
                ins[k] = self.number(kind, value)
        return (op, static, rest, shape, wide, kinds), tuple(ins)

    def _single(self, ins: tuple) -> bool:
        """Whether a call takes one number that may be differentiated, and nothing else that is recorded."""
        metas = [self.values[i].meta for i in ins if type(i) is int]
        return len(metas) == 1 and not metas[0].shape and metas[0].grad == INTERIOR

    def push(self, state: State) -> Any:
        """Step to ``state`` and return the handle(s) of its results."""
        self.state = state
        meta = state.meta
        values = self.values
        try:
            if type(meta) is tuple:
                out = []
                for m in meta:
                    v = Value()
                    v.trace, v.slot, v.meta, v.data, v.node = self, len(values), m, None, None
                    values.append(v)
                    out.append(v)
                return tuple(out)
            v = Value()
            v.trace, v.slot, v.meta, v.data, v.node = self, len(values), meta, None, None
            values.append(v)
            return v
        except KeyboardInterrupt:
            self.mend()
            raise

    def mend(self) -> None:
        """After Ctrl-C in the midst of recording: go back to the last call that is recorded whole."""
        state, n = self.state, len(self.values)
        while state.n > n and state.parent is not None:
            state = state.parent
        self.state = state
        for value in [v for v, s in self.slots.items() if s >= state.n]:  # also of inputs not yet among the values
            del self.slots[value]
        del self.values[state.n :]
        for numbers, count in zip((self.ints, self.floats, self.complexes), state.counts, strict=True):
            del numbers[count:]


def _varied(op: Op, static: Any, numbers: list[int], exact: tuple) -> frozenset[int]:
    """Which numbers of an operation have had so many values, wherever it was recorded, that another is likely.

    Graphs that differ at every step never come back to a place of the trie, but their kernels should be the same.
    """
    key = (op, static, tuple(numbers))
    variety = policy.variety
    seen = variety.get(key)
    if seen is None:
        if len(variety) > 20_000:
            variety.clear()
        seen = variety[key] = [set() for _ in numbers]
    wide = []
    for k, values, e in zip(numbers, seen, exact, strict=True):
        if len(values) < 6:
            values.add(e)
        if len(values) >= 6:
            wide.append(k)
    return frozenset(wide)


class _Local(threading.local):
    """What belongs to this thread.

    trace: the pending trace.   checks: the data checks not yet looked at.   scopes: who looks at what is recorded,
    innermost last, see ``scope``.
    transforms: names of the function transformations whose function is running, outermost first.
    evaluator: runs everything, call by call, instead of XLA's programs, see ``host``; or None.   kind: of its traces.
    beside: takes the calls on a few integers, see ``host``; or None.
    """

    evaluator: Any = None
    kind: type[Trace] = Trace
    beside: Any = None

    def __init__(self) -> None:
        self.trace = self.kind(mode_of())
        self.checks: list = []
        self.scopes: list = []
        self.transforms: list[str] = []


_specs: OrderedDict[tuple, tuple[Meta, ...]] = OrderedDict()
#: The first call of each kind, from which others of that kind are made wherever they are recorded.
_models: OrderedDict[tuple, Call] = OrderedDict()


def _root(mode: Mode, nested: bool = False) -> State:
    key = (mode,) if nested else mode
    found = _roots.get(key)
    if found is None:
        found = _roots[key] = State(None, None, mode, (), 1, 0, None)
    return found


local = _Local()


def _grow(at: State, key: Any, entry: Any, meta: Any, n: int, nbytes: int, place: Any) -> State:
    global _n_states
    state = State(at, key, entry, meta, n, at.nbytes + nbytes, place)
    at.next[key] = state
    _n_states += 1
    if _n_states > config.max_states:
        _prune(state)
    return state


def _prune(keep: State) -> None:
    """Forget the half of the traces that were used longest ago, and what leads only to them."""
    global _n_states
    ends: list[State] = []
    stack = list(_roots.values())
    while stack:
        s = stack.pop()
        if s.stamp:
            ends.append(s)
        stack.extend(s.following())
    ends.sort(key=lambda s: s.stamp)
    kept: set[State] = set()
    budget = config.max_states // 2
    for s in [keep, *reversed(ends)]:
        walk = s
        while walk is not None and walk not in kept:
            kept.add(walk)
            walk = walk.parent
        if len(kept) > budget:
            break
    stack = list(_roots.values())
    while stack:
        s = stack.pop()
        # a pruned state keeps no children, so that traces recorded on it by other threads stay valid
        s.next = type(s.next)({k: c for k, c in s.next.items() if type(c) is State and c in kept})
        stack.extend(s.following())
    _n_states = len(kept)


def forget(state: State) -> None:
    """Take a trace that will not come again out of the trie, as far as no other shares it."""
    global _n_states
    while state.parent is not None and not state.next and not state.stamp:
        parent = state.parent
        following = parent.next
        if len(following) == 1 or not any(type(c) is State and c is not state for c in following.values()):
            following.clear()
        else:
            for k in [k for k, c in following.items() if c is state]:
                del following[k]
        _n_states -= 1
        state = parent


def forget_all() -> None:
    """Begin anew: no recording and no kernel is known any more.  What is pending stays valid."""
    global _n_states
    _roots.clear()
    _models.clear()
    _n_states = 0
    if len(local.trace.values) == 1 and not local.trace.nested:
        local.trace.state = _root(local.trace.mode)


class Places(frozenset):
    """The places of a trace that uses several."""


_spread: dict[Any, Any] = {}


def spread(place: Any) -> Any:
    """Of an array over several devices: that it is everywhere on them, whatever its layout; else the place itself.

    Operations on differently laid out arrays run on all their devices; XLA decides how what is pending is laid out.
    What a program returns is everywhere, except for what replaces an array in place, which keeps its layout.
    """
    if not is_spread(place):
        return place
    found = _spread.get(place)
    if found is None:
        from jax.sharding import NamedSharding, PartitionSpec

        mesh = getattr(place, "mesh", None)
        found = _spread[place] = place if mesh is None else NamedSharding(mesh, PartitionSpec())
    return found


def _mixed(a: Any, b: Any) -> Any:
    if a is TRACED or b is TRACED:
        return TRACED
    if a is SHAPE_ONLY:
        return b
    if b is SHAPE_ONLY or b is None:
        return a
    if is_spread(a) != is_spread(b) and Places not in (type(a), type(b)):
        return a if is_spread(a) else b  # a number on the host
    left = a if type(a) is Places else (a,)
    right = b if type(b) is Places else (b,)
    return Places([*left, *right])


def platform_of(place: Any) -> str:
    device = getattr(place, "platform", None)
    if device is None and hasattr(place, "device_set"):
        device = next(iter(place.device_set)).platform
    return device or "cpu"


def place_of(op: Op, static: Any, metas: tuple) -> Any:
    """Where a call runs: where its inputs are (0-dim ones on the CPU may join any), or where a factory is told."""
    place = None
    for m in metas:
        p = spread(m.place)
        if place is None or place is p or place == p:
            place = p if place is None else place
        elif p is TRACED or place is TRACED:
            place = TRACED
        elif m.ndim == 0 and platform_of(p) == "cpu":
            pass
        elif all(o.ndim == 0 and platform_of(o.place) == "cpu" for o in metas if spread(o.place) == place):
            place = p
        else:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{_place_name(place)} and {_place_name(p)}! ({op.name} got "
                f"{', '.join(_place_name(m.place) for m in metas)}; move one with .to(...))"
            )
    if place is None:
        place = getattr(op.info, "factory_place", lambda s: None)(static) if op.info is not None else None
        if place is None:
            place = default_place()
    return place


def _place_name(place: Any) -> str:
    if isinstance(place, str):
        return place
    kind = {"gpu": "cuda"}.get(platform_of(place), platform_of(place))
    if len(getattr(place, "device_set", ())) > 1:
        return f"{kind} ({len(place.device_set)} devices, {getattr(place, 'spec', 'sharded')})"
    return kind if kind == "cpu" else f"{kind}:{getattr(place, 'id', 0)}"


_cpu: Any = None


def default_place() -> Any:
    """The first CPU device."""
    global _cpu
    if _cpu is None:
        import jax

        _cpu = jax.devices("cpu")[0]
    return _cpu


def infer(kernel: Kernel, metas: tuple, place: Any, mode: Mode, traced: bool = False) -> tuple[Meta, ...]:
    """Metas of the outputs; raises what the operation's body raises for such inputs.  traced: its jaxpr is wanted."""
    key = (kernel, metas, place)
    found = _specs.get(key)
    if found is not None:
        return found
    import jax

    op = kernel.op
    if op.alias:
        shapes: list = [(m.shape, m.dtype) for m in metas[:1]]
    elif op.walk is not None:
        shapes = [(m.shape, m.dtype) for m in op.info.metas]
    elif not traced and (told := foreseen.results(kernel, metas)) is not None:
        shapes = told
    else:
        specs, k = [], 0
        from .op import ARRAY, Lifted

        for item in kernel.pattern:
            if item is ARRAY:
                specs.append(jax.ShapeDtypeStruct(metas[k].shape, metas[k].dtype))
                k += 1
            elif type(item) is tuple and item[0] is Lifted:
                specs.append(jax.ShapeDtypeStruct((), _lifted_dtype(item[1])))
        if traced or policy.varies(op, place):  # the jaxpr is wanted for NumPy, and makes the shapes known more quickly
            from .interpret import traced_of

            outs, _ = traced_of(kernel, tuple([(m.shape, m.dtype) for m in metas])).outs
        else:
            with Uncollected(), jax.enable_x64(True):
                outs, _ = jax.eval_shape(kernel.forward, tuple(specs))
        shapes = [(o.shape, np.dtype(o.dtype)) for o in outs]
        foreseen.learn(kernel, metas, shapes)
    tracked = mode.grad and op.differentiable and any(m.grad for m in metas)
    if tracked and op.saves and any(m.inference for m in metas):
        raise RuntimeError(
            "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in "
            "computation tracked by autograd. To work around this, you can make a clone to get a normal tensor and use "
            f"it in autograd, or use `torch.no_grad()` instead of `torch.inference_mode()`. ({op.name})"
        )
    follows = (op.alias and (op.leaf or not op.differentiable)) or getattr(op.info, "view", None) is not None
    result = []
    for i, (shape, dtype) in enumerate(shapes):
        inexact = dtype.kind in "fc" or (dtype.kind == "V" and jax.dtypes.issubdtype(dtype, np.inexact))
        if op.leaf and inexact and (op.alias or (i < op.inplace and metas[i].grad == LEAF)):
            grad = LEAF
        else:
            grad = INTERIOR if tracked and inexact else NO_GRAD
        kept = i < op.inplace or follows  # views, also where they are written through, are what their base is
        where = metas[i].place if (i < op.inplace or op.alias) and is_spread(metas[i].place) else place
        result.append(meta_of(tuple(shape), dtype, where, grad, metas[i].inference if kept else mode.inference))
    found = _specs[key] = tuple(result)
    while len(_specs) > 4 * config.max_kernels:
        _specs.popitem(last=False)
    return found


def _lifted_dtype(kind: type) -> np.dtype:
    return np.dtype({bool: np.int64, int: np.int64, float: np.float64, complex: np.complex128}[kind])


def _restart(
    trace: Trace, op: Op, static: Any, ins: tuple, why: str = "a trace was cut as before"
) -> tuple[Trace, State]:
    """Execute what is pending, then find the call's state in a fresh trace."""
    held = [
        trace.values[i] if type(i) is int else (i.type, trace.number_of(i)) if type(i) is Wide else i for i in ins
    ]
    wide = [type(i) is Wide for i in ins]
    trace.leave()
    for vector, n in zip((trace.ints, trace.floats, trace.complexes), trace.state.counts, strict=True):
        del vector[n:]
    flush(why)
    fresh = local.trace
    again = tuple(
        fresh.slot_of(h) if isinstance(h, Value) else fresh.number(*h) if w else h
        for h, w in zip(held, wide, strict=True)
    )
    key = key_of(op, static, list(again))
    found = fresh.state.next.get(key)
    return (fresh, found) if type(found) is State else fresh.miss(key, op, static, again)


def record(op: Op, static: Any, args: tuple, numbers: tuple = ()) -> Any:
    """Record a call: ``args`` are Values, Python numbers (specialised at first) or None.

    ``numbers``: further Python numbers that are run-time inputs from the start.  Returns a Value or a tuple of them.
    """
    trace = local.trace
    ins: list = []
    try:
        for a in args:
            if type(a) is Value:
                ins.append(a.slot if a.trace is trace else trace.slots.get(a) or trace.add_input(a))
            elif a is None:
                ins.append(None)
            else:
                ins.append((type(a), a))
        key = key_of(op, static, ins)
        ins.extend([trace.number(type(x), x) for x in numbers])
        state = trace.state.next.get(key)
        if state is None:
            trace, state = trace.miss(key, op, static, tuple(ins))
        return trace.push(state)
    except KeyboardInterrupt:
        local.trace.mend()
        raise


def key_of(op: Op, static: Any, ins: list) -> tuple:
    """Key of a call as :func:`record` makes it (falsy numbers by their repr: 0.0 == -0.0 == False)."""
    return (op, static, *[(i[0], i[1] or repr(i[1])) if type(i) is tuple else i for i in ins if type(i) is not Wide])


# ---- modes -----------------------------------------------------------------------------------------------------


def get_mode() -> Mode:
    return local.trace.mode


def set_mode(mode: Mode) -> Mode:
    """Switch this thread's mode; returns the previous one."""
    trace = local.trace
    old = trace.mode
    if mode is old:
        return old
    trace.mode = mode
    at = trace.state
    if at.parent is None:  # nothing recorded yet
        trace.state = _root(mode, trace.nested)
        return old
    state = at.next.get(mode)
    if state is None:
        state = _grow(at, mode, mode, (), at.n, 0, at.place)
    trace.state = state
    return old


# ---- execution -------------------------------------------------------------------------------------------------


def flush(reason: str = "asked", keep: Value | None = None) -> None:
    """Execute what this thread has pending.  Does not wait for the device."""
    trace = local.trace
    if len(trace.values) == 1 or trace.nested:
        return
    if local.scopes:
        settle(executing=True)
        trace = local.trace  # a scope may have read a value
        if len(trace.values) == 1:
            return
    fresh = local.kind(trace.mode)
    local.trace = fresh
    state = trace.state
    if state.ended is None and not policy.dividing:  # then nobody asks
        state.ended = contexts.here()
    fresh.after = state.ended
    stats.flushes += 1
    if stats.observers:
        stats.executed(reason, trace)
    from . import execute

    execute.run(trace, reason)


def derives(values: Iterable[Value]) -> None:
    """A derivative of a function is about to be taken at ``values``.

    If they come after a derivative of the same trace, a step of some iteration begins: what is pending is executed, so
    that each step is the same program.  (Updates of leaves tell the same of ordinary training, see ``_miss``.)
    """
    trace = local.trace
    if trace.nested or local.transforms:
        return
    if trace.derived and any(v.trace is trace and v.slot >= trace.derived for v in values):
        flush("a function is differentiated at updated values")
        trace = local.trace
    if not trace.derived:
        trace.derived = len(trace.values)


def read(value: Value) -> Any:
    """The array of a value, executing what it rests on, and raising what earlier programs found in their data."""
    if stats.observers:
        stats.read(value.data is None)
    if local.trace.replayed:
        return local.trace.read(value)
    if value.data is None:
        if local.trace.nested:
            return local.trace.read(value)
        if value.trace is local.trace:
            flush("a value was read")
        elif value.trace is not None and value.trace.failed is not None:
            value.data = peek(value)  # what the failure was not about is not lost
        else:
            peek(value)
    if local.checks:
        from . import execute

        execute.raise_failed_checks()
    return value.data


def peek(value: Value) -> Any:
    """The array of a value, computed apart so that the pending trace and its programs stay as they are."""
    if value.data is None:
        trace = value.trace
        if trace is None:
            raise RuntimeError("this value was never computed")
        if trace.nested or local.trace.nested:
            return (trace if trace.nested else local.trace).read(value)
        from . import execute

        data = execute.evaluate_apart(trace, value)
        if trace is not local.trace:
            value.data = data
        return data
    return value.data


def tell_once(value: Value) -> None:
    """Raise what is wrong with the data of a pending value for good: what is read later does not raise it again."""
    if value.trace is local.trace and not local.trace.nested:
        from . import execute

        flush("what is wrong with the data of a value was told when it was shown")
        execute.raise_failed_checks()


def own(value: Value) -> Value:
    """Tell a nested recording that a concrete value was made within it: who writes to it changes nothing outside."""
    trace = local.trace
    if trace.nested:
        trace.own.add(value)
    return value


def fixed(value: Value, *sources: Value) -> Value:
    """Tell a recording that is used again that a concrete value is the same each time, as its ``sources`` are."""
    trace = local.trace
    if trace.replayed and all(s in trace.fixed for s in sources):
        trace.fixed.add(value)
    return value


def unwatched() -> bool:
    """Whether nobody looks at what is recorded: it may as well be computed by NumPy at once."""
    return not (local.trace.nested or local.scopes or local.transforms)


def in_sight(value: Value) -> bool:
    """Whether the data of a value may decide what is recorded: not of what a captured call takes anew each time."""
    trace = local.trace
    return not trace.replayed or value in trace.fixed


def concrete(data: Any, place: Any, grad: int = NO_GRAD, node: Any = None) -> Value:
    """A Value that holds an array: a ``jax.Array``, a tracer, or a ``numpy.ndarray`` that nobody else will write to."""
    return make_value(meta_of(tuple(data.shape), np.dtype(data.dtype), place, grad), data, node)
