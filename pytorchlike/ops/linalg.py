"""Linear algebra: ``torch.linalg`` and the older spellings of the same decompositions.

Failures that only the data can show (singular, not positive-definite) go through ``check`` and are raised at the next
read; the ``*_ex`` forms return them as ``info`` instead.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..engine import check
from ._table import Array, Arrays, Operand, op, superseded, to_float, view_rule
from .matmul import _parse_operands, cross_product, multi_dot_body, product
from .reduce import (
    Dims,
    check_broadcast,
    is_complex,
    is_inexact,
    magnitude,
    many_axes,
    nuclear_norm,
    one_axis,
    real_dtype,
    type_name,
    vector_norm,
)


class LinAlgError(RuntimeError):
    """A factorisation or solution failed because of the values of a matrix (``torch.linalg.LinAlgError``)."""


def _mT(a: jax.Array) -> jax.Array:
    return jnp.swapaxes(a, -1, -2)


def _mH(a: jax.Array) -> jax.Array:
    return _mT(a).conj()


def _matrix(name: str, a: jax.Array, what: str = "A") -> None:
    if a.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor {what} must have at least 2 dimensions, but got shape {list(a.shape)}."
        )
    if not is_inexact(a.dtype):
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {type_name(a.dtype)}")
    if real_dtype(a.dtype).itemsize < 4:
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {type_name(a.dtype)}")


def _square(name: str, a: jax.Array, what: str = "A") -> None:
    if a.ndim >= 2 and a.shape[-1] != a.shape[-2]:
        raise RuntimeError(
            f"{name}: {what} must be batches of square matrices, but they are {a.shape[-2]} by {a.shape[-1]} matrices"
        )
    _matrix(name, a, what)


def _finite(name: str, a: jax.Array) -> None:
    check(
        jnp.all(jnp.isfinite(a)),
        LinAlgError,
        f"{name}: The algorithm failed to converge because the input matrix contained non-finite values.",
    )


@jax.custom_jvp
def _hermitian(a: jax.Array) -> jax.Array:
    """The Hermitian matrix in the lower triangle of ``a``; as in PyTorch the gradient is the Hermitian one."""
    low = jnp.tril(a, -1)
    diagonal = jnp.tril(jnp.triu(a))
    return low + (diagonal.real.astype(a.dtype) if is_complex(a.dtype) else diagonal) + _mH(low)


@_hermitian.defjvp
def _hermitian_jvp(primals, tangents):
    return _hermitian(primals[0]), (tangents[0] + _mH(tangents[0])) / 2


def _broadcast(a: jax.Array, b: jax.Array, name: str) -> tuple[jax.Array, jax.Array]:
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise RuntimeError(
            f"{name}: batch dimensions {list(a.shape[:-2])} and {list(b.shape[:-2])} do not broadcast"
        ) from None
    return jnp.broadcast_to(a, batch + a.shape[-2:]), jnp.broadcast_to(b, batch + b.shape[-2:])


# --------------------------------------------------------------------------------------------------------------- norms


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
    return vector_norm(x, float(ord), many_axes(dim, x.ndim), keepdim, dtype)


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
    return _matrix_norm(name, A, ord, tuple(one_axis(d, A.ndim) for d in dim), keepdim, dtype)


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
        return vector_norm(A, 2.0, many_axes(dim, A.ndim), keepdim, dtype)
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
        axes = tuple(one_axis(d, A.ndim) for d in dims or (0, 1))
        return _matrix_norm("linalg.matrix_norm", A, ord, axes, keepdim, dtype)
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: Order {ord} needs two dimensions, but dim is {dim}")
    return vector_norm(A, float(ord), many_axes(dim, A.ndim), keepdim, dtype)


@op(name="cond", namespace="linalg")
def linalg_cond(A: Array, p: float | str | None = None):
    """Condition number ``norm(A, p) * norm(inv(A), p)``; None and 2: largest over smallest singular value."""
    _matrix("linalg.cond", A)
    if p in (None, 2, -2):
        if 0 in A.shape[-2:]:
            return jnp.zeros(A.shape[:-2], real_dtype(A.dtype))
        s = jnp.linalg.svd(A, compute_uv=False)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    _square(f"linalg.cond({p})", A)
    axes = (A.ndim - 2, A.ndim - 1)
    if A.size == 0:
        return jnp.zeros(A.shape[:-2], real_dtype(A.dtype))
    norm = functools.partial(_matrix_norm, "linalg.cond", ord=p, axes=axes, keepdim=False, dtype=None)
    inverse = jnp.linalg.inv(A)
    # A singular matrix has an infinite condition number, not an error.
    out = norm(A) * norm(inverse)
    return jnp.where(_info(A) != 0, np.inf, out)


# ------------------------------------------------------------------------------------------- determinants and inverses


def _info(a: jax.Array) -> jax.Array:
    """LAPACK's info of an LU factorisation: position (from 1) of the first zero pivot, 0 if there is none; int32."""
    return _zero_pivot(lax.linalg.lu(lax.stop_gradient(a))[0])


def _zero_pivot(lu: jax.Array) -> jax.Array:
    d = jnp.diagonal(lu, axis1=-2, axis2=-1)
    n = d.shape[-1]
    if n == 0:
        return jnp.zeros(lu.shape[:-2], np.int32)
    first = jnp.min(jnp.where(d == 0, jnp.arange(1, n + 1, dtype=np.int32), n + 1), -1)
    return jnp.where(first > n, 0, first).astype(np.int32)


def _det(A: Array):
    """Determinant of square matrices (*, n, n) -> (*,); of an empty matrix 1."""
    _square("linalg.det", A)
    return jnp.linalg.det(A) if A.shape[-1] else jnp.ones(A.shape[:-2], A.dtype)


det = op(name="det", namespace=("torch", "linalg"))(_det)


def _slogdet(A: Array):
    """Sign (unit complex number) and log of the absolute value of the determinant -> (sign, logabsdet)."""
    _square("linalg.slogdet", A)
    sign, log = jnp.linalg.slogdet(A)
    return sign, log


slogdet = op(name="slogdet", namespace=("torch", "linalg"), returns=("sign", "logabsdet"))(_slogdet)


@op()
def logdet(input: Array):
    """Log of the determinant of square matrices; NaN for a negative one, -inf for 0."""
    _square("logdet", input)
    sign, log = jnp.linalg.slogdet(input)
    if is_complex(input.dtype):
        return jnp.log(sign) + log
    return jnp.where(sign < 0, np.nan, log)


def _inverse(name: str, a: jax.Array) -> tuple[jax.Array, jax.Array]:
    _square(name, a)
    return jnp.linalg.inv(a), _info(a)


_SINGULAR = "the inversion could not be completed because the input matrix is singular."


