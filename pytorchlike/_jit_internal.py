"""``torch._jit_internal``: decorators for TorchScript that published programs import, and what they say of types."""

from __future__ import annotations

import builtins
import weakref
from collections.abc import Callable
from typing import Any, Dict, Final, List, Optional, Tuple, TypeVar, Union  # noqa: UP035 - programs import these names

from .futures import Future as Future
from .jit import Attribute as Attribute
from .jit import _overload as _overload
from .jit import export as export
from .jit import ignore as ignore
from .jit import interface as interface
from .jit import is_scripting as is_scripting
from .jit import unused as unused

__all__ = ["Any", "BroadcastingList1", "BroadcastingList2", "BroadcastingList3", "Dict", "Final", "Future", "List",
           "Optional", "Tuple", "Union", "boolean_dispatch", "is_scripting"]

T = TypeVar("T")


class _Broadcasting:
    """``BroadcastingList2[int]``, for annotations: a number, or as many."""

    def __getitem__(self, kind: Any) -> Any:
        return Union[kind, list[kind]]  # noqa: UP007 - of a value


BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = _Broadcasting()


#: What :func:`boolean_dispatch` has made -> the two functions, and the argument that chooses.
boolean_dispatched: weakref.WeakKeyDictionary[Callable, dict[str, Any]] = weakref.WeakKeyDictionary()


def boolean_dispatch(arg_name: str, arg_index: int, default: bool, if_true: Callable[..., Any],
                     if_false: Callable[..., Any], module_name: str, func_name: str) -> Callable[..., Any]:
    """A function that calls one of two, as its bool argument (by name or position) says."""

    def fn(*args: Any, **kwargs: Any) -> Any:
        chosen = args[arg_index] if arg_index < len(args) else kwargs.get(arg_name, default)
        return if_true(*args, **kwargs) if chosen else if_false(*args, **kwargs)

    fn.__doc__ = if_false.__doc__ if if_true.__doc__ is None else if_true.__doc__
    fn.__name__, fn.__module__ = func_name or fn.__name__, module_name or fn.__module__
    boolean_dispatched[fn] = {
        "if_true": if_true, "if_false": if_false, "index": arg_index, "default": default, "arg_name": arg_name,
    }  # fmt: skip
    return fn


def _copy_to_script_wrapper(fn: T) -> T:
    """The function itself: nothing is scripted."""
    return fn


def module_has_exports(mod: Any) -> bool:
    """False: nothing is marked for TorchScript."""
    return False


def is_ignored_fn(fn: Any) -> bool:
    """False: nothing is scripted, so nothing is left out."""
    return False


def _isinstance(obj: Any, target_type: Any) -> bool:
    """As ``torch.jit.isinstance``."""
    from . import jit

    return jit.isinstance(obj, target_type)


def raise_error_container_parameter_missing(target_type: str) -> None:
    """Raise RuntimeError: a container without the types of its items."""
    raise RuntimeError(f"Attempted to use {target_type} without contained types. Please add contained types, such as "
                       f"{target_type}[int]")


def get_torchscript_modifier(fn: Any) -> None:
    """None: functions have no marks for TorchScript."""


def can_compile_class(cls: builtins.type) -> bool:
    """False: there is no TorchScript."""
    return False
