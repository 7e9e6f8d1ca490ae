"""Structured control flow: operators that take functions.

``torch.cond`` and ``torch.while_loop`` are here too; ``scan``, ``associative_scan`` and ``map`` live here alone, as in
PyTorch (``torch._higher_order_ops.scan``).  The functions are recorded, by calling them once, and become part of the
program, which does not grow with the number of iterations.
"""

from .associative_scan import associative_scan as associative_scan
from .cond import cond as cond
from .foreach_map import foreach_map as foreach_map
from .map import map as map
from .scan import scan as scan
from .while_loop import while_loop as while_loop

__all__ = ["associative_scan", "cond", "foreach_map", "map", "scan", "while_loop"]
