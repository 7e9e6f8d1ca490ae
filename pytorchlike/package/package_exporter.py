"""Writing packages: archives of Python sources, pickles and other files."""

from __future__ import annotations

import importlib.util
import io
import os
import platform
import sys
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from ..serialization import save
from ..utils.hooks import RemovableHandle
from ._mangling import demangle, is_mangled
from ._pickle import pickles_of
from .find_file_dependencies import find_files_source_depends_on
from .glob_group import GlobGroup, GlobPattern
from .importer import Importer, OrderedImporter, sys_importer

__all__ = ["EmptyMatchError", "PackageExporter", "PackagingError"]

#: Modules that every Python that opens a package has, beside the standard library.
_EVERYWHERE = ("torch", __package__.partition(".")[0])


class EmptyMatchError(Exception):
    """A pattern with ``allow_empty=False`` matched no module."""


class PackagingError(Exception):
    """Modules that the package needs were given no place, or cannot be packed; the message lists them.

    paths: by module, how it comes to be needed.
    """

    paths: dict[str, list[str]]


class _Rule(NamedTuple):
    action: str
    group: GlobGroup
    allow_empty: bool


class _Module:
    """What is known of a module: what happens to it, and why it cannot, if it cannot."""

    def __init__(self) -> None:
        self.action: str | None = None
        self.source: str | None = None
        self.is_package = False
        self.error: str | None = None
        self.given = False


