"""A thousand tiny operations in a row: nothing but the cost of an operation.

In JAX the chain is written as a Python loop under ``jax.jit`` (the one that ratios refer to: everything fuses into one
kernel, after a long compilation) and as ``lax.scan`` (``jax_scan``: compiles at once).
"""

from __future__ import annotations

from functools import partial
from types import ModuleType

import numpy as np

from ._problem import Problem, Step, Workload

SIZE, PAIRS, LR = 32, 500, 1e-2


def problem() -> Problem:
    x = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
    return Problem({"x": x}, [None])


def torch_loop(torch: ModuleType, problem: Problem) -> Step:
    leaf = torch.tensor(problem.weights["x"], requires_grad=True)

    def step(i):
        x = leaf
        for _ in range(PAIRS):
            x = x * 0.999
            x = x + 0.5
        loss = x.sum()
        loss.backward()
        with torch.no_grad():
            leaf.sub_(LR * leaf.grad)
        leaf.grad = None
        return loss

    return step


def jax_loop(problem: Problem, scan: bool) -> Step:
    import jax
    import jax.numpy as jnp
    from jax import lax

    def pair(x):
        return x * 0.999 + 0.5

    def loss_fn(x):
        if scan:
            x, _ = lax.scan(lambda x, _: (pair(x), None), x, length=PAIRS)
        else:
            for _ in range(PAIRS):
                x = pair(x)
        return x.sum()

    @partial(jax.jit, donate_argnums=0)
    def train_step(x):
        loss, grad = jax.value_and_grad(loss_fn)(x)
        return x - LR * grad, loss

    leaf = jnp.array(problem.weights["x"])

    def step(i):
        nonlocal leaf
        leaf, loss = train_step(leaf)
        return loss

    return step


TINY = Workload(
    "tiny_ops",
    "1,000 operations on 32 numbers, forward and backward",
    problem,
    torch_loop,
    {"jax": partial(jax_loop, scan=False), "jax_scan": partial(jax_loop, scan=True)},
)
