"""``torch._C._functorch``: what libraries ask of tensors inside transformed functions."""

from __future__ import annotations

from typing import Any, NoReturn

from ..engine import local
from ..tensor import Tensor

__all__ = ["_add_batch_dim", "_remove_batch_dim", "get_unwrapped", "is_batchedtensor", "is_functorch_wrapped_tensor",
           "is_gradtrackingtensor"]  # fmt: skip


def is_batchedtensor(tensor: Tensor) -> bool:
    """Whether a tensor stands for one entry of a batch, inside a function that ``vmap`` runs."""
    value = tensor._get()
    trace = value.trace
    return trace is not None and trace.nested and trace.batched_outs([value])[0]


def is_gradtrackingtensor(tensor: Tensor) -> bool:
    """Whether a tensor was made of what ``grad``, ``vjp`` or ``jvp`` differentiates by, inside their function.

    What differs along the batch of a ``vmap`` within that function is a batched tensor instead.
    """
    transforms = local.transforms
    if all(name == "vmap" for name in transforms) or tensor.is_leaf:
        return False
    return transforms[-1] != "vmap" or not is_batchedtensor(tensor)


def is_functorch_wrapped_tensor(tensor: Tensor) -> bool:
    """Whether a tensor belongs to a function that is being transformed."""
    return is_batchedtensor(tensor) or is_gradtrackingtensor(tensor)


def get_unwrapped(tensor: Tensor) -> Tensor:
    """The tensor of outside that an argument of a transformed function is one entry of."""
    from ..func import debug_unwrap

    return debug_unwrap(tensor, recurse=False)


def _add_batch_dim(tensor: Tensor, in_dim: int, level: int) -> NoReturn:
    raise NotImplementedError(
        "torch._C._functorch._add_batch_dim: no tensor carries a batch dimension of its own here; torch.func.vmap runs "
        "the function on stand-ins"
    )


def _remove_batch_dim(tensor: Any, level: int, batch_size: int, out_dim: int) -> NoReturn:
    raise NotImplementedError(
        "torch._C._functorch._remove_batch_dim: no tensor carries a batch dimension of its own here; torch.func.vmap "
        "joins the results"
    )
