"""Trading computation for memory: regions whose intermediate results are computed again in the backward pass.

The region's function runs a second time, in the backward pass, on its arguments behind an optimization barrier that
waits for the gradient of its results.  XLA can thus neither keep the first results nor compute the second ones early,
also when both are in one program.
"""

from __future__ import annotations

import contextlib
import enum
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..autograd._node_names import name_of
from ..autograd.function import Function, tied
from ..autograd.passes import current_task
from ..engine import Op, Value, current_platform, get_mode, local, record, set_mode
from ..engine import grad as reverse
from ..engine.debug import debug as debug_
from ..engine.grad import Watch, is_retaining
from ..engine.op import Wide
from ..engine.scope import Scope
from ..engine.trace import _VECTORS
from ..engine.trie import Call
from ..tensor import Tensor
from ..tensor._values import STRAIGHT
from ..tensor._wrap import form
from ..tensor.random import default_generator

__all__ = [
    "SAC_IGNORED_OPS", "CheckpointError", "CheckpointFunction", "CheckpointPolicy", "DefaultDeviceType",
    "GraphExecGroup", "SelectiveCheckpointContext", "check_backward_validity", "checkpoint", "checkpoint_sequential",
    "create_selective_checkpoint_contexts", "detach_variable", "get_device_states", "noop_context_fn",
    "set_checkpoint_debug_enabled", "set_checkpoint_early_stop", "set_device_states",
]  # fmt: skip


class CheckpointError(RuntimeError):
    """The function did something else when it ran again."""


_settings = threading.local()
_debug: bool | None = None
_early_stop: bool | None = None


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """Whether errors of :func:`checkpoint` list the operations of both runs; None: as its ``debug`` says."""
    global _debug
    outer, _debug = _debug, enabled
    try:
        yield
    finally:
        _debug = outer


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Accepted for PyTorch's sake: the function always runs again to its end.

    What of the second run no gradient needs is recorded, but never computed: XLA drops it.
    """
    global _early_stop
    outer, _early_stop = _early_stop, bool(enable)
    try:
        yield
    finally:
        _early_stop = outer


def noop_context_fn() -> tuple[Any, Any]:
    """The default ``context_fn``: two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


class GraphExecGroup:
    """Within it, each checkpointed region runs again at most once, also in several backward passes.

    These must go over parts of the graph that do not overlap.  Concerns ``use_reentrant=False`` only.  RuntimeError if
    nested.
    """

    def __enter__(self) -> GraphExecGroup:
        if GraphExecGroup._current() is not None:
            raise RuntimeError("GraphExecGroup contexts cannot be nested.")
        _settings.group = self
        return self

    def __exit__(self, *exc: object) -> None:
        _settings.group = None

    @classmethod
    def _current(cls) -> GraphExecGroup | None:
        return getattr(_settings, "group", None)


# ---- the barrier -------------------------------------------------------------------------------------------------


def _barrier(static: int, args: tuple) -> tuple:
    import jax

    @jax.custom_jvp
    def later(*arrays: Any) -> tuple:
        return _waiting(arrays[:static], arrays[static:])

    later.defjvp(lambda primals, tangents: (later(*primals), tuple(tangents[:static])))
    return later(*args)


def _waiting(arrays: tuple, seeds: tuple) -> tuple:
    """The arrays, in a way that XLA cannot have them before ``seeds``."""
    import jax.numpy as jnp
    from jax import lax

    first = [s.ravel()[0] for s in seeds if s.size]
    if current_platform() != "cpu" or not first:
        return tuple(lax.optimization_barrier((*arrays, *seeds))[: len(arrays)])
    # XLA:CPU drops barriers before it schedules.  What it cannot know to be true is a dependency that stays.
    real = [jnp.real(c) for c in first]
    ready = jnp.stack([jnp.isnan(c) | (c <= jnp.asarray(jnp.inf, c.dtype)) for c in real]).all()
    return tuple([jnp.where(ready, a, jnp.zeros_like(a)) for a in arrays])


_BARRIER = Op("checkpoint", _barrier, saves=False)


