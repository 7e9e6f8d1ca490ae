"""What runs in a worker process, and what it knows about itself."""

import contextlib
import gc
import os
import pickle
import queue
import random
import signal
import sys
import threading
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ....tensor.random import default_generator, is_followed, manual_seed
from .fetch import IterableFetcher, MapFetcher
from .shared import Sender

_worker_info: "WorkerInfo | None" = None


@dataclass(frozen=True)
class WorkerInfo:
    """``id`` of ``num_workers``, the ``seed`` of this worker and its copy of the ``dataset``."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


def get_worker_info() -> WorkerInfo | None:
    """The `WorkerInfo` of this process, or None in the main process."""
    return _worker_info


class Job(NamedTuple):
    """What a worker needs to know."""

    id: int
    num_workers: int
    seed: int
    dataset: Any
    iterable: bool
    auto_collation: bool
    collate_fn: Any
    drop_last: bool
    init_fn: Any


class Task(NamedTuple):
    """Fetch the batch ``number`` of an epoch, with random numbers of its own that follow from ``seed`` (the epoch's and
    the worker's). ``freed``: segments of shared memory that may be used again.
    """

    epoch: int
    seed: int
    number: int
    index: Any
    freed: list[int]


class Ended:
    """Answer of a worker whose part of an iterable dataset has no more samples."""


class Failure:
    """Answer of a worker that met an exception, with its traceback as text."""

    def __init__(self, error: BaseException, where: str) -> None:
        self.kind: type[BaseException] = type(error)
        self.text = "".join(traceback.format_exception(error))
        self.where = where
        try:
            pickle.dumps(self.kind)
        except Exception:  # a local class
            self.kind = RuntimeError

    def reraise(self) -> NoReturn:
        """Raise an exception of the same type, or a RuntimeError, whose message holds the worker's traceback."""
        message = f"Caught {self.kind.__name__} {self.where}.\nOriginal {self.text}"
        if self.kind is KeyError:
            raise KeyError(_Verbatim(message))
        try:
            error = self.kind(message)
        except Exception:  # it wants other arguments
            error = RuntimeError(message)
        raise error


class _Verbatim(str):
    """Text that is its own repr, since KeyError shows the repr of its argument."""

    def __repr__(self) -> str:
        return str(self)


def run(connection: Connection, foreign: Iterable[Connection], job: Job | bytes, values: list[Any] | None) -> None:
    """Answer the tasks that come over a connection until the main process says None, or ends.

    ``foreign``: ends of connections that the fork copied from the main process. ``job`` is pickled unless the process
    was forked, and ``values`` are then the host values of the dataset's tensors.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the main one ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in foreign:  # held open here, they would hide that the main process has ended
        with contextlib.suppress(OSError):
            other.close()
    if values is not None:
        from .forked import compute_by_numpy, to_numpy

        gc.freeze()  # garbage of the main process is not to be collected here: it may belong to an accelerator
        to_numpy(values)
        compute_by_numpy()
    else:
        import jax

        jax.config.update("jax_platforms", "cpu")  # accelerators belong to the main process
    inbox: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox), daemon=True).start()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        _serve(inbox, Sender(connection), pickle.loads(job) if isinstance(job, bytes) else job)


def _listen(connection: Connection, inbox: queue.SimpleQueue) -> None:
    """Pass tasks on at once, so that the main process never waits to send one. End the process when it is gone."""
    try:
        while (task := connection.recv()) is not None:
            inbox.put(task)
        while not inbox.empty():
            inbox.get()
        inbox.put(None)
    except (EOFError, OSError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _serve(inbox: queue.SimpleQueue, sender: Sender, job: Job) -> None:
    where = f"in DataLoader worker process {job.id}"
    fetcher, epoch, failed = None, None, None
    try:
        _begin(job)
    except Exception as error:
        failed = Failure(error, where)
    while (task := inbox.get()) is not None:
        sender.free(task.freed)
        if task.epoch != epoch:  # a persistent worker begins the dataset anew
            fetcher, epoch = None, task.epoch
        try:
            if failed is not None:
                answer, failed = failed, None
            else:
                if fetcher is None:
                    made = IterableFetcher if job.iterable else MapFetcher
                    fetcher = made(job.dataset, job.auto_collation, job.collate_fn, job.drop_last)
                if job.init_fn is None and not is_followed():  # it may have chosen other seeds; PyTorch's draw on
                    _seed(task.seed, task.number)
                answer = fetcher.fetch(task.index)
        except StopIteration as error:
            answer = Ended() if job.iterable else Failure(error, where)
        except Exception as error:
            answer = Failure(error, where)
        try:
            sender.send(task.epoch, task.number, answer)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:  # it cannot be pickled, or there is no memory for it
            sender.send(task.epoch, task.number, Failure(error, where))
        del answer


def _begin(job: Job) -> None:
    global _worker_info
    _seed(job.seed)
    if is_followed():
        random.seed(job.seed)
        np.random.seed(_generate_state(job.seed - job.id, job.id))
    _worker_info = WorkerInfo(job.id, job.num_workers, job.seed, job.dataset)
    if job.init_fn is not None:
        job.init_fn(job.id)


def _seed(seed: int, batch: int | None = None) -> None:
    """Seed all generators. The numbers of a batch do not depend on what was loaded before it."""
    manual_seed(seed)
    default_generator.set_offset(0 if batch is None else (batch + 1) << 32)
    state = np.random.SeedSequence([seed] if batch is None else [seed, batch]).generate_state(4)
    random.seed(state.tobytes())
    np.random.seed(state)


def _generate_state(base_seed: int, worker_id: int) -> list[int]:
    """NumPy's state for a worker, as PyTorch derives it; for libraries that seed workers of their own."""
    words = [worker_id, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    return np.random.SeedSequence(words).generate_state(4).tolist()
