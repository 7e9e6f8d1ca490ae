"""Calling a module with other parameters and buffers than its own."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from ...tensor import Tensor
from ..modules.module import Module

__all__ = ["functional_call"]

_ABSENT = object()


def _untie(module: Module, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """``given`` with each tensor also under the other names that the module has for the parameter it replaces."""
    tied: dict[int, list[str]] = {}
    for named in (module.named_parameters, module.named_buffers):
        for name, tensor in named(remove_duplicate=False):
            tied.setdefault(id(tensor), []).append(name)
    result = dict(given)
    for names in tied.values():
        values = {id(given[name]): given[name] for name in names if name in given}
        if len(names) > 1 and len(values) > 1:
            raise ValueError(f"functional_call got multiple values for keys {sorted(names)}, which are tied. Consider "
                             "using tie_weights=False")
        if values:
            result.update(dict.fromkeys(names, next(iter(values.values()))))
    return result


def _locate(module: Module, name: str) -> tuple[dict[str, Any], str] | None:
    """The dictionary that holds the parameter or buffer ``name``, and its key there."""
    path, _, leaf = name.rpartition(".")
    for part in path.split(".") if path else ():
        child = module._modules.get(part)
        if child is None:
            return None
        module = child
    for members in (module._parameters, module._buffers):
        if leaf in members:
            return members, leaf
    return None


@contextlib.contextmanager
def _reparametrize_module(module: Module, parameters_and_buffers: dict[str, Tensor], tie_weights: bool = False,
                          strict: bool = False) -> Iterator[None]:
    """Within the context the module has the given tensors; what it has at the end is put back into the dictionary."""
    given = _untie(module, parameters_and_buffers) if tie_weights else dict(parameters_and_buffers)
    places = {name: _locate(module, name) for name in given}
    unknown = [name for name, place in places.items() if place is None]
    if strict:
        own = {name for named in (module.named_parameters, module.named_buffers)
               for name, _ in named(remove_duplicate=False)}
        errors = []
        if unknown:
            errors.append(f"Unexpected key(s): {', '.join(map(repr, unknown))}.")
        if own - given.keys():
            errors.append(f"Missing key(s): {', '.join(map(repr, sorted(own - given.keys())))}.")
        if errors:
            raise RuntimeError(f"Error(s) in reparametrizing for {module._get_name()}:\n\t" + "\n\t".join(errors))
    for name in unknown:  # an ordinary attribute, for the time of the call; an unknown path is an error
        path, _, leaf = name.rpartition(".")
        places[name] = (module.get_submodule(path).__dict__, leaf)
    before = {name: members.get(leaf, _ABSENT) for name, (members, leaf) in places.items()}
    try:
        for name, (members, leaf) in places.items():
            members[leaf] = given[name]
        yield
    finally:
        for name, (members, leaf) in places.items():
            if name in parameters_and_buffers:
                parameters_and_buffers[name] = members[leaf]
            if before[name] is _ABSENT:
                del members[leaf]
            else:
                members[leaf] = before[name]


def _functional_call(module: Module, parameters_and_buffers: dict[str, Tensor], args: Any = None,
                     kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False) -> Any:
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with _reparametrize_module(module, parameters_and_buffers, tie_weights, strict):
        return module(*args, **(kwargs or {}))


def functional_call(module: Module, parameters_and_buffers: dict[str, Tensor], args: Any = None,
                    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False) -> Any:
    """Deprecated: ``torch.func.functional_call``.

    Calls ``module(*args, **kwargs)`` with the given tensors instead of its own. Buffers replaced during the call are
    put into the dictionary. ``tie_weights``: a tensor also stands for the other names of the parameter it replaces;
    ``strict``: the dictionary must name all parameters and buffers, and no others.

    Raises:  ValueError if tied names get different tensors; RuntimeError if strict and keys are missing or unknown;
             AttributeError for a path to no module.
    """
    warnings.warn("`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be removed in a "
                  "future version of PyTorch. Please use `torch.func.functional_call` instead which is a drop-in "
                  "replacement.", FutureWarning, stacklevel=2)
    return _functional_call(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)
