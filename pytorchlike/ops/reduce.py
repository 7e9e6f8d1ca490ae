"""Reductions: sums, extremes and moments along axes.

Gradients follow PyTorch at ties: ``max()``, ``amax``, ``median()`` spread evenly over equal elements, forms that also
return an index give everything to that element.  Selections are differentiated by comparing positions instead of
scattering: XLA fuses it.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._dtypes import is_complex, is_float, is_inexact, real_dtype, type_name
from ._numeric import divisor, isnan, sqrt0
from ._shapes import extreme, reduced
from ._sizes import reduced_dims, wrap_dim
from ._table import Array, Sizes, op, to_float

Dims = int | tuple[int, ...] | None


def count_along(x: jax.Array, axes: tuple[int, ...]) -> int:
    """How many elements each result is made of."""
    return math.prod(x.shape[a] for a in axes)


def need_real(name: str, x: jax.Array, error: type[Exception] = NotImplementedError) -> None:
    if is_complex(x.dtype):
        raise error(f"{name}: complex numbers have no order, but the input is {type_name(x.dtype)}; use abs() or real")


def _need_inexact(message: str, x: jax.Array) -> None:
    if not is_inexact(x.dtype):
        raise RuntimeError(message)


def need_elements(name: str, x: jax.Array, axis: int) -> None:
    if x.ndim and x.shape[axis] == 0:
        raise IndexError(f"{name}(): Expected reduction dim {axis} to have non-zero size.")


def _iota(x: jax.Array, axis: int) -> jax.Array:
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    return jnp.arange(x.shape[axis], dtype=np.int32).reshape(shape)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _keep(x: jax.Array, index: jax.Array, value: jax.Array, axis: int) -> jax.Array:
    return value


@_keep.defjvp
def _keep_jvp(axis, primals, tangents):
    # Comparing positions fuses where a gather's gradient, a scatter, does not.
    here = _iota(primals[0], axis) == primals[1]
    tangent = jnp.sum(jnp.where(here, tangents[0], 0), axis, keepdims=True).astype(primals[2].dtype)
    return _keep(*primals, axis), tangent


def pick(x: jax.Array, index: jax.Array, axis: int, value: jax.Array | None = None) -> jax.Array:
    """Element ``index`` (axis kept, length 1) along ``axis``, whose gradient goes there; ``value`` if already known."""
    if value is None:
        value = jnp.take_along_axis(x, index, axis, mode="clip")
    if not is_inexact(x.dtype):
        return value
    return _keep(x, index.astype(np.int32), lax.stop_gradient(value), axis)


@jax.custom_jvp
def _even(x: jax.Array, value: jax.Array) -> jax.Array:
    return value


@_even.defjvp
def _even_jvp(primals, tangents):
    x, value = primals
    same = (x == value) | (jnp.isnan(x) & jnp.isnan(value))
    n = jnp.maximum(jnp.sum(same, dtype=np.int32), 1).astype(x.dtype)
    return _even(x, value), (jnp.sum(jnp.where(same, tangents[0], 0)) / n).astype(value.dtype)


def spread(x: jax.Array, value: jax.Array) -> jax.Array:
    """``value``, a 0-d array found in ``x``, with its gradient shared evenly by the equal elements of ``x``."""
    return _even(x, lax.stop_gradient(value)) if is_inexact(x.dtype) else value


def squared(x: jax.Array) -> jax.Array:
    return x.real * x.real + x.imag * x.imag if is_complex(x.dtype) else x * x


def dropped(x: jax.Array, axis: int, keepdim: bool) -> jax.Array:
    return x if keepdim or x.ndim == 0 else jnp.squeeze(x, axis)


# ---------------------------------------------------------------------------------------------------------------- sums


def _sum_dtype(x: jax.Array, dtype: np.dtype | None) -> np.dtype:
    return dtype if dtype is not None else x.dtype if is_inexact(x.dtype) else np.dtype(np.int64)


@op(name="sum", saves=False, shapes=reduced)
def sum_(input: Array, dim: Dims = None, keepdim: bool = False, *, dtype: np.dtype | None = None):
    """Sum over ``dim`` (all axes if None or empty).

    Dtype: ``dtype`` if given (input is converted first), else that of input; bool and integers give int64.
    Raises: IndexError if a dim is out of range, RuntimeError if one is given twice.
    """
    x = input.astype(_sum_dtype(input, dtype))
    axes = reduced_dims(dim, x.ndim)
    if x.dtype == np.bool_:
        return jnp.any(x, axes, keepdims=keepdim)
    return jnp.sum(x, axes, keepdims=keepdim, dtype=x.dtype)


@op()
def nansum(input: Array, dim: Dims = None, keepdim: bool = False, *, dtype: np.dtype | None = None):
    """Sum over ``dim`` counting NaN as 0.  Dtype as in ``sum``.  Raises RuntimeError for complex input."""
    need_real("nansum", input, RuntimeError)
    x = input.astype(_sum_dtype(input, dtype))
    return jnp.sum(jnp.where(isnan(x), 0, x), reduced_dims(dim, input.ndim), keepdims=keepdim, dtype=x.dtype)


def _mean_input(name: str, x: jax.Array, dtype: np.dtype | None) -> jax.Array:
    if dtype is not None and not is_inexact(dtype):
        raise RuntimeError(
            f"{name}(): could not infer output dtype. Optional dtype must be either a floating point or complex dtype. "
            f"Got: {type_name(dtype)}"
        )
    if dtype is None and not is_inexact(x.dtype):
        raise RuntimeError(
            f"{name}(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {type_name(x.dtype)}"
        )
    return x if dtype is None else x.astype(dtype)


@op(saves=False, shapes=reduced)
def mean(input: Array, dim: Dims = None, keepdim: bool = False, *, dtype: np.dtype | None = None):
    """Arithmetic mean over ``dim`` (all axes if None or empty); of no elements NaN.

    Raises: RuntimeError for bool and integer input without a floating ``dtype``; IndexError for a dim out of range.
    """
    x = _mean_input("mean", input, dtype)
    axes = reduced_dims(dim, x.ndim)
    if x.dtype.itemsize == 2:  # the sum of a half precision array must not be rounded before the division
        total = jnp.sum(x.astype(np.float32), axes, keepdims=keepdim)
        return (total / divisor(count_along(x, axes), total)).astype(x.dtype)
    total = jnp.sum(x, axes, keepdims=keepdim)
    n = count_along(x, axes)
    return total / divisor(n, total) if n else jnp.full_like(total, np.nan)


@op()
def nanmean(input: Array, dim: Dims = None, keepdim: bool = False, *, dtype: np.dtype | None = None):
    """Mean over ``dim`` of the elements that are not NaN.  Raises RuntimeError for bool and integer input."""
    if not is_inexact(input.dtype):
        raise RuntimeError(
            f"nanmean(): expected input to have floating point or complex dtype but got {type_name(input.dtype)}"
        )
    x = _mean_input("nanmean", input, dtype)
    axes = reduced_dims(dim, x.ndim)
    nan = jnp.isnan(x)
    n = jnp.sum(~nan, axes, keepdims=keepdim).astype(real_dtype(x.dtype))
    return jnp.sum(jnp.where(nan, 0, x), axes, keepdims=keepdim) / n


#: Elements from which a product's gradient looks for zeros, of which there mostly are none.
_MANY_FACTORS = 4096


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _product(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    return jnp.prod(x, axes)


@_product.defjvp
def _product_jvp(axes, primals, tangents):
    # JAX's own rule multiplies all but one, by running products from both ends; without zeros a division does.
    def by_division(x, t):
        return (t * (jnp.prod(x, axes, keepdims=True) / x)).sum(axes)

    def by_products(x, t):
        return jax.jvp(lambda x: jnp.prod(x, axes), (x,), (t,))[1]

    x = primals[0]
    return _product(x, axes), lax.cond(jnp.any(x == 0), by_products, by_division, x, tangents[0])


@op()
def prod(input: Array, dim: int | None = None, keepdim: bool = False, *, dtype: np.dtype | None = None):
    """Product over one ``dim`` (all axes if None); of no elements 1.  Dtype as in ``sum``; the gradient is exact at
    zeros.
    """
    x = input.astype(_sum_dtype(input, dtype))
    x, axes = (x.reshape(-1), (0,)) if dim is None else (x, reduced_dims(dim, x.ndim))
    if x.dtype == np.bool_:
        return jnp.all(x, axes, keepdims=keepdim and dim is not None)
    many = x.size >= _MANY_FACTORS and is_inexact(x.dtype)
    found = _product(x, tuple(axes)) if many else jnp.prod(x, axes, dtype=x.dtype)
    return jnp.expand_dims(found, axes) if keepdim and dim is not None else found


@op(method=True, function=False, saves=False)
def sum_to_size(input: Array, size: Sizes):
    """Sum over leading and broadcast axes so that the result has ``size``.  Raises RuntimeError if size does not
    broadcast to input.
    """
    shape = input.shape
    lead = len(shape) - len(size)
    if lead < 0 or any(s not in (1, n) for s, n in zip(size, shape[lead:], strict=True)):
        raise RuntimeError(f"size {{{list(size)}}} is not expandable to size {{{list(shape)}}}.")
    if size == shape and shape:
        return input
    x = jnp.sum(input.astype(_sum_dtype(input, None)), tuple(range(lead)))
    return jnp.sum(x, tuple(i for i, s in enumerate(size) if s == 1 and x.shape[i] != 1), keepdims=True)


@op(differentiable=False)
def count_nonzero(input: Array, dim: Dims = None):
    """Number of elements that are not 0, over ``dim`` (all axes if None), int64."""
    return jnp.sum(input != 0, reduced_dims(dim, input.ndim), dtype=np.int64)


@op(saves=False)
def trace(input: Array):
    """Sum of the diagonal of a matrix (n, m) -> ().  Integers give int64.  Raises RuntimeError unless input is 2-D."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return jnp.sum(jnp.diagonal(input).astype(_sum_dtype(input, None)))


