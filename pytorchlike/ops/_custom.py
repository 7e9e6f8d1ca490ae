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
            raise AttributeError(f"torch.ops.{self._name} has no operator '{name}'; torch.library.custom_op makes some")
        return found

    def __dir__(self) -> list[str]:
        return sorted(name.partition("::")[2] for name in CUSTOM if name.startswith(f"{self._name}::"))


def namespace(name: str) -> Namespace:
    """The namespace of that name; AttributeError if no operator was registered in it."""
    if not any(known.startswith(f"{name}::") for known in CUSTOM):
        raise AttributeError(
            f"module 'torch.ops' has no namespace '{name}': no operator was registered there by "
            "torch.library.custom_op"
        )
    return Namespace(name)
