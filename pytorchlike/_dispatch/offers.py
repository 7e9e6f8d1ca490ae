"""Who is asked about an operation, in which order, and how the functions of this package come to ask.

Nobody pays for it who does not use it. When the first mode is entered, or the first instance of a class with a
``__torch_dispatch__`` is made, the *code* of the functions that are operators is exchanged for a piece that asks
(:func:`arm`), wherever they were bound to; when the last mode is left, it is put back (instances may live on anywhere,
so they leave it exchanged).

A call goes through three stations: :class:`Offer` finds out which inner operator it is; :func:`at_autograd` connects
what comes out to the tape; :func:`below` asks the innermost mode, then the classes of the arguments, and computes the
operator if nobody is left.
"""

from __future__ import annotations

import functools
import inspect
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

from ..engine import get_mode, set_mode
from ..ops._table import OpDef
from ..tensor import Tensor, _wrap
from ..tensor import _tensor as tensor_file
from ..tensor._register import FUNCTIONS, METHODS
from ..tensor.asking import overloaded
from ..tensor.wrapped import Dispatched

__all__ = ["Offer", "active", "arm", "at_autograd", "below", "computing", "disarm", "flat", "state", "stay_armed"]


class State(threading.local):
    """Of a thread: the modes that it is within, the innermost last; how deep it is in the computing of an operator;
    the call that is on its way down."""

    modes: tuple = ()
    inside = 0
    pending: Any = None


state = State()


class _Inside:
    """Within it nothing is offered: an operator is being computed."""

    def __enter__(self) -> None:
        state.inside += 1

    def __exit__(self, *error: Any) -> None:
        state.inside -= 1


computing = _Inside()


def flat(x: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, (list, tuple)):
        for y in x:
            yield from flat(y)
    elif isinstance(x, dict):
        for y in x.values():
            yield from flat(y)


def _asks(t: Any) -> bool:
    return isinstance(t, Dispatched) and type(t).__torch_dispatch__ is not Tensor.__torch_dispatch__


def _any_asks(args: Any) -> bool:
    for a in args:
        if a.__class__ is Tensor:
            continue
        if a.__class__ in (list, tuple):
            if _any_asks(a):
                return True
        elif _asks(a):
            return True
    return False


