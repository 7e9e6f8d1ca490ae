"""Element types: ``torch.float32`` and its kin, ``finfo``/``iinfo``, memory formats, layouts, and type promotion.

Every dtype is one immutable object per process. ``dtype.numpy`` is the NumPy type that holds the same bits (ml_dtypes
supplies bfloat16 and the float8 family). Types of less than a byte are names only, without tensors, and so is
``complex32``: JAX has no half-precision complex arithmetic. Where PyTorch would answer it, we answer ``complex64``.

The names ``bool``, ``int`` and ``float`` would hide Python's own here; they are called ``bool_``, ``int_`` and
``float_`` in this module, and ``NAMES`` lists every dtype under its public name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NoReturn

import ml_dtypes
import numpy as np

__all__ = ["NAMES", "can_cast", "dtype", "finfo", "get_default_dtype", "iinfo", "promote_types", "set_default_dtype"]


class dtype:
    """The type of a tensor's elements. One object per type, compared by identity; cannot be created by the user.

    Attributes: ``numpy`` (np.dtype), ``is_floating_point``, ``is_complex``, ``is_signed`` (bool), ``itemsize`` (bytes).
    """

    __slots__ = ("_c10", "_name", "is_complex", "is_floating_point", "is_signed", "itemsize", "numpy")

    numpy: np.dtype
    is_floating_point: bool
    is_complex: bool
    is_signed: bool
    itemsize: int

    def __new__(cls, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError("cannot create 'torch.dtype' instances")

    def __getattr__(self, name: str) -> NoReturn:
        if name == "numpy":  # not set: of what is a name only
            why = "JAX has no complex numbers of half precision" if self.is_complex else "elements are whole bytes here"
            raise NotImplementedError(
                f"torch.{self._name}: {why}, so there are no such tensors; use "
                f"torch.{'complex64' if self.is_complex else 'int8 or torch.uint8'}"
            )
        raise AttributeError(f"'torch.dtype' object has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"attribute {name!r} of 'torch.dtype' objects is not writable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"attribute {name!r} of 'torch.dtype' objects is not writable")

    def __repr__(self) -> str:
        return f"torch.{self._name}"

    def __reduce__(self) -> tuple[Callable[[str], dtype], tuple[str]]:
        return _by_name, (self._name,)

    def __copy__(self) -> dtype:
        return self

    def __deepcopy__(self, memo: dict) -> dtype:
        return self

    def to_real(self) -> dtype:
        """The type of the real part: complex64 -> float32, complex128 -> float64; every other type is itself."""
        return {complex64: float32, complex128: float64, complex32: float16}.get(self, self)

    def to_complex(self) -> dtype:
        """The complex type whose parts have this precision.

        float64 gives complex128; float32 and the half types complex64 (PyTorch: complex32 for float16); complex types
        themselves. Raises RuntimeError for every other type.
        """
        if self.is_complex:
            return self
        if self is float64:
            return complex128
        if self in (float32, float16, bfloat16):
            return complex64
        raise RuntimeError(f"Unknown Complex ScalarType for {self._c10}")


def _by_name(name: str) -> dtype:
    """Restore a pickled dtype as the singleton of that name."""
    return NAMES[name]


_CANONICAL: dict[str, dtype] = {}
_QUANTISED: dict[str, dtype] = {}
_FROM_NUMPY: dict[np.dtype, dtype] = {}


def _make(name: str, numpy: object, c10: str, plain: bool = True) -> dtype:
    """Create the singleton; ``c10`` is the name that PyTorch's messages use (Float, Byte, …).

    plain: whether arrays of the NumPy type have it.
    """
    self = object.__new__(dtype)
    np_dtype = np.dtype(numpy)  # type: ignore[call-overload]
    is_float = name.startswith(("float", "bfloat"))
    fields = {
        "_name": name,
        "_c10": c10,
        "numpy": np_dtype,
        "is_floating_point": is_float,
        "is_complex": name.startswith("complex"),
        "is_signed": not name.startswith(("uint", "quint", "bool")) and name != "float8_e8m0fnu",
        "itemsize": np_dtype.itemsize,
    }
    for key, value in fields.items():
        object.__setattr__(self, key, value)
    (_CANONICAL if plain else _QUANTISED)[name] = self
    if plain:
        _FROM_NUMPY[np_dtype] = self
    return self


float16 = half = _make("float16", np.float16, "Half")
bfloat16 = _make("bfloat16", ml_dtypes.bfloat16, "BFloat16")
float32 = float_ = _make("float32", np.float32, "Float")
float64 = double = _make("float64", np.float64, "Double")
float8_e4m3fn = _make("float8_e4m3fn", ml_dtypes.float8_e4m3fn, "Float8_e4m3fn")
float8_e5m2 = _make("float8_e5m2", ml_dtypes.float8_e5m2, "Float8_e5m2")
float8_e4m3fnuz = _make("float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz, "Float8_e4m3fnuz")
float8_e5m2fnuz = _make("float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz, "Float8_e5m2fnuz")
float8_e8m0fnu = _make("float8_e8m0fnu", ml_dtypes.float8_e8m0fnu, "Float8_e8m0fnu")
uint8 = _make("uint8", np.uint8, "Byte")
uint16 = _make("uint16", np.uint16, "UInt16")
uint32 = _make("uint32", np.uint32, "UInt32")
uint64 = _make("uint64", np.uint64, "UInt64")
int8 = _make("int8", np.int8, "Char")
int16 = short = _make("int16", np.int16, "Short")
int32 = int_ = _make("int32", np.int32, "Int")
int64 = long = _make("int64", np.int64, "Long")
bool_ = _make("bool", np.bool_, "Bool")
complex64 = cfloat = _make("complex64", np.complex64, "ComplexFloat")
complex128 = cdouble = _make("complex128", np.complex128, "ComplexDouble")

#: Integers with a scale and a zero point (`tensor/quantized.py`); the NumPy type is the integers'.
qint8 = _make("qint8", np.int8, "QInt8", False)
quint8 = _make("quint8", np.uint8, "QUInt8", False)
qint32 = _make("qint32", np.int32, "QInt32", False)


def _name_only(name: str, c10: str, signed: bool = True, itemsize: int = 1) -> dtype:
    """A dtype that programs compare with and list, without tensors."""
    self = object.__new__(dtype)
    fields = {
        "_name": name, "_c10": c10, "is_floating_point": name.startswith("float"),
        "is_complex": name.startswith("complex"), "is_signed": signed, "itemsize": itemsize,
    }  # fmt: skip
    for key, value in fields.items():
        object.__setattr__(self, key, value)
    return self


complex32 = chalf = _name_only("complex32", "ComplexHalf", itemsize=4)
_PARTS_OF_BYTES = {
    **{f"uint{n}": _name_only(f"uint{n}", f"UInt{n}", False) for n in range(1, 8)},
    **{f"int{n}": _name_only(f"int{n}", f"Int{n}") for n in range(1, 8)},
    **{name: _name_only(name, f"QU{name[2:].capitalize()}", False) for name in ("quint4x2", "quint2x4")},
    **{f"bits{n}": _name_only(f"bits{n}", f"Bits{n}", False, 2 if n == "16" else 1)
       for n in ("1x8", "2x4", "4x2", "8", "16")},
    "float4_e2m1fn_x2": _name_only("float4_e2m1fn_x2", "Float4_e2m1fn_x2"),
}  # fmt: skip

#: Every public dtype name, aliases included, as it appears in the ``torch`` namespace.
NAMES: dict[str, dtype] = {
    **_CANONICAL,
    **_QUANTISED,
    **_PARTS_OF_BYTES,
    "bit": _PARTS_OF_BYTES["uint1"],
    "complex32": complex32,
    "chalf": complex32,
    "half": float16,
    "float": float32,
    "double": float64,
    "short": int16,
    "int": int32,
    "long": int64,
    "cfloat": complex64,
    "cdouble": complex128,
}

#: By the names that ``torch.FloatTensor``, ``torch.FloatStorage`` and their kin have for them.
OLD_TYPES: dict[str, dtype] = {
    kind._c10: kind
    for kind in (float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, bool_, complex128, complex64)
}

_FROM_PYTHON: dict[type, dtype] = {float: float64, int: int64, bool: bool_, complex: complex128}


# -- conversions ----------------------------------------------------------------------------------------------------


def from_numpy_dtype(np_dtype: object) -> dtype:
    """The dtype of arrays of NumPy type ``np_dtype`` (anything ``np.dtype`` accepts).

    Raises TypeError for types that tensors cannot hold (strings, objects, dates, long double, structures).
    """
    try:
        return _FROM_NUMPY[np_dtype]  # type: ignore[index]
    except (KeyError, TypeError):
        found = _FROM_NUMPY.get(np.dtype(np_dtype).newbyteorder("="))  # type: ignore[call-overload]
    if found is None:
        np_type = np.dtype(np_dtype).type  # type: ignore[call-overload]
        raise TypeError(
            f"can't convert np.ndarray of type {np_type.__module__}.{np_type.__name__}. "
            "The only supported types are: float64, float32, float16, complex64, complex128, int64, int32, int16, "
            "int8, uint64, uint32, uint16, uint8, and bool, and bfloat16 and float8 of ml_dtypes."
        )
    return found


def as_dtype(given: object, where: str = "dtype conversion") -> dtype:
    """A dtype argument as a dtype: itself, or Python's float (-> float64), int (int64), bool or complex (complex128).

    ``where`` names the calling function in the TypeError raised for anything else.
    """
    if type(given) is dtype:
        return given
    found = _FROM_PYTHON.get(given) if isinstance(given, type) else None
    if found is None:
        hint = ""
        if isinstance(given, (np.dtype, str)) or (isinstance(given, type) and issubclass(given, np.generic)):
            try:
                hint = f"; did you mean {from_numpy_dtype(given)!r}?"
            except TypeError:
                hint = ""
        raise TypeError(f"{where}(): argument 'dtype' must be torch.dtype, not {type(given).__name__}{hint}")
    return found


def to_numpy_dtype(given: dtype | type | None) -> np.dtype | None:
    """The NumPy type behind a dtype argument; None stays None. Raises TypeError if it is no dtype."""
    if type(given) is dtype:
        return given.numpy
    return None if given is None else as_dtype(given).numpy


# -- default dtype --------------------------------------------------------------------------------------------------

#: The current default floating-point dtype. Change it with ``set_default_dtype`` only, so that subscribers hear of it.
default: dtype = float32
_subscribers: list[Callable[[dtype], None]] = []


def subscribe(callback: Callable[[dtype], None]) -> None:
    """Call ``callback(dtype)`` now and whenever the default dtype changes."""
    _subscribers.append(callback)
    callback(default)


def get_default_dtype() -> dtype:
    """The dtype that Python floats become: float32 unless ``set_default_dtype`` changed it."""
    return default


def set_default_dtype(d: dtype) -> None:
    """Let Python floats become ``d``: float16, bfloat16, float32 or float64. Raises TypeError for other types."""
    global default
    if type(d) is not dtype:
        raise TypeError("invalid dtype object: only floating-point types are supported as the default type")
    if d not in (float16, bfloat16, float32, float64):
        raise TypeError(
            f"only floating-point types are supported as the default type, got {d!r}; "
            "choose torch.float32, torch.float64, torch.bfloat16 or torch.float16"
        )
    default = d
    for callback in _subscribers:
        callback(d)


def get_default_complex_dtype() -> dtype:
    """The dtype that Python complex numbers become: complex128 if the default dtype is float64, else complex64."""
    return complex128 if default is float64 else complex64


# -- finfo, iinfo ---------------------------------------------------------------------------------------------------


class _Info:
    """What ``finfo`` and ``iinfo`` share: read-only attributes, a repr of them, equality by dtype, no hash."""

    __slots__ = ("bits", "dtype", "max", "min")
    _shown: tuple[str, ...] = ()

    def _fill(self, **fields: object) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"attribute {name!r} of 'torch.{type(self).__name__}' objects is not writable")

    def __eq__(self, other: object) -> bool:
        return self.dtype == other.dtype if type(other) is type(self) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        numbers = [f"{name}={float(getattr(self, name)):g}" for name in self._shown]
        return f"{type(self).__name__}({', '.join(numbers)}, dtype={self.dtype})"

    def __reduce__(self) -> tuple[type, tuple[dtype]]:
        return type(self), (_CANONICAL[self.dtype],)


class finfo(_Info):
    """Limits of a floating-point type (of the real part for a complex type; of the default dtype without argument).

    Attributes: bits, eps, max, min, smallest_normal, tiny (the same), resolution (10 ** -decimal digits), dtype (str).
    Raises TypeError for integer types.
    """

    __slots__ = ("eps", "resolution", "smallest_normal", "tiny")
    _shown = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")

    eps: float
    max: float
    min: float
    bits: int
    resolution: float
    smallest_normal: float
    tiny: float
    dtype: str

    def __init__(self, type: dtype | None = None) -> None:
        d = default if type is None else _info_argument("finfo", type)
        if not (d.is_floating_point or d.is_complex):
            raise TypeError(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle 'torch.finfo' of "
                f"{d!r}"
            )
        real = d.to_real()
        info = ml_dtypes.finfo(real.numpy)  # float8_e5m2fnuz: eps is its true 2 ** -2, where PyTorch says 2 ** -3
        # Decimal digits that survive a round trip through p significant bits: floor((p - 1) * log10(2)). PyTorch's
        # float8 resolution is 1, that is, none.
        digits = 0 if real.itemsize == 1 else math.floor(int(info.nmant) * math.log10(2))
        smallest = float(info.smallest_normal)
        self._fill(
            bits=real.itemsize * 8,
            eps=float(info.eps),
            max=float(info.max),
            min=float(info.min),
            resolution=float(f"1e-{digits}"),
            smallest_normal=smallest,
            tiny=smallest,
            dtype=real._name,
        )


class iinfo(_Info):
    """Limits of an integer type: bits, min, max (Python ints), dtype (str). Raises TypeError for other types."""

    __slots__ = ()
    _shown = ("min", "max")

    bits: int
    max: int
    min: int
    dtype: str

    def __init__(self, type: dtype) -> None:
        d = _info_argument("iinfo", type)
        if d is bool_:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        if d.is_floating_point or d.is_complex:
            raise TypeError(
                f"torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.iinfo' of {d!r}"
            )
        info = np.iinfo(d.numpy)
        self._fill(bits=d.itemsize * 8, min=int(info.min), max=int(info.max), dtype=d._name)


def _info_argument(name: str, given: object) -> dtype:
    if type(given) is dtype:
        return given
    found = _FROM_PYTHON.get(given) if isinstance(given, type) else None
    if found is None:
        raise TypeError(f"{name}(): argument 'type' (position 1) must be torch.dtype, not {type(given).__name__}")
    return found


# -- memory formats and layouts -------------------------------------------------------------------------------------


class _Named:
    """A fixed set of named constants, one object per name."""

    __slots__ = ("_name",)
    _known: ClassVar[dict[str, Any]]

    def __new__(cls, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError(f"cannot create 'torch.{cls.__name__}' instances")

    @classmethod
    def _create(cls, name: str) -> Any:
        self = object.__new__(cls)
        object.__setattr__(self, "_name", name)
        cls._known[name] = self
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"'torch.{type(self).__name__}' objects are immutable")

    def __repr__(self) -> str:
        return f"torch.{self._name}"

    def __reduce__(self) -> tuple[Callable[[str, str], Any], tuple[str, str]]:
        return _named, (type(self).__name__, self._name)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict) -> Any:
        return self


class memory_format(_Named):
    """How a tensor asks its elements to be ordered in memory (``torch.channels_last`` and its kin)."""

    __slots__ = ()
    _known: ClassVar[dict[str, Any]] = {}


class layout(_Named):
    """How a tensor's elements are stored: ``torch.strided`` (dense) or one of the sparse layouts."""

    __slots__ = ()
    _known: ClassVar[dict[str, Any]] = {}


