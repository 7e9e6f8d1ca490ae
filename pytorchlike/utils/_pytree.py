"""Nested containers of values: taking them apart and putting them together again (``torch.utils._pytree``).

Containers are tuples, lists, dicts, named tuples, ``OrderedDict``, ``defaultdict``, ``deque`` and what is registered by
:func:`register_pytree_node`; everything else, None included, is a leaf.  Dicts keep the order of their keys.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

__all__ = [
    "LeafSpec", "PyTree", "TreeSpec", "arg_tree_leaves", "is_namedtuple", "is_namedtuple_class",
    "is_namedtuple_instance", "register_pytree_node", "tree_all", "tree_all_only", "tree_any", "tree_any_only",
    "tree_flatten", "tree_is_leaf", "tree_iter", "tree_leaves", "tree_map", "tree_map_", "tree_map_only",
    "tree_map_only_", "tree_structure", "tree_unflatten",
]  # fmt: skip

PyTree = Any
Context = Any  # what a container is, beside its children


class _Kind(NamedTuple):
    flatten_fn: Callable[[Any], tuple[list, Any]]
    unflatten_fn: Callable[[Iterable, Any], Any]
    flatten_with_keys_fn: Callable[[Any], tuple[list, Any]] | None = None


SUPPORTED_NODES: dict[type, _Kind] = {}


def register_pytree_node(cls: type, flatten_fn: Callable[[Any], tuple[list, Any]],
                         unflatten_fn: Callable[[Iterable, Any], Any], *,
                         flatten_with_keys_fn: Callable[[Any], tuple[list, Any]] | None = None,
                         **names: Any) -> None:  # fmt: skip
    """Make ``cls`` a container.

    ``flatten_fn(x)`` gives (children, context), ``unflatten_fn(children, context)`` makes x again, and
    ``flatten_with_keys_fn(x)`` gives (pairs of key and child, context); further keywords are names and functions for
    serialization, which is not offered.  Raises ValueError if ``cls`` is registered already.
    """
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    SUPPORTED_NODES[cls] = _Kind(flatten_fn, unflatten_fn, flatten_with_keys_fn)


_register_pytree_node = register_pytree_node


def tree_is_leaf(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether a value is no container, or one that ``is_leaf`` says is none."""
    return _get_node_type(tree) not in SUPPORTED_NODES or (is_leaf is not None and is_leaf(tree))


# Programs register classes of their own with these.


def _tuple_flatten(d: tuple) -> tuple[list[Any], Any]:
    """The elements."""
    return list(d), None


def _tuple_unflatten(values: Iterable[Any], context: Any) -> tuple:
    """The tuple of the elements."""
    return tuple(values)


def _list_flatten(d: list) -> tuple[list[Any], Any]:
    """The elements."""
    return list(d), None


def _list_unflatten(values: Iterable[Any], context: Any) -> list:
    """The list of the elements."""
    return list(values)


def _dict_flatten(d: dict) -> tuple[list[Any], Any]:
    """Values and keys."""
    return list(d.values()), list(d)


def _dict_unflatten(values: Iterable[Any], keys: Any) -> dict:
    """The dict of values and keys."""
    return dict(zip(keys, values, strict=True))


def _ordereddict_unflatten(values: Iterable[Any], keys: Any) -> OrderedDict:
    """The ordered dict of values and keys."""
    return OrderedDict(zip(keys, values, strict=True))


def _defaultdict_flatten(d: defaultdict) -> tuple[list[Any], Any]:
    """Values, and what makes a missing one with the keys."""
    return list(d.values()), [d.default_factory, list(d)]


def _defaultdict_unflatten(values: Iterable[Any], context: Any) -> defaultdict:
    """The dict of values, what makes a missing one, and keys."""
    factory, keys = context
    return defaultdict(factory, zip(keys, values, strict=True))


def _deque_flatten(d: deque) -> tuple[list[Any], Any]:
    """The elements, and how many there may be."""
    return list(d), d.maxlen


def _deque_unflatten(values: Iterable[Any], maxlen: Any) -> deque:
    """The queue of the elements."""
    return deque(values, maxlen)


def _namedtuple_flatten(d: Any) -> tuple[list[Any], Any]:
    """The elements, and the class."""
    return list(d), type(d)


def _namedtuple_unflatten(values: Iterable[Any], cls: Any) -> Any:
    """The named tuple of the elements."""
    return cls(*values)


