"""Decompositions of matrices, old spellings included: Cholesky, QR, singular values, eigenvalues, LU, LDL."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..engine import check
from ._dtypes import is_complex, real_dtype, type_name
from ._matrices import LinAlgError, broadcast_batches, from_lower, mH, need_finite, need_matrix, need_square
from ._table import Array, op, superseded, to_float
from .linalg import solve_triangular, zero_pivot


def _cholesky_factor(name: str, a: jax.Array, upper: bool) -> tuple[jax.Array, jax.Array]:
    need_square(name, a)
    if a.size == 0:
        return a, jnp.zeros(a.shape[:-2], np.int32)
    low = lax.linalg.cholesky(from_lower(mH(a) if upper else a), symmetrize_input=False)
    # XLA fills the factor with nan where LAPACK would tell the order of the failing minor.
    info = jnp.any(jnp.isnan(lax.stop_gradient(jnp.diagonal(low, axis1=-2, axis2=-1)).real), -1).astype(np.int32)
    return (mH(low) if upper else low), info


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
    need_square("cholesky_solve", L, "L")
    need_matrix("cholesky_solve", B, "B")
    if L.shape[-1] != B.shape[-2]:
        raise RuntimeError(
            f"cholesky_solve: Incompatible matrix sizes: each A matrix is {L.shape[-1]} by {L.shape[-1]} but each b "
            f"matrix is {B.shape[-2]} by {B.shape[-1]}"
        )
    a, b = broadcast_batches(L, B, "cholesky_solve")
    return _cholesky_solve(a, b, upper)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _cholesky_solve(a: jax.Array, b: jax.Array, upper: bool) -> jax.Array:
    """Two triangular solves.  The derivative is that of ``(L @ L^H)^-1 @ B`` by all of L: PyTorch's gradients have
    entries outside of the triangle that is read, too.
    """
    y = solve_triangular(a, b, upper=upper, trans=upper, conj=upper)
    return solve_triangular(a, y, upper=upper, trans=not upper, conj=not upper)


@_cholesky_solve.defjvp
def _cholesky_solve_jvp(upper: bool, primals: tuple, tangents: tuple) -> tuple:
    (a, b), (da, db) = primals, tangents
    x = _cholesky_solve(a, b, upper)
    half = jnp.matmul(da.mT.conj(), a) if upper else jnp.matmul(da, a.mT.conj())
    return x, _cholesky_solve(a, db - jnp.matmul(half + half.mT.conj(), x), upper)


@op()
def cholesky_inverse(L: Array, upper: bool = False):
    """Inverse of A from its Cholesky factor L (``A = L @ L^H``, or ``L^H @ L`` if upper)."""
    need_square("cholesky_inverse", L, "L")
    eye = jnp.broadcast_to(jnp.eye(L.shape[-1], dtype=L.dtype), L.shape)
    return cholesky_solve.fn(eye, L, upper)


def _qr(name: str, a: jax.Array, mode: str) -> tuple[jax.Array, jax.Array]:
    need_matrix(name, a)
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
    need_matrix(name, a)
    m, n = a.shape[-2:]
    batch = a.shape[:-2]
    if a.size == 0:
        k = min(m, n)
        u, v = (
            jnp.broadcast_to(jnp.eye(s, s if full else k, dtype=a.dtype), (*batch, s, s if full else k)) for s in (m, n)
        )
        return u, jnp.zeros((*batch, k), real_dtype(a.dtype)), mH(v)
    need_finite(name, a)
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
        need_matrix("svd", input)
        m, n = input.shape[-2:]
        zeros = (jnp.zeros((*input.shape[:-2], k, k), input.dtype) for k in (m, n))
        u, v = zeros
        return u, linalg_svdvals.fn(input), v
    u, s, vh = _svd("svd", input, not some)
    return u, s, mH(vh)


@op(name="svdvals", namespace="linalg")
def linalg_svdvals(A: Array, *, driver: str | None = None):
    """Singular values, descending (*, m, n) -> (*, min(m, n))."""
    if driver not in (None, "gesvd", "gesvdj", "gesvda"):
        raise RuntimeError(f"linalg.svdvals: unknown svd driver {driver} (None, gesvd, gesvdj, gesvda)")
    need_matrix("linalg.svdvals", A)
    if A.size == 0:
        return jnp.zeros((*A.shape[:-2], min(A.shape[-2:])), real_dtype(A.dtype))
    need_finite("linalg.svdvals", A)
    return jnp.linalg.svd(A, compute_uv=False)


def _eig_input(name: str, a: jax.Array) -> jax.Array:
    need_square(name, a)
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
    need_square(name, a)
    if uplo.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {uplo}")
    return from_lower(a if uplo.upper() == "L" else mH(a))


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
    need_matrix(name, a)
    _need_pivot(name, pivot)
    if a.size == 0:
        return a, jnp.zeros((*a.shape[:-2], min(a.shape[-2:])), np.int32), jnp.zeros(a.shape[:-2], np.int32)
    lu, pivots, _ = lax.linalg.lu(a)
    return lu, pivots.astype(np.int32) + 1, zero_pivot(lax.stop_gradient(lu))


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
    need_square(name, lu, "LU")
    need_matrix(name, b, "B")
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
        return mH(_lu_solve(name, lu, pivots, mH(b), True, not adjoint))
    if b.size == 0:
        return jnp.broadcast_to(b, np.broadcast_shapes(lu.shape[:-2], b.shape[:-2]) + b.shape[-2:])
    order = lax.linalg.lu_pivots_to_permutation(pivots - 1, lu.shape[-1])
    order = jnp.broadcast_to(order, np.broadcast_shapes(lu.shape[:-2], b.shape[:-2]) + order.shape[-1:])
    lu, b = broadcast_batches(lu, b, name)
    if not adjoint:
        b = jnp.take_along_axis(b, order[..., None], -2, mode="clip")
        y = solve_triangular(lu, b, upper=False, unit=True)
        return solve_triangular(lu, y, upper=True)
    y = solve_triangular(lu, b, upper=True, trans=True, conj=True)
    y = solve_triangular(lu, y, upper=False, trans=True, conj=True, unit=True)
    return jnp.take_along_axis(y, jnp.argsort(order, -1)[..., None], -2, mode="clip")


@op(name="lu_solve", namespace="linalg")
def linalg_lu_solve(LU: Array, pivots: Array, B: Array, *, left: bool = True, adjoint: bool = False):
    """Solution X of ``A @ X = B`` (``X @ A = B``; A^H instead of A with ``adjoint``) from ``lu_factor``'s result."""
    return _lu_solve("linalg.lu_solve", LU, pivots, B, left, adjoint)


@op(deprecated=superseded("torch.lu_solve", "torch.linalg.lu_solve, which takes B last,"))
def lu_solve(b: Array, LU_data: Array, LU_pivots: Array):
    """Older form of ``linalg.lu_solve`` with the right-hand side first."""
    return _lu_solve("lu_solve", LU_data, LU_pivots, b, True, False)


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
    need_matrix(name, A)
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
    need_matrix("ormqr", input)
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
    c = other if left else mH(other)
    order = np.arange(k) if adjoint else np.arange(k)[::-1]
    out = _reflect(input[..., :, :k], tau, c, order, adjoint)
    return out if left else mH(out)


@op(returns=("a", "tau"))
def geqrf(input: Array):
    """Reflections of the QR decomposition in LAPACK's compact form -> (a, tau); feed them to ``ormqr`` or ``orgqr``."""
    need_matrix("geqrf", input)
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
    need_square(name, A)
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
    need_square(name, LD, "LD")
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
