"""What a TorchDispatchMode sees of a program, and what it can change."""

import copy
import json
from pathlib import Path

import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike import nn
from pytorchlike._dispatch import offers
from pytorchlike.utils import _pytree as pytree
from pytorchlike.utils._python_dispatch import TorchDispatchMode, is_in_torch_dispatch_mode
from pytorchlike.utils.flop_counter import FlopCounterMode, flop_registry, register_flop_formula

aten = torch.ops.aten
REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "dispatch.json").read_text())


@pytest.fixture(scope="module")
def cases(reference_script):
    return reference_script("make_dispatch")


class Log(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", [n for n in REFERENCE if "alone" not in n])
def test_operators_are_pytorchs_and_gradients_stay(cases, name):
    seen, want = cases.operators(torch, TorchDispatchMode, name), REFERENCE[name]
    if name == "elementwise":  # the gradients of a leaf are added up a little earlier or later
        seen, want = sorted(seen), sorted(want)
    assert seen == want
    torch.manual_seed(0)
    leaves, run = cases.CASES[name](torch)
    run().backward()
    want = [x.grad.clone() for x in leaves]
    torch.manual_seed(0)
    leaves, run = cases.CASES[name](torch)
    with Log():
        run().backward()
    for x, g in zip(leaves, want, strict=True):
        torch.testing.assert_close(x.grad, g, rtol=2e-5, atol=1e-6)


def test_a_backward_pass_alone_is_seen(cases):
    assert cases.operators(torch, TorchDispatchMode, "mlp", outside=True) == REFERENCE["mlp, backward alone"]


def test_functions_are_as_before_when_no_mode_is_active():
    add = torch.add
    code = add.__code__ if hasattr(add, "__code__") else add._fn.__code__
    with Log() as log:
        torch.ones(2) + 1
        assert is_in_torch_dispatch_mode()
    n = len(log.seen)
    torch.ones(2) + 1
    assert len(log.seen) == n == 2 and not is_in_torch_dispatch_mode()
    if not offers._stays:
        assert (add.__code__ if hasattr(add, "__code__") else add._fn.__code__) is code


def test_nested_modes_go_on_outwards_and_errors_leave_the_stack_as_it_was():
    order = []

    class Named(TorchDispatchMode):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            order.append(self.name)
            if self.name == "bad":
                raise ValueError("no")
            return func(*args, **(kwargs or {}))

    with Named("outer"), Named("inner"):
        torch.ones(2)
    assert order == ["inner", "outer"]
    with pytest.raises(ValueError, match="no"), Named("outer"), Named("bad"):
        torch.ones(2)
    assert not is_in_torch_dispatch_mode() and (torch.ones(2) + 1).sum().item() == 4


def test_a_replaced_operator_keeps_its_derivative():
    class Replace(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is aten.relu.default:
                return aten.sigmoid.default(*args)
            return func(*args, **(kwargs or {})) * (2 if func is aten.mm.default else 1)

    x = torch.tensor([[-1.0, 2.0]], requires_grad=True)
    with Replace():
        y, z = x.relu(), x @ x.t()
    torch.testing.assert_close(y, torch.sigmoid(x))
    y.sum().backward()
    assert x.grad.tolist() == [[1.0, 1.0]]  # relu's own, of what came out
    x.grad = None
    assert z.item() == 10
    z.sum().backward()
    assert x.grad.tolist() == [[-2.0, 4.0]]  # that of the product, once


def test_second_derivatives_custom_functions_and_operators_without_formula():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    with Log() as log:
        (g,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
        g.sum().backward()
        assert torch.equal(x.grad, 6 * x.detach())
        x.grad = None
        Twice.apply(x).sum().backward()
        assert x.grad.tolist() == [2, 2]
        x.grad = None
        torch.logcumsumexp(x, 0).sum().backward()
    assert "aten.logcumsumexp_backward.default" in log.seen  # as a whole, under a name of ours
    want = torch.autograd.grad(torch.logcumsumexp(x, 0).sum(), x)[0]
    torch.testing.assert_close(x.grad, want)


def test_names_schemas_and_calls():
    f = aten.add.Tensor
    assert (str(f), repr(f), f.name()) == ("aten.add.Tensor", "<OpOverload(op='aten.add', overload='Tensor')>",
                                           "aten::add.Tensor")  # fmt: skip
    assert f.overloadpacket is aten.add and str(aten.add) == "aten.add" and f.__module__ == "torch._ops.aten"
    assert [a.name for a in f._schema.arguments] == ["self", "other", "alpha"]
    assert str(f._schema) == "aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor"
    assert aten.add_.Tensor._schema.is_mutable and aten.view.default.is_view
    assert f(torch.ones(2), torch.ones(2), alpha=3).tolist() == [4, 4]
    assert aten.sum.dim_IntList(torch.ones(2, 3), [0]).tolist() == [2, 2, 2]
    assert "dim_IntList" in aten.sum.overloads() and torch.overrides.resolve_name(f) == "aten.add.Tensor"
    with pytest.raises(AttributeError, match="no overload name 'Nothing'"):
        aten.add.Nothing  # noqa: B018


def test_a_library_that_counts_by_packets_finds_them():
    counted = copy.deepcopy({aten.convolution: 0, aten._convolution: 0, aten.addmm: 0})

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func._overloadpacket in counted:
                counted[func._overloadpacket] += 1
            return func(*args, **(kwargs or {}))

    with Count():
        nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(8, 3))(torch.ones(1, 1, 3, 3))
    assert list(counted.values()) == [1, 0, 1]
    settings = ([2, 2], [0, 0], [1, 1], True, [1, 1], 1, False, False, True, True)
    assert aten._convolution(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2), None, *settings).sum() == 36


def test_what_is_kept_for_gradients_is_not_offered():
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.MaxPool2d(2)).eval()
    x, seen = torch.ones(1, 1, 5, 5), []

    class See(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func._opname)
            return func(*args, **(kwargs or {}))

    with See():
        net(x)
    assert seen == ["convolution", "native_batch_norm", "max_pool2d_with_indices"]


