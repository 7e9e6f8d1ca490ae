"""Derivatives of what was offered, and reverse passes that are offered themselves."""

from __future__ import annotations

from typing import Any

from ..autograd import passes
from ..autograd.function import tied
from ..autograd.mode import enable_grad
from ..engine import Value, get_mode
from ..engine import grad as engine_grad
from ..engine.grad import DETACH
from ..engine.meta import SHAPE_ONLY
from ..engine.op import Wide
from ..engine.trace import _VECTORS
from ..engine.trie import Call
from ..ops._table import OpDef
from ..tensor import Tensor
from ..tensor._values import SAME
from ..tensor.storage import Step as ViewStep
from ..tensor.wrapped import carried, carry, is_wrapped, tensor_of, value_of, with_value
from . import kernels, offers
from .calls import name_of, one_operator
from .composites import COMPOSITES
from .formulas import FORMULAS, Context, joined
from .operators import aten
from .schema import defaults

__all__ = ["attach", "detach", "tie"]


# ---- results of calls that were answered by somebody ----------------------------------------------------------------


def _detached(t: Any) -> Any:
    """What a derivative keeps of a result: not the result itself, which keeps the derivative."""
    if not isinstance(t, Tensor):
        return t
    if is_wrapped(t):
        return with_value(t)
    with offers.computing:  # nobody is asked about it
        return Tensor.detach(t)


class Step:
    """The handle of a watch: the derivative of an operator by its formula."""

    def __init__(self, func: Any, args: tuple, kwargs: dict[str, Any], outs: tuple, told: list) -> None:
        self.func, self.args, self.kwargs = func, args, kwargs
        self.outs = told
        self.kept = tuple(map(_detached, outs))
        self.slots: dict[int, int] = {}
        self.before = [(t, value_of(t)) for t in offers.flat((args, kwargs)) if t.requires_grad]

    @property
    def name(self) -> str:
        return str(self.func)

    def __call__(self, cotangents: dict[int, Value]) -> dict[Any, Value]:
        grads = [None if (c := cotangents.get(slot)) is None else tensor_of(c) for slot in self.slots]
        named = _named(self.func, self.args, self.kwargs)
        found = _derived(self.func, named, lambda: self.kept, grads, {id(t) for t, _ in self.before})
        out: dict[Any, Value] = {}
        for name, g in found.items():
            for t, gt in _matched(named[name], g):
                for leaf, value in self.before:
                    if leaf is t and gt is not None:
                        gt = _fitted(gt, value)
                        out[value] = carry(gt) if value not in out else carry(tensor_of(out[value]) + gt)
                        break
        return out


def _fitted(g: Tensor, value: Value) -> Tensor:
    if g.dtype.numpy != value.meta.dtype:
        g = g.to(Tensor._of(value).dtype)
    return g


def _matched(given: Any, grads: Any) -> list[tuple[Any, Any]]:
    if isinstance(given, (list, tuple)):
        return list(zip(given, grads, strict=True)) if grads is not None else []
    return [(given, grads)]


