"""Collectives as functions of tensors, which gradients pass through. In a group of one each is the identity.

The gradient of a collective is the collective that runs the other way: each process differentiates the sum of
everybody's results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...autograd import Function
from ...tensor import Tensor
from ...tensor import functions as T
from .._collectives import _check_count, _check_tensor, _root
from .._group import ProcessGroup
from .._reduce_op import ReduceOp, check_reduction
from .._world import _group

__all__ = ["all_gather", "all_reduce", "all_to_all", "broadcast", "gather", "reduce", "reduce_scatter", "scatter"]


def _made(t: Tensor, source: Tensor) -> Tensor:
    """A result of a custom function, which must not be its argument."""
    return t.clone() if t is source else t


class _AllReduce(Function):
    @staticmethod
    def forward(ctx: Any, pg: ProcessGroup, op: ReduceOp, tensor: Tensor) -> Tensor:
        ctx.pg, ctx.op = pg, op
        return _made(pg.all_reduce(tensor, op), tensor)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return None, None, _AllReduce.apply(ctx.pg, ctx.op, grad)


class _Broadcast(Function):
    @staticmethod
    def forward(ctx: Any, pg: ProcessGroup, root: int, tensor: Tensor) -> Tensor:
        ctx.pg, ctx.root = pg, root
        return _made(pg.broadcast(tensor, root), tensor)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return None, None, _Reduce.apply(ctx.pg, ctx.root, ReduceOp.SUM, grad)


class _Reduce(Function):
    """What the members other than the root get is their own tensor; as a gradient that would be 0."""

    @staticmethod
    def forward(ctx: Any, pg: ProcessGroup, root: int, op: ReduceOp, tensor: Tensor) -> Tensor:
        ctx.pg, ctx.root = pg, root
        value = pg.reduce(tensor, op, root)
        return _made(value, tensor) if pg.rank() == root else T.zeros_like(tensor)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return None, None, None, _Broadcast.apply(ctx.pg, ctx.root, grad)


class _AllGather(Function):
    @staticmethod
    def forward(ctx: Any, pg: ProcessGroup, tensor: Tensor) -> tuple:
        ctx.pg = pg
        return tuple(_made(t, tensor) for t in pg.all_gather(tensor))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        return None, _ReduceScatter.apply(ctx.pg, ReduceOp.SUM, *grads)


class _ReduceScatter(Function):
    @staticmethod
    def forward(ctx: Any, pg: ProcessGroup, op: ReduceOp, *tensors: Tensor) -> Tensor:
        ctx.pg = pg
        return _made(pg.reduce_scatter(tensors, op), tensors[pg.rank()])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return (None, None, *_AllGather.apply(ctx.pg, grad))


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, pg: ProcessGroup, root: int, tensor: Tensor) -> tuple:
        ctx.pg, ctx.root = pg, root
        got = pg.gather(tensor, root)
        if pg.rank() != root:
            return tuple(T.zeros_like(tensor) for _ in range(pg.size()))
        return tuple(_made(t, tensor) for t in got)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        return None, None, _Scatter.apply(ctx.pg, ctx.root, *grads)


class _Scatter(Function):
    @staticmethod
    def forward(ctx: Any, pg: ProcessGroup, root: int, *tensors: Tensor) -> Tensor:
        ctx.pg, ctx.root = pg, root
        given = tensors if pg.rank() == root else None
        return _made(pg.scatter(given, tensors[pg.rank()], root), tensors[pg.rank()])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return (None, None, *_Gather.apply(ctx.pg, ctx.root, grad))


class _AllToAll(Function):
    @staticmethod
    def forward(ctx: Any, pg: ProcessGroup, like: Sequence[Tensor], *tensors: Tensor) -> tuple:
        ctx.pg, ctx.like = pg, [T.empty_like(t) for t in tensors]
        return tuple(_made(t, tensors[pg.rank()]) for t in pg.all_to_all(tensors, like))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        return (None, None, *_AllToAll.apply(ctx.pg, ctx.like, *grads))


def all_reduce(tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The combination of everybody's tensor. Gradients are combined by `op`, too, which is right for sums."""
    _check_tensor("all_reduce", tensor)
    pg = _group(group)
    check_reduction("all_reduce", op, tensor)
    return _AllReduce.apply(pg, op, tensor)


def reduce(tensor: Tensor, dst: int, op: ReduceOp = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The combination of everybody's tensor, for the member dst; zeros for the others."""
    _check_tensor("reduce", tensor)
    pg = _group(group)
    check_reduction("reduce", op, tensor)
    return _Reduce.apply(pg, _root(pg, "reduce", dst, None), op, tensor)


def broadcast(tensor: Tensor, src: int, group: Any = None) -> Tensor:
    """The tensor of the member src."""
    _check_tensor("broadcast", tensor)
    pg = _group(group)
    return _Broadcast.apply(pg, _root(pg, "broadcast", src, None), tensor)


def all_gather(tensor: Tensor, group: Any = None) -> tuple[Tensor, ...]:
    """Everybody's tensor, by rank."""
    _check_tensor("all_gather", tensor)
    return _AllGather.apply(_group(group), tensor)


def gather(tensor: Tensor, dst: int = 0, group: Any = None) -> tuple[Tensor, ...]:
    """Everybody's tensor, by rank, for the member dst; zeros for the others."""
    _check_tensor("gather", tensor)
    pg = _group(group)
    return _Gather.apply(pg, _root(pg, "gather", dst, None), tensor)


def scatter(tensors: Sequence[Tensor], src: int = 0, group: Any = None) -> Tensor:
    """This rank's entry of the list of the member src; the others' lists only tell shapes and dtypes."""
    pg = _group(group)
    _check_count("scatter", tensors, "tensors", pg)
    return _Scatter.apply(pg, _root(pg, "scatter", src, None), *tensors)


def reduce_scatter(output: Tensor, input_list: Sequence[Tensor], op: ReduceOp = ReduceOp.SUM,
                   group: Any = None) -> Tensor:
    """The combination of everybody's ``input_list[own rank]``; `output` only tells its shape and dtype."""
    pg = _group(group)
    _check_count("reduce_scatter", input_list, "input_list", pg)
    check_reduction("reduce_scatter", op, output)
    return _ReduceScatter.apply(pg, op, *input_list)


def all_to_all(output_tensor_list: Sequence[Tensor], input_tensor_list: Sequence[Tensor],
               group: Any = None) -> tuple[Tensor, ...]:
    """What each member has for this one; `output_tensor_list` only tells shapes and dtypes."""
    pg = _group(group)
    _check_count("all_to_all", input_tensor_list, "input_tensor_list", pg)
    return _AllToAll.apply(pg, output_tensor_list, *input_tensor_list)
