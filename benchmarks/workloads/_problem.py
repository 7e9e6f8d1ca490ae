"""What a workload consists of, and helpers to make its weights and batches with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

Step = Callable[[int], Any]
"""Runs training step number i and returns its loss, unread: a scalar with ``.item()``."""


@dataclass(frozen=True)
class Problem:
    """Where every variant starts: weights under PyTorch's ``state_dict`` names, and the batches, used in turn."""

    weights: Mapping[str, np.ndarray]
    batches: Sequence[Any]


@dataclass(frozen=True)
class Workload:
    """One training loop, written once for anything that looks like PyTorch and once by hand in JAX.

    ``torch_loop(torch, problem)`` and each of ``jax_loops`` return a :data:`Step`.  The first entry of ``jax_loops``
    is the variant (b) that ratios refer to; further ones are other ways in which people write the same thing.
    """

    name: str
    about: str
    problem: Callable[[], Problem]
    torch_loop: Callable[[ModuleType, Problem], Step]
    jax_loops: Mapping[str, Callable[[Problem], Step]]
    tolerance: float = 1e-3  # of the losses of the first steps, relative
    cold_steps: int = 20
    notes: str = field(default="")


def uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float) -> np.ndarray:
    """float32 numbers from -bound to bound."""
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def dense(rng: np.random.Generator, name: str, n_in: int, n_out: int, gain: float = 1.0) -> dict[str, np.ndarray]:
    """Weight (n_out, n_in) and bias of an ``nn.Linear`` called ``name``."""
    bound = gain * n_in**-0.5
    return {f"{name}.weight": uniform(rng, (n_out, n_in), bound), f"{name}.bias": uniform(rng, (n_out,), n_in**-0.5)}


def load(torch: ModuleType, model: Any, weights: Mapping[str, np.ndarray]) -> Any:
    """Give a torch module its weights; returns the module."""
    model.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return model


def compiled(torch: ModuleType, step: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind ``torch.compile``; as it is on PyTorch, which would need a C++ compiler for it."""
    return torch.compile(step) if torch.__name__ == "pytorchlike" else step
