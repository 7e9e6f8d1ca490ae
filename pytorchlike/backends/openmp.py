"""``torch.backends.openmp``: OpenMP is not used; XLA has threads of its own."""

from __future__ import annotations


def is_available() -> bool:
    """False."""
    return False
