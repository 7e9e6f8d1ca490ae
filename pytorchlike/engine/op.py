"""Operations: pure functions on JAX arrays, and how one recorded use of them is evaluated."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from . import errors
from .config import config
from .meta import Mode

_context = threading.local()


def current_mode() -> Mode:
    """Inside an operation's body: the mode under which it was recorded; elsewhere this thread's."""
    found = getattr(_context, "mode", None)
    if found is None:
        from .trace import get_mode

        return get_mode()
    return found


def current_platform() -> str:
    """Inside an operation's body: 'cpu', 'gpu' or 'tpu', what it is being compiled for."""
    return _context.platform


class Lifted:
    """A Python number that became a run-time input: its type, and the 0-d array that holds it."""

    __slots__ = ("type", "array")

    def __init__(self, type_: type, array: Any) -> None:
        self.type, self.array = type_, array


class Wide:
    """In a recorded call: the number is entry ``index`` of the program's vector of that kind."""

    __slots__ = ("type", "index")

    def __init__(self, type_: type, index: int) -> None:
        self.type, self.index = type_, index

    def __repr__(self) -> str:
        return f"Wide({self.type.__name__}[{self.index}])"


class Moved(NamedTuple):
    """An operation on images (N, H, W, C) in the place of (N, C, H, W).

    op: what to evaluate.  The operation itself treats all elements alike, and all its arguments are images or numbers;
    of another one the first is an image.  starts(*arrays): whether it is quicker so even if its image has to be moved;
    None: never.
    """

    op: Op
    starts: Callable[..., bool] | None


class Op:
    """An operation that can be recorded.

    fn(static, args) -> array or tuple of arrays; ``static`` is hashable; each of ``args`` is an array, a Python
    number, a :class:`Lifted` number or None.  Flags:

    differentiable: results may require gradients.      saves: its gradient needs forward values.
    alias: result is the input itself (``detach``).
    leaf: an alias that is a fresh leaf, or, with ``inplace``, results that are leaves where what they replace is one.
    heavy: worth beginning a new piece at (products, convolutions), see ``regions``.
    joins: takes a sequence of values, and so often begins what follows, see ``policy.ends``.
    walk: evaluates it through an evaluator, for operations made of recorded calls.
    spliced: the recording that it is made of, where programs are to hold its calls one by one, see ``nested``.
    varies(static): whether another call where it is repeated will have other numbers, as slices of a data set do.
    scales: so it is with numbers beside a single differentiable one, such as weights of losses and counts below them.
    shapes(static, args): the shapes of the results, with metas in the place of arrays, or None, see ``foreseen``.
    measures: whether whole numbers among the static arguments are sizes; ``shapes`` refuses those that the body does.
    inplace: number of leading arguments that the outputs, one by one, replace (a failed data check keeps the old).
    moved: what it is on images whose channels have been moved to the end, or None, see ``layout``.
    part(static, args): of views that show each element once at most, the part of a NumPy array, in its memory; or None.
    parts(first): a context in which the body gives, for an argument of so many elements, those of a larger result from
    element ``first`` on: of random fills, which look at nothing but numbers; or None.
    alike(static, meta): (op, static) that gives the same of one argument, where all are that one, or None.
    """

    __slots__ = ("name", "fn", "differentiable", "saves", "alias", "leaf", "inplace", "heavy", "joins", "walk", "info",
                 "vjps", "moved", "varies", "scales", "spliced", "shapes", "measures", "alike", "part",
                 "parts")  # fmt: skip

    def __init__(
        self,
        name: str,
        fn: Callable[[Any, tuple], Any],
        *,
        differentiable: bool = True,
        saves: bool = True,
        alias: bool = False,
        leaf: bool = False,
        inplace: int = 0,
        heavy: bool = False,
        joins: bool = False,
        info: Any = None,
        walk: Any = None,
        varies: Callable[[Any], bool] | None = None,
        scales: bool = False,
    ) -> None:
        self.name, self.fn = name, fn
        self.differentiable, self.saves, self.alias, self.leaf, self.inplace = (
            differentiable,
            saves,
            alias,
            leaf,
            inplace,
        )
        self.heavy, self.joins = heavy, joins
        self.info = info
        self.walk = walk
        self.varies, self.scales = varies, scales
        self.vjps: dict = {}
        self.moved: Moved | None = None
        self.spliced: Any = None
        self.shapes: Callable[[Any, tuple], tuple | None] | None = None
        self.measures = False
        self.part: Callable[[Any, tuple], Any] | None = None
        self.parts: Callable[[Any], contextlib.AbstractContextManager] | None = None
        self.alike: Callable[[Any, Any], tuple[Op, Any] | None] | None = None

    def __repr__(self) -> str:
        return f"<op {self.name}>"


