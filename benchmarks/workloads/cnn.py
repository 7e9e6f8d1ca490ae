"""A convolutional network with batch normalisation on the digits of ``examples/data``; epochs end in a small batch."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np

from ._problem import Problem, Step, Workload, dense, load, uniform

DATA = Path(__file__).parents[2] / "examples" / "data" / "optdigits.csv.gz"
CHANNELS = ((1, 32), (32, 32), (32, 64))
N_TRAIN, BATCH = 1257, 64


def problem() -> Problem:
    rng = np.random.default_rng(0)
    with gzip.open(DATA, "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.float32)[:N_TRAIN]
    x, y = (rows[:, :-1] / 16).reshape(-1, 1, 8, 8), rows[:, -1].astype(np.int64)
    weights: dict[str, np.ndarray] = {}
    for i, (n_in, n_out) in enumerate(CHANNELS):
        bound = (9 * n_in) ** -0.5
        weights[f"convs.{i}.weight"] = uniform(rng, (n_out, n_in, 3, 3), bound)
        weights[f"convs.{i}.bias"] = uniform(rng, (n_out,), bound)
        weights[f"norms.{i}.weight"] = np.ones(n_out, np.float32)
        weights[f"norms.{i}.bias"] = np.zeros(n_out, np.float32)
        weights[f"norms.{i}.running_mean"] = np.zeros(n_out, np.float32)
        weights[f"norms.{i}.running_var"] = np.ones(n_out, np.float32)
        weights[f"norms.{i}.num_batches_tracked"] = np.array(0)
    weights |= dense(rng, "hidden", 64 * 4 * 4, 64) | dense(rng, "out", 64, 10)
    return Problem(weights, [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, N_TRAIN, BATCH)])


def torch_loop(torch: ModuleType, problem: Problem) -> Step:
    nn, F = torch.nn, torch.nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(n_in, n_out, 3, padding=1) for n_in, n_out in CHANNELS)
            self.norms = nn.ModuleList(nn.BatchNorm2d(n_out) for _, n_out in CHANNELS)
            self.hidden = nn.Linear(64 * 4 * 4, 64)
            self.out = nn.Linear(64, 10)

        def forward(self, x):
            x = F.relu(self.norms[0](self.convs[0](x)))
            x = F.relu(self.norms[1](self.convs[1](x)))
            x = F.max_pool2d(x, 2)
            x = F.relu(self.norms[2](self.convs[2](x)))
            return self.out(F.relu(self.hidden(x.flatten(1))))

    model = load(torch, Net(), problem.weights)
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = [(torch.tensor(x), torch.tensor(y)) for x, y in problem.batches]

    def step(i):
        x, y = batches[i % len(batches)]
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return step


def jax_loop(problem: Problem) -> Step:
    import jax
    import jax.numpy as jnp
    import optax
    from jax import lax

    weights = problem.weights
    # Channels last, the layout that JAX's own examples use; the rows of `hidden` are reordered to match.
    params = {
        "convs": [
            {
                "w": jnp.array(weights[f"convs.{i}.weight"].transpose(2, 3, 1, 0)),
                "b": jnp.array(weights[f"convs.{i}.bias"]),
                "scale": jnp.array(weights[f"norms.{i}.weight"]),
                "shift": jnp.array(weights[f"norms.{i}.bias"]),
            }
            for i in range(len(CHANNELS))
        ],
        "hidden": {
            "w": jnp.array(weights["hidden.weight"].reshape(64, 64, 4, 4).transpose(2, 3, 1, 0).reshape(1024, 64)),
            "b": jnp.array(weights["hidden.bias"]),
        },
        "out": {"w": jnp.array(weights["out.weight"].T), "b": jnp.array(weights["out.bias"])},
    }
    stats = [
        {"mean": jnp.array(weights[f"norms.{i}.running_mean"]), "var": jnp.array(weights[f"norms.{i}.running_var"])}
        for i in range(len(CHANNELS))
    ]
    opt = optax.adam(1e-3)

    def conv_norm_relu(p, s, x):
        x = lax.conv_general_dilated(x, p["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + p["b"]
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        n = x.size // x.shape[-1]
        s = {"mean": 0.9 * s["mean"] + 0.1 * mean, "var": 0.9 * s["var"] + 0.1 * var * (n / (n - 1))}
        x = (x - mean) * (lax.rsqrt(var + 1e-5) * p["scale"]) + p["shift"]
        return jax.nn.relu(x), s

    def loss_fn(params, stats, x, y):
        x, s0 = conv_norm_relu(params["convs"][0], stats[0], x)
        x, s1 = conv_norm_relu(params["convs"][1], stats[1], x)
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        x, s2 = conv_norm_relu(params["convs"][2], stats[2], x)
        x = jax.nn.relu(x.reshape(len(x), -1) @ params["hidden"]["w"] + params["hidden"]["b"])
        logits = x @ params["out"]["w"] + params["out"]["b"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), [s0, s1, s2]

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def train_step(params, stats, state, x, y):
        (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, stats, x, y)
        updates, state = opt.update(grads, state, params)
        return optax.apply_updates(params, updates), stats, state, loss

    state = opt.init(params)
    batches = [(jnp.array(x.transpose(0, 2, 3, 1)), jnp.array(y)) for x, y in problem.batches]

    def step(i):
        nonlocal params, stats, state
        x, y = batches[i % len(batches)]
        params, stats, state, loss = train_step(params, stats, state, x, y)
        return loss

    return step


DIGITS = Workload(
    "cnn_digits",
    "3 convolutions with batch norm on 8x8 digits, batch 64, last batch 41, Adam",
    problem,
    torch_loop,
    {"jax": jax_loop},
    tolerance=5e-3,
)
