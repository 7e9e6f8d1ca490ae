"""Whether the Python objects that a captured function refers to are what they were."""

from __future__ import annotations

import builtins
import dis
import importlib.util
import operator
import sys
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import ContextVar
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..engine.meta import Mode
from ..nn import Module
from ..nn.modules._registry import structure_epoch
from ..optim import Optimizer
from ..tensor import Tensor
from ..tensor.device import device
from ..tensor.dtype import dtype
from ..tensor.random import Generator
from .watching import Watcher, names_of

_PLAIN = (
    type(None), type(NotImplemented), type(Ellipsis), bool, int, float, complex, str, bytes, dtype, device,
    range, slice,
)  # fmt: skip
_SAME = (Mode, ModuleType, FunctionType, BuiltinFunctionType, type, Generator, Tensor)
_METHOD_OF_OBJECT = type([].__len__)
_ABSENT = object()
_DRAWING = "generator of NumPy's random numbers; use torch.rand and its like"
#: Objects of more parts than this are too expensive to look at before each call.
_LIMIT = 256


_GROUPS = (list, tuple, set, frozenset, deque)


def _entries(group: Any) -> tuple[int, Iterable[Any]]:
    """How many entries, and which, as the builtin class tells: one derived from it may refuse to."""
    kind = next(c for c in _GROUPS if isinstance(group, c))
    return kind.__len__(group), kind.__iter__(group)


class Unguarded(Exception):
    """Something that a function refers to cannot be compared with what it was."""


def fingerprint(x: Any, held: list[Any] | None = None, seen: dict[int, int] | None = None) -> Any:
    """What is equal if and only if ``x`` would make a function go the same way (modules apart: these by identity).

    held: gets what is compared by identity, which has to live as long as the result is compared: another object could
    else have its address.
    Raises Unguarded for objects that are too large, or that tell nothing about themselves.
    """
    if isinstance(x, _PLAIN):
        return (type(x), repr(x)) if isinstance(x, (float, complex, slice)) else (type(x), x)
    if held is not None:
        held.append(x)
    if isinstance(x, (*_SAME, Module)) or getattr(type(x), "_one_of_its_kind", False):
        return id(x)
    if isinstance(x, MethodType):
        return id(x.__func__), fingerprint(x.__self__, held, seen)
    if isinstance(x, Optimizer) and all(x._replayable(g) for g in x.param_groups):
        # the numbers are asked for anew at each replay, and what chooses the program is compared there
        return id(x), tuple([(id(g), len(g["params"])) for g in x.param_groups])
    if isinstance(x, partial):
        return id(x), *[fingerprint(part, held, seen) for part in (x.func, x.args, x.keywords)]
    seen = {} if seen is None else seen
    if id(x) in seen:
        return "again", seen[id(x)]
    seen[id(x)] = len(seen)
    if len(seen) > _LIMIT:
        raise Unguarded(f"{type(x).__name__} of more than {_LIMIT} parts")
    if isinstance(x, _GROUPS):
        n, entries = _entries(x)
        if n > _LIMIT:
            raise Unguarded(f"{type(x).__name__} of {n} entries")
        return type(x), tuple([fingerprint(v, held, seen) for v in entries])
    if isinstance(x, (dict, MappingProxyType)):
        if len(x) > _LIMIT:
            raise Unguarded(f"{type(x).__name__} of {len(x)} entries")
        return type(x), tuple([(fingerprint(k, held, seen), fingerprint(v, held, seen)) for k, v in x.items()])
    if isinstance(x, _METHOD_OF_OBJECT):
        return x.__name__, fingerprint(x.__self__, held, seen)
    if isinstance(x, ContextVar):
        return id(x), fingerprint(x.get(None), held, seen)
    if isinstance(x, weakref.ref):
        return id(x), fingerprint(x(), held, seen)
    if _draws(x):
        raise Unguarded(_DRAWING)
    state = _state_of(x)
    if state is not None and type(x).__module__ != "builtins":
        return id(x), type(x), fingerprint(state, held, seen)
    if type(x).__module__.partition(".")[0] in ("numpy", "jax", "jaxlib"):
        if hasattr(x, "shape"):
            raise Unguarded(f"{type(x).__name__} array; use a tensor")
        return id(x)
    if state is None and type(x).__hash__ not in (object.__hash__, None):  # what has no hash may change
        return type(x), x
    raise Unguarded(f"object of type {type(x).__name__}")


