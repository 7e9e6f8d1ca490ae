"""Differentiation as a user sees it: ``backward``, ``grad``, modes, custom functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import engine
from ..engine import Leaf
from ..tensor import Tensor
from .function import Function as Function
from .mode import enable_grad as enable_grad
from .mode import inference_mode as inference_mode
from .mode import is_grad_enabled as is_grad_enabled
from .mode import no_grad as no_grad
from .mode import set_grad_enabled as set_grad_enabled

Variable = Tensor

__all__ = ["Function", "Variable", "backward", "enable_grad", "grad", "inference_mode", "no_grad", "set_grad_enabled"]


def _seeds(outputs: Sequence[Tensor], grads: Sequence[Tensor | None] | None, what: str) -> list:
    if grads is None:
        grads = [None] * len(outputs)
    if len(grads) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(grads)} gradients")
    seeds = []
    for i, (out, g) in enumerate(zip(outputs, grads, strict=True)):
        meta = out._value.meta
        if not out.requires_grad:
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        if g is None:
            if meta.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if meta.dtype.kind == "c":
                raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {out.dtype}")
            seeds.append(None)
            continue
        if not isinstance(g, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        if g._value.meta.shape != meta.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {g.shape} and output[{i}] has a shape of "
                f"{out.shape}."
            )
        if (g._value.meta.dtype.kind == "c") != (meta.dtype.kind == "c"):
            raise RuntimeError(
                "For complex Tensors, both grad_output and output are required to have the same dtype. "
                f"Mismatch in dtype: grad_output[{i}] has a dtype of {g.dtype} and output[{i}] has a dtype of "
                f"{out.dtype}."
            )
        if g._value.meta.dtype != meta.dtype:
            g = g.to(out.dtype)
        seeds.append(g._get())
    return seeds


def backward(
    tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
    grad_variables: Any = None, inputs: Any = None,
) -> None:  # fmt: skip
    """Accumulate the gradients of ``tensors``, weighted by ``grad_tensors``, into the leaves (or into ``inputs``)."""
    if grad_variables is not None:
        raise TypeError("backward(): grad_variables was renamed grad_tensors")
    tensors = (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)
    if isinstance(grad_tensors, Tensor):
        grad_tensors = (grad_tensors,)
    seeds = _seeds(tensors, grad_tensors, "tensors")
    retain = create_graph if retain_graph is None else retain_graph
    roots = [t._get() for t in tensors]
    if inputs is None:
        pairs, _ = engine.backward(roots, seeds, None, retain, create_graph)
        del roots, seeds
        new = object.__new__
        for leaf, value in pairs:
            if leaf.grad is None and leaf.hooks is None and leaf.post_hooks is None:
                t = leaf.grad = new(Tensor)
                t._value = value
                t._alias = None
            else:
                accumulate(leaf, value, create_graph)
        return
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if not inputs:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    for i, x in enumerate(inputs):
        if not x.requires_grad:
            raise RuntimeError(f"One of the differentiated Tensors does not require grad (inputs[{i}])")
    _, grads = engine.backward(roots, seeds, [x._get() for x in inputs], retain, create_graph)
    for x, g in zip(inputs, grads, strict=True):
        if g is None:
            continue
        node = x._get().node
        if type(node) is Leaf:
            accumulate(node, g, create_graph)
        elif not x.retains_grad:  # which has put it there already
            new = Tensor._of(g)
            x._own_grad = new if x._own_grad is None else x._own_grad + new


def accumulate(leaf: Leaf, value: Any, create_graph: bool) -> None:
    """Add a gradient to a leaf's ``.grad``, running its hooks."""
    grad = Tensor._of(value)
    if leaf.hooks:
        for hook in list(leaf.hooks.values()):
            new = hook(grad)
            if new is not None:
                if not isinstance(new, Tensor):
                    raise TypeError(f"hook returned a {type(new).__name__}, expected a Tensor or None")
                if new.shape != grad.shape:
                    raise RuntimeError(
                        f"hook has changed the size of value: {list(grad.shape)} became "
                        f"{list(new.shape)}"
                    )
                grad = new
    old = leaf.grad
    if old is None:
        leaf.grad = grad
    elif create_graph:
        leaf.grad = old + grad
    else:
        with no_grad():
            old.add_(grad)
    if leaf.post_hooks:
        owner = leaf.owner() if leaf.owner is not None else None
        if owner is not None:
            for hook in list(leaf.post_hooks.values()):
                hook(owner)


def grad(
    outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
    only_inputs: bool = True, allow_unused: bool | None = None, is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients of ``outputs``, weighted by ``grad_outputs``, with respect to ``inputs``, as a tuple.

    Raises RuntimeError if an input was not used to compute the outputs, unless ``allow_unused`` (None for it then) or
    ``materialize_grads`` (zeros for it then).
    """
    if not only_inputs:
        raise ValueError("grad(): only_inputs=False is no longer supported; use backward() to accumulate into leaves")
    outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if not inputs:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    if isinstance(grad_outputs, Tensor):
        grad_outputs = (grad_outputs,)
    if allow_unused is False and materialize_grads:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: False.")
    if is_grads_batched:
        return _batched(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads)
    seeds = _seeds(outputs, grad_outputs, "outputs")
    for x in inputs:
        if not x.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    retain = create_graph if retain_graph is None else retain_graph
    _, found = engine.backward([t._get() for t in outputs], seeds, [x._get() for x in inputs], retain, create_graph)
    result: list[Tensor | None] = []
    for i, (x, g) in enumerate(zip(inputs, found, strict=True)):
        if g is None:
            if materialize_grads:
                from ..tensor import functions as T

                result.append(T.zeros_like(x))
                continue
            if not allow_unused:
                raise RuntimeError(
                    f"One of the differentiated Tensors appears to not have been used in the graph (input {i} of shape "
                    f"{list(x.shape)}). Set allow_unused=True if this is the desired behavior."
                )
            result.append(None)
        else:
            out = Tensor._of(g)
            hooks = x._get().node.hooks if type(x._get().node) is Leaf else None
            if hooks:
                for hook in list(hooks.values()):
                    new = hook(out)
                    out = out if new is None else new
            result.append(out)
    return tuple(result)


def _batched(outputs: tuple, inputs: tuple, grads: Any, retain: bool | None, create: bool, unused: bool | None,
             zeros: bool) -> tuple:  # fmt: skip
    """One reverse pass for each leading index of the cotangents; XLA merges what they share."""
    from ..tensor import functions as T

    if grads is None:
        raise RuntimeError("is_grads_batched=True needs grad_outputs with a leading batch dimension")
    n = next(g.shape[0] for g in grads if g is not None)
    rows = [
        grad(outputs, inputs, [None if g is None else g[i] for g in grads], True if i < n - 1 else retain, create,
             allow_unused=unused, materialize_grads=zeros)
        for i in range(n)
    ]  # fmt: skip
    return tuple(None if col[0] is None else T.stack(list(col)) for col in zip(*rows, strict=True))
