"""Nested tensors: what is done to them is done to every component."""

import copy
import io
import pickle

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.compiler import stats
from pytorchlike.nn import functional as F

A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.arange(12, dtype=np.float32).reshape(4, 3) / 2 - 2
PARTS = (A, B)


def nested(layout=torch.jagged, parts=PARTS, **kwargs):
    return torch.nested.nested_tensor([torch.tensor(p) for p in parts], layout=layout, **kwargs)


def same(got, want):
    """A nested tensor against its components."""
    got = got.unbind()
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert tuple(g.shape) == np.shape(w)
        np.testing.assert_allclose(g.detach().numpy(), w, rtol=1e-5, atol=1e-6)


def each(function, *args):
    return [function(torch.tensor(p), *args).numpy() for p in PARTS]


LAYOUTS = pytest.mark.parametrize("layout", [torch.jagged, torch.strided], ids=["jagged", "strided"])


@LAYOUTS
def test_making_and_taking_apart(layout):
    t = nested(layout)
    same(t, PARTS)
    assert t.is_nested and t.layout == layout and (t.dim(), t.size(0), t.size(2), t.numel(), len(t)) == (3, 2, 3, 18, 2)
    assert t[1].shape == (4, 3) and t[-1, 0].tolist() == B[0].tolist() and [c.shape[0] for c in t] == [2, 4]
    padded = np.full((2, 4, 3), -1, np.float32)
    padded[0, :2], padded[1] = A, B
    np.testing.assert_array_equal(t.to_padded_tensor(-1.0).numpy(), padded)
    assert torch.nested.to_padded_tensor(t, 0.0, (3, 5, 4)).shape[1:] == (5, 4)
    with pytest.raises(RuntimeError, match="output_size"):
        t.to_padded_tensor(0.0, (2, 3, 3))
    with pytest.raises(IndexError):
        t[2]


def test_offsets_lengths_and_values():
    t = nested()
    assert t.offsets().tolist() == [0, 2, 6] and t.lengths() is None
    np.testing.assert_array_equal(t.values().numpy(), np.concatenate(PARTS))
    assert "j" in repr(t.shape) and t.size(1) == t.shape[1] and t.size(1) != nested().size(1)
    with pytest.raises(RuntimeError, match="irregular"):
        nested(torch.strided).size(1)
    with pytest.raises(AttributeError):
        nested(torch.strided).offsets()


def test_from_jagged_values():
    values = torch.arange(10.0)
    t = torch.nested.nested_tensor_from_jagged(values, torch.tensor([0, 4, 10]))
    same(t, [np.arange(4), np.arange(4, 10)])
    same(torch.nested.nested_tensor_from_jagged(values, lengths=torch.tensor([4, 6])), [np.arange(4), np.arange(4, 10)])
    holes = torch.nested.nested_tensor_from_jagged(values, torch.tensor([0, 4, 10]), torch.tensor([2, 3]))
    same(holes * 2, [[0, 2], [8, 10, 12]])
    assert holes.sum().item() == 16 and holes.sum(1).tolist() == [1, 15] and not holes.is_contiguous()
    same(holes.contiguous(), [[0, 1], [4, 5, 6]])
    wide = torch.arange(12.0).reshape(2, 6)
    turned = torch.nested.nested_tensor_from_jagged(wide, torch.tensor([0, 2, 6]), jagged_dim=2)
    assert turned[1].shape == (2, 4)
    with pytest.raises(RuntimeError, match="At least one of offsets or lengths"):
        torch.nested.nested_tensor_from_jagged(values)
    with pytest.raises(RuntimeError, match="ascend within the 10 rows"):
        torch.nested.nested_tensor_from_jagged(values, torch.tensor([0, 11]))


