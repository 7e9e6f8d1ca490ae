"""The callable forms of an operator, written out as Python source from its entry in the table.

Recording is the hot path, so each form is generated with its parameters unrolled: it takes the arguments that fit as
they are and hands everything unusual (numbers in NumPy's types, lists, wrong types) to :func:`_general`.

Layout of a recorded call: ``static`` holds, in the order of the parameters, the static values and the lengths of
sequences (and the device at the end, for factories); the arguments are the tensors and numbers in the same order, the
two numbers of a random key last.
"""

from __future__ import annotations

import functools
import inspect
from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..engine import Value, concrete, fixed, get_mode, in_sight, local, own, record, set_mode
from ..engine.errors import warn, warn_once
from ..engine.op import Wide
from ..ops._reduction import elementwise_mean, legacy_get_string
from ..ops._table import EMPTY, Array, Arrays, Key, OpDef, Operand, Param, Scalar, Scalars, Sizes, lookup
from . import followed, random
from ._register import KINDS
from .device import place_for
from .dtype import dtype as torch_dtype

NUMBERS = frozenset((float, int, bool, complex))
ATOMS = frozenset((int, bool, str, float, type(None)))
_WHOLE = frozenset((int, str, type(None)))


NOT_GIVEN = object()

#: Of Python's operators those that take NumPy's arrays beside tensors, by NumPy; the others leave that to the array.
_BESIDE_ARRAYS = {"eq": np.equal, "_rdiv": np.true_divide}

#: What views of memory ask for before anything is recorded, as calls on the tensor.
VIEW_CHECKS = {
    "view": "_check_view(size)", "_view_dtype": "_check_dtype_view(dtype)", "view_as_complex": "_check_complex_view()"
}  # fmt: skip

#: Operators that also take their keyword-only numbers in front of the tensors, as programs of old pass them:
#: ``p.add_(-lr, grad)``, ``x.addcmul_(1 - b, g, g)``, ``torch.addmm(beta, x, alpha, a, b)``.
NUMBERS_FIRST = frozenset(("add", "sub", "addcmul", "addcdiv", "addmm", "addbmm", "baddbmm", "addmv", "addr"))

#: Operators that take their generator in its place as well, not by name alone.
GENERATOR_LAST = frozenset(("binomial", "poisson", "_sample_dirichlet", "_standard_gamma"))


class Unusual(Exception):
    """Raised on the way of a fast form by an argument that it does not take."""


