"""Products of matrices whose gradients are formulated for the processor."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from ..engine.forms import holds
from ._table import platform

#: Multiplications from which a gradient that contracts rows is formulated anew, see ``by_rows``.
_LARGE = 1 << 18
#: Columns that are few, and those up to which it pays to transpose a narrow operand of a batch.
_NARROW, _WIDE = 32, 64


def _dot(x: jax.Array, w: jax.Array, i: int, j: int, wide: jnp.dtype | None = None) -> jax.Array:
    """Products of matrices over these of their two axes; those before are a batch."""
    n = x.ndim - 2
    batch = tuple(range(n))
    return lax.dot_general(x, w, (((n + i,), (n + j,)), (batch, batch)), preferred_element_type=wide)


def _swap(x: jax.Array) -> jax.Array:
    return jnp.swapaxes(x, -1, -2)


#: What is before it, or after it, XLA does not fold into a product.
_fixed = lax.optimization_barrier


def _laid(x: jax.Array) -> jax.Array:
    """x, transposed in memory."""
    return _fixed(_swap(x))


def _with(product: Callable, tangent: Callable) -> Callable:
    """A product whose tangent by the second operand is written so that its transpose is the gradient wanted."""
    made = jax.custom_jvp(product)

    def jvp(primals, tangents):
        x, w = primals
        return made(x, w), along(tangents, lambda dx: made(dx, w), lambda dw: tangent(x, dw))

    made.defjvp(jvp, symbolic_zeros=True)
    return made


def _rows(x, w):
    return _dot(x, w, 1, 1)


def _columns(x, w):
    return _dot(x, w, 1, 0)


#: What is transposed in memory for the gradient by w: the left operand of its product, the right one and the result, or
#: nothing, "fixed": nor is the result where w had been transposed, which XLA would make a product the other way round.
_BY_ROWS = {
    "left": _with(_rows, lambda x, dw: _swap(_fixed(_rows(dw, x)))),
    "right": _with(_rows, lambda x, dw: _dot(_laid(x), _laid(dw), 0, 0)),
    "fixed": _with(_rows, lambda x, dw: _rows(x, _fixed(dw))),
}
_BY_COLUMNS = {
    "left": _with(_columns, lambda x, dw: _dot(_laid(x), _fixed(dw), 0, 0)),
    "right": _with(_columns, lambda x, dw: _swap(_fixed(_rows(_laid(dw), x)))),
    "fixed": _with(_columns, lambda x, dw: _columns(x, _fixed(dw))),
}


def along(tangents, *rules):
    """The sum of what the rules make of the tangents, but those that are known to be zero."""
    parts = [f(t) for f, t in zip(rules, tangents, strict=True) if type(t) is not SymbolicZero]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _turned(x: jax.Array, other: int, left: int, right: int, wide: jnp.dtype | None) -> str | None:
    """How to formulate a gradient (rows, left) by (rows, right) that contracts the rows of x; None: leave it to XLA.

    other: elements of the product's second operand.  wide: the dtype of the product, if it is to be another one.
    """
    if platform() != "cpu" or wide not in (None, x.dtype) or not holds(lambda: x.shape[-2] * other >= _LARGE, False):
        return None
    if x.ndim == 2:  # where the columns of the left one fall onto the same lines of the cache
        return "left" if left % 64 == 0 else None
    if holds(lambda: left >= 2 * right, False):
        if holds(lambda: right <= _NARROW, False):
            return "right"
        long = holds(lambda: right <= _WIDE and left % 64 == 0 and x.shape[-2] >= 2 * right, False)
        return "right" if long else None
    if holds(lambda: left <= _NARROW or max(left, right) <= _WIDE, False):
        return "left"
    return "fixed" if holds(lambda: left < right, False) else None


def by_rows(x: jax.Array, w: jax.Array, wide: jnp.dtype | None = None) -> jax.Array:
    """``x @ w.T``: x (*, M, K), w (*, N, K) -> (*, M, N), of ``wide`` where given.

    XLA's transpose contracts the rows of both operands for the gradient of w.  On the CPU, where the length of the left
    one's rows is a multiple of 64, that takes up to 1.7 times as long as the same product with this operand transposed
    in memory first (1024x128 by 1024x512: 1.34 and 0.78 ms on one core; with 1000 columns there is no difference); the
    barrier keeps XLA from folding the transposition back into the product.  In batches, as in attention, small
    matrices and narrow operands gain most: (64, 128, 128) by (64, 128, 32) 0.59 and 0.39 ms, (8, 512, 512) by
    (8, 512, 64) 3.5 and 1.3, (1000, 8, 8) by (1000, 8, 8) 0.41 and 0.07.
    """
    turned = _turned(x, w.size, w.shape[-2], x.shape[-1], wide)
    return _dot(x, w, 1, 1, wide) if turned is None else _BY_ROWS[turned](x, w)


def by_columns(x: jax.Array, w: jax.Array, wide: jnp.dtype | None = None) -> jax.Array:
    """``x @ w``: x (*, M, K), w (*, K, N) -> (*, M, N), of ``wide`` where given; see :func:`by_rows`."""
    turned = _turned(x, w.size, x.shape[-1], w.shape[-1], wide)
    return _dot(x, w, 1, 0, wide) if turned is None else _BY_COLUMNS[turned](x, w)
