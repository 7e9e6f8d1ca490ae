"""Differentiation as a user sees it: ``backward``, ``grad``, modes, custom functions."""

from __future__ import annotations

import importlib
from typing import Any

from . import function as function
from . import graph as graph
from .anomaly_mode import detect_anomaly as detect_anomaly
from .anomaly_mode import set_detect_anomaly as set_detect_anomaly
from .function import Function as Function
from .function import NestedIOFunction as NestedIOFunction
from .mode import _unsafe_preserve_version_counter as _unsafe_preserve_version_counter
from .mode import enable_grad as enable_grad
from .mode import enforce_grad_layout_policy as enforce_grad_layout_policy
from .mode import inference_mode as inference_mode
from .mode import is_grad_enabled as is_grad_enabled
from .mode import no_grad as no_grad
from .mode import set_grad_enabled as set_grad_enabled
from .mode import set_multithreading_enabled as set_multithreading_enabled
from .passes import backward as backward
from .passes import grad as grad
from .variable import Variable as Variable

__all__ = [
    "Function", "NestedIOFunction", "Variable", "backward", "detect_anomaly", "enable_grad",
    "enforce_grad_layout_policy", "grad", "grad_mode", "gradcheck", "gradgradcheck", "inference_mode", "no_grad",
    "set_detect_anomaly", "set_grad_enabled", "set_multithreading_enabled", "variable",
]  # fmt: skip


def variable(*args: Any, **kwargs: Any) -> None:
    """Refuses: ``torch.tensor`` has taken its place.  (``torch.autograd.variable`` can be imported as a module too.)"""
    raise RuntimeError("torch.autograd.variable(...) is deprecated, use torch.tensor(...) instead")


_LATE = {"gradcheck": "gradcheck", "gradgradcheck": "gradcheck", "GradcheckError": "gradcheck"}
_MODULES = ("anomaly_mode", "forward_ad", "functional", "grad_mode", "profiler")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _LATE:
        module = importlib.import_module(f"{__name__}.{_LATE[name]}")
        # the import has bound the module's name: these are functions of the same name
        for known in _LATE:
            globals()[known] = getattr(module, known)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
