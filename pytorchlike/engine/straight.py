"""A jaxpr as a Python function that calls NumPy: what ``interpret`` does step by step, written out once as source.

Operations on few elements cost what Python costs.  Written out, an addition is ``a + b``, a number is one of NumPy's
scalars, what is spread over a shape for one addition only is left to NumPy's own broadcasting, and a result that is
used once is part of the expression that uses it, so that NumPy can go on in its memory.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _primitives_indexing as _primitives_indexing  # registers its rules
from . import _primitives_linalg as _primitives_linalg  # registers its rules
from ._primitives import CALLS, Missing, _cost, _makers, _rules
from .forms import bound, is_symbolic

__all__ = ["Missing", "Straight"]

#: Elementwise primitives whose result has the type of its arguments, and those that compare.
_OPERATORS = {
    "add": "+", "add_any": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^",
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip
_FUNCTIONS = {"max": np.maximum, "min": np.minimum, "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "sin": np.sin,
              "cos": np.cos, "tanh": np.tanh, "floor": np.floor, "ceil": np.ceil, "abs": np.abs}  # fmt: skip
#: Primitives whose floating-point results have no rounding, and those that round once, as it is prescribed: of more
#: than one of these XLA may make one that rounds once only.
_UNROUNDED = frozenset((
    "abs", "broadcast_in_dim", "ceil", "clamp", "concatenate", "copy", "dynamic_slice", "expand_dims", "floor",
    "gather", "iota", "max", "min", "neg", "pad", "reshape", "rev", "round", "select_n", "sign", "slice", "squeeze",
    "stop_gradient", "transpose",
))  # fmt: skip
_ROUNDED = frozenset(("add", "sub", "mul", "div", "convert_element_type"))
#: Expressions are not nested more deeply than this.
_DEEP = 12
#: Elements up to which a constant is made once.
_SMALL = 1 << 12


def _shape(atom: Any) -> tuple[int, ...]:
    """The shape of an argument or a result; symbols have their sizes, see ``forms``."""
    return tuple(bound(atom.aval.shape))


class _Code:
    """The text that stands for an array.

    text: an expression; ``name``: whether it is one that may be repeated.  thin: it has fewer elements than its shape
    says, and NumPy's broadcasting gives it that shape.  own: it is new memory.  deep: levels of nesting.
    """

    __slots__ = ("text", "name", "thin", "own", "deep")

    def __init__(self, text: str, name: bool = False, thin: bool = False, own: bool = False, deep: int = 0) -> None:
        self.text, self.name, self.thin, self.own, self.deep = text, name, thin, own, deep


class Straight:
    """A closed jaxpr as a function of NumPy arrays (or NumPy's scalars, for shape ``()``) that returns a tuple.

    Results are C-contiguous and own their memory.  cost: roughly the nanoseconds of a call, as in ``Plan``;  slow:
    those of it that are spent on other things than moving and simple arithmetic.  elementwise: a number among the
    arguments may be an array that broadcasts, for results of many numbers at once.  exact: results have the bits that
    XLA gives them.  Raises Missing if a primitive has no equivalent in NumPy.
    """

    def __init__(self, closed: Any) -> None:
        self._scope: dict[str, Any] = {"errstate": np.errstate, "own": _own, "spread": np.broadcast_to,
                                       "asarray": np.asarray}  # fmt: skip
        self._lines: list[str] = []
        self._env: dict[Any, _Code] = {}
        self._uses: Counter = Counter()
        self.cost = self.slow = 0.0
        self.elementwise = self.exact = True
        self._rounded = False
        jaxpr = closed.jaxpr
        names = [f"x{k}" for k in range(len(jaxpr.invars))]
        self._env.update((v, _Code(n, True)) for v, n in zip(jaxpr.invars, names, strict=True))
        constants = zip(jaxpr.constvars, closed.consts, strict=True)
        self._env.update((v, self._constant(np.asarray(c))) for v, c in constants)
        self._walk(jaxpr)
        given = f"({''.join(n + ', ' for n in names)}*HELD,)"
        outs = "".join(self._out(v, given) + ", " for v in jaxpr.outvars)
        self._scope["HELD"] = [x for x in self._scope.values() if type(x) is np.ndarray]
        body = ["with errstate(all='ignore'):", *["    " + line for line in (*self._lines, f"return ({outs})")]]
        source = "\n".join([f"def straight({', '.join(names)}):", *["    " + line for line in body]])
        exec(compile(source, "<pytorchlike numpy>", "exec"), self._scope)
        self.run: Callable[..., tuple] = self._scope["straight"]
        del self._lines, self._env, self._uses

    # ---- names ------------------------------------------------------------------------------------------------

    def _bind(self, value: Any) -> str:
        """A name for something that the source refers to."""
        name = f"c{len(self._scope)}"
        self._scope[name] = value
        return name

    def _constant(self, value: np.ndarray, scalar: bool = True) -> _Code:
        """scalar: among numbers, where NumPy's scalars are the quickest; among arrays those of no dimensions are."""
        return _Code(self._bind(value[()] if scalar and not value.ndim else value), True)

    def _assign(self, code: _Code) -> _Code:
        """The same as a variable."""
        if code.name:
            return code
        name = f"v{len(self._lines)}"
        self._lines.append(f"{name} = {code.text}")
        return _Code(name, True, code.thin, code.own)

    def _read(self, atom: Any, full: bool = True, scalar: bool = True) -> _Code:
        """An argument; ``full``: it must have its shape.  scalar: see :meth:`_constant`."""
        if hasattr(atom, "val"):
            return self._constant(np.asarray(atom.val, atom.aval.dtype), scalar)
        code = self._env[atom]
        if full and code.thin:
            self.elementwise = False
            code = _Code(f"spread({code.text}, {_shape(atom)})", deep=code.deep + 1)
            if self._uses[atom] > 1:
                code = self._env[atom] = self._assign(code)
        return code

    # ---- statements -------------------------------------------------------------------------------------------

    def _walk(self, jaxpr: Any) -> None:
        self._uses.update(a for e in jaxpr.eqns for a in e.invars if not hasattr(a, "val"))
        self._uses.update(a for a in jaxpr.outvars if not hasattr(a, "val"))
        for eqn in jaxpr.eqns:
            name, params = eqn.primitive.name, bound(eqn.params) if is_symbolic(eqn.params) else eqn.params
            if name in CALLS:
                self._inline(next(params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in params), eqn)
                continue
            self._judge(name, eqn)
            code = self._simple(name, params, eqn)
            if code is not None:
                self.cost += _cost(name, eqn)
                self._keep(eqn.outvars[0], code)
            else:
                self._general(name, params, eqn)

    def _judge(self, name: str, eqn: Any) -> None:
        """Whether there is but one result that a step may have."""
        if name in _UNROUNDED or all(getattr(v.aval.dtype, "kind", "?") in "biu" for v in eqn.outvars):
            return
        self.exact &= name in _ROUNDED and not self._rounded
        self._rounded = True

    def _keep(self, var: Any, code: _Code) -> None:
        if self._uses[var] > 1 or code.deep >= _DEEP:
            code = self._assign(code)
        self._env[var] = code

    def _inline(self, inner: Any, eqn: Any) -> None:
        closed = hasattr(inner, "consts")
        jaxpr = inner.jaxpr if closed else inner
        for v, c in zip(jaxpr.constvars, inner.consts if closed else (), strict=True):
            self._env[v] = self._constant(np.asarray(c))
        used: Counter = Counter(a for e in jaxpr.eqns for a in e.invars if not hasattr(a, "val"))
        used.update(a for a in jaxpr.outvars if not hasattr(a, "val"))
        for v, a in zip(jaxpr.invars, eqn.invars, strict=True):
            code = self._read(a, full=False)
            self._env[v] = self._assign(code) if used[v] > 1 else code
            self._uses[v] = 0  # the same jaxpr may occur several times
        for e in jaxpr.eqns:
            for v in e.outvars:
                self._uses[v] = 0
        self._walk(jaxpr)
        for v, a in zip(eqn.outvars, jaxpr.outvars, strict=True):
            self._keep(v, self._read(a, full=False))

    def _simple(self, name: str, params: dict, eqn: Any) -> _Code | None:
        """The expression for a common primitive; None for the others."""
        out = eqn.outvars[0].aval
        kind = out.dtype.kind if hasattr(out, "dtype") and isinstance(out.dtype, np.dtype) else "?"
        ins, shape = eqn.invars, _shape(eqn.outvars[0])
        if kind not in "biufcV":
            return None
        if name in _OPERATORS and not (kind == "b" and name in ("add", "sub", "mul")):
            return self._elementwise("({} " + _OPERATORS[name] + " {})", eqn)
        if name == "div" and kind in "fc":
            return self._elementwise("({} / {})", eqn)
        if name == "neg" and kind in "fci":
            return self._elementwise("(-{})", eqn)
        if name == "square":
            code = self._assign(self._read(ins[0]))
            return _Code(f"({code.text} * {code.text})", own=True)
        if name in _FUNCTIONS and kind in "fiu" and (kind == "f" or name in ("max", "min")):
            function = self._bind(_FUNCTIONS[name])
            self.slow += 0.0 if name in ("max", "min", "abs") else _cost(name, eqn)
            return self._elementwise(function + "(" + ", ".join("{}" for _ in ins) + ")", eqn)
        if name in ("shift_right_logical", "shift_left") and kind == "u" and hasattr(ins[1], "val"):
            if 0 <= int(np.asarray(ins[1].val)) < out.dtype.itemsize * 8:
                return self._elementwise("({} << {})" if name == "shift_left" else "({} >> {})", eqn)
            return None
        if name == "convert_element_type":
            return self._convert(ins[0], np.dtype(params["new_dtype"]))
        if name == "optimization_barrier" and len(ins) == 1:  # NumPy does what is written anyway
            return self._read(ins[0], full=False, scalar=False)
        if name == "broadcast_in_dim" and len(ins) == 1:
            return self._spread(params, ins[0])
        if name == "rev":
            turned = tuple(slice(None, None, -1 if d in params["dimensions"] else 1) for d in range(len(shape)))
            return self._part(ins[0], f"[{self._bind(turned)}]")
        if name == "slice":
            steps = params["strides"] or (1,) * len(shape)
            where = tuple(map(slice, params["start_indices"], params["limit_indices"], steps))
            return self._part(ins[0], f"[{self._bind(where)}]")
        if name in ("squeeze", "expand_dims") or (name == "reshape" and params.get("dimensions") is None):
            return self._part(ins[0], f".reshape({shape})")
        if name == "transpose":
            return self._part(ins[0], f".transpose({tuple(params['permutation'])})") if shape else None
        if name == "iota" and not ins and math.prod(shape) <= _SMALL:
            return self._constant(np.ascontiguousarray(_rules["iota"](params)))
        return None

    def _part(self, atom: Any, text: str) -> _Code:
        self.elementwise = False
        code = self._read(atom)
        return _Code(code.text + text, deep=code.deep + 1)

    def _elementwise(self, pattern: str, eqn: Any) -> _Code:
        """NumPy may do the broadcasting if some argument has the result's shape."""
        shape = _shape(eqn.outvars[0])
        codes = [self._read(a, full=False, scalar=not shape) for a in eqn.invars]
        if all(c.thin or _shape(a) != shape for c, a in zip(codes, eqn.invars, strict=True)):
            codes = [self._read(a) for a in eqn.invars]
        return _Code(pattern.format(*[c.text for c in codes]), own=True, deep=1 + max(c.deep for c in codes))

    def _convert(self, atom: Any, to: np.dtype) -> _Code | None:
        given = np.dtype(atom.aval.dtype) if isinstance(atom.aval.dtype, np.dtype) else None
        if given is None or (to.kind in "iu" and given.kind not in "iub") or (given.kind == "c" and to.kind != "c"):
            return None
        code = self._read(atom, full=False)
        if given == to:
            return code
        order = ", order='C'" if atom.aval.shape else ""
        return _Code(f"{code.text}.astype({self._bind(to)}{order})", thin=code.thin, own=True, deep=code.deep + 1)

    def _spread(self, params: dict, atom: Any) -> _Code | None:
        shape, dims = params["shape"], params["broadcast_dimensions"]
        code = self._read(atom, scalar=not shape)
        if not shape:
            return code
        given = _shape(atom)
        self.elementwise &= not given
        if tuple(dims) != tuple(range(len(shape) - len(given), len(shape))):
            lifted = [1] * len(shape)
            for d, n in zip(dims, given, strict=True):
                lifted[d] = n
            code = _Code(f"{code.text}.reshape({tuple(lifted)})", deep=code.deep + 1)
        thin = math.prod(given) != math.prod(shape)
        if not thin and given != tuple(shape):
            return _Code(f"{code.text}.reshape({tuple(shape)})", deep=code.deep + 1)
        return _Code(code.text, code.name, thin, code.own and not thin, code.deep)

    def _general(self, name: str, params: dict, eqn: Any) -> None:
        """A primitive by its rule, see ``_primitives``."""
        self.elementwise = False
        if name in _makers:
            rule, cost, _ = _makers[name](params)
        elif name in _rules:
            rule, cost = functools.partial(_rules[name], params), _cost(name, eqn)
        else:
            raise Missing(f"the primitive {name} cannot be computed by NumPy")
        self.cost += cost
        self.slow += cost
        dtypes = tuple(getattr(v.aval, "dtype", None) for v in eqn.outvars)
        several = eqn.primitive.multiple_results
        run = self._bind(functools.partial(_cast_all if several else _cast, rule, dtypes if several else dtypes[0]))
        ins = ", ".join(self._read(a).text for a in eqn.invars)
        outs = [f"v{len(self._lines)}_{k}" for k in range(len(eqn.outvars))]
        self._lines.append(f"{', '.join(outs)}{',' if several else ''} = {run}({ins})" if outs else f"{run}({ins})")
        for v, n in zip(eqn.outvars, outs, strict=True):
            self._env[v] = _Code(n, True)

    def _out(self, atom: Any, given: str) -> str:
        code = self._read(atom)
        kind = self._bind(np.dtype(atom.aval.dtype))
        if not atom.aval.shape:
            return f"asarray({code.text}, {kind})"
        single = not hasattr(atom, "val") and self._uses[atom] == 1
        return f"own({code.text}, () if {code.own and single} else {given})"


def _own(x: Any, given: Sequence[Any]) -> np.ndarray:
    """``x`` in order and in memory of its own, if it may share some with ``given``."""
    if x.flags.c_contiguous and x.base is None and x.flags.owndata and not any(x is g for g in given):
        return x
    return np.array(x, order="C")


def _cast(rule: Callable[..., Any], dtype: Any, *args: Any) -> Any:
    x = rule(*args)
    return x if dtype is None or x.dtype == dtype else np.asarray(x, dtype)


def _cast_all(rule: Callable[..., Any], dtypes: tuple, *args: Any) -> list:
    return [x if d is None or x.dtype == d else np.asarray(x, d) for x, d in zip(rule(*args), dtypes, strict=True)]
