"""Matrices of which two of each four elements in a row are zero: half of the memory.

``to_sparse_semi_structured(weight)`` gives a tensor that keeps the other two, and where they were. Products with it are
those of the dense matrix, which is made anew for each: XLA has no product for this pattern; memory is saved, not time.
"""

from __future__ import annotations

from typing import Any, Self

from ..tensor import Tensor
from ..tensor import dtype as d
from ..tensor import functions as T
from ..tensor.asking import disabled

__all__ = ["SparseSemiStructuredTensor", "SparseSemiStructuredTensorCUSPARSELT", "SparseSemiStructuredTensorCUTLASS",
           "to_sparse_semi_structured"]  # fmt: skip

_DTYPES = (d.float16, d.bfloat16, d.float32, d.int8)


class SparseSemiStructuredTensor(Tensor):
    """A matrix in the 2:4 pattern; made by :meth:`from_dense`.

    packed: (rows, columns / 2), the elements that are kept.   meta: (rows, columns / 2) uint8, where each was among its
    four.
    """

    __torch_function__ = disabled  # type: ignore[assignment]
    packed: Tensor
    meta: Tensor
    turned: bool

    @staticmethod
    def __new__(cls, shape: Any, packed: Tensor, meta: Tensor, turned: bool = False,
                requires_grad: bool = False) -> Self:  # fmt: skip
        t = Tensor._make_wrapper_subclass(cls, tuple(shape), dtype=packed.dtype, device=packed.device,
                                          requires_grad=requires_grad)  # fmt: skip
        t.packed, t.meta, t.turned = packed, meta, turned
        return t

    @classmethod
    def from_dense(cls, original_tensor: Tensor) -> Self:
        """The pattern of a dense matrix.

        Raises RuntimeError for something that is no matrix, has another dtype than float16, bfloat16, float32 or int8,
        columns that are no multiple of four, or more than two elements in a group of four that are not zero.
        """
        x = original_tensor
        if x.dim() != 2:
            raise RuntimeError(f"Error original_tensor.dim = {x.dim()} is not supported! Only 2d tensors are currently "
                               "supported.")  # fmt: skip
        if x.dtype not in _DTYPES:
            raise RuntimeError(f"Error original_tensor.dtype {x.dtype} is not a supported dtype")
        rows, columns = x.shape
        if columns % 4:
            raise RuntimeError(f"Error original_tensor.shape {tuple(x.shape)}: the columns must be a multiple of 4")
        groups = x.detach().reshape(rows, columns // 4, 4)
        used = groups != 0
        if bool((used.sum(-1) > 2).any()):
            raise RuntimeError("to_sparse_semi_structured: a group of four elements has more than two that are not "
                               "zero; set the smallest to zero first")  # fmt: skip
        # those in use come first, in their order
        at = T.argsort((~used).to(d.int8), -1, stable=True)[..., :2].sort(-1)[0]
        packed = groups.gather(-1, at).reshape(rows, columns // 2)
        return cls(x.shape, packed, at.to(d.uint8).reshape(rows, columns // 2), False, x.requires_grad)

    def __tensor_flatten__(self) -> tuple[list[str], Any]:
        return ["packed", "meta"], (tuple(self.shape), self.turned)

    @classmethod
    def __tensor_unflatten__(cls, inner: dict[str, Tensor], told: Any, size: Any, stride: Any) -> Self:
        return cls(told[0], inner["packed"], inner["meta"], told[1])

    def values(self) -> Tensor:
        """The elements that are kept."""
        return self.packed

    def indices(self) -> Tensor:
        """Where each of them was among its four."""
        return self.meta

    def to_dense(self) -> Tensor:
        """The matrix with its zeros."""
        rows, half = self.packed.shape
        groups = T.zeros((rows, half // 2, 4), dtype=self.packed.dtype, device=self.packed.device)
        at = self.meta.to(d.int64).reshape(rows, half // 2, 2)
        dense = groups.scatter(-1, at, self.packed.reshape(rows, half // 2, 2)).reshape(rows, 2 * half)
        return dense.t() if self.turned else dense

    def __repr__(self) -> str:  # type: ignore[override]
        return f"{type(self).__name__}(shape={tuple(self.shape)}, transposed={self.turned}, values={self.packed})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = func._opname
        if name in ("detach", "clone", "alias"):
            (t,) = args[:1]
            return cls(t.shape, func(t.packed), func(t.meta), t.turned)
        if name == "t":
            (t,) = args
            return cls(tuple(t.shape)[::-1], t.packed, t.meta, not t.turned)
        if name in ("mm", "addmm", "matmul", "linear"):
            return func(*[a.to_dense() if isinstance(a, SparseSemiStructuredTensor) else a for a in args],
                        **(kwargs or {}))  # fmt: skip
        raise NotImplementedError(f"{cls.__name__}: {name} is not implemented for the 2:4 pattern, products with dense "
                                  "matrices are; use .to_dense()")  # fmt: skip


class SparseSemiStructuredTensorCUTLASS(SparseSemiStructuredTensor):
    """The same: the name that PyTorch has for the one of its CUTLASS kernels."""


class SparseSemiStructuredTensorCUSPARSELT(SparseSemiStructuredTensor):
    """The same: the name that PyTorch has for the one of its cuSPARSELt kernels."""


def to_sparse_semi_structured(original_tensor: Tensor, transposed: bool = False) -> SparseSemiStructuredTensor:
    """:meth:`SparseSemiStructuredTensor.from_dense`. ``transposed`` is deprecated and must be False."""
    if transposed:
        raise NotImplementedError("to_sparse_semi_structured: transposed is deprecated; transpose the result")
    return SparseSemiStructuredTensor.from_dense(original_tensor)
