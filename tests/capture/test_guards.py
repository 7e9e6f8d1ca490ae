"""``torch.compile``: what a function refers to may change between calls, and is seen."""

import collections
import copy
import dataclasses
import functools
import os
import types

import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.nn import functional as F

settings = types.ModuleType("settings")


@dataclasses.dataclass
class Options:
    k: float = 2.0


class Base:
    k = 2.0
    table = {"k": 2.0}
    tensor = None

    def times(self, x):
        return x * 2


class Derived(Base):
    pass


class Slotted:
    __slots__ = ("k",)


class Hidden:
    def __init__(self):
        self._k = 2.0

    @property
    def k(self):
        return self._k


class Nested:
    def __init__(self):
        self.inner = Options()


class Net(nn.Module):
    scale = 2.0

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.options, self.numbers, self.object = {"k": 2.0}, [2.0], Options()

    def forward(self, x):
        return self.layer(x) * self.options["k"] * self.numbers[0] * self.object.k * self.scale


def helper(x, k=2.0):
    return x * k


def of_itself(x):
    return x * of_itself.k


def counted():
    numbers = [2.0]

    def inner(x):
        return x * numbers[0]

    return inner, numbers


class World:
    """What the functions below refer to, made anew for each test."""

    def __init__(self):
        settings.k, settings.table, settings.Options = 2.0, {"k": 2.0}, Base
        of_itself.k = helper.__defaults__[0]
        self.derived, self.options, self.hidden, self.nested, self.net = (
            Derived(), Options(), Hidden(), Nested(), Net())  # fmt: skip
        self.slotted = Slotted()
        self.slotted.k = 2.0
        self.inner, self.numbers = counted()
        self.layer = nn.Linear(2, 2)
        self.named = collections.namedtuple("Named", "k")(2.0)
        self.registry = {"f": helper}


w = World()


def set_class(name):
    return lambda v, patch: patch.setattr(Base, name, v)


