"""The base of the transforms of nested inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from pytorchlike import Tensor, nn
from pytorchlike.utils._pytree import tree_flatten, tree_unflatten

from ... import tv_tensors
from .. import _pil
from . import functional as F

__all__ = ["Transform", "check_type", "get_bounding_boxes", "get_keypoints", "has_all", "has_any", "query_chw",
           "query_size"]  # fmt: skip


def _matches(inpt: Any, kind: Any) -> bool:
    return isinstance(inpt, kind) if isinstance(kind, type) else bool(kind(inpt))


def check_type(obj: Any, types_or_checks: Sequence[Any]) -> bool:
    """Whether ``obj`` is of one of the types, or passes one of the checks."""
    return any(_matches(obj, kind) for kind in types_or_checks)


def has_any(flat_inputs: Sequence[Any], *types_or_checks: Any) -> bool:
    """Whether one of the inputs is of one of the kinds."""
    return any(check_type(inpt, types_or_checks) for inpt in flat_inputs)


def has_all(flat_inputs: Sequence[Any], *types_or_checks: Any) -> bool:
    """Whether there is an input of each of the kinds."""
    return all(has_any(flat_inputs, kind) for kind in types_or_checks)


def _first(flat_inputs: Sequence[Any], kind: type, name: str) -> Any:
    for inpt in flat_inputs:
        if isinstance(inpt, kind):
            return inpt
    raise ValueError(f"No {name} were found in the sample")


def get_bounding_boxes(flat_inputs: Sequence[Any]) -> tv_tensors.BoundingBoxes:
    """The first boxes. ValueError if there are none."""
    return _first(flat_inputs, tv_tensors.BoundingBoxes, "bounding boxes")


def get_keypoints(flat_inputs: Sequence[Any]) -> tv_tensors.KeyPoints:
    """The first points. ValueError if there are none."""
    return _first(flat_inputs, tv_tensors.KeyPoints, "keypoints")


def is_picture(inpt: Any) -> bool:
    """Whether it is a Pillow picture, an Image, a Video or a plain tensor."""
    return _pil.is_image(inpt) or (
        isinstance(inpt, Tensor)
        and not isinstance(inpt, (tv_tensors.BoundingBoxes, tv_tensors.KeyPoints, tv_tensors.Mask))
    )


def _sized(flat_inputs: Sequence[Any], *kinds: Any) -> Any:
    """An input that tells the size. TypeError if there is none, ValueError if they do not agree."""
    found = [inpt for inpt in flat_inputs if check_type(inpt, kinds)]
    if not found:
        raise TypeError("No image, video, mask, bounding box or keypoint was found in the sample")
    sizes = {tuple(F.get_size(inpt)) for inpt in found}
    if len(sizes) > 1:
        raise ValueError(f"Found multiple HxW dimensions in the sample: {sorted(sizes)}")
    return found[0]


def _size_bearing(inpt: Any) -> bool:
    return _pil.is_image(inpt) or isinstance(inpt, Tensor)


def query_size(flat_inputs: Sequence[Any]) -> tuple[int, int]:
    """(height, width) of the sample."""
    return tuple(F.get_size(_sized(flat_inputs, _size_bearing)))  # type: ignore[return-value]


def query_chw(flat_inputs: Sequence[Any]) -> tuple[int, int, int]:
    """(channels, height, width) of the sample."""
    found = [inpt for inpt in flat_inputs if is_picture(inpt)]
    if len({tuple(F.get_dimensions(inpt)) for inpt in found}) != 1:
        raise ValueError("Found no or multiple CxHxW dimensions in the sample")
    return tuple(F.get_dimensions(found[0]))  # type: ignore[return-value]


class Transform(nn.Module):
    """A transform of a sample: pictures, masks, boxes, points and other things in nested tuples, lists and dicts.

    Subclasses define ``transform(inpt, params)`` and, where something is random, ``make_params(flat_inputs)``, which is
    called once for the sample. What is no tensor and no picture passes unchanged. So do plain tensors if the sample has
    an Image, a Video or a Pillow picture; otherwise the first plain tensor is the picture, and the others pass.
    """

    #: The kinds (types, or functions that tell) of inputs that are transformed.
    _transformed_types: tuple[Any, ...] = (Tensor, _pil.is_image)

    #: Attributes that ``repr`` leaves out.
    _unshown: tuple[str, ...] = ()

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Raise for samples that cannot be transformed."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """What is random about it, for the inputs of this sample that are transformed."""
        return {}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """One input transformed."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it does")

    def forward(self, *inputs: Any) -> Any:
        flat, spec = tree_flatten(inputs if len(inputs) > 1 else inputs[0])
        self.check_inputs(flat)
        chosen = self._chosen(flat)
        params = self.make_params([x for x, change in zip(flat, chosen, strict=True) if change])
        done = [self.transform(x, params) if change else x for x, change in zip(flat, chosen, strict=True)]
        return tree_unflatten(done, spec)

    def _chosen(self, flat: list[Any]) -> list[bool]:
        pictured = has_any(flat, tv_tensors.Image, tv_tensors.Video, _pil.is_image)
        chosen, left = [], not pictured
        for inpt in flat:
            change = check_type(inpt, self._transformed_types)
            if F.is_pure_tensor(inpt):
                change, left = change and left, False
            chosen.append(change)
        return chosen

    def extra_repr(self) -> str:
        shown = []
        for name, value in self.__dict__.items():
            if name.startswith("_") or name == "training":
                continue
            if isinstance(value, F.InterpolationMode):
                value = value.value
            if name not in self._unshown and isinstance(value, (bool, int, float, str, tuple, list, Enum)):
                shown.append(f"{name}={value}")
        return ", ".join(shown)


def labels_of(getter: Any, inputs: Any) -> Any:
    """The labels of a sample: what a function, a key or the default rule finds; None for no labels.

    The default: the entry of a dict whose name has "label" in it, ``labels`` and ``label`` first, where the dict is
    the sample or its second part; or else the second part itself.
    """
    if checked_getter(getter) is None:
        return None
    if callable(getter):
        return getter(inputs)
    place = inputs[1] if isinstance(inputs, (tuple, list)) and len(inputs) > 1 else inputs
    if not isinstance(place, Mapping):
        return place
    names = [k for k in place if isinstance(k, str) and "label" in k.lower()]
    names.sort(key=lambda k: (k.lower() not in ("labels", "label"), k))
    if not names:
        raise ValueError("Could not infer where the labels are in the sample. Try passing a callable as labels_getter")
    return place[names[0]]


def checked_getter(getter: Any) -> Any:
    """A function, "default" or None. ValueError for others."""
    if getter == "default" or callable(getter) or getter is None:
        return getter
    raise ValueError(f"labels_getter should either be 'default', a callable, or None, but got {getter}.")


def checked_probability(p: float) -> float:
    """A number in [0, 1]. ValueError for others."""
    if not 0.0 <= p <= 1.0:
        raise ValueError("`p` should be a floating point value in the interval [0.0, 1.0].")
    return p


Getter = str | Callable[[Any], Any] | None
