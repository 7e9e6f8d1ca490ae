"""Reverse passes as a user starts them: ``backward`` and ``grad``."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any

from .. import engine
from ..engine import Leaf, Value, local
from ..tensor import Tensor
from ..tensor._register import KINDS
from ..tensor.composed import Composed, carriers, gradients, like
from ..tensor.wrapped import carried, carry, is_wrapped, tensor_of, value_of
from .mode import no_grad, set_grad_enabled
from .nodes import GradientEdge

__all__ = ["accumulate", "backward", "current_task", "grad", "queue_callback"]


class Task:
    """One call of ``backward`` or ``grad``, from its start until the last gradient is stored.

    plain: it accumulates into whatever leaves there are.   leaves: those that get a gradient, once this is known.
    """

    __slots__ = ("id", "plain", "roots", "leaves", "callbacks", "outer")

    def __init__(self, plain: bool, roots: list[Value]) -> None:
        self.id = next(_ids)
        self.plain, self.roots = plain, roots
        self.leaves: set[Leaf] | None = None
        self.callbacks: list[Any] = []

    def __enter__(self) -> Task:
        self.outer = _running.task
        _running.task = self
        return self

    def __exit__(self, kind: Any, *exc: object) -> None:
        try:
            if kind is None:
                for callback in self.callbacks:
                    callback()
        finally:
            _running.task = self.outer


class _Running(threading.local):
    task: Task | None = None


_ids = itertools.count()
_running = _Running()


def current_task() -> Task | None:
    """The innermost reverse pass that runs in this thread."""
    return _running.task


def queue_callback(callback: Any) -> None:
    """Call ``callback()`` when the reverse pass that is running has ended.  RuntimeError if none is."""
    task = current_task()
    if task is None:
        raise RuntimeError("Final callbacks can only be installed during backward pass.")
    task.callbacks.append(callback)


#: Makes the gradient of a scalar by itself where somebody is to be asked, see ``_dispatch``; or None.
seeded: Any = None


def _value(x: Any) -> Value:
    if isinstance(x, GradientEdge):
        return x.value()
    return value_of(x._carrier if KINDS and isinstance(x, Composed) else x)


def _tensors(xs: Any) -> tuple:
    return (xs,) if isinstance(xs, (Tensor, GradientEdge)) else tuple(xs)


def _seeds(outputs: Sequence[Any], values: list[Value], grads: Any, batched: bool = False) -> list:
    if grads is None:
        grads = [None] * len(outputs)
    elif isinstance(grads, Tensor):
        grads = (grads,)
    if len(grads) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(grads)} gradients")
    seeds: list[Value | None] = []
    for i, (value, g) in enumerate(zip(values, grads, strict=True)):
        meta = value.meta
        if not meta.grad:
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        if g is None:
            if meta.size != 1 or batched:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if meta.dtype.kind == "c":
                kind = Tensor._of(value).dtype
                raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {kind}")
            seed = None if seeded is None else seeded(outputs[i])
            seeds.append(None if seed is None else carry(seed))
            continue
        if not isinstance(g, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        given = g._value.meta
        shape = given.shape[1:] if batched else given.shape
        if shape != meta.shape or (batched and not given.shape):
            from ..tensor.size import Size

            what = f"grad_output[{i}] has a shape of {g.shape} and output[{i}] has a shape of {Size(meta.shape)}."
            if batched:
                raise RuntimeError(
                    "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch "
                    "dimension. The sizes of the remaining dimensions are expected to match the shape of corresponding "
                    f"output, but a mismatch was detected: {what} If you only want some tensors in `grad_output` to be "
                    "considered batched, consider using vmap."
                )
            raise RuntimeError(f"Mismatch in shape: {what}")
        if (given.dtype.kind == "c") != (meta.dtype.kind == "c"):
            raise RuntimeError(
                "For complex Tensors, both grad_output and output are required to have the same dtype. "
                f"Mismatch in dtype: grad_output[{i}] has a dtype of {g.dtype} and output[{i}] has a dtype of "
                f"{Tensor._of(value).dtype}."
            )
        if given.dtype != meta.dtype:
            g = g.to(Tensor._of(value).dtype)
        seeds.append(carry(g))
    return seeds


def backward(
    tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
    grad_variables: Any = None, inputs: Any = None,
) -> None:  # fmt: skip
    """Accumulate the gradients of ``tensors``, weighted by ``grad_tensors``, into the leaves (or into ``inputs``).

    ``tensors`` and ``inputs`` may also be :class:`~.nodes.GradientEdge` s.  Raises RuntimeError for a tensor that does
    not require gradients, for one that is no scalar and has no ``grad_tensors``, and if the graph was given up by an
    earlier pass without ``retain_graph=True``.
    """
    if local.transforms:
        raise RuntimeError(
            "backward() called inside a functorch transform. This is not supported, please use torch.func.grad or "
            "torch.func.vjp instead or call backward() outside of functorch transforms. "
            f"(inside {local.transforms[-1]})"
        )
    if grad_variables is not None:
        import warnings

        warnings.warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2)
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. Please only "
                "use `grad_tensors`."
            )
        grad_tensors = grad_variables
    tensors = _tensors(tensors)
    roots = [_value(t) for t in tensors]
    if inputs is not None:
        inputs = carriers(_tensors(inputs))
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    seeds = _seeds(tensors, roots, gradients(tensors, grad_tensors) if KINDS else grad_tensors)
    retain = create_graph if retain_graph is None else retain_graph
    with Task(inputs is None, roots) as task:
        if inputs is None:
            pairs, _ = engine.backward(roots, seeds, None, retain, create_graph)
            del roots, seeds
            task.roots = []
            plain = not carried
            for leaf, value in pairs:
                if plain and leaf.grad is None and not leaf.hooks and not leaf.post_hooks:
                    t = object.__new__(Tensor)
                    t._value, t._alias = value, None
                    with _adding:
                        if leaf.grad is None:
                            leaf.grad = t
                            continue
                if task.leaves is None:
                    task.leaves = {leaf for leaf, _ in pairs}
                accumulate(leaf, value, create_graph)
            return
        targets = [_value(x) for x in inputs]
        for i, v in enumerate(targets):
            if not v.meta.grad:
                raise RuntimeError(f"One of the differentiated Tensors does not require grad (inputs[{i}])")
        _, grads = engine.backward(roots, seeds, targets, retain, create_graph)
        task.leaves = {v.node for v, g in zip(targets, grads, strict=True) if type(v.node) is Leaf and g is not None}
        for x, v, g in zip(inputs, targets, grads, strict=True):
            if g is None:
                continue
            if type(v.node) is Leaf:
                accumulate(v.node, g, create_graph)
            elif isinstance(x, Tensor) and not x.retains_grad:  # which has put it there already
                new = tensor_of(g)
                x._own_grad = new if x._own_grad is None else x._own_grad + new


def _in_pass(create_graph: bool) -> set_grad_enabled:
    """The mode of a reverse pass, in which hooks run as well."""
    return set_grad_enabled(create_graph or (local.trace.nested and local.trace.mode.grad))


def _check_returned(new: Any) -> None:
    if not isinstance(new, Tensor):
        raise TypeError(f"expected Variable, but hook returned '{type(new).__name__}'")


def hooked(leaf: Leaf, grad: Tensor, create_graph: bool, of_node: bool = False) -> Tensor:
    """A leaf's gradient after the hooks of the leaf, or after those of the step that adds to its ``.grad``."""
    for hook in list(leaf.hooks.values()):
        fn = getattr(hook, "of_node", None)
        if (fn is not None) is not of_node:
            continue
        with _in_pass(create_graph):
            new = hook(grad) if fn is None else fn((grad,))
        if new is None:
            continue
        if of_node and isinstance(new, tuple):
            new = new[0]
        _check_returned(new)
        if new.shape != grad.shape:
            raise RuntimeError(
                f"hook '{getattr(hook, '__name__', hook)}' has changed the size of value: {list(grad.shape)} became "
                f"{list(new.shape)}"
            )
        grad = new
    return grad