class qscheme(_Named):
    """How a quantised tensor's scales belong to its elements."""

    __slots__ = ()
    _known: ClassVar[dict[str, Any]] = {}


def _named(kind: str, name: str) -> Any:
    return {"memory_format": memory_format, "layout": layout, "qscheme": qscheme}[kind]._known[name]


contiguous_format = memory_format._create("contiguous_format")
channels_last = memory_format._create("channels_last")
channels_last_3d = memory_format._create("channels_last_3d")
preserve_format = memory_format._create("preserve_format")

strided = layout._create("strided")
sparse_coo = layout._create("sparse_coo")
sparse_csr = layout._create("sparse_csr")
sparse_csc = layout._create("sparse_csc")
sparse_bsr = layout._create("sparse_bsr")
sparse_bsc = layout._create("sparse_bsc")
jagged = layout._create("jagged")

per_tensor_affine = qscheme._create("per_tensor_affine")
per_tensor_symmetric = qscheme._create("per_tensor_symmetric")
per_channel_affine = qscheme._create("per_channel_affine")
per_channel_symmetric = qscheme._create("per_channel_symmetric")
per_channel_affine_float_qparams = qscheme._create("per_channel_affine_float_qparams")


# -- promotion ------------------------------------------------------------------------------------------------------

_BOOL, _INTEGER, _FLOAT, _COMPLEX = range(4)
_UNSIGNED = (uint16, uint32, uint64)
_INTEGERS = (int8, int16, int32, int64)  # by width