def _lines(entry: OpDef, inplace: bool, switch: bool) -> tuple[list[str], list[str], list[str]]:
    """(signature, body, call) of the generated function, as source."""
    params = entry.params
    last_positional = [p for p in params if not p.keyword_only and p.kind is not Key]
    reduced = entry.old_reduction
    signature: list[str] = []
    required: list[str] = []  # those without a default, from ``dim`` on
    star = False
    varargs = None
    for p in params:
        if p.kind is Key:
            continue
        if p.kind is Sizes and p is last_positional[-1] and not p.keyword_only:
            signature.append(f"*{p.name}")
            varargs, star = p, True
            continue
        if p.keyword_only and not star:
            signature.append("size_average=None" if reduced else "*old" if entry.name in NUMBERS_FIRST else "*")
            star = True
        if reduced and p.name == "reduction":
            signature.append("reduce=None")
        if p.default is EMPTY and not star and (p.name == "dim" or required):
            required.append(p.name)  # it may come by NumPy's name
        default = "=NOT_GIVEN" if p.name in required else "" if p.default is EMPTY else f"=D_{p.name}"
        signature.append(p.name + default)
    extra = []
    if entry.random and not star and entry.name in GENERATOR_LAST:
        signature.append("generator=None")
    elif entry.random:
        extra.append("generator=None")
    if switch:  # nn.functional's ``inplace`` comes last among the positional parameters
        at = signature.index("*") if "*" in signature else len(signature)
        signature.insert(at, "inplace=False")
    if entry.factory:
        extra += ["device=None", "requires_grad=False", "layout=None", "pin_memory=False"]
    if entry.out and not inplace:
        extra.append("out=None")
    if entry.deprecated is not None and entry.deprecated[0] == "dim is None":
        extra.append("_stacklevel=None")  # of that warning; modules that are copies of PyTorch's pass it on
    spelled = [a for a, n in (("axis", "dim"), ("keepdims", "keepdim")) if any(p.name == n for p in params)]
    extra += [f"{a}=NOT_GIVEN" for a in spelled]  # NumPy's names
    if extra:
        if not star:
            signature.append("*")
        signature += extra
    if varargs is not None:
        signature.append("**named")

    body: list[str] = []
    static: list[str] = []
    key: list[str] = []
    ins: list[str] = []
    values: dict[str, str] = {}
    if "*old" in signature:
        body.append("if old: raise Unusual")
    if reduced:
        body += [
            "if size_average is not None or reduce is not None:",
            "    reduction = old_reduction(size_average, reduce)",
            "elif reduction == 'elementwise_mean': reduction = old_mean()",
        ]
    if varargs is not None:
        body += [
            "if named: raise Unusual",
            f"if len({varargs.name}) == 1 and {varargs.name}[0].__class__ is not int: "
            f"{varargs.name} = sizes({varargs.name}[0], trace)",
            *([f"elif not {varargs.name}: raise Unusual"] if varargs.default is EMPTY else []),
            f"for _n in {varargs.name}:",
            "    if _n.__class__ is not int: raise Unusual",
        ]
    for a in spelled:
        body.append(f"if {a} is not NOT_GIVEN: raise Unusual")
    if required:
        body.append(f"if {' or '.join(f'{n} is NOT_GIVEN' for n in required)}: raise Unusual")
    if switch:
        told = [p for p in params if p.kind is not Key]
        given = ", ".join(f"{p.name}={p.name}" if p.keyword_only else p.name for p in told)
        body.append(f"if inplace: return in_place({given}{', generator=generator' if entry.random else ''})")
    if entry.deprecated is not None:
        when, message, *once = entry.deprecated
        if callable(when):
            when = f"TOLD({', '.join(inspect.signature(when).parameters)})"
        body.append(f"if {when}: {'warn_once' if once else 'warn'}(f{message!r})")
    if entry.idle is not None:
        body += [f"if {entry.idle}:", f"    {params[0].name}._value", f"    return {params[0].name}"]
    if entry.factory:
        body.append("if layout is not None or pin_memory: raise Unusual")
    if entry.out and not inplace and entry.autocast is not None:
        body.append("if out is not None and trace.mode.autocast is not None: raise Unusual")
    starred = False
    if not entry.factory and not any(p.kind in (Array, Arrays) and not p.optional for p in params):
        numbers = [f"{p.name}.__class__ in NUMBERS" for p in params if p.kind is Operand and not p.optional]
        body.append(f"if {' and '.join(numbers)}: raise Unusual")
    for p in params:
        n = p.name
        if p.kind is None:
            if n == "dtype":
                body.append("if dtype is not None: dtype = to_dtype(dtype)")
            else:
                if p.plain is not None:
                    missing = f" and {n} is not None" if p.optional else ""
                    body.append(f"if {n}.__class__ is not {p.plain.__name__}{missing}: raise Unusual")
                elif p.whole:
                    body.append(f"if {n}.__class__ not in WHOLE: {n} = whole({n}, trace)")
                elif n != "spec":  # made by our own code, hashable already
                    body.append(f"if {n}.__class__ not in ATOMS: {n} = frozen({n}, trace)")
            static.append(n)
        elif p.kind is Sizes:
            if p is not varargs:
                body.append(f"{n} = sizes({n}, trace)")
            static.append(n)
        elif p.kind is Array or p.kind is Operand:
            take = [
                f"v_{n} = {n}._value if {n}._alias is None else {n}._fresh(trace)",
                f"k_{n} = i_{n} = v_{n}.slot if v_{n}.trace is trace else trace.slots.get(v_{n}) or "
                f"trace.add_input(v_{n})",
            ]
            if p.kind is Operand:
                optional = [f"elif {n} is None: k_{n} = i_{n} = v_{n} = None"] if p.optional else []
                body += [
                    f"if {n}.__class__ in NUMBERS:",
                    f"    k_{n} = ({n}.__class__, {n} or repr({n})); i_{n} = ({n}.__class__, {n}); v_{n} = None",
                    *optional,
                    "else:",
                    *["    " + t for t in take],
                ]
            elif p.optional:
                body += [f"if {n} is None: k_{n} = i_{n} = v_{n} = None", "else:", *["    " + t for t in take]]
            elif entry.view is not None and p is params[0]:
                body.append(take[0])
                late = take[1]  # a view of a host value records nothing, not even that input
            else:
                body += take
            key.append(f"k_{n}")
            ins.append(f"i_{n}")
            values[n] = f"v_{n}"
        elif p.kind is Scalar:
            missing = f" and {n} is not None" if p.optional else ""
            body += [f"if {n}.__class__ not in NUMBERS{missing}: raise Unusual"]
            if p.optional:
                body += [
                    f"if {n} is None: k_{n} = i_{n} = None",
                    f"else: k_{n} = ({n}.__class__, {n} or repr({n})); i_{n} = ({n}.__class__, {n})",
                ]
            else:
                body += [f"k_{n} = ({n}.__class__, {n} or repr({n})); i_{n} = ({n}.__class__, {n})"]
            key.append(f"k_{n}")
            ins.append(f"i_{n}")
        elif p.kind is Arrays:
            body.append(f"if {n}.__class__ is not list and {n}.__class__ is not tuple: raise Unusual")
            body.append(f"v_{n} = [_t._value if _t._alias is None else _t._fresh(trace) for _t in {n}]")
            if entry.host is not None:
                told = ", ".join(f"len(v_{n})" if q is p else q.name for q in params)
                body += [
                    f"if v_{n} and v_{n}[-1].data.__class__ is ndarray{' and out is None' if entry.out else ''}:",
                    f"    result = host_call(ENTRY, v_{n}, ({told},))",
                    "    if result is not None: return result",
                ]
            body += [
                f"i_{n} = [_v.slot if _v.trace is trace else trace.slots.get(_v) or trace.add_input(_v) for _v in "
                f"v_{n}]",
                f"n_{n} = len(i_{n})",
            ]
            if p.optional:
                body.insert(-3, f"if {n} is None: raise Unusual")
            static.append(f"n_{n}")
            key.append(f"*i_{n}")
            ins.append(f"*i_{n}")
            starred = True
        elif p.kind is Scalars:
            body += [
                f"for _n in {n}:",
                "    if _n.__class__ not in NUMBERS: raise Unusual",
                f"n_{n} = len({n})",
            ]
            static.append(f"n_{n}")
            key.append(f"*[(_n.__class__, _n or repr(_n)) for _n in {n}]")
            ins.append(f"*[(_n.__class__, _n) for _n in {n}]")
            starred = True
    del starred
    if entry.factory and entry.out and any(p.name == "dtype" for p in params):
        body.append("if out is not None and dtype is not None: same_dtype(out, dtype)")
    if entry.factory:
        body.append("place = place_for(device)")
        static.append("place")
    fixed = f"({', '.join(static)}{',' if len(static) == 1 else ''})"
    body.append(f"static = {fixed}")
    if entry.name in VIEW_CHECKS:
        body.append(f"input.{VIEW_CHECKS[entry.name]}")
    if entry.view is not None:
        first = params[0].name
        body.append(
            f"if v_{first}.data.__class__ is ndarray and not v_{first}.meta.grad and "
            f"(not trace.replayed or v_{first} in trace.fixed): "
            f"return host_view({first}, v_{first}, ENTRY, static, ({', '.join(ins[1:])}{',' if len(ins) > 1 else ''}))"
        )
        body.append(late)
    which = "OP"
    if entry.precheck is not None:
        held = ", ".join(f"{n!r}: {v}" for n, v in values.items())
        plain = ", ".join(f"{p.name!r}: {p.name}" for p in params if p.kind in (None, Sizes, Scalar, Scalars))
        body.append(f"op = precheck(ENTRY, {{{held}}}, {{{plain}}}, OP, OP_SAFE)")
        which = "op"
    if inplace:
        first = params[0].name
        body.append(f"if v_{first}.meta.guarded or {first}._alias is not None: begin_write({first}, v_{first}, trace)")
    miss_ins = ", ".join(ins)
    made = [f"key = ({which}, static, {', '.join(key)})" if key else f"key = ({which}, static)"]
    if entry.random:
        miss_ins = (miss_ins + ", " if miss_ins else "") + "*wide"
        made, which = _drawing(params, values, key, which), "drawn_op"
    enter = [
        "state = trace.state.next.get(key)",
        "if state is None:",
        f"    trace, state = trace.miss(key, {which}, static, ({miss_ins}{',' if miss_ins else ''}))",
        "trace.state = state",
        "meta = state.meta",
        "if meta.__class__ is tuple:",
        "    result = several(trace, meta)",
        "else:",
        "    value = Value()",
        "    value.trace = trace; value.meta = meta; value.data = value.node = None",
        "    values = trace.values; value.slot = len(values); values.append(value)",
    ]
    if entry.random:  # or PyTorch's numbers have made the result already
        enter = [
            "if drawn is None or drawn.__class__ is Drawn:",
            *["    " + line for line in enter],
            "else:",
            "    meta = value = drawn",
            "    if meta.__class__ is tuple: result = tuple([wrapped(v) for v in drawn])",
            "    trace = local.trace",
        ]
    body += made + enter
    names = []
    for p in params:
        if p.kind is Key:
            continue
        if p is varargs:
            names.append(f"*{p.name}")
        else:
            named = p.keyword_only or varargs is not None and p is not params[0]
            names.append(f"{p.name}={p.name}" if named else p.name)
    if "*old" in signature:
        names.insert(len(last_positional), "*old")
    if switch:
        names.append("inplace=inplace")
    if "generator=None" in signature and "generator=None" not in extra:
        names.append("generator=generator")
    call = names + [f"{e.split('=')[0]}={e.split('=')[0]}" for e in extra]
    if varargs is not None:
        call.append("**named")
    return signature, body, call


