"""Which tier serves a trace, one fused program or one kernel per operation; and whether a kernel is worth compiling."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any, NamedTuple

from . import causes
from .config import config
from .trie import Call, Reverse, State

#: Fused programs compiled, and how many of them were used again.
_built = _reused = 0

#: When that many more programs were never used again than were, the next structures are taken to be dynamic.
PATIENCE = 6
#: A trace seen that often is compiled whole even among dynamic ones.
HOT = 3
#: Traces of the same operations of which so many versions have been compiled are taken to be dynamic.
VERSIONS = 4


#: An operation is interpreted for new shapes when so many kernels of it exist already.
SHAPES = 4
#: Elements of an array above which XLA's threads and fusion are worth their compilation.
LARGE = 2_000_000
#: Nanoseconds that one interpretation may take.
SLOW = 20e6
#: Seconds spent on interpreting a kernel, after which it is compiled: about what that costs, so that the sum is never
#: much more than twice the better choice.
RENT = 0.05
#: Seconds of compilation per operation of a trace; one that is not expected to come again is compiled when it has taken
#: that much operation by operation.
COMPILATION = 0.008

_kernels: dict[Any, int] = {}


def interprets(kind: Any, place: Any, size: int) -> bool:
    """Whether a kernel met for the first time is left to NumPy.

    kind: what it is a kernel of, shapes and static arguments aside;  size: elements of its largest array.
    """
    if config.tier == "interpret":
        return getattr(place, "platform", None) == "cpu"
    if config.tier != "auto" or size > LARGE or getattr(place, "platform", None) != "cpu":
        return False
    if len(_kernels) > 50_000:
        _kernels.clear()
    count = _kernels[kind] = _kernels.get(kind, 0) + 1
    return count > SHAPES


def many(kind: Any) -> bool:
    """Whether kernels of a kind exist for many shapes already, see :func:`interprets`."""
    return _kernels.get(kind, 0) > SHAPES


def varies(op: Any, place: Any) -> bool:
    """Whether an operation has been recorded on so many shapes that NumPy will have to evaluate it; notes one more."""
    if config.tier not in ("auto", "interpret") or getattr(place, "platform", None) != "cpu":
        return False
    count = _kernels[op] = _kernels.get(op, 0) + 1
    return count > 2 * SHAPES


def choose(state: State, reason: str) -> str:
    """'fused' or 'ops' for a trace without a program."""
    if config.tier in ("fused", "ops"):
        return config.tier
    if config.tier == "interpret":
        return "ops"
    state.seen += 1
    if state.seen == 1 and _repetitive(state):
        return "ops"
    if not state.programs:
        profile = _profile(state)
        if profile.grows or (profile.small and profile.family.varies(state)):
            return "fused" if state.spent > COMPILATION * profile.calls else "ops"
    if _built - _reused >= PATIENCE + _reused and state.seen < HOT:
        return "ops"
    return "fused"


class Family:
    """Traces made of the same operations.

    built: how many programs were compiled for them;  used: how many of those were used again.
    last, streak: the trace that was executed last, and how often in a row, of those without a program.
    """

    __slots__ = ("built", "used", "last", "streak")

    def __init__(self) -> None:
        self.built = self.used = self.last = self.streak = 0

    def varies(self, state: State) -> bool:
        """Whether the lengths or shapes of these traces change all the time, so that the next will be another one."""
        self.streak = self.streak + 1 if self.last == id(state) else 1
        self.last = id(state)
        return self.streak < HOT and (self.built >= VERSIONS or (self.built >= 2 and not self.used))


class Profile(NamedTuple):
    """What a trace looks like: number of calls, whether arrays are small, its family.

    grows: hardly any operation meets the same shapes twice, as when text is generated token by token.
    """

    calls: int
    small: bool
    grows: bool
    family: Family


_families: OrderedDict[frozenset, Family] = OrderedDict()


def _profile(state: State) -> Profile:
    found = state.profile
    if found is None:
        found = state.profile = _look(state)
    return found


def _look(state: State) -> Profile:
    shapes: dict[Any, set] = {}
    uses: Counter = Counter()
    largest, reverse = 0, False
    for e in state.entries():
        if type(e) is Reverse:
            reverse = True
        elif type(e) is Call:
            uses[e.op] += 1
            shapes.setdefault(e.op, set()).add(e.metas)
            largest = max([largest, *[m.size for m in e.outs]])
    small = largest <= LARGE and getattr(state.place, "platform", None) == "cpu"
    calls = uses.total()
    many = sum(n for op, n in uses.items() if len(shapes[op]) >= 2 * SHAPES)
    grows = small and not reverse and calls >= 100 and 2 * many > calls
    key = frozenset([*shapes, reverse])
    family = _families.get(key)
    if family is None:
        family = _families[key] = Family()
        while len(_families) > config.max_kernels:
            _families.popitem(last=False)
    return Profile(calls, small, grows, family)


def compiled(state: State, program: Any) -> None:
    """Take note of a compilation."""
    global _built
    _built += 1
    program.family = _profile(state).family
    program.family.built += 1


def used_again(program: Any) -> None:
    """Take note that a program served a second time, or its parts did."""
    global _reused
    if program.family is not None:
        _reused += 1
        program.family.used += 1
        program.family = None


def reset() -> None:
    """Forget what was seen: the next traces are judged as in a new process."""
    global _built, _reused
    _built = _reused = 0
    _kernels.clear()
    _families.clear()
    causes.reset()


def _repetitive(state: State) -> bool:
    """Whether a trace without a reverse pass is made of few different operations, as the filling of parameters is:
    compiling those is quicker than compiling all, and it is hardly ever run again."""
    kernels = set()
    calls = 0
    for e in state.entries():
        if type(e) is Reverse:
            return False
        if type(e) is Call:
            calls += 1
            kernels.add((e.kernel, e.metas))
    return calls >= 6 and 3 * len(kernels) <= calls
