"""State dicts as flat tables from dotted names to tensors and other values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...tensor import Tensor


def walk(state: Any, prefix: str = "") -> Iterator[tuple[str, Any, Callable[[Any], None]]]:
    """(name, value, what puts another value in its place) of every leaf of nested dicts, lists and tuples.

    Sequences without tensors are leaves. RuntimeError if two leaves would have one name.
    """
    seen: set[str] = set()
    for name, value, put in _walk(state, prefix):
        if name in seen:
            raise RuntimeError(f"two entries of the state dict are both called {name!r}; rename one of their keys")
        seen.add(name)
        yield name, value, put


def _walk(state: Any, prefix: str) -> Iterator[tuple[str, Any, Callable[[Any], None]]]:
    items = list(state.items()) if isinstance(state, dict) else list(enumerate(state))
    for key, value in items:
        name = f"{prefix}.{key}" if prefix else str(key)
        if (isinstance(value, dict) and value) or (isinstance(value, (list, tuple)) and _has_tensor(value)):
            yield from _walk(value, name)
        else:

            def put(new: Any, key: Any = key, name: str = name) -> None:
                if isinstance(state, tuple):
                    raise RuntimeError(f"{name} lies in a tuple, into which nothing can be loaded; use a list")
                state[key] = new

            yield name, value, put


def _has_tensor(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_tensor, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_tensor, value))
    return isinstance(value, Tensor)
