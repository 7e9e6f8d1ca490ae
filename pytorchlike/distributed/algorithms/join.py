"""``Join``: a loop in which members of a group have different numbers of batches."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from .._world import get_world_size, is_initialized

__all__ = ["Join", "Joinable", "JoinHook"]


class JoinHook:
    """What a member that is done does while others go on."""

    def main_hook(self) -> None:
        """Called for each step of the others."""

    def post_hook(self, is_last_joiner: bool) -> None:
        """Called once when all are done."""


class Joinable:
    """A base of classes that :class:`Join` takes, such as wrapped modules: ``join_hook`` gives their JoinHook."""

    def join_hook(self, **kwargs: Any) -> JoinHook:
        """Raises NotImplementedError: subclasses say."""
        raise NotImplementedError(f"{type(self).__name__} has no join_hook")


class Join:
    """A context in which members may run out of batches before others.

    In a group of one nobody waits for anybody: the hooks' ``post_hook`` is called at the end, as the last one.

    Raises ValueError without joinables, NotImplementedError for several processes unless ``enable`` is False.
    """

    def __init__(self, joinables: Sequence[Any], enable: bool = True, throw_on_early_termination: bool = False,
                 **kwargs: Any) -> None:
        if not joinables:
            raise ValueError("The join context manager requires at least one joinable")
        if enable and is_initialized() and get_world_size() > 1:
            raise NotImplementedError("Join: batches must be as many in each process")
        self._hooks = [j.join_hook(**kwargs) for j in joinables if isinstance(j, Joinable)] if enable else []

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        if kind is None:
            for hook in self._hooks:
                hook.post_hook(True)

    @staticmethod
    def notify_join_context(joinable: Any) -> None:
        """Nobody is to be told in a group of one: None, as there is no work to wait for."""
