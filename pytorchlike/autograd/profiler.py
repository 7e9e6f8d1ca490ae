"""``torch.autograd.profiler``: how long each operation takes.

Programs are normally compiled as a whole, and then no operation has a time of its own. While a profile is being taken,
each one is run by itself and waited for, so that the times say which operations are expensive; their sum is more than
what the compiled program takes. For that program itself see ``torch.profiler.xla_trace``.
"""

from __future__ import annotations

import bisect
import functools
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar, Self

from ..engine import flush, local
from ..engine.cost import flops_of
from ..engine.debug import debug
from ..engine.evaluators import OpByOp
from ..engine.trace import platform_of
from ..tensor import asking
from .profiler_util import EventList, FunctionEvent, FunctionEventAvg

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "Session", "emit_itt", "emit_nvtx", "profile",
           "ranged", "record_function"]  # fmt: skip


def _now() -> float:
    return time.perf_counter_ns() / 1e3


class Session:
    """Collects events of the thread that starts it, from ``start`` to ``stop``."""

    def __init__(self, record_shapes: bool = False, profile_memory: bool = False, with_stack: bool = False,
                 with_flops: bool = False) -> None:  # fmt: skip
        self.record_shapes, self.profile_memory = record_shapes, profile_memory
        self.with_stack, self.with_flops = with_stack, with_flops
        self.events: list[FunctionEvent] = []
        self._before: Any = None
        self.thread = 0

    def start(self) -> None:
        """Begin. RuntimeError if this thread is being profiled already."""
        if getattr(local, "session", None) is not None:
            raise RuntimeError("Profiler is already enabled on this thread")
        flush("a profile begins")
        self.thread = threading.get_ident()
        self._before, local.evaluator = local.evaluator, functools.partial(_Timed, self)
        local.session = self  # type: ignore[attr-defined]
        self._eager = debug.eager
        if not self._eager:  # what nobody reads is run, too, and inside the block that asks for it
            debug.set(True, False, False)

    def stop(self) -> None:
        """Run what is pending, and end."""
        try:
            flush("a profile ends")
        finally:
            if not self._eager:
                debug.set(False, False, False)
            local.evaluator = self._before
            local.session = None  # type: ignore[attr-defined]

    def event(self, name: str, begin: float, call: Any = None, backward: bool = False, is_user: bool = False) -> None:
        """Take note of what began at ``begin`` and ends now."""
        details: dict[str, Any] = {}
        if call is not None:
            details["on_device"] = platform_of(call.place) != "cpu"
            if self.record_shapes:
                details["input_shapes"] = [list(m.shape) for m in call.metas]
            if self.with_stack and call.location is not None:
                from ..engine.errors import describe

                details["stack"] = [describe(call.location)]
            if self.with_flops and not backward:
                details["flops"] = flops_of(call)
            if self.profile_memory:
                metas = call.outs if not backward else [call.metas[i] for i in call.wrt]
                details["nbytes"] = sum(m.nbytes for m in metas)
        self.events.append(FunctionEvent(name, begin, _now(), thread=self.thread, is_user=is_user, **details))

    def list(self) -> EventList:
        """The events, nested, in the order of their starts."""
        on_device = any(e.on_device for e in self.events)
        for event in self.events:
            event.cpu_children, event.cpu_parent = [], None
        found = EventList(self.events, self.profile_memory, self.with_flops, on_device)
        found.sort(key=lambda e: e.time_range.start)
        return found.nest()


