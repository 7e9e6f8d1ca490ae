"""Handles by which a registered hook is removed again."""

from __future__ import annotations

import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

__all__ = ["RemovableHandle", "unserializable_hook", "warn_if_has_hooks"]


class RemovableHandle:
    """Removes one hook from the dictionary (or dictionaries) it was registered in.

    Each handle has an ``id`` that no other handle of this process has: the hook's key. Only weak references to the
    dictionaries are held. Usable as a context manager, which removes the hook on leaving.
    """

    next_id: int = 0

    def __init__(self, hooks_dict: Any, *, extra_dict: Any = None) -> None:
        self.hooks_dict_ref = weakref.ref(hooks_dict)
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        extra = () if extra_dict is None else extra_dict if isinstance(extra_dict, list) else (extra_dict,)
        self.extra_dict_ref = tuple(weakref.ref(d) for d in extra)

    def remove(self) -> None:
        """Take the hook out; nothing happens if it is gone already."""
        for ref in (self.hooks_dict_ref, *self.extra_dict_ref):
            hooks = ref()
            if hooks is not None and self.id in hooks:
                del hooks[self.id]

    def __getstate__(self) -> tuple:
        return (self.hooks_dict_ref(), self.id, tuple(ref() for ref in self.extra_dict_ref))

    def __setstate__(self, state: tuple) -> None:
        hooks, self.id, extra = state[0], state[1], state[2] if len(state) > 2 else ()
        # A dictionary that had died is replaced by an empty one, which dies at once: remove() then does nothing.
        self.hooks_dict_ref = weakref.ref(OrderedDict() if hooks is None else hooks)
        self.extra_dict_ref = tuple(weakref.ref(OrderedDict() if d is None else d) for d in extra)
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, type: Any, value: Any, tb: Any) -> None:
        self.remove()


def unserializable_hook(f: Callable[..., Any]) -> Callable[..., Any]:
    """The hook itself, marked as one that need not be saved, so that :func:`warn_if_has_hooks` passes it over."""
    f.__torch_unserializable__ = True  # type: ignore[attr-defined]
    return f


def warn_if_has_hooks(tensor: Any) -> None:
    """Warn of each hook on the gradient of a tensor that is about to be saved, since hooks are not saved with it."""
    for hooks in (getattr(tensor._value.node, "hooks", None), tensor._hooks):
        for hook in (hooks or {}).values():
            if not hasattr(hook, "__torch_unserializable__"):
                warnings.warn(
                    f"backward hook {hook!r} on tensor will not be serialized. If that is meant, decorate the "
                    "function with @torch.utils.hooks.unserializable_hook to suppress this warning",
                    UserWarning,
                    stacklevel=2,
                )


def __getattr__(name: str) -> Any:
    if name == "BackwardHook":  # which comes of the modules, above this one
        from ..nn.modules._backward_hooks import BackwardHook

        return BackwardHook
    raise AttributeError(f"module 'torch.utils.hooks' has no attribute '{name}' (see docs/differences.md)")
