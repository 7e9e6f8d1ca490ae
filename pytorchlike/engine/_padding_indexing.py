"""Indices, loops and branches on arrays with room, see ``padding``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._primitives import scanned
from .generic import Equation, Generic, Size, Unlike
from .padding import Axis, Evaluation, Spread, beginning, covers, factors, in_line, joined, rule, starting, widened


def _indices(
    ev: Evaluation, at: Any, into: Sequence[int], axes: Sequence[Axis], sizes: Sequence[Any], clips: bool
) -> Any:
    """Indices (…, k) into dimensions some of which vary: where the elements are."""
    import jax.numpy as jnp

    if not any(axes[d] is not None for d in into):
        return at
    columns = []
    for k, d in enumerate(into):
        i = at[..., k]
        if axes[d] is not None:
            if sizes[d] != 1:
                starting(axes[d], "indices")
            if clips:
                n: Any = 1
                for f in factors(axes[d]):
                    n = n * ev.room.now(f)
                i = jnp.clip(i, 0, (n - ev.room.at(sizes[d])).astype(i.dtype))
            i = ev.room.placed(i, axes[d])
        columns.append(i)
    return jnp.stack(columns, -1)


@rule("gather")
def _gather(ev: Evaluation, e: Equation, x: Spread, at: Spread) -> Spread:
    numbers, sizes = e.params["dimension_numbers"], e.params["slice_sizes"]
    inside = [d for d in range(len(x.axes)) if d not in numbers.collapsed_slice_dims
              and d not in numbers.operand_batching_dims]  # fmt: skip
    moved = [d for d in numbers.start_index_map if not covers(ev, x, d, sizes[d])]
    axes: list[Axis] = [None] * len(e.shapes[0])
    for d, out in zip(inside, numbers.offset_dims, strict=True):
        if covers(ev, x, d, sizes[d]):
            axes[out] = x.axes[d]
        elif type(sizes[d]) is not int:
            raise Unlike("indexing of windows that vary")
    rest = [k for k in range(len(e.shapes[0])) if k not in numbers.offset_dims]
    for out, a in zip(rest, at.axes[:-1], strict=True):
        axes[out] = a
    for d, k in zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True):
        joined([x.axes[d], at.axes[k]])
        out = rest[k]
        axes[out] = joined([axes[out], x.axes[d]])
    clips = "FILL" not in str(e.params["mode"])
    where = _indices(ev, at.x, numbers.start_index_map, [a if d in moved else None for d, a in enumerate(x.axes)],
                     sizes, clips)  # fmt: skip
    room = tuple([x.x.shape[d] if covers(ev, x, d, n) else n for d, n in enumerate(sizes)])
    return Spread(ev.bind(e, x.x, where, slice_sizes=room, indices_are_sorted=False), tuple(axes))


@rule("scatter scatter_add scatter-add scatter-mul scatter-min scatter-max scatter_mul scatter_min scatter_max")
def _scatter(ev: Evaluation, e: Equation, x: Spread, at: Spread, new: Spread) -> Spread:
    import jax.numpy as jnp

    x = ev.own(x, e)
    numbers, room, name = e.params["dimension_numbers"], ev.room, e.primitive.name
    inside = [d for d in range(len(x.axes)) if d not in numbers.inserted_window_dims
              and d not in numbers.operand_batching_dims]  # fmt: skip
    adds = name.endswith("add")
    axes = list(x.axes)
    out = new.x
    windows = dict(zip(inside, numbers.update_window_dims, strict=True))
    cut = []
    for d, k in windows.items():
        n = ev.room.extent(new.axes[k]) if new.axes[k] is not None else new.x.shape[k]
        if n == x.x.shape[d] and (axes[d] is not None or new.axes[k] is None):
            axes[d] = joined([axes[d], new.axes[k]])
        elif new.axes[k] is not None:
            if not adds:
                raise Unlike("writing of windows that vary")
            cut.append(k)
    out = room.masked(Spread(out, new.axes), cut, 0)
    rest = [k for k in range(len(new.axes)) if k not in numbers.update_window_dims]
    for d, k in zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True):
        axes[d] = joined([axes[d], new.axes[rest[k]], at.axes[k]])
    sizes = [new.x.shape[windows[d]] if d in windows else 1 for d in range(len(axes))]
    clips = "CLIP" in str(e.params["mode"])
    whole = [windows.get(d) is not None and sizes[d] == x.x.shape[d] for d in range(len(axes))]
    where = _indices(ev, at.x, numbers.scatter_dims_to_operand_dims,
                     [None if w else a for a, w in zip(axes, whole, strict=True)], sizes, clips)  # fmt: skip
    by = [joined([new.axes[k], at.axes[j]]) for j, k in enumerate(rest)]
    mask = room.mask([*by, None], range(len(by)), len(by) + 1)
    if mask is not None:
        if clips:
            if not adds:
                raise Unlike("writing at clipped indices")
            shape = [1] * out.ndim
            for j, k in enumerate(rest):
                shape[k] = mask.shape[j]
            out = jnp.where(mask[..., 0].reshape(shape), out, 0)
            where = jnp.where(mask, where, 0)
        else:
            where = jnp.where(mask, where, np.iinfo(np.dtype(where.dtype)).max // 2)  # out of range: left out
    changes = {"indices_are_sorted": False, "unique_indices": False}
    return Spread(ev.bind(e, x.x, where, out, **changes), tuple(axes))


@rule("dynamic_slice")
def _dynamic_slice(ev: Evaluation, e: Equation, x: Spread, *at: Spread) -> Spread:
    import jax.numpy as jnp
    from jax import lax

    for d, n in enumerate(e.params["slice_sizes"]):
        x = x if covers(ev, x, d, n) else in_line(ev, x, d)
    found, axes, starts, room = x.x, [], [], ev.room
    sizes = []
    for d, n in enumerate(e.params["slice_sizes"]):
        i = at[d].x
        if covers(ev, Spread(found, x.axes), d, n):
            axes.append(x.axes[d])
            starts.append(jnp.zeros_like(i))
            sizes.append(found.shape[d])
            continue
        if x.axes[d] is not None:
            whole = room.now(factors(x.axes[d])[0])
        else:
            whole = found.shape[d]
        starts.append(jnp.clip(i, 0, jnp.asarray(whole - room.now(n)).astype(i.dtype)))
        sizes.append(room.at(n))
        if type(n) is Size:
            found = widened(found, d, found.shape[d] + room.at(n))
        axes.append((n,) if type(n) is Size else None)
    return Spread(lax.dynamic_slice(found, starts, sizes), tuple(axes))


@rule("dynamic_update_slice")
def _dynamic_update(ev: Evaluation, e: Equation, x: Spread, new: Spread, *at: Spread) -> Spread:
    import jax.numpy as jnp
    from jax import lax

    x = ev.own(x, e)
    for d in range(len(x.axes)):
        if x.axes[d] != new.axes[d]:
            x, new = in_line(ev, x, d), in_line(ev, new, d)
    room, starts, axes = ev.room, [], list(x.axes)
    found, cut = x.x, []
    shape = x.x.shape
    for d in range(len(axes)):
        i = at[d].x
        a, b = axes[d], new.axes[d]
        if shape[d] == new.x.shape[d] if a is None and b is None else a == b:
            starts.append(jnp.zeros_like(i))
            continue
        whole = shape[d] if a is None else room.now(factors(a)[0])
        if b is not None:
            cut.append(d)
            found = widened(found, d, shape[d] + new.x.shape[d])
        part = new.x.shape[d] if b is None else room.now(factors(b)[0])
        starts.append(jnp.clip(i, 0, jnp.asarray(whole - part).astype(i.dtype)))
    update = new.x
    if cut:
        mask = room.mask(new.axes, cut, update.ndim)
        update = jnp.where(mask, update, lax.dynamic_slice(found, starts, update.shape))
    found = lax.dynamic_update_slice(found, update, starts)
    return Spread(lax.slice(found, (0,) * len(shape), shape), tuple(axes))


# -- loops and branches -----------------------------------------------------------------------------------------------


def _settle(state: dict[str, Any], trace: Callable[[], Any]) -> None:
    """Find where the elements of a loop's state are: as they go in and as they come out ("new", by ``trace``)."""
    for _ in range(4):
        trace()
        both = [tuple(map(joined, zip(a, b, strict=True))) for a, b in zip(state["carry"], state["new"], strict=True)]
        if both == state["carry"]:
            return
        state["carry"] = both
    raise Unlike("a loop whose state changes its order")


