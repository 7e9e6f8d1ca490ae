"""Tensors: creation, conversion, indexing, printing, randomness."""

from __future__ import annotations

from typing import Any

from ._tensor import Tensor as Tensor
from ._tensor import as_tensor as as_tensor
from ._tensor import as_tensor as asarray  # noqa: F401
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


def _subscribe() -> None:
    from .dtype import subscribe

    subscribe(_follow_default)


_subscribe()
