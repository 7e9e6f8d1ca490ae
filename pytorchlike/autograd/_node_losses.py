"""Steps of a backward graph that PyTorch has for losses, normalisations, pooling and resampling, which are one
operation here.  Names of steps are PyTorch's classes without ``Backward0``; a last digit is their number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine.trie import Call
from ._node_steps import Step, arguments_of, step

_Told = dict[str, Any]


def _reduced(told: _Told, each: Any, mean: Callable[[Any], Any] = lambda s: step("Mean", s)) -> Any:
    """What is made of the loss of each element; numbers and means of batches are divided by."""
    reduction = told.get("reduction", "mean")
    if reduction == "batchmean":
        return step("Div", step("Sum", each), None)
    return mean(each) if reduction == "mean" else step("Sum", each) if reduction == "sum" else each


def _where(yes: Any, no: Any) -> Step:
    return step("Add", step("Where", yes, None), step("Where", no, None))


def _distance(a: int, b: int) -> Step:
    return step("Norm", step("Add", step("Sub", a, b), number=1), number=1)


def _cosine() -> Step:
    def square(i: int) -> Step:
        return step("Add", step("Sum", step("Mul", i, i), number=1), number=1)

    return step("Div", step("Sum", step("Mul", 0, 1), number=1), step("Sqrt", step("Mul", square(0), square(1))))


def _l1(call: Call, told: _Told) -> Any:
    return None if told.get("weight") is not None else _reduced(told, step("Abs", step("Sub", 0, 1)))


def _kl(call: Call, told: _Told) -> Any:
    if told["log_target"]:
        return _reduced(told, step("Mul", step("Exp", 1), step("Sub", 1, 0)))
    return _reduced(told, step("Sub", step("Xlogy", 1, 1), step("Mul", 1, 0)))


def _poisson(call: Call, told: _Told) -> Any:
    if told["log_input"]:
        each = step("Sub", step("Exp", 0), step("Mul", 1, 0))
    else:
        each = step("Sub", 0, step("Mul", 1, step("Log", step("Add", 0, number=1))))
    return _reduced(told, step("Add", each, None) if told["full"] else each)


def _gaussian(call: Call, told: _Told) -> Any:
    if len(call.metas) < 3:
        return None
    var = step("Clone", 2)
    each = step("Mul", step("Add", step("Log", var), step("Div", step("Pow", step("Sub", 0, 1)), var)), None)
    return _reduced(told, step("Add", each, None) if told["full"] else each)


def _hinge(call: Call, told: _Told) -> Any:
    return _reduced(told, _where(step("ClampMin", step("Sub", None, 0)), 0))


def _cosine_embedding(call: Call, told: _Told) -> Any:
    apart = step("ClampMin", step("Sub", _cosine(), number=1))
    return _reduced(told, _where(step("Sub", None, _cosine()), apart))


def _margin_ranking(call: Call, told: _Told) -> Any:
    return _reduced(told, step("ClampMin", step("Add", step("Mul", None, step("Sub", 0, 1)), number=1)))


def _multilabel(call: Call, told: _Told) -> Any:
    if told["weight"] is not None:
        return None
    yes, no = step("LogSigmoid", 0), step("LogSigmoid", step("Neg", 0))
    both = step("Neg", step("Add", step("Mul", None, yes), step("Mul", None, no)))
    return _reduced(told, step("Div", step("Sum", both, number=1), None))


def _triplet(call: Call, told: _Told) -> Any:
    if told["swap"]:
        return None
    apart = step("Sub", step("Add", _distance(0, 1), number=1), _distance(0, 2))
    return _reduced(told, step("ClampMin", apart))


def _ctc(call: Call, told: _Told) -> Any:
    return _reduced(told, step("CtcLoss", 0), lambda each: step("Mean", step("Div", each, None)))


def _picked(told: _Told, ndim: int, logs: Any) -> Step:
    """``nll_loss`` of log probabilities: images have a step of their own, which other ranks are given the form of."""
    if ndim <= 2:
        return step("NllLoss", logs)
    if ndim == 4:
        return step("NllLoss2D", logs)
    found = step("NllLoss2D", step("View", logs))
    return step("View", found) if told.get("reduction") == "none" else found


def _nll(call: Call, told: _Told) -> Any:
    return _picked(told, call.metas[0].ndim, 0)


def _cross_entropy(call: Call, told: _Told) -> Any:
    logs, weighted = step("LogSoftmax", 0), told["weight"] is not None
    ndim = call.metas[0].ndim
    if call.metas[1].dtype.kind == "f":  # probabilities of classes
        products = step("Mul", step("Mul", logs, None) if weighted else logs, 1)
        if told["reduction"] == "none":
            return step("Neg", step("Sum", products, number=1))
        total = step("Neg", step("Sum", products))
        if told["reduction"] == "sum":
            return total
        return step("Div", total, None) if weighted else step("Div", total, number=1)
    picked = _picked(told, ndim, logs)
    if not told["label_smoothing"]:
        return picked
    all_classes = step("Sum", step("Mul", logs, None) if weighted else logs, number=1)
    smooth = _reduced(told, step("MaskedFill", step("Neg", all_classes)), lambda s: step("Div", step("Sum", s), None))
    return step("Add", step("Mul", picked, number=1), step("Mul", smooth, number=1))


def _lines(stem: str) -> Callable[[Call, _Told], Any]:
    """What is done to lines as if they were images."""
    return lambda call, told: step("Squeeze", step(stem, step("Unsqueeze", 0)), number=1)


def _adaptive_mean(call: Call, told: _Told) -> Any:
    n = int(call.op.name[-2])
    size = told["output_size"]
    if size == 1 or size == (1,) * n:
        return step("Mean", 0, number=1)
    return step(f"AdaptiveAvgPool{n}D", 0)


def _lp(call: Call, told: _Told) -> Any:
    powers = step("Pow", 0)
    if call.op.name.endswith("1d"):
        means = step("Squeeze", step("AvgPool2D", step("Unsqueeze", powers)), number=1)
    else:
        means = step(f"AvgPool{call.op.name[-2]}D", powers)
    signed = step("Mul", step("Sign", means), step("Relu", step("Abs", means)))
    return step("Pow", step("Mul", signed, None))


def _pad(call: Call, told: _Told) -> Any:
    mode, n = told.get("mode", "constant"), len(told["pad"]) // 2
    if mode == "constant":
        return step("ConstantPadNd", 0)
    if mode == "circular":
        return None
    return step(f"{'Reflection' if mode == 'reflect' else 'Replication'}Pad{n}D", 0)


_RESAMPLED = {"nearest": "Nearest", "nearest-exact": "NearestExact", "linear": "Linear", "bilinear": "Bilinear",
              "bicubic": "Bicubic", "trilinear": "Trilinear"}  # fmt: skip


def _interpolate(call: Call, told: _Told) -> Any:
    n = call.metas[0].ndim - 2
    if told["mode"] == "area":
        return step(f"AdaptiveAvgPool{n}D", 0)
    return step(f"Upsample{_RESAMPLED[told['mode']]}{n}D{'Aa' if told['antialias'] else ''}", 0)


def _instance_norm(call: Call, told: _Told) -> Any:
    weight, bias = (len(call.metas) - 1 - k if told[n] is not None else None for k, n in ((1, "weight"), (0, "bias")))
    if (weight is None) != (bias is None):
        return None
    scale = [None if i is None else step("Repeat", i) for i in (weight, bias)]
    return step("View", step("NativeBatchNorm", step("View", 0), *scale))


def _rms_norm(call: Call, told: _Told) -> Any:
    scaled = step("Mul", 0, step("Rsqrt", step("Add", step("Mean", step("Pow", 0), number=1), number=1)))
    return step("Mul", scaled, 1) if len(call.metas) > 1 else scaled


def _local_response(call: Call, told: _Told) -> Any:
    square = step("Mul", 0, 0)
    if call.metas[0].ndim == 3:
        means = step("Squeeze", step("AvgPool2D", step("ConstantPadNd", step("Unsqueeze", square))), number=1)
    else:
        means = step("Squeeze", step("AvgPool3D", step("ConstantPadNd", step("View", square))), number=1)
        means = step("View", means)
    return step("Div", 0, step("Pow", step("Add", step("Mul", means, None), None)))


def _cosine_similarity(call: Call, told: _Told) -> Any:
    unit = [step("Div", i, step("Clone", step("LinalgVectorNorm", i))) for i in (0, 1)]
    return step("Sum", step("Mul", *unit), number=1)


def _normalize(call: Call, told: _Told) -> Any:
    return step("Div", 0, step("Expand", step("ClampMin", step("LinalgVectorNorm", 0))))


def _with_scale(stem: str) -> Callable[[Call, _Told], Any]:
    """A normalisation, with the places of its weight and bias."""
    return lambda call, told: step(stem, *(*range(len(call.metas)), None, None)[:3])


def _unfold(call: Call, told: _Told) -> Any:
    return step("Im2Col" if "kernel_size" in told else "Unfold", 0)


def _told(made: Callable[[Call, _Told], Any]) -> Callable[[Call], Any]:
    def steps(call: Call) -> Any:
        told = arguments_of(call)
        return made(call, told) if told else None

    return steps


#: Operation -> its steps, given a call.
LOSSES: dict[str, Callable[[Call], Any]] = {name: _told(made) for name, made in {
    "l1_loss": _l1, "kl_div": _kl, "poisson_nll_loss": _poisson, "gaussian_nll_loss": _gaussian,
    "hinge_embedding_loss": _hinge, "cosine_embedding_loss": _cosine_embedding,
    "margin_ranking_loss": _margin_ranking, "multilabel_soft_margin_loss": _multilabel,
    "triplet_margin_loss": _triplet, "ctc_loss": _ctc, "nll_loss": _nll, "cross_entropy": _cross_entropy,
    "soft_margin_loss": lambda call, told: step("SoftMarginLoss", 0),
    "avg_pool1d": _lines("AvgPool2D"), "max_pool1d": _lines("MaxPool2DWithIndices"),
    "adaptive_avg_pool1d": _lines("AdaptiveAvgPool2D"), "adaptive_max_pool1d": _lines("AdaptiveMaxPool2D"),
    "adaptive_avg_pool2d": _adaptive_mean, "adaptive_avg_pool3d": _adaptive_mean,
    "lp_pool1d": _lp, "lp_pool2d": _lp, "lp_pool3d": _lp, "pad": _pad, "interpolate": _interpolate,
    "instance_norm": _instance_norm, "rms_norm": _rms_norm, "layer_norm": _with_scale("NativeLayerNorm"),
    "group_norm": _with_scale("NativeGroupNorm"), "cosine_similarity": _cosine_similarity,
    "pairwise_distance": lambda call, told: _distance(0, 1), "normalize": _normalize, "unfold": _unfold,
    "softsign": lambda call, told: step("Div", 0, step("Add", step("Abs", 0), None)),
    "tanhshrink": lambda call, told: step("Sub", 0, step("Tanh", 0)),
    "softmin": lambda call, told: step("Softmax", step("Neg", 0)),
    "prelu": lambda call, told: step("PreluKernel", 0, 1 if call.metas[0].ndim < 2 else step("View", 1)),
    "embedding_bag": lambda call, told: step("EmbeddingBag", 1, None),
    "outer": lambda call, told: step("Mul", step("View", 0), 1),
    "diag": lambda call, told: Step("DiagonalBackward0_copy" if call.metas[0].ndim > 1 else "DiagEmbedBackward0", (0,)),
    "local_response_norm": _local_response,
}.items()}  # fmt: skip

__all__ = ["LOSSES"]
