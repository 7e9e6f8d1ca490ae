"""Elementwise operators of two or more arguments: arithmetic, comparison, logic, bits, bounds."""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..engine import check
from ..engine.op import Lifted
from ._dtypes import is_boolean, is_complex, is_float, is_inexact, is_integral, is_number, refuse, same_dtype, type_name
from ._numeric import divisor, fit, half_in_float32, isnan, partials, widened
from ._shapes import elementwise
from ._table import ONCE, Array, Operand, Scalar, op, result_type, to_float
from .create import number_as


def _mask(condition: jax.Array, out: jax.Array) -> jax.Array:
    return condition.astype(out.dtype)


# --- arithmetic ------------------------------------------------


def _scaled(name: str, x: jax.Array, alpha: Scalar) -> jax.Array:
    """``x * alpha`` in x's dtype, refusing an alpha that the dtype cannot hold."""
    kind = np.dtype(jnp.result_type(alpha)).kind  # of an array, too: a number that varies
    if kind == "b" and not is_boolean(x.dtype):
        raise RuntimeError(f"{name}: Boolean alpha only supported for Boolean results. Got {type_name(x.dtype)}")
    if kind in "fcV" and (is_integral(x.dtype) or is_boolean(x.dtype)):
        raise RuntimeError(f"{name}: For integral input tensors, argument alpha must not be a floating point number.")
    if kind == "c" and not is_complex(x.dtype):
        raise RuntimeError(f"{name}: For non-complex input tensors, argument alpha must not be a complex number.")
    if isinstance(alpha, (bool, int, float, complex)) and alpha == 1:
        return x
    return x * jnp.asarray(alpha, x.dtype)


def _no_bool_difference(a: Any, b: Any) -> None:
    """Raise RuntimeError for booleans, as they are given: promoted, they are numbers."""
    boolean = [
        x is True or x is False or getattr(x, "dtype", None) == np.bool_ or (type(x) is Lifted and x.type is bool)
        for x in (a, b)
    ]
    if all(boolean):
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. "
            "Use the `^` or `logical_xor()` operator instead."
        )
    if any(boolean):
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. "
            "If you are trying to invert a mask, use the `~` or `logical_not()` operator instead."
        )


@op(promote="common", inplace=True, saves=False, sums=True)
def add(input: Array, other: Operand, *, alpha: Scalar = 1) -> jax.Array:
    """Sum ``input + alpha * other``, broadcast; of booleans the logical or.

    Raises RuntimeError if shapes do not broadcast or a float `alpha` meets integers.
    """
    a, b = fit(input, other)
    return _plus_scaled("add", a, b, alpha, operator.add)


@op(promote="common", inplace=True, saves=False, aliases=("subtract",), given=_no_bool_difference, sums=True)
def sub(input: Array, other: Operand, *, alpha: Scalar = 1) -> jax.Array:
    """Difference ``input - alpha * other``, broadcast. Raises RuntimeError for a boolean operand."""
    a, b = fit(input, other)
    return _plus_scaled("sub", a, b, alpha, operator.sub)


@op(promote="common", method=False, saves=False, given=_no_bool_difference, sums=True)
def rsub(input: Array, other: Operand, *, alpha: Scalar = 1) -> jax.Array:
    """Reversed difference ``other - alpha * input``, broadcast. Raises RuntimeError for a boolean operand."""
    b, a = fit(input, other)
    return _plus_scaled("rsub", a, b, alpha, operator.sub)


def _plus_scaled(name: str, a: jax.Array, b: jax.Array, alpha: Scalar, combine: Callable[..., Any]) -> jax.Array:
    if isinstance(alpha, (bool, int, float, complex)) and alpha == 1:
        _scaled(name, b, alpha)
        return combine(a, b)
    return combine(widened(a), _scaled(name, widened(b), alpha)).astype(a.dtype)


@op(promote="common", inplace=True, aliases=("multiply",), scales=True)
def mul(input: Array, other: Operand) -> jax.Array:
    """Product, broadcast; of booleans the logical and."""
    a, b = fit(input, other)
    return a * b


def _no_zero_divisor(name: str, divisor: jax.Array) -> jax.Array:
    """The divisor made safe for integer division; a zero is reported when a value is next read."""
    zero = divisor == 0
    check(~jnp.any(zero), RuntimeError, f"{name}: ZeroDivisionError: integer division by zero")
    return jnp.where(zero, jnp.ones_like(divisor), divisor)


