"""Storages, and how several tensors look at one."""

from __future__ import annotations

import functools
import math
import sys
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..engine import Value, concrete, record, unwatched
from ..ops._table import OpDef, lookup

#: Bytes up to which a copy of the memory costs less than a recorded operation and what becomes of it.
SMALL = 1 << 18


class Step(NamedTuple):
    """One view operation on the way from a storage to a tensor."""

    entry: OpDef
    static: tuple
    numbers: tuple


class Late:
    """Of what a copy was made at an index that was still to be computed: of a view, which it becomes when that matters.

    base: gives the tensor, or None once nobody sees it any more.   value: weak reference to its value then.
    """

    __slots__ = ("base", "index", "value")

    def __init__(self, base: Callable[[], Any], index: Any, value: Value) -> None:
        self.base, self.index, self.value = base, index, weakref.ref(value)

    def over(self) -> bool:
        """Whether the tensor has been written to since."""
        base = self.base()
        return base is not None and base._get() is not self.value()


class Storage:
    """A mutable cell that holds an immutable value; tensors that alias each other share one.

    value: of the base tensor.   version: raised by every write.   quiet: how many of them came through ``.data``.
    host:  a NumPy array that the tensor shares memory with, or None: the user's (``from_numpy``), or
    lent:  one made for the user (``.numpy()``), and shared only as long as somebody looks at it.
    owner: weak reference to the tensor that the storage was made for, or None.
    apart: the group of detached tensors (``Alias.group``) for which alone the value is on the tape; or None.
    common: whether other processes may write to ``host``.
    mirror: memory of several processes that the value, which is on the tape, has left: writes go there, too; or None.
    laid: how the value lies in memory that is not kept, as (shape, chain, dtype) for ``layout``; None for contiguous.
    late: what this is a copy of until that, or this, is written to; or None.
    """

    __slots__ = ("value", "version", "quiet", "host", "lent", "owner", "apart", "common", "mirror", "laid", "late",
                 "__weakref__")  # fmt: skip

    def __init__(self, value: Value, host: np.ndarray | None = None) -> None:
        self.value, self.version, self.quiet, self.host, self.lent, self.owner = value, 0, 0, host, False, None
        self.apart: Any = None
        self.common = False
        self.late: Late | None = None
        self.mirror: np.ndarray | None = None
        self.laid: tuple | None = None

    def lend(self, host: np.ndarray) -> None:
        """Share memory with the user, who may write to it."""
        self.host, self.lent = host, True

    def reclaim(self) -> None:
        """End a loan if the array, and all views of it, are gone."""
        if not self.lent or sys.getrefcount(self.host) > 2:  # the storage's, and the argument
            return
        host, self.host, self.lent = self.host, None, False
        before = self.value.data
        if before is None or np.asarray(before).tobytes() != host.tobytes():  # bytes: NaN is not equal to itself
            self.value = concrete(host, self.value.meta.place)
        self.version += 1  # no write, but what the tensors have seen last are snapshots of the array
        self.quiet += 1

    def _restore_value(self, old: Value) -> None:
        self.value = old
        self.version += 1


class Alias:
    """How a tensor sees a storage: through the views of ``chain``, last at version ``seen``.

    leaf: the gradient accumulator of a leaf tensor.   detached: the tensor sees the data without its history.
    floor: how many steps of the chain belong to a tensor that is no view (it was detached there).
    writes: None, or a list of one number, the version of a ``.data`` tensor, which is told apart from the others'.
    of: (leaf, steps): the tensor is a view of that leaf, whose own chain has so many steps; or None.
    group: what a tensor that ``detach`` or ``.data`` has made and its views have in common, or None.
    shown: the user's memory, and the part of it that the chain shows, once that was asked for; or None.
    """

    __slots__ = ("storage", "seen", "chain", "leaf", "detached", "floor", "writes", "of", "group", "shown")

    def __init__(
        self, storage: Storage, chain: tuple[Step, ...] = (), leaf: Any = None, detached: bool = False, floor: int = 0,
        writes: list[int] | None = None, of: tuple[Any, int] | None = None, group: Any = None,
    ) -> None:  # fmt: skip
        self.storage, self.seen, self.chain, self.leaf, self.detached = storage, storage.version, chain, leaf, detached
        self.floor, self.writes, self.of, self.group = floor, writes, of, group
        self.shown: tuple[np.ndarray, np.ndarray] | None = None

    def beyond(self, step: Step) -> Alias:
        """The alias of a view of the tensor."""
        of = self.of if self.leaf is None else (self.leaf, len(self.chain))
        return Alias(self.storage, (*self.chain, step), None, self.detached, self.floor, self.writes, of, self.group)


