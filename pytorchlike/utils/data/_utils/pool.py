"""The worker processes of a loader, as the main process sees them."""

import multiprocessing
import signal
import sys
import time
import warnings
import weakref
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.reduction import ForkingPickler
from typing import Any

from .shared import Receiver
from .worker import Job, Task, run

#: Our ends of all connections, for forked workers to close.
_ours: "weakref.WeakSet[Connection]" = weakref.WeakSet()

#: Seconds that workers have to finish what they are at before they are stopped.
GRACE = 5.0
_STEP = 1.0


def default_context() -> BaseContext:
    """The start method that was set, or fork on Linux, as in PyTorch."""
    method = multiprocessing.get_start_method(allow_none=True)
    if method is None and sys.platform == "linux":
        method = "fork"
    return multiprocessing.get_context(method)


class Worker:
    """One process, and the connection to it. ``values``: of the dataset's tensors, for a fork (see ``forked.py``)."""

    def __init__(self, context: BaseContext, job: Job, values: list[Any] | None) -> None:
        self.id = job.id
        self.connection, theirs = multiprocessing.Pipe(duplex=True)
        _ours.add(self.connection)
        self.receiver = Receiver(self.connection)
        forked = values is not None
        foreign = tuple(_ours) if forked else ()
        given = job if forked else bytes(ForkingPickler.dumps(job))
        self.process = context.Process(  # type: ignore[attr-defined]
            target=run, args=(theirs, foreign, given, values), daemon=True, name=f"pytorchlike-data-{job.id}"
        )
        try:
            with warnings.catch_warnings():
                # Both warn of what `forked.compute_by_numpy` sees to.
                warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
                warnings.filterwarnings("ignore", message=".*use of fork", category=DeprecationWarning)
                self.process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()
        self.pid = self.process.pid

    def why_it_ended(self) -> str:
        """How the process ended, for an error message."""
        self.process.join(_STEP)
        code = self.process.exitcode
        if code is None:
            return f"DataLoader worker (pid {self.pid}), number {self.id}, has closed its connection, but still runs"
        if code < 0:
            try:
                name = f"{signal.Signals(-code).name} ({signal.strsignal(-code)})"
            except ValueError:
                name = str(-code)
            hint = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
            return f"DataLoader worker (pid {self.pid}), number {self.id}, is killed by signal: {name}{hint}"
        return f"DataLoader worker (pid(s) {self.pid}) exited unexpectedly: number {self.id}, with exit code {code}"


def _close(workers: list[Worker], grace: float) -> None:
    """End processes: they are told, after ``grace`` seconds terminated, and killed if that does not help."""
    for worker in workers:
        try:
            worker.connection.send(None)
        except OSError:
            pass
    for stop, patience in ((None, grace), ("terminate", _STEP), ("kill", _STEP)):
        running = [w for w in workers if w.process.is_alive()]
        for worker in running:
            if stop is not None:
                getattr(worker.process, stop)()
        until = time.monotonic() + patience
        for worker in running:
            worker.process.join(max(0.0, until - time.monotonic()))
    for worker in workers:
        worker.connection.close()
    workers.clear()


class Pool:
    """Workers with the tasks that they have been given. They end with this object at the latest."""

    def __init__(self, context: BaseContext | None, jobs: list[Job]) -> None:
        self.workers: list[Worker] = []
        self._processes: list[Any] = []
        self.epoch = 0
        self.seed = 0  # of the present epoch
        self._finish = weakref.finalize(self, _close, self.workers, GRACE)
        context = context or default_context()
        values = None
        if context.get_start_method() == "fork":
            from .forked import host_values

            values = host_values(jobs[0].dataset, jobs[0].collate_fn, jobs[0].init_fn)
        try:
            for job in jobs:
                self.workers.append(Worker(context, job, values))
                self._processes.append(self.workers[-1].process)
        except BaseException:
            self.close(_STEP)
            raise

    @property
    def processes(self) -> list[Any]:
        """The processes, also once they have been ended."""
        return list(self._processes)

    @property
    def pids(self) -> list[int]:
        """The processes."""
        return [w.pid for w in self.workers]

    @property
    def closed(self) -> bool:
        """Whether the workers have been ended."""
        return not self._finish.alive

    def give(self, worker: int, number: int, index: Any) -> None:
        """Hand a task to a worker."""
        w = self.workers[worker]
        try:
            w.connection.send(Task(self.epoch, self.seed + worker, number, index, w.receiver.take_freed()))
        except OSError:  # it has ended, which `receive` will find and explain
            pass

    def receive(self, timeout: float, block: bool = True) -> list[tuple[int, int, Any]]:
        """Answers that have arrived, as (worker, number, answer); waits for one, unless ``block`` is False.

        RuntimeError if a worker has ended or, with ``timeout``, if none answers in so many seconds; all are ended then.
        """
        by_connection = {w.connection: w for w in self.workers}
        until = time.monotonic() + timeout if timeout > 0 else None
        answers: list[tuple[int, int, Any]] = []
        while not answers:
            left = 0.0 if not block else None if until is None else max(0.0, until - time.monotonic())
            ready = wait(by_connection, left)
            if not ready and not block:
                break
            if not ready:
                pids = ", ".join(map(str, self.pids))
                self.close(0.0)
                raise RuntimeError(f"DataLoader timed out after {timeout:g} seconds: no batch came from its workers "
                                   f"(pid(s) {pids}). Raise timeout, or look for what hangs in the dataset.")
            for connection in ready:
                worker = by_connection[connection]
                try:
                    number, answer = worker.receiver.receive(self.epoch)
                except (EOFError, ConnectionResetError):
                    if not block:  # those who wait for its answer will hear of it
                        return answers
                    why = worker.why_it_ended()
                    self.close(_STEP)
                    raise RuntimeError(why + ". Run with num_workers=0 to see an error of the dataset's.") from None
                if answer is not None:
                    answers.append((worker.id, number, answer[0]))
        return answers

    def close(self, grace: float = GRACE) -> None:
        """End the workers."""
        if self._finish.detach() is not None:
            _close(self.workers, grace)
