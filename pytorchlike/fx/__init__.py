"""``torch.fx``: there is no symbolic tracing into graphs of Python code; operations are recorded as they are called.

The marks for it (:func:`wrap`, :func:`has_side_effect`) and the classes that programs test values against are here;
what would trace raises NotImplementedError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

__all__ = [
    "Graph", "GraphModule", "Interpreter", "Node", "Proxy", "Tracer", "Transformer", "has_side_effect", "map_arg",
    "replace_pattern", "symbolic_trace", "wrap",
]  # fmt: skip

T = TypeVar("T")
_WHY = (
    "Python code is not traced into graphs here: operations are recorded and compiled as they are called. For features "
    "between the layers of a model use forward hooks; for a program as data, jax.make_jaxpr"
)


def _refuse(name: str) -> NoReturn:
    raise NotImplementedError(f"torch.fx.{name}: {_WHY}")


class _Refused:
    """Nothing is one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse(type(self).__name__)


class Proxy(_Refused):
    """A stand-in for a value while a function is traced; nothing is one."""


class Node(_Refused):
    """A node of a graph; nothing is one."""


class Graph(_Refused):
    """A graph of operations; refused."""


class GraphModule(_Refused):
    """A module made of a graph; refused."""


class Tracer(_Refused):
    """Traces modules; refused."""


class Interpreter(_Refused):
    """Runs a graph node by node; refused."""


class Transformer(Interpreter):
    """Makes a new graph of one; refused."""


def wrap(fn_or_name: T) -> T:
    """The function (or its name) itself: marks what tracing would not look into."""
    if not callable(fn_or_name) and not isinstance(fn_or_name, str):
        raise RuntimeError("Unsupported type for global function! Must be either a callable or string name")
    return fn_or_name


def has_side_effect(fn: T) -> T:
    """The function itself: marks what must stay in a graph."""
    return fn


def symbolic_trace(root: Any, concrete_args: dict[str, Any] | None = None) -> NoReturn:
    """Refused, see the module's text."""
    _refuse("symbolic_trace")


def replace_pattern(gm: Any, pattern: Any, replacement: Any) -> NoReturn:
    """Refused, see the module's text."""
    _refuse("replace_pattern")


def map_arg(a: Any, fn: Callable[[Node], Any]) -> Any:
    """``a`` with ``fn`` applied to the nodes in it: there are none, so ``a`` with its containers made anew."""
    from ..utils._pytree import tree_map_only

    return tree_map_only(Node, fn, a)
