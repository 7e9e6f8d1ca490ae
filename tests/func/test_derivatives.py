"""grad, vjp, jvp, linearize: laws between them, nesting, what they refuse, and the ordinary tape around them."""

import collections

import pytest

import pytorchlike as torch
from pytorchlike.func import functionalize, grad, grad_and_value, jvp, linearize, vjp, vmap

Point = collections.namedtuple("Point", "a b")


@pytest.fixture(autouse=True, params=["fused", "ops"])
def executor(request, tier):
    tier(request.param)


def smooth(x, w):
    return torch.tanh(x @ w).square().sum(-1).cumsum(0) + x.prod()


@pytest.fixture
def xw():
    torch.manual_seed(0)
    return torch.randn(3, 4), torch.randn(4, 4)


def close(a, b, tol=1e-5):
    assert a.shape == b.shape and torch.allclose(a, b, rtol=tol, atol=tol), (a, b)


def test_grad_matches_formula_and_autograd(xw):
    x, _ = xw
    close(grad(lambda x: (x.sin() * x).sum())(x), x.sin() + x * x.cos())
    grads, (value, aux) = grad_and_value(lambda x, y: ((x * y).sum(), {"twice": 2 * x}), (0, 1), True)(x, x + 1)
    close(grads[0], x + 1)
    close(grads[1], x)
    close(value, (x * (x + 1)).sum())
    close(aux["twice"], 2 * x)
    assert not value.requires_grad and not grads[0].requires_grad and not aux["twice"].requires_grad


def test_pytrees_in_and_out(xw):
    x, w = xw
    tree = {"z": [x, Point(w, (w,))], "a": x}
    got = grad(lambda t, k: (t["z"][0] * 2).sum() + (t["z"][1].b[0] ** 2).sum() * k)(tree, 3.0)
    assert list(got) == ["z", "a"] and isinstance(got["z"][1], Point)
    close(got["z"][0], torch.full_like(x, 2.0))
    close(got["z"][1].b[0], 6 * w)
    assert got["a"].count_nonzero() == 0 and got["z"][1].a.count_nonzero() == 0


def test_nested_levels(xw):
    x = xw[0][0]
    cube = lambda x: (x**3).sum()  # noqa: E731
    close(grad(lambda x: grad(cube)(x).sum())(x), 6 * x)
    close(grad(lambda x: grad(lambda x: grad(cube)(x).sum())(x).sum())(x), torch.full_like(x, 6.0))
    one = torch.ones_like(x)
    close(jvp(grad(cube), (x,), (one,))[1], 6 * x)
    close(grad(lambda x: jvp(lambda y: y**3, (x,), (one,))[1].sum())(x), 6 * x)
    close(jvp(lambda x: jvp(lambda y: y**3, (x,), (x,))[1], (x,), (one,))[1], 9 * x**2)
    close(vmap(grad(lambda x: grad(lambda y: y**3)(x)))(x), 6 * x)


def test_perturbations_are_not_confused():
    """d/dx [x * d/dy (x + y)] is 1, not 2: the inner derivative must not see the outer one's tangent."""
    x, one = torch.tensor(1.5), torch.tensor(1.0)
    inner = lambda x: x * jvp(lambda y: x + y, (one,), (one,))[1]  # noqa: E731
    assert jvp(inner, (x,), (one,))[1].item() == 1
    assert grad(inner)(x).item() == 1
    assert grad(lambda x: x * grad(lambda y: x + y)(one))(x).item() == 1


def test_jvp_and_vjp_are_transposes(xw):
    x, w = xw
    v, dw = torch.randn(3, 4), torch.randn(4, 4)
    out, tangent = jvp(smooth, (x, w), (v, dw))
    out2, pull = vjp(smooth, x, w)
    close(out, out2)
    u = torch.randn_like(out)
    gx, gw = pull(u)
    close((u * tangent).sum(), (gx * v).sum() + (gw * dw).sum(), 1e-4)
    close(pull(2 * u)[0], 2 * gx)  # it may be called again
    out3, push = linearize(smooth, x, w)
    close(out3, out)
    close(push(v, dw), tangent)
    close(push(2 * v, 2 * dw), 2 * tangent)


def test_structures_of_vjp_and_jvp(xw):
    x, _ = xw
    out, pull, aux = vjp(lambda x: ({"s": x.sin(), "c": x.cos()}, x + 1), x, has_aux=True)
    close(pull({"s": x, "c": x})[0], x * x.cos() - x * x.sin())
    close(aux, x + 1)
    out, tangent, aux = jvp(lambda x: ((x * 2, {"k": x}), "told"), (x,), (x,), has_aux=True)
    assert aux == "told"
    close(tangent[1]["k"], x)
    close(jvp(lambda x: torch.ones(2), (x,), (x,))[1], torch.zeros(2))


def test_results_belong_to_the_outer_tape(xw):
    x, _ = xw
    w = torch.ones(4, requires_grad=True)
    got = grad(lambda x: (w * x**2).sum())(x)
    assert got.requires_grad
    got.sum().backward()
    close(w.grad, (2 * x).sum(0))
    p = x.clone().requires_grad_()
    grad(lambda p: (p**3).sum())(p).sum().backward()
    close(p.grad, 6 * x)
    with torch.no_grad():  # no tape outside, but one inside
        got = grad(lambda x: (w * x**2).sum())(p)
    close(got, 2 * x)
    assert not got.requires_grad
    _, push = linearize(lambda x: x * w, x)
    push(x).sum().backward()
    close(w.grad, (2 * x).sum(0) + x.sum(0))


