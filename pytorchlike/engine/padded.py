"""Programs with room for larger sizes than the present ones: sentences of any length, graphs of any number of edges.

Traces that differ in sizes only are members of one group.  Three of them tell, by their jaxprs, how all numbers in the
program follow from the sizes that vary (``generic``); it is compiled once for larger sizes, with what lies beyond the
present ones left out of sums (``padding``), and serves them all.  Its results for one member are compared with those of
the plain program, with NaN in all unused places, before it is used.
"""

from __future__ import annotations

import itertools
import math
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import _padding_indexing as _padding_indexing  # registers its rules
from . import _padding_sums as _padding_sums  # registers its rules
from . import fused, policy
from .config import config
from .errors import DataError, let_go
from .evaluators import compile_at
from .generic import Size, Sizes, Unlike, generic_of
from .interpret import Missing, _names
from .meta import Meta, is_spread
from .op import Wide, without_numbers
from .padding import Again, Room, Spread, evaluate, factors
from .schedule import Schedule
from .stats import stats
from .trie import Call, Input, Reverse, State

__all__ = ["forget", "program_for", "unite"]

#: Traces of different sizes that are compared; how many are kept to find such; how often that may fail for one group.
MEMBERS, KEPT, FAILURES = 3, 8, 3
#: Structures of the same operations among which hardly any comes twice, after which no more are kept; of all.
ALONE, GROUPS = 24, 512
#: What masks cost, as a part of the whole; seconds that it takes to copy what goes in; how many times its compilation
#: a trace has cost when it gets a program of its own.
MASKS, WIDENING, OFTEN = 0.1, 5e-5, 2
#: How many times what its compilation takes one with less room must have been able to save.
PAYS = 1
#: Traces in a row, none smaller than the one before, after which sizes are taken to go on rising, as those of a text do
#: that is generated.
RISING = 8
#: Traces after which it is looked whether sizes come again.
MANY = 256
#: Sizes that vary, from which on they get more room than the next power of two.
SEVERAL = 4
#: Sizes below that mean something of their own (what is spread, what is empty).
LEAST = 2
#: Bytes of an input from which its memory is given to a result: a program that takes less serves more traces.
GIVEN = 1 << 14
#: How often the order of joined dimensions is looked for.
ATTEMPTS = 16
#: Seconds that NumPy may take to check a program, by an estimate; else what it is checked by is compiled.
PATIENCE = 2.0
#: Seconds of a run from which it is measured once.
BRIEF = 0.01
#: How much of the results may differ: where a gradient is nothing but rounding, an optimizer makes much of it.
ODD = 0.03


class Few(Unlike):
    """The members do not tell by which sizes a number goes.  index: of a number that had two values only, or None."""

    def __init__(self, index: int | None) -> None:
        super().__init__("too few different sizes")
        self.index = index


class Traced(NamedTuple):
    """A member as a jaxpr.

    same: inputs that may be given, as they are of one shape in all members;  names: the operations in the jaxpr.
    """

    same: frozenset[int]
    laid: fused.Laid
    closed: Any
    told: dict
    names: tuple


class Member:
    """A trace of a group: its numbers, where it ends, and its jaxpr once that has been asked for."""

    __slots__ = ("numbers", "state", "live", "dead", "traced")

    def __init__(self, numbers: np.ndarray, state: State, live: tuple[int, ...], dead: tuple[int, ...]) -> None:
        self.numbers, self.state, self.live, self.dead = numbers, state, live, dead
        self.traced: Traced | None = None

    def trace(self, same: frozenset[int]) -> Traced:
        """Its jaxpr."""
        import jax

        from .execute import tracked_of, wanted_of

        if self.traced is None or self.traced.same != same:
            graph = self.state.graph()
            wanted = wanted_of(self.state, self.live)
            tracked = tracked_of(self.state, self.live)
            held = set() if tracked is None else set(tracked[3])
            schedule = Schedule(graph, wanted)
            free = {s for s in same if s not in held and s not in wanted}
            laid = fused.Laid(graph, schedule, list(schedule.steps), frozenset(wanted), free, self.state.place)
            program, args, told = fused.function_of(laid, alike=True)
            with jax.enable_x64(True):
                closed = jax.make_jaxpr(program)(*args)
            self.traced = Traced(same, laid, closed, told, tuple(_names(closed.jaxpr)))
        return self.traced


class Group:
    """Traces of one structure, for the same results.

    members: a few, of different sizes;  forms: what members had in common;  failures: how often there was nothing.
    spent: seconds in which they were executed operation by operation.   top: the largest of each number.
    """

    __slots__ = ("members", "forms", "failures", "spent", "top")

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.forms: list[Form] = []
        self.failures = 0
        self.spent = 0.0
        self.top: np.ndarray | None = None


