"""Reductions: sums, extremes, moments, order statistics and norms along axes.

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

from ..engine import check
from ._order import stable_sort
from ._shapes import extreme, reduced
from ._table import Array, Arrays, Operand, Scalar, Sizes, op, result_type, to_float

Dims = int | tuple[int, ...] | None

_TYPE_NAMES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
    "float16": "Half", "bfloat16": "BFloat16", "float32": "Float", "float64": "Double",
    "complex64": "ComplexFloat", "complex128": "ComplexDouble",
}  # fmt: skip


def type_name(dtype: np.dtype) -> str:
    """PyTorch's name of a dtype in error messages: float32 is 'Float'."""
    return _TYPE_NAMES.get(str(dtype), str(dtype))


def is_float(dtype: np.dtype) -> bool:
    """Real floating point, bfloat16 included."""
    return jnp.issubdtype(dtype, jnp.floating)


def is_complex(dtype: np.dtype) -> bool:
    """Complex floating point."""
    return jnp.issubdtype(dtype, jnp.complexfloating)


def is_inexact(dtype: np.dtype) -> bool:
    """Real or complex floating point."""
    return jnp.issubdtype(dtype, jnp.inexact)


def real_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of the real part."""
    return np.finfo(dtype).dtype if is_complex(dtype) else np.dtype(dtype)


def one_axis(dim: int, ndim: int) -> int:
    """``dim`` counted from the front; a 0-d array counts as one axis.  Raises IndexError outside ``[-ndim, ndim)``."""
    n = max(ndim, 1)
    if not -n <= dim < n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
    return dim % n


def many_axes(dim: Dims, ndim: int) -> tuple[int, ...]:
    """Axes to reduce: all for None or (); for a 0-d array none.  Raises on axes out of range or given twice."""
    if dim is None or dim == ():
        return tuple(range(ndim))
    axes = tuple(one_axis(d, ndim) for d in ((dim,) if isinstance(dim, int) else dim))
    for a in axes:
        if axes.count(a) > 1:
            raise RuntimeError(f"dim {a} appears multiple times in the list of dims")
    return axes if ndim else ()


def check_broadcast(a: jax.Array, b: jax.Array) -> tuple[int, ...]:
    """The common shape of two arrays.  Raises RuntimeError in PyTorch's words if they do not broadcast."""
    n = max(a.ndim, b.ndim)
    p, q = ((1,) * (n - x.ndim) + x.shape for x in (a, b))
    for i in reversed(range(n)):
        if p[i] != q[i] and 1 not in (p[i], q[i]):
            raise RuntimeError(
                f"The size of tensor a ({p[i]}) must match the size of tensor b ({q[i]}) at non-singleton dimension {i}"
            )
    return tuple(t if s == 1 else s for s, t in zip(p, q, strict=True))


def is_nan(x: jax.Array) -> jax.Array:
    """Element-wise NaN test that also takes integers."""
    return jnp.isnan(x) if is_inexact(x.dtype) else jnp.zeros(x.shape, bool)


def _count(x: jax.Array, axes: tuple[int, ...]) -> int:
    return math.prod(x.shape[a] for a in axes)


def _need_real(name: str, x: jax.Array, error: type[Exception] = NotImplementedError) -> None:
    if is_complex(x.dtype):
        raise error(f"{name}: complex numbers have no order, but the input is {type_name(x.dtype)}; use abs() or real")


def _need_inexact(message: str, x: jax.Array) -> None:
    if not is_inexact(x.dtype):
        raise RuntimeError(message)


def _need_elements(name: str, x: jax.Array, axis: int) -> None:
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


def sqrt0(x: jax.Array) -> jax.Array:
    """Square root whose gradient is 0 at 0."""
    zero = x == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, x)))


def magnitude(x: jax.Array) -> jax.Array:
    """Absolute value whose gradient is 0 at 0, also for complex numbers."""
    if not is_complex(x.dtype):
        # jnp.abs has gradient 1 at 0.
        return x * jnp.sign(x) if is_float(x.dtype) else jnp.abs(x)
    zero = x == 0
    return jnp.where(zero, 0, jnp.abs(jnp.where(zero, 1, x)))


def _square(x: jax.Array) -> jax.Array:
    return x.real * x.real + x.imag * x.imag if is_complex(x.dtype) else x * x