def _drawing(params: tuple[Param, ...], values: dict[str, str], key: list[str], which: str) -> list[str]:
    """Lines that ask for PyTorch's numbers, if they are followed, and make the key: ``drawn``, ``drawn_op``, ``wide``.

    values: by parameter, the variable of its Value;  which: the name of the operation that takes a key of our own.
    """
    told = ", ".join(f"{p.name!r}: {p.name}" for p in params if p.kind is not Key)
    taken = []
    for p in params:
        if p.kind is Operand:
            taken.append(f"{values[p.name]} if {values[p.name]} is not None else {p.name}")
        elif p.kind is Array:
            taken.append(values[p.name])
        elif p.kind in (Arrays, Scalar, Scalars):
            taken.append({Arrays: "*v_", Scalar: "", Scalars: "*"}[p.kind] + p.name)
    return [
        f"drawn = followed(ENTRY, INPLACE, static, ({', '.join([*taken, ''])}), {{{told}}}, generator) "
        "if random.following else None",
        "if drawn is None:",
        f"    drawn_op = {which}",
        f"    key = ({', '.join(['drawn_op, static', *key])})",
        "    seed, offset = next_key(generator)",
        "    wide = (trace.number(int, seed), trace.number(int, offset))",
        "elif drawn.__class__ is Drawn:",
        "    drawn_op, arrays = drawn",
        "    wide = [trace.add_input(a) for a in arrays]",
        f"    key = ({', '.join(['drawn_op, static', *key, '*wide'])})",
    ]


