"""Gradients through sparse operations are those of the dense ones, and training compiles once."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.compiler import stats

I = np.array([[0, 1, 1, 0, 2], [2, 0, 2, 2, 1]])  # noqa: E741
V = np.array([3.0, 4.0, 5.0, -1.0, 2.0], np.float32)
X = np.arange(15, dtype=np.float32).reshape(3, 5) / 7

OPERATIONS = {
    "mm": lambda s, x: s @ x,
    "dense times sparse": lambda s, x: x.t() @ s,
    "addmm": lambda s, x: torch.addmm(x, s, x, beta=2, alpha=3),
    "mv": lambda s, x: torch.mv(s, x[:, 0]),
    "twice": lambda s, x: s @ (s @ x),
    "scaled": lambda s, x: s * 2,
    "turned": lambda s, x: s.t(),
    "dense": lambda s, x: s.to_dense(),
    "sum": lambda s, x: s.sum(),
    "masked": lambda s, x: s * x[:, :3],
}


def gradients(operation, make):
    v = torch.tensor(V, requires_grad=True)
    x = torch.tensor(X, requires_grad=True)
    out = operation(make(torch.sparse_coo_tensor(I, v, (3, 3))), x)
    out = out if out.layout == torch.strided else out.to_dense()
    (out * torch.arange(1.0, out.numel() + 1).reshape(out.shape)).sum().backward()
    return out, v.grad, x.grad


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("layout", ["coo", "uncoalesced", "csr"])
def test_as_through_the_dense_matrix(name, layout):
    make = {"coo": lambda s: s.coalesce(), "uncoalesced": lambda s: s, "csr": lambda s: s.to_sparse_csr()}[layout]
    got = gradients(OPERATIONS[name], make)
    want = gradients(OPERATIONS[name], lambda s: s.to_dense())
    for a, b in zip(got, want, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5)


def test_sparse_leaves_get_sparse_gradients():
    s = torch.sparse_coo_tensor(I, V, (3, 3)).coalesce().requires_grad_()
    x = torch.tensor(X, requires_grad=True)
    assert s.is_leaf and s.requires_grad and s.grad is None
    for times in (1, 2):
        torch.sparse.mm(s, x).sum().backward()
        assert s.grad.layout == torch.sparse_coo and s.grad.indices().tolist() == s.indices().tolist()
        np.testing.assert_allclose(s.grad.values().numpy(), times * X.sum(1)[s.indices()[1].numpy()], rtol=1e-6)
    s.grad = None
    assert s.grad is None
    g, h = torch.autograd.grad(torch.sparse.mm(s, x).sum(), [s, x])
    assert g.layout == torch.sparse_coo and h.shape == x.shape
    with torch.no_grad():
        s.mul_(2)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        s.mul_(2)


def test_backward_of_a_sparse_result_takes_its_structure_or_a_dense_tensor():
    s = torch.sparse_coo_tensor(I, V, (3, 3)).coalesce().requires_grad_()
    (s * 3).backward(torch.ones(3, 3).sparse_mask(s.detach()))
    (s * 3).backward(torch.ones(3, 3))
    assert s.grad.values().tolist() == [6.0] * 4


def test_conversions_from_dense_pass_gradients():
    x = torch.tensor([[0.0, 2, 0, 1], [3, 0, 0, 0]], requires_grad=True)
    w = torch.arange(1.0, 9).reshape(2, 4)
    makers = (lambda t: t.to_sparse(), lambda t: t.to_sparse_csr(), lambda t: t.to_sparse_csc())
    for make in makers:
        x.grad = None
        (make(x).to_dense() * w).sum().backward()
        assert x.grad.tolist() == [[0, 2, 0, 4], [5, 0, 0, 0]]
    x.grad = None
    (x.to_sparse_bsr((1, 2)).to_dense() * w).sum().backward()
    assert x.grad.tolist() == [[1, 2, 3, 4], [5, 6, 0, 0]]  # blocks are stored whole


def test_second_derivatives():
    s = torch.sparse_coo_tensor(I, V, (3, 3)).coalesce()
    x = torch.tensor(X, requires_grad=True)
    (g,) = torch.autograd.grad(((s @ x) ** 2).sum(), x, create_graph=True)
    (gg,) = torch.autograd.grad((g**2).sum(), x)
    a = s.to_dense().numpy()
    h = 2 * a.T @ a
    np.testing.assert_allclose(gg.numpy(), 2 * h @ h @ X, rtol=1e-4)


def test_values_share_what_is_written():
    s = torch.sparse_coo_tensor([[0, 1]], [1.0, 2.0], (3,)).coalesce()
    s.values().mul_(10)
    assert s.to_dense().tolist() == [10.0, 20.0, 0.0]


@pytest.mark.parametrize("tier_name", ["fused", "op"])
def test_training_over_a_graph_compiles_once(tier, tier_name):
    tier(tier_name)
    rng = np.random.default_rng(0)
    n = 40
    y = rng.integers(0, 2, n)
    links = (rng.random((n, n)) < np.where(y[:, None] == y[None], 0.4, 0.02)) | np.eye(n, dtype=bool)
    weights = (links / links.sum(1, keepdims=True)).astype(np.float32)
    x = torch.tensor((rng.standard_normal((n, 8)) + y[:, None]).astype(np.float32))
    target = torch.tensor(y)
    for adjacency in (torch.tensor(weights).to_sparse(), torch.tensor(weights).to_sparse_csr()):
        torch.manual_seed(0)
        first, second = nn.Linear(8, 8), nn.Linear(8, 2)
        optimizer = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=0.05)
        losses = []
        for step in range(12):
            if step == 4:
                before = stats()
            hidden = torch.relu(torch.sparse.mm(adjacency, first(x)))
            loss = nn.functional.cross_entropy(adjacency @ second(hidden), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        after = stats()
        assert after["compiles"] == before["compiles"] and after["kernels"] == before["kernels"]
        assert losses[-1] < losses[0] / 3


def test_recording_reads_nothing():
    """A product with a known pattern is part of the program around it."""
    s = torch.sparse_coo_tensor(I, V, (3, 3)).coalesce()
    x = torch.tensor(X)
    (s @ x).sum().item()
    before = stats()["flushes"]
    out = torch.relu((s * 2) @ (x + 1)).sum()
    assert stats()["flushes"] == before
    out.item()
    assert stats()["flushes"] == before + 1