class _Timed(OpByOp):
    """One compiled kernel per operation, each waited for. Compiling is an event of its own."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def forward(self, call: Any, arrays: tuple) -> tuple[tuple, tuple]:
        if call.op.walk is not None:
            return super().forward(call, arrays)
        self._ready(call, lambda: super(_Timed, self).forward(call, arrays), call.run is None)
        begin = _now()
        outs, flags = _waited(super().forward(call, arrays))
        self._session.event(f"aten::{call.op.name}", begin, call)
        return outs, flags

    def vjp(self, call: Any, arrays: tuple, cotangents: tuple) -> tuple:
        present = tuple([c is not None for c in cotangents])
        new = call.pulls is None or present not in call.pulls
        self._ready(call, lambda: super(_Timed, self).vjp(call, arrays, cotangents), new)
        begin = _now()
        grads = _waited(super().vjp(call, arrays, cotangents))
        self._session.event(f"{call.op.name}Backward", begin, call, backward=True)
        return grads

    def _ready(self, call: Any, run: Callable[[], Any], new: bool) -> None:
        """The first run of a kernel compiles it."""
        if new:
            begin = _now()
            _waited(run())
            self._session.event(f"compile {call.op.name}", begin)


def _waited(outs: Any) -> Any:
    import jax

    return jax.block_until_ready(outs)


class record_function:
    """Names a part of the program in profiles: a context manager, and a decorator.

    While a profile is being taken, what the part has recorded is run before it ends. For XLA's traces it is an
    annotation as well.
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args

    def __enter__(self) -> Self:
        import jax

        self._session = getattr(local, "session", None)
        if self._session is not None:
            flush("a profiled range begins")
        self._begin = _now()
        self._annotation = jax.profiler.TraceAnnotation(self.name if self.args is None else f"{self.name}({self.args})")
        self._annotation.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        session = self._session
        try:
            if session is not None and session is getattr(local, "session", None):
                flush("a profiled range ends")
                session.event(self.name, self._begin, is_user=True)
        finally:
            self._annotation.__exit__(*error)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return function(*args, **kwargs)

        return inner


def _record_function_enter(name: str, args: str | None = None) -> record_function:
    """Begin a range; ``torch.ops.profiler._record_function_exit`` ends it."""
    return record_function(name, args).__enter__()


def _record_function_exit(handle: Any) -> None:
    """End the range that a call of ``torch.ops.profiler._record_function_enter`` has begun."""
    asked = asking.relevant((handle,))  # a graph is being made
    if asked:
        return asking.handle(_record_function_exit, asked, (handle,), {})
    return handle.__exit__(None, None, None)


#: ``torch.ops.profiler``: ranges for graphs, which have no blocks.
operators = SimpleNamespace(_record_function_enter=_record_function_enter, _record_function_exit=_record_function_exit)
for _name, _function in vars(operators).items():
    _function._at = ("ops", "profiler", _name)


def ranged(name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function, as a range of that name if this thread is being profiled."""
    if getattr(local, "session", None) is None:
        return function(*args, **kwargs)
    with record_function(name):
        return function(*args, **kwargs)


class profile:
    """Profiles the operations of a block: a context manager.

    enabled: False does nothing.   record_shapes, with_stack, with_flops, profile_memory: what to keep of each one:
    shapes of its inputs, the line that recorded it, floating-point operations of products and convolutions, bytes of
    its results.   use_device: accelerators are always included.
    """

    def __init__(self, enabled: bool = True, *, use_cuda: bool = False, use_device: str | None = None,
                 record_shapes: bool = False, with_flops: bool = False, profile_memory: bool = False,
                 with_stack: bool = False, with_modules: bool = False, use_kineto: bool = True, use_cpu: bool = True,
                 experimental_config: Any = None, acc_events: bool = False) -> None:  # fmt: skip
        refuse(with_modules=with_modules)
        ExperimentalConfig.expect(experimental_config)
        if use_cuda:
            warnings.warn(
                "The attribute `use_cuda` will be deprecated soon, please use ``use_device = 'cuda'`` instead.",
                FutureWarning, stacklevel=2,
            )  # fmt: skip
        self.enabled = enabled
        self._session = Session(record_shapes, profile_memory, with_stack, with_flops)
        self._done: EventList | None = None
        self._entered = False

    def __enter__(self) -> Self:
        if self.enabled:
            if self._entered:
                raise RuntimeError("Profiler context manager is not reentrant")
            self._entered = True
            self._session.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.enabled:
            self._session.stop()
            self._done = self._session.list()

    @property
    def function_events(self) -> EventList:
        """The events. RuntimeError before the block has ended."""
        if self._done is None:
            raise RuntimeError("Profiler didn't finish running")
        return self._done

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> EventList:
        """Averages by name, see `EventList.key_averages`."""
        return self.function_events.key_averages(group_by_input_shape, group_by_stack_n)

    def total_average(self) -> FunctionEventAvg:
        """All taken together."""
        return self.function_events.total_average()

    def table(self, *args: Any, **kwargs: Any) -> str:
        """The events as text, see `EventList.table`."""
        return self.function_events.table(*args, **kwargs)

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for Chrome's about:tracing and for Perfetto."""
        self.function_events.export_chrome_trace(path)

    @property
    def self_cpu_time_total(self) -> float:
        """Sum of the microseconds."""
        return self.function_events.self_cpu_time_total

    def __repr__(self) -> str:
        return "<unfinished torch.autograd.profile>" if self._done is None else repr(list(self._done))

    def __str__(self) -> str:
        return "<unfinished torch.autograd.profile>" if self._done is None else self.table()


class ExperimentalConfig:
    """``torch._C._profiler._ExperimentalConfig``: what kineto is told.

    verbose: the lines that ``with_stack`` keeps are complete; they are so in any case.   NotImplementedError for all
    else.
    """

    def __init__(self, *, verbose: bool = False, **options: Any) -> None:
        refuse(**options)
        self.verbose = verbose

    @classmethod
    def expect(cls, config: Any) -> None:
        """TypeError for what is neither one nor None."""
        if config is not None and not isinstance(config, cls):
            raise TypeError(f"experimental_config must be an _ExperimentalConfig, not {type(config).__name__}")


def refuse(**options: Any) -> None:
    """NotImplementedError for options that are set and have no meaning here."""
    given = [name for name, value in options.items() if value]
    if given:
        raise NotImplementedError(
            f"profile: {', '.join(given)} has no equivalent; name parts of the program by record_function"
        )


class _Emit:
    """A context manager that is refused, unless ``enabled`` is False."""

    _why = ""

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        if enabled:
            raise NotImplementedError(f"{type(self).__name__}: {self._why}")

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: Any) -> None:
        return None


