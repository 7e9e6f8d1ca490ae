"""Pictures: transforms, data sets, models and operators under torchvision's names.

Under ``python -m pytorchlike`` and after ``install_as_torch()``, ``import torchvision`` gives this package. Pillow
(``pip install "pytorchlike[vision]"``) is imported when a picture is first made or read, or at once where
``import torchvision`` gives this package.
"""

import contextlib
import importlib

from .._hook import VERSIONS, is_installed
from . import _places, datasets, io, models, ops, transforms, tv_tensors, utils

__all__ = [
    "datasets", "disable_beta_transforms_warning", "get_image_backend", "io", "models", "ops", "set_image_backend",
    "transforms", "tv_tensors", "utils",
]  # fmt: skip

#: The torchvision that goes with the PyTorch that is followed.
__version__ = VERSIONS["torchvision"]


def _is_tracing() -> bool:
    """Whether PyTorch's tracer is at work, as detectors ask before they read sizes: False, as there is none."""
    return False


def disable_beta_transforms_warning() -> None:
    """There are no warnings about ``transforms.v2`` to switch off."""


def get_image_backend() -> str:
    """What reads files of pictures: "PIL"."""
    return "PIL"


def set_image_backend(backend: str) -> None:
    """Choose what reads files of pictures; there is "PIL" only. NotImplementedError for "accimage"."""
    if backend == "accimage":
        raise NotImplementedError("pictures are read by Pillow; accimage, which needs Intel's IPP, is not used")
    if backend != "PIL":
        raise ValueError(f"Invalid backend '{backend}'. Options are 'PIL' and 'accimage'")


if is_installed():  # programs that say `import PIL` alone have PIL.Image from torchvision, which imports these
    for _module in ("Image", "ImageColor", "ImageDraw", "ImageEnhance", "ImageFont", "ImageOps"):
        with contextlib.suppress(ImportError):
            importlib.import_module(f"PIL.{_module}")

_places.publish()
