"""Execution of a finished trace: which program, what it takes and gives, and what happens when it fails."""

from __future__ import annotations

import functools
import gc
import itertools
import operator
import sys
import threading
import time
from collections import Counter, OrderedDict
from typing import Any

import numpy as np

from . import evaluators, mappings, policy, regions, segment
from .config import config
from .debug import AT_ONCE
from .errors import late, translated
from .evaluators import AtFirst, Inline, OpByOp, TooDear, run_into
from .memory import Uncollected, aligned
from .meta import INTERIOR, SHAPE_ONLY, TRACED, Value, is_spread
from .rolled import Row
from .schedule import Numbers, Schedule, evaluate
from .segment import Freed, Segment, is_freed, saved_slots
from .stats import stats
from .trace import Places, Trace, forget, forget_all, local
from .trie import Input, State

_lock = threading.RLock()


def _baseline() -> tuple[int, int, int]:
    """Reference counts, as `map` sees them: of a handle that only a trace's list holds, of one that is its input, and
    of an array that only its handle and a list hold."""
    v = [Value()]
    alone = _counts(v)[0]
    d = {v[0]: 1}
    v[0].data = object()
    return alone, _counts(v)[0] if d else 0, _counts([v[0].data])[0]


def _counts(values: list, first: int = 0) -> tuple[int, ...]:
    return tuple(map(sys.getrefcount, itertools.islice(values, first, None)))


_ALONE, _INPUT_ALONE, _GIVEN = _baseline()


class Ending:
    """What a trace is executed for: slots that somebody refers to, inputs that nobody does; program: once it is known.

    Found by the reference counts alone when a trace comes again, since a step has hundreds of values.
    """

    __slots__ = ("live", "dead", "program")

    def __init__(self, live: tuple[int, ...], dead: tuple[int, ...]) -> None:
        self.live, self.dead, self.program = live, dead, None

    @staticmethod
    def of(trace: Trace) -> Ending:
        state = trace.state
        counts = _counts(trace.values, 1)
        known = state.endings
        found = known.get(counts) if known is not None else None
        if found is None:
            inputs = trace.slots.values()
            dead = tuple([s for s in inputs if counts[s - 1] == _INPUT_ALONE])
            entered = set(inputs)
            found = Ending(tuple([s for s, c in enumerate(counts, 1) if c > _ALONE and s not in entered]), dead)
            if state.stamp:  # it was executed before
                if known is None or len(known) >= 16:
                    known = state.endings = {}
                known[counts] = found
        return found


def run(trace: Trace, reason: str) -> None:
    """Execute a trace.  On failure everything that existed before it is put back and the error is raised."""
    if evaluators.made - _looked >= mappings.EVERY:
        _make_room()
    ending = Ending.of(trace)
    try:
        _run(trace, trace.state, ending, reason)
    except BaseException as error:
        if len(trace.values) == 1:  # it was interrupted when all results had been given out
            raise
        _restore(trace, error)
        shown = translated(error)
        if shown is not error:
            raise shown from error
        raise
    finally:
        trace.journal.clear()
        trace.watched.clear()
    if local.checks:
        early_checks()


#: Compilations when it was last looked whether there is room for more.
_looked = 0


def _make_room() -> None:
    """Give up all compiled code if the system would soon refuse more; what is needed comes from the disk again."""
    global _looked
    _looked = evaluators.made
    if mappings.full():
        forget_compiled()
        gc.collect()


def forget_compiled() -> None:
    """Begin anew: nothing that was compiled, and nothing that was recorded, is known any more."""
    from . import fused, padded

    with _lock:
        evaluators._forward.clear()
        fused._pieces.clear()
        padded.forget()
        segment._ops.clear()
        segment._kinds.clear()
        _built.clear()
        forget_all()


def _restore(trace: Trace, error: BaseException) -> None:
    """Put back what existed before; what the trace would have made can still be computed apart, see ``trace.read``."""
    trace.failed = error
    _undo(trace)


