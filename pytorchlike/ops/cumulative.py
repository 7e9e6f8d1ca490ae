"""Running sums, products and extremes along an axis, finite differences and the trapezoid rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._dtypes import is_complex, is_inexact, type_name
from ._shapes import like_input
from ._sizes import wrap_dim, wrap_dims
from ._table import Array, Arrays, Scalar, Scalars, op, to_float
from .elementwise import complex_logaddexp

_LONG = 256  # from this length on the blocked sum is quicker than lax.cumsum on CPU, and its compile time pays
_BLOCK = 64


def _blocks(x: jax.Array) -> jax.Array:
    """Running sum over the last axis: within blocks by a triangular matrix product, then a carry from block to
    block.
    """
    n = x.shape[-1]
    k = -(-n // _BLOCK)
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, k * _BLOCK - n)]).reshape(*x.shape[:-1], k, _BLOCK)
    inside = jnp.matmul(x, np.triu(np.ones((_BLOCK, _BLOCK), x.dtype)), precision=lax.Precision.HIGHEST)
    totals = inside[..., -1]
    carry = (_blocks(totals) if k > _BLOCK else jnp.cumsum(totals, -1)) - totals
    return (inside + carry[..., None]).reshape(*x.shape[:-2], -1)[..., :n]


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def running_sum(x: jax.Array, axis: int) -> jax.Array:
    """Cumulative sum in x's dtype."""
    if x.dtype not in (np.float32, np.float64) or x.shape[axis] < _LONG:
        return lax.cumsum(x, axis)
    # A matrix product would spread inf and nan over their block (0 * inf): sum those apart, only if there are any.
    y = jnp.moveaxis(x, axis, -1)
    finite = jnp.isfinite(y)
    out = _blocks(jnp.where(finite, y, 0))
    odd = functools.partial(lax.cumsum, axis=y.ndim - 1)
    out = lax.cond(jnp.all(finite), lambda o, _: o, lambda o, z: o + odd(z), out, jnp.where(finite, 0, y))
    return jnp.moveaxis(out, -1, axis)


@running_sum.defjvp
def _running_sum_jvp(axis, primals, tangents):
    # lax.cumsum transposes to itself reversed and keeps non-finite cotangents in their place.
    return running_sum(primals[0], axis), lax.cumsum(tangents[0], axis)


def _accumulator(x: jax.Array, dtype: np.dtype | None) -> jax.Array:
    return x.astype(dtype if dtype is not None else x.dtype if is_inexact(x.dtype) else np.int64)


@op(inplace=True, saves=False, shapes=like_input)
def cumsum(input: Array, dim: int, *, dtype: np.dtype | None = None):
    """Running sum along ``dim``, same shape.  Dtype: ``dtype`` if given, else that of input; bool and integers give
    int64.
    """
    axis = wrap_dim(dim, input.ndim)
    x = _accumulator(input, dtype)
    if x.ndim == 0:
        return x
    if x.dtype.itemsize == 2 and is_inexact(x.dtype):
        return running_sum(x.astype(np.float32), axis).astype(x.dtype)
    return running_sum(x, axis)


@op(inplace=True)
def cumprod(input: Array, dim: int, *, dtype: np.dtype | None = None):
    """Running product along ``dim``, same shape; dtype as in ``cumsum``.  The gradient is exact at zeros."""
    axis = wrap_dim(dim, input.ndim)
    x = _accumulator(input, dtype)
    return lax.cumprod(x, axis) if x.ndim else x


def _running_extreme(name: str, input: jax.Array, dim: int, largest: bool) -> tuple[jax.Array, jax.Array]:
    if is_complex(input.dtype):
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{type_name(input.dtype)}'")
    axis = wrap_dim(dim, input.ndim)
    if input.dtype == np.bool_:
        values, index = _running_extreme(name, input.astype(np.uint8), dim, largest)
        return values.astype(bool), index
    if input.ndim == 0:
        return input, jnp.zeros((), np.int64)
    if input.size == 0:
        return input, jnp.zeros(input.shape, np.int64)
    x = lax.stop_gradient(input)
    # Elements equal to the running extreme so far; the last of them is the index PyTorch reports.
    best = (lax.cummax if largest else lax.cummin)(x, axis)
    position = lax.broadcasted_iota(np.int32, x.shape, axis)
    if jnp.issubdtype(x.dtype, jnp.floating):
        nan = lax.cummax(jnp.isnan(x).astype(np.int8), axis) > 0
        best = jnp.where(nan, np.nan, best)
        hit = jnp.where(nan, jnp.isnan(x), x == best)
    else:
        hit = x == best
    index = lax.cummax(jnp.where(hit, position, 0), axis)
    values = jnp.take_along_axis(input, index, axis, mode="clip") if is_inexact(x.dtype) else best
    return values, index.astype(np.int64)


