"""``torch.distributed``: groups of processes and their collectives; so far the world is one process.

One process drives all its devices. ``checkpoint`` saves and loads sharded state.
"""

import importlib as _importlib
from typing import Any as _Any

from . import checkpoint as checkpoint
from ._meeting import FileStore as FileStore
from ._meeting import TCPStore as TCPStore
from ._rendezvous import rendezvous as rendezvous
from ._store import DistBackendError as DistBackendError
from ._store import DistError as DistError
from ._store import DistNetworkError as DistNetworkError
from ._store import DistStoreError as DistStoreError
from ._store import HashStore as HashStore
from ._store import PrefixStore as PrefixStore
from ._store import Store as Store
from .device_mesh import DeviceMesh as DeviceMesh
from .device_mesh import init_device_mesh as init_device_mesh
from .distributed_c10d import *  # noqa: F403

_LATE = {"_composable", "_functional_collectives", "algorithms", "fsdp", "nn", "optim", "rpc", "tensor",
         "utils"}


def __getattr__(name: str) -> _Any:
    if name in _LATE:
        return _importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'torch.distributed' has no attribute '{name}': pytorchlike lacks it")
