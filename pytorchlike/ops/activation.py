"""Activation functions of ``nn.functional`` and the softmax family, with normalisation and similarity of vectors."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from . import _random
from ._dtypes import is_boolean, is_complex, is_inexact, is_integral, refuse, same_dtype
from ._numeric import fit, half_in_float32, magnitude, partials, widened
from ._shapes import along
from ._sizes import broadcast_sizes, wrap_dim
from ._table import Array, Key, op, to_float

_BOTH = ("torch", "nn.functional")


# --- the relu family ------------------------------------------------


@op(namespace=_BOTH, method=True, inplace=True)
def relu(input: Array) -> jax.Array:
    """``max(input, 0)`` with derivative 0 at 0. RuntimeError for booleans, NotImplementedError for complex tensors."""
    if is_boolean(input.dtype):
        raise RuntimeError("Boolean inputs not supported for relu")
    refuse("relu", input, kinds="c")
    # A selection, not a maximum: nan stays nan and the derivative at 0 is 0 without a rule.
    return jnp.where(input <= 0, jnp.zeros_like(input), input)


def _hardtanh(x: jax.Array, low: float, high: float) -> jax.Array:
    return jnp.where(x <= low, jnp.asarray(low, x.dtype), jnp.where(x >= high, jnp.asarray(high, x.dtype), x))


def _check_hardtanh(x: jax.Array, low: float) -> None:
    if is_boolean(x.dtype):
        raise RuntimeError("Bool inputs not supported for hardtanh")
    refuse("hardtanh", x, kinds="c")
    if jnp.issubdtype(x.dtype, np.unsignedinteger) and low < 0:
        raise RuntimeError(f"cannot do hardtanh on an unsigned type with negative limits: min_val is {low}")


@op(namespace="nn.functional", inplace=True)
def relu6(input: Array) -> jax.Array:
    """``min(max(input, 0), 6)``; derivative 0 at both kinks. RuntimeError for booleans."""
    _check_hardtanh(input, 0.0)
    return _hardtanh(input, 0, 6)


@op(namespace="nn.functional", inplace=True)
def hardtanh(input: Array, min_val: float = -1.0, max_val: float = 1.0) -> jax.Array:
    """`input` brought into [min_val, max_val]; derivative 0 at both kinks.

    ValueError if `min_val` exceeds `max_val`, RuntimeError for booleans and unsigned integers with a negative limit.
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val cannot be greater than max_val, got {min_val} and {max_val}")
    _check_hardtanh(input, min_val)
    return _hardtanh(input, min_val, max_val)


@op(namespace="nn.functional", inplace=True)
@half_in_float32
def leaky_relu(input: Array, negative_slope: float = 0.01) -> jax.Array:
    """`input` where positive, else ``negative_slope * input``. NotImplementedError unless real floating."""
    refuse("leaky_relu", input, kinds="bic")
    return jnp.where(input > 0, input, input * negative_slope)


def _elu(x: jax.Array, alpha: float, scale: float = 1.0, input_scale: float = 1.0) -> jax.Array:
    refuse("elu", x, kinds="bic")
    # The exponential sees no positive numbers: its overflow would poison the gradient of the other branch.
    below = lax.expm1(jnp.where(x > 0, jnp.zeros_like(x), x) * input_scale)
    return jnp.where(x > 0, x * scale, below * (alpha * scale))


@op(namespace="nn.functional", inplace=True)
@half_in_float32
def elu(input: Array, alpha: float = 1.0) -> jax.Array:
    """`input` where positive, else ``alpha * (exp(input) - 1)``. NotImplementedError unless real floating."""
    return _elu(input, alpha)


# Klambauer et al. 2017, "Self-Normalizing Neural Networks", arXiv:1706.02515: the fixed point of mean 0 and variance 1.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


@op(namespace=_BOTH, method=False, inplace=True)
@half_in_float32
def selu(input: Array) -> jax.Array:
    """Scaled elu whose constants keep mean 0 and variance 1. NotImplementedError unless real floating."""
    return _elu(input, _SELU_ALPHA, _SELU_SCALE)


