"""Elementary functions as programs for the CPU compute them: exact for all arguments, whatever their size."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine import elementary
from pytorchlike.engine.config import config

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, math.pi, -math.pi / 2, 1e20, -1e38, 3e8]
COUNT = 2 * elementary.LEAST

UNARY = {
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "atan": np.arctan, "asin": np.arcsin, "acos": np.arccos,
}  # fmt: skip


@pytest.fixture
def compiled(monkeypatch):
    monkeypatch.setattr(config, "tier", "fused")


def arguments(kind: str, seed: int) -> np.ndarray:
    """float32 numbers of a kind, of which there are enough for vectors to be used."""
    rng = np.random.default_rng(seed)
    if kind == "small":
        found = 3 * rng.standard_normal(COUNT)
    elif kind == "unit":
        found = rng.uniform(-1, 1, COUNT)
    elif kind == "any size":  # so large that few turns cannot be taken away
        found = 10.0 ** rng.uniform(-30, 38, COUNT) * rng.choice([-1, 1], COUNT)
    elif kind == "next to zeros":
        found = np.round(rng.uniform(-1e6, 1e6, COUNT)) * (math.pi / 2)
    else:
        found = np.resize(rng.permutation(SPECIAL), COUNT)
    return found.astype(np.float32)


def agree(ours: np.ndarray, exact: np.ndarray) -> None:
    """Within one unit in the last place, with the same signs of zeros, NaN where it is NaN."""
    want = exact.astype(np.float32)
    unequal = ~((ours == want) & (np.signbit(ours) == np.signbit(want)) | (np.isnan(ours) & np.isnan(want)))
    normal = np.abs(exact[unequal]) > np.finfo(np.float32).tiny
    error = np.abs(ours[unequal] - exact[unequal])
    np.testing.assert_array_less(error[normal], np.spacing(np.abs(want[unequal]))[normal])
    assert (np.abs(ours[unequal][~normal]) < np.finfo(np.float32).tiny).all()


@pytest.mark.parametrize("kind", ["small", "unit", "any size", "next to zeros", "special"])
def test_functions_of_one_argument_are_exact(kind, compiled):
    x = arguments(kind, 0)
    t = torch.from_numpy(x) * 1
    results = [getattr(torch, name)(t) for name in UNARY]
    with np.errstate(all="ignore"):
        for result, exact in zip(results, UNARY.values(), strict=True):
            agree(result.numpy(), exact(x.astype(np.float64)))


@pytest.mark.parametrize("kind", ["small", "any size", "special"])
def test_angles_and_remainders_are_exact(kind, compiled):
    y, x = arguments(kind, 1), arguments(kind, 2)
    a, b = torch.from_numpy(y) * 1, torch.from_numpy(x) * 1
    angle, rest = torch.atan2(a, b), torch.fmod(a, b)
    with np.errstate(all="ignore"):
        agree(angle.numpy(), np.arctan2(y.astype(np.float64), x.astype(np.float64)))
        agree(rest.numpy(), np.fmod(y.astype(np.float64), x.astype(np.float64)))


def test_gradients_of_large_arrays(compiled):
    x = torch.from_numpy(arguments("small", 3)).requires_grad_(True)
    (torch.sin(x) * torch.atan(x)).sum().backward()
    z = x.detach().numpy().astype(np.float64)
    np.testing.assert_allclose(x.grad.numpy(), np.cos(z) * np.arctan(z) + np.sin(z) / (1 + z * z), atol=1e-6)


def test_programs_for_cpus_are_lowered_so(compiled):
    """Not by C's library: if JAX no longer takes the rules this fails, rather than being slow."""
    import jax
    import jax.numpy as jnp

    def text(n: int) -> str:
        traced = jax.jit(jnp.sin).trace(jax.ShapeDtypeStruct((n,), jnp.float32))
        with jax.enable_x64(True):
            return traced.lower(_private_parameters=elementary.parameters()).as_text()

    assert "f64" in text(elementary.LEAST)
    assert "f64" not in text(elementary.LEAST - 1)
