"""``torch.quantization``: the older place of :mod:`torch.ao.quantization`."""

from ..ao.quantization import *  # noqa: F403
