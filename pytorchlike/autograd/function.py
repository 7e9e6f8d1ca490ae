"""Custom differentiable functions whose backward is arbitrary Python."""

from __future__ import annotations

from typing import Any

from ..engine import Leaf, Op, Value, get_mode, local, record
from ..engine.grad import Watch, is_retaining
from ..engine.meta import LEAF, NO_GRAD
from ..tensor import Tensor
from ..tensor._tensor import transfer
from .graph import CUSTOM
from .mode import no_grad

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class FunctionCtx:
    """What forward hands to backward."""

    _saved: tuple = ()
    _materialize = True
    _not_differentiable: tuple = ()
    _dirty: tuple = ()
    needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for backward, where they are ``ctx.saved_tensors``."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(
                    "save_for_backward can only save variables, but argument is of type "
                    f"{type(t).__name__}"
                )
        self._saved = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for ``jvp``."""
        self._saved_forward = tensors

    @property
    def saved_tensors(self) -> tuple:
        """What :meth:`save_for_backward` kept; RuntimeError once a backward pass has given it up."""
        if self._saved is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have "
                "already been freed). Specify retain_graph=True if you need to backward through the graph a second "
                "time."
            )
        return self._saved

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Tell that these inputs were modified in place; they must be returned."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Tell that these outputs have no gradient."""
        self._not_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or None for outputs that have no gradient."""
        self._materialize = value


class Function(FunctionCtx):
    """Base of custom functions: static methods ``forward(ctx, *args)`` and ``backward(ctx, *grads)``; use ``apply``.

    With ``setup_context(ctx, inputs, output)``, forward takes the arguments only.  Backward runs as plain Python, so it
    may read values, use NumPy, print; it is differentiable itself if it uses differentiable operations.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> Any:
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it "
            "with backward "
            "mode AD."
        )

    vjp = backward  # another name of it

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward, and connect its results to the graph through backward."""
        ctx = cls()
        tensors = [a if isinstance(a, Tensor) else None for a in args]
        ctx.needs_input_grad = tuple(t is not None and t.requires_grad for t in tensors)
        tracked = get_mode().grad and any(ctx.needs_input_grad)
        before = [t._get() if t is not None else None for t in tensors]
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                out = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, out)
            else:
                out = cls.forward(ctx, *args, **kwargs)
        single = not isinstance(out, tuple)
        outs = (out,) if single else out
        for t in ctx._dirty:
            if not any(t is o for o in outs):
                raise RuntimeError(
                    "Some elements marked as dirty during the forward method were not "
                    "returned as output."
                )
        if not tracked:
            return out
        for t in ctx._dirty:
            if t._get().meta.grad == LEAF:
                raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")
        result = _connect(cls, ctx, tensors, before, outs)
        return result[0] if single else tuple(result)


def _connect(cls: type[Function], ctx: Any, tensors: list, before: list, outs: tuple) -> list:
    joined = [
        k for k, o in enumerate(outs)
        if isinstance(o, Tensor) and (o.dtype.is_floating_point or o.dtype.is_complex)
        and not any(o is m for m in ctx._not_differentiable)
    ]  # fmt: skip
    result: list[Any] = list(outs)
    for k, o in enumerate(outs):
        if isinstance(o, Tensor) and k not in joined and o._get().meta.grad != NO_GRAD:
            result[k] = o.detach()
    if not joined:
        return result
    needed = [i for i, need in enumerate(ctx.needs_input_grad) if need]
    moving = [before[i] for i in needed]
    n = len(joined)
    op = _custom_op(cls, n)
    values = [outs[k]._get() for k in joined]
    got = record(op, n, (*values, *moving))
    got = got if type(got) is tuple else (got,)
    metas = [v.meta for v in got]
    slots = tuple(v.slot for v in got)

    def handle(cotangents: dict[int, Value]) -> dict[Any, Value]:
        from ..tensor import functions as T

        grads: list[Any] = [None] * len(outs)
        for k, slot, meta in zip(joined, slots, metas, strict=True):
            c = cotangents.get(slot)
            if c is not None:
                grads[k] = Tensor._of(c)
            elif ctx._materialize:
                grads[k] = T.zeros(meta.shape, dtype=outs_dtype[k])
        if ctx._materialize:
            for k, o in enumerate(shapes):
                if grads[k] is None and o is not None:
                    grads[k] = T.zeros(o[0], dtype=o[1])
        back = (cls.backward if cls.backward is not Function.backward else cls.vjp)(ctx, *grads)
        if not is_retaining():
            ctx._saved = None
        back = back if isinstance(back, tuple) else (back,)
        if len(back) > len(tensors) and all(g is None for g in back[len(tensors) :]):
            back = back[: len(tensors)]
        if len(back) != len(tensors):
            raise RuntimeError(
                f"function {cls.__name__}Backward returned an incorrect number of gradients (expected {len(tensors)}, "
                "got "
                f"{len(back)})"
            )
        out: dict[Any, Value] = {}
        for i, g in enumerate(back):
            if g is None or not ctx.needs_input_grad[i]:
                continue
            if not isinstance(g, Tensor):
                raise RuntimeError(
                    f"expected Variable or None for gradient {i} of {cls.__name__}Backward, "
                    f"got {type(g).__name__}"
                )
            want = before[i].meta
            if g._get().meta.shape != want.shape:
                if tuple(g.shape) != want.shape and g.numel() >= before[i].meta.size and _expands(want.shape, g.shape):
                    g = g.sum_to_size(want.shape)
                else:
                    raise RuntimeError(
                        f"Function {cls.__name__}Backward returned an invalid gradient at index {i} - got "
                        f"{list(g.shape)} but expected shape compatible with {list(want.shape)}"
                    )
            if g._get().meta.dtype != want.dtype:
                g = g.to(tensors[i].dtype)
            value = g._get()
            source = before[i]
            out[source] = value if source not in out else (Tensor._of(out[source]) + g)._get()
        return out

    outs_dtype = {k: outs[k].dtype for k in joined}
    shapes = [(tuple(o.shape), o.dtype) if isinstance(o, Tensor) and not any(o is m for m in ctx._not_differentiable)
              else None for o in outs]  # fmt: skip
    stop = Watch(slots, handle)
    trace = local.trace
    for slot in slots:
        trace.watched[slot] = stop
    saved = list(ctx._saved)
    for k, v in zip(joined, got, strict=True):
        original = outs[k]
        if any(original is d for d in ctx._dirty):
            original._set(v)
            result[k] = original
        else:
            result[k] = Tensor._of(v)
        for j, s in enumerate(saved):
            if s is original:
                saved[j] = result[k]
    ctx._saved = tuple(saved)
    return result


def _expands(small: tuple, big: tuple) -> bool:
    big = big[len(big) - len(small) :] if len(big) >= len(small) else ()
    return len(big) == len(small) and all(a == b or a == 1 for a, b in zip(small, big, strict=True))


_ops: dict[tuple, Op] = {}


def _custom_op(cls: type, n: int) -> Op:
    """The results of forward, tied to the inputs; its gradient is never taken, since a watch stops before it."""
    key = (cls.__name__, n)
    if key not in _ops:
        _ops[key] = Op(cls.__name__, lambda static, args: tuple(args[:static]), info=CUSTOM)
    return _ops[key]


class _Move(Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor, place: Any) -> Tensor:
        ctx.back = t._get().meta.place
        return Tensor._of(transfer(t._get(), place))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return Tensor._of(transfer(grad._get(), ctx.back)), None


def moved(t: Tensor, place: Any) -> Tensor:
    """A tensor at another place, with gradients flowing back."""
    return _Move.apply(t, place)


def once_differentiable(fn: Any) -> Any:
    """Decorator of a backward that is not differentiable itself: a second derivative raises."""
    import functools

    @functools.wraps(fn)
    def wrapper(ctx: Any, *args: Any) -> Any:
        with no_grad():
            outputs = fn(ctx, *args)
        if not get_mode().grad or not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            return outputs
        single = not isinstance(outputs, tuple)
        made = tuple(
            _Refuse.apply(o.detach().requires_grad_(True)) if isinstance(o, Tensor) and o.is_floating_point() else o
            for o in ((outputs,) if single else outputs)
        )
        return made[0] if single else made

    return wrapper


class _Refuse(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


_ = Leaf
