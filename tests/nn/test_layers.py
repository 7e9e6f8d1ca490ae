"""Every layer family against PyTorch's outputs, gradients and state, in ``tests/reference/nn.npz``."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn

F = nn.functional
STORE = np.load(Path(__file__).parents[1] / "reference" / "nn.npz")
ARRAYS = {"f": STORE["floats"], "i": STORE["integers"]}
CASES = json.loads(STORE["cases"].item())


def stored(place):
    """An array out of the file: [dtype, start, shape]."""
    dtype, start, shape = place
    part = ARRAYS["f" if dtype.startswith("float") else "i"][start:start + int(np.prod(shape))]
    return part.reshape(shape).astype(dtype)


def flatten(value):
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in flatten(part)]
    return [] if value is None else [value]


def close(got, want, what):
    assert tuple(got.shape) == want.shape, what
    assert str(got.dtype) == f"torch.{want.dtype}", what
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=2e-4, atol=2e-5, err_msg=what)


@pytest.mark.filterwarnings("ignore")  # deprecated spellings are among the cases
@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{c['source'][:40]}" for i, c in enumerate(CASES)])
def test_layer(case):
    m = eval(case["source"], {"nn": nn, "F": F, "torch": torch})
    module = m if isinstance(m, nn.Module) else None
    if module is not None:
        assert list(module.state_dict()) == list(case["state"])
        module.load_state_dict({n: torch.tensor(stored(p)) for n, p in case["state"].items()})
        assert [n for n, _ in module.named_parameters()] == case["parameters"]
    x = [torch.tensor(stored(p), requires_grad=on) for p, on in case["inputs"]]
    out = flatten(eval(case["call"], {"m": m, "x": x, "nn": nn, "RNN": nn.utils.rnn}))
    assert [o.requires_grad for o in out] == [on for _, on in case["outputs"]]
    leaves = [*(module.parameters() if module is not None else ()), *(t for t in x if t.requires_grad)]
    roots = [o for o in out if o.requires_grad]
    grads = [None] * len(leaves)
    if roots:
        cotangents = [torch.tensor(stored(p)) for p in case["cotangents"]]
        grads = torch.autograd.grad(roots, leaves, cotangents, allow_unused=True)
    for number, (got, (want, _)) in enumerate(zip(out, case["outputs"], strict=True)):
        close(got, stored(want), f"output {number}")
    if "CrossMapLRN2d" in case["source"]:
        return  # PyTorch's backward is not the derivative of its forward there
    for number, (got, want) in enumerate(zip(grads, case["gradients"], strict=True)):
        if got is None or want is None:
            assert got is None or not got.numpy().any(), f"gradient {number}"
            assert want is None or not stored(want).any(), f"gradient {number}"
        else:
            close(got, stored(want), f"gradient {number}")
    if module is not None:
        for name, value in module.state_dict().items():
            place = case["after"].get(name, case["state"][name])
            close(value, stored(place), f"{name} afterwards")


@pytest.mark.parametrize("make, share", [
    (lambda: nn.Dropout(0.3), 0.3), (lambda: nn.Dropout1d(0.3), 0.3), (lambda: nn.Dropout2d(0.3), 0.3),
    (lambda: nn.Dropout3d(0.3), 0.3),
])  # fmt: skip
def test_dropout(make, share):
    torch.manual_seed(0)
    m = make()
    x = torch.ones(40, 50, *[2] * {nn.Dropout2d: 2, nn.Dropout3d: 3}.get(type(m), 1), requires_grad=True)
    y = m(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    y = y.detach().numpy()
    assert set(np.unique(y)) == {0, np.float32(1 / (1 - share))}
    np.testing.assert_array_equal(grad.numpy(), y)
    channels = y.reshape(40 * 50, -1)
    if type(m) is not nn.Dropout:
        assert (channels == channels[:, :1]).all(), "whole channels are dropped"
        channels = channels[:, :1]
    dropped = (channels == 0).mean()
    assert abs(dropped - share) < 4 * np.sqrt(share * (1 - share) / channels.size)
    assert not np.array_equal(m(x).detach().numpy(), y), "another draw at the next call"
    assert m.eval()(x) is x or np.array_equal(m(x).detach().numpy(), x.detach().numpy())


@pytest.mark.parametrize("make", [nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_alpha_dropout_keeps_mean_and_variance(make):
    torch.manual_seed(1)
    y = make(0.2)(torch.randn(300, 200)).numpy()
    assert abs(y.mean()) < 0.02
    assert abs(y.var() - 1) < 0.03


def test_rrelu_draws_slopes():
    torch.manual_seed(0)
    y = nn.RReLU(0.1, 0.3)(-torch.ones(2000)).numpy()
    assert (-0.3 <= y).all() and (y <= -0.1).all()
    assert abs(y.mean() + 0.2) < 0.01


def test_rnn_dropout_between_layers():
    torch.manual_seed(0)
    m = nn.LSTM(3, 4, num_layers=2, dropout=1.0)
    x = torch.randn(5, 2, 3)
    bias_only = m(x)[0].detach().numpy()
    np.testing.assert_allclose(m(2 * x)[0].detach().numpy(), bias_only, atol=1e-6)  # the second layer sees zeros
    assert not np.allclose(m.eval()(x)[0].detach().numpy(), bias_only)


@pytest.mark.parametrize("shape", [(500, 4), (8, 4, 16, 16), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("kind", ["outlier", "large mean"])
def test_batch_norm_keeps_its_digits(shape, kind):
    """Whatever the first elements are: it looks at them for where a channel lies."""
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    if kind == "outlier":
        x[0] = 100
    else:
        x += 100
    axes = tuple(a for a in range(len(shape)) if a != 1)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
    found = torch.nn.functional.batch_norm(torch.tensor(x), None, None, training=True).numpy()
    assert np.abs(found - expected).max() < 3e-5


def test_the_gradient_of_batch_norm_keeps_its_digits_where_means_are_large():
    """In float32 of channels at 1,000 that vary by 0.1, as if they lay at 0 in float64."""
    rng = np.random.default_rng(0)
    x, slope = rng.normal(size=(8, 3, 5, 5)) * 0.1, rng.normal(size=(8, 3, 5, 5))
    found = []
    far = (x + 1000).astype(np.float32)
    for data, dtype in ((far, torch.float32), (far.astype(np.float64) - 1000, torch.float64)):
        x_ = torch.tensor(data)
        w = torch.ones(3, dtype=dtype, requires_grad=True)
        y = F.batch_norm(x_.requires_grad_(), None, None, w, torch.zeros(3, dtype=dtype), training=True)
        (y * torch.tensor(slope, dtype=dtype)).sum().backward()
        found.append([g.numpy().astype(np.float64) for g in (x_.grad, w.grad)])
    for got, wanted in zip(*found, strict=True):
        assert np.abs(got - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("norm", ["batch_norm", "instance_norm"])
def test_batch_and_instance_norm_are_differentiable_twice_and_forward(norm, affine):
    """Their tangent is written out, and what that takes of the first pass has tangents of its own."""
    torch.manual_seed(0)
    x = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    rest = [torch.rand(2, dtype=torch.float64, requires_grad=True) for _ in range(2 * affine)]

    def f(x, *rest):
        return getattr(F, norm)(x, None, None, *(rest or (None, None)), True)

    assert torch.autograd.gradcheck(f, (x, *rest), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, (x, *rest))


def test_lazy_layers_learn_their_shapes():
    m = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))
    assert isinstance(m[0].weight, nn.UninitializedParameter)
    y = m(torch.randn(2, 3, 5, 5))
    assert y.shape == (2, 2)
    assert type(m[0]) is nn.Conv2d and type(m[1]) is nn.BatchNorm2d and type(m[3]) is nn.Linear
    assert m[0].weight.shape == (4, 3, 3, 3) and m[3].in_features == 36


def test_adaptive_softmax_predicts_and_normalises():
    torch.manual_seed(0)
    m = nn.AdaptiveLogSoftmaxWithLoss(16, 9, [3, 6])
    x = torch.randn(5, 16)
    logs = m.log_prob(x)
    np.testing.assert_allclose(logs.detach().exp().sum(1).numpy(), np.ones(5), rtol=1e-5)
    assert m.predict(x).tolist() == logs.argmax(1).tolist()


def test_flex_attention_agrees_with_masked_attention():
    flex = nn.attention.flex_attention
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 12, 4, requires_grad=True) for _ in range(3))
    bias = torch.randn(2, 12, 12, requires_grad=True)
    mask = flex.create_block_mask(lambda b, h, i, j: i >= j, None, None, 12, 12, BLOCK_SIZE=4)
    assert mask.kv_num_blocks.tolist() == [[[1, 1, 1]]] and mask.full_kv_num_blocks.tolist() == [[[0, 1, 2]]]
    assert mask.to_dense().tolist() == [[[[1, 0, 0], [1, 1, 0], [1, 1, 1]]]]
    got = flex.flex_attention(q, k, v, lambda s, b, h, i, j: s + bias[h, i, j], mask)
    hidden = torch.ones(12, 12, dtype=torch.bool).triu(1)
    want = F.scaled_dot_product_attention(q, k, v, bias.masked_fill(hidden, -torch.inf))
    np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), atol=1e-5)
    for a, b in zip(*(torch.autograd.grad(o.square().sum(), (q, k, v, bias)) for o in (got, want)), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-4)


def test_sdpa_kernel_is_a_context():
    from pytorchlike.nn.attention import SDPBackend, sdpa_kernel

    q = torch.randn(1, 1, 3, 4)
    plain = F.scaled_dot_product_attention(q, q, q)
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH], set_priority=True):
        chosen = F.scaled_dot_product_attention(q, q, q)
    np.testing.assert_array_equal(plain.numpy(), chosen.numpy())
    with pytest.raises(AssertionError, match="SDPBackend"), sdpa_kernel("math"):
        pass


def test_convolution_gradients_as_functions():
    torch.manual_seed(0)
    x, w = torch.randn(2, 4, 7, requires_grad=True), torch.randn(6, 2, 3, requires_grad=True)
    y = F.conv1d(x, w, None, 2, 1, 1, 2)
    g = torch.randn(*y.shape)
    by_input, by_weight = torch.autograd.grad(y, (x, w), g)
    np.testing.assert_allclose(nn.grad.conv1d_input(x.shape, w, g, 2, 1, 1, 2).detach().numpy(), by_input.numpy(),
                               atol=1e-5)
    np.testing.assert_allclose(nn.grad.conv1d_weight(x, w.shape, g, 2, 1, 1, 2).detach().numpy(), by_weight.numpy(),
                               atol=1e-5)


@pytest.mark.parametrize("name, before", [
    ("mse_loss", 0), ("l1_loss", 0), ("smooth_l1_loss", 0), ("soft_margin_loss", 0), ("kl_div", 0),
    ("binary_cross_entropy", 1), ("binary_cross_entropy_with_logits", 1), ("hinge_embedding_loss", 1),
])
def test_losses_take_size_average_and_reduce(name, before):
    """Also by position, where they stand in front of ``reduction``."""
    loss, defaults = getattr(F, name), ((), (None,), (1.0,))[before + (name == "hinge_embedding_loss")]
    a, b = torch.tensor([[0.3, 0.6]]), torch.tensor([[0.8, 0.1]])
    for given, meant in (((False,), "sum"), ((True,), "mean"), ((None, False), "none"), ((None, None, "sum"), "sum")):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            got = loss(a, b, *defaults, *given)
        assert sum("size_average" in str(w.message) for w in told) == (len(given) < 3)
        assert all("reduction" in str(w.message) and w.filename == __file__ for w in told)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the mean of kl_div
            torch.testing.assert_close(got, loss(a, b, reduction=meant), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:size_average")
def test_losses_of_classes_take_size_average_and_reduce():
    scores, classes = torch.tensor([[0.2, 0.5], [0.9, 0.1]]).log(), torch.tensor([1, 0])
    for loss in (F.nll_loss, F.cross_entropy):
        total = loss(scores, classes, reduction="sum")
        assert loss(scores, classes, size_average=False) == total
        assert loss(scores, classes, None, False) == total
        assert loss(scores, classes, None, None, -100, None, "sum") == total  # size_average, ignore_index, reduce
        assert loss(scores, classes, None, True, 1, False).tolist()[0] == 0


def test_one_hot_reads_the_number_of_classes():
    one_hot, labels = nn.functional.one_hot, torch.tensor([1, 0])
    assert one_hot(labels).tolist() == [[0, 1], [1, 0]] and one_hot(labels + 1, num_classes=-1).shape == (2, 3)
    with pytest.raises(RuntimeError, match="empty"):
        one_hot(labels[:0])


@pytest.mark.parametrize(("m", "left"), [(5, []), (12, [6]), (28, [2, 6, 15])])
def test_identity_grid_differentiates_on_pytorchs_sides(m, left):
    # The positions lie on the centres of pixels, where the last bit of each decides which of two slopes is taken;
    # ``left``: where PyTorch 2.13 takes the left one.
    theta = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]], requires_grad=True)
    grid = F.affine_grid(theta, (1, 1, m, m), align_corners=False)
    grid.retain_grad()
    F.grid_sample(torch.arange(m).float().pow(2).expand(1, 1, m, m), grid, align_corners=False).sum().backward()
    slopes = (grid.grad[0, 1, 1:m - 1, 0] / (m / 2)).round().int().tolist()
    assert slopes == [2 * i - 1 if i in left else 2 * i + 1 for i in range(1, m - 1)]


def test_dropout_that_drops_nothing_gives_the_tensor_itself():
    x = torch.ones(3, requires_grad=True)
    state = torch.get_rng_state()
    for y in (F.dropout(x, 0.0), F.dropout(x, 0.5, training=False), nn.Dropout(0.0)(x), nn.Dropout(0.3).eval()(x),
              F.dropout(x, 0.0, inplace=True), nn.AlphaDropout(0.3).eval()(x)):  # fmt: skip
        assert y is x
    assert torch.equal(torch.get_rng_state(), state)
    for refused in (lambda: F.dropout(x, 2.0, training=False), lambda: F.dropout(x, -1.0)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            refused()
    with pytest.raises(TypeError):
        F.dropout([1.0], 0.0)


def test_deprecated_arguments_warn_at_the_callers_line_and_once():
    x = torch.randn(2, 3, requires_grad=True)
    implied, named = torch.nn.Softmax(), torch.nn.Softmax(dim=1)

    def step():
        (implied(x) * x).sum().backward()
        return implied(x), F.gumbel_softmax(x, eps=1e-9)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.testing.assert_close(step()[0], named(x))  # traces and compiles, which must not warn again
    with warnings.catch_warnings(record=True) as later:
        warnings.simplefilter("default")
        for _ in range(3):
            step()
    first = step.__code__.co_firstlineno
    for told in (caught, later):
        assert [(w.filename, w.lineno - first) for w in told] == [(__file__, 1), (__file__, 2), (__file__, 2)]
        assert [str(w.message)[:10] for w in told] == ["Implicit d", "Implicit d", "`eps` para"]


def test_losses_warn_where_sizes_differ_or_the_mean_is_not_the_definition():
    column, row = torch.ones(4, 1), torch.ones(4)
    for loss in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, nn.MSELoss()):
        with pytest.warns(UserWarning, match=r"size \(torch.Size\(\[4\]\)\) that is different to the input size"):
            loss(column, row)
    with pytest.warns(UserWarning, match="batchmean"):
        nn.KLDivLoss()(column, column)
    with pytest.warns(UserWarning, match="align_corners"):
        F.grid_sample(torch.ones(1, 1, 4, 4), torch.ones(1, 4, 4, 2))
    with pytest.warns(UserWarning, match="Please use reduction='mean'"):
        assert nn.CrossEntropyLoss(reduction="elementwise_mean")(torch.ones(4, 3), torch.tensor([0, 1, 2, 0])) > 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.mse_loss(column, column)
        F.kl_div(column, column, reduction="batchmean")
        F.grid_sample(torch.ones(1, 1, 4, 4), torch.ones(1, 4, 4, 2), align_corners=False)
    with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
        F.soft_margin_loss(column, row)


def test_flex_attention_refuses_nested_tensors():
    ragged = torch.nested.nested_tensor([torch.ones(2, 2, 4), torch.ones(3, 2, 4)], layout=torch.jagged).transpose(1, 2)
    with pytest.raises(NotImplementedError, match="to_padded_tensor"):
        nn.attention.flex_attention.flex_attention(ragged, ragged, ragged)


@pytest.mark.parametrize(
    "change,zero",
    [
        ({}, True), ({"activation": "gelu"}, True), ({"norm_first": True}, False), ({"nhead": 1}, False),
        ({"bias": False}, False), ({"activation": torch.nn.functional.silu}, False),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_encoders_leave_padding_out(change, zero):
    """As where PyTorch makes nested tensors: in evaluation, without gradients and masks, for padding at the end."""
    arguments = {"d_model": 8, "nhead": 2, "dim_feedforward": 16, "batch_first": True, **change}
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(**arguments), 2).eval()
    x = torch.randn(2, 5, 8)
    ends = torch.tensor([[False, False, False, True, True], [False] * 5])
    with torch.no_grad():
        out = encoder(x, src_key_padding_mask=ends)
        assert bool((out[0, 3:] == 0).all()) is zero and not (out[0, :3] == 0).any()
        assert torch.allclose(out[1], encoder(x)[1], atol=1e-5)
        assert not (encoder(x, src_key_padding_mask=ends.flip(1)) == 0).any()  # padding at the beginning
        assert not (encoder(x, torch.zeros(5, 5), ends.float() * -1e9) == 0).any()
        torch.backends.mha.set_fastpath_enabled(False)
        assert not (encoder(x, src_key_padding_mask=ends) == 0).any()
        torch.backends.mha.set_fastpath_enabled(True)
    assert not (encoder(x, src_key_padding_mask=ends) == 0).any()  # parameters that require gradients
    assert not (encoder.train()(x, src_key_padding_mask=ends) == 0).any()


def test_losses_take_the_input_dtype_and_a_number_as_variance():
    """Targets out of NumPy are float64; the loss of a float32 model stays float32, as PyTorch's."""
    x, y = torch.tensor([0.5, -1.0, 3.0]), torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    for loss in (F.huber_loss, F.soft_margin_loss, F.hinge_embedding_loss):
        assert loss(x, y).dtype == torch.float32 and loss(x.double(), y.float()).dtype == torch.float64
    assert F.binary_cross_entropy_with_logits(x, y.abs()).dtype == torch.float64
    weighted = F.huber_loss(x, y.float(), weight=torch.full((3,), 2.0))
    assert weighted.item() == pytest.approx(2 * F.huber_loss(x, y.float()).item())
    same = F.gaussian_nll_loss(x, y.float(), torch.full((3,), 2.0))
    assert F.gaussian_nll_loss(x, y.float(), 2.0).item() == pytest.approx(same.item())
    assert nn.GaussianNLLLoss()(x[None], y[None].float(), 2.0).dtype == torch.float32