def _place(x: jax.Array, axis: int, keepdim: bool) -> jax.Array:
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
    axes = many_axes(dim, x.ndim)
    if x.dtype == np.bool_:
        return jnp.any(x, axes, keepdims=keepdim)
    return jnp.sum(x, axes, keepdims=keepdim, dtype=x.dtype)


@op()
def nansum(input: Array, dim: Dims = None, keepdim: bool = False, *, dtype: np.dtype | None = None):
    """Sum over ``dim`` counting NaN as 0.  Dtype as in ``sum``.  Raises RuntimeError for complex input."""
    _need_real("nansum", input, RuntimeError)
    x = input.astype(_sum_dtype(input, dtype))
    return jnp.sum(jnp.where(is_nan(x), 0, x), many_axes(dim, input.ndim), keepdims=keepdim, dtype=x.dtype)


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
    axes = many_axes(dim, x.ndim)
    if x.dtype.itemsize == 2:  # the sum of a half precision array must not be rounded before the division
        return (jnp.sum(x.astype(np.float32), axes, keepdims=keepdim) / _count(x, axes)).astype(x.dtype)
    total = jnp.sum(x, axes, keepdims=keepdim)
    n = _count(x, axes)
    return total / n if n else jnp.full_like(total, np.nan)


@op()
def nanmean(input: Array, dim: Dims = None, keepdim: bool = False, *, dtype: np.dtype | None = None):
    """Mean over ``dim`` of the elements that are not NaN.  Raises RuntimeError for bool and integer input."""
    if not is_inexact(input.dtype):
        raise RuntimeError(
            f"nanmean(): expected input to have floating point or complex dtype but got {type_name(input.dtype)}"
        )
    x = _mean_input("nanmean", input, dtype)
    axes = many_axes(dim, x.ndim)
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
    x, axes = (x.reshape(-1), (0,)) if dim is None else (x, many_axes(dim, x.ndim))
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
    return jnp.sum(input != 0, many_axes(dim, input.ndim), dtype=np.int64)


