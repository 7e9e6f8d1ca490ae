"""The pure side of the optimizers: optax transformations and the one function that applies them to a group.

A rule is made by ``rule(options, h, dtype)``: ``options`` is a NamedTuple of what changes the program (amsgrad,
maximize, ...), ``h`` holds the run-time numbers as 0-d float64 arrays, ``dtype`` is the floating dtype the leaves are
computed in. It returns an `optax.GradientTransformation` over tuples of arrays whose state is a dict with PyTorch's
names: ``{"step": scalar, "exp_avg": (array, ...), ...}``.

Scalars such as ``1 - beta2`` or a bias correction are computed in float64 and rounded once, as PyTorch does with Python
floats: in float32, ``1 - 0.999`` would be off by 5e-5.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..engine.kept import choosing

Arrays = tuple[jax.Array, ...]
State = dict[str, Any]


class Hyper:
    """Run-time numbers of a group by name, each a 0-d float64 array."""

    def __init__(self, names: Sequence[str], values: Sequence[jax.Array]) -> None:
        for name, value in zip(names, values, strict=True):
            setattr(self, name, jnp.reshape(value, ()).astype(jnp.float64))


class RuleKey(NamedTuple):
    """What selects a compiled update: hashable, the same at every step of an ordinary loop.

    ``step_of[i]`` is the index of parameter i's step value among the distinct ones (None: all share one, or the rule
    counts no steps). ``scaled`` and ``guarded`` tell that a gradient scale and an overflow flag follow the
    hyper-parameters.
    """

    rule: Callable[[Any, Hyper, Any], optax.GradientTransformation]
    options: Any
    hyper: tuple[str, ...]
    slots: tuple[str, ...]
    counted: bool
    step_of: tuple[int, ...] | None = None
    scaled: bool = False
    guarded: bool = False


def chain(*pieces: optax.GradientTransformation | None) -> optax.GradientTransformation:
    """`optax.chain` whose state is one flat dict, so that it can carry PyTorch's state names.

    Ours read their entries from the whole dict and return the ones they changed; optax's own pieces used here are
    stateless. None is skipped.
    """
    parts = [piece for piece in pieces if piece is not None]

    def init(params: Arrays) -> State:
        state: State = {}
        for part in parts:
            own = part.init(params)
            if isinstance(own, dict):
                state.update(own)
        return state

    def update(grads: Arrays, state: State, params: Arrays | None = None) -> tuple[Arrays, State]:
        state = dict(state)
        for part in parts:
            own = state if getattr(part.update, "named_state", False) else optax.EmptyState()
            grads, new = part.update(grads, own, params)
            if isinstance(new, dict):
                state.update(new)
        return grads, state

    return optax.GradientTransformation(init, update)


def named(slots: Sequence[str], counted: bool, update: Callable[..., tuple[Arrays, State]],
          start: dict[str, float] | None = None) -> optax.GradientTransformation:
    """A transformation with a dict state: a tuple of arrays for each of ``slots``, and a "step" if ``counted``.

    ``start`` gives the slots that do not begin at zero.
    """

    def init(params: Arrays) -> State:
        state: State = {"step": jnp.zeros((), jnp.float32)} if counted else {}
        for slot in slots:
            value = (start or {}).get(slot, 0)
            state[slot] = tuple(jnp.full_like(p, value) for p in params)
        return state

    update.named_state = True
    return optax.GradientTransformation(init, update)


def over_leaves(leaf: Callable[..., Any], *trees: Arrays, scalars: Sequence[Any] = ()) -> list[Arrays]:
    """Apply ``leaf(*leaves, *scalars)`` along tuples of arrays; returns one tuple for each of its results."""
    results = [leaf(*leaves, *scalars) for leaves in zip(*trees, strict=True)]
    return [tuple(column) for column in zip(*results, strict=True)]


def flipped(maximize: bool) -> optax.GradientTransformation | None:
    """Turn the gradients around to climb."""
    return optax.scale(-1) if maximize else None


def decayed(on: bool, rate: jax.Array, dtype: Any) -> optax.GradientTransformation | None:
    """Add ``rate * p`` to the direction."""
    return optax.add_decayed_weights(rate.astype(dtype)) if on else None


def descend(lr: jax.Array, dtype: Any) -> optax.GradientTransformation:
    """Turn a direction into an update: times ``-lr``."""
    return optax.scale((-lr).astype(dtype))


def plain(leaf: Callable[..., tuple[jax.Array, ...]], slots: Sequence[str], scalars: Sequence[Any],
          *, with_params: bool = False) -> optax.GradientTransformation:
    """A transformation without counter: ``leaf(g, [p,] *slots, *scalars) -> (direction, *slots)``."""

    def update(grads: Arrays, state: State, params: Arrays | None = None) -> tuple[Arrays, State]:
        given = (grads, params) if with_params else (grads,)
        direction, *new = over_leaves(leaf, *given, *(state[s] for s in slots), scalars=scalars)
        return direction, dict(zip(slots, new, strict=True))

    return named(slots, False, update)


def _compute_dtype(dtype: Any) -> Any:
    """Real dtype a leaf is computed in: float32 for the half types, the parts' dtype for complex ones."""
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        return np.dtype(np.float32) if dtype.itemsize == 8 else np.dtype(np.float64)
    return dtype if dtype.itemsize >= 4 else np.dtype(np.float32)


