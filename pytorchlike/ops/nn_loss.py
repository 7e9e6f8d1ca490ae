"""Losses."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..engine import check
from ._dtypes import is_boolean, is_inexact, type_name
from ._numeric import divisor
from ._shapes import classified, compared
from ._sizes import broadcast_sizes
from ._table import Array, Operand, op, result_type, to_float, within


def _reduce(loss, reduction: str):
    if reduction == "mean":
        total = loss.sum()
        return total / divisor(loss.size, total)
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction: expected 'none', 'mean' or 'sum'")


def _check_reduction(reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction: expected 'none', 'mean' or 'sum'")


def _list(x) -> str:
    return str(list(x.shape))


#: The difference of a column and a row is a matrix, whose mean hardly anybody wants.
_SIZES_DIFFER = (
    "input.shape != target.shape",
    "Using a target size ({target.shape}) that is different to the input size ({input.shape}). This will likely "
    "lead to incorrect results due to broadcasting. Please ensure they have the same size.",
)


def _broadcast(name: str, *arrays):
    """Arrays of one shape, by broadcasting; RuntimeError naming the last sizes that disagree."""
    shape = broadcast_sizes(*[a.shape for a in arrays], name=name)
    return tuple(jnp.broadcast_to(a, shape) for a in arrays)


def _require_float(name: str, x) -> None:
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        raise NotImplementedError(f'"{name}" not implemented for {type_name(x.dtype)!r}: pass a floating point tensor')


def _pair(name: str, input, target):
    """Two operands in their common dtype and shape."""
    dtype = result_type(input, target)
    input, target = _broadcast(name, input.astype(dtype), target.astype(dtype))
    _require_float(name, input)
    return input, target


def _like_input(loss, dtype):
    """In the input's dtype, whatever that of the target is, unless the input holds integers."""
    return loss.astype(dtype) if jnp.issubdtype(dtype, jnp.floating) else loss


# ---- classes ---------------------------------------------------------------------------------------------------------


def _target_precheck(name: str, axis_of_classes=None):
    """At once, if the target is known on the host: IndexError 'Target 5 is out of bounds.' Shapes that do not fit are
    told by the operation itself."""

    def precheck(bound: dict) -> None:
        target, shape = bound.get("target"), bound.get("input.shape")
        if target is None or shape is None or not shape or target.dtype.kind not in "iu" or not target.size:
            return
        classes = shape[0 if len(shape) == 1 else 1]
        if within(target, classes):
            return
        wrong = ((target < 0) | (target >= classes)) & (target != bound.get("ignore_index", -100))
        fits = target.size == 1 if len(shape) == 1 else target.shape == (shape[0], *shape[2:])
        if fits and wrong.any():
            value = int(target[wrong].reshape(-1)[0])
            raise IndexError(f"Target {value} is out of bounds. {name} got {classes} classes")

    return precheck


def _check_classes(name, input, target, weight):
    """Checks for class indices; returns the axis of the classes and the number of classes."""
    if input.ndim < 1:
        raise ValueError(f"Expected 1 or more dimensions (got 0) ({name})")
    if input.ndim == 1:
        if target.ndim > 1 or target.size != 1:
            raise ValueError(
                f"{name}: input of shape {_list(input)} is one sample, so target must be one class, but it has shape "
                f"{_list(target)}"
            )
        axis = 0
    else:
        axis = 1
        if target.ndim < 1 or input.shape[0] != target.shape[0]:
            size = target.shape[0] if target.ndim else 1
            raise ValueError(
                f"Expected input batch_size ({input.shape[0]}) to match target batch_size ({size}). ({name}: input "
                f"{_list(input)}, target {_list(target)})"
            )
        if input.shape[2:] != target.shape[1:]:
            if input.ndim == 4 and target.ndim != 3:
                raise RuntimeError(
                    "only batches of spatial targets supported (3D tensors) but got targets of "
                    f"dimension: {target.ndim} ({name})"
                )
            if input.ndim == 2:
                raise RuntimeError(
                    f"0D or 1D target tensor expected, multi-target not supported ({name}: input {_list(input)}, "
                    f"target {_list(target)})"
                )
            raise RuntimeError(
                f"Expected target size {[input.shape[0], *input.shape[2:]]}, got {_list(target)} ({name}: input "
                f"{_list(input)})"
            )
    if target.dtype not in (jnp.int64, jnp.uint8):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {type_name(target.dtype)} ({name})")
    classes = input.shape[axis]
    if weight is not None and weight.shape != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor of "
            f"shape: {_list(weight)} ({name})"
        )
    return axis, classes


def _kept(name, target, classes: int, ignore_index: int):
    """Which targets count, and the targets made safe."""
    keep = target != ignore_index
    index = target.astype(jnp.int32)
    ok = jnp.all(~keep | ((index >= 0) & (index < classes)))
    check(ok, IndexError, f"Target is out of bounds. {name} got a class outside [0, {classes})")
    return keep, jnp.clip(jnp.where(keep, index, 0), 0, max(classes - 1, 0))


