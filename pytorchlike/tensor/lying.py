"""How PyTorch would lay out what was computed of transposed tensors: its elementwise operations keep the order of dims.

Nothing here is laid out so, and ``stride`` does not tell of it; but PyTorch draws random numbers in the order in which
elements lie in memory.  The pending trace tells how a value came about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..engine import local
from ..engine.trie import Call, State
from ..ops._shapes import elementwise
from ..ops._table import OpDef, lookup
from ._views import lying, order_of
from .storage import RESHAPING, Step, layout, strides_of, view_strides

if TYPE_CHECKING:
    from ..engine.meta import Meta
    from ._tensor import Tensor


class Laid(NamedTuple):
    """The shape in the order of memory, and the views that make the tensor of that; ``made``: by an elementwise one.

    ``dtype``: that of the memory, as some views show it as another one.
    """

    shape: tuple[int, ...]
    dtype: Any
    chain: tuple[Step, ...]
    made: bool

    def strides(self) -> tuple[int, ...]:
        return layout(self.shape, self.chain, self.dtype)[0]


#: Operations that keep the order of their first argument besides elementwise ones.
_KEEP = frozenset(("dropout", "alpha_dropout"))
#: Elementwise operations whose results lie as usual.
_AS_USUAL = frozenset(("masked_fill", "logsigmoid"))
#: Views that put neighbours along the last dim together.
_ALONG_LAST = frozenset(("_view_dtype", "view_as_complex"))


def order_in_memory(like: Tensor) -> list[int] | None:
    """The order in memory of the dims of what PyTorch makes like a tensor; None if it is the usual one."""
    value = like._get()
    if value.trace is local.trace and value.data is None and value.meta.ndim > 1:
        laid = _laid(value.trace.state, value.slot)
        if laid is not None and laid.made:
            return order_of(laid.strides())
    return lying(like)


def _laid(state: State | None, slot: int) -> Laid | None:
    """How the value of a slot would lie; None if as usual, or if that is not known."""
    at = state
    while at is not None and at.n >= slot:
        call = at.entry
        if call.__class__ is Call and slot in call.out_slots:
            if call.lies is False:  # not looked at yet
                _look(at)
            return call.lies
        at = at.parent
    return None


def _look(state: State | None) -> None:
    """Look at all calls of the trace up to a state, in the order in which they rest on one another."""
    calls: list[Call] = []
    while state is not None:
        if state.entry.__class__ is Call:
            calls.append(state.entry)
        state = state.parent
    known: dict[int, Laid] = {}
    for call in reversed(calls):
        if call.lies is False:
            call.lies = _of_call(call, known)
        if call.lies is not None:
            known[call.out_slots[0]] = call.lies


def _of_call(call: Call, known: dict[int, Laid]) -> Laid | None:
    """How the result of a call would lie; ``known``: the slots that do not lie as usual."""
    op, entry = call.op, call.op.info
    if len(call.outs) != 1 or not call.slots:
        return None
    first = known.get(call.slots[0])
    if type(entry) is OpDef and entry.view is not None and not op.alias:
        return _of_view(call, entry, first)
    if op.name == "stft":
        return _by_frames(call.outs[0])
    if known.keys().isdisjoint(call.slots):
        return None
    if op.inplace or op.alias or op.name in _KEEP:
        return _made(call.outs[0], first)
    if type(entry) is not OpDef or entry.shapes is not elementwise or op.name in _AS_USUAL:
        return None
    if len(call.slots) == 1:
        return _made(call.outs[0], first)
    shape, operands = call.outs[0].shape, []
    for slot, meta in zip(call.slots, call.metas, strict=True):
        laid = known.get(slot)
        strides = strides_of(meta.shape) if laid is None else laid.strides()
        begin = len(shape) - len(strides)
        moving = [s if n == m else 0 for s, n, m in zip(strides, meta.shape, shape[begin:], strict=True)]
        operands.append([0] * begin + moving)
    order = _of_operands(shape, operands)
    return None if order == sorted(order) else _permuted(call.outs[0], order)


def _by_frames(meta: Meta) -> Laid:
    """A spectrogram lies frame by frame, though its frequencies come first."""
    order = list(range(meta.ndim))
    at = meta.ndim - (2 if meta.dtype.kind == "c" else 3)  # else an axis of (real, imaginary) is last
    order[at : at + 2] = at + 1, at
    return _permuted(meta, order)


def _made(meta: Meta, like: Laid | None) -> Laid | None:
    """How a new tensor lies that PyTorch makes like another one, of its shape."""
    order = None if like is None else order_of(like.strides())
    return None if order is None else _permuted(meta, order)


def _permuted(meta: Meta, order: list[int]) -> Laid:
    back = tuple([order.index(d) for d in range(len(order))])
    return Laid(tuple([meta.shape[d] for d in order]), meta.dtype, (Step(lookup("permute"), (back,), ()),), True)


def _of_view(call: Call, entry: OpDef, base: Laid | None) -> Laid | None:
    numbers = call.ins[1:]
    if any(type(n) is not tuple for n in numbers):  # slots, or numbers that vary
        return None
    shown = call.metas[0].shape
    base = base or Laid(shown, call.metas[0].dtype, (), False)
    if entry.name in _ALONG_LAST and call.metas[0].dtype.itemsize != call.outs[0].dtype.itemsize:
        if base.strides()[-1:] != (1,):  # PyTorch would have refused it
            return None
    if entry.name in RESHAPING and view_strides(shown, base.strides(), call.outs[0].shape) is None:  # a copy
        return None
    step = Step(entry, call.static, tuple([value for _, value in numbers]))
    return Laid(base.shape, base.dtype, (*base.chain, step), base.made)


def _of_operands(shape: tuple[int, ...], operands: list[list[int]]) -> list[int]:
    """The dims of an elementwise result, outermost first: the first argument that tells two dims apart decides."""

    def after(a: int, b: int) -> int:
        """1 if dim ``a`` is to lie further out than ``b``, -1 the other way, 0 where nothing tells."""
        for strides in operands:
            one, other = strides[a], strides[b]
            if one and other:
                if one != other:
                    return 1 if one > other else -1
                if shape[a] > shape[b]:
                    return 1
        return 0

    order = list(range(len(shape) - 1, -1, -1))  # innermost first
    for k in range(1, len(order)):
        at = k
        for before in range(k - 1, -1, -1):
            told = after(order[before], order[at])
            if told > 0:
                order[before], order[at] = order[at], order[before]
                at = before
            elif told < 0:
                break
    return order[::-1]
