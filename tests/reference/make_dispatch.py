"""Write ``dispatch.json``: the inner operators that PyTorch shows to a ``TorchDispatchMode``, forward and backward.

Run with PyTorch 2.13 installed: ``python tests/reference/make_dispatch.py``. The cases are functions of the library, so
that the tests can run them on this package. What is left out on both sides: ``detach`` (PyTorch's bookkeeping of saved
results and stored gradients), and what its CPU kernels need beside (an empty tensor, copies into other strides).
"""

import json
from pathlib import Path

PATH = Path(__file__).with_name("dispatch.json")
LEFT_OUT = ("aten.detach.default", "aten.empty.memory_format", "aten.new_empty_strided.default")


def _mlp(t):
    net = t.nn.Sequential(t.nn.Linear(4, 8), t.nn.ReLU(), t.nn.Linear(8, 3))
    x, y = t.arange(20.0).reshape(5, 4).sin(), t.tensor([0, 1, 2, 0, 1])
    return [*net.parameters()], lambda: t.nn.functional.cross_entropy(net(x), y)


def _conv(t):
    n = t.nn
    net = n.Sequential(n.Conv2d(3, 4, 3, padding=1), n.BatchNorm2d(4), n.ReLU(), n.MaxPool2d(2), n.AdaptiveAvgPool2d(1),
                       n.Flatten(), n.Linear(4, 2))  # fmt: skip
    x = t.arange(384.0).reshape(2, 3, 8, 8).sin()
    return [*net.parameters()], lambda: net(x).pow(2).sum()


def _norms(t):
    layer, group, x = t.nn.LayerNorm(6), t.nn.GroupNorm(2, 6), t.arange(18.0).reshape(3, 6).sin().requires_grad_()
    return [x, *layer.parameters(), *group.parameters()], lambda: (layer(x) + group(x)).pow(2).mean()


def _products(t):
    a, b, w = (t.arange(float(n)).sin() for n in (24, 40, 30))
    a, b, w = a.reshape(2, 3, 4), b.reshape(2, 4, 5), w.reshape(5, 6)
    leaves = [x.requires_grad_() for x in (a, b, w)]
    return leaves, lambda: ((a @ b) @ w).pow(2).sum()


def _elementwise(t):
    x = t.tensor([0.3, 0.6, 0.9], requires_grad=True)

    def run():
        y = x * 2 + 1
        y = (y - x / 3).exp().log().sqrt().tanh().sigmoid()
        y = 1 - (-y + y**2)
        y = t.maximum(y.abs().clamp(min=0.1), x)
        y = t.nn.functional.gelu(y) + t.nn.functional.silu(y)
        return (t.nn.functional.softmax(y, -1) * x).sum()

    return [x], run


def _views(t):
    x = t.arange(24.0).reshape(4, 6).requires_grad_()

    def run():
        parts = [x[0], x[:, 1:3], x.t().reshape(3, 8), x.transpose(0, 1).contiguous().view(-1), t.cat([x[0], x[0]]),
                 x.unsqueeze(0).expand(2, 4, 6).permute(2, 0, 1), t.stack([x[0], x[1]]), x[t.tensor([0, 2])],
                 x.chunk(2)[0], x.split(3, 1)[0], x.flatten()]  # fmt: skip
        return sum(p.sum() for p in parts)

    return [x], run


def _in_place(t):
    x, w = t.tensor([1.0, -2.0, 3.0]), t.tensor([0.5, 1.0, -1.0], requires_grad=True)

    def run():
        y = w * 2
        y.add_(x).mul_(3).relu_()
        z = t.zeros(3)
        z[1] = 5.0
        z[:2] = x[:2]
        z.copy_(x).zero_().fill_(2)
        return y.sum()

    return [w], run


def _embedding(t):
    table, at = t.nn.Embedding(5, 3), t.tensor([0, 1, 1])
    return [table.weight], lambda: table(at).sum()


def _losses(t):
    f = t.nn.functional
    x, y = t.tensor([0.1, -0.4, 0.8, 2.0], requires_grad=True), t.tensor([0.0, 0.5, 1.0, 0.2])
    return [x], lambda: (f.mse_loss(x, y) + f.l1_loss(x, y) + f.binary_cross_entropy_with_logits(x, y)
                         + f.smooth_l1_loss(x, y))  # fmt: skip


CASES = {"mlp": _mlp, "conv": _conv, "norms": _norms, "products": _products, "elementwise": _elementwise,
         "views": _views, "in place": _in_place, "embedding": _embedding, "losses": _losses}  # fmt: skip


def operators(t, mode_class, case: str, outside: bool = False) -> list[str]:
    """What a mode sees of a case, forward and backward; ``outside``: of its backward pass alone."""

    class Log(mode_class):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if str(func) not in LEFT_OUT:
                seen.append(str(func))
            return func(*args, **(kwargs or {}))

    seen: list[str] = []
    t.manual_seed(0)
    _, run = CASES[case](t)
    if outside:
        loss = run()
        with Log():
            loss.backward()
    else:
        with Log():
            run().backward()
    return seen


def main() -> None:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    found = {name: operators(torch, TorchDispatchMode, name) for name in CASES}
    found["mlp, backward alone"] = operators(torch, TorchDispatchMode, "mlp", outside=True)
    PATH.write_text(json.dumps(found, indent=0) + "\n")


if __name__ == "__main__":
    main()