def test_operators_of_a_programs_own_are_offered():
    @torch.library.custom_op("dispatch_test::double", mutates_args=())
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    with Log() as log:
        assert double(torch.ones(2)).tolist() == [2, 2]
    assert log.seen == ["aten.ones.default", "dispatch_test.double.default"]


def test_memory_of_results_can_be_counted():
    class Bytes(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for t in pytree.tree_leaves(out):
                if isinstance(t, torch.Tensor):
                    self.total += t.nelement() * t.element_size()
            return out

    with Bytes() as count:
        torch.rand(100) * 10 + 3
    assert count.total == 1200


def test_flops_of_forward_and_backward_by_module():
    """The figures are PyTorch's for the same network."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.c, self.t = nn.Conv2d(3, 4, 3, padding=1), nn.ConvTranspose2d(4, 6, 2, stride=2)
            self.l = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))

        def forward(self, x):
            return self.l(self.t(self.c(x).relu()).mean((2, 3)))

    net = Net()
    with FlopCounterMode(display=False) as count:
        net(torch.ones(2, 3, 8, 8)).sum().backward()
    found = {k: {str(op): n for op, n in v.items()} for k, v in count.get_flop_counts().items()}
    assert count.get_total_flops() == 129504
    assert found["Global"] == {"aten.convolution": 52224, "aten.addmm": 160, "aten.mm": 320,
                               "aten.convolution_backward": 76800}  # fmt: skip
    assert found["Net.c"] == {"aten.convolution": 27648, "aten.convolution_backward": 27648}
    assert found["Net.l.0"] == {"aten.addmm": 120, "aten.mm": 240}
    with FlopCounterMode(display=False, custom_mapping={aten.relu: lambda shape, out_shape=None: 7}) as count:
        net(torch.ones(2, 3, 8, 8))
    assert count.get_flop_counts()["Global"][aten.relu] == 14
    with FlopCounterMode(display=False) as count:
        m = nn.MultiheadAttention(8, 2, batch_first=True)
        y = torch.ones(2, 5, 8)
        m(y, y, y)[0].sum().backward()
        torch.einsum("bij,bjk->bik", y, y.transpose(1, 2))
    assert count.get_total_flops() == 16320 + 2 * 2 * 5 * 5 * 8
    with pytest.raises(RuntimeError, match="duplicate"):
        register_flop_formula(aten.mm)(lambda *a, **k: 0)
    with pytest.raises(ValueError, match="OpOverloadPacket"):
        register_flop_formula(torch.mm)(lambda *a, **k: 0)
    assert aten.bmm in flop_registry


def test_dropout_and_attention_are_computed_as_pytorch_takes_them_apart():
    x = torch.ones(1000, requires_grad=True)
    torch.manual_seed(0)
    with Log() as log:
        y = F.dropout(x, 0.25)
        y.sum().backward()
    assert log.seen[:4] == ["aten.empty_like.default", "aten.bernoulli_.float", "aten.div_.Scalar", "aten.mul.Tensor"]
    assert set(y.tolist()) == {0.0, (torch.ones(()) / 0.75).item()} and torch.equal(x.grad, y.detach())
    q = torch.arange(24.0).reshape(2, 3, 4).sin()
    with Log() as log:
        out = F.scaled_dot_product_attention(q, q, q, is_causal=True)
    assert "aten.bmm.default" in log.seen
    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, q, q, is_causal=True))


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_a_list_of_slices_is_taken_to_pieces_as_a_tuple():
    x = torch.arange(6.0).reshape(2, 3)
    with Log() as log:
        y = x[[slice(None), slice(1, 2)]]
        x[[slice(0, 1), slice(None)]] = 7.0
    assert y.tolist() == [[7], [4]] and log.seen[0] == "aten.slice.Tensor" and x[0].tolist() == [7, 7, 7]


def test_one_slice_is_shown_also_where_it_takes_all():
    x = torch.arange(6.0).reshape(2, 3)
    with Log() as log:
        x[:5]
        x[:, :3]
    assert log.seen == ["aten.slice.Tensor", "aten.alias.default"]
