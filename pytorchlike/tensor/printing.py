"""How tensors look: the text of ``repr(tensor)``, character for character PyTorch's.

Only a tensor's edges are looked at once it has more than ``threshold`` elements: ``edge_indices`` tells which entries
those are, so that a caller may fetch no more than them from a device.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import dtype as _dtype
from .device import device
from .dtype import dtype, get_default_complex_dtype

__all__ = [
    "edge_indices",
    "format_tensor",
    "get_printoptions",
    "printoptions",
    "set_printoptions",
]


@dataclasses.dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_options = _Options()

_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed; None leaves an option as it is, except ``sci_mode``.

    precision:  digits after the decimal point (4 at first).
    threshold:  number of elements above which only edges are shown (1000).
    edgeitems:  entries shown at each end of a dimension then (3).
    linewidth:  characters per line (80).
    profile:    'default', 'short' or 'full': sets the four above first. Others warn and set nothing.
    sci_mode:   True or False force scientific notation on or off; None, also by default, decides by the values.

    Raises TypeError for a precision, edgeitems or linewidth that is no int.
    """
    changes: dict[str, Any] = {}
    if profile is not None:
        if profile not in _PROFILES:
            names = ", ".join(_PROFILES)
            warnings.warn(f"set_printoptions: unknown profile {profile!r} sets nothing; known: {names}", stacklevel=2)
        changes.update(_PROFILES.get(profile, {}))
    for name, value in (("precision", precision), ("edgeitems", edgeitems), ("linewidth", linewidth)):
        if value is not None:
            if not hasattr(value, "__index__"):
                raise TypeError(f"set_printoptions: {name} must be an int, got {value!r}")
            changes[name] = int(value)
    if threshold is not None:
        changes["threshold"] = threshold
    for name, value in {**changes, "sci_mode": sci_mode}.items():
        setattr(_options, name, value)


def get_printoptions() -> dict[str, Any]:
    """The current options: precision, threshold, edgeitems, linewidth, sci_mode."""
    return dataclasses.asdict(_options)


@contextlib.contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """``set_printoptions(**options)`` for the length of a block."""
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(_options, name, value)


# -- which entries are shown ----------------------------------------------------------------------------------------


def edge_indices(size: Sequence[int]) -> tuple[np.ndarray | None, ...] | None:
    """Which entries of a tensor of this size its repr shows.

    None if it shows them all; else for each dimension the indices to take along it, or None for all of them. The part
    taken may be given to ``format_tensor`` with ``size`` in place of the whole array.
    """
    if math.prod(size) <= _options.threshold:
        return None
    edge = _options.edgeitems
    return tuple(np.r_[:edge, n - edge : n] if n > 2 * edge else None for n in size)


