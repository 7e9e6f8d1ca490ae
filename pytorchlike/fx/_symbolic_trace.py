"""``torch.fx._symbolic_trace``: where libraries look for these names."""

from .tracer import Tracer as Tracer
from .tracer import is_fx_tracing as is_fx_tracing
from .tracer import symbolic_trace as symbolic_trace
