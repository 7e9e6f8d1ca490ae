"""Where long chains of cheap operations are stored in between.

XLA:CPU computes an elementwise chain again in every kernel that uses its end.  A residual stream never ends: each block
adds to it, so each kernel of a deep network may go back to the first block, masks of dropped paths and all; a Swin
transformer took twice PyTorch's time so, and half a minute to compile.  XLA drops barriers before it decides what to
fuse, but not branches; so the sum of two large arrays is put through a branch that is always taken when what it rests
on, back to results that are stored anyway, has become long.

Computed again, a number may differ in its last bit: one kernel rounds a product before it adds, another does not.  So
what an operation compares with its own largest element is stored, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .evaluators import Inline
from .layout import ChannelsLast, Last
from .trie import Call

#: Operations that a sum rests on from which it is stored, what a random one counts, and the sum's elements.
LONG, RANDOM, LARGE = 8, 6, 4096


class Stored(ChannelsLast):
    """Evaluates inside a trace of JAX for the CPU.  large: elements from which a sum is stored."""

    def __init__(self, large: int = LARGE) -> None:
        self._large = large
        #: by the array's identity, the array and how many operations it rests on; of those that are stored, nothing
        self._rests: dict[int, tuple[Any, int]] = {}
        #: by the identity of arrays that had to be stored after all, what holds them now
        self._now: dict[int, Any] = {}
        #: what the arguments of taped calls rest on: the way back takes them again
        self._taken: dict[Call, int] = {}

    def _on(self, arrays: tuple) -> int:
        found = [self._rests[id(a)] for a in arrays if id(a) in self._rests]
        return sum({id(a): n for a, n in found}.values())

    def _note(self, array: Any, count: int) -> Any:
        self._rests[id(array)] = array, count
        return array

    def plain(self, array: Any) -> Any:
        found = super().plain(array)
        if found is not array and id(array) in self._rests:
            self._note(found, self._rests[id(array)][1])
        return found

    def forward(self, call: Call, arrays: tuple) -> tuple[tuple, tuple]:
        arrays = settled(call, arrays, self._rests, self._now)
        outs, flags = super().forward(call, arrays)
        return self._noted(call, arrays, outs), flags

    def forward_taped(self, call: Call, arrays: tuple) -> tuple[tuple, tuple, Any]:
        arrays = settled(call, arrays, self._rests, self._now)
        outs, flags, tape = super().forward_taped(call, arrays)
        self._taken[call] = self._on(arrays)
        return self._noted(call, arrays, outs), flags, tape

    def _noted(self, call: Call, arrays: tuple, outs: tuple) -> tuple:
        op = call.op
        if op.heavy or op.spliced is not None:
            return outs
        count = self._on(arrays) + (RANDOM if getattr(op.info, "random", False) else 1)
        if count >= LONG and len(outs) == 1 and sum(m.shape == call.outs[0].shape for m in call.metas) >= 2:
            return (self._stored(outs[0], count),)
        return tuple([self._note(o, count) for o in outs])

    def pull(self, call: Call, tape: Any, cotangents: tuple) -> tuple:
        grads = super().pull(call, tape, cotangents)
        if call.op.heavy or call.op.spliced is not None:
            return grads
        count = self._on(cotangents) + self._taken.get(call, 0) + 1
        return tuple([self._note(g, count) for g in grads])

    def add(self, a: Any, b: Any) -> Any:
        count = self._on((a, b)) + 1
        found = super().add(a, b)
        return self._stored(found, count) if count >= LONG else self._note(found, count)

    def _stored(self, array: Any, count: int) -> Any:
        inner = array.array if type(array) is Last else array
        small = inner.size < self._large or not np.issubdtype(inner.dtype, np.floating)
        return self._note(array, count) if small else _held(array)

    @property
    def inside(self) -> Inline:
        return Settled()


class Settled(Inline):
    """Evaluates the rounds of a loop, and pieces of graphs that never come again: see :func:`settled`."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._now: dict[int, Any] = {}

    def forward(self, call: Call, arrays: tuple) -> tuple[tuple, tuple]:
        outs, flags = super().forward(call, settled(call, arrays, self._made, self._now))
        self._made.update((id(o), o) for o in outs)
        return outs, flags


def settled(call: Call, arrays: tuple, made: dict[int, Any], now: dict[int, Any]) -> tuple:
    """What a call takes, with its first argument stored if it is compared with what is taken from it; there, and from
    there on: ``x == x.max()``.

    made: by identity, what was computed and not stored;  now: of such, what is stored by now.
    """
    if getattr(call.op.info, "exact", False):
        first = id(arrays[0])
        if first in made and first not in now:
            now[first] = _held(arrays[0])
    return tuple([now.get(id(a), a) for a in arrays]) if now else arrays


def _held(array: Any) -> Any:
    inner = array.array if type(array) is Last else array
    if not inner.size or not np.issubdtype(inner.dtype, np.floating):
        return array
    kept = once(lambda x: x, inner)
    return Last(kept) if type(array) is Last else kept


def once(function: Callable[..., Any], *arrays: Any) -> Any:
    """``function(*arrays)`` of floating arrays, stored: in a branch that is always taken, which XLA cannot know."""
    import jax
    import jax.numpy as jnp

    number = arrays[-1][(0,) * arrays[-1].ndim]
    result = jax.eval_shape(function, *arrays)
    always = (number == number) | (number != number)
    return jax.lax.cond(always, function, lambda *_: jnp.zeros(result.shape, result.dtype), *arrays)