@op(namespace=_BOTH, method=False, inplace=True)
@half_in_float32
def celu(input: Array, alpha: float = 1.0) -> jax.Array:
    """`input` where positive, else ``alpha * (exp(input / alpha) - 1)``.

    RuntimeError if `alpha` is 0, NotImplementedError unless real floating.
    """
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _elu(input, alpha, 1.0, 1.0 / alpha)


@op(namespace=_BOTH, method=True)
@half_in_float32
def prelu(input: Array, weight: Array) -> jax.Array:
    """`input` where positive, else ``weight * input`` with a learned weight.

    Shapes: input (N, C, *) or (*); weight (C,), (1,) or ().
    RuntimeError if the dtypes differ or weight has another shape, NotImplementedError unless real floating.
    """
    same_dtype("prelu", input=input, weight=weight)
    refuse("prelu", input, kinds="bic")
    if weight.ndim > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}")
    if weight.size != 1:
        if input.ndim == 0:
            raise RuntimeError("prelu: Not allow zero-dim input tensor with more than one weight.")
        channels = input.shape[1] if input.ndim > 1 else 1
        if channels != weight.size:
            raise RuntimeError(
                f"prelu: Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.size} and channel size = {channels}."
            )
    shape = (1, weight.size) + (1,) * (input.ndim - 2) if input.ndim > 1 else (1,) * input.ndim
    return jnp.where(input > 0, input, weight.reshape(shape) * input)


@op(namespace=_BOTH, method=False, inplace=True)
@half_in_float32
def rrelu(
    input: Array, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, *, key: Key
) -> jax.Array:
    """Leaky relu whose slope is drawn from [lower, upper) per element when training, else their mean.

    RuntimeError if `lower` exceeds `upper`, NotImplementedError unless real floating.
    """
    refuse("rrelu", input, kinds="bic")
    if lower > upper:
        raise RuntimeError(f"rrelu: Lower bound should be less than or equal to the upper bound, got {lower} > {upper}")
    if not training:
        return jnp.where(input > 0, input, input * ((lower + upper) / 2))
    slope = lower + (upper - lower) * _random.uniform(key, input.shape, input.dtype)
    return jnp.where(input > 0, input, input * slope)


@op(namespace=_BOTH, method=False, inplace=True)
def threshold(input: Array, threshold: float, value: float) -> jax.Array:
    """`input` where above `threshold`, else `value` (with zero derivative)."""
    refuse("threshold", input, kinds="bc")
    return jnp.where(input <= threshold, jnp.asarray(value).astype(input.dtype), input)


# --- smooth gates ------------------------------------------------


@op(namespace="nn.functional")
@half_in_float32
def gelu(input: Array, approximate: str = "none") -> jax.Array:
    """Gaussian error linear unit ``input * Phi(input)``, Phi the normal distribution function.

    Args:
        approximate: "none" for the error function, "tanh" for its approximation (Hendrycks & Gimpel, arXiv:1606.08415).
    RuntimeError for another `approximate`, NotImplementedError unless real floating.
    """
    refuse("gelu", input, kinds="bic")
    x = input
    if approximate == "none":
        # lax.erf is more than twice as quick as the erfc of jax.nn.gelu on the CPU.
        return 0.5 * x * (1 + lax.erf(x * math.sqrt(0.5)))
    if approximate == "tanh":
        return 0.5 * x * (1 + lax.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))
    raise RuntimeError(f"approximate argument must be either none or tanh, got {approximate!r}.")


@op(namespace="nn.functional", inplace=True)
@half_in_float32
def silu(input: Array) -> jax.Array:
    """``input * sigmoid(input)``. NotImplementedError for booleans and integers."""
    refuse("silu", input, kinds="bi")
    return input * lax.logistic(input)


@partials(lambda out, x: lax.logistic(x))
def softplus_body(x: jax.Array) -> jax.Array:
    """log(1 + exp(x)) without overflow, with the sigmoid as derivative."""
    return lax.max(x, jnp.zeros_like(x)) + lax.log1p(lax.exp(-lax.abs(x)))


@op(namespace="nn.functional", inplace=True)
@half_in_float32
def mish(input: Array) -> jax.Array:
    """``input * tanh(softplus(input))``. NotImplementedError unless real floating."""
    refuse("mish", input, kinds="bic")
    return input * lax.tanh(softplus_body(input))


