"""ONNX models give what the model gives, also at other sizes; what ONNX cannot say is refused by name."""

import importlib.util
import io

import numpy as np
import pytest
from function_module import Fn

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.export import Dim
from pytorchlike.nn import functional as F
from pytorchlike.utils._pytree import tree_leaves

onnx = pytest.importorskip("onnx")
#: What onnx's own evaluator gets wrong or cannot do; compared with what our reader makes of the file in any case.
BEYOND_REFERENCE = {"indexing", "images", "convolutions", "rnn", "lstm", "lstm-state", "gru"}
HAS_RUNTIME = importlib.util.find_spec("onnxruntime") is not None


def agree(got, want, tolerance=1e-5):
    want = [x for x in tree_leaves(want) if isinstance(x, torch.Tensor)]
    for k, (x, y) in enumerate(zip(got, want, strict=True)):
        assert x.shape == y.shape and x.dtype == y.dtype, (k, x.shape, y.shape, x.dtype, y.dtype)
        assert torch.allclose(x, y, rtol=tolerance, atol=tolerance, equal_nan=True), (k, x, y)


def check(model, args, others=(), run=True, **told):
    """Export, check, run, and load again, with the example's and other arguments."""
    model = (model if isinstance(model, nn.Module) else Fn(model)).eval()
    program = torch.onnx.export(model, args, **told)
    onnx.checker.check_model(program.model_proto, full_check=True)
    again = torch.onnx.load(program.model_proto)
    with torch.no_grad():
        for given in (args, *others):
            want = model(*given)
            if run:
                agree(program(*given), want)
            found = again(*[x for x in tree_leaves(given) if isinstance(x, torch.Tensor)])
            agree(found if isinstance(found, tuple) else (found,), want)
    return program


X, Y, Z = torch.randn(3, 4), torch.randn(3, 4), torch.rand(3, 4) + 0.1
N, INDEX = torch.randint(-5, 6, (3, 4)), torch.tensor([2, 0, 1])
IMAGE, HEADS = torch.randn(2, 4, 6, 8), torch.randn(2, 4, 5, 8)


def write(x):
    x = x.clone()
    x[0] = 1
    x[:, 1:3] += 2
    x[1, ::2] = 7
    x[INDEX[:2]] = 5.0
    x.view(-1)[3] = 7
    x.t()[0] = 9
    x[INDEX > 1] = 3
    return x


