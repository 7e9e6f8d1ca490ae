"""The one table of operators, and the decorator that enters a function into it.

An operator is a pure function on JAX arrays whose annotations say what its parameters are; from the entry come the
functions, methods, in-place and ``out=`` forms (``tensor/_wrap.py``), the recording key and the promotion of dtypes.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ..engine import Op, current_mode, current_platform
from ..engine.errors import unchecked
from ..engine.op import Lifted, Moved
from ._autocast import FLOAT32, LOWER, PROMOTE, REFUSE, RESULT, policies
from ._dtypes import type_name
from ._random import Draws
from ._shapes import Rule, elementwise, shown


class Array:
    """Parameter kind: a tensor."""


class Arrays:
    """Parameter kind: a sequence of tensors."""


class Operand:
    """Parameter kind: a tensor or a Python number."""


class Scalar:
    """Parameter kind: a Python number that may vary without a compilation."""


class Scalars:
    """Parameter kind: a sequence of such numbers."""


class Sizes:
    """Parameter kind: integers, one by one or as a sequence."""


class Key:
    """Parameter kind: the random key ``(seed, offset)``; callers pass ``generator`` instead."""


#: Annotation of static dtype parameters.
DType = np.dtype

_KINDS = {k.__name__: k for k in (Array, Arrays, Operand, Scalar, Scalars, Sizes, Key)}
EMPTY = inspect.Parameter.empty


class Param(NamedTuple):
    """One parameter: its kind (None: a static value), whether None is allowed for a dynamic one, its default.

    plain: int or bool for a static value that is nothing else, but for None.
    whole: whether a static value is a dim or a number of elements, which floats and bools are refused for.
    """

    name: str
    kind: type | None
    optional: bool
    default: Any
    keyword_only: bool
    plain: type | None
    whole: bool


class ViewRule(NamedTuple):
    """How to write through a view: ``put(base, new, **arguments)`` is base with the shown part replaced; or None.

    once: whether each element is shown once at most, and NumPy's view is one of memory, whatever the arguments.
    """

    put: Callable[..., Any] | None
    once: bool


def view_rule(put: Callable[..., Any] | None = None, once: bool = False) -> ViewRule:
    return ViewRule(put, once)


_WHOLE = frozenset(("dim", "dims", "dim0", "dim1", "dim2", "k", "diagonal", "start_dim", "end_dim"))


def _is_whole(p: inspect.Parameter) -> bool:
    return p.name in _WHOLE and p.annotation not in (float, "float")  # some formula's k is a number as any other


def _kind(annotation: Any) -> tuple[type | None, bool]:
    if annotation is EMPTY:
        return None, False
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    parts = [p.strip().rsplit(".", 1)[-1].rstrip("'>") for p in text.split("|")]
    found = [_KINDS[p] for p in parts if p in _KINDS]
    return (found[0] if found else None), "None" in parts or "NoneType" in parts


_PLAIN = {"int": int, "bool": bool}


def _plain_kind(annotation: Any) -> type | None:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return _PLAIN.get(text.removesuffix(" | None"))


def _binder(params: tuple[Param, ...]) -> Callable[[tuple, tuple, bool], dict[str, Any]]:
    """:meth:`OpDef.bind` for these parameters, written out: it is on the way of every view that NumPy makes."""
    lines, items = [], []
    fixed = taken = 0
    start = ""  # what the sequences so far have taken, as source
    for k, p in enumerate(params):
        if p.kind is None or p.kind is Sizes:
            items.append(f"{p.name!r}: static[{fixed}]")
            fixed += 1
        elif p.kind is Arrays or p.kind is Scalars:
            lines.append(f"n{k} = static[{fixed}]")
            items.append(f"{p.name!r}: None if n{k} is None else tuple(args[{taken}{start}:{taken}{start} + n{k}])")
            start += f" + (n{k} or 0)"
            fixed += 1
        elif p.kind is Key:
            items.append(f"{p.name!r}: key(args) if unsigned else None")
        else:
            items.append(f"{p.name!r}: args[{taken}{start}]")
            taken += 1
    lines.append(f"return {{{', '.join(items)}}}")
    scope: dict[str, Any] = {"key": _key_of}
    exec("def bind(static, args, unsigned):\n    " + "\n    ".join(lines), scope)
    return scope["bind"]


def _key_of(args: tuple) -> Any:
    """The key of a random operation: its last arguments."""
    return args[-1] if type(args[-1]) is Draws else tuple([_unsigned(a) for a in args[-2:]])


class OpDef:
    """An entry of the table.  ``fn`` is the body; the rest is what :func:`op` was told."""

    def __init__(self, fn: Callable[..., Any], **told: Any) -> None:
        self.fn = fn
        self.name: str = told["name"] or fn.__name__.rstrip("_")
        spaces = told["namespace"]
        self.namespaces: tuple[str, ...] = (spaces,) if isinstance(spaces, str) else tuple(spaces or ())
        method = told["method"]
        self.method: bool = ("torch" in self.namespaces) if method is None else method
        self.function: bool = told["function"] and bool(self.namespaces)
        self.inplace: bool = told["inplace"]
        self.out: bool = told["out"] and told["view"] is None
        self.aliases: tuple[str, ...] = tuple(told["aliases"])
        self.promote: str | None = told["promote"]
        self.returns: tuple[str, ...] | None = told["returns"]
        self.view: ViewRule | None = told["view"]
        self.autocast = policies(self.name, self.namespaces)
        self.parse: Callable[..., Any] | None = told["parse"]
        self.precheck: Callable[[dict], None] | None = told["precheck"]
        self.host: Callable[..., Any] | None = told["host"]
        self.given: Callable[..., None] | None = told["given"]
        self.idle: str | None = told["idle"]
        #: whether, for metas of the arrays taken, dims lie in memory in the order of those of the first
        self.lies: Callable[..., bool] | None = told["lies"]
        #: when arguments are deprecated or hardly meant, as Python on their names or a function of some of them, and
        #: the warning, which may name them in braces; given where the call is made, with ``ONCE`` once in a process
        self.deprecated: Any = told["deprecated"]
        self.signature = inspect.signature(fn)
        self.params = tuple(
            Param(
                p.name, *_kind(p.annotation), p.default, p.kind is inspect.Parameter.KEYWORD_ONLY,
                # functions of ``nn.functional`` are Python's in PyTorch, and take what is true for True
                _plain_kind(p.annotation) if self.namespaces != ("nn.functional",) else None, _is_whole(p),
            )
            for p in self.signature.parameters.values()  # fmt: skip
        )
        self.random = any(p.kind is Key for p in self.params)
        self._drawn: dict[tuple[int, bool], Op] = {}
        self._bind: Callable[[tuple, tuple, bool], dict[str, Any]] | None = None
        #: whether the first argument is compared with elements taken from it, see ``engine.stored``
        self.exact: bool = told["exact"]
        #: False where the results are the same bits whatever computes them: truth values, or elements of what is given
        self.rounds: bool = told["rounds"]
        #: whether it is a sum, whose small constants are kept apart from others, see ``_apart``
        self.sums: bool = told["sums"]
        #: the losses that took ``size_average`` and ``reduce`` before ``reduction``, which is keyword-only in the body
        self.old_reduction = any(p.name == "reduction" and p.keyword_only for p in self.params)
        self.factory = not any(p.kind in (Array, Arrays, Operand) and not p.optional for p in self.params)
        flags = {
            "differentiable": told["differentiable"],
            "saves": told["saves"] and told["view"] is None,
            "info": self,
            "heavy": told["heavy"],
            "joins": any(p.kind is Arrays for p in self.params),
            "varies": told["varies"],
            "scales": told["scales"],
        }
        #: the shapes of the results, see ``_shapes``
        self.shapes: Rule | None = told["shapes"] if self.view is None else shown(fn)
        self.op = Op(self.name, self._call, **flags)
        self.op_inplace = None
        if self.inplace:
            self.op_inplace = Op(self.name + "_", self._call_inplace, inplace=1, leaf=True, **flags)
            self.op_inplace.parts = told["parts"]
        # the same without its data checks, for arguments that were looked at on the host
        self.op_safe = Op(self.name, self._call_safe, **flags) if self.precheck is not None else self.op
        self.op_inplace_safe = self.op_inplace
        if self.inplace and self.precheck is not None:
            self.op_inplace_safe = Op(self.name + "_", self._call_inplace_safe, inplace=1, leaf=True, **flags)
        if told["images"]:
            for each in {self.op, self.op_safe}:
                call = self._call if each is self.op else self._call_safe
                moved = Op(self.name, functools.partial(_on_moved, call), **flags)
                each.moved = Moved(moved, None if told["images"] is True else told["images"])
        if self.shapes is not None:
            self._foresee()
        if self.view is not None and self.view.once:
            self.op.part = self._part
        self.op_put = None
        if self.view is not None and self.view.put is not None:
            self.op_put = Op(self.name + "_put", self._call_put, saves=False, info=self)

    def elementwise(self) -> None:
        """Declare that each element of the result comes of the same element of every argument."""
        for each in {self.op, self.op_safe, self.op_inplace, self.op_inplace_safe} - {None}:
            each.moved = Moved(each, None)
        self.shapes = elementwise
        self._foresee()

    def _foresee(self) -> None:
        for each in {self.op, self.op_safe, self.op_inplace, self.op_inplace_safe} - {None}:
            each.shapes = self._shapes
            each.measures = self.view is not None or self.factory

    def _shapes(self, static: tuple, args: tuple) -> tuple | None:
        """The shapes of the results of a call, if the rule tells; ``args`` with metas for arrays."""
        return self.shapes(**self.bind(static, args, unsigned=False))  # type: ignore[misc]

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.fn) or ""

    def __repr__(self) -> str:
        return f"<operator {self.name}>"

    def factory_place(self, static: tuple) -> Any:
        """The device that a factory was asked for: its wrapper adds it to the static arguments."""
        return static[-1] if self.factory else None

    # ---- evaluation: run while JAX traces --------------------------------------------------------------------

    def bind(self, static: tuple, args: tuple, unsigned: bool = True) -> dict[str, Any]:
        """Arguments of the body, by name, out of a recorded call; see ``tensor/_wrap.py`` for the layout."""
        bind = self._bind
        if bind is None:
            bind = self._bind = _binder(self.params)
        return bind(static, args, unsigned)

    def _call(self, static: tuple, args: tuple) -> Any:
        bound = self.bind(static, args)
        lower = self._convert(bound)
        out = self.fn(**bound)
        return out if lower is None else out.astype(lower)

    def drawn(self, count: int, inplace: bool) -> Op:
        """The operation on ``count`` arrays of numbers that have been drawn, in place of a key: the last arguments."""
        found = self._drawn.get((count, inplace))
        if found is None:
            call = self._call_inplace if inplace else self._call

            def on_draws(static: tuple, args: tuple) -> Any:
                return call(static, (*args[:-count], Draws(args[-count:])))

            own = self.op_inplace if inplace else self.op
            more = {"inplace": 1, "leaf": True} if inplace else {}
            found = Op(own.name, on_draws, differentiable=own.differentiable, saves=True, info=self, **more)
            self._drawn[count, inplace] = found
        return found

    def _part(self, static: tuple, args: tuple) -> Any:
        """The view of a NumPy array, in its memory."""
        return self.fn(**self.bind(static, args, unsigned=False))

    def _call_inplace(self, static: tuple, args: tuple) -> Any:
        bound = self.bind(static, args)
        first = self.params[0].name
        target = bound[first]
        self._convert(bound, autocast=False)
        out = self.fn(**bound)
        if isinstance(out, tuple):
            out = out[0]
        if out.shape != target.shape:
            raise RuntimeError(
                f"output with shape {list(target.shape)} doesn't match the broadcast shape {list(out.shape)} "
                f"({self.name}_)"
            )
        if target.dtype.kind == "c" and out.dtype.kind == "f":
            raise RuntimeError(f"In-place {self.name} is not supported for complex tensors.")
        return cast_result(self.name + "_", out, target.dtype)

    def _call_safe(self, static: tuple, args: tuple) -> Any:
        with unchecked():
            return self._call(static, args)

    def _call_inplace_safe(self, static: tuple, args: tuple) -> Any:
        with unchecked():
            return self._call_inplace(static, args)

    def _call_put(self, static: tuple, args: tuple) -> Any:
        new = args[1]
        bound = self.bind(static, (args[0], *args[2:]))
        base = bound.pop(self.params[0].name)
        for p in self.params:
            if p.kind is Scalars and bound[p.name] is not None:
                bound[p.name] = tuple(_plain(x, None) for x in bound[p.name])
            elif p.kind is Scalar:
                bound[p.name] = _plain(bound[p.name], base)
        return self.view.put(base, new, **bound)  # type: ignore[union-attr, misc]

    def _convert(self, bound: dict[str, Any], autocast: bool = True) -> np.dtype | None:
        """Autocast, promote and unwrap numbers, in place; the dtype that autocast wants the result in, if any."""
        dynamic = [p for p in self.params if p.kind in (Array, Operand, Arrays)]
        result = None
        if self.given is not None:
            self.given(*[bound[p.name] for p in dynamic])
        if autocast and self.autocast is not None and current_mode().autocast is not None:
            result = self._autocast(bound, dynamic)
        arrays = _flat(bound[p.name] for p in dynamic)
        # numbers follow the first array that holds values: in ``where`` not the condition
        held = [a for a in arrays if _is_array(a)]
        first = next((a for a in held if a.dtype != np.bool_), held[0] if held else None)
        target = None
        if self.promote is not None and arrays:
            target = result_type(*[a for a in arrays if a is not None])
            if self.promote == "float" and target.kind in "biu":
                target = default_float()
        for p in dynamic:
            value = bound[p.name]
            if p.kind is Arrays:
                bound[p.name] = None if value is None else tuple(_cast(a, target, first) for a in value)
            elif value is not None:
                bound[p.name] = _cast(value, target, first)
                if self.sums and type(value) is float and 0 < abs(value) < 1:
                    bound[p.name] = _apart(bound[p.name])
        lead = next((a for a in _flat(bound[p.name] for p in dynamic) if _is_array(a)), None)
        for p in self.params:
            value = bound[p.name]
            if p.kind is Scalar:
                bound[p.name] = _plain(value, lead)
            elif p.kind is Scalars and value is not None:
                bound[p.name] = tuple(_plain(x, None) for x in value)
        return result

    def _autocast(self, bound: dict[str, Any], dynamic: list[Param]) -> np.dtype | None:
        """Cast floating arrays as the operator's list for this platform says, in place; float64 ones are exempt.

        Returns the dtype that the result is to be cast to, or None.
        """
        lower = autocast_dtype()
        policy = self.autocast.get(current_platform())  # type: ignore[union-attr]
        if callable(policy):
            policy = policy(bound)
        if lower is None or policy is None or (policy == FLOAT32 and bound.get("dtype") is not None):
            return None
        if policy == REFUSE:
            raise RuntimeError(
                f"{self.name} is unsafe to autocast: float16 cannot hold its gradient near 0 and 1. Give the values "
                f"before the sigmoid to {self.name}_with_logits (nn.BCEWithLogitsLoss), or leave autocast for it"
            )

        kinds = [np.dtype(a.dtype) for a in _flat(bound[p.name] for p in dynamic) if castable(a)]
        if policy == RESULT:
            return lower if kinds else None
        target = lower if policy == LOWER else np.dtype(np.float32)
        if policy == PROMOTE:
            target = lower
            for kind in kinds:
                if np.dtype(np.float32) in (target, kind):
                    target = np.dtype(np.float32)
                elif kind != lower:
                    raise RuntimeError(
                        f"{self.name} under autocast to {lower.name} takes tensors of that dtype and float32, not "
                        f"{kind.name}"
                    )
        for p in dynamic:
            value = bound[p.name]
            if type(value) is tuple:
                bound[p.name] = tuple(a.astype(target) if castable(a) else a for a in value)
            elif castable(value):
                bound[p.name] = value.astype(target)
        return None


def castable(a: Any) -> bool:
    """Whether autocast may cast an argument: a floating array other than float64."""
    import jax.numpy as jnp

    return _is_array(a) and jnp.issubdtype(a.dtype, jnp.floating) and a.dtype != np.float64


def _flat(values: Iterable[Any]) -> list:
    out: list = []
    for v in values:
        if type(v) is tuple:
            out.extend(v)
        elif v is not None:
            out.append(v)
    return out


def _is_array(a: Any) -> bool:
    return not isinstance(a, (bool, int, float, complex, Lifted)) and a is not None


def wrapped(number: int, dtype: np.dtype) -> int:
    """A Python int as operators take it beside tensors of that dtype: modulo 2**bits.

    Raises OverflowError if it is no 64-bit number either.
    """
    if dtype.kind not in "iu":
        return number
    limits = np.iinfo(dtype)
    if limits.min <= number <= limits.max:
        return number
    if not -(1 << 63) <= number < 1 << 64:
        raise OverflowError(f"int too big to convert: {number}")
    number &= (1 << limits.bits) - 1
    return number if number <= limits.max else number - (1 << limits.bits)


def _cast(a: Any, target: np.dtype | None, first: Any) -> Any:
    import jax.numpy as jnp

    if not _is_array(a):
        number = a.array if type(a) is Lifted else a
        if target is not None:
            if type(a) is not Lifted:
                return jnp.asarray(wrapped(number, target) if type(number) is int else number, target)
            return number.astype(target)
        if type(a) is Lifted:
            return number.astype(result_type(first, a) if first is not None else _number_dtype(a.type))
        return a
    return a.astype(target) if target is not None and a.dtype != target else a


def _apart(constant: Any) -> Any:
    """A term of a sum that XLA does not add to another constant.

    It makes ``x + (c + d)`` of ``(x + c) + d``, whatever is rounded away: of ``1 - p + 1e-15``, ``1 - p``, whose
    logarithm is infinite where the small number was to keep it finite.
    """
    from jax import lax

    return lax.optimization_barrier(constant)


def _plain(value: Any, lead: Any) -> Any:
    """A Scalar for a body: itself, or the lifted array in the dtype that goes with the first array."""
    if type(value) is not Lifted:
        return value
    array = value.array
    if value.type is bool:
        return array.astype(bool)
    if lead is None or not hasattr(lead, "dtype"):
        return array
    return array.astype(result_type(lead, value))


def _unsigned(a: Any) -> Any:
    import jax.numpy as jnp

    return jnp.asarray(a.array if type(a) is Lifted else a).astype(jnp.uint64)


def _number_dtype(kind: type) -> np.dtype:
    if kind is float:
        return default_float()
    return np.dtype({bool: np.bool_, int: np.int64, complex: np.complex64}[kind])


def default_float() -> np.dtype:
    """The default floating dtype under which the operation was recorded."""
    return np.dtype(current_mode().default_float)


def autocast_dtype() -> np.dtype | None:
    """The lower precision that autocast goes to on the platform that the operation is compiled for; None if it is off.

    For bodies that are several of PyTorch's operators, of which only some are on a list.
    """
    lower = dict(current_mode().autocast or ()).get(current_platform())
    return None if lower is None else np.dtype(lower)


_formulation = threading.local()


def channels_last() -> bool:
    """Whether images come from, and go to, an operation that has their channels last.

    The body gets them, and gives them back, with channels first as ever; but where it moves them to the end itself, the
    moves cancel each other.
    """
    return getattr(_formulation, "last", False)


def _on_moved(call: Callable[..., Any], static: Any, args: tuple) -> Any:
    """An operator whose first argument, and results of as many axes, are images with their channels last."""
    import jax.numpy as jnp

    image = args[0]
    before = channels_last()
    _formulation.last = True
    try:
        out = call(static, (jnp.moveaxis(image, -1, 1), *args[1:]))
    finally:
        _formulation.last = before
    outs = out if type(out) is tuple else (out,)
    return tuple([jnp.moveaxis(o, 1, -1) if o.ndim == image.ndim else o for o in outs])


def formulated(x: Any) -> tuple[Any, int, Callable[[Any], Any]]:
    """An image (N, C, *) as the formulation has it, the axis of its channels, and the way back for what is like it."""
    import jax.numpy as jnp

    if not channels_last():
        return x, 1, lambda y: y
    return jnp.moveaxis(x, 1, -1), x.ndim - 1, lambda y: jnp.moveaxis(y, -1, 1)


def platform() -> str:
    """'cpu', 'gpu' or 'tpu': what the operation is being compiled for."""
    return current_platform()


def result_type(*args: Any) -> np.dtype:
    """PyTorch's common dtype of arrays and Python numbers."""
    from ..tensor.dtype import python_number_dtype, result_type_of

    items = []
    for a in args:
        if type(a) is Lifted:
            items.append((python_number_dtype(a.type(0)), 0, True))
        elif isinstance(a, (bool, int, float, complex)):
            items.append((python_number_dtype(a), 0, True))
        else:
            items.append((np.dtype(a.dtype), len(a.shape), False))
    return np.dtype(result_type_of(items))


