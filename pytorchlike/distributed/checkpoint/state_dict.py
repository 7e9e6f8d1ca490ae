"""State dicts of models and optimizers by parameter names, which stay the same however the optimizer numbers them.

Names are those of the module that was there before wrappers (DistributedDataParallel, FullyShardedDataParallel,
checkpoint_wrapper, torch.compile). Tensors divided among processes are DTensors, or whole with ``full_state_dict``;
whatever a state dict holds, loading leaves the tensors divided as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...autograd.mode import no_grad
from ...nn import Module
from ...nn.parallel import DistributedDataParallel
from ...optim.optimizer import Optimizer
from ...tensor import Tensor
from ...tensor import functions as T
from .._collectives import broadcast_object_list
from .._world import get_rank, get_world_size, is_initialized

__all__ = [
    "StateDictOptions", "broadcast_state", "get_model_state_dict", "get_optimizer_state_dict", "get_state_dict",
    "numbered_state", "set_model_state_dict", "set_optimizer_state_dict", "set_state_dict",
]  # fmt: skip

_WRAPPERS = ("_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod")


@dataclass
class StateDictOptions:
    """What is in a state dict.

    full_state_dict: tensors are whole, not divided among processes; called by all processes then.   cpu_offload: copies
    on the CPU, with full_state_dict in the first process alone (the others get empty dicts).   ignore_frozen_params:
    leave out parameters without ``requires_grad``.   strict: as in ``load_state_dict``.   broadcast_from_rank0: the
    first process has the state to load, the others get it from there (ValueError without full_state_dict).
    flatten_optimizer_state_dict: optimizer states by names like ``state.layer.weight.exp_avg``.
    """

    full_state_dict: bool = False
    cpu_offload: bool = False
    ignore_frozen_params: bool = False
    keep_submodule_prefixes: bool = True
    strict: bool = True
    broadcast_from_rank0: bool = False
    flatten_optimizer_state_dict: bool = False
    dsd_fqn_modifiers: str = "_fqn_modifiers"


class _Incompatible(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


def _checked(options: StateDictOptions | None) -> StateDictOptions:
    options = options or StateDictOptions()
    if options.broadcast_from_rank0 and not options.full_state_dict:
        raise ValueError("full_state_dict must be True when broadcast_from_rank0 is True.")
    return options


def _plain_names(model: Module) -> dict[str, str]:
    """Names of the modules inside, without wrappers, by their names with them."""
    found = {"": ""}

    def visit(module: Module, name: str, plain: str) -> None:
        for key, child in module._modules.items():
            if child is None:
                continue
            wrapped = key in _WRAPPERS or key == "module" and isinstance(module, DistributedDataParallel)
            full = f"{name}.{key}" if name else key
            found[full] = plain if wrapped else f"{plain}.{key}" if plain else key
            visit(child, full, found[full])

    visit(model, "", "")
    return found


def _plain(names: dict[str, str], name: str) -> str:
    module, _, last = name.rpartition(".")
    while module not in names:  # what a module put into its state dict by itself
        module, _, more = module.rpartition(".")
        last = f"{more}.{last}"
    return f"{names[module]}.{last}" if names[module] else last


@contextlib.contextmanager
def _divided_states(model: Module) -> Iterator[None]:
    """Within this, wrappers of FullyShardedDataParallel leave tensors divided."""
    from ..fsdp import FullyShardedDataParallel, StateDictType

    if not FullyShardedDataParallel.fsdp_modules(model):
        yield
        return
    with FullyShardedDataParallel.state_dict_type(model, StateDictType.SHARDED_STATE_DICT):
        yield


def get_model_state_dict(model: Module, *, submodules: Any = None, options: StateDictOptions | None = None) -> dict:
    """``model.state_dict()``, subject to the options."""
    _refuse(submodules)
    options, names = _checked(options), _plain_names(model)
    with _divided_states(model):
        state = {_plain(names, name): value for name, value in model.state_dict().items()}
    if options.ignore_frozen_params:
        for name, p in model.named_parameters():
            if not p.requires_grad:
                state.pop(_plain(names, name), None)
    return _moved(state, options)


def get_optimizer_state_dict(model: Module, optimizers: Optimizer | Iterable[Optimizer], *, submodules: Any = None,
                             options: StateDictOptions | None = None) -> dict:  # fmt: skip
    """State of the optimizers with parameters by their names in the model.

    An optimizer that has not stepped gets its state (zeros) first, so that there is something to load into.
    """
    _refuse(submodules)
    options, names = _checked(options), _names(model)
    out: dict[str, Any] = {"state": {}, "param_groups": []}
    for optimizer in _several(optimizers):
        _init_optim_state(optimizer)
        state = optimizer.state_dict()
        order = [_name(names, p) for group in optimizer.param_groups for p in group["params"]]
        out["state"].update({order[i]: s for i, s in state["state"].items()})
        for group in state["param_groups"]:
            out["param_groups"].append({**group, "params": [order[i] for i in group["params"]]})
    out = _moved(out, options)
    return _flattened(out) if options.flatten_optimizer_state_dict and out else out


def _flattened(state: dict[str, Any]) -> dict[str, Any]:
    out = {f"state.{name}.{key}": v for name, own in state["state"].items() for key, v in own.items()}
    for group in state["param_groups"]:
        for name in group["params"]:
            out.update({f"param_groups.{name}.{key}": v for key, v in group.items() if key != "params"})
    return out


def _unflattened(state: dict[str, Any], optimizer: Optimizer, names: dict[int, str]) -> dict[str, Any]:
    """The state that ``flatten_optimizer_state_dict`` flattened, as far as an optimizer's parameters go."""
    out: dict[str, Any] = {"state": {}, "param_groups": []}
    for group in optimizer.param_groups:
        own = [_name(names, p) for p in group["params"]]
        kept = {k: state[f"param_groups.{own[0]}.{k}"] for k in group
                if k != "params" and own and f"param_groups.{own[0]}.{k}" in state}  # fmt: skip
        out["param_groups"].append({**kept, "params": own})
        for name in own:
            start = f"state.{name}."
            found = {k[len(start) :]: v for k, v in state.items() if k.startswith(start)}
            if found:
                out["state"][name] = found
    return out


