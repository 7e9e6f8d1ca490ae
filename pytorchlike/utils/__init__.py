"""Utilities: data loading, hooks, checkpoints."""

from __future__ import annotations

import importlib
import os
from typing import Any, NoReturn

from ..tensor import Tensor

#: Where the CMake files of PyTorch's C++ library would be; there is none.
cmake_prefix_path: str = os.path.join(os.path.dirname(os.path.dirname(__file__)), "share", "cmake")


def set_module(obj: Any, mod: str) -> None:
    """Say which module an object belongs to."""
    if not isinstance(mod, str):
        raise TypeError("The mod argument should be a string")
    obj.__module__ = mod


def swap_tensors(t1: Tensor, t2: Tensor) -> None:
    """Exchange what two tensors are: values, storages, gradients, classes and attributes.

    Raises RuntimeError if their classes cannot be exchanged, or gradients go through one of them.
    """
    for t in (t1, t2):
        if not t.is_leaf:
            raise RuntimeError("swap_tensors: gradients go through a tensor that is not a leaf; it cannot be swapped")
    kind1, kind2 = type(t1), type(t2)
    if kind1 is not kind2:
        t1.__class__, t2.__class__ = kind2, kind1
    for name in ("_value", "_alias", "__dict__"):
        a, b = getattr(t1, name), getattr(t2, name)
        setattr(t1, name, b)
        setattr(t2, name, a)
    for t in (t1, t2):
        node = t._value.node
        if getattr(node, "owner", None) is not None:
            import weakref

            node.owner = weakref.ref(t)


def get_cpp_backtrace(*args: Any, **kwargs: Any) -> str:
    """Empty: there are no C++ frames of ours."""
    return ""


def rename_privateuse1_backend(backend_name: str) -> NoReturn:
    """Refused: devices are JAX's; a plugin for JAX brings new ones."""
    raise NotImplementedError("rename_privateuse1_backend: devices are JAX's; use a PJRT plugin for a new kind of them")


def generate_methods_for_privateuse1_backend(*args: Any, **kwargs: Any) -> NoReturn:
    """Refused, as :func:`rename_privateuse1_backend`."""
    raise NotImplementedError("generate_methods_for_privateuse1_backend: devices are JAX's; use a PJRT plugin")


_PARTS = frozenset({
    "_python_dispatch", "_pytree", "backcompat", "benchmark", "bundled_inputs", "checkpoint", "collect_env",
    "cpp_extension", "data", "deterministic", "dlpack", "flop_counter", "graph", "hooks", "mobile_optimizer",
    "model_zoo", "module_tracker", "safetensors", "summary", "tensorboard",
})  # fmt: skip


def __getattr__(name: str) -> Any:
    """Parts are imported when they are first asked for."""
    if name in _PARTS:
        try:
            return importlib.import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
    raise AttributeError(
        f"module 'torch.utils' has no attribute '{name}': pytorchlike lacks it (see docs/differences.md)"
    )


def __dir__() -> list[str]:
    return sorted({*(n for n in globals() if not n.startswith("_")), *_PARTS} - {"annotations", "importlib", "os"})
