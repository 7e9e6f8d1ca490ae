"""The callable forms of an operator, written out as Python source from its entry in the table.

Recording is the hot path, so each form is generated with its parameters unrolled: it takes the arguments that fit as
they are and hands everything unusual (numbers in NumPy's types, lists, wrong types) to ``_general.general``.

Layout of a recorded call: ``static`` holds, in the order of the parameters, the static values and the lengths of
sequences (and the device at the end, for factories); the arguments are the tensors and numbers in the same order, the
two numbers of a random key last.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..engine import Value, concrete, fixed, local, own
from ..engine.errors import cut, warn, warn_once
from ..engine.host import beside
from ..ops._reduction import elementwise_mean, legacy_get_string
from ..ops._table import EMPTY, Array, Arrays, Key, OpDef, Operand, Param, Scalar, Scalars, Sizes, lookup
from . import followed, random
from ._arguments import ATOMS, NOT_GIVEN, NUMBERS, WHOLE, Unusual, frozen, sizes, to_dtype, whole
from ._general import NUMBERS_FIRST, VIEW_CHECKS, general, precheck, returns, same_dtype, write_outs
from .device import place_for

#: Of Python's operators those that take NumPy's arrays beside tensors, by NumPy; the others leave that to the array.
_BESIDE_ARRAYS = {"eq": np.equal, "_rdiv": np.true_divide}

_NUMBERS = (bool, int, float, complex, np.generic)

#: Operators that take their generator in its place as well, not by name alone.
GENERATOR_LAST = frozenset(("binomial", "poisson", "_sample_dirichlet", "_standard_gamma"))


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
    slots: list[str] = []  # lines by which tensors enter the trace, if that is decided when all of them are known
    there = _beside(entry, inplace)
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
            if there:
                told = [p.kind is Operand and f"{n}.__class__ in NUMBERS", p.optional and f"{n} is None"]
                slots += [f"if v_{n} is not None: {take.pop()}"] if any(told) else [take.pop()]
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
            (slots if there else body).append(
                f"i_{n} = [_v.slot if _v.trace is trace else trace.slots.get(_v) or trace.add_input(_v) for _v in "
                f"v_{n}]"
            )
            body.append(f"n_{n} = len(v_{n})")
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
    begun = []
    if inplace:
        first = params[0].name
        begun = [f"if v_{first}.meta.guarded or {first}._alias is not None: begin_write({first}, v_{first}, trace)"]
    if there:
        body += [*begun, f"if {there}: trace = beside(trace)", *slots]
    fixed = f"({', '.join(static)}{',' if len(static) == 1 else ''})"
    body.append(f"static = {fixed}")
    if entry.name in VIEW_CHECKS:
        check, asked = VIEW_CHECKS[entry.name]
        body.append(f"input.{check}({asked})")
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
    if not there:
        body += begun
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


def _beside(entry: OpDef, inplace: bool) -> str:
    """The condition under which NumPy computes a call when it is made, as source; "" for operators that are recorded.

    Nothing is recorded of a few integers that NumPy holds, see ``engine.host.Beside``, nor of what is added to a part
    of what it holds, as counts are; to the whole it is: it may be that of every step.
    """
    taken = [p for p in entry.params if p.kind in (Array, Operand, Arrays)]
    if entry.random or entry.factory or entry.view is not None or entry.op.heavy or not taken:
        return ""
    if len(taken) > 3 or taken[0].kind is Arrays or any(p.kind is Key for p in entry.params):
        return ""
    op = entry.op_inplace if inplace else entry.op
    if inplace and (op is None or taken[0].kind is not Array):
        return ""
    few = "few" if inplace or not entry.rounds else "tiny"
    conditions = [f"{taken[0].name}._alias is not None and {taken[0].name}._alias.chain"] if inplace else []
    for k, p in enumerate(taken):
        given = f"v_{p.name}.data.__class__ is ndarray and v_{p.name}.meta.{few}"
        if p.kind is Arrays:
            given = f"all([_v.data.__class__ is ndarray and _v.meta.{few} for _v in v_{p.name}])"
        elif p.kind is Operand or p.optional:
            given = f"v_{p.name} is not None and {given}" if not k else f"(v_{p.name} is None or {given})"
        conditions.append(given)
    return " and ".join(conditions)


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
            tail.append("if out is not None: return write_outs(out, result, ENTRY)")
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
        "    except Exception as error:",
        "        __tracebackhide__ = True",  # has pytest and IPython show the line that calls as the last one
        "        raise cut(error)",
    ]
    source += ["    " + line for line in tail]
    scope: dict[str, Any] = {
        "local": local, "Value": Value, "new": object.__new__, "Tensor": _tensor.Tensor, "ENTRY": entry,
        "INPLACE": inplace, "in_place": form(entry, True) if switch else None,
        "OP": entry.op_inplace if inplace else entry.op,
        "OP_SAFE": entry.op_inplace_safe if inplace else entry.op_safe, "NUMBERS": NUMBERS, "ATOMS": ATOMS,
        "WHOLE": WHOLE, "whole": whole,
        "Unusual": Unusual, "NOT_GIVEN": NOT_GIVEN, "sizes": sizes, "frozen": frozen, "to_dtype": to_dtype,
        "place_for": place_for, "general": general, "several": _several, "precheck": precheck, "random": random,
        "next_key": random.next_key, "followed": followed.begin, "wrapped": _tensor.Tensor._of, "Drawn": followed.Drawn,
        "begin_write": _cell.begin_write, "after_write": _cell.after_write, "link": _views.link, "beside": beside,
        "lie_alike": _views.lie_alike,
        "ndarray": np.ndarray, "host_view": _host_view, "host_call": _host_call,
        "write_outs": write_outs, "same_dtype": same_dtype, "RETURNS": returns(entry),
        "old_reduction": legacy_get_string, "old_mean": elementwise_mean, "warn": warn, "warn_once": warn_once,
        "cut": cut, "TOLD": entry.deprecated and entry.deprecated[0],
        "OPERANDS": (_tensor.Tensor, *(_NUMBERS if dunder and entry.params[1].kind is Operand else ())),
        "BESIDE": _BESIDE_ARRAYS.get(entry.name),
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


__all__ = ["build", "form"]
