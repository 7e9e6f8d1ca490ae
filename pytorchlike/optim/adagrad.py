"""Steps divided by the root of all squared gradients so far."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..tensor import Tensor
from ._functional import adagrad
from ._rules import Arrays, Hyper, State, chain, decayed, descend, flipped, is_zero, named, over_leaves
from .optimizer import Optimizer, ParamsT, check_at_least_zero, check_fused, check_lr, filled

__all__ = ["Adagrad", "adagrad"]


class _Options(NamedTuple):
    decay: bool
    maximize: bool


@jax.jit
def _leaf(g: jax.Array, total: jax.Array, share: jax.Array, eps: jax.Array) -> tuple[jax.Array, jax.Array]:
    total = total + g * g
    return share * g / (jnp.sqrt(total) + eps), total


class Adagrad(Optimizer):
    """Adagrad.

        g = grad + weight_decay * p                        (-grad if maximize)
        s = s + g ** 2                                     initial_accumulator_value at first
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    State, made with the optimizer: "step", "sum" (s). Defaults: lr 1e-2, lr_decay, weight_decay and
    initial_accumulator_value 0, eps 1e-10. ``foreach`` and ``fused`` are accepted; ``differentiable=True`` raises
    NotImplementedError at the step.
    Source: torch.optim.Adagrad; Duchi, Hazan & Singer 2011. Differs: optax.adagrad puts eps inside the root.
    Raises: ValueError for negative numbers.
    """

    hyper_names = ("lr", "lr_decay", "eps", "weight_decay")

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
                 initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
                 maximize: bool = False, differentiable: bool = False, fused: bool | None = None) -> None:
        check_lr(lr)
        check_at_least_zero(lr_decay, "Invalid lr_decay value: {}")
        check_at_least_zero(weight_decay, "Invalid weight_decay value: {}")
        check_at_least_zero(initial_accumulator_value, "Invalid initial_accumulator_value value: {}")
        check_at_least_zero(eps, "Invalid epsilon value: {}")
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                                  "initial_accumulator_value": initial_accumulator_value, "foreach": foreach,
                                  "maximize": maximize, "differentiable": differentiable, "fused": fused})
        check_fused(self, fused, foreach, differentiable)
        for group in self.param_groups:
            self._start(group["params"], group)

    def share_memory(self) -> None:
        """Move the sums to shared memory, for training by several processes."""
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["sum"].share_memory_()

    def _options(self, group: dict[str, Any]) -> _Options:
        return _Options(not is_zero(group["weight_decay"]), group["maximize"])

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("sum",)

    def _check(self, p: Tensor, group: dict[str, Any]) -> None:
        if p.is_sparse:  # while its gradients are added like dense ones, see _step_params
            raise RuntimeError("Adagrad: memory format option is only supported by strided tensors, and so are sums "
                               "for sparse parameters")

    def _new_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        value = group["initial_accumulator_value"]
        return {"sum": filled(p, complex(value, value) if p.is_complex() else value)}

    def _step_params(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], hyper: list[Any]) -> None:
        if any(g.is_sparse for g in grads) and not is_zero(group["weight_decay"]):
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        super()._step_params(group, params, [g.to_dense() if g.is_sparse else g for g in grads], hyper)

    def _replayable(self, group: dict[str, Any]) -> bool:
        return True

    @staticmethod
    def rule(options: _Options, h: Hyper, dtype: Any) -> optax.GradientTransformation:
        """The update as an optax transformation."""

        def update(grads: Arrays, state: State, params: Arrays | None = None) -> tuple[Arrays, State]:
            step = state["step"] + 1
            share = 1 / (1 + (step.astype(h.lr.dtype) - 1) * h.lr_decay)
            direction, total = over_leaves(_leaf, grads, state["sum"],
                                           scalars=[share.astype(dtype), h.eps.astype(dtype)])
            return direction, {"step": step, "sum": total}

        return chain(flipped(options.maximize), decayed(options.decay, h.weight_decay, dtype),
                     named(("sum",), True, update), descend(h.lr, dtype))
