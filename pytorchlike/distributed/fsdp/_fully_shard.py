"""``fully_shard``: a module whose parameters are divided among processes, or among one process's devices, in place."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ...nn import Module, ModuleDict, ModuleList
from ...nn.parallel.distributed import _find_tensors
from ...tensor import Tensor
from ...utils._pytree import tree_map
from .._world import _get_default_group, _World, get_world_size, init_process_group, is_initialized
from ..device_mesh import DeviceMesh
from ..tensor import distribute_module, distribute_tensor
from ..tensor.placement_types import Shard
from ._policies import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy

__all__ = ["FSDPModule", "UnshardHandle", "fully_shard", "register_fsdp_forward_method", "share_comm_ctx"]

_UNIT = "_fsdp_unit"


class UnshardHandle:
    """What ``FSDPModule.unshard(async_op=True)`` returns."""

    def __init__(self, module: FSDPModule) -> None:
        self._module = module

    def wait(self) -> None:
        """Have the whole parameters in the module."""
        self._module.unshard()


class FSDPModule:
    """What a module is, beside its own class, after ``fully_shard``."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """An object of the module's own class: containers make some of their class when they are sliced."""
        plain = next(c for c in cls.__mro__ if c is not cls and not issubclass(c, FSDPModule))
        return plain(*args, **kwargs)

    def _units(self, recurse: bool = True) -> list[Any]:
        modules = self.modules() if recurse else [self]  # type: ignore[attr-defined]
        found = {id(m.__dict__[_UNIT]): m.__dict__[_UNIT] for m in modules if m.__dict__.get(_UNIT) is not None}
        return list(found.values())

    def unshard(self, async_op: bool = False) -> UnshardHandle | None:
        """Gather the whole parameters of this module; ``reshard`` gives them up.

        async_op: in the background, until the handle's ``wait``. Over devices this does nothing: XLA gathers.
        """
        for unit in self._units(recurse=False):
            unit.begin() if async_op else unit.gather()
        return UnshardHandle(self) if async_op else None

    def reshard(self) -> None:
        """Give the whole parameters of this module up."""
        for unit in self._units(recurse=False):
            unit.give_up()

    def set_requires_gradient_sync(self, requires_gradient_sync: bool, *, recurse: bool = True) -> None:
        """Whether backward passes add the processes' gradients up; else each process keeps its own whole ones."""
        for unit in self._units(recurse):
            unit.sync = bool(requires_gradient_sync)

    def set_requires_all_reduce(self, requires_all_reduce: bool, *, recurse: bool = True) -> None:
        """On a mesh of two axes: whether gradients are added up along the first one, too.

        NotImplementedError for False: parts that are not added up would have to be kept apart; switch both sums off by
        ``set_requires_gradient_sync``.
        """
        if not requires_all_reduce and any(unit.copies is not None for unit in self._units(recurse)):
            raise NotImplementedError("set_requires_all_reduce(False): use set_requires_gradient_sync(False), which "
                                      "puts off the sums along both axes of the mesh")

    def set_reshard_after_forward(self, reshard_after_forward: bool, recurse: bool = True) -> None:
        """Whether the whole parameters are given up after the forward pass."""
        for unit in self._units(recurse):
            unit.release = bool(reshard_after_forward)

    def set_reshard_after_backward(self, reshard_after_backward: bool, *, recurse: bool = True) -> None:
        """Whether the whole parameters are given up after the backward pass."""
        for unit in self._units(recurse):
            unit.release_after_backward = bool(reshard_after_backward)

    def set_is_last_backward(self, is_last_backward: bool) -> None:
        """Nothing waits for the last one: gradients are complete when a backward pass returns."""

    def set_modules_to_forward_prefetch(self, modules: Sequence[FSDPModule]) -> None:
        """Gather the parameters of these in the background while this one's forward pass runs."""
        for unit in self._units(recurse=False):
            unit.next = [u for m in _sharded_ones(modules) for u in m._units(recurse=False)]

    def set_modules_to_backward_prefetch(self, modules: Sequence[FSDPModule]) -> None:
        """Gather the parameters of these in the background while this one's backward pass runs."""
        for unit in self._units(recurse=False):
            unit.next_back = [u for m in _sharded_ones(modules) for u in m._units(recurse=False)]

    def set_gradient_divide_factor(self, factor: float) -> None:
        """What the sums of gradients are divided by, instead of the number of processes; for this module alone."""
        for unit in self._units(recurse=False):
            unit.divisor = float(factor)

    set_reduce_scatter_divide_factor = set_gradient_divide_factor

    def set_unshard_in_backward(self, unshard_in_backward: bool) -> None:
        """NotImplementedError for False: what the backward pass needs is gathered when it is asked for."""
        if not unshard_in_backward:
            raise NotImplementedError("set_unshard_in_backward(False): freeze the parameters, or leave the module out "
                                      "of fully_shard")

    def set_all_reduce_hook(self, hook: Callable[..., Any], **kwargs: Any) -> None:
        """NotImplementedError: see ``DistributedDataParallel.register_comm_hook``."""
        raise NotImplementedError("set_all_reduce_hook: gradients are summed up by the process group; for hooks use "
                                  "DistributedDataParallel.register_comm_hook")

    def set_post_optim_event(self, event: Any) -> None:
        """Nothing: there are no streams to wait for."""

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        for unit in self._units():
            unit.give_up()
        return super()._apply(*args, **kwargs)  # type: ignore[misc]

    def __deepcopy__(self, memo: dict) -> Any:
        raise NotImplementedError("FSDP does not support deepcopy. Copy the module before fully_shard, or take its "
                                  "state dict.")


