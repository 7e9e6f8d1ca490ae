"""What is said to ``fully_shard``: descriptions, which compare by value."""

from __future__ import annotations

from dataclasses import dataclass

from ...tensor.dtype import dtype

__all__ = ["CPUOffloadPolicy", "MixedPrecisionPolicy", "OffloadPolicy"]


@dataclass(frozen=True)
class MixedPrecisionPolicy:
    """The dtypes that parameters are gathered in, gradients added up in, and outputs given back in; None: as they are.

    cast_forward_inputs: inputs get the parameters' dtype.
    """

    param_dtype: dtype | None = None
    reduce_dtype: dtype | None = None
    output_dtype: dtype | None = None
    cast_forward_inputs: bool = True


@dataclass(frozen=True)
class OffloadPolicy:
    """Nothing is moved to the host."""


@dataclass(frozen=True)
class CPUOffloadPolicy(OffloadPolicy):
    """Parts of parameters, their gradients and optimizer states rest on the host. pin_memory: there is no need to."""

    pin_memory: bool = True
