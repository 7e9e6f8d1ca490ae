"""What an operation demands of its data depends on the arrays' shapes: an empty index demands nothing."""

import pytest

import pytorchlike as torch


@pytest.mark.parametrize("how", ["fused", "ops", "interpret"])
def test_calls_of_one_operation_have_checks_of_their_own(tier, how):
    tier(how)
    x = torch.arange(24.0).reshape(3, 8)
    for n in (2, 0, 3, 0, 1):  # the same kernel, with and without a check, in either order
        index = torch.arange(n) * 2 % 3
        want = 2 * x.numpy()[[i * 2 % 3 for i in range(n)]].sum() + 1
        assert x.mul(2).index_select(0, index).sum().add(1).item() == want
    assert x.mul(2).index_select(0, torch.arange(0) * 2 % 3).sum().add(1).neg().item() == -1  # another program with it
    with pytest.raises(IndexError, match="out of bounds for dimension 0 with size 3"):
        x.mul(2)[torch.arange(2) + 2].sum().item()
    wide = torch.ones(5, 2)
    with pytest.raises(IndexError, match="out of bounds for dimension 0 with size 5"):  # not the size met before
        wide.mul(2)[torch.arange(2) + 4].sum().item()


@pytest.mark.parametrize("how", ["fused", "interpret"])
def test_masked_writes_of_rows_and_of_one_row(tier, how):
    """Segment Anything's prompt encoder: some labels have points, others none, and each adds an embedding."""
    tier(how)
    weights = [torch.nn.Parameter(torch.full((1, 4), float(k + 1))) for k in range(3)]
    for labels in ([1, 0, -1], [1, 1, -1], [-1, -1, -1]):
        for mark in (torch.tensor(labels), torch.tensor(labels) * torch.ones((), dtype=torch.int64)):
            e = torch.zeros(3, 4)
            e[mark == -1] = 0.0
            for k, w in enumerate(weights):
                e[mark == k - 1] += w
            want = [[float(v + 2)] * 4 for v in labels]
            loss = (e * e).sum()
            loss.backward()
            assert e.tolist() == want
            for k, w in enumerate(weights):
                assert w.grad.tolist() == [[2.0 * (k + 1) * labels.count(k - 1)] * 4]
                w.grad = None


def test_ctrl_c_stays_ctrl_c_where_jax_takes_it_for_another_error(tier, monkeypatch):
    """As when it comes while JAX compares two functions that it has traced."""
    tier("fused")

    def interrupted(*_):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ValueError("an exception raised while checking equality") from error

    x = torch.ones(3)
    y = x.exp().sum()
    with monkeypatch.context() as during:
        during.setattr("pytorchlike.engine.fused.build", interrupted)
        with pytest.raises(KeyboardInterrupt):
            y.item()
    assert x.tolist() == [1, 1, 1] and x.exp().sum().item() == pytest.approx(3 * 2.7182817)


def test_what_was_told_when_a_value_was_shown_is_not_told_again():
    """A notebook that could not show a value goes on; the error is no other line's."""
    x = torch.randn(2, 3, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(x, torch.arange(2) * 5)
    with pytest.raises(IndexError, match="Target is out of bounds"):
        repr(loss)
    assert torch.ones(2, 2).matmul(torch.ones(2, 2)).sum().item() == 8
