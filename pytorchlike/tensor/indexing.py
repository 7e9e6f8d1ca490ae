"""``x[index]`` and ``x[index] = value``: from Python's index expressions to the operators of ``ops/indexing.py``.

An index expression falls into two parts.  Integers, slices, ``None`` and ``...`` are one view, ``_getitem``; where its
slices start are run-time numbers, so a moving index repeats the same program.  Index tensors (and lists, arrays, masks)
then apply to the dims of that view through ``_index``.  Writing goes through the same two parts.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from ..engine import Meta, Value, in_sight, local, make_value, meta_of, record
from ..engine.errors import sets_back, warn
from ..engine.host import hold
from ..ops._table import METHODS
from . import host_writes
from ._cell import SEEN
from ._tensor import Tensor, found_tensor, host_tensor
from ._views import link_step
from .device import place_for
from .dtype import uint8
from .interop import of_numbers
from .storage import Late, Step, through

_INT = ("i",)
_ROW = (1, _INT)  # the static part of ``_getitem`` of one integer
_GETITEM = METHODS["_getitem"]
_NUMBERS = frozenset((bool, int, float, complex))


# ------------------------------------------------------------------------------------------------------------ reading


def getitem(self: Tensor, index: Any) -> Tensor:
    """``self[index]``: a view for integers, slices, None and Ellipsis; a copy as soon as a tensor takes part.

    A 0-dim integer tensor acts as an integer. One that is not known here is not read for it before that matters: what
    it gives is a copy until either is written to.
    Raises IndexError for an index out of range or too many of them, ValueError for a step that is not positive.
    """
    kind = index.__class__
    if kind is int:
        if self._value.meta.ndim == 1:
            host_writes.hold_counters(self)
        row = host_row(self, index)
        return self._getitem((_position(index, 0, self._value.meta.shape),), _INT) if row is None else row
    if kind is slice:
        shape = self._value.meta.shape
        if not shape:
            raise IndexError("slice() cannot be applied to a 0-dim tensor.")
        start, entry = _slice(index, shape[0])
        return self._getitem(() if start is None else (start,), (entry,))
    starts, spec, advanced = _parse(self, index)
    if not advanced:
        if len(starts) == len(spec) == self._value.meta.ndim:
            host_writes.hold_counters(self)
        return self._getitem(starts, spec)
    base = self._getitem(starts, spec) if starts or None in spec else self
    if len(advanced) == 1 and _is_mask(advanced[0][1]):
        return _masked(base, *advanced[0])
    numbers = all(_is_number(i) for _, i in advanced) and (index.__class__ is tuple or isinstance(index, Tensor))
    if numbers and not local.trace.nested and (self._borrowed or all(_known(i) for _, i in advanced)):
        return _moving_view(self, index)
    indices, kinds, safe = _tensors(base, advanced)
    result = Tensor._index(base, indices, kinds, not safe)
    if numbers and not sets_back():
        # where nobody else sees the tensor, it need not be kept for writes that nobody would see
        found = weakref.ref(self) if self._alias is None else lambda: self
        items = index if isinstance(index, tuple) else (index,)
        then = tuple([Tensor._of(i._get()) if isinstance(i, Tensor) else i for i in items])
        result._shared().storage.late = Late(found, then, self._get())
    return result


def _is_number(item: Any) -> bool:
    """Whether an item of an index, a tensor or a bool, acts as an integer."""
    return item.__class__ is not bool and not item._value.meta.shape and item._value.meta.dtype != np.bool_


def _known(item: Tensor) -> bool:
    return item._value.data.__class__ is np.ndarray and in_sight(item._value)


def _moving_view(self: Tensor, index: Any) -> Tensor:
    """The view at integers that are elements of tensors: run-time numbers, since they are others each time."""
    items = index if isinstance(index, tuple) else (index,)
    starts, spec, _ = _parse(self, tuple([int(i._host()) if isinstance(i, Tensor) else i for i in items]))
    if len(starts) == len(spec) == self._value.meta.ndim:
        host_writes.hold_counters(self)
        if host_writes.holds(self):
            return self._getitem(starts, spec)
    static = len(starts), spec
    view = Tensor._of(record(_GETITEM.op, static, (self._get(),), starts))
    link_step(self, view, _GETITEM, static, starts)
    return view


def see_now(t: Tensor) -> None:
    """Make a view of what was a copy so far, see :class:`~.storage.Late`."""
    storage = t._alias.storage
    base = storage.late.base()
    if base is None:
        storage.late = None
        return
    view = getitem(base, tuple([int(i) if isinstance(i, Tensor) else i for i in storage.late.index]))
    if t._alias.detached:
        view = view.detach()
    alias, value = view._shared(), view._get()
    for step in t._alias.chain:
        alias = alias.beyond(step)
    t._value, t._alias = through(value, t._alias.chain), alias


def host_row(self: Tensor, index: int) -> Tensor | None:
    """``self[index]`` of a tensor that NumPy holds, which is what datasets are asked for; None for other tensors.

    The same as the general way, at a fifth of its time, and without a snapshot of memory shared with the user.
    """
    if local.trace.replayed:
        return None
    alias = self._alias
    if alias is not None and alias.storage.host is not None:
        if alias.leaf is not None or alias.of is not None:
            return None
        value, data = self._value, self._host_view()
    else:
        value = self._value if alias is None else self._fresh()
        data = value.data
        if data is None or value.meta.grad:
            return None
        if data.__class__ is not np.ndarray:  # labels that were computed are gone through
            if not _is_short(value.meta) or local.trace.nested:
                return None
            data = hold(value).data
    meta = value.meta
    shape = meta.shape
    if not shape or not -shape[0] <= index < shape[0]:
        return None
    if index < 0:
        index += shape[0]
    row = object.__new__(Tensor)
    row._value = make_value(meta_of(shape[1:], meta.dtype, meta.place), data[index, ...])
    alias = self._alias or self._shared()
    row._alias = alias.beyond(Step(_GETITEM, _ROW, (index,)))
    return row


def _is_short(meta: Meta) -> bool:
    """Whether they are integers that NumPy holds once they are looked at one by one."""
    return meta.tiny or meta.dtype.kind in "biu" and meta.nbytes <= SEEN and meta.place is place_for("cpu")


def _masked(base: Tensor, at: int, mask: Tensor) -> Tensor:
    """The elements under a mask: it is read, and its dims are indexed as one.

    What has been computed on the CPU and needs no gradient is selected by NumPy: an operation whose result has
    another size each time would lead to other programs, and what follows to others still.
    """
    count = mask.ndim
    host = _host_of(mask)
    value = base._value if base._alias is None else base._fresh()
    meta = value.meta
    plain = not meta.grad and meta.place == place_for("cpu") and not local.scopes and not local.trace.nested
    if value.data is not None and plain:
        selected = found_tensor(_host_of(base)[(slice(None),) * at + (host,)])
        if count == len(meta.shape):
            _Selection.last = _Selection(selected, value, mask._value)
        return selected
    places = np.flatnonzero(host)
    if count != 1:
        shape = base.shape
        base = base.reshape((*shape[:at], mask.numel(), *shape[at + count :]))
    return Tensor._index(base, (found_tensor(places, base.device),), (0,) * at + (1,), False)


class _Selection:
    """The last ``b[mask]`` that NumPy made, so that ``a[mask] = b[mask]`` is known to be a ``where``.

    As that it is the same operation whatever the number of true elements.
    """

    last: _Selection | None = None

    def __init__(self, selected: Tensor, base: Value, mask: Value) -> None:
        self.selected = weakref.ref(selected, self._forget)
        self.values = selected._value, base, mask

    @classmethod
    def _forget(cls, dead: Any) -> None:
        if cls.last is not None and cls.last.selected is dead:
            cls.last = None

    @classmethod
    def source(cls, to: Tensor, mask: Tensor, given: Any) -> Tensor | None:
        """The tensor of ``to``'s shape from which ``given`` was selected by that very mask, if that is known."""
        last = cls.last
        if last is None or given is not last.selected() or given._alias is not None:
            return None
        selected, base, by = last.values
        if given._value is not selected or mask._value is not by or mask._alias is not None:
            return None
        meta = to._value.meta
        same = base.meta.shape == meta.shape and base.meta.dtype == meta.dtype and base.meta.place == meta.place
        return Tensor._of(base) if same else None


