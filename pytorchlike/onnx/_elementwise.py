"""Arithmetic, comparisons, functions of one number, activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ._builder import Builder, V
from ._table import Args, lowers, refuse

_INTEGER = "biu"


def _scaled(b: Builder, v: V, factor: Any) -> V:
    return v if factor == 1 else b.binary("Mul", v, factor)


def _both(b: Builder, kind: str, x: Any, y: Any, dtype: Any = None) -> V:
    return b.op(kind, x, y, dtype=dtype or x.dtype)


# ---- arithmetic ------------------------------------------------------------------------------------------------------


@lowers("add")
def _add(b: Builder, a: Args) -> V:
    if a.input.dtype == np.bool_:
        return _both(b, "Or", a.input, a.other)
    return _both(b, "Add", a.input, _scaled(b, a.other, a.alpha))


@lowers("sub")
def _sub(b: Builder, a: Args) -> V:
    return _both(b, "Sub", a.input, _scaled(b, a.other, a.alpha))


@lowers("rsub")
def _rsub(b: Builder, a: Args) -> V:
    return _both(b, "Sub", a.other, _scaled(b, a.input, a.alpha))


@lowers("mul")
def _mul(b: Builder, a: Args) -> V:
    return _both(b, "And" if a.input.dtype == np.bool_ else "Mul", a.input, a.other)


def _quotient(b: Builder, x: V, y: V, rounding: str | None, out: Any) -> V:
    if rounding is None:
        return _both(b, "Div", b.cast(x, out), b.cast(y, out))
    if x.dtype.kind not in _INTEGER:
        q = _both(b, "Div", x, y)
        return b.unary("Floor", q) if rounding == "floor" else _truncated(b, q)
    q = _both(b, "Div", x, y)  # of integers: towards zero
    if rounding == "trunc" or x.dtype.kind == "u":
        return q
    rest = b.op("Sub", x, b.op("Mul", q, y))
    zero = b.number(0, x.dtype)
    inexact = b.op("Not", b.op("Equal", rest, zero, dtype=np.bool_))
    unlike = b.op("Xor", b.op("Less", rest, zero, dtype=np.bool_), b.op("Less", y, zero, dtype=np.bool_))
    return b.op("Sub", q, b.cast(b.op("And", inexact, unlike), x.dtype))


@lowers("div")
def _div(b: Builder, a: Args) -> V:
    return _quotient(b, a.input, a.other, a.rounding_mode, a.out.dtype)


@lowers("true_divide")
def _true_divide(b: Builder, a: Args) -> V:
    return _both(b, "Div", a.input, a.other)


@lowers("_rdiv")
def _rdiv(b: Builder, a: Args) -> V:
    return _both(b, "Div", a.other, a.input)


@lowers("floor_divide")
def _floor_divide(b: Builder, a: Args) -> V:
    return _quotient(b, a.input, a.other, "floor", a.out.dtype)


@lowers("_rfloor_divide")
def _rfloor_divide(b: Builder, a: Args) -> V:
    return _quotient(b, a.other, a.input, "floor", a.out.dtype)


def _modulo(b: Builder, x: V, y: V) -> V:
    if x.dtype.kind in _INTEGER:
        return b.op("Mod", x, y)
    return b.op("Sub", x, b.op("Mul", b.op("Floor", b.op("Div", x, y)), y))


@lowers("remainder")
def _remainder(b: Builder, a: Args) -> V:
    return _modulo(b, a.input, a.other)


@lowers("_rremainder")
def _rremainder(b: Builder, a: Args) -> V:
    return _modulo(b, a.other, a.input)


@lowers("fmod")
def _fmod(b: Builder, a: Args) -> V:
    return b.op("Mod", a.input, a.other, fmod=1)


def _power(b: Builder, base: Any, exponent: Any, out: Any) -> V:
    if isinstance(base, V) and not isinstance(exponent, V):
        x = b.cast(base, out)
        if exponent == 2:
            return b.op("Mul", x, x)
        if exponent == 0.5:
            return b.op("Sqrt", x)
        if exponent == -0.5:
            return b.op("Reciprocal", b.op("Sqrt", x))
        if exponent == 1:
            return x
        if exponent == -1:
            return b.op("Reciprocal", x)
    return b.op("Pow", b.tensor(base, out), b.tensor(exponent, out))


@lowers("pow", "float_power")
def _pow(b: Builder, a: Args) -> V:
    return _power(b, a.input, a.exponent, a.out.dtype)


@lowers("_rpow")
def _rpow(b: Builder, a: Args) -> V:
    return _power(b, a.other, a.input, a.out.dtype)


@lowers("addcmul")
def _addcmul(b: Builder, a: Args) -> V:
    return b.op("Add", a.input, _scaled(b, b.op("Mul", a.tensor1, a.tensor2), a.value))


@lowers("addcdiv")
def _addcdiv(b: Builder, a: Args) -> V:
    return b.op("Add", a.input, _scaled(b, b.op("Div", a.tensor1, a.tensor2), a.value))


@lowers("lerp")
def _lerp(b: Builder, a: Args) -> V:
    weight = b.tensor(a.weight, a.input.dtype)
    return b.op("Add", a.input, b.op("Mul", weight, b.op("Sub", a.end, a.input)))


# ---- comparisons and logic -------------------------------------------------------------------------------------------


def _comparison(kind: str, negated: bool = False) -> Callable[[Builder, Args], V]:
    def rule(b: Builder, a: Args) -> V:
        x, y = a.input, a.other
        if x.dtype == np.bool_ and kind != "Equal":
            x, y = b.cast(x, np.int32), b.cast(y, np.int32)
        found = _both(b, kind, x, y, np.bool_)
        return b.op("Not", found) if negated else found

    return rule


for _name, _kind, _not in (("eq", "Equal", False), ("ne", "Equal", True), ("gt", "Greater", False),
                           ("ge", "GreaterOrEqual", False), ("lt", "Less", False), ("le", "LessOrEqual", False)):
    lowers(_name)(_comparison(_kind, _not))


def _logical(kind: str) -> Callable[[Builder, Args], V]:
    return lambda b, a: _both(b, kind, b.cast(a.input, np.bool_), b.cast(a.other, np.bool_))


def _bitwise(kind: str) -> Callable[[Builder, Args], V]:
    return lambda b, a: _both(b, kind if a.input.dtype == np.bool_ else f"Bitwise{kind}", a.input, a.other)


for _kind in ("And", "Or", "Xor"):
    lowers(f"logical_{_kind.lower()}")(_logical(_kind))
    lowers(f"bitwise_{_kind.lower()}")(_bitwise(_kind))


@lowers("logical_not")
def _logical_not(b: Builder, a: Args) -> V:
    return b.op("Not", b.cast(a.input, np.bool_))


@lowers("bitwise_not")
def _bitwise_not(b: Builder, a: Args) -> V:
    return b.op("Not" if a.input.dtype == np.bool_ else "BitwiseNot", a.input)


@lowers("where")
def _where(b: Builder, a: Args) -> V:
    condition = b.cast(a.condition, np.bool_)
    return b.op("Where", condition, b.tensor(a.input, a.out.dtype), b.tensor(a.other, a.out.dtype), dtype=a.out.dtype)


@lowers("masked_fill")
def _masked_fill(b: Builder, a: Args) -> V:
    return b.op("Where", a.mask, b.tensor(a.value, a.input.dtype), a.input, dtype=a.input.dtype)


@lowers("clamp")
def _clamp(b: Builder, a: Args) -> V:
    x = a.input if a.min is None else b.op("Max", a.input, a.min)
    return x if a.max is None else b.op("Min", x, a.max)


@lowers("clamp_min")
def _clamp_min(b: Builder, a: Args) -> V:
    return b.op("Max", a.input, a.min)


@lowers("clamp_max")
def _clamp_max(b: Builder, a: Args) -> V:
    return b.op("Min", a.input, a.max)


def _extremum(kind: str) -> Callable[[Builder, Args], V]:
    def rule(b: Builder, a: Args) -> V:
        x, y = a.input, a.other
        if x.dtype == np.bool_:
            return b.op("Or" if kind == "Max" else "And", x, y)
        return b.op(kind, x, y)

    return rule


lowers("maximum")(_extremum("Max"))
lowers("minimum")(_extremum("Min"))


@lowers("logaddexp")
def _logaddexp(b: Builder, a: Args) -> V:
    gap = b.op("Neg", b.op("Abs", b.op("Sub", a.input, a.other)))
    return b.op("Add", b.op("Max", a.input, a.other), b.op("Softplus", gap))


@lowers("hypot")
def _hypot(b: Builder, a: Args) -> V:
    return b.op("Sqrt", b.op("Add", b.op("Mul", a.input, a.input), b.op("Mul", a.other, a.other)))


@lowers("atan2")
def _atan2(b: Builder, a: Args) -> V:
    y, x = a.input, a.other
    zero = b.number(0, x.dtype)
    left, below = b.op("Less", x, zero, dtype=np.bool_), b.op("Less", y, zero, dtype=np.bool_)
    around = b.op("Where", below, b.number(-math.pi, x.dtype), b.number(math.pi, x.dtype), dtype=x.dtype)
    origin = b.op("And", b.op("Equal", x, zero, dtype=np.bool_), b.op("Equal", y, zero, dtype=np.bool_))
    angle = b.op("Atan", b.op("Div", y, b.op("Where", origin, b.number(1, x.dtype), x, dtype=x.dtype)))
    return b.op("Add", angle, b.op("Where", left, around, zero, dtype=x.dtype))


# ---- functions of one number -----------------------------------------------------------------------------------------

#: Those that are one operator; integers go in as the result's dtype.
_PLAIN = {
    "abs": "Abs", "neg": "Neg", "sign": "Sign", "ceil": "Ceil", "floor": "Floor", "exp": "Exp", "log": "Log",
    "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos", "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan",
    "sinh": "Sinh", "cosh": "Cosh", "tanh": "Tanh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh",
    "sigmoid": "Sigmoid", "erf": "Erf", "reciprocal": "Reciprocal", "softsign": "Softsign",
}  # fmt: skip
_WHOLE = ("ceil", "floor", "round", "trunc")


def _plain(name: str, kind: str) -> Callable[[Builder, Args], V]:
    def rule(b: Builder, a: Args) -> V:
        if name in _WHOLE and a.input.dtype.kind in _INTEGER:
            return a.input
        return b.unary(kind, b.cast(a.input, a.out.dtype))

    return rule


for _name, _kind in _PLAIN.items():
    lowers(_name)(_plain(_name, _kind))


def _truncated(b: Builder, v: V) -> V:
    return b.op("Mul", b.op("Sign", v), b.op("Floor", b.op("Abs", v)))


@lowers("trunc")
def _trunc(b: Builder, a: Args) -> V:
    return a.input if a.input.dtype.kind in _INTEGER else _truncated(b, a.input)


@lowers("frac")
def _frac(b: Builder, a: Args) -> V:
    return b.op("Sub", a.input, _truncated(b, a.input))


@lowers("round")
def _round(b: Builder, a: Args) -> V:
    if a.input.dtype.kind in _INTEGER:
        return a.input
    factor = 10.0**a.decimals
    found = b.unary("Round", _scaled(b, a.input, factor))
    return found if factor == 1 else b.binary("Div", found, factor)


@lowers("square")
def _square(b: Builder, a: Args) -> V:
    return b.op("Mul", a.input, a.input)


def _of_float(fn: Callable[[Builder, V], V]) -> Callable[[Builder, Args], V]:
    return lambda b, a: fn(b, b.cast(a.input, a.out.dtype))


_COMPOSED: dict[str, Callable[[Builder, V], V]] = {
    "rsqrt": lambda b, x: b.op("Reciprocal", b.op("Sqrt", x)),
    "expm1": lambda b, x: b.binary("Sub", b.op("Exp", x), 1),
    "log1p": lambda b, x: b.op("Log", b.binary("Add", x, 1)),
    "exp2": lambda b, x: b.op("Exp", b.binary("Mul", x, math.log(2))),
    "log2": lambda b, x: b.binary("Div", b.op("Log", x), math.log(2)),
    "log10": lambda b, x: b.binary("Div", b.op("Log", x), math.log(10)),
    "erfc": lambda b, x: b.op("Sub", b.number(1, x.dtype), b.op("Erf", x)),
    "deg2rad": lambda b, x: b.binary("Mul", x, math.pi / 180),
    "rad2deg": lambda b, x: b.binary("Mul", x, 180 / math.pi),
    "relu6": lambda b, x: b.op("Clip", x, b.number(0, x.dtype), b.number(6, x.dtype)),
    "silu": lambda b, x: b.op("Mul", x, b.op("Sigmoid", x)),
    "mish": lambda b, x: b.op("Mul", x, b.op("Tanh", b.op("Softplus", x))),
    "logsigmoid": lambda b, x: b.op("Neg", b.op("Softplus", b.op("Neg", x))),
    "tanhshrink": lambda b, x: b.op("Sub", x, b.op("Tanh", x)),
    "hardsigmoid": lambda b, x: b.op("HardSigmoid", x, alpha=1 / 6, beta=0.5),
    "hardswish": lambda b, x: b.op("HardSwish", x),
    "selu": lambda b, x: b.op("Selu", x, alpha=1.6732632423543772, gamma=1.0507009873554805),
}
for _name, _fn in _COMPOSED.items():
    lowers(_name)(_of_float(_fn))


@lowers("relu")
def _relu(b: Builder, a: Args) -> V:
    if a.input.dtype.kind in _INTEGER:
        return b.op("Max", a.input, b.number(0, a.input.dtype))
    return b.unary("Relu", a.input)


@lowers("isnan")
def _isnan(b: Builder, a: Args) -> V:
    return _not_finite(b, a.input, ("IsNaN",))


@lowers("isinf")
def _isinf(b: Builder, a: Args) -> V:
    return _not_finite(b, a.input, ("IsInf",))


@lowers("isfinite")
def _isfinite(b: Builder, a: Args) -> V:
    return b.op("Not", _not_finite(b, a.input, ("IsNaN", "IsInf")))


def _not_finite(b: Builder, v: V, kinds: tuple[str, ...], **attributes: Any) -> V:
    if v.dtype.kind in _INTEGER:
        return b.op("Not", b.op("Equal", v, v, dtype=np.bool_))
    found = [b.op(k, v, dtype=np.bool_, **attributes) for k in kinds]
    return found[0] if len(found) == 1 else b.op("Or", *found)


@lowers("isposinf")
def _isposinf(b: Builder, a: Args) -> V:
    return _not_finite(b, a.input, ("IsInf",), detect_negative=0)


@lowers("isneginf")
def _isneginf(b: Builder, a: Args) -> V:
    return _not_finite(b, a.input, ("IsInf",), detect_positive=0)


@lowers("nan_to_num")
def _nan_to_num(b: Builder, a: Args) -> V:
    x = a.input
    if x.dtype.kind in _INTEGER:
        return x
    info = np.finfo(x.dtype)
    for kinds, told, value in (
        ({}, 0.0 if a.nan is None else a.nan, None),
        ({"detect_negative": 0}, float(info.max) if a.posinf is None else a.posinf, "IsInf"),
        ({"detect_positive": 0}, float(info.min) if a.neginf is None else a.neginf, "IsInf"),
    ):
        mask = b.op(value or "IsNaN", x, dtype=np.bool_, **kinds)
        x = b.op("Where", mask, b.number(told, x.dtype), x, dtype=x.dtype)
    return x


@lowers("logit")
def _logit(b: Builder, a: Args) -> V:
    x = b.cast(a.input, a.out.dtype)
    if a.eps is not None:
        x = b.op("Clip", x, b.number(a.eps, x.dtype), b.number(1 - a.eps, x.dtype))
    return b.op("Log", b.op("Div", x, b.op("Sub", b.number(1, x.dtype), x)))


@lowers("clone", "positive", "_alias", "contiguous")
def _same(b: Builder, a: Args) -> V:
    return a.input


@lowers("_to_dtype")
def _to_dtype(b: Builder, a: Args) -> V:
    return b.cast(a.input, a.out.dtype)


@lowers("_copy_from")
def _copy_from(b: Builder, a: Args) -> V:
    return b.expand(b.cast(a.src, a.out.dtype), a.out.shape)


# ---- activations -----------------------------------------------------------------------------------------------------


@lowers("hardtanh")
def _hardtanh(b: Builder, a: Args) -> V:
    return b.op("Clip", a.input, b.number(a.min_val, a.input.dtype), b.number(a.max_val, a.input.dtype))


@lowers("leaky_relu")
def _leaky_relu(b: Builder, a: Args) -> V:
    return b.op("LeakyRelu", a.input, alpha=float(a.negative_slope))


@lowers("elu")
def _elu(b: Builder, a: Args) -> V:
    return b.op("Elu", a.input, alpha=float(a.alpha))


@lowers("celu")
def _celu(b: Builder, a: Args) -> V:
    return b.op("Celu", a.input, alpha=float(a.alpha))


@lowers("prelu")
def _prelu(b: Builder, a: Args) -> V:
    weight = a.weight
    if a.input.rank > 2 and weight.rank == 1 and weight.shape != (1,):
        weight = b.reshape(weight, (weight.shape[0], *(1,) * (a.input.rank - 2)))
    return b.op("PRelu", a.input, weight)


@lowers("rrelu")
def _rrelu(b: Builder, a: Args) -> V:
    if a.training:
        raise refuse(b, a.step, "it draws slopes at random while training; call model.eval() first")
    return b.op("LeakyRelu", a.input, alpha=(a.lower + a.upper) / 2)


@lowers("threshold")
def _threshold(b: Builder, a: Args) -> V:
    x = a.input
    above = b.op("Greater", x, b.number(a.threshold, x.dtype), dtype=np.bool_)
    return b.op("Where", above, x, b.number(a.value, x.dtype), dtype=x.dtype)


@lowers("gelu")
def _gelu(b: Builder, a: Args) -> V:
    x = a.input
    if b.opset >= 20:
        return b.op("Gelu", x, approximate=a.approximate)
    if a.approximate == "tanh":
        cubed = b.binary("Mul", b.op("Mul", x, b.op("Mul", x, x)), 0.044715)
        inner = b.op("Tanh", b.binary("Mul", b.op("Add", x, cubed), math.sqrt(2 / math.pi)))
    else:
        inner = b.op("Erf", b.binary("Div", x, math.sqrt(2)))
    return b.op("Mul", b.binary("Mul", x, 0.5), b.binary("Add", inner, 1))


@lowers("softplus")
def _softplus(b: Builder, a: Args) -> V:
    x = a.input
    scaled = _scaled(b, x, a.beta)
    soft = b.op("Softplus", scaled)
    soft = soft if a.beta == 1 else b.binary("Div", soft, a.beta)
    linear = b.op("Greater", scaled, b.number(a.threshold, x.dtype), dtype=np.bool_)
    return b.op("Where", linear, x, soft, dtype=x.dtype)


@lowers("glu")
def _glu(b: Builder, a: Args) -> V:
    left, right = b.op("Split", a.input, outputs=2, axis=a.dim, num_outputs=2)
    return b.op("Mul", left, b.op("Sigmoid", right))


@lowers("hardshrink")
def _hardshrink(b: Builder, a: Args) -> V:
    return b.op("Shrink", a.input, lambd=float(a.lambd), bias=0.0)


@lowers("softshrink")
def _softshrink(b: Builder, a: Args) -> V:
    return b.op("Shrink", a.input, lambd=float(a.lambd), bias=float(a.lambd))


def implicit_dim(rank: int, dim: int | None) -> int:
    """The dimension of softmax where none is given."""
    return dim if dim is not None else 0 if rank in (0, 1, 3) else 1


def _softmax(kind: str, negated: bool = False) -> Callable[[Builder, Args], V]:
    def rule(b: Builder, a: Args) -> V:
        x = b.cast(a.input, a.out.dtype)
        x = b.op("Neg", x) if negated else x
        if not a.out.shape:
            x = b.reshape(V(x.name, x.dtype, ()), (1,))
            return b.reshape(b.op(kind, x, axis=0), ())
        return b.op(kind, x, axis=implicit_dim(len(a.out.shape), a.dim))

    return rule


lowers("softmax")(_softmax("Softmax"))
lowers("softmin")(_softmax("Softmax", True))
lowers("log_softmax")(_softmax("LogSoftmax"))


@lowers("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
def _dropout(b: Builder, a: Args) -> V:
    if a.training and a.p:
        raise refuse(b, a.step, "the model is in training mode and draws at random; call model.eval() first")
    return a.input
