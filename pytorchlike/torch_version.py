"""``torch.torch_version``: a version string that compares as versions do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["TorchVersion"]

_RELEASE = re.compile(r"\s*v?(\d+(?:\.\d+)*)\s*(a|b|rc|\.?dev|\.?post)?(\d*)")
#: Where a release without such a mark stands among those that have one.
_ORDER = {"dev": 0, "a": 1, "b": 2, "rc": 3, "": 4, "post": 5}


def _key(version: str) -> tuple:
    """What versions are ordered by: the release numbers without trailing zeros, then the stage and its number."""
    match = _RELEASE.match(version)
    if match is None:
        raise ValueError(f"not a version: {version!r}")
    numbers = [int(n) for n in match[1].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), _ORDER[(match[2] or "").lstrip(".")], int(match[3] or 0), version.partition("+")[2]


class TorchVersion(str):
    """A version as ``torch.__version__`` gives it: a string, ordered by its numbers.

    It compares with strings and with tuples of ints (``torch.__version__ >= (2, 1)``, ``>= "2.10"``); strings that are
    no versions compare as strings do.
    """

    __slots__ = ()

    def _compare(self, other: Any) -> tuple[Any, Any] | None:
        if isinstance(other, Iterable) and not isinstance(other, str):
            other = ".".join(str(part) for part in other)
        if not isinstance(other, str):
            return None
        try:
            return _key(str(self)), _key(other)
        except ValueError:
            return str(self), str(other)

    def __lt__(self, other: Any) -> bool:
        pair = self._compare(other)
        return NotImplemented if pair is None else pair[0] < pair[1]

    def __le__(self, other: Any) -> bool:
        pair = self._compare(other)
        return NotImplemented if pair is None else pair[0] <= pair[1]

    def __gt__(self, other: Any) -> bool:
        pair = self._compare(other)
        return NotImplemented if pair is None else pair[0] > pair[1]

    def __ge__(self, other: Any) -> bool:
        pair = self._compare(other)
        return NotImplemented if pair is None else pair[0] >= pair[1]

    def __eq__(self, other: object) -> bool:
        pair = self._compare(other)
        return NotImplemented if pair is None else pair[0] == pair[1]

    def __ne__(self, other: object) -> bool:
        pair = self._compare(other)
        return NotImplemented if pair is None else pair[0] != pair[1]

    def __hash__(self) -> int:
        return str.__hash__(self)