class PackageExporter:
    """Writes a package: ``with PackageExporter(path) as e: e.intern("mine.**"); e.save_pickle("model", "m.pkl", m)``.

    f:         a path, or a file to write to.
    importer:  where objects and modules are found; several are asked in turn (a package's own first, to pack again what
               came out of it).
    debug:     name the way that led to each module that has no place.

    Each module that what is saved depends on must match a pattern of :meth:`intern` (its source comes along),
    :meth:`extern` (whoever opens the package has it), :meth:`mock` (it is replaced by a stub) or :meth:`deny`; the
    first that matches counts. The standard library and torch are extern. Archives are read by this package's
    :class:`PackageImporter`. Raises PackagingError on closing if a module has no place.
    """

    def __init__(self, f: str | os.PathLike | IO[bytes], importer: Importer | Sequence[Importer] = sys_importer,
                 debug: bool = False) -> None:  # fmt: skip
        self.debug = debug
        self._target = f
        self._buffer = io.BytesIO()
        self._zip: zipfile.ZipFile | None = zipfile.ZipFile(self._buffer, "w", zipfile.ZIP_STORED)
        name = Path(os.fspath(f)).stem if isinstance(f, (str, os.PathLike)) else "archive"
        self._root = name or "archive"
        self.importer = importer if isinstance(importer, Importer) else OrderedImporter(*importer)
        self.patterns: list[_Rule] = []
        self._matched: set[int] = set()
        self._modules: dict[str, _Module] = {}
        self._edges: dict[str, dict[str, None]] = {}
        self._written: set[str] = set()
        self._hooks: dict[str, OrderedDict[int, Callable]] = {k: OrderedDict() for k in ("intern", "extern", "mock")}
        self._unique = 0

    # ---- what goes in ---------------------------------------------------------------------------------------------

    def save_source_file(self, module_name: str, file_or_directory: str, dependencies: bool = True) -> None:
        """A source file, or all of a directory, as a module of that name."""
        path = Path(file_or_directory)
        if not path.is_dir():
            self.save_source_string(module_name, path.read_text(), path.name == "__init__.py", dependencies)
            return
        for file in sorted(path.rglob("*.py")):
            parts = [module_name, *file.relative_to(path).with_suffix("").parts]
            is_package = parts[-1] == "__init__"
            self.save_source_string(".".join(parts[:-1] if is_package else parts), file.read_text(), is_package,
                                    dependencies)  # fmt: skip

    def save_source_string(self, module_name: str, src: str, is_package: bool = False,
                           dependencies: bool = True) -> None:  # fmt: skip
        """A module of that name, with that source. dependencies: also what it imports."""
        m = self._modules.setdefault(module_name, _Module())
        m.action, m.source, m.is_package, m.given = "intern", src, is_package, True
        if dependencies:
            self._follow(module_name, src, is_package)

    def save_module(self, module_name: str, dependencies: bool = True) -> None:
        """A module by its name, with its source. TypeError for something that is no name."""
        if not isinstance(module_name, str):
            raise TypeError("save_module() expects a string input, did you perhaps mean to pass `__name__`?")
        self._intern(module_name, dependencies)

    def save_pickle(self, package: str, resource: str, obj: Any, dependencies: bool = True,
                    pickle_protocol: int = 3) -> None:  # fmt: skip
        """An object, as :meth:`PackageImporter.load_pickle` brings it back. dependencies: with what it needs."""
        used: dict[str, None] = {}
        file = io.BytesIO()
        save(obj, file, pickle_module=pickles_of(self.importer, used), pickle_protocol=pickle_protocol)
        place = self._path(package, resource)
        self._write(place, file.getvalue())
        if dependencies:
            for module in used:
                self._edges.setdefault(place, {})[module] = None
                self.add_dependency(module)

    def save_text(self, package: str, resource: str, text: str) -> None:
        """A text, in UTF-8."""
        self.save_binary(package, resource, text.encode())

    def save_binary(self, package: str, resource: str, binary: bytes) -> None:
        """Bytes."""
        self._write(self._path(package, resource), binary)

    def get_unique_id(self) -> str:
        """A number that this archive has given to nobody else."""
        self._unique += 1
        return str(self._unique - 1)

    # ---- patterns -------------------------------------------------------------------------------------------------

    def intern(self, include: GlobPattern, *, exclude: GlobPattern = (), allow_empty: bool = True) -> None:
        """Pack the sources of the modules that match.

        allow_empty: False raises EmptyMatchError on closing if none did.
        """
        self.patterns.append(_Rule("intern", GlobGroup(include, exclude=exclude), allow_empty))

    def extern(self, include: GlobPattern, *, exclude: GlobPattern = (), allow_empty: bool = True) -> None:
        """Have the modules that match imported from where the package is opened."""
        self.patterns.append(_Rule("extern", GlobGroup(include, exclude=exclude), allow_empty))

    def mock(self, include: GlobPattern, *, exclude: GlobPattern = (), allow_empty: bool = True) -> None:
        """Replace the modules that match by stubs, whose attributes raise NotImplementedError when they are used."""
        self.patterns.append(_Rule("mock", GlobGroup(include, exclude=exclude), allow_empty))

    def deny(self, include: GlobPattern, *, exclude: GlobPattern = ()) -> None:
        """Have packing fail if it needs a module that matches."""
        self.patterns.append(_Rule("deny", GlobGroup(include, exclude=exclude), True))

    def _register(self, action: str, hook: Callable[[PackageExporter, str], None]) -> RemovableHandle:
        handle = RemovableHandle(self._hooks[action])
        self._hooks[action][handle.id] = hook
        return handle

    def register_intern_hook(self, hook: Callable[[PackageExporter, str], None]) -> RemovableHandle:
        """Call ``hook(exporter, module_name)`` for each module that is packed."""
        return self._register("intern", hook)

    def register_extern_hook(self, hook: Callable[[PackageExporter, str], None]) -> RemovableHandle:
        """Call ``hook(exporter, module_name)`` for each module that is extern."""
        return self._register("extern", hook)

    def register_mock_hook(self, hook: Callable[[PackageExporter, str], None]) -> RemovableHandle:
        """Call ``hook(exporter, module_name)`` for each module that is replaced."""
        return self._register("mock", hook)

    # ---- dependencies ---------------------------------------------------------------------------------------------

    def add_dependency(self, module_name: str, dependencies: bool = True) -> None:
        """Give a module its place, by the first pattern that matches."""
        if module_name in self._modules:
            return
        if _is_everywhere(module_name):
            self._modules[module_name] = m = _Module()
            m.action = "extern"
            return
        for k, rule in enumerate(self.patterns):
            if rule.group.matches(module_name):
                self._matched.add(k)
                break
        else:
            self._modules[module_name] = m = _Module()
            m.error = "it matches no pattern: intern, extern or mock it"
            return
        if rule.action == "intern":
            self._intern(module_name, dependencies)
            return
        self._modules[module_name] = m = _Module()
        m.action = rule.action
        if rule.action == "deny":
            m.error = "it was denied"

    def _intern(self, name: str, dependencies: bool) -> None:
        m = self._modules.setdefault(name, _Module())
        m.action = "intern"
        try:
            module = self.importer.import_module(name)
        except Exception as error:
            m.error = f"it could not be imported ({type(error).__name__}: {error})"
            return
        m.is_package = hasattr(module, "__path__")
        m.source = _source_of(module)
        if m.source is None:
            m.error = "it has no Python source: extern it"
            return
        if dependencies:
            self._follow(name, m.source, m.is_package)
        parent = name.rpartition(".")[0]
        if parent:
            self.add_dependency(parent)

    def _follow(self, name: str, src: str, is_package: bool) -> None:
        package = name if is_package else name.rpartition(".")[0]
        for module, attribute in find_files_source_depends_on(src, package):
            found = module
            if attribute is not None and not _is_everywhere(module) and self._is_module(f"{module}.{attribute}"):
                found = f"{module}.{attribute}"
            self._edges.setdefault(name, {})[found] = None
            self.add_dependency(found)

    def _is_module(self, name: str) -> bool:
        if name in self._modules:
            return True
        try:
            if self.importer is sys_importer:
                return importlib.util.find_spec(name) is not None
            self.importer.import_module(name)
        except (ImportError, AttributeError, ValueError):
            return False
        return True

    def _among(self, action: str) -> list[str]:
        return sorted(n for n, m in self._modules.items() if m.action == action)

    def externed_modules(self) -> list[str]:
        """The names of the modules that are extern."""
        return self._among("extern")

    def interned_modules(self) -> list[str]:
        """The names of the modules whose sources are packed."""
        return self._among("intern")

    def mocked_modules(self) -> list[str]:
        """The names of the modules that are replaced."""
        return self._among("mock")

    def denied_modules(self) -> list[str]:
        """The names of the modules that must not be needed, and are."""
        return self._among("deny")

    def get_rdeps(self, module_name: str) -> list[str]:
        """What needs a module. Empty for one that is not there."""
        return [a for a, found in self._edges.items() if module_name in found]

    def all_paths(self, src: str, dst: str) -> str:
        """The ways from one module to another, as a graph in DOT's language."""
        return _dot([(a, b) for path in self._paths(src, dst) for a, b in zip(path, path[1:], strict=False)])

    def _paths(self, src: str, dst: str) -> list[list[str]]:
        found, queue = [], deque([[src]])
        while queue:
            path = queue.popleft()
            if path[-1] == dst and len(path) > 1:
                found.append(path)
                continue
            queue.extend([*path, n] for n in self._edges.get(path[-1], ()) if n not in path)
        return found

    def dependency_graph_string(self) -> str:
        """What needs what, as a graph in DOT's language."""
        return _dot([(a, b) for a, found in self._edges.items() for b in found])

    # ---- writing --------------------------------------------------------------------------------------------------

    def _path(self, package: str, resource: str) -> str:
        return f"{package.replace('.', '/')}/{resource}" if package else resource

    def _write(self, path: str, data: bytes | str) -> None:
        if self._zip is None:
            raise RuntimeError("the package was closed")
        if path in self._written:
            raise RuntimeError(f"Tried to write file '{path}', but it already exists in this archive. Please choose a "
                               "different name")  # fmt: skip
        self._written.add(path)
        self._zip.writestr(f"{self._root}/{path}", data)

    def _check(self) -> None:
        for k, rule in enumerate(self.patterns):
            if not rule.allow_empty and k not in self._matched:
                raise EmptyMatchError(f"Exporter did not match any modules to {rule.group}, which was marked as "
                                      "allow_empty=False")  # fmt: skip
        broken = {n: m.error for n, m in self._modules.items() if m.error is not None}
        if broken:
            lines = []
            for name, error in sorted(broken.items()):
                lines.append(f"  {name}: {error}")
                if self.debug:
                    lines.append(f"    needed by {', '.join(self.get_rdeps(name)) or 'the program'}")
            error = PackagingError("Modules of the package have no place:\n" + "\n".join(lines))
            error.paths = {name: self._way_to(name) for name in broken}
            raise error

    def _way_to(self, name: str) -> list[str]:
        """How a module comes to be needed: from what was saved, on to the module itself."""
        path = [name]
        while True:
            before = [n for n in self.get_rdeps(path[0]) if n not in path]
            if not before:
                return path
            path.insert(0, before[0])

    def close(self) -> None:
        """Write the archive. Called at the end of a ``with`` block, unless it ends by an exception."""
        if self._zip is None:
            return
        try:
            self._check()
        except BaseException:
            self._give_up()
            raise
        for name, m in self._modules.items():
            for hook in self._hooks.get(m.action or "", {}).values():
                hook(self, name)
            if m.action == "intern" and m.source is not None:
                stem = name.replace(".", "/")
                self._write(f"{stem}/__init__.py" if m.is_package else f"{stem}.py", m.source)
        self._write(".data/extern_modules", "\n".join(self.externed_modules()) + "\n")
        self._write(".data/mocked_modules", "\n".join(self.mocked_modules()) + "\n")
        self._write(".data/python_version", platform.python_version())
        self._write(".data/version", "pytorchlike 1\n")
        self._zip.close()
        self._zip = None
        if isinstance(self._target, (str, os.PathLike)):
            Path(self._target).write_bytes(self._buffer.getvalue())
        else:
            self._target.write(self._buffer.getvalue())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, *error: Any) -> None:
        if kind is None:
            self.close()
        else:
            self._give_up()

    def _give_up(self) -> None:
        if self._zip is not None:
            self._zip.close()
            self._zip = None


def _is_everywhere(name: str) -> bool:
    top = name.partition(".")[0]
    return top in _EVERYWHERE or (top in sys.stdlib_module_names and top != "__main__")


def _source_of(module: Any) -> str | None:
    loader = getattr(module, "__loader__", None)
    name = module.__name__
    get = getattr(loader, "get_source", None)
    if get is not None:
        try:
            return get(demangle(name) if is_mangled(name) else name)
        except (ImportError, OSError):
            return None
    return None


def _dot(edges: list[tuple[str, str]]) -> str:
    lines = "\n".join(f'"{a}" -> "{b}";' for a, b in dict.fromkeys(edges))
    return f"digraph G {{\nrankdir = LR;\n{lines}\n}}\n"
