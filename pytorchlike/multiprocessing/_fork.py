"""Forked processes, in which XLA's threads are missing: they compute by NumPy."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from typing import Any

from ..tensor import device as _device

__all__ = ["Process"]


def _xla_runs() -> bool:
    return bool(_device._found)  # JAX has been asked for its devices


def _in_child() -> None:
    """Before XLA has started, a forked process is like any other and starts its own."""
    if _xla_runs():
        from ..utils.data._utils.forked import compute_by_numpy

        compute_by_numpy()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class Process(multiprocessing.Process):
    """``multiprocessing.Process``; the tensors that a forked one is given are computed before it starts."""

    def start(self) -> None:
        """Start the process."""
        if (self._start_method or multiprocessing.get_start_method()) != "fork" or not _xla_runs():
            super().start()
            return
        from ..utils.data._utils.forked import host_values

        given: Any = (self._target, self._args, self._kwargs, {k: v for k, v in vars(self).items() if k[0] != "_"})
        kept = host_values(*given)
        with warnings.catch_warnings():
            # Both warn of what `_in_child` sees to.
            warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
            warnings.filterwarnings("ignore", message=".*use of fork", category=DeprecationWarning)
            super().start()
        del kept
