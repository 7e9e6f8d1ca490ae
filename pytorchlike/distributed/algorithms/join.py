"""``Join``: a loop in which members of a group have different numbers of batches.

Who is done answers the collectives of the others' steps, until nobody is left. Each step begins with a sum that tells
how many are still at it (``Join.notify_join_context``).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from ...tensor import functions as T
from .._group import ProcessGroup, SingleProcess
from .._reduce_op import ReduceOp
from .._world import _World

__all__ = ["Join", "JoinHook", "Joinable"]


class JoinHook:
    """What a member that is done does while others go on."""

    def main_hook(self) -> None:
        """Called for each step of the others: the collectives that they call then."""

    def post_hook(self, is_last_joiner: bool) -> None:
        """Called once when all are done. is_last_joiner: whether this member was among the last ones."""


class Joinable:
    """A base of classes that :class:`Join` takes: ``join_hook`` gives their JoinHook.

    Each step of a subclass calls ``Join.notify_join_context(self)`` before its own collectives.
    """

    _join_config: _Config | None = None

    def join_hook(self, **kwargs: Any) -> JoinHook:
        """Raises NotImplementedError: subclasses say. kwargs: what was given to ``Join``."""
        raise NotImplementedError(f"{type(self).__name__} has no join_hook")

    @property
    def join_device(self) -> Any:
        """The device of tensors that are sent: the CPU."""
        return T.zeros(()).device

    @property
    def join_process_group(self) -> ProcessGroup:
        """Whose members take part: the world, or this process alone where there is none."""
        return SingleProcess([0], 0, "") if _World.default is None else _World.default


class _Config:
    """How a joinable takes part. running: how many members have not joined yet, as the last sum said."""

    def __init__(self, first: bool, throw: bool, size: int) -> None:
        self.first, self.throw, self.running = first, throw, size


def _sum(group: ProcessGroup, value: int) -> int:
    return int(group.all_reduce(T.tensor([value]), ReduceOp.SUM).item())


class Join:
    """A context in which members may run out of batches before others.

    joinables: wrapped modules (DistributedDataParallel), ZeroRedundancyOptimizers, :class:`Joinable` s, in the order of
    their collectives within a step.  enable: False, if all members have as many batches, saves the sums.
    throw_on_early_termination: all members raise RuntimeError as soon as one runs out.  kwargs go to ``join_hook``.

    Raises ValueError without joinables or for different groups, TypeError for what cannot join.
    """

    def __init__(self, joinables: Sequence[Any], enable: bool = True, throw_on_early_termination: bool = False,
                 **kwargs: Any) -> None:
        if not joinables:
            raise ValueError("The join context manager requires at least one joinable")
        for j in joinables:
            if not hasattr(j, "join_hook"):
                raise TypeError(f"Join: {type(j).__name__} has no join_hook; derive it from Joinable")
        self._joinables = list(joinables)
        self._enable, self._throw = enable, throw_on_early_termination
        if not enable:
            return
        groups = [j.join_process_group for j in self._joinables]
        if any(g is not groups[0] for g in groups):
            raise ValueError("Using join context manager with multiple process groups")
        self._group: ProcessGroup = groups[0]
        self._hooks = [j.join_hook(**kwargs) for j in self._joinables]

    def __enter__(self) -> None:
        if self._enable:
            for i, j in enumerate(self._joinables):
                j._join_config = _Config(i == 0, self._throw, self._group.size())

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        if not self._enable:
            return
        try:
            if kind is None:
                self._join()
        finally:
            for j in self._joinables:
                j._join_config = None

    def _join(self) -> None:
        last = True
        while running := _sum(self._group, 0):
            for j in self._joinables:
                j._join_config.running = running
            if self._throw:
                _sum(self._group, 1)
                raise RuntimeError(f"Rank {self._group.rank()} exhausted all inputs.")
            last = False
            for hook in self._hooks:
                hook.main_hook()
        for hook in self._hooks:
            hook.post_hook(last)

    @staticmethod
    def notify_join_context(joinable: Any) -> None:
        """Tell those who are done that a step begins; only the first joinable of a context does.

        Nothing outside of a context. RuntimeError if one is done and ``throw_on_early_termination`` was asked for.
        The sum has been waited for: None, as there is no work to wait for.
        """
        config = getattr(joinable, "_join_config", None)
        if config is None or not config.first:
            return
        group = joinable.join_process_group
        config.running = _sum(group, 1)
        if config.throw and _sum(group, 0):
            raise RuntimeError("Detected at least one rank that exhausted inputs. Throwing across all ranks.")


def chosen_rank(group: ProcessGroup, candidate: bool) -> int:
    """The last member that is a candidate, in the group; RuntimeError if there is none."""
    mine = T.tensor([group.rank() if candidate else -1])
    found = int(group.all_reduce(mine, ReduceOp.MAX).item())
    if found < 0:
        raise RuntimeError("Join: no member of the group has values for the others")
    return found
