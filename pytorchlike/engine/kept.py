"""What must survive a failed data check is chosen where it is computed, not at the end of the program.

A program whose data checks fail gives back the arrays that it was to replace: ``where(failed, old, new)``.  An update
computes a weight from moments that it has just computed.  Were these chosen at the end, the weight would be computed
from what is no result, so XLA would compute each moment a second time, from its old array, which could not be
overwritten any more: it copied all weights and moments in every step, and eight layers of 1024 units took 1.7 times as
long on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .trie import Call


class Kept:
    """The arrays that results replace in place, for one run of :func:`~.schedule.evaluate`.

    before: by slot of the result, the array that it replaces.  outer: checks made before the run, as those made in it:
    (flags, call).
    """

    __slots__ = ("before", "outer", "_chosen", "_failed")

    def __init__(self, steps: Iterable[Any], before: Mapping[int, Any], outer: Sequence = ()) -> None:
        self.before, self.outer = dict(before), tuple(outer)
        for e in reversed(list(steps)):
            if type(e) is Call and e.op.alias and e.first in self.before:
                self.before.setdefault(e.slots[0], self.before[e.first])
        #: by slot, after how many checks of the run it was chosen last; and the flag for so many
        self._chosen: dict[int, int] = {}
        self._failed: dict[int, Any] = {}

    def _fails(self, checks: list) -> Any:
        """Whether any check has failed so far: a boolean array of shape ()."""
        import jax.numpy as jnp

        found = self._failed.get(len(checks))
        if found is None:
            flags = [jnp.logical_not(ok) for group, _ in (*self.outer, *checks) for ok in group]
            found = self._failed[len(checks)] = jnp.any(jnp.stack(flags))
        return found

    def forward(self, how: Any, call: Call, arrays: tuple, checks: list) -> tuple[tuple, tuple]:
        """``how.forward(call, arrays)`` when ``checks`` were made; what it replaces is chosen by them and its own."""
        import jax.numpy as jnp

        replaced = {k: self.before[s] for k, s in enumerate(call.out_slots[: call.op.inplace]) if s in self.before}
        if not replaced:
            return how.forward(call, arrays)
        if call.op.spliced is not None:
            outs, flags = call.op.spliced.forward(arrays, how, replaced, (*self.outer, *checks))
            made = len(checks) + bool(flags)
        elif len(call.outs) > 1 and (self.outer or checks):
            plain = tuple([how.plain(a) for a in arrays])
            outs, flags = choosing(call.kernel.forward, plain, replaced, self._fails(checks))
            made = len(checks)
        else:
            outs, flags = how.forward(call, arrays)
            every = [*checks, (flags, call)] if flags else checks
            made = len(every)
            if self.outer or every:
                outs = tuple([jnp.where(self._fails(every), replaced[k], how.plain(o)) if k in replaced else o
                              for k, o in enumerate(outs)])  # fmt: skip
        self._chosen.update((call.out_slots[k], made) for k in replaced)
        return outs, flags

    def alias(self, call: Call) -> None:
        """Take note of another name for a result."""
        if (made := self._chosen.get(call.slots[0])) is not None:
            self._chosen[call.first] = made

    def finish(self, how: Any, env: dict[int, Any], slots: Iterable[int], checks: list) -> None:
        """Choose what was not chosen yet, or before the last of the checks."""
        import jax.numpy as jnp

        if self.outer or checks:
            for s in slots:
                if self._chosen.get(s) != len(checks):
                    env[s] = jnp.where(self._fails(checks), self.before[s], how.plain(env[s]))


def choosing(function: Callable[[tuple], tuple], arrays: tuple, before: Mapping[int, Any], failed: Any) -> tuple:
    """``function(arrays)`` with ``where(failed, before[k], …)`` for result ``k`` of its first group of results, also
    where it goes on computing with that."""
    import jax

    closed, shape = jax.make_jaxpr(function, return_shape=True)(arrays)
    results = _evaluate(closed, jax.tree.leaves(arrays), before, failed)
    return jax.tree.unflatten(jax.tree.structure(shape), results)


def _evaluate(closed: Any, arrays: list, before: Mapping[int, Any], failed: Any) -> list:
    import jax.numpy as jnp
    from jax.extend.core import Literal

    jaxpr = closed.jaxpr
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *arrays], strict=True))
    old = {v: before[k] for k, v in enumerate(jaxpr.outvars) if k in before and v not in known}
    for e in jaxpr.eqns:
        ins = [v.val if type(v) is Literal else known[v] for v in e.invars]
        mine = {k: old[v] for k, v in enumerate(e.outvars) if v in old}
        if mine and e.primitive.name in ("jit", "pjit"):  # parameters of one shape share a function
            known.update(zip(e.outvars, _evaluate(e.params["jaxpr"], ins, mine, failed), strict=True))
            continue
        bound = e.primitive.get_bind_params(e.params)
        functions, params = bound if type(bound) is tuple else ((), bound)  # a dictionary since JAX 0.10
        found = e.primitive.bind(*functions, *ins, **params)
        outs = found if e.primitive.multiple_results else [found]
        known.update(zip(e.outvars, outs, strict=True))
        known.update((e.outvars[k], jnp.where(failed, array, outs[k])) for k, array in mine.items())
    return [v.val if type(v) is Literal else known[v] for v in jaxpr.outvars]
