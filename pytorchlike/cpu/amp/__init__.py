"""``torch.cpu.amp``: ``torch.amp`` under its old names, for the CPU."""

from .autocast_mode import autocast as autocast
from .grad_scaler import GradScaler as GradScaler

__all__ = ["GradScaler", "autocast"]
