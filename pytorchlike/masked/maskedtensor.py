"""Tensors of which some elements are masked out: ``torch.masked.MaskedTensor``.

Such a tensor is made of an ordinary one, the data, and a mask, true where an element counts. Operations work on the
data; what is masked out stays so, takes no part in reductions, and gets no gradient that could be seen. The gradient of
a masked tensor is masked as it is.

Data and mask may be sparse, both COO or both CSR: the mask tells which elements are specified. Operations compute on
dense tensors; :meth:`MaskedTensor.get_data` and :meth:`MaskedTensor.get_mask` give sparse ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from ..ops._table import TABLE, lookup
from ..tensor import Tensor, _wrap
from ..tensor import dtype as d
from ..tensor import functions as T
from ..tensor._names import find
from ..tensor.composed import Composed

__all__ = ["MaskedTensor", "as_masked_tensor", "is_masked_tensor", "masked_tensor"]

_LAYOUTS = (d.strided, d.sparse_coo, d.sparse_csr)
_DTYPES = ("float16", "float32", "float64", "bfloat16", "bool", "int8", "int16", "int32", "int64", "uint8")


def is_masked_tensor(obj: Any, /) -> bool:
    """Whether it is a MaskedTensor."""
    return isinstance(obj, MaskedTensor)


def _checked(data: Any, mask: Any) -> None:
    for name, t in (("data", data), ("mask", mask)):
        if not isinstance(t, Tensor) or (isinstance(t, Composed) and t.layout is d.strided):
            raise TypeError(f"{name} must be a Tensor")
        if t.layout not in _LAYOUTS:
            raise TypeError(f"{name} layout of {t.layout} is not supported.")
    if data.layout is not mask.layout:
        raise TypeError(f"data and mask must have the same layout, but got {data.layout} and {mask.layout}")
    if mask.dtype is not d.bool_:
        raise TypeError("mask must have dtype bool.")
    if str(data.dtype).removeprefix("torch.") not in _DTYPES:
        raise TypeError(f"{data.dtype} is not supported in MaskedTensor.")
    if data.dim() != mask.dim():
        raise ValueError("data.dim() must equal mask.dim()")
    if data.size() != mask.size():
        raise ValueError("data.size() must equal mask.size()")


def masked_tensor(data: Tensor, mask: Tensor, requires_grad: bool = False) -> MaskedTensor:
    """A leaf made of copies of ``data`` and ``mask`` (bool, of the same shape; true: the element counts).

    Raises TypeError for other kinds of arguments and dtypes, ValueError for shapes that differ.
    """
    return MaskedTensor(data, mask, requires_grad)


def as_masked_tensor(data: Tensor, mask: Tensor) -> MaskedTensor:
    """``data`` with a mask: gradients flow to it. Raises as :func:`masked_tensor`."""
    _checked(data, mask)
    _warn()
    if data.layout is not d.strided:
        return MaskedTensor._of_sparse(data, mask)
    return MaskedTensor._make(data.view_as(data) if data.requires_grad else data, mask)


def _warn() -> None:
    warnings.warn("The PyTorch API of MaskedTensors is in prototype stage and will change in the near future.",
                  UserWarning, stacklevel=3)  # fmt: skip


class MaskedTensor(Composed):
    """Data and a mask; see the module's text.

    Arithmetic of two masked tensors needs equal masks (which are read for it, unless they are the same object); another
    tensor or number counts everywhere.
    """

    _mask: Tensor
    _places: Any  # the mask as a sparse tensor; None for strided ones

    def __new__(cls, data: Tensor, mask: Tensor, requires_grad: bool = False) -> MaskedTensor:
        _checked(data, mask)
        _warn()
        if data.layout is not d.strided:
            made = cls._of_sparse(data.detach(), mask.detach())
            return cls._make(made._carrier.detach().requires_grad_(requires_grad), made._mask, made._places)
        return cls._make(data.detach().clone().requires_grad_(requires_grad), mask.detach().clone())

    def __init__(self, data: Tensor, mask: Tensor, requires_grad: bool = False) -> None:
        pass

    @staticmethod
    def _make(data: Tensor, mask: Tensor, places: Any = None) -> MaskedTensor:
        t = object.__new__(MaskedTensor)
        t._carrier, t._mask, t._size, t._places = data, mask, tuple(data.shape), places
        return t

    @staticmethod
    def _of_sparse(data: Tensor, mask: Tensor) -> MaskedTensor:
        if mask.layout is d.sparse_coo:
            data, mask = data.coalesce(), mask.coalesce()
        # what is stored of the data beside the mask's places is given up
        return MaskedTensor._make(data.to_dense().masked_fill(~_stored(mask), 0), mask.to_dense(), mask)

    # ---- what Composed asks for --------------------------------------------------------------------------------

    def _with(self, carrier: Tensor) -> MaskedTensor:
        return MaskedTensor._make(carrier, self._mask, self._places)

    def _moved(self, where: Any) -> MaskedTensor:
        places = None if self._places is None else self._places.to(where)
        return MaskedTensor._make(self._carrier, self._mask.to(where), places)

    def _same_structure(self, other: MaskedTensor) -> bool:
        return self._size == other._size and _equal(self._mask, other._mask)

    def _take_structure(self, other: MaskedTensor) -> None:
        self._mask, self._size, self._places = other._mask, other._size, other._places

    def _flatten(self) -> tuple[tuple, Any]:
        return (self._carrier, self._mask), self._places

    @classmethod
    def _unflatten(cls, told: Any, children: Any) -> MaskedTensor:
        data, mask = children
        t = object.__new__(MaskedTensor)
        t._carrier, t._mask, t._size, t._places = data, mask, tuple(getattr(data, "shape", ())), told
        return t

    def _grad_of(self, grad: Any) -> Tensor:
        return grad._carrier.masked_fill(~grad._mask, 0) if isinstance(grad, MaskedTensor) else grad

    _kind = "masked"

    # ---- what it is --------------------------------------------------------------------------------------------

    @property
    def layout(self) -> Any:
        """That of data and mask: ``torch.strided``, ``sparse_coo`` or ``sparse_csr``."""
        return d.strided if self._places is None else self._places.layout

    @property
    def is_sparse(self) -> bool:
        """Whether data and mask are sparse."""
        return self._places is not None

    def is_sparse_coo(self) -> bool:
        """Whether data and mask are COO."""
        return self.layout is d.sparse_coo

    def is_sparse_csr(self) -> bool:
        """Whether data and mask are CSR."""
        return self.layout is d.sparse_csr

    def get_data(self) -> Tensor:
        """The data, masked out elements that are stored included; gradients flow back."""
        if self._places is not None:
            return self._carrier.sparse_mask(self._places)
        return self._carrier.view_as(self._carrier)

    def get_mask(self) -> Tensor:
        """The mask."""
        return self._mask if self._places is None else self._places

    def to_sparse_coo(self) -> MaskedTensor:
        """The same as COO tensors of the elements that count."""
        return self._stored_as(self._mask.to_sparse())

    to_sparse = to_sparse_coo

    def to_sparse_csr(self) -> MaskedTensor:
        """The same as CSR tensors of the elements that count."""
        return self._stored_as(self._mask.to_sparse_csr())

    def _stored_as(self, places: Tensor) -> MaskedTensor:
        return MaskedTensor._make(self._carrier.masked_fill(~self._mask, 0), self._mask, places)

    @property
    def _masked_data(self) -> Tensor:
        return self._carrier.detach()

    @property
    def _masked_mask(self) -> Tensor:
        return self._mask

    def to_tensor(self, value: float) -> Tensor:
        """An ordinary tensor with ``value`` where elements are masked out; gradients flow back."""
        return self._carrier.masked_fill(~self._mask, value)

    def to_dense(self) -> MaskedTensor:
        """The same as dense tensors; itself if it is dense."""
        return self if self._places is None else MaskedTensor._make(self._carrier, self._mask)

    def item(self) -> Any:
        """The value of one element. ValueError if it is masked out."""
        if self.numel() == 1 and not bool(self._mask):
            raise ValueError("item: the element is masked out")
        return self._carrier.item()

    def __bool__(self) -> bool:
        return bool(self.item()) if self.numel() == 1 else super().__bool__()

    def numpy(self, *, force: bool = False) -> Any:
        """Refused, as in PyTorch: RuntimeError; see :meth:`to_tensor`."""
        raise RuntimeError(".numpy() is not supported for MaskedTensor: use .to_tensor(value).numpy()")

    def tolist(self) -> Any:
        """Refused, as in PyTorch: RuntimeError; see :meth:`to_tensor`."""
        raise RuntimeError(".tolist() is not supported for tensor subclasses, got MaskedTensor: use "
                           ".to_tensor(value).tolist()")  # fmt: skip

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the data are contiguous."""
        return self._carrier.is_contiguous()

    def stride(self, dim: int | None = None) -> Any:
        """The strides of the data."""
        return self._carrier.stride(dim)

    def contiguous(self, memory_format: Any = None) -> MaskedTensor:
        """The tensor with contiguous data and mask."""
        return MaskedTensor._make(self._carrier.contiguous(), self._mask.contiguous())

    def __getitem__(self, index: Any) -> MaskedTensor:
        if isinstance(index, MaskedTensor):
            index = index._carrier
        return MaskedTensor._make(self._carrier[index], self._mask[index])

    def __deepcopy__(self, memo: dict) -> MaskedTensor:
        found = memo.get(id(self))
        if found is None:
            import copy

            found = MaskedTensor._make(*(copy.deepcopy(x, memo) for x in (self._carrier, self._mask, self._places)))
            memo[id(self)] = found
        return found

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return MaskedTensor._make, (self._carrier, self._mask, self._places)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        data, mask = self._carrier.detach(), self._mask
        if not self._size:
            shown = f"{_shown(data.item())}, True" if bool(mask) else "--, False"
            return f"MaskedTensor({shown})"
        lines = "\n".join("  " + line for line in _rows(data, mask).split("\n"))
        return f"MaskedTensor(\n{lines}\n)"

    __str__ = __repr__


