"""How tensors look in notebooks: a small piece of HTML that refers to nothing outside.

What it is and its range come first; then a table of the values of a small tensor, the picture that it seems to be, or
the distribution of the values of a large one.
"""

from __future__ import annotations

import base64
import html
import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import peek
from ..engine.meta import SHAPE_ONLY
from .device import device
from .dtype import dtype
from .printing import _Column, _ComplexColumn, _numbers

__all__ = ["html_of", "html_tensor", "png"]

_ROWS, _COLUMNS, _BINS = 10, 10, 48
#: Elements looked at; larger tensors are thinned out evenly.
_SAMPLE = 1_000_000
#: Width and height of what may be a picture, and how wide it is shown at least.
_SIDES, _SHOWN = range(8, 513), 96


def html_of(tensor: Any) -> str:
    """``tensor._repr_html_()``.  What cannot be computed is told, not raised."""
    try:
        value = tensor._get()
        meta = value.meta
        array = None
        if meta.place != SHAPE_ONLY:
            array = _looked_at(peek(value) if value.data is None else value.data, meta)
            if not isinstance(array, np.ndarray):
                return f"<pre>{html.escape(repr(tensor))}</pre>"
        fn = tensor.grad_fn
        return html_tensor(
            array, tensor.dtype, tensor.device, tensor.requires_grad, None if fn is None else type(fn).__name__,
            is_parameter=type(tensor).__name__ == "Parameter", size=meta.shape,
        )  # fmt: skip
    except Exception as error:
        shape = list(tensor._value.meta.shape)
        return f"<pre>tensor{shape}: {html.escape(f'{type(error).__name__}: {error}')}</pre>"


def _looked_at(data: Any, meta: Any) -> Any:
    """An array of at most as many elements as are looked at; a tracer as it is."""
    import jax

    if isinstance(data, jax.core.Tracer):
        return data
    with jax.enable_x64(True):
        if meta.size > _SAMPLE:
            if isinstance(data, jax.Array) and not data.is_fully_addressable:
                data = data.addressable_shards[0].data
            data = data.reshape(-1)[:: -(-data.size // _SAMPLE)]
        return np.asarray(data)


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
    """A tensor as a small piece of HTML: what it is, its range, and its values, picture, or distribution.

    Up to 10 x 10 elements are shown as a table whose cells are shaded by value.  1 x H x W and 3 x H x W of uint8, or
    of floats from 0 to 1, with H and W from 8 to 512, are shown as a picture; all else as a histogram.  The text is
    never longer than about 20 kB, but for a picture.

    array:   the values, or a sample of them; None for a meta tensor.
    size:    shape of the tensor; by default that of the array.
    Other arguments as ``format_tensor`` takes them.  Raises ValueError without array and size.
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
        facts += _summary(shown, math.prod(size))
        small = array.ndim <= 2 and (1, 1, *size)[-2] <= _ROWS and (1, *size)[-1] <= _COLUMNS
        body = _table(shown) if small else _picture(shown) or _histogram(shown)
    head = " · ".join(html.escape(fact) for fact in facts)
    return f'<div style="font-family:monospace;font-size:12px"><div>{head}</div>{body}</div>'


def _sample(array: np.ndarray) -> np.ndarray:
    """The finite elements as float64 (magnitudes of complex ones), evenly thinned out if they are many."""
    flat = array.reshape(-1)
    flat = flat[:: max(1, -(-flat.size // _SAMPLE))]
    flat = np.abs(flat) if flat.dtype.kind == "c" else flat
    flat = flat.astype(np.float64)
    return flat[np.isfinite(flat)]


def _summary(array: np.ndarray, elements: int) -> list[str]:
    facts = []
    values = _sample(array)
    thinned = max(array.size, elements) > _SAMPLE
    about = "≈ " if thinned else ""
    what = "|x|: " if array.dtype.kind == "c" else ""
    if values.size:
        mean = float((values / values.size).sum())  # divided first: the sum of large values would overflow
        facts.append(f"{what}{about}min {values.min():.4g}, mean {mean:.4g}, max {values.max():.4g}")
    if array.dtype.kind in "fc":
        for label, test in (("nan", np.isnan), ("inf", np.isinf)):
            count = int(np.count_nonzero(test(array)))
            if count:
                facts.append(f"has {label}" if thinned else f"{count} {label}")
    return facts


def _table(array: np.ndarray) -> str:
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


def _histogram(array: np.ndarray) -> str:
    values = _sample(array)
    if not values.size:
        return ""
    low, high = float(values.min()), float(values.max())
    # Scaled to [0, 1] by halves, because high - low may overflow.
    scaled = (values / 2 - low / 2) / (high / 2 - low / 2) if high > low else np.full(values.shape, 0.5)
    counts = np.histogram(scaled, _BINS, (0.0, 1.0))[0]
    bars = "".join(
        f'<rect x="{5 * i}" y="{40 - h:.1f}" width="4" height="{h:.1f}"/>'
        for i, h in enumerate(40.0 * counts / counts.max())
        if h > 0
    )
    width = 5 * _BINS
    return (
        f'<svg width="{width}" height="54" viewBox="0 0 {width} 54" role="img" aria-label="histogram of values">'
        f'<g fill="#4285f4">{bars}</g><g fill="currentColor" font-size="10">'
        f'<text x="0" y="52">{low:.4g}</text><text x="{width}" y="52" text-anchor="end">{high:.4g}</text></g></svg>'
    )


# -- pictures -------------------------------------------------------------------------------------------------------


def _picture(array: np.ndarray) -> str:
    """The picture that an array clearly is, or nothing."""
    if array.ndim != 3 or array.shape[0] not in (1, 3) or not all(n in _SIDES for n in array.shape[1:]):
        return ""
    if array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1 and array.max() > array.min()):  # false for nan
            return ""
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        return ""
    height, width = array.shape[1:]
    times = -(-_SHOWN // width) if width < _SHOWN else 1
    source = base64.b64encode(png(np.moveaxis(array, 0, -1))).decode()
    style = f"width:{times * width}px;height:{times * height}px;image-rendering:pixelated"
    return f'<img src="data:image/png;base64,{source}" style="{style}" alt="the values as a picture"/>'


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of uint8 ``pixels`` of shape (height, width, 1 or 3)."""
    height, width, channels = pixels.shape
    rows = np.empty((height, 1 + width * channels), np.uint8)
    rows[:, 0] = 0  # each row begins with the number of its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