def get_state_dict(model: Module, optimizers: Optimizer | Iterable[Optimizer], *, submodules: Any = None,
                   options: StateDictOptions | None = None) -> tuple[dict, dict]:  # fmt: skip
    """States of the model and of its optimizers."""
    return (
        get_model_state_dict(model, submodules=submodules, options=options),
        get_optimizer_state_dict(model, optimizers, submodules=submodules, options=options),
    )


def broadcast_state(state: Any) -> Any:
    """The first process's state, in all of them; tensors travel one by one."""
    if not is_initialized() or get_world_size() == 1:
        return state
    here = [_outline(state) if get_rank() == 0 else None]
    broadcast_object_list(here, 0)
    return _received(here[0], state if get_rank() == 0 else None)


class _Sent(NamedTuple):
    """A tensor that follows."""


def _outline(state: Any) -> Any:
    if isinstance(state, dict):
        return {k: _outline(v) for k, v in state.items()}
    return _Sent() if isinstance(state, Tensor) else state


def _received(outline: Any, state: Any) -> Any:
    if isinstance(outline, dict):
        return {k: _received(v, None if state is None else state[k]) for k, v in outline.items()}
    if not isinstance(outline, _Sent):
        return outline
    one = [None if state is None else state.detach().cpu()]
    broadcast_object_list(one, 0)
    return one[0]


def set_model_state_dict(model: Module, model_state_dict: dict, *, options: StateDictOptions | None = None) -> Any:
    """Load what `get_model_state_dict` gave, onto the meta device, too. Returns missing and unexpected keys."""
    options, names = _checked(options), _plain_names(model)
    if options.broadcast_from_rank0:
        model_state_dict = broadcast_state(dict(model_state_dict))
    strict = options.strict and not options.ignore_frozen_params
    with _divided_states(model):
        own = model.state_dict()
        back = {_plain(names, name): name for name in own}
        given = {back.get(k, k): v for k, v in model_state_dict.items()}
        assign = bool(own) and all(v.is_meta for v in own.values() if isinstance(v, Tensor))
        if assign:  # there is nothing to copy into
            with no_grad():
                given = {k: _as_divided(own[k], v.clone()) if k in own and isinstance(v, Tensor) else v
                         for k, v in given.items()}  # fmt: skip
        return model.load_state_dict(given, strict=strict, assign=assign)


def numbered_state(model: Module, optimizer: Optimizer, optim_state_dict: dict[str, Any]) -> dict[str, Any]:
    """What ``optimizer.load_state_dict`` takes, from a state by names: numbered, and divided as the parameters are.

    RuntimeError for a parameter whose group is missing.
    """
    names = _names(model)
    groups = {name: group for group in optim_state_dict["param_groups"] for name in group["params"]}
    position, state, param_groups = 0, {}, []
    for group in optimizer.param_groups:
        own = [_name(names, p) for p in group["params"]]
        absent = [name for name in own if name not in groups]
        if absent:
            raise RuntimeError(f"Expect the state of parameter {absent[0]} but no group of the state dict has it")
        for i, (name, p) in enumerate(zip(own, group["params"], strict=True)):
            if name in optim_state_dict["state"]:
                state[position + i] = {k: _as_divided(p, v) for k, v in optim_state_dict["state"][name].items()}
        numbers = list(range(position, position + len(own)))
        settings = groups[own[0]] if own else {k: v for k, v in group.items() if k != "params"}
        param_groups.append({**settings, "params": numbers})
        position += len(own)
    return {"state": state, "param_groups": param_groups}