def _pick(x, index, axis: int):
    """x at index along axis, with that axis gone."""
    if axis == 0:
        return lax.dynamic_index_in_dim(x, index.reshape(()), 0, keepdims=False).reshape(index.shape)
    if x.ndim == 2:
        return jnp.take_along_axis(x, index[:, None], 1, mode="clip")[:, 0]
    # With further axes the gradient of a gather is a slow scatter; a comparison with the classes is not.
    classes = jnp.arange(x.shape[1], dtype=index.dtype).reshape(-1, *(1,) * (x.ndim - 2))
    return jnp.where(classes == index[:, None], x, 0).sum(1)


def _weighted_mean(loss, factor, reduction: str):
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    return loss.sum() / factor.sum()


@op(namespace="nn.functional", out=False, precheck=_target_precheck("nll_loss"), shapes=classified)
def nll_loss(
    input: Array,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
):
    """Minus the log-probability of the target class, times its weight.

    Shapes: input (N, C, *) or (C,) of log-probabilities, target (N, *) or () of int64, weight (C,).
    reduction: "mean" divides by the weights of the targets that are not ignore_index.
    Raises: IndexError for a class outside [0, C), ValueError and RuntimeError for shapes that do not fit.
    """
    _check_reduction(reduction)
    axis, classes = _check_classes("nll_loss", input, target, weight)
    _require_float("nll_loss", input)
    keep, index = _kept("nll_loss", target, classes, ignore_index)
    factor = jnp.where(keep, 1 if weight is None else jnp.take(weight, index, mode="clip"), 0).astype(input.dtype)
    # where, not a product: an ignored -inf must not turn into nan.
    loss = jnp.where(keep, -_pick(input, index, axis), 0) * factor
    return _weighted_mean(loss, factor, reduction)


def _cross_entropy_classes(input, target, weight, ignore_index, reduction, label_smoothing):
    axis, classes = _check_classes("cross_entropy", input, target, weight)
    keep, index = _kept("cross_entropy", target, classes, ignore_index)
    x = input.astype(jnp.float32) if input.dtype in (jnp.float16, jnp.bfloat16) else input
    # logsumexp less the logit, instead of all log-probabilities: the gradient is one softmax, 2.5 times as quick.
    total = jax.nn.logsumexp(x, axis)
    total = total.reshape(index.shape)
    loss = total - _pick(x, index, axis)
    factor = jnp.where(keep, 1 if weight is None else jnp.take(weight, index, mode="clip"), 0).astype(x.dtype)
    loss = jnp.where(keep, loss, 0) * factor
    if label_smoothing:
        if weight is None:
            spread = total * classes - x.sum(axis).reshape(index.shape)
        else:
            scale = weight.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - axis - 1))
            spread = total * weight.astype(x.dtype).sum() - (x * scale).sum(axis).reshape(index.shape)
        spread = jnp.where(keep, spread, 0)
        share = label_smoothing / classes
        loss = (1 - label_smoothing) * loss + share * spread
    return _weighted_mean(loss, factor, reduction).astype(input.dtype)


def _cross_entropy_probabilities(input, target, weight, reduction, label_smoothing):
    if not jnp.issubdtype(target.dtype, jnp.floating):
        raise RuntimeError(
            f"Expected floating point type for target with class probabilities, got {type_name(target.dtype)}"
        )
    axis = 0 if input.ndim == 1 else 1
    classes = input.shape[axis]
    if weight is not None and weight.shape != (classes,):
        raise RuntimeError(
            f"cross_entropy: weight tensor should be defined either for all {classes} classes or no "
            f"classes but got weight tensor of shape: {_list(weight)}"
        )
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    logs = jax.nn.log_softmax(input, axis)
    if weight is not None:
        logs = logs * weight.reshape(-1, *(1,) * (input.ndim - axis - 1))
    loss = -(logs * target).sum(axis)
    if reduction == "mean":
        # Over samples and places, not over classes.
        return loss.sum() / (input.size / classes if input.ndim > 1 and classes else 1)
    return _reduce(loss, reduction)


@op(namespace="nn.functional", out=False, precheck=_target_precheck("cross_entropy"), shapes=classified)
def cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
):
    """Cross entropy of logits with class indices, or with class probabilities (a target shaped like input).

    Shapes: input (N, C, *) or (C,); target (N, *) or () of int64, or that of input with floats; weight (C,).
    reduction: "mean" divides by the weights of the targets that are not ignore_index (probabilities: by the samples).
    label_smoothing: the share, in [0, 1], given to the uniform distribution (Szegedy et al. 2015, arXiv:1512.00567).
    Raises: IndexError for a class outside [0, C), ValueError and RuntimeError for shapes that do not fit.
    """
    _check_reduction(reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing} (cross_entropy)")
    _require_float("cross_entropy", input)
    if target.shape == input.shape:
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target (cross_entropy)")
        return _cross_entropy_probabilities(input, target, weight, reduction, label_smoothing)
    return _cross_entropy_classes(input, target, weight, ignore_index, reduction, label_smoothing)


