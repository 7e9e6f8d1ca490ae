"""``torch.cuda.graphs``: there are no CUDA graphs, see :class:`CUDAGraph`."""

from . import CUDAGraph as CUDAGraph
from . import graph as graph
from . import graph_pool_handle as graph_pool_handle
from . import is_current_stream_capturing as is_current_stream_capturing
from . import make_graphed_callables as make_graphed_callables

__all__ = ["CUDAGraph", "graph", "graph_pool_handle", "is_current_stream_capturing", "make_graphed_callables"]
