"""NumPy equivalents of JAX's primitives, by name: ``rule(params, *arrays) -> array or list of arrays``.

Results are cast to what the jaxpr says, so rules need not care about dtypes that NumPy would widen.  Values follow
XLA on the CPU: integers wrap around, division by zero has a result, floats saturate when they become integers.
Special functions are SciPy's, which JAX itself rests on.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .forms import bound, is_bound, is_symbolic, magnitude

Rule = Callable[..., Any]
_rules: dict[str, Rule] = {}
#: For primitives with jaxprs of their own: ``maker(params) -> (function of the arrays, its cost, products within)``.
_makers: dict[str, Callable[[dict], tuple[Rule, float, float]]] = {}


#: A bilinear map, with the jaxpr that computes it.
BILINEAR = "bilinear_call"
#: A linear one.
LINEAR = "linear_map_call"
#: Primitives with one result that carry the jaxpr that computes it.
_MAPS = frozenset((BILINEAR, LINEAR))
#: Sums of several arrays of one shape at once.
SUMS = "sums"
#: Primitives that stand for the jaxpr they carry.
CALLS = frozenset(
    "jit pjit closed_call core_call custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr checkpoint remat2".split()
) | _MAPS


class Missing(NotImplementedError):
    """A primitive has no equivalent here."""


class _Draft:
    """What the plans of a jaxpr have in common, whatever its sizes are.

    start: what the places hold at first: literals, and room.  steps: (equation, its parameters, whether these tell of
    sizes, the function if they do not, places of the arguments, places and dtypes of the results).
    costs: of the plans made so far, by the order of magnitude of the sizes.
    """

    __slots__ = ("start", "constants", "given", "steps", "outs", "costs")

    def __init__(self, jaxpr: Any) -> None:
        places: dict[Any, int] = {}
        self.start: list[Any] = []
        self.costs: dict[tuple, tuple[float, float]] = {}

        def place(atom: Any) -> int:
            if hasattr(atom, "val"):
                self.start.append(np.asarray(atom.val, atom.aval.dtype)[()])
                return len(self.start) - 1
            found = places.get(atom)
            if found is None:
                found = places[atom] = len(self.start)
                self.start.append(None)
            return found

        self.constants = [place(v) for v in jaxpr.constvars]
        self.given = [place(v) for v in jaxpr.invars]
        self.steps: list[tuple] = []
        for eqn in jaxpr.eqns:
            name, params = eqn.primitive.name, eqn.params
            if name not in _makers and name not in _rules:
                raise Missing(
                    f"the primitive {name} cannot be computed in a forked process; start the workers by "
                    "multiprocessing_context='forkserver' (or 'spawn'), whose processes have all operations"
                )
            moves = is_symbolic(params)
            run = None if moves or name in _makers else functools.partial(_rules[name], params)
            outs = tuple((place(v), getattr(v.aval, "dtype", None)) for v in eqn.outvars)
            self.steps.append((eqn, params, moves, run, tuple(map(place, eqn.invars)), outs))
        self.outs = [(place(v), getattr(v.aval, "dtype", None)) for v in jaxpr.outvars]


_drafts = functools.lru_cache(2048)(_Draft)


class _Building(threading.local):
    """exactly: whether the plan that this thread is making is to give what XLA gives to the bit."""

    exactly = False


_building = _Building()


class Plan:
    """A jaxpr as a list of steps over numbered places.

    cost: roughly the nanoseconds that :meth:`run` takes;  products: those of them that matrix products take, which XLA
    computes no quicker.  exactly: functions that NumPy rounds otherwise are XLA's.  Raises Missing if a primitive has
    no equivalent here.
    """

    def __init__(self, jaxpr: Any, constants: Sequence[Any] = (), exactly: bool = False) -> None:
        draft = _drafts(jaxpr) if is_bound() else _Draft(jaxpr)  # one for many sizes is filled again and again
        outer, _building.exactly = _building.exactly, exactly or _building.exactly  # also of what is within
        try:
            self._fill(draft, constants)
        finally:
            _building.exactly = outer

    def _fill(self, draft: _Draft, constants: Sequence[Any]) -> None:
        scale = magnitude()
        known = draft.costs.get(scale)
        self.start, self.given, self.outs = draft.start.copy(), draft.given, draft.outs
        self.constants = [np.asarray(x) for x in constants]
        for i, x in zip(draft.constants, self.constants, strict=True):
            self.start[i] = x
        self.steps: list[tuple] = []
        self.cost = self.products = 0.0
        for eqn, params, moves, run, ins, outs in draft.steps:
            name = eqn.primitive.name
            filled = bound(params) if moves else params
            if name in _makers:
                run, cost, products = _makers[name](filled)
            elif name in ROUNDED and _building.exactly:
                run = functools.partial(_by_xla, name)
            elif run is None:
                run = functools.partial(_rules[name], filled)
            if known is None:
                if name not in _makers:
                    cost, products = _price(name, eqn)
                self.cost += cost
                self.products += products
            self.steps.append((run, ins, outs, eqn.primitive.multiple_results))
        if known is None:
            draft.costs[scale] = self.cost, self.products
        else:
            self.cost, self.products = known

    def run(self, given: Sequence[Any]) -> list[np.ndarray]:
        env = self.start.copy()
        for i, x in zip(self.given, given, strict=True):
            env[i] = x
        for rule, ins, outs, several in self.steps:
            found = rule(*[env[i] for i in ins])
            # Numbers stay NumPy's scalars, which are quicker than arrays.
            for (i, dtype), x in zip(outs, found if several else (found,), strict=True):
                env[i] = x if dtype is None or x.dtype == dtype else np.asarray(x, dtype)
        return [np.asarray(env[i], dtype) for i, dtype in self.outs]


#: Functions of single elements that XLA and NumPy round differently.
ROUNDED = {"log", "log1p", "exp", "expm1", "erf_inv", "sin", "cos", "tan", "sqrt", "rsqrt"}


@functools.cache
def shape_matters() -> bool:
    """Whether XLA rounds those otherwise in arrays of another shape: that of JAX 0.12 does, in short rows."""
    import jax

    return jax.__version_info__ >= (0, 11)


#: Elements that XLA's functions are compiled for, at least; then for each power of two.
_LEAST = 256


@functools.cache
def _xla(name: str) -> Callable[[Any], Any]:
    import jax

    return jax.jit(getattr(jax.lax, name))


def _by_xla(name: str, x: Any) -> np.ndarray:
    """A function of single elements as XLA computes it, compiled for a few sizes only."""
    x = np.asarray(x)
    room = np.ones(max(_LEAST, 1 << (x.size - 1).bit_length()), x.dtype)
    room[: x.size] = x.reshape(-1)
    return np.asarray(_xla(name)(room))[: x.size].reshape(x.shape)


def _cost(name: str, eqn: Any) -> float:
    """Roughly the nanoseconds that a primitive takes."""
    return _price(name, eqn)[0]


def _price(name: str, eqn: Any) -> tuple[float, float]:
    """Roughly the nanoseconds that a primitive takes, and those of them that are a matrix product's."""
    shapes = [bound(v.aval.shape) for v in (*eqn.invars, *eqn.outvars) if hasattr(v.aval, "shape")]
    sizes = [math.prod(shape) for shape in shapes]
    if name == "dot_general":
        (left, _), _ = eqn.params["dimension_numbers"]
        taps = math.prod(shapes[0][d] for d in left)
        cost = 3000 + 0.25 * taps * sizes[-1] * (1 if eqn.outvars[0].aval.dtype.kind == "f" else 8)
        return cost, cost
    if name == "bcsr_dot_general":
        return 3000 + 4 * sizes[0] * shapes[3][-1], 0.0  # elements, columns
    if name == "conv_general_dilated":
        channels = shapes[-1][eqn.params["dimension_numbers"].out_spec[1]]
        products = 0.25 * sizes[-1] * sizes[1] / max(channels, 1)
        return 20_000 + products * (1 + 8 / max(channels, 1)), products  # the image's windows are written out
    return 1500 + max(sizes, default=0) * (30 if name in _SLOW else 2), 0.0


