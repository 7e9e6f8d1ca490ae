"""Classifiers of videos (``torchvision.models.video``): (N, 3, frames, height, width) -> (N, num_classes)."""

from .mvit import *  # noqa: F403
from .resnet import *  # noqa: F403
from .s3d import *  # noqa: F403
from .swin_transformer import *  # noqa: F403
