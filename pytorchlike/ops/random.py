"""Random operators.  Each use draws from a stream of its own (``_random.py``); results have no gradient unless told."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..engine import check
from . import _random
from ._dtypes import type_name
from ._shapes import sized
from ._sizes import broadcast_sizes
from ._table import Array, Key, Operand, Scalar, Sizes, default_float, op
from .create import sizes_checked


def _need_float(name: str, dtype, error=NotImplementedError, text: str | None = None) -> None:
    if np.dtype(dtype).kind in "biu":
        raise error(text or f"\"{name}\" not implemented for '{type_name(dtype)}'; it needs a floating dtype")


def _work(dtype) -> np.dtype:
    """The dtype to compute a sample of ``dtype`` in."""
    return np.dtype(np.float64 if np.dtype(dtype) in (np.float64, np.int64) else np.float32)


# ----------------------------------------------------------------------------------------------------------- factories


@op(method=False, differentiable=False, shapes=sized)
def rand(size: Sizes, *, key: Key, dtype: np.dtype | None = None):
    """Uniform numbers on [0, 1)."""
    dtype = default_float() if dtype is None else np.dtype(dtype)
    _need_float("check_uniform_bounds", dtype)
    size = sizes_checked("rand", size)
    if dtype.kind == "c":
        pair = _random.uniform(key, (2, *size), f"f{dtype.itemsize // 2}")
        return lax.complex(pair[0], pair[1])
    return _random.uniform(key, size, dtype)


@op(method=False, differentiable=False, shapes=sized)
def randn(size: Sizes, *, key: Key, dtype: np.dtype | None = None):
    """Normal numbers of mean 0 and variance 1 (of a complex dtype: variance 1/2 in each part)."""
    dtype = default_float() if dtype is None else np.dtype(dtype)
    _need_float("normal_kernel", dtype)
    return _random.normal(key, sizes_checked("randn", size), dtype)


@op(method=False, differentiable=False)
def _normal_size(mean: Scalar, std: Scalar, size: tuple[int, ...], *, key: Key, dtype: np.dtype | None = None):
    """Normal numbers of that mean and standard deviation."""
    dtype = default_float() if dtype is None else np.dtype(dtype)
    _need_float("normal_kernel", dtype)
    work = _work(dtype)
    z = _random.normal(key, sizes_checked("normal", size), dtype if dtype.kind == "c" else work)
    return (z * jnp.asarray(std, z.dtype) + jnp.asarray(mean, z.dtype)).astype(dtype)


@op(namespace=None, method=True, out=False)
def _normal_of(input: Array, std: Operand, *, key: Key):
    """Normal numbers of mean ``input`` and standard deviation ``std``, element by element; both have gradients 0."""
    _need_float("normal_kernel", input.dtype)
    std = jnp.asarray(std)
    check((std >= 0).all(), RuntimeError, "normal expects all elements of std >= 0.0")
    shape = broadcast_sizes(input.shape, std.shape)
    mean, std = (lax.stop_gradient(x).astype(input.dtype) for x in (input, std))
    return mean + std * _random.normal(key, shape, input.dtype)


@op(method=False, differentiable=False, shapes=sized)
def _randint(low: Scalar, high: Scalar, size: tuple[int, ...], *, key: Key, dtype: np.dtype | None = None):
    """Uniform integers on [low, high); ``randint`` has looked at the limits."""
    dtype = np.dtype(np.int64) if dtype is None else np.dtype(dtype)
    return _random.integers(key, sizes_checked("randint", size), low, high).astype(dtype)


@op(method=False, differentiable=False)
def randperm(n: int, *, key: Key, dtype: np.dtype | None = None):
    """The integers from 0 to n - 1 in random order, as int64 unless told otherwise."""
    dtype = np.dtype(np.int64) if dtype is None else np.dtype(dtype)
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    top = np.iinfo(dtype).max if dtype.kind in "iu" else 2 ** _random._DIGITS.get(dtype.name, 24)
    if dtype.kind == "b" or n > top:
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow: n is {n}")
    # Random bits above, the number below, in one word: sorting single words is three times as quick as sorting pairs.
    # That two numbers have the same random bits (44 of them for a million) is too rare to favour the lower one.
    width = max((n - 1).bit_length(), 1)
    numbers = lax.iota(np.uint64, 1 << width)[:n]  # which tells what serves any n that there is no room for more
    words = (_random.bits(key, (n,), np.uint64) << np.uint64(width)) | numbers
    return (lax.sort(words, is_stable=False) & np.uint64((1 << width) - 1)).astype(dtype)


# ------------------------------------------------------------------------------------------- filling a tensor in place


@op(namespace=None, method=True, inplace=True, out=False, saves=False, parts=_random.starting)
def _fill_uniform(input: Array, low: Scalar, high: Scalar, *, key: Key):
    """Uniform numbers on [low, high) in place of all elements."""
    _need_float("check_uniform_bounds", input.dtype)
    work = _work(input.dtype)
    low, high = jnp.asarray(low, work), jnp.asarray(high, work)
    if input.dtype.kind == "c":
        raise NotImplementedError('"uniform_" not implemented for complex dtypes')
    half = np.dtype(input.dtype).itemsize < 4
    u = _random.uniform(key, input.shape, input.dtype if half else work).astype(work)
    x = (low + u * (high - low)).astype(input.dtype)
    # rounding may reach the upper end, which is not included
    return jnp.where((x >= high.astype(input.dtype)) & (high > low), low.astype(input.dtype), x)


@op(namespace=None, method=True, inplace=True, out=False, saves=False, parts=_random.starting)
def _fill_normal(input: Array, mean: Scalar, std: Scalar, *, key: Key):
    """Normal numbers in place of all elements."""
    _need_float("normal_kernel", input.dtype)
    dtype = np.dtype(input.dtype)
    z = _random.normal(key, input.shape, dtype if dtype.kind == "c" else _work(dtype))
    return (z * jnp.asarray(std, z.dtype) + jnp.asarray(mean, z.dtype)).astype(dtype)


@op(namespace=None, method=True, inplace=True, out=False, saves=False, parts=_random.starting)
def _fill_log_normal(input: Array, mean: Scalar, std: Scalar, *, key: Key):
    """Numbers whose logarithm is normal in place of all elements."""
    _need_float("log_normal", input.dtype)
    work = _work(input.dtype)
    z = _random.normal(key, input.shape, work)
    return jnp.exp(z * jnp.asarray(std, work) + jnp.asarray(mean, work)).astype(input.dtype)


@op(namespace=None, method=True, inplace=True, out=False, saves=False, parts=_random.starting)
def _fill_exponential(input: Array, rate: Scalar, *, key: Key):
    """Exponential numbers of that rate in place of all elements; they are greater than 0."""
    _need_float(
        "exponential",
        input.dtype,
        RuntimeError,
        "Exponential distribution is a continuous probability distribution. dtype must be a floating point but you "
        f"specified {type_name(input.dtype)}",
    )
    work = _work(input.dtype)
    return (_random.exponential(key, input.shape, work) / jnp.asarray(rate, work)).astype(input.dtype)


@op(namespace=None, method=True, inplace=True, out=False, saves=False, parts=_random.starting)
def _fill_cauchy(input: Array, median: Scalar, sigma: Scalar, *, key: Key):
    """Cauchy numbers in place of all elements."""
    _need_float(
        "cauchy",
        input.dtype,
        RuntimeError,
        "Cauchy distribution is a continuous probability distribution. dtype must be a floating point but you "
        f"specified {type_name(input.dtype)}",
    )
    work = _work(input.dtype)
    u = _random.uniform_open(key, input.shape, work)
    x = jnp.tan(((u - 0.5) * np.pi).astype(np.float64)).astype(work)  # so the bits do not depend on the size
    return (x * jnp.asarray(sigma, work) + jnp.asarray(median, work)).astype(input.dtype)


@op(namespace=None, method=True, inplace=True, out=False, saves=False, parts=_random.starting)
def _fill_geometric(input: Array, p: Scalar, *, key: Key):
    """How many trials of probability ``p`` it took to succeed (1, 2, …) in place of all elements."""
    if input.dtype.kind in "bc":
        raise NotImplementedError(f"\"geometric\" not implemented for '{type_name(input.dtype)}'")
    work = _work(input.dtype)
    u = _random.uniform_open(key, input.shape, work)
    return jnp.maximum(jnp.ceil(jnp.log(u) / jnp.log1p(-jnp.asarray(p, work))), 1).astype(input.dtype)


@op(namespace=None, method=True, inplace=True, out=False, saves=False, parts=_random.starting)
def _fill_integers(input: Array, low: Scalar, high: Scalar, *, key: Key):
    """Uniform integers on [low, high) in place of all elements."""
    return _random.integers(key, input.shape, low, high).astype(input.dtype)


@op(namespace=None, method=True, inplace=True, out=False, saves=False, parts=_random.starting)
def _fill_bits(input: Array, *, key: Key, signed: bool = False):
    """Uniform integers over all that the dtype holds exactly, negative ones only if ``signed``, in place of all."""
    dtype = np.dtype(input.dtype)
    if dtype.kind == "c":
        raise NotImplementedError('"random_" not implemented for complex dtypes')
    if dtype.kind == "b":
        return _random.bits(key, input.shape) < np.uint32(2**31)
    if dtype.kind in "iu":
        word = _random.bits(key, input.shape, f"u{dtype.itemsize}")
        return (word if signed or dtype.kind == "u" else word >> np.asarray(1, word.dtype)).astype(dtype)
    return _random.integers(key, input.shape, 0, 2 ** _random._DIGITS[dtype.name] + 1).astype(dtype)


@op(namespace=None, method=True, inplace=True, out=False, saves=False)
def _fill_bernoulli(input: Array, p: Operand, *, key: Key):
    """1 with probability ``p`` (a number, or a tensor that broadcasts), else 0, in place of all elements."""
    return _draw(p, input.shape, key).astype(input.dtype)


def _draw(p, shape, key):
    if hasattr(p, "ndim"):
        p = lax.stop_gradient(p)
        broadcast = broadcast_sizes(p.shape, shape)
        if broadcast != tuple(shape):
            raise RuntimeError(
                f"output with shape {list(shape)} doesn't match the broadcast shape {list(broadcast)} (bernoulli_)"
            )
        _need_float("bernoulli_tensor_p_", p.dtype)
        check(((p >= 0) & (p <= 1)).all(), RuntimeError, "bernoulli: Expected p_in >= 0 && p_in <= 1 to be true")
    return _random.mask(key, shape, p)


@op(out=False, method=False)
def _bernoulli(input: Array, *, key: Key):
    """1 where the probabilities ``input`` had it so, else 0."""
    return _draw(input, input.shape, key).astype(input.dtype)


# ------------------------------------------------------------------------------------------------- other distributions


@op(differentiable=False)
def multinomial(input: Array, num_samples: int, replacement: bool = False, *, key: Key):
    """Indices drawn with the weights in each row of ``input`` (which need not add up to 1).

    Shape (m, n) -> (m, num_samples), (n,) -> (num_samples,); int64.
    Raises RuntimeError for weights that are negative, infinite, NaN or all 0, or more samples than categories when
    none may repeat.
    """
    if input.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, got {input.ndim}")
    if input.dtype.kind in "biu":
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {type_name(input.dtype)}")
    if num_samples <= 0:
        raise RuntimeError(f"cannot sample n_sample <= 0 samples, got {num_samples}")
    n = input.shape[-1]
    if not replacement and num_samples > n:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement: "
            f"n_sample is {num_samples}, prob_dist has {n}"
        )
    p = input.astype(_work(input.dtype))
    ok = (p >= 0) & (p < np.inf)
    check(ok.all(), RuntimeError, "probability tensor contains either `inf`, `nan` or element < 0")
    p = jnp.where(ok, p, 0)
    total = p.sum(-1, keepdims=True)
    check((total > 0).all(), RuntimeError, "invalid multinomial distribution (sum of probabilities <= 0)")
    if not input.size:
        return jnp.zeros((*input.shape[:-1], num_samples), np.int64)
    if not replacement or num_samples == 1:
        # A race of exponential clocks: the first to ring are a sample without replacement.
        race = p / _random.exponential(key, p.shape, p.dtype)
        return lax.top_k(race, num_samples)[1].astype(np.int64)
    above = jnp.cumsum(p, -1)
    u = _random.quantile(key, (*p.shape[:-1], num_samples), p.dtype) * above[..., -1:]

    def find(above, u):
        return jnp.searchsorted(above, u, side="right")

    found = find(above, u) if p.ndim == 1 else jax.vmap(find)(above, u)
    # rounding must not lead beyond the last category that has any weight
    last = jnp.where(p > 0, lax.broadcasted_iota(np.int32, p.shape, p.ndim - 1), 0).max(-1, keepdims=True)
    return jnp.minimum(found, last).astype(np.int64)


@op(out=False, method=False, differentiable=False)
def poisson(input: Array, *, key: Key):
    """Poisson counts of the rates ``input``, in its dtype.  Raises RuntimeError for a negative rate."""
    _need_float("poisson", input.dtype)
    check((input >= 0).all(), RuntimeError, "invalid Poisson rate, expected rate to be non-negative")
    if type(key) is _random.Draws:
        return key.take("poisson", input.shape, np.float64).astype(input.dtype)
    rate = jnp.maximum(input, 0).astype(_work(input.dtype))
    return jax.random.poisson(_random.jax_key(key), rate, dtype=np.int64).astype(input.dtype)


@op(out=False, method=False, differentiable=False)
def binomial(count: Array, prob: Array, *, key: Key):
    """How many of ``count`` trials of probability ``prob`` succeeded; the two have one shape and a floating dtype."""
    for name, x in (("count", count), ("prob", prob)):
        if np.dtype(x.dtype).kind in "biu":
            raise ValueError(f"binomial only supports floating-point dtypes for {name}, got: {type_name(x.dtype)}")
    shape = broadcast_sizes(count.shape, prob.shape)
    work = _work(count.dtype)
    if type(key) is _random.Draws:
        return key.take("binomial", shape, np.float64).astype(count.dtype)
    n, p = (jnp.broadcast_to(x, shape).astype(work) for x in (count, prob))
    return jax.random.binomial(_random.jax_key(key), n, p, shape, work).astype(count.dtype)


@jax.custom_jvp
def _given_gamma(shape: jax.Array, drawn: jax.Array) -> jax.Array:
    """Gamma numbers that have been drawn, differentiable by their shape parameters."""
    return drawn


@_given_gamma.defjvp
def _given_gamma_jvp(primals, tangents):
    return primals[1], lax.random_gamma_grad(*primals) * tangents[0]


def _gammas(shape: jax.Array, draws: _random.Draws) -> jax.Array:
    return _given_gamma(shape.astype(np.float64), draws.take("gamma", shape.shape, np.float64))


@op(out=False, method=False)
def _standard_gamma(input: Array, *, key: Key):
    """Gamma numbers of the shape parameters ``input`` and rate 1, differentiable by them (implicitly)."""
    _need_float("_standard_gamma", input.dtype)
    check((input > 0).all(), RuntimeError, "_standard_gamma: shape parameters must be greater than 0")
    work = _work(input.dtype)
    if type(key) is _random.Draws:
        return _gammas(input, key).astype(input.dtype)
    return jax.random.gamma(_random.jax_key(key), input.astype(work), dtype=work).astype(input.dtype)


@op(out=False, method=False)
def _sample_dirichlet(input: Array, *, key: Key):
    """Points of the simplex with the concentrations along the last axis, differentiable by them.

    They are gamma numbers divided by their sum (in logarithms, which do not underflow); the gradient is the implicit
    one of those.
    """
    _need_float("dirichlet", input.dtype)
    check((input > 0).all(), RuntimeError, "_sample_dirichlet: concentrations must be greater than 0")
    work = _work(input.dtype)
    if type(key) is _random.Draws:
        drawn = _gammas(input, key)
        return (drawn / drawn.sum(-1, keepdims=True)).astype(input.dtype)
    logs = jax.random.loggamma(_random.jax_key(key), input.astype(work), dtype=work)
    return jax.nn.softmax(logs, axis=-1).astype(input.dtype)


@op(out=False, method=False, differentiable=False)
def _von_mises(input: Array, concentration: Array, *, key: Key):
    """Von Mises angles on [-pi, pi) about ``input``, of its shape.

    Source: Best & Fisher 1979, doi:10.2307/2346732: rejection from a wrapped Cauchy distribution, which accepts at
    least 66 % of the proposals.
    """
    _need_float("von_mises", input.dtype)
    kappa = concentration.astype(np.float64)
    root = jnp.sqrt(1 + 4 * kappa * kappa)
    rho = (1 + root - jnp.sqrt(2 * (1 + root))) / (2 * kappa)
    r = jnp.where(kappa < 1e-5, 1 / kappa + kappa, (1 + rho * rho) / (2 * rho))
    stream = _random.jax_key(key)

    def again(state):
        return ~state[2].all()

    def propose(state):
        n, x, done = state
        u = jax.random.uniform(jax.random.fold_in(stream, n), (3, *input.shape), np.float64)
        z = jnp.cos(np.pi * u[0])
        f = (1 + r * z) / (r + z)
        c = kappa * (r - f)
        accept = (c * (2 - c) > u[1]) | (jnp.log(c / u[1]) + 1 - c >= 0)
        angle = jnp.sign(u[2] - 0.5) * jnp.arccos(jnp.clip(f, -1, 1))
        return n + 1, jnp.where(accept & ~done, angle, x), done | accept | jnp.isnan(c)

    start = (jnp.uint32(0), jnp.zeros(input.shape, np.float64), jnp.zeros(input.shape, bool))
    _, x, _ = lax.while_loop(again, propose, start)
    full = 2 * np.pi
    return (jnp.mod(x + np.pi + input.astype(np.float64), full) - np.pi).astype(input.dtype)
