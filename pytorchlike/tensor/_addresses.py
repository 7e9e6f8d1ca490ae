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
    if t._alias is None:
        array, value = t._host(), t._value
    elif t._alias.storage.host is not None:
        return _lies_at(t._alias.storage.host)
    else:
        value = t._alias.storage.value
        array = np.asarray(read(value))
    at, holder = _lies_at(array), _holder(t)
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
