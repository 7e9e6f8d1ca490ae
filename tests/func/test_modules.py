"""functional_call, stack_module_state, replace_all_batch_norm_modules_, rearrange, debug_unwrap."""

import pytest

import pytorchlike as torch
from pytorchlike.func import debug_unwrap, functional_call, rearrange, stack_module_state, vmap

nn = torch.nn


def test_functional_call_with_several_dicts():
    m = nn.BatchNorm1d(2)
    x = torch.randn(5, 2)
    buffers = {k: v.clone() for k, v in m.named_buffers()}
    out = functional_call(m, ({"weight": torch.full((2,), 2.0), "bias": torch.ones(2)}, buffers), (x,))
    assert torch.allclose(out, m(x) * 2 + 1, atol=1e-5)
    assert torch.allclose(buffers["running_mean"], m.running_mean) and m.weight[0].item() == 1


def test_tied_weights_and_strict():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 2, bias=False)
            self.b = nn.Linear(2, 2, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    m, x, two = Tied(), torch.eye(2), torch.eye(2) * 2
    assert torch.equal(functional_call(m, {"a.weight": two}, x), 4 * x)
    assert torch.allclose(functional_call(m, {"a.weight": two}, x, tie_weights=False), 2 * m.a.weight.T)
    with pytest.raises(ValueError, match="multiple values"):
        functional_call(m, {"a.weight": two, "b.weight": x}, x)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        functional_call(m, {"a.weight": two, "c": x}, x, strict=True)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [(3, ValueError, "to be a dict"), (({"weight": 1}, {"weight": 1}), ValueError, "multiple dictionaries"),
     (({}, [3]), ValueError, "to be dictionaries"), ({"weight": 3}, TypeError, "not an instance")],
)  # fmt: skip
def test_functional_call_refuses(given, error, says):
    with pytest.raises(error, match=says):
        functional_call(nn.Linear(2, 2), given, torch.ones(2))


def test_ensemble():
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)) for _ in range(3)]
    params, buffers = stack_module_state(models)
    x = torch.randn(5, 3)
    out = vmap(lambda p, b, x: functional_call(models[0], (p, b), (x,)), (0, 0, None))(params, buffers, x)
    for row, m in zip(out, models, strict=True):
        assert torch.allclose(row, m(x), atol=1e-6)
    out.sum().backward()
    assert params["0.weight"].grad.shape == (3, 4, 3) and models[0][0].weight.grad is None
    for given, says in (([], "at least one"), ([nn.ReLU(), nn.Tanh()], "same class"),
                        ([nn.ReLU(), nn.ReLU().eval()], "training/eval")):  # fmt: skip
        with pytest.raises(RuntimeError, match=says):
            stack_module_state(given)


def test_rearrange():
    x = torch.arange(24.0).reshape(2, 3, 4)
    assert torch.equal(rearrange(x, "a b c -> (c a) b"), x.permute(2, 0, 1).reshape(8, 3))
    assert torch.equal(rearrange(x, "a b (c d) -> d a b c", d=2), x.reshape(2, 3, 2, 2).permute(3, 0, 1, 2))
    assert rearrange(x, "... c -> c ...").shape == (4, 2, 3) and rearrange(x, "a ... -> (...) a 1").shape == (12, 2, 1)
    assert torch.equal(rearrange([x, x], "n a b c -> a n (b c)"), torch.stack([x, x], 1).reshape(2, 2, 12))
    for pattern, says in (("a b -> b a", "Number of dimensions"), ("a b c -> a b", "only on one side"), ("a b c", "->"),
                          ("a (b d) c -> a b c d", "two dimensions"), ("a a c -> a c", "duplicate")):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            rearrange(x, pattern)


def test_debug_unwrap():
    x = torch.arange(6.0).reshape(2, 3)
    seen = []

    def inner(a):
        seen.extend((debug_unwrap(a), debug_unwrap(a, recurse=False).shape))
        with pytest.raises(NotImplementedError):
            debug_unwrap(a * 2)
        return a

    vmap(vmap(inner))(x)
    assert torch.equal(seen[0], x) and seen[1] == (3,)
    assert debug_unwrap(x) is x
