"""``torch._dynamo``: names of PyTorch's bytecode compiler that programs use; Python is not rewritten here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from . import compiled_autograd as compiled_autograd
from . import config as config
from . import eval_frame as eval_frame
from . import exc as exc
from . import utils as utils
from .eval_frame import OptimizedModule as OptimizedModule

T = TypeVar("T")


def reset() -> None:
    """As ``torch.compiler.reset``."""
    from ..compiler import reset

    reset()


def is_compiling() -> bool:
    """As ``torch.compiler.is_compiling``."""
    from ..compiler import is_compiling

    return is_compiling()


def disable(fn: T | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """As ``torch.compiler.disable``."""
    from ..compiler import disable

    return disable(fn, recursive, reason=reason)


def optimize(backend: Any = "inductor", *, nopython: bool = False, dynamic: bool | None = None, disable: bool = False,
             **kwargs: Any) -> Callable[[Any], Any]:  # fmt: skip
    """A decorator: ``torch.compile`` of a module or function; nopython is its fullgraph."""
    from ..compiler import compile

    return compile(backend=backend, fullgraph=nopython, dynamic=dynamic, disable=disable)


def explain(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """As ``torch.compiler.explain``: ``explain(fn)(*args)``, or all at once, as was asked for of old."""
    from ..compiler import explain

    explained = explain(fn)
    return explained(*args, **kwargs) if args or kwargs else explained


def allow_in_graph(fn: T) -> T:
    """The function itself."""
    return fn


assume_constant_result = allow_in_graph


def graph_break(msg: str = "") -> None:
    """A compiled function that comes by here runs its Python at each call; an error if it must not (fullgraph)."""
    from ..capture import broken

    broken("torch._dynamo.graph_break() is called", msg or None)


def mark_dynamic(t: Any, index: Any, **kwargs: Any) -> None:
    """A hint about a size that varies; programs here are found by the sizes they meet."""


def mark_static(t: Any, index: Any = None) -> None:
    """A hint about a size that does not vary."""


maybe_mark_dynamic = mark_dynamic


def mark_static_address(t: Any, guard: bool = True) -> None:
    """A hint about a tensor that stays at its address."""


def run(fn: T | None = None) -> Any:
    """The function itself, a decorator without one: what was captured is replayed in any case."""
    return fn if fn is not None else (lambda fn: fn)
