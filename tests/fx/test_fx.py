"""Graphs of modules: what tracing notes, code that computes the same, and changes of graphs."""

import copy
import math
import operator
import pickle

import pytest

import pytorchlike as torch
from pytorchlike import fx, nn
from pytorchlike.fx.experimental.normalize import NormalizeArgs
from pytorchlike.fx.experimental.optimization import fuse
from pytorchlike.fx.operator_schemas import normalize_function, normalize_module
from pytorchlike.fx.passes.shape_prop import ShapeProp
from pytorchlike.fx.passes.split_module import split_module
from pytorchlike.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.seq = nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        self.w = nn.Parameter(torch.full((8,), 0.5))
        self.register_buffer("b", torch.ones(8))

    def forward(self, x, y=None, *, scale=2.0):
        h = F.relu(self.linear(x)) * self.w.abs() + self.b
        first, second = h.chunk(2, dim=1)
        h = torch.cat([first, second], 1) + h[:, :1]
        h = h.view(h.shape[0], -1) / math.sqrt(8)
        h += 1
        h = self.seq(h)
        return {"sum": h.sum(-1), "rest": 1 - h * scale}


@pytest.fixture(scope="module")
def traced():
    net = Net()
    return net, fx.symbolic_trace(net), torch.randn(3, 4)


def test_the_graph_has_each_call_and_its_code_computes_the_same(traced):
    net, module, x = traced
    ops = [(n.op, n.name) for n in module.graph.nodes]
    assert ops[:4] == [("placeholder", "x"), ("placeholder", "y"), ("placeholder", "scale"), ("call_module", "linear")]
    for wanted in (("get_attr", "w"), ("call_method", "abs_1"), ("get_attr", "b"), ("call_method", "chunk"),
                   ("call_function", "getitem_1"), ("call_module", "seq_0"), ("output", "output")):  # fmt: skip
        assert wanted in ops
    assert "seq_0 = getattr(self.seq, \"0\")" in module.code and "math" not in module.code
    for found in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(found(x)["rest"], net(x)["rest"]) and found.linear.weight.shape == (8, 4)
    assert [n for n, _ in module.named_parameters()] == [n for n, _ in net.named_parameters()]
    module(x)["sum"].sum().backward()
    assert net.w.grad is not None  # parameters are shared with the module that was traced


def test_nodes_can_be_replaced(traced):
    net, _, x = traced
    module = fx.symbolic_trace(net)
    (node,) = module.graph.find_nodes(op="call_function", target=F.relu)
    with module.graph.inserting_after(node):
        new = module.graph.call_function(torch.sigmoid, (node.args[0],))
    node.replace_all_uses_with(new)
    with pytest.raises(RuntimeError, match="still had"):
        module.graph.erase_node(new)
    module.graph.erase_node(node)
    module.graph.lint()
    module.recompile()
    h = torch.sigmoid(net.linear(x)) * net.w.abs() + net.b
    h = net.seq((h + h[:, :1]) / math.sqrt(8) + 1)
    assert torch.allclose(module(x)["sum"], h.sum(-1))


def test_interpreter_transformer_and_shapes(traced):
    _, module, x = traced

    class Doubled(fx.Interpreter):
        def call_module(self, target, args, kwargs):
            return 0 * super().call_module(target, args, kwargs)

    assert Doubled(module).run(x)["sum"].tolist() == [0, 0, 0]

    class Negated(fx.Transformer):
        def call_function(self, target, args, kwargs):
            return super().call_function(torch.neg, args, {}) if target == F.relu else super().call_function(
                target, args, kwargs)  # fmt: skip

    changed = Negated(module).transform()
    assert "neg" in changed.code and "relu" not in changed.code and changed(x)["sum"].shape == (3,)
    ShapeProp(module).propagate(x)
    assert {n.name: n.meta["tensor_meta"].shape for n in module.graph.nodes if n.name == "cat"} == {"cat": (3, 8)}
    with pytest.raises(RuntimeError, match="positional argument"):
        fx.Interpreter(module).run()


