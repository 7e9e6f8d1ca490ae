"""Custom autograd.Functions inside transformations: their own backward and jvp are used, at every level."""

import pytest

import pytorchlike as torch
from pytorchlike.func import grad, jacfwd, jacrev, jvp, vmap


class Cube(torch.autograd.Function):
    """Backward and jvp are wrong by known factors, so that a test sees who made a derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x**3, x**2

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0], output[1])
        ctx.save_for_forward(inputs[0], output[1])

    @staticmethod
    def backward(ctx, g, g2):
        x, square = ctx.saved_tensors
        return g * 3 * square * 10 + g2 * 2 * x

    @staticmethod
    def jvp(ctx, t):
        x, square = ctx.saved_tensors
        return t * 3 * square * 100, t * 2 * x


class Exp(torch.autograd.Function):
    """The older style; saves its output; no jvp."""

    @staticmethod
    def forward(ctx, x, k):
        y = (k * x).exp()
        ctx.k = k
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        return ctx.k * g * ctx.saved_tensors[0], None


@pytest.fixture
def x():
    return torch.arange(1.0, 4.0)


def cube(x):
    return Cube.apply(x)[0].sum()


def exp(x):
    return Exp.apply(x, 2.0).sum()


def close(a, b):
    assert a.shape == b.shape and torch.allclose(a, b, rtol=1e-5), (a, b)


def test_backward_is_used(x):
    close(grad(cube)(x), 30 * x**2)
    close(vmap(grad(cube))(x), 30 * x**2)
    close(jacrev(lambda x: Cube.apply(x)[0])(x), torch.diag(30 * x**2))
    p = x.clone().requires_grad_()
    vmap(lambda x: Cube.apply(x)[0])(p).sum().backward()
    close(p.grad, 30 * x**2)


def test_second_derivatives_go_through_backward(x):
    close(grad(lambda x: grad(cube)(x).sum())(x), 60 * x)
    close(vmap(grad(lambda x: grad(cube)(x)))(x), 60 * x)
    p = x.clone().requires_grad_()
    vmap(grad(cube))(p).sum().backward()
    close(p.grad, 60 * x)
    p.grad = None
    vmap(grad(exp))(p).sum().backward()
    close(p.grad, 4 * (2 * x).exp())
    close(vmap(grad(exp))(x), 2 * (2 * x).exp())


def test_jvp_is_used(x):
    one = torch.ones_like(x)
    f = lambda x: Cube.apply(x)[0]  # noqa: E731
    close(jvp(f, (x,), (one,))[1], 300 * x**2)
    close(vmap(lambda x, t: jvp(f, (x,), (t,))[1])(x, one), 300 * x**2)
    close(jacfwd(f)(x), torch.diag(300 * x**2))
    with pytest.raises(NotImplementedError, match="jvp"):
        jvp(exp, (x,), (one,))
    with pytest.raises(NotImplementedError, match="jvp"):
        jacfwd(exp)(x)


def test_backward_that_reads_values(x):
    class Reading(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * float(g.sum())

    p = x.clone().requires_grad_()
    close(vmap(Reading.apply)(p).detach(), 2 * x)
    close(grad(lambda x: Reading.apply(x).sum())(x), torch.full_like(x, 3.0))
    with pytest.raises(RuntimeError, match="backward wants to know the value"):
        vmap(Reading.apply)(p).sum().backward()
        p.grad.tolist()