def test_narrow_and_masked_select():
    x = torch.arange(24.0).reshape(2, 4, 3)
    t = torch.nested.narrow(x, 1, torch.tensor([0, 1]), torch.tensor([2, 3]), layout=torch.jagged)
    same(t, [x[0, :2].numpy(), x[1, 1:].numpy()])
    same(t.sin(), [np.sin(x[0, :2].numpy()), np.sin(x[1, 1:].numpy())])
    mask = torch.tensor([[True, False, True], [True, True, True]])
    same(torch.nested.masked_select(torch.arange(6.0).reshape(2, 3), mask), [[0, 2], [3, 4, 5]])


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: nested(parts=[A, A[0]]), RuntimeError, "Found dimension 1 for Tensor at index 1"),
        (lambda: nested(parts=[A, B[:, :2]]), NotImplementedError, r"dimensions \[0, 1\]"),
        (lambda: nested(parts=[]), RuntimeError, "empty tensor list"),
        (lambda: nested(parts=[A, B.astype(np.int64)]), RuntimeError, "same dtype"),
        (lambda: torch.nested.nested_tensor(5), TypeError, "Only lists"),
        (lambda: torch.nested.as_nested_tensor(nested()), RuntimeError, "layouts"),
    ],
)
def test_components_that_do_not_fit_are_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


@LAYOUTS
def test_elementwise_operations(layout):
    t = nested(layout)
    for name in ("sin", "exp", "relu", "sigmoid", "neg", "abs", "isnan"):
        same(getattr(torch, name)(t), each(getattr(torch, name)))
    same(F.gelu(t), each(F.gelu))
    same((t + 1) * 2 - t / 2, [(p + 1) * 2 - p / 2 for p in PARTS])
    same(1 - t**2, [1 - p**2 for p in PARTS])
    same(t + t.sin(), [p + np.sin(p) for p in PARTS])
    same(t > 1, [p > 1 for p in PARTS])
    same(torch.where(t > 1, t, torch.zeros_like(t)), [np.where(p > 1, p, 0) for p in PARTS])
    same(t.masked_fill(t > 1, 9.0), [np.where(p > 1, 9, p) for p in PARTS])
    same(t.clamp(0, 2), [p.clip(0, 2) for p in PARTS])
    same(t.clone().add_(1), [p + 1 for p in PARTS])
    same(torch.ones_like(t), [np.ones_like(p) for p in PARTS])
    assert t.double().dtype == torch.float64 and t.to(torch.float32) is t
    assert F.dropout(t, 0.5, True).size(0) == 2


def test_dense_operands_are_broadcast_over_components():
    t = nested()
    same(t + torch.tensor([1.0, 2, 3]), [p + [1, 2, 3] for p in PARTS])
    rows = torch.tensor([[[1.0, 2, 3]], [[10, 20, 30]]])
    same(t * rows, [A * [1, 2, 3], B * [10, 20, 30]])
    with pytest.raises(RuntimeError, match="ragged dimension"):
        t + torch.ones(2, 4, 3)
    with pytest.raises(RuntimeError, match="cannot call binary pointwise function add"):
        t + nested(parts=[B, A])


@LAYOUTS
def test_reductions(layout):
    t = nested(layout)
    for name in ("sum", "mean", "amax", "amin"):
        of = {"amax": np.max, "amin": np.min}.get(name, getattr(np, name, None))
        np.testing.assert_allclose(getattr(t, name)(1).numpy(), [of(p, 0) for p in PARTS], rtol=1e-6)
        assert getattr(t, name)(1, keepdim=True).shape == (2, 1, 3)
        same(getattr(t, name)(-1), [of(p, 1) for p in PARTS])
        same(getattr(t, name)(-1, keepdim=True), [of(p, 1, keepdims=True) for p in PARTS])
        np.testing.assert_allclose(getattr(t, name)((1, 2)).numpy(), [of(p) for p in PARTS], rtol=1e-6)
    everything = np.concatenate([p.ravel() for p in PARTS])
    assert t.sum().item() == everything.sum() and t.max().item() == everything.max()
    np.testing.assert_allclose(t.mean().item(), everything.mean(), rtol=1e-6)
    values, indices = t.max(1)
    assert values.tolist() == [p.max(0).tolist() for p in PARTS] and indices.tolist() == [[1] * 3, [3] * 3]
    same(t.argmax(-1), [p.argmax(-1) for p in PARTS])
    with pytest.raises(RuntimeError, match="batch dimension but not the ragged"):
        t.sum(0)


