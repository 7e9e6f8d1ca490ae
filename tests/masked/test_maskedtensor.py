"""MaskedTensor: values, masks, gradients and printing as PyTorch's."""

import copy
import io
import math

import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike.masked import MaskedTensor, as_masked_tensor, is_masked_tensor, masked_tensor

pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors")


@pytest.fixture
def x():
    data = torch.arange(12.0).reshape(3, 4) - 5
    mask = torch.tensor([[True, False, True, True], [False] * 4, [True, True, False, True]])
    return masked_tensor(data, mask)


def seen(t):
    """The elements, None where they are masked out."""
    data, mask = t.get_data().reshape(-1).tolist(), t.get_mask().reshape(-1).tolist()
    return [round(v, 4) if m else None for v, m in zip(data, mask, strict=True)]


def test_making_and_taking_apart(x):
    assert isinstance(x, torch.Tensor) and is_masked_tensor(x) and not is_masked_tensor(x.get_data())
    assert x.shape == (3, 4) and x.dtype is torch.float32 and x.layout is torch.strided and len(x) == 3
    assert x.to_tensor(0).tolist() == [[-5, 0, -3, -2], [0] * 4, [3, 4, 0, 6]]
    with pytest.warns(UserWarning, match="prototype"):
        masked_tensor(torch.ones(1), torch.ones(1) > 0)
    ones = torch.ones(2)
    for data, mask, kind, message in [
        ([1, 2], ones > 0, TypeError, "data must be a Tensor"), (ones, ones, TypeError, "mask must have dtype bool"),
        (ones, torch.ones(3) > 0, ValueError, "size"), (ones, torch.ones(2, 1) > 0, ValueError, "dim"),
        (ones.to(torch.complex64), ones > 0, TypeError, "complex64 is not supported"),
        (x, x.get_mask(), TypeError, "data must be a Tensor"),
    ]:  # fmt: skip
        with pytest.raises(kind, match=message):
            masked_tensor(data, mask)


def test_printing(x):
    assert repr(x) == ("MaskedTensor(\n  [\n    [ -5.0000,       --,  -3.0000,  -2.0000],\n"
                       "    [      --,       --,       --,       --],\n"
                       "    [  3.0000,   4.0000,       --,   6.0000]\n  ]\n)")  # fmt: skip
    assert repr(x.sum()) == "MaskedTensor(  3.0000, True)" and repr(x[0, 1]) == "MaskedTensor(--, False)"
    ints = masked_tensor(torch.arange(3), torch.tensor([True, False, True]))
    assert repr(ints) == "MaskedTensor(\n  [0,       --, 2]\n)" and repr(ints > 1) == (
        "MaskedTensor(\n  [False,       --, True]\n)")  # fmt: skip
    wide = masked_tensor(torch.tensor([0.0, 178482304.0, 1.0]), torch.tensor([True, True, False]))
    assert repr(wide) == "MaskedTensor(\n  [  0.0000, 178482304.0000,             --]\n)"


def test_arithmetic_keeps_the_mask(x):
    y = masked_tensor(x.get_data() * 2 + 1, x.get_mask())
    n = None
    assert seen(x + y) == [-14, n, -8, -5, n, n, n, n, 10, 13, n, 19] and seen(1 - x)[0] == 6
    assert seen(2 / x)[0] == -0.4 and seen(x**2)[2] == 9 and seen(-x.abs())[-1] == -6 and seen(x.exp())[8] == 20.0855
    assert seen(x + x.get_data()) == seen(2 * x) == seen(x.get_data() + x)
    assert seen(torch.ones(2, 1) * x[0]) == seen(x[0]) * 2 and seen(x == y)[:2] == [False, n]
    assert seen(torch.maximum(x, y))[8] == 7 and seen(x.clamp(-1, 1))[0] == -1
    assert seen(torch.add(x, y, alpha=2))[0] == -23
    with pytest.raises(ValueError, match="Input masks must match"):
        x + masked_tensor(x.get_data(), ~x.get_mask())
    before = seen(x)
    assert x.add_(1) is x and seen(x)[0] == before[0] + 1
    assert seen(torch.where(x.get_mask(), x, y)) == seen(x)
    with pytest.raises(NotImplementedError, match="get_data"):
        x @ x.t()


