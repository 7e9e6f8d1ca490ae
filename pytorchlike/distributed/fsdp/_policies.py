"""What would be said to ``fully_shard``: descriptions, which compare by value."""

from __future__ import annotations

from dataclasses import dataclass

from ...tensor.dtype import dtype

__all__ = ["CPUOffloadPolicy", "MixedPrecisionPolicy", "OffloadPolicy"]


@dataclass(frozen=True)
class MixedPrecisionPolicy:
    """The dtypes that parameters, gradients on their way and outputs would have; None: as they are."""

    param_dtype: dtype | None = None
    reduce_dtype: dtype | None = None
    output_dtype: dtype | None = None
    cast_forward_inputs: bool = True


@dataclass(frozen=True)
class OffloadPolicy:
    """Nothing would be moved to the host."""


@dataclass(frozen=True)
class CPUOffloadPolicy(OffloadPolicy):
    """Parameters, gradients and optimizer states would rest on the host."""

    pin_memory: bool = True
