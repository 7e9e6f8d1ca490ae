"""Linear maps that read fixed places: their derivatives, of any order, are reads as well."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.ops._reads import Reads, weighted_reads

F = torch.nn.functional


def _dense(reads: Reads) -> np.ndarray:
    matrix = np.zeros((len(reads.places), reads.size))
    np.add.at(matrix, (np.arange(len(reads.places))[:, None], reads.places), reads.weights)
    return matrix


def _some(kind: str) -> Reads:
    if kind == "unread":
        return Reads(7, np.array([[1, 2], [5, 2]]), np.array([[0.5, 0.25], [2.0, 0.0]]))
    if kind == "lopsided":  # one place is read by most results: its cotangents are added up instead
        return Reads(12, np.array([[0]] * 20 + [[3], [7]]))
    if kind == "empty":
        return Reads(4, np.zeros((0, 2), int))
    rng = np.random.default_rng(0)
    return Reads(6, rng.integers(0, 6, (9, 3)), rng.standard_normal((9, 3)))


@pytest.mark.parametrize("kind", ["any", "unread", "lopsided", "empty"])
def test_a_map_and_its_derivatives_are_those_of_its_matrix(kind):
    reads = _some(kind)
    matrix, rng = _dense(reads), np.random.default_rng(1)
    x = jnp.asarray(rng.standard_normal((2, reads.size, 3)), np.float32)
    y = jnp.asarray(rng.standard_normal((2, len(matrix), 3)), np.float32)

    def function(x):
        return weighted_reads(x, 1, reads)

    out, back = jax.vjp(function, x)
    np.testing.assert_allclose(out, np.einsum("oi,bic->boc", matrix, x), atol=1e-5)
    np.testing.assert_allclose(back(y)[0], np.einsum("oi,boc->bic", matrix, y), atol=1e-5)
    np.testing.assert_allclose(jax.jvp(function, (x,), (2 * x,))[1], 2 * out, atol=1e-5)
    np.testing.assert_allclose(jax.vjp(lambda y: back(y)[0], y)[1](x)[0], out, atol=1e-5)
    by_last = jax.vmap(lambda x: weighted_reads(x, 1, reads), in_axes=2, out_axes=2)(x)
    np.testing.assert_array_equal(by_last, out)


def test_infinity_stays_where_it_is_read():
    """What fills up the list of a place's readers has weight zero, and zero times infinity is no number."""
    reads = Reads(6, np.array([[0, 0], [1, 2], [2, 2], [4, 5]]), np.array([[1.0, 0], [0.5, 0.5], [1, 0], [0.5, 0.5]]))
    _, back = jax.vjp(lambda x: weighted_reads(x, 0, reads), jnp.zeros(6))
    grad = back(jnp.array([jnp.inf, 1.0, 1.0, 1.0]))[0]
    np.testing.assert_array_equal(grad, [np.inf, 0.5, 1.5, 0, 0.5, 0.5])


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
def test_resampling_to_uneven_sizes_has_exact_gradients_of_second_order(mode):
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)

    def function(x):
        return F.interpolate(x, size=(7, 3), mode=mode) ** 2

    assert torch.autograd.gradcheck(function, (x,))
    assert torch.autograd.gradgradcheck(function, (x,))


def test_an_axis_read_by_a_vector_adds_to_places_that_are_named_twice():
    x = torch.zeros(2, 3, 5, requires_grad=True)
    at = torch.tensor([1, 4, 1])
    for read in (lambda x: x[..., at], lambda x: x.index_select(2, at), lambda x: x[..., at.tolist()]):
        (grad,) = torch.autograd.grad(read(x).sum(), x)
        assert (grad == torch.tensor([0.0, 2, 0, 0, 1])).all()
    added = torch.zeros(2, 5).index_add(1, at, torch.ones(2, 3))
    put = torch.zeros(2, 5)
    put.index_put_((torch.arange(2)[:, None], at), torch.tensor(1.0), accumulate=True)
    assert (added == torch.tensor([0.0, 2, 0, 0, 1])).all() and (put == added).all()