def _state_of(x: Any) -> dict[str, Any] | None:
    """The attributes that an object holds, whatever its class says of other names."""
    try:
        return object.__getattribute__(x, "__dict__")
    except AttributeError:
        return None


def _draws(x: Any) -> bool:
    """Whether ``x`` is one of NumPy's random generators, or a function of one: compiled code that no profiler sees."""
    kind = type(x)
    if isinstance(x, ModuleType):
        return x.__name__.startswith("numpy.random")
    owner = type(x.__self__) if isinstance(x, (BuiltinFunctionType, MethodType)) else None
    return any(str(getattr(t, "__module__", "")).startswith("numpy.random") for t in (kind, owner))


class Guards:
    """Conditions of a captured call: compare with :meth:`hold`."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, str], tuple[dict[str, Any], str, Any]] = {}  # same object under a name
        self._read: list[tuple[Callable[[], Any], Any]] = []  # equal fingerprints
        self._modules: dict[int, tuple[Module, Any]] = {}
        self._classes: dict[type, _Class] = {}
        self._functions: dict[FunctionType, tuple] = {}  # code and defaults
        self._looked: set[tuple[int, CodeType]] = set()
        self._epoch = -1
        self.keep: list[Any] = []  # what is compared by identity must stay alive

    def watch(self, watcher: Watcher) -> None:
        """Guard everything that the code which ran refers to.  Raises Unguarded."""
        used = watcher.names
        if not used.isdisjoint(("environ", "getenv")):
            raise Unguarded("environment variable, which may change")
        if not used.isdisjoint(("initial_seed", "get_rng_state", "are_deterministic_algorithms_enabled")):
            raise Unguarded("setting or state of the library")
        if "import_module" in used:
            raise Unguarded("module that is imported by name")
        for code, space in watcher.frames.items():
            for module in _imported(code, space):
                self._inside(module, code, watcher)
            for name in _global_names(code):
                where = space if name in space else vars(builtins)
                if name in where:
                    if _draws(where[name]) or (where[name] is np and "random" in code.co_names):
                        raise Unguarded(_DRAWING)
                    self._name(where, name)
                    self._inside(where[name], code, watcher)
            if code.co_freevars:
                for f in watcher.functions(code):
                    for cell in f.__closure__:
                        self._cell(cell)
                        self._inside(getattr(cell, "cell_contents", None), code, watcher)
        for value in list(self.keep):  # objects at any depth
            if isinstance(value, Module):
                self.module(value)
            elif isinstance(value, type):
                self._class(value, used, watcher)
        for kind in list(dict.fromkeys(k for value in self.keep for k in _kinds_in(value))):
            self._class(kind, used, watcher)
        if "requires_grad" in used:
            for root, _ in self._modules.values():
                for p in root.parameters():
                    self._read.append((partial(getattr, p, "requires_grad"), fingerprint(p.requires_grad)))
        self._attributes(used)

    def gradients(self, conditions: Iterable[tuple[Any, bool]]) -> None:
        """Guard the presence of gradients: (leaf, whether it has none)."""
        for leaf, none in conditions:
            self._read.append((partial(_has_no_gradient, leaf), fingerprint(none)))

    def _attributes(self, used: set[str]) -> None:
        """Guard what the user has stored in tensors under names that the code knows."""
        tensors = [t for root, _ in self._modules.values() for t in (*root.parameters(), *root.buffers())]
        tensors += [x for x in self.keep if isinstance(x, Tensor)]
        plain = []
        for t in {id(t): t for t in tensors}.values():
            if used.isdisjoint(vars(t)):
                plain.append(t)
            else:
                self._guard(partial(own_attributes, t, used), own_attributes(t, used))
        if not used.isdisjoint(("getattr", "hasattr")):  # else what is missing would be an error
            self._guard(partial(_with_attributes, plain, used), [])

    def function(self, fn: Any, watcher: Watcher) -> None:
        """Guard what was captured: of an object that is called, or whose method it is, what the code names."""
        self.value(fn, None)
        while isinstance(fn, partial):
            self._guard(partial(lambda f: (f.args, f.keywords), fn), (fn.args, fn.keywords))
            fn = fn.func
        owner = getattr(fn, "__self__", fn)
        state = _state_of(owner)
        if state is None or isinstance(owner, (*_SAME, Module)):
            return
        for name in watcher.names & state.keys():
            self._name(state, name)

    def _guard(self, read: Callable[[], Any], value: Any) -> None:
        """What ``read`` gives is to have the fingerprint of ``value``."""
        self._read.append((read, fingerprint(value, self.keep)))

    def _inside(self, value: Any, code: CodeType, watcher: Watcher) -> None:
        """Guard what ``code`` may take out of a module or a class, which are themselves compared by identity."""
        if (id(value), code) in self._looked:
            return
        self._looked.add((id(value), code))
        if isinstance(value, ModuleType):
            space = vars(value)
            mine = watcher.is_user(value)
            used = names_of(code)
            if (mine and "__dict__" in used) or (value is sys and "modules" in used):
                raise Unguarded(f"dictionary of module {value.__name__}" if mine else "sys.modules")
            for name in used:
                if name not in space:
                    continue
                if mine:
                    self._name(space, name)
                else:
                    self._names.setdefault((id(space), name), (space, name, space[name]))
                self._inside(space[name], code, watcher)
        elif isinstance(value, type):
            self._class(value, names_of(code), watcher)
        elif isinstance(value, FunctionType) and watcher.is_user(value):
            self._functions[value] = _of_function(value, self.keep)

    def _class(self, kind: type, used: set[str], watcher: Watcher) -> None:
        for k in (*kind.__mro__, *type(kind).__mro__):
            if watcher.is_user(k):
                found = self._classes.setdefault(k, _Class(k))
                for name in used & vars(k).keys():
                    if name not in found.used:
                        value = found.used[name] = vars(k)[name]
                        self.value(value, partial(vars(k).get, name, _ABSENT) if _is_container(value) else None)

    def _name(self, where: dict[str, Any], name: str) -> None:
        key = (id(where), name)
        if key not in self._names:
            value = where[name]
            self._names[key] = (where, name, value)
            self.value(value, lambda: where.get(name, _ABSENT))

    def _cell(self, cell: Any) -> None:
        try:
            value = cell.cell_contents
        except ValueError:
            return
        self.keep.append(cell)

        def read() -> Any:
            try:
                return cell.cell_contents
            except ValueError:
                return _ABSENT

        self._guard(read, value)
        self.value(value, None)

    def value(self, value: Any, read: Callable[[], Any] | None) -> None:
        """Guard an object: a module by its whole tree, others by their fingerprint."""
        self.keep.append(value)
        if isinstance(value, FunctionType):
            self._functions[value] = _of_function(value, self.keep)
        for m in _modules_in(value):
            self.module(m)
        if read is not None and not isinstance(value, (*_PLAIN, *_SAME, Module)):
            self._guard(read, value)

    def module(self, root: Module) -> None:
        if id(root) in self._modules:
            return
        self._modules[id(root)] = (root, module_fingerprint(root, self.keep))
        for m in root.modules():
            for name, value in m.__dict__.items():
                # what can change without an attribute being set
                if changes_silently(name, value):
                    self._guard(partial(m.__dict__.get, name, _ABSENT), value)

    def hold(self) -> bool:
        """Whether everything is as it was."""
        for where, name, value in self._names.values():
            now = where.get(name, _ABSENT)
            if now is not value and not (type(now) is type(value) and isinstance(now, _PLAIN) and now == value):
                return False
        for k in self._classes.values():
            if not k.holds():
                return False
        for f, before in self._functions.items():
            if _of_function(f) != before:
                return False
        try:
            for read, expected in self._read:
                if fingerprint(read()) != expected:
                    return False
            epoch = structure_epoch[0]
            if epoch != self._epoch:
                for root, expected in self._modules.values():
                    if module_fingerprint(root) != expected:
                        return False
                self._epoch = epoch
        except Unguarded:
            return False
        return True


class State:
    """What is in the objects that the code of a call refers to, as it was when that code was entered first.

    What changes them need not be seen by a profiler: ``+=`` on another name, functions written in C.
    """

    def __init__(self, arguments: Iterable[Any]) -> None:
        self._found: dict[int, tuple[str, Any, Any, list[Any]]] = {}
        for each in arguments:
            self._note("an argument", each)

    def _note(self, what: str, value: Any) -> None:
        if holds_state(value) and id(value) not in self._found:
            held: list[Any] = []
            try:
                self._found[id(value)] = what, value, fingerprint(value, held), held
            except Unguarded:
                pass  # which rules a replay out by itself

    def enter(self, frame: FrameType) -> None:
        """Look at what the code that begins to run refers to."""
        code, space = frame.f_code, frame.f_globals
        for name in _global_names(code):
            if name in space:
                self._note(f"{name!r}", space[name])
        inside = frame.f_locals
        for name in code.co_freevars:
            self._note(f"{name!r}", inside.get(name))
        me = inside.get(code.co_varnames[0]) if code.co_argcount else None
        if isinstance(me, Module):
            for name, value in vars(me).items():
                if changes_silently(name, value):
                    self._note(f"{name!r} of a {type(me).__name__}", value)

    def known(self, containers: Iterable[Any]) -> bool:
        """Whether one of the containers is among what the code referred to when it was entered."""
        return any(id(x) in self._found for x in containers)

    def changes(self) -> Iterator[str]:
        """What is not as it was."""
        for what, value, before, _ in self._found.values():
            try:
                same = fingerprint(value) == before
            except Unguarded:
                same = False
            if not same:
                yield what


class _Class:
    """What a class holds.  used: the attributes that the code names."""

    __slots__ = ("space", "values", "used")

    def __init__(self, kind: type) -> None:
        self.space = vars(kind)
        self.values = list(self.space.values())
        self.used: dict[str, Any] = {}

    def holds(self) -> bool:
        if len(self.space) == len(self.values) and all(map(operator.is_, self.space.values(), self.values)):
            return True
        for name, value in self.used.items():
            now = self.space.get(name, _ABSENT)
            if now is not value and not (type(now) is type(value) and isinstance(now, _PLAIN) and now == value):
                return False
        known = set(map(id, self.values))
        if any(id(v) not in known and n not in self.used for n, v in self.space.items() if callable(v)):
            return False  # a method that would be found before the one of a base
        self.values = list(self.space.values())
        return True


def _of_function(f: FunctionType, held: list[Any] | None = None) -> tuple:
    parts = (f.__defaults__, tuple((f.__kwdefaults__ or {}).items()), tuple(f.__dict__.items()))
    return id(f.__code__), *[_parts_of_function(part, held) for part in parts]


def _parts_of_function(values: tuple | None, held: list[Any] | None) -> tuple:
    out: list[Any] = []
    for v in values or ():
        try:
            out.append(_parts_of_function(v, held) if type(v) is tuple else fingerprint(v, held))
        except Unguarded:
            out.append(id(v))
    return tuple(out)


def made_alike(x: Any) -> bool:
    """Whether a replay may give ``x``, which a call has returned and which is no tensor, for what the next would."""
    if isinstance(x, FunctionType):
        return not x.__closure__ and not x.__defaults__ and not x.__kwdefaults__
    return not holds_state(x) or isinstance(x, (Enum, np.generic))


def _has_no_gradient(leaf: Any) -> bool:
    return leaf.grad is None


def own_attributes(t: Tensor, used: Collection[str]) -> Any:
    """What the user has stored in a tensor under one of the names ``used``."""
    own = vars(t)
    return tuple([(n, own[n]) for n in own if n in used]) if own else ()


def _with_attributes(tensors: list[Tensor], used: set[str]) -> list[int]:
    return [k for k, t in enumerate(tensors) if t.__dict__ and not used.isdisjoint(t.__dict__)]


def changes_silently(name: str, value: Any) -> bool:
    """Whether what a module has under that name can change without an attribute being set."""
    return name not in _MACHINERY and not isinstance(value, (*_PLAIN, *_SAME, Module)) and not _is_plain(value)


def holds_state(value: Any) -> bool:
    """Whether a value is neither plain nor compared by identity, but by what is in it."""
    return not isinstance(value, (*_PLAIN, *_SAME, Module)) and not _is_plain(value)


def _is_container(value: Any) -> bool:
    return not isinstance(value, (*_PLAIN, *_SAME, Module, property, classmethod, staticmethod))


def _kinds_in(value: Any, depth: int = 3) -> list[type]:
    """The classes of the objects that a value is made of."""
    if isinstance(value, _PLAIN) or isinstance(value, (ModuleType, FunctionType, BuiltinFunctionType, type)):
        return []
    if isinstance(value, Module):
        return [type(m) for m in value.modules()]
    if isinstance(value, MethodType):
        return _kinds_in(value.__self__, depth)
    if isinstance(value, (list, tuple, dict)):
        n, parts = (len(value), value.values()) if isinstance(value, dict) else _entries(value)
        return [k for v in parts for k in _kinds_in(v, depth - 1)] if depth and n <= _LIMIT else []
    state = _state_of(value)
    inner = _kinds_in(state, depth - 1) if depth and isinstance(state, dict) and not isinstance(value, _SAME) else []
    return [type(value), *inner]


def _modules_in(value: Any, depth: int = 3) -> list[Module]:
    if isinstance(value, Module):
        return [value]
    if isinstance(value, MethodType):
        return _modules_in(value.__self__, depth)
    if depth and isinstance(value, (list, tuple)):
        n, parts = _entries(value)
        if n <= _LIMIT:
            return [m for v in parts for m in _modules_in(v, depth - 1)]
    if depth and isinstance(value, dict) and len(value) <= _LIMIT:
        return [m for v in value.values() for m in _modules_in(v, depth - 1)]
    state = _state_of(value)
    if depth and isinstance(state, dict) and not isinstance(value, (*_SAME,)) and type(value).__module__ != "builtins":
        return _modules_in(state, depth - 1)
    return []


def module_fingerprint(root: Module, held: list[Any] | None = None) -> Any:
    """Everything about a tree of modules but the values of its tensors; see :func:`fingerprint`.  Raises Unguarded."""
    out = []
    for m in root.modules():
        seen: dict[int, int] = {}
        parts = [(k, fingerprint(v, held, seen)) for k, v in m.__dict__.items() if k not in _DERIVED]
        out.append((id(m), type(m), tuple(parts)))
    return tuple(out)


_DERIVED = frozenset(("_leaf_cache", "_tree", "_compiled_call_impl", "_hooked"))
#: Dictionaries of a module that tell of their changes themselves.
_MACHINERY = _DERIVED | {name for name in vars(Module()) if name != "training"}


def _is_plain(value: Any) -> bool:
    return isinstance(value, (tuple, frozenset)) and all(isinstance(v, _PLAIN) or _is_plain(v) for v in value)


_globals_of: dict[CodeType, tuple[str, ...]] = {}


def _imported(code: CodeType, space: dict[str, Any]) -> Iterator[ModuleType]:
    """The modules that the code itself imports."""
    before: list[Any] = [None, None]
    for i in dis.get_instructions(code):
        if i.opname == "IMPORT_NAME":
            level = before[0] if isinstance(before[0], int) else 0
            name = importlib.util.resolve_name("." * level + i.argval, space.get("__package__")) if level else i.argval
            for each in dict.fromkeys((name, name.partition(".")[0])):
                if each in sys.modules:
                    yield sys.modules[each]
        before = [before[1], i.argval]


def _global_names(code: CodeType) -> tuple[str, ...]:
    found = _globals_of.get(code)
    if found is None:
        names = dict.fromkeys(i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
        for const in code.co_consts:  # comprehensions and lambdas run as code of their own, seen by themselves
            if isinstance(const, CodeType):
                names.update(dict.fromkeys(_global_names(const)))
        found = _globals_of[code] = tuple(names)
    return found
