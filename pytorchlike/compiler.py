"""``torch.compile``, and what the engine did.

Programs are recorded and compiled whether or not a function is marked, so :func:`compile` changes no result and needs
no warm-up of its own.  What it saves is Python: a compiled function is captured at its first call and replayed as one
operation afterwards, where that is certain to be the same (see ``capture``); elsewhere it is called as before.
"""

from __future__ import annotations

import functools
import importlib
import sys
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
    dynamic:   how many sizes of the same arguments are captured: 4, one if True, as many as come if False.  Calls with
               further sizes are recorded as those of any loop, where one program serves all sizes.
    mode, options: accepted; there is one way to compile.
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

    made = OptimizedModule if isinstance(model, Module) else captured
    return made(model, fullgraph, dynamic)


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
    """Whether a module is being run for ``torch.export`` or ``torch.onnx.export``."""
    module = sys.modules.get(f"{__package__}.export._recording")
    return module is not None and module.running()


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


# ---- names of torch.compiler that say something about compiled functions ---------------------------------------------

_STANCES = ("default", "force_eager", "eager_on_recompile", "fail_on_recompile", "eager_then_compile",
            "aot_eager_then_compile")


class set_stance:
    """What compiled functions do, from now on, in a ``with`` block or in a decorated function.

    stance: 'default'; 'force_eager' calls their Python each time; 'eager_on_recompile' does so with arguments that
    nothing was captured for yet, and 'fail_on_recompile' raises RuntimeError then; 'eager_then_compile' and
    'aot_eager_then_compile' are 'default', since a call is captured only where that saves something.
    skip_guard_eval_unsafe, force_backend: NotImplementedError. AssertionError in a function that is being captured.
    """

    def __init__(self, stance: str = "default", *, skip_guard_eval_unsafe: bool = False,
                 force_backend: Any = None) -> None:  # fmt: skip
        from . import capture

        if stance not in _STANCES:
            raise RuntimeError(f"invalid torch.compile stance '{stance}'; choose from {', '.join(_STANCES)}")
        if skip_guard_eval_unsafe or force_backend is not None:
            raise NotImplementedError("torch.compiler.set_stance: there are no skip_guard_eval_unsafe and no "
                                      "force_backend")  # fmt: skip
        if is_compiling():
            raise AssertionError("torch.compiler.set_stance: the stance cannot change inside of a compiled function")
        self._stance, self._before = stance, (capture.stance.eager, capture.stance.new)
        self.__enter__()

    def __enter__(self) -> None:
        from . import capture

        capture.stance.eager = self._stance == "force_eager"
        capture.stance.new = {"eager_on_recompile": "call", "fail_on_recompile": "fail"}.get(self._stance, "capture")

    def __exit__(self, *error: Any) -> None:
        from . import capture

        capture.stance.eager, capture.stance.new = self._before

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        self.__exit__()  # decorating sets nothing

        @functools.wraps(fn)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with set_stance(self._stance):
                return fn(*args, **kwargs)

        return wrapped


def wrap_numpy(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors, from one of NumPy arrays: it gets arrays, and arrays that it returns become tensors.

    NumPy computes it, so no gradient passes.
    """
    from .tensor import Tensor
    from .tensor import functions as T
    from .utils import _pytree

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        import numpy as np

        given = _pytree.tree_map(lambda x: x.numpy() if isinstance(x, Tensor) else x, (args, kwargs))
        out = fn(*given[0], **given[1])
        return _pytree.tree_map(lambda x: T.as_tensor(x) if isinstance(x, (np.ndarray, np.generic)) else x, out)

    return wrapped


def nested_compile_region(fn: Any = None, *, options: Any = None, max_reuse_entries: int = 8,
                          reuse_hash_fn: Any = None) -> Any:  # fmt: skip
    """The function itself: what is recorded again is found by its structure, marked or not."""
    return fn if fn is not None else lambda f: f


def substitute_in_graph(original_fn: Callable[..., Any], *, can_constant_fold_through: bool = False,
                        skip_signature_check: bool = False) -> Callable[[Any], Any]:  # fmt: skip
    """A decorator that leaves the function as it is: captured code is called, so nothing has to stand in for it."""
    return lambda traceable_fn: traceable_fn


_default_backend: str = "inductor"


def get_default_backend() -> str:
    """The name that was set, or 'inductor'; all of them mean XLA."""
    return _default_backend


def set_default_backend(backend: str | Callable[..., Any] | None) -> None:
    """Take one of the names that PyTorch knows, which all mean XLA, or None for the first one.

    Raises NotImplementedError for a function, and RuntimeError for other names.
    """
    global _default_backend
    if callable(backend):
        raise NotImplementedError("torch.compiler.set_default_backend: a backend would be given an FX graph, and there "
                                  "is none here")  # fmt: skip
    if backend is not None and backend not in _BACKENDS:
        raise RuntimeError(f"Invalid backend: {backend!r}, should be one of: {', '.join(_BACKENDS)}")
    _default_backend = backend or "inductor"


def save_cache_artifacts() -> None:
    """None: compiled programs are kept in a directory (PYTORCHLIKE_CACHE_DIR), which can be copied."""


def load_cache_artifacts(serialized_artifacts: bytes) -> None:
    """NotImplementedError: see :func:`save_cache_artifacts`."""
    _no_artifacts()


def load_compiled_function(file: Any, *, f_globals: Any = None, external_data: Any = None) -> None:
    """NotImplementedError: see :func:`save_cache_artifacts`."""
    _no_artifacts()


def _no_artifacts() -> None:
    raise NotImplementedError("torch.compiler: compiled programs are kept in the directory PYTORCHLIKE_CACHE_DIR, "
                              "which can be copied; programs to be sent elsewhere are made by torch.export")


def set_enable_guard_collectives(enabled: bool) -> bool:
    """What was set before: False. NotImplementedError for True: no process asks the others before it compiles."""
    if enabled:
        raise NotImplementedError("set_enable_guard_collectives(True): processes compile independently of each other; "
                                  "leave the call out")
    return False


def _kept(entries: list[Any]) -> list[bool]:
    """A filter of guards: all of them stay, as those here cost microseconds."""
    return [True] * len(entries)


skip_guard_on_inbuilt_nn_modules_unsafe = skip_guard_on_all_nn_modules_unsafe = keep_tensor_guards_unsafe = _kept
skip_guard_on_globals_unsafe = skip_all_guards_unsafe = keep_portable_guards_unsafe = _kept
