"""REINFORCE: a policy asked step by step, each action read and given to an environment in plain Python.

The log-probabilities of an episode are kept with their graphs, as in PyTorch's own example; its loss goes back through
all of them at once.  In JAX one collects the episode first and differentiates a batch of it.
"""

from __future__ import annotations

from functools import partial
from types import ModuleType

import numpy as np

from ._problem import Problem, Step, Workload, dense, load

WIDTH, LENGTH, GAMMA, LR = 64, 32, 0.99, 1e-3


class Pole:
    """An upright pole that a push of either direction holds; episodes always have ``LENGTH`` steps."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.state = self.rng.uniform(-0.05, 0.05, 4)

    def observe(self) -> np.ndarray:
        return self.state.astype(np.float32)

    def act(self, probability: float) -> int:
        """0 or 1, the latter with the probability."""
        return int(self.rng.random() < probability)

    def move(self, action: int) -> float:
        x, v, angle, spin = self.state
        push = 1.0 if action else -1.0
        self.state = np.array([x + 0.02 * v, v + 0.02 * push, angle + 0.02 * spin,
                               spin + 0.02 * (9.8 * np.sin(angle) - push)])  # fmt: skip
        return 1.0 - abs(float(angle))


def returns_of(rewards: list[float]) -> np.ndarray:
    out, total = [], 0.0
    for r in reversed(rewards):
        total = r + GAMMA * total
        out.append(total)
    found = np.array(out[::-1], np.float32)
    return (found - found.mean()) / (found.std() + 1e-6)


def problem() -> Problem:
    rng = np.random.default_rng(0)
    return Problem(dense(rng, "0", 4, WIDTH) | dense(rng, "2", WIDTH, 2), [None])


def torch_loop(torch: ModuleType, problem: Problem) -> Step:
    nn = torch.nn
    policy = load(torch, nn.Sequential(nn.Linear(4, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 2)), problem.weights)
    opt = torch.optim.SGD(policy.parameters(), lr=LR)

    def step(i):
        env, kept, rewards = Pole(i), [], []
        for _ in range(LENGTH):
            log_probs = torch.log_softmax(policy(torch.from_numpy(env.observe()).unsqueeze(0)), dim=1)
            action = env.act(log_probs[0, 1].exp().item())
            kept.append(log_probs[0, action])
            rewards.append(env.move(action))
        loss = -(torch.stack(kept) * torch.from_numpy(returns_of(rewards))).sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    return step


def jax_loop(problem: Problem) -> Step:
    import jax
    import jax.numpy as jnp

    weights = problem.weights
    params = [(jnp.array(weights[f"{k}.weight"].T), jnp.array(weights[f"{k}.bias"])) for k in (0, 2)]

    def policy(p, x):
        h = jnp.tanh(x @ p[0][0] + p[0][1])
        return jax.nn.log_softmax(h @ p[1][0] + p[1][1])

    ask = jax.jit(lambda p, x: jnp.exp(policy(p, x)[1]))

    @partial(jax.jit, donate_argnums=0)
    def train_step(p, x, actions, returns):
        def loss_fn(p):
            chosen = jnp.take_along_axis(policy(p, x), actions[:, None], axis=1)[:, 0]
            return -(chosen * returns).sum()

        loss, grads = jax.value_and_grad(loss_fn)(p)
        return jax.tree.map(lambda w, g: w - LR * g, p, grads), loss

    def step(i):
        nonlocal params
        env, seen, actions, rewards = Pole(i), [], [], []
        for _ in range(LENGTH):
            seen.append(env.observe())
            actions.append(env.act(float(ask(params, seen[-1]))))
            rewards.append(env.move(actions[-1]))
        params, loss = train_step(params, np.stack(seen), np.array(actions), returns_of(rewards))
        return loss

    return step


REINFORCE = Workload(
    "reinforce", f"a policy asked {LENGTH} times, then one step of SGD", problem, torch_loop, {"jax": jax_loop},
    tolerance=1e-2,
)  # fmt: skip
