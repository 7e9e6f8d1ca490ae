"""Traces in several forms of which hardly one came twice: the next is evaluated by NumPy, if that is quick, once."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine import evaluators, interpret, policy
from pytorchlike.engine.config import config
from pytorchlike.engine.interpret import Missing
from pytorchlike.engine.stats import stats


@pytest.fixture(autouse=True)
def _auto(monkeypatch):
    monkeypatch.setattr(config, "tier", "auto")
    monkeypatch.setattr(policy, "SMALL", 10)
    policy.reset()
    yield
    policy.reset()


def training(activation=torch.nn.Tanh, width=24):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(width, 4 * width), activation(), torch.nn.Linear(4 * width, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(n):
        x = torch.from_numpy(np.random.default_rng(n).standard_normal((n, width), np.float32))
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return model, step


def test_other_sizes_are_not_compiled_one_by_one_and_the_numbers_are_the_same(monkeypatch):
    sizes = (34, 21, 55, 43)
    model, step = training()
    compiled = []
    for n in sizes:
        before = stats.compiles
        step(n)
        compiled.append(stats.compiles > before)
    assert compiled[:3] == [True, True, False]

    monkeypatch.setattr(config, "tier", "fused")
    again, step = training()
    for n in sizes:
        step(n)
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_texts_of_other_lengths_are_not_compiled_from_the_second_on_but_smaller_batches_are(monkeypatch):
    model = torch.nn.GRU(6, 12, batch_first=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def compiles(*shape):
        before = stats.compiles
        optimizer.zero_grad()
        model(torch.from_numpy(np.ones(shape, np.float32)))[0].square().mean().backward()
        optimizer.step()
        return stats.compiles > before

    assert compiles(4, 5, 6) and compiles(3, 5, 6)
    policy.reset()
    assert compiles(5, 7, 6) and not compiles(5, 9, 6)


def test_what_takes_too_long_is_given_up_for_good_and_nothing_of_it_happens_twice(monkeypatch):
    model, step = training(torch.nn.Sigmoid)
    for n in (31, 23):
        step(n)
    monkeypatch.setattr(policy, "budget", lambda state: 1e-4)
    monkeypatch.setattr(evaluators.AtFirst, "_pay", too_dear := _Noted(evaluators.AtFirst._pay))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    step(52)
    assert too_dear.raised
    too_dear.raised = False
    then = {k: v.clone() for k, v in model.state_dict().items()}
    step(71)
    assert not too_dear.raised
    model.load_state_dict(then)

    monkeypatch.setattr(config, "tier", "fused")
    other, again = training(torch.nn.Sigmoid)
    other.load_state_dict(before)
    again(52)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-6)


class _Noted:
    """A method that notes whether it raised."""

    def __init__(self, method):
        self.method, self.raised = method, False

    def __get__(self, owner, kind=None):
        return lambda *args: self(owner, *args)

    def __call__(self, *args):
        try:
            return self.method(*args)
        except evaluators.TooDear:
            self.raised = True
            raise


def test_what_numpy_turns_out_not_to_have_is_compiled(monkeypatch):
    def missing(plan, leaves):
        raise Missing("not today")

    model, step = training(torch.nn.ELU)
    for n in (33, 24):
        step(n)
    monkeypatch.setattr(interpret, "_run", missing)
    runs = stats.op_runs
    assert np.isfinite(step(41)) and stats.op_runs > runs


def test_a_bad_index_changes_nothing_there_either():
    model, _ = training(width=4)
    table = torch.nn.Embedding(10, 4)
    optimizer = torch.optim.Adam([*model.parameters(), *table.parameters()], lr=0.1)

    def step(index):
        optimizer.zero_grad()
        model(table(index + torch.zeros((), dtype=torch.long))).square().mean().backward()
        optimizer.step()

    for n in (5, 3):
        step(torch.tensor(list(range(n))))
    before = [p.detach().numpy().copy() for p in (*model.parameters(), *table.parameters())]
    runs = stats.op_runs
    with pytest.raises(IndexError):
        step(torch.tensor([4, 5, 6, 7, 8, 9, 10]))
        model(table(torch.tensor([1]))).sum().item()
    assert stats.op_runs > runs
    for p, b in zip((*model.parameters(), *table.parameters()), before, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), b)


def routed(experts=3, width=32):
    """A router gives each expert as many rows as it chooses."""
    torch.manual_seed(0)
    model = torch.nn.ModuleList([torch.nn.Linear(width, width) for _ in range(experts)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rng = np.random.default_rng(0)

    def step():
        x = torch.from_numpy(rng.standard_normal((80, width), np.float32))
        choice = torch.from_numpy(rng.integers(0, experts, 80))
        found = torch.zeros_like(x)
        for k, expert in enumerate(model):
            (rows,) = torch.where(choice == k)
            found = found.index_add(0, rows, expert(x[rows]).tanh())
        optimizer.zero_grad()
        loss = found.square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return model, step


def test_sizes_that_data_tells_are_not_compiled_from_the_first(monkeypatch):
    """They differ next time; what has cost enough then gets a program for all sizes, whose rooms are alike."""
    from pytorchlike.engine import padded

    made = []
    monkeypatch.setattr(padded.Compiled, "__init__", _noting_sizes(padded.Compiled.__init__, made))
    model, step = routed()
    stats.log.clear()
    losses = [step(), step()]
    assert max(e.operations for e in stats.log) < 20  # what finds the rows, and no step
    while not made and len(losses) < 100:
        losses.append(step())
    assert made
    losses += [step() for _ in range(3)]
    monkeypatch.setattr(config, "tier", "fused")
    again, other = routed()
    np.testing.assert_allclose([other() for _ in losses], losses, rtol=1e-4)
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-3, atol=1e-5)


def _noting_sizes(init, made):
    def noted(self, form, sizes, why):
        init(self, form, sizes, why)
        made.append(sizes)

    return noted


def test_sizes_that_data_tells_alike_are_compiled_at_once():
    """A mask of the training nodes of a graph is the same at each step."""
    torch.manual_seed(0)
    model = torch.nn.Linear(32, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, mask = torch.randn(60, 32), torch.arange(60) % 3 == 0

    def step():
        optimizer.zero_grad()
        model(x)[mask].square().mean().backward()
        optimizer.step()

    before = stats.compiles
    step(), step()
    assert stats.compiles > before
    before = stats.compiles
    step(), step()
    assert stats.compiles == before


def test_rooms_for_sizes_that_are_not_far_apart_are_alike():
    from pytorchlike.engine.padded import _alike

    assert _alike((120, 200, 104, 240, 3, 90, 4)) == (240, 240, 104, 240, 4, 104, 4)


def deep():
    torch.manual_seed(0)
    return torch.nn.Sequential(*[torch.nn.Sequential(torch.nn.Linear(12, 12), torch.nn.Tanh()) for _ in range(12)])


def compiled_by(run):
    before = stats.compiles
    run()
    return stats.compiles - before


def test_a_model_that_is_only_looked_at_is_not_compiled_for_that():
    """What is called twice gives the same bits; what is called again is compiled after all, and agrees."""
    model, x = deep(), torch.linspace(-1, 1, 60).reshape(5, 12)
    found = []

    def run():
        model.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        found.append([loss.item(), *[p.grad.numpy().copy() for p in model.parameters()]])

    assert [compiled_by(run) for _ in range(3)] == [0, 0, 1]
    for first, second, third in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, third, rtol=1e-4, atol=1e-7)


def test_what_is_trained_is_compiled_at_first_sight():
    """A run that is resumed goes through the same programs."""
    model, x = deep(), torch.linspace(-1, 1, 60).reshape(5, 12)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def run():
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()

    assert compiled_by(run) > 0
    policy.reset()  # as in a program without an optimizer

    def by_hand():
        model.zero_grad()
        model(x).square().sum().backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
        model[0][0].bias.sum().item()

    assert compiled_by(by_hand) > 0