CASES = {
    "arithmetic": (lambda a, b: (
        a + b, a - b, a * b, a / b, 2 - a, 1 / b, a // b, a % b, -a, torch.add(a, b, alpha=0.5), torch.fmod(a, b),
        a**2, a**3, b**0.5, b**1.7, 2**a, a.addcmul(a, b, value=2), torch.lerp(a, b, 0.3)), (X, Z)),
    "integers": (lambda a: (
        a + 1, a / 2, a // 2, a % 3, a // -3, torch.div(a, 3, rounding_mode="trunc"), a.float(), a.bool(), a.sum(),
        a.clamp(-1, 2), a.sigmoid(), a & 3, a | 1, a ^ 2, ~a, a.max(0), a > 0), (N,)),
    "logic": (lambda a, b: (
        a > b, a != b, a <= 0, (a > 0) & (b > 0.5), ~(a > 0), (a > 0) ^ (b > 1), torch.logical_not(a),
        torch.where(a > 0, a, b), torch.where(a > 0, a, 0), a.clamp(min=b), torch.maximum(a, b),
        a.masked_fill(a > 0, -1),
        (a > 0).any(1), (a > 0).all(), (a > 0).sum(0), torch.tril(a > 0), torch.cat([a > 0, b > 1])), (X, Z)),
    "functions": (lambda a, b: (
        a.exp(), b.log(), b.rsqrt(), a.sin(), a.tan(), a.erf(), a.erfc(), a.expm1(), b.log1p(), b.log2(), a.floor(),
        a.round(), a.trunc(), a.frac(), a.sign(), a.atan(), torch.atan2(a, b - 0.5), torch.isnan(a),
        torch.nan_to_num(torch.where(a > 0, a, float("nan"))), b.logit(1e-3),
        torch.logaddexp(a, b), (b + 1).acosh()), (X, Z)),
    "activations": (lambda a: (
        F.relu6(a * 5), F.leaky_relu(a, 0.2), F.elu(a), F.selu(a), F.celu(a, 0.5), F.gelu(a),
        F.gelu(a, approximate="tanh"), F.silu(a), F.mish(a), F.softplus(a * 30, beta=2.0), F.logsigmoid(a),
        F.softsign(a), F.glu(a), F.hardsigmoid(a), F.hardswish(a), F.hardshrink(a), F.softshrink(a), F.hardtanh(a),
        F.threshold(a, 0.1, 0.5), F.softmax(a, 1), F.log_softmax(a, 0), F.normalize(a),
        F.cosine_similarity(a, a + 1)), (X,)),
    "reductions": (lambda a: (
        a.sum(), a.sum((0, 1), keepdim=True), a.mean(0), a.prod(1), a.amax(1), a.max(), a.max(1), a.argmax(),
        a.argmin(1), a.var(), a.std(1), a.var(0, unbiased=False), torch.var_mean(a, 1), a.logsumexp(1), a.norm(),
        a.norm(1, 1), torch.linalg.vector_norm(a, dim=1), a.count_nonzero(1), a.cumsum(1), a.sort(1),
        a.sort(0, descending=True), a.topk(2), a.argsort(1), a.median(1), a.kthvalue(2, 1)), (X,)),
    "products": (lambda a, b: (
        a @ b.t(), a.mv(b[0]), a[0].dot(b[0]), torch.outer(a[0], b[0]), torch.addmm(a[:, :3], a, b.t(), beta=0.5),
        torch.einsum("ij,kj", a, b), torch.tensordot(a, b, ([1], [1])), F.linear(a[None], b, b[:, 0]),
        F.linear(a, b, b[:, 0])), (X, Y)),
    "shapes": (lambda a: (
        a.view(2, 6), a.flatten(), a.permute(1, 0), a[None].squeeze(0), a.expand(2, 3, 4), a.repeat(2, 1, 1), a.flip(0),
        a.roll((1, -1), (0, 1)), a.tril(), a.triu(1), torch.stack([a, a], -1), a.split(2, 1), a.unbind(0),
        a.diagonal(), a[:, :3].diagonal(1), a.movedim(0, 1), a.repeat_interleave(2, 1), torch.zeros_like(a),
        torch.full_like(a, 2.0), torch.arange(1, 9, 2.0), torch.eye(3), torch.linspace(0, 1, 5)), (X,)),
    "indexing": (lambda a, i: (
        a[0], a[-1], a[1:, ::2], a[..., 1], a[:, None], a[i], a[:, i], a[i, i], a[i[:, None], i], a[1, i], a[-i - 1],
        a.index_select(0, i), a.gather(0, i[:, None]), a.take(i), torch.take_along_dim(a, i[:, None], 1),
        a.index_add(0, i, a), a.index_copy(0, i, a), a.scatter(1, i[:, None], 9.0), a.scatter_add(1, i[:, None], a),
        a.scatter_reduce(0, i[:, None].expand(3, 4), a, "amax"), F.one_hot(i, 4), F.embedding(i, a)), (X, INDEX)),
    "writes": (write, (X,)),
    "images": (lambda a: (
        F.max_pool2d(a, 3, 2, 1, return_indices=True), F.avg_pool2d(a, 3, 2, 1, count_include_pad=False),
        F.avg_pool2d(a, 2, divisor_override=3), F.adaptive_avg_pool2d(a, (3, 5)), F.adaptive_max_pool2d(a, (3, 4)),
        F.max_pool2d(a[0], 2), F.pixel_shuffle(a, 2), F.pixel_unshuffle(a, 2), F.channel_shuffle(a, 2),
        F.layer_norm(a, (6, 8)), F.rms_norm(a, (8,)), F.group_norm(a, 2), F.instance_norm(a),
        F.pad(a, (1, 1, 2, 0), value=3.0), F.pad(a, (1, 2, 0, 1), mode="reflect"), F.pad(a, (-1, 2))), (IMAGE,)),
    "resampling": (lambda a: (
        F.interpolate(a, scale_factor=2), F.interpolate(a, size=(9, 5)), F.interpolate(a, size=(9, 5), mode="bilinear"),
        F.interpolate(a, size=(9, 13), mode="bilinear", align_corners=True),
        F.interpolate(a, size=(9, 5), mode="bicubic"), F.interpolate(a, size=(3, 4), mode="area")), (IMAGE,)),
    "attention": (lambda q, k, v: (
        F.scaled_dot_product_attention(q, k, v), F.scaled_dot_product_attention(q, k, v, is_causal=True),
        F.scaled_dot_product_attention(q, k, v, attn_mask=torch.ones(5, 5).tril(-1).bool()),
        F.scaled_dot_product_attention(q, k, v, attn_mask=torch.zeros(5, 5), scale=0.3),
        F.scaled_dot_product_attention(q, k, v, attn_mask=torch.ones(5, 5).triu(-2).bool(), is_causal=True),
        F.scaled_dot_product_attention(q, k, v, attn_mask=torch.arange(5.0).expand(5, 5), is_causal=True),
        F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True)), (HEADS, HEADS + 1, HEADS - 1)),
    "doubles": (lambda a: (a + 1, a.softmax(-1), a @ a.t(), a.float()), (X.double(),)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operators(name):
    check(*CASES[name], run=HAS_RUNTIME or name not in BEYOND_REFERENCE)


class Unbound(nn.Linear):
    def forward(self, x):
        q, k = super().forward(x).view(3, 2, 2).unbind(-1)
        return q * k.sum()


MODULES = {
    "unbound": (Unbound(4, 4), (X,)),
    "convolutions": (nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2, dilation=2, padding="same"), nn.BatchNorm2d(8), nn.PReLU(8),
        nn.ConvTranspose2d(8, 4, 3, stride=2, output_padding=1, groups=2), nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.InstanceNorm2d(4, affine=True), nn.GroupNorm(2, 4), nn.Upsample(scale_factor=2, mode="bilinear")),
        (torch.randn(2, 4, 8, 9),)),
    "convolutions1": (nn.Sequential(nn.Conv1d(4, 8, 3), nn.SiLU(), nn.ConvTranspose1d(8, 2, 4), nn.MaxPool1d(2)),
                      (torch.randn(4, 16),)),
    "lstm": (nn.LSTM(4, 3, 2, bidirectional=True), (torch.randn(5, 2, 4),)),
    "lstm-state": (nn.LSTM(4, 3, batch_first=True, bias=False),
                   (torch.randn(2, 5, 4), (torch.randn(1, 2, 3), torch.randn(1, 2, 3)))),
    "gru": (nn.GRU(4, 3, 2, bidirectional=True, batch_first=True), (torch.randn(2, 5, 4),)),
    "rnn": (nn.RNN(4, 3, nonlinearity="relu"), (torch.randn(5, 4),)),
    "cells": (nn.LSTMCell(4, 3), (X,)), "cell": (nn.GRUCell(4, 3), (X,)),
    "attention": (nn.MultiheadAttention(8, 2), (torch.randn(5, 2, 8),) * 3),
    "residual": (torch.vision.models.resnet.BasicBlock(4, 4), (torch.randn(2, 4, 6, 6),)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    check(*MODULES[name], run=HAS_RUNTIME or name not in BEYOND_REFERENCE)


def test_lengths_of_sequences_are_no_values_in_an_export():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 3, bidirectional=True)

        def forward(self, x, lengths):
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
            return nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0])[0]

    with pytest.raises(RuntimeError, match="reads the value of a tensor"):  # how long the longest is
        torch.onnx.export(Packed().eval(), (torch.randn(5, 2, 4), torch.tensor([3, 5])))


