"""``torch.fx``: programs as graphs that can be looked at and changed.

:func:`symbolic_trace` calls a module or function with stand-ins for its arguments and notes what is done to them; the
result is a :class:`GraphModule`, whose code can be read, changed node by node, run by an :class:`Interpreter`, copied
and saved. What is executed is recorded and compiled as ever.
"""

from . import _symbolic_trace as _symbolic_trace
from .graph import Graph as Graph
from .graph_module import GraphModule as GraphModule
from .interpreter import Interpreter as Interpreter
from .interpreter import Transformer as Transformer
from .node import Node as Node
from .node import has_side_effect as has_side_effect
from .node import map_arg as map_arg
from .proxy import Proxy as Proxy
from .subgraph_rewriter import replace_pattern as replace_pattern
from .tracer import PH as PH
from .tracer import Tracer as Tracer
from .tracer import symbolic_trace as symbolic_trace
from .tracer import wrap as wrap

__all__ = [
    "PH", "Graph", "GraphModule", "Interpreter", "Node", "Proxy", "Tracer", "Transformer", "has_side_effect", "map_arg",
    "replace_pattern", "symbolic_trace", "wrap",
]  # fmt: skip
