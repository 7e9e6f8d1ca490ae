"""``torch.compile`` of what ordinary programs do: it is replayed, and a replay loses nothing."""

import gc
import weakref

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.places = nn.Embedding(4, 4)

    def forward(self, ids, targets):
        x = F.one_hot(ids, 4).float() + self.places(torch.arange(ids.shape[1]))
        for layer in self.layers[:-1]:  # makes a module
            x = F.dropout(F.relu(layer(x)), 0.1)
        x = self.layers[-1](x) * torch.tensor([1.0, 2.0, 3.0, 4.0])
        return F.cross_entropy(x.view(-1, 4), targets.reshape(-1))


def batches(n):
    rng = np.random.default_rng(0)
    rows = [torch.tensor(rng.integers(0, 4, (2, 5))) for _ in range(n)]
    return [(row[:, :-1], row[:, 1:]) for row in rows]


@pytest.mark.parametrize("what", ["step", "model"])
def test_training_is_replayed_and_gives_the_bits_of_the_plain_loop(what):
    def train(compiled):
        torch.manual_seed(0)
        net = Net()
        opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        model = torch.compile(net) if compiled and what == "model" else net

        def step(ids, targets):
            opt.zero_grad()
            loss = model(ids, targets)
            loss.backward()
            opt.step()
            return loss

        if compiled and what == "step":
            step = torch.compile(step)
        schedule = torch.optim.lr_scheduler.StepLR(opt, 2, 0.5)
        losses = []
        for k, batch in enumerate(batches(8)):
            loss = step(*batch)
            schedule.step()
            losses.append(loss if k % 3 else loss.item())  # some are read later, when more has run
        read = [x if isinstance(x, float) else x.item() for x in losses]
        return read, (step if what == "step" else model).capture if compiled else None

    plain, _ = train(False)
    losses, capture = train(True)
    assert losses == plain
    assert (capture.captures, capture.replays) == (1, 7), capture.refused


def classifying(net, opt):
    def step(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss

    return step


def test_a_replayed_step_gives_the_old_weights_memory_to_the_new_ones():
    weight = nn.Parameter(torch.randn(64, 64))
    opt = torch.optim.SGD([weight], lr=0.1)

    @torch.compile
    def step(x):
        opt.zero_grad()
        loss = (x @ weight).square().mean()
        loss.backward()
        opt.step()
        return loss

    x = torch.randn(8, 64)
    step(x)
    for _ in range(2):
        before = weight.data_ptr()
        step(x)
        assert weight.data_ptr() == before
    assert step.capture.replays == 2


def test_a_replayed_step_that_fails_its_data_check_leaves_the_weights():
    net = nn.Linear(4, 3)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)

    step = torch.compile(classifying(net, opt))
    x = torch.randn(2, 4)
    for _ in range(4):
        step(x, torch.tensor([0, 2])).item()
    before = net.weight.detach().clone()
    with pytest.raises(IndexError, match="out of bounds"):
        step(x, torch.tensor([0, 7])).item()
    assert torch.equal(net.weight, before)
    step(x, torch.tensor([0, 2])).item()
    assert not torch.equal(net.weight, before)
    assert step.capture.replays == 5


def test_weights_that_somebody_holds_are_not_overwritten_by_a_replayed_step():
    weight = nn.Parameter(torch.ones(3))
    opt = torch.optim.SGD([weight], lr=0.5)

    @torch.compile
    def step(x):
        opt.zero_grad()
        loss = (weight * x).sum()
        loss.backward()
        opt.step()
        return loss

    x = torch.ones(3)
    step(x)
    kept = []
    for k in range(6):
        if k % 3 == 0:
            kept.append(weight.detach())  # shows the weights as they are later, as in PyTorch
        else:
            kept.append(weight.jax() if k % 3 == 1 else weight * 2)
        step(x)
    assert [t.tolist()[0] for t in kept] == [-2.5, 0.0, -1.0, -2.5, -1.5, -4.0]
    assert weight.requires_grad and step.capture.replays == 6