def test_a_transformer_of_any_batch_and_length():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    program = check(model, (torch.randn(2, 5, 8),), [(torch.randn(3, 7, 8),)],
                    dynamic_shapes=({0: Dim("b"), 1: Dim("t")},))  # fmt: skip
    dims = [d.dim_param or d.dim_value for d in program.model_proto.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["b", "t", 8]


def test_images_of_any_size():
    def forward(x):
        y = F.interpolate(F.max_pool2d(F.conv2d(x, torch.ones(2, 3, 3, 3), stride=2), 2), scale_factor=1.5)
        b, c, h, w = y.shape
        return y.view(b, c, h * w).transpose(1, 2) + torch.arange(h * w)[:, None], y.roll(1, 2), y[:, :, ::2].flip(3)

    shapes = (({0: Dim("b"), 2: Dim("h"), 3: Dim("w")},),)
    check(forward, (torch.randn(2, 3, 19, 23),), [(torch.randn(1, 3, 26, 21),)], dynamic_shapes=shapes)


def test_names_axes_and_files(tmp_path):
    model, x = nn.Sequential(nn.Linear(3, 40), nn.ReLU(), nn.Linear(40, 2)), torch.randn(5, 3)
    path = tmp_path / "net.onnx"
    assert torch.onnx.export(model, x, path, dynamo=False, input_names=["features"], output_names=["scores"],
                             dynamic_axes={"features": {0: "batch"}, "scores": {0: "batch"}}, opset_version=18,
                             external_data=False) is None  # fmt: skip
    proto = onnx.load(path)
    assert [i.name for i in proto.graph.input] == ["features"] and [o.name for o in proto.graph.output] == ["scores"]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert {w.name for w in proto.graph.initializer} == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert proto.opset_import[0].version == 18 and proto.producer_name == "pytorchlike"
    loaded = torch.onnx.load(path)
    assert torch.allclose(loaded(features=torch.ones(7, 3)), model(torch.ones(7, 3)), atol=1e-6)
    big = nn.Linear(40, 40)
    program = torch.onnx.export(big, (torch.randn(2, 40),), tmp_path / "big.onnx")
    program.save(tmp_path / "big.onnx", external_data=True)  # twice: the first weights are not kept beside
    assert (tmp_path / "big.onnx.data").stat().st_size < 40 * 41 * 4 + 4096
    agree((torch.onnx.load(tmp_path / "big.onnx")(x[:, :1].expand(5, 40)),), big(x[:, :1].expand(5, 40)))
    buffer = io.BytesIO()
    torch.onnx.export(big, (torch.randn(2, 40),), buffer)
    assert torch.onnx.load(buffer.getvalue()).output_names == ["output"]


def test_weights_as_inputs_and_new_weights():
    model, x = nn.Linear(3, 2), torch.randn(4, 3)
    names = [i.name for i in torch.onnx.export(model, (x,), export_params=False).model_proto.graph.input]
    assert names == ["input", "weight", "bias"]
    kept = torch.onnx.export(model, (x,), keep_initializers_as_inputs=True)
    assert len(kept.model_proto.graph.input) == 3 and len(kept.model_proto.graph.initializer) == 2
    agree(kept(x), model(x))
    program = torch.onnx.export(model, (x,), verify=True)
    program.apply_weights({"weight": torch.zeros(2, 3), "bias": torch.ones(2)})
    assert program(x)[0].tolist() == [[1, 1]] * 4
    program.rename_axes({"nothing": "else"})
    with pytest.raises(KeyError, match="no weights"):
        program.apply_weights({"w": x})
    with pytest.raises(NotImplementedError, match="onnxruntime"):
        program.optimize()
    agree(kept.call_reference(x), model(x))
    assert kept.compute_values(["output"], (x,))[0].shape == (4, 2)


def test_exported_programs_and_modes():
    model, x = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)), torch.randn(4, 3)
    seen = []
    model.register_forward_hook(lambda *args: seen.append(torch.onnx.is_in_onnx_export()))
    torch.onnx.export(model, (x,), io.BytesIO(), dynamo=False)
    assert seen == [True] and model.training and not torch.onnx.is_in_onnx_export()
    with pytest.raises(torch.onnx.errors.UnsupportedOperatorError, match=r"dropout .*model.eval\(\) first"):
        torch.onnx.export(model, (x,))
    program = torch.export.export(model.eval(), (x,), dynamic_shapes=({0: Dim("n")},))
    agree(torch.onnx.export(program)(torch.ones(9, 3)), model(torch.ones(9, 3)))
    with pytest.raises(ValueError, match="left open"):
        torch.onnx.export(program, dynamic_shapes=({0: Dim("n")},))


