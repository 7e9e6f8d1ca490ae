"""Transforms of pictures: of Pillow pictures and of tensors (``torchvision.transforms``)."""

from .autoaugment import *  # noqa: F403
from .transforms import *  # noqa: F403
