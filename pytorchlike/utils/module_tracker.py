"""``torch.utils.module_tracker``: in which module a program is, forward and backward."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Self

from ..autograd.passes import current_task, queue_callback
from ..nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from ..tensor import Tensor
from . import _pytree as pytree

__all__ = ["ModuleTracker"]


class ModuleTracker:
    """Within it, ``parents`` are the full names of the modules that are running, "Global" among them.

    Names start with the class of the outermost module. In a backward pass whose steps are run one by one (under a
    ``TorchDispatchMode``, say), a module runs from the gradient of its results to that of its inputs; ``is_bw`` tells
    whether a backward pass is running.
    """

    def __init__(self) -> None:
        self.parents: set[str] = {"Global"}
        self._names: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._handles: list[Any] = []
        self._ends_with = -1

    @property
    def is_bw(self) -> bool:
        """Whether a backward pass is running."""
        return current_task() is not None

    def name_of(self, module: Any) -> str:
        """The full name of a module."""
        if module not in self._names:
            root = type(module).__name__
            for path, each in module.named_modules():
                self._names.setdefault(each, f"{root}.{path}" if path else root)
        return self._names[module]

    def _on_gradient(self, values: Any, act: Callable[[], None]) -> None:
        for t in pytree.tree_leaves(values):
            if isinstance(t, Tensor) and t.requires_grad:
                self._handles.append(t.register_hook(lambda grad: act()))

    def _backward_enters(self, name: str) -> None:
        task = current_task()
        if task is not None and task.id != self._ends_with:
            self._ends_with = task.id
            queue_callback(self._backward_ends)
        self.parents.add(name)

    def _backward_ends(self) -> None:
        self.parents = {"Global"}

    def _enter(self, module: Any, inputs: Any) -> None:
        name = self.name_of(module)
        self.parents.add(name)
        self._on_gradient(inputs, lambda: self.parents.discard(name))

    def _leave(self, module: Any, inputs: Any, output: Any) -> None:
        name = self.name_of(module)
        self.parents.discard(name)
        self._on_gradient(output, lambda: self._backward_enters(name))

    def __enter__(self) -> Self:
        self._handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        ]
        return self

    def __exit__(self, *error: Any) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
