"""Attention."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._dtypes import c_name, refuse
from ._numeric import widened
from ._product import by_columns, by_rows
from ._random import kept
from ._shapes import attended
from ._table import Array, Key, op, platform


def _check_shapes(query, key, value, attn_mask, dropout_p, enable_gqa) -> None:
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{query.ndim} key.dim: {key.ndim} and value.dim: {value.ndim} instead."
        )
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(
            f"Expected query, key, and value to have the same dtype, but got query.dtype: {c_name(query.dtype)} "
            f"key.dtype: {c_name(key.dtype)} and value.dtype: {c_name(value.dtype)} instead."
        )
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p} (attention)")
    shapes = f"query {list(query.shape)}, key {list(key.shape)}, value {list(value.shape)}"
    if query.shape[-1] != key.shape[-1]:
        raise RuntimeError(f"scaled_dot_product_attention: query and key differ in their last axis: {shapes}")
    if key.shape[-2] != value.shape[-2]:
        raise RuntimeError(f"scaled_dot_product_attention: key and value differ in length (axis -2): {shapes}")
    if attn_mask is not None:
        if attn_mask.dtype not in (jnp.bool_, jnp.float32, query.dtype):
            raise RuntimeError(
                "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
                f"{c_name(attn_mask.dtype)} and  query.dtype: {c_name(query.dtype)} instead."
            )
    if enable_gqa:
        if min(query.ndim, key.ndim, value.ndim) < 3:
            raise RuntimeError(f"scaled_dot_product_attention: enable_gqa needs an axis of heads, but got {shapes}")
        if query.shape[-3] % key.shape[-3] or query.shape[-3] % value.shape[-3]:
            raise RuntimeError(
                f"Number of heads in key and value must divide the number of heads in query: got {shapes}"
            )


def _broadcast_batch(query, key, value):
    try:
        batch = np.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    except ValueError:
        raise RuntimeError(
            "scaled_dot_product_attention: the batch axes do not broadcast: "
            f"query {list(query.shape)}, key {list(key.shape)}, value {list(value.shape)}"
        ) from None
    return batch, *(
        jnp.broadcast_to(x, (*batch, *x.shape[-2:])).reshape(math.prod(batch), *x.shape[-2:])
        for x in (query, key, value)
    )


def _weights(q, k, mask, causal_from: int | None, keep, rate: float):
    """Softmax weights (B, L, S) of scaled queries q (B, L, E) on keys k (B, S, E), in float32 at least."""
    wide = jnp.promote_types(q.dtype, jnp.float32)
    scores = by_rows(q, k, wide)
    if causal_from is not None:
        rows = jnp.arange(q.shape[1], dtype=jnp.int32)[:, None] + causal_from
        scores = jnp.where(rows >= jnp.arange(k.shape[1], dtype=jnp.int32), scores, -jnp.inf)
        weights = jax.nn.softmax(scores, -1)
    elif mask is None:
        weights = jax.nn.softmax(scores, -1)
    else:
        scores = jnp.where(mask, scores, -jnp.inf) if mask.dtype == bool else scores + mask.astype(wide)
        # A query that may look at nothing gets zeros, not nan, and so do its gradients.
        blind = (lax.stop_gradient(scores) == -jnp.inf).all(-1, keepdims=True)
        weights = jnp.where(blind, 0, jax.nn.softmax(jnp.where(blind, 0, scores), -1))
    if keep is not None:
        weights = jnp.where(keep, weights / (1 - rate), 0) if rate < 1 else jnp.zeros_like(weights)
    return weights.astype(q.dtype)


def _apply(weights, v):
    wide = jnp.promote_types(v.dtype, jnp.float32)
    return by_columns(weights, v, wide).astype(v.dtype)


def _block_size(length: int) -> int:
    """Queries to a block: 64 measured best; no more than 8 blocks, to bound the size of the program."""
    return max(64, -(-length // 512) * 64)


def _attend(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, rng):
    _check_shapes(query, key, value, attn_mask, dropout_p, enable_gqa)
    refuse("scaled_dot_product_attention", query, kinds="bi", advice="it weighs by a softmax, in floats")
    if enable_gqa and query.shape[-3] != key.shape[-3]:
        key = jnp.repeat(key, query.shape[-3] // key.shape[-3], -3)
    if enable_gqa and query.shape[-3] != value.shape[-3]:
        value = jnp.repeat(value, query.shape[-3] // value.shape[-3], -3)
    length, span, features = query.shape[-2], key.shape[-2], query.shape[-1]
    batch, q, k, v = _broadcast_batch(query, key, value)
    mask = attn_mask
    if mask is not None:
        try:
            mask = jnp.broadcast_to(mask, (*batch, length, span)).reshape(-1, length, span)
        except ValueError:
            raise RuntimeError(
                f"scaled_dot_product_attention: attn_mask of shape {list(attn_mask.shape)} does not broadcast to "
                f"{[*batch, length, span]}"
            ) from None
        if is_causal:  # a query sees what both allow
            seen = jnp.arange(length, dtype=jnp.int32)[:, None] >= jnp.arange(span, dtype=jnp.int32)
            mask, is_causal = (mask & seen if mask.dtype == bool else jnp.where(seen, mask, -jnp.inf)), False
    if not span or not features or not q.size:
        return jnp.zeros((*batch, length, value.shape[-1]), query.dtype)
    if scale is None:
        scale = 1 / math.sqrt(features)
    if platform() == "cpu":  # whose products of lower precision are float32's, after conversion
        q, k, v = map(widened, (q, k, v))
    q = (q * scale).astype(q.dtype)
    keep = None
    if rng is not None and dropout_p > 0:
        keep = kept(rng, (q.shape[0], length, span), dropout_p)
    step = _block_size(length) if isinstance(length, int) else length  # else traced for any length
    if is_causal and platform() == "cpu" and length > step:
        # Blocks of queries see only their prefix of the keys: half of the work.
        parts = []
        for low in range(0, length, step):
            high = min(low + step, length)
            seen = min(high, span)
            some = None if keep is None else keep[:, low:high, :seen]
            parts.append(_apply(_weights(q[:, low:high], k[:, :seen], None, low, some, dropout_p), v[:, :seen]))
        out = jnp.concatenate(parts, 1)
    else:
        out = _apply(_weights(q, k, mask, 0 if is_causal else None, keep, dropout_p), v)
    return out.reshape(*batch, length, value.shape[-1]).astype(value.dtype)


def _route(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """Only a call that drops weights draws random numbers."""
    name = "_scaled_dot_product_attention_dropout" if dropout_p > 0 else None
    return name, (query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa), {}


def _as_query(query, key, value, attn_mask=None):
    """Whether PyTorch's kernel for it does this: it gives results that lie in memory as the queries do."""
    return query.ndim == 4 and query.shape[3] == value.shape[3] and (attn_mask is None or not attn_mask.grad)


@op(namespace="nn.functional", out=False, heavy=True, parse=_route, shapes=attended, lies=_as_query)
def scaled_dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
):
    """``softmax(query @ key.T * scale + mask) @ value``.

    Shapes: query (*, L, E), key (*, S, E), value (*, S, V), attn_mask broadcasting to (*, L, S) -> (*, L, V).
    attn_mask: True where a query may look, or floats that are added; a query without any place to look gets zeros.
    is_causal: query i sees keys 0 to i, of those that attn_mask allows.
    scale: ``E ** -0.5`` where None.  dropout_p: share of the weights set to zero.
    enable_gqa: key and value have fewer heads (axis -3), each of which serves several of query.
    Raises: RuntimeError for shapes or dtypes that do not fit.
    """
    return _attend(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, None)


@op(namespace=None, out=False, heavy=True, shapes=attended)
def _scaled_dot_product_attention_dropout(
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    rng: Key,
):
    """scaled_dot_product_attention with dropout of its weights."""
    return _attend(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, rng)
