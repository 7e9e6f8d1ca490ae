"""One program text for all sizes: what the jaxprs of a few sizes have in common.

Three traces of the same step, of texts of other lengths say, give three jaxprs that differ in whole numbers only.  Each
such number is expressed by the sizes that vary (``8 * n``, ``n - 1``), and what results holds for other sizes as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Equation", "Generic", "Literal", "Size", "Sizes", "Unlike", "generic_of"]


class Unlike(Exception):
    """The jaxprs have less in common than is needed, or a size is used in a way that has no rule."""


class Size:
    """A number that follows from the sizes that vary.

    seen: what it was in the jaxprs that were compared.   at(numbers): what it is for these sizes, also traced ones.
    """

    __slots__ = ("seen", "kind", "terms", "a", "b")

    def __init__(self, seen: tuple, kind: str, terms: tuple[int, ...], a: int, b: int) -> None:
        self.seen, self.kind, self.terms, self.a, self.b = seen, kind, terms, a, b

    def at(self, numbers: Sequence[Any]) -> Any:
        if self.kind == "unknown":
            raise Unlike(f"numbers that do not follow from the sizes: {self.seen}")
        first = numbers[self.terms[0]]
        if self.kind == "linear":
            return first if self.a == 1 and self.b == 0 else first * self.a + self.b
        if self.kind == "quotient":
            return (first + self.b) // self.a
        if self.kind == "sum":
            return first + self.a * numbers[self.terms[1]] + self.b
        for t in self.terms[1:]:
            first = first * numbers[t]
        return first * self.a

    def __repr__(self) -> str:
        return f"Size{self.seen}"


class Sizes:
    """The numbers that vary, ``symbols`` by what was seen of each, and those that follow from them."""

    def __init__(self, symbols: Sequence[tuple]) -> None:
        self.symbols: list[tuple] = []
        self.known: dict[tuple, Size | None] = {}
        for seen in symbols:
            if self._find(seen) is None:
                self.known.clear()  # what could not be expressed may be now
                self.symbols.append(seen)

    def of(self, seen: tuple) -> Any:
        """The number that was seen to be these: an int if it does not vary."""
        if all(n == seen[0] for n in seen):
            return seen[0]
        found = self._find(seen)
        if found is None:
            raise Unlike(f"numbers that do not follow from the sizes: {seen} of {self.symbols}")
        return found

    def _find(self, seen: tuple) -> Size | None:
        if seen not in self.known:
            self.known[seen] = self._expressed(seen)
        return self.known[seen]

    def _expressed(self, seen: tuple) -> Size | None:
        count = len(self.symbols)
        for k, symbol in enumerate(self.symbols):
            if symbol == seen:
                return Size(seen, "linear", (k,), 1, 0)
        for k, symbol in enumerate(self.symbols):
            low, high = min(range(len(seen)), key=symbol.__getitem__), max(range(len(seen)), key=symbol.__getitem__)
            a, rest = divmod(seen[high] - seen[low], symbol[high] - symbol[low])
            b = seen[low] - a * symbol[low]
            if a > 0 and rest == 0 and all(n == a * s + b for n, s in zip(seen, symbol, strict=True)):
                return Size(seen, "linear", (k,), a, b)
        for n in (2, 3):
            for terms in itertools.combinations_with_replacement(range(count), n):
                product = [1] * len(seen)
                for t in terms:
                    product = [p * s for p, s in zip(product, self.symbols[t], strict=True)]
                a = seen[0] // product[0]
                if a > 0 and all(x == a * p for x, p in zip(seen, product, strict=True)):
                    return Size(seen, "product", terms, a, 0)
        for (k, s), (j, t) in itertools.permutations(enumerate(self.symbols), 2):
            for a in (1, -1):
                rests = {x - y - a * z for x, y, z in zip(seen, s, t, strict=True)}
                if len(rests) == 1 and (a < 0 or k < j):
                    return Size(seen, "sum", (k, j), a, rests.pop())
        for k, symbol in enumerate(self.symbols):
            for a in range(2, 33):
                low = max(x * a - s for x, s in zip(seen, symbol, strict=True))
                high = min(x * a - s + a - 1 for x, s in zip(seen, symbol, strict=True))
                if low <= high:
                    return Size(seen, "quotient", (k,), a, min((b for b in range(low, high + 1)), key=abs))
        return None


class Literal(NamedTuple):
    """A number in a jaxpr: ``value``, or one that follows from ``size``: itself, or its reciprocal."""

    value: Any
    dtype: Any
    size: Any = None
    reciprocal: bool = False


class Equation(NamedTuple):
    """As JAX's, with :class:`Size` in the place of numbers that vary.

    ins: names (ints) or literals.   outs: names.   shapes: of the results.
    """

    primitive: Any
    params: dict
    ins: tuple
    outs: tuple[int, ...]
    shapes: tuple


class Generic:
    """A jaxpr for all sizes.

    given, shapes: names and shapes of what it takes;  constants: by name;  steps: the equations;  outs: the results.
    """

    def __init__(self, given: tuple, shapes: tuple, constants: dict[int, Any], steps: list[Equation],
                 outs: tuple) -> None:  # fmt: skip
        self.given, self.shapes, self.constants, self.steps, self.outs = given, shapes, constants, steps, outs


#: Calls whose inner jaxprs take the place of the call.
_CALLS = frozenset(
    "jit pjit closed_call core_call custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr checkpoint remat2".split()
)


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
            if e.primitive.name not in _CALLS:
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
            if any(v is None or not _equal(values[0], v) for v in values):
                raise Unlike("a constant array that differs by size")
            kept[name] = values[0]
    return Generic(one.given, shapes, kept, steps, outs)


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
    return Equation(e.primitive, params, atoms, outs, shapes)


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
    numbers = [float(v) for v in values]
    if all(n == int(n) for n in numbers):
        return Literal(None, dtype, sizes.of(tuple(map(int, numbers))))
    inverse = [1 / n for n in numbers]
    if all(abs(n - round(n)) < 1e-4 * abs(n) for n in inverse):
        return Literal(None, dtype, sizes.of(tuple(map(round, inverse))), True)
    raise Unlike(f"numbers of unknown origin: {numbers}")


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
_TOLD = frozenset("name debug_info ctx_mesh update_jaxpr update_consts".split())
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
