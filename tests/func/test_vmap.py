"""vmap: equal to a loop, dimensions, randomness, writing, chunks, modules in it, and what it refuses."""

import pytest

import pytorchlike as torch
from pytorchlike.func import grad, jvp, vjp, vmap


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(2, 3, 4)


def close(a, b, tol=1e-5):
    assert a.shape == b.shape and torch.allclose(a, b, rtol=tol, atol=tol), (a, b)


def test_equals_stacking(x, tier):
    f = lambda a: torch.softmax(a, -1) @ a.T  # noqa: E731
    for name in ("fused", "ops"):
        tier(name)
        close(vmap(f)(x), torch.stack([f(a) for a in x]))
        close(torch.vmap(f, in_dims=1)(x), torch.stack([f(a) for a in x.unbind(1)]))
        close(vmap(f, in_dims=-1, out_dims=-1)(x), torch.stack([f(a) for a in x.unbind(-1)], -1))


def test_nested_dims_and_structures(x):
    def f(pair, k, *, y):
        return {"s": pair["a"] * k + y, "t": (pair["b"].sum(),)}

    y = torch.arange(4.0)
    got = vmap(f, in_dims=({"a": 1, "b": None}, None), out_dims={"s": 1, "t": 0})({"a": x, "b": x}, 2.0, y=y)
    close(got["s"], torch.stack([a * 2 + y for a in x.unbind(1)], 1))
    close(got["t"][0], x.sum().expand(3))
    outer = vmap(vmap(torch.mul, (None, 0)), (0, None))
    close(outer(y, y + 1), y[:, None] * (y + 1))
    total = vmap(lambda a: (a, x.sum()), out_dims=(0, None))(x)[1]
    assert total.shape == ()


def test_gradients_through(x):
    w = torch.randn(4, requires_grad=True)
    vmap(lambda a: (a * w).sin().sum())(x).sum().backward()
    got, w.grad = w.grad, None
    (x * w).sin().sum().backward()
    close(got, w.grad)
    p = x.clone().requires_grad_()
    vmap(grad(lambda a: (a * w).sin().sum()))(p).sum().backward()
    close(p.grad, -(w**2 * (x * w).sin()).detach())


def test_of_functions_from_outside(x):
    """Pullbacks and push-forwards made outside, and graphs of outside, may be gone along inside."""
    a = x[0, 0]
    eye = torch.eye(4)
    close(vmap(vjp(torch.sin, a)[1])(eye)[0], torch.diag(a.cos()))
    close(vmap(lambda v: jvp(torch.sin, (a,), (v,))[1])(eye), torch.diag(a.cos()))
    close(vmap(lambda b: vmap(vjp(torch.sin, b)[1])(eye)[0])(x[0]), torch.stack([torch.diag(b.cos()) for b in x[0]]))
    p = a.clone().requires_grad_()
    y = p**2
    rows = vmap(lambda v: torch.autograd.grad(y, p, v, retain_graph=True)[0])(eye)
    close(rows, torch.diag(2 * a))


def test_per_sample_gradients_of_a_module():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    params = {k: v.detach() for k, v in model.named_parameters()}
    data, target = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])

    def loss(params, x, y):
        out = torch.func.functional_call(model, params, (x.unsqueeze(0),))
        return torch.nn.functional.cross_entropy(out, y.unsqueeze(0))

    got = vmap(grad(loss), in_dims=(None, 0, 0))(params, data, target)
    for i in range(6):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(data[i : i + 1]), target[i : i + 1]).backward()
        for k, p in model.named_parameters():
            close(got[k][i], p.grad)
    chunked = vmap(grad(loss), in_dims=(None, 0, 0), chunk_size=4)(params, data, target)
    close(chunked["0.weight"], got["0.weight"])


