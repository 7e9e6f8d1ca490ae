"""``torch.distributed.tensor.device_mesh``: the meshes of ``torch.distributed.device_mesh``."""

from ..device_mesh import *  # noqa: F403
