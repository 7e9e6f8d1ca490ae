"""Adam that leaves rows without gradient alone."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..autograd.mode import no_grad
from ..tensor import Tensor
from ..tensor.recorded import record_update
from ._rules import Arrays, Hyper, State, chain, descend, flipped, named, over_leaves
from .optimizer import Optimizer, ParamsT, check_betas, check_lr

__all__ = ["SparseAdam"]


class _Options(NamedTuple):
    maximize: bool


@jax.jit
def _leaf(g: jax.Array, m: jax.Array, v: jax.Array, c1: jax.Array, c2: jax.Array, gain: jax.Array, eps: jax.Array,
          ) -> tuple[jax.Array, jax.Array, jax.Array]:
    # A row is what one index of the first dimension selects, as in an embedding's gradient.
    hit = jnp.any(g != 0, axis=tuple(range(1, g.ndim)), keepdims=True)
    new_m, new_v = m + c1 * (g - m), v + c2 * (g * g - v)
    d = gain * new_m / (jnp.sqrt(new_v) + eps)
    return jnp.where(hit, d, 0), jnp.where(hit, new_m, m), jnp.where(hit, new_v, v)


def _update_rows(options: _Options, lists: list, hyper: list) -> list:
    """The rule for the rows that are named, each once: the gradients of a row that is there twice are added."""
    (p,), (m,), (v,), (step,), (indices,), (values,) = lists
    step = step + 1
    lr, beta1, beta2, eps = (h.astype(p.dtype) for h in hyper)
    if not indices.shape[1]:
        return [[p], [m], [v], [step]]
    rows, ids = jnp.unique(indices[0], return_inverse=True, size=indices.shape[1], fill_value=p.shape[0])
    g = jnp.zeros_like(values).at[ids].add(-values if options.maximize else values)
    old_m, old_v = (x.at[rows].get(mode="clip") for x in (m, v))
    new_m, new_v = old_m + (1 - beta1) * (g - old_m), old_v + (1 - beta2) * (g * g - old_v)
    t = step.astype(p.dtype)
    change = lr * jnp.sqrt(1 - beta2**t) / (1 - beta1**t) * new_m / (jnp.sqrt(new_v) + eps)
    return [[p.at[rows].add(-change, mode="drop")], [m.at[rows].set(new_m, mode="drop")],
            [v.at[rows].set(new_v, mode="drop")], [step]]  # fmt: skip


class SparseAdam(Optimizer):
    """Adam for embeddings: rows (of the first dimension) that got no gradient keep their value and their averages.

        m = m + (1 - beta1) * (grad - m);  v = v + (1 - beta2) * (grad ** 2 - v)                 (-grad if maximize)
        p = p - lr * sqrt(1 - beta2 ** t) / (1 - beta1 ** t) * m / (sqrt(v) + eps)

    State: "step", "exp_avg" (m), "exp_avg_sq" (v). Defaults: lr 1e-3, betas (0.9, 0.999), eps 1e-8.
    Source: torch.optim.SparseAdam. Differs: gradients may be dense; then a row whose gradient is zero throughout counts
    as one without gradient (PyTorch raises RuntimeError for dense gradients). "step" is a tensor, as in the others.
    Raises: ValueError for numbers out of range, sparse or complex parameters.
    """

    hyper_names = ("lr", "beta1", "beta2", "eps")

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, maximize: bool = False) -> None:
        check_lr(lr)
        if not lr > 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps > 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        everything = [p for group in self.param_groups for p in group["params"]]
        for kind, bad in (("Sparse", [i for i, p in enumerate(everything) if p.is_sparse]),
                          ("Complex", [i for i, p in enumerate(everything) if p.is_complex()])):
            if bad:
                rule = "requires dense parameter tensors" if kind == "Sparse" else "does not support complex parameters"
                raise ValueError(f"{kind} params at indices {bad}: SparseAdam {rule}")

    def _options(self, group: dict[str, Any]) -> _Options:
        return _Options(group["maximize"])

    def _hyper(self, group: dict[str, Any]) -> list[Any]:
        return [group["lr"], *group["betas"], group["eps"]]

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _check(self, p: Tensor, group: dict[str, Any]) -> None:
        pass  # both kinds of gradients

    def _step_params(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], hyper: list[Any]) -> None:
        scaled = getattr(self, "grad_scale", None) is not None or getattr(self, "found_inf", None) is not None
        dense = []
        for p, g in zip(params, grads, strict=True):
            if g.is_sparse and g.sparse_dim() == 1 and not scaled:
                self._step_rows(group, p, g, hyper)
            else:
                dense.append((p, g.to_dense() if g.is_sparse else g))
        if dense:
            super()._step_params(group, [p for p, _ in dense], [g for _, g in dense], hyper)

    def _step_rows(self, group: dict[str, Any], p: Tensor, g: Tensor, hyper: list[Any]) -> None:
        """The update of the rows that a COO gradient names, which touches no others."""
        state = self.state[p]
        if "exp_avg" not in state or "step" not in state:
            with no_grad():
                self._start([p], group)
        columns = [[p], [state["exp_avg"]], [state["exp_avg_sq"]], [state["step"]]]
        record_update("optim.SparseAdam.rows", _update_rows, self._options(group),
                      [*columns, [g._indices()], [g._values()]], hyper, columns)

    @staticmethod
    def rule(options: _Options, h: Hyper, dtype: Any) -> optax.GradientTransformation:
        """The update as an optax transformation."""

        def update(grads: Arrays, state: State, params: Arrays | None = None) -> tuple[Arrays, State]:
            step = state["step"] + 1
            t = step.astype(h.beta1.dtype)
            gain = jnp.sqrt(1 - h.beta2**t) / (1 - h.beta1**t)
            scalars = [x.astype(dtype) for x in (1 - h.beta1, 1 - h.beta2, gain, h.eps)]
            direction, m, v = over_leaves(_leaf, grads, state["exp_avg"], state["exp_avg_sq"], scalars=scalars)
            return direction, {"step": step, "exp_avg": m, "exp_avg_sq": v}

        return chain(flipped(options.maximize), named(("exp_avg", "exp_avg_sq"), True, update), descend(h.lr, dtype))
