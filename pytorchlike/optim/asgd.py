"""Stochastic gradient descent with an averaged copy of the parameters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..tensor import Tensor
from ._functional import asgd
from ._rules import Arrays, Hyper, State, chain, decayed, flipped, is_zero, named
from .optimizer import Optimizer, ParamsT, check_at_least_zero, check_lr, filled

__all__ = ["ASGD", "asgd"]


class _Options(NamedTuple):
    decay: bool
    maximize: bool


@jax.jit
def _leaf(g: jax.Array, p: jax.Array, mean: jax.Array, eta: jax.Array, fade: jax.Array, mu: jax.Array,
          ) -> tuple[jax.Array, jax.Array]:
    change = fade * p - eta * g
    new = p + change
    return change, jnp.where(mu == 1, new, mean + (new - mean) * mu)


class ASGD(Optimizer):
    """Averaged stochastic gradient descent.

        g = grad + weight_decay * p                        (-grad if maximize)
        p = (1 - lambd * eta) * p - eta * g
        ax = ax + mu * (p - ax)
        eta = lr / (1 + lambd * lr * t) ** alpha;  mu = 1 / max(1, t - t0)

    State: "step", "eta" (lr at first), "mu" (1 at first), both 0-dim, and "ax", the average.
    Defaults: lr 1e-2, lambd 1e-4, alpha 0.75, t0 1e6, weight_decay 0. ``foreach`` and ``capturable`` are accepted;
    ``differentiable=True`` raises NotImplementedError at the step.
    Source: torch.optim.ASGD; Polyak & Juditsky 1992.
    Raises: ValueError for a negative rate or weight decay.
    """

    hyper_names = ("lr", "lambd", "alpha", "t0", "weight_decay")

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, lambd: float = 1e-4, alpha: float = 0.75,
                 t0: float = 1e6, weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:
        check_lr(lr)
        check_at_least_zero(weight_decay, "Invalid weight_decay value: {}")
        super().__init__(params, {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
                                  "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
                                  "capturable": capturable})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for p, own in self.state.items():  # older files hold plain numbers
            for name in ("eta", "mu"):
                if isinstance(own, dict) and name in own and not isinstance(own[name], Tensor):
                    own[name] = filled(p, float(own[name]), dtype=own["step"].dtype, shape=())

    def _options(self, group: dict[str, Any]) -> _Options:
        return _Options(not is_zero(group["weight_decay"]), group["maximize"])

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("ax", "eta", "mu")

    def _new_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        kind = {"dtype": self.state[p]["step"].dtype, "shape": ()}
        return {"eta": filled(p, float(group["lr"]), **kind), "mu": filled(p, 1.0, **kind), "ax": filled(p, 0.0)}

    @staticmethod
    def rule(options: _Options, h: Hyper, dtype: Any) -> optax.GradientTransformation:
        """The update as an optax transformation."""

        def update(grads: Arrays, state: State, params: Arrays) -> tuple[Arrays, State]:
            step = state["step"] + 1
            t = step.astype(h.lr.dtype)
            eta, mu = h.lr / (1 + h.lambd * h.lr * t) ** h.alpha, 1 / jnp.maximum(1, t - h.t0)
            changes, means = [], []
            for g, p, mean, rate, share in zip(grads, params, state["ax"], state["eta"], state["mu"], strict=True):
                fade = -h.lambd * rate.astype(h.lambd.dtype)
                change, mean = _leaf(g, p, mean, rate.astype(dtype), fade.astype(dtype), share.astype(dtype))
                changes.append(change)
                means.append(mean)
            return tuple(changes), {"step": step, "ax": tuple(means),
                                    "eta": tuple(eta.astype(x.dtype) for x in state["eta"]),
                                    "mu": tuple(mu.astype(x.dtype) for x in state["mu"])}

        return chain(flipped(options.maximize), decayed(options.decay, h.weight_decay, dtype),
                     named(("ax", "eta", "mu"), True, update))
