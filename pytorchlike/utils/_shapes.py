"""A model's forward pass on shapes alone: which modules were called with what, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..autograd.mode import no_grad
from ..engine.cost import flops_of
from ..engine.scope import Scope, settle
from ..func import functional_call
from ..nn import Module
from ..tensor import Tensor
from ..tensor.random import default_generator


@dataclass(eq=False)
class Used:
    """One call of a module. ``flops``: of matrix products and convolutions in it, two for each multiply-add."""

    name: str
    module: Module
    depth: int
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    flops: int = 0
    parent: Used | None = None
    children: list[Used] = field(default_factory=list)

    def walk(self) -> Iterator[Used]:
        """This call and all within it, in the order in which they began."""
        yield self
        for child in self.children:
            yield from child.walk()


def tensors_in(tree: Any) -> list[Tensor]:
    """Tensors in nested containers, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        return [t for part in tree for t in tensors_in(part)]
    return tensors_in(vars(tree)) if hasattr(tree, "__dataclass_fields__") else []


def to_meta(tree: Any) -> Any:
    """The same with meta tensors, which have shapes and no data."""
    if isinstance(tree, Tensor):
        return tree.detach().to("meta")
    if isinstance(tree, dict):
        return type(tree)({k: to_meta(v) for k, v in tree.items()})
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*map(to_meta, tree))
    return type(tree)(map(to_meta, tree)) if isinstance(tree, (list, tuple)) else tree


class Costs(Scope):
    """Passes the cost of recorded calls on to a function, as they are recorded."""

    def __init__(self, found: Callable[[str, int], None]) -> None:
        super().__init__()
        self._found = found

    def portion(self, trace: Any, calls: list, executing: bool) -> None:
        for call in calls:
            if cost := flops_of(call):
                self._found(call.op.name, cost)


def forward(model: Module, args: tuple, kwargs: dict[str, Any] | None = None, mode: str = "same") -> Used:
    """The calls of a forward pass of ``model`` on tensors like the given ones; nothing is computed or changed.

    mode: 'train', 'eval', or 'same' as the model is in.

    Raises what ``forward`` raises, and NotImplementedError if it looks at values.
    """
    stack: list[Used] = []
    top: list[Used] = []
    names = {id(m): name for name, m in model.named_modules()}

    def before(module: Module, given: tuple, named: dict[str, Any]) -> None:
        settle()
        parent = stack[-1] if stack else None
        used = Used(names.get(id(module), ""), module, len(stack), tensors_in((given, named)), parent=parent)
        (parent.children if parent is not None else top).append(used)
        stack.append(used)

    def after(module: Module, given: tuple, named: dict[str, Any], result: Any) -> None:
        settle()
        used = stack.pop()
        used.outputs = tensors_in(result)
        if used.parent is not None:
            used.parent.flops += used.flops

    def cost(name: str, flops: int) -> None:
        if stack:
            stack[-1].flops += flops

    hooks = []
    modes = [(m, m.training) for m in model.modules()]
    state = default_generator.get_state()
    scope = Costs(cost)
    try:
        for m in model.modules():
            hooks.append(m.register_forward_pre_hook(before, with_kwargs=True))
            hooks.append(m.register_forward_hook(after, with_kwargs=True))
        if mode != "same":
            model.train(mode == "train")
        held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        scope.open()
        try:
            with no_grad():
                functional_call(model, to_meta(held), to_meta(tuple(args)), to_meta(dict(kwargs or {})))
        finally:
            scope.close()
    finally:
        for hook in hooks:
            hook.remove()
        for m, training in modes:
            m.training = training
        default_generator.set_state(state)
    return top[0]
