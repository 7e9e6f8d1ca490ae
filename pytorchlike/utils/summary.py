"""What a model is made of: layers, shapes, parameters and costs, found without running it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..nn import Module
from ..tensor import Tensor
from ..tensor import dtype as _dtypes
from ..tensor import functions as T
from ._shapes import Used, forward

__all__ = ["ModelSummary", "summary"]


class ModelSummary:
    """A table of the modules that were called; ``str`` shows it.

    total_params, trainable_params: elements of parameters, each counted once.   total_flops: of products and
    convolutions in one forward pass.   total_mult_adds: half of that.   total_param_bytes, total_output_bytes.
    rows: per call: name, class, depth, input and output shapes, parameters of its own, flops.
    """

    def __init__(self, root: Used, depth: int) -> None:
        self._root, self._depth = root, depth
        parameters = {id(p): p for p in root.module.parameters()}.values()
        self.total_params = sum(p.numel() for p in parameters)
        self.trainable_params = sum(p.numel() for p in parameters if p.requires_grad)
        self.total_param_bytes = sum(p.numel() * p.element_size() for p in parameters)
        self.total_flops = root.flops
        leaves = [t for used in root.walk() if not used.children for t in used.outputs]
        self.total_output_bytes = sum(t.numel() * t.element_size() for t in leaves)
        self.rows = [_row(used) for used in root.walk()]

    @property
    def total_mult_adds(self) -> int:
        """Multiply-adds of products and convolutions in one forward pass."""
        return self.total_flops // 2

    def __str__(self) -> str:
        heads = ("Layer", "Output shape", "Param #", "FLOPs")
        lines, seen = [], set()
        for used, row in zip(self._root.walk(), self.rows, strict=True):
            if used.depth > self._depth:
                continue
            again = id(used.module) in seen
            seen.add(id(used.module))
            label = "  " * used.depth + row["class"] + (f" ({row['name']})" if row["name"] else "")
            shapes = row["outputs"]
            shown = ", ".join(str(list(s)) for s in shapes[:3]) + (", …" if len(shapes) > 3 else "")
            whole = used.children and used.depth == self._depth
            count = sum(p.numel() for p in used.module.parameters()) if whole else row["params"]
            lines.append((label, shown, "again" if again and count else f"{count:,}" if count else "–",
                          f"{row['flops']:,}" if row["flops"] else "–"))  # fmt: skip
        widths = [max(len(line[k]) for line in (heads, *lines)) for k in range(4)]
        rule = "=" * (sum(widths) + 6)

        def text(line: Sequence[str]) -> str:
            cells = (line[0].ljust(widths[0]), line[1].ljust(widths[1]), line[2].rjust(widths[2]))
            return "  ".join((*cells, line[3].rjust(widths[3]))).rstrip()

        return "\n".join([
            rule, text(heads), rule, *map(text, lines), rule,
            f"Parameters: {self.total_params:,} ({self.trainable_params:,} trainable), "
            f"{_bytes(self.total_param_bytes)}",
            f"Forward pass: {self.total_flops:,} FLOPs in products and convolutions, outputs "
            f"{_bytes(self.total_output_bytes)}",
            rule,
        ])  # fmt: skip

    __repr__ = __str__


def summary(
    model: Module,
    input_size: Sequence[int] | Sequence[Sequence[int]] | Tensor | Sequence[Tensor] | None = None,
    *,
    input_data: Any = None,
    dtypes: Sequence[_dtypes.dtype] | None = None,
    depth: int = 3,
    mode: str = "eval",
    **kwargs: Any,
) -> ModelSummary:
    """Describe ``model`` by a forward pass on shapes: nothing is computed, and nothing of the model changes.

    input_size:  size of the input, batch included, or a sequence of sizes.   input_data: tensors instead, one or a
    tuple of them, which may stand in the place of the size as well.   dtypes: of the inputs given by size (the default
    dtype).   depth: of the modules shown.   mode: 'eval', 'train', or 'same' as the model is in.   kwargs: further
    arguments of ``forward``.

    Raises ValueError unless one of size and data is given; RuntimeError for lazy modules that have not been called;
    what ``forward`` raises for such shapes.
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: model must be a torch.nn.Module, not {type(model).__name__}")
    if input_data is None and _holds_tensors(input_size):
        input_size, input_data = None, input_size
    if (input_size is None) == (input_data is None):
        raise ValueError("summary: give input_size or input_data, and not both")
    if mode not in ("eval", "train", "same"):
        raise ValueError(f"summary: mode must be 'eval', 'train' or 'same', not {mode!r}")
    if input_size is not None:
        sizes = list(input_size)
        many = [tuple(sizes)] if all(isinstance(n, (int, np.integer)) for n in sizes) else [tuple(s) for s in sizes]
        kinds = list(dtypes) if dtypes is not None else [_dtypes.default] * len(many)
        if len(kinds) != len(many):
            raise ValueError(f"summary: {len(kinds)} dtypes for {len(many)} sizes")
        args = tuple(T.empty(size, dtype=kind, device="meta") for size, kind in zip(many, kinds, strict=True))
    else:
        args = tuple(input_data) if isinstance(input_data, (tuple, list)) else (input_data,)
    return ModelSummary(forward(model, args, kwargs, mode), depth)


def _holds_tensors(given: Any) -> bool:
    return isinstance(given, Tensor) or (isinstance(given, (tuple, list)) and any(isinstance(x, Tensor) for x in given))


def _row(used: Used) -> dict[str, Any]:
    own = used.module.parameters(recurse=not used.children)
    return {
        "name": used.name, "class": type(used.module).__name__, "depth": used.depth,
        "inputs": [tuple(t.shape) for t in used.inputs], "outputs": [tuple(t.shape) for t in used.outputs],
        "params": sum(p.numel() for p in own), "flops": used.flops,
    }  # fmt: skip


def _bytes(n: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if n < 1024:
            return f"{n:,.0f} {unit}" if unit == "B" else f"{n:,.1f} {unit}"
        n /= 1024
    return f"{n:,.2f} GiB"


