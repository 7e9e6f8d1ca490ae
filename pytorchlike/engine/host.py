"""Evaluation by NumPy: for forked processes, where XLA's threads are missing, and for the loading of data.

An operation is traced by JAX as always, which is Python only, and the jaxpr that results is evaluated by NumPy, see
``straight`` and ``interpret``.  So operations need no second body, and random numbers are the same.

What a dataset computes differs with every sample, so there is nothing to gain from recording it: an
:class:`AtOnce` trace evaluates each operation when it is called.  Operations that it leaves alone, above all those on
the tape, are recorded as ever, and evaluated by :class:`Host`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import debug, evaluators, policy, trace
from .config import config
from .evaluators import OpByOp, compile_at
from .interpret import jaxpr_of, specs_of
from .meta import FEW, Meta, Mode, Value, make_value
from .op import Op, Wide, kernel_for
from .straight import Missing, Straight
from .trace import Trace, local
from .trie import State


class Host(OpByOp):
    """One NumPy interpretation per operation; XLA's kernels on accelerators and for what NumPy does not have."""

    exact = False

    def interprets(self, op: Any, kind: Any, place: Any, sizes: int, results: int) -> bool:
        return not op.heavy and trace.platform_of(place) == "cpu"

    def add(self, a: Any, b: Any) -> Any:
        return np.asarray(a) + np.asarray(b)

    def place(self, data: Any, meta: Any) -> Any:
        return np.asarray(data) if getattr(meta.place, "platform", "cpu") == "cpu" else super().place(data, meta)


class _Strict(Host):
    """In a forked process: NumPy or nothing."""

    compiles = False

    def interprets(self, op: Any, kind: Any, place: Any, sizes: int, results: int) -> bool:
        platform = trace.platform_of(place)
        if platform != "cpu":
            raise RuntimeError(
                f"{op.name}: a forked process cannot use the main process's accelerator ({platform}); compute "
                "on the CPU here, or start workers by multiprocessing_context='forkserver' or 'spawn'"
            )
        return True

    def place(self, data: Any, meta: Any) -> Any:
        return as_numpy(data)


def as_numpy(data: Any) -> np.ndarray:
    """The array in host memory.  RuntimeError if that would have to wait for another process's threads."""
    if type(data) is np.ndarray:
        return data
    platform = next(iter(data.devices())).platform
    if platform != "cpu":
        raise RuntimeError(f"a forked process cannot read tensors on the main process's accelerator ({platform})")
    if not data.is_ready():
        raise RuntimeError(
            "a tensor was still being computed when this process was forked; read it in the main process first (for "
            "example with .cpu()), or make it part of the dataset, whose tensors are"
        )
    return np.asarray(data)


# ---- at once ---------------------------------------------------------------------------------------------------


class _Ready(State):
    """Where a call leads to that is evaluated at once: what :attr:`State.meta` says comes out of ``run``.

    arrays, numbers: how many arrays ``run`` takes, and after them run-time integers, unless they are given with the
    call.  checks: its data checks, whose flags ``run`` returns after the results.  call: what to compile if NumPy turns
    out to be slow at it, or None;  spent: seconds that this would have saved so far.  exact: see ``Straight``.
    """

    __slots__ = ("run", "arrays", "numbers", "checks", "spent", "call", "exact")

    def __init__(
        self, meta: Any, run: Any, arrays: int, numbers: int = 0, checks: tuple = (), call: Any = None,
        exact: bool = True,
    ) -> None:  # fmt: skip
        self.meta, self.run, self.arrays, self.numbers, self.checks = meta, run, arrays, numbers, checks
        self.call, self.spent, self.exact = call, 0.0, exact


class _Ahead:
    """A function of numbers alone, the last of which goes up from call to call: the offset of a random key.

    When it was seen to go up, results are computed for many of its values at once, which costs NumPy little more than
    one of few elements.
    """

    __slots__ = ("run", "ndim", "seen")

    def __init__(self, run: Any, ndim: int) -> None:
        self.run, self.ndim = run, ndim
        self.seen: tuple = ((), 0, None)  # the other numbers, the last one, results from there on: replaced as a whole

    def __call__(self, *given: Any) -> tuple:
        others, last = given[:-1], int(given[-1])
        known, start, rows = self.seen
        distance = last - start
        if known != others or not 0 <= distance < 2 * _AHEAD:
            self.seen = (others, last, None)
            return self.run(*given)
        if rows is None or distance >= len(rows):
            many = given[-1] + np.arange(_AHEAD).reshape(-1, *[1] * self.ndim)
            (rows,) = self.run(*others, many)
            self.seen = (others, last, rows)
            distance = 0
        return (np.array(rows[distance]),)


