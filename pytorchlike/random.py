"""``torch.random``: the state of the default random number generators."""

from __future__ import annotations

from .tensor.random import Generator as Generator
from .tensor.random import default_generator as default_generator
from .tensor.random import follow_pytorch as follow_pytorch
from .tensor.random import fork_rng as fork_rng
from .tensor.random import get_rng_state as get_rng_state
from .tensor.random import initial_seed as initial_seed
from .tensor.random import manual_seed as manual_seed
from .tensor.random import seed as seed
from .tensor.random import set_rng_state as set_rng_state

__all__ = [
    "follow_pytorch", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state",
    "thread_safe_generator",
]  # fmt: skip


def thread_safe_generator() -> Generator | None:
    """None, the default generator: every generator may be shared between threads here."""
    return None