def _stored(mask: Tensor) -> Tensor:
    """Where a sparse mask has an entry, true or false, as a dense mask."""
    ones, size = T.ones_like(mask.values()), tuple(mask.shape)
    if mask.layout is d.sparse_coo:
        return find("torch", "sparse_coo_tensor")(mask.indices(), ones, size).to_dense()
    return find("torch", "sparse_csr_tensor")(mask.crow_indices(), mask.col_indices(), ones, size).to_dense()


def _shown(x: Any) -> str:
    return f"{x:8.4f}" if isinstance(x, float) else str(x)


def _rows(data: Tensor, mask: Tensor) -> str:
    if data.ndim == 1:
        shown = [_shown(x) if m else None for x, m in zip(data.tolist(), mask.tolist(), strict=True)]
        width = max([8, *[len(x) for x in shown if x is not None]]) if None in shown else 0
        return "[" + ", ".join("--".rjust(width) if x is None else x for x in shown) + "]"
    parts = [_rows(x, m) for x, m in zip(data, mask, strict=True)]
    inside = ",\n".join("\n".join("  " + line for line in part.split("\n")) for part in parts)
    return f"[\n{inside}\n]"


# ---- operations ------------------------------------------------------------------------------------------------------


def _equal(a: Tensor, b: Tensor) -> bool:
    return a is b or a._get() is b._get() or bool(T.equal(a, b))


