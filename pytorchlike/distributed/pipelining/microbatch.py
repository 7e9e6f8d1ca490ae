"""``torch.distributed.pipelining.microbatch``: batches cut into portions, and results put together again."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor
from ...tensor import functions as T
from ...utils._pytree import tree_flatten, tree_map, tree_unflatten

__all__ = ["TensorChunkSpec", "merge_chunks", "split_args_kwargs_into_chunks"]


class TensorChunkSpec:
    """The dimension along which a tensor is cut, or put together."""

    def __init__(self, split_dim: int) -> None:
        self.split_dim = split_dim

    def __repr__(self) -> str:
        return f"TensorChunkSpec({self.split_dim})"

    @staticmethod
    def from_tuple(chunk_dims: tuple[int, ...]) -> Any:
        """One for each of several arguments."""
        return tree_map(TensorChunkSpec, chunk_dims)

    @staticmethod
    def from_dict(chunk_dims: dict[str, int]) -> Any:
        """One for each argument by name."""
        return tree_map(TensorChunkSpec, chunk_dims)


def _cut(tree: Any, spec: Any, chunks: int) -> list[Any]:
    """The parts of a structure; what is no tensor is in all of them. spec: None, or a TensorChunkSpec for each leaf."""
    leaves, structure = tree_flatten(tree)
    dims = [None] * len(leaves) if spec is None else tree_flatten(spec)[0]
    if len(dims) != len(leaves):
        raise ValueError(f"the chunk spec must have one TensorChunkSpec for each of {len(leaves)} arguments, but has "
                         f"{len(dims)}")
    columns = []
    for leaf, dim in zip(leaves, dims, strict=True):
        if not isinstance(leaf, Tensor):
            columns.append([leaf] * chunks)
            continue
        along = dim.split_dim if isinstance(dim, TensorChunkSpec) else 0
        if not leaf.ndim or leaf.shape[along] < chunks:
            raise ValueError(f"a tensor of the shape {list(leaf.shape)} cannot be cut into {chunks} microbatches along "
                             f"dimension {along}")
        columns.append(list(leaf.tensor_split(chunks, along)))
    return [tree_unflatten([column[i] for column in columns], structure) for i in range(chunks)]


def split_args_kwargs_into_chunks(args: tuple, kwargs: dict[str, Any] | None, chunks: int, args_chunk_spec: Any = None,
                                  kwargs_chunk_spec: Any = None) -> tuple[list[tuple], list[dict[str, Any]]]:
    """Arguments of each of `chunks` portions: tensors are cut, along the first dimension unless the specs say another.

    Raises ValueError for tensors that are too small.
    """
    return _cut(args, args_chunk_spec, chunks), _cut(kwargs or {}, kwargs_chunk_spec, chunks)


def merge_chunks(chunks: list[Any], chunk_spec: Any = None) -> Any:
    """The results of all portions, one after the other along the first dimension, or that of the specs."""
    columns = [tree_flatten(chunk) for chunk in chunks]
    structure, count = columns[0][1], len(columns[0][0])
    dims = [None] * count if chunk_spec is None else tree_flatten(chunk_spec)[0]
    if len(dims) != count:
        raise ValueError(f"the merge spec must have a TensorChunkSpec for each of {count} results, but has {len(dims)}")
    merged = []
    for k, dim in enumerate(dims):
        values = [column[0][k] for column in columns]
        if isinstance(values[0], Tensor) and values[0].ndim:
            merged.append(T.cat(values, dim.split_dim if isinstance(dim, TensorChunkSpec) else 0))
        elif isinstance(values[0], Tensor):
            merged.append(T.stack(values))
        else:
            merged.append(values[0])
    return tree_unflatten(merged, structure)
