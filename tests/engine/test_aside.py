"""A value that does not rest on a step, read in the middle of it, does not cut the step in two."""

import pytest

import pytorchlike as torch
from pytorchlike.engine.stats import stats


def flushes(run) -> int:
    before = stats.flushes
    run()
    return stats.flushes - before


def test_a_step_that_reads_what_it_does_not_rest_on_is_one_program():
    """As in MONAI's losses (a list of dims) and in models that ask whether a mask hides anything."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(8)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, mask = torch.randn(3, 4), torch.tensor([[0.0], [1.0], [0.0]])
    told = []

    def step(mask):
        y = model(x)
        dims = torch.arange(0, y.ndim).tolist()
        if (mask > 0).any():
            y = y * mask
        told.append((dims, (mask.sum() + len(told)).item()))
        loss = y.square().sum(dims)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    step(mask).item()
    assert flushes(lambda: step(mask)) == 1
    assert flushes(lambda: step(mask * 0)) == 1
    assert told == [([0, 1], 1.0), ([0, 1], 2.0), ([0, 1], 2.0)]


def test_rounds_of_a_loop_are_executed_one_by_one():
    """A trace that grew with each round would be another one every time."""
    weight, xs, labels = torch.randn(4, 4), torch.randn(20, 3, 4), torch.arange(20)
    total, seen = torch.zeros(()), []

    def loop():
        nonlocal total
        for k in range(20):
            y = xs[k]
            for _ in range(10):
                y = torch.tanh(y @ weight) + 1
            total = total + y.sum()
            seen.append((labels[k] * 2).item())

    assert flushes(loop) in (19, 20)
    assert seen == [2 * k for k in range(20)]


@pytest.mark.parametrize("related", [True, False])
def test_wrong_data_are_told_of_by_whatever_is_read_next(related):
    y = torch.ones(3, 3)
    for _ in range(20):
        y = y * 2 + 1
    found = torch.arange(4.0)[torch.arange(2) + 3].sum()
    with pytest.raises(IndexError, match="out of bounds|out of range"):
        (found if related else torch.ones(1).add(1)).item()
    assert y[0, 0].item() == 2**21 - 1
