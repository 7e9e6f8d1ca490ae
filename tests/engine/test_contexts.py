"""The first round of a training loop is served by the same program as the later ones, whatever came before the loop."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.engine import contexts, flush, stats

F = nn.functional


def places(fn, *args):
    """The contexts in which ``fn`` called what it was given."""
    seen = []
    fn(lambda: seen.append(contexts.here()), *args)
    return seen


def test_what_was_before_a_loop_is_told_from_what_is_in_it():
    def inside(note):
        note()

    def program(note):
        note()
        for _ in range(2):
            note()
            if _ == 0:
                inside(note)
        note()

    before, first, within, second, after = places(program)
    assert contexts.before_loop(before, first)
    assert contexts.before_loop(before, within)
    assert not contexts.before_loop(first, second)
    assert not contexts.before_loop(first, within)
    assert not contexts.before_loop(before, after)
    assert first is second


def test_a_loop_in_a_function_called_later_counts_and_one_that_has_ended_does_not():
    def train(note):
        for _ in range(1):
            note()

    def prepare(note):
        for _ in range(1):
            note()

    def program(note):
        prepare(note)
        train(note)

    made, used = places(program)
    assert contexts.before_loop(made, used)

    def straight(note):
        prepare(note)
        note()

    made, used = places(straight)
    assert not contexts.before_loop(made, used)


def test_the_loops_of_a_model_are_not_those_of_the_program():
    class Layers(nn.Module):
        def forward(self, note):
            for _ in range(2):
                note()

    def program(note):
        note()
        Layers()(note)

    before, first, _ = places(program)
    assert not contexts.before_loop(before, first)
    assert first.model and not before.model


def test_rounds_of_a_loop():
    def program(note):
        for _ in range(2):
            note()
            for _ in range(2):
                note()
            note()

    top, inner, again, end, next_top, *_ = places(program)
    assert contexts.turns(end, next_top) and contexts.turns(inner, next_top)
    assert not contexts.turns(top, end) and not contexts.turns(top, inner)
    assert inner is again and not contexts.turns(inner, again)


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def train(net, opt, x, y):
    loss = F.cross_entropy(net(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss


def data_made_before():
    net = mlp()
    opt = torch.optim.Adam(net.parameters())
    x, y = torch.randn(12, 6), torch.randint(0, 3, (12,))
    for _ in range(4):
        yield train(net, opt, x, y)


def data_normalised_before():
    net = mlp()
    opt = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    x, y = torch.tensor(np.arange(72.0, dtype="f").reshape(12, 6)), torch.arange(12) % 3
    x = (x - x.mean(0)) / x.std(0)
    for _ in range(4):
        yield train(net, opt, x, y)


def a_hidden_state_made_before():
    cell, head = nn.GRUCell(6, 6), nn.Linear(6, 3)
    opt = torch.optim.SGD([*cell.parameters(), *head.parameters()], 0.1)
    x, y, h = torch.randn(12, 6), torch.arange(12) % 3, torch.zeros(12, 6)
    for _ in range(4):
        h = cell(x, h.detach())
        yield train(head, opt, h, y)


def minibatches():
    net = mlp()
    opt = torch.optim.Adam(net.parameters())
    x, y = torch.randn(48, 6), torch.randint(0, 3, (48,))
    for _ in range(2):
        order = torch.randperm(48)
        for start in range(0, 48, 12):
            rows = order[start : start + 12]
            yield train(net, opt, x[rows], y[rows])


class Rotated(nn.Module):
    """Makes a table and a mask when it is called first, and keeps them."""

    def __init__(self):
        super().__init__()
        self.inner, self.out, self.table = nn.Linear(6, 6), nn.Linear(6, 3), None

    def forward(self, x):
        if self.table is None:
            at = torch.arange(12).float()
            self.table = torch.outer(at, 1 / (10 ** (torch.arange(6) / 6))).cos()
            self.mask = torch.tril(torch.ones(12, 12))
        h = self.inner(x) * self.table
        return self.out((h @ h.T).masked_fill(self.mask == 0, -1e9).softmax(-1) @ h)


def a_model_with_a_cache():
    net = Rotated()
    opt = torch.optim.Adam(net.parameters())
    for _ in range(4):
        x, y = torch.tensor(np.ones((12, 6), "f")), torch.tensor(np.arange(12) % 3)
        yield train(net, opt, x, y)


def a_mean_of_the_weights():
    net = mlp()
    mean = copy.deepcopy(net)
    opt = torch.optim.Adam(net.parameters())
    x, y = torch.randn(12, 6), torch.randint(0, 3, (12,))
    for _ in range(4):
        with torch.no_grad():
            target = mean(x).softmax(-1)
        loss = F.cross_entropy(net(x), y) + F.mse_loss(net(x).softmax(-1), target)
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            for a, b in zip(mean.parameters(), net.parameters(), strict=True):
                a.mul_(0.9).add_(b, alpha=0.1)
        yield loss


def an_executed_part_of_the_graph():
    """The second network's pass goes back through what ran with the first one's step."""
    maker, judge = mlp(), nn.Linear(3, 1)
    first, second = torch.optim.SGD(judge.parameters(), 0.1), torch.optim.SGD(maker.parameters(), 0.1)
    real = torch.randn(12, 3)
    for _ in range(4):
        judge.zero_grad()
        made = maker(torch.randn(12, 6))
        (judge(made.detach()) - judge(real)).mean().backward()
        first.step()
        maker.zero_grad()
        loss = -judge(made).mean()
        loss.backward()
        second.step()
        yield loss


LOOPS = {
    data_made_before: 1, data_normalised_before: 1, a_hidden_state_made_before: 1, minibatches: 1,
    a_model_with_a_cache: 1, a_mean_of_the_weights: 1, an_executed_part_of_the_graph: 2,
}  # fmt: skip


@pytest.mark.parametrize("loop", LOOPS, ids=lambda f: f.__name__)
def test_all_rounds_are_the_same_programs(loop, tier, untouched):
    from pytorchlike.engine import fused

    tier("auto")
    steps = []

    def noted(graph, schedule, entries, *rest):
        before = stats.compiles
        part = build(graph, schedule, entries, *rest)
        if stats.compiles > before and any(getattr(e, "op", None) and e.op.name.startswith("optim") for e in entries):
            steps.append(part)
        return part

    build, fused._part = fused._part, noted
    try:
        torch.manual_seed(0)
        losses = [loss.item() for loss in loop()]
    finally:
        fused._part = build
    assert len(steps) == LOOPS[loop]
    tier("ops")
    flush("the other executor")
    torch.manual_seed(0)
    assert np.allclose(losses, [loss.item() for loss in loop()], rtol=2e-4, atol=1e-6)


def test_what_a_part_takes_of_an_earlier_one_may_be_updated_in_place(tier, untouched):
    """Its memory is given to the second program; what else rests on it keeps its value."""
    tier("auto")
    state = torch.zeros(5)
    view = state[:2]
    kept = state + 1
    for _ in range(3):
        w = torch.ones(5, requires_grad=True)
        (w * state).sum().backward()
        state += w.grad + 1
        state.sum().item()
    assert kept.tolist() == [1.0] * 5
    assert view.tolist() == [7.0] * 2 and state.tolist() == [7.0] * 5


def test_a_failed_check_leaves_what_was_made_before_the_loop(tier, untouched):
    tier("auto")
    table = nn.Embedding(4, 3)
    opt = torch.optim.SGD(table.parameters(), 0.1)
    weight = table.weight.detach().clone()
    rows = torch.arange(4) + 1
    with pytest.raises(IndexError, match="out of range"):
        for _ in range(2):
            opt.zero_grad()
            table(rows).sum().backward()
            opt.step()
            weight.sum().item()
    assert rows.tolist() == [1, 2, 3, 4]
    assert torch.equal(table.weight.detach(), weight)


def test_reverse_passes_of_the_same_structure_keep_their_shapes(tier):
    """Also those that go through no operation at all, where nothing but what comes out tells of a shape."""
    tier("auto")
    for n in (3, 4, 5):
        x = torch.ones(n, requires_grad=True)
        y = x * 2
        y.sum().item()
        (g,) = torch.autograd.grad(y, y, torch.ones(n))
        assert g.shape == (n,) and g.tolist() == [1.0] * n
        (g,) = torch.autograd.grad(y, x, torch.ones(n))
        assert g.shape == (n,) and g.tolist() == [2.0] * n


def test_what_a_model_looks_at_while_it_is_made_does_not_slow_down_its_steps():
    """Programs of a few calls that never come again do not make a training loop look like one of ever other graphs."""
    x = torch.linspace(0.1, 1, 5)
    for look in (torch.sin, torch.exp, torch.max, torch.prod, torch.std, torch.argmin, torch.logcumsumexp):
        float((look(x, 0) if look is torch.logcumsumexp else look(x)).sum())
    net = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5), nn.Linear(5, 5), nn.BatchNorm1d(5))
    opt = torch.optim.Adam(net.parameters())
    x = torch.randn(3, 5)
    before = stats.op_runs
    for _ in range(3):
        loss = net(x).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    assert stats.op_runs == before
