"""From a call of one of this package's functions to PyTorch's inner operators.

Most functions are the inner operator of the same name, whose signature tells which overload; ``composites`` knows the
others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from ..tensor import functions as T
from ..tensor._arguments import NOT_GIVEN
from ..tensor._general import bind, write_outs
from ..tensor.device import as_device, get_default_device
from ..tensor.dtype import bool_, from_numpy_dtype
from ..tensor.dtype import dtype as torch_dtype
from ..tensor.indexing import reads_as_tuple
from ..tensor.wrapped import is_wrapped
from . import kernels, offers
from .composites import COMPOSITES, Bound
from .operators import aten, of_custom
from .schema import among, schemas

__all__ = ["name_of", "offer", "one_operator"]

_FACTORY = ("device", "dtype", "requires_grad", "layout", "pin_memory")
#: Functions whose inner operator has another name.
_NAMES = {
    "max_pool2d_with_indices": "max_pool2d_with_indices", "vector_norm": "linalg_vector_norm", "_copy_from_": "copy_",
    "logsigmoid": "log_sigmoid_forward", "pad": "constant_pad_nd", "greater": "gt", "less": "lt", "absolute": "abs",
    "not_equal": "ne", "greater_equal": "ge", "less_equal": "le", "multiply": "mul", "divide": "div",
    "true_divide": "div", "subtract": "sub", "negative": "neg", "clip": "clamp", "concat": "cat", "concatenate": "cat",
    "swapaxes": "transpose", "swapdims": "transpose", "arccos": "acos", "arcsin": "asin", "arctan": "atan",
    "householder_product": "linalg_householder_product", "solve_triangular": "linalg_solve_triangular",
    "svdvals": "linalg_svdvals", "cholesky_ex": "linalg_cholesky_ex", "eigh": "linalg_eigh",
    "solve": "linalg_solve", "expit": "sigmoid",
}  # fmt: skip


def name_of(name: str) -> str:
    """The inner operator's name of one of this package's functions."""
    bare = name.removesuffix("_")
    return _NAMES.get(name) or (_NAMES[bare] + "_" if name != bare and bare in _NAMES else name)


def offer(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Offer a call of a function of this package."""
    kwargs = {k: v for k, v in kwargs.items() if v is not NOT_GIVEN}
    if made.entry is not None:
        return _of_table(made, args, kwargs)
    special = _SPECIAL.get(made.name)
    if special is not None:
        return special(made, args, kwargs)
    return _of_function(made, args, kwargs)


