"""Patterns of module names: ``*`` within one part, ``**`` across parts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["GlobGroup", "GlobPattern"]

GlobPattern = Any  #: a pattern, or several


class GlobGroup:
    """Names that match one of ``include`` and none of ``exclude``.

    ``torch.*`` matches ``torch.nn``, not ``torch.nn.init``, which ``torch.**`` does, as it does ``torch``.
    Raises ValueError for ``**`` beside other characters within a part.
    """

    def __init__(self, include: GlobPattern, *, exclude: GlobPattern = (), separator: str = ".") -> None:
        self._dbg = f"GlobGroup(include={include}, exclude={exclude})"
        self.include = self._compiled(include, separator)
        self.exclude = self._compiled(exclude, separator)
        self.separator = separator

    def matches(self, candidate: str) -> bool:
        """Whether a name belongs to the group."""
        candidate = self.separator + candidate
        return any(p.fullmatch(candidate) for p in self.include) and not any(
            p.fullmatch(candidate) for p in self.exclude
        )

    def __str__(self) -> str:
        return self._dbg

    __repr__ = __str__

    @staticmethod
    def _compiled(patterns: GlobPattern, separator: str) -> list[re.Pattern]:
        return [_pattern(p, separator) for p in ([patterns] if isinstance(patterns, str) else _listed(patterns))]


def _listed(patterns: Iterable[str]) -> list[str]:
    return list(patterns)


def _pattern(pattern: str, separator: str) -> re.Pattern:
    def part(text: str) -> str:
        if text == "**":
            return f"({re.escape(separator)}[^{separator}]+)*"
        if "**" in text:
            raise ValueError("** can only appear as an entire path segment")
        return re.escape(separator) + f"[^{separator}]*".join(map(re.escape, text.split("*")))

    return re.compile("".join(map(part, pattern.split(separator))))