def test_patterns_are_replaced_also_one_behind_the_other():
    module = fx.symbolic_trace(lambda x, y: torch.relu(torch.relu(x) + y) + y)
    found = fx.replace_pattern(module, lambda a, b: torch.relu(a) + b, lambda a, b: torch.sigmoid(a) * b)
    x, y = torch.tensor([0.5]), torch.tensor([2.0])
    assert len(found) == 2 and torch.allclose(module(x, y), torch.sigmoid(torch.sigmoid(x) * y) * y)
    leaking = fx.symbolic_trace(lambda x, y: (torch.relu(x) + y, torch.relu(x)))
    assert len(fx.replace_pattern(leaking, lambda a, b: torch.relu(a) + b, lambda a, b: a)) == 1


def test_what_cannot_be_traced_is_said():
    with pytest.raises(ValueError, match="control flow"):
        fx.symbolic_trace(lambda x: x if x.sum() > 0 else -x)
    with pytest.raises(ValueError, match="iterated"):
        fx.symbolic_trace(lambda x: list(x))
    with pytest.raises(RuntimeError, match="'len'"):
        fx.symbolic_trace(lambda x: len(x))
    module = fx.symbolic_trace(lambda x, flag: x if flag else -x, concrete_args={"flag": True})
    assert module(torch.ones(1), True).item() == 1
    with pytest.raises(AssertionError, match="specialized"):
        module(torch.ones(1), False)


def test_a_graph_by_hand_and_dead_code():
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_function(operator.mul, (x, 3))
    graph.output(graph.call_method("add", (x, 1)))
    assert graph.eliminate_dead_code() and len(graph.nodes) == 3
    assert fx.GraphModule(nn.Module(), graph)(torch.ones(1)).item() == 2
    with pytest.raises(RuntimeError, match="does not belong"):
        fx.Graph().output(x).graph.lint()


def test_batch_norm_is_taken_into_the_convolution():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()).eval()
    net[1].running_mean += 1
    fused = fuse(net)
    x = torch.randn(1, 1, 5, 5)
    assert torch.allclose(fused(x), net(x), atol=1e-6) and "1" not in dict(fused.named_children())


def test_proxies_of_a_graph_written_by_hand():
    graph = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)
    x, y = (fx.Proxy(graph.placeholder(n), tracer=tracer) for n in "xy")
    torch._assert(x.shape[-1] == 3, "three columns")
    shape = torch.broadcast_tensors(x[..., :1], y[..., :1])[0].shape[:-1]
    graph.output((x + y).new_zeros(shape + (2,)).add_(1).node)
    gm = fx.GraphModule({}, graph)
    assert gm(torch.ones(4, 3), torch.ones(3)).tolist() == [[1.0, 1.0]] * 4
    with pytest.raises(AssertionError, match="three columns"):
        gm(torch.ones(4, 2), torch.ones(3))
    assert fx.proxy.GraphAppendingTracer is type(fx.Proxy(graph.placeholder("z")).tracer)
    torch._assert(torch.tensor(True), "holds")
    with pytest.raises(AssertionError, match="untrue"):
        torch._assert(False, "untrue")


def test_tensors_of_einsum_are_arguments_of_the_node_each():
    graph = fx.symbolic_trace(lambda x, y: torch.einsum("ij,jk->ik", [x, y])).graph
    x, y, node, _ = graph.nodes
    assert node.args == ("ij,jk->ik", x, y)


def test_where_nodes_are_inserted_is_set_by_the_call():
    traced = fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    first = next(n for n in traced.graph.nodes if n.name == "_0")
    traced.graph.inserting_after(first)
    new = traced.graph.create_node(op="call_function", target=torch.sigmoid, args=(first,), name="new")
    assert [n.name for n in traced.graph.nodes] == ["input_1", "_0", "new", "_1", "output"] and new.prev is first
    traced.graph.lint()