_ordereddict_flatten = _odict_flatten = _dict_flatten
_odict_unflatten = _ordereddict_unflatten

SUPPORTED_NODES[tuple] = _Kind(_tuple_flatten, _tuple_unflatten)
SUPPORTED_NODES[list] = _Kind(_list_flatten, _list_unflatten)
SUPPORTED_NODES[dict] = _Kind(_dict_flatten, _dict_unflatten)
SUPPORTED_NODES[OrderedDict] = _Kind(_dict_flatten, _ordereddict_unflatten)
SUPPORTED_NODES[defaultdict] = _Kind(_defaultdict_flatten, _defaultdict_unflatten)
SUPPORTED_NODES[deque] = _Kind(_deque_flatten, _deque_unflatten)
SUPPORTED_NODES[namedtuple] = _Kind(_namedtuple_flatten, _namedtuple_unflatten)  # type: ignore[index]


def _get_node_type(x: Any) -> Any:
    cls = type(x)
    if cls in SUPPORTED_NODES:
        return cls
    return namedtuple if is_namedtuple_class(cls) else None


class TreeSpec:
    """The shape of a tree: ``type`` of the container (None for a leaf), its ``context``, the specs of its children."""

    __slots__ = ("type", "context", "children_specs", "num_leaves")

    def __init__(self, type: Any, context: Any, children_specs: list[TreeSpec]) -> None:
        self.type, self.context, self.children_specs = type, context, children_specs
        self.num_leaves = sum(c.num_leaves for c in children_specs) if type is not None else 1

    @property
    def num_children(self) -> int:
        return len(self.children_specs)

    @property
    def num_nodes(self) -> int:
        return 1 + sum(c.num_nodes for c in self.children_specs)

    def is_leaf(self) -> bool:
        return self.type is None

    def children(self) -> list[TreeSpec]:
        return list(self.children_specs)

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The tree with these leaves; ValueError if their number is another."""
        return tree_unflatten(leaves, self)

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, TreeSpec) and self.type is other.type and self.context == other.context
                and self.children_specs == other.children_specs)  # fmt: skip

    def __hash__(self) -> int:
        return hash((self.type, str(self.context), tuple(self.children_specs)))

    def __repr__(self) -> str:
        if self.type is None:
            return "*"
        inner = ", ".join(map(repr, self.children_specs))
        return f"TreeSpec({self.type.__name__}, {self.context}, [{inner}])"


def LeafSpec() -> TreeSpec:
    """The spec of a single leaf."""
    return _LEAF


_LEAF = TreeSpec(None, None, [])


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves of a tree in order, and its shape."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves, is_leaf)


def _flatten(tree: Any, leaves: list[Any], is_leaf: Callable[[Any], bool] | None) -> TreeSpec:
    cls = _get_node_type(tree)
    if cls is None or (is_leaf is not None and is_leaf(tree)):
        leaves.append(tree)
        return _LEAF
    children, context = SUPPORTED_NODES[cls].flatten_fn(tree)
    return TreeSpec(cls, context, [_flatten(c, leaves, is_leaf) for c in children])


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The tree of a shape with the given leaves; ValueError if their number is another."""
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(
            f"treespec.unflatten(leaves): `leaves` has length {len(leaves)} but the spec refers to a pytree that holds "
            f"{treespec.num_leaves} items ({treespec})."
        )
    return _unflatten(iter(leaves), treespec)


def _unflatten(leaves: Any, spec: TreeSpec) -> Any:
    if spec.type is None:
        return next(leaves)
    return SUPPORTED_NODES[spec.type].unflatten_fn([_unflatten(leaves, c) for c in spec.children_specs], spec.context)


