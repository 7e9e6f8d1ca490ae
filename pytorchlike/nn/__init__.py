"""Neural networks: layers, losses, containers, their functions, initial values and tools."""

from __future__ import annotations

import importlib
from typing import Any

from . import attention, common_types, functional, grad, init, modules, parallel, parameter, utils
from .modules import *  # noqa: F403
from .modules import __all__ as _layers
from .parallel import DataParallel
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__all__ = [
    "Buffer", "DataParallel", "Parameter", "UninitializedBuffer", "UninitializedParameter", "attention",
    "common_types", "factory_kwargs", "functional", "grad", "init", "modules", "parallel", "parameter", "utils",
]
__all__ += _layers


def factory_kwargs(kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """The arguments device, dtype and memory_format out of ``kwargs`` and its entry factory_kwargs, as one dictionary.

    Raises:  TypeError for other keys, or one given in both places.
    """
    if kwargs is None:
        return {}
    known = {"device", "dtype", "memory_format"}
    unknown = kwargs.keys() - known - {"factory_kwargs"}
    if unknown:
        raise TypeError(f"unexpected kwargs {unknown}")
    result = dict(kwargs.get("factory_kwargs", {}))
    for name in sorted(known & kwargs.keys()):
        if name in result:
            raise TypeError(f"{name} specified twice, in **kwargs and in factory_kwargs")
        result[name] = kwargs[name]
    return result


def __getattr__(name: str) -> Any:
    if name in ("quantized", "qat", "intrinsic"):  # built on the whole package
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'torch.nn' has no attribute '{name}' (see docs/differences.md)")
