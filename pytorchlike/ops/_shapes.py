"""Shapes of results by those of arguments, for operators that are met on ever other sizes.

To trace an operator with JAX takes half a millisecond, which a text that grows by a token at a time would pay for each
operator and length.  A rule is given the arguments of the operator's body, with metas in the place of arrays, and
returns the shapes of the results; None, or an exception, where the body has to be asked, as for all arguments that it
would refuse.  It is used for a call only after it was right about one that differs in sizes alone, see
``engine.foreseen``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Shape = tuple[int, ...]
#: ``rule(**arguments)``.
Rule = Callable[..., "tuple[Shape, ...] | None"]


def _arrays(values: Any) -> Iterator[Any]:
    for v in values:
        if type(v) is tuple:
            yield from _arrays(v)
        elif hasattr(v, "shape"):
            yield v


def elementwise(**arguments: Any) -> tuple[Shape, ...]:
    """All arrays broadcast together."""
    return (np.broadcast_shapes(*[a.shape for a in _arrays(arguments.values())]),)


def like_input(input: Any, **_: Any) -> tuple[Shape, ...]:
    """The shape of the first argument."""
    return (input.shape,)


def _with(shape: Shape, dim: int, size: int) -> Shape:
    """The shape with another size along ``dim``; IndexError if there is no such axis."""
    sizes = list(shape)
    sizes[dim] = size
    return tuple(sizes)


def along(input: Any, dim: int | None, **_: Any) -> tuple[Shape, ...] | None:
    """The shape of the first argument, if there is a ``dim``, without which the body warns."""
    return None if dim is None else (input.shape,)


def lined(length: int, **_: Any) -> tuple[Shape, ...] | None:
    """One axis of that length."""
    return ((length,),) if length >= 0 else None


def sized(size: Any, **_: Any) -> tuple[Shape, ...] | None:
    """A factory's ``size``."""
    sizes = size if type(size) is tuple else (size,)
    return (sizes,) if all(type(n) is int and n >= 0 for n in sizes) else None


def normalized(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, **_: Any
) -> tuple[Shape, ...] | None:
    """The last axes are those told, and the weights have them too."""
    axes = tuple(normalized_shape)
    fits = axes and input.shape[-len(axes) :] == axes and all(w is None or w.shape == axes for w in (weight, bias))
    return (input.shape,) if fits else None


def reduced(input: Any, dim: Any = None, keepdim: bool = False, **_: Any) -> tuple[Shape, ...] | None:
    """Without the axes ``dim``, or all of them; each of size 1 with ``keepdim``."""
    shape, n = input.shape, input.ndim
    if dim is None or dim == ():
        axes = set(range(n))
    else:
        dims = dim if type(dim) in (tuple, list) else (dim,)
        if not all(type(d) is int and -n <= d < n for d in dims):
            return None
        axes = {d % n for d in dims}
        if len(axes) < len(dims):
            return None
    if keepdim:
        return (tuple([1 if k in axes else s for k, s in enumerate(shape)]),)
    return (tuple([s for k, s in enumerate(shape) if k not in axes]),)


def multiplied(input: Any, other: Any = None, mat2: Any = None, **_: Any) -> tuple[Shape, ...] | None:
    """Of matrices, the axes before the last two broadcast; vectors are left to the body."""
    a, b = input.shape, (mat2 if other is None else other).shape
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        return None
    return ((*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1]),)


def affine(input: Any, weight: Any, bias: Any = None) -> tuple[Shape, ...] | None:
    """(*, in), (out, in), (out,) -> (*, out)."""
    if input.ndim < 1 or weight.ndim != 2 or input.shape[-1] != weight.shape[1]:
        return None
    if bias is not None and bias.shape != weight.shape[:1]:
        return None
    return ((*input.shape[:-1], weight.shape[0]),)


def looked_up(input: Any, weight: Any, **_: Any) -> tuple[Shape, ...] | None:
    """A row of a matrix for each index."""
    return ((*input.shape, weight.shape[1]),) if weight.ndim == 2 else None


def joined(tensors: Any, dim: int = 0, **_: Any) -> tuple[Shape, ...] | None:
    """One after the other along ``dim``."""
    first = tensors[0].shape
    n = len(first)
    if type(dim) is not int or not -n <= dim < n or any(t.ndim != n for t in tensors):
        return None
    dim %= n
    if any(t.shape[:dim] != first[:dim] or t.shape[dim + 1 :] != first[dim + 1 :] for t in tensors):
        return None
    return ((*first[:dim], sum([t.shape[dim] for t in tensors]), *first[dim + 1 :]),)


def stacked(tensors: Any, dim: int = 0, **_: Any) -> tuple[Shape, ...] | None:
    """A new axis at ``dim``."""
    first = tensors[0].shape
    n = len(first) + 1
    if type(dim) is not int or not -n <= dim < n or any(t.shape != first for t in tensors):
        return None
    dim %= n
    return ((*first[:dim], len(tensors), *first[dim:]),)


def attended(query: Any, key: Any, value: Any, attn_mask: Any = None, **_: Any) -> tuple[Shape, ...] | None:
    """(*, L, E), (*, S, E), (*, S, V) -> (*, L, V), all of the same leading axes."""
    q, k, v = query.shape, key.shape, value.shape
    if not len(q) == len(k) == len(v) >= 3 or not q[:-2] == k[:-2] == v[:-2] or q[-1] != k[-1] or k[-2] != v[-2]:
        return None
    if attn_mask is not None:
        scores = (*q[:-1], k[-2])
        if np.broadcast_shapes(attn_mask.shape, scores) != scores:
            return None
    return ((*q[:-1], v[-1]),)