def _matched(*tensors: Any) -> Tensor:
    """The mask of an elementwise operation's result. Raises ValueError if two masks differ."""
    masks = [t._mask for t in tensors if isinstance(t, MaskedTensor)]
    for m in masks[1:]:
        if m.shape != masks[0].shape or not _equal(m, masks[0]):
            raise ValueError("Input masks must match. If you need support for this, please open an issue on Github.")
    return masks[0]


def _plain(x: Any) -> Any:
    if isinstance(x, MaskedTensor):
        return x._carrier
    if isinstance(x, (list, tuple)):
        return type(x)(map(_plain, x))
    return x


def _flows_on(x: Any) -> bool:
    """Whether gradients go through it to tensors that are not masked as it is."""
    if isinstance(x, MaskedTensor):
        return x.requires_grad and not x._carrier.is_leaf
    return isinstance(x, Tensor) and x.requires_grad


def _elementwise(name: str) -> Callable[..., Any]:
    entry = TABLE.get(("torch", name)) or lookup(name)

    def handler(**bound: Any) -> MaskedTensor:
        mask = _matched(*bound.values())
        fn = _wrap.form(entry)
        out = fn(**{k: _plain(v) for k, v in bound.items()})
        mask = mask if mask.shape == out.shape else mask.expand(out.shape)
        if out.requires_grad and any(map(_flows_on, bound.values())):
            # what is masked out must not reach the gradient of another tensor: zero times nan is nan
            safe = fn(**{k: v.to_tensor(1) if isinstance(v, MaskedTensor) else v for k, v in bound.items()})
            out = T.where(mask, safe, out.detach())
        places = next(v._places for v in bound.values() if isinstance(v, MaskedTensor))
        return MaskedTensor._make(out, mask, places if places is not None and places.shape == out.shape else None)

    return handler


