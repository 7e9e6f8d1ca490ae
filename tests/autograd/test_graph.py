"""The backward graph: names, identity, hooks on nodes, what is kept for it; anomalies; forward mode."""

import copy
import warnings

import numpy as np
import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike import nn
from pytorchlike.autograd import Function, forward_ad, graph


def leaf(*values):
    return torch.tensor(values or (1.0, 2.0, 3.0), requires_grad=True)


def drawn(fn):
    """The graph as text, by class names, as drawing programs see it."""
    if fn is None:
        return "None"
    return type(fn).__name__ + "(" + ",".join(drawn(n) for n, _ in fn.next_functions) + ")"


def test_names_are_pytorchs():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    text = drawn(net(torch.ones(5, 3)).sum().grad_fn)
    a = "AccumulateGrad()"
    inner = f"ReluBackward0(AddmmBackward0({a},None,TBackward0({a})))"
    assert text == f"SumBackward0(AddmmBackward0({a},{inner},TBackward0({a})))"
    x = leaf()
    for y, name in ((x + 1, "Add"), (x * 2, "Mul"), (x.exp(), "Exp"), (x[1:], "Slice"), (x[0], "Select"),
                    (x.view(3, 1), "View"), (torch.cat([x, x]), "Cat"), (x.softmax(0), "Softmax")):  # fmt: skip
        assert y.grad_fn.name() == name + "Backward0"


def test_numbers_have_a_place_in_the_graph():
    x = leaf()
    a = "AccumulateGrad()"
    for y, text in ((2 * x, f"MulBackward0({a},None)"), (x + 1, f"AddBackward0({a},None)"),
                    (1 - x, f"RsubBackward1({a})"),
                    (x / 2, f"DivBackward0({a},None)"), (2 / x, f"MulBackward0(ReciprocalBackward0({a}),None)"),
                    (torch.sub(x, 1), f"SubBackward0({a},None)"), (2**x, f"PowBackward2({a})")):  # fmt: skip
        assert drawn(y.grad_fn) == text


@pytest.mark.parametrize(("call", "text"), [
    (lambda x, y: F.l1_loss(x, y), "Mean(Abs(Sub(*,-)))"),
    (lambda x, y: F.kl_div(x, y, reduction="batchmean"), "Div(Sum(Sub(-,Mul(-,*))),-)"),
    (lambda x, y: F.hinge_embedding_loss(x, y, reduction="sum"), "Sum(Add(Where(ClampMin(Sub(-,*)),-),Where(*,-)))"),
    (lambda x, y: F.margin_ranking_loss(x, y, y, reduction="none"), "ClampMin(Add1(Mul(-,Sub(*,-))))"),
    (lambda x, y: F.cross_entropy(x, y.argmax(1)), "NllLoss(LogSoftmax(*))"),
    (lambda x, y: F.cross_entropy(x, y.softmax(1)), "Div1(Neg(Sum(Mul(LogSoftmax(*),-))))"),
    (lambda x, y: F.cross_entropy(x[None, None].permute(0, 2, 1, 3), y.argmax(1)[:1, None].expand(1, 1, 3).long() * 0),
     "NllLoss2D(LogSoftmax(Permute(Unsqueeze(Unsqueeze(*)))))"),
    (lambda x, y: F.layer_norm(x, (3,)), "NativeLayerNorm(*,-,-)"),
    (lambda x, y: F.rms_norm(x, (3,)), "Mul(*,Rsqrt(Add1(Mean1(Pow(*)))))"),
    (lambda x, y: F.max_pool1d(x, 2), "Squeeze1(MaxPool2DWithIndices(Unsqueeze(*)))"),
    (lambda x, y: F.conv1d(x, y[None, :, :2]), "Squeeze1(Convolution(Unsqueeze(*),-,-))"),
    (lambda x, y: F.adaptive_avg_pool2d(x[None], 1), "Mean1(Unsqueeze(*))"),
    (lambda x, y: F.pad(x, (1, 1), mode="reflect"), "ReflectionPad1D(*)"),
    (lambda x, y: F.interpolate(x[None], scale_factor=2), "UpsampleNearest1D(Unsqueeze(*))"),
    (lambda x, y: F.instance_norm(x[None]), "View(NativeBatchNorm(View(Unsqueeze(*)),-,-))"),
    (lambda x, y: F.normalize(x), "Div(*,Expand(ClampMin(LinalgVectorNorm(*))))"),
    (lambda x, y: F.dropout(x), "Mul(*,-)"),
    (lambda x, y: torch.linalg.inv(x[:3]), "LinalgInvEx(Slice(*))"),
])  # fmt: skip
def test_what_is_one_operation_here_is_shown_as_pytorchs_steps(call, text):
    def short(fn):
        if fn is None:
            return "-"
        name = fn.name()
        if name.endswith("AccumulateGrad"):
            return "*"
        name = name.replace("Backward0", "").replace("Backward", "")
        after = ",".join(short(n) for n, _ in fn.next_functions)
        return f"{name}({after})"

    x = (torch.arange(12.0).reshape(4, 3) ** 1.5).requires_grad_()
    assert short(call(x, torch.ones(4, 3)).grad_fn) == text


