"""Images stay channels-last between operations that can take them so.

XLA's convolutions on the CPU want channels last.  For images (N, C, H, W) it moves them there and back around each one,
which took a third of the time of a residual network: it does not see that the operations in between could do without.
While a program is built, those that can (``Op.moved``) are given images as they left the one before.
"""

from __future__ import annotations

from typing import Any

from .evaluators import Inline, Whole
from .op import kernel_for
from .trie import Call

NDIM = 4


class Last:
    """An image whose channels are its last axis.  plain: the same with channels first, once that was asked for."""

    __slots__ = ("array", "plain")

    def __init__(self, array: Any) -> None:
        self.array, self.plain = array, None


class _Tape:
    """pull: of the moved operation.  call's arguments that moved, and its results' (shape, dtype) as they are then."""

    __slots__ = ("pull", "kernel", "moved", "shapes")

    def __init__(self, pull: Any, kernel: Any, moved: tuple[bool, ...], shapes: tuple) -> None:
        self.pull, self.kernel, self.moved, self.shapes = pull, kernel, moved, shapes


class ChannelsLast(Whole):
    """Evaluates inside a trace of JAX; some of the arrays that it gives are :class:`Last`."""

    @property
    def inside(self) -> Inline:
        return Inline()

    def plain(self, array: Any) -> Any:
        import jax.numpy as jnp

        if type(array) is not Last:
            return array
        if array.plain is None:
            array.plain = jnp.moveaxis(array.array, -1, 1)
        return array.plain

    def _moves(self, call: Call, arrays: tuple, back: tuple = ()) -> tuple[bool, ...] | None:
        """Which of its arguments a call takes channels-last; None for the call as it is.

        back: the cotangents of its results, where only the gradient is wanted.
        """
        moved = call.op.moved
        if moved is None or not arrays:
            return None
        if moved.op is not call.op:
            image = arrays[0]
            takes = type(image) is Last
            if not takes and image.ndim == NDIM and image.size:
                takes = any(type(c) is Last for c in back) if moved.starts is None else moved.starts(*arrays)
            return (True, *[False] * (len(arrays) - 1)) if takes else None
        if not any(type(a) is Last for a in (*arrays, *back)):
            return None
        found = tuple([type(a) is Last or a.ndim == NDIM for a in arrays])
        return found if all(f or a.ndim == 0 for f, a in zip(found, arrays, strict=True)) else None

    def _moved(self, call: Call, arrays: tuple, which: tuple[bool, ...]) -> tuple[Any, tuple]:
        op = call.op.moved.op
        kernel = (
            call.kernel if op is call.op else kernel_for(op, call.static, call.ins, call.mode, call.kernel.platform)
        )
        return kernel, tuple([_last(a) if m else self.plain(a) for a, m in zip(arrays, which, strict=True)])

    def forward(self, call: Call, arrays: tuple) -> tuple[tuple, tuple]:
        if call.op.spliced is not None:
            return super().forward(call, arrays)
        which = self._moves(call, arrays)
        if which is None:
            return super().forward(call, tuple([self.plain(a) for a in arrays]))
        kernel, arrays = self._moved(call, arrays, which)
        outs, flags = kernel.forward(arrays)
        return _lasts(outs), flags

    def forward_taped(self, call: Call, arrays: tuple) -> tuple[tuple, tuple, Any]:
        if call.op.spliced is not None:
            return super().forward_taped(call, arrays)
        which = self._moves(call, arrays)
        if which is None:
            return super().forward_taped(call, tuple([self.plain(a) for a in arrays]))
        return self._taped(call, arrays, which)

    def _taped(self, call: Call, arrays: tuple, which: tuple[bool, ...]) -> tuple[tuple, tuple, Any]:
        kernel, arrays = self._moved(call, arrays, which)
        outs, flags, pull = kernel.forward_vjp(arrays, call.wrt)
        tape = _Tape(pull, kernel, tuple([which[k] for k in call.wrt]), tuple([(o.shape, o.dtype) for o in outs]))
        return _lasts(outs), flags, tape

    def vjp(self, call: Call, arrays: tuple, cotangents: tuple) -> tuple:
        which = None if call.op.spliced is not None else self._moves(call, arrays, cotangents)
        if which is None:
            return super().vjp(call, arrays, cotangents)
        return self.pull(call, self._taped(call, arrays, which)[2], cotangents)

    def pull(self, call: Call, tape: Any, cotangents: tuple) -> tuple:
        if call.op.spliced is not None:
            return super().pull(call, tape, cotangents)
        if type(tape) is not _Tape:
            return super().pull(call, tape, tuple([self.plain(c) for c in cotangents]))
        given = tuple([
            _last(c) if len(shape) == NDIM else self.plain(c)
            for c, (shape, _) in zip(cotangents, tape.shapes, strict=True)
            if c is not None
        ])  # fmt: skip
        present = tuple([c is not None for c in cotangents])
        grads = tape.kernel.apply_vjp(tape.pull, given, (tape.shapes, present))
        return tuple([Last(g) if m else g for g, m in zip(grads, tape.moved, strict=True)])

    def add(self, a: Any, b: Any) -> Any:
        if type(a) is not Last and type(b) is not Last:
            return super().add(a, b)
        return Last(super().add(_last(a), _last(b)))


def pays_back(plan: tuple[Call, ...]) -> bool:
    """Whether a way back over what was executed is quicker so: if every convolution in it would start it by itself.

    What was kept has to be moved for each operation, and depthwise convolutions gain nothing by it: the way back of a
    MobileNet took 1.3 times as long.
    """
    import jax

    found = False
    for call in plan:
        moved = call.op.moved
        if moved is not None and moved.starts is not None:
            arrays = [jax.ShapeDtypeStruct(m.shape, m.dtype) for m in call.metas]
            if arrays[0].ndim != NDIM or not moved.starts(*arrays):
                return False
            found = True
    return found


def _lasts(outs: tuple) -> tuple:
    """Results of a moved operation: its images, and what else it gives."""
    return tuple([Last(o) if o.ndim == NDIM else o for o in outs])


def _last(array: Any) -> Any:
    import jax.numpy as jnp

    return array.array if type(array) is Last else jnp.moveaxis(array, 1, -1)
