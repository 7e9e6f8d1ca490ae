"""Evaluation of jaxprs by NumPy: for shapes that hardly come again, which a compilation would not pay for.

XLA compiles per shape, in tens of milliseconds per operation.  JAX traces an operation in less than one, and NumPy
evaluates what results in microseconds per primitive.  `policy` says when; the primitives are in ``_primitives``.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from . import _primitives_indexing as _primitives_indexing  # registers its rules
from . import _primitives_linalg as _primitives_linalg  # registers its rules
from . import policy
from ._primitives import ROUNDED, Missing, Plan, shape_matters
from .config import config
from .errors import let_go
from .forms import Form, form_of, note
from .memory import Uncollected
from .op import ARRAY, Kernel, Lifted, without_numbers
from .stats import stats

__all__ = ["Interpreted", "Missing", "function_of", "interpret", "jaxpr_of", "specs_of",
           "traced_kernel", "traced_of"]  # fmt: skip


def interpret(closed: Any, arrays: Any) -> list[np.ndarray]:
    """The outputs of a closed jaxpr on arrays (anything that NumPy can read), of the jaxpr's dtypes.

    The results own their memory or share it with each other, never with the arguments or the jaxpr.  Raises Missing for
    a primitive without a NumPy equivalent.
    """
    return _run(Plan(closed.jaxpr, closed.consts), arrays)


def _run(plan: Plan, leaves: Any) -> list[np.ndarray]:
    given = [np.asarray(a) for a in leaves]
    with np.errstate(all="ignore"):
        found = plan.run(given)
    given += plan.constants
    roots = set(map(id, map(_root, given)))  # not each result beside each argument: hundreds are joined, or cut apart
    return [_own(x, given, roots) for x in found]


def _root(x: np.ndarray) -> np.ndarray:
    """The array whose memory ``x`` shows."""
    while type(x.base) is np.ndarray:
        x = x.base
    return x


def _own(x: np.ndarray, given: list[np.ndarray], roots: set[int]) -> np.ndarray:
    """``x`` in order and in memory of its own: arguments may be donated or be the user's.

    roots: of what is given, by identity.
    """
    root = _root(x)
    if x.flags.c_contiguous and id(root) not in roots:
        # of what NumPy itself has made of an interface, nothing else tells
        if root.base is None or not any(np.may_share_memory(x, g) for g in given):
            return x
    return np.array(x, order="C")


class Interpreted:
    """A function that JAX can trace for arguments like ``specs``, evaluated by NumPy.

    compile: makes the compiled function, used instead once the time spent here would have paid for a compilation, and
    for what NumPy does not have; None: never.  exactly: results must be XLA's to the bit (random numbers, which are to
    be the same for a seed).  kind: what is to be known of its price, see ``policy.rent``.  Raises Missing if NumPy does
    not have it, or would take too long.
    """

    __slots__ = ("plan", "tree", "compile", "compiled", "spent", "least", "large", "dear", "kind", "calls", "traced",
                 "straight")  # fmt: skip

    def __init__(self, fn: Callable[..., Any], specs: tuple, compile: Callable[[], Any] | None = None,
                 traced: Traced | None = None, exactly: bool = False, patient: bool = False,
                 kind: Any = None) -> None:  # fmt: skip
        import jax

        exactly = exactly and config.tier != "interpret"
        traced = traced or Traced(*_trace(fn, specs))
        closed, shape, self.plan = traced.parts(exactly)
        self.traced = None if exactly else traced
        self.straight: Callable[..., tuple] | None = None
        self.calls = 0
        cost = self.plan.cost - self.plan.products  # those take XLA as long
        self.dear = cost * 1e-9
        self.large = float("-inf")  # seconds of compiling, where the kernel is far larger than others
        if compile is not None and config.tier != "interpret" and cost > policy.SLOW:
            self.large = policy.EQUATION * sum(1 for _ in _names(closed.jaxpr))
            if cost > 1e9 * self.large and not patient:
                raise Missing(f"interpretation would take about {cost / 1e6:.0f} ms")
        if exactly and _rounds(closed):
            raise Missing("rounding is not XLA's")
        self.tree = jax.tree.structure(shape)
        self.compile, self.compiled, self.spent, self.kind = compile, None, 0.0, kind
        self.least: float | None = None  # seconds that the compiled function would need, too
        stats.interpreted += 1

    def __call__(self, *args: Any) -> Any:
        if self.compiled is not None:
            return self.compiled(*args)
        import jax

        begin = time.thread_time()  # waiting for a busy machine is nothing that a compilation would save
        pays = self.compile is not None and self.spent > max(policy.rent(self.kind), self.large)
        if pays and config.tier != "interpret":
            return self._give_up(args)
        out = self.once(*args)
        if self.compiled is not None:
            return out
        if self.least is None:
            nbytes = sum([getattr(x, "nbytes", 8) for x in jax.tree.leaves((args, out))])
            self.least = policy.least(nbytes) + 1e-9 * self.plan.products
        self.spent += max(time.thread_time() - begin - self.least, 0.0)
        return out

    def once(self, *args: Any) -> Any:
        """The same by NumPy, whatever it has cost so far."""
        import jax

        self.calls += 1
        if self.calls == _OFTEN and self.traced is not None:
            self._straighten()
        leaves = jax.tree.leaves(args)
        if self.straight is not None:
            return jax.tree.unflatten(self.tree, self.straight(*[np.asarray(a) for a in leaves]))
        try:
            return jax.tree.unflatten(self.tree, _run(self.plan, leaves))
        except Missing:
            if self.compile is None:
                raise
            return self._give_up(args)

    def _straighten(self) -> None:
        """Write the plan out, for the calls to come."""
        from .straight import Straight

        traced, self.traced = self.traced, None
        with contextlib.suppress(Missing):
            self.straight = traced.made(lambda: Straight(traced.closed)).run  # type: ignore[union-attr]

    def _give_up(self, args: tuple) -> Any:
        begin = time.perf_counter()
        self.compiled = self.compile()  # type: ignore[misc]
        policy.priced(self.kind, time.perf_counter() - begin)
        self.plan = None
        stats.kernels += 1
        return self.compiled(*args)


#: Calls from which on a plan is written out as a function, which takes as long as some dozen calls and halves them.
_OFTEN = 32
#: What NumPy rounds otherwise than XLA, too, and XLA does not evaluate for it.
_OTHERS = {"pow", "while", "lgamma"}


def _rounds(closed: Any) -> bool:
    """Whether floats come out that NumPy would round otherwise than XLA.

    So it is where sums follow functions that XLA evaluates for it: XLA joins a product and a sum to one operation.
    """
    names = list(_names(closed.jaxpr))
    if not any(a.dtype.kind not in "biu" for a in closed.out_avals):
        return False
    first = next((k for k, (name, _) in enumerate(names) if name in ROUNDED), len(names))
    if any(n in _OTHERS for n, _ in names) or (first < len(names) and shape_matters()):
        return True
    return any(n in ("add", "sub") and inexact for n, inexact in names[first:])


def _names(jaxpr: Any) -> Iterator[tuple[str, bool]]:
    """The primitives of a jaxpr, and whether what they give is inexact."""
    from .cost import _inner

    for e in jaxpr.eqns:
        yield e.primitive.name, any(getattr(v.aval, "dtype", np.dtype(bool)).kind not in "biu" for v in e.outvars)
        for inner in _inner(e.params):
            yield from _names(getattr(inner, "jaxpr", inner))


def function_of(fn: Callable[..., Any], *specs: Any) -> Callable[..., Any]:
    """``fn``, which JAX can trace for arguments like ``specs``, as a function of NumPy arrays."""
    return Interpreted(fn, specs)


def _trace(fn: Callable[..., Any], specs: tuple) -> tuple:
    import jax

    with Uncollected(), jax.enable_x64(True):
        return jax.make_jaxpr(fn, return_shape=True)(*specs)


class Traced(NamedTuple):
    """A function traced for arrays: its jaxpr, and the tree of what comes out.

    form, sizes: if the jaxpr is one for many sizes, see ``forms``; ``outs`` tells of these.
    """

    closed: Any
    outs: Any
    form: Form | None = None
    sizes: dict | None = None

    def parts(self, exactly: bool = False) -> tuple:
        """Jaxpr, tree of what comes out, and the plan to evaluate it."""

        return self.closed, self.outs, self.made(lambda: Plan(self.closed.jaxpr, self.closed.consts, exactly))

    def made(self, make: Callable[[], Any]) -> Any:
        """What ``make`` makes of the jaxpr for these sizes."""
        return self.form.fill(self.sizes, make) if self.form is not None else make()  # type: ignore[arg-type]


def traced_for(name: Any, shapes: tuple, trace: Callable[[tuple], tuple]) -> Traced:
    """What ``trace`` gives for (shape, dtype)s, without tracing if a form of that name fits."""
    found = _formed(name, shapes, trace)
    if found is None:
        found = Traced(*trace(shapes))
        note(name, shapes, found.closed)
    return found


def _formed(name: Any, shapes: tuple, trace: Callable[[tuple], tuple]) -> Traced | None:
    """What the form of that name gives, if there is one that fits."""
    found = form_of(name, shapes, trace, _agree)
    if found is None:
        return None
    form, sizes = found
    return Traced(form.closed, form.out_specs(sizes), form, sizes)


def _agree(form: Form, sizes: dict[str, int], closed: Any) -> bool:
    """Whether a form gives for these sizes what a jaxpr traced for them does, on some values."""
    given = [_some(v.aval.shape, v.aval.dtype, k) for k, v in enumerate(closed.jaxpr.invars)]
    try:
        plan = form.fill(sizes, lambda: Plan(form.closed.jaxpr, form.closed.consts))
        with np.errstate(all="ignore"):
            mine, theirs = plan.run(given), Plan(closed.jaxpr, closed.consts).run(given)
    except Exception as error:  # no such primitive in NumPy, or no such sizes
        let_go(error)
        return False
    return all(_alike(a, b) for a, b in zip(mine, theirs, strict=True))


def _some(shape: tuple, dtype: Any, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind in "biu":
        return rng.integers(0, 2, shape).astype(dtype)
    return np.asarray(rng.uniform(0.25, 1, shape)).astype(dtype)


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind in "biu":
        return bool(np.array_equal(a, b))
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    close = 1e-2 if a.dtype.itemsize < 4 else 1e-4
    return bool(np.allclose(a.astype(wide), b.astype(wide), rtol=close, equal_nan=True))


_known: OrderedDict[tuple, Traced] = OrderedDict()


def traced_of(kernel: Any, shapes: tuple) -> Traced:
    """A kernel traced for arrays of these (shape, dtype)s; ``outs``: (outs, flags)."""
    found = _known.get((kernel, shapes))
    if found is None:
        found = _keep(kernel, shapes, traced_kernel(kernel, (), shapes, _trace_kernel))
    return found


def jaxpr_of(kernel: Any, shapes: tuple) -> tuple:
    """(closed jaxpr, (outs, flags)) of a kernel for arrays of these (shape, dtype)s and no others."""
    found = _known.get((kernel, shapes))
    if found is None or found.form is not None:
        found = _keep(kernel, shapes, Traced(*_trace_kernel(kernel, shapes)))
    return found.closed, found.outs


def _trace_kernel(kernel: Any, shapes: tuple) -> tuple:
    return _trace(kernel.evaluate, (specs_of(kernel, shapes),))


def _keep(kernel: Any, shapes: tuple, traced: Traced) -> Traced:
    _known[kernel, shapes] = traced
    while len(_known) > config.max_kernels:
        _known.popitem(last=False)
    return traced


def traced_kernel(kernel: Any, more: tuple, shapes: tuple, trace: Callable[[Any, tuple], tuple]) -> Traced:
    """As :func:`traced_for`; sizes among the kernel's static arguments count as sizes too.

    more: what else tells the function apart, if it is not the kernel itself.  trace: takes the kernel, perhaps one for
    symbols, and the shapes.
    """
    numbers: list[int] = []
    skeleton = without_numbers(kernel.static, numbers)
    checks: list[tuple] = []

    def traced(shapes: tuple, k: Kernel = kernel) -> tuple:
        before = kernel.checks
        found = trace(k, shapes)
        if k is not kernel or any(type(n) is not int for s, _ in shapes for n in s):
            checks.append(k.checks)
            kernel.checks = before
        return found

    def renumbered(shapes: tuple) -> tuple:
        (first, _), *rest = shapes
        if first == tuple(numbers):
            return traced(tuple(rest))
        static = _with_numbers(skeleton, iter(first))
        return traced(tuple(rest), Kernel(kernel.op, static, kernel.pattern, kernel.mode, kernel.platform))

    # its numbers are dims, perhaps, of arrays whose sizes vary
    out = _formed((kernel, more), shapes, traced) if numbers else traced_for((kernel, more), shapes, traced)
    if out is None:  # the pattern's numbers by their repr too, which tells 0.0 from -0.0
        name = (kernel.op, skeleton, kernel.pattern, repr(kernel.pattern), kernel.mode, kernel.platform, more)
        out = traced_for(name, ((tuple(numbers), None), *shapes), renumbered)
        if out.form is None:
            note((kernel, more), shapes, out.closed)
    if out.form is not None and not more:
        if checks:
            out.form.checks = checks[-1]
        kernel.tell(kernel.shapes_of([s for s, _ in shapes]), out.form.data_checks(out.sizes))
    return out


def _with_numbers(skeleton: Any, numbers: Iterator) -> Any:
    if type(skeleton) is tuple:
        return tuple([_with_numbers(x, numbers) for x in skeleton])
    return next(numbers) if skeleton is ... else skeleton


def specs_of(kernel: Any, shapes: tuple, options: Callable[[int], dict] = lambda k: {}) -> tuple:
    """What a kernel takes, for JAX: arrays of these (shape, dtype)s and its run-time numbers."""
    import jax

    from .trace import _lifted_dtype

    specs, k = [], 0
    for item in kernel.pattern:
        if item is ARRAY:
            shape, dtype = shapes[k]
            specs.append(jax.ShapeDtypeStruct(shape, dtype, **options(k)))
            k += 1
        elif type(item) is tuple and item[0] is Lifted:
            specs.append(jax.ShapeDtypeStruct((), _lifted_dtype(item[1])))
    return tuple(specs)
