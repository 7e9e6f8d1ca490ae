"""Module: registration, traversal, hooks, state, copies and conversions."""

from __future__ import annotations

import copy
import gc
import inspect
import io
import pickle
import weakref

import jax
import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn


class Pair(nn.Module):
    def __init__(self, k=1.0):
        super().__init__()
        self.a = nn.Linear(3, 4)
        self.b = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
        self.scale = nn.Parameter(torch.full((2,), k))
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("scratch", torch.ones(2), persistent=False)

    def forward(self, x, *, shift=0.0):
        return self.b(self.a(x)) * self.scale + shift


# ---- registration and traversal --------------------------------------------------------------------------------------

def test_names_in_order_of_registration():
    m = Pair()
    assert [n for n, _ in m.named_parameters()] == ["scale", "a.weight", "a.bias", "b.0.weight", "b.0.bias"]
    assert [n for n, _ in m.named_buffers()] == ["seen", "scratch"]
    assert [n for n, _ in m.named_modules()] == ["", "a", "b", "b.0", "b.1"]
    assert [n for n, _ in m.named_children()] == ["a", "b"]
    assert list(m.state_dict()) == ["scale", "seen", "a.weight", "a.bias", "b.0.weight", "b.0.bias"]
    assert m.get_submodule("b.0") is m.b[0]
    assert m.get_parameter("b.0.bias") is m.b[0].bias
    assert m.get_buffer("seen") is m.seen


def test_parameters_and_buffers_come_from_generators():
    """Who takes either those or groups tells them apart by that."""
    module = torch.nn.BatchNorm1d(2)
    assert inspect.isgenerator(module.parameters()) and inspect.isgenerator(module.buffers())


def test_shared_parameters_appear_once():
    m = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False))
    m[1].weight = m[0].weight
    assert [n for n, _ in m.named_parameters()] == ["0.weight"]
    assert [n for n, _ in m.named_parameters(remove_duplicate=False)] == ["0.weight", "1.weight"]
    assert list(m.state_dict()) == ["0.weight", "1.weight"]
    twin = copy.deepcopy(m)
    assert twin[0].weight is twin[1].weight and twin[0].weight is not m[0].weight
    m(torch.tensor([1, 2])).sum().backward()
    assert m[0].weight.grad is m[1].weight.grad and m[0].weight.grad.shape == (5, 3)


def test_assignment_registers_and_replaces():
    m = nn.Module()
    m.x = nn.Parameter(torch.zeros(2))
    m.x = None
    assert list(m.named_parameters()) == [] and "x" in m._parameters
    with pytest.raises(TypeError, match="cannot assign .* as parameter 'x'"):
        m.x = torch.zeros(2)
    del m.x
    m.x = torch.zeros(2)
    assert not m._parameters and not m._buffers
    m.y = nn.Buffer(torch.ones(3))
    assert list(dict(m.named_buffers())) == ["y"]
    m.y = torch.zeros(3)
    assert m.y is m._buffers["y"]
    with pytest.raises(AttributeError, match="Module.__init__"):
        type("Early", (nn.Module,), {"__init__": lambda self: setattr(self, "w", nn.Parameter(torch.zeros(1)))})()
    with pytest.raises(AttributeError, match="'Module' object has no attribute 'z'"):
        _ = m.z


def test_containers():
    m = nn.ModuleList([nn.Linear(2, 2), nn.ReLU()])
    m.insert(1, nn.Tanh())
    m.extend([nn.Identity()])
    assert [type(x).__name__ for x in m] == ["Linear", "Tanh", "ReLU", "Identity"]
    assert isinstance(m[1:3], nn.ModuleList) and len(m[1:3]) == 2
    d = nn.ModuleDict({"x": nn.Linear(1, 2)})
    d["y"] = nn.ReLU()
    assert list(d) == ["x", "y"] and [n for n, _ in d.named_parameters()] == ["x.weight", "x.bias"]
    p = nn.ParameterList([torch.zeros(2), torch.ones(3)])
    assert [n for n, _ in p.named_parameters()] == ["0", "1"]
    q = nn.ParameterDict({"w": torch.zeros(2)})
    assert isinstance(q["w"], nn.Parameter)
    s = nn.Sequential(nn.Linear(2, 3), nn.ReLU()) + nn.Sequential(nn.Linear(3, 1))
    assert len(s) == 3 and s(torch.zeros(4, 2)).shape == (4, 1)


