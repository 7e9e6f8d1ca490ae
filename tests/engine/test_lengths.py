"""Loops of any length as one kernel each, where graphs are executed operation by operation."""

import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike import nn
from pytorchlike.engine import flush, lengths


@pytest.fixture
def kernels(monkeypatch):
    """What kernels were asked for, by what they do and how much room they have; each kind has one at first sight."""
    found = []
    kernel = lengths.Kind._kernel

    def told(self, what, body, args, name):
        found.append(("back" if name else "forward", self.room))
        return kernel(self, what, body, args, name)

    monkeypatch.setattr(lengths.Kind, "_kernel", told)
    monkeypatch.setattr(lengths, "MET", 0)
    return found


def agree(tier, kernels, run, rel=2e-5):
    """The results of ``run`` with loops as kernels, and as part of one program, are the same."""
    tier("ops")
    found = run()
    flush()
    assert kernels, "no loop was found: the test tests nothing"
    tier("fused")
    for a, b in zip(found, run(), strict=True):
        torch.testing.assert_close(a, b, rtol=rel, atol=1e-6)
    return found


def grads(loss, *modules):
    loss.backward()
    got = [p.grad.clone() for m in modules for p in (m.parameters() if isinstance(m, nn.Module) else [m])]
    return [loss.detach().clone(), *got]


def inputs(n, *shape, seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def states(rounds):
    """A cell, and what it makes round after round."""
    torch.manual_seed(0)
    cell = nn.Linear(3, 3)
    h, made = torch.ones(1, 3), []
    for _ in range(rounds):
        h = torch.tanh(cell(h))
        made.append(h)
    return cell, made


def sentence(n, outputs=False):
    """A recurrence written by hand, over rows of one tensor."""
    torch.manual_seed(0)
    cell, head = nn.Linear(3 + 4, 4), nn.Linear(4, 2)
    x, h = inputs(n, 1, 3), torch.zeros(1, 4)
    made = []
    for t in range(n):
        h = torch.tanh(cell(torch.cat([x[t], h], 1)))
        made.append(head(h))
    loss = torch.cat(made).square().sum() if outputs else made[-1].square().sum()
    return grads(loss, cell, head)


@pytest.mark.parametrize("outputs", [False, True])
def test_a_recurrence_over_rows(tier, kernels, outputs):
    agree(tier, kernels, lambda: sentence(9, outputs))
    assert {what for what, _ in kernels} == {"forward", "back"}


def test_lengths_share_kernels_up_to_their_room(tier, kernels, monkeypatch):
    made = []
    cached = lengths.evaluators._cached

    def told(key, compile, interpreted, calls, what):
        def noted():
            made.append(key)
            return compile()

        return cached(key, noted, interpreted, calls, what)

    monkeypatch.setattr(lengths.evaluators, "_cached", told)
    tier("ops")
    for n in (8, 9, 17, 30):
        sentence(n)
        flush()
    mine = [k for k in made if isinstance(k[-1], int) and k[-1] == lengths.ROOM]
    assert len(mine) == len(set(mine)) <= 4  # its rounds and those of what is done with them, forward and back
    made.clear()
    sentence(40)
    flush()
    assert {k[-1] for k in made if isinstance(k[-1], int)} == {4 * lengths.ROOM}
    tier("fused")
    wanted = sentence(40)
    tier("ops")
    for a, b in zip(sentence(40), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=1e-6)


def test_rounds_take_windows_that_overlap_of_what_is_used_elsewhere_too(tier, kernels):
    def run():
        torch.manual_seed(0)
        cell, x = nn.Linear(3 * 2 + 4, 4), inputs(9, 2).requires_grad_()
        seen, h = x * 2, torch.zeros(4)
        for t in range(7):
            h = torch.tanh(cell(torch.cat([seen[t : t + 3].reshape(-1), h]))) + seen[t, 1]
        return grads(h.sum() + seen.square().sum() + seen[::2].sum(), cell, x)

    agree(tier, kernels, run)


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_cells(tier, kernels, kind):
    def run():
        torch.manual_seed(0)
        cell = kind(3, 4)
        start = torch.randn(2, 4, requires_grad=True)
        state = (start, start * 2) if kind is nn.LSTMCell else start
        for x in inputs(7, 2, 3):
            state = cell(x, state)
        last = torch.cat(state) if kind is nn.LSTMCell else state
        return grads(last.square().sum(), cell, start)

    agree(tier, kernels, run)


def test_each_round_takes_a_tensor_with_gradients(tier, kernels):
    def run():
        torch.manual_seed(0)
        cell = nn.Linear(3, 3)
        xs = [row.clone().requires_grad_() for row in inputs(6, 1, 3)]
        h = torch.zeros(1, 3)
        for k, x in enumerate(xs):
            h = (cell(h) + (x if k % 5 else x.detach())).tanh()
        h.sum().backward()
        return [*[p.grad for p in cell.parameters()], *[x.grad if x.grad is not None else torch.zeros(1) for x in xs]]

    agree(tier, kernels, run)


def test_a_loss_at_every_round_and_numbers_that_differ(tier, kernels):
    def run():
        torch.manual_seed(0)
        cell = nn.Linear(3, 3)
        h, loss = torch.ones(2, 3), torch.tensor(0.0)
        for k in range(8):
            h = torch.sigmoid(cell(h)) * (0.5 + 0.1 * k)
            loss = loss + F.mse_loss(h, torch.zeros(2, 3)) / (k + 1)
        return grads(loss, cell)

    agree(tier, kernels, run)


def test_masks_of_dropout_are_those_of_the_program(tier, kernels):
    def run():
        torch.manual_seed(0)
        cell = nn.Linear(16, 16)
        h = torch.ones(2, 16)
        for _ in range(8):
            h = F.dropout(torch.tanh(cell(h)), 0.5)
        return grads(h.sum(), cell)

    agree(tier, kernels, run)


def test_what_is_fed_back_may_have_no_gradient(tier, kernels):
    """A decoder takes its own best guess, which is a whole number; a state is detached on its way."""
    def run():
        torch.manual_seed(0)
        table, cell, head = nn.Embedding(5, 4), nn.Linear(8, 4), nn.Linear(4, 5)
        token, h, loss = torch.tensor([0]), torch.zeros(1, 4), 0.0
        for _ in range(7):
            h = torch.tanh(cell(torch.cat([table(token), h.detach()], 1)))
            scores = head(h)
            token = scores.argmax(1)
            loss = loss + scores.logsumexp(1).sum()
        return grads(loss, table, cell, head)

    agree(tier, kernels, run)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64])
