"""Evaluation of a generic jaxpr on arrays that have room for larger sizes than the present ones.

What lies beyond the present size is arbitrary, and stays where it is: operations on single elements need not know of
it, sums leave it out.  So one compiled program serves all sizes for which there is room.  Each dimension tells where
its elements are: as many as a size at the beginning, or, where dimensions have been joined, at the beginning of each of
so many stretches.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .generic import Equation, Generic, Series, Size, Unlike

__all__ = ["Again", "Room", "Spread", "evaluate"]


class Again(Unlike):
    """Something was made in an order that does not fit; it is known better now."""


class Undivided(Unlike):
    """Elements that are all in line are to be in stretches: dimension ``d`` as these sizes."""

    def __init__(self, d: int, parts: tuple) -> None:
        super().__init__("reshape of a dimension into others whose sizes vary")
        self.d, self.parts = d, parts


class Disorder(Unlike):
    """What was made by ``of`` would have to be in another order."""

    def __init__(self, of: Any, wanted: tuple) -> None:
        super().__init__("dimensions joined in different orders meet")
        self.of, self.wanted = of, wanted


@dataclasses.dataclass(frozen=True)
class Alike:
    """A dimension of that size along which all elements are the same, so that any order of them is right."""

    size: Size


class Made(tuple):
    """Where the elements of a dimension are that could as well have been made in another order, by what made it."""

    of: Any

    def __new__(cls, parts: tuple, of: Any) -> Made:
        made = super().__new__(cls, parts)
        made.of = of
        return made


#: Where the elements of a dimension are: None (all of it), the factors that it is the product of, or Alike.
Axis = Any


class Spread(NamedTuple):
    """An array with room, and where its elements are, by dimension.

    counts: it would hold its own places, numbers of that dtype, by that equation; see ``iota``.
    """

    x: Any
    axes: tuple
    counts: Any = None


class Room:
    """sizes: for how large sizes there is room, by symbol.   numbers: what they are at present (traced)."""

    def __init__(self, sizes: Sequence[int], numbers: Sequence[Any]) -> None:
        self.sizes, self.numbers = sizes, numbers

    def at(self, x: Any) -> Any:
        """A shape or parameters with the numbers for which there is room."""
        kind = type(x)
        if kind is Size:
            if not x.rises and self.sizes is not self.numbers:
                raise Unlike("a dimension that is shorter where another one is longer")
            return x.at(self.sizes)
        if isinstance(x, (tuple, list)):
            made = [self.at(v) for v in x]
            return kind(*made) if hasattr(x, "_fields") else kind(made)
        return x

    def now(self, x: Any) -> Any:
        """A number at present."""
        return x.at(self.numbers) if type(x) is Size else x

    def extent(self, axis: Axis) -> int:
        return math.prod(self.at(f) for f in factors(axis))

    def valid(self, axis: Axis) -> Any:
        """Which places of a dimension hold elements."""
        from jax import lax

        inner = total = self.extent(axis)
        place = lax.iota(np.int32, total)
        found = None
        for f in factors(axis):
            n = self.at(f)
            inner //= n
            if type(f) is Size:
                at = place // inner if inner > 1 else place
                within = (at % n if inner * n < total else at) < self.now(f)
                found = within if found is None else found & within
        return found

    def masked(self, v: Spread, dims: Sequence[int], fill: Any) -> Any:
        """The array with ``fill`` where no elements are, along these dimensions."""
        import jax.numpy as jnp

        mask = self.mask(v.axes, dims, np.ndim(v.x))
        return v.x if mask is None else jnp.where(mask, v.x, jnp.asarray(fill, v.x.dtype))

    def mask(self, axes: Sequence[Axis], dims: Sequence[int], ndim: int) -> Any:
        found = None
        for d in dims:
            if axes[d] is not None:
                shape = [1] * ndim
                shape[d] = -1
                one = self.valid(axes[d]).reshape(shape)
                found = one if found is None else found & one
        return found

    def placed(self, index: Any, axis: Axis) -> Any:
        """Where the element of that number is in a dimension."""
        parts = factors(axis)
        if len(parts) == 1:
            return index
        out, stride = 0, 1
        rest = index
        for f in reversed(parts):
            n = self.now(f)
            n = n if type(n) is int else n.astype(index.dtype)
            out, rest, stride = out + (rest % n) * stride, rest // n, stride * self.at(f)
        return out + rest * stride  # what was out of range stays so

    def numbered(self, place: Any, axis: Axis) -> Any:
        """The number of the element at that place of a dimension."""
        parts = factors(axis)
        if len(parts) == 1:
            return place
        out, stride, rest = 0, 1, place
        for f in reversed(parts):
            n = self.now(f)
            out, rest = out + (rest % self.at(f)) * stride, rest // self.at(f)
            stride = stride * (n if type(n) is int else n.astype(place.dtype))
        return out


def factors(axis: Axis) -> tuple:
    return (axis.size,) if type(axis) is Alike else axis


def joined(axes: Sequence[Axis]) -> Axis:
    """Where elements are that are put together one by one."""
    found = None
    for a in axes:
        if a is None or a == found:
            continue
        if found is None or type(found) is Alike:
            found = a
        elif type(a) is not Alike:
            for one, other in ((a, found), (found, a)):
                if type(one) is Made:
                    raise Disorder(one.of, other)
            raise Unlike("dimensions joined in different orders meet")
    return found


def beginning(generic: Any) -> Axis:
    """Of a dimension in which elements begin at the beginning."""
    return (generic,) if type(generic) is Size else None


class Evaluation:
    """orders: how dimensions are joined, by what makes them; where nothing is said, elements begin at the beginning."""

    def __init__(self, room: Room, sizes: Any, orders: dict[Any, tuple]) -> None:
        self.room, self.sizes, self.orders = room, sizes, orders

    def made(self, of: Any, size: Size) -> tuple:
        """Where the elements of a dimension are that is being made."""
        return self.orders.get(of) or Made((size,), of)

    def own(self, v: Spread, e: Equation) -> Spread:
        """The same array as one whose elements are about to differ."""
        return Spread(v.x, tuple([
            self.made((id(e), d), a.size) if type(a) is Alike else a for d, a in enumerate(v.axes)
        ]))  # fmt: skip

    def run(self, generic: Generic, given: Sequence[Spread]) -> list[Spread]:
        env: dict[int, Spread] = dict(zip(generic.given, given, strict=True))
        for name, constant in generic.constants.items():
            env[name] = self._constant(constant)
        for e in generic.steps:
            found = self.step(e, [self._of(env, a) for a in e.ins])
            env.update(zip(e.outs, found, strict=True))
        return [self._plain(self._of(env, a)) for a in generic.outs]

    def _constant(self, x: Any) -> Spread:
        if type(x) is not Series:
            return Spread(x, (None,) * np.ndim(x))
        from jax import lax

        shape = self.room.at(x.shape)
        kind = np.dtype(np.int64) if x.dtype.kind == "b" else x.dtype
        found = lax.full(shape, x.first, kind)
        for d, step in enumerate(x.steps):
            if step:
                found += lax.broadcasted_iota(kind, shape, d) * np.asarray(step, kind)
        axes = [None if type(n) is int else (n,) if x.steps[d] else Alike(n) for d, n in enumerate(x.shape)]
        return Spread(found.astype(x.dtype), tuple(axes))

    def _of(self, env: dict, atom: Any) -> Spread:
        import jax.numpy as jnp

        if type(atom) is int:
            return env[atom]
        if atom.size is None and atom.over is None:
            return Spread(np.asarray(atom.value, atom.dtype), ())
        dtype, n, m = np.dtype(atom.dtype), self.room.now(atom.size), self.room.now(atom.over)
        if atom.over is None and atom.value == 1:
            return Spread(jnp.asarray(n).astype(dtype), ())
        wide = np.dtype(np.float64)
        value = jnp.asarray(atom.value, wide)
        value = value if n is None else value * jnp.asarray(n, wide)
        return Spread((value if m is None else value / jnp.asarray(m, wide)).astype(dtype), ())

    def _plain(self, v: Spread) -> Spread:
        if v.counts is None:
            return v
        from jax import lax

        dtype, of = v.counts
        axis = self.made((of, 0), v.axes[0][0])
        return Spread(self.room.numbered(lax.iota(dtype, self.room.extent(axis)), axis), (axis,))

    def step(self, e: Equation, ins: list[Spread]) -> list[Spread]:
        name = e.primitive.name
        how = _rules.get(name)
        if name != "reshape":
            ins = [self._plain(v) for v in ins]
        if e.plain is not None and all(a is None for v in ins for a in v.axes):
            found = e.primitive.bind(*[v.x for v in ins], **e.plain)
            found = found if e.primitive.multiple_results else [found]
            return [Spread(x, (None,) * np.ndim(x)) for x in found]
        if how is None:
            raise Unlike(f"{name} where sizes vary")
        found = how(self, e, *ins)
        return found if type(found) is list else [found]

    def bind(self, e: Equation, *xs: Any, **changes: Any) -> Any:
        return e.primitive.bind(*xs, **{k: changes.get(k, v) for k, v in e.params.items()})


Rule = Callable[..., Any]
_rules: dict[str, Rule] = {}


def rule(names: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        _rules.update(dict.fromkeys(names.split(), function))
        return function

    return register


# -- element by element ---------------------------------------------------------------------------------------------


@rule("sin cos tan sinh cosh tanh exp exp2 log log2 log1p expm1 sqrt cbrt floor ceil round square real imag conj "
       "atan2 nextafter asin acos atan asinh acosh atanh sign neg abs not is_finite rsqrt one_minus_square add add_any "
       "sub mul div rem pow integer_pow max min and or xor eq ne lt le gt ge eq_to lt_to le_to complex copy copy_p "
       "stop_gradient name population_count clz clamp shift_left shift_right_logical shift_right_arithmetic logistic "
       "convert_element_type reduce_precision select_n erf erfc erf_inv lgamma digamma polygamma igamma igammac "
       "bessel_i0e bessel_i1e polynomial random_gamma_grad mulhi")  # fmt: skip
def _elementwise(ev: Evaluation, e: Equation, *ins: Spread) -> Spread:
    ndim = len(e.shapes[0])
    axes = []
    for d in range(ndim):
        try:
            axis = joined([v.axes[d] for v in ins if len(v.axes) == ndim])
        except Disorder:
            raise
        except Unlike:  # as of rows of several texts, and those in another order
            ins = tuple([in_line(ev, v, d) if len(v.axes) == ndim else v for v in ins])
            axis = joined([v.axes[d] for v in ins if len(v.axes) == ndim])
        axes.append(axis)
    return Spread(ev.bind(e, *[v.x for v in ins]), tuple(axes))


@rule("bitcast_convert_type")
def _bitcast(ev: Evaluation, e: Equation, x: Spread) -> Spread:
    if np.dtype(e.params["new_dtype"]).itemsize != np.dtype(x.x.dtype).itemsize:
        raise Unlike("another number of bytes")
    return Spread(ev.bind(e, x.x), x.axes)


@rule("optimization_barrier")
def _barrier(ev: Evaluation, e: Equation, *ins: Spread) -> list[Spread]:
    return [Spread(x, v.axes) for x, v in zip(ev.bind(e, *[v.x for v in ins]), ins, strict=True)]


# -- shapes ---------------------------------------------------------------------------------------------------------


@rule("iota")
def _iota(ev: Evaluation, e: Equation) -> Spread:
    shape, d = e.params["shape"], e.params["dimension"]
    axes = tuple(beginning(n) if k == d else Alike(n) if type(n) is Size else None for k, n in enumerate(shape))
    if len(shape) == 1 and axes[0] is not None:
        return Spread(None, axes, (e.params["dtype"], id(e)))
    found = ev.bind(e, shape=ev.room.at(shape))
    if axes[d] is not None:
        axes = (*axes[:d], ev.made((id(e), d), shape[d]), *axes[d + 1 :])
        found = ev.room.numbered(found, axes[d])
    return Spread(found, axes)


@rule("broadcast_in_dim")
def _broadcast(ev: Evaluation, e: Equation, x: Spread) -> Spread:
    shape, where = e.params["shape"], e.params["broadcast_dimensions"]
    axes: list[Axis] = [Alike(n) if type(n) is Size else None for n in shape]
    for k, d in enumerate(where):
        if x.axes[k] is not None:
            axes[d] = x.axes[k]
    return Spread(ev.bind(e, x.x, shape=ev.room.at(shape)), tuple(axes))


@rule("reshape")
def _reshape(ev: Evaluation, e: Equation, x: Spread) -> Spread:
    import jax.numpy as jnp
    from jax import lax

    shape = e.params["new_sizes"]
    if e.params.get("dimensions") is not None:
        raise Unlike("reshape in another order")
    room = ev.room.at(shape)
    if x.counts is not None:  # the number of each element, whatever lies between them
        dtype, total, stride = np.dtype(x.counts[0]), jnp.zeros(room, x.counts[0]), 1
        axes = [ev.made((id(e), d), n) if type(n) is Size else None for d, n in enumerate(shape)]
        for d in reversed(range(len(shape))):
            place = lax.broadcasted_iota(dtype, room, d)
            total = total + (ev.room.numbered(place, axes[d]) if axes[d] is not None else place) * stride
            n = ev.room.now(shape[d])
            stride = stride * (np.asarray(n, dtype) if type(n) is int else n.astype(dtype))
        return Spread(total, tuple(axes))
    while True:
        try:
            axes = _regrouped(ev, x, shape)
        except Undivided as error:
            x = in_stretches(ev, x, error.d, error.parts)
        else:
            return Spread(jnp.reshape(x.x, room), axes)


def _seen(ev: Evaluation, n: Any) -> tuple:
    return n.seen if type(n) is Size else (n,) * len(ev.sizes.symbols[0])


def _regrouped(ev: Evaluation, x: Spread, shape: Sequence[Any]) -> tuple:
    """Where the elements are after a reshape: the factors of all dimensions, taken together anew."""
    left: list[tuple] = []  # (what was seen, whether all elements along it are the same, the axis if it is that one, d)
    for d, a in enumerate(x.axes):
        for f in (x.x.shape[d],) if a is None else factors(a):
            line = d if a is not None and len(factors(a)) == 1 else None
            left.append((_seen(ev, f), type(a) is Alike, a if type(a) is Made else None, line))
    left = [f for f in left if set(f[0]) != {1}]
    left.reverse()
    axes: list[Axis] = []
    for n in shape:
        want = _seen(ev, n)
        parts: list[Any] = []
        alike, whole = True, None
        while set(want) != {1}:
            if not left:
                raise Unlike("reshape")
            seen, same, made, line = left.pop()
            alike, whole = alike and same, made if made is not None and seen == want and not parts else None
            rest = [divmod(w, s) for w, s in zip(want, seen, strict=True)]
            if all(r == 0 for _, r in rest):  # the factor as a whole
                want = tuple([q for q, _ in rest])
                parts.append(ev.sizes.of(seen))
                continue
            over = [divmod(s, w) for s, w in zip(seen, want, strict=True)]
            if any(r for _, r in over):
                raise Unlike("reshape across dimensions")
            inner = tuple([q for q, _ in over])
            if len(set(inner)) > 1 and not same:
                if made is not None:
                    raise Disorder(made.of, (ev.sizes.of(want), ev.sizes.of(inner)))
                if line is None:
                    raise Unlike("reshape of stretches into others whose sizes vary")
                raise Undivided(line, (ev.sizes.of(want), ev.sizes.of(inner)))
            parts.append(ev.sizes.of(want))
            left.append((inner, same, None, None))
            break
        axes.append(Alike(n) if type(n) is Size and alike else whole or _canonical(ev, parts))
    return tuple(axes)


def _canonical(ev: Evaluation, parts: list) -> Axis:
    """What follows a factor without varying is part of it."""
    found: list[Any] = []
    for f in parts:
        if type(f) is int and found:
            seen = tuple([s * f for s in _seen(ev, found[-1])])
            found[-1] = ev.sizes.of(seen)
        else:
            found.append(f)
    return tuple(found) if any(type(f) is Size for f in found) else None


@rule("transpose")
def _transpose(ev: Evaluation, e: Equation, x: Spread) -> Spread:
    return Spread(ev.bind(e, x.x), tuple([x.axes[d] for d in e.params["permutation"]]))


@rule("squeeze")
def _squeeze(ev: Evaluation, e: Equation, x: Spread) -> Spread:
    gone = {d % len(x.axes) for d in e.params["dimensions"]}
    return Spread(ev.bind(e, x.x), tuple([a for d, a in enumerate(x.axes) if d not in gone]))


def starting(axis: Axis, what: str) -> None:
    """Raises where the elements of a dimension are not all at its beginning."""
    if axis is not None and len(factors(axis)) > 1:
        raise Unlike(f"{what} along dimensions that were joined")


def in_line(ev: Evaluation, v: Spread, d: int) -> Spread:
    """The same with all elements at the beginning of a dimension, also where that was joined of others."""
    import jax.numpy as jnp
    from jax import lax

    axis = v.axes[d]
    if axis is None or len(factors(axis)) == 1:
        return v
    whole = ev.sizes.of(_product(axis, len(ev.sizes.symbols[0])))
    places = ev.room.placed(lax.iota(np.int32, ev.room.at(whole)), axis)
    found = jnp.take(v.x, places, axis=d, mode="clip")
    return Spread(found, (*v.axes[:d], beginning(whole), *v.axes[d + 1 :]))


def in_stretches(ev: Evaluation, v: Spread, d: int, parts: tuple) -> Spread:
    """The same with elements that are in line where those of dimensions of these sizes are that have been joined."""
    import jax.numpy as jnp
    from jax import lax

    numbers = ev.room.numbered(lax.iota(np.int32, ev.room.extent(parts)), parts)
    found = jnp.take(v.x, numbers, axis=d, mode="clip")
    return Spread(found, (*v.axes[:d], parts, *v.axes[d + 1 :]))


def widened(x: Any, d: int, n: int, fill: Any = 0) -> Any:
    """``x`` with at least ``n`` places along a dimension."""
    import jax.numpy as jnp

    more = n - x.shape[d]
    if more <= 0:
        return x
    return jnp.pad(x, [(0, more if k == d else 0) for k in range(x.ndim)], constant_values=fill)


@rule("slice")
def _slice(ev: Evaluation, e: Equation, x: Spread) -> Spread:
    import jax.numpy as jnp
    from jax import lax

    found, axes, room = x.x, [], ev.room
    strides = e.params["strides"] or (1,) * len(x.axes)
    for d, (start, limit, stride) in enumerate(
        zip(e.params["start_indices"], e.params["limit_indices"], strides, strict=True)
    ):
        axis, n = x.axes[d], e.shapes[0][d]
        extent = room.extent(axis) if axis is not None else None
        whole = type(start) is int and start == 0 and stride == 1
        if whole and (limit is n and axis is not None and room.at(limit) == extent and is_whole(axis, limit)):
            axes.append(axis)
            continue
        if axis is None and type(limit) is int and type(start) is int:
            found = lax.slice_in_dim(found, start, limit, stride, d)
            axes.append(None)
            continue
        found = in_line(ev, Spread(found, (*axes, *x.axes[d:])), d).x
        count = room.at(n)
        if type(stride) is not int:  # as of a diagonal
            at = room.now(start) + room.now(stride) * lax.iota(np.int32, count)
            found = jnp.take(found, at, axis=d, mode="clip")
        elif type(start) is int:
            span = (count - 1) * stride + 1
            found = widened(found, d, start + span)
            found = lax.slice_in_dim(found, start, start + span, stride, d)
        else:
            at, span = room.now(start), (count - 1) * stride + 1
            found = widened(found, d, max(room.at(start), found.shape[d]) + span)
            found = lax.dynamic_slice_in_dim(found, at, span, d)
            found = lax.slice_in_dim(found, 0, span, stride, d) if stride > 1 else found
        axes.append((Alike(n) if type(axis) is Alike else (n,)) if type(n) is Size else None)
    return Spread(found, tuple(axes))


def is_whole(axis: Axis, size: Any) -> bool:
    """Whether a dimension is of that size."""
    return _product(axis, len(size.seen)) == size.seen


def _product(axis: Axis, count: int) -> tuple:
    """What was seen of the extent of a dimension, so many times."""
    seen = [f.seen if type(f) is Size else (f,) * count for f in factors(axis)]
    return tuple(map(math.prod, zip(*seen, strict=True)))


def covers(ev: Evaluation, x: Spread, d: int, size: Any) -> bool:
    """Whether a slice is all of a dimension."""
    if x.axes[d] is None:
        return type(size) is int and size == x.x.shape[d]
    return type(size) is Size and is_whole(x.axes[d], size)


@rule("fft")
def _fft(ev: Evaluation, e: Equation, x: Spread) -> Spread:
    if any(axis is not None for axis in x.axes[len(x.axes) - len(e.params["fft_lengths"]) :]):
        raise Unlike("fft where sizes vary")
    return Spread(ev.bind(e, x.x), x.axes)


@rule("pad")
def _pad(ev: Evaluation, e: Equation, x: Spread, fill: Spread) -> Spread:
    import jax.numpy as jnp
    from jax import lax

    for d in [d for d, how in enumerate(e.params["padding_config"]) if any(type(k) is not int or k for k in how)]:
        x = in_line(ev, x, d)
    found, axes, room = x.x, list(x.axes), ev.room
    fixed = []
    for d, (low, high, inside) in enumerate(e.params["padding_config"]):
        n, axis = e.shapes[0][d], axes[d]
        if all(type(k) is int and k == 0 for k in (low, high, inside)):
            fixed.append((0, 0, 0))
            continue
        if axis is None and all(type(k) is int for k in (low, high, inside)):
            fixed.append((low, high, inside))
            continue
        found = room.masked(Spread(found, tuple(axes)), (d,), fill.x) if axis is not None else found
        count = room.at(n)
        axes[d] = beginning(n)
        if type(inside) is not int:
            raise Unlike("pad")
        if type(low) is int:
            have = (found.shape[d] - 1) * (inside + 1) + 1
            fixed.append((low, count - have - low, inside))
            continue
        if inside or any(k < 0 for k in low.seen):
            raise Unlike("pad")
        shape = (*found.shape[:d], count + found.shape[d], *found.shape[d + 1 :])
        at = [np.int64(0)] * found.ndim
        at[d] = room.now(low).astype(np.int64)
        found = lax.dynamic_update_slice(jnp.full(shape, fill.x, found.dtype), found, at)
        found = lax.slice_in_dim(found, 0, count, axis=d)
        fixed.append((0, 0, 0))
    return Spread(lax.pad(found, fill.x, fixed), tuple(axes))


@rule("concatenate")
def _concatenate(ev: Evaluation, e: Equation, *parts: Spread) -> Spread:
    import jax.numpy as jnp
    from jax import lax

    d, room, n = e.params["dimension"], ev.room, e.shapes[0][e.params["dimension"]]
    parts = tuple([in_line(ev, p, d) for p in parts])
    axes = [joined([p.axes[k] for p in parts]) if k != d else None for k in range(len(e.shapes[0]))]
    moving = [p.axes[d] is not None for p in parts]
    if not any(moving):
        return Spread(ev.bind(e, *[p.x for p in parts]), tuple(axes))
    axes[d] = beginning(n)
    if not any(moving[:-1]):
        found = ev.bind(e, *[p.x for p in parts])
        return Spread(lax.slice_in_dim(widened(found, d, room.at(n)), 0, room.at(n), axis=d), tuple(axes))
    total = sum(p.x.shape[d] for p in parts)
    shape = (*parts[0].x.shape[:d], total, *parts[0].x.shape[d + 1 :])
    found = jnp.zeros(shape, parts[0].x.dtype)
    at: Any = np.int64(0)
    for p in parts:  # each overwrites what the one before it leaves behind its end
        starts = [np.int64(0)] * len(shape)
        starts[d] = at
        found = lax.dynamic_update_slice(found, p.x, starts)
        at = at + (p.x.shape[d] if p.axes[d] is None else room.now(factors(p.axes[d])[0]).astype(np.int64))
    return Spread(lax.slice_in_dim(widened(found, d, room.at(n)), 0, room.at(n), axis=d), tuple(axes))


@rule("split")
def _split(ev: Evaluation, e: Equation, x: Spread) -> list[Spread]:
    from jax import lax

    d = e.params["axis"]
    if x.axes[d] is None:
        return [Spread(y, x.axes) for y in ev.bind(e, x.x)]
    starting(x.axes[d], "split")
    found, at, room = [], np.int64(0), ev.room
    sizes = e.params["sizes"]
    wide = widened(x.x, d, x.x.shape[d] + max(room.at(n) for n in sizes))
    for n in sizes:
        y = lax.dynamic_slice_in_dim(wide, at, room.at(n), d)
        found.append(Spread(y, tuple([beginning(n) if k == d else a for k, a in enumerate(x.axes)])))
        at = at + (n if type(n) is int else room.now(n).astype(np.int64))
    return found


@rule("stack")
def _stack(ev: Evaluation, e: Equation, *parts: Spread) -> Spread:
    axes = [joined(each) for each in zip(*[p.axes for p in parts], strict=True)]
    axes.insert(e.params["axis"], None)
    return Spread(ev.bind(e, *[p.x for p in parts]), tuple(axes))


@rule("unstack")
def _unstack(ev: Evaluation, e: Equation, x: Spread) -> list[Spread]:
    d = e.params["axis"]
    if x.axes[d] is not None:
        raise Unlike("unstack of a dimension that varies")
    return [Spread(y, x.axes[:d] + x.axes[d + 1 :]) for y in ev.bind(e, x.x)]


@rule("rev")
def _rev(ev: Evaluation, e: Equation, x: Spread) -> Spread:
    import jax.numpy as jnp
    from jax import lax

    for d in e.params["dimensions"]:
        x = in_line(ev, x, d)
    found = x.x
    for d in e.params["dimensions"]:
        axis = x.axes[d]
        if axis is None:
            found = lax.rev(found, (d,))
        elif type(axis) is not Alike:
            n = ev.room.now(axis[0])
            places = lax.iota(np.int32, found.shape[d])
            found = jnp.take(found, jnp.where(places < n, n - 1 - places, places), axis=d, mode="clip")
    return Spread(found, x.axes)


def evaluate(
    generic: Generic, given: Sequence[Spread], room: Room, sizes: Any, orders: dict[Any, tuple]
) -> list[Spread]:
    """The results on arrays with room.  Raises Unlike for what has no rule.

    orders: how dimensions have to be joined, as far as earlier evaluations have shown; Again asks for one more.
    """
    try:
        return Evaluation(room, sizes, orders).run(generic, given)
    except Disorder as error:
        if error.of in orders:
            raise
        orders[error.of] = error.wanted
        raise Again("dimensions were joined in another order") from error
