"""Processes that are forked: they compute by NumPy, see ``_forks``."""

from __future__ import annotations

import multiprocessing
import warnings
from typing import Any

from .._forks import xla_runs

__all__ = ["Process"]


class Process(multiprocessing.Process):
    """``multiprocessing.Process``; the tensors that a forked one is given are computed before it starts."""

    def start(self) -> None:
        """Start the process."""
        if (self._start_method or multiprocessing.get_start_method()) != "fork" or not xla_runs():
            super().start()
            return
        from ..utils.data._utils.forked import host_values

        given: Any = (self._target, self._args, self._kwargs, {k: v for k, v in vars(self).items() if k[0] != "_"})
        kept = host_values(*given)
        with warnings.catch_warnings():
            # Both warn of what `_forks` sees to.
            warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
            warnings.filterwarnings("ignore", message=".*use of fork", category=DeprecationWarning)
            super().start()
        del kept
