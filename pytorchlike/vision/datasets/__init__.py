"""Data sets of pictures (``torchvision.datasets``)."""

from .annotated import CocoCaptions, CocoDetection, VOCDetection, VOCSegmentation
from .cifar import CIFAR10, CIFAR100
from .folder import DatasetFolder, ImageFolder
from .mnist import EMNIST, KMNIST, MNIST, FashionMNIST
from .named import (
    DTD,
    GTSRB,
    USPS,
    Caltech101,
    Caltech256,
    CelebA,
    Flowers102,
    Food101,
    Omniglot,
    OxfordIIITPet,
)  # fmt: skip
from .others import STL10, SVHN, FakeData
from .vision import VisionDataset

__all__ = [
    "DTD", "GTSRB", "USPS", "Caltech101", "Caltech256", "CelebA", "Flowers102", "Food101", "Omniglot", "OxfordIIITPet",
    "CIFAR10", "CIFAR100", "EMNIST", "KMNIST", "MNIST", "STL10", "SVHN", "CocoCaptions", "CocoDetection",
    "DatasetFolder", "FakeData", "FashionMNIST", "ImageFolder", "VOCDetection", "VOCSegmentation", "VisionDataset",
]  # fmt: skip
