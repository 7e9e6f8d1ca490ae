"""Transforms made of transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..._host import picked, random
from ._base import Transform, checked_probability

__all__ = ["Compose", "Identity", "Lambda", "RandomApply", "RandomChoice", "RandomOrder"]


def _checked(transforms: Any) -> Any:
    if not isinstance(transforms, Sequence) and not hasattr(transforms, "__iter__"):
        raise TypeError("Argument transforms should be a sequence of callables")
    return transforms


class _Of(Transform):
    def __init__(self, transforms: Any) -> None:
        super().__init__()
        if not transforms:
            raise ValueError("Pass at least one transform")
        self.transforms = _checked(transforms)

    def _through(self, chosen: Any, inputs: tuple[Any, ...]) -> Any:
        """Each transform gets what the one before returned; several inputs stay several arguments."""
        many = len(inputs) > 1
        out: Any = inputs if many else inputs[0]
        for t in chosen:
            out = t(*out) if many else t(out)
        return out

    def _lines(self) -> str:
        return "\n".join(f"    {t}" for t in self.transforms)


class Compose(_Of):
    """One transform after the other. ValueError for none."""

    extra_repr = _Of._lines

    def forward(self, *inputs: Any) -> Any:
        return self._through(self.transforms, inputs)


class RandomApply(_Of):
    """All of the transforms with probability ``p``, or none."""

    def __init__(self, transforms: Any, p: float = 0.5) -> None:
        super().__init__(transforms)
        self.p = checked_probability(p)

    extra_repr = _Of._lines

    def forward(self, *inputs: Any) -> Any:
        return self._through(self.transforms if random().random() < self.p else (), inputs)


class RandomChoice(_Of):
    """One of the transforms, chosen with probabilities ``p`` (by default all alike)."""

    def __init__(self, transforms: Any, p: Sequence[float] | None = None) -> None:
        super().__init__(transforms)
        if p is not None and len(p) != len(transforms):
            raise ValueError(f"Length of p doesn't match the number of transforms: {len(p)} != {len(transforms)}")
        self.p = [1 / len(transforms)] * len(transforms) if p is None else [v / sum(p) for v in p]

    def forward(self, *inputs: Any) -> Any:
        k = int(picked(np.asarray(self.p)))
        return self._through([self.transforms[k]], inputs)


class RandomOrder(_Of):
    """All of the transforms, in random order."""

    def forward(self, *inputs: Any) -> Any:
        return self._through([self.transforms[i] for i in random().permutation(len(self.transforms))], inputs)


class Identity(Transform):
    """Everything as it is."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return inpt


class Lambda(Transform):
    """A function of each input of some types (by default all)."""

    def __init__(self, lambd: Callable[[Any], Any], *types: type) -> None:
        super().__init__()
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd, self.types = lambd, types or (object,)
        self._transformed_types = self.types

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self.lambd(inpt)

    def _chosen(self, flat: list[Any]) -> list[bool]:
        return [isinstance(x, self.types) for x in flat]

    def extra_repr(self) -> str:
        return f"{getattr(self.lambd, '__name__', 'function')}, types={[t.__name__ for t in self.types]}"