def test_nodes_are_one_object():
    """Programs that draw graphs tell nodes apart by ``id``, also after a value was read."""
    x = leaf()
    y = (x * 2).exp()
    node, before = y.grad_fn, y.grad_fn.next_functions[0][0]
    y.tolist()
    assert y.grad_fn is node and node.next_functions[0][0] is before
    assert before.next_functions[0][0].variable is x


@pytest.mark.parametrize("read", [False, True])
def test_node_hooks(read):
    x, seen = leaf(), []
    y = x * 2
    z = y.exp()
    if read:
        z.tolist()
    z.grad_fn.register_hook(lambda gi, go: seen.append((gi[0].tolist(), go[0].tolist())))
    y.grad_fn.register_prehook(lambda go: (go[0] * 10,))
    z.sum().backward()
    assert np.allclose(seen[0][0], np.exp([2, 4, 6])) and seen[0][1] == [1, 1, 1]
    assert np.allclose(x.grad.numpy(), 20 * np.exp([2, 4, 6]))
    x = leaf()
    y = x * 2
    handle = y.grad_fn.register_hook(lambda gi, go: tuple(None if g is None else g * 5 for g in gi))
    y.sum().backward(retain_graph=True)
    handle.remove()
    y.sum().backward()
    assert x.grad.tolist() == [12, 12, 12]


def test_accumulating_nodes():
    x, seen = leaf(), []
    node = (x * 2).grad_fn.next_functions[0][0]
    node.register_prehook(lambda go: (go[0] * 3,))
    node.register_hook(lambda gi, go: seen.append((gi, go[0].tolist(), x.grad is not None)))
    (x * 2).sum().backward()
    assert seen == [((), [6, 6, 6], True)] and x.grad.tolist() == [6, 6, 6]


def test_multi_grad_hooks():
    a, b, c, every, first = leaf(), leaf(), leaf(), [], []
    h = a * b
    graph.register_multi_grad_hook((a, h, c), lambda gs: every.append([g is not None for g in gs]))
    graph.register_multi_grad_hook((a, h, c), lambda g: first.append(g.tolist()), mode="any")
    (h * 2).sum().backward()
    (a * c).sum().backward()
    assert every == [[True, True, False], [True, False, True]]
    assert first == [[2, 2, 2], [1, 2, 3]]
    with pytest.raises(ValueError, match="mode"):
        graph.register_multi_grad_hook((a,), print, mode="some")


def test_gradient_edges():
    x = leaf()
    y = x * 2
    z = (y**2).sum()
    edge = graph.get_gradient_edge(y)
    del y
    gy, gx = torch.autograd.grad(z, [edge, graph.get_gradient_edge(x)])
    assert gy.tolist() == [4, 8, 12] and gx.tolist() == [8, 16, 24]
    with pytest.raises(RuntimeError, match="gradient edge"):
        graph.get_gradient_edge(torch.ones(2))


@pytest.mark.parametrize("read", [False, True])
def test_saved_tensors_hooks(read):
    """What is kept goes through the hooks, also by way of NumPy, and what comes back is used."""
    x, log = leaf(), []

    def pack(t):
        assert not t.requires_grad
        log.append("pack")
        return t.numpy().copy()

    def unpack(a):
        log.append("unpack")
        return torch.from_numpy(a)

    with graph.saved_tensors_hooks(pack, unpack):
        y = x.exp() * x
        if read:
            y.tolist()
    assert "pack" in log and "unpack" not in log
    y.sum().backward()
    assert "unpack" in log and np.allclose(x.grad.numpy(), np.exp([1, 2, 3]) * np.array([2, 3, 4]))
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()
    with graph.saved_tensors_hooks(lambda t: t * 2, lambda t: t):
        y = (x.detach() * x).sum()
    x.grad = None
    y.backward()
    assert x.grad.tolist() == [2, 4, 6]