def _undo(trace: Trace) -> None:
    for owner, slot in reversed(trace.journal):
        old = trace.values[slot]
        if old.data is not None and not getattr(old.data, "is_deleted", bool)():
            owner._restore_value(old)


def _run(trace: Trace, state: State, ending: Ending, reason: str) -> None:
    import jax

    values, live = trace.values, ending.live
    state.touch()
    place = state.place
    if place is TRACED or config.tier == "inline":
        with jax.enable_x64(True):
            outs = _apart(state, trace, live, Inline())
        _assign(trace, state, live, outs)
        return
    results: list = []
    try:
        with jax.enable_x64(True):
            program = None if local.evaluator is not None else _find(state, ending, trace, reason)
            if program is _FIRST:
                if _evaluated(trace, state, live, AtFirst(policy.budget(state))):
                    return
                policy.too_dear(state)
                program = _find(state, ending, trace, reason)
            if program is None:
                _evaluated(trace, state, live, None)
                return
            stats.fused_runs += 1
            _call_all(program, trace, values, results)
        _assign_program(trace, state, program, results)
        if program.sized is not None and program.sized.form.endless:
            state.stamp = 0
            forget(state)
    except KeyboardInterrupt:
        if results and len(trace.values) > 1:  # nothing else holds the new weights, and the old ones are gone
            with jax.enable_x64(True):
                _call_all(program, trace, values, results)
            _assign_program(trace, state, program, results)
        raise
    for part, outs in zip(program.parts, results, strict=True):
        if part.checks:
            local.checks.append((outs[-1], part.checks))


def _evaluated(trace: Trace, state: State, live: tuple[int, ...], how: AtFirst | None) -> bool:
    """Execute a trace operation by operation, and take note of it; False if ``how`` would take too long."""
    begin = time.thread_time()  # no waiting: others on the machine are not to be counted
    if not _run_op_by_op(trace, state, live, how):
        return False
    seconds = time.thread_time() - begin
    if state.sized is not None:
        from . import padded

        padded.ran(state, live, seconds)
    if policy.ran(state, seconds):
        state.stamp = 0
        forget(state)
    return True


def _call_all(program: Any, trace: Trace, values: list, results: list) -> None:
    """Call those parts whose results are not there yet."""
    for part in program.parts[len(results) :]:
        before = _earlier(program.parts, results, values) if part.takes else _NOTHING
        _call(part, trace, values, before, results)


_NOTHING: dict[int, Any] = {}


def _earlier(parts: list, results: list, values: list) -> dict[int, Any]:
    """What the parts that ran already have made."""
    made: dict[int, Any] = {}
    for part, outs in zip(parts, results, strict=False):
        made.update(zip(part.outs, outs, strict=False))
        made.update((s, made[source] if source in made else _input(values[source])) for s, source in part.copies)
    return made


def _call(part: Any, trace: Trace, values: list, before: dict[int, Any], results: list) -> None:
    kept = [values[s].data for s in part.kept]
    if np.ndarray in map(type, kept):
        kept = [_input(values[s]) if values[s].data is not None else None for s in part.kept]
    if before:
        kept = [before.get(s, a) for s, a in zip(part.kept, kept, strict=True)]
    given = [before[s] if s in before else values[s].data for s in part.given]
    counts = _counts(given)
    if counts and max(counts) > _GIVEN:
        given = _own(given, counts)
    if part.several:  # numbers may lie on one device
        kept, given = _off_single_devices(kept), _off_single_devices(given)
    args = (kept, given, *vectors(part, trace.ints, trace.floats, trace.complexes))
    if part.sized is not None:
        args = part.sized.enter(kept, given, args[2:])
    run_into(results, part.run, args)


