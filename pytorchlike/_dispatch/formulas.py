"""Derivatives of PyTorch's inner operators in terms of such, as its reverse passes use them.

``FORMULAS[name](c, *grads)`` gives the gradients of the arguments by their names, or sequences of them for lists of
tensors. ``c`` holds the arguments as attributes (``c.self``), what the operator gave (``c.out``, detached), and which
arguments need a gradient (``c.needs(name)``). Gradients that come in are None where there are none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..tensor import Tensor
from ..tensor import functions as T
from .operators import aten

__all__ = ["FORMULAS", "Context"]

Grads = dict[str, Any]


class Context:
    """What a derivative may look at; see the module's text."""

    def __init__(self, args: dict[str, Any], out: Callable[[], tuple], needs: set[str]) -> None:
        self.__dict__.update(args)
        self._args, self._out, self._needs = args, out, needs

    @property
    def out(self) -> Any:
        """The operator's first result."""
        return self._out()[0]

    @property
    def outs(self) -> tuple:
        """All of them."""
        return self._out()

    def needs(self, name: str) -> bool:
        """Whether an argument wants its gradient."""
        return name in self._needs


FORMULAS: dict[str, Callable[..., Grads]] = {}


def _formula(*names: str) -> Callable[[Callable[..., Grads]], Callable[..., Grads]]:
    def enter(fn: Callable[..., Grads]) -> Callable[..., Grads]:
        for name in names:
            FORMULAS[name] = fn
        return fn

    return enter


def _of_self(*names: str) -> Any:
    """A formula of operators of one tensor: ``f(c, g)`` is its gradient."""

    def enter(fn: Callable[..., Any]) -> Any:
        for name in names:
            FORMULAS[name] = lambda c, g, fn=fn: {"self": fn(c, g)}
        return fn

    return enter


def summed(g: Tensor, like: Any) -> Tensor:
    """``g`` summed over the dimensions by which a tensor of another shape was broadcast."""
    shape = list(like.shape)
    if list(g.shape) == shape:
        return g
    lead = g.ndim - len(shape)
    dims = [d for d in range(g.ndim) if d < lead or (shape[d - lead] == 1 and g.shape[d] != 1)]
    g = aten.sum.dim_IntList(g, dims, True)
    return aten.view.default(g, shape) if lead else g


def _real(g: Tensor, like: Tensor) -> Tensor:
    """The gradient of a real tensor that met complex ones."""
    return T.real(g) if g.is_complex() and not like.is_complex() else g


def _conj(t: Any) -> Any:
    return t.conj() if isinstance(t, Tensor) and t.is_complex() else t


def _is_tensor(c: Context, name: str) -> bool:
    return isinstance(getattr(c, name), Tensor) and c.needs(name)


def _pair(c: Context, first: Callable[[], Tensor], second: Callable[[], Tensor]) -> Grads:
    """Gradients of ``self`` and ``other``, which broadcast; only those that are wanted."""
    out: Grads = {}
    if _is_tensor(c, "other"):
        out["other"] = summed(_real(second(), c.other), c.other)
    if _is_tensor(c, "self"):
        out["self"] = summed(_real(first(), c.self), c.self)
    return out


# ---- arithmetic ------------------------------------------------------------------------------------------------------


@_formula("add")
def _add(c: Context, g: Tensor) -> Grads:
    return _pair(c, lambda: g, lambda: g if c.alpha == 1 else aten.mul.Tensor(g, c.alpha))


@_formula("sub")
def _sub(c: Context, g: Tensor) -> Grads:
    return _pair(c, lambda: g, lambda: aten.neg.default(g if c.alpha == 1 else aten.mul.Tensor(g, c.alpha)))


@_formula("rsub")
def _rsub(c: Context, g: Tensor) -> Grads:
    return _pair(c, lambda: aten.neg.default(g if c.alpha == 1 else aten.mul.Tensor(g, c.alpha)), lambda: g)


@_formula("mul")
def _mul(c: Context, g: Tensor) -> Grads:
    return _pair(c, lambda: aten.mul.Tensor(g, _conj(c.other)), lambda: aten.mul.Tensor(g, _conj(c.self)))


