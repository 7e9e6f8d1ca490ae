"""``torchvision.models.detection.anchor_utils``."""

from ._boxes import AnchorGenerator
from .ssd import DefaultBoxGenerator
from .transform import ImageList

__all__ = ["AnchorGenerator", "DefaultBoxGenerator", "ImageList"]
