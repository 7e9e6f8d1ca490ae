"""An interpreter of pickles that can execute nothing but what an allow-list names.

A pickle is a program for a small stack machine. This one knows the instructions that build plain data (those of
protocols 2 to 5; the textual ones of protocol 0 are refused) and asks a resolver of ours for every global name. Nothing
is imported, no attribute is looked up by a name from the file, and only objects that the resolver handed out as
callable are ever called. Whatever a damaged or hostile file does, the outcome is a Python exception, and memory and
time stay proportional to the size of the pickle.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from pickle import UnpicklingError, decode_long
from typing import Any, NamedTuple

__all__ = ["Allowed", "Skimmer", "Truncated", "Unpickler"]

_MAX_MARKS = 10_000  # nested containers under construction; PyTorch's own files have a handful
_FREE_OBJECTS = 100_000  # containers granted to any file, on top of one for every 2 bytes of pickle
_FREE_HASHING = 1_000_000

#: Names of Python 2 that protocol 2 writes.
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}

_u16 = struct.Struct("<H").unpack_from
_i32 = struct.Struct("<i").unpack_from
_u32 = struct.Struct("<I").unpack_from
_u64 = struct.Struct("<Q").unpack_from
_f64 = struct.Struct(">d").unpack_from

#: What a malformed pickle or refused arguments make the interpreter stumble over.
_STUMBLES = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError,
    struct.error,
)  # fmt: skip


class Truncated(EOFError):
    """The pickle goes on beyond the bytes at hand."""


class Allowed(NamedTuple):
    """What a global name stands for.

    value: the object a pickle gets.   call: what REDUCE on it runs, or None if it may not be called.
    trusted: a class or function that the user vouches for: instances may be made and given state as pickle does it.
    """

    value: Any
    call: Callable[..., Any] | None = None
    trusted: bool = False


# Makers of instructions that differ in their argument only.


def _empty(make: Callable[[], Any]) -> Callable[[Unpickler], None]:
    def op(self: Unpickler) -> None:
        self.count_object()
        self.stack.append(make())

    return op


def _constant(value: Any) -> Callable[[Unpickler], None]:
    return lambda self: self.stack.append(value)


def _number(unpack: Callable[..., tuple], size: int) -> Callable[[Unpickler], None]:
    return lambda self: self.stack.append(self.number(unpack, size))


def _text(unpack: Callable[..., tuple] | None, size: int) -> Callable[[Unpickler], None]:
    def op(self: Unpickler) -> None:
        length = self.byte() if unpack is None else self.number(unpack, size)
        self.stack.append(str(self.take(length), "utf-8", "surrogatepass"))

    return op


def _bytes(unpack: Callable[..., tuple] | None, size: int) -> Callable[[Unpickler], None]:
    return lambda self: self.stack.append(self.take(self.byte() if unpack is None else self.number(unpack, size)))


def _string(unpack: Callable[..., tuple] | None, size: int) -> Callable[[Unpickler], None]:
    def op(self: Unpickler) -> None:
        length = self.byte() if unpack is None else self.number(unpack, size)
        if length < 0:
            raise UnpicklingError("a string of negative length")
        raw = self.take(length)
        self.stack.append(raw if self.encoding == "bytes" else raw.decode(self.encoding, self.errors))

    return op


class Unpickler:
    """Builds the object that a pickle describes.

    data, start:      the bytes, and where the pickle begins in them.
    find:             ``find(module, name) -> Allowed``; raises UnpicklingError for names that are not allowed.
    persistent_load:  what stands for a persistent id; gets a tuple (or an int, of PyTorch's first format).
    trusts:           whether the user vouches for a type, so that its instances may be given state.
    encoding:         of the 8-bit strings that Python 2 wrote, or 'bytes' to keep them.
    """

    def __init__(
        self,
        data: bytes,
        start: int = 0,
        *,
        find: Callable[[str, str], Allowed],
        persistent_load: Callable[[Any], Any],
        trusts: Callable[[type], bool] = lambda kind: False,
        encoding: str = "utf-8",
        errors: str = "strict",
    ) -> None:
        self.data, self.at = data, start
        self.find, self.persistent_load, self.trusts = find, persistent_load, trusts
        self.encoding, self.errors = encoding, errors
        self.memo: dict[int, Any] = {}
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.foreign: Exception | None = None  # raised by what loads storages: no fault of the pickle's
        self.known: dict[int, Allowed] = {}  # by identity of the value, which stays alive here
        self.objects = _FREE_OBJECTS + (len(data) - start) // 2
        self.hashing = _FREE_HASHING + 16 * (len(data) - start)

    def load(self) -> Any:
        """The object. Raises Truncated (an EOFError) if the bytes end first, UnpicklingError for what is refused."""
        data, codes, end = self.data, _CODES, len(self.data)
        begin = at = self.at
        try:
            while True:
                at = self.at
                if at >= end:
                    raise Truncated(f"pickle data was truncated: it begins at byte {begin} and is cut off at {end}")
                code = data[at]
                self.at = at + 1
                if code == 0x2E:  # STOP
                    if self.marks or len(self.stack) != 1:
                        raise UnpicklingError(f"{len(self.stack)} objects instead of one are left at the end")
                    return self.stack.pop()
                step = codes[code]
                if step is None:
                    raise UnpicklingError(f"Unsupported operand {code} ({bytes([code])!r})")
                step(self)
        except UnpicklingError as error:
            if error is self.foreign:
                raise
            raise UnpicklingError(f"{error} (byte {at} of the pickle)") from error.__cause__
        except _STUMBLES as error:
            if error is self.foreign:
                raise
            why = f"invalid pickle: {type(error).__name__}: {error} (byte {at} of the pickle)"
            raise UnpicklingError(why) from error

    # ---- bytes -------------------------------------------------------------------------------------------------

    def take(self, size: int) -> bytes:
        at = self.at
        if size > len(self.data) - at:
            raise Truncated(f"pickle data was truncated: {size} bytes announced at {at}, {len(self.data) - at} left")
        self.at = at + size
        return self.data[at : at + size]

    def number(self, unpack: Callable[..., tuple], size: int) -> int:
        at = self.at
        if size > len(self.data) - at:
            raise Truncated(f"pickle data was truncated at byte {len(self.data)}")
        self.at = at + size
        return unpack(self.data, at)[0]

    def byte(self) -> int:
        at = self.at
        if at >= len(self.data):
            raise Truncated(f"pickle data was truncated at byte {at}")
        self.at = at + 1
        return self.data[at]

    def line(self) -> str:
        end = self.data.find(b"\n", self.at, self.at + 2000)
        if end < 0:
            if len(self.data) - self.at < 2000:
                raise Truncated(f"pickle data was truncated within a name at byte {self.at}")
            raise UnpicklingError("a global's name is longer than 2000 bytes")
        text = self.data[self.at : end].decode()
        self.at = end + 1
        return text

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def count_object(self) -> None:
        self.objects -= 1
        if self.objects < 0:
            raise UnpicklingError("more containers than a pickle of this size can sensibly hold")

    # ---- hooks that Skimmer replaces ---------------------------------------------------------------------------

    def resolve(self, module: str, name: str) -> Any:
        allowed = self.find(_RENAMED.get(module, module), name)
        self.known[id(allowed.value)] = allowed
        return allowed.value

    def call(self, func: Any, args: Any, kwargs: dict | None = None) -> Any:
        allowed = self.known.get(id(func))
        if allowed is None or allowed.call is None:
            raise UnpicklingError(f"Trying to call reduce for unrecognized function {_shown(func)}")
        if type(args) is not tuple:
            raise UnpicklingError(f"arguments of {_shown(func)} are no tuple but {type(args).__name__}")
        self.count_object()
        return allowed.call(*args, **(kwargs or {}))

    def make(self, cls: Any, args: Any, kwargs: dict | None = None) -> Any:
        allowed = self.known.get(id(cls))
        if allowed is not None and allowed.trusted and isinstance(cls, type):
            if type(args) is not tuple:
                raise UnpicklingError(f"arguments of {_shown(cls)} are no tuple but {type(args).__name__}")
            self.count_object()
            return cls.__new__(cls, *args, **(kwargs or {}))
        return self.call(cls, args, kwargs)

    def build(self, target: Any, state: Any) -> None:
        kind = type(target)
        if kind is OrderedDict:
            for name in state:
                if type(name) is not str or name.startswith("__") or hasattr(OrderedDict, name):
                    raise UnpicklingError(f"refused to set attribute {name!r} of an OrderedDict")
            target.__dict__.update(state)
            return
        if not self.trusts(kind):
            raise UnpicklingError(
                "Can only build OrderedDict or types allowlisted via `add_safe_globals`, but got "
                f"{kind.__module__}.{kind.__qualname__}"
            )
        if hasattr(target, "__setstate__"):
            target.__setstate__(state)
            return
        slots = None
        if type(state) is tuple and len(state) == 2:
            state, slots = state
        if state:
            target.__dict__.update(state)
        for name, value in (slots or {}).items():
            setattr(target, name, value)

    def set_items(self, target: Any, items: list[Any]) -> None:
        kind = type(target)
        plain = kind is dict or kind is OrderedDict or kind is Counter
        if not plain and not (isinstance(target, dict) and self.trusts(kind)):
            raise UnpicklingError(
                f"Can only set items of dict, OrderedDict, Counter or allowlisted dicts, but got {kind.__name__}"
            )
        if len(items) % 2:
            raise UnpicklingError("a key without a value")
        for i in range(0, len(items), 2):
            key = items[i]
            if type(key) is not str or len(key) > 1000:
                self.check_key(key)
            target[key] = items[i + 1]

    def add_items(self, target: Any, items: list[Any]) -> None:
        if type(target) is not set:
            raise UnpicklingError(f"Can only add to sets, but got {type(target).__name__}")
        for item in items:
            self.check_key(item)
            target.add(item)

    def extend(self, target: Any, items: list[Any]) -> None:
        if type(target) is not list and not (isinstance(target, list) and self.trusts(type(target))):
            raise UnpicklingError(f"Can only append to lists, but got {type(target).__name__}")
        target.extend(items)

    def check_key(self, key: Any) -> None:
        """Bound the work of hashing, which visits shared parts of nested tuples again and again."""
        cost, todo, depth = 1, [key], 0
        while todo:
            item = todo.pop()
            if isinstance(item, tuple):
                todo.extend(item)
                depth += 1
                if depth > 1000:
                    raise UnpicklingError("a dictionary key or set item is nested too deeply")
                cost += len(item)
            elif isinstance(item, (str, bytes)):
                cost += len(item) // 64
            elif isinstance(item, int):
                cost += item.bit_length() // 64
            if cost > self.hashing:
                raise UnpicklingError("dictionary keys and set items are too large for a pickle of this size")
        self.hashing -= cost

    # ---- instructions ------------------------------------------------------------------------------------------

    def op_proto(self) -> None:
        if self.byte() > 5:
            raise UnpicklingError(f"unsupported pickle protocol: {self.data[self.at - 1]}")

    def op_frame(self) -> None:
        self.number(_u64, 8)

    def op_global(self) -> None:
        module = self.line()
        self.stack.append(self.resolve(module, self.line()))

    def op_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise UnpicklingError("STACK_GLOBAL requires str")
        self.stack.append(self.resolve(module, name))

    def op_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], args)

    def op_newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self.make(self.stack[-1], args)

    def op_newobj_ex(self) -> None:
        kwargs, args = self.stack.pop(), self.stack.pop()
        if type(kwargs) is not dict:
            raise UnpicklingError("NEWOBJ_EX requires a dict of keyword arguments")
        self.stack[-1] = self.make(self.stack[-1], args, kwargs)

    def op_build(self) -> None:
        state = self.stack.pop()
        self.build(self.stack[-1], state)

    def op_persid(self) -> None:
        pid = self.stack.pop()
        if type(pid) is not tuple and type(pid) is not int:
            raise UnpicklingError(f"persistent_load id must be tuple or int, but got {type(pid).__name__}")
        try:
            self.stack.append(self.persistent_load(pid))
        except Exception as error:
            self.foreign = error
            raise

    def op_append(self) -> None:
        item = self.stack.pop()
        self.extend(self.stack[-1], [item])

    def op_appends(self) -> None:
        items = self.pop_mark()
        self.extend(self.stack[-1], items)

    def op_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items(self.stack[-1], [key, value])

    def op_setitems(self) -> None:
        items = self.pop_mark()
        self.set_items(self.stack[-1], items)

    def op_additems(self) -> None:
        items = self.pop_mark()
        self.add_items(self.stack[-1], items)

    def op_frozenset(self) -> None:
        self.count_object()
        made: set = set()
        self.add_items(made, self.pop_mark())
        self.stack.append(frozenset(made))

    def op_dict(self) -> None:
        self.count_object()
        made: dict = {}
        self.set_items(made, self.pop_mark())
        self.stack.append(made)

    def op_list(self) -> None:
        self.count_object()
        self.stack.append(self.pop_mark())

    def op_mark(self) -> None:
        if len(self.marks) >= _MAX_MARKS:
            raise UnpicklingError(f"more than {_MAX_MARKS} nested containers")
        self.marks.append(self.stack)
        self.stack = []

    def op_tuple(self) -> None:
        self.count_object()
        items = tuple(self.pop_mark())
        self.stack.append(items)

    def op_tuple1(self) -> None:
        self.count_object()
        self.stack[-1] = (self.stack[-1],)

    def op_tuple2(self) -> None:
        self.count_object()
        second, first = self.stack.pop(), self.stack.pop()
        self.stack.append((first, second))

    def op_tuple3(self) -> None:
        self.count_object()
        third, second, first = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.stack.append((first, second, third))

    def op_bytearray8(self) -> None:
        self.stack.append(bytearray(self.take(self.number(_u64, 8))))

    def op_byte(self) -> None:
        self.stack.append(self.byte())

    def op_long1(self) -> None:
        self.stack.append(decode_long(self.take(self.byte())))

    def op_long4(self) -> None:
        length = self.number(_i32, 4)
        if length < 0:
            raise UnpicklingError("LONG pickle has negative byte count")
        self.stack.append(decode_long(self.take(length)))

    def op_binget(self) -> None:
        self.stack.append(self.memo[self.byte()])

    def op_long_binget(self) -> None:
        self.stack.append(self.memo[self.number(_u32, 4)])

    def op_binput(self) -> None:
        self.memo[self.byte()] = self.stack[-1]

    def op_long_binput(self) -> None:
        self.memo[self.number(_u32, 4)] = self.stack[-1]

    def op_memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def op_pop_mark(self) -> None:
        self.pop_mark()

    def op_dup(self) -> None:
        self.stack.append(self.stack[-1])

    _by_code: dict[bytes, Callable[[Unpickler], None]] = {
        b"\x80": op_proto, b"\x95": op_frame, b"c": op_global, b"\x93": op_stack_global, b"R": op_reduce,
        b"\x81": op_newobj, b"\x92": op_newobj_ex, b"b": op_build, b"Q": op_persid, b"a": op_append, b"e": op_appends,
        b"s": op_setitem, b"u": op_setitems, b"\x90": op_additems, b"\x91": op_frozenset, b"d": op_dict, b"l": op_list,
        b"(": op_mark, b"t": op_tuple, b"\x85": op_tuple1, b"\x86": op_tuple2, b"\x87": op_tuple3, b"0": op_pop,
        b"1": op_pop_mark, b"2": op_dup, b")": _constant(()), b"]": _empty(list), b"}": _empty(dict),
        b"\x8f": _empty(set), b"N": _constant(None), b"\x88": _constant(True), b"\x89": _constant(False),
        b"J": _number(_i32, 4), b"K": op_byte, b"M": _number(_u16, 2), b"G": _number(_f64, 8), b"\x8a": op_long1,
        b"\x8b": op_long4, b"X": _text(_u32, 4), b"\x8c": _text(None, 1), b"\x8d": _text(_u64, 8),
        b"T": _string(_i32, 4), b"U": _string(None, 1), b"B": _bytes(_u32, 4), b"C": _bytes(None, 1),
        b"\x8e": _bytes(_u64, 8), b"\x96": op_bytearray8, b"h": op_binget, b"j": op_long_binget, b"q": op_binput,
        b"r": op_long_binput, b"\x94": op_memoize,
    }  # fmt: skip


#: The instruction behind each byte, or None.
_CODES = [Unpickler._by_code.get(bytes([code])) for code in range(256)]


def _shown(thing: Any) -> str:
    """A name for messages that runs no code of the thing's."""
    if isinstance(thing, type) or callable(thing):
        return f"{getattr(thing, '__module__', '?')}.{getattr(thing, '__qualname__', type(thing).__name__)}"
    return f"an object of type {type(thing).__name__}"


class _Unknown:
    """What a skimmed pickle would have made."""

    __slots__ = ()


_UNKNOWN = _Unknown()


class Skimmer(Unpickler):
    """Reads over a pickle without building it, to learn where it ends and what it mentions.

    globals:         every ``module.name`` in it.
    persistent_ids:  the ids of its persistent objects, as far as they are tuples or ints.
    """

    def __init__(
        self, data: bytes, start: int = 0, *, find: Callable[[str, str], Any] = lambda module, name: None
    ) -> None:
        super().__init__(data, start, find=find, persistent_load=self._note, encoding="latin1")
        self.globals: set[str] = set()
        self.persistent_ids: list[Any] = []

    def _note(self, pid: Any) -> Any:
        self.persistent_ids.append(pid)
        return _UNKNOWN

    def resolve(self, module: str, name: str) -> Any:
        module = _RENAMED.get(module, module)
        self.globals.add(f"{module}.{name}")
        found = self.find(module, name)
        return _UNKNOWN if found is None else found

    def call(self, func: Any, args: Any, kwargs: dict | None = None) -> Any:
        return _UNKNOWN

    make = call

    def build(self, target: Any, state: Any) -> None:
        pass

    def set_items(self, target: Any, items: list[Any]) -> None:
        pass

    add_items = extend = set_items
