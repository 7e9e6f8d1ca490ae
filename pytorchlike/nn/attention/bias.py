"""Masks for ``scaled_dot_product_attention`` that are described instead of stored."""

from __future__ import annotations

import enum
from typing import Any

from ...tensor import Tensor
from ...tensor import functions as T

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(enum.IntEnum):
    """Where the triangle of what may be attended to lies, for unequal numbers of queries and keys."""

    UPPER_LEFT = 1
    LOWER_RIGHT = 2


class CausalBias(Tensor):
    """The causal mask of `seq_len_q` queries and `seq_len_kv` keys, as ``attn_mask``: a bool tensor of that shape.

    UPPER_LEFT: the query i sees the keys up to i. LOWER_RIGHT: the last query sees all keys, each before it one fewer.
    It is an ordinary mask for all other functions, which XLA makes where it is used. A LOWER_RIGHT mask for more
    queries than keys leaves queries that see nothing; their results are 0, as everywhere.
    """

    def __new__(cls, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> CausalBias:
        if not isinstance(variant, CausalVariant):
            raise AssertionError(f"CausalBias: variant must be a CausalVariant, but got {variant!r}")
        above = seq_len_kv - seq_len_q if variant is CausalVariant.LOWER_RIGHT else 0
        seen = T.ones((seq_len_q, seq_len_kv), dtype=T.tensor(True).dtype).tril(above)
        made = Tensor._make_subclass(cls, seen, False)
        made.variant, made.seq_len_q, made.seq_len_kv = variant, seq_len_q, seq_len_kv
        return made

    def __init__(self, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> None:
        pass  # everything is done in __new__

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """What is computed of a mask is an ordinary tensor. ValueError for one that ``is_causal`` stands beside."""
        if getattr(func, "__name__", "") == "scaled_dot_product_attention" and (kwargs or {}).get("is_causal"):
            raise ValueError("CausalBias should not be used with causal=True")
        from ...tensor.asking import DisabledAll

        with DisabledAll():
            return func(*args, **(kwargs or {}))

    def _materialize(self, device: Any = None) -> Tensor:
        """The mask as an ordinary bool tensor."""
        return self.as_subclass(Tensor).to(device=device)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        """That of the bool tensor, as in PyTorch."""
        return repr(self.as_subclass(Tensor))


def causal_upper_left(*size: int) -> CausalBias:
    """The mask ``tril(ones(*size))`` for (queries, keys)."""
    if len(size) != 2:
        raise AssertionError("causal_upper_left only supports 2D tensors")
    return CausalBias(CausalVariant.UPPER_LEFT, *size)


def causal_lower_right(*size: int) -> CausalBias:
    """The mask ``tril(ones(*size), keys - queries)`` for (queries, keys)."""
    if len(size) != 2:
        raise AssertionError("causal_lower_right only supports 2D tensors")
    return CausalBias(CausalVariant.LOWER_RIGHT, *size)