def build(
    entry: OpDef, name: str, inplace: bool = False, switch: bool = False, dunder: bool = False
) -> Callable[..., Any]:
    """The Python function for one form of an operator; ``switch``: with a parameter ``inplace``.

    ``dunder``: a method behind one of Python's operators, which leaves foreign types to their own methods.
    """
    from . import _cell, _tensor, _views

    signature, body, call = _lines(entry, inplace, switch)
    first = entry.params[0].name if entry.params else ""
    if inplace:
        tail = [
            f"after_write({first}, value if meta.__class__ is not tuple else result[0]._value, trace)",
            f"return {first}",
        ]
    elif entry.view is not None:
        tail = [
            "result = new(Tensor); result._value = value; result._alias = None",
            f"link({first}, result, ENTRY, static, tuple(key[3:]))",
            "return result",
        ]
    else:
        tail = [
            "if meta.__class__ is not tuple:",
            "    result = new(Tensor); result._value = value; result._alias = None",
        ]
        if entry.returns:
            tail.append("else: result = RETURNS(*result)")
        if entry.factory:
            tail.append("if requires_grad: result.requires_grad_(True)")
        if entry.out:
            tail.append("if out is not None: return write_out(out, result, ENTRY)")
        if entry.lies is not None:
            metas = ", ".join(f"v_{p.name} and v_{p.name}.meta" for p in entry.params if p.kind in (Array, Operand))
            tail.append(f"lie_alike(ENTRY, {first}, result, {metas})")
        tail.append("return result")
    source = [f"def {name}({', '.join(signature)}):", "    try:", "        trace = local.trace"]
    source += ["        " + line for line in body]
    source += [
        "    except (Unusual, AttributeError, TypeError) as unusual:",
        *([f"        if isinstance({entry.params[1].name}, ndarray): return BESIDE({entry.params[1].name}, {first})"]
          if dunder and entry.name in _BESIDE_ARRAYS else []),
        *([f"        if not isinstance({entry.params[1].name}, OPERANDS): return NotImplemented"] if dunder else []),
        f"        return general(ENTRY, INPLACE, unusual, {', '.join(call)})",
        "    except KeyboardInterrupt:",
        "        local.trace.mend()",
        "        raise",
    ]
    source += ["    " + line for line in tail]
    scope: dict[str, Any] = {
        "local": local, "Value": Value, "new": object.__new__, "Tensor": _tensor.Tensor, "ENTRY": entry,
        "INPLACE": inplace, "in_place": form(entry, True) if switch else None,
        "OP": entry.op_inplace if inplace else entry.op,
        "OP_SAFE": entry.op_inplace_safe if inplace else entry.op_safe, "NUMBERS": NUMBERS, "ATOMS": ATOMS,
        "WHOLE": _WHOLE, "whole": whole,
        "Unusual": Unusual, "NOT_GIVEN": NOT_GIVEN, "sizes": sizes, "frozen": frozen, "to_dtype": to_dtype,
        "place_for": place_for, "general": _general, "several": _several, "precheck": _precheck, "random": random,
        "next_key": random.next_key, "followed": followed.begin, "wrapped": _tensor.Tensor._of, "Drawn": followed.Drawn,
        "begin_write": _cell.begin_write, "after_write": _cell.after_write, "link": _views.link,
        "lie_alike": _views.lie_alike,
        "ndarray": np.ndarray, "host_view": _host_view, "host_call": _host_call,
        "write_out": _write_out, "same_dtype": _same_dtype, "RETURNS": _returns(entry),
        "old_reduction": legacy_get_string, "old_mean": elementwise_mean, "warn": warn, "warn_once": warn_once,
        "TOLD": entry.deprecated and entry.deprecated[0],
        "OPERANDS": (_tensor.Tensor, bool, int, float, complex, np.generic), "BESIDE": _BESIDE_ARRAYS.get(entry.name),
    }  # fmt: skip
    scope.update({f"D_{p.name}": p.default for p in entry.params if p.default is not EMPTY})
    exec(compile("\n".join(source), f"<pytorchlike {entry.name}>", "exec"), scope)
    made = scope[name]
    built.append((made, entry, inplace))
    if on_built is not None:
        on_built(made, entry, inplace)
    made.__doc__ = entry.doc
    made.__module__ = _module(entry, switch)
    made.__qualname__ = name
    if "*old" in signature:
        told = inspect.signature(made)
        made.__signature__ = told.replace(parameters=[p for p in told.parameters.values() if p.name != "old"])
    if entry.parse is not None:
        made = _parsed(entry, made, inplace)
    made.entry = entry
    return made


