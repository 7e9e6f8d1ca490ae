"""``torch.distributed._tensor.experimental``."""

from ..tensor.experimental import *  # noqa: F403
