"""``torch.backends.nnpack``: NNPACK is not used."""

from __future__ import annotations

__all__ = ["is_available", "set_flags"]


def is_available() -> bool:
    """False."""
    return False


def set_flags(_enabled: bool) -> tuple[bool]:
    """A hint about a library that is not used; returns what was set before: False."""
    return (False,)
