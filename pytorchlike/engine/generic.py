"""One program text for all sizes: what the jaxprs of a few sizes have in common.

Three traces of the same step, of texts of other lengths say, give three jaxprs that differ in whole numbers only.  Each
such number is expressed by the sizes that vary (``8 * n``, ``n - 1``), and what results holds for other sizes as well.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ._primitives import CALLS

__all__ = ["Equation", "Generic", "Literal", "Series", "Size", "Sizes", "Unlike", "generic_of"]


#: What a multiplication in a product of matrices costs beside an element that is stored.
_PRODUCT = 0.1


class Unlike(Exception):
    """The jaxprs have less in common than is needed, or a size is used in a way that has no rule."""


class Size:
    """A number that follows from the sizes that vary.

    seen: what it was in the jaxprs that were compared.   at(numbers): what it is for these sizes, also traced ones.
    """

    __slots__ = ("seen", "kind", "terms", "a", "b")

    def __init__(self, seen: tuple, kind: str, terms: tuple, a: int, b: int) -> None:
        self.seen, self.kind, self.terms, self.a, self.b = seen, kind, terms, a, b

    @property
    def rises(self) -> bool:
        """Whether it is never less for larger sizes: else room for these is no room for it."""
        if self.kind in ("linear", "product", "quotient", "sum") and self.a <= 0:
            return False
        return all(t.rises for t in self.terms)

    @property
    def rounds(self) -> bool:
        """Whether something is divided and rounded."""
        return self.kind == "quotient" or any(t.rounds for t in self.terms)

    def at(self, numbers: Sequence[Any]) -> Any:
        if self.kind == "symbol":
            return numbers[self.a]
        if self.kind == "unknown":
            raise Unlike(f"numbers that do not follow from the sizes: {self.seen}")
        first, *rest = [t.at(numbers) for t in self.terms]
        if self.kind in ("linear", "scaled"):
            return first * self.a + self.b
        if self.kind == "quotient":
            return (first + self.b) // self.a
        if self.kind == "sum":
            return first + self.a * rest[0] + self.b
        for n in rest:
            first = first * n
        return first * self.a

    def __repr__(self) -> str:
        return f"Size{self.seen}"


class Sizes:
    """The numbers that vary, ``symbols`` by what was seen of each, and those that follow from them.

    dims: those that arrays have as dimensions, which follow from others only if they grow with them.
    tied: symbols all the same, for that reason: how they follow from others, by their index.
    """

    def __init__(self, symbols: Sequence[tuple], dims: Collection[tuple] = ()) -> None:
        self.symbols: list[tuple] = []
        self.tied: dict[int, Size] = {}
        self.known: dict[tuple, Size] = {}
        for seen in symbols:
            found = self._find(seen)
            if found is None or (seen in dims and not found.rises):
                if found is not None:
                    self.tied[len(self.symbols)] = found
                self.known[seen] = Size(seen, "symbol", (), len(self.symbols), 0)
                self.symbols.append(seen)

    def of(self, seen: tuple) -> Any:
        """The number that was seen to be these: an int if it does not vary."""
        if all(n == seen[0] for n in seen):
            return seen[0]
        found = self._find(seen)
        if found is None:
            raise Unlike(f"numbers that do not follow from the sizes: {seen} of {self.symbols}")
        return found

    def meet(self, numbers: Iterable[tuple]) -> None:
        """Learn of numbers of which others may be made."""
        for seen in sorted(numbers):
            if len(set(seen)) > 1:
                self._find(seen)

    def _find(self, seen: tuple) -> Size | None:
        found = self.known.get(seen)
        if found is None:
            found = self._expressed(seen)
            if found is not None:
                self.known[seen] = found
        return found

    def _expressed(self, seen: tuple) -> Size | None:
        symbols = [self.known[s] for s in self.symbols]
        for symbol in symbols:
            s = symbol.seen
            low, high = min(range(len(s)), key=s.__getitem__), max(range(len(s)), key=s.__getitem__)
            a, rest = divmod(seen[high] - seen[low], s[high] - s[low])
            b = seen[low] - a * s[low]
            if a != 0 and rest == 0 and all(n == a * m + b for n, m in zip(seen, s, strict=True)):
                return Size(seen, "linear", (symbol,), a, b)
        known = [*self.known.values()]
        for n, terms in ((1, known), (2, known[:64]), (3, symbols)):
            for chosen in itertools.combinations_with_replacement(terms, n):
                product = [math.prod(each) for each in zip(*[t.seen for t in chosen], strict=True)]
                a = seen[0] // product[0] if product[0] > 0 else 0
                if a > 0 and all(x == a * p for x, p in zip(seen, product, strict=True)):
                    return Size(seen, "product", chosen, a, 0)
        for base in known:
            rests = {x - y for x, y in zip(seen, base.seen, strict=True)}
            if len(rests) == 1:
                return Size(seen, "linear", (base,), 1, rests.pop())
        for one, two in itertools.permutations(symbols, 2):
            for a in (1, -1):
                rests = {x - y - a * z for x, y, z in zip(seen, one.seen, two.seen, strict=True)}
                if len(rests) == 1:
                    return Size(seen, "sum", (one, two), a, rests.pop())
        return next(self.quotients(seen), None)

    def quotients(self, seen: tuple) -> Iterator[Size]:
        """Sizes divided by a number, and rounded down, that were these.

        Of those that differ by what is added before only the extremes, and the one nearest to nothing first.
        """
        for symbol in [self.known[s] for s in self.symbols]:
            for a in range(2, 33):
                low = max(x * a - s for x, s in zip(seen, symbol.seen, strict=True))
                high = min(x * a - s + a - 1 for x, s in zip(seen, symbol.seen, strict=True))
                if low <= high:
                    for b in dict.fromkeys((min(max(low, 0), high), low, high)):
                        yield Size(seen, "quotient", (symbol,), a, b)

    def doubts(self, sizes: Iterable[Size], told: Collection[tuple]) -> list[tuple[Size, Size]]:
        """Pairs that must be the same, of a rounded number among ``sizes`` and a quotient that was the same so far.

        Of even sizes nobody can say whether a body rounds their halves up or down.  told: numbers that each trace
        tells by itself, which need not be guessed.
        """
        found: dict[tuple, Size] = {}
        left = [*sizes]
        while left:
            size = left.pop()
            if size.seen not in told and size.seen not in found and size.rounds:
                left.extend(size.terms)
                if size.seen:  # a divisor that need not be whole is seen by its terms alone
                    found[size.seen] = size
        return [pair for size in found.values() for other in self.quotients(size.seen)
                for pair in ((size, other), (other, size))]  # fmt: skip

    def ratio(self, values: Sequence[float]) -> tuple[float, Any, Any]:
        """Factor, and sizes to multiply by and to divide by (or None), that give these numbers."""
        known = list(self.known.values())
        less = [tuple([n - 1 for n in s.seen]) for s in known]  # as in a variance
        known += [s for s in map(self._find, less) if s is not None]
        known = [s for s in known if s.seen and min(s.seen) > 0]
        alone = [pair for s in known for pair in ((None, s), (s, None))]
        for symbol in [s for s in known if s.kind in ("symbol", "product")]:
            for inverse in (True, False):
                wide = _line(symbol.seen, [1 / v if inverse else v for v in values])
                if wide is not None:
                    size = Size((), "scaled", (symbol,), *wide)
                    return (1.0, None, size) if inverse else (1.0, size, None)
        for over, under in (*alone, *itertools.permutations(known, 2)):
            factors = [v / _or_one(over, k) * _or_one(under, k) for k, v in enumerate(values)]
            if max(factors) - min(factors) <= 1e-6 * abs(factors[0]):
                nearest = round(factors[0])
                exact = nearest and abs(factors[0] - nearest) < 1e-5 * abs(nearest)
                return (float(nearest) if exact else factors[0]), over, under
        raise Unlike(f"numbers of unknown origin: {list(values)}")


def _line(sizes: Sequence[int], values: Sequence[float]) -> tuple[float, float] | None:
    """Slope and offset, simple fractions, of a line through the values at these sizes."""
    low, high = min(range(len(sizes)), key=sizes.__getitem__), max(range(len(sizes)), key=sizes.__getitem__)
    a = round(16 * (values[high] - values[low]) / (sizes[high] - sizes[low])) / 16
    b = round(16 * (values[low] - a * sizes[low])) / 16
    fits = all(abs(a * n + b - v) <= 2e-6 * abs(v) for n, v in zip(sizes, values, strict=True))
    return (a, b) if a and fits else None


def _or_one(size: Size | None, k: int) -> int:
    return 1 if size is None else size.seen[k]


class Literal(NamedTuple):
    """A number in a jaxpr: ``value``, times and divided by what follows from the sizes."""

    value: Any
    dtype: Any
    size: Any = None
    over: Any = None


class Equation(NamedTuple):
    """As JAX's, with :class:`Size` in the place of numbers that vary.

    ins: names (ints) or literals.   outs: names.   shapes: of the results.   plain: the parameters of one jaxpr, if
    they are those of all.
    """

    primitive: Any
    params: dict
    ins: tuple
    outs: tuple[int, ...]
    shapes: tuple
    plain: dict | None


class Generic:
    """A jaxpr for all sizes.

    given, shapes: names and shapes of what it takes;  constants: by name;  steps: the equations;  outs: the results.
    """

    def __init__(self, given: tuple, shapes: tuple, constants: dict[int, Any], steps: list[Equation],
                 outs: tuple) -> None:  # fmt: skip
        self.given, self.shapes, self.constants, self.steps, self.outs = given, shapes, constants, steps, outs

    def sizes(self) -> Iterator[Size]:
        """All that follow from the sizes that vary."""
        return itertools.chain(iterate(self), iterate([c.shape for c in self.constants.values() if type(c) is Series]))

    def volume(self) -> Counter[tuple[Size, ...]]:
        """How much there is to do, in elements of results: factors, and the sizes that each is to be multiplied by."""
        found: Counter[tuple[Size, ...]] = Counter()
        shapes = dict(zip(self.given, self.shapes, strict=True))
        shapes.update((name, c.shape if type(c) is Series else np.shape(c)) for name, c in self.constants.items())
        for e in self.steps:
            shapes.update(zip(e.outs, e.shapes, strict=False))
            for inner in iterate_generics(e.params):
                again = e.params.get("length", 1)
                for sizes, n in inner.volume().items():
                    found[(*sizes, again) if type(again) is Size else sizes] += n if type(again) is Size else n * again
            work = [(1.0, shape) for shape in e.shapes]
            if e.primitive.name == "dot_general" and type(e.ins[0]) is int:
                taken = shapes[e.ins[0]]
                work.append((_PRODUCT, (*e.shapes[0], *[taken[d] for d in e.params["dimension_numbers"][0][0]])))
            for n, dims in work:
                sizes = tuple([d for d in dims if type(d) is Size and d.kind != "unknown"])
                found[sizes] += n * math.prod([d for d in dims if type(d) is not Size])
        return found

    def limits(self) -> list[tuple[Any, Any]]:
        """Pairs of numbers of which the first must not be more than the second, for sizes that this holds for.

        Bodies formulate operators otherwise from some size on: the first 64 rows, and the n - 64 after them.
        """
        found: dict[tuple, tuple[Any, Any]] = {}

        def note(low: Any, high: Any) -> None:
            if type(low) is Size or type(high) is Size:
                found.setdefault((id(low) if type(low) is Size else low, id(high) if type(high) is Size else high),
                                 (low, high))  # fmt: skip

        for size in self.sizes():
            if size.seen and size.kind != "unknown":  # a number that changes sign means something else
                if min(size.seen) >= 0:
                    note(min(1, *size.seen), size)
                elif max(size.seen) <= 0:
                    note(size, 0)
        shapes = dict(zip(self.given, self.shapes, strict=True))
        shapes.update((name, c.shape if type(c) is Series else np.shape(c)) for name, c in self.constants.items())
        for e in self.steps:
            shapes.update(zip(e.outs, e.shapes, strict=False))
            taken = shapes.get(e.ins[0], ()) if e.ins and type(e.ins[0]) is int else ()
            if e.primitive.name == "slice":
                for start, limit, n in zip(e.params["start_indices"], e.params["limit_indices"], taken, strict=False):
                    note(start, limit)
                    note(limit, n)
            elif e.primitive.name in ("dynamic_slice", "gather"):
                for some, n in zip(e.params["slice_sizes"], taken, strict=False):
                    note(some, n)
            for one in iterate_generics(e.params):
                for pair in one.limits():
                    note(*pair)
        return list(found.values())


def iterate_generics(params: dict) -> Iterator[Generic]:
    """The jaxprs among the parameters of an equation."""
    for p in params.values():
        for one in p if isinstance(p, (tuple, list)) else (p,):
            if type(one) is Generic:
                yield one


class _Flat:
    """A jaxpr without inner calls: (equation, ins, outs) by numbered names; literals stay as they are."""

    def __init__(self, jaxpr: Any, constants: Sequence[Any]) -> None:
        self.count = 0
        self.steps: list[tuple] = []
        env: dict[Any, Any] = {}
        self.given = tuple([self._name(env, v) for v in jaxpr.invars])
        self.constants = {self._name(env, v): c for v, c in zip(jaxpr.constvars, constants, strict=True)}
        self._add(jaxpr, env)
        self.outs = tuple([self._atom(env, v) for v in jaxpr.outvars])

    def _name(self, env: dict, var: Any) -> int:
        env[var] = self.count
        self.count += 1
        return self.count - 1

    def _atom(self, env: dict, atom: Any) -> Any:
        return atom if hasattr(atom, "val") else env[atom]

    def _add(self, jaxpr: Any, env: dict) -> None:
        for e in jaxpr.eqns:
            ins = [self._atom(env, v) for v in e.invars]
            if e.primitive.name not in CALLS:
                self.steps.append((e, tuple(ins), tuple([self._name(env, v) for v in e.outvars])))
                continue
            inner = next(e.params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in e.params)
            constants: Sequence[Any] = ()
            if hasattr(inner, "consts"):
                inner, constants = inner.jaxpr, inner.consts
            within = dict(zip(inner.invars, ins, strict=True))
            for v, c in zip(inner.constvars, constants, strict=True):
                self.constants[self._name(within, v)] = c
            self._add(inner, within)
            for v, o in zip(e.outvars, inner.outvars, strict=True):
                env[v] = self._atom(within, o)


def generic_of(closed: Sequence[Any], sizes: Sizes) -> Generic:
    """What these closed jaxprs have in common.  Raises Unlike if it is not all but numbers."""
    return _generic([c.jaxpr for c in closed], [c.consts for c in closed], sizes)


def _generic(jaxprs: list, constants: list, sizes: Sizes) -> Generic:
    flat = [_Flat(j, c) for j, c in zip(jaxprs, constants, strict=True)]
    one = flat[0]
    if any(len(f.steps) != len(one.steps) or f.count != one.count for f in flat):
        raise Unlike("other operations for other sizes")
    for steps in zip(*[f.steps for f in flat], strict=True):
        for each in zip(*[e.outvars for e, _, _ in steps], strict=False):
            sizes.meet(zip(*[getattr(v.aval, "shape", ()) for v in each], strict=False))
    shapes = tuple([_same([j.invars[k].aval.shape for j in jaxprs], sizes) for k in range(len(one.given))])
    outs = tuple([_atom(list(atoms), sizes) for atoms in zip(*[f.outs for f in flat], strict=True)])
    needed = {o for o in outs if type(o) is int}
    steps: list[Equation] = []
    for k in range(len(one.steps) - 1, -1, -1):
        e, _, names = one.steps[k]
        if needed.isdisjoint(names) and not e.effects:
            continue
        step = _equation([f.steps[k] for f in flat], sizes)
        needed.update(i for i in step.ins if type(i) is int)
        steps.append(step)
    steps.reverse()
    kept: dict[int, Any] = {}
    for name in one.constants:
        if name in needed:
            values = [f.constants.get(name) for f in flat]
            kept[name] = values[0] if all(_equal(values[0], v) for v in values) else _series(values, sizes)
    return Generic(one.given, shapes, kept, steps, outs)


class Series(NamedTuple):
    """A constant array of a shape that varies: ``first`` and, along each dimension, so much more each time.

    As numbers of places, or the places of the frames of a sound.
    """

    dtype: Any
    shape: tuple
    first: Any
    steps: tuple


def _series(values: list, sizes: Sizes) -> Series:
    arrays = [np.asarray(v) for v in values]
    one = max(arrays, key=np.size)
    if any(a.ndim != one.ndim or a.dtype != one.dtype or not a.size for a in arrays) or one.dtype.kind == "c":
        raise Unlike("a constant array that differs by size")
    shape = tuple([sizes.of(each) for each in zip(*[a.shape for a in arrays], strict=True)])
    first, steps = one.flat[0], []
    for dim, n in enumerate(one.shape):
        step = 0 if one.dtype.kind == "b" or n < 2 else np.moveaxis(one, dim, 0)[1].flat[0] - first
        steps.append(step)
    found = Series(one.dtype, shape, first, tuple(steps))
    if not all(_equal(a, _counted(found, a.shape)) for a in arrays):
        raise Unlike("a constant array that differs by size")
    return found


def _counted(series: Series, shape: tuple) -> np.ndarray:
    found = np.full(shape, series.first)
    for dim, step in enumerate(series.steps):
        if step:
            found = found + step * np.arange(shape[dim]).reshape([-1 if d == dim else 1 for d in range(len(shape))])
    return found.astype(series.dtype)


def _equal(a: Any, b: Any) -> bool:
    return a is b or (np.shape(a) == np.shape(b) and np.array_equal(np.asarray(a), np.asarray(b)))


def _equation(found: list[tuple], sizes: Sizes) -> Equation:
    e, ins, outs = found[0]
    name = e.primitive.name
    for other, theirs, named in found[1:]:
        if other.primitive is not e.primitive or named != outs or len(theirs) != len(ins):
            raise Unlike(f"{name} for one size, {other.primitive.name} for another")
    shapes = tuple([
        _same([f[0].outvars[k].aval.shape for f in found], sizes) if hasattr(e.outvars[k].aval, "shape") else ()
        for k in range(len(outs))
    ])  # fmt: skip
    params = {k: _same([f[0].params[k] for f in found], sizes, f"{name} {k}") for k in e.params}
    atoms = tuple([_atom([f[1][k] for f in found], sizes) for k in range(len(ins))])
    still = not any(True for _ in iterate((params, shapes)))
    return Equation(e.primitive, params, atoms, outs, shapes, e.params if still else None)


def _atom(atoms: list, sizes: Sizes) -> Any:
    first = atoms[0]
    if type(first) is int:
        if any(a is not first and a != first for a in atoms):
            raise Unlike("the results of other operations are used")
        return first
    if any(not hasattr(a, "val") for a in atoms):
        raise Unlike("a number for one size, a result for another")
    dtype = getattr(first.aval, "dtype", None)
    values = [a.val for a in atoms]
    if all(_equal(v, values[0]) for v in values) or all(v != v for v in values):
        return Literal(values[0], dtype)
    if any(np.imag(v) for v in values):
        raise Unlike("a complex number that differs by size")
    numbers = [float(np.real(v)) for v in values]
    if all(n == int(n) for n in numbers):
        return Literal(1, dtype, sizes.of(tuple(map(int, numbers))))
    factor, size, over = sizes.ratio(numbers)
    return Literal(factor, dtype, size, over)


def _same(values: list, sizes: Sizes, what: str = "a shape") -> Any:
    """What is the same in all, with sizes for whole numbers that differ."""
    first = values[0]
    if what.split()[-1] in _TOLD:
        return first
    kind = type(first)
    if any(type(v) is not kind for v in values):
        raise Unlike(f"{what} of other kinds")
    if kind is int or isinstance(first, np.integer):
        seen = tuple(map(int, values))
        if what in _RESULTING:
            try:
                return sizes.of(seen)
            except Unlike:
                return Size(seen, "unknown", (), 0, 0)
        return sizes.of(seen)
    if isinstance(first, (tuple, list)):
        if any(len(v) != len(first) for v in values):
            raise Unlike(f"{what} of other lengths")
        made = [_same(list(v), sizes, what) for v in zip(*values, strict=True)]
        return kind(*made) if hasattr(first, "_fields") else kind(made)
    if hasattr(first, "eqns"):
        return _generic(values, [()] * len(values), sizes)
    if hasattr(first, "jaxpr") and hasattr(first, "consts"):
        return _generic([v.jaxpr for v in values], [v.consts for v in values], sizes)
    if isinstance(first, np.ndarray):
        if all(_equal(first, v) for v in values):
            return first
        raise Unlike(f"{what}: arrays that differ")
    if all(v is first or v == first for v in values):
        return first
    raise Unlike(f"{what}: {first!r} and others")


#: Parameters that only tell, or that do not know of shapes.
_TOLD = frozenset("name debug_info ctx_mesh update_jaxpr update_consts ft_in ft_out".split())
#: Parameters that follow from shapes.
_RESULTING = frozenset(["conv_general_dilated padding"])


def iterate(x: Any) -> Iterator[Size]:
    """The sizes in a shape or in parameters."""
    if type(x) is Size:
        yield x
    elif isinstance(x, (tuple, list)):
        for v in x:
            yield from iterate(v)
    elif type(x) is dict:
        for v in x.values():
            yield from iterate(v)
    elif type(x) is Literal:
        yield from iterate((x.size, x.over))
    elif type(x) is Generic:
        yield from iterate((x.shapes, x.outs))
        for e in x.steps:
            yield from iterate((e.shapes, e.params, e.ins))
