"""Weighted sums of a few places along an axis: linear maps whose transposes are of the same kind.

Resampling an image reads fixed places with fixed weights.  What JAX makes of it backwards adds each element of the
cotangent to its place, one after the other; but which results read a place is known as well, so that the gradient is a
few weighted reads again, and so are gradients of gradients.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

from ..engine._primitives import LINEAR
from ..engine.stored import LARGE, once

#: A place that so many times more results read than others do (an edge that is repeated) is added to instead.
_LOPSIDED = 4


class Reads:
    """Result i is the sum over k of ``weights[i, k]`` times the element at ``places[i, k]`` of an axis of ``size``.

    What has weight 0 is not read, whatever it is: infinity stays out of results that are not concerned with it.
    Equal ones are one and the same for JAX's caches.
    """

    def __init__(self, size: int, places: np.ndarray, weights: np.ndarray | None = None) -> None:
        weights = np.ones(places.shape) if weights is None else weights
        used = (weights != 0).any(0)
        self.size, self.places, self.weights = size, np.int32(places[:, used]), weights[:, used]
        self._key = (size, self.places.shape, self.places.tobytes(), self.weights.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reads) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @functools.cached_property
    def transposed(self) -> Reads | None:
        """The map that takes cotangents of the results to those of the axis; None if few places have most readers."""
        result, column = np.nonzero(self.weights)
        place = self.places[result, column]
        order = np.argsort(place, kind="stable")
        counts = np.bincount(place, minlength=self.size)
        most = int(counts.max(initial=0))
        if most * self.size > _LOPSIDED * self.places.size:
            return None
        result, place, weight = result[order], place[order], self.weights[result, column][order]
        start = np.cumsum(counts) - counts
        places, weights = np.zeros((self.size, most), np.int32), np.zeros((self.size, most))
        nth = np.arange(len(order)) - start[place]
        places[place, nth], weights[place, nth] = result, weight
        return Reads(len(self.places), places, weights)


def weighted_reads(x: jax.Array, axis: int, reads: Reads) -> jax.Array:
    """The axis of x replaced by what ``reads`` makes of it, in x's dtype."""
    return _bind(x, axis, reads, False)


def _bind(x: Any, axis: int, reads: Reads, adds: bool) -> Any:
    return _linear.bind(x, axis=axis, reads=reads, adds=adds, jaxpr=_traced(axis, reads, adds, x.shape, x.dtype))


@functools.lru_cache(256)
def _traced(axis: int, reads: Reads, adds: bool, shape: tuple[int, ...], dtype: Any) -> Any:
    function = functools.partial(_added if adds else _read, axis, reads)
    return jax.make_jaxpr(function)(jax.ShapeDtypeStruct(shape, dtype))


def _read(axis: int, reads: Reads, x: Any) -> Any:
    shape = (-1, *(1,) * (x.ndim - 1 - axis))
    total = jnp.zeros((*x.shape[:axis], len(reads.places), *x.shape[axis + 1 :]), x.dtype)
    for k, (places, weights) in enumerate(zip(reads.places.T, reads.weights.T, strict=True)):
        term = jnp.take(x, places, axis, mode="clip")
        if (weights != 1).any():
            term = term * jnp.asarray(weights, x.dtype).reshape(shape)
        if not weights.all():
            term = jnp.where((weights == 0).reshape(shape), 0, term)
        total = total + term if k else term
    return total


def _added(axis: int, reads: Reads, y: Any) -> Any:
    """The transpose of ``reads``, by adding to places."""
    shape = (*y.shape[:axis], reads.size, *y.shape[axis + 1 :])
    return jax.linear_transpose(functools.partial(_read, axis, reads), jax.ShapeDtypeStruct(shape, y.dtype))(y)[0]


def _transpose(cotangent: Any, x: Any, *, axis: int, reads: Reads, adds: bool, jaxpr: Any) -> list:
    del x, jaxpr
    if adds:
        return [_bind(cotangent, axis, reads, False)]
    back = reads.transposed
    return [_bind(cotangent, axis, reads, True) if back is None else _bind(cotangent, axis, back, False)]


def _batched(args: Any, dims: Any, *, axis: int, reads: Reads, adds: bool, jaxpr: Any) -> tuple[Any, int]:
    del jaxpr
    return _bind(jnp.moveaxis(args[0], dims[0], 0), axis + 1, reads, adds), 0


def _evaluate(x: Any, *, jaxpr: Any, **params: Any) -> Any:
    del params
    return jaxpr_as_fun(jaxpr)(x)[0]


def _lowered(x: Any, *, reads: Reads, **params: Any) -> Any:
    # XLA would compute what is read anew for each read, through all axes that are resampled one after the other.
    several = reads.places.shape[1] > 1 and x.size >= LARGE and jnp.issubdtype(x.dtype, jnp.floating)
    function = functools.partial(_evaluate, reads=reads, **params)
    return once(function, x) if several else function(x)


_linear = Primitive(LINEAR)
_linear.def_impl(_evaluate)
_linear.def_abstract_eval(lambda x, *, jaxpr, **params: jaxpr.out_avals[0])
ad.deflinear2(_linear, _transpose)
batching.primitive_batchers[_linear] = _batched
mlir.register_lowering(_linear, mlir.lower_fun(_lowered, multiple_results=False))
