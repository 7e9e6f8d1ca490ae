"""``torch.compile``: a replayed call does what the Python code would have done, or the code is run."""

import copy
import random
import types

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.nn import functional as F

SCALE = 2.0
TABLE = {"shift": 1.0}


def scaled(x):
    return torch.sin(x) * SCALE + TABLE["shift"]


def test_replays_a_pure_function():
    fn = torch.compile(scaled)
    for seed in range(3):
        torch.manual_seed(seed)
        x = torch.randn(4)
        assert torch.allclose(fn(x), scaled(x))
    assert (fn.capture.captures, fn.capture.replays) == (1, 2)


def test_other_shapes_dtypes_and_numbers_are_captured_apart():
    fn = torch.compile(lambda x, n: x * n)
    for x in (torch.ones(2), torch.ones(3), torch.ones(2, dtype=torch.float64), torch.ones(2)):
        for n in (2, 3.0):
            got = fn(x, n)
            assert torch.equal(got, x * n) and got.dtype == (x * n).dtype
    assert fn.capture.captures == 6


def test_a_changed_global_or_table_is_seen(monkeypatch):
    fn = torch.compile(scaled)
    x = torch.ones(3)
    fn(x)
    monkeypatch.setitem(globals(), "SCALE", 5.0)
    assert torch.allclose(fn(x), scaled(x))
    monkeypatch.setitem(TABLE, "shift", -1.0)
    assert torch.allclose(fn(x), scaled(x))


def test_a_changed_closure_attribute_or_mode_is_seen():
    class Config:
        power = 1

    config, weights = Config(), [2.0]

    @torch.compile
    def fn(x):
        return (x**config.power * weights[0]).sum()

    x = torch.full((3,), 2.0, requires_grad=True)
    assert fn(x).item() == 12
    config.power = 2
    assert fn(x).item() == 24
    weights[0] = 1.0
    assert fn(x).item() == 12
    with torch.no_grad():
        assert not fn(x).requires_grad
    assert fn(x).requires_grad


def test_train_and_eval_and_frozen_parameters_are_told_apart():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    plain, fast = copy.deepcopy(module), torch.compile(module)
    x = torch.randn(6, 4)
    for mode in (True, False, True, False):
        plain.train(mode), fast.train(mode)
        torch.manual_seed(3)
        a = plain(x)
        torch.manual_seed(3)
        assert torch.allclose(fast(x), a)
        assert torch.allclose(plain[1].running_var, module[1].running_var)
    module[0].weight.requires_grad_(False)
    fast(x).sum().backward()
    assert module[0].weight.grad is None and module[0].bias.grad is not None
    module[1] = nn.Identity()
    assert torch.allclose(fast(x), module(x))


def test_dropout_draws_anew_at_each_replay():
    fn = torch.compile(lambda x: F.dropout(x, 0.5))
    x = torch.ones(64)
    torch.manual_seed(0)
    got = [fn(x) for _ in range(3)]
    torch.manual_seed(0)
    expected = [F.dropout(x, 0.5) for _ in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert not torch.equal(got[0], got[1])


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_whole_training_step_with_a_schedule(kind):
    def run(compiled):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
        opt = (torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9) if kind == "sgd"
               else torch.optim.Adam(model.parameters(), lr=0.05))
        schedule = torch.optim.lr_scheduler.ExponentialLR(opt, 0.8)
        x, y = torch.randn(8, 3), torch.randint(0, 2, (8,))

        def step(x, y):
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            return loss

        fn = torch.compile(step) if compiled else step
        losses = []
        for _ in range(6):
            losses.append(fn(x, y).item())
            schedule.step()
        if compiled:
            assert (fn.capture.captures, fn.capture.replays) == (1, 5), fn.capture.refused
        return losses, [p.detach().numpy() for p in model.parameters()], [p.grad.numpy() for p in model.parameters()]

    for a, b in zip(run(False), run(True), strict=True):
        for u, v in zip(a, b, strict=True):
            np.testing.assert_allclose(u, v, rtol=2e-5, atol=1e-6)


def test_gradients_accumulate_when_nobody_clears_them():
    w = nn.Parameter(torch.tensor([1.0, 2.0]))

    @torch.compile
    def fn(x):
        loss = (w * x).sum()
        loss.backward()
        return loss

    x = torch.tensor([3.0, 4.0])
    for k in range(1, 5):
        fn(x)
        assert w.grad.tolist() == [3.0 * k, 4.0 * k]
    w.grad = None
    fn(x)
    assert w.grad.tolist() == [3.0, 4.0]


