"""``torch.cuda.amp.common``."""

from ...amp._per_device import amp_definitely_not_available as amp_definitely_not_available

__all__ = ["amp_definitely_not_available"]