def active(args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether somebody wants to be asked about a call with these arguments."""
    return not state.inside and bool(state.modes or _any_asks(args) or (kwargs and _any_asks(kwargs.values())))


# ---- below autograd --------------------------------------------------------------------------------------------


class Pending:
    """A call on its way down: if nobody changes it, it is computed as it was made, and recorded for gradients."""

    __slots__ = ("func", "args", "kwargs", "run", "mode", "result", "done")

    def __init__(self, func: Any, args: tuple, kwargs: dict, run: Any, mode: Any) -> None:
        self.func, self.args, self.kwargs, self.run, self.mode = func, args, kwargs, run, mode
        self.result, self.done = None, False

    def is_call(self, func: Any, args: tuple, kwargs: dict) -> bool:
        """Whether this is the call, unchanged, for the first time."""
        return (
            not self.done
            and func is self.func
            and _same(list(args), list(self.args))
            and kwargs.keys() == self.kwargs.keys()
            and all(_same(kwargs[k], v) for k, v in self.kwargs.items())
        )

    def compute(self) -> Any:
        self.done = True
        with computing:
            now = get_mode()
            set_mode(now.replace(grad=self.mode))
            try:
                self.result = self.run()
            finally:
                set_mode(get_mode().replace(grad=now.grad))
        return self.result


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and not isinstance(a, Tensor) and a == b


def below(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Ask the innermost mode, else the classes of the arguments in turn; else compute."""
    asked = overloaded([t for t in flat((args, kwargs)) if _asks(t)])
    kinds = tuple([type(t) for t in asked])
    modes = state.modes
    if modes:
        state.modes = modes[:-1]
        try:
            rule = _rule(func, type(modes[-1]))
            answer = modes[-1].__torch_dispatch__ if rule is None else functools.partial(rule, modes[-1])
            result = answer(func, kinds, args, kwargs)
        finally:
            state.modes = modes
        if result is not NotImplemented:
            return result
        raise _nobody(func, [f"mode object {modes[-1]!r}"])
    for t in asked:
        result = (_rule(func, type(t)) or type(t).__torch_dispatch__)(func, kinds, args, kwargs)
        if result is not NotImplemented:
            return result
    if asked:
        raise _nobody(func, [f"tensor subclass {k!r}" for k in kinds])
    pending = state.pending
    if pending is not None and pending.is_call(func, args, kwargs):
        return pending.compute()
    with computing:
        return func.compute(*args, **kwargs)


def _rule(func: Any, cls: type) -> Callable[..., Any] | None:
    """What ``torch.library.register_torch_dispatch`` was told about an operator of the program's own."""
    custom = getattr(func.overloadpacket, "custom", None)
    return None if custom is None else custom._rules.get(cls)


def _nobody(func: Any, asked: list[str]) -> TypeError:
    told = "\n".join(f"  - {a}" for a in asked)
    return TypeError(
        f"Multiple dispatch failed for '{func.__module__}.{func.__name__}'; all __torch_dispatch__ handlers returned "
        f"NotImplemented:\n\n{told}\n"
    )


def at_autograd(func: Any, args: tuple, kwargs: dict[str, Any], run: Callable[[], Any] | None = None) -> Any:
    """Offer a call; its result is on the tape if gradients are asked for.

    run: computes what was called, if nobody changes the call; it is recorded then as it would be without anybody
    asking. Else the result gets the derivative that the operator has, whatever was done instead of it.
    """
    tracked = get_mode().grad and func.differentiable and any(t.requires_grad for t in flat((args, kwargs)))
    if run is None:
        if state.pending is not None and not tracked:
            return below(func, args, kwargs)
        run = functools.partial(func.compute, *args, **kwargs)
    pending = Pending(func, args, kwargs, run, tracked and not func.fused)
    outer, state.pending = state.pending, pending
    now = get_mode()
    if tracked:
        set_mode(now.replace(grad=False))
    try:
        result = below(func, args, kwargs)
    finally:
        state.pending = outer
        if tracked:
            set_mode(get_mode().replace(grad=now.grad))
    if not tracked or (pending.done and pending.mode and result is pending.result):
        return result
    from .reverse import tie

    return tie(func, args, kwargs, result)


# ---- which operator a call is -----------------------------------------------------------------------------------


class Offer:
    """What runs in the place of a function while somebody is to be asked.

    fast: the function as it was.   entry, inplace: of an operator of the table.
    """

    def __init__(self, fn: types.FunctionType, name: str, entry: OpDef | None, inplace: bool) -> None:
        self.name, self.entry, self.inplace = name, entry, inplace
        self.code = fn.__code__
        self.fast = types.FunctionType(fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)
        self.fast.__kwdefaults__ = fn.__kwdefaults__
        self.fast.__qualname__ = fn.__qualname__
        constants = [self if c == "OFFER" else c for c in _TEMPLATE.co_consts]
        self.asking = _TEMPLATE.replace(co_consts=tuple(constants), co_name=fn.__code__.co_name)

    def __call__(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        if not active(args, kwargs):
            return self.fast(*args, **kwargs)
        from . import calls

        return calls.offer(self, args, kwargs)

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.fast)

    # constants of a code object are compared with it
    __hash__ = object.__hash__


def _template() -> types.CodeType:
    def asking(*args: Any, **kwargs: Any) -> Any:
        offer: Any = "OFFER"
        return offer(args, kwargs)

    return asking.__code__


_TEMPLATE = _template()

#: Methods of Tensor, and functions beside them, that are operators and come from no table.
_METHODS = ("detach", "detach_", "clone", "contiguous", "to", "copy_", "__getitem__", "__setitem__", "item", "tolist",
            "numpy", "__bool__", "type")  # fmt: skip
_CREATING = ("tensor",)
_offers: dict[types.FunctionType, Offer] = {}
_armed = 0
_stays = False
_lock = threading.RLock()


def _plain(fn: Any) -> types.FunctionType | None:
    """The function whose code can be exchanged behind a public one."""
    fn = inspect.unwrap(fn)
    return fn if isinstance(fn, types.FunctionType) and not fn.__closure__ else None


def _enter(fn: Any, name: str, entry: OpDef | None = None, inplace: bool = False) -> None:
    found = _plain(fn)
    if found is not None and found not in _offers:
        _offers[found] = Offer(found, name, entry, inplace)


def _built(fn: types.FunctionType, entry: OpDef, inplace: bool) -> None:
    """A form of an operator has been built."""
    with _lock:
        if fn not in _offers:
            _offers[fn] = Offer(fn, entry.name + ("_" if inplace else ""), entry, inplace)
        if _armed:
            fn.__code__ = _offers[fn].asking


@functools.cache
def _first() -> None:
    for (space, name), fn in FUNCTIONS.items():
        if space in ("torch", "nn.functional"):
            _enter(fn, name)
    for name, fn in METHODS.items():
        _enter(fn, name)
    for name in _METHODS:
        _enter(inspect.getattr_static(Tensor, name), name)
    for name in _CREATING:
        _enter(getattr(tensor_file, name), name)
    from ..library import CustomOpDef
    from ..nn import _functional

    for name in ("embedding", "batch_norm", "instance_norm", "embedding_bag"):
        _enter(getattr(_functional, name), name)
    _enter(CustomOpDef.__call__, "custom")
    for fn, entry, inplace in _wrap.built:
        _built(fn, entry, inplace)
    _wrap.on_built = _built


def arm() -> None:
    """Have the functions ask; to be undone by as many calls of :func:`disarm`."""
    global _armed
    with _lock:
        _armed += 1
        if _armed == 1:
            from . import reverse

            _first()
            for fn, offer in _offers.items():
                fn.__code__ = offer.asking
            reverse.attach()


def disarm() -> None:
    """Undo one :func:`arm`."""
    global _armed
    with _lock:
        _armed -= 1
        if not _armed:
            from . import reverse

            for fn, offer in _offers.items():
                fn.__code__ = offer.code
            reverse.detach()


def stay_armed() -> None:
    """:func:`arm` for good, once."""
    global _stays
    if not _stays:
        _stays = True
        arm()

