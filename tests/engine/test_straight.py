"""Jaxprs written out as Python that calls NumPy: the values of JAX, in memory of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytorchlike.engine.straight import Missing, Straight
from pytorchlike.ops import _random

X = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
U = np.random.default_rng(1).integers(0, 255, (4, 5, 3)).astype(np.uint8)

FUNCTIONS = {
    "the arguments themselves, twice": (lambda x: (x, x, x + 1), X),
    "pixels": (lambda u: u.transpose(2, 0, 1).astype(np.float32) / 255, U),
    "parts": (lambda x: (x[:, ::-1, 1:3], x[1], x[:, None].squeeze(1)), X),
    "constants": (lambda x: (jnp.zeros((3, 2)), jnp.arange(5), jnp.asarray(X[0])), X),
    "one column for all": (lambda x: (x - x.mean((1, 2), keepdims=True)) / x.std((1, 2), keepdims=True), X),
    "spread, then used as it is": (lambda x: (jnp.broadcast_to(x[:, :1], x.shape), jnp.full((2, 2), x[0, 0, 0])), X),
    "spread over new dims": (lambda x: x[None] * jnp.broadcast_to(x[:, 0, :1, None], (3, 1, 5))[None], X),
    "a jaxpr in a jaxpr, twice": (lambda x: jax.jit(lambda y: y * y - 1)(jax.jit(lambda y: y * y - 1)(x)), X),
    "choices": (lambda x: (jnp.where(x > 0, x, 0.5), jnp.clip(x, -0.5, 0.5).sum(), jnp.maximum(x, 0)), X),
    "softmax": (jax.nn.softmax, X),
    "products": (lambda x: x.reshape(5, 12) @ jnp.ones((12, 2), np.float32), X),
    "by rules": (lambda x: (jnp.pad(x, ((0, 0), (1, 1), (2, 0))), jnp.sort(x.ravel())[::2], jnp.cumsum(x, 1)), X),
    "integers that wrap around": (lambda u: (u * u + u, u >> 2, ~u, -u), U),
    "bools": (lambda u: ((u > 9) & (u < 99) | ~(u != 5), (u > 9).astype(np.float32)), U),
    "floats to integers": (lambda x: ((x * 100).astype(np.int8), x.astype(bool)), X),
    "half floats": (lambda x: (x.astype(jnp.bfloat16) + jnp.bfloat16(1), x.astype(np.float16) * 3), X),
    "random numbers": (lambda x: (_random.bits((3, 4), (7,)), _random.uniform((3, 4), ())), X),
    "random integers": (lambda x: _random.integers((1, 2), (3,), 0, 9), X),
    "loops": (lambda x: jax.lax.fori_loop(0, 3, lambda i, y: y * 0.5 + i, x), X),
    "a long expression": (lambda x: sum(x * k for k in range(40)), X),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_jaxs_and_memory_is_new(name):
    function, given = FUNCTIONS[name]
    with jax.enable_x64(True):
        closed = jax.make_jaxpr(function)(given)
        wanted = jax.tree.leaves(function(jnp.asarray(given)))
    before = given.copy()
    straight = Straight(closed)
    found = straight.run(given)
    assert straight.cost > 0 or not closed.eqns
    for got, want in zip(found, wanted, strict=True):
        want = np.asarray(want)
        assert type(got) is np.ndarray and got.shape == want.shape and got.dtype == want.dtype
        assert got.flags.c_contiguous and got.flags.owndata and not np.may_share_memory(got, given)
        wide = np.float64 if got.dtype.kind in "fV" else got.dtype
        np.testing.assert_allclose(got.astype(wide), want.astype(wide), rtol=2e-5, atol=1e-6)
        if got.size and got.dtype.kind != "V":
            got[...] = 1  # neither the arguments nor a constant
    np.testing.assert_array_equal(given, before)
    again = straight.run(given)
    for got, want in zip(again, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(got, np.float64), np.asarray(want, np.float64), rtol=2e-5, atol=1e-6)


def test_what_numpy_lacks_is_refused_at_once():
    with pytest.raises(Missing, match="rng_uniform"):
        Straight(jax.make_jaxpr(lambda a: jax.lax.rng_uniform(a, a + 1, (3,)))(np.float32(0)))
