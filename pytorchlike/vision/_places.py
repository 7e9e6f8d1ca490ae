"""torchvision's modules that are divided otherwise here: ``torchvision.models.segmentation.deeplabv3`` and such.

Programs import from them by their full names. Each is a module of its own that finds its names where they are; they
are entered into ``sys.modules`` together, so that importing ``torchvision.ops.roi_align`` does not put a module in the
place of the function of that name, as the import system would.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from .. import _hook

__all__ = ["PLACES", "publish"]

_ROOT = __package__ or ""
#: torchvision's module: the modules here that have its names, relative to this package, in the order of looking.
PLACES = {
    "_internally_replaced_utils": "..hub",
    "version": ".",
    "datasets.caltech": ".datasets.named",
    "datasets.celeba": ".datasets.named",
    "datasets.coco": ".datasets.annotated",
    "datasets.dtd": ".datasets.named",
    "datasets.fakedata": ".datasets.others",
    "datasets.flowers102": ".datasets.named",
    "datasets.food101": ".datasets.named",
    "datasets.gtsrb": ".datasets.named",
    "datasets.omniglot": ".datasets.named",
    "datasets.oxford_iiit_pet": ".datasets.named",
    "datasets.stl10": ".datasets.others",
    "datasets.svhn": ".datasets.others",
    "datasets.usps": ".datasets.named",
    "datasets.voc": ".datasets.annotated",
    "io.image": ".io",
    "models._meta": ".models._api",
    "models.detection._utils": ".models.detection.ssd .models.detection._boxes .models.detection.fcos .ops.losses",
    "models.detection.generalized_rcnn": ".models.detection.faster_rcnn",
    "models.detection.image_list": ".models.detection.transform",
    "models.detection.ssdlite": ".models.detection.ssd .models.mobilenetv3 .ops.misc",
    "models.quantization.mobilenet": ".models.quantization",
    "models.quantization.mobilenetv2": ".models.quantization .models.mobilenetv2",
    "models.quantization.resnet": ".models.quantization .models.resnet",
    "models.segmentation._utils": ".models.segmentation",
    "models.segmentation.deeplabv3": ".models.segmentation .models._utils .models.resnet .models.mobilenetv3",
    "models.segmentation.fcn": ".models.segmentation .models._utils .models.resnet",
    "models.segmentation.lraspp": ".models.segmentation .models._utils .models.mobilenetv3",
    "ops._utils": ".ops.misc",
    "ops.ciou_loss": ".ops.losses",
    "ops.deform_conv": ".ops.deform",
    "ops.diou_loss": ".ops.losses",
    "ops.drop_block": ".ops.misc",
    "ops.focal_loss": ".ops.misc",
    "ops.giou_loss": ".ops.losses",
    "ops.poolers": ".ops.roi .ops.boxes",
    "ops.ps_roi_align": ".ops.roi",
    "ops.ps_roi_pool": ".ops.roi",
    "ops.roi_align": ".ops.roi",
    "ops.roi_pool": ".ops.roi",
    "ops.stochastic_depth": ".ops.misc",
    "transforms._functional_pil": ".transforms._pil .transforms.functional",
    "transforms._functional_tensor": ".transforms._tensor .transforms.functional",
    "transforms.v2._augment": ".transforms.v2",
    "transforms.v2._auto_augment": ".transforms.v2",
    "transforms.v2._color": ".transforms.v2",
    "transforms.v2._container": ".transforms.v2",
    "transforms.v2._deprecated": ".transforms.v2",
    "transforms.v2._geometry": ".transforms.v2",
    "transforms.v2._meta": ".transforms.v2",
    "transforms.v2._misc": ".transforms.v2",
    "transforms.v2._temporal": ".transforms.v2",
    "transforms.v2._transform": ".transforms.v2",
    "transforms.v2._type_conversion": ".transforms.v2",
    "transforms.v2._utils": ".transforms.v2._base .transforms.v2.functional",
    "tv_tensors._bounding_boxes": ".tv_tensors",
    "tv_tensors._image": ".tv_tensors",
    "tv_tensors._keypoints": ".tv_tensors",
    "tv_tensors._mask": ".tv_tensors",
    "tv_tensors._tv_tensor": ".tv_tensors",
    "tv_tensors._video": ".tv_tensors",
}  # fmt: skip


class _Place(ModuleType):
    """A module without names of its own."""

    def __init__(self, name: str, targets: str) -> None:
        super().__init__(name, f"``{', '.join(targets.split())}`` under torchvision's name.")
        self._targets = targets.split()
        self.__spec__ = ModuleSpec(name, None)
        self.__package__ = name.rpartition(".")[0]

    def _modules(self) -> list[ModuleType]:
        return [importlib.import_module(target, _ROOT) for target in self._targets]

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return dir(self)
        if name == "__version__" or not name.startswith("__"):
            for module in self._modules():
                if hasattr(module, name):
                    return getattr(module, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({n for module in self._modules() for n in vars(module) if not n.startswith("_")})


def publish() -> None:
    """Enter the modules into ``sys.modules``, and into those that contain them where the name is free."""
    for place, targets in PLACES.items():
        name = f"{_ROOT}.{place}"
        module = sys.modules[name] = _Place(name, targets)
        if _hook.is_installed():
            _hook.publish(module)
        parent, _, last = name.rpartition(".")
        if parent in sys.modules and last not in vars(sys.modules[parent]):
            setattr(sys.modules[parent], last, module)
