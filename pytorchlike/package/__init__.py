"""``torch.package``: Python sources, models and other files in one archive, to be opened elsewhere.

Archives are this package's own: they hold sources and pickles of ``torch.save``. PyTorch does not read them, and
PyTorch's are not read here.
"""

from __future__ import annotations

from typing import Any

from . import analyze as analyze
from . import file_structure_representation as file_structure_representation
from . import find_file_dependencies as find_file_dependencies
from . import glob_group as glob_group
from . import importer as importer
from . import package_exporter as package_exporter
from . import package_importer as package_importer
from ._mangling import is_mangled
from .file_structure_representation import Directory as Directory
from .glob_group import GlobGroup as GlobGroup
from .importer import Importer as Importer
from .importer import ObjMismatchError as ObjMismatchError
from .importer import ObjNotFoundError as ObjNotFoundError
from .importer import OrderedImporter as OrderedImporter
from .importer import sys_importer as sys_importer
from .package_exporter import EmptyMatchError as EmptyMatchError
from .package_exporter import PackageExporter as PackageExporter
from .package_exporter import PackagingError as PackagingError
from .package_importer import PackageImporter as PackageImporter


def is_from_package(obj: Any) -> bool:
    """Whether an object's class, or a module, class or function itself, came out of a package."""
    name = getattr(obj, "__module__", None) or getattr(obj, "__name__", "")
    return is_mangled(name if isinstance(name, str) else type(obj).__module__)
