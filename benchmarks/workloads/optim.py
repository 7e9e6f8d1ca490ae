"""An optimizer's step and nothing else: 150 parameters of a transformer's shapes, gradients that stay the same.

The loss is the sum of one parameter, so that there is something to read and to compare.  PyTorch runs its ``foreach``
kernels, which it uses on GPUs by default and which are its quicker ones here as well.
"""

from __future__ import annotations

from functools import partial
from types import ModuleType

import numpy as np

from ._problem import Problem, Step, Workload

BLOCKS, WIDTH, VOCAB, PLACES, LR = 12, 128, 65, 128, 1e-3
BLOCK = ((WIDTH,), (WIDTH,), (3 * WIDTH, WIDTH), (3 * WIDTH,), (WIDTH, WIDTH), (WIDTH,), (WIDTH,), (WIDTH,),
         (4 * WIDTH, WIDTH), (4 * WIDTH,), (WIDTH, 4 * WIDTH), (WIDTH,))  # fmt: skip
SHAPES = ((VOCAB, WIDTH), (PLACES, WIDTH), *BLOCK * BLOCKS, (WIDTH,), (WIDTH,), (VOCAB, WIDTH), (VOCAB,))


def problem() -> Problem:
    rng = np.random.default_rng(0)
    draw = partial(rng.standard_normal, dtype=np.float32)
    grads = [0.1 * draw(shape) for shape in SHAPES]
    return Problem({f"p{i}": 0.1 * draw(shape) for i, shape in enumerate(SHAPES)}, [grads])


def torch_loop(torch: ModuleType, problem: Problem, kind: str) -> Step:
    params = [torch.nn.Parameter(torch.tensor(w)) for w in problem.weights.values()]
    for p, g in zip(params, problem.batches[0], strict=True):
        p.grad = torch.tensor(g)
    if kind == "sgd":
        opt = torch.optim.SGD(params, lr=LR, momentum=0.9, foreach=True)
    elif kind == "adam":
        opt = torch.optim.Adam(params, lr=LR, foreach=True)
    else:
        opt = torch.optim.AdamW(params, lr=LR, weight_decay=0.1, foreach=True)

    def step(i):
        opt.step()
        return params[-1].detach().sum()

    return step


def jax_loop(problem: Problem, kind: str) -> Step:
    import jax
    import jax.numpy as jnp
    import optax

    params = [jnp.array(w) for w in problem.weights.values()]
    grads = [jnp.array(g) for g in problem.batches[0]]
    opt = {
        "sgd": partial(optax.sgd, LR, momentum=0.9),
        "adam": partial(optax.adam, LR),
        "adamw": partial(optax.adamw, LR, weight_decay=0.1),
    }[kind]()

    @partial(jax.jit, donate_argnums=(0, 1))
    def train_step(params, state, grads):
        updates, state = opt.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        return params, state, params[-1].sum()

    state = opt.init(params)

    def step(i):
        nonlocal params, state
        params, state, loss = train_step(params, state, grads)
        return loss

    return step


def _workload(kind: str, about: str) -> Workload:
    return Workload(
        f"step_{kind}",
        f"one step of {about} on {len(SHAPES)} parameters",
        problem,
        partial(torch_loop, kind=kind),
        {"jax": partial(jax_loop, kind=kind)},
    )


SGD = _workload("sgd", "SGD with momentum")
ADAM = _workload("adam", "Adam")
ADAMW = _workload("adamw", "AdamW")
