"""Tensors in memory that other processes write to: nothing of what they write is lost to what was pending."""

from __future__ import annotations

import pytest

import pytorchlike as torch
from pytorchlike.tensor import _cell


@pytest.fixture
def other(monkeypatch):
    """Another process: it adds 5 to what is in the list whenever something pending is executed for the writer."""
    arrays = []

    def flush(reason):
        _flush(reason)
        for array in arrays:
            array += 5

    _flush = _cell.flush
    monkeypatch.setattr(_cell, "flush", flush)
    return arrays


def _pending():
    return (torch.ones(3, requires_grad=True) * 2).sum()


@pytest.mark.parametrize(
    "write, want",
    [
        (lambda t: t.add_(1), 7),
        (lambda t: t.add_(1, torch.ones(1)), 7),  # the order of arguments of old
        (lambda t: t[0].mul_(2), 12),
        (lambda t: torch._foreach_add_([t], 1), 7),
    ],
)
@pytest.mark.filterwarnings("ignore:This overload")
def test_what_is_pending_is_executed_before_the_old_value_is_read(other, write, want):
    t = torch.ones(1).share_memory_()
    other.append(t.numpy())
    _pending().backward()
    write(t)
    assert t.item() == want


def test_an_optimizer_reads_its_parameters_when_the_gradients_are_there(other):
    p = torch.nn.Parameter(torch.ones(1))
    p.share_memory_()
    other.append(p.detach().numpy())
    optimizer = torch.optim.SGD([p], lr=0.5)
    (p * 2).sum().backward()
    optimizer.step()
    assert p.item() == 5


def test_nothing_is_executed_where_nothing_is_pending(other):
    t = torch.ones(1).share_memory_()
    other.append(t.numpy())
    t += 1
    t += 1
    assert t.item() == 3


def test_what_is_written_on_the_tape_reaches_other_processes():
    """An actor whose first output, made with gradients, goes to a shared buffer fills the rest of it without."""
    t, w = torch.zeros(5).share_memory_(), torch.ones(3, requires_grad=True)
    seen = t.numpy()
    t[0] = w.sum()
    with torch.no_grad():
        t[1] = 5
        t[2:3].copy_(w[:1] * 7)
    t[3:].add_(2)
    assert seen.tolist() == [3, 5, 7, 2, 2] == t.tolist() and t.is_shared()
    t.mul_(2)
    assert seen.tolist() == [6, 10, 14, 4, 4]
    t.sum().backward()
    assert w.grad.tolist() == [2, 2, 2]
