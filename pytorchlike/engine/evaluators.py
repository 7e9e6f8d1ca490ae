"""The ways to evaluate a single call: inside a trace of JAX's, or as one compiled kernel after the other."""

from __future__ import annotations

import functools
import itertools
import re
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from . import causes, errors, policy
from .config import config
from .errors import late
from .interpret import Interpreted, Missing, _trace, specs_of, traced_kernel, traced_of
from .memory import Uncollected, aligned_empty, keep_large_blocks
from .op import Kernel, Wide, _apply_vjp, kernel_for
from .schedule import Evaluator
from .stats import Event, stats
from .trie import Call


class Inline(Evaluator):
    """Evaluates on whatever arrays or tracers it is given; used to build fused programs and under JAX's transforms."""

    def forward(self, call: Call, arrays: tuple) -> tuple[tuple, tuple]:
        return call.kernel.forward(arrays)

    def forward_taped(self, call: Call, arrays: tuple) -> tuple[tuple, tuple, Any]:
        outs, flags, pull = call.kernel.forward_vjp(arrays, call.wrt)
        return outs, flags, pull

    def pull(self, call: Call, tape: Any, cotangents: tuple) -> tuple:
        shapes = tuple((m.shape, m.dtype) for m in call.outs)
        present = tuple(c is not None for c in cotangents)
        return call.kernel.apply_vjp(tape, tuple(c for c in cotangents if c is not None), (shapes, present))

    def vjp(self, call: Call, arrays: tuple, cotangents: tuple) -> tuple:
        _, _, pull = call.kernel.forward_vjp(arrays, call.wrt)
        return self.pull(call, pull, cotangents)

    def add(self, a: Any, b: Any) -> Any:
        import jax.numpy as jnp

        return jnp.add(a, b)

    def ones(self, meta: Any) -> Any:
        import jax.numpy as jnp

        return jnp.ones(meta.shape, meta.dtype)

    def place(self, data: Any, meta: Any) -> Any:
        return data

    def vectors(self, trace: Any) -> tuple:
        return tuple(np.array(v, t) for v, t in (
            (trace.ints, np.int64), (trace.floats, np.float64), (trace.complexes, np.complex128)))  # fmt: skip

    def report(self, flags: list) -> None:
        """Checks on tracers cannot be looked at; on arrays they are raised at once."""
        import jax

        for found, call in flags:
            for ok, error in zip(found, call.checks, strict=True):
                if not isinstance(ok, jax.core.Tracer) and not bool(ok):
                    raise error.exception(error.message)


class Whole(Inline):
    """Builds the program of a trace; what was recorded apart becomes calls like all others."""

    def forward(self, call: Call, arrays: tuple) -> tuple[tuple, tuple]:
        if call.op.spliced is not None:
            return call.op.spliced.forward(arrays, self)
        return super().forward(call, arrays)

    def forward_taped(self, call: Call, arrays: tuple) -> tuple[tuple, tuple, Any]:
        if call.op.spliced is not None:
            return call.op.spliced.forward_taped(arrays, self)
        return super().forward_taped(call, arrays)

    def pull(self, call: Call, tape: Any, cotangents: tuple) -> tuple:
        if call.op.spliced is not None:
            return call.op.spliced.pull(tape, call.wrt, cotangents, self)
        return super().pull(call, tape, cotangents)

    def vjp(self, call: Call, arrays: tuple, cotangents: tuple) -> tuple:
        return self.pull(call, self.forward_taped(call, arrays)[2], cotangents)


_forward: OrderedDict[tuple, Any] = OrderedDict()


def _cached(key: tuple, compile: Callable[[], Any], interpreted: Callable[[], Any], calls: tuple, what: str) -> Any:
    """The function of that name: interpreted, where that gives one, or else compiled.

    calls, what: what it evaluates, and which way, for those who are told.
    """
    found = _forward.get(key)
    if found is None:
        found = interpreted()
        if found is None:
            begin = time.perf_counter()
            found = compile()
            seconds = time.perf_counter() - begin
            _tell(calls, what, seconds)
            if len(calls) == 1:
                policy.priced(policy.kind_of(calls[0].op, what), seconds)
        _forward[key] = found
        while len(_forward) > config.max_kernels:
            _forward.popitem(last=False)
    return found


