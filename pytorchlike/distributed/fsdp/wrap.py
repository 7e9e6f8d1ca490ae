"""``torch.distributed.fsdp.wrap``: rules that say which modules a function is to be applied to."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ...nn.modules.module import Module

__all__ = ["CustomPolicy", "ModuleWrapPolicy", "always_wrap_policy", "enable_wrap", "lambda_auto_wrap_policy",
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


class CustomPolicy:
    """The modules for which ``lambda_fn(module)`` is True, or a dict of arguments for the wrapper of that module."""

    def __init__(self, lambda_fn: Callable[[Module], bool | dict[str, Any]]) -> None:
        self._lambda_fn = lambda_fn

    def options(self, module: Module) -> dict[str, Any] | None:
        """Arguments for the module's wrapper; None if it gets none. ValueError for another answer."""
        found = self._lambda_fn(module)
        if not isinstance(found, (bool, dict)):
            raise ValueError("The lambda_fn passed to CustomPolicy should return False/True or a kwarg dict, but it "
                             f"returned {found!r}")
        return found if isinstance(found, dict) else {} if found else None


def wrapped_by(module: Module, policy: Any, wrapper: Callable[..., Module], precise: Callable[[Module], Module],
               apart: Iterable[Module], own_precision: tuple[type, ...] = ()) -> None:  # fmt: skip
    """Have a policy decide which modules inside get a wrapper: children before their parents, in place.

    apart: modules that are left alone.  own_precision: classes of modules that get the wrapper `precise` in any case.
    """
    closed = {id(m) for m in apart}

    def inside(parent: Module) -> int:
        """Wrap the children; how many elements the wrapped ones have."""
        total = 0
        for name, child in list(parent.named_children()):
            if id(child) in closed:
                continue
            done = visit(child)
            if done[0] is not child:
                parent._modules[name] = done[0]
            total += done[1]
        return total

    def visit(m: Module) -> tuple[Module, int]:
        count = sum(p.numel() for p in m.parameters())
        if own_precision and isinstance(m, own_precision) and count:
            return precise(m), count
        if isinstance(policy, CustomPolicy):
            within, options = inside(m), policy.options(m)
            return (m, within) if options is None else (wrapper(m, **options), count)
        if not policy(module=m, recurse=True, nonwrapped_numel=count):
            return m, 0
        within = inside(m)
        if policy(module=m, recurse=False, nonwrapped_numel=count - within):
            return wrapper(m), count
        return m, within

    if isinstance(policy, CustomPolicy) or policy(module=module, recurse=True,
                                                  nonwrapped_numel=sum(p.numel() for p in module.parameters())):
        inside(module)


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
