"""Tensors: creation, conversion, indexing, printing, randomness."""

from __future__ import annotations

from typing import Any

from ..engine import Value as _Value
from ._tensor import Tensor as Tensor
from ._tensor import as_tensor as as_tensor
from ._tensor import from_jax as from_jax
from ._tensor import from_numpy as from_numpy
from ._tensor import host_tensor as host_tensor
from ._tensor import tensor as tensor
from .size import Size as Size


def _setup() -> None:
    from . import _operators

    _operators.attach(Tensor)


_setup()


def _follow_default(new: Any) -> None:
    """The default float dtype is part of the mode under which operations are recorded."""
    from ..engine import get_mode, set_mode

    set_mode(get_mode().replace(default_float=new.numpy))


def _flatten(t: Any) -> tuple:
    if not isinstance(t._value, _Value):
        return (t._value,), (type(t), False)
    return (t.jax(),), (type(t), t._value.meta.grad == 1)


def _unflatten(told: tuple, children: Any) -> Any:
    import jax
    import numpy as np

    cls, leaf = told
    (child,) = children
    if not isinstance(child, (jax.Array, np.ndarray, np.generic)):  # tracers are jax.Arrays, too
        t = object.__new__(cls)  # JAX passes other things through trees of this shape
        t._alias, t._value = None, child
        return t
    t = from_jax(child)
    return cls._make_subclass(cls, t, leaf) if leaf or cls is not Tensor else t


def register_pytree(cls: type) -> None:
    """Make a Tensor class a JAX pytree of one leaf."""
    from jax import tree_util

    tree_util.register_pytree_node(cls, _flatten, _unflatten)


register_pytree(Tensor)


def _subscribe() -> None:
    from .dtype import subscribe

    subscribe(_follow_default)


_subscribe()
