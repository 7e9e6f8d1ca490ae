"""Running a program as ``__main__`` under the import hook, as Python itself would."""

from __future__ import annotations

import builtins
import importlib.util
import io
import os
import pkgutil
import signal
import sys
import types
from importlib.machinery import ModuleSpec, SourceFileLoader
from typing import Any

from . import _hook

__all__ = ["run_code", "run_module", "run_script"]

_ours: list[Any] = []  # the module that was __main__ before: alive as long as its code runs


def run_script(path: str, args: list[str]) -> int:
    """Run a script, or a directory or zip file with a ``__main__.py``, as ``python PATH ARGS…``; the exit status."""
    importer = None if os.path.isfile(path) and path.endswith((".py", ".pyw")) else pkgutil.get_importer(path)
    if importer is not None:
        sys.argv[:] = [path, *args]
        _first_path(path)
        spec = importer.find_spec("__main__")
        if spec is None or spec.loader is None:
            print(f"{sys.executable}: can't find '__main__' module in {path!r}", file=sys.stderr)
            return 1
        return _run_spec("__main__", spec, "")
    try:
        if path == "-":
            source: bytes = sys.stdin.buffer.read()
        else:
            with io.open_code(os.path.abspath(path)) as file:
                source = file.read()
    except OSError as error:
        print(f"{sys.executable}: can't open file {os.path.abspath(path)!r}: [Errno {error.errno}] {error.strerror}",
              file=sys.stderr)  # fmt: skip
        return 2
    sys.argv[:] = [path, *args]
    _first_path("" if path == "-" else os.path.dirname(os.path.realpath(path)))
    shown = "<stdin>" if path == "-" else os.path.abspath(path)
    main = types.ModuleType("__main__")
    if path != "-":
        main.__file__ = os.path.abspath(path)
        main.__loader__ = SourceFileLoader("__main__", main.__file__)
    main.__dict__.update(__builtins__=builtins, __annotations__={}, __cached__=None)
    return _execute(main, lambda: compile(source, shown, "exec", dont_inherit=True))


def run_code(code: str, args: list[str]) -> int:
    """Run a text, as ``python -c CODE ARGS…``; the exit status."""
    sys.argv[:] = ["-c", *args]
    _first_path("")
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __annotations__={})
    return _execute(main, lambda: compile(code, "<string>", "exec", dont_inherit=True))


def run_module(name: str, args: list[str]) -> int:
    """Run a module, or a package's ``__main__``, as ``python -m NAME ARGS…``; the exit status."""
    sys.argv[:] = ["-m", *args]
    _hook.install_as_torch()
    name = _hook.ours(name) or name
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name, spec = f"{name}.__main__", importlib.util.find_spec(f"{name}.__main__")
    except ModuleNotFoundError as error:
        print(f"{sys.executable}: Error while finding module specification for {name!r} "
              f"({type(error).__name__}: {error})", file=sys.stderr)  # fmt: skip
        return 1
    if spec is None or spec.loader is None:
        print(f"{sys.executable}: No module named {name}", file=sys.stderr)
        return 1
    if spec.origin is not None:
        sys.argv[0] = spec.origin
    return _run_spec(name, spec, spec.parent or "")


def _first_path(path: str) -> None:
    """Put the program's directory where Python put that of ``-m``, unless it was told not to (-P, -I)."""
    if sys.flags.safe_path:
        return
    sys.path[:1] = [path]


def _run_spec(name: str, spec: ModuleSpec, package: str) -> int:
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __annotations__={}, __cached__=spec.cached)
    main.__loader__, main.__package__, main.__spec__ = spec.loader, package, spec
    if spec.origin is not None:
        main.__file__ = spec.origin
    return _execute(main, lambda: spec.loader.get_code(name))  # type: ignore[union-attr]


def _execute(main: types.ModuleType, code: Any) -> int:
    """Run code in ``__main__``. Errors are reported from the program's first frame on."""
    _hook.install_as_torch()
    _ours.append(sys.modules.get("__main__"))
    sys.modules["__main__"] = main
    try:
        exec(code(), main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        for each in _chain(error):
            told = _hook.advice(each)
            if told is not None:
                each.add_note(told)
        error.__traceback__ = trace
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
        sys.excepthook(type(error), error, trace)
        if isinstance(error, KeyboardInterrupt) and os.name == "posix":
            # end as Python does: by the signal
            sys.stdout.flush()
            sys.stderr.flush()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        return 1
    return 0


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and those it arose from."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