def _own(given: list, counts: tuple[int, ...]) -> list:
    """The arrays to donate, with copies of those that somebody else holds, and of those that are given twice."""
    held = [k for k, n in enumerate(counts) if n > _GIVEN]
    times = Counter([id(given[k]) for k in held])
    met = set()
    for k in held:
        a = given[k]
        alone = counts[k] == _GIVEN + 2 * (times[id(a)] - 1)  # each time by a handle and by the list
        if not alone or id(a) in met:
            a = given[k] = _copier()(a)
        met.add(id(a))
    return given


@functools.cache
def _copier() -> Any:
    import jax
    import jax.numpy as jnp

    return jax.jit(jnp.copy)  # as quick a call as JAX has; `jnp.array(a, copy=True)` takes ten times as long


def _off_single_devices(arrays: list) -> list:
    return [a if is_spread(getattr(a, "sharding", None)) else np.asarray(a) for a in arrays]


def vectors(part: Any, ints: list[int], floats: list[float], complexes: list[complex]) -> tuple:
    """The numbers that a part takes, of all that there are."""
    return (
        np.array([ints[i] for i in part.ints], np.int64) if part.ints else _NO_INTS,
        np.array([floats[i] for i in part.floats], np.float64) if part.floats else _NO_FLOATS,
        np.array([complexes[i] for i in part.complexes], np.complex128) if part.complexes else _NO_COMPLEXES,
    )


_NO_INTS, _NO_FLOATS, _NO_COMPLEXES = np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.complex128)


#: Bytes of a host array that is passed as it is a few times before it gets a device copy.
_SMALL = 4096


def _input(value: Value) -> Any:
    """What to hand to an executable for a concrete value; host values that are used again get a device copy."""
    data = value.data
    if type(data) is not np.ndarray:
        return data
    if value.trace is not None:  # pending in another thread, which goes by its slot
        return data
    # the slot counts the uses: to copy a small array costs more than to pass it
    if value.slot < (1 if data.nbytes > _SMALL else 4):
        if not value.slot:  # part of a mapped file, perhaps
            data = value.data = aligned(data)
        value.slot += 1
        return data
    try:
        return value.copy
    except AttributeError:
        import jax

        with jax.enable_x64(True):
            value.copy = jax.device_put(data, value.meta.place)
        return value.copy


#: In place of a program: the trace is evaluated by NumPy this time.
_FIRST = object()


def _find(state: State, ending: Ending, trace: Trace, reason: str) -> Any:
    """The program for these live slots and dead inputs: known, a superset, or new; None to go op by op."""
    if config.tier in ("ops", "interpret") or reason is AT_ONCE:
        return None
    program = ending.program
    if program is None or (program.sized is not None and program.sized.stale):
        program = _found(state, ending, trace, reason)
        ending.program = program if program is not _FIRST else None
        return program
    program.uses += 1
    if program.uses == 1:
        policy.used_again(program)
    return program


def _found(state: State, ending: Ending, trace: Trace, reason: str) -> Any:
    live, dead = key = (ending.live, ending.dead)
    programs = state.programs
    if programs is None:
        programs = state.programs = {}
    program, alone = programs.get(key), False
    if program is not None and program.sized is not None and program.sized.stale:
        alone = program.sized.alone
        del programs[key]
        program = None
    if program is not None:
        program.uses += 1
        if program.uses == 1:
            policy.used_again(program)
        return program
    may_give = set(dead)
    wanted = set(live)
    for p in dict.fromkeys(programs.values()):
        if p.sized is None and wanted.issubset(p.live) and may_give.issuperset(p.given):
            programs[key] = p
            p.uses += 1
            return p
    if type(state.place) is Places:
        return None
    if not alone:
        tier, program = _with_room(state, ending, trace, reason)
        if program is not None:
            programs[key] = program
            return program
        if tier != "fused":
            return None if tier == "ops" else _FIRST
    return _new(state, ending, reason)


