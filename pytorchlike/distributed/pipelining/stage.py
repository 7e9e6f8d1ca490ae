"""``torch.distributed.pipelining.stage``: what one process has of a model, and how it hands on what it computes."""

from __future__ import annotations

import pickle
from collections import defaultdict, deque
from typing import Any, NamedTuple

import numpy as np

from ...autograd import backward
from ...autograd.mode import enable_grad, no_grad
from ...nn import Module
from ...tensor import Tensor
from ...tensor import functions as T
from ...tensor.dtype import uint8
from ...utils._pytree import tree_flatten, tree_unflatten
from .._group import ProcessGroup
from .._world import _get_default_group

__all__ = ["PipelineStage", "build_stage"]


class _Told(NamedTuple):
    """What is said of a tensor before it is sent."""

    shape: tuple[int, ...]
    dtype: Any
    needs_grad: bool


class _Post:
    """Nested containers of tensors and other things, between members of a group; those to oneself stay here."""

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group
        self.own: dict[int, deque] = defaultdict(deque)

    def send(self, to: int, tag: int, tree: Any) -> None:
        leaves, structure = tree_flatten(tree)
        told = [_Told(tuple(x.shape), x.dtype, x.requires_grad) if isinstance(x, Tensor) else x for x in leaves]
        tensors = [x.detach() for x in leaves if isinstance(x, Tensor)]
        if to == self.group.rank():
            self.own[tag].append((told, structure, tensors))
            return
        head = np.frombuffer(pickle.dumps((told, structure)), np.uint8)
        self.group.send(T.tensor([head.size]), to, tag)
        self.group.send(T.tensor(head), to, tag)
        for t in tensors:
            self.group.send(t, to, tag)

    def receive(self, source: int, tag: int, device: Any) -> Any:
        """What was sent, as leaves of a tape where the sender's tensors need gradients."""
        if source == self.group.rank():
            if not self.own[tag]:
                raise RuntimeError("pipelining: a stage of this process has not computed yet what the next one needs")
            told, structure, tensors = self.own[tag].popleft()
        else:
            size = self.group.recv(T.tensor([0]), source, tag)[0]
            head = self.group.recv(T.empty(int(size), dtype=uint8), source, tag)[0]
            told, structure = pickle.loads(head.numpy().tobytes())
            tensors = [self.group.recv(T.empty(x.shape, dtype=x.dtype), source, tag)[0]
                       for x in told if isinstance(x, _Told)]  # fmt: skip
        come = iter(tensors)
        leaves = [next(come).detach().to(device).requires_grad_(x.needs_grad) if isinstance(x, _Told) else x
                  for x in told]
        return tree_unflatten(leaves, structure)


class PipelineStage:
    """The part `stage_index` of a model of `num_stages` parts, which the process ``stage_index % members`` computes.

    submodule: the part; its arguments are what the part before returned.   device: where it is.   group: the processes,
    None for all. input_args and output_args may be given; shapes are told with each message.

    Raises ValueError for a stage_index that is not below num_stages, NotImplementedError for output_grads, input_grads,
    dw_builder and get_mesh, which are for DTensors and schedules that are not there.
    """

    def __init__(self, submodule: Module, stage_index: int, num_stages: int, device: Any, input_args: Any = None,
                 output_args: Any = None, output_grads: Any = None, input_grads: Any = None,
                 group: ProcessGroup | None = None, dw_builder: Any = None, get_mesh: Any = None) -> None:
        given = {"output_grads": output_grads, "input_grads": input_grads, "dw_builder": dw_builder,
                 "get_mesh": get_mesh}  # fmt: skip
        for name, value in given.items():
            if value is not None:
                raise NotImplementedError(f"PipelineStage: {name} is not there; leave it out")
        if not 0 <= stage_index < num_stages:
            raise ValueError(f"Stage index {stage_index} is out of range of {num_stages}")
        self.submod, self.stage_index, self.num_stages, self.device = submodule, stage_index, num_stages, device
        self.input_args, self.output_args = input_args, output_args
        self.group: ProcessGroup = _get_default_group() if group is None else group
        self.group_rank, self.group_size = self.group.rank(), self.group.size()
        if self.group_size > num_stages:
            raise RuntimeError(f"Pipeline group size {self.group_size} cannot be larger than number of stages "
                               f"{num_stages}")
        self.is_first, self.is_last = stage_index == 0, stage_index == num_stages - 1
        self._post = _Post(self.group)
        self._kept: dict[int, tuple[list[Tensor], list[Tensor]]] = {}

    def share(self, other: PipelineStage) -> None:
        """Hand things on within the process as the stage `other` does."""
        self._post = other._post

    def forward_chunk(self, number: int, args: tuple, kwargs: dict[str, Any], grad: bool) -> Any:
        """Compute the portion `number`: of `args` in the first stage, else of what the stage before sends."""
        if not self.is_first:
            args = self._post.receive((self.stage_index - 1) % self.group_size, 2 * self.stage_index, self.device)
        with enable_grad() if grad else no_grad():
            out = self.submod(*args, **kwargs)
        if not self.is_last:
            sent = tuple(out) if isinstance(out, (tuple, list)) else (out,)
            self._post.send((self.stage_index + 1) % self.group_size, 2 * (self.stage_index + 1), sent)
        if grad:
            came = [] if self.is_first else [t for t in tree_flatten(args)[0] if isinstance(t, Tensor)]
            self._kept[number] = came, [t for t in tree_flatten(out)[0] if isinstance(t, Tensor)]
        return out

    def backward_chunk(self, number: int, loss: Tensor | None) -> None:
        """Go back through the portion `number`: from its loss in the last stage, else from what the next one sends."""
        came, made = self._kept.pop(number)
        if self.is_last:
            assert loss is not None
            loss.backward()
        else:
            grads = self._post.receive((self.stage_index + 1) % self.group_size, 2 * self.stage_index + 1, self.device)
            pairs = [(t, g) for t, g in zip([t for t in made if t.requires_grad], grads, strict=True) if g is not None]
            if pairs:
                backward([t for t, _ in pairs], [g for _, g in pairs])
        if not self.is_first:
            back = [t.grad for t in came if t.requires_grad]
            self._post.send((self.stage_index - 1) % self.group_size, 2 * (self.stage_index - 1) + 1, back)

    def clear_runtime_states(self) -> None:
        """Forget the portions that are under way."""
        self._kept.clear()

    def scale_grads(self, divisor: int) -> None:
        """Divide the gradients of the part."""
        if divisor != 1:
            with no_grad():
                for p in self.submod.parameters():
                    if p.grad is not None:
                        p.grad.div_(divisor)


def build_stage(stage_module: Module, stage_index: int, pipe_info: Any, device: Any,
                group: ProcessGroup | None = None) -> PipelineStage:  # fmt: skip
    """The stage of a piece that ``Pipe.get_stage_module`` gave; pipe_info: ``Pipe.info()``."""
    return PipelineStage(stage_module, stage_index, pipe_info.num_stages, device, group=group)
