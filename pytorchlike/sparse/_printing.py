"""``repr`` of sparse tensors, as PyTorch writes them."""

from __future__ import annotations

import re
from typing import Any

from ..tensor import dtype as d
from ..tensor import printing

_FIRST = "tensor("


def describe(t: Any) -> str:
    """``tensor(indices=tensor(...), values=tensor(...), size=(...), nnz=..., layout=...)``."""
    if t.layout is d.sparse_coo:
        named = [("indices", t._pattern.indices)]
    else:
        kinds = ("crow_indices", "col_indices") if t._pattern.rows else ("ccol_indices", "row_indices")
        named = [(kinds[0], t._pattern.starts), (kinds[1], t._pattern.plain)]
    text = _FIRST
    for name, part in named:
        text += _part(name, part, len(_FIRST)) + ",\n" + " " * len(_FIRST)
    text += _part("values", t._carrier.detach(), len(_FIRST))
    suffixes = [f"size={tuple(t._size)}", f"nnz={t._nnz()}"]
    if t.device.type != "cpu":
        suffixes.append(f"device='{t.device}'")
    if t.dtype not in (d.get_default_dtype(), d.int64, d.bool_, printing.get_default_complex_dtype()):
        suffixes.append(f"dtype={t.dtype!r}")
    suffixes.append(f"layout={t.layout!r}")
    fn = t.grad_fn if t.requires_grad else None
    if fn is not None:
        suffixes.append(f"grad_fn=<{fn.name()}>")
    elif t.requires_grad:
        suffixes.append("requires_grad=True")
    if t.layout is d.sparse_coo:
        # the size begins a line of its own
        text += ",\n" + " " * len(_FIRST) + suffixes.pop(0)
    return printing._with_suffixes(text, suffixes, len(_FIRST))


def _part(name: str, part: Any, indent: int) -> str:
    """``name=tensor(...)``, continued lines moved to the right."""
    told = re.sub(r",\s+dtype=torch\.\w+(?=\)$)", "", repr(part))
    if told == "tensor([])":
        told = "tensor([], size=(0,))"
    pad = " " * (indent + len(name) + 1)
    return f"{name}=" + "\n".join(line if not k or not line else pad + line for k, line in enumerate(told.split("\n")))
