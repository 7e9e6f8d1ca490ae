"""Which part of a tensor lies where on a mesh."""

from __future__ import annotations

from collections.abc import Sequence

from ..device_mesh import DeviceMesh
from .placement_types import Placement, Shard, _StridedShard

__all__ = ["compute_local_shape_and_global_offset"]


def compute_local_shape_and_global_offset(
    global_shape: Sequence[int], mesh: DeviceMesh, placements: Sequence[Placement]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and offset of this member's part of a tensor of ``global_shape``; one placement for each axis of the mesh.

    ((0,), ()) for who is not in the mesh. Raises ValueError for a dimension that the tensor lacks, NotImplementedError
    for parts made of several pieces.
    """
    here = mesh.get_coordinate()
    if here is None:
        return (0,), ()
    shape, offset = list(global_shape), [0] * len(global_shape)
    for axis, placement in enumerate(placements):
        if isinstance(placement, _StridedShard):
            raise NotImplementedError("compute_local_shape_and_global_offset: a part in several pieces has no offset")
        if not isinstance(placement, Shard):
            continue
        if not -len(shape) <= placement.dim < len(shape):
            raise ValueError(f"Sharding dim {placement.dim} is not a dimension of a tensor of shape {(*global_shape,)}")
        length, begin = placement.local_shard_size_and_offset(shape[placement.dim], mesh.size(axis), here[axis])
        shape[placement.dim] = length
        offset[placement.dim] += begin
    return tuple(shape), tuple(offset)
