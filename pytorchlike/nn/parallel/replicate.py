"""Copies of a module on several devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..modules.module import Module

__all__ = ["replicate"]


def replicate(network: Module, devices: Sequence[Any], detach: bool = False) -> list[Module]:
    """A copy of the module for each device, whose parameters are those of `network`, moved there.

    Gradients of all copies arrive at `network`, unless `detach`. The copies have no parameters of their own to list,
    as in PyTorch: what they hold in their places are results.
    """
    return [_copied(network, device, detach, {}) for device in devices]


def _copied(module: Module, device: Any, detach: bool, known: dict[int, Module]) -> Module:
    if id(module) in known:
        return known[id(module)]
    made = known[id(module)] = module._replicate_for_data_parallel()
    for name, child in module._modules.items():
        made._modules[name] = None if child is None else _copied(child, device, detach, known)
    for name, value in module._parameters.items():
        moved = None if value is None else (value.detach() if detach else value).to(device)
        made._parameters.pop(name, None)
        object.__setattr__(made, name, moved)
    for name, value in module._buffers.items():
        made._buffers[name] = None if value is None else value.to(device)
    return made
