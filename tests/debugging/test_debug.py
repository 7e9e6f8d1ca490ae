"""Executing operations at once, and finding NaN and infinities: the same results, and errors at the user's line."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import traceback

import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike import nn
from pytorchlike.utils.checkpoint import checkpoint


@pytest.fixture(autouse=True)
def _switched_off():
    yield
    torch.set_debug()


def line() -> int:
    """The caller's line."""
    return inspect.currentframe().f_back.f_lineno


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


def train():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Dropout(0.3), nn.Linear(4, 3, bias=False))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2, momentum=0.5)
    x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
    for _ in range(2):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y) + Cube.apply(net[1].weight).sum()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return [loss.detach(), *net.state_dict().values()]


def test_training_is_the_same():
    plain = train()
    with torch.set_debug("eager"):
        assert torch.get_debug() == ("eager",)
        assert not (torch.ones(2) + 1)._value.trace
    with torch.set_debug("nan", "inf"):
        watched = train()
    assert torch.get_debug() == () and not torch.is_anomaly_enabled()
    for a, b in zip(plain, watched, strict=True):
        torch.testing.assert_close(a, b)


def test_the_tape_when_nothing_is_pending():
    """Hooks, views, custom functions, second derivatives, checkpoints, forward-mode derivatives."""

    def run():
        seen = []
        x = torch.tensor([0.5, 1.0, 2.0], requires_grad=True)
        y = x.sin()
        y.register_hook(lambda g: seen.append(g.tolist()) or g * 2)
        z = y.clone()
        z[1:].mul_(3)
        out = checkpoint(lambda t: (Cube.apply(t) * t).sum(), z, use_reentrant=False)
        (g,) = torch.autograd.grad(out, x, create_graph=True)
        g.sum().backward()
        tangent = torch.func.jvp(lambda t: (t * t.exp()).sum(), (x.detach(),), (torch.ones(3),))[1]
        rows = torch.func.vmap(lambda t: Cube.apply(t).sum())(torch.ones(2, 3))
        return [out, g, x.grad, tangent, rows, torch.tensor(seen)]

    plain = run()
    with torch.set_debug("eager"):
        again = run()
    for a, b in zip(plain, again, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_late_errors_name_the_line_and_how_to_stand_there():
    index = torch.arange(1, 6, 4)
    here = line() + 1
    picked = torch.arange(3)[index]
    with pytest.raises(IndexError, match=rf"{os.path.basename(__file__)}:{here}; torch.set_debug\('eager'\)"):
        picked.tolist()
    assert (torch.ones(2) + 1).tolist() == [2, 2]


def test_eager_errors_are_raised_at_their_line():
    with torch.set_debug("eager"):
        index = torch.tensor([1, 5]) + 0
        with pytest.raises(IndexError, match="out of bounds") as error:
            here = line() + 1
            torch.arange(3)[index]
            raise AssertionError("not reached")
    frames = [f.lineno for f in traceback.extract_tb(error.value.__traceback__) if f.filename == __file__]
    assert frames == [here] and "set_debug" not in str(error.value)


def test_nan_names_operation_inputs_and_line():
    x = torch.tensor([4.0, -1.0])
    with torch.set_debug("nan"):
        here = line() + 2
        with pytest.raises(RuntimeError) as error:
            x.sqrt()
        told = str(error.value)
        assert told.startswith("sqrt returned 1 nan among 2 values of float32[2], the first at [1]. None of its inputs")
        assert "float32[2] from -1 to 4" in told and told.endswith(f"{os.path.basename(__file__)}:{here}")
        with pytest.raises(RuntimeError, match="add returned 1 nan .* Input 1 has nan already"):
            x + torch.tensor([1.0, float("nan")])
        with pytest.raises(RuntimeError, match="softmax returned 2 nan"):
            x.masked_fill(x < 5, float("-inf")).softmax(0)
    assert x.sqrt().isnan().tolist() == [False, True]


def test_what_is_meant_is_not_objected_to():
    with torch.set_debug("nan", "inf"):
        a = torch.full((3,), float("nan"))
        assert a[1:].isnan().all() and torch.nan_to_num(a).tolist() == [0, 0, 0]
        assert torch.zeros(2).masked_fill(torch.tensor([True, False]), float("-inf")).softmax(0).tolist() == [0, 1]


@pytest.mark.filterwarnings("ignore:Error detected in")
def test_nan_in_a_backward_pass():
    with torch.set_debug("nan"):
        x = torch.zeros(2, requires_grad=True)
        here = line() + 1
        y = x.sqrt()
        with pytest.raises(RuntimeError, match=rf"'SqrtBackward0' returned nan .*:{here}\)"):
            (y * 0).sum().backward()


def test_infinities():
    with torch.set_debug("inf"):
        with pytest.raises(RuntimeError, match=r"div returned 1 inf among 2 values"):
            torch.ones(2) / torch.tensor([1.0, 0.0])
        inf = torch.tensor([float("inf"), 1.0])
        assert (inf + 1).tolist() == [float("inf"), 2]  # it was there before
        assert (torch.zeros(1) / 0).isnan().item()


def test_anomaly_mode_is_put_back():
    with torch.autograd.set_detect_anomaly(True):
        with torch.set_debug("nan"):
            assert torch.is_anomaly_enabled()
        assert torch.is_anomaly_enabled()
    assert not torch.is_anomaly_enabled()
    torch.set_debug("nan")
    torch.set_debug("eager")
    assert torch.get_debug() == ("eager",) and not torch.is_anomaly_enabled()


def test_unknown_names():
    with pytest.raises(ValueError, match="unknown 'fast'; choose from 'eager', 'nan', 'inf'"):
        torch.set_debug("fast")


def test_environment():
    code = "import pytorchlike as torch; print(torch.get_debug()); x = torch.tensor([1, 0.0]); x.log(); 1 / x"
    env = {**os.environ, "PYTORCHLIKE_DEBUG": "eager,inf", "TORCH_LOGS": "recompiles"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "('eager', 'inf')"
    assert "RuntimeError: log returned 1 inf" in done.stderr and "<string>:1" in done.stderr


@pytest.mark.filterwarnings("ignore")
def test_a_debugger_does_not_change_what_is_compiled(tier):
    """An IDE shows the text of every variable and of each of its attributes; views and properties record operations."""
    from pytorchlike.engine import stats

    def look(*things):
        for t in things:
            texts.append(repr(t))
            t._repr_html_()
            for name in dir(t):
                try:
                    found = getattr(t, name)
                except (RuntimeError, AttributeError, NotImplementedError, TypeError):
                    continue
                if not callable(found):
                    repr(found)

    def step(looking):
        optimizer.zero_grad()
        hidden = net[0](x)
        if looking:
            look(hidden, net)
        loss = net[1](hidden).square().mean()
        if looking:
            look(loss)
        loss.backward()
        optimizer.step()
        return loss.item()

    tier("fused")
    texts: list[str] = []
    net = nn.Sequential(nn.Linear(4, 2), nn.Tanh())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x = torch.ones(3, 4)
    for _ in range(3):
        step(False)
    compiles, flushes = stats.compiles, stats.flushes
    shown = step(True)
    assert (stats.compiles, stats.flushes - flushes) == (compiles, 1)
    assert texts[0].endswith("grad_fn=<AddmmBackward0>)") and f"tensor({shown:.4f}, grad_fn" in texts[2]


def test_only_what_is_shown_is_fetched_from_an_accelerator(monkeypatch):
    from pytorchlike.tensor import _values, printing

    big = (torch.arange(6000.0) * 2).reshape(60, 100)
    big.sum().item()
    text = repr(big)
    fetched = []
    monkeypatch.setattr(_values, "platform_of", lambda place: "gpu")
    monkeypatch.setattr(_values, "_FETCHED", 0)
    monkeypatch.setattr(printing, "describe", lambda t, array: fetched.append(array.shape) or "shown")
    assert repr(big) == "shown" and fetched == [(6, 6)]
    monkeypatch.undo()
    monkeypatch.setattr(_values, "platform_of", lambda place: "gpu")
    monkeypatch.setattr(_values, "_FETCHED", 0)
    assert repr(big) == text
