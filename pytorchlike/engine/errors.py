"""Errors that only the data can tell, and where in the user's code an operation was recorded."""

from __future__ import annotations

import dis
import functools
import os
import sys
import threading
from types import CodeType, FrameType
from typing import Any, NamedTuple

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_collector = threading.local()


class DataError(NamedTuple):
    """A check that a program carries along: what to raise when its flag comes back false."""

    exception: type[Exception]
    message: str


#: Whether each operation is executed at once, see ``debug``; then errors need no hint where they come from.
at_once = False


def late(error: DataError, op: str, location: tuple[str, int]) -> Exception:
    """What to raise for a failed check of an operation that was recorded at ``location``."""
    hint = "" if at_once else "; torch.set_debug('eager') raises it there"
    where = f"found while running {name_of(op)} recorded at {describe(location)}"
    return error.exception(f"{error.message} ({where}{hint})")


def name_of(op: str) -> str:
    """An operation's name as users know it."""
    return op.lstrip("_")


class OutOfMemoryError(RuntimeError):
    """A device has too little memory for what was asked of it."""


def translated(error: BaseException) -> BaseException:
    """The error to show for one of XLA's, or of JAX's."""
    if isinstance(error.__cause__, KeyboardInterrupt):  # JAX took it for the fault of what it compared just then
        return KeyboardInterrupt()
    if type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError") and "RESOURCE_EXHAUSTED" in str(error):
        return OutOfMemoryError(f"out of memory: {str(error).partition(':')[2].strip() or error}")
    return error


def check(ok: Any, exception: type[Exception], message: str) -> None:
    """Inside an operation's body: demand that the scalar ``ok`` is true when the program runs.

    The flag becomes an output of the program; a false one is raised as ``exception(message)`` at the next point where
    a value is read, naming the user's line.  Outside a recorded operation the check is made at once if it can be.
    """
    found = getattr(_collector, "found", None)
    if found is not None:
        found.append((ok, exception, message))


class collecting:
    """Context in which :func:`check` gathers into the list that ``with`` binds."""

    __slots__ = ("outer", "found")

    def __enter__(self) -> list:
        self.outer = getattr(_collector, "found", None)
        self.found = _collector.found = []
        return self.found

    def __exit__(self, *exc: object) -> None:
        _collector.found = self.outer


class unchecked:
    """Context in which :func:`check` does nothing, because the arguments were looked at already."""

    __slots__ = ("outer",)

    def __enter__(self) -> None:
        self.outer = getattr(_collector, "found", None)
        _collector.found = None

    def __exit__(self, *exc: object) -> None:
        _collector.found = self.outer


def let_go(error: BaseException | None) -> None:
    """Give up the frames of an error that is dealt with.

    JAX's errors refer to themselves by these, and so they would keep whatever the user's functions were holding until
    Python looks for cycles: a value that is still referred to is a result of the program.
    """
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def cut(error: Exception) -> Exception:
    """An error of a check in an operator's body, without the frames by which recording has come there.

    What is wrong is at the line that calls the operator, where a debugger is to stand, too. Faults of this package
    keep their frames (they are not raised by a ``raise`` of its own), as do errors that have come through other code.
    ``JAX_TRACEBACK_FILTERING=off`` keeps all.
    """
    jax = sys.modules.get("jax")
    if jax is not None and jax.config.jax_traceback_filtering == "off":
        return error
    at, inner = error.__traceback__, None
    roots = (_PACKAGE, "<pytorchlike", *([] if jax is None else [os.path.dirname(jax.__file__) + os.sep]))
    while at is not None:
        if not at.tb_frame.f_code.co_filename.startswith(roots):
            return error
        at, inner = at.tb_next, at
    if inner is None or not _is_ours(inner.tb_frame) or inner.tb_frame.f_code.co_code[inner.tb_lasti] != _RAISE:
        return error
    if hasattr(error, "__notes__"):  # JAX's, about its own frames
        error.__notes__ = [note for note in error.__notes__ if "JAX has removed" not in note]
    return error.with_traceback(None)


_RAISE = dis.opmap["RAISE_VARARGS"]


def warn(message: str, category: type[Warning] = UserWarning, location: tuple[str, int] | None = None) -> None:
    """Warn at a line of the user's program, by default the one that is running."""
    import warnings

    if location is not None:
        warnings.warn_explicit(message, category, *location)
        return
    frame = _user_frame()
    # what has been shown for a line is kept where ``warnings.warn`` would keep it, so that a loop is told once
    registry = None if frame is None else frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, category, *_location(frame), registry=registry)


#: What was given of the warnings that a process is given once; whether all are given each time (``set_warn_always``).
_given: set[str] = set()
always = False


def warn_once(message: str, category: type[Warning] = UserWarning, kind: str | None = None) -> None:
    """Warn at the line of the user's program that is running, the first time in this process.

    Messages of one ``kind`` count as the same: those that name what varies from call to call.
    """
    if always or (kind or message) not in _given:
        _given.add(kind or message)
        warn(message, category)


def called_by_user() -> bool:
    """Whether the function that asks was called from outside this package, perhaps by way of ``tensor.asking``."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").endswith(".tensor.asking"):
        frame = frame.f_back
    return frame is None or not _is_ours(frame)


def user_location() -> tuple[str, int]:
    """File and line of the innermost frame outside this package."""
    return _location(_user_frame())


def raised_at(error: BaseException) -> tuple[str, int]:
    """File and line of the innermost frame outside this package from which an error came."""
    found, at = ("<unknown>", 0), error.__traceback__
    while at is not None:
        if not _is_ours(at.tb_frame):
            found = at.tb_frame.f_code.co_filename, at.tb_lineno
        at = at.tb_next
    return found


def _location(frame: FrameType | None) -> tuple[str, int]:
    return ("<unknown>", 0) if frame is None else (frame.f_code.co_filename, frame.f_lineno)


def _is_ours(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return name.startswith((_PACKAGE, "<pytorchlike"))


def sets_back() -> bool:
    """Whether the user's program asks for ``x[i]`` in ``x[i] += y``, whose result it will write to ``x[i]`` itself."""
    frame = _user_frame()
    return frame is not None and _sets_back(frame.f_code, frame.f_lasti)


@functools.lru_cache(1024)
def _sets_back(code: CodeType, at: int) -> bool:
    before = [(i.opname, i.arg) for i in dis.get_instructions(code) if i.offset <= at and i.opname != "CACHE"][-3:]
    return before[:2] == [("COPY", 2)] * 2 and before[-1][0] == "BINARY_SUBSCR"


def _user_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not _is_ours(frame):
            return frame
        frame = frame.f_back
    return None


def describe(location: tuple[str, int]) -> str:
    """``file:line``; of a cell of a notebook its number."""
    file, line = location
    if "ipykernel_" in file or file.startswith("<ipython-input"):
        shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
        named = getattr(getattr(shell, "compile", None), "format_code_name", lambda name: None)(file)
        if named:
            return f"{named[0]} {named[1]}, line {line}"
    return f"{file}:{line}"
