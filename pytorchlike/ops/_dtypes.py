"""What dtypes are called, of what kind they are, and the refusal of those that an operator does not take."""

from typing import Any

import jax.numpy as jnp
import numpy as np


def type_name(dtype: Any) -> str:
    """PyTorch's name of a dtype in its messages: ``Float`` for float32."""
    from ..tensor.dtype import from_numpy_dtype  # which is above the operators; only errors ask

    return from_numpy_dtype(dtype)._c10


_C_NAMES = {
    "bool": "bool", "uint8": "unsigned char", "int8": "signed char", "int16": "short", "int32": "int",
    "int64": "long int", "float16": "c10::Half", "bfloat16": "c10::BFloat16", "float32": "float",
    "float64": "double", "complex64": "c10::complex<float>", "complex128": "c10::complex<double>",
}  # fmt: skip


def c_name(dtype: Any) -> str:
    """The name in C++ of a dtype, which some of PyTorch's messages have."""
    return _C_NAMES.get(str(dtype), str(dtype))


def is_float(dtype: np.dtype) -> bool:
    """Real floating point, bfloat16 included."""
    return jnp.issubdtype(dtype, jnp.floating)


def is_complex(dtype: np.dtype) -> bool:
    """Complex floating point."""
    return jnp.issubdtype(dtype, jnp.complexfloating)


def is_inexact(dtype: np.dtype) -> bool:
    """Real or complex floating point."""
    return jnp.issubdtype(dtype, jnp.inexact)


def real_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of the real part."""
    return np.finfo(dtype).dtype if is_complex(dtype) else np.dtype(dtype)


def is_boolean(dtype: np.dtype) -> bool:
    """Truth values."""
    return dtype == np.bool_


def is_integral(dtype: np.dtype) -> bool:
    """Integers; truth values are not."""
    return jnp.issubdtype(dtype, np.integer)


def is_number(x: Any) -> bool:
    """Whether an operand is a Python number (or a weakly typed array that stands for one)."""
    return isinstance(x, (bool, int, float, complex)) or bool(getattr(x, "weak_type", False))


def refuse(name: str, *arrays: Any, kinds: str, advice: str = "") -> None:
    """Raise NotImplementedError if an array is of a kind in `kinds`: b(ool), i(nteger), f(loating), c(omplex)."""
    for x in arrays:
        kind = "c" if is_complex(x.dtype) else "f" if is_float(x.dtype) else "b" if is_boolean(x.dtype) else "i"
        if kind in kinds:
            tail = f"; {advice}" if advice else ""
            raise NotImplementedError(f'"{name}" not implemented for {type_name(x.dtype)!r}{tail}')


def same_dtype(name: str, **arrays: Any) -> None:
    """Raise RuntimeError unless all arrays have one dtype, for the operators that do not promote."""
    (first, head), *rest = arrays.items()
    for other, x in rest:
        if x.dtype != head.dtype:
            raise RuntimeError(
                f"{name}: expected {other} to have the dtype of {first} ({type_name(head.dtype)}), but found "
                f"{type_name(x.dtype)}; convert one of them with .to()"
            )