def test_randomness(x):
    inner = vmap(lambda b: torch.rand(()) + 0 * b, randomness="same")
    for f in (lambda a: torch.rand(3), lambda a: torch.nn.functional.dropout(torch.ones(40), 0.5),
              lambda a: torch.zeros(3).normal_(), lambda a: inner(a[0])):  # fmt: skip
        with pytest.raises(RuntimeError, match="randomness error mode"):
            vmap(f)(x)
        same = vmap(f, randomness="same")(x)
        different = vmap(f, randomness="different")(x)
        assert torch.equal(same[0], same[1])
        assert not torch.equal(different[0], different[1])
        assert not torch.equal(vmap(f, randomness="same")(x), same)
    p = torch.ones(2, 500)
    drop = lambda a: (torch.nn.functional.dropout(a, 0.5) ** 2).sum()  # noqa: E731
    got = vmap(grad(drop), randomness="different")(p)
    assert set(got.flatten().tolist()) == {0.0, 8.0} and not torch.equal(got[0], got[1])
    twice = vmap(grad(lambda a: grad(drop)(a).sum()), randomness="different")(p)
    assert set(twice.flatten().tolist()) == {0.0, 8.0} and not torch.equal(twice[0], twice[1])


def test_writing(x):
    def f(a):
        out = torch.zeros(4)
        out.add_(a.sum(0))
        out[0] = a[0, 0]
        return out

    close(vmap(f)(x), torch.stack([f(a) for a in x]))
    z = x.clone()
    vmap(lambda a: a.mul_(2))(z)
    close(z, 2 * x)
    z = x.clone()
    vmap(lambda a: a[0].fill_(1), in_dims=2)(z)
    assert z[0].eq(1).all() and torch.equal(z[1], x[1])
    count = torch.zeros(())
    vmap(lambda a: (count.add_(1), a)[1])(x)
    assert count.item() == 1
    with pytest.raises(RuntimeError, match="inplace arithmetic"):
        vmap(lambda a: count.add_(a.sum()))(x)
    assert count.item() == 1
    with pytest.raises(ZeroDivisionError):
        vmap(lambda a: (count.add_(1), 1 / 0))(x)
    assert count.item() == 1


def test_views_of_outside_stay_whole(x):
    base = x.clone()
    row = base[0]
    base.add_(1)
    close(vmap(lambda a: a + row)(x), x + x[0] + 1)
    close(row, x[0] + 1)


def test_batch_norm(x):
    norm = torch.nn.BatchNorm1d(4)
    data = torch.stack([x[0], x[1] * 2])
    with pytest.raises(RuntimeError, match="inplace arithmetic"):
        vmap(norm)(data)
    assert norm.running_mean.count_nonzero() == 0
    buffers = {k: torch.stack([v, v]) for k, v in norm.named_buffers()}
    out = vmap(lambda b, a: torch.func.functional_call(norm, b, (a,)))(buffers, data)
    want = torch.nn.BatchNorm1d(4)
    close(out[1], want(data[1]))
    close(buffers["running_mean"][1], want.running_mean)
    torch.func.replace_all_batch_norm_modules_(norm)
    close(vmap(norm)(data)[1], out[1])


def test_values_of_the_outside_may_be_read(x):
    n = torch.tensor(3)
    close(vmap(lambda a: a * n.item())(x), x * 3)
    close(vmap(lambda a: a if (n * 2).item() == 6 else -a)(x), x)
    pending = x.sum() * 0 + 2
    close(vmap(lambda a: a * float(pending))(x), x * 2)


def test_printing_inside_does_not_read(x, capsys):
    vmap(lambda a: (print(a), a)[1])(x)
    assert "(3, 4)" in capsys.readouterr().out


def test_data_checks_are_passed_on(x):
    with pytest.raises(IndexError):
        vmap(lambda a, i: a[i])(x, torch.arange(2) * 7 + torch.randint(1, (2,))).tolist()


