"""``torch.return_types``: the named tuples that operators return, made at first use."""

from __future__ import annotations

from typing import Any

from .ops import TABLE
from .tensor import functions as _functions


def __getattr__(name: str) -> Any:
    from .tensor._general import returns

    for (space, known), entry in TABLE.items():
        if entry.returns and known not in ("", None) and name == (known if space != "linalg" else f"linalg_{known}"):
            found = globals()[name] = returns(entry)
            return found
    raise AttributeError(f"module 'torch.return_types' has no attribute '{name}' (see docs/differences.md)")


def __dir__() -> list[str]:
    found = (f"linalg_{name}" if space == "linalg" else name for (space, name), entry in TABLE.items() if entry.returns)
    return sorted({name for name in found if not name.startswith("_")})


_ = _functions
