"""What a worker process knows about itself."""

from dataclasses import dataclass
from typing import Any

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