def _decided(input, dim: Dims = None, keepdim: bool = False, **_: Any):
    return (input.shape,) if dim == () else reduced(input, dim, keepdim)


def _truth(input: jax.Array, dim: Dims, keepdim: bool, reduce) -> jax.Array:
    out = input != 0 if dim == () else reduce(input != 0, reduced_dims(dim, input.ndim), keepdims=keepdim)
    # uint8 was PyTorch's bool once and still reduces to itself.
    return out.astype(np.uint8) if input.dtype == np.uint8 else out


@op(name="all", differentiable=False, shapes=_decided, rounds=False)
def all_(input: Array, dim: Dims = None, keepdim: bool = False):
    """Whether all elements over ``dim`` are non-zero; True of no elements.  Bool, but uint8 for uint8.

    Over no dims, ``dim=()``, each element for itself, unlike sums, which reduce all then.
    """
    return _truth(input, dim, keepdim, jnp.all)


@op(name="any", differentiable=False, shapes=_decided, rounds=False)
def any_(input: Array, dim: Dims = None, keepdim: bool = False):
    """Whether any element over ``dim`` is non-zero; False of no elements.  Otherwise as ``all``."""
    return _truth(input, dim, keepdim, jnp.any)


# ------------------------------------------------------------------------------------------------------------ extremes


