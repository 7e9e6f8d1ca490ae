"""Kernels traced once for many sizes give what those traced for each size give, and save the tracing."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine import execute, flush, forms, interpret, trace

F = torch.nn.functional


@pytest.fixture(autouse=True)
def _anew():
    """No form is known yet, and nothing was traced."""
    anew()


def anew():
    flush("a test begins")
    execute.forget_compiled()
    for known in (forms._met, interpret._known, trace._specs):
        known.clear()


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    return {
        "weight": torch.randn(7, 5, requires_grad=True),
        "square": torch.randn(7, 7, requires_grad=True),
        "lstm": torch.nn.LSTM(5, 6, batch_first=True),
        "conv": torch.nn.Conv1d(5, 3, 3, padding=1),
    }


PROGRAMS = {
    "linear": lambda x, p: F.linear(x, p["weight"]).tanh(),
    "softmax": lambda x, p: F.softmax(x, 1) * x,
    "mean divides by a size": lambda x, p: x.mean(1),
    "cat": lambda x, p: torch.cat([x, x[:, :1]], 1),
    "two sizes that are alike": lambda x, p: (x @ x.transpose(1, 2)).tril(),
    "attention": lambda x, p: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "lstm": lambda x, p: p["lstm"](x)[0],
    "convolution": lambda x, p: p["conv"](x.transpose(1, 2)),
    "sizes as arguments": lambda x, p: x.reshape(x.shape[0], -1).view(x.shape[0], x.shape[1], 5).expand(3, -1, -1, -1),
    "arange": lambda x, p: x * torch.arange(x.shape[1]).view(-1, 1),
    "indices from the end": lambda x, p: x[:, torch.arange(x.shape[1]) - 2] * x,
    "sizes that coincide": lambda x, p: F.linear(F.linear(x, p["weight"]), p["square"]),
    "bounds": lambda x, p: x.topk(2, 1)[0].sum(1, keepdim=True) * x.max(1, keepdim=True)[0],
    "dims as arguments": lambda x, p: x.permute(1, 0, 2).permute(2, 1, 0) * x.permute(2, 0, 1),
    "slices": lambda x, p: x[:, -2:] + x[:, 1:2] + x.split([1, x.shape[1] - 1], 1)[1].sum(1, keepdim=True),
}


def results(program, parts, lengths):
    found = []
    for n in lengths:
        x = torch.from_numpy(np.random.default_rng(n).normal(size=(2, n, 5)).astype("f")).requires_grad_()
        y = program(x, parts)
        (g,) = torch.autograd.grad((y * y.detach().cos()).sum() + x.sum() * 0, x)
        found += [y.detach().numpy(), g.numpy()]
    return found


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("often", [1, 10**9], ids=["written out", "step by step"])
def test_values_and_gradients_are_those_of_each_size(name, often, parts, tier, monkeypatch):
    """Also for sizes far beyond those that the form was made for, and for small ones, which mean something else."""
    from pytorchlike.engine import policy

    tier("interpret")
    monkeypatch.setattr(interpret, "_OFTEN", often)
    monkeypatch.setattr(policy, "varies", lambda op, place: True)
    lengths = [3, 4, 6, 7, 8, 40, 2]
    found = results(PROGRAMS[name], parts, lengths)
    assert any(m.forms for m in forms._met.values())
    monkeypatch.setattr(forms, "MET", 10**9)
    monkeypatch.setattr(interpret, "_OFTEN", 10**9)
    anew()
    for a, b in zip(found, results(PROGRAMS[name], parts, lengths), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_form_is_traced_once_for_many_sizes(parts, tier, monkeypatch):
    from pytorchlike.engine import policy

    tier("interpret")
    monkeypatch.setattr(policy, "varies", lambda op, place: True)
    traces = []
    before = interpret._trace
    monkeypatch.setattr(interpret, "_trace", lambda *a: traces.append(a) or before(*a))
    with torch.no_grad():
        for n in range(53, 103):
            F.linear(torch.ones(2, n, 5), parts["weight"].detach()).tanh().sum().item()
    assert len(traces) < 40  # instead of three for each of fifty sizes


def test_layers_of_several_widths_have_forms_of_their_own(tier, monkeypatch):
    """Pooled, their widths would be symbols; in a square layer two are the same, which a form does not allow."""
    from pytorchlike.engine import policy

    tier("interpret")
    monkeypatch.setattr(policy, "varies", lambda op, place: True)
    net = torch.nn.Sequential(*[torch.nn.Linear(n, m) for n, m in ((6, 9), (9, 9), (9, 9), (9, 4))])
    traces = []
    before = interpret._trace
    monkeypatch.setattr(interpret, "_trace", lambda *a: traces.append(a) or before(*a))
    for n in range(20, 30):
        net(torch.ones(n, 6)).sum().backward()
    settled = len(traces)
    for n in range(30, 60):
        net(torch.ones(n, 6)).sum().backward()
    assert len(traces) - settled < 10  # a form is made again where sizes have outgrown it


@pytest.mark.parametrize("name", ["randn", "exponential", "randint", "dropout", "lognormal"])
def test_random_numbers_of_a_new_size_are_the_same_whoever_draws_them(name, tier, monkeypatch):
    """Where NumPy would round otherwise than XLA, XLA's functions are used, or the whole is compiled."""
    from pytorchlike.engine import policy

    draws = {
        "randn": lambda n: torch.randn(n, 3),
        "exponential": lambda n: torch.empty(n).exponential_(2.0),
        "randint": lambda n: torch.randint(0, n, (2, n)),
        "dropout": lambda n: F.dropout(torch.ones(n, 5), 0.3),
        "lognormal": lambda n: torch.empty(n).log_normal_(),
    }

    def drawn():
        for n in (5, 8, 11, 14, 17, 300):
            torch.manual_seed(n)
            yield draws[name](n).numpy().copy()

    tier("fused")
    want = list(drawn())
    anew()
    tier("auto")
    monkeypatch.setattr(policy, "choose", lambda state: "ops")
    for a, b in zip(drawn(), want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_depends_on_a_size_is_traced_for_each(tier, monkeypatch):
    """A body that decides by a size is never traced for symbols: it would take one of its ways for all."""
    from pytorchlike.engine import policy, read, record
    from pytorchlike.engine.op import Op

    from .toys import value

    tier("interpret")
    monkeypatch.setattr(policy, "varies", lambda op, place: True)
    odd = Op("odd", lambda static, args: args[0] + 1 if args[0].shape[0] % 2 else args[0] * 2)
    for n in range(3, 12):
        got = read(record(odd, (), (value(np.ones(n, np.float32)),)))
        np.testing.assert_array_equal(got, np.full(n, 2.0))
        got = read(record(odd, (), (value(np.full(n, 5, np.float32)),)))
        np.testing.assert_array_equal(got, np.full(n, 6.0 if n % 2 else 10.0))


def test_a_size_that_a_body_takes_to_be_odd_is_traced_by_itself_where_it_is_even(tier, monkeypatch):
    """JAX's gradient of `rfft` asks ``if n % 2``, which is true of any symbol; no even size was compared here."""
    tier("interpret")
    monkeypatch.setattr(forms, "MET", 3)
    for n in (5, 7, 9, 11, 8, 13, 10):
        x = torch.from_numpy(np.random.default_rng(n).normal(size=(2, n))).requires_grad_()
        kept = torch.fft.irfft(torch.fft.rfft(x), n=n)
        (g,) = torch.autograd.grad((kept * torch.arange(n)).sum(), x)
        np.testing.assert_allclose(g.numpy(), np.broadcast_to(np.arange(n), (2, n)), atol=1e-12)
    assert any(form.unlike for met in forms._met.values() for form in met.forms)


def test_numbers_that_vary_otherwise_than_sizes_stay_numbers(tier, monkeypatch):
    """A static argument that was the same as a size only by chance does not become that size."""
    from pytorchlike.engine import policy

    tier("interpret")
    monkeypatch.setattr(policy, "varies", lambda op, place: True)
    for n, shift in [(4, 4), (5, 5), (6, 6), (7, 7), (8, 3), (9, 2), (10, 11), (4, 9)]:
        x = torch.arange(n * 2).view(n, 2)
        assert torch.equal(x.roll(shift, 0), torch.tensor(np.roll(x.numpy(), shift, 0)))


def test_a_failed_check_tells_the_size_that_it_was(tier, monkeypatch):
    from pytorchlike.engine import policy

    tier("interpret")
    monkeypatch.setattr(policy, "varies", lambda op, place: True)
    rows = torch.arange(6.0)
    for n in range(3, 12):
        assert rows[:3].repeat(n)[torch.arange(n)].tolist() == (rows[:3].tolist() * n)[:n]
        with pytest.raises(IndexError, match=rf"out of bounds for dimension 0 with size {n} "):
            torch.arange(float(n)).add(0)[torch.arange(n + 1).add(0)].tolist()


def test_forms_are_not_looked_for_among_large_arrays(monkeypatch):
    """To compare one with what it stands for is to evaluate both: models with large weights would be built slowly."""
    compared = []
    agree = interpret._agree
    monkeypatch.setattr(interpret, "_agree", lambda form, *rest: compared.append(form) or agree(form, *rest))
    monkeypatch.setattr(forms, "COMPARED", 100)

    def fill(sizes):
        for n in sizes:
            torch.nn.init.uniform_(torch.empty(n, 3))

    fill(range(40, 50))
    assert not compared
    fill(range(5, 12))
    assert compared