_SLOW = {"sort", "top_k", "cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "pow"}

_inner = functools.lru_cache(2048)(Plan)  # jaxprs within jaxprs are often the same


def _plan_of(closed: Any) -> Plan:
    if is_bound() or _building.exactly:
        return Plan(getattr(closed, "jaxpr", closed), getattr(closed, "consts", ()))
    if not hasattr(closed, "consts"):
        return _inner(closed)
    return Plan(closed.jaxpr, closed.consts) if closed.consts else _inner(closed.jaxpr)


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        _rules.update(dict.fromkeys(names, rule))
        return rule

    return register


def _maker(*names: str) -> Callable[[Any], Any]:
    def register(maker: Any) -> Any:
        _makers.update(dict.fromkeys(names, maker))
        return maker

    return register


# -- element by element ---------------------------------------------------------------------------------------------


def _plain(names: str, function: Callable[..., Any]) -> None:
    for name in names.split():
        _rules[name] = lambda params, *xs: function(*xs)


for _name in ("sin cos tan sinh cosh tanh exp exp2 log log2 log1p expm1 sqrt cbrt floor ceil square real imag conj "
              "atan2 nextafter").split():  # fmt: skip
    _plain(_name, getattr(np, {"atan2": "arctan2"}.get(_name, _name)))
for _name in "asin acos atan asinh acosh atanh".split():
    _plain(_name, getattr(np, "arc" + _name[1:]))
_plain("sign", lambda x: np.where(x == 0, x, np.sign(x)) if x.dtype.kind not in "biu" else np.sign(x))  # keeps -0.0
_plain("neg", np.negative)
_plain("abs", np.abs)
_plain("not", np.invert)
_plain("is_finite", np.isfinite)
_plain("rsqrt", lambda x: 1 / np.sqrt(x))
_plain("one_minus_square", lambda x: 1 - x * x)
_plain("polynomial", lambda x, *cs: functools.reduce(lambda y, c: y * x + c, cs[::-1]))  # from the constant upwards
_plain("add add_any", np.add)
_plain("sub", np.subtract)
_plain("mul", np.multiply)
_plain("max", np.maximum)
_plain("min", np.minimum)
_plain("and", np.bitwise_and)
_plain("or", np.bitwise_or)
_plain("xor", np.bitwise_xor)
_plain("eq eq_to", np.equal)
_plain("ne", np.not_equal)
_plain("lt lt_to", np.less)
_plain("le le_to", np.less_equal)
_plain("gt", np.greater)
_plain("ge", np.greater_equal)
_plain("complex", lambda re, im: re + 1j * im)
_plain("copy copy_p stop_gradient name sharding_constraint", lambda x: x)
_plain("population_count", lambda x: np.bitwise_count(_bits(x)))
_plain("clamp", lambda low, x, high: np.minimum(np.maximum(x, low), high))


def _within(x: np.ndarray, n: np.ndarray) -> bool | np.ndarray:
    """Where a shift is by no more bits than there are; True if that holds for all."""
    width = x.dtype.itemsize * 8
    return 0 <= n < width if n.ndim == 0 else _bits(n) < width


@_rule("shift_left")
def _shift_left(params: dict, x: np.ndarray, n: np.ndarray) -> Any:
    inside = _within(x, n)
    return np.left_shift(x, n) if inside is True else np.where(inside, np.left_shift(x, n), 0)


@_rule("shift_right_logical")
def _shift_right_logical(params: dict, x: np.ndarray, n: np.ndarray) -> Any:
    inside = _within(x, n)
    out = np.right_shift(x, n) if x.dtype.kind == "u" else np.right_shift(_bits(x), _bits(n)).view(x.dtype)
    return out if inside is True else np.where(inside, out, 0)


@_rule("shift_right_arithmetic")
def _shift_right_arithmetic(params: dict, x: np.ndarray, n: np.ndarray) -> Any:
    inside = _within(x, n)
    return np.right_shift(x, n if inside is True else np.where(inside, n, x.dtype.itemsize * 8 - 1))


def _bits(x: np.ndarray) -> np.ndarray:
    return x.view(f"u{x.dtype.itemsize}")


@_rule("logistic")
def _logistic(params: dict, x: np.ndarray) -> Any:
    if x.dtype.kind == "c":
        return 1 / (1 + np.exp(-x))
    small = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1, small) / (1 + small)