def _category(d: dtype) -> int:
    if d is bool_:
        return _BOOL
    return _COMPLEX if d.is_complex else _FLOAT if d.is_floating_point else _INTEGER


def _promote(a: dtype, b: dtype) -> dtype:
    """The smallest type that holds both, by PyTorch's table (stated as rules, so that it can be read)."""
    if a is b:
        return a
    for d in (a, b):
        if d.is_floating_point and d.itemsize == 1:
            raise RuntimeError(
                f"Promotion for Float8 Types is not supported, attempted to promote {a._c10} and {b._c10}; "
                "convert with .to(torch.float32) first"
            )
    low, high = sorted((a, b), key=_category)
    if _category(low) < _category(high):
        if high in _UNSIGNED or (low in _UNSIGNED and high.is_complex):
            _refuse_unsigned(a, b)
        if high.is_complex and low is float64:
            return complex128
        return high  # an integer never widens a float, and a bool never widens anything
    if a in _UNSIGNED or b in _UNSIGNED:
        _refuse_unsigned(a, b)
    if high is complex128 or low is complex128:
        return complex128
    if a.is_floating_point:
        if a.itemsize != b.itemsize:
            return max(a, b, key=lambda d: d.itemsize)
        return float32  # float16 with bfloat16: neither holds the other
    if uint8 in (a, b):
        other = b if a is uint8 else a
        return int16 if other is int8 else other
    return max(a, b, key=_INTEGERS.index)


