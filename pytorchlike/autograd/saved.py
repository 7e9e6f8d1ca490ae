"""What happens to tensors that gradients need: hooks when they are kept and when they are used again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..engine import Op, Value, get_mode, local, make_value, record, set_mode
from ..engine import grad as reverse
from ..engine.grad import is_retaining, watch_all
from ..engine.meta import INTERIOR
from ..engine.scope import Scope
from ..engine.segment import used_slots
from ..engine.trace import read
from ..engine.trie import Call
from ..tensor import Tensor
from ..tensor._values import STRAIGHT
from .mode import no_grad
from .nodes import CUSTOM

__all__ = ["Packing", "allow_mutation_on_saved_tensors", "disable_saved_tensors_hooks", "save_on_cpu",
           "saved_tensors_hooks"]

_state = threading.local()


def _stack() -> list:
    return _state.__dict__.setdefault("stack", [])


def current_hooks() -> Any:
    """The innermost :class:`saved_tensors_hooks` of this thread, or None."""
    stack = _stack()
    return stack[-1] if stack and isinstance(stack[-1], saved_tensors_hooks) else None


class saved_tensors_hooks:
    """Within it, ``pack_hook(tensor)`` is called for each tensor that a gradient will need, and its result is kept.

    A backward pass calls ``unpack_hook(packed)`` to have a tensor again, each time it needs one.  Kept are the
    arguments of operations whose gradient is not linear (PyTorch keeps their results for some).  The pack hook sees
    tensors without history, and runs at the latest when the context ends, a value is read or a backward pass begins.
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook
        self._entered: list = []

    def __enter__(self) -> Any:
        for entry in _stack():
            if isinstance(entry, str):
                raise RuntimeError(entry)
        scope = _Hooked(self)
        scope.enter()
        _stack().append(self)
        self._entered.append(scope)
        return None

    def __exit__(self, *exc: object) -> None:
        try:
            self._entered.pop().leave()
        finally:
            _stack().pop()


class Packing(Scope):
    """Keeps by ``pack`` what gradients of the calls within need, and has it back by ``unpack``."""

    def enter(self) -> None:
        """Begin."""
        self.open()
        mode = get_mode()
        self.scoped = mode.scoped
        set_mode(mode.replace(scoped=True))

    def leave(self) -> None:
        """End."""
        try:
            self.close()
        finally:
            if self in local.scopes:
                local.scopes.remove(self)
            set_mode(get_mode().replace(scoped=self.scoped))
            self._trace = None  # whose values lead back here

    def pack(self, value: Value) -> Any:
        """What is kept of a value."""
        return Tensor._of(_plain(value))

    def unpack(self, packed: Any) -> Tensor:
        """The value again."""
        return packed

    def portion(self, trace: Any, calls: list[Call], executing: bool) -> None:
        values = trace.values
        todo: list[tuple[list, int, Any]] = []
        for call in calls:
            if not call.tracked or not call.mode.scoped or call.op.info is CUSTOM:
                continue
            found = trace.watched.get(call.first)
            if found is not None and found.handle is not None:
                continue
            used = set(used_slots(call))
            if used:
                packed: list[Any] = [None] * len(call.slots)
                todo += [(packed, k, values[s]) for k, s in enumerate(call.slots) if s in used]
                watch_all(trace.watched, tuple(call.out_slots), _Packed(call, packed, self.unpack))
        # a hook may read a value, which executes the trace: what stops reverse passes must be there by then
        for packed, k, value in todo:
            packed[k] = (self.pack(value),)


class _Hooked(Packing):
    def __init__(self, hooks: saved_tensors_hooks) -> None:
        super().__init__()
        self.hooks = hooks

    def pack(self, value: Value) -> Any:
        return pack(self.hooks, super().pack(value))

    def unpack(self, packed: Any) -> Tensor:
        return unpacked(self.hooks.unpack_hook, packed)


def _plain(value: Any) -> Any:
    from ..tensor._values import _plain

    return _plain(value)


