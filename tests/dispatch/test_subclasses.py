"""Tensor classes with a ``__torch_dispatch__``: forward, backward, modules, copies, files."""

import copy
import gc
import io
import weakref

import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike import nn
from pytorchlike.utils import _pytree as pytree
from pytorchlike.utils._python_dispatch import (
    TorchDispatchMode,
    is_traceable_wrapper_subclass,
    return_and_correct_aliasing,
    transform_subclass,
)

aten = torch.ops.aten


class Two(torch.Tensor):
    """Holds two tensors; everything is done to both."""

    @staticmethod
    def __new__(cls, a, b, requires_grad=False):
        return torch.Tensor._make_wrapper_subclass(cls, a.shape, strides=a.stride(), dtype=a.dtype, device=a.device,
                                                   requires_grad=requires_grad)  # fmt: skip

    def __init__(self, a, b, requires_grad=False):
        self.a, self.b = a, b

    def __repr__(self):
        return f"Two({self.a.tolist()}, {self.b.tolist()})"

    def __tensor_flatten__(self):
        return ["a", "b"], None

    @staticmethod
    def __tensor_unflatten__(inner, context, size, stride):
        return Two(inner["a"], inner["b"])

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        def of(name):
            def pick(x):
                return getattr(x, name)

            return func(*pytree.tree_map_only(Two, pick, args), **pytree.tree_map_only(Two, pick, kwargs or {}))

        a, spec = pytree.tree_flatten(of("a"))
        b = pytree.tree_leaves(of("b"))
        out = [cls(x, y) if isinstance(x, torch.Tensor) else x for x, y in zip(a, b, strict=True)]
        return return_and_correct_aliasing(func, args, kwargs, pytree.tree_unflatten(out, spec))


