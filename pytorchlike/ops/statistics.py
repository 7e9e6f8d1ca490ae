"""Order statistics, quantiles, histograms and covariances."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..engine import check
from ._dtypes import is_complex, is_float, is_inexact, real_dtype, type_name
from ._order import stable_sort
from ._sizes import reduced_dims, wrap_dim
from ._table import Array, Operand, Scalar, op, result_type, to_float
from .reduce import Dims, dropped, extreme_index, need_elements, need_real, pick, spread

_COV = "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations."


def _covariance(input, correction, fweights, aweights):
    x = input.reshape(1, -1) if input.ndim < 2 else input
    if input.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    if input.dtype == np.bool_:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    n = x.shape[1]
    w = None
    for name, v in (("fweights", fweights), ("aweights", aweights)):
        if v is None:
            continue
        if v.ndim > 1:
            raise RuntimeError(
                f"cov(): expected {name} to have one or fewer dimensions but got {name} with {v.ndim} dimensions"
            )
        if v.size != n:
            raise RuntimeError(
                f"cov(): expected {name} to have the same numel as there are observations in the input but got "
                f"{v.size} != {n}"
            )
        if (name == "fweights") == is_inexact(v.dtype):
            raise RuntimeError(
                f"cov(): expected {name} to have {'integral' if name == 'fweights' else 'floating point'} dtype but "
                f"got {name} with {type_name(v.dtype)} dtype"
            )
        if v.size:
            check((v >= 0).all(), RuntimeError, f"cov(): {name} cannot be negative")
        w = v.reshape(-1) if w is None else w * v.reshape(-1)
    x = to_float(x)
    if aweights is not None:
        x = x.astype(result_type(x, aweights))
    if w is None:
        total, mid = n, jnp.mean(x, 1, keepdims=True)
    else:
        w = w.astype(real_dtype(x.dtype))
        total = jnp.sum(w)
        mid = jnp.sum(x * w, 1, keepdims=True) / total
    if w is None or aweights is None or correction == 0:
        norm = total - correction
    else:
        norm = total - correction * jnp.sum(w * aweights.reshape(-1).astype(w.dtype)) / total
    norm = jnp.maximum(jnp.asarray(norm, real_dtype(x.dtype)), 0)
    d = x - mid
    return jnp.squeeze(jnp.matmul(d if w is None else d * w, d.conj().T) / norm), x


@op(deprecated=("(input.shape[-1] if input.ndim else 1) <= correction", _COV))
def cov(input: Array, *, correction: int = 1, fweights: Array | None = None, aweights: Array | None = None):
    """Covariance matrix of variables in rows, observations in columns: (v, n) -> (v, v), (n,) -> ().

    ``fweights``: integer repeat counts (n,), ``aweights``: importance (n,).  Complex input: conj of the second factor.
    Raises: RuntimeError for more than 2 axes and for weights of wrong length or dtype.
    """
    return _covariance(input, correction, fweights, aweights)[0]


@op(deprecated=("(input.shape[-1] if input.ndim else 1) <= 1", _COV))
def corrcoef(input: Array):
    """Correlation matrix of variables in rows: (v, n) -> (v, v), real and imaginary parts clipped to [-1, 1]."""
    if input.ndim > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    c, _ = _covariance(input, 1, None, None)
    if c.ndim == 0:
        return c / c
    s = jnp.sqrt(jnp.diagonal(c).real)
    c = c / s[:, None] / s[None, :]
    if is_complex(c.dtype):
        return lax.complex(jnp.clip(c.real, -1, 1), jnp.clip(c.imag, -1, 1))
    return jnp.clip(c, -1, 1)


def ordered(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Ascending values and their positions, equal elements in order, NaN last; values carry no gradient."""
    values, order = stable_sort(lax.stop_gradient(x), axis, False)
    return values, order.astype(np.int32)


