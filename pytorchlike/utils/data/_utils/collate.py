"""From a list of samples to a batch."""

import copy
import re
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from ....tensor import Tensor
from ....tensor import functions as T
from ....tensor._tensor import host_tensor
from ....tensor.dtype import float64
from ....tensor.interop import check_from_numpy

_CollateMap = dict[type | tuple[type, ...], Callable]
np_str_obj_array_pattern = re.compile(r"[SaUO]")
_BAD_TYPE = ("default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}. Convert "
             "the samples in the dataset, or give the DataLoader a collate_fn.")


def _rebuild_mapping(old: Mapping, values: dict) -> Mapping:
    """A mapping of the old one's kind with new values; a plain dict where the kind cannot be copied or built."""
    try:
        if isinstance(old, MutableMapping):
            new = copy.copy(old)  # keeps what the kind holds besides its items
            new.update(values)
            return new
        return type(old)(values)
    except TypeError:
        return values


def _rebuild_sequence(old: Sequence, values: list) -> Sequence:
    try:
        if isinstance(old, MutableSequence):
            new = copy.copy(old)
            for i, value in enumerate(values):
                new[i] = value
            return new
        return type(old)(values)
    except TypeError:
        return values


def collate(batch: Sequence[Any], *, collate_fn_map: _CollateMap | None = None) -> Any:
    """Collate by the kind of the first sample: a function of ``collate_fn_map`` for its type (or a base of it), else by
    element for mappings, namedtuples and sequences of equal length.

    Raises TypeError for other samples, RuntimeError for sequences of different lengths.
    """
    first = batch[0]
    kind = type(first)
    if collate_fn_map is not None:
        function = collate_fn_map.get(kind)
        if function is None:
            function = next((f for k, f in collate_fn_map.items() if isinstance(first, k)), None)
        if function is not None:
            return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        return _rebuild_mapping(first, {key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map)
                                        for key in first})
    if isinstance(first, Sequence):
        if isinstance(first, tuple) and hasattr(first, "_fields"):
            return kind(*(collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch, strict=False)))
        sizes = {len(sample) for sample in batch}
        if len(sizes) > 1:
            raise RuntimeError("each element in list of batch should be of equal size, but the sizes are "
                               f"{sorted(sizes)}")
        columns = [collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch, strict=True)]
        return columns if isinstance(first, tuple) else _rebuild_sequence(first, columns)
    raise TypeError(_BAD_TYPE.format(kind))


def collate_tensor_fn(batch: Sequence[Tensor], *, collate_fn_map: _CollateMap | None = None) -> Tensor:
    """Stack along a new first dimension. RuntimeError for nested tensors, whose sizes need not agree."""
    if batch[0].is_nested:
        raise RuntimeError("Batches of nested tensors are not currently supported by the default collate_fn; please "
                           "provide a custom collate_fn to handle them appropriately.")
    from .... import stack  # the public function, which asks classes of one's own: their batches are of that class

    return stack(tuple(batch), 0)


def collate_numpy_array_fn(batch: Sequence[np.ndarray], *, collate_fn_map: _CollateMap | None = None) -> Any:
    """Stack arrays. TypeError for text and objects."""
    first = batch[0]
    if np_str_obj_array_pattern.search(first.dtype.str) is not None:
        raise TypeError(_BAD_TYPE.format(first.dtype))
    if all(type(b) is np.ndarray and b.shape == first.shape and b.dtype == first.dtype for b in batch):
        whole = np.stack(batch)
        check_from_numpy(whole, share=False)
        return host_tensor(whole, "cpu")
    return collate([T.as_tensor(b) for b in batch], collate_fn_map=collate_fn_map)


def collate_numpy_scalar_fn(batch: Sequence[Any], *, collate_fn_map: _CollateMap | None = None) -> Tensor:
    """A 1-d tensor of the scalars' dtype."""
    return T.as_tensor(np.asarray(batch))


def collate_float_fn(batch: Sequence[float], *, collate_fn_map: _CollateMap | None = None) -> Tensor:
    """A 1-d float64 tensor."""
    return T.tensor(batch, dtype=float64)


def collate_int_fn(batch: Sequence[int], *, collate_fn_map: _CollateMap | None = None) -> Tensor:
    """A 1-d int64 (or bool) tensor."""
    return T.tensor(batch)


def collate_str_fn(batch: Sequence[Any], *, collate_fn_map: _CollateMap | None = None) -> Sequence[Any]:
    """Text stays a list."""
    return batch


default_collate_fn_map: _CollateMap = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}


def default_collate(batch: Sequence[Any]) -> Any:
    """A batch from samples: tensors and arrays stacked, numbers to 1-d tensors, containers element by element (tuples
    become lists), text as it is. Other types may be added to ``default_collate_fn_map``.

    Raises TypeError for other types, RuntimeError for shapes or lengths that differ.
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)


def default_convert(data: Any) -> Any:
    """NumPy arrays and scalars to tensors, inside containers too (tuples become lists); everything else as it is."""
    if isinstance(data, (Tensor, str, bytes)):
        return data
    if type(data).__module__ == "numpy":
        if isinstance(data, np.ndarray) and np_str_obj_array_pattern.search(data.dtype.str) is not None:
            return data
        return T.as_tensor(data)
    if isinstance(data, Mapping):
        return _rebuild_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(d) for d in data))
    if isinstance(data, Sequence):
        values = [default_convert(d) for d in data]
        return values if isinstance(data, tuple) else _rebuild_sequence(data, values)
    return data