@op(saves=False)
def trace(input: Array):
    """Sum of the diagonal of a matrix (n, m) -> ().  Integers give int64.  Raises RuntimeError unless input is 2-D."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return jnp.sum(jnp.diagonal(input).astype(_sum_dtype(input, None)))


def _decided(input, dim: Dims = None, keepdim: bool = False, **_: Any):
    return (input.shape,) if dim == () else reduced(input, dim, keepdim)


def _truth(input: jax.Array, dim: Dims, keepdim: bool, reduce) -> jax.Array:
    out = input != 0 if dim == () else reduce(input != 0, many_axes(dim, input.ndim), keepdims=keepdim)
    # uint8 was PyTorch's bool once and still reduces to itself.
    return out.astype(np.uint8) if input.dtype == np.uint8 else out


@op(name="all", differentiable=False, shapes=_decided)
def all_(input: Array, dim: Dims = None, keepdim: bool = False):
    """Whether all elements over ``dim`` are non-zero; True of no elements.  Bool, but uint8 for uint8.

    Over no dims, ``dim=()``, each element for itself, unlike sums, which reduce all then.
    """
    return _truth(input, dim, keepdim, jnp.all)


@op(name="any", differentiable=False, shapes=_decided)
def any_(input: Array, dim: Dims = None, keepdim: bool = False):
    """Whether any element over ``dim`` is non-zero; False of no elements.  Otherwise as ``all``."""
    return _truth(input, dim, keepdim, jnp.any)


# ------------------------------------------------------------------------------------------------------------ extremes


def _extreme(x: jax.Array, axes: tuple[int, ...], keepdim: bool, largest: bool) -> jax.Array:
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
    value = _extreme(x, (axis,), True, largest)
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
    _need_real(name, input)
    if dim is None:
        if input.size == 0:
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument."
            )
        return spread(input, _extreme(lax.stop_gradient(input), tuple(range(input.ndim)), False, largest))
    axis = one_axis(dim, input.ndim)
    _need_elements(name, input, axis)
    if input.ndim == 0:
        return input, jnp.zeros((), np.int64)
    value, index = extreme_index(input, axis, largest)
    value = pick(input, index, axis, value)
    return _place(value, axis, keepdim), _place(index, axis, keepdim).astype(np.int64)


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
    _need_real(name, input)
    axes = many_axes(dim, input.ndim)
    if input.size == 0:
        if dim is None or dim == ():
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument."
            )
        for a in axes:
            _need_elements(name, input, a)
    return _extreme(input, axes, keepdim, largest)


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
    _need_real("aminmax", input)
    if dim is None and input.size == 0:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
        )
    axes = many_axes(dim, input.ndim)
    if dim is not None and axes:
        _need_elements("aminmax", input, axes[0])
    return _extreme(input, axes, keepdim, False), _extreme(input, axes, keepdim, True)


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
    axis = one_axis(dim, input.ndim)
    _need_elements(name, input, axis)
    if input.ndim == 0:
        return jnp.zeros((), np.int64)
    return _place(extreme_index(input, axis, largest)[1], axis, keepdim).astype(np.int64)


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
    return jnp.sum(_square(x - jnp.mean(x, axes, keepdims=True)), axes, keepdims=True) / n


@_variance.defjvp
def _variance_jvp(axes, n, primals, tangents):
    # The mean's own derivative contributes sum(x - mean) = 0: leaving it out saves passes over x.
    x, t = primals[0], tangents[0]
    d = x - jnp.mean(x, axes, keepdims=True)
    dt = d.real * t.real + d.imag * t.imag if is_complex(x.dtype) else d * t
    return _variance(x, axes, n), jnp.sum(dt, axes, keepdims=True) * (2 / n)


def _moments(input: jax.Array, dim: Dims, unbiased: bool, keepdim: bool, correction: float | None, root: bool):
    _need_inexact("std and var only support floating point and complex dtypes", input)
    axes = many_axes(dim, input.ndim)
    c = correction if correction is not None else float(unbiased)
    n = max(_count(input, axes) - c, 0.0)
    x = input.astype(np.float32) if input.dtype.itemsize == 2 else input
    if n > 0:
        var = _variance(x, axes, n)
    else:  # too few elements: x / 0, nan or inf, gradient nan
        var = jnp.sum(_square(x - jnp.mean(x, axes, keepdims=True)), axes, keepdims=True) / jnp.zeros(
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


def _mean_of(input: jax.Array, dim: Dims, keepdim: bool) -> jax.Array:
    return jnp.mean(input, many_axes(dim, input.ndim), keepdims=keepdim)


@op(parse=_parse_unbiased, method=False, deprecated=_few("var_mean"))
def var_mean(
    input: Array, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
):
    """(``var``, ``mean``) over ``dim``, arguments as for ``var``."""
    return _moments(input, dim, unbiased, keepdim, correction, False), _mean_of(input, dim, keepdim)


@op(parse=_parse_unbiased, method=False, deprecated=_few("std_mean"))
def std_mean(
    input: Array, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
):
    """(``std``, ``mean``) over ``dim``, arguments as for ``var``."""
    return _moments(input, dim, unbiased, keepdim, correction, True), _mean_of(input, dim, keepdim)


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


_COV = "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations."


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


@op(shapes=reduced)
def logsumexp(input: Array, dim: Dims, keepdim: bool = False):
    """Log of the summed exponentials over ``dim`` without overflow; integers give the default float dtype, empty sums
    -inf.

    Source: Blanchard, Higham & Higham 2021, doi:10.1093/imanum/draa038.
    """
    x = to_float(input)
    axes = many_axes(dim, x.ndim)
    if x.size == 0:
        return jnp.log(jnp.sum(jnp.exp(x), axes, keepdims=keepdim))
    # The maximum cancels out of the value, so it stays out of the gradient too; -inf - -inf would be nan.
    top = lax.stop_gradient(jnp.max(x.real, axes, keepdims=True))
    top = jnp.where(jnp.isfinite(top), top, 0)
    out = jnp.log(jnp.sum(jnp.exp(x - top), axes, keepdims=True)) + top
    return out if keepdim else jnp.squeeze(out, axes)


# --------------------------------------------------------------------------------------------------------------- norms


def vector_norm(
    x: jax.Array, p: float, axes: tuple[int, ...], keepdim: bool, dtype: np.dtype | None = None
) -> jax.Array:
    """``sum(|x| ** p) ** (1 / p)`` over axes, with PyTorch's zero gradients at 0; also p = 0, inf and -inf."""
    if dtype is not None:
        if is_complex(x.dtype) and not is_complex(dtype) or not is_inexact(dtype):
            raise RuntimeError(
                f"linalg.vector_norm: dtype {type_name(dtype)} is not allowed for {type_name(x.dtype)} input"
            )
        x = x.astype(dtype)
    if not is_inexact(x.dtype):
        raise RuntimeError(
            f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {type_name(x.dtype)}"
        )
    if (p < 0 or p == math.inf) and 0 in (x.shape[a] for a in axes):
        if len(axes) == x.ndim:
            raise RuntimeError(
                f"linalg.vector_norm cannot compute the {p} norm on an empty tensor because the operation does not "
                "have an identity"
            )
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {p} norm on the dimension {axes[0]} because this dimension is "
            "empty and the operation does not have an identity"
        )
    out_dtype = real_dtype(x.dtype)
    if x.dtype.itemsize == 2:
        x = x.astype(np.float32)
    if p == 2:
        if _count(x, axes) == 1 and not is_complex(x.dtype):
            out = jnp.sum(magnitude(x), axes, keepdims=keepdim)
        else:
            out = sqrt0(jnp.sum(_square(x), axes, keepdims=keepdim))
    elif p == 0:
        out = jnp.sum(x != 0, axes, keepdims=keepdim)
    elif p == 1:
        out = jnp.sum(magnitude(x), axes, keepdims=keepdim)
    elif math.isinf(p):
        out = _extreme(magnitude(x), axes, keepdim, p > 0)
    else:
        a = magnitude(x)
        zero = a == 0
        powers = jnp.where(zero, 0 if p > 0 else np.inf, jnp.where(zero, 1, a) ** p)
        total = jnp.sum(powers, axes, keepdims=keepdim)
        edge = (total == 0) | jnp.isinf(total)
        out = jnp.where(edge, total ** (1 / p), jnp.where(edge, 1, total) ** (1 / p))
        if p > 0:
            out = jnp.where(total == 0, 0, out)
    return out.astype(out_dtype)


