"""Functions of ``nn.functional`` that no single operator can be: they write into buffers, take functions as arguments,
or choose between operators."""

from __future__ import annotations

import functools
import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

from ..autograd.mode import no_grad
from ..tensor import Tensor
from ..tensor import functions as T
from ..tensor._names import find
from ..tensor.dtype import bool_, int32, int64
from . import functional as F

__all__ = [
    "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d_with_indices", "adaptive_max_pool3d_with_indices",
    "batch_norm", "ctc_loss", "embedding", "embedding_bag", "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d_with_indices", "instance_norm", "linear_cross_entropy", "max_pool1d_with_indices",
    "max_pool2d_with_indices", "max_pool3d_with_indices", "multi_head_attention_forward",
    "triplet_margin_with_distance_loss",
]


@functools.cache
def _operator(name: str) -> Callable[..., Any]:
    """The operator that a function of this file bears the name of."""
    return find("nn.functional", name)


# ---- normalisation ---------------------------------------------------------------------------------------------------

def _verify_batch_size(size: Any) -> None:
    if math.prod((size[0], *size[2:])) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {size}")


def _verify_spatial_size(size: Any) -> None:
    if math.prod(size[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {size}")


def _update(result: Any, running_mean: Tensor | None, running_var: Tensor | None) -> Tensor:
    """The output out of an operator's ``(output, new mean, new variance)``; the new values go into the buffers."""
    output, mean, var = result
    with no_grad():
        if running_mean is not None:
            running_mean.copy_(mean)
        if running_var is not None:
            running_var.copy_(var)
    return output


def batch_norm(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
               bias: Tensor | None = None, training: bool = False, momentum: Any = 0.1, eps: float = 1e-5) -> Tensor:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` per channel (axis 1).

    In training mean and variance are the batch's, and the running ones are updated in place:
    ``(1 - momentum) * old + momentum * new``, the variance unbiased. Else the running ones are used.
    ``momentum`` may be a tensor with one element.

    Shapes:  input (N, C, *) -> the same; all others (C,).
    Raises:  ValueError for one value per channel in training, or eps < 0 (<= 0 in training); RuntimeError for
             other shapes.
    """
    if training:
        _verify_batch_size(input.shape)
        if eps <= 0.0:
            raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    elif eps < 0.0:
        raise ValueError(f"batch_norm eps must be non-negative, but got {eps}")
    result = F._batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)
    if not training or running_mean is None and running_var is None:
        return result
    return _update(result, running_mean, running_var)


def instance_norm(input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None,
                  weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True,
                  momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` per sample and channel.

    With ``use_input_stats`` mean and variance are the sample's, and the running ones move towards their average over
    the batch; else the running ones are used.

    Shapes:  input (N, C, *) -> the same; all others (C,).
    Raises:  ValueError for one value per channel if use_input_stats.
    """
    if use_input_stats:
        _verify_spatial_size(input.shape)
    result = F._instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
    if not use_input_stats or running_mean is None and running_var is None:
        return result
    return _update(result, running_mean, running_var)


# ---- tables ----------------------------------------------------------------------------------------------------------

def _renormalise(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows of ``weight`` that ``indices`` names down, in place, to at most ``max_norm``."""
    with no_grad():
        weight.copy_(F._embedding_renorm(weight.detach(), indices, float(max_norm), float(norm_type)))


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
              norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """Rows of ``weight`` by index; rows used are first scaled down in place to norm ``max_norm``, if that is given.

    Shapes:  input (*) integers, weight (rows, features) -> (*, features).
    Raises:  IndexError for an index outside the table; AssertionError if padding_idx is no row.
    """
    if max_norm is not None:
        _renormalise(weight, input, max_norm, norm_type)
    if sparse and weight.requires_grad:
        from . import _sparse_embedding

        if scale_grad_by_freq:
            raise RuntimeError("embedding: scale_grad_by_freq is not supported with sparse gradients; use sparse=False")
        if _sparse_embedding.wants_sparse(weight):
            return _sparse_embedding.embedding(input, weight, padding_idx)
    return _operator("embedding")(input, weight, padding_idx, None, norm_type, scale_grad_by_freq, sparse)


def embedding_bag(input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None,
                  norm_type: float = 2, scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
                  per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
                  padding_idx: int | None = None) -> Tensor:
    """Sum, mean or maximum of the rows of ``weight`` in each bag; see nn.EmbeddingBag.

    Shapes:  input (B, N), or (N,) with offsets (B,); weight (rows, features) -> (B, features).
    Raises:  ValueError for other shapes or modes; RuntimeError for indices outside the table.
    """
    if weight.dtype in (int64, int32) and input.is_floating_point():
        warnings.warn("Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, input, "
                      "...)` is deprecated, and should now be `embedding_bag(input, weight, ...)`.", stacklevel=2)
        input, weight = weight, input
    if max_norm is not None:
        _renormalise(weight, input, max_norm, norm_type)
    return _operator("embedding_bag")(input, weight, offsets, None, norm_type, scale_grad_by_freq, mode, sparse,
                                         per_sample_weights, include_last_offset, padding_idx)


# ---- pooling ---------------------------------------------------------------------------------------------------------

def _pool_with_indices(name: str) -> Callable[..., tuple[Tensor, Tensor]]:
    """The pooling operator ``name``, which then always returns indices."""

    def pool(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        operator = _operator(name)
        call = _signature(name).bind(*args, **kwargs)
        call.arguments["return_indices"] = True
        return operator(*call.args, **call.kwargs)

    pool.__name__ = pool.__qualname__ = f"{name}_with_indices"
    pool.__doc__ = f"(maxima, their places): {name} with return_indices=True."
    return pool


@functools.cache
def _signature(name: str) -> inspect.Signature:
    return inspect.signature(_operator(name))


max_pool1d_with_indices = _pool_with_indices("max_pool1d")
max_pool2d_with_indices = _pool_with_indices("max_pool2d")
max_pool3d_with_indices = _pool_with_indices("max_pool3d")
adaptive_max_pool1d_with_indices = _pool_with_indices("adaptive_max_pool1d")
adaptive_max_pool2d_with_indices = _pool_with_indices("adaptive_max_pool2d")
adaptive_max_pool3d_with_indices = _pool_with_indices("adaptive_max_pool3d")
fractional_max_pool2d_with_indices = _pool_with_indices("fractional_max_pool2d")
fractional_max_pool3d_with_indices = _pool_with_indices("fractional_max_pool3d")


# ---- losses ----------------------------------------------------------------------------------------------------------

def _cross_entropy_of_linear(input: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor,
                             settings: dict[str, Any]) -> Tensor:
    flat = F.linear(input, weight.reshape((-1, weight.shape[-1])), None if bias is None else bias.reshape(-1))
    return F.cross_entropy(flat.reshape((*input.shape[:-1], *weight.shape[:-1])), target, **settings)


def linear_cross_entropy(input: Tensor, linear_weight: Tensor, target: Tensor, *, linear_bias: Tensor | None = None,
                         weight: Tensor | None = None, reduction: str = "mean", ignore_index: int | None = None,
                         label_smoothing: float = 0.0, options: Any = None) -> Tensor:
    """Cross entropy of the logits ``linear(input, linear_weight, linear_bias)``.

    With ``options`` and class indices the logits are made for a chunk of samples at a time.

    Shapes:  input (N, F) or (F,), linear_weight (C, *D, F), linear_bias (C, *D); target (N, *D) or () of classes, or
             (N, C, *D) or (C,) of probabilities; weight (C,) -> (), or the losses' shape for reduction "none".
    Raises:  RuntimeError for other shapes; ValueError for an unknown reduction.
    """
    if input.dim() not in (1, 2) or linear_weight.dim() < 2 or input.shape[-1] != linear_weight.shape[-1]:
        raise RuntimeError("linear_cross_entropy: expected input (N, F) or (F,) and linear_weight (C, *, F), got "
                           f"{tuple(input.shape)} and {tuple(linear_weight.shape)}")
    if linear_weight.dim() > 2 and input.dim() != 2:
        raise RuntimeError("linear_cross_entropy: a linear_weight of more than 2 axes needs a batched input (N, F), "
                           f"got {tuple(input.shape)}")
    classes = not target.is_floating_point()
    skipped = -100 if ignore_index is None else ignore_index
    settings = {"weight": weight, "ignore_index": skipped, "label_smoothing": label_smoothing}
    samples = input.shape[0] if input.dim() == 2 else 1
    size = samples
    if options is not None and input.dim() == 2 and classes:
        size = options.chunk_size(samples, linear_weight.shape[-1], math.prod(linear_weight.shape[:-1]))
    if size >= samples:
        return _cross_entropy_of_linear(input, linear_weight, linear_bias, target,
                                        {**settings, "reduction": reduction})
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction; use 'none', 'mean' or 'sum'")
    settings["reduction"] = "none" if reduction == "none" else "sum"
    parts = [_cross_entropy_of_linear(input[i:i + size], linear_weight, linear_bias, target[i:i + size], settings)
             for i in range(0, samples, size)]
    if reduction == "none":
        return T.cat(parts)
    total = T.stack(parts).sum()
    if reduction == "sum":
        return total
    counted = target != skipped
    if weight is None:
        return total / counted.sum()
    safe = target.clamp(0, weight.shape[0] - 1)
    return total / (weight[safe] * counted).sum()


def ctc_loss(log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0,
             reduction: str = "mean", zero_infinity: bool = False) -> Tensor:
    """Minus the log-probability of each target sequence, summed over its alignments; see nn.CTCLoss.

    Shapes:  log_probs (T, N, C) or (T, C), targets (N, S) or concatenated (sum of lengths,); lengths (N,) or (), as
             tensors or as sequences of ints.
    Raises:  RuntimeError for shapes or lengths that do not fit.
    """
    lengths = [n if isinstance(n, Tensor) else T.tensor(n, dtype=int64) for n in (input_lengths, target_lengths)]
    return _operator("ctc_loss")(log_probs, targets, *lengths, blank, reduction, zero_infinity)


def triplet_margin_with_distance_loss(anchor: Tensor, positive: Tensor, negative: Tensor, *,
                                      distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
                                      margin: float = 1.0, swap: bool = False, reduction: str = "mean") -> Tensor:
    """``max(0, d(anchor, positive) - d(anchor, negative) + margin)`` for any distance; see nn.TripletMarginLoss.

    Shapes:  (N, D) or (D,), all the same -> (), or the distances' shape for reduction "none".
    Raises:  ValueError for an unknown reduction or margin <= 0; RuntimeError if the numbers of axes differ.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance = F.pairwise_distance if distance_function is None else distance_function
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError("The anchor, positive, and negative tensors are expected to have the same number of "
                           f"dimensions, but got: anchor {anchor.dim()}D, positive {positive.dim()}D, and negative "
                           f"{negative.dim()}D inputs")
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = T.minimum(far, distance(positive, negative))
    loss = T.clamp(margin + near - far, min=0)
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


# ---- attention -------------------------------------------------------------------------------------------------------

def _none_or_dtype(input: Tensor | None) -> Any:
    if input is None or isinstance(input, Tensor):
        return None if input is None else input.dtype
    raise RuntimeError(f"input to _none_or_dtype() must be None or torch.Tensor, got {type(input).__name__}")


def _canonical_mask(mask: Tensor | None, mask_name: str, other_type: Any, other_name: str, target_type: Any,
                    check_other: bool = True) -> Tensor | None:
    """``mask`` as numbers to be added to scores: a bool mask has -inf where it is True."""
    if mask is None:
        return None
    floating = mask.is_floating_point()
    if mask.dtype != bool_ and not floating:
        raise AssertionError(f"only bool and floating types of {mask_name} are supported, got {mask.dtype}")
    if check_other and other_type is not None and mask.dtype != other_type:
        warnings.warn(f"Support for mismatched {mask_name} and {other_name} is deprecated. Use same type for both "
                      "instead.", stacklevel=3)
    return mask if floating else T.zeros_like(mask, dtype=target_type).masked_fill(mask, -math.inf)


def _mha_shape_check(query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None,
                     attn_mask: Tensor | None, num_heads: int) -> bool:
    """Whether the arguments are batched.

    Raises:  AssertionError if their numbers of axes do not fit.
    """
    n = query.dim()
    if n not in (2, 3):
        raise AssertionError(f"query should be unbatched 2D or batched 3D tensor but received {n}-D query tensor")
    kind = f"For {'batched' if n == 3 else 'unbatched'} ({n}-D) `query`, expected"
    if key.dim() != n or value.dim() != n:
        raise AssertionError(f"{kind} `key` and `value` to be {n}-D but found {key.dim()}-D and {value.dim()}-D "
                             "tensors respectively")
    if key_padding_mask is not None and key_padding_mask.dim() != n - 1:
        raise AssertionError(f"{kind} `key_padding_mask` to be `None` or {n - 1}-D but found "
                             f"{key_padding_mask.dim()}-D tensor instead")
    if attn_mask is not None:
        if attn_mask.dim() not in (2, 3):
            raise AssertionError(f"{kind} `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.dim()}-D tensor "
                                 "instead")
        expected = (num_heads, query.shape[0], key.shape[0])
        if n == 2 and attn_mask.dim() == 3 and tuple(attn_mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {tuple(attn_mask.shape)}")
    return n == 3


def _project(query: Tensor, key: Tensor, value: Tensor, weight: Tensor,
             bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The three projections out of one stacked weight, with as few products as the arguments allow."""
    width = query.shape[-1]
    if key is value:
        if query is key:
            return F.linear(query, weight, bias).chunk(3, -1)
        w_q, w_kv = weight.split([width, 2 * width])
        b_q, b_kv = (None, None) if bias is None else bias.split([width, 2 * width])
        return (F.linear(query, w_q, b_q), *F.linear(key, w_kv, b_kv).chunk(2, -1))
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return tuple(F.linear(x, w, b) for x, w, b in zip((query, key, value), weight.chunk(3), biases, strict=True))


def _static(name: str, static: Tensor, batch: int, head_dim: int) -> Tensor:
    if static.shape[0] != batch:
        raise AssertionError(f"expecting {name}.size(0) of {batch}, but got {static.shape[0]}")
    if static.shape[2] != head_dim:
        raise AssertionError(f"expecting {name}.size(2) of {head_dim}, but got {static.shape[2]}")
    return static


def multi_head_attention_forward(
    query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int, in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None, bias_k: Tensor | None, bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float,
    out_proj_weight: Tensor, out_proj_bias: Tensor | None, training: bool = True,
    key_padding_mask: Tensor | None = None, need_weights: bool = True, attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Tensor | None = None, k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None, static_k: Tensor | None = None, static_v: Tensor | None = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Multi-head attention with the parameters given one by one; see nn.MultiheadAttention.

    Shapes:  query (L, N, E), key (S, N, *), value (S, N, *), all without N for one sample -> output (L, N, E) and
             weights (N, L, S), (N, heads, L, S) unless average_attn_weights, None unless need_weights. static_k and
             static_v (N heads, S, E / heads) replace the projected key and value.
    Raises:  AssertionError or RuntimeError, as PyTorch, for shapes that do not fit, or is_causal without attn_mask.
    """
    batched = _mha_shape_check(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        opened = {id(t): t.unsqueeze(1) for t in (query, key, value)}
        query, key, value = (opened[id(t)] for t in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, embed_dim = query.shape
    source = key.shape[0]
    key_padding_mask = _canonical_mask(key_padding_mask, "key_padding_mask", _none_or_dtype(attn_mask), "attn_mask",
                                       query.dtype)
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
                           "`generate_square_subsequent_mask` to create this mask.")
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None  # attention itself knows the causal mask
    else:
        attn_mask = _canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, check_other=False)
        is_causal = False
    if embed_dim != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed_dim}")
    head_dim = embed_dim // num_heads
    if head_dim * num_heads != embed_dim:
        raise AssertionError(f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")

    if use_separate_proj_weight:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(f"key's sequence and batch dims {tuple(key.shape[:2])} do not match value's "
                                 f"{tuple(value.shape[:2])}")
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
        for name, weight in zip("qkv", weights, strict=True):
            if weight is None:
                raise AssertionError(f"use_separate_proj_weight is True but {name}_proj_weight is None")
        biases = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
        q, k, v = (F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
    else:
        if key.shape != value.shape:
            raise AssertionError(f"key shape {tuple(key.shape)} does not match value shape {tuple(value.shape)}")
        if in_proj_weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        q, k, v = _project(query, key, value, in_proj_weight, in_proj_bias)

    if attn_mask is not None:
        expected = (length, source) if attn_mask.dim() == 2 else (batch * num_heads, length, source)
        if tuple(attn_mask.shape) != expected:
            raise RuntimeError(f"The shape of the {attn_mask.dim()}D attn_mask is {tuple(attn_mask.shape)}, but should "
                               f"be {expected}.")
        attn_mask = attn_mask.reshape((1, 1, *expected) if attn_mask.dim() == 2 else
                                      (batch, num_heads, length, source))
    extra = 0  # keys that no mask knows
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError(f"bias cannot be added to static {'key' if static_k is not None else 'value'}.")
        k = T.cat([k, bias_k.expand(1, batch, -1)])
        v = T.cat([v, bias_v.expand(1, batch, -1)])
        extra += 1
    elif bias_k is not None or bias_v is not None:
        given, absent = ("bias_k", "bias_v") if bias_k is not None else ("bias_v", "bias_k")
        raise AssertionError(f"{given} is set but {absent} is None")

    def heads(x: Tensor) -> Tensor:
        return x.reshape((x.shape[0], batch, num_heads, head_dim)).permute(1, 2, 0, 3)

    def heads_of(name: str, static: Tensor | None, x: Tensor) -> Tensor:
        if static is None:
            return heads(x)
        return _static(name, static, batch * num_heads, head_dim).reshape((batch, num_heads, -1, head_dim))

    q, k, v = heads(q), heads_of("static_k", static_k, k), heads_of("static_v", static_v, v)
    if add_zero_attn:
        zero = T.zeros((batch, num_heads, 1, head_dim), dtype=k.dtype, device=k.device)
        k, v = T.cat([k, zero], dim=2), T.cat([v, zero], dim=2)
        extra += 1
    total = k.shape[2]
    if extra and attn_mask is not None:
        attn_mask = F.pad(attn_mask, (0, extra))
    if key_padding_mask is not None:
        if extra:
            key_padding_mask = F.pad(key_padding_mask, (0, extra))
        if tuple(key_padding_mask.shape) != (batch, total):
            axis = 0 if key_padding_mask.shape[0] != batch else 1
            raise AssertionError(f"Expected key_padded_mask.shape[{axis}] to be {(batch, total)[axis]}, but got "
                                 f"{key_padding_mask.shape[axis]}")
        padding = key_padding_mask.reshape((batch, 1, 1, total))
        attn_mask = padding if attn_mask is None else attn_mask + padding

    dropout_p = dropout_p if training else 0.0
    if not need_weights:
        output = F.scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal)
        weights = None
    else:
        scores = (q * head_dim ** -0.5) @ k.transpose(-2, -1)
        weights = F.softmax(scores if attn_mask is None else scores + attn_mask.to(scores.dtype), dim=-1)
        if dropout_p > 0.0:
            weights = F.dropout(weights, p=dropout_p)
        output = weights @ v
        if average_attn_weights:
            weights = weights.mean(dim=1)
    output = F.linear(output.permute(2, 0, 1, 3).reshape((length, batch, embed_dim)), out_proj_weight, out_proj_bias)
    if not batched:
        output = output.squeeze(1)
        weights = None if weights is None else weights.squeeze(0)
    return output, weights
