"""Write nn.npz: outputs, gradients and state of layers and functions. Needs torch; run it by hand.

A case is a source that makes a callable, a call of it, and its inputs; floating inputs that are not marked "!" get
gradients. All arrays lie one after the other in ``floats`` and ``integers``; ``cases`` (JSON) says which is where.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# source | call (default m(*x)) | inputs, by the functions below
CASES = """
nn.Linear(5, 4) | | f(2, 3, 5)
nn.Linear(5, 4, bias=False) | | f(5)
nn.Bilinear(3, 4, 5) | | f(2, 3), f(2, 4)
nn.Identity() | | f(2, 3)
nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Sequential(nn.Linear(6, 2))) | | f(3, 4)
nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)) | | f(2, 4)
nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)) | | f(2, 4)
nn.utils.weight_norm(nn.Conv1d(2, 3, 2), dim=None) | | f(2, 2, 5)
nn.utils.parametrizations.orthogonal(nn.Linear(3, 3), use_trivialization=False) | | f(2, 3)

nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2) | | f(2, 4, 9)
nn.Conv1d(3, 4, 3, padding='same', dilation=2, padding_mode='circular') | | f(2, 3, 8)
nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)) | | f(2, 4, 6, 5)
nn.Conv2d(4, 8, 3, groups=4, bias=False) | | f(2, 4, 5, 6)
nn.Conv2d(2, 3, 3, padding=1, padding_mode='reflect') | | f(2, 4, 5)
nn.Conv2d(2, 3, (2, 4), padding='same', padding_mode='replicate') | | f(1, 2, 4, 5)
nn.Conv3d(2, 4, 2, padding=1, stride=2) | | f(1, 2, 3, 4, 5)
nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2) | | f(2, 4, 5)
nn.ConvTranspose2d(3, 4, 3, stride=2, dilation=2) | | f(1, 3, 3, 4)
nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1) | m(x[0], output_size=(7, 8)) | f(1, 3, 4, 4)
nn.ConvTranspose3d(2, 3, 2, stride=2) | | f(1, 2, 2, 3, 2)
nn.Unfold((2, 3), dilation=(1, 2), padding=1, stride=2) | | f(2, 2, 5, 7)
nn.Fold((5, 6), (2, 3), padding=1, stride=(1, 2)) | | f(2, 12, 18)

nn.MaxPool1d(3, stride=2, padding=1, return_indices=True) | | f(2, 3, 8)
nn.MaxPool2d((2, 3), stride=1, dilation=(1, 2), ceil_mode=True) | | f(2, 3, 5, 7)
nn.MaxPool2d(3, 2, 1, return_indices=True) | | f(3, 6, 7)
nn.MaxPool3d(2, return_indices=True) | | f(1, 2, 4, 5, 4)
nn.AvgPool1d(3, stride=2, padding=1) | | f(2, 3, 8)
nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False, ceil_mode=True) | | f(2, 3, 6, 7)
nn.AvgPool2d(2, divisor_override=3) | | f(2, 4, 4)
nn.AvgPool3d((2, 1, 2)) | | f(1, 2, 4, 3, 4)
nn.LPPool1d(2, 3, stride=1) | | f(2, 3, 7)
nn.LPPool2d(3.0, 2) | | abs(f(2, 3, 4, 4)) + 0.1
nn.LPPool3d(2, 2) | | f(1, 2, 4, 4, 2)
nn.AdaptiveAvgPool1d(3) | | f(2, 3, 7)
nn.AdaptiveAvgPool2d((None, 3)) | | f(2, 3, 4, 7)
nn.AdaptiveAvgPool3d(2) | | f(1, 2, 3, 4, 5)
nn.AdaptiveMaxPool1d(3, return_indices=True) | | f(2, 3, 7)
nn.AdaptiveMaxPool2d((2, 3)) | | f(2, 3, 5, 7)
nn.AdaptiveMaxPool3d(2, return_indices=True) | | f(1, 2, 3, 4, 5)
lambda x, s: F.fractional_max_pool2d(x, 2, output_size=(3, 2), return_indices=True, _random_samples=s) | \
m(*x) | f(2, 3, 6, 7), "!", u(2, 3, 2)
lambda x, s: F.fractional_max_pool3d(x, 2, output_ratio=0.5, _random_samples=s) | m(*x) | \
f(1, 2, 6, 5, 4), "!", u(1, 2, 3)
nn.MaxUnpool1d(2) | m(x[0], x[1], output_size=(7,)) | f(1, 2, 3), k([[[1, 2, 5], [0, 3, 6]]])
nn.MaxUnpool2d(2) | | f(1, 1, 2, 2), k([[[[0, 3], [13, 10]]]])
nn.MaxUnpool3d(2) | | f(1, 1, 1, 2, 1), k([[[[[3], [12]]]]])

