"""Capturing a call, and replaying it.

The first call of a captured function runs its Python code in a nested recording.  What it leaves behind – results,
tensors with new values, gradients – are the outputs of one operation, made of all that was recorded; what it read are
the inputs.  Later calls record that one operation with the present values of the same tensors.

A replay runs no Python code, so it is made only where nothing can be lost: see ``watching`` for what the code may not
do, and ``guards`` for what must be as it was.  Otherwise the function is called, and recorded as ever.
"""

from __future__ import annotations

import logging
import operator
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

from ..engine import Leaf, Value, flush, get_mode, local
from ..engine import grad as reverse
from ..engine.debug import debug
from ..engine.errors import describe, user_location
from ..engine.meta import LEAF, Meta
from ..engine.nested import Nested, seeds_of
from ..engine.op import Wide
from ..engine.shortcut import Shortcut
from ..engine.trie import Call
from ..nn.modules import module as _hooks
from ..nn.modules._registry import observers
from ..ops._custom import inside
from ..optim.optimizer import _global_step_post_hooks, _global_step_pre_hooks
from ..tensor import Tensor
from ..tensor._values import _plain
from ..tensor.composed import Composed
from ..tensor.random import default_generator, next_key
from ..utils._pytree import tree_flatten, tree_unflatten
from .found import Found, Returned, Role, parts_of
from .guards import Guards, State, Unguarded, fingerprint, own_attributes
from .watching import Watcher

#: Captures in a row that no later call could use, after which a function is only recorded; and for one kind of call.
PATIENCE, PATIENCE_EACH = 32, 4
#: Sizes of the same arguments that are captured, by what ``dynamic`` is; a call with further ones is recorded as any
#: loop is, where one program serves all sizes.
SIZES = {None: 4, True: 1, False: 256}


#: What in code may depend on how its arguments lie in memory.
_ASKS_FOR_STRIDES = frozenset(("stride", "is_contiguous", "view", "as_strided", "is_non_overlapping_and_dense"))


_NOTHING = fingerprint(())


class TorchDynamoException(RuntimeError):
    """Any error of what captures functions."""


class Unsupported(TorchDynamoException):
    """With ``fullgraph=True``: the function wants to know a value, or cannot be captured whole."""


class Capture(Nested):
    """The recording of a captured function; values may be read, which rules out a replay.

    breaks: why there can be none.   cleared: leaves whose gradient was set to None.
    given_up: (leaf, its gradient before the call) of leaves that were given another one, or None.
    conditions: (leaf, whether it had none) of leaves whose gradient was asked for, and was that of before the call.
    hyper: (position among the floats, optimizer, group) of the numbers of recorded updates.
    fixed: tensors made inside of the numbers in the code.
    faulty: what is recorded could not be computed, as with an index out of range.
    """

    __slots__ = ("breaks", "cleared", "conditions", "faulty", "fixed", "fullgraph", "given_up", "hyper")

    replayed = True

    def __init__(self, fullgraph: bool) -> None:
        super().__init__("")
        self.fixed: set[Value] = set()
        self.breaks: list[str] = []
        self.fullgraph = fullgraph
        self.faulty = False
        self.cleared: list[Any] = []
        self.given_up: dict[int, tuple[Any, Any]] = {}
        self.conditions: dict[int, tuple[Any, bool]] = {}
        self.hyper: list[tuple[int, Any, dict]] = []

    def read(self, value: Value) -> Any:
        watching = sys.getprofile()
        sys.setprofile(None)  # what it takes to compute the value is not the function's doing
        try:
            if not self.closed and value not in self.fixed:
                self._broken(describe(user_location()))
            return super().read(value)
        except Exception:
            self.faulty = True
            raise
        finally:
            sys.setprofile(watching)

    def _broken(self, where: str) -> None:
        if self.fullgraph and not inside.depth:
            raise Unsupported(
                f"torch.compile(fullgraph=True): the value of a tensor is needed at {where}, while the function is "
                "being captured. Keep it in a tensor (torch.where instead of if; no .item(), print or numpy() "
                "inside), or leave fullgraph out."
            )
        self.breaks.append(f"the value of a tensor is read ({where})")

    def clear(self, leaf: Any) -> None:
        self.replaced(leaf)
        self.cleared.append(leaf)

    def replaced(self, leaf: Any) -> None:
        self.given_up.setdefault(id(leaf), (leaf, leaf.grad))

    def asked(self, leaf: Any) -> None:
        grad = leaf.grad if type(leaf) is Leaf else self
        if grad is self or id(leaf) in self.conditions or id(leaf) in self.given_up:
            return
        if grad is None or grad._value.trace is not self:
            self.conditions[id(leaf)] = leaf, grad is None

    def numbered(self, at: int, source: tuple[Any, dict] | None) -> None:
        if source is None:
            self.breaks.append("an update with numbers of its own is recorded")
        else:
            self.hyper.append((at, *source))