@pytest.mark.parametrize("name, of_all, by_row", [
    ("sum", 3, [-10, None, 13]), ("mean", 0.5, [-3.3333, None, 4.3333]), ("prod", -2160, [-30, None, 72]),
    ("amax", 6, [-2, None, 6]), ("amin", -5, [-5, None, 3]), ("argmax", 11, [3, None, 3]),
    ("var", 19.5, [2.3333, None, 2.3333]), ("std", 4.4159, [1.5275, None, 1.5275]), ("all", True, [True, None, True]),
    ("norm", 9.9499, [6.1644, None, 7.8102]),
])  # fmt: skip
def test_reductions(x, name, of_all, by_row):
    assert seen(getattr(x, name)()) == [of_all] and seen(getattr(torch, name)(x, dim=1)) == by_row
    assert getattr(x, name)(dim=1, keepdim=True).shape == (3, 1)


def test_reductions_of_nothing_and_of_all_columns(x):
    assert seen(x.sum(0)) == [-2, 4, -3, 4] and seen(x.argmin(0)) == [0, 2, 0, 0]
    nothing = masked_tensor(torch.ones(3), torch.zeros(3) > 1)
    assert seen(nothing.sum()) == [None] and seen(x.sum((0, 1))) == [3]
    assert seen(torch.logsumexp(x, 1)) == [-1.651, None, 6.1698] and seen(x.sum(dtype=torch.float64)) == [3]
    assert seen(x.var(0, unbiased=False))[0] == 16


def test_softmax(x):
    for found in (torch.softmax(x, 1), F.softmax(x, dim=-1)):
        assert seen(found) == [0.0351, None, 0.2595, 0.7054, *[None] * 4, 0.042, 0.1142, None, 0.8438]
    assert seen(F.log_softmax(x, 1))[0] == -3.349
    assert torch.masked.sum(x, 1).tolist() == [-10, 0, 13]  # an ordinary tensor
    assert torch.masked.mean(x, 1, mask=x.get_data() > 0).tolist()[2] == pytest.approx(13 / 3)


def test_shapes_and_indices(x):
    assert seen(x[0]) == [-5, None, -3, -2] and seen(x[:, 1:3]) == [None, -3, None, None, 4, None]
    assert x[None].shape == (1, 3, 4) and seen(x[torch.tensor([2])]) == [3, 4, None, 6]
    assert seen(x.t())[:3] == [-5, None, 3] and x.reshape(4, 3).shape == (4, 3) and x.view(-1).shape == (12,)
    assert x.unsqueeze(0).expand(2, 3, 4).shape == (2, 3, 4) and torch.stack([x, x]).shape == (2, 3, 4)
    assert seen(torch.cat([x, x]))[12:] == seen(x) and [len(p) for p in x.split(2)] == [2, 1]
    assert seen(x.unbind(0)[2]) == [3, 4, None, 6] and x.chunk(2)[1].shape == (1, 4)
    assert x.double().dtype is torch.float64 and seen(x.int())[0] == -5 and seen(x.bool())[:3] == [1, None, 1]


def test_reading(x):
    assert x.sum().item() == 3 and not bool(x[0, 0] > 0)
    for read in (lambda: x[0, 1].item(), lambda: x.numpy(), lambda: x.tolist()):
        with pytest.raises((ValueError, RuntimeError)):
            read()