nn.BatchNorm1d(4) | | f(5, 4)
nn.BatchNorm1d(4, momentum=None, affine=False) | | f(3, 4, 5)
nn.BatchNorm2d(3, eps=1e-3, momentum=0.3) | | f(2, 3, 4, 3)
nn.BatchNorm2d(3).eval() | | f(2, 3, 4, 3)
nn.BatchNorm3d(2, track_running_stats=False) | | f(2, 2, 3, 2, 2)
nn.SyncBatchNorm(3).eval() | | f(2, 3, 4)
nn.InstanceNorm1d(3, affine=True, track_running_stats=True) | | f(2, 3, 5)
nn.InstanceNorm2d(3) | | f(3, 4, 4)
nn.InstanceNorm3d(2, affine=True) | | f(2, 2, 3, 2, 2)
nn.LayerNorm((3, 4)) | | f(2, 3, 4)
nn.LayerNorm(6, bias=False) | | f(2, 5, 6)
nn.GroupNorm(2, 6) | | f(2, 6, 3, 3)
nn.RMSNorm(6) | | f(2, 5, 6)
nn.LocalResponseNorm(3, alpha=0.1) | | f(2, 5, 3, 3)
nn.CrossMapLRN2d(3, alpha=0.1) | | "!", f(2, 2, 3, 3)

nn.RNN(3, 4, num_layers=2, nonlinearity='relu') | | f(5, 2, 3)
nn.RNN(3, 4, bidirectional=True, batch_first=True) | m(x[0], x[1]) | f(2, 5, 3), f(2, 2, 4)
nn.LSTM(3, 4, num_layers=2, bidirectional=True) | m(x[0], (x[1], x[2])) | f(5, 2, 3), f(4, 2, 4), f(4, 2, 4)
nn.LSTM(3, 5, proj_size=2, batch_first=True) | | f(2, 6, 3)
nn.LSTM(3, 4, bias=False) | | f(6, 3)
nn.GRU(3, 4, num_layers=2, batch_first=True) | | f(2, 5, 3)
nn.GRU(3, 4, bidirectional=True) | m(x[0], x[1]) | f(4, 2, 3), f(2, 2, 4)
nn.LSTM(3, 4, bidirectional=True) | \
(lambda o: [o[0].data, o[1]])(m(RNN.pack_padded_sequence(x[0], [5, 3, 2]))) | f(5, 3, 3)
nn.GRU(3, 4, batch_first=True) | (lambda o: [*RNN.pad_packed_sequence(o[0], True), o[1]])(\
m(RNN.pack_padded_sequence(x[0], x[1], True, False))) | f(3, 4, 3), k([2, 4, 1])
nn.RNNCell(3, 4) | | f(2, 3)
nn.LSTMCell(3, 4) | m(x[0], (x[1], x[2])) | f(2, 3), f(2, 4), f(2, 4)
nn.GRUCell(3, 4, bias=False) | | f(3), f(4)

nn.MultiheadAttention(8, 2) | m(x[0], x[0], x[0]) | f(4, 2, 8)
nn.MultiheadAttention(8, 2, kdim=5, vdim=6, batch_first=True) | m(*x, average_attn_weights=False) | \
f(2, 4, 8), f(2, 3, 5), f(2, 3, 6)
nn.MultiheadAttention(8, 2, add_bias_kv=True, add_zero_attn=True) | m(x[0], x[1], x[1], key_padding_mask=x[2]) | \
f(4, 2, 8), f(3, 2, 8), k([[False, False, True], [False, False, False]])
nn.MultiheadAttention(8, 2, bias=False, batch_first=True) | \
m(*[x[0]] * 3, attn_mask=nn.Transformer.generate_square_subsequent_mask(4), is_causal=True, need_weights=False)[0] | \
f(2, 4, 8)
nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0) | | f(4, 2, 8)
nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, norm_first=True, activation='gelu', batch_first=True) | \
m(x[0], src_key_padding_mask=x[1]) | f(2, 3, 8), k([[False, False, True], [False, False, False]])
nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0, bias=False) | m(x[0], x[1], tgt_mask=x[2]) | \
f(3, 2, 8), f(4, 2, 8), k([[False, True, True], [False, False, True], [False, False, False]])
nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0), 2, nn.LayerNorm(4), False) | | f(3, 2, 4)
nn.Transformer(4, 2, 1, 1, 6, dropout=0.0, batch_first=True) | | f(2, 3, 4), f(2, 2, 4)
F.scaled_dot_product_attention | m(*x, is_causal=True) | f(2, 3, 4, 5), f(2, 3, 6, 5), f(2, 3, 6, 4)
F.scaled_dot_product_attention | m(*x, scale=0.3, enable_gqa=True) | \
f(1, 4, 3, 5), f(1, 2, 4, 5), f(1, 2, 4, 5), f(3, 4)

