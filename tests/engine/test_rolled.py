"""Loops that Python unrolled become one loop of the program: same values and gradients as operation by operation."""

import jax
import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.engine import flush, fused, segment
from pytorchlike.engine.config import config
from pytorchlike.engine.rolled import Back, Loop
from pytorchlike.nn import functional as F

T, N, D = 12, 3, 4


def lstm_cell(cell, x):
    h, c = torch.zeros(N, D), torch.zeros(N, D)
    for t in range(T):
        h, c = cell(x[t], (h, c))
    return h.sum() + (c * c).mean()


def stacked_outputs(cell, x):
    h, outs = torch.zeros(N, D), []
    for row in x.unbind(0):
        h, _ = cell(row, (h, h))
        outs.append(h)
    return torch.stack(outs).pow(2).sum() + outs[3].sum()


def loss_of_each_step(cell, x):
    h, c, loss = torch.zeros(N, D), torch.zeros(N, D), 0.0
    target = torch.arange(T * N).reshape(T, N) % D
    for t in range(T):
        h, c = cell(x[t], (h, c))
        loss = loss + F.cross_entropy(h, target[t])
    return loss / T


def numbers_of_the_round(cell, x):
    h = torch.zeros(N, D)
    for t in range(T):
        h = torch.tanh(h * 0.5 + x[t] * t) + 1.0 / (t + 1)
    return h.sum()


def detached_halfway(cell, x):
    h, c = torch.zeros(N, D), torch.zeros(N, D)
    for t in range(T):
        h, c = cell(x[t], (h.detach(), c))
    return h.sum() + c.sum()


def dropout_inside(cell, x):
    h, c = torch.zeros(N, D), torch.zeros(N, D)
    for t in range(T):
        h, c = cell(F.dropout(x[t], 0.5), (h, c))
    return h.sum()


def two_cells(cell, x):
    a = b = torch.zeros(N, D)
    for t in range(T):
        a, _ = cell(x[t], (a, b))
        b, _ = cell(a, (b, a))
    return (a * b).sum()


def looking_back_two_rounds(cell, x):
    older = h = torch.zeros(N, D)
    for t in range(T):
        older, h = h, torch.tanh(x[t] + 0.3 * h + 0.2 * older)
    return h.sum()


def generates(cell, x):
    table = x[0].reshape(-1)
    token, h, c, total = torch.zeros(N, dtype=torch.long), torch.zeros(N, D), torch.zeros(N, D), 0.0
    weight = table.reshape(N, D)
    for _ in range(T):
        h, c = cell(F.embedding(token, weight), (h, c))
        token = h.argmax(1) % N
        total = total + h.sum()
    return total


def added_up_in_place(cell, x):
    loss, h, c = torch.zeros(1), torch.zeros(N, D), torch.zeros(N, D)
    for t in range(T):
        h, c = cell(x[t], (h, c))
        loss += h.sum()
    return loss.sum()


def written_row_by_row(cell, x):
    outs, h, c = torch.zeros(T, N, D), torch.zeros(N, D), torch.zeros(N, D)
    for t in range(T):
        h, c = cell(x[t], (h, c))
        outs[t] = h
    return outs.pow(2).sum()


def only_later_inputs_require_grad(cell, x):
    h, total = torch.zeros(N, D), 0.0
    for t in range(T):
        h = torch.tanh(h.detach() + (x[t] if t > 3 else x[t].detach()))
        total = total + h.sum()
    return total


def columns(cell, x):
    h, outs = torch.zeros(N, D), []
    for row in x.unbind(0):
        h, _ = cell(row, (h, h))
        outs.append(h)
    wide = torch.cat(outs, dim=1)
    return (wide[:, 1:] * wide[:, :-1]).sum() + torch.stack(outs, 1)[:, 3].sum()


def goes_on_with_its_own_outputs(cell, x):
    h, c, outs = torch.zeros(N, D), torch.zeros(N, D), []
    for t in range(T):
        h, c = cell(x[t], (h, c))
        outs.append(h)
    for _ in range(T):
        h, c = cell(h, (h, c))
        outs.append(h)
    return torch.cat(outs, dim=1).pow(2).mean()


def goes_on_with_itself_after_data_without_gradients(cell, x):
    data, h, c, seen, total = x.detach(), torch.zeros(N, D), torch.zeros(N, D), None, 0.0
    for t in range(2 * T):
        h, c = cell(data[t] if t < T else seen, (h, c))
        seen = torch.tanh(h)
        total = total + seen.square().mean()
    return total