class Kernel:
    """One (op, static, numbers, mode, platform): evaluates it, and its vjp, through JAX's own trace caches.

    numbers: per argument, ('array',), ('none',), ('number', value) or ('lifted', type).
    """

    __slots__ = ("op", "static", "pattern", "mode", "platform", "checks", "found", "forward", "forward_vjp",
                 "apply_vjp", "key", "reads")  # fmt: skip

    def __init__(self, op: Op, static: Any, pattern: tuple, mode: Mode, platform: str) -> None:
        self.op, self.static, self.pattern, self.mode, self.platform = op, static, pattern, mode, platform
        #: the data checks of the last evaluation, and those by the arrays' shapes: an empty index has none
        self.checks: tuple[errors.DataError, ...] = ()
        self.found: dict[tuple, tuple[errors.DataError, ...]] = {}
        #: which arguments its reverse looks at, see ``reach``
        self.reads: dict[tuple, tuple[bool, ...]] = {}

    def __getattr__(self, name: str) -> Any:
        """The jitted functions, made at their first use: most kernels of ever other sizes are never traced."""
        import jax

        if name == "forward":
            made = jax.jit(self.evaluate, inline=True)
        elif name == "forward_vjp":
            made = jax.jit(self._forward_vjp, inline=True, static_argnums=(1,))
        elif name == "apply_vjp":
            made = jax.jit(_apply_vjp, inline=True, static_argnums=(2,))
        else:
            raise AttributeError(name)
        setattr(self, name, made)
        return made

    def evaluate(self, arrays: tuple) -> tuple[tuple, tuple]:
        """(outputs, check flags) of the op on the arrays that it takes, in order."""
        args, k = [], 0
        for item in self.pattern:
            if item is ARRAY:
                args.append(arrays[k])
                k += 1
            elif item is None:
                args.append(None)
            elif item[0] is Lifted:
                args.append(Lifted(item[1], arrays[k]))
                k += 1
            else:
                args.append(item[1])
        outer = getattr(_context, "mode", None), getattr(_context, "platform", None)
        _context.mode, _context.platform = self.mode, self.platform
        try:
            with errors.collecting() as found, self._precision():
                out = self.op.fn(self.static, tuple(args))
        finally:
            _context.mode, _context.platform = outer
        self.tell(tuple([np.shape(a) for a in arrays]), tuple([errors.DataError(*what) for _, *what in found]))
        return (out if type(out) is tuple else (out,)), tuple(ok for ok, _, _ in found)

    def tell(self, shapes: tuple, checks: tuple[errors.DataError, ...]) -> None:
        """Keep the data checks for arrays of these shapes; the oldest are forgotten."""
        self.checks = self.found[shapes] = checks
        if len(self.found) > 256:
            del self.found[next(iter(self.found))]

    def shapes_of(self, shapes: Iterable[tuple]) -> tuple:
        """The shapes of all arrays that it takes, given those that are not numbers."""
        rest = iter(shapes)
        return tuple([next(rest) if i is ARRAY else () for i in self.pattern if i is ARRAY or (i and i[0] is Lifted)])

    def checks_of(self, shapes: Iterable[tuple]) -> tuple[errors.DataError, ...]:
        """The data checks of a call on arrays of these shapes, which has been traced."""
        return self.found.get(self.shapes_of(shapes), self.checks) if self.found else self.checks

    def _precision(self) -> Any:
        """How exact products of float32 are; on the CPU they always are."""
        if self.platform == "cpu":
            return contextlib.nullcontext()
        import jax

        return jax.default_matmul_precision(self.mode.precision[self.op.name.startswith("conv")])

    def _forward_vjp(self, arrays: tuple, wrt: tuple[int, ...]) -> tuple:
        def closed(*moving: Any) -> tuple:
            full = list(arrays)
            for i, x in zip(wrt, moving, strict=True):
                full[i] = x
            return self.evaluate(tuple(full))

        outs, pull, flags = differentiated(closed, [arrays[i] for i in wrt])
        return outs, flags, pull

    def vjp(self, arrays: tuple, wrt: tuple[int, ...], cotangents: tuple) -> tuple:
        """Gradients by the arguments ``wrt``; the forward part that they do not need is dropped by XLA."""
        outs, _, pull = self.forward_vjp(arrays, wrt)
        return pull_back(self, outs, pull, cotangents)


