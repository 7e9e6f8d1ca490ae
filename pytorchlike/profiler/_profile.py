"""The profiler with a schedule."""

from __future__ import annotations

import collections
import contextlib
import enum
import gzip
import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from ..autograd.profiler import ExperimentalConfig, Session, record_function, refuse
from ..autograd.profiler_util import DeviceType as DeviceType
from ..autograd.profiler_util import EventList
from ..engine import flush, local
from ..nn.modules.module import Module, register_module_forward_hook, register_module_forward_pre_hook


class ProfilerAction(enum.Enum):
    """What a schedule says for a step: nothing, run as when recording but keep nothing, record, or record and hand out
    what was recorded at its end."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


class ProfilerActivity(enum.Enum):
    """Where operations run. All places are profiled together here."""

    CPU = 0
    XPU = 1
    MTIA = 2
    CUDA = 3
    HPU = 4
    PrivateUse1 = 5


def kineto_available() -> bool:
    """Whether ``torch.profiler.profile`` works: yes, without PyTorch's library of that name."""
    return True


def supported_activities() -> set[ProfilerActivity]:
    """The places that there are: the CPU, and CUDA where JAX sees a GPU."""
    import jax

    found = {ProfilerActivity.CPU}
    if jax.default_backend() == "gpu":
        found.add(ProfilerActivity.CUDA)
    return found


def schedule(*, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0,
             skip_first_wait: int = 0) -> Callable[[int], ProfilerAction]:  # fmt: skip
    """A schedule of cycles: ``wait`` steps without, ``warmup`` steps that are not kept, ``active`` steps recorded.

    repeat: number of cycles, 0 for ever.   skip_first: steps before the first.   skip_first_wait: non-zero leaves out
    the first cycle's ``wait``.   AssertionError for negative numbers, or without an active step.
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise AssertionError("Invalid profiler schedule arguments: numbers must not be negative, and active not 0")
    if warmup == 0:
        warnings.warn("Profiler won't be using warmup, this can skew profiler results", stacklevel=2)

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError(f"step must not be negative, got {step}")
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait != 0:
            step += wait
        length = wait + warmup + active
        if repeat > 0 and step >= repeat * length:
            return ProfilerAction.NONE
        at = step % length
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if at < length - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


class _ModuleRanges:
    """Ranges around the calls of modules, which are numbered by class in the order of their first calls."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[str, Module]] = {}  # the module, so that no other one gets its id
        self._counts: collections.Counter[str] = collections.Counter()
        self._open: list[tuple[Module, record_function]] = []
        self._handles: list[Any] = []

    def start(self) -> None:
        self._handles = [register_module_forward_pre_hook(self._begin),
                         register_module_forward_hook(self._end, always_call=True)]  # fmt: skip

    def stop(self) -> None:
        for handle in self._handles:
            handle.remove()
        while self._open:
            self._open.pop()[1].__exit__(None, None, None)
        self._names.clear()
        self._counts.clear()

    def _begin(self, module: Module, args: Any) -> None:
        if getattr(local, "session", None) is None:  # a module in another thread
            return
        if id(module) not in self._names:
            kind = type(module).__name__
            self._names[id(module)] = f"nn.Module: {kind}_{self._counts[kind]}", module
            self._counts[kind] += 1
        entered = record_function(self._names[id(module)][0])
        entered.__enter__()
        self._open.append((module, entered))

    def _end(self, module: Module, args: Any, output: Any) -> None:
        if getattr(local, "session", None) is not None and self._open and self._open[-1][0] is module:
            self._open.pop()[1].__exit__(None, None, None)