# ---- distances -------------------------------------------------------------------------------------------------------


def _weigh(name, loss, weight, reduction: str):
    """PyTorch's weighted reductions: "mean" divides by the sum of the weights."""
    _check_reduction(reduction)
    if weight is None:
        return _reduce(loss, reduction)
    if weight.shape != loss.shape:
        raise ValueError(f"Weights and input must have the same size. {name} got {_list(weight)} and {_list(loss)}")
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else _reduce(loss, reduction)


@op(namespace="nn.functional", out=False, shapes=compared, deprecated=_SIZES_DIFFER)
def mse_loss(input: Array, target: Array, *, reduction: str = "mean", weight: Array | None = None):
    """Squared differences.  Shapes: input and target broadcast.  weight: of their shape; "mean" divides by its sum."""
    _check_reduction(reduction)
    input, target = _pair("mse_loss", input, target)
    return _weigh("mse_loss", jnp.square(input - target), weight, reduction)


@op(namespace="nn.functional", out=False, shapes=compared, deprecated=_SIZES_DIFFER)
def l1_loss(input: Array, target: Array, *, reduction: str = "mean", weight: Array | None = None):
    """Absolute differences (gradient 0 at 0).  Shapes: input and target broadcast.  weight: as in mse_loss."""
    _check_reduction(reduction)
    input, target = _pair("l1_loss", input, target)
    return _weigh("l1_loss", jnp.abs(input - target), weight, reduction)


@op(namespace="nn.functional", out=False, shapes=compared, deprecated=_SIZES_DIFFER)
def smooth_l1_loss(input: Array, target: Array, *, reduction: str = "mean", beta: float = 1.0):
    """``d ** 2 / (2 * beta)`` where ``|d| < beta``, else ``|d| - beta / 2``, with d = input - target (they broadcast).

    Raises: RuntimeError for a negative beta.  Source: Girshick 2015, arXiv:1504.08083.
    """
    _check_reduction(reduction)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta. Got {beta}")
    input, target = _pair("smooth_l1_loss", input, target)
    d = input - target
    size = jnp.abs(d)
    if beta == 0:
        return _reduce(size, reduction)
    return _reduce(jnp.where(size < beta, d * d * (0.5 / beta), size - 0.5 * beta), reduction)


@op(namespace="nn.functional", out=False, shapes=compared, deprecated=_SIZES_DIFFER)
def huber_loss(
    input: Array, target: Array, reduction: str = "mean", delta: float = 1.0, weight: Array | None = None
):
    """``d ** 2 / 2`` where ``|d| <= delta``, else ``delta * (|d| - delta / 2)``, with d = input - target.

    Shapes: input and target broadcast.  weight: of their shape.  Raises: RuntimeError for delta <= 0.
    """
    _check_reduction(reduction)
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta. Got {delta}")
    dtype = input.dtype
    input, target = _pair("huber_loss", input, target)
    d = input - target
    size = jnp.abs(d)
    loss = _like_input(jnp.where(size <= delta, 0.5 * d * d, delta * (size - 0.5 * delta)), dtype)
    if weight is not None:  # "mean" counts the elements here, unlike mse_loss
        loss = _weigh("huber_loss", loss, weight, "none")
    return _reduce(loss, reduction)


# ---- binary ----------------------------------------------------------------------------------------------------------


@jax.custom_jvp
def _bce(x, t):
    return -(t * jnp.maximum(jnp.log(x), -100) + (1 - t) * jnp.maximum(jnp.log1p(-x), -100))


@_bce.defjvp
def _bce_jvp(primals, tangents):
    # PyTorch's gradient: finite at probabilities 0 and 1, where the logarithms are cut off at -100.
    (x, t), (dx, dt) = primals, tangents
    slope = (x - t) / jnp.maximum((1 - x) * x, 1e-12)
    return _bce(x, t), slope * dx + (jnp.log1p(-x) - jnp.log(x)) * dt


@op(namespace="nn.functional", out=False, shapes=compared)
def binary_cross_entropy(input: Array, target: Array, weight: Array | None = None, *, reduction: str = "mean"):
    """``-(t * log(x) + (1 - t) * log(1 - x))`` of probabilities x, with the logarithms cut off at -100.

    Shapes: input and target alike; weight broadcasts.  Raises: ValueError when the shapes differ, RuntimeError for
    values outside [0, 1] or another dtype.
    """
    _check_reduction(reduction)
    if input.shape != target.shape:
        raise ValueError(
            f"Using a target size (torch.Size({_list(target)})) that is different to the input size "
            f"(torch.Size({_list(input)})) is deprecated. Please ensure they have the same size. (binary_cross_entropy)"
        )
    if target.dtype != input.dtype:
        raise RuntimeError(
            f"Found dtype {type_name(target.dtype)} but expected {type_name(input.dtype)} (binary_cross_entropy)"
        )
    _require_float("binary_cross_entropy", input)
    check(
        jnp.all((input >= 0) & (input <= 1)),
        RuntimeError,
        "all elements of input should be between 0 and 1 (binary_cross_entropy)",
    )
    check(
        jnp.all((target >= 0) & (target <= 1)),
        RuntimeError,
        "all elements of target should be between 0 and 1 (binary_cross_entropy)",
    )
    loss = _bce(input, target)
    if weight is not None:
        loss = loss * _broadcast("binary_cross_entropy", weight, input)[0]
    return _reduce(loss, reduction)