def classified(input: Any, target: Any, weight: Any = None, reduction: str = "mean", **_: Any) -> Any:
    """A number for all labels; shapes other than (N, C) and (N,) are left to the body."""
    plain = input.ndim == 2 and target.shape == input.shape[:1] and weight is None
    return ((),) if plain and reduction in ("mean", "sum") else None


def compared(input: Any, target: Any, weight: Any = None, reduction: str = "mean", **_: Any) -> Any:
    """A number for two arrays of one shape, or that shape without reduction."""
    if input.shape != target.shape or (weight is not None and weight.shape != input.shape):
        return None
    return (input.shape,) if reduction == "none" else ((),)


def extreme(input: Any, dim: int | None = None, keepdim: bool = False, **_: Any) -> tuple[Shape, ...] | None:
    """A number, or values along ``dim`` and their places."""
    found = reduced(input, dim, keepdim) if input.ndim else None
    return found if dim is None or found is None else found * 2


def ordered(input: Any, dim: int = -1, **_: Any) -> tuple[Shape, ...] | None:
    """Values and their places."""
    return (input.shape,) * 2 if -input.ndim <= dim < input.ndim else None


def leading(input: Any, k: int, dim: int = -1, **_: Any) -> tuple[Shape, ...] | None:
    """The first ``k`` values along ``dim`` and their places."""
    return (_with(input.shape, dim, k),) * 2 if 0 <= k <= input.shape[dim] else None


def parted(input: Any, sizes: tuple[int, ...], dim: int) -> tuple[Shape, ...] | None:
    """One part after the other along ``dim``."""
    if input.shape[dim] != sum(sizes) or any(n < 0 for n in sizes):
        return None
    return tuple([_with(input.shape, dim, n) for n in sizes])


def unbound(input: Any, dim: int) -> tuple[Shape, ...]:
    """As many parts as ``dim`` is long, without it."""
    at = dim % input.ndim
    return ((*input.shape[:at], *input.shape[at + 1 :]),) * input.shape[at]


def picked(input: Any, dim: int, index: Any, **_: Any) -> tuple[Shape, ...] | None:
    """The shape of ``index``, which lies within that of ``input`` but for ``dim``."""
    return (index.shape,) if _beside(input, dim, index) else None


def scattered(input: Any, dim: int, index: Any, src: Any = None, **_: Any) -> tuple[Shape, ...] | None:
    """The shape of the first argument; ``index`` lies within it but for ``dim``, and within ``src``."""
    fits = getattr(src, "ndim", 0) == index.ndim and all(i <= n for i, n in zip(index.shape, src.shape, strict=True))
    return (input.shape,) if fits and _beside(input, dim, index) else None


def _beside(input: Any, dim: int, index: Any) -> bool:
    n = input.ndim
    if not n or index.ndim != n or not -n <= dim < n:
        return False
    return all(i <= s or d == dim % n for d, (i, s) in enumerate(zip(index.shape, input.shape, strict=True)))


def selected(input: Any, dim: int, index: Any) -> tuple[Shape, ...] | None:
    """As many slices along ``dim`` as the vector ``index`` names."""
    return (_with(input.shape, dim, index.shape[0]),) if index.ndim == 1 else None


def put_along(input: Any, dim: int, index: Any, source: Any, **_: Any) -> tuple[Shape, ...] | None:
    """The shape of the first argument; ``source`` has a slice along ``dim`` for each of the vector ``index``."""
    told = selected(input, dim, index)
    return (input.shape,) if told is not None and told[0] == source.shape else None


def recurrent(
    input: Any, weights: Any, has_biases: bool = True, num_layers: int = 1, bidirectional: bool = False,
    batch_first: bool = False, **states: Any,
) -> tuple[Shape, ...] | None:  # fmt: skip
    """(T, N, I) -> (T, N, directions * H) and the last states, as those given; without projections."""
    directions = 2 if bidirectional else 1
    if input.ndim != 3 or len(weights) != directions * num_layers * (4 if has_biases else 2):
        return None
    hidden, size = weights[1].shape[1], weights[0].shape[1]
    batch = input.shape[0 if batch_first else 1]
    state = (num_layers * directions, batch, hidden)
    lengths = states.get("lengths")
    given = [states[name] for name in ("h", "c") if name in states]
    if input.shape[2] != size or any(g is not None and g.shape != state for g in given):
        return None
    if lengths is not None and lengths.shape != (batch,):
        return None
    return ((*input.shape[:2], directions * hidden), *[state] * len(given))


def by_letters(equation: str, operands: Any) -> tuple[Shape, ...] | None:
    """What an equation with an arrow says that has each letter once in an operand."""
    taken, arrow, made = equation.replace(" ", "").partition("->")
    terms = taken.split(",")
    if not arrow or "." in equation or len(terms) != len(operands) or len(set(made)) < len(made):
        return None
    sizes: dict[str, int] = {}
    for term, a in zip(terms, operands, strict=True):
        if len(term) != a.ndim or len(set(term)) < len(term):
            return None
        if any(sizes.setdefault(x, n) != n for x, n in zip(term, a.shape, strict=True)):
            return None
    return (tuple([sizes[x] for x in made]),)


def shown(body: Callable[..., Any]) -> Rule:
    """What a view shows: the body is asked, on an array of the same shape that has one element."""

    def rule(**arguments: Any) -> tuple[Shape, ...]:
        out = body(**{name: _dummy(v) for name, v in arguments.items()})
        return tuple([o.shape for o in out]) if type(out) in (tuple, list) else (out.shape,)

    return rule


def _dummy(v: Any) -> Any:
    if type(v) is tuple:
        return tuple(map(_dummy, v))
    if hasattr(v, "ndim"):
        return np.broadcast_to(np.zeros((), v.dtype), v.shape)
    return 0 if hasattr(v, "array") else v  # a number known at run time only says nothing of shapes