class profile:
    """Profiles the operations of a block, or of the steps that a schedule picks: a context manager.

    activities:      checked; the CPU and all accelerators are profiled together.
    schedule:        function of the step number; `step` is then to be called after each step. None: the whole block.
    on_trace_ready:  called with this object when a cycle has been recorded.
    record_shapes, profile_memory, with_stack, with_flops: what to keep of each operation: shapes of its inputs, bytes
                     of its results, the line that recorded it, floating-point operations of products and convolutions.
    with_modules:    record the calls of modules, too, as "nn.Module: Linear_0".
    acc_events:      keep the events of earlier cycles too.

    Operations are run one by one meanwhile, see ``torch.autograd.profiler``. ``execution_trace_observer`` raises
    NotImplementedError.
    """

    def __init__(self, *, activities: Iterable[ProfilerActivity] | None = None,
                 schedule: Callable[[int], ProfilerAction] | None = None,
                 on_trace_ready: Callable[[profile], Any] | None = None, record_shapes: bool = False,
                 profile_memory: bool = False, with_stack: bool = False, with_flops: bool = False,
                 with_modules: bool = False, experimental_config: Any = None, execution_trace_observer: Any = None,
                 acc_events: bool = False, use_cuda: bool | None = None) -> None:  # fmt: skip
        refuse(execution_trace_observer=execution_trace_observer)
        ExperimentalConfig.expect(experimental_config)
        asked = set(activities) if activities is not None else {ProfilerActivity.CPU}
        if use_cuda is not None:
            warnings.warn("`use_cuda` is deprecated, use `activities` argument instead", FutureWarning, stacklevel=2)
            if use_cuda:
                asked.add(ProfilerActivity.CUDA)
        if not asked:
            raise AssertionError("No valid profiler activities found")
        for activity in asked:
            if not isinstance(activity, ProfilerActivity):
                raise TypeError(f"activities must be of ProfilerActivity, got {activity!r}")
        self.activities, self.schedule, self.on_trace_ready = asked, schedule, on_trace_ready
        self.record_shapes, self.profile_memory = record_shapes, profile_memory
        self.with_stack, self.with_flops, self.acc_events = with_stack, with_flops, acc_events
        self.step_num = 0
        self._scheduled = schedule is not None
        self._session: Session | None = None
        self._modules = _ModuleRanges() if with_modules else None
        self._kept: list[Any] = []
        self._events: EventList | None = None
        self._metadata: dict[str, Any] = {}
        self._step: record_function | None = None
        self.current_action = ProfilerAction.NONE

    def _action(self) -> ProfilerAction:
        return self.schedule(self.step_num) if self.schedule is not None else ProfilerAction.RECORD_AND_SAVE

    # ---- the block ----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop()

    def start(self) -> None:
        """Begin the block. RuntimeError if this thread is being profiled already."""
        self.current_action = self._action()
        self._to(ProfilerAction.NONE, self.current_action)
        self._begin_step()

    def stop(self) -> None:
        """End the block; what has been recorded so far is handed out."""
        self._end_step()
        before, self.current_action = self.current_action, ProfilerAction.NONE
        recorded = before in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        self._close()
        if recorded and self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def step(self) -> None:
        """Say that a step has ended."""
        self._end_step()
        before = self.current_action
        self.step_num += 1
        self.current_action = self._action()
        self._to(before, self.current_action)
        self._begin_step()

    def _begin_step(self) -> None:
        if self._scheduled and self._session is not None:
            self._step = record_function(f"ProfilerStep#{self.step_num}")
            self._step.__enter__()

    def _end_step(self) -> None:
        flush("a profiled step ends")
        if self._step is not None:
            self._step.__exit__(None, None, None)
            self._step = None

    def _to(self, before: ProfilerAction, now: ProfilerAction) -> None:
        if before is ProfilerAction.RECORD_AND_SAVE:
            self._close()
            if self.on_trace_ready is not None:
                self.on_trace_ready(self)
        elif before is ProfilerAction.RECORD and now in (ProfilerAction.NONE, ProfilerAction.WARMUP):
            warnings.warn("Incorrect schedule: a recording ends without RECORD_AND_SAVE", stacklevel=3)
            self._close()
        if before is ProfilerAction.WARMUP and self._session is not None and now is not ProfilerAction.WARMUP:
            self._session.events.clear()
            if now is ProfilerAction.NONE:
                self._close(keep=False)
        if now is not ProfilerAction.NONE and self._session is None:
            self._session = Session(self.record_shapes, self.profile_memory, self.with_stack, self.with_flops)
            self._session.start()
            if self._modules is not None:
                self._modules.start()

    def _close(self, keep: bool = True) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        if self._modules is not None:
            self._modules.stop()
        session.stop()
        if keep:
            if self.acc_events:
                self._kept += session.events
                session.events = list(self._kept)
            self._events = session.list()

    # ---- what was recorded ---------------------------------------------------------------------------------------

    def events(self) -> EventList:
        """The events of the last cycle. AssertionError if there are none yet."""
        if self._events is None:
            raise AssertionError("Profiler must be initialized and stopped before events can be looked at")
        return self._events

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> EventList:
        """Averages by name, see ``EventList.key_averages``; its ``table`` shows them."""
        return self.events().key_averages(group_by_input_shape, group_by_stack_n)

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for Chrome, Perfetto and TensorBoard; compressed if ``path`` ends in '.gz'."""
        content = {
            "schemaVersion": 1, "traceEvents": self.events().chrome_events(), "displayTimeUnit": "ms",
            "record_shapes": int(self.record_shapes), "profile_memory": int(self.profile_memory),
            "with_stack": int(self.with_stack), "with_flops": int(self.with_flops), **self._metadata,
        }  # fmt: skip
        opened: Any = gzip.open(path, "wt") if path.endswith(".gz") else open(path, "w")
        with opened as file:
            json.dump(content, file)

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Write the recording lines and their times for flame graphs. AssertionError without ``with_stack``."""
        if not self.with_stack:
            raise AssertionError("export_stacks() requires with_stack=True")
        with open(path, "w") as file:
            for event in self.events():
                if event.stack and (time_taken := int(getattr(event, metric))) > 0:
                    line = ";".join(s.replace(" ", "_") for s in reversed(event.stack))
                    file.write(f"{line};{event.name} {time_taken}\n")

    def add_metadata(self, key: str, value: str) -> None:
        """Text to be written with the trace."""
        self._metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """JSON to be written with the trace."""
        self._metadata[key] = json.loads(value)

    def preset_metadata_json(self, key: str, value: str) -> None:
        """`add_metadata_json` before the start."""
        self.add_metadata_json(key, value)


