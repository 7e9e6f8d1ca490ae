"""Who wants to be asked about a call is asked: subclasses, modes, and classes that are no tensors."""

import pickle
import subprocess
import sys

import pytest

import pytorchlike as torch
from pytorchlike.nn import functional as F
from pytorchlike.overrides import TorchFunctionMode, resolve_name
from pytorchlike.tensor import asking

early_add = torch.add


class Plain(torch.Tensor):
    """Keeps its type by default."""


class Logged(torch.Tensor):
    names: list = []

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        Logged.names.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {})


class Duck:
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func.__name__, types


def test_results_of_a_subclass_are_of_the_subclass():
    x = torch.ones(2, 3, requires_grad=True).as_subclass(Plain)
    for result in (x + 1, 2 * x, x @ torch.ones(3, 1), x[0], x.T, x.max(1).values, torch.stack([x, x]), F.relu(x)):
        assert type(result) is Plain
    assert type(x.sum().item()) is float and type(x.detach()) is Plain
    leaf = Plain([1.0, 2.0]).requires_grad_()
    (leaf * leaf).sum().backward()
    assert leaf.grad.tolist() == [2, 4]
    same = torch.ones(2).as_subclass(Plain)
    assert same.add_(1) is same and same.tolist() == [2, 2]
    assert type(torch.nn.Parameter(torch.ones(2)) * 2) is torch.Tensor


def test_a_class_sees_the_functions_it_is_given_to():
    Logged.names = []
    x = torch.ones(2, 2).as_subclass(Logged)
    y = (torch.ones(2, 2) @ x).relu()
    F.softmax(x[0], -1)
    assert Logged.names == ["matmul", "relu", "__getitem__", "softmax"] and type(y) is Logged


def test_objects_that_are_no_tensors():
    duck = Duck()
    assert torch.mean(duck) == ("mean", (Duck,)) and F.cross_entropy(duck, torch.tensor([1]))[0] == "cross_entropy"
    assert torch.cat([torch.ones(1), duck])[0] == "cat" and torch.ones(1).mul(duck)[0] == "mul"
    assert (torch.ones(1) + duck)[0] == "add"
    assert torch.is_complex(duck)[0] == "is_complex" and torch.is_floating_point(duck)[0] == "is_floating_point"
    with pytest.raises(TypeError, match="is_complex.*must be Tensor, not int"):
        torch.is_complex(1)

    class Silent(Duck):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return NotImplemented

    with pytest.raises(TypeError, match=r"failed for 'torch.mul'; all .*\n\n  - tensor subclass .*Silent"):
        torch.mul(Silent(), 1)
    assert torch.mul(Silent(), duck)[1] == (Silent, Duck)  # subclasses first, then the next one