def test_a_first_call_whose_weights_have_an_alias_leaves_them_leaves():
    weight = nn.Parameter(torch.ones(3))
    seen = weight.detach()
    opt = torch.optim.SGD([weight], lr=0.5)

    @torch.compile
    def step():
        opt.zero_grad()
        weight.sum().backward()
        opt.step()

    for _ in range(3):
        step()
    assert weight.is_leaf and weight.requires_grad
    assert weight.tolist() == seen.tolist() == [-0.5] * 3


def test_what_a_function_writes_to_and_returns_is_the_tensor_itself():
    total = torch.zeros(2)
    add = torch.compile(lambda x: total.add_(x))
    double = torch.compile(lambda x: (x.mul_(2), x + 1))
    same = torch.compile(lambda x, mask=None: (x if mask is None else x * mask, x + 1))
    for k in range(1, 5):
        x = torch.full((2,), float(k))
        assert add(x) is total
        assert total.tolist() == [k * (k + 1) / 2] * 2
        first, second = double(x)
        assert first is x and x.tolist() == [2.0 * k] * 2 and second.tolist() == [2.0 * k + 1] * 2
        assert same(x)[0] is x
    assert [f.capture.replays for f in (add, double, same)] == [3, 3, 3]


GENERATOR = np.random.default_rng(0)


class Holder:
    def __init__(self):
        self.rng = np.random.default_rng(1)


HOLDER = Holder()


@pytest.mark.parametrize("fn", [
    lambda x: x * np.random.rand(),
    lambda x: x * GENERATOR.random(),
    lambda x: x * HOLDER.rng.random(),
    lambda x: x[torch.tensor([int(i) for i in np.random.permutation(64)])],
], ids=["module", "generator", "attribute", "permutation"])  # fmt: skip
def test_random_numbers_of_numpy_are_drawn_at_each_call(fn):
    compiled = torch.compile(fn)
    x = torch.arange(1.0, 65)
    drawn = {tuple(compiled(x).tolist()) for _ in range(4)}
    assert len(drawn) == 4


def test_arrays_and_slices_of_arguments_are_those_of_each_call():
    shifted = torch.compile(lambda x: (x[:, 1:] - x[:, :-1]).sum())
    stacked = torch.compile(lambda x, y: torch.stack([x, y]).sum(1))
    rng = np.random.default_rng(0)
    for _ in range(3):
        data = rng.standard_normal((3, 4)).astype(np.float32)
        assert np.allclose(shifted(torch.tensor(data)).item(), np.diff(data).sum(), atol=1e-5)
        assert np.allclose(stacked(torch.tensor(data[0]), torch.tensor(data[1])).numpy(), data[:2].sum(1), atol=1e-5)
    assert (shifted.capture.replays, stacked.capture.replays) == (2, 2)


def test_a_tensor_of_an_array_made_inside_is_not_kept():
    noted = []

    def make():
        noted.append(1)
        return np.full(2, len(noted), np.float32)

    fn = torch.compile(lambda x: x + torch.tensor(make()))
    assert [fn(torch.zeros(2))[0].item() for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("transformed", [
    lambda x: torch.vmap(torch.sin)(x),
    lambda x: torch.compile(torch.sin)(x),
    lambda x: torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,)),
], ids=["vmap", "compile", "cond"])  # fmt: skip
def test_recordings_let_go_of_their_inputs(transformed):
    gc.collect()
    gc.disable()
    try:
        x = torch.randn(3)
        x.add_(1)
        float(x[0])
        value = x._value
        ref = weakref.ref(value) if hasattr(type(value), "__weakref__") else weakref.ref(x)
        float(transformed(x)[0])
        del x, value
        assert ref() is None
    finally:
        gc.enable()


class Places(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.randn(10, 4).unsqueeze(0))  # a view

    def forward(self, x):
        return x + self.table[:, : x.size(1)]