def _new(state: State, ending: Ending, reason: str) -> Any:
    """A program that is compiled for these live slots and dead inputs, and those of others of the state."""
    from . import fused

    live, dead = key = (ending.live, ending.dead)
    programs = state.programs
    if programs is None:
        programs = state.programs = {}
    wanted = set(live)

    with _lock, Uncollected():
        why = reason if not programs else "other values are still in use than the last time"
        for p in dict.fromkeys(programs.values()):
            wanted.update(p.live)
        before, begin = stats.compiles, time.perf_counter()
        program = fused.build(state, tuple(sorted(wanted)), tuple(sorted(dead)), why)
        programs[key] = program
        _remember(state, key, program)
        if stats.compiles > before:
            policy.compiled(state, program)
            policy.paid(state, time.perf_counter() - begin)
        else:
            policy.used_again(program)
    return program


def _with_room(state: State, ending: Ending, trace: Trace, reason: str) -> tuple[str, Any]:
    """The program that serves traces of these operations for many sizes, or None; and the tier if it is None."""
    from . import padded

    with _lock:
        program, group = padded.program_for(state, ending.live, ending.dead)
        if program is not None:
            return "fused", program
        policy.sized_by_data(state, trace.slots)
        tier = policy.choose(state)
        if group is not None and (tier == "fused" or policy.costly(state, group.spent)):
            begin = time.perf_counter()
            with Uncollected():
                program = padded.unite(group, trace, reason)
            policy.paid(state, time.perf_counter() - begin)
        return tier, program


#: Programs in the order in which they were built; the state they belong to and their key there.
_built: OrderedDict[int, tuple] = OrderedDict()


def _remember(state: State, key: tuple, program: Any) -> None:
    """Bound the number of programs: the oldest goes, unless it was used since it was last looked at."""
    _built[id(program)] = (state, key, program)
    looks = len(_built)
    while len(_built) > config.max_programs and looks:
        looks -= 1
        name, (owner, where, old) = _built.popitem(last=False)
        if old.uses > old.seen:
            old.seen = old.uses
            _built[name] = (owner, where, old)
        elif owner.programs is not None:
            owner.programs = {k: p for k, p in owner.programs.items() if p is not old} or None
            owner.endings = None


def _assign_program(trace: Trace, state: State, program: Any, results: list) -> None:
    values = trace.values
    arrays: dict[int, Any] | None = {} if program.tracked else None
    for part, outs in zip(program.parts, results, strict=True):
        if part.sized is not None:
            outs = part.sized.leave(outs)
        if arrays is not None:
            arrays.update(zip(part.outs, outs, strict=False))
        for s, a in zip(part.outs, outs, strict=False):
            v = values[s]
            v.data = a
            v.trace = None
            v.slot = 0
        for s, source in part.copies:
            v = values[s]
            v.data = values[source].data
            v.trace = None
            v.slot = 0
            if arrays is not None:
                arrays[s] = v.data
        if part.rows:
            _assign_rows(values, program.live, part.rows, outs[len(part.outs) :], arrays)
    if arrays is not None:
        _link(trace, state, program.tracked, arrays)
    trace.values = [None]
    trace.slots = {}


def _assign_rows(values: list, live: frozenset, rows: tuple, wholes: list, arrays: dict[int, Any] | None) -> None:
    """Take apart what loops have made: now what somebody refers to, later what reverse passes need."""
    import jax

    large: list = []
    for whole, (form, members) in zip(wholes, rows, strict=False):
        for s, r in members:
            v = values[s]
            row = Row(whole, form, r, v.meta.shape)
            if s in live:
                a = row.array()
                v.data, v.trace, v.slot = a.copy(), None, 0
                if a.nbytes > _SMALL:
                    large.append(v)
            elif arrays is not None:
                arrays[s] = row
    for v, a in zip(large, jax.device_put([v.data for v in large], [v.meta.place for v in large]), strict=True):
        v.data = a
    if arrays is not None:
        arrays.update((s, values[s].data) for _, members in rows for s, _ in members if s in live)