def test_apply_train_and_requires_grad():
    m = Pair()
    visited = []
    assert m.apply(visited.append) is m
    assert visited == [m.a, m.b[0], m.b[1], m.b, m]
    assert not any(x.training for x in m.eval().modules()) and all(x.training for x in m.train().modules())
    m.requires_grad_(False)
    assert not m(torch.ones(1, 3)).requires_grad
    m.requires_grad_().zero_grad()
    m(torch.ones(1, 3)).sum().backward()
    assert m.scale.grad is not None
    m.zero_grad()
    assert m.scale.grad is None
    m.scale.grad = torch.ones(2)
    m.zero_grad(set_to_none=False)
    assert m.scale.grad.tolist() == [0, 0]


def test_repr():
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(inplace=True)))) == (
        "Sequential(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n  (1): Sequential(\n"
        "    (0): ReLU(inplace=True)\n  )\n)"
    )
    assert repr(nn.Conv2d(2, 4, 3, padding=1, groups=2, bias=False)) == (
        "Conv2d(2, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=2, bias=False)"
    )
    assert repr(nn.LSTM(2, 3, num_layers=2, batch_first=True)) == "LSTM(2, 3, num_layers=2, batch_first=True)"
    assert repr(nn.BatchNorm2d(3)) == (
        "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)"
    )
    assert repr(nn.Embedding(4, 2, padding_idx=1)) == "Embedding(4, 2, padding_idx=1)"
    same = nn.ModuleList([nn.ReLU() for _ in range(3)])
    assert repr(same) == "ModuleList(\n  (0-2): 3 x ReLU()\n)"


# ---- hooks -----------------------------------------------------------------------------------------------------------

def test_forward_hooks_run_in_order_and_replace():
    m, calls = nn.Linear(2, 2), []
    m.register_forward_pre_hook(lambda mod, args: calls.append("pre") or (args[0] * 0,))
    m.register_forward_pre_hook(lambda mod, args: calls.append("first"), prepend=True)
    m.register_forward_hook(lambda mod, args, out: calls.append(("post", args[0].sum().item())) or out + 1)
    last = m.register_forward_hook(lambda mod, args, out: calls.append("last"))
    y = m(torch.ones(1, 2))
    assert calls == ["first", "pre", ("post", 0.0), "last"]
    np.testing.assert_allclose(y.detach().numpy()[0], m.bias.detach().numpy() + 1)
    last.remove()
    calls.clear()
    m(torch.ones(1, 2))
    assert calls == ["first", "pre", ("post", 0.0)]


def test_hooks_with_kwargs_and_always_called():
    m, seen = Pair(), []
    m.register_forward_pre_hook(lambda mod, args, kw: (args, {"shift": 2.0}), with_kwargs=True)
    m.register_forward_hook(lambda mod, args, kw, out: seen.append(kw), with_kwargs=True)
    m.register_forward_hook(lambda mod, args, out: seen.append(out), always_call=True)
    m(torch.ones(1, 3), shift=1.0)
    assert seen[0] == {"shift": 2.0}
    seen.clear()
    with pytest.raises(RuntimeError):
        m(torch.ones(1, 7))
    assert seen == [None]


def test_full_backward_hooks():
    m, calls = nn.Sequential(nn.Linear(3, 3), nn.Tanh()), []
    m.register_full_backward_pre_hook(lambda mod, g: calls.append("outer pre"))
    m[0].register_full_backward_pre_hook(lambda mod, g: (g[0] * 2,))
    m[0].register_full_backward_hook(lambda mod, gi, go: calls.append(("inner", gi[0].shape, go[0].shape)))
    m[1].register_full_backward_hook(lambda mod, gi, go: calls.append("tanh"))
    m.register_full_backward_hook(lambda mod, gi, go: calls.append("outer") or (gi[0] * 0 + 7,))
    x = torch.ones(2, 3, requires_grad=True)
    m(x).sum().backward()
    assert calls == ["outer pre", "tanh", ("inner", (2, 3), (2, 3)), "outer"]
    assert x.grad.tolist() == [[7] * 3] * 2
    plain = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    plain.load_state_dict(m.state_dict())
    plain(torch.ones(2, 3)).sum().backward()
    np.testing.assert_allclose(m[0].weight.grad.numpy(), 2 * plain[0].weight.grad.numpy(), rtol=1e-6)


