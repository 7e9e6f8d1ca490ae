"""How a tensor could be spread along one axis of a mesh: descriptions, which compare by value."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Partial", "Placement", "Replicate", "Shard"]


class Placement:
    """One of Shard, Replicate and Partial."""

    def is_shard(self, dim: int | None = None) -> bool:
        """Whether each member has a part, along ``dim`` if it is given."""
        return isinstance(self, Shard) and dim in (None, self.dim)

    def is_replicate(self) -> bool:
        """Whether each member has it all."""
        return isinstance(self, Replicate)

    def is_partial(self, reduce_op: str | None = None) -> bool:
        """Whether the members' values have yet to be combined, by ``reduce_op`` if it is given."""
        return isinstance(self, Partial) and reduce_op in (None, self.reduce_op)


@dataclass(frozen=True)
class Replicate(Placement):
    """Each member has the whole tensor."""


@dataclass(frozen=True)
class Partial(Placement):
    """Each member has a tensor of the full shape; the value is what ``reduce_op`` makes of all of them."""

    reduce_op: str = "sum"


@dataclass(frozen=True)
class Shard(Placement):
    """Each member has a part along the dimension ``dim``, cut as ``torch.chunk`` cuts."""

    dim: int

    @staticmethod
    def local_shard_size_and_offset(curr_local_size: int, num_chunks: int, rank: int) -> tuple[int, int]:
        """Length of the part of member ``rank`` of ``num_chunks``, and where it begins (the end, if it is empty)."""
        each = -(-curr_local_size // num_chunks)
        begin = min(each * rank, curr_local_size)
        return min(each, curr_local_size - begin), begin


@dataclass(frozen=True)
class _StridedShard(Shard):
    """A part that is made of one piece out of each of ``split_factor`` equal stretches of the dimension."""

    split_factor: int = 1
