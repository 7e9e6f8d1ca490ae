"""``torch.distributed.pipelining.schedules``: in which order a process goes through the portions of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from ...tensor import Tensor
from .microbatch import merge_chunks, split_args_kwargs_into_chunks
from .stage import PipelineStage

__all__ = ["Schedule1F1B", "ScheduleDualPipeV", "ScheduleGPipe", "ScheduleInterleaved1F1B",
           "ScheduleInterleavedZeroBubble", "ScheduleLoopedBFS", "ScheduleZBVZeroBubble"]


class Action(NamedTuple):
    """A portion that is gone through: of which of the process's stages, forwards or backwards."""

    stage: int
    backwards: bool
    chunk: int


class _Schedule:
    """A training step by portions of a batch.

    n_microbatches: into how many a batch is cut, along the first dimension of each tensor unless the specs say another.
    loss_fn(output, target): for portions; without it nothing is gone back through.   scale_grads: divide gradients by
    the number of portions, as is right for losses that are means.
    """

    def __init__(self, stages: list[PipelineStage], n_microbatches: int, loss_fn: Callable[..., Tensor] | None,
                 args_chunk_spec: Any, kwargs_chunk_spec: Any, output_merge_spec: Any, scale_grads: bool) -> None:
        if n_microbatches < 1:
            raise ValueError(f"n_microbatches must be positive, but got {n_microbatches}")
        self._stages, self._n_microbatches, self._loss_fn = stages, n_microbatches, loss_fn
        self._specs, self._merge_spec = (args_chunk_spec, kwargs_chunk_spec), output_merge_spec
        self.scale_grads = scale_grads
        for stage in stages[1:]:
            stage.share(stages[0])

    def _order(self) -> list[Action]:
        raise NotImplementedError

    def step(self, *args: Any, target: Any = None, losses: list | None = None, return_outputs: bool = True,
             loss_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        """Go through a batch, forwards and, if there is a loss function, backwards.

        args: of the first stage's process alone; kwargs: of each stage.  target: of the last stage's process, for the
        loss function, together with loss_kwargs; the portions' losses are put into `losses`.  Returns the last stage's
        output there, else None; None everywhere without return_outputs.
        """
        return self._run(args, kwargs, target, losses, return_outputs, loss_kwargs or {}, self._loss_fn is not None)

    def eval(self, *args: Any, target: Any = None, losses: list | None = None, **kwargs: Any) -> Any:
        """As ``step``, without gradients."""
        return self._run(args, kwargs, target, losses, True, {}, False)

    def _run(self, args: tuple, kwargs: dict[str, Any], target: Any, losses: list | None, wanted: bool,
             loss_kwargs: dict[str, Any], train: bool) -> Any:  # fmt: skip
        n = self._n_microbatches
        first = any(stage.is_first for stage in self._stages)
        last = next((stage for stage in self._stages if stage.is_last), None)
        if not first and args:
            raise ValueError("pipelining: positional arguments belong to the process of the first stage alone")
        inputs, named = split_args_kwargs_into_chunks(args, kwargs, n, *self._specs)
        targets = [None] * n
        if last is not None and self._loss_fn is not None and target is not None:
            targets = split_args_kwargs_into_chunks((target,), {}, n)[0]
        elif last is not None and train:
            raise ValueError("pipelining: the process of the last stage needs target= for the loss function")
        outs: list[Any] = [None] * n
        found: list[Any] = [None] * n
        for stage in self._stages:
            stage.clear_runtime_states()
        for action in self._order():
            stage, k = self._stages[action.stage], action.chunk
            if action.backwards:
                if train:
                    stage.backward_chunk(k, found[k] if stage.is_last else None)
                    if stage.is_last:
                        found[k] = found[k].detach()
                continue
            out = stage.forward_chunk(k, inputs[k], named[k], train)
            if stage.is_last:
                outs[k] = out
                if targets[k] is not None:
                    found[k] = self._loss_fn(out, *targets[k], **loss_kwargs)  # type: ignore[misc]
        if train and self.scale_grads:
            for stage in self._stages:
                stage.scale_grads(n)
        if losses is not None:
            losses[:] = [x.detach() for x in found] if last is not None and targets[0] is not None else []
        return merge_chunks(outs, self._merge_spec) if wanted and last is not None else None


class _OneStage(_Schedule):
    """See :class:`_Schedule`. stage: what the process has."""

    def __init__(self, stage: PipelineStage, n_microbatches: int, loss_fn: Callable[..., Tensor] | None = None,
                 args_chunk_spec: Any = None, kwargs_chunk_spec: Any = None, output_merge_spec: Any = None,
                 scale_grads: bool = True) -> None:
        if stage.num_stages != stage.group_size:
            raise ValueError(f"{type(self).__name__} needs one stage in each process, but there are {stage.num_stages} "
                             f"stages and {stage.group_size} processes; use ScheduleInterleaved1F1B")
        super().__init__([stage], n_microbatches, loss_fn, args_chunk_spec, kwargs_chunk_spec, output_merge_spec,
                         scale_grads)


class ScheduleGPipe(_OneStage):
    """All portions forwards, then all backwards. Source: Huang et al. 2019, arXiv:1811.06965."""

    def _order(self) -> list[Action]:
        return [Action(0, back, k) for back in (False, True) for k in range(self._n_microbatches)]


class Schedule1F1B(_OneStage):
    """As soon as the last stage has a portion, one backwards after each forwards: fewer portions are kept.

    Source: Narayanan et al. 2019, doi:10.1145/3341301.3359646.
    """

    def _order(self) -> list[Action]:
        stage, n = self._stages[0], self._n_microbatches
        ahead = min(n, stage.num_stages - stage.stage_index)
        order = [Action(0, False, k) for k in range(ahead)]
        for k in range(n):
            order.append(Action(0, True, k))
            if ahead + k < n:
                order.append(Action(0, False, ahead + k))
        return order


class _SeveralStages(_Schedule):
    """See :class:`_Schedule`. stages: what the process has, every so many-th of the model, in order."""

    def __init__(self, stages: list[PipelineStage], n_microbatches: int, loss_fn: Callable[..., Tensor] | None = None,
                 args_chunk_spec: Any = None, kwargs_chunk_spec: Any = None, output_merge_spec: Any = None,
                 scale_grads: bool = True, backward_requires_autograd: bool = True,
                 defer_pp_recv: bool = False) -> None:
        if not backward_requires_autograd or defer_pp_recv:
            raise NotImplementedError(f"{type(self).__name__}: gradients are autograd's, and received when they are "
                                      "needed; leave backward_requires_autograd and defer_pp_recv out")
        wanted = list(range(stages[0].group_rank, stages[0].num_stages, stages[0].group_size))
        if [stage.stage_index for stage in stages] != wanted:
            raise ValueError(f"{type(self).__name__}: this process has the stages {wanted}, but got "
                             f"{[stage.stage_index for stage in stages]}")
        super().__init__(stages, n_microbatches, loss_fn, args_chunk_spec, kwargs_chunk_spec, output_merge_spec,
                         scale_grads)


class ScheduleLoopedBFS(_SeveralStages):
    """All portions through a stage before the next one's; then all backwards. Source: arXiv:2211.05953."""

    def _order(self) -> list[Action]:
        n, own = self._n_microbatches, range(len(self._stages))
        return [Action(s, back, k) for back in (False, True) for s in (reversed(own) if back else own)
                for k in (reversed(range(n)) if back else range(n))]  # fmt: skip


class ScheduleInterleaved1F1B(_SeveralStages):
    """1F1B over several stages in each process. Source: Narayanan et al. 2021, arXiv:2104.04473.

    ValueError if the portions are not a multiple of the rounds, portions // processes.
    """

    def _order(self) -> list[Action]:
        n, own, size = self._n_microbatches, len(self._stages), self._stages[0].group_size
        rounds = max(1, n // size)
        if n % rounds:
            raise ValueError(f"Interleaved 1F1B requires the number of microbatches to be a multiple of the number of "
                             f"rounds ({rounds}), but got {n}.")
        each = n // rounds

        def action(i: int, back: bool) -> Action:
            stage = (i // each) % own
            return Action(own - 1 - stage if back else stage, back, (i // (each * own)) * each + i % each)

        total = n * own
        ahead = min((own - 1) * each + 2 * (size - 1 - self._stages[0].group_rank), total)
        order = [action(i, False) for i in range(ahead)]
        for i in range(total):
            if ahead + i < total:
                order.append(action(ahead + i, False))
            order.append(action(i, True))
        return order


class _Missing:
    """Not there: NotImplementedError."""

    def __init__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"{type(self).__name__} goes back for inputs and weights apart, which is not there; "
                                  "use ScheduleInterleaved1F1B, which gives the same numbers")


class ScheduleInterleavedZeroBubble(_Missing):
    """Not there: NotImplementedError. Use ScheduleInterleaved1F1B."""


class ScheduleZBVZeroBubble(_Missing):
    """Not there: NotImplementedError. Use ScheduleInterleaved1F1B."""


class ScheduleDualPipeV(_Missing):
    """Not there: NotImplementedError. Use ScheduleInterleaved1F1B."""
