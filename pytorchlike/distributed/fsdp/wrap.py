"""``torch.distributed.fsdp.wrap``: rules that say which modules a function is to be applied to."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from ...nn.modules.module import Module

__all__ = ["ModuleWrapPolicy", "always_wrap_policy", "enable_wrap", "lambda_auto_wrap_policy",
           "size_based_auto_wrap_policy", "transformer_auto_wrap_policy", "wrap"]


def always_wrap_policy(*args: Any, **kwargs: Any) -> bool:
    """True."""
    return True


def lambda_auto_wrap_policy(module: Module, recurse: bool, nonwrapped_numel: int,
                            lambda_fn: Callable[[Module], bool]) -> bool:
    """Whether ``lambda_fn(module)`` says so; children are always looked at."""
    return recurse or lambda_fn(module)


def transformer_auto_wrap_policy(module: Module, recurse: bool, nonwrapped_numel: int,
                                 transformer_layer_cls: set[type[Module]]) -> bool:
    """Whether it is of one of the classes; children are always looked at."""
    return recurse or isinstance(module, tuple(transformer_layer_cls))


def size_based_auto_wrap_policy(module: Module, recurse: bool, nonwrapped_numel: int, min_num_params: int = int(1e8),
                                force_leaf_modules: set[type[Module]] | None = None,
                                exclude_wrap_modules: set[type[Module]] | None = None) -> bool:
    """Whether a module has at least so many parameters that are in no wrapped part of it."""
    from ...nn import ModuleDict, ModuleList, MultiheadAttention

    large = nonwrapped_numel >= min_num_params
    if recurse:
        return large and not isinstance(module, tuple(force_leaf_modules or {MultiheadAttention}))
    return large and not isinstance(module, tuple(exclude_wrap_modules or {ModuleList, ModuleDict}))


class ModuleWrapPolicy:
    """The modules of some classes: a rule that can be called like the functions here."""

    def __init__(self, module_classes: Any) -> None:
        self._module_classes = set(module_classes)

    def __call__(self, module: Module, recurse: bool, *args: Any, **kwargs: Any) -> bool:
        return recurse or isinstance(module, tuple(self._module_classes))

    def __repr__(self) -> str:
        return f"ModuleWrapPolicy({self._module_classes})"


_inside: list[tuple[Callable[..., Module], dict[str, Any]]] = []


@contextlib.contextmanager
def enable_wrap(*, wrapper_cls: Callable[..., Module], **wrapper_kwargs: Any) -> Iterator[None]:
    """Within this, :func:`wrap` applies ``wrapper_cls``."""
    _inside.append((wrapper_cls, wrapper_kwargs))
    try:
        yield
    finally:
        _inside.pop()


def wrap(module: Module, **wrap_overrides: Any) -> Module:
    """The module as the wrapper of the innermost :func:`enable_wrap` makes it, or itself outside of one."""
    if not _inside:
        return module
    kind, given = _inside[-1]
    return functools.partial(kind, **{**given, **wrap_overrides})(module)