def test_backward_goes_through_a_compiled_model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 1))
    fast = torch.compile(model)
    x = torch.randn(4, 3, requires_grad=True)
    for _ in range(3):
        grads = []
        for m in (model, fast):
            model.zero_grad()
            x.grad = None
            m(x).pow(2).mean().backward()
            grads.append([p.grad.clone() for p in model.parameters()] + [x.grad.clone()])
        for a, b in zip(*grads, strict=True):
            assert torch.allclose(a, b, atol=1e-6)
    assert fast.capture.replays == 2


def test_python_effects_are_never_lost():
    seen, counter = [], {"n": 0}

    def appends(x):
        seen.append(1)
        return x + 1

    def counts(x):
        counter["n"] += 1
        return x + 1

    class Sets(nn.Module):
        n = 0

        def forward(self, x):
            self.n += 1
            return x + self.n

    module = Sets()
    for fn in (appends, counts, module):
        fast = torch.compile(fn)
        for _ in range(3):
            fast(torch.ones(2))
    assert len(seen) == 3 and counter["n"] == 3 and module.n == 3


def test_python_random_numbers_are_drawn_at_each_call():
    fn = torch.compile(lambda x: x * random.random())
    values = {fn(torch.ones(1)).item() for _ in range(5)}
    assert len(values) == 5


def test_numpy_data_is_read_at_each_call():
    rng = np.random.default_rng(0)
    fn = torch.compile(lambda x: x + torch.from_numpy(rng.standard_normal(2)))
    assert len({tuple(fn(torch.zeros(2, dtype=torch.float64)).tolist()) for _ in range(4)}) == 4


def test_a_list_built_inside_is_no_effect():
    @torch.compile
    def fn(x):
        parts = []
        for k in range(3):
            parts.append(x * k)
        return torch.stack(parts)

    for _ in range(3):
        assert fn(torch.ones(2)).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert fn.capture.replays == 2


def test_branches_on_values_are_taken_anew():
    def fn(x):
        return x * 2 if x.sum() > 0 else x - 1

    fast = torch.compile(fn)
    for x in (torch.ones(2), -torch.ones(2), torch.ones(2)):
        assert torch.equal(fast(x), fn(x))
    assert fast.capture.replays == 0 and "value of a tensor is read" in str(fast.capture.refused)


def test_fullgraph_raises_at_the_line_that_reads():
    @torch.compile(fullgraph=True)
    def fn(x):
        if x.sum() > 0:
            return x
        return -x

    with pytest.raises(RuntimeError, match="test_compile.py"):
        fn(torch.ones(2))


def test_errors_of_the_compiler_have_pytorchs_names():
    from pytorchlike._dynamo.exc import TorchDynamoException, Unsupported

    with pytest.raises(Unsupported) as caught:
        torch.compile(lambda x: x if x.sum() > 0 else -x, fullgraph=True)(torch.ones(2))
    assert isinstance(caught.value, TorchDynamoException) and isinstance(caught.value, RuntimeError)


