"""The dictionaries of a Module, and the record of what changed in any module.

A module's parameters, buffers and children live in ``_parameters``, ``_buffers`` and ``_modules``. To make
``self.weight`` a plain instance attribute (and not a failed lookup followed by ``__getattr__``), each entry is mirrored
in the instance's ``__dict__``; these dictionaries keep the mirror in step with every change, whoever makes it. A class
with a ``__getattr__`` of its own is asked at each access, as in PyTorch: there is no mirror then.
"""

from __future__ import annotations

import copy
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

__all__ = ["MEMBERS", "WALKS", "HookDict", "Members", "changed", "find_member", "observers", "owner_of", "remember",
           "structure_epoch"]  # fmt: skip

MEMBERS = ("_parameters", "_buffers", "_modules")
#: What is kept of a walk through a module's tree, see ``remember``.
WALKS = ("_leaf_cache", "_tree")

_ABSENT = object()

# One number for all modules: grows with every attribute set or removed, so that cached structures know they are stale.
structure_epoch = [0]
# Lists to which a reference to each module that changes is added: of captures that are going on.
observers: list[list[Callable[[], Any]]] = []
# The modules that hold walks of their tree; a change of any module's members drops them all at once (and with them the
# references to tensors that may just have been replaced).
_caching: list[Callable[[], Any]] = []


def remember(module: Any, name: str, value: Any) -> None:
    """Keep ``value``, derived from the members of ``module``'s tree, until the members of some module change."""
    if module.__dict__.get(name) is None:
        _caching.append(owner_of(module))
    module.__dict__[name] = value


def changed(owner: Callable[[], Any]) -> None:
    """The module that ``owner`` refers to has changed."""
    structure_epoch[0] += 1
    for seen in observers:
        seen.append(owner)


def _changed(owner: Callable[[], Any]) -> None:
    """Its members have."""
    changed(owner)
    if _caching:
        for ref in _caching:
            module = ref()
            if module is not None:  # the entries stay: somebody may be going through the module's dictionary (a copy)
                for name in WALKS:
                    if name in module.__dict__:
                        module.__dict__[name] = None
        _caching.clear()


def _nobody() -> None:
    """The owner of members that are in no module."""


def find_member(module: Any, name: str) -> Any:
    """``Module.__getattr__``: what has no mirror, and what a ``__getattr__`` of a subclass passes on."""
    for kind in MEMBERS:
        members = module.__dict__.get(kind)
        if members is not None and name in members:
            return members[name]
    raise AttributeError(f"'{type(module).__name__}' object has no attribute '{name}'")


def _show(module: Any, name: str, value: Any) -> None:
    """Make a member an attribute, unless its class finds attributes itself or has one of that name, found first."""
    cls = type(module)
    if hasattr(cls, name) or cls.__getattr__ is not find_member:
        module.__dict__.pop(name, None)
    else:
        module.__dict__[name] = value


class Members(dict):
    """name -> parameter, buffer or child; every entry is also an attribute of the owning module."""

    __slots__ = ("_owner",)

    def __init__(self, owner: Any = (), items: Any = ()) -> None:
        if not callable(owner):  # like any mapping's class, called with the items: by code that maps over containers
            owner, items = _nobody, owner
        super().__init__(items)
        self._owner = owner  # a weak reference: no cycle, so that a dropped module frees its memory at once
        module = owner()
        if module is None:
            return
        _changed(owner)
        for name, value in self.items():
            _show(module, name, value)

    @classmethod
    def none(cls, owner: Callable[[], Any]) -> Members:
        """Those of a module that is being made."""
        made = cls.__new__(cls)
        made._owner = owner
        return made

    def __setitem__(self, name: str, value: Any) -> None:
        dict.__setitem__(self, name, value)
        _changed(self._owner)
        module = self._owner()
        if module is not None:
            _show(module, name, value)

    def _forget(self, name: str, value: Any) -> None:
        _changed(self._owner)
        module = self._owner()
        if module is not None and module.__dict__.get(name, _ABSENT) is value:
            del module.__dict__[name]

    def __delitem__(self, name: str) -> None:
        value = self[name]
        dict.__delitem__(self, name)
        self._forget(name, value)

    def pop(self, name: str, *default: Any) -> Any:
        if name not in self:
            return dict.pop(self, name, *default)
        value = dict.pop(self, name)
        self._forget(name, value)
        return value

    def popitem(self) -> tuple[str, Any]:
        name, value = dict.popitem(self)
        self._forget(name, value)
        return name, value

    def clear(self) -> None:
        for name in list(self):
            del self[name]

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, *args: Any, **kwargs: Any) -> None:
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __ior__(self, other: Any) -> Members:
        self.update(other)
        return self

    def move_to_end(self, name: str, last: bool = True) -> None:
        """Move an entry to the end or the front, as OrderedDict does."""
        value = self[name]
        rest = [(k, v) for k, v in self.items() if k != name]
        dict.clear(self)
        dict.update(self, [*rest, (name, value)] if last else [(name, value), *rest])
        _changed(self._owner)

    def __reduce_ex__(self, proto: int) -> tuple:
        # Copies and pickles are plain dictionaries; Module.__setstate__ gives them an owner again.
        return dict, (), None, None, iter(self.items())


class HookDict(OrderedDict):
    """id -> hook. Adding a hook tells the owning module, whose ``__call__`` then takes the long way."""

    def __init__(self, owner: Any = (), items: Any = ()) -> None:
        if not callable(owner):
            owner, items = _nobody, dict(owner).items()
        self._owner = owner
        super().__init__()
        for key, hook in items:
            self[key] = hook

    @classmethod
    def none(cls, owner: Callable[[], Any]) -> HookDict:
        """Those of a module that is being made."""
        made = cls.__new__(cls)
        made._owner = owner
        return made

    def __setitem__(self, key: Any, hook: Any) -> None:
        OrderedDict.__setitem__(self, key, hook)
        changed(self._owner)
        module = self._owner()
        if module is not None:
            module.__dict__["_hooked"] = True

    def __delitem__(self, key: Any) -> None:
        OrderedDict.__delitem__(self, key)
        changed(self._owner)

    def copy(self) -> OrderedDict:
        return OrderedDict(self)

    def __copy__(self) -> OrderedDict:
        return OrderedDict(self)

    def __deepcopy__(self, memo: dict) -> HookDict:
        # Of this kind at once, for a module to adopt: handles that are copied with it refer to this dictionary.
        memo[id(self)] = made = HookDict.none(_nobody)
        for key, hook in self.items():
            OrderedDict.__setitem__(made, key, copy.deepcopy(hook, memo))
        return made

    def __reduce_ex__(self, proto: int) -> tuple:
        return OrderedDict, (), None, None, iter(self.items())

    def __repr__(self) -> str:
        return repr(OrderedDict(self))


def owner_of(module: Any) -> Callable[[], Any]:
    """A weak reference to ``module``, to be shared by its dictionaries."""
    return weakref.ref(module)