class Entry:
    """One captured call: ``op`` is all of it as one operation.

    inputs, metas: where each of its arrays comes from, and what they were.
    seeds: positions of the random seeds among the ints; an offset follows each.
    hyper: (position among the floats, optimizer, group, what was chosen there) of numbers to ask for at each call.
    optimizers: (optimizer, its parts), see :func:`_parts`.
    roles, plain: what becomes of each result; whether it has no history.   grads: see ``Found``.
    spec, leaves: the value returned; ``Returned`` for a tensor.   boundary: an optimizer step is part of it.
    shortcut: its program, where nothing need be recorded to call it.
    names: what the code names;  own: attributes of arguments among that;  strides: of arguments, if it asks for them.
    """

    __slots__ = ("op", "inputs", "metas", "ints", "floats", "complexes", "seeds", "hyper", "roles", "plain", "grads",
                 "spec", "leaves", "guards", "boundary", "shortcut", "optimizers", "names", "own",
                 "strides")  # fmt: skip


class stance:
    """What ``torch.compiler.set_stance`` says.

    eager: nothing is captured or replayed.   new: what becomes of calls that nothing was captured for; they are
    captured ('capture'), made ('call') or refused ('fail').
    """

    eager = False
    new = "capture"


class Captured:
    """A function that is captured at its first call for each kind of arguments, and replayed afterwards."""

    _one_of_its_kind = True  # to guards

    def __init__(self, fn: Callable[..., Any], fullgraph: bool = False, dynamic: bool | None = None) -> None:
        self.fn = fn
        self.fullgraph, self.dynamic = fullgraph, dynamic
        self.sizes: dict[Any, set] = {}
        self.entries: OrderedDict[Any, list[Entry]] = OrderedDict()
        self.refused: dict[Any, list[str]] = {}
        self.unused: dict[Any, int] = {}
        self.once: set[Any] = set()  # calls that changed what they refer to, when they were captured
        self.captures = self.replays = self.in_a_row = 0

    def reset(self) -> None:
        """Forget all captures."""
        self.entries.clear()
        self.refused.clear()
        self.unused.clear()
        self.sizes.clear()
        self.once.clear()
        self.in_a_row = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if local.trace.nested or local.scopes or debug.eager or sys.getprofile() is not None:
            return self.fn(*args, **kwargs)
        if reverse.outside is not None or (_hooks._global_call_hooks and _hooked()):
            return self.fn(*args, **kwargs)  # Python of others runs at each operation or module
        if not kwargs and all(x.__class__ is Tensor for x in args):
            key, tensors = _key(list(args), len(args))
        else:
            flat, spec = tree_flatten((args, kwargs))
            try:
                key, tensors = _key(flat, spec)
            except Unguarded:
                return self.fn(*args, **kwargs)
        for entry in self.entries.get(key, ()):
            values = _present(entry, tensors)
            if values is not None and entry.guards.hold():
                self.replays += 1
                self.in_a_row = self.unused[key] = 0
                held = [values]
                del values  # what nobody else refers to can be given to the program
                return _replay(entry, tensors, held)
        if not self.fullgraph and (
            key in self.refused or self.in_a_row >= PATIENCE or self.unused.get(key, 0) >= PATIENCE_EACH
        ):
            return self.fn(*args, **kwargs)
        sizes = self.sizes.setdefault(_without_sizes(key), set())
        if key not in sizes and len(sizes) >= SIZES[self.dynamic]:
            return self.fn(*args, **kwargs)
        if any(m._backward_hooks or m._backward_pre_hooks for m in _modules(self.fn, args, kwargs)):
            return self.fn(*args, **kwargs)  # the backward pass of one operation runs no Python
        if stance.new == "call":
            return self.fn(*args, **kwargs)
        if stance.new == "fail":
            code = getattr(getattr(self.fn, "__func__", self.fn), "__code__", None)
            where = "" if code is None else f", line {code.co_firstlineno} of {code.co_filename}"
            raise RuntimeError("Detected recompile when torch.compile stance is 'fail_on_recompile': "
                               f"{getattr(self.fn, '__qualname__', type(self.fn).__name__)}{where}")  # fmt: skip
        sizes.add(key)
        return self._capture(key, tensors, args, kwargs)

    def _capture(self, key: Any, tensors: list[Tensor], args: tuple, kwargs: dict) -> Any:
        imported = len(sys.modules)
        entry, result, reasons, altered = _run(self.fn, self.fullgraph, tensors, args, kwargs)
        self.captures += 1
        if entry is None:
            name = getattr(self.fn, "__qualname__", type(self.fn).__name__)
            logging.getLogger("torch.graph_breaks").info("%s is not replayed:\n  %s", name, "\n  ".join(reasons))
            # else code ran that a second call will not run, or may not: it made what it keeps
            if len(sys.modules) == imported and (not altered or key in self.once):
                self.refused[key] = reasons
            elif altered:
                self.once.add(key)
            while len(self.refused) > 256:
                self.refused.pop(next(iter(self.refused)))
        else:
            self.in_a_row += 1
            self.unused[key] = self.unused.get(key, 0) + 1
            found = self.entries.setdefault(key, [])
            found.insert(0, entry)
            del found[PATIENCE_EACH:]
            while len(self.entries) > 64:
                gone, _ = self.entries.popitem(last=False)
                self.unused.pop(gone, None)
        return result