def test_global_hooks():
    calls = []
    handles = [
        nn.modules.module.register_module_forward_pre_hook(lambda mod, args: calls.append(type(mod).__name__)),
        nn.modules.module.register_module_forward_hook(lambda mod, args, out: calls.append("after")),
        nn.modules.module.register_module_full_backward_hook(lambda mod, gi, go: calls.append("backward")),
    ]
    try:
        nn.Linear(2, 1)(torch.ones(1, 2, requires_grad=True)).sum().backward()
    finally:
        for h in handles:
            h.remove()
    assert calls == ["Linear", "after", "backward"]
    nn.Linear(2, 1)(torch.ones(1, 2))
    assert len(calls) == 3


def test_registration_hooks():
    names = []
    module = nn.modules.module
    handles = [
        module.register_module_parameter_registration_hook(lambda m, n, p: names.append(n)),
        module.register_module_buffer_registration_hook(lambda m, n, b: names.append(n)),
        module.register_module_module_registration_hook(lambda m, n, s: names.append(n)),
    ]
    try:
        nn.Sequential(nn.BatchNorm1d(2))
    finally:
        for h in handles:
            h.remove()
    assert names == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked", "0"]


def test_state_dict_hooks():
    m, calls = nn.Linear(2, 1), []
    m.register_state_dict_pre_hook(lambda mod, prefix, keep: calls.append("pre"))
    m.register_state_dict_post_hook(lambda mod, sd, prefix, meta: sd.pop(prefix + "bias") and None)
    m.register_load_state_dict_pre_hook(lambda mod, sd, prefix, *rest: sd.setdefault(prefix + "bias", torch.ones(1)))
    m.register_load_state_dict_post_hook(lambda mod, keys: calls.append(keys.missing_keys))
    state = m.state_dict()
    assert list(state) == ["weight"]
    m.load_state_dict(state)
    assert m.bias.item() == 1 and calls == ["pre", []]


# ---- state -----------------------------------------------------------------------------------------------------------

def test_load_state_dict_reports_all_keys():
    m = Pair()
    state = m.state_dict()
    del state["a.bias"]
    state["other"] = torch.zeros(1)
    with pytest.raises(RuntimeError) as e:
        m.load_state_dict(state)
    assert str(e.value) == (
        'Error(s) in loading state_dict for Pair:\n\tMissing key(s) in state_dict: "a.bias". '
        '\n\tUnexpected key(s) in state_dict: "other". '
    )
    keys = m.load_state_dict(state, strict=False)
    assert keys.missing_keys == ["a.bias"] and keys.unexpected_keys == ["other"]
    assert repr(m.load_state_dict(m.state_dict())) == "<All keys matched successfully>"
    with pytest.raises(RuntimeError, match=r"size mismatch for a.weight: copying a param with shape torch.Size\(\[2\]\)"
                       r" from checkpoint, the shape in current model is torch.Size\(\[4, 3\]\)"):
        m.load_state_dict({**m.state_dict(), "a.weight": torch.zeros(2)})
    with pytest.raises(TypeError, match="dict-like"):
        m.load_state_dict([1])


def test_loading_copies_and_assign_replaces():
    m, other = Pair(), Pair(3.0)
    held = m.scale
    m.load_state_dict(other.state_dict())
    assert m.scale is held and held.tolist() == [3, 3]
    fresh = {n: t.clone() for n, t in Pair(5.0).state_dict().items()}
    m.load_state_dict(fresh, assign=True)
    assert m.scale is not held and m.scale.tolist() == [5, 5] and isinstance(m.scale, nn.Parameter)
    state = m.state_dict()
    state["scale"].zero_()
    assert m.scale.tolist() == [0, 0]  # a state_dict shares memory
    assert not state["scale"].requires_grad and m.state_dict(keep_vars=True)["scale"] is m.scale