def _link(trace: Trace, state: State, tracked: tuple, arrays: dict[int, Any]) -> None:
    """Give live differentiable results their way back."""
    alive, freed, plan, saved = tracked
    values = trace.values
    for s, node in freed:
        values[s].node = node
    if not alive:
        return
    graph = state.graph()
    metas = graph.metas
    mine = {
        i: arrays[i] if metas[i].place != SHAPE_ONLY else ShapeOnly(metas[i])
        for i in saved
        if type(graph.producer[i]) is not Input
    }
    numbers = Numbers(trace.ints, trace.floats, trace.complexes)
    segment = Segment(graph, plan, mine, values, numbers, trace.watched)
    for s in alive:
        values[s].node = (segment, s)


def tracked_of(state: State, live: tuple[int, ...]) -> tuple | None:
    """What later reverse passes need of live differentiable results; None when there are none.

    (results with a way back, results whose way back was given up with their nodes, calls on the way, slots to save)
    """
    graph = state.graph()
    slots = tuple(s for s in live if graph.metas[s].grad == INTERIOR)
    if not slots:
        return None
    freed = {s for s in slots if is_freed(graph, s)} if graph.freed else ()
    alive = tuple(s for s in slots if s not in freed)
    plan, saved = saved_slots(graph, alive)
    return alive, tuple((s, Freed(graph.producer[s])) for s in slots if s in freed), plan, saved


def _assign(trace: Trace, state: State, live: tuple[int, ...], env: dict[int, Any]) -> None:
    """Store results of an evaluation outside a program."""
    values = trace.values
    for s in live:
        v = values[s]
        v.trace = None
        v.slot = 0
        v.data = env[s] if v.meta.place != SHAPE_ONLY else ShapeOnly(v.meta)
    tracked = tracked_of(state, live)
    if tracked is not None:
        _link(trace, state, tracked, env)
    trace.values = [None]
    trace.slots = {}


class ShapeOnly:
    """Stands for the data of a value that has none (device 'meta')."""

    __slots__ = ("shape", "dtype")

    def __init__(self, meta: Any) -> None:
        self.shape, self.dtype = meta.shape, meta.dtype


def wanted_of(state: State, live: tuple[int, ...]) -> tuple[int, ...]:
    tracked = tracked_of(state, live)
    graph = state.graph()
    extra = () if tracked is None else tuple(s for s in tracked[3] if type(graph.producer[s]) is not Input)
    return tuple(s for s in dict.fromkeys((*live, *extra)) if graph.metas[s].place != SHAPE_ONLY)


def _apart(state: State, trace: Trace, live: tuple[int, ...], how: Any) -> dict[int, Any]:
    schedule = Schedule(state.graph(), wanted_of(state, live))
    values = trace.values
    env = {s: _input(values[s]) for s in schedule.inputs}
    numbers = Numbers(*how.vectors(trace))
    flags = evaluate(schedule, env, numbers, how, drop=False)
    how.report(flags)
    return env