CASES = {
    "attribute of a module": (lambda x: x * settings.k, lambda v, p: p.setattr(settings, "k", v)),
    "table of a module": (lambda x: x * settings.table["k"], lambda v, p: p.setitem(settings.table, "k", v)),
    "class in a module": (lambda x: x * settings.Options.k, set_class("k")),
    "attribute of a class": (lambda x: x * Base.k, set_class("k")),
    "table of a class": (lambda x: x * Base.table["k"], lambda v, p: p.setitem(Base.table, "k", v)),
    "inherited attribute": (lambda x: x * w.derived.k, set_class("k")),
    "attribute that hides an inherited one": (
        lambda x: x * w.derived.k, lambda v, p: p.setattr(Derived, "k", v, raising=False)),
    "method": (lambda x: w.derived.times(x), lambda v, p: p.setattr(Base, "times", lambda self, x: x * v)),
    "method that hides one": (
        lambda x: w.derived.times(x), lambda v, p: p.setattr(Derived, "times", lambda self, x: x * v, raising=False)),
    "dataclass": (lambda x: x * w.options.k, lambda v, p: p.setattr(w.options, "k", v)),
    "slots": (lambda x: x * w.slotted.k, lambda v, p: p.setattr(w.slotted, "k", v)),
    "property": (lambda x: x * w.hidden.k, lambda v, p: p.setattr(w.hidden, "_k", v)),
    "object in an object": (lambda x: x * w.nested.inner.k, lambda v, p: p.setattr(w.nested.inner, "k", v)),
    "attribute of a function": (of_itself, lambda v, p: p.setattr(of_itself, "k", v)),
    "defaults": (lambda x: helper(x), lambda v, p: p.setattr(helper, "__defaults__", (v,))),
    "list in a closure": (lambda x: w.inner(x), lambda v, p: w.numbers.__setitem__(0, v)),
    "function in a table": (
        lambda x: w.registry["f"](x), lambda v, p: p.setitem(w.registry, "f", lambda x: x * v)),
    "table of a network": (lambda x: w.net(x), lambda v, p: p.setitem(w.net.options, "k", v)),
    "list of a network": (lambda x: w.net(x), lambda v, p: w.net.numbers.__setitem__(0, v)),
    "object of a network": (lambda x: w.net(x), lambda v, p: p.setattr(w.net.object, "k", v)),
    "class of a network": (lambda x: w.net(x), lambda v, p: p.setattr(Net, "scale", v)),
    "function of the library": (lambda x: F.relu(x), lambda v, p: p.setattr(F, "relu", lambda x: x * v)),
    "forward": (lambda x: w.layer(x), lambda v, p: p.setattr(w.layer, "forward", lambda x: x * v)),
    "hook": (lambda x: w.layer(x), lambda v, p: w.layer.register_forward_hook(lambda m, i, o: o * v)),
    "weights": (lambda x: w.layer(x), lambda v, p: w.layer.weight.data.fill_(v)),
    "new weights": (
        lambda x: w.layer(x), lambda v, p: setattr(w.layer, "weight", nn.Parameter(torch.full((2, 2), v)))),
    "frozen weights": (
        lambda x: x * (3.0 if w.layer.weight.requires_grad else 2.0), lambda v, p: w.layer.requires_grad_(v != 5)),
    "environment": (
        lambda x: x * float(os.environ.get("PYTORCHLIKE_TEST_K", "2")),
        lambda v, p: p.setenv("PYTORCHLIKE_TEST_K", str(v))),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_change_of_what_a_function_refers_to_is_seen(name, monkeypatch):
    w.__init__()
    fn, change = CASES[name]
    compiled = torch.compile(fn)
    x = torch.tensor([1.0, 3.0])
    before = [compiled(x) for _ in range(3)][-1]
    assert torch.allclose(before, fn(x))
    for value in (5.0, 7.0):
        change(value, monkeypatch)
        assert torch.allclose(compiled(x), fn(x))


class Trainer:
    def __init__(self):
        self.k, self.options, self.net = 2.0, {"k": 2.0}, nn.Linear(2, 2)

    def step(self, x):
        return self.net(x) * self.k * self.options["k"]

    def __call__(self, x):
        return self.step(x)


@pytest.mark.parametrize("kind", ["method", "object", "partial"])
def test_a_change_of_the_function_itself_is_seen(kind):
    trainer = Trainer()
    fn = {"method": trainer.step, "object": trainer,
          "partial": functools.partial(lambda x, t: x * t.k * t.options["k"], t=trainer)}[kind]  # fmt: skip
    compiled = torch.compile(fn)
    x = torch.ones(2)
    for change in (lambda: None, lambda: None, lambda: setattr(trainer, "k", 5.0), lambda: trainer.options.clear()
                   or trainer.options.update(k=7.0)):  # fmt: skip
        change()
        assert torch.allclose(compiled(x), fn(x))
    assert compiled.capture.replays == 1, compiled.capture.refused


def test_a_hook_that_is_removed_runs_no_more():
    layer = nn.Linear(2, 2)
    handle = layer.register_forward_hook(lambda m, i, o: o * 3)
    compiled = torch.compile(layer)
    x = torch.ones(2)
    for _ in range(2):
        assert torch.equal(compiled(x), layer(x))
    handle.remove()
    assert torch.equal(compiled(x), layer(x))


def test_code_from_a_string_is_watched_as_any_other():
    space = {"table": [2.0], "seen": []}
    exec("def scaled(x):\n    return x * table[0]\n\ndef noted(x):\n    seen.append(1)\n    return x * 2", space)
    scaled, noted = torch.compile(space["scaled"]), torch.compile(space["noted"])
    x = torch.ones(1)
    for k in (2.0, 2.0, 3.0, 2.0):
        space["table"][0] = k
        assert scaled(x).item() == k and noted(x).item() == 2.0
    assert len(space["seen"]) == 4 and scaled.capture.replays == 2


def test_attributes_of_a_class_that_the_function_does_not_name_do_not_matter():
    class Counter:
        calls, k = 0, 2.0

    counter = Counter()
    compiled = torch.compile(lambda x: x * counter.k)
    for _ in range(8):
        Counter.calls += 1
        compiled(torch.ones(2))
    assert compiled.capture.captures == 1


CHANGES = {
    "state loaded": lambda net, opt, saved: opt.load_state_dict(saved),
    "state dropped": lambda net, opt, saved: opt.state.clear(),
    "state replaced": lambda net, opt, saved: opt.state[net.weight].update(exp_avg=torch.zeros(2, 3)),
    "state changed": lambda net, opt, saved: opt.state[net.weight]["exp_avg"].zero_(),
    "rate": lambda net, opt, saved: opt.param_groups[0].update(lr=0.01),
    "rate as a tensor": lambda net, opt, saved: opt.param_groups[0].update(lr=torch.tensor(0.01)),
    "decay": lambda net, opt, saved: opt.param_groups[0].update(weight_decay=0.1),
    "frozen": lambda net, opt, saved: net.bias.requires_grad_(False),
    "fewer weights": lambda net, opt, saved: opt.param_groups[0]["params"].pop(),
    "step replaced": lambda net, opt, saved: setattr(opt, "step", lambda: None),
    "hook of the step": lambda net, opt, saved: opt.register_step_post_hook(lambda *a: net.weight.data.zero_()),
    "hook of a gradient": lambda net, opt, saved: net.weight.register_hook(lambda g: g * 0),
    "hook after a gradient": lambda net, opt, saved: net.weight.register_post_accumulate_grad_hook(
        lambda p: setattr(p, "grad", p.grad * 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_optimizer_or_weights_is_seen_by_a_compiled_step(name):
    def losses(compiled):
        torch.manual_seed(0)
        net = nn.Linear(3, 2)
        opt = torch.optim.Adam(net.parameters(), lr=0.1)

        def step(x):
            opt.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            opt.step()
            return loss

        if compiled:
            step = torch.compile(step)
        x = torch.ones(4, 3)
        out, saved = [], None
        for k in range(6):
            if k == 1:
                saved = copy.deepcopy(opt.state_dict())
            if k == 4:
                CHANGES[name](net, opt, saved)
            out.append(step(x).item())
        return out

    assert losses(True) == pytest.approx(losses(False), rel=1e-5)
