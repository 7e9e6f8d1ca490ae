"""The trie of traces: every recorded operation is one step from a state to the next."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from .contexts import Context
from .errors import user_location
from .meta import INTERIOR, Meta, Mode
from .op import Kernel, Op, Wide

_clock = itertools.count(1)


class Call:
    """A recorded operation.

    ins: per argument a slot (int), ``(type, value)`` of a Python number, a :class:`~.op.Wide` number, or None.
    metas: of the slots among ``ins``, in order.  first, outs: slots ``first … first + len(outs) - 1`` and their metas.
    """

    __slots__ = ("op", "static", "ins", "slots", "metas", "first", "outs", "mode", "location", "kernel", "wrt", "place",
                 "out_slots", "wrt_slots", "tracked", "run", "pulls", "model", "divides", "context",
                 "checks", "lies")  # fmt: skip

    def __init__(self, op: Op, static: Any, ins: tuple, metas: tuple, first: int, outs: tuple, mode: Mode,
                 location: tuple[str, int], kernel: Kernel, place: Any, checks: tuple = ()) -> None:  # fmt: skip
        self.op, self.static, self.ins, self.metas, self.first, self.outs = op, static, ins, metas, first, outs
        self.mode, self.location, self.kernel, self.place = mode, location, kernel, place
        #: what it demands of its data
        self.checks = checks
        #: the slots among ``ins``; those that require gradients, and their positions among the kernel's arrays
        self.slots = tuple([i for i in ins if type(i) is int])
        self.wrt_slots = tuple([s for s, m in zip(self.slots, metas, strict=True) if m.grad])
        self.wrt = self._positions() if self.wrt_slots else ()
        self.out_slots = range(first, first + len(outs))
        #: whether the tape goes through this call
        self.tracked = bool(self.wrt) and any(m.grad == INTERIOR for m in outs)
        #: compiled kernels, once the call has run by itself: forward, and reverse by which cotangents are present
        self.run: Any = None
        self.pulls: Any = None
        #: the first call of its kind, which shares what does not depend on slots
        self.model = self
        #: of models: whether graphs that never come again are executed piece by piece at such calls
        self.divides = False
        #: where in the user's program it was recorded first, see ``contexts``
        self.context: Context | None = None
        #: how PyTorch's result would lie in memory, for ``tensor.lying``; False until that is asked
        self.lies: Any = False

    def again(self, ins: tuple, first: int, mode: Mode, location: tuple[str, int]) -> Call:
        """Another call of the same kind: the same operation on arguments with the same metas."""
        c = object.__new__(Call)
        c.op, c.static, c.metas, c.outs, c.kernel, c.place = (
            self.op, self.static, self.metas, self.outs, self.kernel, self.place)  # fmt: skip
        c.wrt, c.tracked, c.run, c.pulls, c.model = self.wrt, self.tracked, self.run, self.pulls, self
        c.checks = self.checks
        c.ins, c.first, c.mode, c.location, c.context, c.lies = ins, first, mode, location, None, False
        c.slots = slots = tuple([i for i in ins if i.__class__ is int])
        c.wrt_slots = tuple([s for s, m in zip(slots, self.metas, strict=True) if m.grad]) if self.wrt else ()
        c.out_slots = range(first, first + len(self.outs))
        return c

    @property
    def cut(self) -> bool:
        """Whether gradients stop at the call: ``detach``, or what was recorded without gradients."""
        return bool(self.wrt_slots) and not any(m.grad for m in self.outs)

    @property
    def shows(self) -> bool:
        """Whether the result is a part of one array, which the host has at hand."""
        return self.op.part is not None and len(self.slots) == 1 and getattr(self.place, "platform", None) == "cpu"

    def stopped(self, array: Any) -> Any:
        """A result, for JAX to differentiate what follows as recorded."""
        if not self.cut:
            return array
        from jax import lax

        return lax.stop_gradient(array)

    def _positions(self) -> tuple[int, ...]:
        wrt, k, s = [], 0, 0
        for i in self.ins:
            if type(i) is int:
                if self.metas[s].grad:
                    wrt.append(k)
                s += 1
                k += 1
            elif type(i) is Wide:
                k += 1
        return tuple(wrt)

    def __repr__(self) -> str:
        return f"%{self.first}:{len(self.outs)} = {self.op.name}{self.ins}"


class Input:
    """A concrete value that takes part."""

    __slots__ = ("meta", "first")

    def __init__(self, meta: Meta, first: int) -> None:
        self.meta, self.first = meta, first


class Reverse:
    """A reverse pass over the calls before it.

    roots: slots; seeds: slot of the cotangent of each, or None for ones.  plan: the calls to go through, last first.
    outs: slots whose cotangents come out, with their metas in ``out_metas``; results take slots from ``first`` on.
    freed: the calls whose graph is given up.
    """

    __slots__ = ("roots", "seeds", "plan", "sources", "outs", "first", "freed", "location", "kept")

    def __init__(self, roots: tuple, seeds: tuple, plan: tuple, sources: tuple, outs: tuple, first: int,
                 freed: frozenset, location: tuple[str, int]) -> None:  # fmt: skip
        self.roots, self.seeds, self.plan, self.sources, self.outs = roots, seeds, plan, sources, outs
        self.first, self.freed, self.location = first, freed, location

    @property
    def out_slots(self) -> range:
        return range(self.first, self.first + len(self.outs))

    @property
    def slots(self) -> tuple[int, ...]:
        return tuple(s for s in self.seeds if s is not None)


class Located(dict):
    """Following states, told apart by the line of the user's program that records."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((key, user_location()), default)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__((key, user_location()))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__((key, user_location()), value)

    def pop(self, key: Any, default: Any = None) -> Any:
        return super().pop((key, user_location()), default)


