"""Random operations with PyTorch's numbers: drawn by the host when the operation is called, see ``twister``.

What is nothing but numbers (``randn``, ``uniform_``) is a host array at once.  Other operations (``dropout``,
``multinomial``) are recorded as ever, and take what has been drawn for them in the place of a key.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import numpy as np

from ..engine import Value, concrete, local, make_value
from ..engine import record as record_call
from ..engine.meta import INTERIOR
from ..engine.op import current_mode
from ..ops._random import Draws
from ..ops._table import Key, OpDef, Sizes, default_float
from . import random
from .device import place_for
from .twister import FACTORIES, FILLS, INTEGRAL, Twister


def record(entry: OpDef, inplace: bool, static: tuple, dynamic: tuple, bound: dict[str, Any], generator: Any) -> Any:
    """The results of a call; by our own numbers where PyTorch's are not to be had."""
    from ._wrap import next_key

    source = random.default_generator if generator is None else generator
    if source.follows() and not local.trace.nested:
        found = _made(entry, inplace, static, bound, source)
        if found is not None:
            return found
        asked = _asked(entry, inplace, static, dynamic)
        if asked is not None:
            told = _told(entry, asked, bound)
            draws = source.draw(lambda twister: [_draw(twister, told, *what) for what in asked])
            arrays = tuple([concrete(a, place_for("cpu")) for a in draws])
            return record_call(entry.drawn(len(arrays), inplace), static, (*dynamic, *arrays), ())
    op = entry.op_inplace if inplace else entry.op
    return record_call(op, static, dynamic, next_key(generator))


def _made(entry: OpDef, inplace: bool, static: tuple, bound: dict[str, Any], source: random.Generator) -> Any:
    """The result as a host array; None if it has to be recorded."""
    cpu = place_for("cpu")
    if entry.factory:
        make = FACTORIES.get(entry.name)
        if make is None or static[-1] is not cpu:
            return None
        default = default_float()
        plain = dict(bound)
        plain["dtype"] = next((s for p, s in zip(_statics(entry), static, strict=False) if p == "dtype"), None)
        data = source.draw(lambda twister: make(twister, plain, default))
        return None if data is None else concrete(data, cpu)
    fill = FILLS.get(entry.name)
    target = bound[entry.params[0].name]
    meta = target._get().meta
    if fill is None or not inplace or meta.place is not cpu or meta.grad == INTERIOR or meta.inference:
        return None
    if meta.dtype.name not in _FILLED or any(hasattr(bound[p.name], "_value") for p in entry.params[1:]
                                             if p.kind is not Key):  # fmt: skip
        return None
    if meta.dtype.kind in "biu" and entry.name not in INTEGRAL:
        return None  # the operation says what is wrong
    plain = target.is_contiguous()
    data = source.draw(lambda twister: fill(twister, meta.size, meta.dtype, {**bound, "_plain": plain}))
    if data is None:
        return None
    if plain:
        return make_value(meta, data.reshape(meta.shape))
    strides = target.stride()  # elements are drawn in the order in which they lie in memory
    dims = sorted(range(len(strides)), key=lambda d: -strides[d])
    lying = data.reshape([meta.shape[d] for d in dims])
    return make_value(meta, np.ascontiguousarray(lying.transpose(np.argsort(dims))))


_FILLED = frozenset("float16 bfloat16 float32 float64 int8 uint8 int16 int32 int64 bool".split())


@functools.cache
def _statics(entry: OpDef) -> tuple[str, ...]:
    return tuple([p.name for p in entry.params if p.kind is None or p.kind is Sizes])


#: Operations that draw for some elements only, which elements their data tells.
_OTHERWISE = frozenset(("rrelu",))


def _asked(entry: OpDef, inplace: bool, static: tuple, dynamic: tuple) -> list | None:
    """What the operation draws, see ``Draws.asked``; None if it cannot be told."""
    cpu = place_for("cpu")
    if entry.name in _OTHERWISE or (entry.factory and static[-1] is not cpu):
        return None
    key = (entry, inplace, static, current_mode(), *[v.meta if type(v) is Value else v for v in dynamic])
    if key not in _known:
        while len(_known) > 4096:
            del _known[next(iter(_known))]
        metas = [v.meta for v in dynamic if type(v) is Value]
        shapes = tuple([
            (v.meta.shape, v.meta.dtype) if type(v) is Value else v[1] if type(v) is tuple else v for v in dynamic
        ])  # fmt: skip
        _known[key] = _probe(entry, inplace, static, shapes) if all(m.place is cpu for m in metas) else None
    return _known[key]


_known: dict[tuple, list | None] = {}


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


#: Kinds of numbers whose parameters are data, which has to be read: arguments of the operation, by position.
_OF_DATA = {"gamma": (0,), "poisson": (0,), "binomial": (0, 1)}


def _told(entry: OpDef, asked: list, bound: dict[str, Any]) -> list[np.ndarray]:
    """The parameters of what is drawn."""
    places = {place for kind, *_ in asked for place in _OF_DATA.get(kind, ())}
    return [bound[entry.params[place].name].detach().double().numpy() for place in sorted(places)]


def _draw(
    twister: Twister, told: list[np.ndarray], kind: str, shape: tuple[int, ...], dtype: np.dtype, p: float
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
    return found.reshape(shape)
