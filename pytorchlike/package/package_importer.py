"""Reading packages: their modules are apart from all others of the process."""

from __future__ import annotations

import builtins
import importlib
import importlib.machinery
import io
import linecache
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from ..serialization import load
from ._mangling import PackageMangler, demangle
from ._pickle import unpickles_of
from .file_structure_representation import Directory, _create_directory_from_file_list
from .glob_group import GlobPattern
from .importer import Importer

__all__ = ["PackageImporter"]


class _Mocked:
    """An attribute of a module that was not packed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Mocked(f"{self._name}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"Object '{self._name}' was mocked out during packaging but it is being used; intern "
                                  "or extern its module when the package is made")  # fmt: skip


class PackageImporter(Importer):
    """The modules, objects and files of a package.

    Its modules are imported apart from the process's own: two packages may hold different versions of one. Only open
    packages that you trust: their code is run.

    file_or_buffer: a path, or a file to read from.   module_allowed: which extern modules may be imported; ImportError
    if one is not allowed.
    """

    def __init__(self, file_or_buffer: str | os.PathLike | IO[bytes],
                 module_allowed: Callable[[str], bool] = lambda module_name: True) -> None:  # fmt: skip
        if isinstance(file_or_buffer, (str, os.PathLike)):
            self.filename = os.fspath(file_or_buffer)
            data = Path(file_or_buffer).read_bytes()
        else:
            self.filename, data = "<binary>", file_or_buffer.read()
        self._zip = zipfile.ZipFile(io.BytesIO(data))
        roots = {n.partition("/")[0] for n in self._zip.namelist()}
        if len(roots) != 1 or f"{(root := roots.pop())}/.data/version" not in self._zip.namelist():
            raise RuntimeError(f"{self.filename} is no package of torch.package's")
        if not self._zip.read(f"{root}/.data/version").startswith(b"pytorchlike"):
            raise RuntimeError(f"{self.filename} was made by PyTorch, whose packages hold its own compiled parts; "
                               "make it again with this package's PackageExporter")  # fmt: skip
        self._root = root
        self._files = {n[len(root) + 1 :] for n in self._zip.namelist()}
        self._mangler = PackageMangler()
        self.root_name = self._mangler.parent_name()
        self.modules: dict[str, ModuleType] = {}
        self.extern_modules = self._listed(".data/extern_modules")
        self._mocked = set(self._listed(".data/mocked_modules"))
        for name in self.extern_modules:
            if not module_allowed(name):
                raise ImportError(f"package '{self.filename}' needs the external module '{name}' but that module has "
                                  "been disallowed")  # fmt: skip
        self._builtins = {**vars(builtins), "__import__": self.__import__}

    def _listed(self, path: str) -> list[str]:
        return self._read(path).decode().split()

    def _read(self, path: str) -> bytes:
        if path not in self._files:
            raise FileNotFoundError(f"package '{self.filename}' has no file '{path}'")
        return self._zip.read(f"{self._root}/{path}")

    # ---- modules --------------------------------------------------------------------------------------------------

    def import_module(self, name: str, package: str | None = None) -> ModuleType:
        """A module of the package, or an extern one. ModuleNotFoundError if it is neither."""
        name = demangle(name)
        found = self.modules.get(name)
        if found is not None:
            return found
        parent = name.rpartition(".")[0]
        if parent and not self._is_extern(name):
            self.import_module(parent)
            if name in self.modules:
                return self.modules[name]
        found = self._found(name)
        if parent and parent in self.modules:
            setattr(self.modules[parent], name.rpartition(".")[2], found)
        return found

    def _is_extern(self, name: str) -> bool:
        return any(name == e or name.startswith(f"{e}.") for e in self.extern_modules)

    def _found(self, name: str) -> ModuleType:
        stem = name.replace(".", "/")
        for path, is_package in ((f"{stem}.py", False), (f"{stem}/__init__.py", True)):
            if path in self._files:
                return self._run(name, path, is_package)
        if name in self._mocked:
            module = self._module(name, False)
            module.__dict__["__getattr__"] = lambda attribute: _mock(name, attribute)
            return module
        if self._is_extern(name):
            top = name.partition(".")[0]
            # what PyTorch's name means here
            module = importlib.import_module(__package__.partition(".")[0] + name[5:] if top == "torch" else name)
            self.modules[name] = module
            return module
        if any(f.startswith(f"{stem}/") for f in self._files):
            return self._module(name, True)
        raise ModuleNotFoundError(
            f"No module named '{name}' in self-contained archive '{self.filename}' and the module is also not in the "
            f"list of allowed external modules: {self.extern_modules}", name=name,
        )  # fmt: skip

    def _module(self, name: str, is_package: bool, file: str | None = None) -> ModuleType:
        full = self._mangler.mangle(name)
        module = self.modules[name] = ModuleType(full)
        told = module.__dict__
        spec = importlib.machinery.ModuleSpec(full, self, is_package=is_package)  # type: ignore[arg-type]
        told.update(__builtins__=self._builtins, __loader__=self, __spec__=spec, __torch_package__=True,
                    __package__=full if is_package else full.rpartition(".")[0])  # fmt: skip
        if is_package:
            told["__path__"] = [f"{self.root_name}/{name.replace('.', '/')}"]
        if file is not None:
            told["__file__"] = file
        return module

    def _run(self, name: str, path: str, is_package: bool) -> ModuleType:
        file = f"{self.root_name}/{path}"
        source = self._read(path).decode()
        module = self._module(name, is_package, file)
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        try:
            exec(compile(source, file, "exec"), module.__dict__)
        except BaseException:
            self.modules.pop(name, None)
            raise
        return self.modules[name]

    def __import__(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        """What ``import`` means in a module of the package."""
        if level:
            base = demangle(globals["__package__"]) if globals.get("__package__") != self.root_name else ""
            for _ in range(level - 1):
                base = base.rpartition(".")[0]
            name = f"{base}.{name}" if name and base else name or base
        module = self.import_module(name)
        if fromlist:
            for part in fromlist:
                if part != "*" and not hasattr(module, part):
                    try:
                        self.import_module(f"{name}.{part}")
                    except ModuleNotFoundError as error:
                        if error.name != f"{name}.{part}":
                            raise
            return module
        return module if level else self.import_module(name.partition(".")[0])

    def get_source(self, module_name: str) -> str:
        """The source of a module of the package."""
        stem = demangle(module_name).replace(".", "/")
        path = f"{stem}.py" if f"{stem}.py" in self._files else f"{stem}/__init__.py"
        return self._read(path).decode()

    # ---- objects and files ----------------------------------------------------------------------------------------

    def load_binary(self, package: str, resource: str) -> bytes:
        """The bytes of a file. FileNotFoundError if there is none."""
        return self._read(f"{demangle(package).replace('.', '/')}/{resource}" if package else resource)

    def load_text(self, package: str, resource: str, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The text of a file."""
        return self.load_binary(package, resource).decode(encoding, errors)

    def load_pickle(self, package: str, resource: str, map_location: Any = None) -> Any:
        """An object that was saved with ``save_pickle``; its classes are the package's.

        map_location: as of ``torch.load``.
        """
        file = io.BytesIO(self.load_binary(package, resource))
        return load(file, map_location, pickle_module=unpickles_of(self), weights_only=False)

    def id(self) -> str:
        """A name that no other importer of the process has."""
        return self.root_name

    def python_version(self) -> str:
        """The version of Python that made the package."""
        return self._read(".data/python_version").decode()

    def file_structure(self, *, include: GlobPattern = "**", exclude: GlobPattern = ()) -> Directory:
        """The files of the package that match, as a tree."""
        return _create_directory_from_file_list(self.filename, sorted(self._files), include, exclude)

    def __repr__(self) -> str:
        return f'PackageImporter("{self.filename}")'


def _mock(module: str, attribute: str) -> Any:
    if attribute.startswith("__"):
        raise AttributeError(attribute)
    return _Mocked(f"{module}.{attribute}")
