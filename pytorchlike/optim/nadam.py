"""Adam with Nesterov momentum."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..tensor import Tensor
from ._functional import nadam
from ._rules import Arrays, Hyper, State, chain, decayed, descend, flipped, is_zero, lerp, named
from .optimizer import Optimizer, ParamsT, check_at_least_zero, check_betas, check_lr, filled

__all__ = ["NAdam", "nadam"]


class _Options(NamedTuple):
    decay: bool
    decoupled: bool
    maximize: bool


@jax.jit
def _leaf(g: jax.Array, m: jax.Array, v: jax.Array, b1: jax.Array, c1: jax.Array, b2: jax.Array, c2: jax.Array,
          root: jax.Array, eps: jax.Array, of_g: jax.Array, of_m: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    m = lerp(m, g, c1, b1)
    v = v * b2 + c2 * g * g
    return (of_g * g + of_m * m) / (jnp.sqrt(v / root) + eps), m, v


class NAdam(Optimizer):
    """Adam whose momentum looks one step ahead, with a momentum that grows during training.

        g = grad + weight_decay * p                        (-grad if maximize; no decay here if decoupled)
        mu(t) = beta1 * (1 - 0.96 ** (t * momentum_decay) / 2);  M = M * mu(t), 1 at first
        m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g ** 2
        d = (1 - mu(t)) / (1 - M) * g + mu(t + 1) / (1 - M * mu(t + 1)) * m
        p = p - lr * d / (sqrt(v / (1 - beta2 ** t)) + eps)
        p = p - lr * weight_decay * p                      (decoupled: of the p before)

    State: "step", "mu_product" (M, 0-dim), "exp_avg" (m), "exp_avg_sq" (v).
    Defaults: lr 2e-3, betas (0.9, 0.999), eps 1e-8, weight_decay 0, momentum_decay 4e-3. ``foreach`` and ``capturable``
    are accepted; ``differentiable=True`` raises NotImplementedError at the step.
    Source: torch.optim.NAdam; Dozat 2016. Differs: optax.nadam keeps the momentum constant.
    Raises: ValueError for negative numbers or betas outside [0, 1).
    """

    hyper_names = ("lr", "beta1", "beta2", "eps", "weight_decay", "momentum_decay")

    def __init__(self, params: ParamsT, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, momentum_decay: float = 4e-3,
                 decoupled_weight_decay: bool = False, *, foreach: bool | None = None, maximize: bool = False,
                 capturable: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        check_at_least_zero(eps, "Invalid epsilon value: {}")
        check_betas(betas)
        check_at_least_zero(weight_decay, "Invalid weight_decay value: {}")
        check_at_least_zero(momentum_decay, "Invalid momentum_decay value: {}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "momentum_decay": momentum_decay,
                                  "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize,
                                  "foreach": foreach, "capturable": capturable, "differentiable": differentiable})

    def _options(self, group: dict[str, Any]) -> _Options:
        return _Options(not is_zero(group["weight_decay"]), group["decoupled_weight_decay"], group["maximize"])

    def _hyper(self, group: dict[str, Any]) -> list[Any]:
        return [group["lr"], *group["betas"], group["eps"], group["weight_decay"], group["momentum_decay"]]

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "mu_product")

    def _new_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        one = filled(p, 1.0, dtype=self.state[p]["step"].dtype, shape=())
        return {"mu_product": one, **{s: filled(p, 0.0) for s in ("exp_avg", "exp_avg_sq")}}

    @staticmethod
    def rule(options: _Options, h: Hyper, dtype: Any) -> optax.GradientTransformation:
        """The update as an optax transformation."""

        def update(grads: Arrays, state: State, params: Arrays | None = None) -> tuple[Arrays, State]:
            step = state["step"] + 1
            t = step.astype(h.beta1.dtype)
            now, ahead = (h.beta1 * (1 - 0.5 * 0.96 ** (at * h.momentum_decay)) for at in (t, t + 1))
            shared = [x.astype(dtype) for x in (h.beta1, 1 - h.beta1, h.beta2, 1 - h.beta2, 1 - h.beta2**t, h.eps)]
            directions, moments, squares, products = [], [], [], []
            for g, m, v, product in zip(grads, state["exp_avg"], state["exp_avg_sq"], state["mu_product"], strict=True):
                product = product * now.astype(product.dtype)
                so_far = product.astype(now.dtype)
                weights = ((1 - now) / (1 - so_far), ahead / (1 - so_far * ahead))
                d, m, v = _leaf(g, m, v, *shared, *(w.astype(dtype) for w in weights))
                directions.append(d)
                moments.append(m)
                squares.append(v)
                products.append(product)
            return tuple(directions), {"step": step, "exp_avg": tuple(moments), "exp_avg_sq": tuple(squares),
                                       "mu_product": tuple(products)}

        before, after = options.decay and not options.decoupled, options.decay and options.decoupled
        return chain(flipped(options.maximize), decayed(before, h.weight_decay, dtype),
                     named(("exp_avg", "exp_avg_sq", "mu_product"), True, update, {"mu_product": 1.0}),
                     decayed(after, h.weight_decay, dtype), descend(h.lr, dtype))