@LAYOUTS
def test_layers(layout):
    t = nested(layout)
    torch.manual_seed(0)
    linear, norm = nn.Linear(3, 5), nn.LayerNorm(3)
    with torch.no_grad():
        same(linear(t), each(linear))
        same(norm(t), each(norm))
        same(torch.matmul(t, linear.weight.t()), each(torch.matmul, linear.weight.t()))
        for dim in (-1, 1):
            same(torch.softmax(t, dim), each(torch.softmax, dim - 1 if dim > 0 else dim))
        table = nn.Embedding(7, 4)
        words = torch.nested.nested_tensor([torch.tensor([1, 2]), torch.tensor([3, 4, 6])], layout=layout)
        same(table(words), [table(w).numpy() for w in words.unbind()])
    with pytest.raises(RuntimeError, match="ragged dim"):
        F.layer_norm(t, (4, 3))


def test_shapes():
    t = nested()
    same(t.transpose(1, 2), [p.T for p in PARTS])
    same(t.transpose(1, 2) * 2, [p.T * 2 for p in PARTS])
    same(t.transpose(1, 2).softmax(-1), [torch.softmax(torch.tensor(p.T), -1).numpy() for p in PARTS])
    same(t.unsqueeze(1), [p[None] for p in PARTS])
    same(t.unsqueeze(-1).squeeze(-1), PARTS)
    same(t.unflatten(-1, [3, 1]).flatten(2), PARTS)
    same(t.view(2, -1, 3, 1), [p[..., None] for p in PARTS])
    same(t.view(2, t.size(1), 1, 3), [p[:, None] for p in PARTS])
    same(t[..., 1:], [p[:, 1:] for p in PARTS])
    same(t.select(2, 0), [p[:, 0] for p in PARTS])
    same(t.chunk(3, -1)[1], [p[:, 1:2] for p in PARTS])
    same(torch.cat([t, t * 2], -1), [np.concatenate([p, 2 * p], -1) for p in PARTS])
    same(torch.cat([t, t]), [*PARTS, *PARTS])
    same(t.permute(0, 2, 1), [p.T for p in PARTS])
    for call in (lambda: t.transpose(0, 1), lambda: t.flatten(1, 2), lambda: t.narrow(1, 0, 1),
                 lambda: t.view(3, -1, 2)):  # fmt: skip
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(NotImplementedError, match="cumsum.*jagged"):
        t.cumsum(1)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_within_components(causal):
    rng = np.random.default_rng(0)
    lengths, heads, size = (4, 2), 2, 4
    parts = [[rng.standard_normal((n, heads * size)).astype(np.float32) for n in lengths] for _ in range(3)]

    def split(t):
        return t.unflatten(-1, [heads, size]).transpose(-3 if t.is_nested else 0, -2 if t.is_nested else 1)

    q, k, v = (nested(parts=p, requires_grad=True) for p in parts)
    q3, k3, v3 = (t.unflatten(-1, [heads, size]).transpose(1, 2) for t in (q, k, v))
    out = F.scaled_dot_product_attention(q3, k3, v3, is_causal=causal).transpose(1, 2).flatten(-2)
    out.sin().sum().backward()
    for b in range(len(lengths)):
        dense = [torch.tensor(p[b], requires_grad=True) for p in parts]
        heads_first = [t.unflatten(-1, [heads, size]).transpose(0, 1) for t in dense]
        want = F.scaled_dot_product_attention(*heads_first, is_causal=causal).transpose(0, 1).flatten(-2)
        want.sin().sum().backward()
        np.testing.assert_allclose(out[b].detach().numpy(), want.detach().numpy(), rtol=1e-4, atol=1e-5)
        for t, w in zip((q, k, v), dense, strict=True):
            np.testing.assert_allclose(t.grad[b].numpy(), w.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_transformer_layers():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 1).eval()
    parts = [np.sin(np.arange(n * 4, dtype=np.float32)).reshape(n, 4) for n in (2, 3)]
    with torch.no_grad():
        got = encoder(nested(parts=parts))
        same(got, [encoder(torch.tensor(p)[None])[0].numpy() for p in parts])
    with pytest.raises(NotImplementedError, match="need_weights"):
        layer.self_attn(*[nested(parts=parts)] * 3)


