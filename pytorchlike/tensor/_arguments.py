"""What the arguments of an operator become in a recorded call."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import local
from .dtype import dtype as torch_dtype

NUMBERS = frozenset((float, int, bool, complex))
ATOMS = frozenset((int, bool, str, float, type(None)))
WHOLE = frozenset((int, str, type(None)))
_INT = frozenset((int,))


class _NotGiven:
    """The default of an argument for which None is a value, as signatures show it."""

    def __repr__(self) -> str:
        return "<not given>"


NOT_GIVEN = _NotGiven()


class Unusual(Exception):
    """Raised on the way of a fast form by an argument that it does not take."""


def sizes(given: Any, trace: Any = None) -> tuple[int, ...]:
    """A tuple of ints out of what callers pass as sizes.

    trace: the trace that the caller goes on recording in; Moved is raised if reading a size had it executed, or a part
    of it taken back.
    """
    if given.__class__ is int:
        return (given,)
    several = isinstance(given, (list, tuple))
    if several and _INT.issuperset(map(type, given)):
        return tuple(given)
    state = None if trace is None else trace.state
    out = tuple([_integer(n) for n in given]) if several else (_integer(given),)
    if trace is not None:
        _stay(trace, state)
    return out


def frozen(x: Any, trace: Any) -> Any:
    """As :func:`freeze`; Moved is raised if reading a tensor had the trace executed, or a part of it taken back."""
    state = trace.state
    out = freeze(x)
    _stay(trace, state)
    return out


def whole(x: Any, trace: Any) -> Any:
    """As :func:`frozen`, for what has to be an int or several: 1.0 and True would be found in the place of 1."""
    if x.__class__ is float or x.__class__ is bool:
        raise Unusual
    return frozen(x, trace)


def _stay(trace: Any, state: Any) -> None:
    if local.trace is not trace or trace.state is not state:
        from ._cell import Moved

        raise Moved


def _integer(n: Any) -> int:
    if isinstance(n, bool) or isinstance(n, float):
        raise TypeError(f"sizes must be ints, not {type(n).__name__} ({n!r})")
    if hasattr(n, "__index__"):
        return n.__index__()
    raise TypeError(f"sizes must be ints, not {type(n).__name__} ({n!r})")


def freeze(x: Any) -> Any:
    """A hashable equivalent of a static argument."""
    if isinstance(x, (list, tuple)):
        return tuple([i if i.__class__ in ATOMS else freeze(i) for i in x])
    if isinstance(x, torch_dtype):
        return x.numpy
    if x.__class__ in ATOMS:
        return x
    if isinstance(x, np.generic):
        return x.item()
    if hasattr(x, "_value") and hasattr(x, "item"):
        return x.item() if x.dim() == 0 or x.numel() == 1 else tuple(x.tolist())
    if isinstance(x, np.ndarray):
        return freeze(x.tolist())
    if isinstance(x, dict):
        return tuple(sorted((k, freeze(v)) for k, v in x.items()))
    hash(x)
    return x


def to_dtype(given: Any) -> np.dtype:
    if given.__class__ is torch_dtype:
        return given.numpy
    if isinstance(given, np.dtype):
        return given
    from .dtype import to_numpy_dtype

    return to_numpy_dtype(given)
