"""How the contributions of the members of a group are combined."""

from __future__ import annotations

import enum

from ..tensor import Tensor

__all__ = ["ReduceOp", "check_reduction", "reduce_op"]


class ReduceOp(enum.Enum):
    """The reductions of collectives. ``RedOpType`` is the same class, under PyTorch's inner name."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7
    PREMUL_SUM = 8
    UNUSED = 9

    def __repr__(self) -> str:
        return f"<RedOpType.{self.name}: {self.value}>"


ReduceOp.RedOpType = ReduceOp  # type: ignore[attr-defined]

_BITWISE = {ReduceOp.BAND, ReduceOp.BOR, ReduceOp.BXOR}


def check_reduction(name: str, op: ReduceOp, tensor: Tensor) -> None:
    """Whether `tensor` can be reduced by `op`.

    Raises TypeError for what is no ReduceOp, ValueError for an order of complex numbers, RuntimeError for averages of
    integers and bits of floating-point numbers, NotImplementedError for PREMUL_SUM.
    """
    if not isinstance(op, ReduceOp):
        raise TypeError(f"{name}: op must be a torch.distributed.ReduceOp, such as ReduceOp.SUM, but got {op!r}")
    if op is ReduceOp.PREMUL_SUM or op is ReduceOp.UNUSED:
        raise NotImplementedError(f"{name}: ReduceOp.{op.name} is not supported; multiply before a ReduceOp.SUM")
    if tensor.is_complex() and op not in (ReduceOp.SUM, ReduceOp.AVG):
        raise ValueError(f"{name} does not support ReduceOp.{op.name} on complex tensors")
    inexact = tensor.is_floating_point() or tensor.is_complex()
    if op in _BITWISE and inexact:
        raise RuntimeError(f"{name}: cannot use ReduceOp.{op.name} with non-integral dtype {tensor.dtype}")
    if op is ReduceOp.AVG and not inexact:
        raise RuntimeError(f"{name}: ReduceOp.AVG gives floats, which can't be cast to the dtype {tensor.dtype}")


class _OlderName:
    def __getattr__(self, name: str) -> ReduceOp:
        if name in ReduceOp.__members__:
            return ReduceOp[name]
        raise AttributeError(f"torch.distributed.reduce_op has no reduction {name}")


#: The older name of :class:`ReduceOp`: ``reduce_op.SUM``.
reduce_op = _OlderName()