class Kin:
    """Traces of the same operations.  names: of their groups;  again: how often a trace was of a group known before."""

    __slots__ = ("names", "again")

    def __init__(self) -> None:
        self.names: list[tuple] = []
        self.again = 0

    @property
    def hopeless(self) -> bool:
        """Whether hardly any two have the same structure, as with trees."""
        return len(self.names) >= ALONE and 4 * self.again < len(self.names)


_groups: OrderedDict[tuple, Group] = OrderedDict()
_kin: OrderedDict[frozenset, Kin] = OrderedDict()


def forget() -> None:
    """Give up all groups and their programs."""
    _groups.clear()
    _kin.clear()
    _parts.clear()
    _ids.clear()
    _statics.clear()


# -- what a trace looks like without its sizes ------------------------------------------------------------------------

#: By model of a call or reverse pass: a number for what it is without sizes, and those.
_parts: dict[Any, tuple[int, tuple[int, ...]]] = {}
_ids: dict[tuple, int] = {}
#: By operation and line, numbers of its static arguments: one or two.
_statics: dict[tuple, set] = {}
_count = itertools.count()  # no number is used twice: states remember them


def _numbered(key: tuple) -> int:
    return _ids.setdefault(key, next(_count))


def _kind(m: Meta) -> tuple:
    return m.ndim, m.dtype, m.place, m.grad, m.inference


def _call(c: Call) -> tuple[int, tuple[int, ...]]:
    """What a call is without sizes and slots; and the sizes."""
    model = c.model
    found = _parts.get(model)
    if found is None:
        numbers: list[int] = []
        kernel, pattern = c.kernel, c.kernel.pattern
        if c.op.walk is None:
            what: Any = (c.op, without_numbers(kernel.static, numbers))
            pattern = _without_ints(c, what, numbers)
        else:
            what = _reverse(c.op.info, numbers)
        for m in (*c.metas, *c.outs):
            numbers.extend(m.shape)
        key = (what, pattern, repr(pattern), kernel.mode, kernel.platform, c.place,
               tuple(map(_kind, c.metas)), tuple(map(_kind, c.outs)))  # fmt: skip
        if len(_parts) > 50_000:
            _parts.clear()
        found = _parts[model] = _numbered(key), tuple(numbers)
    return found


def _without_ints(c: Call, what: tuple, numbers: list[int]) -> tuple:
    """What a kernel takes, without whole numbers in the code, as where a slice begins; those are told, too.

    what, numbers: the operation without static numbers, and those.  Where they are the same all the time, what is left
    will soon be taken at run time, as an operation with another number.
    """
    pattern = c.kernel.pattern
    found = [i[1] for i in pattern if type(i) is tuple and i[0] is int]
    if not found or not numbers:
        return pattern
    if len(_statics) > 20_000:
        _statics.clear()
    seen = _statics.setdefault((what, c.location), set())
    if len(seen) < 2:
        seen.add(tuple(numbers))
        if len(seen) < 2:
            return pattern
    numbers.extend(found)
    return tuple([(int, ...) if type(i) is tuple and i[0] is int else i for i in pattern])


def _reverse(info: Any, numbers: list[int]) -> tuple:
    """As :func:`_call`, of the way back through an executed trace."""
    names: dict[Any, int] = {}

    def local(name: Any) -> int:
        return names.setdefault(name, len(names))

    calls = []
    for c in info.plan:
        part, more = _call(c)
        numbers.extend(more)
        ins = tuple([
            local(i) if type(i) is int else local((i.type, i.index)) if type(i) is Wide else None for i in c.ins
        ])  # fmt: skip
        calls.append((part, ins, tuple(map(local, c.out_slots))))
    slots = [tuple(map(local, s)) for s in (info.needs, info.roots, info.outs)]
    wides = tuple([(w.type, local((w.type, w.index))) for w in info.wides])
    return (tuple(calls), *slots, info.onto, wides)


def _signature(entries: list) -> tuple[tuple, tuple[int, ...]]:
    key: list[Any] = []
    numbers: list[int] = []
    for e in entries:
        kind = type(e)
        if kind is Call:
            part, more = _call(e)
            numbers.extend(more)
            ins = tuple([i if i.__class__ is int else i.index if i.__class__ is Wide else None for i in e.ins])
            key.append((part, ins, e.mode.scoped))
        elif kind is Input:
            numbers.extend(e.meta.shape)
            key.append(_kind(e.meta))
        elif kind is Reverse:
            key.append((e.roots, e.seeds, tuple([c.first for c in e.plan]), tuple([s for s, _ in e.outs])))
    return tuple(key), tuple(numbers)


def _kin_of(entries: list) -> Kin:
    ops = frozenset([e.op if e.op.walk is None else e.op.name for e in entries if type(e) is Call])
    kin = _kin.get(ops)
    if kin is None:
        kin = _kin[ops] = Kin()
        while len(_kin) > config.max_kernels:
            _kin.popitem(last=False)
    return kin


