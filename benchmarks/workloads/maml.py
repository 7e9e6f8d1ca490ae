"""Second-order MAML on sine curves: gradients through the gradient steps of an inner loop."""

from __future__ import annotations

from functools import partial
from types import ModuleType

import numpy as np

from ._problem import Problem, Step, Workload, dense

WIDTH, SHOTS, TASKS, INNER, INNER_LR, LR, N_BATCHES = 40, 10, 4, 3, 0.01, 0.01, 50
LAYERS = ("l1", "l2", "l3")


def problem() -> Problem:
    rng = np.random.default_rng(0)
    weights = dense(rng, "l1", 1, WIDTH) | dense(rng, "l2", WIDTH, WIDTH) | dense(rng, "l3", WIDTH, 1)
    batches = []
    for _ in range(N_BATCHES):
        amplitude, phase = rng.uniform(0.1, 5, (TASKS, 1, 1)), rng.uniform(0, np.pi, (TASKS, 1, 1))
        x = rng.uniform(-5, 5, (TASKS, 2 * SHOTS, 1))
        batches.append((x.astype(np.float32), (amplitude * np.sin(x + phase)).astype(np.float32)))
    return Problem(weights, batches)


def torch_loop(torch: ModuleType, problem: Problem) -> Step:
    F = torch.nn.functional
    names = [f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias")]
    params = [torch.tensor(problem.weights[name], requires_grad=True) for name in names]
    opt = torch.optim.SGD(params, lr=LR)
    batches = [(torch.tensor(x), torch.tensor(y)) for x, y in problem.batches]

    def net(x, p):
        h = torch.relu(F.linear(x, p[0], p[1]))
        return F.linear(torch.relu(F.linear(h, p[2], p[3])), p[4], p[5])

    def step(i):
        xs, ys = batches[i % len(batches)]
        outer = 0.0
        for x, y in zip(xs, ys, strict=True):
            fast = params
            for _ in range(INNER):
                inner = F.mse_loss(net(x[:SHOTS], fast), y[:SHOTS])
                grads = torch.autograd.grad(inner, fast, create_graph=True)
                fast = [p - INNER_LR * g for p, g in zip(fast, grads, strict=True)]
            outer = outer + F.mse_loss(net(x[SHOTS:], fast), y[SHOTS:])
        loss = outer / TASKS
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    return step


def jax_loop(problem: Problem) -> Step:
    import jax
    import jax.numpy as jnp
    import optax

    params = {layer: (jnp.array(problem.weights[f"{layer}.weight"].T), jnp.array(problem.weights[f"{layer}.bias"]))
              for layer in LAYERS}  # fmt: skip
    opt = optax.sgd(LR)
    state = opt.init(params)

    def loss_fn(p, x, y):
        h = jax.nn.relu(x @ p["l1"][0] + p["l1"][1])
        out = jax.nn.relu(h @ p["l2"][0] + p["l2"][1]) @ p["l3"][0] + p["l3"][1]
        return jnp.mean((out - y) ** 2)

    def adapted(p, x, y):
        fast = p
        for _ in range(INNER):
            grads = jax.grad(loss_fn)(fast, x[:SHOTS], y[:SHOTS])
            fast = jax.tree.map(lambda w, g: w - INNER_LR * g, fast, grads)
        return loss_fn(fast, x[SHOTS:], y[SHOTS:])

    @partial(jax.jit, donate_argnums=(0, 1))
    def train_step(p, state, x, y):
        loss, grads = jax.value_and_grad(lambda p: jnp.mean(jax.vmap(adapted, (None, 0, 0))(p, x, y)))(p)
        updates, state = opt.update(grads, state)
        return optax.apply_updates(p, updates), state, loss

    def step(i):
        nonlocal params, state
        params, state, loss = train_step(params, state, *problem.batches[i % len(problem.batches)])
        return loss

    return step


MAML = Workload(
    "maml", f"{INNER} inner steps with create_graph, {TASKS} sine curves, 1-{WIDTH}-{WIDTH}-1", problem, torch_loop,
    {"jax": jax_loop},
)  # fmt: skip
