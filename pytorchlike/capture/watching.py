"""What the Python code of a captured function does besides operations on tensors.

A captured call is replayed without its Python code.  That is right only if the code would do the same again, so while
it runs for the first time :class:`Watcher` notes which code objects run, what they refer to (for the guards), and
whatever could have an effect that a replay would lose: attributes and items stored, globals rebound, containers changed
that outlive the call, output, clocks, Python's and NumPy's random numbers.
"""

from __future__ import annotations

import dis
import gc
import os
import sys
import sysconfig
from collections import OrderedDict, deque
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from ..engine import local
from ..tensor import Tensor

_GRADIENT = Tensor.grad.fget.__code__  # type: ignore[attr-defined]
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STDLIB = sysconfig.get_paths()["stdlib"] + os.sep

#: Libraries whose code only computes: neither their reads nor their own caches matter to a replay.
_TRUSTED = ("jax", "jaxlib", "numpy", "optax", "ml_dtypes", "opt_einsum", "etils", "typing_extensions")
#: Modules of the standard library whose results differ from call to call, or that do something outside the process.
_IMPURE_FILES = frozenset(
    os.path.join(_STDLIB, name) for name in (
        "random.py", "uuid.py", "secrets.py", "subprocess.py", "tempfile.py", "os.py", "pathlib.py", "shutil.py",
        "glob.py", "socket.py",
    )
) | {os.path.join(_STDLIB, "logging", "__init__.py"), "<frozen os>"}
_IMPURE_MODULES = frozenset(("time", "random", "_random", "posix", "_datetime", "_io", "_socket", "_uuid",
                             "datetime"))  # fmt: skip
_IMPURE_CALLS = frozenset((
    "print", "input", "open", "setattr", "delattr", "exec", "eval", "breakpoint", "globals", "vars",
))  # fmt: skip
#: Names in code whose strings may be names of attributes, too.
_BY_NAME = frozenset(("getattr", "hasattr", "attrgetter"))
_CHANGING = frozenset((
    "append", "extend", "insert", "pop", "popleft", "popitem", "appendleft", "extendleft", "update", "add",
    "setdefault", "clear", "remove", "discard", "sort", "reverse", "rotate", "move_to_end", "__setitem__",
    "__delitem__", "write",
))  # fmt: skip
_CONTAINERS = (list, dict, set, deque, OrderedDict, bytearray)


#: Our own modules whose functions change Python objects.
_STATEFUL = tuple(_PACKAGE + name.replace("/", os.sep) for name in (
    "optim/lr_scheduler", "optim/swa_utils", "optim/lbfgs", "amp/grad_scaler", "utils/data/", "serialization/",
    "utils/tensorboard", "profiler/", "distributed/",
))  # fmt: skip


def _is_generated(frame: FrameType) -> bool:
    """Whether a trusted library had it written, as the methods of a dataclass: their file is no file."""
    name = frame.f_globals.get("__name__", "")
    return frame.f_code.co_filename == "<string>" and name.partition(".")[0] in _TRUSTED


