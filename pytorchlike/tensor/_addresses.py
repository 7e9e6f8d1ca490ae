"""Where tensors lie in memory.

Copies share their immutable arrays, which nobody notices but who compares addresses: libraries that save tensors find
those that share memory so.  Whose address is asked for therefore gets an array of its own if another storage has it.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from ..engine import read

#: Address -> who told it: a storage, or a tensor that has none of its own.
_told: dict[int, weakref.ref] = {}
_LIMIT = 100_000


class _Place:
    """Where tensors lie that are values of their own here and share memory in PyTorch.

    first: who has told the address, the others' follow from it.   before: the bytes of the place before its own.
    """

    __slots__ = ("first", "before")

    def __init__(self, first: Any) -> None:
        self.first, self.before = weakref.ref(first), 0


#: id of a tensor, or of a storage -> (it, its place, the bytes of the place before its own).
_beside: dict[int, tuple[weakref.ref, _Place, int]] = {}


def lay_beside(new: Any, old: Any) -> None:
    """Whoever compares addresses is to see that ``new`` looks at the memory of ``old``, as a view does."""
    holder, offset = _holder(old), 0 if old._alias is None else old.storage_offset() * old.itemsize
    known = _beside.get(id(holder))
    place, before = (_Place(holder), 0) if known is None else known[1:]
    _remember(new, place, before + offset)


def _remember(holder: Any, place: _Place, before: int) -> None:
    key = id(holder)
    _beside[key] = weakref.ref(holder, lambda _: _beside.pop(key, None)), place, before


def lies_with(storage: Any, t: Any) -> None:
    """A storage made for ``t`` lies where that does, also when only views are left of it."""
    known = _beside.get(id(t)) if _beside else None
    if known is not None:
        _remember(storage, *known[1:])


def _holder(t: Any) -> Any:
    """What stands for the memory of a tensor: all that look at it have the same."""
    if t._alias is None:
        return t
    owner = t._alias.storage.owner
    owner = None if owner is None else owner()
    return t._alias.storage if owner is None else owner


def _value_of(holder: Any) -> Any:
    """The value that lies there; None while it is memory of the user's."""
    alias = getattr(holder, "_alias", None)
    if alias is not None:
        holder = alias.storage
    if hasattr(holder, "_value"):
        return holder._value
    return None if holder.host is not None else holder.value


def _lies_at(array: Any) -> int:
    return np.asarray(array).__array_interface__["data"][0]


def address(t: Any) -> int:
    """Address of the first byte of the memory that a tensor looks at (of the host copy on accelerators)."""
    holder = _holder(t)
    known = _beside.get(id(holder))
    if known is not None:
        _, place, before = known
        first = place.first()
        if first is not None and first is not holder:
            return _start(first, first) + before - place.before
        place.first, place.before = weakref.ref(holder), before
    return _start(t, holder)


def _start(looks: Any, holder: Any) -> int:
    """The address for what looks at the memory of ``holder``: a tensor or a storage."""
    storage = looks if not hasattr(looks, "_alias") else None if looks._alias is None else looks._alias.storage
    if storage is None:
        array, value = looks._host(), looks._value
    elif storage.host is not None:
        return _lies_at(storage.host)
    else:
        value = storage.value
        array = np.asarray(read(value))
    at = _lies_at(array)
    other = _told[at]() if at in _told else None
    if other is not None and other is not holder:
        theirs = _value_of(other)
        if theirs is not None and theirs is not value and theirs.data is not None and _lies_at(theirs.data) == at:
            value.data = np.array(array)
            at = _lies_at(value.data)
    if len(_told) >= _LIMIT:
        for gone in [k for k, ref in _told.items() if ref() is None] or list(_told):
            del _told[gone]
    _told[at] = weakref.ref(holder)
    return at
