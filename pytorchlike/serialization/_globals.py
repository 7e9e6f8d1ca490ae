"""Which names a checkpoint may use: PyTorch's own for tensors and plain data, and what the user adds."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from pickle import UnpicklingError
from types import TracebackType
from typing import Any

from .._hook import foreign_names, ours
from . import _rebuild
from ._unpickle import Allowed

__all__ = ["add_safe_globals", "clear_safe_globals", "get_safe_globals", "safe_globals"]

#: Not even users may allow these modules' functions.
_BLOCKED = frozenset({"sys", "os", "posix", "nt", "subprocess"})

Global = Callable | tuple[Callable, str]
_added: list[Global] = []


def add_safe_globals(safe_globals: list[Global]) -> None:
    """Let ``load(..., weights_only=True)`` use these classes and functions from now on.

    safe_globals: classes and functions, or pairs of one and the full name under which the file knows it. Calling them
    with whatever arguments the file gives must be harmless.
    """
    for item in safe_globals:
        if item not in _added:
            _added.append(item)


def get_safe_globals() -> list[Global]:
    """What ``add_safe_globals`` has added."""
    return list(_added)


def clear_safe_globals() -> None:
    """Forget what ``add_safe_globals`` has added."""
    _added.clear()


class safe_globals:
    """A context in which ``load(..., weights_only=True)`` may use some more classes and functions."""

    def __init__(self, safe_globals: list[Global]) -> None:
        self.safe_globals = list(safe_globals)

    def __enter__(self) -> None:
        self._before = get_safe_globals()
        add_safe_globals(self.safe_globals)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for item in self.safe_globals:
            if item in _added and item not in self._before:
                _added.remove(item)


def _user_table(items: Iterable[Global]) -> dict[str, Allowed]:
    table = {}
    for item in items:
        if isinstance(item, tuple):
            if len(item) != 2:
                raise ValueError(
                    f"Expected tuple of length 2 (global, its full name), but got one of length {len(item)}"
                )
            target, name = item
            if type(name) is not str:
                raise TypeError(f"Expected second item in tuple to be str (a full name), but got {type(name).__name__}")
        else:
            target, name = item, f"{item.__module__}.{item.__qualname__}"
        entry = Allowed(target, target if callable(target) else None, trusted=True)
        table[name] = entry
        if name.startswith("pytorchlike."):
            table["torch." + name.removeprefix("pytorchlike.")] = entry
    return table


class SafeNames:
    """The allow-list as it stands when a file is opened."""

    def __init__(self) -> None:
        self._user = _user_table(_added)
        self._types = {entry.value for entry in self._user.values() if isinstance(entry.value, type)}

    def allows(self, full: str) -> bool:
        """Whether ``module.name`` may be used."""
        return full.split(".")[0] not in _BLOCKED and (full in self._user or _rebuild.torch_name(full) is not None)

    def find(self, module: str, name: str) -> Allowed:
        """What the name stands for. Raises UnpicklingError, with advice, if it is not allowed."""
        full = f"{module}.{name}"
        if module.split(".")[0] in _BLOCKED:
            raise UnpicklingError(f"Trying to load unsupported GLOBAL {full} whose module {module} is blocked.")
        found = _rebuild.torch_name(full) or self._user.get(full)
        if found is None:
            shown = full.removeprefix("builtins.")
            raise UnpicklingError(
                f"Unsupported global: GLOBAL {shown} was not an allowed global by default. If you trust it, allow it "
                f"with `torch.serialization.add_safe_globals([{shown}])` or the "
                f"`torch.serialization.safe_globals([{shown}])` context manager."
            )
        return found

    def trusts(self, kind: type) -> bool:
        """Whether the user vouches for a class."""
        return kind in self._types


#: Where classes are PyTorch's to the attribute, so that their objects can be restored there.
_SAME = ("pytorchlike.nn.", "pytorchlike.utils.data.", "pytorchlike.vision.")


def their_name(obj: Any, name: str | None = None, public: Any = None) -> tuple[str, str] | None:
    """The module and name under which PyTorch has a class or function of ours, if these lead back to it here.

    public: what stands there in its stead.
    """
    module, name = getattr(obj, "__module__", None), name or getattr(obj, "__qualname__", None)
    if type(module) is not str or not module.startswith(_SAME) or name is None:
        return None
    theirs = foreign_names(module)[-1]  # of the package that is most of its own
    if _rebuild.torch_name(f"{theirs}.{name}") is not None:
        return None
    found = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return (theirs, name) if found is (obj if public is None else public) else None


def find_class(module: str, name: str, otherwise: Callable[[str, str], Any]) -> Any:
    """A global for pickle's own unpickler: PyTorch's names mean ours, all others are looked up by ``otherwise``."""
    place = ours(module)
    if place is None:
        return otherwise(module, name)
    known = _rebuild.torch_name(f"{module}.{name}")
    if known is not None:
        return known.value
    try:
        found = importlib.import_module(place)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UnpicklingError(f"the file uses {module}.{name}, which pytorchlike does not have") from error
    return found
