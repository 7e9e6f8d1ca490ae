"""Nested recordings: a function that runs once, on stand-ins for its arguments, and becomes one operation.

While a :class:`Nested` trace is open, what the thread records goes there.  Values of the enclosing trace that the
function uses enter as inputs of it, pending or not.  When it is closed, :meth:`Nested.finish` gives the recording as a
:class:`Body`, a pure function on arrays, and the operation made of it is recorded in the enclosing trace.  A Body is
found again by the structure of the recording (the trie's state), so running the function again traces nothing in JAX.

Derivatives of that operation are JAX's, through the evaluated recording.  Where the recording says that no gradient
flows (``detach``, ``no_grad``), ``stop_gradient`` says it to JAX.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .errors import check
from .evaluators import Inline, OpByOp
from .kept import Kept
from .meta import INTERIOR, LEAF, TRACED, Meta, Value
from .op import Lifted, Op, Wide
from .rolled import plan_of, roll
from .schedule import Numbers, Schedule, evaluate, loops_of, pull_of, walk
from .segment import saved_slots
from .trace import Trace, get_mode, key_of, local, read, set_mode
from .trie import Call, Graph, Input, Reverse, State


class Unknown(RuntimeError):
    """A value was asked for that is not known while a function is being recorded."""


class Nested(Trace):
    """The recording of a function, open while used as a context manager.

    sources: by slot of a parameter, the enclosing Value that it stands for, or None if there is none.
    batched: the slots of parameters that stand for one entry of their source along an axis.
    refusal: what to say when the function wants to know a value that depends on a parameter without a known value.
    random: None, or a function that is called when a random operation is about to be recorded.
    varies: random operations differ along the batch.   own: concrete values that were made inside.
    """

    __slots__ = ("outer", "sources", "batched", "refusal", "random", "varies", "closed", "own")

    nested = True

    def __init__(self, refusal: str) -> None:
        self.outer: Trace = local.trace
        super().__init__(self.outer.mode)
        self.sources: dict[int, Value | None] = {}
        self.batched: set[int] = set()
        self.refusal = refusal
        self.random: Any = None
        self.varies = False
        self.closed = False
        self.own: set[Value] = set()

    # ---- being open -------------------------------------------------------------------------------------------

    def __enter__(self) -> Nested:
        self.outer = local.trace
        local.trace = self
        return self

    def __exit__(self, kind: Any, *exc: object) -> None:
        local.trace = self.outer
        self.closed = True
        if kind is not None:
            self.undo()

    def clear(self, leaf: Any) -> None:
        """The gradient of a leaf will be set to None: for recordings that are used again to take note of."""

    def replaced(self, leaf: Any) -> None:
        """The gradient of a leaf will be replaced by another tensor."""

    def asked(self, leaf: Any) -> None:
        """It matters whether a leaf has a gradient."""

    def numbered(self, at: int, source: Any) -> None:
        """The floats from position ``at`` on belong to ``source``, an optimizer and its group, or to nobody known."""

    def undo(self) -> None:
        """Give what existed before, and was written to, its old value."""
        for owner, slot in reversed(self.journal):
            owner._restore_value(self.values[slot])

    def release(self) -> None:
        """Let go of all values.  They refer to the recording: its inputs would live, and not be donated, until Python's
        garbage collector comes by."""
        self.values, self.slots, self.journal = [None], {}, []
        self.sources.clear()
        self.own.clear()

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """Go on recording in the enclosing trace for a moment."""
        inner = local.trace
        local.trace = self.outer
        try:
            yield
        finally:
            self.outer = local.trace
            local.trace = inner

    def parameter(self, meta: Meta, source: Value | None = None, batched: bool = False) -> Value:
        """A stand-in for an argument."""
        v = Value()
        v.trace, v.slot, v.meta, v.data, v.node = None, 0, meta, None, None
        slot = self.enter(v)
        del self.slots[v]
        v.trace, v.slot = self, slot
        self.sources[slot] = source
        if batched:
            self.batched.add(slot)
        return v

    def encloses(self, trace: Trace) -> bool:
        """Whether ``trace`` is one of the enclosing ones."""
        at: Any = self
        while at.nested:
            at = at.outer
            if at is trace:
                return True
        return False

    def add_input(self, value: Value) -> int:
        trace = value.trace
        if value.data is None and (trace is None or not self.encloses(trace)):
            from .trace import peek

            peek(value)  # of another thread, or of a closed recording, which says so
        return self.enter(value)

    def draw(self) -> None:
        """A random operation is about to be recorded: let this recording and those that enclose it object."""
        at: Any = self
        while at.nested:
            if at.random is not None:
                at.random()
            at = at.outer

    # ---- looking at values ------------------------------------------------------------------------------------

    def read(self, value: Value) -> Any:
        """The array of a value that depends on known ones only; RuntimeError otherwise."""
        if self.closed:
            raise RuntimeError(
                "a tensor was used outside of the function transformation (vmap, cond, scan …) in which it was made; "
                "return it from the transformed function instead"
            )
        if value.data is not None:
            return value.data
        if value.trace is not self:
            with self.outside():
                return read(value)
        import jax

        graph = self.state.graph()
        if value.slot in batched_slots(graph, frozenset(self.batched), self.varies):
            raise Unknown(self.refusal)
        schedule = Schedule(graph, (value.slot,), checks=False)
        env = {s: self._known(s) for s in schedule.inputs}
        how = Inline() if self.state.place is TRACED else OpByOp()
        with jax.enable_x64(True):
            env = {s: how.place(a, graph.metas[s]) for s, a in env.items()}
            flags = evaluate(schedule, env, Numbers(*how.vectors(self)), how, drop=True)
            how.report(flags)
        return env[value.slot]

    def _known(self, slot: int) -> Any:
        value = self.sources.get(slot, self.values[slot])
        if value is None:
            raise Unknown(self.refusal)
        with self.outside():
            return read(value)

    # ---- the end ----------------------------------------------------------------------------------------------

    def finish(self, outs: Sequence[Value]) -> tuple[Body, list[Value], list[Any]]:
        """The recording as a function: (body, the captured values it takes, the numbers it takes)."""
        slots = tuple([self.slot_of(v) for v in outs])
        self.state.touch()
        body = body_of(self.state, tuple(self.sources), slots, self.varies)
        numbers = [*self.ints, *self.floats, *self.complexes]
        return body, [self.values[s] for s in body.captured], numbers

    def once_more(self, outs: Sequence[Value]) -> tuple[Value, ...]:
        """Record the same calls in the enclosing trace, which is the current one; what became of ``outs``."""
        known: dict[int, Value] = {}
        before = get_mode()
        try:
            for e in self.state.graph().entries:
                if type(e) is Input:
                    known[e.first] = self.values[e.first]
                elif type(e) is Call:
                    set_mode(e.mode)
                    got = self._call_again(e, known)
                    for s, v in zip(e.out_slots, got, strict=True):
                        known[s] = v
                        if v.meta.grad == LEAF:
                            v.node = self.values[s].node
                elif type(e) is Reverse:
                    known.update(zip(e.out_slots, self._reverse_again(e, known), strict=True))
        finally:
            set_mode(before)
        return tuple([known[self.slot_of(v)] for v in outs])

    def _call_again(self, call: Call, known: dict[int, Value]) -> tuple[Value, ...]:
        trace, ins = local.trace, []
        for i in call.ins:
            if type(i) is int:
                v = known[i]
                ins.append(v.slot if v.trace is trace else trace.slots.get(v) or trace.add_input(v))
            else:
                ins.append(trace.number(i.type, self.number_of(i)) if type(i) is Wide else i)
        key = key_of(call.op, call.static, ins)
        if call.op.differentiable:  # of which argument, and of what kind, its run-time numbers are
            seeds = seeds_of(call)
            key += tuple([(k, i.type) for k, i in enumerate(ins) if type(i) is Wide and k not in seeds])
        state = trace.state.next.get(key)
        if state is None:
            trace, state = trace.miss(key, call.op, call.static, tuple(ins))
        got = trace.push(state)
        return got if type(got) is tuple else (got,)

    def _reverse_again(self, pass_: Reverse, known: dict[int, Value]) -> list[Any]:
        from .grad import backward

        seeds = [None if s is None else known[s] for s in pass_.seeds]
        _, grads = backward([known[r] for r in pass_.roots], seeds, [known[s] for s, _ in pass_.outs],
                            retain_graph=not pass_.freed)  # fmt: skip
        return grads

    def differentiable(self, value: Value) -> bool:
        """Whether a reverse pass can begin at a value made in this recording: its graph leads somewhere, and has not
        been given up by another pass."""
        from .grad import plan_reverse

        graph = self.state.graph()
        if value.meta.grad != INTERIOR:
            return False
        try:
            _, outs = plan_reverse(graph, graph.freed, (value.slot,), None, 0, ())
        except RuntimeError:  # freed
            return False
        return bool(outs)

    def batched_outs(self, outs: Sequence[Value]) -> list[bool]:
        """Which of these values differ along the batch."""
        slots = [self.slot_of(v) for v in outs]
        known = batched_slots(self.state.graph(), frozenset(self.batched), self.varies)
        return [s in known for s in slots]


@contextlib.contextmanager
def home_of(value: Value) -> Iterator[None]:
    """Go on recording where a value belongs: what is derived from it for later must not be part of a nested trace."""
    trace = local.trace
    if not trace.nested or value.trace is trace or value in trace.own:
        yield
        return
    with trace.outside(), home_of(value):
        yield


def batched_slots(graph: Graph, sources: frozenset[int], varies: bool) -> frozenset[int]:
    """The slots that depend on ``sources``, and on random operations if these vary."""
    key = ("batched", sources, varies)
    found = graph.cache.get(key)
    if found is None:
        seen = set(sources)
        for e in graph.entries:
            if type(e) is Call:
                if not seen.isdisjoint(e.slots) or (varies and seeds_of(e)):
                    seen.update(e.out_slots)
            elif type(e) is Reverse:
                used = {*e.slots, *(s for call in e.plan for s in call.slots)}
                if not seen.isdisjoint(used):
                    seen.update(e.out_slots)
        found = graph.cache[key] = frozenset(seen)
    return found


class Seeds:
    """``Op.info`` of operations made of others that hold random ones: which of their numbers are seeds."""

    __slots__ = ("random", "seeds", "count")

    def __init__(self, seeds: tuple[int, ...], count: int) -> None:
        self.random, self.seeds, self.count = bool(seeds), seeds, count


def seeds_of(call: Call) -> tuple[int, ...]:
    """Positions among ``call.ins`` of the seeds of its random numbers."""
    info = call.op.info
    if not getattr(info, "random", False):
        return ()
    n = len(call.ins)
    if type(info) is Seeds:
        return tuple(n - info.count + k for k in info.seeds)
    return (n - 2,)


class Staged(Inline):
    """Evaluates a recording inside an operation: with gradients stopped where it says so, and seeds by batch entry."""

    def __init__(self, index: Any = None) -> None:
        self.index = index

    def _ready(self, call: Call, arrays: tuple) -> tuple:
        if call.cut:
            arrays = tuple([call.stopped(a) for a in arrays])
        seeds = seeds_of(call) if self.index is not None else ()
        if seeds:
            import jax.numpy as jnp

            out, k = list(arrays), 0
            for position, i in enumerate(call.ins):
                if type(i) is int or type(i) is Wide:
                    if position in seeds:
                        # a bijection of the seed for each entry; the mixing is done by whoever uses it
                        out[k] = jnp.asarray(out[k], jnp.int64) + (self.index + 1) * 0x2545F4914F6CDD1D
                    k += 1
            arrays = tuple(out)
        return arrays

    def same(self, call: Call, array: Any) -> Any:
        return call.stopped(array)

    def forward(self, call: Call, arrays: tuple) -> tuple[tuple, tuple]:
        return super().forward(call, self._ready(call, arrays))

    def forward_taped(self, call: Call, arrays: tuple) -> tuple[tuple, tuple, Any]:
        return super().forward_taped(call, self._ready(call, arrays))


class Body:
    """A finished recording as a pure function on arrays.

    params, captured: slots of the parameters, and of the enclosing values that it uses.  outs: of the results.
    seeds: positions among its numbers of the seeds of random operations.   derives: derivatives are taken in it.
    recorded: its steps before loops were rolled up.
    """

    __slots__ = ("graph", "params", "captured", "outs", "counts", "schedule", "seeds", "ops", "checks", "derives",
                 "recorded", "__weakref__")  # fmt: skip

    def __init__(self, state: State, params: tuple[int, ...], outs: tuple[int, ...], varies: bool) -> None:
        graph = self.graph = state.graph()
        self.params, self.outs, self.counts = params, outs, state.counts
        self.schedule = Schedule(graph, outs)
        own = set(params)
        self.captured = tuple(s for s in self.schedule.inputs if s not in own)
        calls = [e for e in self.schedule.steps if type(e) is Call]
        self.derives = len(calls) < len(self.schedule.steps) or any(
            e.op.name.endswith((" backward", " forward")) for e in calls
        )
        wide = [e.ins[k] for e in calls for k in seeds_of(e)]
        self.seeds = tuple(sorted({w.index for w in wide if type(w) is Wide}))
        self.recorded = self.schedule.steps
        self.schedule.steps = roll(self.recorded, outs, self.schedule.taped)
        self.ops: dict[Any, Op] = {}
        self.checks: list = []

    @property
    def info(self) -> Seeds:
        """For the operation made of it, whose last arguments are the numbers."""
        return Seeds(self.seeds, sum(self.counts))

    def metas(self) -> tuple[Meta, ...]:
        """Of the results."""
        return tuple([self.graph.metas[s] for s in self.outs])

    def __call__(self, params: Sequence[Any], captured: Sequence[Any], numbers: Sequence[Any],
                 index: Any = None) -> tuple[tuple, list]:  # fmt: skip
        """(results, flags of the data checks); what the checks raise is in :attr:`checks` afterwards."""
        env = dict(zip(self.params, params, strict=True))
        env.update(zip(self.captured, captured, strict=True))
        a, b, _ = self.counts
        plain = [n.array if type(n) is Lifted else n for n in numbers]
        vectors = Numbers(plain[:a], plain[a : a + b], plain[a + b :])
        flags = evaluate(self.schedule, env, vectors, Staged(index), drop=False)
        self.checks = [error for found, call in flags for error in call.checks]
        return tuple([env[s] for s in self.outs]), [ok for found, _ in flags for ok in found]

    def report(self, flags: Sequence[Any]) -> None:
        """Pass the data checks on to the operation that is being evaluated."""
        import jax.numpy as jnp

        for ok, error in zip(flags, self.checks, strict=True):
            check(jnp.all(ok), error.exception, error.message)


class Spliced:
    """A recording as part of the program that its operation is in: its calls are evaluated one by one, as if they had
    been recorded there, so that layouts, formulations and gradients are those of any program.

    order: which of ``body.captured`` each of the operation's arrays is; its numbers follow.
    """

    __slots__ = ("body", "order", "_taped")

    def __init__(self, body: Body, order: Sequence[int]) -> None:
        self.body, self.order = body, tuple(order)
        self._taped: _Taped | None = None

    def _begin(self, arrays: tuple) -> tuple[dict[int, Any], Numbers]:
        body, n = self.body, len(self.order)
        a, b, _ = body.counts
        rest = arrays[n:]
        return ({body.captured[k]: x for k, x in zip(self.order, arrays, strict=False)},
                Numbers(rest[:a], rest[a : a + b], rest[a + b :]))  # fmt: skip

    def forward(self, arrays: tuple, how: Inline, replaced: Mapping[int, Any] | None = None,
                outer: Sequence = ()) -> tuple[tuple, tuple]:  # fmt: skip
        """(results, data checks), as of any call.

        replaced: by number of the result, arrays to give back should a check fail, one of ``outer`` too, see ``kept``.
        """
        env, numbers = self._begin(arrays)
        before = {self.body.outs[k]: array for k, array in (replaced or {}).items()}
        kept = Kept(self.body.recorded, before, outer)
        flags = evaluate(self.body.schedule, env, numbers, how, drop=False, kept=kept)
        kept.finish(how, env, before, flags)
        return tuple([env[s] for s in self.body.outs]), _all(flags)

    def forward_taped(self, arrays: tuple, how: Inline) -> tuple[tuple, tuple, dict]:
        """The same, and the tapes of the calls."""
        if self._taped is None:
            self._taped = _Taped(self.body)
        env, numbers = self._begin(arrays)
        tapes: dict[Any, Any] = {}
        flags = evaluate(self._taped, env, numbers, how, drop=False, tapes=tapes)  # type: ignore[arg-type]
        return tuple([env[s] for s in self.body.outs]), _all(flags), tapes

    def pull(self, tapes: dict, wrt: tuple[int, ...], cotangents: tuple, how: Inline) -> tuple:
        """Gradients by the arrays ``wrt``."""
        import jax.numpy as jnp

        body, taped = self.body, self._taped
        assert taped is not None
        slots = [body.captured[self.order[k]] for k in wrt]
        found: dict[int, Any] = {}
        for s, c in zip(body.outs, cotangents, strict=True):
            if c is not None:
                found[s] = how.add(found[s], c) if s in found else c
        walk(taped.plan, found, frozenset(slots), pull_of(tapes, how, lambda call: False), how.add)
        metas = body.graph.metas
        return tuple([found[s] if s in found else jnp.zeros(metas[s].shape, metas[s].dtype) for s in slots])


class _Taped:
    """What ``evaluate`` needs of a recording whose results are to have gradients; plan: the way back."""

    __slots__ = ("steps", "taped", "plan")

    def __init__(self, body: Body) -> None:
        plan, _ = saved_slots(body.graph, body.outs)
        self.taped = set(plan)
        self.steps = roll(body.recorded, body.outs, self.taped)
        self.plan = plan_of(plan, loops_of(self.steps))


def _all(flags: list) -> tuple:
    """The data checks of calls as those of one."""
    import jax.numpy as jnp

    return tuple([jnp.all(ok) for found, _ in flags for ok in found])


def body_of(state: State, params: tuple[int, ...], outs: tuple[int, ...], varies: bool) -> Body:
    """The :class:`Body` of a recording that ends at ``state``; the same object for the same recording."""
    cache = state.graph().cache
    key = ("body", params, outs, varies)
    found = cache.get(key)
    if found is None:
        found = cache[key] = Body(state, params, outs, varies)
    return found


__all__ = ["Body", "Input", "Nested", "Seeds", "Spliced", "Staged", "Unknown", "batched_slots", "seeds_of"]