#: The functions that were built, with their operator and whether they are its in-place form; who is told of new ones.
built: list[tuple[Any, OpDef, bool]] = []
on_built: Callable[[Any, OpDef, bool], None] | None = None

_return_types: dict[OpDef, Any] = {}
_RETURNED = {"_histogram_edges": "histogram"}


def _returns(entry: OpDef) -> Any:
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


def _parsed(entry: OpDef, fast: Callable[..., Any], inplace: bool) -> Callable[..., Any]:
    parse = entry.parse

    def call(*args: Any, **kwargs: Any) -> Any:
        name, args, kwargs = parse(*args, **kwargs)  # type: ignore[misc]
        if name is None:
            return fast(*args, **kwargs)
        return form(lookup(name), inplace)(*args, **kwargs)

    call.__name__ = call.__qualname__ = fast.__name__
    call.__doc__ = fast.__doc__
    call.__signature__ = inspect.signature(fast)  # type: ignore[attr-defined]
    return call


_forms: dict[tuple[OpDef, bool, bool, bool], Callable[..., Any]] = {}


def _module(entry: OpDef, switch: bool) -> str:
    """The module where pickles find a form."""
    if switch:
        return "pytorchlike.nn.functional"
    spaces = entry.namespaces
    return "pytorchlike" if not entry.function or "torch" in spaces else f"pytorchlike.{spaces[0]}"


