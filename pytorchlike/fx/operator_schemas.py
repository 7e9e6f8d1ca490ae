"""Calls of functions and modules with all their arguments told (``torch.fx.operator_schemas``)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from ..nn.modules.module import Module

__all__ = ["ArgsKwargsPair", "get_signature_for_torch_op", "normalize_function", "normalize_module"]

#: Parameters that every function of a kind has, and which are no part of a call unless they are given.
_ASIDE = frozenset("out axis keepdims generator layout pin_memory _stacklevel size_average reduce".split())


class ArgsKwargsPair(NamedTuple):
    """Positional and named arguments of a call."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def get_signature_for_torch_op(op: Callable[..., Any], return_schemas: bool = False) -> Any:
    """A list with the signature of a function, one here; None where there is none."""
    try:
        found = [inspect.signature(op)]
    except (TypeError, ValueError):
        return (None, None) if return_schemas else None
    return (found, None) if return_schemas else found


def normalize_function(
    target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None, arg_types: Any = None,
    kwarg_types: Any = None, normalize_to_only_use_kwargs: bool = False, use_default_args: bool = True,
) -> ArgsKwargsPair | None:  # fmt: skip
    """The arguments of a call as the function names them, with defaults: those without one by place, or all by name.

    None for functions without a signature, and for arguments that do not fit it.  Types are of no use: each function
    has one signature here.
    """
    del arg_types, kwarg_types
    signatures = get_signature_for_torch_op(target)
    if signatures is None or target.__module__ in ("_operator", "operator", "builtins", "math"):
        return None
    return _bound(signatures[0], args, kwargs or {}, normalize_to_only_use_kwargs, use_default_args)


def normalize_module(
    root: Module, target: str, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None,
    normalize_to_only_use_kwargs: bool = False, use_default_args: bool = True,
) -> ArgsKwargsPair | None:  # fmt: skip
    """The arguments of a call of a submodule, as its ``forward`` names them; see :func:`normalize_function`."""
    try:
        module = root.get_submodule(target)
    except AttributeError as error:
        raise RuntimeError(f"Tried to normalize call of submodule {target} which is not there") from error
    told = inspect.signature(module.forward)
    return _bound(told, args, kwargs or {}, normalize_to_only_use_kwargs, use_default_args)


def _bound(told: inspect.Signature, args: tuple, kwargs: dict, by_name: bool, defaults: bool) -> ArgsKwargsPair | None:
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in told.parameters.values()):
        return None
    try:
        bound = told.bind(*args, **kwargs)
    except TypeError:
        return None
    given = set(bound.arguments)
    if defaults:
        bound.apply_defaults()
    first, rest = [], {}
    for name, value in bound.arguments.items():
        if name in _ASIDE and name not in given:
            continue
        if by_name or told.parameters[name].default is not inspect.Parameter.empty or rest:
            rest[name] = value
        else:
            first.append(value)
    return ArgsKwargsPair(tuple(first), rest)
