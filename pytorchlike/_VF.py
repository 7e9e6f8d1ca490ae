"""``torch._VF``: PyTorch's functions without the Python around them, which are the functions of ``torch`` here.

Also the recurrent layers as functions, ``torch.lstm`` and its kin; layers, dropout and losses as ``torch`` itself has
them, with the operators' arguments (``torch.dropout(input, p, train)``; ``torch.kl_div(input, target, reduction)`` with
a number for the reduction, none by default); and private functions that programs call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = ["gru", "lstm", "rnn_relu", "rnn_tanh"]

#: Functions of ``torch`` whose arguments are those of the operator, which is computed by a kernel of that name.
KERNELS = (
    "_log_softmax", "_log_softmax_backward_data", "_softmax", "_softmax_backward_data",
    "binary_cross_entropy_with_logits", "convolution", "embedding", "native_batch_norm", "native_dropout",
    "native_group_norm", "native_layer_norm",
)  # fmt: skip
_REDUCTIONS = ("none", "mean", "sum")


def _layers(name: str, inner: str, **options: Any) -> Callable[..., tuple]:
    def layers(input: Tensor, hx: Any, params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float,
               train: bool, bidirectional: bool, batch_first: bool = False) -> tuple:  # fmt: skip
        from .nn import functional as F

        if not isinstance(params, (list, tuple)):
            raise NotImplementedError(f"torch.{name}: packed sequences are taken by torch.nn.{name.upper()[:4]} alone")
        states = tuple(hx) if isinstance(hx, (list, tuple)) else (hx,)
        return getattr(F, inner)(
            input, *states, list(params), None, has_biases=has_biases, num_layers=num_layers, dropout=dropout,
            training=train, bidirectional=bidirectional, batch_first=batch_first, **options,
        )  # fmt: skip

    layers.__name__ = layers.__qualname__ = name
    layers.__doc__ = (f"All layers of ``nn.{name.upper()[:4]}``: (output, *states) of an input (length, batch, size)."
                      "\n\n    params: the weights and biases, in the module's order. NotImplementedError for the form "
                      "that takes\n    packed sequences.")
    return layers


lstm = _layers("lstm", "_lstm")
gru = _layers("gru", "_gru")
rnn_tanh = _layers("rnn_tanh", "_rnn", nonlinearity="tanh")
rnn_relu = _layers("rnn_relu", "_rnn", nonlinearity="relu")


# ---- layers and losses with the arguments of PyTorch's operators, reductions as numbers -------------------------


def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """``F.dropout``."""
    from .nn import functional as F

    return F.dropout(input, p, train)


def dropout_(self: Tensor, p: float, train: bool) -> Tensor:
    """``F.dropout`` in place."""
    from .nn import functional as F

    return F.dropout(self, p, train, inplace=True)


def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """``F.alpha_dropout``."""
    from .nn import functional as F

    return F.alpha_dropout(input, p, train)


def alpha_dropout_(self: Tensor, p: float, train: bool) -> Tensor:
    """``F.alpha_dropout`` in place."""
    from .nn import functional as F

    return F.alpha_dropout(self, p, train, inplace=True)


def feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """``F.feature_alpha_dropout``."""
    from .nn import functional as F

    return F.feature_alpha_dropout(input, p, train)


def batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    training: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    """``F.batch_norm``; ``cudnn_enabled`` changes nothing."""
    from .nn import functional as F

    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    use_input_stats: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    """``F.instance_norm``; ``cudnn_enabled`` changes nothing."""
    from .nn import functional as F

    return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """``F.cosine_embedding_loss``."""
    from .nn import functional as F

    return F.cosine_embedding_loss(input1, input2, target, margin, reduction=_REDUCTIONS[reduction])


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: int = 0,
    zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """``F.ctc_loss``."""
    from .nn import functional as F

    return F.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, _REDUCTIONS[reduction], zero_infinity
    )


def hinge_embedding_loss(self: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 0) -> Tensor:
    """``F.hinge_embedding_loss``."""
    from .nn import functional as F

    return F.hinge_embedding_loss(self, target, margin, reduction=_REDUCTIONS[reduction])


def kl_div(self: Tensor, target: Tensor, reduction: int = 0, *, log_target: bool = False) -> Tensor:
    """``F.kl_div``."""
    import warnings

    from .nn import functional as F

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the mean is not the divergence's
        return F.kl_div(self, target, reduction=_REDUCTIONS[reduction], log_target=log_target)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """``F.margin_ranking_loss``."""
    from .nn import functional as F

    return F.margin_ranking_loss(input1, input2, target, margin, reduction=_REDUCTIONS[reduction])


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int
) -> Tensor:
    """``F.poisson_nll_loss``."""
    from .nn import functional as F

    return F.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=_REDUCTIONS[reduction])


def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6,
    swap: bool = False, reduction: int = 0,
) -> Tensor:  # fmt: skip
    """``F.triplet_margin_loss``."""
    from .nn import functional as F

    return F.triplet_margin_loss(
        anchor, positive, negative, margin, p, eps, swap, reduction=_REDUCTIONS[reduction]
    )


def _channel_mask(input: Tensor, p: float, train: bool) -> Tensor:
    from .nn import functional as F
    from .ops.nn_misc import _feature_shape
    from .tensor import functions as T

    shape = _feature_shape("feature_dropout", input)
    return F.dropout(T.ones(shape, dtype=input.dtype, device=input.device), p, train)


def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Dropout of whole channels, dim 1, whatever dims follow."""
    return input * _channel_mask(input, p, train) if train else input


