"""Custom differentiable functions whose backward is arbitrary Python."""

from __future__ import annotations

import copy
import functools
import itertools
import weakref
from typing import Any

import numpy as np

from ..engine import Op, Value, concrete, get_mode, local, record
from ..engine import grad as reverse
from ..engine.debug import held_back
from ..engine.errors import warn
from ..engine.grad import Watch, is_retaining
from ..engine.meta import LEAF, NO_GRAD
from ..tensor import Tensor
from ..tensor._addresses import lay_beside
from ..tensor._values import transfer
from ..tensor.composed import Composed
from ..tensor.wrapped import carry, is_wrapped, tensor_of, value_of, with_value
from . import nested
from .mode import no_grad
from .nodes import CUSTOM

__all__ = ["BackwardCFunction", "Function", "FunctionCtx", "FunctionMeta", "InplaceFunction", "NestedIOFunction",
           "once_differentiable"]  # fmt: skip

_AGAIN = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
    "freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
    "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors "
    "after calling backward."
)


class FunctionCtx:
    """What forward hands to backward: a place for attributes, and the methods here."""

    _to_save: tuple = ()
    _saved: tuple | None = ()
    _saved_forward: tuple = ()
    _materialize = True
    #: Whether backward gets zeros for outputs that were marked as not differentiable, too.
    _materialize_non_diff_grads = True
    _not_differentiable: tuple = ()
    _dirty: tuple = ()
    needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for backward, where they are ``ctx.saved_tensors``.

        Where there will be a backward, :meth:`Function.apply` raises TypeError for anything else.
        """
        self._to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for ``jvp``, where they are ``ctx.saved_tensors`` as well."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise AssertionError(
                    "save_for_forward expects all arguments to be tensors; you should save non-tensors as attributes "
                    "on ctx."
                )
        self._saved_forward = tensors

    @property
    def saved_tensors(self) -> tuple:
        """What :meth:`save_for_backward` kept.

        RuntimeError once a backward pass has given it up, or if one of them was written to in the meantime.
        """
        if self._saved is None:
            raise RuntimeError(_AGAIN)
        found = [s if s is None else s.get() for s in self._saved]
        gone = [j for j, t in enumerate(found) if type(t) is _SavedResult]
        if gone:
            made = _again(self, [found[j] for j in gone])
            for j, t in zip(gone, made, strict=True):
                found[j] = t
        return tuple(found)

    @property
    def saved_variables(self) -> tuple:
        """The name that :attr:`saved_tensors` had before, which fvcore still uses; it warns."""
        warn("'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning)
        return self.saved_tensors

    def jvp_of(self, cls: Any, tangents: list) -> Any:
        """What ``cls.jvp`` makes of tangents, with what it has saved for it."""
        kept = self._saved
        if self._saved_forward:
            self._saved = tuple([s if s is None else _Saved(s, None) for s in self._saved_forward])
        try:
            return cls.jvp(self, *tangents)
        finally:
            self._saved = kept

    @property
    def to_save(self) -> tuple:
        return self._to_save

    @property
    def non_differentiable(self) -> tuple:
        return self._not_differentiable

    @property
    def dirty_tensors(self) -> tuple:
        return self._dirty

    @property
    def materialize_grads(self) -> bool:
        return self._materialize

    def mark_dirty(self, *args: Tensor) -> None:
        """Tell that these inputs were modified in place; they must be returned."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Tell that these outputs have no gradient."""
        self._not_differentiable = args

    def mark_shared_storage(self, *pairs: Any) -> None:
        """Not needed: what shares a storage is known without being told."""
        import warnings

        warnings.warn(
            "mark_shared_storage is deprecated. Tensors with shared storages are automatically tracked. Note that "
            "calls to `set_()` are not tracked", FutureWarning, stacklevel=2,
        )  # fmt: skip

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or None for outputs that have no gradient."""
        self._materialize = value


class BackwardCFunction(FunctionCtx):
    """Base of the contexts: each :class:`Function` has a class of them, named after it."""

    _forward_cls: Any = None

    def apply(self, *args: Any) -> Any:
        """Run the function's backward on gradients of its outputs."""
        return _backward_of(self._forward_cls)(self, *args)

    def name(self) -> str:
        return type(self).__name__