def _map(tree: Any, fn: Callable[[Tensor], Any]) -> Any:
    """A nested structure with its tensors replaced."""
    if isinstance(tree, Tensor):
        return fn(tree)
    if isinstance(tree, dict):
        return type(tree)((k, _map(v, fn)) for k, v in tree.items()) if type(tree) is not dict else {
            k: _map(v, fn) for k, v in tree.items()}  # fmt: skip
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*[_map(v, fn) for v in tree])
    if type(tree) in (list, tuple):
        return type(tree)(_map(v, fn) for v in tree)
    return tree


class _Rerun:
    """A call of a function that can be repeated: on the same values, under the same modes, with the same randomness."""

    def __init__(self, function: Callable[..., Any], args: tuple, kwargs: dict, preserve: bool) -> None:
        self.function, self.mode = function, get_mode()
        values: list[Value] = []
        kinds: list[type] = []

        def keep(t: Tensor) -> _Slot:
            values.append(t._get())
            kinds.append(type(t))
            return _Slot(len(values) - 1)

        self.tree = _map((args, kwargs), keep)
        self.values, self.kinds = values, kinds
        self.random = default_generator._state_array() if preserve else None

    def __call__(self, arguments: tuple[tuple, dict], contexts: Sequence[Any] = ()) -> Any:
        """Run it again."""
        args, kwargs = arguments
        mode = get_mode()
        after = default_generator._state_array()
        set_mode(self.mode.replace(grad=True, scoped=False))
        try:
            if self.random is not None:
                default_generator._set_state_array(self.random)
            with contextlib.ExitStack() as stack:
                for context in contexts:
                    stack.enter_context(context)
                return self.function(*args, **kwargs)
        finally:
            if self.random is not None:
                default_generator._set_state_array(after)
            set_mode(get_mode().replace(**{n: getattr(mode, n) for n in ("grad", "scoped", "autocast")}))

    def arguments(self, seeds: list[Value]) -> tuple[tuple, dict]:
        """The arguments, which are there once the values ``seeds`` are."""
        mode = get_mode()
        set_mode(mode.replace(grad=True, scoped=False))
        n = len(self.values)
        got = record(_BARRIER, n, (*self.values, *seeds)) if n else ()
        set_mode(mode)
        got = got if type(got) is tuple else (got,)
        return _fill(self.tree, [Tensor._of(v) for v in got])


class _Slot:
    """Stands for a tensor among kept arguments."""

    def __init__(self, index: int) -> None:
        self.index = index


def _fill(tree: Any, tensors: list[Tensor]) -> Any:
    if isinstance(tree, _Slot):
        return tensors[tree.index]
    if isinstance(tree, dict):
        return {k: _fill(v, tensors) for k, v in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*[_fill(v, tensors) for v in tree])
    if type(tree) in (list, tuple):
        return type(tree)(_fill(v, tensors) for v in tree)
    return tree


# ---- use_reentrant=False -----------------------------------------------------------------------------------------


