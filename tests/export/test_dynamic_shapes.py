"""Programs whose sizes are open: same results at other sizes, PyTorch's errors, graphs and files that say so."""

import copy
import io

import pytest
from function_module import Fn

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike._dynamo.exc import UserError
from pytorchlike.export import Dim, export
from pytorchlike.nn import functional as F
from pytorchlike.utils._pytree import tree_leaves


def same(program, model, *args, **kwargs):
    got, want = (tree_leaves(f(*args, **kwargs)) for f in (program.module(), model))
    for x, y in zip(got, want, strict=True):
        assert x.shape == y.shape and x.dtype == y.dtype and torch.allclose(x, y, atol=1e-5)


def again(program):
    """The program after a file."""
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file)


def test_a_batch_of_any_size():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin, self.table = nn.Linear(3, 4), torch.ones(1)
            self.register_buffer("k", torch.arange(4.0))

        def forward(self, x):
            b = x.shape[0]
            return self.lin(x).view(b * 2, 2).sum(1) * self.table, {"zeros": x.new_zeros(b + 1), "k": self.k + b}

    net = Net()
    program = export(net, (torch.randn(5, 3),), dynamic_shapes={"x": {0: Dim("batch", min=2, max=64)}})
    for n in (2, 7, 64):
        same(program, net, torch.randn(n, 3))
    assert {str(k): repr(v) for k, v in program.range_constraints.items()} == {"s0": "VR[2, 64]"}
    text = str(program)
    assert 'x: "f32[s0, 3]"' in text and '"Sym(2*s0)"' in text and "c_table: CONSTANT_TENSOR target='table'" in text
    module = program.module()
    for bad, message in ((65, "batch <= 64, got 65"), (1, "batch >= 2, got 1")):
        with pytest.raises(AssertionError, match=f"Guard failed: {message}"):
            module(torch.randn(bad, 3))
    with pytest.raises(AssertionError, match=r"x.size\(\)\[1\] == 3, got 4"):
        module(torch.randn(5, 4))
    with pytest.raises(RuntimeError, match="dtype"):
        module(torch.randn(5, 3).double())
    module(torch.randn(6, 3))[0].sum().backward()
    assert net.lin.weight.grad.abs().sum() > 0
    loaded = again(program)
    same(loaded, net, torch.randn(9, 3))
    assert str(loaded.graph) == str(program.graph) and loaded.range_constraints == program.range_constraints
    assert dict(loaded.named_parameters()).keys() == {"lin.weight", "lin.bias"}
    with pytest.raises(NotImplementedError, match="fixed sizes"):
        program.stablehlo()


def test_the_graph_runs_and_has_a_signature():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    program = export(net, (torch.randn(5, 3),), dynamic_shapes=({0: Dim("b")},))
    signature = program.graph_signature
    assert signature.user_inputs == ("input_1",)
    assert signature.parameters == ("0.weight", "0.bias", "1.weight", "1.bias")
    assert set(signature.buffers_to_mutate.values()) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    state, x = [*program.state_dict.values()], torch.randn(6, 3)
    found = program.graph_module(*state, x)
    assert torch.allclose(found[0], copy.deepcopy(net)(x), atol=1e-5)
    assert str(list(program.graph.nodes)[7].meta["val"]) == "f32[s0, 3]"


def test_training_batch_norm_updates_its_buffers_at_any_size():
    net = nn.BatchNorm1d(3)
    twin = copy.deepcopy(net)
    module = export(net, (torch.randn(5, 3),), dynamic_shapes=({0: Dim("b")},)).module()
    assert net.num_batches_tracked.item() == 0
    x = torch.randn(8, 3)
    assert torch.allclose(module(x), twin(x), atol=1e-5)
    assert torch.allclose(module.get_buffer("running_var"), twin.running_var) and net.num_batches_tracked.item() == 1


def test_images_of_any_size_through_strides_and_pooling():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                        nn.Conv2d(4, 2, 5, stride=4, padding=2))  # fmt: skip

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            y = self.net(x)
            b, c, h, w = y.shape
            return y.view(b, c, h * w).transpose(1, 2) / (h * w) ** 0.5 + torch.arange(h * w)[:, None]

    model = Tokens()
    shapes = {"x": {0: Dim("b"), 2: Dim("h"), 3: Dim("w")}}
    program = export(model, (torch.randn(2, 3, 40, 33),), dynamic_shapes=shapes)
    for h, w in ((47, 48), (33, 90)):
        same(program, model, torch.randn(1, 3, h, w))
    assert "((s1 + 13)//16)" in str(program)


