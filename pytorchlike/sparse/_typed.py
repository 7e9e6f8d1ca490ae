"""The typed constructors of old: ``torch.sparse.FloatTensor(indices, values, size)`` and its kin."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ..tensor import dtype as d
from ._create import sparse_coo_tensor
from ._tensor import SparseTensor


class _Typed(type):
    """Class of ``torch.sparse.FloatTensor`` and its kin: they make, and know, COO tensors of one dtype on the CPU."""

    dtype: Any

    def __call__(cls, *args: Any) -> SparseTensor:
        if not args:
            return sparse_coo_tensor((0,), dtype=cls.dtype)
        if len(args) > 1 and isinstance(args[1], Tensor) and args[1].dtype is not cls.dtype:
            raise TypeError(f"torch.sparse.{cls.__name__}: values must be {cls.dtype}, but got {args[1].dtype}")
        return sparse_coo_tensor(*args, dtype=cls.dtype)

    def __instancecheck__(cls, instance: Any) -> bool:
        return (isinstance(instance, SparseTensor) and instance.layout is d.sparse_coo and instance.dtype is cls.dtype
                and instance.device.type == "cpu")  # fmt: skip


TYPES = {
    f"{name}Tensor": _Typed(f"{name}Tensor", (), {
        "dtype": dtype, "__module__": "torch.sparse", "__doc__": f"``torch.sparse_coo_tensor`` of {dtype}.",
    })
    for name, dtype in d.OLD_TYPES.items() if dtype is not d.bool_ and not dtype.is_complex
}  # fmt: skip
