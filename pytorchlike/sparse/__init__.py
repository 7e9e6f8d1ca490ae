"""``torch.sparse``: tensors of which only some elements are stored, in COO, CSR, CSC, BSR and BSC layouts.

A sparse tensor is its indices and its values, both ordinary recorded tensors, so products and elementwise operations
are part of the compiled step and differentiable like any other.  Indices are looked at on the host, where they nearly
always are; what a pattern implies for an operation is worked out once and kept with it.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from . import _convert as _convert
from . import _create as _create
from . import _elementwise as _elementwise
from . import _shape as _shape
from ._create import check_sparse_tensor_invariants as check_sparse_tensor_invariants
from ._gradcheck import as_sparse_gradcheck as as_sparse_gradcheck
from ._products import sampled_addmm as sampled_addmm
from ._products import sparse_addmm as addmm
from ._products import sparse_mm as mm
from ._reduce import log_softmax as log_softmax
from ._reduce import softmax as softmax
from ._reduce import sparse_sum as sum
from ._reduce import spdiags as spdiags
from ._tensor import SparseTensor as SparseTensor
from ._typed import TYPES as _TYPES

__all__ = ["SparseTensor", "addmm", "as_sparse_gradcheck", "check_sparse_tensor_invariants", "log_softmax", "mm",
           "sampled_addmm", "softmax", "spdiags", "sum"]

globals().update(_TYPES)


def __getattr__(name: str) -> Any:
    if name == "torch":  # programs of old write torch.sparse.torch.eye(n)[labels] for one-hot vectors
        return sys.modules[__name__.partition(".")[0]]
    if name in ("spsolve", "solve"):
        raise AttributeError(f"torch.sparse.{name}: sparse factorisations are not there; use torch.linalg.solve")
    if name == "semi_structured" or "SemiStructured" in name or "semi_structured" in name:
        semi_structured = importlib.import_module(f"{__name__}.semi_structured")  # which few programs need
        if name == "semi_structured" or name in semi_structured.__all__:
            return getattr(semi_structured, name, semi_structured)
    raise AttributeError(f"module 'torch.sparse' has no attribute '{name}' (see docs/differences.md)")
