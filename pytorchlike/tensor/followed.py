"""Random operations with PyTorch's numbers: drawn by the host when the operation is called, see ``twister``.

What is nothing but numbers (``randn``, ``uniform_``) is a host array at once.  Other operations (``dropout``,
``multinomial``) are recorded as ever, and take what has been drawn for them in the place of a key.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import numpy as np

from ..engine import Op, Value, concrete, local, make_value
from ..engine import record as record_call
from ..engine.meta import INTERIOR
from ..ops._random import Draws
from ..ops._table import Key, OpDef, Sizes, default_float
from . import random
from ._views import lying
from .device import place_for
from .lying import order_in_memory
from .twister import FACTORIES, FILLS, FLOATING, INTEGRAL, Twister


class Drawn(NamedTuple):
    """An operation that takes numbers which have been drawn, and these, in the order of its last arguments."""

    op: Op
    arrays: tuple[Value, ...]


def begin(
    entry: OpDef, inplace: bool, static: tuple, dynamic: tuple, bound: dict[str, Any], generator: Any
) -> Value | tuple[Value, ...] | Drawn | None:
    """The results of a call if they can be told, what to record otherwise; None: our own numbers are all there is.

    bound: the arguments by name, a dtype as NumPy's;  generator: a ``Generator``, or None for the default one.
    """
    source = random.default_generator if generator is None else generator
    if not source.follows() or local.trace.nested:
        return None
    cpu = place_for("cpu")
    found = _made(entry, inplace, static, bound, source, cpu)
    if found is not None:
        return found
    asked, reads = _asked(entry, inplace, static, dynamic, cpu)
    if asked is None:
        return None
    told = [bound[name].detach().double().numpy() for name in reads]
    order = order_in_memory(bound["input"]) if entry.name in _LIKE_INPUT else None
    draws = source.draw(lambda twister: [_draw(twister, told, order, *what) for what in asked])
    drawn = Drawn(entry.drawn(len(draws), inplace), tuple([concrete(a, cpu) for a in draws]))
    # what was read may have executed what the arguments rest on: they have other places now
    return record_call(drawn.op, static, (*dynamic, *drawn.arrays)) if told else drawn


def record(entry: OpDef, inplace: bool, static: tuple, dynamic: tuple, bound: dict[str, Any], generator: Any) -> Any:
    """The results of a call, by PyTorch's numbers where they are followed and to be had."""
    if random.following:
        dtype = next((s for p, s in zip(_statics(entry), static, strict=False) if p == "dtype"), None)
        found = begin(entry, inplace, static, dynamic, {**bound, "dtype": dtype}, generator)
        if type(found) is Drawn:
            return record_call(found.op, static, (*dynamic, *found.arrays))
        if found is not None:
            return found
    return record_call(entry.op_inplace if inplace else entry.op, static, dynamic, random.next_key(generator))


def _made(
    entry: OpDef, inplace: bool, static: tuple, bound: dict[str, Any], source: random.Generator, cpu: Any
) -> Value | None:
    """The result as a host array; None if it has to be recorded."""
    if entry.factory:
        make = FACTORIES.get(entry.name)
        if make is None or static[-1] is not cpu or min(bound.get("size") or (0,)) < 0:
            return None  # the operation says what is wrong
        default = default_float()
        data = source.draw(lambda twister: make(twister, bound, default))
        return None if data is None else concrete(data, cpu)
    fill = FILLS.get(entry.name)
    target = bound[entry.params[0].name]
    meta = target._get().meta
    if fill is None or not inplace or meta.place is not cpu or meta.grad == INTERIOR or meta.inference:
        return None
    if meta.dtype not in _FILLED or any(hasattr(bound[p.name], "_value") for p in entry.params[1:]
                                             if p.kind is not Key):  # fmt: skip
        return None
    if meta.dtype.kind in "biu" and entry.name not in INTEGRAL:
        return None  # the operation says what is wrong
    plain = target.is_contiguous()
    data = source.draw(lambda twister: fill(twister, meta.size, meta.dtype, {**bound, "_plain": plain}))
    if data is None:
        return None
    return make_value(meta, _laid_out(data, meta.shape, lying(target)))


