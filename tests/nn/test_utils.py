"""nn.utils: clipping, packing, parametrizations, pruning, fusion, stateless calls."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.nn.utils import parametrizations, parametrize, prune, rnn


def same(a, b, **kw):
    a, b = (x.detach().numpy() if isinstance(x, torch.Tensor) else np.asarray(x) for x in (a, b))
    np.testing.assert_allclose(a, b, **{"rtol": 1e-5, "atol": 1e-6, **kw})


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# ---- gradients -------------------------------------------------------------------------------------------------------

def with_grads(*grads):
    params = [nn.Parameter(torch.zeros(len(g))) for g in grads]
    for p, g in zip(params, grads, strict=True):
        p.grad = torch.tensor(g)
    return params


@pytest.mark.parametrize("kind, total", [(2.0, 13.0), (1, 19.0), (float("inf"), 12.0)])
def test_clip_grad_norm(kind, total):
    params = [*with_grads([3.0, -4.0], [12.0]), nn.Parameter(torch.zeros(2))]
    norm = nn.utils.clip_grad_norm_(params, 1.0, norm_type=kind)
    same(norm, total)
    same(params[0].grad, np.array([3, -4]) / total, rtol=1e-4)
    assert params[2].grad is None
    norm = nn.utils.clip_grad_norm_(iter(params), 100.0, norm_type=kind)  # small enough: left alone
    same(norm, 1.0, rtol=1e-4)
    same(params[1].grad, [12 / total], rtol=1e-4)


def test_clip_grad_norm_of_bad_gradients():
    with pytest.raises(RuntimeError, match="non-finite"):
        nn.utils.clip_grad_norm_(with_grads([float("nan")]), 1.0, error_if_nonfinite=True)
    assert nn.utils.clip_grad_norm_([], 1.0).item() == 0
    same(nn.utils.get_total_norm([torch.tensor([3.0]), torch.tensor([4.0])]), 5.0)
    params = with_grads([3.0, 4.0])
    nn.utils.clip_grads_with_norm_(params, 1.0, torch.tensor(5.0))
    same(params[0].grad, [0.6, 0.8])


def test_clip_grad_norm_records_the_same_few_operations_for_any_number_of_gradients():
    from pytorchlike.engine import flush, local
    from pytorchlike.engine.trie import Call

    def recorded(n):
        params = with_grads(*[[3.0, 4.0]] * n)
        flush()
        nn.utils.clip_grad_norm_(params, 1.0)
        calls = sum(type(e) is Call for e in local.trace.state.entries())
        same(params[-1].grad, np.array([3, 4]) / (5 * n**0.5), rtol=1e-4)
        return calls

    assert recorded(3) == recorded(9)


def test_clip_grad_norm_of_gradients_of_several_kinds():
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1, 3])).sum().backward()
    half = nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
    half.grad = torch.full((2,), 2.0, dtype=torch.bfloat16)
    shared = torch.zeros(4)  # gradients that are views of one buffer
    views = with_grads([0.0, 0.0], [0.0, 0.0])
    for p, part in zip(views, shared.split(2), strict=True):
        p.grad = part.fill_(2.0)
    x = torch.ones(2, requires_grad=True)
    (2 * x**3 / 3).sum().backward(create_graph=True)
    same(nn.utils.clip_grad_norm_([table.weight, half, *views, x], 3.0), 6.0, rtol=1e-4)  # half's norm is rounded
    same(table.weight.grad.to_dense()[1], [0.5, 0.5], rtol=1e-4)
    same(half.grad.float(), [1, 1])
    same(shared, [1, 1, 1, 1], rtol=1e-4)
    same(x.grad, [1, 1], rtol=1e-4)
    assert table.weight.grad.is_sparse and half.grad.dtype is torch.bfloat16 and x.grad.grad_fn is not None


def test_clip_grad_value():
    params = with_grads([3.0, -4.0], [0.5])
    nn.utils.clip_grad_value_(params, 1.0)
    assert params[0].grad.tolist() == [1, -1] and params[1].grad.tolist() == [0.5]


def test_parameters_as_one_vector():
    m = nn.Linear(2, 3)
    v = nn.utils.parameters_to_vector(m.parameters())
    assert v.shape == (9,)
    nn.utils.vector_to_parameters(torch.arange(9.0), m.parameters())
    assert m.weight.tolist() == [[0, 1], [2, 3], [4, 5]] and m.bias.tolist() == [6, 7, 8]


# ---- sequences -------------------------------------------------------------------------------------------------------

def test_packing_and_padding():
    parts = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0]), torch.tensor([5.0, 6.0])]
    padded = rnn.pad_sequence(parts, batch_first=True, padding_value=-1.0)
    assert padded.tolist() == [[1, 2, 3], [4, -1, -1], [5, 6, -1]]
    assert rnn.pad_sequence(parts, True, padding_side="left").tolist() == [[1, 2, 3], [0, 0, 4], [0, 5, 6]]
    packed = rnn.pack_padded_sequence(padded, torch.tensor([3, 1, 2]), batch_first=True, enforce_sorted=False)
    assert packed.data.tolist() == [1, 5, 4, 2, 6, 3] and packed.batch_sizes.tolist() == [3, 2, 1]
    assert packed.sorted_indices.tolist() == [0, 2, 1] and packed.unsorted_indices.tolist() == [0, 2, 1]
    back, lengths = rnn.pad_packed_sequence(packed, batch_first=True, padding_value=-1.0, total_length=4)
    assert back.tolist() == [[1, 2, 3, -1], [4, -1, -1, -1], [5, 6, -1, -1]] and lengths.tolist() == [3, 1, 2]
    assert [t.tolist() for t in rnn.unpack_sequence(packed)] == [p.tolist() for p in parts]
    assert [t.tolist() for t in rnn.unpad_sequence(padded, lengths, True)] == [p.tolist() for p in parts]
    assert rnn.pack_sequence(parts, enforce_sorted=False).data.tolist() == packed.data.tolist()
    assert packed.to(torch.float64).data.dtype == torch.float64


def test_packing_errors():
    x = torch.zeros(3, 2, 1)
    with pytest.raises(RuntimeError, match="sorted in decreasing order"):
        rnn.pack_padded_sequence(x, [1, 3])
    with pytest.raises(RuntimeError, match="lengths"):
        rnn.pack_padded_sequence(x, [3])
    with pytest.raises(RuntimeError, match="0|positive"):
        rnn.pack_padded_sequence(x, [3, 0])


def test_packed_rnn_ignores_padding():
    m = nn.LSTM(2, 3, batch_first=True, bidirectional=True)
    x = torch.randn(2, 4, 2)
    packed = rnn.pack_padded_sequence(x, [4, 2], batch_first=True)
    y, (h, _) = m(packed)
    y, _ = rnn.pad_packed_sequence(y, batch_first=True)
    alone, (h1, _) = m(x[1:, :2])
    same(y[1:, :2], alone)
    same(h[:, 1:], h1)
    assert not y[1, 2:].any()


def test_packed_sequences_of_ever_other_lengths_share_recurrences_down_to_one_step():
    """From the fourth length on a recurrence is given more steps than there are; the shortest come last here."""
    m = nn.LSTM(2, 3)
    for length in (9, 8, 7, 6, 5, 4, 3, 2, 1):
        x = torch.randn(length, 2, 2)
        y, (h, _) = m(rnn.pack_padded_sequence(x, [length, 1]))
        y, _ = rnn.pad_packed_sequence(y)
        alone, (h1, _) = m(x[:, :1])
        same(y[:, :1], alone)
        same(h[:, :1], h1)
        same(y[:1, 1:], m(x[:1, 1:])[0])
        assert y.shape == (length, 2, 3)


# ---- parametrizations ------------------------------------------------------------------------------------------------

class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T

    def right_inverse(self, a):
        return a.triu()


def test_parametrize():
    m = nn.Linear(3, 3)
    w = m.weight.detach().numpy().copy()
    parametrize.register_parametrization(m, "weight", Symmetric())
    assert parametrize.is_parametrized(m, "weight") and type(m).__name__ == "ParametrizedLinear"
    assert isinstance(m, nn.Linear) and parametrize.type_before_parametrizations(m) is nn.Linear
    want = np.triu(w) + np.triu(w, 1).T
    same(m.weight, want)
    assert [n for n, _ in m.named_parameters()] == ["bias", "parametrizations.weight.original"]
    m(torch.ones(1, 3)).sum().backward()
    assert not np.tril(m.parametrizations.weight.original.grad.numpy(), -1).any()
    with parametrize.cached():
        assert m.weight is m.weight
    m.weight = torch.eye(3)
    same(m.weight, np.eye(3))
    twin = copy.deepcopy(m)
    same(twin.weight, np.eye(3))
    parametrize.remove_parametrizations(m, "weight")
    assert type(m) is nn.Linear and isinstance(m.weight, nn.Parameter)
    same(m.weight, np.eye(3))
    with pytest.raises(ValueError, match="does not have a parameter"):
        parametrize.register_parametrization(m, "nothing", Symmetric())


def test_weight_norm():
    m = parametrizations.weight_norm(nn.Linear(4, 3))
    w = m.weight.detach().numpy()
    g, v = m.parametrizations.weight.original0, m.parametrizations.weight.original1
    assert g.shape == (3, 1) and v.shape == (3, 4)
    same(np.linalg.norm(w, axis=1), g.detach().numpy()[:, 0])
    with torch.no_grad():
        g.mul_(2)
    same(m.weight, 2 * w)


def test_spectral_norm():
    m = parametrizations.spectral_norm(nn.Linear(6, 4), n_power_iterations=5)
    for _ in range(10):
        w = m.weight
    same(np.linalg.norm(w.detach().numpy(), 2), 1.0, rtol=1e-3)
    m.eval()
    same(m.weight, m.weight)
    assert any(n.endswith("_u") for n in m.state_dict())


@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
def test_orthogonal(kind):
    m = parametrizations.orthogonal(nn.Linear(5, 3), orthogonal_map=kind)
    same(m.weight @ m.weight.T, np.eye(3), atol=1e-5)
    m(torch.randn(2, 5)).sum().backward()
    grad = m.parametrizations.weight.original.grad
    assert grad is not None and np.isfinite(grad.numpy()).all()
    q = torch.linalg.qr(torch.randn(5, 3))[0].T
    m.weight = q
    same(m.weight, q, atol=1e-5)


# ---- pruning ---------------------------------------------------------------------------------------------------------

def test_pruning():
    m = nn.Linear(4, 2)
    with torch.no_grad():
        m.weight.copy_(torch.tensor([[1.0, -2, 3, -4], [5, -6, 7, -8]]))
    prune.l1_unstructured(m, "weight", amount=0.25)
    assert m.weight.tolist() == [[0, 0, 3, -4], [5, -6, 7, -8]]
    assert [n for n, _ in m.named_parameters()] == ["bias", "weight_orig"] and prune.is_pruned(m)
    assert list(dict(m.named_buffers())) == ["weight_mask"]
    m(torch.ones(1, 4)).sum().backward()
    assert m.weight_orig.grad.tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    prune.ln_structured(m, "weight", amount=1, n=2, dim=0)
    assert m.weight.tolist() == [[0] * 4, [5, -6, 7, -8]]
    prune.remove(m, "weight")
    assert m.weight.tolist() == [[0] * 4, [5, -6, 7, -8]] and isinstance(m.weight, nn.Parameter)
    assert not prune.is_pruned(m) and "weight_mask" not in dict(m.named_buffers())
    with pytest.raises(ValueError, match="amount"):
        prune.random_unstructured(m, "weight", amount=1.5)


def test_global_and_random_pruning():
    a, b = nn.Linear(10, 10), nn.Linear(10, 10)
    with torch.no_grad():
        a.weight.mul_(100)
    prune.global_unstructured([(a, "weight"), (b, "weight")], prune.L1Unstructured, amount=90)
    assert (b.weight == 0).sum().item() >= 85
    c = prune.random_unstructured(nn.Linear(10, 10), "weight", amount=30)
    assert (c.weight == 0).sum().item() == 30
    d = prune.custom_from_mask(nn.Linear(2, 1), "weight", torch.tensor([[0, 1]]))
    assert d.weight[0, 0].item() == 0


# ---- fusion, stateless -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("make, norm, shape", [
    (lambda: nn.Conv2d(3, 4, 3), nn.BatchNorm2d, (2, 3, 5, 5)),
    (lambda: nn.Conv1d(3, 4, 3, bias=False), nn.BatchNorm1d, (2, 3, 6)),
])  # fmt: skip
def test_fuse_convolution_and_norm(make, norm, shape):
    conv, bn = make(), norm(4)
    bn(torch.randn(8, 4, *[3] * (len(shape) - 2)) * 3 + 1)
    conv, bn = conv.eval(), bn.eval()
    x = torch.randn(*shape)
    fused = nn.utils.fuse_conv_bn_eval(conv, bn)
    same(fused(x), bn(conv(x)), atol=1e-5)
    with pytest.raises(AssertionError):
        nn.utils.fuse_conv_bn_eval(conv.train(), bn)


def test_fuse_linear_and_norm():
    linear, bn = nn.Linear(3, 4), nn.BatchNorm1d(4)
    bn(torch.randn(8, 4) * 2 + 1)
    linear, bn = linear.eval(), bn.eval()
    x = torch.randn(5, 3)
    same(nn.utils.fuse_linear_bn_eval(linear, bn)(x), bn(linear(x)), atol=1e-5)


def test_functional_call():
    m = nn.Linear(2, 1)
    before = m.weight.detach().numpy().copy()
    w = torch.ones(1, 2, requires_grad=True)
    with pytest.warns(FutureWarning, match="functional_call"):
        y = nn.utils.stateless.functional_call(m, {"weight": w, "bias": torch.zeros(1)}, torch.tensor([[2.0, 3.0]]))
    assert y.item() == 5
    y.sum().backward()
    assert w.grad.tolist() == [[2, 3]] and m.weight.grad is None
    same(m.weight, before)


def test_skip_init():
    m = nn.utils.skip_init(nn.Linear, 3, 2)
    assert m.weight.shape == (2, 3) and m.weight.device.type == "cpu"


def test_masks_of_pruning_keep_their_dtype():
    """A mask has the parameter's dtype, whatever that of the scores is."""
    layer = nn.Linear(3, 2).half()
    nn.utils.prune.l1_unstructured(layer, "weight", 2, importance_scores=torch.rand(2, 3).double())
    nn.utils.prune.random_unstructured(layer, "bias", 1)
    assert layer.weight_mask.dtype == layer.bias_mask.dtype == torch.float16
