"""``torch.utils._python_dispatch``: modes that are asked about PyTorch's inner operators, forward and backward.

See ``_dispatch``; the limits are listed in docs/differences.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .._dispatch import offers
from ..tensor import Tensor
from ..tensor.wrapped import Dispatched

__all__ = ["BaseTorchDispatchMode", "TorchDispatchMode", "is_traceable_wrapper_subclass",
           "is_traceable_wrapper_subclass_type", "return_and_correct_aliasing", "transform_subclass"]  # fmt: skip


class TorchDispatchMode:
    """Within ``with mode:``, its ``__torch_dispatch__(func, types, args, kwargs)`` answers for every operation.

    ``func`` is an inner operator such as ``torch.ops.aten.add.Tensor``; called, it goes on with the modes around this
    one, then with the classes of the arguments, and is computed at last. What the mode returns is the result; its
    gradient is the one that the operator has.
    """

    def __init__(self, _dispatch_key: Any = None) -> None:
        self._dispatch_key = _dispatch_key

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: define __torch_dispatch__(self, func, types, args, kwargs)")

    def __enter__(self) -> Any:
        offers.arm()
        offers.state.modes += (self,)
        return self

    def __exit__(self, *error: Any) -> None:
        offers.state.modes = offers.state.modes[:-1]
        offers.disarm()

    @classmethod
    def push(cls, *args: Any, **kwargs: Any) -> Any:
        """``cls(*args, **kwargs)``, to be entered."""
        return cls(*args, **kwargs)

    @classmethod
    def is_infra_mode(cls) -> bool:
        """False: none of the modes here is part of a compiler."""
        return False


class BaseTorchDispatchMode(TorchDispatchMode):
    """A mode that lets every operation pass."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return func(*args, **(kwargs or {}))


def _get_current_dispatch_mode() -> TorchDispatchMode | None:
    """The innermost mode, or None."""
    modes = offers.state.modes
    return modes[-1] if modes else None


def _get_current_dispatch_mode_stack() -> list[TorchDispatchMode]:
    """The modes, the innermost last."""
    return list(offers.state.modes)


@contextlib.contextmanager
def _disable_current_modes() -> Iterator[list[TorchDispatchMode]]:
    """Within it no mode is asked."""
    modes, offers.state.modes = offers.state.modes, ()
    try:
        yield list(modes)
    finally:
        offers.state.modes = modes


@contextlib.contextmanager
def _pop_mode_temporarily(k: Any = None) -> Iterator[TorchDispatchMode]:
    """Within it the innermost mode is not asked."""
    modes = offers.state.modes
    if not modes:
        raise AssertionError("no mode is active")
    offers.state.modes = modes[:-1]
    try:
        yield modes[-1]
    finally:
        offers.state.modes = modes


def is_in_torch_dispatch_mode(include_infra_modes: bool = True) -> bool:
    """Whether any mode is active."""
    return bool(offers.state.modes)


def is_traceable_wrapper_subclass(t: object) -> bool:
    """Whether it is a tensor whose class tells the tensors that it is made of (``__tensor_flatten__``)."""
    return is_traceable_wrapper_subclass_type(type(t))


def is_traceable_wrapper_subclass_type(t: type) -> bool:
    """Whether a class has a ``__torch_dispatch__``, ``__tensor_flatten__`` and ``__tensor_unflatten__``."""
    return issubclass(t, Dispatched) and hasattr(t, "__tensor_flatten__") and hasattr(t, "__tensor_unflatten__")


def transform_subclass(
    t: Any, callback: Callable[[str, Tensor], Tensor], outer_size: Sequence[int] | None = None,
    outer_stride: Sequence[int] | None = None,
) -> Any:  # fmt: skip
    """A tensor of the same class with ``callback(name, inner)`` in the place of each tensor that it is made of.

    Raises RuntimeError if the class makes a tensor of another size of them.
    """
    names, context = t.__tensor_flatten__()
    size = t.size() if outer_size is None else outer_size
    stride = t.stride() if outer_stride is None else outer_stride
    inner = {name: callback(name, getattr(t, name)) for name in names}
    made = type(t).__tensor_unflatten__(inner, context, size, stride)
    if tuple(made.shape) != tuple(size):
        raise RuntimeError(f"{type(t).__name__}.__tensor_unflatten__: expected a tensor of {list(size)}, got "
                           f"{list(made.shape)}")  # fmt: skip
    return made


def return_and_correct_aliasing(func: Any, args: Any, kwargs: Any, out: Any) -> Any:
    """What a ``__torch_dispatch__`` returns, with results that PyTorch's operator returns its arguments as put back.

    An operator that writes to an argument and returns it gives the argument itself. Views of tensors without data share
    what the tensors that they are made of share.
    """
    schema = getattr(func, "_schema", None)
    if schema is None or not schema.is_mutable:
        return out
    named = dict(zip((a.name for a in schema.arguments), args, strict=False)) | (kwargs or {})
    written = {letters: named[a.name] for a in schema.arguments if a.is_write and a.name in named
               for letters in a.alias_info.before_set}  # fmt: skip
    if len(schema.returns) != 1:
        single = [next((written[x] for x in r.alias_info.before_set if x in written), o) if r.alias_info else o
                  for r, o in zip(schema.returns, out, strict=True)]  # fmt: skip
        return type(out)(single)
    told = schema.returns[0].alias_info
    return out if told is None else next((written[x] for x in told.before_set if x in written), out)
