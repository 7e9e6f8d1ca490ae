"""A binary tree-LSTM that classifies one random tree at each step: no two steps have the same graph.

PyTorch runs it as written, by recursion.  In JAX there are two ways.  ``jax`` (the one that ratios refer to) is what a
person who knows JAX ends up with, and the quickest: the tree becomes data (for each inner node the places of its
children), padded to the largest tree, and a scan fills a table of node states, so that one compiled program serves all
trees.  ``jax_recursion`` keeps the recursion, with jitted cells under ``jax.value_and_grad``: the same program text as
in PyTorch, and what a direct translation gives.  Jitting the recursion as a whole would compile anew at every step.
"""

from __future__ import annotations

from functools import partial
from types import ModuleType

import numpy as np

from ._problem import Problem, Step, Workload, dense, load, uniform

WIDTH, VOCAB, CLASSES, MIN_LEAVES, MAX_LEAVES, N_TREES = 64, 200, 5, 8, 24, 1000
LR = 0.05


def random_tree(rng: np.random.Generator, first: int, last: int):
    """A nested tuple over the leaves first..last-1; a leaf is its number."""
    if last - first == 1:
        return first
    middle = int(rng.integers(first + 1, last))
    return random_tree(rng, first, middle), random_tree(rng, middle, last)


def problem() -> Problem:
    rng = np.random.default_rng(0)
    weights = {"embed.weight": uniform(rng, (VOCAB, WIDTH), 0.5)}
    weights |= dense(rng, "gates", 2 * WIDTH, 5 * WIDTH) | dense(rng, "out", WIDTH, CLASSES)
    batches = []
    for _ in range(N_TREES):
        n = int(rng.integers(MIN_LEAVES, MAX_LEAVES + 1))
        words = rng.integers(0, VOCAB, n)
        batches.append((random_tree(rng, 0, n), words, np.array([words.sum() % CLASSES])))
    return Problem(weights, batches)


