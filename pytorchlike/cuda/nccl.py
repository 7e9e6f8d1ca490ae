"""``torch.cuda.nccl``: XLA brings its own NCCL and calls it by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

__all__ = ["all_gather", "all_reduce", "broadcast", "is_available", "reduce", "reduce_scatter", "version"]

_WHY = "XLA calls NCCL for programs over several GPUs, and nobody else can; see torch.distributed"


def is_available(tensors: Sequence[Any] = ()) -> bool:
    """False: tensors are not given to NCCL by a program."""
    return False


def version() -> tuple[int, int, int]:
    """(0, 0, 0): XLA does not tell the version of its NCCL."""
    return (0, 0, 0)


def _refuse(name: str) -> Any:
    def refused(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"torch.cuda.nccl.{name}: {_WHY}")

    refused.__name__, refused.__doc__ = name, f"Refused: {_WHY}."
    return refused


all_reduce, reduce, broadcast = _refuse("all_reduce"), _refuse("reduce"), _refuse("broadcast")
all_gather, reduce_scatter = _refuse("all_gather"), _refuse("reduce_scatter")
