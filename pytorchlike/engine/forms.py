"""Kernels traced once for all sizes that some of their dimensions may have.

A text that grows by a word at a time, sentences of any length: each new size would be traced anew by JAX, in
milliseconds per operation.  When a kernel has met a few sizes, those that varied become symbols (``jax.export``), it is
traced once more, and every further size only puts numbers in their place.

A body that decides by a size cannot be traced so, and is traced for each as before.  JAX raises then, but for
``n == m``, which it takes to be false.  So a form must agree with what was traced for the sizes that were met, and it
is not used where a size is the same as another one of the call, nor where what JAX decided so (``n % 2 == 0``, ``if
n % 2``) would be otherwise.
"""

from __future__ import annotations

import gc
import numbers
import operator
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from .config import config
from .errors import DataError, let_go

__all__ = ["Form", "bound", "form_of"]

#: Sizes to have met before some are made symbols; how often that may fail for one kernel; forms that it may have.
MET, FAILURES, FORMS = 4, 3, 32
#: Sizes below that mean something of their own (what is spread, what is empty).
LEAST = 2
#: Elements of all that a kernel takes and gives, up to which a form is compared with it: that is to evaluate both.
COMPARED = 1 << 18

#: What expressions of sizes may use.
_scope = {"__builtins__": {}, "floordiv": operator.floordiv, "mod": operator.mod, "max": max, "min": min}
#: By identity, sizes and what they are made of: another size's name, or code.  (Their text takes long to make.)
_codes: dict[int, tuple[Any, Any]] = {}
_NAME = re.compile(r"\bsize\d+\b")
_local = threading.local()
_symbol: list[type] = []


def bound(x: Any) -> Any:
    """``x`` with numbers for its symbols: a size, or what contains sizes.  Inside of :meth:`Form.fill` only."""
    sizes = getattr(_local, "sizes", None)
    return x if sizes is None else _fill(x, sizes)


def is_bound() -> bool:
    """Whether jaxprs are being filled, so that nothing made of them may be kept."""
    return getattr(_local, "sizes", None) is not None


def is_symbolic(x: Any) -> bool:
    """Whether ``x`` is a size that is a symbol, or contains one."""
    kind = type(x)
    if kind is tuple or kind is list:
        return any(map(is_symbolic, x))
    if kind is dict:
        return any(map(is_symbolic, x.values()))
    return bool(_symbol) and kind is _symbol[0]


def holds(condition: Callable[[], Any], otherwise: bool) -> bool:
    """A condition on sizes that chooses between formulations of one result; ``otherwise`` where a symbol decides."""
    try:
        return bool(condition())
    except Exception as error:
        if type(error).__name__ != "InconclusiveDimensionOperation":
            raise
        let_go(error)
        return otherwise


def magnitude() -> tuple[int, ...]:
    """The orders of magnitude of the sizes that are being filled in."""
    sizes = getattr(_local, "sizes", None)
    return () if sizes is None else tuple([n.bit_length() for n in sizes.values()])


def _code_of(x: Any, sizes: Any) -> Any:
    known = _codes.get(id(x))
    if known is None:
        if len(_codes) > 20_000:
            _codes.clear()
        text = str(x)
        code = text if text in sizes else compile(text.replace("^", "**"), "<size>", "eval")
        known = _codes[id(x)] = x, code
    return known[1]


def _number(code: Any, sizes: dict[str, int]) -> int:
    return sizes[code] if type(code) is str else int(eval(code, _scope, sizes))  # our own symbols only


def _fill(x: Any, sizes: dict[str, int]) -> Any:
    kind = type(x)
    if kind is tuple:
        return tuple([_fill(v, sizes) for v in x])
    if kind is _symbol[0]:
        return _number(_code_of(x, sizes), sizes)
    if kind is dict:
        return {k: _fill(v, sizes) for k, v in x.items()}
    if kind is list:
        return [_fill(v, sizes) for v in x]
    return x


