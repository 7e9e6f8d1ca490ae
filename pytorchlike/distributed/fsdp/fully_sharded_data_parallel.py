"""``FullyShardedDataParallel``: a wrapper of a module whose parameters are divided among processes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ...autograd.mode import no_grad
from ...nn import Module, Parameter
from ...nn.parallel.distributed import _find_tensors
from ...nn.utils.clip_grad import clip_grad_norm_
from ...optim import Optimizer
from ...tensor import Tensor
from ...tensor.dtype import float32
from .._group import ProcessGroup
from .._world import _get_default_group, get_rank, get_world_size, init_process_group, is_initialized
from ..device_mesh import DeviceMesh
from ..utils import _sync_module_states
from ._fully_shard import _UNIT, _usual_device, cast_floating, managed
from .api import (
    BackwardPrefetch,
    CPUOffload,
    FullOptimStateDictConfig,
    FullStateDictConfig,
    MixedPrecision,
    OptimStateDictConfig,
    OptimStateKeyType,
    ShardedOptimStateDictConfig,
    ShardedStateDictConfig,
    ShardingStrategy,
    StateDictConfig,
    StateDictSettings,
    StateDictType,
)
from .api import LocalOptimStateDictConfig as LocalOptimStateDictConfig  # PyTorch's module has it, too
from .wrap import wrapped_by

__all__ = ["FullyShardedDataParallel"]

_PREFIX = "_fsdp_wrapped_module"


def _mesh_of(group: Any, strategy: ShardingStrategy, device_mesh: Any, device_type: str) -> DeviceMesh:
    """The processes: the last axis divides, one before it repeats."""
    if group is not None and device_mesh is not None:
        raise ValueError("Cannot pass both process_group and device_mesh at the same time. Please just pass only one "
                         "of them.")
    hybrid = strategy in (ShardingStrategy.HYBRID_SHARD, ShardingStrategy._HYBRID_SHARD_ZERO2)
    if not is_initialized():
        init_process_group()
    if device_mesh is not None:
        if device_mesh.ndim != 1 + hybrid:
            raise ValueError(f"FullyShardedDataParallel: {strategy} needs a mesh of {1 + hybrid} axes, but got "
                             f"{device_mesh}")
        mesh = device_mesh
    elif hybrid:
        if group is not None:
            raise NotImplementedError(f"FullyShardedDataParallel: give {strategy} a device_mesh of two axes "
                                      "(init_device_mesh('cpu', (copies, parts))) instead of process_group")
        world = get_world_size()
        parts = int(os.environ.get("LOCAL_WORLD_SIZE", world))
        mesh = DeviceMesh(device_type, np.arange(world).reshape(-1, parts))
    else:
        if not isinstance(group, (ProcessGroup, type(None))):
            raise NotImplementedError("FullyShardedDataParallel: a pair of process groups is for HYBRID_SHARD; give "
                                      "that a device_mesh of two axes")
        mesh = DeviceMesh.from_group(_get_default_group() if group is None else group, device_type)
    if strategy is ShardingStrategy.NO_SHARD:
        mesh = DeviceMesh(device_type, np.asarray(mesh.mesh.numpy()).reshape(-1, 1))
    return mesh


class FullyShardedDataParallel(Module):
    """The wrapped module, ``module``, whose parameters are divided among the processes of a group.

    Each process keeps a part of each parameter, of its gradient and of what the optimizer, made afterwards, has for it;
    for the passes through the module they are gathered. Gradients are averages over the processes.

    sharding_strategy: FULL_SHARD, the default, SHARD_GRAD_OP (whole parameters are kept from the forward to the
    backward pass), NO_SHARD (only gradients are averaged), HYBRID_SHARD (divided within a machine, or along the second
    axis of device_mesh, and repeated along the first).  auto_wrap_policy: which modules inside get wrappers of their
    own: one of ``torch.distributed.fsdp.wrap``, or ``f(module, recurse, nonwrapped_numel)``; parameters of one wrapper
    are gathered together.  mixed_precision, cpu_offload: see their classes.  ignored_modules, ignored_states: what
    stays as it is.  param_init_fn(module): gives parameters on the meta device values (default: ``to_empty`` and
    ``reset_parameters``).  sync_module_states: begin with the parameters and buffers of the first process.
    device_id: where the module is moved first.  use_orig_params, limit_all_gathers, backward_prefetch and
    forward_prefetch say how PyTorch keeps and sends parameters, with no effect on the results: parameters are always
    the module's own, each a DTensor, and are gathered when they are needed.

    ``state_dict`` has whole tensors unless ``state_dict_type`` says otherwise, by the names of the module itself.
    """

    def __init__(self, module: Module, process_group: Any = None, sharding_strategy: ShardingStrategy | None = None,
                 cpu_offload: CPUOffload | None = None, auto_wrap_policy: Any = None,
                 backward_prefetch: BackwardPrefetch | None = BackwardPrefetch.BACKWARD_PRE,
                 mixed_precision: MixedPrecision | None = None, ignored_modules: Iterable[Module] | None = None,
                 param_init_fn: Callable[[Module], None] | None = None, device_id: Any = None,
                 sync_module_states: bool = False, forward_prefetch: bool = False, limit_all_gathers: bool = True,
                 use_orig_params: bool = False, ignored_states: Any = None, device_mesh: Any = None) -> None:
        super().__init__()
        strategy = sharding_strategy or ShardingStrategy.FULL_SHARD
        if isinstance(module, FullyShardedDataParallel):
            raise ValueError("FullyShardedDataParallel: the module is wrapped already; wrap the module itself")
        if mixed_precision is not None and mixed_precision.keep_low_precision_grads:
            raise NotImplementedError("FullyShardedDataParallel: gradients have the dtype of the parts; leave "
                                      "keep_low_precision_grads out")
        apart, ignored = _left_out(ignored_modules, ignored_states)
        if device_id is not None:
            module = module.to(device_id)
        found = [p for p in module.parameters() if not p.is_meta]
        kind = found[0].device.type if found else _usual_device()
        mesh = _mesh_of(process_group, strategy, device_mesh, kind)
        if sync_module_states and not found:
            raise ValueError("FullyShardedDataParallel: sync_module_states needs parameters with values in all "
                             "processes, and these are on the meta device; give a param_init_fn")
        _materialize(module, param_init_fn, mesh.device_type, {id(m) for m in apart})
        if sync_module_states:
            for group in mesh.get_all_groups():
                names = {n for n, t in (*module.named_parameters(), *module.named_buffers()) if t._spread is not None}
                _sync_module_states(module, group, 1 << 28, 0, names)
        if auto_wrap_policy is not None:
            inner = {"sharding_strategy": strategy, "cpu_offload": cpu_offload, "device_mesh": device_mesh,
                     "process_group": process_group, "mixed_precision": mixed_precision,
                     "backward_prefetch": backward_prefetch, "forward_prefetch": forward_prefetch,
                     "limit_all_gathers": limit_all_gathers, "use_orig_params": use_orig_params,
                     "ignored_states": ignored}  # fmt: skip
            own_precision = tuple(mixed_precision._module_classes_to_ignore) if mixed_precision is not None else ()
            wrapped_by(module, auto_wrap_policy, lambda m, **more: FullyShardedDataParallel(m, **{**inner, **more}),
                       lambda m: FullyShardedDataParallel(_in_float32(m), **{**inner, "mixed_precision": None}),
                       apart, own_precision)
        self._fsdp_wrapped_module = module
        self.sharding_strategy, self.cpu_offload = strategy, cpu_offload or CPUOffload()
        self.mixed_precision = mixed_precision or MixedPrecision()
        self.process_group = mesh.get_group(mesh.ndim - 1)
        self.backward_prefetch, self.forward_prefetch = backward_prefetch, forward_prefetch
        self.limit_all_gathers, self._use_orig_params = limit_all_gathers, use_orig_params
        self._settings = StateDictSettings(StateDictType.FULL_STATE_DICT, FullStateDictConfig(),
                                           FullOptimStateDictConfig(offload_to_cpu=False))
        self._divide(module, mesh, strategy, apart, ignored)
        self._register_state_dict_hook(_whole_and_plain)
        self.register_state_dict_pre_hook(lambda *_: self._unit.give_up())
        self.register_load_state_dict_pre_hook(_with_prefix)

    def _divide(self, module: Module, mesh: DeviceMesh, strategy: ShardingStrategy, apart: list[Module],
                ignored: list[Tensor]) -> None:  # fmt: skip
        from ._unit import Kept, Unit

        precision = self.mixed_precision
        if precision.buffer_dtype is not None:
            for m in module.modules():
                for name, b in m._buffers.items():
                    if b is not None and b.is_floating_point():
                        m._buffers[name] = b.to(precision.buffer_dtype)
        keeps = strategy in (ShardingStrategy.SHARD_GRAD_OP, ShardingStrategy._HYBRID_SHARD_ZERO2,
                             ShardingStrategy.NO_SHARD)
        self.__dict__[_UNIT] = self._unit = Unit(
            [self], managed([module], ignored, apart), mesh,
            Kept(precision.param_dtype, precision.reduce_dtype, mesh.device_type), False if keeps else None,
            lambda p: 0, "cpu" if self.cpu_offload.offload_params else mesh.device_type)  # fmt: skip

    @property
    def module(self) -> Module:
        """The wrapped module."""
        return self._fsdp_wrapped_module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == _PREFIX:
                raise
            return getattr(self._fsdp_wrapped_module, name)

    def __getitem__(self, key: int) -> Any:
        return self._fsdp_wrapped_module[key]  # type: ignore[index]

    def __deepcopy__(self, memo: dict) -> Any:
        raise NotImplementedError("FullyShardedDataParallel does not support deepcopy. Copy the module before it is "
                                  "wrapped, or take its state dict.")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output."""
        unit, precision = self._unit, self.mixed_precision
        unit.before(self)
        result, done = None, False
        try:
            root = unit.outer is not False and precision.cast_root_forward_inputs
            if precision.param_dtype is not None and (root or precision.cast_forward_inputs):
                args, kwargs = cast_floating((args, kwargs), precision.param_dtype)
            result = self._fsdp_wrapped_module(*args, **kwargs)
            unit.watch(_find_tensors(result))
            done = True
        finally:
            unit.after(self, failed=not done)
        return result

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._unit.give_up()
        return super()._apply(*args, **kwargs)

    # ---------------------------------------------------------------------------------------------- all wrappers inside

    @staticmethod
    def fsdp_modules(module: Module, root_only: bool = False) -> list[FullyShardedDataParallel]:
        """The wrappers in a module, itself among them; root_only: those that are in no other."""
        found = [m for m in module.modules() if isinstance(m, FullyShardedDataParallel)]
        inside = {id(x) for m in found for x in m.modules() if x is not m} if root_only else set()
        return [m for m in found if id(m) not in inside]

    def check_is_root(self) -> bool:
        """Whether this is the outermost wrapper, as the first forward pass tells."""
        return self._unit.outer is not False

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Within this, gradients are not added up between processes: each keeps its own whole ones for later."""
        units = [m._unit for m in self.fsdp_modules(self)]
        before = [u.sync for u in units]
        for u in units:
            u.sync = False
        try:
            yield
        finally:
            for u, sync in zip(units, before, strict=True):
                u.sync = sync

    def clip_grad_norm_(self, max_norm: float, norm_type: float = 2.0) -> Tensor:
        """Scale all gradients, in place, so that their norm over all processes is at most max_norm; the norm, ()."""
        return clip_grad_norm_(list(self.parameters()), max_norm, norm_type)

    def apply(self, fn: Callable[[Module], None]) -> FullyShardedDataParallel:
        """``fn`` for each module inside, with whole parameters, whose changes are kept."""
        if "_summoned" in self.__dict__:
            return super().apply(fn)
        with self.summon_full_params(self, writeback=True):
            return super().apply(fn)

    def register_comm_hook(self, state: object, hook: Callable[..., Any]) -> None:
        """NotImplementedError: see ``MixedPrecision.reduce_dtype``, and hooks of ``DistributedDataParallel``."""
        raise NotImplementedError("FullyShardedDataParallel.register_comm_hook: use MixedPrecision(reduce_dtype=...) "
                                  "for fewer bits on the way, or DistributedDataParallel for hooks")

    @staticmethod
    @contextlib.contextmanager
    def summon_full_params(module: Module, recurse: bool = True, writeback: bool = True, rank0_only: bool = False,
                           offload_to_cpu: bool = False, with_grads: bool = False) -> Iterator[None]:  # fmt: skip
        """Within this, the module has its whole parameters, under the names of the module itself.

        recurse: also those of wrappers inside.  writeback: what is written to them is kept.  rank0_only: only the first
        process has them (ValueError together with writeback).  offload_to_cpu: they are on the CPU.  with_grads:
        gradients are whole, too (NotImplementedError together with writeback: they are not written back).
        """
        if rank0_only and writeback:
            raise NotImplementedError("summon_full_params: what one process alone writes cannot be kept; use "
                                      "writeback=False with rank0_only=True")
        wrappers = FullyShardedDataParallel.fsdp_modules(module)
        wrappers = [m for m in wrappers if (recurse or m is module) and "_summoned" not in m.__dict__]
        summoned = []
        for m in wrappers:
            unit = m._unit
            unit.give_up()
            parts = unit.parts
            with no_grad():
                wholes = [Parameter(p.detach().full_tensor().clone(), p.requires_grad) for p in parts]
                if offload_to_cpu:
                    wholes = [Parameter(w.detach().cpu(), w.requires_grad) for w in wholes]
                if with_grads:
                    for w, p in zip(wholes, parts, strict=True):
                        w.grad = None if p.grad is None else p.grad.full_tensor().to(w.device)
            if not rank0_only or get_rank(unit.group) == 0:
                unit._put(wholes)
            summoned.append((m, unit, parts, wholes))
            m.__dict__["_summoned"] = True
        try:
            yield
        finally:
            for m, unit, parts, wholes in summoned:
                m.__dict__.pop("_summoned")
                now = [places[0][0]._parameters[places[0][1]] for places in unit.places]
                unit._put(parts)
                if writeback:
                    with no_grad():
                        for p, w, old in zip(parts, now, wholes, strict=True):
                            p.copy_((old if w is p else w).detach().to(p.device))

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Parameter]]:
        """As Module's; within ``summon_full_params`` by the names of the module itself."""
        for name, p in super().named_parameters(*args, **kwargs):
            yield (name.replace(f"{_PREFIX}.", "") if "_summoned" in self.__dict__ else name), p

    # ------------------------------------------------------------------------------------------------------ state dicts

    @staticmethod
    def set_state_dict_type(module: Module, state_dict_type: StateDictType,
                            state_dict_config: StateDictConfig | None = None,
                            optim_state_dict_config: OptimStateDictConfig | None = None) -> StateDictSettings:
        """What state dicts of the wrappers in a module hold; what they held before.

        FULL_STATE_DICT: whole tensors. SHARDED_STATE_DICT: DTensors. NotImplementedError for LOCAL_STATE_DICT, which is
        PyTorch's flat memory.  TypeError for a configuration of another type.
        """
        if state_dict_type is StateDictType.LOCAL_STATE_DICT:
            raise NotImplementedError("LOCAL_STATE_DICT is PyTorch's flat memory; use SHARDED_STATE_DICT")
        full = state_dict_type is StateDictType.FULL_STATE_DICT
        kinds = (FullStateDictConfig, FullOptimStateDictConfig) if full else (
            ShardedStateDictConfig, ShardedOptimStateDictConfig)  # fmt: skip
        given = (state_dict_config or kinds[0](), optim_state_dict_config or kinds[1]())
        for config, kind in zip(given, kinds, strict=True):
            if type(config) is not kind:
                raise TypeError(f"Expected state_dict_config of type {kind.__name__} for {state_dict_type}, but got "
                                f"{type(config).__name__}")
        before = FullyShardedDataParallel.get_state_dict_type(module)
        for m in FullyShardedDataParallel.fsdp_modules(module):
            m._settings = StateDictSettings(state_dict_type, *given)
        return before

    @staticmethod
    def get_state_dict_type(module: Module) -> StateDictSettings:
        """What state dicts of the wrappers in a module hold."""
        found = FullyShardedDataParallel.fsdp_modules(module)
        if not found:
            raise ValueError("state_dict_type: there is no FullyShardedDataParallel in the module")
        return dataclasses.replace(found[0]._settings)

    @staticmethod
    @contextlib.contextmanager
    def state_dict_type(module: Module, state_dict_type: StateDictType,
                        state_dict_config: StateDictConfig | None = None,
                        optim_state_dict_config: OptimStateDictConfig | None = None) -> Iterator[None]:  # fmt: skip
        """``set_state_dict_type`` for as long as this lasts."""
        before = FullyShardedDataParallel.set_state_dict_type(module, state_dict_type, state_dict_config,
                                                              optim_state_dict_config)
        try:
            yield
        finally:
            FullyShardedDataParallel.set_state_dict_type(module, before.state_dict_type, before.state_dict_config,
                                                         before.optim_state_dict_config)

    @staticmethod
    def optim_state_dict(model: Module, optim: Optimizer, optim_state_dict: dict[str, Any] | None = None,
                         group: Any = None) -> dict[str, Any]:  # fmt: skip
        """State of the optimizer by the names of the module's parameters, whole or divided as ``state_dict_type`` says.

        NotImplementedError for optim_state_dict and group.
        """
        from ..checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

        if optim_state_dict is not None or group is not None:
            raise NotImplementedError("optim_state_dict: the state is the optimizer's own, and the processes are those "
                                      "of the model; leave optim_state_dict and group out")
        config = FullyShardedDataParallel.get_state_dict_type(model).optim_state_dict_config
        full = isinstance(config, FullOptimStateDictConfig)
        found = get_optimizer_state_dict(model, optim, options=StateDictOptions(full_state_dict=full))
        if full and config.rank0_only and get_rank() != 0:
            return {}
        return _on_cpu(found) if config.offload_to_cpu else found

    @staticmethod
    def optim_state_dict_to_load(model: Module, optim: Optimizer, optim_state_dict: dict[str, Any],
                                 is_named_optimizer: bool = False, load_directly: bool = False,
                                 group: Any = None) -> dict[str, Any]:  # fmt: skip
        """What ``optim.load_state_dict`` takes, from what ``optim_state_dict`` gave.

        load_directly: load it as well. With FullOptimStateDictConfig(rank0_only=True) only the first process needs to
        give a state. NotImplementedError for is_named_optimizer and group.
        """
        from ..checkpoint.state_dict import broadcast_state, numbered_state

        if is_named_optimizer or group is not None:
            raise NotImplementedError("optim_state_dict_to_load: optimizers number their parameters, and the processes "
                                      "are those of the model; leave is_named_optimizer and group out")
        config = FullyShardedDataParallel.get_state_dict_type(model).optim_state_dict_config
        if isinstance(config, FullOptimStateDictConfig) and config.rank0_only:
            optim_state_dict = broadcast_state(optim_state_dict)
        found = numbered_state(model, optim, optim_state_dict)
        if load_directly:
            optim.load_state_dict(found)
        return found

    @staticmethod
    def full_optim_state_dict(model: Module, optim: Optimizer, optim_input: Any = None, rank0_only: bool = True,
                              group: Any = None) -> dict[str, Any]:  # fmt: skip
        """The whole state by names; rank0_only: the other processes get an empty dict. The optimizer knows optim_input.

        NotImplementedError for group.
        """
        config = FullOptimStateDictConfig(offload_to_cpu=True, rank0_only=rank0_only)
        with FullyShardedDataParallel.state_dict_type(model, StateDictType.FULL_STATE_DICT, None, config):
            return FullyShardedDataParallel.optim_state_dict(model, optim, group=group)

    @staticmethod
    def sharded_optim_state_dict(model: Module, optim: Optimizer, group: Any = None) -> dict[str, Any]:
        """The state by names, as DTensors. NotImplementedError for group."""
        with FullyShardedDataParallel.state_dict_type(model, StateDictType.SHARDED_STATE_DICT):
            return FullyShardedDataParallel.optim_state_dict(model, optim, group=group)

    @staticmethod
    def shard_full_optim_state_dict(full_optim_state_dict: dict[str, Any], model: Module, optim_input: Any = None,
                                    optim: Optimizer | None = None) -> dict[str, Any]:  # fmt: skip
        """What ``optim.load_state_dict`` takes, from a whole state by names that all processes give."""
        from ..checkpoint.state_dict import numbered_state

        if optim is None:
            raise NotImplementedError("shard_full_optim_state_dict: give optim, which knows its parameters")
        return numbered_state(model, optim, full_optim_state_dict)

    @staticmethod
    def rekey_optim_state_dict(optim_state_dict: dict[str, Any], optim_state_key_type: OptimStateKeyType, model: Module,
                               optim_input: Any = None, optim: Optimizer | None = None) -> dict[str, Any]:  # fmt: skip
        """A state by names of the model's parameters for one by their numbers (PARAM_NAME), or back (PARAM_ID).

        Numbers are those in the optimizer ``optim``, in ``optim_input`` (parameters, or groups of them), else in
        ``model.parameters()``. AssertionError for another key type, ValueError for a state that has names and numbers.
        """
        from ..checkpoint.state_dict import rekeyed_state

        if not isinstance(optim_state_key_type, OptimStateKeyType):
            raise AssertionError(f"Expected optim_state_key_type to be PARAM_NAME or PARAM_ID, got "
                                 f"{optim_state_key_type}")
        given = optim.param_groups if optim is not None else optim_input if optim_input is not None else (
            model.parameters())  # fmt: skip
        parameters = [p for one in given for p in (one["params"] if isinstance(one, dict) else (one,))]
        return rekeyed_state(model, optim_state_dict, optim_state_key_type is OptimStateKeyType.PARAM_NAME, parameters)


