"""``torch.distributed.tensor._dtensor_spec``: descriptions of how a tensor is spread.

``DTensor`` takes none of them here; ``DTensor.from_local`` is told the mesh and the placements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from .placement_types import Placement

__all__ = ["DTensorSpec", "TensorMeta"]


class TensorMeta(NamedTuple):
    """What is known of the whole tensor."""

    shape: Any
    stride: tuple[int, ...]
    dtype: Any


@dataclass(frozen=True)
class DTensorSpec:
    """A mesh, a placement for each of its axes, and what the whole tensor is."""

    mesh: Any
    placements: tuple[Placement, ...]
    tensor_meta: TensorMeta | None = None
