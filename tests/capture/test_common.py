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
            x = F.relu(layer(x))
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
        losses = [step(*b).item() for b in batches(6)]
        return losses, (step if what == "step" else model).capture if compiled else None

    plain, _ = train(False)
    losses, capture = train(True)
    assert losses == plain
    assert (capture.captures, capture.replays) == (1, 5), capture.refused


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
