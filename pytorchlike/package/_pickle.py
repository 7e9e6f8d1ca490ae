"""Pickles whose classes and functions are found by importers."""

from __future__ import annotations

import pickle
from types import FunctionType, SimpleNamespace
from typing import Any

from .importer import Importer, sys_importer

__all__ = ["pickles_of", "unpickles_of"]


def pickles_of(importer: Importer, used: dict[str, None]) -> Any:
    """A module for ``torch.save``: names are those of ``importer``; the modules that they lead to go into ``used``."""

    class Pickler(pickle._Pickler):  # type: ignore[name-defined]
        dispatch = pickle._Pickler.dispatch.copy()  # type: ignore[attr-defined]

        def save_global(self, obj: Any, name: str | None = None) -> None:
            module, found = importer.get_name(obj, name)
            used[module] = None
            if importer is sys_importer and self.proto >= 4:
                super().save_global(obj, name)
                return
            if self.proto >= 4:
                self.save(module)
                self.save(found)
                self.write(pickle.STACK_GLOBAL)
            elif "." in found:  # a class within a class
                outer, _, inner = found.rpartition(".")
                parent: Any = importer.import_module(module)
                for part in outer.split("."):
                    parent = getattr(parent, part)
                self.save_reduce(getattr, (parent, inner))
            else:
                self.write(pickle.GLOBAL + f"{module}\n{found}\n".encode())
            self.memoize(obj)

        def save_type(self, obj: Any) -> None:
            if obj in (type(None), type(NotImplemented), type(...)):
                pickle._Pickler.save_type(self, obj)  # type: ignore[attr-defined]
            else:
                self.save_global(obj)

        dispatch[FunctionType] = save_global
        dispatch[type] = save_type

    return SimpleNamespace(Pickler=Pickler, Unpickler=pickle.Unpickler, __name__="pickle")


def unpickles_of(importer: Importer) -> Any:
    """A module for ``torch.load``: classes and functions come from ``importer``."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            found: Any = importer.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
            return found

    return SimpleNamespace(Unpickler=Unpickler, __name__="pickle")

