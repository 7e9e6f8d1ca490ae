"""Recurrent layers (RNN, LSTM, GRU) over whole sequences, and their cells for single steps."""

from __future__ import annotations

import math
import numbers
import warnings
import weakref
from typing import Any

from ...tensor import Tensor
from ...tensor import functions as T
from ...tensor._views import lie_in
from ...tensor.dtype import int64
from .. import functional as F
from .. import init
from ..parameter import Parameter
from ..utils.rnn import PackedSequence, batch_sizes_of, lengths_of, places_of
from .module import Module

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]

#: The lengths of packed sequences that a network has met, and how many of them it is run for exactly.
_met_steps: weakref.WeakKeyDictionary[Module, set[int]] = weakref.WeakKeyDictionary()
_EXACT_LENGTHS = 3

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _apply_permutation(tensor: Tensor, permutation: Tensor, dim: int = 1) -> Tensor:
    return tensor.index_select(dim, permutation)


apply_permutation = _apply_permutation


class RNNBase(Module):
    """What RNN, LSTM and GRU share.

    Parameters, per layer k and with suffix _reverse for the second direction: weight_ih_lk (gates * hidden_size,
    width of its input), weight_hh_lk (gates * hidden_size, hidden_size or proj_size), bias_ih_lk and bias_hh_lk
    (gates * hidden_size,), weight_hr_lk (proj_size, hidden_size); uniform in +-hidden_size ** -0.5.
    """

    __constants__ = ["mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
                     "bidirectional", "proj_size"]

    def __init__(self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        if not isinstance(dropout, numbers.Number) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError("dropout should be a number in range [0, 1] representing the probability of an element "
                             f"being zeroed, got {dropout!r}")
        if dropout > 0 and num_layers == 1:
            warnings.warn("dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
                          f"expects num_layers greater than 1, but got dropout={dropout} and "
                          f"num_layers={num_layers}", stacklevel=3)
        for name, value in (("bias", bias), ("batch_first", batch_first)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} should be of type bool, got: {type(value).__name__}")
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size)):
            if not isinstance(value, int):
                raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
            if value <= 0:
                raise ValueError(f"{name} must be greater than zero, got {value}")
        if num_layers <= 0:
            raise ValueError(f"num_layers must be greater than zero, got {num_layers}")
        if proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections, got "
                             f"{proj_size}")
        if proj_size >= hidden_size:
            raise ValueError(f"proj_size has to be smaller than hidden_size, got {proj_size} and {hidden_size}")
        if mode not in _GATES:
            raise ValueError(f"Unrecognized RNN mode: {mode}")
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        directions = 2 if bidirectional else 1
        gates, state = _GATES[mode] * hidden_size, proj_size or hidden_size
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            width = input_size if layer == 0 else state * directions
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, width), "weight_hh": (gates, state)}
            if bias:
                shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in ("", "_reverse")[:directions]:
                for name, shape in shapes.items():
                    setattr(self, f"{name}_l{layer}{suffix}", Parameter(T.empty(shape, device=device, dtype=dtype)))
                self._all_weights.append([f"{name}_l{layer}{suffix}" for name in shapes])
        self.reset_parameters()

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Tensor]:
        return [getattr(self, name) for names in self._all_weights for name in names]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters, one list per layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self) -> None:
        """Nothing to do: the weights need not lie together in memory."""

    def reset_parameters(self) -> None:
        """Draw all parameters again."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def check_input(self, input: Tensor, batch_sizes: Any) -> None:
        """Check the input's number of axes and its last axis.

        Raises:  RuntimeError, or ValueError if its dtype is not the weights'.
        """
        weight = getattr(self, self._all_weights[0][0])
        if input.dtype != weight.dtype and not T.is_autocast_enabled(input.device.type):
            raise ValueError(f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert "
                             f"input: input.to({weight.dtype}), or convert model: model.to({input.dtype})")
        expected = 3 if batch_sizes is None else 2
        if input.dim() != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                               f"{input.shape[-1]}")

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Any) -> tuple[int, int, int]:
        """(layers * directions, N, hidden_size or proj_size)."""
        batch = (int(batch_sizes[0]) if batch_sizes is not None
                 else input.shape[0] if self.batch_first else input.shape[1])
        return (self.num_layers * (2 if self.bidirectional else 1), batch, self.proj_size or self.hidden_size)

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Any) -> tuple[int, int, int]:
        """(layers * directions, N, hidden_size)."""
        return (*self.get_expected_hidden_size(input, batch_sizes)[:2], self.hidden_size)

    def check_hidden_size(self, hx: Tensor, expected_hidden_size: tuple[int, int, int],
                          msg: str = "Expected hidden size {}, got {}") -> None:
        """Check a state's shape.

        Raises:  RuntimeError.
        """
        if tuple(hx.shape) != tuple(expected_hidden_size):
            raise RuntimeError(msg.format(tuple(expected_hidden_size), list(hx.shape)))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Any) -> None:
        """Check input and state."""
        self.check_input(input, batch_sizes)
        expected = self.get_expected_hidden_size(input, batch_sizes)
        if self.mode != "LSTM":
            self.check_hidden_size(hidden, expected)
            return
        self.check_hidden_size(hidden[0], expected, "Expected hidden[0] size {}, got {}")
        self.check_hidden_size(hidden[1], self.get_expected_cell_size(input, batch_sizes),
                               "Expected hidden[1] size {}, got {}")

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """The state with its batch axis permuted; None leaves it."""
        if permutation is None:
            return hx
        if self.mode == "LSTM":
            return _apply_permutation(hx[0], permutation), _apply_permutation(hx[1], permutation)
        return _apply_permutation(hx, permutation)

    def _zero_state(self, input: Tensor, batch_sizes: Any) -> Any:
        kind = {"dtype": input.dtype, "device": input.device}
        hidden = T.zeros(self.get_expected_hidden_size(input, batch_sizes), **kind)
        if self.mode != "LSTM":
            return hidden
        return hidden, T.zeros(self.get_expected_cell_size(input, batch_sizes), **kind)

    def _check_state_dims(self, hx: Any, batched: bool) -> None:
        """The state must be batched as the input is."""
        dims = [h.dim() for h in (hx if self.mode == "LSTM" else (hx,))]
        wanted = 3 if batched else 2
        if all(d == wanted for d in dims):
            return
        kind = "batched 3-D" if batched else "unbatched 2-D"
        if self.mode == "LSTM":
            raise RuntimeError(f"For {kind} input, hx and cx should also be {wanted}-D but got ({dims[0]}-D, "
                               f"{dims[1]}-D) tensors")
        raise RuntimeError(f"For {kind} input, hx should also be {wanted}-D but got {dims[0]}-D tensor")

    def _layers(self, input: Tensor, hx: Any, lengths: Tensor | None, batch_first: bool) -> tuple[Tensor, Any]:
        """(output, state) of all layers; with ``lengths`` (N,) the states stop and start at each sequence's end."""
        settings = {"has_biases": self.bias, "num_layers": self.num_layers, "dropout": self.dropout,
                    "training": self.training, "bidirectional": self.bidirectional, "batch_first": batch_first}
        weights = self._flat_weights
        if self.mode == "LSTM":
            output, h, c = F._lstm(input, hx[0], hx[1], weights, lengths, **settings)
            return output, (h, c)
        if self.mode == "GRU":
            output, h = F._gru(input, hx, weights, lengths, **settings)
        else:
            output, h = F._rnn(input, hx, weights, lengths, nonlinearity=self.mode[4:].lower(), **settings)
        return output, h

    def _padded_steps(self, steps: int) -> int:
        """Steps that the recurrence is given for so many: more where ever new lengths would each be compiled."""
        met = _met_steps.setdefault(self, set())
        if steps in met or len(met) < _EXACT_LENGTHS:
            met.add(steps)
            return steps
        grain = max(4, 1 << max(0, steps.bit_length() - 3))  # at most a quarter more, an eighth on average
        return -(-steps // grain) * grain

    def _forward_packed(self, packed: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        sizes = batch_sizes_of(packed)
        data = packed.data
        hx = self._zero_state(data, sizes) if hx is None else self.permute_hidden(hx, packed.sorted_indices)
        self.check_forward_args(data, hx, sizes)
        # Padded for the recurrence, which stops each sequence at its length, and packed again after it.
        steps, batch = self._padded_steps(len(sizes)), int(sizes[0])
        places = T.tensor(places_of(sizes), dtype=int64, device=data.device)
        grid = T.zeros((steps * batch, data.shape[-1]), dtype=data.dtype, device=data.device)
        padded = grid.index_copy(0, places, data).reshape((steps, batch, data.shape[-1]))
        lengths = T.tensor(lengths_of(sizes), dtype=int64, device=data.device)
        output, hidden = self._layers(padded, hx, lengths, batch_first=False)
        flat = output.reshape((steps * batch, output.shape[-1])).index_select(0, places)
        return packed._like(flat), self.permute_hidden(hidden, packed.unsorted_indices)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """(output, last state); see the class."""
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(f"{self._get_name()}: Expected input to be 2D or 3D, got {input.dim()}D instead")
        batched = input.dim() == 3
        batch_axis = 0 if self.batch_first else 1
        if not batched:
            input = input.unsqueeze(batch_axis)
        if hx is None:
            hx = self._zero_state(input, None)
        else:
            self._check_state_dims(hx, batched)
            if not batched:
                hx = (hx[0].unsqueeze(1), hx[1].unsqueeze(1)) if self.mode == "LSTM" else hx.unsqueeze(1)
        self.check_forward_args(input, hx, None)
        output, hidden = self._layers(input, hx, None, self.batch_first)
        if not batched:
            output = output.squeeze(batch_axis)
            hidden = ((hidden[0].squeeze(1), hidden[1].squeeze(1)) if self.mode == "LSTM" else hidden.squeeze(1))
        elif self.batch_first:
            lie_in([1, 0, 2], output)  # step by step in memory, as PyTorch's; so dropout draws for it
        return output, hidden

    def extra_repr(self) -> str:
        s = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size != 0:
            s += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            s += f", num_layers={self.num_layers}"
        if self.bias is not True:
            s += f", bias={self.bias}"
        if self.batch_first is not False:
            s += f", batch_first={self.batch_first}"
        if self.dropout != 0:
            s += f", dropout={self.dropout}"
        if self.bidirectional is not False:
            s += f", bidirectional={self.bidirectional}"
        return s

    def __getstate__(self) -> dict[str, Any]:
        # PyTorch's lists of weights, without which it cannot restore the module; quantised ones have none
        state = super().__getstate__()
        if all(name in self._parameters for name in self._flat_weights_names):
            state = {**state, **{name: getattr(self, name) for name in _LISTS}}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({k: v for k, v in state.items() if k not in _LISTS})
        self.__dict__.setdefault("proj_size", 0)


_LISTS = ("_flat_weights_names", "_flat_weights")


def _refuse_projection(kwargs: dict[str, Any]) -> None:
    if "proj_size" in kwargs:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


class RNN(RNNBase):
    """``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`` (or relu) along a sequence, in num_layers layers.

    Arguments:  input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True, batch_first=False, dropout=0.0
                (between layers), bidirectional=False, device, dtype.
    Shapes:     input (T, N, input_size), N first if batch_first, without N for one sequence, or a PackedSequence;
                hx (layers * directions, N, hidden_size), zero by default -> output (T, N, directions * hidden_size)
                of the last layer, and the last state.
    Raises:     ValueError for arguments out of range; RuntimeError for other shapes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        if len(args) > 3:
            nonlinearity = args[3]
            args = args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{nonlinearity.upper()}", *args, **kwargs)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory along a sequence, in num_layers layers.

    ``i, f, g, o = W_ih x + b_ih + W_hh h + b_hh``; ``c' = sigmoid(f) c + sigmoid(i) tanh(g)``;
    ``h' = sigmoid(o) tanh(c')``, times weight_hr if proj_size.

    Arguments:  input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0 (between layers),
                bidirectional=False, proj_size=0, device, dtype.
    Shapes:     input (T, N, input_size), N first if batch_first, without N for one sequence, or a PackedSequence;
                hx = (h, c), (layers * directions, N, proj_size or hidden_size) and (layers * directions, N,
                hidden_size), zero by default -> output (T, N, directions * (proj_size or hidden_size)), (h, c).
    Raises:     ValueError for arguments out of range; RuntimeError for other shapes.
    Source:     Hochreiter & Schmidhuber 1997; projections: Sak et al. 2014, arXiv:1402.1128.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent unit along a sequence, in num_layers layers.

    ``r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)``, z likewise; ``n = tanh(W_in x + b_in + r (W_hn h + b_hn))``;
    ``h' = (1 - z) n + z h``.

    Arguments:  input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0 (between layers),
                bidirectional=False, device, dtype.
    Shapes:     as for RNN.
    Raises:     ValueError for arguments out of range; RuntimeError for other shapes.
    Source:     Cho et al. 2014, arXiv:1406.1078.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        super().__init__("GRU", *args, **kwargs)


class RNNCellBase(Module):
    """What the cells share.

    Parameters:  weight_ih (gates * hidden_size, input_size), weight_hh (gates * hidden_size, hidden_size), bias_ih and
                 bias_hh (gates * hidden_size,) or None; uniform in +-hidden_size ** -0.5.
    """

    __constants__ = ["input_size", "hidden_size", "bias"]

    def __init__(self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        for name, shape in (("weight_ih", (rows, input_size)), ("weight_hh", (rows, hidden_size)),
                            ("bias_ih", (rows,)), ("bias_hh", (rows,))):
            wanted = bias or name.startswith("weight")
            self.register_parameter(name, Parameter(T.empty(shape, device=device, dtype=dtype)) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters again."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        s = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            s += f", bias={self.bias}"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            s += f", nonlinearity={self.nonlinearity}"
        return s

    def _check(self, input: Tensor, states: dict[str, Tensor]) -> bool:
        """Whether the input is batched.

        Raises:  ValueError for input or states with other than 1 or 2 axes.
        """
        for name, value in {"input": input, **states}.items():
            if value.dim() not in (1, 2):
                raise ValueError(f"{self._get_name()}: Expected {name} to be 1D or 2D, got {value.dim()}D instead")
        return input.dim() == 2

    def _zeros(self, input: Tensor) -> Tensor:
        return T.zeros((input.shape[0], self.hidden_size), dtype=input.dtype, device=input.device)

    def _one_state(self, function: Any, input: Tensor, hx: Tensor | None) -> Tensor:
        batched = self._check(input, {} if hx is None else {"hidden": hx})
        input = input if batched else input.unsqueeze(0)
        hx = self._zeros(input) if hx is None else hx if batched else hx.unsqueeze(0)
        result = function(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return result if batched else result.squeeze(0)


class RNNCell(RNNCellBase):
    """One step of RNN: (N, input_size), (N, hidden_size) -> (N, hidden_size), or all without N.

    Raises:  ValueError for other numbers of axes; RuntimeError for an unknown nonlinearity.
    """

    __constants__ = ["input_size", "hidden_size", "bias", "nonlinearity"]

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state; ``hx`` is zero by default."""
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._one_state(T.rnn_tanh_cell if self.nonlinearity == "tanh" else T.rnn_relu_cell, input, hx)


class LSTMCell(RNNCellBase):
    """One step of LSTM: (N, input_size), two states (N, hidden_size) -> the next (h, c), or all without N.

    Raises:  ValueError for other numbers of axes.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next (h, c); zero by default."""
        batched = self._check(input, {} if hx is None else {"hx[0]": hx[0], "hx[1]": hx[1]})
        input = input if batched else input.unsqueeze(0)
        if hx is None:
            zeros = self._zeros(input)
            hx = (zeros, zeros)
        elif not batched:
            hx = (hx[0].unsqueeze(0), hx[1].unsqueeze(0))
        h, c = T.lstm_cell(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))


class GRUCell(RNNCellBase):
    """One step of GRU: (N, input_size), (N, hidden_size) -> (N, hidden_size), or all without N.

    Raises:  ValueError for other numbers of axes.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state; ``hx`` is zero by default."""
        return self._one_state(T.gru_cell, input, hx)
