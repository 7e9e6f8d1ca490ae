"""jacrev, jacfwd, hessian: equal to each other and to formulas, structures, chunks, nesting."""

import pytest

import pytorchlike as torch
from pytorchlike.func import hessian, jacfwd, jacrev, vmap


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(4)


def close(a, b, tol=1e-5):
    assert a.shape == b.shape and torch.allclose(a, b, rtol=tol, atol=tol), (a, b)


def test_both_modes_agree_with_the_formula(x):
    w = torch.randn(3, 4)
    f = lambda x: torch.tanh(w @ x)  # noqa: E731
    want = (1 - f(x) ** 2)[:, None] * w
    for jac in (jacrev, jacfwd):
        close(jac(f)(x), want)
    close(jacrev(f, chunk_size=2)(x), want)
    close(vmap(jacrev(f))(torch.stack([x, 2 * x]))[0], want)
    close(jacrev(vmap(torch.sin))(x), torch.diag(x.cos()))


def test_structures(x):
    f = lambda t, y: {"p": t["a"][0] * y, "q": (t["a"][0].sum() * t["b"],)}  # noqa: E731
    tree = {"a": [x], "b": torch.ones(2, 3)}
    for jac in (jacrev, jacfwd):
        got = jac(f, argnums=(0, 1))(tree, x + 1)
        close(got["p"][0]["a"][0], torch.diag(x + 1))
        close(got["p"][1], torch.diag(x))
        close(got["q"][0][0]["a"][0], torch.ones(2, 3, 4))
        assert got["q"][0][0]["b"].shape == (2, 3, 2, 3) and got["q"][0][1].count_nonzero() == 0
        value, aux = jac(lambda x: (x * 2, {"x": x.sum()}), has_aux=True)(x)
        close(value, 2 * torch.eye(4))
        close(aux["x"], x.sum())
        assert isinstance(jac(torch.sin, argnums=(0,))(x), tuple)


def test_hessian(x):
    f = lambda x: (x**3).sum() * x[0] + (x[1] * x[2]).exp()  # noqa: E731
    want = hessian(f)(x)
    close(want, want.T)
    close(want[3, 3], 6 * x[3] * x[0])
    close(want[1, 2] - want[2, 1], torch.tensor(0.0))
    close(jacrev(jacrev(f))(x), want, 1e-4)
    close(jacfwd(jacfwd(f))(x), want, 1e-4)
    close(jacrev(jacfwd(f))(x), want, 1e-4)
    two = hessian(lambda a, b: (a * b).sum(), argnums=(0, 1))(x, x)
    close(two[0][1], torch.eye(4))
    assert two[0][0].count_nonzero() == 0


def test_jacobian_is_differentiable(x):
    p = x.clone().requires_grad_()
    jacrev(torch.sin)(p).sum().backward()
    close(p.grad, -x.sin())
    p.grad = None
    jacfwd(torch.sin)(p).sum().backward()
    close(p.grad, -x.sin())


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: jacrev(lambda x: 3)(x), RuntimeError, "only tensors"),
        (lambda x: jacrev(torch.sin, argnums=1)(x), RuntimeError, "argnum=1"),
        (lambda x: jacrev(torch.sin, chunk_size=0), ValueError, "chunk_size"),
        (lambda x: jacrev(torch.sin)(x.long()), RuntimeError, "floating point"),
        (lambda x: jacfwd(torch.sin)(x.long()), ValueError, "floating point or complex"),
        (lambda x: jacfwd(lambda x: torch.rand(2) + x[:2])(x), RuntimeError, "randomness error mode"),
    ],
)
def test_refusals(call, error, says, x):
    with pytest.raises(error, match=says):
        call(x)
