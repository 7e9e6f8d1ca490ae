"""Steps by the gradient's sign, each weight with a step size of its own."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..tensor import Tensor
from ._functional import rprop
from ._rules import Hyper, chain, counted, flipped, plain
from .optimizer import Optimizer, ParamsT, check_lr, filled

__all__ = ["Rprop", "rprop"]


class _Options(NamedTuple):
    maximize: bool


@jax.jit
def _leaf(g: jax.Array, prev: jax.Array, size: jax.Array, shrink: jax.Array, grow: jax.Array, least: jax.Array,
          most: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    agree = jnp.sign(g * prev)
    factor = jnp.where(agree > 0, grow, jnp.where(agree < 0, shrink, 1))
    size = jnp.clip(size * factor, least, most)
    g = jnp.where(agree < 0, 0, g)
    return -jnp.sign(g) * size, g, size


class Rprop(Optimizer):
    """Resilient backpropagation, for full batches.

        g = grad                                           (-grad if maximize)
        s = clip(s * (etas[1] if g agrees in sign with the last g, etas[0] if not, 1 if one is 0), *step_sizes)
        g = 0 where the sign has changed
        p = p - s * sign(g)

    State: "step", "prev" (the last g), "step_size" (s; the learning rate at first).
    Defaults: lr 1e-2, etas (0.5, 1.2), step_sizes (1e-6, 50). ``foreach`` and ``capturable`` are accepted;
    ``differentiable=True`` raises NotImplementedError at the step.
    Source: torch.optim.Rprop; Riedmiller & Braun 1993.
    Raises: ValueError for a negative rate or unless 0 < etas[0] < 1 < etas[1].
    """

    hyper_names = ("shrink", "grow", "least", "most")

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
                 step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False,
                 foreach: bool | None = None, maximize: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, {"lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach,
                                  "maximize": maximize, "differentiable": differentiable, "capturable": capturable})

    def _options(self, group: dict[str, Any]) -> _Options:
        return _Options(group["maximize"])

    def _hyper(self, group: dict[str, Any]) -> list[Any]:
        return [*group["etas"], *group["step_sizes"]]

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("prev", "step_size")

    def _new_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        lr = float(group["lr"])
        return {"prev": filled(p, 0.0), "step_size": filled(p, complex(lr, lr) if p.is_complex() else lr)}

    @staticmethod
    def rule(options: _Options, h: Hyper, dtype: Any) -> optax.GradientTransformation:
        """The update as an optax transformation."""
        scalars = [x.astype(dtype) for x in (h.shrink, h.grow, h.least, h.most)]
        return chain(flipped(options.maximize), counted(), plain(_leaf, ("prev", "step_size"), scalars))