def _refuse_unsigned(a: dtype, b: dtype) -> NoReturn:
    raise RuntimeError(
        f"Promotion for uint16, uint32, uint64 types is not supported, attempted to promote {a._c10} and {b._c10}; "
        "convert one of them first"
    )


_PROMOTED: dict[tuple[np.dtype, np.dtype], np.dtype] = {}
for _a in _FROM_NUMPY.values():
    for _b in _FROM_NUMPY.values():
        try:
            _PROMOTED[_a.numpy, _b.numpy] = _promote(_a, _b).numpy
        except RuntimeError:
            continue  # a pair that has no common type: _promote says why when it is asked for


def promote_numpy(a: np.dtype, b: np.dtype) -> np.dtype:
    """``promote_types`` on NumPy types. Raises RuntimeError for pairs without a common type."""
    try:
        return _PROMOTED[a, b]
    except KeyError:
        return _promote(from_numpy_dtype(a), from_numpy_dtype(b)).numpy


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype to which both can be converted without losing their kind.

    Python's float, int, bool and complex are accepted as in PyTorch. Raises RuntimeError for float8 with another type,
    and for uint16, uint32 or uint64 with another type that is no float.
    """
    a, b = as_dtype(type1, "promote_types"), as_dtype(type2, "promote_types")
    return _FROM_NUMPY[promote_numpy(a.numpy, b.numpy)]


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether an in-place result of type ``from_`` may be stored as ``to``: not if it would lose its category."""
    a, b = as_dtype(from_, "can_cast"), as_dtype(to, "can_cast")
    if a.is_complex and not b.is_complex:
        return False
    if a.is_floating_point and not (b.is_floating_point or b.is_complex):
        return False
    return b is not bool_ or a is bool_