def extreme_of(x: jax.Array, axes: tuple[int, ...], keepdim: bool, largest: bool) -> jax.Array:
    if not axes:
        return x
    out = (jnp.max if largest else jnp.min)(x, axes, keepdims=keepdim)
    if not is_inexact(x.dtype):
        return out
    # XLA:CPU's fused maximum loses NaNs (jaxlib 0.10.2 and 0.12.0)
    return jnp.where(jnp.any(x != x, axes, keepdims=keepdim), jnp.asarray(jnp.nan, out.dtype), out)


def extreme_index(x: jax.Array, axis: int, largest: bool) -> tuple[jax.Array, jax.Array]:
    """Extreme value along ``axis`` and its first position (int32), axis kept; NaN counts as the extreme.

    Two reductions, which XLA:CPU vectorises; ``jnp.argmax`` reduces pairs and is three times slower.
    """
    x = lax.stop_gradient(x)
    value = extreme_of(x, (axis,), True, largest)
    hit = x == value
    if is_float(x.dtype):
        hit |= jnp.isnan(x)
    return value, jnp.min(jnp.where(hit, _iota(x, axis), max(x.shape[axis] - 1, 0)), axis, keepdims=True)


def _overload(elementwise: str):
    def parse(*args, **kwargs):
        """Send ``max(a, b)`` with two tensors to the element-wise op."""
        second = args[1] if len(args) > 1 else kwargs.get("other")
        tensors = hasattr(second, "dtype") and not isinstance(second, np.generic)  # which is a dim
        return (elementwise if tensors else None), args, kwargs

    return parse


def _max_or_min(name: str, input: jax.Array, dim: int | None, keepdim: bool, largest: bool):
    if dim is not None and is_complex(input.dtype):
        raise RuntimeError(f"{name}(): does not support complex input")
    need_real(name, input)
    if dim is None:
        if input.size == 0:
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument."
            )
        return spread(input, extreme_of(lax.stop_gradient(input), tuple(range(input.ndim)), False, largest))
    axis = wrap_dim(dim, input.ndim)
    need_elements(name, input, axis)
    if input.ndim == 0:
        return input, jnp.zeros((), np.int64)
    value, index = extreme_index(input, axis, largest)
    value = pick(input, index, axis, value)
    return dropped(value, axis, keepdim), dropped(index, axis, keepdim).astype(np.int64)