@_formula("div")
def _div(c: Context, g: Tensor) -> Grads:
    if getattr(c, "rounding_mode", None) is not None:
        return _pair(c, lambda: aten.zeros_like.default(g), lambda: aten.zeros_like.default(g))
    other = _conj(c.other)

    def by_other() -> Tensor:
        ratio = aten.div.Tensor(aten.div.Tensor(_conj(c.self), other), other)
        return aten.mul.Tensor(aten.neg.default(g), ratio)

    return _pair(c, lambda: aten.div.Tensor(g, other), by_other)


@_formula("maximum", "minimum")
def _maximum(c: Context, g: Tensor) -> Grads:
    def kept(lost: Any) -> Tensor:
        half = aten.div.Scalar(g, 2)
        shared = aten.where.self(aten.eq.Tensor(c.self, c.other), half, g)
        return aten.masked_fill_.Scalar(shared, lost.Tensor(c.self, c.other), 0)

    less, more = (aten.lt, aten.gt) if c.name == "maximum" else (aten.gt, aten.lt)
    return _pair(c, lambda: kept(less), lambda: kept(more))


@_formula("pow")
def _pow(c: Context, g: Tensor) -> Grads:
    x, n = c.self, c.exponent
    if not isinstance(n, Tensor):
        if n == 0:
            return {"self": aten.zeros_like.default(x)}
        slope = aten.mul.Scalar(aten.pow.Tensor_Scalar(x, n - 1.0 if not isinstance(n, complex) else n - 1), float(n)
                                if not isinstance(n, complex) else n)  # fmt: skip
        return {"self": aten.mul.Tensor(g, _conj(slope))}
    out: Grads = {}
    if _is_tensor(c, "self"):
        slope = aten.mul.Tensor(n, aten.pow.Tensor_Tensor(x, aten.sub.Tensor(n, 1)))
        slope = aten.where.self(aten.eq.Scalar(n, 0), aten.zeros_like.default(slope), slope)
        out["self"] = summed(_real(aten.mul.Tensor(g, _conj(slope)), x), x)
    if c.needs("exponent"):
        base = x if isinstance(x, Tensor) else aten.full_like.default(n, x)
        log = aten.where.self(aten.eq.Scalar(base, 0), aten.zeros_like.default(base), aten.log.default(base))
        out["exponent"] = summed(_real(aten.mul.Tensor(g, _conj(aten.mul.Tensor(c.out, log))), n), n)
    return out


_of_self("neg")(lambda c, g: aten.neg.default(g))
_of_self("exp")(lambda c, g: aten.mul.Tensor(g, _conj(c.out)))
_of_self("expm1")(lambda c, g: aten.mul.Tensor(g, aten.add.Tensor(c.out, 1)))
_of_self("log")(lambda c, g: aten.div.Tensor(g, _conj(c.self)))
_of_self("log1p")(lambda c, g: aten.div.Tensor(g, aten.add.Tensor(c.self, 1)))
_of_self("log2")(lambda c, g: aten.div.Tensor(g, aten.mul.Scalar(c.self, math.log(2))))
_of_self("log10")(lambda c, g: aten.div.Tensor(g, aten.mul.Scalar(c.self, math.log(10))))
_of_self("sqrt")(lambda c, g: aten.div.Tensor(g, aten.mul.Scalar(_conj(c.out), 2)))
_of_self("rsqrt")(
    lambda c, g: aten.mul.Tensor(aten.mul.Scalar(g, -0.5), aten.pow.Tensor_Scalar(_conj(c.out), 3))
)
_of_self("reciprocal")(
    lambda c, g: aten.mul.Tensor(aten.neg.default(g), aten.pow.Tensor_Scalar(_conj(c.out), 2))
)
_of_self("sin")(lambda c, g: aten.mul.Tensor(g, _conj(aten.cos.default(c.self))))
_of_self("cos")(lambda c, g: aten.mul.Tensor(g, aten.neg.default(_conj(aten.sin.default(c.self)))))
_of_self("tanh")(lambda c, g: aten.tanh_backward.default(g, c.out))
_of_self("sigmoid")(lambda c, g: aten.sigmoid_backward.default(g, c.out))
_of_self("relu")(lambda c, g: aten.threshold_backward.default(g, c.out, 0))
_of_self("silu")(lambda c, g: aten.silu_backward.default(g, c.self))
_of_self("mish")(lambda c, g: aten.mish_backward.default(g, c.self))
_of_self("hardswish")(lambda c, g: aten.hardswish_backward.default(g, c.self))
_of_self("hardsigmoid")(lambda c, g: aten.hardsigmoid_backward.default(g, c.self))
_of_self("hardtanh")(lambda c, g: aten.hardtanh_backward.default(g, c.self, c.min_val, c.max_val))
_of_self("leaky_relu")(lambda c, g: aten.leaky_relu_backward.default(g, c.self, c.negative_slope, False))
_of_self("softplus")(lambda c, g: aten.softplus_backward.default(g, c.self, c.beta, c.threshold))
_of_self("erf")(lambda c, g: aten.mul.Tensor(
    g, aten.mul.Scalar(aten.exp.default(aten.neg.default(aten.pow.Tensor_Scalar(c.self, 2))), 2 / math.sqrt(math.pi))
))  # fmt: skip
_of_self("sign", "round", "floor", "ceil", "trunc")(lambda c, g: aten.zeros_like.default(g))


