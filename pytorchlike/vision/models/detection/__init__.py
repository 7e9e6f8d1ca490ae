"""Detection of objects (``torchvision.models.detection``)."""

from .faster_rcnn import *  # noqa: F403
from .mask_rcnn import *  # noqa: F403