def accumulate(leaf: Leaf, value: Value, create_graph: bool) -> None:
    """Add a gradient to a leaf's ``.grad``, running its hooks."""
    give(leaf, tensor_of(value), create_graph)


def give(leaf: Leaf, grad: Tensor, create_graph: bool) -> None:
    """As :func:`accumulate`, of a tensor, which may be sparse."""
    if leaf.hooks:
        grad = hooked(leaf, hooked(leaf, grad, create_graph), create_graph, of_node=True)
    with _adding:
        _add(leaf, grad, create_graph)
    if leaf.post_hooks:
        owner = leaf.owner() if leaf.owner is not None else None
        for hook in list(leaf.post_hooks.values()):
            of_node = getattr(hook, "of_node", None)
            with _in_pass(create_graph):
                if of_node is not None:
                    of_node((), (grad,))
                elif owner is not None and (returned := hook(owner)) is not None:
                    _check_returned(returned)
                    raise RuntimeError("Tensor post accumulate grad hooks should return None.")


#: Held while a gradient is added: threads that train the same parameters must not lose one another's.
_adding = threading.RLock()


def _add(leaf: Leaf, grad: Tensor, create_graph: bool) -> None:
    old = leaf.grad
    if old is None:
        leaf.grad = grad
    elif create_graph:
        if local.trace.nested:
            local.trace.replaced(leaf)
        leaf.grad = old + grad
    elif is_wrapped(old) or is_wrapped(grad):
        with no_grad():
            leaf.grad = old + grad
    elif KINDS and isinstance(old, Composed):
        with no_grad():
            leaf.grad = old + grad if isinstance(grad, Composed) else grad + old
    else:
        with no_grad():
            old.add_(grad)


