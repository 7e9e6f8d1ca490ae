"""What computes those of PyTorch's inner operators that are no functions here under the same name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import grad as gradients
from ..autograd.mode import enable_grad
from ..engine import get_mode
from ..nn import _functional as NF
from ..nn import functional as F
from ..tensor import Tensor
from ..tensor import functions as T
from ..tensor.dtype import bool_

#: Operators that are several operations here, or whose results are not the tape's, but have a derivative as a whole.
FUSED = frozenset(
    """convolution native_layer_norm native_group_norm native_batch_norm max_pool2d_with_indices _softmax _log_softmax
    nll_loss_forward nll_loss2d_forward _scaled_dot_product_flash_attention_for_cpu _adaptive_avg_pool2d
    native_dropout embedding""".split()
)

#: By the operator's name.
KERNELS: dict[str, Callable[..., Any]] = {}


def kernel(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Enter a function as what computes the operator of its name."""
    KERNELS[fn.__name__] = fn
    return fn


_REDUCTIONS = ("none", "mean", "sum")


def pulled(fn: Callable[..., Any], grad: Any, *inputs: Tensor) -> tuple:
    """Gradients of ``fn(*inputs)``, weighted by ``grad`` (of each result), by the inputs that are floating-point."""
    again = get_mode().grad
    with enable_grad():
        xs = [x if again and x.requires_grad else x.detach().requires_grad_() for x in inputs]
        out = fn(*xs)
    return gradients(out, xs, grad, create_graph=again, allow_unused=True, materialize_grads=True)


