"""The general way of calling an operator: whatever the generated forms do not take, and errors in it."""

from __future__ import annotations

import functools
from collections import namedtuple
from typing import Any

import numpy as np

from ..engine import Value, get_mode, in_sight, local, record, set_mode
from ..engine.errors import warn_once
from ..ops._table import EMPTY, Array, Arrays, Key, OpDef, Operand, Param, Scalar, Scalars, Sizes
from . import followed
from ._arguments import NOT_GIVEN, NUMBERS, freeze, sizes, to_dtype
from ._register import KINDS
from .device import place_for
from .dtype import sparse_coo, strided

#: What views of memory ask for before anything is recorded: a method of the tensor, and the parameter that it takes.
VIEW_CHECKS = {
    "view": ("_check_view", "size"), "_view_dtype": ("_check_dtype_view", "dtype"),
    "view_as_complex": ("_check_complex_view", ""),
}  # fmt: skip

#: Operators that also take their keyword-only numbers in front of the tensors, as programs of old pass them:
#: ``p.add_(-lr, grad)``, ``x.addcmul_(1 - b, g, g)``, ``torch.addmm(beta, x, alpha, a, b)``.
NUMBERS_FIRST = frozenset(("add", "sub", "addcmul", "addcdiv", "addmm", "addbmm", "baddbmm", "addmv", "addr"))

_return_types: dict[OpDef, Any] = {}
_RETURNED = {"_histogram_edges": "histogram"}


def returns(entry: OpDef) -> Any:
    if entry.returns is None:
        return None
    found = _return_types.get(entry)
    if found is None:
        name = f"linalg_{entry.name}" if "linalg" in entry.namespaces else _RETURNED.get(entry.name, entry.name)
        found = _return_types[entry] = returned(name, entry.returns)
    return found


@functools.cache
def returned(name: str, fields: tuple[str, ...]) -> Any:
    """The class of ``torch.return_types`` of that name."""
    found: Any = namedtuple(name, fields)  # type: ignore[misc]
    found.__module__ = "pytorchlike.return_types"
    made = found.__new__

    def new(cls: type, *values: Any, **named: Any) -> Any:
        """Of its parts, one by one or as one sequence."""
        return made(cls, *(values[0] if len(values) == 1 and not named else values), **named)

    def shown(self: Any) -> str:
        parts = ",\n".join([f"{n}={v!r}" for n, v in zip(self._fields, self, strict=True)])
        return f"torch.return_types.{name}(\n{parts})"

    found.__new__ = new
    found.__repr__ = shown
    found.n_fields = found.n_sequence_fields = len(fields)
    found.n_unnamed_fields = 0
    return found


def precheck(entry: OpDef, held: dict[str, Any], plain: dict[str, Any], op: Any, safe: Any) -> Any:
    """Look at host-known indices now; the operation without data checks if all of them were seen."""
    bound = dict(plain)
    seen = True
    for name, value in held.items():
        if value is None:
            continue
        bound[name + ".shape"] = value.meta.shape
        if value.meta.dtype.kind in "iub":
            if type(value.data) is np.ndarray and in_sight(value):
                bound[name] = value.data
            else:
                seen = False
    entry.precheck(bound)  # type: ignore[misc]
    return safe if seen else op


def same_dtype(out: Any, dtype: np.dtype) -> None:
    """RuntimeError where a factory is asked for one dtype and a tensor of another."""
    if out.dtype.numpy != dtype:
        raise RuntimeError(f"dtype {dtype} does not match dtype of out parameter ({out.dtype!r})")