class Watcher:
    """Watches the code that runs in this thread between ``__enter__`` and ``__exit__``.

    reasons: why a replay could lose something, as ``what (file, line)``.
    frames:  (code object, its globals) of the user's functions that ran, each once.
    state: what the state of an object is, see ``guards.State``.   altered: whether the call has changed one.
    """

    def __init__(self, state: Any) -> None:
        self.state = state
        self.altered = False
        self.reasons: list[str] = []
        self.frames: dict[CodeType, dict[str, Any]] = {}
        self.changed: list[tuple[Any, str]] = []
        self._tensor_stores: set[tuple[CodeType, int]] = set()
        self._kinds: dict[str, str] = {}
        self._cells: dict[CodeType, set[tuple[int, ...]]] = {}
        self._aside: FrameType | None = None
        self._collecting: set[Any] = set()

    def __enter__(self) -> Watcher:
        # the garbage collector's callbacks (a test runner's, say) come at any moment and are none of the function's
        self._collecting = {getattr(f, "__code__", None) for f in gc.callbacks}
        sys.setprofile(self._event)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(None)

    def refuse(self, what: str, code: CodeType | None = None, line: int | None = None) -> None:
        where = "" if code is None else f" ({code.co_filename}:{line or code.co_firstlineno})"
        self.reasons.append(what + where)

    # ---- while it runs ------------------------------------------------------------------------------------------

    def _kind(self, file: str) -> str:
        kind = self._kinds.get(file)
        if kind is None:
            if file.startswith((_PACKAGE, "<pytorchlike")):
                kind = "own"
            elif file in _IMPURE_FILES:
                kind = "impure"
            elif any(f"{os.sep}{name}{end}" in file for name in _TRUSTED for end in (os.sep, ".py")):
                kind = "trusted"
            elif file.startswith("<frozen") or (file.startswith(_STDLIB) and "site-packages" not in file):
                kind = "trusted"
            else:
                kind = "user"
            self._kinds[file] = kind
        return kind

    def _event(self, frame: FrameType, event: str, arg: Any) -> None:
        code = frame.f_code
        if self._aside is not None:
            if event == "return" and frame is self._aside:
                self._aside = None
            return
        if event == "call":
            if code in self._collecting:
                self._aside = frame
                return
            kind = self._kind(code.co_filename)
            if kind == "user" and not _is_generated(frame):
                if code not in self.frames:
                    self.frames[code] = frame.f_globals
                    self.state.enter(frame)
                if code.co_freevars:
                    held = frame.f_locals
                    self._cells.setdefault(code, set()).add(tuple([id(held.get(n)) for n in code.co_freevars]))
            elif kind == "impure":
                caller = frame.f_back
                if caller is not None and self._kind(caller.f_code.co_filename) == "user":
                    module = frame.f_globals.get("__name__", "")
                    self.refuse(f"{module}.{code.co_name} is called", caller.f_code, caller.f_lineno)
            elif kind == "own":
                caller = frame.f_back
                if caller is None:
                    return
                if code is _GRADIENT and self._kind(caller.f_code.co_filename) == "user":
                    local.trace.asked(frame.f_locals["self"]._value.node)
                elif code.co_name == "__setitem__":
                    self._tensor_stores.add((caller.f_code, caller.f_lasti))
                elif (code.co_filename.startswith(_STATEFUL) and "<locals>" not in code.co_qualname
                      and self._kind(caller.f_code.co_filename) == "user"):
                    self.refuse(f"{code.co_name} of {frame.f_globals.get('__name__', '')} keeps state of its own",
                                caller.f_code, caller.f_lineno)
        elif event == "c_call" and self._kind(code.co_filename) == "user":
            name = getattr(arg, "__name__", "")
            owner = getattr(arg, "__self__", None)
            if name in _CHANGING and isinstance(owner, _CONTAINERS):
                self.changed.append((owner, f"a container that outlives the call is changed by .{name}() "
                                            f"({code.co_filename}:{frame.f_lineno})"))
            elif (getattr(arg, "__module__", None) in _IMPURE_MODULES or type(owner).__module__ in _IMPURE_MODULES
                  or (isinstance(owner, type) and owner.__module__ in _IMPURE_MODULES)
                  or name in _IMPURE_CALLS):
                self.refuse(f"{name}() is called", code, frame.f_lineno)
            elif name == "next" and not self._own_generator(frame):
                self.refuse("next() may use up an iterator", code, frame.f_lineno)

    def _own_generator(self, frame: FrameType) -> bool:
        # the argument of a builtin cannot be seen: next(module.parameters()) is the idiom that must go through
        return "parameters" in frame.f_code.co_names or "buffers" in frame.f_code.co_names

    @property
    def names(self) -> set[str]:
        """The names of globals and attributes in the code that ran."""
        return {name for code in self.frames for name in names_of(code)}

    # ---- afterwards ---------------------------------------------------------------------------------------------

    def finish(self, result_parts: set[int]) -> None:
        """Look at the code that ran; ``result_parts``: ids of the containers that the call returns."""
        if not self.reasons:
            for what in self.state.changes():
                self.altered = True
                self.refuse(f"{what} is changed")
        own = {id(self.changed)}
        for k, (owner, what) in enumerate(self.changed):
            if id(owner) in result_parts:
                continue
            held = sum(1 for o, _ in self.changed if o is owner)
            # ours: the tuples in the list, the loop's variable, and the argument
            if sys.getrefcount(owner) > held + 2 and k not in own:
                self.refuse(what)
        for code in self.frames:
            for what, line, offset in stores(code):
                if offset is None or (code, offset) not in self._tensor_stores:
                    self.refuse(what, code, line)

    def is_user(self, thing: Any) -> bool:
        """Whether a module, class or function is the user's, and not of a library that is trusted."""
        if not isinstance(thing, ModuleType):
            name = getattr(thing, "__module__", None)
            thing = sys.modules.get(name) if isinstance(name, str) else None
            if thing is None:
                return name is not None
        if getattr(thing, "__name__", "") == "builtins":
            return False
        file = getattr(thing, "__file__", None)
        return file is None and thing.__name__ not in sys.builtin_module_names or (
            file is not None and self._kind(file) == "user"
        )

    def functions(self, code: CodeType) -> list[FunctionType]:
        """The functions with cells made of ``code`` that ran and existed before the call."""
        if any(code in other.co_consts for other in self.frames):
            return []  # made anew by code that is watched itself
        ran = self._cells.get(code, set())
        return [
            f for f in gc.get_referrers(code)
            if isinstance(f, FunctionType) and f.__closure__ and tuple([_content(c) for c in f.__closure__]) in ran
        ]


