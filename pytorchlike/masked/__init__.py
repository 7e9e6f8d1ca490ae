"""``torch.masked``: reductions and normalisations over the elements that a mask selects, and tensors with a mask."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from ..tensor import functions as _functions
from ..tensor._names import find, names
from .maskedtensor import MaskedTensor as MaskedTensor
from .maskedtensor import as_masked_tensor as as_masked_tensor
from .maskedtensor import is_masked_tensor as is_masked_tensor
from .maskedtensor import masked_tensor as masked_tensor


def __getattr__(name: str) -> Any:
    if name == "_ops":  # where PyTorch has them, too
        return importlib.import_module(__name__)
    found = None if name.startswith("__") else find("masked", name)
    if found is None:
        raise AttributeError(f"module 'torch.masked' has no attribute '{name}' (see docs/differences.md)")
    found = globals()[name] = _with_own_mask(found)
    return found


def _with_own_mask(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which takes a MaskedTensor for its data and its mask (and the one given, if there is one)."""

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        held = [a for a in args if isinstance(a, MaskedTensor)]
        if not held:
            return fn(*args, **kwargs)
        mask = held[0].get_mask()
        given = kwargs.get("mask")
        kwargs["mask"] = mask if given is None else mask & given
        return fn(*[a.get_data() if isinstance(a, MaskedTensor) else a for a in args], **kwargs)

    return call


def __dir__() -> list[str]:
    return sorted({*names("masked"), "MaskedTensor", "as_masked_tensor", "is_masked_tensor", "masked_tensor"})


_ = _functions
