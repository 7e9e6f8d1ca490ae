"""What a captured call leaves behind, and what it took."""

from __future__ import annotations

import gc
import sys
from typing import Any, NamedTuple

from ..engine import Leaf, Op, Value
from ..engine.meta import LEAF
from ..engine.nested import Body, Spliced
from ..engine.trie import Reverse
from ..nn import Module
from ..optim import Optimizer
from ..tensor import Tensor
from ..tensor.storage import Storage
from .guards import made_alike


class Role(NamedTuple):
    """Why a value outlives the call.

    kind: "result" (returned), "grad" (the gradient of ``leaf``), "set" (the new value of a tensor that existed before),
    or "storage".   holder: the Tensor or Storage.   argument: which argument the holder is, or None.
    """

    kind: str
    holder: Any
    leaf: Any = None
    argument: int | None = None


def parts_of(fn: Any) -> list[Any]:
    """What a function is seen to refer to: itself, its owner, and what is in its closure and its globals."""
    inner = getattr(fn, "__wrapped__", fn)
    parts = [fn, getattr(fn, "__self__", None)]
    for cell in getattr(inner, "__closure__", None) or ():
        try:
            parts.append(cell.cell_contents)
        except ValueError:
            continue
    space = getattr(inner, "__globals__", {})
    parts += [space[name] for name in getattr(getattr(inner, "__code__", None), "co_names", ()) if name in space]
    return parts


def tensors_of(fn: Any) -> list[Tensor]:
    """Tensors that a function is likely to use: of its modules and optimizers, and in its closure."""
    out: list[Tensor] = []
    for x in parts_of(fn):
        if isinstance(x, Tensor):
            out.append(x)
        elif isinstance(x, Module):
            out += [*x.parameters(), *x.buffers()]
        elif isinstance(x, Optimizer):
            for group in x.param_groups:
                out += group["params"]
            out += [t for state in x.state.values() if isinstance(state, dict) for t in state.values()
                    if isinstance(t, Tensor)]  # fmt: skip
    return list({id(t): t for t in out}.values())


def _references() -> int:
    """Reference count of a value that a trace, two dictionaries of :meth:`Found._roles` and a list hold."""
    trace = [Value()]
    mine = {id(v): v for v in trace}
    values = list(mine.values())
    return next(map(sys.getrefcount, values))


_REFERENCES = _references()


class Returned(NamedTuple):
    """A tensor in the result.  kind: "new" (result number ``what``), "arg" (that argument itself), or "same" (that
    tensor, which existed before).   layout: of a new one that is not contiguous, or None."""

    kind: str
    what: Any
    layout: Any = None


def _settle(t: Tensor) -> None:
    """A view of what nobody else can see any more becomes a tensor of its own, with that layout."""
    alias = t._alias
    if alias is None or alias.leaf is not None or alias.of is not None or alias.writes is not None:
        return
    storage = alias.storage
    if storage.host is not None or (storage.owner is not None and storage.owner() is not None):
        return
    if sys.getrefcount(storage) > 3:  # the alias, the variable, and the argument
        return
    value = t._fresh()
    t._alias, t._value = None, value
    t._layout = (storage.value.meta.shape, alias.chain, storage.value.meta.dtype)


