"""A small GPT on characters: AdamW, a cosine schedule, clipped gradients; in float32 and under bfloat16 autocast."""

from __future__ import annotations

from functools import partial
from types import ModuleType

import numpy as np

from ._problem import Problem, Step, Workload, compiled, load

LAYERS, WIDTH, HEADS, BLOCK, BATCH, VOCAB = 4, 128, 4, 128, 8, 65
LR, HORIZON = 1e-3, 10_000


def problem() -> Problem:
    rng = np.random.default_rng(0)

    def normal(*shape, std=0.02):
        return (std * rng.standard_normal(shape)).astype(np.float32)

    weights = {"tokens.weight": normal(VOCAB, WIDTH), "places.weight": normal(BLOCK, WIDTH)}
    for i in range(LAYERS):
        for norm in ("norm1", "norm2"):
            weights[f"blocks.{i}.{norm}.weight"] = np.ones(WIDTH, np.float32)
            weights[f"blocks.{i}.{norm}.bias"] = np.zeros(WIDTH, np.float32)
        for name, n_in, n_out in (("qkv", 1, 3), ("proj", 1, 1), ("up", 1, 4), ("down", 4, 1)):
            weights[f"blocks.{i}.{name}.weight"] = normal(n_out * WIDTH, n_in * WIDTH)
            weights[f"blocks.{i}.{name}.bias"] = np.zeros(n_out * WIDTH, np.float32)
    weights |= {"norm.weight": np.ones(WIDTH, np.float32), "norm.bias": np.zeros(WIDTH, np.float32)}
    weights["head.weight"] = normal(VOCAB, WIDTH)
    # A text that can be learnt: each character depends on the one before, with some noise.
    follows = rng.integers(0, VOCAB, (VOCAB, 3))
    text = np.empty(20_000, np.int64)
    text[0] = 0
    choices = rng.integers(0, 3, len(text))
    for i in range(1, len(text)):
        text[i] = follows[text[i - 1], choices[i]]
    batches = []
    for _ in range(16):
        starts = rng.integers(0, len(text) - BLOCK - 1, BATCH)
        rows = np.stack([text[s : s + BLOCK + 1] for s in starts])
        batches.append((rows[:, :-1].copy(), rows[:, 1:].copy()))
    return Problem(weights, batches)


def texts() -> Problem:
    """The same text in batches of other lengths at each step, longest 128 and hardly any twice in a row."""
    found = problem()
    rng = np.random.default_rng(1)
    lengths = rng.integers(16, BLOCK + 1, 500)
    pairs = [found.batches[i % len(found.batches)] for i in range(len(lengths))]
    batches = [(x[:, :n].copy(), y[:, :n].copy()) for (x, y), n in zip(pairs, lengths, strict=True)]
    return Problem(found.weights, batches)