def test_modes_see_every_call_and_can_replace_it():
    class Log(TorchFunctionMode):
        def __init__(self):
            self.names = []

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.names.append(resolve_name(func))
            return func(*args, **(kwargs or {}))

    class Zeros(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return torch.zeros(*args) if func is torch.randn else func(*args, **(kwargs or {}))

    with Zeros(), Log() as inner:
        x = torch.randn(3)
        torch.nn.Linear(3, 2)(x).sum()
    assert x.tolist() == [0, 0, 0]
    assert inner.names[0] == "torch.randn" and inner.names[-2:] == ["torch.nn.functional.linear", "torch.Tensor.sum"]
    before = len(inner.names)
    torch.randn(3)
    assert len(inner.names) == before
    with Log() as log, torch.overrides.DisableTorchFunction():
        torch.ones(2)
    assert log.names == []


def test_functions_stay_what_they_are():
    assert torch.add == early_add and {early_add: 1}[torch.add] == 1
    assert pickle.loads(pickle.dumps(torch.relu)) is torch.relu and pickle.loads(pickle.dumps(F.gelu)) is F.gelu
    with pytest.raises(RuntimeError):
        torch.add(torch.ones(2), torch.ones(3))
    assert "indexing" in torch.meshgrid.__kwdefaults__  # MONAI looks


def test_a_class_that_is_asked_about_functions_is_none_of_wrappers():
    from pytorchlike.utils._python_dispatch import is_traceable_wrapper_subclass

    assert not is_traceable_wrapper_subclass(torch.ones(1).as_subclass(Plain))


def test_operators_are_offered_as_the_methods_that_compute_them():
    class Swap(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func.__name__)
            return (torch.mul if func == torch.Tensor.add else func)(*args, **(kwargs or {}))

    seen: list = []
    x, n = torch.tensor([2.0, 3.0]), torch.tensor(3)
    with Swap():
        squares, fives = x + x, 5 + x
        x % 2, x @ x, x < 1, x / 2, 2 & n, float(x[0])
        y = x.clone()
        y -= 1
    assert seen == ["add", "add", "remainder", "matmul", "lt", "div", "bitwise_and", "__getitem__", "__float__",
                    "clone", "sub_"]  # fmt: skip
    assert squares.tolist() == [4, 9] and fives.tolist() == [10, 15]
    with pytest.raises(TypeError, match="unsupported operand"), Swap():
        x + "a"


def test_redispatch_does_not_ask_again():
    """A function that asks for itself is called without asking, and what it calls is asked about."""
    calls = []

    class Logging(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args, kwargs=None):
            calls.append(func.__name__)
            return torch.overrides.redispatch_function(func, types, args, kwargs)

    def scaled(a, b):
        if torch.overrides.has_torch_function((a, b)):
            return torch.overrides.handle_torch_function(scaled, (a, b), a, b)
        return a * b + 1

    out = scaled(torch.tensor([3.0]).as_subclass(Logging), torch.tensor([4.0]))
    assert calls == ["scaled", "mul"] and out.item() == 13


def test_functions_and_methods_are_told_apart():
    """A table of functions says what ``torch.add`` is to do; ``+`` and the method are others."""
    seen = []

    class Mode(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append((func in {torch.add}, func == torch.Tensor.add))
            return func(*args, **(kwargs or {}))

    x = torch.ones(2)
    with Mode():
        x + x, x.add(x), torch.add(x, x)
    assert seen == [(False, True), (False, True), (True, False)] and torch.add != torch.Tensor.add


def noted():
    """A list, and a tensor that notes there under which names it is asked."""
    names = []

    class Noting(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            names.append(func.__name__)
            return super().__torch_function__(func, types, args, kwargs or {})

    x = torch.ones(2).as_subclass(Noting)
    names.clear()
    return names, x


def test_names_of_operators_and_what_makes_tensors_of_data():
    """A handler sees ``__rsub__`` and ``__eq__`` by these names; ``torch.tensor`` of one's own class is no such one."""
    seen, x = noted()
    for call in (lambda: 1 - x, lambda: x == 1, lambda: x // 2, lambda: 2**x, lambda: x + 1, lambda: x.eq(1)):
        call()
    assert seen == ["__rsub__", "__eq__", "__floordiv__", "__rpow__", "add", "eq"]
    seen.clear()
    with pytest.warns(UserWarning, match="copy construct"):
        assert type(torch.tensor(x)) is torch.Tensor and not seen
    assert torch.overrides.is_tensor_like(type(x))


def test_the_first_call_offers_what_was_given():
    """Nobody had asked before: defaults that the called function had filled in were handed on as if they were given."""
    code = """
import functools, torch
from torch import mean, argmax
F = torch.nn.functional
class Duck:
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func.__name__, len(args), kwargs or {}
print(mean(Duck()), mean(Duck(), 0), argmax(Duck(), 1, True), F.dropout(Duck(), 0.2))
"""
    code = "import pytorchlike; pytorchlike.install_as_torch()" + code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == ("('mean', 1, {}) ('mean', 2, {}) ('argmax', 3, {}) "
                                   "('dropout', 1, {'p': 0.2, 'training': True, 'inplace': False})")  # fmt: skip


def test_operators_are_offered_under_pytorchs_names():
    names, x = noted()
    _ = -x, abs(x), x**2, 2 - x, 1 / x, x / 2
    assert names == ["neg", "abs", "pow", "__rsub__", "__rdiv__", "div"]


def test_who_refuses_is_told():
    class Refusing:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return NotImplemented

    with pytest.raises(TypeError, match="no implementation found for 'torch.nn.functional.relu' on types"):
        torch.nn.functional.relu(Refusing())


def test_all_arguments_are_offered_while_modes_ask_about_operators_too():
    """The code of the functions is another then, with a signature that tells nothing."""
    from pytorchlike.utils._python_dispatch import TorchDispatchMode

    class Below(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    class Above(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            noted.append((func.__name__, len(args), sorted(kwargs or {})))
            return func(*args, **(kwargs or {}))

    asking._parameters.cache_clear()
    noted = []
    with Below(), Above():
        F.max_pool2d(torch.ones(1, 4, 4), 2)
        F.embedding(torch.tensor([0]), torch.ones(2, 2))
    assert ("max_pool2d", 2, ["ceil_mode", "dilation", "padding", "return_indices", "stride"]) in noted
    assert ("embedding", 2, ["max_norm", "norm_type", "padding_idx", "scale_grad_by_freq", "sparse"]) in noted
