"""``torch.cuda.amp.autocast_mode``."""

from ...amp._per_device import autocast_for, custom_for
from ...tensor.dtype import float16

__all__ = ["autocast", "custom_bwd", "custom_fwd"]

autocast = autocast_for("cuda", float16)
custom_fwd = custom_for("custom_fwd", "cuda")
custom_bwd = custom_for("custom_bwd", "cuda")
