"""Modules whose forward pass is computed again in the backward pass, or kept in host memory."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from ....autograd.graph import save_on_cpu
from ....nn.modules.module import Module
from ....utils.checkpoint import checkpoint

__all__ = ["CheckpointImpl", "CheckpointWrapper", "OffloadWrapper", "apply_activation_checkpointing",
           "checkpoint_wrapper", "offload_wrapper"]

_PREFIX = "_checkpoint_wrapped_module"


class CheckpointImpl(enum.Enum):
    """How ``torch.utils.checkpoint`` works."""

    REENTRANT = enum.auto()
    NO_REENTRANT = enum.auto()


class CheckpointWrapper(Module):
    """A module in a checkpointed region. Its state_dict and parameters have the names of the module itself."""

    def __init__(self, mod: Module, checkpoint_impl: CheckpointImpl = CheckpointImpl.NO_REENTRANT,
                 checkpoint_fn: Callable[..., Any] | None = None, **checkpoint_fn_kwargs: Any) -> None:
        super().__init__()
        self._checkpoint_wrapped_module = mod
        self.checkpoint_impl = checkpoint_impl
        self._fn, self._given = checkpoint_fn or checkpoint, checkpoint_fn_kwargs
        if checkpoint_fn is None:
            self._given.setdefault("use_reentrant", checkpoint_impl is CheckpointImpl.REENTRANT)
        self._register_state_dict_hook(_without_prefix)
        self.register_load_state_dict_pre_hook(_with_prefix)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output."""
        return self._fn(self._checkpoint_wrapped_module, *args, **self._given, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__(_PREFIX), name)

    def __getitem__(self, key: int) -> Any:
        return self._checkpoint_wrapped_module[key]

    def named_parameters(self, *args: Any, **kwargs: Any) -> Any:
        """The module's parameters, under its own names."""
        for name, value in super().named_parameters(*args, **kwargs):
            yield name.replace(f"{_PREFIX}.", ""), value


class OffloadWrapper(CheckpointWrapper):
    """A module that keeps in host memory what its backward pass needs."""

    def __init__(self, mod: Module) -> None:
        super().__init__(mod, checkpoint_fn=_on_cpu)


def _on_cpu(module: Module, *args: Any, **kwargs: Any) -> Any:
    with save_on_cpu(pin_memory=True):
        return module(*args, **kwargs)


def _without_prefix(module: Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in [n for n in state if n.startswith(f"{prefix}{_PREFIX}.")]:
        state[prefix + name[len(prefix) + len(_PREFIX) + 1 :]] = state.pop(name)


def _with_prefix(module: Module, state: dict[str, Any], prefix: str, *args: Any) -> None:
    for name in [n for n in state if n.startswith(prefix) and not n.startswith(f"{prefix}{_PREFIX}.")]:
        state[f"{prefix}{_PREFIX}.{name[len(prefix) :]}"] = state.pop(name)


def checkpoint_wrapper(module: Module, checkpoint_impl: CheckpointImpl = CheckpointImpl.NO_REENTRANT,
                       checkpoint_fn: Callable[..., Any] | None = None, **checkpoint_fn_kwargs: Any) -> Module:
    """The module in a checkpointed region; checkpoint_fn takes the place of ``torch.utils.checkpoint.checkpoint``."""
    return CheckpointWrapper(module, checkpoint_impl, checkpoint_fn, **checkpoint_fn_kwargs)


def offload_wrapper(module: Module) -> Module:
    """The module, which keeps in host memory what its backward pass needs."""
    return OffloadWrapper(module)


def apply_activation_checkpointing(model: Module,
                                   checkpoint_wrapper_fn: Callable[[Module], Module] = checkpoint_wrapper,
                                   check_fn: Callable[[Module], bool] = lambda _: True,
                                   auto_wrap_policy: Callable[..., bool] | None = None) -> None:
    """Wrap, in place, all parts of the model for which ``check_fn`` (or the policy) says so, the inner ones first."""
    for name, child in list(model.named_children()):
        apply_activation_checkpointing(child, checkpoint_wrapper_fn, check_fn, auto_wrap_policy)
        if auto_wrap_policy is not None:
            chosen = auto_wrap_policy(child, False, sum(p.numel() for p in child.parameters()))
        else:
            chosen = check_fn(child)
        if chosen:
            setattr(model, name, checkpoint_wrapper_fn(child))
