"""Operations on nested tensors: elementwise, reductions, layers, attention."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from ..ops import TABLE
from ..ops._table import Array, OpDef, Operand
from ..tensor import Tensor
from ..tensor import dtype as d
from ..tensor import functions as T
from ..tensor._names import find
from ..tensor._wrap import form
from ._shape import inner
from ._tensor import NestedTensor, _from_padded, _padded, _room, handles

#: Operators that look at several elements, or give results of another shape, among the families of elementwise ones.
_NOT_ELEMENTWISE = frozenset(
    """complex polar view_as_complex view_as_real frexp _to_dtype clone glu gumbel_softmax softmax softmin log_softmax
    normalize cosine_similarity pairwise_distance prelu rrelu isclose cdist multigammaln mvlgamma""".split()
)
_FAMILIES = ("unary", "activation", "elementwise")


def _beside(t: NestedTensor, x: Tensor, name: str) -> Tensor:
    """A dense operand in the form of the values of ``t``: broadcast over the components, or one row for each."""
    if x.dim() == 0:
        return x
    n = t.dim()
    if x.dim() > n:
        raise RuntimeError(f"cannot call binary pointwise function {name} with a nested tensor of {n} dimensions and "
                           f"a dense "
                           f"one of shape {list(x.shape)}")  # fmt: skip
    lead = n - x.dim()
    at = t._at - lead
    if at >= 0 and x.shape[at] != 1:
        raise RuntimeError(f"cannot call binary pointwise function {name} with inputs of shapes {tuple(t._size)} and "
                           f"{tuple(x.shape)}: the dense one must have size 1 in the ragged dimension")  # fmt: skip
    if lead:
        return x
    if x.shape[0] == 1:
        return x.squeeze(0)
    if x.shape[0] != t._ragged.batch:
        raise RuntimeError(f"cannot call binary pointwise function {name} with batches of {t._ragged.batch} and "
                           f"{x.shape[0]}")  # fmt: skip
    rows = x.index_select(0, t._ragged.owners)  # (rows, *a, 1, *b)
    rows = rows.squeeze(t._at)
    return rows if t._at == 1 else rows.movedim(0, t._at - 1)


def _pointwise(entry: OpDef) -> Any:
    arrays = [p.name for p in entry.params if p.kind in (Array, Operand)]

    def handler(**bound: Any) -> NestedTensor:
        nested = [bound[n] for n in arrays if isinstance(bound[n], NestedTensor)]
        lead = max(nested, key=lambda x: x.dim())
        for n in arrays:
            x = bound[n]
            if isinstance(x, NestedTensor):
                if x._at != lead._at or x.dim() != lead.dim() or not lead._ragged.same(x._ragged):
                    raise RuntimeError(f"cannot call binary pointwise function {entry.name} with inputs of shapes "
                                       f"{tuple(lead._size)} and {tuple(x._size)}")  # fmt: skip
                bound[n] = lead._aligned_with(x)
            elif isinstance(x, Tensor):
                bound[n] = _beside(lead, x, entry.name)
        return lead._with(form(entry)(**bound))

    return handler


for _entry in {id(e): e for e in TABLE.values()}.values():
    if _entry.fn.__module__.rpartition(".")[2] in _FAMILIES and _entry.name not in _NOT_ELEMENTWISE:
        handles(_entry.name)(_pointwise(_entry))
handles("masked_fill")(_pointwise(TABLE["torch", "masked_fill"]))
for _name in ("dropout", "alpha_dropout"):
    handles(_name)(
        lambda input, p, training, _of=_name: input._with(find("nn.functional", _of)(input._carrier, p, training))
    )
handles("fill")(lambda input, value: input._with(T.full_like(input._carrier, value)))
handles("zero", "zero_")(lambda input: input._with(T.zeros_like(input._carrier)))


@handles("where")
def where(condition: Any, input: Any = None, other: Any = None) -> NestedTensor:
    """Elements of ``input`` where the condition holds, else of ``other``."""
    if input is None:
        raise RuntimeError("where: of a nested condition needs input and other")
    return NestedTensor._handlers["_where"](condition=condition, input=input, other=other)


if ("torch", "where") in TABLE:
    NestedTensor._handlers["_where"] = _pointwise(TABLE["torch", "where"])


def _like(name: str) -> None:
    make = find("torch", name)

    def handler(input: NestedTensor, *args: Any, dtype: Any = None, layout: Any = None, device: Any = None,
                requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None,
                **rest: Any) -> NestedTensor:  # fmt: skip
        made = input._with(make(input._carrier.detach(), *args, dtype=dtype, **rest))
        made = made if device is None else made.to(device)
        return made.requires_grad_(True) if requires_grad else made

    handles(name)(handler)


for _name in ("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like"):
    _like(_name)


# ---- reductions ----------------------------------------------------------------------------------------------------


def _dims(t: NestedTensor, dim: Any) -> list[int]:
    return sorted({t._dim(k) for k in (dim if isinstance(dim, (list, tuple)) else (dim,))})


def _reduced(name: str) -> Any:
    """A reduction of all elements, of inner dimensions, or of the ragged dimension."""

    def apply(x: Tensor, dim: Any, keepdim: bool, rest: dict) -> Any:
        return getattr(T, name)(x, dim, keepdim, **rest)

    def handler(input: NestedTensor, dim: Any = None, keepdim: bool = False, **rest: Any) -> Any:
        rest = {k: v for k, v in rest.items() if v is not None}
        if dim is None or (isinstance(dim, (list, tuple)) and not dim):
            return getattr(T, name)(input._exact(), **rest)
        dims = _dims(input, dim)
        if dims == list(range(input.dim())) and not keepdim:
            return getattr(T, name)(input._exact(), **rest)
        if 0 in dims:
            if input._at not in dims:
                raise RuntimeError(f"{name}(): reducing along the batch dimension but not the ragged dimension is not "
                                   "supported for nested tensors")  # fmt: skip
            found = apply(input._exact(), [k - 1 for k in dims if k], keepdim, rest)
            return found.unsqueeze(0) if keepdim else found
        if input._at in dims:
            return _over_ragged(name, input, dims, keepdim, rest)
        found = apply(input._carrier, [k - 1 for k in dims], keepdim, rest)
        return input._with_values(found, input._at - (0 if keepdim else sum(k < input._at for k in dims)))

    handles(name)(handler)
    return handler


_FILL = {"amax": "lowest", "amin": "highest", "prod": 1, "any": 0, "all": 1}


def _extreme(kind: Any, lowest: bool) -> Any:
    if kind.is_floating_point:
        return float("-inf") if lowest else float("inf")
    if kind is d.bool_:
        return not lowest
    info = d.iinfo(kind)
    return info.min if lowest else info.max


def _over_ragged(name: str, t: NestedTensor, dims: list[int], keepdim: bool, rest: dict) -> Tensor:
    others = [k for k in dims if k != t._at]
    if name in ("sum", "mean"):
        x = t._rows_first()
        kind = rest.get("dtype")
        x = x if kind is None else x.to(dtype=kind)
        if name == "sum" and x.dtype.numpy.kind in "biu":
            x = x.long()
        elif name == "mean" and not (x.is_floating_point() or x.is_complex()):
            raise RuntimeError(f"mean(): could not infer output dtype. Input dtype must be either a floating point or "
                               f"complex dtype. Got: {x.dtype}")  # fmt: skip
        r = t._ragged
        start = T.zeros((r.batch + 1, *x.shape[1:]), dtype=x.dtype, device=x.device)
        out = start.index_add(0, r.ids, x).narrow(0, 0, r.batch)
        if name == "mean":
            out = out / r.counts.reshape(-1, *(1,) * (out.dim() - 1)).to(out.dtype)
        if keepdim:
            out = out.unsqueeze(t._at)
        else:
            others = [k - (k > t._at) for k in others]
        return getattr(T, name)(out, others, keepdim) if others else out
    fill = _FILL[name]
    if isinstance(fill, str):
        fill = _extreme(t.dtype, fill == "lowest")
    dense = _padded(t, _room(t), fill)
    if name in ("any", "all", "prod"):
        for k in sorted(dims, reverse=True):
            dense = getattr(T, name)(dense, k, keepdim, **rest)
        return dense
    return getattr(T, name)(dense, dims, keepdim, **rest)


for _name in ("sum", "mean", "amax", "amin", "any", "all", "prod"):
    _reduced(_name)


def _with_indices(name: str, lowest: bool) -> None:
    kind = namedtuple(name, ("values", "indices"))  # type: ignore[misc]
    kind.__module__ = "pytorchlike.return_types"

    def handler(input: NestedTensor, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            return getattr(T, name)(input._exact())
        k = input._dim(dim)
        if k == input._at:
            return getattr(T, name)(_padded(input, _room(input), _extreme(input.dtype, lowest)), k, keepdim)
        at = inner(input, dim, name)
        values, indices = getattr(T, name)(input._carrier, at, keepdim)
        ragged = input._at - (0 if keepdim else k < input._at)
        return kind(input._with_values(values, ragged), input._with_values(indices, ragged))

    handles(name)(handler)

    def arg(input: NestedTensor, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            return getattr(T, "arg" + name)(input._exact())
        return handler(input, dim, keepdim)[1]

    handles("arg" + name)(arg)


_with_indices("max", True)
_with_indices("min", False)


# ---- along a dimension ---------------------------------------------------------------------------------------------


def _normalised(name: str) -> None:
    def handler(input: NestedTensor, dim: Any, dtype: Any = None) -> NestedTensor:
        k = input._dim(dim)
        if k == 0:
            raise RuntimeError(f"{name}(): not supported for NestedTensor on dim=0")
        kind = None if dtype is None else d.from_numpy_dtype(dtype) if not isinstance(dtype, d.dtype) else dtype
        apply = getattr(T, name)
        if k != input._at:
            return input._with(apply(input._carrier, k - 1, dtype=kind))
        dense = _padded(input, _room(input), float("-inf"))
        return _from_padded(input, apply(dense, k, dtype=kind))

    handles(name)(handler)


for _name in ("softmax", "log_softmax"):
    _normalised(_name)


def _last_dims(name: str) -> None:
    apply = find("nn.functional", name)

    def handler(input: NestedTensor, normalized_shape: Any, **rest: Any) -> NestedTensor:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if input.dim() - len(shape) <= input._at:
            raise RuntimeError(f"{name}(): normalizing over ragged dim not supported for nested tensors")
        return input._with(apply(input._carrier, normalized_shape, **rest))

    handles(name)(handler)


for _name in ("layer_norm", "rms_norm"):
    _last_dims(_name)


# ---- products ------------------------------------------------------------------------------------------------------


@handles("linear")
def linear(input: NestedTensor, weight: Tensor, bias: Tensor | None = None) -> NestedTensor:
    """``input @ weight.T + bias`` over the last dimension, which may not be ragged."""
    if not isinstance(input, NestedTensor) or isinstance(weight, NestedTensor):
        raise RuntimeError("linear(): a nested input takes a dense weight")
    inner(input, -1, "linear")
    return input._with(find("nn.functional", "linear")(input._carrier, weight, bias))


@handles("matmul", "bmm")
def matmul(input: Any = None, other: Any = None, mat2: Any = None) -> Tensor:
    """Nested times dense matrix, or nested times nested: component by component over padded tensors."""
    other = mat2 if other is None else other
    if isinstance(input, NestedTensor) and not isinstance(other, NestedTensor):
        inner(input, -1, "matmul")
        if other.dim() > 2 and other.shape[0] == input._ragged.batch and input._at == input.dim() - 2:
            return _from_padded(input, T.matmul(_padded(input, _room(input), 0), other))
        if other.dim() != 2:
            raise RuntimeError(f"matmul(): not supported between inputs of shapes {tuple(input._size)} and "
                               f"{tuple(other.shape)}")  # fmt: skip
        return input._with(T.matmul(input._carrier, other))
    if not isinstance(input, NestedTensor):
        raise RuntimeError("matmul(): a dense tensor times a nested one is not supported; transpose the product")
    if not input._ragged.same(other._ragged) or input.dim() != other.dim():
        raise RuntimeError(f"matmul(): not supported between inputs of shapes {tuple(input._size)} and "
                           f"{tuple(other._size)}")  # fmt: skip
    n = input.dim()
    length = _room(input)
    product = T.matmul(_padded(input, length, 0), _padded(other, length, 0))
    left, right = input._at == n - 2, other._at == n - 1
    if left and right:
        raise NotImplementedError("matmul(): the product would be ragged in two dimensions; pad the operands "
                                  "(to_padded_tensor), or multiply the components")  # fmt: skip
    if left or right:
        return _from_padded(input, product, n - 2 if left else n - 1)
    if input._at == n - 1 and other._at == n - 2:
        return product
    return _from_padded(input, product)


handles("_rmatmul")(lambda input, other: matmul(other, input))


@handles("embedding")
def embedding(input: Any, weight: Tensor, **rest: Any) -> NestedTensor:
    """Rows of a table by nested indices."""
    if not isinstance(input, NestedTensor):
        raise RuntimeError("embedding(): the table must be dense")
    return input._with_values(find("nn.functional", "embedding")(input._carrier, weight, **rest), input._at)


@handles("scaled_dot_product_attention", "_scaled_dot_product_attention_dropout")
def attention(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
              scale: float | None = None, enable_gqa: bool = False) -> NestedTensor:  # fmt: skip
    """Attention within each component: (B, heads, ragged, features).  Over padded tensors, with a mask."""
    for t in (query, key, value):
        if not isinstance(t, NestedTensor):
            raise RuntimeError("scaled_dot_product_attention(): query, key and value must all be nested or all dense")
        if t.dim() < 3 or t._at != t.dim() - 2:
            raise RuntimeError(f"scaled_dot_product_attention(): expected the ragged dimension before the last one "
                               f"(B, ..., ragged, features), got {tuple(t._size)}")  # fmt: skip
    if attn_mask is not None:
        raise RuntimeError("scaled_dot_product_attention(): masks of nested tensors are not supported; is_causal is")
    if not key._ragged.same(value._ragged):
        raise RuntimeError("scaled_dot_product_attention(): key and value must have the same lengths")
    q, k, v = (_padded(t, _room(t), 0) for t in (query, key, value))
    filled = key._ragged.mask(k.shape[-2])
    # an empty component attends to what fills it, so that nothing is divided by zero; its result is not looked at
    first = T.arange(k.shape[-2], device=k.device) == 0
    mask = (filled | first).reshape(filled.shape[0], *(1,) * (k.dim() - 2), k.shape[-2])
    if is_causal:
        mask = mask & T.ones((q.shape[-2], k.shape[-2]), dtype=d.bool_, device=k.device).tril()
    attend = find("nn.functional", "scaled_dot_product_attention")
    return _from_padded(query, attend(q, k, v, mask, dropout_p, False, scale=scale, enable_gqa=enable_gqa))


def attend_padded(module: Any, query: NestedTensor, key: NestedTensor, value: NestedTensor) -> NestedTensor:
    """The output of a MultiheadAttention module for nested tensors, over padded ones with a mask."""
    if not (isinstance(key, NestedTensor) and isinstance(value, NestedTensor) and key._ragged.same(value._ragged)):
        raise RuntimeError("MultiheadAttention: query, key and value must all be nested, key and value of same lengths")
    told = {id(t): _padded(t, _room(t), 0) for t in (query, key, value)}  # one tensor stays one: self-attention
    length = told[id(key)].shape[1]
    kept = key._ragged.mask(length) | (T.arange(length, device=key.device) == 0)
    out, _ = module(*[told[id(t)] for t in (query, key, value)], key_padding_mask=~kept, need_weights=False)
    return _from_padded(query, out)


@handles("equal")
def equal(input: Any, other: Any) -> bool:
    """Whether both have the same components."""
    if not isinstance(input, NestedTensor) or not isinstance(other, NestedTensor) or not input.is_same_size(other):
        return False
    return bool((input._exact() == other._exact()).all())


@handles("allclose")
def allclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether both have components of the same sizes with nearly the same elements."""
    if not isinstance(input, NestedTensor) or not isinstance(other, NestedTensor) or not input.is_same_size(other):
        raise RuntimeError("allclose(): nested tensors are compared with nested tensors of the same sizes")
    return T.allclose(input._exact(), other._exact(), rtol, atol, equal_nan)


__all__ = ["attention", "embedding", "linear", "matmul", "where"]