@op(returns=("values", "indices"))
def cummax(input: Array, dim: int):
    """Running maximum along ``dim`` -> (values, indices of its latest occurrence).  NaN stays once met."""
    return _running_extreme("cummax", input, dim, True)


@op(returns=("values", "indices"))
def cummin(input: Array, dim: int):
    """Running minimum along ``dim`` -> (values, indices of its latest occurrence).  NaN stays once met."""
    return _running_extreme("cummin", input, dim, False)


@op
def logcumsumexp(input: Array, dim: int):
    """Log of the running sum of exponentials along ``dim``, without overflow.  Raises for bool and integers."""
    if not is_inexact(input.dtype):
        raise NotImplementedError(f"\"logcumsumexp_out_cpu\" not implemented for '{type_name(input.dtype)}'")
    axis = wrap_dim(dim, input.ndim)
    if input.ndim == 0 or input.size == 0:
        return input
    x = input.astype(np.float32) if input.dtype.itemsize == 2 else input
    if is_complex(x.dtype):
        first = lax.slice_in_dim(x, 0, 1, axis=axis)
        rest = jnp.moveaxis(lax.slice_in_dim(x, 1, None, axis=axis), axis, 0)

        def step(total, new):
            total = complex_logaddexp(total, new)
            return total, total

        # One after the other, as PyTorch: the turns that the imaginary part counts depend on the order.
        later = jnp.moveaxis(lax.scan(step, jnp.squeeze(first, axis), rest)[1], 0, axis)
        return jnp.concatenate([first, later], axis)
    return lax.associative_scan(jnp.logaddexp, x, axis=axis).astype(input.dtype)


@op(saves=False)
def diff(input: Array, n: int = 1, dim: int = -1, prepend: Array | None = None, append: Array | None = None):
    """``n``-th forward difference along ``dim`` after joining ``prepend`` and ``append``; bool uses exclusive or.

    Raises: RuntimeError for 0-d input, n < 0 and sizes that cannot be joined.
    """
    if input.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    axis = wrap_dim(dim, input.ndim)
    for x in (prepend, append):
        if x is not None and x.ndim != input.ndim:
            raise RuntimeError("diff expects prepend or append to be the same dimension as input")
        if x is not None and any(
            p != q for i, (p, q) in enumerate(zip(x.shape, input.shape, strict=True)) if i != axis
        ):
            raise RuntimeError(
                "diff expects the shape of tensor to prepend or append to match that of input except along the "
                f"differencing dimension; input.size is {list(input.shape)}, but got {list(x.shape)} with dim {axis}"
            )
    parts = [x for x in (prepend, input, append) if x is not None]
    x = parts[0] if len(parts) == 1 else jnp.concatenate([p.astype(jnp.result_type(*parts)) for p in parts], axis)
    for _ in range(min(n, x.shape[axis])):
        upper, lower = lax.slice_in_dim(x, 1, None, axis=axis), lax.slice_in_dim(x, 0, -1, axis=axis)
        x = upper != lower if x.dtype == np.bool_ else upper - lower
    return x