def _left_out(modules: Iterable[Module] | None, states: Any) -> tuple[list[Module], list[Tensor]]:
    given = list(states or ())
    apart = [*(modules or ()), *[s for s in given if isinstance(s, Module)]]
    for m in apart:
        if not isinstance(m, Module):
            raise TypeError(f"ignored_modules must be modules, but got {type(m).__name__}")
        if isinstance(m, FullyShardedDataParallel):
            raise ValueError("ignored_modules: a FullyShardedDataParallel cannot be left out; give the module in it")
    return apart, [s for s in given if isinstance(s, Tensor)]


def _materialize(module: Module, init: Callable[[Module], None] | None, device: str, apart: set[int]) -> None:
    """Give parameters on the meta device values."""
    for m in module.modules():
        own = [t for t in (*m._parameters.values(), *m._buffers.values()) if t is not None]
        if id(m) in apart or not any(t.is_meta and t._spread is None for t in own):
            continue
        if init is not None:
            init(m)
        elif not callable(getattr(m, "reset_parameters", None)):
            raise RuntimeError(f"Unable to call ``reset_parameters()`` for {type(m).__name__}, whose parameters are on "
                               "the meta device; give a param_init_fn that gives them values")
        else:
            m.to_empty(device=device, recurse=False)
            with no_grad():
                m.reset_parameters()  # type: ignore[operator]