def test_extra_state():
    class Counting(nn.Module):
        n = 0

        def get_extra_state(self):
            return {"n": self.n}

        def set_extra_state(self, state):
            self.n = state["n"]

    m, other = Counting(), Counting()
    m.n = 5
    assert list(m.state_dict()) == ["_extra_state"]
    other.load_state_dict(m.state_dict())
    assert other.n == 5


class Raw(nn.Module):
    """Its state is its own dictionary."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.last = nn.Linear(2, 1)

    def __getstate__(self):
        return self.__dict__


def test_copies_of_a_module_whose_state_is_its_dictionary():
    """While it is copied, nothing is added to it or taken from it; what was kept of its tree is not the copy's."""
    m = Raw()
    before = list(m.parameters())
    for twin in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        twin.last = nn.Linear(2, 5)
        assert [tuple(p.shape) for p in twin.parameters()] == [(2, 2), (2,), (5, 2), (5,)]
        assert all(p is not q for p in twin.parameters() for q in before)
    assert all(p is q for p, q in zip(m.parameters(), before, strict=True))
    m.last = nn.Identity()
    assert len(list(m.parameters())) == 2


def test_deepcopy_and_pickle():
    m = Pair()
    m.register_forward_hook(_doubled)
    x = torch.ones(2, 3)
    want = m(x).detach().numpy()
    for twin in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        np.testing.assert_array_equal(twin(x).detach().numpy(), want)
        twin.scale.data.zero_()
        assert m.scale.tolist() == [1, 1]
        assert [n for n, _ in twin.named_buffers()] == ["seen", "scratch"]


def _doubled(module, args, output):
    return output * 2


@pytest.fixture
def swapping():
    torch.__future__.set_swap_module_params_on_conversion(True)
    yield
    torch.__future__.set_swap_module_params_on_conversion(False)


def test_loading_may_swap_tensors(swapping):
    m = nn.BatchNorm1d(3)
    weight, mean = m.weight, m.running_mean
    opt = torch.optim.SGD(m.parameters(), 1.0)
    state = {k: v + 1 for k, v in m.state_dict().items()}
    assert str(m.load_state_dict(state)) == "<All keys matched successfully>"
    assert m.weight is weight and weight.tolist() == [2.0] * 3 and weight.requires_grad
    assert m.running_mean is mean and mean.tolist() == [1.0] * 3
    m.load_state_dict({k: v.double() if v.is_floating_point() else v for k, v in state.items()}, assign=True)
    assert m.weight is weight and weight.dtype == torch.float64
    assert opt.param_groups[0]["params"][0].dtype == torch.float64
    with torch.device("meta"):
        lazy = nn.Linear(2, 2)
    weight = lazy.weight
    lazy.load_state_dict({"weight": torch.ones(2, 2), "bias": torch.zeros(2)}, assign=True)
    assert lazy.weight is weight and weight.tolist() == [[1.0] * 2] * 2 and isinstance(weight, nn.Parameter)


