"""Linear algebra: determinants, inverses, solutions and products; ``norms`` and ``decompositions`` have the rest.

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
from ._dtypes import is_complex, is_inexact, real_dtype, type_name
from ._matrices import LinAlgError, broadcast_batches, from_lower, mH, mT, need_matrix, need_square
from ._numeric import magnitude
from ._sizes import broadcast_sizes, wrap_dim
from ._table import Array, Arrays, Operand, op, superseded, view_rule
from .matmul import _parse_operands, cross_product, multi_dot_body, product

# ------------------------------------------------------------------------------------------- determinants and inverses


def as_info(a: jax.Array) -> jax.Array:
    """LAPACK's info of an LU factorisation: position (from 1) of the first zero pivot, 0 if there is none; int32."""
    return zero_pivot(lax.linalg.lu(lax.stop_gradient(a))[0])


def zero_pivot(lu: jax.Array) -> jax.Array:
    d = jnp.diagonal(lu, axis1=-2, axis2=-1)
    n = d.shape[-1]
    if n == 0:
        return jnp.zeros(lu.shape[:-2], np.int32)
    first = jnp.min(jnp.where(d == 0, jnp.arange(1, n + 1, dtype=np.int32), n + 1), -1)
    return jnp.where(first > n, 0, first).astype(np.int32)


def _det(A: Array):
    """Determinant of square matrices (*, n, n) -> (*,); of an empty matrix 1."""
    need_square("linalg.det", A)
    return jnp.linalg.det(A) if A.shape[-1] else jnp.ones(A.shape[:-2], A.dtype)


det = op(name="det", namespace=("torch", "linalg"))(_det)


def _slogdet(A: Array):
    """Sign (unit complex number) and log of the absolute value of the determinant -> (sign, logabsdet)."""
    need_square("linalg.slogdet", A)
    sign, log = jnp.linalg.slogdet(A)
    return sign, log


slogdet = op(name="slogdet", namespace=("torch", "linalg"), returns=("sign", "logabsdet"))(_slogdet)


@op()
def logdet(input: Array):
    """Log of the determinant of square matrices; NaN for a negative one, -inf for 0."""
    need_square("logdet", input)
    sign, log = jnp.linalg.slogdet(input)
    if is_complex(input.dtype):
        return jnp.log(sign) + log
    return jnp.where(sign < 0, np.nan, log)


def _inverse(name: str, a: jax.Array) -> tuple[jax.Array, jax.Array]:
    need_square(name, a)
    return jnp.linalg.inv(a), as_info(a)


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
        return jnp.abs(jnp.linalg.eigvalsh(from_lower(a)))
    return jnp.linalg.svd(a, compute_uv=False)


def _pinv(name: str, a: jax.Array, atol, rtol, hermitian: bool) -> jax.Array:
    need_matrix(name, a)
    if hermitian:
        need_square(name, a)
    if a.size == 0:
        return jnp.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
    return _pseudo_inverse(a, atol, rtol, hermitian)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _pseudo_inverse(a: jax.Array, atol, rtol, hermitian: bool) -> jax.Array:
    """By singular values, or eigenvalues; JAX's own cannot be mapped where the tolerance is computed."""
    if hermitian:
        s, v = jnp.linalg.eigh(from_lower(a), symmetrize_input=False)
        u = v
    else:
        u, s, vh = jnp.linalg.svd(a, full_matrices=False)
        v = mH(vh)
    size = jnp.abs(s)
    s = jnp.where(size > _tolerance(size, a.shape, atol, rtol)[..., None], s, jnp.inf)
    return product(v / s[..., None, :].astype(a.dtype), mH(u))


@_pseudo_inverse.defjvp
def _(hermitian: bool, primals: tuple, tangents: tuple):
    """Golub and Pereyra: -P dA P + P P^H dA^H (1 - A P) + (1 - P A) dA^H P^H P, for both, as in PyTorch."""
    a, da = primals[0], tangents[0]
    p = _pseudo_inverse(*primals, hermitian)
    s, t = product(product(p, mH(p)), mH(da)), product(mH(da), product(mH(p), p))
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
    need_matrix("linalg.matrix_rank", A)
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
    need_square("linalg.matrix_exp", A)
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
    need_square(name, a)
    b, vector = _right_hand_side(name, a, b, left)
    info = as_info(a)
    if not left:
        a, b = mT(a), mT(b)
    a, b = broadcast_batches(a, b, name)
    x = jnp.linalg.solve(a, b) if b.size else b
    x = x if left else mT(x)
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


def solve_triangular(a, b, *, upper, left=True, trans=False, conj=False, unit=False) -> jax.Array:
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
    need_square(name, A)
    need_matrix(name, B, "B")
    if (B.shape[-2] if left else B.shape[-1]) != A.shape[-1]:
        equation = "AX = B" if left else "XA = B"
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {equation} ({A.shape[-2]}x{A.shape[-1]} and "
            f"{B.shape[-2]}x{B.shape[-1]})"
        )
    a, b = broadcast_batches(A, B, name)
    return solve_triangular(a, b, upper=upper, left=left, unit=unitriangular)


@op(returns=("solution", "cloned_coefficient"), out=False,
    deprecated=superseded("torch.triangular_solve", "torch.linalg.solve_triangular"))
def triangular_solve(input: Array, A: Array, upper: bool = True, transpose: bool = False, unitriangular: bool = False):
    """Older form of ``linalg.solve_triangular`` with the right-hand side first -> (solution, A)."""
    need_square("triangular_solve", A)
    a, b = broadcast_batches(A, input, "triangular_solve")
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError(
            f"triangular_solve: Incompatible matrix sizes: each A matrix is {a.shape[-1]} by {a.shape[-1]} but each b "
            f"matrix is {b.shape[-2]} by {b.shape[-1]}"
        )
    x = solve_triangular(a, b, upper=upper, trans=transpose, unit=unitriangular)
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
    need_matrix(name, A)
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
    a, b = broadcast_batches(A, b, name)
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
        axes = tuple(wrap_dim(d, A.ndim) for d in dims)
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
    axis = wrap_dim(dim, n) - n
    broadcast_sizes(x.shape, y.shape)
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
    i, j = wrap_dim(dim1, A.ndim), wrap_dim(dim2, A.ndim)
    if i == j:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return A.diagonal(offset, i, j)


# ---- symmetric indefinite matrices: by LAPACK on the host, since XLA has no pivoted LDL decomposition ----------------
