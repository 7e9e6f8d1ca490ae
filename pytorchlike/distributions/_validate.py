"""Checks of parameters and samples.

Values that are known on the host are looked at once.  Reading values that are pending would cut the program that is
being recorded, so the check is recorded with it: a failure is raised where a value is next read.
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..engine import check, peek
from ..ops._table import Array, op
from ..tensor import Tensor
from ..tensor._names import find
from .constraints import Constraint, host_array, known_on_host, takes_arrays


@op(namespace=None, method=False, out=False, differentiable=False, name="_require_all")
def _require_all(input: Array, message: str, error: str) -> Any:
    """Demand that all are true when the program runs; the builtin exception ``error`` otherwise."""
    ok = jnp.all(input)
    check(ok, getattr(builtins, error), message)
    return ok


def verdict(constraint: Constraint, value: Tensor) -> Any:
    """Whether all of ``value`` is inside the region: a bool if that can be told now, else a tensor of bools."""
    host = host_array(value)
    if host is not None and known_on_host(constraint):
        if takes_arrays(constraint):
            with np.errstate(invalid="ignore", over="ignore"):
                return bool(constraint.check(host).all())
        # a constraint of the user's; its few operations are evaluated apart from what is pending
        inside = constraint.check(value)
        return bool(np.asarray(peek(inside.all()._get()))) if isinstance(inside, Tensor) else bool(inside)
    inside = constraint.check(value)
    return inside if isinstance(inside, Tensor) else bool(inside)


def require(constraint: Constraint, value: Tensor, now: Callable[[], str], later: Callable[[], str]) -> None:
    """Raise ``ValueError(now())``, or record a check that raises ``ValueError(later())``, if a value is not inside.

    ``later()`` belongs to the key of the program: it may not tell values.
    """
    found = verdict(constraint, value)
    if found is False:
        raise ValueError(now())
    if found is not True:
        require_all(found, later())


def require_all(ok: Tensor, message: str, error: type[Exception] = ValueError) -> None:
    """Demand that a tensor of bools is all true, where a value is next read."""
    _demand()(ok, message, error.__name__)


@functools.cache
def _demand() -> Callable[..., Any]:
    return find("", "_require_all")


def describe(constraint: Constraint) -> str:
    """``repr`` of a constraint without the values of bounds that are tensors."""
    bounds = constraint._shown()
    if any(isinstance(v, Tensor) for v in bounds.values()):
        told = ", ".join(
            f"{k}=<{type(v).__name__} of shape {tuple(v.shape)}>" if isinstance(v, Tensor) else f"{k}={v}"
            for k, v in bounds.items()
        )
        return f"{type(constraint).__name__.removeprefix('_')}({told})"
    base = getattr(constraint, "base_constraint", None)
    if base is not None:
        n = getattr(constraint, "reinterpreted_batch_ndims", None)
        name = type(constraint).__name__.removeprefix("_")
        return f"{name}({describe(base)}{'' if n is None else f', {n}'})"
    return repr(constraint)