def squashed_in_the_second_half(cell, x):
    h, c = torch.zeros(N, D), torch.zeros(N, D)
    for t in range(2 * T):
        h, c = cell(torch.tanh(h) if t >= T else x[0], (h, c))
    return c.sum()


CASES = [lstm_cell, stacked_outputs, loss_of_each_step, numbers_of_the_round, detached_halfway, dropout_inside,
         two_cells, looking_back_two_rounds, generates, added_up_in_place, written_row_by_row,
         only_later_inputs_require_grad, columns, goes_on_with_its_own_outputs,
         goes_on_with_itself_after_data_without_gradients, squashed_in_the_second_half]  # fmt: skip


def outcome(case, tier, monkeypatch, read=False):
    monkeypatch.setattr(config, "tier", tier)
    torch.manual_seed(0)
    cell, x = nn.LSTMCell(D, D), torch.randn(T, N, D).requires_grad_()
    flush()
    torch.manual_seed(1)
    loss = case(cell, x)
    if read:
        loss.item()
    loss.backward()
    grads = [p.grad.numpy() for p in (x, *cell.parameters()) if p.grad is not None]
    return loss.item(), grads


def recorded(monkeypatch, module, name, kind):
    """What a function of a module gives of that kind from now on."""
    found, plain = [], getattr(module, name)

    def noting(*args):
        out = plain(*args)
        found.extend(e for e in out if type(e) is kind)
        return out

    monkeypatch.setattr(module, name, noting)
    return found


def equals_operation_by_operation(case, loss, grads, monkeypatch):
    expected, wanted = outcome(case, "ops", monkeypatch)
    np.testing.assert_allclose(loss, expected, rtol=2e-5)
    assert len(grads) == len(wanted)
    for a, b in zip(grads, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__)
def test_rolled_up_equals_operation_by_operation(case, monkeypatch):
    loops = recorded(monkeypatch, fused, "roll", Loop)
    loss, grads = outcome(case, "fused", monkeypatch)
    equals_operation_by_operation(case, loss, grads, monkeypatch)
    if case not in (looking_back_two_rounds, only_later_inputs_require_grad):
        assert loops and max(loop.rounds for loop in loops) >= T - 4


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__)
def test_the_way_back_after_the_loss_was_read_is_rolled_up(case, monkeypatch):
    backs = recorded(monkeypatch, segment, "roll_back", Back)
    loss, grads = outcome(case, "fused", monkeypatch, read=True)
    equals_operation_by_operation(case, loss, grads, monkeypatch)
    if case not in (looking_back_two_rounds, only_later_inputs_require_grad):
        assert backs and max(b.rounds for b in backs) >= T - 4
    if case in (goes_on_with_itself_after_data_without_gradients, squashed_in_the_second_half):
        assert sum(b.rounds for b in backs) >= 2 * T - 4


@pytest.mark.parametrize(("own", "rounds"), [(False, T), (True, T), (True, 9)])
def test_the_way_back_through_rounds_that_were_read_is_rolled_up(own, rounds, monkeypatch):
    def read_in_each_round(cell, x):
        h, c, loss = torch.zeros(N, D), torch.zeros(N, D), 0.0
        for t in range(rounds):
            h, c = cell(x[t] if own else x[0], (h, c))
            assert h.abs().max().item() < 1
            loss = loss + h.square().mean()
        return loss + c.sum()

    loops = recorded(monkeypatch, fused, "roll", Loop)
    loss, grads = outcome(read_in_each_round, "fused", monkeypatch)
    equals_operation_by_operation(read_in_each_round, loss, grads, monkeypatch)
    assert any(loop.rounds >= rounds - 4 and loop.calls[0].op.name == "backward" for loop in loops)


@pytest.mark.parametrize(("width", "rolled"), [(2, True), (32, False)])
def test_large_frozen_weights_of_equal_layers_are_not_stacked(width, rolled, monkeypatch):
    monkeypatch.setattr(config, "tier", "fused")
    backs = recorded(monkeypatch, segment, "roll_back", Back)
    weights = [torch.eye(width) * 0.5 + 0 for _ in range(T)]
    flush()
    x = torch.ones(1, width, requires_grad=True)
    h = x
    for w in weights:
        h = (h @ w).tanh()
    h.sum().item()
    h.sum().backward()
    slope = 1.0
    v = 1.0
    for _ in range(T):
        v = np.tanh(0.5 * v)
        slope *= 0.5 * (1 - v * v)
    np.testing.assert_allclose(x.grad.numpy(), np.full((1, width), slope), rtol=1e-4)
    assert bool(backs) is rolled


