"""``torch.distributed.optim``: optimizers whose state is split among processes."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

from ..optim import Optimizer
from ..tensor import Tensor
from ._gradients import send_all
from ._world import _group
from .algorithms.join import Join, Joinable, JoinHook

__all__ = ["DistributedOptimizer", "PostLocalSGDOptimizer", "ZeroRedundancyOptimizer"]


class ZeroRedundancyOptimizer(Optimizer, Joinable):
    """An optimizer of class `optimizer_class`, with the state of a share of the parameters in each process.

    Each parameter belongs to one member of the group, the largest first to the one that has least. A step is that of
    ``self.optim``, which knows the own parameters alone, and then everybody gets the others' new values. Gradients must
    be the same in all processes, as ``DistributedDataParallel`` leaves them; a parameter without gradient is not
    touched. In a group of one this behaves as the optimizer itself.

    parameters_as_bucket_view says how PyTorch communicates. NotImplementedError for overlap_with_ddp in a group of
    several processes, ValueError where there is no group.
    """

    def __init__(self, params: Iterable[Any], optimizer_class: type[Optimizer], process_group: Any = None,
                 parameters_as_bucket_view: bool = False, overlap_with_ddp: bool = False, **defaults: Any) -> None:
        self.process_group = _group(process_group)
        self._alone = self.process_group.size() == 1
        if overlap_with_ddp and not self._alone:
            raise NotImplementedError("ZeroRedundancyOptimizer: gradients are averaged when the backward pass has "
                                      "ended, with which a step cannot overlap")
        given = list(params)
        if self._alone:
            self.optim = optimizer_class(given, **defaults)
            super().__init__(self.optim.param_groups, self.optim.defaults)
            self.param_groups = self.optim.param_groups
            self.state = self.optim.state
            return
        groups = [dict(g) for g in given] if given and isinstance(given[0], dict) else [{"params": given}]
        for group in groups:
            group["params"] = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        self._owner: dict[int, int] = {}
        self._load = [0] * self.process_group.size()
        for group in groups:
            self._share_out(group["params"])
        self.optim = optimizer_class([self._own(g) for g in groups], **defaults)
        super().__init__(groups, self.optim.defaults)
        for mine, whole in zip(self.optim.param_groups, self.param_groups, strict=True):
            for key, value in mine.items():
                whole.setdefault(key, value)
        self.state = self.optim.state
        self._consolidated: dict[str, Any] | None = None

    def _share_out(self, params: list[Tensor]) -> None:
        for p in sorted(params, key=lambda p: -p.numel()):
            rank = self._load.index(min(self._load))
            self._load[rank] += p.numel()
            self._owner[id(p)] = rank

    def _own(self, group: dict[str, Any]) -> dict[str, Any]:
        me = self.process_group.rank()
        return {**group, "params": [p for p in group["params"] if self._owner[id(p)] == me]}

    def step(self, closure: Any = None, **kwargs: Any) -> Any:
        """A step of ``self.optim``, after which all processes have all new values."""
        Join.notify_join_context(self)
        if self._alone:
            return self.optim.step(closure=closure, **kwargs)
        for mine, whole in zip(self.optim.param_groups, self.param_groups, strict=True):
            mine.update({k: v for k, v in whole.items() if k != "params"})  # what a scheduler has set
        loss = self.optim.step(closure=closure, **kwargs)
        for rank in range(self.process_group.size()):
            theirs = [p for g in self.param_groups for p in g["params"] if self._owner[id(p)] == rank]
            if theirs:
                send_all(self.process_group, theirs, rank)
        return loss

    def join_hook(self, **kwargs: Any) -> JoinHook:
        """What ``Join`` calls in a process that is done: the steps of the others, since it owns some parameters."""
        return _Joined(self)

    @property
    def join_process_group(self) -> Any:
        """The group that shares the parameters."""
        return self.process_group

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own."""
        if self._alone and self.param_groups is getattr(self.optim, "param_groups", None):
            self.optim.add_param_group(param_group)
        elif self._alone or "param_groups" in self.__dict__ and len(self.param_groups) < len(self.optim.param_groups):
            self.param_groups.append(param_group)  # the base class's constructor takes over the groups
        else:
            params = param_group["params"]
            group = {**param_group, "params": [params] if isinstance(params, Tensor) else list(params)}
            self._share_out(group["params"])
            self.optim.add_param_group(self._own(group))
            self.param_groups.append({**self.optim.param_groups[-1], "params": group["params"]})

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Collect all state in the process `to`, before ``state_dict``; called by all members."""
        if self._alone:
            return
        mine = [(n, {k: v.detach().cpu() if isinstance(v, Tensor) else v for k, v in self.optim.state[p].items()})
                for n, p in self._numbered() if p in self.optim.state]
        everything = [pickle.loads(data) for data in self.process_group.exchange(pickle.dumps(mine))]
        if self.process_group.rank() == to:
            groups, at = [], 0
            for group in self.param_groups:
                n = len(group["params"])
                groups.append({**{k: v for k, v in group.items() if k != "params"}, "params": list(range(at, at + n))})
                at += n
            self._consolidated = {"state": dict(sorted(x for part in everything for x in part)), "param_groups": groups}

    def _numbered(self) -> Iterable[tuple[int, Tensor]]:
        return enumerate(p for group in self.param_groups for p in group["params"])

    def state_dict(self) -> dict[str, Any]:
        """The whole state, in the format of ``self.optim``; RuntimeError without ``consolidate_state_dict``."""
        if self._alone:
            return self.optim.state_dict()
        if self._consolidated is None:
            raise RuntimeError("Optimizer state has not been consolidated on this rank. Please call "
                               f"`consolidate_state_dict(to={self.process_group.rank()})` on all ranks beforehand if "
                               "you meant to save the global state.")
        return self._consolidated

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`, of which each process keeps what it owns."""
        if self._alone:
            self.optim.load_state_dict(state_dict)
            self.param_groups, self.state = self.optim.param_groups, self.optim.state
            return
        place = {id(p): n for n, p in self._numbered()}
        state, groups, at = {}, [], 0
        for mine, theirs in zip(self.optim.param_groups, state_dict["param_groups"], strict=True):
            numbers = list(range(at, at + len(mine["params"])))
            at += len(numbers)
            groups.append({**theirs, "params": numbers})
            for n, p in zip(numbers, mine["params"], strict=True):
                if place[id(p)] in state_dict["state"]:
                    state[n] = state_dict["state"][place[id(p)]]
        self.optim.load_state_dict({"state": state, "param_groups": groups})
        for whole, theirs in zip(self.param_groups, state_dict["param_groups"], strict=True):
            whole.update({k: v for k, v in theirs.items() if k != "params"})
        self.state = self.optim.state


class _Joined(JoinHook):
    def __init__(self, optimizer: ZeroRedundancyOptimizer) -> None:
        self.optimizer = optimizer

    def main_hook(self) -> None:
        config, self.optimizer._join_config = self.optimizer._join_config, None  # it is not a step of one's own
        try:
            self.optimizer.step()
        finally:
            self.optimizer._join_config = config


class DistributedOptimizer:
    """An optimizer of parameters in other processes: not there (NotImplementedError)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("DistributedOptimizer needs remote procedure calls, which are not there")


class PostLocalSGDOptimizer:
    """Averages parameters between processes after steps of their own: not there (NotImplementedError)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("PostLocalSGDOptimizer averages parameters between processes, which is not there")
