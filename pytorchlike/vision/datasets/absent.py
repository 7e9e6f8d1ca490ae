"""Data sets that are not there; their names are, as libraries import them with all others and derive from them."""

from __future__ import annotations

from typing import Any

from .vision import VisionDataset

__all__ = ["ABSENT"]

_NAMES = (
    "CLEVRClassification", "CREStereo", "CarlaStereo", "Cityscapes", "ETH3DStereo", "FER2013", "FallingThingsStereo",
    "Flickr30k", "Flickr8k", "FlyingChairs", "FlyingThings3D", "HD1K", "HMDB51", "INaturalist", "InStereo2k",
    "Kinetics", "Kitti", "Kitti2012Stereo", "Kitti2015Stereo", "KittiFlow", "LFWPairs", "LFWPeople", "LSUN",
    "LSUNClass", "Middlebury2014Stereo", "MovingMNIST", "PCAM", "PhotoTour", "Places365", "QMNIST", "SBDataset", "SBU",
    "SEMEION", "SceneFlowStereo", "Sintel", "SintelStereo", "UCF101", "WIDERFace",
)  # fmt: skip


class _Absent(VisionDataset):
    """Making one raises NotImplementedError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        name = next(c.__name__ for c in type(self).__mro__ if c.__name__ in _NAMES)
        raise NotImplementedError(
            f"torchvision.datasets.{name} is not there: read its files by a Dataset of your own, or by DatasetFolder"
        )


#: Name -> class, to be found in ``torchvision.datasets``.
ABSENT = {name: type(name, (_Absent,), {"__module__": __package__, "__doc__": "Not there."}) for name in _NAMES}
