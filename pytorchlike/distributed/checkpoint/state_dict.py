"""State dicts of models and optimizers by parameter names, which stay the same however the optimizer numbers them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...autograd.mode import no_grad
from ...nn import Module
from ...optim.optimizer import Optimizer
from ...tensor import Tensor
from ...tensor import functions as T

__all__ = [
    "StateDictOptions", "get_model_state_dict", "get_optimizer_state_dict", "get_state_dict", "set_model_state_dict",
    "set_optimizer_state_dict", "set_state_dict",
]  # fmt: skip


@dataclass
class StateDictOptions:
    """``cpu_offload``: copies on the CPU.  ``ignore_frozen_params``: leave out parameters without ``requires_grad``.
    ``strict``: as in ``load_state_dict``.  ``full_state_dict`` says nothing here: tensors are whole, wherever they lie.
    """

    full_state_dict: bool = False
    cpu_offload: bool = False
    ignore_frozen_params: bool = False
    strict: bool = True


class _Incompatible(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


def get_model_state_dict(model: Module, *, submodules: Any = None, options: StateDictOptions | None = None) -> dict:
    """``model.state_dict()``, subject to the options."""
    _refuse(submodules)
    options = options or StateDictOptions()
    state = model.state_dict()
    if options.ignore_frozen_params:
        for name, p in model.named_parameters():
            if not p.requires_grad:
                state.pop(name, None)
    return _moved(state, options)


def get_optimizer_state_dict(model: Module, optimizers: Optimizer | Iterable[Optimizer], *, submodules: Any = None,
                             options: StateDictOptions | None = None) -> dict:  # fmt: skip
    """State of the optimizers with parameters by their names in the model.

    An optimizer that has not stepped gets its state (zeros) first, so that there is something to load into.
    """
    _refuse(submodules)
    names = _names(model)
    out: dict[str, Any] = {"state": {}, "param_groups": []}
    for optimizer in _several(optimizers):
        _prepare(optimizer)
        state = optimizer.state_dict()
        order = [_name(names, p) for group in optimizer.param_groups for p in group["params"]]
        out["state"].update({order[i]: s for i, s in state["state"].items()})
        for group in state["param_groups"]:
            out["param_groups"].append({**group, "params": [order[i] for i in group["params"]]})
    return _moved(out, options or StateDictOptions())


def get_state_dict(model: Module, optimizers: Optimizer | Iterable[Optimizer], *, submodules: Any = None,
                   options: StateDictOptions | None = None) -> tuple[dict, dict]:  # fmt: skip
    """States of the model and of its optimizers."""
    return (
        get_model_state_dict(model, submodules=submodules, options=options),
        get_optimizer_state_dict(model, optimizers, submodules=submodules, options=options),
    )


def set_model_state_dict(model: Module, model_state_dict: dict, *, options: StateDictOptions | None = None) -> Any:
    """Load what `get_model_state_dict` gave. Returns missing and unexpected keys."""
    options = options or StateDictOptions()
    strict = options.strict and not options.ignore_frozen_params
    return model.load_state_dict(model_state_dict, strict=strict)


def set_optimizer_state_dict(model: Module, optimizers: Optimizer | Iterable[Optimizer], optim_state_dict: dict, *,
                             options: StateDictOptions | None = None) -> None:  # fmt: skip
    """Load what `get_optimizer_state_dict` gave. RuntimeError for a parameter whose group is missing."""
    names = _names(model)
    groups = {name: group for group in optim_state_dict["param_groups"] for name in group["params"]}
    for optimizer in _several(optimizers):
        position, state, param_groups = 0, {}, []
        for group in optimizer.param_groups:
            own = [_name(names, p) for p in group["params"]]
            absent = [name for name in own if name not in groups]
            if absent:
                raise RuntimeError(f"Expect the state of parameter {absent[0]} but no group of the state dict has it")
            for i, name in enumerate(own):
                if name in optim_state_dict["state"]:
                    state[position + i] = optim_state_dict["state"][name]
            numbers = list(range(position, position + len(own)))
            settings = groups[own[0]] if own else {k: v for k, v in group.items() if k != "params"}
            param_groups.append({**settings, "params": numbers})
            position += len(own)
        optimizer.load_state_dict({"state": state, "param_groups": param_groups})


def set_state_dict(model: Module, optimizers: Optimizer | Iterable[Optimizer], *, model_state_dict: dict,
                   optim_state_dict: dict, options: StateDictOptions | None = None) -> Any:  # fmt: skip
    """Load the states of a model and of its optimizers. Returns missing and unexpected keys of the model."""
    done = set_model_state_dict(model, model_state_dict, options=options) if model_state_dict else _Incompatible([], [])
    if optim_state_dict:
        set_optimizer_state_dict(model, optimizers, optim_state_dict, options=options)
    return done


def _refuse(submodules: Any) -> None:
    if submodules is not None:
        raise NotImplementedError("submodules: take the state dicts of the submodules one by one instead")


def _several(optimizers: Any) -> list[Optimizer]:
    return [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)


def _names(model: Module) -> dict[int, str]:
    return {id(p): name for name, p in model.named_parameters()}


def _name(names: dict[int, str], parameter: Tensor) -> str:
    if id(parameter) not in names:
        raise RuntimeError(f"a parameter of shape {list(parameter.shape)} of the optimizer is not one of the model's")
    return names[id(parameter)]


def _prepare(optimizer: Optimizer) -> None:
    """Have an optimizer make its state: a step with gradients and learning rates of zero, as PyTorch does it."""
    if optimizer.state:
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    if any(p.grad is not None for p in parameters):
        return
    rates = [group["lr"] for group in optimizer.param_groups]
    for p in parameters:
        p.grad = T.zeros_like(p)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = T.zeros_like(rate) if isinstance(rate, Tensor) else 0.0
    optimizer.step(closure=None)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)


def _moved(state: Any, options: StateDictOptions) -> Any:
    if not options.cpu_offload:
        return state
    if isinstance(state, dict):
        return {k: _moved(v, options) for k, v in state.items()}
    if isinstance(state, list):
        return [_moved(v, options) for v in state]
    if not isinstance(state, Tensor):
        return state
    with no_grad():
        return state.detach().cpu()
