"""``torch.nested``: batches of tensors that differ in size along one dimension.

The components lie one after the other in one recorded tensor of values; what is elementwise or along other dimensions
works on that, sums over the ragged dimension are sums over segments, and softmax over it, attention and extremes work
on a padded copy.  Where the components lie is known on the host and a run-time input of programs; buffers made from
host data have some room, so that batches of nearly the same size run the same program.
"""

from __future__ import annotations

from ..tensor._register import function as _function
from . import _ops as _ops
from . import _shape as _shape
from ._create import as_nested_tensor as as_nested_tensor
from ._create import masked_select as masked_select
from ._create import narrow as narrow
from ._create import nested_tensor as nested_tensor
from ._create import nested_tensor_from_jagged as nested_tensor_from_jagged
from ._create import to_padded_tensor as to_padded_tensor
from ._tensor import NestedTensor as NestedTensor

__all__ = ["NestedTensor", "as_nested_tensor", "masked_select", "narrow", "nested_tensor", "nested_tensor_from_jagged",
           "to_padded_tensor"]

_function(namespace=None, method=True)(to_padded_tensor)
