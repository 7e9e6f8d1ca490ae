"""Building XLA programs out of a whole trace.

Parts of a trace that have nothing to do with each other become programs of their own, known by their structure: so the
program of a training step is the same whether or not something else, a running mean of the loss say, was recorded
around it, and wherever in the trie the trace ends.  So do parts that make something out of nothing which is kept:
random data made before the loop, or a mask that a model makes when it is called first, are inputs of later steps.
"""

from __future__ import annotations

import operator
import time
from collections import Counter, OrderedDict
from typing import Any

import numpy as np

from . import causes, contexts
from .config import config
from .errors import describe, user_location
from .evaluators import Whole, _sharding, compile_at
from .kept import Kept
from .meta import is_spread
from .op import Wide
from .rolled import ROUNDS, Loop, roll
from .schedule import Numbers, Schedule, evaluate
from .stats import Event, stats
from .stored import LARGE, Stored
from .trie import Call, Input, Reverse, State

#: A part with fewer steps than this, and without a reverse pass, is not worth a program of its own beside a bigger one.
SMALL = 12


class Piece:
    """A compiled part, in its own numbering of slots: order of inputs passed, given for good, and results.

    rows: of the arrays that come out after ``outs``: how rounds of a loop lie in them, and (slot, round).
    """

    __slots__ = ("run", "kept", "given", "outs", "copies", "rows", "checked")


class Part:
    """A piece in the slots of one trace.

    ints, floats, complexes: which of the trace's numbers it takes.  several: whether it runs on several devices.
    takes: whether an earlier part makes some of ``kept``.  sized: if it has room for more than this trace's sizes, how
    arrays get into it and out of it, see ``padded``.
    """

    __slots__ = ("run", "kept", "given", "outs", "copies", "rows", "checks", "ints", "floats", "complexes", "several",
                 "takes", "sized")  # fmt: skip


class Program:
    """The executable of a trace for a set of live slots.

    live: the slots that come out, at least;  given: inputs that are donated;  tracked: see ``execute.tracked_of``.
    sized: that of its only part.   shortcut: how it is called without recording, False if it is not, None before that
    was asked.
    """

    __slots__ = ("live", "parts", "given", "tracked", "uses", "seen", "family", "brief", "sized", "shortcut")


_pieces: OrderedDict[tuple, Piece] = OrderedDict()


def build(state: State, live: tuple[int, ...], may_give: tuple[int, ...], why: str) -> Program:
    """The program of the trace that ends at ``state``: arrays of the ``live`` slots out.

    ``may_give``: inputs that nobody needs afterwards; those that fit a result are donated.
    """
    from .execute import tracked_of, wanted_of

    graph = state.graph()
    wanted = wanted_of(state, live)
    tracked = tracked_of(state, live)
    schedule = Schedule(graph, wanted)
    held = set() if tracked is None else set(tracked[3])
    free = {s for s in may_give if s not in held and s not in wanted}
    program = Program()
    program.live, program.tracked, program.uses, program.seen = frozenset(live), tracked, 0, 0
    program.family = program.sized = program.shortcut = None
    program.brief = True
    groups, taken = _split(schedule, free)
    free |= taken.difference(wanted)
    needed = frozenset(taken.union(wanted))
    last = frozenset(wanted).difference(taken)
    program.parts = [_part(graph, schedule, steps, needed, free, state.place, why, last, live) for steps in groups]
    for part in program.parts:
        part.takes = not taken.isdisjoint((*part.kept, *part.given))
    _inputs_wanted(graph, wanted, program)
    program.given = frozenset(s for p in program.parts for s in p.given).difference(taken)
    return program


def _inputs_wanted(graph: Any, wanted: tuple[int, ...], program: Program) -> None:
    """Aliases of inputs that no part computes do not occur: an alias is a step."""
    made = {s for p in program.parts for s in (*p.outs, *(c for c, _ in p.copies))}
    made.update(s for p in program.parts for _, rows in p.rows for s, _ in rows)
    missing = [s for s in wanted if s not in made and type(graph.producer[s]) is not Input]
    if missing:
        raise AssertionError(f"no part of the program computes slots {missing}")


