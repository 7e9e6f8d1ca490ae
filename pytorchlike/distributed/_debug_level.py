"""How much is checked and told (``TORCH_DISTRIBUTED_DEBUG``), and a debugger on one rank."""

from __future__ import annotations

import enum
import os
import pdb
import sys
from types import FrameType
from typing import Any

from ._collectives import barrier
from ._world import get_rank

__all__ = ["DebugLevel", "breakpoint", "get_debug_level", "set_debug_level", "set_debug_level_from_env"]


class DebugLevel(enum.Enum):
    """The levels that PyTorch knows. Collectives that do not match are noticed at each of them here."""

    OFF = 0
    INFO = 1
    DETAIL = 2


class _State:
    level = DebugLevel.OFF


def get_debug_level() -> DebugLevel:
    """What was set."""
    return _State.level


def set_debug_level(level: DebugLevel) -> None:
    """Keep a level, for programs that ask for it."""
    _State.level = level


def set_debug_level_from_env() -> None:
    """Take the level from the variable TORCH_DISTRIBUTED_DEBUG. RuntimeError for an unknown one."""
    given = os.environ.get("TORCH_DISTRIBUTED_DEBUG", "OFF").upper()
    if given not in DebugLevel.__members__:
        raise RuntimeError(f"The value of TORCH_DISTRIBUTED_DEBUG must be OFF, INFO, or DETAIL, but got {given}")
    _State.level = DebugLevel[given]


class _Debugger(pdb.Pdb):
    def set_trace(self, frame: FrameType | None = None) -> None:
        with open("/dev/stdin") as self.stdin:
            super().set_trace(frame)


def breakpoint(rank: int = 0, skip: int = 0, timeout_s: float = 3600) -> None:
    """Start a debugger in the process of that rank, while the others wait (each at most as long as the group does).

    skip: how often to pass first.   timeout_s: no effect, see ``init_process_group``.
    """
    _passed[rank] = _passed.get(rank, 0) + 1
    if _passed[rank] <= skip:
        return
    if get_rank() == rank:
        frame: Any = sys._getframe(1)
        _Debugger().set_trace(frame)
    barrier()


_passed: dict[int, int] = {}
if "TORCH_DISTRIBUTED_DEBUG" in os.environ:
    set_debug_level_from_env()
