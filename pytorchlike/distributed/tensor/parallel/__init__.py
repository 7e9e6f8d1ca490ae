"""``torch.distributed.tensor.parallel``: weights divided among the devices of this process, layer by layer.

The mesh is a ``jax.sharding.Mesh``, as for ``distribute_module``. XLA finds out what has to travel between the devices,
so what PyTorch's classes say about the layouts of inputs and outputs needs no code: they are whole tensors everywhere.
"""

from __future__ import annotations

import contextlib
import fnmatch
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from ....nn import Embedding, Linear, Module
from ....tensor import Tensor
from ....utils._pytree import tree_map
from .. import distribute_module, distribute_tensor
from ..placement_types import Placement, Replicate, Shard

__all__ = ["ColwiseParallel", "ParallelStyle", "PrepareModuleInput", "PrepareModuleInputOutput", "PrepareModuleOutput",
           "RowwiseParallel", "SequenceParallel", "loss_parallel", "parallelize_module"]


class ParallelStyle(ABC):
    """How a module is divided. ``src_data_rank`` is accepted: there is one process."""

    src_data_rank: int | None = 0

    @abstractmethod
    def _apply(self, module: Module, device_mesh: Any) -> Module:
        """Divide the parameters of a module, in place."""


def _replace(module: Module, device_mesh: Any, placements: dict[str, Placement]) -> Module:
    def divide(name: str, part: Module, mesh: Any) -> None:
        for key, value in list(part._parameters.items()):
            if value is not None and key in placements:
                part._parameters[key] = distribute_tensor(value, mesh, [placements[key]])

    return distribute_module(module, device_mesh, divide)


class _Layouts(ParallelStyle):
    def __init__(self, *, input_layouts: Placement | None = None, output_layouts: Placement | None = None,
                 use_local_output: bool = True) -> None:
        self.input_layouts, self.output_layouts = (input_layouts,), (output_layouts,)
        self.use_local_output = use_local_output


class ColwiseParallel(_Layouts):
    """The outputs of a Linear, or the columns of an Embedding, are divided. NotImplementedError for other modules."""

    def _apply(self, module: Module, device_mesh: Any) -> Module:
        if isinstance(module, Linear):
            return _replace(module, device_mesh, {"weight": Shard(0), "bias": Shard(0)})
        if isinstance(module, Embedding):
            return _replace(module, device_mesh, {"weight": Shard(1)})
        raise NotImplementedError("ColwiseParallel currently only support nn.Linear and nn.Embedding!")


class RowwiseParallel(_Layouts):
    """The inputs of a Linear, or the rows of an Embedding, are divided. NotImplementedError for other modules."""

    def _apply(self, module: Module, device_mesh: Any) -> Module:
        if isinstance(module, Linear):
            return _replace(module, device_mesh, {"weight": Shard(1), "bias": Replicate()})
        if isinstance(module, Embedding):
            return _replace(module, device_mesh, {"weight": Shard(0)})
        raise NotImplementedError("RowwiseParallel currently only support nn.Linear and nn.Embedding!")


class SequenceParallel(ParallelStyle):
    """Parameters everywhere (of a LayerNorm, say); how the sequence is divided is left to XLA."""

    def __init__(self, *, sequence_dim: int = 1, use_local_output: bool = False) -> None:
        self.sequence_dim, self.use_local_output = sequence_dim, use_local_output

    def _apply(self, module: Module, device_mesh: Any) -> Module:
        return distribute_module(module, device_mesh)


class _Prepare(ParallelStyle):
    """Layouts of what goes in or out: whole tensors are right for all of them, so that nothing is to be done."""

    def __init__(self, **layouts: Any) -> None:
        self.layouts = layouts

    def _apply(self, module: Module, device_mesh: Any) -> Module:
        return module


class PrepareModuleInput(_Prepare):
    """See :class:`_Prepare`."""


class PrepareModuleOutput(_Prepare):
    """See :class:`_Prepare`."""


class PrepareModuleInputOutput(_Prepare):
    """See :class:`_Prepare`."""


def parallelize_module(module: Module, device_mesh: Any = None,
                       parallelize_plan: ParallelStyle | dict[str, ParallelStyle] | None = None, *,
                       src_data_rank: int | None = 0) -> Module:
    """Divide a module's weights among the devices of a mesh of one axis, in place, and return it.

    parallelize_plan: a style for the module, or a dict from the full names of its parts ('layers.0.fc1'; * and ? stand
    for anything within a name) to styles. What no style divides is put on all devices, and so are tensors that the
    module is called with, unless they require gradients: those must be on the mesh already.
    Raises TypeError for another plan or mesh, ValueError for sizes that cannot be divided evenly.
    """
    if parallelize_plan is None:
        warnings.warn("No parallelize_plan is provided and auto-parallel is not supported at the moment, so this "
                      "parallelize_module call will do nothing.", stacklevel=2)
        return module
    if isinstance(parallelize_plan, ParallelStyle):
        return _on_mesh(parallelize_plan._apply(module, device_mesh), device_mesh)
    if not isinstance(parallelize_plan, dict):
        raise TypeError("Expect Union[ParallelStyle, Dict[str, ParallelStyle]] for parallelize_plan, "
                        f"{type(parallelize_plan)} found!")
    parts = dict(module.named_modules())
    for pattern, style in parallelize_plan.items():
        found = [part for name, part in parts.items() if _matches(name, pattern)]
        if not found:
            warnings.warn(f"Parallelize plan key '{pattern}' could not be resolved: no submodule matching it.",
                          stacklevel=2)
        for part in found:
            style._apply(part, device_mesh)
    return _on_mesh(module, device_mesh)


def _on_mesh(module: Module, device_mesh: Any) -> Module:
    """Put what is not divided on all devices, and the module's inputs as they come."""

    def spread(x: Any) -> Any:
        alone = isinstance(x, Tensor) and x.is_leaf and len(x.jax().sharding.device_set) == 1
        return distribute_tensor(x, device_mesh) if alone and not x.requires_grad else x

    module.register_forward_pre_hook(lambda m, args, kwargs: tree_map(spread, (args, kwargs)), with_kwargs=True)
    return distribute_module(module, device_mesh)


def _matches(name: str, pattern: str) -> bool:
    names, patterns = name.split("."), pattern.split(".")
    return len(names) == len(patterns) and all(map(fnmatch.fnmatchcase, names, patterns))


@contextlib.contextmanager
def loss_parallel() -> Iterator[None]:
    """Cross-entropy of divided logits: XLA does it anyway, so this changes nothing."""
    yield
