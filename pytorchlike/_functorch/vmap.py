"""``torch._functorch.vmap``: names that libraries take from it. What they put in its place is not asked by ``vmap``."""

from .._C._functorch import _add_batch_dim as _add_batch_dim
from .._C._functorch import _remove_batch_dim as _maybe_remove_batch_dim  # noqa: F401
from ..func._vmap import _name as _get_name  # noqa: F401
from ..func._vmap import vmap as vmap
from ..tensor import Tensor as Tensor
from ..utils._pytree import _broadcast_to_and_flatten as _broadcast_to_and_flatten
from ..utils._pytree import tree_flatten as tree_flatten
from ..utils._pytree import tree_unflatten as tree_unflatten