def _of(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The derivative, ``(grad, input, *more) -> grad of input``, of a function of one input."""

    def backward(grad: Tensor, self: Tensor, *more: Any, **named: Any) -> Tensor:
        return pulled(lambda x: forward(x, *more, **named), grad, self)[0]

    return backward


# ---- shapes, copies ------------------------------------------------------------------------------------------------


def _slice(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    return input[(_all,) * (dim % input.ndim) + (slice(start, end, step),)]


KERNELS["slice"] = _slice
_all = slice(None)


@kernel
def index(input: Tensor, indices: Sequence[Any]) -> Tensor:
    return input[tuple([_all if i is None else i for i in indices])]


@kernel
def index_put(input: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
    return input.clone().index_put_(tuple(indices), values, accumulate)


@kernel
def _to_copy(input: Tensor, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None,
             non_blocking: bool = False, memory_format: Any = None) -> Tensor:  # fmt: skip
    return input.to(device=device, dtype=dtype or input.dtype, non_blocking=non_blocking, copy=True)


@kernel
def alias(input: Tensor) -> Tensor:
    return input.view_as(input)


@kernel
def _pin_memory(input: Tensor, device: Any = None) -> Tensor:
    return input.pin_memory()


@kernel
def lift_fresh(input: Tensor) -> Tensor:
    return input


@kernel
def _unsafe_view(input: Tensor, size: Any) -> Tensor:
    return input.reshape(size)


@kernel
def _local_scalar_dense(input: Tensor) -> Any:
    return input.item()


@kernel
def select_backward(grad: Tensor, input_sizes: Any, dim: int, index: int) -> Tensor:
    return T.select_scatter(T.zeros(input_sizes, dtype=grad.dtype, device=grad.device), grad, dim, index)


@kernel
def slice_backward(grad: Tensor, input_sizes: Any, dim: int, start: int, end: int, step: int) -> Tensor:
    zeros = T.zeros(input_sizes, dtype=grad.dtype, device=grad.device)
    return T.slice_scatter(zeros, grad, dim, start, end, step)


# ---- elementwise ---------------------------------------------------------------------------------------------------


@kernel
def threshold_backward(grad_output: Tensor, self: Tensor, threshold: float) -> Tensor:
    return T.where(self > threshold, grad_output, 0.0)


@kernel
def sigmoid_backward(grad_output: Tensor, output: Tensor) -> Tensor:
    return grad_output * (output * (1 - output)).conj()


@kernel
def tanh_backward(grad_output: Tensor, output: Tensor) -> Tensor:
    return grad_output * (1 - output * output).conj()


@kernel
def gelu_backward(grad_output: Tensor, self: Tensor, *, approximate: str = "none") -> Tensor:
    return _of(F.gelu)(grad_output, self, approximate=approximate)


@kernel
def silu_backward(grad_output: Tensor, self: Tensor) -> Tensor:
    return _of(F.silu)(grad_output, self)


@kernel
def mish_backward(grad_output: Tensor, self: Tensor) -> Tensor:
    return _of(F.mish)(grad_output, self)


@kernel
def leaky_relu_backward(grad_output: Tensor, self: Tensor, negative_slope: float, self_is_result: bool) -> Tensor:
    return T.where(self > 0, grad_output, grad_output * negative_slope)


@kernel
def hardtanh_backward(grad_output: Tensor, self: Tensor, min_val: float, max_val: float) -> Tensor:
    return T.where((self <= min_val) | (self >= max_val), 0.0, grad_output)


@kernel
def hardswish_backward(grad_output: Tensor, self: Tensor) -> Tensor:
    return _of(F.hardswish)(grad_output, self)


@kernel
def hardsigmoid_backward(grad_output: Tensor, self: Tensor) -> Tensor:
    return _of(F.hardsigmoid)(grad_output, self)


@kernel
def softplus_backward(grad_output: Tensor, self: Tensor, beta: float, threshold: float) -> Tensor:
    return _of(F.softplus)(grad_output, self, beta, threshold)


@kernel
def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    if train is False:
        return input.clone(), T.ones_like(input, dtype=bool_)
    keep = T.empty_like(input).bernoulli_(1 - p)
    return input * keep * (0.0 if p == 1 else 1 / (1 - p)), keep > 0


@kernel
def native_dropout_backward(grad_output: Tensor, mask: Tensor, scale: float) -> Tensor:
    return grad_output * mask * scale


# ---- softmax, losses -----------------------------------------------------------------------------------------------


@kernel
def _softmax(self: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return F.softmax(self.float() if half_to_float else self, dim)


@kernel
def _log_softmax(self: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return F.log_softmax(self.float() if half_to_float else self, dim)


@kernel
def _softmax_backward_data(grad_output: Tensor, output: Tensor, dim: int, input_dtype: Any) -> Tensor:
    product = grad_output * output
    return (product - output * product.sum(dim, keepdim=True)).to(input_dtype)


@kernel
def _log_softmax_backward_data(grad_output: Tensor, output: Tensor, dim: int, input_dtype: Any) -> Tensor:
    return (grad_output - output.exp() * grad_output.sum(dim, keepdim=True)).to(input_dtype)


def _counted(self: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    kept = target != ignore_index
    if weight is None:
        return kept.sum().to(self.dtype)
    return (weight[T.where(kept, target, 0)] * kept).sum()


@kernel
def nll_loss_forward(self: Tensor, target: Tensor, weight: Tensor | None, reduction: int,
                     ignore_index: int) -> tuple[Tensor, Tensor]:  # fmt: skip
    loss = F.nll_loss(self, target, weight, ignore_index=ignore_index, reduction=_REDUCTIONS[reduction])
    return loss, _counted(self, target, weight, ignore_index) if reduction else T.zeros((), dtype=self.dtype)


@kernel
def nll_loss_backward(grad_output: Tensor, self: Tensor, target: Tensor, weight: Tensor | None, reduction: int,
                      ignore_index: int, total_weight: Tensor) -> Tensor:  # fmt: skip
    def loss(x: Tensor) -> Tensor:
        return F.nll_loss(x, target, weight, ignore_index=ignore_index, reduction=_REDUCTIONS[reduction])

    return pulled(loss, grad_output, self)[0]


KERNELS["nll_loss2d_forward"], KERNELS["nll_loss2d_backward"] = nll_loss_forward, nll_loss_backward


def _loss(fn: Callable[..., Any], reduction: Any, *more: Any) -> Callable[..., Any]:
    name = reduction if isinstance(reduction, str) else _REDUCTIONS[reduction]
    return lambda x, y: fn(x, y, *more, reduction=name)


@kernel
def mse_loss(self: Tensor, target: Tensor, reduction: int = 1) -> Tensor:
    return _loss(F.mse_loss, reduction)(self, target)


@kernel
def mse_loss_backward(grad_output: Tensor, self: Tensor, target: Tensor, reduction: int) -> Tensor:
    return pulled(lambda x: mse_loss(x, target, reduction), grad_output, self)[0]


@kernel
def smooth_l1_loss(self: Tensor, target: Tensor, reduction: int = 1, beta: float = 1.0) -> Tensor:
    name = _REDUCTIONS[reduction]
    return F.smooth_l1_loss(self, target, reduction=name, beta=beta)


@kernel
def smooth_l1_loss_backward(grad_output: Tensor, self: Tensor, target: Tensor, reduction: int, beta: float) -> Tensor:
    return pulled(lambda x: smooth_l1_loss(x, target, reduction, beta), grad_output, self)[0]


@kernel
def huber_loss(self: Tensor, target: Tensor, reduction: int = 1, delta: float = 1.0) -> Tensor:
    return F.huber_loss(self, target, reduction=_REDUCTIONS[reduction], delta=delta)


@kernel
def huber_loss_backward(grad_output: Tensor, self: Tensor, target: Tensor, reduction: int, delta: float) -> Tensor:
    return pulled(lambda x: huber_loss(x, target, reduction, delta), grad_output, self)[0]


@kernel
def binary_cross_entropy(self: Tensor, target: Tensor, weight: Tensor | None = None, reduction: int = 1) -> Tensor:
    return F.binary_cross_entropy(self, target, weight, reduction=_REDUCTIONS[reduction])


@kernel
def binary_cross_entropy_backward(grad_output: Tensor, self: Tensor, target: Tensor, weight: Tensor | None = None,
                                  reduction: int = 1) -> Tensor:  # fmt: skip
    return pulled(lambda x: binary_cross_entropy(x, target, weight, reduction), grad_output, self)[0]


@kernel
def binary_cross_entropy_with_logits(self: Tensor, target: Tensor, weight: Tensor | None = None,
                                     pos_weight: Tensor | None = None, reduction: int = 1) -> Tensor:  # fmt: skip
    return F.binary_cross_entropy_with_logits(self, target, weight, pos_weight=pos_weight,
                                              reduction=_REDUCTIONS[reduction])  # fmt: skip


# ---- layers --------------------------------------------------------------------------------------------------------


@kernel
def embedding(weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False,
              sparse: bool = False) -> Tensor:  # fmt: skip
    return F.embedding(indices, weight, None if padding_idx == -1 else padding_idx, None, 2.0, scale_grad_by_freq)


@kernel
def embedding_dense_backward(grad_output: Tensor, indices: Tensor, num_weights: int, padding_idx: int,
                             scale_grad_by_freq: bool) -> Tensor:  # fmt: skip
    table = T.zeros((num_weights, grad_output.shape[-1]), dtype=grad_output.dtype, device=grad_output.device)
    return pulled(lambda w: embedding(w, indices, padding_idx, scale_grad_by_freq), grad_output, table)[0]


@kernel
def convolution(input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any,
                transposed: bool, output_padding: Any, groups: int) -> Tensor:  # fmt: skip
    n = weight.ndim - 2
    stride, padding, dilation = (tuple(x) * (n if len(x) == 1 else 1) for x in (stride, padding, dilation))
    if not transposed:
        return getattr(F, f"conv{n}d")(input, weight, bias, stride, padding, dilation, groups)
    fn = getattr(F, f"conv_transpose{n}d")
    return fn(input, weight, bias, stride, padding, tuple(output_padding), groups, dilation)


@kernel
def _convolution(input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any,
                 transposed: bool, output_padding: Any, groups: int, benchmark: bool, deterministic: bool,
                 cudnn_enabled: bool, allow_tf32: bool) -> Tensor:  # fmt: skip
    # which of cuDNN's algorithms may be taken says nothing here
    return convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)


@kernel
def convolution_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, bias_sizes: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int, output_mask: Any,
) -> tuple:  # fmt: skip
    def run(x: Tensor, w: Tensor) -> Tensor:
        return convolution(x, w, None, stride, padding, dilation, transposed, output_padding, groups)

    bias = None
    if output_mask[2]:
        bias = grad_output.sum([0, *range(2, grad_output.ndim)])
    if not (output_mask[0] or output_mask[1]):
        return None, None, bias
    gx, gw = pulled(run, grad_output, input, weight)
    return gx if output_mask[0] else None, gw if output_mask[1] else None, bias


def _moments(input: Tensor, dims: Any, eps: float) -> tuple[Tensor, Tensor]:
    x = input.float() if input.dtype.itemsize < 4 else input
    mean = x.mean(dims, keepdim=True)
    return mean, (x.var(dims, correction=0, keepdim=True) + eps).rsqrt()


@kernel
def native_layer_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None, bias: Tensor | None,
                      eps: float) -> tuple:  # fmt: skip
    dims = list(range(-len(normalized_shape), 0))
    return F.layer_norm(input, tuple(normalized_shape), weight, bias, eps), *_moments(input, dims, eps)


@kernel
def native_layer_norm_backward(
    grad_out: Tensor, input: Tensor, normalized_shape: Any, mean: Tensor, rstd: Tensor, weight: Tensor | None,
    bias: Tensor | None, output_mask: Any,
) -> tuple:  # fmt: skip
    shape = tuple(normalized_shape)
    w = T.ones(shape, dtype=input.dtype, device=input.device) if weight is None else weight
    dims = list(range(-len(shape), 0))
    lead = list(range(input.ndim - len(shape)))
    normal = (input - mean) * rstd
    moved = grad_out * w
    gx = None
    if output_mask[0]:
        gx = rstd * (moved - moved.mean(dims, keepdim=True) - normal * (moved * normal).mean(dims, keepdim=True))
    gw = (grad_out * normal).sum(lead).reshape(shape) if output_mask[1] and weight is not None else None
    gb = grad_out.sum(lead).reshape(shape) if output_mask[2] and bias is not None else None
    return gx, gw, gb


@kernel
def native_group_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int,
                      eps: float) -> tuple:  # fmt: skip
    mean, rstd = _moments(input.reshape(N, group, -1), [-1], eps)
    return F.group_norm(input, group, weight, bias, eps), mean[..., 0], rstd[..., 0]


@kernel
def native_group_norm_backward(
    grad_out: Tensor, input: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor | None, N: int, C: int, HxW: int,
    group: int, output_mask: Any,
) -> tuple:  # fmt: skip
    channel = (1, C, *[1] * (input.ndim - 2))
    w = T.ones(C, dtype=input.dtype) if weight is None else weight
    normal = ((input.reshape(N, group, -1) - mean[..., None]) * rstd[..., None]).reshape(input.shape)
    moved = (grad_out * w.reshape(channel)).reshape(N, group, -1)
    z = normal.reshape(N, group, -1)
    gx = None
    if output_mask[0]:
        gx = rstd[..., None] * (moved - moved.mean(-1, keepdim=True) - z * (moved * z).mean(-1, keepdim=True))
        gx = gx.reshape(input.shape)
    dims = [0, *range(2, input.ndim)]
    gw = (grad_out * normal).sum(dims) if output_mask[1] else None
    return gx, gw, grad_out.sum(dims) if output_mask[2] else None


@kernel
def native_batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    training: bool, momentum: float, eps: float,
) -> tuple:  # fmt: skip
    out = NF.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        nothing = T.empty(0, dtype=input.dtype)
        return out, nothing, nothing
    mean, rstd = _moments(input, [0, *range(2, input.ndim)], eps)
    return out, mean.reshape(-1), rstd.reshape(-1)


@kernel
def native_batch_norm_backward(
    grad_out: Tensor, input: Tensor, weight: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    save_mean: Tensor | None, save_invstd: Tensor | None, train: bool, eps: float, output_mask: Any,
) -> tuple:  # fmt: skip
    C = input.shape[1]
    channel = (1, C, *[1] * (input.ndim - 2))
    dims = [0, *range(2, input.ndim)]
    mean = save_mean if train else running_mean
    rstd = save_invstd if train else (running_var + eps).rsqrt()
    scale = rstd.reshape(channel)
    normal = (input - mean.reshape(channel)) * scale
    moved = grad_out if weight is None else grad_out * weight.reshape(channel)
    gx = None
    if output_mask[0]:
        gx = moved * scale
        if train:
            gx = scale * (moved - moved.mean(dims, keepdim=True) - normal * (moved * normal).mean(dims, keepdim=True))
    gw = (grad_out * normal).sum(dims) if output_mask[1] and weight is not None else None
    return gx, gw, grad_out.sum(dims) if output_mask[2] else None


@kernel
def max_pool2d_with_indices(self: Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
                            ceil_mode: bool = False) -> tuple:  # fmt: skip
    return F.max_pool2d(self, _pair(kernel_size), _pair(stride) or None, _pair(padding), _pair(dilation), ceil_mode,
                        return_indices=True)  # fmt: skip


def _pair(x: Any) -> Any:
    return tuple(x) * (2 if len(x) == 1 else 1) if isinstance(x, (list, tuple)) else x


@kernel
def max_pool2d_with_indices_backward(
    grad_output: Tensor, self: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    indices: Tensor,
) -> Tensor:  # fmt: skip
    flat = T.zeros((*self.shape[:-2], self.shape[-2] * self.shape[-1]), dtype=grad_output.dtype)
    added = flat.scatter_add(-1, indices.flatten(-2), grad_output.flatten(-2))
    return added.reshape(self.shape)


@kernel
def avg_pool2d(self: Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Tensor:  # fmt: skip
    return F.avg_pool2d(self, _pair(kernel_size), _pair(stride) or None, _pair(padding), ceil_mode, count_include_pad,
                        divisor_override)  # fmt: skip


@kernel
def avg_pool2d_backward(grad_output: Tensor, self: Tensor, *told: Any) -> Tensor:
    return pulled(lambda x: avg_pool2d(x, *told), grad_output, self)[0]


@kernel
def _adaptive_avg_pool2d(self: Tensor, output_size: Any) -> Tensor:
    return F.adaptive_avg_pool2d(self, tuple(output_size))


@kernel
def _adaptive_avg_pool2d_backward(grad_output: Tensor, self: Tensor) -> Tensor:
    return pulled(lambda x: F.adaptive_avg_pool2d(x, tuple(grad_output.shape[-2:])), grad_output, self)[0]


@kernel
def _scaled_dot_product_flash_attention_for_cpu(
    query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0, is_causal: bool = False, *,
    attn_mask: Tensor | None = None, scale: float | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    out = F.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, scale=scale)
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(T.ones(scores.shape[-2:], dtype=bool_).tril().logical_not(), float("-inf"))
    if attn_mask is not None:
        scores = scores + attn_mask
    return out, scores.logsumexp(-1)


@kernel
def _scaled_dot_product_flash_attention_for_cpu_backward(
    grad_out: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, logsumexp: Tensor, dropout_p: float,
    is_causal: bool, *, attn_mask: Tensor | None = None, scale: float | None = None,
) -> tuple:  # fmt: skip
    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal, scale=scale)

    return pulled(run, grad_out, query, key, value)


@kernel
def _reshape_alias(self: Tensor, size: Any, stride: Any) -> Tensor:
    return self.reshape(tuple(size))


@kernel
def fill_(self: Tensor, value: Any) -> Tensor:
    return self.fill_(value)


@kernel
def copy_(self: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    return self.copy_(src)


def _rsub(self: Tensor, other: Any, alpha: Any = 1) -> Tensor:
    return other - self * alpha if alpha != 1 else other - self


def _pow_of_number(self: Any, exponent: Tensor) -> Tensor:
    return T.pow(self, exponent)


#: Forms that are computed otherwise than their operator's others.
BY_OVERLOAD: dict[tuple[str, str], Callable[..., Any]] = {
    ("rsub", "Scalar"): _rsub, ("rsub", "Tensor"): _rsub, ("pow", "Scalar"): _pow_of_number,
}  # fmt: skip