def _inv(A: Array):
    """Inverse of square matrices.  Raises: LinAlgError (at the next read) if one is singular."""
    out, info = _inverse("linalg.inv", A)
    check(jnp.all(info == 0), LinAlgError, f"linalg.inv: A diagonal element is zero, {_SINGULAR}")
    return out


inv = op(name="inv", namespace="linalg")(_inv)


@op()
def inverse(input: Array):
    """Inverse of square matrices: ``linalg.inv``."""
    return _inv(input)


@op(name="inv_ex", namespace="linalg", returns=("inverse", "info"))
def inv_ex(A: Array, *, check_errors: bool = False):
    """Inverse and LAPACK info (int32, 0 if regular) -> (inverse, info); raises only with ``check_errors``."""
    out, info = _inverse("linalg.inv_ex", A)
    if check_errors:
        check(jnp.all(info == 0), LinAlgError, f"linalg.inv_ex: A diagonal element is zero, {_SINGULAR}")
    return out, info


def _tolerance(values: jax.Array, shape: tuple[int, ...], atol, rtol) -> jax.Array:
    """Threshold max(atol, rtol * largest); rtol defaults to eps * max(m, n), to 0 if a positive atol is given."""
    dtype = values.dtype
    default = np.finfo(dtype).eps * max(shape[-2:])
    if rtol is None:
        rtol = default if atol is None else jnp.where(jnp.asarray(atol, dtype) > 0, 0, default)
    atol = jnp.asarray(0 if atol is None else atol, dtype)
    rtol = jnp.asarray(rtol, dtype)
    return jnp.maximum(atol, rtol * jnp.max(values, -1))


def _spectrum(a: jax.Array, hermitian: bool) -> jax.Array:
    if hermitian:
        return jnp.abs(jnp.linalg.eigvalsh(_hermitian(a)))
    return jnp.linalg.svd(a, compute_uv=False)


def _pinv(name: str, a: jax.Array, atol, rtol, hermitian: bool) -> jax.Array:
    _matrix(name, a)
    if hermitian:
        _square(name, a)
    if a.size == 0:
        return jnp.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
    return _pseudo_inverse(a, atol, rtol, hermitian)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _pseudo_inverse(a: jax.Array, atol, rtol, hermitian: bool) -> jax.Array:
    """By singular values, or eigenvalues; JAX's own cannot be mapped where the tolerance is computed."""
    if hermitian:
        s, v = jnp.linalg.eigh(_hermitian(a), symmetrize_input=False)
        u = v
    else:
        u, s, vh = jnp.linalg.svd(a, full_matrices=False)
        v = _mH(vh)
    size = jnp.abs(s)
    s = jnp.where(size > _tolerance(size, a.shape, atol, rtol)[..., None], s, jnp.inf)
    return product(v / s[..., None, :].astype(a.dtype), _mH(u))


@_pseudo_inverse.defjvp
def _(hermitian: bool, primals: tuple, tangents: tuple):
    """Golub and Pereyra: -P dA P + P P^H dA^H (1 - A P) + (1 - P A) dA^H P^H P, for both, as in PyTorch."""
    a, da = primals[0], tangents[0]
    p = _pseudo_inverse(*primals, hermitian)
    s, t = product(product(p, _mH(p)), _mH(da)), product(_mH(da), product(_mH(p), p))
    return p, s - product(product(p, da) + product(s, a), p) + t - product(p, product(a, t))


def _parse_rcond(*args, **kwargs):
    """Older forms give the relative tolerance as ``rcond``, also as the second positional argument."""
    if "rcond" in kwargs:
        kwargs = dict(kwargs)
        kwargs["rtol"] = kwargs.pop("rcond")
    if len(args) > 1:
        kwargs = {**kwargs, "rtol": args[1]}
        if len(args) > 2:
            kwargs["hermitian"] = args[2]
        args = args[:1]
    return None, args, kwargs


@op(name="pinv", namespace="linalg", parse=_parse_rcond)
def linalg_pinv(A: Array, *, atol: Operand | None = None, rtol: Operand | None = None, hermitian: bool = False):
    """Pseudo-inverse (*, m, n) -> (*, n, m); singular values up to max(atol, rtol * largest) count as 0.

    ``rtol`` defaults to eps * max(m, n).  ``hermitian``: use eigenvalues, read only the lower triangle.
    """
    return _pinv("linalg.pinv", A, atol, rtol, hermitian)


@op()
def pinverse(input: Array, rcond: Operand = 1e-15):
    """Pseudo-inverse; singular values up to ``rcond`` times the largest count as 0."""
    return _pinv("pinverse", input, None, rcond, False)


def _parse_rank(*args, **kwargs):
    """The older form ``matrix_rank(A, tol, hermitian)`` gives an absolute tolerance."""
    kwargs = dict(kwargs)
    if len(args) > 1:
        kwargs["tol"] = args[1]
        if len(args) > 2:
            kwargs["hermitian"] = args[2]
        args = args[:1]
    if "tol" in kwargs:
        tol = kwargs.pop("tol")
        if tol is not None:
            kwargs |= {"atol": tol, "rtol": 0.0}
    return None, args, kwargs


@op(name="matrix_rank", namespace="linalg", differentiable=False, parse=_parse_rank)
def linalg_matrix_rank(A: Array, *, atol: Operand | None = None, rtol: Operand | None = None, hermitian: bool = False):
    """Number of singular values above max(atol, rtol * largest) (*, m, n) -> (*,), int64; tolerances as in ``pinv``."""
    _matrix("linalg.matrix_rank", A)
    if 0 in A.shape[-2:]:
        return jnp.zeros(A.shape[:-2], np.int64)
    s = _spectrum(A, hermitian)
    return jnp.sum(s > _tolerance(s, A.shape, atol, rtol)[..., None], -1, dtype=np.int64)


@op(name="matrix_power", namespace=("torch", "linalg"))
def matrix_power(A: Array, n: int):
    """Square matrices to an integer power by repeated squaring; negative powers of the inverse (LinAlgError if
    singular).
    """
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        shape = f"{A.shape[-2]} by {A.shape[-1]}" if A.ndim > 1 else f"of shape {list(A.shape)}"
        raise RuntimeError(f"linalg.matrix_power: A must be batches of square matrices, but they are {shape} matrices")
    if n == 0:
        return jnp.broadcast_to(jnp.eye(A.shape[-1], dtype=A.dtype), A.shape)
    base = _inv(A) if n < 0 else A
    out = None
    for bit in reversed(bin(abs(n))[2:]):
        if bit == "1":
            out = base if out is None else jnp.matmul(out, base)
        base = jnp.matmul(base, base)
    return out


@op(name="matrix_exp", namespace=("torch", "linalg"))
def matrix_exp(A: Array):
    """Matrix exponential of square matrices: scaling, Padé approximants (jax.scipy.linalg.expm), squaring."""
    if A.dtype.itemsize == 2 and is_inexact(A.dtype):
        return matrix_exp.fn(A.astype(np.float32)).astype(A.dtype)
    _square("linalg.matrix_exp", A)
    if A.size == 0:
        return A
    return _expm(A) if A.ndim == 2 else jax.vmap(_expm)(A.reshape(-1, *A.shape[-2:])).reshape(A.shape)


