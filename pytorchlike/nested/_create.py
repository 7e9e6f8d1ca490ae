"""Making nested tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor, host_tensor, tensor
from ..tensor import dtype as d
from ..tensor import functions as T
from ._ragged import Ragged, roomy
from ._tensor import NestedTensor


def _layout(name: str, layout: Any) -> Any:
    layout = d.strided if layout is None else layout
    if layout is not d.strided and layout is not d.jagged:
        raise RuntimeError(f"Specified layout is unsupported for nested tensors: {layout} ({name})")
    return layout


def _join(name: str, parts: list[Tensor], layout: Any, room: bool) -> NestedTensor:
    """Components as one nested tensor; gradients flow to them."""
    if not parts:
        if layout is d.jagged:
            raise RuntimeError("Cannot construct a nested tensor from an empty tensor list")
        empty = host_tensor(np.zeros(0, d.get_default_dtype().numpy))
        return NestedTensor._make(empty, Ragged.of_lengths([], empty.device), 1, layout)
    first = parts[0]
    for k, p in enumerate(parts):
        if p.dim() != first.dim():
            raise RuntimeError(f"All Tensors given to {name} must have the same dimension. Found dimension {p.dim()} "
                               f"for "
                               f"Tensor at index {k} and dimension {first.dim()} for Tensor at index 0.")  # fmt: skip
        if p.device != first.device:
            raise RuntimeError(f"When constructing a nested tensor, all tensors in list must be on the same device; "
                               f"got "
                               f"{p.device} at index {k}, {first.device} at index 0")  # fmt: skip
    if first.dim() == 0:
        raise RuntimeError("Cannot construct a nested tensor from a list of zero-dim tensors")
    ragged = [k for k in range(first.dim()) if any(p.shape[k] != first.shape[k] for p in parts)]
    if len(ragged) > 1:
        raise NotImplementedError(
            f"{name}: the components differ in size in dimensions {ragged}; only one may be ragged. Pad the others, or "
            "keep the tensors in a list."
        )
    at = ragged[0] if ragged else 0
    lengths = [p.shape[at] for p in parts]
    total = sum(lengths)
    if room and all(type(p._get().data) is np.ndarray and not p.requires_grad for p in parts):
        # data from the host: joined there, with room so that other batches run the same program
        whole = np.concatenate([p._host() for p in parts], axis=at)
        capacity = roomy(total)
        if total and capacity > total:
            last = np.take(whole, [total - 1] * (capacity - total), axis=at)
            whole = np.concatenate([whole, last], axis=at)
        else:
            capacity = total
        values = host_tensor(whole, first.device)
        return NestedTensor._make(values, Ragged.of_lengths(lengths, first.device, capacity), at + 1, layout)
    values = T.cat(parts, at)
    return NestedTensor._make(values, Ragged.of_lengths(lengths, first.device), at + 1, layout)


def nested_tensor(
    tensor_list: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> NestedTensor:  # fmt: skip
    """A nested tensor with copies of the components, a leaf.

    tensor_list:  tensors, or nested lists of numbers, of the same number of dimensions; one dimension may differ.
    layout:       ``torch.strided`` (default) or ``torch.jagged``, which more operations have.
    Raises:       RuntimeError for components that do not fit; TypeError if it is not a list; NotImplementedError if
                  more than one dimension is ragged.
    """
    layout = _layout("nested_tensor", layout)
    if not isinstance(tensor_list, (list, tuple)):
        raise TypeError("Only lists (List[Tensor] and List[List...[Scalar]]) are accepted in nested_tensor")
    parts = [p.detach() if isinstance(p, Tensor) else tensor(p) for p in tensor_list]
    kind = dtype if dtype is not None or not parts else parts[0].dtype
    if dtype is None and layout is d.jagged and any(p.dtype is not kind for p in parts):
        raise RuntimeError("When constructing a nested tensor, all tensors in list must have the same dtype")
    parts = [p.to(device=device, dtype=kind) for p in parts]
    made = _join("nested_tensor", parts, layout, True)
    if made._ragged.capacity == 0 and dtype is not None:
        made = made.to(dtype=dtype)
    return made.detach().requires_grad_(True) if requires_grad else made


def as_nested_tensor(ts: Any, dtype: Any = None, device: Any = None, layout: Any = None) -> NestedTensor:
    """A nested tensor of the components, through which gradients flow to them.

    ts:  a list or tuple of tensors, a dense tensor (its first dimension becomes the batch) or a nested tensor.
    """
    layout = _layout("as_nested_tensor", layout)
    if isinstance(ts, NestedTensor):
        if ts.layout is not layout:
            raise RuntimeError("as_nested_tensor(): Converting between nested tensor layouts is not supported")
        return ts.to(device=device, dtype=dtype)
    if isinstance(ts, Tensor):
        ts = ts.to(device=device, dtype=dtype)
        if ts.dim() < 2:
            raise RuntimeError("as_nested_tensor(): Expected tensor argument to have dim() > 1")
        ragged = Ragged.of_lengths([ts.shape[1]] * ts.shape[0], ts.device)
        return NestedTensor._make(ts.flatten(0, 1), ragged, 1, layout)
    if not isinstance(ts, (list, tuple)) or not all(isinstance(t, Tensor) for t in ts):
        raise TypeError("as_nested_tensor(): Expected first argument to be a tensor or a list / tuple of tensors")
    parts = [t.to(device=device, dtype=dtype) for t in ts]
    if layout is d.jagged and parts and any(p.dtype is not parts[0].dtype for p in parts):
        raise RuntimeError("When constructing a nested tensor, all tensors in list must have the same dtype")
    return _join("as_nested_tensor", parts, layout, False)


def _host(name: str, t: Any, n: int | None) -> np.ndarray:
    if not isinstance(t, Tensor) or t.dim() != 1 or t.dtype not in (d.int64, d.int32):
        raise RuntimeError(f"nested_tensor_from_jagged(): {name} must be a 1-D tensor of int64 or int32")
    host = t.detach()._host().astype(np.int64)
    if n is not None and len(host) != n:
        raise RuntimeError(f"nested_tensor_from_jagged(): {name} has {len(host)} elements, expected {n}")
    return host


def nested_tensor_from_jagged(
    values: Tensor, offsets: Tensor | None = None, lengths: Tensor | None = None, jagged_dim: int | None = None,
    min_seqlen: int | None = None, max_seqlen: int | None = None,
) -> NestedTensor:  # fmt: skip
    """A jagged nested tensor of components that lie one after the other in ``values``; gradients flow to it.

    offsets:     (batch + 1,), where they begin and the end; read if not known on the host.
    lengths:     (batch,), instead of offsets, or beside them where components do not fill their place.
    jagged_dim:  the ragged dimension of the nested tensor, 1 by default.
    min_seqlen, max_seqlen:  known from the offsets here.
    Raises:      RuntimeError if both are missing, or they do not fit to ``values``.
    """
    at = 1 if jagged_dim is None else int(jagged_dim)
    if not 1 <= at <= values.dim():
        raise ValueError(f"nested_tensor_from_jagged(): jagged_dim must be in [1, {values.dim()}], got {at}")
    rows = values.shape[at - 1]
    if offsets is None:
        if lengths is None:
            raise RuntimeError("nested_tensor_from_jagged(): At least one of offsets or lengths is required.")
        made = Ragged.of_lengths(_host("lengths", lengths, None), values.device)
        if made.capacity > rows:
            raise RuntimeError(f"nested_tensor_from_jagged(): lengths add up to {made.capacity}, values have {rows} "
                               f"rows")
        made.capacity = rows
        return NestedTensor._make(_own(values), made, at)
    ends = _host("offsets", offsets, None)
    if len(ends) < 1 or (np.diff(ends) < 0).any() or ends[0] < 0 or ends[-1] > rows:
        raise RuntimeError(f"nested_tensor_from_jagged(): offsets must ascend within the {rows} rows of values")
    places = np.diff(ends)
    taken = places if lengths is None else _host("lengths", lengths, len(places))
    if lengths is not None and ((taken < 0) | (ends[:-1] + taken > rows)).any():
        raise RuntimeError("nested_tensor_from_jagged(): lengths reach beyond values")
    ragged = Ragged(ends[:-1], taken, rows, offsets.detach(), None if lengths is None else lengths.detach())
    return NestedTensor._make(_own(values), ragged, at)


def _own(values: Tensor) -> Tensor:
    """A handle of its own on the values."""
    return values.view_as(values) if values.requires_grad else values.detach()


def narrow(tensor: Tensor, dim: int, start: Any, length: Any, layout: Any = None) -> NestedTensor:
    """``tensor[b, start[b] : start[b] + length[b]]`` for each b, as a jagged nested tensor.

    start, length:  numbers, or 1-D integer tensors (read if not known on the host).
    Raises:  RuntimeError for dim other than 1, the strided layout, and ranges outside the tensor.
    """
    if _layout("narrow", layout) is not d.jagged:
        raise RuntimeError("Specified layout is unsupported for nested narrow: torch.strided (give "
                           "layout=torch.jagged)")
    if tensor.dim() < 2 or dim != 1:
        raise RuntimeError(f"narrow: only dim=1 of a dense tensor with a batch dimension is supported, got dim={dim}")
    b, s = tensor.shape[:2]
    starts = np.broadcast_to(np.asarray(start if isinstance(start, int) else _host("start", start, b)), (b,))
    taken = np.broadcast_to(np.asarray(length if isinstance(length, int) else _host("length", length, b)), (b,))
    if ((starts < 0) | (taken < 0) | (starts + taken > s)).any():
        raise RuntimeError(f"narrow: start and length reach outside dimension 1 of size {s}")
    places = (np.arange(b) * s + starts).astype(np.int64)
    end = [places[-1] + taken[-1]] if b else [0]
    offsets = host_tensor(np.concatenate([places, end]).astype(np.int64), tensor.device)
    lengths = host_tensor(taken.astype(np.int64).copy(), tensor.device)
    ragged = Ragged(places, taken.astype(np.int64), b * s, offsets, lengths)
    return NestedTensor._make(_own(tensor.flatten(0, 1)), ragged)


def masked_select(tensor: Tensor, mask: Tensor) -> NestedTensor:
    """The elements of a (B, L) tensor that the mask selects, as a jagged nested tensor; reads the mask."""
    if tensor.layout is not d.strided:
        raise RuntimeError(f"torch.nested.masked_select requires a strided tensor, given {tensor.layout}")
    if mask.layout is not d.strided:
        raise RuntimeError(f"torch.nested.masked_select requires a strided mask, given: {mask.layout}")
    size = T.broadcast_shapes(tuple(tensor.shape), tuple(mask.shape))
    host = np.broadcast_to(mask.detach()._host(), size)
    if len(size) != 2:
        raise RuntimeError(f"masked_select: expected a 2-D tensor and mask, got {len(size)}-D")
    places = host_tensor(np.flatnonzero(host), tensor.device)
    values = tensor.expand(size).reshape(-1).index_select(0, places)
    return NestedTensor._make(values, Ragged.of_lengths(host.sum(1), tensor.device))


def to_padded_tensor(input: NestedTensor, padding: float, output_size: Any = None, out: Any = None) -> Tensor:
    """The components as one dense tensor, padded with ``padding``; see :meth:`NestedTensor.to_padded_tensor`."""
    if not isinstance(input, NestedTensor):
        raise RuntimeError("to_padded_tensor: the tensor must be nested; this one is dense")
    found = input.to_padded_tensor(padding, output_size)
    if out is None:
        return found
    from ..tensor._cell import write_out

    return write_out(out, found, "to_padded_tensor")
