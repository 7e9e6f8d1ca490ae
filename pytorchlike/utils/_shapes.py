"""A model's forward pass on shapes alone: which modules were called with what, and what that costs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..autograd.mode import no_grad
from ..engine.op import ARRAY, Lifted
from ..engine.scope import Scope, settle
from ..engine.trace import _lifted_dtype
from ..nn import Module
from ..nn.utils.stateless import functional_call
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


# -- costs ----------------------------------------------------------------------------------------------------------


def flops_of(call: Any) -> int:
    """Floating-point operations of the matrix products and convolutions in a recorded call, two per multiply-add."""
    if call.op.alias or call.op.walk is not None:
        return 0
    return _flops(call.kernel, tuple((m.shape, m.dtype) for m in call.metas))


@functools.lru_cache(4096)
def _flops(kernel: Any, shapes: tuple) -> int:
    import jax

    left = iter(shapes)
    specs = tuple(
        jax.ShapeDtypeStruct(*next(left)) if item is ARRAY else jax.ShapeDtypeStruct((), _lifted_dtype(item[1]))
        for item in kernel.pattern
        if item is ARRAY or (type(item) is tuple and item[0] is Lifted)
    )
    with jax.enable_x64(True):
        return _count(jax.make_jaxpr(kernel.evaluate)(specs).jaxpr)


def _count(jaxpr: Any) -> int:
    total = 0
    for eqn in jaxpr.eqns:
        name, params = eqn.primitive.name, eqn.params
        if name == "dot_general":
            (left, _), _ = params["dimension_numbers"]
            shape = eqn.invars[0].aval.shape
            total += 2 * eqn.outvars[0].aval.size * math.prod(shape[d] for d in left)
        elif name == "conv_general_dilated":
            kernel, spec = eqn.invars[1].aval.shape, params["dimension_numbers"].rhs_spec
            total += 2 * eqn.outvars[0].aval.size * (int(np.prod(kernel)) // kernel[spec[0]])
        else:
            inner = [_count(getattr(j, "jaxpr", j)) for j in _inner(params)]
            if name == "cond":
                total += max(inner, default=0)
            else:
                total += sum(inner) * (params["length"] if name == "scan" else 1)
    return total


def _inner(params: dict) -> Iterator[Any]:
    for key, value in params.items():
        if key in ("jvp_jaxpr_fun", "jvp_jaxpr_thunk", "fwd_jaxpr_thunk", "bwd"):
            continue
        for one in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(one, "eqns") or hasattr(one, "jaxpr"):
                yield one
