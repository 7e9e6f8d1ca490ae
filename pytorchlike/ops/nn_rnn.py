"""Recurrent networks, whole, and their cells.

One operator is one network of any depth, as ``lax.scan`` over time: a loop unrolled into the program compiles for
minutes and trains at half the speed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ._dtypes import type_name
from ._product import by_rows
from ._random import kept
from ._shapes import recurrent
from ._table import Array, Arrays, Key, autocast_dtype, castable, op

# ---- cells -----------------------------------------------------------------------------------------------------------


class _Cell(NamedTuple):
    """One kind of recurrence.

    gates: rows of the weights for each hidden unit.
    opened: (input gates, hidden gates) -> the arrays (..., H) that the new state is made of.
    step: (state, what is opened) -> new state; state[0] is h.
    factors: (state before, state after, what is opened), of any leading shape -> what its derivative multiplies by.
    tangent: (factors, tangents of state, of input gates, of hidden gates) -> tangents of the new state.
    apart: hidden gates, counted from the end, that do not just add to the input gates.
    noted: whether the derivative needs what is opened.
    """

    gates: int
    opened: Callable
    step: Callable
    factors: Callable
    tangent: Callable
    apart: int = 0
    noted: bool = True

    def once(self, state, xg, hg):
        """The new state after the gates."""
        return self.step(state, self.opened(xg, hg))


def _lstm_opened(xg, hg):
    i, f, g, o = jnp.split(xg + hg, 4, -1)
    return lax.logistic(i), lax.logistic(f), jnp.tanh(g), lax.logistic(o)


def _lstm_step(state, opened):
    i, f, g, o = opened
    c = f * state[1] + i * g
    return o * jnp.tanh(c), c


def _lstm_factors(before, after, opened):
    i, f, g, o = opened
    t = jnp.tanh(after[1])
    gates = [g * i * (1 - i), before[1] * f * (1 - f), i * (1 - g * g), t * o * (1 - o)]
    return jnp.concatenate(gates, -1), f, o * (1 - t * t)


def _lstm_tangent(factors, dstate, dxg, dhg):
    gates, kc, kt = factors  # those of the gates are one array: transposed, what they give is written in one pass
    i, f, g, o = jnp.split(gates * (dxg + dhg), 4, -1)
    c = kc * dstate[1] + (i + f + g)
    return o + kt * c, c


def _gru_opened(xg, hg):
    xr, xz, xn = jnp.split(xg, 3, -1)
    hr, hz, hn = jnp.split(hg, 3, -1)
    r = lax.logistic(xr + hr)
    return r, lax.logistic(xz + hz), jnp.tanh(xn + r * hn), hn


def _gru_step(state, opened):
    _, z, n, _ = opened
    return (n + z * (state[0] - n),)


def _gru_factors(before, after, opened):
    r, z, n, hn = opened
    kn = (1 - z) * (1 - n * n)
    return jnp.concatenate([kn * hn * r * (1 - r), (before[0] - n) * z * (1 - z), kn], -1), kn * r, z


def _gru_tangent(factors, dstate, dxg, dhg):
    gates, kh, z = factors
    both = 2 * z.shape[-1]
    added = jnp.concatenate([dxg[..., :both] + dhg[..., :both], dxg[..., both:]], -1)
    r, u, n = jnp.split(gates * added, 3, -1)
    return (z * dstate[0] + (r + u + n + kh * dhg[..., both:]),)


def _tanh_opened(xg, hg):
    return (jnp.tanh(xg + hg),)


def _tanh_factors(before, after, opened):
    return (1 - jnp.square(after[0]),)


def _relu_opened(xg, hg):
    return (jax.nn.relu(xg + hg),)


def _relu_factors(before, after, opened):
    return ((after[0] > 0).astype(after[0].dtype),)


def _plain_step(state, opened):
    return opened


def _plain_tangent(factors, dstate, dxg, dhg):
    return (factors[0] * (dxg + dhg),)


_LSTM = _Cell(4, _lstm_opened, _lstm_step, _lstm_factors, _lstm_tangent)
_GRU = _Cell(3, _gru_opened, _gru_step, _gru_factors, _gru_tangent, apart=1)
_TANH = _Cell(1, _tanh_opened, _plain_step, _tanh_factors, _plain_tangent, noted=False)
_RELU = _Cell(1, _relu_opened, _plain_step, _relu_factors, _plain_tangent, noted=False)


def _alike(x, w):
    """x as autocast has it in a product with w: the state, or another layer's result, which keeps its precision."""
    return x.astype(w.dtype) if x.dtype != w.dtype and w.dtype == autocast_dtype() else x


