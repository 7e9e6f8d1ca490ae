"""Full backward hooks: identity nodes around a module's forward that see the gradients of its inputs and outputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ...autograd.function import Function
from ...autograd.mode import is_grad_enabled
from ...engine import local
from ...engine.errors import warn
from ...tensor import Tensor
from ...tensor import functions as T

__all__ = ["BackwardHook", "BackwardHooks"]


class BackwardHookFunction(Function):
    """Hands its tensors through; backward passes the gradients through ``rewrite``."""

    @staticmethod
    def forward(ctx: Any, rewrite: Callable[[tuple, list], tuple], *tensors: Tensor) -> tuple:
        ctx.rewrite = rewrite
        ctx.set_materialize_grads(False)
        passed = tuple(t.view(t.shape) for t in tensors)
        ctx.mark_non_differentiable(*[p for p, t in zip(passed, tensors, strict=True) if not t.requires_grad])
        ctx.shapes = [(t.shape, t.dtype, t.device) for t in tensors]
        return passed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        return (None, *ctx.rewrite(grads, ctx.shapes))


def _zeros(grad: Tensor | None, told: tuple) -> Tensor:
    """A gradient, or zeros for a tensor that the loss does not rest on."""
    shape, dtype, device = told
    return T.zeros(shape, dtype=dtype, device=device) if grad is None else grad


def _through(items: Sequence[Any], rewrite: Callable[[tuple, list], tuple]) -> tuple[tuple, list[int] | None]:
    """``items`` with its tensors led through the identity, and their places; (items, None) if none needs a gradient."""
    places = [i for i, item in enumerate(items) if isinstance(item, Tensor)]
    if not is_grad_enabled() or not any(items[i].requires_grad for i in places):
        return tuple(items), None
    if local.trace.nested:
        raise RuntimeError("full backward hooks of modules are not run inside of function transformations, nor of "
                           "compiled functions that are not seen to refer to the module")
    result = list(items)
    for place, new in zip(places, BackwardHookFunction.apply(rewrite, *[items[i] for i in places]), strict=True):
        result[place] = new
    return tuple(result), places


class BackwardHooks:
    """The full backward hooks and backward pre-hooks of one call of one module.

    ``inputs`` wraps the positional arguments before forward, ``outputs`` the result after it. During backward the
    pre-hooks get (module, grad_output) when the outputs' gradients are there, the hooks (module, grad_input,
    grad_output) when the inputs' are; what they return replaces grad_output or grad_input. Entries that are not
    tensors have None, and so have outputs that the loss does not rest on; such inputs have zeros. Without an input that
    needs a gradient the hooks run right after the pre-hooks.

    Raises:  RuntimeError if a hook returns another number of gradients than it was given.
    """

    def __init__(self, module: Any, hooks: list[Callable], pre_hooks: list[Callable], plain: bool = False) -> None:
        self.module, self.hooks, self.pre_hooks = module, hooks, pre_hooks
        self.plain = plain  # whether some are of the old kind, ``register_backward_hook``
        self.grad_output: tuple | None = None
        self.input_places: list[int] | None = None
        self.output_places: list[int] | None = None
        self.n_inputs = self.n_outputs = 0
        self.steps_before: set = set()  # what the inputs come from, where some hooks are of the old kind

    def inputs(self, args: tuple) -> tuple:
        self.n_inputs = len(args)
        new, self.input_places = _through(args, self._at_inputs)
        if self.plain:
            self.steps_before = {to.grad_fn for a, to in zip(args, new, strict=True)
                                 if isinstance(a, Tensor) and a.grad_fn is not None}
        return new

    def outputs(self, result: Any) -> Any:
        if not isinstance(result, (Tensor, tuple)):
            warnings.warn("For backward hooks to be called, module output should be a Tensor or a tuple of Tensors "
                          f"but received {type(result)}", stacklevel=4)
            return result
        items = result if isinstance(result, tuple) else (result,)
        self.n_outputs = len(items)
        new, self.output_places = _through(items, self._at_outputs)
        if self.output_places is None:
            return result
        if self.plain and not self._one_step(items):
            warn("Using a non-full backward hook when the forward contains multiple autograd Nodes is deprecated and "
                 "will be removed in future versions. This hook will be missing some grad_input. Please use "
                 "register_full_backward_hook to get the documented behavior.", FutureWarning)
        if not isinstance(result, tuple):
            return new[0]
        return new if type(result) is tuple else type(result)(*new)

    def _one_step(self, results: tuple) -> bool:
        """Whether forward was one step of the backward graph, of the inputs alone, as an activation is."""
        made = {t.grad_fn for t in results if isinstance(t, Tensor)} - {None}
        return len(made) == 1 and {before for before, _ in made.pop().next_functions} == self.steps_before

    def _at_inputs(self, grads: tuple, told: list) -> tuple:
        if self.grad_output is None:  # reached without passing the outputs, as in a second derivative
            return grads
        full: list[Any] = [None] * self.n_inputs
        for place, grad, kind in zip(self.input_places, grads, told, strict=True):
            full[place] = _zeros(grad, kind)
        current: Sequence[Any] = tuple(full)
        for hook in self.hooks:
            new = hook(self.module, current, self.grad_output)
            if new is None:
                continue
            new = (new,) if isinstance(new, Tensor) else new
            if len(new) != len(current):
                raise RuntimeError("Backward hook returned an invalid number of grad_input, "
                                   f"got {len(new)}, but expected {len(current)}")
            current = new
        self.grad_output = None
        return tuple(current[place] for place in self.input_places)

    def _at_outputs(self, grads: tuple, told: list) -> tuple:
        full: list[Any] = [None] * self.n_outputs
        for place, grad in zip(self.output_places, grads, strict=True):
            full[place] = grad
        self.grad_output = tuple(full)
        for hook in self.pre_hooks:
            new = hook(self.module, self.grad_output)
            if new is None:
                continue
            new = (new,) if isinstance(new, Tensor) else new
            if len(new) != self.n_outputs:
                raise RuntimeError("Backward pre hook returned an invalid number of grad_output, "
                                   f"got {len(new)}, but expected {self.n_outputs}")
            self.grad_output = tuple(new)
        current = self.grad_output
        if self.input_places is None:
            if not self.plain:
                warn("Full backward hook is firing when gradients are computed with respect to module outputs since no "
                     "inputs require gradients: its grad_input is None.")
            for hook in self.hooks:
                new = hook(self.module, (None,) * self.n_inputs, current)
                if new is not None and not (isinstance(new, tuple) and all(g is None for g in new)):
                    raise RuntimeError("Backward hook for Modules where no input requires gradient should always "
                                       "return None or None for all gradients.")
            self.grad_output = None
        return tuple(current[place] for place in self.output_places)


class BackwardHook(BackwardHooks):
    """``torch.utils.hooks.BackwardHook``: the hooks around one call, as a program may set them up by itself.

    ``args = hook.setup_input_hook(args)``, the call, ``result = hook.setup_output_hook(result)``.
    """

    def __init__(self, module: Any, user_hooks: Sequence[Callable], user_pre_hooks: Sequence[Callable] = ()) -> None:
        super().__init__(module, list(user_hooks), list(user_pre_hooks))

    def setup_input_hook(self, args: Any) -> Any:
        """The arguments to call the module with: a tensor or a tuple, as given."""
        return self.inputs(args) if isinstance(args, tuple) else self.inputs((args,))[0]

    def setup_output_hook(self, args: Any) -> Any:
        """The result to go on with."""
        return self.outputs(args)
