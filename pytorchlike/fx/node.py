"""Nodes of a graph: one call, parameter or result each (``torch.fx.node``)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .immutable_collections import immutable_dict, immutable_list

if TYPE_CHECKING:
    from .graph import Graph

__all__ = ["OPS", "Node", "has_side_effect", "map_aggregate", "map_arg", "mapped", "target_name"]

T = TypeVar("T")
Argument = Any
Target = Any
#: What a node can be.
OPS = ("placeholder", "get_attr", "call_function", "call_module", "call_method", "output", "root")
#: Functions whose calls stay although nobody uses their results.
_effects: set[Callable[..., Any]] = {operator.setitem}
_EFFECTS = ("_assert", "_record_function_enter", "_record_function_exit")


def has_side_effect(fn: T) -> T:
    """Mark a function whose calls must stay in a graph although nobody uses their results; returns it."""
    _effects.add(fn)  # type: ignore[arg-type]
    return fn


def map_aggregate(a: Any, fn: Callable[[Any], Any]) -> Any:
    """``a`` with ``fn`` applied to all that its tuples, lists, dicts and slices hold; new ones cannot be changed."""
    return mapped(a, fn, immutable_list, immutable_dict)


def mapped(a: Any, fn: Callable[[Any], Any], lists: type = list, dicts: type = dict) -> Any:
    """As :func:`map_aggregate`, with lists and dicts of the classes that are given."""
    if isinstance(a, tuple):
        parts = [mapped(x, fn, lists, dicts) for x in a]
        return type(a)(*parts) if hasattr(a, "_fields") else tuple(parts)
    if isinstance(a, list):
        return lists([mapped(x, fn, lists, dicts) for x in a])
    if isinstance(a, dict):
        return dicts({k: mapped(v, fn, lists, dicts) for k, v in a.items()})
    if isinstance(a, slice):
        return slice(*(mapped(x, fn, lists, dicts) for x in (a.start, a.stop, a.step)))
    return fn(a)


def map_arg(a: Any, fn: Callable[[Node], Any]) -> Any:
    """``a`` with ``fn`` applied to the nodes in it; everything else as it is."""
    if not callable(fn):
        raise AssertionError("torch.fx.map_arg(a, fn): fn must be a callable")
    return map_aggregate(a, lambda x: fn(x) if isinstance(x, Node) else x)


def target_name(target: Any) -> str:
    """How a node's target is written for people."""
    if isinstance(target, str):
        return target
    at = getattr(target, "_at", None)
    if at is not None:
        return ".".join(p for p in ("torch", *at) if p)
    name = getattr(target, "__name__", None)
    if name is None:
        return repr(target)
    module = getattr(target, "__module__", None) or ""
    module = module.replace("_operator", "operator")
    return f"{module}.{name}" if module else name


