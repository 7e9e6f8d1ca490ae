"""The process group of several processes: collectives of host arrays over the connections of a :class:`Wire`.

Each two members are connected, so a reduction takes two steps: everybody gets one part of the array from all others,
combines it in the order of the ranks, and gives it to all others. So each byte travels as often as in a ring, and all
members have bit for bit the same result.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future as Promise
from datetime import timedelta
from typing import Any

import numpy as np

from ..engine import concrete
from ..engine.memory import aligned_empty
from ..tensor import Tensor
from ..tensor.device import place_for
from ._group import ProcessGroup
from ._reduce_op import ReduceOp
from ._rendezvous import address_of
from ._store import DistBackendError, Store
from ._wire import Key, Wire
from .constants import default_pg_timeout

__all__ = ["ProcessGroupGloo", "Processes", "World", "host_array", "tensor_like"]

#: Bytes up to which everybody sends everything to everybody: one step instead of two.
_SMALL = 1 << 14
_TRANSFER, _REDUCE, _BROADCAST, _GATHER, _SCATTER, _ALL_TO_ALL, _EXCHANGE, _BARRIER = range(8)


def host_array(t: Tensor) -> np.ndarray:
    """The values of a tensor, C-contiguous in host memory; not to be written to."""
    return np.ascontiguousarray(t.detach()._host()).reshape(t.shape)


def tensor_like(array: np.ndarray, like: Tensor) -> Tensor:
    """A tensor of an array that nobody writes to any more, on the device of `like`."""
    made = Tensor._of(concrete(array, place_for("cpu")))
    return made if like._value.meta.place == place_for("cpu") else made.to(like.device)


def _combine(parts: Sequence[np.ndarray], op: ReduceOp) -> np.ndarray:
    out = aligned_empty(parts[0].shape, parts[0].dtype)
    out[...] = parts[0]
    with np.errstate(all="ignore"):
        for part in parts[1:]:
            _FUNCTIONS[op](out, part, out=out)
        if op is ReduceOp.AVG:
            out /= np.asarray(len(parts), out.dtype)
    return out


_FUNCTIONS: dict[ReduceOp, Callable[..., Any]] = {
    ReduceOp.SUM: np.add, ReduceOp.AVG: np.add, ReduceOp.PRODUCT: np.multiply, ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum, ReduceOp.BAND: np.bitwise_and, ReduceOp.BOR: np.bitwise_or,
    ReduceOp.BXOR: np.bitwise_xor,
}  # fmt: skip


class Processes(ProcessGroup):
    """Members of a world that a :class:`Wire` connects. ``wire`` knows them by their ranks in the world."""

    def __init__(self, wire: Wire, ranks: Sequence[int], backend: str, timeout: timedelta, name: str = "0",
                 desc: str = "undefined") -> None:
        super().__init__(ranks, list(ranks).index(wire.rank), backend, name, desc)
        self.wire, self.timeout = wire, timeout
        self._id = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
        self._calls = 0
        self._counts: dict[tuple[str, int, int], int] = defaultdict(int)
        self._later: queue.SimpleQueue | None = None
        self._waiting: Promise | None = None
        self._worker: threading.Thread | None = None

    # ----------------------------------------------------------------------------------------------------- messages

    def _key(self, kind: int) -> Key:
        self._calls += 1
        return Key(self._id, kind, 0, self._calls)

    def _send(self, dst: int, key: Key, data: Any) -> None:
        self.wire.send(self.ranks[dst], key, data, self.timeout)

    def _take(self, src: int, key: Key, what: str, timeout: timedelta | None = None) -> np.ndarray:
        return self.wire.take(self.ranks[src], key, self.timeout if timeout is None else timeout, what)

    def _array(self, src: int, key: Key, what: str, like: np.ndarray) -> np.ndarray:
        data = self._take(src, key, what)
        if data.nbytes != like.nbytes:
            raise DistBackendError(
                f"{what}: rank {self.ranks[src]} sent {data.nbytes} bytes, where rank {self.wire.rank} expected "
                f"{like.nbytes} for {like.dtype} of shape {like.shape}: shapes or dtypes differ between the processes"
            )
        return data.view(like.dtype).reshape(like.shape)

    def _others(self) -> list[int]:
        """The other members, each beginning with the next one, so that not all turn to the same."""
        n = self.size()
        return [(self._rank + k) % n for k in range(1, n)]

    # ---------------------------------------------------------------------------------------------- in the background

    def start(self, tensors: Sequence[Tensor], call: Callable[[Sequence[Tensor]], Any]) -> Promise:
        values = [Tensor._of(t.detach()._get()) for t in tensors]
        for t in values:
            t._read()  # here, where it is pending
        if self._later is None:
            self._later = queue.SimpleQueue()
            self._worker = threading.Thread(target=_work, args=(self._later,), name="pytorchlike-collectives",
                                            daemon=True)
            self._worker.start()
        self._waiting = promise = Promise()
        self._later.put((promise, call, values))
        return promise

    def _in_turn(self) -> None:
        """Wait for what was started before in the background."""
        if self._waiting is not None and threading.current_thread() is not self._worker:
            self._waiting.exception()
            self._waiting = None

    # --------------------------------------------------------------------------------------------------- collectives

    def reduce_arrays(self, array: np.ndarray, op: ReduceOp, what: str = "all_reduce") -> np.ndarray:
        """The combination of everybody's array, in memory of its own."""
        self._in_turn()
        n, key = self.size(), self._key(_REDUCE)
        if array.nbytes <= _SMALL or n == 1:
            for i in self._others():
                self._send(i, key, array)
            parts = [array if i == self._rank else self._array(i, key, what, array) for i in range(n)]
            return _combine(parts, op)
        flat = array.reshape(-1)
        ends = [flat.size * i // n for i in range(n + 1)]
        pieces = [flat[a:b] for a, b in zip(ends, ends[1:], strict=False)]
        for i in self._others():
            self._send(i, key, pieces[i])
        mine = pieces[self._rank]
        got = [mine if i == self._rank else self._array(i, key, what, mine) for i in range(n)]
        out = aligned_empty(array.shape, array.dtype)
        results = out.reshape(-1)
        results[ends[self._rank] : ends[self._rank + 1]] = done = _combine(got, op)
        key = key._replace(tag=1)
        for i in self._others():
            self._send(i, key, done)
        for i in self._others():
            results[ends[i] : ends[i + 1]] = self._array(i, key, what, pieces[i])
        return out

    def broadcast_array(self, array: np.ndarray, root: int, what: str = "broadcast") -> np.ndarray:
        """The array of `root`, for which the others give one like it."""
        self._in_turn()
        key = self._key(_BROADCAST)
        if self._rank != root:
            return self._array(root, key, what, array)
        for i in self._others():
            self._send(i, key, array)
        return array

    def all_reduce(self, tensor: Tensor, op: ReduceOp) -> Tensor:
        return tensor_like(self.reduce_arrays(host_array(tensor), op), tensor)

    def broadcast(self, tensor: Tensor, root: int) -> Tensor:
        if self._rank == root:
            self.broadcast_array(host_array(tensor), root)
            return tensor
        like = np.broadcast_to(np.zeros((), tensor.dtype.numpy), tuple(tensor.shape))
        return tensor_like(self.broadcast_array(like, root), tensor)

    def _gathered(self, tensor: Tensor, root: int | None, what: str) -> list[Tensor]:
        self._in_turn()
        array, key = host_array(tensor), self._key(_GATHER)
        for i in self._others() if root is None else [root]:
            if i != self._rank:
                self._send(i, key, array)
        if root not in (None, self._rank):
            return []
        return [tensor if i == self._rank else tensor_like(self._array(i, key, what, array), tensor)
                for i in range(self.size())]

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        return self._gathered(tensor, None, "all_gather")

    def gather(self, tensor: Tensor, root: int) -> list[Tensor]:
        return self._gathered(tensor, root, "gather")

    def _swapped(self, arrays: Sequence[np.ndarray], like: Sequence[np.ndarray], what: str) -> list[np.ndarray]:
        self._in_turn()
        key = self._key(_ALL_TO_ALL)
        for i in self._others():
            self._send(i, key, arrays[i])
        return [arrays[i] if i == self._rank else self._array(i, key, what, like[i]) for i in range(self.size())]

    def reduce_scatter(self, tensors: Sequence[Tensor], op: ReduceOp) -> Tensor:
        arrays = [host_array(t) for t in tensors]
        mine = arrays[self._rank]
        parts = self._swapped(arrays, [mine] * self.size(), "reduce_scatter")
        return tensor_like(_combine(parts, op), tensors[self._rank])

    def all_to_all(self, tensors: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
        got = self._swapped([host_array(t) for t in tensors], [_shape_of(t) for t in like], "all_to_all")
        return [tensor_like(array, t) for array, t in zip(got, like, strict=True)]

    def scatter(self, tensors: Sequence[Tensor] | None, like: Tensor, root: int) -> Tensor:
        self._in_turn()
        key = self._key(_SCATTER)
        if self._rank != root:
            return tensor_like(self._array(root, key, "scatter", _shape_of(like)), like)
        assert tensors is not None
        for i in self._others():
            self._send(i, key, host_array(tensors[i]))
        return tensors[root]

    def exchange(self, data: bytes) -> list[bytes]:
        self._in_turn()
        key = self._key(_EXCHANGE)
        for i in self._others():
            self._send(i, key, data)
        return [data if i == self._rank else self._take(i, key, "all_gather_object").tobytes()
                for i in range(self.size())]

    def barrier(self, timeout: timedelta | None = None) -> None:
        self._in_turn()
        key = self._key(_BARRIER)
        for i in self._others():
            self._send(i, key, b"")
        for i in self._others():
            self._take(i, key, "barrier", timeout)

    def monitored_barrier(self, timeout: timedelta | None, wait_all_ranks: bool) -> None:
        """A barrier at which the member 0 says who does not come: the first one, or all of them."""
        self._in_turn()
        limit = self.timeout if timeout is None else timeout
        key = self._key(_BARRIER)
        back = key._replace(tag=1)
        if self._rank:
            self._send(0, key, b"")
            self._take(0, back, "monitored_barrier", limit)
            return
        missing = []
        for i in range(1, self.size()):
            try:
                self._take(i, key, "monitored_barrier", limit)
            except DistBackendError as error:
                missing.append(self.ranks[i])
                if not wait_all_ranks:
                    raise DistBackendError(f"Rank {self.ranks[i]} failed to pass monitoredBarrier in "
                                           f"{limit.total_seconds():g} s: {error}") from error
        if missing:
            raise DistBackendError(f"Ranks {', '.join(map(str, missing))} failed to pass monitoredBarrier in "
                                   f"{limit.total_seconds():g} s")
        for i in range(1, self.size()):
            self._send(i, back, b"")

    # ------------------------------------------------------------------------------------------------ point to point

    def send(self, tensor: Tensor, dst: int, tag: int) -> None:
        self._counts["sent", dst, tag] += 1
        self._send(dst, Key(self._id, _TRANSFER, tag, self._counts["sent", dst, tag]), host_array(tensor))

    def expect(self, src: int, tag: int) -> Key:
        """The key of the next message from `src`, which belongs to the caller from now on."""
        self._counts["got", src, tag] += 1
        return Key(self._id, _TRANSFER, tag, self._counts["got", src, tag])

    def arrived(self, src: int, key: Key) -> bool:
        """Whether `received` would not wait."""
        return self.wire.here(self.ranks[src], key)

    def received(self, like: Tensor, src: int, key: Key, timeout: timedelta | None = None) -> Tensor:
        """The message that was expected."""
        data = self._take(src, key, "recv", timeout)
        return self._as_tensor(data, src, like)

    def recv(self, like: Tensor, src: int | None, tag: int) -> tuple[Tensor, int]:
        if src is not None:
            return self.received(like, src, self.expect(src, tag)), src
        wanted = {self.ranks[i]: Key(self._id, _TRANSFER, tag, self._counts["got", i, tag] + 1) for i in self._others()}
        peer, data = self.wire.take_any(wanted, self.timeout, "recv")
        src = self.ranks.index(peer)
        self._counts["got", src, tag] += 1
        return self._as_tensor(data, src, like), src

    def _as_tensor(self, data: np.ndarray, src: int, like: Tensor) -> Tensor:
        shape = _shape_of(like)
        if data.nbytes != shape.nbytes:
            raise DistBackendError(f"recv: rank {self.ranks[src]} sent {data.nbytes} bytes, but {shape.nbytes} were "
                                   f"expected for {like.dtype} of shape {tuple(like.shape)}")
        return tensor_like(data.view(shape.dtype).reshape(shape.shape), like)

    # ------------------------------------------------------------------------------------------------------- groups

    def subgroup(self, members: Sequence[int], backend: str, name: str, desc: str,
                 timeout: timedelta | None = None) -> ProcessGroup | None:
        ranks = [self.ranks[m] for m in members]
        if self.wire.rank not in ranks:
            return None
        return Processes(self.wire, ranks, backend, self.timeout if timeout is None else timeout, name, desc)

    def shutdown(self) -> None:
        if self._later is not None:
            self._later.put(None)
            self._later = None


def _work(calls: queue.SimpleQueue) -> None:
    while (call := calls.get()) is not None:
        promise, function, values = call
        try:
            promise.set_result(function(values))
        except BaseException as error:
            promise.set_exception(error)
        del call, promise, function, values


class World(Processes):
    """The group of all processes, which ends the connections when it is given up."""

    def shutdown(self) -> None:
        super().shutdown()
        self.wire.close()


class ProcessGroupGloo(World):
    """``ProcessGroupGloo(store, rank, size, timeout)``: the group of all who meet at a store."""

    def __init__(self, store: Store, rank: int, size: int, timeout: timedelta = default_pg_timeout) -> None:
        wire = Wire(store, rank, size, timeout, address_of(store))
        super().__init__(wire, range(size), "gloo", timeout, "0", "undefined")


def _shape_of(t: Tensor) -> np.ndarray:
    """An array of the tensor's shape and dtype that takes no memory."""
    return np.broadcast_to(np.zeros((), t.dtype.numpy), tuple(t.shape))
