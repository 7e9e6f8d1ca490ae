"""Adam that waits until its variance can be trusted."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..tensor import Tensor
from ._functional import radam
from ._rules import Arrays, Hyper, State, chain, decayed, descend, flipped, is_zero, lerp, named, over_leaves
from .optimizer import Optimizer, ParamsT, check_at_least_zero, check_betas, check_lr

__all__ = ["RAdam", "radam"]


class _Options(NamedTuple):
    decay: bool
    decoupled: bool
    maximize: bool


@jax.jit
def _leaf(g: jax.Array, m: jax.Array, v: jax.Array, b1: jax.Array, c1: jax.Array, b2: jax.Array, c2: jax.Array,
          gain: jax.Array, rect: jax.Array, ready: jax.Array, eps: jax.Array,
          ) -> tuple[jax.Array, jax.Array, jax.Array]:
    m = lerp(m, g, c1, b1)
    v = v * b2 + c2 * g * g
    return gain * m * jnp.where(ready, rect / (jnp.sqrt(v) + eps), 1), m, v


class RAdam(Optimizer):
    """Adam with the variance of its step size rectified; plain momentum in the first steps.

        g = grad + weight_decay * p                        (-grad if maximize; no decay here if decoupled)
        m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g ** 2
        R = 2 / (1 - beta2) - 1;  r = R - 2 t beta2 ** t / (1 - beta2 ** t)
        d = m / (1 - beta1 ** t)
        d = d * sqrt((r-4)(r-2)R / ((R-4)(R-2)r)) * sqrt(1 - beta2 ** t) / (sqrt(v) + eps)      where r > 5
        p = p - lr * d;  p = p - lr * weight_decay * p     (decoupled: of the p before)

    State: "step", "exp_avg" (m), "exp_avg_sq" (v). Defaults: lr 1e-3, betas (0.9, 0.999), eps 1e-8, weight_decay 0.
    ``foreach`` and ``capturable`` are accepted; ``differentiable=True`` raises NotImplementedError at the step.
    Source: torch.optim.RAdam; Liu et al. 2020, arXiv:1908.03265. Differs: optax.radam adds eps to the corrected root.
    Raises: ValueError for negative numbers or betas outside [0, 1).
    """

    hyper_names = ("lr", "beta1", "beta2", "eps", "weight_decay")

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, decoupled_weight_decay: bool = False, *,
                 foreach: bool | None = None, maximize: bool = False, capturable: bool = False,
                 differentiable: bool = False) -> None:
        check_lr(lr)
        check_at_least_zero(eps, "Invalid epsilon value: {}")
        check_betas(betas)
        check_at_least_zero(weight_decay, "Invalid weight_decay value: {}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "maximize": maximize, "foreach": foreach, "capturable": capturable,
                                  "decoupled_weight_decay": decoupled_weight_decay,
                                  "differentiable": differentiable})

    def _options(self, group: dict[str, Any]) -> _Options:
        return _Options(not is_zero(group["weight_decay"]), group["decoupled_weight_decay"], group["maximize"])

    def _hyper(self, group: dict[str, Any]) -> list[Any]:
        return [group["lr"], *group["betas"], group["eps"], group["weight_decay"]]

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    @staticmethod
    def rule(options: _Options, h: Hyper, dtype: Any) -> optax.GradientTransformation:
        """The update as an optax transformation."""

        def update(grads: Arrays, state: State, params: Arrays | None = None) -> tuple[Arrays, State]:
            step = state["step"] + 1
            t = step.astype(h.beta1.dtype)
            correction = 1 - h.beta2**t
            most = 2 / (1 - h.beta2) - 1
            r = most - 2 * t * h.beta2**t / correction
            ready = r > 5
            # The root of a negative number would be nan, which a selection does not always hide.
            inside = jnp.where(ready, (r - 4) * (r - 2) * most / ((most - 4) * (most - 2) * r), 1)
            rect = jnp.sqrt(inside) * jnp.sqrt(correction)
            scalars = [x.astype(dtype) for x in (h.beta1, 1 - h.beta1, h.beta2, 1 - h.beta2,
                                                1 / (1 - h.beta1**t), rect)]
            direction, m, v = over_leaves(_leaf, grads, state["exp_avg"], state["exp_avg_sq"],
                                          scalars=[*scalars, ready, h.eps.astype(dtype)])
            return direction, {"step": step, "exp_avg": m, "exp_avg_sq": v}

        before, after = options.decay and not options.decoupled, options.decay and options.decoupled
        return chain(flipped(options.maximize), decayed(before, h.weight_decay, dtype),
                     named(("exp_avg", "exp_avg_sq"), True, update), decayed(after, h.weight_decay, dtype),
                     descend(h.lr, dtype))