def _take_edges(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    indices = edge_indices(size)
    if indices is None or array.shape != tuple(size):
        return array  # shown in full, or reduced by the caller
    for axis, index in enumerate(indices):
        if index is not None:
            array = array.take(index, axis)
    return array


# -- numbers --------------------------------------------------------------------------------------------------------


class _Column:
    """One format and width for all shown numbers of a tensor."""

    def __init__(self, values: np.ndarray) -> None:
        self.write: Callable[[Any], str] = str
        self.width = 1
        if values.dtype.kind != "f":
            self.width = max((len(str(v)) for v in values.ravel().tolist()), default=1)
            return
        finite = values[np.isfinite(values) & (values != 0)]
        digits = _options.precision
        scientific, whole = False, True
        if finite.size:
            size = np.abs(finite).astype(np.float64)
            low, high = float(size.min()), float(size.max())
            whole = bool((finite == np.ceil(finite)).all())
            scientific = high / low > 1000.0 or high > 1.0e8 or (not whole and low < 1.0e-4)
            if _options.sci_mode is not None:
                scientific = _options.sci_mode
        if scientific:
            self.write = f"{{:.{digits}e}}".format
        elif whole:
            self.write = _write_whole
        else:
            self.write = f"{{:.{digits}f}}".format
        # Zeros, infinities and nan do not widen the column.
        self.width = max((len(self.write(v)) for v in finite.tolist()), default=1)

    def cell(self, value: Any) -> str:
        return self.write(value).rjust(self.width)


def _write_whole(value: float) -> str:
    return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"


class _ComplexColumn:
    """Real and imaginary parts, each with a column of its own."""

    def __init__(self, values: np.ndarray) -> None:
        self.real, self.imag = _Column(values.real), _Column(values.imag)
        self.width = self.real.width + self.imag.width + 1

    def cell(self, value: complex) -> str:
        imag = self.imag.cell(value.imag).lstrip() + "j"
        return self.real.cell(value.real) + (imag if imag[0] in "+-" else "+" + imag)


def _numbers(array: np.ndarray) -> np.ndarray:
    """The array in a type that NumPy itself can compare and print: float32 for bfloat16 and float8."""
    if _dtype.from_numpy_dtype(array.dtype).is_floating_point and array.dtype.kind != "f":
        return array.astype(np.float32)
    return array.astype(np.float32) if array.dtype == np.float16 else array


# -- nested brackets ------------------------------------------------------------------------------------------------


def _body(array: np.ndarray, size: Sequence[int], indent: int, column: Any) -> str:
    """The bracketed text of an array whose dimensions are those of ``size`` or just their edges."""
    if not size:
        return column.cell(array.item())
    cut = array.shape[0] < size[0]
    edge = _options.edgeitems
    if len(size) == 1:
        return _row(array.tolist(), edge if cut else None, indent, column)
    parts = [_body(part, size[1:], indent + 1, column) for part in array]
    if cut:
        parts.insert(edge, "...")
    return "[" + ("," + "\n" * (len(size) - 1) + " " * (indent + 1)).join(parts) + "]"


def _row(values: list, edge: int | None, indent: int, column: Any) -> str:
    """One row, broken into lines of the line width; ``edge`` entries, dots, and the rest if it is given."""
    cells = [column.cell(v) for v in values]
    if edge is not None:
        cells.insert(edge, " ...")
    per_line = max(1, (_options.linewidth - indent) // (column.width + 2))
    lines = [", ".join(cells[i : i + per_line]) for i in range(0, len(cells), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


# -- the whole ------------------------------------------------------------------------------------------------------


def format_tensor(
    array: np.ndarray | None,
    dtype: dtype,
    device: device,
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    *,
    is_parameter: bool = False,
    size: Sequence[int] | None = None,
    name: str = "tensor",
) -> str:
    """The text of ``repr(tensor)``.

    array:          the elements, whole or only those at ``edge_indices(size)``; None for a meta tensor.
    grad_fn_name:   such as 'AddBackward0'; shown instead of ``requires_grad``.
    is_parameter:   put 'Parameter containing:' on a line before it.
    size:           shape of the tensor; by default that of the array. Required if the array is None.
    name:           what stands before the parenthesis (a subclass's name).

    Raises ValueError if the array is None and no size is given.
    """
    if array is None and size is None:
        raise ValueError("format_tensor: a tensor without data needs its size")
    size = tuple(array.shape if size is None else size)  # type: ignore[union-attr]
    opening = name + "("
    indent = len(opening)
    suffixes = []
    if device.type != "cpu":
        suffixes.append(f"device='{device}'")
    plain = dtype in (_dtype.default, get_default_complex_dtype(), _dtype.int64, _dtype.bool_)
    if array is None or device.type == "meta":
        text = "..."
        suffixes.append(f"size={size}")
    elif math.prod(size) == 0:
        text = "[]"
        if len(size) != 1:
            suffixes.append(f"size={size}")
        plain = dtype is _dtype.default  # no elements show whether they are whole or true
    else:
        text = body(array, size, indent)
        if _options.edgeitems == 0:
            suffixes.append(f"size={size}")
    if not plain:
        suffixes.append(f"dtype={dtype!r}")
    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    text = _with_suffixes(opening + text, suffixes, indent)
    return "Parameter containing:\n" + text if is_parameter else text


def body(array: np.ndarray, size: Sequence[int], indent: int) -> str:
    """The elements in brackets: the array, whole or only at ``edge_indices(size)``; lines after the first indented."""
    shown = _numbers(_take_edges(array, size))
    return _body(shown, size, indent, _ComplexColumn(shown) if np.iscomplexobj(shown) else _Column(shown))


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """Append the suffixes, each on the same line where it fits, and the closing parenthesis."""
    used = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            used = indent + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"


def describe(tensor: Any, array: np.ndarray | None) -> str:
    """``repr`` of a Tensor whose elements are at hand."""
    if array is not None and not isinstance(array, np.ndarray):
        return f"tensor(<{array}>, dtype={tensor.dtype})"
    fn, kind = tensor.grad_fn, type(tensor)
    plain = kind.__name__ in ("Tensor", "Parameter")
    text = format_tensor(
        array,
        tensor.dtype,
        tensor.device,
        tensor.requires_grad,
        None if fn is None else type(fn).__name__,
        size=tensor.shape,
        name="tensor" if plain else kind.__name__,
    )
    parameter = any(c.__name__ == "Parameter" for c in kind.__mro__) or getattr(tensor, "_is_param", False)
    return f"Parameter({text})" if parameter and not plain else text