def torch_loop(torch: ModuleType, problem: Problem, lower: bool = False, whole: bool = False) -> Step:
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1 = nn.LayerNorm(WIDTH)
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
            self.proj = nn.Linear(WIDTH, WIDTH)
            self.norm2 = nn.LayerNorm(WIDTH)
            self.up = nn.Linear(WIDTH, 4 * WIDTH)
            self.down = nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x):
            B, T, C = x.shape
            q, k, v = self.qkv(self.norm1(x)).split(C, dim=2)
            q = q.view(B, T, HEADS, C // HEADS).transpose(1, 2)
            k = k.view(B, T, HEADS, C // HEADS).transpose(1, 2)
            v = v.view(B, T, HEADS, C // HEADS).transpose(1, 2)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.proj(y.transpose(1, 2).reshape(B, T, C))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(VOCAB, WIDTH)
            self.places = nn.Embedding(BLOCK, WIDTH)
            self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
            self.norm = nn.LayerNorm(WIDTH)
            self.head = nn.Linear(WIDTH, VOCAB, bias=False)

        def forward(self, ids, targets):
            x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
            for block in self.blocks:
                x = block(x)
            logits = self.head(self.norm(x))
            return F.cross_entropy(logits.view(-1, VOCAB), targets.reshape(-1))

    model = load(torch, GPT(), problem.weights)
    opt = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=HORIZON)
    batches = [(torch.tensor(x), torch.tensor(y)) for x, y in problem.batches]

    def train(x, y):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=lower):
            loss = model(x, y)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        return loss

    if whole:
        train = compiled(torch, train)

    def step(i):
        loss = train(*batches[i % len(batches)])
        schedule.step()
        return loss

    return step


def jax_loop(problem: Problem, lower: bool = False, padded: bool = False) -> Step:
    import jax
    import jax.numpy as jnp
    import optax

    weights = problem.weights
    kind = jnp.bfloat16 if lower else jnp.float32

    def linear(name):
        return {"w": jnp.array(weights[f"{name}.weight"].T), "b": jnp.array(weights[f"{name}.bias"])}

    def norm(name):
        return {"scale": jnp.array(weights[f"{name}.weight"]), "shift": jnp.array(weights[f"{name}.bias"])}

    params = {
        "tokens": jnp.array(weights["tokens.weight"]),
        "places": jnp.array(weights["places.weight"]),
        "blocks": [
            {name: norm(f"blocks.{i}.{name}") for name in ("norm1", "norm2")}
            | {name: linear(f"blocks.{i}.{name}") for name in ("qkv", "proj", "up", "down")}
            for i in range(LAYERS)
        ],
        "norm": norm("norm"),
        "head": jnp.array(weights["head.weight"].T),
    }
    opt = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(optax.cosine_decay_schedule(LR, HORIZON), weight_decay=0.1),
    )

    def layer_norm(p, x):
        mean = x.mean(-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * p["scale"] + p["shift"]

    def dense(p, x):
        return x.astype(kind) @ p["w"].astype(kind) + p["b"].astype(kind)

    def block_fn(p, x):
        B, T, C = x.shape
        qkv = dense(p["qkv"], layer_norm(p["norm1"], x))
        q, k, v = jnp.split(qkv.reshape(B, T, 3 * HEADS, C // HEADS), 3, axis=2)
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(B, T, C)
        x = x + dense(p["proj"], y)
        hidden = jax.nn.gelu(dense(p["up"], layer_norm(p["norm2"], x)), approximate=False)
        return x + dense(p["down"], hidden)

    def loss_fn(params, ids, targets):
        x = params["tokens"][ids] + params["places"][: ids.shape[1]]
        for block in params["blocks"]:
            x = block_fn(block, x)
        logits = (layer_norm(params["norm"], x).astype(kind) @ params["head"].astype(kind)).astype(jnp.float32)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        return losses.mean() if not padded else losses.mean(where=targets >= 0)

    @partial(jax.jit, donate_argnums=(0, 1))
    def train_step(params, state, ids, targets):
        loss, grads = jax.value_and_grad(loss_fn)(params, ids, targets)
        updates, state = opt.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    state = opt.init(params)
    batches = [(jnp.array(x), jnp.array(y)) for x, y in problem.batches]
    if padded:  # to the longest text there may be
        full = [((0, 0), (0, BLOCK - x.shape[1])) for x, _ in batches]
        batches = [(jnp.pad(x, p), jnp.pad(y, p, constant_values=-1)) for (x, y), p in zip(batches, full, strict=True)]

    def step(i):
        nonlocal params, state
        x, y = batches[i % len(batches)]
        params, state, loss = train_step(params, state, x, y)
        return loss

    return step


GPT = Workload(
    "gpt",
    "4 layers, 128 wide, 4 heads, block 128, batch 8, AdamW, cosine schedule, clipping",
    problem,
    torch_loop,
    {"jax": jax_loop},
)

GPT_BF16 = Workload(
    "gpt_bf16",
    "the same with products in bfloat16, by autocast",
    problem,
    partial(torch_loop, lower=True),
    {"jax": partial(jax_loop, lower=True)},
    tolerance=2e-2,
)

GPT_TEXTS = Workload(
    "gpt_texts",
    "gpt over texts of 16 to 128 characters, another length at each step",
    texts,
    torch_loop,
    {"jax": partial(jax_loop, padded=True)},
)

GPT_COMPILED = Workload(
    "gpt_compiled",
    "gpt, the whole step behind torch.compile",
    problem,
    partial(torch_loop, whole=True),
    {"jax": jax_loop},
)