def _floor_quotient(name: str, a: jax.Array, b: jax.Array) -> jax.Array:
    refuse(name, a, kinds="bc")
    if is_integral(a.dtype):
        b = _no_zero_divisor(name, b)
        quotient = lax.div(a, b)
        if jnp.issubdtype(a.dtype, np.unsignedinteger):
            return quotient
        return quotient - ((lax.rem(a, b) != 0) & ((a < 0) != (b < 0))).astype(a.dtype)
    dtype = a.dtype
    # The quotient is a step function: its derivative is zero.
    a, b = lax.stop_gradient(widened(a)), lax.stop_gradient(widened(b))
    rest = lax.rem(a, b)
    true = lax.div(a, b)
    quotient = (a - rest) / b
    quotient = jnp.where((rest != 0) & ((b < 0) != (rest < 0)), quotient - 1, quotient)
    # (a - rest) / b may miss the whole number by a rounding.
    whole = jnp.floor(quotient)
    whole = jnp.where(quotient - whole > 0.5, whole + 1, whole)
    whole = jnp.where(quotient == 0, jnp.copysign(jnp.zeros_like(a), true), whole)
    return jnp.where(b == 0, true, whole).astype(dtype)


def _trunc_quotient(name: str, a: jax.Array, b: jax.Array) -> jax.Array:
    refuse(name, a, kinds="bc")
    if is_integral(a.dtype):
        return lax.div(a, _no_zero_divisor(name, b))
    quotient = lax.stop_gradient(widened(a)) / lax.stop_gradient(widened(b))
    if quotient.dtype != a.dtype:
        # Half precision rounds the quotient before it is truncated.
        info = jnp.finfo(a.dtype)
        quotient = lax.reduce_precision(quotient, info.nexp, info.nmant)
    return jnp.trunc(quotient).astype(a.dtype)


# JAX's own rule multiplies by other**-2, which overflows for a small divisor.
@partials(lambda out, a, b: 1 / b, lambda out, a, b: -out / b)
def _ratio(a: jax.Array, b: jax.Array) -> jax.Array:
    return lax.div(a, b)


def _quotient(a: jax.Array, b: jax.Array) -> jax.Array:
    return _ratio(a, divisor(b, a)) if b.ndim == 0 and a.dtype == b.dtype else _ratio(*fit(a, b))


@op(promote="common", inplace=True, aliases=("divide",), scales=True)
def div(input: Array, other: Operand, *, rounding_mode: str | None = None) -> jax.Array:
    """Quotient, broadcast.

    Args:
        rounding_mode: None for the true quotient (integers become the default float dtype), "trunc" to round towards
            zero, "floor" to round down; both keep the promoted dtype and have zero derivative.
    Raises RuntimeError for another `rounding_mode`, for shapes that do not broadcast, and at the next read for an
    integer zero divisor; NotImplementedError for rounding of booleans and complex numbers.
    """
    if rounding_mode is None:
        return _quotient(to_float(input), to_float(other))
    a, b = fit(input, other)
    if rounding_mode == "trunc":
        return _trunc_quotient("div_trunc", a, b)
    if rounding_mode == "floor":
        return _floor_quotient("div_floor", a, b)
    raise RuntimeError(
        f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found {rounding_mode!r}"
    )


@op(promote="float", inplace=True)
def true_divide(input: Array, other: Operand) -> jax.Array:
    """True quotient, broadcast; integers become the default float dtype."""
    return _quotient(input, other)


@op(promote="common", inplace=True, shapes=elementwise)
def floor_divide(input: Operand, other: Operand) -> jax.Array:
    """Quotient rounded down, in the promoted dtype; zero derivative.

    Raises NotImplementedError for booleans and complex numbers; RuntimeError at the next read for an integer divided
    by zero.
    """
    return _floor_quotient("floor_divide", *fit(input, other))


@op(promote="common", inplace=True, shapes=elementwise)
def remainder(input: Operand, other: Operand) -> jax.Array:
    """Remainder with the sign of `other`, as Python's ``%``.

    Raises NotImplementedError for booleans and complex numbers; RuntimeError at the next read for an integer divided
    by zero.
    """
    refuse("remainder", input, kinds="bc")
    a, b = fit(input, other)
    if is_integral(a.dtype):
        b = _no_zero_divisor("remainder", b)
    rest = lax.rem(a, b)
    return jnp.where((rest != 0) & ((b < 0) != (rest < 0)), rest + b, rest)


@op(promote="common", inplace=True, shapes=elementwise)
def fmod(input: Array, other: Operand) -> jax.Array:
    """Remainder with the sign of `input`, as C's ``fmod``.

    Raises NotImplementedError for booleans and complex numbers; RuntimeError at the next read for an integer divided
    by zero.
    """
    refuse("fmod", input, kinds="bc")
    a, b = fit(input, other)
    return lax.rem(a, _no_zero_divisor("fmod", b) if is_integral(a.dtype) else b)


# --- powers ------------------------------------------------


