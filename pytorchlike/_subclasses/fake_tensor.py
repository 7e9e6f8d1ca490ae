"""Tensors without data, which PyTorch's compiler traces with. There are none here; shapes are known while recording."""

from __future__ import annotations

from typing import Any

__all__ = ["FakeTensor", "FakeTensorMode", "is_fake"]


class FakeTensor:
    """The class that no tensor here has, for programs that ask; making one raises NotImplementedError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("fake tensors are not there; device='meta' makes tensors without data")


class FakeTensorMode:
    """Not there: NotImplementedError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("fake tensors are not there; device='meta' makes tensors without data")


def is_fake(x: object) -> bool:
    """False."""
    return False
