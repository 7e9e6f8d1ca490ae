"""NumPy equivalents of JAX's decompositions, solves and Fourier transforms, see ``_primitives``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._primitives import Missing, Rule, _maker, _plan_of, _rule


def _each(decompose: Callable[[np.ndarray], tuple], x: np.ndarray) -> tuple:
    """The parts of all matrices of a stack; of one that cannot be decomposed NaN, as XLA has it, for checks to find."""
    try:
        return decompose(x)
    except np.linalg.LinAlgError:
        if x.ndim == 2:
            return tuple([np.full_like(part, np.nan) for part in decompose(np.eye(*x.shape, dtype=x.dtype))])
        parts = zip(*[_each(decompose, m) for m in x.reshape(-1, *x.shape[-2:])], strict=True)
        return tuple([np.reshape(p, (*x.shape[:-2], *p[0].shape)) for p in parts])


@_rule("cholesky")
def _cholesky(params: dict, x: np.ndarray) -> Any:
    return _each(lambda m: (np.linalg.cholesky(m),), x)[0]


@_rule("bcsr_dot_general")
def _sparse_product(params: dict, values: np.ndarray, cols: np.ndarray, starts: np.ndarray, dense: np.ndarray) -> Any:
    if params["dimension_numbers"] != (((1,), (0,)), ((), ())) or values.ndim != 1 or dense.ndim != 2:
        raise Missing("a product of a sparse matrix with batches cannot be computed in a forked process")
    end = starts[-1]
    products = values[:end, None] * dense[cols[:end]]
    out = np.zeros((len(starts) - 1, dense.shape[1]), products.dtype)
    filled = starts[:-1] < starts[1:]
    if filled.any():
        out[filled] = np.add.reduceat(products, starts[:-1][filled], axis=0)
    return out


@_maker("custom_linear_solve")
def _linear_solve(params: dict) -> tuple[Rule, float, float]:
    lengths, plan = params["const_lengths"], _plan_of(params["jaxprs"].solve)
    start = lengths.matvec + lengths.vecmat
    solve = slice(start, start + lengths.solve)
    return (lambda *args: plan.run([*args[solve], *args[sum(lengths) :]])), plan.cost, plan.products


@_rule("lu")
def _lu(params: dict, x: np.ndarray) -> Any:
    from scipy.linalg.lapack import get_lapack_funcs

    if not x.size:
        pivots = np.zeros((*x.shape[:-2], min(x.shape[-2:])), np.int32)
        return [x, pivots, _permutation({"permutation_size": x.shape[-2]}, pivots)]
    (getrf,) = get_lapack_funcs(("getrf",), (x,))  # says nothing of singular ones, as XLA
    parts = [getrf(m) for m in x.reshape(-1, *x.shape[-2:])]
    pivots = np.reshape([p for _, p, _ in parts], (*x.shape[:-2], -1))
    whole = np.reshape([m for m, _, _ in parts], x.shape)
    return [whole, pivots, _permutation({"permutation_size": x.shape[-2]}, pivots)]


@_rule("lu_pivots_to_permutation")
def _permutation(params: dict, pivots: np.ndarray) -> Any:
    n = params["permutation_size"]
    if not pivots.size:
        return np.broadcast_to(np.arange(n, dtype=np.int32), (*pivots.shape[:-1], n))
    flat = pivots.reshape(-1, pivots.shape[-1])
    orders = np.tile(np.arange(n, dtype=np.int32), (len(flat), 1))
    for order, row in zip(orders, flat, strict=True):
        for i, j in enumerate(row):
            order[[i, j]] = order[[j, i]]
    return orders.reshape((*pivots.shape[:-1], n))


@_rule("eigh")
def _eigh(params: dict, x: np.ndarray) -> Any:
    if params["subset_by_index"] not in (None, (0, x.shape[-1])):
        raise Missing("some eigenvalues alone cannot be computed in a forked process")
    values, vectors = _each(lambda m: np.linalg.eigh(m, "L" if params["lower"] else "U"), x)
    return [vectors, values]


@_rule("svd")
def _svd(params: dict, x: np.ndarray) -> Any:
    if not params["compute_uv"]:
        return list(_each(lambda m: (np.linalg.svd(m, compute_uv=False),), x))
    u, s, v = _each(lambda m: np.linalg.svd(m, full_matrices=params["full_matrices"]), x)
    return [s, u, v]


@_rule("qr")
def _qr(params: dict, x: np.ndarray) -> Any:
    if params.get("pivoting"):
        raise Missing("QR with pivoting cannot be computed in a forked process")
    return list(np.linalg.qr(x, "complete" if params["full_matrices"] else "reduced"))


@_rule("triangular_solve")
def _triangular_solve(params: dict, a: np.ndarray, b: np.ndarray) -> Any:
    from scipy.linalg.blas import get_blas_funcs

    if not b.size:
        return b
    turned = params["transpose_a"]
    if params["conjugate_a"]:
        a = a.conj()
    if not params["left_side"]:  # x a = b is a^T x^T = b^T
        b, turned = b.swapaxes(-1, -2), not turned
    (trsm,) = get_blas_funcs(("trsm",), (a, b))  # divides by zeros, as XLA
    options = {"trans_a": int(turned), "lower": int(params["lower"]), "diag": int(params["unit_diagonal"])}
    flat = zip(a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:]), strict=True)
    out = np.reshape([trsm(1, m, r, **options) for m, r in flat], b.shape)
    return out if params["left_side"] else out.swapaxes(-1, -2)


@_rule("fft")
def _fft(params: dict, x: np.ndarray) -> Any:
    kind, lengths = str(params["fft_type"]).rsplit(".", 1)[-1].lower(), params["fft_lengths"]
    name = {"0": "fft", "1": "ifft", "2": "rfft", "3": "irfft"}.get(kind, kind)
    return getattr(np.fft, name + "n")(x, lengths, tuple(range(x.ndim - len(lengths), x.ndim)))