@_of_self("gelu")
def _gelu(c: Context, g: Tensor) -> Tensor:
    more = {} if c.approximate == "none" else {"approximate": c.approximate}
    return aten.gelu_backward.default(g, c.self, **more)


@_of_self("abs")
def _abs(c: Context, g: Tensor) -> Tensor:
    return aten.mul.Tensor(g, aten.sgn.default(c.self))


@_formula("clamp")
def _clamp(c: Context, g: Tensor) -> Grads:
    if isinstance(c.min, Tensor) or isinstance(c.max, Tensor):
        raise NotImplementedError
    zero, kept = _zero(g), None
    for bound, compare in ((c.min, aten.ge), (c.max, aten.le)):
        if bound is not None:
            inside = compare.Scalar(c.self, bound)
            kept = inside if kept is None else aten.logical_and.default(kept, inside)
    return {"self": aten.where.self(kept, g, zero)}


def _zero(g: Tensor) -> Tensor:
    from .. import strided

    return aten.scalar_tensor.default(0.0, dtype=g.dtype, layout=strided, device=g.device)


@_formula("where")
def _where(c: Context, g: Tensor) -> Grads:
    def kept(mine: bool) -> Tensor:
        return aten.where.self(c.condition, *((g, _zero(g)) if mine else (_zero(g), g)))

    return _pair(c, lambda: kept(True), lambda: kept(False))


@_formula("masked_fill")
def _masked_fill(c: Context, g: Tensor) -> Grads:
    out: Grads = {"self": summed(aten.masked_fill.Scalar(g, c.mask, 0), c.self)}
    if c.needs("value"):
        out["value"] = aten.sum.default(aten.where.self(c.mask, g, _zero(g)))
    return out


# ---- products --------------------------------------------------------------------------------------------------------


def _products(g: Tensor, a: Tensor, b: Tensor, c: Context, first: str, second: str) -> Grads:
    out: Grads = {}
    if c.needs(first):
        out[first] = (aten.t.default(aten.mm.default(_conj(b), aten.t.default(g))) if _by_columns(a)
                      else aten.mm.default(g, aten.t.default(_conj(b))))  # fmt: skip
    if c.needs(second):
        out[second] = (aten.t.default(aten.mm.default(aten.t.default(g), _conj(a))) if _by_columns(b)
                       else aten.mm.default(aten.t.default(_conj(a)), g))  # fmt: skip
    return out


def _by_columns(m: Tensor) -> bool:
    """Whether a matrix lies in memory column by column, as its gradient is to do then."""
    return tuple(m.stride()) == (1, m.shape[0]) and m.shape[0] != 1


@_formula("mm")
def _mm(c: Context, g: Tensor) -> Grads:
    found = _products(g, c.self, c.mat2, Context(c._args, tuple, c._needs & {"mat2"}), "self", "mat2")
    return {**found, **_products(g, c.self, c.mat2, Context(c._args, tuple, c._needs & {"self"}), "self", "mat2")}


def _scaled(g: Tensor, by: Any) -> Tensor:
    return g if by == 1 else aten.mul.Scalar(g, by)


