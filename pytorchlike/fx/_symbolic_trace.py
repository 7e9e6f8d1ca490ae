"""``torch.fx._symbolic_trace``: where libraries look for these names, and what those need that write ``trace`` anew."""

from __future__ import annotations

import functools as functools
from collections.abc import Callable
from types import FunctionType as FunctionType
from typing import Any

from ..nn.modules.module import Module
from ._compatibility import compatibility as compatibility
from .graph import Graph as Graph
from .proxy import Proxy as Proxy
from .tracer import Tracer as Tracer
from .tracer import _not_looked_into, put_back, wrap_marked
from .tracer import is_fx_tracing as is_fx_tracing
from .tracer import symbolic_trace as symbolic_trace
from .tracer import wrap as wrap

_orig_module_call: Callable[..., Any] = Module.__call__


class ScriptObject:
    """Objects of TorchScript's classes: there are none."""


def _orig_module_getattr(module: Module, name: str) -> Any:
    """An attribute of a module."""
    return getattr(module, name)


class _Patcher:
    """A context in which names of dicts and classes are others."""

    def __init__(self) -> None:
        self.undo: list[tuple[dict[str, Any], str, Any]] = []
        self.methods: list[tuple[type, str, Any]] = []

    def patch(
        self, frame_dict: dict[str, Any], name: str, new_fn: Callable[..., Any], deduplicate: bool = True
    ) -> None:
        """Another function by that name in a dict, which must know the name."""
        if deduplicate and any(place is frame_dict and n == name for place, n, _ in self.undo):
            return
        self.undo.append((frame_dict, name, frame_dict[name]))
        frame_dict[name] = new_fn

    def patch_method(self, cls: type, name: str, new_fn: Callable[..., Any], deduplicate: bool = True) -> None:
        """Another method by that name in a class."""
        if deduplicate and any(c is cls and n == name for c, n, _ in self.methods):
            return
        self.methods.append((cls, name, vars(cls).get(name)))
        setattr(cls, name, new_fn)

    def __enter__(self) -> _Patcher:
        return self

    def __exit__(self, *error: object) -> None:
        put_back(self.undo)
        for cls, name, old in reversed(self.methods):
            if old is None:
                delattr(cls, name)
            else:
                setattr(cls, name, old)


def _patch_wrapped_functions(patcher: _Patcher) -> None:
    """Functions given to ``torch.fx.wrap`` are not looked into meanwhile."""
    wrap_marked(patcher.undo)


def _autowrap_check(patcher: _Patcher, frame_dict: dict[str, Any], function_ids: set[int]) -> None:
    """Nor are those of ``function_ids`` that a dict of globals knows by name."""
    for name, value in list(frame_dict.items()):
        if not name.startswith("_") and callable(value) and id(value) in function_ids:
            patcher.patch(frame_dict, name, _not_looked_into(value))