def _matmul_t(x, w):
    """x @ w.T over the last axis, rows flattened."""
    out = by_rows(_alike(x, w).reshape(-1, x.shape[-1]), w)
    return out.reshape(*x.shape[:-1], w.shape[0])


def _lowered(arrays):
    """Arrays as autocast has them in products, where the operator as a whole is on no list."""
    lower = autocast_dtype()
    return [a if lower is None or not castable(a) else a.astype(lower) for a in arrays]


def _hold(keep, new, old):
    return new if keep is None else tuple(jnp.where(keep, a, b) for a, b in zip(new, old, strict=True))


def _scan_forward(cell, xg, state, w, b, keep, noted):
    """All states, and what the cell has opened (T, N, H for each, side by side) if that is to be ``noted``."""
    columns = w.T  # once: a product with rows contiguous in memory is a third quicker than one with columns

    def body(state, inputs):
        x, k = inputs
        hg = _alike(state[0], w) @ columns
        if b is not None:
            hg = hg + b
        opened = cell.opened(x, hg)
        state = _hold(k, cell.step(state, opened), state)
        return state, (state, jnp.concatenate(opened, -1) if noted else None)

    return lax.scan(body, state, (xg, keep))[1]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _recur(cell, xg, state, w, b, keep):
    """All states (T, N, H) of a recurrence from input gates xg (T, N, G); where keep (T, N, 1) is False it stays.

    The tangent takes all that does not rest on the tangent before it out of the loop: the cell's derivatives, and the
    product with the weight's tangent.  Transposed, that makes the gradient of the weight one product over all steps,
    where the scan's own transpose would add up one small product for each step.
    """
    return _scan_forward(cell, xg, state, w, b, keep, False)[0]


