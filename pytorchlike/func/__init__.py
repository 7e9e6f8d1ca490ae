"""Transformations of functions of tensors (``torch.func``): derivatives, batching, modules as functions.

They compose in any order: ``vmap(grad(loss), in_dims=(None, 0, 0))(params, x, y)`` gives per-sample gradients,
``hessian`` is ``jacfwd(jacrev(f))``.  Each call of a transformed function runs the Python function once, at the speed
of recording; tracing by JAX and compilation happen once for each structure of what was recorded.  ``_transform`` tells
how derivatives work, ``_vmap`` how batching does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from ._jacobian import hessian as hessian
from ._jacobian import jacfwd as jacfwd
from ._jacobian import jacrev as jacrev
from ._modules import functional_call as functional_call
from ._modules import replace_all_batch_norm_modules_ as replace_all_batch_norm_modules_
from ._modules import stack_module_state as stack_module_state
from ._rearrange import rearrange as rearrange
from ._transform import grad as grad
from ._transform import grad_and_value as grad_and_value
from ._transform import jvp as jvp
from ._transform import linearize as linearize
from ._transform import vjp as vjp
from ._vmap import vmap as vmap

__all__ = [
    "debug_unwrap", "functional_call", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp",
    "linearize", "rearrange", "replace_all_batch_norm_modules_", "stack_module_state", "vjp", "vmap",
]  # fmt: skip


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """``func`` itself, in effect: what is recorded has no mutations and views anyway, as values never change.

    remove:  'mutations' or 'mutations_and_views'.

    Raises:  RuntimeError for another ``remove``.
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}. Valid options are: "
            "remove='mutations', remove='mutations_and_views'"
        )

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapped


def debug_unwrap(tensor: Tensor, *, recurse: bool = True) -> Tensor:
    """Inside a function that ``vmap`` runs: the tensor of outside that an argument is one entry of; else ``tensor``.

    recurse:  through all enclosing ``vmap``, or the innermost only.

    Raises:  NotImplementedError for a tensor that was computed inside, as it has no values yet.
    """
    value = tensor._get()
    trace = value.trace
    if trace is None or not trace.nested:
        return tensor
    source = trace.sources.get(value.slot)
    if source is None:
        raise NotImplementedError(
            "debug_unwrap: the values of a tensor that was computed inside the transformed function are not known "
            "until the function has returned; return it instead"
        )
    outer = Tensor._of(source)
    return debug_unwrap(outer) if recurse else outer