def grad(
    outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
    only_inputs: bool = True, allow_unused: bool | None = None, is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients of ``outputs``, weighted by ``grad_outputs``, with respect to ``inputs``, as a tuple.

    is_grads_batched: ``grad_outputs``, and so the results, have a leading dimension: one gradient for each entry, all
    in one pass.  Raises RuntimeError if an input was not used to compute the outputs, unless ``allow_unused`` (None for
    it then) or ``materialize_grads`` (zeros for it then).
    """
    if not only_inputs:
        import warnings

        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for "
            "other parts of the graph, please use torch.autograd.backward.", FutureWarning, stacklevel=2,
        )  # fmt: skip
    outputs, inputs = _tensors(outputs), _tensors(inputs)
    if not inputs:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    if allow_unused is False and materialize_grads:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    allow_unused = bool(materialize_grads) if allow_unused is None else allow_unused
    roots = [_value(t) for t in outputs]
    seeds = _seeds(outputs, roots, gradients(outputs, grad_outputs) if KINDS else grad_outputs, is_grads_batched)
    targets = [_value(x) for x in inputs]
    for v in targets:
        if not v.meta.grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    batch = None
    if is_grads_batched:
        sizes = {s.meta.shape[0] for s in seeds if s is not None}
        if len(sizes) != 1:
            raise ValueError(f"grad_outputs have leading (batch) dimensions of different sizes: {sorted(sizes)}")
        batch = sizes.pop()
    retain = create_graph if retain_graph is None else retain_graph
    with Task(False, roots) as task:
        _, found = engine.backward(roots, seeds, targets, retain, create_graph, batch)
        task.leaves = {v.node for v, g in zip(targets, found, strict=True) if type(v.node) is Leaf and g is not None}
        return tuple(
            like(x, _result(i, x, v, g, allow_unused, materialize_grads, batch, create_graph))
            for i, (x, v, g) in enumerate(zip(inputs, targets, found, strict=True))
        )


def _result(i: int, x: Any, v: Value, g: Any, unused: bool, zeros: bool, batch: int | None,
            create_graph: bool) -> Tensor | None:  # fmt: skip
    if g is None:
        if zeros:
            if isinstance(x, GradientEdge):
                raise RuntimeError("materialize_grads cannot be used when the given input is a GradientEdge")
            from ..tensor import functions as T

            lead = () if batch is None else (batch,)
            return T.zeros((*lead, *v.meta.shape), dtype=Tensor._of(v).dtype, requires_grad=create_graph)
        if not unused:
            raise RuntimeError(
                f"The differentiated Tensor at index {i} appears to not have been used in the graph. Set "
                f"allow_unused=True if this is the desired behavior. (It is of shape {list(v.meta.shape)}.)"
            )
        return None
    out = tensor_of(g)
    if type(v.node) is Leaf and v.node.hooks:
        out = hooked(v.node, out, create_graph)
    # within a transform the steps through a graph of outside are recorded with gradients
    return out.detach() if not create_graph and local.trace.nested and out.requires_grad else out
