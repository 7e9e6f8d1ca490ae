"""Samplers: in which order a loader visits a dataset."""

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np

from ...tensor import functions as T
from ...tensor.dtype import float64
from ...tensor.random import Generator, is_followed
from ._random import Numbers, numbers_of

__all__ = ["BatchSampler", "RandomSampler", "Sampler", "SequentialSampler", "SubsetRandomSampler",
           "WeightedRandomSampler"]

_T_co = TypeVar("_T_co", covariant=True)


class Sampler(Generic[_T_co]):
    """An iterable of indices (or of lists of them), with a length where it has one."""

    def __iter__(self) -> Iterator[_T_co]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__")


class _Seeded(Sampler[int]):
    """A random sampler: each iteration has one seed, so that an interrupted one can be repeated.

    ``state_dict()`` holds the seed of the last iteration begun; after ``load_state_dict`` the next one repeats it.
    """

    generator: Generator | None
    _seed: Any = None
    _repeat: Any = None
    _direct = True

    def _numbers(self) -> Numbers:
        found, self._seed = numbers_of(self.generator, self._direct, self._repeat)
        self._repeat = None
        return found

    def state_dict(self) -> dict[str, Any]:
        """The seed of the last iteration begun."""
        return {"seed": self._seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Have the next iteration repeat the saved one."""
        self._repeat = state_dict["seed"]


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ..."""

    data_source: Sized

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


#: How many indices are drawn at once with replacement.
_PORTION = 1 << 16


class RandomSampler(_Seeded):
    """A new permutation at each iteration, or ``num_samples`` draws with ``replacement``.

    Without replacement, more than ``len(data_source)`` samples are several permutations in a row. ``generator`` None:
    the default one. Raises TypeError if replacement is no bool, ValueError unless num_samples is a positive int.
    """

    _direct = False

    def __init__(self, data_source: Sized, replacement: bool = False, num_samples: int | None = None,
                 generator: Generator | None = None) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={self.num_samples}")

    @property
    def num_samples(self) -> int:
        """How many indices an iteration gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        numbers, n, wanted = self._numbers(), len(self.data_source), self.num_samples
        if self.replacement:
            while wanted > 0:  # in portions: loaders without end ask for 1e10 samples
                portion = min(wanted, _PORTION)
                yield from numbers.integers(n, portion).tolist()
                wanted -= portion
            return
        least = 0 if self.generator is not None and is_followed() else 1  # PyTorch draws one more, and takes none of it
        for left in range(wanted, least - 1, -n):
            yield from numbers.permutation(n)[:left].tolist()

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(_Seeded):
    """The given indices in a new order at each iteration."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in self._numbers().permutation(len(self.indices)).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(_Seeded):
    """``num_samples`` indices drawn with probabilities proportional to ``weights`` (any non-negative numbers).

    Raises ValueError for weights that are not 1-d, num_samples that is no positive int or replacement that is no bool;
    RuntimeError while iterating for negative or infinite weights, or fewer positive ones than samples without
    replacement.
    """

    def __init__(self, weights: Sequence[float], num_samples: int, replacement: bool = True,
                 generator: Generator | None = None) -> None:
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={num_samples}")
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        self.weights = T.as_tensor(weights, dtype=float64)
        if len(self.weights.shape) != 1:
            raise ValueError("weights should be a 1d sequence but given weights have shape "
                             f"{tuple(self.weights.shape)}")
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        weights = self.weights.numpy()
        if not np.all(np.isfinite(weights)) or np.any(weights < 0):
            raise RuntimeError("WeightedRandomSampler: weights must be finite and not negative")
        positive = np.count_nonzero(weights)
        if positive == 0 or (not self.replacement and positive < self.num_samples):
            raise RuntimeError(f"WeightedRandomSampler: cannot draw {self.num_samples} samples "
                               f"{'with' if self.replacement else 'without'} replacement from {positive} positive "
                               "weights")
        yield from self._numbers().choice(self.num_samples, self.replacement, weights / weights.sum()).tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of ``batch_size`` indices of another sampler; the last may be shorter, unless ``drop_last``.

    Raises ValueError unless batch_size is a positive int and drop_last a bool.
    """

    def __init__(self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