def test_dtypes(tier, kernels, dtype):
    def run():
        w = (inputs(3, 3) * 0.3).to(dtype).requires_grad_()
        h = inputs(1, 3, seed=1).to(dtype)
        for _ in range(6):
            h = torch.sin(h @ w)
        loss = h.abs().square().sum()
        loss.backward()
        return [loss.detach(), w.grad]

    agree(tier, kernels, run)


def test_the_loss_is_read_before_the_way_back(tier, kernels):
    def run():
        cell, made = states(9)
        loss = made[-1].sum()
        del made
        loss.item()
        return grads(loss, cell)

    agree(tier, kernels, run)


def test_without_gradients_and_with_results_of_single_rounds(tier, kernels):
    def run():
        with torch.no_grad():
            _, made = states(9)
        return [made[2], made[5], made[8]]

    agree(tier, kernels, run)


@pytest.mark.parametrize("hook", [False, True])
def test_two_ways_back_and_hooks_on_the_way(tier, kernels, hook):
    def run():
        (cell, made), seen = states(9), []
        if hook:
            made[-1].register_hook(lambda g: seen.append(g) or g * 2)
        made[4].sum().backward(retain_graph=True)
        once = cell.weight.grad.clone()
        made[-1].sum().backward()
        return [once, *seen, *[p.grad for p in cell.parameters()]]

    if hook:  # somebody looks inside: there is no kernel
        kernels.append(None)
    agree(tier, kernels, run)


def test_second_derivatives(tier, kernels):
    def run():
        w = (inputs(3, 3) * 0.3).requires_grad_()
        h = inputs(1, 3, seed=1)
        for _ in range(8):
            h = torch.sin(h @ w)
        (g,) = torch.autograd.grad(h.sum(), w, create_graph=True)
        g.square().sum().backward()
        return [g.detach(), w.grad]

    tier("ops")
    found = run()
    tier("fused")
    for a, b in zip(found, run(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_what_is_wrong_in_one_round_is_told_and_changes_nothing(tier, kernels):
    tier("ops")
    table, cell = nn.Embedding(5, 4), nn.Linear(4, 4)
    before = cell.weight.detach().clone()
    optimizer = torch.optim.SGD(cell.parameters(), lr=1.0)
    tokens = torch.tensor([0, 1, 2, 3, 4, 7, 1]) + 0  # known on the device only
    h = torch.zeros(1, 4)
    with pytest.raises(IndexError, match="out of range"):
        for t in range(7):
            h = torch.tanh(cell(table(tokens[t]) + h))
        h.sum().backward()
        optimizer.step()
        cell.weight.sum().item()
    assert torch.equal(cell.weight, before)


def test_loops_of_ever_other_lengths_are_not_cut_into_pieces():
    from pytorchlike.engine import policy

    torch.compiler.reset()
    policy.reset()
    torch.manual_seed(0)
    cell = nn.Linear(5, 4)
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.01)
    for n in range(20, 55):
        h = torch.zeros(1, 4)
        for x in inputs(n, 1, 1):
            h = torch.tanh(cell(torch.cat([x, h], 1)))
        optimizer.zero_grad()
        h.sum().backward()
        optimizer.step()
    assert not policy.dividing
    policy.reset()


def test_large_arrays_get_little_room():
    assert lengths._room(5, 1000) == lengths.ROOM and lengths._room(33, 1000) == lengths.FURTHER * lengths.ROOM
    assert lengths._room(5, lengths.LARGE) == 8 and lengths._room(33, lengths.LARGE) == 64
