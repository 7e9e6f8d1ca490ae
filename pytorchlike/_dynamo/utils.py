"""``torch._dynamo.utils``: what optimizers of others ask of PyTorch's compiler."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def disable_cache_limit() -> Iterator[None]:
    """Nothing: how many programs a function may have is not limited by its calls."""
    yield
