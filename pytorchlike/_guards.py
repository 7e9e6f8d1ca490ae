"""``torch._guards``: which fake tensors are about; there is nothing else of PyTorch's compiler here."""

from __future__ import annotations

from typing import Any

__all__ = ["active_fake_mode", "detect_fake_mode"]


def active_fake_mode() -> Any:
    """The innermost FakeTensorMode; None if there is none."""
    from ._dispatch import offers
    from ._subclasses.fake_tensor import FakeTensorMode

    return next((m for m in reversed(offers.state.modes) if isinstance(m, FakeTensorMode)), None)


def detect_fake_mode(inputs: Any = None) -> Any:
    """The active FakeTensorMode, or that of the first fake tensor among the inputs; None if there is none."""
    from ._subclasses.fake_tensor import FakeTensor
    from .utils._pytree import tree_leaves

    return active_fake_mode() or next((x.fake_mode for x in tree_leaves(inputs) if isinstance(x, FakeTensor)), None)
