"""What bodies share: arrays of one shape, half precision in float32, derivatives by rule, and those at 0."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._dtypes import is_complex, is_float, is_inexact
from ._sizes import broadcast_sizes


def isnan(x: jax.Array) -> jax.Array:
    """Where an array of any dtype is nan."""
    return jnp.isnan(x) if is_inexact(x.dtype) else jnp.zeros(x.shape, np.bool_)


def fit(*arrays: Any) -> tuple[jax.Array, ...]:
    """The arrays, expanded to their common shape so that ``lax`` functions take them."""
    first = arrays[0].shape
    if all(x.shape == first for x in arrays):
        return arrays
    shape = broadcast_sizes(*[x.shape for x in arrays])
    return tuple(x if x.shape == shape else jnp.broadcast_to(x, shape) for x in arrays)


def widened(x: Any) -> Any:
    """Half-precision arrays as float32, everything else as it is."""
    return x.astype(np.float32) if is_float(x.dtype) and x.dtype.itemsize == 2 else x


def _widened_array(x: Any) -> Any:
    return widened(x) if isinstance(x, (jax.Array, np.ndarray)) else x


def half_in_float32(body: Callable[..., Any]) -> Callable[..., Any]:
    """Let a body of several steps compute half precision in float32 and round once, as PyTorch's kernels do."""

    @functools.wraps(body)
    def run(*args: Any, **kwargs: Any) -> Any:
        arrays = [a for a in (*args, *kwargs.values()) if isinstance(a, (jax.Array, np.ndarray))]
        floats = {a.dtype for a in arrays if is_float(a.dtype)}
        if len(floats) != 1 or (half := floats.pop()).itemsize != 2:
            return body(*args, **kwargs)
        wide = body(*map(_widened_array, args), **{k: _widened_array(a) for k, a in kwargs.items()})
        if isinstance(wide, tuple):
            return tuple(o.astype(half) if o.dtype == np.float32 else o for o in wide)
        return wide.astype(half) if wide.dtype == np.float32 else wide

    return run


def partials(*rules: Callable[..., Any] | None) -> Callable[[Callable[..., jax.Array]], Callable[..., jax.Array]]:
    """Give an elementwise function its partial derivatives, one ``rule(out, *args)`` per argument, None for zero.

    Arguments whose tangent is known to be zero cost nothing, which matters where one operand is a number.
    """

    def decorate(body: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        f = jax.custom_jvp(body)

        def jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
            out = f(*primals)
            total = None
            for rule, tangent in zip(rules, tangents, strict=True):
                if rule is None or isinstance(tangent, jax.custom_derivatives.SymbolicZero):
                    continue
                term = rule(out, *primals) * tangent
                total = term if total is None else total + term
            if total is None:
                return out, jnp.zeros_like(out)
            return out, jnp.broadcast_to(total, out.shape).astype(out.dtype)

        f.defjvp(jvp, symbolic_zeros=True)
        return functools.wraps(body)(f)

    return decorate


def divisor(n: Any, like: jax.Array) -> jax.Array:
    """``n`` in the shape and dtype of an array that is divided by it.

    XLA multiplies by 1 / n where it sees that a divisor is the same everywhere: the mean of 0, 1, …, 29 is 14.500001.
    """
    return lax.optimization_barrier(jnp.broadcast_to(jnp.asarray(n, like.dtype), like.shape))


def sqrt0(x: jax.Array) -> jax.Array:
    """Square root whose gradient is 0 at 0."""
    zero = x == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, x)))


@partials(lambda out, x: jnp.where(jnp.isnan(x), jnp.zeros_like(x), lax.sign(x)))
def _real_magnitude(x: jax.Array) -> jax.Array:
    return lax.abs(x)


def magnitude(x: jax.Array) -> jax.Array:
    """|x| with derivative 0 at 0, where that of ``lax.abs`` is 1."""
    if is_complex(x.dtype):
        zero = x == 0
        return jnp.where(zero, 0, jnp.abs(jnp.where(zero, 1, x)))
    return _real_magnitude(x) if is_float(x.dtype) else jnp.abs(x)