def _next_of(parent: State | None, entry: Any) -> dict:
    mode = entry if type(entry) is Mode else None
    located = mode.located if mode is not None else parent is not None and type(parent.next) is Located
    return Located() if located else {}


class State:
    """A node of the trie: what has been recorded so far, and how it goes on.

    next: the following states by key.
    entry: what led here (Call, Input, a tuple of Inputs, Reverse, Mode or None at a root).
    meta: of the result when the entry has one, else a tuple of metas.
    counts: numbers of the trace that are run-time inputs (ints, floats, complexes).
    n: number of slots used so far.  programs: executables of the trace that ends here, by live slots.
    endings: which slots were live, by the handles' reference counts.
    profile: what ``policy`` saw in it.
    cut: whether what is not known to follow begins another trace.  content: of what ``policy`` divides by.
    ended: where in the user's program it was executed first.
    follows: where a piece ended, what came next and how often in a row, see ``policy.goes_on``.
    sized: its kin, its structure and its sizes, see ``padded``.
    """

    __slots__ = ("next", "parent", "entry", "meta", "n", "depth", "nbytes", "place", "programs", "endings", "history",
                 "stamp", "cut", "content", "follows", "graph_", "key", "profile", "counts", "ended",
                 "sized")  # fmt: skip

    def __init__(self, parent: State | None, key: Any, entry: Any, meta: Any, n: int, nbytes: int, place: Any) -> None:
        plain = parent is not None and entry.__class__ is not Mode and parent.next.__class__ is dict
        self.next: dict = {} if plain else _next_of(parent, entry)
        self.parent, self.key, self.entry, self.meta, self.n, self.nbytes, self.place = (
            parent, key, entry, meta, n, nbytes, place)  # fmt: skip
        self.depth = 0 if parent is None else parent.depth + 1
        self.programs: dict | None = None
        self.endings: dict | None = None
        self.history: Any = None
        self.stamp = 0
        self.cut = False
        self.follows: list | None = None
        self.content = 0 if parent is None else parent.content
        self.profile: Any = None
        self.counts: tuple[int, int, int] = (0, 0, 0) if parent is None else parent.counts
        self.graph_: Graph | None = None
        self.ended: Context | None = None
        self.sized: tuple | None = None

    def before_inputs(self) -> State:
        """The state before the inputs that came last."""
        state = self
        while type(state.entry) is Input or (type(state.entry) is tuple and state.entry):
            state = state.parent  # type: ignore[assignment]
        return state

    @property
    def root(self) -> State:
        """Where the trace began."""
        state = self
        while state.parent is not None:
            state = state.parent
        return state

    @property
    def last_call(self) -> Call | None:
        """What was recorded last, reverse passes aside."""
        state: State | None = self
        while state is not None and type(state.entry) is not Call:
            state = state.parent
        return None if state is None else state.entry  # type: ignore[return-value]

    def forget_calls(self, which: Callable[[Call], bool]) -> None:
        """Let such calls be recorded anew, wherever they follow, but where a program has served twice."""
        states = [self]
        for state in states:
            states.extend(state.following())
        serving: set[State] = set()
        for state in reversed(states):
            served = any(p.uses for p in (state.programs or {}).values())
            if served or not serving.isdisjoint(state.following()):
                serving.add(state)
        for state in states:
            gone = {c for c in state.following() - serving if type(c.entry) is Call and which(c.entry)}
            if gone:
                kept = {k: c for k, c in state.next.items() if type(c) is not State or c not in gone}
                state.next = type(state.next)(kept)

    def following(self) -> set[State]:
        """The next states, each once: short cuts lead to the same state under another key."""
        return {c for c in self.next.values() if type(c) is State}

    def entries(self) -> list:
        """Everything recorded from the root to here, in order."""
        out, s = [], self
        while s is not None:
            if s.entry.__class__ is tuple:  # inputs that came together
                out.extend(reversed(s.entry))
            elif s.entry is not None:
                out.append(s.entry)
            s = s.parent
        out.reverse()
        return out

    def graph(self) -> Graph:
        if self.graph_ is None:
            self.graph_ = Graph(self)
        return self.graph_

    def touch(self) -> None:
        self.stamp = next(_clock)


class Graph:
    """A trace laid out for analysis.  goes_on: whether some input has a way back of its own."""

    __slots__ = ("entries", "producer", "metas", "freed", "n", "cache", "goes_on")

    def __init__(self, state: State) -> None:
        self.entries = state.entries()
        self.n = state.n
        self.cache: dict = {}
        self.producer: dict[int, Any] = {}
        self.metas: dict[int, Meta] = {}
        self.freed: set[Call] = set()
        self.goes_on = False
        for e in self.entries:
            kind = type(e)
            if kind is Call:
                for s, m in zip(e.out_slots, e.outs, strict=True):
                    self.producer[s] = e
                    self.metas[s] = m
            elif kind is Input:
                self.producer[e.first] = e
                self.metas[e.first] = e.meta
                self.goes_on = self.goes_on or e.meta.grad == INTERIOR
            elif kind is Reverse:
                for s, (_, m) in zip(e.out_slots, e.outs, strict=True):
                    self.producer[s] = e
                    self.metas[s] = m
                self.freed |= e.freed