@pytest.mark.parametrize("fn, grad", [
    (lambda a: a.sum(), [1, None, 1, 1]), (lambda a: a.mean(), [0.3333, None, 0.3333, 0.3333]),
    (lambda a: a.exp().sum(), [2.7183, None, 20.0855, 54.5981]), (lambda a: (a * a).sum(), [2, None, 6, 8]),
    (lambda a: (a * 3 + 1).sum(), [3, None, 3, 3]), (lambda a: a.prod(), [12, None, 4, 3]),
    (lambda a: a.amax(), [0, None, 0, 1]), (lambda a: (torch.softmax(a, 0) * a).sum(), [-0.0574, None, 0.0947, 0.9627]),
    (lambda a: (a**2).mean(), [0.6667, None, 2, 2.6667]), (lambda a: a.to_tensor(0).sum(), [1, None, 1, 1]),
    (lambda a: torch.log(a).sum(), [1, None, 0.3333, 0.25]), (lambda a: a.std(), [-0.5455, None, 0.1091, 0.4364]),
])  # fmt: skip
def test_gradients_are_masked(fn, grad):
    leaf = masked_tensor(torch.arange(4.0) + 1, torch.tensor([True, False, True, True]), requires_grad=True)
    fn(leaf).backward()
    assert is_masked_tensor(leaf.grad) and seen(leaf.grad) == pytest.approx(grad, abs=2e-4)


def test_gradients_reach_ordinary_tensors_and_no_nan_is_seen():
    data, mask = torch.arange(4.0, requires_grad=True), torch.tensor([True, False, True, True])
    t = as_masked_tensor(data, mask)
    assert t.requires_grad and not t.is_leaf
    (t * 2).sum().backward()
    assert data.grad.tolist() == [2, 0, 2, 2]
    t = masked_tensor(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([False, True, True]), requires_grad=True)
    (t / t).sum().backward()
    assert seen(t.grad) == [None, 0, 0] and math.isnan(t.grad.get_data()[0].item())


def test_what_is_masked_out_reaches_no_gradient_of_another_tensor():
    a, b = torch.tensor([1.0, 2.0, math.nan]), torch.tensor(1.0, requires_grad=True)
    t = masked_tensor(a, ~a.isnan()) * b
    t.sum().backward()
    assert b.grad.item() == 3 and math.isnan(t.get_data()[2].item())
    data = torch.tensor([-1.0, 4.0], requires_grad=True)
    as_masked_tensor(data, data > 0).sqrt().sum().backward()
    assert data.grad.tolist() == [0, 0.25]


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse_data_and_masks(layout):
    data = torch.tensor([[0.0, 0.0, 3.0], [4.0, 0.0, math.inf]]).to_sparse(layout=layout)
    places = torch.tensor([[False, False, True], [True, False, False]]).to_sparse(layout=layout)
    t = masked_tensor(data, places, requires_grad=True)
    assert t.is_sparse and t.layout is layout and (t.is_sparse_coo(), t.is_sparse_csr()) == (
        layout is torch.sparse_coo, layout is torch.sparse_csr)  # fmt: skip
    assert t.get_data().layout is t.get_mask().layout is layout and t.get_data().values().tolist() == [3, 4]
    u = t * t
    dense = u.to_dense()
    assert u.layout is layout and not dense.is_sparse and seen(dense) == [None, None, 9, 16, None, None]
    u.sum().backward()
    assert seen(t.grad.to_dense()) == [None, None, 6, 8, None, None] and t.grad.layout is layout
    again = dense.detach()
    again = again.to_sparse_coo() if layout is torch.sparse_coo else again.to_sparse_csr()
    assert again.layout is layout and seen(copy.deepcopy(again).to_dense()) == seen(dense)
    with pytest.raises(TypeError, match="same layout"):
        masked_tensor(data, places.to_dense())
    with pytest.raises(TypeError, match="layout of torch.sparse_csc"):
        masked_tensor(data.to_dense().to_sparse_csc(), places.to_dense().to_sparse_csc())


def test_copies_and_files(x):
    again = copy.deepcopy(x)
    file = io.BytesIO()
    torch.save(x, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert type(again) is type(loaded) is MaskedTensor and seen(again) == seen(loaded) == seen(x)