class Form:
    """A jaxpr for arrays some of whose sizes are symbols.

    closed: the jaxpr;  outs: what comes out, a tree of ``jax.ShapeDtypeStruct``.  pattern: of the arguments' sizes,
    numbers and names;  least, most: what the named ones may be, so that more can be decided while tracing.
    checks: its data checks, whose messages may tell of sizes by name.   samples: what it was compared with.
    unlike: what must not be equal to these numbers, as it was traced as if it were not.
    """

    __slots__ = ("closed", "outs", "pattern", "least", "most", "checks", "samples", "unlike", "_fixed")

    def __init__(self, closed: Any, outs: Any, pattern: tuple, least: dict[str, int], most: dict[str, int]) -> None:
        self.closed, self.outs, self.pattern, self.least, self.most = closed, outs, pattern, least, most
        self.checks: tuple[DataError, ...] = ()
        self.samples: list[tuple] = []
        self.unlike: list[tuple[Any, int]] = []
        self._fixed = {d for dims in pattern for d in dims if type(d) is int}

    def sizes(self, shapes: tuple) -> dict[str, int] | None:
        """The numbers of the symbols for arrays of these (shape, dtype)s, also too large ones; None if none fit."""
        found: dict[str, int] = {}
        for pattern, (shape, _) in zip(self.pattern, shapes, strict=True):
            for p, n in zip(pattern, shape, strict=True):
                if type(p) is int:
                    if p != n:
                        return None
                elif n < self.least[p] or found.setdefault(p, n) != n:
                    return None
        return None if any(_number(code, found) == n for code, n in self.unlike) else found

    def allows(self, sizes: dict[str, int]) -> bool:
        """Whether none of the numbers is too large."""
        return all(n <= self.most[p] for p, n in sizes.items())

    def coincides(self, sizes: dict[str, int]) -> bool:
        """Whether two different sizes are the same by chance."""
        values = sizes.values()
        return len(set(values)) < len(values) or not self._fixed.isdisjoint(values)

    def fill(self, sizes: dict[str, int], make: Callable[[], Any]) -> Any:
        """What ``make`` makes while :func:`bound` knows the numbers."""
        before = getattr(_local, "sizes", None)
        _local.sizes = sizes
        try:
            return make()
        finally:
            _local.sizes = before

    def data_checks(self, sizes: dict[str, int]) -> tuple[DataError, ...]:
        """The data checks with numbers for the names."""
        return tuple([
            DataError(c.exception, _NAME.sub(lambda m: str(sizes.get(m[0], m[0])), c.message))
            for c in self.checks
        ])  # fmt: skip

    def out_specs(self, sizes: dict[str, int]) -> Any:
        """What comes out for these numbers."""
        return _specs(self.outs, sizes)


def _specs(x: Any, sizes: dict[str, int]) -> Any:
    if type(x) is tuple:
        return tuple([_specs(v, sizes) for v in x])
    return type(x)(_fill(x.shape, sizes), x.dtype)


class _Met:
    """What a kernel was traced for of late, (shapes, jaxpr), and its forms, the last one first.

    failures: how often none could be made.
    """

    __slots__ = ("samples", "forms", "failures")

    def __init__(self) -> None:
        self.samples: list[tuple] = []
        self.forms: list[Form] = []
        self.failures = 0


_met: OrderedDict[tuple, _Met] = OrderedDict()
#: ``agrees(form, sizes, jaxpr)``: whether a form gives for these sizes what a jaxpr traced for them does.
Agrees = Callable[[Form, dict, Any], bool]


def _known(name: Any, shapes: tuple) -> _Met:
    """By the dtypes, and by which sizes are the same: two products of attention are not of one form."""
    places: dict[int, int] = {}
    key = (name, tuple([(tuple([places.setdefault(n, len(places)) for n in s]), d) for s, d in shapes]))
    met = _met.get(key)
    if met is None:
        met = _met[key] = _Met()
        while len(_met) > config.max_kernels:
            _met.popitem(last=False)
    return met


def form_of(
    name: Any, shapes: tuple, trace: Callable[[tuple], tuple], agrees: Agrees
) -> tuple[Form, dict[str, int]] | None:
    """The form of what is called ``name`` that fits arrays of these (shape, dtype)s, with its numbers; or None.

    trace: gives (closed jaxpr, tree of what comes out) for (shape, dtype)s whose sizes may be symbols.
    """
    met = _known(name, shapes)
    larger = None
    for form in met.forms:
        sizes = form.sizes(shapes)
        if sizes is not None and not form.coincides(sizes):  # perhaps another one has fewer symbols
            if form.allows(sizes):
                return form, sizes
            larger = form
    if met.failures >= FAILURES:
        return None
    if larger is not None:
        sizes = larger.sizes(shapes) or {}
        most = {p: max(m, _room(sizes[p])) for p, m in larger.most.items()}
        found = _traced(larger.pattern, larger.least, most, larger.samples, trace, agrees)
        met.forms.remove(larger)
    elif len(met.samples) >= MET:
        found = _common(met.samples, trace, agrees)
        met.samples.clear()
        sizes = None if found is None else found.sizes(shapes)
    else:
        return None
    if found is None:
        met.failures += 1
        return None
    met.forms.insert(0, found)
    del met.forms[FORMS:]
    fits = sizes is not None and found.allows(sizes) and not found.coincides(sizes)
    return (found, sizes) if fits else None  # type: ignore[return-value]


