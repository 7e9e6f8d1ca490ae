"""Sequences of different lengths: padded to one tensor, or packed without the padding for the recurrent layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ...tensor import Tensor
from ...tensor import functions as T
from ...tensor.dtype import float16, float32, float64, int8, int16, int32, int64, uint8

__all__ = ["PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
           "pad_sequence", "unpack_sequence", "unpad_sequence"]


class PackedSequence_(NamedTuple):
    """The fields of a PackedSequence."""

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


def _bind(value: Any, fn: Callable[[Any], Any]) -> Any:
    return None if value is None else fn(value)


bind = _bind


class PackedSequence(PackedSequence_):
    """Sequences without padding, as pack_padded_sequence and pack_sequence make them.

    data: all first steps, then all second steps, ..., longest sequence first, (sum of lengths, *).
    batch_sizes: (longest length,) integers on the CPU, how many sequences have that step.
    sorted_indices, unsorted_indices: (N,) the permutation that sorted the batch, and its inverse; None if there was
    none.

    Raises:  ValueError if batch_sizes is not on the CPU.
    """

    def __new__(cls, data: Any, batch_sizes: Tensor | None = None, sorted_indices: Tensor | None = None,
                unsorted_indices: Tensor | None = None) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise AssertionError("Expected data to be a list or tuple of length 2: data and batch_sizes")
            data, batch_sizes = data
        elif isinstance(batch_sizes, Tensor) and batch_sizes.device.type != "cpu":
            raise ValueError(f"batch_sizes should always be on CPU, got {batch_sizes.device}. Instances of "
                             "PackedSequence should never be created manually. They should be instantiated by "
                             "functions like pack_sequence and pack_padded_sequences in nn.utils.rnn.")
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def _like(self, data: Tensor) -> PackedSequence:
        """The same structure around other data of the same length."""
        result = type(self)(data, self.batch_sizes, self.sorted_indices, self.unsorted_indices)
        if hasattr(self, "_sizes"):
            result._sizes = self._sizes
        return result

    def pin_memory(self) -> PackedSequence:
        """The same with pinned memory."""
        return type(self)(self.data.pin_memory(), self.batch_sizes,
                          _bind(self.sorted_indices, lambda t: t.pin_memory()),
                          _bind(self.unsorted_indices, lambda t: t.pin_memory()))

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """data converted as by Tensor.to; the indices go to the same device. Returns self if nothing changes."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        return type(self)(data, self.batch_sizes, _bind(self.sorted_indices, lambda t: t.to(data.device)),
                          _bind(self.unsorted_indices, lambda t: t.to(data.device)))

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On a GPU."""
        if not args and "device" not in kwargs:
            kwargs["device"] = "cuda"
        return self.to(*args, **kwargs)

    def cpu(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On the CPU."""
        if not args:
            kwargs["device"] = "cpu"
        return self.to(*args, **kwargs)

    def double(self) -> PackedSequence:
        """As float64."""
        return self.to(dtype=float64)

    def float(self) -> PackedSequence:
        """As float32."""
        return self.to(dtype=float32)

    def half(self) -> PackedSequence:
        """As float16."""
        return self.to(dtype=float16)

    def long(self) -> PackedSequence:
        """As int64."""
        return self.to(dtype=int64)

    def int(self) -> PackedSequence:
        """As int32."""
        return self.to(dtype=int32)

    def short(self) -> PackedSequence:
        """As int16."""
        return self.to(dtype=int16)

    def char(self) -> PackedSequence:
        """As int8."""
        return self.to(dtype=int8)

    def byte(self) -> PackedSequence:
        """As uint8."""
        return self.to(dtype=uint8)

    @property
    def is_cuda(self) -> bool:
        """Whether data is on a GPU."""
        return self.data.is_cuda

    def is_pinned(self) -> bool:
        """Whether data is in pinned memory."""
        return self.data.is_pinned()


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The inverse of a permutation (N,) of 0 ... N - 1; None stays None."""
    if permutation is None:
        return None
    steps = T.arange(0, permutation.numel(), dtype=permutation.dtype, device=permutation.device)
    return T.empty_like(permutation).scatter_(0, permutation, steps)


def _host(lengths: Any) -> np.ndarray:
    """Lengths or batch sizes as a NumPy array: the shapes that follow depend on them."""
    values = lengths.tolist() if isinstance(lengths, Tensor) else [int(n) for n in lengths]
    return np.asarray(values, np.int64).reshape(-1)


def batch_sizes_of(sequence: PackedSequence) -> np.ndarray:
    """batch_sizes as NumPy integers, without reading a tensor if this process packed the sequence."""
    sizes = getattr(sequence, "_sizes", None)
    return _host(sequence.batch_sizes) if sizes is None else sizes


def lengths_of(sizes: np.ndarray) -> np.ndarray:
    """The length of each sequence, longest first, from the batch sizes."""
    return (sizes[:, None] > np.arange(sizes[0] if len(sizes) else 0)).sum(0)


def places_of(sizes: np.ndarray) -> np.ndarray:
    """Where each packed step stands in the flattened (longest length, N) grid."""
    return np.flatnonzero(np.arange(sizes[0] if len(sizes) else 0) < sizes[:, None])


def pack_padded_sequence(input: Tensor, lengths: Tensor | list[int], batch_first: bool = False,
                         enforce_sorted: bool = True) -> PackedSequence:
    """Pack a padded batch.

    Shapes:  input (T, N, *), or (N, T, *) if batch_first; lengths (N,), read on the host.
    enforce_sorted: the batch must be sorted by falling length; else it is sorted here, and unsorted again on padding.
    Raises:  RuntimeError if lengths are not positive, not sorted although enforce_sorted, longer than the input, or
             not one per sequence.
    """
    counts = _host(lengths)
    if isinstance(lengths, Tensor) and lengths.dim() != 1:
        raise RuntimeError(f"'lengths' argument should be a 1D CPU int64 tensor, but got {lengths.dim()}D")
    steps_axis, batch_axis = (1, 0) if batch_first else (0, 1)
    steps, batch = input.shape[steps_axis], input.shape[batch_axis]
    if len(counts) != batch:
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got {len(counts)} "
                           f"(batch_size={batch})")
    if batch == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    if counts.min() <= 0:
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' that is "
                           f"<= 0: {int(counts.min())}")
    if counts.max() > steps:
        raise RuntimeError(f"pack_padded_sequence: the longest length is {int(counts.max())}, but the input of shape "
                           f"{tuple(input.shape)} has {steps} steps")
    sorted_indices = unsorted_indices = None
    if enforce_sorted:
        if (np.diff(counts) > 0).any():
            raise RuntimeError("`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
                               "can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
                               "sidestep this requirement if you do not need ONNX exportability.")
        order = np.arange(batch)
    else:
        order = np.argsort(-counts, kind="stable")
        sorted_indices = T.tensor(order, dtype=int64, device=input.device)
        unsorted_indices = T.tensor(np.argsort(order), dtype=int64, device=input.device)
    counts = counts[order]
    sizes = (np.arange(counts[0])[:, None] < counts).sum(1)
    step, sequence = np.divmod(places_of(sizes), batch)
    sequence = order[sequence]
    # One gather out of the input as it lies, sorted or not.
    flat = sequence * steps + step if batch_first else step * batch + sequence
    rows = input.reshape((steps * batch, *input.shape[2:]))
    data = rows.index_select(0, T.tensor(flat, dtype=int64, device=input.device))
    result = PackedSequence(data, T.tensor(sizes, dtype=int64), sorted_indices, unsorted_indices)
    result._sizes = sizes
    return result


def pad_packed_sequence(sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0,
                        total_length: int | None = None) -> tuple[Tensor, Tensor]:
    """Undo pack_padded_sequence: (padded, lengths), in the order before sorting.

    Shapes:  (T, N, *), or (N, T, *) if batch_first, with T the longest length or total_length; (N,).
    Raises:  ValueError if total_length is less than the longest length.
    """
    sizes = batch_sizes_of(sequence)
    steps, batch = len(sizes), int(sizes[0])
    if total_length is not None:
        if total_length < steps:
            raise ValueError("Expected total_length to be at least the length of the longest sequence in input, but "
                             f"got total_length={total_length} and max sequence length being {steps}")
        steps = total_length
    data = sequence.data
    grid = T.full((steps * batch, *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device)
    places = T.tensor(places_of(sizes), dtype=int64, device=data.device)
    padded = grid.index_copy(0, places, data).reshape((steps, batch, *data.shape[1:]))
    if batch_first:
        padded = padded.transpose(0, 1)
    lengths = T.tensor(lengths_of(sizes), dtype=int64)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(0 if batch_first else 1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices.cpu()]
    return padded, lengths


def pad_sequence(sequences: Any, batch_first: bool = False, padding_value: float = 0.0,
                 padding_side: str = "right") -> Tensor:
    """Stack sequences (L_i, *) to (T, N, *), or (N, T, *) if batch_first, filling up with ``padding_value``.

    Raises:  RuntimeError if sequences is no iterable of tensors that agree in all but the first axis; ValueError for
             an unknown padding_side.
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError("pad_sequence: Expected iterable for input sequences, but got arg of type: "
                           f"{type(sequences)}")
    items = tuple(sequences)
    if not items:
        raise RuntimeError("pad_sequence: received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    for item in items:
        if not isinstance(item, Tensor):
            raise TypeError(f"pad_sequence: expected Tensors as sequences, but got {type(item).__name__}")
    tail = tuple(items[0].shape[1:])
    for i, item in enumerate(items):
        if item.dim() == 0 or tuple(item.shape[1:]) != tail:
            raise RuntimeError(f"pad_sequence: sequence {i} has shape {tuple(item.shape)}; all must be (length, "
                               f"*{tail}) like the first")
    lengths = np.asarray([item.shape[0] for item in items], np.int64)
    longest, batch = int(lengths.max()), len(items)
    first = items[0]
    starts = np.zeros_like(lengths) if padding_side == "right" else longest - lengths
    step = np.concatenate([np.arange(n) + s for n, s in zip(lengths, starts, strict=True)])
    sequence = np.repeat(np.arange(batch), lengths)
    places = sequence * longest + step if batch_first else step * batch + sequence
    grid = T.full((longest * batch, *tail), padding_value, dtype=first.dtype, device=first.device)
    filled = grid.index_copy(0, T.tensor(places, dtype=int64, device=first.device),
                             T.cat(items).to(first.dtype))
    return filled.reshape((batch, longest, *tail) if batch_first else (longest, batch, *tail))


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """Undo pad_sequence (padded on the right): a list of tensors (length, *). The lengths are read on the host."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [padded_sequences[i, :int(n)] for i, n in enumerate(_host(lengths))]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of tensors (L_i, *); see pack_padded_sequence."""
    lengths = [item.shape[0] for item in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Undo pack_sequence: a list of tensors (length, *)."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
