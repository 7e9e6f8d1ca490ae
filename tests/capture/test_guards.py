"""``torch.compile``: what a function refers to may change between calls, and is seen."""

import collections
import contextvars
import copy
import dataclasses
import functools
import heapq
import operator
import os
import sys
import types
import weakref

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.nn import functional as F

settings = types.ModuleType("settings_of_a_test")
sys.modules["settings_of_a_test"] = settings
context = contextvars.ContextVar("context", default=2.0)


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


class Kind(type):
    k = 2.0


class OfKind(metaclass=Kind):
    pass


class Knows:
    k = 2.0

    @classmethod
    def times(cls, x):
        return x * cls.k

    def __getattr__(self, name):
        return {"n": 2.0}[name]  # KeyError for others


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


def with_import(x):
    import settings_of_a_test as found
    from settings_of_a_test import k

    return x * found.table["k"] * k


def with_table(x, table=[2.0]):  # noqa: B006
    return x * table[0]


class Method:
    def times(self, x, table=[2.0]):  # noqa: B006
        return x * table[0]


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
        self.layer, self.method = nn.Linear(2, 2), Method()
        self.layer.weight.tag = 2.0
        self.deep = Nested()
        self.deep.inner.a = Nested()
        self.deep.inner.a.inner.b = Nested()
        self.deep.inner.a.inner.b.inner.net = self.net
        self.queue, self.bytes, self.knows = collections.deque([2.0], maxlen=1), bytearray([2]), Knows()
        self.weak = weakref.ref(self.options)
        self.named = collections.namedtuple("Named", "k")(2.0)
        self.registry = {"f": helper}
        self.proxy = types.MappingProxyType(self.registry)


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
    "metaclass": (lambda x: x * OfKind.k, lambda v, p: p.setattr(Kind, "k", v)),
    "class method": (lambda x: Knows.times(x), lambda v, p: p.setattr(Knows, "k", v)),
    "any attribute": (lambda x: x * w.knows.n * w.knows.k, lambda v, p: p.setattr(Knows, "k", v)),
    "network deep in objects": (
        lambda x: w.deep.inner.a.inner.b.inner.net(x), lambda v, p: p.setitem(w.net.options, "k", v)),
    "queue": (lambda x: x * w.queue[0], lambda v, p: w.queue.append(v)),
    "bytes": (lambda x: x * w.bytes[0], lambda v, p: w.bytes.__setitem__(0, int(v))),
    "proxy of a table": (lambda x: x * w.proxy["f"](x), lambda v, p: p.setitem(w.registry, "f", lambda x: x * v)),
    "module imported inside": (with_import, lambda v, p: p.setattr(settings, "k", v)),
    "table of a module imported inside": (with_import, lambda v, p: p.setitem(settings.table, "k", v)),
    "name in a string": (lambda x: x * getattr(settings, "k"), lambda v, p: p.setattr(settings, "k", v)),  # noqa: B009
    "name in a string, of a class": (lambda x: x * getattr(Base, "k"), set_class("k")),  # noqa: B009
    "globals()": (lambda x: x * globals()["settings"].k, lambda v, p: p.setattr(settings, "k", v)),
    "sys.modules": (
        lambda x: x * sys.modules["settings_of_a_test"].k, lambda v, p: p.setattr(settings, "k", v)),
    "dictionary of a module": (
        lambda x: x * settings.__dict__["k"], lambda v, p: p.setattr(settings, "k", v)),
    "variable of a context": (lambda x: x * context.get(), lambda v, p: context.set(v)),
    "weak reference": (lambda x: x * w.weak().k, lambda v, p: p.setattr(w.options, "k", v)),
    "default that is a list": (
        lambda x: with_table(x), lambda v, p: p.setattr(with_table, "__defaults__", ([v],))),
    "default of a method": (
        lambda x: w.method.times(x), lambda v, p: p.setattr(Method.times, "__defaults__", ([v],))),
    "attribute of a tensor": (lambda x: x * w.layer.weight.tag, lambda v, p: setattr(w.layer.weight, "tag", v)),
    "new attribute of a tensor": (
        lambda x: x * getattr(w.layer.weight, "other", 2.0), lambda v, p: setattr(w.layer.weight, "other", v)),
    "presence of a gradient": (
        lambda x: x * (2.0 if w.layer.weight.grad is None else 3.0),
        lambda v, p: setattr(w.layer.weight, "grad", None if v == 7 else torch.ones(2, 2))),
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


def test_functions_of_the_same_address_are_told_apart():
    """A closure that is replaced is gone, and the next one is where it was."""
    table = [None]
    compiled = torch.compile(lambda x: table[0](x))

    def times(k):
        return lambda x: x * k

    for k in range(8):
        table[0] = times(k)
        assert compiled(torch.ones(1)).item() == k


noted = []


def by_another_name(x):
    mine = noted
    mine += [1]
    return x * 2


def in_c(x):
    heapq.heappush(noted, 1)
    return x * 2


def by_operator(x):
    operator.iadd(noted, [1])
    return x * 2