def _slices(y: jax.Array, x: jax.Array | None, dx: Scalar | None, dim: int, name: str) -> tuple[jax.Array, int]:
    axis = wrap_dim(dim, y.ndim)
    if y.ndim == 0:
        raise IndexError(f"{name}: expected y to have at least one dimension")
    if y.dtype == np.bool_:
        raise RuntimeError(f"{name}: received a bool input for `y`, but bool is not supported")
    y_sum = lax.slice_in_dim(y, 1, None, axis=axis) + lax.slice_in_dim(y, 0, max(y.shape[axis] - 1, 0), axis=axis)
    if x is None:
        y_sum = to_float(y_sum)
        return y_sum * ((1 if dx is None else dx) / 2), axis
    if x.dtype == np.bool_:
        raise RuntimeError(f"{name}: received a bool input for `x`, but bool is not supported")
    if x.ndim == 1:
        if x.size != y.shape[axis]:
            raise RuntimeError(
                f"{name}: There must be one `x` value for each sample point, but got {x.size} for {y.shape[axis]}"
            )
        x = x.reshape([-1 if i == axis else 1 for i in range(y.ndim)])
    elif x.ndim < y.ndim:
        x = x.reshape((1,) * (y.ndim - x.ndim) + x.shape)
    k = axis if x.ndim == y.ndim else wrap_dim(dim, x.ndim)
    if x.shape[k] != y.shape[axis]:
        raise RuntimeError(
            f"{name}: There must be one `x` value for each sample point, but got {x.shape[k]} for {y.shape[axis]}"
        )
    return to_float(y_sum * (lax.slice_in_dim(x, 1, None, axis=k) - lax.slice_in_dim(x, 0, -1, axis=k))) / 2, axis


def _trapezoid(y: Array, x: Array | None = None, *, dx: Scalar | None = None, dim: int = -1):
    """Integral along ``dim`` by the trapezoid rule, samples spaced by ``dx`` (1) or at the points ``x``.

    ``x``: of y's shape or broadcastable to it, or 1-D with one value per sample.  Integers give the default float
    dtype.
    """
    s, axis = _slices(y, x, dx, dim, "trapezoid")
    return jnp.sum(s, axis)


def _parse_spacing(*args, **kwargs):
    """The second positional argument is the points ``x`` (tensor)."""
    if kwargs.get("x") is not None and kwargs.get("dx") is not None:
        raise TypeError("trapezoid() takes either x or dx, not both")
    return None, args, kwargs


trapezoid = op(name="trapezoid", promote="common", method=False, out=False, parse=_parse_spacing, aliases=("trapz",))(
    _trapezoid
)


@op(promote="common", method=False, out=False, parse=_parse_spacing)
def cumulative_trapezoid(y: Array, x: Array | None = None, *, dx: Scalar | None = None, dim: int = -1):
    """Running integral along ``dim`` by the trapezoid rule, one element shorter than y; arguments as for
    ``trapezoid``.
    """
    s, axis = _slices(y, x, dx, dim, "cumulative_trapezoid")
    return running_sum(s, axis)