#: Arguments whose shapes are told.
MOST = 6


def _tell(calls: tuple, what: str, seconds: float) -> None:
    call = calls[0]
    name = errors.name_of(call.op.name) + what + (f" and {len(calls) - 1} operations more" if len(calls) > 1 else "")
    shapes = ", ".join([f"{m.dtype}{list(m.shape)}" for m in call.metas[:MOST]] + ["..."] * (len(call.metas) > MOST))
    cause = causes.Cause("kernel", f"{name} for {shapes or 'no inputs'}", call.location, name)
    stats.compiled(Event("kernel", errors.describe(call.location), "operations are run one by one", len(calls), seconds,
                         cause, errors.user_location()))  # fmt: skip
    causes.noted(cause, seconds)


def _spec(meta: Any, place: Any) -> Any:
    import jax

    return jax.ShapeDtypeStruct(meta.shape, meta.dtype, **_sharding(place))


_default: list = []


def _sharding(place: Any) -> dict:
    """Where a program's arrays are; nothing to say on JAX's own default device."""
    import jax

    if not _default:
        _default.append(jax.devices()[0])
    if place is _default[0] or place is None or isinstance(place, str):
        return {}
    return {"sharding": jax.sharding.SingleDeviceSharding(place) if isinstance(place, jax.Device) else place}


#: How many programs and kernels were compiled, or loaded from the cache.
made = 0
#: Seconds of a compilation that leaves much memory behind.
_LONG = 0.2


#: What JAX says of arrays that were given away and have no result's shape, as an entry of Python's list of filters. Put
#: there by hand: ``catch_warnings`` makes Python forget what it has shown, so that a warning in a loop would be
#: shown again after each compilation.
_UNUSABLE: Any = ("ignore", re.compile("Some donated buffers were not usable"), UserWarning, None, 0)


def compile_at(fn: Any, place: Any, specs: tuple, **options: Any) -> Any:
    """``fn`` compiled for arguments like ``specs``, with the results at ``place``; ``options``: of ``jax.jit``."""
    import jax

    global made
    made += 1
    config.prepare_cache()
    give_back = keep_large_blocks() if getattr(place, "platform", "cpu") == "cpu" else None
    begin = time.perf_counter()
    s = _sharding(place)
    jitted = jax.jit(fn, **options, **({"out_shardings": s["sharding"]} if s else {}))
    filters = warnings.filters
    filters.insert(0, _UNUSABLE)
    try:
        with Uncollected():
            done = jitted.trace(*specs).lower(**_lowering(place)).compile()
    finally:
        if _UNUSABLE in filters:  # or another thread has reset them
            filters.remove(_UNUSABLE)
    if give_back is not None and time.perf_counter() - begin > _LONG:
        give_back(0)  # what the compiler has used is not for the next run
    jitted.clear_cache()  # what JAX keeps of the way there is seven times as large as the kernel
    return done


def _lowering(place: Any) -> dict[str, Any]:
    """How a program at ``place`` is lowered otherwise than JAX would; over a mesh a look at all elements is dear."""
    import jax

    device = place if isinstance(place, jax.Device) else jax.devices()[0] if place is None else None
    if device is None or device.platform != "cpu":
        return {}
    from .elementary import parameters

    return {"_private_parameters": parameters()}


def run_into(results: list, run: Any, args: tuple) -> None:
    """Append what ``run(*args)`` gives.

    No line of Python stands between the program's end and the result being held: Ctrl-C is noticed between lines,
    mostly at the one after the program, and what was donated to it exists in its results only.
    """
    results.extend(itertools.starmap(quick(run), (args,)))


def quick(run: Any) -> Any:
    """A compiled function without JAX's own lines of Python around it, which are made by its first call."""
    found = getattr(run, "_call", None)
    return run if found is None else found


