"""Which sizes of the arguments may vary: ``torch.export.Dim`` and the forms of ``dynamic_shapes``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..autograd.mode import no_grad
from ..nn.modules.module import Module
from ..tensor import Tensor
from ..utils import _pytree as pytree
from ._sizes import Range, Size

__all__ = ["AdditionalInputs", "Dim", "Hint", "Open", "ShapesCollection", "Symbol", "dims", "leaf_names", "read_shapes",
           "user_error"]


def user_error(message: str) -> Exception:
    """What :func:`torch.export.export` raises for wrong ``dynamic_shapes`` and models that do not keep to them."""
    from .._dynamo.exc import UserError

    return UserError(message)


class Hint:
    """``Dim.AUTO``, ``Dim.DYNAMIC`` or ``Dim.STATIC``; called with ``min`` and ``max``, the same within bounds."""

    def __init__(self, kind: str, min: int | None = None, max: int | None = None) -> None:
        self.kind, self.min, self.max = kind, min, max

    def __call__(self, min: int | None = None, max: int | None = None) -> Hint:
        if self.kind == "STATIC":
            raise TypeError("'DimHint' object is not callable: Dim.STATIC has no bounds")
        _check_bounds(min, max)
        return Hint(self.kind, min, max)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Hint) and (self.kind, self.min, self.max) == (other.kind, other.min, other.max)

    def __hash__(self) -> int:
        return hash((self.kind, self.min, self.max))

    def __repr__(self) -> str:
        told = [self.kind, *(f"{n}={v}" for n, v in (("min", self.min), ("max", self.max)) if v is not None)]
        return f"DimHint({', '.join(told)})"


def _check_bounds(low: int | None, high: int | None) -> None:
    if low is not None and low < 0 or low is not None and high is not None and high < low:
        raise AssertionError(f"Cannot create Dim with inconsistent min={low}, max={high}")


class Dim:
    """The name of a size that may vary: sizes that have the same Dim are the same.

    ``2 * dim`` and ``dim + 1`` are sizes that depend on it.   min, max: what it may be, 0 and without end by default.
    AssertionError if max is below min; NotImplementedError for other arithmetic.
    """

    AUTO, DYNAMIC, STATIC = Hint("AUTO"), Hint("DYNAMIC"), Hint("STATIC")

    def __init__(self, name: str, *, min: int | None = None, max: int | None = None) -> None:
        _check_bounds(min, max)
        if not name.isidentifier():
            raise AssertionError(f"Dim name must be a valid identifier, got {name}")
        self.__name__, self.min, self.max = name, 0 if min is None else min, max
        self.root, self.factor, self.plus = self, 1, 0
        #: whether it may get an upper bound where the module needs one, instead of an error
        self.narrow = False

    def _derived(self, factor: int, plus: int) -> Dim:
        if not isinstance(factor, int) or not isinstance(plus, int) or factor <= 0:
            raise NotImplementedError(f"Attempted to derive a Dim from {self.__name__} by {factor}, {plus}: only "
                                      "increasing linear operations with integers are supported")  # fmt: skip
        made = object.__new__(Dim)
        made.root, made.factor, made.plus = self.root, factor, plus
        text = self.root.__name__ if factor == 1 else f"{factor}*{self.root.__name__}"
        made.__name__ = text if not plus else f"{text} {'+' if plus > 0 else '-'} {abs(plus)}"
        made.min, made.max = self.root.min, self.root.max
        return made

    def __mul__(self, n: int) -> Dim:
        return self._derived(self.factor * n, self.plus * n)

    __rmul__ = __mul__

    def __add__(self, n: int) -> Dim:
        return self._derived(self.factor, self.plus + n)

    __radd__ = __add__

    def __sub__(self, n: int) -> Dim:
        return self._derived(self.factor, self.plus - n)

    def __repr__(self) -> str:
        if self.root is not self:
            return self.__name__
        return f"Dim('{self.__name__}', min={self.min}{'' if self.max is None else f', max={self.max}'})"


def dims(*names: str, min: int | None = None, max: int | None = None) -> tuple[Dim, ...]:
    """A :class:`Dim` for each name."""
    return tuple(Dim(name, min=min, max=max) for name in names)


class ShapesCollection:
    """``dynamic_shapes`` told tensor by tensor: ``shapes[x] = {0: Dim.AUTO}``."""

    def __init__(self) -> None:
        self._told: dict[int, tuple[Tensor, Any]] = {}

    def __setitem__(self, t: Tensor, shape: Any) -> None:
        if not isinstance(t, Tensor):
            raise AssertionError(f"Cannot assign shape to non-tensor type {type(t)}")
        self._told[id(t)] = t, shape

    def __getitem__(self, t: Tensor) -> Any:
        return self._told[id(t)][1]

    def __len__(self) -> int:
        return len(self._told)

    def dynamic_shapes(self, m: Module, args: tuple, kwargs: dict[str, Any] | None = None) -> Any:
        """The same as a dict from argument names."""
        bound = _bound(m, args, kwargs or {})

        def told(x: Any) -> Any:
            found = self._told.get(id(x))
            return None if found is None else found[1]

        return {name: pytree.tree_map(told, value) for name, value in bound.items()}


class AdditionalInputs:
    """``dynamic_shapes`` told by examples: the sizes in which they differ from the arguments of ``export`` are open."""

    def __init__(self) -> None:
        self._examples: list[tuple[tuple, dict[str, Any]]] = []

    def add(self, args: tuple, kwargs: dict[str, Any] | None = None) -> None:
        """Another example of arguments. AssertionError if they are no tuple and dict."""
        if type(args) is not tuple or kwargs is not None and type(kwargs) is not dict:
            raise AssertionError(f"Representative args {args} must be a tuple, and kwargs {kwargs} None or a dict")
        self._examples.append((args, kwargs or {}))

    def dynamic_shapes(self, m: Module, args: tuple, kwargs: dict[str, Any] | None = None) -> dict[str, Any]:
        """The same as a dict from argument names. ValueError for examples that differ in anything but sizes."""
        rows = [pytree.tree_flatten(_bound(m, *example)) for example in [(args, kwargs or {}), *self._examples]]
        spec = rows[0][1]
        if any(other != spec for _, other in rows):
            raise ValueError("AdditionalInputs: the examples have other arguments than the program, or containers of "
                             "other lengths; only sizes of tensors can be open")

        def told(one: Any, *others: Any) -> Any:
            if isinstance(one, Tensor) and all(isinstance(x, Tensor) and x.ndim == one.ndim for x in others):
                sizes = zip(one.shape, *(x.shape for x in others), strict=True)
                return tuple([None if len(set(column)) == 1 else Dim.DYNAMIC for column in sizes])
            if isinstance(one, Tensor) or any(type(x) is not type(one) or x != one for x in others):
                raise ValueError(f"AdditionalInputs: the examples differ in {[one, *others]}, which cannot be open; "
                                 "only sizes of tensors can")
            return None

        return pytree.tree_unflatten([told(*column) for column in zip(*(leaves for leaves, _ in rows), strict=True)],
                                     spec)

    def verify(self, ep: Any) -> None:
        """Run an exported program on each example; its errors say what does not fit."""
        module = ep.module()
        with no_grad():
            for args, kwargs in self._examples:
                module(*args, **kwargs)


class Symbol(NamedTuple):
    """A size that varies. told: its name or place in messages.   hint: it may be kept fixed if it has to be.

    lenient: its lower bound was not told, and is none for those who run the program.
    narrow: it may get an upper bound.
    """

    name: str
    told: str
    range: Range
    example: int
    hint: bool
    lenient: bool = False
    narrow: bool = False


class Open(NamedTuple):
    """What ``dynamic_shapes`` leave open: for each tensor its shape, with sizes; and the symbols in them."""

    shapes: list[tuple]
    symbols: dict[str, Symbol]

    def at(self, sizes: Mapping[str, int]) -> list[tuple[int, ...]]:
        """The shapes for some sizes."""
        return [tuple([n.at(sizes) if isinstance(n, Size) else n for n in s]) for s in self.shapes]

    def fixed(self, names: Mapping[str, Any]) -> Open:
        """The same with other sizes, or numbers, for some of the symbols."""
        def put(n: Any) -> Any:
            if not isinstance(n, Size) or not set(n.names()) & set(names):
                return n
            total: Any = 0
            for atoms, factor in n.terms.items():
                part: Any = factor
                for a in atoms:  # atoms of declared sizes are names
                    part = part * names.get(a, Size.named(a))
                total = part + total
            return total

        shapes = [tuple([put(n) for n in s]) for s in self.shapes]
        return Open(shapes, {k: v for k, v in self.symbols.items() if k not in names})


def _bound(mod: Module, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by the names of ``forward``'s parameters."""
    try:
        return dict(inspect.signature(mod.forward).bind(*args, **kwargs).arguments)
    except ValueError:
        return {**{f"arg{k}": a for k, a in enumerate(args)}, **kwargs}


