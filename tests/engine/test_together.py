"""Reverse passes over many executed traces, the equal ones of each level as one call."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.engine import policy as engine_policy
from pytorchlike.engine import together
from pytorchlike.engine.config import config


@pytest.fixture
def carried(monkeypatch):
    """How many parts were gone through in each pass; each kind is stacked at first sight."""
    found = []
    carry = together.carry

    def counted(parts, given):
        found.append(len(parts))
        return carry(parts, given)

    monkeypatch.setattr(together, "carry", counted)
    monkeypatch.setattr(together, "MET", 1)
    monkeypatch.setattr(config, "tier", "auto")
    monkeypatch.setattr(engine_policy, "training", True)
    return found


def policy(dropout=0.0, dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Dropout(dropout), nn.Tanh(), nn.Linear(8, 2)).to(dtype)


def episode(net, length, seed=0, keep=None, dtype=torch.float32):
    """The loss of an episode whose every step was read."""
    rng = np.random.default_rng(seed)
    kept = []
    for k in range(length):
        log_probs = torch.log_softmax(net(torch.from_numpy(rng.standard_normal((1, 3))).to(dtype)), dim=1)
        action = int(log_probs[0, 1].exp().item() > 0.5)
        kept.append(log_probs[0, action] * (k + 1))
        if keep is not None:
            keep(k, log_probs)
    return torch.stack(kept).sum()


def grads_of(net):
    return [p.grad.clone() for p in net.parameters()]


def expected(run, tier="ops"):
    """What the plain walk gives."""
    before, config.tier = config.tier, tier
    try:
        return run()
    finally:
        config.tier = before


def same(found, wanted, rel=1e-5):
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=rel, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_an_episode_has_the_gradients_of_the_plain_walk(carried, dropout):
    def run():
        net = policy(dropout)
        torch.manual_seed(1)
        for length in (11, 30, 3):  # the last is too short to be laid out
            episode(net, length).backward()
        return grads_of(net)

    found = run()
    assert carried == [21, 59]
    same(found, expected(run))


def test_episodes_of_ever_other_lengths_share_their_programs(carried, monkeypatch):
    net = policy()

    def backward(length):
        episode(net, length).backward()
        [p.grad.sum().item() for p in net.parameters()]

    for length in (9, 20):
        backward(length)
    made = []
    monkeypatch.setattr(together.Stack, "_compiled", lambda self: made.append(self))
    for length in (10, 12, 17, 25, 31):
        backward(length)
    assert len(carried) == 7 and not made


def test_what_rests_on_each_other_goes_level_by_level(carried):
    def tree(cell, leaves):
        states = [torch.tensor([[float(k), 1.0, -1.0]]) for k in range(leaves)]
        while len(states) > 1:
            states = [
                cell(torch.cat(states[k : k + 2], 1)) if k + 1 < len(states) else states[k]
                for k in range(0, len(states), 2)
            ]
            [s.sum().item() for s in states]  # each node is a program of its own
        return states[0]

    def run():
        torch.manual_seed(0)
        cell = nn.Sequential(nn.Linear(6, 3), nn.Tanh())
        tree(cell, 16).pow(2).sum().backward()
        return grads_of(cell)

    found = run()
    assert carried == [15]
    same(found, expected(run))


def test_a_chain_is_left_to_the_plain_walk(carried):
    w = torch.tensor(0.9, requires_grad=True)
    x = torch.tensor(1.0)
    for _ in range(20):
        x = x * w
        x.item()
    x.backward()
    assert not carried
    assert w.grad.item() == pytest.approx(20 * 0.9**19)


def test_gradients_add_to_those_that_were_there_and_to_those_of_what_is_pending(carried):
    def run():
        net = policy()
        net(torch.ones(1, 3)).sum().backward()
        loss = episode(net, 12) + net(torch.ones(1, 3)).square().sum()
        loss.backward()
        return grads_of(net)

    found = run()
    assert carried
    same(found, expected(run))


def test_the_graph_is_kept_if_asked_and_given_up_otherwise(carried):
    net = policy()
    loss = episode(net, 10)
    loss.backward(retain_graph=True)
    once = grads_of(net)
    loss.backward()
    same(grads_of(net), [2 * g for g in once])
    assert len(carried) == 2
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_hooks_see_every_cotangent(carried):
    net, seen = policy(), []

    def keep(k, log_probs):
        if k == 4:
            log_probs.register_hook(lambda g: seen.append(g.clone()) or 2 * g)

    episode(net, 12, keep=keep).backward()
    assert len(seen) == 1 and not carried

    def run():
        net = policy()
        episode(net, 12, keep=lambda k, p: p.register_hook(lambda g: 2 * g) if k == 4 else None).backward()
        return grads_of(net)

    same(grads_of(net), expected(run))


def test_hooks_of_leaves_run_once(carried):
    net, seen = policy(), []
    for p in net.parameters():
        p.register_hook(lambda g: seen.append(tuple(g.shape)))
    episode(net, 12).backward()
    assert carried and seen == [(2,), (2, 8), (8,), (8, 3)]


def test_weights_that_changed_in_between_are_told_apart(carried):
    """Of two leaves that took turns, each gets its own sum; one that was replaced in place has one accumulator."""
    def run():
        a, b = (torch.tensor([[1.0, 2.0]], requires_grad=True) for _ in range(2))
        total = torch.tensor(0.0)
        kept = []
        for k in range(16):
            y = ((a if k % 3 else b) * (k + 1)).tanh()
            y.sum().item()
            kept.append(y)
            if k == 7:
                with torch.no_grad():
                    a.data = a.data * 1.5
        total = torch.cat(kept).sum()
        total.backward()
        return [a.grad.clone(), b.grad.clone()]

    found = run()
    assert carried
    same(found, expected(run))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.complex64])
def test_dtypes(carried, dtype):
    def run():
        torch.manual_seed(0)
        w = torch.randn(3, 2).to(dtype).requires_grad_()
        kept = []
        for k in range(10):
            y = torch.sin(torch.full((1, 3), 0.1 * k).to(dtype) @ w)
            y.sum().abs().item()
            kept.append(y)
        out = torch.cat(kept)
        (out.abs().square() if dtype.is_complex else out).float().sum().backward()
        return [w.grad.clone()]

    found = run()
    assert carried and found[0].dtype == dtype
    same(found, expected(run), rel=0.02 if dtype is torch.bfloat16 else 1e-5)


def test_indices_differ_from_row_to_row(carried):
    def run():
        torch.manual_seed(0)
        table = torch.randn(7, 4, requires_grad=True)
        kept = []
        for k in range(12):
            y = torch.nn.functional.embedding(torch.tensor([k % 7, (3 * k) % 7]), table).sigmoid()
            y.sum().item()
            kept.append(y)
        torch.stack(kept).square().sum().backward()
        return [table.grad.clone()]

    found = run()
    assert carried
    same(found, expected(run))


def test_what_does_not_enter_the_loss_has_no_gradient(carried):
    net, unused = policy(), torch.ones(3, requires_grad=True)
    episode(net, 10, keep=lambda k, p: (p.sum() * unused.sum()).item()).backward()
    assert carried and unused.grad is None


def test_convolutions_with_batch_norm_in_evaluation(carried):
    def run():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                            nn.Linear(12, 2)).eval()  # fmt: skip
        rng, kept = np.random.default_rng(0), []
        for _ in range(9):
            out = net(torch.from_numpy(rng.standard_normal((1, 1, 4, 4), np.float32)))
            out.sum().item()
            kept.append(out)
        torch.cat(kept).square().sum().backward()
        return grads_of(net)

    found = run()
    assert carried
    same(found, expected(run), rel=1e-4)


def test_what_cannot_be_done_for_many_at_once_is_done_one_by_one(carried, monkeypatch):
    def refuse(self):
        raise NotImplementedError("Batching rule for 'it' not implemented")

    monkeypatch.setattr(together.Stack, "_compiled", refuse)
    monkeypatch.setattr(together, "_refused", set())

    def run():
        net = nn.Sequential(nn.Linear(3, 7), nn.Sigmoid(), nn.Linear(7, 2))
        with torch.no_grad():
            for k, p in enumerate(net.parameters()):
                p.copy_(torch.linspace(-1, 1, p.numel()).reshape(p.shape) * (k + 1))
        episode(net, 10).backward()
        return grads_of(net)

    found = run()
    assert carried and together._refused
    same(found, expected(run))


def test_large_leaves_that_differ_from_part_to_part_are_not_stacked(carried, monkeypatch):
    def run():
        torch.manual_seed(0)
        leaves = [torch.randn(3, 2, requires_grad=True) for _ in range(10)]
        kept = []
        for w in leaves:
            y = (torch.ones(1, 3) @ w).tanh()
            y.sum().item()
            kept.append(y)
        torch.cat(kept).square().sum().backward()
        return [w.grad for w in leaves]

    monkeypatch.setattr(together, "LARGEST", 64)
    made = []
    monkeypatch.setattr(together, "_stacked", lambda *given: made.append(given))
    found = run()
    assert carried and not made
    same(found, expected(run))


def test_large_ones_are_left_to_the_plain_walk(carried, monkeypatch):
    monkeypatch.setattr(together, "BIG", 16)
    episode(policy(), 12).backward()
    assert not carried
