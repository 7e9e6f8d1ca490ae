"""Attention whose scores and mask are Python functions of positions."""

from __future__ import annotations

import inspect
import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

from ...tensor import Tensor
from ...tensor import functions as T
from ...tensor.dtype import bool_, float32, float64, int32
from .. import functional as F

__all__ = [
    "AuxOutput", "AuxRequest", "BlockMask", "FlexKernelOptions", "and_masks", "create_block_mask", "create_mask",
    "flex_attention", "noop_mask", "or_masks",
]

_BLOCK = _DEFAULT_SPARSE_BLOCK_SIZE = 128  # under the name by which programs import it, too


class FlexKernelOptions(TypedDict, total=False):
    """Settings of PyTorch's Triton kernels. They are accepted and not needed: XLA makes the kernels here."""

    num_warps: int
    num_stages: int
    BLOCK_M: int
    BLOCK_N: int
    PRESCALE_QK: bool
    ROWS_GUARANTEED_SAFE: bool
    BLOCKS_ARE_CONTIGUOUS: bool
    WRITE_DQ: bool
    FORCE_USE_FLEX_ATTENTION: bool
    USE_TMA: bool
    BACKEND: str


class AuxRequest(NamedTuple):
    """Which further results flex_attention returns."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """Further results of flex_attention, (B, H, L) each: logarithm of the summed exponentials, and largest score."""

    lse: Tensor | None = None
    max_scores: Tensor | None = None


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """The mask that lets every query see every key."""
    return T.ones((), dtype=bool_, device=batch.device)


def _sliced_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """Stands for the mask function of a part of a BlockMask, whose positions it would not know."""
    raise RuntimeError("Cannot use mask_mod from a sliced BlockMask")


def _together(masks: tuple, combine: Callable[[Tensor, Tensor], Tensor], start: bool) -> Callable[..., Tensor]:
    if not all(callable(m) for m in masks):
        raise RuntimeError(f"All inputs should be callable mask_mods: {masks}")

    def mask(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        result = T.full((), start, dtype=bool_, device=b.device)
        for one in masks:
            result = combine(result, one(b, h, q_idx, kv_idx))
        return result

    return mask


def or_masks(*mask_mods: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A mask function that is true where any of the given ones is.

    Raises:  RuntimeError if one is not callable.
    """
    return _together(mask_mods, lambda x, y: x | y, False)


def and_masks(*mask_mods: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A mask function that is true where all of the given ones are.

    Raises:  RuntimeError if one is not callable.
    """
    return _together(mask_mods, lambda x, y: x & y, True)


def _positions(sizes: tuple[int, int, int, int], device: Any) -> tuple[Tensor, ...]:
    """Numbers of batch, head, query and key, each along an axis of its own of 4."""
    return tuple(T.arange(n, dtype=int32, device=device).reshape([n if i == k else 1 for i in range(4)])
                 for k, n in enumerate(sizes))


def create_mask(mod_fn: Callable[..., Tensor], B: int | None, H: int | None, Q_LEN: int, KV_LEN: int,
                device: Any = None) -> Tensor:
    """The values of a mask function at all positions, or where a score function makes a score of 0 not -inf.

    Shapes:  (B or 1, H or 1, Q_LEN, KV_LEN), bool.
    Raises:  AssertionError for a function of neither 4 nor 5 arguments.
    """
    sizes = (B or 1, H or 1, Q_LEN, KV_LEN)
    places = _positions(sizes, device)
    count = _number_of_arguments(mod_fn)
    if count == 5:
        return ~T.isneginf(mod_fn(T.zeros(sizes, device=device), *places)).expand(sizes)
    if count != 4:
        raise AssertionError(f"a mask_mod takes (b, h, q_idx, kv_idx) and a score_mod (score, b, h, q_idx, kv_idx), "
                             f"but {mod_fn!r} takes {count} arguments")
    return mod_fn(*places).to(bool_).expand(sizes)


def _number_of_arguments(function: Callable[..., Any]) -> int:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in inspect.signature(function).parameters.values())


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _ordered(dense: Tensor) -> tuple[Tensor, Tensor]:
    """Per row of a matrix of blocks: how many there are, and their columns, those present first."""
    dense = dense.to(int32)
    return dense.sum(-1).to(int32), T.argsort(dense, dim=-1, descending=True, stable=True).to(int32)


def _dense(count: Tensor, columns: Tensor, width: int) -> Tensor:
    """The matrix of blocks (bool) out of _ordered's form."""
    given = T.arange(columns.shape[-1], dtype=int32, device=columns.device) < count.unsqueeze(-1)
    # Entries after the first ``count`` may be anything; they are sent to a column that is cut off.
    place = T.where(given, columns, T.full_like(columns, width)).long()
    empty = T.zeros((*columns.shape[:-1], width + 1), dtype=int32, device=columns.device)
    return empty.scatter(-1, place, T.ones_like(columns))[..., :width].to(bool_)


_FIELDS = ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices", "q_num_blocks", "q_indices",
           "full_q_num_blocks", "full_q_indices", "dq_write_order", "dq_write_order_full", "dq_kv_order")


