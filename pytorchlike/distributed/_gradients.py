"""Many small tensors as one message: what :class:`~..nn.parallel.DistributedDataParallel` sends."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..autograd.mode import no_grad
from ..engine import concrete
from ..engine.memory import ALIGN, aligned_empty
from ..futures import Future
from ..tensor import Tensor
from ..tensor.device import place_for
from ..tensor.staged import write_back
from ._group import ProcessGroup
from ._processes import host_array, tensor_like
from ._reduce_op import ReduceOp

__all__ = ["GradBucket", "Reducer", "check_alike", "send_all"]


class GradBucket:
    """Gradients of one dtype on their way between processes, as a communication hook gets them."""

    def __init__(self, index: int, buffer: Tensor, parameters: list[Tensor], spans: list[tuple[int, int]],
                 last: bool) -> None:
        self._index, self._buffer, self._parameters, self._spans, self._last = index, buffer, parameters, spans, last

    def index(self) -> int:
        """Which bucket of the pass it is."""
        return self._index

    def buffer(self) -> Tensor:
        """The gradients of this process, one after the other (n,); there is room between them, which is 0."""
        return self._buffer

    def set_buffer(self, buffer: Tensor) -> None:
        """Replace the buffer."""
        self._buffer = buffer

    def gradients(self) -> list[Tensor]:
        """The gradients, in the parameters' shapes."""
        return [self._buffer[a:b].view(p.shape) for (a, b), p in zip(self._spans, self._parameters, strict=True)]

    def parameters(self) -> list[Tensor]:
        """Whose gradients they are."""
        return list(self._parameters)

    def is_last(self) -> bool:
        """Whether no further bucket follows in this pass."""
        return self._last


def _spans(tensors: Sequence[Tensor]) -> tuple[list[tuple[int, int]], int]:
    """Where tensors of one dtype lie in a common array, each where XLA can take it without a copy; its length."""
    step = max(1, ALIGN // tensors[0].itemsize)
    spans, at = [], 0
    for t in tensors:
        spans.append((at, at + t.numel()))
        at += -(-t.numel() // step) * step
    return spans, at


def _by_dtype(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    kinds: dict[Any, list[Tensor]] = {}
    for t in tensors:
        kinds.setdefault((t.dtype, t.device), []).append(t)
    yield from kinds.values()


def _put(t: Tensor, array: np.ndarray) -> None:
    """Give a tensor, whatever its history, the values of an array that nobody writes to any more."""
    with no_grad():
        write_back(t, tensor_like(array.reshape(tuple(t.shape)), t)._get())


def send_all(pg: ProcessGroup, tensors: Iterable[Tensor], root: int) -> None:
    """Give everybody the values that the member `root` has, in one message for each dtype."""
    for some in _by_dtype(tensors):
        spans, size = _spans(some)
        flat = aligned_empty((size,), some[0].dtype.numpy)
        flat[...] = 0
        for t, (a, b) in zip(some, spans, strict=True):
            flat[a:b] = host_array(t).reshape(-1)
        made = Tensor._of(concrete(flat, place_for("cpu")))
        got = pg.broadcast(made, root)
        if got is not made:
            values = host_array(got)
            for t, (a, b) in zip(some, spans, strict=True):
                _put(t, values[a:b])


def check_alike(pg: ProcessGroup, named: Sequence[tuple[str, Tensor]]) -> None:
    """Raise RuntimeError on all members if they have other parameters than the first one."""
    mine = [(name, tuple(t.shape), str(t.dtype)) for name, t in named]
    all_of = [pickle.loads(data) for data in pg.exchange(pickle.dumps(mine))]
    for i, theirs in enumerate(all_of):
        if theirs == all_of[0]:
            continue
        pairs = zip(all_of[0], theirs, strict=False)
        what = next((f"{b} where rank 0 has {a}" for a, b in pairs if a != b),
                    f"{len(theirs)} where rank 0 has {len(all_of[0])}")
        raise RuntimeError(f"DDP expects the same model across all ranks, but rank {i} has other parameters: {what}")


class Reducer:
    """Averages the gradients of parameters over a group.

    With `hook`, ``hook(state, bucket)`` returns a future of the tensor that takes the place of the bucket's buffer.
    """

    def __init__(self, pg: ProcessGroup, named: Sequence[tuple[str, Tensor]]) -> None:
        self.pg, self.named = pg, list(named)
        self.hook: Callable[[Any, GradBucket], Future] | None = None
        self.state: Any = None

    def average(self, running: int | None = None, divisor: int | None = None) -> list[str]:
        """Replace each gradient by the average of everybody's, a missing one counting as 0.

        What nobody has stays missing. Returns the names of parameters that somebody has no gradient for, of the
        members that are `running` (None: all).  divisor: what sums are divided by (None: the number of members).
        """
        n = self.pg.size() if running is None else running
        divisor = self.pg.size() if divisor is None else divisor
        order = list(_by_dtype([p for _, p in self.named]))
        names = {id(p): name for name, p in self.named}
        lacking = []
        for index, params in enumerate(order):
            spans, size = _spans(params)
            kind = params[0].dtype.numpy
            flat = aligned_empty((size + len(params),), kind)
            flat[...] = 0
            scale = np.asarray(1 if self.hook is not None else 1 / divisor, kind)
            for i, (p, (a, b)) in enumerate(zip(params, spans, strict=True)):
                grad = p.grad
                if grad is None:
                    continue
                if grad.layout != p.layout:
                    raise NotImplementedError(f"DistributedDataParallel: the gradient of {names[id(p)]} is sparse; use "
                                              "sparse=False")
                np.multiply(host_array(grad).reshape(-1), scale, out=flat[a:b])
                flat[size + i] = 1
            values, counts = self._reduced(index, flat, size, params, spans, index == len(order) - 1)
            for i, (p, (a, b)) in enumerate(zip(params, spans, strict=True)):
                if counts[i] < n:
                    lacking.append(names[id(p)])
                if not counts[i]:
                    continue
                if p.grad is None:
                    p.grad = tensor_like(values[a:b].reshape(tuple(p.shape)), p)
                else:
                    _put(p.grad, values[a:b])
        return lacking

    def _reduced(self, index: int, flat: np.ndarray, size: int, params: list[Tensor], spans: list[tuple[int, int]],
                 last: bool) -> tuple[np.ndarray, np.ndarray]:
        """The averages, and how many members had a gradient."""
        if self.hook is None:
            got = self.pg.all_reduce(Tensor._of(concrete(flat, place_for("cpu"))), ReduceOp.SUM)
            values = host_array(got)
            return values[:size], values[size:]
        counted = self.pg.all_reduce(Tensor._of(concrete(flat[size:].copy(), place_for("cpu"))), ReduceOp.SUM)
        bucket = GradBucket(index, tensor_like(flat[:size], params[0]), params, spans, last)
        future = self.hook(self.state, bucket)
        if not isinstance(future, Future):
            raise TypeError(f"a communication hook returns a torch.futures.Future, but got {type(future).__name__}")
        value = future.wait()
        value = value[0] if isinstance(value, (list, tuple)) else value
        return host_array(value).reshape(-1), host_array(counted)
