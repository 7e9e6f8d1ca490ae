"""``torch.backends.mha``: whether ``nn.TransformerEncoder`` may take its fast path; XLA compiles both alike."""

from __future__ import annotations

__all__ = ["get_fastpath_enabled", "set_fastpath_enabled"]

_state = {"enabled": True}


def get_fastpath_enabled() -> bool:
    """What was set, True at first."""
    return _state["enabled"]


def set_fastpath_enabled(value: bool) -> None:
    """A hint, which is kept: the results are the same."""
    _state["enabled"] = bool(value)
