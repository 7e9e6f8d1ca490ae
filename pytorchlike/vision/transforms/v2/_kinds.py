"""Transforms from one kind of input, type or format to another."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor
from pytorchlike.utils._pytree import tree_flatten, tree_unflatten

from ... import tv_tensors
from ...tv_tensors import BoundingBoxes, BoundingBoxFormat, KeyPoints
from .. import _pil
from . import functional as F
from ._base import Getter, Transform, checked_getter, get_bounding_boxes, get_keypoints, is_picture, labels_of

__all__ = [
    "ClampBoundingBoxes", "ClampKeyPoints", "ConvertBoundingBoxFormat", "ConvertImageDtype", "PILToTensor", "RGB",
    "SanitizeBoundingBoxes", "SanitizeKeyPoints", "SetClampingMode", "ToDtype", "ToImage", "ToPILImage",
    "ToPureTensor", "ToTensor",
]  # fmt: skip


def _is_array(inpt: Any) -> bool:
    return isinstance(inpt, np.ndarray)


class ToImage(Transform):
    """Pillow pictures, arrays (H, W, C) and plain tensors as ``tv_tensors.Image``, values unchanged."""

    _transformed_types = (F.is_pure_tensor, _pil.is_image, _is_array)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.to_image(inpt)


class PILToTensor(Transform):
    """Pillow pictures as plain tensors (C, H, W)."""

    _transformed_types = (_pil.is_image,)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.pil_to_tensor(inpt)


class ToPILImage(Transform):
    """Tensors (C, H, W) and arrays (H, W, C) as Pillow pictures."""

    _transformed_types = (F.is_pure_tensor, tv_tensors.Image, _is_array)

    def __init__(self, mode: str | None = None) -> None:
        super().__init__()
        self.mode = mode

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.to_pil_image(tv_tensors.plain(inpt), self.mode)


class ToPureTensor(Transform):
    """Tensors of all kinds as plain tensors."""

    _transformed_types = (tv_tensors.TVTensor,)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return tv_tensors.plain(inpt)


class ToTensor(Transform):
    """Pillow pictures and arrays as float tensors in [0, 1]; ``ToImage`` and ``ToDtype`` are its two parts."""

    _transformed_types = (_pil.is_image, _is_array)

    def __init__(self) -> None:
        warnings.warn(
            "The transform `ToTensor()` is deprecated. Instead, please use "
            "`v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])`.", UserWarning, stacklevel=2,
        )  # fmt: skip
        super().__init__()

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.to_tensor(inpt)


class ToDtype(Transform):
    """Another type, for pictures (one type), or for some kinds of input ({type: dtype or None, "others": …}).

    scale: values of pictures are scaled to the range of the type.
    """

    _transformed_types = (Tensor,)

    def __init__(self, dtype: Any, scale: bool = False) -> None:
        super().__init__()
        if not isinstance(dtype, (Mapping, torch.dtype)):
            raise ValueError(f"dtype must be a dict or a torch.dtype, got {type(dtype)} instead")
        if isinstance(dtype, Mapping) and Tensor in dtype and {tv_tensors.Image, tv_tensors.Video} & dtype.keys():
            warnings.warn("Got `dtype` values for `torch.Tensor` and either `Image` or `Video`: plain tensors are not "
                          "transformed where there is an Image or a Video", stacklevel=2)  # fmt: skip
        self.dtype, self.scale = dtype, scale

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(self.dtype, Mapping):
            return F.to_dtype(inpt, self.dtype, self.scale) if is_picture(inpt) else inpt
        for key in (type(inpt), "others"):
            if key in self.dtype:
                found = self.dtype[key]
                return inpt if found is None else F.to_dtype(inpt, found, self.scale)
        raise ValueError(
            f"No dtype was specified for type {type(inpt)}. Consider adding `\"others\": None` to the dtype dict."
        )


class ConvertImageDtype(Transform):
    """``ToDtype`` with ``scale``, for pictures."""

    _transformed_types = (is_picture,)

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.to_dtype(inpt, self.dtype, scale=True)


class RGB(Transform):
    """Pictures of one channel as pictures of three."""

    _transformed_types = (is_picture,)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.grayscale_to_rgb(inpt)


class ConvertBoundingBoxFormat(Transform):
    """Boxes in another format."""

    _transformed_types = (BoundingBoxes,)

    def __init__(self, format: str | BoundingBoxFormat) -> None:
        super().__init__()
        self.format = BoundingBoxFormat[format.upper()] if isinstance(format, str) else format

    def extra_repr(self) -> str:
        return f"format={self.format.name}"

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.convert_bounding_box_format(inpt, new_format=self.format)


class ClampBoundingBoxes(Transform):
    """Boxes cut to their picture."""

    _transformed_types = (BoundingBoxes,)

    def __init__(self, clamping_mode: Any = "auto") -> None:
        super().__init__()
        self.clamping_mode = clamping_mode

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.clamp_bounding_boxes(inpt, clamping_mode=self.clamping_mode)


class SetClampingMode(Transform):
    """Whether later transforms cut boxes to their picture: "soft", "hard" or None."""

    _transformed_types = (BoundingBoxes,)

    def __init__(self, clamping_mode: str | None) -> None:
        super().__init__()
        if clamping_mode not in ("soft", "hard", None):
            raise ValueError(f"clamping_mode must be soft, hard or None, got {clamping_mode}")
        self.clamping_mode = clamping_mode

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return tv_tensors.wrap(inpt, like=inpt, clamping_mode=self.clamping_mode)


class ClampKeyPoints(Transform):
    """Points moved to the nearest pixel of their picture."""

    _transformed_types = (KeyPoints,)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.clamp_keypoints(inpt)


class SanitizeBoundingBoxes(Transform):
    """Drop boxes that are too small or reach out of the picture, with the masks and labels of these objects.

    min_size: of each side.   min_area: of the box.   labels_getter: where the labels are, see ``labels_of``; what it
    finds must be tensors, one or several in a tuple, that are parts of the sample.
    """

    def __init__(self, min_size: float = 1.0, min_area: float = 1.0, labels_getter: Getter = "default") -> None:
        super().__init__()
        if min_size < 1:
            raise ValueError(f"min_size must be >= 1, got {min_size}.")
        if min_area < 1:
            raise ValueError(f"min_area must be >= 1, got {min_area}.")
        self.min_size, self.min_area, self.labels_getter = min_size, min_area, checked_getter(labels_getter)

    def forward(self, *inputs: Any) -> Any:
        sample = inputs if len(inputs) > 1 else inputs[0]
        groups = _label_groups(self.labels_getter, sample)
        flat, spec = tree_flatten(sample)
        boxes = get_bounding_boxes(flat)
        if any(len(group) != len(boxes) for group in groups):
            raise ValueError(f"Number of boxes (shape={tuple(boxes.shape)}) and labels do not match.")
        kept, valid = F.sanitize_bounding_boxes(boxes, min_size=self.min_size, min_area=self.min_area)

        def change(x: Any) -> Any:
            if x is boxes:
                return kept
            chosen = any(x is group for group in groups)
            of_objects = isinstance(x, tv_tensors.Mask) and x.ndim == 3 and len(x) == len(valid)
            return _chosen(x, valid) if chosen or of_objects else x

        return tree_unflatten([change(x) for x in flat], spec)


class SanitizeKeyPoints(Transform):
    """Drop points outside of their picture, and objects of several points with one outside, with their labels.

    labels_getter: where the labels are, see ``labels_of``; what it finds must be tensors, one or several in a tuple,
    that are parts of the sample.  The first points of a sample tell which of the others stay.
    """

    def __init__(self, labels_getter: Getter = None) -> None:
        super().__init__()
        self.labels_getter = checked_getter(labels_getter)

    def forward(self, *inputs: Any) -> Any:
        sample = inputs if len(inputs) > 1 else inputs[0]
        groups = _label_groups(self.labels_getter, sample)
        flat, spec = tree_flatten(sample)
        points = get_keypoints(flat)
        for group in groups:
            if len(group) != len(points):
                raise ValueError(f"Number of keypoints (shape={tuple(points.shape)}) must match the number of labels. "
                                 f"Found labels with shape={tuple(group.shape)}.")  # fmt: skip
        _, valid = F.sanitize_keypoints(points)
        kept = [isinstance(x, KeyPoints) or any(x is group for group in groups) for x in flat]
        return tree_unflatten([_chosen(x, valid) if keep else x for x, keep in zip(flat, kept, strict=True)], spec)


def _label_groups(getter: Any, sample: Any) -> list[Tensor]:
    """The tensors of labels in a sample. ValueError if there is something else."""
    labels = labels_of(getter, sample)
    groups = [] if labels is None else [*labels] if isinstance(labels, (tuple, list)) else [labels]
    if not all(isinstance(group, Tensor) for group in groups):
        raise ValueError(f"The labels in the input to forward() must be a tensor or None, got {type(labels)}.")
    return groups


def _chosen(x: Any, valid: Tensor) -> Any:
    """Those rows, of the same kind."""
    return tv_tensors.wrap(tv_tensors.plain(x)[torch.from_numpy(valid.cpu().numpy())], like=x)
