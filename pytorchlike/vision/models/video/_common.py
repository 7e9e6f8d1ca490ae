"""What the classifiers of videos share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ...transforms._presets import VideoClassification
from .._api import builder, weights_enum

__all__ = ["define"]


def define(scope: dict[str, Any], name: str, title: str, make: Callable[..., Any], files: dict[str, str],
           **preset: Any) -> None:  # fmt: skip
    """Enter a model and its weights, trained on the 400 classes of Kinetics, into a module."""
    module = scope["__name__"]
    how = partial(VideoClassification, **preset)
    enum = weights_enum(f"{title}_Weights", module, files, classes="kinetics400", preset=how, default=[*files][0])
    scope[enum.__name__] = enum
    scope[name] = builder(name, module, enum, make, title)
    scope["__all__"].extend([enum.__name__, name])
