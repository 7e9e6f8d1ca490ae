"""Switching gradient recording on and off."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import get_mode, set_mode

__all__ = [
    "enable_grad", "enforce_grad_layout_policy", "inference_mode", "is_grad_enabled", "is_inference_mode_enabled",
    "is_multithreading_enabled", "no_grad", "set_grad_enabled", "set_multithreading_enabled",
]  # fmt: skip


def is_grad_enabled() -> bool:
    """Whether operations are recorded for backward in this thread."""
    return get_mode().grad


def is_inference_mode_enabled() -> bool:
    """Whether :class:`inference_mode` is on in this thread."""
    return get_mode().inference


class _Mode:
    """A context manager that is also a decorator (of functions and generators)."""

    _stack: list[Any]

    def _changes(self) -> dict[str, Any]:
        raise NotImplementedError

    def __enter__(self) -> None:
        mode = get_mode()
        self.__dict__.setdefault("_stack", []).append(mode)
        try:
            set_mode(mode.replace(**self._changes()))
        except BaseException:  # Ctrl-C behind it: nobody would leave a context that was not entered
            set_mode(mode)
            raise

    def __exit__(self, *exc: object) -> None:
        before = self._stack.pop()
        # only what this context changed is put back: autocast may have been switched inside
        set_mode(get_mode().replace(**{name: getattr(before, name) for name in self._changes()}))

    def clone(self) -> Any:
        return type(self)()

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(fn):
            return self._generator(fn)
        if inspect.isclass(fn):
            import warnings

            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You should only decorate "
                "functions or methods. What is decorated here is the call that makes an instance; to decorate just "
                "that, decorate __init__.", FutureWarning, stacklevel=2,
            )  # fmt: skip

        @functools.wraps(fn)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return fn(*args, **kwargs)

        return wrapped

    def _generator(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            generator = fn(*args, **kwargs)
            send: Any = None
            error: BaseException | None = None
            while True:
                try:
                    with self.clone():
                        item = generator.throw(error) if error is not None else generator.send(send)
                except StopIteration as stop:
                    return stop.value
                try:
                    send, error = (yield item), None
                except GeneratorExit:
                    with self.clone():
                        generator.close()
                    raise
                except BaseException as raised:
                    send, error = None, raised

        return wrapped


class _Decorating(type):
    """``@no_grad`` without parentheses decorates as ``@no_grad()`` does."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if args and callable(args[0]) and not kwargs:
            return type.__call__(cls)(args[0])
        return type.__call__(cls, *args, **kwargs)


class no_grad(_Mode, metaclass=_Decorating):
    """Do not record operations for backward: context manager or decorator."""

    def _changes(self) -> dict[str, Any]:
        return {"grad": False}


class enable_grad(_Mode, metaclass=_Decorating):
    """Record operations for backward, also inside :class:`no_grad`."""

    def _changes(self) -> dict[str, Any]:
        return {"grad": True}


class inference_mode(_Mode, metaclass=_Decorating):
    """As :class:`no_grad`; ``inference_mode(False)`` ends an outer one, and records for backward again."""

    def __init__(self, mode: bool = True) -> None:
        self.mode = mode

    def clone(self) -> Any:
        return type(self)(self.mode)

    def _changes(self) -> dict[str, Any]:
        return {"grad": not self.mode, "inference": self.mode}


class set_grad_enabled(_Mode):
    """Switch recording on or off at once; as a context manager, until its end."""

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, (bool, np.bool_)):
            raise TypeError(
                f"set_grad_enabled(): argument 'enabled' (position 1) must be bool, not {type(mode).__name__}"
            )
        self.mode = bool(mode)
        self._before = set_mode(get_mode().replace(grad=self.mode))

    def clone(self) -> Any:
        return type(self)(self.mode)

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        set_mode(self._before)  # a decorator must not switch where it is written
        return super().__call__(fn)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        set_mode(get_mode().replace(grad=self._before.grad))

    def __repr__(self) -> str:
        return f"torch.autograd.grad_mode.set_grad_enabled(mode={self.mode})"


class set_multithreading_enabled:
    """Whether reverse passes may use several threads: remembered, without effect, since Python never does that here.

    The work of a reverse pass runs in XLA's threads in either case.
    """

    def __init__(self, mode: bool) -> None:
        self.prev, self.mode = is_multithreading_enabled(), bool(mode)
        _threads.enabled = self.mode

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _threads.enabled = self.prev


_threads = threading.local()


def is_multithreading_enabled() -> bool:
    """What :class:`set_multithreading_enabled` was told last in this thread."""
    return getattr(_threads, "enabled", True)


class enforce_grad_layout_policy(_Mode):
    """Whether gradients must be laid out in memory as their parameters: remembered, and without effect.

    XLA chooses the layout in memory, and ``.stride()`` is the same either way.
    """

    def __init__(self, enable: bool = True) -> None:
        self.prev, self.mode = getattr(_threads, "layout", True), enable
        _threads.layout = enable

    def clone(self) -> Any:
        return type(self)(self.mode)

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        _threads.layout = self.prev
        return super().__call__(fn)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _threads.layout = self.prev


class _unsafe_preserve_version_counter:
    """Context after which tensors have the ``_version`` that they had before it."""

    def __init__(self, tensors: Any) -> None:
        self.tensors = tensors if isinstance(tensors, (tuple, list)) else (tensors,)
        self.versions = [t._version for t in self.tensors]

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        for t, version in zip(self.tensors, self.versions, strict=True):
            if t._alias is None:
                t._bumps = version
            elif t._alias.writes is not None:
                t._alias.writes[0] = version
            else:
                t._alias.storage.quiet += t._version - version