class Found:
    """What outlives a recording: ``values``, and the ``roles`` of each; first those that replace what was taken.

    leaves: of the result; ``Returned`` for a tensor.   boundary: there is a reverse pass or an update of leaves.
    reasons: why a replay would not be the same.
    """

    def __init__(self, trace: Any, leaves: list[Any], arguments: list[Tensor], fn: Any) -> None:
        self.reasons: list[str] = []
        self.trace, self.arguments = trace, arguments
        self.tensors = tensors_of(fn)
        self.reverse = any(type(e) is Reverse for e in trace.state.graph().entries)
        written = {id(owner) for owner, _ in trace.journal}
        if any(id(grad) in written for _, grad in trace.given_up.values()):
            self.reasons.append("a gradient of before the call is written to, and given up")
        if trace.watched:
            self.reasons.append("a hook, or a custom autograd.Function, is called in the backward pass")
        self._leaves_of_tape = [v.node for v in trace.slots if type(v.node) is Leaf]
        results = [t for t in leaves if isinstance(t, Tensor)]
        for t in results:
            if all(t is not a for a in arguments):
                _settle(t)
        roles = self._roles(results)
        old = self._replaced(roles)
        ordered = sorted(roles.values(), key=lambda row: id(row[0]) not in old)
        self.values: list[Value] = [v for v, _ in ordered]
        self.roles: list[list[Role]] = [r for _, r in ordered]
        self.old = [old[id(v)] for v in self.values if id(v) in old]
        self.boundary = self.reverse or any(v.meta.grad == LEAF for v in self.values)
        #: one operation that updates leaves has no gradients, as that which comes out here must have
        self.loses = self.boundary and not trace.watched and any(map(trace.differentiable, self.values))
        for v in self.values:
            if v.meta.grad == LEAF and id(v) not in old:
                self.reasons.append("a leaf is made inside")
        self.leaves = self._result(leaves)

    def _roles(self, results: list[Tensor]) -> dict[int, tuple[Value, list[Role]]]:
        """The values made inside that something refers to, by id, in their order."""
        trace = self.trace
        mine = {id(v): v for v in trace.values[1:] if v.trace is trace}
        place = {id(t): k for k, t in reversed(list(enumerate(self.arguments)))}
        before = {id(t) for t in (*self.arguments, *self.tensors, *(owner for owner, _ in trace.journal))}
        returned = {id(t) for t in results if id(t) not in before}
        grads = {id(leaf.grad): leaf for leaf in self._leaves_of_tape if isinstance(leaf.grad, Tensor)}
        found: dict[int, list[Role]] = {}
        for h in self._holders(mine, [*results, *(leaf.grad for leaf in grads.values())]):
            if isinstance(h, Storage):
                found.setdefault(id(h.value), []).append(Role("storage", h))
                continue
            if h._alias is not None:
                self.reasons.append("a view is returned, or a tensor that shares its memory is written to")
            kind = "result" if id(h) in returned else "grad" if id(h) in grads else "set"
            found.setdefault(id(h._value), []).append(Role(kind, h, grads.get(id(h)), place.get(id(h))))
        return {i: (v, found[i]) for i, v in mine.items() if i in found}

    def _holders(self, mine: dict[int, Value], likely: list[Tensor]) -> list[Any]:
        """Everything that holds one of the values ``mine``; asks the garbage collector only if it must."""
        known: dict[int, Any] = {}
        for h in (*likely, *self.arguments, *self.tensors, *(owner for owner, _ in self.trace.journal)):
            if isinstance(h, Tensor):
                if id(h._value) in mine:
                    known[id(h)] = h
                if h._alias is not None:
                    h = h._alias.storage
            if isinstance(h, Storage) and id(h.value) in mine:
                known[id(h)] = h
        count = dict.fromkeys(mine, 0)
        for h in known.values():
            count[id(h.value if isinstance(h, Storage) else h._value)] += 1
        values = list(mine.values())
        unknown = [
            v for v, n in zip(values, map(sys.getrefcount, values), strict=True) if n > _REFERENCES + count[id(v)]
        ]
        for h in gc.get_referrers(*unknown) if unknown else ():
            if (isinstance(h, Tensor) and id(h._value) in mine) or (isinstance(h, Storage) and id(h.value) in mine):
                known[id(h)] = h
        return list(known.values())

    def _replaced(self, roles: dict[int, tuple[Value, list[Role]]]) -> dict[int, Value]:
        """The values of before that values made inside replace, by the id of the new one."""
        trace = self.trace
        journal: dict[int, int] = {}
        for owner, slot in trace.journal:
            journal.setdefault(id(owner), slot)
        found, taken = {}, set()
        for i, (v, row) in roles.items():
            for role in row:
                slot = journal.get(id(role.holder)) if role.kind == "set" else None
                if slot is not None and slot not in taken:
                    before = trace.values[slot]
                    if before.meta.shape == v.meta.shape and before.meta.dtype == v.meta.dtype:
                        found[i] = before
                        taken.add(slot)
                        break
        return found

    def _result(self, leaves: list[Any]) -> list[Any]:
        position = {id(v): k for k, v in enumerate(self.values)}
        out: list[Any] = []
        for x in leaves:
            if not isinstance(x, Tensor):
                if not made_alike(x):
                    self.reasons.append(f"it returns an object of type {type(x).__name__}")
                out.append(x)
                continue
            at = position.get(id(x._value))
            role = None if at is None else next((r for r in self.roles[at] if r.holder is x), None)
            if at is None or (role is not None and role.kind == "set"):
                k = next((k for k, t in enumerate(self.arguments) if t is x), None)
                out.append(Returned("same", x) if k is None else Returned("arg", k))
                if k is None and at is None and all(t is not x for t in self.tensors):
                    self.reasons.append("a tensor of before the call, which it does not name, is returned")
                continue
            if type(x) is not Tensor or (role is not None and role.kind != "result"):
                self.reasons.append(f"a {type(x).__name__} is returned")
            out.append(Returned("new", at, getattr(x, "_layout", None)))
        return out

    def operation(self, body: Body) -> tuple[Op, list[int]]:
        """All that was recorded as one operation; the order in which it takes what the body does.

        What is replaced comes first among arguments and results, so that its memory can be reused.
        """
        slots = self.trace.slots
        position = {s: k for k, s in enumerate(body.captured)}
        first = []
        for before in self.old:
            k = position.get(slots.get(before, -1))
            if k is None:
                break  # overwritten without being read: its memory is not an argument
            first.append(k)
        order = [*first, *[k for k in range(len(body.captured)) if k not in set(first)]]
        tape = not self.boundary
        key = ("captured", tape, tuple(order), len(first))
        op = body.ops.get(key)
        if op is None:
            n = len(order)

            def run(static: Any, args: tuple) -> tuple:
                given: list[Any] = [None] * n
                for k, a in zip(order, args[:n], strict=True):
                    given[k] = a
                results, flags = body((), given, args[n:])
                body.report(flags)
                return results

            op = body.ops[key] = Op("compiled function", run, differentiable=tape, info=body.info, leaf=bool(first),
                                    inplace=len(first))
            op.spliced = Spliced(body, order)
        if len(first) < len(self.old) and any(v.meta.grad == LEAF for v in self.values[len(first):]):
            self.reasons.append("a leaf is overwritten without being read")
        return op, order

    def providers(self, captured: list[Value]) -> list[Any]:
        """For each captured value where its successor is found: ("arg", k), ("tensor", t), ("grad", leaf), ("fixed",
        itself) or None."""
        before = {}
        for owner, slot in self.trace.journal:
            before.setdefault(id(self.trace.values[slot]), owner)
        found: dict[int, Any] = {id(t._value): ("arg", k) for k, t in reversed(list(enumerate(self.arguments)))}
        for owner in before.values():  # an argument that was written to: its old value came with it
            for k, t in enumerate(self.arguments):
                if owner is t:
                    found[next(i for i, o in before.items() if o is t)] = ("arg", k)
        found.update((id(v), ("fixed", v)) for v in captured if v in self.trace.fixed)
        missing = [v for v in captured if id(v) not in found]
        holders: dict[int, Tensor] = {}
        for t in self.tensors:
            holders.setdefault(id(t._value), t)
        unknown = [v for v in missing if id(v) not in holders and id(v) not in before]
        for h in gc.get_referrers(*unknown) if unknown else ():
            if isinstance(h, Tensor):
                holders.setdefault(id(h._value), h)
        grads = {id(leaf.grad): leaf for leaf in self._leaves_of_tape if isinstance(leaf.grad, Tensor)}
        grads.update((id(grad), leaf) for leaf, grad in self.trace.given_up.values() if grad is not None)
        for v in missing:
            owner = before[id(v)] if id(v) in before else holders.get(id(v))
            if isinstance(owner, Tensor) and (owner._alias is None or id(v) not in before):
                found[id(v)] = ("grad", grads[id(owner)]) if id(owner) in grads else ("tensor", owner)
        return [found.get(id(v)) for v in captured]

    def grads(self, cleared: list[Any]) -> list[tuple[Any, str, int | None]]:
        """For each leaf whose gradient is touched: (leaf, what it must be before: none, some, any; position after)."""
        after: dict[int, tuple[Any, int | None]] = {}
        taken = {id(owner) for owner, _ in self.trace.journal}
        out = []
        for k, row in enumerate(self.roles):
            for role in row:
                if role.kind == "grad":
                    after[id(role.leaf)] = (role.leaf, k)
                    _, old = self.trace.given_up.get(id(role.leaf), (None, None))
                    had = old is not None or id(role.holder) in taken
                    before = "any" if role.leaf in cleared else "some" if had else "none"
                    out.append((role.leaf, before, k))
        for leaf in dict.fromkeys(cleared):
            if id(leaf) not in after and leaf.grad is None:
                out.append((leaf, "any", None))
        return out

    def assign(self, results: tuple[Value, ...]) -> None:
        """Let everything that holds a value of the recording hold the one of the operation."""
        from ..tensor._values import _as_leaf, _plain

        for v, row, value in zip(self.values, self.roles, results, strict=True):
            if value.meta.grad == LEAF:
                value.node = v.node
            elif v.meta.grad == LEAF:
                value = _as_leaf(value, v.node)
            elif not v.meta.grad and value.meta.grad:
                value = _plain(value)
            for role in row:
                if role.kind == "storage":
                    role.holder.value = value
                else:
                    role.holder._value = value
