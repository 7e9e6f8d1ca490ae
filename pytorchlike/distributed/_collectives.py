"""Collectives and transfers: arguments are checked, and results written to the caller's tensors.

A member of the world that is not in the group returns at once.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from ..autograd.mode import no_grad
from ..engine.meta import INTERIOR
from ..nn.parameter import Parameter
from ..tensor import Tensor
from ..tensor import functions as T
from ..tensor.dtype import uint8
from ..tensor.staged import write_back
from ._group import ProcessGroup, Work
from ._processes import Processes
from ._reduce_op import ReduceOp, check_reduction
from ._world import _group, _rank_not_in_group, _World, get_group_rank

__all__ = [
    "P2POp", "all_gather", "all_gather_coalesced", "all_gather_into_tensor", "all_gather_object", "all_gather_single",
    "all_reduce", "all_reduce_coalesced", "all_to_all", "all_to_all_single", "barrier", "batch_isend_irecv",
    "broadcast", "broadcast_object_list", "gather", "gather_object", "irecv", "isend", "monitored_barrier", "recv",
    "recv_object_list", "reduce",
    "reduce_scatter", "reduce_scatter_single", "reduce_scatter_tensor", "scatter", "scatter_object_list", "send",
    "send_object_list",
]  # fmt: skip


def _check_tensor(name: str, value: Any, argument: str = "tensor") -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"Invalid function argument. Expected parameter `{argument}` of {name} to be of type "
                        f"torch.Tensor, but got {type(value)} instead.")


def _check_tensors(name: str, values: Any, argument: str, *others: Tensor) -> None:
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, Tensor) for v in values):
        raise TypeError(f"Invalid function argument. Expected parameter `{argument}` of {name} to be of type "
                        f"List[torch.Tensor], but got {type(values)} instead.")
    dtypes = {t.dtype for t in (*values, *others)}
    if len(dtypes) > 1:
        raise ValueError(f"{name}: invalid usage of tensors with different dtypes: {sorted(map(str, dtypes))}")


def _check_count(name: str, values: Sequence[Any], argument: str, group: ProcessGroup) -> None:
    if len(values) != group.size():
        raise RuntimeError(f"{name}: {argument} must have one entry for each of the {group.size()} members of the "
                           f"group, but has {len(values)}")


def _write(name: str, out: Tensor, value: Tensor) -> None:
    if out is value:
        return
    if out.shape != value.shape:
        raise RuntimeError(f"{name}: invalid tensor size (expected {tuple(value.shape)}, got {tuple(out.shape)})")
    if type(out) in (Tensor, Parameter) and out.dtype == value.dtype and out._get().meta.grad != INTERIOR:
        with no_grad():
            write_back(out, value.detach()._get())  # records nothing
        return
    with no_grad():
        out.copy_(value.detach())


def _root(group: ProcessGroup, name: str, in_world: int | None, in_group: int | None, default: int | None = None,
          what: str = "root") -> int:
    """A member's rank in the group, given by its rank in the world or in the group."""
    if in_world is not None and in_group is not None:
        raise ValueError("Can't specify both group_rank and global_rank")
    if in_group is None:
        in_world = default if in_world is None else in_world
        if in_world is None:
            raise ValueError("Must specify global_rank or group_rank")
        if group is not _World.default:
            return get_group_rank(group, in_world)
        in_group = in_world
    if not 0 <= in_group < group.size():
        raise RuntimeError(f"{name}: invalid {what} rank: {in_group}, in a group of {group.size()}")
    return in_group


def _go(pg: ProcessGroup, async_op: bool, tensors: Sequence[Tensor], call: Callable[[Sequence[Tensor]], Any],
        write: Callable[[Any], None], result: Any = None) -> Work | None:
    """Let the group compute ``call(tensors)`` and `write` it to the caller's tensors, `result`."""
    if not async_op:
        write(call(tensors))
        return None
    return Work.of(pg.start(tensors, call), write, result)