@op(namespace="nn.functional", out=False, shapes=compared)
def binary_cross_entropy_with_logits(
    input: Array,
    target: Array,
    weight: Array | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Array | None = None,
):
    """Binary cross entropy of ``sigmoid(input)``, without overflow.

    Shapes: input and target alike; weight and pos_weight (the factor of the positive term) broadcast.
    Raises: ValueError when the shapes differ.
    """
    _check_reduction(reduction)
    if input.shape != target.shape:
        raise ValueError(
            f"Target size (torch.Size({_list(target)})) must be the same as input size (torch.Size({_list(input)})) "
            f"(binary_cross_entropy_with_logits)"
        )
    _require_float("binary_cross_entropy_with_logits", input)
    if is_boolean(target.dtype):
        raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
                           "`logical_xor()` operator instead. (binary_cross_entropy_with_logits: target)")  # fmt: skip
    if not is_inexact(target.dtype):
        raise RuntimeError(f"result type {type_name(result_type(input, target))} can't be cast to the desired output "
                           f"type {type_name(target.dtype)} (binary_cross_entropy_with_logits: target)")  # fmt: skip
    dtype = target.dtype  # the result's: PyTorch computes in place of 1 - target
    target = target.astype(result_type(input, target))
    # softplus(-x) is -log(sigmoid(x)).
    if pos_weight is None:
        loss = (1 - target) * input + _softplus_minus(input)
    else:
        pos_weight = _broadcast("binary_cross_entropy_with_logits", pos_weight, input)[0]
        loss = (1 - target) * input + (1 + (pos_weight - 1) * target) * _softplus_minus(input)
    if weight is not None:
        loss = loss * _broadcast("binary_cross_entropy_with_logits", weight, input)[0]
    return _reduce(_like_input(loss, dtype), reduction)


