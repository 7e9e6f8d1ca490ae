"""``torch.distributed.elastic.multiprocessing``: errors of processes."""

from . import errors as errors
