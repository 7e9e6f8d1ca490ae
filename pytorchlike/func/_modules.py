"""Modules as functions of their parameters: ``functional_call``, ``stack_module_state``, BatchNorm without state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..nn import Module, ModuleList
from ..nn.modules.batchnorm import _BatchNorm
from ..nn.utils.stateless import _functional_call
from ..tensor import Tensor
from ..tensor import functions as T
from ..tensor._values import _plain


def functional_call(module: Module, parameter_and_buffer_dicts: dict[str, Tensor] | Sequence[dict[str, Tensor]],
                    args: Any = None, kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True,
                    strict: bool = False) -> Any:  # fmt: skip
    """``module(*args, **kwargs)`` with the given tensors in place of its parameters and buffers.

    parameter_and_buffer_dicts:  names as in ``named_parameters``; one dict or several that share no key.
    args:         a tuple of arguments, or the only one.
    tie_weights:  a tensor also stands for the other names of the parameter it replaces.
    strict:       all parameters and buffers must be given, and no others.

    Buffers that the module replaces meanwhile are put into the dict (a single one); tensors written in place keep that.
    Raises:  ValueError if it is no dict or sequence of dicts, a key appears in two, or tied names get different
             tensors; TypeError for a value that is no tensor; RuntimeError if strict and keys are missing or unknown.
    """
    given = parameter_and_buffer_dicts
    if isinstance(given, (list, tuple)):
        if not all(isinstance(d, dict) for d in given):
            raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
        names = [name for d in given for name in d]
        repeated = sorted({n for n in names if names.count(n) > 1})
        if repeated:
            raise ValueError(f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous")
        given = {name: x for d in given for name, x in d.items()}
    elif not isinstance(given, dict):
        raise ValueError(
            f"Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got {type(given)}"
        )
    for x in given.values():
        if not isinstance(x, Tensor):
            raise TypeError(f"{x} is not an instance of torch.Tensor")
    return _functional_call(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models: Sequence[Module] | ModuleList) -> tuple[dict[str, Any], dict[str, Any]]:
    """(parameters, buffers) of several modules of one class, each stacked along a new first dimension.

    For an ensemble: ``vmap(lambda p, b, x: functional_call(base, (p, b), x), (0, 0, None))(params, buffers, x)``.
    The stacked parameters are leaves of their own, which require gradients where the originals do.

    Raises:  RuntimeError without models, or if they differ in class or training mode, or a parameter requires gradients
             in some only.
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    params = [dict(m.named_parameters()) for m in models]
    buffers = [dict(m.named_buffers()) for m in models]
    return ({n: _stacked([p[n] for p in params], n) for n in params[0]},
            {n: _stacked([b[n] for b in buffers], n) for n in buffers[0]})  # fmt: skip


def _stacked(tensors: list[Tensor], name: str) -> Tensor:
    wants = {t.requires_grad for t in tensors}
    if len(wants) > 1:
        raise RuntimeError(
            f"Expected {name} from each model to have the same .requires_grad: some of the models require "
            "gradients for it, others do not"
        )
    return T.stack([Tensor._of(_plain(t._get())) for t in tensors]).requires_grad_(wants.pop())


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Have all BatchNorm layers in ``root`` use the statistics of the batch only, in place; returns it.

    Running statistics are dropped, so the modules no longer write to buffers, which ``vmap`` forbids.
    """
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]
