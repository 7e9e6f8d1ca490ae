"""How much arithmetic a recorded call is."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .op import ARRAY, Lifted
from .trace import _lifted_dtype


def flops_of(call: Any) -> int:
    """Floating-point operations of the matrix products and convolutions in a recorded call, two per multiply-add."""
    if call.op.alias or call.op.walk is not None:
        return 0
    return _flops(call.kernel, tuple((m.shape, m.dtype) for m in call.metas))


@functools.lru_cache(4096)
def _flops(kernel: Any, shapes: tuple) -> int:
    import jax

    left = iter(shapes)
    specs = tuple(
        jax.ShapeDtypeStruct(*next(left)) if item is ARRAY else jax.ShapeDtypeStruct((), _lifted_dtype(item[1]))
        for item in kernel.pattern
        if item is ARRAY or (type(item) is tuple and item[0] is Lifted)
    )
    with jax.enable_x64(True):
        return _count(jax.make_jaxpr(kernel.evaluate)(specs).jaxpr)


def _count(jaxpr: Any) -> int:
    total = 0
    for eqn in jaxpr.eqns:
        name, params = eqn.primitive.name, eqn.params
        if name == "dot_general":
            (left, _), _ = params["dimension_numbers"]
            shape = eqn.invars[0].aval.shape
            total += 2 * eqn.outvars[0].aval.size * math.prod(shape[d] for d in left)
        elif name == "conv_general_dilated":
            kernel, spec = eqn.invars[1].aval.shape, params["dimension_numbers"].rhs_spec
            total += 2 * eqn.outvars[0].aval.size * (int(np.prod(kernel)) // kernel[spec[0]])
        else:
            inner = [_count(getattr(j, "jaxpr", j)) for j in _inner(params)]
            if name == "cond":
                total += max(inner, default=0)
            else:
                total += sum(inner) * (params["length"] if name == "scan" else 1)
    return total


def _inner(params: dict) -> Iterator[Any]:
    for key, value in params.items():
        if key in ("jvp_jaxpr_fun", "jvp_jaxpr_thunk", "fwd_jaxpr_thunk", "bwd"):
            continue
        for one in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(one, "eqns") or hasattr(one, "jaxpr"):
                yield one
