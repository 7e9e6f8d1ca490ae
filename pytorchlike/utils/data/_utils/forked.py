"""What makes a forked process safe next to JAX's threads, which do not live on in it."""

import functools
import types
from collections import deque
from typing import Any

import numpy as np

from ....engine import Value, concrete, host, read
from ....tensor import Tensor, _tensor
from ....tensor.device import place_for

_MOST = 200_000  # objects looked at in search of tensors
_PLAIN = (str, bytes, bytearray, int, float, complex, bool, type(None), np.ndarray, np.generic, type, types.ModuleType,
          range, types.CodeType, types.BuiltinFunctionType)  # fmt: skip
_NOT_USERS = frozenset(("builtins", "jax", "jaxlib", "numpy", __name__.partition(".")[0]))

def compute_by_numpy() -> None:
    """Have this process compute by NumPy, and refuse accelerators, in all its threads."""
    host.take_over()

    def transfer(value: Value, place: Any) -> Value:
        if getattr(place, "platform", "cpu") != "cpu":
            raise RuntimeError(
                f"a forked DataLoader worker cannot move tensors to {place}: accelerators belong to the main process. "
                "Return CPU tensors and move the batch there, or use pin_memory=True"
            )
        return concrete(host.as_numpy(read(value)), place)

    _tensor.transfer = transfer


def host_values(*roots: Any) -> list[Value]:
    """Values of the CPU tensors that can be reached from ``roots``, computed and with their elements on the host.

    Containers, attributes, closures, methods and the globals they name are followed, 200 000 objects at most.
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
            if x._alias is not None and not x._borrowed:
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
            todo.extend(x.__globals__[name] for name in x.__code__.co_names if name in x.__globals__)
        elif isinstance(x, types.MethodType):
            todo.append(x.__self__)
        elif isinstance(x, functools.partial):
            todo.extend((x.func, *x.args, *x.keywords.values()))
        elif type(x).__module__.partition(".")[0] not in ("jax", "jaxlib", "numpy"):
            todo.extend(getattr(x, "__dict__", {}).values())
            for kind in type(x).__mro__:
                if kind.__module__.partition(".")[0] not in _NOT_USERS:
                    todo.extend(f for f in vars(kind).values() if isinstance(f, types.FunctionType))
                slots = kind.__dict__.get("__slots__", ())
                for name in (slots,) if isinstance(slots, str) else slots:
                    if name not in ("__dict__", "__weakref__"):
                        todo.append(getattr(x, name, None))
    return list(found.values())


def to_numpy(values: list[Value]) -> None:
    """Have values refer to NumPy's view of their elements, which indexing and collating use without XLA."""
    for v in values:
        if type(v.data) is not np.ndarray and not v.meta.grad:
            v.data = np.asarray(v.data)
