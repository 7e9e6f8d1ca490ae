"""Recursions over time as operators: pure functions on JAX arrays, one loop in the compiled program."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...ops._table import Array, op
from ...tensor._wrap import form

__all__ = ["align", "delayed_feedback", "lfilter", "sweep", "transducer"]

#: Samples that one matrix product filters; the loop over time makes one step for each such block.
_BLOCK = 128


def _tables(a, b, block: int):
    """What a block of a filter is made of: a, b (C, p), with a[0] = 1 and b[0] for the newest sample taken away.

    The state (p values) is the transposed direct form's: y = b0 x + s[0]; s = shift(s) + b x - a y. The filter's whole
    response is kept together, since its numerator often cancels what its denominator amplifies.
    Returns the impulse response (C, L), the output of each state (C, L, p), the state after an impulse (C, L, p), and
    the states' transition over the block (C, p, p).
    """
    a0, a, b0, b = a[:, :1], a[:, 1:], b[:, :1], b[:, 1:]
    channels, order = a.shape
    b, a, b0 = b / a0, a / a0, b0 / a0

    def step(state, x):  # state (C, p + 1, p): one row is driven by the impulse, the others start from 1 each
        y = b0 * x + state[..., 0]
        rest = jnp.pad(state[..., 1:], ((0, 0), (0, 0), (0, 1)))
        state = rest + b[:, None] * x[..., None] - a[:, None] * y[..., None]
        return state, (y, state)

    start, impulse = np.zeros((channels, order + 1, order)), np.zeros((block, channels, order + 1))
    start[:, 1:], impulse[0, :, 0] = np.eye(order), 1
    _, (y, states) = lax.scan(step, jnp.asarray(start, a.dtype), jnp.asarray(impulse, a.dtype))
    y, states = y.transpose(1, 0, 2), states.transpose(1, 2, 0, 3)  # (C, L, p + 1), (C, p + 1, L, p)
    return y[..., 0], y[..., 1:], states[:, 0], states[:, 1:, -1]


def _recursive(x, a, b):
    """x (B, C, T), a, b (C, n): the rational filter.

    Block by block: outputs are a triangular Toeplitz matrix of the impulse response times the block's inputs, plus the
    response to the state before it. So the loop over time is over blocks, and the rest are matrix products.
    """
    batch, channels, length = x.shape
    block = max(min(_BLOCK, length), 1)
    count = -(-length // block)
    # the tables in double precision where there is any: they are small, and their errors would add up
    wide = jnp.promote_types(x.dtype, jax.dtypes.canonicalize_dtype(np.float64))
    tables = _tables(a.astype(wide), b.astype(wide), block)
    response, decay, drive, leap = (t.astype(x.dtype) for t in tables)
    lag = np.arange(block)[:, None] - np.arange(block)
    toeplitz = jnp.where(lag >= 0, response[:, np.maximum(lag, 0)], 0)

    high = lax.Precision.HIGHEST
    blocks = jnp.pad(x, ((0, 0), (0, 0), (0, count * block - length))).reshape(batch, channels, count, block)
    out = jnp.einsum("cij,bckj->kbci", toeplitz, blocks, precision=high)
    if count > 1:
        driven = jnp.einsum("cjp,bckj->kbcp", drive[:, ::-1], blocks, precision=high)

        def advance(state, new):
            return new + jnp.einsum("cqp,bcq->bcp", leap, state, precision=high), state

        _, states = lax.scan(advance, jnp.zeros((batch, channels, a.shape[1] - 1), x.dtype), driven)
        out = out + jnp.einsum("clp,kbcp->kbcl", decay, states, precision=high)
    return out.transpose(1, 2, 0, 3).reshape(batch, channels, count * block)[..., :length]


@op(name="_audio_lfilter", namespace=None, out=False)
def _lfilter(waveform: Array, a_coeffs: Array, b_coeffs: Array):
    """A rational filter along the last axis: waveform (B, C, T), coefficients (C, n), a_coeffs[:, 0] not 0."""
    if a_coeffs.shape[1] == 1 or waveform.shape[-1] == 0:
        return waveform * (b_coeffs / a_coeffs)[:, :1]
    return _recursive(waveform, a_coeffs, b_coeffs)


@op(name="_audio_delayed_feedback", namespace=None, out=False)
def _delayed_feedback(waveform: Array, delays: Array, decay: float):
    """y[t] = x[t] + decay * y[t - delays[t]] with delays (T,) of at least 1; waveform (C, T); zero before the start."""
    length = waveform.shape[-1]

    def step(past, inputs):
        t, x, delay = inputs
        before = lax.dynamic_index_in_dim(past, t - delay + length, 1, keepdims=False)
        y = x + decay * before
        return lax.dynamic_update_index_in_dim(past, y, t + length, 1), y

    past = jnp.zeros((waveform.shape[0], 2 * length), waveform.dtype)
    _, out = lax.scan(step, past, (jnp.arange(length), waveform.T, delays.astype(jnp.int64)))
    return out.T


@op(name="_audio_sweep", namespace=None, out=False)
def _sweep(
    waveform: Array, places: Array, length: int, feedback: float, gain: float, direct: float, quadratic: bool
):  # fmt: skip
    """The flanger's recursion: waveform (B, C, T), places (C, T): how far back, in samples, the swept echo is read.

    The line of ``length`` samples holds the input plus ``feedback`` times the last echo.
    """
    batch, channels, steps = waveform.shape
    whole = jnp.floor(places)
    fraction = (places - whole).astype(waveform.dtype)
    lane = jnp.arange(channels)

    def step(carry, inputs):
        line, last, position = carry
        x, n, f = inputs
        position = (position + length - 1) % length
        line = lax.dynamic_update_index_in_dim(line, x + last * feedback, position, 2)
        n = n.astype(jnp.int32)
        d0, d1 = (line[:, lane, (position + n + i) % length] for i in (0, 1))
        if quadratic:
            d2 = line[:, lane, (position + n + 2) % length] - d0
            d1 = d1 - d0
            a, b = d2 * 0.5 - d1, d1 * 2 - d2 * 0.5
            last = d0 + (a * f + b) * f
        else:
            last = d0 + (d1 - d0) * f
        return (line, last, position), x * direct + last * gain

    start = (
        jnp.zeros((batch, channels, length), waveform.dtype),
        jnp.zeros((batch, channels), waveform.dtype),
        jnp.asarray(0, jnp.int32),
    )
    _, out = lax.scan(step, start, (waveform.transpose(2, 0, 1), whole.T, fraction.T))
    return out.transpose(1, 2, 0)


# ---- sequence transduction -------------------------------------------------------------------------------------------

#: Stands for log(0): far below any sum of logarithms, yet finite, so that gradients have no nan.
_NEVER = -1e30


def _transducer_costs(logits, targets, times, sizes, blank: int, normalise: bool):
    """Minus log-likelihoods (B,) by Graves' forward recursion, one step for each anti-diagonal t + u."""
    x = logits.astype(jnp.float32) if logits.dtype != jnp.float64 else logits
    scores = jax.nn.log_softmax(x, -1) if normalise else x
    batch, steps, labels = scores.shape[:3]  # labels: U + 1
    none = scores[..., blank]
    picked = jnp.take_along_axis(scores[:, :, : labels - 1], targets[:, None, :, None], -1)[..., 0]
    emit = jnp.pad(picked, ((0, 0), (0, 0), (0, 1)), constant_values=_NEVER)
    u = jnp.arange(labels)
    t = jnp.arange(steps + labels - 1)[:, None] - u  # (D, U + 1): the time at place u of a diagonal
    inside = (t >= 0) & (t < steps)
    read = jnp.clip(t, 0, steps - 1)
    none_d, emit_d = (jnp.where(inside, a[:, read, u], _NEVER).transpose(1, 0, 2) for a in (none, emit))
    first = jnp.broadcast_to(jnp.where(u == 0, 0.0, _NEVER).astype(x.dtype), (batch, labels))

    def step(alpha, inputs):
        by_blank, by_label = inputs
        stay = alpha + by_blank
        move = jnp.pad((alpha + by_label)[:, :-1], ((0, 0), (1, 0)), constant_values=_NEVER)
        new = jnp.maximum(jnp.logaddexp(stay, move), _NEVER)
        return new, new

    _, later = lax.scan(step, first, (none_d[:-1], emit_d[:-1]))
    alphas = jnp.concatenate([first[None], later])  # (D, B, U + 1)
    row = jnp.arange(batch)
    end = jnp.clip(times - 1, 0)
    return -(alphas[end + sizes, row, sizes] + none[row, end, sizes])


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _bounded_costs(logits, targets, times, sizes, blank: int, normalise: bool, clamp: float):
    """:func:`_transducer_costs`; the entries of each cost's gradient stay within ``clamp``."""
    return _transducer_costs(logits, targets, times, sizes, blank, normalise)