@jax.custom_jvp
def _softplus_minus(x):
    """log(1 + exp(-x)), with the plain derivative sigmoid(x) - 1 (that of the stable form has a kink at 0)."""
    return jnp.maximum(-x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@_softplus_minus.defjvp
def _softplus_minus_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _softplus_minus(x), -lax.logistic(-x) * dx


@op(namespace="nn.functional", out=False)
def soft_margin_loss(input: Array, target: Array, *, reduction: str = "mean"):
    """``log(1 + exp(-target * input))`` for targets of 1 or -1 (target is broadcast to input)."""
    _check_reduction(reduction)
    given, dtype = input.shape, input.dtype
    input, target = _pair("soft_margin_loss", input, target)
    if input.shape != given:
        raise RuntimeError(f"output with shape {list(given)} doesn't match the broadcast shape {list(input.shape)}")
    return _reduce(_like_input(_softplus_minus(input * target), dtype), reduction)


@op(namespace="nn.functional", out=False)
def multilabel_soft_margin_loss(
    input: Array, target: Array, weight: Array | None = None, *, reduction: str = "mean"
):
    """Mean over the classes (last axis) of the binary cross entropy with logits; weight (C,) by class."""
    _check_reduction(reduction)
    input, target = _pair("multilabel_soft_margin_loss", input, target)
    loss = (1 - target) * input + _softplus_minus(input)
    if weight is not None:
        loss = loss * _broadcast("multilabel_soft_margin_loss", weight, loss)[0]
    return _reduce(loss.sum(-1) / input.shape[-1], reduction)


# ---- distributions ---------------------------------------------------------------------------------------------------


@op(
    namespace="nn.functional",
    out=False,
    shapes=compared,
    deprecated=(
        "reduction == 'mean'",
        "reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' divides "
        "only by the batch size, and aligns with the KL div math definition. 'mean' will be changed to behave the same "
        "as 'batchmean' in the next major release.",
    ),
)
def kl_div(input: Array, target: Array, *, reduction: str = "mean", log_target: bool = False):
    """``target * (log(target) - input)`` for log-probabilities input; log_target: target holds logarithms too.

    Shapes: broadcast.  reduction: also "batchmean", the sum divided by the size of axis 0 (the definition of KL).
    """
    if reduction not in ("none", "mean", "sum", "batchmean"):
        raise ValueError(f"{reduction} is not a valid value for reduction (kl_div): use 'batchmean', 'sum' or 'none'")
    batch = input.shape[0] if input.ndim else 1
    scalar = input.ndim == 0
    if not is_inexact(input.dtype) or not is_inexact(target.dtype):
        raise RuntimeError("kl_div: Integral inputs not supported.")
    input, target = _pair("kl_div", input, target)
    if log_target:
        loss = jnp.exp(target) * (target - input)
    else:
        # Values and gradients of negative targets are nan; those of zero are 0 and -input.
        loss = jnp.where(target == 0, 0, target * jnp.log(jnp.where(target == 0, 1, target))) - target * input
    if reduction == "batchmean":
        return loss.sum() if scalar else loss.sum() / batch
    return _reduce(loss, reduction)


@op(namespace="nn.functional", out=False)
def poisson_nll_loss(
    input: Array,
    target: Array,
    log_input: bool = True,
    full: bool = False,
    *,
    eps: float = 1e-8,
    reduction: str = "mean",
):
    """``exp(x) - t * x`` (log_input), or ``x - t * log(x + eps)``; full adds Stirling's term for targets above 1."""
    _check_reduction(reduction)
    input, target = _pair("poisson_nll_loss", to_float(input), to_float(target))
    loss = jnp.exp(input) - target * input if log_input else input - target * jnp.log(input + eps)
    if full:
        big = target > 1
        safe = jnp.where(big, target, 1)
        loss = loss + jnp.where(big, safe * jnp.log(safe) - safe + 0.5 * jnp.log(2 * math.pi * safe), 0)
    return _reduce(loss, reduction)


@op(namespace="nn.functional", out=False, promote="common")
def gaussian_nll_loss(
    input: Array,
    target: Array,
    var: Operand,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
):
    """``(log(v) + (input - target) ** 2 / v) / 2`` with ``v = max(var, eps)``; full adds ``log(2 pi) / 2``.

    Shapes: var like input, or without its last axis, or with 1 there; or a number.
    The cut-off by eps does not stop the gradient.
    Raises: ValueError for another shape, a negative variance or an unknown reduction.
    """
    if var.shape == ():  # a number: the same variance for all
        var = jnp.broadcast_to(var, input.shape)
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var[..., None]
        elif not (input.ndim == var.ndim and all(b in (a, 1) for a, b in zip(input.shape, var.shape, strict=True))):
            raise ValueError(f"var is of incorrect size: {_list(var)} for input {_list(input)} (gaussian_nll_loss)")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid: expected 'none', 'mean' or 'sum' (gaussian_nll_loss)")
    check(jnp.all(var >= 0), ValueError, "var has negative entry/entries (gaussian_nll_loss)")
    input, target = _pair("gaussian_nll_loss", input, target)
    # The cut-off is hidden from the gradient, so a variance below eps can still learn to grow.
    var = var + lax.stop_gradient(jnp.maximum(var, eps) - var)
    loss = 0.5 * (jnp.log(var) + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _reduce(loss, reduction)


# ---- margins ---------------------------------------------------------------------------------------------------------


def _hinge(x):
    """max(x, 0) with gradient 1 at 0, as PyTorch's clamp has."""
    return jnp.where(x >= 0, x, 0)


@op(namespace="nn.functional", out=False)
def hinge_embedding_loss(input: Array, target: Array, margin: float = 1.0, *, reduction: str = "mean"):
    """``x`` where target is 1, ``max(0, margin - x)`` where it is -1 (shapes broadcast)."""
    _check_reduction(reduction)
    dtype = input.dtype
    input, target = _pair("hinge_embedding_loss", input, target)
    loss = jnp.where(target != 1, _hinge(margin - input), 0) + jnp.where(target != -1, input, 0)
    return _reduce(_like_input(loss, dtype), reduction)


@op(namespace="nn.functional", out=False)
def margin_ranking_loss(
    input1: Array, input2: Array, target: Array, margin: float = 0, *, reduction: str = "mean"
):
    """``max(0, margin - target * (input1 - input2))``.  Raises: RuntimeError for different numbers of dimensions."""
    _check_reduction(reduction)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
            f"torch.Size({_list(input1)}), input2: torch.Size({_list(input2)}), target: torch.Size({_list(target)})"
        )
    dtype = result_type(input1, input2, target)
    input1, input2, target = _broadcast(
        "margin_ranking_loss", input1.astype(dtype), input2.astype(dtype), target.astype(dtype)
    )
    return _reduce(_hinge(margin + to_float(-target * (input1 - input2))), reduction)


@op(namespace="nn.functional", out=False)
def cosine_embedding_loss(
    input1: Array, input2: Array, target: Array, margin: float = 0, *, reduction: str = "mean"
):
    """``1 - cos`` where target is 1, ``max(0, cos - margin)`` where it is -1; cos along the last axis.

    Shapes: input1 and input2 (N, D) or (D,), target (N,) or ().  Raises: RuntimeError for other shapes.
    """
    _check_reduction(reduction)
    if target.ndim > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported (cosine_embedding_loss)")
    if target.ndim == 1 and not (input1.ndim == input2.ndim == 2):
        raise RuntimeError(
            f"1D target tensor expects 2D input tensors, but found inputs with sizes {_list(input1)} "
            f"and {_list(input2)}."
        )
    if target.ndim == 0 and not (input1.ndim == input2.ndim == 1):
        raise RuntimeError(
            f"0D target tensor expects 1D input tensors, but found inputs with sizes {_list(input1)} "
            f"and {_list(input2)}."
        )
    input1, input2 = _pair("cosine_embedding_loss", to_float(input1), to_float(input2))
    eps = 1e-12
    product = (input1 * input2).sum(-1)
    cos = product / jnp.sqrt(((input1 * input1).sum(-1) + eps) * ((input2 * input2).sum(-1) + eps))
    cos, target = _broadcast("cosine_embedding_loss", cos, target)
    loss = jnp.where(target == 1, 1 - cos, 0) + jnp.where(target == -1, _hinge(cos - margin), 0)
    return _reduce(loss, reduction)


def _distance(a, b, p: float, eps: float):
    d = jnp.abs(a - b + eps)
    if p == 2:
        square = (d * d).sum(-1)
        positive = square > 0
        return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)
    if p == 1:
        return d.sum(-1)
    if p == math.inf:
        return d.max(-1)
    if p == 0:
        return (d != 0).sum(-1).astype(d.dtype)
    power = jnp.where(d > 0, jnp.where(d > 0, d, 1) ** p, 0).sum(-1)
    return jnp.where(power > 0, jnp.where(power > 0, power, 1) ** (1 / p), 0)