def test_detach_and_no_grad_stop_inside(xw):
    x, _ = xw

    def f(x):
        with torch.no_grad():
            y = x * 2
        return (y * x).sum() + (x.detach() * x).sum()

    close(grad(f)(x), 3 * x)
    close(vmap(grad(f))(x), 3 * x)
    p = x.clone().requires_grad_()
    vmap(f)(p).sum().backward()
    close(p.grad, 3 * x)


def test_values_may_be_read_inside(xw):
    x = xw[0][0]

    def f(x):
        y = x
        while y.norm() < 50:
            y = y * 2
        return y.sum() * float(x.detach().abs().max())

    k = 1
    while (x * k).norm() < 50:
        k *= 2
    close(grad(f)(x), torch.full_like(x, k * x.abs().max().item()))
    close(jvp(f, (x,), (torch.ones_like(x),))[1], torch.tensor(4.0 * k * x.abs().max().item()))


def test_in_place_operations_on_own_tensors(xw):
    x = xw[0]

    def f(x):
        y = torch.zeros_like(x)
        y += x
        y[0] = x[1] * 3
        y.mul_(y)
        return y.sum()

    want = 2 * x
    want[0] = 0
    want[1] += 18 * x[1]
    close(grad(f)(x), want)
    close(grad(functionalize(f))(x), want)


def test_in_a_function_of_jax(xw):
    import jax
    import jax.numpy as jnp

    x, w = xw
    want = grad(lambda x: smooth(x, w).sum())(x).numpy()
    arrays = jnp.asarray(x.numpy()), jnp.asarray(w.numpy())

    def of_arrays(x, w):
        x, w = torch.from_jax(x), torch.from_jax(w)
        return vmap(grad(lambda x: (x @ w).tanh().sum()))(x).jax(), grad(lambda x: smooth(x, w).sum())(x).jax()

    rows, got = jax.jit(of_arrays)(*arrays)
    assert abs(got - want).max() < 1e-4
    hand = jax.grad(lambda x: jnp.tanh(x @ arrays[1]).sum())(arrays[0])
    assert abs(rows - hand).max() < 1e-5
    second = jax.grad(lambda x: of_arrays(x, arrays[1])[0].sum())(arrays[0])
    hand = jax.grad(lambda x: jax.grad(lambda x: jnp.tanh(x @ arrays[1]).sum())(x).sum())(arrays[0])
    assert abs(second - hand).max() < 1e-4


def test_a_loop_of_calls_compiles_once():
    from pytorchlike import compiler

    x = torch.ones(3)
    step = lambda x: x - 0.1 * grad(lambda x: (x**4).sum())(x)  # noqa: E731
    for _ in range(3):
        x = step(x)
    x.tolist()
    for _ in range(3):
        x = step(x)
    x.tolist()
    before = compiler.stats()["compiles"]
    for n in (7, 2, 11):
        for _ in range(n):
            x = step(x)
        x.tolist()
    assert compiler.stats()["compiles"] == before


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: grad(torch.sin)(x), RuntimeError, "to return a scalar"),
        (lambda x: grad(lambda x: 3.0)(x), RuntimeError, "to return a Tensor, got <class 'float'>"),
        (lambda x: grad(lambda x: x.sum(), has_aux=True)(x), RuntimeError, "should be a tuple: \\(output, aux\\)"),
        (lambda x: grad(lambda x: x.sum())(x.long()), RuntimeError, "only Tensors of floating point"),
        (lambda x: grad(lambda x: x.sum())(3.0), ValueError, "must be Tensor, got <class 'float'>"),
        (lambda x: grad(lambda x: x.sum(), argnums=2)(x), RuntimeError, "argnum=2, but only 1 positional"),
        (lambda x: grad(lambda x: x.sum(), argnums="a")(x), RuntimeError, "argnums must be int or Tuple"),
        (lambda x: grad(lambda x: x.sum().backward())(x), RuntimeError, r"backward\(\) called inside a functorch"),
        (lambda x: vjp(lambda x: (x, 3), x), RuntimeError, "return only tensors"),
        (lambda x: vjp(torch.sin, x)[1](x[0]), RuntimeError, "Mismatch in shape"),
        (lambda x: vjp(torch.sin, x)[1]({"a": x}), RuntimeError, "Expected pytree structure of cotangents"),
        (lambda x: jvp(torch.sin, x, x), RuntimeError, "Expected primals to be a tuple"),
        (lambda x: jvp(torch.sin, (x,), (x, x)), RuntimeError, "same python structure"),
        (lambda x: jvp(torch.sin, (x,), (x[0],)), RuntimeError, "different size"),
        (lambda x: jvp(torch.sin, (), ()), RuntimeError, "at least one Tensor"),
        (lambda x: jvp(lambda x: torch.ones(2), (x,), (x,), strict=True), RuntimeError, "independent of the inputs"),
        (lambda x: linearize(torch.sin, x)[1](x, x), RuntimeError, "same argspec"),
        (lambda x: linearize(torch.sin, x)[1](x[0]), RuntimeError, "doesn't match the shape"),
        (lambda x: functionalize(torch.sin, remove="x"), RuntimeError, "invalid argument for remove=x"),
    ],
)
def test_refusals(call, error, says):
    with pytest.raises(error, match=says):
        call(torch.ones(2, 3))