def nuclear_norm(x: jax.Array, axes: tuple[int, int], keepdim: bool) -> jax.Array:
    """Sum of singular values of the matrices on two axes."""
    x = jnp.moveaxis(x, axes, (-2, -1))
    if x.size == 0:
        s = jnp.zeros(x.shape[:-2], real_dtype(x.dtype))
    else:
        s = jnp.sum(jnp.linalg.svd(x, compute_uv=False), -1)
    return jnp.expand_dims(s, axes) if keepdim else s


@op(shapes=reduced)
def norm(
    input: Array, p: float | str | None = "fro", dim: Dims = None, keepdim: bool = False, dtype: np.dtype | None = None
):
    """Vector norm of order ``p`` over ``dim`` (all axes if None); ``"fro"`` and None mean 2, ``"nuc"`` sums singular
    values.

    Dtype: ``dtype`` if given (input is converted first); real for complex input.  The gradient at 0 is 0.
    Raises: RuntimeError for integers, for ``"nuc"`` without two axes, for orders without value on empty axes.
    """
    axes = many_axes(dim, input.ndim)
    if p == "nuc":
        if len(axes) != 2:
            raise RuntimeError(
                f"norm: the nuclear norm needs two dimensions, but got dim={dim} for a {input.ndim}-D input"
            )
        return nuclear_norm(input if dtype is None else input.astype(dtype), axes, keepdim)
    if isinstance(p, str) and p != "fro":
        raise RuntimeError(f"norm: p must be a number, 'fro' or 'nuc', but got {p!r}")
    return vector_norm(input, 2.0 if p in ("fro", None) else float(p), axes, keepdim, dtype)


@op(namespace="", out=False)
def _vector_norms(tensors: Arrays, ord: float = 2, dtype: np.dtype | None = None):
    """The norm of order ``ord`` of all elements of each of several tensors, 0-d: many norms as one operation."""
    return tuple(vector_norm(t, float(ord), tuple(range(t.ndim)), False, dtype) for t in tensors)


@op(promote="common")
def dist(input: Array, other: Array, p: float = 2):
    """Norm of order ``p`` of ``input - other`` (broadcast), a 0-d tensor."""
    check_broadcast(input, other)
    d = input - other
    return vector_norm(d, float(p), tuple(range(d.ndim)), False)


