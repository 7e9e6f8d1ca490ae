"""Operations on sparse tensors give what they give on the dense tensors, in the layout that PyTorch gives."""

import numpy as np
import pytest

import pytorchlike as torch

A = np.array([[0, 0, 2.0, 0], [4, 0, -5, 0], [0, 0, 0, 0], [0, 7, 0, 1]], np.float32)
B = np.array([[0, 3, 1.0, 0], [4, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 6]], np.float32)
X = np.arange(20, dtype=np.float32).reshape(4, 5) / 7


def coo(a):
    return torch.tensor(a).to_sparse()


def doubled(a):
    """As ``a``, with each element in two halves."""
    s = coo(a)
    i, v = s.indices(), s.values() / 2
    return torch.sparse_coo_tensor(torch.cat([i, i], 1), torch.cat([v, v]), s.shape)


def csr(a):
    return torch.tensor(a).to_sparse_csr()


def csc(a):
    return torch.tensor(a).to_sparse_csc()


def bsr(a):
    return torch.tensor(a).to_sparse_bsr((2, 2))


def same(got, want):
    got = got if got.layout == torch.strided else got.to_dense()
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [coo, doubled, csr, csc, bsr])
def test_functions_that_keep_zeros(make):
    s = make(A)
    for name in ("sin", "tanh", "abs", "neg", "sign", "floor", "expm1", "relu", "atan", "isnan", "isinf", "trunc"):
        got = getattr(torch, name)(s)
        assert got.layout == s.layout
        same(got, getattr(torch, name)(torch.tensor(A)).numpy())
    same(-s, -A)
    same(s * 2, A * 2)
    same(3 * s, A * 3)
    same(s / 2, A / 2)
    same(s * torch.tensor(2.0), A * 2)
    assert torch.sqrt(abs(s)).layout == s.layout


def test_only_coo_has_powers():
    same(coo(A) ** 2, A**2)
    same(torch.square(doubled(A)), A**2)
    with pytest.raises(RuntimeError, match="zeroth power"):
        coo(A) ** 0
    with pytest.raises(RuntimeError, match="unsupported tensor layout"):
        csr(A) ** 2


@pytest.mark.parametrize("make", [coo, doubled, csr, csc])
def test_sums_and_products_of_two(make):
    a, b = make(A), make(B)
    for got, want in ((a + b, A + B), (a - b, A - B), (a * b, A * B), (torch.add(a, b, alpha=3), A + 3 * B),
                      (a + a, A + A), (a * a, A * A)):  # fmt: skip
        assert got.layout == a.layout
        same(got, want)
    got = a * torch.tensor(B)
    assert got.layout == a.layout
    same(got, A * B)
    same(torch.tensor(B) * a, A * B)
    same(a * torch.tensor(B[0]), A * B[0])
    same(torch.tensor(B) + a, A + B)
    same(torch.tensor(B) - a, B - A)


def test_sums_in_place():
    a = coo(A)
    assert a.add_(coo(B)) is a
    same(a, A + B)
    a.mul_(2)
    same(a, (A + B) * 2)
    x = torch.tensor(B)
    x.add_(coo(A), alpha=2)
    same(x, B + 2 * A)
    a.zero_()
    assert a._nnz() == 0 and a.shape == (4, 4)


def test_results_of_other_shapes_and_kinds_are_refused():
    with pytest.raises(RuntimeError, match=r"\[4, 4\] != \[2, 2\]"):
        coo(A) + coo(np.eye(2, dtype=np.float32))
    with pytest.raises(RuntimeError, match="same layout"):
        coo(A) + csr(A)
    with pytest.raises(RuntimeError, match="scalar or zero-dim"):
        coo(A) / torch.tensor(A)
    with pytest.raises(NotImplementedError):
        2 / coo(A)
    assert (coo(A) + coo(A).double()).dtype == torch.float64
    assert (coo(A).long() / 2).dtype == torch.float32