def test_attention_over_any_length_with_a_causal_buffer():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(8, 24)
            self.place = nn.Parameter(torch.randn(32, 8))
            self.register_buffer("mask", torch.tril(torch.ones(32, 32)).bool())

        def forward(self, x):
            b, t, c = x.shape
            q, k, v = self.qkv(x + self.place[:t]).view(b, t, 3, 2, 4).permute(2, 0, 3, 1, 4)
            scores = (q @ k.transpose(-2, -1) * 0.5).masked_fill(~self.mask[:t, :t], float("-inf"))
            return (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, c)[:, -1]

    model = Attention().eval()
    program = export(model, (torch.randn(2, 6, 8),), dynamic_shapes=({0: Dim("b"), 1: Dim("t", max=32)},))
    loaded = again(program)
    for b, t in ((1, 3), (3, 32), (2, 17)):
        x = torch.randn(b, t, 8)
        same(program, model, x)
        same(loaded, model, x)
    with pytest.raises(AssertionError, match="t <= 32, got 33"):
        program.module()(torch.randn(1, 33, 8))


def test_recurrent_networks_and_reductions_of_any_length():
    net = nn.LSTM(3, 4, batch_first=True)
    program = export(net, (torch.randn(2, 5, 3),), dynamic_shapes=({0: Dim("b"), 1: Dim("t")},))
    same(program, net, torch.randn(3, 9, 3))
    fn = Fn(lambda x: (x.mean(0), x.std(0), x.flip(0), x.cumsum(0), x.repeat(2, 1), F.pad(x, (1, 1)), x[-1], x[::2]))
    program = export(fn, (torch.randn(6, 2),), dynamic_shapes=(({0: Dim("n")},),))
    same(program, fn, torch.randn(9, 2))


def test_structures_kwargs_and_shapes_by_tensor():
    def forward(pair, *, more):
        return pair[0] + pair[1]["y"], more.sum(0)

    class Net(nn.Module):
        def forward(self, pair, *, more):
            return forward(pair, more=more)

    net, n = Net(), Dim("n")
    args, kwargs = ((torch.randn(4, 2), {"y": torch.randn(4, 2)}),), {"more": torch.randn(5, 3)}
    shapes = {"pair": ({0: n}, {"y": {0: n}}), "more": {0: Dim.DYNAMIC}}
    for told in (shapes, (shapes["pair"], shapes["more"])):
        program = export(net, args, kwargs, dynamic_shapes=told)
        same(program, net, (torch.randn(6, 2), {"y": torch.randn(6, 2)}), more=torch.randn(9, 3))
        with pytest.raises(AssertionError, match="as in other arguments"):
            program.module()((torch.randn(6, 2), {"y": torch.randn(5, 2)}), more=torch.randn(9, 3))
    by_tensor = torch.export.ShapesCollection()
    by_tensor[kwargs["more"]] = (Dim("m"), None)
    program = export(net, args, kwargs, dynamic_shapes=by_tensor)
    assert [str(s) for s in program.range_constraints] == ["s0"]


def test_sizes_in_which_examples_differ_are_open():
    net, x = nn.Linear(3, 2), torch.randn(4, 3)
    shapes = torch.export.AdditionalInputs()
    shapes.add((torch.randn(6, 3),))
    program = export(net, (x,), dynamic_shapes=shapes)
    shapes.verify(program)
    same(program, net, torch.randn(9, 3))
    shapes.add((torch.randn(6, 4),))
    with pytest.raises(AssertionError, match="fixed by the export"):
        shapes.verify(program)

    class Scaled(nn.Module):
        def forward(self, x, options, k=2):
            return x * options["w"] * k

    shapes = torch.export.AdditionalInputs()
    shapes.add((torch.randn(5, 2), {"w": torch.randn(2)}), {"k": 3})
    args = torch.randn(4, 2), {"w": torch.randn(2)}
    assert shapes.dynamic_shapes(Scaled(), args, {"k": 3}) == {
        "x": (Dim.DYNAMIC, None), "options": {"w": (None,)}, "k": None
    }  # fmt: skip
    for kwargs, says in (({"k": 4}, r"differ in \[4, 3\]"), ({}, "other arguments")):
        with pytest.raises(ValueError, match=says):
            shapes.dynamic_shapes(Scaled(), args, kwargs)
    with pytest.raises(AssertionError, match="must be a tuple"):
        shapes.add([x])