class _Second(Scope):
    """Collects the results of the calls of a second run, in order, as far as gradients go through them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Call, list[Value]]] = []

    def portion(self, trace: Any, calls: list[Call], executing: bool) -> None:
        self.found += [(c, [trace.values[s] for s in c.out_slots]) for c in calls if c.tracked]


class _Region(Scope):
    """The first run: what is recorded in it is computed again when a gradient arrives."""

    def __init__(self, rerun: _Rerun, context: Any, determinism: str, debug: bool) -> None:
        super().__init__()
        self.rerun, self.context, self.determinism, self.debug = rerun, context, determinism, debug
        self.calls: list[Call] = []
        self.parts: list[_Part] = []
        self.again: Any = None
        #: Whether the first run has not ended: a reverse pass that starts in it goes through what is there.
        self.running = True
        self.policy = getattr(context, "policy", None)

    def portion(self, trace: Any, calls: list[Call], executing: bool) -> None:
        tracked = [c for c in calls if c.tracked]
        if not tracked:
            return
        part = _Part(self, tracked, len(self.calls))
        self.calls += tracked
        self.parts.append(part)
        if self.policy is not None:
            part.keep(trace, calls)
        slots = tuple(s for c in tracked for s in c.out_slots)
        stop = Watch(slots, part)
        for s in slots:
            trace.watched[s] = stop

    def compute(self, seeds: list[Value]) -> list[tuple[Call, list[Value]]]:
        """The second run."""
        key = GraphExecGroup._current() or current_task()
        if self.again is not None and self.again[0] is key and key is not None:
            return self.again[1]
        arguments = self.rerun.arguments(seeds)
        second = _Second()
        second.open()
        try:
            self.rerun(arguments, (self.context,))
        finally:
            second.close()
        self.check(second.found)
        if len(self.parts) > 1 or GraphExecGroup._current() is not None:
            self.again = key, second.found
        return second.found

    def check(self, found: list) -> None:
        """Whether the second run is like the first."""
        if len(found) != len(self.calls):
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {len(self.calls)}\n"
                f"Number of tensors saved during recomputation: {len(found)}.{self.listing(found)}"
            )
        if self.determinism == "none":
            return
        for k, (a, (b, _)) in enumerate(zip(self.calls, found, strict=True)):
            first, second = [(m.shape, m.dtype) for m in a.outs], [(m.shape, m.dtype) for m in b.outs]
            if first != second:
                raise CheckpointError(
                    "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than "
                    f"during the forward pass.\ntensor at position {k}:\nsaved metadata: {a.op.name} {first}\n"
                    f"recomputed metadata: {b.op.name} {second}{self.listing(found)}"
                )

    def listing(self, found: list) -> str:
        """The operations of both runs, when debugging."""
        if not (self.debug if _debug is None else _debug):
            return " Pass debug=True to checkpoint() to see the operations of both runs."
        lines = ["\nOperations of the original forward, and of the recomputation:"]
        for k in range(max(len(self.calls), len(found))):
            a = self.calls[k] if k < len(self.calls) else None
            b = found[k][0] if k < len(found) else None
            lines.append(f"{k:4d}  {_line(a)}   |   {_line(b)}")
        return "\n".join(lines)


def _line(call: Call | None) -> str:
    """What a call is, and where it was made."""
    if call is None:
        return "-"
    file, line = call.location
    return f"{call.op.name} {[list(m.shape) for m in call.outs]} at {file}:{line}"


class _Part:
    """The handle of the calls of a region that were recorded in one trace."""

    batched = False

    def __init__(self, region: _Region, calls: list[Call], base: int) -> None:
        self.region, self.base = region, base
        #: result slot -> (number of the call in the region, which of its results)
        self.index = {s: (base + k, j) for k, c in enumerate(calls) for j, s in enumerate(c.out_slots)}
        self.freed = False
        self.all_calls: list[Call] = []

    @property
    def idle(self) -> bool:
        return self.region.running

    def __call__(self, given: dict[int, Value]) -> dict[Any, Value]:
        region = self.region
        if self.freed:
            raise RuntimeError(reverse._AGAIN)
        if self.all_calls:
            out = self.replay(given)
        else:
            found = region.compute(list(given.values()))
            out = {}
            for s, c in given.items():
                k, j = self.index[s]
                out[found[k][1][j]] = c
        if not is_retaining():
            self.freed = True
            if all(p.freed for p in region.parts):
                region.again = region.rerun = None
                self.all_calls = []
        return out

    # ---- selective: calls are repeated one by one, so that some results can be the kept ones ------------------

    def keep(self, trace: Any, calls: list[Call]) -> None:
        """Keep what the policy says, and what it takes to repeat the other calls."""
        policy = self.region.policy
        self.all_calls = calls
        made = {s for c in calls for s in c.out_slots}
        self.outside = {s: trace.values[s] for c in calls for s in c.slots if s not in made}
        self.numbers = {k: [getattr(trace, _VECTORS[i.type])[i.index] for i in c.ins if type(i) is Wide]
                        for k, c in enumerate(calls)}  # fmt: skip
        self.kept = {k: [trace.values[s] for s in c.out_slots] for k, c in enumerate(calls) if policy(c)}

    def replay(self, given: dict[int, Value]) -> dict[Any, Value]:
        seeds = list(given.values())
        slots = list(self.outside)
        mode = get_mode()
        set_mode(mode.replace(grad=True, scoped=False))
        try:
            held = record(_BARRIER, len(slots), (*self.outside.values(), *seeds)) if slots else ()
            env = dict(zip(slots, held if type(held) is tuple else (held,), strict=True))
            for k, call in enumerate(self.all_calls):
                set_mode(call.mode.replace(scoped=False))
                got = _record_again(call, env, self.numbers[k])
                if k in self.kept:
                    got = tuple(record(STRAIGHT, (), (old, new)) if new.meta.grad else old
                                for old, new in zip(self.kept[k], got, strict=True))  # fmt: skip
                env.update(zip(call.out_slots, got, strict=True))
        finally:
            set_mode(mode)
        return {env[s]: c for s, c in given.items()}


def _record_again(call: Call, env: dict[int, Value], numbers: list) -> tuple:
    """A recorded call on other values."""
    rest = iter(numbers)
    args: list[Any] = []
    for i in call.ins:
        args.append(env[i] if type(i) is int else None if i is None else next(rest) if type(i) is Wide else i[1])
    # numbers that were inputs stay inputs: they come last in what was recorded with them
    wide = 0
    for i in reversed(call.ins):
        if type(i) is not Wide:
            break
        wide += 1
    if wide:
        tail = tuple(args[-wide:])
        got = record(call.op, call.static, tuple(args[:-wide]), tail)
    else:
        got = record(call.op, call.static, tuple(args))
    return got if type(got) is tuple else (got,)


# ---- use_reentrant=True ------------------------------------------------------------------------------------------


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warn if no tensor among ``inputs`` requires gradients."""
    if not any(x.requires_grad for x in inputs if isinstance(x, Tensor)):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)