def _sharded_ones(modules: Sequence[Any]) -> Sequence[FSDPModule]:
    for m in modules:
        if not isinstance(m, FSDPModule):
            raise ValueError(f"set_modules_to_*_prefetch: all modules must be FSDPModules, but got {type(m).__name__}")
    return modules


_kinds: dict[type, type] = {}


def _as_fsdp(module: Module) -> None:
    kind = type(module)
    if kind not in _kinds:
        _kinds[kind] = type(f"FSDP{kind.__name__}", (FSDPModule, kind), {})
    module.__class__ = _kinds[kind]


_meshes: dict[str, tuple[Any, DeviceMesh]] = {}


def _whole_world(device_type: str) -> DeviceMesh:
    """All processes in one axis; the same object each time."""
    if not is_initialized():
        init_process_group()
    found = _meshes.get(device_type)
    if found is None or found[0] is not _World.default:
        world = _get_default_group()
        found = _meshes[device_type] = (world, DeviceMesh.from_group(world, device_type))
    return found[1]


def managed(modules: Sequence[Module], ignored: Iterable[Tensor] = (), apart: Iterable[Module] = ()) -> list[Any]:
    """Parameters of modules that belong to no other unit, each with all its places (module, name)."""
    left_out = {id(p) for p in ignored}
    closed = {id(m) for m in apart}
    found: dict[int, tuple[Tensor, list[tuple[Module, str]]]] = {}
    seen: set[int] = set()

    def visit(module: Module) -> None:
        if id(module) in seen or id(module) in closed:
            return
        seen.add(id(module))
        for name, p in module._parameters.items():
            if p is not None and id(p) not in left_out:
                found.setdefault(id(p), (p, []))[1].append((module, name))
        for child in module._modules.values():
            if child is not None and child.__dict__.get(_UNIT) is None:
                visit(child)

    for module in modules:
        visit(module)
    return list(found.values())


