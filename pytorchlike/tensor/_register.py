"""Functions written in Python over Tensors, registered beside the operators of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: (namespace, name) -> function.
FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {}
#: method name -> function.
METHODS: dict[str, Callable[..., Any]] = {}


def function(
    fn: Callable[..., Any] | None = None, *, method: bool = False, namespace: str | tuple[str, ...] | None = "torch",
    name: str | None = None, aliases: tuple[str, ...] = (),
) -> Any:  # fmt: skip
    """Register a function of a namespace, and as a method if ``method``."""

    def enter(fn: Callable[..., Any]) -> Callable[..., Any]:
        spaces = (namespace,) if isinstance(namespace, str) else tuple(namespace or ())
        for each in (name or fn.__name__, *aliases):
            for space in spaces:
                FUNCTIONS[space, each] = fn
            if method:
                METHODS[each] = fn
        return fn

    return enter if fn is None else enter(fn)