def _split(schedule: Schedule, free: set[int]) -> tuple[list[list], set[int]]:
    """The steps in independent groups, small ones together; and what is taken over from a group to a later one.

    That is what was made before the loop, which nothing in the loop can be needed for.
    """
    steps = schedule.steps
    early = _early(schedule)
    groups, taken = _connected(schedule, free, early)
    if early and any(0 < sum(e in early for e in g) < len(g) for g in groups):  # one memory for both
        early = set()
        groups, taken = _connected(schedule, free, early)
    big = [g for g in groups if len(g) >= SMALL or any(type(e) is Reverse for e in g)]
    if not big or len(groups) == 1:
        return ([list(steps)] if steps else []), set()
    chosen = {id(e) for g in big for e in g}
    rest = [e for e in steps if id(e) not in chosen]
    first = [g for g in big if g[0] in early]
    return [*first, *([rest] if rest else []), *(g for g in big if g[0] not in early)], taken


def _connected(schedule: Schedule, free: set[int], early: set) -> tuple[list[list], set[int]]:
    """The steps in groups tied to each other at most by what is ``early``; and what of that is taken later."""
    steps = schedule.steps
    root = list(range(len(steps)))

    def find(k: int) -> int:
        while root[k] != k:
            root[k] = root[root[k]]
            k = root[k]
        return k

    inputs = set(schedule.inputs)
    made = {s for e in early for s in e.out_slots}
    taken: set[int] = set()
    owner: dict[int, int] = {}
    for k, e in enumerate(steps):
        used = list(e.slots)
        if type(e) is not Call:
            used.extend(e.roots)
            for call in e.plan:
                used.extend(call.out_slots[:1])
        for s in used:
            if s in inputs and s not in free:
                continue  # an input that stays may be passed to several programs
            if s in made and e not in early:
                taken.add(s)
                continue
            if s in owner:
                root[find(k)] = find(owner[s])
            else:
                owner[s] = k
        for s in e.out_slots:
            owner[s] = k
    groups: dict[int, list] = {}
    for k, e in enumerate(steps):
        groups.setdefault(find(k), []).append(e)
    return list(groups.values()), taken


def _early(schedule: Schedule) -> set:
    """The steps of before the loop that runs now, and those by which a model makes out of nothing what it keeps.

    Later iterations have the results as inputs.
    """
    now = contexts.here()
    early: set = set()
    fresh: dict[int, Any] = {}
    known: dict[Any, bool] = {}
    for e in schedule.steps:
        if type(e) is not Call or e in schedule.taped or (c := e.context) is None:
            continue
        if c not in known:
            known[c] = contexts.before_loop(c, now)
        if known[c]:
            early.add(e)
        if all(s in fresh for s in e.slots):
            fresh.update((s, e) for s in e.out_slots)
    if not now.model:
        kept = [s for s in schedule.wanted if s in fresh and fresh[s].context.model]
        while kept:
            e = fresh[kept.pop()]
            if e not in early:
                early.add(e)
                kept.extend(e.slots)
    return early


class _Steps:
    """What ``evaluate`` needs of a schedule, for one part; and its steps before loops were rolled up."""

    def __init__(self, steps: Any, taped: set, recorded: list) -> None:
        self.steps, self.taped, self.recorded = steps, taped, recorded


