"""The operators: pure functions on JAX arrays, a file per family, entered into one table."""

from __future__ import annotations

import importlib

from ._table import METHODS as METHODS
from ._table import TABLE as TABLE
from ._table import lookup as lookup

FAMILIES = (
    "elementwise", "unary", "reduce", "statistics", "norms", "cumulative", "sorting", "matmul", "linalg",
    "decompositions", "fft", "views", "shape", "indexing", "create", "random", "special", "activation", "nn_linear",
    "nn_conv", "nn_pool", "nn_norm", "nn_attention", "nn_rnn", "nn_loss", "nn_misc",
)  # fmt: skip

for _family in FAMILIES:
    importlib.import_module(f"{__name__}.{_family}")


def __getattr__(name: str) -> object:
    if name.startswith("_"):
        raise AttributeError(f"module 'torch.ops' has no attribute '{name}'")
    if name == "aten":
        return importlib.import_module(f"{__package__.rpartition('.')[0]}._dispatch.operators").aten
    if name == "profiler":
        return importlib.import_module(f"{__package__.rpartition('.')[0]}.autograd.profiler").operators
    from ._custom import namespace

    return namespace(name)
