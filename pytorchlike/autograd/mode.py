"""Switching gradient recording on and off."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ..engine import get_mode, set_mode

__all__ = [
    "enable_grad", "inference_mode", "is_grad_enabled", "is_inference_mode_enabled", "no_grad", "set_grad_enabled",
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
        set_mode(mode.replace(**self._changes()))

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
            raise TypeError(f"{type(self).__name__} cannot decorate a class; decorate its methods")

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
    """As :class:`no_grad`; ``inference_mode(False)`` changes nothing but ends an outer one."""

    def __init__(self, mode: bool = True) -> None:
        self.mode = mode

    def clone(self) -> Any:
        return type(self)(self.mode)

    def _changes(self) -> dict[str, Any]:
        return {"grad": not self.mode, "inference": self.mode} if self.mode else {"inference": False}


class set_grad_enabled(_Mode):
    """Switch recording on or off at once; as a context manager, until its end."""

    def __init__(self, mode: bool) -> None:
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