class Node:
    """One step of a :class:`Graph`.

    op: what it is (`OPS`).   target: the name of an argument or attribute or method, or the function that is called.
    args, kwargs: values, with nodes in place of what other nodes give.   users: the nodes that use this one (a dict,
    in order).   meta: a dict for anybody's notes.
    """

    def __init__(self, graph: Graph, name: str, op: str, target: Target, args: tuple, kwargs: dict[str, Any],
                 return_type: Any = None) -> None:  # fmt: skip
        if op not in OPS:
            raise AssertionError(f"op '{op}' is not one of {', '.join(OPS[:-1])}")
        if op == "call_function" and not callable(target):
            raise ValueError(f"Node [graph = {graph}, name = '{name}'] target {target!r} has type {type(target)} but a "
                             "Callable is expected")  # fmt: skip
        if op not in ("call_function", "root") and not isinstance(target, str):
            raise ValueError(f"Node [graph = {graph}, name = '{name}'] target {target!r} has type {type(target)} but a "
                             "str is expected")  # fmt: skip
        self.graph, self.name, self.op, self.target = graph, name, op, target
        self.type = return_type
        self.users: dict[Node, None] = {}
        self._uses: dict[Node, None] = {}
        self._prev = self._next = self
        self._erased = False
        self.meta: dict[str, Any] = {}
        self._set(tuple(args), dict(kwargs))

    def _set(self, args: tuple, kwargs: dict[str, Any]) -> None:
        for used in self._uses:
            used.users.pop(self, None)
        self._uses = {}

        def use(n: Node) -> Node:
            self._uses.setdefault(n)
            return n

        self._args, self._kwargs = map_arg((args, kwargs), use)
        for used in self._uses:
            used.users.setdefault(self)

    @property
    def args(self) -> tuple:
        """Positional arguments; assigning keeps ``users`` of the nodes in them right."""
        return self._args

    @args.setter
    def args(self, args: tuple) -> None:
        self._set(tuple(args), self._kwargs)

    @property
    def kwargs(self) -> dict[str, Any]:
        """Arguments by name."""
        return self._kwargs

    @kwargs.setter
    def kwargs(self, kwargs: dict[str, Any]) -> None:
        self._set(self._args, dict(kwargs))

    @property
    def all_input_nodes(self) -> list[Node]:
        """The nodes among the arguments, each once."""
        return list(self._uses)

    @property
    def next(self) -> Node:
        """The node after this one."""
        return self._next

    @property
    def prev(self) -> Node:
        """The node before this one."""
        return self._prev

    @property
    def stack_trace(self) -> str | None:
        """Where the call was traced, if that was noted."""
        return self.meta.get("stack_trace")

    @stack_trace.setter
    def stack_trace(self, trace: str | None) -> None:
        self.meta["stack_trace"] = trace

    def prepend(self, x: Node) -> None:
        """Move ``x`` in front of this node."""
        if self.graph is not x.graph:
            raise AssertionError("Attempting to move a Node into a different Graph")
        if x is self:
            return
        x._unlink()
        before = self._prev
        before._next, x._prev = x, before
        x._next, self._prev = self, x

    def append(self, x: Node) -> None:
        """Move ``x`` behind this node."""
        self._next.prepend(x)

    def _unlink(self) -> None:
        self._prev._next, self._next._prev = self._next, self._prev

    def update_arg(self, idx: int, arg: Any) -> None:
        """Replace one positional argument."""
        args = list(self._args)
        args[idx] = arg
        self.args = tuple(args)

    def insert_arg(self, idx: int, arg: Any) -> None:
        """Put one more positional argument in front of that at ``idx``."""
        if not 0 <= idx <= len(self._args):
            raise AssertionError("insert_args index must be between 0 and len(self.args)")
        self.args = (*self._args[:idx], arg, *self._args[idx:])

    def update_kwarg(self, key: str, arg: Any) -> None:
        """Replace an argument given by name."""
        self.kwargs = {**self._kwargs, key: arg}

    def replace_all_uses_with(
        self, replace_with: Node, delete_user_cb: Callable[[Node], bool] = lambda user: True, *,
        propagate_meta: bool = False,
    ) -> list[Node]:  # fmt: skip
        """Have all users (of which ``delete_user_cb`` is true) use another node instead; returns them."""
        if propagate_meta:
            replace_with.meta.update(self.meta)
        changed = [user for user in list(self.users) if delete_user_cb(user)]
        for user in changed:
            user.replace_input_with(self, replace_with)
        return changed

    def replace_input_with(self, old_input: Node, new_input: Any) -> None:
        """Use ``new_input`` wherever ``old_input`` is among the arguments."""
        self._set(*map_arg((self._args, self._kwargs), lambda n: new_input if n is old_input else n))

    def is_impure(self, impure_random: bool = True) -> bool:
        """Whether it must stay although nobody uses it."""
        if self.op in ("placeholder", "output"):
            return True
        if self.op == "call_function":
            if impure_random and getattr(getattr(self.target, "entry", None), "random", False):
                return True
            name = getattr(self.target, "__name__", "")
            return self.target in _effects or name in _EFFECTS or (name.endswith("_") and not name.endswith("__"))
        if self.op == "call_method":
            return self.target.endswith("_") and not self.target.endswith("__")
        if self.op == "call_module":
            owner = self.graph.owning_module
            if owner is None:
                raise AssertionError("self.graph.owning_module not set for purity check")
            return getattr(owner.get_submodule(self.target), "_is_impure", False)
        return False

    def format_node(self, placeholder_names: list[str] | None = None, *args: Any, **kwargs: Any) -> str | None:
        """One line about the node; arguments are collected in ``placeholder_names`` and the output's line has none."""
        kind = "" if self.type is None else f" : {getattr(self.type, '__name__', self.type)}"
        typed = kind or " :"
        users = "" if self.op in ("output",) else f"[num_users={len(self.users)}]"
        if self.op == "placeholder":
            if placeholder_names is not None:
                default = f"(default={self.args[0]!r})" if self.args else ""
                placeholder_names.append(f"{self.target}{kind}{default}")
                return None
            default = f"(default={self.args[0]})" if self.args else ""
            return f"%{self.name}{typed} {users} = {self.op}[target={self.target}]{default}"
        if self.op == "output":
            return f"return {self.args[0]}" if self.args else "return"
        if self.op == "get_attr":
            return f"%{self.name}{typed} {users} = {self.op}[target={self.target}]"
        return (f"%{self.name}{typed} {users} = {self.op}[target={target_name(self.target)}]"
                f"(args = {_written(self.args)}, kwargs = {_written(self.kwargs)})")  # fmt: skip

    def __repr__(self) -> str:
        return self.name

    def __lt__(self, other: Node) -> bool:
        """Whether it comes before ``other`` in the graph."""
        node = self._next
        while node.op != "root":
            if node is other:
                return True
            node = node._next
        return False


def _written(a: Any) -> str:
    """Arguments as graphs show them."""
    if isinstance(a, Node):
        return f"%{a.name}"
    if type(a) is tuple:
        return f"({', '.join(map(_written, a))}{',' if len(a) == 1 else ''})"
    if isinstance(a, list):
        return f"[{', '.join(map(_written, a))}]"
    if isinstance(a, dict):
        return "{" + ", ".join(f"{k}: {_written(v)}" for k, v in a.items()) + "}"
    return str(a)
