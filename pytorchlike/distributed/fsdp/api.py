"""``torch.distributed.fsdp.api``: what is said to ``FullyShardedDataParallel``."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from ...nn.modules.batchnorm import _BatchNorm
from ...nn.modules.module import Module
from ...tensor.dtype import dtype

__all__ = ["BackwardPrefetch", "CPUOffload", "FullOptimStateDictConfig", "FullStateDictConfig",
           "LocalOptimStateDictConfig", "LocalStateDictConfig", "MixedPrecision", "OptimStateDictConfig",
           "ShardedOptimStateDictConfig", "ShardedStateDictConfig", "ShardingStrategy", "StateDictConfig",
           "StateDictSettings", "StateDictType"]


class ShardingStrategy(enum.Enum):
    """What is divided among the processes."""

    FULL_SHARD = enum.auto()
    SHARD_GRAD_OP = enum.auto()
    NO_SHARD = enum.auto()
    HYBRID_SHARD = enum.auto()
    _HYBRID_SHARD_ZERO2 = enum.auto()


class BackwardPrefetch(enum.Enum):
    """When PyTorch fetches the parameters of the next part; they are fetched when they are needed."""

    BACKWARD_PRE = enum.auto()
    BACKWARD_POST = enum.auto()


class StateDictType(enum.Enum):
    """What a state_dict holds."""

    FULL_STATE_DICT = enum.auto()
    LOCAL_STATE_DICT = enum.auto()
    SHARDED_STATE_DICT = enum.auto()


class OptimStateKeyType(enum.Enum):
    """By what the state of an optimizer tells parameters apart: their names in the model, or their numbers."""

    PARAM_NAME = enum.auto()
    PARAM_ID = enum.auto()


@dataclass
class MixedPrecision:
    """The dtypes that parameters are gathered in, gradients added up in, and buffers kept in; None: as they are.

    cast_forward_inputs, cast_root_forward_inputs: inputs of all wrappers, or of the outermost, get the parameters'
    dtype. Modules of _module_classes_to_ignore get wrappers of their own, in float32, where a policy wraps.
    keep_low_precision_grads: NotImplementedError.
    """

    param_dtype: dtype | None = None
    reduce_dtype: dtype | None = None
    buffer_dtype: dtype | None = None
    keep_low_precision_grads: bool = False
    cast_forward_inputs: bool = False
    cast_root_forward_inputs: bool = True
    _module_classes_to_ignore: Sequence[type[Module]] = (_BatchNorm,)


@dataclass
class CPUOffload:
    """Whether parts of parameters, their gradients and optimizer states rest on the host."""

    offload_params: bool = False


@dataclass
class StateDictConfig:
    """Whether a state_dict is on the CPU."""

    offload_to_cpu: bool = False


@dataclass
class FullStateDictConfig(StateDictConfig):
    """As StateDictConfig; rank0_only: the other processes get an empty one."""

    rank0_only: bool = False


@dataclass
class LocalStateDictConfig(StateDictConfig):
    """As StateDictConfig."""


@dataclass
class ShardedStateDictConfig(StateDictConfig):
    """As StateDictConfig."""

    _use_dtensor: bool = False


@dataclass
class OptimStateDictConfig:
    """Whether an optimizer's state_dict is on the CPU."""

    offload_to_cpu: bool = True


@dataclass
class FullOptimStateDictConfig(OptimStateDictConfig):
    """As OptimStateDictConfig; rank0_only: the other processes get an empty one."""

    rank0_only: bool = False


@dataclass
class LocalOptimStateDictConfig(OptimStateDictConfig):
    """As OptimStateDictConfig."""

    offload_to_cpu: bool = False


@dataclass
class ShardedOptimStateDictConfig(OptimStateDictConfig):
    """As OptimStateDictConfig."""

    _use_dtensor: bool = False


@dataclass
class StateDictSettings:
    """All that is said about a state_dict."""

    state_dict_type: StateDictType
    state_dict_config: StateDictConfig
    optim_state_dict_config: OptimStateDictConfig