class emit_nvtx(_Emit):
    """Refused unless ``enabled=False``: XLA annotates its own kernels for Nsight."""

    _why = "XLA annotates its kernels for Nsight itself; see torch.cuda.nvtx.range"


class emit_itt(_Emit):
    """Refused unless ``enabled=False``: XLA does not know Intel's ITT."""

    _why = "XLA writes no ITT ranges; see torch.profiler.xla_trace"


class EnforceUnique:
    """Raises RuntimeError when a key is seen twice."""

    def __init__(self) -> None:
        self.seen: set[Any] = set()

    def see(self, *key: Any) -> None:
        """Note a key."""
        if key in self.seen:
            raise RuntimeError("duplicate key: " + str(key))
        self.seen.add(key)


class KinetoStepTracker:
    """Counts steps by who announces them; the step is the largest count."""

    _steps: ClassVar[dict[str, int]] = {}
    _current = 0

    @classmethod
    def init_step_count(cls, requester: str) -> None:
        """Let somebody begin at the present step."""
        cls._steps[requester] = cls._current

    @classmethod
    def erase_step_count(cls, requester: str) -> bool:
        """Forget somebody; whether that one was known."""
        return cls._steps.pop(requester, None) is not None

    @classmethod
    def increment_step(cls, requester: str) -> int:
        """A step of somebody's; the present step."""
        cls._steps[requester] = cls._steps.get(requester, cls._current) + 1
        cls._current = max(cls._current, *cls._steps.values())
        return cls._current

    @classmethod
    def current_step(cls) -> int:
        """The present step."""
        return cls._current


class MemRecordsAcc:
    """Records of memory, of which those of a span of time are found by bisection: each tells its ``start_ns()``."""

    def __init__(self, mem_records: list[Any]) -> None:
        self._records = sorted(mem_records, key=lambda r: r.start_ns())
        self._starts = [r.start_ns() for r in self._records]

    def in_interval(self, start_us: float, end_us: float) -> Iterator[Any]:
        """Those that begin within it, the first first."""
        first = bisect.bisect_left(self._starts, start_us)
        yield from self._records[first : bisect.bisect_right(self._starts, end_us)]


def load_nvprof(path: str) -> Any:
    """NotImplementedError: nvprof, whose databases these were, is gone; see :func:`torch.profiler.xla_trace`."""
    return parse_nvprof_trace(path)


def parse_nvprof_trace(path: str) -> Any:
    """NotImplementedError: see :func:`load_nvprof`."""
    raise NotImplementedError("nvprof's databases are not read: the program is gone; see torch.profiler.xla_trace")
