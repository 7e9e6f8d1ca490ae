"""``torch.masked``: reductions and normalisations over the elements that a mask selects.

There are no MaskedTensors: the names exist, and making one says so.
"""

from __future__ import annotations

from typing import Any, NoReturn

from .tensor import functions as _functions
from .tensor._names import find, names

_WHY = ("there are no MaskedTensors; the functions of torch.masked take mask=, and torch.where selects from ordinary "
        "tensors")  # fmt: skip


class MaskedTensor:
    """The class that no tensor here has, for programs that ask; making one raises NotImplementedError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"torch.masked.MaskedTensor: {_WHY}")


def masked_tensor(data: Any, mask: Any, requires_grad: bool = False) -> NoReturn:
    """Raises NotImplementedError."""
    raise NotImplementedError(f"torch.masked.masked_tensor: {_WHY}")


def as_masked_tensor(data: Any, mask: Any) -> NoReturn:
    """Raises NotImplementedError."""
    raise NotImplementedError(f"torch.masked.as_masked_tensor: {_WHY}")


def is_masked_tensor(obj: Any, /) -> bool:
    """False: nothing is one."""
    return False


def __getattr__(name: str) -> Any:
    found = None if name.startswith("__") else find("masked", name)
    if found is None:
        raise AttributeError(f"module 'torch.masked' has no attribute '{name}' (see docs/differences.md)")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*names("masked"), "MaskedTensor", "as_masked_tensor", "is_masked_tensor", "masked_tensor"})


_ = _functions
