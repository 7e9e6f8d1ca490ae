"""Elementwise operators of one argument, complex parts and views, conversion of dtype."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._dtypes import is_boolean, is_complex, is_float, is_inexact, is_integral, refuse, same_dtype, type_name
from ._numeric import fit, half_in_float32, isnan, magnitude, partials, widened
from ._shapes import elementwise
from ._table import Array, op, to_float, view_rule
from .elementwise import (
    angle_of,
    truth,
)

# --- signs and magnitudes ------------------------------------------------


@op(inplace=True, aliases=("absolute",))
def abs(input: Array) -> jax.Array:
    """Absolute value; of complex numbers the real modulus. Derivative 0 at 0. NotImplementedError for booleans."""
    refuse("abs", input, kinds="b")
    if jnp.issubdtype(input.dtype, np.unsignedinteger):
        return input
    return magnitude(input) if is_float(input.dtype) else lax.abs(input)


@op(inplace=True, aliases=("negative",), saves=False)
def neg(input: Array) -> jax.Array:
    """``-input``; unsigned integers wrap. RuntimeError for booleans."""
    if is_boolean(input.dtype):
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use "
            "the `~` or `logical_not()` operator instead."
        )
    return lax.neg(input)


@op(inplace=True, saves=False)
def sign(input: Array) -> jax.Array:
    """-1, 0 or 1 by the sign, in input's dtype; zero derivative. NotImplementedError for complex tensors (see sgn)."""
    if is_complex(input.dtype):
        raise NotImplementedError(
            "Unlike NumPy, torch.sign is not intended to support complex numbers. Please use torch.sgn instead."
        )
    return _sign(input)


def _sign(x: jax.Array) -> jax.Array:
    if is_boolean(x.dtype):
        return x
    return jnp.where(isnan(x), jnp.zeros_like(x), lax.sign(x))


@op(inplace=True)
def sgn(input: Array) -> jax.Array:
    """``input / |input|`` and 0 at 0: the sign of real, the direction of complex numbers."""
    if not is_complex(input.dtype):
        return _sign(input)
    zero = input == 0
    safe = jnp.where(zero, jnp.ones_like(input), input)
    return jnp.where(zero, jnp.zeros_like(input), safe / lax.abs(safe).astype(input.dtype))


@op(differentiable=False, rounds=False)
def signbit(input: Array) -> jax.Array:
    """Whether the sign bit is set (negative numbers and -0.0), boolean. NotImplementedError for complex tensors."""
    refuse("signbit", input, kinds="c")
    if is_boolean(input.dtype):
        return jnp.zeros_like(input)
    return jnp.signbit(input) if is_float(input.dtype) else input < 0


@op(inplace=True)
def reciprocal(input: Array) -> jax.Array:
    """``1 / input``; integers become the default float dtype."""
    return 1 / to_float(input)


@op(inplace=True)
def square(input: Array) -> jax.Array:
    """``input * input``; of booleans int64."""
    x = input.astype(np.int64) if is_boolean(input.dtype) else input
    return x * x


# --- rounding ------------------------------------------------


@op(inplace=True, saves=False)
def ceil(input: Array) -> jax.Array:
    """Smallest whole number not below; integers as they are; zero derivative. Refuses booleans and complex numbers."""
    refuse("ceil", input, kinds="bc")
    return lax.ceil(input) if is_float(input.dtype) else input


@op(inplace=True, saves=False)
def floor(input: Array) -> jax.Array:
    """Largest whole number not above; integers as they are; zero derivative. Refuses booleans and complex numbers."""
    refuse("floor", input, kinds="bc")
    return lax.floor(input) if is_float(input.dtype) else input


def _trunc(x: jax.Array) -> jax.Array:
    return jnp.where(x < 0, lax.ceil(x), lax.floor(x))


@op(inplace=True, aliases=("fix",), saves=False)
def trunc(input: Array) -> jax.Array:
    """Whole number next towards zero; integers as they are; zero derivative. Refuses booleans and complex numbers."""
    refuse("trunc", input, kinds="bc")
    return _trunc(input) if is_float(input.dtype) else input