def form(entry: OpDef, inplace: bool = False, switch: bool = False, dunder: bool = False) -> Callable[..., Any]:
    """The function form of an operator, or another one (see :func:`build`); built once."""
    key = (entry, inplace, switch, dunder)
    found = _forms.get(key)
    if found is None:
        found = _forms[key] = build(entry, entry.name + ("_" if inplace else ""), inplace, switch, dunder)
    return found


# ---- helpers of the generated code -----------------------------------------------------------------------------


def sizes(given: Any, trace: Any = None) -> tuple[int, ...]:
    """A tuple of ints out of what callers pass as sizes.

    trace: the trace that the caller goes on recording in; Moved is raised if reading a size had it executed.
    """
    if given.__class__ is int:
        return (given,)
    if isinstance(given, (list, tuple)):
        out = tuple(given)
        for n in out:
            if n.__class__ is not int:
                out = tuple(_integer(n) for n in out)
                break
        else:
            return out
    else:
        out = (_integer(given),)
    if trace is not None:
        _stay(trace)
    return out


def frozen(x: Any, trace: Any) -> Any:
    """As :func:`freeze`; Moved is raised if reading a tensor had the trace executed."""
    out = freeze(x)
    _stay(trace)
    return out


def whole(x: Any, trace: Any) -> Any:
    """As :func:`frozen`, for what has to be an int or several: 1.0 and True would be found in the place of 1."""
    if x.__class__ is float or x.__class__ is bool:
        raise Unusual
    return frozen(x, trace)


def _stay(trace: Any) -> None:
    if local.trace is not trace:
        from ._cell import Moved

        raise Moved


def _integer(n: Any) -> int:
    if isinstance(n, bool) or isinstance(n, float):
        raise TypeError(f"sizes must be ints, not {type(n).__name__} ({n!r})")
    if hasattr(n, "__index__"):
        return n.__index__()
    raise TypeError(f"sizes must be ints, not {type(n).__name__} ({n!r})")


def freeze(x: Any) -> Any:
    """A hashable equivalent of a static argument."""
    if isinstance(x, (list, tuple)):
        return tuple([i if i.__class__ in ATOMS else freeze(i) for i in x])
    if isinstance(x, torch_dtype):
        return x.numpy
    if x.__class__ in ATOMS:
        return x
    if isinstance(x, np.generic):
        return x.item()
    if hasattr(x, "_value") and hasattr(x, "item"):
        return x.item() if x.dim() == 0 or x.numel() == 1 else tuple(x.tolist())
    if isinstance(x, np.ndarray):
        return freeze(x.tolist())
    if isinstance(x, dict):
        return tuple(sorted((k, freeze(v)) for k, v in x.items()))
    hash(x)
    return x


