"""Dims and sizes: which dim is meant, which shape comes out, and PyTorch's errors where there is none."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["broadcast_sizes", "expanded_size", "infer_size", "reduced_dims", "wrap_dim", "wrap_dims"]


def wrap_dim(dim: int, ndim: int) -> int:
    """``dim`` counted from the front; a 0-dim tensor counts as having one dimension.  Raises IndexError."""
    n = ndim or 1
    if isinstance(dim, str):
        raise TypeError(f"dim must be an int, not str ({dim!r}); dimensions have no names here")
    if -n <= dim < n:
        return dim + n if dim < 0 else dim
    raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")


def wrap_dims(dims: Sequence[int], ndim: int) -> tuple[int, ...]:
    """Several dims counted from the front.  Raises IndexError, or RuntimeError when one appears twice."""
    out = tuple([wrap_dim(d, ndim) for d in dims])
    for i, d in enumerate(out):
        if d in out[:i]:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return out


def reduced_dims(dim: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """The dims that are reduced: all for None or (), none of a 0-dim tensor.  Raises as :func:`wrap_dims` does."""
    if dim is None or dim == ():
        return tuple(range(ndim))
    dims = wrap_dims((dim,) if isinstance(dim, int) else dim, ndim)
    return dims if ndim else ()


def infer_size(shape: Sequence[int], numel: int) -> tuple[int, ...]:
    """``shape`` with its -1, if any, replaced so that it holds ``numel`` elements.  Raises RuntimeError."""
    known, hole = 1, None
    for i, n in enumerate(shape):
        if n == -1:
            if hole is not None:
                raise RuntimeError("only one dimension can be inferred")
            hole = i
        elif n < 0:
            raise RuntimeError(f"invalid shape dimension {n} at index {i} of shape {list(shape)}")
        else:
            known *= n
    if hole is None:
        if known == numel:
            return tuple(shape)
    elif known == 0 and numel == 0:
        raise RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size -1 "
            "can be any value and is ambiguous"
        )
    elif known and numel % known == 0:
        return (*shape[:hole], numel // known, *shape[hole + 1 :])
    raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")


def expanded_size(size: Sequence[int], shape: Sequence[int], name: str = "expand") -> tuple[int, ...]:
    """The shape that ``expand(size)`` of a tensor of ``shape`` has (-1 keeps a size).  Raises RuntimeError."""
    extra = len(size) - len(shape)
    if extra < 0:
        raise RuntimeError(
            f"{name}(tensor of shape {list(shape)}, size={list(size)}): the number of sizes provided ({len(size)}) "
            f"must be greater or equal to the number of dimensions in the tensor ({len(shape)})"
        )
    out = list(size)
    for i in reversed(range(len(size))):
        n = size[i]
        if i < extra:
            if n < 0:
                raise RuntimeError(
                    f"The expanded size of the tensor ({n}) isn't allowed in a leading, non-existing dimension {i}"
                )
            continue
        have = shape[i - extra]
        if n == -1:
            out[i] = have
        elif n != have and (have != 1 or n < 0):
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({have}) at non-singleton "
                f"dimension {i}.  Target sizes: {list(size)}.  Tensor sizes: {list(shape)}"
            )
    return tuple(out)


def broadcast_sizes(*shapes: Sequence[int], name: str = "") -> tuple[int, ...]:
    """The common shape that ``shapes`` broadcast to.

    Raises RuntimeError, naming the sizes at the last dimension where there is none, and the operator if ``name`` does.
    """
    rank = max(map(len, shapes), default=0)
    out = [1] * rank
    for shape in shapes:
        for i, size in zip(range(rank - 1, -1, -1), reversed(shape), strict=False):
            if size == 1 or size == out[i]:
                continue
            if out[i] != 1:
                raise RuntimeError(
                    f"The size of tensor a ({out[i]}) must match the size of tensor b ({size}) at non-singleton "
                    f"dimension {i}: shapes {' and '.join([str(list(s)) for s in shapes])} do not broadcast"
                    + (f" ({name})" if name else "")
                )
            out[i] = size
    return tuple(out)
