"""cond, while_loop, scan, associative_scan, map: equal to Python's, with gradients, nesting and refusals."""

import pytest

import pytorchlike as torch
from pytorchlike import _higher_order_ops as hop
from pytorchlike.func import grad, jacrev, jvp, vmap


@pytest.fixture(autouse=True, params=["fused", "ops"])
def executor(request, tier):
    tier(request.param)


@pytest.fixture
def x():
    return torch.arange(6.0).reshape(2, 3)


def close(a, b, tol=1e-5):
    assert a.shape == b.shape and torch.allclose(a, b, rtol=tol, atol=tol), (a, b)


def test_cond(x):
    layer = torch.nn.Linear(3, 3)
    both = (lambda x: {"y": layer(x)}, lambda x: {"y": x * 2})
    close(torch.cond(x.sum() > 0, *both, (x,))["y"], layer(x))
    close(torch.cond(x.sum() < 0, *both, [x])["y"], 2 * x)
    close(torch.cond(False, *both, (x,))["y"], 2 * x)
    torch.cond(x.sum() > 0, *both, (x,))["y"].sum().backward()
    close(layer.weight.grad, x.sum(0).expand(3, 3))
    layer.weight.grad = None
    torch.cond(x.sum() < 0, *both, (x,))["y"].sum().backward()
    assert layer.weight.grad.count_nonzero() == 0
    one = lambda x: torch.cond(x.sum() > 5, torch.sin, lambda x: x - 1, (x,))  # noqa: E731
    close(vmap(one)(x), torch.stack([x[0] - 1, x[1].sin()]))
    close(vmap(grad(lambda x: one(x).sum()))(x), torch.stack([torch.ones(3), x[1].cos()]))


def test_cond_in_a_loop_compiles_once(x):
    from pytorchlike import compiler

    def step(limit):
        return torch.cond(x.sum() > limit, torch.sin, torch.cos, (x,)).tolist()

    for k in range(3):
        step(float(k) * 10)
    before = compiler.stats()["compiles"]
    got = [step(k + 12.5) for k in range(6)]
    assert compiler.stats()["compiles"] == before and got[0] != got[-1]


def test_while_loop(x):
    w = torch.full((3,), 2.0, requires_grad=True)
    n, y = torch.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * w), (0, x))
    assert n.item() == 3
    close(y, 8 * x)
    with pytest.raises(NotImplementedError, match="no reverse-mode"):
        y.sum().backward()
    loop = lambda x: torch.while_loop(lambda y: y.sum() < 60, lambda y: (y * y,), (x,))[0]  # noqa: E731
    out, tangent = jvp(loop, (x[1],), (torch.ones(3),))
    close(out, x[1] ** 4)
    close(tangent, 4 * x[1] ** 3)
    close(vmap(loop)(x + 2), torch.stack([(x[0] + 2) ** 4, (x[1] + 2) ** 2]))


def test_scan(x):
    w = torch.tensor([0.5, -1.0, 2.0], requires_grad=True)

    def step(c, x):
        c = torch.tanh(c * w + x["x"])
        return c, (c.sum(), x["x"])

    def loop(order):
        c, ys = torch.zeros(3), []
        for k in order:
            c, (y, _) = step(c, {"x": x[k]})
            ys.append(y)
        return c, torch.stack(ys)

    for reverse in (False, True):
        order = (1, 0) if reverse else (0, 1)
        c, (ys, same) = hop.scan(step, torch.zeros(3), {"x": x}, reverse=reverse)
        c2, ys2 = loop(order)
        close(c, c2)
        close(ys, ys2.flip(0) if reverse else ys2)
        close(same, x)
        (c.sum() + ys.sum()).backward()
        got, w.grad = w.grad, None
        (c2.sum() + ys2.sum()).backward()
        close(got, w.grad)
        w.grad = None
    c, ys = hop.scan(lambda c, x: (c + x, c + x), torch.zeros(2), x, dim=1)
    close(ys, x.cumsum(1))
    noise = hop.scan(lambda c, x: (c, torch.rand(2)), torch.zeros(()), x)[1]
    assert not torch.equal(noise[0], noise[1])
    close(vmap(lambda x: hop.scan(lambda c, x: (c + x, c + x), torch.zeros(()), x)[1])(x), x.cumsum(1))