def _run_op_by_op(trace: Trace, state: State, live: tuple[int, ...], how: AtFirst | None) -> bool:
    """Whether that was possible: ``how`` may find out that it would take too long."""
    stats.op_runs += 1
    history = state.history
    if how is not None:
        history = (live, Schedule(state.graph(), wanted_of(state, live)), None)
    elif history is None or history[0] != live:
        schedule = Schedule(state.graph(), wanted_of(state, live))
        divided = len(schedule.steps) >= 16 and config.tier != "interpret"
        pieces = regions.divide(schedule, state.graph()) if divided else None
        history = state.history = (live, schedule, pieces)
    _, schedule, pieces = history
    values = trace.values
    if how is not None:
        env = {s: _input(values[s]) for s in schedule.inputs}
    elif local.evaluator is None:
        how = OpByOp() if not is_spread(state.place) else Inline()
        pieces = None if is_spread(state.place) else pieces
        env = {s: how.place(_input(values[s]), values[s].meta) for s in schedule.inputs}
    else:
        how, pieces = local.evaluator(), None
        env = {s: how.place(values[s].data, values[s].meta) for s in schedule.inputs}
    numbers = Numbers(trace.ints, trace.floats, trace.complexes)
    if pieces is None:
        try:
            flags = evaluate(schedule, env, numbers, how, drop=True)
        except TooDear:
            return False
    else:
        flags = regions.evaluate(pieces, schedule, env, numbers, how)
    failures = [(how.stack(f), [(c, call.location, call.op.name) for c in call.checks]) for f, call in flags]
    if any(bad.any() for bad, _ in failures):
        _undo(trace)  # a failed check must not change what existed before the program
        trace.journal.clear()
    local.checks.extend(failures)
    if local.evaluator is None:
        _to_device(env, schedule.wanted, state.graph())
    _assign(trace, state, live, env)
    return True


def _to_device(env: dict[int, Any], slots: tuple[int, ...], graph: Any) -> None:
    """Results that NumPy computed become arrays of JAX's, as all others; those of several devices are put there.

    Small ones stay where they are, as memory of their own: to hand one over costs as much as several kernels do.
    """
    host = []
    for s in slots:
        a = env.get(s)
        if type(graph.producer[s]) is Input:
            continue
        if is_spread(graph.metas[s].place):
            host.append(s)
        elif type(a) is np.ndarray:
            if a.nbytes > _SMALL:
                host.append(s)
            elif a.base is not None or not a.flags.writeable:
                env[s] = a.copy()
    if not host:
        return
    import jax

    for s, a in zip(host, jax.device_put([env[s] for s in host], [graph.metas[s].place for s in host]), strict=True):
        env[s] = a


def evaluate_apart(trace: Trace, value: Value) -> Any:
    """One pending value, evaluated operation by operation without touching the trace."""
    if value.meta.place == SHAPE_ONLY:
        return ShapeOnly(value.meta)
    import jax

    state = trace.state
    if value.slot >= state.n:  # recorded by another thread between two of our steps
        state = trace.state
    with jax.enable_x64(True):
        inline = state.place is TRACED or is_spread(state.place)
        return _apart_one(state, trace, value, Inline() if inline else (local.evaluator or OpByOp)())


def _apart_one(state: State, trace: Trace, value: Value, how: Any) -> Any:
    schedule = Schedule(state.graph(), (value.slot,), checks=False)
    values = trace.values
    take = _input if local.evaluator is None else operator.attrgetter("data")
    env = {s: how.place(take(values[s]), values[s].meta) for s in schedule.inputs}
    flags = evaluate(schedule, env, Numbers(*how.vectors(trace)), how, drop=True)
    how.report(flags)
    return env[value.slot]


# ---- data checks -----------------------------------------------------------------------------------------------


def raise_failed_checks() -> None:
    """Look at the flags of executed programs and raise the first failure."""
    pending, local.checks = local.checks, []
    for bad, sources in pending:
        _raise_if(np.asarray(bad), sources)


def early_checks() -> None:
    """Look at flags that have arrived meanwhile, so that they do not pile up; never waits.

    Only when all results have been given out: what an error is raised for is an earlier program, and the inputs of this
    one may be gone.
    """
    if len(local.checks) > 4:
        bad, _ = local.checks[0]
        if type(bad) is np.ndarray or bad.is_ready():  # flags of operations run one by one are on the host already
            bad, sources = local.checks.pop(0)
            _raise_if(np.asarray(bad), sources)


def _raise_if(bad: np.ndarray, sources: list) -> None:
    if bad.any():
        error, location, op = sources[int(np.argmax(bad))]
        raise late(error, op, location)