@_recur.defjvp
def _recur_jvp(cell, primals, tangents):
    xg, state, w, b, keep = primals
    dxg, dstate, dw, db, _ = tangents
    states, opened = _scan_forward(cell, xg, state, w, b, keep, cell.noted)
    if opened is not None:
        opened = jnp.split(opened, opened.shape[-1] // states[0].shape[-1], -1)
    before = tuple(jnp.concatenate([s[None], a[:-1]]) for s, a in zip(state, states, strict=True))
    outer = _matmul_t(before[0], dw)
    if b is not None:
        outer = outer + db
    # What adds to the input's gates is one array: transposed, it is written once.
    together = w.shape[0] * (cell.gates - cell.apart) // cell.gates
    dxg = jnp.concatenate([dxg[..., :together] + outer[..., :together], dxg[..., together:]], -1)
    outer = outer[..., together:]

    def body(dstate, inputs):
        factors, dx, u, k = inputs
        dh = _matmul_t(dstate[0], w)
        dh = jnp.concatenate([dh[..., :together], dh[..., together:] + u], -1)
        dnew = _hold(k, cell.tangent(factors, dstate, dx, dh), dstate)
        return dnew, dnew

    return states, lax.scan(body, dstate, (cell.factors(before, states, opened), dxg, outer, keep))[1]


def _recur_projected(xg, state, w, w_hr, keep):
    """LSTM whose h is projected: h = w_hr @ (o * tanh(c))."""
    state = (state[0].astype(w_hr.dtype), state[1])

    def body(state, inputs):
        x, k = inputs
        m, c = _LSTM.once(state, x, _matmul_t(state[0], w))
        state = _hold(k, (_matmul_t(m, w_hr), c), state)
        return state, state

    return lax.scan(body, state, (xg, keep))[1]


# ---- networks --------------------------------------------------------------------------------------------------------


def _layer(cell, x, state, weights, has_biases, reverse, keep, projected):
    """One direction of one layer: outputs (T, N, H) and the last state."""
    w_ih, w_hh = weights[:2]
    b_ih, b_hh = weights[2:4] if has_biases else (None, None)
    if reverse:
        x = jnp.flip(x, 0)
        keep = None if keep is None else jnp.flip(keep, 0)
    xg = _matmul_t(x, w_ih)
    if b_ih is not None:
        # The GRU needs the hidden bias by itself, inside the reset gate.
        xg = xg + (b_ih if cell.apart else b_ih + b_hh)
    if projected:
        states = _recur_projected(xg, state, w_hh, weights[-1], keep)
    else:
        states = _recur(cell, xg, state, w_hh, b_hh if cell.apart else None, keep)
    last = tuple(s[-1] for s in states)
    out = states[0]
    if keep is not None:
        out = jnp.where(keep, out, 0)
    return (jnp.flip(out, 0) if reverse else out), last


def _network(name, cell, input, hx, weights, lengths, settings, rng):
    has_biases, num_layers, dropout, bidirectional, batch_first = settings
    n_state = 2 if cell is _LSTM else 1
    if input.ndim not in (2, 3):
        raise ValueError(f"{name}: Expected input to be 2D or 3D, got {input.ndim}D instead: {list(input.shape)}")
    batched = input.ndim == 3
    x = input if batched else input[:, None]
    if batched and batch_first:
        x = x.transpose(1, 0, 2)
    if not x.shape[0]:
        raise RuntimeError(f"Expected sequence length to be larger than 0 in {name}, but got input {list(input.shape)}")
    directions = 2 if bidirectional else 1
    each, surplus = divmod(len(weights), directions * num_layers)
    plain = 4 if has_biases else 2
    if surplus or each not in ((plain, plain + 1) if n_state == 2 else (plain,)):
        raise RuntimeError(
            f"{name}: got {len(weights)} weights for {num_layers} layers in {directions} directions, "
            f"where each has {plain}"
        )
    hidden = weights[0].shape[0] // cell.gates
    proj_size = weights[each - 1].shape[0] if each > plain else 0
    if x.shape[-1] != weights[0].shape[1]:
        raise RuntimeError(
            f"input.size(-1) must be equal to input_size. Expected {weights[0].shape[1]}, got {x.shape[-1]} ({name})"
        )
    state_dtype = x.dtype
    x, *weights = _lowered((x, *weights))
    if x.dtype != weights[0].dtype:
        raise ValueError(f"{name}: input is {x.dtype}, but the weights are {weights[0].dtype}")
    batch = x.shape[1]
    sizes = (proj_size or hidden, hidden)[:n_state]
    if hx is None:
        hx = tuple(jnp.zeros((num_layers * directions, batch, s), state_dtype) for s in sizes)
    elif not batched:
        hx = tuple(h[:, None] if h.ndim == 2 else h for h in hx)
    for i, (h, s) in enumerate(zip(hx, sizes, strict=True)):
        wanted = (num_layers * directions, batch, s)
        if h.shape != wanted:
            label = f"hidden[{i}]" if n_state == 2 else "hidden"
            raise RuntimeError(f"Expected {label} size {wanted}, got {list(h.shape)} ({name})")
    if autocast_dtype() is not None:  # what comes out of a step of this state and these gates
        hx = tuple(h.astype(jnp.promote_types(h.dtype, x.dtype)) for h in hx)
    keep = None
    if lengths is not None:
        steps = jnp.arange(x.shape[0], dtype=lengths.dtype)
        keep = (steps[:, None] < lengths)[..., None]
    masks = None
    if rng is not None and dropout > 0 and num_layers > 1:
        shape = (num_layers - 1, *x.shape[:2], sizes[0] * directions)
        masks = kept(rng, shape, dropout)
    finals: list[tuple] = []
    for layer in range(num_layers):
        outs = []
        for d in range(directions):
            i = layer * directions + d
            out, last = _layer(
                cell, x, tuple(h[i] for h in hx), weights[i * each : (i + 1) * each], has_biases, d == 1, keep,
                bool(proj_size),
            )  # fmt: skip
            outs.append(out)
            finals.append(last)
        x = outs[0] if directions == 1 else jnp.concatenate(outs, -1)
        if masks is not None and layer < num_layers - 1:
            x = jnp.where(masks[layer], x / (1 - dropout), 0) if dropout < 1 else jnp.zeros_like(x)
    if batched and batch_first:
        x = x.transpose(1, 0, 2)
    last = [jnp.stack(s) for s in zip(*finals, strict=True)]
    if not batched:
        x, last = x[:, 0], [s[:, 0] for s in last]
    return (x, *last)


_RNN_CELLS = {"tanh": _TANH, "relu": _RELU}


def _nonlinearity(name: str):
    if name not in _RNN_CELLS:
        raise ValueError(f"Unknown nonlinearity '{name}'. Select from 'tanh' or 'relu'.")
    return _RNN_CELLS[name]


def _route(name: str):
    """Only a call that drops outputs draws random numbers."""

    def parse(*args, **kwargs):
        drops = kwargs.get("training", False) and kwargs.get("dropout", 0.0) > 0 and kwargs.get("num_layers", 1) > 1
        return (name + "_dropout" if drops else None), args, kwargs

    return parse


@op(namespace=None, out=False, heavy=True, parse=_route("_lstm"), shapes=recurrent)
def _lstm(
    input: Array,
    h: Array | None,
    c: Array | None,
    weights: Arrays,
    lengths: Array | None = None,
    *,
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    training: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
):
    """A whole LSTM network: (outputs, h, c).

    Shapes: input (T, N, I), (N, T, I) with batch_first, or (T, I); h (layers * directions, N, P or H) and c (..., H),
    zeros where None; weights flat, for each layer and direction w_ih (4 H, I), w_hh (4 H, P or H), with has_biases b_ih
    and b_hh (4 H,), and w_hr (P, H) if h is projected -> outputs (T, N, directions * (P or H)).
    Gates: input, forget, cell, output.  lengths (N,): steps past a sequence's length leave its state and give zeros.
    dropout: of the outputs of every layer but the last, in training.
    Source: Hochreiter & Schmidhuber 1997; Sak et al. 2014, arXiv:1402.1128 (projection).
    Raises: RuntimeError or ValueError for shapes that do not fit.
    """
    state = None if h is None else (h, c)
    settings = (has_biases, num_layers, dropout, bidirectional, batch_first)
    return _network("LSTM", _LSTM, input, state, weights, lengths, settings, None)


@op(namespace=None, out=False, heavy=True, shapes=recurrent)
def _lstm_dropout(
    input: Array,
    h: Array | None,
    c: Array | None,
    weights: Arrays,
    lengths: Array | None = None,
    *,
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    training: bool = True,
    bidirectional: bool = False,
    batch_first: bool = False,
    key: Key,
):
    """_lstm in training with dropout."""
    state = None if h is None else (h, c)
    settings = (has_biases, num_layers, dropout, bidirectional, batch_first)
    return _network("LSTM", _LSTM, input, state, weights, lengths, settings, key)


@op(namespace=None, out=False, heavy=True, parse=_route("_gru"), shapes=recurrent)
def _gru(
    input: Array,
    h: Array | None,
    weights: Arrays,
    lengths: Array | None = None,
    *,
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    training: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
):
    """A whole GRU network: (outputs, h); see _lstm.  Weights of 3 H rows: reset, update, new.

    Source: Cho et al. 2014, arXiv:1406.1078, with the reset gate applied after the product, as cuDNN does.
    """
    settings = (has_biases, num_layers, dropout, bidirectional, batch_first)
    return _network("GRU", _GRU, input, None if h is None else (h,), weights, lengths, settings, None)


@op(namespace=None, out=False, heavy=True, shapes=recurrent)
def _gru_dropout(
    input: Array,
    h: Array | None,
    weights: Arrays,
    lengths: Array | None = None,
    *,
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    training: bool = True,
    bidirectional: bool = False,
    batch_first: bool = False,
    key: Key,
):
    """_gru in training with dropout."""
    settings = (has_biases, num_layers, dropout, bidirectional, batch_first)
    return _network("GRU", _GRU, input, None if h is None else (h,), weights, lengths, settings, key)


@op(namespace=None, out=False, heavy=True, parse=_route("_rnn"), shapes=recurrent)
def _rnn(
    input: Array,
    h: Array | None,
    weights: Arrays,
    lengths: Array | None = None,
    *,
    nonlinearity: str = "tanh",
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    training: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
):
    """A whole Elman network, ``h = tanh or relu (w_ih x + b_ih + w_hh h + b_hh)``: (outputs, h); see _lstm."""
    settings = (has_biases, num_layers, dropout, bidirectional, batch_first)
    cell = _nonlinearity(nonlinearity)
    return _network("RNN", cell, input, None if h is None else (h,), weights, lengths, settings, None)


@op(namespace=None, out=False, heavy=True, shapes=recurrent)
def _rnn_dropout(
    input: Array,
    h: Array | None,
    weights: Arrays,
    lengths: Array | None = None,
    *,
    nonlinearity: str = "tanh",
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    training: bool = True,
    bidirectional: bool = False,
    batch_first: bool = False,
    key: Key,
):
    """_rnn in training with dropout."""
    settings = (has_biases, num_layers, dropout, bidirectional, batch_first)
    cell = _nonlinearity(nonlinearity)
    return _network("RNN", cell, input, None if h is None else (h,), weights, lengths, settings, key)


# ---- single steps ----------------------------------------------------------------------------------------------------


def _cell(name, cell, input, state, w_ih, w_hh, b_ih, b_hh):
    if input.ndim not in (1, 2):
        raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead: {list(input.shape)}")
    if input.shape[-1] != w_ih.shape[1]:
        raise RuntimeError(
            f"input has inconsistent input_size: got {input.shape[-1]} expected {w_ih.shape[1]} ({name})"
        )
    for i, h in enumerate(state):
        if h.ndim != input.ndim or (h.ndim == 2 and h.shape[0] != input.shape[0]):
            raise RuntimeError(
                f"Input batch size {input.shape[0]} doesn't match hidden{i} batch size {h.shape[0] if h.ndim else 0} "
                f"({name}: input {list(input.shape)}, hidden {list(h.shape)})"
            )
        if h.shape[-1] != w_hh.shape[1]:
            raise RuntimeError(
                f"hidden{i} has inconsistent hidden_size: got {h.shape[-1]}, expected {w_hh.shape[1]} ({name})"
            )
    input, w_ih, w_hh, b_ih, b_hh = _lowered((input, w_ih, w_hh, b_ih, b_hh))
    if input.dtype != w_ih.dtype:
        raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {type_name(input.dtype)} and "
                           f"{type_name(w_ih.dtype)} ({name}: input and weight)")  # fmt: skip
    xg, hg = _matmul_t(input, w_ih), _matmul_t(state[0], w_hh)
    if b_ih is not None:
        xg = xg + b_ih
    if b_hh is not None:
        hg = hg + b_hh
    return cell.once(state, xg, hg)


@op(method=False, out=False, heavy=True)
def lstm_cell(
    input: Array, hx: Arrays, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None
):
    """One step of an LSTM: (h, c) from input (N, I) or (I,) and hx = (h, c) of (N, H) or (H,); weights as in _lstm."""
    return _cell("lstm_cell", _LSTM, input, hx, w_ih, w_hh, b_ih, b_hh)


@op(method=False, out=False, heavy=True)
def gru_cell(
    input: Array, hx: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None
):
    """One step of a GRU: h from input (N, I) or (I,) and hx (N, H) or (H,); weights of 3 H rows: reset, update, new."""
    return _cell("gru_cell", _GRU, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@op(method=False, out=False, heavy=True)
def rnn_tanh_cell(
    input: Array, hx: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None
):
    """One step of an Elman network with tanh: h from input (N, I) or (I,) and hx (N, H) or (H,)."""
    return _cell("rnn_tanh_cell", _TANH, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@op(method=False, out=False, heavy=True)
def rnn_relu_cell(
    input: Array, hx: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None
):
    """One step of an Elman network with relu: h from input (N, I) or (I,) and hx (N, H) or (H,)."""
    return _cell("rnn_relu_cell", _RELU, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]
