"""Custom functions: plain Python on the way back."""

import gc
import weakref

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.autograd import Function
from pytorchlike.autograd.function import once_differentiable


def leaf(*values):
    return torch.tensor(values or (1.0, 2.0, 3.0), requires_grad=True)


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x**2


class KeptExp(Function):
    """Keeps its result, as most do whose gradient is made of it."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0]


class Scale(Function):
    @staticmethod
    def forward(x, k):
        return x * k

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.k = inputs[1]

    @staticmethod
    def backward(ctx, g):
        return g * ctx.k, None


def test_forms():
    x = leaf()
    y = Cube.apply(x)
    assert y.requires_grad and y.grad_fn.name() == "CubeBackward"
    (Scale.apply(y, 2) * 3).sum().backward()
    assert x.grad.tolist() == [18, 72, 162]
    with torch.no_grad():
        assert not Cube.apply(x).requires_grad
    assert Cube.apply(torch.ones(2)).grad_fn is None


def test_double_backward():
    x = leaf()
    (g,) = torch.autograd.grad(Cube.apply(x).sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x, create_graph=True)
    (k,) = torch.autograd.grad(h.sum(), x)
    assert g.tolist() == [3, 12, 27] and h.tolist() == [6, 12, 18] and k.tolist() == [6, 6, 6]

    (g,) = torch.autograd.grad(KeptExp.apply(x).sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x)
    assert torch.allclose(h, x.detach().exp())


def test_backward_twice():
    x = leaf()
    y = Cube.apply(x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [6, 24, 54]
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_what_was_saved_by_its_older_name():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return 2 * ctx.saved_variables[0] * g

    x = torch.tensor([3.0], requires_grad=True)
    with pytest.warns(DeprecationWarning, match="saved_tensors"):
        Square.apply(x).backward()
    assert x.grad.tolist() == [6.0]


@pytest.mark.parametrize("reads", [False, True])
def test_numpy_both_ways(reads):
    class Sin(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.from_numpy(np.sin(x.detach().numpy()))

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return torch.from_numpy(g.numpy() * np.cos(x.detach().numpy()))

    x = leaf()
    h = x * 2
    y = Sin.apply(h) * h
    if reads:
        y.tolist()
    y.sum().backward()
    other = leaf()
    ((other * 2).sin() * (other * 2)).sum().backward()
    assert torch.allclose(x.grad, other.grad)


def test_needs_input_grad_and_several_outputs():
    seen = []

    class Both(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y, x + y

        @staticmethod
        def backward(ctx, a, b):
            seen.append(ctx.needs_input_grad)
            return a + b, a - b

    x, y = leaf(), leaf()
    a, b = Both.apply(x * 2, y * 3)
    torch.autograd.backward([a.sum(), (b * 2).sum()])
    assert x.grad.tolist() == [6, 6, 6] and y.grad.tolist() == [-3, -3, -3]
    Both.apply(x, torch.ones(3))[0].sum().backward()
    assert seen == [(True, True), (True, False)]


def test_materialize():
    seen = []

    class Two(Function):
        materialize = True

        @staticmethod
        def forward(ctx, x, materialize):
            ctx.set_materialize_grads(materialize)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            seen.append(b if b is None else b.tolist())
            return a * 2, None

    for materialize in (True, False):
        x = leaf()
        Two.apply(x, materialize)[0].sum().backward()
        assert x.grad.tolist() == [2, 2, 2]
    assert seen == [[0, 0, 0], None]


def test_non_differentiable():
    class Sort(Function):
        @staticmethod
        def forward(ctx, x):
            values, places = x.sort()
            ctx.mark_non_differentiable(places)
            ctx.save_for_backward(places)
            return values, places

        @staticmethod
        def backward(ctx, g, _):
            out = torch.zeros(3)
            out[ctx.saved_tensors[0]] = g
            return out

    x = leaf(3.0, 1.0, 2.0)
    values, places = Sort.apply(x)
    assert values.requires_grad and not places.requires_grad
    (values * torch.arange(3.0)).sum().backward()
    assert x.grad.tolist() == [2, 0, 1]


class AddOne(Function):
    @staticmethod
    def forward(ctx, x):
        x.add_(1)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 7


def test_dirty():
    x = leaf()
    y = x * 1
    z = AddOne.apply(y)
    assert z is y and y.tolist() == [2, 3, 4]
    z.sum().backward()
    assert x.grad.tolist() == [7, 7, 7]
    with pytest.raises(RuntimeError, match="leaf"):
        AddOne.apply(x)


def test_once_differentiable():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            return g * 2 * ctx.saved_tensors[0]

    x = leaf()
    (y := Square.apply(x) * x).sum().backward()
    assert x.grad.tolist() == [3, 12, 27] and y.requires_grad
    (g,) = torch.autograd.grad((Square.apply(x) ** 2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


def test_hooks_on_results():
    x, seen = leaf(), []
    y = Cube.apply(x)
    y.register_hook(lambda g: seen.append(g.tolist()) or g * 10)
    y.retain_grad()
    y.sum().backward()
    assert seen == [[1, 1, 1]] and y.grad.tolist() == [10, 10, 10] and x.grad.tolist() == [30, 120, 270]


def test_grad_inside():
    class Inner(Function):
        @staticmethod
        def forward(ctx, x):
            with torch.enable_grad():
                ctx.x = x.detach().requires_grad_()
                ctx.y = (ctx.x * ctx.x).sum()
            return ctx.y.detach()

        @staticmethod
        def backward(ctx, g):
            assert not torch.is_grad_enabled()
            return torch.autograd.grad(ctx.y, ctx.x, g)[0]

    x = leaf()
    (Inner.apply(x) * 3).backward()
    assert x.grad.tolist() == [6, 12, 18]


def test_chains():
    x = leaf()
    y = x
    for _ in range(4):
        y = Scale.apply(y, 2) + x
    y.sum().backward()
    assert x.grad.tolist() == [31, 31, 31]


@pytest.mark.parametrize("back, error, message", [
    (lambda ctx, g: (g, g), RuntimeError, "incorrect number of gradients"),
    (lambda ctx, g: torch.ones(2), RuntimeError, "invalid gradient at index 0"),
    (lambda ctx, g: 5, RuntimeError, "expected Variable or None"),
    (lambda ctx, g: 1 / 0, ZeroDivisionError, "division"),
])  # fmt: skip
def test_bad_backwards(back, error, message):
    made = type("Bad", (Function,), {"forward": staticmethod(lambda ctx, x: x + 1), "backward": staticmethod(back)})
    x = leaf()
    with pytest.raises(error, match=message):
        made.apply(x).sum().backward()
    assert torch.is_grad_enabled() and x.tolist() == [1, 2, 3]


def test_missing_parts():
    class NoBackward(Function):
        @staticmethod
        def forward(ctx, x):
            return x + 1

    with pytest.raises(NotImplementedError, match="backward"):
        NoBackward.apply(leaf()).sum().backward()

    class Empty(Function):
        pass

    with pytest.raises(NotImplementedError, match="forward"):
        Empty.apply(leaf())

    class SavesNumbers(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(3)
            return x

    with pytest.raises(TypeError, match="save_for_backward"):
        SavesNumbers.apply(leaf())
    assert SavesNumbers.apply(torch.ones(3)).tolist() == [1, 1, 1]  # nothing is kept where there will be no backward


@pytest.mark.parametrize("fill", [True, False])
def test_gradients_of_outputs_that_have_none(fill):
    """Outputs that were marked as not differentiable have zeros as gradients, unless this is switched off."""
    seen = []

    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            a, b = x * 2, x > 1
            ctx.mark_non_differentiable(b)
            ctx._materialize_non_diff_grads = fill
            return a, b

        @staticmethod
        def backward(ctx, ga, gb):
            seen.append(gb)
            return ga * 2

    x = leaf()
    Two.apply(x)[0].sum().backward()
    assert x.grad.tolist() == [2, 2, 2]
    assert (seen[0].dtype is torch.bool and seen[0].shape == (3,)) if fill else seen == [None]


def test_a_result_that_is_returned_twice_stays_one():
    class Twice(Function):
        @staticmethod
        def forward(ctx, x):
            y = x * 2
            return y, y

        @staticmethod
        def backward(ctx, g, h):
            return (g + h) * 2

    x = leaf()
    a, b = Twice.apply(x)
    (a + b).sum().backward()
    assert a is b and x.grad.tolist() == [4, 4, 4]


def test_a_result_that_looks_at_an_input_has_its_address():
    """Libraries that find tensors again by ``data_ptr`` (BackPACK) count on it; other results have their own."""

    class Part(Function):
        @staticmethod
        def forward(ctx, x):
            return x[1:], x, x * 1

        @staticmethod
        def backward(ctx, part, whole, copy):
            return torch.cat([part.new_zeros(1), part]) + whole + copy

    x = leaf() * 2
    part, whole, copy = Part.apply(x)
    again = Part.apply(part)[1]
    address = x.data_ptr()
    assert (part.data_ptr(), whole.data_ptr(), again.data_ptr()) == (address + 4, address, address + 4)
    assert copy.data_ptr() not in (address, address + 4)
    del x, whole  # the rest still agree with each other
    assert part.data_ptr() == again.data_ptr() == Part.apply(again)[1].data_ptr()


def test_full_backward_hooks_leave_addresses_alone():
    first, second = torch.nn.Linear(3, 4), torch.nn.Sigmoid()
    seen, same = [], []

    def compare(*_):
        same.append(seen[0][1].data_ptr() == seen[1][0].data_ptr())

    for layer in (first, second):
        layer.register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
        layer.register_full_backward_hook(compare)
    second(first(torch.ones(2, 3, requires_grad=True))).sum().backward()
    seen.clear()
    y = first(torch.ones(2, 3, requires_grad=True))
    y = y.view(-1, 4)  # only the view is left
    second(y).sum().backward()
    assert same == [True] * 4


class KeptInPlace(KeptExp):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x.exp_())
        ctx.save_for_backward(x)
        return x


class KeptPair(Function):
    """Two results, both kept."""

    @staticmethod
    def forward(ctx, x):
        results = x.exp(), x.sin()
        ctx.save_for_backward(x, *results)
        return results

    @staticmethod
    def backward(ctx, *g):
        x, e, _ = ctx.saved_tensors
        return g[0] * e + g[1] * x.cos()


@pytest.mark.parametrize("cls", [KeptExp, KeptInPlace, KeptPair])
@pytest.mark.parametrize("executed", [False, True])
def test_a_result_that_is_kept_is_freed_with_its_last_user(cls, executed):
    gc.disable()  # which would find what holds itself
    try:
        x = torch.ones(3, requires_grad=True)
        out = cls.apply(x * 2)
        result = out[0] if isinstance(out, tuple) else out
        if executed:
            result.tolist()
        seen = weakref.ref(result)
        total = result.sum()
        del out, result
        assert seen() is None
        total.backward()  # what it needs of it is there still
        np.testing.assert_allclose(x.grad, np.full(3, 2 * np.exp(2.0)), rtol=1e-6)
    finally:
        gc.enable()


@pytest.mark.parametrize("executed", [False, True])
def test_a_graph_that_nobody_goes_back_through_is_freed_with_its_result(executed):
    contexts = []

    class Double(Function):
        @staticmethod
        def forward(ctx, x):
            contexts.append(weakref.ref(ctx))
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    gc.disable()
    try:
        x = torch.ones(3, requires_grad=True)
        total = Double.apply(x + 1).sum()
        if executed:
            total.item()
        assert contexts[0]() is not None
        del total
        (x + 1).sum().item()  # executes what is pending
        assert contexts[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("cls", [KeptExp, KeptInPlace, KeptPair])
def test_derivatives_of_all_orders_where_the_result_is_gone(cls):
    def f(x):
        out = cls.apply(x * 1.0)
        return (out[0] * out[1] if isinstance(out, tuple) else out).sin().sum()  # nobody holds what apply has given

    def plain(x):
        return (x.exp() * x.sin() if cls is KeptPair else x.exp()).sin().sum()

    def third(f):
        x = torch.tensor([0.1, -0.4, 0.3], dtype=torch.float64, requires_grad=True)
        y = f(x)
        for _ in range(3):
            (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return y.tolist()

    np.testing.assert_allclose(third(f), third(plain), rtol=1e-10)