@pytest.mark.parametrize("fn", [
    Places(),
    lambda x: (x * 2).transpose(1, 2),
    lambda x: [y := (x * 2).contiguous(), y.flatten(1)[:, 1:]][1],
    lambda x: x[:, [0, 2]] + x[:, range(2)],
    lambda x: x[:, *torch.tril_indices(3, 4)],
    lambda x: torch.distributions.Normal(x, 1.0).log_prob(torch.tensor(0.5)),
], ids=["buffer", "transposed", "flattened", "list", "triangle", "distribution"])  # fmt: skip
def test_views_buffers_and_indices_are_replayed_with_their_layout(fn):
    compiled = torch.compile(fn)
    for k in range(3):
        x = torch.randn(2, 3, 4) + k
        got, plain = compiled(x), fn(x)
        assert torch.equal(got, plain) and got.stride() == plain.stride()
    compiled(x)
    assert compiled.capture.replays >= 2, compiled.capture.refused  # a first call may import something


READS = {
    "item": (lambda x, n: x * n.item(), torch.tensor),
    "bool": (lambda x, n: x * 2 if n else x, lambda k: torch.tensor(k % 2 == 0)),
    "compared": (lambda x, n: x * 2 if n > 1 else x, torch.tensor),
    "list": (lambda x, n: x * n.tolist()[0], lambda k: torch.tensor([k])),
    "array": (lambda x, n: x * n.numpy()[0], lambda k: torch.tensor([k])),
    "slice": (lambda x, n: x[:n], torch.tensor),
    "range": (lambda x, n: sum([x] * int(n)), lambda k: torch.tensor(k + 1)),
    "arange": (lambda x, n: torch.arange(n).sum() + x, lambda k: torch.tensor(k + 1)),
    "full": (lambda x, n: torch.full((5,), n) + x, lambda k: torch.tensor(float(k))),
    "text": (lambda x, n: x * float(f"{n}"), lambda k: torch.tensor(float(k))),
    "row": (lambda x, n: x * n[1], lambda k: torch.tensor([0.0, float(k)])),
    "number as index": (lambda x, n: x[n], torch.tensor),
    "indices": (lambda x, n: x[n], lambda k: torch.tensor([k])),
    "mask": (lambda x, n: x[n], lambda k: torch.arange(5) <= k),
    "counted": (lambda x, n: torch.bincount(n), lambda k: torch.tensor([k, 1])),
    "repeated": (lambda x, n: x[:2].repeat_interleave(n), lambda k: torch.tensor([k, 1])),
    "assigned": (lambda x, n: x.clone().index_fill_(0, n, 9.0), lambda k: torch.tensor([k])),
    "set": (lambda x, n: [y := x.clone(), y.__setitem__(n, 9.0)][0], torch.tensor),
    "cloned": (lambda x, n: n.clone() * x, torch.tensor),
    "made of": (lambda x, n: torch.tensor([n[0].item()] * 5) * x, lambda k: torch.tensor([float(k)])),
    "segments": (lambda x, n: torch.segment_reduce(x, "sum", lengths=n), lambda k: torch.tensor([k, 5 - k])),
}


@pytest.mark.parametrize("where", ["host", "device", "shared"])
@pytest.mark.parametrize("name", READS)
def test_the_value_of_an_argument_is_that_of_each_call(name, where):
    fn, make = READS[name]
    compiled = torch.compile(fn)
    for k in (0, 3, 2):
        x, n = torch.arange(1.0, 6), make(k)
        if where == "device":  # computed, not made of host data
            n = n & True if n.dtype == torch.bool else n + torch.zeros((), dtype=n.dtype)
            float(n.sum())
        elif where == "shared":
            n = torch.from_numpy(n.numpy().copy())
        assert torch.equal(compiled(x, n), fn(x, n))


def test_a_buffer_that_decides_is_read_at_each_call():
    net = nn.Linear(2, 2)
    net.register_buffer("count", torch.zeros((), dtype=torch.long))

    @torch.compile
    def step(x):
        net.count += 1
        return net(x) if net.count < 3 else x

    x = torch.ones(1, 2)
    assert [step(x) is x for _ in range(4)] == [False, False, True, True]


def test_an_index_out_of_range_is_found_in_a_replay():
    pick = torch.compile(lambda x, n: x[n])
    embed = torch.compile(lambda x, n: F.embedding(n, x))
    x = torch.randn(5, 2)
    for n in (1, 4, 2):
        pick(x, torch.tensor([n])), embed(x, torch.tensor([n]))
    for fn in (pick, embed):
        with pytest.raises(IndexError):
            fn(x, torch.tensor([7])).tolist()