@op(inplace=True, saves=False)
def frac(input: Array) -> jax.Array:
    """``input - trunc(input)``, with the sign of input. NotImplementedError unless real floating."""
    refuse("frac", input, kinds="bic")
    return input - _trunc(input)


def rounded(x: jax.Array, decimals: int) -> jax.Array:
    """Half-to-even rounding to a number of decimals; zero derivative."""
    refuse("round", x, kinds="bc")
    if is_integral(x.dtype):
        if decimals != 0:
            refuse("round_decimals", x, kinds="i")
        return x
    if decimals == 0:
        return lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)
    power = 10.0 ** math.fabs(decimals)
    wide = widened(x)
    scaled = wide * power if decimals > 0 else wide / power
    whole = lax.round(scaled, lax.RoundingMethod.TO_NEAREST_EVEN)
    return (whole / power if decimals > 0 else whole * power).astype(x.dtype)


@op(inplace=True, saves=False)
def round(input: Array, *, decimals: int = 0) -> jax.Array:
    """Nearest whole number, halves to even, or nearest multiple of ``10**-decimals``; zero derivative.

    Integers stay as they are. NotImplementedError for booleans, complex numbers, and integers with `decimals`.
    """
    return rounded(input, decimals)


# --- exponentials and logarithms ------------------------------------------------


@op(promote="float", inplace=True)
def exp(input: Array) -> jax.Array:
    """``e**input``; integers become the default float dtype."""
    return lax.exp(input)


@op(promote="float", inplace=True)
def expm1(input: Array) -> jax.Array:
    """``e**input - 1``, accurate near 0; integers become the default float dtype."""
    return lax.expm1(input)


def _two_to(whole: jax.Array, dtype: np.dtype) -> jax.Array:
    """``2 ** whole`` for the exponents of normal numbers, written as bits."""
    info = jnp.finfo(dtype)
    bits = (whole + (info.maxexp - 1)).astype(f"int{info.bits}") << info.nmant
    return lax.bitcast_convert_type(bits, dtype)


@partials(lambda out, x: out * math.log(2))
def _exp2(x: jax.Array) -> jax.Array:
    # 2**x as 2**whole * e**(rest log 2): exact for whole x, which lax.exp2 is not on the CPU.  The factor is two, since
    # one would not reach the numbers below the smallest normal one, nor infinity.
    most = 2 * (jnp.finfo(x.dtype).maxexp - 2)
    whole = jnp.clip(lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), -most, most)
    whole = jnp.where(jnp.isnan(x), jnp.zeros_like(x), whole)
    rest = jnp.where(jnp.isinf(x), jnp.zeros_like(x), x - whole)
    whole = whole.astype(np.int32)
    half = whole >> 1
    return lax.exp(rest * math.log(2)) * _two_to(half, x.dtype) * _two_to(whole - half, x.dtype)


@op(promote="float", inplace=True)
@half_in_float32
def exp2(input: Array) -> jax.Array:
    """``2**input``, exact for whole numbers; integers become the default float dtype."""
    return lax.exp2(input) if is_complex(input.dtype) else _exp2(input)


@op(promote="float", inplace=True)
def log(input: Array) -> jax.Array:
    """Natural logarithm: -inf at 0, nan below; integers become the default float dtype."""
    return lax.log(input)


@op(promote="float", inplace=True)
def log1p(input: Array) -> jax.Array:
    """``log(1 + input)``, accurate near 0; integers become the default float dtype."""
    return lax.log1p(input)


