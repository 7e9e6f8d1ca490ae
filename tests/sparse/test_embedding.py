"""Tables with sparse gradients: what ``.grad`` is, and that SparseAdam's step is that of the rows."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.compiler import stats


def table(**kwargs):
    torch.manual_seed(0)
    return nn.Embedding(6, 3, sparse=True, **kwargs)


def test_the_gradient_is_a_coo_tensor_of_the_rows_used():
    e = table(padding_idx=1)
    words = torch.tensor([[4, 1], [4, 0]])
    weights = torch.arange(12.0).reshape(2, 2, 3)
    (e(words) * weights).sum().backward()
    g = e.weight.grad
    assert g.layout == torch.sparse_coo and g.shape == (6, 3) and (g.sparse_dim(), g.dense_dim()) == (1, 1)
    want = np.zeros((6, 3))
    for k, w in enumerate([4, 1, 4, 0]):
        want[w] += 0 if w == 1 else weights.numpy().reshape(4, 3)[k]
    np.testing.assert_array_equal(g.to_dense().numpy(), want)
    (e(words) * weights).sum().backward()
    np.testing.assert_array_equal(e.weight.grad.to_dense().numpy(), 2 * want)
    e.weight.grad = None
    (dense,) = torch.autograd.grad((e(words) * weights).sum(), e.weight)
    np.testing.assert_array_equal(dense.numpy(), want)


def test_a_table_used_in_two_ways_gets_the_sum():
    e = table()
    (e(torch.tensor([2])).sum() + (e.weight * 3).sum()).backward()
    want = np.full((6, 3), 3.0)
    want[2] += 1
    assert e.weight.grad.layout == torch.strided
    np.testing.assert_array_equal(e.weight.grad.numpy(), want)


def test_a_second_pass_needs_the_graph():
    e = table()
    loss = e(torch.tensor([2])).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert e.weight.grad.to_dense()[2].tolist() == [2, 2, 2]
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_sparse_adam_moves_the_rows_used_as_the_dense_rule_does():
    rng = np.random.default_rng(0)
    batches = [torch.tensor(rng.integers(0, 6, 4)) for _ in range(6)]
    ends = []
    for sparse in (True, False):
        e = table()
        e.sparse = sparse
        optimizer = torch.optim.SparseAdam(e.parameters(), lr=0.1)
        for k, words in enumerate(batches):
            if k == 3:
                compiled = stats()["compiles"] + stats()["kernels"]
            optimizer.zero_grad()
            (e(words) ** 2).sum().backward()
            optimizer.step()
            e.weight.detach().numpy()
        assert stats()["compiles"] + stats()["kernels"] == compiled
        ends.append((e.weight.detach().numpy(), optimizer.state[e.weight]["exp_avg"].numpy()))
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_other_optimizers_take_or_refuse_sparse_gradients():
    for kind, takes in ((torch.optim.SGD, True), (torch.optim.Adagrad, True), (torch.optim.Adam, False)):
        e = table()
        before = e.weight.detach().clone()
        optimizer = kind(e.parameters(), lr=0.5)
        e(torch.tensor([2, 2])).sum().backward()
        if takes:
            optimizer.step()
            changed = (e.weight.detach() != before).any(1)
            assert changed.tolist() == [False, False, True, False, False, False]
        else:
            with pytest.raises(RuntimeError, match="does not support sparse gradients"):
                optimizer.step()


def test_frequencies_are_refused():
    with pytest.raises(RuntimeError, match="scale_grad_by_freq"):
        table(scale_grad_by_freq=True)(torch.tensor([1]))
