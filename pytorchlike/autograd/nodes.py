"""The backward graph as one can look at it: nodes with PyTorch's names, next functions and hooks."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import Any, NamedTuple

from ..engine import Leaf, Value, make_value
from ..engine.grad import Watch
from ..engine.op import Wide
from ..engine.segment import Freed, Segment
from ..engine.trie import Call, Graph, Input
from ._node_names import CUSTOM, arguments, edges_of, name_of, noted

__all__ = ["CUSTOM", "GradientEdge", "Node", "get_gradient_edge", "node_of"]


class Node:
    """A step of the backward graph: the gradient of one recorded operation.

    ``name()`` is such as 'AddBackward0'; ``next_functions`` lead to the steps that come after it on the way back, a
    ``variable`` is the leaf of an 'AccumulateGrad' step; ``_saved_self``, ``_saved_other``, ``_saved_dim``, … are the
    operation's arguments and ``_saved_result`` its result, where the gradient rests on values, until they are freed.
    The same step is the same object as long as it is in use.
    """

    __slots__ = ("_name", "_anchor", "_edges", "_leaf", "_between", "metadata", "__weakref__")

    def __new__(cls, name: str = "Node", *args: Any, **kwargs: Any) -> Any:
        return object.__new__(kind_of(name.rsplit(":", 1)[-1]))

    def __init__(self, name: str, anchor: Any = None, leaf: Leaf | None = None, edges: Any = None) -> None:
        self._name, self._anchor, self._leaf, self._edges, self._between = name, anchor, leaf, edges, None
        self.metadata: dict = {}

    def name(self) -> str:
        """PyTorch's name of the step."""
        return self._name

    @property
    def next_functions(self) -> tuple:
        """((node or None, which of its results), …) in the order of the operation's tensor arguments."""
        if self._edges is not None:
            return self._edges()
        where = None if self._leaf is not None else _where(self._anchor)
        if where is None:
            return ()
        graph, input_of, slot = where
        call = graph.producer[slot]
        return edges_of(call, lambda s: _edge(graph, s, input_of), self._inner)

    def _inner(self, name: str, path: tuple, edges: Any) -> Node:
        """The node in between at a path: the same one as long as it is in use, which this one is then, too."""
        if self._between is None:
            self._between = weakref.WeakValueDictionary()
        found = self._between.get(path)
        if found is None:
            found = self._between[path] = Node(name, edges=edges)
        return found

    @property
    def variable(self) -> Any:
        """The leaf that an AccumulateGrad step adds to."""
        if self._leaf is None:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute 'variable'")
        owner = self._leaf.owner() if self._leaf.owner is not None else None
        if owner is not None:
            return owner
        from ..tensor import Tensor

        return Tensor._of(self._anchor)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_saved_") and self._anchor is not None:
            return _saved(self, name.removeprefix("_saved_"))
        ctx = None if name.startswith("__") or self._anchor is None else _context(self._anchor)
        if ctx is not None:
            return getattr(ctx, name)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    # ---- hooks ------------------------------------------------------------------------------------------------

    def register_hook(self, fn: Any) -> Any:
        """Call ``fn(grad_inputs, grad_outputs)`` after the step; a tuple that it returns replaces ``grad_inputs``.

        grad_inputs: gradients of the operation's arguments; grad_outputs: of its results; None where there is none.
        """
        from ..utils.hooks import RemovableHandle

        if self._leaf is not None:
            from collections import OrderedDict as Ordered

            if self._leaf.post_hooks is None:
                self._leaf.post_hooks = Ordered()
            handle = RemovableHandle(self._leaf.post_hooks)
            self._leaf.post_hooks[handle.id] = _OfNode(fn)
            return handle
        hooks = self._hook_table().post
        handle = RemovableHandle(hooks)
        hooks[handle.id] = fn
        return handle

    def register_prehook(self, fn: Any) -> Any:
        """Call ``fn(grad_outputs)`` before the step; a tuple that it returns replaces ``grad_outputs``."""
        from ..utils.hooks import RemovableHandle

        if self._leaf is not None:
            if self._leaf.hooks is None:
                self._leaf.hooks = OrderedDict()
            handle = RemovableHandle(self._leaf.hooks)
            self._leaf.hooks[handle.id] = _OfNode(fn)
            return handle
        hooks = self._hook_table().pre
        handle = RemovableHandle(hooks)
        hooks[handle.id] = fn
        return handle

    def _hook_table(self) -> _CallHooks:
        place = _watched(self._anchor)
        if place is None:
            raise RuntimeError(f"cannot register a hook on {self._name}: its graph was given up by a backward pass")
        watched, graph, slot = place
        return _hooks_of_call(watched, graph.producer[slot])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {id(self):#014x}>"


class _OfNode:
    """A hook of an AccumulateGrad step among the hooks of its leaf."""

    def __init__(self, fn: Any) -> None:
        self.of_node = fn


_kinds: dict[str, type] = {}


def kind_of(name: str) -> type:
    """A class for each name: programs that draw graphs print the name of the type."""
    kind = _kinds.get(name)
    if kind is None:
        kind = _kinds[name] = type(name, (Node,), {"__slots__": (), "__module__": "torch.autograd"})
    return kind


class _CallHooks:
    """What a reverse pass runs around one call: hooks on its node, whichever object stands for the node.

    They see what PyTorch's see: a gradient for each result and for each of the next functions; None where there is no
    gradient.
    """

    def __init__(self, call: Call, results: list[int]) -> None:
        self.call, self.results = call, results
        self.pre: dict[int, Any] = OrderedDict()
        self.post: dict[int, Any] = OrderedDict()

    def before(self, cotangents: dict[int, Value]) -> dict[int, Value]:
        for hook in list(self.pre.values()):
            new = hook(tuple([_tensor(cotangents.get(s)) for s in self.results]))
            if new is not None:
                cotangents = self._replaced(new, self.results, hook)
        return cotangents

    def after(self, call: Call, given: dict[int, Value], found: dict) -> dict:
        keys = self._arguments(found)
        for hook in list(self.post.values()):
            once = [k if k not in keys[:i] else None for i, k in enumerate(keys)]  # x * x: the sum comes first
            grads = tuple([_tensor(found.get(k)) for k in once])
            new = hook(grads, tuple([_tensor(given.get(s)) for s in self.results]))
            if new is not None:
                found = self._replaced(new, keys, hook)
        return found

    def _arguments(self, found: dict) -> list:
        """The keys of ``found`` in the order of the next functions."""
        if any(not isinstance(k, int) for k in found):  # a custom function answers by the values that came in
            return list(found)
        wanted = set(self.call.wrt_slots)
        edges = edges_of(self.call, lambda s: (s if s in wanted else None, 0), lambda name, path, edges: edges()[0][0])
        slots = [s for s, _ in edges]
        return slots if wanted <= set(slots) else list(self.call.wrt_slots)

    @staticmethod
    def _replaced(new: Any, keys: list, hook: Any) -> dict:
        new = new if isinstance(new, tuple) else (new,)
        if len(new) != len(keys):
            raise RuntimeError(f"hook '{getattr(hook, '__name__', hook)}' has returned an incorrect number of values "
                               f"(got {len(new)}, but expected {len(keys)})")  # fmt: skip
        out: dict = {}
        for k, t in zip(keys, new, strict=True):
            if t is not None:
                out[k] = t._get() if k not in out else (_tensor(out[k]) + t)._get()
        out.pop(None, None)
        return out


def _tensor(value: Value | None) -> Any:
    from ..tensor import Tensor

    return None if value is None else Tensor._of(value)


def _hooks_of_call(watched: dict, call: Call) -> _CallHooks:
    """Those of a call; they are made, and a reverse pass told of them, if there are none."""
    slots = tuple(call.out_slots)
    found = [w for w in dict.fromkeys(watched.get(s) for s in slots) if w is not None]
    one = next((w for w in found if set(w.slots) >= set(slots)), None)
    if one is None:
        one = Watch(slots, None)
        for w in found:
            for s, hooks in w.hooks.items():
                one.hooks.setdefault(s, []).extend(hooks)
        for s in slots:
            watched[s] = one
    for hook in one.before:
        if isinstance(there := getattr(hook, "__self__", None), _CallHooks):
            return there
    # a custom function has results that are no tensors as well
    made = _CallHooks(call, list(getattr(one.handle, "slots", None) or slots))
    one.before.append(made.before)
    one.after.append(made.after)
    return made


# ---- where a node is ---------------------------------------------------------------------------------------------


def _spot(anchor: Any) -> Any:
    """(trace or segment, slot) of an anchor: a Value, or that pair itself."""
    if type(anchor) is tuple:
        return anchor
    if anchor.trace is not None:
        return anchor.trace, anchor.slot
    return anchor.node if type(anchor.node) is tuple else None


def _where(anchor: Any) -> tuple[Graph, Any, int] | None:
    spot = _spot(anchor)
    if spot is None:
        return None
    where, slot = spot
    if type(where) is Segment:
        return where.graph, lambda s: _of_segment(where, s), slot
    values = where.values
    return where.state.graph(), lambda s: values[s], slot


def _of_segment(segment: Any, s: int) -> Value | None:
    found = segment.inputs.get(s)
    if found is None and s in segment.leaves:
        found = make_value(segment.graph.metas[s], None, segment.leaves[s])
    if found is None and type(segment.graph.producer[s]) is Call:
        found = make_value(segment.graph.metas[s], None, (segment, s))
    return found


def _saved(node: Node, name: str) -> Any:
    """What ``grad_fn._saved_self`` and such give: an argument of the operation by its name, or its ``result``."""
    spot = _spot(node._anchor)
    found = None if spot is None else _where(node._anchor)
    call = None if found is None else found[0].producer[found[2]]
    if found is None or type(call) is not Call or call in _given_up(spot[0]):
        raise RuntimeError(
            "Trying to backward through the graph a second time (or directly access saved tensors after they have "
            "already been freed). Saved intermediate values of the graph are freed when you call .backward() or "
            "autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or if "
            "you need to access saved tensors after calling backward."
        )
    where, graph = spot[0], found[0]
    told = noted(call, arguments(call, tuple([_Slot(i) if type(i) is int else _number(where, i) for i in call.ins])))
    # the first argument has other names here
    key = next(iter(told)) if name == "self" and "self" not in told and told else name
    value = _Slot(call.first) if name == "result" else told.get(key, _MISSING)
    if value is _MISSING or (type(value) is _Slot and not call.op.saves):
        raise AttributeError(f"'{type(node).__name__}' object has no attribute '_saved_{name}'")
    return _tensor_at(node._anchor, where, graph, value.slot) if type(value) is _Slot else value


_MISSING = object()


class _Slot(NamedTuple):
    """A tensor among the arguments of a call."""

    slot: int


def _given_up(where: Any) -> Any:
    return where.freed if type(where) is Segment else where.state.graph().freed


def _number(where: Any, i: Any) -> Any:
    if type(i) is Wide:
        numbers = where.numbers
        return i.type(numbers[i])
    return None if i is None else i[1]


def _tensor_at(anchor: Any, where: Any, graph: Graph, slot: int) -> Any:
    """The tensor of a slot, as it was."""
    from ..tensor import Tensor

    if type(anchor) is Value and _spot(anchor) == (where, slot):
        return Tensor._of(anchor)
    value = where.values[slot] if type(where) is not Segment else where.inputs.get(slot)
    if value is None:
        leaf = where.leaves.get(slot)
        value = make_value(graph.metas[slot], where.saved[slot], (where, slot) if leaf is None else leaf)
    owner = value.node.owner() if type(value.node) is Leaf and value.node.owner is not None else None
    return Tensor._of(value) if owner is None else owner


def _watched(anchor: Any) -> tuple[dict, Graph, int] | None:
    where = _where(anchor)
    return None if where is None else (_spot(anchor)[0].watched, where[0], where[2])


def _context(anchor: Any) -> Any:
    """The context of a custom function whose results are here."""
    place = _watched(anchor)
    found = None if place is None else place[0].get(place[2])
    return getattr(getattr(found, "handle", None), "ctx", None)


#: Nodes in use by where they are; those of pending calls are found again when these have been executed.
_nodes: weakref.WeakValueDictionary = weakref.WeakValueDictionary()
_pending: weakref.WeakSet = weakref.WeakSet()


def _key(where: Any, first: int) -> tuple:
    return (where.number if type(where) is Segment else ("pending", id(where)), first)


def _node(anchor: Any, where: Any, graph: Graph, slot: int) -> Node:
    call = graph.producer[slot]
    if type(call) is not Call:
        return Node("Backward", anchor)
    for waiting in list(_pending):
        spot = _spot(waiting._anchor)
        if spot is not None and type(spot[0]) is Segment:
            _pending.discard(waiting)
            _nodes.setdefault(_key(spot[0], spot[0].graph.producer[spot[1]].first), waiting)
    key = _key(where, call.first)
    found = _nodes.get(key)
    if found is None or _stale(found, where):
        found = _nodes[key] = Node(_name(call), anchor)
        if type(where) is not Segment:
            _pending.add(found)
    return found


def _name(call: Call) -> str:
    if getattr(call.op, "info", None) is not CUSTOM:
        return name_of(call)
    return call.op.name.removesuffix("Backward0") + ("Backward0" if call.op.name.endswith("Backward0") else "Backward")


def _freed(value: Value) -> Node:
    call = value.node.call if type(value.node) is Freed else None
    return Node(_name(call) if type(call) is Call else "CompiledFunctionBackward")


def _stale(node: Node, where: Any) -> bool:
    spot = _spot(node._anchor)
    return spot is None or spot[0] is not where


def _edge(graph: Graph, slot: int, input_of: Any) -> tuple:
    """(node, which of its results) that a slot's gradient goes to; (None, 0) for one without."""
    if not graph.metas[slot].grad:
        return None, 0
    value = input_of(slot)
    return (Node("Backward"), 0) if value is None else edge_of_value(value)


def edge_of_value(value: Value) -> tuple:
    """(node, which of its results) behind a value that requires gradients."""
    if type(value.node) is Leaf:
        key = ("leaf", id(value.node))
        found = _nodes.get(key)
        if found is None or found._leaf is not value.node:
            found = _nodes[key] = Node("torch::autograd::AccumulateGrad", value, value.node)
        return found, 0
    spot = _spot(value)
    if spot is None:
        return _freed(value), 0
    where, slot = spot
    graph = where.graph if type(where) is Segment else where.state.graph()
    source = graph.producer[slot]
    if type(source) is Input:
        entered = where.values[slot] if type(where) is not Segment else where.inputs.get(slot)
        return (Node("Backward"), 0) if entered is None or entered is value else edge_of_value(entered)
    if type(source) is Call and source.op.alias and source.op.name == "leaf":
        return Node("Backward"), 0
    return _node(value, where, graph, slot), slot - source.first if type(source) is Call else 0


def node_of(tensor: Any) -> Node:
    """The node of a tensor that is not a leaf."""
    value: Value = tensor._get()
    if value.trace is None and type(value.node) is Freed:
        return _freed(value)
    return edge_of_value(value)[0]


class GradientEdge(NamedTuple):
    """A place of the backward graph where gradients can be asked for: result ``output_nr`` of ``node``."""

    node: Node
    output_nr: int
    ownership_token: Any = None

    def value(self) -> Value:
        """The value whose gradient this is."""
        anchor = self.node._anchor
        if self.node._leaf is not None:
            return anchor
        spot = _spot(anchor) if anchor is not None else None
        if spot is None:
            raise RuntimeError(f"the graph behind {self.node!r} was given up by a backward pass")
        where, slot = spot
        graph = where.graph if type(where) is Segment else where.state.graph()
        slot = graph.producer[slot].first + self.output_nr
        if type(where) is not Segment:
            return where.values[slot]
        if type(anchor) is not tuple and anchor.node == (where, slot):
            return anchor
        return make_value(graph.metas[slot], None, (where, slot))


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """The :class:`GradientEdge` of a tensor: it may stand for the tensor in ``grad`` and ``backward``.

    The tensor itself need not be kept.  Raises RuntimeError if it does not require gradients.
    """
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    return GradientEdge(*edge_of_value(tensor._get()))


