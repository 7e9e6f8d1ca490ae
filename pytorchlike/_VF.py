"""``torch._VF``: PyTorch's functions without the Python around them, which are the functions of ``torch`` here.

Also the recurrent layers as functions, ``torch.lstm`` and its kin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = ["gru", "lstm", "rnn_relu", "rnn_tanh"]


def _layers(name: str, inner: str, **options: Any) -> Callable[..., tuple]:
    def layers(input: Tensor, hx: Any, params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float,
               train: bool, bidirectional: bool, batch_first: bool = False) -> tuple:  # fmt: skip
        from .nn import functional as F

        if not isinstance(params, (list, tuple)):
            raise NotImplementedError(f"torch.{name}: packed sequences are taken by torch.nn.{name.upper()[:4]} alone")
        states = tuple(hx) if isinstance(hx, (list, tuple)) else (hx,)
        return getattr(F, inner)(
            input, *states, list(params), None, has_biases=has_biases, num_layers=num_layers, dropout=dropout,
            training=train, bidirectional=bidirectional, batch_first=batch_first, **options,
        )  # fmt: skip

    layers.__name__ = layers.__qualname__ = name
    layers.__doc__ = (f"All layers of ``nn.{name.upper()[:4]}``: (output, *states) of an input (length, batch, size)."
                      "\n\n    params: the weights and biases, in the module's order. NotImplementedError for the form "
                      "that takes\n    packed sequences.")
    return layers


lstm = _layers("lstm", "_lstm")
gru = _layers("gru", "_gru")
rnn_tanh = _layers("rnn_tanh", "_rnn", nonlinearity="tanh")
rnn_relu = _layers("rnn_relu", "_rnn", nonlinearity="relu")


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    from . import nn
    from .tensor import functions

    found = getattr(functions, name, None)
    if found is None:
        found = getattr(nn.functional, name, None)
    if found is None:
        raise AttributeError(f"module 'torch._VF' has no attribute '{name}': pytorchlike lacks it")
    return found
