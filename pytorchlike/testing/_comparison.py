"""``torch.testing.assert_close``: numbers, tensors and containers of them, compared with a tolerance."""

from __future__ import annotations

import cmath
import collections.abc
import numbers
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..tensor import Tensor, tensor
from ..tensor import dtype as d

__all__ = ["assert_allclose", "assert_close", "default_tolerances"]

#: (rtol, atol) by dtype; others are compared exactly.
_TOLERANCES = {
    d.float16: (1e-3, 1e-5), d.bfloat16: (1.6e-2, 1e-5), d.float32: (1.3e-6, 1e-5), d.float64: (1e-7, 1e-7),
    d.complex64: (1.3e-6, 1e-5), d.complex128: (1e-7, 1e-7),
}  # fmt: skip


def default_tolerances(*inputs: Tensor | d.dtype) -> tuple[float, float]:
    """The larger rtol and the larger atol of these dtypes."""
    pairs = [_TOLERANCES.get(i.dtype if isinstance(i, Tensor) else i, (0.0, 0.0)) for i in inputs]
    return max(p[0] for p in pairs), max(p[1] for p in pairs)


def get_tolerances(*inputs: Tensor | d.dtype, rtol: float | None, atol: float | None) -> tuple[float, float]:
    """What is given, else the tolerances of the inputs' dtypes. ValueError if only one is given."""
    if (rtol is None) != (atol is None):
        missing = "atol" if atol is None else "rtol"
        raise ValueError(f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}.")
    return default_tolerances(*inputs) if rtol is None or atol is None else (rtol, atol)


class _Differs(Exception):
    """Two values differ; where they lie inside of containers."""

    def __init__(self, kind: type[Exception], message: str, at: tuple = ()) -> None:
        super().__init__(message)
        self.kind, self.message, self.at = kind, message, at

    def inside(self, item: Any) -> _Differs:
        return _Differs(self.kind, self.message, (item, *self.at))


def assert_close(
    actual: Any, expected: Any, *, allow_subclasses: bool = True, rtol: float | None = None, atol: float | None = None,
    equal_nan: bool = False, check_device: bool = True, check_dtype: bool = True, check_layout: bool = True,
    check_stride: bool = False, msg: str | Callable[[str], str] | None = None,
) -> None:  # fmt: skip
    """Raise AssertionError unless ``|actual - expected| <= atol + rtol * |expected|`` everywhere.

    actual, expected:  tensors, NumPy arrays, numbers, None, or sequences and mappings of them.
    rtol, atol:        both or none; by default those of the dtypes (float32: 1.3e-6 and 1e-5; integers: 0).
    equal_nan:         NaNs are close to NaNs.
    check_device, check_dtype, check_layout, check_stride: whether these must be the same, too; values are brought to
                       the CPU and to a common dtype where they need not be.
    msg:               another message, or a function of the message that was made.

    Raises TypeError for inputs that cannot be compared, ValueError if only one tolerance is given.
    """
    __tracebackhide__ = True
    given = None if rtol is None and atol is None else get_tolerances(rtol=rtol, atol=atol)
    how = {
        "subclasses": allow_subclasses, "tolerances": given, "equal_nan": equal_nan,
        "device": check_device, "dtype": check_dtype, "layout": check_layout, "stride": check_stride,
    }  # fmt: skip
    try:
        _compare(actual, expected, how)
    except _Differs as found:
        text = found.message
        if found.at:
            text += f"\n\nThe failure occurred for item {''.join(str([item]) for item in found.at)}"
        if msg is not None:
            text = msg(text) if callable(msg) else msg
        error = found.kind(text)
    else:
        return
    raise error


def _differ(message: str, kind: type[Exception] = AssertionError) -> NoReturn:
    raise _Differs(kind, message)


def _compare(actual: Any, expected: Any, how: dict[str, Any]) -> None:
    sequences = all(isinstance(x, collections.abc.Sequence) and not isinstance(x, str) for x in (actual, expected))
    if sequences:
        if len(actual) != len(expected):
            _differ(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}")
        pairs = [(i, a, e) for i, (a, e) in enumerate(zip(actual, expected, strict=True))]
    elif isinstance(actual, collections.abc.Mapping) and isinstance(expected, collections.abc.Mapping):
        if set(actual) != set(expected):
            _differ(
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {sorted(set(expected) - set(actual), key=str)}\n"
                f"Additional keys in the actual mapping: {sorted(set(actual) - set(expected), key=str)}"
            )
        pairs = [(key, actual[key], expected[key]) for key in actual]
    else:
        _compare_leaves(actual, expected, how)
        return
    for item, a, e in pairs:
        try:
            _compare(a, e, how)
        except _Differs as found:
            raise found.inside(item) from None


def _compare_leaves(actual: Any, expected: Any, how: dict[str, Any]) -> None:
    if actual is None or expected is None:
        if actual is not expected:
            _differ(f"None mismatch: {actual} is not {expected}")
        return
    both = (actual, expected)
    if all(isinstance(x, (bool, np.bool_)) for x in both):
        if bool(actual) is not bool(expected):
            _differ(f"Booleans mismatch: {bool(actual)} is not {bool(expected)}")
        return
    if all(_is_number(x) for x in both):
        _compare_numbers(actual, expected, how)
        return
    related = how["subclasses"] and (isinstance(actual, type(expected)) or isinstance(expected, type(actual)))
    if type(actual) is type(expected) or related:
        if all(isinstance(x, (Tensor, np.ndarray)) for x in both):
            _compare_tensors(*(x if isinstance(x, Tensor) else tensor(x) for x in both), how)
            return
    told = " and ".join(str(type(x)) for x in both)
    _differ(f"No comparison pair was able to handle inputs of type {told}.", TypeError)


