"""Running an optimizer on other tensors for a while."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..tensor import Tensor
from .optimizer import Optimizer

__all__ = ["swap_in_optimizer_params_and_state"]

_ME = "swap_in_optimizer_params_and_state"


def _planned(optimizer: Optimizer, parameters: dict[str, Tensor], saved: Any) -> tuple[dict, list[dict[str, Any]]]:
    """The new state and groups; RuntimeError where they do not fit the optimizer's."""
    if not optimizer.state:
        raise RuntimeError(f"{_ME} requires initialized optimizer state: take a step or load a state first.")
    if not isinstance(saved, dict):
        raise RuntimeError(f"{_ME} requires an optimizer state_dict, got {type(saved).__name__}.")
    state, groups = saved.get("state"), saved.get("param_groups")
    if not isinstance(state, dict) or any(isinstance(k, Tensor) for k in state):
        raise RuntimeError(f"{_ME} requires swapin_optim_state['state'] to be a dict keyed by packed parameter ids.")
    if any(isinstance(k, int) and not isinstance(v, dict) for k, v in state.items()):
        raise RuntimeError(f"{_ME} requires per-parameter optimizer state entries to be dictionaries.")
    if not isinstance(groups, list) or not all(isinstance(g, dict) for g in groups):
        raise RuntimeError(f"{_ME} requires swapin_optim_state['param_groups'] to be a list of param-group dicts.")
    if len(groups) != len(optimizer.param_groups):
        raise RuntimeError(f"swapin_optim_state has {len(groups)} parameter groups, the live optimizer "
                           f"{len(optimizer.param_groups)}.")
    rest, seen, new_state, new_groups = list(parameters.values()), set(), defaultdict(dict), []
    for i, (live, group) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
        ids = group.get("params")
        if not isinstance(ids, list) or not all(isinstance(n, int) for n in ids):
            raise RuntimeError(f"{_ME} requires param_groups[{i}]['params'] to be a list of packed parameter ids.")
        if len(ids) != len(live["params"]):
            raise RuntimeError(f"swapin_optim_state param group {i} has {len(ids)} params, the live optimizer's "
                               f"{len(live['params'])}.")
        if live.keys() != group.keys():
            raise RuntimeError(f"{_ME} requires the keys of group {i} to match the live optimizer's. Keys only in "
                               f"swap-in: {sorted(group.keys() - live.keys())}. Keys only in live: "
                               f"{sorted(live.keys() - group.keys())}.")
        mine, rest = rest[:len(ids)], rest[len(ids):]
        if len(mine) < len(ids):
            raise RuntimeError(f"{_ME} requires a parameter for each in optimizer.param_groups, in their order.")
        seen.update(ids)
        for p, n in zip(mine, ids, strict=True):
            new_state[p] = dict(state.get(n, {}))
        new_groups.append({**group, "params": mine})
    if extra := [k for k in state if k not in seen]:
        raise RuntimeError(f"{_ME} requires swapin_optim_state['state'] to be keyed only by packed parameter ids of "
                           f"its groups; got extra keys {extra!r}.")
    return new_state, new_groups


@contextmanager
def swap_in_optimizer_params_and_state(optimizer: Optimizer, swapin_parameters: dict[str, Tensor],
                                       swapin_optim_state: dict[str, Any]) -> Iterator[None]:
    """Within the context, ``optimizer`` works on other parameters (in the order of its groups) with the state and
    options of a `state_dict`; afterwards it has its own again. RuntimeError if they do not fit.
    """
    state, groups = _planned(optimizer, swapin_parameters, swapin_optim_state)
    own_state, own_groups = optimizer.state, [dict(group) for group in optimizer.param_groups]
    try:
        for live, group in zip(optimizer.param_groups, groups, strict=True):
            live.update(group)
        optimizer.state = state
        yield
    finally:
        for live, group in zip(optimizer.param_groups, own_groups, strict=True):
            live.clear()
            live.update(group)
        optimizer.state = own_state
