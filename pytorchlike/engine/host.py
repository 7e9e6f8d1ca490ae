"""Evaluation by NumPy: for forked processes, where XLA's threads are missing, and for the loading of data.

An operation is traced by JAX as always, which is Python only, and the jaxpr that results is interpreted, see
``interpret``.  So operations need no second body, and random numbers are the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import evaluators, trace
from .evaluators import OpByOp


class Host(OpByOp):
    """One NumPy interpretation per operation; XLA's kernels on accelerators and for what NumPy does not have."""

    exact = False

    def interprets(self, op: Any, kind: Any, place: Any, sizes: int) -> bool:
        return not op.heavy and trace.platform_of(place) == "cpu"

    def add(self, a: Any, b: Any) -> Any:
        return np.asarray(a) + np.asarray(b)

    def place(self, data: Any, meta: Any) -> Any:
        return np.asarray(data) if getattr(meta.place, "platform", "cpu") == "cpu" else super().place(data, meta)


class _Strict(Host):
    """In a forked process: NumPy or nothing."""

    compiles = False

    def interprets(self, op: Any, kind: Any, place: Any, sizes: int) -> bool:
        platform = trace.platform_of(place)
        if platform != "cpu":
            raise RuntimeError(
                f"{op.name}: a forked process cannot use the main process's accelerator ({platform}); compute "
                "on the CPU here, or start workers by multiprocessing_context='forkserver' or 'spawn'"
            )
        return True

    def place(self, data: Any, meta: Any) -> Any:
        return as_numpy(data)


def as_numpy(data: Any) -> np.ndarray:
    """The array in host memory.  RuntimeError if that would have to wait for another process's threads."""
    if type(data) is np.ndarray:
        return data
    platform = next(iter(data.devices())).platform
    if platform != "cpu":
        raise RuntimeError(f"a forked process cannot read tensors on the main process's accelerator ({platform})")
    if not data.is_ready():
        raise RuntimeError(
            "a tensor was still being computed when this process was forked; read it in the main process first (for "
            "example with .cpu()), or make it part of the dataset, whose tensors are"
        )
    return np.asarray(data)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Evaluate by NumPy what the block records, and at its end; what was pending before stays so.

    For the many small and ever-changing operations of data loading, which would have to be compiled otherwise.
    """
    outer, before = trace.local.trace, trace.local.evaluator
    trace.local.trace, trace.local.evaluator = trace.Trace(outer.mode), before if before is _Strict else Host
    try:
        yield
        trace.flush("data was loaded")
    finally:
        mode = trace.local.trace.mode
        trace.local.trace, trace.local.evaluator = outer, before
        trace.set_mode(mode)


def take_over() -> None:
    """Have this process, freshly forked, evaluate everything here; what it had compiled and recorded is not used."""
    trace._Local.evaluator = trace.local.evaluator = _Strict
    evaluators._forward.clear()
    trace._roots.clear()
    trace._models.clear()
    trace.local.trace = trace.Trace(trace.mode_of())
    trace.local.checks.clear()
