"""The scaler of losses for parameters divided among processes."""

from __future__ import annotations

from typing import Any

from ... import distributed as dist
from ...amp.grad_scaler import GradScaler
from ...tensor import Tensor

__all__ = ["ShardedGradScaler"]


class ShardedGradScaler(GradScaler):
    """A ``GradScaler`` whose processes leave out a step if the gradients of any of them overflowed.

    process_group: these processes; by default all.  float16 gradients are accepted.  Otherwise as `GradScaler`, which
    agrees about gradients that are divided by itself.
    """

    def __init__(
        self, device: str = "cuda", init_scale: float = 2.0**16, backoff_factor: float = 0.5,
        growth_factor: float = 2.0, growth_interval: int = 2000, enabled: bool = True, process_group: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(device, init_scale, growth_factor, backoff_factor, growth_interval, enabled)
        self.process_group = process_group

    def _unscale(self, optimizer: Any, inverse: Tensor, allow_fp16: bool) -> dict[Any, Tensor]:
        found = super()._unscale(optimizer, inverse, True)
        if dist.is_initialized() and dist.get_world_size(self.process_group) > 1:
            for flag in found.values():
                dist.all_reduce(flag, dist.ReduceOp.MAX, self.process_group)
        return found