nn.Embedding(6, 3, padding_idx=1) | | k([[0, 1, 5], [5, 2, 1]])
nn.Embedding(6, 3, max_norm=0.5, norm_type=1.0) | | k([0, 5, 2])
nn.Embedding(6, 3, scale_grad_by_freq=True) | | k([0, 5, 5])
nn.EmbeddingBag(6, 3, mode='sum') | m(x[0], x[1], x[2]) | k([0, 5, 2, 2, 1]), k([0, 2, 2]), f(5)
nn.EmbeddingBag(6, 3, padding_idx=2) | | k([[0, 5, 2], [2, 2, 1]])
nn.EmbeddingBag(6, 3, mode='max', include_last_offset=True) | | k([0, 5, 2, 2, 1]), k([0, 2, 5])
F.one_hot | m(x[0], 4) | k([[0, 3], [1, 2]])

nn.CELU(0.7) | | f(3, 4)
nn.ELU(0.7) | | f(3, 4)
nn.GELU() | | f(3, 4)
nn.GELU('tanh') | | f(3, 4)
nn.GLU(1) | | f(3, 4)
nn.SELU() | | f(3, 4)
nn.Hardshrink() | | f(3, 4)
nn.Hardsigmoid() | | 3 * f(3, 4)
nn.Hardswish() | | 3 * f(3, 4)
nn.Hardtanh(-0.5, 0.7) | | f(3, 4)
nn.LeakyReLU(0.3) | | f(3, 4)
nn.LogSigmoid() | | f(3, 4)
nn.LogSoftmax(-1) | | f(3, 4)
nn.Mish() | | f(3, 4)
nn.PReLU(3) | | f(2, 3, 4)
nn.ReLU() | | np.array([-1.0, 0.0, 2.0], 'f')
nn.ReLU6() | | 5 * f(3, 4)
nn.RReLU().eval() | | f(3, 4)
nn.Sigmoid() | | f(3, 4)
nn.SiLU() | | f(3, 4)
nn.Softmax(0) | | f(3, 4)
nn.Softmax2d() | | f(2, 3, 2, 2)
nn.Softmin(1) | | f(3, 4)
nn.Softplus(2, 1) | | f(3, 4)
nn.Softshrink(0.3) | | f(3, 4)
nn.Softsign() | | f(3, 4)
nn.Tanh() | | f(3, 4)
nn.Tanhshrink() | | f(3, 4)
nn.Threshold(0.1, 20) | | f(3, 4)
nn.Dropout(0.0) | | f(3, 4)
nn.AlphaDropout(0.5).eval() | | f(3, 4)

nn.ReflectionPad1d((2, 1)) | | f(2, 3, 4)
nn.ReflectionPad2d((2, 1, 1, 0)) | | f(2, 3, 4)
nn.ReflectionPad3d(1) | | f(1, 2, 2, 3, 2)
nn.ReplicationPad1d((2, 1)) | | f(2, 3, 4)
nn.ReplicationPad2d((2, 1, 1, 0)) | | f(2, 2, 3, 4)
nn.ReplicationPad3d(1) | | f(1, 2, 2, 3, 2)
nn.CircularPad1d((2, 1)) | | f(2, 3, 4)
nn.CircularPad2d((2, 1, 1, 0)) | | f(2, 2, 3, 4)
nn.CircularPad3d(1) | | f(1, 1, 2, 3, 2)
nn.ConstantPad1d((2, -1), 0.5) | | f(2, 3, 4)
nn.ConstantPad2d((2, 1, -1, 0), 1.5) | | f(2, 3, 4)
nn.ZeroPad2d(1) | | f(2, 3, 4)
nn.ZeroPad3d((1, 0, 0, 1, 1, 1)) | | f(1, 2, 2, 3, 2)