class Scaled(torch.Tensor):
    """``scale * data`` by rows, in eight bits, that is unpacked where it is used."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, data, scale):
        return torch.Tensor._make_wrapper_subclass(cls, data.shape, dtype=scale.dtype)

    def __init__(self, data, scale):
        self.packed, self.scale = data, scale

    @classmethod
    def of(cls, w):
        scale = w.abs().amax(1, keepdim=True) / 127
        return cls((w / scale).round().to(torch.int8), scale)

    def unpacked(self):
        return self.packed.to(self.scale.dtype) * self.scale

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func in (aten.detach.default, aten.clone.default):
            return cls(func(args[0].packed), func(args[0].scale))
        if func in (aten.t.default, aten.mm.default, aten.addmm.default):
            return func(*[x.unpacked() if isinstance(x, cls) else x for x in args], **(kwargs or {}))
        return NotImplemented


def _two(requires_grad=False):
    a = torch.arange(6.0).reshape(2, 3)
    return Two(a, a * 10, requires_grad)


def test_forward_and_backward():
    x = _two(True)
    assert x.shape == (2, 3) and x.requires_grad and x.is_leaf and x.stride() == (3, 1) and x.grad is None
    y = (x * 2 + 1).relu().sum(1)
    assert type(y) is Two and y.requires_grad and y.grad_fn.name() == "SumBackward0"
    assert y.a.tolist() == [9.0, 27.0] and y.b.tolist() == [63.0, 243.0]
    y.sum().backward()
    assert type(x.grad) is Two and x.grad.a.tolist() == [[2.0] * 3] * 2
    (x * 3).sum().backward()
    assert x.grad.b.tolist() == [[5.0] * 3] * 2
    (g,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    (g2,) = torch.autograd.grad(g.sum(), x)
    assert torch.equal(g2.a, 6 * x.a) and torch.equal(g2.b, 6 * x.b)
    seen = []
    y = x * 2
    y.register_hook(lambda g: seen.append(type(g)))
    y.sum().backward()
    assert seen == [Two]


def test_plain_tensors_may_get_such_gradients():
    w = torch.ones(3, 2, requires_grad=True)
    (2 * w).t().matmul(_two().t()).sum().backward()  # through an operation that only knows plain tensors
    assert type(w.grad) is Two and w.grad.b.tolist() == [[60.0] * 2, [100.0] * 2, [140.0] * 2]
    layer = nn.Linear(3, 2)
    out = layer(_two())
    out.sum().backward()
    assert type(out) is Two and layer.weight.grad.a.tolist() == [[3.0, 5.0, 7.0]] * 2


def test_shapes_indices_and_in_place_operations():
    x = _two()
    assert x[0].a.tolist() == [0, 1, 2] and x[:, 1:].shape == (2, 2) and x.t().b.shape == (3, 2)
    assert torch.cat([x, x]).shape == (4, 3) and type(x.chunk(2)[0]) is Two and x.view(-1).a.shape == (6,)
    assert x.double().dtype is torch.float64 and x.to(torch.float64).b.dtype is torch.float64
    same = x.add_(1)
    assert same is x and x.a[0, 0] == 1 and x.b[0, 1] == 11
    for f in (lambda t: F.softmax(t, -1), lambda t: F.layer_norm(t, (3,)), torch.zeros_like, torch.exp):
        assert type(f(x)) is Two
    assert type(F.softmax(x, -1, _stacklevel=5)) is Two  # as copies of PyTorch's modules call it
    assert repr(x[0]) == "Two([1.0, 2.0, 3.0], [1.0, 11.0, 21.0])"


def test_modules_copies_and_files():
    p = nn.Parameter(_two())
    module = nn.Module()
    module.w = p
    assert type(p) is Two and isinstance(p, nn.Parameter) and p.requires_grad and list(module.state_dict()) == ["w"]
    again = copy.deepcopy(module).w
    assert type(again) is Two and again is not p and torch.equal(again.a, p.a) and again.requires_grad
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)["w"]
    assert type(loaded) is Two and torch.equal(loaded.b, p.b)
    assert is_traceable_wrapper_subclass(p) and not is_traceable_wrapper_subclass(p.a)
    doubled = transform_subclass(_two(), lambda name, t: t * 2)
    assert doubled.a.tolist() == [[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]]
    seen = weakref.ref(doubled)
    del doubled
    gc.collect()
    assert seen() is None


def test_a_weight_that_is_unpacked_on_use():
    w = torch.arange(32.0).reshape(8, 4).sin()
    q, x = Scaled.of(w), torch.ones(3, 4, requires_grad=True)
    bias = torch.zeros(8, requires_grad=True)
    y = F.linear(x, q, bias)
    assert type(y) is torch.Tensor and torch.allclose(y, F.linear(x, w), atol=0.05)
    y.sum().backward()
    assert torch.allclose(x.grad, w.sum(0).expand(3, 4), atol=0.05) and bias.grad.tolist() == [3.0] * 8
    layer = nn.Linear(4, 8)
    layer.weight = nn.Parameter(Scaled.of(layer.weight.detach()), requires_grad=False)
    assert layer(x).shape == (3, 8) and type(copy.deepcopy(layer).weight) is Scaled
    compiled = torch.compile(layer)
    assert torch.equal(compiled(x), layer(x)) and torch.equal(compiled(x), layer(x))
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)  # of which the bias alone is trained
    before = layer.bias.detach().clone()
    layer(x).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    assert not torch.equal(layer.bias, before) and layer.bias.grad is None
    assert "grad" not in repr(layer.weight) and repr(layer.weight).startswith("Scaled(")

    class Apply(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(w)
            return x @ w.unpacked().t()

        @staticmethod
        def backward(ctx, g):
            return g @ ctx.saved_tensors[0].unpacked(), None

    x.grad = None
    Apply.apply(x, q).sum().backward()
    assert torch.allclose(x.grad, w.sum(0).expand(3, 4), atol=0.05)


def test_what_nobody_answers():
    with pytest.raises(TypeError, match=r"Multiple dispatch failed for 'torch._ops.aten.exp.default'"):
        Scaled.of(torch.ones(2, 2)).exp()

    class Plain(torch.Tensor):
        pass

    with pytest.raises(TypeError, match="__torch_dispatch__"):
        torch.Tensor._make_wrapper_subclass(Plain, (2,))
    with pytest.raises(RuntimeError, match="floating point"):
        torch.Tensor._make_wrapper_subclass(Two, (2,), dtype=torch.int64, requires_grad=True)
    x = _two(True)
    with pytest.raises(NotImplementedError, match="derivative of aten.logcumsumexp.default is not known"):
        torch.logcumsumexp(x, 0).sum().backward()
    (x * 2).sum().backward()
    step = torch.optim.SGD([x], lr=0.1).step
    for use in (step, lambda: nn.utils.clip_grad_norm_([x], 1.0), lambda: x.detach().numpy()):
        with pytest.raises(NotImplementedError, match="no data of its own"):
            use()


def test_modes_come_before_classes_and_classes_with_data_are_asked():
    order = []

    class Note(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            order.append((str(func), types))
            return func(*args, **(kwargs or {}))

    with Note():
        y = _two() + 1
    assert type(y) is Two and order[-2:][0][0] in ("aten.mul.Tensor", "aten.add.Tensor")
    assert ("aten.add.Tensor", (Two,)) in order

    class Logged(torch.Tensor):
        seen = []
        __torch_function__ = torch._C._disabled_torch_function_impl

        @staticmethod
        def __new__(cls, elem):
            return torch.Tensor._make_subclass(cls, elem)

        def __init__(self, elem):
            self.elem = elem

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            cls.seen.append(str(func))
            return cls(func(*[a.elem if isinstance(a, cls) else a for a in args], **(kwargs or {})))

    x = Logged(torch.ones(2))
    assert type(x + x) is Logged and (x + x).elem.tolist() == [2, 2] and Logged.seen[-1] == "aten.add.Tensor"
    assert x.data_ptr() == x.elem.data_ptr()


def test_attributes_in_slots_and_the_default_repr():
    class Slotted(torch.Tensor):
        __slots__ = ["elem"]

        @staticmethod
        def __new__(cls, elem, requires_grad=False):
            t = torch.Tensor._make_wrapper_subclass(cls, elem.shape, dtype=elem.dtype, requires_grad=requires_grad)
            t.elem = elem
            return t

        def __repr__(self):
            return super().__repr__(tensor_contents=f"{self.elem}")

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            un = pytree.tree_map_only(cls, lambda t: t.elem, (args, kwargs or {}))
            return pytree.tree_map_only(torch.Tensor, cls, func(*un[0], **un[1]))

    x = Slotted(torch.tensor([3.0]), requires_grad=True)
    y = x * x
    assert repr(x) == "Slotted(tensor([3.]), requires_grad=True)"
    assert repr(y) == "Slotted(tensor([9.]), grad_fn=<MulBackward0>)"
    (g,) = torch.autograd.grad(y.sum(dim=0), x)
    assert g.elem.tolist() == [6.0]
