"""``torch.distributed.rpc``: there are no remote procedure calls."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["init_rpc", "is_available"]


def is_available() -> bool:
    """False."""
    return False


def init_rpc(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError."""
    raise NotImplementedError("torch.distributed.rpc: there are no remote procedure calls between processes; send "
                              "objects by torch.distributed.send_object_list and recv_object_list, or have a library "
                              "for calls (multiprocessing.managers, Ray) run them")
