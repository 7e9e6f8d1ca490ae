"""``torch._dynamo._trace_wrapped_higher_order_op``: for masks that index tensors by the numbers of ``vmap``."""

from __future__ import annotations

from typing import Any


class TransformGetItemToIndex:
    """``with TransformGetItemToIndex():`` tensors may be indexed by batched numbers; here they always may."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: Any) -> None:
        return None
