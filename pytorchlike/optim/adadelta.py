"""Steps scaled by the ratio of past updates to past gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..tensor import Tensor
from ._functional import adadelta
from ._rules import Hyper, chain, counted, decayed, descend, flipped, is_zero, plain
from .optimizer import Optimizer, ParamsT, check_at_least_zero, check_lr

__all__ = ["Adadelta", "adadelta"]


class _Options(NamedTuple):
    decay: bool
    maximize: bool


@jax.jit
def _leaf(g: jax.Array, v: jax.Array, a: jax.Array, rho: jax.Array, rest: jax.Array, eps: jax.Array,
          ) -> tuple[jax.Array, jax.Array, jax.Array]:
    v = v * rho + rest * g * g
    d = jnp.sqrt(a + eps) / jnp.sqrt(v + eps) * g
    return d, v, a * rho + rest * d * d


class Adadelta(Optimizer):
    """Adadelta.

        g = grad + weight_decay * p                        (-grad if maximize)
        v = rho * v + (1 - rho) * g ** 2
        d = sqrt(a + eps) / sqrt(v + eps) * g
        a = rho * a + (1 - rho) * d ** 2
        p = p - lr * d

    State: "step", "square_avg" (v), "acc_delta" (a). Defaults: lr 1, rho 0.9, eps 1e-6, weight_decay 0.
    ``foreach`` and ``capturable`` are accepted; ``differentiable=True`` raises NotImplementedError at the step.
    Source: torch.optim.Adadelta; Zeiler 2012, arXiv:1212.5701.
    Raises: ValueError for negative numbers or rho outside [0, 1].
    """

    hyper_names = ("lr", "rho", "eps", "weight_decay")

    def __init__(self, params: ParamsT, lr: float | Tensor = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0, foreach: bool | None = None, *, capturable: bool = False,
                 maximize: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_at_least_zero(eps, "Invalid epsilon value: {}")
        check_at_least_zero(weight_decay, "Invalid weight_decay value: {}")
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay,
                                  "maximize": maximize, "capturable": capturable, "foreach": foreach,
                                  "differentiable": differentiable})

    def _options(self, group: dict[str, Any]) -> _Options:
        return _Options(not is_zero(group["weight_decay"]), group["maximize"])

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    @staticmethod
    def rule(options: _Options, h: Hyper, dtype: Any) -> optax.GradientTransformation:
        """The update as an optax transformation."""
        scalars = [x.astype(dtype) for x in (h.rho, 1 - h.rho, h.eps)]
        return chain(flipped(options.maximize), decayed(options.decay, h.weight_decay, dtype), counted(),
                     plain(_leaf, ("square_avg", "acc_delta"), scalars), descend(h.lr, dtype))
