"""``torch.nn.functional``: operators of the table, at first use, and the functions composed of them."""

from __future__ import annotations

import importlib
from typing import Any

from ..tensor._names import find, names

_composites: dict[str, Any] = {}
#: Of ``torch.overrides``; programs ask for them here, where PyTorch uses them.
_OVERRIDES = ("handle_torch_function", "has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


def _load() -> dict[str, Any]:
    """Composite functions written beside the layers."""
    if not _composites:
        from . import _functional, _scaled

        for home in (_functional, _scaled):
            _composites.update({name: getattr(home, name) for name in home.__all__})
    return _composites


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    found = _load().get(name)
    if found is None and name.startswith("_"):
        from . import _functional, _helpers

        found = getattr(_functional, name, None) or getattr(_helpers, name, None)
    if found is None:
        found = find("nn.functional", name)
    if found is None and name in _OVERRIDES:
        from .. import overrides

        found = getattr(overrides, name)
    if found is None and name == "grad":
        found = importlib.import_module(".grad", __package__)
    if found is None and name.startswith("_"):
        found = find("", name)
    if found is None:
        raise AttributeError(f"module 'torch.nn.functional' has no attribute '{name}' (see docs/differences.md)")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*(n for n in globals() if not n.startswith("_")), *_load(), *names("nn.functional")})