@op(inplace=True)
def renorm(input: Array, p: float, dim: int, maxnorm: float):
    """Scale each slice along ``dim`` whose ``p`` norm exceeds ``maxnorm`` down to that norm.

    Raises: RuntimeError for p <= 0, maxnorm < 0, fewer than 2 axes; IndexError for a dim out of range.
    """
    if p <= 0:
        raise RuntimeError(f"renorm: non-positive norm not supported, but got p={p}")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions")
    axis = one_axis(dim, input.ndim)
    n = vector_norm(input, float(p), tuple(a for a in range(input.ndim) if a != axis), True)
    factor = jnp.where(n > maxnorm, maxnorm / (n + 1e-7), 1).astype(n.dtype)
    return input * factor


# ---------------------------------------------------------------------------------------------------- order statistics


def ordered(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Ascending values and their positions, equal elements in order, NaN last; values carry no gradient."""
    values, order = stable_sort(lax.stop_gradient(x), axis, False)
    return values, order.astype(np.int32)


def _middle(name: str, input: jax.Array, dim: int | None, keepdim: bool, skip_nan: bool):
    _need_real(name, input)
    if dim is None:
        if input.size == 0:
            return jnp.full((), np.nan if is_float(input.dtype) else np.iinfo(input.dtype).min, input.dtype)
        x, axis = input.reshape(-1), 0
    else:
        x, axis = input, one_axis(dim, input.ndim)
        _need_elements(name, input, axis)
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
    return _place(pick(x, index, axis, value), axis, keepdim), _place(index, axis, keepdim).astype(np.int64)


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
    _need_real("kthvalue", input)
    axis = one_axis(dim, input.ndim)
    _need_elements("kthvalue", input, axis)
    n = input.shape[axis] if input.ndim else 1
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {axis}: k is {k}, the size {n}")
    if input.ndim == 0:
        return input, jnp.zeros((), np.int64)
    value, index = (lax.slice_in_dim(v, k - 1, k, axis=axis) for v in ordered(input, axis))
    return _place(pick(input, index, axis, value), axis, keepdim), _place(index, axis, keepdim).astype(np.int64)


@op(returns=("values", "indices"))
def mode(input: Array, dim: int = -1, keepdim: bool = False):
    """Most frequent value along ``dim``, the smallest of several -> (values, indices of its last occurrence)."""
    _need_real("mode", input)
    axis = one_axis(dim, input.ndim)
    _need_elements("mode", input, axis)
    if input.ndim == 0:
        return input, jnp.zeros((), np.int64)
    values, order = ordered(input, axis)
    position = lax.broadcasted_iota(np.int32, values.shape, axis)
    before = jnp.roll(values, 1, axis)
    start = lax.cummax(jnp.where((values != before) | (position == 0), position, 0), axis)
    _, at = extreme_index(position - start, axis, True)
    index = jnp.take_along_axis(order, at, axis, mode="clip")
    value = pick(input, index, axis, jnp.take_along_axis(values, at, axis, mode="clip"))
    return _place(value, axis, keepdim), _place(index, axis, keepdim).astype(np.int64)


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
        axis = one_axis(dim, input.ndim)
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


# ---------------------------------------------------------------------------------------------------------- histograms


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


def _parse_histogram(*args, **kwargs):
    bins = args[1] if len(args) > 1 else kwargs.get("bins")
    return ("_histogram_edges" if hasattr(bins, "dtype") else None), args, kwargs


@op(differentiable=False, returns=("hist", "bin_edges"), parse=_parse_histogram)
def histogram(
    input: Array,
    bins: int,
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
    x = input.reshape(-1)
    low, high = _range(x, *(range or (0, 0)), margin=0.5)
    edges = jnp.linspace(0, 1, bins + 1, dtype=x.dtype) * (high - low) + low
    hist = _tally(x, low, high, bins, None if weight is None else weight.reshape(-1).astype(x.dtype))
    return (_density(hist, edges) if density else hist), edges


@op(name="_histogram_edges", namespace=None, differentiable=False, returns=("hist", "bin_edges"))
def _histogram_edges(input: Array, bins: Array, *, weight: Array | None = None, density: bool = False):
    """``histogram`` with the interval edges given, ascending; the last interval includes its upper edge."""
    if bins.ndim != 1:
        raise RuntimeError(f"torch.histogram(): bins tensor should have one dimension, but got {bins.ndim}")
    x = input.reshape(-1)
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
    axes = many_axes(dim, input.ndim)
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
