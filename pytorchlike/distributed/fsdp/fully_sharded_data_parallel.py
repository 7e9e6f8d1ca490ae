"""Sharded parameters: not there, since one process drives all its devices."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["FSDPModule", "FullyShardedDataParallel", "fully_shard"]


def _refuse(name: str) -> NoReturn:
    raise NotImplementedError(
        f"{name} is not there: one process drives all devices of a machine, and parameters are divided among them by "
        "torch.distributed.tensor.distribute_module; between processes see DistributedDataParallel and "
        "ZeroRedundancyOptimizer"
    )


class FullyShardedDataParallel:
    """The class that no module here has, for programs that ask; making one raises NotImplementedError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("FullyShardedDataParallel")


class FSDPModule:
    """The class that no module here has, for programs that ask."""


def fully_shard(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError."""
    _refuse("fully_shard")
