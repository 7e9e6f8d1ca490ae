"""Look-up in a table whose gradient is sparse: the rows that were used, at their indices."""

from __future__ import annotations

from typing import Any

from ..autograd.function import tied
from ..autograd.mode import no_grad
from ..autograd.passes import current_task, give
from ..engine import Value, get_mode, local
from ..engine.grad import is_retaining
from ..engine.meta import LEAF, TRACED
from ..sparse._pattern import Coo
from ..sparse._tensor import SparseTensor
from ..tensor import Tensor
from ..tensor import functions as T
from ..tensor._names import find


def wants_sparse(weight: Tensor) -> bool:
    """Whether the gradient of a table can be handed out as a sparse tensor: it is a leaf, and not inside of JAX."""
    meta = weight._get().meta
    return meta.grad == LEAF and get_mode().grad and meta.place != TRACED and not local.trace.nested


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None) -> Tensor:
    """``weight[input]``; ``backward`` puts a COO tensor of the rows into ``weight.grad``, uncoalesced.

    The rows stay as many as ``input`` has elements, whatever its values, so that each step runs the same program; a row
    for ``padding_idx`` is there with zeros.  ``autograd.grad`` and ``create_graph`` get the dense gradient.
    """
    with no_grad():
        rows = find("nn.functional", "embedding")(input, weight, padding_idx)
    return tied("SparseEmbedding", _Rows(input, weight, padding_idx, rows), [weight._get()], (rows,))[0]


class _Rows:
    """Takes the gradient of the rows to the table."""

    name = "SparseEmbeddingBackward"

    def __init__(self, input: Tensor, weight: Tensor, padding_idx: int | None, rows: Tensor) -> None:
        self.input, self.padding_idx, self.size = input.detach(), padding_idx, tuple(weight.shape)
        self.weight: Value | None = weight._get()
        self.outs = [(tuple(rows.shape), rows.dtype)]
        self.slots: dict[int, int] = {}

    def __call__(self, cotangents: dict[int, Value]) -> dict[Any, Value]:
        if self.weight is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time: the gradient of a sparse embedding has been given "
                "up. Specify retain_graph=True if you need to backward through the graph a second time."
            )
        weight = self.weight
        (cotangent,) = cotangents.values()
        rows, features = self.size
        index = self.input.reshape(-1).long()
        values = Tensor._of(cotangent).reshape(-1, features)
        if self.padding_idx is not None:
            values = values.masked_fill((index == self.padding_idx % rows).unsqueeze(1), 0)
        task = current_task()
        if not is_retaining():
            self.weight = None  # else the old table would stay alive beside the new one
        if task is None or not task.plain or get_mode().grad:
            start = T.zeros(self.size, dtype=values.dtype, device=values.device)
            return {weight: start.index_add(0, index, values)._get()}
        give(weight.node, SparseTensor._make(Coo(index.unsqueeze(0), (rows,)), values, self.size), False)
        return {}
