"""LSTM, GRU and RNN networks as ONNX's operators, layer by layer, and their cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._builder import Builder, V
from ._table import Args, lowers, refuse

#: Number of gates, and for each of ONNX's gates (input, output, forget, cell; update, reset, new) which of PyTorch's.
_GATES = {"LSTM": (4, (0, 3, 1, 2)), "GRU": (3, (1, 0, 2)), "RNN": (1, (0,))}


def _gates(b: Builder, v: V, kind: str, hidden: int) -> V:
    """A weight's or bias's gates in ONNX's order, with a leading dimension for the direction."""
    n, order = _GATES[kind]
    if n > 1:
        parts = b.op("Split", v, [hidden] * n, outputs=n, axis=0)
        v = V(b.concat([parts[k] for k in order], 0).name, v.dtype, v.shape)
    return b.unsqueeze(v, 0)


def _network(kind: str) -> Callable[[Builder, Args], Any]:
    def rule(b: Builder, a: Args) -> Any:
        if a.training and a.dropout and a.num_layers > 1:
            raise refuse(b, a.step, "it drops outputs at random while training; call model.eval() first")
        directions = 2 if a.bidirectional else 1
        each = len(a.weights) // (directions * a.num_layers)
        if each not in (2, 4):
            raise refuse(b, a.step, "projections (proj_size) have no ONNX operator; use a Linear after the LSTM")
        batched = a.input.rank == 3
        x = a.input if batched else b.unsqueeze(a.input, 1)
        x = b.transpose(x, (1, 0, 2)) if batched and a.batch_first else x
        steps, batch = x.shape[:2]  # type: ignore[index]
        hidden = a.weights[0].shape[0] // _GATES[kind][0]
        states = [s if s is None or s.rank == 3 else b.unsqueeze(s, 1) for s in _states(a)]
        lengths = None if a.lengths is None else b.cast(a.lengths, np.int32)
        last: list[list[V]] = [[] for _ in states]
        for layer in range(a.num_layers):
            weights = a.weights[layer * directions * each : (layer + 1) * directions * each]
            parts = [[_gates(b, w, kind, hidden) for w in weights[d * each : (d + 1) * each]]
                     for d in range(directions)]  # fmt: skip
            w, r = (b.concat([p[k] for p in parts], 0) for k in (0, 1))
            bias = None
            if each == 4:
                bias = b.concat([b.op("Concat", p[2], p[3], axis=1) for p in parts], 0)
            first = [
                None if s is None else s if a.num_layers == 1
                else b.slice(s, [layer * directions], [(layer + 1) * directions], [0]) for s in states
            ]  # fmt: skip
            told = {"activations": [a.nonlinearity.capitalize()] * directions} if kind == "RNN" else {}
            if kind == "GRU":
                told["linear_before_reset"] = 1
            direction = "bidirectional" if directions == 2 else "forward"
            y, *finals = b.op(kind, x, w, r, bias, lengths, *first, outputs=1 + len(states), hidden_size=hidden,
                              direction=direction, dtype=x.dtype, **told)  # fmt: skip
            y = V(y.name, x.dtype, (steps, directions, batch, hidden))
            x = b.reshape(b.transpose(y, (0, 2, 1, 3)), (steps, batch, directions * hidden))
            for k, f in enumerate(finals):
                last[k].append(f)
        out = b.transpose(x, (1, 0, 2)) if batched and a.batch_first else x
        ends = [b.concat(s, 0) for s in last]
        if not batched:
            out, ends = b.op("Squeeze", out, [1]), [b.op("Squeeze", e, [1]) for e in ends]
        return out, *ends

    return rule


def _states(a: Args) -> list[V | None]:
    return [a.h, a.c] if hasattr(a, "c") else [a.h]


for _kind in ("LSTM", "GRU", "RNN"):
    lowers(f"_{_kind.lower()}", f"_{_kind.lower()}_dropout")(_network(_kind))


def _affine(b: Builder, x: V, w: V, bias: V | None) -> V:
    found = b.op("MatMul", x, b.transpose(w, (1, 0)))
    return found if bias is None else b.op("Add", found, bias)


@lowers("lstm_cell")
def _lstm_cell(b: Builder, a: Args) -> Any:
    h, c = a.hx
    gates = b.op("Add", _affine(b, a.input, a.w_ih, a.b_ih), _affine(b, h, a.w_hh, a.b_hh))
    i, f, g, o = b.op("Split", gates, outputs=4, axis=-1, num_outputs=4)
    kept = b.op("Mul", b.op("Sigmoid", f), c)
    c = b.op("Add", kept, b.op("Mul", b.op("Sigmoid", i), b.op("Tanh", g)))
    return b.op("Mul", b.op("Sigmoid", o), b.op("Tanh", c)), c


@lowers("gru_cell")
def _gru_cell(b: Builder, a: Args) -> V:
    xr, xz, xn = b.op("Split", _affine(b, a.input, a.w_ih, a.b_ih), outputs=3, axis=-1, num_outputs=3)
    hr, hz, hn = b.op("Split", _affine(b, a.hx, a.w_hh, a.b_hh), outputs=3, axis=-1, num_outputs=3)
    r, z = (b.op("Sigmoid", b.op("Add", x, h)) for x, h in ((xr, hr), (xz, hz)))
    n = b.op("Tanh", b.op("Add", xn, b.op("Mul", r, hn)))
    return b.op("Add", n, b.op("Mul", z, b.op("Sub", a.hx, n)))


def _simple_cell(kind: str) -> Callable[[Builder, Args], V]:
    return lambda b, a: b.op(kind, b.op("Add", _affine(b, a.input, a.w_ih, a.b_ih), _affine(b, a.hx, a.w_hh, a.b_hh)))


lowers("rnn_tanh_cell")(_simple_cell("Tanh"))
lowers("rnn_relu_cell")(_simple_cell("Relu"))