def test_a_loop_of_calls_compiles_once(x):
    from pytorchlike import compiler

    f = vmap(grad(lambda a, k: (a * k).sin().sum()), in_dims=(0, None))
    for k in range(3):
        f(x, float(k)).tolist()
    before = compiler.stats()["compiles"]
    for k in range(5):
        f(x * 1, 10.0 + k).tolist()
    assert compiler.stats()["compiles"] - before <= 1  # that of x * 1
    before = compiler.stats()["compiles"]
    for k in range(5):
        f(x * 1, 20.0 + k).tolist()
    assert compiler.stats()["compiles"] == before


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: vmap(lambda a: a.sum().item())(x), RuntimeError, "calling .item"),
        (lambda x: vmap(lambda a: a if a.sum() > 0 else -a)(x), RuntimeError, "data-dependent control flow"),
        (lambda x: vmap(lambda a: a.nonzero())(x), RuntimeError, "dynamic shape"),
        (lambda x: vmap(lambda a: a[a > 0])(x), RuntimeError, "boolean mask"),
        (lambda x: vmap(lambda a: 3)(x), ValueError, "must only return Tensors"),
        (lambda x: vmap(lambda a, b: a, in_dims=(0,))(x, x), ValueError, "in_dims is not compatible"),
        (lambda x: vmap(lambda a: a, in_dims=None)(x), ValueError, "in_dims"),
        (lambda x: vmap(lambda a, b: a, in_dims=(None, None))(x, x), ValueError, "at least one Tensor"),
        (lambda x: vmap(lambda a: a, in_dims=5)(x), ValueError, "dimensionality 3"),
        (lambda x: vmap(lambda a, b: a)(x, x[0]), ValueError, "same size in the mapped dimension"),
        (lambda x: vmap(lambda a, b: a)(x, 3), ValueError, "cannot vmap over non-Tensor"),
        (lambda x: vmap(lambda a: a, in_dims=[0])(x), ValueError, "expected `in_dims`"),
        (lambda x: vmap(lambda: 1)(), ValueError, "no inputs"),
        (lambda x: vmap(lambda a: a, out_dims=3)(x), IndexError, "Dimension out of range"),
        (lambda x: vmap(lambda a: a, out_dims=(0, 0))(x), ValueError, "out_dims is not compatible"),
        (lambda x: vmap(lambda a: a, out_dims=0.5)(x), ValueError, "must be an int, None"),
        (lambda x: vmap(lambda a: a, out_dims=None)(x), ValueError, "out_dim is None"),
        (lambda x: vmap(torch.sin, randomness="x"), RuntimeError, "Only allowed values for randomness"),
        (lambda x: vmap(torch.sin, chunk_size=0), ValueError, "chunk_size"),
        (lambda x: vmap(lambda a: a.sum().backward())(x), RuntimeError, "backward"),
    ],
)
def test_refusals(call, error, says, x):
    with pytest.raises(error, match=says):
        call(x)


def test_escaped_tensors_say_so(x):
    kept = []
    vmap(lambda a: (kept.append(a * 2), a)[1])(x)
    with pytest.raises(RuntimeError, match="outside of the function transformation"):
        kept[0] + 1


def test_containers_with_a_batch_size_are_told_that_of_one_entry():
    class Batch:
        def __init__(self, x, batch_size):
            self.x, self.batch_size = x, batch_size

    torch.utils._pytree.register_pytree_node(Batch, lambda b: ([b.x], b.batch_size), lambda xs, n: Batch(*xs, n))
    seen = []

    def f(batch, y):
        seen.append((tuple(batch.x.shape), tuple(batch.batch_size)))
        return batch.x + y

    x = torch.ones(2, 3, 4)
    for chunk in (None, 2):
        out = vmap(f, in_dims=(1, None), chunk_size=chunk)(Batch(x, torch.Size([2, 3])), 1.0)
        assert out.shape == (3, 2, 4) and (out == 2).all()
    assert set(seen) == {((2, 4), (2,))}


def test_gradients_of_a_graph_of_outside_have_no_history():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x**2
    rows = vmap(lambda v: torch.autograd.grad(y, x, v, retain_graph=True)[0])(torch.eye(2))
    assert not rows.requires_grad and rows.tolist() == [[2, 0], [0, 4]]
    rows = vmap(lambda v: torch.autograd.grad(y, x, v, create_graph=True)[0])(torch.eye(2))
    assert rows.requires_grad


def test_keyword_arguments_are_the_same_for_all():
    x, k = torch.arange(6.0).reshape(2, 3), torch.arange(6.0).reshape(2, 3)
    assert vmap(lambda x, k=1: x * k)(x, k=k).tolist() == (x[:, None] * k).tolist()
    with pytest.raises(ValueError, match="got no inputs"):
        vmap(lambda k: k)(k=k)


def test_what_is_no_tensor_comes_back_where_its_out_dim_is_none():
    got = vmap(lambda x: (x * 2, "name", None), out_dims=(0, None, None))(torch.arange(2.0))
    assert got[0].tolist() == [0, 2] and got[1:] == ("name", None)
    with pytest.raises(ValueError, match="must only return Tensors"):
        vmap(lambda x: (x, "name"))(torch.arange(2.0))