def _middle(name: str, input: jax.Array, dim: int | None, keepdim: bool, skip_nan: bool):
    need_real(name, input)
    if dim is None:
        if input.size == 0:
            return jnp.full((), np.nan if is_float(input.dtype) else np.iinfo(input.dtype).min, input.dtype)
        x, axis = input.reshape(-1), 0
    else:
        x, axis = input, wrap_dim(dim, input.ndim)
        need_elements(name, input, axis)
        if input.ndim == 0:
            return input, jnp.zeros((), np.int64)
    values, order = ordered(x, axis)
    n = x.shape[axis]
    if is_float(x.dtype):
        numbers = jnp.sum(~jnp.isnan(values), axis, keepdims=True, dtype=np.int32)
        at = jnp.maximum(numbers - 1, 0) // 2 if skip_nan else jnp.where(numbers == n, (n - 1) // 2, numbers)
        value, index = (jnp.take_along_axis(v, at, axis, mode="clip") for v in (values, order))
    else:
        value, index = (lax.slice_in_dim(v, (n - 1) // 2, (n - 1) // 2 + 1, axis=axis) for v in (values, order))
    if dim is None:
        return spread(x, value.reshape(()))
    return dropped(pick(x, index, axis, value), axis, keepdim), dropped(index, axis, keepdim).astype(np.int64)


@op(returns=("values", "indices"), exact=True)
def median(input: Array, dim: int | None = None, keepdim: bool = False):
    """Lower median: ``median(input)`` -> (), or ``median(input, dim)`` -> (values, indices).  NaN if any element is
    NaN.

    Gradient: evenly over equal elements without ``dim``, else to the selected one.
    """
    return _middle("median", input, dim, keepdim, False)


@op(returns=("values", "indices"), exact=True)
def nanmedian(input: Array, dim: int | None = None, keepdim: bool = False):
    """``median`` of the elements that are not NaN; NaN if all are."""
    return _middle("nanmedian", input, dim, keepdim, True)


@op(returns=("values", "indices"))
def kthvalue(input: Array, k: int, dim: int = -1, keepdim: bool = False):
    """The ``k``-th smallest element (1 is the smallest) along ``dim`` -> (values, indices); NaN counts as largest.

    Raises: RuntimeError if k is not in 1..n.
    """
    need_real("kthvalue", input)
    axis = wrap_dim(dim, input.ndim)
    need_elements("kthvalue", input, axis)
    n = input.shape[axis] if input.ndim else 1
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {axis}: k is {k}, the size {n}")
    if input.ndim == 0:
        return input, jnp.zeros((), np.int64)
    value, index = (lax.slice_in_dim(v, k - 1, k, axis=axis) for v in ordered(input, axis))
    return dropped(pick(input, index, axis, value), axis, keepdim), dropped(index, axis, keepdim).astype(np.int64)


@op(returns=("values", "indices"))
def mode(input: Array, dim: int = -1, keepdim: bool = False):
    """Most frequent value along ``dim``, the smallest of several -> (values, indices of its last occurrence)."""
    need_real("mode", input)
    axis = wrap_dim(dim, input.ndim)
    need_elements("mode", input, axis)
    if input.ndim == 0:
        return input, jnp.zeros((), np.int64)
    values, order = ordered(input, axis)
    position = lax.broadcasted_iota(np.int32, values.shape, axis)
    before = jnp.roll(values, 1, axis)
    start = lax.cummax(jnp.where((values != before) | (position == 0), position, 0), axis)
    _, at = extreme_index(position - start, axis, True)
    index = jnp.take_along_axis(order, at, axis, mode="clip")
    value = pick(input, index, axis, jnp.take_along_axis(values, at, axis, mode="clip"))
    return dropped(value, axis, keepdim), dropped(index, axis, keepdim).astype(np.int64)


_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(name, input, q, dim, keepdim, interpolation, skip_nan):
    if input.size == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if input.dtype not in (np.float32, np.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if isinstance(q, (int, float)):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        q = jnp.asarray(q, input.dtype)
    else:
        if q.ndim > 1:
            raise RuntimeError(f"{name}() q must be a scalar or 1D tensor, but got {q.ndim}-D")
        if q.ndim == 1 and q.dtype != input.dtype:
            raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
        q = q.astype(input.dtype)
        check(jnp.all((q >= 0) & (q <= 1)), RuntimeError, f"{name}() q values must be in the range [0, 1]")
    if dim is None:
        x, axis, kept = input.reshape(-1), 0, (1,) * input.ndim
    else:
        axis = wrap_dim(dim, input.ndim)
        x = input.reshape(1) if input.ndim == 0 else input
        kept = tuple(1 if a == axis else n for a, n in enumerate(input.shape))
    if not keepdim:
        kept = () if dim is None else tuple(n for a, n in enumerate(input.shape) if a != axis)
    x = jnp.moveaxis(x, axis, -1)
    # Sorting here with its gradient: values from several ranks flow back through one permutation.
    s, _ = stable_sort(x, x.ndim - 1, False)
    numbers = jnp.sum(~jnp.isnan(s), -1, keepdims=True, dtype=np.int32)
    n = s.shape[-1]
    last = jnp.maximum(numbers - 1, 0).astype(x.dtype) if skip_nan else jnp.asarray(n - 1, x.dtype)
    rank = jnp.clip(q.reshape(-1) * last, 0, n - 1)
    if not skip_nan:
        rank = jnp.where(numbers == n, rank, n - 1)
    rank = jnp.broadcast_to(rank, (*s.shape[:-1], q.size))
    rank = {"lower": jnp.floor, "higher": jnp.ceil, "nearest": jnp.round}.get(interpolation, lambda r: r)(rank)
    low, high = jnp.floor(rank), jnp.ceil(rank)
    below = jnp.take_along_axis(s, low.astype(np.int32), -1, mode="clip")
    if interpolation in ("lower", "higher", "nearest"):
        out = below
    else:
        above = jnp.take_along_axis(s, high.astype(np.int32), -1, mode="clip")
        weight = jnp.asarray(0.5, x.dtype) if interpolation == "midpoint" else rank - low
        # Two infinities of one sign spare inf - inf.
        same = (below == above) & jnp.isinf(below)
        gap = jnp.where(same, 0, above - jnp.where(same, above, below))
        out = jnp.where(low == high, below, below + weight * gap)
    return jnp.moveaxis(out, -1, 0).reshape(q.shape + kept)


@op()
def quantile(input: Array, q: Operand, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"):
    """Quantiles of input along ``dim`` (of all elements if None): q () -> (*rest), q (k,) -> (k, *rest).

    ``interpolation``: linear, lower, higher, midpoint, nearest.  NaN if any element is NaN.
    Raises: RuntimeError for empty or non-float input and for q outside [0, 1].
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@op()
def nanquantile(
    input: Array, q: Operand, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
):
    """``quantile`` of the elements that are not NaN; NaN where there are none."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


def _range(x: jax.Array, low, high, margin: float = 1) -> tuple[jax.Array, jax.Array]:
    low, high = jnp.asarray(low, x.dtype), jnp.asarray(high, x.dtype)
    if x.size:
        auto = low == high
        low, high = jnp.where(auto, jnp.min(x), low), jnp.where(auto, jnp.max(x), high)
    flat = low == high
    low, high = jnp.where(flat, low - margin, low), jnp.where(flat, high + margin, high)
    check(jnp.isfinite(low) & jnp.isfinite(high), RuntimeError, "torch.histc: range of [min, max] is not finite")
    check(low < high, RuntimeError, "torch.histc: max must be larger than min")
    return low, high


def _tally(x: jax.Array, low: jax.Array, high: jax.Array, bins: int, weight: jax.Array | None) -> jax.Array:
    inside = (x >= low) & (x <= high)
    at = jnp.floor((x - low) / (high - low) * bins)
    at = jnp.where(inside, jnp.clip(at, 0, bins - 1), bins).astype(np.int32)
    return jnp.zeros(bins + 1, x.dtype).at[at].add(jnp.ones_like(x) if weight is None else weight)[:bins]


def _check_bins(bins: int) -> None:
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")


@op(differentiable=False)
def histc(input: Array, bins: int = 100, min: Scalar = 0, max: Scalar = 0):
    """Counts of elements in ``bins`` equal intervals of [min, max] (the data's own range if min == max), dtype of
    input.

    Elements outside are ignored.  Raises RuntimeError for bins <= 0 and for max < min.
    """
    _check_bins(bins)
    x = input.reshape(-1)
    if not is_float(x.dtype):
        raise NotImplementedError(f"\"histogram_cpu\" not implemented for '{type_name(x.dtype)}'")
    return _tally(x, *_range(x, min, max), bins, None)


def _density(hist: jax.Array, edges: jax.Array) -> jax.Array:
    return hist / jnp.sum(hist) / jnp.diff(edges)


def _measured(input: jax.Array) -> jax.Array:
    """Edges lie between whole numbers, so these are refused, as in PyTorch."""
    if not is_float(input.dtype):
        raise NotImplementedError(f"\"histogramdd\" not implemented for '{type_name(input.dtype)}'")
    return input


def _parse_histogram(*args, **kwargs):
    bins = args[1] if len(args) > 1 else kwargs.get("bins")
    return ("_histogram_edges" if hasattr(bins, "dtype") else None), args, kwargs


@op(differentiable=False, returns=("hist", "bin_edges"), parse=_parse_histogram)
def histogram(
    input: Array,
    bins: int = 100,
    *,
    range: tuple[float, float] | None = None,
    weight: Array | None = None,
    density: bool = False,
):
    """Counts (or summed ``weight``) in intervals -> (hist, bin_edges); ``bins`` is their number or a 1-D tensor of
    edges.

    ``range``: (low, high), the data's own if None.  ``density``: divide by total and width.
    """
    _check_bins(bins)
    x = _measured(input).reshape(-1)
    low, high = _range(x, *(range or (0, 0)), margin=0.5)
    edges = jnp.linspace(0, 1, bins + 1, dtype=x.dtype) * (high - low) + low
    hist = _tally(x, low, high, bins, None if weight is None else weight.reshape(-1).astype(x.dtype))
    return (_density(hist, edges) if density else hist), edges


@op(name="_histogram_edges", namespace=None, differentiable=False, returns=("hist", "bin_edges"))
def _histogram_edges(input: Array, bins: Array, *, weight: Array | None = None, density: bool = False):
    """``histogram`` with the interval edges given, ascending; the last interval includes its upper edge."""
    if bins.ndim != 1:
        raise RuntimeError(f"torch.histogram(): bins tensor should have one dimension, but got {bins.ndim}")
    x = _measured(input).reshape(-1)
    n = bins.size - 1
    at = jnp.searchsorted(bins, x, side="right", method="sort" if n > 64 else "compare_all") - 1
    at = jnp.where(x == bins[-1], n - 1, at)
    at = jnp.where((x >= bins[0]) & (x <= bins[-1]), at, n)
    w = jnp.ones_like(x) if weight is None else weight.reshape(-1).astype(x.dtype)
    hist = jnp.zeros(n + 1, x.dtype).at[at].add(w)[:n]
    return (_density(hist, bins) if density else hist), bins


def _parse_hash(*args, **kwargs):
    if kwargs.get("mode", 0) != 0:
        raise RuntimeError(f"Unknown hash_tensor mode: {kwargs['mode']}")
    return None, args, kwargs


@op(differentiable=False, parse=_parse_hash)
def hash_tensor(input: Array, dim: Dims = (), *, keepdim: bool = False, mode: int = 0):
    """Exclusive or of the elements' 64-bit patterns (as float64, or int64) over ``dim`` (all if empty), uint64."""
    if is_complex(input.dtype):
        raise NotImplementedError(f"\"hash_tensor\" not implemented for '{type_name(input.dtype)}'")
    wide = input.astype(np.float64 if is_float(input.dtype) else np.int64)
    bits = lax.bitcast_convert_type(wide, np.uint64)
    axes = reduced_dims(dim, input.ndim)
    out = lax.reduce(bits, np.uint64(0), lax.bitwise_xor, axes)
    return jnp.expand_dims(out, axes) if keepdim and input.ndim else out


@op(name="_bincount", namespace=None, differentiable=False)
def _bincount(input: Array, weights: Array | None = None, *, length: int):
    """Occurrences (or summed ``weights``) of 0..length-1 in a 1-D integer tensor; the caller found ``length`` from the
    data.

    Dtype: int64, with weights float64 (float32 for float32 weights).
    """
    if input.ndim != 1 or is_inexact(input.dtype) or input.dtype == np.bool_:
        raise RuntimeError(
            f"bincount only supports 1-d non-negative integral inputs, but got {input.ndim}-D {type_name(input.dtype)}"
        )
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError(
            f"weights should be 1-d and have the same length as input, but got {list(weights.shape)} and "
            f"{list(input.shape)}"
        )
    at = jnp.where(input < 0, length, input)
    if weights is None:
        return jnp.zeros(length, np.int64).at[at].add(1, mode="drop")
    w = weights if weights.dtype == np.float32 else weights.astype(np.float64)
    return jnp.zeros(length, w.dtype).at[at].add(w, mode="drop")
