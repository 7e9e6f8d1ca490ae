"""Images that stay channels-last inside a program: the same values and gradients as operation by operation."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.engine import flush, layout
from pytorchlike.engine.config import config
from pytorchlike.nn import functional as F

N, C = 2, 4


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, C, 5, padding=2)
        self.norm = nn.BatchNorm2d(C)
        self.second = nn.Conv2d(C, C, 5, padding=2)
        self.third = nn.Conv2d(C, C, 5, padding=2)


def residual(net, x):
    x = F.relu(net.norm(net.first(x)))
    return (x + net.second(x).tanh()).pow(2).sum()


def pooled(net, x):
    x = F.max_pool2d(net.first(x), 2)
    x = F.avg_pool2d(net.second(x), 3, 1, 1) + F.adaptive_avg_pool2d(x, 1)
    return x.square().sum()


def what_comes_out(net, x):
    y = net.first(x)
    net.kept = y.detach(), F.gelu(y.detach())
    return y.sum() + net.kept[1].sum()


def moved_and_not(net, x):
    y = net.first(x)
    z = torch.cat([y[:, :2] * 2, y[:, 2:]], 1) + x[:, :1]
    return net.second(z * torch.arange(1.0, 5.0).reshape(1, C, 1, 1)).reshape(N, -1).softmax(1).pow(2).sum()


def rows_broadcast(net, x):
    return (net.first(x) * torch.arange(8.0)).sin().sum()


def in_a_loop(net, x):
    h = net.first(x)
    for _ in range(9):
        h = torch.tanh(net.second(h)) + h
    return h.sum()


def second_order(net, x):
    y = F.silu(net.second(F.relu(net.first(x)))).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    return g.pow(2).sum() + y


def hooks_inside(net, x):
    y = net.first(x)
    y.register_hook(lambda g: g * 2)
    y.retain_grad()
    net.interior = y
    return net.second(F.relu(y)).pow(2).sum()


def in_place(net, x):
    y = F.relu(net.first(x), inplace=True)
    y += 1
    y[:, 0] = 3
    return net.second(y.mul_(2)).pow(2).sum()


def two_backwards(net, x):
    y = net.first(x)
    y.sum().backward(retain_graph=True)
    return (y * y).sum()


def without_batch(net, x):
    return net.second(F.relu(net.first(x[0]))).pow(2).sum()


def evaluated(net, x):
    net.norm.eval()
    return net.third(net.norm(net.second(x.repeat(1, 2, 1, 1)[:, :C]))).pow(2).sum()


def half(net, x):
    with torch.autocast("cpu"):
        y = F.relu(net.norm(net.first(x)))
        return net.second(y).float().pow(2).mean()


CASES = [residual, pooled, what_comes_out, moved_and_not, rows_broadcast, in_a_loop, second_order, hooks_inside,
         in_place, two_backwards, without_batch, evaluated, half]  # fmt: skip


def outcome(case, tier, monkeypatch, read=False):
    monkeypatch.setattr(config, "tier", tier)
    torch.manual_seed(0)
    net, x = Net(), torch.randn(N, 3, 8, 8).requires_grad_()
    flush()
    loss = case(net, x)
    if read:
        loss.item()
    loss.backward()
    values = [loss, x.grad, *(p.grad for p in net.parameters() if p.grad is not None), *net.buffers()]
    values += [*getattr(net, "kept", ())] + ([net.interior.grad] if hasattr(net, "interior") else [])
    return [v.detach().numpy() for v in values]


@pytest.mark.parametrize("read", [False, True], ids=["", "loss read before"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__)
def test_channels_last_equals_operation_by_operation(case, read, monkeypatch):
    made = []
    plain = layout.Last.__init__

    def init(self, array):
        made.append(array.shape)
        plain(self, array)

    monkeypatch.setattr(layout.Last, "__init__", init)
    found = outcome(case, "fused", monkeypatch, read)
    assert bool(made) == (case is not without_batch)
    wanted = outcome(case, "ops", monkeypatch, read)
    assert len(found) == len(wanted)
    tolerance = 2e-2 if case is half else 2e-5
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        if 0 < np.abs(b).max() < 1e-4:  # a bias before a norm: its gradient is nothing but rounding, in both
            assert np.abs(a).max() < 1e-4
        else:
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1, np.abs(b).max()))


def test_between_convolutions_nothing_is_moved(monkeypatch):
    """The program of a residual block moves the image in, the result out, and nothing else that has channels."""
    monkeypatch.setattr(config, "tier", "fused")
    moved = []
    plain = layout._last

    def last(a):
        moved.append(type(a) is layout.Last)
        return plain(a)

    monkeypatch.setattr(layout, "_last", last)
    net, x = Net(), torch.randn(N, 3, 8, 8)
    flush()
    with torch.no_grad():
        y = F.relu(net.norm(net.first(x)))
        y = net.third(y + F.relu(net.second(y))).sum().item()
    assert moved.count(False) == 1 and moved.count(True) >= 6


def test_a_gradient_of_what_was_executed_stays_moved(monkeypatch):
    """The way back over a trace that was executed moves what was kept of it; cotangents stay as they are in between."""
    monkeypatch.setattr(config, "tier", "fused")
    moved = []
    plain = layout._last

    def last(a):
        moved.append((type(a) is layout.Last, a.array.shape if type(a) is layout.Last else a.shape))
        return plain(a)

    net, x = Net(), torch.randn(N, 3, 8, 8)
    flush()
    loss = net.third(F.relu(net.norm(net.second(net.first(x))))).pow(2).sum()
    loss.item()
    monkeypatch.setattr(layout, "_last", last)
    loss.backward()
    net.first.weight.grad.sum().item()
    # five images that were kept, and the cotangent that the last convolution gets
    assert sum(not was for was, _ in moved) == 6 and sum(was for was, _ in moved) == 4


def test_a_way_back_through_depthwise_convolutions_is_plain(monkeypatch):
    monkeypatch.setattr(config, "tier", "fused")
    moved = []
    monkeypatch.setattr(layout, "_last", lambda a, plain=layout._last: moved.append(a) or plain(a))
    net = nn.Sequential(nn.Conv2d(3, C, 5), nn.ReLU(), nn.Conv2d(C, C, 3, groups=C), nn.Conv2d(C, C, 1))
    flush()
    loss = net(torch.randn(N, 3, 8, 8)).pow(2).sum()
    loss.item()
    moved.clear()
    loss.backward()
    net[0].weight.grad.sum().item()
    assert not moved