def test_a_failed_check_inside_is_raised(monkeypatch):
    monkeypatch.setattr(config, "tier", "fused")
    weight = torch.randn(5, D) + 0
    token, h = torch.zeros(N, dtype=torch.long) + 1, torch.zeros(N, D)
    for _ in range(T):
        h = torch.tanh(h + F.embedding(token, weight))
        token = token + 1
    with pytest.raises(IndexError, match="embedding"):
        h.sum().item()


def test_a_failed_check_inside_leaves_what_was_added_to_as_it_was(monkeypatch):
    monkeypatch.setattr(config, "tier", "fused")
    weight, total = torch.randn(5, D) + 0, torch.ones(N, D) + 0
    flush()
    token = torch.zeros(N, dtype=torch.long) + 1
    for _ in range(T):
        total += F.embedding(token, weight)
        token = token + 1
    with pytest.raises(IndexError, match="embedding"):
        total.sum().item()
    assert total.tolist() == torch.ones(N, D).tolist()


def test_rounds_inside_of_a_transformation_take_numbers_that_vary():
    def loop(x, a, w, tanh):
        for t in range(8):
            x = tanh(x @ w) * (a + 0.1 * t)
        return x

    x = torch.linspace(-1, 1, 12).view(3, 2, 2)
    for a in (1.0, 1.5):
        found = torch.func.vmap(lambda row, a=a: loop(row, a, torch.eye(2), torch.tanh))(x)
        np.testing.assert_allclose(found.numpy(), loop(x.numpy(), a, np.eye(2), np.tanh), rtol=1e-5)


def test_the_length_of_a_loop_does_not_change_what_is_compiled_for_a_round(monkeypatch):
    monkeypatch.setattr(config, "tier", "fused")
    sizes = []
    plain = fused.roll

    def roll(*args):
        out = plain(*args)
        sizes.append(len(out))
        return out

    monkeypatch.setattr(fused, "roll", roll)
    for n in (40, 80):
        x = torch.randn(n, N, D)
        flush()
        h = torch.zeros(N, D)
        for row in x.unbind(0):
            h = torch.tanh(h + row)
        h.sum().item()
    assert sizes[-1] < 12


def test_the_numbers_of_rounds_do_not_lengthen_the_program(monkeypatch):
    # the first rounds' indices are constants, those of later rounds inputs: together they are one array of the loop
    monkeypatch.setattr(config, "tier", "fused")
    lengths, plain = [], jax.stages.Lowered.compile

    def compile(self, *args, **kwargs):
        lengths.append(self.as_text().count("\n"))
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(jax.stages.Lowered, "compile", compile)
    n = 60
    x = torch.randn(n, N) + 0
    flush()
    out, total = torch.zeros(n, N), torch.zeros(N)
    for t in reversed(range(n)):
        out[t] = total = x[t] + 0.9 * total
    flush()
    assert max(lengths) < 200
    expected, row = np.zeros((n, N), np.float32), np.zeros(N, np.float32)
    for t in reversed(range(n)):
        expected[t] = row = x.numpy()[t] + np.float32(0.9) * row
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_loop_that_will_be_differentiated_may_be_long(monkeypatch):
    monkeypatch.setattr(config, "max_pending", 40)
    w = torch.nn.Parameter(torch.tensor([0.5, -0.3]))
    layers = [torch.nn.Parameter(torch.full((2,), k / 100)) for k in range(60)]
    begun = torch.tensor([1.0, 2.0])

    def recurrence(w, x):
        for _ in range(60):
            x = torch.tanh(x * w + 0.1)
        return x.sum()

    def each_for_itself(w, x):
        for layer in layers:
            x = torch.tanh(x * layer + w)
        return x.sum()

    def expected(w):
        x, dx = np.array([1.0, 2.0]), np.zeros(2)
        for _ in range(60):
            x, dx = np.tanh(x * w + 0.1), (1 - np.tanh(x * w + 0.1) ** 2) * (x + dx * w)
        return dx

    executed = []
    for function in (recurrence, each_for_itself):
        flush()
        with torch.compiler.report() as report:
            for _ in range(3):
                (grad,) = torch.autograd.grad(function(w, begun), w)
                values = grad.tolist()
        executed.append(sum(report.executions.values()) / 3)
        if function is recurrence:
            np.testing.assert_allclose(values, expected(w.detach().numpy().astype(float)), rtol=1e-5)
    assert executed[0] == 1 and executed[1] > 2, executed


def compiled_texts(monkeypatch):
    texts, plain = [], jax.stages.Lowered.compile

    def compile(self, *args, **kwargs):
        done = plain(self, *args, **kwargs)
        texts.append(done.as_text())
        return done

    monkeypatch.setattr(jax.stages.Lowered, "compile", compile)
    return texts


