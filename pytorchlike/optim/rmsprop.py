"""Steps divided by the root of the mean squared gradient."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..tensor import Tensor
from ._functional import rmsprop
from ._rules import Hyper, chain, counted, decayed, descend, flipped, is_zero, lerp, plain
from .optimizer import Optimizer, ParamsT, check_at_least_zero, check_lr

__all__ = ["RMSprop", "rmsprop"]


class _Options(NamedTuple):
    momentum: bool
    centered: bool
    decay: bool
    maximize: bool


@jax.jit
def _leaf(g: jax.Array, v: jax.Array, alpha: jax.Array, rest: jax.Array, eps: jax.Array,
          ) -> tuple[jax.Array, jax.Array]:
    v = v * alpha + rest * g * g
    return g / (jnp.sqrt(v) + eps), v


@jax.jit
def _centered(g: jax.Array, v: jax.Array, mean: jax.Array, alpha: jax.Array, rest: jax.Array, eps: jax.Array,
              ) -> tuple[jax.Array, jax.Array, jax.Array]:
    v = v * alpha + rest * g * g
    mean = lerp(mean, g, rest, alpha)
    return g / (jnp.sqrt(v - mean * mean) + eps), v, mean


class RMSprop(Optimizer):
    """RMSprop, also centered and with momentum.

        g = grad + weight_decay * p                        (-grad if maximize)
        v = alpha * v + (1 - alpha) * g ** 2
        a = alpha * a + (1 - alpha) * g                    only if centered
        d = g / (sqrt(v - a ** 2) + eps)                   (sqrt(v) unless centered)
        b = momentum * b + d
        p = p - lr * (b with momentum, else d)

    State: "step", "square_avg" (v), "momentum_buffer" (b) with momentum, "grad_avg" (a) if centered.
    Defaults: lr 1e-2, alpha 0.99, eps 1e-8, weight_decay and momentum 0. ``foreach`` and ``capturable`` are accepted;
    ``differentiable=True`` raises NotImplementedError at the step.
    Source: torch.optim.RMSprop; Hinton's lecture 6e 2012; Graves 2013, arXiv:1308.0850 (centered).
    Raises: ValueError for negative numbers.
    """

    hyper_names = ("lr", "momentum", "alpha", "eps", "weight_decay")

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0, momentum: float = 0, centered: bool = False, capturable: bool = False,
                 foreach: bool | None = None, maximize: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        check_at_least_zero(eps, "Invalid epsilon value: {}")
        check_at_least_zero(momentum, "Invalid momentum value: {}")
        check_at_least_zero(weight_decay, "Invalid weight_decay value: {}")
        check_at_least_zero(alpha, "Invalid alpha value: {}")
        super().__init__(params, {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                                  "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
                                  "maximize": maximize, "differentiable": differentiable})

    def _options(self, group: dict[str, Any]) -> _Options:
        return _Options(not is_zero(group["momentum"]), group["centered"], not is_zero(group["weight_decay"]),
                        group["maximize"])

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        slots = ("square_avg", "grad_avg") if group["centered"] else ("square_avg",)
        return slots if is_zero(group["momentum"]) else (*slots, "momentum_buffer")

    @staticmethod
    def rule(options: _Options, h: Hyper, dtype: Any) -> optax.GradientTransformation:
        """The update as an optax transformation."""
        scalars = [x.astype(dtype) for x in (h.alpha, 1 - h.alpha, h.eps)]
        scaled = (plain(_centered, ("square_avg", "grad_avg"), scalars) if options.centered
                  else plain(_leaf, ("square_avg",), scalars))
        trace = plain(_trace, ("momentum_buffer",), [h.momentum.astype(dtype)]) if options.momentum else None
        return chain(flipped(options.maximize), decayed(options.decay, h.weight_decay, dtype), counted(), scaled, trace,
                     descend(h.lr, dtype))


@jax.jit
def _trace(d: jax.Array, buf: jax.Array, momentum: jax.Array) -> tuple[jax.Array, jax.Array]:
    buf = buf * momentum + d
    return buf, buf
