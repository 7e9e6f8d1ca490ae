"""``torch.jit``: there is no TorchScript; programs are recorded and compiled without it.

``script`` and ``trace`` return what they are given, so that programs which call them for speed run as fast as without.
What was traced can be saved and loaded as a program of :mod:`torch.export`; what needs TorchScript itself raises
NotImplementedError. The decorators and predicates for
TorchScript's compiler are there and do what they do in Python.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from .._refused import Refused
from ..engine.errors import warn
from ..futures import Future as Future
from ..nn.modules.module import Module

__all__ = [
    "Attribute", "Error", "Future", "annotate", "enable_onednn_fusion", "export", "fork", "freeze", "ignore",
    "interface", "is_scripting", "is_tracing", "isinstance", "load", "onednn_fusion_enabled", "optimize_for_inference",
    "save", "script", "script_if_tracing", "set_fusion_strategy", "strict_fusion", "trace", "trace_module", "unused",
    "wait",
]  # fmt: skip

T = TypeVar("T")
_isinstance = isinstance
_NO_SCRIPT = (
    "there is no TorchScript: programs are compiled without it. torch.jit.trace with example inputs makes a module "
    "that can be saved; or save the state_dict with torch.save and make the module again in Python"
)
#: The example inputs of what was traced, which saving needs.
_examples: weakref.WeakKeyDictionary[Any, tuple[tuple, dict[str, Any]]] = weakref.WeakKeyDictionary()


class Error(RuntimeError):
    """What TorchScript's interpreter raises; nothing here does."""


class TracerWarning(Warning):
    """What TorchScript's tracer warns of, for filters; nothing here does."""


class Attribute(NamedTuple):
    """A value with its type."""

    value: Any
    type: Any


_SWITCH = "Please switch to `torch.compile` or `torch.export`."
_COMPILE = "Please use `torch.compile` instead."
_EXPORT = "Please switch to `torch.export`."


def _deprecated(name: str, instead: str) -> None:
    warn(f"`torch.jit.{name}` is deprecated. {instead}", DeprecationWarning)


def script(
    obj: T, optimize: None = None, _frames_up: int = 0, _rcb: None = None,
    example_inputs: list[tuple] | dict[Callable, list[tuple]] | None = None,
) -> T:  # fmt: skip
    """The module, function or class itself. ``example_inputs`` would tell types to TorchScript, which needs none
    here.
    """
    _deprecated("script", _SWITCH)
    return _with_save(obj)


def _with_save(obj: T) -> T:
    """The module itself, with a method ``save`` unless its class has one."""
    if _isinstance(obj, Module) and not hasattr(obj, "save"):
        object.__setattr__(obj, "save", functools.partial(save, obj))
    return obj


def trace(
    func: T, example_inputs: Any = None, optimize: None = None, check_trace: bool = True, check_inputs: Any = None,
    check_tolerance: float = 1e-5, strict: bool = True, _force_outplace: bool = False, _module_class: None = None,
    _compilation_unit: Any = None, example_kwarg_inputs: dict[str, Any] | None = None, _store_inputs: bool = True,
) -> T:  # fmt: skip
    """The function or module itself: its Python runs at every call, so that control flow stays as it is.

    It is called once with the example, so that errors arise here and its program is compiled.
    """
    _deprecated("trace", _SWITCH)
    return _traced(func, example_inputs, example_kwarg_inputs)


def _traced(func: T, example_inputs: Any, example_kwarg_inputs: dict[str, Any] | None = None) -> T:
    from ..autograd.mode import no_grad

    args: tuple = ()
    if example_inputs is not None and example_kwarg_inputs is None:
        args = tuple(example_inputs) if _isinstance(example_inputs, (tuple, list)) else (example_inputs,)
    with no_grad():
        if args or example_kwarg_inputs is not None:
            func(*args, **(example_kwarg_inputs or {}))  # type: ignore[operator]
    if _isinstance(func, Module):
        _examples[func] = args, dict(example_kwarg_inputs or {})
    return _with_save(func)