@_rule("div")
def _div(params: dict, x: np.ndarray, y: np.ndarray) -> Any:
    if x.dtype.kind not in "iu":
        return np.divide(x, y)
    safe = np.where(y == 0, y.dtype.type(1), y)
    quotient = x // safe
    if x.dtype.kind == "i":  # towards zero
        quotient = quotient + ((quotient * safe != x) & ((x < 0) != (safe < 0)))
    return np.where(y == 0, ~x.dtype.type(0), quotient)


@_rule("rem")
def _rem(params: dict, x: np.ndarray, y: np.ndarray) -> Any:
    if x.dtype.kind not in "iu":
        return np.fmod(x, y)
    return np.where(y == 0, x, np.fmod(x, np.where(y == 0, y.dtype.type(1), y)))


@_rule("round")
def _round(params: dict, x: np.ndarray) -> Any:
    if params["rounding_method"] == 1:
        return np.round(x)
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.sign(x), whole)


@_rule("pow")
def _pow(params: dict, x: np.ndarray, y: np.ndarray) -> Any:
    if x.dtype.kind not in "iu":
        return np.power(x, y)
    if y.dtype.kind == "i" and (y < 0).any():  # NumPy refuses
        raise Missing("whole numbers to negative powers")
    return np.power(x, y)