class _Leaf:
    """The place of a leaf among the flattened arguments."""

    def __init__(self, index: int) -> None:
        self.index = index


def _marked(mod: Module, args: tuple, kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    leaves, spec = pytree.tree_flatten((args, kwargs))
    marked_args, marked_kwargs = pytree.tree_unflatten([_Leaf(k) for k in range(len(leaves))], spec)
    return leaves, _bound(mod, marked_args, marked_kwargs)


def leaf_names(mod: Module, args: tuple, kwargs: dict[str, Any]) -> list[str]:
    """A name for each tensor among the flattened arguments: ``x``, ``pair_0``, ``options_mask``."""
    leaves, bound = _marked(mod, args, kwargs)
    found: dict[int, str] = {}

    def walk(x: Any, path: str) -> None:
        if isinstance(x, _Leaf):
            found[x.index] = path
        elif isinstance(x, Mapping):
            for k, v in x.items():
                walk(v, f"{path}_{k}" if path else str(k))
        elif isinstance(x, (list, tuple)):
            for k, v in enumerate(x):
                walk(v, f"{path}_{k}")
        else:
            inner, _ = pytree.tree_flatten(x)
            for k, v in enumerate(inner):
                walk(v, f"{path}_{k}")

    variadic = {p.name for p in inspect.signature(mod.forward).parameters.values() if p.kind is p.VAR_KEYWORD}
    for name, value in bound.items():
        walk(value, "" if name in variadic else name)
    return [found.get(k, f"arg_{k}") for k, x in enumerate(leaves) if isinstance(x, Tensor)]


def read_shapes(mod: Module, args: tuple, kwargs: dict[str, Any], dynamic_shapes: Any) -> Open:
    """What ``dynamic_shapes`` say of the tensors among the arguments.  UserError if they do not fit them."""
    if isinstance(dynamic_shapes, (ShapesCollection, AdditionalInputs)):
        dynamic_shapes = dynamic_shapes.dynamic_shapes(mod, args, kwargs)
    leaves, bound = _marked(mod, args, kwargs)
    told: dict[int, tuple[Any, str]] = {}
    if isinstance(dynamic_shapes, Mapping):
        if set(dynamic_shapes) != set(bound) and set(bound) == {"kwargs"} | (set(bound) - {"kwargs"}):
            bound = {k: v for k, v in bound.items() if k != "kwargs"} | dict(bound["kwargs"])
        if set(dynamic_shapes) != set(bound):
            raise user_error(
                "When `dynamic_shapes` is specified as a dict, its top-level keys must be the arg names "
                f"{list(bound)} of `inputs`, but here they are {list(dynamic_shapes)}. They can also be a tuple or "
                "list in the order of the arguments"
            )
        pairs = [(bound[k], dynamic_shapes[k], f"dynamic_shapes[{k!r}]") for k in bound]
    elif isinstance(dynamic_shapes, (tuple, list)):
        if len(dynamic_shapes) != len(bound):
            raise user_error(
                "Detected mismatch between the structure of `inputs` and `dynamic_shapes`: `inputs` has "
                f"{len(bound)} elements, but `dynamic_shapes` has {len(dynamic_shapes)} elements"
            )
        pairs = [(x, s, f"dynamic_shapes[{k}]") for k, (x, s) in enumerate(zip(bound.values(), dynamic_shapes,
                                                                               strict=True))]  # fmt: skip
    else:
        raise user_error("dynamic_shapes must be a dict, tuple, list, ShapesCollection or AdditionalInputs, got "
                         f"{dynamic_shapes!r}")
    for value, shape, path in pairs:
        _walk(value, shape, path, leaves, told)
    return _opened(leaves, told)


def _walk(x: Any, spec: Any, path: str, leaves: list[Any], told: dict[int, tuple[Any, str]]) -> None:
    if spec is None:
        return
    if isinstance(x, _Leaf):
        if not isinstance(leaves[x.index], Tensor):
            raise user_error(f"Cannot associate shape {spec} specified at `{path}` to non-tensor type "
                             f"{type(leaves[x.index])} (expected None)")  # fmt: skip
        told[x.index] = spec, path
        return
    keys = list(x) if isinstance(x, Mapping) else range(len(x)) if isinstance(x, (list, tuple)) else None
    if keys is None:  # a registered class: by its leaves
        x, _ = pytree.tree_flatten(x)
        keys = range(len(x))
    fits = isinstance(spec, Mapping) and set(spec) == set(keys) or (
        isinstance(spec, (list, tuple)) and len(spec) == len(keys))  # fmt: skip
    if not fits:
        raise user_error("Detected mismatch between the structure of `inputs` and `dynamic_shapes`: at "
                         f"`{path}` the inputs have {list(keys)}, but dynamic_shapes {spec!r}")  # fmt: skip
    for k in keys:
        _walk(x[k], spec[k], f"{path}[{k!r}]", leaves, told)


def _opened(leaves: list[Any], told: dict[int, tuple[Any, str]]) -> Open:
    symbols: dict[str, Symbol] = {}
    by_dim: dict[str, tuple[str, Dim]] = {}
    shapes = []

    def new(name: str, low: int, high: int | None, example: int, hint: bool, lenient: bool, narrow: bool) -> str:
        key = f"s{len(symbols)}"
        symbols[key] = Symbol(key, name, Range(low, high), example, hint, lenient, narrow)
        return key

    def one(spec: Any, size: int, k: int, path: str) -> Any:
        if spec is None or spec == Dim.STATIC:
            return size
        if isinstance(spec, int) and not isinstance(spec, bool):
            if spec != size:
                raise user_error(f"{path}: index {k} is told to be {spec}, but the example's size is {size}")
            return size
        if isinstance(spec, Hint):
            if spec.kind == "AUTO" and size < 2:
                return size  # such a size may mean that it is spread
            low = max(2, spec.min or 0)
            where = f"{path}, index {k}"
            if spec.min is not None and size < spec.min or spec.max is not None and size > spec.max:
                raise user_error(f"{where}: {size} not in range [{spec.min}, {spec.max}]")
            return Size.named(new(where, low, spec.max, size, spec.kind == "AUTO", spec.min is None,
                                  spec.max is None))  # fmt: skip
        if not isinstance(spec, Dim):
            raise user_error(f"Unexpected dimension mapped to index {k} specified at `{path}` (expected None, an int, "
                             f"a Dim, Dim.AUTO, Dim.STATIC, or Dim.DYNAMIC, but got {spec!r} instead)")  # fmt: skip
        root = spec.root
        example, rest = divmod(size - spec.plus, spec.factor)
        if rest or example < 0:
            raise user_error(f"{path}: index {k} has size {size}, which is no {spec.__name__}")
        if root.__name__ not in by_dim:
            by_dim[root.__name__] = new(
                root.__name__, root.min, root.max, example, False, False, root.narrow), root  # fmt: skip
        key, known = by_dim[root.__name__]
        if (known.min, known.max) != (root.min, root.max):
            raise user_error(f"Found different definitions {known} and {root} for the same symbolic dimension!")
        its = symbols[key]
        if its.example != example:
            raise user_error(f"Constraints violated ({root.__name__})! {path}: index {k} is {example} there, but "
                             f"{its.example} elsewhere: sizes with one Dim must be equal")  # fmt: skip
        if example not in its.range:
            raise user_error(f"{path}: {example} not in range [{its.range.lower}, {its.range.upper}] of "
                             f"{root.__name__}")  # fmt: skip
        return Size.named(key) * spec.factor + spec.plus

    for index, x in enumerate(leaves):
        if not isinstance(x, Tensor):
            continue
        spec, path = told.get(index, (None, ""))
        shape = list(x.shape)
        if isinstance(spec, Mapping):
            for k, d in spec.items():
                if not -len(shape) <= k < len(shape):
                    raise IndexError(f"{path}: there is no dimension {k} in shape {list(x.shape)}")
                shape[k] = one(d, shape[k], k, path)
        elif isinstance(spec, (list, tuple)):
            if len(spec) != len(shape):
                raise user_error(f"Expected dynamic shape spec {spec} specified at `{path}` to have the same length as "
                                 f"the actual tensor shape {list(x.shape)} (expected {len(shape)}, but got "
                                 f"{len(spec)} instead)")  # fmt: skip
            shape = [one(d, n, k, path) for k, (d, n) in enumerate(zip(spec, shape, strict=True))]
        elif spec is not None:
            raise user_error(f"Unexpected input tensor shape {spec!r} specified at `{path}` (expected either a "
                             "list/tuple of dimensions, or a dict mapping indices to dimensions)")  # fmt: skip
        shapes.append(tuple(shape))
    return Open(shapes, symbols)