@_formula("addmm")
def _addmm(c: Context, g: Tensor) -> Grads:
    out = _products(_scaled(g, c.alpha), c.mat1, c.mat2, c, "mat1", "mat2")
    if c.needs("self"):
        out["self"] = summed(_scaled(g, c.beta), c.self)
    return out


def _batches(g: Tensor, a: Tensor, b: Tensor, c: Context, first: str, second: str) -> Grads:
    out: Grads = {}
    if c.needs(second):
        out[second] = aten.bmm.default(aten.transpose.int(_conj(a), 1, 2), g)
    if c.needs(first):
        out[first] = aten.bmm.default(g, aten.transpose.int(_conj(b), 1, 2))
    return out


@_formula("bmm")
def _bmm(c: Context, g: Tensor) -> Grads:
    return _batches(g, c.self, c.mat2, c, "self", "mat2")


@_formula("baddbmm")
def _baddbmm(c: Context, g: Tensor) -> Grads:
    out = _batches(_scaled(g, c.alpha), c.batch1, c.batch2, c, "batch1", "batch2")
    if c.needs("self"):
        out["self"] = summed(_scaled(g, c.beta), c.self)
    return out


@_formula("mv")
def _mv(c: Context, g: Tensor) -> Grads:
    out: Grads = {}
    if c.needs("self"):
        out["self"] = aten.mul.Tensor(aten.unsqueeze.default(g, 1), _conj(c.vec))
    if c.needs("vec"):
        out["vec"] = aten.mv.default(aten.t.default(_conj(c.self)), g)
    return out


@_formula("dot")
def _dot(c: Context, g: Tensor) -> Grads:
    return {"self": aten.mul.Tensor(g, _conj(c.tensor)), "tensor": aten.mul.Tensor(g, _conj(c.self))}


@_formula("convolution")
def _convolution(c: Context, g: Tensor) -> Grads:
    mask = [c.needs("input"), c.needs("weight"), c.needs("bias")]
    sizes = None if c.bias is None else list(c.bias.shape)
    found = aten.convolution_backward.default(
        g, c.input, c.weight, sizes, c.stride, c.padding, c.dilation, c.transposed, c.output_padding, c.groups, mask
    )
    return dict(zip(("input", "weight", "bias"), found, strict=True))


# ---- shapes ----------------------------------------------------------------------------------------------------------


