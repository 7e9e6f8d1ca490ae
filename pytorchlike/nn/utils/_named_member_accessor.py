"""``torch.nn.utils._named_member_accessor``: exchanging a tensor of a module, as libraries do."""

from __future__ import annotations

from ...tensor import Tensor
from ..modules.module import Module

__all__ = ["set_tensor", "swap_tensor"]


def swap_tensor(module: Module, name: str, tensor: Tensor | None, allow_missing: bool = False) -> Tensor | None:
    """Put a tensor in the place of a parameter, buffer or attribute of a module; what was there is returned.

    allow_missing:  None stands for nothing being there.
    Raises:  TypeError if it is no module or no tensor; KeyError for a name with a dot or without a letter;
             AttributeError if nothing is there.
    """
    if not isinstance(module, Module):
        raise TypeError(f"{module} is not an instance of torch.nn.Module")
    if not (isinstance(tensor, Tensor) or tensor is None and allow_missing):
        raise TypeError(f"{tensor} is not an instance of torch.Tensor")
    if "." in name or not name:
        raise KeyError(f'tensor name can\'t {"contain" if name else "be empty string"} "{name and "."}"')
    members = next((m for m in (module._parameters, module._buffers) if name in m), module.__dict__)
    if name not in members and not allow_missing:
        raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
    before = members.get(name)
    if not (before is None or isinstance(before, Tensor)):
        raise TypeError(f"attribute `{name}`: {before} is not an instance of torch.Tensor")
    if tensor is None and members is module.__dict__:
        members.pop(name, None)
    else:
        members[name] = tensor
    return before


def set_tensor(module: Module, name: str, tensor: Tensor) -> None:
    """Put a tensor in the place of a parameter, buffer or attribute of a module."""
    swap_tensor(module, name, tensor, allow_missing=True)