# Norms up to which the Padé approximant of the highest degree that expm uses is right to the last digits (Higham 2005).
_PADE_NORM = {8: 5.371920351148152, 4: 3.925724783138660}
_SQUARINGS = 32


def _expm(A: jax.Array) -> jax.Array:
    # expm's own scaling divides by a power of two that is computed as a power of floats, right to 1e-11 only, and once
    # too little. Scaled before, it has nothing to scale.
    norm = jnp.max(jnp.sum(jnp.abs(A), 0))
    powers = 2.0 ** np.arange(_SQUARINGS + 1)
    times = jnp.sum(norm > jnp.asarray(_PADE_NORM[norm.dtype.itemsize] * powers, norm.dtype))
    scale = jnp.asarray(1 / powers, norm.dtype)[jnp.minimum(times, _SQUARINGS)]

    def square(R: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        return lax.cond(i < times, lambda R: jnp.matmul(R, R), lambda R: R, R), None

    R, _ = lax.scan(square, jax.scipy.linalg.expm(A * scale, max_squarings=0), np.arange(_SQUARINGS))
    return jnp.where(times > _SQUARINGS, np.nan, R)


# ------------------------------------------------------------------------------------------------------------- solving


def _right_hand_side(name: str, a: jax.Array, b: jax.Array, left: bool) -> tuple[jax.Array, bool]:
    vector = b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1])
    if vector and not left:
        raise RuntimeError(f"{name}: Vector broadcasting of the left hand side is not supported for left=False")
    b = b[..., None] if vector else b
    n = b.shape[-2] if left else b.shape[-1]
    if n != a.shape[-1]:
        equation = "AX = B" if left else "XA = B"
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {equation} ({a.shape[-2]}x{a.shape[-1]} and "
            f"{b.shape[-2]}x{b.shape[-1]})"
        )
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type {type_name(a.dtype)} and B of type "
            f"{type_name(b.dtype)} instead"
        )
    return b, vector


def _solve(name: str, a: jax.Array, b: jax.Array, left: bool) -> tuple[jax.Array, jax.Array]:
    _square(name, a)
    b, vector = _right_hand_side(name, a, b, left)
    info = _info(a)
    if not left:
        a, b = _mT(a), _mT(b)
    a, b = _broadcast(a, b, name)
    x = jnp.linalg.solve(a, b) if b.size else b
    x = x if left else _mT(x)
    return (x[..., 0] if vector else x), info


@op(name="solve", namespace="linalg")
def linalg_solve(A: Array, B: Array, *, left: bool = True):
    """Solution X of ``A @ X = B`` (``X @ A = B`` for left=False): (*, n, n), (*, n, k) or (*, n); batch axes broadcast.

    Raises: LinAlgError (at the next read) if A is singular.
    """
    out, info = _solve("linalg.solve", A, B, left)
    check(
        jnp.all(info == 0), LinAlgError, "torch.linalg.solve: The solver failed because the input matrix is singular."
    )
    return out


@op(name="solve_ex", namespace="linalg", returns=("result", "info"))
def linalg_solve_ex(A: Array, B: Array, *, left: bool = True, check_errors: bool = False):
    """``solve`` with LAPACK info (int32, 0 if regular) -> (result, info); raises only with ``check_errors``."""
    out, info = _solve("linalg.solve_ex", A, B, left)
    if check_errors:
        check(
            jnp.all(info == 0),
            LinAlgError,
            "torch.linalg.solve_ex: The solver failed because the input matrix is singular.",
        )
    return out, info


def _triangular(a, b, *, upper, left=True, trans=False, conj=False, unit=False) -> jax.Array:
    if b.size == 0:
        return b
    return lax.linalg.triangular_solve(
        a, b, left_side=left, lower=not upper, transpose_a=trans, conjugate_a=conj, unit_diagonal=unit
    )


@op(name="solve_triangular", namespace="linalg")
def linalg_solve_triangular(A: Array, B: Array, *, upper: bool, left: bool = True, unitriangular: bool = False):
    """Solution X of ``A @ X = B`` (``X @ A = B``) for triangular A, of which only that triangle is read.

    ``unitriangular``: take the diagonal as ones.  A singular A gives inf or NaN, no error.
    """
    name = "linalg.solve_triangular"
    _square(name, A)
    _matrix(name, B, "B")
    if (B.shape[-2] if left else B.shape[-1]) != A.shape[-1]:
        equation = "AX = B" if left else "XA = B"
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {equation} ({A.shape[-2]}x{A.shape[-1]} and "
            f"{B.shape[-2]}x{B.shape[-1]})"
        )
    a, b = _broadcast(A, B, name)
    return _triangular(a, b, upper=upper, left=left, unit=unitriangular)


@op(returns=("solution", "cloned_coefficient"), out=False,
    deprecated=superseded("torch.triangular_solve", "torch.linalg.solve_triangular"))
def triangular_solve(input: Array, A: Array, upper: bool = True, transpose: bool = False, unitriangular: bool = False):
    """Older form of ``linalg.solve_triangular`` with the right-hand side first -> (solution, A)."""
    _square("triangular_solve", A)
    a, b = _broadcast(A, input, "triangular_solve")
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError(
            f"triangular_solve: Incompatible matrix sizes: each A matrix is {a.shape[-1]} by {a.shape[-1]} but each b "
            f"matrix is {b.shape[-2]} by {b.shape[-1]}"
        )
    x = _triangular(a, b, upper=upper, trans=transpose, unit=unitriangular)
    return x, a