def test_saved_tensors_hooks_and_higher_orders():
    x = leaf()
    with graph.save_on_cpu():
        y = (x**3).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x)
    assert g.tolist() == [3, 12, 27] and h.tolist() == [6, 12, 18]


def test_refused_hooks():
    x = leaf()
    with graph.disable_saved_tensors_hooks("not here"), pytest.raises(RuntimeError, match="not here"):
        with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            pass
    with pytest.raises(RuntimeError, match="modifying its input in place"):
        with graph.saved_tensors_hooks(lambda t: t.add_(1), lambda t: t):
            x * x
    with graph.saved_tensors_hooks(lambda t: t, lambda t: 5):
        y = (x * x).sum()
    with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor"):
        y.backward()


def test_anomaly_names_the_line():
    x = torch.tensor([0.0, -1.0], requires_grad=True)
    with pytest.warns(UserWarning, match="Anomaly Detection"), torch.autograd.detect_anomaly():
        (x * 2).sum().backward()  # nothing wrong
        y = x.sqrt()
        z = (y * 2).sum()
        with pytest.warns(UserWarning, match=r"y = x.sqrt\(\)"):
            with pytest.raises(RuntimeError, match="Function 'SqrtBackward0' returned nan values in its 0th output"):
                z.backward()
    assert not torch.is_anomaly_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x.grad = None
        (x.sqrt() * 2).sum().backward()
    assert x.grad.isnan().any()


def test_forward_mode():
    """Tangents follow in-place operations, views, no_grad, reads and custom functions."""

    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_forward(x)
            return x * x

        @staticmethod
        def jvp(ctx, t):
            return 2 * ctx.saved_tensors[0] * t

    with forward_ad.dual_level():
        x = forward_ad.make_dual(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 0.0, 2.0]))
        y = x.clone()
        y[0] = x[2]
        with torch.no_grad():
            y = y * x
        assert forward_ad.unpack_dual(y).tangent.tolist() == [5, 0, 12]
        assert forward_ad.unpack_dual(x.view(3, 1)[1:]).tangent.tolist() == [[0], [2]]
        y.tolist()
        assert forward_ad.unpack_dual((y + 1).clone()).tangent.tolist() == [5, 0, 12]
        assert forward_ad.unpack_dual(Square.apply(x)).tangent.tolist() == [2, 0, 12]
        assert forward_ad.unpack_dual(x.detach()).tangent is None and not x.requires_grad
        with pytest.raises(RuntimeError, match="Nested"):
            forward_ad.enter_dual_level()
    assert forward_ad.unpack_dual(x).tangent is None
    with pytest.raises(RuntimeError, match="no level exists"):
        forward_ad.make_dual(torch.ones(2), torch.ones(2))


@pytest.mark.parametrize("read", [False, True])
def test_forward_over_reverse(read):
    with forward_ad.dual_level():
        x = forward_ad.make_dual(leaf(), torch.tensor([1.0, 0.0, 1.0]))
        y = (x**3).sum()
        if read:
            y.item()
        (g,) = torch.autograd.grad(y, x, create_graph=True)
        assert g.tolist() == [3, 12, 27] and forward_ad.unpack_dual(g).tangent.tolist() == [6, 0, 18]


def test_batched_gradients():
    x = leaf()
    (g,) = torch.autograd.grad(x**2, x, torch.eye(3), is_grads_batched=True)
    assert g.tolist() == [[2, 0, 0], [0, 4, 0], [0, 0, 6]]
    with pytest.raises(RuntimeError, match="batch dimension"):
        torch.autograd.grad(x**2, x, torch.ones(3), is_grads_batched=True)


def test_what_a_function_saved_may_not_be_written_to():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0]

    x = leaf()
    h = x * 1
    y = Square.apply(h)
    h.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    with graph.allow_mutation_on_saved_tensors():
        h = x * 1
        y = Square.apply(h)
        h.add_(1)
        y.sum().backward()
    assert x.grad.tolist() == [2, 4, 6]


