"""Norms of vectors and matrices, distances, condition numbers."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from ._dtypes import is_complex, is_inexact, real_dtype, type_name
from ._matrices import need_matrix
from ._numeric import magnitude, sqrt0
from ._shapes import reduced
from ._sizes import broadcast_sizes, reduced_dims, wrap_dim
from ._table import Array, Arrays, op
from .decompositions import linalg_svdvals
from .linalg import as_info
from .reduce import Dims, count_along, extreme_of, squared


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
        if count_along(x, axes) == 1 and not is_complex(x.dtype):
            out = jnp.sum(magnitude(x), axes, keepdims=keepdim)
        else:
            out = sqrt0(jnp.sum(squared(x), axes, keepdims=keepdim))
    elif p == 0:
        out = jnp.sum(x != 0, axes, keepdims=keepdim)
    elif p == 1:
        out = jnp.sum(magnitude(x), axes, keepdims=keepdim)
    elif math.isinf(p):
        out = extreme_of(magnitude(x), axes, keepdim, p > 0)
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
    axes = reduced_dims(dim, input.ndim)
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
    broadcast_sizes(input.shape, other.shape)
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
    axis = wrap_dim(dim, input.ndim)
    n = vector_norm(input, float(p), tuple(a for a in range(input.ndim) if a != axis), True)
    factor = jnp.where(n > maxnorm, maxnorm / (n + 1e-7), 1).astype(n.dtype)
    return input * factor


def _matrix_norm(name: str, a: jax.Array, ord: float | str, axes: tuple[int, int], keepdim: bool, dtype) -> jax.Array:
    if axes[0] == axes[1]:
        raise RuntimeError(f"{name}: dims must be different. Got {axes}")
    if isinstance(ord, str) and ord not in ("fro", "nuc"):
        raise RuntimeError(f"{name}: Order {ord} not supported.")
    if not isinstance(ord, str) and abs(ord) not in (1, 2, math.inf):
        raise RuntimeError(f"{name}: Order {ord} not supported.")
    if not is_inexact(a.dtype) and dtype is None:
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {type_name(a.dtype)}")
    if ord == "fro":
        return vector_norm(a, 2.0, axes, keepdim, dtype)
    a = a if dtype is None else a.astype(dtype)
    if ord == "nuc":
        return nuclear_norm(a, axes, keepdim)
    a = jnp.moveaxis(a, axes, (-2, -1))
    extreme = jnp.max if ord > 0 else jnp.min
    if abs(ord) == 2:
        values = linalg_svdvals.fn(a)
    else:
        values = jnp.sum(magnitude(a), -2 if abs(ord) == 1 else -1)
    if values.shape[-1] == 0:
        if ord < 0:
            raise IndexError(f"{name}: the norm of order {ord} of an empty matrix {list(a.shape[-2:])} is not defined")
        values = jnp.zeros((*a.shape[:-2], 1), real_dtype(a.dtype))
    out = extreme(values, -1)
    return jnp.expand_dims(out, axes) if keepdim else out


@op(name="vector_norm", namespace="linalg")
def linalg_vector_norm(
    x: Array, ord: float = 2, dim: Dims = None, keepdim: bool = False, *, dtype: np.dtype | None = None
):
    """Norm ``sum(|x| ** ord) ** (1 / ord)`` over ``dim`` (all axes if None), also for ord 0 (count), inf and -inf.

    Real for complex input.  The gradient at 0 is 0.  Raises: RuntimeError for integers, for ord < 0 or inf on empty
    axes.
    """
    return vector_norm(x, float(ord), reduced_dims(dim, x.ndim), keepdim, dtype)


@op(name="matrix_norm", namespace="linalg")
def linalg_matrix_norm(
    A: Array,
    ord: float | str = "fro",
    dim: tuple[int, int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: np.dtype | None = None,
):
    """Norm of the matrices on two axes: ``"fro"``, ``"nuc"``, 1/-1 (columns), inf/-inf (rows), 2/-2 (singular
    values).
    """
    name = "linalg.matrix_norm"
    if A.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    if len(dim) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {dim}")
    return _matrix_norm(name, A, ord, tuple(wrap_dim(d, A.ndim) for d in dim), keepdim, dtype)


@op(name="norm", namespace="linalg")
def linalg_norm(
    A: Array,
    ord: float | str | None = None,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: np.dtype | None = None,
):
    """Vector norm of one axis, matrix norm of two; without ``ord`` the 2-norm of the elements over ``dim`` (or all).

    Raises: RuntimeError if ord is given without dim for more than 2 axes.
    """
    dims = (dim,) if isinstance(dim, int) else dim
    if ord is None:
        return vector_norm(A, 2.0, reduced_dims(dim, A.ndim), keepdim, dtype)
    if dims is None and A.ndim not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.ndim}D."
        )
    if dims is not None and len(dims) not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}")
    n = A.ndim if dims is None else len(dims)
    if n == 2:
        if A.ndim < 2:
            raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
        axes = tuple(wrap_dim(d, A.ndim) for d in dims or (0, 1))
        return _matrix_norm("linalg.matrix_norm", A, ord, axes, keepdim, dtype)
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: Order {ord} needs two dimensions, but dim is {dim}")
    return vector_norm(A, float(ord), reduced_dims(dim, A.ndim), keepdim, dtype)


@op(name="cond", namespace="linalg")
def linalg_cond(A: Array, p: float | str | None = None):
    """Condition number ``norm(A, p) * norm(inv(A), p)``; None and 2: largest over smallest singular value."""
    need_matrix("linalg.cond", A)
    if p in (None, 2, -2):
        if 0 in A.shape[-2:]:
            return jnp.zeros(A.shape[:-2], real_dtype(A.dtype))
        s = jnp.linalg.svd(A, compute_uv=False)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    squared(f"linalg.cond({p})", A)
    axes = (A.ndim - 2, A.ndim - 1)
    if A.size == 0:
        return jnp.zeros(A.shape[:-2], real_dtype(A.dtype))
    norm = functools.partial(_matrix_norm, "linalg.cond", ord=p, axes=axes, keepdim=False, dtype=None)
    inverse = jnp.linalg.inv(A)
    # A singular matrix has an infinite condition number, not an error.
    out = norm(A) * norm(inverse)
    return jnp.where(as_info(A) != 0, np.inf, out)