def to_float(x: Any) -> Any:
    """An array of integers or bools in the default float dtype; others unchanged."""
    return x.astype(default_float()) if np.dtype(x.dtype).kind in "biu" else x


_RANK = {"b": 0, "u": 1, "i": 1, "f": 2, "V": 2, "c": 3}


def cast_result(name: str, out: Any, dtype: Any) -> Any:
    """``out`` in the dtype of what it is written to; RuntimeError if that would lose its category."""
    dtype = np.dtype(dtype)
    if out.dtype == dtype:
        return out
    if _RANK[np.dtype(out.dtype).kind] > _RANK[dtype.kind]:
        raise RuntimeError(
            f"result type {type_name(out.dtype)} can't be cast to the desired output type {type_name(dtype)} ({name})"
        )
    return out.astype(dtype)


#: Of warnings that PyTorch gives once in a process, see ``OpDef.deprecated``.
ONCE = "once"

#: method name -> entry.
METHODS: dict[str, OpDef] = {}

#: (namespace or "", name) -> entry; "" holds those that are methods only.
TABLE: dict[tuple[str, str], OpDef] = {}


def superseded(old: str, new: str) -> tuple[str, str, str]:
    """``deprecated=`` of an operator whose place another one has taken."""
    return "True", f"{old} is deprecated in favor of {new} and will be removed in a future PyTorch release", ONCE


