"""Convolutions on the CPU against XLA's own, with gradients of all orders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike.autograd import gradcheck, gradgradcheck
from pytorchlike.engine.config import config
from pytorchlike.engine.straight import Straight
from pytorchlike.ops import _convolution as c
from pytorchlike.ops import nn_conv

#: stride, padding, dilation, size, kernel; then channels in and out.
CASES = {
    "line": ((2,), ((1, 1),), (1,), (9,), (3,), 3, 2),
    "plain": ((1, 1), ((1, 1), (1, 1)), (1, 1), (6, 7), (3, 3), 2, 3),
    "strided": ((2, 2), ((1, 1), (1, 1)), (1, 1), (8, 10), (4, 4), 3, 2),
    "strided, one row left over": ((2, 3), ((0, 0), (1, 0)), (1, 1), (10, 9), (3, 2), 2, 2),
    "dilated": ((1, 2), ((2, 1), (0, 2)), (2, 3), (7, 12), (3, 3), 2, 2),
    "kernel larger than the result": ((2, 2), ((2, 2), (2, 2)), (1, 1), (7, 7), (5, 5), 2, 3),
    "kernel larger than the image": ((1, 1), ((3, 3), (3, 3)), (1, 1), (4, 4), (5, 5), 2, 2),
    "large kernel, strided": ((3, 2), ((6, 6), (2, 2)), (1, 1), (20, 20), (13, 9), 1, 2),
    "more padding than kernel": ((2, 1), ((4, 3), (3, 4)), (1, 1), (5, 5), (2, 3), 2, 2),
    "cropped": ((1, 2), ((-1, 1), (1, -2)), (1, 1), (9, 9), (3, 3), 2, 2),
    "one place": ((2, 2), ((1, 0), (0, 1)), (1, 2), (4, 5), (4, 3), 2, 3),
    "volume": ((1, 1, 1), ((1, 1), (1, 1), (1, 1)), (1, 1, 1), (4, 5, 3), (3, 3, 3), 2, 9),
    "volume, strided": ((2, 2, 2), ((1, 1), (1, 1), (0, 1)), (1, 1, 1), (6, 5, 6), (3, 3, 3), 17, 3),
    "volume, dilated": ((1, 2, 1), ((2, 2), (0, 0), (1, 1)), (2, 1, 1), (5, 6, 4), (3, 2, 2), 2, 2),
}


def given(name):
    stride, padding, dilation, size, kernel, channels, outs = CASES[name]
    out = tuple(
        (n + lo + hi - d * (k - 1) - 1) // s + 1
        for s, (lo, hi), d, n, k in zip(stride, padding, dilation, size, kernel, strict=True)
    )
    rng = np.random.default_rng(0)
    shapes = ((2, channels, *size), (outs, channels, *kernel), (2, outs, *out))
    return c.Geometry(stride, padding, dilation, size, kernel, out), [rng.normal(size=s) for s in shapes]


def gradients(conv, adjoint, x, w, y):
    """Results, gradients of first and second order, and those forward, which is the third."""

    def first(x, w, y):
        gx, gw = jax.grad(lambda x, w: (conv(x, w) * y).sum(), (0, 1))(x, w)
        return (gx**2).sum() + (gw**3).sum() + (adjoint(y, w) ** 3).sum()

    second = jax.grad(first, (0, 1, 2))
    return conv(x, w), adjoint(y, w), jax.jvp(second, (x, w, y), (jnp.flip(x), jnp.flip(w), jnp.flip(y)))


def ours(g):
    return lambda x, w: c.convolution(x, w, g), lambda y, w: c.transposed(y, w, g)


def plain(g):
    def conv(x, w):
        return lax.conv_general_dilated(x, w, g.stride, g.padding, rhs_dilation=g.dilation)

    def adjoint(y, w):
        return jax.vjp(lambda x: conv(x, w), jnp.zeros((len(y), w.shape[1], *g.size)))[1](y)[0]

    return conv, adjoint


def agree(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * max(1, np.abs(b).max()))


def evaluated(f, *args):
    """By NumPy, which needs no compilation."""
    with jax.enable_x64(True):
        return Straight(jax.make_jaxpr(f)(*args)).run(*args)


@pytest.mark.parametrize("few", [False, True], ids=["as convolutions", "as products"])
@pytest.mark.parametrize("name", CASES)
def test_gradients_of_any_order_equal_those_of_the_plain_convolution(name, few, monkeypatch):
    if few:
        monkeypatch.setattr(c, "_FEW", 10**6)
        monkeypatch.setattr(c, "_COLUMNS", 10**9)
    else:
        monkeypatch.setattr(c, "_DOUBLE", 16)
        monkeypatch.setattr(c, "_FEW", 0)
        monkeypatch.setattr(c, "_COLUMNS", 0)
    monkeypatch.setattr(c, "_traced", c._traced.__wrapped__)
    g, args = given(name)
    found, wanted = (evaluated(lambda *a, m=maps: gradients(*m, *a), *args) for maps in (ours(g), plain(g)))
    agree(found, wanted)


@pytest.mark.parametrize("axis", [1, -1], ids=["channels first", "channels last"])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if len(case[3]) < 3])
def test_one_product_with_the_kernel_at_each_place_is_the_convolution(name, axis, monkeypatch):
    monkeypatch.setattr(c, "by_rows", lambda x, w: x @ w.T)  # which asks for the platform of an operation
    g, (x, w, _) = given(name)

    def f(x, w):
        y = c.output_by_matrix(g, x if axis == 1 else c.channels_to_end(x), w, axis)
        return y if axis == 1 else c.channels_first(y)

    agree([evaluated(f, x, w)], [evaluated(plain(g)[0], x, w)])


def test_small_maps_are_convolved_by_one_product():
    """Of a kernel of 3 x 3 over 2 x 2 places with a border of one, each place of the result sees all of them."""
    one, half = ((1, 1), ((1, 1), (1, 1)), (1, 1)), ((2, 2), ((1, 1), (1, 1)), (1, 1))
    assert c.filled(c.Geometry(*one, (2, 2), (3, 3), (2, 2))) == 1
    assert c.filled(c.Geometry(*half, (4, 4), (4, 4), (2, 2))) == 36 / 64
    assert c.filled(c.Geometry(*half, (4, 4), (3, 3), (2, 2))) == 25 / 64


@pytest.mark.parametrize("count", [2, c._EACH + 1])
@pytest.mark.parametrize("axes", [(0, None), (None, 1), (1, 0)], ids=["image", "weights", "both"])
def test_batches_of_convolutions(axes, count):
    g, (x, w, y) = given("strided")
    grown = [
        a if d is None else np.stack([a * (i + 1) for i in range(count)], d) for a, d in zip((x, w), axes, strict=True)
    ]

    def all_maps(maps):
        def f(x, w):
            def one(x, w):
                y = maps[0](x, w)
                gx, gw = jax.grad(lambda x, w: (maps[0](x, w) ** 3).sum(), (0, 1))(x, w)
                return y, gx, gw, maps[1](y, w)

            return jax.vmap(one, axes)(x, w)

        return f

    found = evaluated(all_maps(ours(g)), *grown)
    for i in range(count):
        one = [v if d is None else np.take(v, [i], d) for v, d in zip(grown, axes, strict=True)]
        agree([f[i] for f in found], [f[0] for f in evaluated(all_maps(plain(g)), *one)])


def test_gradients_of_gradients_are_made_of_the_same_maps():
    """JAX would transpose the formulation: the weights' gradient of a strided convolution's becomes a naive loop."""
    with jax.enable_x64(True):
        g, (x, w, _) = given("strided")
        loss = jax.grad(lambda x, w: (c.convolution(x, w, g) ** 3).sum(), 0)
        jaxpr = jax.make_jaxpr(jax.grad(lambda x, w: (loss(x, w) ** 2).sum(), (0, 1)))(x, w)
    names = [e.primitive.name for e in jaxpr.eqns]
    assert names.count("bilinear_call") >= 5 and "conv_general_dilated" not in names


LAYERS = {
    "few places": lambda x, w: F.conv2d(x[..., :2, :2], w, None, 1, 1),
    "patches": lambda x, w: F.conv2d(x, w[..., :2, 1:], None, 2),
    "strided": lambda x, w: F.conv2d(x, w, None, 2, 1),
    "groups": lambda x, w: F.conv2d(x, w[:, :1], None, 1, 1, 1, 2),
    "transposed": lambda x, w: F.conv_transpose2d(x, w, None, 2, 1, 1),
    "transposed, groups": lambda x, w: F.conv_transpose2d(x, w, None, (2, 1), 1, 0, 2, (1, 2)),
    "transposed, one place": lambda x, w: F.conv_transpose2d(x[..., :1, :1], w),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_gradients_of_gradients(name, monkeypatch):
    monkeypatch.setattr(config, "tier", "interpret")
    torch.manual_seed(0)
    channels = 4 if "groups" in name and "transposed" in name else 2
    x = torch.randn(2, channels, 5, 4, dtype=torch.float64, requires_grad=True)
    w = torch.randn(channels, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(LAYERS[name], (x, w), fast_mode=True, check_forward_ad=True)
    assert gradgradcheck(LAYERS[name], (x, w), fast_mode=True)


def test_kernels_side_by_side_are_one_product(monkeypatch):
    monkeypatch.setattr(nn_conv, "convolution", None)
    monkeypatch.setattr(nn_conv, "_plain", None)
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 7, 8)).astype("f"), rng.normal(size=(5, 3, 3, 4)).astype("f")
    y = F.conv2d(torch.from_numpy(x), torch.from_numpy(w), None, (3, 4))
    wanted = np.einsum("nchiwj,ocij->nohw", x[:, :, :6].reshape(2, 3, 2, 3, 2, 4), w)
    np.testing.assert_allclose(y.numpy(), wanted, rtol=1e-5, atol=1e-5)