@rule("scan")
def _scan(ev: Evaluation, e: Equation, *ins: Spread) -> list[Spread]:
    import jax
    import jax.numpy as jnp
    from jax import lax

    p, room = e.params, ev.room
    body, length = p["jaxpr"], p["length"]
    first, many = scanned(p)
    consts, carried, xs = ins[:first], list(ins[first : first + many]), ins[first + many :]
    for x in xs:
        starting(x.axes[0], "a loop")
    moving = type(length) is Size
    count = room.at(length)
    state = {"carry": [v.axes for v in carried], "outs": []}

    def step(carry: list, taken: list) -> tuple:
        place, *each = taken
        given = [Spread(c, a) for c, a in zip(carry, state["carry"], strict=True)]
        found = ev.run(body, [*consts, *given, *[Spread(y, v.axes[1:]) for y, v in zip(each, xs, strict=True)]])
        new, outs = found[: len(carry)], found[len(carry) :]
        state["new"], state["outs"] = [v.axes for v in new], [v.axes for v in outs]
        values = [v.x for v in new]
        if moving:
            values = [jnp.where(place < room.now(length), a, b) for a, b in zip(values, carry, strict=True)]
        return values, [v.x for v in outs]

    start = [v.x for v in carried]
    taken = [lax.iota(np.int32, count), *[v.x for v in xs]]
    one = [jax.ShapeDtypeStruct(np.shape(t)[1:], t.dtype) for t in taken]
    _settle(state, lambda: jax.eval_shape(step, start, one))
    carry, outs = lax.scan(step, start, taken, length=count, reverse=p["reverse"], unroll=p.get("unroll", 1))
    lead = beginning(length)
    return [
        *[Spread(c, a) for c, a in zip(carry, state["carry"], strict=True)],
        *[Spread(y, (lead, *a)) for y, a in zip(outs, state["outs"], strict=True)],
    ]


