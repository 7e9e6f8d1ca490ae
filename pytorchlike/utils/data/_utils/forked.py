"""What makes a forked process safe next to JAX's threads, which do not live on in it."""

import functools
import types
from collections import deque
from typing import Any, NoReturn

import numpy as np

from ....engine import Value, execute, local, read
from ....engine import trace as tracing
from ....tensor import Tensor, _tensor
from ....tensor.device import place_for

_MOST = 200_000  # objects looked at in search of tensors
_PLAIN = (str, bytes, bytearray, int, float, complex, bool, type(None), np.ndarray, np.generic, type, types.ModuleType,
          range, types.CodeType, types.BuiltinFunctionType)  # fmt: skip

_MESSAGE = (
    "{}a forked DataLoader worker cannot run tensor operations, because XLA's threads do not exist in it. Make and "
    "index tensors on the CPU there, compute with NumPy, or in the main process; or give the DataLoader "
    "multiprocessing_context='forkserver' (or 'spawn'), whose workers can compute."
)


def _refuse(what: str = "", *args: Any, **kwargs: Any) -> NoReturn:
    raise RuntimeError(_MESSAGE.format(what))


class _NoTrace(tracing.Trace):
    """A trace in which nothing can be recorded."""

    __slots__ = ()

    def add_input(self, value: Value) -> int:
        return 0  # the operation itself is refused, by name

    def _miss(self, key: tuple, op: Any, static: Any, ins: tuple) -> NoReturn:
        _refuse(f"{op.name}: ")


def forbid() -> None:
    """Have every attempt to record or run something raise RuntimeError, in all threads of this process."""

    def begin(self: Any) -> None:
        self.trace = _NoTrace(tracing.mode_of())
        self.checks = []

    tracing._roots.clear()  # what the main process has recorded before is not known here
    type(local).__init__ = begin
    begin(local)
    execute.run = execute.evaluate_apart = functools.partial(_refuse, "")
    _tensor.transfer = functools.partial(_refuse, "moving a tensor to a device: ")


def host_values(*roots: Any) -> list[Value]:
    """Values of the CPU tensors that can be reached from ``roots``, computed and with their elements on the host.

    Containers, attributes, closures and bound methods are followed, 200 000 objects at most.
    """
    found: dict[int, Value] = {}
    seen: set[int] = set()
    todo = deque(roots)
    cpu = place_for("cpu")
    while todo and len(seen) < _MOST:
        x = todo.popleft()
        if isinstance(x, _PLAIN) or id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, Tensor):
            values = [x._get()]
            if x._alias is not None and x._alias.storage.host is None:
                values.append(x._alias.storage.value)
            for v in values:
                if v.meta.place == cpu:
                    np.asarray(read(v))  # JAX keeps what this returns
                    found[id(v)] = v
        elif isinstance(x, dict):
            todo.extend(x.values())
        elif isinstance(x, (list, tuple, set, frozenset, deque)):
            todo.extend(x)
        elif isinstance(x, types.FunctionType):
            todo.extend(cell.cell_contents for cell in x.__closure__ or () if cell != types.CellType())
            todo.extend(x.__defaults__ or ())
        elif isinstance(x, types.MethodType):
            todo.append(x.__self__)
        elif isinstance(x, functools.partial):
            todo.extend((x.func, *x.args, *x.keywords.values()))
        else:
            todo.extend(getattr(x, "__dict__", {}).values())
            for kind in type(x).__mro__:
                slots = kind.__dict__.get("__slots__", ())
                for name in (slots,) if isinstance(slots, str) else slots:
                    todo.append(getattr(x, name, None))
    return list(found.values())


def to_numpy(values: list[Value]) -> None:
    """Have values refer to NumPy's view of their elements, which indexing and collating use without XLA."""
    for v in values:
        if type(v.data) is not np.ndarray and not v.meta.grad:
            v.data = np.asarray(v.data)
