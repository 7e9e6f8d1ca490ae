"""Modules whose attributes are settings: assignments are checked and act."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any

_open = [True]


def frozen() -> bool:
    """Whether assignments are refused, outside of :func:`opened`."""
    return not _open[0]


def freeze() -> None:
    """Refuse assignments from now on."""
    _open[0] = False


@contextlib.contextmanager
def opened() -> Iterator[None]:
    """Assignments are accepted in this block."""
    before, _open[0] = _open[0], True
    try:
        yield
    finally:
        _open[0] = before


@contextlib.contextmanager
def inside(name: str, given: dict[str, Any]) -> Iterator[None]:
    """The settings of the module of that name in a block."""
    module = sys.modules[name]
    before = {k: getattr(module, k) for k in given}
    try:
        with opened():
            for k, value in given.items():
                setattr(module, k, value)
        yield
    finally:
        with opened():
            for k, value in before.items():
                setattr(module, k, value)


class Settings(types.ModuleType):
    """A module with properties. Subclass it with ``property`` attributes and pass the class to :func:`use`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if frozen() and isinstance(getattr(type(self), name, None), property):
            raise RuntimeError(f"not allowed to set {self.__name__.replace('pytorchlike', 'torch', 1)} flags after "
                               "disable_global_flags; please use flags() context manager instead")  # fmt: skip
        super().__setattr__(name, value)


def use(name: str, cls: type[Settings]) -> None:
    """Let the module of that name have the properties of ``cls``."""
    sys.modules[name].__class__ = cls


def checked_bool(what: str, value: Any) -> bool:
    """``value`` if it is a bool, else a RuntimeError that names the setting."""
    if not isinstance(value, bool):
        raise RuntimeError(f"{what} expects a bool, but got {type(value).__name__}")
    return value


def hint(name: str, default: Any, kind: type, what: str) -> property:
    """A setting that says which of several equivalent algorithms to prefer: kept, and left to XLA."""

    def get(self: Any) -> Any:
        return self.__dict__.get(f"_{name}", default)

    def put(self: Any, value: Any) -> None:
        if kind is bool:
            value = checked_bool(f"{what}.{name}", value)
        elif not isinstance(value, kind) or isinstance(value, bool):
            raise RuntimeError(f"{what}.{name} expects {kind.__name__}, but got {type(value).__name__}")
        self.__dict__[f"_{name}"] = value

    return property(get, put, doc="A hint that XLA, which chooses by itself, does not need.")
