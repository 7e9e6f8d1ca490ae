"""The lists and dicts in a node's arguments, which are replaced, not changed: a graph would not learn who uses what."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["immutable_dict", "immutable_list"]


def _refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises TypeError."""
    raise TypeError(f"{type(self).__name__!r} object does not support mutation. If you are attempting to modify the "
                    "kwargs or args of a torch.fx.Node object, instead create a new copy of it and assign the copy to "
                    "the node")  # fmt: skip


class immutable_list(list):
    """A list that cannot be changed, and can be hashed if what is in it can."""

    append = extend = insert = pop = remove = clear = reverse = sort = _refuse  # type: ignore[assignment]
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse  # type: ignore[assignment]

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))

    def __reduce__(self) -> tuple:
        return type(self), (tuple(self),)


class immutable_dict(dict):
    """A dict that cannot be changed, and can be hashed if what is in it can."""

    clear = pop = popitem = setdefault = update = _refuse  # type: ignore[assignment]
    __setitem__ = __delitem__ = __ior__ = _refuse  # type: ignore[assignment]

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple:
        return type(self), (dict(self),)
