"""What is done whenever the process forks, by ``os.fork`` or ``multiprocessing``: the child lacks XLA's threads."""

from __future__ import annotations

import os
import warnings

from . import _numbers_kept as _numbers_kept  # before anything that imports JAX
from .tensor import device as _device

__all__ = ["xla_runs"]


def xla_runs() -> bool:
    """Whether JAX has been asked for its devices."""
    return bool(_device._found)


def _before() -> None:
    """What is still being computed would never be finished in the child."""
    if xla_runs():
        import jax

        for array in jax.live_arrays():
            if not array.is_deleted():
                array.block_until_ready()


def _in_child() -> None:
    """Before XLA has started, a forked process is like any other and starts its own."""
    if xla_runs():
        from .utils.data._utils.forked import compute_by_numpy

        compute_by_numpy()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_in_child)
    # JAX warns at every fork of what `_in_child` sees to.
    warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