@pytest.mark.parametrize("compiled", [False, True])
def test_an_error_in_an_earlier_step_that_nobody_read_leaves_the_weights_of_the_later_ones(compiled):
    net = nn.Linear(4, 3)
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    step = classifying(net, opt)
    if compiled:
        step = torch.compile(step)
    x = torch.randn(2, 4)
    good, bad = torch.arange(2), torch.arange(2) * 7  # computed: not looked at on the host
    assert good.sum().item() + bad.sum().item() == 8
    for _ in range(4):
        step(x, good)
    with pytest.raises(IndexError, match="out of bounds"):
        for k in range(40):  # raised when the flags have arrived, which nobody waits for
            step(x, bad if k == 1 else good)
        float(net.weight[0, 0])
    assert torch.isfinite(net.weight).all() and torch.isfinite(opt.state[net.weight]["momentum_buffer"]).all()
    step(x, good).item()


def test_parts_at_integers_that_a_compiled_function_is_given_are_views():
    @torch.compile
    def raised(x, scores, t):
        row = x[t]
        row += 1
        x[scores.argmax()].mul_(3)
        return x.sum()

    for t, best in ((0, 1), (1, 1), (2, 0), (0, 2)):
        x, scores = torch.ones(3, 2), torch.zeros(3)
        scores[best] = 1
        assert raised(x, scores, torch.tensor(t)).item() == (16 if t == best else 12)
        assert x[best].tolist() == [6 if t == best else 3] * 2


def test_labels_from_the_host_may_be_used_again_and_again():
    net = nn.Linear(4, 3)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)

    step = torch.compile(classifying(net, opt))
    x, labels = torch.randn(2, 4), [torch.tensor([0, 1]), torch.tensor([2, 0])]
    for _ in range(3):
        step(x, labels[0])
    losses = [step(x, labels[1]).item() for _ in range(12)]  # those of the second are copied once the program is known
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("how", ["in place", "data", "part"])
def test_weights_that_are_constrained_before_they_are_used_keep_their_gradients(how):
    """The first call is recorded, and gives gradients as the others do, though it writes to a weight as well."""

    def train(compiled):
        w = (torch.arange(6.0) * 0.4).reshape(3, 2).requires_grad_()
        b = torch.zeros(2, requires_grad=True)

        def step(x, k):
            if how == "in place":
                with torch.no_grad():
                    w.mul_(0.9).clamp_(-1, 1)
            elif how == "data":
                w.data = torch.renorm(w.data, 2, 0, 1.0)
            else:
                w.data[0].clamp_(0.1, 0.2)
            h = x @ w + b * k
            return F.dropout(h, 0.0).sum(), h

        fn = torch.compile(step) if compiled else step
        opt = torch.optim.SGD([w, b], lr=0.1, momentum=0.5)
        out = []
        for i in range(3):
            loss, h = fn(torch.ones(1, 3) * (i - 0.5), float(i))
            opt.zero_grad()
            (loss + h.sin().sum()).backward()
            out.append((loss.item(), w.grad.tolist(), b.grad.tolist()))
            opt.step()
        return out, w.tolist(), w.is_leaf

    assert train(True) == train(False)


@pytest.mark.parametrize(("dynamic", "captures"), [(None, 4), (True, 1), (False, 7)])
def test_ever_other_sizes_are_captured_a_few_times_only(dynamic, captures):
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    fast = torch.compile(lambda x: layer(x).relu().mean(0), dynamic=dynamic)
    for n in (2, 3, 4, 5, 6, 7, 8, 3, 7):
        x = torch.randn(n, 3)
        torch.testing.assert_close(fast(x), layer(x).relu().mean(0))
    assert fast.capture.captures == captures


def test_callbacks_of_the_garbage_collector_are_none_of_the_functions_doing(monkeypatch):
    def collected(phase, info):
        global _phase
        _phase = phase

    @torch.compile
    def fast(x):
        gc.collect()
        return x * 2

    monkeypatch.setattr(gc, "callbacks", [*gc.callbacks, collected])
    for _ in range(3):
        assert fast(torch.ones(2)).tolist() == [2, 2]
    assert fast.capture.replays == 2, fast.capture.refused