def _integer_power(base: jax.Array, exponent: jax.Array) -> jax.Array:
    """Integers to integer powers by repeated squaring; to a negative power 0, or the sign where the base is a unit."""
    negative = exponent < 0

    def step(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        out, square, left = state
        return jnp.where(left & 1 == 1, out * square, out), square * square, left >> 1

    left = jnp.where(negative, 0, exponent)
    out, _, _ = lax.while_loop(lambda s: jnp.any(s[2] > 0), step, (jnp.ones_like(base), base, left))
    if jnp.issubdtype(base.dtype, np.unsignedinteger):
        return out
    sign = jnp.where(exponent & 1 == 0, jnp.ones_like(base), base)
    inverse = jnp.where(jnp.abs(base) == 1, jnp.where(base == 1, base, sign), jnp.zeros_like(base))
    return jnp.where(negative, inverse, out)


def _power_of_number(x: jax.Array, exponent: complex) -> jax.Array:
    """``x ** exponent`` by the cheapest exact formulation for a number known while tracing."""
    if isinstance(exponent, complex):
        return lax.pow(x, jnp.full_like(x, exponent))
    if exponent == 0:
        return jnp.ones_like(x)
    if exponent == 0.5:
        return lax.sqrt(x)
    if exponent == -0.5:
        return lax.rsqrt(x)
    if exponent == -1:
        return 1 / x
    if exponent == int(exponent) if np.isfinite(exponent) else False:
        if abs(exponent) <= 32:
            return lax.integer_pow(x, int(exponent))
        if is_integral(x.dtype):
            return _integer_power(x, jnp.full_like(x, int(exponent)))
    return lax.pow(x, jnp.full_like(x, exponent))


def _power(base: Any, exponent: Any, dtype: Any) -> jax.Array:
    if isinstance(exponent, (bool, int, float, complex)):
        x = widened(jnp.asarray(base, dtype))
        if is_boolean(x.dtype):
            refuse("pow", x, kinds="b")
        if isinstance(exponent, complex) and exponent.imag == 0:
            exponent = exponent.real
        if is_integral(x.dtype) and exponent < 0:
            raise RuntimeError(
                "Integers to negative integer powers are not allowed. Convert the base to a floating dtype first "
                f"(pow of {type_name(dtype)} to {exponent})"
            )
        return _power_of_number(x, exponent).astype(dtype)
    x, y = fit(widened(jnp.asarray(base, dtype)), widened(jnp.asarray(exponent, dtype)))
    refuse("pow", x, kinds="b")
    if is_integral(x.dtype):
        return _integer_power(x, y)
    if is_complex(x.dtype):
        # 0 ** 0 is 1, and a zero base must not turn into exp(0 * -inf).
        return jnp.where(y == 0, jnp.ones_like(x), lax.pow(x, y))
    return _real_power(x, y).astype(dtype)


def _power_wrt_base(out: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.where(y == 0, jnp.zeros_like(out), y * lax.pow(x, y - 1))


def _power_wrt_exponent(out: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    flat = (x == 0) & (y >= 0)
    return jnp.where(flat, jnp.zeros_like(out), out * jnp.log(jnp.where(flat, jnp.ones_like(x), x)))


@partials(_power_wrt_base, _power_wrt_exponent)
def _real_power(x: jax.Array, y: jax.Array) -> jax.Array:
    return lax.pow(x, y)


def _no_negative_exponent(input: Any, exponent: Any) -> None:
    """Where the exponent of integers varies, its sign is looked at when there is one."""
    if type(exponent) is Lifted and exponent.type is int and np.dtype(getattr(input, "dtype", float)).kind in "iub":
        check(exponent.array >= 0, RuntimeError, "Integers to negative integer powers are not allowed.")


@op(inplace=True, given=_no_negative_exponent)
def pow(input: Operand, exponent: Operand) -> jax.Array:
    """``input`` to the power `exponent`, broadcast, in the promoted dtype.

    Integers stay integers. A negative Python exponent of an integer tensor raises RuntimeError; negative exponents in
    an integer tensor give 0, or a unit for the bases 1 and -1.
    """
    return _power(input, exponent, result_type(input, exponent))


@op(inplace=True)
def float_power(input: Operand, exponent: Operand) -> jax.Array:
    """``input ** exponent`` in float64, or complex128 if an operand is complex."""
    return _power(input, exponent, np.complex128 if _any_complex(input, exponent) else np.float64)


def _any_complex(*operands: Any) -> bool:
    return any(isinstance(x, complex) or (hasattr(x, "dtype") and is_complex(x.dtype)) for x in operands)


# --- fused arithmetic ------------------------------------------------


@op(promote="common", inplace=True)
@half_in_float32
def addcmul(input: Array, tensor1: Array, tensor2: Array, *, value: Scalar = 1) -> jax.Array:
    """``input + value * tensor1 * tensor2``, broadcast."""
    x, a, b = fit(input, tensor1, tensor2)
    # Integer tensors truncate a fractional value, as PyTorch does.
    return x + a * jnp.asarray(value, a.dtype) * b


@op(promote="common", inplace=True)
@half_in_float32
def addcdiv(input: Array, tensor1: Array, tensor2: Array, *, value: Scalar = 1) -> jax.Array:
    """``input + value * tensor1 / tensor2``, broadcast. Raises RuntimeError for integer operands."""
    if is_integral(input.dtype) or is_boolean(input.dtype):
        raise RuntimeError(
            f"Integer division with addcdiv is not supported (operands are {type_name(input.dtype)}); use "
            "(input + value * torch.trunc(tensor1 / tensor2)).to(input.dtype) or convert to a floating dtype."
        )
    x, a, b = fit(input, tensor1, tensor2)
    return x + _scaled("addcdiv", a, value) / b


@op(inplace=True)
def lerp(input: Array, end: Array, weight: Operand) -> jax.Array:
    """Linear interpolation ``input + weight * (end - input)``, exact at both ends.

    Raises RuntimeError if the dtypes of input, end and a tensor weight differ, NotImplementedError for integers.
    """
    same_dtype("lerp", input=input, end=end, **({} if is_number(weight) else {"weight": weight}))
    refuse("lerp", input, kinds="bi")
    if isinstance(weight, (bool, int, float, complex)):
        x, y = (widened(v) for v in fit(input, end))
        near = y - x
        # From the nearer end, so that rounding vanishes at weight 0 and at weight 1.
        return (x + weight * near if abs(weight) < 0.5 else y - near * (1 - weight)).astype(input.dtype)
    x, y, w = (widened(v) for v in fit(input, end, jnp.asarray(weight, input.dtype)))
    near = y - x
    return jnp.where(jnp.abs(w) < 0.5, x + w * near, y - near * (1 - w)).astype(input.dtype)


# --- comparison ------------------------------------------------


@op(promote="common", inplace=True, differentiable=False, shapes=elementwise, rounds=False)
def eq(input: Array, other: Operand) -> jax.Array:
    """Elementwise ``input == other``, boolean."""
    return lax.eq(*fit(input, other))


@op(promote="common", inplace=True, differentiable=False, aliases=("not_equal",), shapes=elementwise, rounds=False)
def ne(input: Array, other: Operand) -> jax.Array:
    """Elementwise ``input != other``, boolean."""
    return lax.ne(*fit(input, other))


@op(promote="common", inplace=True, differentiable=False, aliases=("greater",), shapes=elementwise, rounds=False)
def gt(input: Array, other: Operand) -> jax.Array:
    """Elementwise ``input > other``, boolean. Raises NotImplementedError for complex operands."""
    refuse("gt", input, kinds="c")
    return lax.gt(*fit(input, other))


@op(promote="common", inplace=True, differentiable=False, aliases=("greater_equal",), shapes=elementwise, rounds=False)
def ge(input: Array, other: Operand) -> jax.Array:
    """Elementwise ``input >= other``, boolean. Raises NotImplementedError for complex operands."""
    refuse("ge", input, kinds="c")
    return lax.ge(*fit(input, other))


@op(promote="common", inplace=True, differentiable=False, aliases=("less",), shapes=elementwise, rounds=False)
def lt(input: Array, other: Operand) -> jax.Array:
    """Elementwise ``input < other``, boolean. Raises NotImplementedError for complex operands."""
    refuse("lt", input, kinds="c")
    return lax.lt(*fit(input, other))


@op(promote="common", inplace=True, differentiable=False, aliases=("less_equal",), shapes=elementwise, rounds=False)
def le(input: Array, other: Operand) -> jax.Array:
    """Elementwise ``input <= other``, boolean. Raises NotImplementedError for complex operands."""
    refuse("le", input, kinds="c")
    return lax.le(*fit(input, other))


@op(differentiable=False)
def isclose(
    input: Array, other: Array, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> jax.Array:
    """Whether ``|input - other| <= atol + rtol * |other|``, elementwise; equal infinities are close.

    Args:
        equal_nan: two nan are close to each other.
    Raises RuntimeError if the dtypes differ or a tolerance is negative.
    """
    same_dtype("isclose", input=input, other=other)
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"isclose: rtol and atol must be at least zero, but got rtol={rtol} and atol={atol}")
    a, b = fit(input, other)
    close = a == b
    if equal_nan and is_inexact(a.dtype):
        close |= jnp.isnan(a) & jnp.isnan(b)
    if rtol == 0 and atol == 0:
        return close
    if is_boolean(a.dtype) or is_integral(a.dtype):
        a, b = to_float(a), to_float(b)
    gap = jnp.abs(widened(a) - widened(b))
    return close | (jnp.isfinite(gap) & (gap <= atol + jnp.abs(rtol * widened(b))))


# --- logic and bits ------------------------------------------------


def truth(x: jax.Array) -> jax.Array:
    """Nonzero elements as True; nan counts as True."""
    return x if is_boolean(x.dtype) else x != 0


@op(inplace=True, differentiable=False, shapes=elementwise, rounds=False)
def logical_and(input: Array, other: Array) -> jax.Array:
    """Elementwise logical and of the nonzero-ness of any two dtypes, boolean."""
    a, b = fit(input, other)
    return truth(a) & truth(b)


@op(inplace=True, differentiable=False, shapes=elementwise, rounds=False)
def logical_or(input: Array, other: Array) -> jax.Array:
    """Elementwise logical or of the nonzero-ness of any two dtypes, boolean."""
    a, b = fit(input, other)
    return truth(a) | truth(b)


@op(inplace=True, differentiable=False, shapes=elementwise, rounds=False)
def logical_xor(input: Array, other: Array) -> jax.Array:
    """Elementwise exclusive or of the nonzero-ness of any two dtypes, boolean."""
    a, b = fit(input, other)
    return truth(a) ^ truth(b)


@op(promote="common", inplace=True, differentiable=False, shapes=elementwise)
def bitwise_and(input: Operand, other: Operand) -> jax.Array:
    """Bitwise and of integers, logical of booleans. Raises NotImplementedError for floats and complex numbers."""
    refuse("bitwise_and", input, kinds="fc")
    a, b = fit(input, other)
    return a & b


@op(promote="common", inplace=True, differentiable=False, shapes=elementwise)
def bitwise_or(input: Operand, other: Operand) -> jax.Array:
    """Bitwise or of integers, logical of booleans. Raises NotImplementedError for floats and complex numbers."""
    refuse("bitwise_or", input, kinds="fc")
    a, b = fit(input, other)
    return a | b


@op(promote="common", inplace=True, differentiable=False, shapes=elementwise)
def bitwise_xor(input: Operand, other: Operand) -> jax.Array:
    """Bitwise exclusive or of integers, logical of booleans. Raises NotImplementedError for floats and complex."""
    refuse("bitwise_xor", input, kinds="fc")
    a, b = fit(input, other)
    return a ^ b


@op(promote="common", inplace=True, differentiable=False)
def bitwise_left_shift(input: Operand, other: Operand) -> jax.Array:
    """Integer bits moved left by `other` places; 0 if `other` is negative or reaches the width.

    Raises NotImplementedError for booleans, floats and complex numbers.
    """
    refuse("lshift", input, kinds="bfc")
    a, b = fit(input, other)
    outside = (b < 0) | (b >= 8 * a.dtype.itemsize)
    return jnp.where(outside, jnp.zeros_like(a), lax.shift_left(a, jnp.where(outside, jnp.zeros_like(b), b)))


@op(promote="common", inplace=True, differentiable=False)
def bitwise_right_shift(input: Operand, other: Operand) -> jax.Array:
    """Integer bits moved right by `other` places, keeping the sign; only the sign stays if `other` is negative or
    reaches the width.

    Raises NotImplementedError for booleans, floats and complex numbers.
    """
    refuse("rshift", input, kinds="bfc")
    a, b = fit(input, other)
    width = 8 * a.dtype.itemsize
    outside = (b < 0) | (b >= width)
    if jnp.issubdtype(a.dtype, np.unsignedinteger):
        shifted = lax.shift_right_logical(a, jnp.where(outside, jnp.zeros_like(b), b))
        return jnp.where(outside, jnp.zeros_like(a), shifted)
    return lax.shift_right_arithmetic(a, jnp.where(outside, jnp.full_like(b, width - 1), b))


# --- selection and bounds ------------------------------------------------


@op(
    method=False,
    deprecated=(
        "condition._value.meta.dtype.kind == 'u'",
        "where received a uint8 condition tensor. This behavior is deprecated and will be removed in a future version "
        "of PyTorch. Use a boolean condition instead.",
        ONCE,
    ),
)
def where(condition: Array, input: Operand, other: Operand) -> jax.Array:
    """`input` where `condition` holds, else `other`; all three broadcast, the two values promoted.

    Raises RuntimeError if `condition` is neither boolean nor uint8.
    """
    if not is_boolean(condition.dtype) and condition.dtype != np.uint8:
        raise RuntimeError(
            f"where expected condition to be a boolean tensor, but got a tensor with dtype "
            f"{type_name(condition.dtype)}; compare it with 0 first"
        )
    dtype = result_type(input, other)
    return lax.select(*fit(truth(condition), number_as("where", input, dtype), number_as("where", other, dtype)))


@partials(
    lambda out, x, lo: _mask(x >= lo, out),
    lambda out, x, lo: _mask(x < lo, out),
)
def _at_least(x: jax.Array, lo: jax.Array) -> jax.Array:
    return lax.max(x, lo)


@partials(
    lambda out, x, hi: _mask(x <= hi, out),
    lambda out, x, hi: _mask(x > hi, out),
)
def _at_most(x: jax.Array, hi: jax.Array) -> jax.Array:
    return lax.min(x, hi)


@partials(
    lambda out, x, lo, hi: _mask((x >= lo) & (x <= hi), out),
    lambda out, x, lo, hi: _mask((lo < hi) & (x < lo), out),
    lambda out, x, lo, hi: _mask((hi < lo) | (x > hi), out),
)
def _between(x: jax.Array, lo: jax.Array, hi: jax.Array) -> jax.Array:
    return lax.min(lax.max(x, lo), hi)


def _bounds_fit(input: Any, *bounds: Any) -> None:
    """Refuse ints that the dtype of the tensor they bound does not hold, and a number beside a tensor."""
    tensors = [getattr(b, "ndim", 0) > 0 for b in bounds if b is not None]
    if len(tensors) == 2 and tensors[0] != tensors[1] and any(not hasattr(b, "ndim") for b in bounds):
        raise TypeError("clamp() received an invalid combination of arguments: bounds are both numbers or both tensors")
    kind = getattr(input, "dtype", None)
    if kind is not None and np.dtype(kind).kind in "iu":
        for bound in bounds:
            if type(bound) is int:
                number_as("clamp", bound, kind)


@op(promote="common", inplace=True, aliases=("clip",), given=_bounds_fit)
def clamp(input: Array, min: Operand | None = None, max: Operand | None = None) -> jax.Array:
    """`input` bounded below by `min` and above by `max`, either a number, a tensor or None; `max` wins over `min`.

    The gradient passes where the value is within or on the bounds; nan passes through.
    Raises RuntimeError without any bound, NotImplementedError for complex numbers.
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    refuse("clamp", input, kinds="c")
    if min is None:
        return _at_most(*fit(input, max))
    if max is None:
        return _at_least(*fit(input, min))
    return _between(*fit(input, min, max))


@op(promote="common", inplace=True, given=_bounds_fit)
def clamp_min(input: Array, min: Operand) -> jax.Array:
    """`input` bounded below by `min`; the gradient passes on the bound. NotImplementedError for complex numbers."""
    refuse("clamp_min", input, kinds="c")
    return _at_least(*fit(input, min))


@op(promote="common", inplace=True, given=_bounds_fit)
def clamp_max(input: Array, max: Operand) -> jax.Array:
    """`input` bounded above by `max`; the gradient passes on the bound. NotImplementedError for complex numbers."""
    refuse("clamp_max", input, kinds="c")
    return _at_most(*fit(input, max))


def _no_complex(name: str, x: jax.Array) -> None:
    if is_complex(x.dtype):
        raise RuntimeError(f"{name} not implemented for complex tensors, got {type_name(x.dtype)}.")


# At ties each operand gets half of the gradient; a nan in either lets it pass to both.
@partials(
    lambda out, a, b: jnp.where(a == b, 0.5, jnp.where(a < b, 0.0, 1.0)).astype(out.dtype),
    lambda out, a, b: jnp.where(a == b, 0.5, jnp.where(b < a, 0.0, 1.0)).astype(out.dtype),
)
def _larger(a: jax.Array, b: jax.Array) -> jax.Array:
    return lax.max(a, b)


@partials(
    lambda out, a, b: jnp.where(a == b, 0.5, jnp.where(a > b, 0.0, 1.0)).astype(out.dtype),
    lambda out, a, b: jnp.where(a == b, 0.5, jnp.where(b > a, 0.0, 1.0)).astype(out.dtype),
)
def _smaller(a: jax.Array, b: jax.Array) -> jax.Array:
    return lax.min(a, b)


@op(promote="common")
def maximum(input: Array, other: Array) -> jax.Array:
    """Elementwise larger value; nan if either is nan. Ties share the gradient. RuntimeError for complex tensors."""
    _no_complex("maximum", input)
    return _larger(*fit(input, other))


@op(promote="common")
def minimum(input: Array, other: Array) -> jax.Array:
    """Elementwise smaller value; nan if either is nan. Ties share the gradient. RuntimeError for complex tensors."""
    _no_complex("minimum", input)
    return _smaller(*fit(input, other))


@op(promote="common")
def fmax(input: Array, other: Array) -> jax.Array:
    """Elementwise larger value, ignoring a nan beside a number. Ties give the gradient to `input`."""
    _no_complex("fmax", input)
    a, b = fit(input, other)
    return jnp.where((a >= b) | isnan(b), a, b)


@op(promote="common")
def fmin(input: Array, other: Array) -> jax.Array:
    """Elementwise smaller value, ignoring a nan beside a number. Ties give the gradient to `input`."""
    _no_complex("fmin", input)
    a, b = fit(input, other)
    return jnp.where((a <= b) | isnan(b), a, b)


@op(inplace=True)
def heaviside(input: Array, values: Array) -> jax.Array:
    """Step function: 0 below zero, 1 above, `values` at zero. RuntimeError if dtypes differ or are complex."""
    _no_complex("heaviside", input)
    same_dtype("heaviside", input=input, values=values)
    a, b = fit(lax.stop_gradient(input), lax.stop_gradient(values))
    return jnp.where(a == 0, b, jnp.where(a > 0, jnp.ones_like(a), jnp.zeros_like(a)))


# --- functions of two arguments ------------------------------------------------


def _over_square(numerator: Any, y: jax.Array, x: jax.Array) -> jax.Array:
    square = x * x + y * y
    zero = square == 0
    return jnp.where(zero, jnp.zeros_like(square), numerator / jnp.where(zero, jnp.ones_like(square), square))


@partials(lambda out, y, x: _over_square(x, y, x), lambda out, y, x: _over_square(-y, y, x))
def angle_of(y: jax.Array, x: jax.Array) -> jax.Array:
    """atan2(y, x), whose derivative at the origin is zero."""
    return lax.atan2(y, x)


@op(promote="float", inplace=True, aliases=("arctan2",))
@half_in_float32
def atan2(input: Array, other: Array) -> jax.Array:
    """Angle of the point (other, input), in (-pi, pi]. The gradient at the origin is zero. NotImplementedError for
    complex tensors."""
    refuse("atan2", input, kinds="c")
    return angle_of(*fit(input, other))


@partials(lambda out, a, b: a / out, lambda out, a, b: b / out)
def _hypot(a: jax.Array, b: jax.Array) -> jax.Array:
    a, b = jnp.abs(a), jnp.abs(b)
    big, small = lax.max(a, b), lax.min(a, b)
    ratio = small / jnp.where(big == 0, jnp.ones_like(big), big)
    return jnp.where(jnp.isinf(a) | jnp.isinf(b), jnp.full_like(a, jnp.inf), big * jnp.sqrt(1 + ratio * ratio))


@op(promote="common", inplace=True)
@half_in_float32
def hypot(input: Array, other: Array) -> jax.Array:
    """Hypotenuse ``sqrt(input**2 + other**2)`` without overflow. NotImplementedError unless real floating."""
    refuse("hypot", input, kinds="bic")
    return _hypot(*fit(input, other))


@partials(lambda out, a, b: jnp.where(a == 0, jnp.zeros_like(a), out / jnp.where(a == 0, jnp.ones_like(a), a)), None)
def _copysign(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.copysign(a, b)


@op(promote="float", inplace=True)
def copysign(input: Array, other: Operand) -> jax.Array:
    """Magnitude of `input` with the sign of `other`, signed zeros included. NotImplementedError for complex tensors."""
    refuse("copysign", input, kinds="c")
    return _copysign(*fit(input, other))


@partials(lambda out, a, b: 1, None)
def _nextafter(a: jax.Array, b: jax.Array) -> jax.Array:
    return lax.nextafter(a, b)


@op(promote="common", inplace=True, saves=False)
def nextafter(input: Array, other: Array) -> jax.Array:
    """Next representable value after `input` towards `other`; the gradient is that of `input` itself, as in PyTorch.

    NotImplementedError unless real floating.
    """
    refuse("nextafter", input, kinds="bic")
    return _nextafter(*fit(input, other))


@op(inplace=True)
def ldexp(input: Array, other: Array) -> jax.Array:
    """``input * 2**other``; integers become the default float dtype. Powers of two are exact for integer `other`."""
    if is_integral(other.dtype) or is_boolean(other.dtype):
        one = jnp.ones((), input.dtype if is_float(input.dtype) else to_float(other).dtype)
        places = jnp.clip(other.astype(np.int64), -5000, 5000).astype(np.int32)
        scale = jnp.ldexp(jnp.broadcast_to(widened(one), other.shape), places).astype(one.dtype)
    else:
        scale = lax.pow(jnp.full_like(other, 2), other)
    dtype = result_type(input, scale)
    a, b = fit(input.astype(dtype), scale.astype(dtype))
    return a * b


def _sum_of_exponentials(a: jax.Array, b: jax.Array, base2: bool) -> jax.Array:
    """log(e**a + e**b), or the same in base two; the derivative follows from the two weights."""
    log2 = float(np.log(2.0))
    top = lax.max(a, b)
    gap = -jnp.abs(a - b)
    low = jnp.log1p(jnp.exp(gap * log2)) / log2 if base2 else jnp.log1p(jnp.exp(gap))
    # Equal infinities: their difference is nan, the sum is the infinity itself.
    return jnp.where(jnp.isinf(a) & (a == b), a, top + low)


@partials(lambda out, a, b: 1 / (1 + jnp.exp(b - a)), lambda out, a, b: 1 / (1 + jnp.exp(a - b)))
def _logaddexp(a: jax.Array, b: jax.Array) -> jax.Array:
    return _sum_of_exponentials(a, b, False)


@partials(
    lambda out, a, b: 1 / (1 + jnp.exp((b - a) * np.log(2.0).item())),
    lambda out, a, b: 1 / (1 + jnp.exp((a - b) * np.log(2.0).item())),
)
def _logaddexp2(a: jax.Array, b: jax.Array) -> jax.Array:
    return _sum_of_exponentials(a, b, True)


def complex_logaddexp(a: jax.Array, b: jax.Array) -> jax.Array:
    """``log(exp(a) + exp(b))`` of complex numbers, with the turns of the larger one in the imaginary part."""
    less = a.real < b.real
    big, small = jnp.where(less, b, a), jnp.where(less, a, b)
    alone = jnp.isinf(big.real) & ~jnp.isnan(small)  # less is nothing beside infinity, and twice nothing is nothing
    apart = jnp.where(alone, jnp.zeros_like(big), small - big)
    return jnp.where(alone, big, big + jnp.log1p(jnp.exp(apart)))


@op(promote="common")
@half_in_float32
def logaddexp(input: Array, other: Array) -> jax.Array:
    """``log(exp(input) + exp(other))`` without overflow. NotImplementedError for integers and booleans."""
    refuse("logaddexp", input, kinds="bi")
    a, b = fit(input, other)
    return complex_logaddexp(a, b) if is_complex(a.dtype) else _logaddexp(a, b)


@op(promote="common")
@half_in_float32
def logaddexp2(input: Array, other: Array) -> jax.Array:
    """``log2(2**input + 2**other)`` without overflow. NotImplementedError unless real floating."""
    refuse("logaddexp2", input, kinds="bic")
    return _logaddexp2(*fit(input, other))


def _log_unless_void(x: jax.Array, y: jax.Array, log: Callable[[jax.Array], jax.Array], floor: float) -> jax.Array:
    void = (x == 0) & (y <= floor)
    return jnp.where(void, jnp.zeros_like(y), log(jnp.where(void, jnp.ones_like(y), y)))


@partials(lambda out, x, y: _log_unless_void(x, y, jnp.log, 0), lambda out, x, y: x / y)
def _xlogy(x: jax.Array, y: jax.Array) -> jax.Array:
    void = (x == 0) & ~jnp.isnan(y)
    return jnp.where(void, jnp.zeros_like(x), x * jnp.log(jnp.where(void, jnp.ones_like(y), y)))


@op(promote="float", inplace=True)
@half_in_float32
def xlogy(input: Operand, other: Operand) -> jax.Array:
    """``input * log(other)``, 0 where `input` is 0 and `other` a number. NotImplementedError for complex tensors."""
    refuse("xlogy", input, kinds="c")
    return _xlogy(*fit(input, other))


@partials(lambda out, x, y: _log_unless_void(x, y, jnp.log1p, -1), lambda out, x, y: x / (y + 1))
def _xlog1py(x: jax.Array, y: jax.Array) -> jax.Array:
    void = (x == 0) & ~jnp.isnan(y)
    return jnp.where(void, jnp.zeros_like(x), x * jnp.log1p(jnp.where(void, jnp.ones_like(y), y)))


@op(promote="float", namespace="special")
@half_in_float32
def xlog1py(input: Operand, other: Operand) -> jax.Array:
    """``input * log1p(other)``, 0 where `input` is 0 and `other` a number. NotImplementedError for complex tensors."""
    refuse("xlog1py", input, kinds="c")
    return _xlog1py(*fit(input, other))


@op(promote="common", inplace=True, differentiable=False)
def gcd(input: Array, other: Array) -> jax.Array:
    """Greatest common divisor of integers, not negative; gcd(0, 0) is 0. NotImplementedError for other dtypes."""
    refuse("gcd", input, kinds="bfc")
    return jnp.gcd(*fit(input, other))


@op(promote="common", inplace=True, differentiable=False)
def lcm(input: Array, other: Array) -> jax.Array:
    """Least common multiple of integers, not negative; 0 if either is 0. NotImplementedError for other dtypes."""
    refuse("lcm", input, kinds="bfc")
    return jnp.lcm(*fit(input, other))


for _entry in (
    add, sub, rsub, mul, div, true_divide, pow, maximum, minimum, clamp, clamp_min, clamp_max, where, lerp, addcmul,
    addcdiv,
):  # fmt: skip
    _entry.elementwise()