def group_of(state: State, live: tuple[int, ...]) -> tuple[Group, np.ndarray] | None:
    """The group of a trace for these results, and its numbers; None where groups are of no use."""
    if state.sized is None:
        entries = state.entries()
        kin = _kin_of(entries)
        if kin.hopeless:
            return None
        key, numbers = _signature(entries)
        found = np.array(numbers, np.int64)
        key = (key, found.clip(max=LEAST).tobytes())  # a size of 1 is a structure of its own
        state.sized = kin, key, found
    kin, key, numbers = state.sized
    if kin.hopeless:
        return None
    name = (key, live)
    group = _groups.get(name)
    if group is None:
        group = _groups[name] = Group()
        while len(_groups) > GROUPS:
            _groups.popitem(last=False)
        kin.names.append(name)
        if kin.hopeless:
            for known in kin.names:
                _groups.pop(known, None)
            return None
        if len(kin.names) > GROUPS:
            del kin.names[: GROUPS // 2]
    else:
        kin.again += 1
        _groups.move_to_end(name)
    return group, numbers


# -- programs ---------------------------------------------------------------------------------------------------------


def program_for(state: State, live: tuple[int, ...], dead: tuple[int, ...]) -> tuple[Any, Group | None]:
    """The program with room for the sizes of the trace that ends at ``state``, or None; its group, if that may get one.

    The trace becomes a member of the group if there is no program.
    """
    place = state.place
    if config.tier != "auto" or is_spread(place) or getattr(place, "platform", None) != "cpu":
        return None, None
    known = group_of(state, live)
    if known is None:
        return None, None
    group, numbers = known
    for form in [f for f in group.forms if not f.laid.given or set(f.laid.given).issubset(dead)]:
        found = form.numbers(numbers)
        if found is not None:
            more = not form.holds(found)
            if more and policy.waits(state):
                form.note(found)
                return None, None
            try:
                program = form.program(state, live, found, "sizes that had no room")
                if more:
                    policy.paid(state, form.programs[-1].made)
                return program, group
            except Exception as error:  # no program for so large sizes, say: there is the plain way
                stats.unlike.append(f"{type(error).__name__}: {error}")
                let_go(error)
                group.forms.remove(form)
                break
    if group.failures >= FAILURES:
        return None, None
    group.top = numbers if group.top is None else np.maximum(group.top, numbers)
    if not any(np.array_equal(m.numbers, numbers) for m in group.members):
        group.members.append(Member(numbers, state, live, dead))
        del group.members[:-KEPT]
    ready = len(group.members) >= MEMBERS and group.members[-1].state is state
    return None, group if ready else None


def ran(state: State, live: tuple[int, ...], seconds: float) -> None:
    """Take note of an execution operation by operation, of a trace that was looked for in the groups."""
    group = _groups.get((state.sized[1], live))
    if group is not None:
        group.spent += seconds


def unite(group: Group, trace: Any, why: str) -> Any:
    """The program of the last member, as one for all sizes; None if too few members have enough in common."""
    members = group.members
    last = members[-1]
    graphs = [m.state.graph() for m in members]
    dead = set(last.dead).intersection(*[m.dead for m in members])
    alike = [s for s in dead if len({g.metas[s].shape for g in graphs}) == 1]
    same = frozenset([s for s in alike if graphs[-1].metas[s].nbytes >= GIVEN])
    kinds: dict[tuple, list[Member]] = {}
    try:
        for m in members:  # many operators are formulated otherwise from some size on
            kinds.setdefault(m.trace(same).names, []).append(m)
        enough = [alike for alike in kinds.values() if len(alike) >= MEMBERS]
        if not enough:
            if len(members) < KEPT:
                return None
            raise Unlike("other operations for other sizes")
        largest = max(enough, key=lambda alike: max(m.numbers.sum() for m in alike))  # the room is for the largest
        if last not in largest:  # whose values it is checked by
            return None
        try:
            # what a form of larger traces does not hold for needs no room for these
            made = _form(largest, same, last, last.numbers if group.forms else group.top, trace, why)
        except Few:
            if len(members) < KEPT:
                return None
            raise
    except Exception as error:  # whatever it is, there is the plain way
        group.failures += 1
        del members[: len(members) // 2]
        stats.unlike.append(f"{type(error).__name__}: {error}")
        let_go(error)
        return None
    members.clear()
    group.failures += 1  # few groups have several forms
    group.forms.append(made)
    group.forms.sort(key=lambda form: -sum(map(max, form.sizes.symbols)))
    found = made.numbers(last.numbers)
    assert found is not None
    return made.program(last.state, last.live, found, why)


def _form(members: list[Member], same: frozenset[int], last: Member, top: np.ndarray, trace: Any, why: str) -> Form:
    """The form of as few members as tell enough; of those alone that have a size in common of which there are two."""
    count = MEMBERS
    while True:
        try:
            return Form(members[-count:], same, last, top, trace, why)
        except Few as few:
            count += 1
            if count > len(members):
                if few.index is None or len(members) < KEPT:
                    raise
                members = [m for m in members if m.numbers[few.index] == last.numbers[few.index]]
                count = MEMBERS
                if count > len(members):
                    raise


class Form:
    """What the members of a group have in common, compiled for some sizes."""

    def __init__(
        self, members: list[Member], same: frozenset[int], last: Member, top: np.ndarray, trace: Any, why: str
    ) -> None:
        from .execute import tracked_of

        columns = np.stack([m.numbers for m in members])
        moving = (columns != columns[0]).any(0)
        traced = [m.trace(same) for m in members]
        laid = [t.laid for t in traced]
        first = laid[0]
        self.laid, self.told = first, traced[0].told
        if any(t.told != self.told for t in (*traced, last.trace(same))):
            raise Unlike("other results for other sizes")
        base = sorted({seen for seen in _seen([_shapes(p) for p in laid]) if len(set(seen)) > 1})
        others = sorted({tuple(map(int, c)) for c in columns[:, moving].T})
        metas = [sorted(m.state.graph().metas.items()) for m in members]
        self.sizes = Sizes([*base, *others], set(_seen([[m.shape for _, m in each] for each in metas])))
        if not self.sizes.symbols or any(min(s) < LEAST for s in self.sizes.symbols):
            raise Unlike("sizes that mean something of their own")
        self._tell(columns)
        self.fixed = np.flatnonzero(~moving)
        self.first = columns[0]
        self.values = self.first[self.fixed]
        by: dict[Any, list[int]] = {}
        for k in np.flatnonzero(moving):
            by.setdefault(self.sizes.of(tuple(map(int, columns[:, k]))), []).append(int(k))
        self.moving = [(size, np.array(places)) for size, places in by.items()]
        self.together = _together(columns, moving)
        self.symbols = [next(places[0] for size, places in self.moving if size.seen == s) for s in self.sizes.symbols]
        self.generic = generic_of([t.closed for t in traced], self.sizes)
        self.limits = [*self.generic.limits(), *self.sizes.doubts(self.generic.sizes(), set(others))]
        self.fits: dict[tuple[int, ...], bool] = {}
        self.checks = _checks([p.checks() for p in laid], self.sizes)
        self.axes = self._axes()
        self.out_axes: list[tuple] = []
        self.programs: list[Compiled] = []
        highest = self.numbers(top) or self.numbers(last.numbers) or ()
        self.highest = [max(*s, n) for s, n in itertools.zip_longest(self.sizes.symbols, highest, fillvalue=0)]
        self.least, self.most = [min(s) for s in self.sizes.symbols], [max(s) for s in self.sizes.symbols]
        self.refused = [0] * len(self.highest)
        self.volumes = list(self.generic.volume().items())
        self.wasted = self.due = 0.0
        self.counts: Counter[tuple[int, ...]] = Counter()
        self.met: set[tuple] = set()
        self.traces = self.again = self.rising = 0
        self.last: tuple[int, ...] = ()
        self.scale = 1.0
        self.tracked = tracked_of(members[0].state, members[0].live)
        self._check(last, last.trace(same), trace, why)

    def _tell(self, columns: np.ndarray) -> None:
        """Raise :class:`Few` where numbers could follow from one size or from another.

        Two points lie on a line whatever they are: 1 / 48 and 1 / 20, which are 1 / 4 n for 12 and 5, would be taken
        for 1 / (14 m - 106) where m was 11 and 9.
        """
        symbols = [s for k, s in enumerate(self.sizes.symbols) if k not in self.sizes.tied]
        for seen in symbols:
            if len(set(seen)) < 3:
                raise Few(int(np.flatnonzero((columns == np.array(seen)[:, None]).all(0))[0]))
        ones = [1] * len(columns)
        for one, other in itertools.combinations(symbols, 2):
            if len(columns) <= MEMBERS or np.linalg.matrix_rank(np.array([ones, one, other])) < 3:
                raise Few(None)

    @property
    def endless(self) -> bool:
        """Whether hardly any size comes again: of many, which hardly come again together, a few traces tell."""
        few = len(self.highest) < SEVERAL
        return self.traces > (MANY if few else MANY // 8) and 8 * self.again < self.traces

    def numbers(self, numbers: np.ndarray) -> tuple[int, ...] | None:
        """The sizes that vary, by the numbers of a trace; None if it is of another form."""
        if not np.array_equal(numbers[self.fixed], self.values):
            return None
        found = tuple([int(numbers[k]) for k in self.symbols])
        if min(found) < LEAST:
            return None
        for size, places in self.moving:
            if (numbers[places] != size.at(found)).any():
                return None
        if any(found[k] != size.at(found) for k, size in self.sizes.tied.items()):
            return None
        far = numbers - self.first
        if (far[self.together[0]] * self.together[1] != far[self.together[2]] * self.together[3]).any():
            return None
        fits = self.fits.get(found)
        if fits is None:
            if len(self.fits) >= 8 * MANY:
                self.fits.clear()
            fits = self.fits[found] = all(_number(a, found) <= _number(b, found) for a, b in self.limits)
        return found if fits else None

    def _axes(self) -> list[tuple]:
        """Where the elements of the inputs are: a dimension may be one that was joined, of texts and words say."""
        shapes = self.generic.shapes
        counts = len(self.laid.kept) + len(self.laid.given)
        pairs = {(a, b) for s in shapes for a, b in itertools.pairwise(s) if type(b) is Size and a != 1}
        options: list[list[Any]] = []
        for shape in shapes[:counts]:
            for n in shape:
                if type(n) is not Size:
                    continue
                ways: list[Any] = [(n,)]
                for a, b in pairs:
                    before = a.seen if type(a) is Size else (a,) * len(n.seen)
                    if n.seen == tuple([x * y for x, y in zip(before, b.seen, strict=True)]):
                        ways.insert(0, (a, b))
                options.append(ways)
        error: Unlike | None = None
        for chosen in itertools.islice(itertools.product(*options), 16):
            rest = iter(chosen)
            axes = [tuple([next(rest) if type(n) is Size else None for n in s]) for s in shapes[:counts]]
            self.orders = {}
            for _ in range(ATTEMPTS):
                try:
                    self._results(axes)
                except (Again, Unlike) as e:
                    error = e.with_traceback(None)  # which refers to this frame, and all that called it
                    if type(e) is Again:
                        continue
                    break
                return axes
        assert error is not None
        raise error

    def _results(self, axes: list[tuple]) -> None:
        """Trace it for some sizes, to see that it can be."""
        import jax

        self.out_axes = []
        sizes = tuple([_rounded(max(s)) for s in self.sizes.symbols])
        with jax.enable_x64(True):
            try:
                jax.eval_shape(self._function(sizes, axes), *self._specs(sizes))
            except (TypeError, ValueError, IndexError, AssertionError, NotImplementedError) as error:
                raise Unlike(f"{type(error).__name__}: {error}") from error

    def _function(self, sizes: tuple[int, ...], axes: list[tuple]) -> Any:
        kept = len(self.laid.kept)

        def run(keep: list, give: list, ints: Any, floats: Any, complexes: Any, present: Any) -> list:
            numbers = present.astype(np.int32)
            room = Room(sizes, fused._apart(numbers) or [numbers[k] for k in range(len(sizes))])
            arrays = [Spread(x, a) for x, a in zip((*keep, *give), (*axes[:kept], *axes[kept:]), strict=True)]
            vectors = [Spread(v, (None,)) for v in (ints, floats, complexes)]
            outs = evaluate(self.generic, [*arrays, *vectors], room, self.sizes, self.orders)
            self.out_axes = [o.axes for o in outs]
            return [o.x for o in outs]

        return run

    def _work(self, sizes: tuple[int, ...]) -> float:
        """What a run with that room takes, by XLA's count of operations and bytes."""
        import jax

        with jax.enable_x64(True):
            cost = jax.jit(self._function(sizes, self.axes)).lower(*self._specs(sizes)).cost_analysis() or {}
        return cost.get("flops", 0.0) / 2e10 + cost.get("bytes accessed", 0.0) / 1e10

    def _specs(self, sizes: tuple[int, ...]) -> tuple:
        import jax

        laid, room = self.laid, Room(sizes, sizes)
        n = len(laid.kept)
        specs = [
            jax.ShapeDtypeStruct(room.at(shape), laid.graph.metas[s].dtype)
            for s, shape in zip((*laid.kept, *laid.given), self.generic.shapes, strict=False)
        ]
        return specs[:n], specs[n:], *laid.numbers(), jax.ShapeDtypeStruct((len(sizes),), np.int64)

    def program(self, state: State, live: tuple[int, ...], found: tuple[int, ...], why: str) -> Any:
        """The program of a trace with these sizes."""
        from .execute import tracked_of

        self.traces += 1
        self.again += found in self.met
        self.rising = self.rising + 1 if all(a <= b for a, b in zip(self.last, found, strict=False)) else 0
        self.last = found
        self.least, self.most = list(map(min, self.least, found)), list(map(max, self.most, found))
        if len(self.met) < 8 * MANY:
            self.met.add(found)
        laid = self.laid
        part = fused.Part()
        part.several, part.takes = False, False
        part.kept, part.given = tuple(laid.kept), tuple(laid.given)
        part.outs, part.copies, part.rows = self.told["outs"], self.told["copies"], ()
        part.ints, part.floats, part.complexes = laid.ints, laid.floats, laid.complexes
        room = Room(found, found)
        part.checks = [
            (DataError(exception, "".join([str(room.at(t)) for t in text])), location, op)
            for exception, text, location, op in self.checks
        ]
        sized = part.sized = Sized(self, found, self.compiled(found, why))
        part.run = sized.compiled.run
        program = fused.Program()
        program.live, program.parts, program.given = frozenset(live), [part], frozenset(laid.given)
        tracked = self.tracked
        program.tracked = tracked_of(state, live) if tracked is not None and tracked[0] else tracked
        program.uses = program.seen = 0
        program.family, program.sized = None, sized
        return program

    def holds(self, found: tuple[int, ...]) -> bool:
        """Whether some executable has enough room."""
        return any(c.holds(found) for c in self.programs)

    def compiled(self, found: tuple[int, ...], why: str) -> Compiled:
        """The quickest executable with enough room; sometimes that is the time for one with less."""
        if not self.holds(found):
            self._add(self._next(found), why)
        elif self.wasted > self.due and self.rising < RISING:  # while they rise the sizes that were do not come again
            self._refine(why)
        return min([c for c in self.programs if c.holds(found)], key=lambda c: c.seconds)

    def note(self, found: tuple[int, ...]) -> None:
        """Sizes were met for which there is no room yet: the next executable is to have enough."""
        self.refused = list(map(max, self.refused, found))

    def _next(self, found: tuple[int, ...]) -> tuple[int, ...]:
        """Room for these sizes, and all that were met; for twice as large ones if they will soon be met and it pays."""
        higher = [b > a for a, b in zip(self.highest, found, strict=True)]
        self.highest = list(map(max, self.highest, found, self.refused))
        enough = self._enough()
        if self.rising < RISING or not self.programs:
            return enough
        more = tuple([2 * n if h else n for n, h in zip(enough, higher, strict=True)])
        last = self.programs[-1]
        steps = min([n // 2 for n, h in zip(enough, higher, strict=True) if h], default=0)
        return more if steps * (last.scaled(more) - last.scaled(enough)) < last.made else enough

    def _enough(self) -> tuple[int, ...]:
        """Room for all that were met, and for what else will be.

        Of many sizes, as the numbers of words that a router gives to each of its experts, some one is larger than ever
        at most steps, and training moves them: they get twice as much more as they have differed, a quarter at least.
        """
        if len(self.highest) < SEVERAL:
            return tuple(map(_rounded, self.highest))
        most = list(map(max, self.highest, self.most))
        return _alike(_finer([n + max(2 * (n - low), n // 4) for n, low in zip(most, self.least, strict=True)]))

    def volume(self, sizes: tuple[int, ...]) -> float:
        """How much there is to do with that room, see ``Generic.volume``."""
        return sum([n * math.prod([d.at(sizes) for d in along]) for along, n in self.volumes]) or 1.0

    def _add(self, sizes: tuple[int, ...], why: str) -> None:
        self.programs.append(Compiled(self, sizes, why))
        self.wasted, self.due = 0.0, PAYS * max(c.made for c in self.programs)
        self.counts.clear()

    def _refine(self, why: str) -> None:
        """Compile for the sizes that would have saved most of late, if that would have paid."""
        met = list(self.counts)
        now = np.array(met, np.int64).reshape(len(met), len(self.sizes.symbols))
        times = np.array([self.counts[n] for n in met])
        best = np.array([min([c.seconds for c in self.programs if c.holds(n)], default=0.0) for n in met])

        def gain(sizes: tuple[int, ...], needs: float) -> float:
            return float((times * np.maximum(best - needs, 0.0))[(now <= sizes).all(1)].sum())

        first = self.programs[0]
        least = PAYS * max(c.made for c in self.programs)
        finer = dict.fromkeys(map(_finer, [*met, *now.max(0, keepdims=True).tolist()]))
        chosen = max(finer, key=lambda sizes: gain(sizes, first.scaled(sizes)), default=first.sizes)
        if gain(chosen, first.scaled(chosen)) > least and gain(chosen, self.scale * self._work(chosen)) > least:
            self._add(chosen, why)
        else:
            self.due *= 2

    def _check(self, member: Member, traced: Traced, trace: Any, why: str) -> None:
        """Compare with the plain program on the values that the trace has."""
        import jax

        from .execute import _input, vectors

        laid = traced.laid
        found = self.numbers(member.numbers)
        if found is None:
            raise Unlike("numbers of its own")
        compiled = self.compiled(found, why)
        kept = [_input(trace.values[s]) for s in laid.kept]
        given = [np.array(_input(trace.values[s])) for s in laid.given]  # a copy: it is donated
        numbers = vectors(laid, trace.ints, trace.floats, trace.complexes)
        theirs = _plain(traced.closed, [*kept, *given, *numbers], laid)
        sized = Sized(self, found, compiled)
        args = sized.enter(kept, given, numbers, np.nan)
        mine = jax.block_until_ready(compiled.run(*args))
        compiled.seconds = math.inf
        for _ in range(3):  # something else may run meanwhile
            fresh = [x.copy() for x in given]
            begin = time.perf_counter()
            jax.block_until_ready(compiled.run(args[0], fresh, *args[2:]))
            took = time.perf_counter() - begin
            compiled.seconds = min(compiled.seconds, took)
            if took > BRIEF:
                break
        self.scale = compiled.seconds / max(compiled.work, 1e-9)
        n = len(self.told["outs"])
        _compare([np.asarray(x) for x in sized.leave(mine[:n])] + [np.asarray(x) for x in mine[n:]], theirs)


def _together(columns: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Numbers that have moved in proportion: places, what to multiply by, and the places and factors of their partners.

    Of rows that were even, half of them may be what a mean was of or all: no equation tells, so they have to go on so.
    """
    leads: dict[tuple, tuple[int, int]] = {}
    pairs: dict[tuple, tuple[int, int, int, int]] = {}
    for k in np.flatnonzero(moving):
        far = [int(n) for n in columns[:, k] - columns[0, k]]
        by = math.gcd(*far) * (1 if next(n for n in far if n) > 0 else -1)
        place, factor = leads.setdefault(tuple([n // by for n in far]), (int(k), by))
        if place != k:
            pairs.setdefault((place, *columns[:, k]), (int(k), factor, place, by))
    return np.array([*pairs.values()], np.int64).reshape(-1, 4).T


def _number(n: Any, found: tuple[int, ...]) -> int:
    return n.at(found) if type(n) is Size else n


def _plain(closed: Any, arrays: list, laid: Any) -> list:
    """The results of a jaxpr as it was traced."""
    import jax
    from jax.extend.core import jaxpr_as_fun

    from ._primitives import Plan

    try:
        plan = Plan(closed.jaxpr, closed.consts)
        if plan.cost - 0.75 * plan.products < PATIENCE * 1e9:
            with np.errstate(all="ignore"):
                return plan.run([np.asarray(a) for a in arrays])
    except Missing:
        pass
    specs = tuple([jax.ShapeDtypeStruct(np.shape(a), a.dtype) for a in arrays])
    run = compile_at(jaxpr_as_fun(closed), laid.place, specs)
    return [np.asarray(x) for x in run(*arrays)]


def _compare(mine: list, theirs: list) -> None:
    wrong = total = 0
    for a, b in zip(mine, theirs, strict=True):
        b = np.asarray(b)
        if a.shape != b.shape or a.dtype != b.dtype:
            raise Unlike(f"a result of {a.dtype}{list(a.shape)} instead of {b.dtype}{list(b.shape)}")
        if a.dtype.kind in "biu":
            wrong += int((a != b).sum())
        else:
            wide = np.complex128 if a.dtype.kind == "c" else np.float64
            a, b = a.astype(wide), b.astype(wide)
            if (np.isnan(a) != np.isnan(b)).any():
                raise Unlike("what lies beyond the sizes gets into a result")
            scale = np.abs(b[np.isfinite(b)]).max(initial=1e-4)
            wrong += int((~np.isclose(a, b, rtol=2e-2, atol=2e-3 * scale, equal_nan=True)).sum())
        total += a.size
    if wrong > ODD * total:
        raise Unlike(f"{wrong} of {total} results differ")


def _seen(shapes: list[list[tuple]]) -> Iterator[tuple]:
    """What was seen of each dimension of all arrays; shapes: of the same arrays, by member."""
    for one in zip(*shapes, strict=True):
        yield from zip(*one, strict=True)


def _shapes(laid: fused.Laid) -> list[tuple]:
    return [laid.graph.metas[s].shape for s in (*laid.kept, *laid.given)]


def _rounded(n: int) -> int:
    return 1 << (n - 1).bit_length()


def _finer(sizes: Sequence[int]) -> tuple[int, ...]:
    """Room of an eighth more at most."""
    return tuple([-(-n // step) * step for n in sizes for step in (max(_rounded(n) // 16, 1),)])


def _alike(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The same room for sizes that are not far apart: XLA:CPU compiles kernels once that are equal in all."""
    found: dict[int, int] = {}
    top = 0
    for n in sorted(set(sizes), reverse=True):
        if 2 * n < top or not top:
            top = n
        found[n] = top
    return tuple([found[n] for n in sizes])


def _checks(found: list[list], sizes: Sizes) -> list[tuple]:
    """Data checks whose messages are told with the sizes that a trace has: (exception, parts, location, operation)."""
    out = []
    if len(set(map(len, found))) > 1:
        raise Unlike("other data checks for other sizes")
    for same in zip(*found, strict=True):
        texts = [re.split(r"(\d+)", c.message) for c, _, _ in same]
        (c, location, op), parts = same[0], texts[0]
        if all(len(t) == len(parts) for t in texts):
            parts = [p[0] if len(set(p)) == 1 else _said(p, sizes) for p in zip(*texts, strict=True)]
        out.append((c.exception, parts, location, op))
    return out


def _said(texts: tuple, sizes: Sizes) -> Any:
    try:
        return sizes.of(tuple(map(int, texts)))
    except (Unlike, ValueError):
        return texts[0]


class Compiled:
    """An executable with room for these sizes.

    work: what a run takes, by the compiler's estimate;  seconds: by that and a measurement;  made: the compilation.
    """

    __slots__ = ("form", "sizes", "run", "work", "volume", "seconds", "made")

    def __init__(self, form: Form, sizes: tuple[int, ...], why: str) -> None:
        import jax

        begin = time.perf_counter()
        specs = form._specs(sizes)
        with jax.enable_x64(True):
            self.run = compile_at(form._function(sizes, form.axes), form.laid.place, specs, donate_argnums=(1,))
        self.form, self.sizes, self.made = form, sizes, time.perf_counter() - begin
        self.volume = form.volume(sizes)
        self.work = form._work(sizes)
        self.seconds = form.scale * self.work
        form.laid.tell(why, self.made, remedy=False)  # it is the remedy

    def holds(self, sizes: tuple[int, ...]) -> bool:
        """Whether there is room for these sizes."""
        return all(a >= b for a, b in zip(self.sizes, sizes, strict=True))

    def scaled(self, sizes: tuple[int, ...]) -> float:
        """What a run would take with that room, about."""
        return self.seconds * self.form.volume(sizes) / self.volume


class Sized:
    """How the arrays of one trace get into a program with room for more, and out of it.

    lost: seconds that a run takes for nothing;  paid: for this trace so far, for all that it would not cost by itself.
    stale: whether a better program is worth its compilation by now.
    """

    __slots__ = ("form", "now", "compiled", "lost", "vector", "paid", "stale", "version", "layouts")

    def __init__(self, form: Form, now: tuple[int, ...], compiled: Compiled) -> None:
        self.form, self.now, self.compiled, self.paid, self.stale = form, now, compiled, 0.0, False
        self.version = len(form.programs)
        self.lost = compiled.seconds - compiled.scaled(now)
        self.vector = np.array(now, np.int64)
        self.layouts: dict[tuple, tuple] = {}

    @property
    def alone(self) -> bool:
        """Whether these sizes come so often that a program of their own pays."""
        return self.paid > OFTEN * self.compiled.made

    def enter(self, kept: list, given: list, numbers: tuple, fill: float = 0) -> tuple:
        """What the executable takes."""
        form = self.form
        axes = form.axes
        n = len(kept)
        kept = [self._widened(x, a, fill) for x, a in zip(kept, axes[:n], strict=True)]
        given = [self._widened(x, a, fill) for x, a in zip(given, axes[n:], strict=True)]
        form.wasted += self.lost
        self.paid += self.lost + MASKS * self.compiled.seconds + WIDENING
        if len(form.counts) < MANY or self.now in form.counts:
            form.counts[self.now] += 1
        self.stale = self.alone or form.wasted > form.due or self.version != len(form.programs)
        return kept, given, *numbers, self.vector

    def _layout(self, shape: tuple[int, ...], axes: tuple) -> tuple:
        """Of an array of that shape, whose dimensions may be several joined: all dimensions with room and without, the
        part that is in use, and the shapes with room and without as they are outside."""
        found = self.layouts.get((shape, axes))
        if found is None:
            room: list[int] = []
            now: list[int] = []
            wide, short = [], []
            for n, a in zip(shape, axes, strict=True):
                parts = (n,) if a is None else factors(a)
                large = [f.at(self.compiled.sizes) if type(f) is Size else f for f in parts]
                small = [f.at(self.now) if type(f) is Size else f for f in parts]
                room += large
                now += small
                wide.append(math.prod(large))
                short.append(math.prod(small))
            cut = tuple([slice(n) for n in now])
            found = self.layouts[shape, axes] = tuple(room), tuple(now), cut, tuple(wide), tuple(short)
        return found

    def _widened(self, x: Any, axes: tuple, fill: float) -> Any:
        if not any(axes):
            return x
        x = np.asarray(x)
        room, now, cut, shape, _ = self._layout(x.shape, axes)
        if fill != 0:
            fill = True if x.dtype.kind == "b" else 77 if x.dtype.kind in "iu" else fill
        wide = np.full(room, fill, x.dtype) if fill else np.zeros(room, x.dtype)
        wide[cut] = x.reshape(now)
        return wide.reshape(shape)

    def leave(self, outs: Sequence[Any]) -> list:
        """The results without what lies beyond the sizes."""
        axes = self.form.out_axes
        return [self._cut(np.asarray(x), a) if any(a) else x for x, a in zip(outs, axes, strict=False)]

    def _cut(self, x: np.ndarray, axes: tuple) -> np.ndarray:
        room, _, cut, _, shape = self._layout(x.shape, axes)
        return np.array(x.reshape(room)[cut].reshape(shape))
