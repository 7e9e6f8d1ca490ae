"""What the engine did: counts and reasons of compilations."""

from __future__ import annotations

from .engine import stats as _stats


def stats() -> dict[str, int]:
    """Counts since the start (or :func:`reset`): programs and kernels compiled, executions, recorded misses."""
    return _stats.as_dict()


def reset() -> None:
    """Set the counts to zero."""
    _stats.reset()


def log() -> list[str]:
    """The latest compilations: what, for which line of the program, why, and how long each took."""
    return [
        f"{e.kind} of {e.operations} operations for {e.where}: {e.why} ({e.seconds * 1e3:.0f} ms)" for e in _stats.log
    ]


def synchronize() -> None:
    """Execute what is pending in this thread."""
    from .engine import flush

    flush("synchronize")


def is_compiling() -> bool:
    """Always False: code runs as Python while operations are recorded."""
    return False