@op(name="lstsq", namespace="linalg", returns=("solution", "residuals", "rank", "singular_values"), out=False)
def linalg_lstsq(A: Array, B: Array, rcond: float | None = None, *, driver: str | None = None):
    """Least squares solution of ``A @ X = B`` with the smallest norm -> (solution, residuals, rank, singular_values).

    Shapes: (*, m, n), (*, m, k) or (*, m) -> (*, n, k) or (*, n).  ``rcond`` (eps * max(m, n)): smaller singular
    values, relative to the largest, count as 0.  All drivers ("gelsy", "gels", "gelsd", "gelss") solve by singular
    values here and differ in what else they report: gels no rank, gelsy and gels no singular values.  Residuals:
    squared, per column, if m > n and not gelsy; else empty.
    """
    name = "torch.linalg.lstsq"
    _matrix(name, A)
    driver = driver or "gelsy"
    if driver not in ("gelsy", "gels", "gelsd", "gelss"):
        raise RuntimeError(f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), but got {driver}")
    vector = A.ndim - 1 == B.ndim
    b = B[..., None] if vector else B
    if A.dtype != b.dtype:
        raise RuntimeError(f"{name}: Expected input and other to have the same dtype, but got {A.dtype} and {b.dtype}")
    if b.ndim < 2 or A.shape[-2] != b.shape[-2]:
        raise RuntimeError(
            f"{name}: input.size(-2) should match other.size({-1 if vector else -2}), got {list(A.shape)} and "
            f"{list(B.shape)}"
        )
    a, b = _broadcast(A, b, name)
    m, n = a.shape[-2:]
    real = real_dtype(a.dtype)
    rcond = float(np.finfo(real).eps * max(m, n)) if rcond is None else rcond
    s = lax.stop_gradient(jnp.linalg.svd(A, compute_uv=False)) if A.size else jnp.zeros((*A.shape[:-2], 0), real)
    x = jnp.matmul(_pinv(name, A, None, 0.0 if driver == "gels" else rcond, False), b)
    empty = jnp.zeros(0, real)
    rank = jnp.zeros(0, np.int64)
    if driver != "gels":
        rank = jnp.sum(s > rcond * s[..., :1], -1, dtype=np.int64)
    residuals = empty
    if m > n and driver != "gelsy":
        residuals = jnp.sum(magnitude(jnp.matmul(a, x) - b) ** 2, -2)
        residuals = residuals[..., 0] if vector else residuals
    return x[..., 0] if vector else x, residuals, rank, (s if driver in ("gelsd", "gelss") else empty)


# ------------------------------------------------------------------------------------------------------ factorisations


def _cholesky_factor(name: str, a: jax.Array, upper: bool) -> tuple[jax.Array, jax.Array]:
    _square(name, a)
    if a.size == 0:
        return a, jnp.zeros(a.shape[:-2], np.int32)
    low = lax.linalg.cholesky(_hermitian(_mH(a) if upper else a), symmetrize_input=False)
    # XLA fills the factor with nan where LAPACK would tell the order of the failing minor.
    info = jnp.any(jnp.isnan(lax.stop_gradient(jnp.diagonal(low, axis1=-2, axis2=-1)).real), -1).astype(np.int32)
    return (_mH(low) if upper else low), info


_NOT_POSITIVE = "The factorization could not be completed because the input is not positive-definite"


@op(name="cholesky", namespace="linalg")
def linalg_cholesky(A: Array, *, upper: bool = False):
    """Lower L with ``A = L @ L^H`` (upper U with ``A = U^H @ U``) of Hermitian positive-definite matrices.

    Only that triangle is read.  Raises: LinAlgError (at the next read) if a matrix is not positive-definite.
    """
    out, info = _cholesky_factor("linalg.cholesky", A, upper)
    check(jnp.all(info == 0), LinAlgError, f"linalg.cholesky: {_NOT_POSITIVE}.")
    return out


@op(deprecated=superseded("torch.cholesky", "torch.linalg.cholesky"))
def cholesky(input: Array, upper: bool = False):
    """Older form of ``linalg.cholesky``."""
    out, info = _cholesky_factor("cholesky", input, upper)
    check(jnp.all(info == 0), LinAlgError, f"cholesky: {_NOT_POSITIVE}.")
    return out


@op(name="cholesky_ex", namespace="linalg", returns=("L", "info"))
def cholesky_ex(A: Array, *, upper: bool = False, check_errors: bool = False):
    """``cholesky`` with info (int32: 0, or 1 if not positive-definite) -> (L, info); raises only with
    ``check_errors``.
    """
    out, info = _cholesky_factor("linalg.cholesky_ex", A, upper)
    if check_errors:
        check(jnp.all(info == 0), LinAlgError, f"linalg.cholesky_ex: {_NOT_POSITIVE}.")
    return out, info


@op()
def cholesky_solve(B: Array, L: Array, upper: bool = False):
    """Solution X of ``A @ X = B`` from the Cholesky factor L of A (``A = L @ L^H``, or ``L^H @ L`` if upper)."""
    _square("cholesky_solve", L, "L")
    _matrix("cholesky_solve", B, "B")
    if L.shape[-1] != B.shape[-2]:
        raise RuntimeError(
            f"cholesky_solve: Incompatible matrix sizes: each A matrix is {L.shape[-1]} by {L.shape[-1]} but each b "
            f"matrix is {B.shape[-2]} by {B.shape[-1]}"
        )
    a, b = _broadcast(L, B, "cholesky_solve")
    return _cholesky_solve(a, b, upper)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _cholesky_solve(a: jax.Array, b: jax.Array, upper: bool) -> jax.Array:
    """Two triangular solves.  The derivative is that of ``(L @ L^H)^-1 @ B`` by all of L: PyTorch's gradients have
    entries outside of the triangle that is read, too.
    """
    y = _triangular(a, b, upper=upper, trans=upper, conj=upper)
    return _triangular(a, y, upper=upper, trans=not upper, conj=not upper)


@_cholesky_solve.defjvp
def _cholesky_solve_jvp(upper: bool, primals: tuple, tangents: tuple) -> tuple:
    (a, b), (da, db) = primals, tangents
    x = _cholesky_solve(a, b, upper)
    half = jnp.matmul(da.mT.conj(), a) if upper else jnp.matmul(da, a.mT.conj())
    return x, _cholesky_solve(a, db - jnp.matmul(half + half.mT.conj(), x), upper)


@op()
def cholesky_inverse(L: Array, upper: bool = False):
    """Inverse of A from its Cholesky factor L (``A = L @ L^H``, or ``L^H @ L`` if upper)."""
    _square("cholesky_inverse", L, "L")
    eye = jnp.broadcast_to(jnp.eye(L.shape[-1], dtype=L.dtype), L.shape)
    return cholesky_solve.fn(eye, L, upper)


def _qr(name: str, a: jax.Array, mode: str) -> tuple[jax.Array, jax.Array]:
    _matrix(name, a)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    if mode == "r":
        return jnp.zeros(0, a.dtype), jnp.linalg.qr(a, "r")
    m, n = a.shape[-2:]
    if a.size == 0:
        k = min(m, n) if mode == "reduced" else m
        return jnp.broadcast_to(jnp.eye(m, k, dtype=a.dtype), (*a.shape[:-2], m, k)), jnp.zeros(
            (*a.shape[:-2], k, n), a.dtype
        )
    q, r = jnp.linalg.qr(a, mode)
    return q, r


@op(name="qr", namespace="linalg", returns=("Q", "R"))
def linalg_qr(A: Array, mode: str = "reduced"):
    """Orthogonal times upper triangular -> (Q, R); ``mode``: "reduced", "complete", or "r" (empty Q)."""
    return _qr("linalg.qr", A, mode)


@op(returns=("Q", "R"), deprecated=superseded("torch.qr", "torch.linalg.qr"))
def qr(input: Array, some: bool = True):
    """Older form of ``linalg.qr``: reduced if ``some``, else complete."""
    return _qr("qr", input, "reduced" if some else "complete")


