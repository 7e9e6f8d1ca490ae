"""Views as copies (``torch.t_copy``), and views of a tensor put in its own place (``Tensor.t_``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine import local
from ..engine.meta import LEAF
from ._cell import before_write, write_out
from ._register import FUNCTIONS, METHODS, function
from ._tensor import Tensor
from ._values import _as_leaf, _plain
from .functions_shape import _ints, split, split_with_sizes, unbind
from .storage import Alias


def _copied(name: str, out: Any, result: Any) -> Any:
    result = result.clone() if isinstance(result, Tensor) else tuple([r.clone() for r in result])
    if out is None:
        return result
    if isinstance(result, Tensor):
        return write_out(out, result, name)
    if len(out) != len(result):
        raise RuntimeError(f"{name}() expected an out= argument of size {len(result)}, got size {len(out)}")
    for o, r in zip(out, result, strict=True):
        write_out(o, r, name)
    return None


def _copy_of(view: str, *, method: bool = False, by: Callable[..., Any] | None = None) -> None:
    name = f"{view}_copy"

    def copy(input: Tensor, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        result = by(input, *args, **kwargs) if by is not None else getattr(input, view)(*args, **kwargs)
        return _copied(name, out, result)

    copy.__name__ = copy.__qualname__ = name
    copy.__doc__ = f"As ``{view}``, but a copy with a storage of its own (written to ``out``, if given)."
    function(copy, method=method)


def _slice(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    from ..ops._sizes import wrap_dim

    return input[(slice(None),) * wrap_dim(dim, input.ndim) + (slice(start, end, step),)]


for _view in ("as_strided", "diagonal", "detach", "expand", "permute", "select", "squeeze", "t", "transpose", "unfold",
              "unsqueeze", "view"):  # fmt: skip
    _copy_of(_view)
_copy_of("narrow", method=True)
_copy_of("alias", by=lambda input: input)
_copy_of("slice", by=_slice)
_copy_of("split", by=split)
_copy_of("split_with_sizes", by=split_with_sizes)
_copy_of("unbind", by=unbind)


@function
def view_as_real_copy(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """As ``view_as_real``, but a copy."""
    from .functions import view_as_real

    return _copied("view_as_real_copy", out, view_as_real(input))


@function
def view_as_complex_copy(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """As ``view_as_complex``, but a copy."""
    from .functions import view_as_complex

    return _copied("view_as_complex_copy", out, view_as_complex(input))


# ------------------------------------------------------------------------------------------------ views in place


def become(tensor: Tensor, other: Tensor) -> Tensor:
    """Let ``tensor`` be what ``other`` is: the same storage through the same views; a leaf stays a leaf."""
    value = tensor._get()
    if value.meta.grad == LEAF:
        before_write(tensor, value, local.trace)
    leaf = value.node if value.meta.grad == LEAF else None
    alias = other._shared()
    if leaf is None:
        floor = alias.floor if tensor._is_view() else len(alias.chain)
        tensor._alias = Alias(alias.storage, alias.chain, None, alias.detached, floor, alias.writes, group=alias.group)
        tensor._value = other._get()
    else:
        tensor._alias = Alias(alias.storage, alias.chain, leaf, True, len(alias.chain), alias.writes)
        tensor._value = _as_leaf(_plain(other._get()), leaf)
    return tensor


def _in_place(view: str) -> None:
    def change(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return become(input, getattr(input, view)(*args, **kwargs))

    change.__name__ = change.__qualname__ = f"{view}_"
    change.__doc__ = (
        f"Makes the tensor the view of itself that ``{view}`` gives; other views of its storage stay as they are."
    )
    METHODS[f"{view}_"] = change
    if view == "as_strided":
        FUNCTIONS["torch", f"{view}_"] = change


for _view in ("t", "transpose", "swapaxes", "swapdims", "squeeze", "unsqueeze", "as_strided"):
    _in_place(_view)


@function(namespace=("torch",), method=True)
def resize_(input: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Gives the tensor another size in place, contiguous: its elements in storage order, then zeros if there are more.

    A tensor that grows gets a storage of its own.  Raises RuntimeError for a tensor that requires gradients.
    """
    if not sizes:
        raise TypeError('resize_() missing 1 required positional arguments: "size"')
    size = _ints(sizes[0] if len(sizes) == 1 else sizes)
    if any(n < 0 for n in size):
        raise RuntimeError(f"requested resize to {list(size)}: sizes must be non-negative")
    if input.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    if tuple(size) == tuple(input.shape):
        return input
    need = 1
    for n in size:
        need *= n
    base, start = input._stored() if input._is_view() or input.is_contiguous() else (input, 0)
    offset = input.storage_offset() - start
    have = base.numel() - offset
    if need <= have and base.is_contiguous():
        strides, n = [], 1
        for s in reversed(size):
            strides.append(n)
            n *= max(s, 1)
        return become(input, base._as_strided(tuple(size), tuple(reversed(strides)), offset))
    flat = base.reshape(-1)[offset:]
    if need > have:
        from .functions import cat

        flat = cat([flat, flat.new_zeros(need - have)])
    return become(input, flat[:need].reshape(size).clone())


@function(method=True)
def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """``resize_`` to the size of another tensor."""
    return resize_(input, tuple(the_template.shape))


def _resize(input: Tensor, sizes: tuple) -> Tensor:
    import warnings

    warnings.warn("non-inplace resize is deprecated", UserWarning, stacklevel=3)
    return input.reshape(sizes)


@function(namespace=None, method=True)
def resize(input: Tensor, *sizes: Any) -> Tensor:
    """``reshape``, under a name that PyTorch deprecated."""
    return _resize(input, tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes)


@function(namespace=None, method=True)
def resize_as(input: Tensor, tensor: Tensor) -> Tensor:
    """``reshape`` to the size of another tensor, under a name that PyTorch deprecated."""
    return _resize(input, tuple(tensor.shape))


@function(namespace=None, method=True)
def set_(
    input: Tensor, source: Any = None, storage_offset: int | None = None, size: Any = None, stride: Any = None
) -> Tensor:
    """Makes the tensor share the storage of ``source``, or a part of it by offset, size and strides; empty without."""
    if source is None:
        return become(input, input.new_empty(0))
    from .typed_storage import TypedStorage, UntypedStorage, flat_of

    if isinstance(source, (TypedStorage, UntypedStorage)):
        source = flat_of(source, input.dtype)
    if not isinstance(source, Tensor):
        raise TypeError(f"set_(): argument 'source' must be Tensor, not {type(source).__name__}")
    if source.dtype != input.dtype:
        raise RuntimeError(f"Could not set tensor of type {source.dtype} to a tensor of type {input.dtype}")
    source = source.detach()  # the memory only
    if size is None:
        return become(input, source)
    size = (size,) if isinstance(size, int) else tuple(size)
    if stride is None:
        stride, n = [], 1
        for s in reversed(size):
            stride.append(n)
            n *= max(s, 1)
        stride.reverse()
    return become(input, source.as_strided(size, tuple(stride), storage_offset or 0))


@function(namespace=None, method=True)
def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """Whether both look at the same storage with the same offset, size and strides."""
    ours, theirs = input._shared(), tensor._shared()
    return (
        ours.storage is theirs.storage
        and input.shape == tensor.shape
        and input.stride() == tensor.stride()
        and input.storage_offset() == tensor.storage_offset()
    )