@_rule("integer_pow")
def _integer_pow(params: dict, x: np.ndarray) -> Any:
    n = params["y"]
    power, out, left = x, None, abs(n)
    while left:  # in XLA's order
        if left & 1:
            out = power if out is None else out * power
        left >>= 1
        if left:
            power = power * power
    if out is None:
        return np.ones_like(x)
    return out if n > 0 else 1 / out


@_rule("convert_element_type")
def _convert(params: dict, x: np.ndarray) -> Any:
    dtype = np.dtype(params["new_dtype"])
    if dtype.kind in "iu" and x.dtype.kind not in "iub":  # XLA saturates, and makes nan 0
        info = np.iinfo(dtype)
        x = np.nan_to_num(x.astype(np.float64), nan=0.0, posinf=info.max, neginf=info.min)
        inside = (x > info.min) & (x < info.max)
        beyond = np.where(x > 0, dtype.type(info.max), dtype.type(info.min))
        return np.where(inside, np.where(inside, x, 0).astype(dtype), beyond)
    if x.dtype.kind == "c" and dtype.kind != "c":
        x = x.real
    return x.astype(dtype)


@_rule("bitcast_convert_type")
def _bitcast(params: dict, x: np.ndarray) -> Any:
    dtype = np.dtype(params["new_dtype"])
    if dtype.itemsize == x.dtype.itemsize:
        return x.view(dtype)
    if dtype.itemsize > x.dtype.itemsize:
        return np.ascontiguousarray(x).view(dtype)[..., 0]
    return np.ascontiguousarray(x)[..., None].view(dtype)


@_rule("reduce_precision")
def _reduce_precision(params: dict, x: np.ndarray) -> Any:
    import ml_dtypes

    kinds = {(5, 10): np.float16, (8, 7): ml_dtypes.bfloat16, (8, 23): np.float32, (11, 52): np.float64}
    key = params["exponent_bits"], params["mantissa_bits"]
    if key not in kinds:
        raise Missing(f"reduce_precision to {key} bits in a forked process")
    return x.astype(kinds[key])


def _special(name: str, theirs: str) -> None:
    def rule(params: dict, *xs: np.ndarray) -> Any:
        import scipy.special

        wide = [x.astype(np.float32) if x.dtype.itemsize < 4 else x for x in xs]
        return getattr(scipy.special, theirs)(*wide)

    _rules[name] = rule


for _name, _theirs in {
    "erf": "erf", "erfc": "erfc", "erf_inv": "erfinv", "lgamma": "gammaln", "digamma": "digamma", "igamma": "gammainc",
    "igammac": "gammaincc", "bessel_i0e": "i0e", "bessel_i1e": "i1e", "zeta": "zeta",
}.items():  # fmt: skip
    _special(_name, _theirs)


