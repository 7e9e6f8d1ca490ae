"""``import torch`` means pytorchlike: an import hook for programs written for PyTorch.

After :func:`install_as_torch`, ``torch`` and every ``torch.x.y`` are the same module objects as ``pytorchlike`` and
``pytorchlike.x.y``; ``torchvision``, ``torchaudio`` and ``torchtext`` are its ``vision``, ``audio`` and ``text``, and
``functorch`` and ``torchdata`` are parts of it, too.
``importlib.metadata.version`` answers for them, and processes started by ``multiprocessing`` have the hook, too.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import multiprocessing.spawn
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["install_as_torch", "is_installed", "uninstall_as_torch"]

_PACKAGE = __package__ or "pytorchlike"
#: Foreign top-level packages, and what stands for them here.
ROOTS = {
    "torch": _PACKAGE,
    "torchvision": f"{_PACKAGE}.vision",
    "torchaudio": f"{_PACKAGE}.audio",
    "torchtext": f"{_PACKAGE}.text",
    "functorch": f"{_PACKAGE}.functorch",
    "torchdata": f"{_PACKAGE}.torchdata",
}

#: The versions of the packages whose names and behaviour are followed, beside PyTorch's own.
VERSIONS = {
    "torchvision": "0.28.0+pytorchlike",
    "torchaudio": "2.11.0+pytorchlike",
    "torchtext": "0.18.0+pytorchlike",
    "torchdata": "0.11.0+pytorchlike",
}

#: The classes of arrays, by module, and where PyTorch has them: libraries find the functions for an array (opt_einsum,
#: autoray) or tell that it is PyTorch's by the package that its class names.
CLASSES = {
    f"{_PACKAGE}.tensor._tensor": ("torch", ("Tensor",)),
    f"{_PACKAGE}.nn.parameter": ("torch.nn.parameter", ("Parameter", "Buffer")),
}


def ours(name: str) -> str | None:
    """The module of this package that the module ``name`` of a foreign package stands for, e.g. ``torch.nn``."""
    root, dot, rest = name.partition(".")
    target = ROOTS.get(root)
    return None if target is None else target + dot + rest


def foreign_names(name: str) -> list[str]:
    """The foreign names of a module of this package: first that under ``torch``."""
    return [
        root + name[len(target) :] for root, target in ROOTS.items() if name == target or name.startswith(f"{target}.")
    ]


def publish(module: ModuleType) -> None:
    """Enter a module of this package into ``sys.modules`` under its foreign names, where programs look for it."""
    for name in foreign_names(module.__name__):
        sys.modules.setdefault(name, module)


def _name_classes(module: ModuleType, *, foreign: bool) -> None:
    """Have the classes of arrays name the module where PyTorch has them, or their own."""
    theirs, names = CLASSES.get(module.__name__, ("", ()))
    for name in names:
        getattr(module, name).__module__ = theirs if foreign else module.__name__


class _Alias(Loader):
    """Loads a module by importing the one of ours that it stands for: one object under two names."""

    def __init__(self, target: str) -> None:
        self.target = target

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.target)
        self.own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.own  # the import system has put the alias's there


class _Metadata(importlib.metadata.Distribution):
    """What ``importlib.metadata`` says of ``torch`` and of the packages that belong to it."""

    def __init__(self, root: str) -> None:
        self.root = root

    def read_text(self, filename: str) -> str | None:
        from .version import __version__

        if filename == "METADATA":
            version = VERSIONS.get(self.root, __version__)
            return f"Metadata-Version: 2.1\nName: {self.root}\nVersion: {version}\nSummary: pytorchlike\n"
        return f"{self.root}\n" if filename == "top_level.txt" else None

    def locate_file(self, path: str | os.PathLike[str]) -> Any:
        from pathlib import Path

        return Path(__file__).parent.parent / path


def _published(name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    """Where the other finders find a module of this package, which will be known under its foreign names, too."""
    for finder in sys.meta_path:
        if finder is _finder or not hasattr(finder, "find_spec"):
            continue
        spec = finder.find_spec(name, path, target)
        if spec is None:
            continue
        if spec.loader is not None:
            load = functools.partial(_load_published, spec.loader.exec_module)
            spec.loader.exec_module = load  # type: ignore[method-assign]
        return spec
    return None


def _load_published(load: Callable[[ModuleType], None], module: ModuleType) -> None:
    publish(module)
    try:
        load(module)
    except BaseException:
        for alias in foreign_names(module.__name__):
            if sys.modules.get(alias) is module:
                del sys.modules[alias]
        raise
    _name_classes(module, foreign=True)


class _Finder(importlib.metadata.DistributionFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.startswith(f"{_PACKAGE}."):
            return _published(fullname, path, target)
        name = ours(fullname)
        if name is None:
            return None
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return None
        package = found.submodule_search_locations is not None
        return ModuleSpec(fullname, _Alias(name), origin=found.origin, is_package=package)

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context = importlib.metadata.DistributionFinder.Context()
    ) -> Iterable[importlib.metadata.Distribution]:
        packages = ("torch", *VERSIONS)  # functorch comes with torch
        return [_Metadata(root) for root in packages if context.name in (None, root) and sys.modules.get(root, self)]


_finder = _Finder()
_prepared = multiprocessing.spawn.get_preparation_data


class _InChild:
    """Unpickled in a new process before its main module is imported; installs the hook there."""

    def __reduce__(self) -> tuple:
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        code = (
            f"import sys; sys.path += [{root!r}] * ({root!r} not in sys.path); "
            f"import {_PACKAGE}._hook as hook; hook.install_as_torch()"
        )
        return exec, (code,)


def _preparation_data(name: str) -> dict[str, Any]:
    return {**_prepared(name), _PACKAGE: _InChild()}


def is_installed() -> bool:
    """Whether ``import torch`` means this package."""
    return _finder in sys.meta_path


def install_as_torch() -> None:
    """From now on ``import torch`` (and torchvision, torchaudio, torchtext) gives this package, in this process.

    Random numbers on the CPU are PyTorch's from then on (:func:`torch.random.follow_pytorch`), unless the environment
    variable ``PYTORCHLIKE_RANDOM`` says ``own``.
    Processes that ``multiprocessing`` starts inherit it; other subprocesses do not. Doing it again changes nothing.
    Raises RuntimeError if PyTorch itself has been imported already.
    """
    if is_installed():
        return
    package = sys.modules[_PACKAGE]
    loaded = sys.modules.get("torch")
    if loaded is not None and loaded is not package:
        where = getattr(loaded, "__file__", None) or "an unknown place"
        raise RuntimeError(
            f"PyTorch itself has been imported already (from {where}), so `import torch` cannot mean pytorchlike any "
            f"more; "
            "install the hook before anything imports torch"
        )
    sys.meta_path.insert(0, _finder)
    package.__name__ = "torch"  # libraries that patch functions by their full names ask the module for its own
    for root, target in ROOTS.items():
        if root == "torch":
            sys.modules[root] = package
        elif importlib.util.find_spec(target) is None:
            # the real one needs PyTorch's binary interface; like this it counts as not installed
            sys.modules.setdefault(root, None)  # type: ignore[arg-type]
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{_PACKAGE}.") and module is not None:
            publish(module)
            _name_classes(module, foreign=True)
    multiprocessing.spawn.get_preparation_data = _preparation_data
    _follow(True)


def _follow(enabled: bool) -> None:
    """Have random numbers be PyTorch's as long as the hook is there, if nothing else is asked for."""
    if not os.environ.get("PYTORCHLIKE_RANDOM"):
        from .tensor.random import follow_pytorch  # the hook itself is imported by what tensors are made of

        follow_pytorch(enabled)


def uninstall_as_torch() -> None:
    """Undo :func:`install_as_torch`; modules that have imported ``torch`` keep what they have."""
    if not is_installed():
        return
    sys.meta_path.remove(_finder)
    sys.modules[_PACKAGE].__name__ = _PACKAGE
    multiprocessing.spawn.get_preparation_data = _prepared
    _follow(False)
    for name in CLASSES:
        if name in sys.modules:
            _name_classes(sys.modules[name], foreign=False)
    for name in [n for n in sys.modules if n.partition(".")[0] in ROOTS]:
        module, target = sys.modules[name], ours(name)
        if module is None or module is sys.modules.get(target):  # type: ignore[arg-type]
            del sys.modules[name]


def advice(error: BaseException) -> str | None:
    """What to add to an error about a module or name that this package lacks; None if it is another error."""
    if isinstance(error, ModuleNotFoundError) and error.name and ours(error.name):
        target = ours(error.name)
        if target is not None and error.name.partition(".")[0] != "torch" and importlib.util.find_spec(target) is None:
            return f"pytorchlike has no counterpart of {error.name} (see docs/differences.md)"
        return f"pytorchlike has no module {target} that {error.name} could be (see docs/differences.md)"
    return None
