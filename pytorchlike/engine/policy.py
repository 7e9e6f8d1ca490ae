"""Which tier serves a trace, one fused program or one kernel per operation; and whether a kernel is worth compiling."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any, NamedTuple

from . import causes
from .config import config
from .errors import user_location
from .meta import LEAF, Value, is_spread
from .op import without_numbers
from .rolled import recurs
from .trie import Call, Input, Reverse, State

#: Fused programs of more than a few calls that were compiled, and how many of them were used again.
_built = _reused = 0

#: When that many more programs were never used again than were, the next structures are taken to be dynamic.
PATIENCE = 6
#: Calls of a program that says nothing of that: what a model does before the loop, a value that is printed.
BRIEF = 16
#: A trace seen that often is compiled whole even among dynamic ones.
HOT = 3
#: Traces of the same operations of which so many versions have been compiled are taken to be dynamic.
VERSIONS = 4
#: One with a reverse pass that comes so often in a row is a training on its own, whatever came before it.
IN_A_ROW = 3


#: Traces of the same operations that are known by their shapes.
KNOWN = 256
#: A trace with a reverse pass of so many calls, of few kinds, is run once before it is compiled: it may be a tree.
LONG = 300
#: So is one of so many calls whose weights meet ever other shapes, as when sequences of a batch end one by one; and one
#: on small arrays whose weights are used so often each: a loop, over another number of steps the next time.
UNEVENLY, TIMES = 100, 4

#: An array that is cut into so many pieces is left to NumPy, where nothing else is done: XLA needs 10 ms for each.
PIECES = 64

#: Traces of a family that are looked at before it is taken to be without end.
VISITS = 24
#: Entries that a piece of a graph has at least, when graphs are executed piece by piece, see ``divide``.
PIECE = 12
#: From so many entries on, it ends at a product also where that goes on with what the piece has made.
ROUND = 48
#: A piece is made longer, up to so many entries, when the same call came after it so often, and never another one.
SURE, LONGEST = 8, 48
#: A piece is compiled when it has been executed so often that it is this many calls in all.
WORTH = 1500

#: An operation is interpreted for new shapes when so many kernels of it exist already.
SHAPES = 4
#: Elements of the largest array up to which NumPy is tried first.
SMALL = 40_000
#: Results of a kernel up to which it is compiled: each takes XLA 20 ms (the gradient of joining 480 columns: 9 s).
MANY = 64
#: Elements of an array above which graphs whose shapes vary are not executed piece by piece.
LARGE = 2_000_000
#: Nanoseconds that one interpretation may take, by an estimate that is two or three times too high for large arrays;
#: a compilation for shapes that do not come again takes as long, and longer.
SLOW = 60e6
#: Seconds spent on interpreting a kernel beyond what it would take when compiled, after which it is: about what that
#: costs, so that the sum is never much more than twice the better choice; see ``rent``.
RENT = 0.05
#: Seconds of compilation for an equation of a kernel of very many, as the update of hundreds of weights is.
EQUATION = 2e-4
#: What a compiled kernel needs for a call, in seconds, and for a byte.
_CALL, _BYTE = 50e-6, 2e-10
#: Long traces of one family, told apart by their shapes, from which on another length of the loops in them is expected
#: each time, as of sentences: one that comes a second time is not compiled for that.
FEW = 3
#: Seconds of compilation per operation of a trace; one that is not expected to come again is compiled when it has taken
#: that much operation by operation, and as much as a compilation took before.
COMPILATION = 0.008
#: The same of all traces of a family together, for a program that serves them all.
SHARED = 0.004
#: How much of that must have been spent on those that the program would serve; of the first, on a single reverse pass.
PART = 0.25

#: Seconds for each call of a trace that NumPy may need beyond what XLA would, where others of its family were met and
#: hardly one of them twice: a third of what XLA needs to compile it. It is given up beyond twice that.
AT_FIRST = 0.012
#: Seconds for an element of a result, forward and backward, and of what an update replaces.
_ELEMENT, _UPDATED = 6e-9, 12e-9
#: Seconds of compiling a kernel.
KERNEL = 0.02
#: What forms that never come twice must have cost by NumPy before the next is compiled, of what the last compilation
#: took, and where arrays are large, since such trainings last; and seconds of that for each call, if there was none; of
#: a large one with a reverse pass.
RENTED, RENTED_LARGE, LIKELY, LIKELY_LARGE = 1.0, 0.3, 0.02, 0.05

#: How often NumPy evaluates a trace where nothing is trained; calls of one that it evaluates once where something is.
TWICE, WHOLE = 2, 64

_kernels: dict[Any, int] = {}
#: What compiling a kernel of a kind took the last time, where that was more.
_prices: dict[Any, float] = {}


def least(nbytes: float) -> float:
    """Seconds that a compiled kernel needs, too, so that they are no rent."""
    return _CALL + _BYTE * nbytes


def kind_of(op: Any, what: str) -> Any:
    """What kernels are alike by that take about as long to compile; ``what``: 'backward' or ''."""
    return (op.name, what) if op.walk is None else frozenset([c.op.name for c in op.info.plan])


def rent(kind: Any, least: float | None = None) -> float:
    """Seconds that interpreting a kernel of that kind may cost before it is compiled: what another one has taken.

    A loop takes XLA twenty times as long as what most kernels are, and it is compiled for each length.
    """
    return max(_prices.get(kind, 0.0), RENT if least is None else least)


def priced(kind: Any, seconds: float) -> None:
    """Take note of what compiling a kernel has taken."""
    if seconds > RENT:
        if len(_prices) > 2_000:
            _prices.clear()
        _prices[kind] = seconds
    else:
        _prices.pop(kind, None)


#: By operation, the values that each of its numbers has had so far, see ``trace``.
variety: dict[tuple, list[set]] = {}
#: Numbers that differed from visit to visit of a place of the trie: (operator, argument, line of the program).  A loop
#: over parameters that takes a new rate at each step would else be found out one by one, by as many programs.
moving: set[tuple] = set()


def moves(op: Any, arguments: Iterable[int], where: Any) -> None:
    """Note numbers that differ where they were recorded before; see :data:`moving`."""
    if len(moving) > 20_000:
        moving.clear()
    moving.update((op, k, where) for k in arguments)


#: By line of the program, sizes that were found in data there: one or two.
_sizes: dict[tuple[str, int], set[int]] = {}


def found(value: Value, n: int) -> None:
    """Take note of a size that was read off data, as the number of elements under a mask; ``value`` has it."""
    if len(_sizes) > 20_000:
        _sizes.clear()
    seen = _sizes.setdefault(user_location(), set())
    if len(seen) < 2:
        seen.add(n)
    if len(seen) > 1:
        value.found = True


def sized_by_data(state: State, inputs: Iterable[Value]) -> None:
    """Take note of what a trace takes: where a size was found in data, the next such trace will have another one."""
    if any(hasattr(v, "found") for v in inputs):
        _profile(state).family.by_data = True


def interprets(kind: Any, place: Any, size: int, results: int = 1) -> bool:
    """Whether a kernel met for the first time is left to NumPy.

    kind: what it is a kernel of, shapes and static arguments aside;  size: elements of its largest array;  results: how
    many arrays it gives.
    """
    if config.tier == "interpret":
        return getattr(place, "platform", None) == "cpu"
    if config.tier != "auto" or getattr(place, "platform", None) != "cpu":
        return False
    if len(_kernels) > 50_000:
        _kernels.clear()
    count = _kernels[kind] = _kernels.get(kind, 0) + 1
    return count > SHAPES or size <= SMALL or results > MANY


def varies(op: Any, place: Any) -> bool:
    """Whether an operation has been recorded on so many shapes that NumPy will have to evaluate it; notes one more."""
    if config.tier not in ("auto", "interpret") or getattr(place, "platform", None) != "cpu":
        return False
    count = _kernels[op] = _kernels.get(op, 0) + 1
    return count > 2 * SHAPES


def waits(state: State) -> bool:
    """Whether a compilation would not have paid yet: other forms come all the time, and NumPy has not cost much."""
    profile = _profile(state)
    family = profile.family
    others = family.varied or (family.dynamic and profile.large)
    if not profile.light or family.dear or profile.repeats or not others:
        return False
    likely = LIKELY_LARGE if profile.reverse and profile.calls >= WHOLE else LIKELY
    share = RENTED_LARGE if profile.large else RENTED
    return family.rent < share * (family.price or likely * profile.calls)


def budget(state: State) -> float:
    """Seconds that NumPy may need for a trace beyond what XLA would, when it is evaluated for the first time.

    The way back takes XLA longer to compile, and the estimate is too high by so much.
    """
    profile = _profile(state)
    return (2 if training or not profile.reverse else 6) * AT_FIRST * profile.calls


def whole(reverse: Any) -> bool:
    """Whether a reverse pass over an executed trace, which is part of one run operation by operation, is compiled.

    One through an episode or a sentence is long, and the next one has another length: it must have cost its share.
    """
    if config.tier in ("interpret", "ops"):
        return False
    reverse.met += 1
    least = PART * COMPILATION * len(reverse.plan)
    return reverse.met > HOT and reverse.spent > rent(kind_of(reverse.op, ""), least)


#: Whether something has been made that trains models, see :func:`trains`.
training = False


def trains() -> None:
    """Models are going to be trained: their steps come again, so all but large ones are compiled at first sight."""
    global training
    training = True


def _may_be_all(profile: Profile) -> bool:
    """Whether a trace is left to NumPy for now, as it may never come again: a model is looked at, not trained.

    The second time as well, so that what is called twice gives the same bits.  In a training that is a batch on which a
    model is evaluated, unless what is trained has been saved; what is on the tape is half of a step.
    """
    if profile.updates or profile.calls < BRIEF or profile.met.seen > TWICE:
        return False
    if training and (_resumes or profile.reverse or profile.taped):
        return False
    return profile.light and not profile.family.dear


#: Whether what has been trained so far was saved, or is loaded, see :func:`resumes`.
_resumes = False


def resumes() -> None:
    """An optimizer's state is saved or loaded: from here on all that is trained is compiled at first sight.

    So a run that goes on and one that is resumed give the same bits.
    """
    global _resumes
    _resumes = True


def _may_vary(profile: Profile) -> bool:
    """Whether a large step is left to NumPy the first time: the next one may have other sizes."""
    if _resumes or not training or profile.calls < WHOLE or profile.met.seen > 1:
        return False
    return profile.light and profile.family.fresh == 1 and not profile.family.dear


def _worth(met: int, calls: int) -> bool:
    return met > HOT and met * calls > WORTH


def choose(state: State) -> str:
    """'fused', 'ops', or 'first' (by NumPy as long as that is quick) for a trace without a program."""
    if config.tier in ("fused", "ops"):
        return config.tier
    if config.tier == "interpret":
        return "ops"
    if is_spread(state.place):  # communication is XLA's to arrange
        return "fused"
    profile = _profile(state)
    family, met = profile.family, profile.met
    met.seen += 1
    family.row = family.row + 1 if family.last is met else 1
    family.last = met
    if met.seen == 1 and profile.passing and not (profile.heavy and (profile.calls >= WHOLE or _may_be_all(profile))):
        return "ops"
    if profile.pieces:
        return "fused" if met.spent > COMPILATION * profile.pieces else "ops"
    if not state.programs:
        if state.content & UNEVEN:
            return "ops"
        if state.content:  # what ends such a graph goes back through pieces, of another number each time
            worth = met.spent > COMPILATION * profile.calls if profile.reverse else _worth(met.seen, profile.calls)
            return "fused" if worth else "ops"
        family.visits += 1
        varies = profile.small and (family.dynamic or (profile.long and len(family.met) > FEW)) and not profile.repeats
        if varies and family.endless:
            if family.recurs is None:
                family.recurs = recurs(state.entries())
            if not family.recurs:  # rounds of loops are one kernel, however many there are
                divide(state)
        if waits(state):
            return "first"
        if profile.grows or varies:
            return "fused" if met.spent > max(COMPILATION * profile.calls, family.price) else "ops"
        if profile.long and met.seen == 1:
            return "ops"
        if _may_be_all(profile) or _may_vary(profile):
            return "first"
    if _built - _reused >= PATIENCE + _reused and met.seen < HOT:
        return "ops"
    return "fused"


#: Whether any graphs are executed piece by piece.
dividing = False
#: What a piece has in it: an operation at which pieces begin, one whose shapes change all the time, and an update in
#: place, as of gradients where a graph has ended.
HEAVY, UNEVEN, UPDATED = 1, 2, 4
#: By operation and line, the shapes that it has had there; for the lines at which such graphs are recorded.
_lines: dict[tuple, set] = {}
_divided: set[tuple] = set()


def divide(state: State) -> None:
    """Have graphs like this one executed piece by piece from now on.

    Trees and loops of unknown length never come again, but they are made of the same pieces: a trace that ends where
    the next one begins is found again, and runs as one program, forward and backward.  (Twenty different lengths which
    come back were measured to be cheaper as a whole, each compiled when it has cost as much.)
    """
    global dividing
    dividing = True
    known = len(_divided)
    for e in state.entries():
        if type(e) is Call:
            _divided.add(e.location)
            if e.op.heavy:
                e.model.divides = True
    if len(_divided) > known:  # what was recorded whole would go on being found, as far as another graph is like it
        state.root.forget_calls(lambda c: c.location in _divided)


def content(op: Any, static: Any, metas: tuple, model: Call | None, location: tuple) -> int:
    """What a call adds to the piece that it is recorded in."""
    if location not in _divided:
        return 0
    if len(_lines) > 20_000:
        _lines.clear()
    key = (op, static, location, *metas[: op.inplace], *[m for m in metas if m.grad == LEAF])
    seen = _lines.get(key)
    if seen is None:
        seen = _lines[key] = set()
    if len(seen) <= SHAPES:
        seen.add(metas)
        if len(seen) <= SHAPES:
            return (HEAVY if model is not None and model.divides else 0) | (UPDATED if op.inplace else 0)
    return UNEVEN


def ends(at: State, op: Any, adds: int, pending: bool) -> bool:
    """Whether a piece ends before a call that adds this; ``pending``: whether the call rests on something in it."""
    if at.content & UNEVEN:
        return bool(adds & HEAVY) or (op.joins and not adds)
    if at.content & UPDATED and not pending:
        return True
    if at.content & HEAVY:
        begins = op.joins or not pending
        long = at.depth >= (PIECE if begins else ROUND)
        return adds == UNEVEN or (long and (begins or bool(adds & HEAVY)))
    return False


def goes_on(at: State, op: Any, static: Any, ins: tuple) -> bool:
    """Whether a trace may go on where a piece ended before, since this call always comes then; takes note of it."""
    base = at.before_inputs()
    if at.cut and base.follows is None:  # the trace was cut for another reason
        return False
    call = (op, static, tuple([i if i.__class__ is int else i.__class__ for i in ins]))
    if base.follows is None:
        base.follows = [call, 0]
    follows = base.follows
    if follows[0] != call:
        base.follows = [None, 0]
        return False
    follows[1] += 1
    if follows[1] < SURE or at.depth > LONGEST or at.content & UNEVEN:
        return False
    at.cut = False
    return True


def ran(state: State, seconds: float) -> bool:
    """Take note of an execution operation by operation; whether the trace need not be remembered."""
    profile = state.profile
    if profile is None:
        return False
    profile.family.spent += seconds
    profile.family.rent += seconds
    met = profile.met
    if met.seen > 1:  # the first time much is prepared
        met.spent += seconds
    return met.seen == 1 and profile.family.dynamic and not state.cut


def costly(state: State, spent: float) -> bool:
    """Whether traces of these operations have cost, operation by operation, what a program for all sizes of them would.

    spent: seconds, on those that differ in sizes alone: a good part of that, or others of them are what costs.
    """
    profile = _profile(state)
    price = SHARED * profile.calls
    return profile.family.spent > price and spent > PART * price and not waits(state)


class Met:
    """A trace of a family, as far as it is known by its shape.

    seen, spent: how often it was executed without a program, and in how many seconds.
    """

    __slots__ = ("seen", "spent")

    def __init__(self) -> None:
        self.seen = 0
        self.spent = 0.0


class Family:
    """Traces made of the same operations.

    built: how many programs were compiled for them;  used: how many of those were used again.
    visits: how often one of them was looked at that had no program;  fresh: how many of them had not been met before.
    met: the traces without a program, by their calls and shapes;  structures: by their calls alone, a few;  graphs: by
    their calls without sizes, a few, and the shapes of what the first of each took.
    resized: whether another one took other sizes than a smaller batch would be.
    spent: seconds in which they were executed operation by operation;  rent: of those, since the last compilation.
    price: seconds that one took.  dear: whether NumPy was found to take too long.  recurs: whether they are loops of
    ever other lengths, once that was asked.  by_data: whether they take sizes that were found in data.
    last: the one that was looked at last;  row: how often in a row.
    """

    __slots__ = ("built", "used", "visits", "fresh", "met", "structures", "graphs", "spent", "rent", "price", "dear",
                 "recurs", "by_data", "resized", "last", "row")  # fmt: skip

    def __init__(self) -> None:
        self.built = self.used = self.visits = self.fresh = 0
        self.spent = self.rent = self.price = 0.0
        self.dear = self.by_data = self.resized = False
        self.recurs: bool | None = None
        self.last: Met | None = None
        self.row = 0
        self.met: OrderedDict[int, Met] = OrderedDict()
        self.structures: set[int] = set()
        self.graphs: dict[int, tuple] = {}

    def meet(self, structure: int, shapes: int, graph: int, taken: tuple = ()) -> Met:
        """The trace of that structure and those shapes; ``taken``: of its inputs."""
        if len(self.structures) < VERSIONS:
            self.structures.add(structure)
        if len(self.graphs) < VERSIONS or graph in self.graphs:
            before = self.graphs.setdefault(graph, taken)
            self.resized = self.resized or not _of_a_batch(before, taken)
        found = self.met.get(shapes)
        if found is None:
            found = self.met[shapes] = Met()
            self.fresh += 1
            while len(self.met) > KNOWN:
                self.met.popitem(last=False)
        return found

    @property
    def dynamic(self) -> bool:
        """Whether the next of these traces is expected to be another one."""
        few = len(self.met) > VERSIONS * self.used
        ever_other = len(self.met) >= 4 * VERSIONS * (1 + self.used)
        return self.built >= VERSIONS or ever_other or (few and (self.built >= 2 or len(self.structures) >= 3))

    @property
    def varied(self) -> bool:
        """Whether these traces have come in several forms and hardly any of them twice; or in two, of other lengths; or
        will, as their sizes are found in data.

        What is compiled at first sight gives the same bits in a run that is resumed; so do steps that repeat, with a
        smaller batch at the end of an epoch; and lengths that come again, where that matters.
        """
        other_lengths = (self.by_data or self.resized) and not (self.used and _resumes)
        return other_lengths or (len(self.met) >= FEW and len(self.met) > VERSIONS * self.used)

    @property
    def endless(self) -> bool:
        """Whether hardly any of these traces has come a second time, and they do not differ in sizes alone."""
        return self.visits >= VISITS and 4 * self.fresh >= 3 * self.visits and len(self.graphs) >= VERSIONS


def _of_a_batch(shapes: tuple, others: tuple) -> bool:
    """Whether inputs have shapes like others but for the first dim, by which all are so many times as large; no larger
    than those before them, since an epoch ends with a smaller batch: the first dim is a length otherwise.
    """
    ratios = set()
    for a, b in zip(shapes, others, strict=False):
        if a != b:
            if a[1:] != b[1:] or not (a and b):
                return False
            ratios.add(a[0] / b[0] if b[0] else math.inf)
    return len(ratios) < 2 and (_resumes or min(ratios, default=1.0) >= 1)


class Profile(NamedTuple):
    """What a trace looks like: number of calls, whether arrays are small and there is a reverse pass, its family, what
    is known of it there.

    taped: whether a call is on the tape.
    grows: hardly any operation meets the same shapes twice, as when text is generated token by token.
    long: many calls of few kinds, or of weights that meet ever other shapes, and a reverse pass.
    passing: no reverse pass, and hardly ever run again: few kinds, as in the filling of parameters, which are quicker
    to compile one by one; or many calls, of arrays that NumPy treats quickly: the first tokens of a generated text are
    all different from the rest.
    heavy: whether there are products or convolutions.
    pieces: what small arrays are cut into, where most calls do that, as a loop over the rows of a tensor does, or 0.
    updates: whether leaves are written to, as by a training without an optimizer.
    light, large: whether NumPy would be quick beside a compilation; whether some arrays would be left to XLA otherwise.
    """

    calls: int
    small: bool
    reverse: bool
    taped: bool
    grows: bool
    long: bool
    passing: bool
    heavy: bool
    pieces: int
    updates: bool
    light: bool
    large: bool
    family: Family
    met: Met

    @property
    def repeats(self) -> bool:
        """Whether it has come several times in a row, and will go on.

        Not without a reverse pass: the steps of a decoder do as well, and the next text is longer.  Nor loops, which
        take long to compile.
        """
        return self.reverse and not self.long and self.family.last is self.met and self.family.row >= IN_A_ROW


_families: OrderedDict[frozenset, Family] = OrderedDict()


def _profile(state: State) -> Profile:
    found = state.profile
    if found is None:
        found = state.profile = _look(state)
    return found


def _look(state: State) -> Profile:
    shapes: dict[Any, set] = {}
    uses: Counter = Counter()
    kinds: set[tuple] = set()
    largest, walked, work = 0, 0, 0.0
    reverse = taped = compiled_by_user = fills = heavy = updates = False
    cut: dict[tuple, list[int]] = {}  # (operation, slot of what it takes) -> results, elements of all of them, of that
    structure, sizes, graph, taken = [], [], [], []
    for e in state.entries():
        if type(e) is Reverse:
            reverse = True
        elif type(e) is Input:
            taken.append(e.meta.shape)
        elif type(e) is Call:
            op, taped = e.op, taped or e.tracked
            compiled_by_user = compiled_by_user or op.spliced is not None
            if op.walk is not None:  # the way back through an executed trace, which is as long as that
                reverse = True
                walked += len(op.info.plan)
                kinds.update([(c.kernel, c.metas) for c in op.info.plan])
                op = op.name
            elif op.inplace and not op.differentiable:  # an update: trainings with other options are other families
                op = (op, e.static)
            uses[op] += 1
            shapes.setdefault(op, set()).add(e.metas)
            kinds.add((e.kernel, e.metas))
            updates = updates or (e.op.inplace and not e.op.alias and not e.op.parts and e.metas[0].grad == LEAF)
            fills, heavy = fills or e.op.parts is not None, heavy or e.op.heavy
            structure.append((e.kernel, e.slots))
            sizes.append(e.metas)
            graph.append((op, without_numbers(e.kernel.static, []), e.slots))
            if len(e.slots) == 1:
                of = cut.setdefault((e.op, e.slots[0]), [0, 0, e.metas[0].size])
                of[0] += len(e.outs)
                of[1] += sum([m.size for m in e.outs])
            elements = 0
            for m in e.outs:
                elements += m.size
                if m.size > largest:
                    largest = m.size
            work += elements * (_UPDATED if op.__class__ is tuple else _ELEMENT)
    small = largest <= LARGE and getattr(state.place, "platform", None) == "cpu"
    calls = uses.total() + walked
    many = sum(n for op, n in uses.items() if len(shapes[op]) >= 2 * SHAPES)
    grows = small and not reverse and calls >= 100 and 2 * many > calls
    key = frozenset([*shapes, reverse])
    family = _families.get(key)
    if family is None:
        family = _families[key] = Family()
        while len(_families) > config.max_kernels:
            _families.popitem(last=False)
    made_of = hash(tuple(structure))
    met = family.meet(made_of, hash((made_of, *sizes)), hash(tuple(graph)), tuple(taken))
    long = reverse and calls >= LONG and calls >= 6 * len(kinds)
    if reverse and small and calls >= UNEVENLY and not long:
        uses = _uses_of_weights(state)
        loops = largest <= SMALL and sum(map(len, uses)) >= TIMES * len(uses)
        long = bool(uses) and (loops or _uneven(uses))
    to_compile = _of_any_shape(state) if fills and not heavy else kinds
    few_kinds = calls >= 6 and 3 * len(to_compile) <= calls
    passing = not reverse and (few_kinds or (small and calls >= UNEVENLY and largest <= SMALL))
    pieces = sum([n for n, made, whole in cut.values() if n >= PIECES and made <= whole])
    if reverse or not small or largest > SMALL or 2 * pieces <= calls:
        pieces = 0
    light = not compiled_by_user and work < AT_FIRST * calls and getattr(state.place, "platform", None) == "cpu"
    return Profile(calls, small, reverse, taped, grows, long, passing, heavy, pieces, updates, light, largest > SMALL,
                   family, met)  # fmt: skip


def _of_any_shape(state: State) -> set[Any]:
    """The kinds of calls of a trace that fills parameters; one for all shapes where that is compiled once, or never."""
    calls = [e for e in state.entries() if type(e) is Call]
    return {e.op if not e.slots or e.op.alias or e.op.parts else (e.kernel, e.metas) for e in calls}


def _uses_of_weights(state: State) -> list[list]:
    """For each operator and the weights that it takes together, what shapes these were met by, call by call.

    On the way back through executed traces those weights count that it needs.
    """
    uses: dict[tuple, list] = {}

    def note(call: Call, name: Any) -> None:
        leaves = [name(s) for s, m in zip(call.slots, call.metas, strict=True) if m.grad == LEAF]
        taken = tuple([s for s in leaves if s is not None])
        if taken:
            uses.setdefault((call.op, taken), []).append(call.metas)

    for e in state.entries():
        if type(e) is Call:
            if e.op.walk is None:
                note(e, int)
            else:
                here = dict(zip(e.op.info.needs, e.slots, strict=False))
                for c in e.op.info.plan:
                    note(c, here.get)
    return list(uses.values())


def _uneven(uses: list[list]) -> bool:
    """Whether most calls that take weights are of weights that meet ever other shapes."""
    uneven = sum(len(metas) for metas in uses if len(set(metas)) > SHAPES)
    return 2 * uneven > sum(map(len, uses))


def compiled(state: State, program: Any) -> None:
    """Take note of a compilation."""
    global _built
    profile = _profile(state)
    program.brief = profile.calls < BRIEF
    program.family = profile.family
    program.family.built += 1
    if not program.brief:
        _built += 1


def too_dear(state: State) -> None:
    """Take note that NumPy takes too long for traces of these operations."""
    _profile(state).family.dear = True


def paid(state: State, seconds: float) -> None:
    """Take note of what a compilation has cost."""
    family = _profile(state).family
    family.price, family.rent = max(family.price, seconds), 0.0


def used_again(program: Any) -> None:
    """Take note that a program served a second time, or its parts did."""
    global _reused
    if program.family is not None:
        if not program.brief:
            _reused += 1
        program.family.used += 1
        program.family = None


def reset() -> None:
    """Forget what was seen: the next traces are judged as in a new process."""
    global _built, _reused, dividing, training, _resumes
    _built = _reused = 0
    dividing = training = _resumes = False
    _lines.clear()
    _divided.clear()
    _kernels.clear()
    _prices.clear()
    _families.clear()
    _sizes.clear()
    variety.clear()
    moving.clear()
    causes.reset()
