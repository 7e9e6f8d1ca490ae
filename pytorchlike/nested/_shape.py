"""Indexing and changing the shape of nested tensors."""

from __future__ import annotations

from typing import Any

from ..ops._sizes import wrap_dim
from ..ops._table import lookup
from ..tensor import Tensor
from ..tensor import functions as T
from ..tensor._wrap import form
from ._ragged import NestedInt
from ._tensor import NestedTensor, handles


def inner(t: NestedTensor, dim: int, name: str) -> int:
    """A dimension of the values for one of the tensor that is neither the batch nor ragged."""
    k = t._dim(dim)
    if k == 0:
        raise RuntimeError(f"{name}(): not supported for NestedTensor on dim=0")
    if k == t._at:
        raise RuntimeError(f"{name}(): not supported for NestedTensor on ragged dim")
    return k - 1


def getitem(t: NestedTensor, index: Any) -> Any:
    """A component by its number; within components full slices, and anything in dimensions that are not ragged."""
    items = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in [i if i is Ellipsis else None for i in items]:
        at = next(k for k, i in enumerate(items) if i is Ellipsis)
        given = sum(i is not None for i in items) - 1
        items[at : at + 1] = [slice(None)] * (t.dim() - given)
    first = items[0] if items else slice(None)
    if isinstance(first, int) or (type(first) is Tensor and first.dim() == 0):
        found = select(t, 0, int(first))
        return found[tuple(items[1:])] if len(items) > 1 else found
    if first != slice(None):
        raise RuntimeError("slice(): not supported for NestedTensor on dim=0" if isinstance(first, slice) else
                           f"indexing a nested tensor with {type(first).__name__} is not supported")  # fmt: skip
    dim = 1
    out = t
    for i in items[1:]:
        if i is None:
            out = unsqueeze(out, dim)
            dim += 1
        elif isinstance(i, slice):
            if i != slice(None):
                k = inner(out, dim, "slice")
                out = out._with_values(out._carrier[(*[slice(None)] * k, i)], out._at)
            dim += 1
        elif isinstance(i, int):
            out = select(out, dim, i)
        else:
            raise RuntimeError(f"indexing a nested tensor with {type(i).__name__} is not supported")
    return out


def _with_values(self: NestedTensor, values: Tensor, at: int) -> NestedTensor:
    return NestedTensor._make(values, self._ragged, at, self._form)


NestedTensor._with_values = _with_values  # type: ignore[attr-defined]


@handles("select")
def select(input: NestedTensor, dim: int, index: int) -> Tensor:
    """A component (dim 0), or one index of a dimension that is not ragged."""
    k = input._dim(dim)
    index = int(index)
    if k == 0:
        n = input._ragged.batch
        if not -n <= index < n:
            raise IndexError(f"select(): index {index} out of range for tensor with {n} components at dimension 0")
        r = input._ragged
        return input._carrier.narrow(input._at - 1, int(r.starts[index]), int(r.lengths[index]))
    k = inner(input, dim, "select")
    at = input._at - (k + 1 < input._at)
    return input._with_values(input._carrier.select(k, index), at)


@handles("unbind")
def unbind(input: NestedTensor, dim: int = 0) -> tuple:
    """The components."""
    return input.unbind(dim)


@handles("transpose", "swapaxes", "swapdims")
def transpose(input: NestedTensor, dim0: int, dim1: int) -> NestedTensor:
    """Two dimensions exchanged, not the batch."""
    a, b = input._dim(dim0), input._dim(dim1)
    if a == b:
        return input
    if 0 in (a, b):
        raise RuntimeError("transpose(): not supported for NestedTensor on dim=0")
    at = {a: b, b: a}.get(input._at, input._at)
    return input._with_values(input._carrier.transpose(a - 1, b - 1), at)


handles("mT")(lambda input: transpose(input, -2, -1))


@handles("permute")
def permute(input: NestedTensor, dims: Any) -> NestedTensor:
    """Dimensions in another order; the batch stays first."""
    order = [input._dim(k) for k in dims]
    if sorted(order) != list(range(input.dim())):
        raise RuntimeError(f"permute(): {list(dims)} is no order of the {input.dim()} dimensions")
    if order[0] != 0:
        raise RuntimeError("permute(): not supported for NestedTensor on dim=0")
    return input._with_values(input._carrier.permute(*[k - 1 for k in order[1:]]), order.index(input._at))


@handles("unsqueeze")
def unsqueeze(input: NestedTensor, dim: int) -> NestedTensor:
    """A dimension of size 1 more, after the batch."""
    k = wrap_dim(dim, input.dim() + 1)
    if k == 0:
        raise RuntimeError("unsqueeze(): not supported for NestedTensor on dim=0")
    return input._with_values(input._carrier.unsqueeze(k - 1), input._at + (k <= input._at))


@handles("squeeze")
def squeeze(input: NestedTensor, dim: Any = None) -> NestedTensor:
    """Without dimensions of size 1 (``dim`` must be given)."""
    if dim is None:
        raise RuntimeError("squeeze(): of a nested tensor needs dim")
    for k in sorted((input._dim(k) for k in (dim if isinstance(dim, (list, tuple)) else (dim,))), reverse=True):
        at = inner(input, k, "squeeze")
        if input._carrier.shape[at] == 1:
            input = input._with_values(input._carrier.squeeze(at), input._at - (k < input._at))
    return input


