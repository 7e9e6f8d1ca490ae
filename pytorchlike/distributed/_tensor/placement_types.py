"""``torch.distributed._tensor.placement_types``: the former place of ``torch.distributed.tensor.placement_types``."""

from ..tensor._dtensor_spec import *  # noqa: F403
from ..tensor.placement_types import *  # noqa: F403