@op(name="max", returns=("values", "indices"), parse=_overload("maximum"), shapes=extreme, exact=True)
def max_(input: Array, dim: int | None = None, keepdim: bool = False):
    """Largest element: ``max(input)`` -> (), or ``max(input, dim)`` -> (values, indices); ``max(a, b)`` is ``maximum``.

    NaN counts as largest.  Gradient: evenly over ties without ``dim``, else to the first of them.
    Raises: RuntimeError / IndexError if there is nothing to reduce.
    """
    return _max_or_min("max", input, dim, keepdim, True)


@op(name="min", returns=("values", "indices"), parse=_overload("minimum"), shapes=extreme, exact=True)
def min_(input: Array, dim: int | None = None, keepdim: bool = False):
    """Smallest element: ``min(input)`` -> (), or ``min(input, dim)`` -> (values, indices); ``min(a, b)`` is
    ``minimum``.

    NaN counts as smallest.  Gradient: evenly over ties without ``dim``, else to the first of them.
    Raises: RuntimeError / IndexError if there is nothing to reduce.
    """
    return _max_or_min("min", input, dim, keepdim, False)


def _amax(name: str, input: jax.Array, dim: Dims, keepdim: bool, largest: bool) -> jax.Array:
    need_real(name, input)
    axes = reduced_dims(dim, input.ndim)
    if input.size == 0:
        if dim is None or dim == ():
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument."
            )
        for a in axes:
            need_elements(name, input, a)
    return extreme_of(input, axes, keepdim, largest)


@op(shapes=reduced, exact=True)
def amax(input: Array, dim: Dims = (), keepdim: bool = False):
    """Largest element over ``dim`` (all axes if empty); the gradient is shared evenly by ties."""
    return _amax("amax", input, dim, keepdim, True)


@op(shapes=reduced, exact=True)
def amin(input: Array, dim: Dims = (), keepdim: bool = False):
    """Smallest element over ``dim`` (all axes if empty); the gradient is shared evenly by ties."""
    return _amax("amin", input, dim, keepdim, False)


@op(returns=("min", "max"), exact=True)
def aminmax(input: Array, *, dim: int | None = None, keepdim: bool = False):
    """Smallest and largest element, over one ``dim`` or all axes -> (min, max).  Raises RuntimeError of an empty
    tensor.
    """
    need_real("aminmax", input)
    if dim is None and input.size == 0:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
        )
    axes = reduced_dims(dim, input.ndim)
    if dim is not None and axes:
        need_elements("aminmax", input, axes[0])
    return extreme_of(input, axes, keepdim, False), extreme_of(input, axes, keepdim, True)


def _arg(name: str, input: jax.Array, dim: int | None, keepdim: bool, largest: bool) -> jax.Array:
    if is_complex(input.dtype):
        raise RuntimeError(f"{name}(): does not support complex input")
    if input.dtype == np.bool_:
        raise RuntimeError(f"{name}(): does not support bool input; convert it with .int() first")
    if dim is None:
        if input.size == 0:
            raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
        shape = (1,) * input.ndim if keepdim else ()
        return extreme_index(input.reshape(-1), 0, largest)[1].astype(np.int64).reshape(shape)
    axis = wrap_dim(dim, input.ndim)
    need_elements(name, input, axis)
    if input.ndim == 0:
        return jnp.zeros((), np.int64)
    return dropped(extreme_index(input, axis, largest)[1], axis, keepdim).astype(np.int64)


@op(differentiable=False, shapes=reduced, exact=True)
def argmax(input: Array, dim: int | None = None, keepdim: bool = False):
    """Position of the first largest element along ``dim`` (in the flattened input if None), int64; NaN counts as
    largest.
    """
    return _arg("argmax", input, dim, keepdim, True)


@op(differentiable=False, shapes=reduced, exact=True)
def argmin(input: Array, dim: int | None = None, keepdim: bool = False):
    """Position of the first smallest element along ``dim`` (in the flattened input if None), int64; NaN counts as
    smallest.
    """
    return _arg("argmin", input, dim, keepdim, False)


# ------------------------------------------------------------------------------------------------------------- moments


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _variance(x: jax.Array, axes: tuple[int, ...], n: float) -> jax.Array:
    total = jnp.sum(squared(x - jnp.mean(x, axes, keepdims=True)), axes, keepdims=True)
    return total / divisor(n, total)


