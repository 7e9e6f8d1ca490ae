"""Every function of the ``torch`` namespace: ``functions.add``, ``functions.zeros``, …; built at first use."""

from __future__ import annotations

from typing import Any

from . import functions_amp as functions_amp
from . import functions_copy as functions_copy
from . import functions_create as functions_create
from . import functions_extra as functions_extra
from . import functions_foreach as functions_foreach
from . import functions_index as functions_index
from . import functions_linalg as functions_linalg
from . import functions_masked as functions_masked
from . import functions_quantize as functions_quantize
from . import functions_random as functions_random
from . import functions_settings as functions_settings
from . import functions_shape as functions_shape
from . import typed_storage as typed_storage
from ._names import find, names
from ._tensor import as_tensor as as_tensor
from ._tensor import from_jax as from_jax
from ._tensor import from_numpy as from_numpy
from ._tensor import tensor as tensor


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # which the import system asks for each time that something is imported from here
        raise AttributeError(f"module 'torch' has no function '{name}'")
    found = find("torch", name)
    if found is None and name.startswith("_"):
        found = find("", name)
    if found is None:
        raise AttributeError(f"module 'torch' has no function '{name}' (see docs/differences.md)")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *names("torch")})