def rekeyed_state(model: Module, optim_state_dict: dict[str, Any], by_name: bool,
                  parameters: Iterable[Tensor]) -> dict[str, Any]:  # fmt: skip
    """An optimizer's state by names of the model's parameters instead of their numbers in ``parameters``, or back.

    ValueError for a state that has both, KeyError for a name or number that is not known.
    """
    wanted, state = (str if by_name else int), optim_state_dict["state"]
    if len({type(key) for key in state}) > 1:
        raise ValueError(f"Invalid parameter keys: {list(state)}")
    names = _names(model)
    order = [_name(names, p) for p in parameters]
    table: dict[Any, Any] = dict(enumerate(order)) if by_name else {name: i for i, name in enumerate(order)}

    def key(k: Any) -> Any:
        if type(k) is wanted:
            return k
        if k not in table:
            raise KeyError(f"the optimizer's state has a parameter {k!r}, which is none of {list(table)}")
        return table[k]

    groups = [{**group, "params": [key(k) for k in group["params"]]} for group in optim_state_dict["param_groups"]]
    return {**optim_state_dict, "state": {key(k): v for k, v in state.items()}, "param_groups": groups}


def _as_divided(p: Tensor, value: Any) -> Any:
    """A whole state of a parameter, divided as that is."""
    spread = p._spread
    if spread is None or not isinstance(value, Tensor) or value._spread is not None or (
            tuple(value.shape) != spread.shape):  # fmt: skip
        return value
    with no_grad():
        return spread.dress(spread.cut(value.detach()).clone())


def set_optimizer_state_dict(model: Module, optimizers: Optimizer | Iterable[Optimizer], optim_state_dict: dict, *,
                             options: StateDictOptions | None = None) -> None:  # fmt: skip
    """Load what `get_optimizer_state_dict` gave. RuntimeError for a parameter whose group is missing."""
    options = _checked(options)
    if options.broadcast_from_rank0:
        optim_state_dict = broadcast_state(dict(optim_state_dict))
    for optimizer in _several(optimizers):
        flat = "param_groups" not in optim_state_dict
        state = _unflattened(optim_state_dict, optimizer, _names(model)) if flat else optim_state_dict
        optimizer.load_state_dict(numbered_state(model, optimizer, state))


def set_state_dict(model: Module, optimizers: Optimizer | Iterable[Optimizer], *, model_state_dict: dict,
                   optim_state_dict: dict, options: StateDictOptions | None = None) -> Any:  # fmt: skip
    """Load the states of a model and of its optimizers. Returns missing and unexpected keys of the model."""
    everywhere = _checked(options).broadcast_from_rank0
    done = _Incompatible([], [])
    if model_state_dict or everywhere:
        done = set_model_state_dict(model, model_state_dict, options=options)
    if optim_state_dict or everywhere:
        set_optimizer_state_dict(model, optimizers, optim_state_dict, options=options)
    return done


def _refuse(submodules: Any) -> None:
    if submodules is not None:
        raise NotImplementedError("submodules: take the state dicts of the submodules one by one instead")


def _several(optimizers: Any) -> list[Optimizer]:
    return [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)


def _names(model: Module) -> dict[int, str]:
    plain = _plain_names(model)
    return {id(p): _plain(plain, name) for name, p in model.named_parameters()}


def _name(names: dict[int, str], parameter: Tensor) -> str:
    if id(parameter) not in names:
        raise RuntimeError(f"a parameter of shape {list(parameter.shape)} of the optimizer is not one of the model's")
    return names[id(parameter)]


def _init_optim_state(optimizer: Optimizer) -> None:
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
    if not options.full_state_dict and not options.cpu_offload:
        return state
    alone = options.full_state_dict and options.cpu_offload and is_initialized() and get_rank() != 0

    def moved(x: Any) -> Any:
        if isinstance(x, dict):
            found = {k: moved(v) for k, v in x.items()}
            return {} if alone else found
        if isinstance(x, list):
            return [moved(v) for v in x]
        if not isinstance(x, Tensor):
            return x
        with no_grad():
            x = x.detach()
            whole = x.full_tensor() if options.full_state_dict and x._spread is not None else x
            return None if alone else whole.cpu() if options.cpu_offload else whole

    return moved(state)
