"""``torch.package``: programs and models in one archive. Not there: names exist, and say so when they are used."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["EmptyMatchError", "Importer", "ObjMismatchError", "ObjNotFoundError", "OrderedImporter", "PackageExporter",
           "PackageImporter", "PackagingError", "is_from_package", "sys_importer"]

_WHY = ("torch.package is not there: Python sources are not packed with tensors. Save a state_dict with torch.save, or "
        "a program that needs no Python with torch.export.save")  # fmt: skip


class PackagingError(Exception):
    """A package could not be made. Nothing raises it here."""


class EmptyMatchError(Exception):
    """A pattern matched nothing. Nothing raises it here."""


class ObjNotFoundError(Exception):
    """An importer did not find an object. Nothing raises it here."""


class ObjMismatchError(Exception):
    """An importer found another object. Nothing raises it here."""


class _Refused:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__}: {_WHY}")


class PackageExporter(_Refused):
    """Refused: see the module."""


class PackageImporter(_Refused):
    """Refused: see the module."""


class Importer(_Refused):
    """Refused: see the module."""


class OrderedImporter(Importer):
    """Refused: see the module."""


class _SysImporter:
    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotImplementedError(f"sys_importer: {_WHY}")


sys_importer = _SysImporter()


def is_from_package(obj: Any) -> bool:
    """False: nothing comes out of a package."""
    return False
