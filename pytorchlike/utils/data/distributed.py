"""Splitting a dataset among processes."""

import math
from collections.abc import Iterator
from typing import Any

from ._random import seeded_permutation
from .dataset import Dataset
from .sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[int]):
    """Every ``num_replicas``-th index from ``rank`` on, in an order all processes agree upon.

    The order is shuffled from ``seed + epoch`` if ``shuffle``: call `set_epoch` before each epoch. Without
    ``drop_last`` the first indices are repeated at the end so that all processes get the same number. ``num_replicas``
    and ``rank``
    None: those of the process group (RuntimeError where there is none). ValueError for a rank out of range.
    """

    def __init__(self, dataset: Dataset, num_replicas: int | None = None, rank: int | None = None,
                 shuffle: bool = True, seed: int = 0, drop_last: bool = False) -> None:
        if num_replicas is None or rank is None:
            group = _process_group()
            num_replicas = group.get_world_size() if num_replicas is None else num_replicas
            rank = group.get_rank() if rank is None else rank
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        n = len(dataset)
        self.num_samples = n // num_replicas if drop_last else math.ceil(n / num_replicas)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        order = seeded_permutation(self.seed + self.epoch, n) if self.shuffle else list(range(n))
        if n < self.total_size:
            order *= math.ceil(self.total_size / n)
        mine = order[self.rank:self.total_size:self.num_replicas]
        if len(mine) != self.num_samples:
            raise AssertionError(f"DistributedSampler: {len(mine)} indices instead of {self.num_samples}: the dataset "
                                 f"has {n} samples now, another number than when the sampler was made")
        return iter(mine)

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """The epoch, which decides the order."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`."""
        self.epoch = state_dict["epoch"]


def _process_group() -> Any:
    try:
        from ... import distributed
    except ImportError as error:
        raise RuntimeError("Requires distributed package to be available; or give num_replicas and rank") from error
    return distributed