_gammaln, _psi = _rules["lgamma"], _rules["digamma"]
_rules["lgamma"] = lambda params, x: np.where(np.isinf(x), np.inf, _gammaln(params, x))
_rules["digamma"] = lambda params, x: np.where(x == 0, np.nan, _psi(params, x))


@_rule("select_n")
def _select_n(params: dict, which: np.ndarray, *cases: np.ndarray) -> Any:
    if len(cases) == 2:
        return np.where(which, cases[1], cases[0])
    return np.choose(which, cases)


# -- shapes ---------------------------------------------------------------------------------------------------------


@_rule("broadcast_in_dim")
def _broadcast_in_dim(params: dict, x: np.ndarray, *dynamic: Any) -> Any:
    shape, dims = params["shape"], params["broadcast_dimensions"]
    lifted = [1] * len(shape)
    for d, n in zip(dims, x.shape, strict=True):
        lifted[d] = n
    return np.broadcast_to(x.reshape(lifted), shape)


@_rule("reshape")
def _reshape(params: dict, x: np.ndarray, *dynamic: Any) -> Any:
    if params.get("dimensions") is not None:
        x = x.transpose(params["dimensions"])
    return x.reshape(params["new_sizes"])


_rules["squeeze"] = lambda params, x: np.squeeze(x, tuple(params["dimensions"]))
_rules["expand_dims"] = lambda params, x: np.expand_dims(x, tuple(params["dimensions"]))
_rules["transpose"] = lambda params, x: x.transpose(params["permutation"])
_rules["rev"] = lambda params, x: np.flip(x, tuple(params["dimensions"]))
_rules["empty"] = lambda params: np.zeros(params["shape"], params["dtype"])
_rules["empty2"] = lambda params: np.zeros((), params["dtype"])
_rules["unstack"] = lambda params, x: list(np.moveaxis(x, params["axis"], 0))
_rules["dim_as_value"] = lambda params: np.asarray(params["dim"])
_rules["tile"] = lambda params, x: np.tile(x, params["reps"])
_rules["stack"] = lambda params, *xs: np.stack(xs, params["axis"])
_rules["device_put"] = _rules["optimization_barrier"] = lambda params, *xs: xs
_rules["concatenate"] = lambda params, *xs: np.concatenate(xs, params["dimension"])
_rules["split"] = lambda params, x: np.split(x, np.cumsum(params["sizes"])[:-1], params["axis"])


@_rule("slice")
def _slice(params: dict, x: np.ndarray) -> Any:
    steps = params["strides"] or (1,) * x.ndim
    return x[tuple(map(slice, params["start_indices"], params["limit_indices"], steps))]


