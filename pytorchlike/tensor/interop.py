"""From Python numbers, nested sequences and NumPy arrays to the host arrays that tensors are made of.

Everything here returns memory of its own: JAX reads a host buffer some time after it was handed over, so a buffer that
the caller may still write to must be copied first. Large copies start at a multiple of 64 bytes, which lets JAX adopt
them without copying again.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NoReturn

import ml_dtypes
import numpy as np

from ..engine.errors import warn_once
from ..engine.memory import ALIGN, ALIGN_FROM, aligned_empty
from . import dtype as _dtype
from .dtype import from_numpy_dtype, get_default_complex_dtype, promote_numpy

__all__ = ["aligned_copy", "aligned_empty", "cast_host", "check_from_numpy", "host_copy", "infer_dtype"]

_MAX_DIMS = 64  # NumPy's limit; PyTorch's is 128

_BOOL = np.dtype(np.bool_)
_INT64 = np.dtype(np.int64)
_UINT64 = np.dtype(np.uint64)
_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)
_E4M3FN = np.dtype(ml_dtypes.float8_e4m3fn)
_E8M0FNU = np.dtype(ml_dtypes.float8_e8m0fnu)

_REAL = frozenset({int, bool, float})
_NUMBERS = frozenset({int, bool, float, complex})


# -- memory ---------------------------------------------------------------------------------------------------------


def aligned_copy(array: np.ndarray, np_dtype: np.dtype | None = None) -> np.ndarray:
    """A C-contiguous copy of ``array``, of its own type or cast to ``np_dtype`` (see ``cast_host``)."""
    if np_dtype is not None and np_dtype != array.dtype:
        array = cast_host(array, np_dtype)
        if array.base is None and (array.nbytes < ALIGN_FROM or array.ctypes.data % ALIGN == 0):
            return array if array.flags.c_contiguous else np.ascontiguousarray(array)
    out = aligned_empty(array.shape, array.dtype)
    out[...] = array
    return out


def cast_host(array: np.ndarray, np_dtype: np.dtype) -> np.ndarray:
    """``array`` as ``np_dtype``, converted as PyTorch converts on the CPU; a new array unless the types are equal.

    What differs from ``ndarray.astype``: half and float8 values are rounded from float32; float8_e4m3fn saturates at
    448 and float8_e8m0fnu ignores signs; complex numbers lose their imaginary part without a warning; floats become
    small unsigned integers by way of int64, hence modulo 2**bits.
    """
    np_dtype = np.dtype(np_dtype)
    if array.dtype == np_dtype:
        return array
    with np.errstate(all="ignore"):
        if array.dtype.kind == "c" and np_dtype.kind not in "cb":
            array = array.real
        if np_dtype.kind == "u" and np_dtype.itemsize < 8 and array.dtype.kind not in "biu":
            array = array.astype(_INT64)
        if from_numpy_dtype(np_dtype).is_floating_point and np_dtype.itemsize < 4:
            array = array.astype(_FLOAT32, copy=False)
            if np_dtype == _E4M3FN:
                array = np.clip(array, -448.0, 448.0)
            elif np_dtype == _E8M0FNU:
                array = _powers_of_two(array)
        return array.astype(np_dtype)


def _powers_of_two(array: np.ndarray) -> np.ndarray:
    """The magnitudes, bounded to what float8_e8m0fnu holds: at least 2**-127, also for 0; infinities become nan."""
    size = np.abs(array)
    return np.where(np.isinf(size), np.float32(np.nan), np.maximum(size, np.float32(2.0**-127)))


# -- NumPy arrays ---------------------------------------------------------------------------------------------------


def check_from_numpy(array: Any, share: bool = True) -> np.dtype:
    """The NumPy type of an array that is to become a tensor.

    Raises TypeError if it is no array or of a type that tensors cannot hold, ValueError if its byte order is not the
    machine's, and – with ``share``, as in ``torch.from_numpy`` – if a stride is negative or no multiple of the item
    size.
    """
    if not isinstance(array, np.ndarray):
        kind = type(array)
        raise TypeError(f"expected np.ndarray (got {'numpy.' if issubclass(kind, np.generic) else ''}{kind.__name__})")
    np_dtype = array.dtype
    if not np_dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion between byte orders is "
            f"currently not supported. Its type is {np_dtype}: use array.astype(array.dtype.newbyteorder('='))."
        )
    found = from_numpy_dtype(np_dtype).numpy
    if share and array.size:
        for stride in array.strides:
            if stride < 0:
                raise ValueError(
                    "At least one stride in the given numpy array is negative, and tensors with negative strides are "
                    f"not currently supported. Its strides are {array.strides}: use array.copy()."
                )
            if stride % np_dtype.itemsize:
                raise ValueError(
                    "given numpy array strides not a multiple of the element byte size. Copy the numpy array to "
                    f"reallocate the memory. Its strides are {array.strides}, its elements {np_dtype.itemsize} bytes."
                )
    return found


# -- anything -> host array -----------------------------------------------------------------------------------------


def infer_dtype(obj: Any) -> np.dtype:
    """The NumPy type of the tensor that ``torch.tensor(obj)`` makes.

    Python ints become int64, floats the default dtype, complex numbers the default complex dtype, bools bool; NumPy
    scalars, arrays and tensors keep their type; a sequence has the promoted type of its items, an empty one the default
    dtype. Raises RuntimeError for objects that are no numbers, TypeError for strings.
    """
    kind = type(obj)
    if kind in _NUMBERS:
        return _number_dtype({kind})
    if isinstance(obj, (str, bytes)):
        _refuse_text(obj)
    if isinstance(obj, np.ndarray):
        return check_from_numpy(obj, share=False)
    if isinstance(obj, np.generic):
        return from_numpy_dtype(obj.dtype).numpy
    if _is_tensor(obj):
        return obj.dtype.numpy
    if _is_array(obj):
        return from_numpy_dtype(obj.dtype).numpy
    if isinstance(obj, (bool, int, float, complex)):  # subclasses, such as enum members
        return _number_dtype({bool if isinstance(obj, bool) else int if isinstance(obj, int) else type(_plain(obj))})
    if not _is_sequence(obj):
        raise RuntimeError(
            f"Could not infer dtype of {kind.__name__}: expected a number, a nested sequence of numbers, a NumPy array "
            "or a tensor"
        )
    kinds = set(map(type, obj))
    if kinds and kinds <= _NUMBERS:
        return _number_dtype(kinds)
    found: np.dtype | None = None
    for item in obj:
        if item is obj:
            raise TypeError("new(): self-referential lists are incompatible")
        item_dtype = infer_dtype(item)
        found = item_dtype if found is None else promote_numpy(found, item_dtype)
    return _dtype.default.numpy if found is None else found


def of_numbers(obj: Any) -> bool:
    """Whether ``obj`` is a Python number, or lists and tuples of them."""
    return type(obj) in _NUMBERS or type(obj) in (list, tuple) and all(map(of_numbers, obj))


def host_copy(obj: Any, np_dtype: np.dtype | None = None) -> np.ndarray:
    """``obj`` as a NumPy array in memory of its own: the data of ``torch.tensor(obj, dtype=np_dtype)``.

    obj:       a number, a nested sequence of numbers, NumPy scalars, arrays or one-element tensors, or an array.
    np_dtype:  type of the result; by default that of ``infer_dtype(obj)``.

    Raises ValueError for ragged sequences and integers beyond int64; RuntimeError for objects that are no numbers and
    for values that the given integer type cannot hold; TypeError for strings and for complex numbers where reals are
    asked for. Arrays are cast without range checks, as in PyTorch. Negative strides are accepted (PyTorch: not).
    """
    kind = type(obj)
    if kind is np.ndarray or isinstance(obj, np.ndarray):
        check_from_numpy(obj, share=False)
        return aligned_copy(obj, np_dtype)
    if kind in _NUMBERS:
        return _from_numbers([obj], {kind}, (), np_dtype)
    if kind is list or kind is tuple:
        shape, level = [len(obj)], obj
        while True:
            kinds = set(map(type, level))
            if kinds <= _NUMBERS:
                if not kinds:
                    return aligned_empty(shape, _dtype.default.numpy if np_dtype is None else np_dtype)
                return _from_numbers(level, kinds, tuple(shape), np_dtype)
            if not kinds <= {list, tuple}:
                break
            lengths = set(map(len, level))
            if len(lengths) > 1 or len(shape) == _MAX_DIMS:
                break  # an error, or zero-length rows: the careful way finds which
            shape.append(lengths.pop())
            level = list(chain.from_iterable(level))
        if len(kinds) == 1 and issubclass(next(iter(kinds)), np.generic):
            own = from_numpy_dtype(level[0].dtype).numpy
            if np_dtype is None or np_dtype == own:
                return aligned_copy(np.array(level, own)).reshape(shape)
        if kinds == {np.ndarray} and len({array.shape for array in level}) == 1:
            return _from_arrays(level, tuple(shape), np_dtype)
    return _carefully(obj, np_dtype)


_MANY_ARRAYS = (
    "Creating a tensor from a list of numpy.ndarrays is extremely slow. Please consider converting the list to a "
    "single numpy.ndarray with numpy.array() first."
)


def _from_arrays(arrays: Sequence[np.ndarray], outer: tuple[int, ...], np_dtype: np.dtype | None) -> np.ndarray:
    """Equally shaped arrays under each other, with their promoted type."""
    if arrays[0].ndim:
        warn_once(_MANY_ARRAYS)
    if np_dtype is None:
        for array in arrays:
            found = check_from_numpy(array, share=False)
            np_dtype = found if np_dtype is None else promote_numpy(np_dtype, found)
    out = aligned_empty((len(arrays), *arrays[0].shape), np_dtype)
    for row, array in zip(out, arrays, strict=True) if out.ndim > 1 else ():
        row[...] = cast_host(array, np_dtype)
    if out.ndim == 1:
        out[...] = [cast_host(array, np_dtype) for array in arrays]
    return out.reshape((*outer, *arrays[0].shape))


# -- numbers --------------------------------------------------------------------------------------------------------


def _number_dtype(kinds: Iterable[type]) -> np.dtype:
    """Type of a tensor of Python numbers of these types."""
    if complex in kinds:
        return get_default_complex_dtype().numpy
    if float in kinds:
        return _dtype.default.numpy
    return _INT64 if int in kinds else _BOOL


def _from_numbers(
    flat: Sequence[Any], kinds: set[type], shape: tuple[int, ...], np_dtype: np.dtype | None
) -> np.ndarray:
    """An array of the given shape from Python numbers of the given types (int, bool, float, complex exactly)."""
    if np_dtype is None:
        np_dtype = _number_dtype(kinds)
    kind = np_dtype.kind
    out = aligned_empty((len(flat),), np_dtype)
    if kind == "b":
        out[...] = flat if kinds == {bool} else list(map(bool, flat))
    elif kind in "iu":
        if complex in kinds:
            raise TypeError("'complex' object cannot be interpreted as an integer")
        if float in kinds:
            _fill_from_floats(out, flat, kinds)
        else:
            _fill_from_ints(out, flat)
    elif kind == "c":
        with np.errstate(over="ignore"):
            out[...] = flat
    else:
        if complex in kinds:
            raise TypeError(f"must be real number, not complex (dtype {np_dtype} was asked for)")
        with np.errstate(over="ignore"):
            if np_dtype.itemsize >= 4:
                out[...] = flat
            else:
                out[...] = cast_host(np.array(flat, _FLOAT64), np_dtype)
    return out.reshape(shape)


def _fill_from_ints(out: np.ndarray, flat: Sequence[int]) -> None:
    """Python ints into an integer array. Unsigned types other than uint64 take negatives modulo their size."""
    np_dtype = out.dtype
    if np_dtype == _UINT64:
        low, high = min(flat), max(flat)
        if low < 0:
            raise OverflowError(f"can't convert negative int to unsigned: {low} as torch.uint64")
        if high >= 2**64:
            raise OverflowError(f"int too big to convert: {high} as torch.uint64")
        out[...] = flat
        return
    try:
        if np_dtype == _INT64:
            out[...] = flat
            return
        wide = np.array(flat, _INT64)
    except OverflowError:
        worst = max(flat, key=abs)
        raise ValueError(
            f"Overflow when unpacking long long: {worst} does not fit int64; ask for a floating-point dtype"
        ) from None
    limits = np.iinfo(np_dtype)
    low = -limits.max if np_dtype.kind == "u" else limits.min
    if wide.min() < low or wide.max() > limits.max:
        _refuse_value(wide[(wide < low) | (wide > limits.max)][0], np_dtype)
    out[...] = wide.astype(np_dtype)


def _fill_from_floats(out: np.ndarray, flat: Sequence[float], kinds: set[type]) -> None:
    """Python floats, possibly among ints, into an integer array: cut towards zero, if in range."""
    np_dtype = out.dtype
    if np_dtype == _UINT64:
        raise TypeError("an integer is required for dtype torch.uint64, got float")
    if kinds != {float}:
        for i, value in enumerate(flat):
            place = out[i : i + 1]
            if type(value) is float:
                _fill_from_floats(place, [value], {float})
            else:
                _fill_from_ints(place, [value])
        return
    wide = np.array(flat, _FLOAT64)
    limits = np.iinfo(np_dtype)
    # The largest int64 is no double: 2**63 itself is the first that does not fit.
    fits = (wide >= limits.min) & ((wide < 2.0**63) if np_dtype == _INT64 else (wide <= limits.max))
    if not fits.all():
        _refuse_value(wide[~fits][0], np_dtype)
    out[...] = wide.astype(np_dtype)


def _refuse_value(value: Any, np_dtype: np.dtype) -> NoReturn:
    raise RuntimeError(f"value cannot be converted to type {np_dtype.name} without overflow: {value.item()!r}")


# -- the careful way: any sequence, any items ------------------------------------------------------------------------


def _carefully(obj: Any, np_dtype: np.dtype | None) -> np.ndarray:
    """``host_copy`` for what its quick ways do not cover, item by item; finds what is wrong with wrong input."""
    if isinstance(obj, (str, bytes)):
        _refuse_text(obj)
    if isinstance(obj, np.generic):
        # Values of one NumPy scalar are range-checked like Python numbers, unlike arrays.
        own = from_numpy_dtype(obj.dtype).numpy
        if np_dtype is None or np_dtype == own:
            return np.array(obj, own)
    elif _is_tensor(obj):
        return aligned_copy(np.asarray(obj.detach().cpu().numpy()), np_dtype)
    elif _is_array(obj):
        return host_copy(np.asarray(obj), np_dtype)
    sizes = _sizes(obj)
    if np_dtype is None:
        np_dtype = infer_dtype(obj)
    convert = _CONVERTERS.get(np_dtype.kind, _to_float)
    flat: list[Any] = []
    _flatten(obj, sizes, 0, convert, flat)
    if not flat:
        return aligned_empty(sizes, np_dtype)
    return _from_numbers(flat, set(map(type, flat)), tuple(sizes), np_dtype)


def _sizes(obj: Any) -> list[int]:
    """Lengths along the first items of nested sequences."""
    sizes: list[int] = []
    while _is_sequence(obj):
        if isinstance(obj, str) or len(sizes) == _MAX_DIMS:
            raise ValueError(f"too many dimensions '{type(obj).__name__}'")
        if isinstance(obj, np.ndarray):
            sizes.extend(obj.shape)
            break
        sizes.append(len(obj))
        if not sizes[-1]:
            break
        try:
            obj = obj[0]
        except KeyError:  # a table, whose items are columns with names
            raise ValueError(
                f"could not determine the shape of object type '{type(obj).__name__}': give an array of its values"
            ) from None
    return sizes


def _flatten(obj: Any, sizes: Sequence[int], dim: int, convert: Any, flat: list[Any]) -> None:
    """Append the items below ``obj``, which is to have the sizes from ``dim`` on, to ``flat``."""
    if dim == len(sizes):
        flat.append(convert(_plain(obj, convert)))
        return
    if not _is_sequence(obj):
        raise TypeError(
            f"not a sequence: expected one of length {sizes[dim]} at dim {dim}, got {type(obj).__name__} {obj!r:.60}"
        )
    if len(obj) != sizes[dim]:
        raise ValueError(f"expected sequence of length {sizes[dim]} at dim {dim} (got {len(obj)})")
    if isinstance(obj, np.ndarray) and dim:
        warn_once(_MANY_ARRAYS)
    if isinstance(obj, np.ndarray) and obj.ndim == len(sizes) - dim and obj.dtype.kind in "biufc":
        if obj.shape[1:] != tuple(sizes[dim + 1 :]):
            raise ValueError(f"expected an array of shape {tuple(sizes[dim:])} at dim {dim} (got {obj.shape})")
        flat.extend(map(convert, obj.ravel().tolist()))
        return
    for i in range(len(obj)):
        _flatten(obj[i], sizes, dim + 1, convert, flat)


def _plain(item: Any, convert: Any = None) -> Any:
    """One item as a Python number where it stands for one; other objects as they are, for the converters to judge."""
    if type(item) in _NUMBERS:
        return item
    if isinstance(item, np.generic) or (isinstance(item, np.ndarray) and item.ndim == 0):
        value = item.item()
        if type(value) not in _NUMBERS and item.dtype.kind == "V":
            value = float(value)  # bfloat16, float8
        if type(value) is float and not isinstance(item, float):
            return _NarrowFloat(value)
        return value
    if _is_tensor(item):
        if item.numel() != 1:
            # Two types for one mistake, as in PyTorch, which asks the tensor for an index or for a number.
            error = TypeError if convert in (_to_int, _to_bool) else ValueError
            raise error(
                f"only one element tensors can be converted to Python scalars, got one of shape {list(item.shape)}; "
                "use torch.stack for a list of tensors"
            )
        value = item.item()
        return _NarrowFloat(value) if type(value) is float else value
    for number in (bool, int, float, complex):
        if isinstance(item, number):
            return number(item)
    return item


class _NarrowFloat(float):
    """A float that came from a NumPy scalar other than float64, or a tensor: PyTorch will not cut it to an integer."""

    __slots__ = ()


def _to_int(item: Any) -> int | float:
    if type(item) in _REAL:
        return item
    if type(item) is _NarrowFloat:
        raise TypeError(
            f"{float(item)!r} from a NumPy scalar or tensor cannot be interpreted as an integer; convert it"
        )
    try:
        return operator.index(item)
    except TypeError:
        raise TypeError(f"'{type(item).__name__}' object cannot be interpreted as an integer") from None


def _to_bool(item: Any) -> bool:
    if isinstance(item, (bool, int, float, complex)):
        return bool(item)
    return bool(_to_int(item))


def _to_float(item: Any) -> float | int:
    if type(item) in _REAL:
        return item
    if isinstance(item, (complex, str, bytes, type)) or not (hasattr(item, "__float__") or hasattr(item, "__index__")):
        raise TypeError(f"must be real number, not {type(item).__name__}")
    return float(item)


def _to_complex(item: Any) -> complex:
    return complex(item) if isinstance(item, complex) else complex(_to_float(item))


_CONVERTERS = {"b": _to_bool, "i": _to_int, "u": _to_int, "c": _to_complex}


def _refuse_text(obj: str | bytes) -> NoReturn:
    raise TypeError(f"new(): invalid data type '{type(obj).__name__}'; a tensor holds numbers, got {obj!r:.60}")


def _is_tensor(obj: Any) -> bool:
    # By its methods: this module lies below the one that defines Tensor.
    kind = type(obj)
    return hasattr(kind, "detach") and hasattr(kind, "numel") and hasattr(kind, "item")


def _is_array(obj: Any) -> bool:
    """Whether it is another library's array (a jax.Array, a pandas Series): convertible, with a type and a shape."""
    kind = type(obj)
    if isinstance(obj, (np.ndarray, np.generic)) or not hasattr(kind, "__array__"):
        return False
    return hasattr(obj, "dtype") and hasattr(obj, "shape")


def _is_sequence(obj: Any) -> bool:
    kind = type(obj)
    if kind is list or kind is tuple or kind is str:
        return True
    if isinstance(obj, (dict, np.generic)) or _is_tensor(obj):
        return False
    if isinstance(obj, np.ndarray):
        return obj.ndim > 0
    return hasattr(kind, "__getitem__") and hasattr(kind, "__len__")