def fully_shard(module: Any, *, mesh: Any = None, reshard_after_forward: bool | int | None = None,
                shard_placement_fn: Callable[[Tensor], Shard | None] | None = None,
                mp_policy: MixedPrecisionPolicy | None = None, offload_policy: OffloadPolicy | None = None,
                ignored_params: set[Tensor] | None = None) -> Any:  # fmt: skip
    """Divide the parameters of a module in place, and return it: a :class:`FSDPModule` of its own class as well.

    module: or a list of modules that are treated as one. Call this for the inner modules first, say each layer of a
    model, and then for the model: the parameters of one call are gathered together. Make the optimizer afterwards.
    Parameters are DTensors from then on: each process keeps a part of each, of its gradient and of what the optimizer
    has for it; for the passes through the module they are gathered. Gradients are averages over the processes.
    mesh: a DeviceMesh of processes (None: all of them); of two axes, the first one repeats and the second one divides.
    reshard_after_forward: whether the whole parameters are given up between the forward and the backward pass (None:
    except for the outermost module).  shard_placement_fn(parameter): Shard(dim), or None for Shard(0).
    mp_policy: dtypes.  offload_policy: CPUOffloadPolicy has the parts, and so the optimizer, on the CPU.
    ignored_params: parameters that stay as they are.

    With a ``jax.sharding.Mesh`` parameters are divided among the devices of this process, along the first dimension
    whose size is a multiple of the mesh's, and XLA gathers them; batches that the module is called with are divided,
    too. Neither is done what reshard_after_forward says, since XLA decides.

    Raises ValueError for containers without a forward function and for scalar parameters, NotImplementedError for an
    integer reshard_after_forward, and for mp_policy and offload_policy over devices.
    """
    modules = list(module) if isinstance(module, (list, tuple)) else [module]
    for m in modules:
        if isinstance(m, (ModuleList, ModuleDict)) and type(m).forward is Module.forward:
            raise ValueError("fully_shard does not support containers that do not implement forward: call it for each "
                             f"of the modules in the {type(m).__name__}")
        if isinstance(m, FSDPModule):
            raise AssertionError("fully_shard: the module is an FSDPModule already; call it once for each module")
    if isinstance(reshard_after_forward, int) and not isinstance(reshard_after_forward, bool):
        raise NotImplementedError("fully_shard: reshard_after_forward is True or False; parameters that are divided "
                                  "among fewer processes in between are not there")
    policy = mp_policy or MixedPrecisionPolicy()
    if mesh is not None and not isinstance(mesh, DeviceMesh):
        _over_devices(modules, mesh, policy, offload_policy, shard_placement_fn, ignored_params or ())
    else:
        from ._unit import Kept, Unit

        named = managed(modules, ignored_params or ())
        if mesh is None:
            kinds = [p.device.type for p, _ in named if not p.is_meta]
            mesh = _whole_world(kinds[0] if kinds else _usual_device())
        if mesh.ndim > 2:
            raise ValueError(f"fully_shard expects a mesh of one or two axes, but got {mesh}")

        def dim_of(p: Tensor) -> int:
            chosen = shard_placement_fn(p) if shard_placement_fn is not None else None
            if chosen is not None and type(chosen) is not Shard:
                raise NotImplementedError(f"fully_shard: shard_placement_fn must return Shard(dim) or None, but gave "
                                          f"{chosen}")
            return 0 if chosen is None else chosen.dim % max(p.ndim, 1)

        rest_on = "cpu" if isinstance(offload_policy, CPUOffloadPolicy) else mesh.device_type
        unit = Unit(modules, named, mesh, Kept(policy.param_dtype, policy.reduce_dtype, mesh.device_type),
                    reshard_after_forward, dim_of, rest_on)
        for m in modules:
            for name, buffer in m.named_buffers():
                if not buffer.is_meta and buffer.device.type != mesh.device_type:
                    m.get_submodule(name.rpartition(".")[0])._buffers[name.rpartition(".")[2]] = buffer.to(
                        mesh.device_type)
            m.__dict__[_UNIT] = unit
            _hook(m, unit, policy)
    for m in modules:
        _as_fsdp(m)
    return module


def _usual_device() -> str:
    from ... import cuda

    return "cuda" if cuda.is_available() else "cpu"


def cast_floating(tree: Any, dtype: Any) -> Any:
    """The floating-point tensors in nested containers in another dtype."""
    return tree_map(lambda x: x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x, tree)


def _before(unit: Any, policy: MixedPrecisionPolicy, module: Module, args: Any, kwargs: Any) -> Any:
    unit.before(module)
    if policy.cast_forward_inputs and policy.param_dtype is not None:
        return cast_floating(args, policy.param_dtype), cast_floating(kwargs, policy.param_dtype)
    return None