def _in_float32(module: Module) -> Module:
    """A module that computes with float32, whatever comes in, and gives back the dtype of that."""
    given: list[Any] = []

    def before(m: Module, args: tuple) -> Any:
        given[:] = [t.dtype for t in args if isinstance(t, Tensor) and t.is_floating_point()][:1]
        return cast_floating(args, float32)

    module.register_forward_pre_hook(before)
    module.register_forward_hook(lambda m, args, out: cast_floating(out, given[0]) if given else out)
    return module


def _on_cpu(state: Any) -> Any:
    if isinstance(state, dict):
        return {k: _on_cpu(v) for k, v in state.items()}
    return state.detach().cpu() if isinstance(state, Tensor) else state


def _whole_and_plain(module: FullyShardedDataParallel, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Names without the wrapper's, and tensors as the settings say."""
    config = module._settings.state_dict_config
    full = isinstance(config, FullStateDictConfig)
    wanted = not (full and config.rank0_only and get_rank() != 0)
    for name in [n for n in state if n.startswith(f"{prefix}{_PREFIX}.")]:
        value = state.pop(name)
        if isinstance(value, Tensor):
            if full and value._spread is not None:
                with no_grad():
                    value = value.detach().full_tensor()
            if config.offload_to_cpu:
                value = value.cpu()
        if wanted:
            state[prefix + name[len(prefix) + len(_PREFIX) + 1 :]] = value


def _with_prefix(module: FullyShardedDataParallel, state: dict[str, Any], prefix: str, *args: Any) -> None:
    module._unit.give_up()
    for name in [n for n in state if n.startswith(prefix) and not n.startswith(f"{prefix}{_PREFIX}.")]:
        state[f"{prefix}{_PREFIX}.{name[len(prefix) :]}"] = state.pop(name)

