"""``torch.jit._state``: whether TorchScript is switched on, which programs ask before they script something."""

from __future__ import annotations

import os


class _Enabled:
    """True unless ``PYTORCH_JIT=0`` or :func:`disable` says otherwise; ``script`` returns what it is given anyway."""

    def __init__(self) -> None:
        self.enabled = os.environ.get("PYTORCH_JIT", "1") == "1"

    def __bool__(self) -> bool:
        return self.enabled


_enabled = _Enabled()


def enable() -> None:
    """``bool(_enabled)`` is True from now on."""
    _enabled.enabled = True


def disable() -> None:
    """``bool(_enabled)`` is False from now on."""
    _enabled.enabled = False