class _Scaled(torch.Tensor):
    """Says itself what loading makes of it."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.module_load:
            return args[1] if args[1].sum() < 0 else args[1].mul(10).as_subclass(cls)
        return super().__torch_function__(func, types, args, kwargs or {})


def test_a_parameter_says_what_loading_makes_of_it(swapping):
    m = nn.Linear(2, 1, bias=False)
    weight = m.weight = nn.Parameter(torch.ones(1, 2).as_subclass(_Scaled))
    m.load_state_dict({"weight": torch.tensor([[1.0, 2.0]])})
    assert m.weight is weight and weight.tolist() == [[10.0, 20.0]] and isinstance(weight, _Scaled)
    with pytest.raises(RuntimeError, match=r'(?s)While swapping the parameter named "weight".*one of self or other'):
        m.load_state_dict({"weight": torch.tensor([[-1.0, -2.0]])})


def test_save_and_load_state():
    m, file = Pair(2.0), io.BytesIO()
    torch.save(m.state_dict(), file)
    file.seek(0)
    other = Pair()
    other.load_state_dict(torch.load(file))
    assert other.scale.tolist() == [2, 2]


def test_conversions():
    m = Pair()
    held = m.a.weight
    m.half()
    assert m.a.weight is held and held.dtype == torch.float16 and m.seen.dtype == torch.float16
    m.register_buffer("count", torch.zeros((), dtype=torch.long))
    m.to(torch.float64)
    assert m.a.weight.dtype == torch.float64 and m.count.dtype == torch.long
    m.float().bfloat16()
    assert m.scale.dtype == torch.bfloat16
    assert m.to(torch.zeros((), dtype=torch.float32)).scale.dtype == torch.float32
    assert m.to("cpu").scale.device.type == "cpu"
    with pytest.raises(TypeError, match="floating point"):
        m.to(torch.int32)


def test_meta_device_and_to_empty():
    with torch.device("meta"):
        m = nn.Linear(1000, 1000)
    assert m.weight.is_meta and m(torch.empty(2, 1000, device="meta")).shape == (2, 1000)
    m.to_empty(device="cpu")
    assert m.weight.device.type == "cpu" and m.weight.shape == (1000, 1000)
    assert nn.Linear(2, 2, dtype=torch.float64).weight.dtype == torch.float64


def test_modules_are_pytrees():
    m = Pair()
    leaves, tree = jax.tree_util.tree_flatten(m)
    assert len(leaves) == 7
    twin = jax.tree_util.tree_unflatten(tree, leaves)
    x = torch.ones(2, 3)
    np.testing.assert_array_equal(twin(x).detach().numpy(), m(x).detach().numpy())


def test_modules_are_freed():
    m = Pair()
    m(torch.ones(1, 3)).sum().backward()
    seen = weakref.ref(m.a)
    del m
    gc.collect()
    assert seen() is None


def test_training_steps_do_not_compile_again():
    torch.manual_seed(0)
    m = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))
    opt = torch.optim.SGD(m.parameters(), lr=0.1)
    counts = []
    for step in range(12):
        loss = nn.functional.mse_loss(m(torch.randn(16, 4)), torch.full((16, 1), float(step)))
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        loss.item()
        counts.append(torch.compiler.stats()["compiles"])
    assert counts[7] == counts[-1], counts


def test_members_named_like_methods_do_not_hide_them():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.parameters = []
            self.parameters.append(nn.Parameter(torch.ones(2)))
            self.parameters = nn.ParameterList(self.parameters)

    net = Net()
    assert [p.shape for p in net.parameters()] == [(2,)] and list(net.state_dict()) == ["parameters.0"]
    assert [p.shape for p in copy.deepcopy(net).parameters()] == [(2,)]


def test_a_class_that_finds_attributes_itself_is_asked_at_each_access():
    asked = []

    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))
            self.inner = nn.Linear(2, 1)
            self.register_buffer("scale", torch.ones(1))
            self.plain = 3

        def __getattr__(self, name):
            asked.append(name)
            return super().__getattr__(name)

    module = pickle.loads(pickle.dumps(nn.Linear(2, 3)))
    for m in (Asking(), copy.deepcopy(Asking())):
        asked.clear()
        assert m.plain == 3 and m.weight is m.weight and m.inner(m.weight * m.scale).shape == (1,)
        assert asked == ["weight", "weight", "inner", "weight", "scale"]
    m.weight = nn.Parameter(torch.ones(2))
    assert m.weight.sum() == 2 and not hasattr(m, "absent")
    weight, module.__class__ = module.weight, type("Converted", (Asking, nn.Linear), {})
    asked.clear()
    assert module.weight is weight and asked == ["weight"]
    module.__class__ = nn.Linear
    assert module.weight is weight and asked == ["weight"]
    del m.weight
    with pytest.raises(AttributeError, match="'Asking' object has no attribute 'weight'"):
        m.weight  # noqa: B018


def test_functions_of_torch_as_attributes_of_a_class_are_no_methods():
    class Net(torch.nn.Module):
        conv, act, pick = torch.conv2d, torch.tanh, torch.nn.functional.one_hot
        reset = torch.nn.Linear.reset_parameters
        twice = lambda self, x: 2 * x  # noqa: E731

    net = Net()
    x = torch.ones(1, 1, 2, 2)
    assert net.conv(x, weight=x).item() == 4 and net.act(torch.zeros(1)).item() == 0 and net.twice(3) == 6
    assert net.pick(torch.tensor(1), 3).tolist() == [0, 1, 0] and net.reset.__self__ is net


def test_a_handle_that_is_copied_with_its_module_removes_the_copys_hook():
    class Once(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls, self.handle = 0, self.register_forward_pre_hook(self.first)

        def first(self, module, args):
            assert module is self
            self.calls += 1
            self.handle.remove()

        def forward(self, x):
            return x

    block = nn.Sequential(Once())
    twin = copy.deepcopy(block)
    for made in (copy.deepcopy(twin), twin, block):
        assert [made(k) for k in range(3)] == [0, 1, 2]
        assert made[0].calls == 1 and not made[0]._forward_pre_hooks


def test_blank_lines_of_a_repr_stay_empty():
    class Listed(nn.Module):
        def extra_repr(self):
            return "a\n\nb\n"

    assert repr(nn.Sequential(Listed())).split("\n") == [
        "Sequential(", "  (0): Listed(", "    a", "", "    b", "", "  )", ")",
    ]  # fmt: skip


def test_names_of_properties_that_find_nothing_as_yet_may_be_registered():
    class Base(nn.Module):
        pass

    class Model(Base):
        @property
        def best(self):
            return super().best

        @property
        def size(self):
            return 1

    m = Model()
    m.register_buffer("best", torch.ones(2))
    assert m.best is m._buffers["best"]
    with pytest.raises(KeyError, match="already exists"):
        m.register_buffer("size", torch.ones(2))
    with pytest.raises(KeyError, match="already exists"):
        m.register_parameter("forward", None)


def test_classes_of_parameters_make_themselves_with_arguments_of_their_own():
    class Point(nn.Parameter):
        def __new__(cls, data, curvature, requires_grad=True):
            made = torch.Tensor._make_subclass(cls, data, requires_grad)
            made.curvature = curvature
            return made

    p = Point(torch.ones(2), curvature=3.0)
    assert isinstance(p, nn.Parameter) and p.curvature == 3.0 and p.requires_grad
    with pytest.raises(TypeError, match="curvature"):
        nn.Parameter(torch.ones(2), curvature=3.0)
    with pytest.raises(TypeError, match="unexpected"):
        nn.UninitializedParameter(curvature=3.0)


def test_backward_hooks_get_zeros_for_inputs_that_the_loss_does_not_rest_on():
    """A hook that takes the norm of each gradient must not meet None because a branch was not used."""

    class Two(nn.Module):
        def forward(self, a, b, c):
            return a * 2, b * 3, c * 4

    m, seen = Two(), []
    m.register_full_backward_hook(lambda mod, gi, go: seen.append((gi, go)))
    a, b, c = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True), torch.ones(1)
    out = m(a, b, c)
    assert [o.requires_grad for o in out] == [True, True, False]
    out[0].backward()
    (gi, go), = seen
    assert [g.item() for g in gi] == [2, 0, 0] and go[0].item() == 1 and go[1] is go[2] is None


def test_what_to_and_assignments_of_buffers_refuse():
    m = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="copy"):
        m.to("cpu", copy=True)
    for args in ((torch.device("cpu"), True), (None, True)):
        with pytest.raises(TypeError, match="invalid combination"):
            m.to(*args)
    m.taken = 5
    for name in ("taken", "weight"):
        with pytest.raises(KeyError if name == "taken" else TypeError):
            setattr(m, name, nn.Buffer(torch.ones(2)))

    class Forgetful(nn.Module):
        def __init__(self):
            self.b = nn.Buffer(torch.ones(2))

    with pytest.raises(AttributeError, match="cannot assign buffer before"):
        Forgetful()
    with pytest.raises(AttributeError, match="_parameters|_modules"):
        list(Forgetful.__new__(Forgetful).parameters())