@op(namespace="nn.functional")
@half_in_float32
def softplus(input: Array, beta: float = 1.0, threshold: float = 20.0) -> jax.Array:
    """``log(1 + exp(beta * input)) / beta``, the identity where ``beta * input > threshold``.

    NotImplementedError unless real floating.
    """
    refuse("softplus", input, kinds="bic")
    z = input * beta
    return jnp.where(z > threshold, input, softplus_body(z) / beta)


@op(namespace="nn.functional")
@half_in_float32
def logsigmoid(input: Array) -> jax.Array:
    """``log(sigmoid(input))`` without overflow. NotImplementedError unless real floating."""
    refuse("log_sigmoid", input, kinds="bic")
    return -softplus_body(-input)


@op(namespace="nn.functional")
@half_in_float32
def softsign(input: Array) -> jax.Array:
    """``input / (1 + |input|)``; integers become the default float dtype. NotImplementedError for booleans."""
    refuse("softsign", input, kinds="b")
    x = to_float(input)
    return x / (magnitude(x) + 1).astype(x.dtype)


@op(namespace="nn.functional")
@half_in_float32
def tanhshrink(input: Array) -> jax.Array:
    """``input - tanh(input)``; integers become the default float dtype. RuntimeError for booleans."""
    if is_boolean(input.dtype):
        raise RuntimeError("Subtraction, the `-` operator, with a bool tensor is not supported (tanhshrink).")
    x = to_float(input)
    return x - lax.tanh(x)


@op(namespace="nn.functional")
@half_in_float32
def glu(input: Array, dim: int = -1) -> jax.Array:
    """Gated linear unit: the first half of the input along `dim` times the sigmoid of the second.

    RuntimeError for a 0-dim tensor or an odd size, IndexError if `dim` is outside, NotImplementedError for integers.
    """
    if input.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    axis = wrap_dim(dim, input.ndim)
    size = input.shape[axis]
    if size % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {axis} is size {size}")
    refuse("glu", input, kinds="bi")
    value, gate = jnp.split(input, 2, axis)
    return value * lax.logistic(gate)


# --- piecewise linear gates ------------------------------------------------


@op(namespace="nn.functional", inplace=True)
@half_in_float32
def hardsigmoid(input: Array) -> jax.Array:
    """``min(max(input + 3, 0), 6) / 6``; derivative 0 at both kinks. NotImplementedError unless real floating."""
    refuse("hardsigmoid", input, kinds="bic")
    return _hardtanh(input + 3, 0, 6) / 6


@op(namespace="nn.functional", inplace=True)
@half_in_float32
def hardswish(input: Array) -> jax.Array:
    """``input * hardsigmoid(input)``. NotImplementedError unless real floating."""
    refuse("hardswish", input, kinds="bic")
    x = input
    return jnp.where(x <= -3, jnp.zeros_like(x), jnp.where(x >= 3, x, x * (x + 3) / 6))


@op(namespace=_BOTH, method=True)
def hardshrink(input: Array, lambd: float = 0.5) -> jax.Array:
    """`input` outside [-lambd, lambd], 0 inside. NotImplementedError unless real floating."""
    refuse("hardshrink", input, kinds="bic")
    return jnp.where((input >= -lambd) & (input <= lambd), jnp.zeros_like(input), input)


@op(namespace="nn.functional")
def softshrink(input: Array, lambd: float = 0.5) -> jax.Array:
    """`input` moved towards 0 by `lambd`, 0 within.

    RuntimeError if `lambd` is negative, NotImplementedError unless real floating.
    """
    refuse("softshrink", input, kinds="bic")
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    x = input
    inside = (x >= -lambd) & (x <= lambd)
    return jnp.where(inside, jnp.zeros_like(x), jnp.where(x > lambd, x - lambd, x + lambd))


# --- softmax ------------------------------------------------

_NO_DIM = "Implicit dimension choice for {} has been deprecated. Change the call to include dim=X as an argument."


