"""Products of matrices: each formulation of a gradient gives that of the plain product."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.ops import _product


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    monkeypatch.setattr(_product, "_LARGE", 1)
    monkeypatch.setattr(_product, "platform", lambda: "cpu")  # else that of an operation


#: (rows, left, right) of the gradient, and how it is formulated.
CASES = [((6, 8, 4), "right"), ((256, 128, 64), "right"), ((6, 128, 64), None), ((6, 4, 5), "left"),
         ((6, 64, 64), "left"), ((3, 65, 100), "fixed"), ((3, 100, 65), None)]  # fmt: skip


@pytest.mark.parametrize("batch", [(3,), (2, 3)])
@pytest.mark.parametrize(("sizes", "how"), CASES)
@pytest.mark.parametrize("kind", ["rows", "columns"])
def test_gradients_of_batches_are_those_of_the_plain_product(kind, sizes, how, batch):
    rows, left, right = sizes
    rng = np.random.default_rng(0)
    if kind == "rows":  # the gradient by w is (rows, N) by (rows, K)
        n, k, made, plain = left, right, _product.by_rows, lambda x, w: x @ jnp.swapaxes(w, -1, -2)
        x, w = rng.standard_normal((*batch, rows, k)), rng.standard_normal((*batch, n, k))
        assert _product._turned(x, w.size, n, k, None) == how
    else:  # (rows, K) by (rows, N)
        k, n, made, plain = left, right, _product.by_columns, jnp.matmul
        x, w = rng.standard_normal((*batch, rows, k)), rng.standard_normal((*batch, k, n))
        assert _product._turned(x, w.size, k, n, None) == how

    def all_of(product):
        found, back = jax.vjp(product, x, w)
        moved = jax.jvp(product, (x, w), (w.sum() + 0 * x, 0 * w + 0.5))[1]
        twice = jax.grad(lambda x, w: (jax.grad(lambda w: (product(x, w) ** 3).sum())(w) ** 2).sum())(x, w)
        return found, *back(found), moved, twice

    with jax.enable_x64(True):
        x, w = jnp.asarray(x), jnp.asarray(w)
        for ours, theirs in zip(all_of(made), all_of(plain), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * float(jnp.abs(theirs).max()))


def test_a_batch_of_one_matrix_for_all_is_broadcast():
    a, b = torch.randn(4, 3, 5, requires_grad=True), torch.randn(1, 5, 2, requires_grad=True)
    (a @ b).sum().backward()
    torch.testing.assert_close(b.grad[0, :, 0], a.detach().sum((0, 1)))
    assert b.grad.shape == b.shape


@pytest.mark.parametrize("equation", [
    "bhid,bhjd->bhij", "bhij,bhjd->bhid", "nqhd,nkhd->nhqk", "nhql,nlhd->nqhd", "bij,bkj->bki", "bij,jkb->kbi",
    "bij,bjk->ik", "bij,bjk->bi", "bii,bij->bj", "bik,bjk->ij",
])  # fmt: skip
def test_einsum_of_two_operands_and_its_gradients(equation):
    """Products of batches of matrices in any order of the axes, and what looks like one but is none."""
    sizes = dict(zip("bhijkdnql", (2, 3, 4, 4, 5, 6, 2, 5, 7), strict=True))
    left, right, out = equation.replace("->", ",").split(",")
    rng = np.random.default_rng(0)
    a, b, g = (rng.standard_normal([sizes[c] for c in part]) for part in (left, right, out))
    x, y = (torch.tensor(v, requires_grad=True) for v in (a, b))
    found = torch.einsum(equation, x, y)
    np.testing.assert_allclose(found.detach().numpy(), np.einsum(equation, a, b), rtol=1e-12, atol=1e-12)
    found.backward(torch.tensor(g))
    with jax.enable_x64(True):
        for ours, theirs in zip((x, y), jax.vjp(lambda a, b: jnp.einsum(equation, a, b), a, b)[1](g), strict=True):
            np.testing.assert_allclose(ours.grad.numpy(), theirs, rtol=1e-12, atol=1e-12)