def by_map(x):
    list(map(noted.append, [1]))
    return x * 2


@pytest.mark.parametrize("fn", [by_another_name, in_c, by_operator, by_map])
def test_what_changes_a_list_unseen_is_done_at_each_call(fn):
    noted.clear()
    compiled = torch.compile(fn)
    for _ in range(5):
        compiled(torch.ones(1))
    assert len(noted) == 5


def test_what_the_first_call_alone_makes_does_not_matter():
    made = {}

    def fn(x):
        table = made
        table |= {"mask": 2.0} if not table else {}
        return x * made["mask"]

    compiled = torch.compile(fn)
    for _ in range(4):
        assert compiled(torch.ones(1)).item() == 2.0
    assert compiled.capture.replays == 2


def test_what_is_asked_of_arguments_is_seen():
    square, wide = torch.ones(2, 2), torch.ones(4, 2)[::2]
    compiled = torch.compile(lambda x: x * x.stride(0))
    assert [compiled(x)[0, 0].item() for x in (square, square, wide, square.t(), wide)] == [2, 2, 4, 1, 4]
    compiled = torch.compile(lambda x: x * getattr(x, "k", 1.0))
    for k in (None, None, 2.0, 3.0, None, np.ones(1, np.float32), None):
        x = torch.ones(1)
        if k is not None:
            x.k = k if isinstance(k, float) else torch.from_numpy(k)
            x.other = k
        assert compiled(x).item() == (k or 1.0)
    other = torch.compile(lambda x: x * float(np.sum(x.other)))
    for k in (2.0, 2.0, np.full(1, 3.0), 2.0):
        x = torch.ones(1)
        x.other = k
        assert other(x).item() == float(np.sum(k))


def test_arguments_that_share_memory_are_told_apart():
    def fn(x, y):
        x.add_(1)
        return y * 1

    compiled = torch.compile(fn)
    for shared in (False, True, False, True):
        x = torch.zeros(2, 2)
        assert compiled(x, x[1] if shared else torch.zeros(2)).tolist() == [float(shared)] * 2


def test_objects_that_are_returned_are_made_anew():
    known = [1]
    for fn, read in (
        (lambda x: Options(x * 2), lambda r: r.k.item()),
        (lambda x: lambda: x * 2, lambda r: r().item()),
        (lambda x: [x * 2, {"k": Options(x * 2)}], lambda r: r[1]["k"].k.item()),
    ):
        compiled = torch.compile(fn)
        assert [read(r) for r in [compiled(torch.full((1,), float(i))) for i in range(4)]] == [0.0, 2.0, 4.0, 6.0]
    compiled = torch.compile(lambda x: {1})
    for _ in range(4):
        result = compiled(torch.ones(1))
        assert result == {1}
        result.add(2)
    compiled = torch.compile(lambda x: known)
    assert all(compiled(torch.ones(1)) is known for _ in range(4))


@pytest.mark.parametrize("clears", [False, True])
def test_a_compiled_step_sees_which_gradients_there_are(clears):
    net = nn.Linear(1, 1)
    with torch.no_grad():
        net.weight.zero_(), net.bias.zero_()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)

    @torch.compile
    def step():
        optimizer.step()
        if clears:
            optimizer.zero_grad()

    expected = [0.0, 0.0]
    for grads in ((1, 2), (1, 2), (0, 3), (0, 0), (4, 0), (5, 6), (7, 0), (0, 0), (8, 9)):
        for k, (p, g) in enumerate(zip(net.parameters(), grads, strict=True)):
            p.grad = torch.full(p.shape, float(g)) if g else None
            expected[k] -= g
        step()
        assert [net.weight.item(), net.bias.item()] == expected


def test_a_compiled_step_takes_the_gradients_that_were_accumulated():
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)

    @torch.compile
    def step(x, last):
        (weight * x).sum().backward()
        if last:
            optimizer.step()
            optimizer.zero_grad()

    total = 0.0
    for k in range(12):
        step(torch.full((1,), float(k + 1)), k % 3 == 2)
        total += k + 1
        if k % 3 == 2:
            assert weight.item() == -total and weight.grad is None
    halve = torch.compile(lambda: setattr(weight, "grad", weight.grad * 0.5))
    for g in (2.0, 4.0, 6.0, 8.0):
        weight.grad = torch.full((1,), g)
        halve()
        assert weight.grad.item() == g / 2


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


class Pair(collections.namedtuple("Pair", "a b")):
    """Refuses to tell a length, as e3nn's representations do."""

    def __len__(self):
        raise NotImplementedError


def test_a_tuple_without_a_length():
    settings.pair = Pair(2.0, 3.0)
    compiled = torch.compile(lambda x: x * settings.pair.a + settings.pair.b)
    x = torch.ones(2)
    assert [compiled(x).tolist() for _ in range(3)] == [[5.0, 5.0]] * 3
    settings.pair = Pair(2.0, 4.0)
    assert compiled(x).tolist() == [6.0, 6.0]