def test_older_operator_sets():
    model = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.LayerNorm(4))
    assert check(model, (X,), opset_version=18).model_proto.opset_import[0].version == 18
    relu = torch.onnx.export(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), (X,), opset_version=14)
    assert relu.model_proto.opset_import[0].version == 14
    with pytest.warns(torch.onnx.errors.OnnxExporterWarning, match="written with opset 18"):
        torch.onnx.export(nn.ReLU(), (X,), opset_version=11)
    with pytest.raises(ValueError, match="from 7 to"):
        torch.onnx.export(model, (X,), opset_version=3)


def test_what_onnx_cannot_say_is_named_with_its_line():
    unsupported = torch.onnx.errors.UnsupportedOperatorError
    with pytest.raises(unsupported, match=r"operator erfinv \(.*test_export.py:\d+\).*custom_translation_table"):
        torch.onnx.export(Fn(lambda x: x.erfinv()), (X,))
    with pytest.raises(unsupported, match="vmap"):
        torch.onnx.export(Fn(lambda x: torch.vmap(lambda r: r * 2)(x)), (X,))
    with pytest.raises(unsupported, match="left open"):
        torch.onnx.export(Fn(lambda x: F.adaptive_avg_pool2d(x, 3)), (IMAGE,),
                          dynamic_shapes=(({2: Dim("h", min=4)},),))  # fmt: skip
    with pytest.raises(TypeError, match="forward of a module"):
        torch.onnx.export(lambda x: x, (X,))
    with pytest.raises(NotImplementedError, match="report"):
        torch.onnx.export(nn.ReLU(), (X,), report=True)
    assert issubclass(unsupported, torch.onnx.OnnxExporterError)