class _Landing(list):
    """The values of an :class:`AtOnce` trace: whoever appends the handle of a result is given the result."""

    __slots__ = ("results",)

    def append(self, value: Value) -> None:
        value.data = self.results.pop()
        value.trace, value.slot = None, 0


class _Sized(_Landing):
    """Those of a :class:`Beside`.  by_data: the results' size was found in data, see ``policy.found``."""

    __slots__ = ("by_data",)

    def append(self, value: Value) -> None:
        super().append(value)
        if self.by_data and value.meta.shape:
            value.found = True


_numbers: dict[Meta, int] = {}  # stands in a recording key for the slot of a value with such a meta
_ready: dict[tuple, _Ready] = {}
#: Nanoseconds of what XLA might do more quickly from which on it is found out what a compilation would save.
_SLOW = 1e5
#: Nanoseconds that a product or convolution may take here.
_HEAVY = 2e6
#: Elements of a result up to which it is computed for many numbers at once, and for how many.
_FEW, _AHEAD = 16, 64
#: Elements of what is made of a few integers, at most.
_WIDEST = 4 * FEW


class AtOnce(Trace):
    """A trace in which nothing is ever pending: the results of a call are there when it returns.

    Callers see an ordinary trace.  What they take for the slot of an argument stands for its meta, so that the key of
    a call leads from a root (there is one per mode) straight to the :class:`_Ready` that evaluates it; the arguments
    wait in ``taken``.  A call that is not for NumPy goes to an ordinary trace, which takes the place of this one.
    """

    __slots__ = ("taken", "given")

    at_once = True
    #: by mode, what follows (a Ready) by recording key
    homes: dict[Mode, State] = {}
    landing: type[_Landing] = _Landing

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.values = self.landing([None])
        self.slots = {}
        self.ints, self.floats, self.complexes, self.journal = [], [], [], []
        self.watched = {}
        self.derived = 0
        self.failed = None
        self.taken: list[Value] = []
        self.given: list | None = None

    @property
    def state(self) -> State:  # type: ignore[override]
        """The root; setting it to a :class:`_Ready` evaluates that."""
        if local.scopes or local.transforms:  # they want to see what is recorded
            return State(None, None, self.mode, (), 1, 0, None)
        home = self.homes.get(self.mode)
        if home is None:
            home = self.homes[self.mode] = State(None, None, self.mode, (), 1, 0, None)
        return home

    @state.setter
    def state(self, state: State) -> None:
        if state.__class__ is _Ready:
            self._evaluate(state)  # type: ignore[arg-type]

    # ---- arguments --------------------------------------------------------------------------------------------

    def slot_of(self, value: Value) -> int:
        return self.add_input(value)

    def add_input(self, value: Value) -> int:
        if value.data is None:
            trace.peek(value)
        self.taken.append(value)
        return _numbers.get(value.meta) or _number(value.meta)

    def enter_all(self, values: list[Value]) -> None:
        """They are taken one by one."""

    # ---- calls ------------------------------------------------------------------------------------------------

    def miss(self, key: tuple, op: Op, static: Any, ins: tuple) -> tuple[Trace, State]:
        count = len([i for i in ins if i.__class__ is int])
        taken = self.taken[len(self.taken) - count :]
        try:
            found = self._known(key, op, static, ins, taken)
            if found is not None:
                return self, found
            return self._leave(op, static, ins, taken)
        finally:
            if self.given is None:  # there is nothing to wait for
                self._clear()

    def _clear(self) -> None:
        self.taken.clear()
        self.ints.clear()
        self.floats.clear()
        self.complexes.clear()
        self.given = None

    def _known(self, key: tuple, op: Op, static: Any, ins: tuple, taken: list[Value]) -> _Ready | None:
        """What evaluates a call; None if it must be recorded. :attr:`given` are then its arguments."""
        mode = self.mode
        if local.scopes or local.transforms or mode.located or mode.scoped or op.walk is not None or op.inplace > 1:
            return None
        metas = tuple([v.meta for v in taken])
        if mode.grad and any(m.grad for m in metas):
            return None
        place = trace.place_of(op, static, metas)
        if place is not trace.default_place() or any(m.place is not place for m in metas):
            return None
        constants = [k for k, i in enumerate(ins) if i.__class__ is tuple]
        lifted = ()
        if constants:  # those that vary are arguments, as in a recording
            exact = tuple((ins[k][0], repr(ins[k][1])) for k in constants)
            lifted = trace._varied(op, static, constants, exact)
        numbers = {k: ins[k] if k in lifted else (i.type, getattr(self, trace._VECTORS[i.type])[i.index])
                   for k, i in enumerate(ins) if k in lifted or i.__class__ is Wide}  # fmt: skip
        pattern = [
            ... if i.__class__ is int else i if i is None else numbers[k][0] if k in numbers
            else (i[0], i[1] or repr(i[1])) for k, i in enumerate(ins)
        ]  # fmt: skip
        kind = (op, static, mode, metas, *pattern)
        ready = _ready.get(kind)
        if ready is None:
            shown = tuple([Wide(numbers[k][0], 0) if k in numbers else i for k, i in enumerate(ins)])
            ready = self._made(op, static, shown, metas, place)
            if ready is None:
                return None
            if len(_ready) >= config.max_kernels:
                _ready.clear()
            _ready[kind] = ready
        if not self._takes(ready):
            return None
        arrays = iter(taken)
        self.given = [
            _host(next(arrays)) if i.__class__ is int else trace._lifted_dtype(numbers[k][0]).type(numbers[k][1])
            for k, i in enumerate(ins) if i.__class__ is int or k in numbers
        ]  # fmt: skip
        last = len(ins) - len(numbers)
        if not lifted and all(k >= last and n[0] is int for k, n in numbers.items()):
            home = self.state.next
            if len(home) >= config.max_kernels:
                home.clear()
            home[key] = ready
        return ready

    def _takes(self, ready: _Ready) -> bool:
        """Whether a call is evaluated here, not recorded."""
        return True

    def _made(self, op: Op, static: Any, ins: tuple, metas: tuple, place: Any) -> _Ready | None:
        kernel = kernel_for(op, static, ins, self.mode, "cpu")
        if not op.alias:
            shapes = tuple([(m.shape, m.dtype) for m in metas])
            jaxpr_of(kernel, shapes)  # which makes the metas known, too
        outs = trace.infer(kernel, metas, place, self.mode, traced=True)
        if any(m.grad for m in outs):
            return None
        arrays, numbers = len(metas), sum(i.__class__ is Wide for i in ins)
        meta = outs[0] if len(outs) == 1 else outs
        if op.alias:
            return _Ready(meta, lambda x: (x,), arrays)
        strict = local.evaluator is _Strict
        try:
            straight = Straight(jaxpr_of(kernel, shapes)[0])
        except Missing:
            if strict:
                raise
            return None
        if straight.cost > (_HEAVY if op.heavy else policy.SLOW) and not strict:
            return None
        call = (kernel, shapes, place) if straight.slow > _SLOW and not strict else None
        run = straight.run
        if numbers and not arrays and straight.elementwise and len(outs) == 1 and outs[0].size <= _FEW:
            run = _Ahead(run, outs[0].ndim)
        return _Ready(meta, run, arrays, numbers, kernel.checks_of([s for s, _ in shapes]), call, straight.exact)

    def _evaluate(self, ready: _Ready) -> None:
        given = self.given
        if given is None:
            taken = self.taken
            given = [v.data if v.data.__class__ is np.ndarray else _host(v) for v in taken[len(taken) - ready.arrays :]]
            if ready.numbers:
                given += [np.int64(n) for n in self.ints[len(self.ints) - ready.numbers :]]
        self._clear()
        found = ready.run(*given) if ready.call is None else _timed(ready, given)
        if ready.checks:
            n = len(found) - len(ready.checks)
            for ok, error in zip(found[n:], ready.checks, strict=True):
                if not ok.all():
                    raise error.exception(error.message)
            found = found[:n]
        self.values.results = list(found[::-1])

    def push(self, state: State) -> Any:
        if state.__class__ is not _Ready:
            return super().push(state)
        self.state = state
        metas = state.meta
        out = []
        for m in metas if metas.__class__ is tuple else (metas,):
            v = Value()
            v.meta, v.node = m, None
            self.values.append(v)
            out.append(v)
        return tuple(out) if metas.__class__ is tuple else out[0]

    def _leave(self, op: Op, static: Any, ins: tuple, taken: list[Value]) -> tuple[Trace, State]:
        """The call's state in an ordinary trace, which is the thread's from now on until it is executed."""
        fresh = self._ordinary()
        values = iter([_kept(v) for v in taken])
        again = tuple(
            fresh.slot_of(next(values)) if i.__class__ is int
            else fresh.number(i.type, getattr(self, trace._VECTORS[i.type])[i.index]) if i.__class__ is Wide else i
            for i in ins
        )  # fmt: skip
        key = trace.key_of(op, static, list(again))
        found = fresh.state.next.get(key)
        return (fresh, found) if type(found) is State else fresh.miss(key, op, static, again)

    def _ordinary(self) -> Trace:
        local.trace = Trace(self.mode)
        return local.trace


