"""``torch.utils._contextlib``: context managers that are decorators, too."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

__all__: list[str] = []


def context_decorator(ctx: Any, func: Callable[..., Any]) -> Callable[..., Any]:
    """The function, each call of it (each step, of a generator) within ``ctx()``, or the context manager ``ctx``."""
    factory = ctx.clone if hasattr(ctx, "clone") else ctx if callable(ctx) and not hasattr(ctx, "__enter__") else (
        lambda: ctx
    )
    if inspect.isgeneratorfunction(func):

        @functools.wraps(func)
        def generator(*args: Any, **kwargs: Any) -> Any:
            with factory():
                made = func(*args, **kwargs)
            given: Any = None
            while True:
                try:
                    with factory():
                        item = made.send(given)
                except StopIteration as stop:
                    return stop.value
                given = yield item

        return generator

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with factory():
            return func(*args, **kwargs)

    return wrapped


class _DecoratorContextManager:
    """A base of context managers: used as a decorator, each call of the function is within a ``clone()`` of it."""

    def __call__(self, orig_func: Callable[..., Any]) -> Callable[..., Any]:
        return context_decorator(self.clone, orig_func)

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        raise NotImplementedError

    def clone(self) -> Any:
        """Another one; subclasses whose constructor has arguments say how."""
        return self.__class__()


class _NoParamDecoratorContextManager(_DecoratorContextManager):
    """As the base; ``@cls`` without brackets decorates, too."""

    def __new__(cls, orig_func: Any = None) -> Any:
        if orig_func is None:
            return super().__new__(cls)
        return cls()(orig_func)