def trace_module(mod: T, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> T:
    """The module itself; its methods named in ``inputs`` are called once with the examples."""
    _deprecated("trace_module", _SWITCH)
    for name, example in inputs.items():
        _traced(getattr(mod, name), example)
    return mod


def freeze(mod: T, preserved_attrs: list[str] | None = None, optimize_numerics: bool = True) -> T:
    """The module itself, which must be in eval mode as in PyTorch."""
    _deprecated("freeze", _COMPILE)
    if getattr(mod, "training", False):
        raise RuntimeError(
            "Freezing is currently only implemented for modules in eval mode. Please call .eval() on "
            "your "

                           "module before freezing.")  # fmt: skip
    return mod


def optimize_for_inference(mod: T, other_methods: list[str] | None = None) -> T:
    """The module itself."""
    _deprecated("optimize_for_inference", _COMPILE)
    return mod


def script_if_tracing(fn: T) -> T:
    """The function itself."""
    return fn


def export(fn: T) -> T:
    """The function itself: marks a method for TorchScript."""
    return fn


def interface(obj: T) -> T:
    """The class itself: marks an interface of TorchScript's."""
    _deprecated("interface", _COMPILE)
    return obj


def unused(fn: T) -> T:
    """The function itself: marks what TorchScript shall not compile."""
    return fn


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """The function itself: marks what TorchScript shall leave to Python. Usable with and without arguments."""
    return drop if callable(drop) else (lambda fn: fn)


def _overload(fn: T) -> T:
    """The function itself: a signature for TorchScript's compiler, replaced by the definition that follows it."""
    return fn


_overload_method = _overload


def annotate(the_type: Any, the_value: T) -> T:
    """``the_value``."""
    return the_value


def isinstance(obj: Any, target_type: Any) -> bool:
    """Python's ``isinstance``, also for types such as ``List[int]`` and ``Optional[Tensor]``."""
    import types
    import typing

    if _isinstance(target_type, tuple):
        return any(isinstance(obj, each) for each in target_type)
    origin, inside = typing.get_origin(target_type), typing.get_args(target_type)
    if origin is None:
        return _isinstance(obj, type(None) if target_type is None else target_type)
    if origin in (typing.Union, types.UnionType):
        return any(isinstance(obj, each) for each in inside)
    if not _isinstance(obj, origin):
        return False
    if origin is tuple:
        if len(inside) == 2 and inside[1] is Ellipsis:
            return all(isinstance(x, inside[0]) for x in obj)
        return len(obj) == len(inside) and all(isinstance(x, t) for x, t in zip(obj, inside, strict=True))
    if origin is dict:
        return all(isinstance(k, inside[0]) and isinstance(v, inside[1]) for k, v in obj.items())
    return all(isinstance(x, inside[0]) for x in obj) if inside else True


def is_scripting() -> bool:
    """False: code runs as Python."""
    return False


def is_tracing() -> bool:
    """False: code runs as Python."""
    return False


def fork(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Future:
    """A future of ``func(*args, **kwargs)``, which is called at once, as in PyTorch outside of TorchScript."""
    _deprecated("fork", _COMPILE)
    out = Future()
    try:
        value = func(*args, **kwargs)
    except Exception as error:
        out.set_exception(error)
    else:
        out.set_result(value)
    return out


def wait(future: Future) -> Any:
    """``future.wait()``."""
    _deprecated("wait", _COMPILE)
    return future.wait()


def save(m: Any, f: Any, _extra_files: dict[str, Any] | None = None) -> None:
    """Write a module that :func:`trace` was given as a program for the shapes of its example inputs.

    The file is :func:`torch.export.save`'s. NotImplementedError for modules that were not traced (``script`` has no
    example inputs), and for functions.
    """
    _deprecated("save", _EXPORT)
    from .. import export

    found = _examples.get(m) if _isinstance(m, Module) else None
    if found is None:
        raise NotImplementedError(f"torch.jit.save: {_NO_SCRIPT}")
    export.save(export.export(m, *found), f, extra_files=_extra_files)


def load(f: Any, map_location: Any = None, _extra_files: dict[str, Any] | None = None, _restore_shapes: bool = False,
         ) -> Module:  # fmt: skip
    """A module of what :func:`save` (or ``torch.export.save``) wrote. RuntimeError for PyTorch's TorchScript files."""
    _deprecated("load", _EXPORT)
    from .. import export

    loaded = export.load(f, extra_files=_extra_files).module()
    return loaded if map_location is None else loaded.to(map_location)


def set_fusion_strategy(strategy: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Hints about fusion, which XLA does by itself; returns what was set before."""
    _deprecated("set_fusion_strategy", _COMPILE)
    before = list(_settings["fusion"])
    _settings["fusion"] = list(strategy)
    return before


def enable_onednn_fusion(enabled: bool) -> None:
    """A hint about a library that is not used."""
    _settings["onednn"] = bool(enabled)


def onednn_fusion_enabled() -> bool:
    """What was set."""
    return _settings["onednn"]


_settings: dict[str, Any] = {"fusion": [("STATIC", 2), ("DYNAMIC", 10)], "onednn": False}


class strict_fusion:
    """``with strict_fusion():`` XLA fuses all of a program, so there is nothing to complain about."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: Any) -> None:
        return None


@contextlib.contextmanager
def fuser(name: str) -> Iterator[None]:
    """A choice among TorchScript's fusers; XLA fuses by itself."""
    yield


@contextlib.contextmanager
def optimized_execution(should_optimize: bool) -> Iterator[None]:
    """A setting of TorchScript's interpreter."""
    yield


class ScriptModule(Module):
    """A Module: programs that derive theirs from it, and mark methods with :func:`script_method`, run as Python.

    Modules that ``script`` and ``trace`` return are none, since they are the user's own.
    """


class _Scripted(Refused):
    """What only TorchScript's compiler makes."""

    _instead = _NO_SCRIPT


class ScriptFunction(_Scripted):
    """Nothing is one: ``torch.jit.script`` returns the function itself."""


class RecursiveScriptModule(_Scripted):
    """Nothing is one."""


class TopLevelTracedModule(_Scripted):
    """Nothing is one."""


class CompilationUnit(_Scripted):
    """Refused: there is no TorchScript."""


def script_method(fn: T) -> T:
    """The function itself: marks a method for TorchScript."""
    _deprecated("script_method", _SWITCH)
    return fn


from typing import Final as Final


def export_opnames(m: Any) -> list[str]:
    """The operators of a module's TorchScript: none, as there is no such program."""
    return []


def _get_trace_graph(f: Any, args: Any = (), kwargs: Any = None, *options: Any, **more: Any) -> Any:
    """Refused when called: libraries that count operations (fvcore) import it with everything else."""
    raise NotImplementedError("torch.jit._get_trace_graph: there is no TorchScript; torch.utils.flop_counter counts "
                              "operations, and torch.export shows them")