def _gradient_axes(input: jax.Array, dim: int | tuple[int, ...] | None, edge_order: int) -> tuple[int, ...]:
    if input.dtype in (np.uint8, np.bool_):
        raise RuntimeError(f"torch.gradient does not support input of dtype {type_name(input.dtype)}")
    if edge_order not in (1, 2):
        raise RuntimeError(f"torch.gradient only supports edge_order=1 and edge_order=2, but got {edge_order}")
    dims = range(input.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    axes = wrap_dims(dims, input.ndim)
    for a in axes:
        if input.shape[a] < edge_order + 1:
            raise RuntimeError(
                f"torch.gradient expected each dimension size to be at least edge_order+1, but dimension {a} has size "
                f"{input.shape[a]} and edge_order is {edge_order}"
            )
    return axes


def _gradient_even(x: jax.Array, axis: int, h, edge_order: int) -> jax.Array:
    at = functools.partial(lax.slice_in_dim, x, axis=axis)
    n = x.shape[axis]
    middle = [(at(2, n) - at(0, n - 2)) / (2 * h)] if n > 2 else []
    if edge_order == 1:
        first, last = (at(1, 2) - at(0, 1)) / h, (at(n - 1, n) - at(n - 2, n - 1)) / h
    else:
        first = (-1.5 * at(0, 1) + 2.0 * at(1, 2) - 0.5 * at(2, 3)) / h
        last = (1.5 * at(n - 1, n) - 2.0 * at(n - 2, n - 1) + 0.5 * at(n - 3, n - 2)) / h
    return jnp.concatenate([first, *middle, last], axis)


def _gradient_at(x: jax.Array, axis: int, points: jax.Array, edge_order: int) -> jax.Array:
    # Second order differences on an uneven grid: Lagrange interpolation through three neighbours.
    at = functools.partial(lax.slice_in_dim, x, axis=axis)
    n = x.shape[axis]
    d = jnp.diff(points)
    shape = [1] * x.ndim
    shape[axis] = -1
    a, b = d[:-1].reshape(shape), d[1:].reshape(shape)
    middle = []
    if n > 2:
        middle = [-b / (a * (a + b)) * at(0, n - 2) + (b - a) / (a * b) * at(1, n - 1) + a / (b * (a + b)) * at(2, n)]
    if edge_order == 1:
        first, last = (at(1, 2) - at(0, 1)) / d[0], (at(n - 1, n) - at(n - 2, n - 1)) / d[-1]
    else:
        p, q = d[0], d[1]
        first = -(2 * p + q) / (p * (p + q)) * at(0, 1) + (p + q) / (p * q) * at(1, 2) - p / (q * (p + q)) * at(2, 3)
        p, q = d[-2], d[-1]
        last = q / (p * (p + q)) * at(n - 3, n - 2) - (p + q) / (p * q) * at(n - 2, n - 1)
        last = last + (2 * q + p) / (q * (p + q)) * at(n - 1, n)
    return jnp.concatenate([first, *middle, last], axis)


def _parse_gradient(*args, **kwargs):
    """``spacing`` is a number, numbers (one per dim) or tensors (coordinates of every dim)."""
    spacing = kwargs.get("spacing")
    if spacing is None:
        spacing = 1
    if hasattr(spacing, "dtype") and spacing.ndim:
        spacing = (spacing,)
    if not isinstance(spacing, (list, tuple)):
        spacing = (spacing,)
    kwargs = {**kwargs, "spacing": tuple(spacing)}
    tensors = any(hasattr(s, "dtype") for s in spacing)
    return ("_gradient_points" if tensors else None), args, kwargs


@op(parse=_parse_gradient, method=False, out=False)
def gradient(input: Array, *, spacing: Scalars = (1,), dim: int | tuple[int, ...] | None = None, edge_order: int = 1):
    """Derivative along each of ``dim`` (all if None) by central differences -> tuple of tensors of input's shape.

    ``spacing``: step of all dims, one step per dim, or one tensor of coordinates per dim.  ``edge_order``: 1 or 2, the
    accuracy at the borders.  Raises: RuntimeError for fewer than edge_order + 1 samples.
    """
    axes = _gradient_axes(input, dim, edge_order)
    if len(spacing) not in (1, len(axes)):
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar or a list of length equal to 'self.dim() = "
            f"{len(axes)}', since dim argument defaults to range(input.ndim), but got a list of length {len(spacing)}"
        )
    steps = spacing * len(axes) if len(spacing) == 1 else spacing
    x = to_float(input)
    return tuple(_gradient_even(x, a, h, edge_order).astype(x.dtype) for a, h in zip(axes, steps, strict=True))


@op(name="_gradient_points", namespace=None)
def _gradient_points(input: Array, *, spacing: Arrays, dim: int | tuple[int, ...] | None = None, edge_order: int = 1):
    """``gradient`` with coordinates: one 1-D tensor per dim, or one 0-d step each."""
    axes = _gradient_axes(input, dim, edge_order)
    if len(spacing) == 1 and len(axes) > 1 and spacing[0].ndim == 0:
        spacing = spacing * len(axes)
    if len(spacing) != len(axes):
        raise RuntimeError(
            f"torch.gradient expected spacing to be one tensor per dim, {len(axes)}, but got {len(spacing)}"
        )
    x = to_float(input)
    out = []
    for a, s in zip(axes, spacing, strict=True):
        if s.ndim == 0:
            out.append(_gradient_even(x, a, s.astype(x.dtype), edge_order))
            continue
        if s.shape != (x.shape[a],):
            raise RuntimeError(
                f"torch.gradient expected spacing[{len(out)}] to be a vector of {x.shape[a]} coordinates, but got "
                f"{list(s.shape)}"
            )
        out.append(_gradient_at(x, a, s, edge_order))
    return tuple(o.astype(x.dtype) for o in out)