@op(namespace="nn.functional", out=False)
def triplet_margin_loss(
    anchor: Array,
    positive: Array,
    negative: Array,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
):
    """``max(0, margin + |anchor - positive| - |anchor - negative|)`` with p-norms of the last axis.

    swap: the negative distance is the smaller of anchor-negative and positive-negative.  Shapes: (N, D) or (D,).
    Raises: ValueError for margin <= 0, RuntimeError for different numbers of dimensions.
    """
    _check_reduction(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin} (triplet_margin_loss)")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )
    dtype = result_type(anchor, positive, negative)
    anchor, positive, negative = _broadcast(
        "triplet_margin_loss", *(to_float(x.astype(dtype)) for x in (anchor, positive, negative))
    )
    near, far = _distance(anchor, positive, p, eps), _distance(anchor, negative, p, eps)
    if swap:
        far = jnp.minimum(far, _distance(positive, negative, p, eps))
    return _reduce(_hinge(margin + near - far), reduction)


def _multi_margin_precheck(bound: dict) -> None:
    target, shape = bound.get("target"), bound.get("input.shape")
    if target is not None and shape and target.size and (target.min() < 0 or target.max() >= shape[-1]):
        bad = int(target.min()) if target.min() < 0 else int(target.max())
        raise RuntimeError(f"target out of range: multi_margin_loss got {bad} with {shape[-1]} classes")


@op(namespace="nn.functional", out=False, precheck=_multi_margin_precheck)
def multi_margin_loss(
    input: Array,
    target: Array,
    p: int = 1,
    margin: float = 1.0,
    weight: Array | None = None,
    *,
    reduction: str = "mean",
):
    """Mean over the other classes of ``max(0, margin - x[target] + x[class]) ** p``, times the target's weight.

    Shapes: input (N, C) or (C,), target (N,) or () of int64, weight (C,).  p is 1 or 2.
    Raises: ValueError for another p or a weight that is no vector, RuntimeError for shapes that do not fit or a class
    outside [0, C).
    """
    _check_reduction(reduction)
    if p not in (1, 2):
        raise ValueError(f"only p == 1 and p == 2 supported (multi_margin_loss got {p})")
    if weight is not None and weight.ndim != 1:
        raise ValueError(f"weight must be one-dimensional (multi_margin_loss got {_list(weight)})")
    if input.ndim > 2 or (input.ndim and not input.shape[-1]):
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {_list(input)}"
        )
    x = input.reshape(-1, input.shape[-1]) if input.ndim else input.reshape(1, 1)
    samples, classes = x.shape
    if target.ndim > 1 or target.size != samples:
        raise RuntimeError(
            "multi_margin_loss: target tensor should be 1-D with size equal to the number of input "
            "samples (batch size). "
            f"Expected target size [{samples}], but got {_list(target)}. Input has shape {_list(input)}."
        )
    if target.dtype != jnp.int64:
        raise RuntimeError(f"expected scalar type Long but found {type_name(target.dtype)} (multi_margin_loss: target)")
    if weight is not None and weight.size != classes:
        raise RuntimeError(f"inconsistent weight size, expected {classes} but got {_list(weight)} (multi_margin_loss)")
    _require_float("multi_margin_loss", input)
    index = target.reshape(-1).astype(jnp.int32)
    check(jnp.all((index >= 0) & (index < classes)), RuntimeError, "target out of range (multi_margin_loss)")
    index = jnp.clip(index, 0, classes - 1)
    z = margin - _pick(x, index, 1)[:, None] + x
    cost = jnp.where(z > 0, z if p == 1 else z * z, 0)
    if weight is not None:
        cost = cost * jnp.take(weight.reshape(-1), index, mode="clip")[:, None]
    other = jnp.arange(classes, dtype=jnp.int32) != index[:, None]
    loss = jnp.where(other, cost, 0).sum(1) / classes
    if reduction == "none":
        return loss.reshape(input.shape[:-1]) if target.ndim else loss.reshape(())
    return _reduce(loss, reduction)


