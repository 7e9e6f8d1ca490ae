"""Composite functions of linear algebra: decompositions of low rank, and names that PyTorch has given up."""

from __future__ import annotations

from typing import Any

from . import dtype as d
from ._names import find
from ._register import function
from ._tensor import Tensor


def _linalg(name: str) -> Any:
    return find("linalg", name)


def _range_of(A: Tensor, q: int, niter: int, M: Tensor | None) -> Tensor:
    """An orthonormal basis of (nearly) the range of A - M, by subspace iteration from a random start.

    Source: Halko, Martinsson & Tropp 2009, algorithm 4.4, https://arxiv.org/abs/0909.4061
    """
    from .functions import matmul, randn

    def apply(x: Tensor) -> Tensor:
        return matmul(A, x) if M is None else matmul(A, x) - matmul(M, x)

    def apply_h(x: Tensor) -> Tensor:
        return matmul(A.mH, x) if M is None else matmul(A.mH, x) - matmul(M.mH, x)

    kind = A.dtype if A.dtype.is_floating_point or A.dtype.is_complex else d.get_default_dtype()
    start = randn(A.shape[-1], q, dtype=kind, device=A.device)
    qr = _linalg("qr")
    Q = qr(apply(start))[0]
    for _ in range(niter):
        Q = qr(apply_h(Q))[0]
        Q = qr(apply(Q))[0]
    return Q


@function
def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> tuple:
    """A singular value decomposition (U, S, V) of rank q of A, or of A - M, by random projections.

    A: (*, m, n), of rank well below min(m, n).  U (*, m, q), S (*, q), V (*, n, q).
    """
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    m, n = A.shape[-2:]
    if M is not None:
        M = M.expand(A.shape)
    if m < n:  # the projections work on the longer side
        A, M = A.mH, None if M is None else M.mH
    Q = _range_of(A, q, niter, M)
    B = Q.mH @ (A if M is None else A - M)
    U, S, Vh = _linalg("svd")(B, full_matrices=False)
    V = Vh.mH
    U = Q @ U
    return (V, S, U) if m < n else (U, S, V)


@function
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> tuple:
    """Principal components of the rows of A: (U, S, V) of rank q (6 at most) of A less, with center, its mean row.

    Raises ValueError for q or niter out of range.
    """
    m, n = A.shape[-2:]
    if q is None:
        q = min(6, m, n)
    elif not 0 <= q <= min(m, n):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)


@function
def lobpcg(
    A: Tensor, k: int | None = None, B: Tensor | None = None, X: Tensor | None = None, n: int | None = None,
    iK: Tensor | None = None, niter: int | None = None, tol: float | None = None, largest: bool | None = None,
    method: str | None = None, tracker: Any = None, ortho_iparams: Any = None, ortho_fparams: Any = None,
    ortho_bparams: Any = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The k (1) largest eigenvalues, or smallest, and eigenvectors of the symmetric A, or of ``A x = lambda B x``.

    They are found by a full decomposition, so that what steers PyTorch's iteration (X beyond its number of columns, iK,
    niter, tol, method) has nothing to steer.  A ``tracker``, which watches iterations, is refused.
    """
    if tracker is not None:
        raise NotImplementedError("lobpcg: there are no iterations that a tracker could watch")
    if A.shape[-1] != A.shape[-2]:
        raise RuntimeError(f"lobpcg: A must be a square matrix or a batch of them, got {list(A.shape)}")
    k = k if k is not None else X.shape[-1] if X is not None else 1
    if not 0 < k <= A.shape[-1]:
        raise ValueError(f"lobpcg: k must lie between 1 and {A.shape[-1]}, got {k}")
    if B is None:
        values, vectors = _linalg("eigh")(A)
    else:
        L = _linalg("cholesky")(B)
        solve = _linalg("solve_triangular")
        inner = solve(L, solve(L, A, upper=False).mH, upper=False)
        values, vectors = _linalg("eigh")((inner + inner.mH) / 2)
        vectors = solve(L.mH, vectors, upper=True)
    if largest is False:
        return values[..., :k], vectors[..., :k]
    return values[..., -k:].flip(-1), vectors[..., -k:].flip(-1)


# ------------------------------------------------------------------------------------------------ names given up

_GONE = {
    "symeig": "torch.linalg.eigh", "eig": "torch.linalg.eig", "lstsq": "torch.linalg.lstsq",
    "solve": "torch.linalg.solve", "matrix_rank": "torch.linalg.matrix_rank",
}  # fmt: skip


def _gone(name: str, instead: str) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"torch.{name} was deprecated and has been removed from PyTorch: use {instead}")

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Gone from PyTorch, where the name is kept to say so: use ``{instead}``."
    function(refuse, method=name != "matrix_rank")


for _name, _instead in _GONE.items():
    _gone(_name, _instead)


@function
def nuclear_norm(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Sum of the singular values of each matrix."""
    return _linalg("matrix_norm")(input, "nuc", (-2, -1) if dim is None else tuple(dim), keepdim)


@function
def frobenius_norm(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Square root of the summed squares along ``dim`` (all if None)."""
    return _linalg("vector_norm")(input, 2, dim, keepdim)


@function
def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """Norm of each slice along ``dim``, in a shape that broadcasts with ``v``; of everything for dim -1."""
    if dim == -1:
        return _linalg("vector_norm")(v, pow)
    return _linalg("vector_norm")(v, pow, [k for k in range(v.ndim) if k != dim], keepdim=True)
