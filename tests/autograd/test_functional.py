"""Jacobians, Hessians, their products, and the checks of gradients by differences."""

import sys

import pytest

import pytorchlike as torch
from pytorchlike.autograd import Function, functional, gradcheck, gradgradcheck
from pytorchlike.autograd.gradcheck import GradcheckError

DOUBLE = {"dtype": torch.float64}


def vector():
    return torch.tensor([0.3, -0.7, 1.2], **DOUBLE)


def cubes(x):
    return x**3 * x.sum()


def by_hand(x):
    """The Jacobian of ``cubes``: 3 x_i^2 sum(x) on the diagonal, plus x_i^3 everywhere."""
    return torch.diag(3 * x**2 * x.sum()) + (x**3)[:, None].expand(3, 3)


@pytest.mark.parametrize("options", [{}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"},
                                     {"strict": True}, {"create_graph": True}])  # fmt: skip
def test_jacobian(options):
    x = vector()
    assert torch.allclose(functional.jacobian(cubes, x, **options), by_hand(x))


def test_several():
    x, y = vector(), torch.tensor([[1.0, 2.0]], **DOUBLE)
    (a, b), (c, d) = functional.jacobian(lambda x, y: (x * y.sum(), y * 2), (x, y))
    assert a.tolist() == [[3, 0, 0], [0, 3, 0], [0, 0, 3]] and b.shape == (3, 1, 2)
    assert c.tolist() == [[[0, 0, 0], [0, 0, 0]]] and d.shape == (1, 2, 1, 2)


def test_products_agree():
    x, v = vector(), torch.tensor([1.0, 2.0, -1.0], **DOUBLE)
    jacobian = by_hand(x)
    assert torch.allclose(functional.vjp(cubes, x, v)[1], v @ jacobian)
    assert torch.allclose(functional.jvp(cubes, x, v)[1], jacobian @ v)

    def scalar(x):
        return cubes(x).sum()

    for options in ({}, {"vectorize": True}, {"vectorize": True, "outer_jacobian_strategy": "forward-mode"}):
        hessian = functional.hessian(scalar, x, **options)
        assert torch.allclose(hessian @ v, functional.hvp(scalar, x, v)[1])
        assert torch.allclose(v @ hessian, functional.vhp(scalar, x, v)[1])


def test_refusals_of_functional():
    x = vector()
    with pytest.raises(RuntimeError, match="can only be None"):
        functional.vjp(cubes, x)
    with pytest.raises(RuntimeError, match="invalid size"):
        functional.jvp(cubes, x, torch.ones(2, **DOUBLE))
    with pytest.raises(RuntimeError, match="single element"):
        functional.hessian(cubes, x)
    with pytest.raises(RuntimeError, match="strict"):
        functional.jacobian(lambda x: torch.ones(2), x, strict=True)
    with pytest.raises(AssertionError, match="strategy"):
        functional.jacobian(cubes, x, strategy="sideways")


def test_differentiable_results():
    x = vector().requires_grad_()
    j = functional.jacobian(cubes, x, create_graph=True)
    (g,) = torch.autograd.grad(j.sum(), x)
    z = vector().requires_grad_()
    (expected,) = torch.autograd.grad(by_hand(z).sum(), z)
    assert torch.allclose(g, expected)


OPERATIONS = {
    "pointwise": lambda x: x.exp() * x.sin() / (x.tanh().sigmoid() + 1) + x**3, "prod": lambda x: x.prod(),
    "softmax": lambda x: x.softmax(0) + x.logsumexp(0), "cumsum": lambda x: (x * x).cumsum(0),
    "norms": lambda x: x.norm() * x.var() * x.std(), "index": lambda x: x[[0, 2, 0]] ** 2,
    "matmul": lambda x: x.reshape(3, 1) @ x[None], "gelu": lambda x: torch.nn.functional.gelu(x),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_second_derivatives(name):
    """First and second derivatives, reverse and forward over reverse, along random directions."""
    x = vector().requires_grad_()
    assert gradgradcheck(OPERATIONS[name], x, fast_mode=True, check_fwd_over_rev=True)


def test_all_checks():
    x = vector().requires_grad_()
    assert gradcheck(lambda x: (x.exp(), x * x.sum()), x, check_forward_ad=True, check_batched_grad=True,
                     check_grad_dtypes=True, check_batched_forward_grad=True)  # fmt: skip


def test_complex():
    z = torch.tensor([0.5 + 1j, -1 + 0.25j], requires_grad=True)
    z = z.detach().to(torch.complex128).requires_grad_()
    for f in (lambda z: z * z.conj() + z**2, lambda z: z.abs()):
        assert gradcheck(f, z, check_forward_ad=True) and gradgradcheck(f, z, fast_mode=True)


def test_wrong_gradients_are_found():
    class Bad(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    x = vector().requires_grad_()
    for fast in (True, False):
        with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0"):
            gradcheck(Bad.apply, x, fast_mode=fast)
    with pytest.raises(GradcheckError, match=r"numerical:tensor\(\[\[2\.(.|\n)*analytical:tensor\(\[\[3\."):
        gradcheck(Bad.apply, x)
    assert gradcheck(Bad.apply, x, raise_exception=False) is False
    with pytest.raises(ValueError, match="at least one input"):
        gradcheck(torch.sin, vector())
    with pytest.warns(UserWarning, match="double precision"):
        gradcheck(lambda x: x * 2, torch.ones(2, requires_grad=True), atol=1e-1, eps=1e-2)


def test_gradcheck_forgives_what_another_executor_rounds_otherwise(monkeypatch):
    module = sys.modules[GradcheckError.__module__]
    plain, factor = module._reverse_rows, [1.0]

    def rows(*args):
        factor.reverse()
        return [r * factor[0] for r in plain(*args)]

    monkeypatch.setattr(module, "_reverse_rows", rows)
    x = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
    factor[:] = [1.0, 1.0 + 4e-16]
    assert torch.autograd.gradcheck(torch.sin, (x,))
    factor[:] = [1.0, 1.0 + 1e-12]
    with pytest.raises(RuntimeError, match="not reentrant"):
        torch.autograd.gradcheck(torch.sin, (x,))


@pytest.mark.parametrize("fast", [True, False])
def test_gradcheck_finds_what_no_single_gradient_shows(fast):
    class Odd(Function):
        @staticmethod
        def forward(ctx, x, kind):
            ctx.kind, ctx.times = kind, 0
            return x * 2

        @staticmethod
        def backward(ctx, g):
            ctx.times += 1
            if ctx.kind == "changes":
                return g * (2 + 1e-7 * ctx.times), None
            return (g * 2 if (g != 0).any() else g + 1), None

    x = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    with pytest.raises(GradcheckError, match="Backward is not reentrant"):
        gradcheck(Odd.apply, (x, "changes"), fast_mode=fast)
    with pytest.raises(GradcheckError, match="backward not multiplied by grad_output"):
        gradcheck(Odd.apply, (x, "adds"), fast_mode=fast)
    with pytest.raises(RuntimeError, match="dimension with stride 0"):
        gradcheck(torch.sin, (x[:1].expand(3),), fast_mode=fast, raise_exception=False)


def test_data_of_another_kind_is_refused():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="must be floating point or complex dtype"):
        x.data = torch.ones(2, dtype=torch.int64)