class _Saved:
    """A tensor kept for backward, which nobody may write to."""

    __slots__ = ("tensor", "version", "packed", "unpack")

    def __init__(self, tensor: Tensor, hooks: Any) -> None:
        self.tensor, self.version, self.unpack = tensor, None, None
        if isinstance(tensor, Composed) or is_wrapped(tensor):
            return
        self.version = 0 if tensor.is_inference() else tensor._version
        if hooks is not None:
            from .saved import pack

            self.packed, self.unpack = pack(hooks, Tensor._of(tensor._get())), hooks.unpack_hook
            self.tensor = None
        elif _is_mutation_allowed():
            self.tensor = tensor._get()

    def get(self) -> Tensor:
        if self.unpack is not None:
            from .saved import unpacked

            return unpacked(self.unpack, self.packed)
        t = self.tensor
        return Tensor._of(t) if type(t) is Value else self.unchanged(t)

    def unchanged(self, t: Tensor) -> Tensor:
        """The tensor; RuntimeError if it was written to."""
        if self.version is None:
            return t
        if not t.is_inference() and t._version != self.version:
            name = type(t.grad_fn).__name__.removesuffix("0").removesuffix("Backward") if t.grad_fn is not None else ""
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"[{t.type()} {list(t.shape)}]{f', which is output 0 of {name},' if name else ''} is at version "
                f"{t._version}; expected version {self.version} instead."
            )
        return t


class _SavedResult(_Saved):
    """A result kept for backward, whose history holds what is kept: so its data are, and not the result.

    value: of the tensor that forward has made.   handle, k: of the function's backward, and which result of it it is.
    """

    __slots__ = ("value", "handle", "k")

    def __init__(self, result: Tensor, value: Value, handle: Any, k: int) -> None:
        super().__init__(result, None)
        self.tensor = weakref.ref(result)
        self.value, self.handle, self.k = value, weakref.ref(handle), k

    def by(self, handle: Any) -> _SavedResult:
        """The same, for another backward of the function."""
        made = copy.copy(self)
        made.handle = weakref.ref(handle)
        return made

    def get(self) -> Any:
        """The result, or this if it is gone."""
        result = self.tensor()
        return self if result is None else self.unchanged(result)


def _again(ctx: Any, gone: list[_SavedResult]) -> list[Tensor]:
    """Results that are gone, as what forward made of the inputs if gradients are taken: they lead to backward, too."""
    made, handle = [Tensor._of(s.value) for s in gone], gone[0].handle()
    if handle is None or handle.at is None or not get_mode().grad:
        return [t.detach() for t in made]
    by_place = {s.k: t for s, t in zip(gone, made, strict=True)}
    handle = copy.copy(handle)  # with a context of its own, since a pass gives up what that holds
    handle.ctx = copy.copy(ctx)
    handle.ctx._saved = tuple([
        s if type(s) is not _SavedResult
        else _Saved(by_place[s.k], None) if s.k in by_place and local.trace.nested  # where backward runs at once
        else s.by(handle) for s in ctx._saved
    ])  # fmt: skip
    handle.outs = [told if k in by_place else None for k, told in enumerate(handle.outs)]
    moving = [handle.moved(i) for i, need in enumerate(ctx.needs_input_grad) if need]
    handle.at = None
    joined = tied(handle.cls.__name__, handle, moving, tuple([by_place.get(k) for k in range(len(handle.outs))]))
    return [joined[s.k] for s in gone]


def _is_mutation_allowed() -> bool:
    from .saved import is_mutation_allowed

    return is_mutation_allowed()


_function_ids = itertools.count()


class FunctionMeta(type):
    """Gives each :class:`Function` its class of contexts."""

    def __init__(cls, name: str, bases: tuple, attrs: dict) -> None:
        super().__init__(name, bases, attrs)
        cls._backward_cls = type(name + "Backward", (BackwardCFunction,), {
            "_forward_cls": cls, "_autograd_function_id": next(_function_ids), "__module__": cls.__module__,
        })  # fmt: skip