def _bounded_forward(logits, targets, times, sizes, blank, normalise, clamp):
    return _transducer_costs(logits, targets, times, sizes, blank, normalise), (logits, targets, times, sizes)


def _bounded_backward(blank, normalise, clamp, saved, cotangent):
    logits, *rest = saved
    _, pull = jax.vjp(lambda x: _transducer_costs(x, *rest, blank, normalise), logits)
    (gradient,) = pull(jnp.ones_like(cotangent))
    gradient = jnp.clip(gradient, -clamp, clamp) * cotangent[:, None, None, None]
    return gradient.astype(logits.dtype), None, None, None


_bounded_costs.defvjp(_bounded_forward, _bounded_backward)


@op(name="_audio_transducer", namespace=None, out=False)
def _transducer(
    logits: Array, targets: Array, logit_lengths: Array, target_lengths: Array, blank: int, clamp: float,
    normalise: bool,
):  # fmt: skip
    """Costs (B,) of logits (B, T, U + 1, D); clamp > 0 bounds the entries of each cost's gradient."""
    lengths = [a.astype(jnp.int32) for a in (targets, logit_lengths, target_lengths)]
    if clamp > 0:
        return _bounded_costs(logits, *lengths, blank, normalise, clamp)
    return _transducer_costs(logits, *lengths, blank, normalise)


