"""Names of modules that come out of packages: ``<torch_package_0>.model``, so that they meet no others."""

from __future__ import annotations

import itertools
import re

__all__ = ["PackageMangler", "demangle", "get_mangle_prefix", "is_mangled"]

_ids = itertools.count()


class PackageMangler:
    """The names of one package's modules."""

    def __init__(self) -> None:
        self._parent = f"<torch_package_{next(_ids)}>"

    def mangle(self, name: str) -> str:
        """The name of a module, marked as the package's."""
        return f"{self._parent}.{name}" if name else self._parent

    def demangle(self, name: str) -> str:
        """The name without the mark."""
        return demangle(name)

    def parent_name(self) -> str:
        """The mark."""
        return self._parent


def is_mangled(name: str) -> bool:
    """Whether a name is marked."""
    return bool(re.match(r"<torch_package_\d+>", name))


def demangle(name: str) -> str:
    """A name without its mark, if it has one."""
    return name.partition(".")[2] if is_mangled(name) else name


def get_mangle_prefix(name: str) -> str:
    """The mark of a name."""
    return name.partition(".")[0] if is_mangled(name) else name