def _write_all(name: str, outs: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for out, value in zip(outs, values, strict=True):
        _write(name, out, value)


def all_reduce(tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: ProcessGroup | None = None,
               async_op: bool = False) -> Work | None:
    """Combine everybody's `tensor` by `op`, in place. Errors: see ReduceOp; TypeError for what is no tensor."""
    _check_tensor("all_reduce", tensor)
    if _rank_not_in_group(group):
        return None
    pg = _group(group)
    check_reduction("all_reduce", op, tensor)
    return _go(pg, async_op, [tensor], lambda ts: pg.all_reduce(ts[0], op),
               lambda value: _write("all_reduce", tensor, value), [tensor])


def all_reduce_coalesced(tensors: Sequence[Tensor], op: ReduceOp = ReduceOp.SUM, group: ProcessGroup | None = None,
                         async_op: bool = False) -> Work | None:
    """``all_reduce`` of several tensors of one dtype."""
    tensors = [tensors] if isinstance(tensors, Tensor) else tensors
    _check_tensors("all_reduce_coalesced", tensors, "tensors")
    works = [all_reduce(tensor, op, group, async_op) for tensor in tensors]
    return _together(works, list(tensors)) if async_op and not _rank_not_in_group(group) else None


def _together(works: Sequence[Work | None], result: Any) -> Work:
    def finish(timeout: float | None) -> None:
        for work in works:
            assert work is not None
            work.wait(None if timeout is None else timedelta(seconds=timeout))

    return Work(result, -1, lambda: all(work is not None and work.is_completed() for work in works), finish)


def broadcast(tensor: Tensor, src: int | None = None, group: ProcessGroup | None = None, async_op: bool = False,
              group_src: int | None = None) -> Work | None:
    """The tensor of one member, written to everybody's `tensor`.

    src: its rank in the world, or group_src: its rank in the group; ValueError for both or neither.
    """
    _check_tensor("broadcast", tensor)
    if _rank_not_in_group(group):
        return None
    pg = _group(group)
    root = _root(pg, "broadcast", src, group_src)
    return _go(pg, async_op, [tensor], lambda ts: pg.broadcast(ts[0], root),
               lambda value: pg.rank() == root or _write("broadcast", tensor, value), [tensor])


def reduce(tensor: Tensor, dst: int | None = None, op: ReduceOp = ReduceOp.SUM, group: ProcessGroup | None = None,
           async_op: bool = False, group_dst: int | None = None) -> Work | None:
    """Combine everybody's `tensor` by `op`, written to that of the member dst (in the world) or group_dst."""
    _check_tensor("reduce", tensor)
    if _rank_not_in_group(group):
        return None
    pg = _group(group)
    check_reduction("reduce", op, tensor)
    root = _root(pg, "reduce", dst, group_dst)
    return _go(pg, async_op, [tensor], lambda ts: pg.reduce(ts[0], op, root),
               lambda value: pg.rank() != root or _write("reduce", tensor, value), [tensor])


def all_gather(tensor_list: Sequence[Tensor], tensor: Tensor, group: ProcessGroup | None = None,
               async_op: bool = False) -> Work | None:
    """Everybody's `tensor`, written to ``tensor_list[rank]``: as many entries as members, of the same shape."""
    _check_tensor("all_gather", tensor)
    _check_tensors("all_gather", tensor_list, "tensor_list", tensor)
    if _rank_not_in_group(group):
        return None
    pg = _group(group)
    _check_count("all_gather", tensor_list, "tensor_list", pg)
    return _go(pg, async_op, [tensor], lambda ts: pg.all_gather(ts[0]),
               lambda values: _write_all("all_gather", tensor_list, values), [list(tensor_list)])


def all_gather_coalesced(output_tensor_lists: Sequence[Sequence[Tensor]], input_tensor_list: Sequence[Tensor],
                         group: ProcessGroup | None = None, async_op: bool = False) -> Work | None:
    """``all_gather`` of several tensors: ``output_tensor_lists[rank]`` takes all those of a member."""
    name = "all_gather_coalesced"
    _check_tensors(name, input_tensor_list, "input_tensor_list")
    if _rank_not_in_group(group):
        return None
    _check_count(name, output_tensor_lists, "output_tensor_lists", _group(group))
    columns = zip(*output_tensor_lists, strict=True)
    works = [all_gather(list(column), t, group, async_op) for column, t in zip(columns, input_tensor_list, strict=True)]
    return _together(works, list(output_tensor_lists)) if async_op else None


def all_gather_into_tensor(output_tensor: Tensor, input_tensor: Tensor, group: ProcessGroup | None = None,
                           async_op: bool = False) -> Work | None:
    """Everybody's tensor (n, *A), one after the other (members * n, *A) or stacked (members, n, *A)."""
    name = "all_gather_into_tensor"
    _check_tensor(name, output_tensor, "output_tensor")
    _check_tensors(name, [input_tensor], "input_tensor", output_tensor)
    if _rank_not_in_group(group):
        return None
    pg = _group(group)

    def write(parts: Sequence[Tensor]) -> None:
        stacked = output_tensor.shape == (len(parts), *input_tensor.shape)
        _write(name, output_tensor, T.stack(parts) if stacked else parts[0] if len(parts) == 1 else T.cat(parts))

    return _go(pg, async_op, [input_tensor], lambda ts: pg.all_gather(ts[0]), write, [output_tensor])


def reduce_scatter(output: Tensor, input_list: Sequence[Tensor], op: ReduceOp = ReduceOp.SUM,
                   group: ProcessGroup | None = None, async_op: bool = False) -> Work | None:
    """The combination of everybody's ``input_list[own rank]``, written to `output`."""
    _check_tensor("reduce_scatter", output, "output")
    _check_tensors("reduce_scatter", input_list, "input_list", output)
    if _rank_not_in_group(group):
        return None
    pg = _group(group)
    _check_count("reduce_scatter", input_list, "input_list", pg)
    check_reduction("reduce_scatter", op, output)
    return _go(pg, async_op, input_list, lambda ts: pg.reduce_scatter(ts, op),
               lambda value: _write("reduce_scatter", output, value), [output])


def reduce_scatter_tensor(output: Tensor, input: Tensor, op: ReduceOp = ReduceOp.SUM,
                          group: ProcessGroup | None = None, async_op: bool = False) -> Work | None:
    """As ``reduce_scatter`` of equal parts of `input`, which are concatenated or stacked along its first axis."""
    name = "reduce_scatter_tensor"
    _check_tensor(name, output, "output")
    _check_tensors(name, [input], "input", output)
    if _rank_not_in_group(group):
        return None
    pg = _group(group)
    check_reduction(name, op, output)
    if input.numel() != output.numel() * pg.size():
        raise RuntimeError(f"{name}: input must have {pg.size()} times the elements of output, but their shapes are "
                           f"{tuple(input.shape)} and {tuple(output.shape)}")
    parts = list(input.reshape(pg.size(), *output.shape).unbind(0))
    return _go(pg, async_op, parts, lambda ts: pg.reduce_scatter(ts, op),
               lambda value: _write(name, output, value), [output])


all_gather_single = all_gather_into_tensor
reduce_scatter_single = reduce_scatter_tensor


def all_to_all(output_tensor_list: Sequence[Tensor], input_tensor_list: Sequence[Tensor],
               group: ProcessGroup | None = None, async_op: bool = False) -> Work | None:
    """``input_tensor_list[i]`` goes to the member i, whose own goes to ``output_tensor_list[i]``."""
    _check_tensors("all_to_all", output_tensor_list, "output_tensor_list")
    _check_tensors("all_to_all", input_tensor_list, "input_tensor_list", *output_tensor_list[:1])
    if _rank_not_in_group(group):
        return None
    pg = _group(group)
    _check_count("all_to_all", output_tensor_list, "output_tensor_list", pg)
    _check_count("all_to_all", input_tensor_list, "input_tensor_list", pg)
    return _go(pg, async_op, input_tensor_list, lambda ts: pg.all_to_all(ts, output_tensor_list),
               lambda values: _write_all("all_to_all", output_tensor_list, values), list(output_tensor_list))


def all_to_all_single(output: Tensor, input: Tensor, output_split_sizes: Sequence[int] | None = None,
                      input_split_sizes: Sequence[int] | None = None, group: ProcessGroup | None = None,
                      async_op: bool = False) -> Work | None:
    """As ``all_to_all``; the parts are rows of one tensor, of equal numbers unless split sizes are given."""
    name = "all_to_all_single"
    _check_tensor(name, output, "output")
    _check_tensors(name, [input], "input", output)
    if _rank_not_in_group(group):
        return None
    pg = _group(group)
    inputs = _split(name, input, input_split_sizes, pg.size())
    outputs = _split(name, output, output_split_sizes, pg.size())
    return _go(pg, async_op, inputs, lambda ts: pg.all_to_all(ts, outputs),
               lambda value: _write(name, output, value[0] if len(value) == 1 else T.cat(value)), [output])


def _split(name: str, tensor: Tensor, sizes: Sequence[int] | None, count: int) -> list[Tensor]:
    rows = tensor.shape[0] if tensor.ndim else 1
    if not sizes:
        if rows % count:
            raise RuntimeError(f"{name}: {rows} rows do not split evenly among {count} members; give split sizes")
        sizes = [rows // count] * count
    if len(sizes) != count:
        raise RuntimeError(f"{name}: there must be a split size for each of {count} members, but got {list(sizes)}")
    if sum(sizes) != rows:
        raise RuntimeError(f"{name}: Split sizes doesn't match total dim 0 size: {list(sizes)}, {rows}")
    return [tensor] if count == 1 else list(tensor.split(list(sizes)))


def gather(tensor: Tensor, gather_list: list[Tensor] | None = None, dst: int | None = None,
           group: ProcessGroup | None = None, async_op: bool = False, group_dst: int | None = None) -> Work | None:
    """Everybody's `tensor`, written to the `gather_list` of the member dst (default: 0).

    ValueError if that one gives no list, or if another one does.
    """
    _check_tensor("gather", tensor)
    if _rank_not_in_group(group):
        return None
    pg = _group(group)
    root = _root(pg, "gather", dst, group_dst, 0)
    if pg.rank() != root:
        if gather_list:
            raise ValueError("Argument ``gather_list`` must NOT be specified on non-destination ranks.")
        return _go(pg, async_op, [tensor], lambda ts: pg.gather(ts[0], root), lambda value: None)
    if not gather_list:
        raise ValueError("Argument ``gather_list`` must be specified on destination rank.")
    _check_tensors("gather", gather_list, "gather_list", tensor)
    _check_count("gather", gather_list, "gather_list", pg)
    return _go(pg, async_op, [tensor], lambda ts: pg.gather(ts[0], root),
               lambda values: _write_all("gather", gather_list, values), gather_list)


def scatter(tensor: Tensor, scatter_list: list[Tensor] | None = None, src: int | None = None,
            group: ProcessGroup | None = None, async_op: bool = False, group_src: int | None = None) -> Work | None:
    """``scatter_list[own rank]`` of the member src (default: 0), written to `tensor`. ValueError as for ``gather``."""
    _check_tensor("scatter", tensor)
    if _rank_not_in_group(group):
        return None
    pg = _group(group)
    root = _root(pg, "scatter", src, group_src, 0)
    if pg.rank() == root:
        if not scatter_list:
            raise ValueError("Argument ``scatter_list`` must be specified on source rank.")
        _check_tensors("scatter", scatter_list, "scatter_list", tensor)
        _check_count("scatter", scatter_list, "scatter_list", pg)
    elif scatter_list:
        raise ValueError("Argument ``scatter_list`` must NOT be specified on non-source ranks.")
    return _go(pg, async_op, scatter_list or (), lambda ts: pg.scatter(ts if scatter_list else None, tensor, root),
               lambda value: _write("scatter", tensor, value), [tensor])


def barrier(group: ProcessGroup | None = None, async_op: bool = False, device_ids: Any = None,
            timeout: timedelta | None = None) -> Work | None:
    """Wait until all members are here. device_ids: accepted as PyTorch's hint for NCCL, with no effect."""
    if _rank_not_in_group(group):
        return None
    pg = _group(group)
    return _go(pg, async_op, (), lambda ts: pg.barrier(timeout), lambda value: None)


def monitored_barrier(group: ProcessGroup | None = None, timeout: timedelta | None = None,
                      wait_all_ranks: bool = False) -> None:
    """``barrier`` whose first member says who does not come within `timeout`: the first of them, or all."""
    if not _rank_not_in_group(group):
        _group(group).monitored_barrier(timeout, wait_all_ranks)


# ---------------------------------------------------------------------------------------------------- point to point


def _peer(name: str, pg: ProcessGroup, in_world: int | None, in_group: int | None, what: str) -> int:
    peer = _root(pg, name, in_world, in_group, what=what)
    if peer == pg.rank():
        raise ValueError(f"Invalid {what} rank: {what} rank should not be the same as the rank of the current process.")
    return peer


def send(tensor: Tensor, dst: int | None = None, group: ProcessGroup | None = None, tag: int = 0,
         group_dst: int | None = None) -> None:
    """Send `tensor` to the member dst (in the world) or group_dst. ValueError for oneself."""
    _check_tensor("send", tensor)
    if not _rank_not_in_group(group):
        pg = _group(group)
        pg.send(tensor, _peer("send", pg, dst, group_dst, "destination"), tag)


def recv(tensor: Tensor, src: int | None = None, group: ProcessGroup | None = None, tag: int = 0,
         group_src: int | None = None) -> int:
    """Write what a member sends to `tensor`; its rank in the world, or -1 for a process outside of the group.

    src None: from anyone. ValueError for oneself.
    """
    _check_tensor("recv", tensor)
    if _rank_not_in_group(group):
        return -1
    pg = _group(group)
    anyone = src is None and group_src is None
    value, source = pg.recv(tensor, None if anyone else _peer("recv", pg, src, group_src, "source"), tag)
    _write("recv", tensor, value)
    return pg.ranks[source]


def isend(tensor: Tensor, dst: int | None = None, group: ProcessGroup | None = None, tag: int = 0,
          group_dst: int | None = None) -> Work | None:
    """``send``, returning a Work."""
    send(tensor, dst, group, tag, group_dst)
    return None if _rank_not_in_group(group) else Work([tensor])


def irecv(tensor: Tensor, src: int | None = None, group: ProcessGroup | None = None, tag: int = 0,
          group_src: int | None = None) -> Work | None:
    """``recv``, returning a Work; the tensor is written to when that is waited for."""
    _check_tensor("irecv", tensor)
    if _rank_not_in_group(group):
        return None
    pg = _group(group)
    if src is None and group_src is None or not isinstance(pg, Processes):
        return Work([tensor], recv(tensor, src, group, tag, group_src))
    source = _peer("irecv", pg, src, group_src, "source")
    key = pg.expect(source, tag)

    def finish(timeout: float | None) -> None:
        limit = None if timeout is None else timedelta(seconds=timeout)
        _write("recv", tensor, pg.received(tensor, source, key, limit))

    return Work([tensor], pg.ranks[source], lambda: pg.arrived(source, key), finish)


class P2POp:
    """An ``isend`` or ``irecv`` for ``batch_isend_irecv``. ValueError for another function."""

    def __init__(self, op: Callable[..., Work | None], tensor: Tensor, peer: int | None = None,
                 group: ProcessGroup | None = None, tag: int = 0, group_peer: int | None = None) -> None:
        if op not in (isend, irecv):
            raise ValueError("Invalid ``op``. Expected ``op`` to be torch.distributed.isend or torch.distributed.irecv")
        _check_tensor("P2POp", tensor)
        self.op, self.tensor, self.group, self.tag = op, tensor, group, tag
        self.peer, self.group_peer = peer, group_peer


def batch_isend_irecv(p2p_op_list: Sequence[P2POp]) -> list[Work]:
    """Start several transfers: all that is sent goes before anything is received."""
    if not p2p_op_list or not all(isinstance(p, P2POp) for p in p2p_op_list):
        raise ValueError("batch_isend_irecv takes a list of P2POp that is not empty")
    started: dict[int, Work | None] = {}
    for i, p in sorted(enumerate(p2p_op_list), key=lambda entry: entry[1].op is irecv):
        started[i] = p.op(p.tensor, p.peer, p.group, p.tag, p.group_peer)
    return [work for i in range(len(p2p_op_list)) if (work := started[i]) is not None]


# -------------------------------------------------------------------------------------------------------------- objects


def all_gather_object(object_list: list[Any], obj: Any, group: ProcessGroup | None = None) -> None:
    """Everybody's picklable object, as copies, written to ``object_list[rank]``."""
    if _rank_not_in_group(group):
        return
    pg = _group(group)
    if len(object_list) < pg.size():
        raise RuntimeError(f"all_gather_object: object_list must have an entry for each of {pg.size()} members")
    for i, data in enumerate(pg.exchange(pickle.dumps(obj))):
        object_list[i] = pickle.loads(data)


def gather_object(obj: Any, object_gather_list: list[Any] | None = None, dst: int | None = None,
                  group: ProcessGroup | None = None, group_dst: int | None = None) -> None:
    """Everybody's picklable object, written to the list of the member dst (default: 0). ValueError as ``gather``."""
    if _rank_not_in_group(group):
        return
    pg = _group(group)
    root = _root(pg, "gather_object", dst, group_dst, 0)
    if pg.rank() == root:
        if not object_gather_list:
            raise ValueError("Argument ``object_gather_list`` must be specified on destination rank.")
        all_gather_object(object_gather_list, obj, group)
        return
    if object_gather_list:
        raise ValueError("Argument ``object_gather_list`` must NOT be specified on non-destination ranks.")
    pg.exchange(pickle.dumps(obj))


def broadcast_object_list(object_list: list[Any], src: int | None = None, group: ProcessGroup | None = None,
                          device: Any = None, group_src: int | None = None) -> None:
    """The picklable objects of the member src (default: 0), written to everybody's list. device: not needed."""
    if _rank_not_in_group(group):
        return
    pg = _group(group)
    root = _root(pg, "broadcast_object_list", src, group_src, 0)
    mine = pg.rank() == root
    data = pg.exchange(pickle.dumps(list(object_list)) if mine else b"")[root]
    if not mine:
        object_list[:] = pickle.loads(data)


def scatter_object_list(scatter_object_output_list: list[Any], scatter_object_input_list: list[Any] | None = None,
                        src: int | None = None, group: ProcessGroup | None = None,
                        group_src: int | None = None) -> None:
    """The member src (default: 0) gives a list of objects; each member's own is written to its output list's start."""
    if _rank_not_in_group(group):
        return
    pg = _group(group)
    root = _root(pg, "scatter_object_list", src, group_src, 0)
    if not scatter_object_output_list:
        raise ValueError("Expected argument scatter_object_output_list to be a list of size at least 1.")
    mine = pg.rank() == root
    if mine and not scatter_object_input_list:
        raise ValueError("source rank must provide non-empty scatter_object_input_list")
    if mine:
        _check_count("scatter_object_list", scatter_object_input_list, "scatter_object_input_list", pg)
    data = pg.exchange(pickle.dumps(scatter_object_input_list) if mine else b"")[root]
    scatter_object_output_list[0] = pickle.loads(data)[pg.rank()]


def send_object_list(object_list: Sequence[Any], dst: int | None = None, group: ProcessGroup | None = None,
                     device: Any = None, group_dst: int | None = None, use_batch: bool = False) -> None:
    """Send picklable objects to a member, which calls ``recv_object_list``. device, use_batch: not needed."""
    if not _rank_not_in_group(group):
        data = np.frombuffer(pickle.dumps(list(object_list)), np.uint8)
        send(T.tensor([data.size]), dst, group, group_dst=group_dst)
        send(T.tensor(data), dst, group, group_dst=group_dst)


def recv_object_list(object_list: list[Any], src: int | None = None, group: ProcessGroup | None = None,
                     device: Any = None, group_src: int | None = None, use_batch: bool = False) -> int:
    """Objects that a member (None: anyone) sends, written to the list; its rank in the world."""
    if _rank_not_in_group(group):
        return -1
    size = T.tensor([0])
    source = recv(size, src, group, group_src=group_src)
    data = T.empty(int(size), dtype=uint8)
    recv(data, source, group)
    object_list[:] = pickle.loads(data.numpy().tobytes())
    return source
