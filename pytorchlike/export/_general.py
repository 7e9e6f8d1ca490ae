"""One program for many sizes, out of recordings at some.

The engine has no symbolic sizes. So the module is recorded at several sizes of everything that may vary. The recordings
must be the same calls, and each integer that differs among them an expression of the sizes (see ``_sizes``) that is
right at all of them, also at sizes that were not used to find it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from ._recording import Number, Recording, Ref, Source, Step, is_same, live
from ._sizes import Range, Size, root_of

__all__ = ["Mismatch", "generalized", "samples_of"]

#: Recordings that are only compared with what was found; rounds of further ones where a rounding is not certain.
HELD_OUT, ROUNDS = 2, 16
_STEPS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144)


class Mismatch(Exception):
    """The recordings are no one program; the message says where."""


def samples_of(ranges: dict[str, Range], examples: dict[str, int], avoid: set[int]) -> list[dict[str, int]]:
    """Sizes to record at: for each name different ones, near the example, and the least if it was told."""
    count = min(5 + 3 * (len(ranges) - 1), 14) + HELD_OUT
    columns: dict[str, list[int]] = {}
    taken = set(avoid)
    for k, (name, within) in enumerate(ranges.items()):
        base = max(examples[name], within.lower, 2)
        fine = [base + d for d in range(1 + 3 * k, 400) if base + d in within and base + d not in taken]
        # neighbours and far ones, in another order for each name
        order = [d for d in _STEPS if d < len(fine)] or [0]
        chosen = [fine[d] for d in (order * count)[k : k + count]] if len(fine) >= 4 else []
        if not chosen:
            every = list(range(max(within.lower, 2), (within.upper or base + 40) + 1))
            if not every:
                raise Mismatch(f"{name} may only be {within}: nothing varies")
            chosen = [every[(j * (k + 1) + j // len(every)) % len(every)] for j in range(count)]
        if within.lower > 2 and within.lower not in chosen:
            chosen[-1] = within.lower
        if within.upper is not None and within.upper < 10_000 and within.upper not in chosen:
            chosen[-2] = within.upper
        taken.update(chosen)
        columns[name] = chosen
    rows = [{name: columns[name][j] for name in ranges} for j in range(count)]
    unique: dict[tuple, dict[str, int]] = {tuple(r.values()): r for r in rows}
    return list(unique.values())


def generalized(record_at: Callable[[dict[str, int]], Recording], ranges: dict[str, Range],
                samples: list[dict[str, int]]) -> Recording:  # fmt: skip
    """The program for all sizes in the ranges.  Mismatch, or what the module raises, where there is none."""
    held = samples[-HELD_OUT:] if len(samples) > HELD_OUT + 1 else []
    used = samples[: len(samples) - len(held)]
    made = {id(s): record_at(s) for s in samples}
    for _ in range(ROUNDS):
        rows = [*used, *held]
        fit = _Fit([made[id(s)] for s in rows], rows, len(held), ranges)
        program = fit.program()
        further = fit.further()
        if further is None or any(further == s for s in rows):
            break
        used.append(further)
        try:
            made[id(further)] = record_at(further)
        except Mismatch:  # such sizes are not possible: the rounding there does not matter
            used.pop()
            break
    low, high = _far(ranges, used[0])
    _agree(record_at, [*used, *held], made, low, ranges, False)
    _agree(record_at, [*used, *held], made, high, ranges, True)
    return live(program)


def _far(ranges: dict[str, Range], base: dict[str, int]) -> list[list[dict[str, int]]]:
    """Sizes far below and above those recorded at; two of each, of which one may be the same as another by chance."""
    low = [{n: max(r.lower, 2) + d for n, r in ranges.items()} for d in (0, 1)]
    high = [{n: base[n] * 7 + d for n in ranges} for d in (4, 9)]
    return [[row for row in rows if all(v in ranges[n] for n, v in row.items())] for rows in (low, high)]


def _agree(record_at: Callable[[dict[str, int]], Recording], rows: list[dict[str, int]], made: dict[int, Recording],
           further: list[dict[str, int]], ranges: dict[str, Range], needed: bool) -> None:  # fmt: skip
    """Mismatch if the module does something else at all of ``further`` sizes, or refuses them although ``needed``."""
    problem = None
    for row in further:
        try:
            recording = record_at(row)
        except Mismatch as error:
            problem = problem or (error if needed else None)  # what is too small for a kernel is so for the program
            continue
        try:
            _Fit([*[made[id(s)] for s in rows], recording], [*rows, row], HELD_OUT, ranges).program()
        except Mismatch as error:
            problem = problem or error
        else:
            return
    if problem is not None:
        raise problem


class _Fit:
    """Comparing recordings."""

    def __init__(self, recordings: Sequence[Recording], rows: list[dict[str, int]], held: int,
                 ranges: dict[str, Range]) -> None:  # fmt: skip
        self.recordings, self.rows, self.n, self.ranges = recordings, rows, len(rows) - held, ranges
        self.known: dict[tuple[int, ...], Size] = {}
        for name in ranges:
            self.known[tuple([r[name] for r in rows])] = Size.named(name)
        self.dims = list(self.known.items())
        #: floor((size * a + b) / c) with b in [low, high]: all are right at the sizes met
        self.doubts: list[tuple[Size, int, int, int, int]] = []
        self.unknown = 0

    # ---- the program -------------------------------------------------------------------------------------------

    def program(self) -> Recording:
        first = self.recordings[0]
        shapes: dict[int, tuple] = {}
        sources = []
        for k, s in enumerate(first.sources):
            rows = [r.sources[k] if k < len(r.sources) else None for r in self.recordings]
            sources.append(self._source(s, rows))
            shapes[s.slot] = sources[-1].shape
        steps = []
        for k, step in enumerate(first.steps):
            rows = [r.steps[k] if k < len(r.steps) else None for r in self.recordings]
            steps.append(self._step(step, rows, shapes))
        longest = max(self.recordings, key=lambda r: len(r.steps))
        if len(longest.steps) > len(first.steps):
            self._differ(first.steps[-1] if first.steps else None, longest.steps[len(first.steps)],
                         self.recordings.index(longest))  # fmt: skip
        for r, row in zip(self.recordings, self.rows, strict=True):
            if (r.outs, r.changed) != (first.outs, first.changed) or not _alike(r.output, first.output):
                raise Mismatch(f"the results are not the same ones at {_told(self.rows[0])} and {_told(row)}: "
                               f"{first.output!r} and {r.output!r}")  # fmt: skip
        return Recording(tuple(sources), tuple(steps), first.outs, first.changed, first.output)

    def _source(self, s: Source, rows: list[Source | None]) -> Source:
        for r, row in zip(rows, self.rows, strict=True):
            if r is None or (r.kind, r.slot) != (s.kind, s.slot):
                raise Mismatch(f"other tensors are used at {_told(self.rows[0])} than at {_told(row)}")
            if s.kind == "constant" and not is_same(s.value, r.value):
                raise Mismatch(
                    f"a tensor of shape {list(s.shape)} that the module makes from numbers or NumPy arrays, or cuts "
                    f"out of a tensor that is no buffer, is another one at {_told(self.rows[0])} than at {_told(row)} "
                    f"({list(r.shape)}): make it by operations (torch.arange, torch.full, indexing of a buffer), not "
                    "by torch.tensor of a list"
                )
        shape = tuple([self._size(dims, ()) for dims in zip(*[r.shape for r in rows], strict=True)])  # type: ignore
        return s._replace(shape=shape)

    def _step(self, step: Step, rows: list[Step | None], shapes: dict[int, tuple]) -> Step:
        for j, r in enumerate(rows):
            if r is None or r.op is not step.op or len(r.args) != len(step.args) or r.mode != step.mode:
                self._differ(step, r, j)
        near = [n for a in step.args if type(a) is Ref for n in shapes[a.slot] if isinstance(n, Size)]
        static = self._static([r.static for r in rows], step, near)  # type: ignore[union-attr]
        args = []
        for k, a in enumerate(step.args):
            its = [r.args[k] for r in rows]  # type: ignore[union-attr]
            if type(a) is Number and all(type(i) is Number and i.type is a.type for i in its):
                args.append(Number(a.type, self._literal([i.value for i in its], step, near)))
            elif all(i == a for i in its):
                args.append(a)
            else:
                self._differ(step, rows[next(j for j, i in enumerate(its) if i != a)], 0)
        outs = []
        for k, (shape, dtype) in enumerate(step.outs):
            its_shapes = [r.outs[k][0] for r in rows]  # type: ignore[union-attr]
            if any(len(s) != len(shape) for s in its_shapes) or any(r.outs[k][1] != dtype for r in rows):  # type: ignore
                self._differ(step, rows[-1], len(rows) - 1)
            outs.append((tuple([self._size(dims, near) for dims in zip(*its_shapes, strict=True)]), dtype))
            shapes[step.first + k] = outs[-1][0]
        return step._replace(static=static, args=tuple(args), outs=tuple(outs))

    def _differ(self, a: Step | None, b: Step | None, j: int) -> None:
        if a is not None and b is not None and a.entry is None and a.op.name == b.op.name:
            raise Mismatch(f"{a.where} is made of a function, which is recorded for fixed sizes: keep the sizes that "
                           "it sees fixed (Dim.STATIC), or do without it (torch.where instead of cond)")  # fmt: skip
        raise Mismatch(
            f"the module runs other operations at {_told(self.rows[0])} than at {_told(self.rows[j])}: "
            f"{a.where if a else 'nothing'} there, {b.where if b else 'nothing'} here. A decision rests on a size: "
            "keep this size fixed (Dim.STATIC), or leave it in a range where the decision is the same (Dim(min=, max=))"
        )

    def _static(self, values: list[Any], step: Step, near: list[Size]) -> Any:
        first = values[0]
        if type(first) is tuple and all(type(v) is tuple and len(v) == len(first) for v in values):
            return tuple([self._static(list(column), step, near) for column in zip(*values, strict=True)])
        return self._literal(values, step, near)

    def _literal(self, values: list[Any], step: Step, near: list[Size]) -> Any:
        first = values[0]
        if all(type(v) is type(first) and (v is first or v == first) for v in values):
            return first
        if all(type(v) is int for v in values):
            found = self._fit(tuple(values), near)
            if found is not None:
                return found
        if all(type(v) is float for v in values):
            root = root_of(values, [(s, list(v)) for v, s in self.known.items()])
            if root is not None:
                return root
        table = ", ".join(f"{v!r} at {_told(row)}" for v, row in zip(values[:4], self.rows, strict=False))
        raise Mismatch(
            f"{step.where} takes {table} …, which is no polynomial or floor division of the sizes: keep the size fixed "
            "(Dim.STATIC), or compute the value with tensors"
        )

    # ---- finding expressions -----------------------------------------------------------------------------------

    def _size(self, values: Sequence[int], near: Sequence[Size]) -> Any:
        """A size of a result; what cannot be told gets a name of its own."""
        found = self._fit(tuple(values), near)
        if found is None:
            found = self.known[tuple(values)] = Size.named(f"u{self.unknown}")
            self.unknown += 1
        return found

    def _fit(self, values: tuple[int, ...], near: Sequence[Size]) -> Any:
        if min(values) == max(values):
            return values[0]
        found = self.known.get(values)
        if found is None:
            found = self._affine(values) or self._floor(values, near) or self._polynomial(values)
            found = found or self._product(values) or self._pair(values, near)
            if found is not None:
                self.known[values] = found
        return found

    def _right(self, size: Any, values: tuple[int, ...]) -> bool:
        return isinstance(size, Size) and all(size.at(r) == v for r, v in zip(self.rows, values, strict=True))

    def _atoms(self) -> list[tuple[tuple[int, ...], Size]]:
        return [(v, s) for v, s in self.known.items() if not str(s).startswith("u")]

    def _affine(self, values: tuple[int, ...]) -> Any:
        for its, size in self._atoms():
            j = next((j for j in range(1, self.n) if its[j] != its[0]), None)
            if j is None or (values[j] - values[0]) % (its[j] - its[0]):
                continue
            a = (values[j] - values[0]) // (its[j] - its[0])
            b = values[0] - a * its[0]
            if a and all(a * i + b == v for i, v in zip(its, values, strict=True)):
                return a * size + b
        return None

    def _floor(self, values: tuple[int, ...], near: Sequence[Size]) -> Any:
        by_size = {s: v for v, s in self._atoms()}
        for size in dict.fromkeys([*near, *[s for _, s in self.dims]]):
            its = by_size.get(size)
            if its is None or max(its) == min(its) or max(values) <= min(values):
                continue
            for a in (1, 2, 3, 5):
                slope = Fraction(a * (max(its) - min(its)), max(values) - min(values))
                for c in range(max(2, int(slope) - 1 - int(slope) // 3), int(slope) + 3 + int(slope) // 2):
                    low = max(c * v - a * i for i, v in zip(its, values, strict=True))
                    high = min(c * v + c - 1 - a * i for i, v in zip(its, values, strict=True))
                    if low <= high:
                        if low < high:
                            self.doubts.append((size, a, low, high, c))
                        return (a * size + (0 if low <= 0 <= high else low)) // c
        return None

    def _polynomial(self, values: tuple[int, ...]) -> Any:
        names = [s for _, s in self.dims]
        products = [(s, t) for k, s in enumerate(names) for t in names[k:]]
        basis: list[Any] = [1, *names, *[s * t for s, t in products]]
        if len(names) == 3:
            basis.append(names[0] * names[1] * names[2])
        for most in (1 + len(names), len(basis)):
            if most > self.n:
                break
            rows = [[Fraction(b if b == 1 else b.at(r)) for b in basis[:most]] for r in self.rows[: self.n]]
            found = _solve(rows, [Fraction(v) for v in values[: self.n]])
            if found is None or any(f.denominator != 1 for f in found):
                continue
            size = sum((int(f) * b for f, b in zip(found, basis, strict=False) if f), 0)
            if self._right(size, values):
                return size
        return None

    def _product(self, values: tuple[int, ...], depth: int = 2) -> Any:
        for its, size in self._atoms():
            if min(its) <= 0 or any(v % i for v, i in zip(values, its, strict=True)):
                continue
            rest = tuple([v // i for v, i in zip(values, its, strict=True)])
            other = rest[0] if min(rest) == max(rest) else self.known.get(rest) or self._affine(rest)
            if other is None and depth > 1:
                other = self._product(rest, depth - 1)
            if other is not None and self._right(size * other, values):
                return size * other
        return None

    def _pair(self, values: tuple[int, ...], near: Sequence[Size]) -> Any:
        """A sum of two known sizes with integers in front: remainders are ``s0 - 2*(s0//2)``."""
        known = {s: v for v, s in self._atoms()}
        close = dict.fromkeys([*(s for _, s in self.dims), *near])
        atoms = [s for s in dict.fromkeys([*close, *known]) if s in known][:24]
        pairs = [(x, y) for k, x in enumerate(atoms) for y in atoms[:k]]
        parts = {(x, c): x // c for x in close if x in known for c in range(2, 17)}
        known.update({q: tuple([q.at(r) for r in self.rows]) for q in parts.values()})
        for x, y in [*pairs, *((x, q) for (x, _), q in parts.items())]:
            if x != y:
                rows = [[Fraction(1), Fraction(known[x][j]), Fraction(known[y][j])] for j in range(self.n)]
                found = _solve(rows, [Fraction(v) for v in values[: self.n]])
                if found is not None and all(f.denominator == 1 for f in found):
                    size = x * int(found[1]) + y * int(found[2]) + int(found[0])
                    if self._right(size, values):
                        return size
        return None

    def further(self) -> dict[str, int] | None:
        """Sizes at which a rounding that is in doubt shows; None if none is, or none of the allowed sizes tells."""
        for size, a, low, high, c in self.doubts:
            middle = (low + high) // 2
            names = size.names()
            base = dict(self.rows[0])
            for step in range(1, 4 * c * 64):
                row = {n: v + step if n in names else v for n, v in base.items()}
                if any(v not in self.ranges[n] for n, v in row.items()):
                    break
                x = a * size.at(row)
                if (x + low) // c != (x + high) // c and (x + middle) // c != (x + middle + 1) // c:
                    return row
        return None


def _alike(a: Any, b: Any) -> bool:
    from ..utils import _pytree as pytree

    x, s = pytree.tree_flatten(a)
    y, t = pytree.tree_flatten(b)
    return s == t and all(type(i) is type(j) and (i is j or i == j) for i, j in zip(x, y, strict=True))


def _told(row: dict[str, int]) -> str:
    return ", ".join(f"{k} = {v}" for k, v in row.items())


def _solve(rows: list[list[Fraction]], values: list[Fraction]) -> list[Fraction] | None:
    """The one solution of a linear system that may have more rows than unknowns, exactly; None if there is none."""
    table = [[*r, v] for r, v in zip(rows, values, strict=True)]
    n = len(rows[0])
    for k in range(n):
        pivot = next((i for i in range(k, len(table)) if table[i][k]), None)
        if pivot is None:
            return None
        table[k], table[pivot] = table[pivot], table[k]
        table[k] = [x / table[k][k] for x in table[k]]
        for i, row in enumerate(table):
            if i != k and row[k]:
                table[i] = [x - row[k] * y for x, y in zip(row, table[k], strict=True)]
    return None if any(row[n] for row in table[n:]) else [row[n] for row in table[:n]]
