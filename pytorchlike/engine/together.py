"""Reverse passes over many executed traces: those that are equal, and do not rest on each other, go as one call.

The loss of an episode goes back through one executed trace for each action that was read, that of a tree through one
for each node.  How many there are, and what rests on what, is another thing each time; what they are is not.  So they
are laid out by levels, as Looks, Herreshoff, Hutchins & Norvig ("Deep learning with dynamic computation graphs", 2017)
and Neubig, Goldberg & Dyer ("On-the-fly operation batching in dynamic computation graphs", 2017) do with single
operations.  What equal ones of a level take is stacked on the host, and one program goes back through all of them.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from . import evaluators
from .config import config
from .errors import let_go
from .meta import LEAF, Meta, Value
from .op import Wide, _apply_vjp, differentiated
from .piles import pile, zeros
from .schedule import walk
from .segment import Freed, Segment, SegmentReverse
from .stats import stats
from .trie import Call, Graph

#: Executed traces from which on they are looked at, and what part of them groups may be at most.
FEW, PART = 8, 2 / 3
#: A program is compiled for a kind of which so many have been met.
MET = 24
#: Bytes of what is stacked for one call, at most, but for a single one.
LARGEST = 1 << 24
#: Bytes of one part from which stacking costs more than a call.
BIG = 1 << 20
#: Bytes of a row up to which rooms are far apart: to compile for another number of rows costs more than to compute it.
SMALL = 1 << 14

_met: dict[Any, int] = {}
_refused: set[tuple] = set()


class Part:
    """An executed trace that a pass goes through.

    ends: what each cotangent that comes out is of: a Leaf, (segment, slot)
    or None;  level: how many come before it at least, those that it rests on; once all are known, how many may, so that
    what nothing waits for (a row of an embedding, at any depth of a tree) is gone through together.
    """

    __slots__ = ("segment", "reverse", "ends", "level")

    def __init__(self, segment: Segment, reverse: SegmentReverse, ends: list, level: int) -> None:
        self.segment, self.reverse, self.ends, self.level = segment, reverse, ends, level

    def taken(self, slot: int) -> Any:
        """The array that is kept of a slot."""
        found = self.segment.inputs.get(slot)
        return self.segment.array(slot) if found is None else found.data

    def leaf(self, slot: int) -> Any:
        """The leaf that entered at a slot, if one did."""
        found = self.segment.inputs.get(slot)
        return found if found is not None and found.meta.grad == LEAF else None

    def taking(self, k: int) -> int:
        """The slot of what is needed, or of a cotangent that comes out, by its position among all of them."""
        reverse = self.reverse
        n = len(reverse.needs)
        return reverse.needs[k] if k < n else reverse.outs[k - n]


def layout(regions: dict[Segment, dict[int, Value]], reverse_of: Any, point: Any) -> list[Part] | None:
    """Everything behind ``regions``, those that rest on others first; None if it must be gone through one by one.

    reverse_of(graph, roots): a SegmentReverse;  point(value): where it is on the tape.
    """
    roots: dict[Segment, dict[int, int]] = {s: dict.fromkeys(given, 0) for s, given in regions.items()}  # with levels
    heap = [(-s.number, s) for s in roots]
    heapq.heapify(heap)
    parts: list[Part] = []
    takes: dict[tuple, Part] = {}  # by point, what goes on from there
    while heap:
        segment = heapq.heappop(heap)[1]
        if segment.watched:
            return None
        levels = roots[segment]
        for reverse in _independent(segment.graph, tuple(sorted(levels)), reverse_of):
            if not _plain(reverse) or not segment.freed.isdisjoint(reverse.plan):
                return None
            level = max([levels[r] for r in reverse.roots])
            ends: list[Any] = []
            for s in reverse.outs:
                v = segment.inputs.get(s)
                if v is None:
                    ends.append(segment.leaves.get(s))
                    continue
                if type(v.node) is Freed:
                    return None
                where, slot = point(v)
                if type(where) is Segment:
                    found = roots.get(where)
                    if found is None:
                        found = roots[where] = {}
                        heapq.heappush(heap, (-where.number, where))
                    found[slot] = max(found.get(slot, 0), level + 1)
                    ends.append((where, slot))
                elif isinstance(where, Value):
                    ends.append(None)
                elif slot:
                    return None
                else:
                    ends.append(where)
            part = Part(segment, reverse, ends, level)
            parts.append(part)
            takes.update(dict.fromkeys([(segment, r) for r in reverse.roots], part))
    last = max([p.level for p in parts], default=0)
    for p in reversed(parts):
        p.level = min([takes[end].level - 1 for end in p.ends if type(end) is tuple], default=last)
    return parts


def _independent(graph: Graph, roots: tuple[int, ...], reverse_of: Any) -> list[SegmentReverse]:
    """The reverse pass from several roots, parted where they have no call in common.

    What is done with the result of one step is mostly executed together with the next step.
    """
    found = graph.cache.get((_independent, roots))
    if found is None:
        groups: list[tuple[set, list[int]]] = []
        for r in roots:
            calls, mine = set(reverse_of(graph, (r,)).plan), [r]
            for g in [g for g in groups if not g[0].isdisjoint(calls)]:
                groups.remove(g)
                calls, mine = calls | g[0], [*g[1], *mine]
            groups.append((calls, mine))
        found = [reverse_of(graph, tuple(sorted(mine))) for _, mine in groups]
        graph.cache[_independent, roots] = found
    return found


def _plain(reverse: SegmentReverse) -> bool:
    """Whether its calls can be gone through in stacks."""
    if reverse.stacks is None:
        whole = all(
            getattr(c.place, "platform", None) == "cpu" and not c.mode.scoped and not c.op.alias
            and c.op.walk is None and c.op.spliced is None
            for c in reverse.plan
        )  # fmt: skip
        reverse.stacks = Stacks(reverse) if whole else False
    return reverse.stacks is not False


def worth(parts: list[Part]) -> bool:
    """Whether so many of them are equal, and small, that it pays to lay them out."""
    if len(parts) < FEW or len({(p.level, p.reverse.kind) for p in parts}) > PART * len(parts):
        return False
    return all(r.stacks.row <= BIG for r in {p.reverse.kind: p.reverse for p in parts}.values())


def carry(parts: list[Part], given: dict[Segment, dict[int, Any]]) -> dict[Any, Any]:
    """The cotangents, by leaf, that come of ``given`` arrays."""
    import jax

    cotangents: dict[Any, Any] = {(s, slot): c for s, found in given.items() for slot, c in found.items()}
    levels: dict[int, dict[Any, list[Part]]] = {}
    leaves: dict[Any, Any] = {}
    for p in parts:
        levels.setdefault(p.level, {}).setdefault(p.reverse.kind, []).append(p)
        for end in reversed(p.ends):
            if end is not None and type(end) is not tuple:
                leaves.setdefault(end, None)  # the last first, as where everything is pending
    with jax.enable_x64(True):
        for _, groups in sorted(levels.items()):
            for kind, members in groups.items():
                met = _met[kind] = _met.pop(kind, 0) + len(members)
                most = max(LARGEST // max(members[0].reverse.stacks.row, 1), 1)
                for k in range(0, len(members), most):
                    some = members[k : k + most]
                    stack = _stack(some) if met >= MET else None
                    if stack is None:
                        _one_by_one(some, cotangents, leaves)
                    else:
                        _stacked(stack, some, cotangents, leaves)
        while len(_met) > config.max_kernels:
            del _met[next(iter(_met))]
    return leaves


def _one_by_one(members: list[Part], cotangents: dict[Any, Any], leaves: dict[Any, Any]) -> None:
    how = evaluators.OpByOp()
    for p in members:
        reverse = p.reverse
        given = [cotangents.pop((p.segment, s)) for s in reverse.roots]
        args = (*[p.taken(s) for s in reverse.needs], *given, *[p.segment.numbers[w] for w in reverse.wides])
        for end, c in zip(p.ends, reverse.walk(args, how), strict=True):
            _add(cotangents, leaves, end, c)


def _add(cotangents: dict[Any, Any], leaves: dict[Any, Any], end: Any, c: Any) -> None:
    if end is None:
        return
    into = cotangents if type(end) is tuple else leaves
    old = into.get(end)
    if old is not None:
        c = np.asarray(c)
        c = np.add(old, c, dtype=c.dtype)
    into[end] = c


def _rows(n: int, size: int) -> int:
    """Rows of the program that serves ``n`` parts."""
    rows = 8 if size <= SMALL and n > 1 else 1
    while rows < n:
        rows *= 4 if size <= SMALL else 2
    return rows


def _stack(members: list[Part]) -> Stack | None:
    """The program for equal parts; None if there is none, since an operation cannot be done for many at once."""
    first = members[0]
    reverse = first.reverse
    rows = _rows(len(members), reverse.stacks.row)
    ones = {
        first.taking(k) for k, s in enumerate((*reverse.needs, *reverse.outs))
        if (leaf := first.leaf(s)) is not None and all(p.leaf(p.taking(k)) is leaf for p in members)
    }  # fmt: skip
    key = (rows, frozenset(ones))
    stack = reverse.stacks.get(key)
    if stack is None:
        stack = reverse.stacks[key] = Stack(reverse, *key)
    if stack.nbytes > 2 * LARGEST or stack.kind in _refused:  # leaves that differ from part to part are stacked, too
        return None
    try:
        stack.run()
    except NotImplementedError as error:
        stats.unlike.append(f"{type(error).__name__}: {error}")
        let_go(error)
        _refused.add(stack.kind)
        return None
    return stack


def _stacked(stack: Stack, members: list[Part], cotangents: dict[Any, Any], leaves: dict[Any, Any]) -> None:
    """Go through equal parts with one program."""
    first, reverse, rows = members[0], stack.reverse, stack.rows
    plain = [first.taken(s) for s in stack.plain]
    stacked = [_pile([p.taken(p.reverse.needs[k]) for p in members], rows, True) for k in stack.stacked]
    given = [_pile([cotangents.pop((p.segment, p.reverse.roots[k])) for p in members], rows, False)
             for k in range(len(reverse.roots))]  # fmt: skip
    numbers = [pile([p.segment.numbers[p.reverse.wides[k]] for p in members], rows, True)
               for k in range(len(reverse.wides))]  # fmt: skip
    before: dict[Any, Any] = {}  # a leaf may be taken twice, as before and after it was replaced in place
    for k in stack.ones:
        before.setdefault(first.ends[k], k)
    onto = [leaves[first.ends[k]] if before[first.ends[k]] == k else None for k in stack.ones]
    onto = [stack.zeros(k) if c is None else c for k, c in zip(stack.ones, onto, strict=True)]
    results: list = []
    evaluators.run_into(results, stack.run(), (plain, stacked, given, numbers, onto))
    for k, c in enumerate(results[0]):
        end = first.ends[k]
        if k not in stack.ones:
            for p, row in zip(members, (c,) if rows == 1 else np.asarray(c), strict=False):
                _add(cotangents, leaves, p.ends[k], row)
        elif before[end] == k:
            leaves[end] = c
        else:
            _add(cotangents, leaves, end, c)


def _pile(arrays: list, rows: int, repeat: bool) -> Any:
    return arrays[0] if rows == 1 else pile(arrays, rows, repeat)


class Stacks(dict):
    """The programs for many of a reverse pass, by rows and what they share.

    metas: of the slots on its way;  row: bytes of what is stacked of one part.
    """

    def __init__(self, reverse: SegmentReverse) -> None:
        super().__init__()
        self.metas: dict[int, Meta] = {}
        for c in reverse.plan:
            self.metas.update(zip((*c.slots, *c.out_slots), (*c.metas, *c.outs), strict=True))
        needed = [self.metas[s] for s in (*reverse.needs, *reverse.roots)]
        self.row = sum([m.nbytes for m in needed if m.grad != LEAF])


class Stack:
    """The reverse pass over ``rows`` equal parts.

    shared: slots of leaves that all of them take, whose cotangents are summed up, and added to what came before.
    plain, stacked: of what is needed, the slots of the former and the positions of the rest.  ones: the positions of
    the former among the results.  kind: the same for all that do the same, in whatever number.  nbytes: of the stacks.
    """

    def __init__(self, reverse: SegmentReverse, rows: int, shared: frozenset[int]) -> None:
        self.reverse, self.rows, self.shared = reverse, rows, shared
        self.plain = tuple([s for s in reverse.needs if s in shared])
        self.stacked = tuple([k for k, s in enumerate(reverse.needs) if s not in shared])
        self.ones = tuple([k for k, s in enumerate(reverse.outs) if s in shared])
        self.kind = reverse.kind, tuple([k for k, s in enumerate(reverse.needs) if s in shared]), self.ones
        self.metas = reverse.stacks.metas
        self.nbytes = rows * sum([self.metas[reverse.needs[k]].nbytes for k in self.stacked])

    def zeros(self, k: int) -> np.ndarray:
        meta = self.metas[self.reverse.outs[k]]
        return zeros(meta.shape, meta.dtype)

    def run(self) -> Any:
        """The compiled program."""
        key, calls = (self.kind, self.rows), self.reverse.plan
        return evaluators._cached(key, self._compiled, evaluators._never, calls, " backward, in stacks")

    def _compiled(self) -> Any:
        import jax

        from .trace import _lifted_dtype

        reverse, metas = self.reverse, self.metas

        def spec(s: int) -> Any:
            return jax.ShapeDtypeStruct(metas[s].shape, metas[s].dtype)

        def pile(s: int) -> Any:
            return spec(s) if self.rows == 1 else jax.ShapeDtypeStruct((self.rows, *metas[s].shape), metas[s].dtype)

        numbers = [jax.ShapeDtypeStruct((self.rows,), _lifted_dtype(w.type)) for w in reverse.wides]
        specs = ([spec(s) for s in self.plain], [pile(reverse.needs[k]) for k in self.stacked],
                 [pile(s) for s in reverse.roots], numbers, [spec(reverse.outs[k]) for k in self.ones])  # fmt: skip
        return evaluators.compile_at(self.evaluate, reverse.plan[0].place, specs)

    def evaluate(self, plain: list, stacked: list, given: list, numbers: list, onto: list) -> list:
        """What :func:`_stacked` asks for, inside a trace of JAX's; what is of one part alone is as it is."""
        reverse, shared = self.reverse, self.shared
        if self.rows == 1:
            stacked, given = [a[None] for a in stacked], [c[None] for c in given]
        env = dict(zip(self.plain, plain, strict=True))
        env.update((reverse.needs[k], a) for k, a in zip(self.stacked, stacked, strict=True))
        wide = {(w.type, w.index): a for w, a in zip(reverse.wides, numbers, strict=True)}

        def pull(call: Call, given: tuple) -> tuple:
            arrays, axes, k = [], [], 0
            for i in call.ins:
                if type(i) is int:
                    meta = call.metas[k]
                    k += 1
                    axes.append(None if i in shared else 0)
                    arrays.append(env[i] if i in env else self._any(i, meta))
                elif type(i) is Wide:
                    axes.append(0)
                    arrays.append(wide[i.type, i.index])
            return self._pull(call, arrays, axes, given)

        add = evaluators.Inline().add
        cotangents = dict(zip(reverse.roots, given, strict=True))
        walk(reverse.plan, cotangents, frozenset(reverse.outs), pull, add)
        found = [cotangents[s] for s in reverse.outs]
        for k, before in zip(self.ones, onto, strict=True):
            found[k] = add(before, found[k])
        if self.rows == 1:
            found = [c if k in self.ones else c[0] for k, c in enumerate(found)]
        return found

    def _any(self, slot: int, meta: Meta) -> np.ndarray:
        """In place of what a gradient does not look at."""
        return np.zeros(meta.shape if slot in self.shared else (self.rows, *meta.shape), meta.dtype)

    def _pull(self, call: Call, arrays: list, axes: list, given: tuple) -> tuple:
        """Gradients of a call for all rows; by what the rows share, their sum."""
        import jax

        evaluate: Any = call.kernel.evaluate
        rows: tuple[int, ...] = ()
        if any(a is not None for a in axes):
            evaluate, rows = jax.vmap(evaluate, in_axes=(tuple(axes),), axis_size=self.rows), (self.rows,)
        else:
            given = tuple([None if c is None else c.sum(0, dtype=c.dtype) for c in given])

        def closed(*moving: Any) -> tuple:
            full = list(arrays)
            for k, x in zip(call.wrt, moving, strict=True):
                full[k] = x
            return evaluate(tuple(full))

        _, back, _ = differentiated(closed, [arrays[k] for k in call.wrt])
        results = tuple([((*rows, *m.shape), m.dtype) for m in call.outs])
        present = tuple([c is not None for c in given])
        return _apply_vjp(back, tuple([c for c in given if c is not None]), (results, present))
