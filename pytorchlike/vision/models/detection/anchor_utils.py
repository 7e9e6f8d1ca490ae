"""``torchvision.models.detection.anchor_utils``."""

from ._boxes import AnchorGenerator

__all__ = ["AnchorGenerator"]