def _multilabel_precheck(bound: dict) -> None:
    target, shape = bound.get("target"), bound.get("input.shape")
    if target is not None and shape and target.size and (target.min() < -1 or target.max() >= shape[-1]):
        raise RuntimeError(f"argument #2 'target' is out of range (multilabel_margin_loss with {shape[-1]} classes)")


@op(namespace="nn.functional", out=False, precheck=_multilabel_precheck)
def multilabel_margin_loss(input: Array, target: Array, *, reduction: str = "mean"):
    """``sum over labels j and other classes i of max(0, 1 - x[j] + x[i])``, divided by the number of classes.

    Shapes: input (N, C) or (C,), target of that shape with int64 labels, the first -1 ending each list.
    Raises: RuntimeError for shapes that differ or labels outside [-1, C).
    """
    _check_reduction(reduction)
    if input.ndim > 2 or (input.ndim and not input.shape[-1]):
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {_list(input)}"
        )
    if input.shape != target.shape:
        raise RuntimeError(f"inconsistent target size: {_list(target)} for input of size: {_list(input)}")
    _require_float("multilabel_margin_loss", input)
    x = input.reshape(-1, input.shape[-1]) if input.ndim else input.reshape(1, 1)
    labels = target.reshape(x.shape).astype(jnp.int32)
    classes = x.shape[1]
    ok = jnp.all((labels >= -1) & (labels < classes))
    check(ok, RuntimeError, "argument #2 'target' is out of range (multilabel_margin_loss)")
    listed = jnp.cumsum(labels < 0, 1) == 0
    safe = jnp.where(listed, jnp.clip(labels, 0, classes - 1), classes)
    rows = jnp.arange(x.shape[0], dtype=jnp.int32)[:, None]
    is_label = jnp.zeros((x.shape[0], classes + 1), bool).at[rows, safe].set(True)[:, :classes]
    own = jnp.take_along_axis(x, jnp.minimum(safe, classes - 1), 1)
    z = 1 - own[:, :, None] + x[:, None, :]
    pairs = listed[:, :, None] & ~is_label[:, None, :] & (z > 0)
    loss = jnp.where(pairs, z, 0).sum((1, 2)) / classes
    if reduction == "none":
        return loss.reshape(input.shape[:-1])
    return _reduce(loss, reduction)


# ---- sequences -------------------------------------------------------------------------------------------------------


def _ctc_precheck(bound: dict) -> None:
    shape, targets = bound.get("log_probs.shape"), bound.get("targets.shape")
    lengths = bound.get("input_lengths")
    if shape and lengths is not None and lengths.size and lengths.max() > shape[0]:
        raise RuntimeError(
            f"Expected input_lengths to have value at most {shape[0]}, but got value {int(lengths.max())} (ctc_loss)"
        )
    lengths = bound.get("target_lengths")
    if targets and lengths is not None and lengths.size:
        if len(targets) == 2 and lengths.max() > targets[1]:
            raise RuntimeError(
                f"Expected tensor to have size at least {int(lengths.max())} at dimension 1, but got "
                f"size {targets[1]} for argument #2 'targets' (ctc_loss)"
            )
        if len(targets) == 1 and shape and len(shape) == 3 and lengths.sum() != targets[0]:
            raise RuntimeError(
                f"Expected tensor to have size {int(lengths.sum())} at dimension 0, but got size "
                f"{targets[0]} for argument #2 'targets' (ctc_loss)"
            )
    labels = bound.get("targets")
    if labels is not None and lengths is not None and labels.size and shape:
        if labels.ndim == 2:
            labels = labels[np.arange(labels.shape[1]) < lengths.reshape(-1, 1)]
        if labels.size and (labels.min() < 0 or labels.max() >= shape[-1]):
            raise RuntimeError(f"ctc_loss: a target is outside [0, {shape[-1]})")