@_rule("pad")
def _pad(params: dict, x: np.ndarray, fill: np.ndarray) -> Any:
    config = params["padding_config"]
    spread = [n + max(n - 1, 0) * inner for n, (_, _, inner) in zip(x.shape, config, strict=True)]
    out = np.full([n + low + high for n, (low, high, _) in zip(spread, config, strict=True)], fill, x.dtype)
    target, source = [], []
    for n, size, (low, _, inner) in zip(x.shape, out.shape, config, strict=True):
        step = inner + 1
        first = max(-(low // step) if low < 0 else 0, 0)  # elements that negative padding cuts off
        last = min(n, max(-(-(size - low) // step), 0))
        source.append(slice(first, max(last, first)))
        start = low + first * step
        target.append(slice(start, start + max(last - first, 0) * step, step))
    if all(s.stop > s.start for s in source):
        out[tuple(target)] = x[tuple(source)]
    return out


@_rule("iota")
def _iota(params: dict, *dynamic: Any) -> Any:
    shape, d = params["shape"], params["dimension"]
    line = np.arange(shape[d]).astype(params["dtype"])
    return np.broadcast_to(line.reshape([-1 if k == d else 1 for k in range(len(shape))]), shape)


def _starts(indices: Sequence[np.ndarray], sizes: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    starts = [min(max(int(i), 0), n - s) for i, s, n in zip(indices, sizes, shape, strict=True)]
    return tuple(slice(i, i + s) for i, s in zip(starts, sizes, strict=True))


_rules["dynamic_slice"] = lambda params, x, *at: x[_starts(at, params["slice_sizes"], x.shape)]


@_rule("dynamic_update_slice")
def _dynamic_update_slice(params: dict, x: np.ndarray, update: np.ndarray, *at: np.ndarray) -> Any:
    out = np.array(x)
    out[_starts(at, update.shape, x.shape)] = update
    return out


# -- reductions, orders, products -----------------------------------------------------------------------------------


def _reduce(name: str, function: Callable[..., Any]) -> None:
    _rules[name] = lambda params, x: function(x, axis=tuple(params["axes"]))


def _sum(x: np.ndarray, axis: tuple) -> Any:
    narrow = x.dtype.kind not in "biufc" or x.dtype.itemsize < 4
    return x.sum(axis, dtype=np.float32 if narrow and x.dtype.kind not in "biu" else x.dtype)


def _initial(x: np.ndarray, extreme: Callable[[np.dtype], Any]) -> dict:
    return {} if x.size else {"initial": extreme(x.dtype)}


_reduce("reduce_sum", _sum)
_rules[SUMS] = lambda params, *arrays: [_sum(x, tuple(params["axes"])) for x in arrays]
_reduce("reduce_prod", lambda x, axis: np.multiply.reduce(x, axis=axis, dtype=x.dtype))
_reduce("reduce_max", lambda x, axis: np.maximum.reduce(x, axis=axis, **_initial(x, _lowest)))
_reduce("reduce_min", lambda x, axis: np.minimum.reduce(x, axis=axis, **_initial(x, _highest)))
_reduce("reduce_and", np.bitwise_and.reduce)
_reduce("reduce_or", np.bitwise_or.reduce)
_reduce("reduce_xor", np.bitwise_xor.reduce)
_rules["argmax"] = lambda params, x: np.argmax(x, params["axes"][0])
_rules["argmin"] = lambda params, x: np.argmin(x, params["axes"][0])


def _cumulative(name: str, ufunc: Any) -> None:
    def rule(params: dict, x: np.ndarray) -> Any:
        axis = params["axis"]
        if params["reverse"]:
            return np.flip(ufunc.accumulate(np.flip(x, axis), axis=axis, dtype=x.dtype), axis)
        return ufunc.accumulate(x, axis=axis, dtype=x.dtype)

    _rules[name] = rule


_cumulative("cumsum", np.add)
_cumulative("cumprod", np.multiply)
_cumulative("cummax", np.maximum)
_cumulative("cummin", np.minimum)
_cumulative("cumlogsumexp", np.logaddexp)


@_rule("sort")
def _sort(params: dict, *xs: np.ndarray) -> Any:
    axis, keys = params["dimension"], params["num_keys"]
    order = np.lexsort(xs[:keys][::-1], axis=axis) if keys > 1 else np.argsort(xs[0], axis=axis, kind="stable")
    return [np.take_along_axis(x, order, axis) for x in xs]


@_rule("top_k")
def _top_k(params: dict, x: np.ndarray) -> Any:
    axis = params.get("axis", -1) % x.ndim
    flipped = np.flip(x, axis)
    order = x.shape[axis] - 1 - np.flip(np.argsort(flipped, axis=axis, kind="stable"), axis)
    order = np.take(order, range(params["k"]), axis)
    return [np.take_along_axis(x, order, axis), order]


def _product_dtype(params: dict, *xs: np.ndarray) -> Any:
    """What a product is computed in: as asked, but no narrower than float32."""
    asked = params.get("preferred_element_type")
    dtype = functools.reduce(_wider, [*(x.dtype for x in xs), *([np.dtype(asked)] if asked is not None else [])])
    return np.dtype(np.float32) if dtype.itemsize < 4 and dtype.kind not in "biu" else dtype


def _wider(a: np.dtype, b: np.dtype) -> np.dtype:
    kinds = "b iu f c"
    rank_a, rank_b = (kinds.find("f" if d.kind == "V" else d.kind) for d in (a, b))
    return a if (rank_a, a.itemsize) >= (rank_b, b.itemsize) else b


@_rule("dot_general")
def _dot_general(params: dict, x: np.ndarray, y: np.ndarray) -> Any:
    (cx, cy), (bx, by) = params["dimension_numbers"]
    dtype = _product_dtype(params, x, y)
    x, y = x.astype(dtype, copy=False), y.astype(dtype, copy=False)
    fx = [d for d in range(x.ndim) if d not in (*cx, *bx)]
    fy = [d for d in range(y.ndim) if d not in (*cy, *by)]
    inner = math.prod(x.shape[d] for d in cx)
    batch = [x.shape[d] for d in bx]
    left = x.transpose(*bx, *fx, *cx).reshape(*batch, math.prod([x.shape[d] for d in fx]), inner)
    right = y.transpose(*by, *cy, *fy).reshape(*batch, inner, math.prod([y.shape[d] for d in fy]))
    return _matmul(left, right).reshape((*batch, *(x.shape[d] for d in fx), *(y.shape[d] for d in fy)))


#: Multiply-adds of a product up to which OpenBLAS stays in one thread.
_ONE_THREAD = 1 << 18


def _matmul(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``x @ y``; moderate ones by rows, as OpenBLAS's threads can wait for milliseconds beside XLA's."""
    rows = _ONE_THREAD // max(y.size, 1)
    if x.ndim != 2 or not 4 <= rows < len(x) or len(x) > 64 * rows:
        return x @ y
    out = np.empty((len(x), y.shape[1]), x.dtype)
    for i in range(0, len(x), rows):
        np.matmul(x[i : i + rows], y, out=out[i : i + rows])
    return out


def _strided(x: np.ndarray, window: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> np.ndarray:
    """Windows over the last dims of ``x``: their places, then their elements."""
    k = len(window)
    reach = [(w - 1) * d + 1 for w, d in zip(window, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, reach, tuple(range(x.ndim - k, x.ndim)))
    lead = (slice(None),) * (x.ndim - k)
    return view[(*lead, *(slice(None, None, s) for s in strides), *(slice(None, None, d) for d in dilation))]


#: Elements of an image's windows that are written out at a time.
_WINDOWS = 1 << 22


@_rule("conv_general_dilated")
def _conv(params: dict, x: np.ndarray, w: np.ndarray) -> Any:
    dn, groups = params["dimension_numbers"], params["feature_group_count"]
    if params["batch_group_count"] != 1:
        raise Missing("convolutions in batch groups cannot be computed in a forked process")
    dtype = _product_dtype(params, x, w)
    x, w = x.astype(dtype, copy=False), w.astype(dtype, copy=False)
    x, w = x.transpose(dn.lhs_spec), w.transpose(dn.rhs_spec)
    pads = [(low, high, step - 1) for (low, high), step in zip(params["padding"], params["lhs_dilation"], strict=True)]
    x = _pad({"padding_config": [(0, 0, 0), (0, 0, 0), *pads]}, x, np.zeros((), x.dtype))
    view = _strided(x, w.shape[2:], params["window_strides"], params["rhs_dilation"])
    k = w.ndim - 2
    n, places = view.shape[0], view.shape[2 : 2 + k]
    taps = math.prod(w.shape[1:])
    view = view.reshape(n, groups, view.shape[1] // groups, *view.shape[2:])  # n, g, c/g, places, taps
    kernel = w.reshape(groups, w.shape[0] // groups, taps).transpose(0, 2, 1)

    def some(view: np.ndarray) -> np.ndarray:
        places = view.shape[3 : 3 + k]
        rows = np.moveaxis(view, 2, 2 + k).reshape(len(view), groups, math.prod(places), taps)
        return np.moveaxis(rows @ kernel, 2, 3).reshape(len(view), w.shape[0], *places)

    largest = max(places[0] * _WINDOWS // max(math.prod(places) * groups * taps, 1), 1)  # rows of places in a portion
    if n * places[0] <= largest:
        return some(view).transpose(np.argsort(dn.out_spec))
    out = np.empty((n, w.shape[0], *places), dtype)
    for i in range(n):
        for first in range(0, places[0], largest):
            part = slice(first, first + largest)
            out[i : i + 1, :, part] = some(view[i : i + 1, :, :, part])
    return out.transpose(np.argsort(dn.out_spec))


def _window_reduce(name: str, function: Callable[..., Any], empty: Callable[[np.dtype], Any]) -> None:
    def rule(params: dict, x: np.ndarray) -> Any:
        pads = [(low, high, b - 1) for (low, high), b in zip(params["padding"], params["base_dilation"], strict=True)]
        x = _pad({"padding_config": pads}, x, np.asarray(empty(x.dtype), x.dtype))
        view = _strided(x, params["window_dimensions"], params["window_strides"], params["window_dilation"])
        return function(view, axis=tuple(range(x.ndim, 2 * x.ndim)))

    _rules[name] = rule


def _lowest(dtype: np.dtype) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else False if dtype.kind == "b" else -np.inf


def _highest(dtype: np.dtype) -> Any:
    return np.iinfo(dtype).max if dtype.kind in "iu" else True if dtype.kind == "b" else np.inf


_window_reduce("reduce_window_sum", _sum, lambda dtype: 0)
_window_reduce("reduce_window_max", np.maximum.reduce, _lowest)
_window_reduce("reduce_window_min", np.minimum.reduce, _highest)


# -- control --------------------------------------------------------------------------------------------------------


@_maker(*CALLS - _MAPS)
def _call(params: dict) -> tuple[Rule, float, float]:
    plan = _plan_of(next(params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in params))
    return (lambda *args: plan.run(args)), plan.cost, plan.products


@_maker(*_MAPS)
def _single(params: dict) -> tuple[Rule, float, float]:
    plan = _plan_of(params["jaxpr"])
    return (lambda *args: plan.run(args)[0]), plan.cost, plan.products


@_maker("cond")
def _cond(params: dict) -> tuple[Rule, float, float]:
    plans = [_plan_of(b) for b in params["branches"]]
    last = len(plans) - 1
    dearest = max(plans, key=lambda plan: plan.cost)
    return (lambda which, *args: plans[min(max(int(which), 0), last)].run(args)), dearest.cost, dearest.products


@_rule("platform_index")
def _platform_index(params: dict) -> Any:
    platforms = params["platforms"]
    return np.int32(next(i for i, names in enumerate(platforms) if names is None or "cpu" in names))


@_maker("while")
def _while(params: dict) -> tuple[Rule, float, float]:
    nc, nb = params["cond_nconsts"], params["body_nconsts"]
    condition, body = _plan_of(params["cond_jaxpr"]), _plan_of(params["body_jaxpr"])

    def run(*args: np.ndarray) -> Any:
        first, second, carry = args[:nc], args[nc : nc + nb], args[nc + nb :]
        while condition.run([*first, *carry])[0]:
            carry = body.run([*second, *carry])
        return carry

    return run, 100 * (condition.cost + body.cost), 0.0  # how often is not known


def scanned(params: dict) -> tuple[int, int]:
    """How many constants a scan takes, and how many arrays it carries."""
    if "ft_in" in params:  # JAX 0.12: constants, carry, and what is scanned
        constants, carry, _ = params["ft_in"].unpack()
        return len(constants), len(carry)
    return params["num_consts"], params["num_carry"]


@_maker("scan")
def _scan(params: dict) -> tuple[Rule, float, float]:
    (nc, nk), n = scanned(params), params["length"]
    stacked, plan = [(bound(a.shape), a.dtype) for a in params["jaxpr"].out_avals[nk:]], _plan_of(params["jaxpr"])
    order = range(n - 1, -1, -1) if params["reverse"] else range(n)

    def run(*args: np.ndarray) -> Any:
        constants, carry, xs = args[:nc], args[nc : nc + nk], args[nc + nk :]
        ys = [np.empty((n, *shape), dtype) for shape, dtype in stacked]
        for i in order:
            outs = plan.run([*constants, *carry, *[x[i] for x in xs]])
            carry = outs[:nk]
            for y, o in zip(ys, outs[nk:], strict=True):
                y[i] = o
        return [*carry, *ys]

    return run, n * plan.cost, n * plan.products
