"""``torch.cpu.amp.grad_scaler``."""

from ...amp._per_device import scaler_for

__all__ = ["GradScaler"]

GradScaler = scaler_for("cpu")