def _modules(fn: Any, args: tuple, kwargs: dict) -> Iterator[Any]:
    """The network modules that a call is seen to refer to; those of an object whose method it is, too."""
    owner = getattr(fn, "__self__", None)
    for x in chain(parts_of(fn), getattr(owner, "__dict__", {}).values(), args, kwargs.values()):
        if isinstance(x, _hooks.Module):
            yield from x.modules()


def _run(fn: Callable[..., Any], fullgraph: bool, tensors: list[Tensor], args: tuple,
         kwargs: dict) -> tuple[Entry | None, Any, list[str], bool]:  # fmt: skip
    """Call the function in a nested recording: (how to replay it, its result, why it cannot be replayed, whether only
    because it changed what it refers to).

    If it raises, what it had done until then is kept, and the error goes on.
    """
    offset, seed = default_generator._offset, default_generator._seed
    changed: list[Any] = []
    observers.append(changed)
    watcher = Watcher(State(list(_containers([args, kwargs]))))
    trace = Capture(fullgraph)
    result, failure = None, None
    with trace:
        try:
            with watcher:
                result = fn(*args, **kwargs)
        except Exception as error:
            if trace.faulty or isinstance(error, Unsupported):  # nothing is done of what cannot be computed or captured
                raise
            failure = error
        finally:
            observers[:] = [seen for seen in observers if seen is not changed]
        leaves, spec = tree_flatten(result)
        found = Found(trace, leaves, tensors, fn)
        body, captured, _ = trace.finish(found.values)
    reasons = [*trace.breaks, *found.reasons]
    calls = [e for e in trace.state.graph().entries if type(e) is Call]
    entry = Entry()
    entry.seeds = [c.ins[k].index for c in calls for k in seeds_of(c) if type(c.ins[k]) is Wide]
    if (default_generator._seed, default_generator._offset - offset) != (seed, len(entry.seeds)):
        reasons.append("a random number generator of its own is used, or one is seeded")
    if any(ref() is not None for ref in changed):  # not of one that was made inside, and is gone
        reasons.append("an attribute of a module is set")
    entry.op, order = found.operation(body)
    captured = [captured[k] for k in order]
    entry.inputs, entry.metas = found.providers(captured), [v.meta for v in captured]
    entry.ints, entry.floats, entry.complexes = list(trace.ints), list(trace.floats), list(trace.complexes)
    entry.roles, entry.grads, entry.boundary = found.roles, found.grads(trace.cleared), found.boundary
    entry.plain = [not v.meta.grad for v in found.values]
    entry.shortcut = None
    entry.spec, entry.leaves = spec, found.leaves
    if found.loses:
        reasons.append("a leaf gets a new value, and what is returned or kept has gradients")
        results = trace.once_more(found.values)
        local.trace.journal.extend([
            (role.holder, local.trace.slot_of(old)) for row, old in zip(found.roles, found.old, strict=False)
            for role in row if role.kind == "set" and old.trace is not local.trace
        ])  # fmt: skip
    else:
        results = _record(entry, tensors, captured, entry.ints, entry.floats, entry.complexes)
    found.assign(results)
    trace.release()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure
    boundary = found.boundary and not found.loses
    if None in entry.inputs:
        reasons.append("a tensor is made of data that Python computed, or of one that nothing refers to any more")
    returned = list(_containers(result))
    if watcher.state.known(x for x in returned if not isinstance(x, tuple)):
        reasons.append("it returns a list or dict of before the call")
    watcher.finish(set(map(id, returned)))
    altered = watcher.altered and not reasons
    reasons += watcher.reasons
    entry.names = frozenset(watcher.names)
    entry.strides = [t.stride() for t in tensors] if not _ASKS_FOR_STRIDES.isdisjoint(entry.names) else None
    entry.guards = Guards()
    try:
        entry.hyper = [(at, o, g, _chosen(o, g)) for at, o, g in trace.hyper]
        entry.optimizers = [(o, _parts(o)) for o in dict.fromkeys(o for _, o, _ in trace.hyper)]
        entry.guards.function(fn, watcher)
        entry.guards.value([args, kwargs], None)
        entry.guards.watch(watcher)
        entry.guards.gradients(trace.conditions.values())
        entry.own = [fingerprint(own_attributes(t, entry.names), entry.guards.keep) for t in tensors]
    except Unguarded as error:
        reasons.append(f"it refers to an {error}")
    del found, captured, results, trace, body
    if boundary:
        flush("a compiled step ended")
    return (None if reasons else entry), result, reasons, altered