def test_decompositions_of_ones_own_are_refused():
    program = export(nn.Linear(3, 2), (torch.randn(4, 3),))
    assert program.run_decompositions() is program is program.run_decompositions({})
    with pytest.raises(NotImplementedError, match="decomp_table"):
        program.run_decompositions({"aten.linear": print})


def test_derived_dims_and_fixed_entries():
    net, half = Fn(lambda x: x.reshape(x.shape[0] // 2, 2, 3).sum(1)), Dim("half")
    program = export(net, (torch.randn(4, 3),), dynamic_shapes=(((2 * half, Dim.STATIC),),))
    same(program, net, torch.randn(10, 3))
    assert "f32[2*s0, 3]" in str(program)
    with pytest.raises(AssertionError, match=r"== 2\*s0, got 5"):
        program.module()(torch.randn(5, 3))
    assert repr(half) == "Dim('half', min=0)" and (2 * half + 1).__name__ == "2*half + 1"
    assert repr(Dim.DYNAMIC(min=2, max=5)) == "DimHint(DYNAMIC, min=2, max=5)"


def test_auto_keeps_what_cannot_vary_and_joins_what_must_be_equal():
    class Add(nn.Module):
        def forward(self, x, y):
            return F.linear(x, torch.ones(2, 3)) + y

    auto = (Dim.AUTO, Dim.AUTO)
    program = export(Add(), (torch.randn(4, 3), torch.randn(4, 2)), dynamic_shapes=(auto, auto))
    inputs = [n.meta["val"] for n in program.graph.nodes if n.op == "placeholder"]
    assert [str(v) for v in inputs] == ["f32[s0, 3]", "f32[s0, 2]"]
    assert [repr(v) for v in program.range_constraints.values()] == ["VR[2, int_oo]"]


class Text(nn.Module):
    """Words with positions of which there are 20, and one table for words in and out."""

    def __init__(self):
        super().__init__()
        self.words, self.places, self.out = nn.Embedding(9, 4), nn.Embedding(20, 4), nn.Linear(4, 9, bias=False)
        self.out.weight = self.words.weight

    def forward(self, x):
        if x.shape[1] > 20:
            raise ValueError("too long")
        return self.out(self.words(x) + self.places(torch.arange(x.shape[1])))


def test_hints_get_the_bound_that_the_model_has_and_named_dims_an_error():
    model, x = Text(), torch.randint(0, 9, (2, 5))
    program = export(model, (x,), dynamic_shapes=((Dim.AUTO, Dim.DYNAMIC),))
    assert [repr(r) for r in program.range_constraints.values()] == ["VR[2, int_oo]", "VR[2, 20]"]
    same(program, model, torch.randint(0, 9, (1, 20)))
    assert list(program.state_dict) == ["words.weight", "places.weight"]  # the tied one once
    with pytest.raises(UserError, match="(?s)ValueError: too long.*max="):
        export(model, (x,), dynamic_shapes=({1: Dim("length")},))


def test_remainders_of_sizes():
    fn = Fn(lambda x: F.pad(x, (x.shape[0] % 2, 0)) * (x.shape[0] - x.shape[0] // 3 * 3))
    program = export(fn, (torch.randn(9, 2),), dynamic_shapes=(({0: Dim("n")},),))
    for n in (10, 11, 12):
        same(program, fn, torch.randn(n, 2))


class Decides(nn.Module):
    """What it runs rests on a size."""

    def forward(self, x):
        return x * 2 if x.shape[0] > 9 else x + 1


@pytest.mark.parametrize("fn,shape,dims,message", [
    (nn.Linear(3, 2), (5, 3), {1: Dim("q")}, r"Constraints violated \(q\).*example's is 3.*matrix|shapes"),
    (Decides(), (4, 3), {0: Dim("a")}, r"Constraints violated \(a\).*other operations at a = .*Dim.STATIC"),
    (Decides(), (4, 3), {0: Dim.DYNAMIC}, "other operations"),
    (Fn(lambda x: x.reshape(x.shape[0] // 2, 2, 3)), (4, 3), ({0: Dim("a")},), r"8 \* Dim"),
    (Fn(lambda x: x + torch.tensor([float(n) for n in range(x.shape[0])])), (4,), ({0: Dim("a")},), "torch.arange"),
    (Fn(lambda x: x * (x.shape[0] ** 3 % 17)), (4,), ({0: Dim("a")},), "no polynomial"),
], ids=["weights", "branch", "branch-hint", "multiples", "constants", "arithmetic"])  # fmt: skip
def test_what_is_no_one_program_is_refused(fn, shape, dims, message):
    with pytest.raises(UserError, match="(?s)" + message):
        export(fn, (torch.randn(*shape),), dynamic_shapes=(dims,))


def test_a_decision_outside_of_the_range_does_not_matter():
    model = Decides()
    program = export(model, (torch.randn(12, 3),), dynamic_shapes=({0: Dim("a", min=10)},))
    same(program, model, torch.randn(40, 3))
    program = export(model, (torch.randn(12, 3),), dynamic_shapes=({0: Dim.AUTO},))  # keeps it, without a range
    assert not program.range_constraints


def test_sizes_that_must_be_equal_are_named():
    class Add(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(UserError, match="(?s)b and a must always be equal.*b = a"):
        export(Add(), (torch.randn(4, 3), torch.randn(4, 3)), dynamic_shapes=({0: Dim("a")}, {0: Dim("b")}))


@pytest.mark.parametrize("shapes,error,message", [
    ({"z": None}, UserError, "arg names"), ((None, None), UserError, "1 elements, but"),
    (({0: "batch"},), UserError, "expected None, an int"), (({7: Dim("a")},), IndexError, "no dimension 7"),
    (((Dim("a"),),), UserError, "same length"), (({0: 7},), UserError, "told to be 7"),
    (({0: Dim("a", max=3)},), UserError, "not in range"), (({0: 3 * Dim("a")},), UserError, "which is no 3"),
    (5, UserError, "dict, tuple, list"),
])  # fmt: skip
def test_wrong_dynamic_shapes(shapes, error, message):
    with pytest.raises(error, match=message):
        export(nn.Linear(3, 2), (torch.randn(4, 3),), dynamic_shapes=shapes)


def test_wrong_dims():
    with pytest.raises(AssertionError, match="inconsistent min=5, max=4"):
        Dim("a", min=5, max=4)
    with pytest.raises(NotImplementedError, match="increasing linear"):
        Dim("a") * -1


def test_values_are_not_read_and_foreign_tensors_not_written():
    with pytest.raises(RuntimeError, match="torch.where or torch.cond"):
        export(Fn(lambda x: x * 2 if x.sum() > 0 else x), (torch.ones(3),), dynamic_shapes=(({0: Dim("a")},),))
    box = torch.zeros(3)
    with pytest.raises(NotImplementedError, match="register_buffer"):
        export(Fn(lambda x: box.add_(x[:3].sum()) + x.sum()), (torch.ones(4),), dynamic_shapes=(({0: Dim("a")},),))
    assert box.tolist() == [0, 0, 0]


def test_arguments_that_are_written_to():
    def forward(x):
        x.mul_(2)
        return x.sum()

    x = torch.ones(3)
    program = export(Fn(forward), (x,), dynamic_shapes=(({0: Dim("n")},),))
    assert x.tolist() == [1, 1, 1]
    y = torch.ones(5)
    assert program.module()(y).item() == 10 and y.tolist() == [2] * 5


def test_random_numbers_are_fresh_at_each_run():
    before = torch.get_rng_state()
    module = export(nn.Dropout(0.5), (torch.ones(64),), dynamic_shapes=({0: Dim("n")},)).module()
    assert torch.equal(torch.get_rng_state(), before)  # exporting draws nothing
    a, b = module(torch.ones(100)), module(torch.ones(100))
    assert not torch.equal(a, b) and set(a.tolist()) == {0.0, 2.0}


def test_functions_inside_have_no_name_in_a_file():
    net = Fn(lambda x: torch.vmap(lambda r: r * 2)(x[:3]) + x.sum())
    program = export(net, (torch.randn(4),), dynamic_shapes=(({0: Dim("n", min=3)},),))
    same(program, net, torch.randn(9))
    with pytest.raises(NotImplementedError, match="recorded Python function.*without dynamic_shapes"):
        again(program)
    cond = Fn(lambda x: torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,)))
    with pytest.raises(UserError, match=r"cond \(.*fixed sizes.*torch.where"):
        export(cond, (torch.randn(4),), dynamic_shapes=(({0: Dim("n")},),))


def test_exporting_is_told():
    seen = []
    export(Fn(lambda x: seen.append(torch.compiler.is_exporting()) or x), (torch.ones(2),),
           dynamic_shapes=(({0: Dim("n")},),))  # fmt: skip
    assert seen and all(seen) and not torch.compiler.is_exporting()