class Beside(AtOnce):
    """Takes the calls on a few integers that NumPy holds, whatever is pending in the thread's own trace.

    What programs decide by (lengths, classes, coins, places in a table) is computed when they ask for it, not recorded
    to be executed a moment later.  Results have the bits that XLA gives them; what may have others (a root, a sum of
    floating-point numbers) is recorded.  What XLA has computed is no such argument before it has been read: whether it
    has been computed yet differs from one round of a loop to the next, and what is recorded must not.
    """

    __slots__ = ()

    homes = {}
    landing = _Sized
    #: calls that are recorded, by mode and recording key
    recorded: set[tuple] = set()

    def _known(self, key: tuple, op: Op, static: Any, ins: tuple, taken: list[Value]) -> _Ready | None:
        if (self.mode, key) in self.recorded or local.scopes or local.transforms:
            return None
        ready = super()._known(key, op, static, ins, taken)
        if ready is None:
            if len(self.recorded) >= config.max_kernels:
                self.recorded.clear()
            self.recorded.add((self.mode, key))
        return ready

    def add_input(self, value: Value) -> int:
        if not self.taken:
            self.values.by_data = False
        if hasattr(value, "found"):
            self.values.by_data = True
        return super().add_input(value)

    def _takes(self, ready: _Ready) -> bool:
        made = ready.meta if ready.meta.__class__ is tuple else (ready.meta,)
        return ready.exact and sum([m.size for m in made]) <= _WIDEST

    def _ordinary(self) -> Trace:
        return local.trace