class Function(metaclass=FunctionMeta):
    """Base of custom functions: static methods ``forward(ctx, *args)`` and ``backward(ctx, *grads)``; use ``apply``.

    With ``setup_context(ctx, inputs, output)``, forward takes the arguments only.  Backward runs as plain Python, so it
    may read values, use NumPy, print; it is differentiable itself if it uses differentiable operations.
    """

    generate_vmap_rule = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        import warnings

        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you should "
            "invoke them on the class itself. Instantiating an autograd function will raise an error in a future "
            "version of PyTorch.", DeprecationWarning, stacklevel=2,
        )  # fmt: skip

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd "
            "function with static forward method."
        )

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

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *args: Any) -> Any:
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or set "
            "generate_vmap_rule=True."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward, and connect its results to the graph through backward."""
        from . import forward_ad
        from .saved import current_hooks

        ctx: Any = object.__new__(cls._backward_cls)
        tensors = [a if isinstance(a, Tensor) and not _is_constant(a) else None for a in args]
        ctx.needs_input_grad = tuple([t is not None and t.requires_grad for t in tensors])
        tracked = get_mode().grad and any(ctx.needs_input_grad)
        before = [value_of(t) if t is not None else None for t in tensors]
        duals = forward_ad.tangents_of(before)
        mode = get_mode()
        with no_grad(), forward_ad._set_fwd_grad_enabled(False):
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
                    "Some elements marked as dirty during the forward method were not returned as output. The inputs "
                    "that are modified inplace must all be outputs of the Function."
                )
        if tracked:
            for k, t in enumerate(ctx._to_save):
                if t is not None and not isinstance(t, Tensor):
                    raise TypeError(
                        f"save_for_backward can only save variables, but argument {k} is of type {type(t).__name__}"
                    )
            if local.trace.nested:  # backward is recorded now, see ``nested``
                ctx._saved = tuple([s if s is None else _Saved(s, None) for s in ctx._to_save])
            for t in ctx._dirty:
                if value_of(t).meta.grad == LEAF:
                    raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")
            own = {id(o): value_of(o) for o in outs if isinstance(o, Tensor) and any(o is s for s in ctx._to_save)
                   and not isinstance(o, Composed)}  # fmt: skip
            handle, result = _connect(cls, ctx, tensors, before, outs)
            for name, kept in list(vars(ctx).items()):  # what forward keeps of its results is what the caller gets
                if isinstance(kept, Tensor) and not any(kept is a for a in args):
                    setattr(ctx, name, _swapped((kept,), outs, result)[0])
        else:
            result = list(outs)
        hooks = current_hooks() if mode.scoped and tracked else None
        apart = tracked and hooks is None and not local.trace.nested and not _is_mutation_allowed()
        ctx._saved = tuple([
            None if not isinstance(s, Tensor)
            else _SavedResult(s, own[id(o)], handle, k) if apart and (k := _place(s, result, handle)) is not None
            else _Saved(s, hooks)
            for o, s in zip(ctx._to_save, _swapped(ctx._to_save, outs, result), strict=True)
        ])  # fmt: skip
        ctx._to_save = ctx._dirty = ctx._not_differentiable = ()
        if duals is not None:
            forward_ad.apply_jvp(cls, ctx, tensors, duals, result)
        return result[0] if single else tuple(result)


def _is_constant(tensor: Tensor) -> bool:
    """Whether it is a sparse or nested tensor without gradients, which forward may use but the tape does not know."""
    return isinstance(tensor, Composed) and not tensor.requires_grad


def _swapped(saved: tuple, outs: tuple, result: list) -> list:
    """Saved outputs are kept as the tensors that the caller gets."""
    return [next((r for o, r in zip(outs, result, strict=True) if o is s and isinstance(r, Tensor)), s) for s in saved]


def _place(saved: Tensor, result: list, handle: _Backward) -> int | None:
    """Which of the results with a gradient it is, or None."""
    if isinstance(saved, Composed) or is_wrapped(saved):
        return None
    return next((k for k, r in enumerate(result) if r is saved and handle.outs[k] is not None), None)


def _backward_of(cls: Any) -> Any:
    if cls.backward is not Function.backward and cls.vjp is not Function.vjp and cls.vjp is not cls.backward:
        raise RuntimeError(
            "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only implement "
            "one of them."
        )
    return cls.backward if cls.backward is not Function.backward else cls.vjp


class _Backward:
    """The handle of a custom function's watch: runs ``backward`` and checks what comes back.

    metas: of the arguments, None for those that are no tensors.   sources: what their gradients are given for, their
    values; and their slots in the trace once the results are there, as values would hold the graph that holds this.
    at: the trace or segment that a pass goes through, and its values, while backward runs.
    """

    def __init__(self, cls: Any, ctx: Any, tensors: list, before: list, outs: list) -> None:
        self.cls, self.ctx, self.sources, self.at = cls, ctx, before, None
        self.metas = [None if v is None else v.meta for v in before]
        self.dtypes = [t.dtype if t is not None else None for t in tensors]
        #: (shape, dtype) of each output that may have a gradient, and of those that are tensors
        self.outs, self.all = outs, outs
        self.slots: dict[int, int] = {}

    @property
    def name(self) -> str:
        return self.cls.__name__ + "Backward"

    def __call__(self, cotangents: dict[int, Value]) -> dict[Any, Value]:
        from ..tensor import functions as T

        ctx = self.ctx
        grads: list[Any] = [None] * len(self.outs)
        filled = self.all if ctx._materialize_non_diff_grads else self.outs
        for k, (slot, told) in enumerate(zip(self.slots, filled, strict=True)):
            c = cotangents.get(slot)
            if c is not None:
                grads[k] = tensor_of(c)
            elif ctx._materialize and told is not None:
                grads[k] = T.zeros(told[0], dtype=told[1])
        outer, self.at = self.at, reverse.place()
        try:
            back = _backward_of(self.cls)(ctx, *grads)
        except Exception:
            if reverse.inspector is not None:
                reverse.inspector.failed(self.name, getattr(ctx, "_location", None))
            raise
        finally:
            self.at = outer
        if not is_retaining():
            ctx._saved = None
        return self.checked(back if isinstance(back, tuple) else (back,))

    def recorded(self, slots: list[int]) -> None:
        """Take note of where the arguments that need a gradient are in the trace."""
        places = iter(slots)
        self.sources = [next(places) if need else None for need in self.ctx.needs_input_grad]

    def moved(self, i: int) -> Value:
        """Argument ``i`` on the tape, while backward runs; its data are not asked for."""
        slot, meta = self.sources[i], self.metas[i]
        if type(slot) is Value:
            return slot
        _, where, values = self.at
        found = values[slot] if values is not None else where.inputs.get(slot)
        if found is None:
            found = concrete(np.zeros(meta.shape, meta.dtype), meta.place)
            found.meta, found.node = meta, (where, slot)
        return found

    def forward(self, tangents: list[Value | None]) -> list[Value | None]:
        """Tangents of the results that have some, from those of the inputs that require gradients: by ``jvp``."""
        moving = iter(tangents)
        given = [
            Tensor._of(t) if need and (t := next(moving)) is not None else None for need in self.ctx.needs_input_grad
        ]
        if self.ctx._materialize:
            given = [
                v if v is not None or meta is None or not dtype.is_floating_point
                else Tensor._of(concrete(np.zeros(meta.shape, meta.dtype), meta.place))
                for v, meta, dtype in zip(given, self.metas, self.dtypes, strict=True)
            ]
        out = self.ctx.jvp_of(self.cls, given)
        out = out if isinstance(out, tuple) else (out,)
        if len(out) != len(self.outs):
            raise RuntimeError(
                f"{self.cls.__name__}.jvp returned {len(out)} tangents for {len(self.outs)} outputs of its forward "
                "function"
            )
        for t, told in zip(out, self.outs, strict=True):
            if t is not None and told is not None and tuple(t.shape) != told[0]:
                raise RuntimeError(
                    f"{self.cls.__name__}.jvp returned a tangent of {list(t.shape)} for an output of {list(told[0])}"
                )
        return [t if t is None else t._get() for t, told in zip(out, self.outs, strict=True) if told is not None]

    def checked(self, back: tuple) -> dict[Any, Value]:
        """Gradients by the value that they belong to."""
        n = len(self.metas)
        if len(back) > n and all(g is None for g in back[n:]):
            back = back[:n]
        if len(back) != n:
            raise RuntimeError(
                f"function {self.name} returned an incorrect number of gradients (expected {n}, got {len(back)})"
            )
        out: dict[Any, Value] = {}
        for i, g in enumerate(back):
            if g is None:
                continue
            if not isinstance(g, Tensor):
                raise RuntimeError(
                    f"expected Variable or None (got {type(g).__name__}) for gradient {i} of {self.name}"
                )
            source, want = self.sources[i], self.metas[i]
            if want is None:
                raise RuntimeError(
                    f"function {self.name} returned a gradient different than None at position {i + 1}, but the "
                    "corresponding forward input was not a Variable"
                )
            if not self.ctx.needs_input_grad[i]:
                continue
            if g._value.meta.shape != want.shape:
                if not _expands(want.shape, tuple(g.shape)):
                    raise RuntimeError(
                        f"Function {self.name} returned an invalid gradient at index {i} - got {list(g.shape)} but "
                        f"expected shape compatible with {list(want.shape)}"
                    )
                g = g.sum_to_size(want.shape)
            if g._value.meta.dtype != want.dtype:
                if g.is_complex():
                    raise RuntimeError(
                        f"Function {self.name} returned an invalid gradient at index {i} - expected dtype "
                        f"{self.dtypes[i]} but got {g.dtype}"
                    )
                g = g.to(self.dtypes[i])
            if reverse.inspector is not None:
                reverse.inspector.custom(self.name, getattr(self.ctx, "_location", None), i, g._get())
            out[source] = carry(g) if source not in out else carry(tensor_of(out[source]) + g)
        return out


def _connect(cls: Any, ctx: Any, tensors: list, before: list, outs: tuple) -> tuple[_Backward, list]:
    moving = [before[i] for i, need in enumerate(ctx.needs_input_grad) if need]
    tensors_out = [(tuple(o.shape), o.dtype) if isinstance(o, Tensor) else None for o in outs]
    told = [
        t if t is not None and (t[1].is_floating_point or t[1].is_complex)
        and not any(o is m for m in ctx._not_differentiable) else None
        for o, t in zip(outs, tensors_out, strict=True)
    ]  # fmt: skip
    if get_mode().located:
        from ..engine.errors import user_location

        ctx._location = user_location()
    handle = _Backward(cls, ctx, tensors, before, told)
    handle.all = tensors_out
    return handle, tied(cls.__name__, handle, moving, outs, ctx._dirty)


def tied(name: str, handle: Any, moving: list[Value], outs: tuple, dirty: tuple = ()) -> list:
    """``outs`` as results of ``moving`` whose gradients ``handle`` takes; those of ``handle.outs`` that are not None.

    Sets ``handle.slots``, in the order of ``outs``, to the slots of the results (negative ones for the others).
    """
    joined = [k for k, t in enumerate(handle.outs) if t is not None]
    result: list[Any] = list(outs)
    for k, o in enumerate(outs):
        if isinstance(o, Tensor) and k not in joined and value_of(o).meta.grad != NO_GRAD:
            result[k] = o.detach()
    handle.slots = {-1 - k: k for k in range(len(outs))}
    if not joined:
        return result
    values = [value_of(outs[k]) for k in joined]
    if local.trace.nested:
        got = nested.tie(name, handle, [-1 - k for k in joined], values, moving)
    else:
        with held_back():
            got = record(_custom_op(name, len(joined)), len(joined), (*values, *moving))
            got = got if type(got) is tuple else (got,)
            numbered = {k: v.slot for k, v in zip(joined, got, strict=True)}
            handle.slots = {numbered.get(k, -1 - k): k for k in range(len(outs))}
            stop = Watch(tuple(numbered.values()), handle)
            stop.forward = getattr(handle, "forward", None)
            trace = local.trace  # recording may have executed what was pending
            if hasattr(handle, "recorded"):
                handle.recorded([trace.slot_of(v) for v in moving])
            for slot in numbered.values():
                trace.watched[slot] = stop
    for k, v in zip(joined, got, strict=True):
        original = outs[k]
        if is_wrapped(original):
            result[k] = with_value(original, v)
        elif any(original is d for d in dirty):
            original._set(v)
            result[k] = original
        else:
            result[k] = Tensor._of(v)
            if original._alias is not None or any(value_of(original) is m for m in moving):  # it looks at an input
                lay_beside(result[k], original)
    # what is returned twice stays one tensor, which has the gradients of the last
    last = {id(o): k for k, o in enumerate(outs)}
    return [result[last[id(o)]] if isinstance(o, Tensor) else result[k] for k, o in enumerate(outs)]


def _expands(small: tuple, big: tuple) -> bool:
    big = big[len(big) - len(small) :] if len(big) >= len(small) else ()
    return len(big) == len(small) and all(a == b or a == 1 for a, b in zip(small, big, strict=True))


_ops: dict[tuple, Op] = {}


def _custom_op(name: str, n: int) -> Op:
    """The results of forward, tied to the inputs; its gradient is never taken, since a watch stops before it."""
    key = (name, n)
    if key not in _ops:
        _ops[key] = Op(name, lambda static, args: tuple(args[:static]), saves=False, info=CUSTOM)
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


class InplaceFunction(Function):
    """A :class:`Function` with a flag ``inplace``, as old programs subclass it."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class NestedIOFunction(Function):
    """A function of nested tuples and lists of tensors, from PyTorch's early days; refuses to run.

    Give the nested parts as separate arguments of a plain :class:`Function` instead.
    """

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            "NestedIOFunction: nested arguments are not supported; flatten them (torch.utils._pytree.tree_flatten) and "
            "use a torch.autograd.Function"
        )