def _prepare(name: str, input: jax.Array, dim: int | None, dtype: np.dtype | None) -> tuple[jax.Array, int]:
    x = input if dtype is None else input.astype(dtype)
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
    refuse(name, x, kinds="bic", advice="pass dtype=")
    return x, wrap_dim(dim, x.ndim)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _softmax(x: jax.Array, axis: int) -> jax.Array:
    top = lax.stop_gradient(jnp.max(x, axis, keepdims=True))
    weights = lax.exp(x - top)
    return weights / jnp.sum(weights, axis, keepdims=True)


@_softmax.defjvp
def _softmax_jvp(axis: int, primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    # Needs only the result, while JAX's own rule for the body would keep the exponentials and their sum.
    out = _softmax(*primals, axis)
    return out, out * (tangents[0] - jnp.sum(out * tangents[0], axis, keepdims=True))


def _softmax_of(name: str, input: jax.Array, dim: int | None, dtype: np.dtype | None, negate: bool) -> jax.Array:
    x, axis = _prepare(name, input, dim, dtype)
    if x.size == 0:
        return x
    wide = widened(-x if negate else x)
    return _softmax(wide.reshape(wide.shape or (1,)), axis).reshape(x.shape).astype(x.dtype)


@op(namespace=_BOTH, method=True, shapes=along, deprecated=("dim is None", _NO_DIM.format("softmax")))
def softmax(input: Array, dim: int | None = None, dtype: np.dtype | None = None) -> jax.Array:
    """``exp(input) / sum(exp(input))`` along `dim`, without overflow.

    Args:
        dim: None picks 0 for tensors of 0, 1 or 3 dimensions, else 1, with a warning.
        dtype: converted to before computing.
    IndexError if `dim` is outside, NotImplementedError unless real floating.
    """
    return _softmax_of("softmax", input, dim, dtype, negate=False)


@op(namespace="nn.functional", deprecated=("dim is None", _NO_DIM.format("softmin")))
def softmin(input: Array, dim: int | None = None, dtype: np.dtype | None = None) -> jax.Array:
    """``softmax(-input)`` along `dim`; arguments and errors as of softmax."""
    return _softmax_of("softmin", input, dim, dtype, negate=True)


@op(namespace=_BOTH, method=True, shapes=along, deprecated=("dim is None", _NO_DIM.format("log_softmax")))
def log_softmax(input: Array, dim: int | None = None, dtype: np.dtype | None = None) -> jax.Array:
    """``log(softmax(input))`` along `dim`, without overflow; arguments and errors as of softmax."""
    x, axis = _prepare("log_softmax", input, dim, dtype)
    if x.size == 0:
        return x
    wide = widened(x).reshape(x.shape or (1,))
    shifted = wide - lax.stop_gradient(jnp.max(wide, axis, keepdims=True))
    out = shifted - lax.log(jnp.sum(lax.exp(shifted), axis, keepdims=True))
    return out.reshape(x.shape).astype(x.dtype)


@op(
    namespace="nn.functional", deprecated=("eps != 1e-10", "`eps` parameter is deprecated and has no effect.")
)
def gumbel_softmax(
    logits: Array, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1, *, key: Key
) -> jax.Array:
    """Sample of the Gumbel-softmax distribution (Jang, Gu & Poole 2016, arXiv:1611.01144).

    Args:
        tau: temperature.
        hard: give one-hot samples whose gradient is that of the soft ones.
        eps: has no effect; kept as PyTorch keeps it, deprecated.
    NotImplementedError unless real floating, IndexError if `dim` is outside.
    """
    refuse("gumbel_softmax", logits, kinds="bic")
    axis = wrap_dim(dim, logits.ndim)
    x = widened(logits).reshape(logits.shape or (1,))
    soft = _softmax((x + _random.gumbel(key, x.shape, x.dtype)) / tau, axis)
    if hard:
        chosen = jnp.argmax(soft, axis, keepdims=True)
        one_hot = (lax.broadcasted_iota(chosen.dtype, soft.shape, axis) == chosen).astype(soft.dtype)
        soft = one_hot - lax.stop_gradient(soft) + soft
    return soft.reshape(logits.shape).astype(logits.dtype)


# --- vectors ------------------------------------------------


def _norm(x: jax.Array, p: float, axes: tuple[int, ...]) -> jax.Array:
    """p-norm over axes, kept as size 1; derivative 0 at the zero vector."""
    size = magnitude(x)
    if p == math.inf:
        return jnp.max(size, axes, keepdims=True)
    if p == -math.inf:
        return jnp.min(size, axes, keepdims=True)
    if p == 0:
        return jnp.sum(size != 0, axes, keepdims=True).astype(size.dtype)
    if p == 1:
        return jnp.sum(size, axes, keepdims=True)
    if p == 2:
        # Of complex numbers the parts are squared: the modulus has no derivative at 0.
        squares = lax.real(x) ** 2 + lax.imag(x) ** 2 if is_complex(x.dtype) else x * x
        total, root = jnp.sum(squares, axes, keepdims=True), lax.sqrt
    else:
        nil = size == 0
        powers = jnp.where(nil, 0.0 if p > 0 else math.inf, jnp.where(nil, jnp.ones_like(size), size) ** p)
        total, root = jnp.sum(powers.astype(size.dtype), axes, keepdims=True), lambda s: s ** (1.0 / p)
    zero = total == 0
    return jnp.where(zero, jnp.zeros_like(total), root(jnp.where(zero, jnp.ones_like(total), total)))


@op(namespace="nn.functional")
@half_in_float32
def normalize(input: Array, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12) -> jax.Array:
    """`input` divided by its p-norm along `dim`, the norm at least `eps`.

    IndexError if `dim` is outside, RuntimeError for integers and booleans.
    """
    if is_boolean(input.dtype) or is_integral(input.dtype):
        raise RuntimeError(f"normalize: input must be floating point or complex, got {input.dtype}; convert it first")
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    axes = tuple(wrap_dim(d, input.ndim) for d in dims)
    if input.ndim == 0:
        size = _norm(input.reshape(1), p, (0,)).reshape(())
    else:
        size = _norm(input, p, axes)
    return input / jnp.where(size < eps, jnp.asarray(eps, size.dtype), size).astype(input.dtype)


@op(namespace=_BOTH, method=False, promote="common")
@half_in_float32
def cosine_similarity(x1: Array, x2: Array, dim: int = 1, eps: float = 1e-08) -> jax.Array:
    """Cosine of the angle between vectors along `dim` (removed), each norm at least `eps`; the inputs broadcast.

    RuntimeError unless floating point, IndexError if `dim` is outside.
    """
    if not is_inexact(x1.dtype):
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {x1.dtype}")
    a, b = fit(x1, x2)
    axis = wrap_dim(dim, a.ndim)
    if a.ndim == 0:
        a, b = a.reshape(1), b.reshape(1)

    def unit(x: jax.Array) -> jax.Array:
        size = _norm(x, 2, (axis,))
        # The lower bound acts on the value alone: the gradient stays that of the norm.
        size = size + lax.stop_gradient(jnp.where(size < eps, eps - size, jnp.zeros_like(size)))
        return x / size.astype(x.dtype)

    return jnp.sum(unit(a) * unit(b), axis)


@op(namespace=_BOTH, method=False, promote="float")
@half_in_float32
def pairwise_distance(
    x1: Array, x2: Array, p: float = 2.0, eps: float = 1e-06, keepdim: bool = False
) -> jax.Array:
    """p-norm of ``x1 - x2 + eps`` over the last dimension: (*, D) and (*, D) -> (*), or (*, 1) with `keepdim`.

    Integers become the default float dtype. RuntimeError if the shapes do not broadcast.
    """
    shape = broadcast_sizes(x1.shape, x2.shape)
    difference = jnp.broadcast_to(x1 - x2 + jnp.asarray(eps, x1.dtype), shape)
    if not shape:
        return _norm(difference.reshape(1), p, (0,)).reshape((1,) if keepdim else ())
    out = _norm(difference, p, (len(shape) - 1,))
    return out if keepdim else out[..., 0]


for _entry in (
    relu, relu6, hardtanh, leaky_relu, elu, selu, celu, threshold, gelu, silu, mish, softplus, logsigmoid, softsign,
    tanhshrink, hardsigmoid, hardswish, hardshrink, softshrink,
):  # fmt: skip
    _entry.elementwise()
