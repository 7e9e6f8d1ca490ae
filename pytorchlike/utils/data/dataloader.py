"""The loader: batches of a dataset in a sampler's order."""

import math
import multiprocessing
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.context import BaseContext
from typing import Any, Generic, TypeVar

from ...engine import host, local
from ...tensor.functions_settings import get_num_threads
from ...tensor.random import Generator, is_followed
from ._random import draw_seed
from ._utils import ahead
from ._utils.collate import default_collate as default_collate
from ._utils.collate import default_convert as default_convert
from ._utils.fetch import IterableFetcher, MapFetcher
from ._utils.pool import Pool
from ._utils.worker import Ended, Failure, Job
from ._utils.worker import get_worker_info as get_worker_info
from .dataset import Dataset, IterableDataset
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler

__all__ = ["DataLoader", "get_worker_info", "default_collate", "default_convert"]

_T_co = TypeVar("_T_co", covariant=True)
# Loaders of other libraries annotate their arguments by these names.
_collate_fn_t = Callable[[list[Any]], Any]
_worker_init_fn_t = Callable[[int], None]


class _DatasetKind:
    Map = 0
    Iterable = 1


class _InfiniteConstantSampler(Sampler):
    """Indices for a dataset that needs none."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader(Generic[_T_co]):
    """Iterates over batches of a dataset.

    ``batch_size``: samples per batch; None hands out samples as they are. ``shuffle``, or a ``sampler`` of indices, or
    a ``batch_sampler`` of lists of indices. ``collate_fn``: samples -> batch (`default_collate`; `default_convert`
    without batching). ``drop_last``: leave out a last smaller batch. ``generator``: for shuffling and the workers'
    seeds.
    ``pin_memory``: batches, with workers also the one after, are on their way to the accelerator when they are handed
    out, so that ``.to(device)`` finds them there; one batch more on the device. ``pin_memory_device``: which one.

    Workers: ``num_workers`` processes, each with a copy of the dataset, load batches in advance, ``prefetch_factor``
    (2) each; batches come in order unless ``in_order`` is False. Arrays and tensors arrive through shared memory. An
    iterable dataset is iterated in each worker: split it by `get_worker_info`, or in ``worker_init_fn(worker id)``.
    Each worker seeds the library, `random` and NumPy with a base seed from ``generator`` plus its id, and without a
    ``worker_init_fn`` again for each batch, so that a resumed iteration has the same random numbers (not where
    PyTorch's numbers are followed, whose workers draw on). ``timeout``: seconds to wait for a batch, 0 for ever.
    ``persistent_workers``: keep the processes for the next iteration.
    ``multiprocessing_context``: the start method. The default on Linux is "fork"; in forked workers, where XLA does not
    work, tensor operations are evaluated by NumPy, on the CPU; the few that have no equivalent raise
    NotImplementedError. Workers of "forkserver" and "spawn" have all; they must be able to unpickle the dataset.
    Without workers, too, what the dataset and ``collate_fn`` compute is evaluated by NumPy where that is possible, so
    that nothing is compiled for it.
    An exception in a worker is raised with the worker's traceback in its message; a worker that ends without being
    asked to, or a timeout, is a RuntimeError that tells the process, and ends the others.

    `state_dict` tells where the iteration stands; a loader that loads it goes on there, in the same order.

    Raises ValueError for options that exclude each other or are out of range, in PyTorch's words.
    """

    dataset: Dataset[_T_co]
    batch_size: int | None
    num_workers: int
    pin_memory: bool
    drop_last: bool
    timeout: float
    sampler: Sampler | Iterable
    pin_memory_device: str
    prefetch_factor: int | None
    __initialized = False

    def __init__(self, dataset: Dataset[_T_co], batch_size: int | None = 1, shuffle: bool | None = None,
                 sampler: Sampler | Iterable | None = None, batch_sampler: Sampler[list] | Iterable[list] | None = None,
                 num_workers: int = 0, collate_fn: Callable[[list], Any] | None = None, pin_memory: bool = False,
                 drop_last: bool = False, timeout: float = 0, worker_init_fn: Callable[[int], None] | None = None,
                 multiprocessing_context: Any = None, generator: Generator | None = None, *,
                 prefetch_factor: int | None = None, persistent_workers: bool = False, pin_memory_device: str = "",
                 in_order: bool = True) -> None:
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing, "
                             f"but got num_workers={num_workers}.")
        if timeout < 0:
            raise ValueError(f"timeout option should be non-negative, but got timeout={timeout}")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError("prefetch_factor option could only be specified in multiprocessing. Let num_workers > 0 "
                             "to enable multiprocessing, otherwise set prefetch_factor to None.")
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError(f"prefetch_factor option should be non-negative, but got {prefetch_factor}")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        cpus = get_num_threads()
        if num_workers > cpus:
            warnings.warn(
                f"This DataLoader will create {num_workers} worker processes in total. Our suggested max number of "
                f"worker in current system is {cpus}, which is smaller than that. Too many may be slow or even freeze.",
                stacklevel=2,
            )
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order

        iterable = isinstance(dataset, IterableDataset)
        self._dataset_kind = _DatasetKind.Iterable if iterable else _DatasetKind.Map
        if iterable:
            if shuffle not in (False, None):
                raise ValueError("DataLoader with IterableDataset: expected unspecified shuffle option, but got "
                                 f"shuffle={shuffle}")
            if sampler is not None:
                raise ValueError("DataLoader with IterableDataset: expected unspecified sampler option, but got "
                                 f"sampler={sampler}")
            if batch_sampler is not None:
                raise ValueError("DataLoader with IterableDataset: expected unspecified batch_sampler option, but got "
                                 f"batch_sampler={batch_sampler}")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and "
                                 "drop_last")
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            if iterable:
                sampler = _InfiniteConstantSampler()
            else:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        if collate_fn is None:
            collate_fn = default_collate if self._auto_collation else default_convert
        self.collate_fn = collate_fn
        self.persistent_workers = persistent_workers
        self._IterableDataset_len_called: int | None = None
        self._iterator: _BaseDataLoaderIter | None = None
        self._pool: Pool | None = None  # persistent workers
        self._resume: dict[str, Any] | None = None
        self.__initialized = True

    @property
    def multiprocessing_context(self) -> BaseContext | None:
        """How workers are started."""
        return self.__multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: Any) -> None:
        if context is not None:
            if self.num_workers == 0:
                raise ValueError("multiprocessing_context can only be used with multi-process loading (num_workers > "
                                 f"0), but got num_workers={self.num_workers}")
            if isinstance(context, str):
                methods = multiprocessing.get_all_start_methods()
                if context not in methods:
                    raise ValueError("multiprocessing_context option should specify a valid start method in "
                                     f"{methods!r}, but got multiprocessing_context={context!r}")
                context = multiprocessing.get_context(context)
            if not isinstance(context, BaseContext):
                raise TypeError("multiprocessing_context option should be a valid context object or a string "
                                f"specifying the start method, but got multiprocessing_context={context}")
        self.__multiprocessing_context = context

    def __setattr__(self, name: str, value: Any) -> None:
        if self.__initialized and name in ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset",
                                           "persistent_workers"):
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    def __iter__(self) -> "_BaseDataLoaderIter":
        return self._get_iterator()

    def _get_iterator(self) -> "_BaseDataLoaderIter":
        """One pass over the batches; subclasses that define ``__iter__`` begin passes by it."""
        if self.num_workers == 0:
            self._iterator = _SingleProcessDataLoaderIter(self)
            return self._iterator
        before = self._pool if self.persistent_workers else None
        self._pool = None
        if before is not None and before.closed:
            before = None
        self._iterator = _MultiProcessingDataLoaderIter(self, before)
        if self.persistent_workers:
            self._pool = self._iterator.pool
        return self._iterator

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.batch_sampler if self._auto_collation else self.sampler

    def __len__(self) -> int:
        """Number of batches; of an iterable dataset as its ``__len__`` tells."""
        if self._dataset_kind == _DatasetKind.Map:
            return len(self._index_sampler)
        length = self._IterableDataset_len_called = len(self.dataset)
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else math.ceil(length / self.batch_size)

    # ---- going on where another run stopped -------------------------------------------------------------------------

    def _stateful(self) -> dict[str, Any]:
        """The parts of this loader that keep a state of their own, by name."""
        parts = {"batch_sampler": self.batch_sampler, "sampler": getattr(self.batch_sampler, "sampler", self.sampler),
                 "dataset": self.dataset}
        return {name: part for name, part in parts.items()
                if callable(getattr(part, "state_dict", None)) and callable(getattr(part, "load_state_dict", None))}

    def state_dict(self) -> dict[str, Any]:
        """Where the iteration stands: batches handed out, and the states of sampler and dataset if they have one.

        Between two epochs (or before the first) the next iteration is a new one.
        """
        iterator = self._iterator
        if iterator is None:
            return dict(self._resume) if self._resume is not None else {"running": False, "batches": 0, "parts": {}}
        parts = {name: part.state_dict() for name, part in self._stateful().items()}
        return {"running": not iterator.ended, "batches": iterator.handed_out, "parts": parts,
                "base_seed": iterator._base_seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Have the next iteration go on where the saved one stood.

        A dataset with ``load_state_dict`` goes on by itself; other iterable datasets are read again up to that place,
        and of map-style ones only the indices are skipped. A sampler without a state must repeat its order by itself.
        """
        unknown = set(state_dict["parts"]) - set(self._stateful())
        if unknown:
            raise ValueError("DataLoader.load_state_dict: the saved state has parts this loader lacks: "
                             f"{sorted(unknown)}")
        self._iterator = None
        self._resume = dict(state_dict)


class _BaseDataLoaderIter:
    """One pass over a loader's batches."""

    def __init__(self, loader: DataLoader) -> None:
        self.destination = ahead.destination(loader.pin_memory_device) if loader.pin_memory else None
        if loader.pin_memory and self.destination is None:
            warnings.warn("'pin_memory' argument is set as true but no accelerator is found, then device pinned memory "
                          "won't be used.", stacklevel=4)
        self.loader = loader
        self.handed_out = 0
        self.ended = False
        self.iterable = loader._dataset_kind == _DatasetKind.Iterable
        self.counted = loader._IterableDataset_len_called if self.iterable else None
        resume = getattr(loader, "_resume", None)  # loaders of other classes, as fastai's, cannot go on in the middle
        if resume is not None:
            loader._resume = None
        skip, own_place = 0, False
        goes_on = resume is not None and resume["running"]
        known = resume.get("base_seed") if goes_on else None
        if known is None and is_followed():
            known = self._seed_of_before()
        self._base_seed = draw_seed(loader.generator) if known is None else known  # if known, it was drawn before
        if goes_on:
            stateful = loader._stateful()
            for name, state in resume["parts"].items():
                stateful[name].load_state_dict(state)
            own_place = "dataset" in resume["parts"]
            skip = resume["batches"]
        self.indices = iter(loader._index_sampler)
        self._begin()
        for _ in range(skip):
            if not self.iterable or own_place:
                next(self.indices)
            else:
                self._next()
        self.handed_out = skip
        if not self.iterable:
            self._skipped(skip)

    def _seed_of_before(self) -> int | None:
        """The base seed of workers that go on, for which PyTorch draws no other."""
        return None

    def _begin(self) -> None:
        """Get ready, before batches that an earlier run has handed out are skipped."""

    def _skipped(self, batches: int) -> None:
        """Count on from so many batches."""

    def _next(self) -> Any:
        raise NotImplementedError

    def _look_ahead(self) -> None:
        """Begin to copy the batch after this one to the device, if it is there already."""

    def __iter__(self) -> "_BaseDataLoaderIter":
        return self

    def __next__(self) -> Any:
        if getattr(local, "session", None) is None:
            return self._batch()
        from ...autograd.profiler import ranged

        return ranged(f"enumerate(DataLoader)#{type(self).__name__}.__next__", self._batch)

    def _batch(self) -> Any:
        try:
            batch = self._next()
        except StopIteration:
            self.ended = True
            raise
        if self.destination is not None:
            batch = ahead.start(batch, self.destination)
            self._look_ahead()
        self.handed_out += 1
        if self.counted is not None and self.handed_out > self.counted:
            warnings.warn(f"Length of IterableDataset {self.loader.dataset} was reported to be {self.counted} (when "
                          f"accessing len(dataloader)), but {self.handed_out} samples have been fetched."
                          + _SPLIT * (self.loader.num_workers > 1), stacklevel=3)
        return batch

    @property
    def _num_yielded(self) -> int:
        """PyTorch's name, from which programs save how far a pass has come."""
        return self.handed_out

    def __len__(self) -> int:
        return len(self.loader._index_sampler)

    def __getstate__(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")


_SPLIT = (" Each worker iterates over its own copy of the dataset: split it among them by "
          "torch.utils.data.get_worker_info(), lest they all give the same samples.")


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """One pass over a loader's batches in this process."""

    def __init__(self, loader: DataLoader) -> None:
        if loader.timeout != 0:
            raise AssertionError(f"timeout={loader.timeout} needs num_workers > 0")
        super().__init__(loader)

    def _begin(self) -> None:
        loader = self.loader
        fetcher = IterableFetcher if self.iterable else MapFetcher
        self.fetcher = fetcher(loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last)

    def _next(self) -> Any:
        # What the dataset computes is no part of the training step, whose program would differ with it.
        with host.apart():
            return self.fetcher.fetch(next(self.indices))


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """One pass over a loader's batches, which worker processes fetch.

    Tasks are numbered and go to the workers in turn, a further one with each answer that is handed out; so which worker
    fetches which batch does not depend on their speed, if batches come in order.
    """

    def __init__(self, loader: DataLoader, pool: Pool | None = None) -> None:
        self.pool = pool
        super().__init__(loader)
        self._prime()

    def _seed_of_before(self) -> int | None:
        return None if self.pool is None else self.pool.seed

    def _begin(self) -> None:
        loader = self.loader
        n = loader.num_workers
        if self.pool is None:
            jobs = [Job(i, n, self._base_seed + i, loader.dataset, self.iterable, loader._auto_collation,
                        loader.collate_fn, loader.drop_last, loader.worker_init_fn) for i in range(n)]
            self.pool = Pool(loader.multiprocessing_context, jobs)
        else:
            self.pool.epoch += 1
        self.epoch = self.pool.epoch
        self.pool.seed = self._base_seed
        self.tasks = [0] * n  # tasks each worker has
        self.active = [True] * n  # whose part of an iterable dataset goes on
        self.turn = 0
        self.sent = self.expected = 0  # numbers of the next task and, in order, of the next answer
        self.answers: dict[int, Any] = {}
        self.primed = False

    def _skipped(self, batches: int) -> None:
        self.sent = self.expected = batches
        self.turn = batches % len(self.tasks)

    def _prime(self) -> None:
        """Give each worker its first tasks, once."""
        if not self.primed:
            self.primed = True
            for _ in range(max(self.loader.prefetch_factor, 1) * len(self.tasks)):
                if not self._give():
                    break

    def _give(self) -> bool:
        """Hand out one more task, unless there is none or nobody to take it."""
        n = len(self.tasks)
        turns = [(self.turn + k) % n for k in range(n)]
        open_ = [w for w in turns if self.active[w]]
        if not open_:
            return False
        if not self.loader.in_order:
            open_.sort(key=lambda w: self.tasks[w])  # stable: in turn among equals
        worker = open_[0]
        try:
            index = next(self.indices)
        except StopIteration:
            return False
        self.turn = (worker + 1) % n
        self.tasks[worker] += 1
        self.pool.give(worker, self.sent, index)
        self.sent += 1
        return True

    def _next(self) -> Any:
        if self.ended:
            raise StopIteration
        if self.epoch != self.pool.epoch:
            raise RuntimeError("DataLoader: its persistent workers serve another iteration, which began after this one")
        try:
            answer = self._answer()
        except StopIteration:
            self._finish()
            raise
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            self.pool.close(0.5)
            raise
        if isinstance(answer, Failure):
            answer.reraise()
        return answer

    def _answer(self) -> Any:
        """The answer that is next, after a further task has been given for it."""
        self._prime()
        while self.expected < self.sent:
            number = self.expected if self.loader.in_order else next(iter(self.answers), None)
            if number in self.answers:
                answer = self.answers.pop(number)
                self.expected += 1
                if isinstance(answer, Ended):
                    continue
                self._give()
                return answer
            if self.pool.closed:
                raise RuntimeError("DataLoader: its workers have ended after an error; begin a new iteration")
            self._collect()
        raise StopIteration

    def _collect(self, block: bool = True) -> None:
        for worker, number, answer in self.pool.receive(self.loader.timeout, block):
            self.tasks[worker] -= 1
            self.answers[number] = answer
            if isinstance(answer, Ended):
                self.active[worker] = False

    def _look_ahead(self) -> None:
        if self.pool.closed or not self.loader.in_order:
            return
        if self.expected < self.sent and self.expected not in self.answers:
            self._collect(block=False)
        following = self.answers.get(self.expected)
        if following is not None and not isinstance(following, (Ended, Failure)):
            self.answers[self.expected] = ahead.start(following, self.destination)

    def _finish(self) -> None:
        if not self.loader.persistent_workers:
            self.pool.close()

    # PyTorch's names, by which programs end workers early or look at them.

    @property
    def _workers(self) -> list[Any]:
        return self.pool.processes

    def _shutdown_workers(self) -> None:
        self.ended = True
        self.pool.close()