def python_number_dtype(value: complex) -> np.dtype:
    """The NumPy type under which a Python number takes part in promotion (before defaults are applied)."""
    if isinstance(value, bool):
        return bool_.numpy
    if isinstance(value, int):
        return int64.numpy
    return complex128.numpy if isinstance(value, complex) else float64.numpy


def result_type_of(items: Iterable[tuple[np.dtype, int, bool]]) -> np.dtype:
    """Common type of operands, by PyTorch's rules.

    Each item is ``(np_dtype, ndim, is_wrapped_number)``; a wrapped number is a Python number (see
    ``python_number_dtype``) or a tensor made from one. Operands of three ranks – tensors with dimensions, 0-dim
    tensors, wrapped numbers – are promoted within their rank; a lower rank then widens a higher one only if its
    category (bool < integer < float < complex) is higher. Raises RuntimeError for pairs without a common
    type, and for no items.
    """
    dims = zeros = numbers = None
    for np_dtype, ndim, wrapped in items:
        if wrapped:
            if np_dtype.kind == "c":
                np_dtype = get_default_complex_dtype().numpy
            elif np_dtype.kind == "f":
                np_dtype = default.numpy
        if ndim > 0:
            dims = np_dtype if dims is None or dims is np_dtype else promote_numpy(dims, np_dtype)
        elif wrapped:
            numbers = np_dtype if numbers is None or numbers is np_dtype else promote_numpy(numbers, np_dtype)
        else:
            zeros = np_dtype if zeros is None or zeros is np_dtype else promote_numpy(zeros, np_dtype)
    if zeros is None and numbers is None and dims is not None:
        return dims
    result = _combine(dims, _combine(zeros, numbers))
    if result is None:
        raise RuntimeError("result_type: at least one tensor or number is required, got none")
    return result


def _combine(higher: np.dtype | None, lower: np.dtype | None) -> np.dtype | None:
    """Result of two ranks: the higher one's type, unless the lower one's category is above it."""
    if higher is None or lower is None:
        return lower if higher is None else higher
    high, low = _FROM_NUMPY[higher], _FROM_NUMPY[lower]
    if high.is_complex:
        return higher
    if high.is_floating_point:
        # Complex, but of the higher operand's precision.
        return high.to_complex().numpy if low.is_complex else higher
    if low.is_complex:
        return lower  # also for uint16 and wider, which promote_types refuses
    if high is bool_ or low.is_floating_point:
        return promote_numpy(higher, lower)
    return higher