@op(name="_audio_align", namespace=None, out=False, differentiable=False)
def _align(log_probs: Array, targets: Array, blank: int):
    """The likeliest CTC path (T,) of log_probs (T, C) through targets (L,): Viterbi's recursion."""
    length = targets.shape[0]
    states = 2 * length + 1
    symbols = jnp.full((states,), blank, jnp.int32).at[1::2].set(targets.astype(jnp.int32))
    before = jnp.pad(symbols, (2, 0), constant_values=-1)[:states]
    skips = (symbols != blank) & (symbols != before)
    scores = jnp.take(log_probs, symbols, axis=1)
    low = jnp.asarray(-jnp.inf, scores.dtype)
    alpha = jnp.where(np.arange(states) < 2, scores[0], low)

    def step(alpha, score):
        one = jnp.pad(alpha, (1, 0), constant_values=-jnp.inf)[:states]
        two = jnp.where(skips, jnp.pad(alpha, (2, 0), constant_values=-jnp.inf)[:states], low)
        # ties go to the state itself, then to the nearer one
        both = jnp.stack([alpha, one, two])
        back = jnp.where((two > one) & (two > alpha), 2, jnp.where((one > alpha) & (one > two), 1, 0))
        return both.max(0) + score, back.astype(jnp.int32)

    alpha, backs = lax.scan(step, alpha, scores[1:])
    if length:
        end = jnp.where(alpha[states - 1] > alpha[states - 2], states - 1, states - 2).astype(jnp.int32)
    else:
        end = jnp.asarray(0, jnp.int32)

    def trace(state, back):
        return state - back[state], state

    first, path = lax.scan(trace, end, backs, reverse=True)
    return symbols[jnp.concatenate([first[None], path])]


lfilter = form(_lfilter)
delayed_feedback = form(_delayed_feedback)
sweep = form(_sweep)
transducer = form(_transducer)
align = form(_align)
