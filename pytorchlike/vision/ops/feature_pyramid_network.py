"""``torchvision.ops.feature_pyramid_network``."""

from .misc import FeaturePyramidNetwork, LastLevelMaxPool, LastLevelP6P7

__all__ = ["FeaturePyramidNetwork", "LastLevelMaxPool", "LastLevelP6P7"]
