"""``torch.fx.node``."""

from . import Node as Node
from . import has_side_effect as has_side_effect
from . import map_arg as map_arg
