"""A sum that rests on many operations is stored: kernels of a deep network do not go back to its first layer."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.engine import fused, regions


def branches(depth: int, width: int = 64) -> int:
    """How many results the step of a residual network stores, forward and backward."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(width, width) for _ in range(depth)]
    x = torch.randn(64, width)
    before = set(map(id, fused._pieces.values()))
    y = x.clone().requires_grad_()
    start = y
    for layer in layers:
        y = y + torch.tanh(layer(y) * 0.5)
    y.square().mean().backward()
    assert start.grad.shape == x.shape and start.grad.isfinite().all()
    texts = [p.run.as_text() for p in fused._pieces.values() if id(p) not in before]
    return max(text.count(" conditional(") for text in texts)


def test_long_chains_are_stored_in_between(tier):
    tier("fused")
    assert branches(1) <= 1
    assert 4 <= branches(6) <= 12


def test_small_arrays_are_not(tier):
    tier("fused")
    assert branches(6, width=32) == 0


def test_what_is_stored_is_unchanged(tier):
    """Also where it is not finite: the branch is taken whatever the numbers are."""
    found = {}
    for how in ("fused", "interpret"):
        tier(how)
        x = torch.linspace(-2, 2, 64 * 64).reshape(64, 64).clone().requires_grad_()
        y = x
        for k in range(12):
            y = y + torch.sin(y * 0.5) * 0.1
            if k == 6:
                y = y / torch.where(x.detach() > 1.9, 0.0, 1.0) + torch.where(x.detach() < -1.9, float("nan"), 0.0)
        y.nan_to_num(0.0, 7.0, -7.0).sum().backward()
        found[how] = y.detach(), x.grad
    for a, b in zip(found["fused"], found["interpret"], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("pick", [
    lambda h: h.amax(1, keepdim=True), lambda h: h.max(1, keepdim=True)[0], lambda h: h.amin((1, 2), keepdim=True),
    lambda h: nn.functional.adaptive_max_pool1d(h.transpose(1, 2), 2).mean(2)[:, None],
    lambda h: h * (h == h.detach().amax(1, keepdim=True)),
], ids=["amax", "max", "amin", "pooling", "comparison"])  # fmt: skip
@pytest.mark.parametrize("how", ["fused", "ops"])
def test_what_is_compared_with_its_own_largest_element_is_one_array(pick, how, tier, monkeypatch):
    """A kernel that computes it again may round otherwise: then no element is the largest one, and gets a gradient."""

    def gradient(seed):
        rng = np.random.default_rng(seed)
        table = torch.tensor(rng.normal(size=(11, 8)).astype("f"), requires_grad=True)
        words, x = torch.tensor(rng.integers(0, 11, (3, 6))), torch.tensor(rng.normal(size=(3, 6, 8)).astype("f"))
        h = nn.functional.embedding(words, table) + x * 0.5
        h = h - h.logsumexp(1, keepdim=True) * 0.1
        h = h.masked_fill(words[:, :, None] % 3 == 0, 0.0)
        h = (h + pick(h)).tanh().tanh().exp()
        h.square().mean().backward()
        return table.grad.numpy()

    monkeypatch.setattr(regions, "MET", 0)  # in pieces, where there is not one program
    for seed in range(4):
        tier(how)
        mine = gradient(seed)
        tier("interpret")
        np.testing.assert_allclose(mine, gradient(seed), rtol=1e-4, atol=1e-5)


def test_so_it_is_in_the_rounds_of_a_loop(tier):
    def gradient():
        rng = np.random.default_rng(0)
        table = torch.tensor(rng.normal(size=(11, 8)).astype("f"), requires_grad=True)
        words, x = torch.tensor(rng.integers(0, 11, (12, 6))), torch.tensor(rng.normal(size=(12, 6, 8)).astype("f"))
        state, loss = torch.zeros(6, 8), 0
        for k in range(12):
            h = nn.functional.embedding(words[k], table) + x[k] * 0.5 + state * 0.1
            h = (h - h.logsumexp(0, keepdim=True) * 0.1).masked_fill(words[k][:, None] % 3 == 0, 0.0)
            state = h + h.amax(0, keepdim=True) * 0.3
            loss = loss + state.square().mean()
        loss.backward()
        return table.grad.numpy()

    tier("fused")
    mine = gradient()
    tier("interpret")
    np.testing.assert_allclose(mine, gradient(), rtol=1e-3, atol=1e-5)