def _after(unit: Any, policy: MixedPrecisionPolicy, module: Module, result: Any, failed: bool = False) -> Any:
    if not failed:
        if policy.output_dtype is not None:
            result = cast_floating(result, policy.output_dtype)
        unit.watch(_find_tensors(result))
    unit.after(module, failed)
    return result


def _hook(module: Module, unit: Any, policy: MixedPrecisionPolicy) -> None:
    module.register_forward_pre_hook(lambda m, args, kwargs: _before(unit, policy, m, args, kwargs), prepend=True,
                                     with_kwargs=True)
    module.register_forward_hook(lambda m, args, out: _after(unit, policy, m, out, out is None), always_call=True)
    module.register_state_dict_pre_hook(lambda *_: unit.give_up())
    module.register_load_state_dict_pre_hook(lambda *_: unit.give_up())


def register_fsdp_forward_method(module: Module, method_name: str) -> None:
    """Treat a method of a module as ``forward``: the whole parameters are there while it runs.

    Nothing happens for modules that are no FSDPModules. AttributeError if there is no such method.
    """
    if not isinstance(module, FSDPModule):
        return
    if not hasattr(module, method_name):
        raise AttributeError(f"{type(module).__name__} does not have a method {method_name}")
    unit = module.__dict__.get(_UNIT)
    if unit is None:
        return
    method = getattr(module, method_name)
    plain = MixedPrecisionPolicy()

    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        _before(unit, plain, module, args, kwargs)
        try:
            result = method(*args, **kwargs)
        except BaseException:
            _after(unit, plain, module, None, True)
            raise
        return _after(unit, plain, module, result)

    setattr(module, method_name, wrapped)


def share_comm_ctx(modules: list[FSDPModule]) -> None:
    """Nothing: all modules communicate over the same connections."""
    _sharded_ones(modules)


# ---------------------------------------------------------------------------------------------------- over devices


def _over_devices(modules: list[Module], mesh: Any, policy: MixedPrecisionPolicy, offload: OffloadPolicy | None,
                  shard_placement_fn: Any, ignored: Iterable[Tensor]) -> None:  # fmt: skip
    if policy != MixedPrecisionPolicy():
        raise NotImplementedError("fully_shard over devices: use torch.autocast instead of mp_policy")
    if isinstance(offload, CPUOffloadPolicy):
        raise NotImplementedError("fully_shard over devices: parts rest on their devices; leave offload_policy out")
    if is_initialized() and get_world_size() > 1:
        raise NotImplementedError("fully_shard: parameters are divided either among the devices of one process or "
                                  "among processes; with several processes give a DeviceMesh, or None")
    kept = {id(p) for p in ignored}
    names = list(mesh.axis_names)
    size = mesh.shape[names[-1]]  # as for processes, axes before the last one repeat

    def placements(p: Tensor, chosen: Any = None) -> list[Any]:
        from ..tensor.placement_types import Replicate

        dims = [chosen.dim] if chosen is not None else range(p.ndim)
        dim = next((d for d in dims if p.shape[d] and p.shape[d] % size == 0), None)
        return [*[Replicate()] * (len(names) - 1), Replicate() if dim is None else Shard(dim)]

    def divide(name: str, part: Module, mesh: Any) -> None:
        for p in part._parameters.values():
            if p is not None and id(p) not in kept and len(p.jax().sharding.device_set) == 1:
                chosen = shard_placement_fn(p) if shard_placement_fn is not None else None
                p.data = distribute_tensor(p.detach(), mesh, placements(p, chosen))

    def spread(x: Any) -> Any:
        if not isinstance(x, Tensor) or not x.is_leaf or len(x.jax().sharding.device_set) > 1:
            return x
        rows = mesh.size if x.ndim and x.shape[0] % mesh.size == 0 else 0
        return distribute_tensor(x, mesh, [Shard(0)] * len(names) if rows else None)

    for m in modules:
        m.register_forward_pre_hook(lambda m, args, kwargs: tree_map(spread, (args, kwargs)), with_kwargs=True)
        distribute_module(m, mesh, divide)