@rule("while")
def _while(ev: Evaluation, e: Equation, *ins: Spread) -> list[Spread]:
    import jax
    from jax import lax

    p = e.params
    first, second = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    before, inside, carried = ins[:first], ins[first:second], ins[second:]
    state: dict[str, Any] = {"carry": [v.axes for v in carried]}

    def given(carry: Sequence[Any]) -> list[Spread]:
        return [Spread(c, a) for c, a in zip(carry, state["carry"], strict=True)]

    def body(carry: Sequence[Any]) -> list:
        new = ev.run(p["body_jaxpr"], [*inside, *given(carry)])
        state["new"] = [v.axes for v in new]
        return [v.x for v in new]

    def goes_on(carry: Sequence[Any]) -> Any:
        (found,) = ev.run(p["cond_jaxpr"], [*before, *given(carry)])
        return found.x

    start = [v.x for v in carried]
    _settle(state, lambda: jax.eval_shape(body, start))
    return given(lax.while_loop(goes_on, body, start))


@rule("cond")
def _cond(ev: Evaluation, e: Equation, which: Spread, *ins: Spread) -> list[Spread]:
    from jax import lax

    told: list[list] = []

    def branch(generic: Generic) -> Callable[..., list]:
        def run(*xs: Any) -> list:
            found = ev.run(generic, [Spread(x, v.axes) for x, v in zip(xs, ins, strict=True)])
            told.append([v.axes for v in found])
            return [v.x for v in found]

        return run

    found = lax.switch(which.x, [branch(g) for g in e.params["branches"]], *[v.x for v in ins])
    axes = [tuple(map(joined, zip(*each, strict=True))) for each in zip(*told, strict=True)]
    return [Spread(x, a) for x, a in zip(found, axes, strict=True)]