@LAYOUTS
def test_gradients_reach_components_and_weights(layout):
    x, y = (torch.tensor(p, requires_grad=True) for p in PARTS)
    w = torch.ones(2, 3, requires_grad=True)
    t = torch.nested.as_nested_tensor([x, y], layout=layout)
    padded = F.linear(t, w).to_padded_tensor(0.0)
    scale = torch.arange(16.0).reshape(2, 4, 2)
    (padded * scale).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), scale[0, :2].numpy() @ np.ones((2, 3)))
    np.testing.assert_allclose(y.grad.numpy(), scale[1].numpy() @ np.ones((2, 3)))
    np.testing.assert_allclose(w.grad.numpy(), scale[0, :2].numpy().T @ A + scale[1].numpy().T @ B, rtol=1e-5)


def test_leaves_get_nested_gradients():
    t = nested(requires_grad=True)
    (t * t).sum().backward()
    assert t.grad.is_nested
    same(t.grad, [2 * p for p in PARTS])
    (g,) = torch.autograd.grad(t.mean(1).sum(), t)
    same(g, [np.full(p.shape, 1 / len(p)) for p in PARTS])
    assert "requires_grad=True" in repr(t) and "grad_fn" in repr(t * 2)


def test_room_in_the_buffer_is_never_seen():
    """Seven rows in a buffer of eight: the eighth takes no part in anything."""
    parts = [np.ones((3, 2), np.float32), np.full((6, 2), 2, np.float32)]
    t = nested(parts=parts)
    assert t._carrier.shape[0] > 9 and t.values().shape == (9, 2)
    assert t.sum().item() == 30 and t.mean(1).tolist() == [[1, 1], [2, 2]] and t.amax(1).tolist() == [[1, 1], [2, 2]]
    values = torch.tensor(np.concatenate(parts), requires_grad=True)
    other = torch.nested.nested_tensor_from_jagged(values, t.offsets())
    same(t + other, [2 * p for p in parts])
    same(other * t, [p * p for p in parts])
    (other * t).sum().backward()
    np.testing.assert_array_equal(values.grad.numpy(), np.concatenate(parts))
    w = torch.zeros(2, 2, requires_grad=True)
    F.linear(t, w).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), [[15, 15]] * 2)


def test_printing_and_copies():
    assert repr(nested(torch.strided, [A])) == "nested_tensor([\n  tensor([[0., 1., 2.],\n          [3., 4., 5.]])\n])"
    t = nested()
    assert repr(t) == f"NestedTensor(size=(2, {t.size(1)}, 3), offsets=tensor([0, 2, 6]), contiguous=True)"
    file = io.BytesIO()
    torch.save(t, file)
    file.seek(0)
    for other in (torch.load(file), pickle.loads(pickle.dumps(t)), copy.deepcopy(t), t.clone(), t.detach()):
        same(other, PARTS)
        assert other.layout == torch.jagged


def test_training_on_batches_of_all_lengths_compiles_few_programs(tier):
    tier("fused")
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    table, out = nn.Embedding(20, 8), nn.Linear(8, 2)
    optimizer = torch.optim.Adam([*table.parameters(), *out.parameters()], lr=0.3)
    losses = []
    start = stats()["compiles"]
    for _ in range(16):
        words = [rng.integers(0, 19, rng.integers(4, 9)) for _ in range(8)]
        labels = rng.integers(0, 2, 8)
        for w, y in zip(words, labels, strict=True):
            w[0] = 19 if y else 0
        batch = torch.nested.nested_tensor([torch.tensor(w) for w in words], layout=torch.jagged)
        loss = F.cross_entropy(out(table(batch).mean(1)), torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert stats()["compiles"] - start < 10  # 16 batches, of as many different sizes or nearly