def _named(func: Any, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    schema = func._schema
    if schema is None:
        return {**{f"argument {k}": a for k, a in enumerate(args)}, **kwargs}
    return defaults(schema, args, kwargs)


def _derived(func: Any, named: dict[str, Any], outs: Any, grads: list, wanted: set[int]) -> dict[str, Any]:
    """Gradients of the arguments that want one, by their names."""
    needs = {k for k, v in named.items() if any(id(t) in wanted for t in offers.flat(v))}
    formula = FORMULAS.get(func._opname.removesuffix("_") if func._opname not in FORMULAS else func._opname)
    if formula is not None and any(g is not None for g in grads):
        try:
            found = formula(Context({**named, "name": func._opname}, outs, needs), *grads)
            return {k: g for k, g in found.items() if k in needs and g is not None}
        except NotImplementedError as error:
            if error.args:
                raise
    return _by_computing(func, named, grads, needs)


def _by_computing(func: Any, named: dict[str, Any], grads: list, needs: set[str]) -> dict[str, Any]:
    """The derivative of an operator without a formula: as a whole, from what computes it."""
    given = [g for g in grads if g is not None]
    for t in offers.flat((named, given)):
        if is_wrapped(t):
            raise NotImplementedError(
                f"the derivative of {func} is not known in terms of PyTorch's inner operators, so that it cannot be "
                f"taken where a {type(t).__name__} takes part; compute {func._opname} from simpler operations, or "
                "write a torch.autograd.Function"
            )
    tensors = [t for name in needs for t in offers.flat(named[name])]
    back = aten.made(f"{func._opname}_backward", lambda *a, **k: None)._overload("default")
    schema = func._schema

    def run() -> tuple:
        with enable_grad():
            swapped = {id(t): t if get_mode().grad and t.requires_grad else t.detach().requires_grad_()
                       for t in tensors}  # fmt: skip

            def swap(x: Any) -> Any:
                if isinstance(x, (list, tuple)):
                    return type(x)(map(swap, x))
                return swapped.get(id(x), x)

            if schema is None:
                out = func.compute(*[swap(v) for v in named.values()])
            else:
                first = [swap(named[a.name]) for a in schema.arguments if not a.kwarg_only]
                more = {a.name: swap(named[a.name]) for a in schema.arguments if a.kwarg_only and a.name in named}
                out = func.compute(*first, **{k: v for k, v in more.items() if v is not None})
        outs = [out] if isinstance(out, Tensor) else [o for o in out if isinstance(o, Tensor)]
        pairs = [(o, g) for o, g in zip(outs, grads, strict=False) if g is not None]
        return passes.grad([o for o, _ in pairs], list(swapped.values()), [g for _, g in pairs], allow_unused=True,
                           create_graph=again)  # fmt: skip

    again = get_mode().grad
    found = offers.at_autograd(back, (*given, *[v for v in named.values() if isinstance(v, Tensor)]), {}, run)
    by_id = dict(zip(map(id, tensors), found, strict=True))
    return {name: [by_id.get(id(t)) for t in v] if isinstance(v := named[name], (list, tuple)) else by_id[id(v)]
            for name in needs}  # fmt: skip


def tie(func: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> Any:
    """The result of a call as one of its arguments: gradients flow by the operator's derivative."""
    single = isinstance(result, Tensor)
    if not single and not isinstance(result, (list, tuple)):
        return result
    outs = (result,) if single else tuple(result)
    told = [
        (tuple(o.shape), o.dtype) if isinstance(o, Tensor) and (o.dtype.is_floating_point or o.dtype.is_complex)
        and not (k and func._opname in _ONE_RESULT) else None
        for k, o in enumerate(outs)
    ]  # fmt: skip
    if not any(told):
        return result
    inputs = {id(t) for t in offers.flat((args, kwargs))}
    made = []
    writes = func._schema is not None and func._schema.is_mutable
    for o in outs:
        if isinstance(o, Tensor) and id(o) in inputs and not writes:
            o = _detached(o)
        made.append(o)
    step = Step(func, args, kwargs, tuple(made), told)
    if not step.before:
        return result
    places = {v.meta.place == SHAPE_ONLY for v in [*(v for _, v in step.before), *map(value_of, offers.flat(made))]}
    if len(places) > 1:
        raise NotImplementedError(f"{func}: a tensor with data that requires gradients met one without; convert it "
                                  "first by FakeTensorMode.from_tensor")  # fmt: skip
    stand = tuple([Tensor._of(value_of(o)) if isinstance(o, Tensor) else o for o in made])
    got = tied(_node_name(func), step, [v for _, v in step.before], stand)
    for o, new, t in zip(made, got, told, strict=True):
        if t is not None:
            if writes and not is_wrapped(o):
                o._set(new._value)
            else:
                o._value = new._value
                if not is_wrapped(o):
                    o._alias = None
    if single:
        return made[0]
    return type(result)(*made) if hasattr(result, "_fields") else type(result)(made)


#: Operators of which only the first result has a gradient.
_ONE_RESULT = frozenset(
    """native_layer_norm native_group_norm native_batch_norm nll_loss_forward nll_loss2d_forward
    max_pool2d_with_indices native_dropout _scaled_dot_product_flash_attention_for_cpu""".split()
)


def _node_name(func: Any) -> str:
    words = func._opname.strip("_").removesuffix("_forward").split("_")
    return "".join(w[:1].upper() + w[1:] for w in words) + "Backward0"


# ---- passes over what was recorded -----------------------------------------------------------------------------------


class Outside:
    """What reverse passes ask while somebody wants to see their operations; see ``engine/grad.py``."""

    @staticmethod
    def watches(cotangents: Any) -> bool:
        """Whether steps must be taken one by one."""
        if offers.state.modes and not offers.state.inside:
            return True
        return bool(carried) and any(c in carried for c in cotangents)

    @staticmethod
    def add(a: Value, b: Value) -> Value | None:
        """The sum of two gradients, or None to have it recorded."""
        if a in carried or b in carried or (offers.state.modes and not offers.state.inside):
            return carry(aten.add.Tensor(tensor_of(a), tensor_of(b)))
        return None

    @staticmethod
    def pull(graph: Any, call: Any, args: list[Value], cotangents: list[Value | None], source: Any, plain: Any) -> Any:
        """Gradients of a recorded call, by its formula; None to have it recorded as ever."""
        if not Outside.watches([c for c in cotangents if c is not None]):
            return None
        grads = [None if c is None else tensor_of(c) for c in cotangents]
        tensors = [_laid_out(tensor_of(v), graph.producer.get(s)) for v, s in zip(args, call.slots, strict=True)]
        wanted = [t for t, m in zip(tensors, call.metas, strict=True) if m.grad]
        found = _by_formula(call, tensors, grads, wanted, source)
        if found is None:
            found = _as_recorded(call, tensors, grads, wanted, plain)
        return tuple(carry(_zeros(t) if g is None else _fitted(g, value_of(t)))
                     for t, g in zip(wanted, found, strict=True))  # fmt: skip


def _laid_out(t: Tensor, source: Any) -> Tensor:
    """A value that was made as a view, as a tensor with the strides of one: formulas look at them."""
    entry = source.op.info if type(source) is Call else None
    if isinstance(entry, OpDef) and entry.view is not None and not is_wrapped(t):
        if all(type(i) is not Wide for i in source.ins):
            numbers = tuple([i[1] for i in source.ins if type(i) is tuple])
            base = source.metas[0]
            t._layout = (base.shape, (ViewStep(entry, source.static, numbers),), base.dtype)
    return t


def _zeros(t: Tensor) -> Tensor:
    return aten.zeros_like.default(t)


def _by_formula(call: Any, tensors: list, grads: list, wanted: list, source: Any) -> list | None:
    entry = call.op.info
    if not isinstance(entry, OpDef) or entry.random or call.mode.autocast is not None:  # which casts within the call
        return None
    rest = iter(tensors)
    args = [next(rest) if type(i) is int else None if i is None else i[1] if type(i) is tuple
            else i.type(getattr(source, _VECTORS[i.type])[i.index]) if type(i) is Wide else i
            for i in call.ins]  # fmt: skip
    bound = entry.bind(call.static, tuple(args))
    ids = {id(t) for t in wanted}
    name = entry.name
    if name == "_getitem":
        return _of_getitem(bound, grads[0])
    if name == "_split":
        c = Context({"self": bound["input"]}, tuple, set())
        dim = bound["dim"] % bound["input"].ndim
        return [joined(c, grads, bound["sizes"], dim)]
    if name == "_unbind":
        c = Context({"self": bound["input"], "dim": bound["dim"]}, tuple, set())
        return [FORMULAS["unbind"](c, *grads)["self"]]
    if name == "_index":
        rest = iter(bound["indices"])
        indices = [next(rest) if k else None for k in bound["spec"]]
        c = Context({"self": bound["input"], "indices": indices}, tuple, set())
        return [FORMULAS["index"](c, grads[0])["self"]]
    if name == "_to_dtype":
        return [aten._to_copy.default(grads[0], dtype=bound["input"].dtype)]
    try:
        if name in ("linear", "matmul", "cross_entropy"):
            needs = {k for k, v in bound.items() if any(id(t) in ids for t in offers.flat(v))}
            found = FORMULAS[name](Context({**bound, "name": name}, tuple, needs), *grads)
            named = bound
        else:
            func, given, more = _inner(entry, bound)
            if func is None or func._opname not in FORMULAS:
                return None
            named = _named(func, given, more)
            needs = {k for k, v in named.items() if any(id(t) in ids for t in offers.flat(v))}
            c = Context({**named, "name": func._opname}, lambda: _again(func, given, more), needs)
            found = FORMULAS[func._opname](c, *grads)
    except NotImplementedError as error:
        if error.args:
            raise
        return None
    by_id: dict[int, Any] = {}
    for k, g in found.items():
        for t, gt in _matched(named[k], g):
            if isinstance(t, Tensor) and gt is not None:
                by_id[id(t)] = gt
    return [by_id.get(id(t)) for t in wanted]


class _Caught(BaseException):
    """Ends a composite at the first inner operator that it calls, which it is made of alone."""


#: Functions that are one inner operator of another name.
_SINGLE = frozenset(
    """softmax log_softmax layer_norm group_norm conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d max_pool2d avg_pool2d adaptive_avg_pool2d nll_loss scaled_dot_product_attention square mT T
    mse_loss _rpow""".split()
)


def _inner(entry: OpDef, bound: dict[str, Any]) -> tuple[Any, tuple, dict[str, Any]]:
    """The inner operator that a recorded function is, with its arguments."""
    if entry.name not in COMPOSITES:
        return one_operator(name_of(entry.name), bound)
    if entry.name not in _SINGLE:
        if entry.name in ("reshape", "flatten", "ravel", "unflatten"):
            x = bound["input"]
            return aten.view.default, (x, []), {}
        return None, (), {}
    catch = _Catch()
    modes, offers.state.modes = offers.state.modes, (catch,)
    try:
        COMPOSITES[entry.name](bound)
    except _Caught:
        return catch.call
    finally:
        offers.state.modes = modes
    return None, (), {}


class _Catch:
    call: Any = None

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        self.call = func, args, kwargs
        raise _Caught


def _again(func: Any, args: tuple, kwargs: dict[str, Any]) -> tuple:
    """The results of an operator, which the tape does not keep under a name: computed again, unseen."""
    from ..autograd.mode import no_grad

    with offers.computing, no_grad():
        out = func.compute(*args, **kwargs)
    return (out,) if isinstance(out, Tensor) else tuple(out)


def _of_getitem(bound: dict[str, Any], g: Tensor) -> list | None:
    x, spec, starts = bound["input"], bound["spec"], list(bound["starts"])
    if sum(e != ":" for e in spec) != 1:
        return None
    at = next(k for k, e in enumerate(spec) if e != ":")
    if spec[at] is None:
        return [aten.squeeze.dim(g, at)]
    start = int(starts[0])
    if spec[at] == "i":
        return [aten.select_backward.default(g, list(x.shape), at, start)]
    length, step = spec[at]
    return [aten.slice_backward.default(g, list(x.shape), at, start, start + (length - 1) * step + 1, step)]


def _as_recorded(call: Any, tensors: list, grads: list, wanted: list, plain: Any) -> list:
    """A call without a formula: its derivative as a whole, under the name of the function."""
    if call.op in (SAME, DETACH):
        return list(grads)
    for t in offers.flat((tensors, grads)):
        if is_wrapped(t):
            raise NotImplementedError(
                f"the gradient of '{call.op.name}' is a {type(t).__name__} here, and the derivative of that operation "
                "is not known in terms of PyTorch's inner operators; compute it from simpler ones"
            )
    entry = call.op.info
    name = entry.name if isinstance(entry, OpDef) else call.op.name.replace(" ", "_")
    if name.endswith("_backward"):
        name = name.removesuffix("_backward") + "_double"
    back = aten.made(f"{name.lstrip('_')}_backward", kernels.KERNELS["lift_fresh"])._overload("default")

    def run() -> tuple:
        found = plain([t._get() for t in tensors], [None if g is None else g._get() for g in grads])
        return tuple(map(Tensor._of, found))

    given = tuple(g for g in grads if g is not None)
    return list(offers.at_autograd(back, (*given, *tensors), {}, run))


def attach() -> None:
    """Have reverse passes ask."""
    engine_grad.outside = Outside
    passes.seeded = _seed


def detach() -> None:
    """Have them ask no longer."""
    engine_grad.outside = None
    passes.seeded = None


def _seed(root: Tensor) -> Tensor | None:
    """The gradient of a scalar by itself; None if nobody is to be asked."""
    if not offers.active((root,), {}):
        return None
    from .. import preserve_format

    return aten.ones_like.default(root, pin_memory=False, memory_format=preserve_format)
