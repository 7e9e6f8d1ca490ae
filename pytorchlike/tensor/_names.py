"""Looking names up: in the operators' table, then among the composite functions; forms are built at first use."""

from __future__ import annotations

import importlib
from typing import Any

from ..ops import METHODS as OP_METHODS
from ..ops import TABLE
from ._register import FUNCTIONS, LATE, METHODS


def _composites() -> None:
    """Import the composite functions: a program may begin with a method, ``torch.tensor([1, 2]).split(1)``."""
    importlib.import_module(f"{__package__}.functions")


def _bring(name: str) -> None:
    """Import the package that a name comes from, if it is one of those that come late."""
    home = LATE.get(name)
    if home is not None:
        importlib.import_module(f"{__package__.rpartition('.')[0]}.{home}")


def find(space: str, name: str) -> Any:
    """The function ``name`` of a namespace, or None."""
    if space == "torch" and name in LATE:
        _bring(name)
    found = FUNCTIONS.get((space, name))
    if found is not None:
        return found
    entry = TABLE.get((space, name))
    if entry is not None and (entry.function or space == ""):
        from ._wrap import form

        return form(entry, False, space == "nn.functional" and entry.inplace)
    if name.endswith("_") and not name.endswith("__"):
        entry = TABLE.get((space, name[:-1]))
        if entry is not None and entry.inplace:
            from ._wrap import form

            return form(entry, True)
    return None


def find_method(name: str) -> Any:
    """The method ``name`` of Tensor, or None."""
    _composites()
    _bring(name)
    found = METHODS.get(name)
    if found is not None:
        return found
    from ._wrap import form

    entry = OP_METHODS.get(name) or TABLE.get(("", name))
    if entry is not None:
        return form(entry)
    if name.endswith("_") and not name.endswith("__"):
        entry = OP_METHODS.get(name[:-1]) or TABLE.get(("", name[:-1]))
        if entry is not None and entry.inplace:
            return form(entry, True)
    return None


def names(space: str) -> list[str]:
    """All names of a namespace."""
    out = {n for s, n in FUNCTIONS if s == space and not n.startswith("_")}
    for (s, n), entry in TABLE.items():
        if s == space and entry.function and not n.startswith("_"):
            out.add(n)
            if entry.inplace:
                out.add(n + "_")
    if space == "torch":
        out |= {n for n in LATE if n in _FUNCTIONS_ONLY or n in ("resize_as_sparse_", "smm", "sspaddmm")}
    return sorted(out)


def method_names() -> list[str]:
    """All names of Tensor's methods that come from the table or the composites."""
    _composites()
    out = set(METHODS) | set(OP_METHODS) | (set(LATE) - _FUNCTIONS_ONLY)
    out |= {n + "_" for n, e in OP_METHODS.items() if e.inplace}
    return sorted(n for n in out if not n.startswith("_"))


#: Names that come late and are functions only.
_FUNCTIONS_ONLY = {
    "dsmm", "hsmm", "hspmm", "saddmm", "sparse_bsc_tensor", "sparse_bsr_tensor", "sparse_compressed_tensor",
    "sparse_coo_tensor", "sparse_csc_tensor", "sparse_csr_tensor", "spmm", "quantize_per_tensor",
    "quantize_per_channel", "quantize_per_tensor_dynamic", "int_repr",
}  # fmt: skip
