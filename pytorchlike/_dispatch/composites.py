"""Functions that PyTorch makes of several inner operators, or calls by other names.

Each piece takes the arguments of a function of this package by their names here, and calls inner operators, which are
what is offered.  NotImplemented from one means that the function is one operator after all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..autograd.mode import no_grad
from ..tensor import Tensor
from ..tensor import functions as T
from ..tensor.dtype import bool_
from ..tensor.wrapped import is_wrapped
from . import kernels
from .operators import aten

__all__ = ["COMPOSITES", "Bound"]

Bound = dict[str, Any]
#: By the name in the table.
COMPOSITES: dict[str, Callable[[Bound], Any]] = {}


def _piece(fn: Callable[[Bound], Any]) -> Callable[[Bound], Any]:
    COMPOSITES[fn.__name__.rstrip("_")] = fn
    return fn


@_piece
def linear(b: Bound) -> Any:
    x, w, bias = b["input"], b["weight"], b["bias"]
    if x.ndim == 2 and w.ndim == 2:
        return aten.mm.default(x, aten.t.default(w)) if bias is None else aten.addmm.default(bias, x, aten.t.default(w))
    if x.ndim < 2 or w.ndim != 2:
        out = T.matmul(x, aten.t.default(w) if w.ndim == 2 else w)
        return out if bias is None else aten.add.Tensor(out, bias)
    flat = reshape({"input": x, "shape": (math.prod(x.shape[:-1]), x.shape[-1])})
    out = linear({"input": flat, "weight": w, "bias": bias})
    name = aten._unsafe_view if bias is None else aten.view
    return name.default(out, [*x.shape[:-1], w.shape[0]])


@_piece
def matmul(b: Bound) -> Any:
    x, y = b["input"], b["other"]
    if x.ndim == 1 and y.ndim == 1:
        return aten.dot.default(x, y)
    if x.ndim == 2 and y.ndim == 1:
        return aten.mv.default(x, y)
    if x.ndim == 1 and y.ndim == 2:
        return aten.squeeze.dim(aten.mm.default(aten.unsqueeze.default(x, 0), y), 0)
    if x.ndim == 2 and y.ndim == 2:
        return aten.mm.default(x, y)
    if not x.ndim or not y.ndim:
        return NotImplemented
    if y.ndim <= 2 and x.ndim >= 3:
        flat = reshape({"input": x, "shape": (math.prod(x.shape[:-1]), x.shape[-1])})
        if y.ndim == 1:
            return aten._unsafe_view.default(aten.mv.default(flat, y), list(x.shape[:-1]))
        return aten._unsafe_view.default(aten.mm.default(flat, y), [*x.shape[:-1], y.shape[-1]])
    left = x if x.ndim > 1 else aten.unsqueeze.default(x, 0)
    right = y if y.ndim > 1 else aten.unsqueeze.default(y, -1)
    lead = T.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    n = math.prod(lead)
    (p, q), r = left.shape[-2:], right.shape[-1]

    def batch(t: Tensor, *size: int) -> Tensor:
        return reshape({"input": aten.expand.default(t, [*lead, *size]), "shape": (n, *size)})

    out = aten._unsafe_view.default(aten.bmm.default(batch(left, p, q), batch(right, q, r)), [*lead, p, r])
    if x.ndim == 1:
        out = aten.squeeze.dim(out, -2)
    return aten.squeeze.dim(out, -1) if y.ndim == 1 else out


@_piece
def einsum(b: Bound) -> Any:
    equation, operands = b["equation"].replace(" ", ""), b["operands"]
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    if not arrow or len(terms) != 2 or "." in equation or any(len(set(t)) < len(t) for t in (*terms, result)):
        return NotImplemented
    (x, y), (p, q) = operands, terms
    x, p = _summed_out(x, p, q + result)
    y, q = _summed_out(y, q, p + result)
    both = [c for c in p if c in q and c in result]
    inner = [c for c in p if c in q and c not in result]
    mine, other = [c for c in p if c not in q], [c for c in q if c not in p]
    sizes = {**dict(zip(p, x.shape, strict=True)), **dict(zip(q, y.shape, strict=True))}

    def count(labels: list[str]) -> int:
        return math.prod(sizes[c] for c in labels)

    x = aten.permute.default(x, [p.index(c) for c in (*both, *mine, *inner)])
    y = aten.permute.default(y, [q.index(c) for c in (*both, *inner, *other)])
    x = reshape({"input": x, "shape": (count(both), count(mine), count(inner))})
    y = reshape({"input": y, "shape": (count(both), count(inner), count(other))})
    out = aten.bmm.default(x, y) if inner else aten.mul.Tensor(x, y)
    order = [*both, *mine, *other]
    out = aten.view.default(out, [sizes[c] for c in order])
    return aten.permute.default(out, [order.index(c) for c in result])


def _summed_out(x: Tensor, labels: str, kept: str) -> tuple[Tensor, str]:
    """A factor summed over the dimensions that nothing else has."""
    gone = [k for k, c in enumerate(labels) if c not in kept]
    if not gone:
        return x, labels
    return aten.sum.dim_IntList(x, gone), "".join(c for c in labels if c in kept)


@_piece
def reshape(b: Bound) -> Any:
    from ..ops._sizes import infer_size
    from ..tensor.storage import view_strides

    x = b["input"]
    size = list(infer_size(tuple(b["shape"] if "shape" in b else b["size"]), x.numel()))
    if x.is_contiguous() or (not is_wrapped(x) and view_strides(tuple(x.shape), x.stride(), tuple(size)) is not None):
        return aten.view.default(x, size)
    from .. import contiguous_format

    return aten._unsafe_view.default(aten.clone.default(x, memory_format=contiguous_format), size)


@_piece
def flatten(b: Bound) -> Any:
    x = b["input"]
    if not x.ndim:
        return reshape({"input": x, "shape": (1,)})
    first, last = b["start_dim"] % x.ndim, b["end_dim"] % x.ndim
    if first >= last:
        return x if first == last else NotImplemented
    return reshape({"input": x, "shape": (*x.shape[:first], math.prod(x.shape[first : last + 1]),
                                          *x.shape[last + 1 :])})  # fmt: skip


@_piece
def ravel(b: Bound) -> Any:
    return reshape({"input": b["input"], "shape": (-1,)})


@_piece
def unflatten(b: Bound) -> Any:
    x, dim = b["input"], b["dim"] % b["input"].ndim
    sizes = b.get("sizes", b.get("unflattened_size"))
    return NotImplemented if sizes is None else aten.view.default(x, [*x.shape[:dim], *sizes, *x.shape[dim + 1 :]])


@_piece
def movedim(b: Bound) -> Any:
    return _permuted(b["input"], b["source"], b["destination"])


COMPOSITES["moveaxis"] = movedim


def _permuted(x: Tensor, source: Any, destination: Any) -> Tensor:
    from ..ops.views import _moved

    sources = [d % x.ndim for d in ([source] if isinstance(source, int) else source)]
    places = [d % x.ndim for d in ([destination] if isinstance(destination, int) else destination)]
    return aten.permute.default(x, list(_moved(x.ndim, sources, places)))


@_piece
def T_(b: Bound) -> Any:
    x = b["input"]
    return aten.t.default(x) if x.ndim == 2 else aten.permute.default(x, list(range(x.ndim))[::-1])


@_piece
def mT(b: Bound) -> Any:
    return aten.transpose.int(b["input"], -2, -1)


@_piece
def outer(b: Bound) -> Any:
    x, y = b["input"], b["vec2"]
    return aten.mul.Tensor(aten.view.default(x, [x.numel(), 1]), y)


@_piece
def square(b: Bound) -> Any:
    return aten.pow.Tensor_Scalar(b["input"], 2)


@_piece
def _rpow(b: Bound) -> Any:
    return aten.pow.Scalar(b["other"], b["input"])


@_piece
def _rdiv(b: Bound) -> Any:
    return aten.mul.Tensor(aten.reciprocal.default(b["input"]), b["other"])


@_piece
def _to_dtype(b: Bound) -> Any:
    return aten._to_copy.default(b["input"], dtype=b["dtype"])


@_piece
def l1_loss(b: Bound) -> Any:
    if b.get("weight") is not None:
        return NotImplemented
    far = aten.abs.default(aten.sub.Tensor(b["input"], b["target"]))
    return {"mean": aten.mean.default, "sum": aten.sum.default, "none": lambda x: x}[b["reduction"]](far)


@_piece
def mse_loss(b: Bound) -> Any:
    if b.get("weight") is not None:
        return NotImplemented
    x, y, reduction = b["input"], b["target"], b["reduction"]
    return aten.mse_loss.default(x, y, *([] if reduction == "mean" else [kernels._REDUCTIONS.index(reduction)]))


def _softmax_like(op: str) -> Callable[[Bound], Any]:
    def take(b: Bound) -> Any:
        x, dim = b["input"], b["dim"]
        if dim is None:
            return NotImplemented
        if b.get("dtype") is not None:
            x = x.to(b["dtype"])
        return getattr(aten, op).default(x, dim, False)

    return take


COMPOSITES["softmax"], COMPOSITES["log_softmax"] = _softmax_like("_softmax"), _softmax_like("_log_softmax")


@_piece
def nll_loss(b: Bound) -> Any:
    x = b["input"]
    if x.ndim > 2 and x.ndim != 4:
        return NotImplemented
    op = aten.nll_loss2d_forward if x.ndim == 4 else aten.nll_loss_forward
    return op.default(x, b["target"], b["weight"], kernels._REDUCTIONS.index(b["reduction"]), b["ignore_index"])[0]


@_piece
def cross_entropy(b: Bound) -> Any:
    x, y = b["input"], b["target"]
    if b["label_smoothing"] or y.is_floating_point() or x.ndim not in (1, 2, 4):
        return NotImplemented
    logs = aten._log_softmax.default(x, 0 if x.ndim == 1 else 1, False)
    return nll_loss({**b, "input": logs})


@_piece
def layer_norm(b: Bound) -> Any:
    shape = b["normalized_shape"]
    shape = [shape] if isinstance(shape, int) else list(shape)
    return aten.native_layer_norm.default(b["input"], shape, b["weight"], b["bias"], b["eps"])[0]


@_piece
def group_norm(b: Bound) -> Any:
    x = b["input"]
    N, C = x.shape[:2]
    op = aten.native_group_norm.default
    return op(x, b["weight"], b["bias"], N, C, math.prod(x.shape[2:]), b["num_groups"], b["eps"])[0]


def _conv(n: int, transposed: bool) -> Callable[[Bound], Any]:
    def several(x: Any) -> list[int]:
        return [x] * n if isinstance(x, int) else list(x) * (n if len(x) == 1 else 1)

    def take(b: Bound) -> Any:
        x, w = b["input"], b["weight"]
        if isinstance(b["padding"], str) or x.ndim != n + 2:
            return NotImplemented
        out = several(b["output_padding"]) if transposed else [0] * n
        return aten.convolution.default(x, w, b["bias"], several(b["stride"]), several(b["padding"]),
                                        several(b["dilation"]), transposed, out, b["groups"])  # fmt: skip

    return take


for _n in (1, 2, 3):
    COMPOSITES[f"conv{_n}d"], COMPOSITES[f"conv_transpose{_n}d"] = _conv(_n, False), _conv(_n, True)


@_piece
def max_pool2d(b: Bound) -> Any:
    size = _two(b["kernel_size"])
    stride = size if b["stride"] in (None, (), []) else _two(b["stride"])
    more = [_two(b["padding"]), _two(b["dilation"]), b["ceil_mode"]]
    for plain in (False, [1, 1], [0, 0]):
        if more and more[-1] == plain:
            more.pop()
        else:
            break
    out = aten.max_pool2d_with_indices.default(b["input"], size, stride, *more)
    return tuple(out) if b.get("return_indices") else out[0]


def _two(x: Any) -> list[int]:
    return [x, x] if isinstance(x, int) else list(x) * (2 if len(x) == 1 else 1)


@_piece
def avg_pool2d(b: Bound) -> Any:
    size = _two(b["kernel_size"])
    stride = size if b["stride"] in (None, (), []) else _two(b["stride"])
    more = [_two(b["padding"]), b["ceil_mode"], b["count_include_pad"], b["divisor_override"]]
    for plain in (None, True, False, [0, 0]):
        if more and more[-1] == plain:
            more.pop()
        else:
            break
    return aten.avg_pool2d.default(b["input"], size, stride, *more)


@_piece
def adaptive_avg_pool2d(b: Bound) -> Any:
    x, size = b["input"], b["output_size"]
    size = _two(size) if isinstance(size, (int, list, tuple)) else [None, None]
    size = [n if n is not None else m for n, m in zip(size, x.shape[-2:], strict=True)]
    if size == [1, 1]:
        return aten.mean.dim(x, [-1, -2], True)
    return aten._adaptive_avg_pool2d.default(x, size)


@_piece
def dropout(b: Bound) -> Any:
    x, p = b["input"], b["p"]
    if not b.get("training", True) or p == 0 or not x.numel():
        return x
    if p == 1:
        return aten.mul.Tensor(x, 0.0)
    with no_grad():
        drawn = aten.bernoulli_.float(aten.empty_like.default(x), *([] if p == 0.5 else [1 - p]))
        keep = aten.div_.Scalar(drawn, 1 - p)
    return aten.mul.Tensor(x, keep)


@_piece
def scaled_dot_product_attention(b: Bound) -> Any:
    q, k, v, mask = b["query"], b["key"], b["value"], b["attn_mask"]
    if q.ndim != 4 or b["dropout_p"] or (mask is not None and (mask.requires_grad or mask.dtype is bool_)):
        return _attention_by_products(b)
    if b.get("enable_gqa"):
        return NotImplemented
    more = {n: x for n, x in (("attn_mask", mask), ("scale", b["scale"])) if x is not None}
    told = [b["dropout_p"], True] if b["is_causal"] else [b["dropout_p"]] if b["dropout_p"] else []
    return aten._scaled_dot_product_flash_attention_for_cpu.default(q, k, v, *told, **more)[0]


def _attention_by_products(b: Bound) -> Any:
    """Attention as products and a softmax, as PyTorch computes it where it has no kernel for it."""
    q, k, v, mask = b["query"], b["key"], b["value"], b["attn_mask"]
    if b.get("enable_gqa"):
        return NotImplemented
    scores = (q * (q.shape[-1] ** -0.5 if b["scale"] is None else b["scale"])) @ k.transpose(-2, -1)
    if b["is_causal"]:
        seen = T.ones(scores.shape[-2:], dtype=bool_, device=q.device).tril()
        if mask is None:
            mask = seen
        else:
            mask = mask & seen if mask.dtype is bool_ else mask.masked_fill(seen.logical_not(), -math.inf)
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), -math.inf) if mask.dtype is bool_ else scores + mask
    weights = aten._softmax.default(scores, -1, False)
    return dropout({"input": weights, "p": b["dropout_p"]}) @ v


COMPOSITES["_scaled_dot_product_attention_dropout"] = scaled_dot_product_attention


@_piece
def where(b: Bound) -> Any:
    x, y = b["input"], b["other"]
    given = next((t for t in (x, y) if isinstance(t, Tensor)), None)
    if given is None:
        return NotImplemented

    def tensor(t: Any) -> Tensor:
        from .. import strided

        if isinstance(t, Tensor):
            return t
        return aten.scalar_tensor.default(t, dtype=T.result_type(given, t), layout=strided, device=given.device)

    return aten.where.self(b["condition"], tensor(x), tensor(y))


@_piece
def norm(b: Bound) -> Any:
    p = b.get("p")
    if b.get("dtype") is not None or isinstance(p, str) and p != "fro" or b["input"].is_complex():
        return NotImplemented
    more = [2 if p in (None, "fro") else p, b.get("dim"), b.get("keepdim", False)]
    more[1] = [more[1]] if isinstance(more[1], int) else more[1] if more[1] is None else list(more[1])
    for plain in (False, None, 2):
        if more and more[-1] == plain and more[-1] is not True:
            more.pop()
        else:
            break
    return aten.linalg_vector_norm.default(b["input"], *more)