def hold(value: Value) -> Value:
    """Have NumPy hold what was computed on the CPU."""
    if value.data.__class__ is not np.ndarray:
        value.data = np.asarray(value.data)
    return value


def beside(own: Trace) -> Trace:
    """The trace that is to take a call on a few integers: ``own``, the thread's, or one beside it."""
    if own.__class__ is not Trace or config.tier not in ("auto", "interpret") or trace.watched_values is not None:
        return own
    found = local.beside
    if found is None:
        found = local.beside = Beside(own.mode)
    found.mode = own.mode
    return found


def borrowed(meta: Meta, data: np.ndarray) -> Value:
    """Memory that its owner may write to again, as an argument of a call that is evaluated before."""
    value = make_value(meta, data)
    value.slot = -1
    return value


def _kept(value: Value) -> Value:
    """The value, for later."""
    return make_value(value.meta, np.array(value.data, order="C")) if value.slot < 0 else value


def _number(meta: Meta) -> int:
    if len(_numbers) > 100_000:
        _numbers.clear()
        _forget()
    return _numbers.setdefault(meta, len(_numbers) + 1)


def _forget() -> None:
    """Forget where calls lead to."""
    for kind in (AtOnce, Beside):
        kind.homes.clear()
    Beside.recorded.clear()


def _host(value: Value) -> np.ndarray:
    """The array of a value on the CPU."""
    data = trace.peek(value)
    if data.__class__ is np.ndarray:
        return data
    return as_numpy(data) if local.evaluator is _Strict else np.asarray(data)


def _timed(ready: _Ready, given: list) -> tuple:
    """The results; from the next call on by XLA, once that would have saved what its compilation costs."""
    begin = time.thread_time()
    found = ready.run(*given)
    nbytes = sum([x.nbytes for x in given]) + sum([x.nbytes for x in found])
    ready.spent += max(time.thread_time() - begin - policy.least(nbytes), 0.0)
    if ready.spent > policy.RENT:
        ready.run, ready.call = _compiled(*ready.call), None
    return found


def _compiled(kernel: Any, shapes: tuple, place: Any) -> Any:
    """A kernel that NumPy is too slow for, as the function that XLA makes of it."""
    import jax

    with jax.enable_x64(True):
        compiled = compile_at(kernel.evaluate, place, (specs_of(kernel, shapes),))

    def run(*given: Any) -> tuple:
        with jax.enable_x64(True):
            outs, flags = compiled(tuple([np.asarray(x) for x in given]))
        return tuple([np.asarray(x) for x in (*outs, *flags)])

    return run


def _kind() -> type[Trace]:
    """The kind of the traces of threads that compute by NumPy."""
    return Trace if debug.debug.eager else AtOnce


# ---- who computes by NumPy -------------------------------------------------------------------------------------


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Evaluate by NumPy what the block computes, all of it by its end; what was pending before stays so.

    For the many small and ever-changing operations of data loading, which would have to be compiled otherwise.
    """
    outer, before, kind = local.trace, local.evaluator, local.kind
    local.kind, local.evaluator = _kind(), before if before is _Strict else Host
    local.trace = local.kind(outer.mode)
    try:
        yield
        trace.flush("data was loaded")
    finally:
        mode = local.trace.mode
        local.trace, local.evaluator, local.kind = outer, before, kind
        trace.set_mode(mode)


def take_over() -> None:
    """Have this process, freshly forked, evaluate everything here; what it had compiled and recorded is not used."""
    trace._Local.evaluator = local.evaluator = _Strict
    trace._Local.kind = local.kind = _kind()
    evaluators._forward.clear()
    trace.forget_all()
    _forget()
    _ready.clear()
    local.trace = local.kind(trace.mode_of())
    local.checks.clear()