class BlockMask:
    """A mask of attention by blocks: which blocks of keys each block of queries sees, in full or as ``mask_mod`` says.

    Attributes:  seq_lengths (queries, keys); BLOCK_SIZE (of queries, of keys); kv_num_blocks (B, H, rows) and
                 kv_indices (B, H, rows, columns), the blocks where mask_mod decides;
                 full_kv_num_blocks and full_kv_indices, those seen in full, or None; q_*, full_q_*: the same
                 by columns, or None.

    ``dq_*`` order the writes of a CUDA kernel; they are kept, and not used.
    """

    def __init__(self, seq_lengths: tuple[int, int], kv_num_blocks: Tensor, kv_indices: Tensor,
                 full_kv_num_blocks: Tensor | None, full_kv_indices: Tensor | None, q_num_blocks: Tensor | None,
                 q_indices: Tensor | None, full_q_num_blocks: Tensor | None, full_q_indices: Tensor | None,
                 BLOCK_SIZE: tuple[int, int] = (_BLOCK, _BLOCK), mask_mod: Callable[..., Tensor] = noop_mask, *,
                 dq_write_order: Tensor | None = None, dq_write_order_full: Tensor | None = None,
                 dq_kv_order: Tensor | None = None, dq_kv_order_spt: bool | None = None) -> None:
        if kv_indices.dim() < 2:
            raise RuntimeError(f"BlockMask must have at least 2 dimensions, but kv_indices is {list(kv_indices.shape)}")
        if kv_num_blocks is None:
            raise AssertionError("kv_num_blocks must be provided")
        for kind, count, columns in (("kv", full_kv_num_blocks, full_kv_indices),
                                     ("q", full_q_num_blocks, full_q_indices)):
            if (count is None) != (columns is None):
                raise AssertionError(f"full_{kind}_num_blocks and full_{kind}_indices must be both provided or omitted")
        if dq_write_order_full is not None and dq_write_order is None:
            raise ValueError("dq_write_order_full requires dq_write_order")
        self.seq_lengths = seq_lengths
        self.kv_num_blocks, self.kv_indices = kv_num_blocks, kv_indices
        self.full_kv_num_blocks, self.full_kv_indices = full_kv_num_blocks, full_kv_indices
        self.q_num_blocks, self.q_indices = q_num_blocks, q_indices
        self.full_q_num_blocks, self.full_q_indices = full_q_num_blocks, full_q_indices
        self.dq_write_order, self.dq_write_order_full = dq_write_order, dq_write_order_full
        self.dq_kv_order, self.dq_kv_order_spt = dq_kv_order, dq_kv_order_spt
        self.BLOCK_SIZE = BLOCK_SIZE
        self.mask_mod = mask_mod
        # Whether mask_mod alone tells all: true of masks that create_block_mask made.
        self._from_mask_mod = False

    @classmethod
    def from_kv_blocks(cls, kv_num_blocks: Tensor, kv_indices: Tensor, full_kv_num_blocks: Tensor | None = None,
                       full_kv_indices: Tensor | None = None, BLOCK_SIZE: int | tuple[int, int] = _BLOCK,
                       mask_mod: Callable[..., Tensor] | None = None, seq_lengths: tuple[int, int] | None = None,
                       compute_q_blocks: bool = True, *, dq_write_order: Tensor | None = None,
                       dq_write_order_full: Tensor | None = None,
                       dq_kv_order: Tensor | bool | None = None) -> BlockMask:
        """The mask of the given blocks; see BlockMask. The same by columns is added with ``compute_q_blocks``.

        Raises:  RuntimeError for fewer than 2 axes; AssertionError if one of full_kv_* is missing; ValueError for a
                 dq_kv_order of another type.
        """
        if kv_indices.dim() < 2:
            raise RuntimeError(f"BlockMask must have at least 2 dimensions, but kv_indices is {list(kv_indices.shape)}")
        if (full_kv_num_blocks is None) != (full_kv_indices is None):
            raise AssertionError("full_kv_num_blocks and full_kv_indices must be both provided or omitted")
        if dq_kv_order is not None and not isinstance(dq_kv_order, (bool, Tensor)):
            raise ValueError(f"dq_kv_order must be a bool, Tensor, or None, not {type(dq_kv_order).__name__}")
        q, full_q = (None, None), (None, None)
        if compute_q_blocks:
            width = kv_indices.shape[-1]
            q = _ordered(_dense(kv_num_blocks, kv_indices, width).transpose(-2, -1))
            if full_kv_num_blocks is not None:
                full_q = _ordered(_dense(full_kv_num_blocks, full_kv_indices, width).transpose(-2, -1))
        block = _pair(BLOCK_SIZE)
        if seq_lengths is None:
            seq_lengths = (kv_indices.shape[-2] * block[0], kv_indices.shape[-1] * block[1])
        return cls(seq_lengths, kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices, *q, *full_q, block,
                   noop_mask if mask_mod is None else mask_mod, dq_write_order=dq_write_order,
                   dq_write_order_full=dq_write_order_full,
                   dq_kv_order=dq_kv_order if isinstance(dq_kv_order, Tensor) else None,
                   dq_kv_order_spt=dq_kv_order if isinstance(dq_kv_order, bool) else None)

    def as_tuple(self, flatten: bool = True) -> tuple[Any, ...]:
        """All attributes; ``flatten`` puts the two lengths, and the two sizes of a block, in one by one."""
        lengths, block = (self.seq_lengths, self.BLOCK_SIZE) if flatten else ((self.seq_lengths,), (self.BLOCK_SIZE,))
        return (*lengths, *(getattr(self, n) for n in _FIELDS), self.dq_kv_order_spt, *block, self.mask_mod)

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, H, queries, keys)."""
        return (*self.kv_indices.shape[:-2], *self.seq_lengths)

    def numel(self) -> int:
        """Number of elements of the whole mask."""
        return math.prod(self.shape)

    def sparsity(self) -> float:
        """Percentage of the elements that lie in blocks nobody sees."""
        blocks = self.kv_num_blocks.sum()
        if self.full_kv_num_blocks is not None:
            blocks = blocks + self.full_kv_num_blocks.sum()
        return 100 * (1 - blocks.item() * self.BLOCK_SIZE[0] * self.BLOCK_SIZE[1] / self.numel())

    def to_dense(self) -> Tensor:
        """The matrix of blocks: 1 where one is seen, in part or in full."""
        return self._blocks().to(int32)

    def _blocks(self) -> Tensor:
        width = self.kv_indices.shape[-1]
        blocks = _dense(self.kv_num_blocks, self.kv_indices, width)
        if self.full_kv_num_blocks is None:
            return blocks
        return blocks | _dense(self.full_kv_num_blocks, self.full_kv_indices, width)

    def to_string(self, grid_size: int | tuple[int, int] = (20, 20), limit: int = 4) -> str:
        """A picture for each batch and head, at most ``limit`` of them, of at most ``grid_size`` characters.

        A full block is "█", a part of one "░". A grid_size of -1 shows every block.
        """
        dense = self._blocks().to(float32).numpy()
        rows, cols = dense.shape[-2:]
        most = (rows, cols) if grid_size == -1 else _pair(grid_size)
        high, wide = (max(1, -(-n // m)) for n, m in zip((rows, cols), most, strict=True))
        pictures = []
        for number, index in enumerate(itertools.product(*map(range, dense.shape[:-2]))):
            if number == limit:
                pictures += ["...", "To print out more, set BlockMask.to_string(limit=N)",
                             "You can also index (BlockMask[batch, head]) to choose a specific batch or head"]
                break
            lines = [str(index)]
            for r in range(0, rows, high):
                means = (dense[index][r:r + high, c:c + wide].mean() for c in range(0, cols, wide))
                lines.append("".join(2 * ("█" if m == 1 else " " if m == 0 else "░") for m in means))
            pictures.append("\n".join(lines) + "\n")
        return "\n".join(pictures)

    def __str__(self) -> str:
        return f"BlockMask(shape={self.shape}, sparsity={self.sparsity():.2f}%, \n{self.to_string().strip()}\n)"

    def __repr__(self) -> str:
        sizes = [f"{n}={None if getattr(self, n) is None else getattr(self, n).shape}" for n in _FIELDS[:8]]
        return "BlockMask(\n    " + ",\n    ".join([
            *sizes, f"BLOCK_SIZE={self.BLOCK_SIZE}", f"shape={self.shape}", f"sparsity={self.sparsity():.2f}%",
            f"mask_mod={getattr(self.mask_mod, '__name__', self.mask_mod)}"]) + "\n)"

    def _changed(self, change: Callable[[Tensor], Tensor], seq_lengths: tuple[int, int],
                 mask_mod: Callable[..., Tensor]) -> BlockMask:
        if self.dq_kv_order is not None or self.dq_write_order is not None:
            raise NotImplementedError("a BlockMask with dq_write_order cannot be sliced or adjusted: make another one")
        parts = [None if p is None else change(p) for p in (getattr(self, n) for n in _FIELDS[:4])]
        return BlockMask.from_kv_blocks(*parts, BLOCK_SIZE=self.BLOCK_SIZE, mask_mod=mask_mod, seq_lengths=seq_lengths,
                                        compute_q_blocks=self.q_indices is not None)

    def __getitem__(self, index: Any) -> BlockMask:
        """The mask of some batches, heads and rows of blocks; numbers keep their axis. It has no mask_mod any more."""
        index = index if isinstance(index, tuple) else (index,)
        padded = (*index, slice(None), slice(None), slice(None))[:3]
        index = tuple((slice(i + n, i + n + 1) if -n <= i < 0 else slice(i, i + 1)) if isinstance(i, int) else i
                      for i, n in zip(padded, self.kv_num_blocks.shape[:3], strict=True))
        return self._changed(lambda x: x[index], self.seq_lengths, _sliced_mask)

    def _adjust(self, new_q_len: int, new_kv_len: int) -> BlockMask:
        """The upper left corner of the mask, for shorter sequences."""
        rows, cols = -(-new_q_len // self.BLOCK_SIZE[0]), -(-new_kv_len // self.BLOCK_SIZE[1])
        width = self.kv_indices.shape[-1]
        parts: list[Tensor | None] = []
        for count, columns in ((self.kv_num_blocks, self.kv_indices), (self.full_kv_num_blocks, self.full_kv_indices)):
            parts += (None, None) if count is None else _ordered(_dense(count, columns, width)[..., :rows, :cols])
        result = BlockMask.from_kv_blocks(*parts, BLOCK_SIZE=self.BLOCK_SIZE, mask_mod=self.mask_mod,
                                          seq_lengths=(new_q_len, new_kv_len),
                                          compute_q_blocks=self.q_indices is not None)
        result._from_mask_mod = self._from_mask_mod
        return result

    def to(self, device: Any) -> BlockMask:
        """The mask with its tensors on ``device``."""
        moved = {n: None if getattr(self, n) is None else getattr(self, n).to(device) for n in _FIELDS}
        result = BlockMask(self.seq_lengths, **moved, BLOCK_SIZE=self.BLOCK_SIZE, mask_mod=self.mask_mod,
                           dq_kv_order_spt=self.dq_kv_order_spt)
        result._from_mask_mod = self._from_mask_mod
        return result

    def _visible(self, places: tuple[Tensor, ...]) -> Tensor:
        """Which queries see which keys, (B, H, queries, keys) or broadcasting to it."""
        mask = self.mask_mod(*places)
        if self._from_mask_mod:
            return mask

        def spread(blocks: Tensor) -> Tensor:
            rows, cols = self.BLOCK_SIZE
            big = blocks.repeat_interleave(rows, -2).repeat_interleave(cols, -1)
            return big[..., :self.seq_lengths[0], :self.seq_lengths[1]]

        width = self.kv_indices.shape[-1]
        mask = spread(_dense(self.kv_num_blocks, self.kv_indices, width)) & mask
        if self.full_kv_num_blocks is None:
            return mask
        return mask | spread(_dense(self.full_kv_num_blocks, self.full_kv_indices, width))


def create_block_mask(mask_mod: Callable[..., Tensor], B: int | None, H: int | None, Q_LEN: int, KV_LEN: int,
                      device: Any = None, BLOCK_SIZE: int | tuple[int, int] = _BLOCK, _compile: bool = False,
                      separate_full_blocks: bool = True, compute_dq_write_order: bool = False,
                      dq_kv_order: bool = True) -> BlockMask:
    """The BlockMask of a mask function ``mask_mod(b, h, q_idx, kv_idx)``; B or H of None: the same for all.

    ``device`` defaults to the default device; ``_compile`` has no effect: the function is recorded and compiled anyway.
    Raises:  NotImplementedError for ``compute_dq_write_order``, which orders the writes of a CUDA kernel; ValueError
             for a dq_kv_order that is no bool.
    """
    if _compile:
        warnings.warn("create_block_mask: _compile has no effect", DeprecationWarning, stacklevel=2)
    if not isinstance(dq_kv_order, bool):
        raise ValueError(f"dq_kv_order must be a bool when using create_block_mask, not {dq_kv_order!r}")
    if compute_dq_write_order:
        raise NotImplementedError("create_block_mask: compute_dq_write_order serves a CUDA kernel that is not used "
                                  "here; gradients are deterministic without it")
    rows, cols = _pair(BLOCK_SIZE)
    mask = create_mask(mask_mod, B, H, Q_LEN, KV_LEN, device)
    mask = F.pad(mask, (0, -KV_LEN % cols, 0, -Q_LEN % rows))
    batch, heads, length, span = mask.shape
    seen = mask.reshape((batch, heads, length // rows, rows, span // cols, cols)).sum((3, 5))
    full = seen == rows * cols
    partial = seen > 0
    pairs = (*_ordered(partial & ~full), *_ordered(full)) if separate_full_blocks else (*_ordered(partial), None, None)
    result = BlockMask.from_kv_blocks(*pairs, BLOCK_SIZE=(rows, cols), mask_mod=mask_mod, seq_lengths=(Q_LEN, KV_LEN))
    result._from_mask_mod = True
    return result


def _check(query: Tensor, key: Tensor, value: Tensor, block_mask: BlockMask | None, enable_gqa: bool) -> None:
    if query.is_nested or key.is_nested or value.is_nested:
        raise NotImplementedError("flex_attention: nested tensors are not taken; use scaled_dot_product_attention, or "
                                  "to_padded_tensor and a mask function that knows the lengths")
    if query.dim() != 4 or key.dim() != 4 or value.dim() != 4:
        raise NotImplementedError("flex_attention: query, key, and value must be 4D tensors (B, H, L, E), but got "
                                  f"{tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}")
    if query.shape[-1] != key.shape[-1]:
        raise ValueError("Expect query and key/value to have the same embedding dimension but got "
                         f"E={query.shape[-1]} and E={key.shape[-1]}.")
    heads, kv_heads = query.shape[1], key.shape[1]
    if not enable_gqa and heads != kv_heads:
        raise ValueError(f"Expect query and key/value to have the same number of heads but got Hq={heads} and "
                         f"Hkv={kv_heads}. Try setting enable_gqa=True for GQA.")
    if heads % kv_heads != 0:
        raise ValueError("Expect number of query heads to be a multiple of kv heads for GQA but got "
                         f"Hq={heads} and Hkv={kv_heads}.")
    batches = query.shape[0], key.shape[0]
    if batches[0] != batches[1]:
        masked = None if block_mask is None else block_mask.kv_num_blocks.shape[0]
        if masked != batches[0] or batches[1] != 1:
            raise ValueError("Expect query and key/value to have the same batch size, or block_mask and query to have "
                             f"the same batch size and key/value 1, but got Bq={batches[0]}, Bkv={batches[1]}, "
                             f"B_block_mask={masked}.")
    if block_mask is None:
        return
    if block_mask.mask_mod is _sliced_mask:
        raise RuntimeError("Cannot use mask_mod from a sliced BlockMask: set its mask_mod to a function that knows "
                           "where the part begins")
    if tuple(block_mask.shape[-2:]) != (query.shape[-2], key.shape[-2]):
        raise ValueError(f"block_mask was created for block_mask.shape={block_mask.shape} but got "
                         f"q_len={query.shape[-2]} and kv_len={key.shape[-2]}. Create another one for these lengths, "
                         "or crop a larger one with block_mask._adjust(q_len, kv_len).")
    if query.device != block_mask.kv_num_blocks.device:
        raise RuntimeError(f"Expect q/k/v and block_mask to be on the same device but got {query.device} and "
                           f"{block_mask.kv_num_blocks.device}.")


def flex_attention(query: Tensor, key: Tensor, value: Tensor, score_mod: Callable[..., Tensor] | None = None,
                   block_mask: BlockMask | None = None, scale: float | None = None, enable_gqa: bool = False,
                   return_lse: bool = False, kernel_options: FlexKernelOptions | None = None, *,
                   return_aux: AuxRequest | None = None) -> Any:
    """``softmax(score_mod(query @ key.T * scale, b, h, q_idx, kv_idx) where block_mask allows) @ value``.

    ``score_mod`` and the mask function are called once, with all scores (B, H, L, S) and with positions that broadcast
    to them; so they may compute, compare, and index tensors by several positions at once (``bias[h, q_idx, kv_idx]``).
    A query that sees no key gets zeros. Gradients reach everything, also tensors that ``score_mod`` refers to.
    ``kernel_options`` are accepted and not needed.

    Shapes:  query (B, Hq, L, E), key (B, Hkv, S, E), value (B, Hkv, S, V) -> (B, Hq, L, V); with ``return_lse`` and
             ``return_aux`` also (B, Hq, L) each. Hkv is Hq, or divides it with ``enable_gqa``.
    Differs:  PyTorch maps the functions over single positions; here ``table[b][q_idx]`` must be ``table[b, q_idx]``.
    Raises:  ValueError, NotImplementedError or RuntimeError for shapes, masks or arguments that do not fit.
    """
    if return_lse and return_aux is not None:
        raise ValueError("Cannot specify both return_lse and return_aux: use return_aux=AuxRequest(lse=True) alone")
    _check(query, key, value, block_mask, enable_gqa)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    if key.shape[0] != query.shape[0]:
        key, value = (x.expand((query.shape[0], *x.shape[1:])) for x in (key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    sizes = (*query.shape[:3], key.shape[2])
    places = _positions(sizes, query.device)
    if score_mod is None and not return_lse and return_aux is None:
        mask = None if block_mask is None else block_mask._visible(places)
        return F.scaled_dot_product_attention(query, key, value, mask, scale=scale)
    wide = float64 if query.dtype == float64 else float32
    scores = (query @ key.transpose(-2, -1)).to(wide) * scale
    if score_mod is not None:
        scores = score_mod(scores, *places).to(wide)
    if block_mask is not None:
        scores = T.where(block_mask._visible(places), scores, -math.inf)
    # Rows of -inf alone would give nan, also in gradients.
    blind = (scores == -math.inf).all(-1, keepdim=True)
    safe = scores.masked_fill(blind, 0)
    output = F.softmax(safe, -1).masked_fill(blind, 0).to(query.dtype) @ value
    if not return_lse and return_aux is None:
        return output
    lse = None
    if return_lse or return_aux.lse:
        lse = T.logsumexp(safe, -1).masked_fill(blind.squeeze(-1), -math.inf)
    if return_lse:
        return output, lse
    return output, AuxOutput(lse, scores.amax(-1) if return_aux.max_scores else None)