def _is_number(x: Any) -> bool:
    return isinstance(x, (numbers.Number, np.number)) and not isinstance(x, bool)


_KINDS = {int: d.int64, float: d.float64, complex: d.complex128}


def _compare_numbers(actual: Any, expected: Any, how: dict[str, Any]) -> None:
    a, e = (x.item() if isinstance(x, np.generic) else x for x in (actual, expected))
    if how["dtype"] and type(a) is not type(e):
        _differ(f"The (d)types do not match: {type(a)} != {type(e)}.")
    rtol, atol = how["tolerances"] or default_tolerances(*(_KINDS.get(type(x), d.float64) for x in (a, e)))
    _differ_numbers(a, e, rtol, atol, how["equal_nan"])


def _differ_numbers(a: Any, e: Any, rtol: float, atol: float, equal_nan: bool) -> None:
    if a == e or (equal_nan and cmath.isnan(a) and cmath.isnan(e)):
        return
    gap = abs(a - e)
    if cmath.isfinite(a) and cmath.isfinite(e) and gap <= atol + rtol * abs(e):
        return
    relative = gap / abs(e) if e != 0 else float("inf")
    exact = rtol == 0 and atol == 0
    _differ(
        f"Scalars are not {'equal' if exact else 'close'}!\n\nExpected {e} but got {a}.\n"
        f"Absolute difference: {gap}{'' if exact else f' (up to {atol} allowed)'}\n"
        f"Relative difference: {relative}{'' if exact else f' (up to {rtol} allowed)'}"
    )


def _compare_tensors(actual: Tensor, expected: Tensor, how: dict[str, Any]) -> None:
    def same(name: str, a: Any, e: Any) -> None:
        if a != e:
            _differ(f"The values for attribute '{name}' do not match: {a} != {e}.")

    same("shape", actual.shape, expected.shape)
    if how["layout"]:
        same("layout", actual.layout, expected.layout)
    if how["stride"]:
        same("stride()", actual.stride(), expected.stride())
    if how["device"]:
        same("device", actual.device, expected.device)
    if how["dtype"]:
        same("dtype", actual.dtype, expected.dtype)
    if actual.is_meta or expected.is_meta:
        return  # nothing further is known of them
    rtol, atol = how["tolerances"] or default_tolerances(actual, expected)
    common = d.promote_types(actual.dtype, expected.dtype)
    a, e = (_wide(x.to_dense() if x.layout is not d.strided else x, common) for x in (actual, expected))
    with np.errstate(all="ignore"):
        gap = np.abs(a - e) if a.dtype != np.uint64 else np.where(a > e, a - e, e - a)
        size = np.abs(e)
        close = (a == e) | ((gap <= atol + rtol * size) & np.isfinite(a) & np.isfinite(e))
        if how["equal_nan"]:
            close |= np.isnan(a) & np.isnan(e)
        if close.all():
            return
        if a.size == 1 and not a.shape:
            _differ_numbers(a.item(), e.item(), rtol, atol, how["equal_nan"])
        exact = rtol == 0 and atol == 0
        gap = np.where(close, 0, gap)
        relative = np.where(close, 0, gap / size).astype(_real(common))
    lines = [f"Mismatched elements: {(~close).sum()} / {a.size} ({(~close).mean() * 100:.1f}%)"]
    for name, values, bound in (("absolute", gap, atol), ("relative", relative, rtol)):
        worst = np.nanargmax(values) if not np.isnan(values).any() else np.isnan(values).argmax()
        at = tuple(int(i) for i in np.unravel_index(worst, a.shape))
        allowed = "" if exact else f" (up to {bound} allowed)"
        lines.append(f"Greatest {name} difference: {values[at].item()} at index {at}{allowed}")
    _differ(f"Tensor-likes are not {'equal' if exact else 'close'}!\n\n" + "\n".join(lines))


def _real(kind: d.dtype) -> Any:
    return np.float64 if kind in (d.float64, d.complex128) else np.float32


def _wide(x: Tensor, common: d.dtype) -> np.ndarray:
    """The values on the host, in a type in which their differences can be formed."""
    values = x.detach().cpu().to(common)._host()
    if common.is_complex or common is d.float64 or common is d.uint64:
        return values
    return values.astype(np.float64 if common.is_floating_point else np.int64)


def assert_allclose(
    actual: Any, expected: Any, rtol: float | None = None, atol: float | None = None, equal_nan: bool = True,
    msg: str = "",
) -> None:  # fmt: skip
    """:func:`assert_close` as it was called before: NaNs are equal, and dtypes, devices and strides are not
    compared.
    """
    warnings.warn(
        "`torch.testing.assert_allclose()` is deprecated since 1.12; use `torch.testing.assert_close()`",
        FutureWarning,
        stacklevel=2,
    )
    actual, expected = (x if isinstance(x, Tensor) else tensor(x) for x in (actual, expected))
    if rtol is None and atol is None:
        table = {d.float16: (1e-3, 1e-3), d.float32: (1e-4, 1e-5), d.float64: (1e-5, 1e-8)}
        pairs = [table.get(x.dtype, (0.0, 0.0)) for x in (actual, expected)]
        rtol, atol = max(p[0] for p in pairs), max(p[1] for p in pairs)
    assert_close(
        actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, check_device=True, check_dtype=False,
        check_stride=False, msg=msg or None,
    )  # fmt: skip