def test_compiled_autograd_is_a_hint():
    x = torch.ones(2, requires_grad=True)
    with torch._dynamo.compiled_autograd._enable(torch.compile(fullgraph=True)):
        (x * 3).sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_fullgraph_looks_into_no_custom_operator():
    @torch.library.custom_op("test_compile::by_numpy", mutates_args=())
    def by_numpy(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(x.numpy() * 2)

    fast = torch.compile(lambda x: by_numpy(x + 1), fullgraph=True)
    for k in range(3):
        assert fast(torch.full((2,), float(k))).tolist() == [2 * k + 2] * 2
    by_numpy.register_autograd(lambda ctx, g: g * 2)
    x = torch.ones(2, requires_grad=True)
    fast(x).sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_views_and_inputs_that_are_written_to():
    def writes(x):
        x.add_(1)
        return x * 2

    def views(x):
        return (x + 1).view(2, 2), x[0]

    for fn in (writes, views):
        fast = torch.compile(fn)
        for _ in range(3):
            a, b = torch.arange(4.0), torch.arange(4.0)
            leaves = torch.utils._pytree.tree_leaves
            for u, v in zip(leaves(fn(a)), leaves(fast(b)), strict=True):
                assert torch.equal(u, v) and u.stride() == v.stride()
            assert torch.equal(a, b)


def test_hidden_state_kept_outside():
    cell = nn.GRUCell(2, 3)
    fast = torch.compile(cell)
    x = torch.randn(5, 1, 2)
    h = g = torch.zeros(1, 3)
    for t in range(5):
        h, g = cell(x[t], h), fast(x[t], g)
        assert torch.allclose(h, g, atol=1e-6)


def test_arguments_that_are_the_same_tensor():
    fn = torch.compile(lambda a, b: a * 2 + b)
    x, y = torch.ones(2), torch.full((2,), 5.0)
    assert fn(x, x).tolist() == [3, 3]
    assert fn(x, y).tolist() == [7, 7]
    assert fn(y, y).tolist() == [15, 15]


def test_errors_and_options():
    with pytest.raises(RuntimeError, match="mode or options"):
        torch.compile(scaled, mode="default", options={})
    with pytest.raises(RuntimeError, match="Unrecognized mode"):
        torch.compile(scaled, mode="fastest")
    with pytest.raises(RuntimeError, match="Invalid backend"):
        torch.compile(scaled, backend="nothing")
    with pytest.raises(NotImplementedError, match="FX graph"):
        torch.compile(scaled, backend=lambda gm, inputs: gm)
    assert torch.compile(scaled, disable=True) is scaled
    with pytest.raises(RuntimeError, match="shape"):
        torch.compile(lambda a, b: a @ b)(torch.ones(2, 3), torch.ones(2, 3))


def test_an_optimized_module_is_the_module():
    module = nn.Linear(2, 3)
    fast = torch.compile(module, mode="reduce-overhead", dynamic=True)
    assert list(fast.state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"]
    assert fast.weight is module.weight and fast.in_features == 2
    fast.load_state_dict({"_orig_mod.weight": torch.ones(3, 2), "_orig_mod.bias": torch.zeros(3)})
    assert fast(torch.ones(1, 2)).tolist() == [[2, 2, 2]]
    again = copy.deepcopy(fast)
    assert torch.equal(again(torch.ones(1, 2)), fast(torch.ones(1, 2))) and again.weight is not fast.weight
    module.compile()
    assert module(torch.ones(1, 2)).tolist() == [[2, 2, 2]]


def test_a_graph_break_is_heeded():
    calls = []

    @torch.compile
    def f(x):
        torch._dynamo.graph_break()
        calls.append(1)
        return x * 2

    for _ in range(3):
        assert f(torch.ones(1)).tolist() == [2]
    assert len(calls) == 3
    with pytest.raises(RuntimeError, match=r"graph_break.*\(for a reason\)"):
        torch.compile(lambda x: torch._dynamo.graph_break("for a reason"), fullgraph=True)(torch.ones(1))
    torch._dynamo.graph_break()  # nothing outside


def test_a_class_can_be_kept_out_of_captures():
    calls = []

    @torch._dynamo.disable
    class Layer(torch.nn.Module):
        def forward(self, x):
            calls.append(1)
            return x + 1

    @torch.compiler.disable
    class Plain:
        pass

    assert isinstance(Layer, type) and isinstance(Plain(), Plain)
    layer = Layer()
    f = torch.compile(lambda x: layer(x) * 2)
    assert [f(torch.ones(1)).item() for _ in range(3)] == [4, 4, 4] and len(calls) == 3


def test_dynamo_is_asked_about_the_capture():
    seen = []

    def f(x):
        seen.append((torch._dynamo.is_compiling(), torch.compiler.is_compiling()))
        return x + 1

    torch.compile(f)(torch.ones(1))
    f(torch.ones(1))
    assert seen[0] == (True, True) and seen[-1] == (False, False)


def test_disable_and_reset():
    calls = []

    @torch.compiler.disable
    def inner(x):
        calls.append(1)
        return x + 1

    fn = torch.compile(lambda x: inner(x) * 2)
    for _ in range(3):
        assert fn(torch.zeros(1)).item() == 2
    assert len(calls) == 3
    pure = torch.compile(scaled)
    pure(torch.ones(1))
    torch.compiler.reset()
    pure(torch.ones(1))
    assert pure.capture.captures == 2
    assert "Captured: yes" in str(torch.compiler.explain(scaled)(torch.ones(2)))


def test_what_was_done_before_an_exception_is_kept():
    weight, seen, kept = nn.Parameter(torch.ones(2)), torch.zeros(2), []
    optimizer = torch.optim.SGD([weight], lr=0.5)

    def step(x, end):
        seen.add_(1)
        if end == 0:
            raise KeyError("early")
        kept.append(seen * 2)
        optimizer.zero_grad()
        (weight * x).sum().backward()
        optimizer.step()
        if end == 1:
            raise KeyError("late")
        return weight.sum()

    fn = torch.compile(step)
    with pytest.raises(KeyError, match="early"):
        fn(torch.ones(2), 0)
    assert seen.tolist() == [1, 1] and weight.grad is None
    with pytest.raises(KeyError, match="late"):
        fn(torch.ones(2), 1)
    assert (seen.tolist(), weight.tolist(), weight.grad.tolist()) == ([2, 2], [0.5, 0.5], [1, 1])
    assert kept[0].tolist() == [4, 4]
    assert fn(torch.ones(2), 2).item() == 0 and seen.tolist() == [3, 3]


def test_a_graph_goes_on_from_what_an_exception_left():
    x, kept = torch.ones(2, requires_grad=True), []

    def grow(factor):
        kept.append(x * factor)
        with torch.no_grad():
            x.add_(1)
        raise KeyError(factor)

    fn = torch.compile(grow)
    for factor in (2, 3):
        with pytest.raises(KeyError):
            fn(factor)
    assert x.tolist() == [3, 3]
    sum(kept).sum().backward()
    assert x.grad.tolist() == [5, 5]


def test_what_cannot_be_computed_undoes_the_call():
    table, calls = torch.arange(3.0), torch.zeros(1)

    def look(i):
        calls.add_(1)
        return table[i].sum().item()

    fn = torch.compile(look)
    with pytest.raises(IndexError):
        fn(torch.tensor([6]) + 1)
    assert calls.item() == 0 and fn(torch.tensor([2])) == 2 and calls.item() == 1


def test_what_is_returned_can_be_differentiated_after_a_pass_inside():
    weight, x = nn.Parameter(torch.ones(2)), torch.tensor([1.0, 2.0], requires_grad=True)

    def outer_loss(x):  # as first-order meta-learning
        inner = torch.autograd.grad((x**2).sum(), x)[0]
        return (weight * inner).sum()

    fn = torch.compile(outer_loss)
    for k in range(1, 4):
        fn(x).backward()
        assert weight.grad.tolist() == [2 * k, 4 * k]

    def twice(x):
        loss = (weight * x).square().sum()
        loss.backward(retain_graph=True)
        return loss

    weight.grad, fn = None, torch.compile(twice)
    for k in range(1, 4):
        fn(x.detach()).backward()
        assert weight.grad.tolist() == [4 * k, 16 * k]


def test_a_step_that_returns_what_its_pass_has_given_up_is_replayed():
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        out = model(x)
        loss = out.square().mean()
        loss.backward()
        optimizer.step()
        return loss, out, (out * 2).sum()

    fn = torch.compile(step)
    losses = [fn(torch.ones(3, 2))[0].item() for _ in range(4)]
    assert fn.capture.replays == 3 and losses == sorted(losses, reverse=True)


def test_arguments_that_are_nested_are_left_to_python():
    layer = torch.nn.Linear(2, 3)
    ragged = torch.nested.nested_tensor([torch.ones(2, 2), torch.ones(1, 2)], layout=torch.jagged)
    got = torch.compile(layer)(ragged)
    assert got.is_nested and torch.equal(got.values(), layer(torch.ones(3, 2)))


def test_what_has_backward_hooks_runs_as_ever():
    """The reverse pass of what was captured is one operation, in which no Python runs."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    holder = types.SimpleNamespace(net=net)

    def loss(x):
        return net(x).square().mean()

    ways = [net, lambda x: net(x), torch.compile(net), torch.compile(lambda x: net(x))]
    x, found = torch.ones(2, 3), []
    for hooked in (False, True):
        if hooked:
            net[2].register_full_backward_hook(lambda module, given, _: (3 * given[0],))
        for way in ways:
            net.zero_grad()
            way(x).square().mean().backward()
            found.append(net[0].weight.grad.sum().item())
    assert found[:4] == pytest.approx([found[0]] * 4)
    assert found[4:] == pytest.approx([3 * found[0]] * 4)
    assert torch.compile(loss)(x).requires_grad
    with pytest.raises(RuntimeError, match="full backward hooks"):
        torch.compile(lambda x: holder.net(x))(x)


def test_dynamo_explains_as_the_compiler_does():
    def double(x):
        return x * 2 if x.sum() > 0 else x

    told = torch._dynamo.explain(double)(torch.ones(3))
    assert told.graph_break_count == 1 and "the value of a tensor is read" in str(told)
    assert torch._dynamo.explain(lambda x: x * 2, torch.ones(3)).graph_break_count == 0
