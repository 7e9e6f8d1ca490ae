"""``torch.distributed.tensor``: no tensor is a DTensor. A JAX array is spread over devices by its sharding."""

from __future__ import annotations

from typing import Any, NoReturn

from ..device_mesh import DeviceMesh as DeviceMesh
from ..device_mesh import init_device_mesh as init_device_mesh
from .placement_types import Partial as Partial
from .placement_types import Placement as Placement
from .placement_types import Replicate as Replicate
from .placement_types import Shard as Shard

__all__ = [
    "DTensor", "DeviceMesh", "Partial", "Placement", "Replicate", "Shard", "distribute_module", "distribute_tensor",
    "init_device_mesh",
]  # fmt: skip


def _refuse(name: str) -> NoReturn:
    raise NotImplementedError(
        f"torch.distributed.tensor.{name} is not there: an ordinary tensor is spread over devices by the sharding of "
        "its JAX array (torch.from_jax(jax.device_put(array, sharding)))"
    )


class DTensor:
    """The class that no tensor here has, for programs that ask; making one raises NotImplementedError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("DTensor")

    @staticmethod
    def from_local(*args: Any, **kwargs: Any) -> NoReturn:
        """Raises NotImplementedError."""
        _refuse("DTensor.from_local")


def distribute_tensor(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError."""
    _refuse("distribute_tensor")


def distribute_module(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError."""
    _refuse("distribute_module")
