"""``torch._C._functorch``: what libraries ask of tensors inside transformed functions."""

from __future__ import annotations

from typing import Any, NoReturn

from ..tensor import Tensor

__all__ = ["_add_batch_dim", "_remove_batch_dim", "get_unwrapped", "is_batchedtensor"]


def is_batchedtensor(tensor: Tensor) -> bool:
    """Whether a tensor stands for one entry of a batch, inside a function that ``vmap`` runs."""
    value = tensor._get()
    trace = value.trace
    return trace is not None and trace.nested and trace.batched_outs([value])[0]


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