@_of_self("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "unflatten", "ravel")
def _view(c: Context, g: Tensor) -> Tensor:
    shape = list(c.self.shape)
    return aten.view.default(g, shape) if g.is_contiguous() else T.reshape(g, shape)


_of_self("t")(lambda c, g: aten.t.default(g))
_of_self("clone", "alias", "lift_fresh", "contiguous")(lambda c, g: g)
_of_self("transpose")(lambda c, g: aten.transpose.int(g, c.dim0, c.dim1))
_of_self("unsqueeze")(lambda c, g: aten.squeeze.dim(g, c.dim))
_of_self("expand")(lambda c, g: summed_keeping(g, c.self))
_of_self("select")(lambda c, g: aten.select_backward.default(g, list(c.self.shape), c.dim, c.index))
_of_self("_to_copy")(lambda c, g: aten._to_copy.default(g, dtype=c.self.dtype))


def summed_keeping(g: Tensor, like: Tensor) -> Tensor:
    """As :func:`summed`, with the leading dimensions taken away by ``squeeze``."""
    lead = g.ndim - like.ndim
    if lead != 1 or any(m == 1 != n for m, n in zip(like.shape, g.shape[1:], strict=True)):
        return summed(g, like)
    return aten.squeeze.dim(aten.sum.dim_IntList(g, [0], True), 0)


@_of_self("permute")
def _permute(c: Context, g: Tensor) -> Tensor:
    order = [d % g.ndim for d in c.dims]
    return aten.permute.default(g, sorted(range(g.ndim), key=order.__getitem__))


@_of_self("squeeze")
def _squeeze(c: Context, g: Tensor) -> Tensor:
    dim = getattr(c, "dim", None)
    for d in _dims(dim, c.self.ndim):
        if c.self.shape[d] == 1:
            g = aten.unsqueeze.default(g, d)
    return g


@_of_self("slice")
def _slice(c: Context, g: Tensor) -> Tensor:
    n = c.self.shape[c.dim]
    start, end, step = slice(c.start, c.end, c.step).indices(n)
    return aten.slice_backward.default(g, list(c.self.shape), c.dim, start, end, step)


@_formula("cat")
def _cat(c: Context, g: Tensor) -> Grads:
    out, at, dim = [], 0, c.dim % g.ndim
    for t in c.tensors:
        n = t.shape[dim] if t.ndim else 0
        out.append(aten.slice.Tensor(g, dim, at, at + n) if t.ndim == g.ndim else aten.zeros_like.default(t))
        at += n
    return {"tensors": out}


@_formula("stack")
def _stack(c: Context, g: Tensor) -> Grads:
    return {"tensors": [aten.select.int(g, c.dim, k) for k in range(len(c.tensors))]}


def joined(c: Context, grads: Sequence[Any], sizes: Sequence[int], dim: int) -> Tensor:
    from .. import strided

    x, parts = c.self, []
    for g, n in zip(grads, sizes, strict=True):
        if g is None:
            shape = [*x.shape[:dim], n, *x.shape[dim + 1 :]]
            g = aten.zeros.default(shape, dtype=x.dtype, layout=strided, device=x.device)
        parts.append(g)
    return aten.cat.default(parts, *([dim] if dim else []))


@_formula("split", "split_with_sizes")
def _split(c: Context, *grads: Any) -> Grads:
    dim = c.dim % c.self.ndim
    told = c.split_size if hasattr(c, "split_size") else c.split_sizes
    n = c.self.shape[dim]
    sizes = told if isinstance(told, (list, tuple)) else [min(told, n - k) for k in range(0, n, told)]
    return {"self": joined(c, grads, sizes, dim)}


@_formula("unbind")
def _unbind(c: Context, *grads: Any) -> Grads:
    like = next(g for g in grads if g is not None)
    return {"self": aten.stack.default([aten.zeros_like.default(like) if g is None else g for g in grads], c.dim)}


@_formula("index")
def _index(c: Context, g: Tensor) -> Grads:
    from .. import strided

    x = c.self
    zeros = aten.new_zeros.default(g, list(x.shape), dtype=g.dtype, layout=strided, device=g.device)
    return {"self": aten.index_put.default(zeros, list(c.indices), g, True)}


@_of_self("index_select")
def _index_select(c: Context, g: Tensor) -> Tensor:
    zeros = aten.new_zeros.default(g, list(c.self.shape))
    return aten.index_add.default(zeros, c.dim, c.index, g)


@_of_self("gather")
def _gather(c: Context, g: Tensor) -> Tensor:
    return aten.scatter_add.default(aten.new_zeros.default(g, list(c.self.shape)), c.dim, c.index, g)


# ---- reductions ------------------------------------------------------------------------------------------------------


def _dims(dim: Any, ndim: int) -> list[int]:
    if dim is None or dim == []:
        return list(range(ndim))
    return sorted(d % max(ndim, 1) for d in ([dim] if isinstance(dim, int) else dim))


def spread(g: Tensor, x: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """A gradient of a reduction in the shape of what was reduced."""
    if x.ndim and not keepdim and dim not in (None, []):
        for d in _dims(dim, x.ndim):
            g = aten.unsqueeze.default(g, d)
    return aten.expand.default(g, list(x.shape))


@_of_self("sum")
def _sum(c: Context, g: Tensor) -> Tensor:
    return spread(g, c.self, getattr(c, "dim", None), getattr(c, "keepdim", False))


@_of_self("mean")
def _mean(c: Context, g: Tensor) -> Tensor:
    dim = getattr(c, "dim", None)
    n = math.prod(c.self.shape[d] for d in _dims(dim, c.self.ndim)) if c.self.ndim else 1
    return aten.div.Scalar(spread(g, c.self, dim, getattr(c, "keepdim", False)), n)


@_of_self("amax", "amin")
def _extreme(c: Context, g: Tensor) -> Tensor:
    x = c.self
    best = spread(c.out, x, c.dim, c.keepdim)
    hits = aten.eq.Tensor(x, best)
    counted = aten.sum.dim_IntList(hits, _dims(c.dim, x.ndim), True)
    return aten.mul.Tensor(aten.div.Tensor(spread(g, x, c.dim, c.keepdim), counted), hits)


@_formula("max", "min")
def _max(c: Context, g: Any, *indices: Any) -> Grads:
    x = c.self
    if len(c.outs) == 1:
        hits = aten.eq.Tensor(x, c.out)
        return {"self": aten.mul.Tensor(aten.div.Tensor(g, aten.sum.default(hits)), hits)}
    at = c.outs[1]
    if not c.keepdim:
        g, at = aten.unsqueeze.default(g, c.dim), aten.unsqueeze.default(at, c.dim)
    return {"self": aten.scatter.src(aten.new_zeros.default(g, list(x.shape)), c.dim, at, g)}


@_of_self("cumsum")
def _cumsum(c: Context, g: Tensor) -> Tensor:
    return aten.flip.default(aten.cumsum.default(aten.flip.default(g, [c.dim]), c.dim), [c.dim])


# ---- softmax, losses, layers -----------------------------------------------------------------------------------------

_of_self("_softmax")(lambda c, g: aten._softmax_backward_data.default(g, c.out, c.dim, c.self.dtype))
_of_self("_log_softmax")(lambda c, g: aten._log_softmax_backward_data.default(g, c.out, c.dim, c.self.dtype))
_of_self("mse_loss_")(lambda c, g: g)
_of_self("smooth_l1_loss")(
    lambda c, g: aten.smooth_l1_loss_backward.default(g, c.self, c.target, c.reduction, c.beta)
)
_of_self("huber_loss")(lambda c, g: aten.huber_loss_backward.default(g, c.self, c.target, c.reduction, c.delta))
_of_self("embedding_")(lambda c, g: g)
_of_self("avg_pool2d")(lambda c, g: aten.avg_pool2d_backward.default(
    g, c.self, c.kernel_size, c.stride, c.padding, c.ceil_mode, c.count_include_pad, c.divisor_override))  # fmt: skip
_of_self("_adaptive_avg_pool2d")(lambda c, g: aten._adaptive_avg_pool2d_backward.default(g, c.self))
del FORMULAS["mse_loss_"], FORMULAS["embedding_"]


@_formula("mse_loss")
def _mse_loss(c: Context, g: Tensor) -> Grads:
    out: Grads = {}
    if c.needs("self"):
        out["self"] = aten.mse_loss_backward.default(g, c.self, c.target, c.reduction)
    if c.needs("target"):
        out["target"] = aten.mse_loss_backward.default(g, c.target, c.self, c.reduction)
    return out


@_formula("binary_cross_entropy_with_logits")
def _bce_with_logits(c: Context, g: Tensor) -> Grads:
    if c.weight is not None or c.pos_weight is not None or c.needs("target"):
        raise NotImplementedError
    slope = aten.mul.Tensor(aten.sub.Tensor(aten.sigmoid.default(c.self), c.target), g)
    return {"self": aten.div_.Scalar(slope, c.self.numel()) if c.reduction == 1 else slope}


@_formula("nll_loss_forward", "nll_loss2d_forward")
def _nll_loss(c: Context, g: Tensor, *counted: Any) -> Grads:
    op = aten.nll_loss_backward if c.name == "nll_loss_forward" else aten.nll_loss2d_backward
    return {"self": op.default(g, c.self, c.target, c.weight, c.reduction, c.ignore_index, c.outs[1])}


@_formula("embedding")
def _embedding(c: Context, g: Tensor) -> Grads:
    return {"weight": aten.embedding_dense_backward.default(
        g, c.indices, c.weight.shape[0], c.padding_idx, c.scale_grad_by_freq)}  # fmt: skip


def _mask(c: Context) -> list[bool]:
    return [c.needs("input"), c.needs("weight"), c.needs("bias")]


def _three(found: Any) -> Grads:
    return dict(zip(("input", "weight", "bias"), found, strict=True))


@_formula("native_layer_norm")
def _layer_norm(c: Context, g: Tensor, *rest: Any) -> Grads:
    _, mean, rstd = c.outs
    return _three(aten.native_layer_norm_backward.default(
        g, c.input, c.normalized_shape, mean, rstd, c.weight, c.bias, _mask(c)))  # fmt: skip


@_formula("native_group_norm")
def _group_norm(c: Context, g: Tensor, *rest: Any) -> Grads:
    _, mean, rstd = c.outs
    return _three(aten.native_group_norm_backward.default(
        g, c.input, mean, rstd, c.weight, c.N, c.C, c.HxW, c.group, _mask(c)))  # fmt: skip


@_formula("native_batch_norm")
def _batch_norm(c: Context, g: Tensor, *rest: Any) -> Grads:
    _, mean, invstd = c.outs
    return _three(aten.native_batch_norm_backward.default(
        g, c.input, c.weight, c.running_mean, c.running_var, mean, invstd, c.training, c.eps, _mask(c)))  # fmt: skip


@_formula("max_pool2d_with_indices")
def _max_pool2d(c: Context, g: Tensor, *rest: Any) -> Grads:
    return {"self": aten.max_pool2d_with_indices_backward.default(
        g, c.self, c.kernel_size, c.stride, c.padding, c.dilation, c.ceil_mode, c.outs[1])}  # fmt: skip


@_formula("native_dropout")
def _dropout(c: Context, g: Tensor, *rest: Any) -> Grads:
    return {"input": aten.native_dropout_backward.default(g, c.outs[1], 1 / (1 - c.p) if c.p < 1 else 0.0)}


@_formula("_scaled_dot_product_flash_attention_for_cpu")
def _attention(c: Context, g: Tensor, *rest: Any) -> Grads:
    out, sums = c.outs
    more = {} if c.scale is None else {"scale": c.scale}
    found = aten._scaled_dot_product_flash_attention_for_cpu_backward.default(
        g, c.query, c.key, c.value, out, sums, c.dropout_p, c.is_causal, attn_mask=c.attn_mask, **more
    )
    return dict(zip(("query", "key", "value"), found, strict=True))


# ---- functions of this package that were recorded as one operation, outside of any mode ------------------------------


@_formula("linear")
def _linear(c: Context, g: Tensor) -> Grads:
    x, w = c.input, c.weight
    if w.ndim != 2 or not x.ndim:
        raise NotImplementedError
    from . import offers

    many = x.ndim != 2
    g2 = g.reshape(-1, g.shape[-1]) if many else g
    x2 = x.reshape(-1, x.shape[-1]) if many else x
    with offers.computing:  # what a forward pass would have kept
        turned = w.t()
    out = _products(g2, x2, turned, c, "input", "weight")
    if many and c.needs("input"):
        out["input"] = aten.view.default(out["input"], list(x.shape))
    if c.needs("bias"):
        out["bias"] = summed(g2, c.bias)
    if c.needs("weight"):
        out["weight"] = aten.t.default(out["weight"])
    return out


@_formula("matmul")
def _matmul(c: Context, g: Tensor) -> Grads:
    x, y = c.input, c.other
    if x.ndim < 2 or y.ndim < 2:
        raise NotImplementedError
    out: Grads = {}
    if c.needs("other"):
        out["other"] = summed(T.matmul(_conj(x).mT, g), y)
    if c.needs("input"):
        out["input"] = summed(T.matmul(g, _conj(y).mT), x)
    return out


@_formula("cross_entropy")
def _cross_entropy(c: Context, g: Tensor) -> Grads:
    x = c.input
    if c.label_smoothing or c.target.is_floating_point() or x.ndim not in (1, 2, 4):
        raise NotImplementedError
    dim, reduction = 0 if x.ndim == 1 else 1, ("none", "mean", "sum").index(c.reduction)
    logs, total = _recomputed(c, dim, reduction)
    op = aten.nll_loss2d_backward if x.ndim == 4 else aten.nll_loss_backward
    g = op.default(g, logs, c.target, c.weight, reduction, c.ignore_index, total)
    return {"input": aten._log_softmax_backward_data.default(g, logs, dim, x.dtype)}


def _recomputed(c: Context, dim: int, reduction: int) -> tuple[Tensor, Tensor]:
    from . import kernels, offers

    with offers.computing:
        logs = kernels._log_softmax(c.input, dim, False)
        return logs, kernels._counted(logs, c.target, c.weight, c.ignore_index)