def _content(cell: Any) -> int:
    try:
        return id(cell.cell_contents)
    except ValueError:
        return id(None)


def names_of(code: CodeType) -> set[str]:
    """The globals and attributes that code names, by strings as well."""
    found = _names.get(code)
    if found is None:
        found = _names[code] = set(code.co_names)
        if not found.isdisjoint(_BY_NAME):
            found.update([part for c in code.co_consts if type(c) is str for part in c.split(".")])
    return found


_names: dict[CodeType, set[str]] = {}
_stores: dict[CodeType, list[tuple[str, int | None, int | None]]] = {}


def stores(code: CodeType) -> list[tuple[str, int | None, int | None]]:
    """What the code stores outside of its own variables: (what, line, offset of a store that a tensor may explain)."""
    found = _stores.get(code)
    if found is None:
        found = _stores[code] = list(_find_stores(code))
    return found


def _find_stores(code: CodeType) -> Any:
    idle = ("CACHE", "RESUME", "PRECALL", "EXTENDED_ARG")
    instructions = [i for i in dis.get_instructions(code) if i.opname not in idle]
    fresh = _fresh_containers(instructions)
    line = code.co_firstlineno
    for k, i in enumerate(instructions):
        starts = i.positions.lineno if i.positions is not None else None
        line = starts or line
        if i.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            yield f"the global variable {i.argval!r} is set", line, None
        elif i.opname in ("STORE_DEREF", "DELETE_DEREF") and i.argval in code.co_freevars:
            yield f"the variable {i.argval!r} of an enclosing function is set", line, None
        elif i.opname in ("STORE_ATTR", "DELETE_ATTR"):
            mine = code.co_name in ("__init__", "__post_init__") and instructions[k - 1].argval == "self"
            if not mine:
                yield f"the attribute {i.argval!r} is set", line, None
        elif i.opname in ("STORE_SUBSCR", "STORE_SLICE", "DELETE_SUBSCR"):
            before = instructions[k - 2] if k >= 2 else None
            if before is None or not before.opname.startswith("LOAD_FAST") or before.argval not in fresh:
                yield "an item is stored", line, i.offset


def _fresh_containers(instructions: list[Any]) -> set[Any]:
    """Local variables that only ever hold containers made right there."""
    good, bad = set(), set()
    for before, i in zip(instructions, instructions[1:], strict=False):
        if i.opname == "STORE_FAST":
            (good if before.opname in ("BUILD_LIST", "BUILD_MAP", "BUILD_SET", "BUILD_CONST_KEY_MAP") else bad).add(
                i.argval)
    return good - bad
