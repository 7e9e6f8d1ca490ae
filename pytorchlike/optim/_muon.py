"""Momentum made orthogonal."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..tensor import Tensor
from ._rules import Arrays, Hyper, State, chain, lerp, named
from .optimizer import Optimizer, ParamsT, check_at_least_zero, check_lr

__all__ = ["Muon"]


class _Options(NamedTuple):
    nesterov: bool
    ns_steps: int
    adjust: str


def _round(x: jax.Array) -> jax.Array:
    """float32 rounded to bfloat16. Compilers drop a cast there and back, but not this."""
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7).astype(jnp.bfloat16)


def _product(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.matmul(x, y, preferred_element_type=jnp.float32)


def _orthogonal(x: jax.Array, a: jax.Array, b: jax.Array, c: jax.Array, eps: jax.Array, steps: int) -> jax.Array:
    """Push the singular values of a matrix towards 1 by the quintic Newton-Schulz iteration, in bfloat16.

    ``x <- a x + (b (x x') + c (x x')^2) x`` with the shorter side first; the coefficients trade an exact limit for a
    steep start, so that the values end in about [0.5, 1.5].
    """
    tall = x.shape[0] > x.shape[1]
    y = _round(x.astype(jnp.float32).T if tall else x.astype(jnp.float32))
    wide = y.astype(jnp.float32)
    size = jnp.maximum(_round(jnp.sqrt(jnp.sum(wide * wide))), _round(eps.astype(jnp.float32)))
    y = _round(wide / size.astype(jnp.float32))
    for _ in range(steps):  # each line rounds once, after adding in float32
        gram = _round(_product(y, y.T))
        mixed = _round(b * gram.astype(jnp.float32) + c * _product(gram, gram))
        y = _round(a * y.astype(jnp.float32) + _product(mixed, y))
    return y.T if tall else y


def _rate_factor(adjust: str, rows: int, columns: int) -> float:
    if adjust == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns))


class Muon(Optimizer):
    """Muon, for the matrices of hidden layers.

        b = b + (1 - momentum) * (grad - b)
        u = orthogonal(grad + momentum * (b - grad) if nesterov else b)          by ns_steps Newton-Schulz steps
        p = p - lr * weight_decay * p - lr * f * u

    f is sqrt(max(1, rows / columns)) ("original", the default) or 0.2 sqrt(max(rows, columns)) ("match_rms_adamw").
    State: "momentum_buffer" (b). Defaults: lr 1e-3, weight_decay 0.1, momentum 0.95, nesterov, ns_coefficients
    (3.4445, -4.775, 2.0315), eps 1e-7, ns_steps 5.
    Source: torch.optim.Muon; Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; Liu et al. 2025,
    arXiv:2502.16982 (the second f). Computed in bfloat16: another machine or library differs in the third digit.
    Raises: ValueError for numbers out of range, parameters that are not 2-d, ns_steps >= 100.
    """

    hyper_names = ("lr", "weight_decay", "momentum", "a", "b", "c", "eps")
    counted = False
    elementwise = False

    def __init__(self, params: ParamsT, lr: float = 1e-3, weight_decay: float = 0.1, momentum: float = 0.95,
                 nesterov: bool = True, ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
                 eps: float = 1e-7, ns_steps: int = 5, adjust_lr_fn: str | None = None) -> None:
        check_lr(lr, "Learning rate should be >= 0 but is: {}")
        check_at_least_zero(momentum, "momentum should be >= 0 but is: {}")
        check_at_least_zero(weight_decay, "weight decay should be >= 0 but is: {}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
                                  "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps,
                                  "adjust_lr_fn": adjust_lr_fn})
        for group in self.param_groups:
            for p in group["params"]:
                if len(p.shape) != 2:
                    raise ValueError("Muon only supports 2D parameters whereas we found a parameter with size: "
                                     f"{p.size()}")

    def _options(self, group: dict[str, Any]) -> _Options:
        if group["ns_steps"] >= 100:
            raise ValueError(f"Number of steps must be less than 100 for computational efficiency: {group['ns_steps']}")
        if len(group["ns_coefficients"]) != 3:
            raise ValueError(f"Coefficients must be a tuple of exactly 3 values: {group['ns_coefficients']}")
        return _Options(group["nesterov"], group["ns_steps"], group["adjust_lr_fn"] or "original")

    def _hyper(self, group: dict[str, Any]) -> list[Any]:
        return [group["lr"], group["weight_decay"], group["momentum"], *group["ns_coefficients"], group["eps"]]

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",)

    def _check(self, p: Tensor, group: dict[str, Any]) -> None:
        if p.is_complex():
            raise RuntimeError("Muon does not support complex parameters")
        if len(p.grad.shape) != 2:
            raise ValueError(f"Param gradient must be a 2D matrix, but has size {p.grad.size()}")
        super()._check(p, group)

    @staticmethod
    def rule(options: _Options, h: Hyper, dtype: Any) -> optax.GradientTransformation:
        """The update as an optax transformation."""

        def update(grads: Arrays, state: State, params: Arrays) -> tuple[Arrays, State]:
            keep, take = h.momentum.astype(dtype), (1 - h.momentum).astype(dtype)
            a, b, c = (x.astype(jnp.float32) for x in (h.a, h.b, h.c))
            changes, buffers = [], []
            for g, p, buf in zip(grads, params, state["momentum_buffer"], strict=True):
                buf = lerp(buf, g, take, keep)
                ahead = lerp(g, buf, keep, take) if options.nesterov else buf
                u = _orthogonal(ahead, a, b, c, h.eps, options.ns_steps).astype(dtype)
                rate = h.lr * _rate_factor(options.adjust, *p.shape)
                changes.append(-(h.lr * h.weight_decay).astype(dtype) * p - rate.astype(dtype) * u)
                buffers.append(buf)
            return tuple(changes), {"momentum_buffer": tuple(buffers)}

        return chain(named(("momentum_buffer",), False, update))