def pack(hooks: saved_tensors_hooks, tensor: Tensor) -> Any:
    """What a pack hook makes of a tensor; RuntimeError if it writes to it."""
    with no_grad():
        given = tensor.detach()
        version = given._version
        packed = hooks.pack_hook(given)
        if given._version != version:
            raise RuntimeError(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook "
                "cannot be modified by in-place operations as this can lead to unexpected side-effects. Please open an "
                "issue if you need to perform in-place operations on the input to a pack hook."
            )
        return packed


def unpacked(hook: Callable[[Any], Tensor], packed: Any) -> Tensor:
    """What an unpack hook makes of it; TypeError if that is no tensor."""
    found = hook(packed)
    if not isinstance(found, Tensor):
        raise TypeError(
            "Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
            f"{type(found).__name__}"
        )
    return found


class _Packed:
    """The handle of a call whose arguments were packed: its gradient, at what is unpacked."""

    batched = True

    def __init__(self, call: Call, packed: list, unpack: Any) -> None:
        self.call, self.packed, self.unpack = call, packed, unpack

    def __call__(self, given: dict) -> dict:
        if self.packed is None:
            raise RuntimeError(reverse._AGAIN)
        run, where, values = reverse.place()
        call = self.call
        held = []
        for k, (s, meta) in enumerate(zip(call.slots, call.metas, strict=True)):
            if self.packed[k] is None:
                held.append(record(_ZEROS, (meta.shape, meta.dtype), ()))
                continue
            v = self.unpack(self.packed[k][0])._get()
            if v.meta.shape != meta.shape or v.meta.dtype != meta.dtype:
                raise RuntimeError(
                    f"saved tensor unpack_hook gave a tensor of {list(v.meta.shape)} and {v.meta.dtype} for one of "
                    f"{list(meta.shape)} and {meta.dtype} ({call.op.name})"
                )
            if meta.grad and run.create:  # the history of what was packed
                if values is not None:
                    v = record(STRAIGHT, (), (v, values[s]))
                else:
                    old = where.inputs.get(s)
                    if old is None and meta.grad == INTERIOR:
                        v = make_value(meta, read(v), (where, s))
                    else:
                        v = old if old is not None else make_value(meta, read(v), where.leaves.get(s))
            held.append(v)
        if not is_retaining():
            self.packed = None
        return run.through(where, values, call, given, held)


def _zeros(static: Any, args: tuple) -> Any:
    import jax.numpy as jnp

    return jnp.zeros(*static)


_ZEROS = Op("zeros", _zeros, differentiable=False)


class save_on_cpu(saved_tensors_hooks):
    """Within it, tensors that gradients need are kept on the CPU and brought back when they are used.

    pin_memory: accepted for PyTorch's sake; XLA's transfers do not need pinned memory.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda t: (t.device, t.cpu()), lambda packed: packed[1].to(packed[0]))


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Within it, :class:`saved_tensors_hooks` raises RuntimeError(``error_message``)."""
    if current_hooks() is not None:
        raise RuntimeError(error_message)
    _stack().append(error_message)
    try:
        yield
    finally:
        _stack().pop()


class _AllowMutationContext:
    """What :func:`allow_mutation_on_saved_tensors` gives; ``clear`` is there for PyTorch's sake."""

    def clear(self) -> None:
        """Nothing is copied, so nothing is to be cleared."""


@contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[_AllowMutationContext]:
    """Within it, tensors that were saved for backward may be written to; gradients use the values of the forward pass.

    Operations always use those here; this also switches off the check of what custom functions have saved.
    """
    outer = getattr(_state, "mutation", False)
    if outer:
        raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
    _state.mutation = True
    try:
        yield _AllowMutationContext()
    finally:
        _state.mutation = False


def is_mutation_allowed() -> bool:
    """Whether :func:`allow_mutation_on_saved_tensors` is on in this thread."""
    return getattr(_state, "mutation", False)


