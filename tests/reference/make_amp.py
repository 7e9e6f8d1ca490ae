"""Writes amp.json: PyTorch's dtypes under CPU autocast, its lists, and its GradScaler.  Run it where PyTorch is."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np


def wave(torch, *shape, dtype="float32"):
    return (torch.arange(float(np.prod(shape))).reshape(shape) * 0.37).sin().to(getattr(torch, dtype))


def layers(torch):
    """Modules by name, each with the shape of its input."""
    nn, both = torch.nn, torch.nn.Sequential
    image, video, line, rows = (2, 4, 8, 8), (1, 4, 4, 4, 4), (2, 4, 8), (3, 4)
    return {
        "Linear": (nn.Linear(4, 3), rows), "Conv1d": (nn.Conv1d(4, 3, 3), line), "Conv2d": (nn.Conv2d(4, 3, 3), image),
        "Conv3d": (nn.Conv3d(4, 3, 3), video), "ConvTranspose1d": (nn.ConvTranspose1d(4, 3, 3), line),
        "ConvTranspose2d": (nn.ConvTranspose2d(4, 3, 3), image),
        "Conv2d reflect": (nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"), image),
        "BatchNorm1d": (nn.BatchNorm1d(4), rows), "BatchNorm2d": (nn.BatchNorm2d(4), image),
        "InstanceNorm2d": (nn.InstanceNorm2d(4, affine=True), image), "GroupNorm": (nn.GroupNorm(2, 4), image),
        "LayerNorm": (nn.LayerNorm(4), rows), "RMSNorm": (nn.RMSNorm(4), rows),
        "LocalResponseNorm": (nn.LocalResponseNorm(2), image), "PReLU": (nn.PReLU(), rows), "GELU": (nn.GELU(), rows),
        "Softmax": (nn.Softmax(-1), rows), "LogSoftmax": (nn.LogSoftmax(-1), rows), "Softplus": (nn.Softplus(), rows),
        "GLU": (nn.GLU(), rows), "Upsample": (nn.Upsample(scale_factor=2), image),
        "MaxPool2d": (nn.MaxPool2d(2), image), "MaxPool3d": (nn.MaxPool3d(2), video),
        "AvgPool3d": (nn.AvgPool3d(2), video),
        "AdaptiveAvgPool3d": (nn.AdaptiveAvgPool3d(2), video), "AdaptiveMaxPool3d": (nn.AdaptiveMaxPool3d(2), video),
        "ReplicationPad2d": (nn.ReplicationPad2d(1), image), "ReflectionPad3d": (nn.ReflectionPad3d(1), video),
        "Linear LayerNorm": (both(nn.Linear(4, 4), nn.LayerNorm(4)), rows),
        "Linear RMSNorm": (both(nn.Linear(4, 4), nn.RMSNorm(4)), rows),
        "Linear BatchNorm1d": (both(nn.Linear(4, 4), nn.BatchNorm1d(4)), rows),
        "Conv2d BatchNorm2d": (both(nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3)), image),
        "Conv2d GroupNorm": (both(nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4)), image),
        "RNN": (nn.RNN(4, 5), (3, 2, 4)), "LSTM": (nn.LSTM(4, 5), (3, 2, 4)),
        "LSTM projected": (nn.LSTM(4, 5, proj_size=3), (3, 2, 4)), "GRU": (nn.GRU(4, 5), (3, 2, 4)),
        "RNNCell": (nn.RNNCell(4, 5), rows), "LSTMCell": (nn.LSTMCell(4, 5), rows), "GRUCell": (nn.GRUCell(4, 5), rows),
        "TransformerEncoderLayer": (nn.TransformerEncoderLayer(8, 2, 16), (3, 2, 8)),
    }  # fmt: skip


def cases(torch):
    """Functions by name; what matters is the dtypes of their results."""
    nn, F = torch.nn, torch.nn.functional
    x, h = wave(torch, 3, 3), wave(torch, 3, 3, dtype="bfloat16")
    made = {}
    for name, (layer, shape) in layers(torch).items():
        made[name] = lambda m=layer, s=shape: m(wave(torch, *s))
        made[name + ", bfloat16 in"] = lambda m=layer, s=shape: m(wave(torch, *s, dtype="bfloat16"))
    attention = nn.MultiheadAttention(8, 2)
    query = wave(torch, 3, 2, 8)
    index, rows = torch.tensor([0, 1, 2]), wave(torch, 1, 2, 3, 4)
    made |= {
        "MultiheadAttention": lambda: attention(query, query, query),
        "MultiheadAttention, no weights": lambda: attention(query, query, query, need_weights=False)[0],
        "packed LSTM": lambda: nn.LSTM(4, 5)(
            nn.utils.rnn.pack_padded_sequence(wave(torch, 3, 2, 4), torch.tensor([3, 2])))[0].data,
        "attention with mask": lambda: F.scaled_dot_product_attention(rows, rows, rows, attn_mask=wave(torch, 3, 3)),
        "mm": lambda: x @ x, "mm float64": lambda: x.double() @ x.double(), "mm half": lambda: x.half() @ x.half(),
        "mm int": lambda: torch.ones(2, 2, dtype=torch.int64) @ torch.ones(2, 2, dtype=torch.int64),
        "mm out": lambda: torch.mm(x, x, out=torch.empty(3, 3)), "addmm_": lambda: x.clone().addmm_(x, x),
        "addmm": lambda: torch.addmm(h, x, x), "mv": lambda: x.mv(x[0]), "dot": lambda: x[0].dot(x[0]),
        "einsum product": lambda: torch.einsum("ij,jk->ik", x, x),
        "einsum without sum": lambda: torch.einsum("ij,ij->ij", x, x),
        "tensordot": lambda: torch.tensordot(x, x, dims=1), "matrix_power": lambda: torch.matrix_power(x, 3),
        "cov": lambda: torch.cov(x), "inverse": lambda: torch.inverse((x @ x + torch.eye(3)).bfloat16()),
        "cdist": lambda: torch.cdist(h, h), "prod": lambda: h.prod(),
        "prod float64": lambda: h.prod(dtype=torch.float64),
        "sum": lambda: h.sum(), "exp": lambda: h.exp(), "pow": lambda: h**2, "norm": lambda: h.norm(),
        "fft": lambda: torch.fft.fft(h), "quantile": lambda: torch.quantile(h, 0.5), "trace": lambda: h.trace(),
        "add": lambda: x + h, "cat": lambda: torch.cat([x, h]), "cat equal": lambda: torch.cat([h, h]),
        "stack": lambda: torch.stack([h, x]), "cat float64": lambda: torch.cat([x, x.double()]),
        "index_copy": lambda: x.index_copy(0, index, h), "addcmul": lambda: torch.addcmul(x, h, h),
        "atan2": lambda: torch.atan2(x, h), "cosine_similarity": lambda: F.cosine_similarity(h, x),
        "cross_entropy": lambda: F.cross_entropy(h, index), "nll_loss": lambda: F.nll_loss(h, index),
        "binary_cross_entropy": lambda: F.binary_cross_entropy(h.sigmoid(), x.sigmoid()),
        "mse_loss": lambda: F.mse_loss(h, h), "l1_loss": lambda: F.l1_loss(h, x),
        "huber_loss": lambda: F.huber_loss(h, h),
        "gaussian_nll_loss": lambda: F.gaussian_nll_loss(h, h, h.abs() + 1),
        "kl_div": lambda: F.kl_div(h, h, reduction="sum"),
        "triplet_margin_loss": lambda: F.triplet_margin_loss(h, h + 1, h - 1),
        "embedding": lambda: F.embedding(index, x), "dropout": lambda: F.dropout(h, 0.5),
    }  # fmt: skip
    return made


def dtypes(out):
    if isinstance(out, (tuple, list)):
        return [dtypes(o) for o in out]
    return str(out.dtype).removeprefix("torch.")


def table(torch, lower):
    """Case by case the dtypes of the results under CPU autocast, or the kind of error."""
    found = {}
    for name, run in cases(torch).items():
        with torch.autocast("cpu", dtype=getattr(torch, lower)):
            try:
                found[name] = dtypes(run())
            except Exception as error:
                if "primitive" not in str(error):  # what oneDNN lacks on some machines
                    found[name] = type(error).__name__
    return found


#: (optimizer, options, steps at which a gradient is NaN)
LOOPS = [
    ("SGD", {"lr": 0.1, "momentum": 0.9}, [0, 4]), ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}, [0, 3]),
    ("Adam", {"lr": 0.05}, [0, 1, 4]), ("AdamW", {"lr": 0.05, "amsgrad": True}, [2]), ("NAdam", {}, [3]),
    ("RAdam", {}, [0]), ("Adamax", {}, [3]), ("Adagrad", {}, [0]), ("RMSprop", {"momentum": 0.5}, [3]),
    ("Rprop", {}, [0]), ("ASGD", {}, [3]), ("Adadelta", {}, []), ("Adafactor", {}, [3]),
]  # fmt: skip
STEPS = 7


class Loop:
    """A scaled training loop on a small linear problem."""

    def __init__(self, torch, name, options, bad):
        self.torch, self.bad, self.n = torch, bad, 0
        self.params = [torch.nn.Parameter(torch.arange(6.0).reshape(3, 2).sin()),
                       torch.nn.Parameter(torch.arange(2.0).cos())]  # fmt: skip
        self.opt = getattr(torch.optim, name)(self.params, **options)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
        self.x = torch.arange(12.0).reshape(4, 3).cos()
        self.factors = [torch.tensor(float("nan") if i in bad else 1.0) for i in range(STEPS)]

    def step(self):
        self.opt.zero_grad()
        a, b = self.params
        loss = ((self.x @ a + b) ** 2).mean() * self.factors[self.n]
        self.scaler.scale(loss).backward()
        if self.n % 2:
            self.scaler.unscale_(self.opt)
            self.torch.nn.utils.clip_grad_norm_(self.params, 0.5)
        self.scaler.step(self.opt)
        self.scaler.update()
        self.n += 1

    def result(self):
        """Parameters, scale and growth tracker."""
        state = self.scaler.state_dict()
        values = np.concatenate([p.detach().numpy().ravel() for p in self.params])
        return [*values.astype(float).tolist(), state["scale"], state["_growth_tracker"]]


def main():
    import torch

    warnings.simplefilter("ignore")
    named = torch._C._dispatch_get_registrations_for_dispatch_key
    lists = {
        k: sorted({n.removeprefix("aten::").split(".")[0] for n in named("Autocast" + k)}) for k in ("CPU", "CUDA")
    }
    loops = []
    for name, options, bad in LOOPS:
        loop, path = Loop(torch, name, options, bad), []
        for _ in range(STEPS):
            loop.step()
            path.append(loop.result())
        loops.append({"name": name, "options": options, "bad": bad, "path": path})
    found = {"dtypes": {k: table(torch, k) for k in ("bfloat16", "float16")}, "lists": lists, "loops": loops,
             "versions": {"torch": torch.__version__}}  # fmt: skip
    (Path(__file__).parent / "amp.json").write_text(json.dumps(found, indent=0) + "\n")


if __name__ == "__main__":
    sys.exit(main())