def differentiated(function: Callable[..., tuple], moving: Iterable[Any]) -> tuple[tuple, Any, Any]:
    """The results of ``function``, which gives (results, more); what :func:`_apply_vjp` applies; and that more.

    The results that can have cotangents are differentiated, no others: their zeros would need shapes.
    """
    import jax

    def smooth(*moving: Any) -> tuple:
        outs, more = function(*moving)
        return tuple([o for o in outs if _is_smooth(o.dtype)]), (outs, more)

    _, pull, (outs, more) = jax.vjp(smooth, *moving, has_aux=True)
    return outs, pull, more


ARRAY = object()


def pull_back(kernel: Kernel, outs: Any, pull: Any, cotangents: tuple) -> tuple:
    """Apply a vjp function to cotangents in PyTorch's complex convention (None for a zero one)."""
    shapes = tuple((o.shape, np.dtype(o.dtype)) for o in outs)
    present = tuple(c is not None for c in cotangents)
    return kernel.apply_vjp(pull, tuple(c for c in cotangents if c is not None), (shapes, present))


def _is_smooth(dtype: Any) -> bool:
    import jax.numpy as jnp

    return jnp.issubdtype(dtype, jnp.inexact)


def _apply_vjp(pull: Any, given: tuple, layout: tuple) -> tuple:
    import jax.numpy as jnp

    rest = iter(given)
    cotangents = []
    for (shape, dtype), present in zip(*layout, strict=True):
        if not _is_smooth(dtype):
            if present:
                next(rest)
        elif present:
            c = next(rest)
            cotangents.append(jnp.conj(c) if jnp.iscomplexobj(c) else c)
        else:
            cotangents.append(jnp.zeros(shape, dtype))
    grads = pull(tuple(cotangents))
    return tuple(jnp.conj(g) if jnp.iscomplexobj(g) else g for g in grads)


def without_numbers(static: Any, numbers: list[int]) -> Any:
    """``static`` with marks in place of whole numbers, which go into the list."""
    if type(static) is tuple:
        return tuple([without_numbers(x, numbers) for x in static])
    if type(static) is int:
        numbers.append(static)
        return ...
    return static


_kernels: OrderedDict[tuple, Kernel] = OrderedDict()
_kernels_lock = threading.Lock()


def kernel_for(op: Op, static: Any, ins: tuple, mode: Mode, platform: str) -> Kernel:
    """The cached :class:`Kernel` of a recorded call; ``ins`` as in :class:`~.trie.Call`."""
    mode = mode.plain
    pattern = tuple(
        ARRAY if type(i) is int else None if i is None else (Lifted, i.type) if type(i) is Wide else (i[0], i[1])
        for i in ins
    )
    # repr tells 0.0 from -0.0, which compare equal
    numbers = tuple(repr(p[1]) for p in pattern if type(p) is tuple and p[0] is float)
    key = (op, static, pattern, numbers, mode, platform)
    found = _kernels.get(key)
    if found is None:
        with _kernels_lock:
            found = _kernels[key] = Kernel(op, static, pattern, mode, platform)
            found.key = key
            while len(_kernels) > config.max_kernels:
                _kernels.popitem(last=False)
    return found


def drop_kernel(kernel: Kernel) -> None:
    """Make a kernel that has never been evaluated anew at its next call: what was wrong in this one, a float where an
    int is wanted, may compare equal to what is right.
    """
    if not kernel.found:
        with _kernels_lock:
            _kernels.pop(kernel.key, None)
