"""DistributedDataParallel: a module of which each process has a copy, with averaged gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..modules.module import Module

__all__ = ["DistributedDataParallel"]


class DistributedDataParallel(Module):
    """The wrapped module, the child ``module``; gradients are averages over the members of the group.

    In a group of one, the only one so far, they are the module's own, and nothing is added to a step.

    device_ids: one device at most, or None; output_device, dim, broadcast_buffers, find_unused_parameters,
    gradient_as_bucket_view and static_graph are kept as attributes. bucket_cap_mb, init_sync and check_reduction say
    how PyTorch communicates, and have no effect on the results. Raises ValueError if there is no group or for several
    device_ids, RuntimeError if no parameter requires a gradient, NotImplementedError for several processes, for
    mixed_precision (use autocast) and for a device_mesh of several axes.
    """

    def __init__(self, module: Module, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0,
                 broadcast_buffers: bool | None = None, init_sync: bool = True, process_group: Any = None,
                 bucket_cap_mb: float | None = None, find_unused_parameters: bool = False,
                 check_reduction: bool = False, gradient_as_bucket_view: bool = False, static_graph: bool = False,
                 delay_all_reduce_named_params: Any = None, param_to_hook_all_reduce: Any = None,
                 mixed_precision: Any = None, device_mesh: Any = None, skip_all_reduce_unused_params: bool = False,
                 ) -> None:
        from ... import distributed as dist

        super().__init__()
        if mixed_precision is not None:
            raise NotImplementedError("DistributedDataParallel: mixed_precision is not there; use torch.autocast")
        if process_group is not None and device_mesh is not None:
            raise RuntimeError("Cannot specify both process_group and device_mesh arguments.")
        if device_mesh is not None:
            process_group = device_mesh.get_group(mesh_dim=0)
        self.process_group = dist.distributed_c10d._get_default_group() if process_group is None else process_group
        if dist.get_world_size(self.process_group) != 1:
            raise NotImplementedError("DistributedDataParallel averages no gradients between processes yet")
        trained = [p for p in module.parameters() if p.requires_grad]
        if not trained:
            raise RuntimeError(
                "DistributedDataParallel is not needed when a module doesn't have any parameter that requires a "
                "gradient."
            )
        if device_ids is not None and len(device_ids) > 1:
            raise ValueError(f"device_ids can only be None or contain a single element, but got {list(device_ids)}")
        if device_ids and trained[0].device.type == "cpu":
            raise ValueError(f"DistributedDataParallel: device_ids {list(device_ids)} is for modules on a GPU, but the "
                             "parameters are on the CPU; leave it out")
        self.module = module
        self.device = trained[0].device
        self.device_type = self.device.type
        self.device_ids = list(device_ids) if device_ids else None
        self.output_device = output_device if output_device is not None else (self.device_ids or [None])[0]
        self.dim = dim
        self.broadcast_buffers = broadcast_buffers is None or broadcast_buffers
        self.find_unused_parameters = find_unused_parameters
        self.gradient_as_bucket_view = gradient_as_bucket_view
        self.static_graph = static_graph
        self.parameters_to_ignore = set(getattr(module, "_ddp_params_and_buffers_to_ignore", ()))
        self.is_multi_device_module = len({p.device for p in trained}) > 1
        self.require_backward_grad_sync = True
        self.require_forward_param_sync = self.broadcast_buffers

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """The module's output."""
        return self.module(*inputs, **kwargs)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Within this, backward passes add to the own gradients without averaging."""
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    @contextlib.contextmanager
    def join(self, divide_by_initial_world_size: bool = True, enable: bool = True,
             throw_on_early_termination: bool = False) -> Iterator[None]:
        """Within this, processes may have different numbers of batches. The options say what the others do then."""
        yield

    def register_comm_hook(self, state: object, hook: Callable[..., Any]) -> None:
        """How gradients travel between processes: a group of one never calls `hook`. TypeError if it is no function."""
        if not callable(hook):
            raise TypeError("Communication hook must be callable.")

    def _get_ddp_logging_data(self) -> dict[str, Any]:
        """What was measured while gradients travelled: nothing."""
        return {}

    def _set_static_graph(self) -> None:
        self.static_graph = True

    @classmethod
    def _set_params_and_buffers_to_ignore_for_model(cls, module: Module, names: Sequence[str]) -> None:
        module._ddp_params_and_buffers_to_ignore = list(names)  # type: ignore[assignment]
