"""Updates whose gradients are there already: their program is called without the update being recorded."""

import copy

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine import shortcut

MANY = 40


@pytest.fixture
def calls(monkeypatch):
    """How often a program was called without recording."""
    found = []
    run = shortcut.Shortcut.run

    def counted(self, *args):
        result = run(self, *args)
        found.append(result is not None)
        return result

    monkeypatch.setattr(shortcut.Shortcut, "run", counted)
    return found


def training(kind, **options):
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(3)) for _ in range(MANY)]
    opt = kind(params, lr=0.1, **options)

    def step():
        opt.zero_grad()
        loss = sum((p * p).sum() for p in params)
        loss.backward()
        float(params[0].grad[0])  # which executes what was recorded
        opt.step()

    return params, opt, step


def numbers(params):
    return [p.detach().tolist() for p in params]


@pytest.mark.parametrize("kind, options", [
    (torch.optim.SGD, {}), (torch.optim.SGD, {"momentum": 0.9}), (torch.optim.AdamW, {}),
], ids=["sgd", "momentum", "adamw"])  # fmt: skip
def test_it_gives_what_the_recorded_update_gives(kind, options, calls, tier):
    params, _, step = training(kind, **options)
    for _ in range(8):
        step()
    assert any(calls)
    got = numbers(params)
    tier("ops")
    params, _, step = training(kind, **options)
    for _ in range(8):
        step()
    np.testing.assert_allclose(got, numbers(params), rtol=1e-6)


def test_copies_and_earlier_results_keep_their_values(calls):
    params, opt, step = training(torch.optim.AdamW)
    for _ in range(5):
        step()
    model, state = copy.deepcopy(params), copy.deepcopy(opt.state_dict())
    shown, doubled = numbers(params), [2 * p.detach() for p in params]  # the last are not computed yet
    moments = [s["exp_avg"].tolist() for s in state["state"].values()]
    for _ in range(3):
        step()
    assert any(calls[-3:])
    assert numbers(model) == shown
    np.testing.assert_allclose([d.tolist() for d in doubled], 2 * np.array(shown), rtol=1e-6)
    assert [s["exp_avg"].tolist() for s in state["state"].values()] == moments
    assert {float(s["step"]) for s in state["state"].values()} == {5.0}
    assert {float(s["step"]) for s in opt.state_dict()["state"].values()} == {8.0}
    assert numbers(params) != shown


def test_gradients_and_rates_may_change(calls):
    params, opt, step = training(torch.optim.SGD, momentum=0.0)
    for _ in range(5):
        step()
    before = numbers(params)
    for p in params:
        p.grad.fill_(1.0)
    float(params[0].grad.sum())
    opt.param_groups[0]["lr"] = 0.5
    opt.step()
    np.testing.assert_allclose(numbers(params), np.array(before) - 0.5, rtol=1e-5, atol=1e-6)
    params[3].grad = None
    float(params[0].grad.sum())
    before = numbers(params)
    opt.step()
    changed = [a != b for a, b in zip(numbers(params), before, strict=True)]
    assert changed == [k != 3 for k in range(MANY)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_loses_nothing(when, calls, monkeypatch):
    params, _, step = training(torch.optim.AdamW)
    for _ in range(6):
        step()
    run_into = shortcut.run_into

    def interrupted(results, run, args):
        if when == "after":
            run_into(results, run, args)
        raise KeyboardInterrupt

    assert calls[-1]
    before = numbers(params)
    with monkeypatch.context() as patch:
        patch.setattr(shortcut, "run_into", interrupted)
        with pytest.raises(KeyboardInterrupt):
            step()
    assert (numbers(params) != before) == (when == "after")
    step()
    assert np.isfinite(numbers(params)).all()


def test_what_is_pending_is_not_lost(calls):
    params, opt, step = training(torch.optim.SGD)
    for _ in range(5):
        step()
    first = params[0].detach().clone().tolist()
    for _ in range(4):
        pending = params[0].detach() + 1
        opt.step()  # with the gradients of the last step
        np.testing.assert_allclose(pending.tolist(), np.array(first) + 1, rtol=1e-6)
        first = params[0].detach().clone().tolist()
    assert calls[-1]
