"""Modules of settings that nothing depends on, kept for programs that set them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["patcher"]


def patcher(space: dict[str, Any]) -> Callable[..., contextlib.AbstractContextManager[None]]:
    """The ``patch`` of a module of settings, given its globals."""

    @contextlib.contextmanager
    def patch(arg: str | dict[str, Any] | None = None, value: Any = None, **changes: Any) -> Iterator[None]:
        """Within the block settings have other values: ``patch("name", value)``, a dict, or ``patch(name=value)``.

        Nothing depends on them, as with all of these settings.
        """
        told = {arg: value} if isinstance(arg, str) else {**(arg or {}), **changes}
        before = {name: space[name] for name in told if name in space}
        space.update(told)
        try:
            yield
        finally:
            for name in told:
                del space[name]
            space.update(before)

    return patch
