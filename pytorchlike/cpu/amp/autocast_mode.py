"""``torch.cpu.amp.autocast_mode``."""

from ...amp._per_device import autocast_for
from ...tensor.dtype import bfloat16

__all__ = ["autocast"]

autocast = autocast_for("cpu", bfloat16)
