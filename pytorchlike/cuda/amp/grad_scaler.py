"""``torch.cuda.amp.grad_scaler``."""

from ...amp._per_device import scaler_for
from ...amp.grad_scaler import OptState as OptState

__all__ = ["GradScaler", "OptState"]

GradScaler = scaler_for("cuda")