def _of_table(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    entry = made.entry
    assert entry is not None
    out = kwargs.pop("out", None)
    whole = args
    code = made.fast.__code__
    places = code.co_varnames[: code.co_argcount]
    if "inplace" in places[: len(args)]:  # of nn.functional's functions
        at = places.index("inplace")
        kwargs["inplace"], args = args[at], (*args[:at], *args[at + 1 :])
    inplace = kwargs.pop("inplace", False) or made.inplace
    name = entry.name + ("_" if inplace else "")
    rest = {k: kwargs.pop(k) for k in ("layout", "pin_memory", "generator") if k in kwargs}
    where = {k: kwargs.pop(k) for k in ("device", "requires_grad") if k in kwargs} if entry.factory else {}
    bound = bind(entry, name, args, {k: v for k, v in kwargs.items() if k != "_stacklevel"})
    given = _like_a_call(bound)
    run = _runner(made, inplace and whole is args, whole, {**kwargs, **rest, **where})
    if entry.factory:
        return _created(name, given, where, rest, run)
    take = COMPOSITES.get(entry.name) if not inplace else None
    result = NotImplemented if take is None else take(given)
    if result is NotImplemented:
        result = _one(name, given, run)
    if out is None:
        return result
    with offers.computing:
        return write_outs(out, result, entry)


def _runner(made: offers.Offer, inplace: bool, args: tuple, kwargs: dict[str, Any]) -> Callable[[], Any]:
    if inplace and not made.inplace:
        kwargs = {**kwargs, "inplace": True}
    return lambda: made.fast(*args, **kwargs)


def _like_a_call(bound: Bound) -> Bound:
    """Arguments of the table as a program would write them: dtypes are torch's."""
    out = {}
    for k, v in bound.items():
        if k == "dtype" and v is not None and not isinstance(v, torch_dtype):
            v = from_numpy_dtype(v)
        out[k] = v
    return out


def _renamed(name: str, bound: Bound) -> Bound:
    """The arguments with PyTorch's inner names: the first one is mostly ``self`` there."""
    known = {a.name for s in schemas(name).values() for a in s.arguments}
    bound = dict(bound)
    if "input" in bound and "input" not in known:
        bound["self"] = bound.pop("input")
    for ours, theirs in (("min_val", "min_val"), ("tensor", "self"), ("mat", "self"), ("x", "self")):
        if ours in bound and ours not in known and theirs not in bound:
            bound[theirs] = bound.pop(ours)
    if bound.get("reduction") in kernels._REDUCTIONS:
        bound["reduction"] = kernels._REDUCTIONS.index(bound["reduction"])
    if name in _CORRECTED:
        if bound.get("unbiased") is not None:
            bound["correction"] = int(bound.pop("unbiased"))
        if bound.get("dim") is None and bound.get("correction") == 1:
            bound.pop("correction")
    return bound


_CORRECTED = frozenset(("std", "var", "std_mean", "var_mean"))


def one_operator(name: str, bound: Bound) -> tuple[Any, tuple, dict[str, Any]]:
    """(overload, arguments, keyword arguments) of a function that is an inner operator; of unknown ones, as bound."""
    inner = name_of(name)
    bound = _renamed(inner, bound)
    found = among(inner, bound)
    if found is None:
        positional = [v for v in bound.values() if v is not None]
        for schema in schemas(inner).values():
            labels = [a.name for a in schema.arguments if not a.kwarg_only]
            found = found or among(inner, dict(zip(labels, positional, strict=False)))
    packet = aten.made(inner, _unknown(inner))
    if found is None:
        return packet._overload("default"), tuple(v for v in bound.values() if v is not None), {}
    return packet._overload(found[0].overload_name or "default"), tuple(found[1]), found[2]


def _unknown(name: str) -> Callable[..., Any]:
    def compute(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"aten.{name}: this package has no function of that name; call the one that the "
                                  "program called on the tensors that yours are made of")  # fmt: skip

    return compute


def _one(name: str, bound: Bound, run: Callable[[], Any]) -> Any:
    inner = name_of(name)
    if inner.startswith("_") and not schemas(inner):
        return _hidden(name, bound, run)
    func, args, kwargs = one_operator(name, bound)
    return offers.at_autograd(func, args, kwargs, run)


def _hidden(name: str, bound: Bound, run: Callable[[], Any]) -> Any:
    """A piece of one of this package's functions that has no name in PyTorch."""
    for t in offers.flat(bound):
        if is_wrapped(t):
            raise NotImplementedError(f"{name}: this piece of an operation has no counterpart among PyTorch's inner "
                                      f"operators, so that {type(t).__name__}.__torch_dispatch__ cannot be asked; "
                                      "apply the operation to the tensors that it is made of")  # fmt: skip
    with offers.computing:
        return run()


def _created(name: str, bound: Bound, where: dict[str, Any], rest: dict[str, Any], run: Callable[[], Any]) -> Any:
    """A factory: PyTorch always tells the device."""
    needs = where.get("requires_grad")
    if name.startswith("_"):
        with offers.computing:
            return run()
    device = where.get("device")
    bound["device"] = get_default_device() if device is None else as_device(device)
    bound["pin_memory"] = bool(rest.get("pin_memory"))
    if rest.get("generator") is not None:
        bound["generator"] = rest["generator"]
    func, args, kwargs = one_operator(name, bound)
    if name == "empty":
        func = aten.empty.memory_format
    made = offers.at_autograd(func, args, kwargs, run)
    return made.requires_grad_() if needs else made


# ---- functions written in Python, methods ---------------------------------------------------------------------------

#: Functions that are several operators in PyTorch, so that what they call is offered.
_TAKEN_APART = frozenset(
    """reshape_as view_as expand_as broadcast_tensors meshgrid atleast_1d atleast_2d atleast_3d narrow chunk hsplit
    vsplit dsplit tensor_split range_ logspace block_diag gradient bilinear allclose_""".split()
)


def _of_function(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    """A composite function: offered as a whole if PyTorch has it as an inner operator."""
    forms = {k: s for k, s in schemas(made.name).items() if not s.composite}
    if not forms or made.name in _TAKEN_APART:
        return made.fast(*args, **kwargs)
    told = dict(kwargs)
    out, needs = told.pop("out", None), told.pop("requires_grad", False)
    try:
        call = made.signature.bind(*args, **told)
    except TypeError:
        return made.fast(*args, **kwargs)
    bound: Bound = {}
    for k, v in call.arguments.items():
        kind = made.signature.parameters[k].kind
        if kind is kind.VAR_KEYWORD:
            bound.update(v)
        elif kind is kind.VAR_POSITIONAL:
            bound[k] = v[0] if len(v) == 1 and isinstance(v[0], (list, tuple)) else v
        elif type(v) is not object:
            bound[k.rstrip("_")] = v
    bound = _renamed(made.name, bound)
    if "device" in {a.name for s in forms.values() for a in s.arguments}:
        bound.setdefault("pin_memory", False)
        bound.pop("memory_format", None)
        if made.name in _MADE_OF_NUMBERS:
            device = bound.get("device")
            bound["device"] = get_default_device() if device is None else as_device(device)
    found = among(made.name, bound)
    if found is None or out is not None or found[0].composite:
        return made.fast(*args, **kwargs)
    packet = aten.made(made.name, made.fast)
    schema, given, named = found
    result = offers.at_autograd(
        packet._overload(schema.overload_name or "default"), tuple(given), named, lambda: made.fast(*args, **told)
    )
    return result.requires_grad_() if needs else result


def _numbered(name: str, told: Any) -> Callable[[offers.Offer, tuple, dict[str, Any]], Any]:
    """A factory whose first arguments have names that their number tells."""

    def take(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
        named = dict(zip(told[len(args)], args, strict=True)) if len(args) in told else None
        if named is None or kwargs.get("out") is not None or any(isinstance(a, Tensor) for a in args):
            return made.fast(*args, **kwargs)
        bound = {k: v for k, v in {**named, **kwargs}.items() if v is not None}
        needs = bound.pop("requires_grad", False)
        device = bound.pop("device", None)
        bound["device"] = get_default_device() if device is None else as_device(device)
        bound.setdefault("pin_memory", False)
        func, given, more = one_operator(name, bound)
        result = offers.at_autograd(func, given, more, lambda: made.fast(*args, **kwargs))
        return result.requires_grad_() if needs else result

    return take


def _parts(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    b = made.signature.bind(*args, **kwargs)
    b.apply_defaults()
    x, size, dim = b.args
    if made.name == "chunk":
        n = x.shape[dim]
        size = max(-(-n // size), 1)
        more = [dim] if dim else []
        return aten.split.Tensor(x, size, *more)
    func = aten.split.Tensor if isinstance(size, int) else aten.split_with_sizes.default
    given = (x, size if isinstance(size, int) else list(size), *([dim] if dim else []))
    return offers.at_autograd(func, given, {}, lambda: made.fast(*args, **kwargs))


_MADE_OF_NUMBERS = frozenset(("arange", "linspace", "randint", "empty_strided", "scalar_tensor"))


def _method(op: str) -> Callable[..., Any]:
    def take(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
        if kwargs.get("memory_format") is None:
            kwargs = {k: v for k, v in kwargs.items() if k != "memory_format"}
        func = getattr(aten, op).default
        return offers.at_autograd(func, args[:1] if op != "copy_" else args, kwargs,
                                  lambda: made.fast(*args, **kwargs))  # fmt: skip

    return take


def _clone(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    kwargs = {k: v for k, v in kwargs.items() if v is not None}
    return offers.at_autograd(aten.clone.default, args, kwargs, lambda: made.fast(*args, **kwargs))


def _contiguous(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    from .. import contiguous_format

    (self, *form) = args
    form = form[0] if form else kwargs.get("memory_format") or contiguous_format
    if self.is_contiguous(form):
        return self
    return aten.clone.default(self, memory_format=form)


def _to(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    from ..tensor._conversions import _parse_to

    self, *rest = args
    where, kind, copied = _parse_to(tuple(rest), dict(kwargs))
    told: dict[str, Any] = {}
    if kind is not None and kind is not self.dtype:
        told["dtype"] = kind
    if where is not None and as_device(where) != self.device:
        told["device"] = as_device(where)
    if not told:
        return self.clone() if copied else self
    return offers.at_autograd(aten._to_copy.default, (self,), told, lambda: made.fast(*args, **kwargs))


def _item(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    (self,) = args
    if self.numel() != 1:
        return made.fast(self)
    return offers.at_autograd(aten._local_scalar_dense.default, args, {}, lambda: made.fast(self))


def _bool(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    (self,) = args
    return bool(self.item()) if self.numel() == 1 else made.fast(self)


def _reads(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    """NumPy arrays and lists are not operators; a tensor without data has none."""
    with offers.computing:
        return made.fast(*args, **kwargs)


def _tensor(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    needs = kwargs.pop("requires_grad", False)
    with offers.computing:
        found = made.fast(*args, **kwargs) if not (args and isinstance(args[0], Tensor)) else None
    if found is None:
        return made.fast(*args, **kwargs)
    found = offers.at_autograd(aten.lift_fresh.default, (found,), {}, lambda: found)
    return found.requires_grad_() if needs else found


def _getitem(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    """An index expression, as PyTorch takes it to pieces: select, slice, unsqueeze, and tensors at last."""
    self, index = args
    items = list(index) if isinstance(index, tuple) or reads_as_tuple(index) else [index]
    if any(isinstance(i, list) for i in items):
        items = [T.tensor(i) if isinstance(i, list) else i for i in items]
    if not all(i is None or i is Ellipsis or isinstance(i, (int, slice, Tensor)) for i in items) or any(
        isinstance(i, bool) for i in items
    ):
        with offers.computing:
            return made.fast(self, index)
    used = sum(i.ndim if isinstance(i, Tensor) and i.dtype is bool_ else i is not None and i is not Ellipsis
               for i in items)  # fmt: skip
    if used > self.ndim or (not self.ndim and used):
        return made.fast(self, index)
    out, dim, tensors = self, 0, {}
    for item in items:
        if item is None:
            out = aten.unsqueeze.default(out, dim)
            dim += 1
        elif item is Ellipsis:
            dim += self.ndim - used
        elif isinstance(item, int):
            n = out.shape[dim]
            if not -n <= item < n:
                raise IndexError(f"index {item} is out of bounds for dimension {dim} with size {n}")
            out = aten.select.int(out, dim, item)
        elif isinstance(item, slice):
            n = out.shape[dim]
            step = 1 if item.step is None else item.step
            if step <= 0:
                raise ValueError("step must be greater than zero")
            start, stop, step = item.indices(n)
            if (start, stop, step) != (0, n, 1) or item is index:
                out = aten.slice.Tensor(out, dim, start, item.stop if item.stop is not None else 2**63 - 1,
                                        *([step] if step != 1 else []))  # fmt: skip
            dim += 1
        else:
            tensors[dim] = item
            dim += item.ndim if item.dtype is bool_ else 1
    if not tensors:
        return aten.alias.default(out) if out is self else out
    indices: list[Any] = []
    while len(indices) <= max(tensors):
        indices.append(tensors.get(len(indices)))
    return aten.index.Tensor(out, indices)


def _setitem(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> None:
    self, index, value = args
    items = list(index) if isinstance(index, tuple) or reads_as_tuple(index) else [index]
    if any(isinstance(i, (Tensor, list, bool)) for i in items):
        if isinstance(value, (int, float)) and len(items) == 1 and isinstance(index, Tensor) and index.dtype is bool_:
            self.masked_fill_(index, value)
        elif all(isinstance(i, Tensor) for i in items):
            value = value if isinstance(value, Tensor) else T.tensor(value, dtype=self.dtype)
            aten.index_put_.default(self, list(items), value)
        else:
            with offers.computing:
                made.fast(self, index, value)
        return
    value = value if isinstance(value, Tensor) else T.tensor(value, dtype=self.dtype)
    self[index].copy_(value)


def _custom(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    op, *given = args
    func = of_custom(op)
    return offers.at_autograd(func, tuple(given), kwargs, lambda: made.fast(*args, **kwargs))


def _batch_norm(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    b = made.signature.bind(*args, **kwargs)
    b.apply_defaults()
    x, mean, var, weight, bias, training, momentum, eps = b.args
    if isinstance(momentum, Tensor):
        return made.fast(*args, **kwargs)
    if training:
        from ..nn._functional import _verify_batch_size

        _verify_batch_size(x.shape)
    return aten.native_batch_norm.default(x, weight, bias, mean, var, training, momentum, eps)[0]


def _embedding(made: offers.Offer, args: tuple, kwargs: dict[str, Any]) -> Any:
    b = made.signature.bind(*args, **kwargs)
    b.apply_defaults()
    index, weight, padding, max_norm, _, by_freq, sparse = b.args
    if max_norm is not None or sparse:
        return made.fast(*args, **kwargs)
    padding = -1 if padding is None else padding % weight.shape[0]
    more = (padding, by_freq) if by_freq else (padding,) if padding != -1 else ()
    return aten.embedding.default(weight, index, *more)


_SPECIAL: dict[str, Callable[[offers.Offer, tuple, dict[str, Any]], Any]] = {
    "detach": _method("detach"), "detach_": _method("detach_"), "clone": _clone, "contiguous": _contiguous, "to": _to,
    "copy_": _method("copy_"), "item": _item, "__bool__": _bool, "numpy": _reads, "tolist": _reads,
    "tensor": _tensor, "__getitem__": _getitem, "__setitem__": _setitem, "custom": _custom, "batch_norm": _batch_norm,
    "embedding": _embedding, "type": lambda made, args, kwargs: made.fast(*args, **kwargs),
    "arange": _numbered("arange", {1: ("end",), 2: ("start", "end"), 3: ("start", "end", "step")}),
    "randint": _numbered("randint", {2: ("high", "size"), 3: ("low", "high", "size")}),
    "split": _parts, "split_with_sizes": _parts, "chunk": _parts,
    "unsafe_split": _parts,
}  # fmt: skip
