"""Sizes that depend on sizes: sums of products of names and floor divisions, with integers in front.

Everything that a model derives from its inputs' sizes is written so: ``2*s0``, ``s0*s1 + 1``, ``(s0 + 1)//2``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Union

__all__ = ["Range", "Size", "evaluate", "has_size", "root_of"]

Atom = Union[str, "Quotient"]


class Size:
    """An integer made of named sizes: ``terms`` maps products of atoms (sorted tuples of them) to what is in front.

    Arithmetic with integers and other sizes gives sizes, or an int where no name is left.
    """

    __slots__ = ("terms", "_hash")

    def __init__(self, terms: Mapping[tuple[Atom, ...], int]) -> None:
        self.terms = {k: v for k, v in sorted(terms.items(), key=lambda kv: _order(kv[0])) if v}
        self._hash = hash(tuple(self.terms.items()))

    @classmethod
    def named(cls, name: str) -> Size:
        """The size of that name."""
        return cls({(name,): 1})

    # ---- arithmetic --------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        terms = dict(self.terms)
        for k, v in _terms(other).items():
            terms[k] = terms.get(k, 0) + v
        return _made(terms)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Any:
        terms: dict[tuple[Atom, ...], int] = {}
        for a, m in self.terms.items():
            for b, n in _terms(other).items():
                k = tuple(sorted(a + b, key=str))
                terms[k] = terms.get(k, 0) + m * n
        return _made(terms)

    __rmul__ = __mul__

    def __neg__(self) -> Any:
        return self * -1

    def __sub__(self, other: Any) -> Any:
        return self + -1 * other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __floordiv__(self, n: int) -> Any:
        if n == 1:
            return self
        if all(v % n == 0 for v in self.terms.values()):
            return _made({k: v // n for k, v in self.terms.items()})
        if len(self.terms) <= 2:  # floor((floor(x / m) + b) / n) is floor((x + m b) / (m n))
            inner = [k[0] for k, v in self.terms.items() if len(k) == 1 and v == 1 and isinstance(k[0], Quotient)]
            rest = {k: v for k, v in self.terms.items() if k and not (len(inner) == 1 and k == (inner[0],))}
            if len(inner) == 1 and not rest:
                q = inner[0]
                return (q.of + q.by * self.terms.get((), 0)) // (q.by * n)
        return Size({(Quotient(self, n),): 1})

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Size) and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    # ---- use ---------------------------------------------------------------------------------------------------

    def at(self, sizes: Mapping[str, int]) -> int:
        """Its value for the named sizes."""
        total = 0
        for atoms, factor in self.terms.items():
            for a in atoms:
                factor *= sizes[a] if isinstance(a, str) else a.of.at(sizes) // a.by
            total += factor
        return total

    def names(self) -> list[str]:
        """The names in it, each once, in order."""
        found: dict[str, None] = {}
        for atoms in self.terms:
            for a in atoms:
                found.update(dict.fromkeys([a] if isinstance(a, str) else a.of.names()))
        return sorted(found)

    def __str__(self) -> str:
        parts = []
        for atoms, factor in self.terms.items():
            names = [str(a) for a in atoms]
            if not names:
                text = str(abs(factor))
            else:
                text = "*".join(names if abs(factor) == 1 else [str(abs(factor)), *names])
            parts.append((" - " if factor < 0 else " + ") + text)
        head = parts[0]
        return ("-" + head[3:] if head.startswith(" - ") else head[3:]) + "".join(parts[1:])

    __repr__ = __str__

    # ---- files -------------------------------------------------------------------------------------------------

    def plain(self) -> list:
        """It as lists, numbers and strings."""
        return [[v, [a if isinstance(a, str) else [a.of.plain(), a.by] for a in k]] for k, v in self.terms.items()]

    @classmethod
    def of_plain(cls, told: list) -> Size:
        """What :meth:`plain` gave."""
        return cls({
            tuple(a if isinstance(a, str) else Quotient(cls.of_plain(a[0]), int(a[1])) for a in atoms): int(v)
            for v, atoms in told
        })  # fmt: skip


class Quotient:
    """The floor of a size divided by a positive number, as an atom."""

    __slots__ = ("of", "by")

    def __init__(self, of: Size, by: int) -> None:
        self.of, self.by = of, by

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Quotient) and self.by == other.by and self.of == other.of

    def __hash__(self) -> int:
        return hash((self.of, self.by))

    def __str__(self) -> str:
        inner = str(self.of)
        return f"({inner if inner.isidentifier() else f'({inner})'}//{self.by})"


def _order(atoms: tuple) -> tuple:
    return (-len(atoms), tuple(map(str, atoms)))


def _terms(x: Any) -> dict:
    return x.terms if isinstance(x, Size) else {(): x}


def _made(terms: dict) -> Any:
    """A Size, or the number that it is."""
    found = Size(terms)
    if not found.terms:
        return 0
    return found.terms[()] if list(found.terms) == [()] else found


def evaluate(x: Any, sizes: Mapping[str, int]) -> Any:
    """``x`` with numbers for the sizes in it, also within tuples."""
    if isinstance(x, (Size, Root)):
        return x.at(sizes)
    return tuple([evaluate(i, sizes) for i in x]) if type(x) is tuple else x


def has_size(x: Any) -> bool:
    """Whether there is a size in ``x``."""
    return isinstance(x, (Size, Root)) or (type(x) is tuple and any(map(has_size, x)))


class Root:
    """A number ``factor * size ** power``, where a model scales by a size: powers 1, -1, 1/2 and -1/2."""

    __slots__ = ("size", "power", "factor")

    def __init__(self, size: Size, power: float, factor: float) -> None:
        self.size, self.power, self.factor = size, power, factor

    def at(self, sizes: Mapping[str, int]) -> float:
        """Its value for the named sizes."""
        return self.factor * self.size.at(sizes) ** self.power

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Root) and (self.size, self.power, self.factor) == (
            other.size, other.power, other.factor)  # fmt: skip

    def __hash__(self) -> int:
        return hash((self.size, self.power, self.factor))

    def __str__(self) -> str:
        inner = f"({self.size})**{self.power:g}"
        return inner if self.factor == 1 else f"{self.factor!r}*{inner}"

    __repr__ = __str__


def root_of(values: list[float], known: list[tuple[Size, list[int]]]) -> Root | None:
    """The number that varies like a power of a known size, or None."""
    for size, sizes in known:
        if min(sizes) <= 0:
            continue
        for power in (1.0, -1.0, 0.5, -0.5):
            factor = values[0] / sizes[0] ** power
            near = round(factor)
            factor = float(near) if near and abs(factor - near) < 1e-12 * abs(near) else factor
            if all(abs(factor * n**power - v) <= 1e-14 * abs(v) for n, v in zip(sizes, values, strict=True)):
                return Root(size, power, factor)
    return None


class Range:
    """What a size may be: from ``lower`` to ``upper``, None where there is no bound."""

    __slots__ = ("lower", "upper")

    def __init__(self, lower: int, upper: int | None) -> None:
        self.lower, self.upper = lower, upper

    def __contains__(self, n: int) -> bool:
        return self.lower <= n and (self.upper is None or n <= self.upper)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Range) and (self.lower, self.upper) == (other.lower, other.upper)

    def __hash__(self) -> int:
        return hash((self.lower, self.upper))

    def __repr__(self) -> str:
        return f"VR[{self.lower}, {'int_oo' if self.upper is None else self.upper}]"