def _key(flat: list[Any], spec: Any) -> tuple[Any, list[Tensor]]:
    """(what must be the same in a replay: structure, Python values, metas and aliasing of tensors; the tensors)."""
    parts: list[Any] = [spec, get_mode()]
    tensors: list[Tensor] = []
    first: dict[int, int] = {}
    for x in flat:
        if isinstance(x, Tensor):
            if isinstance(x, Composed):
                raise Unguarded(f"tensor of layout {x.layout}")  # its structure may be data
            value = x._get()
            shared = None if x._alias is None else first.setdefault(id(x._alias.storage), len(tensors))
            parts.append((type(x), value.meta, first.setdefault(id(value), len(tensors)), shared))
            tensors.append(x)
        else:
            parts.append(fingerprint(x))
    return tuple(parts), tensors


def _without_sizes(key: tuple) -> tuple:
    """What keys have in common that differ in the sizes of tensors only."""
    return tuple([
        (p[0], p[1].ndim, p[1].dtype, p[1].place, p[1].grad, *p[2:]) if type(p) is tuple and len(p) == 4 and
        type(p[1]) is Meta else p for p in key
    ])  # fmt: skip


def _containers(x: Any) -> Iterator[Any]:
    if isinstance(x, (list, tuple)):
        yield x
        for v in x:
            yield from _containers(v)
    elif isinstance(x, dict):
        yield x
        for v in x.values():
            yield from _containers(v)


def _present(entry: Entry, tensors: list[Tensor]) -> list[Value] | None:
    """The present values of what the entry takes, or None if they are of another kind than they were."""
    for leaf, before, _ in entry.grads:
        if before != "any" and (leaf.grad is None) != (before == "none"):
            return None
        if leaf.hooks or leaf.post_hooks:
            return None
    for _, optimizer, group, chosen in entry.hyper:
        if _chosen(optimizer, group) != chosen:
            return None
    for optimizer, before in entry.optimizers:
        now = _parts(optimizer)
        if len(now) != len(before) or not all(map(operator.is_, now, before)):
            return None
    values = []
    for (kind, what), meta in zip(entry.inputs, entry.metas, strict=True):
        if kind == "fixed":
            values.append(what)
            continue
        t = what if kind == "tensor" else tensors[what] if kind == "arg" else what.grad
        if t is None:
            return None
        value = t._value if t._alias is None else t._fresh()
        if value.meta is not meta:
            return None
        values.append(value)
    for t, own in zip(tensors, entry.own, strict=True):
        if vars(t) or own != _NOTHING:
            try:
                if fingerprint(own_attributes(t, entry.names)) != own:
                    return None
            except Unguarded:
                return None
    if entry.strides is not None and [t.stride() for t in tensors] != entry.strides:
        return None
    return values


def _hooked() -> bool:
    """Whether there are hooks for all modules."""
    return bool(_hooks._global_forward_pre_hooks or _hooks._global_forward_hooks or _hooks._global_backward_pre_hooks
                or _hooks._global_backward_hooks)  # fmt: skip


