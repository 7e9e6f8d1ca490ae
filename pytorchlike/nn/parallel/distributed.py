"""DistributedDataParallel: a module of which each process has a copy, with averaged gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...autograd.mode import is_grad_enabled
from ...autograd.passes import current_task
from ...tensor import Tensor
from ..modules.module import Module

__all__ = ["DistributedDataParallel"]

#: How deep tensors may lie in what a module returns.
_DEPTH = 8


class DistributedDataParallel(Module):
    """The wrapped module, the child ``module``; gradients are averages over the members of the group.

    Parameters and buffers begin as those of the member 0, unless init_sync is False. Once a backward pass that comes
    through the module's outputs has ended, the gradients are read, averaged between the processes, and replaced.
    broadcast_buffers: before each forward pass, buffers become those of the member 0.  find_unused_parameters or
    static_graph: parameters may have no gradient in some processes; else the next forward pass raises RuntimeError.

    device_ids: one device at most, or None; output_device, dim and gradient_as_bucket_view are kept as attributes.
    bucket_cap_mb, check_reduction and skip_all_reduce_unused_params say how PyTorch communicates, and have no effect on
    the results: what is sent is one message for each dtype. Raises ValueError if there is no group or for several
    device_ids, RuntimeError if no parameter requires a gradient or if the processes have different parameters,
    NotImplementedError for mixed_precision (use autocast) and for delay_all_reduce_named_params.
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
        if delay_all_reduce_named_params is not None or param_to_hook_all_reduce is not None:
            raise NotImplementedError("DistributedDataParallel: gradients are sent when the backward pass has ended, "
                                      "and none can be delayed (delay_all_reduce_named_params)")
        ignored = set(getattr(module, "_ddp_params_and_buffers_to_ignore", ()))
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad and name not in ignored]
        trained = [p for _, p in named]
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
        self.parameters_to_ignore = ignored
        self.is_multi_device_module = len({p.device for p in trained}) > 1
        self.require_backward_grad_sync = True
        self.require_forward_param_sync = self.broadcast_buffers
        self._alone = dist.get_world_size(self.process_group) == 1
        self._pass = -1  # the number of the backward pass whose end is waited for
        self._lacking: list[str] = []
        self._reducer: Any = None
        self.reducer = _Preparation(self)
        self._expecting: list[Any] = []  # hooks on the parameters, for the next backward pass
        self._join_config: Any = None  # while ``join`` lasts
        self._divides_by_all = True
        if not self._alone:
            self._connect(named, init_sync)

    def _connect(self, named: list[tuple[str, Tensor]], init_sync: bool) -> None:
        from ...distributed._gradients import Reducer, check_alike
        from ...distributed.utils import _sync_module_states

        self._reducer = Reducer(self.process_group, named)
        if init_sync:
            check_alike(self.process_group, named)
            _sync_module_states(self.module, self.process_group, 1 << 28, 0, self.parameters_to_ignore,
                                self.broadcast_buffers)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """The module's output."""
        if self._alone:
            return self.module(*inputs, **kwargs)
        if self._lacking and is_grad_enabled() and self.require_backward_grad_sync:
            raise RuntimeError(
                "Expected to have finished reduction in the prior iteration before starting a new one: the parameters "
                f"{', '.join(self._lacking)} had no gradient in some process. If parts of the module are not always "
                "used, pass find_unused_parameters=True to DistributedDataParallel."
            )
        if self._join_config is not None:
            self._tell_those_who_are_done()
        self._sync_buffers(True)
        out = self.module(*inputs, **kwargs)
        if is_grad_enabled():
            self.require_forward_param_sync = self.broadcast_buffers and self.require_backward_grad_sync
            if self.require_backward_grad_sync:
                self._watch(out)
        return out

    def _sync_buffers(self, here: bool) -> None:
        """Give everybody the buffers of one member: the first, or one that is still `here`, within ``join``."""
        if not (self.require_forward_param_sync and self.broadcast_buffers):
            return
        from ...distributed._gradients import send_all
        from ...distributed.algorithms.join import chosen_rank

        kept = [b for name, b in self.module.named_buffers() if name not in self.parameters_to_ignore]
        if kept:
            send_all(self.process_group, kept, 0 if self._join_config is None else
                     chosen_rank(self.process_group, here))

    def _tell_those_who_are_done(self) -> None:
        from ...distributed.algorithms.join import Join

        Join.notify_join_context(self)
        self._kind_of_step((2 if self.require_backward_grad_sync else 1) if is_grad_enabled() else 0)

    def _kind_of_step(self, mine: int) -> int:
        """What those who are not done say: 0 without gradients, 1 if these are not averaged, 2 if they are."""
        from ...distributed.algorithms.join import _sum

        return _sum(self.process_group, mine) // self._join_config.running

    def _watch(self, out: Any) -> None:
        """Have the gradients averaged at the end of each backward pass that comes through `out`."""
        found = _find_tensors(out)
        watched = [t for t in found if t.requires_grad]
        if not watched and found:
            return  # nothing to differentiate
        if not found:
            raise NotImplementedError(f"DistributedDataParallel: no tensor was found in the {type(out).__name__} that "
                                      f"{type(self.module).__name__} returned, so its backward pass cannot be noticed")
        for t in watched:
            t.register_hook(self._reached)

    def _reached(self, grad: Tensor) -> None:
        task = current_task()
        if task is None or task.id == self._pass:
            return
        while task.outer is not None:  # a pass within a hook of another
            task = task.outer
        if task.id == self._pass:
            return
        self._pass = task.id
        for handle in self._expecting:
            handle.remove()
        self._expecting = []
        before = None if task.plain else self._grads()
        task.callbacks.append(lambda: self._average(before))

    def _expect(self) -> None:
        """Have the gradients averaged at the end of the next backward pass that reaches a parameter."""
        if not self._alone and not self._expecting:
            self._expecting = [p.register_hook(self._reached) for _, p in self._reducer.named]

    def _grads(self) -> list[tuple[int, int]]:
        return [(id(p.grad), -1 if p.grad is None else p.grad._version) for _, p in self._reducer.named]

    def _average(self, before: list[tuple[int, int]] | None) -> None:
        if before is not None and before == self._grads():
            return  # autograd.grad, which leaves .grad alone
        lacking = self._reducer.average(*self._joined_divisor())
        self._lacking = [] if self.find_unused_parameters or self.static_graph else lacking

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Within this, backward passes add to the own gradients without averaging."""
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    def join(self, divide_by_initial_world_size: bool = True, enable: bool = True,
             throw_on_early_termination: bool = False) -> Any:
        """A context within which processes may have different numbers of batches.

        Those that are done contribute gradients of 0 to the others' steps, and get the final parameters in the end.
        divide_by_initial_world_size: sums of gradients are divided by the number of all processes, else of those that
        are not done.  enable, throw_on_early_termination: see ``torch.distributed.algorithms.join.Join``.
        """
        from ...distributed.algorithms.join import Join

        return Join([self], enable, throw_on_early_termination,
                    divide_by_initial_world_size=divide_by_initial_world_size)

    def join_hook(self, **kwargs: Any) -> Any:
        """What ``Join`` calls in a process that is done. kwargs: ``divide_by_initial_world_size`` (True)."""
        self._divides_by_all = bool(kwargs.get("divide_by_initial_world_size", True))
        return _Joined(self)

    @property
    def join_device(self) -> Any:
        """The device of the parameters."""
        return self.device

    @property
    def join_process_group(self) -> Any:
        """The group that gradients are averaged over."""
        return self.process_group

    def _joined_divisor(self) -> tuple[int | None, int | None]:
        if self._join_config is None:
            return None, None
        running = self._join_config.running
        return running, None if self._divides_by_all else running

    def register_comm_hook(self, state: object, hook: Callable[..., Any]) -> None:
        """How gradients travel between processes: ``hook(state, bucket)`` takes a ``dist.GradBucket`` of one dtype.

        It returns a future of the tensor that takes the place of the bucket's, which is not divided by the number of
        processes. A group of one never calls it. TypeError if it is no function, RuntimeError for a second one.
        """
        if not callable(hook):
            raise TypeError("Communication hook must be callable.")
        if self._reducer is not None:
            if self._reducer.hook is not None:
                raise RuntimeError("register_comm_hook or register_builtin_comm_hook can only be called once.")
            self._reducer.hook, self._reducer.state = hook, state

    def _get_ddp_logging_data(self) -> dict[str, Any]:
        """What was measured while gradients travelled: nothing."""
        return {}

    def _set_static_graph(self) -> None:
        self.static_graph = True

    @classmethod
    def _set_params_and_buffers_to_ignore_for_model(cls, module: Module, names: Sequence[str]) -> None:
        module._ddp_params_and_buffers_to_ignore = list(names)  # type: ignore[assignment]


class _Joined:
    """What a process that is done does for the others."""

    def __init__(self, ddp: DistributedDataParallel) -> None:
        self.ddp = ddp

    def main_hook(self) -> None:
        """The collectives of a step: buffers, and gradients to which this process has nothing to add."""
        ddp = self.ddp
        if ddp._alone:
            return
        kind = ddp._kind_of_step(0)
        ddp._sync_buffers(False)
        if kind:
            ddp.require_forward_param_sync = ddp.broadcast_buffers and kind == 2
        if kind == 2:
            for p in ddp.parameters():
                p.grad = None
            ddp._reducer.average(*ddp._joined_divisor())

    def post_hook(self, is_last_joiner: bool) -> None:
        """Everybody gets the parameters and buffers of one that was at it until the end."""
        ddp = self.ddp
        if ddp._alone:
            return
        from ...distributed.algorithms.join import chosen_rank
        from ...distributed.utils import _sync_module_states

        root = chosen_rank(ddp.process_group, is_last_joiner)
        _sync_module_states(ddp.module, ddp.process_group, 1 << 28, root, ddp.parameters_to_ignore,
                            ddp.broadcast_buffers)


class _Preparation:
    """``DistributedDataParallel.reducer``, as far as programs call it."""

    def __init__(self, ddp: DistributedDataParallel) -> None:
        self._ddp = ddp

    def prepare_for_backward(self, outputs: Sequence[Tensor]) -> None:
        """Have the next backward pass average gradients, though the forward pass was in ``no_sync``.

        NotImplementedError for outputs, which PyTorch looks at to find unused parameters.
        """
        if outputs:
            raise NotImplementedError("reducer.prepare_for_backward: give an empty list; every parameter is expected")
        self._ddp._expect()


def _collect(out: Any, found: list[Tensor], depth: int) -> None:
    """The tensors in what a module returned: in containers, and in the attributes of objects."""
    if isinstance(out, Tensor):
        found.append(out)
    elif depth:
        if isinstance(out, dict):
            items: Any = out.values()
        elif isinstance(out, (list, tuple, set)):
            items = out
        else:
            items = getattr(out, "__dict__", {}).values()
        for item in items:
            _collect(item, found, depth - 1)


def _find_tensors(obj: Any) -> list[Tensor]:
    """The tensors in what a module returned."""
    found: list[Tensor] = []
    _collect(obj, found, _DEPTH)
    return found
