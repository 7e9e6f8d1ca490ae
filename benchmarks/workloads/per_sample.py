"""Per-sample gradients, clipped one by one and averaged (DP-SGD): by vmap(grad), and by a Python loop over samples."""

from __future__ import annotations

from functools import partial
from types import ModuleType

import numpy as np

from ._problem import Problem, Step, Workload, dense

SIZES, BATCH, RATE, BOUND = (64, 128, 10), 32, 0.05, 1.0


def problem() -> Problem:
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}
    for i, (n_in, n_out) in enumerate(zip(SIZES, SIZES[1:], strict=False)):
        weights |= dense(rng, str(2 * i), n_in, n_out, gain=3**0.5)
    batches = []
    for _ in range(16):
        batches.append((rng.standard_normal((BATCH, SIZES[0]), dtype=np.float32), rng.integers(0, SIZES[-1], BATCH)))
    return Problem(weights, batches)


def torch_loop(torch: ModuleType, problem: Problem, vectorized: bool) -> Step:
    nn, F = torch.nn, torch.nn.functional
    model = nn.Sequential(nn.Linear(*SIZES[:2]), nn.Tanh(), nn.Linear(*SIZES[1:]))
    params = {name: torch.tensor(value) for name, value in problem.weights.items()}
    batches = [(torch.tensor(x), torch.tensor(y)) for x, y in problem.batches]

    def loss_of(params, x, y):
        return F.cross_entropy(torch.func.functional_call(model, params, (x.unsqueeze(0),)), y.unsqueeze(0))

    one = torch.func.grad_and_value(loss_of)
    every = torch.func.vmap(one, in_dims=(None, 0, 0))

    def scale_of(grads, first_dim):
        squares = sum((g * g).flatten(first_dim).sum(-1) for g in grads.values())
        return (BOUND / (squares.sqrt() + 1e-6)).clamp(max=1.0)

    def step(i):
        nonlocal params
        x, y = batches[i % len(batches)]
        if vectorized:
            grads, losses = every(params, x, y)
            scale = scale_of(grads, 1)
            mean = {k: torch.einsum("b,b...->...", scale, g) / BATCH for k, g in grads.items()}
            loss = losses.mean()
        else:
            rows = [one(params, x[k], y[k]) for k in range(BATCH)]
            scales = [scale_of(g, 0) for g, _ in rows]
            mean = {k: sum(s * g[k] for s, (g, _) in zip(scales, rows, strict=True)) / BATCH for k in params}
            loss = sum(value for _, value in rows) / BATCH
        params = {k: (p - RATE * mean[k]).detach() for k, p in params.items()}
        return loss

    return step


def jax_loop(problem: Problem) -> Step:
    import jax
    import jax.numpy as jnp
    import optax

    params = {name: jnp.array(value) for name, value in problem.weights.items()}
    batches = [(jnp.array(x), jnp.array(y)) for x, y in problem.batches]

    def loss_of(params, x, y):
        hidden = jnp.tanh(x @ params["0.weight"].T + params["0.bias"])
        logits = hidden @ params["2.weight"].T + params["2.bias"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y)

    @partial(jax.jit, donate_argnums=0)
    def train_step(params, x, y):
        losses, grads = jax.vmap(jax.value_and_grad(loss_of), (None, 0, 0))(params, x, y)
        squares = sum((g * g).reshape(BATCH, -1).sum(-1) for g in grads.values())
        scale = jnp.minimum(BOUND / (jnp.sqrt(squares) + 1e-6), 1.0)
        mean = {k: jnp.einsum("b,b...->...", scale, g) / BATCH for k, g in grads.items()}
        return {k: p - RATE * mean[k] for k, p in params.items()}, losses.mean()

    def step(i):
        nonlocal params
        params, loss = train_step(params, *batches[i % len(batches)])
        return loss

    return step


VMAP = Workload(
    "per_sample", "64-128-10, batch 32, vmap(grad), each gradient clipped", problem,
    partial(torch_loop, vectorized=True), {"jax": jax_loop},
)  # fmt: skip
LOOP = Workload(
    "per_sample_loop", "the same by a Python loop over samples", problem,
    partial(torch_loop, vectorized=False), {"jax": jax_loop},
)  # fmt: skip