def _log_by_parts(x: jax.Array, high: float, low: float, scale: float) -> jax.Array:
    """Logarithm in another base from the binary exponent and the mantissa, so that powers of the base come out exact.

    `high` + `low` is the logarithm of two in that base, `high` short enough to be multiplied by any exponent exactly;
    `scale` is the factor from the natural logarithm.
    """
    proper = (x >= jnp.finfo(x.dtype).tiny) & jnp.isfinite(x)
    mantissa, exponent = jnp.frexp(jnp.where(proper, x, jnp.ones_like(x)))
    small = mantissa < math.sqrt(0.5)
    mantissa = jnp.where(small, mantissa * 2, mantissa)
    exponent = (exponent - small.astype(exponent.dtype)).astype(x.dtype)
    out = exponent * high + (exponent * low + lax.log(mantissa) * scale)
    return jnp.where(proper, out, lax.log(x))


@partials(lambda out, x: 1 / (x * math.log(2)))
def _log2(x: jax.Array) -> jax.Array:
    return _log_by_parts(x, 1.0, 0.0, 1 / math.log(2))


_LOG10_OF_2_HIGH = 1233 / 4096  # 11 bits of log10(2)
_LOG10_OF_2_LOW = 4.605038981195214e-06  # log10(2) - 1233 / 4096


@partials(lambda out, x: 1 / (x * math.log(10)))
def _log10(x: jax.Array) -> jax.Array:
    return _log_by_parts(x, _LOG10_OF_2_HIGH, _LOG10_OF_2_LOW, 1 / math.log(10))


def _complex_log(x: jax.Array, scale: float) -> jax.Array:
    """The logarithm, its parts divided by a number one by one: a complex quotient is NaN where one is infinite."""
    y = lax.log(x)
    return lax.complex(lax.real(y) / scale, lax.imag(y) / scale)


@op(promote="float", inplace=True)
@half_in_float32
def log2(input: Array) -> jax.Array:
    """Logarithm to base 2, exact for powers of two; integers become the default float dtype."""
    return _complex_log(input, math.log(2)) if is_complex(input.dtype) else _log2(input)


@op(promote="float", inplace=True)
@half_in_float32
def log10(input: Array) -> jax.Array:
    """Logarithm to base 10; integers become the default float dtype."""
    return _complex_log(input, math.log(10)) if is_complex(input.dtype) else _log10(input)


@op(promote="float", inplace=True)
def sqrt(input: Array) -> jax.Array:
    """Square root: nan below 0, infinite derivative at 0; integers become the default float dtype."""
    return lax.sqrt(input)


@op(promote="float", inplace=True)
def rsqrt(input: Array) -> jax.Array:
    """``1 / sqrt(input)``; integers become the default float dtype."""
    return lax.rsqrt(input)


# --- trigonometry ------------------------------------------------


@op(promote="float", inplace=True)
def sin(input: Array) -> jax.Array:
    """Sine of radians; integers become the default float dtype."""
    return lax.sin(input)


@op(promote="float", inplace=True)
def cos(input: Array) -> jax.Array:
    """Cosine of radians; integers become the default float dtype."""
    return lax.cos(input)


@op(promote="float", inplace=True)
def tan(input: Array) -> jax.Array:
    """Tangent of radians; integers become the default float dtype."""
    return lax.tan(input)


@op(promote="float", inplace=True, aliases=("arcsin",))
def asin(input: Array) -> jax.Array:
    """Inverse sine in radians, nan outside [-1, 1]; integers become the default float dtype."""
    return lax.asin(input)


@op(promote="float", inplace=True, aliases=("arccos",))
def acos(input: Array) -> jax.Array:
    """Inverse cosine in radians, nan outside [-1, 1]; integers become the default float dtype."""
    return lax.acos(input)


@op(promote="float", inplace=True, aliases=("arctan",))
def atan(input: Array) -> jax.Array:
    """Inverse tangent in radians; integers become the default float dtype."""
    return lax.atan(input)


@op(promote="float", inplace=True)
def sinh(input: Array) -> jax.Array:
    """Hyperbolic sine; integers become the default float dtype."""
    return lax.sinh(input)


@op(promote="float", inplace=True)
def cosh(input: Array) -> jax.Array:
    """Hyperbolic cosine; integers become the default float dtype."""
    return lax.cosh(input)


@op(promote="float", inplace=True, namespace=("torch", "nn.functional"), method=True)
def tanh(input: Array) -> jax.Array:
    """Hyperbolic tangent; integers become the default float dtype."""
    return lax.tanh(input)


