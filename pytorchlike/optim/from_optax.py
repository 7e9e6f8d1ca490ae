"""Any optax transformation as an optimizer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..autograd.mode import enable_grad, no_grad
from ..tensor import Tensor
from ..tensor.dtype import from_numpy_dtype
from ..tensor.recorded import concrete_zeros, record_update
from .optimizer import Optimizer, ParamsT

__all__ = ["from_optax"]


class _Key(NamedTuple):
    """What selects the recorded program: the transformation and the options passed to it by name."""

    tx: optax.GradientTransformation
    names: tuple[str, ...]
    scaled: bool  # without hyper-parameters of its own, the update is multiplied by "lr"
    guarded: tuple[bool, bool] = (False, False)


def _with_hyper(state: Any, values: dict[str, jax.Array]) -> Any:
    """The state with the injected hyper-parameters replaced."""
    own = {k: jnp.asarray(values[k], v.dtype) if k in values else v for k, v in state.hyperparams.items()}
    return state._replace(hyperparams=own)


def _begin(key: _Key, lists: list[list[jax.Array]], hyper: list[jax.Array]) -> list[list[jax.Array]]:
    leaves = jax.tree.leaves(key.tx.init(tuple(lists[0])))
    return [[jnp.asarray(x) for x in leaves]]


def _advance(key: _Key, lists: list[list[jax.Array]], hyper: list[jax.Array]) -> list[list[jax.Array]]:
    params, grads, leaves = tuple(lists[0]), tuple(lists[1]), lists[2]
    hyper = [jnp.reshape(h, ()) for h in hyper]
    flag = hyper.pop() if key.guarded[1] else None
    if key.guarded[0]:
        scale = hyper.pop()
        grads = tuple((g / scale.astype(jnp.float32)).astype(g.dtype) for g in grads)
    state = jax.tree.unflatten(jax.tree.structure(jax.eval_shape(key.tx.init, params)), leaves)
    if key.scaled:
        updates, state = key.tx.update(grads, state, params)
        updates = jax.tree.map(lambda u: u * hyper[0].astype(u.dtype), updates)
    else:
        updates, state = key.tx.update(grads, _with_hyper(state, dict(zip(key.names, hyper, strict=True))), params)
    new = [list(optax.apply_updates(params, updates)),
           [jnp.asarray(x, old.dtype) for x, old in zip(jax.tree.leaves(state), leaves, strict=True)]]
    if flag is not None:
        new = [[jnp.where(flag == 0, n, o) for n, o in zip(ns, os, strict=True)]
               for ns, os in zip(new, (params, leaves), strict=True)]
    return new


class _FromOptax(Optimizer):
    """See `from_optax`."""

    counted = False
    elementwise = False  # the transformation may do anything
    _takes_found_inf = True

    def __init__(self, params: ParamsT, tx: optax.GradientTransformation, defaults: dict[str, Any]) -> None:
        self._tx = tx
        self._names = tuple(name for name in defaults if name != "lr") or ("lr",)
        super().__init__(params, defaults)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_tx": self._tx, "_names": self._names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`; the transformation must be the same."""
        super().load_state_dict(state_dict)
        for key, value in self.state.items():  # not parameters' own: copied here, so that nothing is shared
            if isinstance(key, str) and isinstance(value, list):
                self.state[key] = [leaf.clone() for leaf in value]

    def _options_of(self, group: dict[str, Any]) -> tuple[_Key, list[Any]]:
        if self._names == ("lr",):
            return _Key(self._tx, (), True), [group["lr"]]
        # "lr" is what schedules set; optax calls it learning_rate.
        values = [group["lr" if name == "learning_rate" else name] for name in self._names]
        return _Key(self._tx, self._names, False), values

    def step(self, closure: Any = None) -> Any:
        """Update the parameters that have gradients; all gradients of a group must be there or none."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for number, group in enumerate(self.param_groups):
                self._step_one(number, group)
        return loss

    def _step_one(self, number: int, group: dict[str, Any]) -> None:
        params = group["params"]
        grads = [p.grad for p in params]
        missing = [i for i, g in enumerate(grads) if g is None]
        if len(missing) == len(params):
            return
        if missing:
            raise RuntimeError(f"from_optax: parameters {missing} of group {number} have no gradient. An optax state "
                               "belongs to all parameters together: leave those that are not trained out of the "
                               "optimizer, or give them zero gradients.")
        key, hyper = self._options_of(group)
        name = f"optax.{number}"
        if name not in self.state:
            with jax.enable_x64(True):
                shapes = jax.eval_shape(self._tx.init, tuple(jax.ShapeDtypeStruct(tuple(p.shape), p.dtype.numpy)
                                                             for p in params))
            leaves = [concrete_zeros(params[0], dtype=from_numpy_dtype(np.dtype(x.dtype)), shape=x.shape)
                      for x in jax.tree.leaves(shapes)]
            self.state[name] = leaves
            record_update("optim.from_optax.init", _begin, key, [params, leaves], [], [leaves])
        leaves = self.state[name]
        scale, flag = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        key = key._replace(guarded=(scale is not None, flag is not None))
        record_update("optim.from_optax", _advance, key, [params, grads, leaves],
                      [*hyper, *(x for x in (scale, flag) if x is not None)], [params, leaves])


def from_optax(tx: optax.GradientTransformation, params: ParamsT, lr: float | Tensor = 1.0) -> Optimizer:
    """An optimizer that applies an optax transformation, with groups, schedules and state dicts.

    A transformation made by ``optax.inject_hyperparams`` has its numbers as options of the groups ("learning_rate"
    under the name "lr" too, which is what schedules set): they are run-time inputs. For any other, ``lr`` multiplies
    the
    updates: ``from_optax(optax.chain(optax.scale_by_adam(), optax.scale(-1)), params, lr=1e-3)``; with a complete
    optimizer such as ``optax.adam(1e-3)``, leave it at 1.

    State: the transformation's state of group i as a list of tensors under "optax.<i>".
    Raises: RuntimeError at a step for which only some parameters of a group have gradients.
    """
    probe = jax.eval_shape(tx.init, ())
    if not hasattr(probe, "hyperparams"):
        return _FromOptax(params, tx, {"lr": lr})
    with jax.enable_x64(True):
        state = tx.init((jnp.zeros(()),))
    scheduled = getattr(state, "hyperparams_states", {})
    values = {name: float(value) for name, value in state.hyperparams.items() if name not in scheduled}
    if not values:
        return _FromOptax(params, tx, {"lr": lr})
    if "learning_rate" in values:
        values = {"lr": values["learning_rate"], **values}
    return _FromOptax(params, tx, values)
