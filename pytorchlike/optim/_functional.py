"""The optimizers as functions of lists of tensors, which they update in place: ``torch.optim.adam.adam`` and others.

Each makes an optimizer of the parameters given for the length of a call, so the update is the recorded one, and ends a
training step. The lists are those of PyTorch's functions, in their order; what says how PyTorch computes (foreach,
fused, capturable, differentiable, has_complex, has_sparse_grad) is accepted if it does not ask for something else.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..tensor import Tensor

__all__ = ["adadelta", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam", "rmsprop", "rprop", "sgd",
           "sparse_adam"]

#: name: (class, [(list, state name)], options with a default, options without)
_KINDS: dict[str, tuple[str, str, str, str]] = {
    "adam": ("Adam", "exp_avgs:exp_avg exp_avg_sqs:exp_avg_sq max_exp_avg_sqs:max_exp_avg_sq state_steps:step",
             "foreach capturable differentiable fused grad_scale found_inf has_complex decoupled_weight_decay",
             "amsgrad beta1 beta2 lr weight_decay eps maximize"),
    "adamw": ("AdamW", "exp_avgs:exp_avg exp_avg_sqs:exp_avg_sq max_exp_avg_sqs:max_exp_avg_sq state_steps:step",
              "foreach capturable differentiable fused grad_scale found_inf has_complex",
              "amsgrad beta1 beta2 lr weight_decay eps maximize"),
    "sgd": ("SGD", "momentum_buffer_list:momentum_buffer",
            "has_sparse_grad foreach fused grad_scale found_inf",
            "weight_decay momentum lr dampening nesterov maximize"),
    "rmsprop": ("RMSprop", "square_avgs:square_avg grad_avgs:grad_avg momentum_buffer_list:momentum_buffer "
                "state_steps:step", "foreach maximize differentiable capturable has_complex",
                "lr alpha eps weight_decay momentum centered"),
    "adagrad": ("Adagrad", "state_sums:sum state_steps:step",
                "fused grad_scale found_inf has_sparse_grad foreach differentiable has_complex",
                "lr weight_decay lr_decay eps maximize"),
    "adadelta": ("Adadelta", "square_avgs:square_avg acc_deltas:acc_delta state_steps:step",
                 "capturable foreach differentiable has_complex", "lr rho eps weight_decay maximize"),
    "adamax": ("Adamax", "exp_avgs:exp_avg exp_infs:exp_inf state_steps:step",
               "foreach maximize differentiable capturable has_complex", "eps beta1 beta2 lr weight_decay"),
    "asgd": ("ASGD", "axs:ax mus:mu etas:eta state_steps:step",
             "foreach maximize differentiable capturable has_complex", "lambd lr t0 alpha weight_decay"),
    "nadam": ("NAdam", "exp_avgs:exp_avg exp_avg_sqs:exp_avg_sq mu_products:mu_product state_steps:step",
              "decoupled_weight_decay foreach capturable differentiable has_complex maximize",
              "beta1 beta2 lr weight_decay momentum_decay eps"),
    "radam": ("RAdam", "exp_avgs:exp_avg exp_avg_sqs:exp_avg_sq state_steps:step",
              "decoupled_weight_decay foreach differentiable capturable has_complex maximize",
              "beta1 beta2 lr weight_decay eps"),
    "rprop": ("Rprop", "prevs:prev step_sizes:step_size state_steps:step",
              "foreach capturable maximize differentiable has_complex",
              "step_size_min step_size_max etaminus etaplus"),
    "sparse_adam": ("SparseAdam", "exp_avgs:exp_avg exp_avg_sqs:exp_avg_sq state_steps:step", "",
                    "eps beta1 beta2 lr maximize"),
}  # fmt: skip
_FLAGS = ("decoupled_weight_decay", "maximize")  # options with a default that change the result
_HOW = "foreach, capturable, fused, has_complex and has_sparse_grad"


def _function(name: str) -> Callable[..., None]:
    kind, lists, optional, options = _KINDS[name]
    slots = [pair.split(":") for pair in lists.split()]
    any_position, by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    grads = "d_p_list" if name == "sgd" else "grads"
    signature = inspect.Signature([
        *(inspect.Parameter(p, any_position) for p in ("params", grads, *(given for given, _ in slots))),
        *(inspect.Parameter(p, any_position, default=None if p in ("foreach", "fused", "grad_scale", "found_inf")
                            else False) for p in optional.split()),
        *(inspect.Parameter(p, by_name) for p in options.split()),
    ])

    def step(*args: Any, **kwargs: Any) -> None:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        for each in ("grad_scale", "found_inf"):
            if given.get(each) is not None:
                raise NotImplementedError(f"{name}: {each} is not taken here; use torch.amp.GradScaler")
        if given.get("differentiable"):
            raise NotImplementedError(f"{name}: differentiable=True is not there; see torch.func.functional_call")
        told = {p: given[p] for p in options.split()} | {p: given[p] for p in _FLAGS if p in optional.split()}
        _step(kind, given["params"], given[grads], {state: given[p] for p, state in slots}, told)

    step.__name__ = step.__qualname__ = name
    step.__signature__ = signature
    step.__doc__ = (f"One step of :class:`{kind}`: `params`, and the lists of its state, are updated in place.\n\n"
                    f"    ``state_steps`` are tensors (); {_HOW} say how PyTorch computes, and change nothing.")
    return step


def _step(kind: str, params: Sequence[Tensor], grads: Sequence[Tensor | None], state: dict[str, Sequence[Any]],
          options: dict[str, Any]) -> None:
    for pair, names in (("betas", ("beta1", "beta2")), ("etas", ("etaminus", "etaplus")),
                        ("step_sizes", ("step_size_min", "step_size_max"))):
        if names[0] in options:
            options[pair] = tuple(options.pop(n) for n in names)
    leaves = [p.detach() for p in params]
    made = getattr(importlib.import_module("..optim", __package__), kind)(leaves, **options)
    counters = state.get("step")
    for i, (leaf, grad) in enumerate(zip(leaves, grads, strict=True)):
        if grad is None:
            continue
        leaf.grad = grad
        own = {name: values[i] for name, values in state.items() if i < len(values) and values[i] is not None}
        if own:
            made.state[leaf].update(own)
    made.step()
    for name, values in state.items():  # what did not exist before, such as SGD's first momentum
        if isinstance(values, list) and values is not counters:
            for i, leaf in enumerate(leaves):
                if i < len(values) and values[i] is None and name in made.state[leaf]:
                    values[i] = made.state[leaf][name]


adadelta = _function("adadelta")
adagrad = _function("adagrad")
adam = _function("adam")
adamax = _function("adamax")
adamw = _function("adamw")
asgd = _function("asgd")
nadam = _function("nadam")
radam = _function("radam")
rmsprop = _function("rmsprop")
rprop = _function("rprop")
sgd = _function("sgd")
sparse_adam = _function("sparse_adam")