@op(promote="float", inplace=True, aliases=("arcsinh",))
def asinh(input: Array) -> jax.Array:
    """Inverse hyperbolic sine; integers become the default float dtype."""
    return lax.asinh(input)


@op(promote="float", inplace=True, aliases=("arccosh",))
def acosh(input: Array) -> jax.Array:
    """Inverse hyperbolic cosine, nan below 1; integers become the default float dtype."""
    return lax.acosh(input)


@op(promote="float", inplace=True, aliases=("arctanh",))
def atanh(input: Array) -> jax.Array:
    """Inverse hyperbolic tangent, nan outside [-1, 1]; integers become the default float dtype."""
    return lax.atanh(input)


@op(promote="float", inplace=True, saves=False)
def deg2rad(input: Array) -> jax.Array:
    """Degrees as radians. RuntimeError for complex tensors."""
    if is_complex(input.dtype):
        raise RuntimeError("deg2rad is not supported for complex tensors.")
    return input * (math.pi / 180)


@op(promote="float", inplace=True, saves=False)
def rad2deg(input: Array) -> jax.Array:
    """Radians as degrees. RuntimeError for complex tensors."""
    if is_complex(input.dtype):
        raise RuntimeError("rad2deg is not supported for complex tensors.")
    return input * (180 / math.pi)


def sinc_body(x: jax.Array) -> jax.Array:
    """sin(pi x) / (pi x), 1 at 0 with derivative 0."""
    return jnp.sinc(x)


@op(promote="float", inplace=True)
@half_in_float32
def sinc(input: Array) -> jax.Array:
    """``sin(pi input) / (pi input)``, 1 at 0; integers become the default float dtype."""
    return sinc_body(input)


# --- sigmoid and special functions of torch's own namespace ------------------------------------------------


@op(promote="float", inplace=True, namespace=("torch", "nn.functional"), method=True)
def sigmoid(input: Array) -> jax.Array:
    """Logistic function ``1 / (1 + exp(-input))``; integers become the default float dtype."""
    return lax.logistic(input)


@op(promote="float", inplace=True)
@half_in_float32
def logit(input: Array, eps: float | None = None) -> jax.Array:
    """``log(input / (1 - input))``, the inverse of the sigmoid.

    Args:
        eps: bring input into [eps, 1 - eps] first; the gradient is zero outside. None: nan outside [0, 1].
    NotImplementedError for complex tensors.
    """
    refuse("logit", input, kinds="c")
    x = input
    if eps is not None:
        x = jnp.where(x < eps, eps, jnp.where(x > 1 - eps, 1 - eps, x))
    return _logit(x)


@partials(lambda out, x: jnp.where((x < 0) | (x > 1), jnp.full_like(x, jnp.nan), 1 / (x * (1 - x))))
def _logit(x: jax.Array) -> jax.Array:
    return lax.log(x) - lax.log1p(-x)


@op(promote="float", inplace=True)
def erf(input: Array) -> jax.Array:
    """Error function. NotImplementedError for complex tensors."""
    refuse("erf", input, kinds="c")
    return lax.erf(input)


@op(promote="float", inplace=True)
def erfc(input: Array) -> jax.Array:
    """``1 - erf(input)``, accurate for large input. NotImplementedError for complex tensors."""
    refuse("erfc", input, kinds="c")
    return lax.erfc(input)


@op(promote="float", inplace=True)
def erfinv(input: Array) -> jax.Array:
    """Inverse error function: infinite at -1 and 1, nan beyond. NotImplementedError for complex tensors."""
    refuse("erfinv", input, kinds="c")
    return lax.erf_inv(input)


@op(promote="float", inplace=True)
@half_in_float32
def lgamma(input: Array) -> jax.Array:
    """Logarithm of the absolute gamma function; inf at the poles. NotImplementedError for complex tensors."""
    refuse("lgamma", input, kinds="c")
    return lgamma_body(input)