def _laid_out(data: np.ndarray, shape: tuple[int, ...], order: list[int] | None) -> np.ndarray:
    """Numbers drawn one after the other as an array of dims that lie in memory in that order, outermost first."""
    if order is None:
        return data.reshape(shape)
    return np.ascontiguousarray(data.reshape([shape[d] for d in order]).transpose(np.argsort(order)))


_FILLED = FLOATING | frozenset(map(np.dtype, ("int8", "uint8", "int16", "int32", "int64", "bool")))


@functools.cache
def _statics(entry: OpDef) -> tuple[str, ...]:
    return tuple([p.name for p in entry.params if p.kind is None or p.kind is Sizes])


#: Operations that draw for some elements only, which elements their data tells.
_OTHERWISE = frozenset(("rrelu",))


#: Operations that draw for what PyTorch makes like their input: in the order in which its elements lie in memory.
_LIKE_INPUT = frozenset(("dropout", "alpha_dropout"))


#: Kinds of numbers whose parameters are data, which has to be read: arguments of the operation, by position.
_OF_DATA = {"gamma": (0,), "poisson": (0,), "binomial": (0, 1)}


def _asked(
    entry: OpDef, inplace: bool, static: tuple, dynamic: tuple, cpu: Any
) -> tuple[list | None, tuple[str, ...]]:
    """What the operation draws, see ``Draws.asked``, and the arguments to read for it; None if it cannot be told."""
    if entry.name in _OTHERWISE or (entry.factory and static[-1] is not cpu):
        return None, ()
    key = (entry, inplace, static, local.trace.mode, *[v.meta if type(v) is Value else v for v in dynamic])
    found = _known.get(key)
    if found is None:
        while len(_known) > 4096:
            del _known[next(iter(_known))]
        metas = [v.meta for v in dynamic if type(v) is Value]
        shapes = tuple([
            (v.meta.shape, v.meta.dtype) if type(v) is Value else v[1] if type(v) is tuple else v for v in dynamic
        ])  # fmt: skip
        asked = _probe(entry, inplace, static, shapes) if all(m.place is cpu for m in metas) else None
        places = {place for kind, *_ in asked or () for place in _OF_DATA.get(kind, ())}
        found = _known[key] = asked, tuple([entry.params[place].name for place in sorted(places)])
    return found


_known: dict[tuple, tuple[list | None, tuple[str, ...]]] = {}


def _probe(entry: OpDef, inplace: bool, static: tuple, shapes: tuple) -> list | None:
    draws = Draws()
    call = entry._call_inplace if inplace else entry._call
    arrays = [jax.ShapeDtypeStruct(*s) for s in shapes if type(s) is tuple]

    def body(*given: Any) -> Any:
        rest = iter(given)
        return call(static, (*[next(rest) if type(s) is tuple else s for s in shapes], draws))

    try:
        with jax.enable_x64(True):
            jax.eval_shape(body, *arrays)
    except Exception:  # the operation is recorded all the same, and says what is wrong
        return None
    return draws.asked or None


def _draw(
    twister: Twister,
    told: list[np.ndarray],
    order: list[int] | None,
    kind: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    p: float,
) -> np.ndarray:
    n = math.prod(shape)
    if kind in _OF_DATA:
        found = getattr(twister, kind)(*[np.broadcast_to(a, shape) for a in told]).astype(dtype)
    elif kind == "mask":
        found = twister.mask(n, p)
    elif kind == "uniform":
        found = twister.uniform(n, dtype)
    elif kind == "normal":
        found = twister.normal(n, dtype)
    else:
        found = twister.exponential(n).astype(dtype)
    return _laid_out(found, shape, order)