@pytest.mark.parametrize("join", [
    pytest.param(lambda outs: torch.cat(outs, dim=1), id="columns"),
    pytest.param(lambda outs: torch.cat(outs), id="rows", marks=pytest.mark.xfail(
        jax.__version_info__ >= (0, 12), reason="XLA of JAX 0.12 takes rows of one array apart to join them again")),
    pytest.param(lambda outs: torch.stack(outs), id="stack"),
    pytest.param(lambda outs: torch.stack(outs, dim=-1), id="stack last"),
])  # fmt: skip
@pytest.mark.parametrize("read", [False, True])
def test_rounds_that_are_joined_are_not_taken_apart(join, read, monkeypatch):
    # each slice of a program, and each array joined with others, is code of its own to XLA
    monkeypatch.setattr(config, "tier", "fused")
    n = 96
    x, w = torch.linspace(0, 1, n * 2).reshape(n, 2, 1), torch.tensor([[0.5]], requires_grad=True)
    rows = [r + 0 for r in x]
    texts = compiled_texts(monkeypatch)
    flush()
    h, outs = torch.zeros(2, 1), []
    for row in rows:
        h = torch.tanh(h @ w + row)
        outs.append(h)
    loss = (join(outs) ** 2).sum()
    del outs
    if read:
        loss.item()
    loss.backward()
    grad = w.grad.item()
    assert max(t.count(" slice(") for t in texts) < 12, [t.count(" slice(") for t in texts]
    v, dv, slope = np.zeros((2, 1)), np.zeros((2, 1)), 0.0
    for row in x.numpy().astype(float):
        new = np.tanh(0.5 * v + row)
        dv = (1 - new**2) * (v + 0.5 * dv)
        v = new
        slope += (2 * v * dv).sum()
    np.testing.assert_allclose(grad, slope, rtol=1e-4)


@pytest.mark.parametrize("width", [2, 1200])
def test_rounds_that_somebody_keeps_come_out_as_one_array(width, monkeypatch):
    monkeypatch.setattr(config, "tier", "fused")
    texts = compiled_texts(monkeypatch)
    w = torch.tensor(0.5, requires_grad=True)
    begun = torch.linspace(0, 1, width) + 0
    opt = torch.optim.SGD([w], 0.0)
    flush()
    texts.clear()
    h, outs = begun, []
    for _ in range(40):
        h = torch.tanh(h * w + 0.25)
        outs.append(h)
    loss = torch.stack(outs).sum()
    loss.backward()
    opt.step()
    flush()
    v, values = begun.numpy(), []
    for _ in range(40):
        v = np.tanh(v * np.float32(0.5) + np.float32(0.25))
        values.append(v)
    for a, b in zip(outs, values, strict=True):
        assert a.requires_grad and not a.is_leaf
        np.testing.assert_allclose(a.detach().numpy(), b, rtol=1e-5)
    assert max(t.count(" slice(") for t in texts) < 12
    with torch.no_grad():
        outs[3].add_(1.0)  # has memory of its own
    np.testing.assert_allclose(outs[3].detach().numpy(), values[3] + 1, rtol=1e-5)
    np.testing.assert_allclose(outs[4].detach().numpy(), values[4], rtol=1e-5)
    w.grad = None
    h = outs[6].detach() * w
    h.sum().backward(inputs=[w])
    np.testing.assert_allclose(w.grad.item(), values[6].sum(), rtol=1e-5)
    with torch.no_grad():
        h, outs = begun, []
        for _ in range(40):
            h = torch.tanh(h * w + 0.25)
            outs.append(h)
        assert h.isfinite().all().item()
    outs[5].numpy()[:] = 7
    assert outs[5].tolist() == [7.0] * width
    np.testing.assert_allclose(outs[4].numpy(), values[4], rtol=1e-5)


def test_a_loop_of_products_may_be_long_without_gradients(monkeypatch):
    monkeypatch.setattr(config, "max_pending", 40)
    w = torch.full((1, 1), 0.5)
    flush()
    executed = []
    for _ in range(3):
        with torch.compiler.report() as report, torch.no_grad():
            h, outs = torch.ones(2, 1), []
            for _ in range(60):
                h = torch.tanh(h @ w + 0.25)
                outs.append(h)
            found = torch.cat(outs, 1).tolist()
        executed.append(sum(report.executions.values()))
    assert executed[-1] == 1, executed
    v, values = 1.0, []
    for _ in range(60):
        v = np.tanh(v * 0.5 + 0.25)
        values.append(v)
    np.testing.assert_allclose(found, [values] * 2, rtol=1e-5)