def _chosen(optimizer: Any, group: dict) -> tuple:
    """What chooses the program of an update: options, and which of its numbers are tensors, and whose."""
    return optimizer._options(group), tuple([id(h) if isinstance(h, Tensor) else 0 for h in optimizer._hyper(group)])


def _parts(optimizer: Any) -> list[Any]:
    """What a step of an optimizer consists of besides its groups: state and hooks, and ``step`` if it was replaced."""
    own = vars(optimizer)
    return [
        own.get("step"), *chain.from_iterable(map(dict.values, optimizer.state.values())),
        *optimizer._optimizer_step_pre_hooks.values(), *optimizer._optimizer_step_post_hooks.values(),
        *_global_step_pre_hooks.values(), *_global_step_post_hooks.values(),
    ]  # fmt: skip


def _record(entry: Entry, tensors: list[Tensor], values: list[Value], ints: list[int], floats: list[float],
            complexes: list[complex]) -> tuple:  # fmt: skip
    """Record the operation; its results as Values."""
    trace = local.trace
    slots = trace.slots
    ins = [v.slot if v.trace is trace else slots.get(v) or trace.add_input(v) for v in values]
    key = (entry.op, (), *ins)
    at = len(trace.ints), len(trace.floats), len(trace.complexes)
    trace.ints += ints
    trace.floats += floats
    trace.complexes += complexes
    state = trace.state.next.get(key)
    if state is None:
        wide = [
            Wide(kind, start + k)
            for kind, start, numbers in zip((int, float, complex), at, (ints, floats, complexes), strict=True)
            for k in range(len(numbers))
        ]
        trace, state = trace.miss(key, entry.op, (), (*ins, *wide))
    got = trace.push(state)
    if entry.op.inplace:
        journal = trace.journal
        for roles, old in zip(entry.roles, values[: entry.op.inplace], strict=False):
            if old.trace is not trace:
                journal.extend([
                    (role.holder if role.argument is None else tensors[role.argument], trace.slot_of(old))
                    for role in roles if role.kind == "set"
                ])  # fmt: skip
    return got if type(got) is tuple else (got,)


def _tensor(value: Value, layout: Any) -> Tensor:
    made = Tensor._of(value)
    if layout is not None:
        made._layout = layout
    return made


def _replay(entry: Entry, tensors: list[Tensor], held: list[list[Value]]) -> Any:
    values = held.pop()
    ints, floats = entry.ints, entry.floats
    if entry.seeds:
        ints = list(ints)
        for k in entry.seeds:
            ints[k], ints[k + 1] = next_key(None)
    if entry.hyper:
        floats = list(floats)
        for at, optimizer, group, _ in entry.hyper:
            numbers = [float(h) for h in optimizer._hyper(group) if not isinstance(h, Tensor)]
            floats[at : at + len(numbers)] = numbers
    if entry.shortcut is not None:
        called = entry.shortcut.call(values, (ints, floats, entry.complexes), partial(_finished, entry, tensors))
        if called is not None:
            return called[0]
    alone = len(local.trace.values) == 1
    results = _record(entry, tensors, values, ints, floats, entry.complexes)
    n = len(values)
    del values
    state = local.trace.state
    result = _finished(entry, tensors, results)
    del results
    if entry.boundary:
        flush("a compiled step ended")
        if alone:
            entry.shortcut = Shortcut.of(state, n)
    return result


def _finished(entry: Entry, tensors: list[Tensor], results: Sequence[Value]) -> Any:
    """Give the results to what holds them; the value to return."""
    for leaf, _, after in entry.grads:
        leaf.grad = None if after is None else Tensor._of(results[after])
    made: list[Value] = []
    for roles, value, plain in zip(entry.roles, results, entry.plain, strict=True):
        if plain and value.meta.grad:
            value = _plain(value)
        made.append(value)
        for role in roles:
            if role.kind == "set":
                t = role.holder if role.argument is None else tensors[role.argument]
                if value.meta.grad == LEAF:
                    value.node = t._value.node
                if t._alias is not None:
                    t._set(value)
                else:
                    t._value = value
                    t._bumps += 1
    leaves = [
        x if type(x) is not Returned else _tensor(made[x.what], x.layout) if x.kind == "new" else
        tensors[x.what] if x.kind == "arg" else x.what
        for x in entry.leaves
    ]  # fmt: skip
    return tree_unflatten(leaves, entry.spec)


__all__ = ["Capture", "Captured", "Role", "TorchDynamoException", "Unsupported"]