def test_inference_tensors():
    """Made in inference_mode, a tensor is kept out of training; what existed before stays what it was."""
    before, weight = torch.zeros(3), leaf()
    with torch.inference_mode():
        made, listed = torch.ones(3) * 2, torch.tensor([1.0, 2.0, 3.0])
        before[:2] = made[:2]
        before.mul_(2)
        assert made.add_(1).is_inference() and not before.is_inference() and not before[:1].is_inference()
    for t in (made, listed, made.detach(), made[1:]):
        assert t.is_inference() and torch.is_inference(t)
        with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
            t.add_(1)
        with pytest.raises(RuntimeError, match="Setting requires_grad=True on inference tensor"):
            t.requires_grad_()
    for t in (made, listed):
        with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
            weight * t
        assert not t.clone().is_inference() and not (t + 1).is_inference() and not (weight + t).is_inference()
    (weight * before).sum().backward()
    assert weight.grad.tolist() == [4, 4, 0]


@pytest.mark.parametrize("read", [False, True], ids=["pending", "executed"])
def test_nodes_tell_what_their_gradients_rest_on(read):
    a, b = torch.linspace(-1, 1, 5).requires_grad_(), torch.linspace(1, 2, 5).requires_grad_()
    y = a * b
    z = y.exp()
    p = y**3.0
    if read:
        (z + p).sum().item()
    assert y.grad_fn._saved_self is a and y.grad_fn._saved_other is b
    assert z.grad_fn._saved_result.equal(z)
    assert p.grad_fn._saved_exponent == 3.0
    assert p.grad_fn._saved_self.equal(y) and p.grad_fn._saved_self.grad_fn is y.grad_fn
    assert torch.softmax(a, 0).grad_fn._saved_dim == 0
    with pytest.raises(AttributeError, match="_saved_self"):
        (a + b).grad_fn._saved_self  # noqa: B018
    with pytest.raises(AttributeError, match="_saved_nothing"):
        y.grad_fn._saved_nothing  # noqa: B018
    y.sum().backward()
    with pytest.raises(RuntimeError, match="already been freed"):
        y.grad_fn._saved_self  # noqa: B018


def test_multi_grad_hooks_where_a_pass_has_targets():
    """They wait for what the pass comes to on its way to the targets, and for no other gradient."""
    a, b = leaf(), leaf()
    c = a * b
    d, e = c * a, b * 2
    seen = []
    graph.register_multi_grad_hook((a, b, c, d, e), lambda grads: seen.append([g is not None for g in grads]))
    for target in (b, a, c):
        (d.sum() + e.sum()).backward(inputs=(target,), retain_graph=True)
    assert seen == [[False, True, True, True, True], [True, False, True, True, False],
                    [False, False, True, True, False]]  # fmt: skip


def test_a_result_that_a_function_keeps_is_the_one_that_it_gives():
    class Exp(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.y, ctx.x = x.exp(), x
            return ctx.y

        @staticmethod
        def backward(ctx, g):
            assert ctx.y.requires_grad and ctx.x is x
            return g * ctx.y

        @staticmethod
        def jvp(ctx, t):
            return t * ctx.y

    x = leaf()
    y = Exp.apply(x)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x)
    assert torch.allclose(h, x.exp())
    with forward_ad.dual_level():
        t = forward_ad.unpack_dual(Exp.apply(forward_ad.make_dual(x, torch.ones(3)))).tangent
        assert t.requires_grad and torch.allclose(t, x.exp())


def test_a_tangent_is_the_tensor_that_was_given():
    x, t = torch.randn(3, 3), torch.randn(3, 3)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, t)
        assert forward_ad.unpack_dual(dual).tangent is t
        assert forward_ad.unpack_dual(forward_ad.make_dual(x, t.T)).tangent is not t
        assert torch.equal(forward_ad.unpack_dual(dual.clone()).tangent, t)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("read", [False, True])
def test_a_hook_on_one_of_several_results_loses_no_gradient(first, read):
    """Gradients of an operation's other results must go on with the one that was looked at."""
    x = torch.tensor([[1.0, 2.0], [4.0, 8.0]], requires_grad=True)
    ways = (lambda x: torch.var_mean(x, dim=0), lambda x: torch.aminmax(x, dim=0), lambda x: (x * 1).split(1))
    for way in ways:
        whole = torch.autograd.grad((way(x)[0] ** 2).sum() + way(x)[1].exp().sum(), x)[0]
        a, b = way(x)
        assert (a.output_nr, b.output_nr) == (0, 1)
        kept = a if first else b
        kept.retain_grad()
        loss = (a**2).sum() + b.exp().sum()
        if read:
            loss.item()
        x.grad = None
        loss.backward()
        assert torch.allclose(x.grad, whole) and kept.grad is not None


