"""How much of what a process may map into memory is taken up by compiled code.

Each program that XLA compiles for the CPU takes a dozen mappings and more, and Linux allows a process 65,530 of them by
default (``vm.max_map_count``); the compilation after that fails.  A process that meets new shapes for hours gets there.
"""

from __future__ import annotations

import os

#: Compilations between two looks.
EVERY = 128
#: Share of the allowed mappings above which compiled code is given up.
FULL = 0.6

_allowed: int | None = None


def allowed() -> int:
    """How many mappings a process may have; 0 where the system does not say."""
    global _allowed
    if _allowed is None:
        try:
            with open("/proc/sys/vm/max_map_count") as file:
                _allowed = int(file.read())
        except (OSError, ValueError):
            _allowed = 0
    return _allowed


def full() -> bool:
    """Whether so many mappings exist that compiled code should be given up."""
    if not allowed() or not os.path.exists("/proc/self/maps"):
        return False
    with open("/proc/self/maps", "rb") as file:
        return sum(1 for _ in file) > FULL * allowed()
