"""Process groups: what a backend must do, and the group of one process.

The functions of ``_collectives.py`` check arguments, choose the group and write results to the caller's tensors. A
:class:`ProcessGroup` does the rest, as functions: its collectives take tensors and return tensors, and ranks are those
within the group. So another backend implements the abstract methods, registers by ``Backend.register_backend``, and is
complete.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from concurrent.futures import Future as Promise
from datetime import timedelta
from typing import Any, ClassVar

from ..futures import Future
from ..tensor import Tensor
from ._reduce_op import ReduceOp
from ._store import DistBackendError, Store

__all__ = ["Backend", "BackendConfig", "ProcessGroup", "SingleProcess", "Work"]


class ProcessGroup(abc.ABC):
    """Members of the world that exchange tensors. ``ranks``: their ranks in the world, by their rank in the group."""

    def __init__(self, ranks: Sequence[int], rank: int, backend: str, name: str = "0", desc: str = "undefined") -> None:
        if not 0 <= rank < len(ranks):
            raise RuntimeError(f"rank {rank} is not below the number of processes, {len(ranks)}")
        self.ranks = tuple(ranks)
        self.group_name, self.group_desc = name, desc
        self._rank, self._backend = rank, backend

    def rank(self) -> int:
        """The rank of this process within the group."""
        return self._rank

    def size(self) -> int:
        """The number of members."""
        return len(self.ranks)

    def name(self) -> str:
        """The backend's name."""
        return self._backend

    @abc.abstractmethod
    def all_reduce(self, tensor: Tensor, op: ReduceOp) -> Tensor:
        """The combination of everybody's `tensor`."""

    @abc.abstractmethod
    def broadcast(self, tensor: Tensor, root: int) -> Tensor:
        """The tensor of `root`; the others give one of its shape and dtype."""

    @abc.abstractmethod
    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """Everybody's tensor, all of one shape and dtype, by rank."""

    @abc.abstractmethod
    def reduce_scatter(self, tensors: Sequence[Tensor], op: ReduceOp) -> Tensor:
        """The combination of everybody's ``tensors[own rank]``."""

    @abc.abstractmethod
    def all_to_all(self, tensors: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
        """What each member has for this one: ``tensors[own rank]`` of each, of the shapes of `like`."""

    @abc.abstractmethod
    def scatter(self, tensors: Sequence[Tensor] | None, like: Tensor, root: int) -> Tensor:
        """``tensors[own rank]`` of `root`; the others give None. Of the shape and dtype of `like`."""

    @abc.abstractmethod
    def send(self, tensor: Tensor, dst: int, tag: int) -> None:
        """Send to the member `dst`."""

    @abc.abstractmethod
    def recv(self, like: Tensor, src: int | None, tag: int) -> tuple[Tensor, int]:
        """A tensor from `src` (None: from anyone), and from whom it came."""

    @abc.abstractmethod
    def exchange(self, data: bytes) -> list[bytes]:
        """Everybody's bytes, of any lengths, by rank. Objects travel like this, pickled."""

    @abc.abstractmethod
    def barrier(self, timeout: timedelta | None = None) -> None:
        """Return when all members have called this."""

    @abc.abstractmethod
    def subgroup(self, members: Sequence[int], backend: str, name: str, desc: str,
                 timeout: timedelta | None = None) -> ProcessGroup | None:
        """The group of these members, by their ranks here; None in a process that is not among them.

        name: the same for all members, and of no other group.   timeout: None stands for this group's.
        """

    def start(self, tensors: Sequence[Tensor], call: Callable[[Sequence[Tensor]], Any]) -> Promise:
        """What ``call(tensors)`` returns, a collective of this group, later: after what was started before."""
        promise: Promise = Promise()
        promise.set_result(call(tensors))
        return promise

    def monitored_barrier(self, timeout: timedelta | None, wait_all_ranks: bool) -> None:
        """A barrier which says who does not come: the first of them, or all."""
        self.barrier(timeout)

    def reduce(self, tensor: Tensor, op: ReduceOp, root: int) -> Tensor:
        """As `all_reduce`; only `root`'s result is meant."""
        return self.all_reduce(tensor, op)

    def gather(self, tensor: Tensor, root: int) -> list[Tensor]:
        """As `all_gather`; only `root`'s result is meant."""
        return self.all_gather(tensor)

    def shutdown(self) -> None:  # noqa: B027 - most backends hold nothing
        """Give back what the group holds. It is not used afterwards."""


class SingleProcess(ProcessGroup):
    """The group of one process: each collective is the identity, and nothing is copied, read or executed."""

    def all_reduce(self, tensor: Tensor, op: ReduceOp) -> Tensor:
        return tensor

    def broadcast(self, tensor: Tensor, root: int) -> Tensor:
        return tensor

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        return [tensor]

    def reduce_scatter(self, tensors: Sequence[Tensor], op: ReduceOp) -> Tensor:
        return tensors[0]

    def all_to_all(self, tensors: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
        return list(tensors)

    def scatter(self, tensors: Sequence[Tensor] | None, like: Tensor, root: int) -> Tensor:
        assert tensors is not None
        return tensors[0]

    def send(self, tensor: Tensor, dst: int, tag: int) -> None:
        raise RuntimeError("send: a group of one process has nobody to send to")

    def recv(self, like: Tensor, src: int | None, tag: int) -> tuple[Tensor, int]:
        raise RuntimeError("recv: a group of one process has nobody to receive from")

    def exchange(self, data: bytes) -> list[bytes]:
        return [data]

    def barrier(self, timeout: timedelta | None = None) -> None:
        return None

    def subgroup(self, members: Sequence[int], backend: str, name: str, desc: str,
                 timeout: timedelta | None = None) -> ProcessGroup | None:
        return SingleProcess(self.ranks, 0, backend, name, desc) if list(members) == [0] else None


class Work:
    """What an asynchronous collective returns. The tensors have their new values after ``wait`` or ``is_completed``.

    poll: whether the result has come.   finish: takes the result, waiting for it at most so many seconds (None: as
    long as the group does), and writes it to the tensors.  Without them everything has been done already.
    """

    def __init__(self, result: Any = None, source: int = -1, poll: Callable[[], bool] | None = None,
                 finish: Callable[[float | None], None] | None = None) -> None:
        self._result, self._source = result, source
        self._poll, self._finish = poll, finish
        self._error: BaseException | None = None
        self._future: Future | None = None

    @staticmethod
    def of(promise: Promise, write: Callable[[Any], None], result: Any) -> Work:
        """The Work that writes what is promised."""

        def finish(timeout: float | None) -> None:
            try:
                value = promise.result(timeout)
            except TimeoutError:
                raise DistBackendError(f"Work.wait: timed out after {timeout:g} s") from None
            write(value)

        return Work(result, -1, promise.done, finish)

    def wait(self, timeout: timedelta | None = None) -> bool:
        """Wait for the result and write it to the tensors; True. Raises what went wrong, or after `timeout`."""
        if self._finish is not None:
            finish = self._finish
            try:
                finish(timeout.total_seconds() if timeout else None)
            except BaseException as error:
                self._error = error
                raise
            self._finish = None
            if self._future is not None:
                self._future.set_result(self._result)
        return True

    synchronize = wait

    def is_completed(self) -> bool:
        """Whether the result is there; it is written to the tensors then."""
        if self._finish is not None and self._poll is not None and self._poll():
            try:
                self.wait()
            except Exception:  # kept for exception() and wait()
                return True
        return self._finish is None

    def is_success(self) -> bool:
        """Whether the result is there and nothing went wrong."""
        return self.is_completed() and self._error is None

    def exception(self) -> BaseException | None:
        """What went wrong, or None."""
        return self._error

    def result(self) -> Any:
        """The tensors that were written to."""
        self.wait()
        return self._result

    def source_rank(self) -> int:
        """From whom a tensor was received; -1 for other collectives."""
        return self._source

    def get_future(self) -> Future:
        """A future of the tensors; its ``wait`` is that of this Work."""
        if self._future is None:
            self._future = _OfWork(self)
            if self._finish is None:
                self._future.set_result(self._result)
        return self._future


class _OfWork(Future):
    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    def wait(self) -> Any:
        self._work.wait()
        return super().wait()

    def done(self) -> bool:
        self._work.is_completed()
        return super().done()


#: Makes the world: ``creator(store, rank, world_size, timeout)``.
Creator = Callable[[Store, int, int, timedelta], ProcessGroup]


class Backend(str):
    """The name of a backend, in lower case. The known ones are the same here: see ``_processes.py``.

    Raises ValueError for what is no string.
    """

    UNDEFINED: ClassVar[str] = "undefined"
    GLOO: ClassVar[str] = "gloo"
    NCCL: ClassVar[str] = "nccl"
    UCC: ClassVar[str] = "ucc"
    MPI: ClassVar[str] = "mpi"
    XCCL: ClassVar[str] = "xccl"
    FAKE: ClassVar[str] = "fake"
    backend_list: ClassVar[list[str]] = [UNDEFINED, GLOO, NCCL, XCCL, UCC, MPI, FAKE]
    default_device_backend_map: ClassVar[dict[str, str]] = {
        "cpu": GLOO, "cuda": NCCL, "tpu": GLOO, "xla": GLOO, "xpu": XCCL, "mps": GLOO,
    }  # fmt: skip
    _creators: ClassVar[dict[str, Creator]] = {}

    def __new__(cls, name: str) -> Backend:
        if not isinstance(name, str):
            raise ValueError(f"Backend constructor parameter must be string-ish, but got {name!r}")
        return str.__new__(cls, name.lower())

    @classmethod
    def register_backend(cls, name: str, func: Creator, extended_api: bool = False,
                         devices: str | Sequence[str] | None = None) -> None:
        """Make `name` a backend: ``func(store, rank, world_size, timeout)`` returns the world, a ProcessGroup.

        devices: those that use it by default. RuntimeError if the name is taken; NotImplementedError for extended_api,
        whose options are those of PyTorch's C++ classes.
        """
        name = cls(name)
        if name in cls.backend_list:
            raise RuntimeError(f"{name} c10d backend already exists")
        if extended_api:
            raise NotImplementedError("Backend.register_backend: extended_api passes options of PyTorch's C++ classes")
        cls.backend_list.append(str(name))
        cls._creators[name] = func
        for device in [devices] if isinstance(devices, str) else devices or ():
            cls.default_device_backend_map[device] = str(name)


class BackendConfig:
    """Which backend serves which device: of a name like 'gloo' or 'cpu:gloo,cuda:nccl'. ValueError for a bad one."""

    def __init__(self, backend: Backend) -> None:
        name = str(backend)
        self.device_backend_map: dict[str, str] = {}
        if ":" in name:
            for part in name.split(","):
                device, colon, own = part.partition(":")
                if not colon or device in self.device_backend_map:
                    raise ValueError(f"The custom backend string argument is invalid: {name}")
                self.device_backend_map[device] = own
        elif name == Backend.UNDEFINED:
            self.device_backend_map = dict(Backend.default_device_backend_map)
        else:
            self.device_backend_map = dict.fromkeys(Backend.default_device_backend_map, name)

    def get_device_backend_map(self) -> dict[str, str]:
        """Backends by the kind of device."""
        return self.device_backend_map

    def __repr__(self) -> str:
        return ",".join(f"{device}:{backend}" for device, backend in self.device_backend_map.items())