def write_outs(out: Any, result: Any, entry: OpDef) -> Any:
    """What an operator gave, put into the tensor, or the tensors, that the caller has given for it."""
    if isinstance(result, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(result):
            raise TypeError(f"{entry.name}(): argument 'out' must be a tuple of {len(result)} Tensors")
        written = [write_outs(o, r, entry) for o, r in zip(out, result, strict=True)]
        return type(result)(*written) if entry.returns else tuple(written)
    from ._cell import write_out

    return write_out(out, result, entry.name)


def general(entry: OpDef, inplace: bool, unusual: Exception, /, *args: Any, **kwargs: Any) -> Any:
    """The same call with its arguments brought into shape; errors in them are raised here."""
    from ._cell import after_write, before_write, settled
    from ._tensor import Tensor
    from ._views import lie_alike, link

    kwargs.pop("_stacklevel", None)
    if KINDS:
        from . import composed

        kind = composed.kind_among(args, kwargs)
        if kind is not None:
            return composed.call_operator(kind, entry, inplace, args, kwargs)
    name = entry.name + ("_" if inplace else "")
    answer = _ask(entry, name, args, kwargs)
    if answer is not NOT_GIVEN:
        return answer
    layout = kwargs.pop("layout", None)
    if entry.name in ("zeros", "empty") and layout is sparse_coo and kwargs.get("out") is None:
        from ._names import find

        size = sizes(bind(entry, name, args, {k: v for k, v in kwargs.items() if k == "size"})["size"])
        told = {k: v for k, v in kwargs.items() if k in ("dtype", "device", "requires_grad")}
        return find("torch", "sparse_coo_tensor")(size=size, **told)
    _strided(entry, layout)
    kwargs.pop("pin_memory", None)
    if kwargs.pop("inplace", False):
        return general(entry, True, unusual, *args, **kwargs)
    out = kwargs.pop("out", None)
    if out is not None and local.trace.mode.autocast is not None:  # autocast leaves such calls alone
        mode = get_mode()
        set_mode(mode.replace(autocast=None))
        try:
            return general(entry, inplace, unusual, *args, out=out, **kwargs)
        finally:
            set_mode(mode)
    generator = kwargs.pop("generator", None)
    device = kwargs.pop("device", None)
    requires_grad = kwargs.pop("requires_grad", False)
    bound = bind(entry, name, args, {k: v for k, v in kwargs.items() if v is not NOT_GIVEN})
    static: list[Any] = []
    dynamic: list[Any] = []
    held: dict[str, Any] = {}
    for p in entry.params:
        if p.kind is Sizes:  # before the tensors: a size that is one has to be read, which may execute what is pending
            bound[p.name] = sizes(bound[p.name])
    if inplace and isinstance(bound[entry.params[0].name], Tensor):
        settled(bound[entry.params[0].name])
    for k, p in enumerate(entry.params):
        if p.kind is Key:
            continue
        x = bound[p.name]
        if p.kind is None:
            if (p.whole or p.plain is int) and (x.__class__ is float or x.__class__ is bool):
                raise TypeError(f"{name}(): argument '{p.name}' (position {k + 1}) must be int, not {type(x).__name__}")
            try:
                static.append(to_dtype(x) if p.name == "dtype" and x is not None else freeze(x))
            except TypeError:
                raise TypeError(f"{name}(): argument '{p.name}' (position {k + 1}) has an unsupported type "
                                f"{type(x).__name__}") from None  # fmt: skip
            if p.plain is not None and not (isinstance(static[-1], p.plain) or p.optional and x is None):
                raise TypeError(f"{name}(): argument '{p.name}' (position {k + 1}) must be {p.plain.__name__}, not "
                                f"{type(x).__name__}")  # fmt: skip
        elif p.kind is Sizes:
            static.append(x)
        elif p.kind is Arrays:
            if x is None and p.optional:
                static.append(None)
                continue
            if not isinstance(x, (list, tuple)):
                raise TypeError(f"{name}(): argument '{p.name}' (position {k + 1}) must be tuple of Tensors, not "
                                f"{type(x).__name__}")  # fmt: skip
            for i, t in enumerate(x):
                if not isinstance(t, Tensor):
                    raise TypeError(f"{name}(): expected Tensor as element {i} in argument '{p.name}', but got "
                                    f"{type(t).__name__}")  # fmt: skip
            static.append(len(x))
            dynamic.extend(t._get() for t in x)
        elif p.kind is Scalars:
            x = tuple(_number(n, name, p, k) for n in (x if isinstance(x, (list, tuple)) else (x,)))
            static.append(len(x))
            dynamic.extend(x)
        elif x is None and p.optional:
            dynamic.append(None)
        elif p.kind is Scalar and entry.name in NUMBERS_FIRST and _still_to_compute(x):
            # p.add_(update, alpha=-lr * trust_ratio) for each parameter: reading it would execute the step in pieces
            dynamic.append(x._get())
        elif p.kind is Scalar:
            dynamic.append(_number(x, name, p, k))
        elif isinstance(x, Tensor):
            held[p.name] = x._get()
            dynamic.append(held[p.name])
        elif k == 0 and _stands_for_tensor(x, entry, bound) and not inplace:
            held[p.name] = _of_number(x, bound[entry.params[1].name])
            dynamic.append(held[p.name])
        elif p.kind is Operand and isinstance(x, (bool, int, float, complex, np.generic)):
            dynamic.append(_number(x, name, p, k))
        else:
            raise TypeError(f"{name}(): argument '{p.name}' (position {k + 1}) must be Tensor, not {type(x).__name__}")
    if entry.factory:
        if out is not None and bound.get("dtype") is not None:
            same_dtype(out, to_dtype(bound["dtype"]))
        static.append(place_for(device))
    elif not held and any(p.kind is Operand for p in entry.params) and not any(isinstance(d, Value) for d in dynamic):
        given = ", ".join(type(a).__name__ for a in args)
        raise TypeError(f"{name}() received an invalid combination of arguments - got ({given}), but expected a Tensor "
                        "among them")  # fmt: skip
    op = entry.op_inplace if inplace else entry.op
    if entry.name in VIEW_CHECKS:
        check, asked = VIEW_CHECKS[entry.name]
        told = [to_dtype(bound[asked]) if asked == "dtype" else bound[asked]] if asked else []
        getattr(bound["input"], check)(*told)
    if entry.precheck is not None:
        plain = {p.name: bound[p.name] for p in entry.params if p.kind in (None, Sizes, Scalar, Scalars)}
        op = precheck(entry, held, plain, op, entry.op_inplace_safe if inplace else entry.op_safe)
    first = bound[entry.params[0].name] if entry.params else None
    if inplace:
        before_write(first, first._get(), local.trace)
    if entry.random:
        got = followed.record(entry, inplace, tuple(static), tuple(dynamic), bound, generator)
    else:
        got = record(op, tuple(static), tuple(dynamic))
    if inplace:
        after_write(first, got[0] if type(got) is tuple else got, local.trace)
        return first
    if type(got) is tuple:
        result: Any = tuple(Tensor._of(v) for v in got)
        if entry.returns:
            result = returns(entry)(*result)
    else:
        result = Tensor._of(got)
        if entry.view is not None:
            link(first, result, entry, tuple(static), tuple(d for d in dynamic if not isinstance(d, Value)))
        if entry.lies is not None:
            lie_alike(entry, first, result, *[d and d.meta for d in dynamic if d is None or isinstance(d, Value)])
        if requires_grad:
            result.requires_grad_(True)
    return result if out is None else write_outs(out, result, entry)


def _ask(entry: OpDef, name: str, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What an argument that is no tensor, but has a ``__torch_function__``, answers; NOT_GIVEN if there is none."""
    from . import asking

    asked = [a for a in asking.relevant((*args, *kwargs.values())) if not hasattr(type(a), "_value")]
    if not asked or asking.state.disabled:
        return NOT_GIVEN
    asking.install()
    space = next((s for s in entry.namespaces if s in ("torch", *asking.SPACES)), "Tensor")
    func = asking.offered("" if space == "torch" else space, name)
    given = {k: v for k, v in kwargs.items() if v is not NOT_GIVEN}
    if isinstance(func, asking.Asked):
        args, given = func._offered(*asking.as_given(func._fn, args, given))
    return asking.handle(func, asked, args, given)


def _strided(entry: OpDef, layout: Any) -> None:
    """Refuse layouts other than the dense one."""
    if layout is None or layout is strided:
        return
    error = ValueError if "signal.windows" in entry.namespaces else NotImplementedError
    raise error(f"{entry.name} is implemented for strided tensors only, got: {layout}")


def bind(entry: OpDef, name: str, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name, varargs sizes gathered; TypeError as Python raises it for a function of that name."""
    params = [p for p in entry.params if p.kind is not Key]
    positional = [p for p in params if not p.keyword_only]
    if positional and positional[-1].kind is Sizes and positional[-1].name not in kwargs:
        n = len(positional) - 1
        rest = args[n:]
        if len(rest) == 1 and not isinstance(rest[0], int):
            args = (*args[:n], rest[0])
        elif rest:
            args = (*args[:n], rest)
    if len(args) > len(positional) and entry.name in NUMBERS_FIRST:
        args, kwargs = _numbers_last(entry, name, args, kwargs)
    if len(args) > len(positional):
        raise TypeError(f"{name}() takes {len(positional)} positional arguments but {len(args)} were given")
    bound = {p.name: a for p, a in zip(positional, args, strict=False) if a is not NOT_GIVEN}
    for spelled, meant in _SPELLED.items():
        if spelled in kwargs and any(p.name == meant for p in params):
            # the generated function has filled in the default of what is given under its other name
            args = tuple(args)
            bound.pop(meant, None)
            kwargs = {**kwargs, meant: kwargs[spelled]}
            del kwargs[spelled]
    for key, value in kwargs.items():
        if key in bound:
            raise TypeError(f"{name}() got multiple values for argument '{key}'")
        if not any(p.name == key for p in params):
            alias = _ALIASES.get(key)
            if alias is not None and any(p.name == alias for p in params) and alias not in bound:
                key = alias
            else:
                raise TypeError(f"{name}() got an unexpected keyword argument '{key}'")
        bound[key] = value
    for p in params:
        if p.name not in bound:
            if p.default is EMPTY:
                raise TypeError(f'{name}() missing 1 required positional arguments: "{p.name}"')
            bound[p.name] = p.default
    return bound


#: Operators whose first argument may be a number, even if the other is one, too.
_OF_NUMBERS = frozenset(("add", "sub", "mul", "div", "true_divide", "floor_divide"))


def _stands_for_tensor(x: Any, entry: OpDef, bound: dict[str, Any]) -> bool:
    """Whether the number ``x``, the first argument, is to be a tensor without dimensions."""
    numbers = (bool, int, float, complex, np.generic)
    if entry.name not in _OF_NUMBERS or not isinstance(x, numbers):
        return False
    return entry.params[0].kind is Array or isinstance(bound[entry.params[1].name], numbers)


def _of_number(x: Any, other: Any) -> Value:
    """A number as a tensor that promotes ``other`` no further than the number does."""
    from ._tensor import Tensor, tensor
    from .functions_extra import result_type

    if isinstance(x, np.generic):
        x = x.item()
    return tensor(x, dtype=result_type(other, x) if isinstance(other, Tensor) else None)._get()


def _numbers_last(entry: OpDef, name: str, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """The arguments of a call whose numbers stand in front of the tensors (see NUMBERS_FIRST) in today's order.

    Tensors without dims and gradients count as numbers, as long as one other stands among them.
    """
    told = [p.name for p in entry.params if p.kind is Scalar]
    rest = len(entry.params) - len(told) - 1  # the tensors that come last, after numbers and the first tensor
    front, last = args[:-rest], args[-rest:]
    known = [not hasattr(a, "_value") or not (a.ndim or a.requires_grad) for a in front]
    first = known.index(False) if False in known else 0
    numbers = [*front[:first], *front[first + 1 :]]
    if (
        known.count(False) > 1
        or not 0 < len(numbers) <= len(told)
        or not all(hasattr(a, "_value") for a in (front[first], *last))
    ):
        return args, kwargs
    now = ", ".join(f"{n}={'...' if hasattr(v, '_value') else repr(v)}" for n, v in zip(told, numbers, strict=False))
    warn_once(f"This overload of {name} is deprecated: pass the numbers last, by name ({now})", kind="numbers first")
    return (front[first], *last), {**kwargs, **dict(zip(told, numbers, strict=False))}


_SPELLED = {"axis": "dim", "keepdims": "keepdim"}

#: NumPy's names of parameters, which PyTorch understands too.
_ALIASES = {"axis": "dim", "x": "input", "keepdims": "keepdim", "self": "input", "a": "input", "x2": "other"}


def _still_to_compute(x: Any) -> bool:
    """Whether ``x`` is a tensor without dims, nor gradient, whose value the host does not have."""
    return hasattr(x, "_value") and not x.dim() and not x.requires_grad and x._get().data.__class__ is not np.ndarray


def _number(x: Any, name: str, p: Param, k: int) -> Any:
    if isinstance(x, (bool, int, float, complex)) and type(x) in NUMBERS:
        return x
    if isinstance(x, np.generic):
        return x.item()
    if hasattr(x, "_value") and x.dim() == 0 and not x.requires_grad:
        return x.item()
    if isinstance(x, (int, float)):
        return float(x) if isinstance(x, float) else int(x)
    raise TypeError(f"{name}(): argument '{p.name}' (position {k + 1}) must be Number, not {type(x).__name__}")