def note(name: Any, shapes: tuple, closed: Any) -> None:
    """Tell what was traced for a size, for a form to come."""
    met = _known(name, shapes)
    if met.failures < FAILURES and len(met.samples) < MET:
        if sum([a.size for a in (*closed.in_avals, *closed.out_avals)]) <= COMPARED:
            met.samples.append((shapes, closed))


def _common(samples: list[tuple], trace: Callable[[tuple], tuple], agrees: Agrees) -> Form | None:
    """The form of shapes that were met: what varied becomes a symbol, the same one for what varied alike."""
    names: dict[tuple, str] = {}
    pattern = []
    for a, (shape, _) in enumerate(samples[0][0]):
        dims: list[int | str] = []
        for d in range(len(shape)):
            seen = tuple([shapes[a][0][d] for shapes, _ in samples])
            dims.append(shape[d] if len(set(seen)) == 1 else names.setdefault(seen, f"size{len(names)}"))
        pattern.append(tuple(dims))
    if not names:
        return None
    least, most = dict.fromkeys(names.values(), LEAST), {n: _room(max(seen)) for seen, n in names.items()}
    found = _traced(tuple(pattern), least, most, list(samples), trace, agrees)
    if found is not None or any(min(seen) < LEAST for seen in names):
        return found
    # Perhaps it compares a size with another number: the sizes that were met are the same side of it.
    fixed = sorted({d for dims in pattern for d in dims if type(d) is int})
    for seen, n in names.items():
        least[n] = 1 << min(seen).bit_length() - 1
        most[n] = next((d for d in fixed if d >= max(seen)), 1 << (max(seen) - 1).bit_length())
    return _traced(tuple(pattern), least, most, list(samples), trace, agrees)


def _watch(kind: type) -> None:
    """Have it noted, while a form is traced, by what symbols the body decides as JAX cannot: ``n == 3``, ``if n % 2``.

    JAX takes the first to be false and the second to be true, which says that they are unlike these numbers.
    """
    equal, true = kind.__eq__, getattr(kind, "__bool__", lambda symbol: True)

    def note(symbol: Any, number: int) -> None:
        noted = getattr(_local, "noted", None)
        if noted is not None:
            noted[symbol, number] = None

    def eq(self: Any, other: Any) -> bool:
        found = equal(self, other)
        if found is False and isinstance(other, numbers.Integral):
            note(self, int(other))
        return found

    def boolean(self: Any) -> bool:
        found = true(self)
        if found:
            note(self, 0)
        return found

    kind.__eq__, kind.__bool__ = eq, boolean  # type: ignore[method-assign, assignment, attr-defined]


def _room(n: int) -> int:
    return 1 << max(n, 1).bit_length() + 1


def _traced(
    pattern: tuple, least: dict[str, int], most: dict[str, int], samples: list[tuple],
    trace: Callable[[tuple], tuple], agrees: Agrees,
) -> Form | None:  # fmt: skip
    from jax import export

    bounds = [text for n, m in most.items() for text in (f"{n} >= {least[n]}", f"{n} <= {m}")]
    symbolic = export.symbolic_shape(", ".join(most), scope=export.SymbolicScope(bounds))
    symbols = dict(zip(most, symbolic, strict=True))
    if not _symbol:
        _symbol.append(type(symbolic[0]))
        _watch(_symbol[0])
    shapes = tuple([
        (tuple([symbols[d] if type(d) is str else d for d in dims]), dtype)
        for dims, (_, dtype) in zip(pattern, samples[0][0], strict=True)
    ])  # fmt: skip
    _local.noted = noted = {}
    try:
        closed, outs = trace(shapes)
    except Exception as error:  # whatever it needs a number for, it is traced for each
        let_go(error)
        return None
    finally:
        _local.noted = None
        gc.collect(1)  # what JAX raised and caught on its way refers to itself by its frames, see ``let_go``
    form = Form(closed, outs, pattern, least, most)
    form.unlike = [(_code_of(x, most), n) for x, n in noted if set(_NAME.findall(str(x))) <= set(most)]
    form.samples = samples
    compared = 0
    for seen, jaxpr in samples:
        sizes = form.sizes(seen)
        if sizes is not None:  # else so small that it means something else
            if not agrees(form, sizes, jaxpr):
                return None
            compared += 1
    return form if compared > 1 else None