nn.Upsample(scale_factor=2) | | f(1, 2, 3)
nn.Upsample(size=(5, 7), mode='bilinear') | | f(1, 2, 3, 4)
nn.Upsample(scale_factor=(1.5, 2), mode='bicubic', align_corners=True) | | f(1, 2, 4, 4)
nn.Upsample(scale_factor=2, mode='trilinear') | | f(1, 1, 2, 3, 2)
lambda x: F.interpolate(x, size=3, mode='linear', align_corners=False) | | f(1, 2, 7)
lambda x: F.interpolate(x, size=(3, 2), mode='bilinear', antialias=True) | | f(1, 2, 7, 5)
lambda x: F.interpolate(x, scale_factor=0.6, mode='nearest-exact') | | f(1, 2, 7)
lambda x: F.interpolate(x, size=(3, 2), mode='area') | | f(1, 2, 7, 5)
lambda x, t: F.grid_sample(x, F.affine_grid(t, (2, 2, 3, 4), align_corners=False), align_corners=False) | m(*x) | \
f(2, 2, 5, 5), 0.6 * f(2, 2, 3)
lambda x, g: F.grid_sample(x, g, mode='bicubic', padding_mode='reflection', align_corners=True) | m(*x) | \
f(1, 2, 5, 5), f(1, 3, 4, 2)
nn.PixelShuffle(2) | | f(1, 8, 2, 3)
nn.PixelUnshuffle(2) | | f(1, 2, 4, 6)
nn.ChannelShuffle(2) | | f(1, 6, 2, 2)
nn.Flatten(1, 2) | | f(2, 3, 4, 2)
nn.Unflatten(1, (2, 3)) | | f(2, 6, 2)
nn.CosineSimilarity(dim=1) | | f(3, 4), f(3, 4)
nn.PairwiseDistance(p=1.5) | | f(3, 4), f(3, 4)
F.pdist | | f(4, 3)
F.normalize | m(x[0], p=1.0, dim=0) | f(3, 4)

