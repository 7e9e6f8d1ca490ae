"""``functorch.experimental.control_flow``: where programs of PyTorch 2.0 import ``cond`` and ``map`` from."""

from ..._higher_order_ops import cond as cond
from ..._higher_order_ops import map as map

__all__ = ["cond", "map"]
