"""The array code behind sparse tensors: entered into the operators' table, called by nobody but this package.

Index arrays are run-time inputs, never constants of a program; only their lengths are part of its structure.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..engine import current_platform
from ..ops._table import Array, op

#: Fewer columns than this are quicker as a sum over segments than as a call of XLA:CPU's CSR kernel.
_FEW_COLUMNS = 4


def _sum_into(values: Any, ids: Any, count: int, ordered: bool = False) -> Any:
    """Sums of the values that have the same id; ids outside [0, count) are left out. Booleans: any."""
    if values.dtype == np.bool_:
        return jnp.zeros((count, *values.shape[1:]), bool).at[ids].max(values, mode="drop")
    zeros = jnp.zeros((count, *values.shape[1:]), values.dtype)
    return zeros.at[ids].add(values, mode="drop", indices_are_sorted=ordered)


@op(name="_sparse_sum_into", namespace=None, saves=False)
def sum_into(values: Array, ids: Array, count: int):
    """Sums of the rows of ``values`` (nnz, ...) that have the same of ``ids`` (nnz,) -> (count, ...)."""
    return _sum_into(values, ids, count)


@op(name="_sparse_to_dense", namespace=None, saves=False)
def to_dense(values: Array, indices: Array, size: tuple):
    """``values`` (nnz, *dense) added up at ``indices`` (m, nnz) of zeros (size of m, *dense)."""
    places = tuple(indices[d] for d in range(indices.shape[0]))
    zeros = jnp.zeros((*size, *values.shape[1:]), values.dtype)
    if not places:
        return values.any(0) if values.dtype == np.bool_ else values.sum(0).astype(values.dtype)
    if 0 in zeros.shape:
        return zeros
    if values.dtype == np.bool_:
        return zeros.at[places].max(values, mode="drop")
    return zeros.at[places].add(values, mode="drop")


@op(name="_sparse_take", namespace=None, saves=False)
def take(dense: Array, indices: Array):
    """Elements of ``dense`` (size of m, *rest) at ``indices`` (m, nnz) -> (nnz, *rest)."""
    if indices.shape[0] == 0:
        return jnp.broadcast_to(dense, (indices.shape[1], *dense.shape))
    return dense.at[tuple(indices[d] for d in range(indices.shape[0]))].get(mode="clip")


@op(name="_sparse_rows_of", namespace=None, differentiable=False)
def rows_of(compressed: Array, nnz: int):
    """The row of each element from ``compressed`` (*batch, rows + 1) -> (*batch, nnz)."""
    place = lax.iota(compressed.dtype, nnz)
    flat = compressed.reshape((-1, compressed.shape[-1]))
    found = jax.vmap(lambda c: jnp.searchsorted(c, place, side="right") - 1)(flat)
    return found.reshape((*compressed.shape[:-1], nnz)).astype(np.int64)


def _segments(values: Any, rows: Any, cols: Any, dense: Any, count: int, ordered: bool) -> Any:
    picked = jnp.take(dense, cols, axis=0, mode="clip")
    return _sum_into(values.reshape((-1,) + (1,) * (dense.ndim - 1)) * picked, rows, count, ordered)


def _product(values: Any, pattern: tuple, dense: Any, count: int) -> Any:
    """A (count, m) matrix, elements in order of their rows, times ``dense`` (m, k)."""
    rows, cols, starts = pattern
    kernel = values.dtype in (np.float32, np.float64) and dense.shape[1] >= _FEW_COLUMNS and values.size
    if kernel and rows.dtype == np.int32 and current_platform() == "cpu":
        from jax.experimental.sparse import BCSR

        return BCSR((values, cols, starts), shape=(count, dense.shape[0])) @ dense
    return _segments(values, rows, cols, dense, count, True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _csr_mm(count: int, values: Any, dense: Any, forward: tuple, backward: tuple, order: Any, back: Any) -> Any:
    """``_product`` whose gradient is one again, with the transposed pattern, instead of an unordered scatter.

    order, back:  from the order of rows to that of columns, and back.
    """
    return _product(values, forward, dense, count)


def _csr_mm_fwd(count: int, values: Any, dense: Any, forward: tuple, backward: tuple, order: Any, back: Any) -> Any:
    saved = (values, dense, forward, backward, order, back)
    return _csr_mm(count, *saved), saved


def _csr_mm_bwd(count: int, saved: tuple, g: Any) -> tuple:
    values, dense, forward, backward, order, back = saved
    rows, cols, _ = forward
    d_values = jnp.sum(jnp.take(g, rows, axis=0, mode="clip") * jnp.take(dense, cols, axis=0, mode="clip"), axis=1)
    turned = jnp.take(values, order, mode="clip")
    d_dense = _csr_mm(dense.shape[0], turned, g, backward, forward, back, order)
    return d_values, d_dense, *[jax.tree_util.tree_map(_no_tangent, x) for x in (forward, backward, order, back)]


def _no_tangent(x: Any) -> np.ndarray:
    return np.zeros(x.shape, jax.dtypes.float0)


_csr_mm.defvjp(_csr_mm_fwd, _csr_mm_bwd)


@op(name="_sparse_csr_mm", namespace=None, heavy=True)
def csr_mm(values: Array, dense: Array, rows: Array, cols: Array, starts: Array, t_rows: Array, t_cols: Array,
           t_starts: Array, order: Array, back: Array, count: int):  # fmt: skip
    """``values`` (nnz,), in the order of rows, times ``dense`` (m, k) -> (count, k); t_*: the transposed pattern."""
    return _csr_mm(count, values, dense, (rows, cols, starts), (t_rows, t_cols, t_starts), order, back)


@op(name="_sparse_coo_mm", namespace=None, heavy=True)
def coo_mm(values: Array, dense: Array, indices: Array, count: int):
    """``values`` (nnz,) at ``indices`` (2, nnz), in any order, times ``dense`` (m, k) -> (count, k)."""
    return _segments(values, indices[0], indices[1], dense, count, False)


@op(name="_sparse_block_mm", namespace=None, heavy=True)
def block_mm(values: Array, dense: Array, rows: Array, cols: Array, count: int):
    """Blocks ``values`` (nnz, h, w) at block rows and columns, times ``dense`` (m, k) -> (count * h, k)."""
    _, h, w = values.shape
    blocks = jnp.take(dense.reshape((-1, w, dense.shape[1])), cols, axis=0, mode="clip")
    sums = _sum_into(jnp.einsum("nhw,nwk->nhk", values, blocks), rows, count)
    return sums.reshape((count * h, dense.shape[1]))


@op(name="_sparse_sampled", namespace=None, heavy=True)
def sampled(left: Array, right: Array, indices: Array):
    """Elements of ``left`` (*batch, n, k) @ ``right`` (*batch, k, m) at ``indices`` (batch + 2, nnz) -> (nnz,)."""
    *batch, rows, cols = (indices[d] for d in range(indices.shape[0]))
    turned = jnp.swapaxes(right, -1, -2)
    return jnp.sum(left.at[(*batch, rows)].get(mode="clip") * turned.at[(*batch, cols)].get(mode="clip"), axis=-1)


def _extreme_into(values: Any, ids: Any, count: int, largest: bool) -> Any:
    worst = -np.inf if largest else np.inf
    if values.dtype.kind in "iu":
        info = np.iinfo(values.dtype)
        worst = info.min if largest else info.max
    start = jnp.full((count, *values.shape[1:]), worst, values.dtype)
    return start.at[ids].max(values, mode="drop") if largest else start.at[ids].min(values, mode="drop")


@op(name="_sparse_softmax", namespace=None)
def softmax(values: Array, pools: Array, count: int, log: bool):
    """Softmax (or its logarithm) of the rows of ``values`` (nnz, ...) among those with the same of ``pools`` (nnz,)."""
    top = lax.stop_gradient(_extreme_into(values, pools, count, True))
    shifted = values - jnp.where(jnp.isfinite(top), top, 0)[pools]
    grown = jnp.exp(shifted)
    total = _sum_into(grown, pools, count)[pools]
    return shifted - jnp.log(total) if log else grown / total


@op(name="_sparse_reduce_mm", namespace=None)
def reduce_mm(values: Array, dense: Array, rows: Array, cols: Array, count: int, reduce: str):
    """As ``coo_mm`` with the products of a row combined by mean, amax or amin; rows without any give 0."""
    products = values[:, None] * jnp.take(dense, cols, axis=0, mode="clip")
    members = jnp.zeros(count, np.int32).at[rows].add(1)[:, None]
    if reduce == "mean":
        return _sum_into(products, rows, count) / jnp.maximum(members, 1).astype(products.dtype)
    best = _extreme_into(products, rows, count, reduce == "amax")
    # the gradient goes to the first of equal products, as a comparison that keeps the better one does
    place = lax.iota(np.int64, products.shape[0])[:, None]
    hit = jnp.where(lax.stop_gradient(products == best[rows]), place, products.shape[0])
    first = jnp.full(best.shape, products.shape[0], np.int64).at[rows].min(hit)
    chosen = jnp.take_along_axis(products, jnp.minimum(first, max(products.shape[0] - 1, 0)), axis=0)
    return jnp.where(members > 0, chosen, 0)