def _svd(name: str, a: jax.Array, full: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
    _matrix(name, a)
    m, n = a.shape[-2:]
    batch = a.shape[:-2]
    if a.size == 0:
        k = min(m, n)
        u, v = (
            jnp.broadcast_to(jnp.eye(s, s if full else k, dtype=a.dtype), (*batch, s, s if full else k)) for s in (m, n)
        )
        return u, jnp.zeros((*batch, k), real_dtype(a.dtype)), _mH(v)
    _finite(name, a)
    u, s, vh = jnp.linalg.svd(a, full_matrices=False)
    if full and m != n:
        # The added columns are any basis of the complement: no gradient flows through them.
        fu, _, fvh = jnp.linalg.svd(lax.stop_gradient(a), full_matrices=True)
        k = min(m, n)
        u = jnp.concatenate([u, fu[..., :, k:]], -1)
        vh = jnp.concatenate([vh, fvh[..., k:, :]], -2)
    return u, s, vh


@op(name="svd", namespace="linalg", returns=("U", "S", "Vh"))
def linalg_svd(A: Array, full_matrices: bool = True, *, driver: str | None = None):
    """Singular value decomposition ``A = U @ diag(S) @ Vh`` -> (U, S, Vh), S descending.

    ``driver`` names a CUDA routine; here there is one.  Raises: LinAlgError (at the next read) for NaN or inf.
    """
    if driver not in (None, "gesvd", "gesvdj", "gesvda"):
        raise RuntimeError(f"linalg.svd: unknown svd driver {driver} (None, gesvd, gesvdj, gesvda)")
    return _svd("linalg.svd", A, full_matrices)


@op(returns=("U", "S", "V"))
def svd(input: Array, some: bool = True, compute_uv: bool = True):
    """Older form of ``linalg.svd`` -> (U, S, V), V not transposed; thin if ``some``; zeros for U, V without
    ``compute_uv``.
    """
    if not compute_uv:
        _matrix("svd", input)
        m, n = input.shape[-2:]
        zeros = (jnp.zeros((*input.shape[:-2], k, k), input.dtype) for k in (m, n))
        u, v = zeros
        return u, linalg_svdvals.fn(input), v
    u, s, vh = _svd("svd", input, not some)
    return u, s, _mH(vh)


@op(name="svdvals", namespace="linalg")
def linalg_svdvals(A: Array, *, driver: str | None = None):
    """Singular values, descending (*, m, n) -> (*, min(m, n))."""
    if driver not in (None, "gesvd", "gesvdj", "gesvda"):
        raise RuntimeError(f"linalg.svdvals: unknown svd driver {driver} (None, gesvd, gesvdj, gesvda)")
    _matrix("linalg.svdvals", A)
    if A.size == 0:
        return jnp.zeros((*A.shape[:-2], min(A.shape[-2:])), real_dtype(A.dtype))
    _finite("linalg.svdvals", A)
    return jnp.linalg.svd(A, compute_uv=False)


def _eig_input(name: str, a: jax.Array) -> jax.Array:
    _square(name, a)
    check(jnp.all(jnp.isfinite(a)), RuntimeError, f"torch.{name}: input tensor should not contain infs or NaNs.")
    return a


@op(name="eig", namespace="linalg", returns=("eigenvalues", "eigenvectors"))
def linalg_eig(A: Array):
    """Eigenvalues and unit eigenvectors (columns) of square matrices, complex -> (eigenvalues, eigenvectors).  CPU
    only.
    """
    # Eigenvectors have a gradient where eigenvalues differ, for losses that do not depend on each vector's phase.
    if A.size == 0:
        empty = jnp.zeros(A.shape, np.complex128 if real_dtype(A.dtype) == np.float64 else np.complex64)
        return empty.reshape(A.shape[:-1]), empty
    w, v = lax.linalg.eig(_eig_input("linalg.eig", A), compute_left_eigenvectors=False, enable_eigvec_derivs=True)
    return w, v


@op(name="eigvals", namespace="linalg")
def linalg_eigvals(A: Array):
    """Eigenvalues of square matrices, complex, in no order.  CPU only."""
    return jnp.linalg.eigvals(_eig_input("linalg.eigvals", A))


def _read_triangle(name: str, a: jax.Array, uplo: str) -> jax.Array:
    _square(name, a)
    if uplo.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {uplo}")
    return _hermitian(a if uplo.upper() == "L" else _mH(a))


@op(name="eigh", namespace="linalg", returns=("eigenvalues", "eigenvectors"))
def linalg_eigh(A: Array, UPLO: str = "L"):
    """Eigenvalues (ascending, real) and orthonormal eigenvectors (columns) of Hermitian matrices; one triangle is
    read.
    """
    w, v = jnp.linalg.eigh(_read_triangle("linalg.eigh", A, UPLO), symmetrize_input=False)
    return w, v


@op(name="eigvalsh", namespace="linalg")
def linalg_eigvalsh(A: Array, UPLO: str = "L"):
    """Eigenvalues of Hermitian matrices, ascending, real; only the triangle ``UPLO`` is read."""
    return jnp.linalg.eigvalsh(_read_triangle("linalg.eigvalsh", A, UPLO), symmetrize_input=False)


def _need_pivot(name: str, pivot: bool) -> None:
    if not pivot:
        raise RuntimeError(f"{name}: LU without pivoting is not implemented; use pivot=True")


def _lu_factor(name: str, a: jax.Array, pivot: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
    _matrix(name, a)
    _need_pivot(name, pivot)
    if a.size == 0:
        return a, jnp.zeros((*a.shape[:-2], min(a.shape[-2:])), np.int32), jnp.zeros(a.shape[:-2], np.int32)
    lu, pivots, _ = lax.linalg.lu(a)
    return lu, pivots.astype(np.int32) + 1, _zero_pivot(lax.stop_gradient(lu))


@op(name="lu_factor", namespace="linalg", returns=("LU", "pivots"))
def linalg_lu_factor(A: Array, *, pivot: bool = True):
    """Compact LU factorisation with partial pivoting -> (LU, pivots int32 from 1).

    Raises: RuntimeError (at the next read) if U has a zero on its diagonal.
    """
    lu, pivots, info = _lu_factor("linalg.lu_factor", A, pivot)
    check(
        jnp.all(info == 0),
        RuntimeError,
        "torch.linalg.lu_factor: U has a zero on the diagonal: solving with it would divide by 0.",
    )
    return lu, pivots


@op(name="lu_factor_ex", namespace="linalg", returns=("LU", "pivots", "info"))
def linalg_lu_factor_ex(A: Array, *, pivot: bool = True, check_errors: bool = False):
    """``lu_factor`` with LAPACK info (int32, position of the first zero pivot or 0) -> (LU, pivots, info)."""
    lu, pivots, info = _lu_factor("linalg.lu_factor_ex", A, pivot)
    if check_errors:
        check(jnp.all(info == 0), RuntimeError, "torch.linalg.lu_factor_ex: U has a zero on the diagonal.")
    return lu, pivots, info


@op(name="lu", out=False, deprecated=superseded("torch.lu", "torch.linalg.lu_factor or lu_factor_ex"))
def old_lu(A: Array, pivot: bool = True, get_infos: bool = False):
    """Compact LU factorisation -> (LU, pivots), with ``get_infos`` also info."""
    lu, pivots, info = _lu_factor("lu", A, pivot)
    if get_infos:
        return lu, pivots, info
    return lu, pivots


def _unpack(lu: jax.Array, pivots: jax.Array | None) -> tuple[jax.Array | None, jax.Array, jax.Array]:
    m, n = lu.shape[-2:]
    k = min(m, n)
    low = jnp.tril(lu[..., :, :k], -1) + jnp.eye(m, k, dtype=lu.dtype)
    up = jnp.triu(lu[..., :k, :])
    if pivots is None:
        return None, low, up
    order = lax.linalg.lu_pivots_to_permutation(pivots.astype(np.int32) - 1, m) if m else pivots
    p = (order[..., None, :] == jnp.arange(m, dtype=np.int32)[:, None]).astype(lu.dtype)
    return p, low, up


@op(name="lu", namespace="linalg", returns=("P", "L", "U"))
def linalg_lu(A: Array, *, pivot: bool = True):
    """``A = P @ L @ U``: permutation, unit lower and upper triangular matrices -> (P, L, U)."""
    lu, pivots, _ = _lu_factor("linalg.lu", A, pivot)
    return _unpack(lu, pivots)


@op(returns=("P", "L", "U"), method=False)
def lu_unpack(LU_data: Array, LU_pivots: Array, unpack_data: bool = True, unpack_pivots: bool = True):
    """(P, L, U) from a compact factorisation; what is not asked for is an empty tensor."""
    if LU_pivots.dtype != np.int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype, but got "
            f"{LU_pivots.dtype}"
        )
    p, low, up = _unpack(LU_data, LU_pivots if unpack_pivots else None)
    empty = jnp.zeros(0, LU_data.dtype)
    return empty if p is None else p, low if unpack_data else empty, up if unpack_data else empty


def _lu_solve(name: str, lu: jax.Array, pivots: jax.Array, b: jax.Array, left: bool, adjoint: bool) -> jax.Array:
    _square(name, lu, "LU")
    _matrix(name, b, "B")
    if pivots.dtype != np.int32:
        raise RuntimeError(
            f"{name}: pivots should be a Tensor of scalar type torch.int32, but got {type_name(pivots.dtype)}"
        )
    if lu.dtype != b.dtype:
        raise RuntimeError(f"{name}: Expected LU and B to have the same dtype, but got {lu.dtype} and {b.dtype}")
    if (b.shape[-2] if left else b.shape[-1]) != lu.shape[-1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({lu.shape[-2]}x{lu.shape[-1]} and {b.shape[-2]}x{b.shape[-1]})"
        )
    if not left:  # X A = B is A^H X^H = B^H
        return _mH(_lu_solve(name, lu, pivots, _mH(b), True, not adjoint))
    if b.size == 0:
        return jnp.broadcast_to(b, np.broadcast_shapes(lu.shape[:-2], b.shape[:-2]) + b.shape[-2:])
    order = lax.linalg.lu_pivots_to_permutation(pivots - 1, lu.shape[-1])
    order = jnp.broadcast_to(order, np.broadcast_shapes(lu.shape[:-2], b.shape[:-2]) + order.shape[-1:])
    lu, b = _broadcast(lu, b, name)
    if not adjoint:
        b = jnp.take_along_axis(b, order[..., None], -2, mode="clip")
        y = _triangular(lu, b, upper=False, unit=True)
        return _triangular(lu, y, upper=True)
    y = _triangular(lu, b, upper=True, trans=True, conj=True)
    y = _triangular(lu, y, upper=False, trans=True, conj=True, unit=True)
    return jnp.take_along_axis(y, jnp.argsort(order, -1)[..., None], -2, mode="clip")


@op(name="lu_solve", namespace="linalg")
def linalg_lu_solve(LU: Array, pivots: Array, B: Array, *, left: bool = True, adjoint: bool = False):
    """Solution X of ``A @ X = B`` (``X @ A = B``; A^H instead of A with ``adjoint``) from ``lu_factor``'s result."""
    return _lu_solve("linalg.lu_solve", LU, pivots, B, left, adjoint)


@op(deprecated=superseded("torch.lu_solve", "torch.linalg.lu_solve, which takes B last,"))
def lu_solve(b: Array, LU_data: Array, LU_pivots: Array):
    """Older form of ``linalg.lu_solve`` with the right-hand side first."""
    return _lu_solve("lu_solve", LU_data, LU_pivots, b, True, False)


# ------------------------------------------------------------------------------------------------ Householder products


def _reflect(v: jax.Array, tau: jax.Array, c: jax.Array, order: np.ndarray, adjoint: bool) -> jax.Array:
    """Apply the reflections ``I - tau v v^H`` in the given order to ``c`` from the left."""
    m, k = v.shape[-2:]
    v = jnp.tril(v, -1) + jnp.eye(m, k, dtype=v.dtype)
    v = jnp.moveaxis(v, -1, 0)[order]
    t = jnp.moveaxis(tau.conj() if adjoint else tau, -1, 0)[order]

    def step(c, vt):
        v, t = vt
        return c - t[..., None, None] * v[..., :, None] * jnp.matmul(v.conj()[..., None, :], c), None

    return lax.scan(step, c, (v, t))[0] if k else c


def _householder_product(A: Array, tau: Array):
    """First n columns of the product of k reflections with vectors below the diagonal of A: (*, m, n), (*, k) -> (*, m,
    n).

    Source: LAPACK orgqr; written as a scan, which has gradients of any order.
    """
    name = "torch.linalg.householder_product"
    _matrix(name, A)
    m, n = A.shape[-2:]
    k = tau.shape[-1]
    if m < n:
        raise RuntimeError(
            f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1], but got {list(A.shape)}"
        )
    if n < k:
        raise RuntimeError(
            f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1], but got {n} and {k}"
        )
    if A.shape[:-2] != tau.shape[:-1] or A.dtype != tau.dtype:
        raise RuntimeError(
            f"{name}: tau must have A's batch dimensions and dtype, but got {list(A.shape)} {A.dtype} and "
            f"{list(tau.shape)} {tau.dtype}"
        )
    eye = jnp.broadcast_to(jnp.eye(m, n, dtype=A.dtype), A.shape)
    return _reflect(A[..., :, :k], tau, eye, np.arange(k)[::-1], False)


