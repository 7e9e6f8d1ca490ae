"""``torch.functional``: functions of the ``torch`` namespace that PyTorch writes in Python."""

from __future__ import annotations

from typing import Any

from .tensor import Tensor as Tensor  # PyTorch's module has it, too, and programs take it from there
from .tensor import functions as _functions

_NAMES = (
    "align_tensors", "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes", "broadcast_tensors",
    "cartesian_prod", "cdist", "chain_matmul", "einsum", "istft", "lu", "meshgrid", "norm", "split", "stft",
    "tensordot", "unique", "unique_consecutive", "unravel_index",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(_functions, name)
    raise AttributeError(f"module 'torch.functional' has no attribute '{name}' (see docs/differences.md)")


def __dir__() -> list[str]:
    return sorted(_NAMES)
