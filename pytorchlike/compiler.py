"""``torch.compile``, and what the engine did.

Programs are recorded and compiled whether or not a function is marked, so :func:`compile` changes no result and needs
no warm-up of its own.  What it saves is Python: a compiled function is captured at its first call and replayed as one
operation afterwards, where that is certain to be the same (see ``capture``); elsewhere it is called as before.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from .engine import stats as _stats
from .engine.causes import RecompilationWarning as RecompilationWarning

_BACKENDS = ("aot_eager", "cudagraphs", "eager", "inductor", "onnxrt", "openxla", "tvm")
_MODES = ("default", "max-autotune", "max-autotune-no-cudagraphs", "reduce-overhead")


def compile(
    model: Callable[..., Any] | None = None, *, fullgraph: bool = False, dynamic: bool | None = None,
    backend: str | Callable[..., Any] = "inductor", mode: str | None = None,
    options: dict[str, Any] | None = None, disable: bool = False, **kwargs: Any,
) -> Any:  # fmt: skip
    """A module or function that does the same with less Python.

    model:     a Module (an ``OptimizedModule`` around it comes back), a function, or None to decorate.
    fullgraph: raise where the value of a tensor is needed, instead of going on without a capture.
    dynamic, mode, options: accepted; XLA compiles for each shape, and there is one way to compile.
    backend:   the names that PyTorch knows mean XLA here; a callable raises NotImplementedError.
    disable:   give the model back as it is.

    Raises:  RuntimeError for a mode together with options, or an unknown mode or backend; TypeError for what cannot
             be called.
    """
    if mode is not None and options is not None:
        raise RuntimeError("Either mode or options can be specified, but both can't be specified at the same time.")
    if mode is not None and mode not in _MODES:
        raise RuntimeError(f"Unrecognized mode={mode}, should be one of: {', '.join(_MODES)}")
    if callable(backend):
        raise NotImplementedError(
            "torch.compile: a backend of your own would be given an FX graph, and there is none here. XLA compiles; "
            "leave backend out."
        )
    if backend not in _BACKENDS:
        raise RuntimeError(f"Invalid backend: {backend!r}, should be one of: {', '.join(_BACKENDS)}")
    if kwargs:
        raise TypeError(f"compile() got an unexpected keyword argument '{next(iter(kwargs))}'")
    if model is None:
        return functools.partial(compile, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode,
                                 options=options, disable=disable)  # fmt: skip
    if not callable(model):
        raise TypeError(f"torch.compile takes a Module or a function, but got {type(model).__name__}")
    if disable:
        return model
    from .capture import OptimizedModule, captured
    from .nn import Module

    return OptimizedModule(model, fullgraph) if isinstance(model, Module) else captured(model, fullgraph)


def explain(fn: Callable[..., Any]) -> Callable[..., Any]:
    """``explain(fn)(*args)`` calls ``fn`` and reports what was captured and compiled, and why not.

    The report is that of :func:`report`, with ``graph_count``, ``graph_break_count``, ``break_reasons``, ``op_count``.
    """
    from .capture import explain as explained

    return explained(fn)


def report() -> Any:
    """A context manager that reports on an ordinary loop: ``with torch.compiler.report() as r: ...; print(r)``.

    It tells how many programs there were, what was compiled, how long that took and what had changed, what had the
    recording executed, and where values were read; each with the line of the user's program.  In a notebook it shows
    itself as tables.  Its attributes: see ``pytorchlike.capture.Report``.  Nothing is paid for it outside of the block.
    """
    from .capture import Report

    return Report()


def reset() -> None:
    """Forget the captures of all compiled functions and the causes of compilations, and set :func:`stats` to zero."""
    from .capture import forget

    forget()
    _stats.reset()


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Decorator: a function that runs its Python code at each call, also inside of compiled ones."""
    if fn is None:
        return functools.partial(disable, recursive=recursive, reason=reason)
    from .capture import uncaptured

    return uncaptured(fn, reason)


def list_backends(exclude_tags: tuple[str, ...] = ("debug", "experimental")) -> list[str]:
    """The names that ``backend=`` takes."""
    return [b for b in _BACKENDS if not ("debug" in exclude_tags and b.endswith("eager"))]


def allow_in_graph(fn: Any) -> Any:
    """Every function may be captured: gives ``fn`` back."""
    return fn


def assume_constant_result(fn: Any) -> Any:
    """A captured call keeps the results of Python functions anyway, if these are pure: gives ``fn`` back."""
    return fn


def is_compiling() -> bool:
    """Whether a compiled function is being captured."""
    from .engine import local

    trace = local.trace
    return trace.nested and hasattr(trace, "breaks")


is_dynamo_compiling = is_compiling


def is_exporting() -> bool:
    """False: there is no export to run inside of."""
    return False


def cudagraph_mark_step_begin() -> None:
    """Nothing has to be marked: results of a replay never overwrite those of an earlier one."""


# ---- what the engine did -----------------------------------------------------------------------------------------


def stats() -> dict[str, int]:
    """Counts since the start (or :func:`reset`): programs and kernels compiled, executions, recorded misses."""
    return _stats.as_dict()


def log() -> list[str]:
    """The latest compilations: what, for which line of the program, why, and how long each took."""
    return [
        f"{e.kind} of {e.operations} operations for {e.where}: {e.why}; {e.cause.text} ({e.seconds * 1e3:.0f} ms)"
        for e in _stats.log
    ]


def synchronize() -> None:
    """Execute what is pending in this thread."""
    importlib.import_module(".engine", __package__).flush("synchronize")
