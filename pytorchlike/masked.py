"""``torch.masked``: reductions and normalisations over the elements that a mask selects."""

from __future__ import annotations

from typing import Any

from .tensor import functions as _functions
from .tensor._names import find, names


def __getattr__(name: str) -> Any:
    found = None if name.startswith("__") else find("masked", name)
    if found is None:
        raise AttributeError(f"module 'torch.masked' has no attribute '{name}' (see docs/differences.md)")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(names("masked"))


_ = _functions
