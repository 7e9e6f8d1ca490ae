"""Modules as functions of their parameters, as ``functorch`` made them before ``torch.func.functional_call``."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from ..func import functional_call, stack_module_state
from ..nn import Module
from ..tensor import Tensor

__all__ = [
    "FunctionalModule", "FunctionalModuleWithBuffers", "combine_state_for_ensemble", "make_functional",
    "make_functional_with_buffers",
]  # fmt: skip


class _Stateless(Module):
    """A module whose tensors are given at each call. Its own are out of sight, so that it has no parameters."""

    def __init__(self, module: Module, params: Sequence[str], buffers: Sequence[str]) -> None:
        super().__init__()
        self.param_names, self.buffer_names = tuple(params), tuple(buffers)
        object.__setattr__(self, "stateless_model", module)

    def _with(self, params: Sequence[Tensor], buffers: Sequence[Tensor], args: tuple, kwargs: dict) -> Any:
        given = dict(zip(self.param_names, params, strict=True))
        given.update(zip(self.buffer_names, buffers, strict=True))
        return functional_call(self.stateless_model, given, args, kwargs)


class FunctionalModule(_Stateless):
    """What ``make_functional`` returns: ``f(params, *args)``."""

    def forward(self, params: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        return self._with(params, (), args, kwargs)


class FunctionalModuleWithBuffers(_Stateless):
    """What ``make_functional_with_buffers`` returns: ``f(params, buffers, *args)``."""

    def forward(self, params: Sequence[Tensor], buffers: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        return self._with(params, buffers, args, kwargs)


def _copied(model: Module, disable_autograd_tracking: bool) -> tuple[Module, dict[str, Any], dict[str, Tensor]]:
    model = copy.deepcopy(model)
    params = dict(model.named_parameters())
    if disable_autograd_tracking:
        for p in params.values():
            p.requires_grad_(False)
    return model, params, dict(model.named_buffers())


def make_functional(model: Module, disable_autograd_tracking: bool = False) -> tuple[FunctionalModule, tuple]:
    """``(f, params)``, where ``f(params, *args)`` is ``model(*args)`` with those parameters.

    The parameters are a copy's. Raises RuntimeError for a model with buffers.
    """
    model, params, buffers = _copied(model, disable_autograd_tracking)
    if buffers:
        raise RuntimeError(
            "make_functional(model): `model` has buffers. Please use make_functional_with_buffers(model) instead."
        )
    return FunctionalModule(model, tuple(params), ()), tuple(params.values())


def make_functional_with_buffers(
    model: Module, disable_autograd_tracking: bool = False
) -> tuple[FunctionalModuleWithBuffers, tuple, tuple]:
    """``(f, params, buffers)``, where ``f(params, buffers, *args)`` is ``model(*args)`` with those tensors.

    They are a copy's.
    """
    model, params, buffers = _copied(model, disable_autograd_tracking)
    func = FunctionalModuleWithBuffers(model, tuple(params), tuple(buffers))
    return func, tuple(params.values()), tuple(buffers.values())


def combine_state_for_ensemble(models: Sequence[Module]) -> tuple[FunctionalModuleWithBuffers, tuple, tuple]:
    """``(f, params, buffers)`` of models of one class, each tensor with the models along a new first dimension.

    Raises RuntimeError without models, or if they differ in class or training mode.
    """
    params, buffers = stack_module_state(models)
    func = make_functional_with_buffers(models[0])[0]
    return func, tuple(params.values()), tuple(buffers.values())
