"""``torch.backends.mha``: whether ``nn.TransformerEncoder`` may take its fast path: what is padded is zero then."""

from __future__ import annotations

__all__ = ["get_fastpath_enabled", "set_fastpath_enabled"]

_state = {"enabled": True}


def get_fastpath_enabled() -> bool:
    """What was set, True at first."""
    return _state["enabled"]


def set_fastpath_enabled(value: bool) -> None:
    """Whether rows of padded batches may be left out (see ``nn.TransformerEncoder``)."""
    _state["enabled"] = bool(value)
