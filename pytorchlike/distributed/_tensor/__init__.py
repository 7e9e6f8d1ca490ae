"""``torch.distributed._tensor``: the former name of ``torch.distributed.tensor``."""

from ..tensor import *  # noqa: F403
