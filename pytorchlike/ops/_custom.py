"""Operators that users have named, as ``torch.ops.namespace.name``; ``torch.library`` makes them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

#: By their full names, ``namespace::name``.
CUSTOM: dict[str, Callable[..., Any]] = {}


class _Inside(threading.local):
    depth = 0


#: Of the running thread; ``depth`` is above 0 while the function of such an operator runs.
inside = _Inside()


@contextlib.contextmanager
def opaque() -> Iterator[None]:
    """While the function of an operator runs that nobody looks into: it may read values in a captured function, too."""
    inside.depth += 1
    try:
        yield
    finally:
        inside.depth -= 1


class Namespace:
    """The operators of one namespace, as attributes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        found = CUSTOM.get(f"{self._name}::{name}")
        if found is None:
            raise AttributeError(f"'_OpNamespace' '{self._name}' object has no attribute '{name}': no operator was "
                                 "registered in this namespace under that name by torch.library")  # fmt: skip
        from .._dispatch.operators import of_custom

        return of_custom(found).overloadpacket

    def __dir__(self) -> list[str]:
        return sorted(name.partition("::")[2] for name in CUSTOM if name.startswith(f"{self._name}::"))


def namespace(name: str) -> Namespace:
    """The namespace of that name, whether or not there are operators in it."""
    return Namespace(name)
