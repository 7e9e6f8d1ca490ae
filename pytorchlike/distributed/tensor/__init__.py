"""``torch.distributed.tensor``: tensors spread over the devices of this process, or divided among processes.

Over the devices of a ``jax.sharding.Mesh`` no tensor is a DTensor: an ordinary one is spread by the sharding of its JAX
array, and operations, modules, backward passes and optimizers take it as it is.  XLA inserts the communication.
Results are everywhere on the mesh; what an optimizer replaces in place keeps its layout, and so does its state.

Over a DeviceMesh of processes each has a part, and the tensor is a DTensor (``_divided.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...autograd import no_grad
from ...nn import Module, Parameter
from ...tensor import Tensor, from_jax
from ..device_mesh import DeviceMesh as DeviceMesh
from ..device_mesh import init_device_mesh as init_device_mesh
from ._dtensor import DTensor as DTensor
from .placement_types import Partial as Partial
from .placement_types import Placement as Placement
from .placement_types import Replicate as Replicate
from .placement_types import Shard as Shard

__all__ = [
    "DTensor", "DeviceMesh", "Partial", "Placement", "Replicate", "Shard", "distribute_module", "distribute_tensor",
    "init_device_mesh",
]  # fmt: skip


def alone(device_mesh: Any) -> bool:
    """Whether a mesh is that of a world of one process, over which there is nothing to spread."""
    return isinstance(device_mesh, DeviceMesh) and device_mesh.size() == 1


def _sharding(device_mesh: Any, placements: Sequence[Placement] | None, shape: tuple[int, ...]) -> Any:
    """How JAX calls these placements along the axes of a mesh."""
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    if not isinstance(device_mesh, Mesh):
        raise TypeError(
            f"the devices of this process are a jax.sharding.Mesh, but got {type(device_mesh).__name__}; a DeviceMesh "
            "is made of processes (jax.sharding.Mesh(jax.devices(), ('x',)) has all devices in one axis)"
        )
    names = device_mesh.axis_names
    placements = [Replicate()] * len(names) if placements is None else list(placements)
    if len(placements) != len(names):
        raise ValueError(
            f"`placements` must have one entry for each axis of the mesh {names}, but got {len(placements)}"
        )
    along: list[list[str]] = [[] for _ in shape]
    for name, placement in zip(names, placements, strict=True):
        if type(placement) is Shard:
            if not -len(shape) <= placement.dim < len(shape):
                raise ValueError(f"Shard({placement.dim}): the tensor has the shape {list(shape)}")
            along[placement.dim].append(name)
        elif type(placement) is not Replicate:
            raise ValueError(f"a tensor cannot be distributed as {placement}; use Shard or Replicate")
    for d, axes in enumerate(along):
        parts = 1
        for name in axes:
            parts *= device_mesh.shape[name]
        if shape[d] % parts:
            raise ValueError(f"dimension {d} of {list(shape)} cannot be divided evenly among {parts} devices ({axes})")
    return NamedSharding(device_mesh, PartitionSpec(*[tuple(axes) or None for axes in along]))


def distribute_tensor(
    tensor: Tensor, device_mesh: Any = None, placements: Sequence[Placement] | None = None, *,
    src_data_rank: int | None = 0,
) -> Tensor:  # fmt: skip
    """``tensor`` spread over the devices of a ``jax.sharding.Mesh``: an ordinary tensor, a new leaf if it was one.

    Over a DeviceMesh of several processes it is a DTensor; of a world of one process, the tensor itself.

    placements: for each axis of the mesh Shard(dim), whose size must be a multiple of the axis' for devices, or
    Replicate(), the default.  src_data_rank: whose values are taken, 0 or, for processes, any place along the axes of
    the mesh; None: each process's own.  Raises TypeError for another kind of mesh, ValueError for placements that do
    not fit, RuntimeError for a tensor that is not a leaf.
    """
    import jax

    if not tensor.is_leaf:
        raise RuntimeError("`distribute_tensor` should be used to distribute leaf tensors! but found non-leaf tensor!")
    if alone(device_mesh):
        return tensor
    if isinstance(device_mesh, DeviceMesh):
        from ._divided import distribute

        return distribute(tensor, device_mesh, placements, src_data_rank)
    if src_data_rank not in (0, None):
        raise ValueError(f"src_data_rank={src_data_rank}: there is one process, of rank 0")
    where = _sharding(device_mesh, placements, tuple(tensor.shape))
    with jax.enable_x64(True):
        out = from_jax(jax.device_put(tensor.detach().jax(), where))
    asked = tensor.requires_grad
    return Parameter(out, asked) if isinstance(tensor, Parameter) else out.requires_grad_(asked)


def distribute_module(
    module: Module, device_mesh: Any = None, partition_fn: Callable[[str, Module, Any], None] | None = None,
    input_fn: Callable[..., Any] | None = None, output_fn: Callable[..., Any] | None = None,
) -> Module:  # fmt: skip
    """Spread the parameters and buffers of a module, in place, over a ``jax.sharding.Mesh``.

    partition_fn(name, submodule, mesh): replaces parameters by distributed ones; those it leaves alone are replicated.
    input_fn(module, inputs, mesh), output_fn(module, outputs, mesh): prepare what comes in and goes out.

    Raises NotImplementedError for a DeviceMesh of several processes.
    """
    if isinstance(device_mesh, DeviceMesh) and not alone(device_mesh):
        raise NotImplementedError("distribute_module: a module's tensors are spread over the devices of one process "
                                  "(jax.sharding.Mesh); among processes use torch.distributed.fsdp.fully_shard")
    for name, part in module.named_modules():
        if partition_fn is not None:
            partition_fn(name, part, device_mesh)
        for store in (part._parameters, part._buffers):
            for value in store.values():
                if value is not None and not alone(device_mesh) and len(value.jax().sharding.device_set) == 1:
                    with no_grad():
                        value.data = distribute_tensor(value.detach(), device_mesh)
    if input_fn is not None:
        module.register_forward_pre_hook(lambda m, inputs: input_fn(m, inputs, device_mesh))
    if output_fn is not None:
        module.register_forward_hook(lambda m, inputs, outputs: output_fn(m, outputs, device_mesh))
    return module
