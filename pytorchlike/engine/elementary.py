"""Elementary functions for XLA's CPU compiler, which calls C's library for each element of the ones below.

Computed in float64 with polynomials they are correctly rounded in float32 nearly always, and vectors: a million sines
take 0.7 ms instead of 8. Only how a program is lowered is changed; what it is made of stays JAX's own primitives. As
elsewhere in XLA's programs, numbers below the smallest normal one count as zero.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.interpreters import mlir

#: Elements from which on it is done: for fewer, further kernels cost more than is saved.
LEAST = 4096

#: Multiples of pi / 2 that can be taken away without loss: each product of one with the parts below fits into float64.
_TURNS = 2.0**26


def _halves_of_pi() -> tuple[float, float, float]:
    """pi / 2 as a sum of two numbers of 26 bits each and the rest."""
    high = round(math.pi / 2 * 2**25) / 2**25
    middle = round((math.pi / 2 - high) * 2**52) / 2**52
    return high, middle, (math.pi / 2 - high - middle) + 6.123233995736766e-17  # what float64 lacks of pi / 2


_HIGH, _MIDDLE, _LOW = _halves_of_pi()
_EIGHTH = math.tan(math.pi / 8)


def _series(z: Any, terms: list[float]) -> Any:
    """``terms[0] + z * (terms[1] + z * ...)``."""
    total = jnp.full_like(z, terms[-1])
    for term in reversed(terms[:-1]):
        total = total * z + term
    return total


_SINE = [(-1) ** k / math.factorial(2 * k + 1) for k in range(6)]
_COSINE = [(-1) ** k / math.factorial(2 * k) for k in range(7)]
_ARCTANGENT = [(-1) ** k / (2 * k + 1) for k in range(13)]


def _turned(x: Any) -> tuple[Any, Any, Any]:
    """(sine, cosine, number of quarter turns taken away) of x, with the sine and cosine of what is left."""
    turns = lax.round(x * (2 / math.pi), lax.RoundingMethod.TO_NEAREST_EVEN)
    rest = ((x - turns * _HIGH) - turns * _MIDDLE) - turns * _LOW
    rest = jnp.where(turns == 0, x, rest)  # minus zero stays what it is
    z = rest * rest
    return rest * _series(z, _SINE), _series(z, _COSINE), turns.astype(np.int32)


def _sin(x: Any) -> Any:
    s, c, turns = _turned(x)
    found = jnp.where(turns & 1 == 1, c, s)
    return jnp.where(turns & 2 == 2, -found, found)


def _cos(x: Any) -> Any:
    s, c, turns = _turned(x)
    found = jnp.where(turns & 1 == 1, s, c)
    return jnp.where((turns + 1) & 2 == 2, -found, found)


def _tan(x: Any) -> Any:
    s, c, turns = _turned(x)
    odd = turns & 1 == 1
    return jnp.where(odd, -c, s) / jnp.where(odd, s, c)


def _atan2(y: Any, x: Any) -> Any:
    a, b = jnp.abs(y), jnp.abs(x)
    both = jnp.isinf(a) & jnp.isinf(b)
    a, b = jnp.where(both, 1.0, a), jnp.where(both, 1.0, b)
    small, large = lax.min(a, b), lax.max(a, b)
    beyond = small > _EIGHTH * large  # by the angle from 45 degrees then
    over = jnp.where(beyond, small - large, small)
    under = jnp.where(beyond, small + large, large)
    t = over / jnp.where(under == 0, 1.0, under)
    angle = t * _series(t * t, _ARCTANGENT) + jnp.where(beyond, math.pi / 4, 0.0)
    angle = jnp.where(a > b, math.pi / 2 - angle, angle)
    angle = jnp.where(jnp.signbit(x), math.pi - angle, angle)
    return jnp.where(jnp.signbit(y), -angle, angle)


def _beside(x: Any) -> Any:
    return jnp.sqrt((1 - x) * (1 + x))


def _rem(a: Any, b: Any) -> Any:
    rest = a - jnp.trunc(a / b) * b
    rest = jnp.where(jnp.isinf(b) & jnp.isfinite(a), a, rest)
    return jnp.where(rest == 0, jnp.where(jnp.signbit(a), -0.0, 0.0), rest)


def _many_turns(x: Any) -> Any:
    return jnp.abs(x) >= _TURNS


def _many_times(a: Any, b: Any) -> Any:
    return jnp.abs(a) >= jnp.abs(b) * 2.0**28


#: By primitive: the function in float64, and where it does not hold.
_FUNCTIONS: dict[Any, tuple[Callable[..., Any], Callable[..., Any] | None]] = {
    lax.sin_p: (_sin, _many_turns),
    lax.cos_p: (_cos, _many_turns),
    lax.tan_p: (_tan, _many_turns),
    lax.atan_p: (lambda x: _atan2(x, jnp.ones_like(x)), None),
    lax.atan2_p: (_atan2, None),
    lax.asin_p: (lambda x: _atan2(x, _beside(x)), None),
    lax.acos_p: (lambda x: _atan2(_beside(x), x), None),
    lax.rem_p: (_rem, _many_times),
}

def _rule(primitive: Any) -> Any:
    function, unless = _FUNCTIONS[primitive]
    own = mlir._lowerings[primitive].rule

    def lowered(ctx: Any, *args: Any, **params: Any) -> Any:
        aval = ctx.avals_out[0]
        if aval.dtype != np.float32 or aval.size < LEAST:
            return own(ctx, *args, **params)

        def plainly(*xs: Any) -> Any:  # in float64, which is left alone
            return primitive.bind(*[x.astype(np.float64) for x in xs], **params).astype(np.float32)

        def quickly(*xs: Any) -> Any:
            return function(*[x.astype(np.float64) for x in xs]).astype(np.float32)

        def either(*xs: Any) -> Any:
            return quickly(*xs) if unless is None else lax.cond(jnp.any(unless(*xs)), plainly, quickly, *xs)

        return mlir.lower_fun(either, multiple_results=False)(ctx, *args)

    return lowered


@functools.cache
def parameters() -> Any:
    """What tells JAX to lower programs so, for CPUs."""
    return mlir.LoweringParameters(override_lowering_rules=tuple((p, _rule(p)) for p in _FUNCTIONS))