def torch_loop(torch: ModuleType, problem: Problem) -> Step:
    nn, F = torch.nn, torch.nn.functional

    class TreeLSTM(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(VOCAB, WIDTH)
            self.gates = nn.Linear(2 * WIDTH, 5 * WIDTH)
            self.out = nn.Linear(WIDTH, CLASSES)

        def node(self, tree, leaves):
            if isinstance(tree, int):
                h = leaves[tree : tree + 1]
                return h, torch.zeros_like(h)
            left_h, left_c = self.node(tree[0], leaves)
            right_h, right_c = self.node(tree[1], leaves)
            i, f_left, f_right, o, g = self.gates(torch.cat([left_h, right_h], dim=1)).chunk(5, dim=1)
            c = torch.sigmoid(f_left) * left_c + torch.sigmoid(f_right) * right_c + torch.sigmoid(i) * torch.tanh(g)
            return torch.sigmoid(o) * torch.tanh(c), c

        def forward(self, tree, words):
            h, _ = self.node(tree, self.embed(words))
            return self.out(h)

    model = load(torch, TreeLSTM(), problem.weights)
    opt = torch.optim.SGD(model.parameters(), lr=LR)
    batches = [(tree, torch.tensor(words), torch.tensor(y)) for tree, words, y in problem.batches]

    def step(i):
        tree, words, y = batches[i % len(batches)]
        opt.zero_grad()
        loss = F.cross_entropy(model(tree, words), y)
        loss.backward()
        opt.step()
        return loss

    return step


def _jax_parts(problem: Problem):
    import jax
    import jax.numpy as jnp
    import optax

    weights = problem.weights
    params = {
        "embed": jnp.array(weights["embed.weight"]),
        "gates": {"w": jnp.array(weights["gates.weight"].T), "b": jnp.array(weights["gates.bias"])},
        "out": {"w": jnp.array(weights["out.weight"].T), "b": jnp.array(weights["out.bias"])},
    }

    def cell(p, left, right):
        (left_h, left_c), (right_h, right_c) = left, right
        gates = jnp.concatenate([left_h, right_h]) @ p["w"] + p["b"]
        i, f_left, f_right, o, g = jnp.split(gates, 5)
        sigmoid = jax.nn.sigmoid
        c = sigmoid(f_left) * left_c + sigmoid(f_right) * right_c + sigmoid(i) * jnp.tanh(g)
        return sigmoid(o) * jnp.tanh(c), c

    def head(p, h, y):
        return optax.softmax_cross_entropy_with_integer_labels(h @ p["w"] + p["b"], y[0])

    return params, cell, head, optax.sgd(LR)


def plan(tree) -> tuple[np.ndarray, np.ndarray, np.int32]:
    """Inner nodes, children before parents: places of the left and right child, padded, and the root's place.

    Leaves have the places 0..MAX_LEAVES-1, the k-th inner node MAX_LEAVES + k.  Padding nodes combine leaf 0 with
    itself; nobody looks at them.
    """
    left, right = np.zeros(MAX_LEAVES - 1, np.int32), np.zeros(MAX_LEAVES - 1, np.int32)
    count = 0

    def visit(node) -> int:
        nonlocal count
        if isinstance(node, int):
            return node
        children = visit(node[0]), visit(node[1])
        left[count], right[count] = children
        count += 1
        return MAX_LEAVES + count - 1

    root = visit(tree)
    return left, right, np.int32(root)


def jax_scan(problem: Problem) -> Step:
    import jax
    import jax.numpy as jnp
    import optax
    from jax import lax

    params, cell, head, opt = _jax_parts(problem)

    def loss_fn(params, words, left, right, root, y):
        h = jnp.zeros((2 * MAX_LEAVES - 1, WIDTH)).at[:MAX_LEAVES].set(params["embed"][words])
        c = jnp.zeros_like(h)

        def body(table, node):
            h, c = table
            place, a, b = node
            new_h, new_c = cell(params["gates"], (h[a], c[a]), (h[b], c[b]))
            return (h.at[place].set(new_h), c.at[place].set(new_c)), None

        places = MAX_LEAVES + jnp.arange(MAX_LEAVES - 1)
        (h, _), _ = lax.scan(body, (h, c), (places, left, right))
        return head(params["out"], h[root], y)

    @partial(jax.jit, donate_argnums=(0, 1))
    def train_step(params, state, *example):
        loss, grads = jax.value_and_grad(loss_fn)(params, *example)
        updates, state = opt.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    state = opt.init(params)
    batches = [
        jax.device_put((np.pad(words, (0, MAX_LEAVES - len(words))), *plan(tree), y))
        for tree, words, y in problem.batches
    ]

    def step(i):
        nonlocal params, state
        params, state, loss = train_step(params, state, *batches[i % len(batches)])
        return loss

    return step


def jax_recursion(problem: Problem) -> Step:
    import jax
    import jax.numpy as jnp
    import optax

    params, cell, head, opt = _jax_parts(problem)
    cell, head = jax.jit(cell), jax.jit(head)
    embed = jax.jit(lambda table, words: list(table[words]))

    def node(params, tree, leaves):
        if isinstance(tree, int):
            return leaves[tree], jnp.zeros_like(leaves[tree])
        return cell(params["gates"], node(params, tree[0], leaves), node(params, tree[1], leaves))

    def loss_fn(params, tree, words, y):
        h, _ = node(params, tree, embed(params["embed"], words))
        return head(params["out"], h, y)

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(params, state, grads):
        updates, state = opt.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = opt.init(params)
    batches = [(tree, jnp.array(words), jnp.array(y)) for tree, words, y in problem.batches]

    def step(i):
        nonlocal params, state
        tree, words, y = batches[i % len(batches)]
        loss, grads = jax.value_and_grad(lambda params: loss_fn(params, tree, words, y))(params)
        params, state = update(params, state, grads)
        return loss

    return step


TREE = Workload(
    "tree",
    "binary tree-LSTM, 64 wide, one random tree of 8 to 24 leaves a step, SGD",
    problem,
    torch_loop,
    {"jax": jax_scan, "jax_recursion": jax_recursion},
)
