"""The base of the data sets of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ...utils.data import Dataset

__all__ = ["StandardTransform", "VisionDataset"]


class StandardTransform:
    """``transform`` for the picture, ``target_transform`` for the target."""

    def __init__(self, transform: Callable | None = None, target_transform: Callable | None = None) -> None:
        self.transform, self.target_transform = transform, target_transform

    def __call__(self, input: Any, target: Any) -> tuple[Any, Any]:
        if self.transform is not None:
            input = self.transform(input)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return input, target

    def __repr__(self) -> str:
        lines = ["StandardTransform"]
        for name, t in (("Transform", self.transform), ("Target transform", self.target_transform)):
            if t is not None:
                lines += [f"{name}: {t}".replace("\n", "\n" + " " * (len(name) + 2))]
        return "\n".join(lines)


class VisionDataset(Dataset):
    """Pictures with targets below ``root``.

    transforms: a function (picture, target) -> (picture, target); or ``transform`` and ``target_transform`` apart.
    Raises ValueError if both ways are used.
    """

    _repr_indent = 4

    def __init__(
        self, root: str | os.PathLike | None = None, transforms: Callable | None = None,
        transform: Callable | None = None, target_transform: Callable | None = None,
    ) -> None:  # fmt: skip
        self.root = os.path.expanduser(root) if isinstance(root, str) else root
        if transforms is not None and (transform is not None or target_transform is not None):
            raise ValueError("Only transforms or transform/target_transform can be passed as argument")
        self.transform, self.target_transform = transform, target_transform
        if transform is not None or target_transform is not None:
            transforms = StandardTransform(transform, target_transform)
        self.transforms = transforms

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not say what its items are")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} does not say how many items it has")

    def _transformed(self, img: Any, target: Any) -> tuple[Any, Any]:
        if self.transform is not None:
            img = self.transform(img)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return img, target

    def extra_repr(self) -> str:
        """More lines for ``repr``."""
        return ""

    def __repr__(self) -> str:
        body = [f"Number of datapoints: {len(self)}"]
        if self.root is not None:
            body.append(f"Root location: {self.root}")
        body += self.extra_repr().splitlines()
        if self.transforms is not None:
            body.append(repr(self.transforms))  # whose further lines are not indented, as in torchvision
        return "\n".join([f"Dataset {type(self).__name__}", *(" " * self._repr_indent + line for line in body)])