class Laid:
    """A part before it is compiled.

    inputs: slots that it takes;  kept, given: those passed, and those given for good;  wanted: results, in order.
    steps: with loops rolled up, told as ``evaluate`` needs them;  number: slots in the part's own numbering.
    loose: those of ``wanted`` that may come out as parts of larger arrays;  live: those that somebody refers to.
    ints, floats, complexes: which of the trace's numbers it takes;  index: where these are;  key: the structure.
    """

    __slots__ = ("graph", "steps", "inputs", "kept", "given", "wanted", "loose", "live", "number", "ints", "floats",
                 "complexes", "index", "key", "place")  # fmt: skip

    def __init__(self, graph: Any, schedule: Schedule, steps: list, wanted: frozenset, free: set[int],
                 place: Any, loose: frozenset = frozenset(), live: tuple[int, ...] = ()) -> None:  # fmt: skip
        number: dict[int, int] = {}
        inputs: list[int] = []
        position: dict[Any, int] = {}
        key: list[Any] = []
        vectors: dict[str, list[int]] = {"ints": [], "floats": [], "complexes": []}
        index: dict[tuple, int] = {}

        def local(s: int) -> int:
            n = number.get(s)
            if n is None:
                n = number[s] = len(number)
                inputs.append(s)
            return n

        def lifted(w: Wide) -> tuple:
            name = "floats" if w.type is float else "complexes" if w.type is complex else "ints"
            at = index.get((name, w.index))
            if at is None:
                at = index[name, w.index] = len(vectors[name])
                vectors[name].append(w.index)
            return (w.type, at)

        for k, e in enumerate(steps):
            position[e] = k
            if type(e) is Call:
                ins = tuple([local(i) if type(i) is int else lifted(i) if type(i) is Wide else None for i in e.ins])
                key.append((e.kernel, ins, e in schedule.taped, e.place))
            else:
                seeds = tuple([None if s is None else local(s) for s in e.seeds])
                roots = tuple([local(r) for r in e.roots])
                outs = tuple([local(s) for s, _ in e.outs])
                key.append((roots, seeds, tuple([position[c] for c in e.plan]), outs))
            for s in e.out_slots:
                number[s] = len(number)
        self.steps = _Steps(roll(steps, wanted, schedule.taped, True), schedule.taped, steps)
        others = {s for s in inputs if type(graph.producer[s]) is not Input}  # come out of earlier parts
        mine = [s for s in number if s in wanted and s not in others]
        room = Counter((graph.metas[s].shape, graph.metas[s].dtype) for s in mine)
        given: list[int] = []
        for s in inputs:
            m = graph.metas[s]
            if s in free and room[m.shape, m.dtype] > 0:
                room[m.shape, m.dtype] -= 1
                given.append(s)
        # JAX pairs donated inputs with results of the same shape in order: what is replaced in place goes first, so
        # that a weight's memory goes to the new weight and not to its gradient, for which XLA would have to copy it
        replaced = _guards(steps, mine, set(given))
        pairs = {old: new for new, old in reversed(replaced.items())}
        given = [*(s for s in given if s in pairs), *(s for s in given if s not in pairs)]
        first = [pairs[s] for s in given if s in pairs]
        self.graph, self.number, self.index, self.place = graph, number, index, place
        self.ints, self.floats, self.complexes = vectors.values()
        self.inputs, self.given = inputs, given
        self.kept = [s for s in inputs if s not in set(given)]
        self.wanted = [*first, *(s for s in mine if s not in set(first))]
        on_cpu = not is_spread(place) and getattr(place, "platform", None) == "cpu"
        loops = any(type(e) is Loop for e in self.steps.steps)
        self.loose = loose.intersection(mine) if loops and on_cpu else frozenset()
        self.live = self.loose.intersection(live)
        self.key = (
            tuple(key), tuple([graph.metas[s] for s in inputs]), tuple([number[s] for s in given]),
            tuple([number[s] for s in self.wanted]), place,
            *(tuple(sorted([number[s] for s in some])) for some in (self.loose, self.live)),
        )  # fmt: skip

    def numbers(self) -> tuple:
        """Its numbers, for JAX: a vector of each kind."""
        import jax

        kinds = ((self.ints, np.int64), (self.floats, np.float64), (self.complexes, np.complex128))
        return tuple([jax.ShapeDtypeStruct((len(taken),), dtype) for taken, dtype in kinds])

    def checks(self) -> list:
        """The data checks in it, in order: (error, location, operation); known once it has been traced."""
        calls = [c for e in self.steps.steps for c in (e.calls if type(e) is Loop else (e,))]
        calls = [e for e in calls if type(e) is Call and not e.op.alias]
        return [(c, e.location, e.op.name) for e in calls for c in e.checks]

    def tell(self, why: str, seconds: float, remedy: bool = True) -> None:
        """Tell of its compilation; ``remedy``: also of what to do when there are many for the same cause."""
        last = next((e for e in reversed(self.steps.steps) if hasattr(e, "location")), None)
        where = describe(last.location) if last is not None else "<unknown>"
        cause = causes.cause_of(self.steps.recorded, why)
        stats.compiled(Event("program", where, why, len(self.steps.steps), seconds, cause, user_location()))
        if remedy:
            causes.noted(cause, seconds)


