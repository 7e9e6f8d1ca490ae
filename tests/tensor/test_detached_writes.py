"""What a detached tensor computes into memory that it shares is on the tape for itself and its views only."""

import pytest

import pytorchlike as torch
from pytorchlike import nn


@pytest.fixture
def g():
    return nn.Parameter(torch.arange(3.0))


def test_a_frozen_weight_filled_through_data_stays_a_leaf(g):
    """Ultralytics' DFL layer: ``conv.weight.data[:] = nn.Parameter(...)``."""
    conv = nn.Conv2d(3, 1, 1, bias=False).requires_grad_(False)
    conv.weight.data[:] = nn.Parameter(torch.arange(3.0).view(1, 3, 1, 1))
    assert conv.weight.is_leaf and not conv.weight.requires_grad and conv.weight.flatten().tolist() == [0, 1, 2]
    torch.optim.SGD([{"params": [conv.weight.requires_grad_()]}], lr=0.1)
    norm = nn.BatchNorm1d(3)
    norm.running_mean.data.copy_(g)
    assert not norm.running_mean.requires_grad and norm.running_mean.tolist() == [0, 1, 2]


@pytest.mark.parametrize("part", [slice(None), slice(1, 3)])
@pytest.mark.parametrize("how", ["data", "set_"])
def test_whether_it_is_a_leaf_is_its_own_affair(part, how):
    """Flat parameters: memory of others that is given to a parameter, which is frozen and thawed."""
    flat = torch.arange(4.0)
    p = torch.zeros_like(flat[part])
    if how == "data":
        p.data = flat[part]
    else:
        p.set_(flat[part])
    for _ in range(2):
        p.requires_grad_()
        assert not flat.requires_grad and not flat[1:].requires_grad
        flat[1:].add_(1)
        p.requires_grad_(False)
        flat.add_(1)
    p.requires_grad_()
    (p * flat.sum()).sum().backward()
    assert p.grad.tolist() == [20.0] * len(p) and flat.grad is None and p.tolist() == flat[part].tolist()


def test_a_leaf_over_computed_numbers_leaves_their_history(g):
    h = g * 2
    y = h.detach().requires_grad_()
    h.add_(1)
    assert h[1:].requires_grad and y.tolist() == [1, 3, 5]
    y.requires_grad_(False)
    y.detach_()
    h[1:].sum().backward()
    assert g.grad.tolist() == [0, 2, 2] and y.grad is None


@pytest.mark.parametrize("make", [torch.Tensor.detach, lambda t: t.data])
def test_others_see_the_numbers_only(g, make):
    base = torch.zeros(4)
    view = base[1:]
    part = make(base)
    part[1] = g[2]
    assert part.requires_grad and not part.is_leaf
    for t in (base, view):
        assert t.is_leaf and not t.requires_grad
    assert base.tolist() == [0, 2, 0, 0] and view.tolist() == [2, 0, 0]
    base[2] = g[1] * 3  # now it computes itself
    assert base.requires_grad
    base.sum().backward()
    assert g.grad.tolist() == [0, 3, 0]


def test_views_of_a_detached_tensor_belong_to_it(g):
    own = torch.zeros(4).detach()
    own[1:].add_(g)
    own[2:].mul_(3)
    (own * own).sum().backward()
    assert own.tolist() == [0, 0, 3, 6] and g.grad.tolist() == [0, 18, 36]

    base, g.grad = torch.zeros(4), None
    part = base.detach()
    view = part[1:]
    view.add_(g)
    with torch.no_grad():
        part[1] = 7.0  # without a trace on the tape
    assert part.requires_grad and view.requires_grad and not base.requires_grad
    inner = part.detach()
    assert not inner.requires_grad
    part.sum().backward()
    assert g.grad.tolist() == [1, 1, 1] and base.tolist() == [0, 7, 1, 2]


def test_what_others_write_leaves_a_detached_tensors_own_history():
    t, y = torch.ones(4), torch.ones(4, requires_grad=True)
    d = t.detach()
    d.mul_(y)  # on the tape for itself: t is not
    t[0] = 5
    v = t[1:3]
    v.add_(1)
    assert d.tolist() == t.tolist() == [5, 2, 2, 1] and v.tolist() == [2, 2]
    assert d.requires_grad and not t.requires_grad and not v.requires_grad
    (grad,) = torch.autograd.grad((d * d).sum(), y)
    assert grad.tolist() == [10, 4, 4, 2]
