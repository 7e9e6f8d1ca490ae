"""``torch.distributed.optim``: optimizers whose state is split among processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..optim import Optimizer
from ._world import _group

__all__ = ["DistributedOptimizer", "PostLocalSGDOptimizer", "ZeroRedundancyOptimizer"]


class ZeroRedundancyOptimizer(Optimizer):
    """An optimizer of class `optimizer_class`, with the state of a share of the parameters in each process.

    In a world of one process that is all of them, and this behaves as the optimizer itself, ``self.optim``.
    parameters_as_bucket_view and overlap_with_ddp say how PyTorch would communicate. NotImplementedError for a group
    of several processes, ValueError where there is no group.
    """

    def __init__(self, params: Iterable[Any], optimizer_class: type[Optimizer], process_group: Any = None,
                 parameters_as_bucket_view: bool = False, overlap_with_ddp: bool = False, **defaults: Any) -> None:
        if _group(process_group).size() != 1:
            raise NotImplementedError("ZeroRedundancyOptimizer splits no state between processes yet")
        self.optim = optimizer_class(params, **defaults)
        super().__init__(self.optim.param_groups, self.optim.defaults)
        self.param_groups = self.optim.param_groups
        self.state = self.optim.state

    def step(self, closure: Any = None, **kwargs: Any) -> Any:
        """A step of ``self.optim``."""
        return self.optim.step(closure=closure, **kwargs)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own."""
        if self.param_groups is getattr(self.optim, "param_groups", None):
            self.optim.add_param_group(param_group)
        else:  # the base class's constructor takes over the groups
            self.param_groups.append(param_group)

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Collect all state in the process `to`, before ``state_dict``: it is there already."""

    def state_dict(self) -> dict[str, Any]:
        """The state of ``self.optim``."""
        return self.optim.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`."""
        self.optim.load_state_dict(state_dict)
        self.param_groups, self.state = self.optim.param_groups, self.optim.state


class DistributedOptimizer:
    """An optimizer of parameters in other processes: not there (NotImplementedError)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("DistributedOptimizer needs remote procedure calls, which are not there")


class PostLocalSGDOptimizer:
    """Averages parameters between processes after steps of their own: not there (NotImplementedError)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("PostLocalSGDOptimizer averages between processes, of which there is one")