householder_product = op(name="householder_product", namespace="linalg")(_householder_product)


@op()
def orgqr(input: Array, tau: Array):
    """``linalg.householder_product`` under LAPACK's name."""
    return _householder_product(input, tau)


@op()
def ormqr(input: Array, tau: Array, other: Array, left: bool = True, transpose: bool = False):
    """``Q @ other`` (``other @ Q``; Q^H with ``transpose``) for the m x m product Q of reflections that geqrf
    returned.
    """
    _matrix("ormqr", input)
    if tau.shape[-1] > input.shape[-1]:
        raise RuntimeError(
            f"ormqr: tau.shape[-1] must be at most input.shape[-1], but got {tau.shape[-1]} and {input.shape[-1]}"
        )
    k = tau.shape[-1]
    if other.shape[-2 if left else -1] != input.shape[-2]:
        raise RuntimeError(
            f"ormqr: other.shape[{-2 if left else -1}] must be equal to input.shape[-2], but got {list(other.shape)} "
            f"and {list(input.shape)}"
        )
    adjoint = transpose == left
    c = other if left else _mH(other)
    order = np.arange(k) if adjoint else np.arange(k)[::-1]
    out = _reflect(input[..., :, :k], tau, c, order, adjoint)
    return out if left else _mH(out)