@op(namespace="nn.functional", out=False, precheck=_ctc_precheck)
def ctc_loss(
    log_probs: Array,
    targets: Array,
    input_lengths: Array,
    target_lengths: Array,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
):
    """Minus the log-probability of each target sequence, summed over its alignments.

    Shapes: log_probs (T, N, C) or (T, C), targets (N, S) or concatenated (sum of lengths,), lengths (N,) or ().
    reduction: "mean" divides each loss by its target length first.  zero_infinity: impossible alignments give 0.
    Source: Graves et al. 2006, doi:10.1145/1143844.1143891 (forward recursion, in logarithms).
    Raises: RuntimeError for shapes or lengths that do not fit.
    """
    _check_reduction(reduction)
    _require_float("ctc_loss", log_probs)
    single = log_probs.ndim == 2
    if log_probs.ndim not in (2, 3):
        raise RuntimeError(f"ctc_loss: log_probs must be (T, N, C) or (T, C), but got {_list(log_probs)}")
    x = log_probs[:, None] if single else log_probs
    steps, batch, classes = x.shape
    if not 0 <= blank < classes:
        raise RuntimeError(f"blank must be in label range: ctc_loss got {blank} with {classes} classes")
    for name, lengths in (("input_lengths", input_lengths), ("target_lengths", target_lengths)):
        if lengths.size != batch:
            raise RuntimeError(f"{name} must be of size batch_size: ctc_loss got {lengths.size} for a batch of {batch}")
    times = input_lengths.reshape(batch).astype(jnp.int32)
    sizes = target_lengths.reshape(batch).astype(jnp.int32)
    if targets.ndim == 2:
        if targets.shape[0] != batch:
            raise RuntimeError(
                f"Expected tensor to have size {batch} at dimension 0, but got size {targets.shape[0]} for argument #2 "
                "'targets' (ctc_loss)"
            )
        labels = targets.astype(jnp.int32)
    else:
        total = targets.shape[0]
        start = jnp.cumsum(sizes) - sizes
        reads = start[:, None] + jnp.arange(total, dtype=jnp.int32)
        labels = jnp.take(targets.astype(jnp.int32), reads, mode="clip") if total else jnp.zeros((batch, 0), jnp.int32)
        check(sizes.sum() == total, RuntimeError, f"ctc_loss: target_lengths must add up to the {total} targets")
    longest = labels.shape[1]
    check(jnp.all(times <= steps), RuntimeError, f"Expected input_lengths to have value at most {steps} (ctc_loss)")
    check(jnp.all(sizes <= longest), RuntimeError, f"ctc_loss: a target length exceeds the {longest} given")
    used = jnp.arange(longest, dtype=jnp.int32) < sizes[:, None]
    check(
        jnp.all(~used | ((labels >= 0) & (labels < classes))),
        RuntimeError,
        f"ctc_loss: a target is outside [0, {classes})",
    )
    labels = jnp.clip(labels, 0, classes - 1)
    loss = -_ctc_log_likelihood(x, labels, times, sizes, blank)
    # PyTorch's gradient supposes normalised log_probs and contains the term that log_softmax's backward would add.
    live = jnp.arange(steps, dtype=jnp.int32)[:, None] < times
    mass = jnp.where(live[..., None], jnp.exp(x), 0).sum((0, 2))
    loss = loss + (mass - lax.stop_gradient(mass))
    if zero_infinity:
        loss = jnp.where(loss == jnp.inf, 0, loss)
    if reduction == "mean":
        return _reduce(loss / jnp.maximum(sizes, 1).astype(loss.dtype), "mean")
    if reduction == "sum":
        return loss.sum()
    return loss[0] if single else loss


#: Stands for log(0) in the recursion: far below any sum of logarithms, yet finite, so that gradients have no nan.
_NEVER = -1e30


def _ctc_log_likelihood(x, labels, times, sizes, blank: int):
    steps, batch, _ = x.shape
    longest = labels.shape[1]
    states = 2 * longest + 1
    # blank, label, blank, label, ..., blank
    symbols = jnp.full((batch, states), blank, jnp.int32).at[:, 1::2].set(labels)
    before = jnp.pad(symbols, ((0, 0), (2, 0)), constant_values=-1)[:, :states]
    skips = (symbols != blank) & (symbols != before)
    scores = jnp.take_along_axis(x, jnp.broadcast_to(symbols, (steps, batch, states)), 2)
    scores = jnp.maximum(scores, _NEVER)
    first = jnp.arange(states) < 2
    alpha = jnp.where(first & (jnp.arange(states) <= 2 * sizes[:, None]), scores[0] if steps else 0, _NEVER)

    def step(alpha, inputs):
        t, score = inputs
        one = jnp.pad(alpha, ((0, 0), (1, 0)), constant_values=_NEVER)[:, :states]
        two = jnp.pad(alpha, ((0, 0), (2, 0)), constant_values=_NEVER)[:, :states]
        both = jnp.stack([alpha, one, jnp.where(skips, two, _NEVER)])
        top = lax.stop_gradient(both.max(0))
        new = jnp.maximum(top + jnp.log(jnp.exp(both - top).sum(0)) + score, _NEVER)
        return jnp.where((t < times)[:, None], new, alpha), None

    if steps > 1:
        alpha, _ = lax.scan(step, alpha, (jnp.arange(1, steps, dtype=jnp.int32), scores[1:]))
    last = jnp.take_along_axis(alpha, 2 * sizes[:, None], 1)[:, 0]
    label = jnp.take_along_axis(alpha, jnp.maximum(2 * sizes[:, None] - 1, 0), 1)[:, 0]
    label = jnp.where(sizes > 0, label, _NEVER)
    top = lax.stop_gradient(jnp.maximum(last, label))
    total = top + jnp.log(jnp.exp(last - top) + jnp.exp(label - top))
    empty = times <= 0
    total = jnp.where(empty, jnp.where(sizes > 0, _NEVER, 0), total)
    return jnp.where(total <= _NEVER / 2, -jnp.inf, total)