def test_the_order_of_hooks_on_leaves():
    """Hooks of the tensor come before those of the step that accumulates; ``grad`` does not take that step."""
    a, log = torch.tensor(1.0, requires_grad=True), []

    def of_tensor(g):
        log.append("tensor")
        return g * 3

    def of_step(gs):
        log.append("step")
        return (gs[0] * 2,)

    b = a.clone()
    b.grad_fn.next_functions[0][0].register_prehook(of_step)
    a.register_hook(of_tensor)
    assert torch.autograd.grad(b, a, retain_graph=True)[0].item() == 3 and log == ["tensor"]
    b.backward()
    assert a.grad.item() == 6 and log == ["tensor", "tensor", "step"]


def test_prehooks_belong_to_the_step():
    """The gradient that is asked for is what comes to a step: hooks on the step itself are for those that go on."""
    x = leaf()
    y = x * 2
    y.grad_fn.register_prehook(lambda gs: (gs[0] * 10,))
    z = (y * 3).sum()
    assert torch.autograd.grad(z, y, retain_graph=True)[0].tolist() == [3, 3, 3]
    gx, gy = torch.autograd.grad(z, (x, y), retain_graph=True)
    assert gx.tolist() == [60, 60, 60] and gy.tolist() == [3, 3, 3]


def test_node_hooks_see_a_place_for_each_argument_and_result():
    class Both(Function):
        @staticmethod
        def forward(ctx, x, k):
            return x * k, k, x + k

        @staticmethod
        def backward(ctx, g, _, h):
            return g + h, None

    x, seen = leaf(), []
    (y := x * 2).grad_fn.register_hook(lambda gi, go: seen.append([g is None for g in gi]))
    a, _, b = Both.apply(y, 3)
    a.grad_fn.register_prehook(lambda gs: (gs[0] * 2, gs[1], gs[2]))
    (a + b).sum().backward()
    assert seen == [[False, True]] and x.grad.tolist() == [6, 6, 6]


def test_a_hook_that_another_removes_still_runs_in_that_pass():
    x, ran = leaf(), []
    y = x * 2
    y.grad_fn.register_prehook(lambda gs: other.remove())
    other = y.grad_fn.register_prehook(lambda gs: ran.append(1))
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert ran == [1]


def test_accumulating_nodes_are_told_by_their_type():
    x = leaf()
    assert isinstance((x * 2).grad_fn.next_functions[0][0], torch._C._functions.AccumulateGrad)


def test_unused_inputs():
    """Zeros in the place of missing gradients require gradients where the others do; edges have no sizes for them."""
    x, y = leaf(), leaf()
    z = (x**2).sum()
    got = torch.autograd.grad(z, (x, y), materialize_grads=True, create_graph=True)
    assert got[0].requires_grad and got[1].requires_grad and got[1].tolist() == [0, 0, 0]
    with pytest.raises(RuntimeError, match="materialize_grads cannot be used when the given input is a GradientEdge"):
        torch.autograd.grad(z, (x, graph.get_gradient_edge(y)), materialize_grads=True)


def test_nodes_of_parts_tell_where_they_were_cut():
    """Libraries that prune follow channels through the graph by these."""
    x = torch.ones(2, 6, 4, requires_grad=True) * 2
    first, second = x.split((2, 4), 1)
    assert first.grad_fn is second.grad_fn and (first.output_nr, second.output_nr, x.output_nr) == (0, 1, 0)
    assert first.grad_fn.name() == "SplitWithSizesBackward0"
    assert first.grad_fn._saved_split_sizes == (2, 4) and first.grad_fn._saved_self_sym_sizes == (2, 6, 4)
    chunk = x.chunk(2, 1)[0].grad_fn
    assert chunk.name() == "SplitBackward0" and (chunk._saved_split_size, chunk._saved_dim) == (3, 1)
    part, one = x[:, 1:5:2].grad_fn, x[:, 3].grad_fn
    assert [getattr(part, f"_saved_{name}") for name in ("dim", "start", "end", "step")] == [1, 1, 5, 2]
    assert (one._saved_dim, one._saved_index) == (1, 3)
    with pytest.raises(AttributeError, match="_saved_start"):
        x[0, 1:].grad_fn._saved_start  # noqa: B018
    assert x.flatten(1).grad_fn._saved_self_sym_sizes == (2, 6, 4) and x.sum(1).grad_fn._saved_dim == (1,)
    assert torch.cat([x, x], -1).grad_fn._saved_dim == 2**64 - 1  # as PyTorch has it
    assert F.pad(x, (1, 1)).grad_fn.name() == "ConstantPadNdBackward0"


