"""Options of LinearCrossEntropyLoss."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...tensor.dtype import bfloat16, float16, float32, float64

__all__ = ["LinearCrossEntropyOptions"]


@dataclasses.dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How the loss may be split into chunks of samples, to hold fewer logits at once.

    The loss and its gradients do not depend on them. batch_chunk_size: samples per chunk; chunking_method: "auto",
    None, or "aspect_ratio[:factor]" (chunks whose logits are as large as the input, divided by factor); acc_policy and
    acc_dtype: in which dtype the chunks' sums are taken; allow_retain_graph is always so here.

    Raises:  ValueError for values outside these.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None

    def __post_init__(self) -> None:
        if self.acc_policy not in ("auto", "accurate", "balanced", "compact"):
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}; use auto, accurate, balanced or compact")
        if self.chunking_method not in (None, "auto"):
            name, _, factor = self.chunking_method.partition(":")
            factor = factor if ":" in self.chunking_method else "1"
            if name != "aspect_ratio" or not factor.isdigit() or int(factor) == 0:
                raise ValueError(f"invalid chunking_method: {self.chunking_method!r}")
        size = self.batch_chunk_size
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {size!r}")
        if self.acc_dtype not in (None, float16, bfloat16, float32, float64):
            raise ValueError("acc_dtype must be one of {None, torch.float16, torch.bfloat16, torch.float32, "
                             f"torch.float64}}, got {self.acc_dtype!r}.")

    def chunk_size(self, samples: int, in_features: int, num_classes: int) -> int:
        """Samples per chunk for an input of (samples, in_features).

        Raises:  ValueError if batch_chunk_size and an explicit chunking_method disagree.
        """
        method, wanted = self.chunking_method, self.batch_chunk_size
        if method == "auto":
            method = None if wanted is not None else "aspect_ratio:2"
        if method is None:
            return max(1, samples if wanted is None else min(wanted, samples))
        factor = int(method.partition(":")[2] or 1)
        target = -(-samples // -(-num_classes // in_features))
        size = min((1 << max(target - 1, 0).bit_length()) // factor, samples)
        if wanted is not None and wanted != size:
            raise ValueError(f"batch_chunk_size (={wanted}) and chunking_method ('{method}') give different chunk "
                             f"sizes ({wanted} vs {size}); pass only one.")
        return max(1, size)
