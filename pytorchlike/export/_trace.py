"""From a module and ``dynamic_shapes`` to a program: which sizes stay open, and why others cannot."""

from __future__ import annotations

import re
from typing import Any

from ..nn.modules.module import Module
from ._dims import Open, leaf_names, read_shapes, user_error
from ._general import Mismatch, generalized, samples_of
from ._recording import Recording, Source, Step, live, record
from ._sizes import Range, Size

__all__ = ["trace"]

#: A size above those that modules are recorded at; upper bounds are looked for below it.
FAR = 5000


def trace(mod: Module, args: tuple, kwargs: dict[str, Any], dynamic_shapes: Any = None) -> tuple[Open, Recording]:
    """The sizes left open, and the program for all of them.

    Raises what the module raises for the arguments themselves; UserError where it does not take other sizes that
    ``dynamic_shapes`` leave open. What has ``Dim.AUTO`` is kept fixed, or equal to another size, instead; hints without
    a ``max`` may get one.
    """
    traced = _Tracing(mod, args, kwargs)
    at_example = traced.fixed()
    if dynamic_shapes is None:
        return Open([], {}), at_example
    opened = read_shapes(mod, args, kwargs, dynamic_shapes)
    if not opened.symbols:
        return opened, at_example
    opened, program = traced.resolved(opened)
    order = {name: f"s{k}" for k, name in enumerate(opened.symbols)}
    if any(a != b for a, b in order.items()):
        opened, program = _renamed(opened, program, order)
    return opened, program


