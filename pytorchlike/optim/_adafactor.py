"""Second moments by rows and columns."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..tensor import Tensor
from ._rules import Arrays, Hyper, State, chain, flipped, is_zero, lerp, named
from .optimizer import Optimizer, ParamsT, check_at_least_zero, check_lr, filled

__all__ = ["Adafactor"]


class _Options(NamedTuple):
    own_eps1: bool
    matrix: bool
    decay: bool
    maximize: bool


def _rms(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(x * x))


def _apply(g: jax.Array, p: jax.Array, variance: jax.Array, rho: jax.Array, eps1: jax.Array, eps2: jax.Array,
           d: jax.Array, fade: jax.Array) -> jax.Array:
    alpha = jnp.maximum(eps2, _rms(p)) * rho
    step = jax.lax.rsqrt(jnp.maximum(variance, eps1 * eps1)) * g
    return -fade * p - alpha / jnp.maximum(1, _rms(step) / d) * step


@jax.jit
def _matrix(g: jax.Array, p: jax.Array, row: jax.Array, col: jax.Array, weight: jax.Array, rest: jax.Array,
            rho: jax.Array, eps1: jax.Array, *others: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    square = g * g
    row = lerp(row, jnp.mean(square, -1, keepdims=True), weight, rest)
    col = lerp(col, jnp.mean(square, -2, keepdims=True), weight, rest)
    variance = row * col / jnp.maximum(jnp.mean(row, -2, keepdims=True), eps1)
    return _apply(g, p, variance, rho, eps1, *others), row, col


@jax.jit
def _vector(g: jax.Array, p: jax.Array, variance: jax.Array, weight: jax.Array, rest: jax.Array, rho: jax.Array,
            eps1: jax.Array, *others: jax.Array) -> tuple[jax.Array, jax.Array]:
    variance = lerp(variance, g * g, weight, rest)
    return _apply(g, p, variance, rho, eps1, *others), variance


class Adafactor(Optimizer):
    """Adafactor with relative steps.

        g = grad                                           (-grad if maximize);  w = t ** beta2_decay
        R = R + w * (row means of g ** 2 - R);  C likewise by columns;  V = R C / max(mean R, eps1)
        V = V + w * (g ** 2 - V)                           for vectors and scalars
        u = g / max(sqrt(V), eps1);  u = u / max(1, rms(u) / d)
        p = p - lr * weight_decay * p - max(eps2, rms(p)) * min(lr, 1 / sqrt(t)) * u

    Rows and columns are those of the last two dimensions. State: "step", and "row_var" and "col_var", or "variance".
    Defaults: lr 1e-2, beta2_decay -0.8, eps (None: the dtype's machine epsilon, 1e-3), d 1, weight_decay 0. ``foreach``
    is accepted.
    Source: torch.optim.Adafactor; Shazeer & Stern 2018, arXiv:1804.04235, who put eps1 inside the moments (as
    optax.adafactor does) and have no lr.
    Raises: ValueError for numbers out of range, RuntimeError for complex parameters or sparse gradients.
    """

    elementwise = False
    hyper_names = ("lr", "beta2_decay", "eps1", "eps2", "d", "weight_decay")

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, beta2_decay: float = -0.8,
                 eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
                 foreach: bool | None = None, maximize: bool = False) -> None:
        check_lr(lr, "Learning rate should be >= 0 but is: {}")
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None:
            check_at_least_zero(eps[0], "epsilon1 should be >= 0 but is: {}")
        check_at_least_zero(eps[1], "epsilon2 should be >= 0 but is: {}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        check_at_least_zero(weight_decay, "weight_decay should be >= 0 but is: {}")
        super().__init__(params, {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d,
                                  "weight_decay": weight_decay, "foreach": foreach, "maximize": maximize})

    def _options(self, group: dict[str, Any]) -> _Options:
        return _Options(group["eps"][0] is None, self._matrix, not is_zero(group["weight_decay"]), group["maximize"])

    def _hyper(self, group: dict[str, Any]) -> list[Any]:
        eps1, eps2 = group["eps"]
        return [group["lr"], group["beta2_decay"], eps1 or 0.0, eps2, group["d"], group["weight_decay"]]

    _matrix = False  # which of the two kinds of parameters the present update is for

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("row_var", "col_var") if self._matrix else ("variance",)

    def _check(self, p: Tensor, group: dict[str, Any]) -> None:
        if p.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        super()._check(p, group)

    def _new_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        if not self._matrix:
            return {"variance": filled(p, 0.0)}
        shape = tuple(p.shape)
        return {"row_var": filled(p, 0.0, shape=(*shape[:-1], 1)),
                "col_var": filled(p, 0.0, shape=(*shape[:-2], 1, shape[-1]))}

    def _step_params(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], hyper: list[Any]) -> None:
        for matrix in (True, False):
            mine = [i for i, p in enumerate(params) if (len(p.shape) > 1) is matrix]
            if mine:
                self._matrix = matrix
                super()._step_params(group, [params[i] for i in mine], [grads[i] for i in mine], hyper)

    @staticmethod
    def rule(options: _Options, h: Hyper, dtype: Any) -> optax.GradientTransformation:
        """The update as an optax transformation, for matrices or for vectors."""
        slots, leaf = (("row_var", "col_var"), _matrix) if options.matrix else (("variance",), _vector)

        def update(grads: Arrays, state: State, params: Arrays) -> tuple[Arrays, State]:
            step = state["step"] + 1
            t = step.astype(h.lr.dtype)
            weight, rho = t**h.beta2_decay, jnp.minimum(h.lr, 1 / jnp.sqrt(t))
            eps1 = jnp.asarray(jnp.finfo(dtype).eps, h.lr.dtype) if options.own_eps1 else h.eps1
            fade = h.lr * h.weight_decay if options.decay else jnp.zeros((), h.lr.dtype)
            scalars = [x.astype(dtype) for x in (weight, 1 - weight, rho, eps1, h.eps2, h.d, fade)]
            columns = [leaf(g, p, *own, *scalars)
                       for g, p, *own in zip(grads, params, *(state[s] for s in slots), strict=True)]
            change, *new = (tuple(column) for column in zip(*columns, strict=True))
            return change, {"step": step, **dict(zip(slots, new, strict=True))}

        return chain(flipped(options.maximize), named(slots, True, update))
