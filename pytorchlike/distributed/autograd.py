"""``torch.distributed.autograd``: reverse passes through remote procedure calls, which are not there."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["backward", "context", "get_gradients", "is_available"]


def is_available() -> bool:
    """False."""
    return False


def _refuse(name: str) -> NoReturn:
    raise NotImplementedError(f"torch.distributed.autograd.{name} is for remote procedure calls, which are not there; "
                              "gradients pass through collectives by torch.distributed.nn.functional")


def backward(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError."""
    _refuse("backward")


def context(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError."""
    _refuse("context")


def get_gradients(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError."""
    _refuse("get_gradients")