# ------------------------------------------------------------------------------------------------------------- tensors


@op(name="tensorinv", namespace="linalg")
def linalg_tensorinv(A: Array, ind: int = 2):
    """Inverse for ``tensordot``: A of shape (*s, *t), prod(s) = prod(t), ``ind`` axes in s -> (*t, *s)."""
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    first, last = A.shape[:ind], A.shape[ind:]
    if math.prod(first) != math.prod(last):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{math.prod(last)} != {math.prod(first)}"
        )
    return _inv(A.reshape(math.prod(first), -1)).reshape(last + first)


@op(name="tensorsolve", namespace="linalg")
def linalg_tensorsolve(A: Array, B: Array, dims: tuple[int, ...] | None = None):
    """X with ``tensordot(A, X, X.ndim) = B``; ``dims`` of A are first moved to its end."""
    if dims is not None:
        axes = tuple(one_axis(d, A.ndim) for d in dims)
        A = jnp.moveaxis(A, axes, tuple(range(A.ndim - len(axes), A.ndim)))
    shape = A.shape[B.ndim :]
    if math.prod(shape) != math.prod(A.shape[: B.ndim]):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), "
            f"but got {math.prod(shape)} != {math.prod(A.shape[: B.ndim])}"
        )
    n = math.prod(shape)
    return linalg_solve.fn(A.reshape(B.size, n), B.reshape(-1)).reshape(shape)


def _powers(x: jax.Array, n: int) -> jax.Array:
    x = x.astype(np.int64) if not is_inexact(x.dtype) else x
    rest = jnp.broadcast_to(x[..., None], (*x.shape, max(n - 1, 0)))
    return jnp.concatenate([jnp.ones((*x.shape, 1), x.dtype), lax.cumprod(rest, rest.ndim - 1)], -1)[..., :n]


@op(name="vander", namespace="linalg", out=False)
def linalg_vander(x: Array, *, N: int | None = None):
    """Vandermonde matrices (*, n) -> (*, n, N): powers 0 to N - 1 (N defaults to n).  Integers give int64."""
    x = x.reshape(1) if x.ndim == 0 else x
    n = x.shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError(f"N must be greater than 1. (linalg.vander of {list(x.shape)}, N is {n})")
    return _powers(x, n)


@op(method=False, out=False)
def vander(x: Array, N: int | None = None, increasing: bool = False):
    """Vandermonde matrix of a vector, powers descending unless ``increasing``."""
    if x.ndim != 1:
        raise RuntimeError(f"x must be a one-dimensional tensor, but got {x.ndim}D")
    if N is not None and N < 0:
        raise RuntimeError(f"N must be non-negative, got {N}")
    out = _powers(x, x.shape[0] if N is None else N)
    return out if increasing else jnp.flip(out, -1)


@op(name="vecdot", namespace="linalg", promote="common")
def linalg_vecdot(x: Array, y: Array, *, dim: int = -1):
    """Sum of conj(x) * y along ``dim``, other axes broadcast."""
    n = max(x.ndim, y.ndim)
    axis = one_axis(dim, n) - n
    check_broadcast(x, y)
    return jnp.sum(x.conj() * y, axis) if n else x.conj() * y


@op(name="cross", namespace="linalg", promote="common")
def linalg_cross(input: Array, other: Array, *, dim: int = -1):
    """Vector product along ``dim`` of length 3, other axes broadcast."""
    return cross_product("linalg.cross", input, other, dim)


@op(name="matmul", namespace="linalg", heavy=True)
def linalg_matmul(input: Array, other: Array):
    """``torch.matmul``."""
    return product(input, other)


@op(name="multi_dot", namespace="linalg", parse=_parse_operands, heavy=True)
def linalg_multi_dot(tensors: Arrays):
    """Product of a list of matrices in the order with the fewest multiplications; the first and last may be vectors."""
    return multi_dot_body(tensors)


def _put_diagonal(base, new, offset, dim1, dim2):
    moved = jnp.moveaxis(base, (dim1, dim2), (-2, -1))
    n = new.shape[-1]
    i = np.arange(n)
    moved = moved.at[..., i + max(-offset, 0), i + max(offset, 0)].set(new)
    return jnp.moveaxis(moved, (-2, -1), (dim1, dim2))


@op(name="diagonal", namespace="linalg", view=view_rule(_put_diagonal), saves=False)
def linalg_diagonal(A: Array, *, offset: int = 0, dim1: int = -2, dim2: int = -1):
    """Diagonal of the matrices on two axes, as the last axis; a view."""
    i, j = one_axis(dim1, A.ndim), one_axis(dim2, A.ndim)
    if i == j:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return A.diagonal(offset, i, j)


@op(returns=("a", "tau"))
def geqrf(input: Array):
    """Reflections of the QR decomposition in LAPACK's compact form -> (a, tau); feed them to ``ormqr`` or ``orgqr``."""
    _matrix("geqrf", input)
    x = to_float(input)
    m, n = x.shape[-2:]
    batch = x.shape[:-2]
    if x.size == 0:
        return x, jnp.zeros((*batch, min(m, n)), x.dtype)
    a, tau = x, []
    rows = np.arange(m)
    for j in range(min(m, n)):
        # LAPACK larfg: beta = -sign(Re alpha) |column|, v scaled to a leading 1.
        alpha = a[..., j, j]
        tail = jnp.where(rows > j, a[..., :, j], 0)
        rest = jnp.sum(jnp.square(jnp.abs(tail)), -1)
        size = jnp.sqrt(jnp.square(jnp.abs(alpha)) + rest)
        beta = jnp.where(alpha.real >= 0, -size, size).astype(size.dtype)
        done = (rest == 0) & (alpha.imag == 0) if is_complex(a.dtype) else rest == 0
        safe = jnp.where(done, 1, beta)
        t = jnp.where(done, 0, (safe - alpha) / safe)
        v = jnp.where(done[..., None], 0, tail / jnp.where(done, 1, alpha - safe)[..., None])
        full = jnp.where(rows == j, 1, v)
        update = a - t.conj()[..., None, None] * full[..., :, None] * jnp.matmul(full.conj()[..., None, :], a)
        pivot = jnp.where(done, alpha, beta.astype(a.dtype))
        column = jnp.where(rows < j, a[..., :, j], jnp.where(rows == j, pivot[..., None], v))
        a = jnp.where(np.arange(n) > j, update, a).at[..., :, j].set(column)
        tau.append(t)
    return a, jnp.stack(tau, -1).astype(x.dtype)


