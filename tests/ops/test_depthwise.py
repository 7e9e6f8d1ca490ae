"""Convolutions of each channel by itself on the CPU against XLA's grouped ones, with gradients of all orders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from pytorchlike.engine.straight import Straight
from pytorchlike.ops import _depthwise
from pytorchlike.ops._convolution import Geometry

#: stride, padding, dilation, size, kernel.
CASES = {
    "line": ((2,), ((1, 2),), (2,), (9,), (3,)),
    "plain": ((1, 1), ((2, 2), (1, 1)), (1, 1), (5, 6), (5, 3)),
    "strided": ((2, 3), ((1, 1), (2, 0)), (1, 1), (8, 7), (3, 4)),
    "stride beyond the kernel": ((3, 2), ((0, 0), (0, 0)), (1, 1), (8, 7), (1, 2)),
    "strided and dilated": ((2, 2), ((2, 1), (3, 3)), (2, 3), (7, 8), (3, 2)),
    "more padding than kernel": ((2, 1), ((4, 3), (3, 4)), (1, 1), (5, 4), (2, 3)),
    "cropped": ((1, 2), ((-1, 1), (1, -2)), (1, 1), (8, 9), (3, 3)),
    "sums in two loops": ((1, 1), ((1, 1), (2, 2)), (1, 1), (6, 8), (3, 9)),
    "volume": ((1, 2, 1), ((1, 1), (0, 1), (1, 1)), (1, 1, 2), (3, 4, 5), (2, 2, 3)),
}
CHANNELS = 2


def given(name, axis):
    stride, padding, dilation, size, kernel = CASES[name]
    out = tuple(
        (n + lo + hi - d * (k - 1) - 1) // s + 1
        for s, (lo, hi), d, n, k in zip(stride, padding, dilation, size, kernel, strict=True)
    )
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, CHANNELS, *size)), rng.normal(size=(CHANNELS, 1, *kernel))
    geometry = Geometry(stride, padding, dilation, size, kernel, out)

    def ours(x, w):
        if axis == 1:
            return _depthwise.depthwise(x, w, geometry, 1)
        return jnp.moveaxis(_depthwise.depthwise(jnp.moveaxis(x, 1, -1), w, geometry, x.ndim - 1), -1, 1)

    def plain(x, w):
        return lax.conv_general_dilated(x, w, stride, padding, rhs_dilation=dilation, feature_group_count=CHANNELS)

    return ours, plain, x, w, rng.normal(size=(2, CHANNELS, *out))


def all_orders(conv, x, w, y):
    """The result, gradients of first and second order, and those forward, which is the third."""

    def first(x, w, y):
        gx, gw = jax.grad(lambda x, w: (conv(x, w) * y).sum(), (0, 1))(x, w)
        return (gx**2).sum() + (gw**3).sum()

    return conv(x, w), jax.jvp(jax.grad(first, (0, 1, 2)), (x, w, y), (jnp.flip(x), jnp.flip(w), jnp.flip(y)))


def agree(found, wanted):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * max(1, np.abs(b).max()))


def evaluated(f, *args):
    """By NumPy, which needs no compilation."""
    with jax.enable_x64(True):
        return Straight(jax.make_jaxpr(f)(*args)).run(*args)


@pytest.mark.parametrize("axis", [1, -1], ids=["channels first", "channels last"])
@pytest.mark.parametrize("name", CASES)
def test_gradients_of_any_order_equal_those_of_the_grouped_convolution(name, axis):
    ours, plain, *args = given(name, axis)
    with jax.enable_x64(True):
        wanted = jax.jit(lambda *a: all_orders(plain, *a))(*args)
    agree(evaluated(lambda *a: all_orders(ours, *a), *args), wanted)


@pytest.mark.parametrize("axes", [(0, None), (None, 1), (1, 0)], ids=["image", "weights", "both"])
@pytest.mark.parametrize("axis", [1, -1], ids=["channels first", "channels last"])
def test_batches(axes, axis):
    ours, _, x, w, y = given("strided", axis)
    rng = np.random.default_rng(1)
    args = [
        a if d is None else rng.normal(size=(*a.shape[:d], 3, *a.shape[d:]))
        for a, d in zip((x, w), axes, strict=True)
    ]

    def everything(x, w):
        return ours(x, w), jax.grad(lambda x, w: (ours(x, w) ** 2 * y).sum(), (0, 1))(x, w)

    found = evaluated(lambda *a: jax.vmap(everything, axes)(*a), *args)
    each = [
        evaluated(everything, *[a if d is None else a.take(k, d) for a, d in zip(args, axes, strict=True)])
        for k in range(3)
    ]
    agree(found, [np.stack(parts) for parts in zip(*each, strict=True)])


def test_compiled_as_interpreted():
    """The weights' gradient is several sums in one loop, which XLA and NumPy are told of in ways of their own."""
    ours, _, x, w, y = given("sums in two loops", -1)
    f = lambda *a: all_orders(ours, *a)  # noqa: E731
    with jax.enable_x64(True):
        agree(jax.jit(f)(x, w, y), evaluated(f, x, w, y))


def test_half_precision_sums_in_single():
    geometry = Geometry((1,), ((0, 0),), (1,), (4096,), (1,), (4096,))
    c = _depthwise.Channelwise(geometry, 1)
    ones = jnp.ones((1, 1, 4096), jnp.bfloat16)
    assert _depthwise._weight(c, ones, ones).item() == 4096


def test_a_convolution_is_computed_once():
    """XLA computed it in each kernel that used the result: six times for a layer norm and its gradients."""
    geometry = Geometry((1, 1), ((3, 3), (3, 3)), (1, 1), (8, 8), (7, 7), (8, 8))

    def loss(x, w):
        y = _depthwise.depthwise(x, w, geometry, 3)
        y = y - y.mean(-1, keepdims=True)
        return (jnp.tanh(y / jnp.sqrt((y**2).mean(-1, keepdims=True) + 1e-5)) ** 2).sum()

    like = jax.ShapeDtypeStruct((2, 8, 8, 4), jnp.float32), jax.ShapeDtypeStruct((4, 1, 7, 7), jnp.float32)
    text = jax.jit(jax.grad(loss, (0, 1))).lower(*like).compile().as_text()
    slices = [part.count(" slice(") for part in text.split("\n}\n")]
    assert sum(n >= 40 for n in slices) <= 2  # the image, and the gradient by it
