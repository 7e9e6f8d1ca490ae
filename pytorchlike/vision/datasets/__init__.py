"""Data sets of pictures (``torchvision.datasets``)."""

from .absent import ABSENT
from .annotated import CocoCaptions, CocoDetection, VOCDetection, VOCSegmentation
from .cifar import CIFAR10, CIFAR100
from .folder import DatasetFolder, ImageFolder
from .imagenet import ImageNet, Imagenette
from .mnist import EMNIST, KMNIST, MNIST, FashionMNIST
from .named import (
    DTD,
    GTSRB,
    SUN397,
    USPS,
    Caltech101,
    Caltech256,
    CelebA,
    Country211,
    EuroSAT,
    FGVCAircraft,
    Flowers102,
    Food101,
    Omniglot,
    OxfordIIITPet,
    RenderedSST2,
    StanfordCars,
)  # fmt: skip
from .others import STL10, SVHN, FakeData
from .vision import VisionDataset
from .wrapped import wrap_dataset_for_transforms_v2

globals().update(ABSENT)

__all__ = [
    "DTD", "GTSRB", "SUN397", "USPS", "Caltech101", "Caltech256", "CelebA", "Country211", "EuroSAT", "FGVCAircraft",
    "Flowers102", "Food101", "Omniglot", "OxfordIIITPet", "RenderedSST2", "StanfordCars", "CIFAR10", "CIFAR100",
    "EMNIST", "KMNIST", "MNIST", "STL10", "SVHN", "CocoCaptions", "CocoDetection", "DatasetFolder", "FakeData",
    "FashionMNIST", "ImageFolder", "ImageNet", "Imagenette", "VOCDetection", "VOCSegmentation", "VisionDataset",
    "wrap_dataset_for_transforms_v2", *ABSENT,
]  # fmt: skip
