"""Transforms of samples: pictures together with masks, boxes and points (``torchvision.transforms.v2``)."""

from ..autoaugment import AutoAugmentPolicy as AutoAugmentPolicy
from ..functional import InterpolationMode as InterpolationMode
from . import functional as functional
from ._adapted import *  # noqa: F403
from ._base import *  # noqa: F403
from ._containers import *  # noqa: F403
from ._kinds import *  # noqa: F403
from ._mix import *  # noqa: F403
from ._sampled import *  # noqa: F403
