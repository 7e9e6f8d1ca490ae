"""Where modules and objects come from, by name: Python's own import, or a package."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from pickle import whichmodule as _whichmodule
from types import ModuleType
from typing import Any

from ._mangling import demangle, get_mangle_prefix, is_mangled

__all__ = ["Importer", "ObjMismatchError", "ObjNotFoundError", "OrderedImporter", "sys_importer"]


class ObjNotFoundError(Exception):
    """An importer finds no object of that name."""


class ObjMismatchError(Exception):
    """An importer finds another object under that name."""


class Importer(ABC):
    """Imports modules by name, and tells the names of objects."""

    modules: dict[str, ModuleType]

    @abstractmethod
    def import_module(self, module_name: str) -> ModuleType:
        """The module; ModuleNotFoundError if there is none."""

    def whichmodule(self, obj: Any, name: str) -> str:
        """The name of the module that an object is defined in, as that object tells it."""
        return _whichmodule(obj, name)

    def get_name(self, obj: Any, name: str | None = None) -> tuple[str, str]:
        """(module, name) by which this importer finds the object.

        Raises ObjNotFoundError if it finds nothing there, ObjMismatchError if it finds another object.
        """
        if name is None:
            reduced = getattr(obj, "__reduce__", None)
            told = None
            if reduced is not None and not isinstance(obj, type):
                try:
                    told = reduced()
                except Exception:  # an object that cannot tell is asked for its name
                    told = None
            name = told if isinstance(told, str) else getattr(obj, "__qualname__", None) or obj.__name__
        module_name = self.whichmodule(obj, name)
        plain = demangle(module_name)
        try:
            found: Any = self.import_module(plain)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError):
            raise ObjNotFoundError(f"{obj!r} was not found as {plain}.{name} by {self!r}") from None
        if found is obj:
            return plain, name
        home = get_mangle_prefix(module_name) if is_mangled(module_name) else "this program"
        raise ObjMismatchError(
            f"The object {obj!r} is not the one that {self!r} finds as {plain}.{name}: it comes from {home}. Give the "
            "exporter the importer that the object came from, before the others"
        )


class _SysImporter(Importer):
    """Python's own import."""

    def import_module(self, module_name: str) -> ModuleType:
        return importlib.import_module(module_name)

    def whichmodule(self, obj: Any, name: str) -> str:
        return _whichmodule(obj, name)

    def __repr__(self) -> str:
        return "sys_importer"


sys_importer = _SysImporter()


class OrderedImporter(Importer):
    """Several importers, asked in turn."""

    def __init__(self, *args: Importer) -> None:
        self._importers = list(args)

    def import_module(self, module_name: str) -> ModuleType:
        for importer in self._importers:
            try:
                return importer.import_module(module_name)
            except ModuleNotFoundError as error:
                if error.name is not None and not module_name.startswith(error.name):
                    raise
        raise ModuleNotFoundError(f"No module named '{module_name}'", name=module_name)

    def whichmodule(self, obj: Any, name: str) -> str:
        for importer in self._importers:
            found = importer.whichmodule(obj, name)
            if found != "__main__":
                return found
        return "__main__"

    def get_name(self, obj: Any, name: str | None = None) -> tuple[str, str]:
        last: Exception = ObjNotFoundError(f"{obj!r} was not found: there are no importers")
        for importer in self._importers:
            try:
                return importer.get_name(obj, name)
            except (ObjNotFoundError, ObjMismatchError) as error:
                last = error
        raise last

    def __repr__(self) -> str:
        return f"OrderedImporter({', '.join(map(repr, self._importers))})"