def through(value: Value, chain: tuple[Step, ...]) -> Value:
    """The value that a chain of views shows of ``value``."""
    for step in chain:
        value = apply_view(step, value)
    return value


def through_array(array: np.ndarray, chain: tuple[Step, ...]) -> np.ndarray:
    """The view of a NumPy array that a chain of views shows."""
    for step in chain:
        array = step.entry.fn(**step.entry.bind(step.static, (array, *step.numbers)))
    return array


def apply_view(step: Step, value: Value) -> Value:
    return record(step.entry.op, step.static, (value, *step.numbers))


def write_through(base: Value, chain: tuple[Step, ...], new: Value) -> Value:
    """``base`` with the part that the chain shows replaced by ``new``."""
    if not chain:
        return new
    if base.data.__class__ is np.ndarray and new.data.__class__ is np.ndarray:
        written = _written(base, chain, new)
        if written is not None:
            return written
    step, rest = chain[0], chain[1:]
    if step.entry.op_put is None:
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            f"Please clone() the tensor before performing the operation. (written through {step.entry.name})"
        )
    if rest and step.entry.name in _OVERLAPPING:
        places = np.arange(base.meta.size).reshape(base.meta.shape)
        shown = through_array(places, (step,))
        if np.unique(shown).size < shown.size:  # what is left as it was must not be written back over what is new
            at = concrete(np.array(through_array(shown, rest)), base.meta.place)
            return record(lookup("put").op, (False,), (base, at, new))
    inner = write_through(apply_view(step, base), rest, new) if rest else new
    return record(step.entry.op_put, step.static, (base, inner, *step.numbers))


def _written(base: Value, chain: tuple[Step, ...], new: Value) -> Value | None:
    """The same by NumPy, of a small value and one that it holds, too; None if that has to be recorded."""
    meta = base.meta
    if meta.guarded or new.meta.guarded or meta.nbytes > SMALL or meta.dtype != new.meta.dtype:
        return None
    if not unwatched():
        return None
    if any(s.entry.op_put is None or s.entry.name in CONJUGATING or s.entry.name in _OVERLAPPING for s in chain):
        return None
    data = base.data.copy()
    view = through_array(data, chain)
    if view.size and not np.may_share_memory(view, data):
        return None
    view[...] = new.data
    return concrete(data, meta.place)


#: View operations whose results are copies to NumPy, and how these lie in PyTorch.
CONJUGATING: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "conj": lambda a: a, "H": np.transpose,
    "mH": lambda a: a.swapaxes(-1, -2), "adjoint": lambda a: a.swapaxes(-1, -2),
}  # fmt: skip
#: View operations that may show an element several times.
_OVERLAPPING = frozenset(("unfold", "as_strided"))
#: View operations that give a copy where the strides do not allow a view.
RESHAPING = frozenset(("reshape", "flatten", "ravel"))
_RESHAPES = RESHAPING | {"view", "unflatten"}