def detach_variable(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The tensors of a tuple, detached, with the same ``requires_grad``; other things as they are."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(f"Only tuple of tensors is supported. Got Unsupported input type: {type(inputs).__name__}")
    return tuple(
        x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs
    )  # fmt: skip


class _Whole:
    """The handle of the results of a function that ran without gradients."""

    batched = False
    ctx = None

    def __init__(self, rerun: _Rerun, outs: list) -> None:
        self.rerun: _Rerun | None = rerun
        self.outs = outs
        self.slots: dict[int, int] = {}

    def __call__(self, given: dict[int, Value]) -> dict[Any, Value]:
        task = current_task()
        if task is not None and not task.plain:
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an `inputs` "
                "parameter to .backward(). To resolve this error, you can either set use_reentrant=False, or call "
                ".backward() without passing the `inputs` argument."
            )
        if self.rerun is None:
            raise RuntimeError(reverse._AGAIN)
        out = self.rerun(self.rerun.arguments(list(given.values())))
        if not is_retaining():
            self.rerun = None
        outs = (out,) if isinstance(out, Tensor) else tuple(out)
        found = {}
        for slot, k in self.slots.items():
            if slot in given and isinstance(outs[k], Tensor) and outs[k].requires_grad:
                found[outs[k]._get()] = given[slot]
        if not found:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        return found


