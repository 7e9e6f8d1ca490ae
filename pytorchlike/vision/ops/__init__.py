"""Operators and layers of vision (``torchvision.ops``)."""

from .boxes import *  # noqa: F403
from .deform import *  # noqa: F403
from .losses import *  # noqa: F403
from .misc import *  # noqa: F403
from .roi import *  # noqa: F403