@functools.lru_cache(4096)
def layout(shape: tuple[int, ...], chain: tuple[Step, ...], dtype: Any = np.int8) -> tuple[tuple[int, ...], int, bool]:
    """(strides, offset, contiguous) of a view, in elements.

    The bodies run on a NumPy dummy that is never written; where PyTorch's strides differ from NumPy's, which does not
    care about those of single elements, they are put right after each step.
    """
    root = np.empty(shape, dtype)
    view = _restrided(root, strides_of(shape))
    for step in chain:
        before, bound = view, step.entry.bind(step.static, (view, *step.numbers))
        lies = CONJUGATING.get(step.entry.name)
        view = step.entry.fn(**bound) if lies is None else lies(view)
        strides = _strides_after(step.entry.name, before, view.shape, bound)
        if strides is not None:
            view = _restrided(view, strides)
    size = view.dtype.itemsize
    strides = tuple(s // size for s in view.strides)
    offset = view.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return strides, offset // size, is_contiguous(view.shape, strides)


def shortest(chain: tuple[Step, ...], root: Any, shown: Any) -> tuple[Step, ...]:
    """The chain, or none where it shows all of the storage as it is; ``root`` and ``shown`` are the metas of its ends.

    A tensor that is given its own memory again and again, by way of views that undo each other, would else get a
    longer chain each time.
    """
    if not chain or (root.shape, root.dtype) != (shown.shape, shown.dtype):
        return chain
    if any(step.entry.name in CONJUGATING for step in chain):
        return chain
    _, offset, contiguous = layout(root.shape, chain, root.dtype)
    return () if contiguous and offset == 0 else chain


def _restrided(view: np.ndarray, strides: tuple[int, ...]) -> np.ndarray:
    size = view.dtype.itemsize
    bytes_ = view.view(f"V{size}")  # float8 has no array interface of its own
    return np.lib.stride_tricks.as_strided(bytes_, view.shape, tuple(s * size for s in strides)).view(view.dtype)


def _strides_after(name: str, before: np.ndarray, shape: tuple[int, ...], bound: dict) -> tuple[int, ...] | None:
    """Strides of a view, in elements, where they are not simply NumPy's."""
    size = before.dtype.itemsize
    old, strides = before.shape, tuple(s // size for s in before.strides)

    def inserted(d: int) -> int:
        return old[d] * strides[d] if d < len(old) else 1

    if name in _RESHAPES:
        return view_strides(old, strides, shape)
    if name == "unsqueeze":
        d = bound["dim"] % len(shape)
        return (*strides[:d], inserted(d), *strides[d:])
    if name == "squeeze":
        return strides if len(shape) == len(old) else None if 0 in old else _squeezed(old, strides, bound["dim"])
    if name in ("expand", "broadcast_to"):
        out: list[int] = []
        for d in range(len(shape) - 1, -1, -1):
            k = d - (len(shape) - len(old))
            if k < 0:  # a new dim: as if it had been unsqueezed, then expanded
                out.append(0 if shape[d] != 1 else (shape[d + 1] * out[-1] if out else 1))
            else:
                out.append(strides[k] if old[k] == shape[d] else 0)
        return tuple(reversed(out))
    if name == "_getitem":
        out, d = [], 0
        for item in bound["spec"]:
            if item is None:
                out.append(inserted(d))
                continue
            if item != "i":
                out.append(strides[d] * (item[1] if type(item) is tuple else 1))
            d += 1
        return (*out, *strides[d:])
    return None


def _squeezed(shape: tuple[int, ...], strides: tuple[int, ...], dim: Any) -> tuple[int, ...]:
    asked = range(len(shape)) if dim is None else dim if type(dim) is tuple else (dim,)
    dims = [d % max(len(shape), 1) for d in asked]
    return tuple(s for d, s in enumerate(strides) if not (d in dims and shape[d] == 1))


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a contiguous tensor."""
    out, n = [], 1
    for size in reversed(shape):
        out.append(n)
        n *= max(size, 1)
    return tuple(reversed(out))


def is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether elements laid out like this follow each other in the order of the indices."""
    expect = 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n == 0:
            return True
        if n != 1:
            if s != expect:
                return 0 in shape
            expect *= n
    return True


def view_strides(shape: tuple[int, ...], strides: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...] | None:
    """Strides with which memory laid out like this is seen as ``size`` (without -1); None if that takes a copy."""
    if not shape:
        return (1,) * len(size)
    if 0 in shape:
        return strides if shape == size else strides_of(size)
    # runs of dims that are contiguous among themselves must be cut by the new sizes at their borders
    out = [0] * len(size)
    k = len(size) - 1
    run, base = 1, strides[-1]
    for d in range(len(shape) - 1, -1, -1):
        run *= shape[d]
        if d and (shape[d - 1] == 1 or strides[d - 1] == run * base):
            continue
        covered = 1
        while k >= 0 and (covered < run or size[k] == 1):
            out[k] = covered * base
            covered *= size[k]
            k -= 1
        if covered != run:
            return None
        run, base = 1, strides[d - 1]
    return tuple(out) if k == -1 else None


def check_view(shape: tuple[int, ...], strides: tuple[int, ...], size: tuple[int, ...]) -> None:
    """Raise RuntimeError if memory laid out like this cannot be seen as ``size`` without a copy."""
    total, known = math.prod(shape), math.prod(n for n in size if n != -1)
    if not total or not known or total % known:
        return  # for the operation itself to judge
    size = tuple(n if n != -1 else total // known for n in size)
    if math.prod(size) == total and view_strides(shape, strides, size) is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across "
            f"two contiguous subspaces). Use .reshape(...) instead. (size {list(shape)}, stride {list(strides)}, "
            f"asked for {list(size)})"
        )
