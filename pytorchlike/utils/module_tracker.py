"""``torch.utils.module_tracker``: in which module's forward a program is."""

from __future__ import annotations

import weakref
from typing import Any, Self

from ..nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

__all__ = ["ModuleTracker"]


class ModuleTracker:
    """Within it, ``parents`` are the full names of the modules whose forward is running, "Global" among them.

    Names start with the class of the outermost module. ``is_bw`` tells whether a backward pass is running: it is False,
    since modules do not run in one (reverse passes are recorded as a whole).
    """

    def __init__(self) -> None:
        self.parents: set[str] = {"Global"}
        self._names: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._handles: list[Any] = []

    @property
    def is_bw(self) -> bool:
        """False, see the class."""
        return False

    def name_of(self, module: Any) -> str:
        """The full name of a module."""
        if module not in self._names:
            root = type(module).__name__
            for path, each in module.named_modules():
                self._names.setdefault(each, f"{root}.{path}" if path else root)
        return self._names[module]

    def _enter(self, module: Any, inputs: Any) -> None:
        self.parents.add(self.name_of(module))

    def _leave(self, module: Any, inputs: Any, output: Any) -> None:
        self.parents.discard(self.name_of(module))

    def __enter__(self) -> Self:
        self._handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        ]
        return self

    def __exit__(self, *error: Any) -> None:
        for handle in self._handles:
            handle.remove()
