"""Attention of sequences of different lengths that lie one after the other, without padding."""

from __future__ import annotations

from typing import NamedTuple

from ...tensor import Tensor
from ...tensor import functions as T

__all__ = ["AuxRequest", "varlen_attn"]


class AuxRequest(NamedTuple):
    """What is returned beside the result: ``lse``, the logarithm of the softmax's denominator."""

    lse: bool = False


def _owners(ends: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Which sequence each of ``count`` places belongs to, and its place in it."""
    places = T.arange(count, device=ends.device)
    owner = T.searchsorted(ends[1:].contiguous().to(places.dtype), places, right=True)
    return owner, places - ends.to(places.dtype)[owner.clamp(max=ends.numel() - 2)]


def varlen_attn(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor | None, max_q: int, max_k: int, *,
    return_aux: AuxRequest | None = None, scale: float | None = None, window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False, seqused_k: Tensor | None = None, block_table: Tensor | None = None,
    num_splits: int | None = None,
) -> Tensor | tuple[Tensor, Tensor]:  # fmt: skip
    """Attention of each query to the keys of its own sequence: (T_q, H, D), (T_k, H_kv, D) -> (T_q, H, D).

    cu_seq_q, cu_seq_k: where sequences begin, and the end, (N + 1,) (None: the queries').   max_q, max_k: the longest
    lengths.   window_size: how far a query looks back and ahead, counted from the end of the sequence if there are more
    keys than queries; -1 for all, (-1, 0) for causal attention.   enable_gqa: several heads of queries share one of
    keys.   seqused_k: (N,), how many keys of each sequence count.   num_splits: a hint for kernels, unused.

    One matrix (T_q, T_k) of scores is made for each head, and XLA fuses the mask into it; memory grows with the square
    of the whole length. ``block_table`` raises NotImplementedError.
    """
    if block_table is not None:
        raise NotImplementedError("varlen_attn: keys and values in pages (block_table) are not there")
    if cu_seq_k is None:
        cu_seq_k = cu_seq_q
    if query.dim() != 3 or key.dim() != 3 or key.shape[:2] != value.shape[:2]:
        raise RuntimeError(f"varlen_attn: expected (T, heads, features), got {tuple(query.shape)}, {tuple(key.shape)} "
                           f"and {tuple(value.shape)}")  # fmt: skip
    heads, of_keys = query.shape[1], key.shape[1]
    if heads != of_keys:
        if not enable_gqa or heads % of_keys:
            raise ValueError(f"varlen_attn: {heads} heads of queries and {of_keys} of keys; with enable_gqa=True the "
                             "first must be a multiple of the second")  # fmt: skip
        key, value = (x.repeat_interleave(heads // of_keys, 1) for x in (key, value))
    (mine, q_at), (theirs, k_at) = _owners(cu_seq_q, query.shape[0]), _owners(cu_seq_k, key.shape[0])
    lengths_q, lengths_k = cu_seq_q[1:] - cu_seq_q[:-1], cu_seq_k[1:] - cu_seq_k[:-1]
    if seqused_k is not None:
        lengths_k = seqused_k.to(lengths_k.dtype)
    last = lengths_q.numel() - 1
    seen = (mine[:, None] == theirs[None]) & (k_at < lengths_k[theirs.clamp(max=last)])[None]
    ahead = k_at[None] - (q_at + (lengths_k - lengths_q)[mine.clamp(max=last)])[:, None]
    back, forth = window_size
    if back >= 0:
        seen = seen & (ahead >= -back)
    if forth >= 0:
        seen = seen & (ahead <= forth)
    q, k, v = (x.transpose(0, 1) for x in (query, key, value))
    scores = (q @ k.transpose(1, 2)).float() * (query.shape[-1] ** -0.5 if scale is None else scale)
    scores = scores.masked_fill(~seen, float("-inf"))
    lse = scores.logsumexp(-1)
    none = lse.isinf()[..., None]  # who sees nothing gets zeros
    weights = (scores - lse[..., None].masked_fill(none, 0)).exp()
    result = (weights.to(value.dtype) @ v).transpose(0, 1)
    return (result, lse) if return_aux is not None and return_aux.lse else result
