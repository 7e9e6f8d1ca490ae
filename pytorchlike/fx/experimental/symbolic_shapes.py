"""``torch.fx.experimental.symbolic_shapes``: questions about sizes, which are plain numbers here.

What libraries ask of a size that may be a symbol in PyTorch has its plain answer. Symbols themselves (``ShapeEnv``,
``SymInt`` nodes, constraints) do not exist: see ``torch.export`` for programs of open sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "constrain_range", "definitely_false", "definitely_true", "free_symbols", "free_unbacked_symbols", "guard_bool",
    "guard_float", "guard_int", "guard_or_false", "guard_or_true", "guard_scalar", "guard_size_oblivious",
    "has_free_symbols", "has_free_unbacked_symbols", "has_hint", "hint_int", "is_concrete_bool", "is_concrete_float",
    "is_concrete_int", "is_symbolic", "parallel_and", "parallel_or", "statically_known_true", "sym_and", "sym_eq",
    "sym_or",
]  # fmt: skip


def _truth(name: str, result: bool) -> Any:
    def ask(a: Any) -> bool:
        return bool(a) is result

    ask.__name__ = ask.__qualname__ = name
    ask.__doc__ = f"Whether a condition on sizes is {'true' if result else 'false'}."
    return ask


guard_size_oblivious = _truth("guard_size_oblivious", True)
guard_or_false = _truth("guard_or_false", True)
guard_or_true = _truth("guard_or_true", True)
guard_bool = _truth("guard_bool", True)
statically_known_true = _truth("statically_known_true", True)
definitely_true = _truth("definitely_true", True)
definitely_false = _truth("definitely_false", False)


def guard_int(a: int) -> int:
    """The size."""
    return int(a)


def guard_float(a: float) -> float:
    """The number."""
    return float(a)


def guard_scalar(a: Any) -> Any:
    """The number. TypeError for anything else."""
    if not isinstance(a, (bool, int, float)):
        raise TypeError(f"unrecognized scalar {a!r}")
    return a


def hint_int(a: int, fallback: int | None = None) -> int:
    """The size."""
    return int(a)


def has_hint(a: Any) -> bool:
    """True: every size is known."""
    return True


def is_symbolic(val: Any) -> bool:
    """False: no size is a symbol."""
    return False


def is_concrete_int(a: int) -> bool:
    """True: every size is known."""
    return True


is_concrete_bool = is_concrete_float = is_concrete_int


def free_symbols(val: Any) -> set:
    """The symbols in a size: none."""
    return set()


free_unbacked_symbols = free_symbols


def has_free_symbols(val: Any) -> bool:
    """False: no size is a symbol."""
    return False


has_free_unbacked_symbols = has_free_symbols


def parallel_or(*args: Any) -> bool:
    """Whether any of several conditions is true."""
    return any(args)


def parallel_and(*args: Any) -> bool:
    """Whether all of several conditions are true."""
    return all(args)


sym_or, sym_and = parallel_or, parallel_and


def sym_eq(x: Any, y: Any) -> bool:
    """Whether two sizes, or sequences of sizes, are equal."""
    if isinstance(x, Sequence) and isinstance(y, Sequence):
        return len(x) == len(y) and all(map(sym_eq, x, y))
    return bool(x == y)


def constrain_range(a: int, *, min: int | None, max: int | None = None) -> None:
    """Raise ValueError for a size outside of a range."""
    if (min is not None and a < min) or (max is not None and a > max):
        raise ValueError(f"Invalid value {a} for range [{min}:{max}]")