class CheckpointFunction(Function):
    """What ``checkpoint(..., use_reentrant=True)`` is made of: ``apply(function, preserve_rng_state, *args)``."""

    @classmethod
    def apply(cls, run_function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        check_backward_validity(args)
        rerun = _Rerun(run_function, args, {}, preserve_rng_state)
        mode = get_mode()
        set_mode(mode.replace(grad=False))
        try:
            out = run_function(*args)
        finally:
            set_mode(get_mode().replace(grad=mode.grad))
        needs = [t for t in args if isinstance(t, Tensor) and t.requires_grad]
        if not mode.grad or not needs:
            return out
        outs = (out,) if not isinstance(out, tuple) else out
        told = [
            (tuple(o.shape), o.dtype) if isinstance(o, Tensor) and (o.is_floating_point() or o.is_complex()) else None
            for o in outs
        ]
        result = tied(cls.__name__, _Whole(rerun, told), [t._get() for t in needs], outs)
        return tuple(result) if isinstance(out, tuple) else result[0]


# ---- the public functions ----------------------------------------------------------------------------------------


def checkpoint(
    function: Callable[..., Any], *args: Any, use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn, determinism_check: str = "default",
    debug: bool = False, early_stop: bool = True, preserve_rng_state: bool = True, **kwargs: Any,
) -> Any:  # fmt: skip
    """``function(*args, **kwargs)``, keeping for the backward pass only the arguments and computing the rest again.

    use_reentrant: False is recommended. True (the default, with a warning) runs the function without gradients at
    first; some argument must then require them, keyword arguments are refused, and only ``backward()`` without
    ``inputs`` works.
    preserve_rng_state: the second run draws the same random numbers as the first.
    context_fn: makes two contexts, for the first and the second run; see :func:`create_selective_checkpoint_contexts`.
    determinism_check: 'default' compares shapes and dtypes of the two runs, 'none' only their number of operations.
    debug: errors list the operations of both runs.   early_stop: see :func:`set_checkpoint_early_stop`.

    Like PyTorch's, it runs the function twice, with all its side effects: running statistics are updated twice.
    Raises :class:`CheckpointError` in the backward pass if the second run is unlike the first.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. Starting in PyTorch 2.9, "
            "calling checkpoint without use_reentrant will raise an exception. use_reentrant=False is recommended, but "
            "if you need to preserve the current default behavior, you can pass use_reentrant=True. Refer to docs for "
            "more details on the differences between the two variants.", stacklevel=2,
        )  # fmt: skip
        use_reentrant = True
    if kwargs and use_reentrant:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'], but got {determinism_check}")
    if use_reentrant:
        if context_fn is not noop_context_fn or debug:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        return CheckpointFunction.apply(function, preserve_rng_state, *args)
    first, second = context_fn()
    mode = get_mode()
    if not mode.grad or debug_.eager:  # computing it twice would show everything twice
        with first:
            return function(*args, **kwargs)
    region = _Region(_Rerun(function, args, kwargs, preserve_rng_state), second, determinism_check, debug)
    region.open()
    set_mode(get_mode().replace(scoped=True))
    try:
        with first:
            out = function(*args, **kwargs)
        region.close()
    finally:
        region.running = False
        if region in local.scopes:
            local.scopes.remove(region)
        set_mode(get_mode().replace(scoped=mode.scoped))
    return out


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:  # fmt: skip
    """Run modules (a ``Sequential``, or a list) one after the other, in checkpointed ``segments`` but for the last.

    ``preserve_rng_state`` is passed on to :func:`checkpoint`; ValueError for other keywords.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be passed explicitly. In "
            "version 2.9 we will raise an exception if use_reentrant is not passed. use_reentrant=False is "
            "recommended, but if you need to preserve the current default behavior, you can pass use_reentrant=True. "
            "Refer to docs for more details on the differences between the two variants.", stacklevel=2,
        )  # fmt: skip
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    children = functions.children() if hasattr(functions, "children") else functions
    parts = list(children)
    size = len(parts) // segments

    def through(start: int, end: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for part in parts[start:end]:
                x = part(x)
            return x

        return run

    start = 0
    for _ in range(segments - 1):
        input = checkpoint(
            through(start, start + size), input, use_reentrant=use_reentrant, preserve_rng_state=preserve
        )
        start += size
    return through(start, len(parts))(input)


# ---- selective checkpointing -------------------------------------------------------------------------------------


class CheckpointPolicy(enum.Enum):
    """What to do with the results of an operation: keep them, or compute them again."""

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


class SelectiveCheckpointContext:
    """The first argument of a policy function."""

    def __init__(self, *, is_recompute: bool, op_output: Any = None) -> None:
        self.is_recompute, self.op_output = is_recompute, op_output


#: What PyTorch computes products and attention with, where the name of the node does not tell.
_OPERATORS = {
    "scaled_dot_product_flash_attention_for_cpu": "_scaled_dot_product_flash_attention_for_cpu", "squeeze": "mm",
    "unsafe_view": "bmm", "softmax": "_softmax", "log_softmax": "_log_softmax", "to_copy": "_to_copy",
}  # fmt: skip


def _operator(call: Call) -> Any:
    """PyTorch's operator for a recorded call, as a policy is asked about it."""
    from .._dispatch.operators import aten
    from .._dispatch.schema import schemas

    name = call.op.name.strip("_")
    if name == "linear":
        name = "addmm" if len(call.metas) == 3 else "mm"
    elif all(s.composite for s in schemas(name).values()) or name in ("matmul", "bmm", "mm"):
        stem = re.sub(r"Backward\d*$", "", name_of(call).rpartition(":")[2])
        found = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", stem).lower()
        name = _OPERATORS.get(found, found)
    known = schemas(name)
    try:
        packet = getattr(aten, name)
    except AttributeError:
        return form(call.op.info, False)
    wanted = ("Tensor", "default") if len(call.metas) > 1 else ("default", "Tensor")
    return packet._overload(next((o for o in (*wanted, *known) if o in known), "default"))


#: Operations that a policy is never asked about.
SAC_IGNORED_OPS: frozenset = frozenset(("detach", "leaf", "checkpoint"))


class _Caching(contextlib.nullcontext):
    """The second of the two contexts: carries the policy."""

    def __init__(self, policy: Callable[[Call], bool]) -> None:
        super().__init__()
        self.policy = policy


def create_selective_checkpoint_contexts(
    policy_fn_or_list: Any, allow_cache_entry_mutation: bool = False
) -> tuple[Any, Any]:  # fmt: skip
    """Contexts for ``checkpoint(context_fn=...)`` that keep the results of some operations.

    policy_fn_or_list: operators (``torch.ops.aten.mm.default``) or functions of this package (``F.linear``) whose
    results are kept, or ``policy(ctx, op, *args, **kwargs)`` -> :class:`CheckpointPolicy` (or True to keep) with ``op``
    PyTorch's operator for what was recorded, and its arguments as they were recorded.  The region is repeated from the
    recording, so the function itself runs once.   allow_cache_entry_mutation: accepted; values that are kept never
    change.
    """
    from .._dispatch.operators import Overload, Packet

    if isinstance(policy_fn_or_list, (list, tuple, set, frozenset)):
        operators = {f for f in policy_fn_or_list if isinstance(f, Overload)}
        wanted = {getattr(f, "entry", None) for f in policy_fn_or_list if f not in operators}
        if None in wanted:
            bad = next(f for f in policy_fn_or_list if f not in operators and getattr(f, "entry", None) is None)
            more = ". Please update the OpOverloadPacket to a specific OpOverload" if isinstance(bad, Packet) else ""
            raise ValueError(f"Expected op in `op_list` to be an OpOverload, or a function of this package such as "
                             f"torch.mm or F.linear, but got: {bad!r}{more}")  # fmt: skip

        def policy(call: Call) -> bool:
            return call.op.info in wanted or bool(operators) and _operator(call) in operators

    elif callable(policy_fn_or_list):

        def policy(call: Call) -> bool:
            if call.op.name in SAC_IGNORED_OPS or not hasattr(call.op.info, "bind"):
                return False
            ctx = SelectiveCheckpointContext(is_recompute=False)
            found = policy_fn_or_list(ctx, _operator(call), *call.metas)
            if found is CheckpointPolicy.MUST_CPU_OFFLOAD:  # only preferring it asks for nothing
                raise NotImplementedError(
                    "CheckpointPolicy.MUST_CPU_OFFLOAD: use torch.autograd.graph.save_on_cpu to keep tensors on the CPU"
                )
            return found in (True, CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_SAVE)

    else:
        raise TypeError("policy_fn_or_list must be either a function or a list of ops.")
    return contextlib.nullcontext(), _Caching(policy)


# ---- random number states by device, as programs that write their own checkpoint use them -------------------------


class DefaultDeviceType:
    """The device type that checkpoint assumes for arguments without tensors on an accelerator."""

    _default_device_type = "cuda"

    @staticmethod
    def set_device_type(device: str = "cuda") -> None:
        """Set it."""
        DefaultDeviceType._default_device_type = device

    @staticmethod
    def get_device_type() -> str:
        """The type; 'cuda' unless set."""
        return DefaultDeviceType._default_device_type


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """(indices of the accelerators that the tensors of ``args`` are on, random number states of these)."""
    from ..tensor.random import get_rng_state

    found: set[int] = set()
    _map(list(args), lambda t: found.add(t.get_device()) if t.device.type not in ("cpu", "meta") else None)
    devices = sorted(found)
    # operations on all devices draw from the default generator unless they are given another
    return devices, [get_rng_state() for _ in devices]


def set_device_states(devices: Sequence[int], states: Sequence[Tensor], *, device_type: str | None = None) -> None:
    """Go back to what :func:`get_device_states` told."""
    from ..tensor.random import set_rng_state

    if device_type == "meta":
        return
    for _, state in zip(devices, states, strict=False):
        set_rng_state(state)