def test_a_forward_given_to_the_class_gives_way_to_a_new_graph():
    traced = fx.symbolic_trace(nn.Sequential(nn.ReLU()))
    kind = type(traced)
    assert "GraphModuleImpl" in str(kind) and kind.__name__ == "Sequential"  # by which libraries know such classes
    plain = traced.forward
    kind.forward = lambda self, x: plain(x) + 1
    assert traced(torch.ones(1)).item() == 2
    traced.recompile()
    assert traced(torch.ones(1)).item() == 1 and pickle.loads(pickle.dumps(traced))(-torch.ones(1)).item() == 0


def test_a_tracer_that_writes_trace_anew():
    """As torch_geometric's, which makes graphs of several kinds of nodes."""
    from pytorchlike.fx import _symbolic_trace as st

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.scale = nn.Linear(2, 2), nn.Parameter(torch.ones(2))

        def forward(self, x, *, k=2):
            return self.inner(x).relu() * self.scale + math.floor(k)

    class Own(torch.fx.Tracer):
        def is_leaf_module(self, module, *args):
            return True

        @st.compatibility(is_backward_compatible=True)
        def trace(self, root, concrete_args=None):
            self.root = root
            self.graph = torch.fx.Graph(tracer_cls=type(self))
            fn, args = self.create_args_for_root(type(root).forward, True, concrete_args)
            assert args[0] is root and isinstance(fn, st.FunctionType)

            def on_call(module, *args, **kwargs):
                return self.call_module(module, lambda *a: st._orig_module_call(module, *a), args, kwargs)

            with st._Patcher() as patcher:
                patcher.patch_method(nn.Module, "__call__", on_call, deduplicate=False)
                st._patch_wrapped_functions(patcher)
                st._autowrap_check(patcher, fn.__globals__, self._autowrap_function_ids)
                self.create_node("output", "output", (self.create_arg(fn(*args)),), {}, type_expr=None)
            return self.graph

    call = nn.Module.__call__
    block = Block()
    made = torch.fx.GraphModule(block, Own().trace(block, {"k": 3}))
    assert nn.Module.__call__ is call
    assert [n.op for n in made.graph.nodes if n.op in ("call_module", "get_attr")] == ["call_module", "get_attr"]
    x = torch.ones(1, 2)
    torch.testing.assert_close(made(x, k=3), block(x, k=3))


def test_functions_taken_before_any_tracing_have_their_names_in_the_code():
    """An inverted graph (PyTorch's example) calls functions that a table has held since the import."""
    plain = {name: getattr(torch, name) for name in ("log", "atan")}
    functions = [getattr(f, "_fn", None) or getattr(f, "__wrapped__", f) for f in (*plain.values(), F.gelu)]
    graph = fx.Graph()
    node = graph.placeholder("x")
    for function in functions:
        node = graph.call_function(function, (node,))
    graph.output(node)
    module = fx.GraphModule(nn.Module(), graph)
    for name in ("torch.log(x)", "torch.atan(log)", "torch.nn.functional.gelu(atan)"):
        assert name in module.code
    assert torch.allclose(module(torch.ones(2) * 2), F.gelu(torch.atan(torch.log(torch.ones(2) * 2))))


def test_rest_arguments_are_proxies_of_their_own():
    """``args[0]`` of a traced ``*args`` was lost: the graph returned all of them."""

    def f(x, *args, scale=2, **kwargs):
        return x * scale + args[0] - kwargs["shift"]

    made = fx.symbolic_trace(f)
    assert made.code.startswith("\n\n\ndef forward(self, x, *args, scale = 2, **kwargs)")
    assert made(torch.ones(1), torch.ones(1), scale=3, shift=5).item() == f(1, 1, scale=3, shift=5)

    def g(*args):
        return args[1] * 2

    assert fx.symbolic_trace(g)(torch.ones(1), torch.ones(1) * 3).item() == 6
    assert fx.symbolic_trace(lambda x, flag: x + 1 if flag else x, concrete_args={"x": fx.PH, "flag": True})
    assert not fx._symbolic_trace.is_fx_tracing()
    assert [n.name for n in fx.symbolic_trace(lambda x: x & 1).graph.nodes][1] == "and_"


