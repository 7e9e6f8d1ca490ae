"""``torch.utils.data.datapipes``: datasets made of others step by step, as ``pipe.map(f).shuffle().batch(4)``."""

from . import iter as iter
from . import map as map