@partials(lambda out, x: digamma_body(x))
def lgamma_body(x: jax.Array) -> jax.Array:
    """log |gamma(x)| with the digamma function as derivative."""
    return lax.lgamma(x)


@partials(lambda out, x: polygamma_body(1, x))
def digamma_body(x: jax.Array) -> jax.Array:
    """Derivative of log gamma: -inf at 0 (inf at -0), nan at the other poles."""
    pole = x == 0
    inner = lax.digamma(jnp.where(pole, jnp.ones_like(x), x))
    return jnp.where(pole, jnp.copysign(jnp.full_like(x, jnp.inf), -x), inner)


def _trigamma(x: jax.Array) -> jax.Array:
    """Derivative of digamma: reflected below 1/2, moved up by ten, then asymptotic (DLMF 5.15.5 to 5.15.8)."""
    low = x < 0.5
    z = jnp.where(low, 1 - x, x)
    total = jnp.zeros_like(z)
    for k in range(10):
        total = total + 1 / ((z + k) * (z + k))
    r = 1 / (z + 10)
    r2 = r * r
    tail = 1 / 6 + r2 * (-1 / 30 + r2 * (1 / 42 + r2 * (-1 / 30 + r2 * (5 / 66 - r2 * (691 / 2730)))))
    total = total + r + r2 * 0.5 + r * r2 * tail
    # Only the distance to the nearest whole number enters the sine, so that the poles come out infinite.
    sine = lax.sin(math.pi * (x - lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)))
    return jnp.where(low, (math.pi / sine) ** 2 - total, total)


def polygamma_body(n: int, x: jax.Array) -> jax.Array:
    """n-th derivative of digamma, whose own derivative is the next one."""
    if n == 0:
        return digamma_body(x)

    @partials(lambda out, y: polygamma_body(n + 1, y))
    def value(y: jax.Array) -> jax.Array:
        if n == 1:
            return _trigamma(y)
        return _polygamma_reflected(n, y)

    return value(x)


def _polygamma_reflected(n: int, x: jax.Array) -> jax.Array:
    """polygamma for n > 1: (-1)**(n+1) n! zeta(n+1, x) above 0, where alone ``lax.zeta`` is right, reflected below."""
    sign = -1.0 if n % 2 == 0 else 1.0
    low = x < 0.5
    z = jnp.where(low, 1 - x, x)
    upper = sign * math.factorial(n) * lax.zeta(jnp.full_like(z, n + 1), z)
    # DLMF 5.15.6: the n-th derivative of pi cot(pi x) is pi**(n+1) p_n(cot), with p_0 = c and p_k+1 = -(1 + c**2) p_k'.
    p = np.polynomial.Polynomial([0.0, 1.0])
    for _ in range(n):
        p = np.polynomial.Polynomial([-1.0, 0.0, -1.0]) * p.deriv()
    near = math.pi * (x - lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN))
    pole = low & (near == 0)
    near = jnp.where(pole | ~low, jnp.ones_like(x), near)
    cot = lax.cos(near) / lax.sin(near)
    total = jnp.zeros_like(x)
    for c in reversed(p.coef.tolist()):
        total = total * cot + c
    lower = -sign * upper - math.pi ** (n + 1) * total
    return jnp.where(pole, jnp.full_like(x, sign * math.inf), jnp.where(low, lower, upper))


@op(promote="float", inplace=True)
@half_in_float32
def digamma(input: Array) -> jax.Array:
    """Derivative of lgamma: -inf at 0, nan at the negative whole numbers. NotImplementedError for complex tensors."""
    refuse("digamma", input, kinds="c")
    return digamma_body(input)


def mvlgamma_body(x: jax.Array, p: int) -> jax.Array:
    """Multivariate log gamma of dimension p."""
    if p < 1:
        raise RuntimeError(f"mvlgamma: p has to be greater than or equal to 1, got {p}")
    offsets = 0.25 * p * (p - 1) * math.log(math.pi)
    return sum((lgamma_body(x - 0.5 * i) for i in range(1, p)), lgamma_body(x)) + offsets