@pytest.mark.parametrize("make", [coo, doubled, csr, csc, bsr])
def test_products_with_dense_matrices(make):
    s, x = make(A), torch.tensor(X)
    for got in (s @ x, torch.mm(s, x), torch.matmul(s, x), torch.sparse.mm(s, x), torch.spmm(s, x)):
        assert got.layout == torch.strided
        same(got, A @ X)
    same(s @ x[:, 0], A @ X[:, 0])
    same(torch.mv(s, x[:, 1]), A @ X[:, 1])
    same(torch.addmm(torch.ones(4, 5), s, x, beta=2, alpha=3), 2 + 3 * A @ X)
    same(torch.sparse.addmm(torch.ones(4, 5), s, x), 1 + A @ X)
    same(torch.nn.functional.linear(x.t(), s), X.T @ A.T)
    if make is not bsr:
        same(x.t() @ s, X.T @ A)
        same(x[:, 0] @ s, X[:, 0] @ A)
    with pytest.raises(RuntimeError, match="cannot be multiplied .4x4 and 3x2."):
        s @ torch.ones(3, 2)
    with pytest.raises(RuntimeError, match="expected scalar type Float but found Double"):
        s @ torch.ones(4, 2, dtype=torch.float64)


def test_products_of_sparse_matrices():
    same(coo(A) @ coo(B), A @ B)
    same(doubled(A) @ doubled(B), A @ B)
    got = csr(A) @ csr(B)
    assert got.layout == torch.sparse_csr
    same(got, A @ B)
    with pytest.raises(RuntimeError, match="SparseCsr @ Sparse"):
        csr(A) @ coo(B)


def test_products_that_stay_sparse():
    x = torch.tensor(X)
    s = coo(A)
    hybrid = torch.hspmm(s, x)
    assert hybrid.sparse_dim() == hybrid.dense_dim() == 1 and hybrid._nnz() == 3
    same(hybrid, A @ X)
    same(torch.smm(s, x), A @ X)
    same(torch.sspaddmm(s, s, torch.ones(4, 4), beta=2, alpha=3), 2 * A + 3 * A @ np.ones((4, 4)))


def test_batches_and_reductions_of_products():
    batch = torch.stack([coo(A), coo(B)])
    x = torch.tensor(np.stack([X, X + 1]))
    same(torch.bmm(batch, x), np.stack([A @ X, B @ (X + 1)]))
    s = csr(A)
    products = np.where(A[:, :, None] != 0, A[:, :, None] * X[None], np.nan)
    for name, of in (("sum", np.nansum), ("mean", np.nanmean), ("amax", np.nanmax), ("amin", np.nanmin)):
        want = np.stack([of(row, axis=0) if (~np.isnan(row)).any() else np.zeros(5) for row in products])
        same(torch.sparse.mm(s, torch.tensor(X), name), want)


def test_sampled_products():
    left, right = torch.tensor(X), torch.tensor(X.T.copy())
    got = torch.sparse.sampled_addmm(csr(A), left, right, beta=2, alpha=3)
    assert got.layout == torch.sparse_csr
    same(got, np.where(A != 0, 2 * A + 3 * X @ X.T, 0))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        torch.sparse.sampled_addmm(csr(A), left, left)


def test_sums_over_dimensions():
    for s in (coo(A), doubled(A)):
        same(torch.sparse.sum(s), A.sum())
        same(torch.sparse.sum(s, 0), A.sum(0))
        same(s.sum(1), A.sum(1))
        same(torch.sparse.sum(s, (0, 1)), A.sum())
        assert torch.sparse.sum(s, 0).layout == torch.sparse_coo
    same(csr(A).sum(), A.sum())
    same(csr(A).sum(1, keepdim=True), A.sum(1, keepdims=True))
    hybrid = torch.sparse_coo_tensor([[0, 2]], [[1.0, 2.0], [3.0, 4.0]], (3, 2))
    same(torch.sparse.sum(hybrid, 1), [3, 0, 7])
    same(torch.sparse.sum(hybrid, 0), [4, 6])
    same(doubled(A).norm(), np.linalg.norm(A))
    with pytest.raises(IndexError):
        torch.sparse.sum(coo(A), 5)