def test_running_statistics_have_no_place_in_the_graph():
    x = torch.ones(2, 3, requires_grad=True) * 2
    for layer in (torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3, affine=False)):
        steps = layer(x).grad_fn.next_functions
        assert steps[0] == (x.grad_fn, 0) and len(steps) == 3


def test_products_are_the_steps_that_pytorch_makes_of_them():
    """Libraries that prune find a layer's rows by its name and follow the graph through what lies in between."""
    w, b = torch.ones(4, 3, requires_grad=True), torch.ones(4, requires_grad=True)
    x = torch.ones(2, 5, 3)
    y = x.clone().requires_grad_()
    leaf = "AccumulateGrad()"
    turned = f"TBackward0({leaf})"
    assert drawn(F.linear(x, w, b).grad_fn) == f"ViewBackward0(AddmmBackward0({leaf},None,{turned}))"
    assert drawn(F.linear(y, w).grad_fn) == f"UnsafeViewBackward0(MmBackward0(ViewBackward0({leaf}),{turned}))"
    assert drawn(F.linear(x[0], w, b).grad_fn) == f"AddmmBackward0({leaf},None,{turned})"
    assert drawn(F.linear(x[0, 0], w).grad_fn) == f"SqueezeBackward4(MmBackward0(None,{turned}))"
    assert drawn(F.linear(x, w.detach(), b).grad_fn) == f"ViewBackward0(AddmmBackward0({leaf},None,None))"
    assert drawn((y @ w.mT).grad_fn).startswith(f"UnsafeViewBackward0(MmBackward0(ViewBackward0({leaf}),Transpose")
    both = drawn((y[None] @ y.mT).grad_fn)
    assert both.startswith("UnsafeViewBackward0(BmmBackward0(ViewBackward0(ExpandBackward0(UnsqueezeBackward0(")
    assert drawn(y[0, :, 1:].grad_fn) == f"SliceBackward0(SelectBackward0({leaf}))"
    for whole in (y[:], y[:5], y[-7:], y.narrow(0, 0, 2), y.narrow(1, 0, 5)):
        assert drawn(whole.grad_fn) == f"SliceBackward0({leaf})"  # one slice is a step also where it takes all
    assert drawn(y[...].grad_fn) == drawn(y[:, :].grad_fn) == f"AliasBackward0({leaf})"
    assert drawn(torch.where(x > 0, 0.0, y).grad_fn) == f"WhereBackward0(None,{leaf})"


def test_a_step_in_between_is_one_object_while_it_is_in_use():
    y = F.linear(torch.ones(2, 5, 3), torch.ones(4, 3, requires_grad=True), torch.ones(4))
    between = y.grad_fn.next_functions[0][0]
    assert y.grad_fn.next_functions[0][0] is between and y.grad_fn in {y.grad_fn: 1}
    y.sum().backward(retain_graph=True)
    assert y.grad_fn.next_functions[0][0] is between


def test_the_graph_leads_back_to_the_very_parameter():
    for p in (torch.nn.Parameter(torch.ones(2)), copy.deepcopy(torch.nn.Parameter(torch.ones(2)))):
        step = (p * 2).grad_fn.next_functions[0][0]
        assert step.variable is p and step.next_functions == ()


def test_parts_that_are_unbound_together_come_from_one_step():
    x = torch.arange(24.0).view(3, 2, 4).requires_grad_() * 1
    q, k, v = x.unbind(0)
    assert q.grad_fn is k.grad_fn and q.grad_fn.name() == "UnbindBackward0"
    assert (k.output_nr, k.storage_offset(), k._is_view()) == (1, 8, True)
    (gx,) = torch.autograd.grad((q * v).sum(), x)
    assert gx.tolist() == torch.stack([v, torch.zeros_like(v), q]).tolist()
    assert x.unbind(-1)[0].grad_fn._saved_dim == 2**64 - 1 and x.chunk(2, -1)[0].grad_fn._saved_dim == 2**64 - 1
    with torch.no_grad():
        k.zero_()
    assert x[1].abs().sum() == 0
