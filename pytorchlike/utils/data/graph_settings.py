"""``torch.utils.data.graph_settings``: settings for all pipes that a dataset is made of."""

from __future__ import annotations

from typing import Any

from .datapipes._base import IterDataPipe, MapDataPipe
from .datapipes.iter import Shuffler

__all__ = ["apply_shuffle_settings"]


def apply_shuffle_settings(datapipe: Any, shuffle: bool | None = None) -> Any:
    """Have all pipes that shuffle do so or not, and return ``datapipe``, behind one that shuffles if there is none.

    shuffle: None leaves everything as it is.
    """
    if shuffle is None:
        return datapipe
    found = [pipe for pipe in _pipes(datapipe, {}) if isinstance(pipe, Shuffler)]
    if shuffle and not found:
        datapipe = Shuffler(datapipe)
        found = [datapipe]
    for pipe in found:
        pipe.set_shuffle(shuffle)
    return datapipe


def _pipes(x: Any, seen: dict[int, Any]) -> list[Any]:
    """The pipes that ``x`` is made of, itself among them."""
    if isinstance(x, (list, tuple)):
        for each in x:
            _pipes(each, seen)
    elif isinstance(x, (IterDataPipe, MapDataPipe)) and id(x) not in seen:
        seen[id(x)] = x
        for each in vars(x).values():
            _pipes(each, seen)
    return list(seen.values())