def test_associative_scan_and_map(x):
    x = x + 1
    close(hop.associative_scan(torch.mul, x, 1), x.cumprod(1))
    close(hop.associative_scan(lambda a, b: a + b, x, 0, reverse=True), x.flip(0).cumsum(0).flip(0))
    m = torch.stack([torch.tensor([[1.0, k], [0.0, 1.0]]) for k in (1.0, 2.0, 3.0)])
    close(hop.associative_scan(torch.matmul, m, 0, combine_mode="generic")[:, 0, 1], torch.tensor([1.0, 3.0, 6.0]))
    close(jacrev(lambda x: hop.associative_scan(torch.mul, x, 0)[-1])(x[0]), x[0].prod() / x[0])
    w = torch.ones(3, requires_grad=True)
    out = hop.map(lambda row, k: {"y": (row * w).sum() * k}, x, 2.0)
    close(out["y"], 2 * x.sum(1))
    out["y"].sum().backward()
    close(w.grad, 2 * x.sum(0))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: torch.cond(x > 0, torch.sin, torch.cos, (x,)), RuntimeError, "single-element tensor"),
        (lambda x: torch.cond("a", torch.sin, torch.cos, (x,)), RuntimeError, "bool or tensor"),
        (lambda x: torch.cond(x.sum() > 0, 3, torch.cos, (x,)), RuntimeError, "callable"),
        (lambda x: torch.cond(x.sum() > 0, torch.sin, torch.cos, x), RuntimeError, "Expect operands to be a tuple"),
        (lambda x: torch.cond(x.sum() > 0, torch.sin, torch.sum, (x,)), RuntimeError, r"\[2, 3\] of float32 vs \[\]"),
        (lambda x: torch.cond(x.sum() > 0, torch.sin, lambda x: (x,), (x,)), RuntimeError, "same structure"),
        (lambda x: torch.cond(x.sum() > 0, lambda x: x.add_(1), torch.cos, (x,)), RuntimeError, "input mutation"),
        (lambda x: torch.cond(x.sum() > 0, lambda y: x.add_(y), torch.cos, (x,)), RuntimeError, "input mutation"),
        (lambda x: torch.while_loop(lambda x: x > 0, lambda x: (x,), (x,)), RuntimeError, "scalar tensor or a bool"),
        (lambda x: torch.while_loop(lambda x: x.sum() > 0, lambda x: x.sum(), (x,)), RuntimeError, "same structure"),
        (lambda x: torch.while_loop(lambda x: x.sum() > 0, lambda x: (x[0],), (x,)), RuntimeError, "same metadata"),
        (lambda x: torch.while_loop(lambda x: x.any(), lambda x: (x * x[0, 0].item(),), (x,)), RuntimeError, "known"),
        (lambda x: hop.scan(lambda c, x: (c.sum(), x), x[0], x), RuntimeError, "same metadata"),
        (lambda x: hop.scan(lambda c, x: c, x[0], x), RuntimeError, "must return a tuple"),
        (lambda x: hop.scan(lambda c, x: (c, x), x[0], x, dim=4), IndexError, "Dimension out of range"),
        (lambda x: hop.scan(lambda c, x: (c, x), x[0], x[:0]), RuntimeError, "scan dimension > 0"),
        (lambda x: hop.scan(lambda c, x: (c, x), 3.0, x), RuntimeError, "must be Tensors but got 3.0"),
        (lambda x: hop.associative_scan(torch.mul, x, 0, combine_mode="x"), ValueError, "Combine_mode"),
        (lambda x: hop.map(torch.sin, 3), RuntimeError, "can only consist of tensors"),
    ],
)  # fmt: skip
def test_refusals(call, error, says, x):
    with pytest.raises(error, match=says):
        call(x)


def test_foreach_map_takes_the_entries_of_lists_together():
    from pytorchlike._higher_order_ops.foreach_map import foreach_map

    a, b = [torch.ones(2), torch.zeros(3)], [torch.ones(2), torch.ones(3)]
    got = foreach_map(torch.lerp, a, b, 0.5)
    assert isinstance(got, tuple) and [x.tolist() for x in got] == [[1, 1], [0.5] * 3]
    with pytest.raises(RuntimeError, match="one length"):
        foreach_map(torch.add, a, b[:1])