def _moving(name: str) -> Callable[..., Any]:
    """An operation that moves elements: of the mask as of the data."""
    entry = TABLE.get(("torch", name)) or lookup(name)

    def handler(**bound: Any) -> MaskedTensor:
        def of(pick: Callable[[MaskedTensor], Tensor]) -> Tensor:
            return _wrap.form(entry)(**{k: _picked(v, pick) for k, v in bound.items()})

        return MaskedTensor._make(of(lambda t: t._carrier), of(lambda t: t._mask))

    return handler


def _picked(x: Any, pick: Callable[[MaskedTensor], Tensor]) -> Any:
    if isinstance(x, MaskedTensor):
        return pick(x)
    if isinstance(x, (list, tuple)) and any(isinstance(y, MaskedTensor) for y in x):
        return [pick(y if isinstance(y, MaskedTensor) else MaskedTensor._make(y, T.ones_like(y, dtype=d.bool_)))
                for y in x]  # fmt: skip
    return x


def _moving_function(name: str) -> Callable[..., Any]:
    def handler(input: MaskedTensor, *args: Any, **kwargs: Any) -> Any:
        fn = find("torch", name)  # also a method of the class
        data, mask = fn(input._carrier, *args, **kwargs), fn(input._mask, *args, **kwargs)
        if isinstance(data, Tensor):
            return MaskedTensor._make(data, mask)
        return tuple(map(MaskedTensor._make, data, mask))

    return handler


def _reduction(name: str) -> Callable[..., Any]:
    """A reduction of the elements that count; masked out where none does."""

    def handler(input: MaskedTensor, dim: Any = None, keepdim: bool = False, dtype: Any = None, **more: Any) -> Any:
        if dim == () or dim == []:
            dim = None
        told = {"dtype": dtype} if dtype is not None and name in ("sum", "prod", "mean", "norm", "var", "std") else {}
        data, mask = input._carrier, input._mask
        if name == "all":
            out = data.masked_fill(~mask, True)
            out = out.all() if dim is None else out.all(dim, keepdim)
        else:
            out = _reduced(name, data, mask, dim, keepdim, more, told)
        if name in ("argmin", "argmax"):
            out = out.to(data.dtype)
        kept = mask.any() if dim is None and not keepdim else mask.any(
            tuple(range(mask.ndim)) if dim is None else dim, keepdim)  # fmt: skip
        return MaskedTensor._make(out, kept)

    return handler


def _reduced(name: str, data: Tensor, mask: Tensor, dim: Any, keepdim: bool, more: dict, told: dict) -> Tensor:
    fn = find("masked", name)
    named = {"keepdim": keepdim, "mask": mask, **told}
    if name in ("var", "std"):
        correction = more.get("correction")
        unbiased = more.get("unbiased")
        if correction is None:
            correction = 1 if unbiased is None else int(unbiased)
        if correction in (0, 1):
            return fn(data, dim, bool(correction), **named)
        n = mask.sum(tuple(range(mask.ndim)) if dim is None else dim, keepdim=keepdim)
        out = find("masked", "var")(data, dim, False, **named) * n / (n - correction)
        return out.sqrt() if name == "std" else out
    if name == "norm":
        p = more.get("p")
        return fn(data, 2.0 if p in (None, "fro") else p, dim, **named)
    if name == "prod" and (dim is None or isinstance(dim, (list, tuple))):
        # a product of products, since each is along one dim
        dims = tuple(range(data.ndim)) if dim is None else tuple(dim)
        out = data.masked_fill(~mask, 1)
        for k in sorted((k % data.ndim for k in dims), reverse=True):
            out = out.prod(k, keepdim=keepdim)
        return out
    return fn(data, dim, **named)


