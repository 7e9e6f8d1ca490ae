"""``torch.cond``: one of two functions, chosen by a tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from ..utils._pytree import tree_flatten, tree_unflatten
from ._recorded import count_checks, record_part, record_parts, report_all, same_metas


def cond(pred: bool | int | float | Tensor, true_fn: Callable[..., Any], false_fn: Callable[..., Any],
         operands: tuple | list = ()) -> Any:  # fmt: skip
    """``true_fn(*operands) if pred else false_fn(*operands)``, without the value of ``pred`` being read.

    pred:      a tensor of one element, or a number (then the branch is simply called).
    operands:  a tuple of tensors, or nested containers of them.  Tensors that the functions refer to work too.

    Both functions are called to be recorded, and must return tensors of the same structure, shapes and dtypes; one of
    them is executed.  Gradients flow through the branch that was taken.  Under ``vmap`` over ``pred`` both are
    executed.

    Raises:  RuntimeError for another kind of pred, operands or functions, results that differ, or branches that write
             to their inputs.
    """
    if not isinstance(pred, (bool, int, float, Tensor)):
        raise RuntimeError(f"Expected pred to be bool or tensor, but got {pred}.")
    if isinstance(pred, Tensor) and pred.numel() != 1:
        raise RuntimeError(f"Expected pred to be bool or single-element tensor, but got {pred}.")
    if not callable(true_fn) or not callable(false_fn):
        raise RuntimeError("Expect both branches to be callable.")
    leaves, spec = tree_flatten(tuple(operands) if isinstance(operands, list) else operands)
    if not isinstance(operands, (tuple, list)) or not all(isinstance(x, Tensor) for x in leaves):
        raise RuntimeError(
            "Expect operands to be a tuple of possibly nested dict/list/tuple that only consists of tensor leaves, but "
            f"got {operands}."
        )
    if not isinstance(pred, Tensor):
        return true_fn(*operands) if pred else false_fn(*operands)
    values = [x._get() for x in leaves]
    shapes = [(v.meta.shape, v.meta) for v in values]
    parts = [record_part("cond", fn, shapes, values, spec) for fn in (true_fn, false_fn)]
    same_metas("cond", "true_fn's and false_fn's outputs", parts[0], parts[1].spec, parts[1].metas())
    bodies = [p.body for p in parts]
    n_checks = [count_checks(b) for b in bodies]

    def make() -> Callable[..., Any]:
        def run(arguments: tuple, evaluate: list) -> tuple:
            import jax.numpy as jnp
            from jax import lax

            def branch(k: int) -> Callable[..., Any]:
                def taken(params: tuple) -> tuple:
                    outs, flags = evaluate[k](params)
                    fine = jnp.asarray(True)
                    mine = [jnp.all(f) for f in flags]
                    return outs, [mine, [fine] * n_checks[1]] if k == 0 else [[fine] * n_checks[0], mine]

                return taken

            chosen = jnp.reshape(arguments[0], ()) != 0
            outs, flags = lax.cond(chosen, branch(0), branch(1), tuple(arguments[1:]))
            report_all(bodies, flags)
            return outs

        return run

    grads = [bool(a.grad or b.grad) for a, b in zip(parts[0].metas(), parts[1].metas(), strict=True)]
    got = record_parts("cond", parts, [pred._get(), *values], (), make, grads)
    return tree_unflatten([Tensor._of(v) for v in got], parts[0].spec)
