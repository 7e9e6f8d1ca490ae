"""The backward graph: its nodes, hooks on them, and what is kept for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..engine import Leaf
from ..engine import grad as reverse
from ..engine.grad import leading_to
from ..engine.segment import Segment
from ..engine.trie import Input
from ..tensor import Tensor
from ..utils.hooks import RemovableHandle
from .nodes import CUSTOM as CUSTOM
from .nodes import GradientEdge as GradientEdge
from .nodes import Node as Node
from .nodes import get_gradient_edge as get_gradient_edge
from .nodes import node_of as node_of
from .saved import allow_mutation_on_saved_tensors as allow_mutation_on_saved_tensors
from .saved import disable_saved_tensors_hooks as disable_saved_tensors_hooks
from .saved import save_on_cpu as save_on_cpu
from .saved import saved_tensors_hooks as saved_tensors_hooks

__all__ = [
    "GradientEdge", "Node", "allow_mutation_on_saved_tensors", "disable_saved_tensors_hooks", "get_gradient_edge",
    "increment_version", "register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks",
    "set_warn_on_accumulate_grad_stream_mismatch",
]  # fmt: skip


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Count a write to a tensor, or to each of several, that went another way than through its operations."""
    for t in (tensor,) if isinstance(tensor, Tensor) else tensor:
        if t.is_inference():
            raise RuntimeError("Inplace update to inference tensor outside InferenceMode is not allowed.")
        if t._alias is None:
            t._bumps += 1
        else:
            t._count_write(t._alias)


def set_warn_on_accumulate_grad_stream_mismatch(enabled: bool) -> None:
    """Accepted for PyTorch's sake: operations run in the order of the program, there are no streams to mismatch."""
    if not isinstance(enabled, bool):
        raise TypeError(f"enabled must be a bool, not {type(enabled).__name__}")


class _MultiHandle(RemovableHandle):
    """Removes the hooks of all tensors."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self.handles = tuple(handles)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def __getstate__(self) -> tuple:
        return self.handles

    def __setstate__(self, state: tuple) -> None:
        self.handles = state


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[[Any], None], *, mode: str = "all"
) -> RemovableHandle:  # fmt: skip
    """Call ``fn`` in each reverse pass when gradients of ``tensors`` are there.

    mode "all": ``fn(list of gradients)`` once those of all the tensors that get one in that pass have come, with None
    for the others.  mode "any": ``fn(gradient)`` once, with the first that comes.  Raises ValueError for other modes.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    lock = threading.Lock()
    state: dict[str, Any] = {"task": None}

    def arrive(k: int, grad: Tensor) -> None:
        from .passes import current_task

        task = current_task()
        with lock:
            if state["task"] != task.id:
                expected = _will_arrive(task, tensors) if mode == "all" else None
                state.update(task=task.id, expected=expected, grads=[None] * len(tensors), done=False)
            if mode == "any":
                run = not state["done"]
                state["done"] = True
            else:
                if state["grads"][k] is None:
                    state["expected"].discard(k)
                state["grads"][k] = grad
                run = not state["expected"] and not state["done"]
                state["done"] = state["done"] or run
        if run:
            fn(grad if mode == "any" else state["grads"])

    handles = [t.register_hook(lambda g, k=k: arrive(k, g)) for k, t in enumerate(tensors)]
    return _MultiHandle(handles)


def _will_arrive(task: Any, tensors: Sequence[Tensor]) -> set[int]:
    """Which tensors get gradients in a pass."""
    if task.leaves is not None:  # all hooks on other tensors have run
        return {k for k, t in enumerate(tensors) if t._get().node in task.leaves}
    reached = _reached(task.roots)
    out = set()
    for k, t in enumerate(tensors):
        v = t._get()
        where = ("leaf", v.node) if type(v.node) is Leaf else (v.trace, v.slot) if v.trace is not None else v.node
        if where in reached:
            out.add(k)
    return out


def _reached(roots: list) -> set:
    """Places of the tape that the running pass comes to: all behind its roots, or what leads to its targets."""
    run = reverse.current_pass()
    todo: dict[Any, set[int]] = {}
    out: set = set()

    def visit(v: Any) -> None:
        where, slot = run.point(v)
        if type(where) is Leaf:
            if run.targets is None or (where, 0) in run.wanted:
                out.add(("leaf", where))
        elif hasattr(where, "watched"):
            todo.setdefault(where, set()).add(slot)

    for v in roots:
        visit(v)
    while todo:
        where = max(todo, key=run.order)
        slots = todo.pop(where)
        pending = type(where) is not Segment
        graph = where.state.graph() if pending else where.graph
        reach = run._reach(graph, dict.fromkeys(slots))
        ends = run._targets_within(where, graph, where.values if pending else None,
                                   tuple(s for w, s in run.wanted if w is where))  # fmt: skip
        if ends is not None:
            reach &= leading_to(graph, ends)
        for s in reach:
            out.add((where, s))
            if type(graph.producer[s]) is Input or graph.metas[s].grad == 1:
                v = where.values[s] if pending else run._value(where, None, s)
                if v.trace is not where or type(v.node) is Leaf:
                    visit(v)
    return out