# ---- symmetric indefinite matrices: by LAPACK on the host, since XLA has no pivoted LDL decomposition ----------------


def _sytrf(a: np.ndarray, *, hermitian: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from scipy.linalg import lapack

    a = np.asarray(a)
    kind = "he" if hermitian and a.dtype.kind == "c" else "sy"
    factor = getattr(lapack, {"f": "s", "d": "d", "F": "c", "D": "z"}[a.dtype.char] + kind + "trf")
    n = a.shape[-1]
    ld, pivots = np.tril(a).astype(a.dtype), np.zeros(a.shape[:-1], np.int32)
    info = np.zeros(a.shape[:-2], np.int32)
    for at in np.ndindex(info.shape) if n else ():
        out, pivot, code = factor(a[at], lower=1)
        # SciPy counts the pivots as LAPACK does: from 1, negative for a block of two rows
        ld[at], pivots[at], info[at] = np.tril(out), pivot, code
    return ld, pivots, info


def _sytrs(ld: np.ndarray, pivots: np.ndarray, b: np.ndarray, *, hermitian: bool) -> np.ndarray:
    """Solve from the factors, as LAPACK's xSYTRS does for the lower triangle."""
    ld, pivots, out = np.asarray(ld), np.asarray(pivots), np.array(b)
    n = ld.shape[-1]
    turn = np.conj if hermitian else np.asarray
    for at in np.ndindex(out.shape[:-2]):
        a, p, x = ld[at], pivots[at], out[at]
        k = 0
        while k < n:
            wide = 1 if p[k] > 0 else 2
            last, other = k + wide - 1, abs(int(p[k])) - 1
            x[[last, other]] = x[[other, last]]
            x[k + wide :] -= a[k + wide :, k : k + wide] @ x[k : k + wide]
            block = a[k : k + wide, k : k + wide].copy()
            if wide == 2:
                block[0, 1] = turn(block[1, 0])
            if hermitian:
                np.fill_diagonal(block, block.diagonal().real)
            x[k : k + wide] = np.linalg.solve(block, x[k : k + wide])
            k += wide
        k = n - 1
        while k >= 0:
            wide = 1 if p[k] > 0 else 2
            first, other = k - wide + 1, abs(int(p[k])) - 1
            x[first : k + 1] -= turn(a[k + 1 :, first : k + 1]).T @ x[k + 1 :]
            x[[k, other]] = x[[other, k]]
            k -= wide
    return out


def _ldl(name: str, A: jax.Array, hermitian: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
    _square(name, A)
    shapes = (
        jax.ShapeDtypeStruct(A.shape, A.dtype),
        jax.ShapeDtypeStruct(A.shape[:-1], np.int32),
        jax.ShapeDtypeStruct(A.shape[:-2], np.int32),
    )
    return jax.pure_callback(functools.partial(_sytrf, hermitian=hermitian), shapes, A, vmap_method="expand_dims")


@op(namespace="linalg", returns=("LD", "pivots", "info"), differentiable=False)
def ldl_factor_ex(A: Array, *, hermitian: bool = False, check_errors: bool = False):
    """Factors of symmetric (or Hermitian) matrices, P L D L^T P^T -> (LD, pivots int32, info int32); no gradient.

    Reads the lower triangle.  LD holds L below D; pivots are LAPACK's xSYTRF's.  ``info`` k > 0: D[k-1] is singular,
    which ``check_errors`` turns into LinAlgError at the next read.
    """
    ld, pivots, info = _ldl("torch.linalg.ldl_factor_ex", A, hermitian)
    if check_errors:
        check(jnp.all(info == 0), LinAlgError, "torch.linalg.ldl_factor_ex: The diagonal block D is singular.")
    return ld, pivots, info


@op(namespace="linalg", returns=("LD", "pivots"), differentiable=False)
def ldl_factor(A: Array, *, hermitian: bool = False):
    """``ldl_factor_ex`` without info -> (LD, pivots).  Raises: LinAlgError (at the next read) if D is singular."""
    ld, pivots, info = _ldl("torch.linalg.ldl_factor", A, hermitian)
    check(jnp.all(info == 0), LinAlgError, "torch.linalg.ldl_factor: The diagonal block D is singular.")
    return ld, pivots


@op(namespace="linalg", differentiable=False)
def ldl_solve(LD: Array, pivots: Array, B: Array, *, hermitian: bool = False):
    """X with A X = B from the factors of ``ldl_factor``: LD (*, n, n), pivots (*, n), B (*, n, k)."""
    name = "torch.linalg.ldl_solve"
    _square(name, LD, "LD")
    if B.ndim < 2:
        raise RuntimeError(f"{name}: Expected B to have at least 2 dimensions, but it has {B.ndim} dimensions instead")
    if B.shape[-2] != LD.shape[-1]:
        raise RuntimeError(f"{name}: Expected LD.shape[-1] == B.shape[-2], got {LD.shape[-1]} and {B.shape[-2]}")
    if pivots.shape != LD.shape[:-1]:
        raise RuntimeError(f"{name}: Expected LD.shape[:-1] and pivots.shape to be the same, got {list(pivots.shape)}")
    if np.dtype(pivots.dtype).kind not in "iu":
        raise RuntimeError(f"{name}: Expected pivots to be integers. Got {type_name(pivots.dtype)}")
    if LD.dtype != B.dtype:
        raise RuntimeError(f"{name}: LD dtype {type_name(LD.dtype)} does not match B dtype {type_name(B.dtype)}")
    batch = jnp.broadcast_shapes(LD.shape[:-2], B.shape[:-2])
    ld, b = jnp.broadcast_to(LD, (*batch, *LD.shape[-2:])), jnp.broadcast_to(B, (*batch, *B.shape[-2:]))
    shape = jax.ShapeDtypeStruct(b.shape, b.dtype)
    solve = functools.partial(_sytrs, hermitian=hermitian and is_complex(b.dtype))
    return jax.pure_callback(solve, shape, ld, jnp.broadcast_to(pivots, ld.shape[:-1]), b, vmap_method="expand_dims")
