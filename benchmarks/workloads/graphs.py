"""A graph network on batches of small graphs: the numbers of nodes and edges are others at every step.

In JAX a person pads: nodes and edges to the largest batch, padded edges lead to a node that nobody looks at.
"""

from __future__ import annotations

from functools import partial
from types import ModuleType

import numpy as np

from ._problem import Problem, Step, Workload, dense, load

FEATURES, WIDTH, CLASSES, GRAPHS, N_BATCHES = 8, 64, 2, 16, 2000
NODES, EDGES, LR = (100, 200), (300, 600), 0.05
LAYERS = ("first", "second", "out")


def problem() -> Problem:
    rng = np.random.default_rng(0)
    weights = dense(rng, "first", FEATURES, WIDTH) | dense(rng, "second", WIDTH, WIDTH)
    weights |= dense(rng, "out", WIDTH, CLASSES)
    batches = []
    for _ in range(N_BATCHES):
        n, m = int(rng.integers(NODES[0], NODES[1] + 1)), int(rng.integers(EDGES[0], EDGES[1] + 1))
        x = rng.normal(size=(n, FEATURES)).astype(np.float32)
        edges, graph = rng.integers(0, n, (2, m)), np.sort(rng.integers(0, GRAPHS, n))
        sums = np.zeros(GRAPHS)
        np.add.at(sums, graph, x[:, 0])
        batches.append((x, edges, graph, (sums > 0).astype(np.int64)))
    return Problem(weights, batches)


def torch_loop(torch: ModuleType, problem: Problem) -> Step:
    nn, F = torch.nn, torch.nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(FEATURES, WIDTH), nn.Linear(WIDTH, WIDTH)
            self.out = nn.Linear(WIDTH, CLASSES)

        def forward(self, x, edges, graph):
            for layer in (self.first, self.second):
                around = torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])
                x = F.relu(layer(x + around))
            return self.out(torch.zeros(GRAPHS, WIDTH).index_add(0, graph, x))

    model = load(torch, Net(), problem.weights)
    opt = torch.optim.SGD(model.parameters(), lr=LR)
    batches = [tuple(torch.from_numpy(a) for a in batch) for batch in problem.batches]

    def step(i):
        x, edges, graph, y = batches[i % len(batches)]
        opt.zero_grad()
        loss = F.cross_entropy(model(x, edges, graph), y)
        loss.backward()
        opt.step()
        return loss

    return step


def jax_loop(problem: Problem) -> Step:
    import jax
    import jax.numpy as jnp
    import optax

    weights = problem.weights
    params = {k: {"w": jnp.array(weights[f"{k}.weight"].T), "b": jnp.array(weights[f"{k}.bias"])} for k in LAYERS}
    opt = optax.sgd(LR)
    nodes, most = NODES[1] + 1, EDGES[1]

    def padded(x, edges, graph, y):
        n, m = len(x), edges.shape[1]
        return (
            np.pad(x, ((0, nodes - n), (0, 0))),
            np.pad(edges, ((0, 0), (0, most - m)), constant_values=nodes - 1),
            np.pad(graph, (0, nodes - n), constant_values=GRAPHS),
            y,
        )

    def loss_fn(params, x, edges, graph, y):
        for name in LAYERS[:2]:
            around = jax.ops.segment_sum(x[edges[0]], edges[1], nodes)
            x = jax.nn.relu((x + around) @ params[name]["w"] + params[name]["b"])
        pooled = jax.ops.segment_sum(x, graph, GRAPHS + 1)[:GRAPHS]
        logits = pooled @ params["out"]["w"] + params["out"]["b"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def train_step(params, state, *batch):
        loss, grads = jax.value_and_grad(loss_fn)(params, *batch)
        updates, state = opt.update(grads, state)
        return optax.apply_updates(params, updates), state, loss

    state = opt.init(params)
    batches = [padded(*batch) for batch in problem.batches]

    def step(i):
        nonlocal params, state
        params, state, loss = train_step(params, state, *batches[i % len(batches)])
        return loss

    return step


GRAPH_BATCHES = Workload(
    "graphs",
    f"2 layers of message passing, {WIDTH} wide, {GRAPHS} graphs of {NODES[0]} to {NODES[1]} nodes together, SGD",
    problem,
    torch_loop,
    {"jax": jax_loop},
)
