"""The ``reduction`` argument of losses, and the two boolean arguments it replaced."""

from __future__ import annotations

from ..engine.errors import warn

__all__ = ["elementwise_mean", "get_enum", "legacy_get_enum", "legacy_get_string"]


def elementwise_mean() -> str:
    """The reduction that was called "elementwise_mean" once."""
    warn("reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.")
    return "mean"


def get_enum(reduction: str) -> int:
    """0, 1 or 2 for none, mean and sum.

    Raises:  ValueError for another name.
    """
    if reduction == "elementwise_mean":
        reduction = elementwise_mean()
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction; use 'none', 'mean' or 'sum'")
    return ("none", "mean", "sum").index(reduction)


def legacy_get_string(size_average: bool | None, reduce: bool | None, emit_warning: bool = True) -> str:
    """The reduction that the old pair of arguments stands for; None counts as True."""
    averaged, reduced = size_average is None or size_average, reduce is None or reduce
    reduction = "none" if not reduced else "mean" if averaged else "sum"
    if emit_warning:
        warn(f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.")
    return reduction


def legacy_get_enum(size_average: bool | None, reduce: bool | None, emit_warning: bool = True) -> int:
    """get_enum of legacy_get_string."""
    return get_enum(legacy_get_string(size_average, reduce, emit_warning))