nn.L1Loss() | | f(3, 4), f(3, 4)
nn.MSELoss(reduction='sum') | | f(3, 4), f(3, 4)
nn.HuberLoss(delta=0.7) | | f(3, 4), f(3, 4)
nn.SmoothL1Loss(beta=0.5, reduction='none') | | f(3, 4), f(3, 4)
nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]), ignore_index=1, label_smoothing=0.2) | | \
f(4, 3), k([0, 1, 2, 2])
nn.CrossEntropyLoss(reduction='none') | | f(2, 3, 4), k([[0, 1, 2, -100], [1, 1, 0, 2]])
nn.CrossEntropyLoss(label_smoothing=0.1) | | f(3, 4), u(3, 4)
nn.NLLLoss(weight=torch.tensor([1.0, 2.0, 0.5])) | | f(4, 3), k([0, 1, 2, 2])
nn.PoissonNLLLoss(full=True) | | f(3, 4), "!", 3 * u(3, 4)
nn.GaussianNLLLoss() | | f(3, 4), f(3, 4), u(3, 4)
nn.KLDivLoss(reduction='batchmean') | | f(3, 4), "!", u(3, 4)
nn.BCELoss(weight=torch.tensor([1.0, 2.0])) | | u(3, 2), "!", u(3, 2)
nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0])) | | f(3, 2), "!", u(3, 2)
nn.HingeEmbeddingLoss(0.5) | | f(3, 2), k([[1, -1], [1, 1], [-1, -1]])
nn.MultiLabelMarginLoss() | | f(2, 4), k([[3, 0, -1, 1], [2, -1, 0, 0]])
nn.MultiLabelSoftMarginLoss() | | f(2, 4), "!", np.round(u(2, 4))
nn.MultiMarginLoss(p=2, margin=0.7) | | f(3, 4), k([0, 3, 2])
nn.SoftMarginLoss() | | f(2, 2), "!", np.array([[1, -1], [-1, 1]], 'f')
nn.CosineEmbeddingLoss(0.1) | | f(3, 4), f(3, 4), k([1, -1, 1])
nn.MarginRankingLoss(0.3) | | f(4), f(4), k([1, -1, 1, 1])
nn.TripletMarginLoss(swap=True) | | f(3, 4), f(3, 4), f(3, 4)
nn.TripletMarginWithDistanceLoss(distance_function=nn.PairwiseDistance(1.0)) | | f(3, 4), f(3, 4), f(3, 4)
nn.CTCLoss(zero_infinity=True) | m(x[0].log_softmax(2), *x[1:]) | \
f(6, 2, 4), k([[1, 2, 2], [3, 1, 0]]), k([6, 5]), k([3, 2])
nn.CTCLoss(reduction='sum') | m(x[0].log_softmax(2), x[1], (6, 4), (3, 1)) | f(6, 2, 4), k([1, 2, 2, 3])
nn.AdaptiveLogSoftmaxWithLoss(5, 8, [3, 5], div_value=2.0) | | f(4, 5), k([0, 3, 7, 2])
"""


class Generator:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def f(self, *shape):
        return np.asarray(self.rng.standard_normal(shape), "f")

    def u(self, *shape):
        return self.rng.uniform(0.1, 0.9, shape).astype("f")


def flatten(value):
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in flatten(part)]
    return [] if value is None else [value]


class Store:
    """Arrays put one after the other; ``put`` returns what ``tests/nn/test_layers.py`` needs to take one out."""

    def __init__(self):
        self.parts, self.size = {"floats": [], "integers": []}, {"floats": 0, "integers": 0}

    def put(self, array):
        array = np.asarray(array.detach() if isinstance(array, torch.Tensor) else array)
        kind = "floats" if array.dtype.kind == "f" else "integers"
        start = self.size[kind]
        self.size[kind] += array.size
        self.parts[kind].append(array.astype("f" if kind == "floats" else "i4").ravel())
        return [str(array.dtype), start, list(array.shape)]

    def save(self, path, cases):
        arrays = {kind: np.concatenate(parts) for kind, parts in self.parts.items()}
        np.savez_compressed(path, cases=np.array(json.dumps(cases)), **arrays)


def run(store, number, source, call, inputs):
    torch.manual_seed(number)
    random = Generator(number)
    m = eval(source, {"nn": nn, "F": F, "torch": torch})
    if isinstance(m, nn.Module):
        with torch.no_grad():
            for p in m.parameters():
                if "orthogonal" not in source:
                    p.copy_(0.5 * torch.tensor(random.f(*p.shape)) + (p.dim() == 1))
    state = {} if not isinstance(m, nn.Module) else {n: t.clone() for n, t in m.state_dict().items()}
    names = {"f": random.f, "u": random.u, "k": np.array, "np": np, "abs": abs}
    x, tracked = [], []
    for given in eval(f"[{inputs}]", names):
        if isinstance(given, str):
            tracked.append(False)
            continue
        tracked += [given.dtype.kind == "f"] * (len(tracked) == len(x))
        x.append(torch.from_numpy(given).requires_grad_(tracked[-1]))
    out = flatten(eval(call or "m(*x)", {"m": m, "x": x, "nn": nn, "RNN": nn.utils.rnn}))
    params = dict(m.named_parameters()) if isinstance(m, nn.Module) else {}
    roots = [o for o in out if o.requires_grad]
    cotangents = [torch.tensor(random.f(*o.shape)) for o in roots]
    leaves = [*params.values(), *(t for t, on in zip(x, tracked, strict=True) if on)]
    grads = torch.autograd.grad(roots, leaves, cotangents, allow_unused=True) if roots else [None] * len(leaves)
    after = {} if not isinstance(m, nn.Module) else m.state_dict()
    put = store.put
    return {
        "source": source, "call": call or "m(*x)", "state": {n: put(t) for n, t in state.items()},
        "inputs": [[put(t), on] for t, on in zip(x, tracked, strict=True)],
        "outputs": [[put(o), o.requires_grad] for o in out], "cotangents": [put(c) for c in cotangents],
        "parameters": list(params), "gradients": [None if g is None else put(g) for g in grads],
        "after": {n: put(t) for n, t in after.items() if not torch.equal(t, state[n])},
    }  # fmt: skip


def main():
    store = Store()
    lines = [line for line in CASES.replace("\\\n", "").splitlines() if line.strip()]
    cases = []
    for number, line in enumerate(lines):
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != 3:
            raise ValueError(f"not a case: {line}")
        cases.append(run(store, number, *parts))
    path = Path(__file__).with_name("nn.npz")
    store.save(path, cases)
    print(len(cases), "cases,", path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