def _part(graph: Any, schedule: Schedule, steps: list, wanted: frozenset, free: set[int], place: Any, why: str,
          loose: frozenset, live: tuple[int, ...]) -> Part:  # fmt: skip
    laid = Laid(graph, schedule, steps, wanted, free, place, loose, live)
    piece = _pieces.get(laid.key)
    if piece is None:
        begin = time.perf_counter()
        piece = _pieces[laid.key] = _compile(laid)
        while len(_pieces) > config.max_programs:
            _pieces.popitem(last=False)
        laid.tell(why, time.perf_counter() - begin)
    else:
        _pieces.move_to_end(laid.key)
    back = {n: s for s, n in laid.number.items()}
    part = Part()
    part.several, part.sized = is_spread(place), None
    part.run = piece.run
    part.kept = tuple([back[n] for n in piece.kept])
    part.given = tuple([back[n] for n in piece.given])
    part.outs = tuple([back[n] for n in piece.outs])
    part.copies = tuple([(back[a], back[b]) for a, b in piece.copies])
    part.rows = tuple([(form, tuple([(back[n], r) for n, r in members])) for form, members in piece.rows])
    part.checks = laid.checks()
    part.ints, part.floats, part.complexes = laid.ints, laid.floats, laid.complexes
    return part


def function_of(laid: Laid, alike: bool = False) -> tuple:
    """A part as a function for JAX; what it takes; and where it tells, once traced, of its results: slots in ``outs``,
    in ``copies`` those that are other slots' arrays, and in ``rows`` those that are parts of the arrays after ``outs``:
    the rounds of a loop are not taken apart by the program, which would take 20 ms for each to compile.

    alike: the jaxpr is to be the same for other sizes, so these do not decide what is stored.
    """
    import jax
    import jax.numpy as jnp

    graph, kept, given, wanted, place = laid.graph, laid.kept, laid.given, laid.wanted, laid.place
    gone = set(given)  # a result that is a donated input must come out as a result
    guards = _guards(laid.steps.recorded, wanted, {*kept, *given})
    told: dict[str, Any] = {}
    several = is_spread(place)
    on_cpu = not several and getattr(place, "platform", None) == "cpu"
    how = Stored(1 if alike else LARGE) if on_cpu else Whole()

    def where(s: int) -> Any:
        own = graph.metas[s].place
        return own if is_spread(own) else place

    def program(keep: list, give: list, ints: Any, floats: Any, complexes: Any) -> list:
        env = dict(zip(kept, keep, strict=True))
        env.update(zip(given, give, strict=True))
        rows: dict[int, tuple] = {}
        source = {id(a): s for s, a in env.items()}
        unchanged = Kept(laid.steps.recorded, {new: env[old] for new, old in guards.items()})
        numbers = _Renumbered(ints, floats, complexes, laid.index, _apart(ints) if on_cpu else None)
        checks = evaluate(laid.steps, env, numbers, how, drop=False, kept=unchanged, rows=rows)  # type: ignore[arg-type]
        unchanged.finish(how, env, guards, checks)
        env.update((s, how.plain(env[s])) for s in wanted)
        if checks:
            bad = jnp.stack([jnp.logical_not(ok) for flags, _ in checks for ok in flags])
        outs, copies, results = [], [], []
        rows = {s: found for s, found in rows.items() if s in laid.loose and s not in guards}
        seen = Counter([id(whole) for s, (whole, _, _) in rows.items() if s in laid.live])
        wholes: dict[int, tuple[Any, Any, list]] = {}
        for s in wanted:
            a = env[s]
            if s in rows:
                whole, form, r = rows[s]
                if s not in laid.live or seen[id(whole)] >= ROUNDS:  # to take out a few, one need not wait
                    wholes.setdefault(id(whole), (whole, form, []))[2].append((s, r))
                    continue
            if id(a) in source and source[id(a)] not in gone:
                copies.append((s, source[id(a)]))
            else:
                source[id(a)] = s
                outs.append(s)
                results.append(jax.lax.with_sharding_constraint(a, where(s)) if several else a)
        told["outs"], told["copies"] = tuple(outs), tuple(copies)
        told["rows"] = tuple([(form, tuple(members)) for _, form, members in wholes.values()])
        results.extend([whole for whole, _, _ in wholes.values()])
        if checks:
            results.append(bad)
        return results

    def spec(s: int) -> Any:
        m = graph.metas[s]
        return jax.ShapeDtypeStruct(m.shape, m.dtype, **_sharding(m.place))

    return program, ([spec(s) for s in kept], [spec(s) for s in given], *laid.numbers()), told


