"""``functorch``'s functions, and what libraries import from ``torch._functorch`` and ``torch._C._functorch``."""

import pytest

import pytorchlike as torch
from pytorchlike import functorch
from pytorchlike._functorch import vmap as inner

nn = torch.nn
pytestmark = pytest.mark.filterwarnings("ignore:We've integrated functorch")


def test_make_functional():
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    func, params = functorch.make_functional(model)
    x = torch.randn(5, 3)
    assert torch.equal(func(params, x), model(x))
    assert not list(func.parameters())
    assert params[0] is not model[0].weight and params[0].requires_grad
    with torch.no_grad():
        model[0].weight.zero_()
    assert func(params, x).sum().item() != model(x).sum().item()  # a copy's parameters

    def loss(params, x, y):
        return (func(params, x) - y).square().sum()

    y = torch.randn(5, 2)
    each = functorch.vmap(functorch.grad(loss), (None, 0, 0))(params, x, y)
    want = torch.autograd.grad(loss(params, x, y), params)
    for a, b in zip(each, want, strict=True):
        assert torch.allclose(a.sum(0), b, atol=1e-5)
    assert not functorch.make_functional(model, disable_autograd_tracking=True)[1][0].requires_grad


def test_buffers_and_ensembles():
    models = [nn.BatchNorm1d(2).eval() for _ in range(3)]
    with pytest.raises(RuntimeError, match="make_functional_with_buffers"):
        functorch.make_functional(models[0])
    x = torch.randn(4, 2)
    func, params, buffers = functorch.make_functional_with_buffers(models[0])
    assert torch.equal(func(params, (buffers[0] + 1, *buffers[1:]), x), models[0](x - 1))
    with torch.no_grad():
        models[2].weight.fill_(2.0)
    func, params, buffers = functorch.combine_state_for_ensemble(models)
    out = functorch.vmap(func, in_dims=(0, 0, None))(params, buffers, x)
    assert torch.allclose(out, torch.stack([m(x) for m in models]))


def test_who_is_batched():
    seen = []

    def f(x, y):
        is_batched = torch._C._functorch.is_batchedtensor
        seen.append((is_batched(x), is_batched(x + 1), is_batched(y), torch._C._functorch.get_unwrapped(x).shape))
        return x + y

    x = torch.ones(3, 2)
    inner.vmap(f, in_dims=(0, None))(x, torch.ones(2))
    assert seen == [(True, True, False, (3, 2))]
    assert not torch._C._functorch.is_batchedtensor(x)
    with pytest.raises(NotImplementedError, match="vmap"):
        inner._add_batch_dim(x, 0, 1)


def test_who_is_differentiated():
    """Libraries leave checkpoints out inside of ``grad``; parameters that the function refers to count as outside."""
    asked, seen = torch._C._functorch, []
    weight = torch.ones(2, requires_grad=True)

    def f(x):
        for t in (x, x * weight, weight):
            seen.append((asked.is_gradtrackingtensor(t), asked.is_functorch_wrapped_tensor(t)))
        return (x * weight).sum()

    f(torch.ones(2))
    f(torch.ones(2, requires_grad=True) * 2)
    assert seen == [(False, False)] * 6
    for call in (lambda x: torch.func.grad(f)(x), lambda x: torch.func.vjp(f, x), lambda x: torch.func.jacrev(f)(x),
                 lambda x: torch.func.vmap(torch.func.grad(f))(x[None])):  # fmt: skip
        seen.clear()
        call(torch.ones(2))
        assert seen == [(True, True), (True, True), (False, False)]
    seen.clear()
    torch.func.grad(lambda x: torch.func.vmap(f)(x[None]).sum())(torch.ones(2))
    assert seen == [(False, True), (False, True), (False, False)]
