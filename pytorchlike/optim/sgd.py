"""Stochastic gradient descent."""

from typing import Any, NamedTuple

import jax
import optax

from ..tensor import Tensor
from ._functional import sgd
from ._rules import Hyper, chain, decayed, descend, flipped, is_zero, plain
from .optimizer import Optimizer, ParamsT, check_at_least_zero, check_fused, check_lr

__all__ = ["SGD", "sgd"]


class _Options(NamedTuple):
    momentum: bool
    nesterov: bool
    decay: bool
    maximize: bool


@jax.jit
def _trace(g: jax.Array, buf: jax.Array, momentum: jax.Array, fresh: jax.Array) -> tuple[jax.Array, jax.Array]:
    buf = buf * momentum + g * fresh
    return buf, buf


@jax.jit
def _nesterov(g: jax.Array, buf: jax.Array, momentum: jax.Array, fresh: jax.Array) -> tuple[jax.Array, jax.Array]:
    buf = buf * momentum + g * fresh
    return g + buf * momentum, buf


class SGD(Optimizer):
    """Stochastic gradient descent with PyTorch's momentum.

        g = grad + weight_decay * p                        (-grad if maximize)
        b = g at the first step, then momentum * b + (1 - dampening) * g
        p = p - lr * (g if momentum is 0 else g + momentum * b if nesterov else b)

    State: "momentum_buffer" (b) of each parameter, only with momentum.
    Defaults: lr 1e-3, momentum, dampening and weight_decay 0. ``foreach`` and ``fused`` are accepted: a group is always
    updated in one program. ``differentiable=True`` raises NotImplementedError at the step.
    Differs:  optax.sgd has no dampening; Sutskever et al. 2013 multiply by lr inside b.
    Source:   torch.optim.SGD; https://proceedings.mlr.press/v28/sutskever13.html
    Raises:   ValueError for negative numbers, or nesterov without momentum or with dampening.
    """

    hyper_names = ("lr", "momentum", "dampening", "weight_decay")
    counted = False

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3, momentum: float = 0, dampening: float = 0,
                 weight_decay: float | Tensor = 0, nesterov: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None) -> None:
        check_lr(lr)
        check_at_least_zero(momentum, "Invalid momentum value: {}")
        check_at_least_zero(weight_decay, "Invalid weight_decay value: {}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening,
                                  "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize,
                                  "foreach": foreach, "differentiable": differentiable, "fused": fused})
        check_fused(self, fused, foreach, differentiable)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for own in self.state.values():  # PyTorch may write None for a buffer not begun
            if isinstance(own, dict) and own.get("momentum_buffer", 0) is None:
                del own["momentum_buffer"]

    def _options(self, group: dict[str, Any]) -> _Options:
        return _Options(not is_zero(group["momentum"]), group["nesterov"], not is_zero(group["weight_decay"]),
                        group["maximize"])

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return () if is_zero(group["momentum"]) else ("momentum_buffer",)

    def _check(self, p: Tensor, group: dict[str, Any]) -> None:
        pass  # sparse gradients are added like dense ones

    def _step_composed(self, group: dict[str, Any], p: Tensor) -> None:
        if not is_zero(group["momentum"]) or not is_zero(group["weight_decay"]):
            super()._step_composed(group, p)
        p.add_(p.grad, alpha=float(group["lr"]) * (1 if group["maximize"] else -1))

    @property
    def _takes_found_inf(self) -> bool:
        # whether a step was a buffer's first one, which dampening skips, is known without reading only if none is held
        return all(is_zero(group["momentum"]) or is_zero(group["dampening"]) for group in self.param_groups)

    def _replayable(self, group: dict[str, Any]) -> bool:
        return is_zero(group["momentum"]) or is_zero(group["dampening"])

    def _step_params(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], hyper: list[Any]) -> None:
        if not is_zero(group["weight_decay"]) and any(g.is_sparse for g in grads):
            raise RuntimeError("SGD's weight_decay is not defined for sparse gradients: add(sparse, dense) is not "
                               "supported")
        grads = [g.to_dense() if g.is_sparse else g for g in grads]
        if is_zero(group["momentum"]) or is_zero(group["dampening"]):
            super()._step_params(group, params, grads, hyper)
            return
        # Dampening skips a buffer's first step: then the program is the same, with another number.
        begun = ["momentum_buffer" in self.state[p] for p in params]
        for choice in (True, False):
            mine = [i for i, b in enumerate(begun) if b is choice]
            if mine:
                numbers = hyper if choice else [*hyper[:2], 0.0, hyper[3]]
                super()._step_params(group, [params[i] for i in mine], [grads[i] for i in mine], numbers)

    @staticmethod
    def rule(options: _Options, h: Hyper, dtype: Any) -> optax.GradientTransformation:
        """The update as an optax transformation."""
        trace = None
        if options.momentum:
            scalars = [x.astype(dtype) for x in (h.momentum, 1 - h.dampening)]
            trace = plain(_nesterov if options.nesterov else _trace, ("momentum_buffer",), scalars)
        return chain(flipped(options.maximize), decayed(options.decay, h.weight_decay, dtype), trace,
                     descend(h.lr, dtype))
