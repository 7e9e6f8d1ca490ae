"""Adam, and the base of the optimizers that keep moving averages of the gradient."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..tensor import Tensor
from ._functional import adam
from ._rules import Arrays, Hyper, State, chain, decayed, descend, flipped, is_zero, lerp, named, over_leaves
from .optimizer import Optimizer, ParamsT, check_at_least_zero, check_betas, check_fused, check_lr

__all__ = ["Adam", "adam"]


class _Options(NamedTuple):
    amsgrad: bool
    decay: bool
    decoupled: bool
    maximize: bool


@jax.jit
def _moments(g: jax.Array, m: jax.Array, v: jax.Array, b1: jax.Array, c1: jax.Array, b2: jax.Array, c2: jax.Array,
             gain: jax.Array, root: jax.Array, eps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    m = lerp(m, g, c1, b1)
    v = v * b2 + c2 * g * g
    return gain * m / (jnp.sqrt(v) / root + eps), m, v


@jax.jit
def _moments_max(g: jax.Array, m: jax.Array, v: jax.Array, top: jax.Array, b1: jax.Array, c1: jax.Array,
                 b2: jax.Array, c2: jax.Array, gain: jax.Array, root: jax.Array, eps: jax.Array,
                 ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    m = lerp(m, g, c1, b1)
    v = v * b2 + c2 * g * g
    top = jnp.maximum(top, v)
    return gain * m / (jnp.sqrt(top) / root + eps), m, v, top


def scale_by_adam(h: Hyper, dtype: Any, amsgrad: bool = False) -> optax.GradientTransformation:
    """Adam's direction with PyTorch's state names.

    Unlike optax.scale_by_adam, ``1 - beta`` and the bias corrections are formed in double precision, and amsgrad keeps
    the largest *uncorrected* second moment, as PyTorch does.
    """
    slots = ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if amsgrad else ()))

    def update(grads: Arrays, state: State, params: Arrays | None = None) -> tuple[Arrays, State]:
        step = state["step"] + 1
        t = step.astype(h.beta1.dtype)
        gain, root = 1 / (1 - h.beta1**t), jnp.sqrt(1 - h.beta2**t)
        scalars = [x.astype(dtype) for x in (h.beta1, 1 - h.beta1, h.beta2, 1 - h.beta2, gain, root, h.eps)]
        direction, *new = over_leaves(_moments_max if amsgrad else _moments, grads, *(state[s] for s in slots),
                                      scalars=scalars)
        return direction, {"step": step, **dict(zip(slots, new, strict=True))}

    return named(slots, True, update)


class Adam(Optimizer):
    """Adam, with coupled weight decay or (``decoupled_weight_decay``) AdamW's.

        g = grad + weight_decay * p                        (-grad if maximize; no decay here if decoupled)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g ** 2               (amsgrad: its largest value so far is used below)
        p = p - lr * (m / (1 - beta1 ** t)) / (sqrt(v) / sqrt(1 - beta2 ** t) + eps)      t counts from 1
        p = p - lr * weight_decay * p                      (decoupled: of the p before)

    State: "step" (0-dim float32), "exp_avg" (m), "exp_avg_sq" (v), "max_exp_avg_sq" with amsgrad.
    Defaults: lr 1e-3, betas (0.9, 0.999), eps 1e-8, weight_decay 0. ``foreach``, ``fused`` and ``capturable`` are
    accepted: a group is always updated in one program. ``differentiable=True`` raises NotImplementedError at the step.
    Source: torch.optim.Adam; Kingma & Ba 2015, arXiv:1412.6980; Reddi et al. 2018 (amsgrad).
    Raises: ValueError for negative numbers, betas outside [0, 1) or of mixed kinds, or a Tensor of several elements.
    """

    hyper_names = ("lr", "beta1", "beta2", "eps", "weight_decay")

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3,
                 betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None,
                 maximize: bool = False, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None, decoupled_weight_decay: bool = False) -> None:
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        check_lr(lr)
        check_at_least_zero(eps, "Invalid epsilon value: {}")
        check_betas(betas)
        check_at_least_zero(weight_decay, "Invalid weight_decay value: {}")
        if not (all(isinstance(b, float) for b in betas) or all(isinstance(b, Tensor) for b in betas)):
            raise ValueError("betas must be either both floats or both Tensors")
        for i, beta in enumerate(betas):
            if isinstance(beta, Tensor):
                if not capturable and foreach:
                    raise ValueError(f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True")
                if beta.numel() != 1:
                    raise ValueError(f"Tensor betas[{i}] must be 1-element")
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
                                  "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
                                  "capturable": capturable, "differentiable": differentiable, "fused": fused,
                                  "decoupled_weight_decay": decoupled_weight_decay})
        check_fused(self, fused, foreach, differentiable)

    def _options(self, group: dict[str, Any]) -> _Options:
        return _Options(group["amsgrad"], not is_zero(group["weight_decay"]), group["decoupled_weight_decay"],
                        group["maximize"])

    def _hyper(self, group: dict[str, Any]) -> list[Any]:
        beta1, beta2 = group["betas"]
        return [group["lr"], beta1, beta2, group["eps"], group["weight_decay"]]

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")

    def _check(self, p: Tensor, group: dict[str, Any]) -> None:
        if p.grad.is_sparse:
            raise RuntimeError("Adam does not support sparse gradients, please consider SparseAdam instead")

    @staticmethod
    def rule(options: _Options, h: Hyper, dtype: Any) -> optax.GradientTransformation:
        """The update as an optax transformation."""
        before, after = options.decay and not options.decoupled, options.decay and options.decoupled
        return chain(flipped(options.maximize), decayed(before, h.weight_decay, dtype),
                     scale_by_adam(h, dtype, options.amsgrad), decayed(after, h.weight_decay, dtype),
                     descend(h.lr, dtype))