@handles("unflatten")
def unflatten(input: NestedTensor, dim: int, sizes: Any) -> NestedTensor:
    """A dimension that is not ragged as several."""
    k = inner(input, dim, "unflatten")
    sizes = tuple(sizes)
    return input._with_values(input._carrier.unflatten(k, sizes), input._at + (len(sizes) - 1) * (k + 1 < input._at))


@handles("flatten")
def flatten(input: NestedTensor, start_dim: int = 0, end_dim: int = -1) -> NestedTensor:
    """Neighbouring dimensions that are not ragged as one."""
    a, b = input._dim(start_dim), input._dim(end_dim)
    if a == b:
        return input
    if a == 0:
        raise RuntimeError("flatten(): not supported for NestedTensor on dim=0")
    if a <= input._at <= b:
        raise RuntimeError("flatten(): not supported for NestedTensor on ragged dim")
    return input._with_values(input._carrier.flatten(a - 1, b - 1), input._at - (b - a) * (b < input._at))


def _view(input: NestedTensor, size: Any) -> NestedTensor:
    size = list(size[0]) if len(size) == 1 and isinstance(size[0], (list, tuple)) else list(size)
    told = f"view(): cannot view shape {tuple(input._size)} as {size}"
    if not size or size[0] not in (input._ragged.batch, -1):
        raise RuntimeError(told + "; the batch dimension stays")
    marks = [k for k, n in enumerate(size) if isinstance(n, NestedInt)]
    # the ragged dimension is the symbol, or the -1 that has the same sizes before it
    if marks:
        at = marks[0]
        if len(marks) > 1 or size[at] is not input._ragged.symbol:
            raise RuntimeError(told)
    else:
        at = size.index(-1, 1) if -1 in size[1:] else 0
    before = input._carrier.shape[: input._at - 1]
    if at == 0 or _product(size[1:at]) != _product(before):
        raise RuntimeError(told + "; the ragged dimension stays (write -1 or its symbol)")
    rows = input._ragged.capacity
    return input._with_values(input._carrier.reshape(*size[1:at], rows, *size[at + 1 :]), at)


def _product(sizes: Any) -> int:
    out = 1
    for n in sizes:
        out *= n
    return out


handles("view")(lambda input, size: _view(input, size))
handles("reshape")(lambda input, shape: _view(input, shape))


@handles("chunk")
def chunk(input: NestedTensor, chunks: int, dim: int = 0) -> tuple:
    """A dimension that is not ragged in parts."""
    k = inner(input, dim, "chunk")
    return tuple(input._with_values(c, input._at) for c in input._carrier.chunk(chunks, k))


@handles("split", "split_with_sizes")
def split(tensor: NestedTensor, split_size_or_sections: Any, dim: int = 0) -> tuple:
    """A dimension that is not ragged in parts."""
    k = inner(tensor, dim, "split")
    return tuple(tensor._with_values(c, tensor._at) for c in tensor._carrier.split(split_size_or_sections, k))


NestedTensor.chunk, NestedTensor.split, NestedTensor.select = chunk, split, select  # type: ignore[attr-defined]


@handles("narrow")
def narrow(input: NestedTensor, dim: int, start: Any, length: int) -> NestedTensor:
    """A range of a dimension that is not ragged."""
    return input._with_values(input._carrier.narrow(inner(input, dim, "narrow"), int(start), length), input._at)


NestedTensor.narrow = narrow  # type: ignore[attr-defined]


@handles("cat", "concat", "concatenate")
def cat(tensors: Any, dim: int = 0) -> NestedTensor:
    """Nested tensors of the same lengths joined along a dimension that is not ragged; or along the batch."""
    for t in tensors:
        if not isinstance(t, NestedTensor):
            raise RuntimeError("cat(): nested tensors are joined with nested tensors only")
    first = tensors[0]
    if first._dim(dim) == 0:
        from ._create import _join

        return _join("cat", [c for t in tensors for c in t.unbind()], first._form, False)
    k = inner(first, dim, "cat")
    for t in tensors[1:]:
        if t._at != first._at or not t._ragged.same(first._ragged):
            raise RuntimeError(f"cat(): components must have the same lengths, got {first._size} and {t._size}")
    return first._with_values(T.cat([first._carrier, *[first._aligned_with(t) for t in tensors[1:]]], k), first._at)


@handles("clone")
def clone(input: NestedTensor, memory_format: Any = None) -> NestedTensor:
    """A copy."""
    return input.clone()


@handles("_to_dtype")
def to_dtype(input: NestedTensor, dtype: Any) -> NestedTensor:
    """Converted."""
    return input._with(form(lookup("_to_dtype"))(input._carrier, dtype))


@handles("is_same_size")
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether both are nested, with components of the same shapes."""
    return (isinstance(input, NestedTensor) and isinstance(other, NestedTensor) and input._at == other._at
            and input._ragged.same(other._ragged)
            and all(a == b or isinstance(a, NestedInt) for a, b in zip(input._size, other._size, strict=False))
            and len(input._size) == len(other._size))  # fmt: skip


NestedTensor.is_same_size = is_same_size  # type: ignore[attr-defined]
