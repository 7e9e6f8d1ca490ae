"""The older places of modules that ``torch.ao`` has taken over."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def now_in_ao(name: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module of that name, whose contents are at the same place within ``ao``."""
    package, _, place = name.partition(".")

    def found(attribute: str) -> Any:
        return getattr(importlib.import_module(f"{package}.ao.{place}"), attribute)

    return found