def part_of(call: Call, array: np.ndarray, numbers: tuple) -> np.ndarray:
    """What a call shows of an array, in its memory; numbers: that vary, in order."""
    rest = iter(numbers)
    args = tuple([
        array if type(i) is int else int(next(rest)) if type(i) is Wide else i if i is None else i[1] for i in call.ins
    ])  # fmt: skip
    return call.op.part(call.static, args)  # type: ignore[misc]


#: Elements that a kernel gives at a time where it gives a result in parts: of small arrays, and of large ones.
ROOMS = 1 << 12, 1 << 16


def _at_run_time(call: Call) -> tuple[Kernel, list]:
    """The kernel that takes all numbers of a call at run time; and those, or dtypes of which are so already."""
    from .trace import _lifted_dtype

    ins, numbers = [], []
    for i in call.ins:
        if type(i) is tuple:
            numbers.append(np.asarray(i[1], _lifted_dtype(i[0])))
        elif type(i) is Wide:
            numbers.append(_lifted_dtype(i.type))
        ins.append(Wide(i[0], 0) if type(i) is tuple else i)
    return kernel_for(call.op, call.static, tuple(ins), call.mode, call.kernel.platform), numbers


class OpByOp(Evaluator):
    """One kernel per operation, cached by operation and argument metas: compiled, or interpreted as ``policy`` says."""

    #: Whether what NumPy does not have may be compiled.
    compiles = True
    #: Whether random numbers must be XLA's to the bit.
    exact = True
    #: Whether NumPy may take as long as it likes.
    patient = False

    def interprets(self, op: Any, kind: Any, place: Any, sizes: int, results: int) -> bool:
        """Whether a kernel that was not met so far is to be interpreted; ``sizes``: of its largest array."""
        return policy.interprets((op, kind), place, sizes, results)

    def whole(self, call: Call) -> bool:
        """Whether a reverse pass over an executed trace is to be one kernel."""
        return self.compiles and policy.whole(call.op.info)

    def forward(self, call: Call, arrays: tuple) -> tuple[tuple, tuple]:
        if call.op.walk is not None and not self.whole(call):
            begin = time.thread_time()
            outs = call.op.walk(arrays, self)
            call.op.info.spent += time.thread_time() - begin
            return outs, ()
        if call.shows and call.outs[0].size <= policy.SMALL:
            return (part_of(call, np.asarray(arrays[0]), arrays[1:]).copy(),), ()
        run = call.run
        if run is None:
            shapes = _shapes(call.metas)

            def compile() -> Any:
                return compile_at(call.kernel.evaluate, call.place, (self._specs(call),))

            def interpreted() -> Any:
                found = None if call.op.parts is None else self._in_parts(call)
                if found is not None or call.op.walk is not None:
                    return found
                random = getattr(call.op.info, "random", False)
                size = _largest(call.metas, call.outs) if call.ins or random else 0  # a constant: NumPy's as well
                if self.interprets(call.op, "forward", call.place, size, len(call.outs)):
                    kind, traced = policy.kind_of(call.op, ""), functools.partial(traced_of, call.kernel, shapes)
                    found = self._interpreted(kind, compile, traced, exactly=self.exact and random)
                return found

            key = (call.kernel, shapes, call.place)
            run = call.run = call.model.run = _cached(key, compile, interpreted, (call,), "")
        return self.call(run, arrays)

    def _in_parts(self, call: Call) -> Any:
        """What gives the result of a call in parts, by a kernel that serves all shapes: initial values have many.

        They are those of any other program to the bit, which NumPy's would not be.  None where there can be none.
        """
        meta = call.outs[0]
        # numbers at run time are rounded to half types, those in the code are not
        apt = meta.dtype.kind in "biu" or (meta.dtype.kind == "f" and meta.dtype.itemsize >= 4)
        if not (apt and self.compiles) or config.tier == "interpret" or getattr(call.place, "platform", None) != "cpu":
            return None
        kernel, values = _at_run_time(call)
        room = ROOMS[meta.size > 4 * ROOMS[0]]
        key = (kernel, meta.dtype, call.place, room)

        def evaluate(first: Any, numbers: list) -> Any:
            with call.op.parts(first):  # type: ignore[misc]
                (out,), _ = kernel.evaluate((np.zeros(room, meta.dtype), *numbers))
            return out

        def compile() -> Any:
            import jax

            numbers = [jax.ShapeDtypeStruct((), getattr(v, "dtype", v)) for v in values]
            return compile_at(evaluate, call.place, (jax.ShapeDtypeStruct((), np.uint64), numbers))

        run = _cached(key, compile, _never, (call,), "")

        def parts(arrays: tuple) -> tuple[tuple, tuple]:
            rest = iter(arrays[1:])
            numbers = [v if type(v) is np.ndarray else np.asarray(next(rest), v) for v in values]
            out = aligned_empty((meta.size,), meta.dtype)
            for first in range(0, meta.size, room):
                out[first : first + room] = np.asarray(quick(run)(np.uint64(first), numbers))[: meta.size - first]
            return (out.reshape(meta.shape),), ()

        return parts

    def call(self, run: Any, *args: Any) -> Any:
        """What a kernel gives."""
        return quick(run)(*args)

    def _interpreted(self, kind: Any, compile: Any, traced: Any, exactly: bool = False) -> Any:
        try:
            return Interpreted(None, (), compile if self.compiles else None, traced(), exactly, self.patient, kind)
        except Missing:
            if not self.compiles:
                raise
            return None

    def _specs(self, call: Call) -> tuple:
        return specs_of(call.kernel, _shapes(call.metas), lambda k: _sharding(call.place))

    def forward_taped(self, call: Call, arrays: tuple) -> tuple[tuple, tuple, Any]:
        outs, flags = self.forward(call, arrays)
        return outs, flags, arrays

    def pull(self, call: Call, tape: Any, cotangents: tuple) -> tuple:
        return self.vjp(call, tape, cotangents)

    def vjp(self, call: Call, arrays: tuple, cotangents: tuple) -> tuple:
        present = tuple([c is not None for c in cotangents])
        given = tuple([c for c in cotangents if c is not None])
        pulls = call.pulls
        if pulls is None:
            pulls = call.pulls = call.model.pulls = call.model.pulls or {}
        run = pulls.get(present)
        if run is None:
            key = (call.kernel, _shapes(call.metas), call.place, call.wrt, present)
            run = pulls[present] = _cached(key, *self._vjp_makers(call, present), (call,), " backward")
        return self.call(run, arrays, given)

    def _vjp_makers(self, call: Call, present: tuple) -> tuple:
        kernel, wrt = call.kernel, call.wrt

        def vjp_of(kernel: Any, outs: tuple) -> Any:
            def vjp(arrays: tuple, given: tuple) -> tuple:
                _, _, pull = kernel._forward_vjp(arrays, wrt)
                return _apply_vjp(pull, given, (outs, present))

            return vjp

        def specs() -> tuple:
            given = tuple(_spec(m, call.place) for m, p in zip(call.outs, present, strict=True) if p)
            return self._specs(call), given

        def compile() -> Any:
            return compile_at(vjp_of(kernel, _shapes(call.outs)), call.place, specs())

        def interpreted() -> Any:
            if self.interprets(call.op, (wrt, present), call.place, _largest(call.metas, call.outs), len(wrt)):
                shapes = _shapes(call.metas)
                made = functools.partial(traced_kernel, kernel, ("backward", wrt, present), shapes, traced)
                return self._interpreted(policy.kind_of(call.op, " backward"), compile, made)
            return None

        def traced(kernel: Any, shapes: tuple) -> tuple:
            import jax

            arrays = specs_of(kernel, shapes)
            with jax.enable_x64(True):
                outs, _ = jax.eval_shape(kernel.evaluate, arrays)
            given = tuple([o for o, p in zip(outs, present, strict=True) if p])
            return _trace(vjp_of(kernel, tuple([(o.shape, np.dtype(o.dtype)) for o in outs])), (arrays, given))

        return compile, interpreted

    def region(self, region: Any, arrays: tuple, numbers: tuple) -> tuple:
        """A piece of a trace as one kernel."""

        def compile() -> Any:
            return compile_at(region.evaluate, region.place, self._region_specs(region))

        return quick(_cached((region.key, "forward"), compile, _never, region.calls, ""))(arrays, numbers)

    def region_pull(self, region: Any, arrays: tuple, numbers: tuple, given: tuple, before: tuple,
                    present: tuple) -> tuple:  # fmt: skip
        """The reverse of a piece as one kernel."""

        def compile() -> Any:
            def pull(arrays: tuple, numbers: tuple, given: tuple, before: tuple) -> tuple:
                return region.pull(arrays, numbers, given, before, present)

            specs = tuple(_spec(m, region.place) for m, p in zip(region.out_metas, present, strict=True) if p)
            sums = tuple(_spec(region.metas[region.wrt[n]], region.place) for n in region.sums)
            return compile_at(pull, region.place, (*self._region_specs(region), specs, sums))

        run = quick(_cached((region.key, present), compile, _never, region.calls, " backward"))
        return run(arrays, numbers, given, before)

    def _region_specs(self, region: Any) -> tuple:
        import jax

        from .trace import _lifted_dtype

        arrays = tuple(_spec(m, region.place) for m in region.metas)
        return arrays, tuple(jax.ShapeDtypeStruct((), _lifted_dtype(w.type)) for w in region.wides)

    def add(self, a: Any, b: Any) -> Any:
        global _add
        if type(a) is np.ndarray and type(b) is np.ndarray:
            return np.add(a, b, dtype=a.dtype)
        if _add is None:
            import jax

            _add = jax.jit(lambda x, y: x + y)
        return _add(a, b)

    def ones(self, meta: Any) -> Any:
        return self.place(np.ones(meta.shape, meta.dtype), meta)

    def place(self, data: Any, meta: Any) -> Any:
        if type(data) is np.ndarray and _sharding(meta.place):
            import jax

            return jax.device_put(data, meta.place)
        return data

    def report(self, flags: list) -> None:
        """Raise the first failed check."""
        for found, call in flags:
            for ok, error in zip(found, call.checks, strict=True):
                if not bool(ok):
                    raise late(error, call.op.name, call.location)

    def stack(self, flags: tuple) -> np.ndarray:
        return np.array([not bool(f) for f in flags])

    def vectors(self, trace: Any) -> tuple:
        return (
            np.array(trace.ints, np.int64),
            np.array(trace.floats, np.float64),
            np.array(trace.complexes, np.complex128),
        )


