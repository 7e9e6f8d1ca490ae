"""Modules whose attributes are settings: assignments are checked and act."""

from __future__ import annotations

import sys
import types
from typing import Any


class Settings(types.ModuleType):
    """A module with properties. Subclass it with ``property`` attributes and pass the class to :func:`use`."""


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
