"""Hooks for ``DistributedDataParallel.register_comm_hook``: averages, also with fewer bits on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....futures import Future
from ....tensor import Tensor
from ....tensor.dtype import bfloat16, float16
from ..._gradients import GradBucket
from ..._group import ProcessGroup
from ..._reduce_op import ReduceOp
from ..._world import _group

__all__ = ["allreduce_hook", "bf16_compress_hook", "bf16_compress_wrapper", "fp16_compress_hook",
           "fp16_compress_wrapper"]

Hook = Callable[[Any, GradBucket], Future]


def _averaged(process_group: ProcessGroup | None, tensor: Tensor) -> Tensor:
    pg = _group(process_group)
    return pg.all_reduce(tensor / pg.size(), ReduceOp.SUM)


def _given(value: Tensor) -> Future:
    future = Future()
    future.set_result(value)
    return future


def allreduce_hook(process_group: ProcessGroup | None, bucket: GradBucket) -> Future:
    """The average, as without a hook. process_group: None is the world."""
    return _given(_averaged(process_group, bucket.buffer()))


def _compressed(process_group: ProcessGroup | None, bucket: GradBucket, dtype: Any) -> Future:
    buffer = bucket.buffer()
    return _given(_averaged(process_group, buffer.to(dtype)).to(buffer.dtype))


def fp16_compress_hook(process_group: ProcessGroup | None, bucket: GradBucket) -> Future:
    """The average of float16 values."""
    return _compressed(process_group, bucket, float16)


def bf16_compress_hook(process_group: ProcessGroup | None, bucket: GradBucket) -> Future:
    """The average of bfloat16 values."""
    return _compressed(process_group, bucket, bfloat16)


def _wrapped(hook: Hook, dtype: Any) -> Hook:
    def compressed(state: Any, bucket: GradBucket) -> Future:
        kept = bucket.buffer().dtype
        bucket.set_buffer(bucket.buffer().to(dtype))

        def back(future: Future) -> Tensor:
            value = future.value()
            return (value[0] if isinstance(value, (list, tuple)) else value).to(kept)

        return hook(state, bucket).then(back)

    return compressed


def fp16_compress_wrapper(hook: Hook) -> Hook:
    """The hook, with buckets of float16."""
    return _wrapped(hook, float16)


def bf16_compress_wrapper(hook: Hook) -> Hook:
    """The hook, with buckets of bfloat16."""
    return _wrapped(hook, bfloat16)