def to_dtype(given: Any) -> np.dtype:
    if given.__class__ is torch_dtype:
        return given.numpy
    if isinstance(given, np.dtype):
        return given
    from .dtype import to_numpy_dtype

    return to_numpy_dtype(given)


@functools.cache
def _above() -> Any:
    """What makes tensors and views, and imports this one. (An import in a function costs as much as making a view.)"""
    from ._tensor import Tensor
    from ._views import link_step

    return SimpleNamespace(Tensor=Tensor, link_step=link_step)


def _host_view(base: Any, value: Value, entry: OpDef, static: tuple, numbers: tuple) -> Any:
    """A view of a host value, made by NumPy at once: data loading records nothing."""
    above = _above()
    plain = tuple([n[1] for n in numbers])
    data = entry.fn(**entry.bind(static, (value.data, *plain)))
    result = above.Tensor._of(fixed(own(concrete(data, value.meta.place)), value))
    above.link_step(base, result, entry, static, plain)
    alias = result._alias
    if value.slot < 0 and alias is not None and not alias.storage.lent:  # a part of the user's memory itself
        alias.shown = (alias.storage.host, data)
    return result


#: Bytes of integers that were computed, and are joined with host values by NumPy, at most.
_TEXT = 65536


def _host_call(entry: OpDef, values: list[Value], static: tuple) -> Any:
    """An operator on host values only, by NumPy; None if they are not alike enough to be sure of the result."""
    first, trace = values[0].meta, local.trace
    if trace.replayed and not trace.fixed.issuperset(values):
        return None
    if trace.mode.autocast is not None and first.dtype.kind not in "biu":  # it casts, or refuses
        return None
    for v in values:
        if v.meta.grad or v.meta.dtype != first.dtype:
            return None
        if v.data.__class__ is not np.ndarray:  # a text that grows by what was drawn or read
            short = first.dtype.kind == "i" and v.meta.nbytes <= _TEXT and v.meta.place is place_for("cpu")
            if v.data is None or not short:
                return None
            v.data = np.array(v.data)
    data = entry.host([v.data for v in values], *static)
    return None if data is None else _above().Tensor._of(fixed(own(concrete(data, first.place)), *values))


def _several(trace: Any, metas: tuple) -> tuple:
    Tensor = _above().Tensor
    out = []
    values = trace.values
    for meta in metas:
        value = Value()
        value.trace = trace
        value.meta = meta
        value.data = value.node = None
        value.slot = len(values)
        values.append(value)
        t = object.__new__(Tensor)
        t._value = value
        t._alias = None
        out.append(t)
    return tuple(out)


def _precheck(entry: OpDef, held: dict[str, Any], plain: dict[str, Any], op: Any, safe: Any) -> Any:
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


def _same_dtype(out: Any, dtype: np.dtype) -> None:
    """RuntimeError where a factory is asked for one dtype and a tensor of another."""
    if out.dtype.numpy != dtype:
        raise RuntimeError(f"dtype {dtype} does not match dtype of out parameter ({out.dtype!r})")