@op(promote="float", inplace=True)
@half_in_float32
def mvlgamma(input: Array, p: int) -> jax.Array:
    """Logarithm of the multivariate gamma function of dimension `p`, for input above (p - 1) / 2.

    RuntimeError for p < 1, NotImplementedError for complex tensors.
    """
    refuse("mvlgamma", input, kinds="c")
    return mvlgamma_body(input, p)


@partials(lambda out, x: i1_body(x))
def i0_body(x: jax.Array) -> jax.Array:
    """Modified Bessel function of order 0."""
    return lax.exp(lax.abs(x)) * lax.bessel_i0e(x)


@partials(lambda out, x: i0_body(x) - jnp.where(x == 0, 0.5, out / jnp.where(x == 0, 1.0, x)).astype(x.dtype))
def i1_body(x: jax.Array) -> jax.Array:
    """Modified Bessel function of order 1."""
    return lax.exp(lax.abs(x)) * lax.bessel_i1e(x)


@op(promote="float", inplace=True)
@half_in_float32
def i0(input: Array) -> jax.Array:
    """Modified Bessel function of the first kind, order 0. NotImplementedError for complex tensors."""
    refuse("i0", input, kinds="c")
    return i0_body(input)


# --- tests ------------------------------------------------


@op(name="isnan", differentiable=False, rounds=False)
def isnan_(input: Array) -> jax.Array:
    """Where input is nan (of complex numbers either part), boolean."""
    return isnan(input)


@op(differentiable=False, shapes=elementwise, rounds=False)
def isinf(input: Array) -> jax.Array:
    """Where input is infinite (of complex numbers either part), boolean."""
    if is_complex(input.dtype):
        return jnp.isinf(input.real) | jnp.isinf(input.imag)
    return jnp.isinf(input) if is_float(input.dtype) else jnp.zeros(input.shape, np.bool_)


@op(differentiable=False, shapes=elementwise, rounds=False)
def isfinite(input: Array) -> jax.Array:
    """Where input is neither infinite nor nan (of complex numbers both parts), boolean."""
    return jnp.isfinite(input) if is_inexact(input.dtype) else jnp.ones(input.shape, np.bool_)


@op(differentiable=False, rounds=False)
def isposinf(input: Array) -> jax.Array:
    """Where input is +inf, boolean. RuntimeError for complex tensors."""
    if is_complex(input.dtype):
        raise RuntimeError("isposinf does not support complex inputs.")
    return input == jnp.inf if is_float(input.dtype) else jnp.zeros(input.shape, np.bool_)


@op(differentiable=False, rounds=False)
def isneginf(input: Array) -> jax.Array:
    """Where input is -inf, boolean. RuntimeError for complex tensors."""
    if is_complex(input.dtype):
        raise RuntimeError("isneginf does not support complex inputs.")
    return input == -jnp.inf if is_float(input.dtype) else jnp.zeros(input.shape, np.bool_)


@op(differentiable=False)
def isreal(input: Array) -> jax.Array:
    """Where the imaginary part is zero, boolean; everywhere for real dtypes."""
    return input.imag == 0 if is_complex(input.dtype) else jnp.ones(input.shape, np.bool_)


