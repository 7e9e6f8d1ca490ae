"""Models by name, and their published weights."""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

from pytorchlike import nn

from ..transforms._presets import ImageClassification
from ..transforms.functional import InterpolationMode
from ._meta import class_names

__all__ = ["Weights", "WeightsEnum", "get_model", "get_model_builder", "get_model_weights", "get_weight", "list_models"]

_ROOT = "https://download.pytorch.org/models/"
#: What presets of networks take that were trained for pictures resized so.
BICUBIC = {"interpolation": InterpolationMode.BICUBIC}


def swag(name: str, size: int, whole: str, head: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Files of weights from weakly labelled pictures: trained whole for ``size`` pixels, and with a linear head only.

    whole, head: what their names end in.
    """
    return {
        "IMAGENET1K_SWAG_E2E_V1": (f"{name}_swag-{whole}.pth", {"crop_size": size, "resize_size": size, **BICUBIC}),
        "IMAGENET1K_SWAG_LINEAR_V1": (f"{name}_lc_swag-{head}.pth", {"resize_size": 224, **BICUBIC}),
    }


@dataclass(eq=False)
class Weights:
    """A file of weights: where it is, how pictures are prepared for it, what else is known."""

    url: str
    transforms: Callable[..., Any]
    meta: dict[str, Any] = field(default_factory=dict)


class WeightsEnum(Enum):
    """The weights that a model has; ``DEFAULT`` are the best ones."""

    @classmethod
    def verify(cls, obj: Any) -> WeightsEnum | None:
        """The member that ``obj`` is or names. KeyError for unknown names, TypeError for members of others."""
        if obj is None:
            return None
        if isinstance(obj, str):
            return cls[obj.replace(cls.__name__ + ".", "")]
        if not isinstance(obj, cls):
            raise TypeError(
                f"Invalid Weight class provided; expected {cls.__name__} but received {type(obj).__name__}."
            )
        return obj

    def get_state_dict(self, *args: Any, **kwargs: Any) -> Mapping[str, Any]:
        """The tensors, from ``torch.hub``'s directory of files or downloaded into it."""
        from pytorchlike import hub

        kwargs.setdefault("weights_only", True)
        return hub.load_state_dict_from_url(self.url, *args, **kwargs)

    @property
    def url(self) -> str:
        """Where the file is."""
        return self.value.url

    @property
    def transforms(self) -> Callable[..., Any]:
        """Makes the transform of pictures."""
        return self.value.transforms

    @property
    def meta(self) -> dict[str, Any]:
        """What is known besides: the names of the classes under "categories"."""
        return self.value.meta

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


def weights_enum(
    name: str, module: str, files: dict[str, str | tuple[str, dict[str, Any]]], crop: int = 224, resize: int = 256,
    default: str | None = None, classes: str | None = "imagenet", preset: Callable[..., Any] | None = None,
    root: str = _ROOT,
) -> type[WeightsEnum]:  # fmt: skip
    """The enumeration of some files, each a name, or a name with what its preset takes otherwise.

    Second versions were trained for pictures resized to 232 pixels.   classes: a list of ``class_names``.
    """
    members: dict[str, Any] = {}
    known: dict[str, Any] = {}
    if classes is not None:
        known = {"num_classes": len(class_names[classes]), "categories": class_names[classes]}
        if f"{classes}_keypoints" in class_names:
            known["keypoint_names"] = class_names[f"{classes}_keypoints"]
    for key, given in files.items():
        file, own = (given, {}) if isinstance(given, str) else given
        how = preset
        if how is None:
            sizes = {"crop_size": crop, "resize_size": 232 if key == "IMAGENET1K_V2" and resize == 256 else resize}
            how = partial(ImageClassification, **{**sizes, **own})
        members[key] = Weights(root + file, how, dict(known))
    if files:
        members["DEFAULT"] = members[default or [*files][-1]]
    return WeightsEnum(name, members, module=module)  # type: ignore[return-value]


_builders: dict[str, Callable[..., nn.Module]] = {}
_weights: dict[str, type[WeightsEnum]] = {}
_modules: dict[str, str] = {}


def builder(name: str, module: str, enum: type[WeightsEnum], make: Callable[..., nn.Module], about: str,
            adapt: Callable[..., Any] | None = None, before: Callable[[dict], Any] | None = None,
            sized: bool = False) -> Any:  # fmt: skip
    """The public function ``name(*, weights=None, progress=True, **kwargs)`` that makes a model.

    make: gets the other keywords.   adapt: of the tensors read.   before: changes the keywords if there are weights.
    sized: the weights are for pictures of one size, ``image_size``.
    """

    def build(*args: Any, weights: Any = None, progress: bool = True, **kwargs: Any) -> nn.Module:
        if args:  # the first of old programs' arguments was `pretrained`
            kwargs = {"pretrained": args[0], **kwargs}
        if "pretrained" in kwargs:
            warnings.warn(
                "The parameter 'pretrained' is deprecated since 0.13, please use 'weights' instead.",
                UserWarning, stacklevel=2,
            )  # fmt: skip
            if kwargs.pop("pretrained") is True:  # of two versions, those that there were at the time
                weights = "IMAGENET1K_V1" if "IMAGENET1K_V1" in enum.__members__ else "DEFAULT"
        found = enum.verify(weights)
        if found is None:
            return make(**kwargs)
        fixed = {"num_classes": found.meta["num_classes"]} if "num_classes" in found.meta else {}
        if sized:
            fixed["image_size"] = found.transforms.keywords["crop_size"]
        for key, known in fixed.items():
            if kwargs.setdefault(key, known) != known:
                raise ValueError(f"The parameter '{key}' expected value {known} but got {kwargs[key]} instead.")
        after = None if before is None else before(kwargs)
        model = make(**kwargs)
        state = found.get_state_dict(progress=progress, check_hash=True)
        model.load_state_dict(state if adapt is None else adapt(state))
        if after is not None:
            after(model)
        return model

    build.__name__ = build.__qualname__ = name
    build.__module__ = module
    build.__doc__ = f"{about}\n\nweights: None (random), a {enum.__name__}, or its name. Other keywords: the class's."
    _builders[name], _weights[name], _modules[name] = build, enum, module
    return build


def register_model(name: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that adds a function to the models that ``get_model`` knows."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        key = function.__name__ if name is None else name
        if key in _builders:
            raise ValueError(f"An entry is already registered under the name '{key}'.")
        _builders[key], _modules[key] = function, function.__module__
        return function

    return add


def list_models(
    module: Any = None, include: str | Iterable[str] | None = None, exclude: str | Iterable[str] | None = None
) -> list[str]:
    """Names of models, sorted; of one module, of some patterns (``"resnet*"``), and not of others."""
    names = {n for n in _builders if module is None or _modules[n].rsplit(".", 1)[0] == module.__name__}
    if include:
        patterns = [include] if isinstance(include, str) else [*include]
        names = {n for n in names if any(fnmatch.fnmatch(n, p) for p in patterns)}
    if exclude:
        patterns = [exclude] if isinstance(exclude, str) else [*exclude]
        names = {n for n in names if not any(fnmatch.fnmatch(n, p) for p in patterns)}
    return sorted(names)


def get_model_builder(name: str) -> Callable[..., nn.Module]:
    """The function that makes a model. ValueError if there is none of this name."""
    try:
        return _builders[name.lower()]
    except KeyError:
        raise ValueError(f"Unknown model {name}; list_models() names them") from None


def get_model(name: str, **config: Any) -> nn.Module:
    """A model by name."""
    return get_model_builder(name)(**config)


def get_model_weights(name: Callable | str) -> type[WeightsEnum]:
    """The enumeration of a model's weights."""
    key = name.lower() if isinstance(name, str) else name.__name__
    if key not in _weights:
        raise ValueError(f"Unknown model {key}")
    return _weights[key]


def get_weight(name: str) -> WeightsEnum:
    """The weights named, as in ``"ResNet50_Weights.IMAGENET1K_V2"``. ValueError if there are none."""
    enum, dot, member = name.partition(".")
    for found in _weights.values():
        if found.__name__ == enum and dot and member in found.__members__:
            return found[member]
    raise ValueError(f"The weight {name} is unknown; expected '<model>_Weights.<name>'")
