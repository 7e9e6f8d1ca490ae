"""Kullback-Leibler divergences.

Formulas of pairs of one family are in ``_kl_same.py``, of different ones in ``_kl_cross.py``; importing them enters
them into the table.
"""

from __future__ import annotations

from . import _kl_cross as _kl_cross
from . import _kl_same as _kl_same
from ._kl_registry import _KL_MEMOIZE as _KL_MEMOIZE
from ._kl_registry import _KL_REGISTRY as _KL_REGISTRY
from ._kl_registry import kl_divergence, register_kl

__all__ = ["kl_divergence", "register_kl"]

# Formulas by PyTorch's names, which programs register for families of their own (`_kl_categorical_categorical`).
globals().update({n: f for m in (_kl_same, _kl_cross) for n, f in vars(m).items() if n.startswith("_kl_")})