class TooDear(Exception):
    """A step that was to be evaluated by NumPy once would take too long."""


class AtFirst(OpByOp):
    """NumPy for all that it has, as long as ``seconds`` last, for a trace that may never come again.

    Whether they do is estimated, not measured: it does not depend on what else the machine has to do.
    """

    patient = True

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    def interprets(self, op: Any, kind: Any, place: Any, sizes: int, results: int) -> bool:
        return getattr(place, "platform", None) == "cpu"

    def whole(self, call: Call) -> bool:
        return False

    def _interpreted(self, kind: Any, compile: Any, traced: Any, exactly: bool = False) -> Any:
        found = super()._interpreted(kind, compile, traced, exactly)
        if found is None:  # XLA's then
            self._pay(policy.KERNEL)
        return found

    def call(self, run: Any, *args: Any) -> Any:
        if run.__class__ is not Interpreted or run.compiled is not None:
            return run(*args)
        self._pay(run.dear)
        return run.once(*args)

    def _pay(self, seconds: float) -> None:
        self.left -= seconds
        if self.left < 0:
            raise TooDear


def _shapes(metas: tuple) -> tuple:
    return tuple([(m.shape, m.dtype) for m in metas])


def _largest(*metas: tuple) -> int:
    return max([m.size for group in metas for m in group], default=0)


def _never() -> None:
    return None


_add: Any = None
