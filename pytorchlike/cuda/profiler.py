"""``torch.cuda.profiler``: which part of a program NVIDIA's profilers watch."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from typing import NoReturn

__all__ = ["init", "profile", "start", "stop"]


def init(output_file: str, flags: object = None, output_mode: str = "key_value") -> NoReturn:
    """Refused: CUDA has no such function any more; profilers are started from the command line."""
    raise NotImplementedError("torch.cuda.profiler.init: CUDA has no such function any more; start nsys or ncu from "
                              "the command line")  # fmt: skip


def _call(name: str) -> None:
    from . import is_available, synchronize

    if not is_available():
        raise RuntimeError(f"torch.cuda.profiler.{name}: there is no GPU")
    synchronize()
    for library in ("libcudart.so", "libcudart.so.13", "libcudart.so.12"):
        try:
            found = ctypes.CDLL(library)
        except OSError:
            continue
        status = getattr(found, f"cudaProfiler{name.capitalize()}")()
        if status:
            raise RuntimeError(f"torch.cuda.profiler.{name}: CUDA's error {status}")
        return
    raise RuntimeError(f"torch.cuda.profiler.{name}: the CUDA runtime library (libcudart.so) was not found")


def start() -> None:
    """Have a profiler that runs (``nsys profile -c cudaProfilerApi``) watch from now on. RuntimeError without a GPU."""
    _call("start")


def stop() -> None:
    """Have it watch no longer. RuntimeError without a GPU."""
    _call("stop")


@contextlib.contextmanager
def profile() -> Iterator[None]:
    """Have it watch a block."""
    start()
    try:
        yield
    finally:
        stop()
