"""Products of matrices whose gradients are formulated for the processor."""

from __future__ import annotations

import jax
from jax import lax
from jax.custom_derivatives import SymbolicZero

from ..engine.forms import holds
from ._table import platform

#: Multiplications from which a gradient that contracts rows is formulated anew, see ``by_rows``.
_LARGE = 1 << 18

_NT = (((1,), (1,)), ((), ()))
_NN = (((1,), (0,)), ((), ()))
_TN = (((0,), (0,)), ((), ()))


@jax.custom_jvp
def _by_rows(x: jax.Array, w: jax.Array) -> jax.Array:
    return lax.dot_general(x, w, _NT)


@jax.custom_jvp
def _by_columns(x: jax.Array, w: jax.Array) -> jax.Array:
    return lax.dot_general(x, w, _NN)


# What is transposed in memory is, in reverse, the gradient of the product for ``_by_rows`` and x for ``_by_columns``.


def _by_rows_jvp(primals, tangents):
    x, w = primals
    return _by_rows(x, w), along(
        tangents, lambda dx: _by_rows(dx, w), lambda dw: lax.optimization_barrier(lax.dot_general(dw, x, _NT)).T
    )


def _by_columns_jvp(primals, tangents):
    x, w = primals
    return _by_columns(x, w), along(
        tangents,
        lambda dx: _by_columns(dx, w),
        lambda dw: lax.dot_general(lax.optimization_barrier(x.T), dw, _TN),
    )


def along(tangents, *rules):
    """The sum of what the rules make of the tangents, but those that are known to be zero."""
    parts = [f(t) for f, t in zip(rules, tangents, strict=True) if type(t) is not SymbolicZero]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


_by_rows.defjvp(_by_rows_jvp, symbolic_zeros=True)
_by_columns.defjvp(_by_columns_jvp, symbolic_zeros=True)


def _slow(rows: int, other: jax.Array, stride: int) -> bool:
    """Whether XLA would contract the rows of a large array whose columns fall onto the same lines of the cache."""
    return platform() == "cpu" and stride % 64 == 0 and holds(lambda: rows * other.size >= _LARGE, False)


def by_rows(x: jax.Array, w: jax.Array) -> jax.Array:
    """``x @ w.T``: x (M, K), w (N, K) -> (M, N).

    XLA's transpose contracts the rows of both operands for the gradient of w.  On the CPU, where the length of the left
    one's rows is a multiple of 64, that takes up to 1.7 times as long as the same product with this operand transposed
    in memory first (1024x128 by 1024x512: 1.34 and 0.78 ms on one core; with 1000 columns there is no difference); the
    barrier keeps XLA from folding the transposition back into the product.
    """
    return _by_rows(x, w) if _slow(x.shape[0], w, w.shape[0]) else lax.dot_general(x, w, _NT)


def by_columns(x: jax.Array, w: jax.Array) -> jax.Array:
    """``x @ w``: x (M, K), w (K, N) -> (M, N); see :func:`by_rows`."""
    return _by_columns(x, w) if _slow(x.shape[0], w, x.shape[1]) else lax.dot_general(x, w, _NN)