def test_rules_of_ones_own():
    def rule(b, a):
        return b.op("Mul", a.input, b.number(2, a.input.dtype))

    program = torch.onnx.export(Fn(lambda x: x.erfinv()), (X,), custom_translation_table={torch.erfinv: rule})
    agree(program(X), X * 2)

    def foreign(b, a):
        return b.op("Erfinv", a.input, domain="my.operators")

    proto = torch.onnx.export(Fn(lambda x: x.erfinv()), (X,), custom_translation_table={"erfinv": foreign},
                              custom_opsets={"my.operators": 2}).model_proto  # fmt: skip
    assert proto.graph.node[0].domain == "my.operators" and proto.opset_import[1].version == 2


def test_random_numbers_are_drawn_by_the_runtime():
    program = torch.onnx.export(Fn(lambda x: (torch.rand_like(x), torch.randn_like(x), torch.bernoulli(x))),
                                (torch.full((2000,), 0.25),))  # fmt: skip
    uniform, normal, coins = program(torch.full((2000,), 0.25))
    assert 0 <= uniform.min() and 0.45 < uniform.mean() < 0.55 and 0.9 < normal.std() < 1.1
    assert set(coins.tolist()) == {0.0, 1.0} and 0.2 < coins.mean() < 0.3


def test_axes_of_the_older_exporter_get_the_models_bound():
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.places = nn.Embedding(16, 2)

        def forward(self, x):
            if x.shape[1] > 16:
                raise ValueError("too long")
            return x + self.places(torch.arange(x.shape[1]))

    model = Text()
    program = torch.onnx.export(model, (torch.randn(2, 5, 2),), input_names=["words"],
                                dynamic_axes={"words": [0, 1]})  # fmt: skip
    x = torch.randn(3, 16, 2)
    agree(program(x), model(x).detach())


def test_wrong_names():
    with pytest.raises(torch.onnx.OnnxExporterError, match="2 input_names were given, but there are 1"):
        torch.onnx.export(nn.ReLU(), (X,), input_names=["a", "b"])


def test_results_that_are_arguments_or_weights():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

        def forward(self, x):
            y = x + 1
            return x, y, y, self.weight

    program = check(Net(), (X,))
    assert [o.name for o in program.model_proto.graph.output] == [f"output_{k}" for k in range(4)]


def test_half_precision():
    x = X.bfloat16()
    proto = torch.onnx.export(Fn(lambda a: a * 2), (x,)).model_proto
    assert proto.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16
    half = torch.onnx.export(Fn(lambda a: a * 2), (X.half(),))
    assert np.allclose(half(X.half())[0].numpy(), (X.half() * 2).numpy())
