"""``torch.ops.aten``: this package's functions under the names of PyTorch's inner operators.

``aten.add.Tensor`` and ``aten.add`` are ``torch.add``: overloads are names only, since functions here tell their
arguments apart themselves.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any


class Overload:
    """One form of an operator, called like the function that it stands for."""

    def __init__(self, function: Callable[..., Any], name: str, overload: str) -> None:
        self.__name__ = f"{name}.{overload}"
        self._function, self._name = function, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<OpOverload(op='aten.{self._name}', overload='{self.__name__.rpartition('.')[2]}')>"


class Packet:
    """An operator; its attributes are its overloads, of any name."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.__name__ = name
        self._function = function
        self._overloads: dict[str, Overload] = {}

    def __getattr__(self, overload: str) -> Overload:
        if overload.startswith("__"):
            raise AttributeError(overload)
        return self._overloads.setdefault(overload, Overload(self._function, self.__name__, overload))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def overloads(self) -> list[str]:
        """NotImplementedError: there is no list of them."""
        raise NotImplementedError(f"torch.ops.aten.{self.__name__}: overloads are names only, and not listed")

    def __repr__(self) -> str:
        return f"<OpOverloadPacket(op='aten.{self.__name__}')>"


class Aten:
    """The namespace; AttributeError for a name that neither torch, torch.nn.functional nor Tensor has."""

    def __init__(self) -> None:
        self._packets: dict[str, Packet] = {}

    def __getattr__(self, name: str) -> Packet:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self._packets:
            self._packets[name] = Packet(_function(name), name)
        return self._packets[name]


@functools.cache
def aten() -> Aten:
    """The one namespace."""
    return Aten()


def _function(name: str) -> Callable[..., Any]:
    if name in _OTHERS:
        return _OTHERS[name]
    package = __name__.split(".")[0]
    torch = importlib.import_module(package)
    functional = importlib.import_module(f"{package}.nn.functional")
    places = [(torch, name), (functional, name), (torch.Tensor, name)]
    for prefix in ("linalg", "fft", "special", "_sparse"):
        if name.startswith(f"{prefix}_"):
            module = importlib.import_module(f"{package}.{prefix.removeprefix('_')}")
            places.append((module, name.removeprefix(f"{prefix}_")))
    for place, attribute in places:
        found = getattr(place, attribute, None)
        if callable(found):
            return found
    raise AttributeError(f"torch.ops.aten has no operator '{name}': there is no such function or method of a tensor")


def _slice(input: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return input[(slice(None),) * (dim % input.ndim) + (slice(start, end, step),)]


def _index(input: Any, indices: Sequence[Any]) -> Any:
    return input[tuple(slice(None) if i is None else i for i in indices)]


def _to_copy(input: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None,
             non_blocking: bool = False, memory_format: Any = None) -> Any:
    return input.to(device=device, dtype=dtype or input.dtype, non_blocking=non_blocking, copy=True)


def _alias(input: Any) -> Any:
    return input.view_as(input)


def _pin_memory(input: Any, device: Any = None) -> Any:
    return input.pin_memory()


#: What has another name, or other arguments, in Python.
_OTHERS: dict[str, Callable[..., Any]] = {
    "slice": _slice, "index": _index, "_to_copy": _to_copy, "alias": _alias, "_pin_memory": _pin_memory,
}  # fmt: skip
