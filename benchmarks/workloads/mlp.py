"""Multi-layer perceptrons: one where Python is everything, one where arithmetic is, and one with many layers."""

from __future__ import annotations

from functools import partial
from types import ModuleType

import numpy as np

from ._problem import Problem, Step, Workload, compiled, dense, load


def problem(sizes: tuple[int, ...], batch: int, n_batches: int = 16) -> Problem:
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}
    for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
        weights |= dense(rng, f"layers.{i}", n_in, n_out, gain=6**0.5 if len(sizes) > 4 else 1.0)
    batches = []
    for _ in range(n_batches):
        x = rng.standard_normal((batch, sizes[0]), dtype=np.float32)
        batches.append((x, rng.integers(0, sizes[-1], batch)))
    return Problem(weights, batches)


def torch_loop(torch: ModuleType, problem: Problem, optimizer: str, whole: bool = False) -> Step:
    nn, F = torch.nn, torch.nn.functional

    class MLP(nn.Module):
        def __init__(self, shapes):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(n_in, n_out) for n_out, n_in in shapes)

        def forward(self, x):
            for layer in self.layers[:-1]:
                x = F.relu(layer(x))
            return self.layers[-1](x)

    model = load(torch, MLP([w.shape for w in problem.weights.values() if w.ndim == 2]), problem.weights)
    if optimizer == "sgd":
        opt = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    elif optimizer == "adam":
        opt = torch.optim.Adam(model.parameters(), lr=1e-4)
    else:
        opt = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    batches = [(torch.tensor(x), torch.tensor(y)) for x, y in problem.batches]

    def train(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    if whole:
        train = compiled(torch, train)

    return lambda i: train(*batches[i % len(batches)])


def jax_loop(problem: Problem, optimizer: str) -> Step:
    import jax
    import jax.numpy as jnp
    import optax

    n_layers = len(problem.weights) // 2
    params = [
        (jnp.array(problem.weights[f"layers.{i}.weight"].T), jnp.array(problem.weights[f"layers.{i}.bias"]))
        for i in range(n_layers)
    ]
    opt = {
        "sgd": partial(optax.sgd, 0.01, momentum=0.9),
        "adam": partial(optax.adam, 1e-4),
        "adamw": partial(optax.adamw, 1e-4, weight_decay=0.01),
    }[optimizer]()

    def loss_fn(params, x, y):
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = params[-1]
        return optax.softmax_cross_entropy_with_integer_labels(x @ w + b, y).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def train_step(params, state, x, y):
        loss, grads = jax.value_and_grad(loss_fn)(params, x, y)
        updates, state = opt.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    state = opt.init(params)
    batches = [(jnp.array(x), jnp.array(y)) for x, y in problem.batches]

    def step(i):
        nonlocal params, state
        x, y = batches[i % len(batches)]
        params, state, loss = train_step(params, state, x, y)
        return loss

    return step


def _workload(
    name: str, about: str, sizes: tuple[int, ...], batch: int, optimizer: str, whole: bool = False
) -> Workload:
    return Workload(
        name,
        about,
        partial(problem, sizes, batch),
        partial(torch_loop, optimizer=optimizer, whole=whole),
        {"jax": partial(jax_loop, optimizer=optimizer)},
    )


def deep(layers: int) -> Workload:
    """A network of so many narrow layers, of which no more than the number matters."""
    return _workload(f"{layers} layers", "64 wide, batch 32, AdamW", (64,) * layers + (10,), 32, "adamw")


SMALL = _workload("mlp_small", "64-64-10, batch 32, SGD with momentum", (64, 64, 10), 32, "sgd")
WIDE = _workload("mlp_wide", "784-2048-2048-10, batch 128, Adam", (784, 2048, 2048, 10), 128, "adam")
DEEP = _workload("mlp_deep", "20 layers of 256, batch 64, AdamW", (256,) * 20 + (10,), 64, "adamw")
SMALL_COMPILED = _workload(
    "mlp_small_compiled", "mlp_small, the whole step behind torch.compile", (64, 64, 10), 32, "sgd", True
)
DEEP_COMPILED = _workload(
    "mlp_deep_compiled", "mlp_deep, the whole step behind torch.compile", (256,) * 20 + (10,), 64, "adamw", True
)
