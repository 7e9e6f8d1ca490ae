"""``torch.distributed.tensor.experimental``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["implicit_replication"]


@contextlib.contextmanager
def implicit_replication() -> Iterator[None]:
    """Lets DTensors meet ordinary tensors, which count as whole in each process; here they always do."""
    yield