# ------------------------------------------------------------------------------------------------------------ writing


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """``self[index] = value``: value is a number, or a tensor that broadcasts to the shape of ``self[index]``.

    Under a mask nothing is read: numbers and values that broadcast become a ``where``, and that there are as many
    values as true elements is checked by the program.  Raises RuntimeError if the shapes do not fit, TypeError for
    values of another kind.
    """
    if value.__class__ not in _NUMBERS and not isinstance(value, Tensor):
        value = _value(self, value)
    if value.__class__ is complex and value.imag and self._value.meta.dtype.kind != "c":
        raise RuntimeError(f"value cannot be converted to type {self.dtype} without overflow: {value} is not real")
    kind = index.__class__
    if kind is bool:  # one alone: everything, as a part of size 1, or nothing
        if not index:
            return
        index = None
    if kind is int:
        starts, spec, advanced = (_position(index, 0, self._value.meta.shape),), _INT, None
    else:
        starts, spec, advanced = _parse(self, index)
    if not advanced:
        if isinstance(value, Tensor):
            if _is_itself(self, value, starts, spec):
                return
            value = _beside(self, value)
        if not host_writes.write(self, starts, spec, value):
            self._setitem_(value, starts, spec)
        return
    base = self._getitem(starts, spec) if starts or None in spec else self
    if isinstance(value, Tensor):
        value = _beside(self, value)
    if len(advanced) == 1 and _is_mask(advanced[0][1]):
        at, mask = advanced[0]
        refuse_bytes(index, value)
        source = _Selection.source(base, mask, value)
        if source is not None:
            base.copy_(source.where(mask, base))
            return
        base._masked_put_(_beside(self, mask), value, at)
        return
    indices, kinds, safe = _tensors(base, advanced)
    if isinstance(value, Tensor) and not any(i.ndim for i in indices):
        value = value.to(base.dtype)  # these act as integers, and what is written to a view is converted
    base._index_put_(indices, value, kinds, False, not safe)