def op(
    fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    namespace: str | tuple[str, ...] | None = "torch",
    method: bool | None = None,
    function: bool = True,
    inplace: bool = False,
    out: bool = True,
    aliases: tuple[str, ...] = (),
    promote: str | None = None,
    returns: tuple[str, ...] | None = None,
    differentiable: bool = True,
    saves: bool = True,
    view: ViewRule | None = None,
    heavy: bool = False,
    parse: Callable[..., Any] | None = None,
    precheck: Callable[[dict], None] | None = None,
    host: Callable[..., Any] | None = None,
    images: bool | Callable[..., bool] = False,
    given: Callable[..., None] | None = None,
    idle: str | None = None,
    deprecated: tuple[str | Callable[..., bool], str] | tuple[str | Callable[..., bool], str, str] | None = None,
    varies: Callable[[Any], bool] | None = None,
    scales: bool = False,
    shapes: Rule | None = None,
    exact: bool = False,
    rounds: bool = True,
    sums: bool = False,
    lies: Callable[..., bool] | None = None,
    parts: Callable[[Any], Any] | None = None,
) -> Any:
    """Enter a pure function on JAX arrays into the table (the keywords are told in ``docs/architecture.md``)."""

    def enter(fn: Callable[..., Any]) -> OpDef:
        entry = OpDef(
            fn, name=name, namespace=namespace, method=method, function=function, inplace=inplace, out=out,
            aliases=aliases, promote=promote, returns=returns, differentiable=differentiable, saves=saves, view=view,
            heavy=heavy, parse=parse, precheck=precheck, host=host, images=images, given=given, idle=idle,
            deprecated=deprecated, varies=varies, scales=scales, shapes=shapes, exact=exact,
            rounds=rounds, sums=sums, lies=lies, parts=parts,
        )  # fmt: skip
        for space in entry.namespaces or ("",):
            for each in (entry.name, *entry.aliases):
                if (space, each) in TABLE:
                    raise ValueError(f"operator {space}.{each} is declared twice")
                TABLE[space, each] = entry
        if entry.method:
            for each in (entry.name, *entry.aliases):
                METHODS[each] = entry
        return entry

    return enter if fn is None else enter(fn)


def lookup(name: str, spaces: tuple[str, ...] = ("torch", "", "nn.functional", "linalg")) -> OpDef:
    """The entry of that name in the first of the namespaces that has it."""
    for space in spaces:
        found = TABLE.get((space, name))
        if found is not None:
            return found
    raise KeyError(f"no operator named {name}")


_UNSIGNED = {np.dtype(f"i{n}"): np.dtype(f"u{n}") for n in (1, 2, 4, 8)}


def within(index: np.ndarray, size: int) -> bool:
    """Whether all of some host integers are in [0, size): one pass, since negative ones are large without a sign."""
    unsigned = index.view(_UNSIGNED.get(index.dtype, index.dtype))
    return unsigned.item(unsigned.argmax()) < size  # for the few of a batch half the time of ``max``