def feature_dropout_(self: Tensor, p: float, train: bool) -> Tensor:
    """``feature_dropout`` in place."""
    return self.mul_(_channel_mask(self, p, train)) if train else self


def max_pool1d_with_indices(
    self: Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> tuple[Tensor, Tensor]:
    """``F.max_pool1d`` and where each maximum was."""
    from .nn import functional as F

    return F.max_pool1d(self, kernel_size, stride or None, padding, dilation, ceil_mode, return_indices=True)


def adaptive_max_pool1d(self: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    """``F.adaptive_max_pool1d`` and where each maximum was."""
    from .nn import functional as F

    return F.adaptive_max_pool1d(self, output_size, return_indices=True)


def embedding_bag(
    weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0,
    sparse: bool = False, per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """``F.embedding_bag``, modes being 0 (sum), 1 (mean), 2 (max); and, but for sums, the bag of each index, how many
    there are in each bag, and the rows where the maxima were.
    """
    from .nn import functional as F
    from .tensor import functions as T
    from .tensor.dtype import int64

    out = F.embedding_bag(
        indices, weight, offsets, None, 2.0, scale_grad_by_freq, ("sum", "mean", "max")[mode], sparse,
        per_sample_weights, include_last_offset, padding_idx,
    )  # fmt: skip
    bags, n = len(out), len(indices)
    if not mode:
        none = T.zeros(bags, dtype=int64)
        return out, none[:0], none, none.clone()
    places = T.arange(n)
    bag_of = T.searchsorted(offsets[:bags].long(), places, right=True) - 1
    counts = T.bincount(bag_of, minlength=bags)
    if mode == 1:
        return out, bag_of, counts, counts.clone()
    here = T.where(weight.detach()[indices] == out.detach()[bag_of], places[:, None], n)
    first = T.full(tuple(out.shape), n, dtype=int64).index_reduce(0, bag_of, here, "amin")
    return out, bag_of, counts, indices.long()[first.clamp(max=n - 1)]


def _embedding_bag(
    weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0,
    sparse: bool = False, per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
    padding_idx: int = -1,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """As ``embedding_bag``; -1 is no padding."""
    padding = None if padding_idx == -1 else padding_idx
    return embedding_bag(
        weight, indices, offsets, scale_grad_by_freq, mode, sparse, per_sample_weights, include_last_offset, padding
    )


# ---- private functions that programs call ---------------------------------------------------------------------------


def _assert(condition: Any, message: str) -> Any:
    """``assert condition, message``, as a function; offered to what stands for a value, so that fx notes it."""
    from .tensor import Tensor

    if type(condition) is not Tensor:
        from .overrides import handle_torch_function, has_torch_function_unary

        if has_torch_function_unary(condition):
            return handle_torch_function(_assert, (condition,), condition, message)
    assert condition, message


def _assert_async(input: Tensor, assert_msg: str = "Expected Tensor with single nonzero value, but got zero") -> None:
    """RuntimeError with the message unless the tensor's one element is other than zero; reads it."""
    if not bool(input):
        raise RuntimeError(assert_msg)


def _unique2(
    self: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """``torch.unique`` with all three results, empty where they were not asked for."""
    from .tensor import functions as T
    from .tensor.dtype import int64

    found = T.unique(self, sorted, return_inverse=True, return_counts=True)
    told = (True, return_inverse, return_counts)
    return tuple([x if t else T.empty(0, dtype=int64) for x, t in zip(found, told, strict=True)])  # type: ignore


def _unique(self: Tensor, sorted: bool = True, return_inverse: bool = False) -> tuple[Tensor, Tensor]:
    """``torch.unique`` with the places of the elements, empty where they were not asked for."""
    return _unique2(self, sorted, return_inverse)[:2]


def _adaptive_avg_pool2d(self: Tensor, output_size: Any) -> Tensor:
    """``F.adaptive_avg_pool2d``."""
    from .nn import functional as F

    return F.adaptive_avg_pool2d(self, output_size)


def _adaptive_avg_pool3d(self: Tensor, output_size: Any) -> Tensor:
    """``F.adaptive_avg_pool3d``."""
    from .nn import functional as F

    return F.adaptive_avg_pool3d(self, output_size)


def native_channel_shuffle(self: Tensor, groups: int) -> Tensor:
    """``torch.channel_shuffle``."""
    from .tensor import functions as T

    return T.channel_shuffle(self, groups)


def _euclidean_dist(x1: Tensor, x2: Tensor) -> Tensor:
    """``torch.cdist`` of the second order."""
    from .tensor import functions as T

    return T.cdist(x1, x2)


def _trilinear(
    i1: Tensor, i2: Tensor, i3: Tensor, expand1: Any, expand2: Any, expand3: Any, sumdim: Any, unroll_dim: int = 1
) -> Tensor:
    """The product of three tensors, each with dims of size 1 put in where it is told, summed over ``sumdim``."""
    product: Any = 1
    for x, dims in ((i1, expand1), (i2, expand2), (i3, expand3)):
        for dim in sorted(dims):
            x = x.unsqueeze(dim)
        product = x * product
    return product.sum(tuple(sumdim)) if len(sumdim) else product


def _int_mm(self: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices of 8-bit integers, an int32 one."""
    from .tensor.dtype import int8, int32, uint8

    for x, name in ((self, "self"), (mat2, "mat2")):
        if x.dtype not in (int8, uint8):
            raise RuntimeError(f"_int_mm: Expected {name} dtype to be int8 or uint8 but got {x.dtype}")
    return self.to(int32) @ mat2.to(int32)


def _scaled_mm(
    self: Tensor, mat2: Tensor, scale_a: Tensor, scale_b: Tensor, bias: Tensor | None = None,
    scale_result: Tensor | None = None, out_dtype: Any = None, use_fast_accum: bool = False,
) -> Tensor:  # fmt: skip
    """The product of two matrices of few bits times their scales: of all of a matrix, of its rows or its columns."""
    from .tensor.dtype import float32

    out = (self.to(float32) * scale_a) @ (mat2.to(float32) * scale_b)
    if bias is not None:
        out = out + bias.to(float32)
    if scale_result is not None:
        out = out * scale_result
    return out.to(self.dtype if out_dtype is None else out_dtype)


def _efficientzerotensor(*size: Any, **kwargs: Any) -> Tensor:
    """Zeros, which take memory here."""
    from .tensor import functions as T

    return T.zeros(*size, **kwargs)


def _shape_as_tensor(self: Tensor) -> Tensor:
    """The sizes of a tensor, an int64 tensor on the CPU."""
    from .tensor import tensor
    from .tensor.dtype import int64

    return tensor(list(self.shape), dtype=int64)


def _reshape_from_tensor(self: Tensor, shape: Tensor) -> Tensor:
    """The tensor in the shape whose sizes a tensor of one dimension tells; reads it."""
    from .tensor.dtype import int64

    if shape.dtype != int64:
        raise RuntimeError(f"expected the shape as an int64 tensor, but found {shape.dtype}")
    if shape.ndim != 1:
        raise RuntimeError(f"expected the shape as a tensor of 1 dimension, but found {shape.ndim}")
    return self.reshape(shape.tolist())


def _convert_indices_from_coo_to_csr(input: Tensor, size: int, *, out_int32: bool = False) -> Tensor:
    """Where each of ``size`` rows begins, and the end, (size + 1,), in row numbers that are sorted."""
    from .tensor import functions as T
    from .tensor.dtype import int32, int64

    rows = T.arange(size + 1, dtype=input.dtype, device=input.device)
    return T.searchsorted(input, rows).to(int32 if out_int32 else int64)


def _convert_indices_from_csr_to_coo(
    crow_indices: Tensor, col_indices: Tensor, *, out_int32: bool = False, transpose: bool = False
) -> Tensor:
    """Rows and columns (2, n), or columns and rows, of a matrix whose rows begin at ``crow_indices``."""
    from .tensor import functions as T
    from .tensor.dtype import int32, int64

    places = T.arange(col_indices.shape[0], dtype=crow_indices.dtype, device=crow_indices.device)
    rows = T.searchsorted(crow_indices, places, right=True) - 1
    pair = (col_indices, rows) if transpose else (rows, col_indices)
    kind = int32 if out_int32 else int64
    return T.stack([i.to(kind) for i in pair])


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """``v`` with the norms over all dims but ``dim`` that ``g`` gives."""
    from .tensor import functions as T

    return v * (g / T.norm_except_dim(v, 2, dim))


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    if name in KERNELS:
        from ._dispatch.operators import aten, reducing

        found = getattr(aten, name)
        return reducing(found._function, 0) if name.endswith("with_logits") else found
    from . import nn
    from .tensor import functions

    if name == "_segment_reduce":
        return functions.segment_reduce

    found = getattr(functions, name, None)
    if found is None:
        found = getattr(nn.functional, name, None)
    if found is None:
        raise AttributeError(f"module 'torch._VF' has no attribute '{name}': pytorchlike lacks it")
    return found