def _value(self: Tensor, value: Any) -> Any:
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        return value.item()
    if type(value).__mro__[-2] in _NUMBERS:
        return type(value).__mro__[-2](value)
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    raise TypeError(f"can't assign a {name} to a {self.type()}")


def _is_itself(self: Tensor, value: Tensor, starts: tuple, spec: tuple) -> bool:
    """Whether value is the very view that would be written: the second half of ``x[i] += 1``."""
    ours, theirs = self._alias, value._alias
    if ours is None or theirs is None or ours.storage is not theirs.storage or not theirs.chain:
        return False
    step = theirs.chain[-1]
    return (
        step.entry.name == "_getitem"
        and step.numbers == starts
        and step.static == (len(starts), spec)
        and theirs.chain[:-1] == ours.chain
    )


# ------------------------------------------------------------------------------------------- taking an index to pieces


def _position(index: int, dim: int, shape: tuple[int, ...]) -> int:
    if dim >= len(shape):
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a "
            "0-dim tensor to a number"
        )
    n = shape[dim]
    if not -n <= index < n:
        raise IndexError(f"index {index} is out of bounds for dimension {dim} with size {n}")
    return index + n if index < 0 else index


def _slice(index: slice, n: int) -> tuple[int | None, Any]:
    """Start and spec entry of a slice of a dim of ``n`` (see ``_getitem``); no start if it is all of it."""
    step = 1 if index.step is None else index.step.__index__()
    if step <= 0:
        raise ValueError("slice step cannot be zero" if step == 0 else "step must be greater than zero")
    start, stop, _ = index.indices(n)
    length = max(0, (stop - start + step - 1) // step)
    if length == n and step == 1:
        return None, ":"
    return start, (length, step)


def reads_as_tuple(index: Any) -> bool:
    """Whether a list stands for a tuple of indices, as it does in PyTorch if something in it is no number."""
    if not isinstance(index, list) or len(index) >= 32:
        return False
    found = any(i is None or i is Ellipsis or isinstance(i, (slice, list, tuple, Tensor, np.ndarray)) for i in index)
    if found:
        warn("Using a non-tuple sequence for multidimensional indexing is deprecated: use x[tuple(seq)] for x[seq]")
    return found


def _is_mask(x: Any) -> bool:
    return x.__class__ is not bool and x._value.meta.dtype == np.bool_


def _parse(self: Tensor, index: Any) -> tuple[tuple, tuple, list]:
    """Starts and spec for ``_getitem``, and (dim of its result, tensor or bool) for everything else."""
    items = list(index) if isinstance(index, tuple) or reads_as_tuple(index) else [index]
    shape = self._value.meta.shape
    used, gap = 0, None
    for i, item in enumerate(items):
        kind = item.__class__
        if kind is int or kind is slice:
            used += 1
        elif item is None or kind is bool:
            pass
        elif item is Ellipsis:
            gap = i if gap is None else gap
        else:
            items[i] = item = _convert(self, item)
            if item.__class__ is int:
                used += 1
            elif item.__class__ is not bool:
                used += item._value.meta.ndim if _is_mask(item) else 1
    if used > len(shape):
        if not shape and len(items) == 1:
            if items[0].__class__ is int:
                _position(items[0], 0, shape)
            elif items[0].__class__ is slice:
                raise IndexError("slice() cannot be applied to a 0-dim tensor.")
        raise IndexError(f"too many indices for tensor of dimension {len(shape)}")
    starts: list[int] = []
    spec: list[Any] = []
    advanced: list[tuple[int, Any]] = []
    dim = out = 0
    for i, item in enumerate(items):
        kind = item.__class__
        if kind is int:
            starts.append(_position(item, dim, shape))
            spec.append("i")
            dim += 1
        elif kind is slice:
            start, entry = _slice(item, shape[dim])
            if start is not None:
                starts.append(start)
            spec.append(entry)
            dim, out = dim + 1, out + 1
        elif item is None:
            spec.append(None)
            out += 1
        elif item is Ellipsis:
            if i == gap:
                skipped = len(shape) - used
                spec.extend((":",) * skipped)
                dim, out = dim + skipped, out + skipped
        elif kind is bool or (_is_mask(item) and not item._value.meta.ndim):
            spec.append(None)
            advanced.append((out, item if kind is bool else item.reshape(1)))
            out += 1
        elif _is_mask(item):
            size = item._value.meta.shape
            for k, n in enumerate(size):
                if n != shape[dim + k]:
                    raise IndexError(
                        f"The shape of the mask {list(size)} at index {k} does not match the shape of the indexed "
                        f"tensor {list(shape)} at index {dim + k}"
                    )
            spec.extend((":",) * len(size))
            advanced.append((out, item))
            dim, out = dim + len(size), out + len(size)
        else:
            spec.append(":")
            advanced.append((out, item))
            dim, out = dim + 1, out + 1
    while spec and spec[-1] == ":":
        spec.pop()
    return tuple(starts), tuple(spec), advanced


def _convert(self: Tensor, item: Any) -> Any:
    """One item that is no int, slice, bool, None or Ellipsis, as an int, a bool or an index tensor."""
    if isinstance(item, Tensor):
        value = item._value if item._alias is None else item._fresh()
        kind = value.meta.dtype
        if kind == np.int64 or kind == np.int32:
            # A number that is known here anyway makes a view; an element of others only where nothing is recorded.
            if not value.meta.shape and value.data.__class__ is np.ndarray and in_sight(value):
                if item._alias is None or host_writes.holds(self):
                    return int(value.data)
            return item
        if kind == np.bool_:
            return item
        if kind == np.uint8:
            _warn_uint8()
            return item != 0
        if kind.kind in "iu" and not value.meta.shape:  # a number, of whatever integers
            return _convert(self, item.long())
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if isinstance(item, (np.bool_, bool)):
        return bool(item)
    if isinstance(item, (list, tuple, range, np.ndarray)):
        if isinstance(item, (list, tuple)) and any(isinstance(i, Tensor) for i in item):
            from .functions import stack

            parts = [i if isinstance(i, Tensor) else host_tensor(np.asarray(i), self.device) for i in item]
            return _convert(self, stack(parts))
        array = np.array(item)
        if array.dtype == np.uint8:
            _warn_uint8()
            array = array != 0
        if array.dtype.kind in "OUSV":
            raise TypeError(f"new(): invalid data type '{type(item).__name__}' with elements {array.dtype}")
        array = array if array.dtype == np.bool_ else array.astype(np.int64)
        if not array.ndim:
            return array.item()
        return host_tensor(array, self.device, constant=type(item) is range or of_numbers(item))
    if isinstance(item, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(item).__name__}' as an index")
    if hasattr(item, "__index__"):
        return item.__index__()
    if hasattr(item, "__jax_array__") or type(item).__module__.startswith("jax"):
        from ._tensor import from_jax

        return _convert(self, from_jax(item))
    raise IndexError(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
        f"{type(item).__name__})"
    )


def _warn_uint8() -> None:
    warn("indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.")


def refuse_bytes(index: Any, value: Any) -> None:
    """RuntimeError for one value under a mask of bytes: it is ``masked_fill_``, which takes boolean masks only."""
    for item in index if isinstance(index, (tuple, list)) else (index,):
        bytes_ = item.dtype is uint8 if isinstance(item, Tensor) else getattr(item, "dtype", None) == np.uint8
        if bytes_ and item.ndim and (not isinstance(value, Tensor) or value.numel() == 1):
            raise RuntimeError("masked_fill_ only supports boolean masks, but got mask with dtype unsigned char")


def _beside(self: Tensor, other: Tensor) -> Tensor:
    """``other`` where ``self`` is."""
    if other._value.meta.place == self._value.meta.place:
        return other
    return other.to(self.device)


def _host_of(t: Tensor) -> np.ndarray:
    return t.detach()._host() if t.requires_grad else t._host()


def nonzero_places(host: np.ndarray) -> tuple[np.ndarray, ...]:
    """``np.nonzero``, for each dim the indices of elements that are not 0.

    NumPy has a loop of its own only for vectors of booleans: the one for matrices of floats takes ten times as long.
    """
    flat = np.flatnonzero((host if host.dtype == np.bool_ else host != 0).reshape(-1))
    places = []
    for size in host.shape[:0:-1]:
        flat, place = np.divmod(flat, max(size, 1))
        places.append(place)
    return flat, *reversed(places)


def _tensors(base: Tensor, advanced: list) -> tuple[tuple[Tensor, ...], tuple[int, ...], bool]:
    """Index tensors and spec for ``_index`` on base, and whether all indices have been found in range."""
    indices: list[Tensor] = []
    kinds: list[int] = []
    safe = True
    shape = base._value.meta.shape
    for at, item in advanced:
        kinds.extend([0] * (at - len(kinds)))
        if item.__class__ is bool:
            indices.append(host_tensor(np.zeros(int(item), np.int64), base.device, constant=True))
            kinds.append(1)
        elif _is_mask(item):
            mask = _host_of(item)
            places = nonzero_places(mask) if mask.ndim else (np.zeros(int(mask), np.int64),)
            indices.extend(found_tensor(p, base.device) for p in places)
            kinds.extend([1] * len(places))
        else:
            value = item._value if item._alias is None else item._fresh()
            if value.data.__class__ is np.ndarray and in_sight(value):
                bad = _outside(value.data, shape[at])
                if bad is not None:
                    raise IndexError(f"index {bad} is out of bounds for dimension {at} with size {shape[at]}")
            else:
                safe = False
            indices.append(_beside(base, item))
            kinds.append(1 if value.meta.shape else 2)
    return tuple(indices), tuple(kinds), safe


def _outside(index: np.ndarray, n: int) -> int | None:
    if index.size and not (-n <= index.min() and index.max() < n):
        return int(index[(index < -n) | (index >= n)].flat[0])
    return None


# From here on without the import that the stand-in in _tensor.py does at each call.
Tensor.__getitem__ = getitem  # type: ignore[method-assign]