def _enter(x: jax.Array, dtype: Any) -> jax.Array:
    """An array as the rule sees it. A complex one becomes pairs of reals: PyTorch's rules act on the parts apart."""
    if jnp.iscomplexobj(x):
        return jnp.stack((x.real, x.imag), -1)
    return x.astype(dtype)


def _leave(x: jax.Array, like: jax.Array) -> jax.Array:
    if jnp.iscomplexobj(like):
        return jax.lax.complex(x[..., 0], x[..., 1]).astype(like.dtype)
    return x.astype(like.dtype)


def apply_rule(key: RuleKey, lists: list[list[jax.Array]], hyper: list[jax.Array]) -> list[list[jax.Array]]:
    """One step of a group: ``[params, grads, *slots, steps?] -> [params, *slots, steps?]``.

    Half-precision leaves are computed in float32 and rounded at the end. With an overflow flag everything stays as it
    was where the flag is set.
    """
    if not key.guarded:
        return _updated(key, lists, hyper)
    params, _, *state = lists
    old = [x for column in (params, *state) for x in column]
    found = choosing(
        lambda inputs: ([x for column in _updated(key, *inputs) for x in column],),
        (lists, hyper), dict(enumerate(old)), jnp.reshape(hyper[-1], ()) != 0,
    )  # fmt: skip
    new = iter(found[0])
    return [[next(new) for _ in column] for column in (params, *state)]


def _updated(key: RuleKey, lists: list[list[jax.Array]], hyper: list[jax.Array]) -> list[list[jax.Array]]:
    """:func:`apply_rule` whatever the overflow flag says."""
    extra = key.scaled + key.guarded
    h = Hyper(key.hyper, hyper[: len(hyper) - extra])
    params, grads, *slots = lists
    steps = slots.pop() if key.counted else []
    scale = hyper[len(key.hyper)] if key.scaled else None

    parts: dict[tuple[int, Any], list[int]] = {}
    for i, p in enumerate(params):
        count = key.step_of[i] if key.step_of else 0
        parts.setdefault((count, np.dtype(p.dtype)), []).append(i)

    new_params, new_slots, new_steps = list(params), [list(s) for s in slots], list(steps)
    for (count, kind), members in parts.items():
        dtype = _compute_dtype(kind)
        tx = key.rule(key.options, h, dtype)
        p = tuple(_enter(params[i], dtype) for i in members)
        g = tuple(_enter(grads[i], dtype) for i in members)
        if scale is not None:
            g = tuple((x.astype(jnp.float32) / scale.astype(jnp.float32)).astype(dtype) for x in g)
        state: State = {name: tuple(_enter(slot[i], dtype) if slot[i].shape == params[i].shape else slot[i]
                                    for i in members)
                        for name, slot in zip(key.slots, slots, strict=True)}
        if key.counted:
            state["step"] = steps[count]
        updates, state = tx.update(g, state, p)
        for j, (i, new) in enumerate(zip(members, optax.apply_updates(p, updates), strict=True)):
            new_params[i] = _leave(new, params[i])
            for name, old, slot in zip(key.slots, slots, new_slots, strict=True):
                same = old[i].shape == params[i].shape
                slot[i] = _leave(state[name][j], old[i]) if same else state[name][j].astype(old[i].dtype)
        if key.counted:
            new_steps[count] = state["step"].astype(steps[count].dtype)

    return [new_params, *new_slots, *([new_steps] if key.counted else [])]


def lerp(start: jax.Array, end: jax.Array, weight: jax.Array, rest: jax.Array) -> jax.Array:
    """``start + weight * (end - start)`` from the nearer end, as torch.lerp does; ``rest`` is ``1 - weight``."""
    gap = end - start
    return jnp.where(weight < 0.5, start + weight * gap, end - gap * rest)


def is_zero(value: Any) -> bool:
    """True for a Python number that is zero: such an option leaves its branch out of the program."""
    return isinstance(value, (int, float)) and value == 0


def counted() -> optax.GradientTransformation:
    """Count steps for a rule whose numbers do not depend on the count."""

    def update(grads: Arrays, state: State, params: Arrays | None = None) -> tuple[Arrays, State]:
        return grads, {"step": state["step"] + 1}

    return named((), True, update)
