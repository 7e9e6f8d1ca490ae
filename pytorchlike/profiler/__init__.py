"""``torch.profiler``: profiles by operation, on a schedule, and XLA's own traces."""

from ..autograd.profiler import record_function as record_function
from ._profile import DeviceType as DeviceType
from ._profile import ExecutionTraceObserver as ExecutionTraceObserver
from ._profile import ProfilerAction as ProfilerAction
from ._profile import ProfilerActivity as ProfilerActivity
from ._profile import kineto_available as kineto_available
from ._profile import profile as profile
from ._profile import schedule as schedule
from ._profile import supported_activities as supported_activities
from ._profile import tensorboard_trace_handler as tensorboard_trace_handler
from ._profile import xla_trace as xla_trace

__all__ = ["DeviceType", "ExecutionTraceObserver", "ProfilerAction", "ProfilerActivity", "kineto_available", "profile",
           "record_function", "schedule", "supported_activities", "tensorboard_trace_handler", "xla_trace"]  # fmt: skip