def test_containers_in_arguments_cannot_be_changed_behind_the_graphs_back():
    from pytorchlike.fx.immutable_collections import immutable_dict, immutable_list

    made = fx.symbolic_trace(lambda x, y: torch.cat([x, y], dim=0))
    call = next(n for n in made.graph.nodes if n.op == "call_function")
    assert type(call.args[0]) is immutable_list and type(call.kwargs) is immutable_dict
    with pytest.raises(TypeError, match="does not support mutation"):
        call.args[0].append(call.args[0][0])
    with pytest.raises(TypeError, match="does not support mutation"):
        call.kwargs["dim"] = 1
    call.update_kwarg("dim", 1)
    made.recompile()
    assert made(torch.ones(1, 2), torch.ones(1, 2)).shape == (1, 4)
    assert type(fx.Interpreter(made).run(torch.ones(1, 2), torch.ones(1, 2))) is torch.Tensor
    assert pickle.loads(pickle.dumps(immutable_list([1, immutable_dict(a=2)]))) == [1, {"a": 2}]


def test_what_no_node_can_hold():
    """A method that was not called and a proxy as a key are refused, not written into code that cannot run."""
    with pytest.raises(NotImplementedError, match="argument of type"):
        fx.symbolic_trace(lambda x: x.relu.__call__)
    with pytest.raises(RuntimeError, match="cannot contain a Node"):
        fx.symbolic_trace(lambda x: {x: 1})


def test_lines_of_nodes_with_types():
    """As PyTorch writes them."""
    graph = fx.Graph()
    node = graph.placeholder("x", type_expr=int, default_value=3)
    assert node.format_node() == "%x : int [num_users=0] = placeholder[target=x](default=3)"
    assert graph.placeholder("y").format_node() == "%y : [num_users=0] = placeholder[target=y]"


