"""A word-level language model: two LSTM layers, truncated back-propagation with the state carried over, clipping."""

from __future__ import annotations

from functools import partial
from types import ModuleType

import numpy as np

from ._problem import Problem, Step, Workload, dense, load, uniform

VOCAB, WIDTH, LAYERS, LENGTH, BATCH = 1000, 256, 2, 35, 20
LR, CLIP = 1.0, 0.25


def problem() -> Problem:
    rng = np.random.default_rng(0)
    weights = {"embed.weight": uniform(rng, (VOCAB, WIDTH), 0.1)}
    for i in range(LAYERS):
        for side in ("ih", "hh"):
            weights[f"lstm.weight_{side}_l{i}"] = uniform(rng, (4 * WIDTH, WIDTH), WIDTH**-0.5)
            weights[f"lstm.bias_{side}_l{i}"] = uniform(rng, (4 * WIDTH,), WIDTH**-0.5)
    weights |= dense(rng, "out", WIDTH, VOCAB)
    # Word frequencies as in a text: the r-th most frequent word appears in proportion to 1 / r.
    share = 1 / np.arange(1, VOCAB + 1)
    words = rng.choice(VOCAB, (16 * LENGTH + 1, BATCH), p=share / share.sum())
    starts = range(0, 16 * LENGTH, LENGTH)
    return Problem(weights, [(words[i : i + LENGTH].copy(), words[i + 1 : i + 1 + LENGTH].copy()) for i in starts])


def torch_loop(torch: ModuleType, problem: Problem) -> Step:
    nn, F = torch.nn, torch.nn.functional

    class LanguageModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(VOCAB, WIDTH)
            self.lstm = nn.LSTM(WIDTH, WIDTH, LAYERS)
            self.out = nn.Linear(WIDTH, VOCAB)

        def forward(self, words, state):
            x, state = self.lstm(self.embed(words), state)
            return self.out(x), state

    model = load(torch, LanguageModel(), problem.weights)
    opt = torch.optim.SGD(model.parameters(), lr=LR)
    batches = [(torch.tensor(x), torch.tensor(y)) for x, y in problem.batches]
    state = (torch.zeros(LAYERS, BATCH, WIDTH), torch.zeros(LAYERS, BATCH, WIDTH))

    def step(i):
        nonlocal state
        x, y = batches[i % len(batches)]
        opt.zero_grad()
        logits, state = model(x, tuple(s.detach() for s in state))
        loss = F.cross_entropy(logits.view(-1, VOCAB), y.view(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        opt.step()
        return loss

    return step


def jax_loop(problem: Problem) -> Step:
    import jax
    import jax.numpy as jnp
    import optax
    from jax import lax

    weights = problem.weights
    params = {
        "embed": jnp.array(weights["embed.weight"]),
        "lstm": [
            {
                "w_in": jnp.array(weights[f"lstm.weight_ih_l{i}"].T),
                "w_state": jnp.array(weights[f"lstm.weight_hh_l{i}"].T),
                # Two biases, as in PyTorch: with one the same learning rate would train it at half the speed.
                "b_in": jnp.array(weights[f"lstm.bias_ih_l{i}"]),
                "b_state": jnp.array(weights[f"lstm.bias_hh_l{i}"]),
            }
            for i in range(LAYERS)
        ],
        "out": {"w": jnp.array(weights["out.weight"].T), "b": jnp.array(weights["out.bias"])},
    }
    opt = optax.chain(optax.clip_by_global_norm(CLIP), optax.sgd(LR))

    def layer(p, x, carry):
        inputs = x @ p["w_in"] + (p["b_in"] + p["b_state"])  # for all times at once, outside the scan

        def cell(carry, gates):
            h, c = carry
            i, f, g, o = jnp.split(gates + h @ p["w_state"], 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        return lax.scan(cell, carry, inputs)

    def loss_fn(params, carries, words, targets):
        x, last = params["embed"][words], []
        for p, carry in zip(params["lstm"], carries, strict=True):
            carry, x = layer(p, x, carry)
            last.append(carry)
        logits = x @ params["out"]["w"] + params["out"]["b"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean(), last

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def train_step(params, state, carries, words, targets):
        (loss, carries), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, carries, words, targets)
        updates, state = opt.update(grads, state, params)
        return optax.apply_updates(params, updates), state, carries, loss

    state = opt.init(params)
    carries = [(jnp.zeros((BATCH, WIDTH)), jnp.zeros((BATCH, WIDTH))) for _ in range(LAYERS)]
    batches = [(jnp.array(x), jnp.array(y)) for x, y in problem.batches]

    def step(i):
        nonlocal params, state, carries
        x, y = batches[i % len(batches)]
        params, state, carries, loss = train_step(params, state, carries, x, y)
        return loss

    return step


LSTM = Workload(
    "lstm",
    "2 layers of 256, 35 words x 20 texts, vocabulary 1000, SGD, clipping",
    problem,
    torch_loop,
    {"jax": jax_loop},
)