@op(inplace=True)
def nan_to_num(
    input: Array, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> jax.Array:
    """`input` with nan, +inf and -inf replaced; zero derivative at those places. Integers as they are.

    Args:
        nan: replacement of nan, default 0.
        posinf, neginf: replacements of the infinities, default the largest and lowest finite value of the dtype.
    """
    if is_complex(input.dtype):
        return lax.complex(
            _finite(input.real, nan, posinf, neginf), _finite(input.imag, nan, posinf, neginf)
        )
    return _finite(input, nan, posinf, neginf) if is_float(input.dtype) else input


def _finite(x: jax.Array, nan: float | None, posinf: float | None, neginf: float | None) -> jax.Array:
    info = jnp.finfo(x.dtype)
    high = float(info.max) if posinf is None else posinf
    low = float(info.min) if neginf is None else neginf
    x = jnp.where(jnp.isnan(x), jnp.asarray(0.0 if nan is None else nan, x.dtype), x)
    # The replacement of nan may be infinite itself and stays, hence the tests on the original.
    x = jnp.where(x == jnp.inf, jnp.asarray(high, x.dtype), x)
    return jnp.where(x == -jnp.inf, jnp.asarray(low, x.dtype), x)


@op(inplace=True, differentiable=False, shapes=elementwise)
def bitwise_not(input: Array) -> jax.Array:
    """Bits inverted; logical not of booleans. NotImplementedError for floats and complex numbers."""
    refuse("bitwise_not", input, kinds="fc")
    return lax.bitwise_not(input)


@op(inplace=True, differentiable=False, shapes=elementwise, rounds=False)
def logical_not(input: Array) -> jax.Array:
    """Where input is zero, boolean."""
    return ~truth(input)


# --- parts ------------------------------------------------


@jax.custom_jvp
def _frexp(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    mantissa, exponent = jnp.frexp(x)
    return mantissa, exponent.astype(np.int32)


@_frexp.defjvp
def _frexp_jvp(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, np.ndarray]]:
    mantissa, exponent = _frexp(*primals)
    # The exponent is a step function, the mantissa a stretch of x by 2**-exponent.
    return (mantissa, exponent), (
        tangents[0] * jnp.ldexp(jnp.ones_like(mantissa), -exponent),
        np.zeros(exponent.shape, jax.dtypes.float0),
    )


@op(returns=("mantissa", "exponent"))
def frexp(input: Array) -> tuple[jax.Array, jax.Array]:
    """Mantissa in [0.5, 1) and int32 exponent: ``input == mantissa * 2**exponent``. RuntimeError unless real."""
    if not is_float(input.dtype):
        raise RuntimeError(f"torch.frexp() only supports floating-point dtypes, got {type_name(input.dtype)}")
    mantissa, exponent = _frexp(widened(input))
    return mantissa.astype(input.dtype), exponent


@op()
@half_in_float32
def angle(input: Array) -> jax.Array:
    """Argument of complex numbers in radians; of real ones pi if negative, else 0; nan stays nan.

    Integers become the default float dtype. The gradient at 0 is zero.
    """
    if is_complex(input.dtype):
        return angle_of(lax.imag(input), lax.real(input))
    x = lax.stop_gradient(to_float(input))
    return jnp.where(isnan(x), x, jnp.where(x < 0, math.pi, 0.0).astype(x.dtype))


def _put_real(base: jax.Array, new: jax.Array) -> jax.Array:
    return lax.complex(new, lax.imag(base)) if is_complex(base.dtype) else new


@op(view=view_rule(_put_real), out=False, saves=False)
def real(input: Array) -> jax.Array:
    """View of the real parts; a real tensor itself."""
    return input.real


@op(view=view_rule(lambda base, new: lax.complex(lax.real(base), new)), out=False, saves=False)
def imag(input: Array) -> jax.Array:
    """View of the imaginary parts. RuntimeError for real dtypes."""
    if not is_complex(input.dtype):
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return input.imag


@op(view=view_rule(lambda base, new: lax.complex(new[..., 0], new[..., 1])), method=False, out=False, saves=False)
def view_as_real(input: Array) -> jax.Array:
    """View of a complex tensor (*) as a real one (*, 2) of real and imaginary parts. RuntimeError for real dtypes."""
    if not is_complex(input.dtype):
        raise RuntimeError(f"view_as_real is only supported for complex tensors, got {type_name(input.dtype)}")
    if isinstance(input, np.ndarray):
        step = input.dtype.itemsize // 2
        parts = input.real
        return np.lib.stride_tricks.as_strided(parts, (*parts.shape, 2), (*parts.strides, step))
    return jnp.stack((lax.real(input), lax.imag(input)), axis=-1)


def _put_complex(base: jax.Array, new: jax.Array) -> jax.Array:
    return jnp.stack((lax.real(new), lax.imag(new)), axis=-1)


@op(view=view_rule(_put_complex), method=False, out=False, saves=False)
def view_as_complex(input: Array) -> jax.Array:
    """View of a real tensor (*, 2) as complex numbers (*). RuntimeError unless float32 or float64, last size 2."""
    if input.dtype not in (np.float32, np.float64):
        raise RuntimeError(
            f"view_as_complex is only supported for float and double tensors, but got {type_name(input.dtype)}"
        )
    if input.ndim == 0:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if input.shape[-1] != 2:
        raise RuntimeError(f"Tensor must have a last dimension of size 2, got shape {list(input.shape)}")
    if isinstance(input, np.ndarray):
        return input.view(np.complex64 if input.dtype == np.float32 else np.complex128)[..., 0]
    return lax.complex(input[..., 0], input[..., 1])


def _conjugate(x: jax.Array) -> jax.Array:
    if not is_complex(x.dtype):
        return x
    return np.conjugate(x) if isinstance(x, np.ndarray) else lax.conj(x)


@op(view=view_rule(lambda base, new: _conjugate(new)), out=False, saves=False)
def conj(input: Array) -> jax.Array:
    """View of the complex conjugates; a real tensor itself."""
    return _conjugate(input)


@op(inplace=True, saves=False)
def conj_physical(input: Array) -> jax.Array:
    """Complex conjugates as a new tensor; a real tensor itself."""
    return _conjugate(input)


@op(method=False)
def complex(real: Array, imag: Array) -> jax.Array:
    """Complex tensor from its parts, broadcast. RuntimeError unless both are float32 or both float64."""
    _floats_of_one_dtype("complex", real, imag)
    return lax.complex(*fit(real, imag))


@op(method=False)
def polar(abs: Array, angle: Array) -> jax.Array:
    """Complex tensor ``abs * (cos(angle) + i sin(angle))``, broadcast; both float32 or float64, else RuntimeError."""
    _floats_of_one_dtype("polar", abs, angle)
    radius, phase = fit(abs, angle)
    return lax.complex(radius * lax.cos(phase), radius * lax.sin(phase))


def _floats_of_one_dtype(name: str, a: jax.Array, b: jax.Array) -> None:
    if a.dtype not in (np.float32, np.float64) or b.dtype not in (np.float32, np.float64):
        raise RuntimeError(
            f"{name}: Expected both inputs to be Float or Double tensors but got {type_name(a.dtype)} and "
            f"{type_name(b.dtype)}"
        )
    same_dtype(name, real=a, imag=b)


# --- copies and conversion ------------------------------------------------


@op(out=False, saves=False)
def clone(input: Array) -> jax.Array:
    """Copy with its own storage; the gradient flows through."""
    return input


@op(name="_to_dtype", namespace=None, out=False, saves=False)
def to_dtype(input: Array, dtype: np.dtype) -> jax.Array:
    """`input` converted to a dtype: floats truncate towards zero and wrap in narrow integers, complex numbers lose
    their imaginary part, anything nonzero is True."""
    target = np.dtype(dtype)
    if target == input.dtype:
        return input
    if target == np.bool_:
        return truth(input)
    if is_complex(input.dtype) and not jnp.issubdtype(target, np.complexfloating):
        input = lax.real(input)
    if is_float(input.dtype) and jnp.issubdtype(target, np.integer) and target.itemsize < 8:
        # XLA saturates; PyTorch on the CPU keeps the low bits of a wider integer.
        input = input.astype(np.int64 if target.itemsize == 4 and target.kind == "u" else np.int32)
    if target.name == "float8_e4m3fn":  # which has no infinities: PyTorch saturates
        return jnp.clip(input.astype(np.float32), -448, 448).astype(target)
    return input.astype(target)


for _entry in (
    abs, neg, exp, log, sqrt, rsqrt, sigmoid, tanh, square, reciprocal, sin, cos, erf, clone, to_dtype,
):  # fmt: skip
    _entry.elementwise()
