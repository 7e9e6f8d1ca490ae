"""``torch._dynamo.compiled_autograd``: backward passes are compiled whole here, hooks aside, whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__: list[str] = []


@contextmanager
def _enable(compiler_fn: Callable[..., Any], dynamic: bool = True,
            ignore_active_disable_ctx: bool = True) -> Iterator[None]:  # fmt: skip
    """Backward passes in this block are what they are everywhere."""
    yield
