"""``torch.distributed``: groups of processes and their collectives.

One process drives all its devices, for which it needs no group. Several processes, on one machine or more, exchange
tensors through their hosts' memory (``_processes.py``). ``checkpoint`` saves and loads sharded state.
"""

import importlib as _importlib
from typing import Any as _Any
from typing import NewType as _NewType

from . import checkpoint as checkpoint
from . import remote_device as remote_device
from ._debug_level import DebugLevel as DebugLevel
from ._debug_level import breakpoint as breakpoint
from ._debug_level import get_debug_level as get_debug_level
from ._debug_level import set_debug_level as set_debug_level
from ._debug_level import set_debug_level_from_env as set_debug_level_from_env
from ._gradients import GradBucket as GradBucket
from ._meeting import FileStore as FileStore
from ._meeting import TCPStore as TCPStore
from ._processes import ProcessGroupGloo as ProcessGroupGloo
from ._rendezvous import register_rendezvous_handler as register_rendezvous_handler
from ._rendezvous import rendezvous as _rendezvous_of
from ._store import DistBackendError as DistBackendError
from ._store import DistError as DistError
from ._store import DistNetworkError as DistNetworkError
from ._store import DistStoreError as DistStoreError
from ._store import HashStore as HashStore
from ._store import PrefixStore as PrefixStore
from ._store import QueueEmptyError as QueueEmptyError
from ._store import Store as Store
from ._world import _rank_not_in_group as _rank_not_in_group
from .device_mesh import DeviceMesh as DeviceMesh
from .device_mesh import init_device_mesh as init_device_mesh
from .distributed_c10d import *  # noqa: F403

rendezvous = _rendezvous_of

#: What a rank is, and the name of a group, in type annotations.
RankType = int
GroupName = _NewType("GroupName", str)

_LATE = {"_composable", "_functional_collectives", "algorithms", "autograd", "elastic", "fsdp", "launch", "nn",
         "optim", "pipelining", "rpc", "run", "tensor", "utils"}


def __getattr__(name: str) -> _Any:
    if name in _LATE:
        return _importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'torch.distributed' has no attribute '{name}': pytorchlike lacks it")
