"""Collectives as functions of tensors, which gradients pass through. In a group of one each is the identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...tensor import Tensor
from ...tensor import functions as T
from .._collectives import _check_count, _check_tensor, _root
from .._group import ProcessGroup
from .._reduce_op import ReduceOp, check_reduction
from .._world import _group

__all__ = ["all_gather", "all_reduce", "all_to_all", "broadcast", "gather", "reduce", "reduce_scatter", "scatter"]


def _alone(name: str, group: Any) -> ProcessGroup:
    pg = _group(group)
    if pg.size() != 1:
        raise NotImplementedError(f"torch.distributed.nn.{name} has no gradient between processes; see "
                                  f"torch.distributed.{name} for the values")
    return pg


def all_reduce(tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The combination of everybody's tensor."""
    _check_tensor("all_reduce", tensor)
    pg = _alone("all_reduce", group)
    check_reduction("all_reduce", op, tensor)
    return pg.all_reduce(tensor.clone(), op)


def reduce(tensor: Tensor, dst: int, op: ReduceOp = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The combination of everybody's tensor, for the member dst."""
    pg = _alone("reduce", group)
    _root(pg, "reduce", dst, None)
    return all_reduce(tensor, op, group)


def broadcast(tensor: Tensor, src: int, group: Any = None) -> Tensor:
    """The tensor of the member src."""
    _check_tensor("broadcast", tensor)
    pg = _alone("broadcast", group)
    return pg.broadcast(tensor.clone(), _root(pg, "broadcast", src, None))


def all_gather(tensor: Tensor, group: Any = None) -> tuple[Tensor, ...]:
    """Everybody's tensor, by rank."""
    _check_tensor("all_gather", tensor)
    return tuple(_alone("all_gather", group).all_gather(tensor.clone()))


def gather(tensor: Tensor, dst: int = 0, group: Any = None) -> tuple[Tensor, ...]:
    """Everybody's tensor, by rank, for the member dst."""
    pg = _alone("gather", group)
    _root(pg, "gather", dst, None)
    return all_gather(tensor, group)


def scatter(tensors: Sequence[Tensor], src: int = 0, group: Any = None) -> Tensor:
    """This rank's entry of the list of the member src."""
    pg = _alone("scatter", group)
    _check_count("scatter", tensors, "tensors", pg)
    return pg.scatter([T.clone(t) for t in tensors], tensors[0], _root(pg, "scatter", src, None))


def reduce_scatter(output: Tensor, input_list: Sequence[Tensor], op: ReduceOp = ReduceOp.SUM,
                   group: Any = None) -> Tensor:
    """The combination of everybody's ``input_list[own rank]``; `output` only tells its shape and dtype."""
    pg = _alone("reduce_scatter", group)
    _check_count("reduce_scatter", input_list, "input_list", pg)
    check_reduction("reduce_scatter", op, output)
    return pg.reduce_scatter([T.clone(t) for t in input_list], op)


def all_to_all(output_tensor_list: Sequence[Tensor], input_tensor_list: Sequence[Tensor],
               group: Any = None) -> tuple[Tensor, ...]:
    """What each member has for this one; `output_tensor_list` only tells shapes and dtypes."""
    pg = _alone("all_to_all", group)
    _check_count("all_to_all", input_tensor_list, "input_tensor_list", pg)
    return tuple(pg.all_to_all([T.clone(t) for t in input_tensor_list], output_tensor_list))