def tensorboard_trace_handler(dir_name: str, worker_name: str | None = None,
                              use_gzip: bool = False) -> Callable[[profile], None]:  # fmt: skip
    """For ``on_trace_ready``: write each trace to a file of its own in ``dir_name``, where TensorBoard looks for it.

    RuntimeError when it is called, if the directory cannot be made.
    """

    def handler(prof: profile) -> None:
        try:
            os.makedirs(dir_name, exist_ok=True)
        except OSError as error:
            raise RuntimeError(f"Can't create directory: {dir_name}") from error
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        path = os.path.join(dir_name, f"{worker}.{time.time_ns()}.pt.trace.json{'.gz' if use_gzip else ''}")
        prof.export_chrome_trace(path)

    return handler


@contextlib.contextmanager
def xla_trace(log_dir: str | os.PathLike) -> Iterator[None]:
    """Have XLA trace the compiled programs as they are, kernels and transfers included, into ``log_dir``.

    For TensorBoard's profile plugin (XProf) and Perfetto. ``record_function`` marks ranges in it.
    """
    import jax

    flush("a trace begins")
    with jax.profiler.trace(os.fspath(log_dir)):
        try:
            yield
        finally:
            flush("a trace ends")


class ExecutionTraceObserver:
    """PyTorch's trace of operators with their arguments: NotImplementedError when it is to be written.

    ``profile(record_shapes=True)`` tells the arguments' shapes, and ``xla_trace`` writes what XLA executes.
    """

    def register_callback(self, output_file_path: str) -> Any:
        """Refused, see the class."""
        raise NotImplementedError("ExecutionTraceObserver: programs are compiled, and their operators run in none of "
                                  "PyTorch's orders; see profile(record_shapes=True) and xla_trace()")  # fmt: skip
