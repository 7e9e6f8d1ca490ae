"""``PostLocalSGDState``, for programs that ask for its class."""

from __future__ import annotations

from typing import Any

__all__ = ["PostLocalSGDState"]


class PostLocalSGDState:
    """Averaging of parameters after local steps: not there (NotImplementedError)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("post-local SGD averages between processes, of which there is one")