def test_softmax_over_what_is_stored():
    want = np.zeros_like(A)
    for i, row in enumerate(A):
        e = np.exp(row[row != 0])
        want[i, row != 0] = e / e.sum()
    got = torch.sparse.softmax(doubled(A), 1)
    same(got, want)
    same(torch.sparse.log_softmax(coo(A), 1).values().exp(), got.values().numpy())
    hybrid = torch.sparse_coo_tensor([[0, 2]], [[1.0, 2.0], [3.0, 4.0]], (3, 2))
    same(torch.sparse.softmax(hybrid, 1).values(), torch.softmax(hybrid.coalesce().values(), 1).numpy())
    with pytest.raises(NotImplementedError, match="sparse"):
        torch.sparse.softmax(torch.tensor(A), 1)


def test_turning_and_indexing():
    for s in (coo(A), doubled(A)):
        for got, want in ((s.t(), A.T), (s.T, A.T), (s.transpose(0, 1), A.T), (s.permute(1, 0), A.T),
                          (s.unsqueeze(1), A[:, None]), (s.unsqueeze(1).squeeze(1), A), (s[1], A[1]),
                          (s[1, 2], A[1, 2]),
                          (s[:, 2], A[:, 2]), (s[None], A[None]), (s[..., 1], A[:, 1]), (s[1:3], A[1:3]),
                          (s.select(1, 2), A[:, 2]), (s.narrow(1, 1, 2), A[:, 1:3]),
                          (s.index_select(0, torch.tensor([3, 1, 1])), A[[3, 1, 1]])):  # fmt: skip
            same(got, want)
    assert [r.layout for r in coo(A)] == [torch.sparse_coo] * 4
    assert csr(A).t().layout == torch.sparse_csc and bsr(A).t().layout == torch.sparse_bsc
    same(csr(A).t(), A.T)
    same(bsr(A).t(), A.T)
    same(csr(A)[1], A[1])
    with pytest.raises(IndexError, match="index 7 out of range"):
        coo(A)[7]
    with pytest.raises(NotImplementedError, match="list"):
        coo(A)[[0, 1]]


def test_joining():
    a, b = coo(A), doubled(B)
    same(torch.cat([a, b]), np.concatenate([A, B]))
    same(torch.cat([a, b], 1), np.concatenate([A, B], 1))
    same(torch.stack([a, b], 1), np.stack([A, B], 1))
    hybrid = torch.sparse_coo_tensor([[0, 2]], [[1.0, 2.0], [3.0, 4.0]], (3, 2))
    same(torch.cat([hybrid, hybrid], 1), np.concatenate([hybrid.to_dense().numpy()] * 2, 1))
    with pytest.raises(RuntimeError, match="dense tensor was found at position 1"):
        torch.cat([a, torch.tensor(A)])


def test_masks_diagonals_and_sizes():
    got = torch.tensor(B).sparse_mask(coo(A))
    assert got._nnz() == 5
    same(got, np.where(A != 0, B, 0))
    same(torch.tensor(B).sparse_mask(csr(A)), np.where(A != 0, B, 0))
    d = torch.sparse.spdiags(torch.arange(9.0).reshape(3, 3), torch.tensor([0, -1, 2]), (4, 4))
    want = np.diag([0, 1, 2.0, 0]) + np.diag([3, 4.0, 5], -1) + np.diag([8.0, 0], 2)
    same(d, want)
    with pytest.raises(RuntimeError, match="duplicate"):
        torch.sparse.spdiags(torch.ones(2, 3), torch.tensor([0, 0]), (3, 3))
    s = coo(A)
    s.sparse_resize_((5, 6), 2, 0)
    assert s.shape == (5, 6)
    same(s, np.pad(A, ((0, 1), (0, 2))))
    with pytest.raises(RuntimeError, match="shrinking"):
        s.sparse_resize_((4, 4), 2, 0)
    s.sparse_resize_and_clear_((2, 2), 2, 0)
    assert s._nnz() == 0 and s.shape == (2, 2)


def test_types_of_sparse_tensors():
    x = torch.eye(2).to_sparse()
    assert x.type() == "torch.sparse.FloatTensor" and x.double().type() == "torch.sparse.DoubleTensor"
    for dtype in (torch.float64, "torch.sparse.DoubleTensor", torch.DoubleTensor):
        y = x.type(dtype)
        assert y.dtype is torch.float64 and y.layout is torch.sparse_coo and y.to_dense().tolist() == [[1, 0], [0, 1]]
