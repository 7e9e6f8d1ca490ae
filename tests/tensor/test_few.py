"""A few integers are computed when they are asked for; nothing is recorded of them, and results are the same."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pytorchlike as torch
from pytorchlike.engine import flush, local
from pytorchlike.engine.stats import stats


@pytest.fixture(autouse=True)
def _nothing_is_pending():
    flush("a test begins")


def pending() -> int:
    return len(local.trace.values) - 1


numbers = st.integers(-(2**31), 2**31 - 1)
OPERATIONS = [
    lambda a, b, n: a + b * n, lambda a, b, n: n - a, lambda a, b, n: a // (b.abs() + 1), lambda a, b, n: a % 7 - b,
    lambda a, b, n: (a < b) | (a == n), lambda a, b, n: (a & b) ^ ~a, lambda a, b, n: torch.where(a > n, a, b),
    lambda a, b, n: a.max(0), lambda a, b, n: a.sum() + b.prod(), lambda a, b, n: a.sort(descending=True),
    lambda a, b, n: a.cumsum(0), lambda a, b, n: (a > 0).any() & (b > 0).all(), lambda a, b, n: a.argmin(),
    lambda a, b, n: a[b.argsort()], lambda a, b, n: a.float() / 3, lambda a, b, n: a.clamp(-5, n), lambda a, b, n: -a,
    lambda a, b, n: a.bool().long().count_nonzero(), lambda a, b, n: a.outer(b), lambda a, b, n: a.flip(0).roll(1),
    lambda a, b, n: torch.nn.functional.one_hot(a % 5, 5), lambda a, b, n: a.unique(return_counts=True),
    lambda a, b, n: torch.bincount(a % 6), lambda a, b, n: a[a > n], lambda a, b, n: (b == n).nonzero(),
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(which=st.integers(0, len(OPERATIONS) - 1), a=st.lists(numbers, min_size=4, max_size=4),
       b=st.lists(numbers, min_size=4, max_size=4), n=st.integers(-10, 10))  # fmt: skip
def test_numpy_and_xla_agree(which, a, b, n):
    def run():
        out = OPERATIONS[which](torch.tensor(a), torch.tensor(b), n)
        outs = out if isinstance(out, tuple) else (out,)
        return [(o.dtype, o.shape, o.tolist()) for o in outs]

    from pytorchlike.engine import config

    at_once = run()
    before, config.tier = config.tier, "ops"
    try:
        assert run() == at_once
    finally:
        flush("a test ends")
        config.tier = before


def test_nothing_is_recorded_of_them():
    flushes = stats.flushes
    lengths = torch.tensor([3, 1, 2])
    assert int(40 - lengths[0]) == 37 and (lengths.max() + 1).item() == 4
    assert [k for k in range(3) if lengths[k] == 2] == [2] and bool((lengths > 0).all())
    assert lengths[torch.tensor([2, 0])].tolist() == [2, 3]
    if torch.tensor([0.25]) < 0.5:
        assert not pending() and stats.flushes == flushes


def test_what_is_pending_stays_so():
    x = torch.ones(3, 3).exp()
    before = pending()
    assert (torch.tensor(2) * 3 == 6).item() and pending() == before and before
    assert x.sum().item() == pytest.approx(9 * np.e)


def test_numbers_with_which_they_meet_what_is_pending_are_its_inputs():
    k = torch.tensor(1) + 1
    x = torch.arange(4) * k + torch.tensor([1, 2, 3, 4])[k]
    assert x.tolist() == [3, 5, 7, 9]


def test_floating_point_arithmetic_is_recorded():
    """It would be a constant of the first round of a running mean, and part of the program of the others."""
    torch.tensor(0.5) * 2
    assert pending()


def test_errors_are_raised_at_once():
    with pytest.raises(RuntimeError, match="size"):
        torch.tensor([1, 2]) + torch.tensor([1, 2, 3])
    with pytest.raises(RuntimeError, match="ZeroDivisionError|[Dd]ivision|zero"):
        torch.tensor([1, 2]) // torch.tensor([1, 0])
    assert (torch.tensor([1, 2]) + 1).tolist() == [2, 3]


def test_a_compiled_function_computes_them_anew():
    @torch.compile
    def scaled(x, n):
        return x * (n + 1)

    x = torch.ones(2)
    assert [scaled(x, torch.tensor(n)).tolist() for n in (1, 2, 3)] == [[2, 2], [3, 3], [4, 4]]


def test_functions_that_are_transformed_see_them_as_ever():
    counts = torch.tensor([1, 2, 3])
    assert torch.vmap(lambda n: n * 2 + counts[1])(counts).tolist() == [4, 6, 8]


def test_one_that_is_written_to_and_copies():
    n = torch.tensor([1, 2, 3])
    m = n + 1
    n += 1
    n[0] = 7
    m[1:] *= 2
    assert n.tolist() == [7, 3, 4] and m.tolist() == [2, 6, 8] and copy.deepcopy(m)[1] == 6
    memory = np.array([1, 2])
    shared = torch.from_numpy(memory)
    doubled = shared * 2
    memory[0] = 5
    assert doubled.tolist() == [2, 4] and (shared * 2).tolist() == [10, 4]


def test_elements_that_are_looked_at_leave_nothing_pending():
    x = torch.ones(8, 3).cumsum(0)
    assert x[0, 0].item() == 1
    flushes = stats.flushes
    assert [x[k, 1].item() for k in range(8)] == [x[k][2].item() for k in range(8)] == list(range(1, 9))
    assert not pending() and stats.flushes == flushes
    row = x[2]
    assert row.tolist() == [3] * 3
    x += 1
    assert row.tolist() == [4] * 3 and x[2, 0].item() == 4
    row.fill_(0)
    assert x[2].tolist() == [0] * 3 and x[3].tolist() == [5] * 3
    x.mul_(2)
    assert x[3, 2].item() == 10 and (x[3] + row).tolist() == [10] * 3


def test_elements_of_what_has_a_history_keep_theirs():
    w = torch.ones(3, requires_grad=True)
    losses = (w * 2).cumsum(0)
    flush("computed")
    assert [losses[k].item() for k in range(3)] == [2, 4, 6]
    losses[1].backward()
    assert w.grad.tolist() == [2, 2, 0]


def test_labels_that_were_computed_are_gone_through():
    scores = torch.eye(5)[[3, 1, 4, 0, 2]]
    found = scores.argmax(1)
    assert [k for k in range(5) if found[k] == 3] == [0]
    flushes = stats.flushes
    assert [k for k in range(5) if found[k] != k] == [0, 2, 3, 4] and stats.flushes == flushes


def computed():
    table = torch.zeros(3, 3)
    flush("computed")
    return table


@pytest.mark.parametrize("made", [lambda: torch.zeros(3, 3), lambda: torch.tensor([[0] * 3] * 3), computed])
def test_counting_in_a_table_records_nothing(made):
    table = made()
    before = pending()
    for t, p in zip(torch.tensor([0, 1, 2, 1]), torch.tensor([0, 2, 2, 2]), strict=True):
        table[t, p] += 1
        table[t.long(), 0] -= 2
    assert pending() == before
    assert table.tolist() == [[-1, 0, 0], [-4, 0, 2], [-2, 0, 1]]


def test_parts_that_are_written_to_are_seen_by_all():
    x = torch.tensor([[1, 2, 3], [4, 5, 6]])
    row, column, last = x[1], x[:, 2], x[1, 2]
    last += 10
    row[0] *= 5
    column.sub_(1)
    assert x.tolist() == [[1, 2, 2], [20, 5, 15]] and row.tolist() == [20, 5, 15] and last.item() == 15
    assert column.tolist() == [2, 15] and not pending()
    memory = np.zeros(3)
    shared = torch.from_numpy(memory)
    shared[1] += 2
    assert memory.tolist() == [0, 2, 0]
    halves = torch.tensor([1.0, 2.0])
    halves[0] += torch.tensor(1.0, requires_grad=True) * 3
    assert halves.requires_grad and halves.tolist() == [4, 2]


def test_an_element_as_an_index_gives_a_view():
    x, order = torch.tensor([[1, 2], [3, 4]]), torch.tensor([1, 0])
    x[order[0]] += 1
    row = x[order[1]]
    row[0] = 9
    assert x.tolist() == [[9, 2], [4, 5]]
    with pytest.raises(IndexError, match="out of"):
        x[order[0] * 7]


def test_rows_of_what_numpy_holds():
    a, b = torch.tensor([[1, 2], [3, 4]])
    assert a.tolist() == [1, 2] and [r.item() for r in b] == [3, 4] and torch.zeros(0, 2).unbind() == ()
    assert [c.tolist() for c in torch.tensor([[1, 2], [3, 4]]).unbind(1)] == [[1, 3], [2, 4]]


def test_whole_numbers_up_to_a_fraction_are_counted_by_the_whole_part():
    """As PyTorch counts them for int64, and only for it: ``arange(log2(n) + 1, dtype=int64)`` in pypose."""
    assert torch.arange(3.58, dtype=torch.int64).tolist() == [0, 1, 2]
    assert torch.arange(-2.7, 2.7, out=torch.empty(0, dtype=torch.int64)).tolist() == [-2, -1, 0, 1]
    assert torch.arange(5, 1.2, -1.9, dtype=torch.int64).tolist() == [5, 4, 3, 2]
    assert torch.arange(3.58, dtype=torch.int32).tolist() == [0, 1, 2, 3]
    assert torch.arange(0, 3, 0.5, dtype=torch.int32).tolist() == [0] * 6
    with pytest.raises(ValueError, match="step must be nonzero"):
        torch.arange(0, 3, 0.5, dtype=torch.int64)