class _Tracing:
    def __init__(self, mod: Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self.mod, self.args, self.kwargs = mod, args, kwargs
        self.names = leaf_names(mod, args, kwargs)
        self.seen: dict[tuple, Recording] = {}

    def fixed(self) -> Recording:
        return live(record(self.mod, self.args, self.kwargs, self.names))

    def attempt(self, opened: Open) -> Recording:
        def record_at(sizes: dict[str, int]) -> Recording:
            shapes = opened.at(sizes)
            key = tuple(shapes)
            if key not in self.seen:
                try:
                    self.seen[key] = record(self.mod, self.args, self.kwargs, self.names, shapes)
                except Exception as error:
                    told = ", ".join(f"{opened.symbols[n].told} = {v}" for n, v in sizes.items())
                    raise Mismatch(f"with {told} the module raises {type(error).__name__}: {error}") from error
            return self.seen[key]

        ranges = {n: s.range for n, s in opened.symbols.items()}
        if not ranges:
            return self.fixed()
        avoid = {n for s in opened.shapes for n in s if isinstance(n, int)}
        examples = {n: s.example for n, s in opened.symbols.items()}
        try:
            return generalized(record_at, ranges, samples_of(ranges, examples, avoid))
        except Mismatch as error:
            text = str(error)
            for n, s in opened.symbols.items():
                text = re.sub(rf"\b{n}\b", s.told if s.told.isidentifier() else n, text)
            raise Mismatch(text) from error.__cause__

    def works(self, opened: Open) -> bool:
        try:
            self.attempt(opened)
        except Mismatch:
            return False
        return True

    def resolved(self, opened: Open) -> tuple[Open, Recording]:
        try:
            return opened, self.attempt(opened)
        except Mismatch as error:
            first = error
        if first.__cause__ is not None and any(s.narrow for s in opened.symbols.values()):
            opened = self.narrowed(opened)
            try:
                return opened, self.attempt(opened)
            except Mismatch as error:
                first = error
        told = [s for s in opened.symbols.values() if not s.hint]
        hints = [s for s in opened.symbols.values() if s.hint]
        others = opened.fixed({s.name: s.example for s in hints})
        if told and not self.works(others):
            merged = _merged(opened)
            if not hints or len(merged.symbols) == len(opened.symbols) or not self.works(merged):
                raise self.explained(others, first) from first
        # equal sizes first, then those that must be what they are
        for each in (_merged(opened), opened):
            try:
                return each, self.attempt(each)
            except Mismatch:
                pass
        alone = {s.name: s.example for s in hints
                 if not self.works(opened.fixed({t.name: t.example for t in opened.symbols.values() if t is not s}))
                 and not self.works(_only_equal(opened, s.name))}  # fmt: skip
        fewer = opened.fixed(alone)
        for each in (fewer, _merged(fewer)):
            try:
                return each, self.attempt(each)
            except Mismatch:
                pass
        return others, self.attempt(others)

    def narrowed(self, opened: Open) -> Open:
        """The same with upper bounds where the module raises for larger sizes: positions that a table has, say."""
        symbols = dict(opened.symbols)
        examples = {n: s.example for n, s in symbols.items()}

        def runs(name: str, n: int) -> bool:
            shapes = opened.at({**examples, name: n})
            try:
                self.seen.setdefault(tuple(shapes), record(self.mod, self.args, self.kwargs, self.names, shapes))
            except Exception:  # whatever it raises, it does not take such a size
                return False
            return True

        for name, s in symbols.items():
            low, high = s.example, FAR
            if not s.narrow or runs(name, high) or not runs(name, low + 1):
                continue
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if runs(name, middle) else (low, middle)
            symbols[name] = s._replace(range=Range(s.range.lower, low))
        return Open(opened.shapes, symbols)

    def explained(self, opened: Open, error: Mismatch) -> Exception:
        names = list(opened.symbols)
        for k, b in enumerate(names):
            for a in names[:k]:
                if opened.symbols[a].example == opened.symbols[b].example:
                    if self.works(opened.fixed({b: Size.named(a)})):
                        x, y = opened.symbols[b].told, opened.symbols[a].told
                        return user_error(f"Constraints violated ({x})!\n  - The values of {x} and {y} must always be "
                                          f"equal.\nSuggested fixes:\n  {x} = {y}\n{error}")  # fmt: skip
        for name, s in opened.symbols.items():
            rest = {n: t.example for n, t in opened.symbols.items() if n != name}
            try:
                self.attempt(opened.fixed(rest))
            except Mismatch as its:
                return user_error(
                    f"Constraints violated ({s.told})!\n  - The module is no one program for all sizes of {s.told} in "
                    f"{s.range} (the example's is {s.example}): {its}\nSuggested fixes:\n  keep it fixed "
                    f"(Dim.STATIC, or None), let it be decided (Dim.AUTO), or restrict it: Dim({s.told!r}, min=, "
                    "max=), or a multiple such as 8 * Dim(...)"
                )
        told = ", ".join(s.told for s in opened.symbols.values())
        return user_error(f"Constraints violated ({told})!\n  - {error}")


def _merged(opened: Open) -> Open:
    """The same with hints of equal example sizes as one size."""
    first: dict[int, str] = {}
    put: dict[str, Any] = {}
    for name, s in opened.symbols.items():
        if s.example in first and s.hint:
            put[name] = Size.named(first[s.example])
        else:
            first.setdefault(s.example, name)
    return opened.fixed(put)


def _only_equal(opened: Open, name: str) -> Open:
    """Only the sizes that are what ``name`` is open, as one."""
    its = opened.symbols[name].example
    return opened.fixed({n: Size.named(name) if s.example == its else s.example
                         for n, s in opened.symbols.items() if n != name})  # fmt: skip


def _renamed(opened: Open, program: Recording, order: dict[str, str]) -> tuple[Open, Recording]:
    """The same with other names for the sizes."""
    def put(x: Any) -> Any:
        if isinstance(x, Size):
            return _put_names(x, order)
        if type(x) is tuple:
            return tuple([put(i) for i in x])
        if hasattr(x, "size") and hasattr(x, "power"):
            return type(x)(_put_names(x.size, order), x.power, x.factor)
        return x

    def source(s: Source) -> Source:
        return s._replace(shape=put(s.shape))

    def step(s: Step) -> Step:
        args = tuple([a._replace(value=put(a.value)) if hasattr(a, "value") else a for a in s.args])
        return s._replace(static=put(s.static), args=args, outs=put(s.outs))

    symbols = {order[n]: s._replace(name=order[n]) for n, s in opened.symbols.items()}
    shapes = [put(s) for s in opened.shapes]
    return Open(shapes, symbols), program._replace(
        sources=tuple(map(source, program.sources)), steps=tuple(map(step, program.steps)))  # fmt: skip


def _put_names(size: Size, order: dict[str, str]) -> Size:
    def atom(a: Any) -> Any:
        return order.get(a, a) if isinstance(a, str) else type(a)(_put_names(a.of, order), a.by)

    return Size({tuple(sorted((atom(a) for a in k), key=str)): v for k, v in size.terms.items()})
