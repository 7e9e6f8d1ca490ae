"""Shapes told by rules are those that the bodies give, and what the bodies refuse is refused at any size."""

import gc
import weakref

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine import foreseen, trace

F = torch.nn.functional
IMAGES = torch.ones(7, 5, 3, 3) / 9
LSTM, GRU = torch.nn.LSTM(5, 3, batch_first=True, bidirectional=True), torch.nn.GRU(5, 4, num_layers=2)
WEIGHT, BIAS, TABLE = torch.ones(7, 5), torch.ones(7), torch.nn.Parameter(torch.ones(50, 5))


def words(n):
    return torch.arange(n)[None] % 50


CALLS = {
    "add": lambda x, n: x + x[:, :1],
    "where": lambda x, n: torch.where(x > 0, x, 0.0),
    "in place": lambda x, n: x.clone().mul_(x[:1]),
    "matmul": lambda x, n: x @ x.transpose(1, 2),
    "bmm": lambda x, n: torch.bmm(x.transpose(1, 2), x),
    "linear": lambda x, n: F.linear(x, WEIGHT, BIAS),
    "embedding": lambda x, n: F.embedding(words(n) + torch.zeros(1).long(), TABLE),
    "softmax": lambda x, n: x.softmax(-1),
    "log_softmax": lambda x, n: x.log_softmax(1),
    "layer_norm": lambda x, n: F.layer_norm(x, (5,), BIAS[:5], BIAS[:5]),
    "rms_norm": lambda x, n: F.rms_norm(x, (5,)),
    "sum": lambda x, n: x.sum((0, -1), keepdim=True),
    "mean": lambda x, n: x.mean(),
    "argmax": lambda x, n: x.argmax(1),
    "any": lambda x, n: (x > 0).any(-1),
    "logsumexp": lambda x, n: x.logsumexp((1, 2)),
    "cat": lambda x, n: torch.cat([x, x[:, :2]], 1),
    "stack": lambda x, n: torch.stack([x, x], -1),
    "attention": lambda x, n: F.scaled_dot_product_attention(x, x[:, :2], x[:, :2]),
    "cross_entropy": lambda x, n: F.cross_entropy(x[0], torch.arange(n) % 5),
    "masked_fill": lambda x, n: x.masked_fill(x > 0, 1.0),
    "cumsum": lambda x, n: x.cumsum(1),
    "dropout": lambda x, n: F.dropout(x, 0.5),
    "triu": lambda x, n: torch.ones(n, n).triu(1),
    "arange": lambda x, n: torch.arange(n) * 2,
    "full": lambda x, n: torch.full((n, 2), 3.0),
    "view": lambda x, n: x.view(2, -1),
    "expand": lambda x, n: x[:, :, None].expand(2, n, 3, 5),
    "permute": lambda x, n: x.permute(2, 0, 1),
    "slices": lambda x, n: x[:, 1:-1, ::2],
    "an index that varies": lambda x, n: x[:, n // 2],
    "chunk": lambda x, n: torch.cat(x.chunk(2, 1), 1),
    "unbind": lambda x, n: x.unbind(2)[1],
    "diagonal": lambda x, n: x.diagonal(0, 1, 2),
}


def pooled(x):
    return x.permute(0, 2, 1) + 0.0


#: By the name of the operator that is to be told.
OPERATORS = {
    "eq": lambda x, n: x == x[:1],
    "bitwise_not": lambda x, n: ~(x > 0),
    "randn": lambda x, n: torch.randn(n, 3) + x[0, :, :1],
    "rand": lambda x, n: torch.rand(2, n),
    "_randint": lambda x, n: torch.randint(0, 7, (n, 2)),
    "_split": lambda x, n: torch.cat((x * torch.nn.Parameter(torch.ones(1))).split([2, 3], 2), 2),
    "_unbind": lambda x, n: torch.stack((x * torch.nn.Parameter(torch.ones(1)))[:, :, :3].unbind(2)[1:]),
    "_index": lambda x, n: x[:, torch.from_numpy(np.arange(n)[::-1].copy()), None],
    "gather": lambda x, n: x.gather(2, torch.zeros(2, n, 3).long() + 1),
    "index_select": lambda x, n: x.index_select(2, torch.zeros(n + 1).long() + 1),
    "scatter_add": lambda x, n: x.scatter_add(2, torch.zeros(2, n, 3).long() + 1, x),
    "index_add": lambda x, n: torch.zeros(7, 5).index_add(0, torch.zeros(n).long() + 1, x[0]),
    "index_copy": lambda x, n: torch.zeros(7, 5).index_copy(0, torch.zeros(n).long() + 1, x[0]),
    "max": lambda x, n: x.max(1)[0] + x.min(1)[1] + x.max(),
    "sort": lambda x, n: x.sort(1)[1],
    "topk": lambda x, n: x.topk(3, 2)[0],
    "norm": lambda x, n: x.norm(dim=2),
    "std": lambda x, n: x.std(2, keepdim=True),
    "mse_loss": lambda x, n: F.mse_loss(x, x * 2),
    "smooth_l1_loss": lambda x, n: F.smooth_l1_loss(x, x * 2, reduction="none"),
    "binary_cross_entropy_with_logits": lambda x, n: F.binary_cross_entropy_with_logits(x, (x > 0).float(), x * x),
    "nll_loss": lambda x, n: F.nll_loss(x[0], torch.arange(n) % 5),
    "conv1d": lambda x, n: F.conv1d(pooled(x), IMAGES[:, :, 0], BIAS, 2, 1, 1),
    "conv2d": lambda x, n: F.conv2d(pooled(x)[..., None], IMAGES, None, (1, 2), (1, 2)),
    "max_pool1d": lambda x, n: F.max_pool1d(pooled(x), 2, 1, 1),
    "max_pool2d": lambda x, n: F.max_pool2d(x[:, None], (1, 3), (1, 2)),
    "avg_pool2d": lambda x, n: F.avg_pool2d(x[:, None], (1, 2)),
    "_lstm": lambda x, n: LSTM(x)[0] + LSTM(x)[1][1].sum(),
    "_gru": lambda x, n: GRU(x)[1],
    "einsum": lambda x, n: torch.einsum("bij,bkj->bik", x, x + 1),
}


@pytest.fixture(autouse=True)
def _anew():
    foreseen._known.clear()
    trace._specs.clear()
    trace._models.clear()


@pytest.fixture
def told(monkeypatch):
    """The operators whose results were told by a rule."""
    names, results = set(), foreseen.results

    def noting(kernel, metas):
        found = results(kernel, metas)
        if found is not None:
            names.add(kernel.op.name)
        return found

    monkeypatch.setattr(foreseen, "results", noting)
    return names


def agree(call):
    for n in (6, 9, 5, 12, 1, 4, 10):
        x = torch.from_numpy(np.random.default_rng(n).normal(size=(2, n, 5)).astype("f")) * 1
        y = call(x, n).detach()
        assert tuple(y.shape) == y.numpy().shape, n
        assert y.dtype == torch.from_numpy(y.numpy().copy()).dtype


@pytest.mark.parametrize("name", CALLS)
def test_rules_agree_with_bodies(name, told):
    agree(CALLS[name])
    assert told


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operators_rule_is_used_and_right(name, told):
    agree(OPERATORS[name])
    assert name in told


@pytest.mark.parametrize("right, wrong", [
    (lambda n: torch.ones(n, 3) + torch.ones(3), lambda n: torch.ones(n, 3) + torch.ones(n + 1, 4)),
    (lambda n: torch.ones(n, 3) @ torch.ones(3, n), lambda n: torch.ones(n, 3) @ torch.ones(n + 4, 3)),
    (lambda n: F.linear(torch.ones(n, 5), WEIGHT, BIAS), lambda n: F.linear(torch.ones(n, 6), WEIGHT, BIAS)),
    (lambda n: torch.cat([torch.ones(n, 3)] * 2), lambda n: torch.cat([torch.ones(n, 3), torch.ones(n, 4)])),
    (lambda n: torch.stack([torch.ones(n)] * 2), lambda n: torch.stack([torch.ones(n), torch.ones(n + 1)])),
    (lambda n: torch.ones(n, 4).view(-1, 2), lambda n: torch.ones(n, 4).view(-1, 3 * n + 1)),
    (lambda n: F.layer_norm(torch.ones(n, 5), (5,)), lambda n: F.layer_norm(torch.ones(n, 6), (5,))),
    (lambda n: torch.ones(n).mul_(torch.ones(n)), lambda n: torch.ones(n).mul_(torch.ones(2, n))),
    (lambda n: F.cross_entropy(torch.ones(n, 4), torch.zeros(n).long()),
     lambda n: F.cross_entropy(torch.ones(n, 4), torch.zeros(n + 1).long())),
    (lambda n: torch.ones(n, 4).split([1, 3], 1), lambda n: torch.ones(n, 5).split([1, 3], 1)),
    (lambda n: torch.ones(n, 4).gather(1, torch.zeros(n, 2).long() + 1),
     lambda n: torch.ones(n, 4).gather(1, torch.zeros(n + 1, 2).long() + 1)),
    (lambda n: torch.ones(n, 4).scatter_add(1, torch.zeros(n, 2).long() + 1, torch.ones(n, 4)),
     lambda n: torch.ones(n, 4).scatter_add(1, torch.zeros(n, 2).long() + 1, torch.ones(n, 1))),
    (lambda n: torch.ones(7, 3).index_add(0, torch.zeros(n).long() + 1, torch.ones(n, 3)),
     lambda n: torch.ones(7, 3).index_add(0, torch.zeros(n).long() + 1, torch.ones(n + 1, 3))),
    (lambda n: torch.ones(n, 5).topk(n - 2, 0), lambda n: torch.ones(n, 5).topk(n + 2, 0)),
    (lambda n: F.conv1d(torch.ones(1, 5, n), IMAGES[:, :, 0]),
     lambda n: F.conv1d(torch.ones(1, 4, n), IMAGES[:, :, 0])),
    (lambda n: F.max_pool1d(torch.ones(1, 1, n), 3), lambda n: F.max_pool1d(torch.ones(1, 1, n), 13)),
    (lambda n: LSTM(torch.ones(2, n, 5)), lambda n: torch.nn.functional._lstm(
        torch.ones(2, n, 6), None, None, list(LSTM._flat_weights), batch_first=True, bidirectional=True)),
    (lambda n: torch.einsum("ij,kj->ik", torch.ones(n, 3), torch.ones(n, 3)),
     lambda n: torch.einsum("ij,kj->ik", torch.ones(n, 3), torch.ones(n, 4))),
])  # fmt: skip
def test_what_does_not_fit_is_refused_as_ever(right, wrong):
    with pytest.raises((RuntimeError, ValueError)) as first:
        wrong(6)
    for n in (5, 6, 7):
        right(n)
    for n in (8, 9):
        with pytest.raises(type(first.value)):
            wrong(n)


def test_autocast_holds_for_tensors_that_were_read():
    """``cat`` under autocast to float16 refuses bfloat16 tensors, as PyTorch does, wherever they are."""
    x, y = torch.ones(2, dtype=torch.bfloat16), torch.ones(2) * 2
    assert x.tolist() == [1, 1] and y.tolist() == [2, 2]
    with torch.autocast("cpu", torch.float16):
        with pytest.raises(RuntimeError, match="autocast"):
            torch.cat([x, x])
        assert torch.cat([y, y]).dtype == torch.float32


def test_data_checks_are_kept(told):
    """Each size demands of its indices what the first one did."""
    for n in (3, 4, 5, 6):
        assert F.embedding(torch.zeros(n).long() + 1, TABLE).shape == (n, 5)
    assert "embedding" in told
    with pytest.raises(IndexError, match="out of range"):
        F.embedding(torch.zeros(7).long() + 50, TABLE).sum().item()


def test_messages_tell_the_sizes_of_the_call(told):
    for n in (4, 6, 9, 5):
        assert torch.ones(n, 3).gather(0, torch.zeros(2, 3).long() + 1).sum() == 6
    assert "gather" in told
    with pytest.raises(RuntimeError, match="dimension 0 with size 7"):
        torch.ones(7, 3).gather(0, torch.zeros(2, 3).long() + 7).sum().item()


def test_what_a_function_held_is_given_up_when_it_ends():
    """JAX's errors on the way of tracing for many sizes hold no frames, or values in them would be results."""

    def attention(x):
        y = x * 2
        died = weakref.ref(y)
        z = ((y @ y.transpose(1, 2)).softmax(-1) @ y)[:, -1].sum()
        return died, z

    gc.disable()
    try:
        for n in range(3, 14):
            with torch.no_grad():
                died, z = attention(torch.ones(2, n, 4))
            assert died() is None
            z.item()
    finally:
        gc.enable()


def test_what_was_read_stays_on_the_host_and_is_not_overwritten():
    """A token that was read is joined to a text by NumPy; in-place operations leave the array that was read alone."""
    logits = torch.arange(12.0).view(3, 4) * 2
    token = logits.argmax(-1)
    seen = token.jax()
    assert token.tolist() == [3, 3, 3]
    assert type(token._value.data) is np.ndarray and type(torch.cat([token, token])._value.data) is np.ndarray
    token += 1
    assert token.tolist() == [4, 4, 4] and seen.tolist() == [3, 3, 3]


def test_messages_name_sizes_that_did_not_vary_at_first(told):
    """Two reads of one table do not tell that a number in the message is the table's size."""
    for rows, reads in [(4, 2), (4, 3), (4, 7), (6, 3), (9, 5), (12, 8)]:
        table = torch.arange(float(rows)) * 1
        assert table[torch.arange(reads) % rows * 1].shape == (reads,)
        with pytest.raises(IndexError, match=f"with size {rows} "):
            (torch.arange(float(rows)) * 1)[torch.arange(reads + 20) * 1].tolist()
    assert "_index" in told or "index" in told


def test_rows_of_tables_of_any_length():
    """How many results there are is a size, too: a third length was refused."""
    for n in (3, 5, 0, 2, 4, 1):
        x = torch.arange(2.0 * n, requires_grad=True).reshape(n, 2) * 1
        rows = [r.tolist() for r in x]
        assert rows == x.tolist() and [c.tolist() for c in x.mT.unbind(1)] == rows