def tree_iter(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Iterable[Any]:
    """The leaves, one by one."""
    return iter(tree_flatten(tree, is_leaf)[0])


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of a tree in order."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    """The shape of a tree."""
    return tree_flatten(tree, is_leaf)[1]


def flatten_up_to(spec: TreeSpec, tree: Any) -> list[Any]:
    """The subtrees of ``tree`` that are where ``spec`` has its leaves; ValueError if the containers differ."""
    if spec.type is None:
        return [tree]
    cls = _get_node_type(tree)
    if cls is not spec.type:
        raise ValueError(f"expected a {spec.type.__name__} at this place of the tree, got {type(tree).__name__}")
    children, context = SUPPORTED_NODES[cls].flatten_fn(tree)
    if spec.type in (dict, OrderedDict) and context != spec.context and set(context) == set(spec.context):
        children = [tree[k] for k in spec.context]
    elif context != spec.context or len(children) != len(spec.children_specs):
        raise ValueError(f"the trees differ: {spec} and {tree_structure(tree)}")
    return [x for s, c in zip(spec.children_specs, children, strict=True) for x in flatten_up_to(s, c)]


def tree_map(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """The tree of ``func(leaf, *leaves of the other trees)``; ValueError if another tree's containers differ."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [flatten_up_to(spec, r) for r in rests]
    return tree_unflatten([func(*xs) for xs in zip(leaves, *others, strict=True)], spec)


def tree_map_(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """Call ``func`` on the leaves for what it does to them; returns the tree itself."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_only(kinds: Any, func: Callable[[Any], Any], tree: Any,
                  is_leaf: Callable[[Any], bool] | None = None) -> Any:  # fmt: skip
    """As :func:`tree_map`; leaves that are no instances of ``kinds`` (a type, types, or a predicate) stay."""
    fits = kinds if callable(kinds) and not isinstance(kinds, type) else lambda x: isinstance(x, kinds)
    return tree_map(lambda x: func(x) if fits(x) else x, tree, is_leaf=is_leaf)


def tree_map_only_(kinds: Any, func: Callable[[Any], Any], tree: Any,
                   is_leaf: Callable[[Any], bool] | None = None) -> Any:  # fmt: skip
    """As :func:`tree_map_only`, for what ``func`` does to the leaves; returns the tree itself."""
    tree_map_only(kinds, func, tree, is_leaf)
    return tree


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether ``pred`` holds for all leaves."""
    return all(map(pred, tree_iter(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether ``pred`` holds for some leaf."""
    return any(map(pred, tree_iter(tree, is_leaf)))


def tree_all_only(kinds: Any, pred: Callable[[Any], bool], tree: Any,
                  is_leaf: Callable[[Any], bool] | None = None) -> bool:  # fmt: skip
    """Whether ``pred`` holds for all leaves that are instances of ``kinds`` (a type, or types)."""
    return all(pred(x) for x in tree_iter(tree, is_leaf) if isinstance(x, kinds))


def tree_any_only(kinds: Any, pred: Callable[[Any], bool], tree: Any,
                  is_leaf: Callable[[Any], bool] | None = None) -> bool:  # fmt: skip
    """Whether ``pred`` holds for some leaf that is an instance of ``kinds`` (a type, or types)."""
    return any(pred(x) for x in tree_iter(tree, is_leaf) if isinstance(x, kinds))


def arg_tree_leaves(*args: Any, **kwargs: Any) -> list[Any]:
    """The leaves of a call's arguments."""
    return [x for tree in (*args, *kwargs.values()) for x in tree_leaves(tree)]


def _broadcast_to_and_flatten(tree: Any, treespec: TreeSpec,
                              is_leaf: Callable[[Any], bool] | None = None) -> list[Any] | None:  # fmt: skip
    """A prefix of a tree with its leaves repeated for what they stand for; None if it is no prefix."""
    cls = None if is_leaf is not None and is_leaf(tree) else _get_node_type(tree)
    if cls is None:
        return [tree] * treespec.num_leaves
    if treespec.type is not cls:
        return None
    children, context = SUPPORTED_NODES[cls].flatten_fn(tree)
    if len(children) != len(treespec.children_specs) or context != treespec.context:
        return None
    out: list[Any] = []
    for child, spec in zip(children, treespec.children_specs, strict=True):
        got = _broadcast_to_and_flatten(child, spec, is_leaf)
        if got is None:
            return None
        out.extend(got)
    return out


# ---- parts of dicts and lists, which programs use to register classes of their own ------------------------------


class MappingKey(NamedTuple):
    """The place of a child in a dict."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"

    def get(self, mapping: Any) -> Any:
        """The child."""
        return mapping[self.key]


def _dict_flatten_with_keys(d: dict) -> tuple[list[tuple[MappingKey, Any]], Any]:
    """Values with their places, and keys."""
    values, keys = _dict_flatten(d)
    return [(MappingKey(k), v) for k, v in zip(keys, values, strict=True)], keys


class SequenceKey(NamedTuple):
    """The place of a child in a list or tuple."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"

    def get(self, sequence: Any) -> Any:
        """The child."""
        return sequence[self.idx]


def _list_flatten_with_keys(d: list) -> tuple[list[tuple[SequenceKey, Any]], Any]:
    """The elements with their places."""
    return [(SequenceKey(i), x) for i, x in enumerate(d)], None


class GetAttrKey(NamedTuple):
    """The place of a child that is an attribute."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"

    def get(self, obj: Any) -> Any:
        """The child."""
        return getattr(obj, self.name)


KeyPath = tuple[Any, ...]


def keystr(kp: KeyPath) -> str:
    """A path as it would be written behind a name, as ``['a'][0].b``."""
    return "".join(map(str, kp))


def key_get(obj: Any, kp: KeyPath) -> Any:
    """What is at a path."""
    for key in kp:
        obj = key.get(obj)
    return obj


def tree_flatten_with_path(tree: Any, is_leaf: Callable[[Any], bool] | None = None
                           ) -> tuple[list[tuple[KeyPath, Any]], TreeSpec]:  # fmt: skip
    """Pairs of path and leaf in order, and the tree's shape. ValueError for a container that tells no keys."""
    return list(_leaves_with_path((), tree, is_leaf)), tree_structure(tree, is_leaf)


def tree_leaves_with_path(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[tuple[KeyPath, Any]]:
    """Pairs of path and leaf in order."""
    return list(_leaves_with_path((), tree, is_leaf))


def tree_map_with_path(func: Callable[..., Any], tree: Any, *rests: Any,
                       is_leaf: Callable[[Any], bool] | None = None) -> Any:  # fmt: skip
    """``func(path, leaf, *leaves of the other trees)`` for each leaf, as a tree of the first one's shape."""
    pairs, spec = tree_flatten_with_path(tree, is_leaf)
    others = [flatten_up_to(spec, rest) for rest in rests]
    return tree_unflatten([func(path, x, *xs) for (path, x), *xs in zip(pairs, *others, strict=True)], spec)


def _leaves_with_path(path: KeyPath, tree: Any, is_leaf: Callable[[Any], bool] | None
                      ) -> Iterator[tuple[KeyPath, Any]]:  # fmt: skip
    cls = _get_node_type(tree)
    if cls is None or (is_leaf is not None and is_leaf(tree)):
        yield path, tree
        return
    for key, child in _children_with_keys(tree, cls):
        yield from _leaves_with_path((*path, key), child, is_leaf)


def _children_with_keys(tree: Any, cls: type) -> list[tuple[Any, Any]]:
    kind = SUPPORTED_NODES[cls]
    if kind.flatten_with_keys_fn is not None:
        return kind.flatten_with_keys_fn(tree)[0]
    if isinstance(tree, dict):
        return _dict_flatten_with_keys(tree)[0]
    if hasattr(tree, "_fields"):
        return [(GetAttrKey(name), x) for name, x in zip(tree._fields, tree, strict=True)]
    if isinstance(tree, (list, tuple, deque)):
        return _list_flatten_with_keys(list(tree))[0]
    raise ValueError(f"Did not find a flatten_with_keys_fn for type: {cls}. Please pass a flatten_with_keys_fn "
                     "argument to register_pytree_node.")


def is_namedtuple_class(cls: type) -> bool:
    """Whether a class is one that ``collections.namedtuple`` or ``typing.NamedTuple`` has made, or made of one."""
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def is_namedtuple_instance(obj: object) -> bool:
    """Whether a value is a named tuple."""
    return is_namedtuple_class(type(obj))


def is_namedtuple(obj: Any) -> bool:
    """Whether a value, or a class, is a named tuple."""
    return is_namedtuple_class(obj if isinstance(obj, type) else type(obj))


def is_structseq_class(cls: type) -> bool:
    """Whether a class is one of C's named tuples, such as ``time.struct_time``."""
    counts = ("n_fields", "n_sequence_fields", "n_unnamed_fields")
    return cls.__bases__ == (tuple,) and all(type(getattr(cls, name, None)) is int for name in counts)


def is_structseq_instance(obj: object) -> bool:
    """Whether a value is a named tuple of C's, such as ``time.struct_time``."""
    return is_structseq_class(type(obj))
