"""How tensors look: the text of ``repr(tensor)``, character for character PyTorch's, and a bounded HTML view.

Only a tensor's edges are looked at once it has more than ``threshold`` elements: ``edge_indices`` tells which entries
those are, so that a caller may fetch no more than them from a device.
"""

from __future__ import annotations

import contextlib
import dataclasses
import html
import math
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
    "html_tensor",
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
    profile:    'default', 'short' or 'full': sets the four above first.
    sci_mode:   True or False force scientific notation on or off; None, also by default, decides by the values.

    Raises ValueError for an unknown profile and TypeError for a precision, edgeitems or linewidth that is no int.
    """
    changes: dict[str, Any] = {}
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"set_printoptions: unknown profile {profile!r}; choose from {', '.join(_PROFILES)}")
        changes.update(_PROFILES[profile])
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
        shown = _numbers(_take_edges(array, size))
        column = _ComplexColumn(shown) if dtype.is_complex else _Column(shown)
        text = _body(shown, size, indent, column)
    if not plain:
        suffixes.append(f"dtype={dtype!r}")
    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    text = _with_suffixes(opening + text, suffixes, indent)
    return "Parameter containing:\n" + text if is_parameter else text


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


# -- HTML -----------------------------------------------------------------------------------------------------------

_HTML_ROWS, _HTML_COLUMNS, _HTML_BINS = 10, 10, 48
#: Elements looked at for the histogram; larger tensors are thinned out evenly.
_HTML_SAMPLE = 1_000_000


def html_tensor(
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
    """A tensor as a small piece of HTML for notebooks: what it is, its range, and its values or their distribution.

    Up to 10 x 10 elements are shown as a table whose cells are shaded by value, larger tensors as a histogram drawn
    inline; the text is never longer than about 20 kB and refers to nothing outside. Arguments as ``format_tensor``
    takes them, but the array must be whole (None for a meta tensor). Raises ValueError without array and size.
    """
    if array is None and size is None:
        raise ValueError("html_tensor: a tensor without data needs its size")
    size = tuple(array.shape if size is None else size)  # type: ignore[union-attr]
    facts = [f"{name}{list(size)}", str(dtype).removeprefix("torch."), str(device)]
    if is_parameter:
        facts[0] = "Parameter " + facts[0]
    if grad_fn_name is not None:
        facts.append(grad_fn_name)
    elif requires_grad:
        facts.append("requires_grad")
    body = ""
    if array is None:
        facts.append("no data")
    elif array.size:
        shown = _numbers(array)
        facts += _summary(shown)
        small = array.ndim <= 2 and (1, 1, *size)[-2] <= _HTML_ROWS and (1, *size)[-1] <= _HTML_COLUMNS
        body = _html_table(shown) if small else _html_histogram(shown)
    head = " · ".join(html.escape(fact) for fact in facts)
    return f'<div style="font-family:monospace;font-size:12px"><div>{head}</div>{body}</div>'


def _sample(array: np.ndarray) -> np.ndarray:
    """The finite elements as float64 (magnitudes of complex ones), evenly thinned out if they are many."""
    flat = array.reshape(-1)
    flat = flat[:: max(1, -(-flat.size // _HTML_SAMPLE))]
    flat = np.abs(flat) if flat.dtype.kind == "c" else flat
    flat = flat.astype(np.float64)
    return flat[np.isfinite(flat)]


def _summary(array: np.ndarray) -> list[str]:
    facts = []
    values = _sample(array)
    about = "≈ " if array.size > _HTML_SAMPLE else ""
    what = "|x|: " if array.dtype.kind == "c" else ""
    if values.size:
        mean = float((values / values.size).sum())  # divided first: the sum of large values would overflow
        facts.append(f"{what}{about}min {values.min():.4g}, mean {mean:.4g}, max {values.max():.4g}")
    if array.dtype.kind in "fc":
        for label, test in (("nan", np.isnan), ("inf", np.isinf)):
            count = int(np.count_nonzero(test(array)))
            if count:
                facts.append(f"{count} {label}")
    return facts


def _html_table(array: np.ndarray) -> str:
    column = _ComplexColumn(array) if array.dtype.kind == "c" else _Column(array)
    values = _sample(array)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    rows = []
    for row in array.reshape((1, 1, *array.shape)[-2:] if array.ndim < 2 else array.shape).tolist():
        cells = []
        for value in row:
            number = abs(value) if isinstance(value, complex) else float(value)
            share = 0.0
            if math.isfinite(number) and high > low:
                share = (number / 2 - low / 2) / (high / 2 - low / 2)  # halves: high - low may overflow
            style = f"padding:1px 5px;text-align:right;background:rgba(66,133,244,{0.45 * share:.2f})"
            text = column.cell(value).strip()
            cells.append(f'<td style="{style}">{html.escape(text if len(text) <= 32 else f"{value:.4g}")}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table style="border-collapse:collapse">{"".join(rows)}</table>'


def _html_histogram(array: np.ndarray) -> str:
    values = _sample(array)
    if not values.size:
        return ""
    low, high = float(values.min()), float(values.max())
    # Scaled to [0, 1] by halves, because high - low may overflow.
    scaled = (values / 2 - low / 2) / (high / 2 - low / 2) if high > low else np.full(values.shape, 0.5)
    counts = np.histogram(scaled, _HTML_BINS, (0.0, 1.0))[0]
    bars = "".join(
        f'<rect x="{5 * i}" y="{40 - h:.1f}" width="4" height="{h:.1f}"/>'
        for i, h in enumerate(40.0 * counts / counts.max())
        if h > 0
    )
    width = 5 * _HTML_BINS
    return (
        f'<svg width="{width}" height="54" viewBox="0 0 {width} 54" role="img" aria-label="histogram of values">'
        f'<g fill="#4285f4">{bars}</g><g fill="currentColor" font-size="10">'
        f'<text x="0" y="52">{low:.4g}</text><text x="{width}" y="52" text-anchor="end">{high:.4g}</text></g></svg>'
    )


def describe(tensor: Any, array: np.ndarray | None) -> str:
    """``repr`` of a Tensor whose elements are at hand."""
    if array is not None and not isinstance(array, np.ndarray):
        return f"tensor(<{array}>, dtype={tensor.dtype})"
    fn = tensor.grad_fn
    return format_tensor(
        array,
        tensor.dtype,
        tensor.device,
        tensor.requires_grad,
        None if fn is None else fn.name(),
        is_parameter=type(tensor).__name__ == "Parameter",
        size=tensor.shape,
    )
