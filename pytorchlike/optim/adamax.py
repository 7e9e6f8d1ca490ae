"""Adam with the largest gradient instead of the mean square."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..tensor import Tensor
from ._functional import adamax
from ._rules import Arrays, Hyper, State, chain, decayed, descend, flipped, is_zero, lerp, named, over_leaves
from .optimizer import Optimizer, ParamsT, check_at_least_zero, check_betas, check_lr

__all__ = ["Adamax", "adamax"]


class _Options(NamedTuple):
    decay: bool
    maximize: bool


@jax.jit
def _leaf(g: jax.Array, m: jax.Array, top: jax.Array, b1: jax.Array, c1: jax.Array, b2: jax.Array, gain: jax.Array,
          eps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    m = lerp(m, g, c1, b1)
    top = jnp.maximum(top * b2, jnp.abs(g) + eps)
    return gain * m / top, m, top


class Adamax(Optimizer):
    """Adam in the infinity norm.

        g = grad + weight_decay * p                        (-grad if maximize)
        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, |g| + eps)
        p = p - lr / (1 - beta1 ** t) * m / u

    State: "step", "exp_avg" (m), "exp_inf" (u). Defaults: lr 2e-3, betas (0.9, 0.999), eps 1e-8, weight_decay 0.
    ``foreach`` and ``capturable`` are accepted; ``differentiable=True`` raises NotImplementedError at the step.
    Source: torch.optim.Adamax; Kingma & Ba 2015, arXiv:1412.6980. Differs: optax.adamax adds eps beside the gradient
    too, but begins its counters otherwise.
    Raises: ValueError for negative numbers or betas outside [0, 1).
    """

    hyper_names = ("lr", "beta1", "beta2", "eps", "weight_decay")

    def __init__(self, params: ParamsT, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:
        check_lr(lr)
        check_at_least_zero(eps, "Invalid epsilon value: {}")
        check_betas(betas)
        check_at_least_zero(weight_decay, "Invalid weight_decay value: {}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
                                  "capturable": capturable})

    def _options(self, group: dict[str, Any]) -> _Options:
        return _Options(not is_zero(group["weight_decay"]), group["maximize"])

    def _hyper(self, group: dict[str, Any]) -> list[Any]:
        return [group["lr"], *group["betas"], group["eps"], group["weight_decay"]]

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_inf")

    @staticmethod
    def rule(options: _Options, h: Hyper, dtype: Any) -> optax.GradientTransformation:
        """The update as an optax transformation."""

        def update(grads: Arrays, state: State, params: Arrays | None = None) -> tuple[Arrays, State]:
            step = state["step"] + 1
            gain = 1 / (1 - h.beta1 ** step.astype(h.beta1.dtype))
            scalars = [x.astype(dtype) for x in (h.beta1, 1 - h.beta1, h.beta2, gain, h.eps)]
            direction, m, top = over_leaves(_leaf, grads, state["exp_avg"], state["exp_inf"], scalars=scalars)
            return direction, {"step": step, "exp_avg": m, "exp_inf": top}

        return chain(flipped(options.maximize), decayed(options.decay, h.weight_decay, dtype),
                     named(("exp_avg", "exp_inf"), True, update), descend(h.lr, dtype))
