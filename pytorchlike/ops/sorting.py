"""Sorting, the k largest elements, binary search and membership."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._dtypes import is_complex, is_float, type_name
from ._order import stable_sort
from ._shapes import leading, ordered
from ._sizes import wrap_dim
from ._table import Array, Operand, op

_FEW = 64  # boundaries up to which comparing with all of them beats a binary search
_MANY_TESTS = 128  # isin: test elements up to which comparing with all beats sorting


def _check_order(name: str, x: jax.Array) -> None:
    if is_complex(x.dtype):
        raise RuntimeError(
            f"{name}: complex numbers have no order; Sort does not support complex dtypes, got {type_name(x.dtype)}"
        )


@op(returns=("values", "indices"), shapes=ordered)
def sort(input: Array, dim: int = -1, descending: bool = False, *, stable: bool | None = None):
    """Sorted elements along ``dim`` -> (values, indices int64); NaN counts as largest.

    Always stable, whatever ``stable`` asks.  The gradient goes back to where each value came from.
    Raises: IndexError for a dim out of range, RuntimeError for complex input.
    """
    _check_order("sort", input)
    return stable_sort(input, wrap_dim(dim, input.ndim), descending)


@op(differentiable=False)
def argsort(input: Array, dim: int = -1, descending: bool = False, *, stable: bool | None = None):
    """Positions (int64) that sort input along ``dim``; arguments as for ``sort``."""
    _check_order("argsort", input)
    return stable_sort(input, wrap_dim(dim, input.ndim), descending)[1]


@op()
def msort(input: Array):
    """Values sorted ascending along the first dimension."""
    _check_order("msort", input)
    return stable_sort(input, 0, False)[0]


@op(returns=("values", "indices"), shapes=leading)
def topk(input: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True):
    """The ``k`` largest (or smallest) elements along ``dim``, in order whatever ``sorted`` asks -> (values, indices
    int64).

    NaN counts as largest; of equal elements the first come first.  Raises: RuntimeError for k outside 0..n.
    """
    _check_order("topk", input)
    axis = wrap_dim(dim, input.ndim)
    n = input.shape[axis] if input.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError(f"selected index k out of range: k is {k}, dimension {axis} has size {n}")
    if input.ndim == 0:
        if k == 0:
            return jnp.zeros(0, input.dtype), jnp.zeros(0, np.int64)
        return input, jnp.zeros((), np.int64)
    x = jnp.moveaxis(input, axis, -1)
    key = x.astype(np.uint8) if x.dtype == np.bool_ else x
    # ~ reverses the order of integers without overflow.
    key = key if largest else -key if is_float(key.dtype) else ~key
    if is_float(key.dtype):
        key = lax.stop_gradient(key)
        if not largest:  # NaN is the largest of all
            key = jnp.where(jnp.isnan(key), -jnp.inf, jnp.maximum(key, jnp.finfo(key.dtype).min))
    _, index = lax.top_k(key, k)
    values = jnp.take_along_axis(x, index, -1, mode="clip")
    return jnp.moveaxis(values, -1, axis), jnp.moveaxis(index, -1, axis).astype(np.int64)


def _insertion(edges: jax.Array, x: jax.Array, right: bool) -> jax.Array:
    """First position in ascending ``edges`` (*b, n) that keeps order for ``x`` (*b, m), int32; NaN goes to the end."""

    def before(edge: jax.Array, value: jax.Array) -> jax.Array:
        return ~(edge > value) if right else ~(edge >= value)

    n = edges.shape[-1]
    if n <= _FEW:
        return jnp.sum(before(edges[..., None, :], x[..., :, None]), -1, dtype=np.int32)
    # Branch-free binary search: halve the step as many times as n has bits. The padding says so to what serves any n.
    bits = n.bit_length()
    edges = jnp.pad(edges, [(0, 0)] * (edges.ndim - 1) + [(0, (1 << bits) - 1 - n)])
    low = jnp.zeros(x.shape, np.int32)
    for bit in reversed(range(bits)):
        step = low + (1 << bit)
        at = step - 1
        edge = jnp.take(edges, at, mode="clip") if edges.ndim == 1 else jnp.take_along_axis(edges, at, -1, mode="clip")
        low = jnp.where((step <= n) & before(edge, x), step, low)
    return low


@op(promote="common", differentiable=False, method=False)
def searchsorted(
    sorted_sequence: Array,
    input: Operand,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Array | None = None,
):
    """Positions in the ascending last axis of ``sorted_sequence`` where ``input`` would keep it sorted.

    Shapes: sequence (n,) with any input, or (*b, n) with (*b, m); result as input, int64 or int32. ``right``
    (``side="right"``): after equal elements, else before.  ``sorter``: positions that sort the sequence.
    Raises: RuntimeError for shapes that do not match and for contradicting right and side.
    """
    name = "torch.searchsorted()"
    if side not in (None, "left", "right"):
        raise RuntimeError(f"{name}: side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError(f"{name}: side and right can't be set to opposites, got side of left while right was True")
    edges = sorted_sequence
    if edges.ndim == 0:
        raise RuntimeError(f"{name}: boundaries tensor should have positive dimension, but got 0 dimension")
    x = jnp.asarray(input, edges.dtype) if not hasattr(input, "ndim") else input
    if edges.ndim != 1 and edges.shape[:-1] != x.shape[:-1] or edges.ndim != 1 and edges.ndim != x.ndim:
        raise RuntimeError(
            f"{name}: boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and "
            f"input value tensor must match, but we got boundaries tensor {list(edges.shape)} and input value tensor "
            f"{list(x.shape)}"
        )
    if sorter is not None:
        if sorter.shape != edges.shape:
            raise RuntimeError(
                f"{name}: boundary and sorter must have the same size, but got boundary tensor {list(edges.shape)} and "
                f"got sorter tensor {list(sorter.shape)}"
            )
        edges = jnp.take_along_axis(edges, sorter.astype(np.int64), -1, mode="clip")
    dtype = np.int32 if out_int32 else np.int64
    flat = x.reshape(-1) if edges.ndim == 1 else x
    return _insertion(edges, flat, right or side == "right").reshape(x.shape).astype(dtype)


@op(promote="common", differentiable=False, method=False)
def bucketize(input: Operand, boundaries: Array, *, out_int32: bool = False, right: bool = False):
    """Index of the bucket between ascending 1-D ``boundaries`` that each element falls in, int64 or int32.

    ``right=False``: boundaries[i - 1] < v <= boundaries[i]; True: boundaries[i - 1] <= v < boundaries[i].
    """
    if boundaries.ndim != 1:
        raise RuntimeError(f"torch.bucketize(): boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})")
    x = jnp.asarray(input, boundaries.dtype) if not hasattr(input, "ndim") else input
    index = _insertion(boundaries, x.reshape(-1), right).reshape(x.shape)
    return index.astype(np.int32 if out_int32 else np.int64)


@op(promote="common", differentiable=False, method=False)
def isin(elements: Operand, test_elements: Operand, *, assume_unique: bool = False, invert: bool = False):
    """Whether each element is among ``test_elements`` (not among, with ``invert``), bool.  ``assume_unique`` changes
    nothing.
    """
    x, tests = jnp.asarray(elements), jnp.asarray(test_elements).reshape(-1)
    flat = x.reshape(-1)
    if tests.size <= _MANY_TESTS:
        found = jnp.any(flat[:, None] == tests, -1)
    else:
        tests = jnp.sort(tests)
        found = jnp.take(tests, _insertion(tests, flat, False), mode="clip") == flat
    return (~found if invert else found).reshape(x.shape)