@_variance.defjvp
def _variance_jvp(axes, n, primals, tangents):
    # The mean's own derivative contributes sum(x - mean) = 0: leaving it out saves passes over x.
    x, t = primals[0], tangents[0]
    d = x - jnp.mean(x, axes, keepdims=True)
    dt = d.real * t.real + d.imag * t.imag if is_complex(x.dtype) else d * t
    return _variance(x, axes, n), jnp.sum(dt, axes, keepdims=True) * (2 / n)


def _moments(input: jax.Array, dim: Dims, unbiased: bool, keepdim: bool, correction: float | None, root: bool):
    _need_inexact("std and var only support floating point and complex dtypes", input)
    axes = reduced_dims(dim, input.ndim)
    c = correction if correction is not None else float(unbiased)
    n = max(count_along(input, axes) - c, 0.0)
    x = input.astype(np.float32) if input.dtype.itemsize == 2 else input
    if n > 0:
        var = _variance(x, axes, n)
    else:  # too few elements: x / 0, nan or inf, gradient nan
        var = jnp.sum(squared(x - jnp.mean(x, axes, keepdims=True)), axes, keepdims=True) / jnp.zeros(
            (), real_dtype(x.dtype)
        )
    out = sqrt0(var) if root else var
    out = out if keepdim else jnp.squeeze(out, axes)
    return out.astype(real_dtype(input.dtype))


def _parse_unbiased(*args, **kwargs):
    """``std(x, False)`` means unbiased=False, not dim=False."""
    if len(args) > 1 and isinstance(args[1], bool):
        return None, (args[0], None, args[1], *args[2:]), kwargs
    return None, args, kwargs


def _too_few(input, dim, unbiased, correction):
    shape = input.shape
    dims = dim if isinstance(dim, (tuple, list)) else range(len(shape)) if dim is None else (dim,)
    n = math.prod([shape[d] for d in dims or range(len(shape)) if -len(shape) <= d < len(shape)])
    return n <= (unbiased if correction is None else correction)


def _few(name: str) -> tuple[Any, str]:
    """What ``var`` and its like say of too few elements for an estimate."""
    return _too_few, (
        f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor: the "
        "number of elements behind each result."
    )


@op(parse=_parse_unbiased, shapes=reduced, deprecated=_few("var"))
def var(
    input: Array, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
):
    """Variance over ``dim`` (all axes if None): sum of squared deviations divided by n - correction.

    ``correction`` wins over ``unbiased`` (True means 1, the default).  Real also for complex input; NaN for n <=
    correction.
    Raises: RuntimeError for bool and integers.
    """
    return _moments(input, dim, unbiased, keepdim, correction, False)


@op(parse=_parse_unbiased, shapes=reduced, deprecated=_few("std"))
def std(
    input: Array, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
):
    """Standard deviation: square root of ``var``.  The gradient at 0 is 0."""
    return _moments(input, dim, unbiased, keepdim, correction, True)


@op(parse=_parse_unbiased, method=False, deprecated=_few("var_mean"))
def var_mean(
    input: Array, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
):
    """(``var``, ``mean``) over ``dim``, arguments as for ``var``."""
    return _moments(input, dim, unbiased, keepdim, correction, False), mean.fn(input, dim, keepdim)


@op(parse=_parse_unbiased, method=False, deprecated=_few("std_mean"))
def std_mean(
    input: Array, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
):
    """(``std``, ``mean``) over ``dim``, arguments as for ``var``."""
    return _moments(input, dim, unbiased, keepdim, correction, True), mean.fn(input, dim, keepdim)


@op(shapes=reduced)
def logsumexp(input: Array, dim: Dims, keepdim: bool = False):
    """Log of the summed exponentials over ``dim`` without overflow; integers give the default float dtype, empty sums
    -inf.

    Source: Blanchard, Higham & Higham 2021, doi:10.1093/imanum/draa038.
    """
    x = to_float(input)
    axes = reduced_dims(dim, x.ndim)
    if x.size == 0:
        return jnp.log(jnp.sum(jnp.exp(x), axes, keepdims=keepdim))
    # The maximum cancels out of the value, so it stays out of the gradient too; -inf - -inf would be nan.
    top = lax.stop_gradient(jnp.max(x.real, axes, keepdims=True))
    top = jnp.where(jnp.isfinite(top), top, 0)
    out = jnp.log(jnp.sum(jnp.exp(x - top), axes, keepdims=True)) + top
    return out if keepdim else jnp.squeeze(out, axes)
