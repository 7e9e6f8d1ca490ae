"""Evaluation of jaxprs by NumPy: for shapes that hardly come again, which a compilation would not pay for.

XLA compiles per shape, in tens of milliseconds per operation.  JAX traces an operation in less than one, and NumPy
evaluates what results in microseconds per primitive.  `policy` says when; the primitives are in ``_primitives``.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _primitives_linalg as _primitives_linalg  # registers its rules
from . import policy
from ._primitives import Missing, Plan
from .config import config
from .op import ARRAY, Lifted
from .stats import stats

__all__ = ["Interpreted", "Missing", "function_of", "interpret", "jaxpr_of", "specs_of"]


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
    return [_own(x, given) for x in found]


def _own(x: np.ndarray, given: list[np.ndarray]) -> np.ndarray:
    """``x`` in order and in memory of its own: arguments may be donated or be the user's."""
    if x.base is None and x.flags.c_contiguous and not any(x is g for g in given):
        return x
    if x.flags.c_contiguous and not any(np.may_share_memory(x, g) for g in given):
        return x
    return np.array(x, order="C")


class Interpreted:
    """A function that JAX can trace for arguments like ``specs``, evaluated by NumPy.

    compile: makes the compiled function, used instead once the time spent here would have paid for a compilation, and
    for what NumPy does not have; None: never.  exactly: results must be XLA's to the bit (random numbers, which are to
    be the same for a seed).  Raises Missing if NumPy does not have it, or would take too long.
    """

    __slots__ = ("plan", "tree", "compile", "compiled", "spent")

    def __init__(self, fn: Callable[..., Any], specs: tuple, compile: Callable[[], Any] | None = None,
                 traced: tuple | None = None, exactly: bool = False) -> None:  # fmt: skip
        import jax

        closed, shape = traced if traced is not None else _trace(fn, specs)
        self.plan = Plan(closed.jaxpr, closed.consts)
        if compile is not None and config.tier != "interpret" and self.plan.cost > policy.SLOW:
            raise Missing(f"interpretation would take about {self.plan.cost / 1e6:.0f} ms")
        if exactly and config.tier != "interpret" and _rounds(closed):
            raise Missing("rounding is not XLA's")
        self.tree = jax.tree.structure(shape)
        self.compile, self.compiled, self.spent = compile, None, 0.0
        stats.interpreted += 1

    def __call__(self, *args: Any) -> Any:
        if self.compiled is not None:
            return self.compiled(*args)
        import jax

        begin = time.perf_counter()
        if self.compile is not None and self.spent > policy.RENT and config.tier != "interpret":
            return self._give_up(args)
        try:
            out = jax.tree.unflatten(self.tree, _run(self.plan, jax.tree.leaves(args)))
        except Missing:
            if self.compile is None:
                raise
            return self._give_up(args)
        self.spent += time.perf_counter() - begin
        return out

    def _give_up(self, args: tuple) -> Any:
        self.compiled = self.compile()  # type: ignore[misc]
        self.plan = None
        stats.kernels += 1
        return self.compiled(*args)


#: Functions that XLA and NumPy round differently.
_ROUNDED = {"log", "log1p", "exp", "expm1", "erf_inv", "sin", "cos", "tan", "pow", "sqrt", "rsqrt", "while", "lgamma"}


def _rounds(closed: Any) -> bool:
    """Whether floats come out that went through such a function."""
    from .cost import _inner

    def found(jaxpr: Any) -> bool:
        return any(
            e.primitive.name in _ROUNDED or any(found(getattr(j, "jaxpr", j)) for j in _inner(e.params))
            for e in jaxpr.eqns
        )

    return any(a.dtype.kind not in "biu" for a in closed.out_avals) and found(closed.jaxpr)


def function_of(fn: Callable[..., Any], *specs: Any) -> Callable[..., Any]:
    """``fn``, which JAX can trace for arguments like ``specs``, as a function of NumPy arrays."""
    return Interpreted(fn, specs)


def _trace(fn: Callable[..., Any], specs: tuple) -> tuple:
    import jax

    with jax.enable_x64(True):
        return jax.make_jaxpr(fn, return_shape=True)(*specs)


_traced: OrderedDict[tuple, tuple] = OrderedDict()


def jaxpr_of(kernel: Any, shapes: tuple) -> tuple:
    """(closed jaxpr, shapes of (outs, flags)) of a kernel for arrays of these (shape, dtype)s."""
    key = (kernel, shapes)
    found = _traced.get(key)
    if found is None:
        found = _traced[key] = _trace(kernel.evaluate, (specs_of(kernel, shapes),))
        while len(_traced) > config.max_kernels:
            _traced.popitem(last=False)
    return found


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