def _compile(laid: Laid) -> Piece:
    program, args, told = function_of(laid)
    compiled = compile_at(program, None if is_spread(laid.place) else laid.place, args, donate_argnums=(1,))
    number = laid.number
    piece = Piece()
    piece.run = compiled
    piece.kept, piece.given = tuple(number[s] for s in laid.kept), tuple(number[s] for s in laid.given)
    piece.outs = tuple([number[s] for s in told["outs"]])
    piece.copies = tuple([(number[s], number[source]) for s, source in told["copies"]])
    piece.rows = tuple([(form, tuple([(number[s], r) for s, r in members])) for form, members in told["rows"]])
    return piece


#: Whole numbers, as random keys are, from which on each gets a buffer of its own; how many of them one kernel parts.
FEW, MANY = 6, 32


def _apart(ints: Any) -> list | None:
    """The entries of a vector, each in a buffer of its own.

    XLA:CPU compiles kernels that are equal to the last constant once.  A place in the vector is such a constant: each
    layer with a random mask of its own would be compiled anew.  A sum over several arrays at once is one kernel with as
    many results, which XLA cannot move into those that use them.
    """
    import jax.numpy as jnp
    from jax import lax

    if ints.shape[0] < FEW:
        return None
    found: list = []
    for begin in range(0, ints.shape[0], MANY):
        part = ints[begin : begin + MANY]
        n = part.shape[0]
        each = [jnp.where(np.arange(n) == k, part, 0) for k in range(n)]
        found += lax.reduce(each, [np.zeros((), part.dtype)] * n, _sums, (0,))
    return found


def _sums(a: list, b: list) -> list:
    return list(map(operator.add, a, b))


class _Renumbered(Numbers):
    """A trace's numbers by their places in the vectors of one part; ``apart``: the whole numbers one by one."""

    __slots__ = ("index", "apart")

    def __init__(self, ints: Any, floats: Any, complexes: Any, index: dict, apart: list | None = None) -> None:
        super().__init__(ints, floats, complexes)
        self.index, self.apart = index, apart

    def __getitem__(self, wide: Wide) -> Any:
        vector, k = self.at(wide)
        return vector[k] if vector is not self.ints or self.apart is None else self.apart[k]

    def at(self, wide: Wide) -> tuple[Any, int]:
        name = "floats" if wide.type is float else "complexes" if wide.type is complex else "ints"
        return getattr(self, name), self.index[name, wide.index]


def _guards(steps: list, wanted: list[int], inputs: set[int]) -> dict[int, int]:
    """Result slot -> input slot that it replaces in place, for what must survive a failed data check."""
    origin: dict[int, int] = {s: s for s in inputs}
    for e in steps:
        if type(e) is Call:
            n = 1 if e.op.alias else e.op.inplace
            for new, old in zip(e.out_slots, e.slots[:n], strict=False):
                if old in origin:
                    origin[new] = origin[old]
    return {s: origin[s] for s in wanted if s in origin and origin[s] != s}
