"""``torch.utils.cpp_extension``: refused when used, since C++ extensions need PyTorch's binary interface."""

from __future__ import annotations

import os
from typing import Any, NoReturn

from .._refused import Refused

__all__ = [
    "BuildExtension", "CUDA_HOME", "CUDAExtension", "CppExtension", "ROCM_HOME", "SyclExtension", "include_paths",
    "load", "load_inline",
]  # fmt: skip

#: Where a CUDA toolkit is, as far as the environment says.
CUDA_HOME: str | None = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
ROCM_HOME: str | None = os.environ.get("ROCM_HOME") or os.environ.get("ROCM_PATH")


_WHY = ("C++ and CUDA extensions need PyTorch's binary interface. Write the operator in Python (it is compiled), in "
        "Pallas, or bind C++ through jax.ffi")  # fmt: skip


def _refuse(name: str) -> NoReturn:
    raise NotImplementedError(f"torch.utils.cpp_extension.{name}: {_WHY}")


def load(name: str, sources: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Refused."""
    _refuse("load")


def load_inline(name: str, cpp_sources: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Refused."""
    _refuse("load_inline")


def include_paths(*args: Any, **kwargs: Any) -> NoReturn:
    """Refused: there are no C++ headers."""
    _refuse("include_paths")


def CppExtension(name: str, sources: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Refused."""
    _refuse("CppExtension")


def CUDAExtension(name: str, sources: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Refused."""
    _refuse("CUDAExtension")


def SyclExtension(name: str, sources: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Refused."""
    _refuse("SyclExtension")


class BuildExtension(Refused):
    """Refused when it is made."""

    _instead = _WHY
