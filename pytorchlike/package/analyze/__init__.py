"""Looking at what a package would need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .. import _mangling

__all__ = ["find_first_use_of_broken_modules", "is_from_package", "trace_dependencies"]


def is_from_package(obj: Any) -> bool:
    """Whether an object came out of a package."""
    name = getattr(obj, "__module__", None) or getattr(obj, "__name__", "")
    return _mangling.is_mangled(name if isinstance(name, str) else type(obj).__module__)


def trace_dependencies(callable: Callable[..., Any], inputs: Iterable[Sequence[Any]]) -> list[str]:
    """The names of the modules whose functions run when ``callable(*args)`` is called for each of ``inputs``."""
    found: set[str] = set()

    def note(frame: Any, event: str, arg: Any) -> None:
        if event == "call":
            name = frame.f_globals.get("__name__")
            if name is not None:
                found.add(name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        for args in inputs:
            callable(*args)
    finally:
        sys.setprofile(before)
    return list(found)


def find_first_use_of_broken_modules(exc: Exception) -> dict[str, list[str]]:
    """For each module that a PackagingError lists, how it comes to be needed; TypeError for another exception."""
    from ..package_exporter import PackagingError

    if not isinstance(exc, PackagingError):
        raise TypeError("exception must be a PackagingError")
    return dict(exc.paths)
