"""Functions that are captured at their first call and replayed afterwards: behind ``torch.compile``."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from ..engine import local, policy
from ..nn import Module
from .replay import Capture, Captured, Unsupported, stance
from .report import Explained, Report

__all__ = ["Captured", "Explained", "OptimizedModule", "Report", "Unsupported", "captured", "explain", "forget",
           "stance", "uncaptured"]  # fmt: skip

_all: weakref.WeakSet[Captured] = weakref.WeakSet()


def _make(fn: Callable[..., Any], fullgraph: bool = False, dynamic: bool | None = None) -> Captured:
    made = Captured(fn, fullgraph, dynamic)
    _all.add(made)
    return made


def captured(fn: Callable[..., Any], fullgraph: bool = False, dynamic: bool | None = None) -> Callable[..., Any]:
    """A function that replays ``fn`` where it can; its :class:`Captured` is the attribute ``capture``."""
    made = _make(fn, fullgraph, dynamic)

    @functools.wraps(fn)
    def compiled(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs) if stance.eager else made(*args, **kwargs)

    compiled.capture = made  # type: ignore[attr-defined]
    compiled._torchdynamo_orig_callable = fn  # type: ignore[attr-defined]
    return compiled


class OptimizedModule(Module):
    """A module whose call is captured; everything else is that of the module inside, ``_orig_mod``."""

    _orig_mod: Module

    def __init__(self, mod: Module, fullgraph: bool = False, dynamic: bool | None = None) -> None:
        super().__init__()
        self._orig_mod = mod
        self.__dict__["capture"] = _make(mod, fullgraph, dynamic)
        self.__dict__["training"] = mod.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._orig_mod(*args, **kwargs) if stance.eager else self.__dict__["capture"](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "_orig_mod":
            return super().__getattr__(name)
        return getattr(self._orig_mod, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_orig_mod" or name in type(self).__dict__ or "_orig_mod" not in self._modules:
            super().__setattr__(name, value)
            return
        if name == "training":
            self.__dict__[name] = value
        setattr(self._orig_mod, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._orig_mod, name)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state["capture"] = state["capture"].fullgraph, state["capture"].dynamic
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        settings = state.pop("capture")
        super().__setstate__(state)
        self.__dict__["capture"] = _make(self._orig_mod, *settings)


def uncaptured(fn: Any, reason: str | None = None) -> Any:
    """``fn``, telling a capture that it is running in that it cannot be replayed."""
    if isinstance(fn, Module):
        fn.forward = uncaptured(fn.forward, reason)  # type: ignore[method-assign]
        return fn
    if isinstance(fn, type):  # its instances, when they are called
        name = "forward" if issubclass(fn, Module) else "__call__"
        if any(name in vars(part) for part in fn.__mro__):
            setattr(fn, name, uncaptured(getattr(fn, name), reason))
        return fn

    @functools.wraps(fn)
    def called(*args: Any, **kwargs: Any) -> Any:
        broken(f"{getattr(fn, '__qualname__', repr(fn))} is marked with torch.compiler.disable", reason)
        return fn(*args, **kwargs)

    called._torchdynamo_disable = True  # type: ignore[attr-defined]
    return called


def broken(why: str, reason: str | None = None) -> None:
    """Tell a capture that is going on, if there is one, why it cannot be replayed; Unsupported if it must be."""
    trace = local.trace
    if isinstance(trace, Capture):
        if trace.fullgraph:
            raise Unsupported(f"torch.compile(fullgraph=True): {why}" + (f" ({reason})" if reason else ""))
        trace.breaks.append(why)


def forget() -> None:
    """Drop all captures, and what the engine's policy has learnt."""
    policy.reset()
    for made in _all:
        made.reset()


def explain(fn: Callable[..., Any]) -> Callable[..., Explained]:
    """``explain(fn)(*args)`` calls ``fn`` once, captured, and reports."""
    made = fn.capture if hasattr(fn, "capture") else _make(fn)

    def run(*args: Any, **kwargs: Any) -> Explained:
        with Explained(made) as report:
            made(*args, **kwargs)
        return report

    return run
