"""``torch.distributed._tensor.placement_types``: the former place of ``torch.distributed.tensor.placement_types``."""

from ..tensor.placement_types import *  # noqa: F403