def _softmax(name: str) -> Callable[..., Any]:
    def handler(input: MaskedTensor, dim: int | None = None, dtype: Any = None, **rest: Any) -> MaskedTensor:
        dim = -1 if dim is None else dim
        out = find("masked", name)(input._carrier, dim, dtype=dtype, mask=input._mask)
        return MaskedTensor._make(out, input._mask)

    return handler


def _logsumexp(input: MaskedTensor, dim: Any = None, keepdim: bool = False) -> MaskedTensor:
    out = find("masked", "logsumexp")(input._carrier, dim, keepdim=keepdim, mask=input._mask)
    return MaskedTensor._make(out, input._mask.any(dim, keepdim))


def _where(condition: Tensor, input: Any, other: Any, out: Any = None) -> MaskedTensor:
    def parts(x: Any) -> tuple[Any, Any]:
        return (x._carrier, x._mask) if isinstance(x, MaskedTensor) else (x, T.ones((), dtype=d.bool_))

    condition = _plain(condition)
    (a, ma), (b, mb) = parts(input), parts(other)
    return MaskedTensor._make(T.where(condition, a, b), T.where(condition, ma, mb))


def _to_dtype(input: MaskedTensor, dtype: Any) -> MaskedTensor:
    return input._with(input._carrier._to_dtype(dtype))


def _like(name: str) -> Callable[..., Any]:
    def handler(input: MaskedTensor, **named: Any) -> MaskedTensor:
        return MaskedTensor._make(getattr(T, name)(input._carrier, **named), input._mask)

    return handler


_UNARY = """abs acos acosh angle asin asinh atan atanh bitwise_not ceil clamp conj_physical cos cosh deg2rad digamma erf
    erfc erfinv exp exp2 expm1 fix floor frac lgamma log log10 log1p log2 logit i0 isnan isinf isfinite nan_to_num neg
    positive pow rad2deg reciprocal round rsqrt sigmoid sign sgn signbit sin sinc sinh sqrt square tan tanh trunc relu
    logical_not _rpow _rdiv absolute arccos arccosh arcsin arcsinh arctan arctanh clip negative gelu silu softplus
    leaky_relu elu hardtanh _rremainder _rfloor_divide"""
_BINARY = """add atan2 arctan2 bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift div divide
    floor_divide fmod logaddexp logaddexp2 mul multiply nextafter remainder sub subtract true_divide eq ne le ge greater
    greater_equal gt less_equal lt less maximum minimum fmax fmin not_equal rsub logical_and logical_or logical_xor
    hypot copysign float_power lerp addcmul addcdiv"""
_MOVING = """view reshape flatten t transpose permute unsqueeze squeeze expand swapaxes swapdims movedim moveaxis flip
    repeat T mT unflatten ravel roll diagonal index_select cat stack concat tile triu tril"""
_MOVING_FUNCTIONS = "select narrow chunk split split_with_sizes unbind detach"
_REDUCTIONS = "sum mean amin amax argmin argmax prod all norm var std"


def _enter() -> None:
    handlers = MaskedTensor._handlers
    for names, make in ((_UNARY + " " + _BINARY, _elementwise), (_MOVING, _moving), (_REDUCTIONS, _reduction)):
        for name in names.split():
            entry = next((e for s in ("torch", "", "nn.functional") if (e := TABLE.get((s, name))) is not None), None)
            if entry is not None:
                handlers.setdefault(entry.name, make(entry.name))
    for name in _MOVING_FUNCTIONS.split():
        handlers[name] = _moving_function(name)
        if name != "detach":
            setattr(MaskedTensor, name, handlers[name])
    for name in ("softmax", "log_softmax", "softmin"):
        handlers[name] = _softmax(name)
    for name in ("zeros_like", "ones_like", "empty_like"):
        handlers[name] = _like(name)
    handlers["logsumexp"] = _logsumexp
    handlers["where"] = _where
    handlers["_to_dtype"] = _to_dtype


_enter()