def _write_out(out: Any, result: Any, entry: OpDef) -> Any:
    if isinstance(result, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(result):
            raise TypeError(f"{entry.name}(): argument 'out' must be a tuple of {len(result)} Tensors")
        written = [_write_out(o, r, entry) for o, r in zip(out, result, strict=True)]
        return type(result)(*written) if entry.returns else tuple(written)
    from ._cell import write_out

    return write_out(out, result, entry.name)


def _general(entry: OpDef, inplace: bool, unusual: Exception, /, *args: Any, **kwargs: Any) -> Any:
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
    if entry.name in ("zeros", "empty") and repr(layout) == "torch.sparse_coo" and kwargs.get("out") is None:
        from ._names import find

        size = sizes(_bind(entry, name, args, {k: v for k, v in kwargs.items() if k == "size"})["size"])
        told = {k: v for k, v in kwargs.items() if k in ("dtype", "device", "requires_grad")}
        return find("torch", "sparse_coo_tensor")(size=size, **told)
    _strided(entry, layout)
    kwargs.pop("pin_memory", None)
    if kwargs.pop("inplace", False):
        return _general(entry, True, unusual, *args, **kwargs)
    out = kwargs.pop("out", None)
    if out is not None and local.trace.mode.autocast is not None:  # autocast leaves such calls alone
        mode = get_mode()
        set_mode(mode.replace(autocast=None))
        try:
            return _general(entry, inplace, unusual, *args, out=out, **kwargs)
        finally:
            set_mode(mode)
    generator = kwargs.pop("generator", None)
    device = kwargs.pop("device", None)
    requires_grad = kwargs.pop("requires_grad", False)
    bound = _bind(entry, name, args, {k: v for k, v in kwargs.items() if v is not NOT_GIVEN})
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
            _same_dtype(out, to_dtype(bound["dtype"]))
        static.append(place_for(device))
    elif not held and any(p.kind is Operand for p in entry.params) and not any(isinstance(d, Value) for d in dynamic):
        given = ", ".join(type(a).__name__ for a in args)
        raise TypeError(f"{name}() received an invalid combination of arguments - got ({given}), but expected a Tensor "
                        "among them")  # fmt: skip
    op = entry.op_inplace if inplace else entry.op
    if entry.name == "view":
        bound["input"]._check_view(bound["size"])
    elif entry.name == "_view_dtype":
        bound["input"]._check_dtype_view(static[0])
    elif entry.name == "view_as_complex":
        bound["input"]._check_complex_view()
    if entry.precheck is not None:
        plain = {p.name: bound[p.name] for p in entry.params if p.kind in (None, Sizes, Scalar, Scalars)}
        op = _precheck(entry, held, plain, op, entry.op_inplace_safe if inplace else entry.op_safe)
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
            result = _returns(entry)(*result)
    else:
        result = Tensor._of(got)
        if entry.view is not None:
            link(first, result, entry, tuple(static), tuple(d for d in dynamic if not isinstance(d, Value)))
        if entry.lies is not None:
            lie_alike(entry, first, result, *[d and d.meta for d in dynamic if d is None or isinstance(d, Value)])
        if requires_grad:
            result.requires_grad_(True)
    return result if out is None else _write_out(out, result, entry)


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
    if layout is None or repr(layout) == "torch.strided":
        return
    error = ValueError if "signal.windows" in entry.namespaces else NotImplementedError
    raise error(f"{entry.name} is implemented for strided tensors only, got: {layout}")


def _bind(entry: OpDef, name: str, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
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
    now = ", ".join(f"{n}={v!r}" for n, v in zip(told, numbers, strict=False))
    warn_once(f"This overload of {name} is deprecated: pass the numbers last, by name ({now})", kind="numbers first")
    return (front[first], *last), {**kwargs, **dict(zip(told, numbers, strict=False))}


_SPELLED = {"axis": "dim", "keepdims": "keepdim"}

#: NumPy's names of parameters, which PyTorch understands too.
_ALIASES = {"axis": "dim", "x": "input", "keepdims": "keepdim", "self": "input", "a": "input", "x2": "other"}


def _number(x: Any, name: str, p: Param, k: int) -> Any:
    if isinstance(x, (bool, int, float, complex)) and type(x) in NUMBERS:
        return x
    if isinstance(x, np.generic):
        return x.item()
    if hasattr(x, "_value") and x.dim() == 0:
        return x.item()
    if isinstance(x, (int, float)):
        return float(x) if isinstance(x, float) else int(x)
    raise TypeError(f"{name}(): argument '{p.name}' (position {k + 1}) must be Number, not {type(x).__name__}")


__all__ = ["Wide", "build", "form", "freeze", "sizes", "to_dtype"]