class Branched(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        self.second = nn.Linear(3, 4)
        self.shift = nn.Parameter(torch.ones(4))

    def forward(self, x, y=1):
        h = self.first(x)
        return self.second(h) + self.shift, h * y


def test_a_graph_is_divided_into_modules():
    model = Branched()
    traced = fx.symbolic_trace(model)
    names = {}
    parts = split_module(traced, model, lambda n: 0 if n.name.startswith("first") else 1, names, partition_affix="x")
    assert [n for n, _ in parts.named_children()] == ["submod_x_0", "submod_x_1"]
    assert names == {"submod_x_0.first_0": "first.0", "submod_x_0.first_1": "first.1", "submod_x_1.second": "second"}
    assert parts.submod_x_1.code.startswith("\n\n\ndef forward(self, first_1, shift, y):")
    x = torch.ones(1, 2)
    assert all(torch.equal(a, b) for a, b in zip(parts(x, 3), model(x, 3), strict=True))
    assert parts.submod_x_1.second is model.second and parts.shift is model.shift
    with pytest.raises(RuntimeError, match="cycle exists between partitions"):
        split_module(traced, model, lambda n: n.name in ("first_0", "second"))


def test_calls_are_told_with_all_their_arguments():
    told = normalize_function(torch.nn.functional.dropout, (1,), {"p": 0.3})
    assert told == ((1,), {"p": 0.3, "training": True, "inplace": False})
    assert normalize_function(torch.add, (1, 2)) == ((1, 2), {"alpha": 1})
    assert normalize_function(torch.relu, (), {"other": 1}) is None
    model = Branched()
    code = NormalizeArgs(fx.symbolic_trace(model)).transform().code
    assert "self.second(input = first_1)" in code and "second + shift" in code
    assert normalize_module(model, "second", (1,), {}, True) == ((), {"input": 1})


@fx.wrap
def lowered(x):
    return x.float()


def test_code_is_laid_out_as_pytorchs():
    """Blank lines, marked functions and the order in which names are let go are PyTorch's."""
    made = fx.symbolic_trace(lambda y, x: lowered(torch.relu(y + x) * y))
    assert made.code == f"""
torch.fx._symbolic_trace.wrap("{__name__.replace(".", "_")}_lowered")

def forward(self, y, x):
    add = y + x;  x = None
    relu = torch.relu(add);  add = None
    mul = relu * y;  relu = y = None
    lowered = {__name__.replace(".", "_")}_lowered(mul);  mul = None
    return lowered
    """
    assert fx.symbolic_trace(lambda z, y: z - y).code.endswith("sub = z - y;  z = y = None\n    return sub\n    ")
    assert made.print_readable(print_output=False).endswith("        return lowered\n")
    assert [n.name for n in fx.symbolic_trace(made).graph.nodes][-2] == "lowered"  # still not looked into


def test_functions_of_nn_functional_are_noted_with_all_their_arguments():
    """Passes look for ``node.kwargs["p"]``: what has a default is there by name, however it was given."""

    def f(x, t):
        x = F.max_pool2d(F.dropout(F.leaky_relu(x, 0.1)), 2)
        return F.cross_entropy(F.softmax(F.gelu(x), -1), t), torch.split(x, 2), torch.relu(x), F.linear(x, t)

    nodes = {n.name: (n.args[1:], dict(n.kwargs)) for n in fx.symbolic_trace(f).graph.nodes}
    assert nodes["leaky_relu"] == ((), {"negative_slope": 0.1, "inplace": False})
    assert nodes["dropout"] == ((), {"p": 0.5, "training": True, "inplace": False})
    assert nodes["max_pool2d"][0] == (2,) and nodes["max_pool2d"][1]["return_indices"] is False
    assert list(nodes["softmax"][1].items()) == [("dim", -1), ("_stacklevel", 3), ("dtype", None)]
    assert nodes["cross_entropy"][1]["label_smoothing"] == 0 and nodes["split"] == ((2,), {"dim": 0})
    assert nodes["gelu"] == nodes["relu"] == ((), {}) and nodes["linear"][1] == {}
    x = torch.rand(1, 3, 4, 4)
    made = fx.symbolic_trace(lambda x: F.softmax(F.layer_norm(x, (4,)), 1))
    assert torch.allclose(made(x), F.softmax(F.layer_norm(x, (4,)), 1))


def test_a_replacement_stands_where_it_is_needed_first():
    class M(nn.Module):
        def forward(self, x, a, b):
            first = torch.cat([torch.neg(a), b]).sum()
            second = torch.cat([torch.neg(a), b]).sum()
            return x + torch.max(first) + torch.max(second)

    made = fx.symbolic_trace(M())
    found = fx.replace_pattern(made, lambda a, b: torch.cat([torch.neg(a), b]).sum(), lambda a, b: torch.stack([a, b]))
    assert [n.name for n in made.graph.nodes][3:-1] == ["stack", "max_1", "add", "stack_1", "max_2", "add_1"]
    assert found[0].anchor is found[1].anchor and found[0].anchor in found[0].nodes_map  # the pattern's node


def test_graphs_written_by_hand_take_parameters_of_other_modules():
    graph = fx.Graph()
    end = fx.symbolic_trace(nn.PReLU())(fx.Proxy(graph.placeholder("x")))
    graph.output(end.node)
    assert torch.allclose(fx.GraphModule(nn.Module(), graph)(torch.tensor([-4.0, 4.0])), torch.tensor([-1.0, 4.0]))
    graph.nodes.__iter__().__next__().append(graph.output_node())
    with pytest.raises(RuntimeError, match="topologically ordered\ngraph"):
        graph.lint()


def test_ranges_of_profiles_are_nodes():
    begin, end = torch.ops.profiler._record_function_enter, torch.ops.profiler._record_function_exit

    class Marked(fx.Tracer):
        def trace(self, root, concrete_args=None):
            graph = super().trace(root, concrete_args)
            call = next(n for n in graph.nodes if n.op == "call_function")
            with graph.inserting_before(call):
                handle = graph.call_function(begin, ("inner",))
            with graph.inserting_after(call):
                end(fx.Proxy(handle))
            return graph

    model = nn.Module()
    made = fx.GraphModule(model, Marked().trace(lambda x: torch.relu(x)))
    assert "torch.ops.profiler._record_function_enter('inner')" in made.code and not made.graph.eliminate_dead_code()
    with torch.autograd.profiler.profile() as profile:
        made(torch.ones(2))
    assert "inner" in {event.key for event in profile.key_averages()}
