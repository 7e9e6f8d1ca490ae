"""``torch.multiprocessing``: Python's multiprocessing, whose queues and pipes carry tensors (as copies), and ``spawn``.

Memory is shared by tensors after ``share_memory_()``; others travel as copies. JAX runs threads, so processes that are
to compile programs must be started by 'spawn' (the default of :func:`spawn`) or 'forkserver'; forked ones compute by
NumPy.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import *  # noqa: F403
from typing import Any

from ._fork import Process as Process
from .spawn import ENV_VAR_PARALLEL_START as ENV_VAR_PARALLEL_START
from .spawn import ProcessContext as ProcessContext
from .spawn import ProcessExitedException as ProcessExitedException
from .spawn import ProcessRaisedException as ProcessRaisedException
from .spawn import SpawnContext as SpawnContext
from .spawn import spawn as spawn
from .spawn import start_processes as start_processes

__all__ = [*multiprocessing.__all__, "get_all_sharing_strategies", "get_sharing_strategy", "set_sharing_strategy"]

_strategies = ("file_descriptor", "file_system")
_state = {"strategy": "file_descriptor"}


def get_all_sharing_strategies() -> set[str]:
    """The names that :func:`set_sharing_strategy` takes."""
    return set(_strategies)


def get_sharing_strategy() -> str:
    """What was set; shared memory is an open file without a name whatever it is."""
    return _state["strategy"]


def set_sharing_strategy(new_strategy: str) -> None:
    """Say how memory is shared: a hint with no effect, since the memory has no name and needs no manager."""
    if new_strategy not in _strategies:
        raise ValueError(f"unknown sharing strategy {new_strategy!r}; choose from {', '.join(_strategies)}")
    _state["strategy"] = new_strategy


def __getattr__(name: str) -> Any:
    found = getattr(multiprocessing, name, None) if not name.startswith("__") else None
    if found is None:
        raise AttributeError(f"module 'torch.multiprocessing' has no attribute '{name}' (see docs/differences.md)")
    return found
